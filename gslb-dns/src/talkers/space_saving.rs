//! Space-Saving (Metwally, Agrawal, El Abbadi 2005): which keys of a stream are met most, in fixed memory.
//!
//! With room for m keys, after n of them: every key met more than n/m times is held, and none is counted more than
//! n/m too often or ever too seldom. A newcomer to a full table takes the place of whoever has the least, and that count
//! with it, as `inherited`: that is by how much its own may be too high.

use std::hash::{BuildHasher, Hash};

use foldhash::fast::FixedState;

use super::Outcome;

/// What is held of one key.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Held<K> {
    pub key: K,
    /// At most so often.
    pub count: u32,
    /// Of which so many may have been others: those before it in its place.
    pub inherited: u32,
    /// Since it took its place.
    pub errors: u32,
    pub limited: u32,
}

/// The table. Looked through whole for each key: its tags are a thousand octets that lie together, and the processor
/// compares many at once.
pub struct SpaceSaving<K> {
    hasher: FixedState,
    tags: Box<[u32]>,
    held: Box<[Held<K>]>,
    used: usize,
    /// The least count, once all places are taken.
    floor: u32,
    /// Before this place nobody has so little.
    searched: usize,
    total: u32,
}

/// Tags compared at a time.
const WIDE: usize = 16;

impl<K: Copy + Eq + Hash> SpaceSaving<K> {
    /// Room for `capacity` keys, a multiple of 16; `blank` is what stands in a place that nobody has. Who knows the seed can make tags meet, which
    /// costs time and no truth.
    pub fn new(capacity: usize, blank: K, seed: u64) -> SpaceSaving<K> {
        let capacity = capacity.next_multiple_of(WIDE);
        let nobody = Held { key: blank, count: 0, inherited: 0, errors: 0, limited: 0 };
        SpaceSaving {
            hasher: FixedState::with_seed(seed),
            tags: vec![0; capacity].into(),
            held: vec![nobody; capacity].into(),
            used: 0,
            floor: 0,
            searched: 0,
            total: 0,
        }
    }

    pub fn count(&mut self, key: &K, outcome: Outcome) {
        let tag = (self.hasher.hash_one(key) >> 32) as u32;
        let place = self.find(tag, key).unwrap_or_else(|| self.place_for(tag, key));
        let held = &mut self.held[place];
        held.count = held.count.saturating_add(1);
        held.errors += u32::from(outcome.is_error);
        held.limited += u32::from(outcome.is_limited);
        self.total = self.total.saturating_add(1);
    }

    /// Forgets all of them. The room stays.
    pub fn clear(&mut self) {
        (self.used, self.floor, self.searched, self.total) = (0, 0, 0, 0);
    }

    pub fn held(&self) -> &[Held<K>] {
        &self.held[..self.used]
    }

    /// How often whoever is not held may have been met.
    pub fn floor(&self) -> u32 {
        let counts = self.held().iter().map(|held| held.count);
        if self.used < self.held.len() { 0 } else { counts.min().unwrap_or(0) }
    }

    pub fn total(&self) -> u32 {
        self.total
    }

    pub fn capacity(&self) -> usize {
        self.held.len()
    }

    fn find(&self, tag: u32, key: &K) -> Option<usize> {
        let wides = self.tags[..self.used.next_multiple_of(WIDE)].chunks_exact(WIDE);
        for (wide, first) in wides.zip((0..).step_by(WIDE)) {
            // Without a way out of the loop, so that it is done in a few wide steps.
            if !wide.iter().fold(false, |any, other| any | (*other == tag)) {
                continue;
            }
            let alike = (first..first + WIDE).filter(|place| self.tags[*place] == tag);
            let mut alike = alike.filter(|place| *place < self.used);
            if let Some(place) = alike.find(|place| self.held[*place].key == *key) {
                return Some(place);
            }
        }
        None
    }

    /// A free place, or that of whoever has the least.
    fn place_for(&mut self, tag: u32, key: &K) -> usize {
        let (place, inherited) = if self.used < self.held.len() {
            self.used += 1;
            (self.used - 1, 0)
        } else {
            let place = self.least();
            (place, self.held[place].count)
        };
        self.tags[place] = tag;
        self.held[place] = Held { key: *key, count: inherited, inherited, errors: 0, limited: 0 };
        place
    }

    /// Where the least count is. Counts only grow, so between two values of `floor`, of which n keys bring at most
    /// n/m, all places are passed once: two steps for each key.
    fn least(&mut self) -> usize {
        loop {
            while self.searched < self.held.len() {
                if self.held[self.searched].count <= self.floor {
                    return self.searched;
                }
                self.searched += 1;
            }
            (self.floor, self.searched) = (self.floor(), 0);
        }
    }
}
