//! Packets as they are seen on links, and what is made of them. Names of cases are those of the conformance list.

mod checks;
mod golden;
mod properties;
mod signed;

use std::net::IpAddr;
use std::time::Duration;

use super::auth::{Asked, KeyId, Keys};
use super::replay::Marks;
use super::{
    Accepted, Ends, Envelope, Expected, GROUP_V4, GROUP_V6, HOP_LIMIT, Heard, Reach, Refusal,
    judge, read,
};
use crate::vrrp::advert::{Interval, Version, Vrid};

/// The second of the draft's vector.
const UTC: Duration = Duration::from_secs(0x6800_0000);

fn octets(hex: &str) -> Vec<u8> {
    let digits: Vec<u32> = hex.chars().filter_map(|digit| digit.to_digit(16)).collect();
    assert!(digits.len().is_multiple_of(2), "{hex}");
    digits.chunks(2).map(|pair| (pair[0] << 4 | pair[1]) as u8).collect()
}

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn ends(from: &str, to: &str) -> Ends {
    match (address(from), address(to)) {
        (IpAddr::V4(from), IpAddr::V4(to)) => Ends::V4 { from, to },
        (IpAddr::V6(from), IpAddr::V6(to)) => Ends::V6 { from, to },
        _ => panic!("{from} and {to} are not of one family"),
    }
}

/// By multicast, with all hops left.
fn from(sender: &str) -> Envelope {
    let group = match address(sender) {
        IpAddr::V4(_) => GROUP_V4.to_string(),
        IpAddr::V6(_) => GROUP_V6.to_string(),
    };
    Envelope { ends: ends(sender, &group), hop_limit: HOP_LIMIT }
}

fn interval(centiseconds: u16) -> Interval {
    Interval::of_centiseconds(centiseconds).unwrap()
}

fn vrid(vrid: u8) -> Vrid {
    Vrid::new(vrid).unwrap()
}

fn key_id(id: u8) -> KeyId {
    KeyId::new(id).unwrap()
}

/// The key of the draft's vector, as key 1.
fn keys() -> Keys {
    let octets: Vec<u8> = (0..32).collect();
    Keys::new((key_id(1), &octets), &[]).unwrap()
}

/// The router with the VIP of the golden packets: version 3, adverts each second, by multicast.
fn expected<'c>() -> Expected<'c> {
    const VIPS: [IpAddr; 1] = [IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 100))];
    Expected {
        vrid: vrid(51),
        address: address("192.0.2.1"),
        accepted: Accepted::Only(Version::V3),
        interval: interval(100),
        vips: &VIPS,
        reach: Reach::Multicast,
        asked: Asked::Nothing,
    }
}

/// Reads and judges, with marks of its own.
fn take(expected: &Expected<'_>, envelope: &Envelope, octets: &[u8]) -> Result<Heard, Refusal> {
    let judged = read(&envelope.ends, octets)
        .and_then(|advert| judge(expected, envelope, &advert, UTC, &mut Marks::default()));
    if let Err(refusal) = &judged {
        assert!(Refusal::WORDS.contains(&refusal.word()), "{refusal:?} is counted nowhere");
    }
    judged
}
