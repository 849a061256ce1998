//! A connection to one name server: TCP, mutual TLS 1.3, HTTP/2.
//!
//! Probes and agents tell over it what they saw, and name servers ask each other. Reads the clock for its time limits, and for the end of
//! the name server's certificate.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;
use hyper::body::{Body, Frame, SizeHint};
use hyper::client::conn::http2::{self, SendRequest};
use hyper::header::CONTENT_TYPE;
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::pin;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::assignment;
use crate::clock::now;
use crate::mtls::{Credentials, HolderError, principal_of};
use crate::principal::{Kind, Principal};
use crate::validity::Validity;

/// For a connection with its handshakes.
const DIAL: Duration = Duration::from_secs(4);
/// While a request and its answer are under way, something comes or goes within this: less than a lease.
const STALL: Duration = Duration::from_secs(4);
/// For a request and its answer, each whole: as long as a name server takes at most to hear a report, and to say what
/// became of it. The largest report goes in some 22 round trips through the window that a name server gives, the largest
/// page comes in as many through ours: in 7 s where a round trip takes 300 ms.
const EXCHANGE: Duration = Duration::from_secs(20);
/// A connection that is dead is known to be within twice this.
const KEEP_ALIVE: Duration = Duration::from_secs(3);
/// Octets of an answer that may be on their way: a 16th of the largest. h2 opens a window again by thirds, and so a quarter
/// of it may lie idle.
const WINDOW: u32 = 2 << 20;
/// Octets of a request that are handed on at a time, and that may wait to be sent: what was sent is known to within this.
const CHUNK: usize = 16 << 10;
const SEND_BUFFER: usize = 64 << 10;

/// Octets of an answer to a report, or to a signing request.
const LARGEST_ANSWER: usize = 64 << 10;

#[derive(Debug, thiserror::Error)]
pub enum WireError {
    #[error("it took longer than {0:?}")]
    TooLong(Duration),
    #[error("nothing came or went for {0:?}")]
    Stalled(Duration),
    #[error("connecting: {0}")]
    Connect(#[source] std::io::Error),
    #[error("TLS: {0}")]
    Handshake(#[source] std::io::Error),
    #[error("{0:?} is no server's name")]
    Name(String),
    #[error("it showed no certificate, or none that says until when it holds")]
    Nobody,
    #[error("it shows a certificate that {0}")]
    Holder(#[from] HolderError),
    #[error("it is {found}, expected {expected}")]
    SomebodyElse { found: Principal, expected: String },
    #[error("HTTP/2: {0}")]
    Http(#[from] hyper::Error),
    #[error("no request: {0}")]
    Request(#[from] hyper::http::Error),
    #[error("an answer of more than {0} octets")]
    TooLarge(usize),
}

/// Open; the driver ends with it.
#[derive(Debug)]
pub struct Wire {
    requests: SendRequest<Outgoing>,
    driver: JoinHandle<()>,
    authority: String,
    /// Until when the name server's certificate holds: Unix time, in seconds.
    not_after: i64,
}

/// A request's octets, which say when some of them are sent.
#[derive(Debug)]
struct Outgoing {
    octets: Bytes,
    progress: watch::Sender<()>,
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
        let certificate = certificate.ok_or(WireError::Nobody)?;
        let found = principal_of(certificate)?;
        let Validity { not_after, .. } = Validity::of(certificate).ok_or(WireError::Nobody)?;
        let cluster = &credentials.principal().cluster;
        if found.cluster != *cluster || found.kind != Kind::Dns || &*found.name != name {
            let expected = format!("gslb://{cluster}/{}/{name}", Kind::Dns);
            return Err(WireError::SomebodyElse { found, expected });
        }
        Wire::over(stream, name, not_after).await
    }

    async fn over(
        stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
        name: &str,
        not_after: i64,
    ) -> Result<Wire, WireError> {
        let (requests, connection) = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .keep_alive_interval(KEEP_ALIVE)
            .keep_alive_timeout(KEEP_ALIVE)
            .keep_alive_while_idle(true)
            .initial_stream_window_size(WINDOW)
            .initial_connection_window_size(WINDOW)
            .max_send_buf_size(SEND_BUFFER)
            .handshake(TokioIo::new(stream))
            .await?;
        // Why it ends is told by the request that fails for it.
        let driver = tokio::spawn(async move { drop(connection.await) });
        Ok(Wire { requests, driver, authority: name.to_owned(), not_after })
    }

    /// Whether there is nobody at the other end, or nobody whom we would believe today: it is time to dial anew.
    pub fn is_over(&self) -> bool {
        self.requests.is_closed() || self.not_after < now().as_second()
    }

    /// Tells what was seen.
    pub async fn report(&mut self, octets: Vec<u8>) -> Result<(StatusCode, Bytes), WireError> {
        self.exchange(Method::POST, "/v1/report", octets.into(), LARGEST_ANSWER).await
    }

    /// Asks what we are to do; `known` is the epoch of the assignment that we have.
    pub async fn assignment(
        &mut self,
        known: Option<&str>,
    ) -> Result<(StatusCode, Bytes), WireError> {
        let path = match known {
            Some(epoch) => format!("/v1/assignment?epoch={}", encoded(epoch)),
            None => "/v1/assignment".to_owned(),
        };
        self.exchange(Method::GET, &path, Bytes::new(), assignment::LARGEST).await
    }

    /// Asks for our next certificate.
    pub async fn renew(&mut self, request: Vec<u8>) -> Result<(StatusCode, Bytes), WireError> {
        self.exchange(Method::POST, "/v1/renew", request.into(), LARGEST_ANSWER).await
    }

    /// Asks, and hears the whole answer.
    ///
    /// # Errors
    /// The connection has failed, nothing came or went for too long, all of it took too long, or the answer has more than
    /// `largest` octets.
    pub async fn exchange(
        &mut self,
        method: Method,
        path: &str,
        body: Bytes,
        largest: usize,
    ) -> Result<(StatusCode, Bytes), WireError> {
        let (progress, mut progressed) = watch::channel(());
        let request = Request::builder()
            .method(method)
            .uri(format!("https://{}{path}", self.authority))
            .header(CONTENT_TYPE, "application/json")
            .body(Outgoing { octets: body, progress: progress.clone() })?;
        let exchange = async {
            self.requests.ready().await?;
            let answer = self.requests.send_request(request).await?;
            let (status, mut body) = (answer.status(), answer.into_body());
            let mut octets = BytesMut::new();
            while let Some(frame) = body.frame().await {
                progress.send_replace(());
                // What is no data is trailers, which say nothing here.
                let Ok(data) = frame?.into_data() else { continue };
                if octets.len() + data.len() > largest {
                    return Err(WireError::TooLarge(largest));
                }
                octets.extend_from_slice(&data);
            }
            Ok((status, octets.freeze()))
        };
        let moving = async {
            pin!(exchange);
            loop {
                tokio::select! {
                    biased; // What is done is done, however late we look.
                    done = &mut exchange => return done,
                    moved = timeout(STALL, progressed.changed()) => {
                        moved.map_or(Err(WireError::Stalled(STALL)), |_| Ok(()))?;
                    }
                }
            }
        };
        timeout(EXCHANGE, moving).await.unwrap_or(Err(WireError::TooLong(EXCHANGE)))
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

impl Body for Outgoing {
    type Data = Bytes;
    type Error = Infallible;

    /// Asked as soon as there is room in the window for more.
    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.progress.send_replace(());
        let length = self.octets.len().min(CHUNK);
        let chunk = self.octets.split_to(length);
        Poll::Ready((length > 0).then_some(Ok(Frame::data(chunk))))
    }

    fn is_end_stream(&self) -> bool {
        self.octets.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.octets.len() as u64)
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::{Either, Full};
    use hyper::Response;
    use hyper::body::Incoming;
    use hyper::service::service_fn;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex, split};
    use tokio::sync::mpsc;
    use tokio::time::{Instant, Interval, interval, sleep_until};

    use super::*;
    use crate::report;

    /// What a name server gives (`control/visit.rs`).
    const ITS_WINDOW: u32 = 512 << 10;
    /// Of a name server on another continent.
    const ROUND_TRIP: Duration = Duration::from_millis(300);
    /// What a peer tells at most.
    const PAGE: usize = 32 << 20;

    #[derive(Clone, Copy)]
    enum Server {
        /// Hears all, and answers with so many octets.
        Answers(usize),
        /// Hears so much, and no more.
        HearsUpTo(usize),
        /// Answers an octet each second, without end.
        Trickles,
    }

    struct Trickle(Interval);

    impl Body for Trickle {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            context: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            let octet = Frame::data(Bytes::from_static(b" "));
            self.0.poll_tick(context).map(|_| Some(Ok(octet)))
        }
    }

    async fn serve(server: Server, mut body: Incoming) -> Response<Either<Full<Bytes>, Trickle>> {
        let up_to = if let Server::HearsUpTo(octets) = server { octets } else { usize::MAX };
        let mut heard = 0;
        while heard < up_to
            && let Some(frame) = body.frame().await
        {
            heard += frame.unwrap().data_ref().map_or(0, Bytes::len);
        }
        Response::new(match server {
            Server::Answers(octets) => Either::Left(Full::new(vec![b' '; octets].into())),
            Server::HearsUpTo(_) => std::future::pending().await,
            Server::Trickles => Either::Right(Trickle(interval(Duration::from_secs(1)))),
        })
    }

    /// One way of a path: what goes in comes out half a round trip later.
    async fn carry(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin) {
        let (sender, mut under_way) = mpsc::unbounded_channel();
        let enters = async move {
            let mut octets = BytesMut::with_capacity(CHUNK);
            while from.read_buf(&mut octets).await.is_ok_and(|length| length > 0) {
                let _ = sender.send((Instant::now() + ROUND_TRIP / 2, octets.split()));
                octets.reserve(CHUNK);
            }
        };
        let leaves = async move {
            while let Some((at, octets)) = under_way.recv().await {
                sleep_until(at).await;
                if to.write_all(&octets).await.is_err() {
                    return;
                }
            }
        };
        tokio::join!(enters, leaves);
    }

    /// What comes of a request over such a path, and how long it takes.
    async fn exchange(
        server: Server,
        told: usize,
        largest: usize,
    ) -> (Result<(StatusCode, usize), WireError>, Duration) {
        let (ours, near) = duplex(CHUNK);
        let (far, theirs) = duplex(CHUNK);
        let ((near_read, near_write), (far_read, far_write)) = (split(near), split(far));
        tokio::spawn(carry(near_read, far_write));
        tokio::spawn(carry(far_read, near_write));
        let service = service_fn(move |request: Request<Incoming>| async move {
            Ok::<_, Infallible>(serve(server, request.into_body()).await)
        });
        let mut carrier = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
        carrier.initial_connection_window_size(ITS_WINDOW).initial_stream_window_size(ITS_WINDOW);
        tokio::spawn(carrier.serve_connection(TokioIo::new(theirs), service));
        let mut wire = Wire::over(ours, "dns1", i64::MAX).await.unwrap();
        let (began, told) = (Instant::now(), vec![b' '; told].into());
        let done = wire.exchange(Method::POST, "/", told, largest).await;
        (done.map(|(status, octets)| (status, octets.len())), began.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn what_comes_from_far_away_has_its_time() {
        for (told, largest) in [(report::LARGEST, 0), (0, PAGE)] {
            let (done, took) = exchange(Server::Answers(largest), told, largest).await;
            assert_eq!(done.unwrap(), (StatusCode::OK, largest), "{told}");
            // Longer than nothing may come or go; half of the 15 s in which a name server hears a report.
            assert!((STALL..Duration::from_millis(7500)).contains(&took), "{told}: {took:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_does_not_move_is_given_up() {
        for octets in [0, report::LARGEST / 4] {
            let (done, took) = exchange(Server::HearsUpTo(octets), report::LARGEST, 0).await;
            assert!(matches!(done, Err(WireError::Stalled(_))), "{done:?}");
            let moving = ROUND_TRIP * u32::try_from(octets).unwrap() / ITS_WINDOW;
            let bounds = STALL + moving..STALL + 2 * moving + 3 * ROUND_TRIP;
            assert!(bounds.contains(&took), "{octets}: {took:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_moves_without_end_is_given_up_too() {
        let (done, took) = exchange(Server::Trickles, 1, PAGE).await;
        assert!(matches!(done, Err(WireError::TooLong(_))), "{done:?}");
        assert!((EXCHANGE..EXCHANGE + ROUND_TRIP).contains(&took), "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_has_so_many_octets() {
        let (done, _) = exchange(Server::Answers(1001), 1, 1000).await;
        assert!(matches!(done, Err(WireError::TooLarge(1000))), "{done:?}");
        let (done, _) = exchange(Server::Answers(1000), 1, 1000).await;
        assert_eq!(done.unwrap(), (StatusCode::OK, 1000));
    }
}
