//! The host identity of a HIP record (RFC 8005 §5). On the wire the lengths stand before both
//! values, in text neither is written.

use super::super::encoding::{BASE64, Encoding, HEX};
use super::super::lexer::Token;
use super::super::words::{Fault, Words};
use super::number;
use super::wire::{Malformed, Wire};

pub fn read(words: &mut Words<'_>, out: &mut Vec<u8>) -> Result<(), Fault> {
    let algorithm = words.number(u64::from(u8::MAX))? as u8;
    let (token, hit) = value(words, &HEX, "a host identity tag in hexadecimal")?;
    let hit_length = u8::try_from(hit.len()).map_err(|_| too_long(token, hit.len(), 255))?;
    let (token, key) = value(words, &BASE64, "a key in base64")?;
    let key_length = u16::try_from(key.len()).map_err(|_| too_long(token, key.len(), 65_535))?;
    out.extend([hit_length, algorithm]);
    out.extend(key_length.to_be_bytes());
    out.extend(hit);
    out.extend(key);
    Ok(())
}

pub fn present(wire: &mut Wire<'_>, out: &mut String) -> Result<(), Malformed> {
    let (hit_length, algorithm, key_length) = (wire.u8()?, wire.u8()?, wire.u16()?);
    let hit = wire.take(usize::from(hit_length))?;
    let key = wire.take(usize::from(key_length))?;
    if hit.is_empty() || key.is_empty() {
        return Err("the host identity tag or the key is empty".into());
    }
    number::present(algorithm, out);
    out.push(' ');
    HEX.encode(hit, out);
    out.push(' ');
    BASE64.encode(key, out);
    Ok(())
}

fn value<'a>(
    words: &mut Words<'a>,
    encoding: &Encoding,
    expected: &str,
) -> Result<(Token<'a>, Vec<u8>), Fault> {
    let token = words.bare(expected)?;
    let mut octets = Vec::new();
    encoding
        .decode(token.text, &mut octets)
        .map_err(|error| token.fault(format!("{}: {error}; expected {expected}", token.shown())))?;
    Ok((token, octets))
}

fn too_long(token: Token<'_>, octets: usize, most: usize) -> Fault {
    token.fault(format!("{} is {octets} octets; expected at most {most}", token.shown()))
}
