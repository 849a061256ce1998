//! Reads RFC 1035 master files into records, or into every problem found in them.
//!
//! text ─▶ lexer ─▶ entry ─▶ rdata ─▶ Master
//!           ▲        │
//!           │    directive
//!           │        ├─▶ generate ─┐  ($GENERATE)
//!           └────────┴─▶ open ─────┘  ($INCLUDE)
//!
//! Judges one record at a time. What holds between records (one SOA, CNAME alone, equal TTLs,
//! duplicates) is for `zone` to check. Touches the file system nowhere but in `read`.

mod directive;
mod encoding;
mod entry;
mod generate;
mod lexer;
pub mod rdata;
mod ttl;
mod words;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use common::bounded;

use crate::name::Name;
use crate::record::Record;

/// One problem in a master file.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Problem {
    pub file: PathBuf,
    /// Counted from 1; 0 when the file as a whole is meant.
    pub line: u32,
    pub message: String,
}

/// What was read.
#[derive(Debug, Default)]
pub struct Master {
    /// In the order they stand in, $INCLUDEd ones in their place.
    pub records: Vec<Record>,
    /// Every file read with its contents, in the order they were opened.
    pub files: Vec<(PathBuf, Vec<u8>)>,
    /// Where each of `records` stands, at the same index.
    pub places: Vec<Place>,
}

/// Where a record stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Place {
    /// An index into `Master::files`.
    pub file: u32,
    /// The line its entry begins on, counted from 1.
    pub line: u32,
}

impl Master {
    /// The file and line of `records[index]`. Panics if there is no such record.
    pub fn place(&self, index: usize) -> (&Path, u32) {
        let Place { file, line } = self.places[index];
        (&self.files[file as usize].0, line)
    }
}

/// What one zone may take. Far above any real zone; a runaway file stops here, not at the memory's end.
#[derive(Clone, Copy)]
struct Limits {
    /// Octets of text: the file, all it includes, and all that $GENERATE expands to.
    text: usize,
    /// Octets of one entry, its comments and continued lines included. 65,535 octets of data
    /// written `\DDD` take 262,140.
    entry: usize,
    records: usize,
    /// Records of one $GENERATE.
    generated: u64,
    /// Files open above an $INCLUDEd one: the file, what includes it, and so on.
    depth: usize,
    /// Problems listed before the rest is left unread.
    problems: usize,
}

const LIMITS: Limits = Limits {
    text: 512 << 20,
    entry: 1 << 20,
    records: 20_000_000,
    generated: 65_536,
    depth: 8,
    problems: 100,
};

/// Reads a master file and everything it includes. Reports every problem, not only the first.
pub fn read(path: &Path, origin: &Name) -> Result<Master, Vec<Problem>> {
    let unreadable = |error| {
        let message = format!("cannot be read: {error}");
        vec![Problem { file: path.into(), line: 0, message }]
    };
    let text = read_text(path).map_err(unreadable)?;
    entry::read_zone(path, text, origin, LIMITS, &mut read_text)
}

/// The contents of one file, not parsed.
pub fn read_text(path: &Path) -> io::Result<Vec<u8>> {
    bounded::read_file(path, LIMITS.text as u64)
}

/// The same for text at hand; `open` reads $INCLUDEd files. Their paths are as written, joined to
/// the directory of the including file.
pub fn parse(
    file: &Path,
    text: &[u8],
    origin: &Name,
    open: &mut dyn FnMut(&Path) -> io::Result<Vec<u8>>,
) -> Result<Master, Vec<Problem>> {
    entry::read_zone(file, text.to_vec(), origin, LIMITS, open)
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Problem { file, line, message } = self;
        match line {
            0 => write!(f, "{}: {message}", file.display()),
            _ => write!(f, "{}:{line}: {message}", file.display()),
        }
    }
}

impl std::error::Error for Problem {}
