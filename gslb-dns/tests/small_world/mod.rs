//! A world of one zone, for tests of what follows from a world once it is read.

use std::fs;

use gslb_dns::config::{self, Problems};
use gslb_dns::world::World;

/// `zone` is what the world finds in `example.com.zone`.
pub fn world(text: &str, zone: &str) -> World {
    read(text, zone).unwrap_or_else(|all| panic!("{all}\n{text}"))
}

/// The same, or what is wrong with it.
pub fn read(text: &str, zone: &str) -> Result<World, Problems> {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("example.com.zone"), zone).unwrap();
    config::world_from_str(text, dir.path())
}
