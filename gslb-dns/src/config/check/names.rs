//! Names of sites and maps, and the ids they become.

use common::names::listed;

use crate::config::closest::advice;
use crate::config::problems::{Problem, Problems};
use crate::config::read::{At, Entries};

/// Things of one kind by name. Ids are positions in the order of the names.
pub struct Named<T> {
    pub names: Names,
    /// `None` where something is wrong with it, which has been told.
    pub list: Vec<Option<T>>,
}

impl<T> Named<T> {
    pub fn at(&self, index: usize) -> Option<&T> {
        self.list[index].as_ref()
    }
}

/// All names of one kind, sorted.
pub struct Names {
    /// What one is called, and many.
    kind: (&'static str, &'static str),
    names: Vec<String>,
}

impl Names {
    pub fn new<T>(kind: (&'static str, &'static str), entries: &Entries<T>) -> Names {
        let names = entries.0.iter().map(|(name, _)| name.value.clone()).collect();
        Names { kind, names }
    }

    pub fn find(&self, name: &At<String>) -> Result<u16, Problem> {
        let found = self.names.binary_search(&name.value).ok();
        found.and_then(|index| u16::try_from(index).ok()).ok_or_else(|| self.unknown(name))
    }

    fn unknown(&self, name: &At<String>) -> Problem {
        let (one, many) = self.kind;
        let known = || self.names.iter().map(String::as_str);
        let guess = advice(&name.value, known());
        let known = match self.names.is_empty() {
            true => format!("there are no {many}"),
            false => listed(many, known()),
        };
        name.spot.problem(format!("no {one} named {:?}{guess} ({known})", name.value))
    }
}

/// The entries of a table of named things, if ids suffice for all of them.
pub fn numbered<T>(
    entries: Option<Option<Entries<T>>>,
    problems: &mut Problems,
) -> Option<Entries<T>> {
    const MOST: usize = u16::MAX as usize;
    let entries = entries.flatten().unwrap_or_default();
    match entries.0.get(MOST) {
        None => Some(entries),
        Some((beyond, _)) => {
            let count = entries.0.len();
            problems.add(beyond.spot.problem(format!("one of {count}, where {MOST} is the most")));
            None
        }
    }
}
