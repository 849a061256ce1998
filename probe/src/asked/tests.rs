//! Who asks for what, and what each of them hears.

use common::assignment;
use common::report::State;

use super::*;

/// A target on this port, and its id.
fn target(port: u16) -> Target {
    let json = format!(
        r#"{{"address":"192.0.2.1","port":{port},"host":"www.example.com","check":
           {{"kind":"tcp","interval_ms":5000,"timeout_ms":2000,"rise":2,"fall":3,"ok":2}}}}"#
    );
    serde_json::from_str(&json).unwrap()
}

fn asks(ports: &[u16]) -> Assignment {
    let targets: Vec<Target> = ports.iter().map(|port| target(*port)).collect();
    Assignment::read(&assignment::write("e1", &targets)).unwrap()
}

/// What changes, as ports: begun, ended; heard of, and no more, by name server.
fn check(change: Change, expected: &str) {
    let ports: HashMap<TargetId, u16> = (1..=9).map(|port| (target(port).id(), port)).collect();
    let Change { begin, end, tell, drop } = change;
    let mut words: Vec<String> =
        begin.iter().map(|(id, _)| format!("begin {}", ports[id])).collect();
    words.extend(end.iter().map(|id| format!("end {}", ports[id])));
    words.extend(tell.iter().map(|(server, id, hears)| match hears {
        Ok(()) => format!("{server}+{}", ports[id]),
        Err(why) => format!("{server}!{} {why}", ports[id]),
    }));
    words.extend(drop.iter().map(|(server, id)| format!("{server}-{}", ports[id])));
    words.sort();
    assert_eq!(words.join(", "), expected);
}

#[test]
fn looked_at_is_the_union_and_each_hears_of_its_own() {
    let mut asked = Asked::default();
    check(asked.assign("dns1".into(), asks(&[1, 2])), "begin 1, begin 2, dns1+1, dns1+2");
    check(asked.assign("dns2".into(), asks(&[2, 3])), "begin 3, dns2+2, dns2+3");
    check(asked.assign("dns2".into(), asks(&[2, 3])), "");
    check(asked.assign("dns1".into(), asks(&[1])), "dns1-2");
    check(asked.assign("dns2".into(), asks(&[1])), "dns2+1, dns2-2, dns2-3, end 2, end 3");
    let of = |asked: &Asked, port| {
        asked.askers(target(port).id()).map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!((of(&asked, 1), of(&asked, 2)), (vec!["dns1".to_owned(), "dns2".into()], vec![]));
    check(asked.keep(&["dns2".into()].into()), "dns1-1");
    check(asked.keep(&BTreeSet::new()), "dns2-1, end 1");
}

#[test]
fn references_are_looked_at_and_told_to_nobody() {
    let mut asked = Asked::default();
    check(asked.refer_to(vec![target(1), target(2)]), "begin 1, begin 2");
    // One that somebody asks for is told to them, and stays when they ask no more.
    check(asked.assign("dns1".into(), asks(&[1])), "dns1+1");
    check(asked.assign("dns1".into(), asks(&[])), "dns1-1");
    check(asked.refer_to(vec![target(2)]), "end 1");
}

#[test]
fn what_is_not_understood_is_told_as_that() {
    let octets = assignment::write("e1", [&target(1), &target(2)]);
    let octets = String::from_utf8(octets).unwrap().replace(r#""port":2"#, r#""port":0"#);
    let mut asked = Asked::default();
    let assignment = Assignment::read(octets.as_bytes()).unwrap();
    check(
        asked.assign("dns1".into(), assignment),
        "begin 1, dns1!2 port: 0 is no port to look at, dns1+1",
    );
    assert_eq!(asked.askers(target(2).id()).count(), 0);
    // Somebody else asks for it in words that are understood.
    check(asked.assign("dns2".into(), asks(&[2])), "begin 2, dns2+2");
    check(asked.assign("dns1".into(), asks(&[1, 2])), "dns1+2");
}

#[test]
fn no_more_is_looked_at_than_a_report_holds_and_the_rest_is_told() {
    let mut base = target(1);
    let many = |base: &mut Target, count: usize, first: usize| {
        let targets: Vec<Target> = (first..first + count)
            .map(|number| {
                base.host = format!("h{number}");
                base.clone()
            })
            .collect();
        Assignment::read(&assignment::write("e1", &targets)).unwrap()
    };
    let mut asked = Asked::default();
    let change = asked.assign("dns1".into(), many(&mut base, MOST_TARGETS, 0));
    assert_eq!(change.begin.len(), MOST_TARGETS);
    assert!(change.tell.iter().all(|(_, _, hears)| hears.is_ok()));
    let change = asked.assign("dns2".into(), many(&mut base, 100, MOST_TARGETS));
    let not_looked_at =
        |change: &Change| change.tell.iter().filter(|(_, _, hears)| hears.is_err()).count();
    assert_eq!(asked.looked_at.len(), MOST_TARGETS);
    assert_eq!((change.begin.len(), change.end.len()), (change.end.len(), change.begin.len()));
    assert_eq!(not_looked_at(&change), 100);
    // References are looked at all the same.
    let change = asked.refer_to(vec![target(2)]);
    assert_eq!((change.begin.len(), change.end.len(), not_looked_at(&change)), (1, 1, 1));
    let entry = crate::judge::unlookable(target(1).id(), "why");
    assert_eq!((entry.state, &*entry.detail), (State::None, "why"));
}
