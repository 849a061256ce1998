//! Judges what `file` holds and turns it into a `World`: names become ids, defaults are filled in,
//! and every problem is told.
//!
//! node · geoip · site ─▶ map ─▶ service (steer, binding) ─▶ doubts ─▶ zone ─▶ target

mod addresses;
mod agents;
mod binding;
mod control;
mod cookie;
mod doubts;
mod encrypted;
mod expect;
mod geoip;
mod map;
mod names;
mod node;
mod place;
mod query_log;
mod rate_limit;
mod service;
mod site;
mod steer;
mod target;
mod watch;
mod zone;
mod zone_text;

use std::path::Path;

pub use common::config::settle::within;
use common::config::settle::{or, path};

pub use self::expect::Stated;
use self::names::numbered;
pub use self::node::{admin, household, node};
use self::service::Draft;
pub use self::service::Spots;
use super::epoch::Digest;
use super::file;
use super::problems::Problems;
use super::read::{ByDomain, Document, Entries};
use crate::ids::ServiceId;
use crate::world::World;

/// A world that is sound by itself, and what is to be asked of it once it is compiled.
#[derive(Debug)]
pub struct Checked {
    pub world: World,
    /// Its policy tests.
    pub stated: Vec<Stated>,
    /// By service.
    pub spots: Vec<Spots>,
    /// What is to be told of it though it is sound.
    pub warnings: Problems,
}

/// Turns `world.toml` and the files it names into what runs, with its policy tests. `None` if anything is
/// wrong. What the running world has of it already is shared with it.
pub fn world(
    document: &Document<'_>,
    dir: &Path,
    running: Option<&World>,
    problems: &mut Problems,
) -> Option<Checked> {
    let raw: file::World = document.read(problems)?;
    let file::World { geoip, zone, site, vantage, check, map, service } = raw;
    let site = numbered(site, problems)?;
    let vantage = numbered(vantage, problems)?;
    let check = numbered(check, problems)?;
    let map = numbered(map, problems)?;
    let service = numbered(service.map(by_domain), problems)?;
    let zone = numbered(zone.map(by_domain), problems)?;

    let mut digest = Digest::of(&document.table);
    let geoip = geoip::places(geoip, dir, running, &mut digest, problems);
    let zones = zone::read(zone, dir, running, &mut digest, problems);
    let written = doubts::Written::of(&site, &check);
    let sites = site::sites(site, problems);
    let maps = map::maps(map, &sites.names, geoip.are_known, problems);
    let vantages = watch::vantages(vantage, problems);
    let checks = watch::checks(check, problems);
    let watchers = watch::Watchers { checks: &checks, vantages: &vantages };
    let around =
        service::Around { sites: &sites, maps: &maps, knows_places: geoip.are_known, watchers };
    let mut drafts = service::drafts(service, &around, problems);
    let mut warnings = Problems::default();
    for doubt in doubts::doubts(written, &sites, &vantages, &drafts) {
        warnings.add(doubt);
    }
    let targets = watch::watched(&mut drafts, &around.watchers, problems);
    let zones = zones.settle(&drafts, running, problems, &mut warnings);
    if let Some(settled) = &zones {
        target::check(&drafts, &settled.zones, problems);
    }

    let mut stated = Vec::new();
    for (index, Draft { sites: of_service, expect, .. }) in drafts.iter().enumerate() {
        // There are no more services than ids: `numbered` has counted them.
        let id = ServiceId(index as u16);
        if let Some(candidates) = of_service {
            stated.extend(expect::expectations(expect, (id, candidates), &sites, problems));
        }
    }

    // What is wrong with a file that somebody has written comes first.
    if problems.is_empty() && zones.as_ref().is_some_and(|settled| settled.zones.is_empty()) {
        let message =
            "has no zone: every query would be refused; name one, as [zone.\"example.com\"]";
        problems.add(document.problem(message));
    }
    if !problems.is_empty() {
        return None;
    }
    let mut spots = Vec::with_capacity(drafts.len());
    let services = drafts.into_iter().map(|draft| {
        spots.push(draft.spots);
        draft.service
    });
    let services = services.collect::<Option<_>>()?;
    let zone::Settled { zones, origins } = zones?;
    let world = World {
        epoch: digest.epoch(),
        sites: sites.list.into_iter().collect::<Option<_>>()?,
        vantages,
        targets,
        maps: maps.list.into_iter().collect::<Option<_>>()?,
        services,
        zones,
        zone_origins: origins,
        atlas: geoip.atlas?.into(),
        database_hashes: geoip.database_hashes,
        ecs_private: geoip.ecs_private?,
        overrides: geoip.overrides,
    };
    Some(Checked { world, stated, spots, warnings })
}

fn by_domain<T>(table: Option<ByDomain<T>>) -> Option<Entries<T>> {
    table.map(|ByDomain(entries)| entries)
}
