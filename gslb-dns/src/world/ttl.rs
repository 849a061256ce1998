//! How long answers may be kept.

use std::time::Duration;

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Ttl {
    /// What every answer has until something lowers it.
    pub max: Duration,
    /// Nothing lowers it below.
    pub min: Duration,
}

impl Ttl {
    /// How often it is halved so that an answer is forgotten when something may happen in so long; powers of two keep
    /// the answers of one service few.
    pub fn halvings(self, within: Duration) -> u8 {
        let is_short = |times: &u8| self.halved(*times) <= within.max(self.min);
        (0..32).find(is_short).unwrap_or(32)
    }

    /// Whole seconds, halved so often.
    pub fn halved(self, times: u8) -> Duration {
        let seconds = self.max.as_secs().checked_shr(times.into()).unwrap_or(0);
        Duration::from_secs(seconds).max(self.min)
    }
}
