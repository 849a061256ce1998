//! One thread of the data path, and what it alone has: dice, rooms for messages, idle connections to servers.
//!
//! Nothing here is shared, so nothing is locked. What all threads share is in `upstream` and in counters.

mod front;
mod local;
mod room;
mod vips;

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use common::entropy;
use tokio::sync::Notify;
use tokio::sync::futures::Notified;

pub use self::front::{Front, Traffic};
pub use self::local::Local;
pub use self::room::Room;
pub use self::vips::Asked;
use crate::splice::Carry;
use crate::upstream::Upstream;

/// Rooms that are kept for the next request: as many requests at a time make none anew.
const SPARE_ROOMS: usize = 1024;

#[derive(Debug)]
pub struct Worker {
    pub index: usize,
    /// How many there are.
    pub count: usize,
    pub carry: Carry,
    dice: Cell<u64>,
    #[expect(clippy::vec_box, reason = "lent to tasks, which would be larger by a room each")]
    rooms: RefCell<Vec<Box<Room>>>,
    /// Of the newest config, by id.
    pools: RefCell<Vec<Rc<Local>>>,
    is_stopping: Cell<bool>,
    is_cut: Cell<bool>,
    changes: Notify,
}

impl Worker {
    pub fn new(index: usize, count: usize) -> Worker {
        Worker {
            index,
            count,
            carry: Carry::new(),
            dice: Cell::new(u64::from_ne_bytes(entropy::octets())),
            rooms: RefCell::default(),
            pools: RefCell::default(),
            is_stopping: Cell::new(false),
            is_cut: Cell::new(false),
            changes: Notify::new(),
        }
    }

    /// A uniformly random number that nobody has to be unable to guess (SplitMix64).
    pub fn dice(&self) -> u64 {
        let state = self.dice.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.dice.set(state);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// An empty one.
    pub fn room(&self) -> Box<Room> {
        self.rooms.borrow_mut().pop().unwrap_or_default()
    }

    pub fn give_back(&self, mut room: Box<Room>) {
        room.clear();
        let mut rooms = self.rooms.borrow_mut();
        if rooms.len() < SPARE_ROOMS {
            rooms.push(room);
        }
    }

    /// Other pools: what this thread has of one that is the same stays, and so do connections to every server that is.
    pub fn adopt(&self, upstreams: &[Arc<Upstream>]) -> Vec<Rc<Local>> {
        let mut pools = self.pools.borrow_mut();
        let take = |upstream: &Arc<Upstream>| {
            let same = pools.iter().find(|local| Arc::ptr_eq(&local.upstream, upstream));
            same.map_or_else(
                || Rc::new(Local::new(Arc::clone(upstream), self.index, self.count)),
                Rc::clone,
            )
        };
        let next: Vec<_> = upstreams.iter().map(take).collect();
        for gone in pools.iter().filter(|gone| !next.iter().any(|local| Rc::ptr_eq(local, gone))) {
            let heir =
                next.iter().find(|local| local.upstream.config.name == gone.upstream.config.name);
            if let Some(heir) = heir {
                heir.inherit(gone);
            }
        }
        pools.clone_from(&next);
        next
    }

    /// Closes connections to servers that nobody has wanted for so long, or that the server has closed.
    pub fn tidy(&self, now: Duration) {
        self.pools.borrow().iter().for_each(|local| local.tidy(now));
    }

    /// Whether no connection is to be kept any longer than it must.
    pub fn is_stopping(&self) -> bool {
        self.is_stopping.get()
    }

    pub fn stop(&self) {
        self.is_stopping.set(true);
        self.announce();
    }

    /// Whatever is still under way has no more time. Whoever does not wait for [`Worker::changed`] is to be woken.
    pub fn cut(&self) {
        self.is_cut.set(true);
        self.announce();
    }

    pub fn is_cut(&self) -> bool {
        self.is_cut.get()
    }

    /// What it comes to, or nothing where it is cut off before.
    pub fn unless_cut<F: Future>(
        &self,
        mut work: Pin<&mut F>,
    ) -> impl Future<Output = Option<F::Output>> {
        poll_fn(move |context| match self.is_cut.get() {
            true => Poll::Ready(None),
            false => work.as_mut().poll(context).map(Some),
        })
    }

    /// Wakes whoever waits for [`Worker::changed`].
    pub fn announce(&self) {
        self.changes.notify_waiters();
    }

    /// Once there is another config, or a stop, from this call on.
    pub fn changed(&self) -> Notified<'_> {
        self.changes.notified()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_dice_are_even() {
        let worker = Worker::new(0, 1);
        let mut faces = [0u32; 16];
        for _ in 0..160_000 {
            faces[(worker.dice() >> 60) as usize] += 1;
        }
        // Five standard deviations of 97.
        assert!(faces.iter().all(|count| count.abs_diff(10_000) < 485), "{faces:?}");
    }
}
