//! How many requests may be sent again, as a part of those that come.
//!
//! Finagle's: each request puts down a fraction, each retry takes a whole, what was put down is forgotten after ten
//! seconds, and a few retries a second are free. Envoy's budget, a part of the requests that are open, was the other
//! choice; but what fails at once is open for no time, so that a server which refuses everything would be sent four
//! times the requests while the budget saw almost none of them.

use std::num::NonZeroU32;
use std::time::Duration;

/// What was put down or taken is remembered in so many slices of a second each.
const SLICES: usize = 10;
/// Thousandths of a retry.
const WHOLE: i64 = 1000;

/// One for each thread and pool: it has no lock.
#[derive(Clone, Debug)]
pub struct Budget {
    /// What each request puts down.
    deposit: i64,
    /// What is free within the ten seconds.
    free: i64,
    /// What was put down less what was taken, by the second modulo ten.
    slices: [i64; SLICES],
    /// Up to which second they are true.
    second: u64,
}

impl Budget {
    /// `percent` of requests may be sent again (Finagle's 20), beside `free_a_second` (its 10) among this many threads.
    pub fn new(percent: u16, free_a_second: u32, threads: NonZeroU32) -> Budget {
        let free = i64::from(free_a_second) * WHOLE * SLICES as i64 / i64::from(threads.get());
        let deposit = i64::from(percent) * WHOLE / 100;
        Budget { deposit, free, slices: [0; SLICES], second: 0 }
    }

    /// A request came: not a retry.
    pub fn deposit(&mut self, now: Duration) {
        let slice = self.forget(now);
        self.slices[slice] += self.deposit;
    }

    /// Pays for a retry; `false` if there is not enough left.
    pub fn withdraw(&mut self, now: Duration) -> bool {
        let slice = self.forget(now);
        let left = self.free + self.slices.iter().sum::<i64>();
        if left < WHOLE {
            return false;
        }
        self.slices[slice] -= WHOLE;
        true
    }

    /// Empties slices that are too old; which is of this second.
    fn forget(&mut self, now: Duration) -> usize {
        let second = now.as_secs().max(self.second);
        let passed = (second - self.second).min(SLICES as u64);
        for step in 0..passed {
            self.slices[((second - step) % SLICES as u64) as usize] = 0;
        }
        self.second = second;
        (second % SLICES as u64) as usize
    }
}
