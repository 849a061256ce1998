//! Which sites were fit when one last was: what `when_all_down = "last-known"` answers.
//!
//! Kept by name, so that it outlives a restart and a change of the world. Pure: `run` keeps it on
//! disk.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::board::Board;
use crate::site_set::SiteSet;
use crate::world::{Service, World};

/// Service name to site names.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct LastKnown(BTreeMap<String, Vec<String>>);

impl LastKnown {
    /// What to remember after `board`. Services that are not in the world now are remembered too.
    #[must_use]
    pub fn after(&self, world: &World, board: &Board) -> LastKnown {
        let mut known = self.0.clone();
        for id in world.service_ids() {
            let service = world.service(id);
            let sites = board.of_service(id).last_known.iter();
            let names =
                sites.map(|index| world.site(service.candidates[index].site).name.to_string());
            known.insert(service.name.to_string(), names.collect());
        }
        LastKnown(known)
    }

    /// The candidates remembered of a service; those that left the world are forgotten.
    pub fn of(&self, world: &World, service: &Service) -> SiteSet {
        let Some(names) = self.0.get(&service.name.to_string()) else {
            return SiteSet::EMPTY;
        };
        let is_known = |site: &str| names.iter().any(|name| name == site);
        (0..service.candidates.len())
            .filter(|&index| is_known(&world.site(service.candidates[index].site).name))
            .collect()
    }
}
