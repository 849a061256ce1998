//! Domain names within data: uncompressed, in the case they were written in.

use super::super::words::{Fault, Words};
use super::wire::{Malformed, Wire};
use crate::name::{Name, write_wire};

pub fn read(words: &mut Words<'_>, origin: &Name, out: &mut Vec<u8>) -> Result<(), Fault> {
    out.extend_from_slice(words.name(origin, "a domain name")?.wire());
    Ok(())
}

pub fn read_all(words: &mut Words<'_>, origin: &Name, out: &mut Vec<u8>) -> Result<(), Fault> {
    while words.peek().is_some() {
        read(words, origin, out)?;
    }
    Ok(())
}

pub fn present(wire: &mut Wire<'_>, out: &mut String) -> Result<(), Malformed> {
    // Writing to a String does not fail.
    let _ = write_wire(out, wire.name()?);
    Ok(())
}

pub fn present_all(wire: &mut Wire<'_>, out: &mut String) -> Result<(), Malformed> {
    let mut blank = "";
    while wire.left() > 0 {
        out.push_str(blank);
        present(wire, out)?;
        blank = " ";
    }
    Ok(())
}
