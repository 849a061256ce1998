//! What one config has otherwise than the one before, for people.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use crate::site::{Frontend, Pool, Routing, Server};

/// What changes can be told of.
#[derive(Clone, Copy, Debug)]
pub struct Parts<'s> {
    pub frontends: &'s [Arc<Frontend>],
    pub pools: &'s [Arc<Pool>],
}

/// One frontend, pool or server.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Change {
    pub what: What,
    /// Of a server with its pool: `app/web1`.
    pub name: String,
    pub how: How,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum What {
    Frontend,
    Pool,
    Server,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum How {
    New,
    Changed,
    Gone,
}

/// All that differs, frontends before pools before servers, each by name. Rules are not compared, nor where a frontend
/// sends to. Of a pool that is new or gone its servers are not told, and one of which servers alone differ has not changed.
pub fn changes(before: Parts<'_>, after: Parts<'_>) -> Vec<Change> {
    let frontends = |parts: Parts<'_>| -> BTreeMap<String, Frontend> {
        let named = |one: &Arc<Frontend>| (one.name.to_string(), without_routing(one));
        parts.frontends.iter().map(named).collect()
    };
    let pools = |parts: Parts<'_>| -> BTreeMap<String, Pool> {
        parts.pools.iter().map(|one| (one.name.to_string(), without_servers(one))).collect()
    };
    let stays = |pool: &Arc<Pool>| {
        [before, after].iter().all(|parts| parts.pools.iter().any(|one| one.name == pool.name))
    };
    let servers = |parts: Parts<'_>| -> BTreeMap<String, Server> {
        let all = parts.pools.iter().filter(|pool| stays(pool)).flat_map(|pool| {
            pool.servers.iter().map(|one| (format!("{}/{}", pool.name, one.name), one.clone()))
        });
        all.collect()
    };
    // Frontends are no values to compare; what is alike is written alike.
    let is_alike = |one: &Frontend, other: &Frontend| format!("{one:?}") == format!("{other:?}");
    [
        compared(What::Frontend, &frontends(before), &frontends(after), is_alike),
        compared(What::Pool, &pools(before), &pools(after), Pool::eq),
        compared(What::Server, &servers(before), &servers(after), Server::eq),
    ]
    .concat()
}

fn without_routing(frontend: &Frontend) -> Frontend {
    Frontend { routing: Routing::default(), ..frontend.clone() }
}

fn without_servers(pool: &Pool) -> Pool {
    Pool { servers: vec![], ..pool.clone() }
}

/// By name.
fn compared<T>(
    what: What,
    before: &BTreeMap<String, T>,
    after: &BTreeMap<String, T>,
    is_alike: impl Fn(&T, &T) -> bool,
) -> Vec<Change> {
    let mut names: Vec<&String> = before.keys().chain(after.keys()).collect();
    names.sort();
    names.dedup();
    let how = |name: &String| match (before.get(name), after.get(name)) {
        (None, _) => Some(How::New),
        (Some(_), None) => Some(How::Gone),
        (Some(one), Some(other)) => (!is_alike(one, other)).then_some(How::Changed),
    };
    let change = |name: &String| Some(Change { what, name: name.clone(), how: how(name)? });
    names.into_iter().filter_map(change).collect()
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            What::Frontend => "frontend",
            What::Pool => "pool",
            What::Server => "server",
        })
    }
}

impl fmt::Display for How {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            How::New => "new",
            How::Changed => "changed",
            How::Gone => "gone",
        })
    }
}
