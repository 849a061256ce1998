//! When a probe says that it does not see.

use super::*;

const INTERVAL: Duration = Duration::from_secs(5);
const RETURNING: &str = "sees again, and has not looked again at all that it lost sight of";

fn id(number: u8) -> TargetId {
    TargetId([number; 16])
}

/// Targets are 1 to 9, each two on one address; references are a, b and c.
fn blind(targets: u8, references: u8) -> Blind {
    let mut blind = Blind::default();
    for target in 1..=targets {
        let address = Address::Name(format!("host{}", target / 2));
        blind.add(id(target), address, INTERVAL);
    }
    blind.refer_to((0..references).map(|reference| id(b'a' + reference)));
    blind
}

/// `10 +123 -4 late` at ten seconds: looks at 1, 2 and 3 succeed, at 4 one fails, looks are late. A reference that fails
/// is down and one that succeeds up. Then what is expected: `sees`, or why not.
fn story(blind: &mut Blind, steps: &[(&str, &str)]) {
    for (step, expected) in steps {
        let mut words = step.split(' ');
        let now = Duration::from_secs(words.next().unwrap().parse().unwrap());
        let mut late = None;
        for word in words {
            let (sign, targets) = word.split_at(1);
            let (outcome, state) = match sign {
                "+" => (Outcome::Success, State::Up),
                "-" => (Outcome::Failure, State::Down),
                _ => {
                    late = Some(Duration::from_secs(70));
                    continue;
                }
            };
            for target in targets.bytes() {
                let number = if target.is_ascii_digit() { target - b'0' } else { target };
                blind.on_result(now, id(number), outcome, state);
            }
        }
        let told = blind.judge(now, late).unwrap_or_else(|| "sees".to_owned());
        assert_eq!(told, *expected, "{step}");
    }
}

#[test]
fn who_loses_most_of_what_was_up_at_once_is_blind() {
    story(
        &mut blind(8, 0),
        &[
            ("0 +12345678", "sees"),
            ("5 -1234", "sees"),
            ("6 -5", "lost 5 of 8 targets at once"),
            ("7 -678", "lost 8 of 8 targets at once"),
            // Not again by one that comes back, but by most of them.
            ("20 +12345", "lost 8 of 8 targets at once"),
            // What the others showed in the dark does not count before they are seen again.
            ("21 +6", RETURNING),
            ("22 +7", RETURNING),
            ("23 +8", "sees"),
        ],
    );
}

#[test]
fn few_targets_or_one_address_are_no_loss() {
    story(&mut blind(2, 0), &[("0 +12", "sees"), ("5 -12", "sees")]);
    let mut one_address = Blind::default();
    for target in 1..=5 {
        one_address.add(id(target), Address::Name("host".into()), INTERVAL);
    }
    story(&mut one_address, &[("0 +12345", "sees"), ("5 -12345", "sees")]);
    story(&mut blind(3, 0), &[("0 +123", "sees"), ("5 -123", "lost 3 of 3 targets at once")]);
}

#[test]
fn what_goes_one_after_the_other_is_not_lost_at_once() {
    story(
        &mut blind(6, 0),
        &[
            ("0 +123456", "sees"),
            ("10 -12 +3456", "sees"),
            ("30 -34 +56", "sees"),
            ("50 -5 +6", "sees"),
            ("70 -6", "sees"),
        ],
    );
    // What was never up, or is long down, is not lost.
    story(&mut blind(6, 0), &[("0 -12345 +6", "sees"), ("5 -12345", "sees"), ("10 -6", "sees")]);
}

#[test]
fn references_that_are_mostly_down_are_blindness() {
    story(
        &mut blind(2, 3),
        &[
            ("0 +12abc", "sees"),
            ("5 -a", "sees"),
            ("6 -b", "2 of 3 reference targets are down"),
            ("10 +a", "sees"),
        ],
    );
    // One of two is neither most of them down nor most of them up: it stays as it was.
    story(
        &mut blind(2, 2),
        &[
            ("0 +12", "sees"),
            ("1 -a", "sees"),
            ("2 -b", "2 of 2 reference targets are down"),
            ("5 +a", "1 of 2 reference targets are down"),
            ("10 +b", "sees"),
            ("15 -a", "sees"),
        ],
    );
}

#[test]
fn what_was_seen_in_the_dark_says_nothing_when_it_is_over() {
    let down = "3 of 3 reference targets are down";
    // However long it was.
    let dark = [("0 +12abc", "sees"), ("5 -abc", down), ("6 -12", down), ("100 -12", down)];
    let mut seen = blind(2, 3);
    story(&mut seen, &dark);
    story(&mut seen, &[("101 +abc", RETURNING), ("102 +1", RETURNING), ("103 +2", "sees")]);
    // What is down all the same is down when it must have been looked at again.
    let mut gone = blind(2, 3);
    story(&mut gone, &dark);
    story(&mut gone, &[("101 +abc", RETURNING), ("110 -12", RETURNING), ("111 -12", "sees")]);
    // What was down before is nothing that was lost sight of.
    let mut before = blind(2, 3);
    story(
        &mut before,
        &[("0 +12abc", "sees"), ("5 -1", "sees"), ("60 -abc", down), ("61 -2", down)],
    );
    story(&mut before, &[("62 +abc", RETURNING), ("63 +2", "sees")]);
}

#[test]
fn references_that_answer_after_a_loss_say_that_it_is_real() {
    story(
        &mut blind(6, 3),
        &[
            ("0 +123456abc", "sees"),
            // They were up before; that says nothing yet.
            ("5 -1234", "lost 4 of 6 targets at once"),
            ("6 +a", "lost 4 of 6 targets at once"),
            ("7 +b", "sees"),
            ("8 -1234", "sees"),
            // What is lost after that is another loss.
            ("9 -56", "sees"),
        ],
    );
}

#[test]
fn a_loss_without_references_is_believed_in_the_end() {
    story(
        &mut blind(6, 0),
        &[
            ("0 +123456", "sees"),
            ("5 -1234", "lost 4 of 6 targets at once"),
            ("304 -1234", "lost 4 of 6 targets at once"),
            ("305 -1234", "sees"),
            ("400 -1234", "sees"),
            // Who comes back can be lost again.
            ("500 +1234", "sees"),
            ("505 -1234", "lost 4 of 6 targets at once"),
        ],
    );
}

#[test]
fn looks_that_are_too_late_tell_of_the_past() {
    let why = "looks are 70 s late: more targets than this probe can look at";
    story(&mut blind(2, 0), &[("0 +12", "sees"), ("100 late", why), ("105", why), ("110", "sees")]);
}

#[test]
fn targets_that_go_take_their_part_of_a_loss_with_them() {
    let mut blind = blind(6, 0);
    story(&mut blind, &[("0 +123456", "sees"), ("5 -1234", "lost 4 of 6 targets at once")]);
    for target in 1..=3 {
        blind.remove(id(target));
    }
    story(&mut blind, &[("6 -4", RETURNING)]);
    for target in 4..=6 {
        blind.remove(id(target));
    }
    assert_eq!((blind.up, blind.lost_now, blind.addresses.len()), (0, 0, 0));
    assert!(blind.intervals.is_empty());
}
