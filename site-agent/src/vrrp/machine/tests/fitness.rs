//! What makes a router fit, and what it is told to do. Names of cases are those of the conformance list.

use super::*;
use crate::vrrp::machine::action::Role;

#[test]
fn fault_enter_leave() {
    let tracks: Box<[Weight]> = [Weight::Fault, Weight::Fault].into();
    let mut story = Story::of(Settings { tracks, ..settings() });
    // Nothing is taken for granted before it was looked at.
    assert_eq!(story.hears("startup"), "remove, Initialize -> Fault: tracks[0] does not pass");
    assert_eq!(story.hears("track 0 passes"), "still unfit: tracks[1] does not pass");
    assert_eq!(story.hears("track 1 passes"), "Fault -> Backup: fit again");
    story.runs(4000);
    assert_eq!(story.machine.role(), Role::Active);
    let done = story.hears("track 1 fails");
    assert_eq!(done, "remove, resign, Active -> Fault: tracks[1] does not pass");
    assert_eq!(story.hears("lease lost"), "still unfit: no balancer of this box serves");
    assert_eq!(story.hears("track 1 passes"), "");
    assert_eq!(story.hears("lease held"), "Fault -> Backup: fit again");
    assert_eq!(story.hears("link down"), "Backup -> Fault: link down");
    assert_eq!(story.hears("link up"), "Fault -> Backup: fit again");
    // It listens before it leads again.
    story.runs(7600);
    assert_eq!(story.machine.role(), Role::Backup);
    story.runs(7700);
    assert_eq!(story.machine.role(), Role::Active);
    // A track that nobody configured says nothing.
    assert_eq!(story.hears("track 7 fails"), "");
}

#[test]
fn who_needs_no_balancer_has_no_lease_to_lose() {
    let mut story = Story::active(Settings { balancer: Balancer::NotAsked, ..settings() });
    assert_eq!(story.hears("lease lost"), "");
    assert_eq!(story.machine.role(), Role::Active);
}

#[test]
fn tracker_clamp_1_254() {
    let weights = [Weight::Takes(253), Weight::Adds(253), Weight::Adds(10), Weight::Takes(10)];
    let tracked = |base: u8, results: &[&str]| {
        let settings = Settings { priority: priority(base), tracks: weights.into(), ..settings() };
        let mut story = Story::of(settings);
        for result in results {
            story.hears(&format!("track {result}"));
        }
        story.machine.priority().get()
    };
    assert_eq!(tracked(100, &[]), 100);
    assert_eq!(tracked(100, &["2 passes"]), 110);
    assert_eq!(tracked(100, &["2 fails"]), 100);
    assert_eq!(tracked(100, &["3 fails"]), 90);
    assert_eq!(tracked(100, &["3 passes"]), 100);
    assert_eq!(tracked(100, &["2 passes", "3 fails"]), 100);
    assert_eq!(tracked(100, &["2 passes", "2 fails"]), 100);
    assert_eq!(tracked(100, &["0 fails"]), 1);
    assert_eq!(tracked(100, &["1 passes"]), 254);
    // What is over the top is not lost: the sum is clamped, not its parts.
    assert_eq!(tracked(100, &["0 fails", "1 passes"]), 100);
    assert_eq!(tracked(255, &["0 fails"]), 255);
    assert_eq!(tracked(254, &["2 passes"]), 254);
}

#[test]
fn tracks_move_the_timer_and_what_is_heeded() {
    let mut story = Story::started(preempting(0));
    story.at(1000).hears("heard 90 from 9");
    assert_eq!(story.hears("track 0 fails"), "priority 100 -> 80");
    // 3,687.5 ms after it began to listen, and 90 is the better one now.
    assert_eq!(story.machine.next_wakeup(), Some(Duration::from_micros(3_687_500)));
    story.at(1500).hears("heard 90 from 9");
    assert_eq!(story.machine.next_wakeup(), Some(Duration::from_micros(5_187_500)));
    // An Active router says so with its next advert.
    let mut story = Story::active(settings());
    story.hears("track 0 fails");
    story.done.clear();
    story.runs(4700);
    assert!(story.told().contains("4609 advertise 80"));
}

#[test]
fn who_hands_over_yields_until_nobody_else_leads() {
    let mut story = Story::active(Settings { priority: priority(200), ..preempting(0) });
    story.runs(4000);
    let done = story.hears("hand over");
    assert_eq!(done, "remove, resign, yields to others, Active -> Backup: handed over");
    assert_eq!(story.hears("hand over"), "");
    // Another takes over, and is let, though lesser.
    for at in (4500..10_000).step_by(1000) {
        story.runs(at).hears("heard 100 from 9");
    }
    assert_eq!(story.machine.role(), Role::Backup);
    let mut taken_back = Story { machine: story.machine.clone(), now: story.now, done: vec![] };
    // When that one is gone this one leads, as itself.
    story.hears("heard 0 from 9");
    story.done.clear();
    story.runs(11_000);
    let active = "10496 advertise 200, add, announce 3, Backup -> Active: 192.0.2.9 resigned\n";
    assert!(story.told().starts_with(active), "{:?}", story.machine.role());
    for at in (11_500..15_000).step_by(1000) {
        story.runs(at).hears("heard 100 from 9");
    }
    assert_eq!(story.machine.role(), Role::Active);

    // And yields no more, whoever comes and goes.
    story.hears("heard 250 from 1");
    for at in (15_500..20_000).step_by(1000) {
        story.runs(at).hears("heard 100 from 9");
    }
    assert_eq!(story.machine.role(), Role::Active);

    // Or when it is taken back, by the rules that are configured.
    assert_eq!(taken_back.hears("take back"), "yields no more");
    assert_eq!(taken_back.hears("take back"), "");
    for at in (10_500..15_000).step_by(1000) {
        taken_back.runs(at).hears("heard 100 from 9");
    }
    assert_eq!(taken_back.machine.role(), Role::Active);
}

#[test]
fn who_hands_over_to_nobody_leads_again() {
    let mut story = Story::active(settings());
    story.runs(4000).hears("hand over");
    story.done.clear();
    story.runs(7_900);
    assert_eq!(story.machine.role(), Role::Backup);
    // Last of all: three intervals and the skew of 1.
    story.runs(8_000);
    assert_eq!(story.machine.role(), Role::Active);
}

#[test]
fn news_are_numbered_without_gaps() {
    let mut story = Story::of(settings());
    for event in ["startup", "lease lost", "track 0 fails", "lease held", "shutdown", "startup"] {
        story.now += millis(10);
        story.hears(event);
    }
    let news: Vec<(u64, Duration)> = story
        .done
        .iter()
        .filter_map(|(at, action)| match action {
            Action::Tell(News { number, at: told, .. }) => {
                assert_eq!(at, told);
                Some((*number, *told))
            }
            _ => None,
        })
        .collect();
    let expected: Vec<(u64, Duration)> =
        (1..=6).map(|number| (number, millis(number * 10))).collect();
    assert_eq!(news, expected);
    assert_eq!(story.machine.since(), millis(60));
}
