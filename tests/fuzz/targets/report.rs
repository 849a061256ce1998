//! `report`: what a producer with a good certificate may send, read, and taken as a name server takes it.

#![no_main]

use std::collections::HashSet;
use std::time::Duration;

use common::principal::Kind;
use common::report::agent::{
    LONGEST_GROUP, MOST_DEMANDS, MOST_PER_SECOND, MOST_VIPS, Rate, SiteSaid,
};
use common::report::{
    Body, Digest, EntryHash, Head, LONGEST_DETAIL, LONGEST_LEASE, MOST_TARGETS, Mark, Report, Said,
    State,
};
use gslb_dns::control::changes;
use gslb_dns::inbox::stream::{Oddity, Reception, Stream};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|octets: &[u8]| {
    let Ok(Report { head, body }) = Report::read(octets) else { return };
    assert!(head.valid <= LONGEST_LEASE);
    let text = std::str::from_utf8(octets).expect("JSON is UTF-8");
    match body {
        Body::Probe(said) => probe(text, &head, said),
        Body::Agent(said) => agent(text, &head, said),
    }
});

fn probe(text: &str, head: &Head, said: Vec<Said<'_>>) {
    assert_eq!(head.kind, Kind::Probe);
    assert!(said.len() <= MOST_TARGETS);
    let mut seen = HashSet::new();
    let mut digest = Digest::default();
    for one in &said {
        assert!(seen.insert(one.entry.target), "twice");
        assert!(one.entry.detail.len() <= LONGEST_DETAIL);
        assert!(!one.entry.detail.contains(char::is_control));
        // The hash is of what came, not of what was understood.
        assert!(text.contains(one.octets));
        if one.entry.state != State::Gone {
            digest.add(EntryHash::of(one.octets));
        }
    }
    let targets: Vec<_> = said.iter().map(|one| (one.entry.target, one.entry.state)).collect();

    let now = Duration::from_secs(1);
    let mut stream = Stream::new(Mark::default());
    let reception = stream.on_report(now, head, changes(said));
    let expected = match head.base {
        _ if head.mark == Mark::default() => Reception::Behind(Mark::default()),
        // It knows nothing to build upon.
        Some(_) => Reception::SendWhole,
        None if digest == head.digest => Reception::Taken(Oddity::None),
        None => Reception::Taken(Oddity::WrongDigest),
    };
    assert_eq!(reception, expected);
    let is_taken = matches!(reception, Reception::Taken(_));
    for (target, state) in targets {
        let kept = stream.entry(target).map(|entry| entry.state);
        assert_eq!(kept, (is_taken && state != State::Gone).then_some(state));
    }
    assert_eq!(stream.lease_ends(), is_taken.then_some(now + head.valid));
    // Once more is never news.
    if is_taken {
        assert_eq!(stream.on_report(now, head, []), Reception::Behind(head.mark));
    }
}

fn agent(text: &str, head: &Head, said: SiteSaid<'_>) {
    assert_eq!((head.kind, head.base), (Kind::Agent, None));
    let SiteSaid { site: _, vips, demand } = said;
    assert!(vips.len() <= MOST_VIPS && demand.len() <= MOST_DEMANDS);
    let is_bounded = |rate: Rate| (0.0..=MOST_PER_SECOND).contains(&rate.per_second());
    let mut seen = HashSet::new();
    for one in &vips {
        assert!(seen.insert(one.vip.at()), "twice");
        assert!(text.contains(one.octets));
        let rates = [one.vip.capacity, one.vip.load, one.vip.offer];
        assert!(rates.into_iter().flatten().all(is_bounded));
    }
    let mut seen = HashSet::new();
    for share in &demand {
        assert!(seen.insert((share.vip, &share.group)), "twice");
        assert!((1..=LONGEST_GROUP).contains(&share.group.len()));
        assert!(is_bounded(share.rps));
    }
    // What is understood is written so that it is understood again.
    let kept: Vec<_> = vips.into_iter().map(|one| one.vip).collect();
    let (body, digest) = common::report::agent::write("fra", &kept, &demand);
    let octets = Head { digest, ..head.clone() }.write(&body);
    let Body::Agent(again) = Report::read(&octets).expect("it is a report").body else {
        unreachable!("it is an agent's")
    };
    assert!(again.vips.iter().map(|one| &one.vip).eq(&kept) && again.demand == demand);
}
