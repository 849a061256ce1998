//! What each name server last asked for, on disk: it outlives a run.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use common::assignment::{Assignment, LARGEST};
use common::{bounded, telling};
use tracing::warn;

use crate::asked::Server;

/// Before the name server's name.
const ASSIGNMENT: &str = "assignment-";

#[derive(Debug)]
pub struct StateDir(PathBuf);

impl StateDir {
    pub fn new(dir: &Path) -> StateDir {
        StateDir(dir.to_owned())
    }

    /// Keeps what a name server asked for, as it came.
    pub async fn keep_assignment(&self, server: &str, octets: Bytes) {
        telling::keep(self.path(server), octets).await;
    }

    fn path(&self, server: &str) -> PathBuf {
        self.0.join(format!("{ASSIGNMENT}{server}"))
    }

    /// What these name servers last asked for.
    pub fn assignments<'s>(
        &self,
        servers: impl IntoIterator<Item = &'s Server>,
    ) -> BTreeMap<Server, Assignment> {
        let read = |server: &Server| {
            let octets = match bounded::read_file(&self.path(server), LARGEST as u64) {
                Ok(octets) => octets,
                Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
                Err(error) => {
                    warn!(%server, %error, "a kept assignment is not used: it is fetched again");
                    return None;
                }
            };
            Assignment::read(&octets)
                .inspect_err(|error| {
                    warn!(%server, %error, "a kept assignment is not used: it is fetched again");
                })
                .ok()
                .map(|assignment| (Arc::clone(server), assignment))
        };
        servers.into_iter().filter_map(read).collect()
    }
}
