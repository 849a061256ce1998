//! An Active router over time: adverts, rivals, addresses, standstills. Names of cases are those of the conformance list.

use super::*;
use crate::vrrp::machine::action::{Role, What};

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
    let expected = "20000 advertise 100, announce 3\n\
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
    // All of it, and once more.
    assert_eq!(count(|action| matches!(action, Action::Announce { .. })), 2);
    let contested =
        |action: &Action| matches!(action, Action::Tell(News { what: What::Contested { .. }, .. }));
    assert_eq!(count(contested), 1);
    // It is told again when it had been silent, and not of a single one: that may be a farewell.
    story.runs(25_000);
    assert!(story.hears("heard 50 from 9").starts_with("advertise 100"));
    story.runs(25_500);
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
fn owner_255_conflict() {
    // The higher address goes on as the RFC has it, and is told of it.
    let mut story = Story::active(owner());
    story.runs(5000);
    story.done.clear();
    let mut ended_at = None;
    for at in (5000..30_000).step_by(1000) {
        story.runs(at).hears("heard 255 from 1");
        if story.machine.role() != Role::Active {
            ended_at = Some(at);
            break;
        }
    }
    // Two adverts and 1.2 intervals later it gives way to the one that does not.
    assert_eq!(ended_at, Some(9000));
    let told = story.told();
    assert!(
        told.contains("6000 announce 1, 192.0.2.1 leads too, with 255, advertise 255"),
        "{told}"
    );
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
fn shutdown_sends_prio0() {
    let mut story = Story::active(settings());
    assert_eq!(story.hears("shutdown"), "remove, resign, Active -> Initialize: shut down");
    assert_eq!(story.machine.next_wakeup(), None);
    // A Backup has nothing to resign from.
    let mut story = Story::started(settings());
    assert_eq!(story.hears("shutdown"), "Backup -> Initialize: shut down");
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
fn a_clock_that_goes_back_is_not_followed() {
    let mut story = Story::active(settings());
    story.runs(10_000).hears("tick");
    let next = story.machine.next_wakeup();
    story.now = millis(2_000);
    assert_eq!(story.hears("tick"), "");
    assert_eq!(story.machine.next_wakeup(), next);
    // Nor does a Backup wait for less than it would.
    story.hears("heard 200 from 1");
    assert_eq!(story.machine.next_wakeup(), Some(Duration::from_micros(13_609_375)));
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
    let taken_off = "remove, an address was there that is not ours now, and taken off";
    for event in ["heard 200 from 1", "link down", "shutdown"] {
        story.hears(event);
        assert_eq!(story.hears("address found"), taken_off);
    }
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
fn other_settings_move_nobody() {
    let mut story = Story::active(settings());
    story.runs(4000);
    story.done.clear();
    let mut out = vec![];
    let faster = Settings { priority: priority(90), interval: interval(50), ..settings() };
    story.machine.adopt(faster, &[], &mut out);
    story.done.extend(out.into_iter().map(|action| (story.now, action)));
    assert_eq!(story.machine.role(), Role::Active);
    // The advert that was due comes when it was, and then they come as often as is configured now.
    story.runs(6000);
    story.done.retain(|(_, action)| matches!(action, Action::Advertise(_) | Action::Tell(_)));
    assert_eq!(
        story.told(),
        "4000 priority 100 -> 90\n4609 advertise 90\n5109 advertise 90\n5609 advertise 90\n"
    );
    // What adverts are sent from is not the config's to say.
    let elsewhere = Settings { address: address("192.0.2.250"), ..settings() };
    story.machine.adopt(elsewhere, &[], &mut vec![]);
    story.hears("heard 100 from 9");
    assert_eq!(story.machine.role(), Role::Backup);
}

#[test]
fn a_backup_goes_on_waiting_by_other_settings() {
    let mut story = Story::of(settings());
    story.hears("startup");
    story.runs(2000).hears("heard 200 from 9");
    let first = Settings { priority: priority(250), preempt: Preempt::Never, ..settings() };
    story.machine.adopt(first, &[], &mut vec![]);
    assert_eq!(story.machine.role(), Role::Backup);
    // Three adverts of the one that leads, and the skew of who waits now.
    assert_eq!(story.machine.next_wakeup(), Some(millis(5000) + Duration::from_nanos(23_437_500)));
}

/// Those who wait were told the longer interval last: an advert that comes as late as that is no standstill.
#[test]
fn adverts_may_come_many_times_as_often_by_other_settings() {
    let mut story = Story::active(Settings { interval: interval(100), ..settings() });
    story.runs(4000);
    let faster = Settings { interval: interval(10), ..settings() };
    story.machine.adopt(faster, &[], &mut vec![]);
    story.runs(6000);
    assert_eq!(story.machine.role(), Role::Active);
}

#[test]
fn other_tracks_move_nobody_before_they_were_looked_at() {
    let of = |tracks: &[Weight]| Settings { tracks: tracks.into(), ..settings() };
    let mut story = Story::active(of(&[]));
    let mut out = vec![];
    // The first track, and then one before it.
    story.machine.adopt(of(&[Weight::Fault]), &[None], &mut out);
    story.hears("lease held");
    assert_eq!(story.machine.role(), Role::Active);
    story.machine.adopt(
        of(&[Weight::Takes(50), Weight::Fault]),
        &[None, Some(TrackId(0))],
        &mut out,
    );
    story.hears("lease held");
    assert_eq!(story.machine.role(), Role::Active);
    // What was seen of one goes with it.
    story.hears("track 0 fails");
    assert_eq!(story.machine.priority(), priority(50));
    story.machine.adopt(
        of(&[Weight::Fault, Weight::Takes(50)]),
        &[Some(TrackId(1)), Some(TrackId(0))],
        &mut out,
    );
    story.hears("lease held");
    assert_eq!((story.machine.role(), story.machine.priority()), (Role::Active, priority(50)));
    story.hears("track 0 fails");
    assert_eq!(story.machine.role(), Role::Fault);
}

#[test]
fn what_others_do_again_and_again_is_told_of_now_and_then() {
    let mut story = Story::active(settings());
    story.runs(20_000);
    story.done.clear();
    // Two lesser ones in turn, each of them new again and again.
    for at in (20_000..29_000).step_by(100) {
        story.runs(at);
        for from in ["8", "9", "9", "8", "8"] {
            story.hears(&format!("heard 50 from {from}"));
        }
    }
    let told = story.done.iter().filter(|(_, action)| {
        matches!(action, Action::Tell(News { what: What::Contested { .. }, .. }))
    });
    assert_eq!(told.count(), 3);
    // And an Active one that changes its mind.
    let mut story = Story::started(settings());
    story.done.clear();
    for at in (1000..10_000).step_by(100) {
        let every = if at % 200 == 0 { "every 40" } else { "every 50" };
        story.runs(at).hears(&format!("heard 200 from 1 {every}"));
    }
    let told = story.done.iter().filter(|(_, action)| {
        matches!(action, Action::Tell(News { what: What::Adopted { .. }, .. }))
    });
    assert_eq!(told.count(), 3);
}

/// Who cannot be heard goes on while nobody else leads, and no longer.
#[test]
fn who_cannot_send_leads_until_another_one_does() {
    let mut story = Story::active(settings());
    for at in (5000..30_000).step_by(1000) {
        assert_eq!(story.runs(at).hears("unsent"), "");
    }
    story.hears("heard 50 from 9");
    assert_eq!(
        story.hears("unsent"),
        "remove, Active -> Fault: adverts cannot be sent, and another box leads"
    );
    let away = story.now;
    assert_eq!(story.machine.next_wakeup(), Some(away + MUTE));
    story.done.clear();
    story.runs((away + MUTE).as_millis() as u64);
    assert_eq!(story.machine.role(), Role::Backup, "{}", story.told());
}

#[test]
fn what_could_not_be_sent_before_or_was_sent_since_is_no_reason() {
    let mut story = Story::active(settings());
    story.runs(5000).hears("unsent");
    story.hears("sent");
    story.runs(60_000).hears("heard 50 from 9");
    assert!(!story.hears("unsent").contains("Fault"));
    // A hand-over ends it as well.
    story.hears("hand over");
    story.hears("take back");
    story.runs(90_000);
    assert_eq!(story.machine.role(), Role::Active);
    story.hears("heard 50 from 9");
    assert!(!story.hears("unsent").contains("Fault"));
}

/// Another config may be what lets adverts through.
#[test]
fn who_is_mute_tries_again_by_another_config() {
    let mut story = Story::active(settings());
    story.runs(5000).hears("unsent");
    story.runs(10_000).hears("heard 50 from 9");
    story.hears("unsent");
    assert_eq!(story.machine.role(), Role::Fault);
    story.machine.adopt(settings(), &[], &mut vec![]);
    story.hears("tick");
    assert_eq!(story.machine.role(), Role::Backup);
}

/// A link that was cut for a moment has learned where the other one is.
#[test]
fn a_contest_soon_after_an_announcement_has_one_of_its_own() {
    let mut story = Story::active(settings());
    story.runs(20_000).hears("heard 50 from 9");
    story.runs(20_500);
    assert_eq!(
        story.hears("heard 50 from 9"),
        "192.0.2.9 leads too, with 50, advertise 100, announce 1"
    );
    story.runs(20_550);
    assert_eq!(story.hears("heard 50 from 9"), "");
}
