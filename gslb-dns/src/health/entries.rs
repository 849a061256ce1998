//! Overrides given by command: immutable entries, each under a stamp that puts it in order.
//!
//! Nothing is ever changed or taken back: who changes their mind says something new, which outranks what
//! was said before. Pure: `keeper` keeps the entries on disk.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::str::FromStr;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::overrides::Override;

/// Entries at a time. Each costs every board a comparison with every site's name.
pub const MOST_ENTRIES: usize = 4096;
/// How long an entry that can decide nothing any more is kept, so that people can look it up.
const KEPT: SignedDuration = SignedDuration::from_hours(30 * 24);

/// One more than the highest seen where and when an entry was made; the node's name settles ties.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Stamp {
    pub number: u64,
    pub node: Box<str>,
}

/// One order, as it was given.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Entry {
    #[serde(with = "as_text")]
    pub stamp: Stamp,
    /// When it was given; it may begin later.
    pub given: Timestamp,
    #[serde(flatten)]
    pub said: Override,
}

/// All that was said and may still matter, by stamp.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Entries {
    by_stamp: BTreeMap<Stamp, Entry>,
    highest: u64,
}

/// A moment whose board somebody asks for: what time it was, and what had been ordered by then.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Moment {
    pub at: Timestamp,
    pub ordered: Ordered,
}

/// Which orders had been given.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Ordered {
    /// Those up to this number.
    UpTo(u64),
    /// Those of that time.
    By(Timestamp),
}

/// There are `MOST_ENTRIES`, and each may still matter.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "there are {MOST_ENTRIES} overrides already; an entry goes 30 days after its end, or after a later \
     one with the same site and service has replaced it"
)]
pub struct Full;

impl Entries {
    /// What was kept: `highest` is the highest number ever given, which may be that of a forgotten entry.
    pub fn restore(highest: u64, entries: Vec<Entry>) -> Entries {
        let by_stamp: BTreeMap<Stamp, Entry> =
            entries.into_iter().map(|entry| (entry.stamp.clone(), entry)).collect();
        let seen = by_stamp.keys().next_back().map_or(0, |stamp| stamp.number);
        Entries { highest: highest.max(seen), by_stamp }
    }

    /// The highest number ever given.
    pub fn highest(&self) -> u64 {
        self.highest
    }

    /// Those that had been given at some moment, as far as they are still kept.
    #[must_use]
    pub fn as_of(&self, ordered: Ordered) -> Entries {
        let was_given = |entry: &&Entry| match ordered {
            Ordered::UpTo(number) => entry.stamp.number <= number,
            Ordered::By(at) => entry.given <= at,
        };
        let highest = match ordered {
            Ordered::UpTo(number) => number.min(self.highest),
            Ordered::By(_) => 0,
        };
        Entries::restore(highest, self.iter().filter(was_given).cloned().collect())
    }

    /// In the order of their stamps: of two about the same, the later one holds.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Entry> {
        self.by_stamp.values()
    }

    /// `now`, unless a clock says what cannot be: that it is earlier than when the last entry was given. A
    /// clock that starts in 1970 must not bring back what operators took out.
    pub fn not_before(&self, now: Timestamp) -> Timestamp {
        self.by_stamp.values().map(|entry| entry.given).fold(now, Timestamp::max)
    }

    pub fn len(&self) -> usize {
        self.by_stamp.len()
    }

    pub fn is_empty(&self) -> bool {
        self.by_stamp.is_empty()
    }

    /// These entries and one more, said on `node` at `now`, without those that matter no more.
    pub fn with(
        &self,
        said: Override,
        node: &str,
        now: Timestamp,
    ) -> Result<(Entries, Stamp), Full> {
        let number = self.highest.saturating_add(1);
        let stamp = Stamp { number, node: node.into() };
        let mut next = Entries { by_stamp: self.by_stamp.clone(), highest: number };
        let entry = Entry { stamp: stamp.clone(), given: now, said };
        next.by_stamp.insert(stamp.clone(), entry);
        next.forget(now);
        if next.len() > MOST_ENTRIES { Err(Full) } else { Ok((next, stamp)) }
    }

    /// Lets go of what has long been over, or replaced: a later entry says otherwise of the same, for good.
    fn forget(&mut self, now: Timestamp) {
        let long_ago = |at: Timestamp| now.duration_since(at) > KEPT;
        let mut replaced_at = HashMap::new();
        let mut dead = Vec::new();
        for entry in self.by_stamp.values().rev() {
            let Override { site, service, order, since, until, .. } = &entry.said;
            let about = (site, service, order.kind());
            if until.is_some_and(long_ago) || replaced_at.get(&about).copied().is_some_and(long_ago)
            {
                dead.push(entry.stamp.clone());
            }
            if until.is_none() {
                replaced_at.insert(about, entry.given.max(*since));
            }
        }
        for stamp in dead {
            self.by_stamp.remove(&stamp);
        }
    }
}

impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.number, self.node)
    }
}

impl FromStr for Stamp {
    type Err = String;

    fn from_str(text: &str) -> Result<Stamp, String> {
        let parts = text.split_once('@').and_then(|(number, node)| {
            Some(Stamp { number: number.parse().ok()?, node: node.into() })
        });
        parts.ok_or_else(|| format!("{text:?} is no stamp, such as 7@dns1"))
    }
}

mod as_text {
    use serde::de::Error as _;
    use serde::{Deserialize as _, Deserializer, Serializer};

    use super::Stamp;

    pub fn serialize<S: Serializer>(stamp: &Stamp, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(stamp)
    }

    pub fn deserialize<'d, D: Deserializer<'d>>(from: D) -> Result<Stamp, D::Error> {
        String::deserialize(from)?.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::super::board::Health;
    use super::super::overrides::{Glob, Order};
    use super::*;

    const DAY: i64 = 24 * 3600;

    fn said(site: &str, order: Order, until: Option<i64>) -> Override {
        Override {
            site: Glob::new(site),
            service: Glob::any(),
            order,
            who: "alice".into(),
            why: "test".into(),
            since: Timestamp::UNIX_EPOCH,
            until: until.map(at),
        }
    }

    fn at(day: i64) -> Timestamp {
        Timestamp::from_second(day * DAY).unwrap()
    }

    /// The stamps left after all of `said`, each given on its day.
    fn check(all: &[(i64, Override)], expected: &[&str]) {
        let mut entries = Entries::default();
        for (day, said) in all {
            entries = entries.with(said.clone(), "dns1", at(*day)).unwrap().0;
        }
        let left: Vec<String> = entries.iter().map(|entry| entry.stamp.to_string()).collect();
        assert_eq!(left, expected);
        assert_eq!(entries.highest(), all.len() as u64);
    }

    #[test]
    fn what_can_decide_nothing_is_kept_for_a_month() {
        let drain = Order::Drain { over: 0 };
        check(&[(0, said("fra", drain, None))], &["1@dns1"]);
        // Over.
        let later = |day| (day, said("iad", drain, None));
        check(&[(0, said("fra", drain, Some(1))), later(31)], &["1@dns1", "2@dns1"]);
        check(&[(0, said("fra", drain, Some(1))), later(32)], &["2@dns1"]);
        // Replaced for good, and not for a while.
        let undrain = (1, said("fra", Order::Undrain, None));
        check(&[(0, said("fra", drain, None)), undrain.clone(), later(32)], &["2@dns1", "3@dns1"]);
        let for_now = (1, said("fra", drain, Some(500)));
        let all = ["1@dns1", "2@dns1", "3@dns1"];
        check(&[(0, said("fra", drain, None)), for_now, later(400)], &all);
        // Of another kind, or of other sites.
        let force = (1, said("fra", Order::Force(Health::Down), None));
        check(&[(0, said("fra", drain, None)), force, later(400)], &all);
        let wider = (1, said("*", Order::Undrain, None));
        check(&[(0, said("fra", drain, None)), wider, later(400)], &all);
    }

    #[test]
    fn a_number_is_never_given_twice() {
        let entries = Entries::restore(7, vec![]);
        let (entries, stamp) = entries.with(said("fra", Order::Undrain, None), "b", at(0)).unwrap();
        assert_eq!(stamp.to_string(), "8@b");
        let kept: Vec<Entry> = entries.iter().cloned().collect();
        assert_eq!(Entries::restore(3, kept).highest(), 8);
    }

    #[test]
    fn there_is_room_for_so_many() {
        let entry = |number: usize| Entry {
            stamp: Stamp { number: number as u64, node: "a".into() },
            given: at(0),
            said: said(&format!("s{number}"), Order::Undrain, None),
        };
        let entries = Entries::restore(0, (1..MOST_ENTRIES).map(entry).collect());
        let last = entries.with(said("last", Order::Undrain, None), "a", at(0));
        let entries = last.unwrap().0;
        assert_eq!(entries.len(), MOST_ENTRIES);
        let one_more = || said("more", Order::Undrain, Some(1));
        assert_eq!(entries.with(one_more(), "a", at(0)), Err(Full));
        // One that replaces another makes room only when the other has been kept long enough.
        let again = said("s1", Order::Unforce, None);
        assert_eq!(entries.with(again, "a", at(0)), Err(Full));
    }

    #[test]
    fn an_entry_is_written_and_read_back() {
        let (entries, _) = Entries::default()
            .with(said("fra", Order::Drain { over: 600 }, Some(3)), "a", at(1))
            .unwrap();
        let entry = entries.iter().next().unwrap();
        let text = serde_json::to_string(entry).unwrap();
        assert_eq!(
            text,
            "{\"stamp\":\"1@a\",\"given\":\"1970-01-02T00:00:00Z\",\"site\":\"fra\",\"service\":\"*\",\
             \"order\":{\"drain\":{\"over_seconds\":600}},\"who\":\"alice\",\"why\":\"test\",\
             \"since\":\"1970-01-01T00:00:00Z\",\"until\":\"1970-01-04T00:00:00Z\"}"
        );
        assert_eq!(&serde_json::from_str::<Entry>(&text).unwrap(), entry);
    }
}
