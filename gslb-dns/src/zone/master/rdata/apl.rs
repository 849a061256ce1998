//! Address prefixes (RFC 3123): `[!]family:address/length`, of family 1 (IPv4) or 2 (IPv6).

use std::net::{Ipv4Addr, Ipv6Addr};

use super::super::words::{Fault, Words, decimal};
use super::wire::{Malformed, Wire};
use super::{address, number};

const EXPECTED: &str = "a prefix such as 1:192.0.2.0/24 or !2:2001:db8::/32";

pub fn read(words: &mut Words<'_>, out: &mut Vec<u8>) -> Result<(), Fault> {
    while words.peek().is_some() {
        let token = words.bare(EXPECTED)?;
        prefix(token.text, out).ok_or_else(|| token.is_not(EXPECTED))?;
    }
    Ok(())
}

fn prefix(text: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let (negation, text) = match text {
        [b'!', rest @ ..] => (0x80, rest),
        plain => (0, plain),
    };
    let slash = text.iter().rposition(|&byte| byte == b'/')?;
    let length = decimal(&text[slash + 1..])?;
    let (family, mut address, bits) = match &text[..slash] {
        [b'1', b':', address @ ..] => (1, address::ipv4(address)?.octets().to_vec(), 32),
        [b'2', b':', address @ ..] => (2, address::ipv6(address)?.octets().to_vec(), 128),
        _ => return None,
    };
    if length > bits {
        return None;
    }
    // Zeros at the end are not sent (§4).
    address.truncate(address.iter().rposition(|&octet| octet != 0).map_or(0, |last| last + 1));
    out.extend([0, family, length as u8, negation | address.len() as u8]);
    out.extend(address);
    Some(())
}

pub fn present(wire: &mut Wire<'_>, out: &mut String) -> Result<(), Malformed> {
    let mut blank = "";
    while wire.left() > 0 {
        let (family, length, flagged) = (wire.u16()?, wire.u8()?, wire.u8()?);
        let part = wire.take(usize::from(flagged & 0x7f))?;
        let (bits, octets) = match family {
            1 => (32, 4),
            2 => (128, 16),
            _ => {
                return Err(Malformed(format!("family {family} is not known; expected 1 or 2")));
            }
        };
        if length > bits || part.len() > octets || part.last() == Some(&0) {
            return Err(
                "a prefix or its address is too long, or the address ends in an octet of zero"
                    .into(),
            );
        }
        let mut whole = [0u8; 16];
        whole[..part.len()].copy_from_slice(part);
        out.push_str(blank);
        out.push_str(if flagged & 0x80 != 0 { "!" } else { "" });
        match family {
            1 => {
                let [a, b, c, d, ..] = whole;
                number::present(format_args!("1:{}/{length}", Ipv4Addr::new(a, b, c, d)), out);
            }
            _ => number::present(format_args!("2:{}/{length}", Ipv6Addr::from(whole)), out),
        }
        blank = " ";
    }
    Ok(())
}
