//! A world in a directory of its own: node, world, zone and places, as an operator would write them.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::anyhow;
use geoip::build::{Format, Label, List, ranges_to_mmdb};
use gslb_dns::config::{self, Config};
use gslb_dns::health::view::Views;
use gslb_dns::keeper::{Beliefs, LAST_KNOWN_FILE, OVERRIDES_FILE, Reread};
use gslb_dns::snapshot::{Groundwork, Snapshot};
use jiff::Timestamp;
use tempfile::TempDir;

/// The directory is removed with it.
pub struct World {
    dir: TempDir,
}

/// What an operator writes.
#[derive(Clone, Copy)]
pub struct Files<'a> {
    pub world: &'a str,
    pub zone: &'a str,
    /// `geoip build`'s format; compiled into `places.mmdb`.
    pub places: &'a str,
}

pub const NODE_NAME: &str = "test1";

const NODE: &str = r#"
name      = "test1"
cluster   = "test"
world     = "world.toml"
state_dir = "state"

[dns]
listen = ["127.0.0.1:0"]

[admin]
listen = "127.0.0.1:0"
socket = "admin.sock"
"#;

/// Every step, fail mode and kind of name once, for tests that need something of everything.
pub const EVERY_STEP: Files<'static> = Files {
    world: include_str!("../data/every_step/world.toml"),
    zone: include_str!("../data/every_step/example.com.zone"),
    places: include_str!("../data/every_step/places.csv"),
};

impl World {
    pub fn write(files: &Files<'_>) -> anyhow::Result<World> {
        let dir = tempfile::Builder::new().prefix("gslb-test-").tempdir()?;
        let world = World { dir };
        fs::write(world.node(), NODE)?;
        fs::write(world.path("world.toml"), files.world)?;
        fs::write(world.path("example.com.zone"), files.zone)?;
        fs::write(world.path("places.mmdb"), compile(files.places)?)?;
        fs::create_dir(world.path("state"))?;
        Ok(world)
    }

    pub fn node(&self) -> PathBuf {
        self.path("node.toml")
    }

    pub fn path(&self, file: &str) -> PathBuf {
        self.dir.path().join(file)
    }

    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Whole or not at all, as an editor writes it.
    pub fn write_overrides(&self, text: &str) -> anyhow::Result<()> {
        let beside = self.path("overrides.new");
        fs::write(&beside, text)?;
        fs::rename(beside, self.path("state").join(OVERRIDES_FILE))?;
        Ok(())
    }

    /// What the server has written of the sites that were fit when one last was.
    pub fn last_known(&self) -> PathBuf {
        self.path("state").join(LAST_KNOWN_FILE)
    }

    pub fn load(&self) -> anyhow::Result<Config> {
        config::load(&self.node()).map_err(|problems| anyhow!("{problems}"))
    }

    /// What the binary answers by, built from the same files in the same way.
    pub fn snapshot(
        &self,
        ground: &Arc<Groundwork>,
        number: u64,
        at: Timestamp,
    ) -> anyhow::Result<Snapshot> {
        let (beliefs, reread) = Beliefs::read(&self.load()?.node);
        if let Reread::Refused(why) | Reread::Lost(why) = reread {
            return Err(anyhow!("{why}"));
        }
        let board = beliefs.board(number, ground, &Views::default(), at);
        Ok(Snapshot::new(Arc::clone(ground), board))
    }
}

/// Places to a database, as `geoip build` does it.
pub fn compile(places: &str) -> anyhow::Result<Vec<u8>> {
    let list = List { name: "places.csv", format: Format::Places, text: places };
    let label = Label { description: "places of a test", build_epoch: 1 };
    Ok(ranges_to_mmdb(&[list], &label)?.mmdb)
}
