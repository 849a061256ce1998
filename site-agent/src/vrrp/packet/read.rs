//! Octets to an [`Advert`], by what is so for every virtual router (RFC 9568 §7.1, RFC 3768 §7.1).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::auth::{TRAILER, Trailer};
use super::checksum::{Form, Sum};
use super::{Ends, Family, HEADER, LEGACY, Refusal, V2_ADVERT, V3_ADVERT};
use crate::vrrp::advert::{Claim, Interval, Version, Vrid};

/// An advert that is well formed. It borrows from its packet.
#[derive(Clone, Copy, Debug)]
pub struct Advert<'p> {
    pub version: Version,
    pub vrid: Vrid,
    pub claim: Claim,
    pub interval: Interval,
    /// What its checksum was summed with.
    pub form: Form,
    pub(super) password: Password,
    pub(super) family: Family,
    /// Of whole addresses.
    addresses: &'p [u8],
    /// Everything in front of the trailer.
    pub(super) message: &'p [u8],
    pub(super) trailer: Option<Trailer<'p>>,
}

/// How version 2 says that a packet is authenticated (RFC 2338 §5.3.6); version 3 is always `None`.
#[derive(Clone, Copy, Eq, PartialEq)]
pub enum Password {
    None,
    /// In clear, on every packet: it keeps slips away, nobody else.
    Text([u8; LEGACY]),
    /// Of another type: 2 was IPsec's AH.
    Other(u8),
}

impl std::fmt::Debug for Password {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(match self {
            Password::None => "None",
            Password::Text(_) => "Text",
            Password::Other(_) => "Other",
        })
    }
}

impl Password {
    /// What of a password goes on the wire: its first eight octets, as keepalived has it too.
    pub fn cut(text: &str) -> Password {
        let mut octets = [0; LEGACY];
        for (octet, letter) in octets.iter_mut().zip(text.bytes()) {
            *octet = letter;
        }
        Password::Text(octets)
    }

    /// Auth Type.
    pub fn number(self) -> u8 {
        match self {
            Password::None => 0,
            Password::Text(_) => 1,
            Password::Other(number) => number,
        }
    }
}

impl<'p> Advert<'p> {
    /// The addresses it is about, in the sender's order.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> + use<'p> {
        let (four, _) = match self.family {
            Family::V4 => self.addresses.as_chunks::<4>(),
            Family::V6 => (&[][..], &[][..]),
        };
        let (sixteen, _) = match self.family {
            Family::V4 => (&[][..], &[][..]),
            Family::V6 => self.addresses.as_chunks::<16>(),
        };
        let four = four.iter().map(|octets| Ipv4Addr::from(*octets).into());
        four.chain(sixteen.iter().map(|octets| Ipv6Addr::from(*octets).into()))
    }

    /// How version 2 says that it is authenticated; of version 3 it is 0.
    pub fn auth_type(&self) -> u8 {
        self.password.number()
    }

    /// Whether it has a trailer; whether that is worth anything, `judge` says.
    pub fn is_signed(&self) -> bool {
        self.trailer.is_some()
    }
}

/// Reads what an IP packet of protocol 112 carries, all of it.
pub fn read<'p>(ends: &Ends, octets: &'p [u8]) -> Result<Advert<'p>, Refusal> {
    let Some(header) = octets.first_chunk::<HEADER>() else {
        return Err(Refusal::Short { octets: octets.len() });
    };
    let family = ends.family();
    let version = match (header[0], family) {
        (V2_ADVERT, Family::V4) => Version::V2,
        (V2_ADVERT, Family::V6) => return Err(Refusal::V2OverIpv6),
        (V3_ADVERT, Family::V4 | Family::V6) => Version::V3,
        (0x20..=0x3f, _) => return Err(Refusal::Type { got: header[0] & 0xf }),
        _ => return Err(Refusal::Version { got: header[0] >> 4 }),
    };
    let vrid = Vrid::new(header[1]).ok_or(Refusal::VridZero)?;
    let count = usize::from(header[3]);
    if count == 0 {
        return Err(Refusal::NoAddresses);
    }

    let legacy = if version == Version::V2 { LEGACY } else { 0 };
    let end = HEADER + count * family.size();
    let length = end + legacy;
    let wrong_length = Refusal::Length { octets: octets.len(), expected: length };
    let Some((message, rest)) = octets.split_at_checked(length) else { return Err(wrong_length) };
    let trailer = match rest.len() {
        0 => None,
        TRAILER => Some(Trailer::read(rest).ok_or(wrong_length)?),
        _ => return Err(wrong_length),
    };
    let form = form(version, ends, message, octets)?;

    let interval = match version {
        Version::V2 => Interval::of_seconds(header[5]),
        // The upper four bits are reserved: zero on send, whatever on receipt (§5.2.6).
        Version::V3 => {
            Interval::of_centiseconds(u16::from_be_bytes([header[4], header[5]]) & 0xfff)
        }
    };
    let interval = interval.ok_or(Refusal::IntervalZero)?;
    let password = match (version, header[4]) {
        (Version::V3, _) | (Version::V2, 0) => Password::None,
        (Version::V2, 1) => {
            Password::Text(*message.last_chunk().expect("version 2 has them behind the addresses"))
        }
        (Version::V2, other) => Password::Other(other),
    };
    let advert = Advert {
        version,
        vrid,
        claim: Claim::of_octet(header[2]),
        interval,
        form,
        password,
        family,
        addresses: &message[HEADER..end],
        message,
        trailer,
    };
    match advert.addresses().next() {
        Some(IpAddr::V6(first)) if !first.is_unicast_link_local() => {
            Err(Refusal::FirstNotLinkLocal { got: first })
        }
        _ => Ok(advert),
    }
}

/// Which form makes the checksum right.
fn form(version: Version, ends: &Ends, message: &[u8], octets: &[u8]) -> Result<Form, Refusal> {
    let got = u16::from_be_bytes([message[6], message[7]]);
    let alone = Sum::of(message);
    match (version, ends) {
        // Of IPv6 the kernel sums all that there is, a trailer as well; of IPv4 a trailer is not summed.
        (Version::V3, Ends::V6 { .. }) => {
            let sum = Sum::of(octets).with_pseudo_header(ends, octets.len());
            sum.is_right().then_some(Form::PseudoHeader)
        }
        (Version::V3, Ends::V4 { .. }) if alone.is_right() => Some(Form::Message),
        (Version::V3, Ends::V4 { .. }) => {
            let sum = alone.with_pseudo_header(ends, message.len());
            sum.is_right().then_some(Form::PseudoHeader)
        }
        (Version::V2, _) => alone.is_right().then_some(Form::Message),
    }
    .ok_or(Refusal::Checksum { got })
}
