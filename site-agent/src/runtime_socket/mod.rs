//! The Unix socket of the runtime API: who may connect, how many at a time, for how long. The shell around `runtime`.
//!
//! accept ─▶ visit ─▶ runtime ─▶ `Desk` ─▶ (upstream, checks) ─▶ visit
//!
//! Decides nothing. The file is ours from the start to the end, and nobody else's.

mod desk;
mod visit;

use std::sync::Arc;

use common::door::ACCEPT_PAUSE;
use tokio::net::UnixStream;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::sleep;
use tracing::{debug, warn};

use crate::local_socket::{BindError, Kind, LocalSocket};
use crate::site::{Level, Runtime};

pub use self::desk::Desk;

/// Connections at a time: a few people and scripts. A further one is told so and closed, not left waiting.
pub const MOST_CONNECTIONS: usize = 16;

/// A socket that nobody is served at yet. Its file goes with it.
#[derive(Debug)]
pub struct RuntimeSocket {
    socket: LocalSocket,
    level: Level,
}

impl RuntimeSocket {
    pub fn bind(runtime: &Runtime) -> Result<RuntimeSocket, BindError> {
        let Runtime { socket: path, mode, level } = runtime;
        let socket = LocalSocket::bind("runtime.socket", path, Kind::STREAM, *mode)?;
        Ok(RuntimeSocket { socket, level: *level })
    }
}

/// Serves until it is dropped.
pub async fn serve(socket: RuntimeSocket, desk: Desk) {
    let RuntimeSocket { socket, level } = socket;
    let (listener, _file) = match socket.listen() {
        Ok(listening) => listening,
        Err(error) => {
            warn!(%error, "the runtime API stays shut");
            return;
        }
    };
    let (desk, seats) = (Arc::new(desk), Arc::new(Semaphore::new(MOST_CONNECTIONS)));
    let mut visits = JoinSet::new();
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                debug!(%error, "accept failed on the runtime API's socket");
                sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        while visits.try_join_next().is_some() {}
        let Ok(seat) = Arc::clone(&seats).try_acquire_owned() else {
            refuse(&stream);
            continue;
        };
        let desk = Arc::clone(&desk);
        visits.spawn(async move {
            visit::visit(stream, &desk, level).await;
            drop(seat);
        });
    }
}

fn refuse(stream: &UnixStream) {
    // It has just come, so there is room for so few octets.
    let full = format!(
        "Too many connections: {MOST_CONNECTIONS} are there already. End one, or come again.\n\n"
    );
    let _ = stream.try_write(full.as_bytes());
}

#[cfg(test)]
mod tests;
