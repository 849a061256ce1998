//! When a run of results becomes a state: `rise`, `fall` and `ok`.
//!
//! The rule is gdnsd's (`src/plugins/mon.c`, `up_thresh`, `down_thresh`, `ok_thresh`): failures count even where
//! successes stand between them, until enough successes stand in a row, so that who loses every third packet
//! cannot hide behind the other two. It differs in the beginning: gdnsd believes the first result, here only a
//! success is believed at once, because to be wrong about a failure takes a site out.

use std::collections::VecDeque;
use std::num::NonZeroU16;
use std::time::Duration;

/// How many results make a change.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Thresholds {
    /// Successes in a row that bring up what is down.
    pub rise: NonZeroU16,
    /// Failures that take down what is up.
    pub fall: NonZeroU16,
    /// Successes in a row after which earlier failures are forgotten.
    pub ok: NonZeroU16,
}

impl Thresholds {
    /// Every result is believed.
    pub const ONCE: Thresholds =
        Thresholds { rise: NonZeroU16::MIN, fall: NonZeroU16::MIN, ok: NonZeroU16::MIN };
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Outcome {
    Success,
    Failure,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum State {
    /// Looked at too little to say.
    Unknown,
    Up,
    Down,
}

/// What the results of one check have come to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Streak {
    thresholds: Thresholds,
    state: State,
    since: Duration,
    /// In a row, counted only where they can change something.
    successes: u16,
    failures: u16,
    /// When it changed between up and down, the last hour long.
    changes: VecDeque<Duration>,
    /// Since when it had been up before it last went down.
    up_before: Option<Duration>,
}

/// For so long a change is remembered.
pub const REMEMBERED: Duration = Duration::from_secs(3600);
/// And so many of them at most: who has changed so often is not believed sooner for changing more.
pub const MOST_FLAPS: usize = 16;

/// How far the results are on their way to another state.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Progress {
    /// Results that speak for the change, fewer than `need`.
    pub streak: u16,
    /// How many it takes.
    pub need: u16,
}

impl Streak {
    /// Nothing seen yet; `now` is on the clock that all its times are on.
    pub fn new(thresholds: Thresholds, now: Duration) -> Streak {
        Streak {
            thresholds,
            state: State::Unknown,
            since: now,
            successes: 0,
            failures: 0,
            changes: VecDeque::new(),
            up_before: None,
        }
    }

    pub fn state(&self) -> State {
        self.state
    }

    /// When the present state began.
    pub fn since(&self) -> Duration {
        self.since
    }

    /// Changes between up and down within an hour before the last result; `MOST_FLAPS` at most.
    pub fn flaps(&self) -> u32 {
        self.changes.len() as u32
    }

    /// What was up and is up again was never down: whoever looked could not see. Does nothing in any other state.
    pub fn take_back(&mut self) {
        if self.state == State::Up
            && let Some(since) = self.up_before.take()
        {
            self.since = since;
            // Down and up; a change older than an hour is forgotten already.
            self.changes.pop_back();
            self.changes.pop_back();
        }
    }

    /// Whether the last result speaks against the state, so that another look soon is worth its cost.
    pub fn is_in_doubt(&self) -> bool {
        self.progress().streak > 0
    }

    pub fn progress(&self) -> Progress {
        let Thresholds { rise, fall, ok: _ } = self.thresholds;
        match self.state {
            State::Unknown | State::Up => Progress { streak: self.failures, need: fall.get() },
            State::Down => Progress { streak: self.successes, need: rise.get() },
        }
    }

    /// Takes a result; the new state, if it made one.
    pub fn on_result(&mut self, now: Duration, outcome: Outcome) -> Option<State> {
        let Thresholds { rise, fall, ok } = self.thresholds;
        while self.changes.front().is_some_and(|change| *change + REMEMBERED <= now) {
            self.changes.pop_front();
        }
        match (self.state, outcome) {
            (State::Unknown, Outcome::Success) => return Some(self.become_state(now, State::Up)),
            (State::Unknown | State::Up, Outcome::Failure) => {
                self.successes = 0;
                self.failures += 1;
                if self.failures >= fall.get() {
                    return Some(self.become_state(now, State::Down));
                }
            }
            (State::Up, Outcome::Success) if self.failures > 0 => {
                self.successes += 1;
                if self.successes >= ok.get() {
                    (self.successes, self.failures) = (0, 0);
                }
            }
            (State::Up, Outcome::Success) => {}
            (State::Down, Outcome::Success) => {
                self.successes += 1;
                if self.successes >= rise.get() {
                    return Some(self.become_state(now, State::Up));
                }
            }
            (State::Down, Outcome::Failure) => self.successes = 0,
        }
        None
    }

    fn become_state(&mut self, now: Duration, state: State) -> State {
        if self.state != State::Unknown {
            if self.changes.len() == MOST_FLAPS {
                self.changes.pop_front();
            }
            self.changes.push_back(now);
        }
        if self.state == State::Up {
            self.up_before = Some(self.since);
        }
        (self.state, self.since) = (state, now);
        (self.successes, self.failures) = (0, 0);
        state
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn streak(rise: u16, fall: u16, ok: u16) -> Streak {
        let some = |count| NonZeroU16::new(count).unwrap();
        let thresholds = Thresholds { rise: some(rise), fall: some(fall), ok: some(ok) };
        Streak::new(thresholds, Duration::ZERO)
    }

    /// Results, a second apart, as `+` and `-`; what is expected has, below each, the state after it.
    fn check(rise: u16, fall: u16, ok: u16, results: &str, expected: &str) {
        let mut streak = streak(rise, fall, ok);
        let states = results.bytes().zip(1..).map(|(result, second)| {
            let outcome = if result == b'+' { Outcome::Success } else { Outcome::Failure };
            let before = streak.state();
            let told = streak.on_result(Duration::from_secs(second), outcome);
            assert_eq!(told, (before != streak.state()).then_some(streak.state()));
            if told.is_some() {
                assert_eq!(streak.since(), Duration::from_secs(second), "{results} at {second}");
            }
            match streak.state() {
                State::Unknown => '?',
                State::Up => 'u',
                State::Down => 'd',
            }
        });
        assert_eq!(
            states.collect::<String>(),
            expected,
            "rise {rise} fall {fall} ok {ok}: {results}"
        );
    }

    #[test]
    fn a_success_is_believed_at_once_and_a_failure_is_not() {
        check(2, 3, 2, "+", "u");
        check(2, 3, 2, "---", "??d");
        check(2, 3, 2, "--+", "??u");
        check(1, 1, 1, "-+-", "dud");
    }

    #[test]
    fn failures_count_even_with_successes_between_them() {
        check(2, 3, 2, "+---", "uuud");
        check(2, 3, 2, "+-+-+-", "uuuuud");
        // Two successes in a row are enough to forget.
        check(2, 3, 2, "+--++--", "uuuuuuu");
        check(2, 3, 2, "+--++---", "uuuuuuud");
        // The failures before a state began say nothing against it.
        check(2, 3, 2, "--+--", "??uuu");
    }

    #[test]
    fn what_is_down_rises_by_successes_in_a_row() {
        check(2, 1, 1, "-+-++", "ddddu");
        check(3, 1, 1, "-++-+++", "ddddddu");
    }

    #[test]
    fn progress_says_how_many_are_still_needed() {
        let mut streak = streak(2, 3, 2);
        let mut after = |result| {
            streak.on_result(Duration::ZERO, result);
            let Progress { streak: progress, need } = streak.progress();
            (progress, need, streak.is_in_doubt(), streak.flaps())
        };
        assert_eq!(after(Outcome::Success), (0, 3, false, 0));
        assert_eq!(after(Outcome::Failure), (1, 3, true, 0));
        assert_eq!(after(Outcome::Success), (1, 3, true, 0));
        assert_eq!(after(Outcome::Failure), (2, 3, true, 0));
        assert_eq!(after(Outcome::Failure), (0, 2, false, 1));
        assert_eq!(after(Outcome::Success), (1, 2, true, 1));
        assert_eq!(after(Outcome::Success), (0, 3, false, 2));
    }

    #[test]
    fn changes_are_forgotten_after_an_hour() {
        let mut streak = streak(1, 1, 1);
        let mut flaps_after = |seconds, outcome| {
            streak.on_result(Duration::from_secs(seconds), outcome);
            streak.flaps()
        };
        assert_eq!(flaps_after(0, Outcome::Success), 0);
        assert_eq!(flaps_after(10, Outcome::Failure), 1);
        assert_eq!(flaps_after(20, Outcome::Success), 2);
        assert_eq!(flaps_after(3609, Outcome::Success), 2);
        assert_eq!(flaps_after(3610, Outcome::Success), 1);
        assert_eq!(flaps_after(3620, Outcome::Success), 0);
    }

    #[test]
    fn what_was_not_seen_is_taken_back() {
        let mut streak = streak(1, 1, 1);
        let mut results = (1..).map(Duration::from_secs);
        let mut on =
            |streak: &mut Streak, outcome| streak.on_result(results.next().unwrap(), outcome);
        on(&mut streak, Outcome::Success);
        streak.take_back();
        assert_eq!((streak.since().as_secs(), streak.flaps()), (1, 0), "it was never down");
        on(&mut streak, Outcome::Failure);
        streak.take_back();
        assert_eq!((streak.state(), streak.since().as_secs(), streak.flaps()), (State::Down, 2, 1));
        on(&mut streak, Outcome::Success);
        assert_eq!((streak.since().as_secs(), streak.flaps()), (3, 2));
        streak.take_back();
        assert_eq!((streak.state(), streak.since().as_secs(), streak.flaps()), (State::Up, 1, 0));
        // Once for each time.
        streak.take_back();
        assert_eq!((streak.since().as_secs(), streak.flaps()), (1, 0));
    }

    proptest! {
        /// No state is reached with fewer results for it than were asked for since the last.
        #[test]
        fn a_change_has_its_results(
            rise in 1..5u16, fall in 1..5u16, ok in 1..5u16,
            results in proptest::collection::vec(any::<bool>(), 0..200),
        ) {
            let mut streak = streak(rise, fall, ok);
            let (mut good, mut bad, mut changes) = (0, 0, 0);
            for is_good in results {
                let before = streak.state();
                let outcome = if is_good { Outcome::Success } else { Outcome::Failure };
                if is_good { good += 1 } else { bad += 1 }
                let Some(state) = streak.on_result(Duration::ZERO, outcome) else {
                    let Progress { streak, need } = streak.progress();
                    prop_assert!(streak < need);
                    continue;
                };
                match state {
                    State::Unknown => prop_assert!(false, "nothing is forgotten"),
                    State::Up => {
                        prop_assert!(is_good);
                        prop_assert!(before == State::Unknown || good >= rise);
                    }
                    State::Down => prop_assert!(!is_good && bad >= fall),
                }
                changes += u32::from(before != State::Unknown);
                prop_assert_eq!(streak.flaps(), changes.min(MOST_FLAPS as u32));
                (good, bad) = (0, 0);
            }
        }
    }
}
