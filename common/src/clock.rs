//! The clocks: the one room that reads them. Everybody else is told the time.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jiff::Timestamp;
use rustix::time::{ClockId, clock_gettime};

/// For overrides, which are dated, and for logs.
pub fn now() -> Timestamp {
    Timestamp::now()
}

/// Whole seconds, for time slices; 0 on a clock before 1970.
#[expect(clippy::disallowed_methods, reason = "the shells bring the clock to the pure rooms")]
pub fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// Since 1970, as finely as the clock says; 0 on a clock before. For logs of many a second.
#[expect(clippy::disallowed_methods, reason = "the shells bring the clock to the pure rooms")]
pub fn unix_time() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// Since some moment of the past that is the same for all threads; never goes back. For limits.
pub fn monotonic() -> Duration {
    read(ClockId::Monotonic)
}

/// Since boot. As [`monotonic`], and it goes on while the machine sleeps: for what others reckon with meanwhile.
pub fn since_boot() -> Duration {
    read(ClockId::Boottime)
}

fn read(clock: ClockId) -> Duration {
    let now = clock_gettime(clock);
    // Neither is ever negative, nor are the nanoseconds a second.
    Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
}
