//! The demo's directory: always the same one, so that what is written down can be pasted, unless somebody has it.
//!
//! It goes with its owner. What a demo that was killed has left is cleared away by the next one of its user. Whoever
//! else may write there could have put programs in it, which nobody is to run: such a directory is told and left alone.

use std::env;
use std::fs::{self, DirBuilder, File, Metadata, OpenOptions, Permissions, TryLockError};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{
    DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _,
};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use rustix::process::geteuid;
use tempfile::TempDir;

use crate::say;

const NAME: &str = "gslb-demo";
/// Of the directory of a demo that finds the usual one taken.
const PREFIX: &str = "gslb-demo-";
/// Held by the demo that runs there, and made first of all. What has files and not this one is no demo's.
const LOCK: &str = "demo.lock";
/// There are keys in it, and programs that people run.
const MODE: u32 = 0o700;
const OF_OTHERS: u32 = 0o077;
/// Others who begin, end and clear meanwhile are this often waited for.
const TRIES: usize = 32;

pub struct Directory {
    path: PathBuf,
    _lock: File,
}

enum Found {
    /// Ours: new, or of a demo that was killed.
    Held(File),
    /// Of a demo that runs.
    InUse,
    /// Why it is not to be touched, nor to be trusted.
    Foreign(&'static str),
    /// It is going: who looks again finds another one or none.
    Going,
}

impl Directory {
    pub fn make() -> anyhow::Result<Directory> {
        let temp = env::temp_dir();
        Directory::make_in(&temp, say).with_context(|| {
            format!("cannot make a directory in {}; TMPDIR names another place", temp.display())
        })
    }

    /// Where it is, if that is not the usual place, is told.
    fn make_in(temp: &Path, tell: fn(&str)) -> io::Result<Directory> {
        let usual = temp.join(NAME);
        make(&usual)?;
        sweep(temp);
        for _ in 0..TRIES {
            let why = match found(&usual)? {
                Found::Held(lock) => {
                    clear(&usual)?;
                    return Ok(Directory { path: usual, _lock: lock });
                }
                Found::InUse => "is another demo's",
                Found::Foreign(why) => why,
                Found::Going => {
                    make(&usual)?;
                    continue;
                }
            };
            let mut other = tempfile::Builder::new();
            let other = other.prefix(PREFIX).permissions(Permissions::from_mode(MODE));
            let other = other.tempdir_in(temp)?;
            // Somebody may have swept it away since.
            if let Found::Held(lock) = found(other.path())? {
                let path = TempDir::keep(other);
                tell(&format!("{} {why}: this demo is in {}\n", usual.display(), path.display()));
                return Ok(Directory { path, _lock: lock });
            }
        }
        Err(io::Error::new(ErrorKind::ResourceBusy, "others take and leave them all the time"))
    }

    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        if let Err(error) = remove(&self.path) {
            eprintln!("gslb-demo: {} stays behind: {error}", self.path.display());
        }
    }
}

/// It may be there.
fn make(path: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(MODE).create(path) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Takes it, if it may be had.
fn found(path: &Path) -> io::Result<Found> {
    let Some(of) = unless_gone(fs::symlink_metadata(path))? else { return Ok(Found::Going) };
    // Not what a link leads to: whoever made that may let it lead elsewhere.
    if !of.is_dir() {
        return Ok(Found::Foreign("is no directory (do not run what is in it)"));
    }
    if of.uid() != geteuid().as_raw() {
        return Ok(Found::Foreign("belongs to another user (do not run what is in it)"));
    }
    if of.mode() & OF_OTHERS != 0 {
        return Ok(Found::Foreign("is open to other users (do not run what is in it)"));
    }
    let at = path.join(LOCK);
    let is_without = unless_gone(fs::symlink_metadata(&at))?.is_none();
    let Some(mut files) = unless_gone(fs::read_dir(path))? else { return Ok(Found::Going) };
    if is_without && files.any(|file| file.is_ok_and(|file| file.file_name() != LOCK)) {
        return Ok(Found::Foreign("has files, and not of a demo"));
    }
    let mut options = OpenOptions::new();
    let lock = options.read(true).append(true).create(true).mode(MODE).open(&at);
    let Some(lock) = unless_gone(lock)? else { return Ok(Found::Going) };
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Ok(Found::InUse),
        Err(TryLockError::Error(error)) => return Err(error),
    }
    // Whoever ends removes the file while he holds it: then what we hold is nobody's.
    let same = |one: &Metadata, two: &Metadata| (one.dev(), one.ino()) == (two.dev(), two.ino());
    match unless_gone(fs::symlink_metadata(&at))? {
        Some(there) if same(&there, &lock.metadata()?) => Ok(Found::Held(lock)),
        Some(_) | None => Ok(Found::Going),
    }
}

fn unless_gone<T>(found: io::Result<T>) -> io::Result<Option<T>> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Of demos that found the usual one taken and were killed. What cannot be cleared is left.
fn sweep(temp: &Path) {
    for entry in fs::read_dir(temp).into_iter().flatten().flatten() {
        let is_one = entry.file_name().to_str().is_some_and(|name| name.starts_with(PREFIX));
        if is_one && let Ok(Found::Held(_lock)) = found(&entry.path()) {
            let _ = remove(&entry.path());
        }
    }
}

/// Of whoever holds its lock. The lock goes last, as what has none is taken for no demo's; then another may be in it.
fn remove(path: &Path) -> io::Result<()> {
    clear(path)?;
    fs::remove_file(path.join(LOCK))?;
    match fs::remove_dir(path) {
        Err(error) if error.kind() == ErrorKind::DirectoryNotEmpty => Ok(()),
        done => unless_gone(done).map(|_| ()),
    }
}

/// All but the lock, which we hold. Processes of a killed demo may have some moments left to write.
fn clear(path: &Path) -> io::Result<()> {
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        if entry.file_name() == LOCK {
            continue;
        }
        let file = entry.path();
        let is_dir = entry.file_type()?.is_dir();
        let one = || if is_dir { fs::remove_dir_all(&file) } else { fs::remove_file(&file) };
        let is_filled = |done: &io::Result<()>| {
            done.as_ref().is_err_and(|error| error.kind() == ErrorKind::DirectoryNotEmpty)
        };
        let mut done = one();
        for _ in 0..TRIES {
            if !is_filled(&done) {
                break;
            }
            done = one();
        }
        unless_gone(done)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{chown, symlink};

    use super::*;

    fn quietly(temp: &Path) -> io::Result<Directory> {
        Directory::make_in(temp, |_| {})
    }

    fn left(temp: &Path) -> usize {
        fs::read_dir(temp).unwrap().count()
    }

    /// As after SIGKILL: the lock is gone with the process, the files are not.
    fn kill(directory: Directory) {
        let Directory { path: _, _lock: lock } = &directory;
        lock.unlock().unwrap();
        std::mem::forget(directory);
    }

    #[test]
    fn what_a_killed_demo_left_is_cleared_and_what_is_in_use_is_left_alone() {
        let temp = tempfile::tempdir().unwrap();
        let one = quietly(temp.path()).unwrap();
        let path = one.path().to_owned();
        assert_eq!(path, temp.path().join("gslb-demo"));
        let two = quietly(temp.path()).unwrap();
        assert_ne!(two.path(), path);
        fs::write(path.join("kill-fra"), "").unwrap();
        fs::write(two.path().join("kill-fra"), "").unwrap();
        kill(one);
        kill(two);
        let three = quietly(temp.path()).unwrap();
        assert_eq!((three.path(), left(temp.path())), (&*path, 1));
        assert!(!path.join("kill-fra").exists());
        drop(three);
        assert_eq!(left(temp.path()), 0);
    }

    #[test]
    fn one_that_was_killed_before_it_had_its_lock_is_taken() {
        let temp = tempfile::tempdir().unwrap();
        make(&temp.path().join("gslb-demo")).unwrap();
        let one = quietly(temp.path()).unwrap();
        assert_eq!(one.path(), temp.path().join("gslb-demo"));
    }

    #[test]
    fn a_lock_that_is_at_its_place_no_more_holds_nothing() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("gslb-demo");
        make(&path).unwrap();
        let Found::Held(old) = found(&path).unwrap() else { panic!("nobody has it") };
        assert!(matches!(found(&path).unwrap(), Found::InUse));
        remove(&path).unwrap();
        assert!(matches!(found(&path).unwrap(), Found::Going));
        let new = quietly(temp.path()).unwrap();
        assert_eq!(new.path(), path);
        drop(old);
    }

    #[test]
    fn demos_that_begin_and_end_at_once_have_one_each() {
        let temp = tempfile::tempdir().unwrap();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for number in 0..50 {
                        let one = quietly(temp.path()).unwrap();
                        let mine = one.path().join("mine");
                        assert!(!mine.exists());
                        fs::write(&mine, "").unwrap();
                        assert_eq!(fs::read_dir(one.path()).unwrap().count(), 2, "{number}");
                    }
                });
            }
        });
        assert_eq!(left(temp.path()), 0);
    }

    #[test]
    fn what_is_not_of_a_demo_of_ours_is_not_touched() {
        let check = |make: fn(&Path), expected: &str| {
            let temp = tempfile::tempdir().unwrap();
            let usual = temp.path().join("gslb-demo");
            make(&usual);
            let before = left(temp.path());
            let Found::Foreign(why) = found(&usual).unwrap() else { panic!("{expected}") };
            assert_eq!(why, expected);
            drop(quietly(temp.path()).unwrap());
            assert!(fs::symlink_metadata(&usual).is_ok());
            assert_eq!(left(temp.path()), before);
        };
        check(
            |usual| {
                make(usual).unwrap();
                fs::write(usual.join("thesis"), "").unwrap();
            },
            "has files, and not of a demo",
        );
        check(
            |usual| {
                make(usual).unwrap();
                fs::set_permissions(usual, Permissions::from_mode(0o770)).unwrap();
            },
            "is open to other users (do not run what is in it)",
        );
        check(
            |usual| {
                make(&usual.with_file_name("elsewhere")).unwrap();
                symlink("elsewhere", usual).unwrap();
            },
            "is no directory (do not run what is in it)",
        );
        check(|usual| fs::write(usual, "").unwrap(), "is no directory (do not run what is in it)");
        // Whom only root can make the owner.
        if geteuid().is_root() {
            check(
                |usual| {
                    make(usual).unwrap();
                    chown(usual, Some(65534), None).unwrap();
                },
                "belongs to another user (do not run what is in it)",
            );
        }
    }
}
