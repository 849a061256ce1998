//! The one place that reads the clock and waits.

use std::thread;
use std::time::{Duration, Instant};

#[expect(clippy::disallowed_methods, reason = "a bench measures real time")]
pub fn now() -> Instant {
    Instant::now()
}

/// Waits between two tries of something that cannot be waited for, such as a server's first answer.
#[expect(
    clippy::disallowed_methods,
    reason = "a server that is starting tells nobody when it is ready"
)]
pub fn pause(duration: Duration) {
    thread::sleep(duration);
}
