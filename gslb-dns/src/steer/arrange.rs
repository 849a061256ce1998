//! Candidates to tiers: every step of a policy up to the pick.
//!
//! Each step refines every tier in place: it orders, splits or strikes, never merges or re-sorts
//! across tiers; a step that would leave nothing in any tier is skipped.

use std::net::IpAddr;

use geoip::Continent;

use super::trace::{Skipped, StepName, Struck, Trace};
use super::{Family, able};
use crate::health::board::{Beliefs, Duty, Health, Standing};
use crate::ids::MapId;
use crate::locate::{Class, View};
use crate::site_set::SiteSet;
use crate::world::{Act, Destination, FailMode, Service, Step, Vips};

/// What is left after the last refining step, the same for all clients of a class.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Arrangement {
    pub outcome: Outcome,
    /// Whether the fail mode had to decide: an alarm, not an answer.
    pub failing: Failing,
    /// The clients' region, if it has lost something of a candidate.
    pub region: Option<Continent>,
}

#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum Outcome {
    /// Never empty; best first.
    Tiers(Vec<SiteSet>),
    /// The addresses of `when_all_down = "static"`.
    Static,
    /// NODATA: no candidate has this family, or `when_all_down = "empty"`.
    NoData,
}

/// Whether the answer had to do without a site that is fit.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Failing {
    No,
    AllDown,
    AllDrained,
}

impl Failing {
    pub const ALL: [Failing; 3] = [Failing::No, Failing::AllDown, Failing::AllDrained];

    /// As metrics and logs name it.
    pub fn as_str(self) -> &'static str {
        match self {
            Failing::No => "no",
            Failing::AllDown => "all_down",
            Failing::AllDrained => "all_drained",
        }
    }
}

/// Runs the steps of `service` for one class of clients.
pub fn arrange(
    service: &Service,
    beliefs: &Beliefs,
    class: &Class,
    family: Family,
    trace: &mut impl Trace,
) -> Arrangement {
    let start = able(service, family);
    for candidate in everyone(service).without(start).iter() {
        trace.struck(candidate, Struck::NoAddressOfFamily);
    }
    trace.step(StepName::Start, &[start]);
    if start.is_empty() {
        return Arrangement { outcome: Outcome::NoData, failing: Failing::No, region: None };
    }
    let fenced = strict_fence(service, class, start, trace);
    let healthy = match healthy(service, beliefs, fenced, family, trace) {
        Ok(healthy) => healthy,
        Err(arrangement) => return arrangement,
    };
    let region = class.region.filter(|_| service.act == Act::Serve);
    let region = region.filter(|region| {
        beliefs.standings.iter().any(|standing| standing.lost_to(*region).is_some())
    });
    let left = match region {
        Some(region) => within_reach(service, beliefs, healthy.left, family, region, trace),
        None => healthy.left,
    };
    let mut tiers = vec![left];
    for (step, view) in service.steps.iter().zip(&class.views) {
        refine(*step, view, &mut tiers, trace);
    }
    Arrangement { outcome: Outcome::Tiers(tiers), failing: healthy.failing, region }
}

fn everyone(service: &Service) -> SiteSet {
    (0..service.candidates.len()).collect()
}

/// Strikes the outside, and is never skipped for health.
fn strict_fence(
    service: &Service,
    class: &Class,
    start: SiteSet,
    trace: &mut impl Trace,
) -> SiteSet {
    let Some(area) = service.strict_fence else {
        return start;
    };
    let step = StepName::StrictFence(area);
    let inside = class.strict_inside.map(|inside| inside.and(start));
    let Some(inside) = inside.filter(|inside| !inside.is_empty()) else {
        trace.skipped(step, Skipped::NotFenced);
        return start;
    };
    for candidate in start.without(inside).iter() {
        trace.struck(candidate, Struck::OutsideStrictFence(area));
    }
    trace.step(step, &[inside]);
    inside
}

struct Healthy {
    left: SiteSet,
    failing: Failing,
}

/// Strikes what is drained and what is down; when nobody is fit, the service's fail mode decides.
fn healthy(
    service: &Service,
    beliefs: &Beliefs,
    candidates: SiteSet,
    family: Family,
    trace: &mut impl Trace,
) -> Result<Healthy, Arrangement> {
    let having = |is: &dyn Fn(usize) -> bool| candidates.iter().filter(|&one| is(one)).collect();
    let drained: SiteSet = having(&|one| beliefs.standings[one].duty == Duty::Drained);
    let down: SiteSet =
        having(&|one| is_down(&beliefs.standings[one], &service.candidates[one].target, family));

    let all_drained = drained == candidates;
    let undrained = if all_drained {
        trace.fail_mode("every site is drained: all are treated as if none were");
        candidates
    } else {
        for candidate in drained.iter() {
            trace.struck(candidate, Struck::Drained);
        }
        candidates.without(drained)
    };
    let fit = undrained.without(down);
    if service.act == Act::Observe {
        trace.skipped(StepName::Healthy, Skipped::Observed);
        let failing = match (all_drained, fit.is_empty()) {
            (_, true) => Failing::AllDown,
            (true, false) => Failing::AllDrained,
            (false, false) => Failing::No,
        };
        return Ok(Healthy { left: undrained, failing });
    }
    if !fit.is_empty() {
        for candidate in undrained.and(down).iter() {
            trace.struck(candidate, Struck::Down);
        }
        trace.step(StepName::Healthy, &[fit]);
        let failing = if all_drained { Failing::AllDrained } else { Failing::No };
        return Ok(Healthy { left: fit, failing });
    }

    let failing = Failing::AllDown;
    let known = beliefs.last_known.and(undrained);
    let left = match &service.fail_mode {
        FailMode::Open => {
            trace.fail_mode("open: every site is down, so all are treated as if they were up");
            undrained
        }
        FailMode::LastKnown if known.is_empty() => {
            trace.fail_mode(
                "last-known: every site is down and none is known to have been up: as open",
            );
            undrained
        }
        FailMode::LastKnown => {
            trace.fail_mode("last-known: every site is down; those that were up last");
            known
        }
        FailMode::Static(_) => {
            trace.fail_mode("static: every site is down; the addresses in the config");
            trace.step(StepName::Healthy, &[]);
            return Err(Arrangement { outcome: Outcome::Static, failing, region: None });
        }
        FailMode::Empty => {
            trace.fail_mode("empty: every site is down; an answer without addresses");
            trace.step(StepName::Healthy, &[]);
            return Err(Arrangement { outcome: Outcome::NoData, failing, region: None });
        }
    };
    trace.step(StepName::Healthy, &[left]);
    Ok(Healthy { left, failing })
}

/// Strikes what the clients' region alone cannot reach, unless that would leave its clients nobody.
fn within_reach(
    service: &Service,
    beliefs: &Beliefs,
    healthy: SiteSet,
    family: Family,
    region: Continent,
    trace: &mut impl Trace,
) -> SiteSet {
    let is_lost = |candidate: &usize| {
        let standing = &beliefs.standings[*candidate];
        match (standing.lost_to(region), &service.candidates[*candidate].target) {
            (None, _) => false,
            (Some(_), Destination::Cname(_)) => true,
            (Some(lost), Destination::Vips(vips)) => {
                let lost = lost.addresses.as_deref().unwrap_or_default();
                let is_out = |vip| standing.struck.contains(&vip) || lost.contains(&vip);
                match family {
                    Family::V4 => vips.v4.iter().all(|vip| is_out((*vip).into())),
                    Family::V6 => vips.v6.iter().all(|vip| is_out((*vip).into())),
                    Family::Cname => false,
                }
            }
        }
    };
    let lost: SiteSet = healthy.iter().filter(is_lost).collect();
    let left = healthy.without(lost);
    if lost.is_empty() {
        return healthy;
    }
    if left.is_empty() {
        trace.skipped(StepName::Region(region), Skipped::NobodyLeft);
        return healthy;
    }
    for candidate in lost.iter() {
        trace.struck(candidate, Struck::LostTo(region));
    }
    trace.step(StepName::Region(region), &[left]);
    left
}

/// Whether nothing of a candidate is left to answer in this family.
fn is_down(standing: &Standing, target: &Destination, family: Family) -> bool {
    let is_struck = |address: IpAddr| standing.struck.contains(&address);
    let all_struck = |vips: &Vips| match family {
        Family::V4 => vips.v4.iter().all(|vip| is_struck((*vip).into())),
        Family::V6 => vips.v6.iter().all(|vip| is_struck((*vip).into())),
        Family::Cname => false,
    };
    let has_struck = !standing.struck.is_empty();
    standing.health == Health::Down
        || has_struck && matches!(target, Destination::Vips(vips) if all_struck(vips))
}

/// One step over every tier.
fn refine(step: Step, view: &View, tiers: &mut Vec<SiteSet>, trace: &mut impl Trace) {
    let name = name(step);
    let split: &dyn Fn(SiteSet) -> Vec<SiteSet> = match (step, view) {
        (Step::Failover, _) => &|tier| tier.iter().map(SiteSet::one).collect(),
        (_, View::Fence(inside)) => &|tier| vec![tier.and(*inside), tier.without(*inside)],
        (_, View::Map(map)) => &|tier| map.iter().map(|of_map| tier.and(*of_map)).collect(),
        (_, View::Nearest(nearness)) => &|tier| nearness.split(tier),
        (Step::Fence(_) | Step::Nearest, View::Nothing) => {
            return trace.skipped(name, Skipped::NoPlace);
        }
        (Step::Map(_), View::Nothing) => {
            return trace.skipped(name, Skipped::NoEntry);
        }
    };
    let refined: Vec<SiteSet> =
        tiers.iter().flat_map(|&tier| split(tier)).filter(|tier| !tier.is_empty()).collect();
    if refined.is_empty() {
        return trace.skipped(name, Skipped::NobodyLeft);
    }
    if let Step::Map(map) = step {
        report_struck(map, tiers, &refined, trace);
    }
    *tiers = refined;
    trace.step(name, tiers);
}

fn report_struck(map: MapId, before: &[SiteSet], after: &[SiteSet], trace: &mut impl Trace) {
    let all = |tiers: &[SiteSet]| tiers.iter().fold(SiteSet::EMPTY, |all, &tier| all.or(tier));
    for candidate in all(before).without(all(after)).iter() {
        trace.struck(candidate, Struck::NotOnMap(map));
    }
}

fn name(step: Step) -> StepName {
    match step {
        Step::Fence(area) => StepName::Fence(area),
        Step::Map(map) => StepName::Map(map),
        Step::Nearest => StepName::Nearest,
        Step::Failover => StepName::Failover,
    }
}
