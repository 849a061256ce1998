//! A probe: `probe::rounds` and a stream to each name server.

use std::sync::Arc;
use std::time::Duration;

use common::assignment::Assignment;
use common::report::{Own, Teller};
use common::seen::Seen;
use common::target::{Address, Target, TargetId};
use probe::asked::Server;
use probe::rounds::{Begun, Post, Rounds};

use crate::clock::{Alarm, Event, ms};
use crate::network::Place;
use crate::producer::{Out, Producer, Tale, Words};
use crate::tell;

/// The shell wakes so often though nothing is due.
const BEAT: Duration = ms(500);
/// Unix time, in seconds: of certificates, of which there are none.
const TODAY: i64 = 1_800_000_000;

#[derive(Debug)]
pub struct Vantage {
    pub producer: Producer,
    /// `None` while it does not run.
    rounds: Option<Rounds>,
    /// What the disk has of assignments.
    kept: Vec<Option<Arc<[u8]>>>,
    references: Vec<Target>,
    pub behind: Duration,
    pub stalled_until: Duration,
    /// By name server: all that it is told from now on.
    said: Vec<Words>,
    own: Own,
    pub alarm: Alarm,
    /// When what it says was last something else.
    pub changed: Duration,
}

impl Vantage {
    pub fn new(
        number: usize,
        servers: usize,
        references: Vec<Target>,
        behind: Duration,
    ) -> Vantage {
        let name = format!("v{}", number + 1);
        Vantage {
            producer: Producer::new(number, &name, Place::Vantage(number), servers),
            rounds: None,
            kept: vec![None; servers],
            references,
            behind,
            stalled_until: Duration::ZERO,
            said: vec![Words::default(); servers],
            own: Own::default(),
            alarm: Alarm::default(),
            changed: Duration::ZERO,
        }
    }

    pub fn runs(&self) -> bool {
        self.rounds.is_some()
    }

    pub fn said(&self, server: usize) -> &Words {
        &self.said[server]
    }

    pub fn start(&mut self, out: &mut Out<'_>) {
        let now = out.queue.now() - self.behind;
        let known: Vec<bool> = self.kept.iter().map(Option::is_some).collect();
        self.own = Own::default();
        self.said.fill(Words::default());
        self.alarm.clear();
        self.producer.start(out, &known, |boot, inc| Tale::Probe {
            teller: Box::new(Teller::new(boot, inc)),
            words: Words::default(),
            own: Own::default(),
        });
        tell!(out, "{} starts, inc {}", self.producer.name, self.producer.inc);
        let mut rounds = Rounds::new(&self.producer.name, 64, "1", now);
        let mut posts = rounds.refer_to(now, self.references.clone());
        for (number, kept) in self.kept.iter().enumerate() {
            let Some(octets) = kept else { continue };
            let assignment = Assignment::read(octets).expect("it was read before");
            posts.extend(rounds.assign(now, server(number), assignment));
        }
        self.rounds = Some(rounds);
        self.deliver(out, posts);
        self.turn(out);
    }

    pub fn kill(&mut self, out: &mut Out<'_>) {
        self.rounds = None;
        self.producer.end();
        self.stalled_until = Duration::ZERO;
        tell!(out, "{} is killed", self.producer.name);
    }

    pub fn on_assignment(&mut self, out: &mut Out<'_>, number: usize, octets: Arc<[u8]>) {
        let Some(rounds) = &mut self.rounds else { return };
        let assignment = Assignment::read(&octets).expect("a name server's assignment is one");
        self.kept[number] = Some(octets);
        let now = out.queue.now() - self.behind;
        let posts = rounds.assign(now, server(number), assignment);
        self.deliver(out, posts);
        self.turn(out);
    }

    /// The looks that begin now, each to be ended by whoever knows what it comes to.
    pub fn begun(&mut self, out: &mut Out<'_>) -> Vec<Begun> {
        let now = out.queue.now() - self.behind;
        let Some(rounds) = &mut self.rounds else { return vec![] };
        rounds.turn(now);
        let begun = std::iter::from_fn(|| rounds.begin(now)).collect();
        self.tell_own(out);
        begun
    }

    /// After something that may have made other looks due.
    pub fn turn(&mut self, out: &mut Out<'_>) {
        let now = out.queue.now();
        let Some(rounds) = &self.rounds else { return };
        let due = rounds.next_wakeup().map_or(now + BEAT, |at| at + self.behind);
        let at = due.clamp(now, now + BEAT);
        if self.alarm.set(at) {
            let (vantage, run) = (self.producer.number, self.producer.run);
            out.queue.at(at, Event::Vantage { vantage, run });
        }
    }

    pub fn end(&mut self, out: &mut Out<'_>, target: TargetId, seen: &Seen) {
        let now = out.queue.now() - self.behind;
        let Some(rounds) = &mut self.rounds else { return };
        let chance = out.dice.share();
        let ended = rounds.end(now, target, seen, TODAY, chance);
        if let Some((from, to)) = ended.changed {
            let at = rounds.target(target).map(|target| target.address.clone());
            let at = at.unwrap_or(Address::Name("nobody".to_owned()));
            let why = seen.reason().map_or("", |reason| reason.as_str());
            tell!(out, "{} sees {at}: {from} -> {to} {why}", self.producer.name);
        }
        self.tell_own(out);
        self.deliver(out, ended.posts);
        self.turn(out);
    }

    fn tell_own(&mut self, out: &mut Out<'_>) {
        let Some(rounds) = &self.rounds else { return };
        if *rounds.own() == self.own {
            return;
        }
        let before = std::mem::replace(&mut self.own, rounds.own().clone());
        if before.blind != self.own.blind {
            self.changed = out.queue.now();
            tell!(out, "{} is blind: {:?}", self.producer.name, self.own.blind);
        }
        for server in 0..self.said.len() {
            let told = self.own.clone();
            // It goes with the next report, and is no news by itself.
            self.producer.say(out, server, |tale| {
                if let Tale::Probe { own, .. } = tale {
                    *own = told;
                }
            });
        }
    }

    fn deliver(&mut self, out: &mut Out<'_>, posts: Vec<Post>) {
        for Post { to, target, octets } in posts {
            let Some(number) = (0..self.said.len()).find(|number| *server(*number) == *to) else {
                continue;
            };
            let words = Arc::make_mut(&mut self.said[number]);
            match &octets {
                Some(octets) => words.insert(target, Arc::clone(octets)),
                None => words.remove(&target),
            };
            self.changed = out.queue.now();
            let all = Arc::clone(&self.said[number]);
            self.producer.say(out, number, |tale| {
                let Tale::Probe { teller, words, .. } = tale else { return };
                match &octets {
                    Some(octets) => teller.say(target, octets),
                    None => Teller::drop(teller, target),
                }
                *words = all;
            });
        }
    }
}

fn server(number: usize) -> Server {
    format!("dns{}", number + 1).into()
}
