//! A recording: what was asked on whose behalf, and what the evaluator made of it, a dozen octets a query.
//!
//! query_log ─▶ write ─▶ blocks of a file ─▶ read ─▶ replay
//!
//! The format is described in docs/recording.md: a header, then blocks that each stand for themselves, so that one
//! that is cut or damaged costs no other, and neither side ever holds more than one. Pure: octets come in and go out.

mod read;
mod varint;
mod write;

use std::net::IpAddr;
use std::sync::Arc;

pub use self::read::{Asked, ReadError, Reader};
pub use self::write::{BlockWriter, OutcomeRef};

use crate::answer::Transport;
use crate::health::board::BoardDigest;
use crate::query::ClientSubnet;
use crate::record::RecordType;
use crate::steer::Failing;
use crate::world::{Clients, Epoch, Sample};

/// The first octets of every recording.
pub const MAGIC: [u8; 8] = *b"gslb-rec";
/// Of the format as it is written now.
pub const VERSION: u16 = 1;
/// Octets of a block's items, at most: what a reader holds.
pub const MAX_BLOCK: usize = 1 << 20;
/// Octets of items with which a block is full: some 5000 queries, so that what each block says anew is little.
pub const FULL_BLOCK: usize = 64 << 10;
/// Octets before a block's items: their number, the queries among them, the check of the items, and that of these.
const BLOCK_HEAD: usize = 16;
/// No instant after the year 9999 is written or read, in milliseconds.
const LAST_INSTANT: u64 = 253_402_207_200_000;

/// What a recording says of itself.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Header {
    /// The server's name.
    pub node: Box<str>,
    /// Milliseconds of Unix time.
    pub started: u64,
    pub sample: Sample,
    pub clients: Clients,
    /// Of the world by which the first query was answered.
    pub epoch: Epoch,
}

/// What queries are answered by.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct State {
    pub epoch: Epoch,
    pub board: BoardDigest,
}

/// One query, as far as an answer depends on it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Query<'q> {
    /// Milliseconds of Unix time: its second is that for which it was answered.
    pub at: u64,
    pub transport: Transport,
    pub edns: Edns,
    pub sent: Sent,
    /// On the wire, in lower case.
    pub name: &'q [u8],
    /// The class is always IN.
    pub qtype: RecordType,
    /// Who sent it.
    pub resolver: IpAddr,
    /// As it was sent, believed or not.
    pub subnet: Option<ClientSubnet>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Edns {
    None,
    Plain,
    /// With DO set.
    WantsDnssec,
}

/// How much of the answer went out.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Sent {
    Whole,
    /// With TC: it did not fit.
    Cut,
    /// The limit of answers had it dropped or sent without records.
    Limited,
}

/// What was decided.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Outcome {
    /// Response code, the upper bits of EDNS included.
    pub rcode: u16,
    /// In the answer section; 0 where it was not sent whole.
    pub records: u16,
    /// The services along the chain, in order.
    pub services: Vec<Part>,
}

/// One service's part in an answer.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Part {
    pub service: Arc<str>,
    pub failing: Failing,
    /// Those that the answer names, in the order in which the service lists them.
    pub sites: Vec<Arc<str>>,
}

/// What stands in the lowest bits of an item's first octet: a transport, or one of these.
const ITEM_OUTCOME: u8 = 6;
const ITEM_STATE: u8 = 7;

fn transport_code(transport: Transport) -> u8 {
    match transport {
        Transport::Udp => 0,
        Transport::Tcp => 1,
        Transport::Tls => 2,
        Transport::Https => 3,
        Transport::Quic => 4,
    }
}

const TRANSPORTS: [Transport; 5] =
    [Transport::Udp, Transport::Tcp, Transport::Tls, Transport::Https, Transport::Quic];
const EDNS: [Edns; 3] = [Edns::None, Edns::Plain, Edns::WantsDnssec];
const SENT: [Sent; 3] = [Sent::Whole, Sent::Cut, Sent::Limited];

/// Of a subnet, its family and its length in one octet: 0 to 32 is IPv4, 33 says nothing, 64 to 192 is IPv6.
const SUBNET_NOBODY: u8 = 33;
const SUBNET_V6: u8 = 64;

/// CRC-32 as zlib and Ethernet have it (ISO 3309), begun with 0.
fn crc32(octets: &[u8]) -> u32 {
    const TABLE: [u32; 256] = {
        let mut table = [0; 256];
        let mut index = 0;
        while index < 256 {
            let (mut crc, mut bit) = (index as u32, 0);
            while bit < 8 {
                crc = if crc & 1 == 1 { 0xedb8_8320 ^ (crc >> 1) } else { crc >> 1 };
                bit += 1;
            }
            table[index] = crc;
            index += 1;
        }
        table
    };
    !octets.iter().fold(!0, |crc, octet| TABLE[usize::from(crc as u8 ^ octet)] ^ (crc >> 8))
}

impl Sent {
    /// As people and programs are told it.
    pub fn as_str(self) -> &'static str {
        match self {
            Sent::Whole => "whole",
            Sent::Cut => "cut",
            Sent::Limited => "limited",
        }
    }
}

#[cfg(test)]
mod tests;
