//! The door for people and scrapers: metrics, health, status. It only reads.

use std::sync::Arc;

use arc_swap::ArcSwap;
use common::clock;
use common::door::{self, Page};
use hyper::StatusCode;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::balancer::Shown;
use crate::check::Checks;
use crate::metrics::{self, Reloads, Telling};
use crate::report::Said;
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
    pub told: Option<Told>,
}

/// What name servers are told, where there are such.
#[derive(Clone)]
pub struct Told {
    pub meters: Telling,
    pub vips: watch::Receiver<Arc<Said>>,
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
    match path {
        "/" => door::text(StatusCode::OK, INDEX),
        "/healthz" => door::text(StatusCode::OK, "ok\n"),
        "/metrics" => {
            let meters = sources.told.as_ref().map(|told| &told.meters);
            door::metrics(metrics::text(&sources.shown.load(), &sources.reloads, meters))
        }
        "/v1/status" => {
            let told = sources.told.as_ref().map(|told| Arc::clone(&told.vips.borrow()));
            let vips = told.as_ref().map(|said| &*said.vips);
            let held = sources.checks.hold();
            let shown = sources.shown.load();
            door::json(&Status::of(&shown, &held, vips, clock::monotonic()))
        }
        other => {
            door::text(StatusCode::NOT_FOUND, format!("no page {other}; there are:\n\n{INDEX}"))
        }
    }
}
