//! What all vantages say, judged for every service at one moment.
//!
//! inbox ─▶ (rows, tallies, quorum) ─▶ each address ─▶ each candidate ─▶ (cap, grace) ─▶ board
//!
//! Pure. What it keeps from one judgement to the next are the verdicts that evidence may hold.

mod back;
mod hear;
mod target;
mod views;

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use common::target::TargetId;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use self::hear::hear;
use self::target::{Judged, judge_one};
use self::views::views;
use crate::health::board::Views;
use crate::inbox::Inbox;
use crate::verdict::Verdict;
use crate::verdict::quorum::Ground;
use crate::verdict::row::Distrust;
use crate::world::{Service, World};

/// After a start, within which nobody is taken out: some probes have yet to be heard.
pub const GRACE: Duration = Duration::from_secs(10);

/// What was believed of each target of each service, by name.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Held(BTreeMap<Box<str>, BTreeMap<TargetId, HeldVerdict>>);

#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
struct HeldVerdict {
    verdict: Verdict,
    /// Whether the host itself refused: then it is not the probes' word alone.
    certain: bool,
}

#[derive(Debug)]
pub struct Judge {
    /// By service and target.
    believed: HashMap<(Box<str>, TargetId), Believed>,
    /// Until when nobody is taken out.
    grace_ends: Duration,
    /// When something changes next though nobody says anything.
    next_change: Option<Duration>,
}

/// The time of a judgement, on the clock that ages evidence and on the one that people read.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    pub monotonic: Duration,
    pub wall: Timestamp,
}

#[derive(Clone, Copy, Debug, Default)]
struct Believed {
    verdict: Verdict,
    since: Option<Since>,
    /// How it came about; `None` for what was read from a file.
    ground: Option<Ground>,
    up_share: f64,
    is_certain: bool,
}

/// When something began, on both clocks.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Since {
    monotonic: Duration,
    wall: Timestamp,
}

/// What is judged of everything that is watched.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Judgement {
    pub views: Views,
    /// By vantage of the world.
    pub vantages: Vec<Standing>,
}

/// How a vantage's word counts.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Standing {
    /// Nothing was ever heard of it.
    NeverHeard,
    /// Its last report holds no more.
    Silent,
    Trusted,
    Distrusted(Distrust),
}

impl Believed {
    /// Whether present evidence says so.
    fn is_decided(&self) -> bool {
        self.ground == Some(Ground::Decided)
    }
}

impl Standing {
    /// As metrics name them.
    pub const WORDS: [&'static str; 4] = ["never_heard", "silent", "trusted", "distrusted"];

    pub fn as_str(self) -> &'static str {
        match self {
            Standing::NeverHeard => "never_heard",
            Standing::Silent => "silent",
            Standing::Trusted => "trusted",
            Standing::Distrusted(_) => "distrusted",
        }
    }

    /// Whether nobody need be told of the difference: the counts of what it has down go up and down.
    pub fn is_like(&self, other: &Standing) -> bool {
        std::mem::discriminant(self) == std::mem::discriminant(other)
    }
}

impl Judge {
    /// `now` is the start, on the clock that is told later too.
    pub fn new(held: Held, now: Duration) -> Judge {
        let believed = held.0.into_iter().flat_map(|(service, targets)| {
            let of = move |(id, held)| {
                let HeldVerdict { verdict, certain: is_certain } = held;
                ((service.clone(), id), Believed { verdict, is_certain, ..Believed::default() })
            };
            targets.into_iter().map(of)
        });
        Judge { believed: believed.collect(), grace_ends: now + GRACE, next_change: None }
    }

    /// What is to be known after a restart.
    pub fn held(&self) -> Held {
        self.of(|_| true)
    }

    fn of(&self, is_wanted: impl Fn(&Believed) -> bool) -> Held {
        let mut held = Held::default();
        for ((service, id), believed) in &self.believed {
            if is_wanted(believed) {
                let Believed { verdict, is_certain: certain, .. } = *believed;
                let targets = held.0.entry(service.clone()).or_default();
                targets.insert(*id, HeldVerdict { verdict, certain });
            }
        }
        held
    }

    /// Judges everything at `now`. Verdicts of what is not in the world are forgotten.
    pub fn judge(&mut self, now: Now, world: &World, inbox: &Inbox) -> Judgement {
        let (vantages, votes) = hear(now.monotonic, world, inbox);
        let is_grace = now.monotonic < self.grace_ends;
        let mut changes: Vec<Duration> = inbox.next_silence(now.monotonic).into_iter().collect();
        changes.extend(is_grace.then_some(self.grace_ends));
        let mut believed = HashMap::with_capacity(self.believed.len());
        let services = world.services.iter().map(|service| {
            let watch = service.watch.as_ref()?;
            let name: Box<str> = service.name.to_host().to_string().into();
            let mut judged: HashMap<usize, Judged> = HashMap::new();
            for target in watch.candidates.iter().flatten().flat_map(|vip| &vip.targets) {
                let key = (name.clone(), world.targets[*target].0);
                let last = self.believed.get(&key).copied().unwrap_or_default();
                let mut one = judge_one(now, &watch.quorum, watch.regions, last, &votes[*target]);
                if is_grace && one.verdict == Verdict::Down {
                    (one.verdict, one.since) = (last.verdict, last.since);
                }
                let step = service.ttl.max;
                changes.extend(one.returned.and_then(|back| back.next_step(now.monotonic, step)));
                let Judged { verdict, since, ground, up_share, is_certain, .. } = one;
                believed.insert(
                    key,
                    Believed { verdict, since, ground: Some(ground), up_share, is_certain },
                );
                judged.insert(*target, one);
            }
            Some(views(now.monotonic, world, service, watch, &judged, is_grace))
        });
        let views = Views(services.collect());
        self.believed = believed;
        self.next_change = changes.into_iter().min();
        Judgement { views, vantages }
    }

    /// What is believed of one target of a service, and how that came about.
    pub fn of_target(&self, service: &Service, target: TargetId) -> (Verdict, &'static str) {
        let key = (service.name.to_host().to_string().into(), target);
        let believed = self.believed.get(&key).copied().unwrap_or_default();
        (believed.verdict, believed.ground.map_or("never judged", Ground::as_str))
    }

    /// What was believed at the last judgement though no evidence decided it: what peers tell each other.
    pub fn undecided(&self) -> Held {
        self.of(|believed| !believed.is_decided())
    }

    /// Takes what a peer believes though no evidence decided it. Where we do not decide either and believe something
    /// else, both come to up: nobody is kept out for what one of two remembers.
    pub fn meet(&mut self, peer: &Held) {
        for ((service, id), believed) in &mut self.believed {
            let theirs = peer.0.get(service).and_then(|targets| targets.get(id));
            if let Some(theirs) = theirs
                && !believed.is_decided()
                && theirs.verdict != believed.verdict
            {
                (believed.verdict, believed.since) = (Verdict::Up, None);
            }
        }
    }

    /// When something changes next though nobody says anything: a lease ends, a share grows.
    pub fn next_change(&self) -> Option<Duration> {
        self.next_change
    }
}

#[cfg(test)]
mod tests;
