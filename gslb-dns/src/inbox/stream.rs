//! The name server's side of one producer's reports: which are taken, and what they come to.
//!
//! A machine over what `common::report` reads: it takes our clock and a report, and says what to answer. It never
//! trusts the producer's clock for more than how long ago something was, by that same clock.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::Duration;

use common::report::{Boot, Digest, EntryHash, Head, MOST_TARGETS, Mark, Own};

/// Runs of a producer that another took the place of: so many are remembered, the last first.
const MOST_SUPERSEDED: usize = 8;

/// What one producer says now. `K` is what its entries are about.
#[derive(Clone, Debug)]
pub struct Stream<K, E> {
    /// Nothing up to this is taken; of a run before ours it is all that is known.
    mark: Mark,
    heard: Option<Heard<K, E>>,
    /// Runs that are over, the last first.
    superseded: Vec<Boot>,
}

#[derive(Clone, Debug)]
struct Heard<K, E> {
    boot: Boot,
    /// Both clocks when the last report came.
    arrived: Duration,
    produced: Duration,
    valid: Duration,
    own: Own,
    entries: HashMap<K, Kept<E>>,
    digest: Digest,
}

#[derive(Clone, Debug)]
struct Kept<E> {
    hash: EntryHash,
    entry: E,
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
        Stream { mark: floor, heard: None, superseded: vec![] }
    }

    /// Of the last report taken.
    pub fn mark(&self) -> Mark {
        self.mark
    }

    /// What was said of one thing, whether or not it still holds.
    pub fn entry(&self, key: K) -> Option<&E> {
        self.heard.as_ref()?.entries.get(&key).map(|kept| &kept.entry)
    }

    pub fn own(&self) -> Option<&Own> {
        self.heard.as_ref().map(|heard| &heard.own)
    }

    /// Until when what it said holds, on our clock.
    pub fn lease_ends(&self) -> Option<Duration> {
        self.heard.as_ref().map(|heard| heard.arrived + heard.valid)
    }

    pub fn is_fresh(&self, now: Duration) -> bool {
        self.lease_ends().is_some_and(|end| now < end)
    }

    /// An instant of the producer's clock on ours; what it says of the future was now.
    pub fn on_our_clock(&self, instant: Duration) -> Option<Duration> {
        let heard = self.heard.as_ref()?;
        Some(heard.arrived.saturating_sub(heard.produced.saturating_sub(instant)))
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
                let is_here = is_same_run && head.mark.inc == self.mark.inc;
                if !is_here || base.inc != head.mark.inc || base > self.mark {
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
        for (key, change) in changes {
            let Change::Said(hash, entry) = change else { continue };
            digest.add(hash);
            entries.insert(key, Kept { hash, entry });
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
        self.heard = Some(Heard {
            boot: head.boot,
            arrived: now,
            produced: head.now,
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
        for (key, change) in changes {
            match change {
                Change::Said(hash, entry) => heard.entries.insert(key, Kept { hash, entry }),
                Change::Gone => heard.entries.remove(&key),
            };
        }
        (heard.arrived, heard.produced, heard.valid) = (now, head.now, head.valid);
        (heard.digest, heard.own) = (digest, head.own.clone());
        self.mark = head.mark;
        Reception::Taken(Oddity::None)
    }
}

#[cfg(test)]
#[path = "stream_tests.rs"]
mod tests;
