//! One story, from its seed to its end: brings events to whoever they are for, and has what was promised looked at.

mod deeds;

use std::sync::Arc;
use std::time::Duration;

use common::report::{Phases, Reason};
use common::seen::{Failure, Seen};
use common::target::Target;
use gslb_dns::metrics::WorldMetrics;
use site_agent::vrrp::machine::settings::Preempt;

use crate::clock::{BEGINNING, Event, Queue, ms, s};
use crate::dice::Dice;
use crate::earth::{Disk, SITES, TIMEOUT, references, site_of, vip};
use crate::name_server::{NameServer, principals};
use crate::network::{End, Envelope, Network, Place};
use crate::plan::{Deed, Plan};
use crate::producer::{Out, Producer};
use crate::router::Router;
use crate::site_box::{SERVERS, SiteBox};
use crate::story::Story;
use crate::vantage::Vantage;
use crate::watch::{Asked, Finding, Promise, Watch};

/// What was promised is looked at so often, beside after each turn of a name server.
const LOOK: Duration = ms(100);
/// The longest that an advert is on its way.
pub const ADVERT_DELAY: Duration = ms(2);

/// All actors, and how they are.
pub struct Stage {
    pub plan: Plan,
    pub disk: Disk,
    pub servers: Vec<NameServer>,
    pub vantages: Vec<Vantage>,
    /// Two of each site.
    pub boxes: Vec<SiteBox>,
    /// By site: which of its servers answer.
    pub answering: Vec<[bool; SERVERS]>,
    /// By vantage: of which sites it says that they are down.
    pub lies: Vec<u8>,
    /// By box: whether what it sends to the other one of its pair is lost.
    pub link_cut: Vec<bool>,
    pub network: Network,
}

/// What came of a story.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    pub seed: u64,
    pub lasted: Duration,
    pub events: u64,
    pub boards: u64,
    pub looks: u64,
    pub findings: Vec<Finding>,
    pub asked: Asked,
}

struct Run<'s> {
    queue: Queue,
    story: &'s mut Story,
    dice: Dice,
    stage: Stage,
    watch: Watch,
    looks: u64,
}

/// Runs the story of a seed, and writes it down if asked.
pub fn run(seed: u64, metrics: &WorldMetrics, story: &mut Story) -> Outcome {
    let mut dice = Dice::new(seed);
    let plan = Plan::drawn(&mut dice.part());
    let mut run = Run::of(plan, metrics, story, &mut dice);
    let end = run.stage.plan.end;
    run.begin();
    let mut events = 0;
    while let Some(event) = run.queue.next(end) {
        events += 1;
        if let Some(event) = run.comes_now(event) {
            run.happens(event);
        }
    }
    let Run { watch, looks, .. } = run;
    let Watch { findings, mut asked, boards, .. } = watch;
    asked.add(Promise::NoPanic);
    Outcome { seed, lasted: end - BEGINNING, events, boards, looks, findings, asked }
}

/// What an actor needs of a run, beside itself.
macro_rules! out {
    ($run:ident) => {
        Out {
            queue: &mut $run.queue,
            network: &mut $run.stage.network,
            story: $run.story,
            dice: &mut $run.dice,
        }
    };
}

impl<'s> Run<'s> {
    fn of(plan: Plan, metrics: &WorldMetrics, story: &'s mut Story, dice: &mut Dice) -> Run<'s> {
        let shape = &plan.shape;
        story.tell(BEGINNING, format_args!("{shape:?}"));
        let (servers, sites, vantages) = (shape.servers, shape.sites, shape.vantages());
        let behind = |dice: &mut Dice| dice.between(s(10), s(90_000));
        let network = Network::new(servers, vantages, sites, dice.part());
        let new_vantage =
            |number| Vantage::new(number, servers, references(), behind(&mut dice.part()));
        let all_vantages: Vec<Vantage> = (0..vantages).map(new_vantage).collect();
        let new_box = |at: usize| {
            let site = at / 2;
            let preempt = dice.one_of(&[Preempt::Never, Preempt::After(Duration::ZERO)]);
            let priority = if at.is_multiple_of(2) { 200 } else { 100 };
            let name = format!("{}-{}", SITES[site], if at.is_multiple_of(2) { "a" } else { "b" });
            let router = Router::new(at, &name, vip(site), priority, preempt);
            let (number, behind) = (vantages + at, behind(dice));
            SiteBox::new(at, site, SITES[site], number, vip(site), router, servers, behind)
        };
        let boxes: Vec<SiteBox> = (0..2 * sites).map(new_box).collect();
        let probes: Vec<String> =
            all_vantages.iter().map(|one| one.producer.name.to_string()).collect();
        let agents: Vec<String> = boxes.iter().map(|one| one.producer.name.to_string()).collect();
        let principals = principals(&probes, &agents);
        let new_server = |number| {
            NameServer::new(number, Arc::clone(&principals), metrics.clone(), behind(dice))
        };
        let all_servers: Vec<NameServer> = (0..servers).map(new_server).collect();
        let watch = Watch::new(shape);
        let stage = Stage {
            disk: Disk::of(shape),
            servers: all_servers,
            vantages: all_vantages,
            boxes,
            answering: vec![[true; SERVERS]; sites],
            lies: vec![0; vantages],
            link_cut: vec![false; 2 * sites],
            network,
            plan,
        };
        Run { queue: Queue::default(), story, dice: dice.part(), stage, watch, looks: 0 }
    }

    fn begin(&mut self) {
        for (at, deed) in self.stage.plan.deeds.clone() {
            self.queue.at(at, Event::Deed(deed));
        }
        for server in 0..self.stage.servers.len() {
            let within = self.dice.between(Duration::ZERO, ms(500));
            let deed = Deed::ServerStarts { server, forgets: false };
            self.queue.after(within, Event::Deed(deed));
        }
        for vantage in 0..self.stage.vantages.len() {
            let within = self.dice.between(Duration::ZERO, s(1));
            let deed = Deed::VantageStarts { vantage, forgets: false };
            self.queue.after(within, Event::Deed(deed));
        }
        for at in 0..self.stage.boxes.len() {
            let within = self.dice.between(Duration::ZERO, s(1));
            self.queue.after(within, Event::Deed(Deed::RouterStarts { at }));
            self.queue.after(within, Event::Deed(Deed::AgentStarts { at, forgets: false }));
        }
        self.queue.after(LOOK, Event::Watch);
    }

    /// What an actor has set itself comes to nobody if it was started anew since, or has set its alarm otherwise; and later
    /// if it stands still.
    fn comes_now(&mut self, event: Event) -> Option<Event> {
        let now = self.queue.now();
        let Stage { vantages, boxes, servers, .. } = &mut self.stage;
        let (set_in, current, stalled_until, alarm) = match event {
            Event::Producer { producer, run } => {
                let Owner { one, stalled_until, .. } = owner_of(vantages, boxes, producer);
                (run, Some(one.run), stalled_until, Some(&mut one.alarm))
            }
            Event::GivenUp { producer, run, .. } => {
                let Owner { one, stalled_until, .. } = owner_of(vantages, boxes, producer);
                (run, Some(one.run), stalled_until, None)
            }
            Event::Vantage { vantage, run } => {
                let one = &mut vantages[vantage];
                let current = one.runs().then_some(one.producer.run);
                (run, current, one.stalled_until, Some(&mut one.alarm))
            }
            Event::LookEnds { vantage, run, .. } => {
                let one = &vantages[vantage];
                (run, Some(one.producer.run), one.stalled_until, None)
            }
            Event::Agent { at, run } => {
                let one = &mut boxes[at];
                let current = one.runs().then_some(one.producer.run);
                (run, current, one.stalled_until, Some(&mut one.alarm))
            }
            Event::CheckEnds { at, run, .. } => {
                let one = &boxes[at];
                (run, Some(one.producer.run), one.stalled_until, None)
            }
            Event::Router { at, run } => {
                let one = &mut boxes[at].router;
                (run, Some(one.run), one.stalled_until, Some(&mut one.alarm))
            }
            Event::Turn { server, run }
            | Event::Gathered { server, run }
            | Event::Pull { server, run, .. }
            | Event::PullGivenUp { server, run, .. } => {
                (run, Some(servers[server].run), Duration::ZERO, None)
            }
            Event::Deed(_)
            | Event::Arrives(_)
            | Event::Advert { .. }
            | Event::Lease { .. }
            | Event::Watch => return Some(event),
        };
        if current != Some(set_in) {
            return None;
        }
        if let Some(alarm) = alarm {
            if !alarm.rings(now) {
                return None;
            }
            if now < stalled_until {
                alarm.set(stalled_until);
            }
        }
        if now < stalled_until {
            self.queue.at(stalled_until, event);
            return None;
        }
        Some(event)
    }

    fn happens(&mut self, event: Event) {
        match event {
            Event::Deed(deed) => self.deed(deed),
            Event::Arrives(envelope) => self.arrives(envelope),
            Event::Producer { producer, .. } => {
                let mut out = out!(self);
                let Owner { one, behind, .. } =
                    owner_of(&mut self.stage.vantages, &mut self.stage.boxes, producer);
                one.poll(&mut out, behind);
            }
            Event::GivenUp { producer, server, exchange, .. } => {
                let mut out = out!(self);
                let Owner { one, .. } =
                    owner_of(&mut self.stage.vantages, &mut self.stage.boxes, producer);
                one.give_up(&mut out, server, exchange);
            }
            Event::Vantage { vantage, run } => self.vantage(vantage, run),
            Event::LookEnds { vantage, target, seen, .. } => {
                let mut out = out!(self);
                self.stage.vantages[vantage].end(&mut out, target, &seen);
            }
            Event::Agent { at, run } => self.agent(at, run),
            Event::CheckEnds { at, series, seen, .. } => {
                let mut out = out!(self);
                self.stage.boxes[at].check_ends(&mut out, series, seen);
            }
            Event::Router { at, .. } => {
                let mut out = out!(self);
                let adverts = self.stage.boxes[at].router.wake(&mut out);
                self.send(at, adverts);
            }
            Event::Advert { at, octets } => {
                if self.stage.boxes[at].is_on {
                    let mut out = out!(self);
                    let adverts = self.stage.boxes[at].router.hear(&mut out, octets);
                    self.send(at, adverts);
                }
            }
            Event::Lease { at } => self.lease(at),
            Event::Turn { server, .. } => {
                let mut out = out!(self);
                self.stage.servers[server].turn(&mut out);
                self.watch(Some(server));
            }
            Event::Gathered { server, .. } => {
                let mut out = out!(self);
                self.stage.servers[server].gathered(&mut out);
                self.watch(Some(server));
            }
            Event::Pull { server, peer, .. } => {
                let mut out = out!(self);
                self.stage.servers[server].pull(&mut out, peer);
            }
            Event::PullGivenUp { server, peer, exchange, .. } => {
                let mut out = out!(self);
                self.stage.servers[server].pull_given_up(&mut out, peer, exchange);
                self.watch(Some(server));
            }
            Event::Watch => {
                self.watch(None);
                self.queue.after(LOOK, Event::Watch);
            }
        }
    }

    fn watch(&mut self, server: Option<usize>) {
        let now = self.queue.now();
        self.watch.look(now, &self.stage, server, self.story);
    }

    fn arrives(&mut self, envelope: Envelope) {
        let now = self.queue.now();
        match envelope.to {
            End::Server(server) => {
                let mut out = out!(self);
                self.stage.servers[server].receive(&mut out, envelope);
                self.watch(Some(server));
            }
            End::Producer(producer) => {
                let Owner { one, stalled_until, .. } =
                    owner_of(&mut self.stage.vantages, &mut self.stage.boxes, producer);
                if now < stalled_until {
                    return self.queue.at(stalled_until, Event::Arrives(envelope));
                }
                let End::Server(server) = envelope.from else { return };
                let Envelope { exchange, message, .. } = envelope;
                let mut out = out!(self);
                let Some(octets) = one.hear(&mut out, server, exchange, message) else { return };
                match producer.checked_sub(self.stage.vantages.len()) {
                    None => {
                        self.stage.vantages[producer].on_assignment(&mut out, server, octets);
                    }
                    Some(at) => self.stage.boxes[at].on_assignment(&mut out, &octets),
                }
            }
        }
    }

    fn vantage(&mut self, vantage: usize, run: u32) {
        let mut out = out!(self);
        for begun in self.stage.vantages[vantage].begun(&mut out) {
            self.looks += 1;
            let (seen, took) = self.look(vantage, &begun.target);
            let ends = Event::LookEnds { vantage, run, target: begun.id, seen };
            self.queue.after(took, ends);
        }
        let mut out = out!(self);
        self.stage.vantages[vantage].turn(&mut out);
    }

    /// What a vantage sees now, and how long it takes.
    fn look(&mut self, vantage: usize, target: &Target) -> (Seen, Duration) {
        let took = self.dice.between(ms(5), ms(80));
        let came = match site_of(target) {
            None => self.stage.network.is_whole(Place::Vantage(vantage), Place::References),
            Some(site) => {
                let which = self.dice.below(2);
                match self.stage.reached(self.queue.now(), vantage, site, which) {
                    Reached::Served => true,
                    Reached::Silence => false,
                    Reached::Refused => return (failed(Reason::Refused), took),
                    Reached::NothingToServe => return (failed(Reason::Closed), took),
                }
            }
        };
        if came { (seen(), took) } else { (failed(Reason::Timeout), TIMEOUT) }
    }

    fn agent(&mut self, at: usize, run: u32) {
        let mut out = out!(self);
        for (series, server) in self.stage.boxes[at].turn(&mut out) {
            let answers = self.stage.answering[at / 2][server];
            let took = out.dice.between(ms(1), ms(5));
            let (seen, took) =
                if answers { (seen(), took) } else { (failed(Reason::Refused), took) };
            out.queue.after(took, Event::CheckEnds { at, run, series, seen });
        }
    }

    fn lease(&mut self, at: usize) {
        let now = self.queue.now();
        let one = &mut self.stage.boxes[at];
        if now < one.router.stalled_until {
            return self.queue.at(one.router.stalled_until, Event::Lease { at });
        }
        let is_held = one.is_on && one.runs() && now >= one.stalled_until;
        let mut out = out!(self);
        let adverts = one.router.lease(&mut out, is_held);
        self.send(at, adverts);
        self.watch.disturbed(at / 2, now);
    }

    /// Adverts of a box, to the other of its pair; and its agent hears which role it has.
    fn send(&mut self, at: usize, adverts: Vec<Vec<u8>>) {
        let other = at ^ 1;
        for octets in adverts {
            let wait = self.dice.between(Duration::ZERO, ADVERT_DELAY);
            if !self.stage.link_cut[at] {
                self.queue.after(wait, Event::Advert { at: other, octets });
            }
        }
        let mut out = out!(self);
        self.stage.boxes[at].role_may_differ(&mut out);
        self.watch.look_at_pair(self.queue.now(), &self.stage, at / 2, self.story);
    }
}

/// Whoever of the actors has a producer, as far as that needs to know.
struct Owner<'a> {
    one: &'a mut Producer,
    behind: Duration,
    stalled_until: Duration,
}

fn owner_of<'a>(vantages: &'a mut [Vantage], boxes: &'a mut [SiteBox], number: usize) -> Owner<'a> {
    match number.checked_sub(vantages.len()) {
        None => {
            let Vantage { producer: one, behind, stalled_until, .. } = &mut vantages[number];
            Owner { one, behind: *behind, stalled_until: *stalled_until }
        }
        Some(at) => {
            let SiteBox { producer: one, behind, stalled_until, .. } = &mut boxes[at];
            Owner { one, behind: *behind, stalled_until: *stalled_until }
        }
    }
}

/// What becomes of who connects to a site.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Reached {
    Served,
    Refused,
    /// It is let in, and nobody is there for it.
    NothingToServe,
    Silence,
}

impl Stage {
    /// As a vantage sees a site now; `which` of its boxes, where both have the address.
    pub fn reached(&self, now: Duration, vantage: usize, site: usize, which: usize) -> Reached {
        if self.lies[vantage] >> site & 1 == 1 {
            return Reached::Silence;
        }
        if !self.network.is_whole(Place::Vantage(vantage), Place::Site(site)) {
            return Reached::Silence;
        }
        self.served(now, site, which)
    }

    /// As anybody who gets there.
    pub fn served(&self, now: Duration, site: usize, which: usize) -> Reached {
        let boxes = &self.boxes[2 * site..2 * site + 2];
        let mut holders = boxes.iter().filter(|one| one.is_on && one.router.holds(now));
        let one = match holders.clone().count() {
            2 => holders.nth(which),
            _ => holders.next(),
        };
        let Some(one) = one else { return Reached::Silence };
        match one.serves(now, &self.answering[site]) {
            None => Reached::Refused,
            Some(_) if now < one.stalled_until => Reached::Silence,
            Some(true) => Reached::Served,
            Some(false) => Reached::NothingToServe,
        }
    }
}

fn seen() -> Seen {
    let phases = Phases { connect: Some(20), ..Phases::default() };
    Seen { outcome: Ok(()), phases, not_after: None, status: None }
}

fn failed(reason: Reason) -> Seen {
    let outcome = Err(Failure::new(reason, "simulated"));
    Seen { outcome, phases: Phases::default(), not_after: None, status: None }
}
