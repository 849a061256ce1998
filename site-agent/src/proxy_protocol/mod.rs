//! The PROXY protocol, versions 1 and 2: whose connection a proxy passes on, told before all else.
//!
//! Read from octets that come in any pieces, and written to servers that ask for it. Only what the operator
//! lists is asked for such a header, and then all of it has one: to guess would be to believe whoever sends it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Begins every header of version 2, and nothing that HTTP or TLS would begin with.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
const START: &[u8] = b"PROXY ";
/// A header of version 1, at most, with its CR LF.
const LONGEST_LINE: usize = 107;
/// Signature, version and command, family and transport, length of the rest.
const FIXED: usize = 16;
/// Octets of the rest of version 2: addresses take at most 216, what else proxies tell (a certificate's names)
/// some hundred.
const LONGEST_REST: usize = 4096;
const LOCAL: u8 = 0x20;
const PROXY: u8 = 0x21;
const TCP4: u8 = 0x11;
const TCP6: u8 = 0x21;

/// Whose connection it is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Origin {
    Client {
        source: SocketAddr,
        destination: SocketAddr,
    },
    /// The proxy speaks for itself, as it does to see whether we are well, or does not say.
    Proxy,
}

/// How far the reading has come.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Progress {
    /// There is more of the header to come.
    More,
    /// The header is read, and was so many octets.
    Whole(usize, Origin),
}

/// Why there is no header. The connection can only be closed.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Refusal {
    #[error("it does not begin with a PROXY header")]
    NoHeader,
    #[error("the PROXY header is longer than any")]
    TooLong,
    #[error("the PROXY header makes no sense")]
    Malformed,
    #[error("the PROXY header has a version, command or family that is unknown")]
    Unknown,
}

/// Reads a header of either version at the start of all that has come.
pub fn read(octets: &[u8]) -> Result<Progress, Refusal> {
    match octets {
        [] => Ok(Progress::More),
        [b'P', ..] => read_line(octets),
        [b'\r', ..] => read_block(octets),
        _ => Err(Refusal::NoHeader),
    }
}

/// Version 1: one line of text.
fn read_line(octets: &[u8]) -> Result<Progress, Refusal> {
    let known = octets.len().min(START.len());
    if octets[..known] != START[..known] {
        return Err(Refusal::NoHeader);
    }
    let window = &octets[..octets.len().min(LONGEST_LINE)];
    let Some(lf) = memchr::memchr(b'\n', window) else {
        return if window.len() < LONGEST_LINE {
            Ok(Progress::More)
        } else {
            Err(Refusal::TooLong)
        };
    };
    let line = window[START.len()..lf].strip_suffix(b"\r").ok_or(Refusal::Malformed)?;
    // What follows it is not to be looked at.
    let origin = if line == b"UNKNOWN" || line.starts_with(b"UNKNOWN ") {
        Origin::Proxy
    } else {
        let line = std::str::from_utf8(line).map_err(|_| Refusal::Malformed)?;
        client_in(line).ok_or(Refusal::Malformed)?
    };
    Ok(Progress::Whole(lf + 1, origin))
}

fn client_in(line: &str) -> Option<Origin> {
    let mut words = line.split(' ');
    let mut word = || words.next();
    let family = word()?;
    let (source, destination) = (word()?, word()?);
    let (source_port, destination_port) = (port(word()?)?, port(word()?)?);
    let address = |text: &str| match family {
        "TCP4" => text.parse().ok().map(IpAddr::V4),
        "TCP6" => text.parse().ok().map(IpAddr::V6),
        _ => None,
    };
    let (source, destination) = (address(source)?, address(destination)?);
    let origin = client((source, source_port), (destination, destination_port));
    words.next().is_none().then_some(origin)
}

/// Decimal, without a sign or a zero in front.
fn port(text: &str) -> Option<u16> {
    let is_number = text.bytes().all(|octet| octet.is_ascii_digit());
    let is_short = text == "0" || !text.starts_with('0');
    (is_number && is_short).then(|| text.parse().ok())?
}

fn client(source: (IpAddr, u16), destination: (IpAddr, u16)) -> Origin {
    let end = |(address, port): (IpAddr, u16)| SocketAddr::new(address.to_canonical(), port);
    Origin::Client { source: end(source), destination: end(destination) }
}

/// Version 2: a block of octets.
fn read_block(octets: &[u8]) -> Result<Progress, Refusal> {
    let known = octets.len().min(SIGNATURE.len());
    if octets[..known] != SIGNATURE[..known] {
        return Err(Refusal::NoHeader);
    }
    let Some((fixed, after)) = octets.split_first_chunk::<FIXED>() else {
        return Ok(Progress::More);
    };
    let length = usize::from(u16::from_be_bytes([fixed[14], fixed[15]]));
    let (command, family) = (fixed[12], fixed[13]);
    if !matches!(command, LOCAL | PROXY) {
        return Err(Refusal::Unknown);
    }
    if length > LONGEST_REST {
        return Err(Refusal::TooLong);
    }
    let Some(rest) = after.get(..length) else { return Ok(Progress::More) };
    // Behind the addresses is what else the proxy has to say, which we pass over.
    let origin = match (command, family) {
        (LOCAL, _) | (_, 0x00) => Origin::Proxy,
        (_, TCP4 | 0x12) => v4(rest).ok_or(Refusal::Malformed)?,
        (_, TCP6 | 0x22) => v6(rest).ok_or(Refusal::Malformed)?,
        // A path on the proxy's machine is nobody's address.
        (_, 0x31 | 0x32) if rest.len() >= 216 => Origin::Proxy,
        (_, 0x31 | 0x32) => return Err(Refusal::Malformed),
        _ => return Err(Refusal::Unknown),
    };
    Ok(Progress::Whole(FIXED + length, origin))
}

fn v4(rest: &[u8]) -> Option<Origin> {
    let (addresses, _) = rest.split_first_chunk::<12>()?;
    let [a, b, c, d, e, f, g, h, ports @ ..] = *addresses;
    let (source_port, destination_port) = split_ports(ports);
    let source = Ipv4Addr::new(a, b, c, d).into();
    Some(client((source, source_port), (Ipv4Addr::new(e, f, g, h).into(), destination_port)))
}

fn v6(rest: &[u8]) -> Option<Origin> {
    let (source, rest) = rest.split_first_chunk::<16>()?;
    let (destination, rest) = rest.split_first_chunk::<16>()?;
    let (ports, _) = rest.split_first_chunk::<4>()?;
    let (source_port, destination_port) = split_ports(*ports);
    let address = |octets: &[u8; 16]| IpAddr::V6(Ipv6Addr::from(*octets));
    Some(client((address(source), source_port), (address(destination), destination_port)))
}

fn split_ports([a, b, c, d]: [u8; 4]) -> (u16, u16) {
    (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]))
}

/// Writes a header of version 1. Families that differ are told as `UNKNOWN`, which the text cannot say better.
pub fn write_v1(origin: Origin, out: &mut Vec<u8>) {
    let text = match origin {
        Origin::Client { source, destination } if source.is_ipv4() == destination.is_ipv4() => {
            let family = if source.is_ipv4() { "TCP4" } else { "TCP6" };
            let (from, to) = (source.ip(), destination.ip());
            format!("PROXY {family} {from} {to} {} {}\r\n", source.port(), destination.port())
        }
        Origin::Client { .. } | Origin::Proxy => "PROXY UNKNOWN\r\n".to_owned(),
    };
    out.extend_from_slice(text.as_bytes());
}

/// Writes a header of version 2, of a TCP connection. Families that differ are both told as IPv6.
pub fn write_v2(origin: Origin, out: &mut Vec<u8>) {
    out.extend_from_slice(SIGNATURE);
    let Origin::Client { source, destination } = origin else {
        out.extend_from_slice(&[LOCAL, 0, 0, 0]);
        return;
    };
    match (source.ip(), destination.ip()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            out.extend_from_slice(&[PROXY, TCP4, 0, 12]);
            out.extend_from_slice(&from.octets());
            out.extend_from_slice(&to.octets());
        }
        (from, to) => {
            out.extend_from_slice(&[PROXY, TCP6, 0, 36]);
            for address in [from, to] {
                let address = match address {
                    IpAddr::V4(address) => address.to_ipv6_mapped(),
                    IpAddr::V6(address) => address,
                };
                out.extend_from_slice(&address.octets());
            }
        }
    }
    out.extend_from_slice(&source.port().to_be_bytes());
    out.extend_from_slice(&destination.port().to_be_bytes());
}

#[cfg(test)]
mod tests;
