//! Files that are written whole or not at all, and are still there after a power cut.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// Its owner alone reads it.
const SECRET: u32 = 0o600;
/// As far as the process's mask lets others.
const OPEN: u32 = 0o666;

/// Writes beside, syncs, renames over what was there.
pub fn write(path: &Path, octets: &[u8]) -> io::Result<()> {
    replace(path, octets, OPEN)
}

/// The same for what nobody else may read, not even while it is written.
pub fn write_secret(path: &Path, octets: &[u8]) -> io::Result<()> {
    replace(path, octets, SECRET)
}

/// Renames, and makes that last.
pub fn rename(from: &Path, to: &Path) -> io::Result<()> {
    fs::rename(from, to)?;
    let folder = to.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

fn replace(path: &Path, octets: &[u8], mode: u32) -> io::Result<()> {
    let beside = beside(path);
    // What a crash has left there may have another's mode.
    match fs::remove_file(&beside) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&beside)?;
    file.write_all(octets)?;
    file.sync_all()?;
    rename(&beside, path)
}

fn beside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    name.into()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_file_is_replaced_whole_and_a_secret_is_nobody_elses() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ca.key");
        fs::write(&path, "open to all").unwrap();
        fs::write(beside(&path), "left by a crash").unwrap();
        write_secret(&path, b"secret").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"secret");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        write(&path, b"open").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"open");
        assert_ne!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let files = fs::read_dir(dir.path()).unwrap().count();
        assert_eq!(files, 1);
        // What cannot be written leaves what was there.
        fs::create_dir(beside(&path)).unwrap();
        write(&path, b"other").unwrap_err();
        assert_eq!(fs::read(&path).unwrap(), b"open");
    }
}
