//! IPv4 addresses inside IPv6 addresses.
//!
//! The first step of a look-up: such an address is where its IPv4 address is. Callers of a compiled IPv6
//! table take this step themselves.

use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use crate::ranges::Addr;

/// An IPv4 address found inside an IPv6 address.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Embedded {
    /// The address inside.
    pub v4: Ipv4Addr,
    /// Bits of the IPv6 address before the IPv4 address begins: an IPv4 prefix of length n is an IPv6
    /// prefix of length `offset` + n.
    pub offset: u8,
}

/// The IPv4 address inside `addr`, if it is of a kind that carries one.
///
/// ```
/// use geoip::embedded;
/// let inside = embedded("2002:c000:204::1".parse()?).expect("6to4 carries an IPv4 address");
/// assert_eq!((inside.v4.to_string().as_str(), inside.offset), ("192.0.2.4", 16));
/// # Ok::<(), std::net::AddrParseError>(())
/// ```
#[inline]
pub fn embedded(addr: Ipv6Addr) -> Option<Embedded> {
    let bits = addr.to_bits();
    RANGES.iter().find(|range| range.contains(bits)).map(|range| range.read(bits))
}

/// Whether every address of `network` is read as the IPv4 one inside it: nobody is ever found in such a
/// network, and who means the clients should name the IPv4 network.
pub fn carries_only_v4(network: IpNet) -> bool {
    match network {
        IpNet::V4(_) => false,
        // The ranges are apart, so first and last in one of them is all in one.
        IpNet::V6(v6) => embedded(v6.network()).is_some() && embedded(v6.broadcast()).is_some(),
    }
}

/// Length of the shortest prefix around `addr` that has none of the carrying ranges inside it.
///
/// A prefix shorter than this also covers addresses that are read as IPv4, so one answer does not hold for
/// all of it. Meant for addresses for which [`embedded`] finds nothing.
pub fn clear_depth(addr: Ipv6Addr) -> u8 {
    let bits = addr.to_bits();
    RANGES
        .iter()
        .map(|range| bits.common_prefix(range.network) + 1)
        .max()
        .expect("there are four ranges")
}

/// The carrying ranges, as first address and length.
pub(crate) fn carrying() -> impl Iterator<Item = (u128, u8)> {
    RANGES.iter().map(|range| (range.network, range.len))
}

struct Range {
    network: u128,
    len: u8,
    offset: u8,
    inverted: bool,
}

const RANGES: [Range; 4] = [
    // IPv4-mapped (RFC 4291 §2.5.5.2): what a dual-stack socket shows.
    Range { network: 0xffff << 32, len: 96, offset: 96, inverted: false },
    // NAT64's well-known prefix (RFC 6052 §2.1).
    Range { network: 0x0064_ff9b << 96, len: 96, offset: 96, inverted: false },
    // 6to4 (RFC 3056 §2).
    Range { network: 0x2002 << 112, len: 16, offset: 16, inverted: false },
    // Teredo (RFC 4380 §4): the client's address, every bit inverted.
    Range { network: 0x2001 << 112, len: 32, offset: 96, inverted: true },
];

impl Range {
    fn contains(&self, bits: u128) -> bool {
        (bits ^ self.network) >> (128 - self.len) == 0
    }

    fn read(&self, bits: u128) -> Embedded {
        let v4 = (bits >> (96 - self.offset)) as u32;
        let v4 = Ipv4Addr::from_bits(if self.inverted { !v4 } else { v4 });
        Embedded { v4, offset: self.offset }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ipv4_is_found_where_the_rfcs_put_it() {
        let check = |addr: &str, inside: Option<(&str, u8)>| {
            let found = embedded(addr.parse().unwrap());
            let expected = inside.map(|(v4, offset)| Embedded { v4: v4.parse().unwrap(), offset });
            assert_eq!(found, expected, "{addr}");
        };
        check("::ffff:192.0.2.33", Some(("192.0.2.33", 96)));
        check("64:ff9b::192.0.2.33", Some(("192.0.2.33", 96)));
        check("2002:c000:221:1::1", Some(("192.0.2.33", 16)));
        check("2001:0:4136:e378:8000:63bf:3fff:fdd2", Some(("192.0.2.45", 96))); // The example of RFC 4380.
        check("::192.0.2.33", None); // IPv4-compatible: given up by RFC 4291.
        check("64:ff9b:1::192.0.2.33", None); // Local-use NAT64 (RFC 8215): whose prefix length nobody knows.
        check("64:ff9b:0:0:1::", None);
        check("::fffe:ffff:ffff", None);
        check("::1:0:0:0", None);
        check("2001:1::", None);
        check("2003::1", None);
    }

    #[test]
    fn a_clear_prefix_holds_no_carrying_range() {
        let check =
            |addr: &str, depth: u8| assert_eq!(clear_depth(addr.parse().unwrap()), depth, "{addr}");
        check("8000::", 1);
        check("2000::", 16); // 2001:: and 2002:: differ from it late.
        check("2001:1::", 32);
        check("2001:8000::", 17);
        check("2003::", 16);
        check("2600::", 6);
        check("::1", 81);
        check("::fffe:0:0", 96);
    }
}
