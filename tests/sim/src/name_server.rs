//! A name server: its keeper with all that it owns, files included; here stand the control listener and the keeper's task.

use std::sync::Arc;
use std::time::Duration;

use common::backoff::Backoff;
use common::principal::{Kind, Principal};
use common::report::{Body, Mark, Reply, Report};
use gslb_dns::control::{Assigned, Changes, Heard, Told, changes, vips};
use gslb_dns::inbox::stream::Reception;
use gslb_dns::judge::Now;
use gslb_dns::keeper::{By, Keeper};
use gslb_dns::metrics::{Metrics, WorldMetrics};
use gslb_dns::orders::OrderWords;
use gslb_dns::peers::PAUSE;
use gslb_dns::peers::page::{Known, Page, Shown};
use gslb_dns::snapshot::{Groundwork, Snapshot};
use jiff::Timestamp;
use tokio::sync::{oneshot, watch};

use crate::clock::{Event, Run, ms, s};
use crate::earth::Disk;
use crate::network::{End, Envelope, Message, Place};
use crate::producer::{CLUSTER, GIVEN_UP, Out, Utterance};
use crate::tell;

/// As often as the keeper's task wakes.
const TURN: Duration = ms(500);
/// Reports that come so soon after others are heard together.
const GATHERED: Duration = ms(60);
const DIAL: Duration = s(4);
/// When the virtual clock began, for people.
const BEGAN: i64 = 1_790_000_000;

/// A report that was heard, and what became of it.
#[derive(Clone, Copy, Debug)]
pub struct Took {
    pub producer: usize,
    pub utterance: Utterance,
    pub reception: Reception,
    pub at: Duration,
}

struct Waiting {
    told: Told,
    answered: oneshot::Receiver<Reception>,
    producer: usize,
    mark: Mark,
    exchange: u64,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Phase {
    Waiting,
    Dialing,
    Connected,
}

#[derive(Debug)]
struct Pull {
    peer: usize,
    phase: Phase,
    backoff: Backoff,
    known: Known,
    exchange: Option<u64>,
    /// When it asked last.
    asked: Duration,
}

pub struct NameServer {
    pub number: usize,
    pub name: Box<str>,
    pub run: Run,
    keeper: Option<Keeper>,
    /// Since when it runs.
    pub since: Duration,
    behind: Duration,
    pub stalled_until: Duration,
    assigned: Option<Arc<Assigned>>,
    shown: Option<watch::Receiver<Arc<Shown>>>,
    /// What came and was not read.
    socket: Vec<Envelope>,
    waiting: Vec<Waiting>,
    is_gathering: bool,
    pulls: Vec<Pull>,
    exchanges: u64,
    /// Of each producer, in their order.
    principals: Arc<[Principal]>,
    metrics: WorldMetrics,
    /// All reports that were heard; whoever watches knows how far it has read.
    pub took: Vec<Took>,
}

impl NameServer {
    pub fn new(
        number: usize,
        principals: Arc<[Principal]>,
        metrics: WorldMetrics,
        behind: Duration,
    ) -> NameServer {
        NameServer {
            number,
            name: format!("dns{}", number + 1).into(),
            run: 0,
            keeper: None,
            since: Duration::ZERO,
            behind,
            stalled_until: Duration::ZERO,
            assigned: None,
            shown: None,
            socket: vec![],
            waiting: vec![],
            is_gathering: false,
            pulls: vec![],
            exchanges: 0,
            principals,
            metrics,
            took: vec![],
        }
    }

    pub fn keeper(&self) -> Option<&Keeper> {
        self.keeper.as_ref()
    }

    pub fn snapshot(&self) -> Option<Arc<Snapshot>> {
        self.keeper.as_ref().map(|keeper| keeper.published().load())
    }

    pub fn is_stalled(&self, now: Duration) -> bool {
        now < self.stalled_until
    }

    pub fn clocks(&self, now: Duration) -> Now {
        let wall = Timestamp::from_second(BEGAN).expect("it is in this century") + now;
        Now { monotonic: now - self.behind, wall }
    }

    pub fn start(&mut self, out: &mut Out<'_>, disk: &Disk, servers: usize) {
        let now = out.queue.now();
        disk.make(self.number);
        let node = disk.node(self.number, servers);
        let ground = Groundwork::new(disk.world());
        self.assigned = Some(Arc::new(Assigned::of(&ground.world)));
        let mut keeper = Keeper::start(&node, ground, self.metrics.clone(), self.clocks(now));
        let (shown, seen) = watch::channel(Arc::default());
        keeper.show_at(shown);
        (self.keeper, self.shown) = (Some(keeper), Some(seen));
        self.run += 1;
        (self.since, self.stalled_until, self.is_gathering) = (now, Duration::ZERO, false);
        self.pulls = (0..servers)
            .filter(|peer| *peer != self.number)
            .map(|peer| Pull {
                peer,
                phase: Phase::Waiting,
                backoff: Backoff::default(),
                known: Known::default(),
                exchange: None,
                asked: Duration::ZERO,
            })
            .collect();
        tell!(out, "{} starts", self.name);
        let (server, run) = (self.number, self.run);
        out.queue.after(Duration::ZERO, Event::Turn { server, run });
        for peer in 0..self.pulls.len() {
            out.queue.after(Duration::ZERO, Event::Pull { server, run, peer });
        }
    }

    /// Its process ends; told to, it writes first what the next start wants to know.
    pub fn stop(&mut self, out: &mut Out<'_>, is_told: bool) {
        let clocks = self.clocks(out.queue.now());
        if let Some(mut keeper) = self.keeper.take()
            && is_told
        {
            keeper.end(clocks);
        }
        self.run += 1;
        self.socket.clear();
        self.waiting.clear();
        (self.shown, self.assigned) = (None, None);
        tell!(out, "{} {}", self.name, if is_told { "stops" } else { "is killed" });
    }

    /// Something that was sent to it arrives.
    pub fn receive(&mut self, out: &mut Out<'_>, envelope: Envelope) {
        if self.keeper.is_none() {
            return self.reply(out, &envelope, Message::Reset);
        }
        if self.is_stalled(out.queue.now()) {
            return self.socket.push(envelope);
        }
        self.read(out, envelope);
        if !self.is_gathering && !self.waiting.is_empty() {
            self.hear_waiting(out);
            self.is_gathering = true;
            let (server, run) = (self.number, self.run);
            out.queue.after(GATHERED, Event::Gathered { server, run });
        }
    }

    fn read(&mut self, out: &mut Out<'_>, envelope: Envelope) {
        match (envelope.from, &envelope.message) {
            (_, Message::Dial) => self.reply(out, &envelope, Message::Welcome),
            (End::Producer(producer), Message::AskAssignment) => {
                let Some(octets) = self.assignment(producer) else { return };
                self.reply(out, &envelope, Message::Assignment(octets));
            }
            (End::Producer(producer), Message::Report(octets, mark)) => {
                let (octets, mark) = (Arc::clone(octets), *mark);
                self.take(producer, &octets, mark, envelope.exchange);
            }
            (_, Message::AskPage(known)) => {
                let Some(shown) = &self.shown else { return };
                let octets = shown.borrow().page(known).expect("a page is JSON");
                self.reply(out, &envelope, Message::Page(octets));
            }
            (End::Server(peer), message) => {
                let (exchange, message) = (envelope.exchange, message.clone());
                self.hear_peer(out, peer, exchange, message);
            }
            (End::Producer(_), _) => {}
        }
    }

    fn assignment(&self, producer: usize) -> Option<Arc<[u8]>> {
        let assigned = self.assigned.as_ref()?;
        let principal = &self.principals[producer];
        let octets = match principal.kind {
            Kind::Probe => &assigned.octets,
            _ => &assigned.agents.get(&*principal.name)?.octets,
        };
        Some(octets.to_vec().into())
    }

    fn take(&mut self, producer: usize, octets: &[u8], mark: Mark, exchange: u64) {
        let Report { head, body } = Report::read(octets).expect("producers write reports");
        let changes = match body {
            Body::Probe(said) => Changes::Probe(changes(said)),
            Body::Agent(said) => Changes::Agent(said.site.into(), vips(said.vips)),
        };
        let (answer, answered) = oneshot::channel();
        let told = Told { producer: self.principals[producer].clone(), head, changes, answer };
        self.waiting.push(Waiting { told, answered, producer, mark, exchange });
    }

    fn hear_waiting(&mut self, out: &mut Out<'_>) {
        let clocks = self.clocks(out.queue.now());
        let waiting = std::mem::take(&mut self.waiting);
        if waiting.is_empty() {
            return;
        }
        let mut to_answer = vec![];
        let told = waiting.into_iter().map(|waiting| {
            let Waiting { told, answered, producer, mark, exchange } = waiting;
            to_answer.push((answered, producer, (told.head.boot.0, mark), exchange));
            told
        });
        let told = told.collect();
        if let Some(keeper) = &mut self.keeper {
            keeper.hear(told, clocks);
        }
        for (mut answered, producer, utterance, exchange) in to_answer {
            let reception = answered.try_recv().expect("what was told was heard");
            let at = out.queue.now();
            self.took.push(Took { producer, utterance, reception, at });
            let reply = match reception {
                Reception::Taken(_) => Reply::Taken(utterance.1),
                Reception::SendWhole => Reply::SendWhole,
                Reception::Behind(ours) => Reply::Behind(ours),
                Reception::Duplicate(_) => Reply::Duplicate,
                Reception::TooMany => Reply::Lost,
            };
            let (from, to) = (End::Producer(producer), End::Server(self.number));
            let asked = Envelope { from, to, exchange, message: Message::Dial };
            self.reply(out, &asked, Message::Answer(reply));
        }
    }

    fn reply(&mut self, out: &mut Out<'_>, asked: &Envelope, message: Message) {
        let place = match asked.from {
            End::Server(peer) => Place::Server(peer),
            End::Producer(producer) => place_of(&self.principals, producer),
        };
        let (from, to, exchange) = (End::Server(self.number), asked.from, asked.exchange);
        let ends = (Place::Server(self.number), place);
        out.network.send(out.queue, ends, Envelope { from, to, exchange, message });
    }

    /// The keeper's turn: what waits is heard first.
    pub fn turn(&mut self, out: &mut Out<'_>) {
        let now = out.queue.now();
        let (server, run) = (self.number, self.run);
        if self.is_stalled(now) {
            return out.queue.at(self.stalled_until, Event::Turn { server, run });
        }
        // After a standstill either may be first: the listener that reads what has come, or this.
        if out.dice.percent(50) {
            self.read_all(out);
        }
        self.hear_waiting(out);
        let clocks = self.clocks(now);
        if let Some(keeper) = &mut self.keeper {
            keeper.turn(clocks);
        }
        self.read_all(out);
        out.queue.after(TURN, Event::Turn { server, run });
    }

    fn read_all(&mut self, out: &mut Out<'_>) {
        for envelope in std::mem::take(&mut self.socket) {
            self.read(out, envelope);
        }
        if !self.waiting.is_empty() && !self.is_gathering {
            self.is_gathering = true;
            let (server, run) = (self.number, self.run);
            out.queue.after(Duration::ZERO, Event::Gathered { server, run });
        }
    }

    pub fn gathered(&mut self, out: &mut Out<'_>) {
        let now = out.queue.now();
        let (server, run) = (self.number, self.run);
        if self.is_stalled(now) {
            return out.queue.at(self.stalled_until, Event::Gathered { server, run });
        }
        self.is_gathering = !self.waiting.is_empty();
        if self.is_gathering {
            self.hear_waiting(out);
            out.queue.after(GATHERED, Event::Gathered { server, run });
        }
    }

    pub fn pull(&mut self, out: &mut Out<'_>, index: usize) {
        let now = out.queue.now();
        let (server, run) = (self.number, self.run);
        if self.is_stalled(now) {
            return out.queue.at(self.stalled_until, Event::Pull { server, run, peer: index });
        }
        self.exchanges += 1;
        let pull = &mut self.pulls[index];
        if pull.exchange.is_some() {
            return;
        }
        let (message, most) = match pull.phase {
            Phase::Waiting | Phase::Dialing => (Message::Dial, DIAL),
            Phase::Connected => (Message::AskPage(pull.known.clone()), GIVEN_UP),
        };
        if pull.phase == Phase::Waiting {
            pull.phase = Phase::Dialing;
        }
        let exchange = self.exchanges;
        (pull.exchange, pull.asked) = (Some(exchange), now);
        let ends = (Place::Server(server), Place::Server(pull.peer));
        let (from, to) = (End::Server(server), End::Server(pull.peer));
        out.network.send(out.queue, ends, Envelope { from, to, exchange, message });
        out.queue.after(most, Event::PullGivenUp { server, run, peer: index, exchange });
    }

    pub fn pull_given_up(&mut self, out: &mut Out<'_>, index: usize, exchange: u64) {
        if self.pulls[index].exchange == Some(exchange) {
            self.pull_fails(out, index);
        }
    }

    fn pull_fails(&mut self, out: &mut Out<'_>, index: usize) {
        let now = out.queue.now();
        let (server, run, clocks) = (self.number, self.run, self.clocks(now));
        let wait = self.pulls[index].backoff.next(out.dice.share());
        let pull = &mut self.pulls[index];
        (pull.phase, pull.exchange) = (Phase::Waiting, None);
        if let Some(keeper) = &mut self.keeper {
            keeper.hear_peer(Heard { peer: index, page: Err("unreachable".to_owned()) }, clocks);
        }
        out.queue.after(wait, Event::Pull { server, run, peer: index });
    }

    fn hear_peer(&mut self, out: &mut Out<'_>, peer: usize, exchange: u64, message: Message) {
        let now = out.queue.now();
        let Some(index) = self.pulls.iter().position(|pull| pull.peer == peer) else { return };
        let pull = &mut self.pulls[index];
        if exchange == 0 {
            if pull.phase == Phase::Connected && pull.exchange.is_some() {
                self.pull_fails(out, index);
            }
            return;
        }
        if pull.exchange != Some(exchange) {
            return;
        }
        let (server, run) = (self.number, self.run);
        match (pull.phase, message) {
            (Phase::Dialing, Message::Welcome) => {
                (pull.phase, pull.exchange) = (Phase::Connected, None);
                out.queue.after(Duration::ZERO, Event::Pull { server, run, peer: index });
            }
            (Phase::Connected, Message::Page(octets)) => {
                pull.exchange = None;
                pull.backoff.reset();
                let next = (pull.asked + PAUSE).max(now);
                let page = Page::read(&octets, &format!("dns{}", peer + 1));
                let page = page.expect("name servers write pages");
                pull.known.learn(&page);
                self.hear_waiting(out);
                let clocks = self.clocks(now);
                if let Some(keeper) = &mut self.keeper {
                    keeper.hear_peer(Heard { peer: index, page: Ok(Box::new(page)) }, clocks);
                }
                out.queue.at(next, Event::Pull { server, run, peer: index });
            }
            (Phase::Waiting | Phase::Dialing | Phase::Connected, _) => self.pull_fails(out, index),
        }
    }

    /// What an operator orders here; its stamp, if it is taken.
    pub fn order(&mut self, out: &mut Out<'_>, order: &str, site: &str) -> Option<String> {
        let wall = self.clocks(out.queue.now()).wall;
        let words = OrderWords {
            order: order.into(),
            site: site.into(),
            why: "simulated".into(),
            anyway: true,
            ..OrderWords::default()
        };
        let by = By { who: "operator".into(), uid: None, pid: None };
        let given = self.keeper.as_mut()?.order(&words, &by, wall);
        tell!(out, "{} is told: {order} {site}: {:?}", self.name, given.as_ref().map(|it| &it.id));
        given.ok().map(|receipt| receipt.id)
    }
}

fn place_of(principals: &[Principal], producer: usize) -> Place {
    let probes = principals.iter().filter(|one| one.kind == Kind::Probe).count();
    match producer.checked_sub(probes) {
        None => Place::Vantage(producer),
        Some(agent) => Place::Site(agent / 2),
    }
}

pub fn principals(probes: &[String], agents: &[String]) -> Arc<[Principal]> {
    let of = |kind: Kind, name: &String| {
        Principal::new(CLUSTER, kind, name).expect("names of ours are names")
    };
    let probes = probes.iter().map(|name| of(Kind::Probe, name));
    probes.chain(agents.iter().map(|name| of(Kind::Agent, name))).collect()
}

/// For nobody to read.
pub fn metrics() -> WorldMetrics {
    Metrics::new(vec![]).world
}
