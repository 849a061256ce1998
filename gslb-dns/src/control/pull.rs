//! Asks our peers each second what they tell: one task and one connection for each.
//!
//! Whatever a peer sends is bounded before it is read. What comes of it is for whoever keeps the board; nothing is
//! logged here, for a peer that cannot be reached is told once, by them.

use std::error::Error;
use std::sync::Arc;

use bytes::Bytes;
use common::backoff::Backoff;
use common::entropy;
use common::mtls::Credentials;
use common::wire::{Wire, WireError};
use hyper::{Method, StatusCode};
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::route::PEER;
use super::stopped;
use super::trust::Trust;
use crate::metrics::ControlMetrics;
use crate::peers::PAUSE;
use crate::peers::page::{Known, LARGEST, Page};
use crate::world::Peer;

/// Letters of what a peer says when it refuses us.
const LONGEST_REASON: usize = 300;

/// What came of asking a peer.
#[derive(Debug)]
pub struct Heard {
    /// By its place in the config.
    pub peer: usize,
    /// The error says why there is no page, for people.
    pub page: Result<Box<Page>, String>,
}

struct Pull {
    index: usize,
    peer: Peer,
    trust: Arc<Trust>,
    heard: mpsc::Sender<Heard>,
    metrics: ControlMetrics,
    known: Known,
}

/// Until told to stop.
pub async fn pull_all(
    peers: Vec<Peer>,
    trust: &Arc<Trust>,
    heard: &mpsc::Sender<Heard>,
    metrics: &ControlMetrics,
    mut stopping: watch::Receiver<bool>,
) {
    let mut pulls = JoinSet::new();
    for (index, peer) in peers.into_iter().enumerate() {
        let (trust, heard, metrics) = (Arc::clone(trust), heard.clone(), metrics.clone());
        let pull = Pull { index, peer, trust, heard, metrics, known: Known::default() };
        pulls.spawn(pull.run());
    }
    stopped(&mut stopping).await;
    // What was asked needs no answer any more.
    pulls.shutdown().await;
}

impl Pull {
    async fn run(mut self) {
        let mut backoff = Backoff::default();
        loop {
            let credentials = self.trust.current();
            let Peer { address, name } = &self.peer;
            let failed = match Wire::dial(*address, name, &credentials).await {
                Ok(wire) => self.converse(wire, &credentials, &mut backoff).await.err(),
                Err(error) => Some(error),
            };
            if let Some(error) = failed {
                self.tell("unreachable", Err(told(&error))).await;
            }
            sleep(backoff.next(entropy::share())).await;
        }
    }

    /// Asks over one connection, until it fails or, with no error, is to be dialed anew.
    async fn converse(
        &mut self,
        mut wire: Wire,
        credentials: &Arc<Credentials>,
        backoff: &mut Backoff,
    ) -> Result<(), WireError> {
        let mut ticks = interval(PAUSE);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            if !Arc::ptr_eq(credentials, &self.trust.current()) || wire.is_over() {
                return Ok(());
            }
            let path = format!("{PEER}?{}", self.known.query());
            let (status, octets) = wire.exchange(Method::GET, &path, Bytes::new(), LARGEST).await?;
            backoff.reset();
            if status != StatusCode::OK {
                let said: String =
                    String::from_utf8_lossy(&octets).chars().take(LONGEST_REASON).collect();
                let why = format!("it answers {status}: {}", said.trim());
                self.tell("refused", Err(why)).await;
                continue;
            }
            let name = self.peer.name.clone();
            // Off the threads on which connections are served.
            let read = spawn_blocking(move || Page::read(&octets, &name)).await;
            match read {
                Ok(Ok(page)) => {
                    let mut known = self.known.clone();
                    known.learn(&page);
                    self.tell("heard", Ok(Box::new(page))).await;
                    self.known = known;
                }
                Ok(Err(error)) => self.tell("unreadable", Err(error.to_string())).await,
                Err(error) => self.tell("unreadable", Err(error.to_string())).await,
            }
        }
    }

    async fn tell(&self, outcome: &str, page: Result<Box<Page>, String>) {
        let labels = [&*self.peer.name, outcome];
        self.metrics.pulls.with_label_values(&labels).inc();
        // Nobody is there only when the server ends.
        let _ = self.heard.send(Heard { peer: self.index, page }).await;
    }
}

/// With what lies beneath: hyper and rustls say there what went wrong.
fn told(error: &dyn Error) -> String {
    let (mut told, mut beneath) = (error.to_string(), error.source());
    while let Some(cause) = beneath {
        let text = cause.to_string();
        if !told.contains(&text) {
            told += &format!(": {text}");
        }
        beneath = cause.source();
    }
    told
}
