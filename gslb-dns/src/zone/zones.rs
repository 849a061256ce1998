//! All the zones that this server is authoritative for.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::Arc;

use arrayvec::ArrayVec;
use foldhash::fast::RandomState;

use super::Zone;
use super::store::Sought;
use crate::name::NameKey;

/// So many apexes are sooner compared one by one than hashed.
const FEW: usize = 4;
/// Names warmed at a time.
const WARMED: usize = 64;

pub struct Zones {
    /// Deepest apex first.
    zones: Vec<Arc<Zone>>,
    /// Lower-cased apex to index; empty while the zones are few.
    by_apex: HashMap<Box<[u8]>, usize, RandomState>,
    are_large: bool,
}

impl Zones {
    /// No two zones may share an apex: config sees to it.
    pub fn new(mut zones: Vec<Arc<Zone>>) -> Zones {
        zones.sort_by_key(|zone| Reverse(zone.apex_labels));
        let mut by_apex = HashMap::default();
        if zones.len() > FEW {
            let apexes = zones.iter().enumerate();
            by_apex.extend(apexes.map(|(index, zone)| (zone.apex().wire().into(), index)));
        }
        let are_large = zones.iter().any(|zone| zone.store.is_large());
        Zones { zones, by_apex, are_large }
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

    /// Whether to fetch ahead of look-ups pays.
    pub fn are_large(&self) -> bool {
        self.are_large
    }

    /// Fetches from memory what look-ups of these names will read. One by one they would wait at every step;
    /// here all take their first step, then all their second. What it returns says nothing, and keeps the
    /// fetching from being left out.
    pub fn warm(&self, keys: &[NameKey]) -> u8 {
        keys.chunks(WARMED).fold(0, |seen, keys| {
            let zones = keys.iter().filter_map(|key| Some((self.find(key)?, key)));
            let sought: ArrayVec<_, WARMED> =
                zones.map(|(zone, key)| (&zone.store, zone.seek(key))).collect();
            sought.iter().fold(seen, |seen, (store, sought)| seen ^ store.touch(*sought))
        })
    }

    fn find_from(&self, key: &NameKey, labels: usize) -> Option<&Zone> {
        let found = if self.by_apex.is_empty() {
            self.zones.iter().find(|zone| zone.holds(key, labels))?
        } else {
            let deepest = self.zones.first()?.apex_labels;
            let mut suffixes = (0..=labels.min(deepest)).rev().map(|labels| key.suffix(labels));
            let index = suffixes.find_map(|suffix| self.by_apex.get(suffix))?;
            &self.zones[*index]
        };
        Some(found)
    }
}

impl Zone {
    /// The first step of `search`.
    fn seek(&self, key: &NameKey) -> Sought {
        self.store.seek(key.suffix(key.labels().min(self.deepest)))
    }

    /// Whether its apex is among the key's suffixes of up to so many labels.
    fn holds(&self, key: &NameKey, labels: usize) -> bool {
        self.apex_labels <= labels && key.suffix(self.apex_labels) == self.apex.wire()
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::path::Path;

    use super::*;
    use crate::name::Name;
    use crate::zone::master;

    fn zone(apex: &str) -> Arc<Zone> {
        let apex: Name = apex.parse().unwrap();
        let text = b"@ 60 SOA ns h 1 2 3 4 5\n@ 60 NS ns";
        let mut nothing_else = |_: &Path| Err(io::Error::from(io::ErrorKind::NotFound));
        let master = master::parse(Path::new("zone"), text, &apex, &mut nothing_else).unwrap();
        Arc::new(Zone::build(apex, master.records, &[]).unwrap())
    }

    /// Which zone answers for the name, and which holds the delegation if the name is that zone's apex.
    fn check(zones: &Zones, name: &str, expected: [&str; 2]) {
        let wire: Name = name.parse().unwrap();
        let key = NameKey::of(wire.wire()).unwrap();
        let found = [zones.find(&key), zones.find_above(&key)];
        let apexes =
            found.map(|zone| zone.map_or("none".to_owned(), |zone| zone.apex().to_string()));
        assert_eq!(apexes, expected, "{name} among {}", zones.zones.len());
    }

    fn check_all(others: usize) {
        let hosted = ["example.com", "Sub.Example.com", "a.b.example.net"].map(str::to_owned);
        let others = (0..others).map(|other| format!("other{other}.test"));
        let zones = Zones::new(hosted.into_iter().chain(others).map(|apex| zone(&apex)).collect());
        check(&zones, "example.com", ["example.com.", "none"]);
        check(&zones, "www.EXAMPLE.com", ["example.com.", "example.com."]);
        check(&zones, "sub.example.com", ["sub.example.com.", "example.com."]);
        check(&zones, "x.y.sub.example.com", ["sub.example.com.", "sub.example.com."]);
        check(&zones, "notsub.example.com", ["example.com.", "example.com."]);
        check(&zones, "b.example.net", ["none", "none"]);
        check(&zones, "w.a.b.example.net", ["a.b.example.net.", "a.b.example.net."]);
        check(&zones, ".", ["none", "none"]);
    }

    #[test]
    fn the_deepest_zone_answers_be_they_few_or_many() {
        check_all(0);
        check_all(FEW - 3);
        check_all(FEW - 2);
        check_all(100);
        check(&Zones::new(vec![]), "example.com", ["none", "none"]);
        check(&Zones::new(vec![zone(".")]), "example.com", [".", "."]);
    }
}
