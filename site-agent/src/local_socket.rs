//! A Unix socket with a name in the file system: ours from the start to the end, and nobody else's.

use std::fs::{self, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::os::unix::net::UnixListener as StdListener;
use std::path::{Path, PathBuf};

use common::door::ACCEPT_PAUSE;
use rustix::io::Errno;
use socket2::{Domain, SockAddr, Socket};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinSet;
use tokio::time::sleep;
use tracing::debug;

/// Who connects: streams, or packets (SOCK_SEQPACKET), of which one is read at a time.
pub use socket2::Type as Kind;

/// Connections that the kernel holds before they are accepted.
const BACKLOG: i32 = 64;

/// A socket that nobody is served at yet. Its file goes with it.
#[derive(Debug)]
pub struct LocalSocket {
    listener: StdListener,
    file: File,
}

/// A file to remove in the end.
#[derive(Debug)]
pub struct File(PathBuf);

impl Drop for File {
    fn drop(&mut self) {
        // Somebody may have removed it already.
        let _ = fs::remove_file(&self.0);
    }
}

#[derive(Debug, thiserror::Error)]
pub enum BindError {
    #[error("{key} {} is a file that is no socket: remove it, or name another path", path.display())]
    NoSocket { key: &'static str, path: PathBuf },
    #[error("{key} {}: another process listens there; end it, or name another path", path.display())]
    InUse { key: &'static str, path: PathBuf },
    #[error("{key} {}: its folder is not there; make it (systemd: RuntimeDirectory), or name another path", path.display())]
    NoFolder { key: &'static str, path: PathBuf },
    #[error("cannot listen on {key} {}", path.display())]
    Io { key: &'static str, path: PathBuf, source: io::Error },
}

impl LocalSocket {
    /// Takes the place of a socket that nobody listens at any more, and of nothing else. `key` is where the config
    /// names it; `mode` says who may connect.
    pub fn bind(
        key: &'static str,
        path: &Path,
        kind: Kind,
        mode: u32,
    ) -> Result<LocalSocket, BindError> {
        make_way(key, path, kind)?;
        let path = path.to_owned();
        listen(&path, kind, mode).map_err(|source| match source.kind() {
            // Whose it would be and who may enter it is the service manager's to say, not ours.
            ErrorKind::NotFound => BindError::NoFolder { key, path },
            _ => BindError::Io { key, path, source },
        })
    }

    /// In a runtime. The file is to be kept for as long as somebody is served.
    pub fn listen(self) -> io::Result<(UnixListener, File)> {
        Ok((UnixListener::from_std(self.listener)?, self.file))
    }
}

/// Serves who comes, so many at a time, until it is dropped, and their visits with it. Of one too many `refuse` takes leave.
pub async fn serve<V: Future<Output = ()> + Send + 'static>(
    listener: UnixListener,
    most: usize,
    visit: impl Fn(UnixStream) -> V,
    refuse: impl Fn(&UnixStream),
) {
    let mut visits = JoinSet::new();
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                debug!(%error, "accept failed on a Unix socket");
                sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        while visits.try_join_next().is_some() {}
        if visits.len() < most {
            visits.spawn(visit(stream));
        } else {
            refuse(&stream);
        }
    }
}

fn make_way(key: &'static str, path: &Path, kind: Kind) -> Result<(), BindError> {
    let Ok(there) = fs::symlink_metadata(path) else { return Ok(()) };
    let path = path.to_owned();
    if !there.file_type().is_socket() {
        return Err(BindError::NoSocket { key, path });
    }
    let asked = Socket::new(Domain::UNIX, kind, None).and_then(|socket| {
        // Somebody who is too busy to accept is somebody: not to be waited for.
        socket.set_nonblocking(true)?;
        socket.connect(&SockAddr::unix(&path)?)
    });
    match asked {
        Ok(()) => Err(BindError::InUse { key, path }),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Err(BindError::InUse { key, path }),
        // Somebody listens there for another kind.
        Err(error) if error.raw_os_error() == Some(Errno::PROTOTYPE.raw_os_error()) => {
            Err(BindError::InUse { key, path })
        }
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
            fs::remove_file(&path).map_err(|source| BindError::Io { key, path, source })
        }
        Err(source) => Err(BindError::Io { key, path, source }),
    }
}

fn listen(path: &Path, kind: Kind, mode: u32) -> io::Result<LocalSocket> {
    let socket = Socket::new(Domain::UNIX, kind, None)?;
    socket.bind(&SockAddr::unix(path)?)?;
    let file = File(path.to_owned());
    // Before it listens: until then nobody gets in, whatever the process's umask.
    fs::set_permissions(path, Permissions::from_mode(mode))?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(LocalSocket { listener: socket.into(), file })
}
