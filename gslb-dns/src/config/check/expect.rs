//! Policy tests as they are written, and what they mean once sites have ids.

use common::names::listed;

use crate::config::closest::advice;
use crate::config::file;
use crate::config::problems::{Problem, Problems, Spot};
use crate::config::read::{At, List};
use crate::health::supposition::Supposition;
use crate::ids::{ServiceId, SiteId};
use crate::policy::Expectation;
use crate::site_set::SiteSet;
use crate::world::Site;

use super::names::Named;

/// A policy test, and where its sites are written.
#[derive(Debug)]
pub struct Stated {
    pub expectation: Expectation,
    pub spot: Spot,
}

/// The tests of one service whose sites are known, whatever else is wrong with it.
pub fn expectations(
    raw: &[Option<At<file::Expect>>],
    (id, candidates): (ServiceId, &[SiteId]),
    sites: &Named<Site>,
    problems: &mut Problems,
) -> Vec<Stated> {
    let named = |index: u16| sites.at(index.into()).map(|site| &*site.name);
    let candidates: Vec<&str> = candidates.iter().filter_map(|site| named(site.0)).collect();
    let mut stated = Vec::new();
    for At { value: raw, spot: _ } in raw.iter().flatten() {
        let file::Expect { from, when, sites } = raw;
        let when = when.as_ref().and_then(|when| match when {
            Some(when) => suppositions(when, &candidates, problems),
            None => Some(vec![]),
        });
        let among = sites.as_ref().and_then(|sites| among(&sites.value, &candidates, problems));
        if let (Some(from), Some(when), Some(sites), Some(among)) = (from, when, sites, among) {
            let expectation = Expectation { service: id, from: from.value.0, when, sites: among };
            stated.push(Stated { expectation, spot: sites.spot.clone() });
        }
    }
    stated
}

fn suppositions(
    raw: &file::When,
    known: &[&str],
    problems: &mut Problems,
) -> Option<Vec<Supposition>> {
    let file::When { up, down, unknown, drained, undrained } = raw;
    // A table has no order, so this is the order in which each outweighs those before.
    let states = [
        ("down", down),
        ("unknown", unknown),
        ("up", up),
        ("drained", drained),
        ("undrained", undrained),
    ];
    let mut all = Vec::new();
    let mut is_sound = true;
    for (state, sites) in states {
        is_sound &= sites.is_some();
        let Some(Some(sites)) = sites else { continue };
        for site in sites {
            let read = site.as_ref().and_then(|site| problems.one(supposition(state, site, known)));
            is_sound &= read.is_some();
            all.extend(read);
        }
    }
    is_sound.then_some(all)
}

/// A pattern that no site matches would test something else than what was meant.
fn supposition(state: &str, site: &At<String>, known: &[&str]) -> Result<Supposition, Problem> {
    let text = format!("{state}={}", site.value);
    let supposition: Supposition =
        text.parse().map_err(|_| site.spot.problem("is empty (expected a site or a pattern)"))?;
    match known.iter().any(|name| supposition.concerns(name)) {
        true => Ok(supposition),
        false => Err(unknown(site, known)),
    }
}

fn among(
    sites: &List<At<String>>,
    candidates: &[&str],
    problems: &mut Problems,
) -> Option<SiteSet> {
    let find = |site: &At<String>| {
        let index = candidates.iter().position(|name| *name == site.value);
        index.ok_or_else(|| unknown(site, candidates))
    };
    let found: Vec<usize> =
        sites.iter().flatten().filter_map(|site| problems.one(find(site))).collect();
    (found.len() == sites.len()).then(|| found.into_iter().collect())
}

fn unknown(site: &At<String>, known: &[&str]) -> Problem {
    let guess = advice(&site.value, known.iter().copied());
    let known = listed("sites", known.iter().copied());
    site.spot.problem(format!("no site of this service named {:?}{guess} ({known})", site.value))
}
