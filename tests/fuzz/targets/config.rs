//! `config`: any text as a world, as a node and as overrides; what is refused must be shown.
//!
//! Input: `[which, text]`.

#![no_main]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};

use gslb_dns::config::{self, Colour, Problems};
use gslb_dns::health::board::Board;
use gslb_dns::health::last_known::LastKnown;
use gslb_dns::snapshot::{Groundwork, Snapshot};
use gslb_dns::world::World;
use libfuzzer_sys::fuzz_target;
use tempfile::TempDir;

/// Holds the zones that worlds may name, and the node's file.
static DIR: LazyLock<TempDir> = LazyLock::new(|| {
    let dir = TempDir::new().expect("a folder of our own");
    let zone = "@ 60 SOA ns hostmaster 1 2 3 4 15\n@ 60 NS ns\nns 60 A 192.0.2.53\nwww 60 TXT t\n";
    for file in ["example.com.zone", "live.zone", "world.toml"] {
        let text = if file == "world.toml" { WORLD } else { zone };
        fs::write(dir.path().join(file), text).expect("room for a small file");
    }
    dir
});
const WORLD: &str = "[zone.\"example.com\"]\nfile = \"example.com.zone\"\n";

fuzz_target!(|input: &[u8]| {
    let Some((which, text)) = input.split_first() else { return };
    let Ok(text) = std::str::from_utf8(text) else { return };
    if names_a_far_file(text) {
        return;
    }
    match which {
        b'o' => overrides(text),
        b'n' => node(text),
        _ => world(text),
    }
});

/// Files outside the folder are not the fuzzer's to open: only bare names are let through.
fn names_a_far_file(text: &str) -> bool {
    let could_name = ["file", "databases", "world", "\\u"];
    text.contains("..") || text.contains('/') && could_name.iter().any(|key| text.contains(key))
}

fn world(text: &str) {
    match config::world_from_str(text, DIR.path()) {
        Ok(world) => serve(world),
        Err(problems) => shown(&problems),
    }
}

fn node(text: &str) {
    let file: PathBuf = DIR.path().join("node.toml");
    fs::write(&file, text).expect("room for a small file");
    if let Err(problems) = config::load(&file) {
        shown(&problems);
    }
}

fn overrides(text: &str) {
    if let Err(problems) = config::overrides::overrides(Path::new("overrides.toml"), text) {
        shown(&problems);
    }
}

/// What was found good must be good enough to run.
fn serve(world: World) {
    let now = "2026-01-01T00:00:00Z".parse().expect("a constant time");
    let board = Board::build(1, &world, &[], &LastKnown::default(), now);
    let snapshot = Snapshot::new(Arc::new(Groundwork::new(world)), board);
    for id in snapshot.world().service_ids() {
        snapshot.failing(id);
    }
}

fn shown(problems: &Problems) {
    assert!(!problems.to_string().is_empty(), "refused without a problem");
    problems.render(Colour::Never);
    problems.render(Colour::Always);
}
