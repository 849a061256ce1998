//! Numbers, in network order on the wire and decimal in text.

use std::fmt::{Display, Write};

use super::super::ttl;
use super::super::words::{Fault, Words};

pub fn read_u8(words: &mut Words<'_>, out: &mut Vec<u8>) -> Result<(), Fault> {
    out.push(words.number(u64::from(u8::MAX))? as u8);
    Ok(())
}

pub fn read_u16(words: &mut Words<'_>, out: &mut Vec<u8>) -> Result<(), Fault> {
    let number = words.number(u64::from(u16::MAX))? as u16;
    out.extend(number.to_be_bytes());
    Ok(())
}

pub fn read_u32(words: &mut Words<'_>, out: &mut Vec<u8>) -> Result<(), Fault> {
    let number = words.number(u64::from(u32::MAX))? as u32;
    out.extend(number.to_be_bytes());
    Ok(())
}

/// Seconds within data have all 32 bits (RFC 1035 §3.3.13), unlike a TTL.
pub fn read_seconds(words: &mut Words<'_>, out: &mut Vec<u8>) -> Result<(), Fault> {
    let seconds = ttl::seconds(words.bare(ttl::EXPECTED)?, u32::MAX)?;
    out.extend(seconds.to_be_bytes());
    Ok(())
}

pub fn present(number: impl Display, out: &mut String) {
    // Writing to a String does not fail.
    let _ = write!(out, "{number}");
}
