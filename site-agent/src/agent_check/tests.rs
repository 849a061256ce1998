//! Lines of agents, and what they make of a server.

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::backends::{Configured, Pool, Role, Serves, Settings, Weight};
use crate::ids::ServerId;

/// A line without its end, and what it says: events in order, the text behind `#`, problems behind `!`.
fn check(line: &str, expected: &str) {
    let read = read(format!("{line}\n").as_bytes()).unwrap();
    let mut told: Vec<String> = read
        .events()
        .map(|event| match event {
            Event::Order { by: By::Agent, to } => format!("{to:?}"),
            Event::Weigh { by: By::Agent, to: WeightOrder::Percent(percent) } => {
                format!("{percent}%")
            }
            Event::Weigh { by: By::Agent, to: WeightOrder::Absolute(weight) } => {
                format!("weight {}", weight.get())
            }
            Event::Limit { by: By::Agent, to } => {
                format!("limit {}", to.map_or(0, NonZeroU32::get))
            }
            Event::AgentUp => "Up".to_owned(),
            Event::AgentDown(word) => format!("{word:?}"),
            other => panic!("{other:?}"),
        })
        .collect();
    told.extend(read.text.iter().map(|text| format!("#{text}")));
    told.extend(read.problems.iter().map(|problem| match problem {
        Problem::Unknown(word) => format!("!{word}"),
        Problem::Weight(word) => format!("!weight {word}"),
        Problem::Limit(word) => format!("!limit {word}"),
    }));
    assert_eq!(told.join(", "), expected, "{line:?}");
}

#[test]
fn words_are_haproxy_s() {
    check("75%", "75%");
    check("weight:20", "weight 20");
    check("weight:50%", "50%");
    check("maxconn:30", "limit 30");
    check("maxconn:0", "limit 0");
    check("ready", "Ready");
    check("drain", "Drain");
    check("maint", "Maint");
    check("up", "Up");
    check("down", "Down");
    check("fail", "Fail");
    check("stopped", "Stopped");
    check("", "");
    check(" \t,, ", "");
    check("0%", "0%");
    check("300%", "300%");
}

#[test]
fn words_stand_in_any_order_and_case_and_the_last_of_a_kind_wins() {
    check("up 75% ready maxconn:10", "Ready, 75%, limit 10, Up");
    check("UP,75%\tReady, MaxConn:10", "Ready, 75%, limit 10, Up");
    check("50% weight:7 up down drain ready maxconn:1 maxconn:2", "Ready, weight 7, limit 2, Down");
}

#[test]
fn what_is_said_of_health_may_have_a_text() {
    check("down #the database, gone", "Down, #the database, gone");
    check("down# \t why ", "Down, #why");
    check("fail#", "Fail");
    // A text says nothing, and is nothing without health.
    check("75% #up", "75%");
    check("up # down #", "Up, #down #");
    check("#down", "");
    check("down #\u{1b}[31mred\u{7f}", "Down, #\u{fffd}[31mred\u{fffd}");
}

#[test]
fn what_is_not_understood_is_told_and_the_rest_applies() {
    check("up 75 nonsense drain", "Drain, Up, !75, !nonsense");
    check("50% 75x% 1%%", "50%, !weight 75x%, !weight 1%%");
    check("weight:257 weight: weight:-1", "!weight weight:257, !weight weight:, !weight weight:-1");
    check(
        "maxconn: maxconn:-1 maxconn:4294967296 maxconn:x",
        "!limit maxconn:, !limit maxconn:-1, !limit maxconn:4294967296, !limit maxconn:x",
    );
    check("-5% %", "!-5%, !%");
    check("Nonsense\u{1b}", "!Nonsense\u{fffd}");
    let problem = read(b"stop\n").unwrap().problems.remove(0).to_string();
    assert_eq!(
        problem,
        "\"stop\" is no word of an agent (75%, weight:N, maxconn:N, ready, drain, maint, up, down, fail, stopped)"
    );
}

#[test]
fn a_line_ends_at_the_first_cr_or_lf() {
    let up = read(b"up\n").unwrap();
    assert_eq!(read(b"up\r\n").as_ref(), Ok(&up));
    assert_eq!(read(b"up\rdown\n").as_ref(), Ok(&up));
    assert_eq!(read(b"\nup\n"), Ok(Line::default()));
    assert_eq!(read(b"up"), Err(NoLine::Unfinished));
    assert_eq!(read(b""), Err(NoLine::Unfinished));
    // At the longest and one past it.
    let line = |length: usize, end: &str| [" ".repeat(length).as_str(), end].concat();
    assert_eq!(read(line(LONGEST, "\n").as_bytes()), Ok(Line::default()));
    assert_eq!(read(line(LONGEST + 1, "\n").as_bytes()), Err(NoLine::TooLong));
    assert_eq!(read(line(LONGEST, "").as_bytes()), Err(NoLine::Unfinished));
    assert_eq!(read(line(LONGEST + 1, "").as_bytes()), Err(NoLine::TooLong));
}

/// A server without a check: after each line its status, and its effective weight in 256ths where it takes anybody.
fn story(lines: &str, expected: &str) {
    let configured = Configured {
        name: "a".into(),
        weight: Weight::new(10).unwrap(),
        limit: None,
        capacity: None,
        role: Role::Active,
        check: None,
        has_agent: true,
        administrative: Administrative::Ready,
    };
    let mut pool = Pool::new(Settings::default(), vec![configured]);
    let mut told = vec![];
    for line in lines.split(" | ") {
        for event in read(format!("{line}\n").as_bytes()).unwrap().events() {
            pool.on_event(Duration::ZERO, ServerId(0), event);
        }
        let (_, server) = pool.servers().next().unwrap();
        let takers = pool.standing(Duration::ZERO).takers;
        assert_eq!(server.serves() == Serves::All, !takers.is_empty());
        let taker = takers.first().map(|taker| {
            let limit = taker.limit.map_or(String::new(), |limit| format!(" of {limit}"));
            format!(" {}{limit}", taker.share.get())
        });
        told.push(format!("{}{}", server.status(), taker.unwrap_or_default()));
    }
    assert_eq!(told.join(" | "), expected, "{lines}");
}

#[test]
fn a_line_changes_what_it_says_and_nothing_else() {
    story(
        "75% | maxconn:5 | weight:20 | 100%",
        "no check 1920 | no check 1920 of 5 | no check 5120 of 5 | no check 2560 of 5",
    );
    story("down | 50% | up", "DOWN (agent) | DOWN (agent) | no check 1280");
    story(
        "drain | up | 50% | ready",
        "DRAIN (agent) | DRAIN (agent) | DRAIN (agent) | no check 1280",
    );
    story("maint down | ready | up", "MAINT | DOWN (agent) | no check 2560");
    story("0% | 50%", "DRAIN | no check 1280");
    story("ready up 10% drain", "DRAIN (agent)");
}

proptest! {
    /// Whatever an agent sends: a line or none, and nothing in it that a terminal would obey.
    #[test]
    fn no_octets_are_too_strange(octets in proptest::collection::vec(any::<u8>(), 0..1500)) {
        if let Ok(line) = read(&octets) {
            let texts = line.text.iter().map(ToString::to_string);
            let problems = line.problems.iter().map(ToString::to_string);
            for shown in texts.chain(problems) {
                prop_assert!(!shown.chars().any(|letter| letter.is_control() && letter != '\t'), "{shown:?}");
            }
        }
    }

    /// A line is what its words are one after another.
    #[test]
    fn a_line_is_its_words(picked in proptest::collection::vec((0..12usize, 0..3usize, any::<bool>()), 0..20)) {
        const WORDS: [&str; 12] = [
            "ready", "drain", "maint", "up", "down", "fail", "stopped", "75%", "weight:3", "weight:9%", "maxconn:7", "x",
        ];
        let mut line = String::new();
        let mut expected = Line::default();
        for (word, separator, is_loud) in picked {
            let word = if is_loud { WORDS[word].to_uppercase() } else { WORDS[word].to_owned() };
            line += &word;
            line.push([' ', '\t', ','][separator]);
            let alone = read(format!("{word}\r").as_bytes()).unwrap();
            expected.administrative = alone.administrative.or(expected.administrative);
            expected.weight = alone.weight.or(expected.weight);
            expected.limit = alone.limit.or(expected.limit);
            expected.health = alone.health.or(expected.health);
            expected.problems.extend(alone.problems);
        }
        prop_assert_eq!(read(format!("{line}\n").as_bytes()), Ok(expected));
    }
}
