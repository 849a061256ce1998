//! A client's address to the class of clients that one policy treats alike, and how far that holds.
//!
//! Compiled once per database and geographic need: two addresses are of one class exactly when no
//! step of the policy can tell them apart, so the depth found is the exact scope of an answer. Pure;
//! a look-up allocates nothing.

mod classify;
pub mod client;
mod v4;

use std::collections::HashMap;
use std::hash::Hash;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use geoip::{Addr, Compiled, Place, PlaceId, RangeTable};
use ipnet::IpNet;

pub use self::classify::{Class, MapKey, Need, View, map_entry, territory_km};
pub use self::client::{Client, HashedPrefix, ToldBy, Trust, is_public};
use self::v4::V4Table;

use crate::ids::MapId;
use crate::world::{Map, Step, World};

/// Every address's class, for the policies that share one need.
pub struct Geography {
    v4: V4Table,
    v6: RangeTable<u128, ClassId>,
    classes: Vec<Class>,
    runs: usize,
}

/// Index into a geography's classes.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct ClassId(u32);

/// Where a client was found.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Found {
    pub class: ClassId,
    /// The shortest prefix of the client's own address family that is all of this class. Bits before
    /// an IPv4 address inside an IPv6 one are not counted.
    pub depth: u8,
}

impl ClassId {
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

impl Geography {
    pub fn compile(world: &World, places: &Compiled, need: &Need) -> Geography {
        let maps: Vec<&Map> = need.maps().map(|id| world.map(id)).collect();
        let mut classes = Classes::new(world, &places.places, need);
        let v4 = compile_family(&places.v4, &net_tables(&maps, v4_bits), &mut classes);
        let v6 = compile_family(&places.v6, &net_tables(&maps, v6_bits), &mut classes);
        let runs = v4.len() + v6.len();
        Geography { v4: V4Table::new(v4), v6, classes: classes.made, runs }
    }

    pub fn find(&self, client: &Client) -> Found {
        let (class, depth) = match client.address {
            IpAddr::V4(v4) => {
                let hit = self.v4.find(v4.to_bits());
                (hit.value, hit.depth)
            }
            IpAddr::V6(v6) => {
                let hit = self.v6.find(v6.to_bits());
                // Addresses that carry an IPv4 one are found elsewhere, so the prefix excludes them.
                (hit.value, hit.depth.max(geoip::embedded::clear_depth(v6)))
            }
        };
        // A depth of 0 speaks for both families, which is right only if all clients are alike.
        let depth = if self.classes.len() == 1 { 0 } else { depth.max(1) };
        Found { class, depth }
    }

    /// Fetches from memory what `find` will read of these IPv4 addresses. What it returns says nothing, and
    /// keeps the fetching from being left out.
    pub fn warm(&self, addresses: &[u32]) -> u32 {
        self.v4.warm(addresses)
    }

    pub fn classes(&self) -> &[Class] {
        &self.classes
    }

    /// The first address of each run of one class, of both families: between two of them nothing changes.
    pub fn run_starts(&self) -> impl Iterator<Item = IpAddr> {
        let v4 = self.v4.starts().map(|bits| Ipv4Addr::from_bits(bits).into());
        let v6 = self.v6.runs().map(|(first, ..)| Ipv6Addr::from_bits(first).into());
        v4.chain(v6)
    }

    /// Runs of equal class in the tables: what a look-up searches.
    pub fn runs(&self) -> usize {
        self.runs
    }
}

/// What the world's data tells of an address: its place, and the entry of each map's `net`.
#[derive(Clone, Eq, Hash, PartialEq)]
struct Origin {
    place: PlaceId,
    nets: Vec<Option<u32>>,
}

/// The classes made so far, each distinct origin judged once.
struct Classes<'w> {
    world: &'w World,
    places: &'w [Place],
    need: &'w Need,
    origins: Interned<Origin>,
    of_origin: HashMap<u32, ClassId>,
    ids: HashMap<Class, ClassId>,
    made: Vec<Class>,
}

impl<'w> Classes<'w> {
    fn new(world: &'w World, places: &'w [Place], need: &'w Need) -> Classes<'w> {
        Classes {
            world,
            places,
            need,
            origins: Interned::default(),
            of_origin: HashMap::new(),
            ids: HashMap::new(),
            made: Vec::new(),
        }
    }

    fn class_of(&mut self, origin: u32) -> ClassId {
        if let Some(&id) = self.of_origin.get(&origin) {
            return id;
        }
        let Origin { place, nets } = &self.origins.values[origin as usize];
        let class = self.need.class(self.world, &self.places[place.index()], nets);
        let next = ClassId(self.made.len() as u32);
        let id = *self.ids.entry(class.clone()).or_insert(next);
        if id == next {
            self.made.push(class);
        }
        self.of_origin.insert(origin, id);
        id
    }
}

/// Sweeps places and nets together, then lets neighbours of one class become one run.
fn compile_family<A: Addr>(
    places: &RangeTable<A, PlaceId>,
    nets: &[RangeTable<A, Option<u32>>],
    classes: &mut Classes<'_>,
) -> RangeTable<A, ClassId> {
    let unnamed = vec![None; nets.len()];
    let mut table = places.map(|place| classes.origins.id(Origin { place, nets: unnamed.clone() }));
    for (index, net) in nets.iter().enumerate() {
        table = table.overlay(net, |origin, entry| match entry {
            None => origin,
            Some(_) => {
                let mut origin = classes.origins.values[origin as usize].clone();
                origin.nets[index] = entry;
                classes.origins.id(origin)
            }
        });
    }
    table.map(|origin| classes.class_of(origin))
}

/// For each map, the longest `net` entry around every address of one family.
fn net_tables<A: Addr>(
    maps: &[&Map],
    bits: fn(&IpNet) -> Option<A>,
) -> Vec<RangeTable<A, Option<u32>>> {
    let of_map = |map: &&Map| {
        let entries = map.net.iter().enumerate();
        let entries = entries.filter_map(|(index, (net, _))| {
            Some((bits(net)?, net.prefix_len(), Some(index as u32)))
        });
        RangeTable::from_prefixes(None, entries.collect::<Vec<_>>())
    };
    maps.iter().map(of_map).collect()
}

fn v4_bits(net: &IpNet) -> Option<u32> {
    match net {
        IpNet::V4(net) => Some(net.network().to_bits()),
        IpNet::V6(_) => None,
    }
}

fn v6_bits(net: &IpNet) -> Option<u128> {
    match net {
        IpNet::V4(_) => None,
        IpNet::V6(net) => Some(net.network().to_bits()),
    }
}

impl Need {
    /// The maps among the steps, in order.
    fn maps(&self) -> impl Iterator<Item = MapId> {
        self.steps.iter().filter_map(|step| match step {
            Step::Map(id) => Some(*id),
            Step::Fence(_) | Step::Nearest | Step::Failover => None,
        })
    }
}

/// Distinct values, each under a small number.
struct Interned<T> {
    ids: HashMap<T, u32>,
    values: Vec<T>,
}

impl<T> Default for Interned<T> {
    fn default() -> Interned<T> {
        Interned { ids: HashMap::new(), values: Vec::new() }
    }
}

impl<T: Clone + Eq + Hash> Interned<T> {
    fn id(&mut self, value: T) -> u32 {
        let next = self.values.len() as u32;
        let values = &mut self.values;
        *self.ids.entry(value).or_insert_with_key(|value| {
            values.push(value.clone());
            next
        })
    }
}
