//! gslb-dns, the server under test: the release binary built beside this one.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Start, free_address, sibling};
use crate::load::Reply;
use crate::world::{self, ORIGIN, SERVICE, SITES, World};

pub fn find() -> anyhow::Result<Option<PathBuf>> {
    let path = sibling("gslb-dns")?;
    Ok(path.exists().then_some(path))
}

/// Writes its files below `dir` and says how to start it, under a name of the run's choice.
pub fn start<'a>(
    name: &'static str,
    program: &Path,
    dir: &'a Path,
    world: &World,
) -> anyhow::Result<Start<'a>> {
    let address = free_address()?;
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
         state_dir = \"{}\"\n\n[dns]\nlisten = [\"{address}\"]\nthreads = 1\n",
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
