//! Watches what servers answer to real requests, and takes out those that keep failing (Envoy's outlier detection).
//!
//! relay ─▶ `Outcome` ─▶ `Outliers` ─▶ backends (eject, return)
//!
//! Told outcomes and the time; never reads a clock.
//!
//! Most answers are successes of servers that have not just failed, and those change nothing here: a shell need not
//! bring them. It keeps for each server an atomic that says whether `has_run`, and takes the lock around this machine
//! for errors, and for a success while that is set.

mod outcome;
#[cfg(test)]
mod tests;

use std::num::NonZeroU32;
use std::time::Duration;

use self::outcome::Judged;
use crate::ids::ServerId;

pub use self::outcome::{Counts, Outcome};

/// Envoy's parameters by Envoy's names, with its defaults but for two: what counts are gateway errors, which Envoy
/// counts and does not enforce, and half of the servers may go where Envoy lets a tenth.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Errors in a row that make an outlier (HAProxy's `error-limit`, 10 there).
    pub consecutive_errors: NonZeroU32,
    pub counts: Counts,
    /// An ejection lasts this times the number of ejections so far.
    pub base_ejection_time: Duration,
    /// And so long at most, or the base where that is longer.
    pub max_ejection_time: Duration,
    /// Each of these without an ejection takes one off that number.
    pub interval: Duration,
    /// Of all servers in percent: more are never out at once, but one may always go.
    pub max_ejection_percent: u8,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            consecutive_errors: NonZeroU32::MIN.saturating_add(4),
            counts: Counts::Gateway,
            base_ejection_time: Duration::from_secs(30),
            max_ejection_time: Duration::from_secs(300),
            interval: Duration::from_secs(10),
            max_ejection_percent: 50,
        }
    }
}

#[derive(Clone, Debug)]
pub struct Outliers {
    settings: Settings,
    servers: Vec<Watched>,
}

#[derive(Clone, Copy, Debug)]
struct Watched {
    state: State,
    /// Ejections that still count.
    ejections: u32,
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// With errors in a row, and since when it has been in.
    In {
        run: u32,
        since: Duration,
    },
    Out {
        until: Duration,
    },
}

impl Watched {
    fn new(now: Duration) -> Watched {
        Watched { state: State::In { run: 0, since: now }, ejections: 0 }
    }

    fn is_out(&self) -> bool {
        match self.state {
            State::In { .. } => false,
            State::Out { .. } => true,
        }
    }
}

impl Outliers {
    pub fn new(settings: Settings, servers: usize, now: Duration) -> Outliers {
        Outliers { settings, servers: vec![Watched::new(now); servers] }
    }

    /// A new config: `was` has, for each of its servers, which it was before. An ejection goes on as it began.
    pub fn reload(&mut self, settings: Settings, was: &[Option<ServerId>], now: Duration) {
        let known = |was: &Option<ServerId>| self.servers.get((*was)?.0).copied();
        self.servers = was.iter().map(|was| known(was).unwrap_or(Watched::new(now))).collect();
        self.settings = settings;
    }

    /// Takes what came of one request; until when the server is ejected for it. `others_usable` is how many other servers
    /// could take the pool's requests: the last one is not ejected, because its errors are better than none answering at
    /// all.
    pub fn on_outcome(
        &mut self,
        now: Duration,
        id: ServerId,
        outcome: Outcome,
        others_usable: usize,
    ) -> Option<Duration> {
        let judged = self.settings.counts.judge(outcome);
        let server = &mut self.servers[id.0];
        match (server.state, judged) {
            (State::In { .. }, Judged::Nothing) => None,
            (State::In { since, .. }, Judged::Success) => {
                server.state = State::In { run: 0, since };
                None
            }
            (State::In { run, since }, Judged::Error) => {
                let run = run + 1;
                let is_outlier = run >= self.settings.consecutive_errors.get();
                server.state = State::In { run: if is_outlier { 0 } else { run }, since };
                (is_outlier && others_usable > 0 && self.may_eject())
                    .then(|| self.eject(now, id, since))
            }
            // Answers to what was sent before, or in a panic: it comes back with a clean sheet.
            (State::Out { .. }, Judged::Nothing | Judged::Success | Judged::Error) => None,
        }
    }

    /// Until when.
    fn eject(&mut self, now: Duration, id: ServerId, since: Duration) -> Duration {
        let until = now + self.count_ejection(id, now.saturating_sub(since));
        self.servers[id.0].state = State::Out { until };
        until
    }

    fn may_eject(&self) -> bool {
        let out = self.servers.iter().filter(|server| server.is_out()).count();
        let most = self.servers.len() * usize::from(self.settings.max_ejection_percent);
        out == 0 || (out + 1) * 100 <= most
    }

    /// One ejection more, less one for each interval since it came back; how long it lasts.
    fn count_ejection(&mut self, id: ServerId, in_for: Duration) -> Duration {
        let Settings { base_ejection_time: base, max_ejection_time, interval, .. } = self.settings;
        let most = max_ejection_time.max(base);
        let quiet = in_for.as_nanos().checked_div(interval.as_nanos()).unwrap_or(0);
        let forgotten = u32::try_from(quiet).unwrap_or(u32::MAX);
        let server = &mut self.servers[id.0];
        server.ejections = server.ejections.saturating_sub(forgotten);
        // As in Envoy it does not grow past what matters, so that it is not forgotten more slowly either.
        if base.saturating_mul(server.ejections) < most {
            server.ejections += 1;
        }
        base.saturating_mul(server.ejections).min(most)
    }

    /// An active check passed: whether that brings the server back, before its time is over (Envoy's
    /// `successful_active_health_check_uneject_host`).
    pub fn on_check_passed(&mut self, now: Duration, id: ServerId) -> bool {
        let server = &mut self.servers[id.0];
        match server.state {
            State::Out { .. } => {
                server.state = State::In { run: 0, since: now };
                true
            }
            State::In { .. } => false,
        }
    }

    /// Whose ejection is over: they return.
    pub fn expire(&mut self, now: Duration) -> Vec<ServerId> {
        let mut back = vec![];
        for (place, server) in self.servers.iter_mut().enumerate() {
            match server.state {
                State::Out { until } if until <= now => {
                    server.state = State::In { run: 0, since: until };
                    back.push(ServerId(place));
                }
                State::Out { .. } | State::In { .. } => {}
            }
        }
        back
    }

    /// Whether a success would change anything.
    pub fn has_run(&self, id: ServerId) -> bool {
        match self.servers[id.0].state {
            State::In { run, .. } => run > 0,
            State::Out { .. } => false,
        }
    }

    pub fn is_ejected(&self, id: ServerId) -> bool {
        self.servers[id.0].is_out()
    }
}
