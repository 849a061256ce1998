//! The shell around a replay: files one after the other, and the beliefs of each second.

use std::fs::{self, File};
use std::io::{self, BufReader};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;

use super::Replay;
use super::report::{FileTold, Report};
use crate::health::board::Board;
use crate::health::overrides::{NoMatch, Phase};
use crate::health::supposition::Supposition;
use crate::health::view::Views;
use crate::keeper::Beliefs;
use crate::query_log::recordings_in;
use crate::recording::{ReadError, Reader};
use crate::snapshot::{Groundwork, Snapshot};
use crate::world::World;

/// What is asked for.
pub struct Request<'r> {
    pub files: Vec<PathBuf>,
    /// For the commands that explain.
    pub config: &'r Path,
    pub node_name: &'r str,
    /// Nothing is known of any site without them, and no operator has said a word.
    pub beliefs: Option<&'r Beliefs>,
    pub suppose: Vec<Supposition>,
}

impl Request<'_> {
    /// Refuses what cannot be meant in this world: something supposed of a site that there is not.
    pub fn fits(&self, world: &World) -> Result<(), NoMatch> {
        self.suppose.iter().try_for_each(|one| one.is_of_some_site(world))
    }
}

/// One recording that is open.
pub struct Source {
    pub path: PathBuf,
    pub reader: Reader<BufReader<File>>,
}

/// What could not be read, and why.
#[derive(Debug, thiserror::Error)]
#[error("{path}")]
pub struct Unreadable {
    pub path: String,
    #[source]
    pub why: ReadError,
}

/// The recordings of the folders among these, and the files among them.
pub fn files(paths: &[PathBuf]) -> Result<Vec<PathBuf>, Unreadable> {
    let mut files = vec![];
    for path in paths {
        let unreadable =
            |why: io::Error| Unreadable { path: path.display().to_string(), why: why.into() };
        if fs::metadata(path).map_err(unreadable)?.is_dir() {
            let found = recordings_in(path).map_err(unreadable)?;
            if found.is_empty() {
                return Err(unreadable(io::Error::other("there is no recording in this folder")));
            }
            files.extend(found);
        } else {
            files.push(path.clone());
        }
    }
    Ok(files)
}

pub fn open(path: &Path) -> Result<Source, Unreadable> {
    let unreadable = |why| Unreadable { path: path.display().to_string(), why };
    let file = File::open(path).map_err(|error| unreadable(error.into()))?;
    let reader = Reader::open(BufReader::with_capacity(1 << 16, file)).map_err(unreadable)?;
    Ok(Source { path: path.to_owned(), reader })
}

/// Asks all of it again.
pub fn replay(ground: Arc<Groundwork>, request: &Request<'_>) -> Report {
    let epoch = ground.world.epoch;
    let mut believed = Believed { ground, request, present: None };
    let mut replay = Replay::default();
    let mut files = vec![];
    for path in &request.files {
        let mut told = FileTold::of(path);
        match open(path) {
            Ok(mut source) => {
                told.begin(source.reader.header());
                loop {
                    match source.reader.next() {
                        Ok(Some(asked)) => {
                            told.queries += 1;
                            replay.ask(
                                believed.at(asked.query.at / 1000),
                                request.node_name,
                                &asked,
                            );
                        }
                        Ok(None) => break told.cut = source.reader.cut(),
                        Err(error) => break told.error = Some(error.to_string()),
                    }
                }
            }
            Err(unreadable) => told.error = Some(unreadable.why.to_string()),
        }
        files.push(told);
    }
    Report::new(files, epoch, request, replay.tally())
}

/// The snapshot of each second, made anew only when an override begins, goes a step or ends.
struct Believed<'b> {
    ground: Arc<Groundwork>,
    request: &'b Request<'b>,
    present: Option<Present>,
}

struct Present {
    second: u64,
    phases: Vec<Phase>,
    snapshot: Snapshot,
}

impl Believed<'_> {
    fn at(&mut self, second: u64) -> &Snapshot {
        let is_known = |present: &Present| present.second == second;
        if !self.present.as_ref().is_some_and(is_known) {
            let at = i64::try_from(second).ok().and_then(|at| Timestamp::from_second(at).ok());
            let at = at.unwrap_or_default();
            let phases = self.request.beliefs.map_or(vec![], |beliefs| beliefs.phases(at));
            let snapshot = match self.present.take() {
                Some(present) if present.phases == phases => present.snapshot,
                Some(_) | None => self.snapshot(at),
            };
            self.present = Some(Present { second, phases, snapshot });
        }
        &self.present.as_ref().expect("it was just put there").snapshot
    }

    fn snapshot(&self, at: Timestamp) -> Snapshot {
        let board = match self.request.beliefs {
            Some(beliefs) => beliefs.board(1, &self.ground, &Views::default(), at),
            None => Board::blank(&self.ground.world),
        };
        let board = match &self.request.suppose[..] {
            [] => board,
            suppose => board.supposing(&self.ground.world, suppose),
        };
        Snapshot::new(Arc::clone(&self.ground), board)
    }
}
