//! Reading `probe.toml`, and judging it whole before anything trusts it.
//!
//! text ─▶ `common::config::read` ─▶ file ─▶ check (reference) ─▶ Config     (problems from every step, all of them)
//!
//! Where this probe stands in the world, and of which failure domain it is, is said in the name servers' world and not
//! here: one truth has one place.

mod check;
mod file;
mod reference;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use common::config::problems::{Problem, Problems, Source};
use common::config::read::Document;
use common::look::{Looker, Program, Programs, Roots, Who};
use common::mtls::{Credentials, Files};
use common::principal::Principal;
use common::target::Target;
use common::telling::NameServer;

pub const MOST_REFERENCES: usize = 64;

/// All that a probe is told.
#[derive(Clone, Debug)]
pub struct Config {
    pub file: PathBuf,
    pub name: Arc<str>,
    pub state_dir: PathBuf,
    pub servers: Vec<NameServer>,
    pub files: Files,
    /// Who our certificate says we are.
    pub principal: Principal,
    pub roots: Roots,
    pub programs: BTreeMap<String, Program>,
    pub references: Vec<Target>,
    pub looks_at_once: usize,
    pub admin: Option<SocketAddr>,
    /// What is to be told of it though it is sound.
    pub warnings: Problems,
}

/// Reads `probe.toml` and the files that it names. Reports every problem.
pub fn load(file: &Path) -> Result<Config, Problems> {
    let mut problems = Problems::default();
    let config = match Source::read(file) {
        Ok(source) => {
            let document = Document::parse(&source, &mut problems);
            check::config(&document, file, &mut problems)
        }
        Err(message) => {
            problems.add(Problem::of_file(file, message));
            None
        }
    };
    problems.sort();
    problems.or(config)
}

impl Config {
    pub fn looker(&self) -> Looker {
        let (roots, programs) = (self.roots.clone(), Programs::new(self.programs.clone()));
        Looker { who: Who::Probe, roots, programs }
    }

    /// What keeps name servers from believing us at that Unix time, in seconds.
    pub fn doubts(&self, now: i64) -> Vec<String> {
        let credentials = Credentials::read(&self.files).into_iter();
        credentials.flat_map(|read| read.doubts(now)).map(|doubt| doubt.to_string()).collect()
    }
}
