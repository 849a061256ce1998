//! A virtual router of this box, and the service that runs all of them. Types only.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::ServerCheck;
use crate::vrrp::advert::{Interval, Priority, Version, Vrid};
use crate::vrrp::machine::settings::{Preempt, Refresh, Weight};
use crate::vrrp::packet::auth::{KeyId, Mode};
use crate::vrrp::packet::replay::Freshness;
use crate::vrrp::packet::{Accepted, Family, Form, Password};

/// What `site-agent vrrp run` needs of a site.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Redundancy {
    pub service: Service,
    /// By name.
    pub routers: Vec<VirtualRouter>,
}

/// Where the service is spoken to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Service {
    /// Where people ask and order: a Unix socket.
    pub socket: PathBuf,
    /// Where balancers of this box say that they serve: another one.
    pub balancer_socket: PathBuf,
    /// Where metrics are read.
    pub listen: Option<SocketAddr>,
    /// A program that is told of each change of role.
    pub notify: Option<PathBuf>,
}

/// One virtual router.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct VirtualRouter {
    pub name: Arc<str>,
    pub interface: Arc<str>,
    pub vrid: Vrid,
    pub priority: Priority,
    /// Of the first VIP: that in which adverts go.
    pub family: Family,
    /// All that are put on the interface, in the order of the config. None is there twice.
    pub vips: Vec<Vip>,
    /// What we speak.
    pub version: Version,
    /// What we listen to.
    pub accepted: Accepted,
    pub interval: Interval,
    pub reach: Reach,
    /// What our adverts are sent from, where that is configured: else the interface's first address.
    pub source: Option<IpAddr>,
    pub preempt: Preempt,
    pub refresh: Refresh,
    /// Their places are their ids.
    pub tracks: Vec<Track>,
    /// Whether the VIPs are nothing without a balancer of this box that serves.
    pub needs_balancer: bool,
    /// One of these has to be seen before we are Active; nobody has to, where there are none.
    pub witnesses: Vec<Ipv4Addr>,
    pub checksum: Checksum,
    pub authentication: Authentication,
}

/// What is watched besides, and what it does.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Track {
    pub name: Arc<str>,
    pub watched: Watched,
    pub weight: Weight,
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Watched {
    /// It passes while this interface is up and has a carrier.
    Interface(Arc<str>),
    Check(Box<ServerCheck>),
}

/// An address, and how long the prefix of its network is.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Vip {
    pub address: IpAddr,
    pub prefix: u8,
}

impl Vip {
    /// Whether it stands for a network of IPv4, or for all of its hosts. In one of two both are hosts (RFC 3021).
    pub fn is_of_many(self) -> bool {
        let IpAddr::V4(address) = self.address else { return false };
        let hosts = u32::MAX.checked_shr(self.prefix.into()).unwrap_or(0);
        hosts > 1 && [0, hosts].contains(&(address.to_bits() & hosts))
    }
}

/// How adverts go and come.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Reach {
    Multicast,
    Unicast { peers: Vec<IpAddr>, lowest_hop_limit: u8 },
}

/// Which checksum our adverts have, of version 3 over IPv4.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Checksum {
    /// That of whom we heard last; before that, keepalived's.
    #[default]
    AsHeard,
    Always(Form),
}

/// What shows whose an advert is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Authentication {
    None,
    /// In clear: keeps slips away, nobody else.
    Password(Password),
    Signature(Signature),
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Signature {
    pub signing: (KeyId, Secret),
    /// That are believed as well.
    pub others: Vec<(KeyId, Secret)>,
    pub mode: Mode,
    pub freshness: Freshness,
}

/// Octets of a key, which nobody is shown.
#[derive(Clone, Eq, PartialEq)]
pub struct Secret(pub Arc<[u8]>);

impl fmt::Debug for Secret {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Secret")
    }
}

impl fmt::Display for Vip {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}/{}", self.address, self.prefix)
    }
}

impl VirtualRouter {
    /// Whether an address is one of its VIPs.
    pub fn has(&self, address: IpAddr) -> bool {
        self.vips.iter().any(|vip| vip.address == address)
    }

    /// Those of its own family, which stand in its adverts.
    pub fn advertised(&self) -> impl Iterator<Item = IpAddr> {
        let addresses = self.vips.iter().map(|vip| vip.address);
        addresses.filter(|address| Family::of(*address) == self.family)
    }

    /// For how long the kernel keeps addresses that nobody asks for any more: whole seconds, as it counts.
    pub const LIFETIME: Duration = Duration::from_secs(2);
}
