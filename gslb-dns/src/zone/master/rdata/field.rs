//! The kinds of fields that data is made of.
//!
//! Each is read from words and presented from octets in the file of its family; this is where
//! `shape`'s table meets them.

use super::super::encoding::{BASE64, HEX};
use super::super::words::{Fault, Words};
use super::dnssec::{self, ALGORITHMS, CERT_TYPES};
use super::wire::{Malformed, Wire};
use super::{address, apl, bitmap, hip, loc, name, number, octets, string, svcb};

#[derive(Clone, Copy, Debug)]
pub enum Field {
    U8,
    U16,
    U32,
    /// 32 bits of seconds; the text may have units.
    Seconds,
    Ipv4,
    Ipv6,
    Eui48,
    Eui64,
    Name,
    /// Any number of names, to the end.
    Names,
    /// One character-string (RFC 1035 §3.3).
    Text,
    /// One character-string or more, to the end.
    Texts,
    /// A URI's target: one string without a length, to the end, not empty.
    Target,
    /// A CAA tag.
    Tag,
    /// A CAA value: one string without a length, to the end.
    Value,
    /// Octets to the end, at least one.
    Hex,
    Base64,
    Base64OrNothing,
    /// Counted octets in hexadecimal, `-` if none (RFC 5155 §3.3).
    Salt,
    /// Counted octets in base32hex (RFC 5155 §3.3).
    Hash,
    /// A record type.
    Type,
    /// A type bitmap, to the end (RFC 4034 §4.1.2).
    Types,
    /// A DNSSEC algorithm, by number or mnemonic.
    Algorithm,
    CertType,
    /// A moment as RRSIG has it (RFC 4034 §3.2).
    Time,
    Gateway,
    HostIdentity,
    Prefixes,
    Location,
    SvcParams,
}

impl Field {
    /// Takes the field from `words` and appends it to `out`, which holds the fields before it.
    pub fn read(
        self,
        words: &mut Words<'_>,
        origin: &crate::name::Name,
        out: &mut Vec<u8>,
    ) -> Result<(), Fault> {
        match self {
            Field::U8 => number::read_u8(words, out),
            Field::U16 => number::read_u16(words, out),
            Field::U32 => number::read_u32(words, out),
            Field::Seconds => number::read_seconds(words, out),
            Field::Ipv4 => address::read_ipv4(words, out),
            Field::Ipv6 => address::read_ipv6(words, out),
            Field::Eui48 => address::read_eui::<6>(words, out),
            Field::Eui64 => address::read_eui::<8>(words, out),
            Field::Name => name::read(words, origin, out),
            Field::Names => name::read_all(words, origin, out),
            Field::Text => string::read_text(words, out),
            Field::Texts => string::read_texts(words, out),
            Field::Target => string::read_target(words, out),
            Field::Tag => string::read_tag(words, out),
            Field::Value => string::read_value(words, out),
            Field::Hex => octets::read(words, &HEX, out),
            Field::Base64 => octets::read(words, &BASE64, out),
            Field::Base64OrNothing => octets::joined(words, &BASE64, out),
            Field::Salt => octets::read_salt(words, out),
            Field::Hash => octets::read_hash(words, out),
            Field::Type => bitmap::read_type(words, out),
            Field::Types => bitmap::read(words, out),
            Field::Algorithm => dnssec::read_u8_code(ALGORITHMS, words, out),
            Field::CertType => dnssec::read_u16_code(CERT_TYPES, words, out),
            Field::Time => dnssec::read_time(words, out),
            Field::Gateway => address::read_gateway(words, origin, out),
            Field::HostIdentity => hip::read(words, out),
            Field::Prefixes => apl::read(words, out),
            Field::Location => loc::read(words, out),
            Field::SvcParams => svcb::read(words, out),
        }
    }

    /// Takes the field from `wire` and appends its text to `out`.
    pub fn present(self, wire: &mut Wire<'_>, out: &mut String) -> Result<(), Malformed> {
        match self {
            Field::U8 | Field::Algorithm => number::present(wire.u8()?, out),
            Field::U16 | Field::CertType => number::present(wire.u16()?, out),
            Field::U32 | Field::Seconds => number::present(wire.u32()?, out),
            Field::Ipv4 => address::present_ipv4(wire, out)?,
            Field::Ipv6 => address::present_ipv6(wire, out)?,
            Field::Eui48 => address::present_eui::<6>(wire, out)?,
            Field::Eui64 => address::present_eui::<8>(wire, out)?,
            Field::Name => name::present(wire, out)?,
            Field::Names => name::present_all(wire, out)?,
            Field::Text => string::present_text(wire, out)?,
            Field::Texts => string::present_texts(wire, out)?,
            Field::Target => string::present_target(wire, out)?,
            Field::Tag => string::present_tag(wire, out)?,
            Field::Value => string::quote(wire.rest(), out),
            Field::Hex => octets::present(wire, &HEX, out)?,
            Field::Base64 => octets::present(wire, &BASE64, out)?,
            Field::Base64OrNothing => BASE64.encode(wire.rest(), out),
            Field::Salt => octets::present_salt(wire, out)?,
            Field::Hash => octets::present_hash(wire, out)?,
            Field::Type => bitmap::present_type(wire, out)?,
            Field::Types => bitmap::present(wire, out)?,
            Field::Time => dnssec::present_time(wire, out)?,
            Field::Gateway => address::present_gateway(wire, out)?,
            Field::HostIdentity => hip::present(wire, out)?,
            Field::Prefixes => apl::present(wire, out)?,
            Field::Location => loc::present(wire, out)?,
            Field::SvcParams => svcb::present(wire, out)?,
        }
        Ok(())
    }
}
