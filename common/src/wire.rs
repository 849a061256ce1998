//! A connection to one name server: TCP, mutual TLS 1.3, HTTP/2.
//!
//! Probes tell over it what they saw, and name servers ask each other. Reads the clock for its time limits alone.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http2::{self, SendRequest};
use hyper::header::CONTENT_TYPE;
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::mtls::{Credentials, HolderError, principal_of};
use crate::principal::{Kind, Principal};

/// For a connection with its handshakes.
const DIAL: Duration = Duration::from_secs(4);
/// For a request and its answer, each whole: less than a lease.
const EXCHANGE: Duration = Duration::from_secs(4);
/// A connection that is dead is known to be within twice this.
const KEEP_ALIVE: Duration = Duration::from_secs(3);
/// Octets of an answer that may be on their way.
const WINDOW: u32 = 1 << 20;

#[derive(Debug, thiserror::Error)]
pub enum WireError {
    #[error("it took longer than {0:?}")]
    TooLong(Duration),
    #[error("connecting: {0}")]
    Connect(#[source] std::io::Error),
    #[error("TLS: {0}")]
    Handshake(#[source] std::io::Error),
    #[error("{0:?} is no server's name")]
    Name(String),
    #[error("it showed no certificate")]
    Nobody,
    #[error("it shows a certificate that {0}")]
    Holder(#[from] HolderError),
    #[error("it is {found}, expected {expected}")]
    SomebodyElse { found: Principal, expected: String },
    #[error("HTTP/2: {0}")]
    Http(#[from] hyper::Error),
    #[error("an answer that cannot be read: {0}")]
    Body(String),
}

/// Open; the driver ends with it.
#[derive(Debug)]
pub struct Wire {
    requests: SendRequest<Full<Bytes>>,
    driver: JoinHandle<()>,
    authority: String,
}

impl Wire {
    /// Dials a name server, and sees that it is the one that was meant.
    pub async fn dial(
        address: SocketAddr,
        name: &str,
        credentials: &Credentials,
    ) -> Result<Wire, WireError> {
        let dialed = timeout(DIAL, Wire::connect(address, name, credentials)).await;
        dialed.unwrap_or(Err(WireError::TooLong(DIAL)))
    }

    async fn connect(
        address: SocketAddr,
        name: &str,
        credentials: &Credentials,
    ) -> Result<Wire, WireError> {
        let server =
            ServerName::try_from(name.to_owned()).map_err(|_| WireError::Name(name.to_owned()))?;
        let stream = TcpStream::connect(address).await.map_err(WireError::Connect)?;
        // A report that waits for the answer to the one before would be late for nothing.
        let _ = stream.set_nodelay(true);
        let connector = TlsConnector::from(credentials.client());
        let stream = connector.connect(server, stream).await.map_err(WireError::Handshake)?;
        let (_, session) = stream.get_ref();
        let certificate = session.peer_certificates().and_then(|chain| chain.first());
        let found = principal_of(certificate.ok_or(WireError::Nobody)?)?;
        let cluster = &credentials.principal().cluster;
        if found.cluster != *cluster || found.kind != Kind::Dns || &*found.name != name {
            let expected = format!("gslb://{cluster}/{}/{name}", Kind::Dns);
            return Err(WireError::SomebodyElse { found, expected });
        }
        let (requests, connection) = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .keep_alive_interval(KEEP_ALIVE)
            .keep_alive_timeout(KEEP_ALIVE)
            .keep_alive_while_idle(true)
            .initial_stream_window_size(WINDOW)
            .initial_connection_window_size(WINDOW)
            .handshake(TokioIo::new(stream))
            .await?;
        // Why it ends is told by the request that fails for it.
        let driver = tokio::spawn(async move { drop(connection.await) });
        Ok(Wire { requests, driver, authority: name.to_owned() })
    }

    pub fn is_closed(&self) -> bool {
        self.requests.is_closed()
    }

    /// Asks, and hears the whole answer.
    ///
    /// # Errors
    /// The connection has failed, it took too long, or the answer has more than `largest` octets.
    pub async fn exchange(
        &mut self,
        method: Method,
        path: &str,
        body: Bytes,
        largest: usize,
    ) -> Result<(StatusCode, Bytes), WireError> {
        let request = Request::builder()
            .method(method)
            .uri(format!("https://{}{path}", self.authority))
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(body))
            .map_err(|error| WireError::Body(error.to_string()))?;
        let exchange = async {
            self.requests.ready().await?;
            let answer = self.requests.send_request(request).await?;
            let status = answer.status();
            let body = Limited::new(answer.into_body(), largest).collect().await;
            let body = body.map_err(|error| WireError::Body(error.to_string()))?;
            Ok((status, body.to_bytes()))
        };
        timeout(EXCHANGE, exchange).await.unwrap_or(Err(WireError::TooLong(EXCHANGE)))
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.driver.abort();
    }
}
