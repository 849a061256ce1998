//! What differs between two boards, and what several differences come to together.

use std::collections::{BTreeMap, BTreeSet};

use super::{Belief, Cause, Change, Head, Kept, LastKnownLine, Line, Past};
use crate::health::board::{Beliefs, Board, Duty, Health, Standing};
use crate::world::{Service, World};

/// Service, then site, both as operators write them.
pub type Key = (Box<str>, Box<str>);

/// What differs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Diff {
    pub moved: BTreeMap<Key, Moved>,
    /// Of services that have no site fit to serve afterwards.
    pub last_known: BTreeMap<Box<str>, BTreeSet<Box<str>>>,
}

/// Why a board may differ from the one before: what of it is worth keeping follows from that.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Because {
    /// Reasons count vantages, and change without end.
    Evidence,
    /// Whose word a site is drained or forced by is kept, also where it was so before by another's.
    Orders,
}

/// What became of one site of one service.
#[derive(Clone, Debug, PartialEq)]
pub struct Moved {
    pub from: Option<Belief>,
    pub to: Option<Kept>,
}

/// A board and what it changed; or all that it believes.
#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    pub head: Head,
    pub is_whole: bool,
    pub diff: Diff,
}

impl Diff {
    /// Between two boards of one world.
    pub fn between(world: &World, before: &Board, after: &Board, because: Because) -> Diff {
        let mut diff = Diff::default();
        for id in world.service_ids().filter(|id| !before.shares(after, *id)) {
            let service = world.service(id);
            diff.add(world, service, before.of_service(id), after.of_service(id), because);
        }
        diff
    }

    fn add(
        &mut self,
        world: &World,
        service: &Service,
        before: &Beliefs,
        after: &Beliefs,
        because: Because,
    ) {
        let pairs = before.standings.iter().zip(&after.standings);
        let differs = |(before, after): &(&Standing, &Standing)| match because {
            Because::Evidence => !before.answers_like(after),
            Because::Orders => before != after,
        };
        let moved = service.candidates.iter().zip(pairs).filter(|(_, pair)| differs(pair));
        let mut name: Option<Box<str>> = None;
        for (candidate, (before, after)) in moved {
            let name = name.get_or_insert_with(|| service.name.to_host().into());
            let site = world.site(candidate.site).name.clone();
            let moved = Moved { from: Some(Belief::of(before)), to: Some(Kept::of(after)) };
            self.moved.insert((name.clone(), site), moved);
        }
        let is_other = name.is_some() || before.last_known != after.last_known;
        if is_other && !after.standings.iter().any(Standing::is_fit) {
            let sites = after.last_known.iter();
            let sites = sites.map(|index| world.site(service.candidates[index].site).name.clone());
            self.last_known.insert(service.name.to_host().into(), sites.collect());
        }
    }

    pub fn is_empty(&self) -> bool {
        self.moved.is_empty() && self.last_known.is_empty()
    }

    /// How many lines it takes.
    pub fn lines(&self) -> usize {
        self.moved.len() + self.last_known.len()
    }

    /// This and then the other, as one. What has come back to where it was has not moved.
    fn then(&mut self, later: Diff) {
        for (key, Moved { from, to }) in later.moved {
            let has_moved = from != to.as_ref().map(|kept| kept.belief.clone());
            let first = self.moved.get(&key).map_or(from, |moved| moved.from.clone());
            if has_moved && first == to.as_ref().map(|kept| kept.belief.clone()) {
                self.moved.remove(&key);
            } else {
                self.moved.insert(key, Moved { from: first, to });
            }
        }
        self.last_known.extend(later.last_known);
    }
}

impl Group {
    /// What changed with this board.
    pub fn changed(mut head: Head, diff: Diff) -> Group {
        head.lines = diff.lines();
        Group { head, is_whole: false, diff }
    }

    /// This and a later one, told as one.
    pub fn merge(&mut self, later: Group) {
        let cause = match (self.head.cause, later.head.cause) {
            (Cause::Change, cause) => cause,
            (cause, _) => cause,
        };
        let boards = self.head.boards + later.head.boards;
        self.diff.then(later.diff);
        self.head = Head { cause, boards, lines: self.diff.lines(), ..later.head };
    }

    /// As lines, each with its end.
    pub fn text(&self) -> serde_json::Result<Vec<u8>> {
        let Group { head, is_whole, diff } = self;
        let head_line =
            if *is_whole { Line::Whole(head.clone()) } else { Line::Board(head.clone()) };
        let mut text = Vec::new();
        let mut say = |line: &Line| {
            serde_json::to_writer(&mut text, line)?;
            text.push(b'\n');
            Ok(())
        };
        say(&head_line)?;
        for ((service, site), Moved { from, to }) in &diff.moved {
            let (service, site) = (service.clone(), site.clone());
            match (is_whole, to) {
                (true, Some(is)) => {
                    let is = is.clone();
                    say(&Line::State(super::State { service, site, is }))?;
                }
                (true, None) => {}
                (false, to) => {
                    let change = Change::of(head, &service, &site, from.clone(), to.clone());
                    say(&Line::Change(Box::new(change)))?;
                }
            }
        }
        for (service, sites) in &diff.last_known {
            let sites = sites.iter().cloned().collect();
            say(&Line::LastKnown(LastKnownLine { service: service.clone(), sites }))?;
        }
        Ok(text)
    }
}

impl Change {
    pub fn of(
        head: &Head,
        service: &str,
        site: &str,
        from: Option<Belief>,
        to: Option<Kept>,
    ) -> Change {
        let Head { at, board, digest, epoch, .. } = head.clone();
        Change { at, board, digest, epoch, service: service.into(), site: site.into(), from, to }
    }
}

impl Past {
    /// What differs between two states, by name: worlds may differ too.
    pub fn changes_to(&self, next: &Past) -> Diff {
        let mut diff = Diff::default();
        let keys = |past: &Past| -> BTreeSet<Key> {
            past.standings().map(|(service, site, _)| (service.into(), site.into())).collect()
        };
        for key in keys(self).union(&keys(next)) {
            let from = self.standing(&key.0, &key.1).map(|kept| kept.belief.clone());
            let to = next.standing(&key.0, &key.1).cloned();
            if from != to.as_ref().map(|kept| kept.belief.clone()) {
                diff.moved.insert(key.clone(), Moved { from, to });
            }
        }
        for (service, sites) in next.unfit() {
            let is_new = self.last_known(service) != Some(sites)
                || diff.moved.keys().any(|(moved, _)| &**moved == service);
            if is_new {
                diff.last_known.insert(service.into(), sites.clone());
            }
        }
        diff
    }
}

impl Belief {
    pub fn of(standing: &Standing) -> Belief {
        let Standing { health, duty, weight, admit, struck, lost, halvings, .. } = standing;
        let (health, duty, weight) = (*health, *duty, *weight);
        let (admit, struck, lost) = (admit.share(), struck.to_vec(), lost.to_vec());
        Belief { health, duty, weight, admit, struck, lost, halvings: *halvings }
    }

    /// Neither down nor drained.
    pub fn is_fit(&self) -> bool {
        self.health != Health::Down && self.duty == Duty::Serving
    }
}

impl Kept {
    pub fn of(standing: &Standing) -> Kept {
        let Standing { since, why, duty_why, weight_why, .. } = standing;
        let (since, why, duty_why) = (*since, why.clone(), duty_why.clone());
        let weight_why = weight_why.clone();
        Kept { belief: Belief::of(standing), since, why, duty_why, weight_why }
    }
}
