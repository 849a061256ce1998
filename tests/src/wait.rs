//! Waiting for a condition, up to a deadline; for a time only where a story needs one.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::bail;

/// What is waited for here comes within moments; this is for a machine that is very busy.
pub const PATIENCE: Duration = Duration::from_secs(30);
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(5);

/// Looks until there is something to see. Fails after `PATIENCE`, saying what never came.
pub fn until<T>(
    what: &str,
    mut look: impl FnMut() -> anyhow::Result<Option<T>>,
) -> anyhow::Result<T> {
    let begin = now();
    loop {
        if let Some(seen) = look()? {
            return Ok(seen);
        }
        if begin.elapsed() > PATIENCE {
            bail!("never within {PATIENCE:?}: {what}");
        }
        thread::park_timeout(PAUSE);
    }
}

/// Says stop when it is dropped, by a panic as well: a scope waits for its threads.
pub struct Stopping<'a>(pub &'a AtomicBool);

impl Drop for Stopping<'_> {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}

/// Until that time, where what is told is what happens meanwhile.
pub fn rest(until: Instant) {
    loop {
        let left = until.saturating_duration_since(now());
        if left.is_zero() {
            return;
        }
        thread::park_timeout(left);
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "deadlines and timings of tests are by the real clock"
)]
pub fn now() -> Instant {
    Instant::now()
}
