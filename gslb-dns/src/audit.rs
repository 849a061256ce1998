//! Who changed what, and who tried to: a line of JSON for each, appended and never rewritten.
//!
//! Each line is written whole, by one call, to the file of that name as it is then: whoever turns logs
//! over may move it away at any time. Never the place to decide anything.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::Serialize;

/// In the state directory.
pub const AUDIT_FILE: &str = "audit.jsonl";

/// The file's owner writes, its group reads.
const MODE: u32 = 0o640;

pub struct Audit {
    path: PathBuf,
}

/// One line.
#[derive(Clone, Debug, Serialize)]
pub struct Line<'a> {
    pub at: Timestamp,
    pub node: &'a str,
    pub who: &'a str,
    /// Of the process that asked; `None` where this process itself did.
    pub uid: Option<u32>,
    pub pid: Option<i32>,
    /// `start`, `reload`, `drain`, …
    pub action: &'a str,
    pub outcome: Outcome,
    /// What was said, or why it was refused.
    pub detail: serde_json::Value,
    /// The board and the epoch that answered afterwards.
    pub board: u64,
    pub epoch: String,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    Done,
    Refused,
}

impl Audit {
    pub fn in_dir(state_dir: &Path) -> Audit {
        Audit { path: state_dir.join(AUDIT_FILE) }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whole, or not at all but for what the disk does.
    pub fn append(&self, lines: &[Line<'_>]) -> io::Result<()> {
        let mut text = Vec::new();
        for line in lines {
            serde_json::to_writer(&mut text, line)?;
            text.push(b'\n');
        }
        let mut file = OpenOptions::new().append(true).create(true).mode(MODE).open(&self.path)?;
        file.write_all(&text)?;
        file.sync_data()
    }
}
