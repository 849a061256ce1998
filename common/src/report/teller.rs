//! The producer's side of one stream of reports: what to send, when, and what the answer means.
//!
//! One for each name server. Keeps every entry's octets as they were last sent, so that the digest is of what
//! the other side has, and for each the report that first carried it, so that a report holds what has changed
//! since the last one that was acknowledged.

use std::collections::BTreeMap;
use std::time::Duration;

use super::beat::{Beat, Heard, Reply};
use super::{Boot, Digest, EntryHash, Mark};
use crate::target::TargetId;

#[derive(Debug)]
pub struct Teller {
    beat: Beat,
    entries: BTreeMap<TargetId, Kept>,
    digest: Digest,
}

#[derive(Debug)]
struct Kept {
    /// `None` when it is gone and that is still to be acknowledged.
    octets: Option<Box<str>>,
    /// The number of the first report that carries it so.
    seq: u64,
}

/// A report to send.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Outgoing {
    pub mark: Mark,
    pub base: Option<Mark>,
    pub digest: Digest,
    pub entries: Vec<Told>,
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Told {
    Entry(Box<str>),
    Gone(TargetId),
}

impl Teller {
    /// `inc` is greater than that of every run before, as far as is known.
    pub fn new(boot: Boot, inc: u64) -> Teller {
        Teller { beat: Beat::new(boot, inc), entries: BTreeMap::new(), digest: Digest::default() }
    }

    pub fn boot(&self) -> Boot {
        self.beat.boot()
    }

    /// Says this of a target from now on, in octets that are JSON.
    pub fn say(&mut self, target: TargetId, octets: &str) {
        let before = self.entries.get(&target).and_then(|kept| kept.octets.as_deref());
        if before == Some(octets) {
            return;
        }
        if let Some(before) = before {
            self.digest.remove(EntryHash::of(before));
        }
        self.digest.add(EntryHash::of(octets));
        self.keep(target, Some(octets.into()));
    }

    /// Says nothing of a target any more.
    pub fn drop(&mut self, target: TargetId) {
        let Some(Kept { octets: Some(before), .. }) = self.entries.get(&target) else { return };
        self.digest.remove(EntryHash::of(before));
        self.keep(target, None);
    }

    fn keep(&mut self, target: TargetId, octets: Option<Box<str>>) {
        let seq = self.beat.mark().seq + 1;
        self.entries.insert(target, Kept { octets, seq });
        self.beat.on_news();
    }

    /// There is a connection to it, perhaps another.
    pub fn on_connected(&mut self) {
        self.beat.on_connected();
    }

    /// When the next report is due; `None` while one is in flight.
    pub fn due(&self) -> Option<Duration> {
        self.beat.due()
    }

    /// The report that is due now.
    pub fn next(&mut self, now: Duration) -> Outgoing {
        let (base, mark) = (self.beat.acknowledged(), self.beat.next(now));
        let after = base.map_or(0, |base| base.seq);
        let entries = self.entries.iter().filter(|(_, kept)| kept.seq > after);
        let said = entries.filter_map(|(target, kept)| match &kept.octets {
            Some(octets) => Some(Told::Entry(octets.clone())),
            // Who is told everything needs not be told what is not.
            None => base.is_some().then_some(Told::Gone(*target)),
        });
        Outgoing { mark, base, digest: self.digest, entries: said.collect() }
    }

    /// Takes what became of the report in flight; the incarnation to keep on disk, if it had to be raised.
    pub fn on_reply(&mut self, reply: Reply) -> Option<u64> {
        match self.beat.on_reply(reply) {
            Heard::Acknowledged(mark) => {
                self.entries.retain(|_, kept| kept.octets.is_some() || kept.seq > mark.seq);
                None
            }
            Heard::Raised(inc) => Some(inc),
            Heard::Anew | Heard::Nothing => None,
        }
    }
}
