//! Where history is kept: numbered files in a folder of the state directory, of which the oldest go.
//!
//! Each begins with all that is believed, and goes on with what changes. A group of lines counts once all of them are
//! there: what a power cut leaves of one is cut off at the next start. Whoever moves files away loses what was in
//! them, nothing else. Never the place to decide anything, and no answer waits for it.

mod read;

use std::collections::VecDeque;
use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use common::durable;

pub use self::read::{Shelf, found, listing};

use self::read::{files, read};
use crate::health::board::Board;
use crate::history::{Because, Cause, Diff, End, Group, Head, Past, Turned};
use crate::world::World;

/// In the state directory.
pub const HISTORY_DIR: &str = "history";

/// How much is kept.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Octets after which a file is full; or twice what it began with, if that is more.
    pub file: u64,
    pub files: usize,
    /// Lines that may wait for the disk. Of boards beyond that no two are told apart.
    pub waiting: usize,
}

/// Some 100,000 changes of sites.
pub const BOUNDS: Bounds = Bounds { file: 4 << 20, files: 16, waiting: 4096 };

pub struct Archive {
    dir: PathBuf,
    bounds: Bounds,
    /// What is believed at the end of what is written; `None` before anything was ever told.
    written: Option<Past>,
    /// The file that is written to, if there is a good one.
    file: Option<Current>,
    waiting: VecDeque<Group>,
    serial: u64,
}

struct Current {
    path: PathBuf,
    length: u64,
    /// What it began with.
    whole: u64,
}

/// What a board has changed.
#[derive(Clone, Debug, Default)]
pub struct Noted {
    /// Of sites of services, each by itself.
    pub changes: usize,
    pub turned: Vec<Turned>,
}

/// What is wrong with what was kept before.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Flaw {
    #[error("{0} octets at the end of {1} were of no whole board: cut off")]
    Torn(usize, String),
    #[error("{0}")]
    Unreadable(String),
}

impl Archive {
    /// Goes on with what is there. What is torn or damaged is told, and left behind.
    pub fn open(state_dir: &Path, bounds: Bounds) -> (Archive, Vec<Flaw>) {
        let dir = state_dir.join(HISTORY_DIR);
        let mut archive =
            Archive { dir, bounds, written: None, file: None, waiting: VecDeque::new(), serial: 0 };
        let mut flaws = Vec::new();
        let all = files(&archive.dir).unwrap_or_else(|error| {
            flaws.push(Flaw::Unreadable(format!("{}: {error}", archive.dir.display())));
            vec![]
        });
        // Mostly the last one tells it all.
        for (_, path) in all.iter().rev() {
            let is_last = archive.written.is_none() && flaws.is_empty();
            let scanned = match read(path) {
                Ok(scanned) => scanned,
                Err(why) => {
                    flaws.push(Flaw::Unreadable(why));
                    continue;
                }
            };
            let mut groups = scanned.groups.iter();
            let Some(first) = groups.next() else {
                flaws.push(Flaw::Unreadable(format!("{}: nothing whole is in it", path.display())));
                continue;
            };
            let whole = first.text().map_or(0, |text| text.len() as u64);
            let mut past = Past::begin(first);
            groups.for_each(|group| past.apply(group));
            archive.serial = past.head.serial;
            archive.written = Some(past);
            let (path, length) = (path.clone(), scanned.good as u64);
            let is_good = match scanned.end {
                End::Clean => true,
                End::Torn(octets) => {
                    flaws.push(Flaw::Torn(octets, path.display().to_string()));
                    cut(&path, length).is_ok()
                }
                End::Damaged(line, why) => {
                    let place = path.display();
                    flaws.push(Flaw::Unreadable(format!("{place}:{line}: {why}")));
                    false
                }
            };
            archive.file = (is_last && is_good).then_some(Current { path, length, whole });
            break;
        }
        (archive, flaws)
    }

    /// A server begins to answer from this board.
    pub fn begin(&mut self, world: &World, board: &Board) {
        let head = self.head(Cause::Start, world, board);
        let next = Past::of(head.clone(), world, board);
        match &self.written {
            Some(written) => {
                let diff = written.changes_to(&next);
                self.wait(Group::changed(head, diff));
            }
            None => self.written = Some(next),
        }
    }

    /// Another world answers, from this board, after that one; what has become of sites that both have.
    pub fn reload(&mut self, before: (&World, &Board), after: (&World, &Board)) -> Vec<Turned> {
        let head = self.head(Cause::Reload, after.0, after.1);
        let past = |(world, board)| Past::of(head.clone(), world, board);
        let diff = past(before).changes_to(&past(after));
        let turned = diff.turned();
        self.wait(Group::changed(head, diff));
        turned
    }

    /// Another board of the same world answers.
    pub fn change(
        &mut self,
        world: &World,
        before: &Board,
        after: &Board,
        because: Because,
    ) -> Noted {
        let diff = Diff::between(world, before, after, because);
        if diff.is_empty() && before.orders == after.orders {
            return Noted::default();
        }
        let noted = Noted { changes: diff.moved.len(), turned: diff.turned() };
        let head = self.head(Cause::Change, world, after);
        self.wait(Group::changed(head, diff));
        noted
    }

    fn head(&mut self, cause: Cause, world: &World, board: &Board) -> Head {
        self.serial += 1;
        Head::of(cause, self.serial, world, board)
    }

    fn wait(&mut self, group: Group) {
        let lines: usize = self.waiting.iter().map(|group| 1 + group.diff.lines()).sum();
        match self.waiting.back_mut() {
            Some(last) if lines + 1 + group.diff.lines() > self.bounds.waiting => last.merge(group),
            Some(_) | None => self.waiting.push_back(group),
        }
    }

    /// What is kept, for whoever reads it, with what the disk does not have yet.
    pub fn shelf(&self) -> Shelf {
        let unwritten = match (&self.file, &self.written) {
            (None, Some(written)) => Some(written.whole()),
            (None, None) | (Some(_), _) => None,
        };
        let waiting = unwritten.into_iter().chain(self.waiting.iter().cloned()).collect();
        Shelf { dir: self.dir.clone(), waiting }
    }

    /// Writes what waits. If that fails it still waits.
    pub fn flush(&mut self) -> io::Result<()> {
        let Some(written) = &mut self.written else { return Ok(()) };
        if self.waiting.is_empty() && self.file.is_some() {
            return Ok(());
        }
        let mut text = Vec::new();
        for group in &self.waiting {
            text.extend(group.text()?);
        }
        let has_room = |file: &Current| file.has_room(self.bounds) && file.is_as_we_left_it();
        let mut file = match self.file.take().filter(has_room) {
            Some(file) => file,
            None => begin_file(&self.dir, self.bounds, written)?,
        };
        if let Err(error) = append(&file.path, &text) {
            // No half of it may stay before what follows.
            self.file = cut(&file.path, file.length).is_ok().then_some(file);
            return Err(error);
        }
        file.length += text.len() as u64;
        self.file = Some(file);
        for group in self.waiting.drain(..) {
            written.apply(&group);
        }
        Ok(())
    }
}

impl Current {
    fn has_room(&self, bounds: Bounds) -> bool {
        self.length < bounds.file.max(2 * self.whole)
    }

    /// Nobody has moved it, cut it or hidden it behind another disk.
    fn is_as_we_left_it(&self) -> bool {
        fs::metadata(&self.path).is_ok_and(|file| file.len() == self.length)
    }
}

/// A new file, whole or not at all, once those are gone for which there is no room beside it.
fn begin_file(dir: &Path, bounds: Bounds, past: &Past) -> io::Result<Current> {
    match fs::create_dir(dir) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let before = files(dir)?;
    for (_, old) in before.iter().rev().skip(bounds.files.saturating_sub(1)) {
        fs::remove_file(old)?;
    }
    let number = before.last().map_or(1, |(number, _)| number + 1);
    let path = dir.join(format!("{number:08}.jsonl"));
    let text = past.whole().text()?;
    durable::write(&path, &text)?;
    let length = text.len() as u64;
    Ok(Current { path, length, whole: length })
}

fn append(path: &Path, text: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().append(true).open(path)?;
    file.write_all(text)?;
    file.sync_data()
}

fn cut(path: &Path, length: u64) -> io::Result<()> {
    let file = OpenOptions::new().write(true).open(path)?;
    file.set_len(length)?;
    file.sync_data()
}

#[cfg(test)]
mod tests;
