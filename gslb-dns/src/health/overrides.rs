//! What an operator has said of sites: forced states, drains and weights.
//!
//! Pure: `config::overrides` reads the file, `orders` takes commands, `health::board` applies both.

use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

use common::duration;
use common::names::{MOST_KNOWN, few};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::board::Health;
use crate::world::{Service, Site, World};

/// One thing an operator said. Of those that match and are in force, the last wins for each kind (drains
/// add up, until an undrain): those
/// of the file in the file's order, then those given by command in the order of their stamps.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Override {
    pub site: Glob,
    pub service: Glob,
    pub order: Order,
    pub who: Box<str>,
    pub why: Box<str>,
    /// In force from then on.
    pub since: Timestamp,
    /// In force no longer from then on.
    pub until: Option<Timestamp>,
}

#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Order {
    Force(Health),
    /// Ends what was forced.
    Unforce,
    /// Out of service at once, or step by step over so many seconds.
    Drain {
        #[serde(rename = "over_seconds")]
        over: u32,
    },
    Undrain,
    Weight(u32),
    /// Ends a weight: the configured one holds.
    Unweight,
}

/// What of a site an order is about. Orders of different kinds stand beside each other.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Kind {
    Health,
    Duty,
    Weight,
}

/// How far an override has come.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Phase {
    /// Its time has not come, or is over.
    Idle,
    /// A drain under way: so many of `SLOPE` steps are taken, at least one and not all.
    Draining {
        steps: u32,
    },
    Full,
}

/// Steps of a drain that takes time: every name server takes each at the same instant.
pub const SLOPE: u32 = 20;

/// A shell pattern over names: `*` is any run of characters, `?` any one.
#[derive(Clone, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Glob(Box<str>);

/// A pattern that is no site's, or no service's, name: mostly it is misspelt.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("no {of} matches {glob:?} ({of}s: {known})")]
pub struct NoMatch {
    of: &'static str,
    glob: String,
    known: String,
}

/// The part of an override that matches nothing in a world.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Unmatched {
    Site,
    Service,
    /// There are such sites and such services, and none of the sites is one of the services'.
    SiteOfService,
}

impl Override {
    /// Why it can touch nothing, if so: a misspelt site is not drained, and nobody would know.
    pub fn unmatched_in(&self, world: &World) -> Option<Unmatched> {
        let is_meant = |site: &Site| self.site.matches(&site.name);
        if !world.sites.iter().any(is_meant) {
            return Some(Unmatched::Site);
        }
        let mut services = world
            .services
            .iter()
            .filter(|service| self.service.matches(&service.name.to_host()))
            .peekable();
        if services.peek().is_none() {
            return Some(Unmatched::Service);
        }
        let has_one = |service: &Service| {
            service.candidates.iter().any(|candidate| is_meant(world.site(candidate.site)))
        };
        (!services.any(has_one)).then_some(Unmatched::SiteOfService)
    }

    pub fn is_in_force(&self, now: Timestamp) -> bool {
        self.phase(now) != Phase::Idle
    }

    /// Whether its time is past, and not to come.
    pub fn is_over(&self, now: Timestamp) -> bool {
        self.until.is_some_and(|until| until <= now)
    }

    pub fn phase(&self, now: Timestamp) -> Phase {
        if now < self.since || self.is_over(now) {
            return Phase::Idle;
        }
        let Order::Drain { over: over @ 1.. } = self.order else { return Phase::Full };
        let gone = now.duration_since(self.since).as_millis().unsigned_abs();
        // The first step is taken at once: who drains wants to see that something happens.
        let steps = 1 + gone * u128::from(SLOPE) / (u128::from(over) * 1000);
        match u32::try_from(steps) {
            Ok(steps) if steps < SLOPE => Phase::Draining { steps },
            Ok(_) | Err(_) => Phase::Full,
        }
    }
}

/// For each of `all`, in their order: which later one decides instead of it, as far as is plain from their
/// patterns. A drain outranks no drain: they add up.
pub fn outranked(all: &[&Override], now: Timestamp) -> Vec<Option<usize>> {
    let mut later: HashMap<Kind, Vec<usize>> = HashMap::new();
    let mut by: Vec<Option<usize>> = all
        .iter()
        .enumerate()
        .rev()
        .map(|(index, said)| {
            if said.phase(now) == Phase::Idle {
                return None;
            }
            let above = later.entry(said.order.kind()).or_default();
            let by = above.iter().rev().find(|&&later| all[later].outranks(said)).copied();
            above.push(index);
            by
        })
        .collect();
    by.reverse();
    by
}

impl Override {
    fn outranks(&self, earlier: &Override) -> bool {
        let covers = |one: &Glob, other: &Glob| one == other || *one == Glob::any();
        let adds_up =
            matches!((self.order, earlier.order), (Order::Drain { .. }, Order::Drain { .. }));
        covers(&self.site, &earlier.site) && covers(&self.service, &earlier.service) && !adds_up
    }
}

impl Order {
    /// Whether it only ends what was said before.
    pub fn only_ends(self) -> bool {
        match self {
            Order::Undrain | Order::Unforce | Order::Unweight => true,
            Order::Force(_) | Order::Drain { .. } | Order::Weight(_) => false,
        }
    }

    pub fn kind(self) -> Kind {
        match self {
            Order::Force(_) | Order::Unforce => Kind::Health,
            Order::Drain { .. } | Order::Undrain => Kind::Duty,
            Order::Weight(_) | Order::Unweight => Kind::Weight,
        }
    }
}

impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Order::Force(health) => write!(f, "force {health}"),
            Order::Unforce => f.write_str("force auto"),
            Order::Drain { over: 0 } => f.write_str("drain"),
            Order::Drain { over } => {
                write!(f, "drain over {}", duration::shown(Duration::from_secs((*over).into())))
            }
            Order::Undrain => f.write_str("undrain"),
            Order::Weight(weight) => write!(f, "weight {weight}"),
            Order::Unweight => f.write_str("weight auto"),
        }
    }
}

impl Glob {
    pub fn new(pattern: &str) -> Glob {
        Glob(pattern.to_ascii_lowercase().into())
    }

    pub fn any() -> Glob {
        Glob::new("*")
    }

    /// Refuses a pattern that no site of the world matches, and tells those that there are.
    pub fn is_of_some_site(&self, world: &World) -> Result<(), NoMatch> {
        if world.sites.iter().any(|site| self.matches(&site.name)) {
            return Ok(());
        }
        let known = few(world.sites.iter().map(|site| &*site.name), MOST_KNOWN);
        Err(NoMatch { of: "site", glob: self.to_string(), known })
    }

    /// The same of services.
    pub fn is_of_some_service(&self, world: &World) -> Result<(), NoMatch> {
        let names = || world.services.iter().map(|service| service.name.to_host());
        if names().any(|name| self.matches(&name)) {
            return Ok(());
        }
        Err(NoMatch { of: "service", glob: self.to_string(), known: few(names(), MOST_KNOWN) })
    }

    /// Without case, as names are compared.
    pub fn matches(&self, name: &str) -> bool {
        matches(self.0.as_bytes(), name.to_ascii_lowercase().as_bytes())
    }
}

impl fmt::Display for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Greedy match that goes back only to the last `*`: linear in practice, quadratic at worst.
fn matches(pattern: &[u8], name: &[u8]) -> bool {
    let (mut at, mut read) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while read < name.len() {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at, read));
                at += 1;
            }
            Some(&byte) if byte == b'?' || byte == name[read] => {
                at += 1;
                read += 1;
            }
            Some(_) | None => {
                let Some((star_at, taken)) = star else {
                    return false;
                };
                star = Some((star_at, taken + 1));
                at = star_at + 1;
                read = taken + 1;
            }
        }
    }
    pattern[at..].iter().all(|&byte| byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pattern: &str, name: &str, expected: bool) {
        assert_eq!(Glob::new(pattern).matches(name), expected, "{pattern} ~ {name}");
    }

    fn drain(over: u32) -> Override {
        Override {
            site: Glob::new("fra"),
            service: Glob::any(),
            order: Order::Drain { over },
            who: "alice".into(),
            why: "test".into(),
            since: "2026-11-21T10:00:00Z".parse().unwrap(),
            until: Some("2026-11-21T11:00:00Z".parse().unwrap()),
        }
    }

    #[test]
    fn a_drain_takes_its_steps_in_its_time() {
        let check = |over: u32, at: &str, expected: Phase| {
            let at: Timestamp = format!("2026-11-21T{at}Z").parse().unwrap();
            assert_eq!(drain(over).phase(at), expected, "over {over} at {at}");
        };
        check(0, "09:59:59.999", Phase::Idle);
        check(0, "10:00:00", Phase::Full);
        check(600, "10:00:00", Phase::Draining { steps: 1 });
        check(600, "10:00:29.999", Phase::Draining { steps: 1 });
        check(600, "10:00:30", Phase::Draining { steps: 2 });
        check(600, "10:09:29.999", Phase::Draining { steps: 19 });
        check(600, "10:09:30", Phase::Full);
        check(1, "10:00:00.500", Phase::Draining { steps: 11 });
        check(u32::MAX, "10:59:59", Phase::Draining { steps: 1 });
        check(0, "10:59:59.999", Phase::Full);
        check(600, "11:00:00", Phase::Idle);
    }

    #[test]
    fn a_glob_matches_names_without_case() {
        check("fra", "FRA", true);
        check("fra", "fra2", false);
        check("fra*", "fra2", true);
        check("f?a", "fra", true);
        check("*.example.com.", "www.example.com.", true);
        check("*.example.com.", "example.com.", false);
        check("*a*b*", "xxaxxbxx", true);
        check("*a*b", "xxaxxbxx", false);
        check("", "", true);
        check("*", "", true);
    }
}
