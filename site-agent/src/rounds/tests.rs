//! When servers are looked at, what counts, and what a reload leaves as it was.

mod orders;

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU16;

use common::check::{self, Kind, Tcp, Timing};
use common::report::Phases;
use common::seen::Failure;
use common::streak::Thresholds;
use common::target::{Address, Target};
use proptest::prelude::*;

use super::*;
use crate::backends::Checked;

fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

/// Who is out of service.
fn nobody(_: Which) -> bool {
    false
}

fn some(count: u16) -> NonZeroU16 {
    NonZeroU16::new(count).unwrap()
}

/// Every 2 s while up, every 500 ms between, every second while down; rise 2, fall 3.
fn server_check() -> ServerCheck {
    let thresholds = Thresholds { rise: some(2), fall: some(3), ok: some(2) };
    ServerCheck {
        target: Target {
            address: Address::Ip("192.0.2.1".parse().unwrap()),
            port: 80,
            host: "www.example.com".to_owned(),
            check: check::Check {
                kind: Kind::Tcp(Tcp::default()),
                timing: Timing::new(ms(2000), ms(400), thresholds),
            },
        },
        ca: None,
        fast_interval: ms(500),
        down_interval: ms(1000),
    }
}

fn agent() -> AgentCheck {
    AgentCheck { port: some(9000), interval: ms(700), timeout: ms(700), send: None }
}

fn which(pool: usize, server: usize) -> Which {
    Which { pool: PoolId(pool), server: ServerId(server) }
}

fn wanted(server: usize) -> Wanted {
    Wanted {
        which: which(0, server),
        name: Name { pool: "web".into(), server: format!("web{server}").into() },
        address: "192.0.2.1:80".parse().unwrap(),
        check: Some(server_check()),
        agent: None,
    }
}

fn seen(is_good: bool) -> Seen {
    let outcome = if is_good { Ok(()) } else { Err(Failure::new(Reason::Refused, "nobody there")) };
    Seen { outcome, phases: Phases::default(), not_after: None, status: None }
}

fn rounds(wanted: &[Wanted]) -> Rounds {
    let mut rounds = Rounds::new(Duration::ZERO);
    assert_eq!(rounds.adopt(Duration::ZERO, wanted, 0.0), []);
    rounds
}

/// Goes to the next time that somebody is due, turning as often as the shell.
fn wait(rounds: &mut Rounds, now: &mut Duration) {
    let at = rounds.next_wakeup().unwrap();
    while *now < at {
        *now = at.min(*now + ms(500));
        rounds.turn(*now, 0.0);
    }
}

/// The next look, and when it began.
fn next_look(rounds: &mut Rounds, now: &mut Duration) -> Series {
    wait(rounds, now);
    match rounds.begin(*now, nobody) {
        Some(Begun::Look(series, _)) => series,
        other => panic!("{other:?}"),
    }
}

fn said(event: Event) -> String {
    let Event::Check { to, progress: Progress { streak, need } } = event else {
        panic!("{event:?}")
    };
    let to = match to {
        Checked::Unknown => "unknown",
        Checked::Up => "up",
        Checked::NoLb => "nolb",
        Checked::Down => "down",
    };
    format!("{to} {streak}/{need}")
}

/// What looks at one server come to, each of so many milliseconds, and when they begin: one more than there are.
fn check(results: &str, takes: u64, expected: &str) {
    let (mut rounds, mut now) = (rounds(&[wanted(0)]), Duration::ZERO);
    let mut begins = vec![];
    for result in results.bytes() {
        let series = next_look(&mut rounds, &mut now);
        begins.push(now.as_millis().to_string());
        now += ms(takes);
        rounds.looked(now, series, seen(result == b'+')).unwrap();
    }
    begins.push(rounds.next_wakeup().unwrap().as_millis().to_string());
    assert_eq!(begins.join(" "), expected, "{results}");
}

#[test]
fn the_interval_follows_from_the_state() {
    // Up at once, and then each interval.
    check("+++", 0, "0 2000 4000 6000");
    // On the way down, and back before it got there: two in a row are enough to forget.
    check("+-++", 0, "0 2000 2500 3000 5000");
    check("+---", 0, "0 2000 2500 3000 4000");
    // Down: the slow pace for those that fail, the fast one for those that pass.
    check("+------", 0, "0 2000 2500 3000 4000 5000 6000 7000");
    check("+---+-++", 0, "0 2000 2500 3000 4000 4500 5500 6000 8000");
    // Until it is known.
    check("--+", 0, "0 500 1000 3000");
    check("---", 0, "0 500 1000 2000");
}

#[test]
fn intervals_are_from_beginning_to_beginning() {
    check("+---", 400, "0 2000 2500 3000 4000");
    // The shell was late: the next is not made up for.
    check("+-", 900, "0 2000 2900");
}

#[test]
fn every_result_is_told() {
    let (mut rounds, mut now) = (rounds(&[wanted(0)]), Duration::ZERO);
    let mut told = vec![];
    for result in "+-+---+-++".bytes() {
        let series = next_look(&mut rounds, &mut now);
        now += ms(30);
        let Told { which: of, event, why, has_passed } =
            rounds.looked(now, series, seen(result == b'+')).unwrap();
        assert_eq!(of, which(0, 0));
        let (reason, detail) =
            if has_passed { ("passed", "") } else { ("refused", "nobody there") };
        assert_eq!((why.by, why.reason, &*why.detail), (Source::Check, reason, detail));
        assert_eq!(why.took, Some(ms(30)));
        assert_eq!(has_passed, result == b'+');
        told.push(said(event));
    }
    assert_eq!(
        told.join(" | "),
        "up 0/3 | up 1/3 | up 1/3 | up 2/3 | down 0/2 | down 0/2 | down 1/2 | down 0/2 | down 1/2 | up 0/3"
    );
}

#[test]
fn first_looks_are_spread() {
    let all = [wanted(0), wanted(1), wanted(2), wanted(3)];
    let check = |chance: f64, wanted: &[Wanted], expected: &[u64]| {
        let (mut rounds, mut begins) = (Rounds::new(ms(10_000)), vec![]);
        rounds.adopt(ms(10_000), wanted, chance);
        let mut now = ms(10_000);
        for _ in wanted {
            next_look(&mut rounds, &mut now);
            begins.push(now.as_millis() as u64 - 10_000);
        }
        assert_eq!(begins, expected);
    };
    check(0.0, &all, &[0, 125, 250, 375]);
    check(0.5, &all, &[62, 187, 312, 437]);
    // However rarely somebody is looked at, who has never been is looked at soon.
    let rare = all.clone().map(|mut server| {
        let check = server.check.as_mut().unwrap();
        (check.fast_interval, check.down_interval) = (ms(60_000), ms(60_000));
        server
    });
    check(0.0, &rare, &[0, 250, 500, 750]);
}

#[test]
fn who_has_no_check_is_not_looked_at() {
    let mut rounds = rounds(&[Wanted { check: None, ..wanted(0) }]);
    assert_eq!(rounds.next_wakeup(), None);
    assert!(rounds.begin(ms(60_000), nobody).is_none());
    assert!(rounds.shown(which(0, 0)).is_none());
}

#[test]
fn a_look_that_could_not_be_done_says_nothing() {
    let (mut rounds, mut now) = (rounds(&[wanted(0)]), Duration::ZERO);
    for result in ["+", "?", "?", "?", "?"] {
        let series = next_look(&mut rounds, &mut now);
        let seen = if result == "+" { seen(true) } else { Seen::unseen("no descriptor is left") };
        assert_eq!(rounds.looked(now, series, seen).is_some(), result == "+");
    }
    let shown = rounds.shown(which(0, 0)).unwrap().check.unwrap();
    assert_eq!((shown.state, shown.progress), (State::Up, Progress { streak: 0, need: 3 }));
    // Told to people all the same.
    assert_eq!(shown.last.unwrap().seen.reason(), Some(Reason::Probe));
    assert_eq!(rounds.next_wakeup(), Some(ms(10_000)));
}

#[test]
fn work_that_broke_down_says_nothing_and_goes_on() {
    let both = Wanted { agent: Some(agent()), ..wanted(0) };
    let (mut rounds, mut now) = (rounds(&[both]), Duration::ZERO);
    for _ in 0..4 {
        wait(&mut rounds, &mut now);
        let (Begun::Look(series, _) | Begun::Line(series, _)) = rounds.begin(now, nobody).unwrap();
        rounds.failed(now, series);
    }
    let shown = rounds.shown(which(0, 0)).unwrap();
    assert_eq!(shown.check.unwrap().progress.streak, 0);
    assert!(shown.line.is_none(), "a defect of ours is no word of the agent's");
    assert!(rounds.next_wakeup().is_some_and(|at| at > now));
}

#[test]
fn what_a_standstill_made_void_does_not_count_and_the_missed_are_spread() {
    let all = [wanted(0), wanted(1), wanted(2)];
    let (mut rounds, mut now) = (rounds(&all), Duration::ZERO);
    let first = next_look(&mut rounds, &mut now);
    // Stopped for a minute, and then every time-out ends at once.
    now = ms(60_000);
    rounds.turn(now, 0.0);
    assert!(rounds.begin(now, nobody).is_some());
    assert!(rounds.begin(now, nobody).is_none(), "the other has its which within the interval");
    assert_eq!(rounds.next_wakeup(), Some(ms(60_250)));
    assert_eq!(rounds.looked(now, first, seen(false)), None);
    let shown = rounds.shown(which(0, 0)).unwrap().check.unwrap();
    assert_eq!(shown.progress.streak, 0);
    assert!(shown.last.is_none());
}

#[test]
fn no_more_are_under_way_than_may_be() {
    let all: Vec<Wanted> = (0..=MOST_AT_ONCE).map(wanted).collect();
    let mut rounds = rounds(&all);
    let now = ms(1000);
    let mut begun = vec![];
    while let Some(Begun::Look(series, _)) = rounds.begin(now, nobody) {
        begun.push(series);
    }
    assert_eq!(begun.len(), MOST_AT_ONCE);
    assert_eq!(rounds.next_wakeup(), None);
    rounds.looked(now, begun[0], seen(true)).unwrap();
    assert!(matches!(rounds.begin(now, nobody), Some(Begun::Look(..))));
    assert!(rounds.begin(now, nobody).is_none());
}

#[test]
fn lines_have_an_interval_of_their_own_and_no_state() {
    let (mut rounds, mut now) =
        (rounds(&[Wanted { agent: Some(agent()), check: None, ..wanted(0) }]), Duration::ZERO);
    let mut begins = vec![];
    for _ in 0..3 {
        wait(&mut rounds, &mut now);
        let Some(Begun::Line(series, inquiry)) = rounds.begin(now, nobody) else { panic!() };
        assert_eq!(inquiry.at, "192.0.2.1:9000".parse().unwrap());
        begins.push(now.as_millis());
        now += ms(100);
        let line = Err("refused".to_owned());
        assert_eq!(rounds.answered(now, series, line).unwrap().which, which(0, 0));
        assert_eq!(rounds.answered(now, series, Err("again".to_owned())), None);
    }
    assert_eq!(begins, [0, 700, 1400]);
    let shown = rounds.shown(which(0, 0)).unwrap();
    assert!(shown.check.is_none());
    assert_eq!(shown.line.unwrap().line.unwrap_err(), "refused");
}

#[test]
fn it_is_news_that_an_agent_is_not_understood_or_is_again() {
    let with_agent = Wanted { agent: Some(agent()), check: None, ..wanted(0) };
    let news = |lines: &[&str]| {
        let (mut rounds, mut now) = (rounds(std::slice::from_ref(&with_agent)), Duration::ZERO);
        let answer = |line: &&str| {
            wait(&mut rounds, &mut now);
            let Some(Begun::Line(series, _)) = rounds.begin(now, nobody) else { panic!() };
            let line = match *line {
                "refused" => Err("refused".to_owned()),
                line => Ok(crate::agent_check::read(format!("{line}\n").as_bytes()).unwrap()),
            };
            let turned = rounds.answered(now, series, line).unwrap().turned;
            assert!(turned.as_ref().is_none_or(|name| *name == with_agent.name));
            turned.is_some()
        };
        lines.iter().map(answer).collect::<Vec<_>>()
    };
    assert_eq!(news(&["up", "refused", "refused", "drain", ""]), [false, true, false, true, false]);
    assert_eq!(news(&["refused", "up"]), [true, true]);
    // A word that nobody knows is as good as none, though the rest is taken.
    assert_eq!(news(&["drain nonsense", "refused", "drain"]), [true, false, true]);
}

/// At the same server, under another id.
fn moved(server: &Wanted, to: Which) -> Wanted {
    Wanted { which: to, ..server.clone() }
}

#[test]
fn a_reload_keeps_who_is_looked_at_as_before() {
    let (a, b) = (wanted(0), Wanted { agent: Some(agent()), ..wanted(1) });
    let (mut rounds, mut now) = (rounds(&[a.clone(), b.clone()]), Duration::ZERO);
    let first = next_look(&mut rounds, &mut now);
    rounds.looked(now, first, seen(true)).unwrap();
    wait(&mut rounds, &mut now);
    let Some(Begun::Line(line, _)) = rounds.begin(now, nobody) else { panic!() };
    let under_way = next_look(&mut rounds, &mut now);
    let due = rounds.next_wakeup();
    // Others came before them.
    let all = [wanted(7), moved(&a, which(1, 3)), moved(&b, which(1, 2))];
    assert_eq!(rounds.adopt(ms(600), &all, 0.0), []);
    assert_eq!(rounds.shown(which(1, 3)).unwrap().check.unwrap().state, State::Up);
    assert!(rounds.shown(which(0, 1)).is_none());
    let told = rounds.looked(ms(610), under_way, seen(true)).unwrap();
    assert_eq!((told.which, said(told.event)), (which(1, 2), "up 0/3".to_owned()));
    assert_eq!(rounds.answered(ms(620), line, Err(String::new())).unwrap().which, which(1, 2));
    // Who is new is looked at at once, and the one from before when it would have been.
    let Some(Begun::Look(new, _)) = rounds.begin(ms(620), nobody) else { panic!() };
    rounds.looked(ms(620), new, seen(true)).unwrap();
    assert_eq!(due, Some(ms(2000)));
    let wanted_next = [Some(ms(700)), due];
    assert!(wanted_next.contains(&rounds.next_wakeup()), "{:?}", rounds.next_wakeup());
}

#[test]
fn a_reload_ends_what_nobody_asks_for_any_more() {
    let other_address = Wanted { address: "192.0.2.9:80".parse().unwrap(), ..wanted(0) };
    let other_name = Wanted { name: wanted(5).name, ..wanted(0) };
    let mut other_check = wanted(0);
    other_check.check.as_mut().unwrap().down_interval = ms(900);
    for after in [vec![], vec![other_address], vec![other_name], vec![other_check]] {
        let (mut rounds, mut now) = (rounds(&[wanted(0)]), Duration::ZERO);
        let first = next_look(&mut rounds, &mut now);
        rounds.looked(now, first, seen(true)).unwrap();
        let under_way = next_look(&mut rounds, &mut now);
        assert_eq!(rounds.adopt(now, &after, 0.0), [under_way], "its look is to end");
        assert_eq!(rounds.looked(now, under_way, seen(false)), None, "and comes to nothing");
        let known = rounds.shown(which(0, 0)).map(|shown| shown.check.unwrap());
        assert_eq!(known.map(|known| known.state), after.first().map(|_| State::Unknown));
        assert_eq!(rounds.begin(now, nobody).is_some(), !after.is_empty());
    }
}

#[test]
fn another_port_of_an_agent_is_another_agent() {
    let with_agent = |port| {
        let agent = AgentCheck { port: some(port), ..agent() };
        [Wanted { agent: Some(agent), ..wanted(0) }]
    };
    let (mut rounds, mut now) = (rounds(&with_agent(9000)), Duration::ZERO);
    let look = next_look(&mut rounds, &mut now);
    let Some(Begun::Line(line, _)) = rounds.begin(now, nobody) else { panic!() };
    assert_eq!(rounds.adopt(now, &with_agent(9000), 0.0), []);
    assert_eq!(rounds.adopt(now, &with_agent(9001), 0.0), [line]);
    assert_eq!(rounds.answered(now, line, Err(String::new())), None);
    assert!(rounds.looked(now, look, seen(true)).is_some(), "the look goes on");
}

#[derive(Clone, Debug)]
enum Step {
    Wait(u64),
    /// The shell stands still.
    Stop(u64),
    Ends(prop::sample::Index, bool),
    /// An operator's word.
    Overrule(usize, Belief),
    /// Which of the servers there are, and which of those have another check than before.
    Adopt([bool; 4], [bool; 4]),
}

fn step() -> impl Strategy<Value = Step> {
    let belief = prop::sample::select(&[Belief::Up, Belief::NoLb, Belief::Down]);
    prop_oneof![
        8 => (0..600_u64).prop_map(Step::Wait),
        1 => (3001..9000_u64).prop_map(Step::Stop),
        8 => (any::<prop::sample::Index>(), any::<bool>()).prop_map(|(at, good)| Step::Ends(at, good)),
        2 => (0..4_usize, belief).prop_map(|(server, belief)| Step::Overrule(server, belief)),
        1 => any::<([bool; 4], [bool; 4])>().prop_map(|(there, changed)| Step::Adopt(there, changed)),
    ]
}

proptest! {
    /// Whatever comes: no server is looked at twice at once, nor sooner after the last look than the fast interval
    /// has it, nobody who is due is forgotten, and what is told is of who was looked at.
    #[test]
    fn one_look_at_a_time_and_nobody_is_forgotten(
        steps in prop::collection::vec(step(), 1..200), chance in 0.0..1.0_f64,
    ) {
        let mut versions = [0_u64; 4];
        let server = |server: usize, version: u64| {
            let mut wanted = wanted(server);
            wanted.which = which(server, server);
            let check = wanted.check.as_mut().unwrap();
            check.target.port = server as u16;
            check.down_interval = ms(1000 + version);
            wanted
        };
        let mut there: Vec<usize> = (0..4).collect();
        let mut now = ms(1_000_000);
        let mut rounds = Rounds::new(now);
        let all: Vec<_> = there.iter().map(|at| server(*at, 0)).collect();
        rounds.adopt(now, &all, chance);
        // By series: whose it is.
        let mut under_way: BTreeMap<Series, (usize, u64)> = BTreeMap::new();
        let mut began: BTreeMap<(usize, u64), Duration> = BTreeMap::new();
        let mut next = 0;
        for step in steps {
            match step {
                Step::Wait(milliseconds) => now += ms(milliseconds),
                Step::Stop(milliseconds) => now += ms(milliseconds),
                Step::Ends(at, is_good) => {
                    if !under_way.is_empty() {
                        let series = *under_way.keys().nth(at.index(under_way.len())).unwrap();
                        let (of, _) = under_way.remove(&series).unwrap();
                        if let Some(told) = rounds.looked(now, series, seen(is_good)) {
                            prop_assert_eq!(told.which, which(of, of));
                            prop_assert_eq!(told.has_passed, is_good);
                        }
                        prop_assert_eq!(rounds.looked(now, series, seen(is_good)), None);
                    }
                }
                Step::Overrule(of, belief) => {
                    let told = rounds.overrule(now, which(of, of), belief);
                    prop_assert_eq!(told.is_some(), there.contains(&of));
                    if let Some(told) = told {
                        let to = match belief {
                            Belief::Up => "up ",
                            Belief::NoLb => "nolb ",
                            Belief::Down => "down ",
                        };
                        prop_assert!(said(told.event).starts_with(to));
                    }
                }
                Step::Adopt(now_there, changed) => {
                    there = (0..4).filter(|at| now_there[*at]).collect();
                    next += 1;
                    for at in 0..4 {
                        if changed[at] || !now_there[at] {
                            versions[at] = next;
                        }
                    }
                    let all: Vec<_> = there.iter().map(|at| server(*at, versions[*at])).collect();
                    let ended: BTreeSet<_> = rounds.adopt(now, &all, chance).into_iter().collect();
                    let gone = under_way.iter().filter(|(_, (at, version))| versions[*at] != *version);
                    prop_assert_eq!(&ended, &gone.map(|(series, _)| *series).collect());
                    under_way.retain(|series, _| !ended.contains(series));
                }
            }
            rounds.turn(now, chance);
            while let Some(Begun::Look(series, check)) = rounds.begin(now, nobody) {
                let of = usize::from(check.target.port);
                prop_assert!(under_way.values().all(|(other, _)| *other != of), "twice at once");
                prop_assert!(there.contains(&of));
                let whose = (of, versions[of]);
                if let Some(before) = began.insert(whose, now) {
                    prop_assert!(now - before >= ms(500), "{:?}", now - before);
                }
                under_way.insert(series, whose);
            }
            let busy = under_way.len();
            prop_assert_eq!(rounds.next_wakeup().is_some(), busy < there.len());
            prop_assert!(rounds.next_wakeup().is_none_or(|at| at > now));
        }
    }
}
