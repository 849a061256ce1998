//! A connection to a server: TCP, what the server is told of the client before all else, TLS.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustix::io::Errno;
use socket2::{Domain, SockRef, Socket, Type};
use tokio::io::{AsyncWriteExt as _, Interest};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::proxy_protocol::{Origin, write_v1, write_v2};
use crate::site::ProxyVersion;
use crate::stream::{Late, Stream, Timer};
use crate::tls::Dial;
use crate::upstream::{Counts, Server};
use crate::worker::Asked;

/// Whose connection it is.
#[derive(Clone, Debug)]
pub struct Caller {
    /// As far as it is believed who that is: the peer, or whom a trusted proxy names.
    pub client: SocketAddr,
    /// Where it came to.
    pub local: SocketAddr,
    /// What counts there, if anything does.
    pub asked: Option<Arc<Asked>>,
    /// Whether TLS has ended here.
    pub is_tls: bool,
    /// The server name of its TLS handshake, whoever ends it.
    pub server_name: Option<Box<[u8]>>,
}

/// How TCP's handshake ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Handshake {
    /// With an ACK.
    Plain,
    /// With what we say, which is one segment less (HAProxy's `option tcp-smart-connect`): for whoever says something at
    /// once, and calls `opened` behind it.
    WithWords,
}

impl Caller {
    /// It asks for something.
    pub fn asked(&self) {
        if let Some(asked) = &self.asked {
            asked.count();
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum NoConnection {
    #[error("it did not come to be in time")]
    Late,
    #[error("{0}")]
    Failed(#[source] io::Error),
}

/// Connects, within the pool's time for it.
pub async fn connect(
    server: &Server,
    caller: &Caller,
    handshake: Handshake,
    within: Duration,
    timer: &mut Timer,
) -> Result<Stream, NoConnection> {
    let made = match timer.within(within, dial(server, caller, handshake)).await {
        Ok(made) => made.map_err(NoConnection::Failed),
        Err(Late) => Err(NoConnection::Late),
    };
    let count =
        if made.is_ok() { &server.counts.connections } else { &server.counts.connect_errors };
    Counts::count(count);
    made
}

/// The first words are out. ACKs are quick again: a server that says little twice, and waits for an ACK between (Nagle's
/// algorithm), would else wait for tens of milliseconds.
pub fn opened(stream: &Stream) {
    // A connection that has failed meanwhile says so when it is used.
    let _ = SockRef::from(stream.tcp()).set_tcp_quickack(true);
}

/// A TCP connection, without Nagle's algorithm. As `TcpStream::connect`, but for a system call: whether it has failed is
/// asked only where the kernel has told of it.
async fn reach(address: SocketAddr, handshake: Handshake) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM.nonblocking(), None)?;
    socket.set_tcp_nodelay(true)?;
    if handshake == Handshake::WithWords {
        socket.set_tcp_quickack(false)?;
    }
    match socket.connect(&address.into()) {
        Err(error) if error.raw_os_error() != Some(Errno::INPROGRESS.raw_os_error()) => {
            return Err(error);
        }
        Ok(()) | Err(_) => {}
    }
    let stream = TcpStream::from_std(socket.into())?;
    if stream.ready(Interest::WRITABLE).await?.is_write_closed() {
        return Err(stream
            .take_error()?
            .unwrap_or_else(|| io::ErrorKind::ConnectionAborted.into()));
    }
    Ok(stream)
}

async fn dial(server: &Server, caller: &Caller, handshake: Handshake) -> io::Result<Stream> {
    let config = &server.config;
    // Behind TLS's hello a server says more than one thing.
    let handshake = if config.tls.is_some() { Handshake::Plain } else { handshake };
    let mut stream = reach(server.address(), handshake).await?;
    if let Some(version) = config.send_proxy {
        let origin = Origin::Client { source: caller.client, destination: caller.local };
        let mut header = vec![];
        match version {
            ProxyVersion::V1 => write_v1(origin, &mut header),
            ProxyVersion::V2 => write_v2(origin, &mut header),
        }
        stream.write_all(&header).await?;
    }
    let (config, name) = match (&config.tls, server.dial()) {
        (None, _) => return Ok(Stream::Plain(stream)),
        (Some(_), Some(Dial { config, name })) => (config, name),
        // A config that is being taken: never in the clear.
        (Some(_), None) => return Err(io::ErrorKind::NotConnected.into()),
    };
    let stream = TlsConnector::from(config).connect(name, stream).await?;
    Ok(Stream::Tls(Box::new(stream.into())))
}
