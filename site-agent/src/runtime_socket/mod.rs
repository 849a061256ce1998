//! The Unix socket of the runtime API: who may connect, how many at a time, for how long. The shell around `runtime`.
//!
//! accept ─▶ visit ─▶ runtime ─▶ `Desk` ─▶ (upstream, checks) ─▶ visit
//!
//! Decides nothing. The file is ours from the start to the end, and nobody else's.

mod desk;
mod visit;

use std::fs::{self, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::os::unix::net::UnixListener as StdListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use common::door::ACCEPT_PAUSE;
use socket2::{Domain, SockAddr, Socket, Type};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::sleep;
use tracing::{debug, warn};

use crate::site::{Level, Runtime};

pub use self::desk::Desk;

/// Connections at a time: a few people and scripts. A further one is told so and closed, not left waiting.
pub const MOST_CONNECTIONS: usize = 16;
/// Connections that the kernel holds before they are accepted.
const BACKLOG: i32 = 64;

/// A socket that nobody is served at yet. Its file goes with it.
#[derive(Debug)]
pub struct RuntimeSocket {
    listener: StdListener,
    level: Level,
    _file: File,
}

/// A file to remove in the end.
#[derive(Debug)]
struct File(PathBuf);

impl Drop for File {
    fn drop(&mut self) {
        // Somebody may have removed it already.
        let _ = fs::remove_file(&self.0);
    }
}

#[derive(Debug, thiserror::Error)]
pub enum BindError {
    #[error("runtime.socket {} is a file that is no socket: remove it, or name another path", .0.display())]
    NoSocket(PathBuf),
    #[error("runtime.socket {}: another process listens there; end it, or name another path", .0.display())]
    InUse(PathBuf),
    #[error("runtime.socket {}: its folder is not there; make it (systemd: RuntimeDirectory), or name another path", .0.display())]
    NoFolder(PathBuf),
    #[error("cannot listen on runtime.socket {}", path.display())]
    Io { path: PathBuf, source: io::Error },
}

impl RuntimeSocket {
    /// Takes the place of a socket that nobody listens at any more, and of nothing else.
    pub fn bind(runtime: &Runtime) -> Result<RuntimeSocket, BindError> {
        let Runtime { socket: path, mode, level } = runtime;
        make_way(path)?;
        let (listener, file) = listen(path, *mode).map_err(|error| match error.kind() {
            // Whose it would be and who may enter it is the service manager's to say, not ours.
            ErrorKind::NotFound => BindError::NoFolder(path.clone()),
            _ => BindError::Io { path: path.clone(), source: error },
        })?;
        Ok(RuntimeSocket { listener, level: *level, _file: file })
    }
}

fn make_way(path: &Path) -> Result<(), BindError> {
    let Ok(there) = fs::symlink_metadata(path) else { return Ok(()) };
    if !there.file_type().is_socket() {
        return Err(BindError::NoSocket(path.to_owned()));
    }
    let asked = Socket::new(Domain::UNIX, Type::STREAM, None).and_then(|socket| {
        // Somebody who is too busy to accept is somebody: not to be waited for.
        socket.set_nonblocking(true)?;
        socket.connect(&SockAddr::unix(path)?)
    });
    let failed = |source| BindError::Io { path: path.to_owned(), source };
    match asked {
        Ok(()) => Err(BindError::InUse(path.to_owned())),
        Err(error) if error.kind() == ErrorKind::WouldBlock => {
            Err(BindError::InUse(path.to_owned()))
        }
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
            fs::remove_file(path).map_err(failed)
        }
        Err(error) => Err(failed(error)),
    }
}

fn listen(path: &Path, mode: u32) -> io::Result<(StdListener, File)> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.bind(&SockAddr::unix(path)?)?;
    let file = File(path.to_owned());
    // Before it listens: until then nobody gets in, whatever the process's umask.
    fs::set_permissions(path, Permissions::from_mode(mode))?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok((socket.into(), file))
}

/// Serves until it is dropped.
pub async fn serve(socket: RuntimeSocket, desk: Desk) {
    let RuntimeSocket { listener, level, _file } = socket;
    let listener = match UnixListener::from_std(listener) {
        Ok(listener) => listener,
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
