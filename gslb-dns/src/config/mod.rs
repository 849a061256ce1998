//! Reading what operators write, and judging it whole before anything trusts it.
//!
//! text ─▶ read ─▶ file ─▶ check ─▶ world      (problems from every step, all of them)
//!           └──────────────▶ epoch ──┘
//!
//! Reads files when asked and nothing else: no socket, no clock.

mod check;
mod closest;
mod epoch;
mod file;
pub mod overrides;
pub mod problems;
mod read;

use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use self::problems::{Colour, Problem, Problems};

use self::check::Stated;
use self::problems::Source;
use self::read::Document;
use crate::bounded;
use crate::duration;
use crate::health::board::Board;
use crate::policy;
use crate::snapshot::Groundwork;
use crate::world::{Node, World};

/// Octets of a configuration file: far more than anybody writes, far less than would hurt.
const LONGEST_TEXT: u64 = 256 << 20;

/// All that a name server is told.
#[derive(Debug)]
pub struct Config {
    /// The `node.toml` that was read.
    pub file: PathBuf,
    pub node: Node,
    pub world: World,
    /// Policy tests, not run yet.
    stated: Vec<Stated>,
}

/// What a name server can answer from: the config, compiled, its policy tests passed.
pub struct Prepared {
    pub file: PathBuf,
    pub node: Node,
    pub ground: Groundwork,
    /// How many policy tests there are.
    pub tests: usize,
}

impl Config {
    /// Compiles the world and runs its policy tests; reports each that fails.
    pub fn prepare(self) -> Result<Prepared, Problems> {
        let Config { file, node, world, stated } = self;
        let ground = Groundwork::new(world);
        let blank = Board::blank(&ground.world);
        let mut problems = Problems::default();
        for Stated { expectation, spot } in &stated {
            for surprise in policy::judge(&ground, &blank, expectation) {
                problems.add(spot.problem(expectation.told(&ground.world, surprise)));
            }
        }
        problems.sort();
        problems.or(Some(Prepared { file, node, ground, tests: stated.len() }))
    }
}

/// Reads `node.toml` and the world that it names. Reports every problem of both, of the zones and
/// of the databases.
pub fn load(node_file: &Path) -> Result<Config, Problems> {
    let mut problems = Problems::default();
    let source = source(node_file).map_err(|message| {
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
        match self::source(&path) {
            Ok(source) => self::world(&source, folder(&path), &mut problems),
            Err(message) => {
                problems.add(world.spot.problem(format!("{} {message}", path.display())));
                None
            }
        }
    });
    problems.or(node.zip(world).map(|(node, (world, stated))| Config {
        file: node_file.to_owned(),
        node,
        world,
        stated,
    }))
}

/// Reads `node.toml` alone: for who wants to know where a server is to be found.
pub fn load_node(node_file: &Path) -> Result<Node, Problems> {
    let mut problems = Problems::default();
    let node = match source(node_file) {
        Ok(source) => {
            let document = Document::parse(&source, &mut problems);
            check::node(&document, folder(node_file), &mut problems)
        }
        Err(message) => {
            problems.add(Problem::of_file(node_file, message));
            None
        }
    };
    problems.sort();
    problems.or(node)
}

/// Reads a world by itself; its policy tests are not run.
pub fn load_world(world_file: &Path) -> Result<World, Problems> {
    let mut problems = Problems::default();
    let world = match source(world_file) {
        Ok(source) => world(&source, folder(world_file), &mut problems),
        Err(message) => {
            problems.add(Problem::of_file(world_file, message));
            None
        }
    };
    problems.or(world.map(|(world, _)| world))
}

/// Reads a world from text as if it stood in `dir` as `world.toml`; its policy tests are not run.
pub fn world_from_str(text: &str, dir: &Path) -> Result<World, Problems> {
    let source = Arc::new(Source::new(&dir.join("world.toml"), text.to_owned()));
    let mut problems = Problems::default();
    let world = world(&source, dir, &mut problems);
    problems.or(world.map(|(world, _)| world))
}

fn world(
    source: &Arc<Source>,
    dir: &Path,
    problems: &mut Problems,
) -> Option<(World, Vec<Stated>)> {
    let mut found = Problems::default();
    let document = Document::parse(source, &mut found);
    let world = check::world(&document, dir, &mut found);
    found.sort();
    problems.add_all(found);
    world
}

/// The folder that paths in a file start from.
fn folder(file: &Path) -> &Path {
    file.parent().unwrap_or(Path::new(""))
}

/// Reads a file of text; the error is the message without the path.
fn source(path: &Path) -> Result<Arc<Source>, String> {
    let bytes = bounded::read_file(path, LONGEST_TEXT)
        .map_err(|error| format!("cannot be read: {error}"))?;
    let text = String::from_utf8(bytes).map_err(|error| {
        let sound = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = 1 + sound.iter().filter(|byte| **byte == b'\n').count();
        format!("is not UTF-8: line {line} holds an octet that is no text")
    })?;
    Ok(Arc::new(Source::new(path, text)))
}
