//! What a router does over time. Names of cases are those of the conformance list.

use super::super::timers::Timing;
use super::*;
use crate::vrrp::machine::action::{Role, What};

fn owner() -> Settings {
    Settings { priority: Priority::OWNER, ..settings() }
}

fn preempting(delay: u64) -> Settings {
    Settings { preempt: Preempt::After(millis(delay)), ..settings() }
}

fn asking() -> Settings {
    Settings { witness: Witness::Seen(millis(2000)), ..settings() }
}

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
    // Who has heard nobody takes anybody's word.
    let mut story = Story::started(settings());
    story.at(1100).hears("heard 0 from 9");
    assert_eq!(story.machine.next_wakeup(), Some(Duration::from_micros(1_709_375)));
    // A lesser one that is not heeded was Active all the same.
    let mut story = Story::started(preempting(0));
    story.at(1000).hears("heard 50 from 9");
    story.at(1100).hears("heard 0 from 9");
    assert_eq!(story.machine.next_wakeup(), Some(Duration::from_micros(1_709_375)));
}

#[test]
fn prio0_as_active_readvert() {
    let mut story = Story::active(settings());
    story.runs(4000);
    assert_eq!(story.hears("heard 0 from 9"), "advertise 100");
    story.done.clear();
    // The next one is an interval after that.
    story.runs(5000);
    assert_eq!(story.told(), "4109 renew\n4609 renew, announce 1\n5000 advertise 100\n");
}

#[test]
fn equal_prio_addr_tiebreak_both_ways() {
    let active = Story::active(Settings { address: address("192.0.2.129"), ..settings() });
    let hears = |from: &str| {
        let mut story = Story { machine: active.machine.clone(), now: millis(4000), done: vec![] };
        story.hears(&format!("heard 100 from {from}"));
        story.machine.role()
    };
    // As unsigned octets, from the first on: 130 is more than 129, and 3 is less, signed or not, as text or not.
    assert_eq!(
        (hears("130"), hears("3"), hears("128")),
        (Role::Backup, Role::Active, Role::Active)
    );
    // A higher priority is more than any address, and a lower one less.
    let mut story = Story::active(settings());
    story.hears("heard 99 from 250");
    assert_eq!(story.machine.role(), Role::Active);
    story.hears("heard 101 from 1");
    assert_eq!(story.machine.role(), Role::Backup);
}

#[test]
fn lower_prio_readvert_and_garp() {
    let mut story = Story::active(settings());
    story.runs(20_000).hears("heard 50 from 9");
    story.runs(25_500);
    story.done.retain(|(at, action)| *at >= millis(20_000) && *action != Action::RenewAddresses);
    let expected = "20000 192.0.2.9 leads too, with 50, advertise 100, announce 3\n\
                    20609 advertise 100\n21000 announce 1\n21609 advertise 100\n22609 advertise 100\n\
                    23609 advertise 100\n24609 advertise 100\n25000 announce 1\n";
    assert_eq!(story.told(), expected);
}

#[test]
fn two_that_both_think_they_win_make_no_storm() {
    let mut story = Story::active(settings());
    story.runs(20_000);
    story.done.clear();
    for at in 20_000..21_000 {
        story.runs(at).hears("heard 50 from 9");
    }
    let count =
        |is: fn(&Action) -> bool| story.done.iter().filter(|(_, action)| is(action)).count();
    assert_eq!(count(|action| matches!(action, Action::Advertise(_))), 4 + 1);
    assert_eq!(count(|action| matches!(action, Action::Announce { .. })), 1);
    let contested =
        |action: &Action| matches!(action, Action::Tell(News { what: What::Contested { .. }, .. }));
    assert_eq!(count(contested), 1);
    // It is told again when it had been silent.
    story.runs(25_000);
    assert!(story.hears("heard 50 from 9").starts_with("192.0.2.9 leads too"));
}

#[test]
fn higher_prio_demotes_and_last_advert() {
    let mut story = Story::active(settings());
    story.runs(4000);
    let done = story.hears("heard 200 from 1");
    assert_eq!(done, "remove, advertise 100, Active -> Backup: 192.0.2.1 leads with 200");
    // And it waits for that one now.
    story.done.clear();
    story.at(5000).hears("heard 0 from 1");
    story.runs(5610);
    let active = "5609 advertise 100, add, announce 3, Backup -> Active: 192.0.2.1 resigned\n";
    assert_eq!(story.told(), active);
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
fn owner_255_conflict() {
    // The higher address goes on as the RFC has it, and is told of it.
    let mut story = Story::active(owner());
    story.runs(5000);
    story.done.clear();
    let mut at = 5000;
    loop {
        story.runs(at).hears("heard 255 from 1");
        if story.machine.role() != Role::Active {
            break;
        }
        at += 1000;
    }
    // Two adverts and 1.2 intervals later it gives way to the one that does not.
    assert_eq!(at, 9000);
    let told = story.told();
    assert!(told.contains("5000 192.0.2.1 leads too, with 255, advertise 255"), "{told}");
    let usurped = "Active -> Backup: 192.0.2.1 leads as owner too, and does not yield\n";
    assert!(told.ends_with(&format!("remove, advertise 254, {usurped}")), "{told}");
    assert_eq!(story.machine.priority(), Priority::HIGHEST);
    // While the other one leads it is no owner; when it leads again, it is.
    story.runs(10_000).hears("heard 255 from 1");
    story.runs(20_000);
    assert_eq!((story.machine.role(), story.machine.priority()), (Role::Active, Priority::OWNER));

    // The lower address steps down at once, and stays there.
    let mut story = Story::active(owner());
    let done = story.hears("heard 255 from 3");
    assert!(done.ends_with("Active -> Backup: 192.0.2.3 leads with 255"), "{done}");
    assert_eq!(story.machine.priority(), Priority::OWNER);
    // One that yields in time is no conflict.
    let mut story = Story::active(owner());
    story.runs(5000).hears("heard 255 from 1");
    story.runs(6000).hears("heard 255 from 1");
    story.runs(30_000).hears("heard 255 from 1");
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
fn shutdown_sends_prio0() {
    let mut story = Story::active(settings());
    assert_eq!(story.hears("shutdown"), "remove, resign, Active -> Initialize: shut down");
    assert_eq!(story.machine.next_wakeup(), None);
    // A Backup has nothing to resign from.
    let mut story = Story::started(settings());
    assert_eq!(story.hears("shutdown"), "Backup -> Initialize: shut down");
}

#[test]
fn fault_enter_leave() {
    let tracks: Box<[Weight]> = [Weight::Fault, Weight::Fault].into();
    let mut story = Story::of(Settings { tracks, ..settings() });
    // Nothing is taken for granted before it was looked at.
    assert_eq!(story.hears("startup"), "remove, Initialize -> Fault: track 0 does not pass");
    assert_eq!(story.hears("track 0 passes"), "");
    assert_eq!(story.hears("track 1 passes"), "Fault -> Backup: fit again");
    story.runs(4000);
    assert_eq!(story.machine.role(), Role::Active);
    let done = story.hears("track 1 fails");
    assert_eq!(done, "remove, resign, Active -> Fault: track 1 does not pass");
    assert_eq!(story.hears("lease lost"), "");
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
fn who_needs_no_proxy_has_no_lease_to_lose() {
    let mut story = Story::active(Settings { proxy: Proxy::NotAsked, ..settings() });
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
fn trackers_move_the_timer_and_what_is_heeded() {
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
fn stall_step_down() {
    // Nobody can be Active before three intervals and the skew of 255 have passed since its last advert.
    let last = Duration::from_micros(3_609_375);
    let rival = Duration::from_nanos(3_003_906_250);
    let mut story = Story::active(settings());
    story.now = last + rival - Duration::from_nanos(1);
    assert!(story.hears("tick").starts_with("advertise 100, "));
    for event in ["tick", "heard 50 from 9", "address lost", "track 0 passes", "hand over"] {
        let mut story = Story::active(settings());
        story.now = last + rival;
        let done = story.hears(event);
        let down = "remove, Active -> Backup: stood still for 2503 ms, others may lead";
        assert!(done.starts_with(down), "{event}: {done}");
        assert!(!done.contains("advertise"), "{event}: {done}");
        assert_eq!(story.machine.role(), Role::Backup);
    }
    // Whoever has slept for a day listens as everybody does, and leads again.
    let mut story = Story::active(settings());
    story.at(86_400_000).hears("tick");
    story.done.clear();
    story.runs(86_403_700);
    let active = "86403609 advertise 100, add, announce 3, Backup -> Active: nobody leads\n";
    assert_eq!(story.told(), active);
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
fn a_clock_that_goes_back_is_not_followed() {
    let mut story = Story::active(settings());
    story.runs(10_000);
    let next = story.machine.next_wakeup();
    story.now = millis(2_000);
    assert_eq!(story.hears("tick"), "");
    assert_eq!(story.machine.next_wakeup(), next);
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

#[test]
fn an_address_is_put_back_once() {
    let mut story = Story::active(settings());
    story.runs(4000);
    let put_back = "add, announce 1, an address was taken from us and put back";
    assert_eq!(story.hears("address lost"), put_back);
    story.done.clear();
    story.runs(13_999);
    assert_eq!(story.machine.role(), Role::Active);
    let mut later = Story { machine: story.machine.clone(), now: millis(14_000), done: vec![] };
    assert_eq!(later.runs(14_000).hears("address lost"), put_back);

    let fought = "remove, resign, Active -> Fault: somebody takes our addresses away";
    assert_eq!(story.hears("address lost"), fought);
    story.done.clear();
    story.runs(24_000);
    assert_eq!(story.told(), "23999 Fault -> Backup: fit again\n");
}

#[test]
fn only_an_active_router_has_addresses() {
    let mut story = Story::active(settings());
    assert_eq!(story.hears("address found"), "");
    story.hears("heard 200 from 1");
    assert_eq!(story.hears("address found"), "remove");
    story.hears("link down");
    assert_eq!(story.hears("address found"), "remove");
    story.hears("shutdown");
    assert_eq!(story.hears("address found"), "remove");
}

#[test]
fn addresses_are_renewed_four_times_a_lifetime() {
    let mut story = Story::active(Settings { interval: interval(1000), ..settings() });
    let first = story.now;
    story.done.clear();
    story.runs(u64::try_from(first.as_millis()).unwrap() + 9_000);
    let renewals: Vec<Duration> = story
        .done
        .iter()
        .filter(|(_, action)| *action == Action::RenewAddresses)
        .map(|(at, _)| *at - first)
        .collect();
    let expected: Vec<Duration> = (1..18).map(|number| millis(500) * number).collect();
    assert_eq!(renewals, expected);
}

#[test]
fn addresses_that_the_kernel_took_are_added_again() {
    let mut story = Story::active(settings());
    let renewed_at = story.now;
    story.now = renewed_at + millis(1999);
    assert_eq!(story.hears("tick"), "advertise 100, renew, announce 1");
    let mut story = Story::active(settings());
    story.now = renewed_at + millis(2000);
    assert_eq!(story.hears("tick"), "advertise 100, add, announce 1, announce 1");
}

#[test]
fn addresses_are_announced_again_and_refreshed() {
    let mut story =
        Story::active(Settings { refresh: Refresh::Every(millis(60_000)), ..settings() });
    let announced = |story: &mut Story| {
        story.done.retain(|(_, action)| matches!(action, Action::Announce { .. }));
        story.told()
    };
    story.runs(130_000);
    let expected = "4609 announce 1\n8609 announce 1\n68609 announce 1\n128609 announce 1\n";
    assert_eq!(announced(&mut story), expected);
    let mut story = Story::active(Settings { refresh: Refresh::Never, ..settings() });
    story.runs(130_000);
    assert_eq!(announced(&mut story), "4609 announce 1\n8609 announce 1\n");
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
