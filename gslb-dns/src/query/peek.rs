//! A glance at a packet for the name and the client that it asks for, before anybody reads it properly.
//!
//! What is seen is a guess at what to fetch from memory: nothing may be decided by it.

use super::{HEADER, OPTION_SUBNET, skip_name};
use crate::name::NameKey;
use crate::record::RecordType;

/// Owner, type, size, code, version, flags and the length of the options of an OPT record.
const OPT_HEAD: usize = 11;

/// Reads the name that stands where a query's does; false if none does.
pub fn peek_name(packet: &[u8], name: &mut NameKey) -> bool {
    packet.get(HEADER..).is_some_and(|body| name.read(body))
}

/// The first IPv4 address of a query's client subnet, where the packet is laid out as resolvers do.
pub fn peek_client(packet: &[u8]) -> Option<u32> {
    let body = packet.get(HEADER..)?;
    let question = skip_name(body)? + 4;
    let (head, mut options) = body.get(question..)?.split_first_chunk::<OPT_HEAD>()?;
    if head[0] != 0 || head[1..3] != RecordType::OPT.0.to_be_bytes() {
        return None;
    }
    loop {
        let (option, tail) = options.split_first_chunk::<4>()?;
        let length = usize::from(u16::from_be_bytes([option[2], option[3]]));
        let value = tail.get(..length)?;
        if u16::from_be_bytes([option[0], option[1]]) == OPTION_SUBNET {
            let [0, 1, 1..=32, _, address @ ..] = value else { return None };
            let mut octets = [0; 4];
            octets.iter_mut().zip(address).for_each(|(octet, given)| *octet = *given);
            return Some(u32::from_be_bytes(octets));
        }
        options = &tail[length..];
    }
}
