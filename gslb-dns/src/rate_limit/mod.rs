//! Response rate limiting: how many answers a client's network may be sent over UDP in a second.
//!
//! Who forges the addresses of queries has our answers sent to a victim. So answers are counted for each
//! prefix that they go to, over all threads, in one table of fixed size: no lock, no allocation, no name
//! and no address is kept. The time comes in. `answer` asks, and does what the verdict says.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use siphasher::sip::SipHasher13;

use crate::world::RateLimits;

/// Octets of the key that keeps others from knowing which prefixes share a set.
pub const KEY: usize = 16;

/// What an answer is, as far as limits go.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Class {
    /// NOERROR: records, a referral, or word that there are none.
    Answer,
    /// NXDOMAIN and every error.
    Error,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Verdict {
    Within,
    /// Over the limit: say nothing.
    Drop,
    /// Over the limit, but its turn to be told how to be heard all the same.
    Slip,
}

/// Where answers to one prefix are counted, found once for all that is asked about it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Place(u64);

/// The table. A prefix has one slot for each class that it is sent, in the set that a hash leads to.
///
/// Two prefixes of one class are taken for one if they agree in set and tag: with n sets one pair in
/// 65,536 n, and nobody without the key can find it. In a full set a newcomer takes the slot of whoever
/// has used the least, and that use with it. So nobody ever gets more than the limit, and nobody gets less
/// unless as many others as a set has slots are in use and share it.
pub struct RateLimiter {
    limits: RateLimits,
    key: [u8; KEY],
    sets: Box<[Set]>,
}

/// Slots that are looked through together: one cache line.
#[derive(Default)]
#[repr(align(64))]
struct Set([AtomicU64; WAYS]);

/// Slots of a set.
pub const WAYS: usize = 8;
/// Octets of a slot.
pub const SLOT: usize = size_of::<AtomicU64>();

/// What a slot holds: the tag of its prefix, whose turn it is to slip, and the moment, in microseconds round
/// a ring of 203 days, at which all that was answered will have been paid for.
#[derive(Clone, Copy)]
struct Slot(u64);

const TAG_BITS: u32 = 16;
const TURN_BITS: u32 = 4;
const TIME_BITS: u32 = u64::BITS - TAG_BITS - TURN_BITS;
const TIME: u64 = (1 << TIME_BITS) - 1;

/// Microseconds of answers that may come at once: who was quiet has a second's worth.
const CREDIT: u64 = 1_000_000;
/// How far answers, sent or not, are held against a prefix: another second's worth. So a flood that stays
/// over the limit gets no whole answer at all, and the prefix is free a second after its end.
const CEILING: u64 = 2 * CREDIT;
/// By how much the clock of one thread may lag behind another's, such as of one that was not run for a
/// while. What is further ahead on the ring than that lies in the past.
const LAG: u64 = 60_000_000;

impl RateLimiter {
    /// `key` must be random, and known to nobody.
    pub fn new(limits: RateLimits, key: [u8; KEY]) -> RateLimiter {
        let sets = limits.slots.div_ceil(WAYS).max(1);
        RateLimiter { limits, key, sets: (0..sets).map(|_| Set::default()).collect() }
    }

    /// Octets of the table.
    pub fn octets(&self) -> usize {
        size_of_val(&*self.sets)
    }

    /// Where answers to `client` are counted; `None` where they are not, for it is exempt.
    pub fn place(&self, client: IpAddr) -> Option<Place> {
        let is_exempt = self.limits.exempt.iter().any(|net| net.contains(&client));
        (!is_exempt).then(|| Place(self.hash(client)))
    }

    /// Counts one answer to whoever is counted there at `now`, by a clock that is the same for all threads.
    pub fn judge(&self, place: Place, class: Class, now: Duration) -> Verdict {
        let hash = place.of(class);
        let tag = hash & ((1 << TAG_BITS) - 1);
        let slots = self.set(hash);
        let now = now.as_micros() as u64 & TIME;
        let cost = CREDIT / u64::from(self.rate(class)).max(1);
        loop {
            let seen: [Slot; WAYS] = slots.each_ref().map(|slot| Slot(slot.load(Relaxed)));
            let at = chosen(&seen, tag, now);
            let (next, verdict) = seen[at].counted(tag, now, cost, self.limits.slip);
            // Fails only if another thread has counted here meanwhile, so that one of us goes on.
            if slots[at].compare_exchange(seen[at].0, next.0, Relaxed, Relaxed).is_ok() {
                return verdict;
            }
        }
    }

    /// Reads what `judge` will read, so that it is near by then. What comes back means nothing.
    pub fn warm(&self, place: Place, class: Class) -> u64 {
        self.set(place.of(class))[0].load(Relaxed)
    }

    /// The upper bits choose it, whatever the number of sets is.
    fn set(&self, hash: u64) -> &[AtomicU64; WAYS] {
        let index = ((u128::from(hash) * self.sets.len() as u128) >> u64::BITS) as usize;
        &self.sets[index].0
    }

    fn rate(&self, class: Class) -> u32 {
        match class {
            Class::Answer => self.limits.answers_per_second,
            Class::Error => self.limits.errors_per_second,
        }
    }

    /// Of the client's prefix. Those of the two families differ in length, so they are not taken for each other.
    fn hash(&self, client: IpAddr) -> u64 {
        let hasher = SipHasher13::new_with_key(&self.key);
        match client {
            IpAddr::V4(v4) => {
                let mask = !u32::MAX.checked_shr(self.limits.ipv4_prefix.into()).unwrap_or(0);
                hasher.hash(&(v4.to_bits() & mask).to_be_bytes())
            }
            IpAddr::V6(v6) => {
                let mask = !u128::MAX.checked_shr(self.limits.ipv6_prefix.into()).unwrap_or(0);
                hasher.hash(&(v6.to_bits() & mask).to_be_bytes())
            }
        }
    }
}

impl Place {
    /// The hash is made once, and serves both: each bit of one differs from that of the other.
    fn of(self, class: Class) -> u64 {
        match class {
            Class::Answer => self.0,
            Class::Error => !self.0,
        }
    }
}

/// The slot of this tag, or the one that has been used the least.
fn chosen(seen: &[Slot; WAYS], tag: u64, now: u64) -> usize {
    let own = seen.iter().position(|slot| slot.tag() == tag);
    own.unwrap_or_else(|| {
        let used = |at: &usize| seen[*at].ahead(now);
        (0..WAYS).min_by_key(used).unwrap_or(0)
    })
}

impl Slot {
    fn new(tag: u64, turn: u64, time: u64) -> Slot {
        Slot(tag << (TURN_BITS + TIME_BITS) | turn << TIME_BITS | time & TIME)
    }

    fn tag(self) -> u64 {
        self.0 >> (TURN_BITS + TIME_BITS)
    }

    fn turn(self) -> u64 {
        self.0 >> TIME_BITS & ((1 << TURN_BITS) - 1)
    }

    /// Microseconds until all is paid for; 0 when it is.
    fn ahead(self, now: u64) -> u64 {
        // Never used; else each of these would seem to be in use whenever the ring begins anew.
        if self.0 == 0 {
            return 0;
        }
        let ahead = (self.0 & TIME).wrapping_sub(now) & TIME;
        if ahead <= CEILING + LAG { ahead } else { 0 }
    }

    /// One answer more.
    fn counted(self, tag: u64, now: u64, cost: u64, slip: u8) -> (Slot, Verdict) {
        let turn = if self.tag() == tag { self.turn() } else { 0 };
        let before = self.ahead(now);
        // Never back, though the clock of this thread may be behind.
        let after = before.max((before + cost).min(CEILING));
        let time = now.wrapping_add(after);
        if before + cost <= CREDIT {
            return (Slot::new(tag, turn, time), Verdict::Within);
        }
        match u64::from(slip) {
            0 => (Slot::new(tag, turn, time), Verdict::Drop),
            slip => {
                let verdict = if turn == 0 { Verdict::Slip } else { Verdict::Drop };
                (Slot::new(tag, (turn + 1) % slip, time), verdict)
            }
        }
    }
}

#[cfg(test)]
mod tests;
