//! Where an address is, told to a link and asked of it: gratuitous ARP (RFC 5227 §3), unsolicited Neighbor
//! Advertisements (RFC 4861 §7.2.6), and whether a witness answers.
//!
//! Frames of Ethernet, whole, in arrays: nothing here allocates.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

/// An address of Ethernet.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Mac(pub [u8; 6]);

impl fmt::Display for Mac {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, f] = self.0;
        write!(out, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}")
    }
}

impl Mac {
    const BROADCAST: Mac = Mac([0xff; 6]);
    /// ff02::1 in Ethernet (RFC 2464 §7).
    const ALL_NODES: Mac = Mac([0x33, 0x33, 0, 0, 0, 1]);
    const UNKNOWN: Mac = Mac([0; 6]);
}

/// Of frames that carry ARP.
pub const ARP: u16 = 0x0806;
const IPV6: u16 = 0x86dd;
const ICMPV6: u8 = 58;
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
const NEIGHBOR_SOLICITATION: u8 = 135;
const NEIGHBOR_ADVERTISEMENT: u8 = 136;
const ROUTER: u8 = 0x80;
const OVERRIDE: u8 = 0x20;
const SOURCE_LINK_LAYER_ADDRESS: u8 = 1;
const TARGET_LINK_LAYER_ADDRESS: u8 = 2;

const ETHERNET: usize = 14;
pub const ARP_FRAME: usize = ETHERNET + 28;
const IPV6_HEADER: usize = 40;
const ADVERTISEMENT: usize = 32;
const SOLICITATION: usize = 32;
pub const NA_FRAME: usize = ETHERNET + IPV6_HEADER + ADVERTISEMENT;

/// What an ARP packet is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Operation {
    Request,
    Reply,
}

impl Operation {
    fn number(self) -> u16 {
        match self {
            Operation::Request => 1,
            Operation::Reply => 2,
        }
    }
}

/// Whether a box passes packets on, of which a Neighbor Advertisement tells.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Forwarding {
    Router,
    Host,
}

/// That an address is here. Some switches and hosts heed requests only, some replies: both are sent.
pub fn gratuitous_arp(operation: Operation, vip: Ipv4Addr, mac: Mac) -> [u8; ARP_FRAME] {
    arp(operation, (mac, vip), (Mac::BROADCAST, vip))
}

/// Where is this one? `from` is an address of ours.
pub fn arp_question(target: Ipv4Addr, from: Ipv4Addr, mac: Mac) -> [u8; ARP_FRAME] {
    arp(Operation::Request, (mac, from), (Mac::UNKNOWN, target))
}

fn arp(operation: Operation, sender: (Mac, Ipv4Addr), target: (Mac, Ipv4Addr)) -> [u8; ARP_FRAME] {
    let mut frame = [0; ARP_FRAME];
    let mut out = Out { octets: &mut frame, at: 0 };
    out.ethernet(Mac::BROADCAST, sender.0, ARP);
    // Ethernet, IPv4, and the octets of an address of each.
    out.put(&[0, 1, 0x08, 0, 6, 4]);
    out.put(&operation.number().to_be_bytes());
    for (mac, address) in [sender, target] {
        out.put(&mac.0);
        out.put(&address.octets());
    }
    frame
}

/// Who sent an ARP packet, in which it says that it has an address, and where. Of a frame without its Ethernet header.
pub fn arp_sender(packet: &[u8]) -> Option<(Ipv4Addr, Mac)> {
    let packet: &[u8; 28] = packet.first_chunk()?;
    let is_of_ipv4 = packet[..6] == [0, 1, 0x08, 0, 6, 4];
    let mac = Mac(*packet[8..].first_chunk()?);
    let sender = Ipv4Addr::from(*packet[14..].first_chunk::<4>()?);
    // A probe (RFC 5227 §2.1) is of somebody who does not have the address yet.
    (is_of_ipv4 && !sender.is_unspecified()).then_some((sender, mac))
}

/// Where is this one? Of IPv6: a Neighbor Solicitation (RFC 4861 §4.3), for a socket that sums it.
pub fn solicitation(target: Ipv6Addr, mac: Mac) -> [u8; SOLICITATION] {
    let mut message = [0; SOLICITATION];
    let mut out = Out { octets: &mut message, at: 0 };
    out.put(&[NEIGHBOR_SOLICITATION, 0, 0, 0, 0, 0, 0, 0]);
    out.put(&target.octets());
    out.put(&[SOURCE_LINK_LAYER_ADDRESS, 1]);
    out.put(&mac.0);
    message
}

/// Where a solicitation of that address is heard (RFC 4291 §2.7.1).
pub fn solicited_node(target: Ipv6Addr) -> Ipv6Addr {
    let [.., high, low] = target.segments();
    Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00 | high & 0xff, low)
}

/// Whose address a Neighbor Advertisement tells of, and where it is. Of a message without its IP header, which the
/// kernel has found to be right.
pub fn advertised(message: &[u8]) -> Option<(Ipv6Addr, Mac)> {
    let message: &[u8; ADVERTISEMENT] = message.first_chunk()?;
    let target = Ipv6Addr::from(*message[8..].first_chunk::<16>()?);
    let mac = Mac(*message[26..].first_chunk()?);
    let is_one = message[..2] == [NEIGHBOR_ADVERTISEMENT, 0];
    (is_one && message[24..26] == [TARGET_LINK_LAYER_ADDRESS, 1]).then_some((target, mac))
}

/// That an address is here, of IPv6: from it, to all on the link.
pub fn unsolicited_na(vip: Ipv6Addr, mac: Mac, forwarding: Forwarding) -> [u8; NA_FRAME] {
    let mut message = [0; ADVERTISEMENT];
    let mut out = Out { octets: &mut message, at: 0 };
    let flags = match forwarding {
        Forwarding::Router => ROUTER | OVERRIDE,
        Forwarding::Host => OVERRIDE,
    };
    out.put(&[NEIGHBOR_ADVERTISEMENT, 0, 0, 0, flags, 0, 0, 0]);
    out.put(&vip.octets());
    // In units of eight octets.
    out.put(&[TARGET_LINK_LAYER_ADDRESS, 1]);
    out.put(&mac.0);
    let checksum = super::packet::icmpv6_checksum(vip, ALL_NODES, &message);
    message[2..4].copy_from_slice(&checksum.to_be_bytes());

    let mut frame = [0; NA_FRAME];
    let mut out = Out { octets: &mut frame, at: 0 };
    out.ethernet(Mac::ALL_NODES, mac, IPV6);
    out.put(&super::packet::ipv6_header(vip, ALL_NODES, ICMPV6, ADVERTISEMENT));
    out.put(&message);
    frame
}

/// Octets written one after the other, into an array that has room for them.
struct Out<'o> {
    octets: &'o mut [u8],
    at: usize,
}

impl Out<'_> {
    fn put(&mut self, octets: &[u8]) {
        self.octets[self.at..self.at + octets.len()].copy_from_slice(octets);
        self.at += octets.len();
    }

    fn ethernet(&mut self, to: Mac, from: Mac, kind: u16) {
        self.put(&to.0);
        self.put(&from.0);
        self.put(&kind.to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: Mac = Mac([2, 0, 0, 0, 0, 0x0a]);
    const VIP: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 100);

    fn hex(octets: &[u8]) -> String {
        octets.iter().map(|octet| format!("{octet:02x}")).collect()
    }

    #[test]
    fn gratuitous_arp_is_for_everybody_and_of_the_address_itself() {
        assert_eq!(
            hex(&gratuitous_arp(Operation::Request, VIP, MAC)),
            "ffffffffffff02000000000a0806000108000604000102000000000ac0000264ffffffffffffc0000264"
        );
        assert_eq!(
            hex(&gratuitous_arp(Operation::Reply, VIP, MAC)),
            "ffffffffffff02000000000a0806000108000604000202000000000ac0000264ffffffffffffc0000264"
        );
    }

    #[test]
    fn a_witness_is_asked_and_known_by_what_it_sends() {
        let (gateway, us) = (Ipv4Addr::new(192, 0, 2, 1), Ipv4Addr::new(192, 0, 2, 10));
        let question = arp_question(gateway, us, MAC);
        assert_eq!(
            hex(&question),
            "ffffffffffff02000000000a0806000108000604000102000000000ac000020a000000000000c0000201"
        );
        let of = |frame: &[u8]| arp_sender(&frame[ETHERNET..]);
        assert_eq!(of(&question), Some((us, MAC)));
        let answer = arp(Operation::Reply, (MAC, gateway), (MAC, us));
        // Frames are padded to 60 octets.
        let mut padded = answer.to_vec();
        padded.resize(60, 0);
        assert_eq!(of(&padded), Some((gateway, MAC)));
        // Who asks whether an address is free says of itself that it has none.
        assert_eq!(of(&arp(Operation::Request, (MAC, Ipv4Addr::UNSPECIFIED), (MAC, us))), None);
        assert_eq!(of(&answer[..ARP_FRAME - 1]), None);
        for octet in 0..6 {
            let mut other = answer;
            other[ETHERNET + octet] ^= 1;
            assert_eq!(of(&other), None, "octet {octet} is another");
        }
    }

    /// As tcpdump reads it: «ICMP6, neighbor advertisement, tgt is 2001:db8::64, Flags [override]», cksum ok.
    #[test]
    fn an_unsolicited_na_overrides_and_says_where() {
        let vip = "2001:db8::64".parse().unwrap();
        let frame = unsolicited_na(vip, MAC, Forwarding::Host);
        assert_eq!(
            hex(&frame),
            concat!(
                "33330000000102000000000a86dd",
                "6c00000000203aff20010db8000000000000000000000064ff020000000000000000000000000001",
                "8800f85b2000000020010db8000000000000000000000064020102000000000a",
            )
        );
        let router = unsolicited_na(vip, MAC, Forwarding::Router);
        assert_eq!(router[ETHERNET + IPV6_HEADER + 4], ROUTER | OVERRIDE);
    }

    #[test]
    fn an_address_of_ipv6_is_asked_for_and_its_answer_known() {
        let vip: Ipv6Addr = "2001:db8::12:3456".parse().unwrap();
        assert_eq!(
            hex(&solicitation(vip, MAC)),
            "870000000000000020010db80000000000000000001234560101 02000000000a".replace(' ', "")
        );
        assert_eq!(solicited_node(vip), "ff02::1:ff12:3456".parse::<Ipv6Addr>().unwrap());
        let answer = unsolicited_na(vip, MAC, Forwarding::Host);
        let answer = &answer[ETHERNET + IPV6_HEADER..];
        assert_eq!(advertised(answer), Some((vip, MAC)));
        assert_eq!(advertised(&answer[..ADVERTISEMENT - 1]), None);
        assert_eq!(advertised(&solicitation(vip, MAC)), None);
        assert_eq!(MAC.to_string(), "02:00:00:00:00:0a");
    }
}
