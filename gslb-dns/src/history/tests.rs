//! What people are told of a change, and why.

use super::*;
use crate::history::diff::Moved;

fn kept(words: &str) -> Kept {
    let mut kept = Kept {
        belief: Belief {
            health: Health::Up,
            duty: Duty::Serving,
            weight: 1,
            admit: 1.0,
            struck: vec![],
            lost: vec![],
            halvings: 0,
        },
        since: None,
        why: "seen".into(),
        duty_why: "".into(),
        weight_why: "".into(),
    };
    for word in words.split_whitespace() {
        match word.split_once('=') {
            None if word == "down" => kept.belief.health = Health::Down,
            None if word == "drained" => kept.belief.duty = Duty::Drained,
            None => {}
            Some(("weight", weight)) => kept.belief.weight = weight.parse().unwrap_or_default(),
            Some(("admit", admit)) => kept.belief.admit = admit.parse().unwrap_or_default(),
            Some(("struck", vip)) => kept.belief.struck.extend(vip.parse::<IpAddr>().ok()),
            Some(("lost", region)) => kept.belief.lost.push(lost(region)),
            Some(("halved", times)) => kept.belief.halvings = times.parse().unwrap_or_default(),
            Some(("order", why)) => kept.duty_why = why.into(),
            Some(("heavy", why)) => kept.weight_why = why.into(),
            Some(_) => panic!("{word}"),
        }
    }
    kept
}

fn lost(region: &str) -> Lost {
    let region = region.parse().unwrap_or(geoip::Continent::Europe);
    Lost { region, addresses: Some([].into()), why: format!("{region} has it down").into() }
}

fn change(from: &str, to: &str) -> Change {
    let of = |words: &str| (words != "-").then(|| kept(words));
    Change {
        at: Timestamp::UNIX_EPOCH,
        board: 2,
        digest: "d".into(),
        epoch: "e".into(),
        service: "www.example.com".into(),
        site: "fra".into(),
        from: of(from).map(|kept| kept.belief),
        to: of(to),
    }
}

#[test]
fn a_change_is_told_in_words() {
    let check = |from: &str, to: &str, expected: &str| {
        let change = change(from, to);
        assert_eq!(format!("{} | {}", change.what(), change.reason()), expected, "{from} | {to}");
        assert!(!change.is_step());
    };
    check("up", "down", "up -> down | seen");
    check("down", "up admit=0.25", "down -> up, takes 25 % | seen");
    check("down admit=0", "up", "down -> up, takes all | seen");
    check("up admit=0.75", "up", "takes all again | seen");
    check("up", "up admit=0.5", "takes 50 % | seen");
    check("up", "up admit=0.95 order=disk", "takes 95 % | disk");
    check("up admit=0.05", "up drained admit=0 order=disk", "drained | disk");
    check("up drained", "up", "undrained | no drain holds any more");
    check("up drained", "down drained order=disk", "up -> down | seen");
    check("up", "up weight=5 heavy=half", "weight 1 -> 5 | half");
    check("up weight=5", "up", "weight 5 -> 1 | as configured");
    check("up", "up drained weight=5 order=disk heavy=half", "drained, weight 1 -> 5 | disk; half");
    check("up", "up struck=192.0.2.1", "192.0.2.1 left out | seen");
    check("up struck=192.0.2.1", "up", "192.0.2.1 answered again | seen");
    check("up struck=192.0.2.1", "down", "up -> down | seen");
    check("up", "up lost=EU", "lost to EU | EU has it down");
    check("up lost=EU lost=NA", "up lost=NA", "EU has it again | ");
    check("up lost=EU", "down", "up -> down | seen");
    check("-", "up", "new: up | seen");
    check("-", "down drained", "new: down, drained | seen");
    check("up", "-", "up, no longer in the world | ");
    // By another's word.
    check("down", "down", "still down | seen");
    check("up drained", "up drained order=disk", "still drained | disk");
    check("up admit=0.95", "up admit=0.95 order=disk", "still up | disk");
    check("up weight=5", "up weight=5 heavy=third", "still up | third");
    // Of a site that is out the share is all there is to tell.
    check("down admit=0.5", "down admit=0", "share 0.5 -> 0 | seen");
}

#[test]
fn a_step_is_on_the_way_and_nothing_else() {
    let check = |from: &str, to: &str, expected: bool| {
        assert_eq!(change(from, to).is_step(), expected, "{from} | {to}");
    };
    check("up admit=0.25", "up admit=0.5", true);
    check("up admit=0.95", "up admit=0.9 order=disk", true);
    check("up admit=0.75", "up", false);
    check("up", "up admit=0.75", false);
    check("up admit=0.25", "down admit=0.5", false);
    check("up admit=0.25", "up admit=0.5 weight=2", false);
    check("-", "up admit=0.5", false);
    check("up admit=0.5", "-", false);
}

fn group(serial: u64, second: i64, cause: Cause, moves: &[(&str, &str, &str, &str)]) -> Group {
    let head = Head {
        v: VERSION,
        serial,
        at: Timestamp::from_second(1_800_000_000 + second).unwrap_or_default(),
        cause,
        board: serial,
        digest: "8f".into(),
        epoch: "1a2b3c4d5e6f7081".into(),
        orders: 0,
        boards: 1,
        lines: 0,
    };
    let mut diff = Diff::default();
    for (service, site, from, to) in moves {
        let of = |words: &str| (words != "-").then(|| kept(words));
        let moved = Moved { from: of(from).map(|kept| kept.belief), to: of(to) };
        diff.moved.insert(((*service).into(), (*site).into()), moved);
    }
    Group::changed(head, diff)
}

#[test]
fn a_site_that_fails_is_one_line_for_all_of_its_services() {
    let moves = [
        ("api.example.com", "fra", "up", "down"),
        ("api.example.com", "iad", "down", "up admit=0.25"),
        ("img.example.com", "fra", "up", "down drained"),
        ("img.example.com", "iad", "up", "up weight=5"),
        ("img.example.com", "nrt", "-", "down"),
        ("img.example.com", "syd", "up", "-"),
        ("www.example.com", "fra", "up", "down"),
    ];
    let turned = group(2, 10, Cause::Change, &moves).diff.turned();
    let told = turned.iter().map(|one| {
        let Turned { site, from, to, is_serving, services, why } = one;
        let services = services.iter().map(|service| &**service).collect::<Vec<_>>().join(" ");
        let duty = if *is_serving { "serving" } else { "drained" };
        format!("{site} {} {} {duty} | {services} | {why}", from.as_str(), to.as_str())
    });
    let expected = [
        "fra up down drained | img.example.com | seen",
        "fra up down serving | api.example.com www.example.com | seen",
        "iad down up serving | api.example.com | seen",
    ];
    assert_eq!(told.collect::<Vec<_>>(), expected);
}

#[test]
fn people_read_a_line_for_each_change() {
    let mut listing = Listing::new(Asked::default());
    assert_eq!(listing.text(), "no history is kept yet\n");
    listing.hear(Group { is_whole: true, ..group(1, 0, Cause::Start, &[]) });
    let down = |service| (service, "fra", "up", "down");
    listing.hear(group(2, 10, Cause::Change, &["api.example.com", "www.example.com"].map(down)));
    // In the same second, when somebody else has seen it too.
    let mut third = group(3, 10, Cause::Change, &[down("img.example.com")]);
    for moved in third.diff.moved.values_mut() {
        moved.to = moved.to.take().map(|kept| Kept { why: "seen by more".into(), ..kept });
    }
    listing.hear(third);
    for order in ["disk", "twice"] {
        let to = format!("drained order={order}");
        listing.hear(group(4, 20, Cause::Change, &[("www.example.com", "iad", "up", &to)]));
    }
    let by_another = [("api.example.com", "iad", "up", "drained order=window")];
    listing.hear(group(5, 20, Cause::Change, &by_another));
    let ramp = ("www.example.com", "fra", "up admit=0.25", "up admit=0.5");
    listing.hear(group(6, 30, Cause::Change, &[ramp]));
    listing.hear(group(7, 40, Cause::Reload, &[]));
    assert_eq!(
        listing.text(),
        "\
kept since 2027-01-15T08:00:00Z
2027-01-15T08:00:00Z                                   server started  board 1, epoch 1a2b3c4d5e6f
2027-01-15T08:00:10Z  fra  api.example.com and 2 more  up -> down      seen by more
2027-01-15T08:00:20Z  iad  www.example.com             drained         disk
2027-01-15T08:00:20Z  iad  api.example.com             drained         window
2027-01-15T08:00:40Z                                   another world   board 7, epoch 1a2b3c4d5e6f
1 steps between are not shown; --steps shows them
"
    );
}

/// A site that goes and comes within a second: of each service, the last line that is about it says what it is.
#[test]
fn what_happened_last_is_told_last() {
    let mut listing = Listing::new(Asked::default());
    listing.hear(Group { is_whole: true, ..group(1, 0, Cause::Start, &[]) });
    let (up, down) = (("down", "up"), ("up", "down"));
    let moves = [(down, "www"), (down, "api"), (up, "www"), (down, "www"), (up, "api")];
    for (serial, ((from, to), service)) in (2..).zip(moves) {
        let service = format!("{service}.example.com");
        listing.hear(group(serial, 10, Cause::Change, &[(&service, "fra", from, to)]));
    }
    let text = listing.text();
    let told: Vec<&str> =
        text.lines().skip(2).map(|line| &line["2027-01-15T08:00:10Z  ".len()..]).collect();
    assert_eq!(
        told,
        [
            "fra  www.example.com and 1 more  up -> down      seen",
            "fra  www.example.com and 1 more  down -> up      seen",
            "fra  www.example.com             up -> down      seen",
        ]
    );
}

#[test]
fn a_time_of_the_listing_asks_for_its_line() {
    let late = |serial, nanosecond| {
        let mut group =
            group(serial, 10, Cause::Change, &[("www.example.com", "fra", "up", "down")]);
        group.head.at += std::time::Duration::from_nanos(nanosecond);
        group
    };
    for nanosecond in [0, 1, 499_999_999, 500_000_000, 999_999_999] {
        let mut listing = Listing::new(Asked::default());
        listing.hear(late(1, nanosecond));
        let text = listing.text();
        let line = text.lines().last().unwrap_or_default();
        let since = line.split_once(' ').map(|(at, _)| at.to_owned());
        let words = Words { since, ..Words::default() };
        let mut asked =
            Listing::new(Asked::read(&words, Timestamp::MAX).unwrap_or_else(|why| panic!("{why}")));
        asked.hear(late(1, nanosecond));
        assert_eq!(asked.text(), text, "{nanosecond}");
    }
}

#[test]
fn lines_are_written_and_read_back() {
    let moves = [
        ("www.example.com", "fra", "up", "down struck=2001:db8::1"),
        ("www.example.com", "iad", "up admit=0.25", "up admit=0.30000000000000004 order=disk"),
    ];
    let one = group(7, 0, Cause::Change, &moves);
    let text = one.text().unwrap_or_default();
    let whole = Group { is_whole: true, ..group(6, 0, Cause::Start, &[]) };
    let all = [whole.text().unwrap_or_default(), text.clone()].concat();
    let Scanned { groups, good, end } = scan(&all);
    assert_eq!((groups, good, end), (vec![whole, one], all.len(), End::Clean));
    // Tools read each line by itself.
    let text = String::from_utf8_lossy(&text).into_owned();
    let first = text.lines().nth(1).unwrap_or_default();
    assert_eq!(
        first,
        "{\"record\":\"change\",\"at\":\"2027-01-15T08:00:00Z\",\"board\":7,\"digest\":\"8f\",\
         \"epoch\":\"1a2b3c4d5e6f7081\",\"service\":\"www.example.com\",\"site\":\"fra\",\
         \"from\":{\"health\":\"up\",\"duty\":\"serving\",\"weight\":1,\"admit\":1.0},\
         \"to\":{\"health\":\"down\",\"duty\":\"serving\",\"weight\":1,\"admit\":1.0,\
         \"struck\":[\"2001:db8::1\"],\"why\":\"seen\"}}"
    );
}

#[test]
fn what_does_not_follow_is_damage() {
    let whole = Group { is_whole: true, ..group(1, 0, Cause::Start, &[]) };
    let begin = String::from_utf8(whole.text().unwrap_or_default()).unwrap_or_default();
    let two = group(2, 1, Cause::Change, &[("w", "fra", "up", "down"), ("w", "iad", "up", "down")]);
    let two = String::from_utf8(two.text().unwrap_or_default()).unwrap_or_default();
    let lines: Vec<&str> = two.lines().collect();
    let [head, one, other] = lines[..] else { panic!("{lines:?}") };
    let check = |lines: &[&str], expected: (usize, &str)| {
        let text = begin.clone() + &lines.join("\n") + "\n";
        let scanned = scan(text.as_bytes());
        let End::Damaged(line, why) = scanned.end else { panic!("{lines:?}") };
        assert_eq!((line, &*why, scanned.groups.len()), (expected.0, expected.1, 1), "{lines:?}");
    };
    check(&[one], (2, "it belongs to no board"));
    check(&[head, one, head, other], (4, "lines of a board are missing before it"));
    check(&[head, one, one], (4, "it says the same twice"));
    let later = head.replace("\"v\":1", "\"v\":2");
    check(&[&later], (2, "found version 2, expected 1"));
    let Scanned { end, .. } = scan(format!("{head}\n{one}\n{other}\n").as_bytes());
    assert_eq!(end, End::Damaged(1, "a file begins with all that is believed".into()));
    let torn = scan(format!("{begin}{head}\n{one}\n").as_bytes());
    assert_eq!(torn.end, End::Torn(head.len() + one.len() + 2));
}
