//! The whole Internet by country: Debian's tor-geoipdb as a database, where that is installed.

use std::fs;
use std::path::Path;

use geoip::build::{Format, Label, List, ranges_to_mmdb};

const LISTS: [(&str, Format); 2] =
    [("/usr/share/tor/geoip", Format::Ipv4Ranges), ("/usr/share/tor/geoip6", Format::Ipv6Ranges)];

/// What is missing, if anything is.
pub fn missing() -> Option<&'static str> {
    let is_there = LISTS.iter().all(|(path, _)| Path::new(path).exists());
    (!is_there).then_some("tor-geoipdb is not installed")
}

/// The database, as `geoip build` would write it.
pub fn database() -> anyhow::Result<Vec<u8>> {
    let texts = LISTS.map(|(path, _)| fs::read_to_string(path));
    let mut lists = vec![];
    for ((name, format), text) in LISTS.iter().zip(&texts) {
        let text = match text {
            Ok(text) => text,
            Err(error) => anyhow::bail!("{name}: {error}"),
        };
        let format = *format;
        lists.push(List { name, format, text });
    }
    let label = Label {
        description: "tor-geoipdb",
        build_epoch: 1, // libmaxminddb refuses 0.
    };
    Ok(ranges_to_mmdb(&lists, &label)?.mmdb)
}
