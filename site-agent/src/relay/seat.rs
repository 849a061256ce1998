//! Room for a stream of HTTP/2 to a server: on a connection that this thread has, or on one that is made.
//!
//! Who comes while a connection is being made waits for it too. It is made by a task of its own, for whoever is first may
//! leave; one that is for a client alone, as its PROXY header says whose it is, is nobody else's.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use common::clock;
use tokio::task::spawn_local;

use super::connect::{Caller, Handshake, NoConnection, connect};
use crate::link::{Found, Links, Lost, Opening, Seat};
use crate::stream::{Late, Stream, Timer};
use crate::upstream::{Counts, Server};
use crate::worker::Local;

pub enum Seated {
    /// On a connection that was there.
    Before(Seat),
    Anew(Seat),
}

/// Within the pool's time for a connection.
pub async fn seat(
    server: &Arc<Server>,
    local: &Local,
    caller: &Caller,
    timer: &mut Timer,
) -> Result<Seated, NoConnection> {
    let is_shared = server.config.send_proxy.is_none();
    let until = clock::monotonic() + local.upstream.config.timeouts.connect;
    loop {
        let now = clock::monotonic();
        let left = until.saturating_sub(now);
        let found = if is_shared { local.link(server, now) } else { None };
        let waiting = match found {
            Some(Found::Open(seat)) => return Ok(Seated::Before(seat)),
            Some(Found::Opening(waiting)) => waiting,
            None => {
                let links = if is_shared { local.links(server) } else { None };
                let (waiting, opening) =
                    links.map_or_else(|| Links::alone(now), |mut links| links.make(now));
                spawn_local(open(opening, Arc::clone(server), caller.clone(), left));
                waiting
            }
        };
        match timer.within(left, waiting.seat()).await {
            Ok(Ok(Some(seat))) => return Ok(Seated::Anew(seat)),
            // Others were there first.
            Ok(Ok(None)) => {}
            Ok(Err(Lost::Failed)) => {
                return Err(NoConnection::Failed(io::ErrorKind::NotConnected.into()));
            }
            Ok(Err(Lost::Late)) | Err(Late) => return Err(NoConnection::Late),
        }
    }
}

/// Connects, and has HTTP/2 spoken there to its end.
async fn open(opening: Opening, server: Arc<Server>, caller: Caller, within: Duration) {
    let (mut timer, began) = (Timer::default(), clock::monotonic());
    match connect(&server, &caller, Handshake::Plain, within, &mut timer).await {
        Ok(stream) if speaks_http2(&stream) => {
            let left = within.saturating_sub(clock::monotonic().saturating_sub(began));
            if opening.run(stream, left, &mut timer).await.is_err() {
                Counts::count(&server.counts.connect_errors);
            }
        }
        Ok(_) => {
            Counts::count(&server.counts.connect_errors);
            opening.fail(Lost::Failed);
        }
        Err(NoConnection::Failed(_)) => opening.fail(Lost::Failed),
        Err(NoConnection::Late) => opening.fail(Lost::Late),
    }
}

/// Without TLS a server is known to, or says something else.
fn speaks_http2(stream: &Stream) -> bool {
    match stream {
        Stream::Plain(_) => true,
        Stream::Tls(_) => stream.is_http2(),
    }
}
