//! How long to wait before dialing a name server again: longer each time, up to a bound, and not in step with others.

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(200);
/// A name server that comes back is told within its lease's length.
const LONGEST: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub struct Backoff(Duration);

impl Default for Backoff {
    fn default() -> Backoff {
        Backoff(FIRST)
    }
}

impl Backoff {
    /// `chance` is from 0 to 1: half of the wait is sure.
    pub fn next(&mut self, chance: f64) -> Duration {
        let longest = self.0;
        self.0 = (longest * 2).min(LONGEST);
        longest / 2 + (longest / 2).mul_f64(chance.clamp(0.0, 1.0))
    }

    pub fn reset(&mut self) {
        *self = Backoff::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_a_bound_and_half_of_each_is_chance() {
        let mut backoff = Backoff::default();
        let waits: Vec<u128> = (0..7).map(|_| backoff.next(1.0).as_millis()).collect();
        assert_eq!(waits, [200, 400, 800, 1600, 3200, 5000, 5000]);
        assert_eq!(backoff.next(0.0).as_millis(), 2500);
        backoff.reset();
        assert_eq!(backoff.next(0.0).as_millis(), 100);
    }
}
