//! Every database and override as one map of the addresses.
//!
//! The room others ask. `lookup` and `compile` must say the same of every address: both go through
//! `Place::add`, `over` and `Place::completed`, in this order.

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use serde::Serialize;

use crate::compiled::{Compiled, PlaceId};
use crate::database::{Database, Leaf};
use crate::embedded::{clear_depth, embedded};
use crate::interned::Interned;
use crate::overrides::Overrides;
use crate::place::Place;
use crate::ranges::{Addr, RangeTable};

/// Databases in their order, and overrides above them.
///
/// ```no_run
/// use geoip::{Atlas, Database, Overrides};
/// let city = Database::open("GeoLite2-City.mmdb".as_ref())?;
/// let asn = Database::open("GeoLite2-ASN.mmdb".as_ref())?;
/// let atlas = Atlas::new(vec![city, asn], Overrides::none());
/// println!("{}", atlas.lookup([192, 0, 2, 1].into()));
/// # Ok::<(), geoip::OpenError>(())
/// ```
#[derive(Debug)]
pub struct Atlas {
    databases: Vec<Arc<Database>>,
    overrides: Overrides,
}

/// Where an address is, how far that holds, and who says so.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Located<'a> {
    /// The place.
    pub place: Place,
    /// A prefix around the address in which every address has this place from this source. IPv4 for an
    /// IPv6 address that carries an IPv4 one.
    pub network: IpNet,
    /// Who says so.
    pub source: Source<'a>,
}

/// Who says where an address is.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Source<'a> {
    /// The override of this prefix.
    Override(IpNet),
    /// The databases of these names.
    Databases(Vec<&'a str>),
    /// Nobody.
    Nowhere,
}

impl Atlas {
    /// Databases in the order in which they are believed: the first that knows a field gives it.
    pub fn new(databases: Vec<Database>, overrides: Overrides) -> Atlas {
        Atlas::sharing(databases.into_iter().map(Arc::new).collect(), overrides)
    }

    /// The same with databases that another atlas may have too: to open a large one takes seconds.
    pub fn sharing(databases: Vec<Arc<Database>>, overrides: Overrides) -> Atlas {
        Atlas { databases, overrides }
    }

    /// The databases, in their order.
    pub fn databases(&self) -> &[Arc<Database>] {
        &self.databases
    }

    /// Whether both say the same of every address, as is plain without looking: they share their databases, and
    /// have equal overrides.
    pub fn is_plainly(&self, other: &Atlas) -> bool {
        let shared = self.databases.iter().zip(&other.databases);
        self.databases.len() == other.databases.len()
            && shared.into_iter().all(|(one, other)| Arc::ptr_eq(one, other))
            && self.overrides.iter().eq(other.overrides.iter())
    }

    /// The overrides.
    pub fn overrides(&self) -> &Overrides {
        &self.overrides
    }

    /// Where `addr` is; an IPv6 address that carries an IPv4 one is where that is.
    pub fn lookup(&self, addr: IpAddr) -> Located<'_> {
        match addr {
            IpAddr::V4(_) => self.lookup_plain(addr, 0),
            IpAddr::V6(v6) => match embedded(v6) {
                Some(inside) => self.lookup_plain(inside.v4.into(), 0),
                None => self.lookup_plain(addr, clear_depth(v6)),
            },
        }
    }

    /// Every address's place, for tables that answer without looking anything up.
    ///
    /// Takes tens of milliseconds for the whole Internet by country (opening such a database, a few
    /// times that): call it off the query path.
    pub fn compile(&self) -> Compiled {
        let mut places = Interned::default();
        places.id(Place::default());
        let v4 = self.compile_family(&mut places, |database| &database.v4, &self.overrides.v4);
        let v6 = self.compile_family(&mut places, |database| &database.v6, &self.overrides.v6);
        Compiled { places: places.into_places(), v4, v6 }
    }

    /// Looks up an address that carries no other; the network is at least `depth` long.
    fn lookup_plain(&self, addr: IpAddr, mut depth: u8) -> Located<'_> {
        let (found, override_depth) = self.overrides.find(addr);
        depth = depth.max(override_depth);

        let mut place = Place::default();
        let mut names = Vec::new();
        // A complete override asks no database, so their networks do not cut its own.
        if found.is_none_or(|(_, over)| over.asn.is_none()) {
            for database in &self.databases {
                let (says, len) = database.find(addr);
                depth = depth.max(len);
                if let Some(says) = says {
                    place.add(says);
                    names.push(database.name());
                }
            }
        }

        let network =
            IpNet::new(addr, depth).expect("a depth is at most the bits of the address").trunc();
        let (place, source) = match found {
            Some((prefix, over_place)) => (over(over_place, &place), Source::Override(prefix)),
            None if names.is_empty() => (place, Source::Nowhere),
            None => (place.completed(), Source::Databases(names)),
        };
        Located { place, network, source }
    }

    fn compile_family<'a, A: Addr>(
        &'a self,
        places: &mut Interned,
        table_of: impl Fn(&'a Database) -> &'a RangeTable<A, Leaf>,
        overrides: &RangeTable<A, Option<u32>>,
    ) -> RangeTable<A, PlaceId> {
        let mut drafts = Interned::default();
        let mut table = RangeTable::uniform(drafts.id(Place::default()));
        for database in &self.databases {
            let mut joined = HashMap::new();
            table = table.overlay(table_of(database), |draft, leaf| match leaf.place() {
                None => draft,
                Some(says) => *joined.entry((draft, says)).or_insert_with(|| {
                    let mut place = drafts.at(draft).clone();
                    place.add(&database.places()[says as usize]);
                    drafts.id(place)
                }),
            });
        }
        let mut joined = HashMap::new();
        table.overlay(overrides, |draft, override_id| {
            *joined.entry((draft, override_id)).or_insert_with(|| {
                let draft = drafts.at(draft);
                PlaceId::at(places.id(match override_id {
                    Some(id) => over(self.overrides.at(id).1, draft),
                    None => draft.clone().completed(),
                }))
            })
        })
    }
}

/// The override's place, with the AS number of the databases where it has none.
fn over(place: &Place, databases: &Place) -> Place {
    Place { asn: place.asn.or(databases.asn), ..place.clone() }
}

impl fmt::Display for Located<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}, {})", self.place, self.network, self.source)
    }
}

impl fmt::Display for Source<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Override(prefix) => write!(f, "override {prefix}"),
            Source::Databases(names) => f.write_str(&names.join(" + ")),
            Source::Nowhere => f.write_str("in no database"),
        }
    }
}
