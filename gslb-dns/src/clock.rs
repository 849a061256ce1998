//! The wall clock: the one room that reads it. Everybody else is told the time.

use std::time::{SystemTime, UNIX_EPOCH};

use jiff::Timestamp;

/// For overrides, which are dated, and for logs.
pub fn now() -> Timestamp {
    Timestamp::now()
}

/// Whole seconds, for time slices; 0 on a clock before 1970.
#[expect(clippy::disallowed_methods, reason = "the shells bring the clock to the pure rooms")]
pub fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
