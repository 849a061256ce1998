//! What the agents of a site make of its VIPs, from within: a pair's two reports become one view of each VIP and port.
//!
//! inbox ─▶ voices (what each agent last said) ─▶ owner, standby or sum ─▶ views
//!
//! Pure. What it keeps from one look to the next is the last view that somebody's fresh word gave: a drain outlives its
//! report, a VIP that nobody owns keeps its last owner for a while, and silence tells nothing new.

mod word;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use common::report::agent::{MOST_VIPS, Rate};
use serde::{Deserialize, Serialize};

use self::word::{Words, decide};
use crate::inbox::agents::VipStream;

/// For so long a VIP that no router has is its last owner's still; and as long two of them may have it before
/// somebody is told. A router that takes over needs less.
pub const SETTLING: Duration = Duration::from_secs(3);

/// By how much one instant of an agent's clock moves on ours from report to report.
const JITTER: Duration = Duration::from_secs(1);

/// What agents say of their sites, by site; then by VIP and port.
pub type Views = BTreeMap<Box<str>, SiteViews>;
pub type SiteViews = BTreeMap<SocketAddr, View>;

/// What agents say now, under a number that is another whenever answers may follow from it.
#[derive(Clone, Copy, Debug)]
pub struct Said<'a> {
    pub number: u64,
    pub views: &'a Views,
}

/// Keeps what outlives reports.
#[derive(Debug, Default)]
pub struct Inside(BTreeMap<Box<str>, BTreeMap<SocketAddr, Memory>>);

/// What is known of a VIP and port from within its site.
#[derive(Clone, Debug, PartialEq)]
pub struct View {
    pub state: State,
    pub ground: Ground,
    /// When the state began, on our clock; `None` if that is not known.
    pub since: Option<Duration>,
    /// When the oldest of the reports came that it rests on; `None` after a restart of ours.
    pub heard: Option<Duration>,
    /// Who has it; `None` where each box has it for itself, and where nobody has.
    pub owner: Option<Box<str>>,
    pub capacity: Option<f64>,
    pub load: Option<f64>,
    pub offer: Option<f64>,
    pub backends_up: u32,
    pub backends: u32,
    pub flaps: u32,
    /// Two routers say that they have it, and have said so for longer than any takeover lasts.
    pub is_dual_active: bool,
}

/// Of a VIP and port, as seen from within.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    Serving,
    /// Its boxes answer, and have nothing to serve.
    Empty,
    /// An operator wants no clients there.
    Drained,
    /// Nobody's word on it holds.
    Stale,
}

/// How a view came about.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Ground {
    /// The word of the agent whose router has the VIP.
    Owner,
    /// No router has it since a moment ago: as its last owner had it.
    LastOwner,
    /// Whoever may own it is silent: the other's states and backends.
    Standby,
    /// Each box has it for itself: what they say together.
    Sum,
    /// It was drained, and no fresh word has ended that.
    Held,
    /// No router has it, for longer than a takeover lasts.
    Unowned,
    /// Too few speak to say anything.
    Silence,
}

/// How an agent is heard.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Standing {
    /// Nothing was ever heard of it on its site.
    NeverHeard,
    /// Its last report holds no more.
    Silent,
    Heard,
}

/// An agent that a site names, and what it last said of that site.
#[derive(Clone, Copy, Debug)]
pub struct Voice<'a> {
    pub agent: &'a str,
    pub stream: Option<&'a VipStream>,
}

/// VIPs that were drained, by site: what a restart needs to know.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Drained(BTreeMap<Box<str>, BTreeSet<SocketAddr>>);

#[derive(Clone, Debug)]
struct Memory {
    /// The last view that somebody's fresh word gave.
    last: View,
    /// Since when no router has it, as far as that is so.
    unowned_since: Option<Duration>,
}

impl Inside {
    /// Nothing is known but what was drained.
    pub fn restored(drained: Drained) -> Inside {
        let sites = drained.0.into_iter().map(|(site, vips)| {
            let memory = |at| (at, Memory { last: View::drained(), unowned_since: None });
            (site, vips.into_iter().map(memory).collect())
        });
        Inside(sites.collect())
    }

    pub fn drained(&self) -> Drained {
        let sites = self.0.iter().map(|(site, vips)| {
            let is_drained = |memory: &Memory| memory.last.state == State::Drained;
            let vips = vips.iter().filter(|(_, memory)| is_drained(memory)).map(|(at, _)| *at);
            (site.clone(), vips.collect::<BTreeSet<_>>())
        });
        Drained(sites.filter(|(_, vips)| !vips.is_empty()).collect())
    }

    /// What is known now of every VIP of these sites; what is not among them is forgotten.
    pub fn look<'a>(
        &mut self,
        now: Duration,
        sites: impl IntoIterator<Item = (&'a str, Vec<Voice<'a>>)>,
    ) -> Views {
        let (mut before, mut views) = (std::mem::take(&mut self.0), Views::new());
        for (site, voices) in sites {
            let mut memories = before.remove(site).unwrap_or_default();
            let seen = look_at(now, &voices, &mut memories);
            self.0.insert(site.into(), memories);
            views.insert(site.into(), seen);
        }
        views
    }
}

fn look_at(
    now: Duration,
    voices: &[Voice<'_>],
    memories: &mut BTreeMap<SocketAddr, Memory>,
) -> SiteViews {
    let told = voices.iter().filter_map(|voice| voice.stream).flat_map(|stream| stream.entries());
    let mut all: BTreeSet<SocketAddr> = told.map(|(at, _)| at).collect();
    // What no report names any more may be remembered while somebody is silent, and fills no memory.
    let unnamed: Vec<SocketAddr> =
        memories.keys().filter(|at| !all.contains(at)).take(MOST_VIPS).copied().collect();
    all.extend(unnamed);
    let (mut before, mut views) = (std::mem::take(memories), SiteViews::new());
    for at in all {
        let memory = before.remove(&at);
        if let Some((view, memory)) = look_at_one(&Words::of(now, voices, at), memory) {
            views.insert(at, view);
            memories.extend(memory.map(|memory| (at, memory)));
        }
    }
    views
}

/// A VIP's view, and what is to be remembered of it; `None` if all speak and nobody has such a VIP.
fn look_at_one(words: &Words<'_>, memory: Option<Memory>) -> Option<(View, Option<Memory>)> {
    let (last, unowned_since) = match memory {
        Some(Memory { last, unowned_since }) => (Some(last), unowned_since),
        None => (None, None),
    };
    let was_drained = last.as_ref().is_some_and(|last| last.state == State::Drained);
    let remember =
        |last: Option<View>, unowned_since| last.map(|last| Memory { last, unowned_since });
    match decide(words) {
        Decision::Gone => None,
        // It said so while the drain was on too, and the owner is at work, or it were not a standby.
        Decision::Said(view) if view.ground == Ground::Standby && was_drained => {
            let held =
                last.as_ref().map(|last| last.now(State::Drained, Ground::Held, last.since))?;
            Some((held, remember(last, None)))
        }
        Decision::Said(view) => {
            let view = view.steady(last.as_ref()).unbroken(last.as_ref());
            Some((view.clone(), remember(Some(view), None)))
        }
        Decision::Unowned => {
            let since = unowned_since.unwrap_or(words.now);
            let had_owner = last.as_ref().is_some_and(|last| last.owner.is_some());
            let settled = if had_owner { since + SETTLING } else { since };
            let view = match &last {
                Some(last) if was_drained => last.now(State::Drained, Ground::Held, last.since),
                Some(last) if words.now < settled => {
                    last.now(last.state, Ground::LastOwner, last.since)
                }
                Some(last) => last.now(State::Stale, Ground::Unowned, Some(settled)),
                None => View { ground: Ground::Unowned, ..View::stale(Some(settled)) },
            };
            Some((view, remember(last, Some(since))))
        }
        Decision::Unsaid { since } => {
            let view = match &last {
                Some(last) if was_drained => last.now(State::Drained, Ground::Held, last.since),
                Some(last) => last.now(State::Stale, Ground::Silence, since),
                None => View::stale(since),
            };
            Some((view, remember(last, None)))
        }
    }
}

/// What fresh words alone come to.
#[derive(Debug)]
enum Decision {
    Said(View),
    /// Its routers are all heard, and none has it.
    Unowned,
    /// Too few are heard, since then.
    Unsaid {
        since: Option<Duration>,
    },
    /// All are heard, and nobody has such a VIP.
    Gone,
}

impl View {
    fn stale(since: Option<Duration>) -> View {
        View {
            state: State::Stale,
            ground: Ground::Silence,
            since,
            heard: None,
            owner: None,
            capacity: None,
            load: None,
            offer: None,
            backends_up: 0,
            backends: 0,
            flaps: 0,
            is_dual_active: false,
        }
    }

    fn drained() -> View {
        View { state: State::Drained, ground: Ground::Held, ..View::stale(None) }
    }

    /// Whether the same follows from both, however long ago and by whom they were told.
    pub fn comes_to(&self, other: &View) -> bool {
        let all = |view: &View| (view.state, view.since, view.flaps, view.capacity);
        let servers = |view: &View| (view.backends_up, view.backends);
        all(self) == all(other) && servers(self) == servers(other)
    }

    /// With the same beginning as before, if it is the same but for how long reports were under way.
    fn steady(self, last: Option<&View>) -> View {
        let before = last.filter(|last| last.state == self.state).and_then(|last| last.since);
        match (before, self.since) {
            (Some(before), Some(since)) if before.abs_diff(since) < JITTER => {
                View { since: Some(before), ..self }
            }
            _ => self,
        }
    }

    /// What serves and has served all along, by one box or the other, has not come back, whichever of them was away.
    fn unbroken(self, last: Option<&View>) -> View {
        let is_serving = |view: &View| view.state == State::Serving;
        match last.filter(|last| is_serving(last) && is_serving(&self)) {
            Some(last) => {
                let (since, flaps) = (self.since.min(last.since), self.flaps.min(last.flaps));
                View { since, flaps, ..self }
            }
            None => self,
        }
    }

    /// The same numbers in another state: they are as old as `heard` says.
    fn now(&self, state: State, ground: Ground, since: Option<Duration>) -> View {
        View { state, ground, since, is_dual_active: false, ..self.clone() }
    }
}

impl Voice<'_> {
    pub fn standing(&self, now: Duration) -> Standing {
        match self.stream {
            Some(stream) if stream.is_fresh(now) => Standing::Heard,
            Some(stream) if stream.lease_ends().is_some() => Standing::Silent,
            Some(_) | None => Standing::NeverHeard,
        }
    }
}

impl Standing {
    /// As metrics name them.
    pub const ALL: [Standing; 3] = [Standing::NeverHeard, Standing::Silent, Standing::Heard];

    pub fn as_str(self) -> &'static str {
        match self {
            Standing::NeverHeard => "never_heard",
            Standing::Silent => "silent",
            Standing::Heard => "heard",
        }
    }
}

impl State {
    pub fn as_str(self) -> &'static str {
        match self {
            State::Serving => "serving",
            State::Empty => "empty",
            State::Drained => "drained",
            State::Stale => "stale",
        }
    }
}

impl fmt::Display for Ground {
    /// For people.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Ground::Owner => "its owner says so",
            Ground::LastOwner => "no router has it just now, as its last owner said",
            Ground::Standby => "its owner is silent, the standby says so",
            Ground::Sum => "as its boxes say",
            Ground::Held => "it was drained, and nobody has ended that",
            Ground::Unowned => "no router has it",
            Ground::Silence => "too few agents are heard",
        })
    }
}

/// Rates added up; none if nobody tells any.
fn sum(rates: impl Iterator<Item = Option<Rate>>) -> Option<f64> {
    rates.flatten().map(Rate::per_second).reduce(|all, one| all + one)
}

#[cfg(test)]
mod tests;
