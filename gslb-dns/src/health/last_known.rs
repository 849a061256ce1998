//! Which sites were fit when one last was: what `when_all_down = "last-known"` answers.
//!
//! Kept by name, so that it outlives a restart and a change of the world. Pure: `run` keeps it on
//! disk.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::board::Board;
use crate::ids::ServiceId;
use crate::site_set::SiteSet;
use crate::world::{Service, World};

/// Service name to site names.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct LastKnown(BTreeMap<String, Vec<String>>);

impl LastKnown {
    /// Remembers what `board` says of these services; whether that is something else. What is not in the world now is
    /// remembered too.
    pub fn learn(
        &mut self,
        world: &World,
        board: &Board,
        services: impl IntoIterator<Item = ServiceId>,
    ) -> bool {
        let mut is_other = false;
        for id in services {
            let service = world.service(id);
            let sites = board.of_service(id).last_known.iter();
            let names: Vec<String> = sites
                .map(|index| world.site(service.candidates[index].site).name.to_string())
                .collect();
            let name = service.name.to_string();
            if self.0.get(&name) != Some(&names) {
                self.0.insert(name, names);
                is_other = true;
            }
        }
        is_other
    }

    /// What peers are told: of services for which nobody is fit, who was when one last was. Of the others it is who is
    /// fit now.
    #[must_use]
    pub fn of_failing(world: &World, board: &Board) -> LastKnown {
        let failing = world.service_ids().filter(|id| !board.of_service(*id).has_fit());
        let known = failing.map(|id| {
            let service = world.service(id);
            let sites = board.of_service(id).last_known.iter();
            let names =
                sites.map(|index| world.site(service.candidates[index].site).name.to_string());
            (service.name.to_string(), names.collect::<Vec<String>>())
        });
        LastKnown(known.filter(|(_, names)| !names.is_empty()).collect())
    }

    /// What a peer remembers beside what we do: where nobody is fit, who was fit by either. How many sites that adds.
    pub fn meet(&mut self, world: &World, board: &Board, peer: &LastKnown) -> usize {
        let mut added = 0;
        for id in world.service_ids().filter(|id| !board.of_service(*id).has_fit()) {
            let service = world.service(id);
            let Some(theirs) = peer.0.get(&service.name.to_string()) else { continue };
            let ours = self.0.entry(service.name.to_string()).or_default();
            for candidate in &service.candidates {
                let name = &*world.site(candidate.site).name;
                if theirs.iter().any(|one| one == name) && !ours.iter().any(|one| one == name) {
                    ours.push(name.to_owned());
                    added += 1;
                }
            }
        }
        added
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
