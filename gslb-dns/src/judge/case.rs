//! One service, as far as it is watched: what is believed of its targets, and what the board is told of its sites.

use std::collections::HashMap;
use std::time::Duration;

use super::back::Return;
use super::hear::Vote;
use super::target::{Judged, judge_one};
use super::views::views;
use super::{Believed, Now};
use crate::health::board::View;
use crate::verdict::Verdict;
use crate::watch::Watch;
use crate::world::{Service, World};

/// By number of the target, in the world that the case is of.
#[derive(Debug, Default)]
pub struct Case {
    pub believed: HashMap<usize, Believed>,
    judged: HashMap<usize, Judged>,
}

/// The service that a case is of, and when.
#[derive(Clone, Copy)]
pub struct Of<'w> {
    pub now: Now,
    pub world: &'w World,
    pub service: &'w Service,
    pub watch: &'w Watch,
    /// Whether nobody is taken out yet.
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

    /// What the board is told of it now, and when that changes next though nobody says anything.
    pub fn view(&self, of: Of<'_>) -> (Vec<View>, Option<Duration>) {
        let now = of.now.monotonic;
        let steps = self.judged.values().filter_map(|judged| {
            judged.returned.and_then(|back| back.next_step(now, of.service.ttl.max))
        });
        let views = views(now, of.world, of.service, of.watch, &self.judged, of.is_grace);
        (views, steps.min())
    }

    /// How one of its targets comes back, if it does.
    pub fn return_of(&self, target: usize) -> Option<Return> {
        self.judged.get(&target)?.returned
    }
}
