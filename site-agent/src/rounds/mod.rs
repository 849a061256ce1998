//! Which server is looked at when, and what the looks come to; and when each is asked for its own line.
//!
//! site ─▶ `Wanted` ─▶ `Rounds` ─▶ `Begun` ─▶ check (looks, asks) ─▶ `Rounds` ─▶ `Told` ─▶ backends
//!
//! A server is looked at every `interval` while it is up, every `fast_interval` on the way between up and down and
//! until it is known, and every `down_interval` while it is down: HAProxy's `inter`, `fastinter` and `downinter`, from
//! the beginning of one look to that of the next. The first looks are spread, so that not all of a site's are in
//! step; a second apart at most, because who was never looked at serves for want of others alone. Takes the time and the dice as
//! arguments.

mod course;
#[cfg(test)]
mod tests;
mod timetable;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use common::report::Reason;
use common::seen::Seen;
use common::streak::{Outcome, Progress, State, Streak};

use self::course::{Course, Task};
use crate::agent_check::Line;
use crate::backends::{Checked, Event, Source, Why};
use crate::site::{AgentCheck, PoolId, ServerCheck, ServerId, Site};

/// Looks at a time, and as many lines: as many as a pool can have servers. More begin when others have ended.
pub const MOST_AT_ONCE: usize = 4096;
/// All are looked at for the first time within this, or within their interval where that is shorter.
pub const FIRST_WITHIN: Duration = Duration::from_secs(1);
/// The shell turns at least twice a second. After a longer pause nothing ran: the process was stopped, or the machine.
const STOPPED: Duration = Duration::from_secs(3);

/// Looks at one server, or its lines, from the config that asks for them to the one that asks for something else.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Series(u64);

/// A server, by the newest site's ids.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Which {
    pub pool: PoolId,
    pub server: ServerId,
}

/// A server, by what it is called whatever its ids are.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Name {
    pub pool: Arc<str>,
    pub server: Arc<str>,
}

/// What a site wants of one server.
#[derive(Clone, Debug)]
pub struct Wanted {
    pub which: Which,
    pub name: Name,
    pub address: SocketAddr,
    pub check: Option<ServerCheck>,
    pub agent: Option<AgentCheck>,
}

/// What to do now.
#[derive(Clone, Debug)]
pub enum Begun {
    Look(Series, Arc<ServerCheck>),
    Line(Series, Arc<Inquiry>),
}

/// Where and how a server is asked for its line.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Inquiry {
    pub at: SocketAddr,
    pub agent: AgentCheck,
}

/// What a look, or an operator's word in its stead, came to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Told {
    pub which: Which,
    pub event: Event,
    pub why: Why,
    /// That this very look passed, whatever the server's state.
    pub has_passed: bool,
}

/// An operator's word in place of what looks have come to, which go on from there.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Belief {
    /// Without a doubt.
    Up,
    /// Up, and asks for no new clients, until the next look that counts.
    NoLb,
    Down,
}

/// What is known of a server, for people. Its times are on the clock of `now`.
#[derive(Clone, Debug)]
pub struct Shown {
    /// `None` where there is no check.
    pub check: Option<ShownCheck>,
    /// `None` where there is no agent-check, or it has not been asked yet.
    pub line: Option<Said>,
}

#[derive(Clone, Debug)]
pub struct ShownCheck {
    pub state: State,
    pub since: Duration,
    pub progress: Progress,
    /// Changes between up and down in the last hour.
    pub flaps: u32,
    pub last: Option<Looked>,
}

/// The last look.
#[derive(Clone, Debug)]
pub struct Looked {
    pub seen: Seen,
    pub ended: Duration,
    pub took: Duration,
}

/// The last answer of an agent.
#[derive(Clone, Debug)]
pub struct Said {
    /// Or why there was none.
    pub line: Result<Line, String>,
    pub ended: Duration,
    pub took: Duration,
}

#[derive(Debug)]
pub struct Rounds {
    looks: Course<Check>,
    lines: Course<Asked>,
    /// The next series' number.
    next: u64,
}

/// A server's check, and what it has come to.
#[derive(Debug)]
struct Check {
    check: Arc<ServerCheck>,
    streak: Streak,
    last: Option<Looked>,
    /// Whether it was out of service since its last look began.
    was_out: bool,
    /// Whether no look since then has counted.
    is_on_trial: bool,
}

/// A server's agent.
#[derive(Debug)]
struct Asked {
    name: Name,
    inquiry: Arc<Inquiry>,
    last: Option<Said>,
}

/// An agent has answered, or not.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Answered {
    /// Whose it is.
    pub which: Which,
    /// Its server, where it was understood before and is not now, or the other way; at first where it is not.
    pub turned: Option<Name>,
}

impl Rounds {
    pub fn new(now: Duration) -> Rounds {
        Rounds {
            looks: Course::new(MOST_AT_ONCE, now),
            lines: Course::new(MOST_AT_ONCE, now),
            next: 0,
        }
    }

    /// A config, the first or a new one. Who is looked at as before keeps what it has come to and when its turn is;
    /// everybody else begins anew. Told are series under way that have ended by it, and whose work is to end. `chance`
    /// is anything from 0 to 1, so that two balancers with one config are not in step.
    pub fn adopt(&mut self, now: Duration, wanted: &[Wanted], chance: f64) -> Vec<Series> {
        let looks = wanted.iter().filter_map(|server| {
            let check = Arc::new(server.check.clone()?);
            let streak = Streak::new(check.target.check.timing.thresholds(), now);
            Some((server, Check { check, streak, last: None, was_out: false, is_on_trial: false }))
        });
        let mut ended = self.looks.adopt(now, looks.collect(), chance, &mut self.next);
        let lines = wanted.iter().filter_map(|server| {
            let agent = server.agent.clone()?;
            let at = SocketAddr::new(server.address.ip(), agent.port.get());
            let (name, inquiry) = (server.name.clone(), Arc::new(Inquiry { at, agent }));
            Some((server, Asked { name, inquiry, last: None }))
        });
        ended.extend(self.lines.adopt(now, lines.collect(), chance, &mut self.next));
        ended
    }

    /// To be called at least twice a second, and before `begin`. After a standstill what was missed is spread like
    /// first looks are.
    pub fn turn(&mut self, now: Duration, chance: f64) {
        self.looks.turn(now, chance);
        self.lines.turn(now, chance);
    }

    /// When somebody is due; `None` while nobody is, or as many are under way as may be.
    pub fn next_wakeup(&self) -> Option<Duration> {
        self.looks.next_wakeup().into_iter().chain(self.lines.next_wakeup()).min()
    }

    /// The next that is to begin, if one is and may. Who `is_out` of service is not looked at, and soon once it is back
    /// (`return_to_service`). Its agent is asked all the same.
    pub fn begin(&mut self, now: Duration, is_out: impl Fn(Which) -> bool) -> Option<Begun> {
        let mut look = None;
        while let Some((series, which, check)) = self.looks.begin(now) {
            if is_out(which) {
                check.was_out = true;
                let wait = check.interval().min(FIRST_WITHIN);
                self.looks.plan(series, now + wait);
                continue;
            }
            if std::mem::take(&mut check.was_out) {
                check.is_on_trial = true;
                check.fail_until(now, 1);
            }
            look = Some(Begun::Look(series, Arc::clone(&check.check)));
            break;
        }
        look.or_else(|| {
            let (series, _, asked) = self.lines.begin(now)?;
            Some(Begun::Line(series, Arc::clone(&asked.inquiry)))
        })
    }

    /// A look has ended. Nothing is told of one that a reload or a standstill made void, nor of one that we could not
    /// do: it says nothing of the server.
    pub fn looked(&mut self, now: Duration, series: Series, seen: Seen) -> Option<Told> {
        let (which, under_way, check) = self.looks.end(series)?;
        let counts = !under_way.is_void && seen.reason() != Some(Reason::Probe);
        let has_passed = seen.outcome.is_ok();
        if counts {
            let outcome = if has_passed { Outcome::Success } else { Outcome::Failure };
            check.streak.on_result(now, outcome);
            let was_on_trial = std::mem::take(&mut check.is_on_trial);
            if has_passed && was_on_trial && check.streak.state() == State::Up {
                check.trust(now);
            }
        }
        let event = check.event();
        let took = now.saturating_sub(under_way.began);
        let why = why(&seen, took);
        if !under_way.is_void {
            check.last = Some(Looked { seen, ended: now, took });
        }
        // A look that began before it was out is none since.
        let next = if check.was_out { now } else { under_way.began + check.interval() };
        self.looks.plan(series, next.max(now));
        counts.then_some(Told { which, event, why, has_passed })
    }

    /// An agent has answered, or not.
    pub fn answered(
        &mut self,
        now: Duration,
        series: Series,
        line: Result<Line, String>,
    ) -> Option<Answered> {
        let (which, under_way, asked) = self.lines.end(series)?;
        let took = now.saturating_sub(under_way.began);
        let was_understood = asked.last.as_ref().is_none_or(|said| is_understood(&said.line));
        let turned = (was_understood != is_understood(&line)).then(|| asked.name.clone());
        asked.last = Some(Said { line, ended: now, took });
        let next = under_way.began + asked.interval();
        self.lines.plan(series, next.max(now));
        Some(Answered { which, turned })
    }

    /// The work on it broke down, which says nothing of the server.
    pub fn failed(&mut self, now: Duration, series: Series) {
        let why = "the look panicked: a defect, please report it";
        self.looked(now, series, Seen::unseen(why));
        if let Some((_, under_way, asked)) = self.lines.end(series) {
            let next = under_way.began + asked.interval();
            self.lines.plan(series, next.max(now));
        }
    }

    /// An operator knows better. Nothing is told where there is no check.
    pub fn overrule(&mut self, now: Duration, which: Which, belief: Belief) -> Option<Told> {
        let (_, check) = self.looks.known_mut(which)?;
        match belief {
            Belief::Up | Belief::NoLb => {
                check.trust(now);
            }
            Belief::Down => check.fail_until(now, 0),
        }
        let event = match belief {
            Belief::Up | Belief::Down => check.event(),
            Belief::NoLb => Event::Check { to: Checked::NoLb, progress: check.streak.progress() },
        };
        let why = Why { by: Source::Command, reason: "health", detail: String::new(), took: None };
        Some(Told { which, event, why, has_passed: belief == Belief::Up })
    }

    /// One that was out of service is back, however short it was out: it is looked at now, and if that look fails it is
    /// down, as HAProxy's servers are after `maint`.
    pub fn return_to_service(&mut self, now: Duration, which: Which) {
        let Some((series, check)) = self.looks.known_mut(which) else { return };
        check.was_out = true;
        self.looks.hasten(now, series);
    }

    /// `None` where nothing is asked of it.
    pub fn shown(&self, which: Which) -> Option<Shown> {
        let check = self.looks.known(which).map(|check| ShownCheck {
            state: check.streak.state(),
            since: check.streak.since(),
            progress: check.streak.progress(),
            flaps: check.streak.flaps(),
            last: check.last.clone(),
        });
        let asked = self.lines.known(which);
        let is_asked = check.is_some() || asked.is_some();
        is_asked.then(|| Shown { check, line: asked.and_then(|asked| asked.last.clone()) })
    }
}

/// Whether all that an agent says is taken.
fn is_understood(line: &Result<Line, String>) -> bool {
    line.as_ref().is_ok_and(|line| line.problems.is_empty())
}

/// What a look saw, for people.
fn why(seen: &Seen, took: Duration) -> Why {
    let failed = seen.outcome.as_ref().err();
    Why::of_look(failed.map(|failure| (failure.reason.as_str(), &*failure.detail)), took)
}

impl Check {
    fn event(&self) -> Event {
        Event::Check { to: self.streak.state().into(), progress: self.streak.progress() }
    }

    /// Has it be up without a doubt.
    fn trust(&mut self, now: Duration) {
        while self.streak.state() != State::Up || self.streak.is_in_doubt() {
            self.streak.on_result(now, Outcome::Success);
        }
    }

    /// Counts as many looks that failed as leave so many to its being down. Of one that is down one takes back what
    /// passed since.
    fn fail_until(&mut self, now: Duration, left: u16) {
        let Progress { streak, need } = self.streak.progress();
        let failures = match self.streak.state() {
            State::Down => 1,
            State::Unknown | State::Up => need.saturating_sub(streak + left),
        };
        for _ in 0..failures {
            self.streak.on_result(now, Outcome::Failure);
        }
    }
}

impl Task for Check {
    fn is_same(&self, other: &Check) -> bool {
        self.check == other.check
    }

    fn interval(&self) -> Duration {
        match self.streak.state() {
            State::Up | State::Down if self.streak.is_in_doubt() => self.check.fast_interval,
            State::Unknown => self.check.fast_interval,
            State::Up => self.check.target.check.timing.interval(),
            State::Down => self.check.down_interval,
        }
    }
}

impl Task for Asked {
    fn is_same(&self, other: &Asked) -> bool {
        self.inquiry == other.inquiry
    }

    fn interval(&self) -> Duration {
        self.inquiry.agent.interval
    }
}

impl Wanted {
    /// Of every server of a site.
    pub fn of(site: &Site) -> Vec<Wanted> {
        let mut wanted = vec![];
        for (pool_index, pool) in site.pools.iter().enumerate() {
            for (index, server) in pool.servers.iter().enumerate() {
                wanted.push(Wanted {
                    which: Which { pool: PoolId(pool_index), server: ServerId(index) },
                    name: Name { pool: Arc::clone(&pool.name), server: Arc::clone(&server.name) },
                    address: server.address,
                    check: server.check.clone(),
                    agent: pool.agent_check.clone(),
                });
            }
        }
        wanted
    }
}
