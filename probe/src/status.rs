//! What a probe is asked while it runs, and what it tells of itself.

use std::net::SocketAddr;
use std::time::Duration;

use common::report::Own;
use jiff::Timestamp;
use serde::Serialize;
use tokio::sync::oneshot;

use crate::rounds::Shown;

/// What is asked of the task that owns the rounds.
#[derive(Debug)]
pub enum Order {
    /// Answered with whether the config was taken.
    Reload(oneshot::Sender<bool>),
    Status(oneshot::Sender<Status>),
}

#[derive(Debug, Serialize)]
pub struct Status {
    pub probe: String,
    pub cluster: String,
    pub now: Timestamp,
    /// The same on the clock that name servers are told by, as `since` within each `target` is.
    pub monotonic_ms: u64,
    #[serde(rename = "self")]
    pub own: Own,
    pub looks_running: usize,
    pub name_servers: Vec<Server>,
    pub targets: Vec<Told>,
}

/// A target, with the time for people.
#[derive(Debug, Serialize)]
pub struct Told {
    /// When its state began, in whole seconds.
    pub since: Timestamp,
    #[serde(flatten)]
    pub shown: Shown,
}

/// One moment on both clocks.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    pub monotonic: Duration,
    pub wall: Timestamp,
}

#[derive(Debug, Serialize)]
pub struct Server {
    pub name: String,
    pub address: SocketAddr,
    /// Of the world for which it last asked for something.
    pub epoch: Option<String>,
    pub targets: usize,
}

impl Now {
    /// In milliseconds, as reports have it.
    pub fn monotonic_ms(self) -> u64 {
        u64::try_from(self.monotonic.as_millis()).unwrap_or(u64::MAX)
    }

    pub fn told(self, shown: Shown) -> Told {
        Told { since: self.wall_of(shown.target.since), shown }
    }

    /// When it was so many milliseconds on the other clock. Cut to the second, as name servers tell it.
    fn wall_of(self, monotonic_ms: u64) -> Timestamp {
        let ago = self.monotonic.saturating_sub(Duration::from_millis(monotonic_ms));
        let wall = self.wall.checked_sub(ago).unwrap_or(Timestamp::UNIX_EPOCH);
        Timestamp::from_second(wall.as_second()).unwrap_or(wall)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_told_by_the_clock_that_people_read() {
        let wall = "2026-11-21T10:00:00.300Z".parse().unwrap_or_default();
        let now = Now { monotonic: Duration::from_millis(7_000_500), wall };
        let check = |monotonic_ms, expected: &str| {
            assert_eq!(now.wall_of(monotonic_ms).to_string(), expected, "{monotonic_ms}");
        };
        check(7_000_500, "2026-11-21T10:00:00Z");
        check(7_000_200, "2026-11-21T10:00:00Z");
        check(7_000_199, "2026-11-21T09:59:59Z");
        check(400_500, "2026-11-21T08:10:00Z");
        // A look that ended since we read the clock.
        check(7_000_501, "2026-11-21T10:00:00Z");
    }
}
