//! Who the client is, and what a server is told of that.
//!
//! The peer of a connection is known; what it says of others is believed only if the operator trusts it. From
//! the right, each trusted proxy names who came to it, and the first that is not trusted is the client: what
//! stands further left is that client's own word. Servers are told the same: fields of untrusted peers do not
//! reach them.

use std::borrow::Cow;
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use crate::head::{Fields, Scheme};

/// Proxies before us that are asked who came to them, at most: a chain is a few, and each costs a look at every
/// trusted network.
const MOST_HOPS: usize = 32;
const FOR: &[u8] = b"X-Forwarded-For";
const PROTO: &[u8] = b"X-Forwarded-Proto";
const FORWARDED: &[u8] = b"Forwarded";
/// Octets of what we say of one hop: an IPv6 address has at most 45.
const LONGEST_ELEMENT: usize = 80;

/// Which of the two conventions.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Convention {
    /// `X-Forwarded-For` and `X-Forwarded-Proto`.
    #[default]
    XForwarded,
    /// `Forwarded` (RFC 7239).
    Forwarded,
}

/// What servers are told.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Told {
    XForwarded,
    Forwarded,
    #[default]
    Both,
}

/// Whom we believe, and what we say.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Trust {
    /// Who is believed when it says who came to it. Nobody unless listed.
    pub proxies: Vec<IpNet>,
    /// How they say it: one of the two, as what somebody writes in the other would be believed too.
    pub believed: Convention,
    pub told: Told,
}

/// Whom a request is from.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Client {
    pub address: IpAddr,
    /// What the client speaks to whoever is first in front of it.
    pub scheme: Scheme,
}

impl Trust {
    pub fn trusts(&self, peer: IpAddr) -> bool {
        let peer = peer.to_canonical();
        self.proxies.iter().any(|net| net.contains(&peer))
    }

    /// Who sent a request that came from `peer` over `scheme`.
    pub fn client(&self, peer: IpAddr, scheme: Scheme, fields: &Fields) -> Client {
        let peer = Client { address: peer.to_canonical(), scheme };
        if !self.trusts(peer.address) {
            return peer;
        }
        match self.believed {
            Convention::XForwarded => {
                let client = self.first_untrusted(peer, x_forwarded_for(fields));
                Client { scheme: x_forwarded_proto(fields).unwrap_or(scheme), ..client }
            }
            Convention::Forwarded => {
                let hops = forwarded(fields).unwrap_or_default();
                self.first_untrusted(peer, hops.into_iter().rev())
            }
        }
    }

    /// Tells the server who sent the request, which is `client` by [`Trust::client`], and takes out what it must
    /// not believe.
    ///
    /// A trusted proxy's chain goes on with the proxy behind it, in the convention that it is believed in. In
    /// the other one the chain is made anew, of the client and the proxy.
    pub fn tell(&self, peer: IpAddr, scheme: Scheme, client: Client, fields: &mut Fields) {
        let peer = Client { address: peer.to_canonical(), scheme };
        let is_trusted = self.trusts(peer.address);
        let believes = |convention| is_trusted && self.believed == convention;
        let (says_x, says_forwarded) = match self.told {
            Told::XForwarded => (true, false),
            Told::Forwarded => (false, true),
            Told::Both => (true, true),
        };
        let keeps_x = says_x && believes(Convention::XForwarded);
        let keeps_forwarded =
            says_forwarded && believes(Convention::Forwarded) && forwarded(fields).is_some();
        fields.retain(|name, _| match Kind::of(name) {
            Kind::Other => true,
            Kind::For => keeps_x,
            Kind::Forwarded => keeps_forwarded,
            Kind::Proto => says_x,
            Kind::Beside => is_trusted,
            Kind::LookAlike => false,
        });
        let made = [client, peer];
        let chain =
            |keeps| if keeps || client.address == peer.address { &made[1..] } else { &made };
        let (mut written, room) = (Ok(()), &mut [0; LONGEST_ELEMENT]);
        if says_x {
            for hop in chain(keeps_x) {
                let address = text(room, format_args!("{}", hop.address));
                written = written.and(fields.extend(FOR, address));
            }
            written = written.and(fields.set(PROTO, client.scheme.text().as_bytes()));
        }
        if says_forwarded {
            for hop in chain(keeps_forwarded) {
                written = written.and(fields.extend(FORWARDED, element(room, *hop)));
            }
        }
        written.expect("addresses and schemes can stand in a field");
    }

    /// The right-most hop that is not trusted; if all are, or one makes no sense, the last that a trusted one
    /// told of.
    fn first_untrusted(&self, peer: Client, hops: impl Iterator<Item = Hop>) -> Client {
        let mut client = peer;
        for hop in hops.take(MOST_HOPS) {
            let Some(address) = hop.address else { break };
            client = Client { address, scheme: hop.scheme.unwrap_or(client.scheme) };
            if !self.trusts(address) {
                break;
            }
        }
        client
    }
}

/// What one proxy says of who came to it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Hop {
    /// `None` if it does not say, or nothing that can be read.
    address: Option<IpAddr>,
    scheme: Option<Scheme>,
}

/// What a field is to whom a request is from.
enum Kind {
    For,
    Proto,
    Forwarded,
    /// Something else that proxies say of the request: what it was sent to.
    Beside,
    /// A name that a gateway which writes `-` as `_` takes for one of these.
    LookAlike,
    Other,
}

impl Kind {
    fn of(name: &[u8]) -> Self {
        const PREFIX: &[u8] = b"x-forwarded-";
        const REAL_IP: &[u8] = b"x-real-ip";
        let is_same = |one: &[u8], other: &[u8]| {
            one.len() == other.len()
                && one.iter().zip(other).all(|(one, other)| {
                    one.eq_ignore_ascii_case(other) || (*one == b'_' && *other == b'-')
                })
        };
        let has_prefix = name.get(..PREFIX.len()).is_some_and(|start| is_same(start, PREFIX));
        match name {
            _ if name.eq_ignore_ascii_case(FORWARDED) => Self::Forwarded,
            _ if !has_prefix && !is_same(name, REAL_IP) => Self::Other,
            _ if name.contains(&b'_') => Self::LookAlike,
            _ if name.eq_ignore_ascii_case(FOR) => Self::For,
            _ if name.eq_ignore_ascii_case(PROTO) => Self::Proto,
            _ => Self::Beside,
        }
    }
}

/// The last hop first.
fn x_forwarded_for(fields: &Fields) -> impl Iterator<Item = Hop> {
    let lists = fields.all(FOR).rev();
    let elements =
        lists.flat_map(|list| list.rsplit(|octet| *octet == b',')).map(<[u8]>::trim_ascii);
    elements
        .filter(|element| !element.is_empty())
        .map(|element| Hop { address: address_in(element), scheme: None })
}

/// What a trusted proxy says the client speaks; nothing if it does not say one thing.
fn x_forwarded_proto(fields: &Fields) -> Option<Scheme> {
    let mut said = fields.all(PROTO);
    let scheme = scheme_in(said.next()?)?;
    said.next().is_none().then_some(scheme)
}

fn scheme_in(text: &[u8]) -> Option<Scheme> {
    [Scheme::Http, Scheme::Https]
        .into_iter()
        .find(|scheme| text.eq_ignore_ascii_case(scheme.text().as_bytes()))
}

/// An address as proxies write them: alone, with a port, in brackets, in brackets with a port.
fn address_in(text: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(text).ok()?;
    let address = match text.strip_prefix('[') {
        Some(rest) => {
            let (address, port) = rest.split_once(']')?;
            let is_port = port.is_empty() || port.strip_prefix(':').is_some_and(is_port);
            IpAddr::V6(address.parse::<Ipv6Addr>().ok().filter(|_| is_port)?)
        }
        None => match text.split_once(':') {
            Some((address, port)) if is_port(port) => IpAddr::V4(address.parse::<Ipv4Addr>().ok()?),
            _ => text.parse().ok()?,
        },
    };
    Some(address.to_canonical())
}

/// A port, or the name that hides one (RFC 7239 §6).
fn is_port(text: &str) -> bool {
    let is_hidden = |name: &str| {
        !name.is_empty()
            && name.bytes().all(|octet| octet.is_ascii_alphanumeric() || b"._-".contains(&octet))
    };
    match text.strip_prefix('_') {
        Some(name) => is_hidden(name),
        None => text.bytes().all(|octet| octet.is_ascii_digit()) && text.parse::<u16>().is_ok(),
    }
}

/// All hops, the first first; `None` if the fields are malformed: then nobody can say which element is whose.
fn forwarded(fields: &Fields) -> Option<Vec<Hop>> {
    let mut hops = vec![];
    for list in fields.all(FORWARDED) {
        let mut rest = list;
        loop {
            let (hop, after) = forwarded_element(rest)?;
            hops.extend(hop);
            match after {
                [] => break,
                [b',', after @ ..] => rest = after,
                _ => return None,
            }
        }
    }
    Some(hops)
}

/// One element of Forwarded (RFC 7239 §4), and what stands behind it; no hop if it is empty.
fn forwarded_element(octets: &[u8]) -> Option<(Option<Hop>, &[u8])> {
    let mut rest = octets.trim_ascii_start();
    let mut hop = Hop { address: None, scheme: None };
    let (mut pairs, mut fors, mut protos) = (0, 0, 0);
    loop {
        if matches!(rest, [] | [b',', ..]) {
            return Some(((pairs > 0).then_some(hop), rest));
        }
        let (name, after) = token(rest)?;
        let (value, after) = value(after.strip_prefix(b"=")?)?;
        pairs += 1;
        if name.eq_ignore_ascii_case(b"for") {
            fors += 1;
            hop.address = address_in(&value);
        } else if name.eq_ignore_ascii_case(b"proto") {
            protos += 1;
            hop.scheme = scheme_in(&value);
        }
        if fors > 1 || protos > 1 {
            return None;
        }
        rest = after.trim_ascii_start();
        match rest {
            [b';', after @ ..] => rest = after.trim_ascii_start(),
            [] | [b',', ..] => {}
            _ => return None,
        }
    }
}

fn token(octets: &[u8]) -> Option<(&[u8], &[u8])> {
    let ends = |octet: &u8| b"()<>@,;:\\\"/[]?={} \t".contains(octet) || !octet.is_ascii_graphic();
    let end = octets.iter().position(ends).unwrap_or(octets.len());
    (end > 0).then(|| octets.split_at(end))
}

/// A token, or what a quoted string says.
fn value(octets: &[u8]) -> Option<(Cow<'_, [u8]>, &[u8])> {
    let Some(mut rest) = octets.strip_prefix(b"\"") else {
        return token(octets).map(|(token, rest)| (token.into(), rest));
    };
    let mut text = vec![];
    loop {
        match rest {
            [b'"', after @ ..] => return Some((text.into(), after)),
            [b'\\', octet, after @ ..] | [octet, after @ ..] => {
                text.push(*octet);
                rest = after;
            }
            [] => return None,
        }
    }
}

/// An element of Forwarded. An IPv6 address is in brackets and quotes, for its colons (RFC 7239 §6).
fn element(room: &mut [u8; LONGEST_ELEMENT], hop: Client) -> &[u8] {
    let scheme = hop.scheme.text();
    match hop.address {
        IpAddr::V4(address) => text(room, format_args!("for={address};proto={scheme}")),
        IpAddr::V6(address) => text(room, format_args!("for=\"[{address}]\";proto={scheme}")),
    }
}

/// Text in room that there is already: this is done for each request.
fn text<'r>(room: &'r mut [u8; LONGEST_ELEMENT], text: std::fmt::Arguments<'_>) -> &'r [u8] {
    let mut rest = &mut room[..];
    rest.write_fmt(text).expect("the room is for the longest");
    let left = rest.len();
    &room[..LONGEST_ELEMENT - left]
}

#[cfg(test)]
mod tests;
