//! The Unix socket of the runtime API: who may connect, how many at a time, for how long. The shell around `runtime`.
//!
//! accept ─▶ visit ─▶ runtime ─▶ `Desk` ─▶ (upstream, checks) ─▶ visit
//!
//! Decides nothing. The file is ours from the start to the end, and nobody else's.

mod desk;
mod visit;

use std::sync::Arc;

use tokio::net::UnixStream;
use tracing::warn;

use crate::local_socket::{self, BindError, Kind, LocalSocket};
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
    let desk = Arc::new(desk);
    let visit = |stream| {
        let desk = Arc::clone(&desk);
        async move { visit::visit(stream, &desk, level).await }
    };
    local_socket::serve(listener, MOST_CONNECTIONS, visit, refuse).await;
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
