//! What the keeper tells of what it does: in metrics and in the log.

use std::collections::{BTreeSet, HashMap};

use common::names::few;

use super::*;
use crate::health::board::{Beliefs, Health};
use crate::history::Turned;
use crate::status::MOST_NAMED;

impl Keeper {
    pub(super) fn tell_restart_needed(&mut self, keys: Vec<&'static str>) {
        self.metrics.reloads.restart_needed.set(i64::from(!keys.is_empty()));
        for key in &keys {
            warn!(key, "node.toml has another value, which needs a restart");
        }
        self.restart_needed = keys;
    }

    /// Takes back what metrics said of that which the world no longer has.
    pub(super) fn forget(&self, previous: &World) {
        let world = &self.ground.world;
        let zones: HashSet<&Name> = world.zones.iter().map(|zone| zone.apex()).collect();
        let services: HashSet<&Name> = world.services.iter().map(|service| &service.name).collect();
        let _ = self.metrics.epoch.remove_label_values(&[previous.epoch.to_string()]);
        for zone in &previous.zones {
            let apex = zone.apex();
            if !zones.contains(apex) {
                let _ = self.metrics.zone_names.remove_label_values(&[apex.to_string()]);
            }
        }
        self.metrics.site_health.reset();
        self.metrics.site_lost.reset();
        self.metrics.vantages.reset();
        self.metrics.agents.reset();
        self.metrics.vrrp_dual_active.reset();
        self.metrics.site_alerts.reset();
        for service in &previous.services {
            if !services.contains(&service.name) {
                for state in [Failing::AllDown, Failing::AllDrained] {
                    let labels = [service.name.to_string(), state.as_str().to_owned()];
                    let _ = self.metrics.failing.remove_label_values(&labels);
                }
            }
        }
    }

    /// What metrics say of overrides.
    pub(super) fn tell_overrides(&self, now: Timestamp) {
        let in_force = i64::try_from(self.overrides_in_force(now)).unwrap_or(i64::MAX);
        self.metrics.overrides_in_force.set(in_force);
        self.metrics.overrides_ok.set(i64::from(self.overrides_ok()));
    }

    pub(super) fn tell_clock(&mut self, now: Timestamp) {
        let behind = self.clock_behind(now);
        if let Some(behind) = behind.filter(|_| !self.is_behind) {
            warn!(%behind, "the clock is behind the last order: orders neither begin nor end until it has caught up");
        }
        self.is_behind = behind.is_some();
    }

    /// What metrics and the log say of a board just published, as far as they do not say it already of the one before.
    pub(super) fn settle(&mut self, before: Option<&Snapshot>) {
        let snapshot = self.published.load();
        self.metrics.board.set(i64::try_from(self.number).unwrap_or(i64::MAX));
        let is_of_same_world = |it: &Snapshot| it.world().epoch == snapshot.world().epoch;
        let (same, other) = match before {
            Some(before) if is_of_same_world(before) => (Some(before), None),
            Some(_) | None => (None, before),
        };
        let failed_by_name = other.map(failing_by_name).unwrap_or_default();
        for id in snapshot.world().service_ids() {
            if same.is_some_and(|before| snapshot.board.shares(&before.board, id)) {
                continue;
            }
            self.tell_sites(&snapshot, id, same.map(|before| before.board.of_service(id)));
            let service = &snapshot.world().service(id).name;
            let failed = same.map(|before| before.failing(id));
            let failed = failed.or_else(|| failed_by_name.get(service).copied());
            self.tell_failing(service, failed.unwrap_or(Failing::No), snapshot.failing(id));
        }
    }

    fn tell_failing(&self, service: &Name, before: Failing, now: Failing) {
        let label = service.to_string();
        for state in [Failing::AllDown, Failing::AllDrained] {
            let gauge = self.metrics.failing.with_label_values(&[label.as_str(), state.as_str()]);
            gauge.set(i64::from(now == state));
        }
        if before == now {
            return;
        }
        let (service, how) = (service.to_host(), now.as_str());
        match now {
            Failing::No => info!(service, "a site is fit again: the fail mode is over"),
            Failing::AllDown | Failing::AllDrained => {
                warn!(service, how, "no site is fit to serve: the fail mode answers");
            }
        }
    }

    /// What metrics say of a service's sites, as far as they do not say it already of what was believed before.
    fn tell_sites(&self, snapshot: &Snapshot, id: ServiceId, before: Option<&Beliefs>) {
        let world = snapshot.world();
        let service = world.service(id);
        let standings = &snapshot.board.of_service(id).standings;
        for (index, (candidate, standing)) in service.candidates.iter().zip(standings).enumerate() {
            let before = before.and_then(|before| before.standings.get(index));
            if before.is_some_and(|it| (it.health, &it.lost) == (standing.health, &standing.lost)) {
                continue;
            }
            let site = &*world.site(candidate.site).name;
            for health in Health::ALL {
                let labels = [&service.name.to_string(), site, health.as_str()];
                let gauge = self.metrics.site_health.with_label_values(&labels);
                gauge.set(i64::from(standing.health == health));
            }
            for region in service.watch.iter().flat_map(|watch| watch.regions.iter()) {
                let labels = [&service.name.to_string(), site, region.code()];
                let gauge = self.metrics.site_lost.with_label_values(&labels);
                gauge.set(i64::from(standing.lost_to(region).is_some()));
            }
        }
    }

    /// What metrics say of vantages and agents.
    pub(super) fn tell_vantages(&self) {
        self.evidence.insiders.count_in(&self.metrics);
        self.evidence.alarms().count_in(&self.ground.world, &self.metrics);
        let vantages = self.ground.world.vantages.iter().zip(self.evidence.standings());
        for (vantage, standing) in vantages {
            for word in Standing::WORDS {
                let gauge = self.metrics.vantages.with_label_values(&[&*vantage.name, word]);
                gauge.set(i64::from(standing.as_str() == word));
            }
        }
    }

    /// Warns of what the file says in vain: an order outranks it, and goes on to, be it an undrain.
    pub(super) fn tell_outranked(&self, now: Timestamp) {
        for told in self.overrides(now).into_iter().filter(|told| told.id.is_none()) {
            let OverrideTold { order, site, service, state, .. } = told;
            if matches!(state, OverrideState::OutrankedBy(_)) {
                warn!(order, site, service, %state, "an override of the file is outranked by an order");
            }
        }
    }

    /// Warns of overrides that are or will be in force and can touch nothing.
    pub(super) fn tell_unmatched(&self, now: Timestamp) {
        for said in self.beliefs.said().filter(|said| !said.is_over(now)) {
            let Override { site, service, who, .. } = said;
            match said.unmatched_in(&self.ground.world) {
                None => {}
                Some(Unmatched::Site) => {
                    warn!(%site, who, "an override touches nothing: no site has that name");
                }
                Some(Unmatched::Service) => {
                    warn!(%service, who, "an override touches nothing: no service has that name");
                }
                Some(Unmatched::SiteOfService) => {
                    warn!(%site, %service, who, "an override touches nothing: no such service has such a site");
                }
            }
        }
    }

    pub(super) fn tell_world(&self) {
        let world = &self.ground.world;
        self.metrics.epoch.with_label_values(&[world.epoch.to_string()]).set(1);
        for zone in self.ground.zones.iter() {
            let names = i64::try_from(zone.names()).unwrap_or(i64::MAX);
            self.metrics.zone_names.with_label_values(&[zone.apex().to_string()]).set(names);
        }
    }

    pub(super) fn tell_reread(&mut self, reread: &Reread, now: Timestamp) {
        match reread {
            Reread::Same => {}
            Reread::Changed => self.is_file_ok = true,
            Reread::Refused(_) | Reread::Lost(_) => self.is_file_ok = false,
        }
        self.tell_overrides(now);
        match reread {
            Reread::Same => {}
            Reread::Changed => {
                let in_force =
                    self.beliefs.overrides.iter().filter(|said| said.is_in_force(now)).count();
                info!(overrides = self.beliefs.overrides.len(), in_force, "overrides read");
                self.tell_outranked(now);
                self.tell_unmatched(now);
            }
            Reread::Refused(why) => {
                for why in why.lines() {
                    error!(why, "overrides refused: what they said when last good still holds");
                }
            }
            Reread::Lost(why) => {
                for why in why.lines() {
                    error!(why, "overrides refused, and no good copy is left: none is in force");
                }
            }
        }
    }
}

fn failing_by_name(snapshot: &Snapshot) -> HashMap<&Name, Failing> {
    let world = snapshot.world();
    world.service_ids().map(|id| (&world.service(id).name, snapshot.failing(id))).collect()
}

/// Logs which sites are otherwise than before.
pub fn tell_turned(turned: &[Turned]) {
    for Turned { site, from, to, is_serving, services, why } in turned {
        let (site, why) = (&**site, &**why);
        let services = few(services.iter().map(|service| &**service), MOST_NAMED);
        let from = from.as_str();
        if *to == Health::Down && *is_serving {
            warn!(site, from, services, why, "a site is down");
        } else {
            info!(site, from, to = to.as_str(), services, why, "a site is in another state");
        }
    }
}

/// What a world had and the next one has not, for people: clients of it are answered otherwise from now on.
pub fn gone(previous: &World, next: &World) -> Vec<String> {
    let zones = |world: &World| -> BTreeSet<String> {
        world.zones.iter().map(|zone| zone.apex().to_host().to_string()).collect()
    };
    let services = |world: &World| -> BTreeSet<String> {
        world.services.iter().map(|service| service.name.to_host().to_string()).collect()
    };
    let sites = |world: &World| -> BTreeSet<String> {
        world.sites.iter().map(|site| site.name.to_string()).collect()
    };
    let kinds = [
        ("zone", zones(previous), zones(next)),
        ("service", services(previous), services(next)),
        ("site", sites(previous), sites(next)),
    ];
    let told = kinds.into_iter().filter_map(|(kind, before, now)| {
        let gone: Vec<&str> = before.difference(&now).map(String::as_str).collect();
        (!gone.is_empty()).then(|| format!("{kind} {}", few(gone.into_iter(), MOST_NAMED)))
    });
    told.collect()
}
