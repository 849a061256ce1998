//! Stories: what a peer tells second by second, and when somebody is told of it.

mod twins;

use super::page::{Known, Part, Shown};
use super::*;

/// `1.0s ours E1 D1 | 2.0s theirs E1 D2 V1 | 3.0s miss | …`: what answers here, what the peer says (epoch, digest,
/// evidence, each of our own is `V1`), that it did not answer; each followed by a look. What is told of each.
fn check(story: &str, expected: &[&str]) {
    assert_eq!(play(story).0, expected, "{story}");
}

/// How it stands at the end of a story.
fn check_standing(story: &str, expected: &str) {
    let (_, peers, now) = play(story);
    let told =
        peers.standings(now).map(|(peer, standing, why)| format!("{peer} {standing}: {why}"));
    assert_eq!(told.collect::<Vec<_>>(), [expected], "{story}");
}

fn play(story: &str) -> (Vec<String>, Peers, Duration) {
    let second = |word: &str| {
        Duration::from_secs_f64(word.strip_suffix('s').unwrap().parse::<f64>().unwrap())
    };
    let mut peers = Peers::new(["dns2".into()], Duration::ZERO);
    let (mut told, mut last) = (vec![], Duration::ZERO);
    for event in story.split('|') {
        let words: Vec<&str> = event.split_whitespace().collect();
        let now = second(words[0]);
        last = now;
        let face = |words: &[&str]| Face {
            node: "dns2".into(),
            epoch: words[0].into(),
            board: 7,
            digest: words[1].into(),
            evidence: words.get(2).copied().unwrap_or("V1").into(),
        };
        match words[1] {
            "ours" => peers.answer_from(now, face(&words[2..])),
            "theirs" => {
                let shown = Shown::new(
                    face(&words[2..]),
                    Part::of(&Remembered::default()).unwrap(),
                    Part::default(),
                );
                let octets = shown.page(&Known::default()).unwrap();
                peers.hear(now, 0, Page::read(&octets, "dns2").unwrap());
            }
            "miss" => peers.miss(0, "connecting: refused".to_owned()),
            "tick" => {}
            other => panic!("no event {other}"),
        }
        for Change { peer, alarm, why } in peers.turn(now) {
            told.push(format!("{} {peer} {alarm:?}: {why}", words[0]));
        }
    }
    (told, peers, last)
}

#[test]
fn who_differs_is_shown_at_once_though_nobody_is_alarmed_yet() {
    let begin = "0s ours E1 D1 | 1s theirs E1 D1 | 2s theirs";
    check(&format!("{begin} E2 D2 | 5.5s theirs E2 D2"), &[]);
    check_standing(
        &format!("{begin} E2 D2 | 5.5s theirs E2 D2"),
        "dns2 differs: for 3 s its world is E2, ours E1",
    );
    check_standing(
        &format!("{begin} E1 D2 V2 | 4s tick"),
        "dns2 differs: for 2 s its board is D2, ours D1; vantages do not tell both the same",
    );
    check_standing(&format!("{begin} E2 D2 | 3s theirs E1 D1"), "dns2 agrees: board 7 D1");
    check_standing(
        &format!("{begin} E2 D2 | 17s theirs E2 D2"),
        "dns2 other_epoch: its world is E2, ours E1",
    );
}

#[test]
fn a_peer_that_agrees_is_nobodys_business() {
    check("0s ours E1 D1 | 1s theirs E1 D1 | 60s theirs E1 D1", &[]);
    check("0s ours E1 D1 | 1s theirs E1 D2 | 15.9s theirs E1 D2 | 15.95s theirs E1 D1", &[]);
}

#[test]
fn another_board_is_told_when_it_lasts() {
    check(
        "0s ours E1 D1 | 1s theirs E1 D2 | 6s theirs E1 D2 | 15.9s theirs E1 D2 | 16s theirs E1 D2 | 17s theirs E1 D2 \
         | 18s theirs E1 D1",
        &[
            "16s dns2 Some(BoardDivergence): its board is D2, ours D1; vantages tell both the same",
            "18s dns2 None: board 7 D1",
        ],
    );
    check(
        "0s ours E1 D1 | 1s theirs E1 D2 V2 | 15s theirs E1 D2 V2 | 16s tick",
        &[
            "16s dns2 Some(BoardDivergence): its board is D2, ours D1; vantages do not tell both the same",
        ],
    );
}

#[test]
fn who_is_only_behind_agrees() {
    // It comes to each of our boards some seconds later, and never while it is the last.
    check(
        "0s ours E1 D0 | 1s theirs E1 D0 | 2s ours E1 D1 | 5s ours E1 D2 | 6s theirs E1 D1 | 8s ours E1 D3 | 12s theirs \
         E1 D2 | 15s ours E1 D4 | 18s theirs E1 D3 | 19s ours E1 D5 | 25s theirs E1 D4",
        &[],
    );
    // What we were longer ago does not count.
    check(
        "0s ours E1 D1 | 1s ours E1 D2 | 5s theirs E1 D1 | 16.5s ours E1 D3 | 17s theirs E1 D1 | 31s theirs E1 D1 | 32s \
         theirs E1 D1",
        &["32s dns2 Some(BoardDivergence): its board is D1, ours D3; vantages tell both the same"],
    );
}

#[test]
fn what_answered_here_is_forgotten_though_nothing_else_has_since() {
    check(
        "0s ours E1 D1 | 1s ours E1 D2 | 2s theirs E1 D1 | 16.5s ours E1 D2 | 17s theirs E1 D1 | 31s ours E1 D2 | 32s \
         theirs E1 D1",
        &["32s dns2 Some(BoardDivergence): its board is D1, ours D2; vantages tell both the same"],
    );
}

#[test]
fn another_world_is_told_as_that() {
    check(
        "0s ours E1 D1 | 1s theirs E2 D2 | 15s theirs E2 D2 | 16s theirs E2 D2 | 17s theirs E1 D2 | 31s theirs E1 D2 | \
         32s theirs E1 D2 | 33s ours E1 D2 | 33s theirs E1 D2",
        &[
            "16s dns2 Some(OtherEpoch): its world is E2, ours E1",
            // From then on it differs otherwise, and has its time again.
            "17s dns2 None: for 0 s its board is D2, ours D1; vantages tell both the same",
            "32s dns2 Some(BoardDivergence): its board is D2, ours D1; vantages tell both the same",
            "33s dns2 None: board 7 D2",
        ],
    );
}

#[test]
fn a_silent_peer_is_told_once() {
    check("0s ours E1 D1 | 14.9s miss", &[]);
    check(
        "0s ours E1 D1 | 1s miss | 15s tick | 20s miss | 21s theirs E1 D1 | 35.9s tick | 36s tick | 40s tick",
        &[
            "15s dns2 Some(Silent): it has never answered: connecting: refused",
            "21s dns2 None: board 7 D1",
            "36s dns2 Some(Silent): it has not answered for 15 s",
        ],
    );
    // Silence is not divergence, however it was before.
    check(
        "0s ours E1 D1 | 1s theirs E1 D2 | 15.5s theirs E1 D2 | 16s tick | 30.5s miss | 31s tick",
        &[
            "16s dns2 Some(BoardDivergence): its board is D2, ours D1; vantages tell both the same",
            "30.5s dns2 Some(Silent): it has not answered for 15 s: connecting: refused",
        ],
    );
}

#[test]
fn what_is_known_is_not_told_again() {
    let remembered = r#"{"verdicts":{"www.example.com.":{"00000000000000000000000000000001":
        {"verdict":"down","certain":true,"up":250000}}},"last_known":{"www.example.com.":["fra"]}}"#;
    let remembered: Remembered = serde_json::from_str(remembered).unwrap();
    let orders = r#"{"highest":7,"entries":[{"stamp":"7@dns2","given":"2026-11-21T10:00:00Z","site":"fra",
        "service":"*","order":"undrain","who":"alice","why":"test","since":"2026-11-21T10:00:00Z","until":null}]}"#;
    let orders: Orders = serde_json::from_str(orders).unwrap();
    let face = Face { node: "dns2".into(), ..Face::default() };
    let shown = Shown::new(face, Part::of(&remembered).unwrap(), Part::of(&orders).unwrap());
    let mut known = Known::default();
    let first = Page::read(&shown.page(&known).unwrap(), "dns2").unwrap();
    assert_eq!((&first.held, &first.orders), (&Some(remembered.clone()), &Some(orders.clone())));
    known.learn(&first);
    let asked = Known::of_query(&format!("later=1&{}", known.query()));
    assert_eq!(asked, known);
    let again = Page::read(&shown.page(&asked).unwrap(), "dns2").unwrap();
    assert_eq!((&again.held, &again.held_tag), (&None, &first.held_tag));
    assert_eq!((&again.orders, &again.orders_tag), (&None, &first.orders_tag));
    // It is met all the same, each time.
    let mut peers = Peers::new(["dns2".into()], Duration::ZERO);
    peers.hear(Duration::ZERO, 0, first);
    assert_eq!(peers.hear(PAUSE, 0, again), Some((&remembered, &orders)));
}

#[test]
fn what_is_no_page_of_this_peer_is_told() {
    let check = |octets: &str, expected: &str| {
        let told = Page::read(octets.as_bytes(), "dns2").unwrap_err().to_string();
        assert_eq!(told, expected, "{octets}");
    };
    check(r#"{"v":2}"#, "it tells in version 2, expected 1: have both on one release");
    check("{}", "missing field `v` at line 1 column 2");
    check(r#"{"v":1}"#, "missing field `held_tag` at line 1 column 7");
    let page = |node: &str, epoch: &str| {
        format!(
            r#"{{"v":1,"node":"{node}","epoch":"{epoch}","board":1,"digest":"","evidence":"","held_tag":"","orders_tag":""}}"#
        )
    };
    check(&page("dns3", ""), "it is dns3, expected dns2");
    let longest = "a".repeat(128);
    assert!(Page::read(page("dns2", &longest).as_bytes(), "dns2").is_ok());
    check(&page("dns2", &(longest + "a")), "its epoch has more than 128 octets");
}
