//! From a connection that was accepted to one that speaks DNS: what a proxy says of it, then the TLS
//! handshake, where there are such.
//!
//! The connection has its seat already: whoever never gets through a handshake counts against the limits
//! like everybody else.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::{HandshakeKind, ServerConfig};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::https::{Pulse, Version, Visit};
use super::proxy;
use super::session::Session;
use crate::answer::Transport;
use crate::listen::connections::Seat;
use crate::listen::desk::Desk;
use crate::listen::proxy::Origin;
use crate::listen::stopped;
use crate::listen::table::Eviction;
use crate::tls::ALPN_HTTP2;

/// How long a proxy's header may take, and then a TLS handshake, if a connection may be idle for longer:
/// two round trips and some lost segments.
const HANDSHAKE: Duration = Duration::from_secs(5);

/// What the connections of a listener carry.
#[derive(Clone)]
pub enum Carries {
    /// RFC 7766.
    Dns,
    /// The same within TLS (RFC 7858).
    DnsInTls(Arc<ServerConfig>),
    /// Requests within TLS, for one path (RFC 8484).
    DnsInHttps { tls: Arc<ServerConfig>, path: Arc<str> },
}

/// Whose connection it is, and all that it needs but its stream.
pub struct Newcomer {
    pub address: IpAddr,
    pub desk: Arc<Desk>,
    pub seat: Seat,
    pub stop: watch::Receiver<bool>,
}

impl Carries {
    pub fn transport(&self) -> Transport {
        match self {
            Carries::Dns => Transport::Tcp,
            Carries::DnsInTls(_) => Transport::Tls,
            Carries::DnsInHttps { .. } => Transport::Https,
        }
    }
}

impl Newcomer {
    /// Serves a connection from a proxy, which first tells whose it is, to its end.
    pub async fn serve_proxied(mut self, mut stream: TcpStream, carries: Carries) {
        let header = timeout(self.within(), proxy::read(&mut stream));
        let header = tokio::select! {
            biased;
            header = header => header,
            () = stopped(&mut self.stop) => return,
        };
        match header {
            Ok(Ok(Origin::Client(client))) => self.address = client.ip(),
            Ok(Ok(Origin::Proxy)) => {}
            Ok(Err(_)) => return self.seat.count_refused_header(),
            Err(_) => return self.seat.count(Eviction::Slow),
        }
        self.seat.belongs_to(self.address);
        self.serve(stream, carries).await;
    }

    /// Serves the connection to its end.
    pub async fn serve(mut self, stream: TcpStream, carries: Carries) {
        match carries {
            Carries::Dns => self.converse(stream).await,
            // What TLS keeps is large, and what hyper keeps is larger: others need not hold room for it.
            Carries::DnsInTls(config) => Box::pin(self.converse_in_tls(stream, config)).await,
            Carries::DnsInHttps { tls, path } => {
                let shaken = Box::pin(self.shake_hands(stream, tls)).await;
                if let Some(stream) = shaken {
                    Box::pin(self.take_requests(stream, path)).await;
                }
            }
        }
    }

    async fn converse_in_tls(mut self, stream: TcpStream, config: Arc<ServerConfig>) {
        let shaken = Box::pin(self.shake_hands(stream, config)).await;
        if let Some(stream) = shaken {
            self.converse(stream).await;
        }
    }

    async fn converse<S: AsyncRead + AsyncWrite + Unpin>(self, stream: S) {
        let Newcomer { address, desk, seat, stop } = self;
        Session::new(stream, address, desk, seat, stop).run().await;
    }

    async fn take_requests(self, stream: TlsStream<TcpStream>, path: Arc<str>) {
        let Newcomer { address, desk, seat, stop } = self;
        let version = match stream.get_ref().1.alpn_protocol() {
            Some(ALPN_HTTP2) => Version::Http2,
            // RFC 9112 is what a client speaks that says nothing.
            Some(_) | None => Version::Http1,
        };
        let pulse = Pulse::beginning(Instant::now());
        Visit { address, desk, seat, path, pulse }.serve(stream, version, stop).await;
    }

    fn within(&self) -> Duration {
        self.seat.idle().min(HANDSHAKE)
    }

    /// `None` if the client breaks the rules, vanishes or takes too long, or if we stop: what it would ask
    /// is not ours to know yet, so nothing is lost that was asked before the word to stop.
    async fn shake_hands(
        &mut self,
        stream: TcpStream,
        config: Arc<ServerConfig>,
    ) -> Option<TlsStream<TcpStream>> {
        let transport = self.desk.transport;
        let within = self.within();
        let shaken = tokio::select! {
            biased; // As far as it has come, it goes on.
            shaken = timeout(within, TlsAcceptor::from(config).accept(stream)) => shaken,
            () = stopped(&mut self.stop) => return None,
        };
        match shaken {
            Ok(Ok(stream)) => {
                let result = match stream.get_ref().1.handshake_kind() {
                    Some(HandshakeKind::Resumed) => "resumed",
                    Some(HandshakeKind::Full | HandshakeKind::FullWithHelloRetryRequest) | None => {
                        "full"
                    }
                };
                self.seat.count_handshake(transport, result);
                Some(stream)
            }
            Ok(Err(_)) => {
                self.seat.count_handshake(transport, "failed");
                None
            }
            Err(_) => {
                self.seat.count_handshake(transport, "failed");
                self.seat.count(Eviction::Handshake);
                None
            }
        }
    }
}
