//! DNS over TCP (RFC 7766, RFC 9210) and what is carried by it: one task for each connection, limits for all
//! of them together.
//!
//! accept ─▶ connections (who may stay) ─▶ newcomer (proxy, TLS) ─▶ session: frames ─▶ answer ─▶ frames
//!                                                              └─▶ https: request ─▶ answer ─▶ response
//!
//! This file accepts and stops. What a stranger does shows in counters and never ends a listener.

mod frames;
mod https;
mod newcomer;
mod proxy;
mod session;

use std::io;
use std::net::{self, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use rustix::io::Errno;
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, sleep_until, timeout};
use tracing::error;

pub use self::newcomer::Carries;
pub use super::connections::Connections;

use self::newcomer::Newcomer;
use super::desk::Desk;
use super::{STOP_WITHIN, stopped};
use crate::metrics::Tally;
use crate::publish::Published;
use crate::query_log::Tap;
use common::lock::Mutex;

/// Connections the kernel holds until we accept them: a burst of resolvers retrying at once. The
/// system may allow fewer (`net.core.somaxconn`).
const BACKLOG: i32 = 1024;
/// Octets of a connection's queues in the kernel, each way. Room for the largest message; set, so
/// that the kernel does not let them grow to megabytes for each of thousands of connections.
const KERNEL_QUEUE: usize = 64 << 10;
/// How long the kernel goes on offering answers to a client that takes none, even after we closed.
const UNACKNOWLEDGED: Duration = Duration::from_secs(30);
/// How long we accept nothing when the system has run out of something: as long as it takes others to
/// close, ten tries a second cost nothing, and a client's first SYN retry comes after a second.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// A socket that listens on one address.
pub struct TcpListener {
    socket: net::TcpListener,
    carries: Carries,
    proxies: Arc<[IpNet]>,
    tap: Option<Mutex<Tap>>,
}

impl TcpListener {
    /// Listens from now on; nothing is accepted before `serve`.
    pub fn bind(address: SocketAddr) -> io::Result<TcpListener> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        // A restart must not wait for connections of the last run to leave TIME_WAIT.
        socket.set_reuse_address(true)?;
        if address.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        prepare(&SockRef::from(&socket))?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        Ok(TcpListener::listening(socket.into()))
    }

    /// Of a socket that listens already.
    pub fn of(socket: net::TcpListener) -> io::Result<TcpListener> {
        prepare(&SockRef::from(&socket))?;
        Ok(TcpListener::listening(socket))
    }

    fn listening(socket: net::TcpListener) -> TcpListener {
        TcpListener { socket, carries: Carries::Dns, proxies: [].into(), tap: None }
    }

    /// What its connections carry: plain DNS unless this says otherwise.
    pub fn carrying(self, carries: Carries) -> TcpListener {
        TcpListener { carries, ..self }
    }

    /// Connections from these networks begin with a header of the PROXY protocol, and all of them must.
    pub fn believing(self, proxies: Arc<[IpNet]>) -> TcpListener {
        TcpListener { proxies, ..self }
    }

    /// Tells the query log what is asked and answered.
    pub fn tapped(self, tap: Tap) -> TcpListener {
        TcpListener { tap: Some(Mutex::new(tap)), ..self }
    }

    pub fn local_address(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Answers until `stop` is true or its sender gone, then what had come by then. `connections` is
    /// one for all listeners.
    pub async fn serve(
        self,
        published: Published,
        node_name: Arc<str>,
        connections: Arc<Connections>,
        tally: Arc<Tally>,
        stop: watch::Receiver<bool>,
    ) {
        let socket = match tokio::net::TcpListener::from_std(self.socket) {
            Ok(socket) => socket,
            Err(error) => return error!(%error, "a TCP listener could not start"),
        };
        let (carries, proxies, tap) = (self.carries, self.proxies, self.tap);
        let transport = carries.transport();
        let desk = Arc::new(Desk::new(transport, published, node_name, tally, tap));
        let mut reception =
            Reception { carries, proxies, desk, connections, stop, sessions: JoinSet::new() };
        reception.accept(&socket).await;
        drop(socket); // From here on clients are refused, and try another server.
        reception.finish().await;
    }
}

fn prepare(socket: &SockRef<'_>) -> io::Result<()> {
    // Connections inherit these three.
    socket.set_send_buffer_size(KERNEL_QUEUE)?;
    socket.set_recv_buffer_size(KERNEL_QUEUE)?;
    socket.set_tcp_user_timeout(Some(UNACKNOWLEDGED))?;
    socket.set_nonblocking(true)
}

/// One listener's sessions.
struct Reception {
    carries: Carries,
    proxies: Arc<[IpNet]>,
    desk: Arc<Desk>,
    connections: Arc<Connections>,
    stop: watch::Receiver<bool>,
    sessions: JoinSet<()>,
}

impl Reception {
    async fn accept(&mut self, socket: &tokio::net::TcpListener) {
        let mut stop = self.stop.clone();
        let mut not_before = Instant::now();
        loop {
            let accepted = async {
                sleep_until(not_before).await;
                socket.accept().await
            };
            tokio::select! {
                accepted = accepted => match accepted {
                    Ok((stream, peer)) => self.admit(stream, peer),
                    Err(error) => not_before = self.after(&error, Instant::now()),
                },
                Some(ended) = self.sessions.join_next() => self.ended(ended),
                () = stopped(&mut stop) => return,
            }
        }
    }

    fn admit(&mut self, stream: TcpStream, peer: SocketAddr) {
        // Answers are written whole: there is nothing to wait for. Fails if the peer is gone already.
        if stream.set_nodelay(true).is_err() {
            return;
        }
        let (address, now) = (peer.ip(), Instant::now().into_std());
        let is_proxied = self.proxies.iter().any(|proxies| proxies.contains(&address));
        let (seat, notice) = match is_proxied {
            true => self.connections.admit_unnamed(now),
            false => self.connections.admit(address, now),
        };
        let (desk, stop) = (Arc::clone(&self.desk), self.stop.clone());
        let newcomer = Newcomer { address, desk, seat, stop };
        let carries = self.carries.clone();
        self.sessions.spawn(async move {
            let served = async {
                match is_proxied {
                    true => newcomer.serve_proxied(stream, carries).await,
                    false => newcomer.serve(stream, carries).await,
                }
            };
            tokio::select! {
                () = served => {}
                () = notice.given() => {} // Counted where it was decided.
            }
        });
    }

    /// When to accept again.
    fn after(&self, error: &io::Error, now: Instant) -> Instant {
        self.connections.count_accept_error();
        match Failure::of(error) {
            Failure::Connection => now,
            Failure::Exhausted => {
                self.connections.evict_idlest();
                now + ACCEPT_PAUSE
            }
            Failure::Unknown => now + ACCEPT_PAUSE,
        }
    }

    fn ended(&self, session: Result<(), JoinError>) {
        // The runtime caught it: it costs its connection and no other.
        if session.is_err_and(|error| error.is_panic()) {
            self.desk.tally.count_panic();
        }
    }

    async fn finish(mut self) {
        let ended = async {
            while let Some(ended) = self.sessions.join_next().await {
                self.ended(ended);
            }
        };
        if timeout(STOP_WITHIN, ended).await.is_err() {
            self.sessions.shutdown().await;
        }
    }
}

/// What an error of accept(2) is about.
#[derive(Debug, Eq, PartialEq)]
enum Failure {
    /// The one connection, which is gone: the next may be fine.
    Connection,
    /// Descriptors or memory: the next will fail too, and spinning helps nobody.
    Exhausted,
    Unknown,
}

impl Failure {
    fn of(error: &io::Error) -> Failure {
        match Errno::from_io_error(error) {
            Some(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM) => Failure::Exhausted,
            // accept(2) passes on what befell the connection, and firewalls say EPERM.
            Some(
                Errno::INTR
                | Errno::CONNABORTED
                | Errno::PERM
                | Errno::PROTO
                | Errno::NOPROTOOPT
                | Errno::NETDOWN
                | Errno::HOSTDOWN
                | Errno::NONET
                | Errno::HOSTUNREACH
                | Errno::OPNOTSUPP
                | Errno::NETUNREACH,
            ) => Failure::Connection,
            Some(_) | None => Failure::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_cause_does_not_make_us_wait() {
        let check = |errno: Errno, failure| assert_eq!(Failure::of(&errno.into()), failure);
        check(Errno::CONNABORTED, Failure::Connection);
        check(Errno::HOSTUNREACH, Failure::Connection);
        check(Errno::MFILE, Failure::Exhausted);
        check(Errno::NFILE, Failure::Exhausted);
        check(Errno::NOBUFS, Failure::Exhausted);
        check(Errno::NOMEM, Failure::Exhausted);
        check(Errno::INVAL, Failure::Unknown);
        assert_eq!(Failure::of(&io::Error::other("no number")), Failure::Unknown);
    }
}
