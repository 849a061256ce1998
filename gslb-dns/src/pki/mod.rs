//! A private CA for the daemons of one cluster: `gslb-dns pki`, in a directory that no name server has.
//!
//! command ─▶ directory (locked, written durably) ─▶ index (what was issued) + ca (what signs)
//!
//! renew: visit (to name servers) ─▶ renewal (who is believed) ─▶ directory
//!
//! The index is written before what it speaks of, so that no certificate is ever out that it does not know, and no
//! revocation is told that a crash could take back.

mod ca;
mod command;
mod directory;
mod index;
mod renewal;
mod show;
#[cfg(test)]
mod tests;
mod visit;

pub use self::command::{Done, Pki};
pub use self::directory::{DAYS, Directory, Wanted};

use std::io;
use std::path::{Path, PathBuf};

/// What a command could not do.
#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    #[error("{0}")]
    Refused(String),
    #[error("{}", path.display())]
    File { path: PathBuf, source: io::Error },
    #[error("cannot be signed")]
    Sign(#[from] rcgen::Error),
}

impl PkiError {
    fn of(path: &Path) -> impl FnOnce(io::Error) -> PkiError {
        let path = path.to_owned();
        |source| PkiError::File { path, source }
    }
}
