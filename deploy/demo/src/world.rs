//! Who and what is in the demo's world, and its files in the demo's directory.

use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;

use anyhow::Context as _;
use common::clock;
use common::principal::Kind;
use geoip::build::{Format, Label, List, ranges_to_mmdb};
use gslb_dns::pki::{DAYS, Directory, Wanted};

/// Sites and their addresses, and the vantages, as in `world.toml`.
pub const SITES: [(&str, Ipv4Addr); 3] = [
    ("fra", Ipv4Addr::new(127, 0, 1, 1)),
    ("iad", Ipv4Addr::new(127, 0, 2, 1)),
    ("nrt", Ipv4Addr::new(127, 0, 3, 1)),
];
/// Of each site.
pub const SERVERS: [&str; 3] = ["web1", "web2", "web3"];
pub const VANTAGES: [&str; 5] = ["ams", "lhr", "nyc", "sfo", "sin"];
/// What vantages look at to find out whether they see, as in `probe.toml`.
pub const REFERENCE: Ipv4Addr = Ipv4Addr::new(127, 0, 9, 1);
/// Where all of them serve, unless it is taken.
pub const PORT: u16 = 5380;

const NAME_SERVER: &str = "demo1";
const NODE: &str = include_str!("../world/node.toml");
const WORLD: &str = include_str!("../world/world.toml");
const ZONE: &str = include_str!("../world/example.com.zone");
const PLACES: &str = include_str!("../world/places.csv");
const PROBE: &str = include_str!("../world/probe.toml");
const SITE: &str = include_str!("../world/site.toml");
/// The addresses in `node.toml`, and what to write where they are taken.
const LISTEN: [&str; 3] = ["127.0.0.1:5300", "127.0.0.1:8453", "127.0.0.1:8053"];
const FREE: &str = "127.0.0.1:0";

/// Everything but what each vantage is told when the name server has its ports.
pub fn write(dir: &Path, port: u16) -> anyhow::Result<()> {
    fs::write(dir.join("node.toml"), NODE)?;
    fs::write(dir.join("world.toml"), WORLD.replace(&PORT.to_string(), &port.to_string()))?;
    fs::write(dir.join("example.com.zone"), ZONE)?;
    let list = List { name: "places.csv", format: Format::Places, text: PLACES };
    let label = Label { description: "the demo's places", build_epoch: 1 };
    let built = ranges_to_mmdb(&[list], &label)?;
    fs::write(dir.join("places.mmdb"), built.mmdb)?;
    let now = clock::now();
    let mut ca = Directory::init(&dir.join("pki"), "demo", now)?;
    let mut issue = |kind: Kind, name: &str, to: &Path| {
        let wanted = Wanted { kind, name: name.to_owned(), dns_names: vec![], days: DAYS };
        ca.issue(&wanted, to, now)
    };
    issue(Kind::Dns, NAME_SERVER, dir)?;
    let probes = VANTAGES.map(|vantage| (Kind::Probe, vantage, vantage.to_owned()));
    let agents = SITES.map(|(site, _)| (Kind::Agent, site, agent(site)));
    for (kind, folder, name) in probes.into_iter().chain(agents) {
        let to = dir.join(folder);
        fs::create_dir(&to).with_context(|| to.display().to_string())?;
        issue(kind, &name, &to)?;
    }
    Ok(())
}

pub fn node_on_free_ports() -> String {
    LISTEN.iter().fold(NODE.to_owned(), |text, taken| text.replace(taken, FREE))
}

/// What the probe at a vantage is told.
pub fn probe(vantage: &str, control: std::net::SocketAddr, port: u16) -> String {
    let text = PROBE.replace("NAME", vantage);
    text.replace("CONTROL", &control.to_string()).replace("PORT", &port.to_string())
}

/// What the agent of a site is told.
pub fn site(name: &str, vip: Ipv4Addr, control: std::net::SocketAddr, port: u16) -> String {
    let text = SITE.replace("NAME", name).replace("VIP", &vip.to_string());
    let text = SERVERS
        .iter()
        .fold(text, |text, one| text.replace(&one.to_uppercase(), &server(vip, one).to_string()));
    text.replace("CONTROL", &control.to_string()).replace("PORT", &port.to_string())
}

fn agent(site: &str) -> String {
    format!("{site}-a")
}

/// Where one of a site's servers is: beside its VIP.
pub fn server(vip: Ipv4Addr, name: &str) -> Ipv4Addr {
    let number = SERVERS.iter().position(|one| *one == name).map_or(0, |index| index + 1);
    Ipv4Addr::from(u32::from(vip) + 10 * u32::try_from(number).unwrap_or_default())
}

pub fn site_at(address: Ipv4Addr) -> Option<&'static str> {
    SITES.iter().find(|(_, of_site)| *of_site == address).map(|(name, _)| *name)
}
