//! Range lists into databases.

use geoip::Database;
use geoip::build::{BuildError, Built, Format, Label, List, ranges_to_mmdb};

use crate::worlds::atlas_of;

const LABEL: Label<'_> = Label { description: "a test", build_epoch: 1_700_000_000 };

fn build(format: Format, text: &str) -> Result<Built, BuildError> {
    ranges_to_mmdb(&[List { name: "list", format, text }], &LABEL)
}

#[test]
fn ranges_become_a_database() {
    let check = |format, text: &str, addr: &str, located: &str| {
        let database = Database::from_bytes("built", build(format, text).unwrap().mmdb).unwrap();
        assert_eq!(
            atlas_of(database).lookup(addr.parse().unwrap()).to_string(),
            located,
            "{text} at {addr}"
        );
    };
    use Format::*;
    let v4 = "# comment\n\n16777216,16777471,AU\n16777472,16778239,CN\n16778240,16779263,??\n";
    check(Ipv4Ranges, v4, "1.0.0.255", "Oceania, AU, -33.96 145.06 (1.0.0.0/24, built)");
    check(Ipv4Ranges, v4, "1.0.3.7", "Asia, CN, 32.19 114.36 (1.0.2.0/23, built)");
    check(Ipv4Ranges, v4, "1.0.4.0", "unknown place (1.0.4.0/22, in no database)");
    let v6 = "2001:db8::,2001:db8:ffff:ffff:ffff:ffff:ffff:ffff,DE\n";
    check(Ipv6Ranges, v6, "2001:db8::1", "Europe, DE, 51.26 9.64 (2001:db8::/32, built)");
    check(
        Ipv4Ranges,
        "0,4294967295,UK\n",
        "192.0.2.1",
        "Europe, GB, 52.50 -1.34 (0.0.0.0/0, built)",
    );
    check(Ipv4Ranges, "0,255,EU\n", "0.0.0.1", "Europe (0.0.0.0/24, built)");
    check(Ipv4Ranges, "0,255,AP\n", "0.0.0.1", "Asia (0.0.0.0/24, built)");
    check(Ipv4Ranges, "0,255,CS\n", "0.0.0.1", "Europe (0.0.0.0/24, built)");
    check(Ipv4Ranges, "0,255,AN\n", "0.0.0.1", "North America (0.0.0.0/24, built)");
    check(Ipv4Ranges, "0,255,XK\n", "0.0.0.1", "Europe, XK, 42.56 20.93 (0.0.0.0/24, built)");

    let places = "10.1.0.0/16,FR\n10.0.0.0/8,DE,DE-HE,Frankfurt am Main,50.11,8.68,64500\n::/0,US\n192.0.2.0/24,,,,,,7\n";
    check(
        Places,
        places,
        "10.0.0.1",
        "Europe, DE, DE-HE, Frankfurt am Main, 50.11 8.68, AS64500 (10.0.0.0/16, built)",
    );
    check(Places, places, "10.1.0.1", "Europe, FR, 47.30 2.91 (10.1.0.0/16, built)"); // More specific, though first.
    check(Places, places, "192.0.2.1", "AS7 (192.0.2.0/24, built)");
    check(Places, places, "2600::1", "North America, US, 38.79 -93.52 (2400::/6, built)");
    check(Places, places, "11.0.0.1", "unknown place (11.0.0.0/8, in no database)"); // ::/0 is not IPv4's.
}

#[test]
fn what_is_left_out_is_counted() {
    let check = |format, text: &str, ranges, carrying, unknown, unplaced: &[(&str, usize)]| {
        let built = build(format, text).unwrap();
        assert_eq!(
            (built.ranges, built.carrying, built.unknown),
            (ranges, carrying, unknown),
            "{text}"
        );
        let counted: Vec<(&str, usize)> =
            built.unplaced.iter().map(|(code, lines)| (code.as_str(), *lines)).collect();
        assert_eq!(counted, unplaced, "{text}");
    };
    check(
        Format::Ipv4Ranges,
        "0,1,DE\n2,3,DE\n4,5,??\n6,7,ZZ\n8,9,OS\n10,11,OS\n",
        1,
        0,
        2,
        &[("OS", 2)],
    );
    check(Format::Ipv6Ranges, "2001::,2001:0:ffff:ffff:ffff:ffff:ffff:ffff,??\n", 0, 0, 1, &[]);
    check(
        Format::Ipv6Ranges,
        "2001::,2001:0:ffff:ffff:ffff:ffff:ffff:ffff,US\n2002::,2002:ffff:ffff:ffff:ffff:ffff:ffff:ffff,JP\n",
        0,
        2,
        0,
        &[],
    );
    check(Format::Ipv6Ranges, "2001::,2001:1:ffff:ffff:ffff:ffff:ffff:ffff,US\n", 1, 0, 0, &[]); // One prefix, cut.
    check(Format::Places, "::ffff:192.0.2.0/120,DE\n::/96,DE\n192.0.2.0/24,DE\n", 1, 2, 0, &[]);
}

#[test]
fn a_line_that_cannot_be_read_is_named() {
    let check = |format, text: &str, expected: &str| {
        assert_eq!(build(format, text).unwrap_err().to_string(), expected, "{text}");
    };
    use Format::*;
    let v4 = "START,END,CC with decimal IPv4 addresses";
    check(Ipv4Ranges, "# v4\n0,1\n", &format!("list:2: \"0,1\" is not {v4}"));
    check(Ipv4Ranges, "0,1,DE,FR\n", &format!("list:1: \"0,1,DE,FR\" is not {v4}"));
    check(Ipv4Ranges, "0,1,GER\n", &format!("list:1: \"0,1,GER\" is not {v4}"));
    check(Ipv4Ranges, "0,4294967296,DE\n", &format!("list:1: \"0,4294967296,DE\" is not {v4}"));
    check(Ipv6Ranges, "0,1,DE\n", "list:1: \"0,1,DE\" is not START,END,CC with IPv6 addresses");
    check(Ipv4Ranges, "5,1,DE\n", "list:1: the range ends at 1, before it begins at 5");
    check(
        Ipv6Ranges,
        "::,::5,DE\n::5,::6,DE\n",
        "list:2: the range begins at ::5, not after ::5 where the one before ends (sort the list)",
    );
    let places = "PREFIX,CC[,SUBDIVISION[,CITY,LAT,LON[,ASN]]]";
    check(Places, "10.0.0.0/8\n", &format!("list:1: \"10.0.0.0/8\" is not {places}"));
    check(
        Places,
        "10.0.0.0/8,DE,,,,,,\n",
        &format!("list:1: \"10.0.0.0/8,DE,,,,,,\" is not {places}"),
    );
    check(Places, "10.0.0.0,DE\n", "list:1: \"10.0.0.0\" is not a prefix such as 192.0.2.0/24");
    check(
        Places,
        "10.0.0.1/8,DE\n",
        "list:1: 10.0.0.1/8 has bits set after its length (expected 10.0.0.0/8)",
    );
    check(
        Places,
        "10.0.0.0/8,UK\n",
        "list:1: no country has the code \"UK\" (expected an ISO 3166-1 alpha-2 code in capitals, such as \"DE\"; the United Kingdom is \"GB\")",
    );
    check(
        Places,
        "10.0.0.0/8,DE,HE\n",
        "list:1: \"HE\" is not a subdivision (expected an ISO 3166-2 code in capitals, such as \"US-CA\")",
    );
    check(
        Places,
        "10.0.0.0/8,DE,,,50\n",
        "list:1: a latitude needs a longitude, and the other way",
    );
    check(Places, "10.0.0.0/8,DE,,,x,8\n", "list:1: \"x\" is not a latitude in degrees");
    check(
        Places,
        "10.0.0.0/8,DE,,,500,8\n",
        "list:1: 500 8 is not on the earth (expected latitude -90 to 90 and longitude -180 to 180, in degrees)",
    );
    check(Places, "10.0.0.0/8,DE,,,,,AS1\n", "list:1: \"AS1\" is not an AS number such as 64500");
}

#[test]
fn a_label_that_readers_would_refuse_is_refused() {
    let check = |label: Label<'_>, expected: &str| {
        assert_eq!(ranges_to_mmdb(&[], &label).unwrap_err().to_string(), expected);
    };
    check(
        Label { description: "", ..LABEL },
        "the description is empty; say in a few words what the database is made of",
    );
    check(
        Label { build_epoch: u64::MAX, ..LABEL },
        "build epoch 18446744073709551615 is too far in the future (expected seconds since 1970)",
    );
}

#[test]
fn the_same_lists_give_the_same_bytes() {
    let text =
        "10.0.0.0/8,DE\n10.1.0.0/16,FR\n2001:db8::/32,US,US-CA,Los Angeles,34.05,-118.24,64500\n";
    let built = build(Format::Places, text).unwrap();
    assert_eq!(built, build(Format::Places, text).unwrap());
    let database = Database::from_bytes("built", built.mmdb).unwrap();
    assert_eq!((database.kind(), database.build_epoch()), ("Ranges-City", 1_700_000_000));
}
