//! Reading `site.toml`, and judging it whole before anything trusts it.
//!
//! text ─▶ `common::config::read` ─▶ file ─▶ check ─▶ `site`     (problems from every step, all of them)
//!
//! Reads files when asked and nothing else: no socket, no clock. At a reload a broken file of TLS that was good is no problem:
//! who has read it goes on with what it was.

mod check;
mod dated;
mod elsewhere;
mod file;
mod good;
mod words;

use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use common::config::Colour;
use common::config::problems::{Problem, Problems, Source};
use common::config::read::Document;
use common::mtls::Credentials;

use self::dated::Dated;
pub use self::good::Good;
use crate::site::{Redundancy, Site};

/// Addresses of one frontend, servers of one pool, rules of one frontend: far more than anybody writes.
pub const MOST_BINDS: usize = 64;
pub const MOST_SERVERS: usize = 4096;
pub const MOST_RULES: usize = 1024;
/// Frontends, and pools.
pub const MOST_NAMES: usize = 1024;
/// Certificates of one frontend.
pub const MOST_CERTIFICATES: usize = 10_000;
/// Octets of an error page: it is held for as long as we run.
pub const LARGEST_PAGE: u64 = 64 << 10;

/// Of one virtual router: an advert has room for 255, and a frame of Ethernet for some 90 of IPv6.
pub const MOST_VIPS_OF_A_ROUTER: usize = 64;
/// Of one virtual router, which is two or three boxes.
pub const MOST_PEERS: usize = 8;
pub const MOST_WITNESSES: usize = 4;
pub const MOST_TRACKS: usize = 16;

/// All that a site's balancer is told.
#[derive(Clone, Debug)]
pub struct Config {
    pub file: PathBuf,
    pub site: Site,
    /// What is to be told of it though it is sound, whatever the time: see `warnings_at`.
    pub warnings: Problems,
    /// What frontends show clients.
    dated: Vec<Dated>,
}

/// Reads `site.toml` and the files that it names. Reports every problem.
pub fn load(file: &Path) -> Result<Config, Problems> {
    reload(file, &Good::default())
}

/// Reads the one that follows on a running config, of which this was good.
pub fn reload(file: &Path, good: &Good) -> Result<Config, Problems> {
    match Source::read(file) {
        Ok(source) => read(&source, file, good),
        Err(message) => {
            let mut problems = Problems::default();
            problems.add(Problem::of_file(file, message));
            Err(problems)
        }
    }
}

/// Reads what `site-agent vrrp run` needs of `site.toml`, and no more: what is wrong with the balancer's part of it
/// keeps no address from its place. With what is to be told of it though it is sound.
pub fn load_redundancy(file: &Path) -> Result<(Redundancy, Problems), Problems> {
    match Source::read(file) {
        Ok(source) => redundancy(&source, file),
        Err(message) => {
            let mut problems = Problems::default();
            problems.add(Problem::of_file(file, message));
            Err(problems)
        }
    }
}

/// Whether nothing in a file is a balancer's. One that cannot be read is not told of here.
pub fn is_of_routers_alone(file: &Path) -> bool {
    let Ok(source) = Source::read(file) else { return false };
    check::is_of_routers_alone(&Document::parse(&source, &mut Problems::default()))
}

/// Reads where that service is asked, and nothing else: mistakes elsewhere keep nobody from giving orders.
pub fn load_service_socket(file: &Path) -> Result<PathBuf, Problems> {
    let mut problems = Problems::default();
    let socket = match Source::read(file) {
        Ok(source) => {
            let document = Document::parse(&source, &mut problems);
            check::service_socket(&document, file, &mut problems)
        }
        Err(message) => {
            problems.add(Problem::of_file(file, message));
            None
        }
    };
    problems.sort();
    problems.or(socket)
}

/// The same from text, as if it stood in `dir` as `site.toml`.
pub fn redundancy_from_str(text: &str, dir: &Path) -> Result<(Redundancy, Problems), Problems> {
    let file = dir.join("site.toml");
    redundancy(&Arc::new(Source::new(&file, text.to_owned())), &file)
}

fn redundancy(source: &Arc<Source>, file: &Path) -> Result<(Redundancy, Problems), Problems> {
    let (mut problems, mut warnings) = (Problems::default(), Problems::default());
    let document = Document::parse(source, &mut problems);
    let redundancy = check::redundancy(&document, file, &mut problems, &mut warnings);
    problems.sort();
    warnings.sort();
    problems.or(redundancy.map(|redundancy| (redundancy, warnings)))
}

/// Reads a site from text as if it stood in `dir` as `site.toml`.
pub fn from_str(text: &str, dir: &Path) -> Result<Config, Problems> {
    let file = dir.join("site.toml");
    read(&Arc::new(Source::new(&file, text.to_owned())), &file, &Good::default())
}

fn read(source: &Arc<Source>, file: &Path, good: &Good) -> Result<Config, Problems> {
    let (mut problems, mut warnings) = (Problems::default(), Problems::default());
    let document = Document::parse(source, &mut problems);
    let mut dated = vec![];
    let site = check::site(&document, file, good, &mut problems, &mut warnings, &mut dated);
    problems.sort();
    warnings.sort();
    problems.or(site.map(|site| Config { file: file.to_owned(), site, warnings, dated }))
}

impl Config {
    /// What is to be told of it at that Unix time, in seconds: of certificates, too, that clients do not believe then.
    pub fn warnings_at(&self, now: i64) -> Problems {
        let mut warnings = self.warnings.clone();
        self.dated
            .iter()
            .filter_map(|dated| dated.warning(now))
            .for_each(|told| warnings.add(told));
        warnings.sort();
        warnings
    }

    /// What keeps name servers from believing us at that Unix time, in seconds.
    pub fn doubts(&self, now: i64) -> Vec<String> {
        let reporting = self.site.agent.iter().flat_map(|agent| &agent.reporting);
        let credentials = reporting.flat_map(|reporting| Credentials::read(&reporting.files));
        credentials.flat_map(|read| read.doubts(now)).map(|doubt| doubt.to_string()).collect()
    }
}
