//! Codes with mnemonics, and the moments of signatures.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use super::super::words::{Fault, Words, decimal};
use super::number;
use super::wire::{Malformed, Wire};

type Codes = &'static [(&'static str, u16)];

/// Mnemonics of RFC 8624 §3.1 and the registry behind it, and BIND's older names.
pub const ALGORITHMS: Codes = &[
    ("DELETE", 0),
    ("RSAMD5", 1),
    ("DH", 2),
    ("DSA", 3),
    ("RSASHA1", 5),
    ("DSA-NSEC3-SHA1", 6),
    ("NSEC3DSA", 6),
    ("RSASHA1-NSEC3-SHA1", 7),
    ("NSEC3RSASHA1", 7),
    ("RSASHA256", 8),
    ("RSASHA512", 10),
    ("ECC-GOST", 12),
    ("ECDSAP256SHA256", 13),
    ("ECDSAP384SHA384", 14),
    ("ED25519", 15),
    ("ED448", 16),
    ("INDIRECT", 252),
    ("PRIVATEDNS", 253),
    ("PRIVATEOID", 254),
];

/// RFC 4398 §2.1.
pub const CERT_TYPES: Codes = &[
    ("PKIX", 1),
    ("SPKI", 2),
    ("PGP", 3),
    ("IPKIX", 4),
    ("ISPKI", 5),
    ("IPGP", 6),
    ("ACPKIX", 7),
    ("IACPKIX", 8),
    ("URI", 253),
    ("OID", 254),
];

const TIME: &str = "a time as YYYYMMDDHHmmSS, or as seconds since 1970, before 2106-02-07";

pub fn read_u8_code(codes: Codes, words: &mut Words<'_>, out: &mut Vec<u8>) -> Result<(), Fault> {
    out.push(code(codes, u64::from(u8::MAX), words)? as u8);
    Ok(())
}

pub fn read_u16_code(codes: Codes, words: &mut Words<'_>, out: &mut Vec<u8>) -> Result<(), Fault> {
    out.extend((code(codes, u64::from(u16::MAX), words)? as u16).to_be_bytes());
    Ok(())
}

fn code(codes: Codes, max: u64, words: &mut Words<'_>) -> Result<u64, Fault> {
    let names = || codes.iter().map(|&(name, _)| name).collect::<Vec<_>>().join(", ");
    let token = words.bare("a number or a mnemonic")?;
    let known = codes.iter().find(|(name, _)| token.text.eq_ignore_ascii_case(name.as_bytes()));
    known
        .map(|&(_, code)| u64::from(code))
        .or_else(|| decimal(token.text).filter(|&number| number <= max))
        .ok_or_else(|| token.is_not(format_args!("a number from 0 to {max} or one of {}", names())))
}

pub fn read_time(words: &mut Words<'_>, out: &mut Vec<u8>) -> Result<(), Fault> {
    let token = words.bare(TIME)?;
    // 14 digits are a date, up to ten are seconds: 32 bits have no more (RFC 4034 §3.2).
    let seconds = match token.text.len() {
        14 => date(token.text),
        _ => decimal(token.text),
    };
    let seconds = seconds
        .and_then(|seconds| u32::try_from(seconds).ok())
        .ok_or_else(|| token.is_not(TIME))?;
    out.extend(seconds.to_be_bytes());
    Ok(())
}

pub fn present_time(wire: &mut Wire<'_>, out: &mut String) -> Result<(), Malformed> {
    let moment =
        Timestamp::from_second(i64::from(wire.u32()?)).expect("32 bits of seconds end in 2106");
    number::present(moment.strftime("%Y%m%d%H%M%S"), out);
    Ok(())
}

fn date(digits: &[u8]) -> Option<u64> {
    let part = |from: usize, to: usize| decimal(&digits[from..to]);
    let (year, month, day) = (part(0, 4)?, part(4, 6)?, part(6, 8)?);
    let (hour, minute, second) = (part(8, 10)?, part(10, 12)?, part(12, 14)?);
    let date = DateTime::new(
        year as i16,
        month as i8,
        day as i8,
        hour as i8,
        minute as i8,
        second as i8,
        0,
    );
    let moment = date.ok()?.to_zoned(TimeZone::UTC).ok()?.timestamp();
    u64::try_from(moment.as_second()).ok()
}
