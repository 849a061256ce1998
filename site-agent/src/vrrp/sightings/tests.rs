//! Stories of a link, and what is told of them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use super::Sightings;
use super::told::Told;
use crate::vrrp::advert::{Claim, Interval, Version, Vrid};
use crate::vrrp::packet::{
    Authentication, Ends, Envelope, Form, GROUP_V4, GROUP_V6, Message, Password, Refusal, Vips,
    write,
};

/// What is said in a story where it says nothing else: VRID 51, version 3, each second.
struct Said<'w> {
    from: IpAddr,
    to: Option<IpAddr>,
    vrid: u8,
    version: Version,
    priority: u8,
    seconds: u8,
    vips: Vec<&'w str>,
    password: Option<&'w str>,
    form: Form,
    hop_limit: u8,
    is_broken: bool,
}

impl<'w> Said<'w> {
    /// Such as `10 leads 100 vips 192.0.2.100,192.0.2.101 v2 every 2`; who has a number is 192.0.2.x.
    fn read(from: &str, mut words: impl Iterator<Item = &'w str>) -> Said<'w> {
        let from = from.parse().unwrap_or_else(|_| format!("192.0.2.{from}").parse().unwrap());
        let vips = match from {
            IpAddr::V4(_) => vec!["192.0.2.100"],
            IpAddr::V6(_) => vec!["fe80::5e:51", "2001:db8::64"],
        };
        let mut said = Said {
            from,
            to: None,
            vrid: 51,
            version: Version::V3,
            priority: 0,
            seconds: 1,
            vips,
            password: None,
            form: Form::Message,
            hop_limit: 255,
            is_broken: false,
        };
        while let Some(word) = words.next() {
            let mut value = || words.next().unwrap();
            match word {
                "leads" => said.priority = value().parse().unwrap(),
                "resigns" => said.priority = 0,
                "vips" => said.vips = value().split(',').collect(),
                "vrid" => said.vrid = value().parse().unwrap(),
                "v2" => said.version = Version::V2,
                "every" => said.seconds = value().parse().unwrap(),
                "password" => said.password = Some(value()),
                "pseudo" => said.form = Form::PseudoHeader,
                "hops" => said.hop_limit = value().parse().unwrap(),
                "to" => said.to = Some(value().parse().unwrap()),
                "broken" => said.is_broken = true,
                other => panic!("{other}"),
            }
        }
        said
    }

    fn packet(&self) -> (Envelope, Vec<u8>) {
        let ends = match (self.from, self.to) {
            (IpAddr::V4(from), None) => Ends::V4 { from, to: GROUP_V4 },
            (IpAddr::V6(from), None) => Ends::V6 { from, to: GROUP_V6 },
            (IpAddr::V4(from), Some(IpAddr::V4(to))) => Ends::V4 { from, to },
            other => panic!("{other:?}"),
        };
        let (mut four, mut six): (Vec<Ipv4Addr>, Vec<Ipv6Addr>) = (vec![], vec![]);
        for vip in &self.vips {
            match vip.parse().unwrap() {
                IpAddr::V4(vip) => four.push(vip),
                IpAddr::V6(vip) => six.push(vip),
            }
        }
        let message = Message {
            version: self.version,
            vrid: Vrid::new(self.vrid).unwrap(),
            claim: Claim::of_octet(self.priority),
            interval: Interval::of_seconds(self.seconds).unwrap(),
            vips: if six.is_empty() { Vips::V4(&four) } else { Vips::V6(&six) },
            authentication: match self.password {
                None => Authentication::None,
                Some(text) => Authentication::Password(Password::cut(text)),
            },
            form: self.form,
        };
        let mut octets = vec![0; 2000];
        let length = write(&message, &ends, &mut octets).unwrap();
        octets.truncate(length);
        if self.is_broken {
            octets[7] ^= 1;
        }
        (Envelope { ends, hop_limit: self.hop_limit }, octets)
    }
}

/// `0.5 10 leads 100 | ...`: seconds, who, what; told at the time of the last one, which may be of nobody.
fn story(story: &str) -> Told {
    let mut sightings = Sightings::default();
    let interface = Arc::from("eth0");
    let mut now = Duration::ZERO;
    for line in story.split('|') {
        let mut words = line.split_whitespace();
        now = Duration::from_secs_f64(words.next().unwrap().parse().unwrap());
        if let Some(from) = words.next() {
            let (envelope, octets) = Said::read(from, words).packet();
            sightings.hear(now, &interface, Ok((envelope, &octets)));
        }
    }
    sightings.told(Duration::ZERO, now, ["eth0"].into_iter())
}

/// What is told of each sender, and the remarks.
fn check(text: &str, senders: &[&str], remarks: &[&str]) {
    let told = story(text);
    let lines = told.lines();
    let lines: Vec<&str> = lines.lines().take(told.senders.len()).collect();
    assert_eq!(lines, senders, "{text}");
    assert_eq!(told.remarks, remarks, "{text}");
}

#[test]
fn a_pair_is_one_that_leads_and_nothing_to_remark() {
    check(
        "0 10 leads 200 | 1 10 leads 200 | 1.5",
        &[
            "eth0 vrid 51 IPv4 version 3: 192.0.2.10 Active with priority 200, every 1000 ms by multicast, authentication \
             none, checksum message, adverts 2: 192.0.2.100",
        ],
        &[],
    );
    check(
        "0 fe80::a leads 90 | 0.1",
        &[
            "eth0 vrid 51 IPv6 version 3: fe80::a Active with priority 90, every 1000 ms by multicast, authentication \
             none, checksum pseudo_header, adverts 1: fe80::5e:51 2001:db8::64",
        ],
        &[],
    );
    check(
        "0 10 leads 90 v2 password 1234 to 192.0.2.11 every 2 | 0.1",
        &[
            "eth0 vrid 51 IPv4 version 2: 192.0.2.10 Active with priority 90, every 2000 ms by unicast, authentication \
             password, checksum message, adverts 1: 192.0.2.100",
        ],
        &["VRID 51 on eth0 over IPv4: everybody on the link can read the password of 192.0.2.10"],
    );
}

#[test]
fn a_take_over_is_no_split() {
    // One resigns, and then it is the other's.
    check(
        "0 10 leads 200 | 0.5 10 resigns | 1 11 leads 100 pseudo | 2 11 leads 100 pseudo",
        &[
            "eth0 vrid 51 IPv4 version 3: 192.0.2.10 resigned 1500 ms ago, had priority 200, every 1000 ms by multicast, \
             authentication none, checksum message, adverts 2: 192.0.2.100",
            "eth0 vrid 51 IPv4 version 3: 192.0.2.11 Active with priority 100, every 1000 ms by multicast, authentication \
             none, checksum pseudo_header, adverts 2: 192.0.2.100",
        ],
        &[],
    );
    // One was killed long ago.
    let told = story("0 10 leads 200 | 3.6 11 leads 100 | 4.6 11 leads 100");
    assert_eq!(told.remarks, [""; 0], "{told:?}");
    assert!(!told.senders[0].is_active && told.senders[1].is_active, "{told:?}");
    assert!(told.lines().contains("192.0.2.10 silent for 4600 ms, was Active with priority 200"));
    // One has just preempted the other, which says its last, and is answered.
    let told = story("0 10 leads 100 | 0.5 11 leads 200 | 0.5 10 leads 100 | 0.6 11 leads 200");
    assert_eq!(
        told.remarks,
        [
            "VRID 51 on eth0 over IPv4: 192.0.2.10 and 192.0.2.11 have said that they are Active: one took over just now, \
             or both are. Listen for longer"
        ]
    );
}

#[test]
fn two_that_are_active_are_told_of() {
    let told = story(
        "0 10 leads 200 | 0.5 11 leads 100 | 1 10 leads 200 | 1.5 11 leads 100 | 2 10 leads 200",
    );
    assert_eq!(
        told.remarks,
        [
            "VRID 51 on eth0 over IPv4: 192.0.2.10 and 192.0.2.11 are Active at the same time: they do not hear each \
             other, or refuse what they hear"
        ]
    );
    assert!(told.senders.iter().all(|sender| sender.is_contested), "{told:?}");
    // Two families are two virtual routers.
    let told = story("0 10 leads 200 | 0 fe80::b leads 100 | 1 10 leads 200 | 1 fe80::b leads 100");
    assert_eq!(told.remarks, [""; 0]);
}

#[test]
fn who_has_nothing_in_common_has_the_wrong_number() {
    let told = story(
        "0 10 leads 200 | 0.1 11 leads 100 vips 192.0.2.7 | 0.2 9 leads 1 vrid 52 vips 192.0.2.8",
    );
    assert_eq!(
        told.remarks,
        [
            "VRID 51 on eth0 over IPv4: 192.0.2.10 and 192.0.2.11 have no address in common, so these are two virtual \
             routers under one number: give one of them another VRID; not heard here are 49, 50, 53",
            "VRID 51 on eth0 over IPv4: addresses differ, 192.0.2.100 from 192.0.2.10, 192.0.2.7 from 192.0.2.11: after a \
             take-over some of them are gone",
        ]
    );
    assert_eq!(
        (&*told.vrids[0].heard, &*told.vrids[0].not_heard),
        (&[51, 52][..], &[49, 50, 53][..])
    );
    assert!(
        told.lines()
            .contains("eth0 IPv4: VRIDs heard: 51, 52; near them and not heard: 49, 50, 53")
    );
}

#[test]
fn what_boxes_of_one_router_should_say_alike_is_compared() {
    let of = "VRID 51 on eth0 over IPv4:";
    let split = format!(
        "{of} 192.0.2.10 and 192.0.2.11 have said that they are Active: one took over just now, or both are. Listen for \
         longer"
    );
    let table = [
        (
            "v2",
            "v2 every 3",
            "intervals differ, 1000 ms from 192.0.2.10, 3000 ms from 192.0.2.11: version 2 refuses what comes in another \
             one, and then both are Active",
        ),
        (
            "every 1",
            "every 3",
            "intervals differ, 1000 ms from 192.0.2.10, 3000 ms from 192.0.2.11: a Backup goes by the Active one's, and by \
             its own once it is Active itself",
        ),
        (
            "v2",
            "pseudo",
            "versions differ, 2 from 192.0.2.10, 3 from 192.0.2.11: each refuses the other's, unless it was told to hear \
             both",
        ),
        (
            "vips 192.0.2.100,192.0.2.101",
            "vips 192.0.2.101",
            "addresses differ, 192.0.2.100 192.0.2.101 from 192.0.2.10, 192.0.2.101 from 192.0.2.11: after a take-over some \
             of them are gone",
        ),
    ];
    for (one, other, expected) in table {
        let told = story(&format!("0 10 leads 200 {one} | 0 11 leads 100 {other}"));
        assert_eq!(told.remarks, [split.clone(), format!("{of} {expected}")], "{one} and {other}");
    }
    // Order says nothing, and the form of a checksum is answered in.
    let told = story(
        "0 10 leads 200 vips 192.0.2.1,192.0.2.2 | 0.1 10 resigns vips 192.0.2.1,192.0.2.2 | \
         0.2 11 leads 100 pseudo vips 192.0.2.2,192.0.2.1",
    );
    assert_eq!(told.remarks, [""; 0]);
    // One that speaks both versions, while others change from one to the other.
    let told = story("0 10 leads 200 v2 | 0 10 leads 200");
    assert_eq!((told.senders.len(), told.remarks.len()), (2, 0), "{told:?}");
}

#[test]
fn what_standard_routers_refuse_is_told_with_the_reason() {
    let told = story("0 10 leads 200 hops 64 | 1 10 leads 200 hops 63 | 1 11 leads 100 broken");
    assert_eq!(
        told.remarks,
        [
            "192.0.2.10 on eth0: 2 packets that standard routers refuse: TTL or hop limit 63, expected 255 or more: it \
             came through a router",
            "192.0.2.11 on eth0: 1 packets that standard routers refuse: checksum 0xa803 is right in no form",
        ]
    );
    let reasons: Vec<&str> = told.refused.iter().map(|refused| &*refused.reason).collect();
    assert_eq!(reasons, ["hop_limit", "checksum"]);
    // Nothing can be said of who sent a broken one.
    assert_eq!(told.senders.len(), 1);
    let mut sightings = Sightings::default();
    sightings.hear(Duration::ZERO, &Arc::from("eth1"), Err(Refusal::Fragment));
    let told = sightings.told(Duration::ZERO, Duration::from_secs(5), ["eth1"].into_iter());
    assert_eq!(
        told.remarks,
        ["somebody on eth1: 1 packets that standard routers refuse: a fragment"]
    );
    assert!(told.lines().starts_with("no advert was heard in 5000 ms at eth1\n"));
}

#[test]
fn a_forger_costs_little() {
    let mut sightings = Sightings::default();
    let interface = Arc::from("eth0");
    for number in 0..1000_u32 {
        let from = Ipv4Addr::from_bits(0x0a00_0000 + number).to_string();
        let is_broken = if number % 2 == 0 { "broken" } else { "leads" };
        let words = [is_broken, "1"].into_iter().take(1 + (number % 2) as usize);
        let (envelope, octets) = Said::read(&from, words).packet();
        sightings.hear(Duration::ZERO, &interface, Ok((envelope, &octets)));
    }
    let told = sightings.told(Duration::ZERO, Duration::ZERO, ["eth0"].into_iter());
    assert_eq!((told.senders.len(), told.refused.len()), (256, 256));
    assert_eq!(
        told.remarks.last().unwrap(),
        "488 packets were of more senders than are shown here"
    );
}

#[test]
fn vrids_that_are_proposed_are_near_and_not_taken() {
    let near = |heard: &[u8]| super::told::near(&heard.iter().copied().collect());
    assert_eq!(near(&[51]), [49, 50, 52]);
    assert_eq!(near(&[1, 2, 3]), [4, 5, 6]);
    assert_eq!(near(&[255]), [252, 253, 254]);
    let all: Vec<u8> = (1..=255).collect();
    assert_eq!(near(&all), [0; 0]);
    assert_eq!(near(&all[1..]), [1]);
}
