//! What is believed of sites, and the files that it comes from and is kept in.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use common::{bounded, durable};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tracing::warn;

use super::PAUSE;
use crate::config;
use crate::health::board::Board;
use crate::health::entries::{Entries, Entry, Moment};
use crate::health::last_known::LastKnown;
use crate::health::overrides::{Override, Phase};
use crate::health::view::Views;
use crate::snapshot::{Groundwork, Snapshot};
use crate::world::{Node, World};

/// In the state directory: what operators say of sites, read again whenever it changes.
pub const OVERRIDES_FILE: &str = "overrides.toml";
/// In the state directory: the overrides file as it was when last good, for a start that finds it bad.
const LAST_GOOD_FILE: &str = "overrides.last-good.toml";
/// In the state directory: what operators said by command.
pub const ENTRIES_FILE: &str = "overrides.json";
/// In the state directory: which sites were fit when one last was.
pub const LAST_KNOWN_FILE: &str = "last-known.json";

/// Octets of the overrides file: far more than an operator writes.
const LONGEST_OVERRIDES: u64 = 16 << 20;
/// Octets of the entries' file: `MOST_ENTRIES` of the longest take half of it.
const LONGEST_ENTRIES: u64 = 16 << 20;

/// Why a watched site is neither up nor down at a moment that history does not have.
const UNKNOWN: &str = "what was seen then is not kept";

/// What is believed, and the files it comes from.
pub struct Beliefs {
    pub(super) state_dir: PathBuf,
    /// The overrides file as it was last judged; `None` before that.
    judged: Option<Read>,
    /// What it was at the last look, if that was something else.
    seen: Option<Read>,
    /// What the file says, in its order.
    pub(super) overrides: Vec<Override>,
    /// Whether the file that holds is yet to be kept for a later start.
    unkept: bool,
    /// What was said by command, after which the file is not asked.
    pub(super) entries: Entries,
    /// Why what was said by command before could not be read: none of it is in force.
    pub entries_lost: Option<String>,
    /// Whether the disk does not hold them yet.
    unwritten: bool,
    last_known: LastKnown,
    /// Of the board that this is from, and whether the disk holds it, and when it was last written.
    remembered: Option<Arc<Snapshot>>,
    is_last_known_kept: bool,
    last_known_kept_at: Option<Duration>,
}

/// A file's octets, none if there is no file, or why it could not be read.
type Read = Result<Vec<u8>, String>;

/// What reading the overrides file again brought.
#[derive(Debug, Eq, PartialEq)]
pub enum Reread {
    Same,
    Changed,
    /// The file was refused, and what it said before still holds. A problem a line.
    Refused(String),
    /// It was refused at a start, and no good copy is left: nothing that it said is in force.
    Lost(String),
}

impl Beliefs {
    /// Reads what there is. A bad overrides file is told, and what it said when it was last good
    /// holds: an operator's word must not be lost, and a name server must not stay dark for it.
    pub fn read(node: &Node) -> (Beliefs, Reread) {
        let state_dir = node.state_dir.clone();
        let last_known = read_last_known(&state_dir.join(LAST_KNOWN_FILE));
        let mut beliefs = Beliefs {
            state_dir,
            judged: None,
            seen: None,
            overrides: vec![],
            unkept: false,
            entries: Entries::default(),
            entries_lost: None,
            unwritten: false,
            last_known,
            remembered: None,
            is_last_known_kept: true,
            last_known_kept_at: None,
        };
        match read_entries(&beliefs.state_dir.join(ENTRIES_FILE)) {
            Ok(entries) => beliefs.entries = entries,
            Err(why) => beliefs.entries_lost = Some(why),
        }
        let read = beliefs.look();
        let reread = match beliefs.judge(read) {
            Reread::Refused(why) => beliefs.fall_back(why),
            reread => reread,
        };
        (beliefs, reread)
    }

    /// Looks at the overrides file again. Something new counts once two looks have seen the same: a
    /// file is empty, or half there, while it is being written.
    pub fn reread(&mut self) -> Reread {
        let read = self.look();
        if self.judged.as_ref() == Some(&read) {
            self.seen = None;
            return Reread::Same;
        }
        if self.seen.as_ref() != Some(&read) {
            self.seen = Some(read);
            return Reread::Same;
        }
        self.judge(read)
    }

    fn look(&self) -> Read {
        let path = self.state_dir.join(OVERRIDES_FILE);
        match bounded::read_file(&path, LONGEST_OVERRIDES) {
            Ok(octets) => Ok(octets),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(vec![]),
            Err(error) => Err(format!("{}: {error}", path.display())),
        }
    }

    fn judge(&mut self, read: Read) -> Reread {
        let path = self.state_dir.join(OVERRIDES_FILE);
        let parsed = read.as_ref().map_err(Clone::clone).and_then(|octets| parse(&path, octets));
        self.seen = None;
        self.judged = Some(read);
        match parsed {
            Ok(overrides) => {
                self.overrides = overrides;
                self.unkept = true;
                Reread::Changed
            }
            Err(why) => Reread::Refused(why),
        }
    }

    /// Takes what the file said when it was last good, now that it is refused.
    fn fall_back(&mut self, why: String) -> Reread {
        let path = self.state_dir.join(LAST_GOOD_FILE);
        let kept = bounded::read_file(&path, LONGEST_OVERRIDES);
        let kept = kept.map_err(|error| format!("{}: {error}", path.display()));
        match kept.and_then(|octets| parse(&path, &octets)) {
            Ok(overrides) => {
                self.overrides = overrides;
                Reread::Refused(why)
            }
            Err(error) => Reread::Lost(format!("{why}\n{error}")),
        }
    }

    /// Keeps a good overrides file for a later start.
    pub(super) fn keep_overrides(&mut self) -> io::Result<()> {
        if let (true, Some(Ok(octets))) = (self.unkept, &self.judged) {
            durable::write(&self.state_dir.join(LAST_GOOD_FILE), octets)?;
        }
        self.unkept = false;
        Ok(())
    }

    /// Everything that operators said: of two about the same, the later one holds.
    pub(super) fn said(&self) -> impl Iterator<Item = &Override> {
        self.overrides.iter().chain(self.entries.iter().map(|entry| &entry.said))
    }

    /// How far each override has come: while that is the same, so is the board.
    pub fn phases(&self, now: Timestamp) -> Vec<Phase> {
        self.said().map(|said| said.phase(now)).collect()
    }

    pub fn board(&self, number: u64, ground: &Groundwork, views: &Views, now: Timestamp) -> Board {
        self.board_with(&self.entries, number, ground, views, now)
    }

    /// The board that comes after one of the same orders as far as they have come: `phases` says whether they have.
    pub fn next_board(
        &self,
        before: &Board,
        number: u64,
        ground: &Groundwork,
        views: &Views,
        now: Timestamp,
    ) -> Board {
        let said: Vec<&Override> = self.said().collect();
        let board = before.next(number, &ground.world, views, &said, &self.last_known, now);
        board.ordered_up_to(self.entries.highest())
    }

    /// The board of some moment, as far as orders decide: the overrides file is taken as it is now, and so is who was
    /// fit when one last was. Of a moment to come, `views` is taken for what is seen then; of one that is gone nothing
    /// is. Its number is 0, since nobody was ever answered from it.
    pub fn board_of(
        &self,
        moment: &Moment,
        ground: &Groundwork,
        views: &Views,
        now: Timestamp,
    ) -> Board {
        let entries = self.entries.as_of(moment.ordered);
        if moment.at > now {
            return self.board_with(&entries, 0, ground, views, moment.at);
        }
        self.board_with(&entries, 0, ground, &views.unknown(UNKNOWN), moment.at)
    }

    /// As the board would be with other entries.
    pub(super) fn board_with(
        &self,
        entries: &Entries,
        number: u64,
        ground: &Groundwork,
        views: &Views,
        now: Timestamp,
    ) -> Board {
        let by_command = entries.iter().map(|entry| &entry.said);
        let said: Vec<&Override> = self.overrides.iter().chain(by_command).collect();
        Board::of_views(number, &ground.world, views, &said, &self.last_known, now)
            .ordered_up_to(entries.highest())
    }

    /// From now on these are the entries. They are written at once, and again until it succeeds.
    pub(super) fn set_entries(&mut self, entries: Entries) -> io::Result<()> {
        self.entries = entries;
        self.unwritten = true;
        self.keep_entries()
    }

    pub(super) fn keep_entries(&mut self) -> io::Result<()> {
        if self.unwritten {
            let path = self.state_dir.join(ENTRIES_FILE);
            if self.entries_lost.is_some() {
                put_aside(&path)?;
                self.entries_lost = None;
            }
            let overrides = self.entries.iter().cloned().collect();
            let kept = Kept { version: VERSION, highest: self.entries.highest(), overrides };
            let text = serde_json::to_vec_pretty(&kept)?;
            durable::write(&path, &text)?;
        }
        self.unwritten = false;
        Ok(())
    }

    /// Remembers which sites were fit.
    pub(super) fn remember(&mut self, snapshot: &Arc<Snapshot>) {
        let before = self.remembered.replace(Arc::clone(snapshot));
        let before = before.filter(|before| Arc::ptr_eq(&before.ground, &snapshot.ground));
        let is_same =
            |id| before.as_ref().is_some_and(|before| snapshot.board.shares(&before.board, id));
        let others = snapshot.world().service_ids().filter(|id| !is_same(*id));
        let is_other = self.last_known.learn(snapshot.world(), &snapshot.board, others);
        self.is_last_known_kept &= !is_other;
    }

    /// Has the disk hold that, if it is something else and time for it.
    pub(super) fn keep_last_known(&mut self, now: Duration) -> io::Result<()> {
        let is_due = self.last_known_kept_at.is_none_or(|at| now >= at + PAUSE);
        if is_due { self.write_last_known(now) } else { Ok(()) }
    }

    /// The same, however lately it was written.
    pub(super) fn write_last_known(&mut self, now: Duration) -> io::Result<()> {
        if !self.is_last_known_kept {
            let text = serde_json::to_vec_pretty(&self.last_known)?;
            durable::write(&self.state_dir.join(LAST_KNOWN_FILE), &text)?;
            (self.is_last_known_kept, self.last_known_kept_at) = (true, Some(now));
        }
        Ok(())
    }

    /// Takes what a peer remembers of who was fit last, where nobody is under `board`. How many sites that adds.
    pub(super) fn meet(&mut self, world: &World, board: &Board, peer: &LastKnown) -> usize {
        let added = self.last_known.meet(world, board, peer);
        if added > 0 {
            (self.is_last_known_kept, self.remembered) = (false, None);
        }
        added
    }
}

fn parse(path: &Path, octets: &[u8]) -> Result<Vec<Override>, String> {
    let text = str::from_utf8(octets).map_err(|error| format!("{}: {error}", path.display()))?;
    config::overrides::overrides(path, text).map_err(|problems| problems.to_string())
}

/// What stands in the entries' file.
#[derive(Deserialize, Serialize)]
struct Kept {
    version: u32,
    highest: u64,
    overrides: Vec<Entry>,
}

/// Files of entries that could not be read, each put aside under a number.
const KEPT_BAD: u32 = 10;
/// Of the entries' file as it is written now.
const VERSION: u32 = 1;

/// For people to look at: what follows is written in its place. Whoever has taken it away already did the
/// same.
fn put_aside(path: &Path) -> io::Result<()> {
    let free = |aside: &PathBuf| !aside.exists();
    let names = (0..KEPT_BAD).map(|number| path.with_extension(format!("json.bad{number}")));
    let aside = names.clone().find(free).or_else(|| names.clone().next_back());
    match fs::rename(path, aside.as_deref().unwrap_or(path)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

fn read_entries(path: &Path) -> Result<Entries, String> {
    let octets = match bounded::read_file(path, LONGEST_ENTRIES) {
        Ok(octets) => octets,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Entries::default()),
        Err(error) => return Err(format!("{}: {error}", path.display())),
    };
    let kept: Kept =
        serde_json::from_slice(&octets).map_err(|error| format!("{}: {error}", path.display()))?;
    let Kept { version, highest, overrides } = kept;
    if version != VERSION {
        return Err(format!("{}: found version {version}, expected {VERSION}", path.display()));
    }
    Ok(Entries::restore(highest, overrides))
}

fn read_last_known(path: &Path) -> LastKnown {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return LastKnown::default(),
        Err(error) => {
            warn!(%error, file = %path.display(), "what was last known could not be read: starting without");
            return LastKnown::default();
        }
    };
    serde_json::from_slice(&bytes).unwrap_or_else(|error| {
        warn!(%error, file = %path.display(), "what was last known could not be read: starting without");
        LastKnown::default()
    })
}
