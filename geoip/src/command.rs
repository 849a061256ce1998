//! The commands of the `geoip` tool.
//!
//! Arguments and files in, text out; everything that decides is in the rooms it calls.

use std::fs::{self, File};
use std::io::Write;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, bail};
use clap::{Args, Parser};
use serde::Serialize;

use crate::build::{Built, Format, Label, List, ranges_to_mmdb};
use crate::{Atlas, Database, Located, Overrides, PlaceOverride};

/// Where addresses are: look up, verify and build place databases.
#[derive(Debug, Parser)]
#[command(name = "geoip", version)]
pub enum Command {
    /// Print where addresses are, the prefix that holds for, and who says so.
    Lookup(Lookup),
    /// Check databases whole, as gslb-dns does before it uses them.
    Verify(Verify),
    /// Build a database from range lists, such as those of Debian's tor-geoipdb.
    Build(Build),
}

/// Arguments of `geoip lookup`.
#[derive(Args, Debug)]
pub struct Lookup {
    /// One JSON object a line.
    #[arg(long)]
    json: bool,
    /// A database; give several in the order in which they are believed.
    #[arg(long, value_name = "FILE")]
    database: Vec<PathBuf>,
    /// What is known better, such as 10.20.0.0/16=country:DE,asn:64500.
    #[arg(long = "override", value_name = "PREFIX=KEY:VALUE,...")]
    overrides: Vec<PlaceOverride>,
    #[arg(required = true, value_name = "ADDRESS")]
    addresses: Vec<IpAddr>,
}

/// Arguments of `geoip verify`.
#[derive(Args, Debug)]
pub struct Verify {
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

/// Arguments of `geoip build`.
#[derive(Args, Debug)]
pub struct Build {
    /// IPv4 ranges: START,END,CC with decimal addresses, as in /usr/share/tor/geoip.
    #[arg(long, value_name = "FILE", required_unless_present_any = ["v6", "places"])]
    v4: Option<PathBuf>,
    /// IPv6 ranges: START,END,CC, as in /usr/share/tor/geoip6.
    #[arg(long, value_name = "FILE")]
    v6: Option<PathBuf>,
    /// Prefixes: PREFIX,CC[,SUBDIVISION[,CITY,LAT,LON[,ASN]]].
    #[arg(long, value_name = "FILE")]
    places: Option<PathBuf>,
    /// The database to write; one that is there is replaced at once and whole.
    #[arg(long, value_name = "FILE")]
    output: PathBuf,
    /// What the database says it is.
    #[arg(long, default_value = "built by geoip from range lists")]
    description: String,
    /// Seconds since 1970 to write as the time of making, for the same bytes each time [default: now].
    #[arg(long, value_name = "SECONDS")]
    build_epoch: Option<u64>,
}

impl Command {
    /// Runs the command; what it found goes to `out`, warnings to standard error.
    ///
    /// # Errors
    /// When a file cannot be read, is not what it should be, or `out` is closed.
    pub fn run(&self, out: &mut impl Write) -> anyhow::Result<()> {
        match self {
            Command::Lookup(lookup) => lookup.run(out),
            Command::Verify(verify) => verify.run(out),
            Command::Build(build) => build.run(out),
        }
    }
}

/// One answer of `lookup --json`.
#[derive(Serialize)]
struct Answer<'a> {
    address: IpAddr,
    #[serde(flatten)]
    located: Located<'a>,
}

impl Lookup {
    fn run(&self, out: &mut impl Write) -> anyhow::Result<()> {
        let databases =
            self.database.iter().map(|path| Database::open(path)).collect::<Result<_, _>>()?;
        let overrides = self.overrides.iter().map(|over| (over.network, over.place.clone()));
        let overrides = Overrides::new(overrides);
        for network in overrides.without_effect() {
            eprintln!(
                "geoip: --override {network}: has no effect; these addresses carry IPv4, give the IPv4 prefix"
            );
        }
        let atlas = Atlas::new(databases, overrides);
        for address in &self.addresses {
            let located = atlas.lookup(*address);
            if self.json {
                serde_json::to_writer(&mut *out, &Answer { address: *address, located })?;
                writeln!(out)?;
            } else {
                writeln!(out, "{address}: {located}")?;
            }
        }
        Ok(())
    }
}

impl Verify {
    fn run(&self, out: &mut impl Write) -> anyhow::Result<()> {
        let mut refused = 0;
        for path in &self.files {
            match Database::open(path) {
                Ok(database) => writeln!(out, "{}: {}", path.display(), summary(&database))?,
                Err(error) => {
                    refused += 1;
                    eprintln!("geoip: {:#}", anyhow::Error::from(error));
                }
            }
        }
        if refused > 0 {
            bail!("{refused} of {} databases refused", self.files.len());
        }
        Ok(())
    }
}

fn summary(database: &Database) -> String {
    let built = match i64::try_from(database.build_epoch()).map(jiff::Timestamp::from_second) {
        Ok(Ok(built)) => built.strftime("%Y-%m-%d").to_string(),
        Ok(Err(_)) | Err(_) => format!("{} s after 1970", database.build_epoch()),
    };
    let (networks, places, nodes) =
        (database.networks(), database.places().len(), database.nodes());
    format!("{} of {built}: {networks} networks, {places} places, {nodes} nodes", database.kind())
}

impl Build {
    fn run(&self, out: &mut impl Write) -> anyhow::Result<()> {
        let sources = [
            (&self.v4, Format::Ipv4Ranges),
            (&self.v6, Format::Ipv6Ranges),
            (&self.places, Format::Places),
        ];
        let mut texts = Vec::new();
        for (path, format) in sources {
            let Some(path) = path else { continue };
            let text = fs::read_to_string(path)
                .with_context(|| format!("{}: cannot be read", path.display()))?;
            texts.push((path.display().to_string(), format, text));
        }
        let lists: Vec<List<'_>> =
            texts.iter().map(|(name, format, text)| List { name, format: *format, text }).collect();
        let build_epoch = self.build_epoch.unwrap_or_else(now);
        let built = ranges_to_mmdb(&lists, &Label { description: &self.description, build_epoch })?;
        warn(&built);
        replace(&self.output, &built.mmdb)
            .with_context(|| format!("{}: cannot be written", self.output.display()))?;
        writeln!(
            out,
            "{}: {} ranges, {} bytes",
            self.output.display(),
            built.ranges,
            built.mmdb.len()
        )?;
        Ok(())
    }
}

/// Says what of the lists is not in the database.
fn warn(built: &Built) {
    if built.unknown > 0 {
        eprintln!("geoip: left out {} lines whose country nobody knows", built.unknown);
    }
    if built.carrying > 0 {
        eprintln!(
            "geoip: left out {} lines of addresses that are read as the IPv4 inside",
            built.carrying
        );
    }
    for (code, lines) in &built.unplaced {
        eprintln!("geoip: left out {lines} lines of {code:?}, which is no country's code");
    }
}

#[expect(clippy::disallowed_methods, reason = "a tool run by hand stamps its product")]
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// Writes beside the file and renames, so that whoever reads it sees the old or the new one, whole.
fn replace(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let write = || {
        let mut file = File::create(&beside)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&beside, path)
    };
    write().inspect_err(|_| {
        // What is left of it is of no use to anyone, and the first error is the one to tell.
        let _ = fs::remove_file(&beside);
    })
}
