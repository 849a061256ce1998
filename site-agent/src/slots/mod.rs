//! Places at servers with a limit, and the queues before them.
//!
//! balance ─▶ `ask` ─▶ go, wait or full          a request ends ─▶ `done` ─▶ who goes next
//!
//! There is a queue for each server, of requests that belong to it by persistence or by a hash, and one for the pool, of
//! those that any server would do for. A free place is given to whoever has waited longest of the two, as in HAProxy
//! (`pendconn_process_next_strm`): always the server's own first, the pool's would starve behind a busy cookie.
//!
//! A shell holds one machine in one lock for a pool of which any server has a limit; a pool without limits does not need
//! it, and counts what is in flight in an atomic for each server. Where there is a machine its counts are copied to
//! those same atomics, under the lock, for `balance` to read without it. A request asks where it is sent, and whoever ends
//! one wakes whom `done` names. Ids stay what they are for the life of a machine: a reload closes servers and adds
//! others (`add`), so that a request ends where it began.
//!
//! Told events. For how long a request waits is its own business: it says when it is gone.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::num::NonZeroU32;

use crate::ids::ServerId;

/// A request that waits, by a number that no other has while it does.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Waiter(pub u64);

#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// So many wait for any server at most. Those whose server closes join them, beyond it too.
    pub length: usize,
    /// So many wait for one server at most (HAProxy's `maxqueue`); the next looks for another.
    pub server_length: usize,
}

/// Whom a server takes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Takes {
    Anybody,
    /// Requests that belong to it: it is drained, or a backup that is not needed.
    Bound,
    Nobody,
}

/// Where a request would go.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Wanted {
    /// To the server that it belongs to; elsewhere only if that takes nobody or its queue is full.
    Bound(ServerId),
    /// To whoever has a place, to this one before others.
    Any(ServerId),
    /// To whoever has a place first: nobody had one a moment ago.
    Whoever,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Answer {
    /// It has a place there, until `done`.
    Go(ServerId),
    /// Until `done` or `set` names it, or it is `gone`.
    Wait,
    Full,
}

#[derive(Debug)]
struct Slot {
    /// `None` is any number.
    limit: Option<NonZeroU32>,
    takes: Takes,
    in_flight: u32,
    queue: Queue,
}

/// Waiters by their tickets, which count up.
type Queue = BTreeMap<u64, Waiter>;

#[derive(Clone, Copy, Debug)]
struct Place {
    ticket: u64,
    /// Whose queue it is; the pool's is nobody's.
    server: Option<ServerId>,
}

#[derive(Debug)]
pub struct Slots {
    settings: Settings,
    servers: Vec<Slot>,
    pool: Queue,
    places: BTreeMap<Waiter, Place>,
    tickets: u64,
}

impl Slot {
    fn has_room(&self) -> bool {
        self.limit.is_none_or(|limit| self.in_flight < limit.get())
    }
}

impl Slots {
    pub fn new(settings: Settings) -> Slots {
        Slots { settings, servers: vec![], pool: Queue::new(), places: BTreeMap::new(), tickets: 0 }
    }

    /// Another server, which takes nobody until `set` says so.
    pub fn add(&mut self) -> ServerId {
        self.servers.push(Slot {
            limit: None,
            takes: Takes::Nobody,
            in_flight: 0,
            queue: Queue::new(),
        });
        ServerId(self.servers.len() - 1)
    }

    /// Other settings: for those who ask from now on.
    pub fn configure(&mut self, settings: Settings) {
        self.settings = settings;
    }

    /// What a server's limit is, and whom it takes. Told is who goes where by it. Those who waited for a server that now
    /// takes nobody wait for any, and keep their turn; what is in flight beyond a lower limit goes on to its end.
    pub fn set(
        &mut self,
        server: ServerId,
        limit: Option<NonZeroU32>,
        takes: Takes,
    ) -> Vec<(Waiter, ServerId)> {
        let slot = &mut self.servers[server.0];
        (slot.limit, slot.takes) = (limit, takes);
        match takes {
            Takes::Anybody | Takes::Bound => self.fill(server),
            Takes::Nobody => {
                let queue = std::mem::take(&mut slot.queue);
                for waiter in queue.values() {
                    let place = self.places.get_mut(waiter).expect("who is in a queue has a place");
                    place.server = None;
                }
                self.pool.extend(queue);
                let all = 0..self.servers.len();
                all.flat_map(|place| self.fill(ServerId(place))).collect()
            }
        }
    }

    /// Everybody who goes to this server now.
    fn fill(&mut self, server: ServerId) -> Vec<(Waiter, ServerId)> {
        std::iter::from_fn(|| self.next(server)).collect()
    }

    /// Gives a place at the server, if one is free, to whoever has waited longest of those who may have it.
    fn next(&mut self, server: ServerId) -> Option<(Waiter, ServerId)> {
        let slot = &self.servers[server.0];
        if !slot.has_room() {
            return None;
        }
        let bound = slot.queue.first_key_value();
        let any = self.pool.first_key_value();
        let next = match slot.takes {
            Takes::Anybody => bound.into_iter().chain(any).min(),
            Takes::Bound => bound,
            Takes::Nobody => None,
        };
        let waiter = *next?.1;
        self.forget(waiter);
        self.servers[server.0].in_flight += 1;
        Some((waiter, server))
    }

    /// A request wants a place. A waiter that waits already is not to ask again.
    pub fn ask(&mut self, waiter: Waiter, wanted: Wanted) -> Answer {
        if let Wanted::Bound(server) = wanted {
            let slot = &self.servers[server.0];
            let may_wait = slot.queue.len() < self.settings.server_length;
            match slot.takes {
                Takes::Anybody | Takes::Bound if slot.has_room() => return self.go(server),
                Takes::Anybody | Takes::Bound if may_wait => {
                    return self.wait(waiter, Some(server));
                }
                Takes::Anybody | Takes::Bound | Takes::Nobody => {}
            }
        }
        let first = match wanted {
            Wanted::Bound(server) | Wanted::Any(server) => Some(server),
            Wanted::Whoever => None,
        };
        let is_free = |server: &ServerId| {
            let slot = &self.servers[server.0];
            slot.takes == Takes::Anybody && slot.has_room()
        };
        let others = || {
            let free = (0..self.servers.len()).map(ServerId).filter(is_free);
            free.min_by_key(|server| self.servers[server.0].in_flight)
        };
        match first.filter(is_free).or_else(others) {
            Some(server) => self.go(server),
            None if self.pool.len() < self.settings.length => self.wait(waiter, None),
            None => Answer::Full,
        }
    }

    fn go(&mut self, server: ServerId) -> Answer {
        self.servers[server.0].in_flight += 1;
        Answer::Go(server)
    }

    fn wait(&mut self, waiter: Waiter, server: Option<ServerId>) -> Answer {
        let place = Place { ticket: self.tickets, server };
        self.tickets += 1;
        self.queue_of(server).insert(place.ticket, waiter);
        let before = self.places.insert(waiter, place);
        assert!(before.is_none(), "a request waits in one place");
        Answer::Wait
    }

    fn queue_of(&mut self, server: Option<ServerId>) -> &mut Queue {
        match server {
            Some(server) => &mut self.servers[server.0].queue,
            None => &mut self.pool,
        }
    }

    /// A request has ended, or has left for another server. Told is who goes there now.
    pub fn done(&mut self, server: ServerId) -> Option<(Waiter, ServerId)> {
        let in_flight = &mut self.servers[server.0].in_flight;
        *in_flight = in_flight.checked_sub(1).expect("who is done had a place");
        self.next(server)
    }

    /// Somebody does not wait any more. `false` if it had a place by then: that is to be given back by `done`.
    pub fn gone(&mut self, waiter: Waiter) -> bool {
        self.forget(waiter)
    }

    fn forget(&mut self, waiter: Waiter) -> bool {
        let Some(Place { ticket, server }) = self.places.remove(&waiter) else {
            return false;
        };
        self.queue_of(server).remove(&ticket);
        true
    }

    pub fn in_flight(&self, server: ServerId) -> u32 {
        self.servers[server.0].in_flight
    }

    /// How many wait for this server.
    pub fn waiting(&self, server: ServerId) -> usize {
        self.servers[server.0].queue.len()
    }

    /// How many wait for any.
    pub fn waiting_for_any(&self) -> usize {
        self.pool.len()
    }
}
