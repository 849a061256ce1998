//! Tells the service manager how far we are (sd_notify(3)): ready, ending.
//!
//! No watchdog: one part that hangs is no reason to end the others, which still serve.

use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use tracing::warn;

/// Where the service manager listens.
const SOCKET: &str = "NOTIFY_SOCKET";

/// The service manager, if there is one that wants to know.
#[derive(Debug, Default)]
pub struct ServiceManager(Option<(UnixDatagram, SocketAddr)>);

impl ServiceManager {
    pub fn from_environment() -> ServiceManager {
        let Some(named) = std::env::var_os(SOCKET) else { return ServiceManager(None) };
        let address = match named.as_bytes() {
            [b'@', name @ ..] => SocketAddr::from_abstract_name(name),
            path => SocketAddr::from_pathname(std::ffi::OsStr::from_bytes(path)),
        };
        let opened = address.and_then(|address| Ok((UnixDatagram::unbound()?, address)));
        ServiceManager(opened.inspect_err(tell_failure).ok())
    }

    /// Everything is bound, and the daemon does its work.
    pub fn ready(&self, status: &str) {
        self.tell(&format!("READY=1\nSTATUS={status}"));
    }

    pub fn stopping(&self, status: &str) {
        self.tell(&format!("STOPPING=1\nSTATUS={status}"));
    }

    fn tell(&self, state: &str) {
        if let Some((socket, address)) = &self.0
            && let Err(error) = socket.send_to_addr(state.as_bytes(), address)
        {
            tell_failure(&error);
        }
    }
}

fn tell_failure(error: &io::Error) {
    warn!(%error, "the service manager could not be told");
}
