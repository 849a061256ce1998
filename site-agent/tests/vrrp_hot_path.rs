//! The promise of the virtual routers' thread: adverts are read, judged, acted on and written without allocating, signed or not,
//! while all is well, while packets are refused and while the address goes from one box to the other.

#![expect(clippy::unwrap_used, reason = "what a test cannot go on without may as well end it")]

mod allocations;

use std::hint::black_box;
use std::mem;
use std::net::{IpAddr, Ipv4Addr};
use std::num::NonZeroU8;
use std::time::Duration;

use allocations::allocations;
use site_agent::vrrp::advert::{Claim, Interval, Priority, Version, Vrid};
use site_agent::vrrp::machine::Machine;
use site_agent::vrrp::machine::action::{Action, Role};
use site_agent::vrrp::machine::event::{Event, Link};
use site_agent::vrrp::machine::settings::{Balancer, Preempt, Refresh, Settings, Witness};
use site_agent::vrrp::neighbour::{Mac, Operation, gratuitous_arp};
use site_agent::vrrp::packet::auth::{Asked, KeyId, Keys, Mode};
use site_agent::vrrp::packet::replay::{Freshness, Marks, Stamp};
use site_agent::vrrp::packet::{
    Accepted, Authentication, Ends, Expected, Form, GROUP_V4, Message, Reach, Vips, ipv4_header,
    judge, open_ipv4, read, write,
};

const VIP: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 100);
const VIPS: [IpAddr; 1] = [IpAddr::V4(VIP)];
const ADDRESSES: [Ipv4Addr; 2] = [Ipv4Addr::new(192, 0, 2, 10), Ipv4Addr::new(192, 0, 2, 11)];
const MAC: Mac = Mac([2, 0, 0, 0, 0, 0x0a]);
const FRESH: Freshness = Freshness::Within { seconds: 5 };
const UTC: Duration = Duration::from_secs(1_800_000_000);
const STEP: Duration = Duration::from_millis(10);
const HEADER: usize = 20;

/// One box, with all that the shell has beside the machine.
struct Router {
    machine: Machine,
    address: Ipv4Addr,
    keys: Option<Keys>,
    stamp: Stamp,
    marks: Marks,
    actions: Vec<Action>,
    packet: [u8; 256],
    /// Octets of what it has sent and nobody has heard yet.
    sent: usize,
    counts: Counts,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Counts {
    heard: u32,
    refused: u32,
    announced: u32,
    news: u32,
}

impl Router {
    fn new(number: usize, is_signed: bool) -> Router {
        let address = ADDRESSES[number];
        let settings = Settings {
            version: Version::V3,
            address: address.into(),
            priority: Priority::new([200, 100][number]).unwrap(),
            interval: interval(),
            down_adverts: NonZeroU8::new(3).unwrap(),
            preempt: Preempt::After(Duration::ZERO),
            tracks: Box::default(),
            balancer: Balancer::NotAsked,
            witness: Witness::NotAsked,
            lifetime: Duration::from_secs(2),
            refresh: Refresh::Every(Duration::from_secs(60)),
        };
        let mut router = Router {
            machine: Machine::new(settings),
            address,
            keys: is_signed.then(|| Keys::new((KeyId::new(1).unwrap(), &[7; 32]), &[]).unwrap()),
            stamp: Stamp::default(),
            marks: Marks::default(),
            actions: vec![],
            packet: [0; 256],
            sent: 0,
            counts: Counts::default(),
        };
        router.take(Event::Link(Link::Up), Duration::ZERO);
        router.take(Event::Startup { settle: Duration::ZERO }, Duration::ZERO);
        router
    }

    fn hear(&mut self, octets: &[u8], now: Duration) {
        let (envelope, message) = open_ipv4(octets).unwrap();
        let asked = match &self.keys {
            None => Asked::Nothing,
            Some(keys) => Asked::Signature { keys, mode: Mode::Enforce, freshness: FRESH },
        };
        let expected = Expected {
            vrid: vrid(),
            address: self.address.into(),
            accepted: Accepted::Only(Version::V3),
            interval: interval(),
            vips: &VIPS,
            reach: Reach::Multicast,
            asked,
        };
        let heard = read(&envelope.ends, message)
            .and_then(|advert| judge(&expected, &envelope, &advert, UTC + now, &mut self.marks));
        match heard {
            Ok(heard) => {
                self.counts.heard += 1;
                let (from, claim, interval) = (heard.from, heard.claim, heard.interval);
                self.take(Event::Heard { from, claim, interval }, now);
            }
            Err(refusal) => {
                black_box(refusal.word());
                self.counts.refused += 1;
            }
        }
    }

    fn take(&mut self, event: Event, now: Duration) {
        let mut actions = mem::take(&mut self.actions);
        self.machine.on_event(now, event, &mut actions);
        for action in actions.drain(..) {
            match action {
                Action::Advertise(priority) => self.advertise(Claim::Leads(priority), now),
                Action::Resign => self.advertise(Claim::Resigns, now),
                Action::Announce { times } => {
                    black_box(gratuitous_arp(Operation::Request, VIP, MAC));
                    self.counts.announced += u32::from(times);
                }
                Action::Tell(news) => {
                    black_box(news);
                    self.counts.news += 1;
                }
                Action::AddAddresses
                | Action::RenewAddresses
                | Action::RemoveAddresses
                | Action::AskWitness => {}
            }
        }
        self.actions = actions;
    }

    fn advertise(&mut self, claim: Claim, now: Duration) {
        let ends = Ends::V4 { from: self.address, to: GROUP_V4 };
        let authentication = match &self.keys {
            None => Authentication::None,
            Some(keys) => {
                self.stamp = Stamp::next(self.stamp, UTC + now, FRESH);
                Authentication::Signature { keys, stamp: self.stamp }
            }
        };
        let message = Message {
            version: Version::V3,
            vrid: vrid(),
            claim,
            interval: interval(),
            vips: Vips::V4(&[VIP]),
            authentication,
            form: Form::PseudoHeader,
        };
        let (header, rest) = self.packet.split_at_mut(HEADER);
        let length = write(&message, &ends, rest).unwrap();
        header.copy_from_slice(&ipv4_header(self.address, GROUP_V4, length));
        self.sent = HEADER + length;
    }
}

fn vrid() -> Vrid {
    Vrid::new(51).unwrap()
}

fn interval() -> Interval {
    Interval::of_centiseconds(10).unwrap()
}

/// A pair on a link that passes nothing for one second of five, and one bad packet each step. From there to there.
fn live(pair: &mut [Router; 2], steps: std::ops::Range<u32>) {
    for step in steps {
        let now = STEP * step;
        for number in 0..2 {
            let [one, other] = pair.get_disjoint_mut([number, 1 - number]).unwrap();
            if one.machine.next_wakeup().is_some_and(|at| now >= at) {
                one.take(Event::Tick, now);
            }
            let sent = mem::take(&mut one.sent);
            if sent > 0 && step % 500 >= 100 {
                other.hear(&one.packet[..sent], now);
                let mut bad = [0; 256];
                bad[..sent].copy_from_slice(&one.packet[..sent]);
                bad[HEADER + 6] ^= 1;
                other.hear(&bad[..sent], now);
            }
        }
    }
}

fn check(is_signed: bool) {
    let mut pair = [Router::new(0, is_signed), Router::new(1, is_signed)];
    // In its first rounds each of them makes room for its actions, and keeps it.
    live(&mut pair, 0..1000);
    let before = [pair[0].counts, pair[1].counts];
    let asked = allocations(|| live(&mut pair, 1000..21_000));
    assert_eq!(asked, 0, "signed: {is_signed}");
    // It was no idle time: adverts came, each link that was cut had the other one take over, and give back.
    let [leader, standby] = [0, 1].map(|number| {
        let (now, before) = (pair[number].counts, before[number]);
        [now.heard - before.heard, now.refused - before.refused, now.announced - before.announced]
    });
    assert!(standby[0] > 1500 && standby[1] == standby[0], "{standby:?}");
    assert!(leader[0] >= 40 && leader[1] == leader[0], "{leader:?}");
    assert!(standby[2] >= 120, "{standby:?}");
    assert_eq!([pair[0].machine.role(), pair[1].machine.role()], [Role::Active, Role::Backup]);
}

#[test]
fn adverts_allocate_nothing() {
    check(false);
}

#[test]
fn signed_adverts_allocate_nothing() {
    check(true);
}
