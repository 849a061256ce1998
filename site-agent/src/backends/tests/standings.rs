//! Pools: who takes requests, in panic and without; capacity, and what is reported.

use super::*;

/// Servers with what was said of each (after a colon, `;` between) and settings; expected: takers, mode, state, usable
/// of whole capacity.
fn check(settings: &str, servers: &str, expected: &str) {
    let mut told = Settings::default();
    for word in settings.split_whitespace() {
        match word.split_once('=') {
            Some(("panic", percent)) => told.panic = NonZeroU8::new(percent.parse().unwrap()),
            None if word == "all-backups" => told.backups = Backups::All,
            _ => panic!("{word}"),
        }
    }
    let parts: Vec<(&str, &str)> = servers
        .split(", ")
        .filter(|server| !server.is_empty())
        .map(|server| server.split_once(": ").unwrap_or((server, "")))
        .collect();
    let mut pool = Pool::new(told, parts.iter().map(|(server, _)| configured(server)).collect());
    for (place, (_, events)) in parts.iter().enumerate() {
        for text in events.split("; ").filter(|text| !text.is_empty()) {
            pool.on_event(ZERO, ServerId(place), event(text));
        }
    }
    let standing = pool.standing(ZERO);
    let takers: Vec<_> =
        standing.takers.iter().map(|taker| pool.servers[taker.id.0].name()).collect();
    let Capacity { usable, whole, unit: _ } = standing.capacity;
    let found =
        format!("{} {:?} {:?} {usable}/{whole}", takers.concat(), standing.mode, standing.state);
    assert_eq!(found.trim_start(), expected, "{settings}: {servers}");
}

#[test]
fn backups_serve_when_no_active_server_does() {
    check("", "a: pass, b: pass, c backup: pass", "ab Active Serving 2000/2000");
    check("", "a: fail, b: pass, c backup: pass", "b Active Serving 1000/2000");
    check("", "a: fail, b: drain, c backup: pass, d backup: pass", "c Backup Serving 1000/2000");
    check("", "a: fail, c backup: fail, d backup: pass", "d Backup Serving 1000/1000");
    check("all-backups", "a: fail, c backup: pass, d backup: pass", "cd Backup Serving 2000/1000");
    check("", "c backup: pass", "c Backup Serving 1000/1000");
    check("", "a: fail, c backup: fail", "Nobody Empty 0/1000");
    check("", "", "Nobody Empty 0/0");
}

#[test]
fn who_was_never_looked_at_serves_while_nobody_is_known_to() {
    check("", "a, b", "ab Starting Empty 0/2000");
    // One look that failed is enough to know of somebody better, as HAProxy's new server is down by it.
    check("", "a: unknown, b: fail", "Nobody Empty 0/2000");
    check("", "a: unknown, b", "b Starting Empty 0/2000");
    check("", "a: unknown, c backup: pass", "c Backup Serving 1000/1000");
    // Whoever has passed is better.
    check("", "a: pass, b", "a Active Serving 1000/2000");
    check("", "a unchecked, b", "a Active Serving 1000/2000");
    // A backup is for when those that it stands behind are known to be down.
    check("", "a, c backup: pass", "a Starting Serving 1000/1000");
    check("", "a: fail, c backup: pass, d backup", "c Backup Serving 1000/1000");
    check("", "a: fail, c backup, d backup", "c Starting Empty 0/1000");
    check("all-backups", "a: fail, c backup, d backup", "cd Starting Empty 0/1000");
    // What nobody knows is better than what is known to fail, panic or not.
    check("panic=50", "a: fail, b, c", "bc Starting Empty 0/3000");
    check("panic=50", "a: fail, b: fail, c backup", "ab Panic Empty 0/2000");
    // That too few are up is known of those alone that are known.
    check("panic=100", "a: pass, b, c", "a Active Serving 1000/3000");
    check("panic=51", "a: pass, b: fail, c", "abc Panic Serving 1000/3000");
    // Who was taken out on purpose is out.
    check("", "a: drain, b: maint, d: weight=0", "Nobody Drained 0/3000");
    check("", "a: agent down, b", "b Starting Empty 0/2000");
    // Of whom its answers speak, something is known.
    check("", "a: eject, b", "b Starting Empty 0/2000");
}

#[test]
fn below_the_floor_health_is_not_believed() {
    let four = |states: [&str; 4]| {
        let server = |(name, state)| format!("{name}: {state}");
        ["a", "b", "c", "d"].into_iter().zip(states).map(server).collect::<Vec<_>>().join(", ")
    };
    // At the floor and below it.
    check("panic=50", &four(["pass", "pass", "fail", "fail"]), "ab Active Serving 2000/4000");
    check("panic=50", &four(["pass", "fail", "fail", "fail"]), "abcd Panic Serving 1000/4000");
    check("panic=51", &four(["pass", "pass", "fail", "fail"]), "abcd Panic Serving 2000/4000");
    check("", &four(["pass", "fail", "fail", "fail"]), "a Active Serving 1000/4000");
    // The name servers are told the truth.
    check("panic=50", &four(["fail", "fail", "eject", "agent down"]), "abcd Panic Empty 0/4000");
    check("", &four(["fail", "fail", "fail", "fail"]), "Nobody Empty 0/4000");
    // Who was taken out on purpose stays out, and does not count: one of two is the half.
    check("panic=50", &four(["pass", "fail", "drain", "maint"]), "a Active Serving 1000/4000");
    check(
        "panic=51",
        &four(["pass", "fail", "pass; weight=0", "404"]),
        "ab Panic Serving 1000/4000",
    );
    check("panic=100", &four(["maint", "maint", "drain", "weight=0"]), "Nobody Drained 0/4000");
    // A backup that is usable is better than a server that is not.
    check("panic=50", "a: fail, b: fail, c backup: pass", "c Backup Serving 1000/2000");
    check("panic=50", "a: pass, b: fail, d: fail, c backup: pass", "abd Panic Serving 1000/3000");
}

#[test]
fn a_pool_is_drained_when_all_of_it_was_taken_out_on_purpose() {
    check("", "a: pass; drain, b: fail; maint", "Nobody Drained 0/2000");
    check("", "a: pass; agent drain, b: pass; weight=0", "Nobody Drained 0/2000");
    check("", "a: pass; drain, b: fail", "Nobody Empty 0/2000");
    check("", "a: 404", "Nobody Empty 0/1000");
    check("", "a: pass; drain, b backup: pass", "b Backup Serving 1000/1000");
    check("", "a: pass; drain, b backup: fail", "Nobody Empty 0/1000");
    check("", "a drain, b maint", "Nobody Drained 0/2000");
}

#[test]
fn capacity_is_what_is_configured_of_the_usable() {
    check("", "a capacity=2000: pass, b capacity=500: pass", "ab Active Serving 2500/2500");
    check("", "a capacity=2000: fail, b capacity=500: pass", "b Active Serving 500/2500");
    // Who has none counts as the mean.
    check(
        "",
        "a capacity=2000: pass, b capacity=500: fail, c: pass",
        "ac Active Serving 3250/3750",
    );
    check("", "a capacity=2000: fail, b capacity=500 backup: pass", "b Backup Serving 500/2000");
    let unit =
        |servers| Pool::new(Settings::default(), configs(servers)).standing(ZERO).capacity.unit;
    assert_eq!(unit("a, b"), standing::Unit::Thousandths);
    assert_eq!(unit("a capacity=1, b"), standing::Unit::RequestsPerSecond);
}

#[test]
fn capacity_drops_at_once_and_comes_back_slowly() {
    let seconds = Duration::from_secs;
    let settings = Settings { slow_start: seconds(10), ..Settings::default() };
    let mut pool = Pool::new(settings, configs("a capacity=1000, b capacity=1000"));
    pool.on_event(ZERO, ServerId(0), event("pass"));
    pool.on_event(ZERO, ServerId(1), event("pass"));
    let mut after = |at, text: &str| {
        if !text.is_empty() {
            pool.on_event(seconds(at), ServerId(1), event(text));
        }
        pool.standing(seconds(at)).capacity.usable
    };
    assert_eq!(after(1, ""), 2000);
    assert_eq!(after(2, "fail"), 1000);
    assert_eq!(after(3, "pass"), 1000);
    assert_eq!(after(8, ""), 1500);
    assert_eq!(after(13, ""), 2000);
}

#[test]
fn a_reload_keeps_who_was_known_and_doubts_who_is_new() {
    let mut pool = Pool::new(Settings::default(), configs("a weight=2, b maint, c unchecked, d"));
    for (place, texts) in
        [(0, "pass; weight=7; max=9"), (1, "pass; ready"), (2, "agent drain"), (3, "pass; drain")]
    {
        for text in texts.split("; ") {
            pool.on_event(ZERO, ServerId(place), event(text));
        }
    }
    // Another order, one server less and one more; `c` is checked now.
    let was = pool.reload(Settings::default(), configs("e, c, b maint, a weight=2"));
    assert_eq!(was, [None, Some(ServerId(2)), Some(ServerId(1)), Some(ServerId(0))]);
    let told = |pool: &Pool| {
        let server =
            |(_, server): (ServerId, &Server)| format!("{} {}", server.name(), server.status());
        pool.servers().map(server).collect::<Vec<_>>().join(" | ")
    };
    assert_eq!(told(&pool), "e DOWN 1/2 | c DRAIN (agent) | b UP | a UP");
    assert_eq!(pool.find("a"), Some(ServerId(3)));
    assert_eq!(pool.find("d"), None);
    let a = &pool.servers[3];
    assert_eq!(
        (a.share(ZERO, ZERO).map(balance_share), a.limit(ZERO, ZERO).map(NonZeroU32::get)),
        (Some(7 * 256), Some(9))
    );
    // A weight, a limit or an order that is another in the file counts anew; `d` was forgotten.
    pool.reload(Settings::default(), configs("a weight=3 max=5, b drain, c unchecked, d"));
    assert_eq!(told(&pool), "a UP | b DRAIN | c DRAIN (agent) | d DOWN 1/2");
    let a = &pool.servers[0];
    assert_eq!(
        (a.share(ZERO, ZERO).map(balance_share), a.limit(ZERO, ZERO).map(NonZeroU32::get)),
        (Some(3 * 256), Some(5))
    );
}

#[test]
fn what_an_agent_said_goes_with_it() {
    let mut pool = Pool::new(Settings::default(), configs("a unchecked, b unchecked"));
    for (place, text) in [
        (0, "agent maint"),
        (0, "agent down"),
        (0, "agent weight=50%"),
        (0, "agent max=3"),
        (1, "agent down"),
        (1, "drain"),
    ] {
        pool.on_event(ZERO, ServerId(place), event(text));
    }
    pool.reload(Settings::default(), configs("a unchecked, b unchecked"));
    assert_eq!(pool.standing(ZERO).takers, []);
    pool.reload(Settings::default(), configs("a unchecked agentless, b unchecked agentless"));
    let takers: Vec<_> = pool.standing(ZERO).takers;
    let told: Vec<_> =
        takers.iter().map(|taker| (taker.id.0, taker.share.get(), taker.limit)).collect();
    assert_eq!(told, [(0, 256, None)]);
    assert_eq!(pool.servers[1].status(), Status::Drain);
}

#[test]
fn a_table_has_the_takers_and_no_others() {
    let mut pool = Pool::new(Settings::default(), configs("a, b, c"));
    for (place, text) in [(0, "pass"), (1, "fail"), (2, "pass")] {
        pool.on_event(ZERO, ServerId(place), event(text));
    }
    let table = pool.standing(ZERO).table(&pool, crate::balance::Algorithm::RoundRobin);
    assert_eq!(table.servers().collect::<Vec<_>>(), [ServerId(0), ServerId(2)]);
}

proptest! {
    /// Nobody who was taken out on purpose ever takes balanced requests, and somebody does whenever one is usable.
    #[test]
    fn takers_are_wanted(
        events in proptest::collection::vec((0..4usize, 0..14usize), 0..60), panic in 0..=100u8, all: bool,
    ) {
        const EVENTS: [&str; 14] = [
            "pass", "failing", "fail", "404", "eject", "return", "drain", "maint", "ready", "agent drain", "agent ready",
            "agent down", "agent up", "weight=0",
        ];
        let backups = if all { Backups::All } else { Backups::First };
        let settings = Settings { slow_start: ZERO, panic: NonZeroU8::new(panic), backups };
        let mut pool = Pool::new(settings, configs("a, b, c, d backup"));
        for (place, chosen) in events {
            pool.on_event(ZERO, ServerId(place), event(EVENTS[chosen]));
            let standing = pool.standing(ZERO);
            for taker in &standing.takers {
                let server = &pool.servers[taker.id.0];
                prop_assert_eq!(server.administrative(), Administrative::Ready);
                let is_able = server.serves() == Serves::All;
                prop_assert!(is_able || matches!(standing.mode, Mode::Panic | Mode::Starting));
            }
            let usable = pool.servers.iter().filter(|server| server.serves() == Serves::All).count();
            prop_assert_eq!(usable > 0, standing.state == State::Serving);
            prop_assert!(usable == 0 || !standing.takers.is_empty());
            prop_assert_eq!(standing.capacity.usable == 0, usable == 0);
        }
    }
}
