//! A place at a server of a pool: who takes the request, and how long it waits for that.

use std::time::Duration;

use common::clock;

use crate::access_log::{Ahead, Cause, End, Phase};
use crate::balance::Key;
use crate::ids::ServerId;
use crate::stream::{Late, Timer};
use crate::upstream::{Asked, Lease};
use crate::worker::{Local, Worker};

pub struct Placed {
    pub lease: Result<Lease, NoPlace>,
    /// `None` where nobody was there to wait for.
    pub waited: Option<Duration>,
    pub ahead: Ahead,
}

/// Why there is none.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum NoPlace {
    /// The pool has no server that serves.
    Nobody,
    /// As many wait as may.
    Full,
    Late,
}

/// Picks, and waits where that is told to.
pub async fn place(
    worker: &Worker,
    local: &Local,
    key: Option<Key>,
    tried: &[ServerId],
    timer: &mut Timer,
) -> Placed {
    let began = clock::monotonic();
    let at_once = |lease: Result<Lease, NoPlace>| {
        let waited = lease.is_ok().then_some(Duration::ZERO);
        Placed { lease, waited, ahead: Ahead::default() }
    };
    let choice = local.pick(key, tried, worker.dice());
    let mut waiting = match local.upstream.ask(choice) {
        Asked::Go(lease) => {
            lease.server().counts.used(began);
            return at_once(Ok(lease));
        }
        Asked::Full => return at_once(Err(NoPlace::Full)),
        Asked::Nobody => return at_once(Err(NoPlace::Nobody)),
        Asked::Wait(waiting) => waiting,
    };
    let ahead = waiting.ahead();
    let within = local.upstream.config.queue.timeout;
    let lease = timer.within(within, waiting.lease()).await.map_err(|Late| NoPlace::Late);
    let now = clock::monotonic();
    if let Ok(lease) = &lease {
        lease.server().counts.used(now);
    }
    Placed { lease, waited: Some(now.saturating_sub(began)), ahead }
}

impl NoPlace {
    /// In the log's words: HAProxy's `SC`, `PQ` and `sQ`.
    pub fn end(self) -> End {
        match self {
            NoPlace::Nobody => End::Cut(Cause::ServerAbort, Phase::Connect),
            NoPlace::Full => End::Cut(Cause::Proxy, Phase::Queue),
            NoPlace::Late => End::Cut(Cause::ServerTimeout, Phase::Queue),
        }
    }
}
