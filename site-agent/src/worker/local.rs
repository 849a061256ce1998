//! What one thread has of one pool: whose turn it is, what may be retried, and idle connections to its servers.

use std::cell::{RefCell, RefMut};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use crate::balance::{Ask, Choice, Key, Picker};
use crate::ids::ServerId;
use crate::link::{Found, Links};
use crate::retry::Budget;
use crate::stream::Stream;
use crate::upstream::{Server, Upstream};

/// Idle connections to one server that a thread keeps.
const MOST_IDLE: usize = 256;
/// For so long: less than the 5 s after which Node's servers, the hastiest that are common, close theirs.
const IDLE: Duration = Duration::from_secs(4);
/// Retries a second that a pool may make whatever comes (Finagle's `minRetriesPerSec`).
const FREE_RETRIES: u32 = 10;

#[derive(Debug)]
pub struct Local {
    pub upstream: Arc<Upstream>,
    picker: RefCell<Picker>,
    pub budget: RefCell<Budget>,
    /// By the server's id.
    idle: RefCell<Vec<Vec<Parked>>>,
    /// The same of HTTP/2, where connections are not only idle ones.
    links: RefCell<Vec<Links>>,
}

/// A connection to a server that waits for another request.
#[derive(Debug)]
struct Parked {
    stream: Stream,
    since: Duration,
}

impl Local {
    pub fn new(upstream: Arc<Upstream>, index: usize, count: usize) -> Local {
        let picker = Picker::new(Arc::clone(&upstream.shown().table), index);
        let percent = (upstream.config.retry.budget.get() * 100.0).round() as u16;
        let threads =
            u32::try_from(count).ok().and_then(NonZeroU32::new).unwrap_or(NonZeroU32::MIN);
        let idle = upstream.servers().iter().map(|_| vec![]).collect();
        let links = upstream.servers().iter().map(|_| Links::default()).collect();
        Local {
            picker: RefCell::new(picker),
            budget: RefCell::new(Budget::new(percent, FREE_RETRIES, threads)),
            idle: RefCell::new(idle),
            links: RefCell::new(links),
            upstream,
        }
    }

    /// Who takes a request.
    pub fn pick(&self, key: Option<Key>, tried: &[ServerId], dice: u64) -> Choice {
        let shown = self.upstream.shown();
        let mut picker = self.picker.borrow_mut();
        picker.follow(&shown.table);
        let ask = Ask { key, tried, dice };
        picker.pick(&ask, |id| self.upstream.server(id).load())
    }

    /// The connection that was idle for the shortest time: the others may go.
    pub fn unpark(&self, server: &Arc<Server>, now: Duration) -> Option<Stream> {
        let id = self.upstream.id_of(server)?;
        loop {
            let mut parked = self.idle.borrow_mut()[id.0].pop()?;
            if parked.since + IDLE > now && parked.stream.is_quiet() {
                return Some(parked.stream);
            }
        }
    }

    /// Keeps a connection on which all has been said.
    pub fn park(&self, server: &Arc<Server>, stream: Stream, now: Duration) {
        // A server of an earlier config is not asked again.
        let Some(id) = self.upstream.id_of(server) else { return };
        let idle = &mut self.idle.borrow_mut()[id.0];
        if idle.len() < MOST_IDLE {
            idle.push(Parked { stream, since: now });
        }
    }

    /// HTTP/2 connections to a server; none to one of an earlier config.
    pub fn links(&self, server: &Arc<Server>) -> Option<RefMut<'_, Links>> {
        let id = self.upstream.id_of(server)?;
        Some(RefMut::map(self.links.borrow_mut(), |links| &mut links[id.0]))
    }

    /// Room for a stream to a server, if a connection has some, or will have.
    pub fn link(&self, server: &Arc<Server>, now: Duration) -> Option<Found> {
        self.links(server)?.find(now, IDLE)
    }

    pub(super) fn inherit(&self, before: &Local) {
        let mut idle = self.idle.borrow_mut();
        // Whoever is still with the one before may park there: that is closed with it.
        let mut parked = before.idle.borrow_mut();
        let (mut links, mut linked) = (self.links.borrow_mut(), before.links.borrow_mut());
        let theirs = parked.iter_mut().zip(linked.iter_mut());
        for (server, (parked, linked)) in before.upstream.servers().iter().zip(theirs) {
            if let Some(id) = self.upstream.id_of(server) {
                idle[id.0].append(parked);
                links[id.0].inherit(linked);
            }
        }
    }

    pub(super) fn tidy(&self, now: Duration) {
        for parked in self.idle.borrow_mut().iter_mut() {
            parked.retain_mut(|parked| parked.since + IDLE > now && parked.stream.is_quiet());
        }
        self.links.borrow_mut().iter_mut().for_each(|links| links.tidy(now, IDLE));
    }
}
