//! Virtual time, and what is to happen by it: in the order of time, and at one time in the order of asking.

use std::collections::BTreeMap;
use std::time::Duration;

use common::seen::Seen;
use common::target::TargetId;
use site_agent::rounds::Series;

use crate::network::Envelope;
use crate::plan::Deed;

/// Where the virtual clock begins: no daemon's clock begins at zero.
pub const BEGINNING: Duration = Duration::from_secs(100_000);

/// A run of a process: what was meant for one before it is for nobody.
pub type Run = u32;

/// Something that happens.
#[derive(Clone, Debug)]
pub enum Event {
    /// Somebody or something fails, or is well again.
    Deed(Deed),
    /// What was sent arrives.
    Arrives(Envelope),
    /// A producer looks whether anything is due.
    Producer {
        producer: usize,
        run: Run,
    },
    /// An exchange has taken too long.
    GivenUp {
        producer: usize,
        run: Run,
        server: usize,
        exchange: u64,
    },
    Vantage {
        vantage: usize,
        run: Run,
    },
    LookEnds {
        vantage: usize,
        run: Run,
        target: TargetId,
        seen: Seen,
    },
    Agent {
        at: usize,
        run: Run,
    },
    CheckEnds {
        at: usize,
        run: Run,
        series: Series,
        seen: Seen,
    },
    Router {
        at: usize,
        run: Run,
    },
    Advert {
        at: usize,
        octets: Vec<u8>,
    },
    /// Whether the balancer still says that it serves.
    Lease {
        at: usize,
    },
    Turn {
        server: usize,
        run: Run,
    },
    Gathered {
        server: usize,
        run: Run,
    },
    Pull {
        server: usize,
        run: Run,
        peer: usize,
    },
    PullGivenUp {
        server: usize,
        run: Run,
        peer: usize,
        exchange: u64,
    },
    /// What was promised is looked at.
    Watch,
}

#[derive(Debug)]
pub struct Queue {
    now: Duration,
    asked: u64,
    waiting: BTreeMap<(Duration, u64), Event>,
}

impl Default for Queue {
    fn default() -> Queue {
        Queue { now: BEGINNING, asked: 0, waiting: BTreeMap::new() }
    }
}

impl Queue {
    pub fn now(&self) -> Duration {
        self.now
    }

    pub fn at(&mut self, at: Duration, event: Event) {
        self.asked += 1;
        self.waiting.insert((at.max(self.now), self.asked), event);
    }

    pub fn after(&mut self, wait: Duration, event: Event) {
        self.at(self.now + wait, event);
    }

    /// The next event, if it is not later than `end`.
    pub fn next(&mut self, end: Duration) -> Option<Event> {
        let entry = self.waiting.first_entry().filter(|entry| entry.key().0 <= end)?;
        self.now = entry.key().0;
        Some(entry.remove())
    }
}

/// When somebody wakes next of itself. What was planned before for another time is for nobody.
#[derive(Clone, Copy, Debug, Default)]
pub struct Alarm(Option<Duration>);

impl Alarm {
    /// Whether it is to be set to that time: it is not set, or later.
    pub fn set(&mut self, at: Duration) -> bool {
        let is_sooner = self.0.is_none_or(|set| set > at);
        if is_sooner {
            self.0 = Some(at);
        }
        is_sooner
    }

    /// Whether it is this one that rings; then it is set no more.
    pub fn rings(&mut self, now: Duration) -> bool {
        let is_it = self.0 == Some(now);
        if is_it {
            self.0 = None;
        }
        is_it
    }

    pub fn clear(&mut self) {
        self.0 = None;
    }
}

pub const fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

pub const fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}
