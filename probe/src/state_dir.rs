//! What outlives a run: how many there were, and what each name server last asked for.
//!
//! Written whole beside the old file and then put in its place, so that no end of power leaves half of one.

use std::collections::BTreeMap;
use std::fs::{self, File, TryLockError};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use common::assignment::{Assignment, LARGEST};
use common::bounded;
use tokio::sync::Mutex;
use tokio::task::spawn_blocking;
use tracing::{error, warn};

use crate::asked::Server;

const LOCK: &str = "lock";
const INC: &str = "inc";
/// Before the name server's name.
const ASSIGNMENT: &str = "assignment-";
/// Octets of a number in digits, and more.
const LONGEST_NUMBER: u64 = 64;

#[derive(Debug)]
pub struct StateDir {
    dir: PathBuf,
    /// The highest incarnation on disk.
    inc: Mutex<u64>,
}

/// Keeps the directory ours.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

#[derive(Debug, thiserror::Error)]
pub enum StateDirError {
    #[error("the state directory {dir} cannot be used")]
    Unusable { dir: String, source: io::Error },
    #[error(
        "the state directory {dir} belongs to another probe that runs; give each its own (probe.state_dir)"
    )]
    Taken { dir: String },
}

impl StateDir {
    /// Takes the directory, and counts this run; its incarnation is on disk then.
    pub fn open(dir: &Path) -> Result<(StateDir, u64, Lock), StateDirError> {
        let shown = dir.display().to_string();
        let unusable = |source| StateDirError::Unusable { dir: shown.clone(), source };
        fs::create_dir_all(dir).map_err(unusable)?;
        let lock = File::create(dir.join(LOCK)).map_err(unusable)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(StateDirError::Taken { dir: shown }),
            Err(TryLockError::Error(source)) => return Err(unusable(source)),
        }
        let inc = inc_of(dir) + 1;
        replace(dir, INC, inc.to_string().as_bytes()).map_err(unusable)?;
        let state_dir = StateDir { dir: dir.to_owned(), inc: Mutex::new(inc) };
        Ok((state_dir, inc, Lock { _file: lock }))
    }

    /// Keeps an incarnation that a name server had us raise. If it cannot be kept, the next run learns it again.
    pub async fn raise(self: &Arc<Self>, inc: u64) {
        let mut kept = self.inc.lock().await;
        if inc > *kept {
            *kept = inc;
            self.write(INC.to_owned(), inc.to_string().into()).await;
        }
    }

    /// Keeps what a name server asked for, as it came.
    pub async fn keep_assignment(self: &Arc<Self>, server: &str, octets: Bytes) {
        self.write(format!("{ASSIGNMENT}{server}"), octets).await;
    }

    async fn write(self: &Arc<Self>, name: String, octets: Bytes) {
        let dir = Arc::clone(self);
        let written = spawn_blocking(move || replace(&dir.dir, &name, &octets)).await;
        match written.map_err(io::Error::other) {
            Ok(Ok(())) => {}
            Ok(Err(error)) | Err(error) => {
                error!(%error, dir = %self.dir.display(), "what the next run needs could not be kept");
            }
        }
    }

    /// What these name servers last asked for.
    pub fn assignments<'s>(
        &self,
        servers: impl IntoIterator<Item = &'s Server>,
    ) -> BTreeMap<Server, Assignment> {
        let read = |server: &Server| {
            let path = self.dir.join(format!("{ASSIGNMENT}{server}"));
            let octets = match bounded::read_file(&path, LARGEST as u64) {
                Ok(octets) => octets,
                Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
                Err(error) => {
                    warn!(%server, %error, "a kept assignment is not used: it is fetched again");
                    return None;
                }
            };
            Assignment::read(&octets)
                .inspect_err(|error| {
                    warn!(%server, %error, "a kept assignment is not used: it is fetched again");
                })
                .ok()
                .map(|assignment| (Arc::clone(server), assignment))
        };
        servers.into_iter().filter_map(read).collect()
    }
}

/// Of the run before; 0 if that is not known, and then a name server tells.
fn inc_of(dir: &Path) -> u64 {
    let octets = match bounded::read_file(&dir.join(INC), LONGEST_NUMBER) {
        Ok(octets) => octets,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return 0,
        Err(error) => {
            warn!(%error, "how many runs there were is not known: a name server will tell");
            return 0;
        }
    };
    let number = std::str::from_utf8(&octets).ok().and_then(|text| text.trim().parse().ok());
    number.unwrap_or_else(|| {
        let error = "it is no number";
        warn!(error, "how many runs there were is not known: a name server will tell");
        0
    })
}

fn replace(dir: &Path, name: &str, octets: &[u8]) -> io::Result<()> {
    let new = dir.join(format!("{name}.new"));
    let mut file = File::create(&new)?;
    file.write_all(octets)?;
    file.sync_all()?;
    fs::rename(&new, dir.join(name))?;
    // The name too has to outlive an end of power.
    File::open(dir)?.sync_all()
}
