//! A connection to a server: TCP, what the server is told of the client before all else, TLS.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::proxy_protocol::{Origin, write_v1, write_v2};
use crate::site::ProxyVersion;
use crate::stream::{Late, Stream, Timer};
use crate::tls::Dial;
use crate::upstream::{Counts, Server};

/// Whose connection it is.
#[derive(Clone, Debug)]
pub struct Caller {
    /// As far as it is believed who that is: the peer, or whom a trusted proxy names.
    pub client: SocketAddr,
    /// Where it came to.
    pub local: SocketAddr,
    /// Whether TLS has ended here.
    pub is_tls: bool,
    /// The server name of its TLS handshake, whoever ends it.
    pub server_name: Option<Box<[u8]>>,
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
    within: Duration,
    timer: &mut Timer,
) -> Result<Stream, NoConnection> {
    let made = match timer.within(within, dial(server, caller)).await {
        Ok(made) => made.map_err(NoConnection::Failed),
        Err(Late) => Err(NoConnection::Late),
    };
    let count =
        if made.is_ok() { &server.counts.connections } else { &server.counts.connect_errors };
    Counts::count(count);
    made
}

async fn dial(server: &Server, caller: &Caller) -> io::Result<Stream> {
    let mut stream = TcpStream::connect(server.address()).await?;
    stream.set_nodelay(true)?;
    if let Some(version) = server.config.send_proxy {
        let origin = Origin::Client { source: caller.client, destination: caller.local };
        let mut header = vec![];
        match version {
            ProxyVersion::V1 => write_v1(origin, &mut header),
            ProxyVersion::V2 => write_v2(origin, &mut header),
        }
        stream.write_all(&header).await?;
    }
    let (config, name) = match (&server.config.tls, server.dial()) {
        (None, _) => return Ok(Stream::Plain(stream)),
        (Some(_), Some(Dial { config, name })) => (config, name),
        // A config that is being taken: never in the clear.
        (Some(_), None) => return Err(io::ErrorKind::NotConnected.into()),
    };
    let stream = TlsConnector::from(config).connect(name, stream).await?;
    Ok(Stream::Tls(Box::new(stream.into())))
}
