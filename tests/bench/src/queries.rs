//! The queries of a work, encoded before the clock starts, each with the address that is right.

use std::net::{IpAddr, Ipv4Addr};

use anyhow::Context;
use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query};
use hickory_proto::rr::rdata::opt::{ClientSubnet, EdnsOption};
use hickory_proto::rr::{Name, RecordType};

use crate::dice::Dice;
use crate::places::Places;
use crate::world::{self, ORIGIN, SERVICE};

/// How many are prepared; a run goes round in them. Enough that each carries another client or name,
/// few enough that walking through them costs the generator no more than a stream from memory.
const PREPARED: usize = 1 << 17;

/// Packets of one length, one after another.
pub struct Queries {
    length: usize,
    packets: Vec<u8>,
    expected: Vec<Ipv4Addr>,
}

impl Queries {
    /// Asks for static names, drawn from all that the zone has.
    pub fn names(hosts: u32, dice: &mut Dice) -> anyhow::Result<Queries> {
        let mut queries = Queries::none();
        for _ in 0..PREPARED {
            let host = dice.below(hosts as usize) as u32;
            let packet = encode(&world::host_label(host), None)?;
            queries.push(&packet, world::host_address(host));
        }
        Ok(queries)
    }

    /// Asks for the steered name from random /24 client subnets: one half drawn from the database's own
    /// prefixes, so that small ones are met as often as large ones, the other from all addresses.
    pub fn clients(places: &Places, dice: &mut Dice) -> anyhow::Result<Queries> {
        let mut queries = Queries::none();
        while queries.expected.len() < PREPARED {
            let subnet = if queries.expected.len().is_multiple_of(2) {
                subnet_of_database(places, dice)
            } else {
                subnet_of_internet(dice)
            };
            if let Some(site) = places.site(subnet)? {
                queries.push(&encode(SERVICE, Some(subnet))?, site.vip);
            }
        }
        Ok(queries)
    }

    /// Asks for the service's name again and again, from nobody in particular.
    pub fn of_service() -> anyhow::Result<Queries> {
        let mut queries = Queries::none();
        queries.push(&encode(SERVICE, None)?, Ipv4Addr::UNSPECIFIED);
        Ok(queries)
    }

    /// Asks for steered names, drawn from these labels of one length; each with the address that is right.
    pub fn steered(labels: &[(String, Ipv4Addr)], dice: &mut Dice) -> anyhow::Result<Queries> {
        let mut queries = Queries::none();
        for _ in 0..PREPARED {
            let (label, expected) = &labels[dice.below(labels.len())];
            queries.push(&encode(label, None)?, *expected);
        }
        Ok(queries)
    }

    /// One query for a label.
    pub fn one(label: &str) -> anyhow::Result<Vec<u8>> {
        encode(label, None)
    }

    pub fn len(&self) -> usize {
        self.expected.len()
    }

    /// The packet without a useful id: its first two octets are the sender's to write.
    pub fn packet(&self, index: usize) -> &[u8] {
        &self.packets[index * self.length..(index + 1) * self.length]
    }

    pub fn expected(&self, index: usize) -> Ipv4Addr {
        self.expected[index]
    }

    fn none() -> Queries {
        Queries { length: 0, packets: Vec::new(), expected: Vec::new() }
    }

    fn push(&mut self, packet: &[u8], expected: Ipv4Addr) {
        assert!(
            self.expected.is_empty() || packet.len() == self.length,
            "all queries of a work are of one length"
        );
        self.length = packet.len();
        self.packets.extend_from_slice(packet);
        self.expected.push(expected);
    }
}

fn subnet_of_database(places: &Places, dice: &mut Dice) -> Ipv4Addr {
    let (first, length) = places.prefixes()[dice.below(places.prefixes().len())];
    let host_bits = 32 - u32::from(length);
    let offset = dice.next() & ((1 << host_bits) - 1);
    slash_24(first.to_bits() + offset as u32)
}

/// From all of unicast IPv4, assigned or not.
fn subnet_of_internet(dice: &mut Dice) -> Ipv4Addr {
    let first = Ipv4Addr::new(1, 0, 0, 0).to_bits();
    let end = Ipv4Addr::new(224, 0, 0, 0).to_bits();
    slash_24(first + dice.below((end - first) as usize) as u32)
}

fn slash_24(address: u32) -> Ipv4Addr {
    Ipv4Addr::from_bits(address & 0xFFFF_FF00)
}

/// A query as a resolver sends it: no recursion desired, EDNS with 1232 octets, the client's subnet if
/// one is given.
fn encode(label: &str, subnet: Option<Ipv4Addr>) -> anyhow::Result<Vec<u8>> {
    let name = Name::from_ascii(format!("{label}.{ORIGIN}."))?;
    let mut edns = Edns::new();
    edns.set_max_payload(1232).set_version(0);
    if let Some(subnet) = subnet {
        let subnet = ClientSubnet::new(IpAddr::V4(subnet), 24, 0);
        edns.options_mut().insert(EdnsOption::Subnet(subnet));
    }
    let mut message = Message::new(0, MessageType::Query, OpCode::Query);
    message.add_query(Query::query(name, RecordType::A));
    message.set_edns(edns);
    message.to_vec().context("cannot encode a query")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_carries_the_subnet_in_as_few_octets_as_it_has() {
        let packet = encode("www", Some(Ipv4Addr::new(203, 0, 113, 0))).unwrap();
        // RFC 7871 §6: option 8, 7 octets, family 1, source 24, scope 0, three octets of address.
        assert!(packet.ends_with(&[0, 8, 0, 7, 0, 1, 24, 0, 203, 0, 113]));
    }

    #[test]
    fn equal_seeds_ask_equal_queries() {
        let queries = |seed| Queries::names(1000, &mut Dice::seeded(seed)).unwrap();
        assert_eq!(queries(1).packets, queries(1).packets);
        assert_ne!(queries(1).packets, queries(2).packets);
    }
}
