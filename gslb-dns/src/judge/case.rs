//! One service, as far as it is watched: what is believed of its targets, and what the board is told of its sites.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::time::Duration;

use super::back::Return;
use super::hear::Vote;
use super::target::{Judged, judge_one};
use super::views::{Answered, views};
use super::within::Within;
use super::{Believed, Now};
use crate::health::view::View;
use crate::inside;
use crate::verdict::Verdict;
use crate::watch::{Watch, WatchedVip};
use crate::world::{Capacity, Destination, Service, World};

/// By number of the target, in the world that the case is of.
#[derive(Debug, Default)]
pub struct Case {
    pub believed: HashMap<usize, Believed>,
    judged: HashMap<usize, Judged>,
    /// By candidate, then by address, what the agents say.
    within: Vec<Vec<Option<Within>>>,
    /// Those that were answered since a start, while probes take nobody out.
    pub answered: Answered,
}

/// The service that a case is of, and when.
#[derive(Clone, Copy)]
pub struct Of<'w> {
    pub now: Now,
    pub world: &'w World,
    pub service: &'w Service,
    pub watch: &'w Watch,
    /// What agents make of their sites.
    pub inside: &'w inside::Views,
    /// By site, how many addresses it has.
    pub addresses: &'w [usize],
    /// Whether probes take nobody out yet.
    pub is_grace: bool,
}

impl Case {
    /// Judges one of its targets by the words on it; whether a restart will want to know.
    pub fn judge(&mut self, of: Of<'_>, target: usize, votes: &[Vote]) -> bool {
        let last = self.believed.get(&target).copied().unwrap_or_default();
        let mut one = judge_one(of.now, &of.watch.quorum, of.watch.regions, last, votes);
        if of.is_grace && one.verdict == Verdict::Down {
            (one.verdict, one.since) = (last.verdict, last.since);
        }
        let Judged { verdict, since, ground, up_share, is_certain, returned, .. } = one;
        let next =
            Believed { verdict, since, ground: Some(ground), up_share, is_certain, returned };
        let before = self.believed.insert(target, next);
        self.judged.insert(target, one);
        before.is_none_or(|before| before.kept() != next.kept())
    }

    /// Takes what agents say now; whether that is something else.
    pub fn hear_within(&mut self, of: Of<'_>) -> bool {
        let within = within(of);
        let is_new = self.within != within;
        self.within = within;
        is_new
    }

    /// What the board is told of it now, and when that changes next though nobody says anything.
    pub fn view(&mut self, of: Of<'_>) -> (Vec<View>, Option<Duration>) {
        views(of, &self.judged, &self.within, &mut self.answered)
    }

    /// How one of its targets comes back, if it does.
    pub fn return_of(&self, target: usize) -> Option<Return> {
        self.judged.get(&target)?.returned
    }
}

/// By site, how many addresses it has, of all services.
pub fn addresses_of(world: &World) -> Vec<usize> {
    let mut all: Vec<BTreeSet<IpAddr>> =
        world.sites.iter().map(|site| site.vips.all().collect()).collect();
    for candidate in world.services.iter().flat_map(|service| &service.candidates) {
        if let Destination::Vips(vips) = &candidate.target {
            all[candidate.site.index()].extend(vips.all());
        }
    }
    all.iter().map(|addresses| addresses.len().max(1)).collect()
}

/// What agents say of each address of each candidate; nothing at all where no site of the world has any.
pub fn within(of: Of<'_>) -> Vec<Vec<Option<Within>>> {
    let Of { world, service, watch, inside, addresses, .. } = of;
    if inside.is_empty() {
        return vec![];
    }
    let candidates = service.candidates.iter().zip(&watch.candidates);
    let within = candidates.map(|(candidate, vips)| {
        let site = world.site(candidate.site);
        let views = inside.get(&site.name);
        // Addresses of a site share what it can take, also those that other services answer.
        let share = |whole: Capacity| f64::from(whole.0) / addresses[candidate.site.index()] as f64;
        let configured = site.capacity.map(share);
        let of = |vip: &WatchedVip| {
            let ports = vip.targets.iter().map(|target| world.targets[*target].1.port);
            Within::of(views?, vip.address?, ports, watch.combine, configured)
        };
        vips.iter().map(of).collect()
    });
    within.collect()
}
