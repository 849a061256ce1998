//! How a producer, which is a probe or an agent, tells name servers what it saw: one stream of reports to each.
//!
//! what is new ─▶ `Tale` (says what a report has) ─▶ stream ─▶ `wire` (HTTP/2 within mutual TLS) ─▶ answer ─▶ stream
//!
//! `runs` counts the producer's runs on disk, `trust` keeps what it shows name servers true. `answer` is pure.

mod answer;
mod runs;
mod stream;
mod trust;

use std::net::SocketAddr;
use std::sync::Arc;

pub use self::answer::{Answer, Word};
pub use self::runs::{Lock, Runs, RunsError, keep};
pub use self::stream::{Stream, Tale, VALID};
pub use self::trust::{Renewer, follow};

use crate::renewal::State;

/// A name server that is told.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct NameServer {
    pub address: SocketAddr,
    /// As in its certificate.
    pub name: Arc<str>,
}

/// What a producer's metrics are told.
pub trait Meters: Clone + Send + Sync + 'static {
    /// What became of a report.
    fn reported(&self, server: &str, word: Word);
    /// Whether CA, certificate, key and revocation lists were good when last read.
    fn credentials_are(&self, good: bool);
    /// When our certificate ends: Unix time, in seconds.
    fn certificate_ends(&self, not_after: i64);
    /// How far the next one is.
    fn renewal_is(&self, state: State);
}
