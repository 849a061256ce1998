//! What a request has that is text: no, one or several values, read where they stand.

use std::cmp::Ordering;

use super::path::octet;
use super::{Http, Request};

#[derive(Clone, Debug)]
pub enum Fact {
    Method,
    Host,
    Path,
    Sni,
    /// In lower case.
    Header(Box<str>),
    Query(Box<[u8]>),
    Cookie(Box<[u8]>),
}

/// One value.
#[derive(Clone, Copy, Debug)]
pub struct Value<'v> {
    pub octets: &'v [u8],
    spelling: Spelling,
}

/// How octets are to be taken.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Spelling {
    Exact,
    /// ASCII letters of either case are the same.
    AnyCase,
    /// As forms are sent: `+` is a space, `%41` an A.
    Form,
}

/// A value octet by octet.
#[derive(Clone)]
struct Octets<'v> {
    rest: &'v [u8],
    spelling: Spelling,
}

impl Fact {
    /// Whether it has a value of which this is so.
    pub fn any(&self, request: &Request<'_>, is_so: &mut dyn FnMut(Value<'_>) -> bool) -> bool {
        if let Fact::Sni = self {
            return request.sni.is_some_and(|sni| is_so(name(without_dot(sni))));
        }
        let Some(http) = &request.http else { return false };
        match self {
            Fact::Method => is_so(exact(http.method)),
            Fact::Host => http.host.is_some_and(|host| is_so(name(host_name(host)))),
            Fact::Path => is_so(exact(http.path.octets())),
            Fact::Header(header) => (http.headers)(header, &mut |value| is_so(exact(value))),
            Fact::Query(wanted) => parameters(http.query, wanted).any(is_so),
            Fact::Cookie(wanted) => any_cookie(http, wanted, is_so),
            Fact::Sni => false,
        }
    }

    /// Whether it has one value at most.
    pub fn is_single(&self) -> bool {
        match self {
            Fact::Method | Fact::Host | Fact::Path | Fact::Sni => true,
            Fact::Header(_) | Fact::Query(_) | Fact::Cookie(_) => false,
        }
    }
}

/// The name alone: no port, no final dot.
fn host_name(host: &[u8]) -> &[u8] {
    without_dot(without_port(host))
}

/// Of `Host` or `:authority`: what stands before the port.
pub fn without_port(host: &[u8]) -> &[u8] {
    let end = match host.first() {
        Some(b'[') => host.iter().position(|octet| *octet == b']').map(|bracket| bracket + 1),
        _ => host.iter().position(|octet| *octet == b':'),
    };
    &host[..end.unwrap_or(host.len())]
}

/// Whether a server name is that of a `Host` or `:authority`.
pub fn is_same_host(sni: &[u8], host: &[u8]) -> bool {
    without_dot(sni).eq_ignore_ascii_case(host_name(host))
}

fn without_dot(name: &[u8]) -> &[u8] {
    name.strip_suffix(b".").unwrap_or(name)
}

/// Every value of a parameter in a query.
fn parameters<'q>(query: &'q [u8], wanted: &[u8]) -> impl Iterator<Item = Value<'q>> {
    let pairs = query.split(|octet| *octet == b'&').map(|pair| cut(pair, b'='));
    let form = |octets| Value { octets, spelling: Spelling::Form };
    pairs.filter(move |(name, _)| form(name).is(wanted)).map(move |(_, value)| form(value))
}

/// The cookies of every line (RFC 6265 §4.2.1).
fn any_cookie(http: &Http<'_>, wanted: &[u8], is_so: &mut dyn FnMut(Value<'_>) -> bool) -> bool {
    (http.headers)("cookie", &mut |line| {
        let pairs = line.split(|octet| *octet == b';');
        // Browsers send a cookie without a name as a value alone: it is nobody's.
        let pairs = pairs.filter(|pair| pair.contains(&b'=')).map(|pair| cut(pair, b'='));
        let mut named = pairs.filter(|(name, _)| name.trim_ascii() == wanted);
        named.any(|(_, value)| is_so(exact(value.trim_ascii())))
    })
}

/// What stands before the first of these, and what behind.
fn cut(octets: &[u8], at: u8) -> (&[u8], &[u8]) {
    match octets.iter().position(|octet| *octet == at) {
        Some(found) => (&octets[..found], &octets[found + 1..]),
        None => (octets, &[]),
    }
}

fn exact(octets: &[u8]) -> Value<'_> {
    Value { octets, spelling: Spelling::Exact }
}

fn name(octets: &[u8]) -> Value<'_> {
    Value { octets, spelling: Spelling::AnyCase }
}

impl<'v> Value<'v> {
    /// A constant is in lower case where the value's case does not count.
    pub fn is(self, constant: &[u8]) -> bool {
        match self.spelling {
            Spelling::Exact => self.octets == constant,
            Spelling::AnyCase => self.octets.eq_ignore_ascii_case(constant),
            Spelling::Form => self.read().eq(constant.iter().copied()),
        }
    }

    /// Octet by octet.
    pub fn order(self, constant: &[u8]) -> Ordering {
        self.read().cmp(constant.iter().copied())
    }

    /// Without regard to case, if either is so.
    pub fn order_of(self, other: Value<'_>) -> Ordering {
        let any_case = [self, other].iter().any(|value| value.spelling == Spelling::AnyCase);
        let fold = |octet: u8| if any_case { octet.to_ascii_lowercase() } else { octet };
        self.read().map(fold).cmp(other.read().map(fold))
    }

    /// The items of a list with commas, without the space around them.
    pub fn items(self) -> impl Iterator<Item = &'v [u8]> {
        self.octets.split(|octet| *octet == b',').map(<[u8]>::trim_ascii)
    }

    fn read(self) -> Octets<'v> {
        Octets { rest: self.octets, spelling: self.spelling }
    }
}

impl Iterator for Octets<'_> {
    type Item = u8;

    fn next(&mut self) -> Option<u8> {
        let (first, after) = self.rest.split_first()?;
        let (read, rest) = match (self.spelling, first, after) {
            (Spelling::AnyCase, letter, _) => (letter.to_ascii_lowercase(), after),
            (Spelling::Form, b'+', _) => (b' ', after),
            (Spelling::Form, b'%', [high, low, beyond @ ..]) => match octet(*high, *low) {
                Some(octet) => (octet, beyond),
                None => (b'%', after),
            },
            (Spelling::Exact | Spelling::Form, octet, _) => (*octet, after),
        };
        self.rest = rest;
        Some(read)
    }
}
