//! One connection: hands are shaken, then requests answered, until it is quiet for too long or has to leave.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use common::mtls::{ALPN, principal_of};
use common::principal::Principal;
use common::validity::Validity;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::route::route;
use super::seats::{Closing, Peer, SeatId};
use super::trust::Trust;
use super::{Door, stopped};

/// Requests at a time on one connection: a report, a question, and as many again that were given up.
const STREAMS: u32 = 4;
/// Octets of a request's head: no path here needs a tenth of it.
const HEAD: u32 = 8 << 10;
/// Requests that a peer may take back before we have looked at them, and frames that make no sense: after so many
/// the connection ends (CVE-2023-44487).
const RESETS: usize = 20;
/// Octets that may be on their way to us on a connection, and so wait unread: a 16th of the largest report. h2 opens a window
/// again by thirds, so that comes in some 22 round trips, which may take 680 ms each.
const WINDOW: u32 = 512 << 10;
/// Octets of answers that wait to be sent on a stream.
const SEND_BUFFER: usize = 64 << 10;
/// How long a connection has to end in order once we want it to.
const FAREWELL: Duration = Duration::from_millis(500);

/// A connection that was accepted, and is somebody's as soon as hands are shaken.
pub struct Newcomer {
    trust: Arc<Trust>,
    seat: Seat,
    leaves: oneshot::Receiver<Closing>,
    stopping: watch::Receiver<bool>,
}

/// A place at the door, until it is dropped.
struct Seat {
    door: Arc<Door>,
    id: SeatId,
}

/// Keeps a connection from being quiet, until it is dropped.
struct UnderWay<'s>(&'s Seat);

impl Newcomer {
    pub fn new(door: &Arc<Door>, trust: &Arc<Trust>, stopping: watch::Receiver<bool>) -> Newcomer {
        let (id, leaves) = door.seats.lock().admit(Instant::now());
        let seat = Seat { door: Arc::clone(door), id };
        door.count_connections();
        Newcomer { trust: Arc::clone(trust), seat, leaves, stopping }
    }

    /// Serves the connection to its end.
    pub async fn serve(mut self, stream: TcpStream) {
        // Only costs speed if it cannot be had.
        let _ = stream.set_nodelay(true);
        let metrics = self.seat.door.metrics.clone();
        let shaken = self.shake_hands(stream).await;
        let result = shaken.as_ref().map_or_else(|failed| failed, |_| &"done");
        metrics.handshakes.with_label_values(&[result]).inc();
        let Ok((stream, peer)) = shaken else { return };
        let (seat, now) = (self.seat.id, Instant::now());
        self.seat.door.seats.lock().name(seat, peer.clone(), now);
        self.seat.door.count_connections();
        // Files may have changed meanwhile; whoever reads them has seen this seat, or we see what they read.
        match self.trust.against(&peer) {
            Some(closing) => self.seat.count(closing),
            None => self.take_requests(stream, peer.principal).await,
        }
    }

    /// The error is what metrics call it.
    async fn shake_hands(
        &mut self,
        stream: TcpStream,
    ) -> Result<(TlsStream<TcpStream>, Peer), &'static str> {
        let acceptor = TlsAcceptor::from(self.trust.current().server());
        let within = self.seat.door.limits.handshake;
        let stream = tokio::select! {
            biased; // As far as it has come, it goes on.
            shaken = timeout(within, acceptor.accept(stream)) => match shaken {
                Ok(Ok(stream)) => stream,
                Ok(Err(_)) => return Err("failed"),
                Err(_) => return Err("late"),
            },
            _ = &mut self.leaves => return Err("crowded"),
            () = stopped(&mut self.stopping) => return Err("stopped"),
        };
        let (_, session) = stream.get_ref();
        if session.alpn_protocol() != Some(ALPN) {
            return Err("no_http2");
        }
        let certificate = session.peer_certificates().and_then(|chain| chain.first());
        let peer = certificate.and_then(|certificate| {
            let certificate = certificate.clone().into_owned();
            let principal = Arc::new(principal_of(&certificate).ok()?);
            let Validity { not_after, .. } = Validity::of(&certificate)?;
            Some(Peer { principal, certificate, not_after })
        });
        match peer {
            Some(peer) => Ok((stream, peer)),
            None => Err("nobody"),
        }
    }

    async fn take_requests(mut self, stream: TlsStream<TcpStream>, principal: Arc<Principal>) {
        let seat = Arc::new(self.seat);
        let service = service_fn(|request| {
            let (seat, principal) = (Arc::clone(&seat), Arc::clone(&principal));
            async move {
                let _under_way = UnderWay::of(&seat);
                Ok::<_, Infallible>(route(&seat.door, &principal, request).await)
            }
        });
        let mut connection = pin!(carrier().serve_connection(TokioIo::new(stream), service));
        loop {
            tokio::select! {
                // However it ended, it did: what a peer does is not told.
                _ = connection.as_mut() => return,
                // At once: whoever must leave has nothing more to say.
                closing = &mut self.leaves => {
                    closing.into_iter().for_each(|closing| seat.count(closing));
                    return;
                }
                () = stopped(&mut self.stopping) => break,
                () = sleep_until(seat.closes_at()) => {
                    if seat.closes_at() <= Instant::now() {
                        seat.count(Closing::Idle);
                        break;
                    }
                }
            }
        }
        connection.as_mut().graceful_shutdown();
        let _ = timeout(FAREWELL, connection).await;
    }
}

/// hyper, with every limit stated.
fn carrier() -> http2::Builder<TokioExecutor> {
    let mut carrier = http2::Builder::new(TokioExecutor::new());
    carrier
        .timer(TokioTimer::new())
        .initial_connection_window_size(WINDOW)
        .initial_stream_window_size(WINDOW)
        .max_concurrent_streams(STREAMS)
        .max_header_list_size(HEAD)
        .max_local_error_reset_streams(RESETS)
        .max_pending_accept_reset_streams(RESETS)
        .max_send_buf_size(SEND_BUFFER);
    carrier
}

impl Seat {
    /// Told before the other side can see it.
    fn count(&self, closing: Closing) {
        self.door.metrics.closed.with_label_values(&[closing.as_str()]).inc();
    }

    fn closes_at(&self) -> Instant {
        self.door.seats.lock().closes_at(self.id, Instant::now())
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.door.seats.lock().leave(self.id);
        self.door.count_connections();
    }
}

impl UnderWay<'_> {
    fn of(seat: &Seat) -> UnderWay<'_> {
        seat.door.seats.lock().begin(seat.id);
        UnderWay(seat)
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        let Seat { door, id } = self.0;
        door.seats.lock().end(*id, Instant::now());
    }
}
