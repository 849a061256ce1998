//! The data of HTTPS and SVCB records that steering fills in (RFC 9460 §2.2).
//!
//! What the config says is rendered when the world is made; a query adds the priority, and the addresses
//! as hints where they depend on who asks. Built by `config`, written by `answer`. Allocates nothing to
//! write.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};

use crate::name::Name;

/// Octets of the parameters that a config may write for one record: beside the longest name they leave a
/// datagram room for the hints.
pub const MAX_PARAMS: usize = 512;

/// A SvcParamKey (RFC 9460 §14.3.2). How values stand in text is known by `zone::master`.
#[derive(Clone, Copy, Eq, Ord, PartialEq, PartialOrd)]
pub struct Key(pub u16);

impl Key {
    pub const MANDATORY: Key = Key(0);
    pub const ALPN: Key = Key(1);
    pub const NO_DEFAULT_ALPN: Key = Key(2);
    pub const PORT: Key = Key(3);
    pub const IPV4HINT: Key = Key(4);
    pub const ECH: Key = Key(5);
    pub const IPV6HINT: Key = Key(6);
    /// RFC 9461 §5.
    pub const DOHPATH: Key = Key(7);
    /// RFC 9540 §4.
    pub const OHTTP: Key = Key(8);
}

/// What a service answers to HTTPS, or to SVCB.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Binding {
    /// Of the record that leads to the service's own name.
    pub params: Params,
    /// The sites' own names, if they have them: then records lead there.
    pub targets: Option<Targets>,
}

/// What each site has besides the service: a name that leads to it alone.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Targets {
    /// Sites that one answer lists, best first; fewer is fine.
    pub alternatives: u8,
    /// By candidate, the data of its record behind the priority.
    pub data: Vec<Box<[u8]>>,
}

/// Parameters on the wire, in two places parted where hints stand: keys ascend.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Params {
    before_ipv4hint: Box<[u8]>,
    before_ipv6hint: Box<[u8]>,
    behind: Box<[u8]>,
}

/// The root as a ServiceMode target: the record's own owner (RFC 9460 §2.5.2).
pub const OWNER: &[u8] = &[0];

impl Params {
    /// From values in wire form; hints are none of them.
    pub fn new<'v>(values: impl IntoIterator<Item = (Key, &'v [u8])>) -> Params {
        let values: BTreeMap<Key, &[u8]> = values.into_iter().collect();
        let part = |from: Key, to: Key| -> Box<[u8]> {
            let mut part = Vec::new();
            for (key, value) in values.range(from..to) {
                part.extend(key.0.to_be_bytes());
                part.extend((value.len() as u16).to_be_bytes());
                part.extend_from_slice(value);
            }
            part.into()
        };
        Params {
            before_ipv4hint: part(Key::MANDATORY, Key::IPV4HINT),
            before_ipv6hint: part(Key::ECH, Key::IPV6HINT),
            behind: part(Key::DOHPATH, Key(u16::MAX)), // Which is no key.
        }
    }

    /// Octets of all of them.
    pub fn length(&self) -> usize {
        self.before_ipv4hint.len() + self.before_ipv6hint.len() + self.behind.len()
    }

    /// Gives `put` the data of a record behind its priority, in order: target, parameters and hints.
    pub fn write<E>(
        &self,
        target: &[u8],
        ipv4hint: impl Iterator<Item = Ipv4Addr> + Clone,
        ipv6hint: impl Iterator<Item = Ipv6Addr> + Clone,
        put: &mut impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        put(target)?;
        put(&self.before_ipv4hint)?;
        hint(Key::IPV4HINT, ipv4hint.map(|address| address.octets()), put)?;
        put(&self.before_ipv6hint)?;
        hint(Key::IPV6HINT, ipv6hint.map(|address| address.octets()), put)?;
        put(&self.behind)
    }

    /// The same as a whole, for a site whose addresses are known when the world is made.
    pub fn render(&self, target: &Name, v4: &[Ipv4Addr], v6: &[Ipv6Addr]) -> Box<[u8]> {
        let mut data = Vec::new();
        let mut put = |octets: &[u8]| -> Result<(), std::convert::Infallible> {
            data.extend_from_slice(octets);
            Ok(())
        };
        let Ok(()) = self.write(target.wire(), v4.iter().copied(), v6.iter().copied(), &mut put);
        data.into()
    }
}

/// A hint without an address is none (RFC 9460 §7.3).
fn hint<const OCTETS: usize, E>(
    key: Key,
    addresses: impl Iterator<Item = [u8; OCTETS]> + Clone,
    put: &mut impl FnMut(&[u8]) -> Result<(), E>,
) -> Result<(), E> {
    // More than 65,535 octets are more than a message holds, so `put` ends it before their length matters.
    let length = addresses.clone().count() * OCTETS;
    if length == 0 {
        return Ok(());
    }
    put(&key.0.to_be_bytes())?;
    put(&(length as u16).to_be_bytes())?;
    addresses.into_iter().try_for_each(|address| put(&address))
}
