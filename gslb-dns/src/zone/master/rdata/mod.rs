//! Record data between its text (master files) and its uncompressed wire form.
//!
//! text ─▶ read ─▶ wire ─▶ present ─▶ text
//!
//! `shape` names the fields of each type; each kind of field reads itself from words and presents
//! itself from octets. To present is also to check: data that has no text is not of its type.

mod address;
mod apl;
mod bitmap;
mod dnssec;
mod field;
mod hip;
mod loc;
mod name;
mod number;
mod octets;
mod shape;
mod string;
mod svcb;
mod wire;

use std::fmt::{self, Write};

use self::octets::joined;
use self::wire::{Malformed, Wire};
use super::encoding::HEX;
use super::lexer::Form;
use super::words::{Fault, Words};
use crate::name::Name;
use crate::record::RecordType;

/// Octets of one record's data (RFC 1035 §4.1.3).
const LONGEST: usize = 65_535;

/// The data of one record in presentation form, which master files may have. Data of types unknown
/// here, and data that is not as its type has it, is shown as RFC 3597 has it.
pub fn display_rdata(rtype: RecordType, rdata: &[u8]) -> impl fmt::Display {
    Presentation { rtype, rdata }
}

/// Appends to `out`, which is empty, the data that `words` say. Names are completed with `origin`.
pub fn read(
    rtype: RecordType,
    words: &mut Words<'_>,
    origin: &Name,
    out: &mut Vec<u8>,
) -> Result<(), Fault> {
    let line = words.line();
    match words.peek() {
        Some(first) if first.form == Form::Bare && first.text == br"\#" => {
            words.next();
            read_generic(rtype, words, out)?;
        }
        _ => {
            read_fields(rtype, words, origin, out)?;
            let fault = |message| Fault { line, message };
            if out.len() > LONGEST {
                return Err(fault(format!(
                    "the data is {} octets; expected at most {LONGEST}",
                    out.len()
                )));
            }
            shape::consistent(rtype, out).map_err(fault)?;
        }
    }
    Ok(())
}

/// Whether `rdata` is as its type has it. Data of types unknown here always is.
pub fn check(rtype: RecordType, rdata: &[u8]) -> Result<(), String> {
    present(rtype, rdata, &mut String::new())?;
    shape::consistent(rtype, rdata)
}

fn read_fields(
    rtype: RecordType,
    words: &mut Words<'_>,
    origin: &Name,
    out: &mut Vec<u8>,
) -> Result<(), Fault> {
    let Some(shape) = shape::of(rtype) else {
        let message =
            format!(r"no text form is known for {rtype} data; expected \# length hex (RFC 3597)");
        return Err(Fault { line: words.line(), message });
    };
    for (label, field) in shape {
        field.read(words, origin, out).map_err(|fault| match shape {
            [_] => fault,
            _ => fault.within(label),
        })?;
    }
    words.end()
}

/// `\# length hex` (RFC 3597 §5).
fn read_generic(rtype: RecordType, words: &mut Words<'_>, out: &mut Vec<u8>) -> Result<(), Fault> {
    let length = words.number(LONGEST as u64)? as usize;
    let line = words.line();
    joined(words, &HEX, out)?;
    let fault = |message| Err(Fault { line, message });
    if out.len() != length {
        return fault(format!(
            r"\# says {length} octets, and {} follow; expected as many as it says",
            out.len()
        ));
    }
    check(rtype, out).or_else(|why| fault(format!(r"what \# gives is not {rtype} data: {why}")))
}

fn present(rtype: RecordType, rdata: &[u8], out: &mut String) -> Result<(), String> {
    let Some(shape) = shape::of(rtype) else {
        present_generic(rdata, out);
        return Ok(());
    };
    let mut wire = Wire::new(rdata);
    for (label, field) in shape {
        let before = out.len();
        if before > 0 {
            out.push(' ');
        }
        let blank = out.len();
        field.present(&mut wire, out).map_err(|Malformed(why)| match shape {
            [_] => why,
            _ => format!("{label}: {why}"),
        })?;
        // A field that may be empty, and is, leaves no blank behind.
        if out.len() == blank {
            out.truncate(before);
        }
    }
    match wire.left() {
        0 => Ok(()),
        left => Err(format!("{left} octets are too much")),
    }
}

fn present_generic(rdata: &[u8], out: &mut String) {
    // Writing to a String does not fail.
    let _ = write!(out, r"\# {}", rdata.len());
    if !rdata.is_empty() {
        out.push(' ');
        HEX.encode(rdata, out);
    }
}

struct Presentation<'w> {
    rtype: RecordType,
    rdata: &'w [u8],
}

impl fmt::Display for Presentation<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::new();
        let shown = present(self.rtype, self.rdata, &mut text);
        if shown.and_then(|()| shape::consistent(self.rtype, self.rdata)).is_err() {
            text.clear();
            present_generic(self.rdata, &mut text);
        }
        f.write_str(&text)
    }
}
