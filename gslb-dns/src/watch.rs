//! Who watches the sites of services, what they look at, and what it takes to believe them.
//!
//! Part of the world: written by operators, checked by `config`, trusted by `verdict`.

use std::collections::HashSet;
use std::net::IpAddr;

use geoip::{Continent, Place};

use crate::verdict::Share;
use crate::verdict::quorum::Quorum;
use crate::verdict::tally::MOST_VOICES;

/// Vantages of a world: as many as a `Tally` counts without overflow.
pub const MOST_VANTAGES: usize = MOST_VOICES;
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

/// Of a region's vantages, so many must see alike before its clients are treated by themselves; as many failure
/// domains: one building is no region.
pub const LEAST_OF_REGION: usize = 2;

/// Parts of the world that vantages stand in: the continents of their places.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub struct Regions(u8);

/// How the sites of a service are watched.
#[derive(Clone, Debug)]
pub struct Watch {
    /// By candidate, in the service's order; then by VIP.
    pub candidates: Vec<Vec<WatchedVip>>,
    pub combine: Combine,
    pub quorum: Quorum,
    /// Of the service's capacity, what probes alone may take out.
    pub max_removed: Share,
    /// Whose clients may lose a site by themselves.
    pub regions: Regions,
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

impl Regions {
    pub const NONE: Regions = Regions(0);

    /// Those with vantages enough to speak for their clients, where others stand outside: what all lose alike is
    /// down, not lost to a region.
    pub fn of(vantages: &[Vantage]) -> Regions {
        let speaks = |region: Continent| {
            let within: Vec<&Vantage> =
                vantages.iter().filter(|one| one.place.continent == Some(region)).collect();
            let domains: HashSet<usize> = within.iter().map(|one| one.domain).collect();
            domains.len() >= LEAST_OF_REGION && within.len() < vantages.len()
        };
        Continent::ALL.into_iter().filter(|region| speaks(*region)).collect()
    }

    pub fn contains(self, region: Continent) -> bool {
        self.0 >> region as u8 & 1 == 1
    }

    pub fn is_empty(self) -> bool {
        self == Regions::NONE
    }

    /// By name.
    pub fn iter(self) -> impl Iterator<Item = Continent> {
        Continent::ALL.into_iter().filter(move |region| self.contains(*region))
    }

    /// Those in both.
    #[must_use]
    pub fn and(self, other: Regions) -> Regions {
        Regions(self.0 & other.0)
    }

    /// Those in either.
    #[must_use]
    pub fn or(self, other: Regions) -> Regions {
        Regions(self.0 | other.0)
    }
}

impl FromIterator<Continent> for Regions {
    fn from_iter<I: IntoIterator<Item = Continent>>(regions: I) -> Regions {
        Regions(regions.into_iter().fold(0, |bits, region| bits | 1 << region as u8))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(vantages: &str, expected: &str) {
        let vantages = vantages.split_whitespace().map(|word| {
            let (region, domain) = word.split_once('/').unwrap();
            let place = Place { continent: region.parse().ok(), ..Place::default() };
            Vantage { name: word.into(), place, domain: domain.parse().unwrap() }
        });
        let regions = Regions::of(&vantages.collect::<Vec<_>>());
        let codes: Vec<&str> = regions.iter().map(Continent::code).collect();
        assert_eq!(codes.join(" "), expected);
    }

    #[test]
    fn a_region_has_two_vantages_of_two_domains_and_others_outside() {
        check("EU/0 EU/1 NA/2", "EU");
        check("EU/0 EU/1 NA/2 NA/3 AS/4", "EU NA");
        check("EU/0 EU/0 NA/2", "");
        check("EU/0 NA/1 AS/2", "");
        check("EU/0 EU/1", "");
        check("??/0 ??/1 NA/2", "");
        check("", "");
    }
}
