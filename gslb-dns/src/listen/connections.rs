//! The connections of the whole process, whatever listener they came by: one table, one lock.
//!
//! `table` decides who leaves; here the session that must is told, and everything is counted.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::table::{Admitted, ConnectionId, Eviction, Table};
use crate::answer::Transport;
use crate::metrics::TcpMetrics;
use crate::world::TcpLimits;
use common::lock::Mutex;

/// Make one and hand it to every listener: the limits are for all of them together.
pub struct Connections {
    most: usize,
    idle: Duration,
    metrics: TcpMetrics,
    held: Mutex<Held>,
}

struct Held {
    table: Table,
    /// A session leaves when its sender is dropped.
    notices: HashMap<ConnectionId, oneshot::Sender<Infallible>>,
}

/// A connection's place among the others, until it is dropped.
pub struct Seat {
    connections: Arc<Connections>,
    id: ConnectionId,
}

/// Tells a session that it must leave.
pub struct Notice(oneshot::Receiver<Infallible>);

impl Connections {
    pub fn new(limits: TcpLimits, metrics: TcpMetrics) -> Arc<Connections> {
        let TcpLimits { connections, connections_per_client, idle } = limits;
        let table = Table::new(connections, connections_per_client);
        let held = Mutex::new(Held { table, notices: HashMap::new() });
        Arc::new(Connections { most: connections, idle, metrics, held })
    }

    pub(super) fn admit(self: &Arc<Self>, client: IpAddr, now: Instant) -> (Seat, Notice) {
        self.seat(|table| table.admit(client, now))
    }

    /// For a proxy's connection, until `Seat::belongs_to` says whose it is.
    pub(super) fn admit_unnamed(self: &Arc<Self>, now: Instant) -> (Seat, Notice) {
        self.seat(|table| table.admit_unnamed(now))
    }

    fn seat(self: &Arc<Self>, admit: impl FnOnce(&mut Table) -> Admitted) -> (Seat, Notice) {
        let (sender, receiver) = oneshot::channel();
        let mut held = self.held.lock();
        let Admitted { id, instead_of } = admit(&mut held.table);
        held.notices.insert(id, sender);
        if let Some((gone, eviction)) = instead_of {
            held.notices.remove(&gone);
            self.count(eviction);
        }
        self.metrics.accepted.inc();
        self.metrics.open.inc();
        (Seat { connections: Arc::clone(self), id }, Notice(receiver))
    }

    /// Frees what one connection holds, for the system has no more of it.
    pub(super) fn evict_idlest(&self) {
        let mut held = self.held.lock();
        if let Some(idlest) = held.table.idlest() {
            held.table.leave(idlest);
            held.notices.remove(&idlest);
            self.count(Eviction::Full);
        }
    }

    pub(super) fn count_accept_error(&self) {
        self.metrics.accept_errors.inc();
    }

    /// All that may be connected at once.
    pub(super) fn most(&self) -> usize {
        self.most
    }

    /// How long a connection may ask nothing, or let us wait.
    pub(super) fn idle(&self) -> Duration {
        self.idle
    }

    /// A QUIC client was asked to prove its address.
    pub(super) fn count_retry(&self) {
        self.metrics.quic_retries.inc();
    }

    /// An attempt to connect over QUIC was not answered.
    pub(super) fn count_ignored(&self) {
        self.metrics.quic_ignored.inc();
    }

    /// What came of a TLS handshake, as metrics name it.
    pub(super) fn count_handshake(&self, transport: Transport, result: &str) {
        self.metrics.handshakes.with_label_values(&[transport.as_str(), result]).inc();
    }

    /// One was closed, or given up before it had a seat.
    pub(super) fn count(&self, eviction: Eviction) {
        self.metrics.evicted.with_label_values(&[eviction.as_str()]).inc();
    }
}

impl Seat {
    /// How long this connection may ask nothing, or let us wait.
    pub fn idle(&self) -> Duration {
        self.connections.idle
    }

    /// Its client has been told.
    pub fn belongs_to(&self, client: IpAddr) {
        let mut held = self.connections.held.lock();
        if let Some((gone, eviction)) = held.table.name(self.id, client) {
            held.notices.remove(&gone);
            self.connections.count(eviction);
        }
    }

    /// What came from a proxy was no header.
    pub fn count_refused_header(&self) {
        self.connections.metrics.proxy_refused.inc();
    }

    /// It has asked a whole query.
    pub fn asked(&self, now: Instant) {
        self.connections.held.lock().table.asked(self.id, now);
    }

    /// What came of its TLS handshake, as metrics name it.
    pub fn count_handshake(&self, transport: Transport, result: &str) {
        self.connections.count_handshake(transport, result);
    }

    /// It is closed because its client broke a rule of DNS over QUIC, as metrics name it.
    pub fn count_breach(&self, breach: &str) {
        self.connections.metrics.quic_breaches.with_label_values(&[breach]).inc();
    }

    /// It is closed for a reason of its own.
    pub fn count(&self, eviction: Eviction) {
        self.connections.count(eviction);
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut held = self.connections.held.lock();
        held.table.leave(self.id);
        held.notices.remove(&self.id);
        self.connections.metrics.open.dec();
    }
}

impl Notice {
    pub async fn given(self) {
        // Nothing is ever sent: that the sender is gone is the message.
        let _ = self.0.await;
    }
}
