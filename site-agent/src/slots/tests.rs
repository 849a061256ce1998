//! Stories of queues, and that under any order of events no place is lost and nobody overtakes.

use proptest::prelude::*;

use super::*;

fn settings() -> Settings {
    Settings { length: 3, server_length: 2 }
}

/// Servers `a` and `b` with a limit each. Events are `1 any` (request 1 asks for any server, `a` before others),
/// `1 whoever`, `1 a` (it belongs to `a`), `done a`, `gone 1`, `set a 2`, `drain a`, `close a`, `open a 1`. Told is what came of each.
fn story(limits: [u32; 2], events: &str, expected: &str) {
    let mut slots = Slots::new(settings());
    for limit in limits {
        let server = slots.add();
        assert_eq!(slots.set(server, NonZeroU32::new(limit), Takes::Anybody), []);
    }
    let server = |name: &str| ServerId(usize::from(name.as_bytes()[0] - b'a'));
    let name = |server: ServerId| char::from(b'a' + server.0 as u8);
    let went = |gone: Vec<(Waiter, ServerId)>| {
        let each = gone.iter().map(|(waiter, server)| format!("{}>{}", waiter.0, name(*server)));
        each.collect::<Vec<_>>().join(",")
    };
    let mut told = vec![];
    for event in events.split(" | ") {
        let words: Vec<&str> = event.split(' ').collect();
        let limit = words.get(2).and_then(|limit| NonZeroU32::new(limit.parse().unwrap()));
        told.push(match (words[0], words.get(1).copied().unwrap_or("")) {
            ("done", at) => went(slots.done(server(at)).into_iter().collect()),
            ("gone", waiter) => slots.gone(Waiter(waiter.parse().unwrap())).to_string(),
            ("open" | "set", at) => went(slots.set(server(at), limit, Takes::Anybody)),
            ("drain", at) => went(slots.set(server(at), limit, Takes::Bound)),
            ("close", at) => went(slots.set(server(at), limit, Takes::Nobody)),
            (waiter, wanted) => {
                let wanted = match wanted {
                    "any" => Wanted::Any(ServerId(0)),
                    "whoever" => Wanted::Whoever,
                    bound => Wanted::Bound(server(bound)),
                };
                match slots.ask(Waiter(waiter.parse().unwrap()), wanted) {
                    Answer::Go(server) => format!(">{}", name(server)),
                    Answer::Wait => "wait".to_owned(),
                    Answer::Full => "full".to_owned(),
                }
            }
        });
    }
    assert_eq!(told.join(" | "), expected, "{events}");
}

#[test]
fn a_place_is_taken_where_one_is_free() {
    story([1, 1], "1 any | 2 any | 3 any | done b | done a", ">a | >b | wait | 3>b | ");
    // Nobody in particular: where least is in flight.
    story([3, 3], "1 any | 2 whoever | 3 whoever | 4 whoever", ">a | >b | >a | >b");
    // Without a limit nobody waits.
    story([0, 1], "1 any | 2 any | 3 a | 4 a", ">a | >a | >a | >a");
    // At the limit and one past it.
    story([2, 1], "1 a | 2 a | 3 a", ">a | >a | wait");
}

#[test]
fn who_is_bound_waits_for_its_server_and_others_for_any() {
    story([1, 1], "1 a | 2 a | 3 b | 4 any | done b | done a", ">a | wait | >b | wait | 4>b | 2>a");
    // The one who has waited longest of both queues goes first.
    story([1, 1], "1 a | 2 b | 3 any | 4 a | done a | done a", ">a | >b | wait | wait | 3>a | 4>a");
    story([1, 1], "1 a | 2 b | 3 a | 4 any | done a | done a", ">a | >b | wait | wait | 3>a | 4>a");
}

#[test]
fn queues_are_as_long_as_they_may_be() {
    // Three wait for any, the fourth does not.
    story(
        [1, 1],
        "1 any | 2 any | 3 any | 4 any | 5 any | 6 any",
        ">a | >b | wait | wait | wait | full",
    );
    // Two wait for `a`; the third goes to `b`, the next two wait for any.
    story(
        [1, 1],
        "1 a | 2 a | 3 a | 4 a | 5 a | 6 a | 7 a | 8 a | done b",
        ">a | wait | wait | >b | wait | wait | wait | full | 5>b",
    );
}

#[test]
fn who_is_gone_takes_no_place() {
    story(
        [1, 1],
        "1 a | 2 a | 3 a | gone 2 | done a | gone 3 | gone 9",
        ">a | wait | wait | true | 3>a | false | false",
    );
}

#[test]
fn who_waits_for_a_server_that_closes_goes_elsewhere() {
    story([1, 1], "1 a | 2 a | close a", ">a | wait | 2>b");
    // Before those who came later, and beyond the length.
    story(
        [1, 1],
        "1 a | 2 b | 3 a | 4 any | 5 any | 6 any | close a | done b | done a | done b",
        ">a | >b | wait | wait | wait | wait |  | 3>b |  | 4>b",
    );
    // A closed server is asked for in vain, a drained one by those alone who belong to it.
    story([1, 1], "close a | 1 a | 2 a | open a 1", " | >b | wait | 2>a");
    story(
        [1, 1],
        "drain a 1 | 1 any | 2 any | 3 a | 4 a | done a | done a",
        " | >b | wait | >a | wait | 4>a | ",
    );
}

#[test]
fn a_limit_that_moves_lets_go_or_waits() {
    story([1, 1], "1 a | 2 a | 3 a | set a 3", ">a | wait | wait | 2>a,3>a");
    story(
        [3, 1],
        "1 a | 2 a | 3 a | set a 1 | 4 a | done a | done a | done a",
        ">a | >a | >a |  | wait |  |  | 4>a",
    );
    story([1, 1], "1 a | 2 a | set a 0 | 3 a", ">a | wait | 2>a | >a");
}

#[test]
fn who_waits_is_counted_where_it_waits() {
    let mut slots = Slots::new(settings());
    let server = slots.add();
    slots.set(server, NonZeroU32::new(1), Takes::Anybody);
    slots.ask(Waiter(1), Wanted::Whoever);
    slots.ask(Waiter(2), Wanted::Whoever);
    slots.ask(Waiter(3), Wanted::Bound(server));
    let counts =
        |slots: &Slots| (slots.waiting(server), slots.waiting_for_any(), slots.in_flight(server));
    assert_eq!(counts(&slots), (1, 1, 1));
    slots.gone(Waiter(2));
    assert_eq!(counts(&slots), (1, 0, 1));
}

#[test]
#[should_panic(expected = "who is done had a place")]
fn nobody_gives_back_what_it_does_not_have() {
    let mut slots = Slots::new(settings());
    let server = slots.add();
    slots.done(server);
}

/// What the machine should be, kept as one list in the order of arrival and looked through each time.
#[derive(Default)]
struct Model {
    /// Who waits, for which server if for one.
    waiting: Vec<(Waiter, Option<usize>)>,
    flying: Vec<usize>,
    servers: Vec<(Option<NonZeroU32>, Takes, u32)>,
}

impl Model {
    fn has_room(&self, server: usize) -> bool {
        let (limit, _, in_flight) = self.servers[server];
        limit.is_none_or(|limit| in_flight < limit.get())
    }

    fn is_eligible(&self, server: usize, bound: Option<usize>) -> bool {
        match (self.servers[server].1, bound) {
            (Takes::Anybody, bound) => bound.is_none_or(|bound| bound == server),
            (Takes::Bound, bound) => bound == Some(server),
            (Takes::Nobody, _) => false,
        }
    }

    /// The machine let this one go there: it must have been the first of those who may, and the place free.
    fn go(&mut self, waiter: Waiter, server: usize) -> Result<(), TestCaseError> {
        prop_assert!(self.has_room(server), "{waiter:?} is beyond the limit");
        let first = self.waiting.iter().position(|(_, bound)| self.is_eligible(server, *bound));
        prop_assert_eq!(first.map(|first| self.waiting[first].0), Some(waiter), "overtaken");
        self.waiting.remove(first.unwrap());
        self.fly(server);
        Ok(())
    }

    fn fly(&mut self, server: usize) {
        self.servers[server].2 += 1;
        self.flying.push(server);
    }

    /// No free place while somebody waits who may have it.
    fn check(&self, slots: &Slots) -> Result<(), TestCaseError> {
        for server in 0..self.servers.len() {
            prop_assert_eq!(slots.in_flight(ServerId(server)), self.servers[server].2);
            let waiting = self.waiting.iter().filter(|(_, bound)| *bound == Some(server)).count();
            prop_assert_eq!(slots.waiting(ServerId(server)), waiting);
            let waits = self.waiting.iter().any(|(_, bound)| self.is_eligible(server, *bound));
            prop_assert!(!waits || !self.has_room(server), "a free place at {server} stays");
        }
        let waiting = self.waiting.iter().filter(|(_, bound)| bound.is_none()).count();
        prop_assert_eq!(slots.waiting_for_any(), waiting);
        Ok(())
    }
}

proptest! {
    #[test]
    fn no_place_is_lost_and_nobody_overtakes(
        limits in proptest::collection::vec(0..4u32, 1..4),
        events in proptest::collection::vec((0..11u8, 0..4usize, 0..4u32, 0..4usize), 0..200),
    ) {
        let (mut slots, mut model) = (Slots::new(settings()), Model::default());
        for limit in limits {
            let server = slots.add();
            slots.set(server, NonZeroU32::new(limit), Takes::Anybody);
            model.servers.push((NonZeroU32::new(limit), Takes::Anybody, 0));
        }
        let count = model.servers.len();
        for (number, (kind, chosen, limit, takes)) in (0..).zip(events) {
            let (waiter, server) = (Waiter(number), chosen % count);
            match kind {
                0..6 => {
                    let wanted = match kind {
                        0..2 => Wanted::Bound(ServerId(server)),
                        2..4 => Wanted::Any(ServerId(server)),
                        _ => Wanted::Whoever,
                    };
                    let takes_bound = model.servers[server].1 != Takes::Nobody;
                    let queued = model.waiting.iter().filter(|(_, bound)| *bound == Some(server)).count();
                    let bound = matches!(wanted, Wanted::Bound(_))
                        && takes_bound && (queued < 2 || model.has_room(server));
                    let free = |server: usize| model.is_eligible(server, None) && model.has_room(server);
                    match slots.ask(waiter, wanted) {
                        Answer::Go(went) => {
                            prop_assert!(model.has_room(went.0));
                            if bound {
                                prop_assert_eq!(went.0, server);
                            } else {
                                prop_assert!(free(went.0));
                                prop_assert!(wanted == Wanted::Whoever || !free(server) || went.0 == server);
                            }
                            model.fly(went.0);
                        }
                        Answer::Wait => {
                            let place = bound.then_some(server);
                            prop_assert!(place.map_or((0..count).all(|server| !free(server)), |server| !model.has_room(server)));
                            model.waiting.push((waiter, place));
                        }
                        Answer::Full => {
                            let any = model.waiting.iter().filter(|(_, bound)| bound.is_none()).count();
                            prop_assert!(!bound && any >= 3 && (0..count).all(|server| !free(server)));
                        }
                    }
                }
                6..9 => {
                    if !model.flying.is_empty() {
                        let ended = model.flying.swap_remove(chosen % model.flying.len());
                        model.servers[ended].2 -= 1;
                        if let Some((waiter, server)) = slots.done(ServerId(ended)) {
                            prop_assert_eq!(server.0, ended);
                            model.go(waiter, server.0)?;
                        }
                    }
                }
                9 => {
                    let before = model.waiting.len();
                    let waiter = model.waiting.get(chosen).map_or(waiter, |(waiter, _)| *waiter);
                    model.waiting.retain(|(waits, _)| *waits != waiter);
                    prop_assert_eq!(slots.gone(waiter), model.waiting.len() < before);
                }
                _ => {
                    let takes = [Takes::Anybody, Takes::Bound, Takes::Nobody, Takes::Anybody][takes];
                    let limit = NonZeroU32::new(limit);
                    (model.servers[server].0, model.servers[server].1) = (limit, takes);
                    if takes == Takes::Nobody {
                        for (_, bound) in &mut model.waiting {
                            *bound = bound.filter(|bound| *bound != server);
                        }
                    }
                    for (waiter, server) in slots.set(ServerId(server), limit, takes) {
                        model.go(waiter, server.0)?;
                    }
                }
            }
            model.check(&slots)?;
        }
    }
}
