//! How many runs of a producer there were, on disk: each has a greater incarnation than all before it.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use tokio::sync::Mutex;
use tokio::task::spawn_blocking;
use tracing::{error, warn};

use crate::{bounded, durable};

const LOCK: &str = "lock";
const INC: &str = "inc";
/// Octets of a number in digits, and more.
const LONGEST_NUMBER: u64 = 64;

#[derive(Debug)]
pub struct Runs {
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
pub enum RunsError {
    #[error("the state directory {dir} cannot be used")]
    Unusable { dir: String, source: io::Error },
    #[error(
        "the state directory {dir} belongs to another process that runs; give each its own (state_dir)"
    )]
    Taken { dir: String },
}

impl Runs {
    /// Takes the directory, and counts this run; its incarnation is on disk then.
    pub fn open(dir: &Path) -> Result<(Runs, u64, Lock), RunsError> {
        let shown = dir.display().to_string();
        let unusable = |source| RunsError::Unusable { dir: shown.clone(), source };
        fs::create_dir_all(dir).map_err(unusable)?;
        let lock = File::create(dir.join(LOCK)).map_err(unusable)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(RunsError::Taken { dir: shown }),
            Err(TryLockError::Error(source)) => return Err(unusable(source)),
        }
        let inc = inc_of(dir) + 1;
        durable::write(&dir.join(INC), inc.to_string().as_bytes()).map_err(unusable)?;
        let runs = Runs { dir: dir.to_owned(), inc: Mutex::new(inc) };
        Ok((runs, inc, Lock { _file: lock }))
    }

    /// Keeps an incarnation that a name server had us raise. If it cannot be kept, the next run learns it again.
    pub async fn raise(&self, inc: u64) {
        let mut kept = self.inc.lock().await;
        if inc > *kept {
            *kept = inc;
            keep(self.dir.join(INC), inc.to_string()).await;
        }
    }
}

/// Writes what the next run needs, off the runtime's own threads. If that fails it is told, and nothing else follows.
pub async fn keep(path: PathBuf, octets: impl AsRef<[u8]> + Send + 'static) {
    let of_file = path.clone();
    let written = spawn_blocking(move || durable::write(&of_file, octets.as_ref())).await;
    if let Err(error) = written.map_err(io::Error::other).flatten() {
        error!(%error, file = %path.display(), "what the next run needs could not be kept");
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
