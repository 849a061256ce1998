//! Addresses: of hosts, of interfaces, and the gateway of an IPSECKEY, which is one or a name.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::super::words::{Fault, Words};
use super::wire::{Malformed, Wire};
use super::{name, number};
use crate::name::Name;

const IPV4: &str = "an IPv4 address";
const IPV6: &str = "an IPv6 address";

pub fn read_ipv4(words: &mut Words<'_>, out: &mut Vec<u8>) -> Result<(), Fault> {
    let token = words.bare(IPV4)?;
    let address = ipv4(token.text).ok_or_else(|| token.is_not(IPV4))?;
    out.extend(address.octets());
    Ok(())
}

pub fn read_ipv6(words: &mut Words<'_>, out: &mut Vec<u8>) -> Result<(), Fault> {
    let token = words.bare(IPV6)?;
    let address = ipv6(token.text).ok_or_else(|| token.is_not(IPV6))?;
    out.extend(address.octets());
    Ok(())
}

/// Pairs of digits with hyphens between them (RFC 7043 §3.2, §4.2).
pub fn read_eui<const OCTETS: usize>(
    words: &mut Words<'_>,
    out: &mut Vec<u8>,
) -> Result<(), Fault> {
    let expected = format_args!("{OCTETS} pairs of hexadecimal digits with hyphens between them");
    let token = words.bare(expected)?;
    let pairs = token.text.split(|&byte| byte == b'-').map(|pair| match pair {
        [high, low] => Some((digit(*high)? << 4 | digit(*low)?) as u8),
        _ => None,
    });
    let octets: Option<Vec<u8>> = pairs.collect();
    let octets =
        octets.filter(|octets| octets.len() == OCTETS).ok_or_else(|| token.is_not(expected))?;
    out.extend(octets);
    Ok(())
}

/// What the gateway is stands one octet before it, behind the precedence (RFC 4025 §2.1).
pub fn read_gateway(words: &mut Words<'_>, origin: &Name, out: &mut Vec<u8>) -> Result<(), Fault> {
    const NONE: &str = "\".\", as gateway type 0 has";
    match out[1] {
        0 => {
            let token = words.bare(NONE)?;
            match token.text {
                b"." => Ok(()),
                _ => Err(token.is_not(NONE)),
            }
        }
        1 => read_ipv4(words, out),
        2 => read_ipv6(words, out),
        3 => name::read(words, origin, out),
        other => {
            let message = format!("gateway type {other} is not known; expected 0, 1, 2 or 3");
            Err(Fault { line: words.line(), message })
        }
    }
}

pub fn present_ipv4(wire: &mut Wire<'_>, out: &mut String) -> Result<(), Malformed> {
    number::present(Ipv4Addr::from(wire.array()?), out);
    Ok(())
}

pub fn present_ipv6(wire: &mut Wire<'_>, out: &mut String) -> Result<(), Malformed> {
    number::present(Ipv6Addr::from(wire.array::<16>()?), out);
    Ok(())
}

pub fn present_eui<const OCTETS: usize>(
    wire: &mut Wire<'_>,
    out: &mut String,
) -> Result<(), Malformed> {
    let octets: [u8; OCTETS] = wire.array()?;
    out.push_str(&octets.map(|octet| format!("{octet:02x}")).join("-"));
    Ok(())
}

pub fn present_gateway(wire: &mut Wire<'_>, out: &mut String) -> Result<(), Malformed> {
    match wire.taken()[1] {
        0 => out.push('.'),
        1 => present_ipv4(wire, out)?,
        2 => present_ipv6(wire, out)?,
        3 => name::present(wire, out)?,
        other => {
            return Err(Malformed(format!(
                "gateway type {other} is not known; expected 0, 1, 2 or 3"
            )));
        }
    }
    Ok(())
}

pub fn ipv4(text: &[u8]) -> Option<Ipv4Addr> {
    str::from_utf8(text).ok()?.parse().ok()
}

pub fn ipv6(text: &[u8]) -> Option<Ipv6Addr> {
    str::from_utf8(text).ok()?.parse().ok()
}

fn digit(byte: u8) -> Option<u32> {
    char::from(byte).to_digit(16)
}
