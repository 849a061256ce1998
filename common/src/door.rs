//! A door for people and scrapers: pages over HTTP/1.1, carried by hyper. It only reads.

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
use serde::Serialize;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tracing::debug;

/// Connections at a time to one door: a few scrapers and people. More wait in the kernel's queue.
pub const MAX_CONNECTIONS: usize = 64;
/// A client must send its request's head within this time.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);
/// Octets of a request's head: no path here needs a tenth of it.
const MAX_HEAD: usize = 16 << 10;
/// Time for an `accept` failure such as lack of descriptors to pass.
pub const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

const TEXT: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";
const METRICS: &str = "text/plain; version=0.0.4; charset=utf-8";

pub type Page = Response<Full<Bytes>>;

/// Serves until it is dropped. `page` has what a path shows; only GET and HEAD come to it.
pub async fn serve<P, F>(listener: TcpListener, page: P)
where
    P: Fn(String) -> F + Clone + Send + 'static,
    F: Future<Output = Page> + Send + 'static,
{
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
        let page = page.clone();
        connections.spawn(async move {
            let _seat = seat;
            let answer = service_fn(move |request: Request<Incoming>| {
                let page = page.clone();
                async move {
                    Ok::<_, Infallible>(match *request.method() {
                        Method::GET | Method::HEAD => page(request.uri().path().to_owned()).await,
                        _ => read_only(),
                    })
                }
            });
            if let Err(error) = carrier().serve_connection(TokioIo::new(stream), answer).await {
                debug!(%error, "admin connection ended");
            }
        });
    }
}

/// What carries a door's connections, within its bounds.
pub fn carrier() -> http1::Builder {
    let mut carrier = http1::Builder::new();
    carrier.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT).max_buf_size(MAX_HEAD);
    carrier
}

fn read_only() -> Page {
    let why = "this door only reads: use GET\n".to_owned();
    let mut page = shown(StatusCode::METHOD_NOT_ALLOWED, TEXT, why);
    page.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
    page
}

pub fn text(status: StatusCode, text: impl Into<String>) -> Page {
    shown(status, TEXT, text.into())
}

/// In Prometheus' format.
pub fn metrics(text: String) -> Page {
    shown(StatusCode::OK, METRICS, text)
}

pub fn json(value: &impl Serialize) -> Page {
    let json = serde_json::to_string_pretty(value).expect("numbers, strings and lists are JSON");
    shown(StatusCode::OK, JSON, json + "\n")
}

fn shown(status: StatusCode, kind: &'static str, text: String) -> Page {
    let mut page = Response::new(Full::new(Bytes::from(text)));
    *page.status_mut() = status;
    page.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    page
}
