//! What a Backup does: whom it heeds, how long it waits, and what it asks for before it is Active (RFC 9568 §6.4.2).

use std::net::IpAddr;
use std::time::Duration;

use super::super::advert::{Interval, Priority};
use super::Machine;
use super::action::{Action, What, Why};
use super::settings::{Preempt, Witness};
use super::state::{Announcing, Claiming, Leading, Of, State, Wait, Waiting};

/// A witness is not asked for more often, however short the interval.
const ASK_GAP: Duration = Duration::from_millis(100);

impl Machine {
    /// Backup from now on, with our own interval until another is heard.
    pub(super) fn waiting(&self) -> Waiting {
        Waiting {
            since: self.now,
            wait: Wait::Down,
            interval: self.settings.interval,
            leader: None,
            preempts_at: None,
            has_asked: false,
        }
    }

    pub(super) fn on_resignation(&mut self, waiting: Waiting, from: IpAddr, out: &mut Vec<Action>) {
        // Of one that was not heard to lead it says nothing of who does.
        if waiting.leader != Some(from) {
            return;
        }
        let wait = Wait::Skew { resigned: from };
        let waiting = Waiting { since: self.now, wait, has_asked: false, ..waiting };
        // The skew is short, so a witness is asked for at once.
        self.wait(waiting, out);
    }

    pub(super) fn on_leader(
        &mut self,
        waiting: Waiting,
        from: IpAddr,
        priority: Priority,
        interval: Interval,
        out: &mut Vec<Action>,
    ) {
        let is_lesser = priority < self.priority();
        let preempts_at = match self.settings.preempt {
            Preempt::After(delay) if is_lesser => {
                Some(waiting.preempts_at.unwrap_or(self.now.saturating_add(delay)))
            }
            Preempt::After(_) | Preempt::Never => None,
        };
        let leader = Some(from);
        if is_lesser && !self.bears(preempts_at) {
            let after = Waiting { leader, preempts_at, ..waiting };
            match &mut self.state {
                State::Backup(waiting) => *waiting = after,
                State::Claiming(claiming) => claiming.waiting = after,
                State::Initialize | State::Fault | State::Active(_) => {}
            }
            return;
        }
        if interval != waiting.interval && self.told_of.is_time(Of::Interval, self.now) {
            self.tell(What::Adopted { interval }, out);
        }
        let (since, wait) = (self.now, Wait::Down);
        self.state =
            State::Backup(Waiting { since, wait, interval, leader, preempts_at, has_asked: false });
    }

    /// Whether a lesser Active router may go on (Preempt_Mode).
    pub(super) fn bears(&self, preempts_at: Option<Duration>) -> bool {
        if self.yields {
            return true;
        }
        if self.priority() == Priority::OWNER {
            return false;
        }
        match self.settings.preempt {
            Preempt::Never => true,
            Preempt::After(_) => preempts_at.is_some_and(|at| self.now < at),
        }
    }

    pub(super) fn wait(&mut self, waiting: Waiting, out: &mut Vec<Action>) {
        self.state = State::Backup(waiting);
        if self.now >= self.due(&waiting) {
            return self.claim(waiting, out);
        }
        if self.asks_at(&waiting).is_some_and(|at| self.now >= at) {
            out.push(Action::AskWitness);
            self.state = State::Backup(Waiting { has_asked: true, ..waiting });
        }
    }

    /// Active_Down_Timer has run out.
    pub(super) fn claim(&mut self, waiting: Waiting, out: &mut Vec<Action>) {
        if !self.is_witnessed(self.now) {
            out.push(Action::AskWitness);
            let asks_at = self.now + self.ask_gap();
            self.state = State::Claiming(Claiming { waiting, asks_at, is_told: false });
            return;
        }
        let why = match waiting.wait {
            Wait::Down => Why::NobodyLeads,
            Wait::Skew { resigned } => Why::Resigned { by: resigned },
        };
        (self.yields, self.is_usurped) = (false, false);
        // The advert comes first: who else is Active gives its addresses back before ours are there.
        out.extend([
            Action::Advertise(self.priority()),
            Action::AddAddresses,
            Action::Announce { times: Announcing::first() },
        ]);
        self.turn(State::Active(Leading::new(self.now, &self.settings)), why, out);
    }

    pub(super) fn ask_again(&mut self, claiming: Claiming, out: &mut Vec<Action>) {
        if self.now < claiming.asks_at {
            return;
        }
        if !claiming.is_told {
            self.tell(What::Isolated, out);
        }
        out.push(Action::AskWitness);
        let asks_at = self.now + self.ask_gap();
        self.state = State::Claiming(Claiming { asks_at, is_told: true, ..claiming });
    }

    /// When Active_Down_Timer runs out.
    pub(super) fn due(&self, waiting: &Waiting) -> Duration {
        let timing = self.timing(waiting.interval);
        // Who yields is the last to claim.
        let priority = if self.yields { Priority::LOWEST } else { self.priority() };
        match waiting.wait {
            Wait::Down => waiting.since.max(self.settles_at).saturating_add(timing.down(priority)),
            Wait::Skew { .. } => waiting.since.saturating_add(timing.skew(priority)),
        }
    }

    /// When a witness is asked for, so that its answer is there when the timer runs out.
    pub(super) fn asks_at(&self, waiting: &Waiting) -> Option<Duration> {
        let due = self.due(waiting);
        let is_needed = !waiting.has_asked && !self.is_witnessed(due);
        is_needed.then(|| due.saturating_sub(waiting.interval.duration()))
    }

    pub(super) fn is_witnessed(&self, at: Duration) -> bool {
        match self.settings.witness {
            Witness::NotAsked => true,
            Witness::Seen(within) => {
                self.witnessed_at.is_some_and(|seen| at <= seen.saturating_add(within))
            }
        }
    }

    pub(super) fn ask_gap(&self) -> Duration {
        self.settings.interval.duration().max(ASK_GAP)
    }
}
