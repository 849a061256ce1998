//! The keeper under clocks that jump: no order expires, or is forgotten, for a clock that is wrong.

#![expect(clippy::unwrap_used, reason = "what a test cannot go on without may as well end it")]

mod clocks;
mod files;

use clocks::clocks;
use gslb_dns::config::{self, Config};
use gslb_dns::health::board::Duty;
use gslb_dns::ids::ServiceId;
use gslb_dns::keeper::{By, Keeper};
use gslb_dns::metrics::Metrics;
use gslb_dns::orders::OrderWords;
use jiff::{SignedDuration, Timestamp};

use files::Files;

const WORLD: &str = r#"
[zone."example.com"]
file = "example.com.zone"
[site.fra]
vips = ["198.51.100.10"]
[site.iad]
vips = ["192.0.2.10"]
[service."www.example.com"]
sites = ["fra", "iad"]
when_all_down = "open"
"#;
fn keeper(files: &Files, now: Timestamp) -> Keeper {
    let prepared = config::load(&files.node()).and_then(Config::prepare);
    let prepared = prepared.unwrap_or_else(|problems| panic!("{problems}"));
    Keeper::start(&prepared.node, prepared.ground, Metrics::new(vec![]).world, clocks(now))
}

fn drain_fra(keeper: &mut Keeper, lasts: Option<&str>, now: Timestamp) {
    let words = OrderWords {
        order: "drain".into(),
        site: "fra".into(),
        why: "test".into(),
        lasts: lasts.map(str::to_owned),
        ..OrderWords::default()
    };
    keeper.order(&words, &By::itself(), now).unwrap();
}

fn check(keeper: &mut Keeper, now: Timestamp, expected: Duty) {
    keeper.turn(clocks(now));
    let snapshot = keeper.published().load();
    assert_eq!(snapshot.board.of_service(ServiceId(0)).standings[0].duty, expected, "at {now}");
}

fn hours(of: Timestamp, hours: i64) -> Timestamp {
    of.checked_add(SignedDuration::from_hours(hours)).unwrap()
}

#[test]
fn a_clock_that_goes_back_ends_no_drain() {
    let files = Files::of(WORLD);
    let now: Timestamp = "2026-11-21T10:00:00Z".parse().unwrap();
    let mut one = keeper(&files, now);
    drain_fra(&mut one, None, now);
    for at in [hours(now, 1), hours(now, -1), Timestamp::UNIX_EPOCH, now] {
        check(&mut one, at, Duty::Drained);
    }
    drop(one);
    // Nor does a machine that starts in 1970 forget it.
    let mut again = keeper(&files, Timestamp::UNIX_EPOCH);
    check(&mut again, Timestamp::UNIX_EPOCH, Duty::Drained);
    // What is ordered meanwhile outranks it, whatever the clock says.
    let words = OrderWords {
        order: "undrain".into(),
        site: "fra".into(),
        why: "test".into(),
        ..OrderWords::default()
    };
    again.order(&words, &By::itself(), Timestamp::UNIX_EPOCH).unwrap();
    check(&mut again, Timestamp::UNIX_EPOCH, Duty::Serving);
    check(&mut again, now, Duty::Serving);
}

#[test]
fn a_term_is_counted_by_the_clock_and_holds_again_when_that_was_wrong() {
    let files = Files::of(WORLD);
    let now: Timestamp = "2026-11-21T10:00:00Z".parse().unwrap();
    let mut keeper = keeper(&files, now);
    drain_fra(&mut keeper, Some("30m"), now);
    check(&mut keeper, now, Duty::Drained);
    check(&mut keeper, hours(now, 1), Duty::Serving);
    check(&mut keeper, now, Duty::Drained);
    check(&mut keeper, hours(now, -1), Duty::Drained);
    check(&mut keeper, Timestamp::UNIX_EPOCH, Duty::Drained);
}

#[test]
fn whoever_touches_nothing_is_told_of_be_it_to_come_under_way_or_in_force() {
    let files = Files::of(WORLD);
    let now: Timestamp = "2026-11-21T10:00:00Z".parse().unwrap();
    let mut one = keeper(&files, now);
    let words = OrderWords {
        order: "drain".into(),
        site: "fra".into(),
        why: "test".into(),
        over: Some("4h".into()),
        ..OrderWords::default()
    };
    one.order(&words, &By::itself(), now).unwrap();
    assert_eq!(one.status(now).attention, [""; 0]);
    drop(one);
    let without_fra = WORLD.replace("\"fra\", ", "");
    files.put("world.toml", without_fra);
    let keeper = keeper(&files, now);
    for (at, state) in
        [(now, "5 % gone"), (hours(now, 2), "55 % gone"), (hours(now, 4), "in force")]
    {
        assert_eq!(keeper.overrides(at)[0].state.to_string(), state);
        let attention = keeper.status(at).attention;
        let told = "drain over 4h fra of 1@dns1 touches nothing: no such site of such a service";
        assert_eq!(attention, [told], "{state}");
    }
}

#[test]
fn a_refused_config_wants_attention_until_a_good_one_is_read() {
    let files = Files::of(WORLD);
    let now: Timestamp = "2026-11-21T10:00:00Z".parse().unwrap();
    let mut keeper = keeper(&files, now);
    assert_eq!(keeper.status(now).attention, [""; 0]);
    keeper.refuse("world.toml:1: is no TOML", &By::signal(), now);
    let told = "the config on disk is refused, the one before answers: world.toml:1: is no TOML";
    assert_eq!(keeper.status(now).attention, [told]);
    let next = config::load(&files.node()).and_then(Config::prepare);
    keeper.adopt(next.ok().unwrap(), &By::signal(), clocks(now));
    assert_eq!(keeper.status(now).attention, [""; 0]);
}
