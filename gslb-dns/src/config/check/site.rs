//! Sites: where they stand, and their addresses.

use std::collections::HashMap;

use geoip::Place;

use super::agents::{self, Taken};
use super::names::{Named, Names};
use super::{addresses, or, place, within};
use crate::config::file;
use crate::config::problems::{Problem, Problems};
use crate::config::read::{At, Entries};
use crate::ids::DomainId;
use crate::world::{Bias, Capacity, Site, Vips};

/// Sites stand in metrics, logs, overrides and on command lines.
const LONGEST_NAME: usize = 63;
const MOST_CAPACITY: i64 = 1_000_000_000;

pub fn sites(entries: Entries<file::Site>, problems: &mut Problems) -> Named<Site> {
    let names = Names::new(("site", "sites"), &entries);
    let mut lower: HashMap<String, String> = HashMap::new();
    let mut domains: HashMap<String, DomainId> = HashMap::new();
    let mut agents = Taken::new();
    let mut list = Vec::new();
    for (name, raw) in entries.0 {
        let sound_name = problems.one(check_name(&name));
        if let Some(other) = lower.insert(name.value.to_ascii_lowercase(), name.value.clone()) {
            let message = format!(
                "differs from site {other:?} in case alone, and overrides see no case; rename one"
            );
            problems.add(name.spot.problem(message));
        }
        let site = raw.and_then(|raw| site(&name, raw, (&mut domains, &mut agents), problems));
        list.push(sound_name.and(site));
    }
    Named { names, list }
}

fn site(
    name: &At<String>,
    raw: file::Site,
    (domains, taken): (&mut HashMap<String, DomainId>, &mut Taken),
    problems: &mut Problems,
) -> Option<Site> {
    let file::Site { place, vips, domain, agents, capacity, bias } = raw;
    let place = or(place, Place::default(), |place| place::of_site(place, problems));
    let vips = or(vips, Vips::default(), |vips| addresses::vips(&vips, problems));
    let domain = or(domain, None, |domain| {
        // There are no more of them than sites, which ids suffice for.
        let next = DomainId(domains.len() as u16);
        Some(Some(*domains.entry(domain.value).or_insert(next)))
    });
    let agents =
        or(agents, vec![], |written| agents::agents(&name.value, &written, taken, problems));
    let capacity = or(capacity, None, |capacity| {
        problems.one(within(&capacity, 1..=MOST_CAPACITY)).map(|rate| Some(Capacity(rate)))
    });
    let bias = or(bias, Bias::default(), |bias| problems.one(within(&bias, -99..=99)).map(Bias));
    Some(Site {
        name: name.value.as_str().into(),
        place: place?,
        vips: vips?,
        domain: domain?,
        agents: agents?,
        capacity: capacity?,
        bias: bias?,
    })
}

fn check_name(name: &At<String>) -> Result<(), Problem> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let fits = (1..=LONGEST_NAME).contains(&name.value.len());
    if !fits || !name.value.bytes().all(is_plain) {
        return Err(name.spot.problem(format!(
            "{:?} cannot be a site's name (expected 1 to {LONGEST_NAME} letters, digits, \
             \"-\", \"_\" and \".\")",
            name.value
        )));
    }
    Ok(())
}
