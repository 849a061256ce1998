//! The world that every server of one work is told, each in its own language.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

pub const ORIGIN: &str = "example.com";
/// The label of the name that is steered.
pub const SERVICE: &str = "www";

/// A site, or datacenter, of the steered service.
pub struct Site {
    pub name: &'static str,
    pub vip: Ipv4Addr,
    pub country: &'static str,
    /// The continents whose clients it serves first.
    pub continents: &'static [&'static str],
}

/// In the order in which they serve a client of no known continent.
pub const SITES: [Site; 3] = [
    Site {
        name: "us",
        vip: Ipv4Addr::new(198, 51, 100, 10),
        country: "US",
        continents: &["NA", "SA"],
    },
    Site {
        name: "eu",
        vip: Ipv4Addr::new(198, 51, 100, 20),
        country: "DE",
        continents: &["EU", "AF"],
    },
    Site {
        name: "ap",
        vip: Ipv4Addr::new(198, 51, 100, 30),
        country: "SG",
        continents: &["AS", "OC"],
    },
];

/// What a world serves besides the zone's apex.
#[derive(Clone, Debug)]
pub enum World {
    /// So many static names with one address each.
    Static { hosts: u32 },
    /// One name, steered by the continent that the database knows.
    Geo { database: PathBuf },
}

impl World {
    /// Writes the zone as a master file (RFC 1035 §5); `steered` is how a server says that the service's
    /// name is steered, if its master file has to say it.
    pub fn write_zone(&self, path: &Path, steered: &str) -> io::Result<()> {
        let mut zone = BufWriter::new(File::create(path)?);
        writeln!(zone, "$ORIGIN {ORIGIN}.")?;
        writeln!(zone, "$TTL 3600")?;
        writeln!(zone, "@ SOA ns1 hostmaster 1 7200 900 1209600 300")?;
        writeln!(zone, "@ NS ns1")?;
        writeln!(zone, "ns1 A 192.0.2.53")?;
        match self {
            World::Static { hosts } => {
                for host in 0..*hosts {
                    writeln!(zone, "{} A {}", host_label(host), host_address(host))?;
                }
            }
            World::Geo { .. } => writeln!(zone, "{steered}")?,
        }
        zone.flush()
    }
}

/// All labels are of one length, so that queries and answers are of one size in every world.
pub fn host_label(host: u32) -> String {
    format!("h{host:07}")
}

pub fn host_address(host: u32) -> Ipv4Addr {
    Ipv4Addr::from_bits(Ipv4Addr::new(10, 0, 0, 0).to_bits() + host)
}

/// Every site, the one that serves `continent` first in front.
pub fn order(continent: Option<&str>) -> Vec<&'static Site> {
    let mut sites: Vec<&Site> = SITES.iter().collect();
    if let Some(continent) = continent {
        sites.sort_by_key(|site| !site.continents.contains(&continent));
    }
    sites
}

/// The order of the sites by name, for a configuration file.
pub fn names(sites: &[&Site], quote: &str) -> String {
    let names: Vec<String> =
        sites.iter().map(|site| format!("{quote}{}{quote}", site.name)).collect();
    names.join(", ")
}

/// Every continent that some site serves first.
pub fn continents() -> impl Iterator<Item = &'static str> {
    SITES.iter().flat_map(|site| site.continents.iter().copied())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(continent: Option<&str>, expected: &str) {
        assert_eq!(names(&order(continent), ""), expected);
    }

    #[test]
    fn the_site_of_the_continent_comes_first_and_the_others_keep_their_order() {
        check(None, "us, eu, ap");
        check(Some("EU"), "eu, us, ap");
        check(Some("OC"), "ap, us, eu");
        check(Some("AN"), "us, eu, ap");
    }
}
