//! What a zone's files say: parsed, or known to be what the running world was made of.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::config::epoch::content_hash;
use crate::config::problems::{Problem, Problems, Source};
use crate::config::read::At;
use crate::name::Name;
use crate::world::{World, ZoneOrigin};
use crate::zone::Zone;
use crate::zone::master::{self, Master};

pub enum Text {
    Parsed(Master),
    /// Parsed only if something else about the zone differs.
    Same(Same),
}

/// Files with the contents that they had when the running world was made.
pub struct Same {
    file: At<String>,
    contents: Vec<(PathBuf, Vec<u8>)>,
}

impl Text {
    /// Reads a master file and all it includes; tells what is wrong with them.
    pub fn read(
        file: At<String>,
        path: &Path,
        apex: &Name,
        running: Option<&World>,
        problems: &mut Problems,
    ) -> Option<Text> {
        let origin = running.and_then(|running| running.made_zone(apex)).map(|(_, origin)| origin);
        if let Some(contents) = origin.and_then(|origin| unchanged(origin, path)) {
            return Some(Text::Same(Same { file, contents }));
        }
        parsed(&file, path, master::read(path, apex), problems).map(Text::Parsed)
    }

    pub fn files(&self) -> &[(PathBuf, Vec<u8>)] {
        match self {
            Text::Parsed(master) => &master.files,
            Text::Same(same) => &same.contents,
        }
    }

    pub fn master(&self) -> Option<&Master> {
        match self {
            Text::Parsed(master) => Some(master),
            Text::Same(_) => None,
        }
    }

    /// What stands in it, whether or not that is known yet.
    pub fn parse(self, apex: &Name, problems: &mut Problems) -> Option<Master> {
        let Same { file, contents } = match self {
            Text::Parsed(master) => return Some(master),
            Text::Same(same) => same,
        };
        let (path, text) = contents.first()?;
        // Not from the disk: the epoch has been told of these contents.
        let mut known = |path: &Path| {
            let of = contents.iter().find(|(known, _)| known == path);
            of.map(|(_, text)| text.clone()).ok_or_else(|| io::ErrorKind::NotFound.into())
        };
        parsed(&file, path, master::parse(path, text, apex, &mut known), problems)
    }
}

/// The contents of the files that a zone was made of, if they are what they were.
fn unchanged(origin: &ZoneOrigin, path: &Path) -> Option<Vec<(PathBuf, Vec<u8>)>> {
    origin.files.first().filter(|(first, _)| first == path)?;
    let contents = origin.files.iter().map(|(path, hash)| {
        let text = master::read_text(path).ok()?;
        (content_hash(&text) == *hash).then(|| (path.clone(), text))
    });
    contents.collect()
}

fn parsed(
    file: &At<String>,
    path: &Path,
    read: Result<Master, Vec<master::Problem>>,
    problems: &mut Problems,
) -> Option<Master> {
    let found = match read {
        Ok(master) => return Some(master),
        Err(found) => found,
    };
    let mut sources: HashMap<PathBuf, Arc<Source>> = HashMap::new();
    for master::Problem { file: within, line, message } in found {
        problems.add(match line {
            0 if within == path => file.spot.problem(format!("{} {message}", path.display())),
            0 => Problem::of_file(&within, message),
            line => {
                let source = sources.entry(within).or_insert_with_key(|within| {
                    // Only to show the line: where it cannot be read again, its number is enough.
                    source(within, &std::fs::read(within).unwrap_or_default())
                });
                Problem::of_line(source, line as usize, message)
            }
        });
    }
    None
}

pub fn source(path: &Path, contents: &[u8]) -> Arc<Source> {
    Arc::new(Source::new(path, String::from_utf8_lossy(contents).into_owned()))
}

/// The running world's zone, if it would be made of the same again, and what is to be told of it.
pub fn taken_over(
    text: &Text,
    apex: &Name,
    made_of: &ZoneOrigin,
    running: Option<&World>,
) -> Option<(Arc<Zone>, Arc<ZoneOrigin>)> {
    let Text::Same(_) = text else { return None };
    let (zone, origin) = running?.made_zone(apex)?;
    let is_same = origin.files == made_of.files
        && origin.services == made_of.services
        && origin.within == made_of.within;
    is_same.then(|| (Arc::clone(zone), Arc::clone(origin)))
}
