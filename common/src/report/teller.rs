//! The producer's side of one stream of reports: what to send, when, and what the answer means.
//!
//! One for each name server. Keeps every entry's octets as they were last sent, so that the digest is of what
//! the other side has, and for each the report that first carried it, so that a report holds what has changed
//! since the last one that was acknowledged.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Boot, Digest, EntryHash, Mark};
use crate::target::TargetId;

/// Reports are at least so far apart: a storm of changes becomes a few reports.
pub const SHORTEST_PAUSE: Duration = Duration::from_millis(50);
/// And at most so far: silence would become staleness.
pub const LONGEST_PAUSE: Duration = Duration::from_secs(2);

#[derive(Debug)]
pub struct Teller {
    boot: Boot,
    /// Of the last report made.
    mark: Mark,
    acknowledged: Option<Mark>,
    entries: BTreeMap<TargetId, Kept>,
    digest: Digest,
    has_news: bool,
    in_flight: Option<Mark>,
    sent_at: Option<Duration>,
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

/// What became of the report in flight.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Reply {
    /// 200.
    Taken(Mark),
    /// 205: it has not what the report builds on.
    SendWhole,
    /// 409: it has this one already, or a later one.
    Behind(Mark),
    /// 409: another process speaks under our name.
    Duplicate,
    /// Refused for some other reason, or nothing came back.
    Lost,
}

impl Teller {
    /// `inc` is greater than that of every run before, as far as is known.
    pub fn new(boot: Boot, inc: u64) -> Teller {
        Teller {
            boot,
            mark: Mark { inc, seq: 0 },
            acknowledged: None,
            entries: BTreeMap::new(),
            digest: Digest::default(),
            has_news: true,
            in_flight: None,
            sent_at: None,
        }
    }

    pub fn boot(&self) -> Boot {
        self.boot
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
        self.entries.insert(target, Kept { octets, seq: self.mark.seq + 1 });
        self.has_news = true;
    }

    /// When the next report is due; `None` while one is in flight.
    pub fn due(&self) -> Option<Duration> {
        if self.in_flight.is_some() {
            return None;
        }
        let pause = if self.has_news { SHORTEST_PAUSE } else { LONGEST_PAUSE };
        Some(self.sent_at.map_or(Duration::ZERO, |sent_at| sent_at + pause))
    }

    /// The report that is due now.
    pub fn next(&mut self, now: Duration) -> Outgoing {
        self.mark.seq += 1;
        (self.in_flight, self.sent_at, self.has_news) = (Some(self.mark), Some(now), false);
        let after = self.acknowledged.map_or(0, |mark| mark.seq);
        let is_whole = self.acknowledged.is_none();
        let entries = self.entries.iter().filter(|(_, kept)| kept.seq > after);
        let said = entries.filter_map(|(target, kept)| match &kept.octets {
            Some(octets) => Some(Told::Entry(octets.clone())),
            // Who is told everything needs not be told what is not.
            None => (!is_whole).then_some(Told::Gone(*target)),
        });
        Outgoing {
            mark: self.mark,
            base: self.acknowledged,
            digest: self.digest,
            entries: said.collect(),
        }
    }

    /// Takes what became of the report in flight; the incarnation to keep on disk, if it had to be raised.
    pub fn on_reply(&mut self, reply: Reply) -> Option<u64> {
        let sent = self.in_flight.take()?;
        match reply {
            // An answer that was lost, and its report sent again by whatever is between us.
            Reply::Taken(mark) | Reply::Behind(mark) if mark == sent => {
                self.acknowledged = Some(mark);
                self.entries.retain(|_, kept| kept.octets.is_some() || kept.seq > mark.seq);
                None
            }
            Reply::SendWhole => {
                self.begin_anew();
                None
            }
            // What was in the report is still to be told, at the next beat.
            Reply::Taken(_) | Reply::Duplicate | Reply::Lost => None,
            Reply::Behind(theirs) => {
                self.begin_anew();
                self.mark.inc = self.mark.inc.max(theirs.inc).saturating_add(1);
                Some(self.mark.inc)
            }
        }
    }

    fn begin_anew(&mut self) {
        (self.acknowledged, self.has_news) = (None, true);
    }
}
