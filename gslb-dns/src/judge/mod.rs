//! What all vantages say, judged for every service at one moment.
//!
//! inbox ─▶ hear (rows, whose word counts) ─▶ target (tally, quorum) ─▶ views (cap, grace) ─▶ board
//! inside ─▶ within (joined with what vantages say) ────────────────────┘
//!
//! Pure. What it keeps from one judgement to the next are the verdicts that evidence may hold, who is answered within
//! the grace of a start, and how far it has heard: only what was said since is judged, and what time alone has changed,
//! and it comes to the same as if all were judged (`tests::follow::what_is_followed_is_as_if_all_were_judged`).

mod address;
mod back;
mod case;
mod hear;
mod target;
mod views;
mod within;

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use common::target::TargetId;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use self::back::Return;

use self::case::{Case, Of, addresses_of};
use self::hear::Hearing;
use crate::health::view::{View, Views};
use crate::inbox::Inbox;
use crate::inside::Said;
use crate::verdict::Verdict;
use crate::verdict::quorum::Ground;
use crate::verdict::row::Distrust;
use crate::world::{Epoch, Service, World};

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
    /// Of what is down: the share that saw it up all the same, in millionths, when that was decided last. It ranks
    /// those of which not all may be taken out.
    #[serde(default)]
    up: u32,
}

#[derive(Debug)]
pub struct Judge {
    /// By service and target: what was believed before anything was judged.
    before: Verdicts,
    watched: Option<Watched>,
    judgement: Judgement,
    /// Until when nobody is taken out.
    grace_ends: Duration,
    /// When it judged last.
    judged_at: Duration,
    /// When something changes next though nobody says anything.
    next_change: Option<Duration>,
    /// Counts the changes of what a restart will want to know.
    revision: u64,
}

type Verdicts = HashMap<(Box<str>, TargetId), Believed>;

/// What is watched in one world, by its numbers.
#[derive(Debug)]
struct Watched {
    epoch: Epoch,
    hearing: Hearing,
    /// By service; `None` where nobody watches.
    cases: Vec<Option<Case>>,
    /// By service: when something of it changes next though nobody says anything.
    next_changes: Vec<Option<Duration>>,
    by_name: HashMap<Box<str>, usize>,
    ids: Vec<TargetId>,
    by_id: HashMap<TargetId, usize>,
    /// By target, the services that watch it.
    watchers: Vec<Vec<usize>>,
    /// Targets of which something else is believed than was last judged.
    met: Vec<usize>,
    /// By site, how many addresses it has.
    addresses: Vec<usize>,
    /// The number under which agents' words were heard last.
    inside: Option<u64>,
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
    /// Its way back, if it was down before.
    returned: Option<Return>,
}

/// When something began, on both clocks.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Since {
    monotonic: Duration,
    wall: Timestamp,
}

impl Since {
    fn at(now: Now, monotonic: Duration) -> Since {
        let ago = now.monotonic.saturating_sub(monotonic);
        let wall = now.wall.checked_sub(ago).unwrap_or(Timestamp::UNIX_EPOCH);
        // Cut as history cuts its times, so that neither is shown as after the other.
        let wall = Timestamp::from_second(wall.as_second()).unwrap_or(wall);
        Since { monotonic, wall }
    }
}

/// What a judgement brought.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum News {
    Nothing,
    /// The same is believed, for other reasons or since another time: nobody is answered otherwise.
    Words,
    /// Something that is answered may differ.
    Answers,
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

impl News {
    /// Of views that are not the same.
    fn between(before: Option<&[View]>, after: &[View]) -> News {
        let is_answered_alike = |before: &[View]| {
            let mut both = before.iter().zip(after);
            before.len() == after.len() && both.all(|(one, other)| one.is_answered_as(other))
        };
        if before.is_some_and(is_answered_alike) { News::Words } else { News::Answers }
    }
}

impl Believed {
    /// What of it outlives a restart.
    fn kept(&self) -> HeldVerdict {
        let Believed { verdict, is_certain: certain, up_share, .. } = *self;
        let up = if verdict == Verdict::Down { (up_share * 1e6).round() as u32 } else { 0 };
        HeldVerdict { verdict, certain, up }
    }

    /// Takes what a peer believes, if no evidence decides it here; whether that is something else.
    fn meet(&mut self, theirs: HeldVerdict) -> bool {
        let ours = self.kept();
        let met = ours.met(theirs);
        if self.is_decided() || met == ours {
            return false;
        }
        if met.verdict != ours.verdict {
            (self.verdict, self.since) = (met.verdict, None);
        }
        (self.is_certain, self.up_share) = (met.certain, met.up_share());
        true
    }

    /// Whether present evidence says so.
    fn is_decided(&self) -> bool {
        self.ground == Some(Ground::Decided)
    }
}

impl HeldVerdict {
    /// What both of two come to who remember this and that: whatever the order, the same, and never less up.
    fn met(self, other: HeldVerdict) -> HeldVerdict {
        if self.verdict != other.verdict {
            return HeldVerdict { verdict: Verdict::Up, certain: false, up: 0 };
        }
        let up = match self.verdict {
            Verdict::Down => self.up.max(other.up.min(1_000_000)),
            Verdict::Unknown | Verdict::Up | Verdict::Slow => 0,
        };
        HeldVerdict { verdict: self.verdict, certain: self.certain && other.certain, up }
    }

    fn up_share(self) -> f64 {
        f64::from(self.up) / 1e6
    }
}

impl Held {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many verdicts there are.
    pub fn len(&self) -> usize {
        self.0.values().map(BTreeMap::len).sum()
    }

    /// The first so many, by service and target.
    #[must_use]
    pub fn first(self, most: usize) -> Held {
        let mut left = most;
        let services = self.0.into_iter().map_while(|(service, mut targets)| {
            let rest = targets.keys().nth(left).copied();
            drop(rest.map(|rest| targets.split_off(&rest)));
            left -= targets.len();
            (!targets.is_empty()).then_some((service, targets))
        });
        Held(services.collect())
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
        let before = held.0.into_iter().flat_map(|(service, targets)| {
            let of = move |(id, held)| {
                let HeldVerdict { verdict, certain: is_certain, up: _ } = held;
                let up_share = held.up_share();
                let believed = Believed { verdict, is_certain, up_share, ..Believed::default() };
                ((service.clone(), id), believed)
            };
            targets.into_iter().map(of)
        });
        Judge {
            before: before.collect(),
            watched: None,
            judgement: Judgement::default(),
            grace_ends: now + GRACE,
            judged_at: now,
            next_change: None,
            revision: 0,
        }
    }

    /// What is to be known after a restart.
    pub fn held(&self) -> Held {
        self.of(|_| true)
    }

    /// Another number whenever that may be something else.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    fn of(&self, is_wanted: impl Fn(&Believed) -> bool) -> Held {
        let mut held = Held::default();
        let before = self.before.iter().map(|((service, id), believed)| (service, *id, believed));
        let now = self.watched.iter().flat_map(Watched::believed);
        for (service, id, believed) in before.chain(now) {
            if is_wanted(believed) {
                let targets = held.0.entry(service.clone()).or_default();
                targets.insert(id, believed.kept());
            }
        }
        held
    }

    /// Judges everything at `now`, as far as it may be something else than it was. Verdicts of what is not in the world
    /// are forgotten. `inside` is what agents make of their sites.
    pub fn judge(&mut self, now: Now, world: &World, inbox: &Inbox, inside: Said<'_>) -> News {
        let is_other_world = self.watched.as_ref().is_none_or(|of| of.epoch != world.epoch);
        if is_other_world {
            self.enter(world);
        }
        let Some(watched) = &mut self.watched else { return News::Nothing };
        let is_grace = now.monotonic < self.grace_ends;
        let was_grace = self.judged_at < self.grace_ends;
        // In another light, or on a clock that went back, nothing need be as it was.
        let is_anew = is_other_world || is_grace != was_grace || now.monotonic < self.judged_at;
        if is_anew {
            watched.hearing.forget();
        }
        self.judged_at = now.monotonic;
        let addresses = &watched.addresses;
        let of = |index: usize| {
            let service = &world.services[index];
            let watch = service.watch.as_ref()?;
            Some(Of { now, world, service, watch, inside: inside.views, addresses, is_grace })
        };
        let is_said_anew = watched.inside.replace(inside.number) != Some(inside.number);
        let targets = watched.hearing.hear(now.monotonic, world, inbox, &watched.by_id);
        let mut is_kept_anew = is_other_world;
        let mut is_touched = vec![is_anew; world.services.len()];
        for target in targets.into_iter().chain(std::mem::take(&mut watched.met)) {
            let votes = watched.hearing.votes(target);
            for &index in &watched.watchers[target] {
                if let (Some(case), Some(of)) = (&mut watched.cases[index], of(index)) {
                    is_kept_anew |= case.judge(of, target, &votes);
                    is_touched[index] = true;
                }
            }
        }
        let mut news = if is_other_world { News::Answers } else { News::Nothing };
        for (index, is_touched) in is_touched.into_iter().enumerate() {
            // Looked at for every service at every report: nothing else of one that has not changed is.
            let next_change = &mut watched.next_changes[index];
            let is_due = is_touched || next_change.is_some_and(|at| at <= now.monotonic);
            if !is_due && !is_said_anew {
                continue;
            }
            let (Some(case), Some(of)) = (&mut watched.cases[index], of(index)) else { continue };
            if !(is_said_anew && case.hear_within(of) || is_due) {
                continue;
            }
            let (views, next) = case.view(of);
            *next_change = next;
            let before = &mut self.judgement.views.0[index];
            // Whoever has the same already knows it by the pointer.
            if before.as_deref() != Some(&*views) {
                news = news.max(News::between(before.as_deref(), &views));
                *before = Some(views.into());
            }
        }
        let next = watched.next_changes.iter().flatten().min().copied();
        self.judgement.vantages.clone_from_slice(watched.hearing.standings());
        self.revision += u64::from(is_kept_anew);
        let changes =
            [next, inbox.next_silence(now.monotonic), is_grace.then_some(self.grace_ends)];
        self.next_change = changes.into_iter().flatten().min();
        news
    }

    /// What came of the last judgement.
    pub fn judgement(&self) -> &Judgement {
        &self.judgement
    }

    /// Takes over what is believed of that which this world has too.
    fn enter(&mut self, world: &World) {
        let mut before = std::mem::take(&mut self.before);
        let left = self.watched.take();
        let believed = left.iter().flat_map(Watched::believed);
        before.extend(believed.map(|(service, id, believed)| ((service.clone(), id), *believed)));
        let mut watched = Watched::of(world, &before);
        if let Some(left) = left {
            watched.stay(left);
        }
        self.watched = Some(watched);
        self.judgement.views = Views(vec![None; world.services.len()]);
        self.judgement.vantages = vec![Standing::NeverHeard; world.vantages.len()];
    }

    /// What is believed of one target of a service, and how that came about.
    pub fn of_target(&self, service: &Service, target: TargetId) -> (Verdict, &'static str) {
        let name = service.name.to_host().to_string();
        let believed = self.watched.as_ref().and_then(|watched| watched.of_target(&name, target));
        let believed = believed.copied().unwrap_or_default();
        (believed.verdict, believed.ground.map_or("never judged", Ground::as_str))
    }

    /// How one target of a service comes back, if it does.
    pub fn return_of(&self, service: &Service, target: TargetId) -> Option<Return> {
        let watched = self.watched.as_ref()?;
        let index = watched.by_name.get(&*service.name.to_host().to_string())?;
        watched.cases[*index].as_ref()?.return_of(*watched.by_id.get(&target)?)
    }

    /// What was believed at the last judgement though no evidence decided it: what peers tell each other.
    pub fn undecided(&self) -> Held {
        self.of(|believed| !believed.is_decided())
    }

    /// Takes what a peer believes though no evidence decided it; how many of our verdicts that changes. Where we do
    /// not decide either and believe something else, both come to up: nobody is kept out for what one of two
    /// remembers. What evidence decides here no peer changes, and nothing is ever turned but to up.
    pub fn meet(&mut self, peer: &Held) -> usize {
        let mut changed = 0;
        for (service, targets) in &peer.0 {
            for (id, theirs) in targets {
                let is_changed = match &mut self.watched {
                    Some(watched) => watched.meet(service, *id, *theirs),
                    None => {
                        let ours = self.before.get_mut(&(service.clone(), *id));
                        ours.is_some_and(|ours| ours.meet(*theirs))
                    }
                };
                changed += usize::from(is_changed);
            }
        }
        self.revision += changed as u64;
        changed
    }

    /// The number under which agents' words were heard last.
    pub fn has_heard(&self) -> Option<u64> {
        self.watched.as_ref()?.inside
    }

    /// When something changes next though nobody says anything: a lease ends, a share grows.
    pub fn next_change(&self) -> Option<Duration> {
        self.next_change
    }
}

impl Watched {
    fn of(world: &World, before: &Verdicts) -> Watched {
        let numbers = world.targets.iter().enumerate();
        let by_id = numbers.map(|(number, (id, _))| (*id, number)).collect();
        let mut watchers = vec![Vec::new(); world.targets.len()];
        let (mut cases, mut by_name) = (Vec::new(), HashMap::new());
        for (index, service) in world.services.iter().enumerate() {
            let Some(watch) = &service.watch else {
                cases.push(None);
                continue;
            };
            let name: Box<str> = service.name.to_host().to_string().into();
            let mut case = Case::default();
            for &target in watch.candidates.iter().flatten().flat_map(|vip| &vip.targets) {
                if watchers[target].last() != Some(&index) {
                    watchers[target].push(index);
                }
                let known = before.get(&(name.clone(), world.targets[target].0));
                case.believed.extend(known.map(|known| (target, *known)));
            }
            cases.push(Some(case));
            by_name.insert(name, index);
        }
        Watched {
            epoch: world.epoch,
            hearing: Hearing::new(world),
            next_changes: vec![None; cases.len()],
            cases,
            by_name,
            ids: world.targets.iter().map(|(id, _)| *id).collect(),
            by_id,
            watchers,
            met: vec![],
            addresses: addresses_of(world),
            inside: None,
        }
    }

    /// Whoever was answered since a start stays so, by the names of services and sites.
    fn stay(&mut self, mut left: Watched) {
        for (name, index) in &self.by_name {
            let before = left.by_name.get(name).and_then(|index| left.cases[*index].take());
            if let (Some(before), Some(case)) = (before, &mut self.cases[*index]) {
                case.answered = before.answered;
            }
        }
    }

    fn meet(&mut self, service: &str, target: TargetId, theirs: HeldVerdict) -> bool {
        let case = self.by_name.get(service).and_then(|index| self.cases[*index].as_mut());
        let (Some(case), Some(number)) = (case, self.by_id.get(&target)) else { return false };
        let is_changed = case.believed.get_mut(number).is_some_and(|ours| ours.meet(theirs));
        if is_changed {
            self.met.push(*number);
        }
        is_changed
    }

    fn of_target(&self, service: &str, target: TargetId) -> Option<&Believed> {
        let case = self.cases[*self.by_name.get(service)?].as_ref()?;
        case.believed.get(self.by_id.get(&target)?)
    }

    fn believed(&self) -> impl Iterator<Item = (&Box<str>, TargetId, &Believed)> {
        self.by_name.iter().flat_map(move |(name, index)| {
            let believed = self.cases[*index].iter().flat_map(|case| &case.believed);
            believed.map(move |(target, believed)| (name, self.ids[*target], believed))
        })
    }
}

#[cfg(test)]
mod tests;
