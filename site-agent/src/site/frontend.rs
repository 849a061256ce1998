//! Where clients come in, and what becomes of what they ask.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

use super::PoolId;
use crate::rules::{Condition, Mode, Needs};

#[derive(Clone, Debug)]
pub struct Frontend {
    pub name: Arc<str>,
    pub mode: Mode,
    /// One or more, none of which another frontend has.
    pub bind: Vec<SocketAddr>,
    /// TLS that ends here.
    pub tls: Option<Tls>,
    /// Networks from which every connection begins with a PROXY header.
    pub accept_proxy: Vec<IpNet>,
    /// Networks that are believed about whom they ask for (`X-Forwarded-For`).
    pub trusted: Vec<IpNet>,
    /// Further ones wait in the kernel.
    pub max_connections: usize,
    pub timeouts: ClientTimeouts,
    pub limits: Limits,
    pub routing: Routing,
    /// Only where `tls` is: a browser believes it from nowhere else.
    pub hsts: Option<Hsts>,
    /// `None` where nothing is logged.
    pub access_log: Option<AccessLog>,
}

/// Where a frontend's server names come from.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ServerNameSource {
    /// Nobody asks for one.
    Nobody,
    /// The handshake that ends here.
    Handshake,
    /// The ClientHello, read on the way through.
    Hello,
}

/// What becomes of a request, in this order: rules, redirect, pool.
#[derive(Clone, Debug, Default)]
pub struct Routing {
    pub rules: Vec<Rule>,
    /// What all of them look at.
    pub needs: Needs,
    /// For what no rule has decided. There is no pool then.
    pub redirect_https: Option<RedirectCode>,
    /// For what is left.
    pub pool: Option<PoolId>,
}

#[derive(Clone, Debug)]
pub struct Rule {
    /// `None` for always.
    pub when: Option<Condition>,
    pub action: Action,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Action {
    /// A status and no more. Of requests.
    Deny(DenyStatus),
    /// The end of the connection, where there are no requests.
    Close,
    /// The same address by https.
    RedirectHttps(RedirectCode),
    Pool(PoolId),
}

impl Action {
    /// Where it sends to, if it does.
    pub fn pool(self) -> Option<PoolId> {
        match self {
            Action::Pool(pool) => Some(pool),
            Action::Deny(_) | Action::Close | Action::RedirectHttps(_) => None,
        }
    }
}

/// 400 to 599.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct DenyStatus(u16);

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum RedirectCode {
    /// 301: browsers may make GET of it, and remember it.
    MovedPermanently,
    /// 302: browsers may make GET of it.
    Found,
    /// 307
    TemporaryRedirect,
    /// 308: browsers remember it.
    PermanentRedirect,
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Tls {
    /// Chains and their keys, at least one; read and sound when the config was. The first is for clients that ask for no
    /// name that any of them has.
    pub certificates: Vec<Certificate>,
    /// The dearest first; none where connections are passed on.
    pub alpn: Vec<Alpn>,
    pub min: MinVersion,
    pub client_verify: ClientVerify,
}

/// A chain and its key, both PEM; one file may hold both.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Certificate {
    pub chain: PathBuf,
    pub key: PathBuf,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Alpn {
    H2,
    Http1,
}

#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum MinVersion {
    Tls12,
    Tls13,
}

/// Whether clients show certificates.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum ClientVerify {
    Nobody,
    /// Whoever shows one is refused if it is not to be believed.
    Optional {
        ca: PathBuf,
        crl: Option<PathBuf>,
    },
    /// Whoever shows none is refused too.
    Required {
        ca: PathBuf,
        crl: Option<PathBuf>,
    },
}

impl ClientVerify {
    /// Whose certificates are believed, and which of them are not any more.
    pub fn files(&self) -> Option<(&Path, Option<&Path>)> {
        match self {
            ClientVerify::Nobody => None,
            ClientVerify::Optional { ca, crl } | ClientVerify::Required { ca, crl } => {
                Some((ca, crl.as_deref()))
            }
        }
    }
}

/// For how long a client may take its time.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ClientTimeouts {
    /// Nothing came or could be sent.
    pub client: Duration,
    /// From a request's first octet to the end of its head: of TCP, the handshake and the ClientHello.
    pub http_request: Duration,
    /// From an answer to the next request.
    pub keep_alive: Duration,
    /// A connection that one side has closed.
    pub client_fin: Duration,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Limits {
    /// Octets of a request's head.
    pub head_octets: usize,
    /// Lines of it.
    pub headers: usize,
    /// Requests at a time on one HTTP/2 connection.
    pub h2_streams: u32,
}

/// RFC 6797.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Hsts {
    pub max_age: Duration,
    pub include_subdomains: bool,
    pub preload: bool,
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AccessLog {
    pub format: LogFormat,
    pub target: LogTarget,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum LogFormat {
    Haproxy,
    Json,
}

#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum LogTarget {
    Stdout,
    File(PathBuf),
}

impl Frontend {
    pub fn server_name_source(&self) -> ServerNameSource {
        match (&self.tls, self.routing.needs.sni) {
            (Some(_), _) => ServerNameSource::Handshake,
            (None, true) => ServerNameSource::Hello,
            (None, false) => ServerNameSource::Nobody,
        }
    }
}

impl DenyStatus {
    pub fn new(status: u16) -> Option<DenyStatus> {
        (400..=599).contains(&status).then_some(DenyStatus(status))
    }

    pub fn get(self) -> u16 {
        self.0
    }
}

impl RedirectCode {
    pub const ALL: [RedirectCode; 4] = [
        RedirectCode::MovedPermanently,
        RedirectCode::Found,
        RedirectCode::TemporaryRedirect,
        RedirectCode::PermanentRedirect,
    ];

    pub fn status(self) -> u16 {
        match self {
            RedirectCode::MovedPermanently => 301,
            RedirectCode::Found => 302,
            RedirectCode::TemporaryRedirect => 307,
            RedirectCode::PermanentRedirect => 308,
        }
    }
}

impl Alpn {
    /// As it stands in the handshake.
    pub fn as_str(self) -> &'static str {
        match self {
            Alpn::H2 => "h2",
            Alpn::Http1 => "http/1.1",
        }
    }
}

impl Default for ClientTimeouts {
    fn default() -> ClientTimeouts {
        ClientTimeouts {
            client: Duration::from_secs(30),
            http_request: Duration::from_secs(10),
            keep_alive: Duration::from_secs(15),
            client_fin: Duration::from_secs(30),
        }
    }
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { head_octets: 64 << 10, headers: 100, h2_streams: 100 }
    }
}
