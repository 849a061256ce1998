//! TLS on both sides: what frontends show clients and whom of them they believe, and which servers are believed.
//!
//! site ─▶ Tls::adopt (files read, judged) ─▶ Handshakes ─▶ every handshake from then on
//!
//! Reads files and nothing else: no socket. What a reload does not change stays the very same, so that sessions go on;
//! a file that is broken then leaves the last good one in its place.

mod dial;
mod frontend;
mod names;
mod tickets;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use rustls::ServerConfig;

pub use self::dial::Dial;
use self::dial::Trusts;
use self::tickets::Tickets;
use crate::site::{FrontendId, PoolId, ServerId, Site};

/// What outlives a reload. One for a process: its tickets are good at all threads, and after all reloads.
#[derive(Debug)]
pub struct Tls {
    tickets: Tickets,
    kept: Kept,
}

/// What was made of one site, by names: ids are another site's.
#[derive(Debug, Default)]
struct Kept {
    frontends: BTreeMap<Arc<str>, frontend::Kept>,
    /// By pool and server.
    servers: BTreeMap<(Arc<str>, Arc<str>), dial::Kept>,
    trusts: Trusts,
}

/// For the ids of one site.
#[derive(Debug)]
pub struct Handshakes {
    frontends: Vec<Option<Arc<ServerConfig>>>,
    pools: Vec<Vec<Option<Dial>>>,
}

#[derive(Debug)]
pub struct Adopted {
    pub handshakes: Handshakes,
    /// Files that are broken: the last good ones are still used.
    pub stale: Vec<Fault>,
    pub certificates: Vec<Shown>,
}

/// A certificate that clients are shown.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Shown {
    pub frontend: Arc<str>,
    pub file: String,
    /// Unix time, in seconds.
    pub ends: i64,
}

/// Something that cannot be used, with its key in the config and what to do.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Fault {
    pub key: String,
    pub why: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.key, self.why)
    }
}

impl Tls {
    /// # Errors
    /// The system gives no random numbers.
    pub fn new() -> Result<Tls, rustls::Error> {
        Ok(Tls { tickets: Tickets::new()?, kept: Kept::default() })
    }

    /// Reads all files of a site, those of a site that is the same too: they may have been renewed.
    ///
    /// # Errors
    /// Something is broken that was never good. Nothing is changed then.
    pub fn adopt(&mut self, site: &Site) -> Result<Adopted, Vec<Fault>> {
        let last = &self.kept;
        let (mut next, mut faults, mut is_whole) = (Kept::default(), vec![], true);
        let mut frontends = vec![];
        for frontend in &site.frontends {
            let Some(tls) = &frontend.tls else {
                frontends.push(None);
                continue;
            };
            let kept =
                frontend::keep(&frontend.name, tls, &last.frontends, &self.tickets, &mut faults);
            is_whole &= kept.is_some();
            frontends.push(kept.as_ref().map(|kept| Arc::clone(&kept.config)));
            next.frontends.extend(kept.map(|kept| (Arc::clone(&frontend.name), kept)));
        }
        let certificates =
            next.frontends.iter().flat_map(|(name, kept)| kept.shown(name)).collect();
        let mut pools = vec![];
        for pool in &site.pools {
            let mut dials = vec![];
            for server in &pool.servers {
                let Some(tls) = &server.tls else {
                    dials.push(None);
                    continue;
                };
                let name = (Arc::clone(&pool.name), Arc::clone(&server.name));
                let key = || format!("pool.{}.servers.{}.tls", pool.name, server.name);
                let trust = next.trusts.of(tls, &last.trusts, key, &mut faults);
                let before = last.servers.get(&name);
                let kept = trust.and_then(|trust| {
                    dial::keep(tls, server.address.ip(), trust, before)
                        .map_err(|why| faults.push(Fault { key: key(), why }))
                        .ok()
                });
                is_whole &= kept.is_some();
                dials.push(kept.as_ref().map(|kept| kept.dial.clone()));
                next.servers.extend(kept.map(|kept| (name, kept)));
            }
            pools.push(dials);
        }
        if !is_whole {
            return Err(faults);
        }
        self.kept = next;
        Ok(Adopted { handshakes: Handshakes { frontends, pools }, stale: faults, certificates })
    }
}

impl Handshakes {
    /// `None` for a frontend without TLS.
    pub fn frontend(&self, id: FrontendId) -> Option<&Arc<ServerConfig>> {
        self.frontends[id.0].as_ref()
    }

    /// `None` for a server without TLS.
    pub fn server(&self, pool: PoolId, server: ServerId) -> Option<&Dial> {
        self.pools[pool.0][server.0].as_ref()
    }
}

#[cfg(test)]
mod tests;
