//! `verdicts`: any octets as what a name server kept of its verdicts and of how far vantages had come; it starts with
//! them, and what it then keeps itself is what it reads again.

#![no_main]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::time::Duration;

use gslb_dns::config;
use gslb_dns::health::board::Board;
use gslb_dns::health::last_known::LastKnown;
use gslb_dns::judge::Now;
use gslb_dns::keeper::{Evidence, VERDICTS_FILE};
use gslb_dns::world::World;
use libfuzzer_sys::fuzz_target;
use tempfile::TempDir;

/// Two services of two sites, looked at from three places.
const WORLD: &str = r#"
[zone."example.com"]
file = "example.com.zone"
[site.fra]
vips = ["192.0.2.1"]
[site.iad]
vips = ["192.0.2.2", "2001:db8::2"]
[vantage.a]
[vantage.b]
[vantage.c]
[check.web]
kind = "tcp"
port = 80
host = "one.example.com"
[service."one.example.com"]
sites = ["fra", "iad"]
check = ["web"]
quorum = { down = 0.6, up = 0.6, vantages = 2, domains = 2, max_removed = 0.5 }
when_all_down = "open"
[service."two.example.com"]
sites = ["iad", "fra"]
check = ["web"]
quorum = { down = 0.6, up = 0.6, vantages = 2, domains = 2, max_removed = 0.5 }
when_all_down = "open"
"#;

static WATCHED: LazyLock<World> = LazyLock::new(|| {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("world");
    config::world_from_str(WORLD, &dir).unwrap_or_else(|problems| panic!("{problems}"))
});

/// In memory where there is such a place: it is written for every input.
static DIR: LazyLock<TempDir> = LazyLock::new(|| {
    let memory = Path::new("/dev/shm");
    let dir = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    dir.expect("a folder to write to")
});

fn kept() -> PathBuf {
    DIR.path().join(VERDICTS_FILE)
}

/// What a start makes of the file, and what it leaves there.
fn start(second: u64) -> (String, Option<Vec<u8>>) {
    let monotonic = Duration::from_secs(second);
    let now = Now { monotonic, wall: jiff::Timestamp::UNIX_EPOCH };
    let mut evidence = Evidence::read(DIR.path(), &WATCHED, now);
    assert!(evidence.standings().iter().all(|standing| standing.as_str() == "never_heard"));
    let wall = now.wall;
    let board = Board::of_views(1, &WATCHED, evidence.views(), &[], &LastKnown::default(), wall);
    let sight = evidence.sight_of(&WATCHED, &board, now).sight();
    assert_eq!(sight.services.len(), WATCHED.services.len());
    evidence.persist(DIR.path(), monotonic).expect("it is written");
    (sight.text(), fs::read(kept()).ok())
}

fuzz_target!(|octets: &[u8]| {
    fs::write(kept(), octets).expect("it is written");
    let (told, left) = start(1000);
    // Somebody is answered, whatever stood there: what nobody sees is kept as it was, and a start knows no more.
    let (again, left_again) = start(2000);
    assert_eq!(told, again);
    assert_eq!(left, left_again);
});
