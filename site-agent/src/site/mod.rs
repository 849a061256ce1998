//! The model: what the balancer of one site is told, checked and resolved. Names have become ids, what was left out is
//! filled in, and what cannot be cannot be written.
//!
//! Filled by `config`, read by every other room. Types only.

mod frontend;
mod pool;
mod virtual_router;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use common::mtls::Files;
use common::principal::Principal;
use common::telling::NameServer;

pub use self::frontend::{
    AccessLog, Action, Alpn, Certificate, ClientTimeouts, ClientVerify, DenyStatus, Frontend, Hsts,
    Limits, LogFormat, LogTarget, MinVersion, RedirectCode, Routing, Rule, ServerNameSource, Tls,
};
pub use self::pool::{
    AgentCheck, Algorithm, Balance, Breaker, Capacity, ErrorPage, HttpVersion, LoadBound, Pool,
    ProxyVersion, Queue, Retry, RetryOn, Server, ServerCheck, ServerTimeouts, ServerTls, Share,
    Weight,
};
pub use self::virtual_router::{
    Authentication, Checksum, Reach, Redundancy, Secret, Service, Signature, Track, Vip,
    VirtualRouter, Watched,
};
pub use crate::ids::ServerId;
pub use crate::rules::Mode;

/// Which of a site's frontends: an index into [`Site::frontends`].
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct FrontendId(pub usize);

/// Which of a site's pools: an index into [`Site::pools`].
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct PoolId(pub usize);

/// All that runs.
#[derive(Clone, Debug)]
pub struct Site {
    pub agent: Option<Agent>,
    /// Where the admin door is.
    pub admin: Option<SocketAddr>,
    /// Where operators give orders.
    pub runtime: Option<Runtime>,
    /// By name.
    pub frontends: Vec<Frontend>,
    /// By name.
    pub pools: Vec<Pool>,
    /// What another process runs beside us.
    pub redundancy: Redundancy,
}

/// The socket of the runtime API.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Runtime {
    pub socket: PathBuf,
    /// Permissions of the file.
    pub mode: u32,
    pub level: Level,
}

/// What one may do there (HAProxy's `level`).
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Level {
    /// Look.
    User,
    /// Give orders.
    Admin,
}

/// Who we are.
#[derive(Clone, Debug)]
pub struct Agent {
    pub name: Arc<str>,
    /// As it is called in the name servers' world.
    pub site: Arc<str>,
    /// `None` for a balancer that tells nobody.
    pub reporting: Option<Reporting>,
}

/// Whom we tell, and by which certificate they believe us.
#[derive(Clone, Debug)]
pub struct Reporting {
    pub servers: Vec<NameServer>,
    pub files: Files,
    pub principal: Principal,
    /// Where runs are counted.
    pub state_dir: PathBuf,
}

impl Site {
    pub fn frontend(&self, id: FrontendId) -> &Frontend {
        &self.frontends[id.0]
    }

    pub fn pool(&self, id: PoolId) -> &Pool {
        &self.pools[id.0]
    }
}
