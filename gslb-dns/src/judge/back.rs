//! The way back of what was down: after it has flapped, a while outside; then a larger share of clients step by step.
//!
//! All times are the producers' own: a name server that was restarted is as far as its twin.

use std::time::Duration;

/// A wait after the second return within the hour; it doubles with each.
const WAIT: Duration = Duration::from_secs(10);
/// And doubles at most so often: 5 min 20 s.
const MOST_DOUBLINGS: u32 = 5;
/// Steps of the ramp: a fourth of the clients with each.
const STEPS: u32 = 4;

/// What came back, and when.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Return {
    /// Since when it is up again, on our clock.
    pub since: Duration,
    /// Changes between up and down that vantages remember: two for each return.
    pub flaps: u32,
}

impl Return {
    /// How long it waits before it is answered again.
    pub fn wait(&self) -> Duration {
        match self.flaps.div_ceil(2) {
            0 | 1 => Duration::ZERO,
            returns => WAIT * 2_u32.pow((returns - 2).min(MOST_DOUBLINGS)),
        }
    }

    pub fn is_held_down(&self, now: Duration) -> bool {
        now < self.since + self.wait()
    }

    /// The share of clients that it takes now. No step is shorter than `step`, the time for which clients keep what
    /// they were answered.
    pub fn admit(&self, now: Duration, step: Duration) -> f64 {
        let begin = self.since + self.wait();
        let Some(elapsed) = now.checked_sub(begin) else { return 0.0 };
        let steps = elapsed.as_millis() / step.as_millis().max(1) + 1;
        steps.min(STEPS.into()) as f64 / f64::from(STEPS)
    }

    /// When its share changes next, if it still does.
    pub fn next_step(&self, now: Duration, step: Duration) -> Option<Duration> {
        let begin = self.since + self.wait();
        (0..STEPS).map(|number| begin + step * number).find(|at| *at > now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(flaps: u32, seconds: u64, expected: (bool, f64)) {
        let at = Duration::from_secs;
        let back = Return { since: at(1000), flaps };
        let now = at(1000 + seconds);
        let found = (back.is_held_down(now), back.admit(now, at(30)));
        assert_eq!(found, expected, "{flaps} flaps, {seconds} s");
    }

    #[test]
    fn a_first_return_is_gradual_and_at_once() {
        check(1, 0, (false, 0.25));
        check(2, 29, (false, 0.25));
        check(2, 30, (false, 0.5));
        check(2, 89, (false, 0.75));
        check(2, 90, (false, 1.0));
        check(2, 100_000, (false, 1.0));
    }

    #[test]
    fn who_flaps_waits_longer_each_time() {
        check(3, 9, (true, 0.0));
        check(4, 10, (false, 0.25));
        check(5, 19, (true, 0.0));
        check(6, 20, (false, 0.25));
        check(8, 39, (true, 0.0));
        check(14, 319, (true, 0.0));
        check(14, 320, (false, 0.25));
        check(u32::MAX, 320, (false, 0.25));
    }

    #[test]
    fn every_change_has_its_time() {
        let at = Duration::from_secs;
        let back = Return { since: at(1000), flaps: 3 };
        let mut now = at(1000);
        let mut changes = vec![];
        while let Some(next) = back.next_step(now, at(30)) {
            assert_ne!(back.admit(now, at(30)), back.admit(next, at(30)));
            changes.push((next - at(1000)).as_secs());
            now = next;
        }
        assert_eq!(changes, [10, 40, 70, 100]);
        assert_eq!(back.admit(now, at(30)), 1.0);
    }
}
