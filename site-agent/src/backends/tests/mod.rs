//! Stories of servers and pools: what is said of them, and what follows.

mod standings;

use std::num::NonZeroU16;
use std::time::Duration;

use common::streak::{Progress, Thresholds};
use proptest::prelude::*;

use super::*;

const ZERO: Duration = Duration::ZERO;

fn checked() -> Option<Thresholds> {
    let some = |count| NonZeroU16::new(count).unwrap();
    Some(Thresholds { rise: some(2), fall: some(3), ok: some(2) })
}

/// A server in the words of a test: its name, then any of `backup`, `weight=N`, `max=N`, `capacity=N`, `unchecked`,
/// `agentless`, `drain`, `maint`.
fn configured(text: &str) -> Configured {
    let mut words = text.split(' ');
    let mut server = Configured {
        name: words.next().unwrap().into(),
        weight: Weight::ONE,
        limit: None,
        capacity: None,
        role: Role::Active,
        check: checked(),
        has_agent: true,
        administrative: Administrative::Ready,
    };
    for word in words {
        let (key, value) = word.split_once('=').unwrap_or((word, ""));
        match key {
            "backup" => server.role = Role::Backup,
            "weight" => server.weight = Weight::new(value.parse().unwrap()).unwrap(),
            "max" => server.limit = NonZeroU32::new(value.parse().unwrap()),
            "capacity" => server.capacity = NonZeroU32::new(value.parse().unwrap()),
            "unchecked" => server.check = None,
            "agentless" => server.has_agent = false,
            "drain" => server.administrative = Administrative::Drain,
            "maint" => server.administrative = Administrative::Maint,
            other => panic!("{other}"),
        }
    }
    server
}

fn configs(servers: &str) -> Vec<Configured> {
    servers.split(", ").map(configured).collect()
}

fn checks(to: Checked, streak: u16, need: u16) -> Event {
    Event::Check { to, progress: Progress { streak, need } }
}

/// An event in the words of a test.
fn event(text: &str) -> Event {
    use Administrative::*;
    let (by, word) = match text.split_once(' ') {
        Some(("agent", word)) => (By::Agent, word),
        Some(("command", word)) => (By::Command, word),
        _ => (By::Command, text),
    };
    match (by, word) {
        (_, "pass") => checks(Checked::Up, 0, 3),
        (_, "unknown") => checks(Checked::Unknown, 1, 3),
        (_, "failing") => checks(Checked::Up, 2, 3),
        (_, "fail") => checks(Checked::Down, 0, 2),
        (_, "rising") => checks(Checked::Down, 1, 2),
        (_, "404") => checks(Checked::NoLb, 0, 3),
        (_, "404 failing") => checks(Checked::NoLb, 1, 3),
        (_, "eject") => Event::Eject,
        (_, "return") => Event::Return,
        (by, "ready") => Event::Order { by, to: Ready },
        (by, "drain") => Event::Order { by, to: Drain },
        (by, "maint") => Event::Order { by, to: Maint },
        (By::Agent, "up") => Event::AgentUp,
        (By::Agent, "down") => Event::AgentDown(AgentDown::Down),
        (by, other) => match other.split_once('=') {
            Some(("weight", to)) => Event::Weigh { by, to: to.parse().unwrap() },
            Some(("max", to)) => Event::Limit { by, to: NonZeroU32::new(to.parse().unwrap()) },
            _ => panic!("{other}"),
        },
    }
}

/// One server: after each event its status, and what may be sent to it where that is not all.
fn story(server: &str, events: &str, expected: &str) {
    let mut pool = Pool::new(Settings::default(), configs(server));
    let mut told = vec![];
    for text in events.split(" | ") {
        let before = pool.servers[0].status();
        let change = pool.on_event(ZERO, ServerId(0), event(text));
        let status = pool.servers[0].status();
        let change = change.map(|change| (change.from, change.to));
        assert_eq!(change, (before != status).then_some((before, status)));
        told.push(match pool.servers[0].serves() {
            Serves::All => status.to_string(),
            Serves::Persistent => format!("{status}, persistent"),
            Serves::Nothing => format!("{status}, nothing"),
        });
    }
    assert_eq!(told.join(" | "), expected, "{server}: {events}");
}

#[test]
fn checks_bring_up_and_take_down() {
    story(
        "a",
        "unknown | pass | failing | fail",
        "DOWN 1/2, nothing | UP | UP 1/3 | DOWN, nothing",
    );
    story("a", "fail | rising | pass", "DOWN, nothing | DOWN 1/2, nothing | UP");
    story(
        "a",
        "pass | 404 | 404 failing | fail",
        "UP | NOLB, persistent | NOLB 2/3, persistent | DOWN, nothing",
    );
    story("a", "404 | pass", "NOLB, persistent | UP");
    // Unknown is no news: a streak that begins anew after a reload changes nothing.
    story("a", "pass | unknown", "UP | UP 2/3");
    story("a", "fail | unknown", "DOWN, nothing | DOWN 1/3, nothing");
    // Without a check a server is up, and a stray result does not matter.
    story(
        "a unchecked",
        "fail | unknown | pass | 404",
        "no check | no check | no check | no check",
    );
}

#[test]
fn the_strictest_order_holds_and_only_its_giver_or_an_operator_takes_it_back() {
    story(
        "a",
        "pass | drain | agent ready | ready",
        "UP | DRAIN, persistent | DRAIN, persistent | UP",
    );
    story(
        "a",
        "pass | maint | agent ready | agent drain | ready",
        "UP | MAINT, nothing | MAINT, nothing | MAINT, nothing | UP",
    );
    story("a", "pass | agent drain | agent ready", "UP | DRAIN (agent), persistent | UP");
    story("a", "pass | agent maint | ready", "UP | MAINT, nothing | UP");
    // An operator's drain makes less of the agent's maint, until the agent says it again.
    story(
        "a",
        "pass | agent maint | drain | agent maint",
        "UP | MAINT, nothing | DRAIN, persistent | MAINT, nothing",
    );
    // The config's own word is taken back by operators alone.
    story("a maint", "pass | agent ready | ready", "MAINT, nothing | MAINT, nothing | UP");
    story(
        "a drain",
        "pass | failing | ready",
        "DRAIN, persistent | DRAIN 1/3, persistent | UP 1/3",
    );
    // Of two that drain, the operator is named.
    story(
        "a",
        "pass | agent drain | drain | ready",
        "UP | DRAIN (agent), persistent | DRAIN, persistent | UP",
    );
}

#[test]
fn health_is_needed_from_all_who_speak_of_it() {
    story(
        "a",
        "pass | agent down | pass | agent up",
        "UP | DOWN (agent), nothing | DOWN (agent), nothing | UP",
    );
    story(
        "a",
        "pass | agent down | fail | agent up | pass",
        "UP | DOWN (agent), nothing | DOWN (agent), nothing | DOWN, nothing | UP",
    );
    story("a", "fail | agent up", "DOWN, nothing | DOWN, nothing");
    // The agent's up is no pass.
    story("a", "agent up | agent down", "DOWN 1/2, nothing | DOWN (agent), nothing");
    story("a unchecked", "agent down | agent up", "DOWN (agent), nothing | no check");
    story(
        "a",
        "pass | eject | pass | return",
        "UP | DOWN (ejected), nothing | DOWN (ejected), nothing | UP",
    );
    story(
        "a",
        "pass | eject | fail | return | pass",
        "UP | DOWN (ejected), nothing | DOWN, nothing | DOWN, nothing | UP",
    );
    story(
        "a",
        "pass | drain | eject | return",
        "UP | DRAIN, persistent | DOWN (ejected), nothing | DRAIN, persistent",
    );
    story(
        "a",
        "pass | drain | fail | maint",
        "UP | DRAIN, persistent | DOWN, nothing | MAINT, nothing",
    );
    story("a", "404 | drain | ready", "NOLB, persistent | NOLB, persistent | NOLB, persistent");
}

#[test]
fn a_weight_of_nothing_keeps_the_persistent() {
    story("a", "pass | weight=0 | weight=100%", "UP | DRAIN, persistent | UP");
    story("a", "pass | agent weight=0% | agent weight=50%", "UP | DRAIN, persistent | UP");
    // The operator's word goes before the agent's, until it is taken back.
    story(
        "a",
        "pass | weight=0 | agent weight=50% | weight=100% | agent weight=0%",
        "UP | DRAIN, persistent | DRAIN, persistent | UP | DRAIN, persistent",
    );
    story(
        "a weight=0",
        "pass | weight=1 | weight=100%",
        "DRAIN, persistent | UP | DRAIN, persistent",
    );
}

/// The share in 256ths after an order.
fn check_weight(server: &str, order: &str, expected: Option<u32>) {
    let mut pool = Pool::new(Settings::default(), configs(server));
    pool.on_event(ZERO, ServerId(0), event(order));
    let share = pool.servers[0].share(ZERO, ZERO).map(balance_share);
    assert_eq!(share, expected, "{server}: {order}");
}

fn balance_share(share: crate::balance::Share) -> u32 {
    share.get()
}

#[test]
fn weights_are_absolute_or_of_the_configured_one() {
    check_weight("a", "pass", Some(256));
    check_weight("a weight=256", "pass", Some(65536));
    check_weight("a", "weight=256", Some(65536));
    check_weight("a weight=10", "weight=3", Some(768));
    check_weight("a weight=10", "agent weight=50%", Some(1280));
    check_weight("a weight=10", "weight=100%", Some(2560));
    check_weight("a weight=10", "weight=0%", None);
    // HAProxy's integers would make nothing of it.
    check_weight("a", "agent weight=75%", Some(192));
    check_weight("a", "agent weight=1%", Some(3));
    // 256 is the most.
    check_weight("a weight=200", "agent weight=200%", Some(65536));
    check_weight("a weight=256", "agent weight=4294967295%", Some(65536));
    check_weight("a", "agent weight=1677721600%", Some(65536));
}

#[test]
fn a_weight_is_written_as_haproxy_s() {
    let read = |text: &str| text.parse::<WeightOrder>();
    assert_eq!(read("0"), Ok(WeightOrder::Absolute(Weight::new(0).unwrap())));
    assert_eq!(read("256"), Ok(WeightOrder::Absolute(Weight::MOST)));
    assert_eq!(read("75%"), Ok(WeightOrder::Percent(75)));
    for bad in ["", "%", "257", "65537", "-1", "+1", "1.5", " 1", "75 %", "4294967296%", "x"] {
        assert_eq!(read(bad), Err(NoWeight), "{bad}");
    }
}

#[test]
fn who_comes_back_starts_slowly() {
    let seconds = Duration::from_secs;
    let settings = Settings { slow_start: seconds(100), ..Settings::default() };
    let mut pool = Pool::new(settings, configs("a max=40, b unchecked maint"));
    let (a, b) = (ServerId(0), ServerId(1));
    let shares = |pool: &Pool, now| {
        let standing = pool.standing(seconds(now));
        standing
            .takers
            .iter()
            .map(|taker| (taker.id, taker.share.get(), taker.limit.map_or(0, NonZeroU32::get)))
            .collect::<Vec<_>>()
    };
    // Not at the start of the process.
    pool.on_event(seconds(1), a, event("pass"));
    assert_eq!(shares(&pool, 1), [(a, 256, 40)]);
    assert_eq!(pool.next_change(seconds(1)), None);

    pool.on_event(seconds(10), a, event("fail"));
    assert_eq!(shares(&pool, 10), []);
    pool.on_event(seconds(1000), a, event("pass"));
    // Never nothing, in steps of a twentieth.
    assert_eq!(shares(&pool, 1000), [(a, 1, 1)]);
    assert_eq!(pool.next_change(seconds(1000)), Some(seconds(1005)));
    assert_eq!(shares(&pool, 1004), [(a, 1, 1)]);
    assert_eq!(shares(&pool, 1005), [(a, 12, 2)]);
    assert_eq!(shares(&pool, 1050), [(a, 128, 20)]);
    assert_eq!(pool.servers[0].throttle(seconds(1050), seconds(100)), 50);
    assert_eq!(pool.next_change(seconds(1099)), Some(seconds(1100)));
    assert_eq!(shares(&pool, 1100), [(a, 256, 40)]);
    assert_eq!(pool.next_change(seconds(1100)), None);

    // Maint to ready too, and from an ejection; not from a drain.
    pool.on_event(seconds(2000), b, event("ready"));
    assert_eq!(shares(&pool, 2050), [(a, 256, 40), (b, 128, 0)]);
    pool.on_event(seconds(3000), a, event("eject"));
    pool.on_event(seconds(3000), a, event("return"));
    pool.on_event(seconds(3000), b, event("drain"));
    pool.on_event(seconds(3000), b, event("ready"));
    assert_eq!(shares(&pool, 3050), [(a, 128, 20), (b, 256, 0)]);
    // Down again on the way: from the beginning.
    pool.on_event(seconds(3060), a, event("fail"));
    pool.on_event(seconds(3070), a, event("pass"));
    assert_eq!(shares(&pool, 3080), [(a, 25, 4), (b, 256, 0)]);
    // An order acts on the whole.
    pool.on_event(seconds(3080), a, event("weight=10"));
    assert_eq!(shares(&pool, 3080), [(a, 256, 4), (b, 256, 0)]);
}

#[test]
fn each_step_of_a_slow_start_is_taken_when_it_is_due() {
    // A time that twenty does not divide.
    let slow_start = Duration::from_nanos(1_000_003);
    let settings = Settings { slow_start, ..Settings::default() };
    let mut pool = Pool::new(settings, configs("a weight=20"));
    pool.on_event(ZERO, ServerId(0), event("fail"));
    pool.on_event(ZERO, ServerId(0), event("pass"));
    let (mut now, mut steps) = (ZERO, 0);
    let mut share = pool.standing(now).takers[0].share;
    while let Some(next) = pool.next_change(now) {
        assert!(next > now);
        now = next;
        let grown = pool.standing(now).takers[0].share;
        assert!(grown > share, "{now:?}: {grown:?} after {share:?}");
        (share, steps) = (grown, steps + 1);
    }
    assert_eq!((steps, now, share.get()), (20, slow_start, 20 * 256));
}

#[test]
fn limits_are_the_operator_s_then_the_agent_s_then_the_config_s() {
    let mut pool = Pool::new(Settings::default(), configs("a max=40"));
    let mut after = |text| {
        pool.on_event(ZERO, ServerId(0), event(text));
        pool.servers[0].limit(ZERO, ZERO).map_or(0, NonZeroU32::get)
    };
    assert_eq!(after("pass"), 40);
    assert_eq!(after("agent max=30"), 30);
    assert_eq!(after("max=50"), 50);
    assert_eq!(after("agent max=20"), 50);
    // HAProxy's 0: any number.
    assert_eq!(after("max=0"), 0);
}

proptest! {
    /// An agent can never put to work what an operator took out, whatever it says and in whatever order.
    #[test]
    fn agents_do_not_undo_operators(
        events in proptest::collection::vec(0..8usize, 0..40), is_maint: bool,
    ) {
        const AGENT: [&str; 8] = [
            "agent ready", "agent drain", "agent maint", "agent up", "agent down", "agent weight=256", "pass", "fail",
        ];
        let mut pool = Pool::new(Settings::default(), configs("a"));
        pool.on_event(ZERO, ServerId(0), event(if is_maint { "maint" } else { "drain" }));
        for chosen in &events {
            pool.on_event(ZERO, ServerId(0), event(AGENT[*chosen]));
            prop_assert_ne!(pool.servers[0].serves(), Serves::All);
            prop_assert!(pool.standing(ZERO).takers.is_empty());
        }
        // And what is left when the operator is done is what the agent and the checks have said.
        pool.on_event(ZERO, ServerId(0), event("ready"));
        let last = |words: &[&str]| events.iter().rev().map(|at| AGENT[*at]).find(|word| words.contains(word));
        let is_well = last(&["agent up", "agent down"]) != Some("agent down") && last(&["pass", "fail"]) == Some("pass");
        prop_assert_eq!(pool.servers[0].serves() == Serves::All, is_well);
    }
}
