//! Overrides given by command: immutable entries, each under a stamp that puts it in order.
//!
//! Nothing is ever changed or taken back: who changes their mind says something new, which outranks what
//! was said before. So the sets of two name servers are merged by taking both. Pure: `keeper` keeps the entries on disk.

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

/// What came of a peer's entries.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Merged {
    pub entries: Entries,
    /// Those that were not known.
    pub learned: Vec<Entry>,
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

    /// These entries and a peer's, without those that matter no more. `None` if that is what we have: whose stamps are
    /// known, and say the same, are no news. Merged in whatever order, by whoever, all come to one set, but for what can
    /// decide nothing any more.
    pub fn merged(
        &self,
        highest: u64,
        theirs: &[Entry],
        now: Timestamp,
    ) -> Result<Option<Merged>, Full> {
        let mut next = Entries { highest: self.highest.max(highest), ..self.clone() };
        for entry in theirs {
            next.highest = next.highest.max(entry.stamp.number);
            match next.by_stamp.get(&entry.stamp) {
                Some(known) if known == entry => {}
                // One stamp is given twice by who has lost its state alone.
                Some(known) if known.order_under_one_stamp() >= entry.order_under_one_stamp() => {}
                Some(_) | None => drop(next.by_stamp.insert(entry.stamp.clone(), entry.clone())),
            }
        }
        next.forget(now);
        let is_new = |entry: &&Entry| self.by_stamp.get(&entry.stamp) != Some(entry);
        let learned: Vec<Entry> = next.iter().filter(is_new).cloned().collect();
        if learned.is_empty() && next.highest == self.highest {
            return Ok(None);
        }
        if next.len() > MOST_ENTRIES {
            return Err(Full);
        }
        Ok(Some(Merged { entries: next, learned }))
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

impl Entry {
    /// Of two under one stamp the greater stays: the one given later, or, at the same instant, the greater text.
    fn order_under_one_stamp(&self) -> (Timestamp, String) {
        (self.given, format!("{:?}", self.said))
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
    use proptest::prelude::*;

    use super::super::board::{Board, Health};
    use super::super::last_known::LastKnown;
    use super::super::overrides::{Glob, Order};
    use super::*;
    use crate::config;
    use crate::world::World;

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

    fn merged(one: &Entries, other: &Entries, now: Timestamp) -> Entries {
        let theirs: Vec<Entry> = other.iter().cloned().collect();
        let merged = one.merged(other.highest(), &theirs, now).unwrap();
        merged.map_or_else(|| one.clone(), |merged| merged.entries)
    }

    #[test]
    fn two_sets_are_merged_by_stamp() {
        let drain = Order::Drain { over: 0 };
        let (a, _) = Entries::default().with(said("fra", drain, None), "a", at(0)).unwrap();
        let (b, _) = Entries::default().with(said("iad", drain, None), "b", at(0)).unwrap();
        let both = merged(&a, &b, at(0));
        assert_eq!(both, merged(&b, &a, at(0)));
        let stamps: Vec<String> = both.iter().map(|entry| entry.stamp.to_string()).collect();
        assert_eq!(stamps, ["1@a", "1@b"]);
        let entries: Vec<Entry> = both.iter().cloned().collect();
        assert_eq!(both.merged(1, &entries, at(0)), Ok(None), "that is known");
        // Who comes next is above both, and above what was forgotten elsewhere.
        let (next, stamp) = both.with(said("fra", Order::Undrain, None), "b", at(0)).unwrap();
        assert_eq!(stamp.to_string(), "2@b");
        assert_eq!(next.merged(9, &[], at(0)).unwrap().unwrap().entries.highest(), 9);
        // A node that has lost its state gives a stamp anew: the later one stays, on both.
        let (lost, _) = Entries::default().with(said("nrt", drain, None), "a", at(1)).unwrap();
        assert_eq!(merged(&a, &lost, at(1)), lost);
        assert_eq!(merged(&lost, &a, at(1)), lost);
    }

    #[test]
    fn a_peers_set_that_does_not_fit_is_not_taken() {
        let entry = |node: &str, number: usize| Entry {
            stamp: Stamp { number: number as u64, node: node.into() },
            given: at(0),
            said: said(&format!("{node}{number}"), Order::Undrain, None),
        };
        let ours = Entries::restore(0, (0..MOST_ENTRIES - 1).map(|one| entry("a", one)).collect());
        let fits = ours.merged(0, &[entry("b", 1)], at(0)).unwrap().unwrap();
        assert_eq!(fits.entries.len(), MOST_ENTRIES);
        assert_eq!(ours.merged(0, &[entry("b", 1), entry("b", 2)], at(0)), Err(Full));
    }

    proptest! {
        /// Orders of two nodes that were apart, one of them for longer than anything is kept: it brings back nothing
        /// that the other has let go, and the same holds on both.
        #[test]
        fn who_was_away_brings_nothing_back(
            before in prop::collection::vec(given(), 0..8),
            after in prop::collection::vec(given(), 0..8),
            away in 0..100_i64,
        ) {
            let mut ours = Entries::default();
            let mut day = 0;
            for (site, order, lasts, days) in before {
                day += days;
                let until = lasts.map(|lasts| day + lasts);
                ours = ours.with(said(site, order, until), "a", at(day)).unwrap().0;
            }
            let theirs = ours.clone();
            for (site, order, lasts, days) in after {
                day += days;
                let until = lasts.map(|lasts| day + lasts);
                ours = ours.with(said(site, order, until), "b", at(day)).unwrap().0;
            }
            day += away;
            let (one, other) = (merged(&ours, &theirs, at(day)), merged(&theirs, &ours, at(day)));
            prop_assert_eq!(one.highest(), other.highest());
            // What holds is what holds on the one that never was away, then and later.
            let holds = |entries: &Entries, day: i64| {
                let all: Vec<&Override> = entries.iter().map(|entry| &entry.said).collect();
                ["fra", "iad"].map(|site| standing_of(site, &all, at(day)))
            };
            for later in [0, 1, 50, 400] {
                prop_assert_eq!(holds(&one, day + later), holds(&ours, day + later));
                prop_assert_eq!(holds(&other, day + later), holds(&ours, day + later));
            }
        }
    }

    type Given = (&'static str, Order, Option<i64>, i64);

    fn given() -> impl Strategy<Value = Given> {
        let orders = [
            Order::Drain { over: 0 },
            Order::Undrain,
            Order::Force(Health::Down),
            Order::Unforce,
            Order::Weight(3),
            Order::Unweight,
        ];
        (
            prop::sample::select(vec!["fra", "iad", "*"]),
            prop::sample::select(orders.to_vec()),
            prop::option::of(1..40_i64),
            0..40_i64,
        )
    }

    /// What the board makes of a site.
    fn standing_of(site: &str, all: &[&Override], now: Timestamp) -> String {
        let world = "[zone.\"example.com\"]\nfile = \"steer.zone\"\n[site.fra]\nvips = [\"192.0.2.1\"]\n\
                     [site.iad]\nvips = [\"192.0.2.2\"]\n[service.\"www.example.com\"]\nsites = [\"fra\", \"iad\"]\n\
                     when_all_down = \"open\"\nttl = { max = \"30s\" }\n";
        static OF_ALL: std::sync::OnceLock<World> = std::sync::OnceLock::new();
        let world = OF_ALL.get_or_init(|| {
            let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/steer");
            config::world_from_str(world, &dir).unwrap_or_else(|why| panic!("{why}"))
        });
        let board = Board::build(1, world, all, &LastKnown::default(), now);
        let standings = &board.of_service(world.service_ids().next().unwrap()).standings;
        let index = world.sites.iter().position(|one| &*one.name == site).unwrap();
        let one = &standings[index];
        format!("{} {:?} {} {:?}", one.health, one.duty, one.weight, one.admit())
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
