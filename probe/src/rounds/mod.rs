//! The probe's rounds: what is asked for comes in, looks go out, what they come to is told.
//!
//! assignment ─▶ asked ─▶ due ─▶ (a look) ─▶ judge, blind ─▶ posts for each name server
//!
//! Joins the rooms that decide; the shell around it looks, sends and reads the clock.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use common::assignment::Assignment;
use common::report::{Entry, LONGEST_DETAIL, Own, State};
use common::seen::Seen;
use common::target::{Target, TargetId};
use serde::Serialize;

use crate::asked::{Asked, Change, Hears, Server};
use crate::blind::Blind;
use crate::due::{self, Due};
use crate::judge::{Judge, Judged, unlookable};

/// With more targets than this, details are shorter, so that a whole report fits its bounds.
const MANY_TARGETS: usize = 10_000;
const SHORT_DETAIL: usize = 64;

#[derive(Debug)]
pub struct Rounds {
    asked: Asked,
    due: Due,
    watched: HashMap<TargetId, Watched>,
    references: BTreeSet<TargetId>,
    blind: Blind,
    own: Own,
}

#[derive(Debug)]
struct Watched {
    target: Arc<Target>,
    judge: Judge,
    /// As last told; `None` before the first look.
    said: Option<Arc<str>>,
}

/// Something for one name server.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Post {
    pub to: Server,
    pub target: TargetId,
    /// The entry; `None` if it hears of the target no more.
    pub octets: Option<Arc<str>>,
}

/// A look to begin now.
#[derive(Clone, Debug)]
pub struct Begun {
    pub id: TargetId,
    pub target: Arc<Target>,
    pub is_late: bool,
}

/// What a look changed.
#[derive(Debug, Default)]
pub struct Ended {
    pub posts: Vec<Post>,
    /// The state before and after, if it became another.
    pub changed: Option<(State, State)>,
}

/// What the probe knows, for people.
#[derive(Debug, Serialize)]
pub struct Shown {
    pub target: Entry,
    pub address: String,
    pub port: u16,
    pub host: String,
    pub is_reference: bool,
    /// Name servers that hear of it.
    pub asked_by: Vec<String>,
}

impl Rounds {
    pub fn new(probe: &str, looks_at_once: usize, version: &str, now: Duration) -> Rounds {
        Rounds {
            asked: Asked::default(),
            due: Due::new(probe, looks_at_once, now),
            watched: HashMap::new(),
            references: BTreeSet::new(),
            blind: Blind::default(),
            own: Own { version: version.to_owned(), ..Own::default() },
        }
    }

    pub fn assign(&mut self, now: Duration, server: Server, assignment: Assignment) -> Vec<Post> {
        let change = self.asked.assign(server, assignment);
        self.change(now, change)
    }

    /// Forgets what other name servers asked for.
    pub fn keep(&mut self, now: Duration, servers: &BTreeSet<Server>) -> Vec<Post> {
        let change = self.asked.keep(servers);
        self.change(now, change)
    }

    pub fn refer_to(&mut self, now: Duration, references: Vec<Target>) -> Vec<Post> {
        self.references = references.iter().map(Target::id).collect();
        let change = self.asked.refer_to(references);
        self.blind.refer_to(self.references.iter().copied());
        let posts = self.change(now, change);
        // Somebody may ask for a reference too, and what was one may go on as a target alone.
        for (id, Watched { target, .. }) in &self.watched {
            if self.references.contains(id) {
                self.blind.remove(*id);
            } else {
                let interval = target.check.timing.interval();
                self.blind.add(*id, target.address.clone(), interval);
            }
        }
        self.count_references();
        posts
    }

    pub fn limit(&mut self, looks_at_once: usize) {
        self.due.limit(looks_at_once);
    }

    pub fn target(&self, id: TargetId) -> Option<&Target> {
        self.watched.get(&id).map(|watched| &*watched.target)
    }

    pub fn assignment(&self, server: &str) -> Option<&Assignment> {
        self.asked.assignment(server)
    }

    fn change(&mut self, now: Duration, change: Change) -> Vec<Post> {
        let Change { begin, end, tell, drop } = change;
        for id in end {
            self.due.remove(id);
            self.blind.remove(id);
            self.watched.remove(&id);
        }
        for (id, target) in begin {
            let timing = target.check.timing;
            self.due.add(now, id, timing.interval());
            // A reference says whether we see; whether it is also a target of somebody makes no difference to that.
            if !self.references.contains(&id) {
                self.blind.add(id, target.address.clone(), timing.interval());
            }
            let judge = Judge::new(id, timing, now);
            self.watched.insert(id, Watched { target, judge, said: None });
        }
        let dropped = drop.into_iter().map(|(to, target)| Post { to, target, octets: None });
        dropped.chain(self.posts(tell)).collect()
    }

    /// All that a name server hears of: for one that is told from the beginning.
    pub fn everything_for(&self, server: &Server) -> Vec<Post> {
        let hears = self.asked.told(server);
        let tell = hears.map(|(id, hears)| (Arc::clone(server), id, hears.clone())).collect();
        self.posts(tell).collect()
    }

    fn posts(&self, tell: Vec<(Server, TargetId, Hears)>) -> impl Iterator<Item = Post> {
        tell.into_iter().filter_map(|(to, target, hears)| {
            let octets = match hears {
                // What was not looked at yet is told when it was.
                Ok(()) => self.watched.get(&target)?.said.clone()?,
                Err(why_not) => written(&unlookable(target, &why_not), self.longest_detail()),
            };
            Some(Post { to, target, octets: Some(octets) })
        })
    }

    /// To be called at least once a second; how many looks were left out because the process stood still.
    pub fn turn(&mut self, now: Duration) -> usize {
        let missed = self.due.turn(now);
        self.judge_self(now);
        missed
    }

    pub fn next_wakeup(&self) -> Option<Duration> {
        self.due.next_wakeup()
    }

    pub fn running(&self) -> usize {
        self.due.running()
    }

    /// The next look that is to begin now.
    pub fn begin(&mut self, now: Duration) -> Option<Begun> {
        let due::Begun { target: id, late } = self.due.begin(now)?;
        let target = Arc::clone(&self.watched.get(&id)?.target);
        Some(Begun { id, target, is_late: late > due::LATE })
    }

    /// Takes what a look came to. `today` is in Unix seconds, `chance` from 0 to 1.
    pub fn end(
        &mut self,
        now: Duration,
        id: TargetId,
        seen: &Seen,
        today: i64,
        chance: f64,
    ) -> Ended {
        let result = self.due.end(id);
        let longest = self.longest_detail();
        let mut ended = Ended::default();
        let mut is_in_doubt = false;
        if let (due::Result::Counts, Some(watched)) = (result, self.watched.get_mut(&id)) {
            let (before, since) = (watched.judge.state(), watched.judge.since());
            let judged = watched.judge.on_seen(now, seen, today);
            let Judged { is_in_doubt: doubt, outcome } = judged;
            is_in_doubt = doubt;
            let state = watched.judge.state();
            // Else it would seem to have come back, and be given its clients by and by.
            if before == State::Down && state == State::Up && self.blind.was_dark(now, since) {
                watched.judge.take_back();
            }
            ended.changed = (before != state).then_some((before, state));
            let octets = written(&watched.judge.entry(), longest);
            if watched.said.as_ref() != Some(&octets) {
                watched.said = Some(Arc::clone(&octets));
                let post = |to: &Server| Post {
                    to: Arc::clone(to),
                    target: id,
                    octets: Some(Arc::clone(&octets)),
                };
                ended.posts = self.asked.askers(id).map(post).collect();
            }
            if let Some(outcome) = outcome {
                self.blind.on_result(now, id, outcome, state);
            }
        }
        self.due.plan(now, id, is_in_doubt, chance);
        self.judge_self(now);
        ended
    }

    fn judge_self(&mut self, now: Duration) {
        self.own.blind = self.blind.judge(now, self.due.behind(now));
        self.count_references();
    }

    fn count_references(&mut self) {
        let references = self.blind.references();
        let count = |number: usize| u16::try_from(number).unwrap_or(u16::MAX);
        self.own.references_up = count(references.up);
        self.own.references = count(references.all);
    }

    /// What the probe says of itself now.
    pub fn own(&self) -> &Own {
        &self.own
    }

    /// How many targets are in each state.
    pub fn states(&self) -> BTreeMap<&'static str, usize> {
        let states = [State::Up, State::Slow, State::Down, State::None];
        let mut counts: BTreeMap<_, _> = states.map(|state| (state.as_str(), 0)).into();
        for watched in self.watched.values() {
            *counts.entry(watched.judge.state().as_str()).or_default() += 1;
        }
        counts
    }

    /// All that is looked at, in the order of their addresses.
    pub fn shown(&self) -> Vec<Shown> {
        let mut all: Vec<Shown> = self
            .watched
            .iter()
            .map(|(id, Watched { target, judge, said: _ })| Shown {
                target: judge.entry(),
                address: target.address.to_string(),
                port: target.port,
                host: target.host.clone(),
                is_reference: self.references.contains(id),
                asked_by: self.asked.askers(*id).map(ToString::to_string).collect(),
            })
            .collect();
        all.sort_by_cached_key(|shown| (shown.address.clone(), shown.port, shown.target.target));
        all
    }

    fn longest_detail(&self) -> usize {
        if self.watched.len() > MANY_TARGETS { SHORT_DETAIL } else { LONGEST_DETAIL }
    }
}

/// The octets of an entry.
fn written(entry: &Entry, longest_detail: usize) -> Arc<str> {
    let cut = entry.detail.floor_char_boundary(longest_detail);
    let entry = Entry { detail: entry.detail[..cut].to_owned(), ..entry.clone() };
    serde_json::to_string(&entry).expect("numbers, strings and lists are JSON").into()
}

#[cfg(test)]
mod tests;
