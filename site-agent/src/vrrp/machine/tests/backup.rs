//! A Backup over time: whom it heeds, how long it waits, what it asks for. Names of cases are those of the conformance
//! list.

use super::super::timers::Timing;
use super::*;
use crate::vrrp::machine::action::Role;

#[test]
fn startup_listen_first() {
    let mut story = Story::of(settings());
    story.at(1000).hears("startup");
    story.runs(4609);
    assert_eq!(story.told(), "1000 remove, Initialize -> Backup: started\n");
    story.runs(4700);
    let active = "4609 advertise 100, add, announce 3, Backup -> Active: nobody leads\n";
    assert_eq!(story.told(), active);

    // The owner too, though RFC 9568 §6.4.1 has it Active at once.
    let mut story = Story::started(owner());
    story.runs(3003);
    assert_eq!(story.told(), "0 remove, Initialize -> Backup: started\n");
    assert_eq!(story.sleeps(), "advertise 255, add, announce 3, Backup -> Active: nobody leads");
    assert_eq!(story.now, Duration::from_nanos(3_003_906_250));
}

#[test]
fn a_link_that_has_yet_to_settle_is_listened_to_for_longer() {
    let mut story = Story::of(settings());
    story.hears("startup settling 5000");
    story.runs(8609);
    assert_eq!(story.machine.role(), Role::Backup);
    story.runs(8610);
    assert_eq!(story.machine.role(), Role::Active);
    // Also by whoever was unfit meanwhile, and by whoever hears another in this time: the next beginning is its own.
    let mut story = Story::of(settings());
    story.hears("link down");
    story.hears("startup settling 5000");
    story.at(4000).hears("link up");
    story.runs(8609);
    assert_eq!(story.machine.role(), Role::Backup);
    story.runs(8610);
    assert_eq!(story.machine.role(), Role::Active);
}

#[test]
fn skew_table() {
    let of = |version, centiseconds| Timing {
        version,
        interval: interval(centiseconds),
        down_adverts: NonZeroU8::new(3).unwrap(),
    };
    for level in 1..=255 {
        let rest = 256 - u64::from(level);
        for centiseconds in [1, 3, 10, 40, 100, 4095] {
            let timing = of(Version::V3, centiseconds);
            let nanos = u64::from(centiseconds) * 10_000_000;
            let skew = Duration::from_nanos(nanos * rest / 256);
            assert_eq!(timing.skew(priority(level)), skew, "{level}");
            let down = Duration::from_nanos(nanos * 3) + skew;
            assert_eq!(timing.down(priority(level)), down, "{level}");
        }
        // Version 2 skews by parts of a second, whatever the interval.
        let timing = of(Version::V2, 500);
        let skew = Duration::from_nanos(1_000_000_000 * rest / 256);
        assert_eq!(timing.skew(priority(level)), skew);
        assert_eq!(timing.down(priority(level)), millis(15_000) + skew);
    }
    let skew =
        |centiseconds, level| of(Version::V3, centiseconds).skew(priority(level)).as_micros();
    assert_eq!((skew(100, 100), skew(100, 200)), (609_375, 218_750));
    assert_eq!((skew(40, 100), skew(10, 200), skew(3, 200)), (243_750, 21_875, 6_562));
    let five = Timing { down_adverts: NonZeroU8::new(5).unwrap(), ..of(Version::V3, 40) };
    assert_eq!(five.down(priority(100)).as_micros(), 2_243_750);
}

#[test]
fn prio0_as_backup_skew() {
    let mut story = Story::started(settings());
    story.at(1000).hears("heard 200 from 1");
    story.at(2000).hears("heard 0 from 1");
    story.done.clear();
    story.runs(2609);
    assert_eq!(story.told(), "");
    story.runs(2610);
    let active = "2609 advertise 100, add, announce 3, Backup -> Active: 192.0.2.1 resigned\n";
    assert_eq!(story.told(), active);
    // By the interval of whoever resigned.
    let mut story = Story::started(settings());
    story.at(1000).hears("heard 200 from 1 every 40");
    story.at(1100).hears("heard 0 from 1 every 40");
    assert_eq!(story.machine.next_wakeup(), Some(Duration::from_micros(1_343_750)));
}

#[test]
fn only_who_was_active_resigns() {
    let mut story = Story::started(settings());
    story.at(1000).hears("heard 200 from 1");
    story.at(1100).hears("heard 0 from 9");
    assert_eq!(story.machine.next_wakeup(), Some(Duration::from_micros(4_609_375)));
    // Who has heard nobody yet listens on: another one may lead.
    let mut story = Story::started(settings());
    story.at(1100).hears("heard 0 from 9");
    assert_eq!(story.machine.next_wakeup(), Some(Duration::from_micros(3_609_375)));
    // A lesser one that is not heeded was Active all the same.
    let mut story = Story::started(preempting(0));
    story.at(1000).hears("heard 50 from 9");
    story.at(1100).hears("heard 0 from 9");
    assert_eq!(story.machine.next_wakeup(), Some(Duration::from_micros(1_709_375)));
}

#[test]
fn preempt_off_keeps() {
    let mut story = Story::started(settings());
    for at in (500..30_000).step_by(1000) {
        story.runs(at).hears("heard 50 from 9");
    }
    assert_eq!(story.told(), "0 remove, Initialize -> Backup: started\n");
    // The owner is not asked (RFC 9568 §6.1).
    let mut story = Story::started(owner());
    for at in (500..4_000).step_by(1000) {
        story.runs(at).hears("heard 50 from 9");
    }
    assert_eq!(story.machine.role(), Role::Active);
}

#[test]
fn preempt_takes_over_when_the_timer_runs_out() {
    let mut story = Story::started(preempting(0));
    for at in (500..5_000).step_by(1000) {
        story.runs(at).hears("heard 50 from 9");
    }
    let told = story.told();
    let active = "3609 advertise 100, add, announce 3, Backup -> Active: nobody leads\n";
    assert!(told.contains(active), "{told}");
    // Nobody takes over from an equal, whatever its address.
    let mut story = Story::started(preempting(0));
    for at in (500..30_000).step_by(1000) {
        story.runs(at).hears("heard 100 from 1");
    }
    assert_eq!(story.machine.role(), Role::Backup);
}

#[test]
fn preempt_delay_start_and_reset() {
    let mut story = Story::started(preempting(10_000));
    let mut hear = |times: std::ops::Range<u64>, claim: &str| {
        for at in times.step_by(1000) {
            story.runs(at).hears(claim);
        }
        story.machine.role()
    };
    // It begins with the first advert of a lesser one,
    assert_eq!(hear(500..9_000, "heard 50 from 9"), Role::Backup);
    // begins anew after a better one,
    assert_eq!(hear(9_500..10_000, "heard 200 from 1"), Role::Backup);
    assert_eq!(hear(10_500..20_000, "heard 50 from 9"), Role::Backup);
    // and when it is over the timer runs: from 19.5 s, when the last advert was heeded, for 3,609 ms.
    assert_eq!(hear(20_500..23_000, "heard 50 from 9"), Role::Backup);
    assert_eq!(hear(23_500..23_501, "heard 50 from 9"), Role::Active);
    // Whoever dies in the meantime is replaced as ever.
    let mut story = Story::started(preempting(10_000));
    story.at(500).hears("heard 50 from 9");
    story.runs(4_200);
    assert_eq!(story.machine.role(), Role::Active);
}

#[test]
fn interval_adoption_then_reset_on_active() {
    let mut story = Story::started(settings());
    story.at(100);
    assert_eq!(story.hears("heard 200 from 1 every 200"), "adverts come every 2000 ms");
    assert_eq!(story.hears("heard 200 from 1 every 200"), "");
    // Three times two seconds, and a skew of that.
    assert_eq!(story.machine.next_wakeup(), Some(Duration::from_micros(7_318_750)));
    story.sleeps();
    assert_eq!(story.machine.role(), Role::Active);
    story.done.clear();
    story.runs(9_400);
    story.done.retain(|(_, action)| matches!(action, Action::Advertise(_)));
    assert_eq!(story.told(), "8318 advertise 100\n9318 advertise 100\n");
    // And whoever steps down waits by the winner's.
    story.hears("heard 200 from 1 every 50");
    assert_eq!(
        story.machine.next_wakeup(),
        Some(millis(9_400) + Duration::from_nanos(1_804_687_500))
    );
}

#[test]
fn a_backup_that_slept_has_heard_nothing() {
    // Due at 3,609 ms. As late as an interval it takes over, as it may have been slow; later than that it was deaf.
    let mut story = Story::started(settings());
    story.now = Duration::from_micros(4_609_375);
    story.hears("tick");
    assert_eq!(story.machine.role(), Role::Active);
    let mut story = Story::started(settings());
    story.now = Duration::from_micros(4_609_376);
    assert_eq!(story.hears("tick"), "");
    assert_eq!(story.machine.next_wakeup(), Some(story.now + Duration::from_micros(3_609_375)));
    // Also one that asks for a witness.
    let mut story = Story::started(asking());
    story.sleeps();
    story.sleeps();
    story.at(20_000).hears("witnessed");
    assert_eq!(story.machine.role(), Role::Backup);
}

#[test]
fn a_witness_is_asked_for_before_it_is_needed() {
    let mut story = Story::started(asking());
    // An interval before the timer runs out.
    story.runs(2610);
    let mut answered = Story { machine: story.machine.clone(), now: story.now, done: vec![] };
    assert_eq!(story.told(), "0 remove, Initialize -> Backup: started\n2609 ask\n");
    answered.hears("witnessed");
    answered.runs(3700);
    let active = "3609 advertise 100, add, announce 3, Backup -> Active: nobody leads\n";
    assert_eq!(answered.told(), active);

    // Without an answer it stays Backup and says so, and asks on.
    story.runs(6000);
    let isolated = "3609 ask\n4609 nobody leads and no witness answers, ask\n5609 ask\n";
    assert_eq!(story.told(), isolated);
    assert_eq!(story.machine.role(), Role::Backup);
    let active = "advertise 100, add, announce 3, Backup -> Active: nobody leads";
    assert_eq!(story.hears("witnessed"), active);
}

#[test]
fn a_witness_seen_is_good_for_two_seconds() {
    let seen = |at: u64| {
        let mut story = Story::started(asking());
        story.runs(at).hears("witnessed");
        story.runs(3700);
        story.machine.role()
    };
    assert_eq!(seen(1609), Role::Backup);
    assert_eq!(seen(1610), Role::Active);
    // Of one that resigns, at once: the skew is short.
    let mut story = Story::started(asking());
    story.at(1000).hears("heard 200 from 1");
    assert_eq!(story.hears("heard 0 from 1"), "ask");
    story.at(1010).hears("witnessed");
    story.runs(1610);
    assert_eq!(story.machine.role(), Role::Active);
    // Who is heard meanwhile is heeded.
    let mut story = Story::started(asking());
    story.runs(5000).hears("heard 50 from 9");
    assert_eq!(story.hears("witnessed"), "");
    assert_eq!(story.machine.role(), Role::Backup);
}

#[test]
fn a_lesser_one_that_is_not_heeded_leaves_a_claim_as_it_is() {
    let preempt = Preempt::After(Duration::ZERO);
    let mut story = Story::started(Settings { preempt, ..asking() });
    story.runs(5000).hears("heard 50 from 9");
    let active = "advertise 100, add, announce 3, Backup -> Active: nobody leads";
    assert_eq!(story.hears("witnessed"), active);
}
