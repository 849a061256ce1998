//! The country database: built from Debian's `tor-geoipdb`, read by `maxminddb`, which none of the
//! servers uses on its query path: it is the judge of their answers.

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};

use anyhow::Context;
use geoip::build::{Format, Label, List, ranges_to_mmdb};
use maxminddb::path;

use crate::install;
use crate::world::{self, Site};

const SOURCES: [(&str, Format); 2] =
    [("/usr/share/tor/geoip", Format::Ipv4Ranges), ("/usr/share/tor/geoip6", Format::Ipv6Ranges)];

/// Writes the country database into `dir`, as `geoip build` would.
pub fn build(dir: &Path) -> anyhow::Result<PathBuf> {
    let mut texts = Vec::new();
    for (name, format) in SOURCES {
        let text = fs::read_to_string(name)
            .with_context(|| format!("cannot read {name}; {}", install::advice()))?;
        texts.push((name, format, text));
    }
    let lists: Vec<List<'_>> =
        texts.iter().map(|(name, format, text)| List { name, format: *format, text }).collect();
    let label = Label {
        description: "tor-geoipdb",
        build_epoch: 1, // libmaxminddb, which gdnsd reads with, refuses 0.
    };
    let database = dir.join("country.mmdb");
    fs::write(&database, ranges_to_mmdb(&lists, &label)?.mmdb)?;
    Ok(database)
}

pub struct Places {
    reader: maxminddb::Reader<Vec<u8>>,
    /// First address and length of every IPv4 prefix that has a place.
    prefixes: Vec<(Ipv4Addr, u8)>,
}

impl Places {
    pub fn open(database: &Path) -> anyhow::Result<Places> {
        let reader = maxminddb::Reader::open_readfile(database)
            .with_context(|| format!("cannot read {}", database.display()))?;
        let everything = "0.0.0.0/0".parse().context("the whole of IPv4")?;
        let mut prefixes = Vec::new();
        for found in reader.within(everything, Default::default())? {
            let network = found?.network()?;
            if let IpAddr::V4(first) = network.ip() {
                prefixes.push((first, network.prefix()));
            }
        }
        Ok(Places { reader, prefixes })
    }

    pub fn prefixes(&self) -> &[(Ipv4Addr, u8)] {
        &self.prefixes
    }

    /// The site that clients of this /24 must be sent to; `None` if the database cuts the /24 into
    /// smaller pieces, where servers may differ and all be right (RFC 7871 §7.2.1).
    pub fn site(&self, subnet: Ipv4Addr) -> anyhow::Result<Option<&'static Site>> {
        let found = self.reader.lookup(IpAddr::V4(subnet))?;
        if found.network()?.prefix() > 24 {
            return Ok(None);
        }
        let continent = found.decode_path::<&str>(&path!["continent", "code"])?;
        Ok(Some(world::order(continent)[0]))
    }
}
