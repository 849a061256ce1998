//! One virtual router as it runs: its machine, and what the machine's actions are here.
//!
//! (a packet, a tick, the interface) ─▶ Router ─▶ machine ─▶ Router ─▶ ground

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::num::NonZeroU8;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use common::clock;

use super::adverts::LONGEST;
use super::expects;
use super::ground::{Ground, Interface, Needs, Requests, first_error};
use super::shown::{Shown, Standing};
use super::tell::{Could, Said, Tell};
use crate::netlink::{Index, can_speak};
use crate::site::{self, Checksum, Track, Vip, VirtualRouter};
use crate::vrrp::advert::{Claim, Version};
use crate::vrrp::machine::Machine;
use crate::vrrp::machine::action::{Action, News, Role, What};
use crate::vrrp::machine::event::{Cause, Event, Link, TrackResult};
use crate::vrrp::machine::settings::{Balancer, Settings, TrackId, Witness};
use crate::vrrp::neighbour::{Forwarding, Operation, arp_question, gratuitous_arp, unsolicited_na};
use crate::vrrp::packet::auth::Keys;
use crate::vrrp::packet::replay::{Marks, Stamp};
use crate::vrrp::packet::{
    Advert, Agreement, Authentication, Ends, Envelope, Family, Form, GROUP_V4, GROUP_V6, Message,
    Refusal, Vips, judge, write,
};

/// Adverts that are missed before the Active router is thought dead (RFC 9568 §6.1).
const DOWN_ADVERTS: NonZeroU8 = NonZeroU8::new(3).expect("it is not 0");
/// For how long a witness that was seen stands for a link that works.
const WITNESSED: Duration = Duration::from_secs(2);

pub struct Router {
    pub config: Arc<VirtualRouter>,
    pub machine: Machine,
    /// Of its interface, among those of the ground.
    pub place: usize,
    pub shown: Arc<Shown>,
    /// Whether the addresses are to be on the interface.
    holds: bool,
    address: Option<IpAddr>,
    link: Link,
    requests: Option<(Index, Requests)>,
    /// VIPs that the kernel does not take: one that has others goes on with those.
    not_taken: Vec<IpAddr>,
    /// Whether an advert was sent, or could be sent to nobody, since the machine was told.
    went_out: Option<bool>,
    is_unsent: bool,
    /// Interfaces that are watched, among those of the ground, and what was last told of them.
    watched: Vec<(TrackId, usize, Option<TrackResult>)>,
    advertised: Advertised,
    keys: Option<Keys>,
    marks: Marks,
    stamp: Stamp,
    /// Of version 3 over IPv4: of whom we heard last.
    form: Form,
    /// Says whether this box passes IPv6 packets on.
    forwarding: PathBuf,
    has_seen: bool,
    could: Could,
    packet: Box<[u8]>,
    actions: Vec<Action>,
}

/// Addresses that stand in adverts, as adverts are judged by and as they are written from: of one family.
struct Advertised {
    all: Vec<IpAddr>,
    v4: Vec<Ipv4Addr>,
    v6: Vec<Ipv6Addr>,
}

impl Advertised {
    fn of(config: &VirtualRouter) -> Advertised {
        let all: Vec<IpAddr> = config.advertised().collect();
        let (mut v4, mut v6) = (vec![], vec![]);
        for vip in &all {
            match vip {
                IpAddr::V4(vip) => v4.push(*vip),
                IpAddr::V6(vip) => v6.push(*vip),
            }
        }
        Advertised { all, v4, v6 }
    }
}

impl Router {
    pub fn new(config: Arc<VirtualRouter>, ground: &mut Ground) -> Router {
        Router {
            machine: Machine::new(settings(&config)),
            place: ground.place(&config.interface, needs(&config)),
            shown: Arc::new(Shown::new(Arc::clone(&config))),
            holds: false,
            address: None,
            link: Link::Down(Cause::NoInterface),
            not_taken: vec![],
            went_out: None,
            is_unsent: false,
            requests: None,
            watched: watched(&config, ground),
            advertised: Advertised::of(&config),
            keys: expects::keys(&config),
            marks: Marks::default(),
            stamp: Stamp::default(),
            form: match config.checksum {
                // keepalived's, unless it is told otherwise.
                Checksum::AsHeard => Form::PseudoHeader,
                Checksum::Always(form) => form,
            },
            forwarding: PathBuf::from(format!(
                "/proc/sys/net/ipv6/conf/{}/forwarding",
                config.interface
            )),
            has_seen: false,
            could: Could::default(),
            packet: vec![0; LONGEST].into(),
            actions: vec![],
            config,
        }
    }

    /// Gives back what it has no more by another config of the same virtual router.
    pub fn let_go(&mut self, config: &VirtualRouter, ground: &mut Ground, tell: &mut Tell) {
        let gone = self.config.vips.iter().filter(|vip| !config.vips.contains(vip));
        let gone: Vec<Vip> = gone.copied().collect();
        let index = ground.interfaces[self.place].index();
        if let (true, Some(on), false) = (self.holds, index, gone.is_empty()) {
            let removed =
                Requests::new(&gone, on, VirtualRouter::LIFETIME).remove(ground, self.place);
            self.could.tell(Action::RemoveAddresses, removed, &self.config.name, tell);
        }
    }

    /// Goes on by that config: whoever leads, leads on.
    pub fn adopt(&mut self, config: Arc<VirtualRouter>, ground: &mut Ground, tell: &mut Tell) {
        let index = ground.interfaces[self.place].index();
        let is_new = config.vips.iter().any(|vip| !self.config.vips.contains(vip));
        let kept = kept(&self.config.tracks, &config.tracks);
        self.watched = watched(&config, ground);
        self.advertised = Advertised::of(&config);
        self.keys = expects::keys(&config);
        if let Checksum::Always(form) = config.checksum {
            self.form = form;
        }
        self.requests = index.map(|on| (on, requests(&config, on)));
        self.not_taken.retain(|known| config.has(*known));
        self.config = Arc::clone(&config);
        self.shown.config.store(Arc::clone(&config));
        let mut actions = std::mem::take(&mut self.actions);
        self.machine.adopt(settings(&config), &kept, &mut actions);
        if self.holds && is_new {
            actions.extend([Action::AddAddresses, Action::Announce { times: 1 }]);
        }
        for action in actions.drain(..) {
            let done = self.act(action, ground, tell);
            self.could.tell(action, done, &self.config.name, tell);
        }
        self.actions = actions;
        self.watch(ground, tell);
    }

    /// Whether interfaces that are watched are up.
    pub fn watch(&mut self, ground: &mut Ground, tell: &mut Tell) {
        for place in 0..self.watched.len() {
            let (track, at, told) = self.watched[place];
            let result = match ground.interfaces[at].is_up() {
                true => TrackResult::Passes,
                false => TrackResult::Fails,
            };
            if told != Some(result) {
                self.watched[place].2 = Some(result);
                self.on_event(Event::Tracked { track, result }, ground, tell);
            }
        }
    }

    pub fn is_for(&self, place: usize, family: Family, advert: &Advert<'_>) -> bool {
        self.place == place && self.config.family == family && self.config.vrid == advert.vrid
    }

    /// An advert of our VRID that is well formed.
    pub fn hear(
        &mut self,
        envelope: &Envelope,
        advert: &Advert<'_>,
        ground: &mut Ground,
        tell: &mut Tell,
    ) {
        // Without an address of ours nothing can be told to be somebody else's.
        let Some(address) = self.address else { return };
        let expected = expects::of(&self.config, &self.advertised.all, self.keys.as_ref(), address);
        let utc = clock::unix_time();
        let counts = &self.shown.counts;
        match judge(&expected, envelope, advert, utc, &mut self.marks) {
            Ok(heard) => {
                counts.heard(heard.form);
                if heard.vips == Agreement::Differs {
                    counts.vips_differ.fetch_add(1, Relaxed);
                }
                if self.config.checksum == Checksum::AsHeard && heard.version == Version::V3 {
                    self.form = heard.form;
                }
                if let Claim::Leads(priority) = heard.claim {
                    // While we lead it is one that is about to give way, or should.
                    let leads = self.machine.role() == Role::Active;
                    let leader = Some((heard.from, priority)).filter(|_| !leads);
                    self.show(|standing| standing.leader = leader);
                }
                let event =
                    Event::Heard { from: heard.from, claim: heard.claim, interval: heard.interval };
                self.on_event(event, ground, tell);
            }
            Err(refusal) => self.refuse(&refusal),
        }
    }

    pub fn refuse(&self, refusal: &Refusal) {
        // What we have sent ourselves is nobody's mistake.
        if *refusal != Refusal::Own {
            self.shown.counts.refused.count(refusal);
        }
    }

    /// Its interface is another, or has other addresses. `taken` are the VIPs of all virtual routers.
    pub fn look(&mut self, ground: &mut Ground, taken: &[IpAddr], tell: &mut Tell) {
        let interface = &ground.interfaces[self.place];
        let index = interface.index();
        if let Some(on) = index
            && self.requests.as_ref().is_none_or(|(known, _)| *known != on)
        {
            self.requests = Some((on, requests(&self.config, on)));
        }
        let address = self.source(interface, taken);
        let has = |address: IpAddr| interface.has(address);
        let (missing, found) = (
            self.config
                .vips
                .iter()
                .any(|vip| !has(vip.address) && !self.not_taken.contains(&vip.address)),
            self.config.vips.iter().any(|vip| has(vip.address)),
        );
        let sockets = interface.sockets.as_ref();
        let has_socket = sockets.is_some_and(|sockets| sockets.of(self.config.family).is_some());
        let is_up = interface.is_up();
        if address != self.address {
            self.address = address;
            if let Some(address) = address {
                self.machine.speaks_from(address);
            }
            self.show(|standing| standing.address = address);
        }
        let link = match () {
            () if index.is_none() => Link::Down(Cause::NoInterface),
            () if !is_up => Link::Down(Cause::NoCarrier),
            () if !has_socket => Link::Down(Cause::NoSockets),
            () if address.is_none() => Link::Down(Cause::NoAddress),
            () => Link::Up,
        };
        if link != self.link {
            self.link = link;
            self.on_event(Event::Link(link), ground, tell);
        }
        // One that is called otherwise now has had its addresses until here.
        if index.is_none() {
            self.requests = None;
        }
        if self.holds && missing {
            self.on_event(Event::AddressLost, ground, tell);
        } else if !self.holds && found {
            self.on_event(Event::AddressFound, ground, tell);
        }
    }

    /// What adverts are sent from: as it was, while that is there.
    fn source(&self, interface: &Interface, taken: &[IpAddr]) -> Option<IpAddr> {
        if let Some(configured) = self.config.source {
            return interface.has(configured).then_some(configured);
        }
        let fits = |address: &IpAddr| {
            Family::of(*address) == self.config.family
                && can_speak(*address)
                && !taken.contains(address)
        };
        let kept = self.address.filter(|kept| interface.has(*kept));
        kept.or_else(|| interface.addresses().find(fits))
    }

    pub fn is_due(&self, now: Duration) -> bool {
        self.machine.next_wakeup().is_some_and(|at| now >= at)
    }

    /// What became of adverts, if that is news.
    fn sending(&mut self) -> Option<Event> {
        match (self.went_out.take()?, self.is_unsent) {
            (true, false) => None,
            (true, true) => {
                self.is_unsent = false;
                Some(Event::Sent)
            }
            (false, _) => {
                self.is_unsent = true;
                Some(Event::Unsent)
            }
        }
    }

    /// Somebody has sent ARP.
    pub fn see(&mut self, sender: Ipv4Addr) {
        self.has_seen |= self.config.witnesses.contains(&sender);
    }

    /// Since this was asked last.
    pub fn has_seen_a_witness(&mut self) -> bool {
        std::mem::take(&mut self.has_seen)
    }

    /// Tells the machine, and does what it says.
    pub fn on_event(&mut self, event: Event, ground: &mut Ground, tell: &mut Tell) {
        let mut next = Some(event);
        while let Some(event) = next.take() {
            let mut actions = std::mem::take(&mut self.actions);
            self.machine.on_event(clock::since_boot(), event, &mut actions);
            for action in actions.drain(..) {
                let done = self.act(action, ground, tell);
                let is_lost = match action {
                    Action::AddAddresses | Action::RenewAddresses => {
                        done.is_err() && self.not_taken.len() == self.config.vips.len()
                    }
                    _ => false,
                };
                self.could.tell(action, done, &self.config.name, tell);
                let vips_not_taken = self.not_taken.len();
                self.show(|standing| standing.vips_not_taken = vips_not_taken);
                // A second loss within moments is a fault, so this ends.
                if is_lost && self.machine.role() == Role::Active {
                    next = Some(Event::AddressLost);
                }
            }
            self.actions = actions;
            next = next.or_else(|| self.sending());
        }
    }

    fn act(&mut self, action: Action, ground: &mut Ground, tell: &mut Tell) -> io::Result<()> {
        match action {
            Action::Advertise(priority) => self.advertise(Claim::Leads(priority), ground),
            Action::Resign => self.advertise(Claim::Resigns, ground),
            Action::AddAddresses | Action::RenewAddresses => {
                self.holds = true;
                match &mut self.requests {
                    Some((_, requests)) => requests.put(ground, self.place, &mut self.not_taken),
                    None => Err(io::ErrorKind::NotFound.into()),
                }
            }
            Action::RemoveAddresses => {
                self.holds = false;
                match &mut self.requests {
                    Some((_, requests)) => requests.remove(ground, self.place),
                    // With the interface its addresses are gone as well.
                    None => Ok(()),
                }
            }
            Action::Announce { times } => self.announce(times, ground),
            Action::AskWitness => self.ask(ground),
            Action::Tell(news) => {
                self.told(news, tell);
                Ok(())
            }
        }
    }

    fn advertise(&mut self, claim: Claim, ground: &Ground) -> io::Result<()> {
        let config = Arc::clone(&self.config);
        match (&config.reach, config.family) {
            (site::Reach::Multicast, Family::V4) => self.send(claim, GROUP_V4.into(), ground),
            (site::Reach::Multicast, Family::V6) => self.send(claim, GROUP_V6.into(), ground),
            (site::Reach::Unicast { peers, .. }, _) => {
                first_error(peers.iter().map(|peer| self.send(claim, *peer, ground)))
            }
        }
    }

    fn send(&mut self, claim: Claim, to: IpAddr, ground: &Ground) -> io::Result<()> {
        let sockets = ground.interfaces[self.place].sockets.as_ref();
        let socket = sockets.and_then(|sockets| sockets.of(self.config.family));
        let ends = match (self.address, to) {
            (Some(IpAddr::V4(from)), IpAddr::V4(to)) => Some(Ends::V4 { from, to }),
            (Some(IpAddr::V6(from)), IpAddr::V6(to)) => Some(Ends::V6 { from, to }),
            (None | Some(_), _) => None,
        };
        let sent = match (socket, ends) {
            (Some(socket), Some(ends)) => {
                let authentication = match (&self.config.authentication, &self.keys) {
                    (site::Authentication::Password(password), _) => {
                        Authentication::Password(*password)
                    }
                    (site::Authentication::Signature(signature), Some(keys))
                        if signature.mode.signs() =>
                    {
                        self.stamp =
                            Stamp::next(self.stamp, clock::unix_time(), signature.freshness);
                        Authentication::Signature { keys, stamp: self.stamp }
                    }
                    (site::Authentication::None | site::Authentication::Signature(_), _) => {
                        Authentication::None
                    }
                };
                let message = Message {
                    version: self.config.version,
                    vrid: self.config.vrid,
                    claim,
                    interval: self.config.interval,
                    vips: match self.config.family {
                        Family::V4 => Vips::V4(&self.advertised.v4),
                        Family::V6 => Vips::V6(&self.advertised.v6),
                    },
                    authentication,
                    form: self.form,
                };
                let sent = socket.send(&ends, &mut self.packet, |out| write(&message, &ends, out));
                sent.unwrap_or_else(|unwritable| Err(io::Error::other(unwritable)))
            }
            (None, _) | (_, None) => Err(io::ErrorKind::NotConnected.into()),
        };
        let counts = &self.shown.counts;
        match &sent {
            Ok(()) => counts.sent.fetch_add(1, Relaxed),
            Err(_) => counts.unsent.fetch_add(1, Relaxed),
        };
        // One of several peers is enough.
        self.went_out = Some(sent.is_ok() || self.went_out == Some(true));
        sent
    }

    /// Where there is no Ethernet there is nobody who would have to learn it.
    fn announce(&self, times: u8, ground: &Ground) -> io::Result<()> {
        let sockets = ground.interfaces[self.place].sockets.as_ref();
        let Some((frames, mac)) = sockets.and_then(|sockets| sockets.frames.as_ref()) else {
            return Ok(());
        };
        let forwards = || fs::read(&self.forwarding).is_ok_and(|found| found.starts_with(b"1"));
        let is_needed = self.config.vips.iter().any(|vip| vip.address.is_ipv6());
        let forwarding = match is_needed && forwards() {
            true => Forwarding::Router,
            false => Forwarding::Host,
        };
        let mut first = Ok(());
        for _ in 0..times {
            for vip in &self.config.vips {
                let sent = match vip.address {
                    IpAddr::V4(address) => {
                        let both = [Operation::Request, Operation::Reply];
                        let send = |of| frames.send(&gratuitous_arp(of, address, *mac));
                        first_error(both.into_iter().map(send))
                    }
                    IpAddr::V6(address) => frames.send(&unsolicited_na(address, *mac, forwarding)),
                };
                first = first.and(sent);
            }
        }
        first
    }

    fn ask(&self, ground: &Ground) -> io::Result<()> {
        let interface = &ground.interfaces[self.place];
        let frames = interface.sockets.as_ref().and_then(|sockets| sockets.frames.as_ref());
        // Without an address of IPv4, as one asks who has yet to get one (RFC 5227 §2.1.1).
        let ours = interface.addresses().find_map(|address| match address {
            IpAddr::V4(ours) => Some(ours).filter(|_| !self.config.has(address)),
            IpAddr::V6(_) => None,
        });
        let from = ours.unwrap_or(Ipv4Addr::UNSPECIFIED);
        let Some((frames, mac)) = frames else { return Err(io::ErrorKind::NotConnected.into()) };
        let ask = |witness: &Ipv4Addr| frames.send(&arp_question(*witness, from, *mac));
        first_error(self.config.witnesses.iter().map(ask))
    }

    fn told(&mut self, news: News, tell: &mut Tell) {
        let (role, since, priority) =
            (self.machine.role(), self.machine.since(), self.machine.priority());
        let counts = &self.shown.counts;
        match news.what {
            What::Turned { to: Role::Active, .. } => counts.became_active.fetch_add(1, Relaxed),
            What::Turned { from: Role::Active, .. } => counts.ceased_active.fetch_add(1, Relaxed),
            _ => 0,
        };
        let yields = match news.what {
            What::Yields => Some(true),
            What::YieldsNoMore | What::Turned { to: Role::Active, .. } => Some(false),
            _ => None,
        };
        let (fault, leads) = (self.machine.unfit(), role == Role::Active);
        self.show(|standing| {
            (standing.role, standing.since, standing.priority) = (role, since, priority);
            standing.fault = fault;
            standing.leader = standing.leader.filter(|_| !leads);
            standing.is_yielding = yields.unwrap_or(standing.is_yielding);
        });
        tell.say(Said::News { router: Arc::clone(&self.config.name), news });
    }

    /// What is the same is not shown anew: it would take memory with each advert.
    fn show(&self, change: impl FnOnce(&mut Standing)) {
        let before = **self.shown.standing.load();
        let mut after = before;
        change(&mut after);
        if after != before {
            self.shown.standing.store(Arc::new(after));
        }
    }
}

/// Which each of these tracks was before.
fn kept(before: &[Track], now: &[Track]) -> Vec<Option<TrackId>> {
    let is_same =
        |one: &Track, other: &Track| one.name == other.name && one.watched == other.watched;
    let place = |track: &Track| before.iter().position(|known| is_same(known, track)).map(TrackId);
    now.iter().map(place).collect()
}

pub fn needs(config: &VirtualRouter) -> Needs {
    Needs {
        v4: config.family == Family::V4,
        v6: config.family == Family::V6,
        witnesses: !config.witnesses.is_empty(),
    }
}

fn watched(
    config: &VirtualRouter,
    ground: &mut Ground,
) -> Vec<(TrackId, usize, Option<TrackResult>)> {
    let mut watched = vec![];
    for (place, track) in config.tracks.iter().enumerate() {
        if let site::Watched::Interface(interface) = &track.watched {
            let at = ground.place(interface, Needs::default());
            watched.push((TrackId(place), at, None));
        }
    }
    watched
}

fn requests(config: &VirtualRouter, on: Index) -> Requests {
    Requests::new(&config.vips, on, VirtualRouter::LIFETIME)
}

fn settings(config: &VirtualRouter) -> Settings {
    let unknown = match config.family {
        Family::V4 => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        Family::V6 => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    Settings {
        version: config.version,
        address: config.source.unwrap_or(unknown),
        priority: config.priority,
        interval: config.interval,
        down_adverts: DOWN_ADVERTS,
        preempt: config.preempt,
        tracks: config.tracks.iter().map(|track| track.weight).collect(),
        balancer: match config.needs_balancer {
            true => Balancer::Leased,
            false => Balancer::NotAsked,
        },
        witness: match config.witnesses.is_empty() {
            true => Witness::NotAsked,
            false => Witness::Seen(WITNESSED),
        },
        lifetime: VirtualRouter::LIFETIME,
        refresh: config.refresh,
    }
}
