//! A small disk over a directory, which can be filled. Takes root; goes with its owner.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::ensure;

/// Octets of it.
const SIZE: usize = 256 << 10;
const FILLER: &str = "filler";

pub struct Disk {
    at: PathBuf,
}

impl Disk {
    /// What the directory had is hidden.
    pub fn over(dir: &Path) -> anyhow::Result<Disk> {
        let mut command = Command::new("mount");
        command.args(["-t", "tmpfs", "-o", &format!("size={SIZE}"), "gslb-test"]).arg(dir);
        ensure!(command.status()?.success(), "no disk over {}", dir.display());
        Ok(Disk { at: dir.to_owned() })
    }

    /// To the last octet.
    pub fn fill(&self) -> anyhow::Result<()> {
        let written = fs::write(self.at.join(FILLER), vec![0; 2 * SIZE]);
        let is_full = written.is_err_and(|error| error.kind() == io::ErrorKind::StorageFull);
        ensure!(is_full, "{} is not full", self.at.display());
        Ok(())
    }

    /// What it was filled with is gone.
    pub fn clear(&self) -> io::Result<()> {
        fs::remove_file(self.at.join(FILLER))
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Also while somebody has a file open there.
        let mut command = Command::new("umount");
        let _ = command.arg("--lazy").arg(&self.at).stderr(Stdio::null()).status();
    }
}
