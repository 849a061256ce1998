//! Static authority: a zone's names and records, and where a query's name falls among them.
//!
//! `master` reads the text, `build` checks it and lays it out in a `store` once, `search` answers the
//! hot path's one question without allocating. Pure: never opens a socket or reads a clock.

mod build;
pub mod master;
mod search;
mod store;
mod zones;

pub use self::build::Fault;
pub use self::search::Match;
pub use self::store::NodeId;
pub use self::zones::Zones;

use self::store::Store;
use crate::ids::ServiceId;
use crate::name::Name;
use crate::record::RecordType;

/// One zone, whole and unchanging.
pub struct Zone {
    /// In lower case.
    apex: Name,
    /// Labels of the apex; names of the zone have at least as many.
    apex_labels: usize,
    /// Labels of the deepest name: a look-up never tries a longer suffix.
    deepest: usize,
    /// How many names exist, those without records included.
    names: usize,
    store: Store,
    top: NodeId,
}

/// The records of one name and type (RFC 2181 §5).
#[derive(Clone, Copy)]
pub struct RrSet<'z> {
    pub rtype: RecordType,
    pub ttl: u32,
    /// Each record's data behind its length in two octets.
    packed: &'z [u8],
}

impl Zone {
    pub fn apex(&self) -> &Name {
        &self.apex
    }

    /// How many names exist, those without records included.
    pub fn names(&self) -> usize {
        self.names
    }

    /// The zone's SOA record.
    pub fn soa(&self) -> RrSet<'_> {
        self.set(self.top, RecordType::SOA).expect("build refuses a zone without a SOA")
    }

    /// Seconds a negative answer may be cached: the lower of the SOA's TTL and its MINIMUM
    /// (RFC 2308 §3).
    pub fn soa_minimum(&self) -> u32 {
        let soa = self.soa();
        let minimum = soa
            .records()
            .next()
            .and_then(|rdata| rdata.last_chunk::<4>())
            .map_or(0, |octets| u32::from_be_bytes(*octets));
        soa.ttl.min(minimum)
    }

    pub fn set(&self, node: NodeId, rtype: RecordType) -> Option<RrSet<'_>> {
        self.sets_of(node).find(|set| set.rtype == rtype)
    }

    pub fn sets_of(&self, node: NodeId) -> impl Iterator<Item = RrSet<'_>> {
        self.store.sets(node)
    }

    /// The service that owns this name's addresses.
    pub fn service(&self, node: NodeId) -> Option<ServiceId> {
        self.store.service(node)
    }

    /// The node's name on the wire, in lower case.
    pub fn owner(&self, node: NodeId) -> &[u8] {
        self.store.name(node)
    }
}

impl std::fmt::Debug for Zone {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Zone({}, {} names)", self.apex, self.names)
    }
}

impl<'z> RrSet<'z> {
    pub fn records(self) -> impl Iterator<Item = &'z [u8]> {
        let mut rest = self.packed;
        std::iter::from_fn(move || {
            let (length, tail) = rest.split_first_chunk::<2>()?;
            let (rdata, tail) = tail.split_at(usize::from(u16::from_be_bytes(*length)));
            rest = tail;
            Some(rdata)
        })
    }
}
