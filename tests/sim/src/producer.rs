//! A producer's streams of reports: what stands here for `common::telling`'s shell. It dials, asks what is wanted, tells
//! when something is due, and dials again; what is told, and what an answer means, `common::report` decides.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use common::backoff::Backoff;
use common::principal::Kind;
use common::report::agent::{self, Vip};
use common::report::{Beat, Boot, Head, Heard, Mark, Outgoing, Own, Reply, Teller};
use common::target::TargetId;
use common::telling::VALID;
use probe::report::body;

use crate::clock::{Alarm, Event, Queue, Run, ms, s};
use crate::dice::Dice;
use crate::network::{End, Envelope, Message, Network, Place};
use crate::story::Story;
use crate::tell;

pub const CLUSTER: &str = "example";
/// As long as `common::wire` waits for a connection.
const DIAL: Duration = s(4);
/// A connection on which nothing comes any more is given up: `common::wire` asks after 3 s, and waits 4 s.
pub const GIVEN_UP: Duration = s(7);
/// An assignment is not fetched again sooner.
const LOOK_UP: Duration = ms(500);

/// What an actor needs to act.
pub struct Out<'a> {
    pub queue: &'a mut Queue,
    pub network: &'a mut Network,
    pub story: &'a mut Story,
    pub dice: &'a mut Dice,
}

/// All that a probe had to say at some time, by target.
pub type Words = Arc<BTreeMap<TargetId, Arc<str>>>;

/// Of which run a report is, and which it is.
pub type Utterance = ([u8; 16], Mark);

/// What a producer had to say when a report was made.
#[derive(Clone, Debug)]
pub enum Uttered {
    Probe { words: Words, is_blind: bool },
    Agent { vips: Arc<[Vip]> },
}

#[derive(Debug)]
pub enum Tale {
    Probe { teller: Box<Teller>, words: Words, own: Own },
    Agent { beat: Beat, site: Box<str>, vips: Arc<[Vip]>, has_something: bool },
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Phase {
    Waiting { until: Duration },
    Dialing,
    Connected,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Asked {
    Dial,
    Assignment,
    Report,
}

#[derive(Debug)]
struct Stream {
    phase: Phase,
    backoff: Backoff,
    is_assigned: bool,
    /// What is under way, and under which number.
    exchange: Option<(u64, Asked)>,
    tale: Tale,
}

/// A process that tells every name server.
#[derive(Debug)]
pub struct Producer {
    pub number: usize,
    pub name: Box<str>,
    pub place: Place,
    pub run: Run,
    boot: Boot,
    /// On disk.
    pub inc: u64,
    streams: Vec<Stream>,
    exchanges: u64,
    pub alarm: Alarm,
    /// By name server: what each report said.
    pub uttered: Vec<BTreeMap<Utterance, Uttered>>,
}

impl Producer {
    pub fn new(number: usize, name: &str, place: Place, servers: usize) -> Producer {
        Producer {
            number,
            name: name.into(),
            place,
            run: 0,
            boot: Boot([0; 16]),
            inc: 0,
            streams: vec![],
            exchanges: 0,
            alarm: Alarm::default(),
            uttered: vec![BTreeMap::new(); servers],
        }
    }

    /// A run begins, with what the disk has.
    pub fn start(&mut self, out: &mut Out<'_>, known: &[bool], tale: impl Fn(Boot, u64) -> Tale) {
        self.run += 1;
        self.inc += 1;
        self.boot = Boot(out.dice.octets());
        self.alarm.clear();
        let (boot, inc, now) = (self.boot, self.inc, out.queue.now());
        let stream = |is_assigned: &bool| Stream {
            phase: Phase::Waiting { until: now },
            backoff: Backoff::default(),
            is_assigned: *is_assigned,
            exchange: None,
            tale: tale(boot, inc),
        };
        self.streams = known.iter().map(stream).collect();
        self.wake(out, now);
    }

    pub fn end(&mut self) {
        self.run += 1;
        self.streams.clear();
    }

    /// Has something to say to a name server, from now on.
    pub fn say(&mut self, out: &mut Out<'_>, server: usize, news: impl FnOnce(&mut Tale)) {
        let Some(stream) = self.streams.get_mut(server) else { return };
        news(&mut stream.tale);
        self.wake(out, out.queue.now());
    }

    fn wake(&mut self, out: &mut Out<'_>, at: Duration) {
        let at = at.max(out.queue.now());
        if self.alarm.set(at) {
            out.queue.at(at, Event::Producer { producer: self.number, run: self.run });
        }
    }

    /// Does what is due, by a clock that is so far behind the virtual one.
    pub fn poll(&mut self, out: &mut Out<'_>, behind: Duration) {
        let now = out.queue.now();
        let mut next = now + LOOK_UP;
        for server in 0..self.streams.len() {
            next = next.min(self.poll_one(out, server, behind));
        }
        self.wake(out, next.max(now + ms(1)));
    }

    fn poll_one(&mut self, out: &mut Out<'_>, server: usize, behind: Duration) -> Duration {
        let now = out.queue.now();
        let stream = &mut self.streams[server];
        if stream.exchange.is_some() {
            return Duration::MAX;
        }
        match stream.phase {
            Phase::Waiting { until } if until > now => until,
            Phase::Waiting { .. } => {
                stream.phase = Phase::Dialing;
                self.ask(out, server, Asked::Dial, Message::Dial, DIAL);
                Duration::MAX
            }
            Phase::Dialing => Duration::MAX,
            Phase::Connected if !stream.is_assigned => {
                self.ask(out, server, Asked::Assignment, Message::AskAssignment, GIVEN_UP);
                Duration::MAX
            }
            Phase::Connected => {
                let due = stream.tale.due().map_or(Duration::MAX, |due| due.saturating_add(behind));
                if due > now {
                    return due;
                }
                let (octets, mark) = self.report(server, now - behind);
                self.ask(out, server, Asked::Report, Message::Report(octets, mark), GIVEN_UP);
                Duration::MAX
            }
        }
    }

    fn report(&mut self, server: usize, now: Duration) -> (Arc<[u8]>, Mark) {
        let (kind, base, digest, own, body, mark, uttered);
        match &mut self.streams[server].tale {
            Tale::Probe { teller, words, own: said } => {
                let outgoing: Outgoing = teller.next(now);
                (kind, base, digest, mark) =
                    (Kind::Probe, outgoing.base, outgoing.digest, outgoing.mark);
                (own, body) = (said.clone(), self::body(&outgoing.entries));
                let is_blind = said.blind.is_some();
                uttered = Uttered::Probe { words: Arc::clone(words), is_blind };
            }
            Tale::Agent { beat, site, vips, .. } => {
                let (written, of_it) = agent::write(site, vips, &[]);
                (kind, base, digest, mark) = (Kind::Agent, None, of_it, beat.next(now));
                (own, body) = (Own::default(), written);
                uttered = Uttered::Agent { vips: Arc::clone(vips) };
            }
        }
        self.uttered[server].insert((self.boot.0, mark), uttered);
        let (cluster, producer) = (CLUSTER.to_owned(), self.name.to_string());
        let boot = self.boot;
        let head =
            Head { cluster, producer, kind, boot, mark, base, now, digest, valid: VALID, own };
        (head.write(&body).into(), mark)
    }

    fn ask(
        &mut self,
        out: &mut Out<'_>,
        server: usize,
        what: Asked,
        message: Message,
        most: Duration,
    ) {
        self.exchanges += 1;
        let exchange = self.exchanges;
        self.streams[server].exchange = Some((exchange, what));
        let (from, to) = (End::Producer(self.number), End::Server(server));
        let ends = (self.place, Place::Server(server));
        out.network.send(out.queue, ends, Envelope { from, to, exchange, message });
        let (producer, run) = (self.number, self.run);
        out.queue.after(most, Event::GivenUp { producer, run, server, exchange });
    }

    /// Takes an answer; the assignment, if it is one, is for the caller. One that came too late is for nobody.
    pub fn hear(
        &mut self,
        out: &mut Out<'_>,
        server: usize,
        exchange: u64,
        message: Message,
    ) -> Option<Arc<[u8]>> {
        let now = out.queue.now();
        let stream = self.streams.get_mut(server)?;
        if exchange == 0 {
            // The other side is gone, whatever was under way.
            if stream.phase == Phase::Connected {
                self.fail(out, server);
            }
            return None;
        }
        let (_, asked) = stream.exchange.filter(|(number, _)| *number == exchange)?;
        stream.exchange = None;
        let mut assignment = None;
        match (asked, message) {
            (Asked::Dial, Message::Welcome) => {
                stream.phase = Phase::Connected;
                stream.tale.on_connected();
                tell!(out, "{} is connected to dns{}", self.name, server + 1);
            }
            (Asked::Assignment, Message::Assignment(octets)) => {
                stream.is_assigned = true;
                assignment = Some(octets);
            }
            (Asked::Report, Message::Answer(reply)) => {
                if matches!(reply, Reply::Taken(_)) {
                    stream.backoff.reset();
                } else {
                    tell!(out, "{} hears from dns{}: {reply:?}", self.name, server + 1);
                }
                if let Some(inc) = stream.tale.on_reply(reply) {
                    self.inc = self.inc.max(inc);
                }
            }
            (Asked::Dial | Asked::Assignment | Asked::Report, _) => {
                stream.exchange = Some((exchange, asked));
                self.fail(out, server);
            }
        }
        self.wake(out, now);
        assignment
    }

    pub fn give_up(&mut self, out: &mut Out<'_>, server: usize, exchange: u64) {
        let Some(stream) = self.streams.get(server) else { return };
        if stream.exchange.is_some_and(|(number, _)| number == exchange) {
            self.fail(out, server);
        }
    }

    /// The connection is no more.
    fn fail(&mut self, out: &mut Out<'_>, server: usize) {
        let stream = &mut self.streams[server];
        if let Some((_, Asked::Report)) = stream.exchange.take() {
            stream.tale.on_reply(Reply::Lost);
        }
        let until = out.queue.now() + stream.backoff.next(out.dice.share());
        let was = std::mem::replace(&mut stream.phase, Phase::Waiting { until });
        if was == Phase::Connected {
            tell!(out, "{} loses its connection to dns{}", self.name, server + 1);
        }
        self.wake(out, until);
    }
}

impl Tale {
    fn due(&self) -> Option<Duration> {
        match self {
            Tale::Probe { teller, .. } => teller.due(),
            // To say nothing of a VIP is to say that there is none.
            Tale::Agent { has_something: false, .. } => Some(Duration::MAX / 4),
            Tale::Agent { beat, .. } => beat.due(),
        }
    }

    fn on_connected(&mut self) {
        match self {
            Tale::Probe { teller, .. } => teller.on_connected(),
            Tale::Agent { beat, .. } => beat.on_connected(),
        }
    }

    fn on_reply(&mut self, reply: Reply) -> Option<u64> {
        match self {
            Tale::Probe { teller, .. } => teller.on_reply(reply),
            Tale::Agent { beat, .. } => match beat.on_reply(reply) {
                Heard::Raised(inc) => Some(inc),
                Heard::Acknowledged(_) | Heard::Anew | Heard::Nothing => None,
            },
        }
    }
}
