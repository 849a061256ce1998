//! The demo's directory: always the same one, so that what is written down can be pasted, unless somebody has it.
//!
//! It goes with its owner. What a demo that was killed has left is cleared away by the next one.

use std::env;
use std::fs::{self, DirBuilder, File};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use rustix::process::geteuid;

use crate::say;

const NAME: &str = "gslb-demo";
/// Held by the demo that runs there. Without it a directory is not ours to clear.
const LOCK: &str = "demo.lock";
/// There are keys in it.
const MODE: u32 = 0o700;

pub struct Directory {
    path: PathBuf,
    _lock: File,
}

/// Whose a directory is that is there already.
enum Found {
    /// Of a demo that has ended and could not clear up.
    Left(File),
    OfAnother,
}

impl Directory {
    pub fn make() -> anyhow::Result<Directory> {
        let temp = env::temp_dir();
        Directory::make_in(&temp).with_context(|| {
            format!("cannot make a directory in {}; TMPDIR names another place", temp.display())
        })
    }

    fn make_in(temp: &Path) -> io::Result<Directory> {
        let path = temp.join(NAME);
        match DirBuilder::new().mode(MODE).create(&path) {
            Ok(()) => Directory::lock(path),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => match found(&path) {
                Found::Left(lock) => {
                    clear(&path)?;
                    Ok(Directory { path, _lock: lock })
                }
                Found::OfAnother => {
                    let other = tempfile::Builder::new().prefix("gslb-demo-").tempdir_in(temp)?;
                    let other = other.keep();
                    let (path, here) = (path.display(), other.display());
                    say(&format!("another demo has {path}: this one is in {here}\n"));
                    Directory::lock(other)
                }
            },
            Err(error) => Err(error),
        }
    }

    fn lock(path: PathBuf) -> io::Result<Directory> {
        let lock = File::create(path.join(LOCK))?;
        lock.try_lock()?;
        Ok(Directory { path, _lock: lock })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.path) {
            eprintln!("gslb-demo: {} stays behind: {error}", self.path.display());
        }
    }
}

fn found(path: &Path) -> Found {
    let is_ours = |of: fs::Metadata| of.is_dir() && of.uid() == geteuid().as_raw();
    if !fs::symlink_metadata(path).is_ok_and(is_ours) {
        return Found::OfAnother;
    }
    match File::open(path.join(LOCK)) {
        Ok(lock) if lock.try_lock().is_ok() => Found::Left(lock),
        Ok(_) | Err(_) => Found::OfAnother,
    }
}

/// All but the lock, which we hold.
fn clear(path: &Path) -> io::Result<()> {
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        if entry.file_name() == LOCK {
            continue;
        }
        match entry.file_type()?.is_dir() {
            true => fs::remove_dir_all(entry.path())?,
            false => fs::remove_file(entry.path())?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_killed_demo_left_is_cleared_and_what_is_in_use_is_left_alone() {
        let temp = tempfile::tempdir().unwrap();
        let one = Directory::make_in(temp.path()).unwrap();
        assert_eq!(one.path(), temp.path().join("gslb-demo"));
        let two = Directory::make_in(temp.path()).unwrap();
        assert_ne!(two.path(), one.path());
        fs::write(one.path().join("kill-fra"), "").unwrap();
        // As after SIGKILL: the lock is gone with the process, the files are not.
        let path = one.path().to_owned();
        let Directory { path: _, _lock: lock } = &one;
        lock.unlock().unwrap();
        let three = Directory::make_in(temp.path()).unwrap();
        assert_eq!(three.path(), path);
        assert!(!path.join("kill-fra").exists());
        std::mem::forget(one);
        drop((two, three));
        assert_eq!(fs::read_dir(temp.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_directory_of_somebody_else_is_not_touched() {
        let temp = tempfile::tempdir().unwrap();
        fs::create_dir(temp.path().join("gslb-demo")).unwrap();
        fs::write(temp.path().join("gslb-demo/thesis"), "").unwrap();
        drop(Directory::make_in(temp.path()).unwrap());
        assert!(temp.path().join("gslb-demo/thesis").exists());
    }
}
