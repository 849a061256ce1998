//! Databases and overrides together: who wins, how far it holds, and that compiling changes nothing.

use std::net::IpAddr;

use geoip::{Atlas, Overrides};

use crate::dice::{Dice, Rolled};
use crate::worlds::{compiled_place, database, overrides, run_ends, test_database};

#[test]
fn the_first_database_that_knows_a_field_gives_it() {
    let atlas = Atlas::new(
        vec![
            database("country", "10.0.0.0/8,DE\n10.8.0.0/16,FR\n"),
            database(
                "city",
                "10.0.0.0/16,DE,DE-HE,Frankfurt,50.11,8.68\n10.8.0.0/16,DE,DE-HE,Frankfurt,50.11,8.68\n",
            ),
            database("asn", "10.0.0.0/12,,,,,,64500\n2001:db8::/32,,,,,,64501\n"),
        ],
        Overrides::none(),
    );
    let check = |addr: &str, located: &str| {
        assert_eq!(atlas.lookup(addr.parse().unwrap()).to_string(), located)
    };
    check(
        "10.0.0.1",
        "Europe, DE, DE-HE, Frankfurt, 50.11 8.68, AS64500 (10.0.0.0/16, country + city + asn)",
    );
    check("10.1.0.1", "Europe, DE, 51.26 9.64, AS64500 (10.1.0.0/16, country + asn)");
    check("10.128.0.1", "Europe, DE, 51.26 9.64 (10.128.0.0/9, country)");
    // The second database contradicts the first, so it gives nothing but has been asked.
    check("10.8.0.1", "Europe, FR, 47.30 2.91, AS64500 (10.8.0.0/16, country + city + asn)");
    check("2001:db8::1", "AS64501 (2001:db8::/32, asn)");
    check("192.0.2.1", "unknown place (128.0.0.0/1, in no database)");
}

#[test]
fn an_override_replaces_the_place_and_keeps_the_as_number() {
    let databases = || {
        vec![
            database("city", "10.0.0.0/8,DE,DE-HE,Frankfurt,50.11,8.68\n2001:db8::/32,DE\n"),
            database("asn", "10.0.0.0/12,,,,,,64500\n"),
        ]
    };
    let check = |text: &str, addr: &str, located: &str| {
        let atlas = Atlas::new(databases(), overrides(text));
        assert_eq!(atlas.lookup(addr.parse().unwrap()).to_string(), located, "{text}");
    };
    let france = "10.1.0.0/16=country:FR";
    check(
        france,
        "10.1.2.3",
        "Europe, FR, 47.30 2.91, AS64500 (10.1.0.0/16, override 10.1.0.0/16)",
    );
    // Beside an override, an answer holds only as far as no override begins.
    check(
        france,
        "10.0.0.1",
        "Europe, DE, DE-HE, Frankfurt, 50.11 8.68, AS64500 (10.0.0.0/16, city + asn)",
    );
    check(
        france,
        "10.2.0.1",
        "Europe, DE, DE-HE, Frankfurt, 50.11 8.68, AS64500 (10.2.0.0/15, city + asn)",
    );
    // The databases' networks cut an override's answer only if they are asked for the AS number.
    check(
        "8.0.0.0/6=country:FR",
        "10.1.2.3",
        "Europe, FR, 47.30 2.91, AS64500 (10.0.0.0/12, override 8.0.0.0/6)",
    );
    check(
        "8.0.0.0/6=country:FR,asn:1",
        "10.1.2.3",
        "Europe, FR, 47.30 2.91, AS1 (8.0.0.0/6, override 8.0.0.0/6)",
    );
    // The longest prefix wins whatever the order; of two equal ones the last.
    let nested = "10.1.0.0/16=country:FR,asn:1 10.0.0.0/8=country:US,asn:1";
    check(nested, "10.1.2.3", "Europe, FR, 47.30 2.91, AS1 (10.1.0.0/16, override 10.1.0.0/16)");
    check(
        nested,
        "10.2.2.3",
        "North America, US, 38.79 -93.52, AS1 (10.2.0.0/15, override 10.0.0.0/8)",
    );
    let twice = "10.0.0.0/8=country:FR,asn:1 10.0.0.0/8=country:US,asn:1";
    check(
        twice,
        "10.1.2.3",
        "North America, US, 38.79 -93.52, AS1 (10.0.0.0/8, override 10.0.0.0/8)",
    );
    check(
        "2001:db8:8000::/33=country:FR",
        "2001:db8::",
        "Europe, DE, 51.26 9.64 (2001:db8::/33, city)",
    );
    // A continent alone has no point.
    check(
        "10.0.0.0/8=continent:EU,asn:1",
        "10.1.2.3",
        "Europe, AS1 (10.0.0.0/8, override 10.0.0.0/8)",
    );
}

#[test]
fn an_address_that_carries_ipv4_is_where_that_is() {
    let atlas = Atlas::new(
        vec![database("city", "192.0.2.0/24,DE\n2001::/16,JP\n")],
        overrides("198.51.100.0/24=country:FR"),
    );
    let check = |addr: &str, located: &str| {
        assert_eq!(atlas.lookup(addr.parse().unwrap()).to_string(), located, "{addr}")
    };
    for carrier in [
        "192.0.2.7",
        "::ffff:192.0.2.7",
        "64:ff9b::192.0.2.7",
        "2002:c000:207::1",
        "2001::3fff:fdf8",
    ] {
        check(carrier, "Europe, DE, 51.26 9.64 (192.0.2.0/24, city)");
    }
    check("2002:c633:6401::", "Europe, FR, 47.30 2.91 (198.51.100.0/24, override 198.51.100.0/24)");
    // Beside Teredo an answer does not hold for Teredo.
    check("2001:1::", "Asia, JP, 35.57 137.20 (2001:1::/32, city)");
    check("2001:8000::", "Asia, JP, 35.57 137.20 (2001:8000::/17, city)");
    check("2003::", "unknown place (2003::/16, in no database)");
    // Not one of the forms that carry IPv4, though mmdb keeps IPv4 there.
    check("::192.0.2.7", "unknown place (::/81, in no database)");
}

#[test]
fn compiling_changes_no_answer() {
    let worlds = [
        Atlas::new(vec![], Overrides::none()),
        Atlas::new(vec![], overrides("10.0.0.0/8=country:FR 2001:db8::/32=country:DE")),
        Atlas::new(vec![test_database("GeoIP2-Country-Test")], Overrides::none()),
        Atlas::new(
            vec![test_database("GeoIP2-City-Test"), test_database("GeoLite2-ASN-Test")],
            overrides(
                "81.2.69.160/28=country:FR 2001::/8=country:DE 1.0.0.0/8=continent:OC,asn:13335",
            ),
        ),
        Atlas::new(
            vec![
                test_database("GeoIP2-ISP-Test"),
                test_database("GeoIP2-Enterprise-Test"),
                test_database("GeoLite2-City-Test"),
            ],
            overrides("::/0=continent:EU 0.0.0.0/0=country:GB 12.0.0.0/8=asn:7"),
        ),
    ];
    let mut dice = Dice::new();
    for atlas in worlds {
        let compiled = atlas.compile();
        assert!(compiled.places[0].is_unknown());
        let mut addresses = run_ends(&compiled);
        addresses.extend((0..500).map(|_| IpAddr::from(u32::rolled(&mut dice).to_be_bytes())));
        addresses.extend((0..500).map(|_| IpAddr::from(u128::rolled(&mut dice).to_be_bytes())));
        for addr in addresses {
            let located = atlas.lookup(addr);
            let (place, depth) = compiled_place(&compiled, addr);
            assert_eq!(place, &located.place, "{addr}");
            // Compiled runs are as wide as they can be: neighbours of one place are one.
            assert!(depth <= located.network.prefix_len(), "{addr}: {depth} > {}", located.network);
        }
    }
}
