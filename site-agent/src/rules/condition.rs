//! A condition compiled: what is left to do for each request.

use std::net::IpAddr;

use ipnet::IpNet;
use regex::bytes::Regex;

use super::Request;
use super::fact::{Fact, Value};
use super::tree::Comparison;

#[derive(Clone, Debug)]
pub enum Test {
    Is(bool),
    All(Box<[Test]>),
    Any(Box<[Test]>),
    Not(Box<Test>),
    IsTls,
    Src(Box<[IpNet]>),
    Port(Comparison, u16),
    PortIn(Box<[u16]>),
    /// That some value of it is so.
    Text(Fact, Match),
    /// One of them has one value at most.
    Same(Fact, Comparison, Fact),
}

/// Octets of a constant.
pub type Octets = Box<[u8]>;

#[derive(Clone, Debug)]
pub enum Match {
    There,
    Compare(Comparison, Octets),
    OneOf(Box<[Octets]>),
    /// An item of a list with commas is one of these, in any case.
    Item(Box<[Octets]>),
    Prefix(Box<[Octets]>),
    /// One of these names, or below it.
    Below(Box<[Suffix]>),
    Regex(Regex),
}

#[derive(Clone, Debug)]
pub struct Suffix {
    /// In lower case, without a dot before it.
    pub name: Octets,
    /// Whether the name itself is meant too, and not only those below it.
    pub with_itself: bool,
}

impl Test {
    pub fn holds(&self, request: &Request<'_>) -> bool {
        match self {
            Test::Is(is) => *is,
            Test::All(tests) => tests.iter().all(|test| test.holds(request)),
            Test::Any(tests) => tests.iter().any(|test| test.holds(request)),
            Test::Not(test) => !test.holds(request),
            Test::IsTls => request.is_tls,
            Test::Src(networks) => {
                // A listener of both families shows an IPv4 client as one of IPv6.
                let src: IpAddr = request.src.to_canonical();
                networks.iter().any(|network| network.contains(&src))
            }
            Test::Port(comparison, port) => comparison.holds(request.port.cmp(port)),
            Test::PortIn(ports) => ports.contains(&request.port),
            Test::Text(fact, wanted) => fact.any(request, &mut |value| wanted.holds(value)),
            Test::Same(left, comparison, right) => left.any(request, &mut |value| {
                right.any(request, &mut |other| comparison.holds(value.order_of(other)))
            }),
        }
    }
}

impl Match {
    fn holds(&self, value: Value<'_>) -> bool {
        match self {
            Match::There => true,
            Match::Compare(Comparison::Equal, constant) => value.is(constant),
            Match::Compare(comparison, constant) => comparison.holds(value.order(constant)),
            Match::OneOf(constants) => constants.iter().any(|constant| value.is(constant)),
            Match::Item(constants) => value
                .items()
                .any(|item| constants.iter().any(|constant| item.eq_ignore_ascii_case(constant))),
            Match::Prefix(prefixes) => {
                prefixes.iter().any(|prefix| value.octets.starts_with(prefix))
            }
            Match::Below(suffixes) => suffixes.iter().any(|suffix| suffix.holds(value.octets)),
            Match::Regex(regex) => regex.is_match(value.octets),
        }
    }
}

impl Suffix {
    fn holds(&self, name: &[u8]) -> bool {
        let Some(before) = name.len().checked_sub(self.name.len()) else { return false };
        let (above, end) = name.split_at(before);
        end.eq_ignore_ascii_case(&self.name)
            && (above.ends_with(b".") || self.with_itself && above.is_empty())
    }
}

impl Comparison {
    fn holds(self, order: std::cmp::Ordering) -> bool {
        match self {
            Comparison::Equal => order.is_eq(),
            Comparison::NotEqual => order.is_ne(),
            Comparison::Less => order.is_lt(),
            Comparison::LessOrEqual => order.is_le(),
            Comparison::More => order.is_gt(),
            Comparison::MoreOrEqual => order.is_ge(),
        }
    }
}
