//! Which server of a pool takes a request: round robin, least connections, random two, first, or a hash of the client,
//! the URI or a header on a consistent ring.
//!
//! backends ─▶ `Table` (shared, immutable) ─▶ `Picker` (one for each thread and pool) ─▶ `Choice` ─▶ slots
//!
//! A table is made anew whenever a weight or a state changes, and swapped whole by whoever holds it in an `Arc`. A
//! picker has what an algorithm must remember between requests, so threads share nothing here but the loads, which
//! come as a closure over the servers' counters. A pick allocates nothing and costs one walk over the servers at most;
//! `first` may be done sooner, `random-two` without a limit takes two binary searches, and a hash without a bound takes
//! one. Never reads a clock and never draws a number: chance comes as an argument.
//!
//! What each algorithm promises stands at `Algorithm`, and is tested.

mod hash;
mod ring;
mod round_robin;
mod table;
#[cfg(test)]
mod tests;

use std::num::NonZeroU16;
use std::sync::Arc;

use self::round_robin::RoundRobin;
use self::table::Entry;
use crate::ids::ServerId;

pub use self::hash::Key;
pub use self::table::{Candidate, Share, Table};

/// How a pool's servers are chosen among. The words are HAProxy's but for `random-two`, its `random(2)`.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Algorithm {
    /// Two servers drawn by weight, and of those the one with less in flight for its weight. With little load shares
    /// follow the weights; with much, loads do. Balancers that know nothing of each other do not flock to one server,
    /// as they do under least connections. HAProxy's default since 3.3 and ours.
    #[default]
    RandomTwo,
    /// nginx's smooth weighted round robin: of any `n` requests in a row a server has its share of `n`, give or take
    /// less than one for each server of the pool, and its turns are spread out over them.
    RoundRobin,
    /// The smallest of HAProxy's key: 0 for an idle server, else `(in flight + 1) * 4096 / weight`; turns are taken
    /// among equals. With equal weights no server is given a request while another has fewer, so that as long as none
    /// ends sooner than another all are within one.
    LeastConnections,
    /// The first server in the config's order with room under its limit: the others may sleep. Ignores weights; without
    /// limits everything goes to the first.
    First,
    /// The server that a key belongs to, on a ring with points for each server's name: two balancers agree, in
    /// whatever order they list the servers, and a server that goes takes only its own keys with it. A request without
    /// a key takes its turn by round robin.
    Hash { bound: Option<Factor> },
}

/// How many times the mean load one server may have before its keys go on to the next of the ring (HAProxy's
/// `hash-balance-factor`; Mirrokni, Thorup and Zadimoghaddam, «Consistent Hashing with Bounded Loads»): 101 to
/// 65535 percent.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Factor(NonZeroU16);

impl Factor {
    /// `None` for 100 and less, at which a server that has its share could leave no room for one more request.
    pub fn new(percent: u16) -> Option<Factor> {
        NonZeroU16::new(percent).filter(|percent| percent.get() > 100).map(Factor)
    }

    fn percent(self) -> u64 {
        self.0.get().into()
    }
}

/// One request that wants a server.
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    /// What is hashed of the request; `None` where it has nothing of the kind.
    pub key: Option<Key>,
    /// Servers that this request was sent to before. They are taken again only when no other is left.
    pub tried: &'a [ServerId],
    /// Uniformly random.
    pub dice: u64,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Choice {
    /// This one now; if it is found full, any other would do.
    Free(ServerId),
    /// The key is this server's: who finds it full waits for it.
    Bound(ServerId),
    /// Each has as many as it may have: wait for whichever is free first.
    Full,
    /// The pool has nobody to send it to.
    Nobody,
}

/// What one thread remembers of one pool between requests.
#[derive(Clone, Debug)]
pub struct Picker {
    table: Arc<Table>,
    round_robin: RoundRobin,
    /// Where the last turn among equals was, as a place in the table.
    turn: usize,
}

impl Picker {
    /// `phase` is any number that differs from thread to thread, so that their first requests go to different servers.
    pub fn new(table: Arc<Table>, phase: usize) -> Picker {
        let mut picker = Picker { round_robin: RoundRobin::default(), turn: 0, table };
        picker.round_robin.follow(&picker.table);
        let servers = picker.table.entries.len().max(1);
        picker.turn = phase % servers;
        for _ in 0..phase % servers {
            picker.round_robin.next(&picker.table, |_| true);
        }
        picker
    }

    /// Goes over to another table, if it is another. Whose turn it is stays as it was.
    pub fn follow(&mut self, table: &Arc<Table>) {
        if !Arc::ptr_eq(&self.table, table) {
            self.table = Arc::clone(table);
            self.round_robin.follow(table);
        }
    }

    pub fn table(&self) -> &Arc<Table> {
        &self.table
    }

    /// `in_flight` says how many requests a server has now, those that wait for it included.
    pub fn pick(&mut self, ask: &Ask<'_>, in_flight: impl Fn(ServerId) -> u32) -> Choice {
        if let (Algorithm::Hash { bound }, Some(key)) = (self.table.algorithm, ask.key) {
            let home = match bound {
                None => self.table.home(key, ask.tried),
                Some(factor) => self.table.bounded_home(key, factor, ask.tried, &in_flight),
            };
            return home.map_or(Choice::Nobody, Choice::Bound);
        }
        let is_tried = |entry: &Entry| ask.tried.contains(&entry.id);
        if ask.tried.is_empty() {
            self.pick_among(ask.dice, |_| true, &in_flight)
        } else if self.table.entries.iter().all(is_tried) {
            // Better the same server again than none.
            self.pick_among(ask.dice, |_| true, &in_flight)
        } else {
            self.pick_among(ask.dice, |entry| !is_tried(entry), &in_flight)
        }
    }

    fn pick_among(
        &mut self,
        dice: u64,
        may: impl Fn(&Entry) -> bool,
        in_flight: &impl Fn(ServerId) -> u32,
    ) -> Choice {
        if self.table.entries.is_empty() {
            return Choice::Nobody;
        }
        let fits = |entry: &Entry| may(entry) && entry.has_room(in_flight);
        let picked = match self.table.algorithm {
            // A hash without a key falls back to turns.
            Algorithm::RoundRobin | Algorithm::Hash { .. } => {
                self.round_robin.next(&self.table, fits)
            }
            Algorithm::RandomTwo => self.table.less_loaded_of_two(dice, fits, in_flight),
            Algorithm::First => self.table.entries.iter().find(|entry| fits(entry)).map(|e| e.id),
            Algorithm::LeastConnections => {
                let least = self.table.least_loaded(self.turn + 1, fits, in_flight);
                least.map(|(place, id)| {
                    self.turn = place;
                    id
                })
            }
        };
        picked.map_or(Choice::Full, Choice::Free)
    }
}
