//! Who may be picked in a pool just now, with what weight and limit: made anew when any of that changes.

use std::num::NonZeroU32;

use super::ring::Ring;
use super::{Algorithm, Factor, Key};
use crate::ids::ServerId;

/// A server's effective weight in 256ths of a unit, so that a slow start or an agent's percentage has steps even where
/// the weight is 1: 1 to 65,536.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Share(NonZeroU32);

impl Share {
    /// 256ths in a unit of weight.
    pub const UNIT: u32 = 256;
    /// A weight of 256, the most.
    pub const MOST: u32 = 256 * Share::UNIT;

    /// `None` for 0: who has no weight is no candidate. More than `MOST` is `MOST`.
    pub fn new(share: u32) -> Option<Share> {
        NonZeroU32::new(share.min(Share::MOST)).map(Share)
    }

    pub fn get(self) -> u32 {
        self.0.get()
    }

    /// How many points on a ring it is worth, at so many for a unit.
    pub(super) fn points(self, density: u32) -> u32 {
        (u64::from(self.get()) * u64::from(density)).div_ceil(u64::from(Share::UNIT)) as u32
    }
}

/// A server that may be picked.
#[derive(Clone, Copy, Debug)]
pub struct Candidate<'a> {
    pub id: ServerId,
    /// By which it is known to other balancers: its points on the ring follow from it.
    pub name: &'a str,
    pub share: Share,
    /// In flight at once; `None` is any number.
    pub limit: Option<NonZeroU32>,
}

/// The candidates of one pool and what follows from them.
#[derive(Clone, Debug)]
pub struct Table {
    pub(super) algorithm: Algorithm,
    /// In the order of ids.
    pub(super) entries: Box<[Entry]>,
    ring: Ring,
}

#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub id: ServerId,
    pub share: Share,
    limit: Option<NonZeroU32>,
    /// The shares of all entries up to this one, its own included.
    end: u64,
}

impl Entry {
    pub fn has_room(&self, in_flight: impl Fn(ServerId) -> u32) -> bool {
        self.limit.is_none_or(|limit| in_flight(self.id) < limit.get())
    }
}

impl Table {
    /// `weights` is the sum of the weights in the pool's config, of all servers (see `Ring::new`).
    pub fn new(algorithm: Algorithm, candidates: &[Candidate<'_>], weights: u64) -> Table {
        let mut candidates = candidates.to_vec();
        candidates.sort_by_key(|candidate| candidate.id);
        let mut end = 0;
        let entry = |candidate: &Candidate<'_>| {
            let Candidate { id, name: _, share, limit } = *candidate;
            end += u64::from(share.get());
            Entry { id, share, limit, end }
        };
        let entries = candidates.iter().map(entry).collect();
        let ring = match algorithm {
            Algorithm::Hash { .. } => Ring::new(&candidates, weights),
            Algorithm::RandomTwo
            | Algorithm::RoundRobin
            | Algorithm::LeastConnections
            | Algorithm::First => Ring::default(),
        };
        Table { algorithm, entries, ring }
    }

    /// Who may be picked, in the order of ids.
    pub fn servers(&self) -> impl Iterator<Item = ServerId> {
        self.entries.iter().map(|entry| entry.id)
    }

    pub(super) fn total_share(&self) -> u64 {
        self.entries.last().map_or(0, |entry| entry.end)
    }

    /// Of two servers drawn by share, the one with less in flight for its share; the first drawn of equals.
    pub(super) fn less_loaded_of_two(
        &self,
        dice: u64,
        fits: impl Fn(&Entry) -> bool,
        in_flight: &impl Fn(ServerId) -> u32,
    ) -> Option<ServerId> {
        let one = self.draw((dice >> 32) as u32, &fits)?;
        let other = self.draw(dice as u32, &fits).unwrap_or(one);
        if one.id == other.id {
            return Some(one.id);
        }
        let load = |of: &Entry, against: &Entry| {
            u64::from(in_flight(of.id)) * u64::from(against.share.get())
        };
        Some(if load(other, one) < load(one, other) { other.id } else { one.id })
    }

    /// One of those that fit, by share.
    fn draw(&self, number: u32, fits: impl Fn(&Entry) -> bool) -> Option<&Entry> {
        let lot = |total: u64| ((u128::from(number) * u128::from(total)) >> 32) as u64;
        let drawn = lot(self.total_share());
        let place = self.entries.partition_point(|entry| entry.end <= drawn);
        if let Some(entry) = self.entries.get(place).filter(|entry| fits(entry)) {
            return Some(entry);
        }
        // Seldom: somebody was tried or is full. The same number decides among the others.
        let fitting = || self.entries.iter().filter(|entry| fits(entry));
        let mut drawn = lot(fitting().map(|entry| u64::from(entry.share.get())).sum());
        let mut last = None;
        // Loads change under us, so the sum of a moment ago may reach past the end.
        for entry in fitting() {
            let share = u64::from(entry.share.get());
            if drawn < share {
                return Some(entry);
            }
            drawn -= share;
            last = Some(entry);
        }
        last
    }

    /// The smallest key of those that fit; among equals the first from `start` on. With its place.
    pub(super) fn least_loaded(
        &self,
        start: usize,
        fits: impl Fn(&Entry) -> bool,
        in_flight: &impl Fn(ServerId) -> u32,
    ) -> Option<(usize, ServerId)> {
        let mut least: Option<(u64, usize, ServerId)> = None;
        let (before, after) = self.entries.split_at(start.min(self.entries.len()));
        let places = (start..).zip(after).chain((0..).zip(before));
        for (place, entry) in places.filter(|(_, entry)| fits(entry)) {
            // HAProxy's weights are in 16ths where it has 4096, ours in 256ths.
            let key = match u64::from(in_flight(entry.id)) {
                0 => 0,
                load => (load + 1) * 4096 * 16 / u64::from(entry.share.get()),
            };
            if key == 0 {
                return Some((place, entry.id));
            }
            if least.is_none_or(|(least, _, _)| key < least) {
                least = Some((key, place, entry.id));
            }
        }
        least.map(|(_, place, id)| (place, id))
    }

    /// Whose the key is: the first of the ring from it on that was not tried, or the first of all.
    pub(super) fn home(&self, key: Key, tried: &[ServerId]) -> Option<ServerId> {
        let mut walk = self.ring.walk(key).map(|place| self.entries[place].id);
        let home = walk.next()?;
        // Else the whole ring would be looked through for nobody.
        let is_hopeless = || self.entries.iter().all(|entry| tried.contains(&entry.id));
        if !tried.contains(&home) || is_hopeless() {
            return Some(home);
        }
        walk.find(|id| !tried.contains(id))
    }

    /// Whose the key is among those whose load is under the bound.
    ///
    /// HAProxy's `chash_server_is_eligible`: what may be in flight in all, this request included, is shared out in
    /// whole slots by weight, and no server has less than one. There are more slots than requests, so that somebody
    /// always has one free; only where all of those were tried is the bound passed over.
    pub(super) fn bounded_home(
        &self,
        key: Key,
        factor: Factor,
        tried: &[ServerId],
        in_flight: &impl Fn(ServerId) -> u32,
    ) -> Option<ServerId> {
        /// Points looked at for each server, before the rest is left to the order of the table: a walk is some
        /// `c / (c - 1)` points long on average, but a few crowded names could make it as long as the ring.
        const PATIENCE: usize = 16;
        let in_all: u64 = self.entries.iter().map(|entry| u64::from(in_flight(entry.id))).sum();
        let slots = ((in_all + 1) * factor.percent()).div_ceil(100);
        let may_take = |place: usize| {
            let entry = &self.entries[place];
            let load = u64::from(in_flight(entry.id));
            load < self.slots_of(entry, slots) && !tried.contains(&entry.id)
        };
        let servers = self.entries.len();
        let near = self.ring.walk(key).take(PATIENCE * servers).find(|place| may_take(*place));
        let start = self.ring.walk(key).next()?;
        let place = near.or_else(|| {
            (0..servers).map(|step| (start + step) % servers).find(|place| may_take(*place))
        });
        match place {
            Some(place) => Some(self.entries[place].id),
            None => self.home(key, tried),
        }
    }

    /// A server's part of so many slots, by weight: whole ones first, what is left over in the order of the table.
    fn slots_of(&self, entry: &Entry, slots: u64) -> u64 {
        let total = self.total_share();
        let (each, left) = (slots / total, slots % total);
        let share = u64::from(entry.share.get());
        let part = share * each + entry.end * left / total - (entry.end - share) * left / total;
        part.max(1)
    }
}
