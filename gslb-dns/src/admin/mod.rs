//! The door for people and scrapers: metrics, health, explanations. It only reads.
//!
//! GET /metrics, /healthz, /v1/explain over HTTP/1.1; hyper carries it.

pub mod client;
mod route;

use std::convert::Infallible;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tracing::{debug, warn};

use crate::metrics::Metrics;
use crate::publish::Published;

/// Connections at a time: a few scrapers and people. More wait in the kernel's queue.
const MAX_CONNECTIONS: usize = 64;
/// A client must send its request's head within this time.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);
/// Octets of a request's head: no path here needs a tenth of it.
const MAX_HEAD: usize = 16 << 10;
/// Time for an `accept` failure such as lack of descriptors to pass.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Time for answers under way when the server stops.
const LAST_ANSWERS: Duration = Duration::from_secs(2);

/// What the admin door can show.
#[derive(Clone)]
pub struct Door {
    pub node_name: Arc<str>,
    pub published: Published,
    pub metrics: Metrics,
}

/// Serves until told to stop.
pub async fn serve(socket: TcpListener, door: Door, mut stopping: watch::Receiver<bool>) {
    let listener = match tokio::net::TcpListener::from_std(socket) {
        Ok(listener) => listener,
        Err(error) => return warn!(%error, "the admin door stays shut"),
    };
    let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            _ = stopping.changed() => break,
            accepted = accept(&listener, &room) => accepted,
            Some(_) = connections.join_next() => continue,
        };
        let (stream, permit) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                debug!(%error, "accept failed on the admin door");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let door = door.clone();
        connections.spawn(async move {
            let _permit = permit;
            let answer = service_fn(move |request| reply(door.clone(), request));
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
    // Keep-alive connections end with the runtime; an answer under way is given its time.
    let _ = tokio::time::timeout(LAST_ANSWERS, async {
        while room.available_permits() < MAX_CONNECTIONS && connections.join_next().await.is_some()
        {
        }
    })
    .await;
}

async fn accept(
    listener: &tokio::net::TcpListener,
    room: &Arc<Semaphore>,
) -> std::io::Result<(tokio::net::TcpStream, tokio::sync::OwnedSemaphorePermit)> {
    let permit = Arc::clone(room).acquire_owned().await.map_err(std::io::Error::other)?;
    let (stream, _) = listener.accept().await?;
    Ok((stream, permit))
}

async fn reply(
    door: Door,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    Ok(route::route(door, request.method().clone(), request.uri().clone()).await)
}
