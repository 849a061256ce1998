//! Who and what is in the demo's world, and its files in the demo's directory.

use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use common::clock;
use common::principal::Kind;
use geoip::build::{Format, Label, List, ranges_to_mmdb};
use gslb_dns::pki::{DAYS, Directory, Wanted};

use crate::ports::Ports;

/// Each is the other's peer.
pub const NAME_SERVERS: [(&str, Ipv4Addr); 2] =
    [("dns1", Ipv4Addr::new(127, 0, 0, 1)), ("dns2", Ipv4Addr::new(127, 0, 0, 2))];
/// Sites and their addresses, and the vantages, as in `world.toml`.
pub const SITES: [(&str, Ipv4Addr); 3] = [
    ("fra", Ipv4Addr::new(127, 0, 1, 1)),
    ("iad", Ipv4Addr::new(127, 0, 2, 1)),
    ("nrt", Ipv4Addr::new(127, 0, 3, 1)),
];
/// Of each site: the balancers of its pair, and the servers that both are before.
pub const BOXES: [&str; 2] = ["a", "b"];
pub const SERVERS: [&str; 3] = ["web1", "web2", "web3"];
pub const VANTAGES: [&str; 5] = ["ams", "lhr", "nyc", "sfo", "sin"];
/// What vantages look at to find out whether they see, as in `probe.toml`.
pub const REFERENCE: Ipv4Addr = Ipv4Addr::new(127, 0, 9, 1);

const NODE: &str = include_str!("../world/node.toml");
const WORLD: &str = include_str!("../world/world.toml");
const ZONE: &str = include_str!("../world/example.com.zone");
const PLACES: &str = include_str!("../world/places.csv");
const PROBE: &str = include_str!("../world/probe.toml");
const SITE: &str = include_str!("../world/site.toml");

/// Everything that daemons are told, and who they are.
pub fn write(dir: &Path, ports: &Ports) -> anyhow::Result<()> {
    put(&dir.join("world.toml"), with_ports(WORLD, ports))?;
    put(&dir.join("example.com.zone"), ZONE)?;
    let list = List { name: "places.csv", format: Format::Places, text: PLACES };
    let label = Label { description: "the demo's places", build_epoch: 1 };
    put(&dir.join("places.mmdb"), ranges_to_mmdb(&[list], &label)?.mmdb)?;
    let now = clock::now();
    let mut ca = Directory::init(&dir.join("pki"), "demo", now)?;
    let mut settle = |kind: Kind, name: &str, file: PathBuf, text: &str| {
        let home = file.parent().context("a daemon's file is in a directory of its own")?;
        fs::create_dir_all(home).with_context(|| format!("cannot make {}", home.display()))?;
        let wanted = Wanted { kind, name: name.to_owned(), dns_names: vec![], days: DAYS };
        ca.issue(&wanted, home, now)?;
        put(&file, with_ports(text, ports))
    };
    for (name, _) in NAME_SERVERS {
        let text = node_text(name).replace("WORLD", &dir.join("world.toml").display().to_string());
        settle(Kind::Dns, name, node(dir, name), &text)?;
    }
    for (site, vip) in SITES {
        for name in BOXES.map(|one| agent(site, one)) {
            settle(Kind::Agent, &name, agent_file(dir, &name), &site_text(site, &name, vip))?;
        }
    }
    for name in VANTAGES {
        settle(Kind::Probe, name, probe(dir, name), &PROBE.replace("NAME", name))?;
    }
    Ok(())
}

/// Where what a name server is told stands.
pub fn node(dir: &Path, name: &str) -> PathBuf {
    dir.join("nodes").join(name).join("node.toml")
}

/// The same of a site's balancer.
pub fn agent_file(dir: &Path, name: &str) -> PathBuf {
    dir.join("agents").join(name).join("site.toml")
}

/// The same of the probe at a vantage.
pub fn probe(dir: &Path, name: &str) -> PathBuf {
    dir.join("probes").join(name).join("probe.toml")
}

/// How a balancer of a site's pair is called.
pub fn agent(site: &str, one: &str) -> String {
    format!("{site}-{one}")
}

/// Where one of a site's servers is: beside its VIP.
pub fn server(vip: Ipv4Addr, name: &str) -> Ipv4Addr {
    let number = SERVERS.iter().position(|one| *one == name).map_or(0, |index| index + 1);
    Ipv4Addr::from(u32::from(vip) + 10 * u32::try_from(number).unwrap_or_default())
}

pub fn site_at(address: Ipv4Addr) -> Option<&'static str> {
    SITES.iter().find(|(_, of_site)| *of_site == address).map(|(name, _)| *name)
}

fn node_text(name: &str) -> String {
    NAME_SERVERS.iter().fold(NODE.to_owned(), |text, (one, address)| {
        let (who, at) = if *one == name { ("NAME", "ADDRESS") } else { ("OTHER", "PEER") };
        text.replace(who, one).replace(at, &address.to_string())
    })
}

fn site_text(site: &str, name: &str, vip: Ipv4Addr) -> String {
    let text = SITE.replace("NAME", name).replace("SITE", site).replace("VIP", &vip.to_string());
    let at = |one: &str| server(vip, one).to_string();
    SERVERS.iter().fold(text, |text, one| text.replace(&one.to_uppercase(), &at(one)))
}

fn with_ports(text: &str, ports: &Ports) -> String {
    let Ports { dns, control, admin, web } = ports;
    let all = [("DNS", dns), ("CONTROL", control), ("ADMIN", admin), ("WEB", web)];
    all.iter().fold(text.to_owned(), |text, (whose, port)| {
        text.replace(&format!("{whose}_PORT"), &port.to_string())
    })
}

fn put(file: &Path, octets: impl AsRef<[u8]>) -> anyhow::Result<()> {
    fs::write(file, octets).with_context(|| format!("cannot write {}", file.display()))
}

#[cfg(test)]
mod tests {
    use gslb_dns::config::{self, Config};

    use super::*;
    use crate::ports::USUAL;

    /// Nobody who copies it is to be warned.
    #[test]
    fn nothing_is_found_of_the_world_as_it_is_written() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), &USUAL).unwrap();
        for (name, _) in NAME_SERVERS {
            let config = config::load(&node(dir.path(), name));
            let prepared = config.and_then(Config::prepare);
            let prepared = prepared.unwrap_or_else(|problems| panic!("{problems}"));
            let found: Vec<String> = prepared.findings.iter().map(ToString::to_string).collect();
            assert_eq!(found, [""; 0], "{name}");
        }
    }
}
