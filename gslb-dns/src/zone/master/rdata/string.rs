//! Strings: the counted ones of RFC 1035 and those that take the rest of the data.

use std::fmt::Write;

use super::super::words::{Fault, Shown, Words};
use super::wire::{Malformed, Wire};

/// Octets of one character-string (RFC 1035 §3.3).
pub const LONGEST: usize = 255;

const EXPECTED: &str = "a string";
const TAG: &str = "a tag of letters and digits (RFC 8659 §4.1)";

pub fn read_text(words: &mut Words<'_>, out: &mut Vec<u8>) -> Result<(), Fault> {
    let token = words.any(EXPECTED)?;
    let length_at = out.len();
    out.push(0);
    token.unescape(out)?;
    let length = out.len() - length_at - 1;
    out[length_at] = u8::try_from(length).map_err(|_| {
        token.fault(format!(
            "{} is {length} octets; expected at most {LONGEST} in one string",
            token.shown()
        ))
    })?;
    Ok(())
}

pub fn read_texts(words: &mut Words<'_>, out: &mut Vec<u8>) -> Result<(), Fault> {
    read_text(words, out)?;
    while words.peek().is_some() {
        read_text(words, out)?;
    }
    Ok(())
}

pub fn read_value(words: &mut Words<'_>, out: &mut Vec<u8>) -> Result<(), Fault> {
    words.any(EXPECTED)?.unescape(out)
}

pub fn read_target(words: &mut Words<'_>, out: &mut Vec<u8>) -> Result<(), Fault> {
    let token = words.any("a URI")?;
    if token.text.is_empty() {
        return Err(token.is_not("a URI"));
    }
    token.unescape(out)
}

pub fn read_tag(words: &mut Words<'_>, out: &mut Vec<u8>) -> Result<(), Fault> {
    let token = words.bare(TAG)?;
    let length = u8::try_from(token.text.len()).map_err(|_| token.is_not(TAG))?;
    if !is_tag(token.text) {
        return Err(token.is_not(TAG));
    }
    out.push(length);
    out.extend_from_slice(token.text);
    Ok(())
}

pub fn present_text(wire: &mut Wire<'_>, out: &mut String) -> Result<(), Malformed> {
    quote(wire.counted()?, out);
    Ok(())
}

pub fn present_texts(wire: &mut Wire<'_>, out: &mut String) -> Result<(), Malformed> {
    present_text(wire, out)?;
    while wire.left() > 0 {
        out.push(' ');
        present_text(wire, out)?;
    }
    Ok(())
}

pub fn present_target(wire: &mut Wire<'_>, out: &mut String) -> Result<(), Malformed> {
    match wire.rest() {
        [] => Err("it is empty; expected a URI (RFC 7553 §4.5)".into()),
        uri => {
            quote(uri, out);
            Ok(())
        }
    }
}

pub fn present_tag(wire: &mut Wire<'_>, out: &mut String) -> Result<(), Malformed> {
    let tag = wire.counted()?;
    if !is_tag(tag) {
        return Err(Malformed(format!("{} is not {TAG}", Shown(tag))));
    }
    out.extend(tag.iter().copied().map(char::from));
    Ok(())
}

/// Appends `text` in quotes, escaped so that it reads back the same.
pub fn quote(text: &[u8], out: &mut String) {
    out.push('"');
    for &byte in text {
        match byte {
            b'"' | b'\\' => out.extend(['\\', char::from(byte)]),
            b' '..=b'~' => out.push(char::from(byte)),
            // Writing to a String does not fail.
            other => {
                let _ = write!(out, "\\{other:03}");
            }
        }
    }
    out.push('"');
}

fn is_tag(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(u8::is_ascii_alphanumeric)
}
