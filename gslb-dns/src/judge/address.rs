//! One address of a candidate: what the checks of it come to together, and whether it is answered.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use super::Now;
use super::back::Return;
use super::target::Judged;
use super::within::Within;
use crate::health::view::Alert;
use crate::inside::State;
use crate::verdict::Verdict;
use crate::watch::{Combine, Regions, Watch, WatchedVip};

/// An address as far as it is judged.
#[derive(Clone, Copy, Debug)]
pub struct Address {
    /// `None` for a CNAME.
    pub at: Option<IpAddr>,
    /// What the words from outside and from within come to.
    pub judged: Judged,
    /// What vantages alone say.
    pub outside: Judged,
    /// What the site's agents say; `None` if they say nothing of it.
    pub within: Option<Within>,
    pub fate: Fate,
}

/// What follows for answers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Fate {
    /// It is answered, and takes the share that the evidence leaves it.
    In,
    /// It is answered and takes all its clients, though the evidence says less: nobody else could.
    Whole,
    /// It is answered as if nothing had been said of it: more would go than probes alone may take out.
    HeldIn,
    /// It is answered as it was since the start, within the grace of which nobody is taken out.
    Stays,
    /// It is not answered.
    Out,
    /// It is not answered: operators told its site so.
    Drained,
}

/// Addresses of which clients see one kind, or the name that they are sent to instead.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    V4,
    V6,
    Name,
}

impl Kind {
    pub const ALL: [Kind; 3] = [Kind::V4, Kind::V6, Kind::Name];
}

impl Address {
    /// `None` if nothing of it was ever judged.
    pub fn of(watch: &Watch, vip: &WatchedVip, judged: &HashMap<usize, Judged>) -> Option<Address> {
        let targets: Vec<&Judged> =
            vip.targets.iter().filter_map(|target| judged.get(target)).collect();
        let judged = match watch.combine {
            Combine::All => all_of(&targets)?,
            Combine::Any => any_of(&targets, watch.regions)?,
        };
        let (at, outside) = (vip.address, judged);
        Some(Address { at, judged, outside, within: None, fate: Fate::In })
    }

    /// With what its agents say.
    #[must_use]
    pub fn joined(self, now: Now, within: Within) -> Address {
        Address { judged: within.join(now, self.outside), within: Some(within), ..self }
    }

    pub fn kind(&self) -> Kind {
        match self.at {
            Some(IpAddr::V4(_)) => Kind::V4,
            Some(IpAddr::V6(_)) => Kind::V6,
            None => Kind::Name,
        }
    }

    pub fn is_up(&self) -> bool {
        matches!(self.judged.verdict, Verdict::Up | Verdict::Slow)
    }

    /// Whether it came back lately, as it did before, and is not answered again yet.
    pub fn waits(&self, now: Duration) -> bool {
        self.is_up() && self.judged.returned.is_some_and(|back| back.is_held_down(now))
    }

    /// The host's own word, or its agents', not that of probes alone.
    pub fn is_certain(&self) -> bool {
        self.is_drained() || self.judged.verdict == Verdict::Down && self.judged.is_certain
    }

    pub fn is_drained(&self) -> bool {
        self.within.is_some_and(|within| within.state == State::Drained)
    }

    pub fn is_answered(&self) -> bool {
        match self.fate {
            Fate::In | Fate::Whole | Fate::HeldIn | Fate::Stays => true,
            Fate::Out | Fate::Drained => false,
        }
    }

    /// What somebody should look at.
    pub fn alert(&self) -> Option<Alert> {
        self.within.and_then(|within| within.alert(&self.outside))
    }

    /// The share of its clients that it takes now: no more than its servers are for. No step of a way back is shorter
    /// than `step`.
    pub fn share(&self, now: Duration, step: Duration) -> f64 {
        let capacity = self.within.map_or(1.0, |within| within.share(now));
        self.way_back(now, step).min(capacity)
    }

    /// When that changes next though nobody says anything.
    pub fn next_step(&self, now: Duration, step: Duration) -> Option<Duration> {
        let back = self.judged.returned.and_then(|back| back.next_step(now, step));
        let decay = self.within.and_then(|within| within.next_step(now));
        [back, decay].into_iter().flatten().min()
    }

    /// The share that what is seen of it leaves it.
    pub fn way_back(&self, now: Duration, step: Duration) -> f64 {
        let on_its_way = |back: Option<Return>| match self.fate {
            Fate::In => back.map_or(1.0, |back| back.admit(now, step)),
            Fate::Whole | Fate::HeldIn | Fate::Stays | Fate::Out | Fate::Drained => 1.0,
        };
        match (self.fate, self.judged.verdict) {
            (Fate::Out | Fate::Drained, _) => 0.0,
            (Fate::HeldIn | Fate::Stays, _)
            | (Fate::In | Fate::Whole, Verdict::Unknown | Verdict::Down) => 1.0,
            (Fate::In | Fate::Whole, Verdict::Up) => on_its_way(self.judged.returned),
            (Fate::In | Fate::Whole, Verdict::Slow) => on_its_way(self.judged.returned).min(0.5),
        }
    }
}

/// Where each check must pass: as bad as the worst of them, and back when the last of them is.
fn all_of(targets: &[&Judged]) -> Option<Judged> {
    let worst = **targets.iter().min_by_key(|judged| rank(judged.verdict))?;
    let like = || targets.iter().filter(|judged| judged.verdict == worst.verdict);
    let is_down = worst.verdict == Verdict::Down;
    let since = like().filter_map(|judged| judged.since);
    let order = |since: &super::Since| since.monotonic;
    let lost = targets.iter().fold(Regions::NONE, |lost, judged| lost.or(judged.lost));
    Some(Judged {
        // Down since the first of them is, up since the last is.
        since: if is_down { since.min_by_key(order) } else { since.max_by_key(order) },
        is_certain: like().any(|judged| judged.is_certain),
        up_share: targets.iter().map(|judged| judged.up_share).fold(1.0, f64::min),
        returned: targets.iter().filter_map(|judged| judged.returned).max_by_key(end_of_wait),
        lost: if is_down { Regions::NONE } else { lost },
        down_in: targets.iter().filter_map(|judged| judged.down_in).min(),
        ..worst
    })
}

/// Where one check is enough: as good as the best of them, and never away while one of them was not.
fn any_of(targets: &[&Judged], regions: Regions) -> Option<Judged> {
    let best = **targets.iter().max_by_key(|judged| rank(judged.verdict))?;
    let is_down = best.verdict == Verdict::Down;
    let like = || targets.iter().filter(|judged| judged.verdict == best.verdict);
    let up =
        || targets.iter().filter(|judged| matches!(judged.verdict, Verdict::Up | Verdict::Slow));
    let since = like().filter_map(|judged| judged.since);
    let order = |since: &super::Since| since.monotonic;
    // Where one is down for all, the others decide.
    let others = || targets.iter().filter(|judged| judged.verdict != Verdict::Down);
    let returns: Option<Vec<Return>> = up().map(|judged| judged.returned).collect();
    let down_in: Option<Vec<Duration>> = others().map(|judged| judged.down_in).collect();
    let lost = others().fold(regions, |lost, judged| lost.and(judged.lost));
    Some(Judged {
        since: if is_down { since.max_by_key(order) } else { since.min_by_key(order) },
        is_certain: like().all(|judged| judged.is_certain),
        up_share: targets.iter().map(|judged| judged.up_share).fold(0.0, f64::max),
        returned: returns.and_then(|all| all.into_iter().min_by_key(end_of_wait)),
        lost: if is_down { Regions::NONE } else { lost },
        // The last of them decides, and one whose looks succeed keeps it.
        down_in: down_in.and_then(|all| all.into_iter().max()),
        ..best
    })
}

fn rank(verdict: Verdict) -> u8 {
    match verdict {
        Verdict::Down => 0,
        Verdict::Unknown => 1,
        Verdict::Slow => 2,
        Verdict::Up => 3,
    }
}

fn end_of_wait(back: &Return) -> Duration {
    back.since + back.wait()
}
