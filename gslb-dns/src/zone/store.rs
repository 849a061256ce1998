//! A zone's names in memory: each name and all its records in one run of octets, behind an index.
//!
//! A look-up among a million names costs little more than among ten if it touches few cache lines:
//! one of the index, one or two of the node. Written once by `build`, read only ever after.

use std::hash::BuildHasher as _;

use foldhash::fast::RandomState;

use super::RrSet;
use crate::ids::ServiceId;
use crate::record::RecordType;

/// Where a node begins.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct NodeId(u32);

/// The topmost point at or above a node where the zone's authority ends or its names are rewritten.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Cut {
    None,
    Delegation(NodeId),
    /// Only ever a node strictly above: a DNAME leaves its own owner alone (RFC 6672 §2.3).
    Rename(NodeId),
}

/// Nodes one after another. A node is a head of `HEAD` octets, its lower-cased name, and its sets, each
/// a head of `SET_HEAD` octets and its records' data behind their lengths.
pub(super) struct Store {
    octets: Vec<u8>,
    index: Index,
    /// Seeded at random: it never shows outside.
    hasher: RandomState,
}

/// Name length, kind of cut, service, node of the cut, node of the wildcard below, count of sets.
const HEAD: usize = 14;
/// Type, TTL, octets of data.
const SET_HEAD: usize = 10;
const NO_SERVICE: u16 = u16::MAX;
const NO_NODE: u32 = u32::MAX;

/// Octets that stay in the cache next to a core, beside the kernel's buffers.
const NEAR_CACHE: usize = 1 << 20;
const CACHE_LINE: usize = 64;

/// The slot where the search for a name begins.
#[derive(Clone, Copy)]
pub(super) struct Sought(u64);

/// What is written of a node before its sets.
pub(super) struct NodeHead<'n> {
    pub name: &'n [u8],
    pub service: Option<ServiceId>,
}

impl Store {
    /// An empty store with an index for `names` names.
    pub fn for_names(names: usize) -> Store {
        let hasher = RandomState::default();
        Store { octets: Vec::new(), index: Index::for_names(names), hasher }
    }

    /// Writes a node's head and name; its sets follow by `add_set`. `None` when the store is full.
    pub fn add_node(&mut self, head: &NodeHead<'_>) -> Option<NodeId> {
        let id = NodeId(u32::try_from(self.octets.len()).ok().filter(|&at| at != NO_NODE)?);
        let service = head.service.map_or(NO_SERVICE, |service| service.0);
        let length = u8::try_from(head.name.len()).expect("a name has at most 255 octets");
        self.octets.extend([length, 0]);
        self.octets.extend(service.to_le_bytes());
        self.octets.extend(NO_NODE.to_le_bytes());
        self.octets.extend(NO_NODE.to_le_bytes());
        self.octets.extend(0u16.to_le_bytes());
        self.octets.extend_from_slice(head.name);
        self.index.insert(self.hasher.hash_one(head.name), id);
        Some(id)
    }

    /// Adds a set to the node written last.
    pub fn add_set<'r>(
        &mut self,
        node: NodeId,
        rtype: RecordType,
        ttl: u32,
        records: impl Iterator<Item = &'r [u8]>,
    ) {
        let head_at = self.octets.len();
        self.octets.extend([0; SET_HEAD]);
        for rdata in records {
            self.octets.extend((rdata.len() as u16).to_be_bytes());
            self.octets.extend_from_slice(rdata);
        }
        let length = (self.octets.len() - head_at - SET_HEAD) as u32;
        let head = &mut self.octets[head_at..head_at + SET_HEAD];
        head[..2].copy_from_slice(&rtype.0.to_le_bytes());
        head[2..6].copy_from_slice(&ttl.to_le_bytes());
        head[6..].copy_from_slice(&length.to_le_bytes());
        let sets_at = node.at() + 12;
        let sets = self.set_count(node) + 1;
        self.octets[sets_at..sets_at + 2].copy_from_slice(&sets.to_le_bytes());
    }

    pub fn set_cut(&mut self, node: NodeId, cut: Cut) {
        let (kind, at) = match cut {
            Cut::None => (0, NO_NODE),
            Cut::Delegation(at) => (1, at.0),
            Cut::Rename(at) => (2, at.0),
        };
        self.octets[node.at() + 1] = kind;
        self.octets[node.at() + 4..node.at() + 8].copy_from_slice(&at.to_le_bytes());
    }

    pub fn set_wildcard(&mut self, node: NodeId, wildcard: NodeId) {
        self.octets[node.at() + 8..node.at() + 12].copy_from_slice(&wildcard.0.to_le_bytes());
    }

    /// The node of this lower-cased name, whatever cut it lies under.
    pub fn find(&self, name: &[u8]) -> Option<NodeId> {
        #[cfg(test)]
        tests::count_probe();
        let hash = self.hasher.hash_one(name);
        self.index.find(hash, |node| self.name(node) == name)
    }

    /// Whether its look-ups wait for memory: the caches near a core do not hold it.
    pub fn is_large(&self) -> bool {
        self.octets.len() + size_of_val(&*self.index.slots) > NEAR_CACHE
    }

    /// The first step of `find`.
    pub fn seek(&self, name: &[u8]) -> Sought {
        Sought(self.index.slots[self.index.first(self.hasher.hash_one(name))])
    }

    /// Reads what most nodes' look-ups read of them. What it returns says nothing.
    pub fn touch(&self, Sought(slot): Sought) -> u8 {
        let node = slot as u32 as usize;
        [node, node + CACHE_LINE]
            .into_iter()
            .fold(0, |seen, at| seen ^ self.octets.get(at).unwrap_or(&0))
    }

    pub fn name(&self, node: NodeId) -> &[u8] {
        let at = node.at();
        &self.octets[at + HEAD..][..usize::from(self.octets[at])]
    }

    pub fn cut(&self, node: NodeId) -> Cut {
        let at = NodeId(self.u32_at(node.at() + 4));
        match self.octets[node.at() + 1] {
            1 => Cut::Delegation(at),
            2 => Cut::Rename(at),
            _ => Cut::None,
        }
    }

    pub fn service(&self, node: NodeId) -> Option<ServiceId> {
        let service = self.u16_at(node.at() + 2);
        (service != NO_SERVICE).then_some(ServiceId(service))
    }

    pub fn wildcard(&self, node: NodeId) -> Option<NodeId> {
        let wildcard = self.u32_at(node.at() + 8);
        (wildcard != NO_NODE).then_some(NodeId(wildcard))
    }

    pub fn sets(&self, node: NodeId) -> impl Iterator<Item = RrSet<'_>> {
        let mut at = node.at() + HEAD + self.name(node).len();
        (0..self.set_count(node)).map(move |_| {
            let length = self.u32_at(at + 6) as usize;
            let set = RrSet {
                rtype: RecordType(self.u16_at(at)),
                ttl: self.u32_at(at + 2),
                packed: &self.octets[at + SET_HEAD..at + SET_HEAD + length],
            };
            at += SET_HEAD + length;
            set
        })
    }

    fn set_count(&self, node: NodeId) -> u16 {
        self.u16_at(node.at() + 12)
    }

    fn u16_at(&self, at: usize) -> u16 {
        u16::from_le_bytes([self.octets[at], self.octets[at + 1]])
    }

    fn u32_at(&self, at: usize) -> u32 {
        let octets = self.octets[at..].first_chunk().expect("a node's head is written whole");
        u32::from_le_bytes(*octets)
    }
}

impl NodeId {
    fn at(self) -> usize {
        self.0 as usize
    }
}

/// Hash to node: open addressing, linear probing, at most half full.
///
/// A slot is the hash's upper half above the node, so that a probe looks at a node only if it almost
/// certainly is the right one.
struct Index {
    slots: Box<[u64]>,
}

const FREE: u64 = u64::MAX;

impl Index {
    fn for_names(names: usize) -> Index {
        Index { slots: vec![FREE; (names * 2).next_power_of_two().max(2)].into() }
    }

    /// There must be room: `for_names` was told of every name.
    fn insert(&mut self, hash: u64, node: NodeId) {
        let mut slot = self.first(hash);
        while self.slots[slot] != FREE {
            slot = self.next(slot);
        }
        self.slots[slot] = tag(hash) | u64::from(node.0);
    }

    fn find(&self, hash: u64, is_it: impl Fn(NodeId) -> bool) -> Option<NodeId> {
        let mut slot = self.first(hash);
        loop {
            let held = self.slots[slot];
            if held == FREE {
                return None;
            }
            let node = NodeId(held as u32);
            if tag(held) == tag(hash) && is_it(node) {
                return Some(node);
            }
            slot = self.next(slot);
        }
    }

    fn first(&self, hash: u64) -> usize {
        hash as usize & (self.slots.len() - 1)
    }

    fn next(&self, slot: usize) -> usize {
        (slot + 1) & (self.slots.len() - 1)
    }
}

fn tag(hash: u64) -> u64 {
    hash & 0xffff_ffff_0000_0000
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::io;
    use std::path::Path;

    use crate::name::{Name, NameKey};
    use crate::zone::{Zone, master};

    thread_local! {
        static PROBES: Cell<usize> = const { Cell::new(0) };
    }

    pub(super) fn count_probe() {
        PROBES.set(PROBES.get() + 1);
    }

    fn zone(names: usize) -> Zone {
        let origin: Name = "example.com".parse().unwrap();
        let text = format!(
            "@ 60 SOA ns host 1 2 3 4 5\n@ 60 NS ns\nns 60 A 192.0.2.53\na.b.c 60 A 192.0.2.1\n\
             *.wild 60 A 192.0.2.2\n$GENERATE 1-{names} n$ 60 A 192.0.2.3\n"
        );
        let mut no_files = |_: &Path| Err(io::Error::from(io::ErrorKind::NotFound));
        let master =
            master::parse(Path::new("zone"), text.as_bytes(), &origin, &mut no_files).unwrap();
        Zone::build(origin, master.records, &[]).unwrap()
    }

    /// Look-ups in the index for one name.
    fn probes(zone: &Zone, name: &str) -> usize {
        let name: Name = name.parse().unwrap();
        let before = PROBES.get();
        zone.search(&NameKey::of(name.wire()).unwrap());
        PROBES.get() - before
    }

    #[test]
    fn a_random_name_costs_what_every_other_does_however_large_the_zone() {
        for zone in [zone(1), zone(20_000)] {
            for number in 0..5000_u64 {
                let random = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
                assert_eq!(probes(&zone, &format!("x{random:016x}.example.com")), 2);
                assert_eq!(probes(&zone, &format!("x{random:016x}.wild.example.com")), 2);
                assert_eq!(probes(&zone, &format!("x{random:016x}.b.c.example.com")), 2);
            }
            // Labels beyond the zone's deepest name, a.b.c, are not even looked at.
            assert_eq!(probes(&zone, "x.y.z.example.com"), 4);
            assert_eq!(probes(&zone, &format!("{}example.com", "x.".repeat(100))), 4);
        }
    }
}
