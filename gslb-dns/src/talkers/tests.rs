//! The bounds that are stated, against exact counts; and what a thread and its history pass between them.

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::sync::Arc;

use proptest::prelude::*;

use super::history::Sums;
use super::*;
use crate::name::Name;
use crate::zone::{Zone, master};

const PLACES: usize = 32;

/// How a stream of keys is made from numbers drawn.
#[derive(Clone, Copy, Debug)]
enum Stream {
    /// A few much, many seldom: key k with a share of about 1/k.
    Skewed,
    /// Every key another, with one that comes each 20th time.
    Flood,
    /// Each key so often that it is displaced as soon as it is held, round and round.
    Round,
    /// As many as there are places, then as many others, the first again at the end.
    Waves,
}

impl Stream {
    fn keys(self, length: usize, draws: &[u32]) -> Vec<u32> {
        let key = |at: usize| {
            let draw = draws[at % draws.len()];
            match self {
                Stream::Skewed => (f64::from(u32::MAX) / f64::from(draw.max(1))).min(1e6) as u32,
                Stream::Flood if at.is_multiple_of(20) => 0,
                Stream::Flood => at as u32,
                Stream::Round => (at % (PLACES + 1)) as u32,
                Stream::Waves => (at * 5 / length % 4 * PLACES + at % PLACES) as u32,
            }
        };
        (0..length).map(key).collect()
    }
}

fn streams() -> impl Strategy<Value = (Vec<u32>, Vec<u32>)> {
    let kind = prop_oneof![
        Just(Stream::Skewed),
        Just(Stream::Flood),
        Just(Stream::Round),
        Just(Stream::Waves)
    ];
    let one = (kind, 1..4000_usize, proptest::collection::vec(any::<u32>(), 1..500))
        .prop_map(|(kind, length, draws)| kind.keys(length, &draws));
    (one.clone(), one)
}

fn table(keys: &[u32]) -> SpaceSaving<u32> {
    let mut table = SpaceSaving::new(PLACES, u32::MAX, 7);
    keys.iter().for_each(|key| table.count(key, Outcome::default()));
    table
}

fn exact<'k>(keys: impl IntoIterator<Item = &'k u32>) -> HashMap<u32, u64> {
    let mut exact = HashMap::new();
    keys.into_iter().for_each(|key| *exact.entry(*key).or_default() += 1);
    exact
}

/// The bound as it is stated: of n keys nobody is off by more than n/m, and who was met more often is held.
fn check(sums: &Sums<u32>, exact: &HashMap<u32, u64>) {
    let off = sums.total / PLACES as u64;
    assert_eq!(sums.total, exact.values().sum::<u64>());
    assert!(sums.all.len() <= PLACES);
    assert!(sums.floor <= off, "floor {} of at most {off}", sums.floor);
    for (key, sum) in &sums.all {
        let met = exact.get(key).copied().unwrap_or(0);
        assert!(sum.at_least <= met && met <= sum.at_most, "{key}: {met} in {sum:?}");
        assert!(sum.at_most - sum.at_least <= off, "{key}: {sum:?} is off by more than {off}");
        assert!(sum.errors.max(sum.limited) <= sum.known && sum.known <= met, "{key}: {sum:?}");
    }
    for (key, met) in exact.iter().filter(|(key, _)| !sums.all.contains_key(key)) {
        assert!(*met <= sums.floor, "{key}: met {met} times, and not held");
    }
}

proptest! {
    #[test]
    fn nobody_is_off_by_more_than_the_bound((keys, _) in streams()) {
        check(&Sums::of(&table(&keys)), &exact(&keys));
    }

    #[test]
    fn tables_together_keep_the_bound_of_one((some, others) in streams()) {
        let mut sums = Sums::of(&table(&some));
        sums.add(&Sums::of(&table(&others)));
        sums.cut(PLACES);
        check(&sums, &exact(some.iter().chain(&others)));
        // And again, with what was cut.
        sums.add(&Sums::of(&table(&some)));
        sums.cut(PLACES);
        check(&sums, &exact(some.iter().chain(&others).chain(&some)));
    }
}

#[test]
fn what_became_of_the_queries_is_counted_since_a_key_took_its_place() {
    let mut table = SpaceSaving::new(16, u32::MAX, 7);
    let error = Outcome { is_error: true, is_limited: false };
    (0..16).for_each(|key| table.count(&key, error));
    table.count(&99, Outcome { is_error: true, is_limited: true });
    table.count(&99, error);
    table.count(&99, Outcome::default());
    let held = table.held().iter().find(|held| held.key == 99);
    let expected = Held { key: 99, count: 4, inherited: 1, errors: 2, limited: 1 };
    assert_eq!(held, Some(&expected));
    table.clear();
    assert_eq!((table.held().len(), table.floor(), table.total()), (0, 0, 0));
    table.count(&5, Outcome::default());
    assert_eq!(table.held()[0].count, 1, "nothing is left of before");
}

fn zones() -> Zones {
    let origin: Name = "example.com".parse().unwrap();
    let text = "@ 60 SOA ns host 1 2 3 4 5\n@ 60 NS ns\nns 60 A 192.0.2.53\nwww 60 A 192.0.2.1\n\
                a.b 60 A 192.0.2.1\n*.dev 60 A 192.0.2.2\nsub 60 NS ns.sub\nns.sub 60 A 192.0.2.3\n\
                tree 60 DNAME dev\n";
    let mut no_files = |_: &Path| Err(io::Error::from(io::ErrorKind::NotFound));
    let master = master::parse(Path::new("zone"), text.as_bytes(), &origin, &mut no_files).unwrap();
    Zones::new(vec![Arc::new(Zone::build(origin, master.records, &[]).unwrap())])
}

#[test]
fn a_query_counts_for_a_name_that_stands_in_a_zone() {
    let zones = zones();
    for (asked, counted) in [
        ("WWW.example.com", "www.example.com."),
        ("example.com", "example.com."),
        ("b.example.com", "b.example.com."),
        ("x.www.example.com", "(no such name) below www.example.com."),
        ("random1.example.com", "(no such name) below example.com."),
        ("deep.er.random2.example.com", "(no such name) below example.com."),
        ("x.y.b.example.com", "(no such name) below b.example.com."),
        ("x.y.dev.example.com", "*.dev.example.com."),
        ("sub.example.com", "(delegated) sub.example.com."),
        ("x.sub.example.com", "(delegated) sub.example.com."),
        ("x.tree.example.com", "(by DNAME) below tree.example.com."),
        ("tree.example.com", "tree.example.com."),
        ("example.net", "(outside of our zones)"),
        ("com", "(outside of our zones)"),
    ] {
        let name: Name = asked.parse().unwrap();
        let key = NameKey::of(name.wire()).unwrap();
        assert_eq!(Asked::of(&zones, &key).to_string(), counted, "{asked}");
    }
}

#[test]
fn a_network_is_what_its_clients_have_in_common() {
    for (address, network) in [
        ("192.0.2.1", "192.0.2.0/24"),
        ("192.0.2.255", "192.0.2.0/24"),
        ("::ffff:192.0.2.1", "192.0.2.0/24"),
        ("2001:db8:1:2ff::1", "2001:db8:1:200::/56"),
        ("2001:db8:1:300::1", "2001:db8:1:300::/56"),
    ] {
        assert_eq!(Network::of(address.parse().unwrap()).to_string(), network);
    }
}

/// A query as far as it is looked at: a header, and a name.
fn query(name: &str) -> Vec<u8> {
    let name: Name = name.parse().unwrap();
    [&[0; 12][..], name.wire(), &[0, 1, 0, 1]].concat()
}

fn ask(counter: &mut Counter, zones: &Zones, client: &str, name: &str, times: u32) {
    let (client, query) = (client.parse().unwrap(), query(name));
    for _ in 0..times {
        if counter.is_due() {
            counter.count(zones, client, &query, Outcome::default());
        }
    }
}

#[test]
fn one_query_is_counted_of_each_sixteen_in_a_row() {
    let (mut counter, _outlet) = counter([1; 8], 0);
    let mut places = [0_u32; SAMPLED as usize];
    for _ in 0..16_000 {
        let due: Vec<usize> = (0..places.len()).filter(|_| counter.is_due()).collect();
        assert_eq!(due.len(), 1);
        places[due[0]] += 1;
    }
    // 1000 each, give or take 31.
    assert!(places.iter().all(|met| (850..1150).contains(met)), "{places:?}");
}

#[test]
fn a_report_is_of_the_last_minute_beside_the_one_before() {
    let zones = zones();
    let (mut counter, outlet) = counter([2; 8], 1000);
    let mut history = History::new(vec![outlet], 1000);
    for second in 1000..1060 {
        counter.hand_over(second);
        history.gather();
        ask(&mut counter, &zones, "192.0.2.1", "www.example.com", 1600);
    }
    for second in 1060..1120 {
        counter.hand_over(second);
        history.gather();
        ask(&mut counter, &zones, "192.0.2.1", "www.example.com", 1600);
        ask(&mut counter, &zones, "2001:db8::1", &format!("x{second}.example.com"), 3200);
    }
    counter.hand_over(1120);
    history.gather();
    let report = history.report(1120);
    assert_eq!((report.seconds, report.lost_windows), (60, 0));
    let near = |rate: f64, expected: f64| (rate - expected).abs() < expected / 50.0;
    assert!(near(report.queries_per_second, 4800.0), "{report:?}");
    let clients = report.clients.clone().unwrap();
    for (span, names) in [
        (&clients, ["2001:db8::/56", "192.0.2.0/24"]),
        (&report.names, ["(no such name) below example.com.", "www.example.com."]),
    ] {
        let [flood, old] = &span.talkers[..] else { panic!("{span:?}") };
        assert_eq!([&*flood.who, &*old.who], names);
        assert!(near(flood.queries_per_second, 3200.0) && flood.before == 0.0, "{flood:?}");
        assert!(near(old.queries_per_second, 1600.0) && near(old.before, 1600.0), "{old:?}");
        assert!(old.at_least < 1600.0 && 1600.0 < old.at_most, "{old:?}");
        assert!(near(flood.share, 2.0 / 3.0), "{flood:?}");
        assert!(span.unlisted_at_most < 1.0, "{span:?}");
    }
    assert!(report.text().contains("192.0.2.0/24 "), "{}", report.text());
    let nameless = report.nameless().text();
    assert!(!nameless.contains("192.0.2") && nameless.contains("www.example.com."), "{nameless}");
    // Silence: a minute later all of it is the minute before, and two minutes later nothing is left.
    assert!(history.report(1185).names.talkers.is_empty());
    assert_eq!(history.report(1245).queries_per_second, 0.0);
}

#[test]
fn a_report_shows_a_screen_and_says_what_the_others_do_not_exceed() {
    let zones = zones();
    let (mut counter, outlet) = counter([5; 8], 1000);
    let mut history = History::new(vec![outlet], 1000);
    for network in 0..100 {
        // From 1600 queries to 3184.
        let times = 1600 + 16 * network;
        ask(&mut counter, &zones, &format!("10.0.{network}.1"), "www.example.com", times);
    }
    counter.hand_over(1005);
    history.gather();
    let report = history.report(1005);
    let clients = report.clients.unwrap();
    let told: Vec<&str> = clients.talkers.iter().map(|talker| &*talker.who).collect();
    let expected: Vec<String> = (80..100).rev().map(|most| format!("10.0.{most}.0/24")).collect();
    assert_eq!(told, expected);
    // Whoever had 2864 queries in 5 s is the first who is not told.
    let unlisted = 2864.0 / 5.0;
    assert!((unlisted..1.2 * unlisted).contains(&clients.unlisted_at_most), "{clients:?}");
}

#[test]
fn a_window_is_handed_over_at_its_end_and_lost_when_nobody_comes() {
    let zones = zones();
    let (mut counter, outlet) = counter([3; 8], 1000);
    let mut history = History::new(vec![outlet], 1000);
    let ask = |counter: &mut Counter| ask(counter, &zones, "192.0.2.1", "www.example.com", 160);
    ask(&mut counter);
    counter.hand_over(1004);
    history.gather();
    assert_eq!(history.report(1010).queries_per_second, 0.0, "its time is not over");
    // As many as there are, and two more.
    for end in 1..=4 {
        counter.hand_over(1000 + end * WINDOW);
        ask(&mut counter);
    }
    history.gather();
    let report = history.report(1020);
    assert_eq!(report.queries_per_second, f64::from(160 * 2) / 15.0, "two were on their way");
    assert_eq!(report.lost_windows, 0, "who lost some tells with the next");
    counter.hand_over(1025);
    history.gather();
    assert_eq!(history.report(1025).lost_windows, 2);
}

#[test]
fn a_clock_set_back_does_not_blind_us() {
    let zones = zones();
    let (mut counter, outlet) = counter([4; 8], 1_000_000);
    let mut history = History::new(vec![outlet], 1000);
    for second in (1_000_000..1_000_300).chain(1000..1200) {
        counter.hand_over(second);
        history.gather();
        ask(&mut counter, &zones, "192.0.2.1", "www.example.com", 16);
    }
    let report = history.report(1195);
    assert_eq!(report.queries_per_second, 16.0, "{report:?}");
    assert!(history.windows() <= 24);
}
