//! Who watches the sites of services, what they look at, and what it takes to believe them.
//!
//! Part of the world: written by operators, checked by `config`, trusted by `verdict`.

use std::net::IpAddr;

use geoip::Place;

use crate::verdict::Share;
use crate::verdict::quorum::Quorum;

/// Vantages of a world: as many as a `Tally` counts without overflow.
pub const MOST_VANTAGES: usize = 64;
/// Checks that one service may ask for.
pub const MOST_CHECKS: usize = 16;

/// A place of the world from which a probe looks.
#[derive(Clone, Debug)]
pub struct Vantage {
    /// As its certificate has it.
    pub name: Box<str>,
    pub place: Place,
    /// The number of its failure domain: its own, unless it shares one.
    pub domain: usize,
}

/// How the sites of a service are watched.
#[derive(Clone, Debug)]
pub struct Watch {
    /// By candidate, in the service's order; then by VIP.
    pub candidates: Vec<Vec<WatchedVip>>,
    pub combine: Combine,
    pub quorum: Quorum,
    /// Of the service's capacity, what probes alone may take out.
    pub max_removed: Share,
}

/// One address of a candidate.
#[derive(Clone, Debug)]
pub struct WatchedVip {
    /// `None` for a CNAME, which each vantage resolves for itself.
    pub address: Option<IpAddr>,
    /// Indices into the world's targets, a target for each check.
    pub targets: Vec<usize>,
}

/// What several checks of one address come to.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Combine {
    /// Each must pass.
    All,
    /// One is enough.
    Any,
}
