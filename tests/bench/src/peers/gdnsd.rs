//! gdnsd, the peer of the field: 3.8.1 as Debian packages it, one UDP thread, in the foreground.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, bail};
use gslb_tests::loopback;

use super::Start;
use crate::load::Reply;
use crate::world::{self, ORIGIN, SERVICE, SITES, World};

/// Where Debian's package puts it; `/usr/sbin` is not in everybody's `PATH`.
const PROGRAM: &str = "/usr/sbin/gdnsd";

pub fn find() -> Option<PathBuf> {
    let path = PathBuf::from(PROGRAM);
    path.exists().then_some(path)
}

pub fn version() -> anyhow::Result<String> {
    // It has no option for it, but says it with its usage.
    let output = Command::new(PROGRAM).stdin(Stdio::null()).output()?;
    let usage = [output.stdout, output.stderr].concat();
    String::from_utf8_lossy(&usage)
        .lines()
        .find_map(|line| line.strip_prefix("gdnsd version "))
        .map(str::to_owned)
        .context("gdnsd does not say its version")
}

pub fn start<'a>(dir: &'a Path, world: &World) -> anyhow::Result<Start<'a>> {
    let address = loopback::address()?;
    let home = dir.join("gdnsd");
    let zones = home.join("zones");
    fs::create_dir_all(&zones)?;
    // TTL at most and at least, as in gslb-dns.
    let steered = format!("{SERVICE} 30/5 DYNA geoip!{SERVICE}");
    world.write_zone(&zones.join(ORIGIN), &steered)?;
    let options = format!(
        "options => {{ listen => [ \"{address}\" ], udp_threads => 1, tcp_threads => 1, \
         run_dir => {run}, state_dir => {state} }}\n",
        run = home.join("run").display(),
        state = home.join("state").display(),
    );
    let plugins = match world {
        World::Static { .. } => String::new(),
        World::Geo { database } => geoip(database)?,
    };
    fs::write(home.join("config"), options + &plugins)?;
    let mut command = Command::new(PROGRAM);
    command.arg("-c").arg(&home);
    let checked = Command::new(PROGRAM).args(command.get_args()).arg("checkconf").output()?;
    if !checked.status.success() {
        bail!("gdnsd refuses its configuration:\n{}", String::from_utf8_lossy(&checked.stderr));
    }
    command.arg("start");
    Ok(Start { name: "gdnsd", command, address, reply: Reply::Address, dir })
}

fn geoip(database: &Path) -> anyhow::Result<String> {
    let mut text = String::new();
    writeln!(text, "plugins => {{ geoip => {{")?;
    writeln!(text, " maps => {{ world => {{")?;
    writeln!(text, "  geoip2_db => {}", database.display())?;
    let default = world::names(&world::order(None), "");
    writeln!(text, "  datacenters => [ {default} ]")?;
    writeln!(text, "  map => {{")?;
    for continent in world::continents() {
        let order = world::names(&world::order(Some(continent)), "");
        writeln!(text, "   {continent} => [ {order} ]")?;
    }
    writeln!(text, "  }}")?;
    writeln!(text, " }} }}")?;
    // `up`: nothing watches the sites, as at gslb-dns.
    writeln!(text, " resources => {{ {SERVICE} => {{ map => world, service_types => up")?;
    writeln!(text, "  dcmap => {{")?;
    for site in &SITES {
        writeln!(text, "   {} => {}", site.name, site.vip)?;
    }
    writeln!(text, "  }}")?;
    writeln!(text, " }} }}")?;
    writeln!(text, "}} }}")?;
    Ok(text)
}
