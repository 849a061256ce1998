//! The IPv4 header in front of an advert, which a raw socket delivers with it. IPv6's is told beside (RFC 3542).

use std::net::Ipv4Addr;

use super::{Ends, Envelope, PROTOCOL, Refusal};

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
