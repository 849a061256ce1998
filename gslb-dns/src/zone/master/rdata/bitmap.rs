//! Record types within data: one alone, or a set as a bitmap in windows (RFC 4034 §4.1.2).

use super::super::words::{Fault, Words};
use super::number;
use super::wire::{Malformed, Wire};
use crate::record::RecordType;

const EXPECTED: &str = "a record type";
/// Octets of one window: a bit for each of 256 types.
const WINDOW: usize = 32;

pub fn read_type(words: &mut Words<'_>, out: &mut Vec<u8>) -> Result<(), Fault> {
    out.extend(record_type(words)?.0.to_be_bytes());
    Ok(())
}

pub fn read(words: &mut Words<'_>, out: &mut Vec<u8>) -> Result<(), Fault> {
    let mut types = Vec::new();
    while words.peek().is_some() {
        types.push(record_type(words)?.0);
    }
    types.sort_unstable();
    for window in types.chunk_by(|one, next| one >> 8 == next >> 8) {
        let mut bits = [0u8; WINDOW];
        for rtype in window {
            bits[usize::from(rtype & 0xff) / 8] |= 0x80 >> (rtype % 8);
        }
        let last = window[window.len() - 1];
        let used = usize::from(last & 0xff) / 8 + 1;
        out.extend([(last >> 8) as u8, used as u8]);
        out.extend_from_slice(&bits[..used]);
    }
    Ok(())
}

pub fn present_type(wire: &mut Wire<'_>, out: &mut String) -> Result<(), Malformed> {
    number::present(RecordType(wire.u16()?), out);
    Ok(())
}

pub fn present(wire: &mut Wire<'_>, out: &mut String) -> Result<(), Malformed> {
    let mut lowest = 0;
    let mut blank = "";
    while wire.left() > 0 {
        let window = u16::from(wire.u8()?);
        if window < lowest {
            return Err("the windows of the type bitmap do not ascend".into());
        }
        lowest = window + 1;
        let bits = wire.counted()?;
        if bits.len() > WINDOW || bits.last().is_none_or(|&last| last == 0) {
            return Err(
                "a window of the type bitmap is empty, too long, or ends in an octet of zero"
                    .into(),
            );
        }
        for (index, octet) in (0..).zip(bits) {
            for bit in (0..8).filter(|bit| octet & 0x80 >> bit != 0) {
                out.push_str(blank);
                number::present(RecordType(window << 8 | index << 3 | bit), out);
                blank = " ";
            }
        }
    }
    Ok(())
}

fn record_type(words: &mut Words<'_>) -> Result<RecordType, Fault> {
    let token = words.bare(EXPECTED)?;
    let text = str::from_utf8(token.text).unwrap_or_default();
    text.parse().map_err(|error| token.fault(format!("{} is {error}", token.shown())))
}
