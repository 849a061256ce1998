//! One server as it runs, and what is under way there.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use arc_swap::ArcSwapOption;

use super::places::Places;
use super::statuses::Statuses;
use crate::access_log::{Cause, End, Phase};
use crate::ids::ServerId;
use crate::site;
use crate::tls::Dial;

/// What stays over every reload that leaves its lines of the config as they are.
#[derive(Debug)]
pub struct Server {
    pub name: Arc<str>,
    pub config: site::Server,
    /// Since when it has been here, as it is.
    pub since: Duration,
    /// Requests, or connections of TCP, that have a place here.
    in_flight: AtomicU32,
    /// Those that wait for this one and no other.
    waiting: AtomicU32,
    /// Whether it has failed lately, so that a success is news.
    has_run: AtomicBool,
    /// Which it is in the machine of places.
    pub(super) slot: ServerId,
    pub counts: Counts,
    /// How it is spoken to over TLS: `None` for a server without.
    dial: ArcSwapOption<Dial>,
}

/// What it was given and what came of it, since it is known.
#[derive(Debug, Default)]
pub struct Counts {
    /// Requests that had a place, or connections of TCP.
    pub requests: AtomicU64,
    /// Its answers that went to clients. One after which a request was tried again is among `retries`.
    pub answers: Statuses,
    /// Connections made, and how often none came to be.
    pub connections: AtomicU64,
    pub connect_errors: AtomicU64,
    /// Requests that found a connection there.
    pub reused: AtomicU64,
    /// No whole response came.
    pub response_errors: AtomicU64,
    /// Sent again, here or elsewhere, after it had failed here.
    pub retries: AtomicU64,
    /// Octets to it and from it.
    pub sent: AtomicU64,
    pub received: AtomicU64,
    /// What the client, and what the server broke off.
    pub client_aborts: AtomicU64,
    pub server_aborts: AtomicU64,
    /// Looks that failed while it was not down for them, and how often it has gone down.
    pub failed_looks: AtomicU64,
    pub falls: AtomicU64,
    /// When it was last given a place, in milliseconds on the monotonic clock; 0 is never.
    last_ms: AtomicU64,
}

impl Counts {
    pub fn count(of: &AtomicU64) {
        of.fetch_add(1, Relaxed);
    }

    pub fn add(of: &AtomicU64, more: u64) {
        of.fetch_add(more, Relaxed);
    }

    /// So a request, or a connection of TCP, has ended here.
    pub fn ended(&self, end: End) {
        match end {
            End::Cut(Cause::ClientAbort, _) => Counts::count(&self.client_aborts),
            // One that fails before it has answered is an error of another kind.
            End::Cut(Cause::ServerAbort, Phase::Data) => Counts::count(&self.server_aborts),
            End::Complete | End::Cut(..) => {}
        }
    }

    pub fn used(&self, now: Duration) {
        let now = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
        self.last_ms.store(now.max(1), Relaxed);
    }

    pub fn last_used(&self) -> Option<Duration> {
        let last = self.last_ms.load(Relaxed);
        (last > 0).then(|| Duration::from_millis(last))
    }
}

impl Server {
    pub(super) fn new(config: site::Server, slot: ServerId, now: Duration) -> Server {
        Server {
            since: now,
            name: Arc::clone(&config.name),
            config,
            in_flight: AtomicU32::new(0),
            waiting: AtomicU32::new(0),
            has_run: AtomicBool::new(false),
            slot,
            counts: Counts::default(),
            dial: ArcSwapOption::empty(),
        }
    }

    pub fn dial(&self) -> Option<Dial> {
        self.dial.load().as_deref().cloned()
    }

    /// For connections from now on.
    pub fn set_dial(&self, dial: Option<Dial>) {
        self.dial.store(dial.map(Arc::new));
    }

    pub fn address(&self) -> SocketAddr {
        self.config.address
    }

    pub fn in_flight(&self) -> u32 {
        self.in_flight.load(Relaxed)
    }

    /// What balancing goes by.
    pub fn load(&self) -> u32 {
        self.in_flight.load(Relaxed) + self.waiting.load(Relaxed)
    }

    pub(super) fn has_run(&self) -> bool {
        self.has_run.load(Relaxed)
    }

    pub(super) fn set_run(&self, has_run: bool) {
        self.has_run.store(has_run, Relaxed);
    }

    pub(super) fn waits(&self, more: bool) {
        if more {
            self.waiting.fetch_add(1, Relaxed);
        } else {
            self.waiting.fetch_sub(1, Relaxed);
        }
    }
}

/// A place at a server: given back when it is dropped.
#[derive(Debug)]
pub struct Lease {
    server: Arc<Server>,
    /// Where it is counted against a limit.
    places: Option<Arc<Places>>,
}

impl Lease {
    pub(super) fn new(server: Arc<Server>, places: Option<Arc<Places>>) -> Lease {
        server.in_flight.fetch_add(1, Relaxed);
        Counts::count(&server.counts.requests);
        Lease { server, places }
    }

    pub fn server(&self) -> &Arc<Server> {
        &self.server
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.server.in_flight.fetch_sub(1, Relaxed);
        if let Some(places) = &self.places {
            places.done(self.server.slot);
        }
    }
}
