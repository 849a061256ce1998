//! The door for people and scrapers: metrics, health, status. What is shown is asked of the task that owns the rounds.

use common::door::{self, Page};
use hyper::StatusCode;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};

use crate::metrics::Metrics;
use crate::status::{Order, Status};

const INDEX: &str = "\
probe

/metrics      Prometheus metrics
/healthz      200 while this process runs
/v1/status    what this probe looks at, what it sees, and whom it tells
";

/// Serves until it is dropped.
pub async fn serve(listener: TcpListener, desk: mpsc::Sender<Order>, metrics: Metrics) {
    door::serve(listener, move |path| page(desk.clone(), metrics.clone(), path)).await;
}

async fn page(desk: mpsc::Sender<Order>, metrics: Metrics, path: String) -> Page {
    match &*path {
        "/" => door::text(StatusCode::OK, INDEX),
        "/healthz" => door::text(StatusCode::OK, "ok\n"),
        "/metrics" => door::metrics(metrics.text()),
        "/v1/status" => match ask(&desk).await {
            Some(status) => door::json(&status),
            None => door::text(StatusCode::SERVICE_UNAVAILABLE, "the probe ends\n"),
        },
        other => {
            door::text(StatusCode::NOT_FOUND, format!("no page {other}; there are:\n\n{INDEX}"))
        }
    }
}

async fn ask(desk: &mpsc::Sender<Order>) -> Option<Status> {
    let (answer, answered) = oneshot::channel();
    desk.send(Order::Status(answer)).await.ok()?;
    answered.await.ok()
}
