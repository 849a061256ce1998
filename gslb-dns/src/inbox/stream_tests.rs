//! Stories of reports that are lost, repeated, replayed and of twins; then random ones, which must end well.

use common::principal::Kind;
use common::report::{LONGEST_PAUSE, Outgoing, Reply, Teller, Told};
use common::target::TargetId;
use proptest::prelude::*;

use super::*;

const VALID: Duration = Duration::from_secs(10);

/// Reports as words, and what becomes of each: `a:1.5` is boot a, incarnation 1, number 5, whole; `a:1.5<1.4`
/// builds on 1.4; `*` behind it has a wrong digest; `+10` lets so many seconds pass.
fn story(words: &str, expected: &str) {
    let mut stream: Stream<u8, u64> = Stream::new(Mark::default());
    let mut now = Duration::from_secs(1000);
    let mut told = Vec::new();
    for word in words.split_whitespace() {
        if let Some(seconds) = word.strip_prefix('+') {
            now += Duration::from_secs(seconds.parse().unwrap());
            continue;
        }
        let reception = stream.on_report(now, &head(word), [(1, said(7))]);
        told.push(match reception {
            Reception::Taken(Oddity::None) => "taken".to_owned(),
            Reception::Taken(Oddity::Restarted) => "restarted".to_owned(),
            Reception::Taken(Oddity::WrongDigest) => "wrong".to_owned(),
            Reception::SendWhole => "whole!".to_owned(),
            Reception::Behind(mark) => format!("behind-{mark}"),
            Reception::Duplicate(mark) => format!("duplicate-{mark}"),
            Reception::TooMany => "too-many".to_owned(),
        });
    }
    assert_eq!(told.join(" "), expected, "{words}");
}

fn said(value: u64) -> Change<u64> {
    Change::Said(EntryHash::of(&value.to_string()), value)
}

fn mark(text: &str) -> Mark {
    let (inc, seq) = text.split_once('.').unwrap();
    Mark { inc: inc.parse().unwrap(), seq: seq.parse().unwrap() }
}

fn head(word: &str) -> Head {
    let (boot, rest) = word.split_once(':').unwrap();
    let (rest, is_wrong) = rest.strip_suffix('*').map_or((rest, false), |rest| (rest, true));
    let (own_mark, base) =
        rest.split_once('<').map_or((rest, None), |(own, base)| (own, Some(mark(base))));
    let mut digest = Digest::default();
    digest.add(EntryHash::of(if is_wrong { "else" } else { "7" }));
    Head {
        cluster: "example".into(),
        producer: "ams".into(),
        kind: Kind::Probe,
        boot: Boot([boot.as_bytes()[0]; 16]),
        mark: mark(own_mark),
        base,
        now: Duration::from_secs(500),
        digest,
        valid: VALID,
        own: Own::default(),
    }
}

#[test]
fn a_stream_goes_on_in_order() {
    story("a:1.1 a:1.2<1.1 a:1.3<1.2", "taken taken taken");
    // The answer to 1.2 was lost: 1.3 still builds on 1.1, and that is here.
    story("a:1.1 a:1.2<1.1 a:1.3<1.1", "taken taken taken");
    // A whole report is always taken.
    story("a:1.1 a:1.9", "taken taken");
}

#[test]
fn what_is_not_newer_is_refused() {
    story("a:1.1 a:1.2<1.1 a:1.2<1.1 a:1.1 a:1.2", "taken taken behind-1.2 behind-1.2 behind-1.2");
    story("a:2.1 a:1.9", "taken behind-2.1");
}

#[test]
fn what_builds_on_nothing_here_has_to_come_whole() {
    story("a:1.5<1.4", "whole!");
    story("a:1.1 a:1.3<1.2", "taken whole!");
    // A base of another incarnation.
    story("a:1.1 a:2.1<1.1 a:2.2<2.1", "taken whole! whole!");
    story("a:1.1 a:1.2<0.9", "taken whole!");
}

#[test]
fn a_digest_that_does_not_fit_has_everything_told_again() {
    story("a:1.1 a:1.2<1.1* a:1.3<1.1 a:1.4*", "taken whole! taken wrong");
}

#[test]
fn a_restart_is_taken_at_once_and_its_twin_waits() {
    story("a:1.1 b:2.1", "taken restarted");
    // Its incarnation was lost.
    story("a:5.9 b:1.1 b:6.1", "taken behind-5.9 restarted");
    // The same incarnation is not a later one, whatever its number.
    story("a:1.1 b:1.2", "taken behind-1.1");
    // A run that came back to life: a cloned machine.
    story("a:1.1 b:2.1 a:3.1 a:1.2<1.1", "taken restarted duplicate-2.1 duplicate-2.1");
    // Until the other has been silent for its lease; then as anybody.
    story(
        "a:1.1 b:2.1 +9 a:3.1 +1 a:2.5 a:3.1",
        "taken restarted duplicate-2.1 behind-2.1 restarted",
    );
}

#[test]
fn a_refused_report_leaves_everything_as_it_was() {
    let mut stream: Stream<u8, u64> = Stream::new(Mark::default());
    let at = Duration::from_secs;
    assert_eq!(
        stream.on_report(at(1000), &head("a:1.1"), [(1, said(7))]),
        Reception::Taken(Oddity::None)
    );
    for refused in ["a:1.3<1.2", "a:1.2<1.1*", "a:1.1", "b:1.1", "b:2.1<1.1"] {
        stream.on_report(at(1005), &head(refused), [(1, said(8))]);
        assert_eq!(stream.lease_ends(), Some(at(1010)), "{refused}");
        assert_eq!(
            (stream.mark(), stream.entry(1)),
            (Mark { inc: 1, seq: 1 }, Some(&7)),
            "{refused}"
        );
    }
}

#[test]
fn what_was_known_before_a_restart_of_ours_is_not_replayed() {
    let mut stream: Stream<u8, u64> = Stream::new(Mark { inc: 4, seq: 2 });
    let now = Duration::ZERO;
    assert_eq!(
        stream.on_report(now, &head("a:4.2"), [(1, said(7))]),
        Reception::Behind(Mark { inc: 4, seq: 2 })
    );
    assert_eq!(stream.on_report(now, &head("a:4.3<4.2"), [(1, said(7))]), Reception::SendWhole);
    assert_eq!(
        stream.on_report(now, &head("a:4.4"), [(1, said(7))]),
        Reception::Taken(Oddity::None)
    );
}

#[test]
fn times_are_of_our_clock() {
    let mut stream: Stream<u8, u64> = Stream::new(Mark::default());
    let at = Duration::from_secs;
    assert!(stream.said(1).is_none());
    stream.on_report(at(1000), &head("a:1.1"), [(1, said(7))]);
    let check = |stream: &Stream<u8, u64>| {
        let said = stream.said(1).unwrap();
        assert_eq!(said.on_our_clock(at(470)), at(970));
        assert_eq!(said.on_our_clock(at(600)), at(1000), "not in our future");
    };
    check(&stream);
    assert!(stream.is_fresh(at(1009)) && !stream.is_fresh(at(1010)));
    // A later report that was longer under way, and does not speak of it.
    assert!(taken(stream.on_report(at(1007), &head("a:1.2<1.1"), [])));
    check(&stream);
}

fn taken(reception: Reception) -> bool {
    matches!(reception, Reception::Taken(_))
}

#[test]
fn a_reader_is_told_what_is_new_or_to_read_everything() {
    let mut stream: Stream<usize, u64> = Stream::new(Mark::default());
    let now = Duration::from_secs(1000);
    let begin = stream.place();
    assert_eq!(stream.told_since(begin), Some(&[][..]));
    assert!(taken(stream.on_report(now, &head("a:1.1"), [])));
    assert_eq!(stream.told_since(begin), None, "a whole report");
    let whole = stream.place();
    let mut seq = 1;
    let mut tell = |stream: &mut Stream<usize, u64>, keys: std::ops::Range<usize>| {
        seq += 1;
        let mut head = head(&format!("a:1.{seq}<1.1"));
        head.digest = Digest::default();
        let gone = keys.map(|key| (key, Change::Gone));
        assert!(taken(stream.on_report(now, &head, gone)));
    };
    tell(&mut stream, 3..4);
    let after_one = stream.place();
    tell(&mut stream, 7..8);
    assert_eq!(stream.told_since(whole), Some(&[3, 7][..]));
    assert_eq!(stream.told_since(after_one), Some(&[7][..]));
    assert_eq!(stream.told_since(stream.place()), Some(&[][..]));
    // As much as is remembered for sure, and one more than is ever kept.
    for (count, is_known) in [(MOST_LATELY, true), (2 * MOST_LATELY + 1, false)] {
        let place = stream.place();
        tell(&mut stream, 0..count);
        assert_eq!(stream.told_since(place).is_some(), is_known, "{count}");
    }
    // Of another stream.
    assert_eq!(Stream::<usize, u64>::new(Mark::default()).told_since(whole), None);
}

#[test]
fn entries_are_bounded() {
    let entries = |count: usize| (0..count).map(|index| (index, said(1)));
    let mut whole = head("a:1.1");
    whole.digest = Digest::default();
    let mut stream: Stream<usize, u64> = Stream::new(Mark::default());
    assert_eq!(stream.on_report(VALID, &whole, entries(MOST_TARGETS + 1)), Reception::TooMany);
    for _ in 0..MOST_TARGETS {
        whole.digest.add(EntryHash::of("1"));
    }
    assert_eq!(
        stream.on_report(VALID, &whole, entries(MOST_TARGETS)),
        Reception::Taken(Oddity::None)
    );
    let more = [(MOST_TARGETS, said(1))];
    assert_eq!(stream.on_report(VALID, &head("a:1.2<1.1"), more), Reception::TooMany);
}

/// What may happen to a report on its way, and to its producer.
#[derive(Clone, Copy, Debug)]
enum Event {
    Say(u8, u8),
    Drop(u8),
    /// Sent, taken, answered.
    Arrives,
    /// Sent and lost.
    Lost,
    /// Sent and taken; the answer is lost.
    Unanswered,
    /// An earlier one comes again.
    Replayed(usize),
    Restart,
    /// The same, and what it kept on disk is lost.
    RestartWithoutDisk,
    /// We restart, and keep the mark alone.
    WeRestart,
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        6 => (0..6u8, any::<u8>()).prop_map(|(target, value)| Event::Say(target, value)),
        2 => (0..6u8).prop_map(Event::Drop),
        6 => Just(Event::Arrives),
        2 => Just(Event::Lost),
        2 => Just(Event::Unanswered),
        2 => (0..20usize).prop_map(Event::Replayed),
        1 => Just(Event::Restart),
        1 => Just(Event::RestartWithoutDisk),
        1 => Just(Event::WeRestart),
    ]
}

/// One producer, one name server, and the wire between them.
struct Wire {
    now: Duration,
    stream: Stream<TargetId, String>,
    teller: Teller,
    truth: std::collections::BTreeMap<TargetId, String>,
    boots: u8,
    kept_inc: u64,
    sent: Vec<(Head, Outgoing)>,
}

impl Wire {
    fn new() -> Wire {
        Wire {
            now: Duration::from_secs(100),
            stream: Stream::new(Mark::default()),
            teller: Teller::new(Boot([1; 16]), 1),
            truth: Default::default(),
            boots: 1,
            kept_inc: 1,
            sent: vec![],
        }
    }

    fn target(number: u8) -> TargetId {
        TargetId([number; 16])
    }

    fn report(&mut self) -> (Head, Outgoing) {
        self.now += LONGEST_PAUSE;
        assert!(self.teller.due().is_some_and(|due| due <= self.now), "one at a time");
        let outgoing = self.teller.next(self.now);
        let head = Head {
            boot: self.teller.boot(),
            mark: outgoing.mark,
            base: outgoing.base,
            now: self.now,
            digest: outgoing.digest,
            ..head("a:1.1")
        };
        self.sent.push((head.clone(), outgoing.clone()));
        (head, outgoing)
    }

    fn deliver(&mut self, head: &Head, outgoing: &Outgoing) -> Reception {
        let changes = outgoing.entries.iter().map(|told| match told {
            Told::Entry(octets) => {
                let number = octets.split('=').next().unwrap().parse().unwrap();
                (Wire::target(number), Change::Said(EntryHash::of(octets), octets.to_string()))
            }
            Told::Gone(target) => (*target, Change::Gone),
        });
        self.stream.on_report(self.now, head, changes.collect::<Vec<_>>())
    }

    fn exchange(&mut self) -> Reception {
        let (head, outgoing) = self.report();
        let reception = self.deliver(&head, &outgoing);
        let reply = match reception {
            Reception::Taken(_) => Reply::Taken(head.mark),
            Reception::SendWhole => Reply::SendWhole,
            Reception::Behind(mark) => Reply::Behind(mark),
            Reception::Duplicate(_) => Reply::Duplicate,
            Reception::TooMany => Reply::Lost,
        };
        if let Some(inc) = self.teller.on_reply(reply) {
            self.kept_inc = inc;
        }
        reception
    }

    fn restart(&mut self, inc: u64) {
        self.boots += 1;
        self.kept_inc = inc;
        self.teller = Teller::new(Boot([self.boots; 16]), inc);
        for (target, octets) in &self.truth {
            self.teller.say(*target, octets);
        }
    }

    fn on(&mut self, event: Event) {
        match event {
            Event::Say(number, value) => {
                let octets = format!("{number}={value}");
                self.teller.say(Wire::target(number), &octets);
                self.truth.insert(Wire::target(number), octets);
            }
            Event::Drop(number) => {
                self.teller.drop(Wire::target(number));
                self.truth.remove(&Wire::target(number));
            }
            Event::Arrives => {
                self.exchange();
            }
            Event::Lost => {
                self.report();
                self.teller.on_reply(Reply::Lost);
            }
            Event::Unanswered => {
                let (head, outgoing) = self.report();
                self.deliver(&head, &outgoing);
                self.teller.on_reply(Reply::Lost);
            }
            Event::Replayed(index) => {
                let Some((head, outgoing)) = self.sent.get(index).cloned() else { return };
                let (mark, kept) = (self.stream.mark(), self.stream.clone());
                let reception = self.deliver(&head, &outgoing);
                // One that never arrived may arrive late; one that did changes nothing.
                if head.mark <= mark {
                    assert!(!matches!(reception, Reception::Taken(_)), "{head:?}");
                    assert_eq!(self.stream.lease_ends(), kept.lease_ends());
                }
            }
            Event::Restart => self.restart(self.kept_inc + 1),
            Event::RestartWithoutDisk => self.restart(1),
            Event::WeRestart => self.stream = Stream::new(self.stream.mark()),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// Whatever was lost, repeated or forgotten: soon after it ends, both sides have the same.
    #[test]
    fn both_sides_come_to_the_same(events in proptest::collection::vec(event(), 0..60)) {
        let mut wire = Wire::new();
        for event in events {
            let before = wire.stream.mark();
            wire.on(event);
            prop_assert!(wire.stream.mark() >= before, "{event:?}");
        }
        // A run that came again while it was superseded waits for the other's lease.
        wire.now += VALID;
        let receptions: Vec<Reception> = (0..4).map(|_| wire.exchange()).collect();
        prop_assert_eq!(receptions[3], Reception::Taken(Oddity::None), "{:?}", receptions);
        for number in 0..6 {
            let target = Wire::target(number);
            prop_assert_eq!(wire.stream.entry(target), wire.truth.get(&target));
        }
    }
}
