//! MaxMind's test databases against the JSON they were made from.

use std::collections::BTreeMap;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use geoip::{Coordinates, Country, Place, Source, Subdivision};
use ipnet::IpNet;
use serde_json::Value;

use crate::dice::{Dice, Rolled};
use crate::worlds::{atlas_of, compiled_place, ends, maxmind, test_database};

#[test]
fn every_network_of_the_city_source_is_found() {
    check("GeoIP2-City-Test", 250);
}

#[test]
fn every_network_of_the_lite_city_source_is_found() {
    check("GeoLite2-City-Test", 242);
}

#[test]
fn every_network_of_the_lite_country_source_is_found() {
    check("GeoLite2-Country-Test", 244);
}

#[test]
fn every_network_of_the_lite_asn_source_is_found() {
    check("GeoLite2-ASN-Test", 720);
}

/// Looks up the first, the last and a random address of each network of a source, plain and, for IPv4,
/// carried in IPv6, and asks the compiled tables the same.
fn check(name: &str, networks: usize) {
    let mut dice = Dice::new();
    let source = source(name);
    assert_eq!(source.len(), networks);
    let atlas = atlas_of(test_database(name));
    let compiled = atlas.compile();
    let joined = joined(&source);
    for (network, record) in &source {
        let expected = place(record);
        let whole =
            *joined.keys().find(|whole| whole.contains(network)).expect("joining loses no network");
        let [first, last] = ends(*network);
        for addr in [first, last, random_in(*network, &mut dice)] {
            for carried in carriers(addr) {
                let located = atlas.lookup(carried);
                assert_eq!(located.place, expected, "{carried} of {network}");
                assert_eq!(located.network, whole, "{carried} of {network}");
                assert!(expected.is_unknown() == (located.source == Source::Nowhere), "{carried}");
                assert_eq!(
                    compiled_place(&compiled, carried).0,
                    &expected,
                    "{carried} of {network}"
                );
            }
        }
    }
}

/// The networks of a source with their records. mmdb writes IPv4 as `::a.b.c.d`, and so does its source.
fn source(name: &str) -> BTreeMap<IpNet, Value> {
    let text = fs::read_to_string(maxmind(&format!("source-data/{name}.json"))).unwrap();
    let entries: Vec<BTreeMap<IpNet, Value>> = serde_json::from_str(&text).unwrap();
    let as_written = |network: IpNet| match network {
        IpNet::V6(v6) if v6.addr().to_bits() >> 32 == 0 && v6.prefix_len() >= 96 => {
            IpNet::new(Ipv4Addr::from_bits(v6.addr().to_bits() as u32).into(), v6.prefix_len() - 96)
                .unwrap()
        }
        IpNet::V4(_) | IpNet::V6(_) => network,
    };
    entries.into_iter().flatten().map(|(network, record)| (as_written(network), record)).collect()
}

/// The networks as the database has them: its maker joins two halves that have one record, again and again.
fn joined(source: &BTreeMap<IpNet, Value>) -> BTreeMap<IpNet, Value> {
    let mut joined = source.clone();
    for len in (1..=128).rev() {
        let halves: Vec<IpNet> =
            joined.keys().copied().filter(|network| network.prefix_len() == len).collect();
        for half in halves {
            let whole = half.supernet().expect("it is longer than nothing");
            let [left, right] = [whole.network(), whole.broadcast()]
                .map(|addr| IpNet::new(addr, len).unwrap().trunc());
            if joined.contains_key(&left) && joined.get(&left) == joined.get(&right) {
                let record = joined.remove(&left).expect("it was there");
                joined.remove(&right);
                joined.insert(whole, record);
            }
        }
    }
    joined
}

/// The place of a record, read by the names that MaxMind documents.
fn place(record: &Value) -> Place {
    let text = |pointer: &str| record.pointer(pointer).and_then(Value::as_str);
    let country: Option<Country> = text("/country/iso_code").map(|code| code.parse().unwrap());
    let part = text("/subdivisions/0/iso_code");
    let subdivision = country.zip(part).map(|(country, part)| format!("{country}-{part}"));
    let degrees = |pointer: &str| record.pointer(pointer).and_then(Value::as_f64);
    let location = degrees("/location/latitude").zip(degrees("/location/longitude"));
    Place {
        continent: text("/continent/code").map(|code| code.parse().unwrap()),
        country,
        subdivision: subdivision.map(|code| code.parse::<Subdivision>().unwrap()),
        city: text("/city/names/en").map(Box::from),
        location: location
            .map(|(lat, lon)| Coordinates::new(lat, lon).unwrap())
            .or(country.and_then(Country::centroid)),
        asn: record
            .pointer("/autonomous_system_number")
            .and_then(Value::as_u64)
            .map(|asn| asn as u32),
    }
}

/// The address itself, and for IPv4 each form in which IPv6 carries it.
fn carriers(addr: IpAddr) -> Vec<IpAddr> {
    let IpAddr::V4(v4) = addr else {
        return vec![addr];
    };
    let bits = u128::from(v4.to_bits());
    let carried = [
        0xffff << 32 | bits,
        0x0064_ff9b << 96 | bits,
        0x2002 << 112 | bits << 80 | 0x1234,
        0x2001 << 112 | 0x1234 << 64 | (bits ^ 0xffff_ffff),
    ];
    carried.map(|bits| Ipv6Addr::from_bits(bits).into()).into_iter().chain([addr]).collect()
}

fn random_in(network: IpNet, dice: &mut Dice) -> IpAddr {
    match network {
        IpNet::V4(net) => {
            (net.addr() | (Ipv4Addr::from_bits(u32::rolled(dice)) & net.hostmask())).into()
        }
        IpNet::V6(net) => {
            (net.addr() | (Ipv6Addr::from_bits(u128::rolled(dice)) & net.hostmask())).into()
        }
    }
}
