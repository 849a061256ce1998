//! Octets of adverts, read and written (RFC 9568 §5 and §7, RFC 3768 §5 and §7).
//!
//! in:  octets ─▶ ip ─▶ read ─▶ Advert ─▶ (its virtual router is looked up) ─▶ judge: auth ─▶ Heard
//! out: Message ─▶ write: auth, checksum ─▶ octets in the caller's buffer
//!
//! `read` knows of no configuration, so it says the same of a packet to everybody; what one virtual router has against
//! it is `judge`'s. Nothing here allocates, but for keys when they are configured. Whatever is refused has a
//! [`Refusal`], which is a label of counters and a line for people; what is odd and taken all the same is told of.

pub mod auth;
mod checksum;
mod ip;
mod judge;
mod read;
mod refusal;
pub mod replay;
#[cfg(test)]
mod tests;
mod write;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

pub use self::checksum::Form;
pub use self::ip::{icmpv6_checksum, ipv4_header, ipv6_header, open_ipv4};
pub use self::judge::{Accepted, Agreement, Expected, Heard, Reach, judge};
pub use self::read::{Advert, Password, read};
pub use self::refusal::{Refusal, Unwritable};
pub use self::write::{Authentication, Message, Vips, write};

/// Of the IP header (RFC 9568 §5.1.1.4).
pub const PROTOCOL: u8 = 112;
/// What every advert is sent with, so that none can have passed a router (RFC 9568 §5.1.1.3, RFC 5082).
pub const HOP_LIMIT: u8 = 255;
/// Where adverts go by multicast (RFC 9568 §5.1.1.2 and §5.1.2.2).
pub const GROUP_V4: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 18);
pub const GROUP_V6: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x12);

/// Octets in front of the addresses.
const HEADER: usize = 8;
/// Of version 2, behind the addresses: its authentication data, which nobody is spared.
const LEGACY: usize = 8;
/// Version and type, the only one there is: ADVERTISEMENT.
const V2_ADVERT: u8 = 0x21;
const V3_ADVERT: u8 = 0x31;
/// Where the checksum stands.
const CHECKSUM: std::ops::Range<usize> = 6..8;

/// What the IP header says of an advert, as far as it matters.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Envelope {
    pub ends: Ends,
    /// TTL or hop limit, as received.
    pub hop_limit: u8,
}

/// From whom and to whom: always of one family.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Ends {
    V4 { from: Ipv4Addr, to: Ipv4Addr },
    V6 { from: Ipv6Addr, to: Ipv6Addr },
}

impl Ends {
    pub fn from(&self) -> IpAddr {
        match *self {
            Ends::V4 { from, .. } => from.into(),
            Ends::V6 { from, .. } => from.into(),
        }
    }

    pub fn to(&self) -> IpAddr {
        match *self {
            Ends::V4 { to, .. } => to.into(),
            Ends::V6 { to, .. } => to.into(),
        }
    }

    pub fn family(&self) -> Family {
        match self {
            Ends::V4 { .. } => Family::V4,
            Ends::V6 { .. } => Family::V6,
        }
    }
}

/// Of addresses. A virtual router is of one: the same VRID in the other is another router (RFC 9568 §3).
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Family {
    V4,
    V6,
}

impl Family {
    pub fn of(address: IpAddr) -> Family {
        if address.is_ipv4() { Family::V4 } else { Family::V6 }
    }

    /// As it is told, and as it stands in front of what is signed.
    pub fn number(self) -> u8 {
        match self {
            Family::V4 => 4,
            Family::V6 => 6,
        }
    }

    /// Octets of an address.
    fn size(self) -> usize {
        match self {
            Family::V4 => 4,
            Family::V6 => 16,
        }
    }

    fn group(self) -> IpAddr {
        match self {
            Family::V4 => GROUP_V4.into(),
            Family::V6 => GROUP_V6.into(),
        }
    }
}
