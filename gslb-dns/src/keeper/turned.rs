//! What the log says of a board: sites and services that are otherwise than on the one before, and what a world lacks
//! that the one before had.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use tracing::{info, warn};

use crate::health::board::{Duty, Health, Standing};
use crate::ids::ServiceId;
use crate::name::Name;
use crate::snapshot::Snapshot;
use crate::status::few;
use crate::steer::Failing;
use crate::world::World;

/// Tells of `now`, which answers since; by the names of services and sites, if `before` is of another world. At a start,
/// where there is none, of services that nobody is fit to serve.
pub fn tell(before: Option<&Snapshot>, now: &Snapshot) {
    let mut turned = Turned::default();
    let twins = Twins::of(before, now);
    for id in now.world().service_ids() {
        let twin = twins.find(id);
        if twin.is_some_and(|(before, was)| {
            twins.are_one_world && now.board.shares(&before.board, was)
        }) {
            continue;
        }
        if let Some(twin) = twin {
            turned.note(twin, (now, id));
        }
        let service = now.world().service(id).name.to_string();
        let (failed, failing) =
            (twin.map_or(Failing::No, |(before, was)| before.failing(was)), now.failing(id));
        if failing == failed {
            continue;
        }
        let how = failing.as_str();
        match failing {
            Failing::No => info!(service, "a site is fit again: the fail mode is over"),
            Failing::AllDown | Failing::AllDrained => {
                warn!(service, how, "no site is fit to serve: the fail mode answers");
            }
        }
    }
    turned.tell();
}

/// Where services stood on the board before.
struct Twins<'a> {
    before: Option<&'a Snapshot>,
    now: &'a Snapshot,
    are_one_world: bool,
    by_name: HashMap<&'a Name, ServiceId>,
}

impl<'a> Twins<'a> {
    fn of(before: Option<&'a Snapshot>, now: &'a Snapshot) -> Twins<'a> {
        let are_one_world = before.is_some_and(|before| before.world().epoch == now.world().epoch);
        let others = before.filter(|_| !are_one_world).map(Snapshot::world);
        let named = others
            .into_iter()
            .flat_map(|world| world.service_ids().map(|id| (&world.service(id).name, id)));
        Twins { before, now, are_one_world, by_name: named.collect() }
    }

    fn find(&self, id: ServiceId) -> Option<(&'a Snapshot, ServiceId)> {
        let before = self.before?;
        let was = match self.are_one_world {
            true => id,
            false => *self.by_name.get(&self.now.world().service(id).name)?,
        };
        Some((before, was))
    }
}

/// Sites whose health has changed, in which services and why in the first of them: a site's own failure is one line, not one for
/// each service.
#[derive(Default)]
struct Turned(BTreeMap<Turn, (BTreeSet<Box<str>>, Box<str>)>);

/// A site, its health before and now, and whether clients are missed there.
type Turn = (Box<str>, &'static str, &'static str, bool);

impl Turned {
    fn note(&mut self, before: (&Snapshot, ServiceId), now: (&Snapshot, ServiceId)) {
        let was: HashMap<&str, &Standing> = standings(before).collect();
        for (site, is) in standings(now) {
            let Some(was) = was.get(site).filter(|was| was.health != is.health) else { continue };
            let is_missed = is.duty == Duty::Serving;
            let turn = (site.into(), was.health.as_str(), is.health.as_str(), is_missed);
            let (services, _) =
                self.0.entry(turn).or_insert_with(|| (BTreeSet::new(), (&*is.why).into()));
            services.insert(now.0.world().service(now.1).name.to_string().into());
        }
    }

    fn tell(self) {
        for ((site, from, to, is_missed), (services, why)) in self.0 {
            let services = few(services.iter().map(|service| &**service));
            if to == Health::Down.as_str() && is_missed {
                warn!(site = &*site, from, services, why = &*why, "a site is down");
            } else {
                info!(site = &*site, from, to, services, why = &*why, "a site is in another state");
            }
        }
    }
}

/// The sites of a service by name, and what is believed of each.
fn standings((snapshot, id): (&Snapshot, ServiceId)) -> impl Iterator<Item = (&str, &Standing)> {
    let (world, service) = (snapshot.world(), snapshot.world().service(id));
    let standings = &snapshot.board.of_service(id).standings;
    let sites = service.candidates.iter().zip(standings);
    sites.map(|(candidate, standing)| (&*world.site(candidate.site).name, standing))
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
        (!gone.is_empty()).then(|| format!("{kind} {}", few(gone.into_iter())))
    });
    told.collect()
}
