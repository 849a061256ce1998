//! Names of frontends, pools and servers, and the ids that pools' names become.

use std::path::Path;

use common::config::closest::advice;
use common::config::problems::Problem;
use common::config::read::{At, Entries};
use common::names::listed;

use super::Judge;
use crate::config::MOST_NAMES;
use crate::site::PoolId;

const LONGEST_NAME: usize = 64;
/// Octets of a socket's path: what the kernel's address holds beside the NUL at its end (unix(7)).
const LONGEST_PATH: usize = 107;

/// The pools' names, by id: tables are read in the order of their keys.
pub struct Names(Vec<String>);

impl Names {
    pub fn of<T>(entries: &Entries<T>) -> Names {
        Names(entries.0.iter().map(|(name, _)| name.value.clone()).collect())
    }

    pub fn find(&self, name: &At<String>) -> Result<PoolId, Problem> {
        self.0.binary_search(&name.value).map(PoolId).map_err(|_| {
            let known = || self.0.iter().map(String::as_str);
            let guess = advice(&name.value, known());
            let known = match self.0.is_empty() {
                true => "there are no pools: add [pool.NAME]".to_owned(),
                false => listed("pools", known()),
            };
            name.spot.problem(format!("no pool named {:?}{guess} ({known})", name.value))
        })
    }
}

/// `None` if there are more than anybody can mean, which is told.
pub fn bounded<T>(entries: &Entries<T>, judge: &mut Judge<'_>) -> Option<()> {
    let Some((beyond, _)) = entries.0.get(MOST_NAMES) else { return Some(()) };
    let count = entries.0.len();
    judge.wrong(&beyond.spot, format!("one of {count}, where {MOST_NAMES} is the most"))
}

/// What can stand in a line of HAProxy's log, where space and `/` part names.
pub fn label(name: &At<String>) -> Result<(), Problem> {
    let is_of_name = |octet: u8| octet.is_ascii_alphanumeric() || b"-._".contains(&octet);
    let text = &name.value;
    match (1..=LONGEST_NAME).contains(&text.len()) && text.bytes().all(is_of_name) {
        true => Ok(()),
        false => Err(name.spot.problem(format!(
            "{text:?} is no name here: 1 to {LONGEST_NAME} letters, digits, -, . and _"
        ))),
    }
}

/// What can be the path of a Unix socket.
pub fn socket_path(written: &At<String>, path: &Path) -> Result<(), Problem> {
    let octets = path.as_os_str().as_encoded_bytes();
    if octets.len() > LONGEST_PATH {
        return Err(written.spot.problem(format!(
            "{} has {} octets; a socket's path has {LONGEST_PATH} at most",
            path.display(),
            octets.len()
        )));
    }
    match octets.contains(&0) {
        true => Err(written.spot.problem("a path has no NUL in it")),
        false => Ok(()),
    }
}
