//! The whole Internet by country, where Debian's tor-geoipdb is installed.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::{env, fs};

use geoip::build::{Format, Label, List, ranges_to_mmdb};
use geoip::{Continent, Country, Database, Place, embedded};

use crate::worlds::{atlas_of, compiled_place};

const LISTS: [&str; 2] = ["/usr/share/tor/geoip", "/usr/share/tor/geoip6"];

/// Every range of the lists is compared at its first and last address; none is sampled.
#[test]
fn every_range_of_the_tor_lists_is_found() {
    if !LISTS.iter().all(|list| Path::new(list).exists()) {
        assert!(
            env::var_os("GSLB_REQUIRE_PEERS").is_none(),
            "tor-geoipdb is not installed, and GSLB_REQUIRE_PEERS is set"
        );
        eprintln!("skipped: tor-geoipdb is not installed");
        return;
    }
    let [v4, v6] = LISTS.map(|list| fs::read_to_string(list).unwrap());
    let lists = [
        List { name: LISTS[0], format: Format::Ipv4Ranges, text: &v4 },
        List { name: LISTS[1], format: Format::Ipv6Ranges, text: &v6 },
    ];
    let built =
        ranges_to_mmdb(&lists, &Label { description: "tor-geoipdb", build_epoch: 0 }).unwrap();
    assert!(built.carrying <= 2, "{}", built.carrying);

    let atlas = atlas_of(Database::from_bytes("tor.mmdb", built.mmdb).unwrap());
    let compiled = atlas.compile();
    let mut ranges = 0;
    let v4_addr = |text: &str| IpAddr::from(Ipv4Addr::from_bits(text.parse().unwrap()));
    let v6_addr = |text: &str| IpAddr::from(text.parse::<Ipv6Addr>().unwrap());
    let lines = |text| str::lines(text).filter(|line| !line.is_empty() && !line.starts_with('#'));
    for (line, addr) in lines(&v4)
        .map(|line| (line, &v4_addr as &dyn Fn(&str) -> IpAddr))
        .chain(lines(&v6).map(|line| (line, &v6_addr as &dyn Fn(&str) -> IpAddr)))
    {
        let [first, last, code] = line.split(',').collect::<Vec<_>>()[..] else { panic!("{line}") };
        let place = place(code);
        for addr in [addr(first), addr(last)] {
            // Teredo and 6to4 are where the IPv4 inside is, whatever the list says.
            if matches!(addr, IpAddr::V6(v6) if embedded(v6).is_some()) {
                continue;
            }
            assert_eq!(atlas.lookup(addr).place, place, "{line}");
            assert_eq!(compiled_place(&compiled, addr).0, &place, "{line}");
        }
        ranges += 1;
    }
    assert!(ranges > 100_000, "{ranges}");
}

/// What a list's code stands for, said again and apart from the crate.
fn place(code: &str) -> Place {
    let continent = |continent| Place { continent: Some(continent), ..Place::default() };
    match code {
        "EU" | "CS" => continent(Continent::Europe),
        "AP" => continent(Continent::Asia),
        "AN" => continent(Continent::NorthAmerica),
        "UK" => place("GB"),
        "??" | "AB" | "OS" | "SU" | "UN" | "ZZ" => Place::default(),
        _ => {
            let country: Country = code.parse().unwrap();
            let (continent, location) = (country.continent(), country.centroid());
            Place { continent, country: Some(country), location, ..Place::default() }
        }
    }
}
