//! A reload shares with the running world what has not changed, and nothing else.

#![expect(clippy::unwrap_used, reason = "what a test cannot go on without may as well end it")]

mod files;

use std::ptr;
use std::sync::Arc;

use geoip::build::{Format, Label, List, ranges_to_mmdb};
use gslb_dns::config::{self, Prepared};
use gslb_dns::ids::ServiceId;
use gslb_dns::name::Name;
use gslb_dns::snapshot::Groundwork;

use files::Files;

const WORLD: &str = r#"
[geoip]
databases = ["places.mmdb", "more.mmdb"]
overrides = { "192.0.2.0/24" = { country = "NL" } }
[zone."example.com"]
file = "example.com.zone"
[site.fra]
place = { country = "DE" }
vips = ["198.51.100.10"]
[site.iad]
place = { country = "US" }
vips = ["192.0.2.10"]
[site.nrt]
place = { country = "JP" }
vips = ["203.0.113.10"]
[map.world]
default = ["fra", "iad"]
continent = { NA = ["iad", "fra"] }
[service."near.example.com"]
sites = ["fra", "iad"]
steer = ["nearest"]
when_all_down = "open"
[service."mapped.example.com"]
sites = ["fra", "iad"]
steer = [{ map = "world" }]
when_all_down = "open"
"#;
const PLACES: &str = "81.0.0.0/8,GB\n63.0.0.0/8,US\n";
const MORE: &str = "175.0.0.0/8,CN\n";

fn database(places: &str) -> Vec<u8> {
    let list = List { name: "places.csv", format: Format::Places, text: places };
    ranges_to_mmdb(&[list], &Label { description: "test", build_epoch: 1 }).unwrap().mmdb
}

fn load(files: &Files, running: Option<&Groundwork>) -> Groundwork {
    let world = running.map(|running| &running.world);
    let config = config::load_beside(&files.node(), world);
    let prepared = config.and_then(|config| config.prepare_beside(running));
    let Prepared { ground, .. } = prepared.unwrap_or_else(|problems| panic!("{problems}"));
    ground
}

/// What the second world shares with the first, after a change to one of the files.
fn check(file: &str, from: &str, to: &str, databases: [bool; 2], geographies: [bool; 2]) {
    let files = Files::of(WORLD);
    files.put("places.mmdb", database(PLACES));
    files.put("more.mmdb", database(MORE));
    let first = load(&files, None);
    match file {
        "world.toml" => {
            assert!(WORLD.contains(from), "{from}");
            files.put(file, WORLD.replace(from, to));
        }
        _ => files.put(file, database(to)),
    }
    let second = load(&files, Some(&first));
    let of = |ground: &Groundwork| ground.world.atlas.databases().to_vec();
    let shared: Vec<bool> =
        of(&first).iter().zip(&of(&second)).map(|(one, other)| Arc::ptr_eq(one, other)).collect();
    assert_eq!(shared, databases, "databases: {file} {from}");
    let shared =
        [0, 1].map(|id| ptr::eq(first.geography(ServiceId(id)), second.geography(ServiceId(id))));
    assert_eq!(shared, geographies, "geographies: {file} {from}");
    // Whatever is shared, the world is the one that a start would make.
    assert_eq!(second.world.epoch, load(&files, None).world.epoch);
}

#[test]
fn what_has_not_changed_is_shared() {
    // By service, in the order of their names: mapped, near.
    check("world.toml", "when_all_down", "when_all_down", [true, true], [true, true]);
}

#[test]
fn what_has_changed_is_made_anew() {
    let world = "world.toml";
    check(world, "vips = [\"192.0.2.10\"]", "vips = [\"192.0.2.11\"]", [true; 2], [true; 2]);
    check(world, "NA = [\"iad\", \"fra\"]", "AS = [\"iad\", \"fra\"]", [true; 2], [false, true]);
    check(world, "country = \"US\"", "country = \"CA\"", [true; 2], [false, false]);
    check(world, "country = \"JP\"", "country = \"KR\"", [true; 2], [true; 2]);
    check(world, "country = \"NL\"", "country = \"BE\"", [true; 2], [false; 2]);
    check(world, "[site.nrt]", "[site.ams]", [true; 2], [false; 2]); // Every id is another site's.
    check("places.mmdb", "", "81.0.0.0/8,IE\n63.0.0.0/8,US\n", [false, true], [false; 2]);
}

const ZONES: &str = r#"
[zone."example.com"]
file = "example.com.zone"
[zone."example.net"]
file = "example.net.zone"
[site.fra]
vips = ["198.51.100.10"]
[service."a.example.com"]
sites = ["fra"]
when_all_down = "open"
ttl = { max = "1m" }
[service."b.example.net"]
sites = ["fra"]
when_all_down = "open"
"#;
/// Its second server has no address, of which is warned.
const NET: &str = "@ 60 SOA ns1 h 1 2 3 4 5\n$INCLUDE more\nns1 60 A 198.51.100.53\n";
const MORE_OF_NET: &str = "@ 60 NS ns1\n@ 60 NS ns2\n";

/// Whether the zones of com and net are those of the world before, after a change to one of the files.
fn check_zones(file: &str, from: &str, to: &str, expected: [bool; 2]) {
    let files = Files::of(ZONES);
    let texts = [("world.toml", ZONES), ("example.net.zone", NET), ("more", MORE_OF_NET)];
    texts.iter().for_each(|(name, text)| files.put(name, text));
    let first = load_told(&files, None);
    if let Some((name, text)) = texts.iter().find(|(name, _)| *name == file) {
        assert!(text.contains(from), "{from}");
        files.put(name, text.replace(from, to));
    }
    let second = load_told(&files, Some(&first.0));
    let shared = ["example.com", "example.net"].map(|apex| {
        let apex: Name = apex.parse().unwrap();
        let zone = |ground: &Groundwork| Arc::clone(ground.world.made_zone(&apex).unwrap().0);
        Arc::ptr_eq(&zone(&first.0), &zone(&second.0))
    });
    assert_eq!(shared, expected, "{file} {from}");
    // Whatever is shared, the world is the one that a start would make, and as much is told of it.
    let anew = load_told(&files, None);
    assert_eq!(second.0.world.epoch, anew.0.world.epoch);
    assert_eq!(second.1, anew.1, "{file} {from}");
    assert!(second.1.contains("ns2.example.net") || to.contains("ns2"), "{}", second.1);
}

/// A world, and all that is told of it.
fn load_told(files: &Files, running: Option<&Groundwork>) -> (Groundwork, String) {
    let world = running.map(|running| &running.world);
    let config = config::load_beside(&files.node(), world);
    let prepared = config.and_then(|config| config.prepare_beside(running));
    let Prepared { ground, findings, .. } =
        prepared.unwrap_or_else(|problems| panic!("{problems}"));
    (ground, findings.to_string())
}

#[test]
fn a_zone_that_would_be_made_of_the_same_is_not_made_again() {
    check_zones("", "", "", [true, true]);
    check_zones("world.toml", "198.51.100.10", "198.51.100.11", [true, true]);
    check_zones("world.toml", "\"1m\"", "\"2m\"", [true, true]);
    check_zones("example.net.zone", "198.51.100.53", "198.51.100.54", [true, false]);
    check_zones("more", "60 NS ns2", "61 NS ns2", [true, false]); // Of equal length, included.
    check_zones("more", "@ 60 NS ns2", "ns2 60 A 198.51.100.54", [true, false]);
}

#[test]
fn a_zone_follows_the_services_that_stand_in_it() {
    let other = "[service.\"b.example.net\"]";
    check_zones("world.toml", other, "[service.\"c.example.net\"]", [true, false]);
    let more = |name| {
        format!("[service.\"{name}\"]\nsites = [\"fra\"]\nwhen_all_down = \"open\"\n{other}")
    };
    check_zones("world.toml", other, &more("c.example.net"), [true, false]);
    check_zones("world.toml", other, &more("c.example.com"), [false, true]);
    check_zones("world.toml", other, &more("aa.example.com"), [false, false]); // And net's has another id.
    let within = "[zone.\"in.example.net\"]\nfile = \"example.com.zone\"\n[site.fra]";
    check_zones("world.toml", "[site.fra]", within, [true, false]);
}
