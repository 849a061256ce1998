//! All the zones that this server is authoritative for.

use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::RandomState;

use super::Zone;
use crate::name::NameKey;

pub struct Zones {
    zones: Vec<Arc<Zone>>,
    /// Lower-cased apex to index.
    by_apex: HashMap<Box<[u8]>, usize, RandomState>,
    /// Labels of the deepest apex.
    deepest: usize,
}

impl Zones {
    /// No two zones may share an apex: config sees to it.
    pub fn new(zones: Vec<Arc<Zone>>) -> Zones {
        let apexes = zones.iter().enumerate();
        let by_apex = apexes.map(|(index, zone)| (zone.apex().wire().into(), index)).collect();
        let deepest = zones.iter().map(|zone| zone.apex_labels).max().unwrap_or(0);
        Zones { zones, by_apex, deepest }
    }

    pub fn iter(&self) -> impl Iterator<Item = &Arc<Zone>> {
        self.zones.iter()
    }

    /// The zone with the longest apex at or above the name.
    pub fn find(&self, key: &NameKey) -> Option<&Zone> {
        self.find_from(key, key.labels())
    }

    /// The zone above the one whose apex the name is: where its delegation and DS stand.
    pub fn find_above(&self, key: &NameKey) -> Option<&Zone> {
        self.find_from(key, key.labels().checked_sub(1)?)
    }

    fn find_from(&self, key: &NameKey, labels: usize) -> Option<&Zone> {
        (0..=labels.min(self.deepest)).rev().find_map(|labels| {
            let index = self.by_apex.get(key.suffix(labels))?;
            Some(&*self.zones[*index])
        })
    }
}
