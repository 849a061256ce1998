//! One virtual router (RFC 9568 §6.4, RFC 3768 §6.4): what became of it, and what is to be done.
//!
//! (adverts, timers, tracks, lease, link, operators) ─▶ event ─▶ Machine ─▶ action ─▶ (sockets, addresses, log)
//!
//! The states are the RFC's, and a fourth, Fault, for a router that was started and is unfit. Where this differs:
//!
//! - Nobody starts as Active, the owner of the addresses neither (§6.4.1): whoever starts listens first.
//! - Whoever stood still for so long that another may be Active is not Active any more, and listens.
//! - A Backup becomes Active when a witness was seen, if it is configured to ask for one.
//! - A Backup heeds the resignation of the router that it last heard to be Active, and of no other: some resign that
//!   never were.
//! - The loser of two Active routers sends one more advert when its addresses are gone, so that the winner announces
//!   its own after that.
//! - An Active router answers lesser ones at once, but not more than four times an interval.
//!
//! Whoever owns a machine gives it a clock that goes on while the box sleeps (CLOCK_BOOTTIME), carries out the actions
//! in order, and wakes it at [`Machine::next_wakeup`].

pub mod action;
mod active;
mod backup;
mod conditions;
pub mod event;
pub mod settings;
mod state;
#[cfg(test)]
mod tests;
pub mod timers;

use std::net::IpAddr;
use std::time::Duration;

use self::action::{Action, News, Role, What, Why};
use self::conditions::Conditions;
pub use self::conditions::Fault;
use self::event::Event;
use self::settings::{Settings, TrackId};
use self::state::{Claiming, Leading, State, ToldOf, Wait, Waiting};
use self::timers::Timing;
use super::advert::{Claim, Interval, Priority};

/// One virtual router on this box.
#[derive(Clone, Debug)]
pub struct Machine {
    settings: Settings,
    state: State,
    conditions: Conditions,
    /// When the role was last another.
    since: Duration,
    /// When the link can be trusted, after boot.
    settles_at: Duration,
    /// The latest time that it was told.
    now: Duration,
    /// An operator wants others to be Active: until nobody else is.
    yields: bool,
    /// Another owner was stronger: we are none until we lead again.
    is_usurped: bool,
    witnessed_at: Option<Duration>,
    /// News so far.
    told: u64,
    told_of: ToldOf,
    /// Why it is unfit, as was told last.
    unfit: Option<Fault>,
}

impl Machine {
    pub fn new(settings: Settings) -> Machine {
        let conditions = Conditions::new(&settings);
        Machine {
            settings,
            state: State::Initialize,
            conditions,
            since: Duration::ZERO,
            settles_at: Duration::ZERO,
            now: Duration::ZERO,
            yields: false,
            is_usurped: false,
            witnessed_at: None,
            told: 0,
            told_of: ToldOf::default(),
            unfit: None,
        }
    }

    pub fn role(&self) -> Role {
        self.state.role()
    }

    /// Since when it has its role.
    pub fn since(&self) -> Duration {
        self.since
    }

    /// Why it is in Fault, if it is.
    pub fn unfit(&self) -> Option<Fault> {
        self.unfit
    }

    /// What adverts are sent from, from now on: it may not have been known, or the interface has another one.
    pub fn speaks_from(&mut self, address: IpAddr) {
        self.settings.address = address;
    }

    /// Goes on by other settings. The role stays, and timers that run do; what adverts are sent from is
    /// [`Machine::speaks_from`]'s to say. Of each track it is told which one it was before.
    pub fn adopt(&mut self, settings: Settings, kept: &[Option<TrackId>], out: &mut Vec<Action>) {
        let before = self.priority();
        let address = self.settings.address;
        let is_fit = self.role() != Role::Fault;
        self.conditions.adopt(&settings, kept, is_fit, self.now);
        if let State::Active(leading) = &mut self.state {
            // Those who wait do so by what was said last: the next advert says the other interval.
            leading.said = leading.said.max(self.settings.interval);
        }
        self.settings = Settings { address, ..settings };
        let after = self.priority();
        if before != after {
            self.tell(What::Priority { from: before, to: after }, out);
        }
    }

    /// What it says of itself: what was configured, and what tracks make of it.
    pub fn priority(&self) -> Priority {
        if self.is_usurped {
            return Priority::HIGHEST;
        }
        self.settings.priority.tracked(self.conditions.change(&self.settings))
    }

    /// When it is to hear [`Event::Tick`], if nothing else happens.
    pub fn next_wakeup(&self) -> Option<Duration> {
        match &self.state {
            State::Initialize => None,
            State::Fault => self.conditions.ends_at(),
            State::Backup(waiting) => {
                let due = self.due(waiting);
                Some(self.asks_at(waiting).map_or(due, |asks_at| asks_at.min(due)))
            }
            State::Claiming(claiming) => Some(claiming.asks_at),
            State::Active(leading) => Some(leading.next_wakeup(&self.settings)),
        }
    }

    /// Takes an event, and adds to `out` what is to be done.
    pub fn on_event(&mut self, now: Duration, event: Event, out: &mut Vec<Action>) {
        self.now = self.now.max(now);
        self.after_standstill(out);
        match (self.state, event) {
            (State::Initialize, Event::Startup { settle }) => self.start(settle, out),
            (
                State::Fault | State::Backup(_) | State::Claiming(_) | State::Active(_),
                Event::Startup { .. },
            ) => {}

            (State::Initialize, Event::Shutdown) => {}
            (State::Fault | State::Backup(_) | State::Claiming(_), Event::Shutdown) => {
                self.turn(State::Initialize, Why::Shutdown, out);
            }
            (State::Active(_), Event::Shutdown) => {
                out.extend([Action::RemoveAddresses, Action::Resign]);
                self.turn(State::Initialize, Why::Shutdown, out);
            }

            (State::Initialize | State::Fault, Event::Heard { .. }) => {}
            (State::Backup(waiting), Event::Heard { from, claim: Claim::Resigns, interval: _ }) => {
                self.on_resignation(waiting, from, out);
            }
            (
                State::Backup(waiting),
                Event::Heard { from, claim: Claim::Leads(priority), interval },
            ) => {
                self.on_leader(waiting, from, priority, interval, out);
            }
            (State::Claiming(_), Event::Heard { claim: Claim::Resigns, .. }) => {}
            (
                State::Claiming(claiming),
                Event::Heard { from, claim: Claim::Leads(priority), interval },
            ) => {
                self.on_leader(claiming.waiting, from, priority, interval, out);
            }
            (State::Active(leading), Event::Heard { claim: Claim::Resigns, .. }) => {
                self.advertise(leading, out);
            }
            (
                State::Active(leading),
                Event::Heard { from, claim: Claim::Leads(priority), interval },
            ) => {
                self.on_rival(leading, from, priority, interval, out);
            }

            (State::Initialize, Event::Tick) => {}
            (State::Fault, Event::Tick) => self.recover(out),
            (State::Backup(waiting), Event::Tick) => self.wait(waiting, out),
            (State::Claiming(claiming), Event::Tick) => self.ask_again(claiming, out),
            (State::Active(leading), Event::Tick) => self.lead(leading, out),

            (
                State::Initialize
                | State::Fault
                | State::Backup(_)
                | State::Claiming(_)
                | State::Active(_),
                Event::Tracked { track, result },
            ) => {
                let before = self.priority();
                self.conditions.track(track, result);
                let after = self.priority();
                if before != after {
                    self.tell(What::Priority { from: before, to: after }, out);
                }
                self.recheck(out);
            }
            (
                State::Initialize
                | State::Fault
                | State::Backup(_)
                | State::Claiming(_)
                | State::Active(_),
                Event::Lease(lease),
            ) => {
                self.conditions.lease(lease);
                self.recheck(out);
            }
            (
                State::Initialize
                | State::Fault
                | State::Backup(_)
                | State::Claiming(_)
                | State::Active(_),
                Event::Link(link),
            ) => {
                self.conditions.link(link);
                self.recheck(out);
            }

            (
                State::Initialize | State::Fault | State::Backup(_) | State::Claiming(_),
                Event::Sent | Event::Unsent,
            ) => {}
            (State::Active(leading), Event::Sent) => {
                self.state = State::Active(Leading { unsent_since: None, ..leading });
            }
            (State::Active(leading), Event::Unsent) => self.on_unsent(leading, out),

            (
                State::Initialize | State::Fault | State::Backup(_) | State::Claiming(_),
                Event::AddressLost,
            ) => {}
            (State::Active(leading), Event::AddressLost) => self.on_address_lost(leading, out),
            (
                State::Initialize | State::Fault | State::Backup(_) | State::Claiming(_),
                Event::AddressFound,
            ) => {
                out.push(Action::RemoveAddresses);
                self.tell(What::TakenOff, out);
            }
            (State::Active(_), Event::AddressFound) => {}

            (
                State::Initialize | State::Fault | State::Backup(_) | State::Active(_),
                Event::Witnessed,
            ) => {
                self.witnessed_at = Some(self.now);
            }
            (State::Claiming(claiming), Event::Witnessed) => {
                self.witnessed_at = Some(self.now);
                self.claim(claiming.waiting, out);
            }

            (State::Initialize, Event::HandOver | Event::TakeBack) => {}
            (State::Fault | State::Backup(_) | State::Claiming(_), Event::HandOver) => {
                self.yield_to_others(out)
            }
            (State::Active(_), Event::HandOver) => {
                out.extend([Action::RemoveAddresses, Action::Resign]);
                self.yield_to_others(out);
                self.turn(State::Backup(self.waiting()), Why::HandedOver, out);
            }
            (
                State::Fault | State::Backup(_) | State::Claiming(_) | State::Active(_),
                Event::TakeBack,
            ) => {
                if std::mem::take(&mut self.yields) {
                    self.tell(What::YieldsNoMore, out);
                }
            }
        }
    }
}

/// Beginnings and ends.
impl Machine {
    fn start(&mut self, settle: Duration, out: &mut Vec<Action>) {
        (self.yields, self.is_usurped, self.witnessed_at) = (false, false, None);
        self.settles_at = self.now.saturating_add(settle);
        // What a run before has left.
        out.push(Action::RemoveAddresses);
        match self.conditions.fault(&self.settings, self.now) {
            Some(fault) => self.turn(State::Fault, Why::Fault(fault), out),
            None => self.turn(State::Backup(self.waiting()), Why::Startup, out),
        }
    }

    /// A condition is another, or may be.
    fn recheck(&mut self, out: &mut Vec<Action>) {
        match self.state {
            State::Initialize => {}
            State::Fault => self.recover(out),
            State::Backup(_) | State::Claiming(_) => {
                if let Some(fault) = self.conditions.fault(&self.settings, self.now) {
                    self.turn(State::Fault, Why::Fault(fault), out);
                }
            }
            State::Active(_) => {
                if let Some(fault) = self.conditions.fault(&self.settings, self.now) {
                    out.push(Action::RemoveAddresses);
                    // Over a link that is down nothing could be said.
                    if !matches!(fault, Fault::Link(_) | Fault::Mute) {
                        out.push(Action::Resign);
                    }
                    self.turn(State::Fault, Why::Fault(fault), out);
                }
            }
        }
    }

    fn recover(&mut self, out: &mut Vec<Action>) {
        match self.conditions.fault(&self.settings, self.now) {
            None => self.turn(State::Backup(self.waiting()), Why::FaultsOver, out),
            Some(fault) if self.unfit != Some(fault) => {
                self.unfit = Some(fault);
                self.tell(What::Unfit(fault), out);
            }
            Some(_) => {}
        }
    }

    /// Nothing is done late: others have gone on meanwhile.
    fn after_standstill(&mut self, out: &mut Vec<Action>) {
        let Some(late) = self.next_wakeup().and_then(|planned| self.now.checked_sub(planned))
        else {
            return;
        };
        match self.state {
            State::Initialize | State::Fault => {}
            State::Backup(waiting) | State::Claiming(Claiming { waiting, .. }) => {
                if late > waiting.interval.duration() {
                    let since = self.now;
                    let waiting = Waiting { since, wait: Wait::Down, has_asked: false, ..waiting };
                    self.state = State::Backup(waiting);
                }
            }
            State::Active(leading) => {
                if self.now >= leading.sent_at + self.timing(leading.said).rival() {
                    out.push(Action::RemoveAddresses);
                    self.turn(State::Backup(self.waiting()), Why::Standstill { late }, out);
                }
            }
        }
    }

    fn yield_to_others(&mut self, out: &mut Vec<Action>) {
        if !std::mem::replace(&mut self.yields, true) {
            self.tell(What::Yields, out);
        }
    }
}

/// For all.
impl Machine {
    fn timing(&self, interval: Interval) -> Timing {
        let Settings { version, down_adverts, .. } = self.settings;
        Timing { version, interval, down_adverts }
    }

    fn turn(&mut self, to: State, why: Why, out: &mut Vec<Action>) {
        let from = self.role();
        (self.state, self.since) = (to, self.now);
        self.unfit = if let Why::Fault(fault) = why { Some(fault) } else { None };
        self.tell(What::Turned { from, to: self.role(), why }, out);
    }

    fn tell(&mut self, what: What, out: &mut Vec<Action>) {
        self.told += 1;
        out.push(Action::Tell(News { number: self.told, at: self.now, what }));
    }
}
