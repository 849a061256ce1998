//! A reload shares with the running world what has not changed, and nothing else.

#![expect(clippy::unwrap_used, reason = "what a test cannot go on without may as well end it")]

mod files;

use std::ptr;
use std::sync::Arc;

use geoip::build::{Format, Label, List, ranges_to_mmdb};
use gslb_dns::config::{self, Prepared};
use gslb_dns::ids::ServiceId;
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
