//! Where the test files are, and what tests build from them.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;

use geoip::build::{Format, Label, List, ranges_to_mmdb};
use geoip::{Atlas, Compiled, Database, Overrides, Place, embedded};
use ipnet::IpNet;

pub fn maxmind(file: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/data/maxmind")).join(file)
}

/// Every mmdb file of MaxMind's in a folder and those below, as paths from the root of the data.
pub fn mmdb_files(folder: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(maxmind(folder)).unwrap() {
        let entry = entry.unwrap();
        let path = format!("{folder}/{}", entry.file_name().to_str().unwrap());
        if entry.file_type().unwrap().is_dir() {
            found.extend(mmdb_files(&path));
        } else if path.ends_with(".mmdb") {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// MaxMind's test database of this name.
pub fn test_database(name: &str) -> Database {
    Database::open(&maxmind(&format!("test-data/{name}.mmdb"))).unwrap()
}

/// A database with a line a place, as `PREFIX,CC[,SUBDIVISION[,CITY,LAT,LON[,ASN]]]`.
pub fn database(name: &str, places: &str) -> Database {
    let list = List { name: "places.csv", format: Format::Places, text: places };
    let built = ranges_to_mmdb(&[list], &Label { description: "a test", build_epoch: 0 }).unwrap();
    Database::from_bytes(name, built.mmdb).unwrap()
}

/// Overrides as on the command line, with blanks between.
pub fn overrides(text: &str) -> Overrides {
    let parse = |word: &str| {
        let over: geoip::PlaceOverride = word.parse().unwrap();
        (over.network, over.place)
    };
    Overrides::new(text.split_whitespace().map(parse))
}

/// What the compiled tables say of an address, asked as a server would.
pub fn compiled_place(compiled: &Compiled, addr: IpAddr) -> (&Place, u8) {
    let hit = match addr {
        IpAddr::V4(v4) => compiled.v4.find(v4.to_bits()),
        IpAddr::V6(v6) => match embedded(v6) {
            Some(inside) => compiled.v4.find(inside.v4.to_bits()),
            None => compiled.v6.find(v6.to_bits()),
        },
    };
    (&compiled.places[hit.value.index()], hit.depth)
}

/// The first and last address of a prefix.
pub fn ends(network: IpNet) -> [IpAddr; 2] {
    [network.network(), network.broadcast()]
}

/// Every run's first and last address of both compiled tables.
pub fn run_ends(compiled: &Compiled) -> Vec<IpAddr> {
    let v4 = compiled.v4.runs().flat_map(|(first, last, _)| [first, last]);
    let v6 = compiled.v6.runs().flat_map(|(first, last, _)| [first, last]);
    let v4 = v4.map(|bits| IpAddr::from(Ipv4Addr::from_bits(bits)));
    v4.chain(v6.map(|bits| IpAddr::from(Ipv6Addr::from_bits(bits)))).collect()
}

/// The one database, without overrides.
pub fn atlas_of(database: Database) -> Atlas {
    Atlas::new(vec![database], Overrides::none())
}
