//! One mmdb file, checked whole and turned into tables.
//!
//! Feeds `atlas`. Everything that can be wrong with a file is found here, when it is opened; the file's
//! bytes are let go after that. Never maps the file: one rewritten in place would pull the ground away.

use std::collections::HashMap;
use std::error::Error;
use std::fs::File;
use std::io::{self, Read};
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;

use ipnet::IpNet;
use maxminddb::{MaxMindDbError, Reader, WithinOptions};

use crate::interned::Interned;
use crate::place::Place;
use crate::ranges::{Addr, RangeTable};
use crate::record::Record;

/// The largest file that is opened: 1 GiB, several times the largest database sold today.
pub const MAX_DATABASE_BYTES: u64 = 1 << 30;

/// One mmdb file in memory, verified.
///
/// ```no_run
/// let city = geoip::Database::open("GeoLite2-City.mmdb".as_ref())?;
/// println!("{} of {}", city.kind(), city.build_epoch());
/// # Ok::<(), geoip::OpenError>(())
/// ```
#[derive(Debug)]
pub struct Database {
    name: Box<str>,
    kind: Box<str>,
    build_epoch: u64,
    nodes: u32,
    networks: usize,
    /// The distinct places of the file, with only what it says.
    places: Vec<Place>,
    pub(crate) v4: RangeTable<u32, Leaf>,
    pub(crate) v6: RangeTable<u128, Leaf>,
}

/// What a database holds for an address. Keeping the network's length in the value keeps its networks
/// apart: neighbours share a run only where the length tells them apart anyway.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Leaf {
    /// Index of the place, or `NO_PLACE`.
    place: u32,
    /// Length of the file's network; 0 also where the file has none, which the run's extent then tells.
    len: u8,
}

const NO_PLACE: u32 = u32::MAX;

impl Leaf {
    const NOTHING: Leaf = Leaf { place: NO_PLACE, len: 0 };

    /// Index into `Database::places`, where something is known.
    pub(crate) fn place(self) -> Option<u32> {
        (self.place != NO_PLACE).then_some(self.place)
    }
}

/// Why a file is not taken as a database.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The file could not be read.
    #[error("{file}: cannot be read; check that it exists and that we may read it")]
    Read {
        file: String,
        #[source]
        source: io::Error,
    },
    /// The file is larger than [`MAX_DATABASE_BYTES`].
    #[error(
        "{file}: larger than {MAX_DATABASE_BYTES} bytes, so hardly a place database; check the path"
    )]
    TooLarge { file: String },
    /// The file is not mmdb, or it is damaged.
    #[error("{file}: not a sound mmdb file; fetch it again or go back to the copy before")]
    Unsound {
        file: String,
        #[source]
        source: MaxMindDbError,
    },
    /// A record is sound mmdb but not a place.
    #[error(
        "{file}: the record of {network} is not a place; use a City, Country, Enterprise, ASN or ISP database"
    )]
    NotPlace {
        file: String,
        network: IpNet,
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// No record says where anything is.
    #[error(
        "{file}: a {kind:?} database, which holds no places; use a City, Country, Enterprise, ASN or ISP database"
    )]
    NoPlaces { file: String, kind: String },
}

impl Database {
    /// Reads, verifies and decodes the whole file, so that no look-up can fail later.
    ///
    /// # Errors
    /// When the file cannot be read, is too large, is damaged, or holds no places.
    pub fn open(path: &Path) -> Result<Database, OpenError> {
        let file = path.display().to_string();
        let name = path
            .file_name()
            .map_or_else(|| file.clone(), |name| name.to_string_lossy().into_owned());
        let bytes = match read_bounded(path) {
            Ok(Some(bytes)) => bytes,
            Ok(None) => return Err(OpenError::TooLarge { file }),
            Err(source) => return Err(OpenError::Read { file, source }),
        };
        Ok(Database { name: name.into(), ..Database::from_bytes(&file, bytes)? })
    }

    /// The same for bytes already in memory; `name` stands for the file in errors and answers.
    ///
    /// # Errors
    /// As [`Database::open`].
    pub fn from_bytes(name: &str, bytes: Vec<u8>) -> Result<Database, OpenError> {
        let unsound = |source| OpenError::Unsound { file: name.to_owned(), source };
        let reader = Reader::from_source(bytes).map_err(unsound)?;
        reader.verify().map_err(unsound)?;
        let walk = Walk::over(name, &reader)?;

        let metadata = reader.metadata();
        let kind = metadata.database_type.clone();
        let places = walk.places.into_places();
        if places.is_empty() {
            return Err(OpenError::NoPlaces { file: name.to_owned(), kind });
        }
        Ok(Database {
            name: name.into(),
            kind: kind.into(),
            build_epoch: metadata.build_epoch,
            nodes: metadata.node_count,
            networks: walk.networks,
            places,
            v4: RangeTable::from_prefixes(Leaf::NOTHING, walk.v4),
            v6: RangeTable::from_prefixes(Leaf::NOTHING, walk.v6),
        })
    }

    /// The file's name, without folders.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What the maker calls it, such as `GeoLite2-City` (the metadata's `database_type`).
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// When it was made, in seconds since 1970.
    pub fn build_epoch(&self) -> u64 {
        self.build_epoch
    }

    /// Networks that have a record.
    pub fn networks(&self) -> usize {
        self.networks
    }

    /// Nodes of the search tree.
    pub fn nodes(&self) -> u32 {
        self.nodes
    }

    /// Distinct places.
    pub fn places(&self) -> &[Place] {
        &self.places
    }

    /// What the file says of `addr`, and the length of the network it says it of.
    pub(crate) fn find(&self, addr: IpAddr) -> (Option<&Place>, u8) {
        let hit = match addr {
            IpAddr::V4(v4) => self.v4.find(v4.to_bits()),
            IpAddr::V6(v6) => self.v6.find(v6.to_bits()),
        };
        let place = hit.value.place().map(|place| &self.places[place as usize]);
        (place, if hit.value == Leaf::NOTHING { hit.depth } else { hit.value.len })
    }
}

/// The file's bytes, or nothing when they are more than we take. Bounded also while the file grows.
fn read_bounded(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let file = File::open(path)?;
    if file.metadata()?.len() > MAX_DATABASE_BYTES {
        return Ok(None);
    }
    let mut bytes = Vec::new();
    file.take(MAX_DATABASE_BYTES + 1).read_to_end(&mut bytes)?;
    Ok((bytes.len() as u64 <= MAX_DATABASE_BYTES).then_some(bytes))
}

/// A walk over every network of a file, in which each record is decoded once.
#[derive(Default)]
struct Walk {
    networks: usize,
    places: Interned,
    /// Index of the place by the record's offset in the file; many networks share a record.
    by_offset: HashMap<usize, u32>,
    v4: Vec<(u32, u8, Leaf)>,
    v6: Vec<(u128, u8, Leaf)>,
}

impl Walk {
    fn over(file: &str, reader: &Reader<Vec<u8>>) -> Result<Walk, OpenError> {
        let unsound = |source| OpenError::Unsound { file: file.to_owned(), source };
        let mut walk = Walk::default();
        // A tree of n nodes has at most n + 1 leaves; only a damaged one, whose branches meet, has more.
        let most = reader.metadata().node_count as usize + 1;
        for result in reader.networks(options(reader).map_err(unsound)?).map_err(unsound)? {
            let result = result.map_err(unsound)?;
            let network = result.network().map_err(unsound)?;
            let network = IpNet::new(network.ip(), network.prefix())
                .expect("both crates allow the same lengths");
            walk.networks += 1;
            if walk.networks > most {
                return Err(unsound(MaxMindDbError::invalid_database(
                    "branches of the search tree meet",
                )));
            }
            let Some(offset) = result.offset() else {
                continue;
            };
            let place = match walk.by_offset.get(&offset) {
                Some(place) => *place,
                None => {
                    let not_place =
                        |source| OpenError::NotPlace { file: file.to_owned(), network, source };
                    let record: Option<Record<'_>> =
                        result.decode().map_err(|error| not_place(error.into()))?;
                    let place = record.map(|record| record.place()).transpose();
                    let place = place.map_err(|error| not_place(error.into()))?.unwrap_or_default();
                    let place = if place.is_unknown() { NO_PLACE } else { walk.places.id(place) };
                    walk.by_offset.insert(offset, place);
                    place
                }
            };
            walk.add(network, place);
        }
        Ok(walk)
    }

    fn add(&mut self, network: IpNet, place: u32) {
        let leaf = Leaf { place, len: network.prefix_len() };
        match network {
            IpNet::V4(v4) => self.v4.push((v4.network().to_bits(), v4.prefix_len(), leaf)),
            IpNet::V6(v6) => {
                self.v6.push((v6.network().to_bits(), v6.prefix_len(), leaf));
                // mmdb keeps IPv4 below ::/96, so a record around all of that is every IPv4 address's too.
                if v6.network().is_unspecified() && v6.prefix_len() <= 96 {
                    self.v4.push((u32::FIRST, 0, Leaf { place, len: 0 }));
                }
            }
        }
    }
}

/// Skips the copies of the IPv4 tree that makers link under `::ffff:0:0/96`, `2002::/16` and the like; we
/// take the IPv4 address out of such addresses before we look.
///
/// The reader knows a copy by where it points. Without an IPv4 tree it would take every network with the
/// record of `::` for a copy and lose it, and there are no copies to skip.
fn options(reader: &Reader<Vec<u8>>) -> Result<WithinOptions, MaxMindDbError> {
    let options = WithinOptions::default();
    let first = reader.lookup(Ipv4Addr::UNSPECIFIED.into())?.network()?;
    let has_ipv4_tree = first.is_ipv4();
    Ok(if has_ipv4_tree { options } else { options.include_aliased_networks() })
}

#[cfg(test)]
mod tests;
