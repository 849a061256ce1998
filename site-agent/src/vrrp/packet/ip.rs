//! IP headers. IPv4's is in front of an advert that a raw socket delivers, IPv6's is told beside (RFC 3542); of what is
//! sent we write both, so that source and hop limit are ours to say.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::checksum::Sum;
use super::{Ends, Envelope, HOP_LIMIT, PROTOCOL, Refusal};

/// Internetwork Control (RFC 791 §3.1), as keepalived has it.
const TRAFFIC_CLASS: u8 = 0xc0;

/// Without options.
const SHORTEST: usize = 20;
/// More fragments to come, and the place of this one.
const FRAGMENT: u16 = 0x3fff;

/// Takes the IPv4 header off. What stands behind the packet's own length is no part of it: Ethernet pads frames to
/// 60 octets, and not every driver takes that away. The header's checksum was the kernel's to see.
pub fn open_ipv4(octets: &[u8]) -> Result<(Envelope, &[u8]), Refusal> {
    let short = Refusal::NoIpHeader { octets: octets.len() };
    let Some(header) = octets.first_chunk::<SHORTEST>() else { return Err(short) };
    let word = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
    let (version, words) = (header[0] >> 4, header[0] & 0xf);
    if version != 4 {
        return Err(Refusal::IpVersion { got: version });
    }
    let (start, end) = (usize::from(words) * 4, usize::from(word(2)));
    if start < SHORTEST {
        return Err(short);
    }
    let Some(message) = octets.get(start..end) else {
        return Err(Refusal::IpLength { says: end, octets: octets.len() });
    };
    if header[9] != PROTOCOL {
        return Err(Refusal::IpProtocol { got: header[9] });
    }
    // An advert fits a frame, so a piece of one was made by somebody who has something to hide.
    if word(6) & FRAGMENT != 0 {
        return Err(Refusal::Fragment);
    }
    let address =
        |at: usize| Ipv4Addr::new(header[at], header[at + 1], header[at + 2], header[at + 3]);
    let ends = Ends::V4 { from: address(12), to: address(16) };
    Ok((Envelope { ends, hop_limit: header[8] }, message))
}

/// The header of an advert that has so many octets. What is left at zero, identification and checksum, the kernel
/// fills in (raw(7)).
pub fn ipv4_header(from: Ipv4Addr, to: Ipv4Addr, length: usize) -> [u8; SHORTEST] {
    let mut header = [0; SHORTEST];
    let total = u16::try_from(SHORTEST + length).expect("an advert fits a packet");
    (header[0], header[1]) = (0x45, TRAFFIC_CLASS);
    header[2..4].copy_from_slice(&total.to_be_bytes());
    (header[8], header[9]) = (HOP_LIMIT, PROTOCOL);
    header[12..16].copy_from_slice(&from.octets());
    header[16..].copy_from_slice(&to.octets());
    header
}

/// That of a packet of `protocol` with so many octets behind it.
pub fn ipv6_header(from: Ipv6Addr, to: Ipv6Addr, protocol: u8, length: usize) -> [u8; 40] {
    let mut header = [0; 40];
    let length = u16::try_from(length).expect("it fits a packet");
    // The traffic class lies across two octets.
    (header[0], header[1]) = (0x60 | TRAFFIC_CLASS >> 4, TRAFFIC_CLASS << 4);
    header[4..6].copy_from_slice(&length.to_be_bytes());
    (header[6], header[7]) = (protocol, HOP_LIMIT);
    header[8..24].copy_from_slice(&from.octets());
    header[24..].copy_from_slice(&to.octets());
    header
}

/// Of a message of ICMPv6 with zeros in the place of its checksum (RFC 4443 §2.3).
pub fn icmpv6_checksum(from: Ipv6Addr, to: Ipv6Addr, message: &[u8]) -> u16 {
    const ICMPV6: u8 = 58;
    Sum::of(message).with_header_of(&Ends::V6 { from, to }, ICMPV6, message.len()).checksum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_of_ours_is_read_as_it_was_meant() {
        let (from, to) = (Ipv4Addr::new(192, 0, 2, 10), super::super::GROUP_V4);
        let mut packet = ipv4_header(from, to, 4).to_vec();
        packet.extend([1, 2, 3, 4]);
        let (envelope, message) = open_ipv4(&packet).unwrap();
        assert_eq!(envelope, Envelope { ends: Ends::V4 { from, to }, hop_limit: 255 });
        assert_eq!(message, [1, 2, 3, 4]);
        assert_eq!(packet[1], 0xc0);
    }

    #[test]
    fn a_header_of_ipv6_has_its_traffic_class_across_two_octets() {
        let from: Ipv6Addr = "fe80::1".parse().unwrap();
        let header = ipv6_header(from, super::super::GROUP_V6, PROTOCOL, 32);
        assert_eq!(header[..8], [0x6c, 0, 0, 0, 0, 32, 112, 255]);
        assert_eq!(header[8..24], from.octets());
        assert_eq!(header[24..], super::super::GROUP_V6.octets());
    }
}
