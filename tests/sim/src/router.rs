//! One router of a pair: `vrrp::machine` and the codec, with a kernel that takes addresses back when nobody renews them.

use std::net::{IpAddr, Ipv4Addr};
use std::num::NonZeroU8;
use std::time::Duration;

use site_agent::vrrp::advert::{Claim, Interval, Priority, Version, Vrid};
use site_agent::vrrp::machine::Machine;
use site_agent::vrrp::machine::action::{Action, Role};
use site_agent::vrrp::machine::event::{Event as Told, Lease, Link};
use site_agent::vrrp::machine::settings::{Balancer, Preempt, Refresh, Settings, Witness};
use site_agent::vrrp::packet::auth::Asked;
use site_agent::vrrp::packet::replay::Marks;
use site_agent::vrrp::packet::{
    Accepted, Authentication, Ends, Envelope, Expected, Form, GROUP_V4, HOP_LIMIT, Message, Reach,
    Vips, judge, read, write,
};

use crate::clock::{Alarm, Event, Run, ms};
use crate::producer::Out;
use crate::tell;

pub const ADVERT: Duration = ms(400);
/// For how long the kernel keeps an address that nobody renews (promise 8).
pub const LIFETIME: Duration = ms(2000);
pub const VRID: u8 = 51;
/// How late a timer may be.
const LATE: Duration = Duration::from_micros(500);

#[derive(Debug)]
pub struct Router {
    /// Among all boxes.
    at: usize,
    name: Box<str>,
    vip: Ipv4Addr,
    settings: Settings,
    /// `None` while it does not run.
    machine: Option<Machine>,
    pub run: Run,
    pub stalled_until: Duration,
    /// What came while it stood still.
    socket: Vec<Vec<u8>>,
    pub holds_until: Option<Duration>,
    /// Since when it has its role.
    pub role_since: Duration,
    is_leased: bool,
    pub alarm: Alarm,
}

impl Router {
    pub fn new(at: usize, name: &str, vip: Ipv4Addr, priority: u8, preempt: Preempt) -> Router {
        let last = if at.is_multiple_of(2) { 2 } else { 3 };
        let settings = Settings {
            version: Version::V3,
            address: IpAddr::V4(Ipv4Addr::new(10, 0, 0, last)),
            priority: Priority::new(priority).expect("it is 1 to 255"),
            interval: Interval::of_centiseconds(40).expect("400 ms fit"),
            down_adverts: NonZeroU8::new(3).expect("3 is not 0"),
            preempt,
            tracks: [].into(),
            balancer: Balancer::Leased,
            witness: Witness::NotAsked,
            lifetime: LIFETIME,
            refresh: Refresh::Never,
        };
        Router {
            at,
            name: name.into(),
            vip,
            settings,
            machine: None,
            run: 0,
            stalled_until: Duration::ZERO,
            socket: vec![],
            holds_until: None,
            role_since: Duration::ZERO,
            is_leased: false,
            alarm: Alarm::default(),
        }
    }

    pub fn runs(&self) -> bool {
        self.machine.is_some()
    }

    pub fn role(&self) -> Role {
        self.machine.as_ref().map_or(Role::Initialize, Machine::role)
    }

    pub fn leads(&self) -> bool {
        self.role() == Role::Active
    }

    /// Whether it is there, and its balancer serves: then it is to lead if nobody else does.
    pub fn can_lead(&self) -> bool {
        self.runs() && self.is_leased
    }

    pub fn holds(&self, now: Duration) -> bool {
        self.holds_until.is_some_and(|until| now < until)
    }

    pub fn start(&mut self, out: &mut Out<'_>) -> Vec<Vec<u8>> {
        self.run += 1;
        self.stalled_until = Duration::ZERO;
        self.alarm.clear();
        self.socket.clear();
        self.machine = Some(Machine::new(self.settings.clone()));
        self.role_since = out.queue.now();
        tell!(out, "{} router starts", self.name);
        let lease = if self.is_leased { Lease::Held } else { Lease::Lost };
        let mut adverts = self.on(out, Told::Link(Link::Up));
        adverts.extend(self.on(out, Told::Lease(lease)));
        adverts.extend(self.on(out, Told::Startup { settle: Duration::ZERO }));
        adverts
    }

    /// Its process is gone; the kernel keeps the addresses for what is left of their lifetime.
    pub fn kill(&mut self, out: &mut Out<'_>) {
        self.run += 1;
        self.machine = None;
        self.role_since = out.queue.now();
        tell!(out, "{} router is killed", self.name);
    }

    pub fn lease(&mut self, out: &mut Out<'_>, is_held: bool) -> Vec<Vec<u8>> {
        if self.is_leased == is_held {
            return vec![];
        }
        self.is_leased = is_held;
        tell!(out, "{} router: the balancer's lease is held: {is_held}", self.name);
        self.on(out, Told::Lease(if is_held { Lease::Held } else { Lease::Lost }))
    }

    pub fn hear(&mut self, out: &mut Out<'_>, octets: Vec<u8>) -> Vec<Vec<u8>> {
        if !self.runs() {
            return vec![];
        }
        if out.queue.now() < self.stalled_until {
            self.socket.push(octets);
            return vec![];
        }
        let heard = self.heard(&octets, out.queue.now());
        self.on(out, heard)
    }

    /// It is time for something: first what lies in the socket is read.
    pub fn wake(&mut self, out: &mut Out<'_>) -> Vec<Vec<u8>> {
        let now = out.queue.now();
        let mut adverts = vec![];
        for octets in std::mem::take(&mut self.socket) {
            let heard = self.heard(&octets, now);
            adverts.extend(self.on(out, heard));
        }
        let is_due = |machine: &Machine| machine.next_wakeup().is_some_and(|at| at <= now);
        if self.machine.as_ref().is_some_and(is_due) {
            adverts.extend(self.on(out, Told::Tick));
        }
        self.plan(out);
        adverts
    }

    fn plan(&mut self, out: &mut Out<'_>) {
        let Some(at) = self.machine.as_ref().and_then(Machine::next_wakeup) else { return };
        // A timer is never early, and often a little late.
        let at = at.max(out.queue.now()) + out.dice.between(Duration::ZERO, LATE);
        if self.alarm.set(at) {
            out.queue.at(at, Event::Router { at: self.at, run: self.run });
        }
    }

    /// Tells the machine, and does what it says; the adverts are for the link.
    fn on(&mut self, out: &mut Out<'_>, told: Told) -> Vec<Vec<u8>> {
        let now = out.queue.now();
        let Some(machine) = &mut self.machine else { return vec![] };
        let (mut actions, before) = (vec![], machine.role());
        machine.on_event(now, told, &mut actions);
        if machine.role() != before {
            self.role_since = now;
        }
        let until = now + LIFETIME;
        let mut adverts = vec![];
        for action in actions {
            match action {
                Action::Advertise(priority) => adverts.push(self.written(Claim::Leads(priority))),
                Action::Resign => adverts.push(self.written(Claim::Resigns)),
                Action::AddAddresses => self.holds_until = Some(until),
                // What is not there cannot be kept.
                Action::RenewAddresses => {
                    let holds = self.holds_until.filter(|until| now < *until);
                    self.holds_until = holds.map(|_| until);
                }
                Action::RemoveAddresses => self.holds_until = None,
                Action::Announce { .. } | Action::AskWitness => {}
                Action::Tell(news) => tell!(out, "{} router: {}", self.name, news.what),
            }
        }
        self.plan(out);
        adverts
    }

    fn written(&self, claim: Claim) -> Vec<u8> {
        let message = Message {
            version: self.settings.version,
            vrid: Vrid::new(VRID).expect("51 is a VRID"),
            claim,
            interval: self.settings.interval,
            vips: Vips::V4(&[self.vip]),
            authentication: Authentication::None,
            form: Form::PseudoHeader,
        };
        let mut octets = vec![0; 64];
        let length = write(&message, &ends(self.settings.address), &mut octets)
            .expect("an advert of one address fits");
        octets.truncate(length);
        octets
    }

    /// The other one of the pair sent it.
    fn heard(&self, octets: &[u8], now: Duration) -> Told {
        let last = if self.at.is_multiple_of(2) { 3 } else { 2 };
        let sender = ends(IpAddr::V4(Ipv4Addr::new(10, 0, 0, last)));
        let envelope = Envelope { ends: sender, hop_limit: HOP_LIMIT };
        let expected = Expected {
            vrid: Vrid::new(VRID).expect("51 is a VRID"),
            address: self.settings.address,
            accepted: Accepted::Only(self.settings.version),
            interval: self.settings.interval,
            vips: &[IpAddr::V4(self.vip)],
            reach: Reach::Multicast,
            asked: Asked::Nothing,
        };
        let advert = read(&envelope.ends, octets).expect("nobody harms octets on the way");
        let heard = judge(&expected, &envelope, &advert, now, &mut Marks::default())
            .expect("both are configured alike");
        Told::Heard { from: heard.from, claim: heard.claim, interval: heard.interval }
    }
}

fn ends(from: IpAddr) -> Ends {
    match from {
        IpAddr::V4(from) => Ends::V4 { from, to: GROUP_V4 },
        IpAddr::V6(_) => panic!("these links have IPv4"),
    }
}
