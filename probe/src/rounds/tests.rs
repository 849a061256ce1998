//! A probe's rounds under fake time: whole networks of targets, name servers and their fates.

use common::assignment;
use common::report::{LARGEST, MOST_TARGETS, Phases, Reason};
use common::seen::Failure;
use common::target::Address;

use super::*;

const TODAY: i64 = 1_800_000_000;

fn target(number: usize) -> Target {
    let json = format!(
        r#"{{"address":"192.0.2.{}","port":{},"host":"www.example.com","check":
           {{"kind":"tcp","interval_ms":5000,"timeout_ms":2000,"rise":2,"fall":3,"ok":2}}}}"#,
        number % 200,
        1 + number / 200
    );
    serde_json::from_str(&json).unwrap()
}

fn targets(count: usize) -> Vec<Target> {
    (0..count).map(target).collect()
}

fn asks(targets: &[Target]) -> Assignment {
    Assignment::read(&assignment::write("e1", targets)).unwrap()
}

/// A probe, what each name server was told, and the time.
struct World {
    rounds: Rounds,
    told: BTreeMap<(Server, TargetId), Entry>,
    now: Duration,
    looks: usize,
    news: usize,
}

impl World {
    fn new() -> World {
        let rounds = Rounds::new("ams", 512, "1", Duration::ZERO);
        World { rounds, told: BTreeMap::new(), now: Duration::ZERO, looks: 0, news: 0 }
    }

    fn deliver(&mut self, posts: Vec<Post>) {
        for Post { to, target, octets } in posts {
            self.news += 1;
            match octets {
                None => drop(self.told.remove(&(to, target))),
                Some(octets) => {
                    self.told.insert((to, target), serde_json::from_str(&octets).unwrap());
                }
            }
        }
    }

    fn assign(&mut self, server: &str, targets: &[Target]) {
        let posts = self.rounds.assign(self.now, server.into(), asks(targets));
        self.deliver(posts);
    }

    /// So many seconds pass; each look takes no time.
    fn pass(&mut self, seconds: u64, sees: impl Fn(&Target) -> Seen) {
        let until = self.now + Duration::from_secs(seconds);
        while self.now < until {
            self.rounds.turn(self.now);
            while let Some(Begun { id, target, .. }) = self.rounds.begin(self.now) {
                self.looks += 1;
                let ended = self.rounds.end(self.now, id, &sees(&target), TODAY, 0.5);
                self.deliver(ended.posts);
            }
            self.now += Duration::from_millis(100);
        }
    }

    fn states(&self, server: &str) -> String {
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for ((_, _), entry) in self.told.iter().filter(|((to, _), _)| **to == *server) {
            *counts.entry(entry.state.as_str()).or_default() += 1;
        }
        let words = counts.iter().map(|(state, count)| format!("{count} {state}"));
        words.collect::<Vec<_>>().join(", ")
    }
}

fn up(_: &Target) -> Seen {
    let phases = Phases { connect: Some(20), ..Phases::default() };
    Seen { outcome: Ok(()), phases, not_after: None, status: None }
}

fn down(_: &Target) -> Seen {
    let outcome = Err(Failure::new(Reason::Timeout, "connecting took longer than 2s"));
    Seen { outcome, phases: Phases::default(), not_after: None, status: None }
}

#[test]
fn each_name_server_hears_of_what_it_asked_for() {
    let mut world = World::new();
    world.assign("dns1", &targets(10));
    world.assign("dns2", &targets(12)[8..]);
    world.pass(6, up);
    assert_eq!((&*world.states("dns1"), &*world.states("dns2")), ("10 up", "4 up"));
    // Looked at once for both who ask; in 6 s some come around again.
    assert!((12..=15).contains(&world.looks), "{}", world.looks);
    // Who asks later hears at once what is known.
    world.assign("dns3", &targets(5));
    assert_eq!(world.states("dns3"), "5 up");
    world.assign("dns1", &targets(2));
    assert_eq!(world.states("dns1"), "2 up");
    assert_eq!(world.rounds.everything_for(&"dns3".into()).len(), 5);
    let kept = ["dns2".into()].into();
    let posts = world.rounds.keep(world.now, &kept);
    world.deliver(posts);
    assert_eq!((&*world.states("dns1"), &*world.states("dns2")), ("", "4 up"));
    assert_eq!(world.rounds.watched.len(), 4);
}

#[test]
fn what_does_not_change_is_told_once() {
    let mut world = World::new();
    world.assign("dns1", &targets(100));
    world.pass(6, up);
    assert_eq!(world.news, 100);
    world.pass(3600, up);
    assert!(world.looks > 70_000, "{}", world.looks);
    assert_eq!(world.news, 100);
}

#[test]
fn one_that_fails_is_down_within_an_interval_and_two_seconds() {
    let mut world = World::new();
    world.assign("dns1", &targets(20));
    world.pass(20, up);
    let fallen = target(3).id();
    world.pass(8, |target| if target.id() == fallen { down(target) } else { up(target) });
    assert_eq!(world.states("dns1"), "1 down, 19 up");
    assert_eq!(world.rounds.own().blind, None);
    world.pass(8, up);
    assert_eq!(world.states("dns1"), "20 up");
    let entry = &world.told[&("dns1".into(), fallen)];
    assert_eq!((entry.flaps, entry.reason, &*entry.detail), (2, None, ""));
}

#[test]
fn a_probe_that_is_cut_off_says_that_it_is_blind_before_it_says_that_anything_is_down() {
    let mut world = World::new();
    world.assign("dns1", &targets(40));
    world.pass(20, up);
    for _ in 0..100 {
        world.now += Duration::from_millis(100);
        world.rounds.turn(world.now);
        while let Some(Begun { id, target, .. }) = world.rounds.begin(world.now) {
            let ended = world.rounds.end(world.now, id, &down(&target), TODAY, 0.5);
            world.deliver(ended.posts);
        }
        let is_down = world.told.values().filter(|entry| entry.state == State::Down).count();
        let is_blind = world.rounds.own().blind.is_some();
        assert!(is_blind || is_down * 2 < 40, "{is_down} down and not blind");
    }
    assert!(world.rounds.own().blind.is_some());
    // States are told all the same.
    assert_eq!(world.states("dns1"), "40 down");
    world.pass(10, up);
    assert_eq!(world.rounds.own().blind, None);
}

/// How many are up, and of those how many seem to have come back.
fn returned(world: &World) -> (usize, usize) {
    let up = || world.told.values().filter(|entry| entry.state == State::Up);
    (up().count(), up().filter(|entry| entry.flaps > 0).count())
}

#[test]
fn what_a_probe_lost_sight_of_has_not_come_back_when_it_sees_again() {
    let mut world = World::new();
    world.assign("dns1", &targets(40));
    world.pass(20, up);
    let since: BTreeMap<_, _> =
        world.told.iter().map(|(to, entry)| (to.clone(), entry.since)).collect();
    world.pass(60, down);
    assert_eq!(world.states("dns1"), "40 down");
    // One of them is down in earnest, and comes back long after.
    let fallen = target(7).id();
    world.pass(60, |target| if target.id() == fallen { down(target) } else { up(target) });
    assert_eq!(returned(&world), (39, 0));
    for (to, entry) in world.told.iter().filter(|(_, entry)| entry.state == State::Up) {
        assert_eq!(entry.since, since[to]);
    }
    world.pass(20, up);
    assert_eq!(returned(&world), (40, 1));
    // What fails while everything else is seen comes back as ever.
    world.pass(20, |target| if target.id() == fallen { down(target) } else { up(target) });
    world.pass(20, up);
    assert_eq!((returned(&world), world.told[&("dns1".into(), fallen)].flaps), ((40, 1), 4));
}

#[test]
fn a_loss_that_was_real_is_a_return_when_it_ends() {
    // By references that answer meanwhile, or by time where there are none.
    for references in [vec![], targets(153)[150..].to_vec()] {
        let mut world = World::new();
        let posts = world.rounds.refer_to(world.now, references.clone());
        world.deliver(posts);
        world.assign("dns1", &targets(40));
        world.pass(20, up);
        let ids: Vec<TargetId> = references.iter().map(Target::id).collect();
        let gone =
            |target: &Target| if ids.contains(&target.id()) { up(target) } else { down(target) };
        world.pass(400, gone);
        assert_eq!((&*world.states("dns1"), &world.rounds.own().blind), ("40 down", &None));
        world.pass(20, up);
        assert_eq!(returned(&world), (40, 40));
    }
}

#[test]
fn references_are_counted_and_told_to_nobody() {
    let mut world = World::new();
    let references: Vec<Target> = targets(13)[10..].to_vec();
    let posts = world.rounds.refer_to(world.now, references);
    world.deliver(posts);
    world.assign("dns1", &targets(4));
    assert_eq!((world.rounds.own().references, world.rounds.own().references_up), (3, 0));
    world.pass(6, up);
    assert_eq!((world.rounds.own().references, world.rounds.own().references_up), (3, 3));
    assert_eq!(world.states("dns1"), "4 up");
    let is_reference = |target: &Target| match &target.address {
        Address::Ip(address) => address.to_string().ends_with(|c: char| "012".contains(c)),
        Address::Name(_) => false,
    };
    let cut = |target: &Target| {
        let far =
            matches!(&target.address, Address::Ip(a) if a.to_string().starts_with("192.0.2.1"));
        if far && is_reference(target) { down(target) } else { up(target) }
    };
    world.pass(12, cut);
    assert_eq!(world.rounds.own().blind.as_deref(), Some("3 of 3 reference targets are down"));
}

#[test]
fn a_whole_report_of_the_most_and_longest_entries_fits() {
    // Every letter of the detail takes two octets in JSON.
    let longest = Entry {
        target: target(1).id(),
        state: State::Slow,
        since: u64::MAX,
        streak: u16::MAX,
        need: u16::MAX,
        flaps: u32::MAX,
        phases_ms: Phases {
            resolve: Some(60_000),
            connect: Some(60_000),
            tls: Some(60_000),
            first_byte: Some(60_000),
        },
        reason: Some(Reason::Unreachable),
        detail: "\"".repeat(LONGEST_DETAIL),
        cert_days: Some(i32::MIN),
    };
    const HEAD: usize = 4096;
    for (targets, longest_detail) in [(MANY_TARGETS, LONGEST_DETAIL), (MOST_TARGETS, SHORT_DETAIL)]
    {
        let octets = (written(&longest, longest_detail).len() + 1) * targets + HEAD;
        assert!(octets < LARGEST, "{octets} octets of {targets} targets");
    }
    let mut world = World::new();
    let failing = |_: &Target| Seen {
        outcome: Err(Failure::new(Reason::Timeout, "a".repeat(LONGEST_DETAIL))),
        ..up(&target(1))
    };
    let length = |world: &World| world.told.values().map(|entry| entry.detail.len()).max();
    world.assign("dns1", &targets(MANY_TARGETS));
    world.pass(6, failing);
    assert_eq!(length(&world), Some(LONGEST_DETAIL));
    world.assign("dns1", &targets(MANY_TARGETS + 1));
    world.pass(6, failing);
    assert_eq!(length(&world), Some(SHORT_DETAIL));
}
