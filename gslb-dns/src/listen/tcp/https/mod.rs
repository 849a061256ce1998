//! DNS over HTTPS (RFC 8484): requests over HTTP/2 or HTTP/1.1, each a query of its own. hyper carries them.
//!
//! newcomer ─▶ connection: request ─▶ exchange (what is asked) ─▶ answer ─▶ freshness ─▶ response
//!
//! A connection counts and leaves like every other of the table. It is quiet while no request is under way;
//! what a client sends in between, or does not take, does not keep it.

mod exchange;
mod freshness;

use std::convert::Infallible;
use std::net::IpAddr;
use std::panic::{self, AssertUnwindSafe};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};

use self::exchange::{Asked, Refusal, asked, response};
use crate::listen::connections::Seat;
use crate::listen::desk::Desk;
use crate::listen::stopped;
use crate::listen::table::Eviction;
use common::lock::Mutex;

/// Requests at a time on one connection: what RFC 9113 §6.5.2 wants at least.
const STREAMS: u32 = 100;
/// Octets of a request's head. A query in the URI has some 700 at most, unless somebody pads it.
const HEAD: usize = 16 << 10;
/// Fields of a request's head; browsers send some twenty.
const FIELDS: usize = 64;
/// Requests that a client may take back before we have looked at them, and frames that make no sense: after
/// so many the connection ends (CVE-2023-44487).
const RESETS: usize = 20;
/// Octets that may be on their way to us, for a request and for a connection.
const STREAM_WINDOW: u32 = 64 << 10;
const CONNECTION_WINDOW: u32 = 256 << 10;
/// Octets of a query in a body: a question and an OPT record have some 500, unless somebody pads them. So
/// requests hold at most 400 KiB of a connection's queries.
pub const LONGEST_QUERY: usize = 4096;
/// Octets of answers that wait to be sent, for one connection.
const SEND_BUFFER: usize = 64 << 10;
/// How long a connection has to end in order once we want it to.
const FAREWELL: Duration = Duration::from_millis(500);

/// One connection, as its requests see it.
pub struct Visit {
    pub address: IpAddr,
    pub desk: Arc<Desk>,
    pub seat: Seat,
    /// The one path at which queries are answered.
    pub path: Arc<str>,
    pub pulse: Mutex<Pulse>,
}

/// Whether anything is under way.
pub struct Pulse {
    requests: usize,
    quiet_since: Instant,
}

/// Which HTTP a client and we have agreed upon.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Version {
    Http1,
    Http2,
}

impl Pulse {
    pub fn beginning(now: Instant) -> Mutex<Pulse> {
        Mutex::new(Pulse { requests: 0, quiet_since: now })
    }
}

impl Visit {
    /// Serves the connection to its end.
    pub async fn serve<S>(self, stream: S, version: Version, mut stop: watch::Receiver<bool>)
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let visit = Arc::new(self);
        let service = service_fn(|request| {
            let visit = Arc::clone(&visit);
            async move { Ok::<_, Infallible>(visit.answer(request).await) }
        });
        let carrier = carrier(version);
        let mut connection = pin!(carrier.serve_connection(TokioIo::new(stream), service));
        loop {
            tokio::select! {
                // However it ended, it did: what a stranger does is not told.
                _ = connection.as_mut() => return,
                () = stopped(&mut stop) => break,
                () = sleep_until(visit.closes_at(Instant::now())) => {
                    if visit.closes_at(Instant::now()) <= Instant::now() {
                        visit.seat.count(Eviction::Idle);
                        break;
                    }
                }
            }
        }
        connection.as_mut().graceful_shutdown();
        let _ = timeout(FAREWELL, connection).await;
    }

    /// When it will have been quiet for too long, as far as is known now.
    fn closes_at(&self, now: Instant) -> Instant {
        let Pulse { requests, quiet_since } = *self.pulse.lock();
        let since = if requests > 0 { now } else { quiet_since };
        since + self.seat.idle()
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let _under_way = UnderWay::of(&self.pulse);
        let is_head = request.method() == Method::HEAD;
        let response = match self.query(request).await {
            Ok(query) => {
                // A whole query: what only looks like one keeps no connection from being the idlest.
                self.seat.asked(Instant::now().into_std());
                self.answered(&query)
            }
            Err(refusal) => refusal.response(),
        };
        // HTTP/2 leaves it to us that nothing follows (RFC 9110 §9.3.2).
        if is_head { response.map(|_| Full::default()) } else { response }
    }

    /// The client has as long to send its query as it may be idle.
    async fn query(&self, request: Request<Incoming>) -> Result<Vec<u8>, Refusal> {
        let (head, body) = request.into_parts();
        match asked(&head, &self.path)? {
            Asked::InUri(query) => Ok(query),
            Asked::InBody => {
                let body = Limited::new(body, LONGEST_QUERY).collect();
                match timeout(self.seat.idle(), body).await {
                    Ok(Ok(query)) => Ok(query.to_bytes().into()),
                    Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Refusal::TooLarge),
                    Ok(Err(_)) => Err(Refusal::CutShort),
                    Err(_) => Err(Refusal::Late),
                }
            }
        }
    }

    fn answered(&self, query: &[u8]) -> Response<Full<Bytes>> {
        // Requests share a connection, so a panic costs its request alone.
        let answered =
            panic::catch_unwind(AssertUnwindSafe(|| self.desk.answer_one(query, self.address)));
        match answered {
            Ok(Some((answer, message))) => response(&answer, message),
            Ok(None) => Refusal::NoQuery.response(),
            Err(_) => {
                self.desk.tally.count_panic();
                Refusal::Failed.response()
            }
        }
    }
}

/// hyper, with every limit stated.
fn carrier(version: Version) -> auto::Builder<TokioExecutor> {
    let mut carrier = auto::Builder::new(TokioExecutor::new());
    carrier
        .http1()
        // The pulse says how long a head may take.
        .header_read_timeout(None)
        .half_close(true)
        .max_buf_size(HEAD)
        .max_headers(FIELDS);
    carrier
        .http2()
        .initial_connection_window_size(CONNECTION_WINDOW)
        .initial_stream_window_size(STREAM_WINDOW)
        .max_concurrent_streams(STREAMS)
        .max_header_list_size(HEAD as u32)
        .max_local_error_reset_streams(RESETS)
        .max_pending_accept_reset_streams(RESETS)
        .max_send_buf_size(SEND_BUFFER);
    match version {
        Version::Http1 => carrier.http1_only(),
        Version::Http2 => carrier.http2_only(),
    }
}

/// Keeps a connection from being quiet, until it is dropped.
struct UnderWay<'v>(&'v Mutex<Pulse>);

impl UnderWay<'_> {
    fn of(pulse: &Mutex<Pulse>) -> UnderWay<'_> {
        pulse.lock().requests += 1;
        UnderWay(pulse)
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        let mut pulse = self.0.lock();
        pulse.requests -= 1;
        pulse.quiet_since = Instant::now();
    }
}
