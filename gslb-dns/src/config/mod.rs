//! Reading what operators write, and judging it whole before anything trusts it.
//!
//! text ─▶ read ─▶ file ─▶ check ─▶ world ─▶ prepare     (problems from every step, all of them)
//!           └──────────────▶ epoch ──┘
//!
//! Reads files when asked and nothing else: no socket, no clock.

mod check;
mod epoch;
mod file;
pub mod overrides;
mod words;

use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use common::config::problems::{self, Colour, Problem, Problems, Severity};
use common::config::{closest, read};

use self::check::{Checked, Spots, Stated};
use self::problems::Source;
use self::read::Document;
use crate::health::board::Board;
use crate::ids::ServiceId;
use crate::policy;
use crate::prove::{self, At, Effort, Finding, Question};
use crate::snapshot::Groundwork;
use crate::world::{Account, AdminDoors, Node, World};

/// All that a name server is told.
#[derive(Debug)]
pub struct Config {
    /// The `node.toml` that was read.
    pub file: PathBuf,
    pub node: Node,
    pub world: World,
    /// Policy tests, not run yet.
    stated: Vec<Stated>,
    /// Where each service's parts are written.
    spots: Vec<Spots>,
    warnings: Problems,
}

/// What a name server can answer from: the config, compiled, its policy tests passed.
pub struct Prepared {
    pub file: PathBuf,
    pub node: Node,
    pub ground: Groundwork,
    /// How many policy tests there are.
    pub tests: usize,
    /// What its operator should know, and may mean to be so: warnings and notes.
    pub findings: Problems,
}

impl Config {
    /// Compiles the world, runs its policy tests and looks for what it will do unasked; reports each test
    /// that fails and all that nobody can mean.
    pub fn prepare(self) -> Result<Prepared, Problems> {
        self.prepare_beside(None)
    }

    /// The same beside a world that runs, from which is taken over what has not changed.
    pub fn prepare_beside(self, running: Option<&Groundwork>) -> Result<Prepared, Problems> {
        self.prepare_within(running, Effort::MOST)
    }

    /// The same, looking no further than `most` for what the world will do.
    pub fn prepare_within(
        self,
        running: Option<&Groundwork>,
        most: Effort,
    ) -> Result<Prepared, Problems> {
        let Config { file, node, world, stated, spots, warnings: mut findings } = self;
        let ground = Groundwork::beside(world, running);
        let blank = Board::blank(&ground.world);
        let mut problems = Problems::default();
        for Stated { expectation, spot } in &stated {
            for surprise in policy::judge(&ground, &blank, expectation) {
                problems.add(spot.problem(expectation.told(&ground.world, surprise)));
            }
        }
        let judged = prove::judge(&ground, most);
        for found in judged.findings {
            let told = told(&spots[found.service.index()], &found);
            match told.severity() {
                Severity::Problem => problems.add(told),
                Severity::Warning | Severity::Note => findings.add(told),
            }
        }
        for (question, services) in judged.unjudged {
            let note = unjudged(&ground, question, &services, most);
            findings.add(Problem::of_file(&node.world, note).weighing(Severity::Note));
        }
        for relative in ambiguous(&ground, &spots) {
            findings.add(relative.weighing(Severity::Warning));
        }
        if let (None, Some(deaf)) = (&node.control, deaf(&ground.world, &spots)) {
            findings.add(deaf);
        }
        problems.sort();
        findings.sort();
        problems.or(Some(Prepared { file, node, ground, tests: stated.len(), findings }))
    }
}

/// That what was not looked at is not thereby sound.
fn unjudged(
    ground: &Groundwork,
    question: Question,
    services: &[ServiceId],
    most: Effort,
) -> String {
    let Effort { arrangements, look_ups } = most;
    let (count, are) = match services.len() {
        1 => ("1 service".to_owned(), "was"),
        many => (format!("{many} services"), "were"),
    };
    let first = services.first().map(|id| ground.world.service(*id).name.to_host());
    let such_as = first.map(|first| format!(", such as {first},")).unwrap_or_default();
    format!(
        "{count}{such_as} {are} not judged for {}: the world is larger than check looks at ({arrangements} \
         arrangements of sites and {look_ups} look-ups of clients for all services); policy tests (expect) \
         hold what has to hold of them",
        question.as_str()
    )
}

fn told(spots: &Spots, found: &Finding) -> Problem {
    let spot = match found.at {
        At::Service => None,
        At::FailMode => spots.mode.as_ref(),
        At::Static => spots.r#static.as_ref(),
        At::StrictFence => spots.strict_fence.as_ref(),
        At::Step(index) => spots.steps.get(index),
        At::Candidate(index) => spots.candidates.get(index).map(|candidate| &candidate.spot),
    };
    let spot = spot.unwrap_or(&spots.service);
    spot.problem(found.message.as_str()).weighing(found.severity)
}

/// That nobody can tell this server what a service's checks find: once, however many services there are.
fn deaf(world: &World, spots: &[Spots]) -> Option<Problem> {
    let mut watched =
        world.services.iter().zip(spots).filter(|(service, _)| service.watch.is_some());
    let (_, first) = watched.next()?;
    let others = match watched.count() {
        0 => String::new(),
        1 => "; so has 1 other service".to_owned(),
        many => format!("; so have {many} other services"),
    };
    let message = format!(
        "has checks, and no probe can tell this server what they find{others}: every site stays unknown and is \
         answered; add [control] to node.toml"
    );
    Some(first.service.problem(message).weighing(Severity::Warning))
}

/// CNAMEs without a final dot that lead out of every zone, where the name below the service's own zone is
/// there: a zone file would read them so.
fn ambiguous(ground: &Groundwork, spots: &[Spots]) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (id, of_service) in ground.world.service_ids().zip(spots) {
        let candidates = of_service.candidates.iter().enumerate();
        for (index, candidate) in candidates.filter(|(_, candidate)| candidate.is_dotless) {
            if let Some(relative) = prove::relative_reading(ground, id, index) {
                problems.push(candidate.spot.problem(format!(
                    "this cname is read as a whole name, and {relative} is a name here; write that out if it is \
                     meant, else a final dot"
                )));
            }
        }
    }
    problems
}

/// Reads `node.toml` and the world that it names. Reports every problem of both, of the zones and
/// of the databases.
pub fn load(node_file: &Path) -> Result<Config, Problems> {
    load_beside(node_file, None)
}

/// The same beside a world that runs, with which is shared what has not changed.
pub fn load_beside(node_file: &Path, running: Option<&World>) -> Result<Config, Problems> {
    let mut problems = Problems::default();
    let source = Source::read(node_file).map_err(|message| {
        problems.add(Problem::of_file(node_file, message));
        std::mem::take(&mut problems)
    })?;
    let document = Document::parse(&source, &mut problems);
    let dir = folder(node_file);
    let node = check::node(&document, dir, &mut problems);
    problems.sort();
    // The world is read whatever else is wrong, so that its problems are told along.
    let world = document.string("world").and_then(|world| {
        let path = dir.join(&world.value);
        match Source::read(&path) {
            Ok(source) => self::world(&source, folder(&path), running, &mut problems),
            Err(message) => {
                problems.add(world.spot.problem(format!("{} {message}", path.display())));
                None
            }
        }
    });
    problems.or(node.zip(world).map(|(node, checked)| {
        let Checked { world, stated, spots, warnings } = checked;
        Config { file: node_file.to_owned(), node, world, stated, spots, warnings }
    }))
}

/// Reads where a server's admin doors are, and nothing else of `node.toml` but what is no TOML: in need an
/// order must not wait for a certificate to be mended.
pub fn load_admin(node_file: &Path) -> Result<AdminDoors, Problems> {
    let mut problems = Problems::default();
    let doors = match Source::read(node_file) {
        Ok(source) => {
            let document = Document::parse(&source, &mut problems);
            check::admin(&document, folder(node_file), &mut problems)
        }
        Err(message) => {
            problems.add(Problem::of_file(node_file, message));
            None
        }
    };
    problems.sort();
    problems.or(doors)
}

/// Whom a server started as root becomes before it reads anything else, and the folders that it has made for
/// that user. `None` if `node.toml` names nobody, or cannot be read, which reading it whole then tells.
pub fn load_household(node_file: &Path) -> Option<(Account, Vec<PathBuf>)> {
    let source = Source::read(node_file).ok()?;
    let document = Document::parse(&source, &mut Problems::default());
    check::household(&document, folder(node_file))
}

/// Reads a world by itself; its policy tests are not run.
pub fn load_world(world_file: &Path) -> Result<World, Problems> {
    let mut problems = Problems::default();
    let world = match Source::read(world_file) {
        Ok(source) => world(&source, folder(world_file), None, &mut problems),
        Err(message) => {
            problems.add(Problem::of_file(world_file, message));
            None
        }
    };
    problems.or(world.map(|checked| checked.world))
}

/// Reads a world from text as if it stood in `dir` as `world.toml`; its policy tests are not run.
pub fn world_from_str(text: &str, dir: &Path) -> Result<World, Problems> {
    let source = Arc::new(Source::new(&dir.join("world.toml"), text.to_owned()));
    let mut problems = Problems::default();
    let world = world(&source, dir, None, &mut problems);
    problems.or(world.map(|checked| checked.world))
}

fn world(
    source: &Arc<Source>,
    dir: &Path,
    running: Option<&World>,
    problems: &mut Problems,
) -> Option<Checked> {
    let mut found = Problems::default();
    let document = Document::parse(source, &mut found);
    let world = check::world(&document, dir, running, &mut found);
    found.sort();
    problems.add_all(found);
    world
}

/// The folder that paths in a file start from.
fn folder(file: &Path) -> &Path {
    file.parent().unwrap_or(Path::new(""))
}
