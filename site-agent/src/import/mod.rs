//! A keepalived.conf becomes the `[vrrp.NAME]` of a `site.toml`; whatever does not is named, with its line and the reason.
//!
//! octets ─▶ lines ─▶ blocks ─▶ whole: router (vip, peers, signature), named ─▶ written ─▶ text      (remarks from every step)
//!
//! Reads as keepalived does (keepalived.conf(5)) and carries over what it would run. Nothing is left out without a
//! remark. Opens no file: included ones are asked for.

mod blocks;
mod lines;
mod named;
mod peers;
mod router;
mod signature;
#[cfg(test)]
mod tests;
mod vip;
mod whole;
mod written;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Octets of all files together, and those files: far more than anybody writes by hand.
pub const MOST_OCTETS: usize = 4 << 20;
pub const MOST_FILES: usize = 256;
/// Lines of all files together.
pub const MOST_LINES: usize = 100_000;
/// Octets of a line, after definitions were put in: what keepalived has room for.
pub const LONGEST_LINE: usize = 1023;
/// Files within files, the first one not counted.
pub const DEEPEST_INCLUDE: usize = 16;
/// Blocks within blocks: keepalived's own are four.
pub const DEEPEST_BLOCK: usize = 16;
/// Definitions put into one line, those within definitions included.
pub const MOST_SUBSTITUTIONS: usize = 64;

/// A file of the configuration, or why it could not be read.
#[derive(Clone, Debug)]
pub struct File {
    pub path: PathBuf,
    pub octets: Result<Vec<u8>, String>,
}

/// What came of it.
#[derive(Debug)]
pub struct Import {
    /// A `site.toml`.
    pub text: String,
    /// Of how many virtual routers.
    pub routers: usize,
    /// In the order of the lines.
    pub remarks: Vec<Remark>,
}

/// What became of a statement that did not go over as it was, and why.
#[derive(Clone, Debug)]
pub struct Remark {
    place: Place,
    fate: Fate,
    statement: String,
    why: String,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Fate {
    /// What it did is done no more.
    Lost,
    /// It does something else here.
    Changed,
    /// It is so in any case, or says nothing that matters here.
    Needless,
}

/// A line of a file, and how many were read before.
#[derive(Clone, Debug)]
struct Place {
    file: Arc<str>,
    line: usize,
    order: usize,
}

/// Why a configuration cannot be made sense of.
#[derive(Debug, thiserror::Error)]
#[error("{place}: {what}")]
pub struct Unreadable {
    place: Place,
    what: String,
}

/// Which lines that begin with `@` are for the box in question, as keepalived's `-i` says it.
pub type ConfigId<'i> = Option<&'i str>;

/// Makes a `site.toml` of a keepalived.conf with these octets. `included` has the files that a pattern names, in order.
pub fn import(
    path: &Path,
    octets: &[u8],
    config_id: ConfigId<'_>,
    included: &mut dyn FnMut(&Path) -> Vec<File>,
) -> Result<Import, Unreadable> {
    let mut remarks = Remarks::default();
    let lines = lines::lines(path, octets, config_id, included, &mut remarks)?;
    let statements = blocks::blocks(lines)?;
    let routers = whole::routers(&statements, &mut remarks);
    let mut remarks = remarks.0;
    remarks.sort_by_key(|remark| remark.place.order);
    Ok(Import { text: written::written(path, &routers), routers: routers.len(), remarks })
}

impl Import {
    /// Whether all that mattered was carried over as it was.
    pub fn is_whole(&self) -> bool {
        self.remarks.iter().all(|remark| remark.fate == Fate::Needless)
    }

    /// `2 virtual routers; 3 statements not carried over, 1 changed, 4 need nothing`.
    pub fn counted(&self) -> String {
        let of = |fate| self.remarks.iter().filter(|remark| remark.fate == fate).count();
        let routers = match self.routers {
            1 => "1 virtual router".to_owned(),
            count => format!("{count} virtual routers"),
        };
        let [lost, changed, needless] = [Fate::Lost, Fate::Changed, Fate::Needless].map(of);
        format!("{routers}; not carried over: {lost}, changed: {changed}, need nothing: {needless}")
    }
}

impl fmt::Display for Remark {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Remark { place, fate, statement, why } = self;
        write!(out, "{place}: {fate}: {statement}: {why}")
    }
}

impl fmt::Display for Fate {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Fate::Lost => "not carried over",
            Fate::Changed => "changed",
            Fate::Needless => "needs nothing",
        })
    }
}

impl fmt::Display for Place {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}:{}", self.file, self.line)
    }
}

impl Place {
    fn unreadable(&self, what: impl Into<String>) -> Unreadable {
        Unreadable { place: self.clone(), what: what.into() }
    }
}

#[derive(Default)]
struct Remarks(Vec<Remark>);

impl Remarks {
    fn add(&mut self, place: &Place, fate: Fate, statement: &str, why: impl Into<String>) {
        let (place, statement, why) =
            (place.clone(), on_one_line(statement), printable(&why.into()));
        self.0.push(Remark { place, fate, statement, why });
    }

    fn lost(&mut self, said: &blocks::Statement, why: impl Into<String>) {
        self.add(&said.place, Fate::Lost, &said.shown(), why);
    }

    fn changed(&mut self, said: &blocks::Statement, why: impl Into<String>) {
        self.add(&said.place, Fate::Changed, &said.shown(), why);
    }

    fn needless(&mut self, said: &blocks::Statement, why: impl Into<String>) {
        self.add(&said.place, Fate::Needless, &said.shown(), why);
    }
}

/// For a terminal: it ends somewhere.
fn on_one_line(text: &str) -> String {
    const LONGEST: usize = 100;
    let cut = text.chars().nth(LONGEST).map_or("", |_| "…");
    printable(&text.chars().take(LONGEST).collect::<String>()) + cut
}

/// Nothing in it moves the cursor.
fn printable(text: &str) -> String {
    text.replace(char::is_control, "\u{fffd}")
}
