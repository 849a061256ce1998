//! What can be asked, and what the answers are made of: frontends, pools and servers as they are at one moment.

use std::sync::Arc;
use std::time::Duration;

use super::{Refusal, Whom, info, servers, stat};
use crate::backends::Standing;
use crate::rounds;
use crate::site::{Frontend, Pool};
use crate::upstream::{Told, Turns};
use crate::worker::Traffic;

#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Question {
    Version,
    Info,
    Backends,
    /// Of one pool, or of all.
    ServersState(Option<String>),
    Stat(StatFilter),
    Weight(Whom),
}

/// Which lines of `show stat`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct StatFilter {
    /// A frontend or pool, by its name or number.
    pub proxy: Option<String>,
    /// Bits: 1 for frontends, 2 for pools, 4 for servers.
    pub kinds: i64,
    /// By number.
    pub server: Option<usize>,
    /// Servers that are out of service, or that are down and not on their way up either.
    pub hides_maint: bool,
    pub hides_down: bool,
}

impl StatFilter {
    pub const ALL: StatFilter =
        StatFilter { proxy: None, kinds: -1, server: None, hides_maint: false, hides_down: false };
}

/// This process.
#[derive(Clone, Debug)]
pub struct Process {
    pub version: &'static str,
    pub pid: u32,
    pub threads: usize,
    /// Whose name is in the config.
    pub node: Option<Arc<str>>,
    /// On the clock of `View::now`, and in Unix seconds.
    pub started: Duration,
    pub started_at: u64,
}

/// All that a question reads, at one moment.
#[derive(Debug)]
pub struct View<'v> {
    pub process: &'v Process,
    pub now: Duration,
    pub frontends: &'v [(Arc<Frontend>, Arc<Traffic>)],
    /// All, or those alone that the question reads.
    pub pools: Vec<PoolView>,
}

#[derive(Debug)]
pub struct PoolView {
    pub config: Arc<Pool>,
    pub standing: Standing,
    pub turns: Turns,
    /// Requests that wait for a server.
    pub waiting: usize,
    /// What its requests were answered, as `Statuses` counts it.
    pub answers: [u64; 6],
    pub servers: Vec<(Told, Option<rounds::Shown>)>,
}

/// HAProxy numbers what it calls proxies in one row. Number 1 is this API itself.
pub const FIRST_NUMBER: usize = 2;

impl Question {
    /// Whether it is about that pool, and so answered by a view that has it.
    pub fn reads(&self, pool: &str) -> bool {
        match self {
            Question::Version | Question::Info => false,
            Question::Weight(whom) => whom.pool == *pool,
            // Of one pool, too: it is told with its number among all.
            Question::Backends | Question::ServersState(_) | Question::Stat(_) => true,
        }
    }

    /// The answer, whose lines are ended.
    pub fn answer(&self, view: &View<'_>) -> Result<String, Refusal> {
        match self {
            Question::Version => Ok(format!("{}\n", view.process.version)),
            Question::Info => Ok(info::info(view)),
            Question::Backends => {
                let names = view.pools.iter().map(|pool| format!("{}\n", pool.config.name));
                Ok(format!("# name\n{}", names.collect::<String>()))
            }
            Question::ServersState(pool) => servers::state(view, pool.as_deref()),
            Question::Stat(filter) => stat::stat(view, filter),
            Question::Weight(Whom { pool, server }) => {
                let pool = view.pool(pool).ok_or(Refusal::NoBackend)?;
                let mut servers = pool.servers.iter();
                let found = servers.find(|(told, _)| *told.server.name == **server);
                let (told, _) = found.ok_or(Refusal::NoServer)?;
                let initial = told.known.configured().weight.get();
                Ok(format!("{} (initial {initial})\n", told.known.whole_weight()))
            }
        }
    }
}

impl View<'_> {
    pub fn pool(&self, name: &str) -> Option<&PoolView> {
        self.pools.iter().find(|pool| *pool.config.name == *name)
    }

    /// Each pool with its number.
    pub fn numbered(&self) -> impl Iterator<Item = (usize, &PoolView)> {
        (FIRST_NUMBER + self.frontends.len()..).zip(&self.pools)
    }
}
