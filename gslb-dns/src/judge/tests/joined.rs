//! What vantages see and what agents say, together: every cell of the table, what a service's capacity is for, and whose
//! word ends a drain.

use super::*;
use crate::health::board::{Board, Duty};
use crate::health::last_known::LastKnown;
use crate::health::overrides::{Glob, Order, Override};
use crate::ids::ServiceId;

fn check_of(world: &str, words: &str, expected: &str) {
    let mut story = Story::new(world, Held::default());
    story.run(words);
    assert_eq!(story.told(), expected, "{words}");
}

fn with_capacity() -> String {
    SITES.replace("[site.fra]", "[site.fra]\ncapacity = 2000")
}

#[test]
fn every_cell_of_the_table() {
    let seen = [
        ("up", "abc:fra+"),
        ("slow", "abc:fra~"),
        ("down", "abc:fra-"),
        // Held: nobody who counts is left to say anything.
        ("was up", "abc:fra+ abc:blind"),
        ("was slow", "abc:fra~ abc:blind"),
        ("was down", "abc:fra- abc:blind"),
        // Split: enough are heard, and no quorum of them says anything.
        ("up, and split", "abc:fra+ a:blind b:fra-"),
        ("down, and split", "abc:fra- a:blind b:fra+"),
    ];
    let unreachable = "down?unreachable_from_outside";
    let table = [
        ("serving", ["up", "up*0.5", unreachable, "up", "up", "up", "up", unreachable]),
        ("empty", ["down"; 8]),
        (
            "drained",
            [
                "up!drained",
                "up!drained",
                "down!drained",
                "up!drained",
                "up!drained",
                "down!drained",
                "up!drained",
                "down!drained",
            ],
        ),
        ("stale", ["up", "up*0.5", "down", "up?blind", "up*0.5?blind", "down?blind", "up", "down"]),
        ("nothing", ["up", "up*0.5", "down", "up", "up*0.5", "down", "up", "down"]),
    ];
    for (within, row) in table {
        for ((what, words), expected) in seen.iter().zip(row) {
            let mut story = Story::new(SITES, Held::default());
            story.run(&format!("{WELL} {words} in:fra={within}"));
            let told = story.told();
            let fra = told.split(' ').next().unwrap();
            assert_eq!(fra, format!("fra={expected}"), "{within}, {what}");
        }
    }
}

#[test]
fn who_was_never_seen_is_as_its_agents_say() {
    let others = "abc:iad+ abc:nrt+ 11s";
    check(others, "fra=down iad=up nrt=up");
    check(&format!("{others} in:fra=serving"), "fra=up iad=up nrt=up");
    check(&format!("{others} in:fra=empty"), "fra=down iad=up nrt=up");
    check(&format!("{others} in:fra=drained"), "fra=down!drained iad=up nrt=up");
    // It served lately: silence takes nobody out.
    check(&format!("{others} in:fra=serving in:fra=stale"), "fra=unknown?blind iad=up nrt=up");
    check(&format!("{others} in:fra=serving in:fra=nothing"), "fra=down iad=up nrt=up");
}

/// Its own word needs no other: neither the grace nor the cap is for it.
#[test]
fn what_is_empty_goes_at_once_and_takes_nothing_from_the_cap() {
    check("in:fra=empty", "fra=down iad=unknown nrt=unknown");
    check("in:fra=drained", "fra=unknown!drained iad=unknown nrt=unknown");
    check_after("in:fra=empty in:iad=empty", "fra=down iad=down nrt=up");
    // Of two that probes have down one may go, and what was drained is no matter.
    check_after("abc:fra- abc:iad-", "fra=up iad=down nrt=up");
    check_after("in:nrt=drained abc:fra- abc:iad-", "fra=up iad=down nrt=up!drained");
    check_after("in:fra=empty abc:iad- abc:nrt-", "fra=down iad=up nrt=down");
}

#[test]
fn a_return_from_within_is_gradual_too() {
    check_after("in:fra=serving in:fra=empty 60s in:fra=serving", "fra=up*0.25 iad=up nrt=up");
    check_after("in:fra=serving in:fra=empty 60s in:fra=serving 30s", "fra=up*0.5 iad=up nrt=up");
    check_after("in:fra=serving in:fra=empty 60s in:fra=serving 90s", "fra=up iad=up nrt=up");
    // It has flapped: first it waits.
    let flaps = "in:fra=serving in:fra=empty 9s in:fra=serving 9s in:fra=empty 9s in:fra=serving";
    check_after(flaps, "fra=down iad=up nrt=up");
    check_after(&format!("{flaps} 10s"), "fra=up*0.25 iad=up nrt=up");
    // Who has only ever served has nothing to come back from.
    check_after("in:fra=serving", "fra=up iad=up nrt=up");
}

#[test]
fn a_share_of_its_capacity_takes_a_share_of_its_clients() {
    let check = |words: &str, expected: &str| {
        check_of(&with_capacity(), &format!("{WELL} {words}"), expected);
    };
    check("in:fra=serving/2000", "fra=up iad=up nrt=up");
    check("in:fra=serving/500", "fra=up*0.25 iad=up nrt=up");
    check("in:fra=serving/9000", "fra=up iad=up nrt=up");
    check("in:fra=serving/0", "fra=up*0 iad=up nrt=up");
    check("in:fra=serving", "fra=up iad=up nrt=up");
    // Nobody said what that is a share of.
    check("in:iad=serving/1", "fra=up iad=up nrt=up");
    // The lesser of both.
    check("abc:fra~ in:fra=serving/500", "fra=up*0.25 iad=up nrt=up");
    check("abc:fra~ in:fra=serving/1500", "fra=up*0.5 iad=up nrt=up");
    check("abc:fra- 5s abc:fra+ in:fra=serving/200", "fra=up*0.1 iad=up nrt=up");
    // Probes' word is held back, the agents' is not.
    check(
        "abc:fra- abc:iad- in:fra=serving/500",
        "fra=up*0.25?unreachable_from_outside iad=down nrt=up",
    );
}

#[test]
fn a_capacity_that_nobody_tells_any_more_is_the_configured_one_in_ten_minutes() {
    for (seconds, share) in
        [(0, "*0.5"), (59, "*0.5"), (60, "*0.55"), (300, "*0.75"), (599, "*0.95"), (600, "")]
    {
        let words = format!("{WELL} in:fra=serving/1000 in:fra=stale {seconds}s");
        check_of(&with_capacity(), &words, &format!("fra=up{share} iad=up nrt=up"));
    }
    // It comes by time alone, and says when.
    let mut story = Story::new(&with_capacity(), Held::default());
    story.run(&format!("{WELL} in:fra=serving/1000 in:fra=stale"));
    story.now += Duration::from_millis(1);
    story.views();
    let next = story.judge.next_change().unwrap();
    assert!(next <= story.now + Duration::from_secs(60), "{next:?}");
}

/// nrt has an address of each family, which share what it can take.
#[test]
fn addresses_are_joined_one_by_one() {
    let world = SITES.replace("[site.nrt]", "[site.nrt]\ncapacity = 1000");
    let check =
        |words: &str, expected: &str| check_of(&world, &format!("{WELL} {words}"), expected);
    check("in:nrt=serving/500", "fra=up iad=up nrt=up");
    check("in:nrt=serving/250", "fra=up iad=up nrt=up*0.5");
    check("in:nrt6=empty", "fra=up iad=up nrt=up/");
    check("in:nrt4=drained", "fra=up iad=up nrt=up/");
    // What is drained is not answered either where the rest is down.
    let mut story = Story::new(&world, Held::default());
    story.run(&format!("{WELL} in:nrt4=drained in:nrt6=empty"));
    assert_eq!(story.told(), "fra=up iad=up nrt=down/");
    assert_eq!(&*story.views()[2].struck, ["192.0.2.3".parse::<IpAddr>().unwrap()]);
}

/// A site's addresses share what it can take, whichever service answers which of them.
#[test]
fn addresses_of_other_services_have_their_share() {
    let world = SITES
        .replace(
            "[site.fra]\nvips = [\"192.0.2.1\"]",
            "[site.fra]\ncapacity = 2000\nvips = [\"192.0.2.1\", \"192.0.2.9\"]",
        )
        .replace("sites = [\"fra\",", "sites = [{ site = \"fra\", vips = [\"192.0.2.1\"] },");
    check_of(&world, &format!("{WELL} in:fra=serving/1000"), "fra=up iad=up nrt=up");
    check_of(&world, &format!("{WELL} in:fra=serving/500"), "fra=up*0.5 iad=up nrt=up");
}

/// One of two checks is enough, or each must pass: the same holds for what agents say of their ports.
#[test]
fn ports_are_combined_as_checks_are() {
    let world = |key: &str| {
        SITES
            .replace("[service.", "[check.tls]\nkind = \"tls\"\nport = 443\n[service.")
            .replace("check = [\"web\"]", &format!("{key} = [\"web\", \"tls\"]"))
    };
    let told = |key: &str, first: State, second: State| {
        let mut story = Story::new(&world(key), Held::default());
        story.run(WELL);
        let now = story.now;
        let views = story.inside.entry("fra".into()).or_default();
        for (port, state) in [(80, first), (443, second)] {
            let at = SocketAddr::new("192.0.2.1".parse().unwrap(), port);
            views.insert(at, view_within(now, None, state, None));
        }
        // A port where nobody looks.
        let at = SocketAddr::new("192.0.2.1".parse().unwrap(), 25);
        views.insert(at, view_within(now, None, State::Empty, None));
        story.heard += 1;
        let told = story.told();
        told.split(' ').next().unwrap().to_owned()
    };
    use State::{Drained, Empty, Serving, Stale};
    assert_eq!(told("check", Serving, Serving), "fra=up");
    assert_eq!(told("check", Serving, Empty), "fra=down");
    assert_eq!(told("check", Empty, Drained), "fra=up!drained");
    assert_eq!(told("check", Stale, Serving), "fra=up");
    assert_eq!(told("any", Serving, Empty), "fra=up");
    assert_eq!(told("any", Empty, Empty), "fra=down");
    assert_eq!(told("any", Drained, Serving), "fra=up");
    assert_eq!(told("any", Empty, Stale), "fra=up");
}

#[test]
fn the_words_say_what_both_say() {
    let why = |words: &str| {
        let mut story = Story::new(&with_capacity(), Held::default());
        story.run(&format!("{WELL} {words}"));
        story.views()[0].why.to_string()
    };
    assert_eq!(
        why("in:fra=serving/500"),
        "3 of 3 vantages see it up; its agents serve there, with 2 of 3 servers and 25 % of its capacity"
    );
    assert_eq!(
        why("in:fra=empty"),
        "3 of 3 vantages see it up; its agents have nothing to serve, 2 of 3 servers are up"
    );
    assert_eq!(
        why("abc:fra- in:fra=serving"),
        "3 of 3 vantages see it down; its agents serve there, with 2 of 3 servers"
    );
    assert_eq!(
        why("abc:blind in:fra=serving"),
        "no vantage says anything of it; its agents serve there, with 2 of 3 servers"
    );
    let mut story = Story::new(SITES, Held::default());
    story.run(&format!("{WELL} in:nrt6=drained"));
    assert_eq!(
        &*story.views()[2].why,
        "3 of 3 vantages see it up; 1 of its addresses are struck; its agents have it drained"
    );
    assert_eq!(why("in:fra=stale"), "3 of 3 vantages see it up; no word of its agents holds");
}

/// Of fra, whose agents drained it at 100,011 s, after an order given at such a second.
fn check_order(order: Order, second: i64, expected: &str) {
    let mut story = Story::new(SITES, Held::default());
    story.run(&format!("{WELL} in:fra=drained"));
    let order = Override {
        site: Glob::new("fra"),
        service: Glob::new("*"),
        order,
        who: "alice".into(),
        why: "test".into(),
        since: Timestamp::from_second(second).unwrap(),
        until: None,
    };
    let views = story.judgement().views;
    let now = Timestamp::from_second(200_000).unwrap();
    let board = Board::of_views(1, &story.world, &views, &[&order], &LastKnown::default(), now);
    let fra = &board.of_service(ServiceId(0)).standings[0];
    let duty = if fra.duty == Duty::Drained { "drained" } else { "serving" };
    let why = if fra.duty_why.is_empty() { "" } else { ": " };
    assert_eq!(format!("{} {duty}{why}{}", fra.health, fra.duty_why), expected);
}

#[test]
fn the_last_word_on_a_drain_holds() {
    let of_agents = "up drained: its agents have it drained";
    check_order(Order::Undrain, 100_010, of_agents);
    check_order(Order::Undrain, 100_011, "up serving");
    check_order(Order::Undrain, 150_000, "up serving");
    check_order(Order::Drain { over: 0 }, 100_000, "up drained: test, says alice");
    check_order(Order::Force(crate::health::board::Health::Up), 150_000, of_agents);
}
