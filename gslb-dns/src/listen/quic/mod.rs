//! DNS over QUIC (RFC 9250): quinn carries connections and their streams, each a query of its own.
//!
//! attempt ─▶ welcome (who has to prove its address) ─▶ handshake ─▶ connections (who may stay)
//!                           ─▶ conversation: stream ─▶ message (what it asks) ─▶ answer ─▶ stream
//!
//! This file accepts and stops. Connections are in one table with those of TCP. What a stranger does shows in
//! counters and never ends a listener.

mod conversation;
mod message;
mod welcome;

use std::io;
use std::net::{self, IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use quinn::crypto::rustls::QuicServerConfig;
use quinn::{
    Connection, Endpoint, EndpointConfig, IdleTimeout, Incoming, ServerConfig, TokioRuntime,
    TransportConfig, VarInt,
};
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, timeout};
use tracing::error;

use self::conversation::Conversation;
use self::message::{LONGEST_QUERY, PREFIX};
use self::welcome::{UNPROVED, Welcome, welcome};
use super::connections::Connections;
use super::desk::Desk;
use super::table::Eviction;
use super::{STOP_WITHIN, stopped};
use crate::answer::Transport;
use crate::metrics::Tally;
use crate::publish::Published;
use crate::query_log::Tap;
use common::lock::Mutex;

/// Streams at a time on one connection, as over HTTPS.
const STREAMS: u32 = 100;
/// One is let through, so that whoever opens it is told what is wrong with it.
const UNIDIRECTIONAL: u32 = 1;
/// Octets that may be on their way to us, for a stream and for a connection. One octet behind the longest
/// query shows that it is not the end.
const STREAM_WINDOW: u32 = (PREFIX + LONGEST_QUERY + 1) as u32;
const CONNECTION_WINDOW: u32 = 64 << 10;
/// Octets of answers that a client has not acknowledged, for one connection.
const SEND_WINDOW: u64 = 64 << 10;
/// Octets of a handshake: a ClientHello has some two thousand.
const HELLO: usize = 16 << 10;
/// How long a handshake may take, if a connection may be idle for longer.
const HANDSHAKE: Duration = Duration::from_secs(5);
/// Attempts that wait to be looked at: a burst of resolvers. Others are refused.
const ATTEMPTS: usize = 1024;
/// Octets kept of each of them behind its first packet, and of all.
const ATTEMPT_ROOM: u64 = 16 << 10;
const ATTEMPTS_ROOM: u64 = 1 << 20;
/// Octets of datagrams that wait in the kernel.
const RECEIVE_QUEUE: usize = 1 << 20;
/// Version 1 (RFC 9000), without the drafts before it.
const VERSIONS: [u32; 1] = [1];
/// How long clients have to hear that we stop.
const FAREWELL: Duration = Duration::from_millis(500);

/// A socket that answers over QUIC at one address.
pub struct QuicListener {
    socket: net::UdpSocket,
    tap: Option<Mutex<Tap>>,
}

impl QuicListener {
    /// Nothing is received before `serve`.
    pub fn bind(address: SocketAddr) -> io::Result<QuicListener> {
        let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
        if address.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        socket.bind(&address.into())?;
        QuicListener::of(socket.into())
    }

    /// Of a socket that is bound already.
    pub fn of(socket: net::UdpSocket) -> io::Result<QuicListener> {
        // As much as the system allows (`net.core.rmem_max`).
        SockRef::from(&socket).set_recv_buffer_size(RECEIVE_QUEUE)?;
        socket.set_nonblocking(true)?;
        Ok(QuicListener { socket, tap: None })
    }

    /// Tells the query log what is asked and answered.
    pub fn tapped(self, tap: Tap) -> QuicListener {
        QuicListener { tap: Some(Mutex::new(tap)), ..self }
    }

    pub fn local_address(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Answers until `stop` is true or its sender gone, then what had come by then. `connections` is one for
    /// all listeners, whatever they carry.
    pub async fn serve(
        self,
        tls: Arc<rustls::ServerConfig>,
        published: Published,
        node_name: Arc<str>,
        connections: Arc<Connections>,
        tally: Arc<Tally>,
        stop: watch::Receiver<bool>,
    ) {
        let config = server_config(tls, connections.idle());
        let runtime = Arc::new(TokioRuntime);
        let endpoint = Endpoint::new(endpoint_config(), Some(config), self.socket, runtime);
        let endpoint = match endpoint {
            Ok(endpoint) => endpoint,
            Err(error) => return error!(%error, "a QUIC listener could not start"),
        };
        let desk = Desk::new(Transport::Quic, published, node_name, tally, self.tap);
        let desk = Arc::new(desk);
        let unproved = Arc::new(Semaphore::new(UNPROVED));
        let guests = JoinSet::new();
        let mut reception = Reception { desk, connections, unproved, stop, guests };
        reception.accept(&endpoint).await;
        reception.finish(&endpoint).await;
    }
}

/// One listener's connections.
struct Reception {
    desk: Arc<Desk>,
    connections: Arc<Connections>,
    /// A permit for each handshake with an address that is not proved.
    unproved: Arc<Semaphore>,
    stop: watch::Receiver<bool>,
    guests: JoinSet<()>,
}

impl Reception {
    async fn accept(&mut self, endpoint: &Endpoint) {
        let mut stop = self.stop.clone();
        loop {
            tokio::select! {
                attempt = endpoint.accept() => match attempt {
                    Some(attempt) => self.receive(attempt, endpoint.open_connections()),
                    None => return error!("a QUIC listener has lost its socket: restart"),
                },
                Some(ended) = self.guests.join_next() => self.ended(ended),
                () = stopped(&mut stop) => return,
            }
        }
    }

    fn receive(&mut self, attempt: Incoming, open: usize) {
        let unproved = UNPROVED - self.unproved.available_permits();
        let is_proved = attempt.remote_address_validated();
        let newcomer = |attempt: Incoming| Newcomer {
            address: attempt.remote_address().ip(),
            attempt,
            desk: Arc::clone(&self.desk),
            connections: Arc::clone(&self.connections),
            stop: self.stop.clone(),
        };
        match welcome(is_proved, unproved, open, self.connections.most()) {
            Welcome::Seated => drop(self.guests.spawn(newcomer(attempt).serve_proved())),
            Welcome::Unproved => {
                if let Ok(permit) = Arc::clone(&self.unproved).try_acquire_owned() {
                    self.guests.spawn(newcomer(attempt).serve_unproved(permit));
                }
            }
            Welcome::Retry => {
                self.connections.count_retry();
                // Only who has shown a token already could not be asked for one.
                let _ = attempt.retry();
            }
            Welcome::Ignored => {
                self.connections.count_ignored();
                attempt.ignore();
            }
        }
    }

    fn ended(&self, guest: Result<(), JoinError>) {
        // The runtime caught it: it costs its connection and no other.
        if guest.is_err_and(|error| error.is_panic()) {
            self.desk.tally.count_panic();
        }
    }

    async fn finish(mut self, endpoint: &Endpoint) {
        let ended = async {
            loop {
                tokio::select! {
                    // From here on clients are refused, and try another server.
                    Some(attempt) = endpoint.accept() => attempt.refuse(),
                    ended = self.guests.join_next() => match ended {
                        Some(ended) => self.ended(ended),
                        None => return,
                    },
                }
            }
        };
        if timeout(STOP_WITHIN, ended).await.is_err() {
            self.guests.shutdown().await;
        }
        let _ = timeout(FAREWELL, endpoint.wait_idle()).await;
    }
}

/// Who wants to connect, and all that it needs.
struct Newcomer {
    attempt: Incoming,
    address: IpAddr,
    desk: Arc<Desk>,
    connections: Arc<Connections>,
    stop: watch::Receiver<bool>,
}

impl Newcomer {
    /// Serves a client that has shown a token: it counts against the limits from the start.
    async fn serve_proved(self) {
        let Newcomer { attempt, address, desk, connections, stop } = self;
        let (seat, notice) = connections.admit(address, Instant::now().into_std());
        let mut leave = pin!(notice.given());
        let shaken = tokio::select! {
            shaken = shake_hands(attempt, &connections, stop.clone()) => shaken,
            () = leave.as_mut() => return, // Counted where it was decided.
        };
        if let Some(connection) = shaken {
            Conversation::new(connection, address, desk, seat).hold(leave, stop).await;
        }
    }

    /// Serves one that has not: its handshake has to show first that it is where it says.
    async fn serve_unproved(self, permit: OwnedSemaphorePermit) {
        let Newcomer { attempt, address, desk, connections, stop } = self;
        let shaken = shake_hands(attempt, &connections, stop.clone()).await;
        drop(permit);
        if let Some(connection) = shaken {
            let (seat, notice) = connections.admit(address, Instant::now().into_std());
            Conversation::new(connection, address, desk, seat).hold(notice.given(), stop).await;
        }
    }
}

/// `None` if the client breaks the rules, vanishes or takes too long, or if we stop: nothing has been asked.
async fn shake_hands(
    attempt: Incoming,
    connections: &Connections,
    mut stop: watch::Receiver<bool>,
) -> Option<Connection> {
    let within = connections.idle().min(HANDSHAKE);
    let shaken = tokio::select! {
        biased; // As far as it has come, it goes on.
        shaken = timeout(within, attempt) => shaken,
        () = stopped(&mut stop) => return None,
    };
    // quinn does not tell who resumed.
    let result = if matches!(shaken, Ok(Ok(_))) { "done" } else { "failed" };
    connections.count_handshake(Transport::Quic, result);
    match shaken {
        Ok(shaken) => shaken.ok(),
        Err(_) => {
            connections.count(Eviction::Handshake);
            None
        }
    }
}

fn endpoint_config() -> EndpointConfig {
    let mut config = EndpointConfig::default();
    config.supported_versions(VERSIONS.to_vec());
    config
}

/// quinn, with every limit stated.
fn server_config(tls: Arc<rustls::ServerConfig>, idle: Duration) -> ServerConfig {
    let tls = QuicServerConfig::try_from(tls).expect("our provider has the suite of first packets");
    let mut config = ServerConfig::with_crypto(Arc::new(tls));
    config
        .transport_config(Arc::new(transport_config(idle)))
        // Who a client is decides what it is told, and whose seat it takes: who moves connects again.
        .migration(false)
        .max_incoming(ATTEMPTS)
        .incoming_buffer_size(ATTEMPT_ROOM)
        .incoming_buffer_size_total(ATTEMPTS_ROOM);
    config
}

fn transport_config(idle: Duration) -> TransportConfig {
    let idle = IdleTimeout::try_from(idle).expect("config allows an hour at most");
    let mut config = TransportConfig::default();
    config
        .max_concurrent_bidi_streams(VarInt::from_u32(STREAMS))
        .max_concurrent_uni_streams(VarInt::from_u32(UNIDIRECTIONAL))
        .stream_receive_window(VarInt::from_u32(STREAM_WINDOW))
        .receive_window(VarInt::from_u32(CONNECTION_WINDOW))
        .send_window(SEND_WINDOW)
        .crypto_buffer_size(HELLO)
        // It tells clients how long we keep them, as nothing else may (RFC 9250 §5.5.2).
        .max_idle_timeout(Some(idle))
        .keep_alive_interval(None)
        .datagram_receive_buffer_size(None)
        .datagram_send_buffer_size(0)
        // Answers are short: larger packets would save less than the search for their size costs.
        .mtu_discovery_config(None);
    config
}
