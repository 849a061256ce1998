//! Places where a file of ours is to be: told before a start or a reload runs into what is there.
//!
//! Looks and makes nothing. Whether we may write there is not asked: who checks is often somebody else than who runs.

use std::fs;
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};

/// What is wrong with a place.
#[derive(Debug, Eq, PartialEq)]
pub enum Unfit {
    /// Something else is there, or above it.
    Taken(String),
    /// This folder is not there.
    NoFolder(PathBuf),
}

/// A file that is appended to.
pub fn file(path: &Path) -> Result<(), Unfit> {
    folder(path)?;
    match path.is_dir() {
        true => Err(Unfit::Taken(format!(
            "{} is a folder, expected the name of a file",
            path.display()
        ))),
        false => Ok(()),
    }
}

/// A socket, which may replace one that was left there.
pub fn socket(path: &Path) -> Result<(), Unfit> {
    folder(path)?;
    match fs::symlink_metadata(path) {
        Ok(there) if !there.file_type().is_socket() => Err(Unfit::Taken(format!(
            "{} is a file that is no socket: remove it, or name another path",
            path.display()
        ))),
        Ok(_) | Err(_) => Ok(()),
    }
}

fn folder(path: &Path) -> Result<(), Unfit> {
    let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) else {
        return Ok(());
    };
    let there = |above: &&Path| above.as_os_str().is_empty() || fs::symlink_metadata(above).is_ok();
    match folder.ancestors().find(there) {
        Some(above) if !above.as_os_str().is_empty() && !above.is_dir() => {
            Err(Unfit::Taken(format!("{} is no folder", above.display())))
        }
        Some(above) if above == folder => Ok(()),
        Some(_) | None => Err(Unfit::NoFolder(folder.to_owned())),
    }
}
