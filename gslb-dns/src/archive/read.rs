//! What stands in the files, for those who ask. Also while a server writes them, and when none does.

use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader, ErrorKind, Read as _};
use std::path::{Path, PathBuf};

use common::bounded;
use jiff::Timestamp;

use crate::history::{Asked, End, Found, Group, Line, Listing, Scanned, Sought, found_in, scan};

/// Octets of a file that are read: far more than any has.
const LONGEST: u64 = 256 << 20;
/// Octets of a head's line.
const LONGEST_HEAD: u64 = 4 << 10;

/// Where history stands, and what of it the disk does not have yet.
#[derive(Clone, Debug)]
pub struct Shelf {
    pub dir: PathBuf,
    /// What follows the last file; or begins with a whole one itself.
    pub waiting: Vec<Group>,
}

impl Shelf {
    /// Of a server that does not run, or is not asked.
    pub fn of_files(state_dir: &Path) -> Shelf {
        Shelf { dir: state_dir.join(super::HISTORY_DIR), waiting: vec![] }
    }
}

/// What was believed at a moment, and what of that could not be read.
pub fn found(shelf: &Shelf, sought: &Sought) -> (Found, Vec<String>) {
    let mut flaws = Vec::new();
    let runs = runs(shelf, &mut flaws);
    let (mut begins, mut about) = (None, None);
    for run in runs.iter().rev() {
        let Some(first) = run.begins else { continue };
        if first > sought.at {
            begins = Some(first);
            continue;
        }
        let (groups, flaw) = run.read();
        let exact = sought.exact.as_ref().and_then(|_| found_in(&groups, sought));
        if let Some(past) = exact {
            flaws.extend(flaw);
            return (Found::Then(past.into()), flaws);
        }
        if about.is_none() {
            about = found_in(&groups, &Sought { exact: None, ..sought.clone() });
            flaws.extend(flaw);
        }
        if sought.exact.is_none() && about.is_some() {
            break;
        }
    }
    let found = match (about, begins) {
        (Some(past), _) => Found::Then(past.into()),
        (None, Some(begins)) => Found::Before(begins),
        (None, None) => Found::Nothing,
    };
    (found, flaws)
}

/// What changed, of what is asked for.
pub fn listing(shelf: &Shelf, asked: Asked) -> Listing {
    let mut flaws = Vec::new();
    let runs = runs(shelf, &mut flaws);
    let mut listing = Listing::new(asked);
    for (index, run) in runs.iter().enumerate() {
        let next = runs[index + 1..].iter().find_map(|run| run.begins);
        if let (Some(begins), Some(next)) = (run.begins, next)
            && listing.passes_over(begins, next)
        {
            continue;
        }
        let (groups, flaw) = run.read();
        flaws.extend(flaw);
        groups.into_iter().for_each(|group| listing.hear(group));
    }
    listing.unreadable = flaws;
    listing
}

/// Groups that begin with a whole one.
struct Run<'s> {
    begins: Option<Timestamp>,
    file: Option<PathBuf>,
    waiting: &'s [Group],
}

/// The oldest first.
fn runs<'s>(shelf: &'s Shelf, flaws: &mut Vec<String>) -> Vec<Run<'s>> {
    let files = files(&shelf.dir).unwrap_or_else(|error| {
        flaws.push(format!("{}: {error}", shelf.dir.display()));
        vec![]
    });
    let of_file = |(_, file): (u64, PathBuf)| {
        let begins = begins(&file);
        if begins.is_none() && file.exists() {
            flaws.push(format!("{}: it does not begin as a history does", file.display()));
        }
        Run { begins, file: Some(file), waiting: &[] }
    };
    let mut runs: Vec<Run<'_>> = files.into_iter().map(of_file).collect();
    let begins = shelf.waiting.first().filter(|group| group.is_whole).map(|group| group.head.at);
    match (begins, runs.last_mut()) {
        (None, Some(last)) => last.waiting = &shelf.waiting,
        (Some(_), _) | (None, None) => {
            runs.push(Run { begins, file: None, waiting: &shelf.waiting });
        }
    }
    runs
}

impl Run<'_> {
    /// And what of it could not be read.
    fn read(&self) -> (Vec<Group>, Option<String>) {
        let (mut groups, mut flaw) = (vec![], None);
        if let Some(file) = &self.file {
            match read(file) {
                Ok(Scanned { groups: read, good: _, end }) => {
                    groups = read;
                    if let End::Damaged(line, why) = end {
                        let after = groups.last().map_or_else(String::new, |last| {
                            format!("; what changed after {:.0} is not known", last.head.at)
                        });
                        flaw = Some(format!("{}:{line}: {why}{after}", file.display()));
                    }
                }
                // The oldest go while somebody reads.
                Err(_) if !file.exists() => {}
                Err(why) => flaw = Some(why),
            }
        }
        // What waited when it was asked for may have been written since.
        let last = groups.last().map(|group| group.head.serial);
        let is_new = |group: &&Group| last.is_none_or(|last| group.head.serial > last);
        let waiting = self.waiting.iter().filter(is_new).cloned();
        groups.extend(waiting.skip_while(|group| self.file.is_none() && !group.is_whole));
        (groups, flaw)
    }
}

/// The moment with which a file begins.
fn begins(path: &Path) -> Option<Timestamp> {
    let mut line = Vec::new();
    let file = BufReader::new(File::open(path).ok()?);
    file.take(LONGEST_HEAD).read_until(b'\n', &mut line).ok()?;
    match serde_json::from_slice(&line) {
        Ok(Line::Whole(head)) => Some(head.at),
        Ok(_) | Err(_) => None,
    }
}

pub(super) fn read(path: &Path) -> Result<Scanned, String> {
    let text = bounded::read_file(path, LONGEST);
    text.map(|text| scan(&text)).map_err(|error| format!("{}: {error}", path.display()))
}

/// Files of history by their numbers, the oldest first.
pub(super) fn files(dir: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(vec![]),
        entries => entries?,
    };
    let mut files = Vec::new();
    for entry in entries {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let number = name.strip_suffix(".jsonl").and_then(|number| number.parse().ok());
        files.extend(number.map(|number| (number, path.clone())));
    }
    files.sort_unstable();
    Ok(files)
}
