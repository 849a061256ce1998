//! What one thread has of one frontend: its config, made ready for requests, and where its lines go.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use rustls::ServerConfig;

use super::Local;
use super::vips::{Asked, Vips};
use crate::access_log::{self, Entry};
use crate::client::Trust;
use crate::head;
use crate::log_file::Lines;
use crate::route::hsts_value;
use crate::site::{self, PoolId};
use crate::upstream::Statuses;

/// Of one config. Requests that came under it are judged by it to their end.
#[derive(Debug)]
pub struct Front {
    pub config: Arc<site::Frontend>,
    /// Of the same config, by id.
    pools: Vec<Rc<Local>>,
    /// Whether no config has this frontend any more: who is still there is let go after its answer.
    is_gone: Cell<bool>,
    pub trust: Trust,
    /// Of requests.
    pub limits: head::Limits,
    pub hsts: Option<String>,
    /// What TLS that ends here goes by.
    pub tls: Option<Arc<ServerConfig>>,
    pub traffic: Arc<Traffic>,
    /// Of addresses that somebody came to.
    asked: RefCell<HashMap<SocketAddr, Arc<Asked>>>,
    /// `None` where nothing is logged.
    log: Option<RefCell<Log>>,
}

#[derive(Debug)]
struct Log {
    format: site::LogFormat,
    lines: Rc<RefCell<Lines>>,
    line: Vec<u8>,
}

/// What has come in at a frontend, by all threads and configs of it.
#[derive(Debug, Default)]
pub struct Traffic {
    /// Connections of now.
    pub current: AtomicU64,
    pub connections: AtomicU64,
    pub requests: AtomicU64,
    pub answers: Statuses,
    /// Requests that were no requests, and those that rules denied.
    pub refused: AtomicU64,
    pub denied: AtomicU64,
    /// TLS handshakes that did not come to their end.
    pub handshake_errors: AtomicU64,
    /// Octets from clients and to them.
    pub received: AtomicU64,
    pub sent: AtomicU64,
    /// Connections of now that have become something else than HTTP.
    pub upgraded: AtomicU64,
    pub vips: Vips,
}

impl Front {
    pub fn new(
        config: Arc<site::Frontend>,
        pools: Vec<Rc<Local>>,
        traffic: Arc<Traffic>,
        tls: Option<Arc<ServerConfig>>,
        lines: Option<Rc<RefCell<Lines>>>,
    ) -> Front {
        let trust = Trust { proxies: config.trusted.clone(), ..Trust::default() };
        let site::Limits { head_octets, headers, .. } = config.limits;
        let limits = head::Limits { head: head_octets, fields: headers, ..head::Limits::default() };
        let log = config.access_log.as_ref().zip(lines);
        let log = log.map(|(log, lines)| Log { format: log.format, lines, line: vec![] });
        Front {
            pools,
            is_gone: Cell::new(false),
            trust,
            limits,
            hsts: config.hsts.as_ref().map(hsts_value),
            tls,
            traffic,
            asked: RefCell::default(),
            log: log.map(RefCell::new),
            config,
        }
    }

    pub fn pool(&self, id: PoolId) -> &Rc<Local> {
        &self.pools[id.0]
    }

    /// What counts at this address of ours: all threads' lock is taken for the first connection there alone.
    pub fn asked_at(&self, address: SocketAddr) -> Option<Arc<Asked>> {
        let mut asked = self.asked.borrow_mut();
        if let Some(known) = asked.get(&address) {
            return Some(Arc::clone(known));
        }
        let new = self.traffic.vips.at(address)?;
        asked.insert(address, Arc::clone(&new));
        Some(new)
    }

    pub fn is_gone(&self) -> bool {
        self.is_gone.get()
    }

    pub fn leave(&self) {
        self.is_gone.set(true);
    }

    pub fn logs(&self) -> bool {
        self.log.is_some()
    }

    pub fn log(&self, entry: &Entry<'_>) {
        let Some(log) = &self.log else { return };
        let Log { format, lines, line } = &mut *log.borrow_mut();
        line.clear();
        access_log::write(*format, entry, line);
        lines.borrow_mut().log(line);
    }
}
