//! The link, the boxes on it, and what their kernels do. Adverts travel as octets, so the codec is with them.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use crate::vrrp::advert::{Claim, Interval, Vrid};
use crate::vrrp::machine::Machine;
use crate::vrrp::machine::action::{Action, Role};
use crate::vrrp::machine::event::{Event, Lease, Link, TrackResult};
use crate::vrrp::machine::settings::{Settings, TrackId};
use crate::vrrp::packet::auth::Asked;
use crate::vrrp::packet::replay::Marks;
use crate::vrrp::packet::{
    Accepted, Authentication, Ends, Envelope, Expected, Form, GROUP_V4, HOP_LIMIT, Message, Reach,
    Vips, judge, read, write,
};

/// A walk's dice (SplitMix64).
pub struct Dice(pub u64);

impl Dice {
    pub fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % end
    }

    pub fn one_of<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len() as u64) as usize]
    }

    pub fn up_to(&mut self, most: Duration) -> Duration {
        Duration::from_nanos(self.below(most.as_nanos() as u64 + 1))
    }
}

/// What the bus does to adverts.
#[derive(Clone, Debug)]
pub struct Weather {
    /// Of a hundred.
    pub lost: u64,
    /// The longest that an advert is on its way. They overtake each other.
    pub delay: Duration,
    /// From whom to whom nothing gets through.
    pub cut: Vec<(usize, usize)>,
}

/// A router with its kernel.
pub struct Node {
    pub machine: Machine,
    pub settings: Settings,
    /// Its process runs.
    pub runs: bool,
    /// Nothing of it runs until then; what comes in meanwhile lies in its socket.
    pub stalled_until: Duration,
    inbox: Vec<Event>,
    /// Until when its kernel has the addresses.
    pub has_addresses_until: Option<Duration>,
    /// Whether somebody answers when it asks for a witness.
    pub has_witness: bool,
    woken_late_by: Duration,
}

impl Node {
    pub fn is_stalled(&self, now: Duration) -> bool {
        now < self.stalled_until
    }

    /// To the rest of the world.
    pub fn serves(&self, now: Duration) -> bool {
        self.has_addresses_until.is_some_and(|until| now < until)
    }

    pub fn leads(&self) -> bool {
        self.runs && self.machine.role() == Role::Active
    }

    /// It would lead if nobody else did.
    pub fn is_fit(&self) -> bool {
        self.runs && self.has_witness && matches!(self.machine.role(), Role::Backup | Role::Active)
    }
}

pub struct World {
    pub now: Duration,
    pub dice: Dice,
    pub weather: Weather,
    pub nodes: Vec<Node>,
    /// By when they arrive, and in what order they were sent.
    on_the_way: BTreeMap<(Duration, u64), (usize, usize, What)>,
    sent: u64,
    /// What happened, for whoever has to understand a failure.
    pub log: Vec<String>,
    actions: Vec<Action>,
}

enum What {
    Advert(Vec<u8>),
    Witnessed,
}

impl World {
    pub fn new(settings: Vec<Settings>, weather: Weather, dice: Dice) -> World {
        let nodes = settings.into_iter().map(|settings| Node {
            machine: Machine::new(settings.clone()),
            settings,
            runs: false,
            stalled_until: Duration::ZERO,
            inbox: vec![],
            has_addresses_until: None,
            has_witness: true,
            woken_late_by: Duration::ZERO,
        });
        World {
            now: Duration::ZERO,
            dice,
            weather,
            nodes: nodes.collect(),
            on_the_way: BTreeMap::new(),
            sent: 0,
            log: vec![],
            actions: vec![],
        }
    }

    pub fn start(&mut self, node: usize) {
        let settings = self.nodes[node].settings.clone();
        self.nodes[node].machine = Machine::new(settings);
        self.kill(node);
        self.nodes[node].runs = true;
        self.event(node, Event::Link(Link::Up));
        self.event(node, Event::Lease(Lease::Held));
        for track in 0..self.nodes[node].settings.tracks.len() {
            let (track, result) = (TrackId(track), TrackResult::Passes);
            self.event(node, Event::Tracked { track, result });
        }
        self.event(node, Event::Startup { settle: Duration::ZERO });
    }

    /// Its process is gone; the kernel keeps the addresses for what is left of their lifetime.
    pub fn kill(&mut self, node: usize) {
        self.nodes[node].runs = false;
        self.nodes[node].stalled_until = Duration::ZERO;
        self.nodes[node].inbox.clear();
    }

    pub fn lose_what_is_on_the_way(&mut self) {
        self.on_the_way.clear();
    }

    /// When something happens next of itself.
    pub fn next(&self) -> Duration {
        let arrives = self.on_the_way.keys().next().map(|(at, _)| *at);
        let wakes = self.nodes.iter().filter(|node| node.runs).filter_map(|node| {
            let wakes_at = node.machine.next_wakeup()? + node.woken_late_by;
            Some(wakes_at.max(node.stalled_until))
        });
        let unread = self.nodes.iter().filter(|node| node.runs && !node.inbox.is_empty());
        let unread = unread.map(|node| node.stalled_until);
        let expires = self.nodes.iter().filter_map(|node| node.has_addresses_until);
        arrives.into_iter().chain(wakes).chain(unread).chain(expires).min().unwrap_or(Duration::MAX)
    }

    /// Goes on to a moment and does what happens then. Sockets are read before timers are looked at.
    pub fn step(&mut self, to: Duration) {
        self.now = self.now.max(to);
        for node in &mut self.nodes {
            node.has_addresses_until = node.has_addresses_until.filter(|until| self.now < *until);
        }
        while let Some(entry) =
            self.on_the_way.first_entry().filter(|entry| entry.key().0 <= self.now)
        {
            let (from, to, what) = entry.remove();
            if !self.nodes[to].runs {
                continue;
            }
            let event = match what {
                What::Advert(octets) => self.heard(from, to, &octets),
                What::Witnessed => Event::Witnessed,
            };
            self.event(to, event);
        }
        for node in 0..self.nodes.len() {
            if !self.nodes[node].runs || self.nodes[node].is_stalled(self.now) {
                continue;
            }
            for event in std::mem::take(&mut self.nodes[node].inbox) {
                self.event(node, event);
            }
            let late = self.nodes[node].woken_late_by;
            let is_due = |at: Duration| self.now >= at + late;
            if self.nodes[node].machine.next_wakeup().is_some_and(is_due) {
                self.event(node, Event::Tick);
                // A timer is never early, and often a little late.
                self.nodes[node].woken_late_by = self.dice.up_to(Duration::from_micros(500));
            }
        }
    }

    pub fn event(&mut self, node: usize, event: Event) {
        if !self.nodes[node].runs {
            return;
        }
        if self.nodes[node].is_stalled(self.now) {
            return self.nodes[node].inbox.push(event);
        }
        let mut actions = std::mem::take(&mut self.actions);
        self.nodes[node].machine.on_event(self.now, event, &mut actions);
        for action in actions.drain(..) {
            self.act(node, action);
        }
        self.actions = actions;
    }

    fn act(&mut self, node: usize, action: Action) {
        let until = self.now + self.nodes[node].settings.lifetime;
        match action {
            Action::Advertise(priority) => self.send(node, Claim::Leads(priority)),
            Action::Resign => self.send(node, Claim::Resigns),
            Action::AddAddresses => self.nodes[node].has_addresses_until = Some(until),
            // What is not there cannot be kept.
            Action::RenewAddresses => {
                let has = &mut self.nodes[node].has_addresses_until;
                *has = has.map(|_| until);
            }
            Action::RemoveAddresses => self.nodes[node].has_addresses_until = None,
            Action::Announce { .. } => {}
            Action::AskWitness => {
                if self.nodes[node].has_witness {
                    let at = self.now + self.dice.up_to(Duration::from_millis(2));
                    self.sent += 1;
                    self.on_the_way.insert((at, self.sent), (node, node, What::Witnessed));
                }
            }
            Action::Tell(news) => {
                self.log.push(format!("{} ms: {node}: {}", self.now.as_millis(), news.what));
            }
        }
    }

    fn send(&mut self, from: usize, claim: Claim) {
        let settings = &self.nodes[from].settings;
        let message = Message {
            version: settings.version,
            vrid: vrid(),
            claim,
            interval: settings.interval,
            vips: Vips::V4(&[VIP]),
            authentication: Authentication::None,
            form: if from == 0 { Form::Message } else { Form::PseudoHeader },
        };
        let mut out = [0; 64];
        let length = write(&message, &ends(settings), &mut out).unwrap();
        for to in 0..self.nodes.len() {
            let is_lost = self.dice.below(100) < self.weather.lost;
            let at = self.now + self.dice.up_to(self.weather.delay);
            if to == from || is_lost || self.weather.cut.contains(&(from, to)) {
                continue;
            }
            self.sent += 1;
            let advert = What::Advert(out[..length].to_vec());
            self.on_the_way.insert((at, self.sent), (from, to, advert));
        }
    }

    fn heard(&self, from: usize, to: usize, octets: &[u8]) -> Event {
        let (sender, settings) = (&self.nodes[from].settings, &self.nodes[to].settings);
        let envelope = Envelope { ends: ends(sender), hop_limit: HOP_LIMIT };
        let expected = Expected {
            vrid: vrid(),
            address: settings.address,
            accepted: Accepted::Only(settings.version),
            interval: settings.interval,
            vips: &[IpAddr::V4(VIP)],
            reach: Reach::Multicast,
            asked: Asked::Nothing,
        };
        let advert = read(&envelope.ends, octets).unwrap();
        let heard = judge(&expected, &envelope, &advert, self.now, &mut Marks::default()).unwrap();
        Event::Heard { from: heard.from, claim: heard.claim, interval: heard.interval }
    }
}

const VIP: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 100);

fn vrid() -> Vrid {
    Vrid::new(51).unwrap()
}

fn ends(sender: &Settings) -> Ends {
    match sender.address {
        IpAddr::V4(from) => Ends::V4 { from, to: GROUP_V4 },
        IpAddr::V6(_) => panic!("this link has IPv4"),
    }
}

pub fn interval(centiseconds: u16) -> Interval {
    Interval::of_centiseconds(centiseconds).unwrap()
}
