//! What the looks at one target have come to: its state, since when and why, as a report says it.
//!
//! Everything is rounded and held so that a target that does not change is no news: a report has what has changed.
//! Takes the time as an argument.

mod pace;
mod phases;

use std::time::Duration;

use common::check::Timing;
use common::report::{Entry, LONGEST_DETAIL, Reason, State};
use common::seen::{Failure, Seen};
use common::streak::{self, Outcome, Progress, Streak};
use common::target::TargetId;

use self::pace::Pace;
use self::phases::Smooth;

/// Another text for the same reason is told so much later at the earliest: texts may have numbers that change with
/// every look.
const DETAIL_PAUSE: Duration = Duration::from_secs(30);

#[derive(Clone, Debug)]
pub struct Judge {
    target: TargetId,
    streak: Streak,
    /// Looks in a row that could not be done.
    unseen: u16,
    /// Since when nothing can be said because looks could not be done. Ends when a look confirms or changes the
    /// state.
    lost: Option<Duration>,
    pace: Pace,
    phases: Smooth,
    why: Option<Why>,
    cert_days: Option<i32>,
}

/// Why the last look failed.
#[derive(Clone, Debug)]
struct Why {
    reason: Reason,
    detail: Box<str>,
    said: Duration,
}

/// What a look was for the target.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Judged {
    /// Another look soon is worth its cost.
    pub is_in_doubt: bool,
    /// `None` where the look says nothing of the target.
    pub outcome: Option<Outcome>,
}

impl Judge {
    /// Nothing seen yet.
    pub fn new(target: TargetId, timing: Timing, now: Duration) -> Judge {
        let thresholds = timing.thresholds();
        Judge {
            target,
            streak: Streak::new(thresholds, now),
            unseen: 0,
            lost: None,
            pace: Pace::new(thresholds, now),
            phases: Smooth::default(),
            why: None,
            cert_days: None,
        }
    }

    /// Takes what a look came to; `today` is in Unix seconds.
    pub fn on_seen(&mut self, now: Duration, seen: &Seen, today: i64) -> Judged {
        if let Some(days) = seen.cert_days(today) {
            self.cert_days = Some(days.clamp(i32::MIN.into(), i32::MAX.into()) as i32);
        }
        let outcome = match &seen.outcome {
            Ok(()) => Some(Outcome::Success),
            Err(Failure { reason: Reason::Probe, .. }) => None,
            Err(_) => Some(Outcome::Failure),
        };
        self.explain(now, seen);
        match outcome {
            None => self.on_unseen(now),
            Some(outcome) => self.on_outcome(now, outcome, seen),
        }
        Judged { is_in_doubt: outcome.is_some() && self.streak.is_in_doubt(), outcome }
    }

    fn on_outcome(&mut self, now: Duration, outcome: Outcome, seen: &Seen) {
        self.unseen = 0;
        let before = self.streak.state();
        let changed = self.streak.on_result(now, outcome);
        let is_as_was = matches!(
            (before, outcome),
            (streak::State::Up, Outcome::Success) | (streak::State::Down, Outcome::Failure)
        );
        if changed.is_some() || is_as_was {
            self.lost = None;
        }
        if changed == Some(streak::State::Up) || changed == Some(streak::State::Down) {
            // How long answers took before says nothing of those that come now.
            self.pace.begin_anew(now);
            self.phases = Smooth::default();
        }
        if outcome == Outcome::Success {
            self.phases.take(&seen.phases);
            if let Some(took) = phases::whole(&seen.phases) {
                self.pace.take(now, took);
            }
        }
    }

    /// A probe that cannot look has no evidence, once that has lasted for as many looks as would make a change.
    fn on_unseen(&mut self, now: Duration) {
        let Progress { need, .. } = self.streak.progress();
        self.unseen = self.unseen.saturating_add(1);
        if self.unseen >= need.max(2) && self.lost.is_none() {
            self.lost = Some(now);
        }
    }

    fn explain(&mut self, now: Duration, seen: &Seen) {
        let Err(Failure { reason, detail }) = &seen.outcome else {
            self.why = None;
            return;
        };
        let is_held = self.why.as_ref().is_some_and(|why| {
            why.reason == *reason && now.saturating_sub(why.said) < DETAIL_PAUSE
        });
        if !is_held {
            let said = now;
            self.why = Some(Why { reason: *reason, detail: cut(detail), said });
        }
    }

    /// What is up again was never down: this probe could not see.
    pub fn take_back(&mut self) {
        self.streak.take_back();
    }

    pub fn state(&self) -> State {
        match self.streak.state() {
            _ if self.lost.is_some() => State::None,
            streak::State::Unknown => State::None,
            streak::State::Up if self.pace.is_slow() => State::Slow,
            streak::State::Up => State::Up,
            streak::State::Down => State::Down,
        }
    }

    /// When it came up or went down, or was seen last. That it is slow is no other beginning: name servers take what has
    /// begun for a return.
    pub fn since(&self) -> Duration {
        self.lost.unwrap_or_else(|| self.streak.since())
    }

    /// What is told of the target now.
    pub fn entry(&self) -> Entry {
        let Progress { streak, need } = self.streak.progress();
        let state = self.state();
        let is_served = matches!(state, State::Up | State::Slow);
        let milliseconds = self.since().as_millis();
        Entry {
            target: self.target,
            state,
            since: u64::try_from(milliseconds).unwrap_or(u64::MAX),
            streak,
            need,
            flaps: self.streak.flaps(),
            phases_ms: if is_served { self.phases.told() } else { Default::default() },
            reason: self.why.as_ref().map(|why| why.reason),
            detail: self.why.as_ref().map(|why| String::from(&*why.detail)).unwrap_or_default(),
            cert_days: self.cert_days,
        }
    }
}

/// What is told of a target that this probe does not look at.
pub fn unlookable(target: TargetId, why: &str) -> Entry {
    Entry {
        target,
        state: State::None,
        since: 0,
        streak: 0,
        need: 0,
        flaps: 0,
        phases_ms: Default::default(),
        reason: Some(Reason::Probe),
        detail: cut(why).into(),
        cert_days: None,
    }
}

/// As much of it as a report takes, on one line.
fn cut(text: &str) -> Box<str> {
    let shown = &text[..text.floor_char_boundary(LONGEST_DETAIL)];
    shown.chars().filter(|letter| !letter.is_control()).collect()
}

#[cfg(test)]
mod tests;
