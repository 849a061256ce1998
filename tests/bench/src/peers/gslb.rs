//! gslb-dns, the server under test: the release binary built beside this one.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use gslb_tests::loopback;

use super::{Start, sibling};
use crate::load::Reply;
use crate::world::{self, ORIGIN, SERVICE, SITES, World};

pub fn find() -> anyhow::Result<Option<PathBuf>> {
    let path = sibling("gslb-dns")?;
    Ok(path.exists().then_some(path))
}

/// As it is unless its file says otherwise.
pub const PLAIN: &str = "";
/// Nobody is limited, and nobody's queries are counted. What is answered is counted always.
pub const BARE: &str = "talkers = false\n";
/// Everybody is limited, though nobody reaches the limit, and it is counted who asks most.
pub const GUARDED: &str = "talkers = true\n[dns.rate_limit]\nanswers_per_second = 1000\n";
/// One of both.
pub const LIMIT_ALONE: &str = "talkers = false\n[dns.rate_limit]\nanswers_per_second = 1000\n";
pub const TALKERS_ALONE: &str = "talkers = true\n";

/// Writes its files below `dir` and says how to start it, under a name of the run's choice. `guards`: keys of
/// `[dns]`, and tables in it.
pub fn start<'a>(
    name: &'static str,
    program: &Path,
    dir: &'a Path,
    world: &World,
    guards: &str,
) -> anyhow::Result<Start<'a>> {
    let address = loopback::address()?;
    let home = dir.join(name);
    let state = home.join("state");
    fs::create_dir_all(&state)?;
    let zone = format!("{ORIGIN}.zone");
    // A service owns its name, so the zone says nothing of it.
    world.write_zone(&home.join(&zone), "")?;
    let mut text = format!("[zone.\"{ORIGIN}\"]\nfile = \"{zone}\"\n");
    if let World::Geo { database } = world {
        text += &steered(database)?;
    }
    fs::write(home.join("world.toml"), text)?;
    let node = format!(
        "name = \"bench\"\ncluster = \"bench\"\nworld = \"world.toml\"\n\
         state_dir = \"{}\"\n\n[dns]\nlisten = [\"{address}\"]\nthreads = 1\n{guards}",
        state.display()
    );
    let config = home.join("node.toml");
    fs::write(&config, node)?;
    let mut command = Command::new(program);
    command.arg("run").arg("--config").arg(config);
    Ok(Start { name, command, address, reply: Reply::Address, dir })
}

fn steered(database: &Path) -> anyhow::Result<String> {
    let mut text = String::new();
    writeln!(text, "[geoip]\ndatabases = [\"{}\"]", database.display())?;
    for site in &SITES {
        writeln!(text, "[site.{}]", site.name)?;
        writeln!(text, "place = {{ country = \"{}\" }}", site.country)?;
        writeln!(text, "vips = [\"{}\"]", site.vip)?;
    }
    writeln!(text, "[map.world]")?;
    let default = world::names(&world::order(None), "\"");
    writeln!(text, "default = [{default}]")?;
    writeln!(text, "[map.world.continent]")?;
    for continent in world::continents() {
        let order = world::names(&world::order(Some(continent)), "\"");
        writeln!(text, "{continent} = [{order}]")?;
    }
    writeln!(text, "[service.\"{SERVICE}.{ORIGIN}\"]")?;
    writeln!(text, "sites = [{default}]")?;
    writeln!(text, "steer = [{{ map = \"world\" }}]")?;
    writeln!(text, "when_all_down = \"open\"")?;
    writeln!(text, "ttl = {{ max = \"30s\" }}")?;
    Ok(text)
}
