//! Range lists into an mmdb database.
//!
//! For operators without a MaxMind licence (Debian's `tor-geoipdb` has lists of the whole Internet) and for
//! demos and tests. The same lists and label give the same bytes. Reads no file and no clock.

mod list;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::{Duration, UNIX_EPOCH};

use mmdb_writer::{Value, Writer};

use crate::country::Country;
use crate::distance::Coordinates;
use crate::embedded;
use crate::place::Place;
use crate::ranges::{Addr, RangeTable};
use list::Entries;

/// A range list to build from.
#[derive(Clone, Copy, Debug)]
pub struct List<'a> {
    /// Its file's name, for errors.
    pub name: &'a str,
    /// What its lines look like.
    pub format: Format,
    /// Its lines. Empty ones and those that begin with `#` are passed over.
    pub text: &'a str,
}

/// What the lines of a list look like.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Format {
    /// `START,END,CC`, IPv4 addresses as decimal numbers; ascending and disjoint. `??` is unknown.
    Ipv4Ranges,
    /// `START,END,CC`, IPv6 addresses as text; ascending and disjoint. `??` is unknown.
    Ipv6Ranges,
    /// `PREFIX,CC[,SUBDIVISION[,CITY,LAT,LON[,ASN]]]`, fields left empty where unknown, in any order; the
    /// longest prefix wins.
    Places,
}

/// What the database says of itself.
#[derive(Clone, Copy, Debug)]
pub struct Label<'a> {
    /// One line for people; not empty.
    pub description: &'a str,
    /// When it was made, in seconds since 1970.
    pub build_epoch: u64,
}

/// A database, and what of the lists is not in it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Built {
    /// The file.
    pub mmdb: Vec<u8>,
    /// Ranges with a place, neighbours of one place counted once.
    pub ranges: usize,
    /// Lines left out because they lie where addresses carry IPv4 (or mmdb keeps it): look-ups read the
    /// IPv4 address inside and never come there.
    pub carrying: usize,
    /// Lines left out because their list says that nobody knows.
    pub unknown: usize,
    /// Lines left out because no place has their code, by code.
    pub unplaced: BTreeMap<String, usize>,
}

/// Why no database was built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// A line is not what its format says.
    #[error("{file}:{line}: {reason}")]
    Line { file: String, line: usize, reason: String },
    /// The label's description is empty, which readers refuse.
    #[error("the description is empty; say in a few words what the database is made of")]
    NoDescription,
    /// The label's epoch is beyond what a clock can show.
    #[error("build epoch {0} is too far in the future (expected seconds since 1970)")]
    Epoch(u64),
    /// The writer refused.
    #[error("cannot be written as mmdb")]
    Write(#[from] mmdb_writer::Error),
}

/// Builds a database from range lists; later lists win over earlier ones at equal prefixes.
///
/// ```
/// use geoip::build::{Format, Label, List, ranges_to_mmdb};
/// let list = List { name: "demo.csv", format: Format::Places, text: "192.0.2.0/24,DE\n" };
/// let built = ranges_to_mmdb(&[list], &Label { description: "a demo", build_epoch: 0 })?;
/// let database = geoip::Database::from_bytes("demo.mmdb", built.mmdb)?;
/// assert_eq!(database.kind(), "Ranges-Country");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// When a line cannot be read, with its file and number, or the label is not usable.
pub fn ranges_to_mmdb(lists: &[List<'_>], label: &Label<'_>) -> Result<Built, BuildError> {
    if label.description.is_empty() {
        return Err(BuildError::NoDescription);
    }
    let epoch = UNIX_EPOCH.checked_add(Duration::from_secs(label.build_epoch));
    let epoch = epoch.ok_or(BuildError::Epoch(label.build_epoch))?;
    let mut entries = Entries::default();
    for list in lists {
        entries.read(list)?;
    }

    let places = entries.places.into_places();
    let v4 = RangeTable::from_prefixes(None, entries.v4);
    // What covers a carrying range from outside must not paint over it.
    let masked = embedded::carrying()
        .chain([(u128::FIRST, IPV4_TREE_LEN)])
        .map(|(addr, len)| (addr, len, true));
    let v6 = RangeTable::from_prefixes(None, entries.v6)
        .overlay(&RangeTable::from_prefixes(false, masked), |place, masked| {
            place.filter(|_| !masked)
        });

    let mut writer = Writer::builder(kind(&places))
        .description(&[("en", label.description)])
        .build_epoch(epoch)
        .build();
    let values: Vec<Value> = places.iter().map(value).collect();
    let mut ranges = 0;
    let v4 = v4.runs().map(|(first, last, place)| (v4_addr(first), v4_addr(last), place));
    let v6 = v6.runs().map(|(first, last, place)| (v6_addr(first), v6_addr(last), place));
    for (first, last, place) in v4.chain(v6) {
        let Some(place) = place else { continue };
        writer.insert_range(first, last, &values[place as usize])?;
        ranges += 1;
    }
    let (carrying, unknown, unplaced) = (entries.carrying, entries.unknown, entries.unplaced);
    Ok(Built { mmdb: writer.to_bytes()?, ranges, carrying, unknown, unplaced })
}

/// mmdb keeps IPv4 below `::/96`.
const IPV4_TREE_LEN: u8 = 96;

fn v4_addr(bits: u32) -> IpAddr {
    Ipv4Addr::from_bits(bits).into()
}

fn v6_addr(bits: u128) -> IpAddr {
    Ipv6Addr::from_bits(bits).into()
}

/// Readers go by the word `City` or `Country` in it.
fn kind(places: &[Place]) -> &'static str {
    let country_only = |place: &Place| {
        place.location.is_none() && place.city.is_none() && place.subdivision.is_none()
    };
    if places.iter().all(country_only) { "Ranges-Country" } else { "Ranges-City" }
}

/// The record of a place, in the shape of GeoLite2.
fn value(place: &Place) -> Value {
    let Place { continent, country, subdivision, city, location, asn } = place;
    let code = |key: &str, code: String| Value::map([(key, Value::from(code))]);
    let continent = continent.or(country.and_then(Country::continent));
    let fields = [
        ("continent", continent.map(|continent| code("code", continent.to_string()))),
        ("country", country.map(|country| code("iso_code", country.to_string()))),
        (
            "subdivisions",
            subdivision
                .as_ref()
                .map(|part| Value::array([code("iso_code", part.part().to_owned())])),
        ),
        ("city", city.as_deref().map(|name| Value::map([("names", code("en", name.to_owned()))]))),
        ("location", location.map(location_value)),
        ("autonomous_system_number", asn.map(Value::from)),
    ];
    Value::map(fields.into_iter().filter_map(|(key, value)| Some((key, value?))))
}

fn location_value(location: Coordinates) -> Value {
    Value::map([
        ("latitude", Value::from(location.lat())),
        ("longitude", Value::from(location.lon())),
    ])
}
