//! Files as operators leave them: never more of one than a stated limit, and never a pipe; and whether one has
//! changed.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use nix::unistd::{Uid, User};

/// The whole file, if it is one and has at most `limit` octets. An error says as whom it may not be read.
pub fn read_file(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    read(path, limit).map_err(|error| match error.kind() {
        ErrorKind::PermissionDenied => {
            io::Error::new(ErrorKind::PermissionDenied, format!("{error}, as user {}", who()))
        }
        _ => error,
    })
}

/// Whom the system takes us for, when it comes to files.
fn who() -> String {
    let uid = Uid::effective();
    User::from_uid(uid).ok().flatten().map_or_else(|| uid.to_string(), |user| user.name)
}

fn read(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    // Asked before opening: to open a pipe is to wait for its writer.
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    let mut octets = Vec::new();
    File::open(path)?.take(limit + 1).read_to_end(&mut octets)?;
    if octets.len() as u64 > limit {
        return Err(io::Error::other(format!("larger than {limit} octets")));
    }
    Ok(octets)
}

/// What a file looks like from outside: changes when it is written, replaced, or reached by another link.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Stamp {
    device: u64,
    inode: u64,
    length: u64,
    modified: (i64, i64),
    /// When its owner, mode or links were changed last.
    changed: (i64, i64),
}

impl Stamp {
    /// `None` if there is no such file, or none that we may see.
    pub fn of(path: &Path) -> Option<Stamp> {
        let file = fs::metadata(path).ok()?;
        Some(Stamp {
            device: file.dev(),
            inode: file.ino(),
            length: file.len(),
            modified: (file.mtime(), file.mtime_nsec()),
            changed: (file.ctime(), file.ctime_nsec()),
        })
    }
}
