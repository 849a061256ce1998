//! Places at servers with a limit, shared by all threads: the lock around `slots`, and who is to be woken.
//!
//! A pool in which nobody has a limit has no use for it, and takes no lock.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use common::lock::Mutex;
use tokio::sync::oneshot;

use super::server::{Lease, Server};
use crate::access_log::Ahead;
use crate::backends::Limit;
use crate::balance::Choice;
use crate::ids::ServerId;
use crate::slots::{Answer, Settings, Slots, Takes, Waiter, Wanted};

/// Of a pool, for as long as its name is in the config.
#[derive(Debug)]
pub struct Places {
    /// Whether any server has a limit, or had one.
    has_limits: AtomicBool,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    slots: Slots,
    /// By slot: also those that a reload has taken out.
    servers: Vec<Arc<Server>>,
    woken: HashMap<Waiter, oneshot::Sender<Lease>>,
    next: u64,
}

/// What becomes of a request that wants a place.
#[derive(Debug)]
pub enum Asked {
    Go(Lease),
    Wait(Waiting),
    /// As many wait as may.
    Full,
    /// The pool has nobody.
    Nobody,
}

/// A request that waits. Dropped, it waits no more.
#[derive(Debug)]
pub struct Waiting {
    places: Arc<Places>,
    waiter: Waiter,
    /// The one that it waits for, if no other will do.
    bound: Option<Arc<Server>>,
    lease: oneshot::Receiver<Lease>,
}

impl Waiting {
    /// Who waits before it: of those that wait for the same server, or for any.
    pub fn ahead(&self) -> Ahead {
        let slots = &self.places.inner.lock().slots;
        match &self.bound {
            Some(bound) => {
                Ahead { server: slots.waiting(bound.slot).saturating_sub(1) as u64, pool: 0 }
            }
            None => Ahead { server: 0, pool: slots.waiting_for_any().saturating_sub(1) as u64 },
        }
    }

    /// The place, once it has one.
    pub async fn lease(&mut self) -> Lease {
        // The sender is only ever dropped by us.
        (&mut self.lease).await.expect("who waits is told, or waits no more")
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if let Some(bound) = &self.bound {
            bound.waits(false);
        }
        let mut inner = self.places.inner.lock();
        inner.slots.gone(self.waiter);
        let sender = inner.woken.remove(&self.waiter);
        drop(inner);
        // A lease that was sent and not received gives its place back: not under the lock.
        drop(sender);
    }
}

impl Places {
    pub(super) fn new(settings: Settings) -> Places {
        let inner =
            Inner { slots: Slots::new(settings), servers: vec![], woken: HashMap::new(), next: 0 };
        Places { has_limits: AtomicBool::new(false), inner: Mutex::new(inner) }
    }

    pub(super) fn configure(&self, settings: Settings) {
        self.inner.lock().slots.configure(settings);
    }

    /// Makes a server of what it is to be: it takes nobody until `set` says so.
    pub(super) fn add(&self, make: impl FnOnce(ServerId) -> Server) -> Arc<Server> {
        let mut inner = self.inner.lock();
        // One that a reload has taken out, and that nobody is with any more.
        let is_free = |(slot, server): &(usize, &Arc<Server>)| {
            let (slot, slots) = (ServerId(*slot), &inner.slots);
            Arc::strong_count(server) == 1 && slots.in_flight(slot) == 0 && slots.waiting(slot) == 0
        };
        let free = inner.servers.iter().enumerate().find(is_free).map(|(slot, _)| slot);
        if let Some(slot) = free {
            let server = Arc::new(make(ServerId(slot)));
            inner.servers[slot] = Arc::clone(&server);
            return server;
        }
        let server = Arc::new(make(inner.slots.add()));
        inner.servers.push(Arc::clone(&server));
        server
    }

    pub(super) fn waiting(&self) -> usize {
        self.inner.lock().woken.len()
    }

    pub(super) fn set(self: &Arc<Places>, server: &Arc<Server>, limit: Limit, takes: Takes) {
        if limit.is_some() {
            self.has_limits.store(true, Relaxed);
        }
        let mut inner = self.inner.lock();
        let go = inner.slots.set(server.slot, limit, takes);
        let undelivered: Vec<_> =
            go.into_iter().map(|(waiter, slot)| self.wake(&mut inner, waiter, slot)).collect();
        drop(inner);
        drop(undelivered);
    }

    /// Gives somebody its place. What comes back was not wanted any more.
    fn wake(
        self: &Arc<Places>,
        inner: &mut Inner,
        waiter: Waiter,
        slot: ServerId,
    ) -> Option<Lease> {
        let lease = Lease::new(Arc::clone(&inner.servers[slot.0]), Some(Arc::clone(self)));
        match inner.woken.remove(&waiter) {
            Some(sender) => sender.send(lease).err(),
            None => Some(lease),
        }
    }

    pub(super) fn ask(self: &Arc<Places>, choice: Choice, servers: &[Arc<Server>]) -> Asked {
        let wanted = match choice {
            Choice::Nobody => return Asked::Nobody,
            Choice::Free(id) | Choice::Bound(id) if !self.has_limits.load(Relaxed) => {
                return Asked::Go(Lease::new(Arc::clone(&servers[id.0]), None));
            }
            Choice::Free(id) => Wanted::Any(servers[id.0].slot),
            Choice::Bound(id) => Wanted::Bound(servers[id.0].slot),
            Choice::Full => Wanted::Whoever,
        };
        let mut inner = self.inner.lock();
        let waiter = Waiter(inner.next);
        match inner.slots.ask(waiter, wanted) {
            Answer::Go(slot) => {
                let server = Arc::clone(&inner.servers[slot.0]);
                Asked::Go(Lease::new(server, Some(Arc::clone(self))))
            }
            Answer::Wait => {
                inner.next += 1;
                let (sender, lease) = oneshot::channel();
                inner.woken.insert(waiter, sender);
                let bound = match wanted {
                    Wanted::Bound(slot) => Some(Arc::clone(&inner.servers[slot.0])),
                    Wanted::Any(_) | Wanted::Whoever => None,
                };
                if let Some(bound) = &bound {
                    bound.waits(true);
                }
                Asked::Wait(Waiting { places: Arc::clone(self), waiter, bound, lease })
            }
            Answer::Full => Asked::Full,
        }
    }

    /// A place is free: whoever has waited longest for it is woken.
    pub(super) fn done(self: &Arc<Places>, slot: ServerId) {
        let mut inner = self.inner.lock();
        let next = inner.slots.done(slot);
        let undelivered = next.and_then(|(waiter, slot)| self.wake(&mut inner, waiter, slot));
        drop(inner);
        drop(undelivered);
    }
}
