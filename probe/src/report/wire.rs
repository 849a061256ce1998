//! A connection to one name server: TCP, mutual TLS 1.3, HTTP/2.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use common::assignment::LARGEST;
use common::mtls::{Credentials, HolderError, principal_of};
use common::principal::{Kind, Principal};
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

/// For a connection with its handshakes.
const DIAL: Duration = Duration::from_secs(4);
/// For a report, or an assignment, and its answer: less than a lease.
const EXCHANGE: Duration = Duration::from_secs(4);
/// Octets of an answer to a report.
const LARGEST_ANSWER: usize = 64 << 10;
/// A connection that is dead is known to be within twice this.
const KEEP_ALIVE: Duration = Duration::from_secs(3);
/// What may be on its way of an assignment.
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

    pub async fn report(&mut self, octets: Vec<u8>) -> Result<(StatusCode, Bytes), WireError> {
        let body = Full::new(Bytes::from(octets));
        self.exchange(Method::POST, "/v1/report", body, LARGEST_ANSWER).await
    }

    /// `known` is the epoch of the assignment that we have.
    pub async fn assignment(
        &mut self,
        known: Option<&str>,
    ) -> Result<(StatusCode, Bytes), WireError> {
        let path = match known {
            Some(epoch) => format!("/v1/assignment?epoch={}", encoded(epoch)),
            None => "/v1/assignment".to_owned(),
        };
        self.exchange(Method::GET, &path, Full::default(), LARGEST).await
    }

    /// Asks for our next certificate.
    pub async fn renew(&mut self, request: Vec<u8>) -> Result<(StatusCode, Bytes), WireError> {
        let body = Full::new(Bytes::from(request));
        self.exchange(Method::POST, "/v1/renew", body, LARGEST_ANSWER).await
    }

    async fn exchange(
        &mut self,
        method: Method,
        path: &str,
        body: Full<Bytes>,
        largest: usize,
    ) -> Result<(StatusCode, Bytes), WireError> {
        let request = Request::builder()
            .method(method)
            .uri(format!("https://{}{path}", self.authority))
            .header(CONTENT_TYPE, "application/json")
            .body(body)
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

/// For a query (RFC 3986 §3.4); an epoch is hexadecimal, and whoever sends another one gets it back.
fn encoded(text: &str) -> String {
    let is_plain = |octet: u8| octet.is_ascii_alphanumeric() || b"-._~".contains(&octet);
    text.bytes()
        .map(|octet| match is_plain(octet) {
            true => char::from(octet).to_string(),
            false => format!("%{octet:02X}"),
        })
        .collect()
}
