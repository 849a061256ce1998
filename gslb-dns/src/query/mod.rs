//! A query's bytes to a `Query`, or to what must be said instead.
//!
//! Reads the whole message and believes none of it. Pure; borrows the packet and allocates nothing.

mod edns;
mod peek;

pub use self::edns::{
    ClientSubnet, Cookie, DNSSEC_OK, Edns, Extended, OPTION_COOKIE, OPTION_EDE, OPTION_NSID,
    OPTION_PADDING, OPTION_SUBNET, SubnetFamily,
};

pub use self::peek::{peek_client, peek_name};

use crate::name::NameKey;
use crate::record::RecordType;

/// Octets of a message's header (RFC 1035 §4.1.1).
pub const HEADER: usize = 12;

/// A query that can be answered. Its name's key is the caller's, so that no query moves one.
pub struct Query<'p> {
    pub id: u16,
    pub recursion_desired: bool,
    pub question: Question<'p>,
    pub edns: Option<Edns<'p>>,
}

pub struct Question<'p> {
    /// The question section as it came, so that the answer echoes the name's case.
    pub section: &'p [u8],
    pub name: &'p NameKey,
    pub qtype: RecordType,
    pub class: Class,
}

/// A query's class (RFC 1035 §3.2.4, §3.2.5).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Class {
    Internet,
    Chaos,
    Any,
    Other,
}

/// A packet that asks for no name, or that we cannot answer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Rejection<'p> {
    /// Nothing may be said: too short to have a header, or itself a response.
    Silence,
    /// No question, and a cookie: all that is asked for is a server cookie (RFC 7873 §5.4).
    CookieOnly { id: u16, recursion_desired: bool, dnssec_ok: bool, cookie: Cookie<'p> },
    /// An error with the header alone, and the question where it could be read.
    Error {
        id: u16,
        opcode: u8,
        recursion_desired: bool,
        rcode: Rcode,
        question: Option<&'p [u8]>,
        /// Whether the message had a readable OPT record, which then the answer has too, be the message no
        /// query at all (RFC 6891 §6.1.1). It is of 11 octets and bare, so the answer is never longer than
        /// what asked for it.
        edns: bool,
    },
}

/// Response codes we say (RFC 6895 §2.3).
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[repr(u16)]
pub enum Rcode {
    NoError = 0,
    FormErr = 1,
    ServFail = 2,
    NxDomain = 3,
    NotImp = 4,
    Refused = 5,
    /// A name that a DNAME would make longer than 255 octets (RFC 6672 §2.2).
    YxDomain = 6,
    /// An EDNS version that we do not speak (RFC 6891 §9).
    BadVers = 16,
    /// A server cookie is missing or not good, and only one that is would be answered (RFC 7873 §8).
    BadCookie = 23,
}

const RESPONSE: u8 = 0x80;
const RECURSION_DESIRED: u8 = 0x01;
const OPCODE_QUERY: u8 = 0;
const CLASS_IN: u16 = 1;
const CLASS_CH: u16 = 3;
const CLASS_ANY: u16 = 255;

impl<'p> Query<'p> {
    /// Reads `packet`; `name` is where the question's name is put.
    pub fn parse(packet: &'p [u8], name: &'p mut NameKey) -> Result<Query<'p>, Rejection<'p>> {
        let (header, body) = packet.split_first_chunk::<HEADER>().ok_or(Rejection::Silence)?;
        // Answering a response is how two servers are made to talk to each other for ever.
        if header[2] & RESPONSE != 0 {
            return Err(Rejection::Silence);
        }
        let id = u16::from_be_bytes([header[0], header[1]]);
        let opcode = header[2] >> 3 & 0xf;
        let recursion_desired = header[2] & RECURSION_DESIRED != 0;
        let reject = |rcode, question, edns| Rejection::Error {
            id,
            opcode,
            recursion_desired,
            rcode,
            question,
            edns,
        };
        let counts: [u16; 4] =
            std::array::from_fn(|i| u16::from_be_bytes([header[4 + 2 * i], header[5 + 2 * i]]));
        if opcode != OPCODE_QUERY {
            return Err(reject(Rcode::NotImp, None, has_opt(body, counts)));
        }
        // RFC 9619 §4: a query has exactly one question.
        if counts[0] != 1 {
            if let Some((cookie, dnssec_ok)) = lone_cookie(body, counts) {
                return Err(Rejection::CookieOnly { id, recursion_desired, dnssec_ok, cookie });
            }
            return Err(reject(Rcode::FormErr, None, has_opt(body, counts)));
        }
        let (question, rest) = Question::read(body, name)
            .ok_or_else(|| reject(Rcode::FormErr, None, has_opt(body, counts)))?;
        let section = Some(question.section);
        let edns = if counts[1..] == [0, 0, 0] && rest.is_empty() {
            None
        } else {
            read_records(rest, counts)
                .map_err(|Malformed { has_opt }| reject(Rcode::FormErr, section, has_opt))?
        };
        match edns {
            Some(Extended::Unsupported) => Err(reject(Rcode::BadVers, section, true)),
            Some(Extended::Malformed) => Err(reject(Rcode::FormErr, section, true)),
            Some(Extended::Edns(edns)) => {
                Ok(Query { id, recursion_desired, question, edns: Some(edns) })
            }
            None => Ok(Query { id, recursion_desired, question, edns: None }),
        }
    }
}

impl<'p> Question<'p> {
    /// Takes the question from the front of a message's body.
    fn read(body: &'p [u8], name: &'p mut NameKey) -> Option<(Question<'p>, &'p [u8])> {
        if !name.read(body) {
            return None;
        }
        let (section, rest) = body.split_at_checked(name.wire().len() + 4)?;
        let (_, fixed) = section.split_last_chunk::<4>()?;
        let class = match u16::from_be_bytes([fixed[2], fixed[3]]) {
            CLASS_IN => Class::Internet,
            CLASS_CH => Class::Chaos,
            CLASS_ANY => Class::Any,
            _ => Class::Other,
        };
        let qtype = RecordType(u16::from_be_bytes([fixed[0], fixed[1]]));
        Some((Question { section, name, qtype, class }, rest))
    }
}

/// The records after the question do not parse; before that, there may have been an OPT record.
struct Malformed {
    has_opt: bool,
}

/// Walks the records after the question for the OPT record. Others are passed over, as long as they
/// are whole: a query has no use for them, and RFC 8906 §2 warns against refusing what is new.
fn read_records(mut rest: &[u8], counts: [u16; 4]) -> Result<Option<Extended<'_>>, Malformed> {
    let mut opt = None;
    for (section, &count) in counts.iter().enumerate().skip(1) {
        for _ in 0..count {
            let malformed = Malformed { has_opt: opt.is_some() };
            let Some(Front { name, fixed, rdata, rest: tail }) = Front::of(rest) else {
                return Err(malformed);
            };
            if RecordType(u16::from_be_bytes([fixed[0], fixed[1]])) == RecordType::OPT {
                // RFC 6891 §6.1.1: one, in the additional section, owned by the root.
                if section != 3 || opt.is_some() || name != [0] {
                    return Err(malformed);
                }
                opt = Some(Extended::read(fixed, rdata));
            }
            rest = tail;
        }
    }
    if rest.is_empty() { Ok(opt) } else { Err(Malformed { has_opt: opt.is_some() }) }
}

/// The record at the front of a message's rest.
struct Front<'p> {
    name: &'p [u8],
    /// Type, class, TTL and length.
    fixed: &'p [u8; 10],
    rdata: &'p [u8],
    /// What is behind it.
    rest: &'p [u8],
}

impl<'p> Front<'p> {
    fn of(wire: &'p [u8]) -> Option<Front<'p>> {
        let (name, rest) = wire.split_at(skip_name(wire)?);
        let (fixed, rest) = rest.split_first_chunk::<10>()?;
        let length = usize::from(u16::from_be_bytes([fixed[8], fixed[9]]));
        let (rdata, rest) = rest.split_at_checked(length)?;
        Some(Front { name, fixed, rdata, rest })
    }
}

/// Whether a message that is no query of one question has an OPT record all the same. Each question and record
/// passed over takes octets, so this costs no more than to read a query of that length.
#[cold]
fn has_opt(body: &[u8], counts: [u16; 4]) -> bool {
    let mut rest = body;
    for _ in 0..counts[0] {
        // Type and class follow the name.
        match skip_name(rest).and_then(|name| rest.get(name + 4..)) {
            Some(tail) => rest = tail,
            None => return false,
        }
    }
    match read_records(rest, counts) {
        Ok(opt) => opt.is_some(),
        Err(Malformed { has_opt }) => has_opt,
    }
}

/// The cookie of a query that has no question, and whether it has DO set.
fn lone_cookie(body: &[u8], counts: [u16; 4]) -> Option<(Cookie<'_>, bool)> {
    if counts[0] != 0 {
        return None;
    }
    match read_records(body, counts) {
        Ok(Some(Extended::Edns(edns))) => edns.cookie.map(|cookie| (cookie, edns.dnssec_ok)),
        Ok(Some(Extended::Unsupported | Extended::Malformed) | None) | Err(_) => None,
    }
}

/// Octets of the name at the front of `wire`, which may end in a pointer.
fn skip_name(wire: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        match *wire.get(at)? {
            0 => return Some(at + 1),
            length @ 1..=63 => at += 1 + usize::from(length),
            0xc0.. => return wire.get(at + 1).map(|_| at + 2),
            _ => return None,
        }
    }
}

impl Rcode {
    /// As metrics and logs name it.
    pub fn mnemonic(self) -> &'static str {
        match self {
            Rcode::NoError => "NOERROR",
            Rcode::FormErr => "FORMERR",
            Rcode::ServFail => "SERVFAIL",
            Rcode::NxDomain => "NXDOMAIN",
            Rcode::NotImp => "NOTIMP",
            Rcode::Refused => "REFUSED",
            Rcode::YxDomain => "YXDOMAIN",
            Rcode::BadVers => "BADVERS",
            Rcode::BadCookie => "BADCOOKIE",
        }
    }
}

#[cfg(test)]
mod tests;
