//! Sites whose health is another than before, for the log: a site's own failure is one line, not one for each service.

use std::collections::{BTreeMap, BTreeSet};

use super::{Diff, Moved};
use crate::health::board::{Duty, Health};

/// A site, and the services in which the same has become of it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Turned {
    pub site: Box<str>,
    pub from: Health,
    pub to: Health,
    /// Whether it is not drained: then clients miss it while it is down.
    pub is_serving: bool,
    pub services: BTreeSet<Box<str>>,
    /// Of the first of the services.
    pub why: Box<str>,
}

impl Diff {
    /// Of sites that were there before and still are.
    pub fn turned(&self) -> Vec<Turned> {
        let mut turned: BTreeMap<(&str, Health, Health, bool), Turned> = BTreeMap::new();
        for ((service, site), moved) in &self.moved {
            let Moved { from: Some(before), to: Some(now) } = moved else { continue };
            let (from, to) = (before.health, now.belief.health);
            if from == to {
                continue;
            }
            let is_serving = now.belief.duty == Duty::Serving;
            let one = turned.entry((site, from, to, is_serving)).or_insert_with(|| {
                let (site, why, services) = (site.clone(), now.why.clone(), BTreeSet::new());
                Turned { site, from, to, is_serving, services, why }
            });
            one.services.insert(service.clone());
        }
        turned.into_values().collect()
    }
}
