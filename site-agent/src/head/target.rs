//! A request's target and the authority in it or in Host (RFC 9112 §3.2, RFC 3986).

use std::net::Ipv6Addr;
use std::ops::Range;

use super::octets::{fault, is_host, is_target, is_text};
use super::refusal::Refusal;

/// Which of the four forms a target has.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Form {
    /// `/path?query`
    #[default]
    Origin,
    /// `http://authority/path?query`, as a proxy is asked.
    Absolute(Scheme),
    /// `authority`, of CONNECT alone.
    Authority,
    /// `*`, of OPTIONS alone.
    Asterisk,
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Scheme {
    #[default]
    Http,
    Https,
}

impl Scheme {
    pub fn text(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    fn port(self) -> &'static [u8] {
        match self {
            Self::Http => b"80",
            Self::Https => b"443",
        }
    }
}

/// A target taken apart, by where its parts stand in it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Target {
    pub form: Form,
    pub authority: Option<Range<usize>>,
    /// From here on are path and query as they were written, if there are any.
    pub path: usize,
}

/// Takes a target apart that this method may have.
pub fn target(method: &[u8], target: &[u8]) -> Result<Target, Refusal> {
    if !is_target(target) {
        return Err(match target {
            _ if !is_text(target) => fault(target),
            _ if target.contains(&b'#') => Refusal::Fragment,
            _ => Refusal::TargetOctet,
        });
    }
    let without_authority = |form| Target { form, authority: None, path: 0 };
    if method == b"CONNECT" {
        let (_, port) = authority_of(target)?;
        let authority = Some(0..target.len());
        return match port {
            b"" => Err(Refusal::Target),
            _ => Ok(Target { form: Form::Authority, authority, path: target.len() }),
        };
    }
    match target {
        b"*" if method == b"OPTIONS" => Ok(without_authority(Form::Asterisk)),
        [b'/', ..] => Ok(without_authority(Form::Origin)),
        _ => absolute(target),
    }
}

fn absolute(target: &[u8]) -> Result<Target, Refusal> {
    let scheme = [Scheme::Http, Scheme::Https].into_iter().find_map(|scheme| {
        let name = scheme.text().as_bytes();
        let (start, rest) = target.split_at_checked(name.len())?;
        let is_it = start.eq_ignore_ascii_case(name) && rest.starts_with(b"://");
        is_it.then_some((scheme, name.len() + 3))
    });
    let (scheme, start) = scheme.ok_or(Refusal::Target)?;
    let rest = &target[start..];
    let length = rest.iter().position(|octet| matches!(octet, b'/' | b'?')).unwrap_or(rest.len());
    let path = start + length;
    authority_of(&target[start..path])?;
    Ok(Target { form: Form::Absolute(scheme), authority: Some(start..path), path })
}

/// Host and port of an authority, the port empty if there is none.
///
/// # Errors
///
/// If the host is empty or no host, if the port is no port, and if there is a user.
pub fn authority_of(authority: &[u8]) -> Result<(&[u8], &[u8]), Refusal> {
    if authority.contains(&b'@') {
        return Err(Refusal::Userinfo);
    }
    let (host, rest) = match authority {
        [b'[', rest @ ..] => {
            let end = rest.iter().position(|octet| *octet == b']').ok_or(Refusal::Authority)?;
            let address = std::str::from_utf8(&rest[..end]).map_err(|_| Refusal::Authority)?;
            address.parse::<Ipv6Addr>().map_err(|_| Refusal::Authority)?;
            authority.split_at(end + 2)
        }
        _ => {
            let end = authority.iter().position(|octet| *octet == b':').unwrap_or(authority.len());
            let (name, rest) = authority.split_at(end);
            if name.is_empty() || !is_reg_name(name) {
                return Err(Refusal::Authority);
            }
            (name, rest)
        }
    };
    match rest {
        [] => Ok((host, b"")),
        [b':', port @ ..] if is_port(port) => Ok((host, port)),
        _ => Err(Refusal::Authority),
    }
}

/// Text as RFC 3986 §3.2.2 has it, with octets that are escaped.
fn is_reg_name(name: &[u8]) -> bool {
    let mut octets = name.iter();
    while let Some(octet) = octets.next() {
        let mut hex = || octets.next().is_some_and(u8::is_ascii_hexdigit);
        if !(is_host(*octet) || *octet == b'%' && hex() && hex()) {
            return false;
        }
    }
    true
}

fn is_port(port: &[u8]) -> bool {
    port.len() <= 5
        && port.iter().all(u8::is_ascii_digit)
        && super::octets::decimal(port).is_some_and(|port| port <= u16::MAX.into())
}

/// Whether both mean one host and port. Each has been found to be an authority.
pub fn is_same(scheme: Option<Scheme>, one: &[u8], other: &[u8]) -> bool {
    let (Ok((host, port)), Ok((other_host, other_port))) = (authority_of(one), authority_of(other))
    else {
        return false;
    };
    let or_default = |port| match scheme {
        Some(scheme) if <[u8]>::is_empty(port) => scheme.port(),
        _ => port,
    };
    host.eq_ignore_ascii_case(other_host) && or_default(port) == or_default(other_port)
}
