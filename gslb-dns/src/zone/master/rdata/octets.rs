//! Opaque octets: keys, digests, salts, in the encoding each RFC chose.

use super::super::encoding::{BASE32HEX, Encoding, HEX};
use super::super::lexer::Form;
use super::super::words::{Fault, Words};
use super::wire::{Malformed, Wire};

const SALT: &str = "a salt in hexadecimal, or - for none";
const HASH: &str = "a hash in base32hex";

/// Takes every word left as one run of digits, of at least one octet.
pub fn read(words: &mut Words<'_>, encoding: &Encoding, out: &mut Vec<u8>) -> Result<(), Fault> {
    if words.peek().is_none() {
        return Err(words.missing(format_args!("{} text", encoding.name)));
    }
    joined(words, encoding, out)
}

/// Takes every word left as one run of digits; there may be none. RFCs let blanks stand anywhere
/// in them.
pub fn joined(words: &mut Words<'_>, encoding: &Encoding, out: &mut Vec<u8>) -> Result<(), Fault> {
    let mut all = Vec::new();
    let digits = match words.clone().rest() {
        [only] if only.form == Form::Bare => {
            words.next();
            only.text
        }
        _ => {
            while words.peek().is_some() {
                all.extend_from_slice(words.bare(format_args!("{} text", encoding.name))?.text);
            }
            &all
        }
    };
    encoding
        .decode(digits, out)
        .map_err(|error| Fault { line: words.line(), message: error.to_string() })
}

pub fn read_salt(words: &mut Words<'_>, out: &mut Vec<u8>) -> Result<(), Fault> {
    let token = words.bare(SALT)?;
    match token.text {
        b"-" => {
            out.push(0);
            Ok(())
        }
        _ => counted(token.text, &HEX, out).map_err(|why| token.is_not(SALT).within(why)),
    }
}

pub fn read_hash(words: &mut Words<'_>, out: &mut Vec<u8>) -> Result<(), Fault> {
    let token = words.bare(HASH)?;
    counted(token.text, &BASE32HEX, out).map_err(|why| token.is_not(HASH).within(why))
}

pub fn present(
    wire: &mut Wire<'_>,
    encoding: &Encoding,
    out: &mut String,
) -> Result<(), Malformed> {
    match wire.rest() {
        [] => Err("it is empty; expected an octet or more".into()),
        octets => {
            encoding.encode(octets, out);
            Ok(())
        }
    }
}

pub fn present_salt(wire: &mut Wire<'_>, out: &mut String) -> Result<(), Malformed> {
    match wire.counted()? {
        [] => out.push('-'),
        salt => HEX.encode(salt, out),
    }
    Ok(())
}

pub fn present_hash(wire: &mut Wire<'_>, out: &mut String) -> Result<(), Malformed> {
    match wire.counted()? {
        [] => Err("it is empty; expected a hash".into()),
        hash => {
            BASE32HEX.encode(hash, out);
            Ok(())
        }
    }
}

/// Appends octets behind their count.
fn counted(digits: &[u8], encoding: &Encoding, out: &mut Vec<u8>) -> Result<(), String> {
    let length_at = out.len();
    out.push(0);
    encoding.decode(digits, out).map_err(|error| error.to_string())?;
    let length = out.len() - length_at - 1;
    out[length_at] =
        u8::try_from(length).map_err(|_| format!("{length} octets, where 255 may be"))?;
    Ok(())
}
