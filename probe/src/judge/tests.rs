//! What looks come to, told by fake time.

use std::num::NonZeroU16;

use common::report::Phases;
use common::streak::Thresholds;
use proptest::prelude::*;

use super::*;

const TARGET: TargetId = TargetId([7; 16]);
const TODAY: i64 = 1_800_000_000;

fn judge() -> Judge {
    let some = |count| NonZeroU16::new(count).unwrap();
    let thresholds = Thresholds { rise: some(2), fall: some(3), ok: some(2) };
    let timing = Timing::new(Duration::from_secs(5), Duration::from_secs(2), thresholds);
    Judge::new(TARGET, timing, Duration::ZERO)
}

fn took(milliseconds: u32) -> Seen {
    let phases = Phases { connect: Some(milliseconds), ..Phases::default() };
    Seen { outcome: Ok(()), phases, not_after: None, status: None }
}

fn failed(reason: Reason, detail: &str) -> Seen {
    let outcome = Err(Failure::new(reason, detail));
    Seen { outcome, phases: Phases::default(), not_after: None, status: None }
}

/// Looks five seconds apart: `+` 20 ms, `s` 200 ms, `-` refused, `p` the probe could not look. The state after each, as
/// its first letter, and what is told at the end: state, since in seconds, flaps.
fn story(looks: &str, states: &str, at_end: &str) {
    let mut judge = judge();
    let mut seen = String::new();
    for (look, number) in looks.bytes().zip(1..) {
        let what = match look {
            b'+' => took(20),
            b's' => took(200),
            b'-' => failed(Reason::Refused, "connection refused"),
            b'p' => Seen::unseen("too many open files"),
            other => panic!("{other}"),
        };
        judge.on_seen(Duration::from_secs(number * 5), &what, TODAY);
        seen.push(judge.state().as_str().chars().next().unwrap());
    }
    let Entry { state, since, flaps, reason, .. } = judge.entry();
    let why = reason.map_or(String::new(), |reason| format!(" {reason}"));
    let told = format!("{state} since {} flaps {flaps}{why}", since / 1000);
    assert_eq!((&*seen, &*told), (states, at_end), "{looks}");
}

#[test]
fn states_follow_from_streaks() {
    story("", "", "none since 0 flaps 0");
    story("+", "u", "up since 5 flaps 0");
    story("---", "nnd", "down since 15 flaps 0 refused");
    story("+-", "uu", "up since 5 flaps 0 refused");
    story("+-+", "uuu", "up since 5 flaps 0");
    story("+---", "uuud", "down since 20 flaps 1 refused");
    story("+---++", "uuuddu", "up since 30 flaps 2");
}

#[test]
fn a_probe_that_cannot_look_has_no_evidence_once_that_lasts() {
    // It is no failure, and one alone changes nothing.
    story("+pp+", "uuuu", "up since 5 flaps 0");
    story("+-p-p+", "uuuuuu", "up since 5 flaps 0");
    story("+ppp", "uuun", "none since 20 flaps 0 probe");
    // What confirms the state goes on from where it was: nothing flapped.
    story("+pppp+", "uuunnu", "up since 5 flaps 0");
    story("+---pp", "uuuddn", "none since 30 flaps 1 probe");
    story("+---pp-", "uuuddnd", "down since 20 flaps 1 refused");
    // What speaks against it has to be sure first.
    story("+ppp--", "uuunnn", "none since 20 flaps 0 refused");
    story("+ppp---", "uuunnnd", "down since 35 flaps 1 refused");
    story("---ppp++", "nnddnnnu", "up since 40 flaps 1");
}

#[test]
fn slow_is_what_lasts_and_is_beyond_twice_what_it_was() {
    let known = "++++++++";
    let up = "uuuuuuuu";
    let check = |looks: &str, states: &str, at_end: &str| {
        story(&format!("{known}{looks}"), &format!("{up}{states}"), at_end);
    };
    // 20 ms: beyond 70 ms is slow. Smoothed: 65, 99, 124, 143.
    check("ssss", "uuus", "slow since 5 flaps 0");
    check("s++s++", "uuuuuu", "up since 5 flaps 0");
    // Back, once nearer to 20 than to 70 twice: 112, 89, 72, 59, 49, 42, 36.
    check("ssss++++++++", "uuusssssssuu", "up since 5 flaps 0");
    // Down is not slow, and who comes up begins anew.
    check("ssss---++", "uuusssddu", "up since 85 flaps 2");
}

#[test]
fn a_baseline_does_not_learn_what_is_slow() {
    let mut judge = judge();
    let mut now = Duration::ZERO;
    let mut look = |milliseconds: u32, times: u32| {
        for _ in 0..times {
            now += Duration::from_secs(5);
            judge.on_seen(now, &took(milliseconds), TODAY);
        }
        judge.state()
    };
    assert_eq!(look(100, 20), State::Up);
    assert_eq!(look(400, 10_000), State::Slow);
    assert_eq!(look(100, 20), State::Up);
    // It is still 100 ms that this is compared with.
    assert_eq!(look(250, 20), State::Slow);
    assert_eq!(look(100, 20), State::Up);
    // What creeps up slowly enough becomes normal; it is another network then.
    for milliseconds in 100..400 {
        assert_eq!(look(milliseconds, 10), State::Up, "{milliseconds}");
    }
}

#[test]
fn jitter_is_no_news() {
    let mut judge = judge();
    for _ in 0..10 {
        judge.on_seen(Duration::from_secs(5), &took(40), TODAY);
    }
    let before = judge.entry();
    for (look, number) in [38, 45, 41, 33, 47, 40, 36, 44].into_iter().cycle().take(1000).zip(2..) {
        judge.on_seen(Duration::from_secs(5 * number), &took(look), TODAY);
        assert_eq!(judge.entry(), before);
    }
    // Nor is a failing target whose reason has another number in it each time.
    for number in 0..5 {
        let detail = format!("ended after {number} octets");
        judge.on_seen(Duration::from_secs(9000), &failed(Reason::Body, &detail), TODAY);
    }
    let before = judge.entry();
    assert_eq!((before.state, &*before.detail), (State::Down, "ended after 0 octets"));
    judge.on_seen(Duration::from_secs(9029), &failed(Reason::Body, "another"), TODAY);
    assert_eq!(judge.entry(), before);
    judge.on_seen(Duration::from_secs(9030), &failed(Reason::Body, "another"), TODAY);
    assert_eq!(judge.entry().detail, "another");
    judge.on_seen(Duration::from_secs(9031), &failed(Reason::Status, "answered 503"), TODAY);
    assert_eq!(judge.entry().detail, "answered 503");
}

#[test]
fn days_are_whole_and_details_short() {
    let mut judge = judge();
    let mut seen = failed(Reason::Certificate, &"é\n".repeat(LONGEST_DETAIL));
    seen.not_after = Some(TODAY - 1);
    judge.on_seen(Duration::ZERO, &seen, TODAY);
    let Entry { detail, cert_days, .. } = judge.entry();
    assert_eq!(cert_days, Some(-1));
    assert!(detail.len() <= LONGEST_DETAIL && detail.chars().all(|letter| letter == 'é'));
}

#[test]
fn another_look_soon_is_asked_for_while_results_speak_against_the_state() {
    let mut judge = judge();
    let mut doubt = |seen: &Seen| judge.on_seen(Duration::ZERO, seen, TODAY).is_in_doubt;
    assert!(!doubt(&took(1)));
    assert!(doubt(&failed(Reason::Timeout, "")));
    assert!(!doubt(&Seen::unseen("")));
    assert!(doubt(&failed(Reason::Timeout, "")));
    assert!(!doubt(&failed(Reason::Timeout, "")), "it is down now");
    assert!(doubt(&took(1)));
}

proptest! {
    /// No sequence makes a state without its looks, or lets time run backwards.
    #[test]
    fn states_have_their_looks(looks in prop::collection::vec((0..4_u8, 1..3000_u32), 0..200)) {
        let mut judge = judge();
        let (mut good, mut bad) = (0, 0);
        for ((look, milliseconds), number) in looks.into_iter().zip(1..) {
            let before = judge.state();
            let seen = match look {
                0 => failed(Reason::Timeout, "late"),
                1 => Seen::unseen("no descriptor"),
                _ => took(milliseconds),
            };
            match look {
                0 => bad += 1,
                1 => {}
                _ => good += 1,
            }
            let now = Duration::from_secs(number);
            judge.on_seen(now, &seen, TODAY);
            let entry = judge.entry();
            prop_assert!(entry.since <= number * 1000);
            prop_assert!(entry.streak < entry.need);
            if entry.state == State::Down && before != State::Down && before != State::None {
                prop_assert!(bad >= 3);
                (good, bad) = (0, 0);
            }
            if matches!(entry.state, State::Up | State::Slow) {
                prop_assert!(good >= 1);
            }
        }
    }
}
