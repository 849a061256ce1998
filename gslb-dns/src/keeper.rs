//! Keeps the board true: reads what operators wrote, builds a board, publishes it, remembers on disk.
//!
//! The shell around `health`: it owns the files and is told the time. One keeper, one writer of
//! snapshots.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use tracing::{error, info, warn};

use crate::health::board::Board;
use crate::health::last_known::LastKnown;
use crate::health::overrides::{Idle, Override};
use crate::metrics::WorldMetrics;
use crate::publish::Published;
use crate::snapshot::{Groundwork, Snapshot};
use crate::steer::Failing;
use crate::world::Node;
use crate::{bounded, config};

/// In the state directory: what operators say of sites, read again whenever it changes.
pub const OVERRIDES_FILE: &str = "overrides.toml";
/// In the state directory: the overrides file as it was when last good, for a start that finds it bad.
const LAST_GOOD_FILE: &str = "overrides.last-good.toml";
/// In the state directory: which sites were fit when one last was.
pub const LAST_KNOWN_FILE: &str = "last-known.json";

/// Octets of the overrides file: far more than an operator writes.
const LONGEST_OVERRIDES: u64 = 16 << 20;

/// What is believed, and the files it comes from.
pub struct Beliefs {
    state_dir: PathBuf,
    /// The overrides file as it was last judged; `None` before that.
    judged: Option<Read>,
    /// What it was at the last look, if that was something else.
    seen: Option<Read>,
    overrides: Vec<Override>,
    /// Whether the file that holds is yet to be kept for a later start.
    unkept: bool,
    last_known: LastKnown,
}

/// A file's octets, none if there is no file, or why it could not be read.
type Read = Result<Vec<u8>, String>;

/// What reading the overrides file again brought.
#[derive(Debug, Eq, PartialEq)]
pub enum Reread {
    Same,
    Changed,
    /// The file was refused, and what it said before still holds.
    Refused(String),
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
            last_known,
        };
        let read = beliefs.look();
        let reread = match beliefs.judge(read) {
            Reread::Refused(why) => Reread::Refused(beliefs.fall_back(&why)),
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

    /// Takes what the file said when it was last good; adds to `why` what that came to.
    fn fall_back(&mut self, why: &str) -> String {
        let path = self.state_dir.join(LAST_GOOD_FILE);
        let kept = bounded::read_file(&path, LONGEST_OVERRIDES);
        match kept.map_err(|error| error.to_string()).and_then(|octets| parse(&path, &octets)) {
            Ok(overrides) => {
                self.overrides = overrides;
                why.to_owned()
            }
            Err(error) => {
                format!("{why}\nand no good copy is left ({error}): no override is in force")
            }
        }
    }

    /// Keeps a good overrides file for a later start.
    fn keep_overrides(&mut self) -> io::Result<()> {
        if let (true, Some(Ok(octets))) = (self.unkept, &self.judged) {
            write_durably(&self.state_dir.join(LAST_GOOD_FILE), octets)?;
        }
        self.unkept = false;
        Ok(())
    }

    /// Which overrides are in force, by their order in the file.
    fn in_force(&self, now: Timestamp) -> Vec<bool> {
        self.overrides.iter().map(|said| said.is_in_force(now)).collect()
    }

    pub fn board(&self, number: u64, ground: &Groundwork, now: Timestamp) -> Board {
        Board::build(number, &ground.world, &self.overrides, &self.last_known, now)
    }

    /// Remembers which sites were fit, on disk too if that changed.
    fn remember(&mut self, ground: &Groundwork, board: &Board) -> io::Result<()> {
        let after = self.last_known.after(&ground.world, board);
        if after != self.last_known {
            let text = serde_json::to_vec_pretty(&after)?;
            write_durably(&self.state_dir.join(LAST_KNOWN_FILE), &text)?;
            self.last_known = after;
        }
        Ok(())
    }
}

/// Publishes a new snapshot whenever what is believed changes.
pub struct Keeper {
    beliefs: Beliefs,
    ground: Arc<Groundwork>,
    published: Published,
    metrics: WorldMetrics,
    number: u64,
    in_force: Vec<bool>,
    /// Whether the disk holds what a restart will want to know.
    is_persisted: bool,
    /// Snapshots that some thread may still read.
    retired: Vec<Arc<Snapshot>>,
}

impl Keeper {
    /// Builds and publishes the first snapshot.
    pub fn start(node: &Node, ground: Groundwork, metrics: WorldMetrics, now: Timestamp) -> Keeper {
        let (beliefs, reread) = Beliefs::read(node);
        let ground = Arc::new(ground);
        let board = beliefs.board(1, &ground, now);
        let published = Published::new(Snapshot::new(Arc::clone(&ground), board));
        let in_force = beliefs.in_force(now);
        let (number, is_persisted, retired) = (1, true, vec![]);
        let mut keeper =
            Keeper { beliefs, ground, published, metrics, number, in_force, is_persisted, retired };
        keeper.tell_world();
        keeper.metrics.overrides_ok.set(1);
        if reread != Reread::Changed || !keeper.beliefs.overrides.is_empty() {
            keeper.tell_reread(&reread);
        }
        keeper.settle();
        keeper.persist();
        keeper
    }

    pub fn published(&self) -> &Published {
        &self.published
    }

    /// Looks again at the files and the time; swaps the snapshot if that changes anything.
    pub fn turn(&mut self, now: Timestamp) {
        let reread = self.beliefs.reread();
        self.tell_reread(&reread);
        self.update(&reread, now);
        self.persist();
        self.retired.retain(|snapshot| Arc::strong_count(snapshot) > 1);
    }

    fn update(&mut self, reread: &Reread, now: Timestamp) {
        let in_force = self.beliefs.in_force(now);
        if *reread != Reread::Changed && in_force == self.in_force {
            return;
        }
        self.in_force = in_force;
        let board = self.beliefs.board(self.number + 1, &self.ground, now);
        if board.agrees_with(&self.published.load().board) {
            return;
        }
        self.number += 1;
        info!(board = self.number, digest = %board.digest, "board changed");
        let next = Snapshot::new(Arc::clone(&self.ground), board);
        self.retired.push(self.published.swap(next));
        self.settle();
    }

    /// What follows from a board just published.
    fn settle(&mut self) {
        let snapshot = self.published.load();
        self.metrics.board.set(i64::try_from(self.number).unwrap_or(i64::MAX));
        for id in snapshot.world().service_ids() {
            let service = snapshot.world().service(id).name.to_string();
            let failing = snapshot.failing(id);
            for state in [Failing::AllDown, Failing::AllDrained] {
                let gauge =
                    self.metrics.failing.with_label_values(&[service.as_str(), state.as_str()]);
                gauge.set(i64::from(failing == state));
            }
            if failing != Failing::No {
                warn!(
                    service,
                    how = failing.as_str(),
                    "no site is fit to serve: the fail mode answers"
                );
            }
        }
    }

    /// Writes what a restart will want to know; tried again every turn until it is done.
    fn persist(&mut self) {
        let board = &self.published.load().board;
        let kept = self.beliefs.keep_overrides();
        match kept.and(self.beliefs.remember(&self.ground, board)) {
            Ok(()) => self.is_persisted = true,
            // Told once, not every turn.
            Err(error) if std::mem::take(&mut self.is_persisted) => {
                error!(%error, dir = %self.beliefs.state_dir.display(), "the state could not be written: a restart would not know it; trying again");
            }
            Err(_) => {}
        }
    }

    fn tell_idle(&self) {
        for said in &self.beliefs.overrides {
            let Override { site, service, who, .. } = said;
            match said.idle_in(&self.ground.world) {
                None => {}
                Some(Idle::Site) => {
                    warn!(%site, who, "an override touches nothing: no site has that name");
                }
                Some(Idle::Service) => {
                    warn!(%site, %service, who, "an override touches nothing: no service has that name");
                }
            }
        }
    }

    fn tell_world(&self) {
        let world = &self.ground.world;
        self.metrics.epoch.with_label_values(&[world.epoch.to_string()]).set(1);
        for zone in self.ground.zones.iter() {
            let names = i64::try_from(zone.names()).unwrap_or(i64::MAX);
            self.metrics.zone_names.with_label_values(&[zone.apex().to_string()]).set(names);
        }
    }

    fn tell_reread(&self, reread: &Reread) {
        match reread {
            Reread::Same => {}
            Reread::Changed => {
                self.metrics.overrides_ok.set(1);
                info!(overrides = self.beliefs.overrides.len(), "overrides read");
                self.tell_idle();
            }
            Reread::Refused(why) => {
                self.metrics.overrides_ok.set(0);
                for why in why.lines() {
                    error!(why, "overrides refused: what they said when last good still holds");
                }
            }
        }
    }
}

fn parse(path: &Path, octets: &[u8]) -> Result<Vec<Override>, String> {
    let text = str::from_utf8(octets).map_err(|error| format!("{}: {error}", path.display()))?;
    config::overrides::overrides(path, text).map_err(|problems| problems.to_string())
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

/// Whole or not at all, and still there after a power cut.
fn write_durably(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let beside = path.with_extension("new");
    let mut file = File::create(&beside)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&beside, path)?;
    File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
}
