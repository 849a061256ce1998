//! Servers that serve the same, and how requests are shared among them.

use std::net::SocketAddr;
use std::num::{NonZeroU16, NonZeroU32};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use common::check::Verify;
use common::target::Target;

use super::{Alpn, ServerId};
use crate::rules::Mode;

#[derive(Clone, Debug, PartialEq)]
pub struct Pool {
    pub name: Arc<str>,
    pub mode: Mode,
    pub balance: Balance,
    /// At least one, in the order of the file.
    pub servers: Vec<Server>,
    pub agent_check: Option<AgentCheck>,
    /// For how long the share of a server grows that came up; none to begin with all of it.
    pub slow_start: Option<Duration>,
    /// Where fewer than this share of the servers are up, all of them are taken. 0 for never.
    pub panic: Share,
    pub queue: Queue,
    pub retry: Retry,
    pub breaker: Option<Breaker>,
    /// What is spoken to servers, where the mode is http.
    pub http: HttpVersion,
    pub timeouts: ServerTimeouts,
    /// By status, at most one each.
    pub error_pages: Vec<ErrorPage>,
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Server {
    pub name: Arc<str>,
    pub address: SocketAddr,
    pub weight: Weight,
    /// Requests at a time, or connections of tcp; further ones wait in the queue.
    pub max_connections: Option<NonZeroU32>,
    pub capacity: Option<Capacity>,
    /// Serves only where no other can.
    pub backup: bool,
    pub tls: Option<ServerTls>,
    pub send_proxy: Option<ProxyVersion>,
    /// `None` for one that is always taken to be up.
    pub check: Option<ServerCheck>,
}

/// A server's share, beside those of the others of its pool: 0 to 256, 0 for none.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Weight(u16);

/// Requests a second that a server can take.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Capacity(pub NonZeroU32);

/// 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct Share(f64);

/// How many times the mean a server may have before its keys go elsewhere: more than 1, at most 10.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct LoadBound(f64);

#[derive(Clone, Debug, PartialEq)]
pub struct Balance {
    pub algorithm: Algorithm,
    /// Of those that hash.
    pub bound: Option<LoadBound>,
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Algorithm {
    RoundRobin,
    LeastConnections,
    RandomTwo,
    First,
    /// By the client's address.
    Source,
    /// By the path up to the query.
    Uri,
    /// By a header's value; its name in lower case.
    Header(Box<str>),
}

/// TLS towards a server.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ServerTls {
    pub verify: Verify,
    /// Whom to believe; whom the system believes if there is none.
    pub ca: Option<PathBuf>,
    /// The server name that is sent, and for which the certificate has to be; the server's address if there is none.
    pub sni: Option<Box<str>>,
    /// None of tcp.
    pub alpn: Vec<Alpn>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ProxyVersion {
    V1,
    V2,
}

/// How a server is looked at.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ServerCheck {
    /// Its timing has the interval of a server that is up.
    pub target: Target,
    /// Whom to believe where it is looked at over TLS: the server's own, or whom the system believes if it has none.
    pub ca: Option<PathBuf>,
    /// On the way between up and down.
    pub fast_interval: Duration,
    /// While down.
    pub down_interval: Duration,
}

/// A line of text that a server tells of itself (HAProxy's agent-check), each at its own address.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AgentCheck {
    pub port: NonZeroU16,
    pub interval: Duration,
    pub timeout: Duration,
    /// What is sent before it answers.
    pub send: Option<Box<str>>,
}

/// Requests for which there is no slot.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Queue {
    pub timeout: Duration,
    /// How many may wait, of the pool.
    pub length: usize,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Retry {
    /// In all, the first included.
    pub attempts: NonZeroU32,
    /// After what there is another one.
    pub on: Vec<RetryOn>,
    /// How many of the requests under way may be retries.
    pub budget: Share,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum RetryOn {
    /// No connection came to be.
    ConnFailure,
    /// It was closed before an answer began.
    EmptyResponse,
    /// What came was no HTTP.
    JunkResponse,
    /// Nothing came in time.
    ResponseTimeout,
    /// The server answered so.
    Status(u16),
}

/// When a server that fails requests is put aside (Envoy's outlier detection).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Breaker {
    pub consecutive_errors: NonZeroU32,
    /// For so long the first time; n times as long the n-th.
    pub eject: Duration,
    /// And never for longer.
    pub max_eject: Duration,
    /// Of a pool's servers, at once. One can always be.
    pub max_ejected: Share,
    /// How often it is seen who may return.
    pub interval: Duration,
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum HttpVersion {
    #[default]
    V1,
    V2,
}

/// For how long a server may take its time.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ServerTimeouts {
    /// One attempt, TLS included.
    pub connect: Duration,
    /// Nothing came or could be sent.
    pub server: Duration,
    /// An upgraded connection, or one of tcp, in which neither side says anything.
    pub tunnel: Duration,
    /// A connection that one side has closed.
    pub server_fin: Duration,
}

/// What is sent in place of our own few words.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ErrorPage {
    pub status: u16,
    pub content_type: &'static str,
    pub body: Bytes,
}

impl Pool {
    pub fn server(&self, id: ServerId) -> &Server {
        &self.servers[id.0]
    }

    pub fn error_page(&self, status: u16) -> Option<&ErrorPage> {
        self.error_pages.iter().find(|page| page.status == status)
    }
}

impl Weight {
    pub const MOST: u16 = 256;

    pub fn new(weight: u16) -> Option<Weight> {
        (weight <= Weight::MOST).then_some(Weight(weight))
    }

    pub fn get(self) -> u16 {
        self.0
    }
}

impl Default for Weight {
    fn default() -> Weight {
        Weight(1)
    }
}

impl Share {
    pub const NONE: Share = Share(0.0);

    pub fn new(share: f64) -> Option<Share> {
        (0.0..=1.0).contains(&share).then_some(Share(share))
    }

    pub fn get(self) -> f64 {
        self.0
    }
}

impl LoadBound {
    pub fn new(bound: f64) -> Option<LoadBound> {
        (bound > 1.0 && bound <= 10.0).then_some(LoadBound(bound))
    }

    pub fn get(self) -> f64 {
        self.0
    }
}

impl Default for Balance {
    fn default() -> Balance {
        Balance { algorithm: Algorithm::RandomTwo, bound: None }
    }
}

impl Default for Queue {
    fn default() -> Queue {
        Queue { timeout: Duration::from_secs(5), length: 1024 }
    }
}

impl Default for Retry {
    fn default() -> Retry {
        let attempts = const { NonZeroU32::new(3).expect("3 is not 0") };
        Retry { attempts, on: vec![RetryOn::ConnFailure], budget: Share(0.2) }
    }
}

impl Default for Breaker {
    fn default() -> Breaker {
        Breaker {
            consecutive_errors: const { NonZeroU32::new(5).expect("5 is not 0") },
            eject: Duration::from_secs(30),
            max_eject: Duration::from_secs(300),
            max_ejected: Share(0.1),
            interval: Duration::from_secs(10),
        }
    }
}

impl Default for ServerTimeouts {
    fn default() -> ServerTimeouts {
        ServerTimeouts {
            connect: Duration::from_secs(5),
            server: Duration::from_secs(30),
            tunnel: Duration::from_secs(3600),
            server_fin: Duration::from_secs(30),
        }
    }
}
