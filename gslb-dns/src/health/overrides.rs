//! What an operator has said of sites: forced states, drains and weights.
//!
//! Pure: `config::overrides` reads the file, `health::board` applies it.

use std::fmt;

use jiff::Timestamp;

use super::board::Health;
use crate::world::{Service, Site, World};

/// One thing an operator said. Of those that match and are in force, the last in the file wins
/// for each kind.
#[derive(Clone, Debug, Eq, PartialEq)]
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

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Order {
    Force(Health),
    Drain,
    Undrain,
    Weight(u32),
}

/// A shell pattern over names: `*` is any run of characters, `?` any one.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Glob(Box<str>);

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
        self.since <= now && self.until.is_none_or(|until| now < until)
    }
}

impl Glob {
    pub fn new(pattern: &str) -> Glob {
        Glob(pattern.to_ascii_lowercase().into())
    }

    pub fn any() -> Glob {
        Glob::new("*")
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
