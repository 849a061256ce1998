//! The checksum of an advert (RFC 1071), in the two forms that routers send.
//!
//! Version 2 is summed alone, IPv6 with the pseudo-header of RFC 8200 §8.1. For version 3 over IPv4, RFC 5798 §5.2.8
//! was read in two ways: with a pseudo-header (keepalived, unless told otherwise) and without one (most switches);
//! RFC 9568 §5.2.8 settled for the latter. Both are taken, and which one came is told, so that it can be answered in.

use super::{Ends, PROTOCOL};

/// What version 3 over IPv4 is summed with. The others have one form each.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Form {
    /// The message alone: RFC 9568, and version 2.
    Message,
    /// A pseudo-header in front: RFC 5798 as keepalived reads it, and IPv6.
    PseudoHeader,
}

impl Form {
    /// A label of counters.
    pub fn word(self) -> &'static str {
        match self {
            Form::Message => "message",
            Form::PseudoHeader => "pseudo_header",
        }
    }
}

/// A one's complement sum under way, of whole words of 16 bits.
#[derive(Clone, Copy)]
pub(super) struct Sum(u64);

impl Sum {
    pub(super) fn of(octets: &[u8]) -> Sum {
        Sum(0).and(octets)
    }

    /// Only the last octets that are added may be an odd number of them.
    fn and(self, octets: &[u8]) -> Sum {
        let (pairs, last) = octets.as_chunks::<2>();
        let sum: u64 = pairs.iter().map(|pair| u64::from(u16::from_be_bytes(*pair))).sum();
        let odd = last.first().map_or(0, |octet| u64::from(*octet) << 8);
        Sum(self.0 + sum + odd)
    }

    /// Of so many octets between these two (RFC 8200 §8.1; RFC 793's for IPv4, which has the same sum).
    pub(super) fn with_pseudo_header(self, ends: &Ends, length: usize) -> Sum {
        self.with_header_of(ends, PROTOCOL, length)
    }

    pub(super) fn with_header_of(self, ends: &Ends, protocol: u8, length: usize) -> Sum {
        let ends = match ends {
            Ends::V4 { from, to } => Sum::of(&from.octets()).and(&to.octets()),
            Ends::V6 { from, to } => Sum::of(&from.octets()).and(&to.octets()),
        };
        Sum(self.0 + ends.0 + u64::from(protocol) + length as u64)
    }

    fn folded(self) -> u16 {
        let mut sum = self.0;
        while sum > 0xffff {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        // It is at most 0xffff.
        sum as u16
    }

    /// Whether the octets have a checksum among them and it is right.
    pub(super) fn is_right(self) -> bool {
        self.folded() == 0xffff
    }

    /// What makes the sum right, where there were zeros in its place.
    pub(super) fn checksum(self) -> u16 {
        !self.folded()
    }
}
