//! The door for people and scrapers: metrics, health, status. It only reads.
//!
//! HTTP/1.1, carried by hyper. What is shown is asked of the task that owns the rounds.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::JoinSet;
use tracing::debug;

use crate::metrics::Metrics;
use crate::status::{Order, Status};

/// Connections at a time: a few scrapers and people. More wait in the kernel's queue.
const MAX_CONNECTIONS: usize = 64;
/// A client must send its request's head within this time.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);
/// Octets of a request's head: no path here needs a tenth of it.
const MAX_HEAD: usize = 16 << 10;
/// Time for an `accept` failure such as lack of descriptors to pass.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

const TEXT: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";
const METRICS: &str = "text/plain; version=0.0.4; charset=utf-8";
const INDEX: &str = "\
probe

/metrics      Prometheus metrics
/healthz      200 while this process runs
/v1/status    what this probe looks at, what it sees, and whom it tells
";

/// Serves until it is dropped.
pub async fn serve(listener: TcpListener, desk: mpsc::Sender<Order>, metrics: Metrics) {
    let seats = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        let seat = Arc::clone(&seats).acquire_owned().await.expect("nobody closes it");
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                debug!(%error, "accept failed on the admin door");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        while connections.try_join_next().is_some() {}
        let (desk, metrics) = (desk.clone(), metrics.clone());
        connections.spawn(async move {
            let _seat = seat;
            let answer = service_fn(move |request| {
                let (desk, metrics) = (desk.clone(), metrics.clone());
                async move { Ok::<_, Infallible>(route(desk, metrics, request).await) }
            });
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD_TIMEOUT)
                .max_buf_size(MAX_HEAD)
                .serve_connection(TokioIo::new(stream), answer);
            if let Err(error) = connection.await {
                debug!(%error, "admin connection ended");
            }
        });
    }
}

async fn route(
    desk: mpsc::Sender<Order>,
    metrics: Metrics,
    request: Request<Incoming>,
) -> Response<Full<Bytes>> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let why = "this door only reads: use GET\n".to_owned();
        let mut response = page(StatusCode::METHOD_NOT_ALLOWED, TEXT, why);
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    match request.uri().path() {
        "/" => page(StatusCode::OK, TEXT, INDEX.to_owned()),
        "/healthz" => page(StatusCode::OK, TEXT, "ok\n".to_owned()),
        "/metrics" => page(StatusCode::OK, METRICS, metrics.text()),
        "/v1/status" => match ask(&desk).await {
            Some(status) => {
                let json = serde_json::to_string_pretty(&status)
                    .expect("numbers, strings and lists are JSON");
                page(StatusCode::OK, JSON, json + "\n")
            }
            None => page(StatusCode::SERVICE_UNAVAILABLE, TEXT, "the probe ends\n".to_owned()),
        },
        other => {
            page(StatusCode::NOT_FOUND, TEXT, format!("no page {other}; there are:\n\n{INDEX}"))
        }
    }
}

async fn ask(desk: &mpsc::Sender<Order>) -> Option<Status> {
    let (answer, answered) = oneshot::channel();
    desk.send(Order::Status(answer)).await.ok()?;
    answered.await.ok()
}

fn page(status: StatusCode, kind: &'static str, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}
