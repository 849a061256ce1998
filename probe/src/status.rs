//! What a probe is asked while it runs, and what it tells of itself.

use std::net::SocketAddr;

use common::report::Own;
use serde::Serialize;
use tokio::sync::oneshot;

use crate::rounds::Shown;

/// What is asked of the task that owns the rounds.
#[derive(Debug)]
pub enum Order {
    /// Answered with whether the config was taken.
    Reload(oneshot::Sender<bool>),
    Status(oneshot::Sender<Status>),
}

#[derive(Debug, Serialize)]
pub struct Status {
    pub probe: String,
    pub cluster: String,
    /// On the clock that every `since` is on, in milliseconds.
    pub now: u64,
    #[serde(rename = "self")]
    pub own: Own,
    pub looks_running: usize,
    pub name_servers: Vec<Server>,
    pub targets: Vec<Shown>,
}

#[derive(Debug, Serialize)]
pub struct Server {
    pub name: String,
    pub address: SocketAddr,
    /// Of the world for which it last asked for something.
    pub epoch: Option<String>,
    pub targets: usize,
}
