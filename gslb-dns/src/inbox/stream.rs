//! The name server's side of one producer's reports: which are taken, and what they come to.
//!
//! A machine over what `common::report` reads: it takes our clock and a report, and says what to answer. It never
//! trusts the producer's clock for more than how long ago something was, by that same clock.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::Duration;

use common::report::{Boot, Digest, EntryHash, Head, MOST_TARGETS, Mark, Own};

/// Keys that a stream remembers as told of lately: whoever is further behind reads everything, which is about as quick.
const MOST_LATELY: usize = 4096;
/// Runs of a producer that another took the place of: so many are remembered, the last first.
const MOST_SUPERSEDED: usize = 8;

/// What one producer says now. `K` is what its entries are about.
#[derive(Clone, Debug)]
pub struct Stream<K, E> {
    /// Nothing up to this is taken; of a run before ours it is all that is known.
    mark: Mark,
    heard: Option<Heard<K, E>>,
    lately: Lately<K>,
    /// Runs that are over, the last first.
    superseded: Vec<Boot>,
}

#[derive(Clone, Debug)]
struct Heard<K, E> {
    boot: Boot,
    /// When the last report came.
    arrived: Duration,
    valid: Duration,
    own: Own,
    entries: HashMap<K, Kept<E>>,
    digest: Digest,
}

#[derive(Clone, Debug)]
struct Kept<E> {
    hash: EntryHash,
    entry: E,
    told: Clocks,
}

/// Both clocks when something was told.
#[derive(Clone, Copy, Debug)]
struct Clocks {
    arrived: Duration,
    produced: Duration,
}

/// What was told of one thing.
#[derive(Clone, Copy, Debug)]
pub struct Said<'s, E> {
    pub entry: &'s E,
    told: Clocks,
}

/// How far somebody has followed what one producer says.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Place(u64);

/// What a stream has last told of: a reader who is no further behind need look at nothing else.
#[derive(Clone, Debug)]
struct Lately<K> {
    /// Of all that was ever told, a whole report counting as one.
    count: u64,
    /// The last of them.
    keys: Vec<K>,
}

/// What a report says of one thing.
#[derive(Clone, Debug)]
pub enum Change<E> {
    Said(EntryHash, E),
    Gone,
}

/// What becomes of a report.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Reception {
    /// 200, and what was odd about it.
    Taken(Oddity),
    /// 205: it builds on what is not here.
    SendWhole,
    /// 409: not newer than this.
    Behind(Mark),
    /// 409: another run speaks under this name, and the last it said still holds.
    Duplicate(Mark),
    /// 413: with it there would be more than `MOST_TARGETS` entries.
    TooMany,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Oddity {
    None,
    /// Another run than before.
    Restarted,
    /// A whole report that does not have its own digest: told once more it would be no better.
    WrongDigest,
}

impl<K: Copy + Eq + Hash, E> Stream<K, E> {
    /// One of which nothing was heard since we began; `floor` is its last mark before that.
    pub fn new(floor: Mark) -> Stream<K, E> {
        let lately = Lately { count: 0, keys: vec![] };
        Stream { mark: floor, heard: None, lately, superseded: vec![] }
    }

    /// Of the last report taken.
    pub fn mark(&self) -> Mark {
        self.mark
    }

    /// What was said of one thing, whether or not it still holds.
    pub fn entry(&self, key: K) -> Option<&E> {
        self.said(key).map(|said| said.entry)
    }

    /// The same, with when it was told.
    pub fn said(&self, key: K) -> Option<Said<'_, E>> {
        let kept = self.heard.as_ref()?.entries.get(&key)?;
        Some(Said { entry: &kept.entry, told: kept.told })
    }

    /// How far it has come.
    pub fn place(&self) -> Place {
        Place(self.lately.count)
    }

    /// What it has told of since, some of it more than once; `None` if all may be something else.
    pub fn told_since(&self, place: Place) -> Option<&[K]> {
        let Lately { count, keys } = &self.lately;
        let missed = usize::try_from(count.checked_sub(place.0)?).ok()?;
        keys.get(keys.len().checked_sub(missed)?..)
    }

    /// Of all that it says.
    pub fn digest(&self) -> Option<Digest> {
        self.heard.as_ref().map(|heard| heard.digest)
    }

    /// All that was said, whether or not it still holds.
    pub fn entries(&self) -> impl Iterator<Item = (K, &E)> {
        let heard = self.heard.iter().flat_map(|heard| &heard.entries);
        heard.map(|(key, kept)| (*key, &kept.entry))
    }

    pub fn own(&self) -> Option<&Own> {
        self.heard.as_ref().map(|heard| &heard.own)
    }

    /// When the last report came, on our clock.
    pub fn arrived(&self) -> Option<Duration> {
        self.heard.as_ref().map(|heard| heard.arrived)
    }

    /// Until when what it said holds, on our clock.
    pub fn lease_ends(&self) -> Option<Duration> {
        self.heard.as_ref().map(|heard| heard.arrived + heard.valid)
    }

    pub fn is_fresh(&self, now: Duration) -> bool {
        self.lease_ends().is_some_and(|end| now < end)
    }

    /// Takes a report of this producer, or says why not; then nothing has changed.
    pub fn on_report(
        &mut self,
        now: Duration,
        head: &Head,
        changes: impl IntoIterator<Item = (K, Change<E>)>,
    ) -> Reception {
        if self.superseded.contains(&head.boot) && self.is_fresh(now) {
            return Reception::Duplicate(self.mark);
        }
        let before = self.heard.as_ref().map(|heard| heard.boot);
        let is_same_run = before == Some(head.boot);
        // A run has one incarnation until it is told to raise it; another run has another.
        let is_newer = match before {
            Some(_) if !is_same_run => head.mark.inc > self.mark.inc,
            Some(_) | None => head.mark > self.mark,
        };
        if !is_newer {
            return Reception::Behind(self.mark);
        }
        match head.base {
            None => self.take_whole(now, head, changes),
            Some(base) => {
                // What another run builds on, or another incarnation, is later than our mark, or it would not be newer.
                if base.inc != head.mark.inc || base > self.mark {
                    return Reception::SendWhole;
                }
                self.take_more(now, head, changes)
            }
        }
    }

    fn take_whole(
        &mut self,
        now: Duration,
        head: &Head,
        changes: impl IntoIterator<Item = (K, Change<E>)>,
    ) -> Reception {
        let mut digest = Digest::default();
        let mut entries = HashMap::new();
        let told = Clocks { arrived: now, produced: head.now };
        for (key, change) in changes {
            let Change::Said(hash, entry) = change else { continue };
            digest.add(hash);
            entries.insert(key, Kept { hash, entry, told });
            if entries.len() > MOST_TARGETS {
                return Reception::TooMany;
            }
        }
        let before = self.heard.as_ref().map(|heard| heard.boot);
        let mut oddity = Oddity::None;
        if let Some(before) = before.filter(|before| *before != head.boot) {
            self.superseded.retain(|boot| *boot != before && *boot != head.boot);
            self.superseded.insert(0, before);
            self.superseded.truncate(MOST_SUPERSEDED);
            oddity = Oddity::Restarted;
        }
        if digest != head.digest {
            oddity = Oddity::WrongDigest;
        }
        self.mark = head.mark;
        self.lately.forget();
        self.heard = Some(Heard {
            boot: head.boot,
            arrived: now,
            valid: head.valid,
            own: head.own.clone(),
            entries,
            digest,
        });
        Reception::Taken(oddity)
    }

    fn take_more(
        &mut self,
        now: Duration,
        head: &Head,
        changes: impl IntoIterator<Item = (K, Change<E>)>,
    ) -> Reception {
        let Some(heard) = &mut self.heard else { return Reception::SendWhole };
        let changes: HashMap<K, Change<E>> = changes.into_iter().collect();
        let (mut digest, mut count) = (heard.digest, heard.entries.len());
        for (key, change) in &changes {
            if let Some(kept) = heard.entries.get(key) {
                digest.remove(kept.hash);
                count -= 1;
            }
            if let Change::Said(hash, _) = change {
                digest.add(*hash);
                count += 1;
            }
        }
        if count > MOST_TARGETS {
            return Reception::TooMany;
        }
        if digest != head.digest {
            return Reception::SendWhole;
        }
        let told = Clocks { arrived: now, produced: head.now };
        self.lately.add(changes.keys().copied());
        for (key, change) in changes {
            match change {
                Change::Said(hash, entry) => heard.entries.insert(key, Kept { hash, entry, told }),
                Change::Gone => heard.entries.remove(&key),
            };
        }
        (heard.arrived, heard.valid) = (now, head.valid);
        (heard.digest, heard.own) = (digest, head.own.clone());
        self.mark = head.mark;
        Reception::Taken(Oddity::None)
    }
}

impl<E> Said<'_, E> {
    /// An instant of the producer's clock on ours, as of when this was told; what it said of the future was then. Later
    /// reports move it no more: what was is where it was.
    pub fn on_our_clock(&self, instant: Duration) -> Duration {
        let Clocks { arrived, produced } = self.told;
        arrived.saturating_sub(produced.saturating_sub(instant))
    }
}

impl<K> Lately<K> {
    fn add(&mut self, keys: impl ExactSizeIterator<Item = K>) {
        self.count += keys.len() as u64;
        self.keys.extend(keys);
        if self.keys.len() > 2 * MOST_LATELY {
            self.keys.drain(..self.keys.len() - MOST_LATELY);
        }
    }

    /// Everything was told anew.
    fn forget(&mut self) {
        self.count += 1;
        self.keys.clear();
    }
}

#[cfg(test)]
#[path = "stream_tests.rs"]
mod tests;
