//! The doors for people and scrapers: metrics, health, explanations, status, and orders.
//!
//! HTTP/1.1, carried by hyper. The TCP door only reads; at the socket the peer's credentials decide who may
//! change things. What is asked is decided by `keeper` and `explain`, nothing here.

pub mod client;
mod role;
mod route;
mod socket;

use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use common::door::{ACCEPT_PAUSE, MAX_CONNECTIONS, carrier};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::unix::UCred;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tracing::{debug, warn};

pub use self::socket::AdminSocket;

use crate::gather::Gatherer;
use crate::keeper::Desk;
use crate::metrics::Metrics;
use crate::publish::Published;
use crate::world::Operator;

/// Time for answers under way when the server stops.
const LAST_ANSWERS: Duration = Duration::from_secs(2);

/// What the admin doors can show, and whom they ask for changes.
#[derive(Clone)]
pub struct Door {
    pub node_name: Arc<str>,
    pub published: Published,
    pub metrics: Metrics,
    pub desk: Desk,
    /// Who asks most, if that is counted.
    pub talkers: Option<Gatherer>,
    /// Whoever reads files of history, one at a time: they may be large, and everybody may ask.
    pub reading: Arc<Semaphore>,
    /// Who may change things, besides root and our own user.
    pub operators: Arc<[Operator]>,
}

/// Serves the reading door until told to stop.
pub async fn serve(socket: TcpListener, door: Door, stopping: watch::Receiver<bool>) {
    match tokio::net::TcpListener::from_std(socket) {
        Ok(listener) => {
            let accept = |waker: &mut Context<'_>| {
                listener.poll_accept(waker).map_ok(|(stream, _)| (stream, None))
            };
            receive_all(accept, door, stopping).await;
        }
        Err(error) => warn!(%error, "the admin door stays shut"),
    }
}

/// Serves the socket until told to stop, and takes it away.
pub async fn serve_socket(socket: AdminSocket, door: Door, stopping: watch::Receiver<bool>) {
    match socket.listener.try_clone().and_then(tokio::net::UnixListener::from_std) {
        Ok(listener) => {
            let accept = |waker: &mut Context<'_>| {
                listener.poll_accept(waker).map(|accepted| {
                    let (stream, _) = accepted?;
                    let peer = stream.peer_cred()?;
                    Ok((stream, Some(peer)))
                })
            };
            receive_all(accept, door, stopping).await;
        }
        Err(error) => warn!(%error, "the admin socket stays shut"),
    }
}

/// Receives whom `accept` brings, each with what the kernel vouches for, as long as there are seats.
async fn receive_all<S>(
    accept: impl Fn(&mut Context<'_>) -> Poll<io::Result<(S, Option<UCred>)>>,
    door: Door,
    mut stopping: watch::Receiver<bool>,
) where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let mut room = Room::new();
    let seats = Arc::clone(&room.seats);
    loop {
        let accepted = tokio::select! {
            _ = stopping.changed() => break,
            accepted = seated(&seats, &accept) => accepted,
            Some(_) = room.connections.join_next() => continue,
        };
        match accepted {
            Ok((seat, (stream, peer))) => room.receive(stream, seat, door.clone(), peer),
            Err(error) => {
                debug!(%error, "accept failed on an admin door");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    room.close().await;
}

/// Accepts once there is a seat.
async fn seated<T>(
    seats: &Arc<Semaphore>,
    accept: impl Fn(&mut Context<'_>) -> Poll<io::Result<T>>,
) -> io::Result<(OwnedSemaphorePermit, T)> {
    let seat = Arc::clone(seats).acquire_owned().await.map_err(io::Error::other)?;
    Ok((seat, poll_fn(accept).await?))
}

/// The connections of one door.
struct Room {
    seats: Arc<Semaphore>,
    connections: JoinSet<()>,
}

impl Room {
    fn new() -> Room {
        Room { seats: Arc::new(Semaphore::new(MAX_CONNECTIONS)), connections: JoinSet::new() }
    }

    fn receive<S>(&mut self, stream: S, seat: OwnedSemaphorePermit, door: Door, peer: Option<UCred>)
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        self.connections.spawn(async move {
            let _seat = seat;
            let answer = service_fn(move |request| reply(door.clone(), peer, request));
            if let Err(error) = carrier().serve_connection(TokioIo::new(stream), answer).await {
                debug!(%error, "admin connection ended");
            }
        });
    }

    /// Keep-alive connections end with the runtime; an answer under way is given its time.
    async fn close(mut self) {
        let _ = tokio::time::timeout(LAST_ANSWERS, async {
            while self.seats.available_permits() < MAX_CONNECTIONS
                && self.connections.join_next().await.is_some()
            {}
        })
        .await;
    }
}

async fn reply(
    door: Door,
    peer: Option<UCred>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    Ok(route::route(door, peer, request).await)
}
