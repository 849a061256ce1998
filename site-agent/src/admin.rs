//! The door for people and scrapers: metrics, health, status. It only reads.

use std::sync::Arc;

use arc_swap::ArcSwap;
use common::clock;
use common::door::{self, Page};
use hyper::StatusCode;
use tokio::net::TcpListener;

use crate::balancer::Shown;
use crate::check::Checks;
use crate::metrics::{self, Reloads};
use crate::status::Status;

const INDEX: &str = "\
site-agent

/metrics      Prometheus metrics
/healthz      200 while this process runs
/v1/status    frontends, pools and servers: who serves, and what came of it
";

/// What the pages are made of.
#[derive(Clone)]
pub struct Sources {
    pub shown: Arc<ArcSwap<Shown>>,
    pub checks: Arc<Checks>,
    pub reloads: Arc<Reloads>,
}

/// Serves until it is dropped.
pub async fn serve(listener: TcpListener, sources: Sources) {
    door::serve(listener, move |path| {
        let page = page(&sources, &path);
        async move { page }
    })
    .await;
}

fn page(sources: &Sources, path: &str) -> Page {
    let shown = sources.shown.load();
    match path {
        "/" => door::text(StatusCode::OK, INDEX),
        "/healthz" => door::text(StatusCode::OK, "ok\n"),
        "/metrics" => door::metrics(metrics::text(&shown, &sources.reloads)),
        "/v1/status" => door::json(&Status::of(&shown, &sources.checks, clock::monotonic())),
        other => {
            door::text(StatusCode::NOT_FOUND, format!("no page {other}; there are:\n\n{INDEX}"))
        }
    }
}
