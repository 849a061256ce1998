//! HTTP/2 from a client (RFC 9113): one task for the connection, and one for each stream. And to a server: one `call`.
//!
//! serve ─▶ (a stream) ─▶ `exchange` ─▶ what HTTP/1 goes through ─▶ `exchange` ─▶ serve
//!                                      └─▶ `call` ─▶ `link` ─▶ (a server)
//!
//! The `h2` crate has the frames, the windows and HPACK. What a client may cost us is bounded here: streams, windows, what
//! waits to be sent, how long it is idle, and how often it may change its mind.

mod call;
mod exchange;
mod halves;

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use common::clock;
use h2::server::{Builder, SendResponse};
use h2::{Reason, RecvStream};
use http::Request;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::task::JoinSet;

pub(super) use self::call::Call;
use self::exchange::Exchange;
use self::halves::octets_of;
use super::http1::linger;
use super::record::Record;
use super::{Connection, Next};
use crate::access_log::{Cause, End, Protocol};
use crate::head;
use crate::relay::Caller;
use crate::stream::{Stream, Timer};
use crate::worker::{Front, Worker};

/// Octets of one body that may wait unread (RFC 9113's own, and Envoy's at the edge), and of all on a connection: as many
/// streams of one may wait for slow servers before the others do.
const STREAM_WINDOW: u32 = 64 << 10;
const CONNECTION_WINDOW: u32 = 1 << 20;
/// Octets of one response that may wait for the socket.
const MOST_UNSENT: usize = 64 << 10;
/// What HTTP/2 counts for a field beside its octets (RFC 9113 §6.5.2).
const FIELD: usize = 32;
/// Streams that were reset before we had looked at them, and that were reset for what the client did wrong (CVE-2023-44487,
/// CVE-2025-8671): with one more the connection is over.
const MOST_UNSEEN: usize = 20;
const MOST_WRONG: usize = 1024;
/// Streams that we have reset, of which we remember that more may come.
const MOST_REMEMBERED: usize = 50;
/// From so many requests on that the client has taken back, the connection is over if these are more than half of all.
const MOST_TAKEN_BACK: u64 = 100;
/// Of these only who was taken back so soon counts: browsers, and people, change their minds too.
const HASTE: Duration = Duration::from_secs(1);
/// For so long a client that was told to go may stay with nothing under way.
const LINGER: Duration = Duration::from_secs(2);

type Wire = h2::server::Connection<Shared, Bytes>;
/// A request as it comes in, and where its response goes.
type Asked = (Request<RecvStream>, SendResponse<Bytes>);

/// What happens on a connection.
enum Event {
    Asked(Box<Asked>),
    /// A stream has come to its end.
    Ended(Ended),
    /// There may be another config, or a stop.
    Changed,
    /// Nothing was under way for too long.
    Idle,
    Closed,
}

/// How a stream has ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Ended {
    /// The client has heard something of a response.
    Answered,
    /// The client has taken its request back before, and soon.
    TakenBack,
}

/// How a connection stands.
struct Standing {
    /// On the monotonic clock: since when nothing is under way, and the client has taken nothing of what was answered.
    idle_since: Duration,
    /// Octets that it had taken when that was looked at.
    written: u64,
    is_leaving: bool,
    requests: u64,
    ended: u64,
    taken_back: u64,
}

/// Serves a connection to its end. `fronts` is asked before each request.
pub async fn serve(
    worker: &Rc<Worker>,
    stream: Stream,
    caller: Caller,
    fronts: impl Fn() -> Rc<Front>,
) {
    let (caller, mut timer, first) = (Rc::new(caller), Timer::default(), fronts());
    let within = first.config.timeouts.http_request;
    let stream = Rc::new(RefCell::new(stream));
    let written = Rc::new(Cell::new(0));
    let shared = Shared { stream: Rc::clone(&stream), written: Rc::clone(&written) };
    let shaken = timer.within(within, builder(&first).handshake(shared)).await;
    let Ok(Ok(mut wire)) = shaken else { return };
    let most = first.config.limits.h2_streams as usize;
    let patience = first.config.timeouts.client;
    drop(first);
    let (mut streams, mut standing) = (JoinSet::new(), Standing::new());
    loop {
        let (changed, front) = (worker.changed(), fronts());
        // Also where something else has happened in the same moment.
        if worker.is_cut() {
            break;
        }
        if !standing.is_leaving && (worker.is_stopping() || front.is_gone()) {
            standing.leave(&mut wire);
        }
        if wire.has_streams() {
            standing.follow(written.get());
        }
        let idle = streams.is_empty().then(|| standing.next_look(&front, &wire));
        let is_full = streams.len() >= most;
        let event = async {
            tokio::select! {
                biased;
                Some(ended) = streams.join_next() => Event::Ended(ended.unwrap_or(Ended::Answered)),
                event = poll_fn(|context| poll_wire(&mut wire, context, is_full)) => event,
                () = changed => Event::Changed,
            }
        };
        let event = match idle {
            Some(idle) => timer.within(idle, event).await.unwrap_or(Event::Idle),
            None => event.await,
        };
        match event {
            Event::Asked(asked) => {
                let (worker, caller) = (Rc::clone(worker), Rc::clone(&caller));
                let answer = answer(worker, caller, fronts(), *asked, standing.ended);
                // Boxed, as it is moved some times before it runs.
                streams.spawn_local(Box::pin(answer));
                standing.requests += 1;
            }
            Event::Ended(ended) => {
                standing.end(ended);
                if standing.is_restless() {
                    front.traffic.refused.fetch_add(1, Relaxed);
                    wire.abrupt_shutdown(Reason::ENHANCE_YOUR_CALM);
                    standing.is_leaving = true;
                }
            }
            Event::Changed => {}
            Event::Idle if standing.goes_on(&front, &wire, written.get()) => {}
            Event::Idle if standing.is_leaving => break,
            Event::Idle => standing.leave(&mut wire),
            Event::Closed => break,
        }
    }
    // Whoever is still under way hears that the client has gone.
    drop(wire);
    while streams.join_next().await.is_some() {}
    if worker.is_cut() {
        return;
    }
    // While it reads what is on its way, it opens windows: nobody may answer that by cutting it off.
    linger(worker, &stream, &mut timer, patience).await;
}

/// The connection while `h2` has it: what comes after is ours, for it drops what it has.
struct Shared {
    stream: Rc<RefCell<Stream>>,
    /// Octets that the socket has taken: who takes some is not silent.
    written: Rc<Cell<u64>>,
}

impl AsyncRead for Shared {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.stream.borrow_mut()).poll_read(context, buffer)
    }
}

impl AsyncWrite for Shared {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        octets: &[u8],
    ) -> Poll<io::Result<usize>> {
        let taken = ready!(Pin::new(&mut *self.stream.borrow_mut()).poll_write(context, octets))?;
        self.written.set(self.written.get() + taken as u64);
        Poll::Ready(Ok(taken))
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.stream.borrow_mut()).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.stream.borrow_mut()).poll_shutdown(context)
    }
}

fn builder(front: &Front) -> Builder {
    let head::Limits { head, fields, .. } = front.limits;
    // With the four fields that were HTTP/1's first line.
    let head = u32::try_from(head + FIELD * (fields + 4)).unwrap_or(u32::MAX);
    let mut builder = Builder::new();
    builder
        .max_concurrent_streams(front.config.limits.h2_streams)
        .max_header_list_size(head)
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buffer_size(MOST_UNSENT)
        .max_pending_accept_reset_streams(MOST_UNSEEN)
        .max_concurrent_reset_streams(MOST_REMEMBERED)
        .max_local_error_reset_streams(Some(MOST_WRONG));
    builder
}

/// Has the connection go on, and takes the next request unless there are as many as may be: streams that were reset have
/// ended for HTTP/2, but perhaps not yet for us.
fn poll_wire(wire: &mut Wire, context: &mut Context<'_>, is_full: bool) -> Poll<Event> {
    if is_full {
        return wire.poll_closed(context).map(|_| Event::Closed);
    }
    wire.poll_accept(context).map(|asked| match asked {
        Some(Ok(asked)) => Event::Asked(Box::new(asked)),
        Some(Err(_)) | None => Event::Closed,
    })
}

impl Standing {
    fn new() -> Standing {
        Standing {
            idle_since: clock::monotonic(),
            written: 0,
            is_leaving: false,
            requests: 0,
            ended: 0,
            taken_back: 0,
        }
    }

    fn end(&mut self, ended: Ended) {
        self.idle_since = clock::monotonic();
        self.ended += 1;
        self.taken_back += u64::from(ended == Ended::TakenBack);
    }

    /// What was answered gets to the client as fast as it takes it: while it takes any, it is not silent.
    fn follow(&mut self, written: u64) {
        if self.written != written {
            (self.written, self.idle_since) = (written, clock::monotonic());
        }
    }

    /// Whether it may stay: it has taken something since, or has time left.
    fn goes_on(&mut self, front: &Front, wire: &Wire, written: u64) -> bool {
        if wire.has_streams() {
            self.follow(written);
        }
        !self.patience(front, wire).is_zero()
    }

    /// Tells the client to ask elsewhere; what is under way goes on.
    fn leave(&mut self, wire: &mut Wire) {
        wire.graceful_shutdown();
        (self.is_leaving, self.idle_since) = (true, clock::monotonic());
    }

    /// Whether the client asks for what it does not want (CVE-2023-44487).
    fn is_restless(&self) -> bool {
        !self.is_leaving && self.taken_back >= MOST_TAKEN_BACK && self.taken_back > self.ended / 2
    }

    /// When it is looked at again: what is on its way gets there without a word to us.
    fn next_look(&self, front: &Front, wire: &Wire) -> Duration {
        let patience = self.patience(front, wire);
        if wire.has_streams() { patience.min(LINGER) } else { patience }
    }

    /// How much longer nothing may be under way. What was answered may still be on its way to the client.
    fn patience(&self, front: &Front, wire: &Wire) -> Duration {
        let timeouts = &front.config.timeouts;
        let most = match (wire.has_streams(), self.is_leaving) {
            (true, true) => timeouts.client,
            (true, false) => timeouts.client.max(timeouts.keep_alive),
            (false, true) => LINGER,
            (false, false) if self.requests == 0 => timeouts.http_request,
            (false, false) => timeouts.keep_alive,
        };
        (self.idle_since + most).saturating_sub(clock::monotonic())
    }
}

/// One request and its answer.
async fn answer(
    worker: Rc<Worker>,
    caller: Rc<Caller>,
    front: Rc<Front>,
    (request, respond): Asked,
    requests: u64,
) -> Ended {
    let (parts, body) = request.into_parts();
    let (mut room, mut record) = (worker.room(), Record::begin(&front));
    let stream = if body.is_end_stream() { head::Stream::Ended } else { head::Stream::Open };
    let read = room.request.from_parts(&parts, stream, &front.limits);
    front.traffic.received.fetch_add(head_octets(&parts), Relaxed);
    drop(parts);
    let protocol = read.is_ok().then_some(Protocol::Http2);
    let exchange = Exchange::new(respond, body, room.request.body());
    let (timer, client) = (Timer::default(), &exchange);
    let mut connection = Connection { worker: &worker, caller: &caller, client, timer, requests };
    let served = async {
        if let Err(refusal) = read {
            return connection.refuse(&front, &mut room, &mut record, refusal).await;
        }
        record.head = Some(record.elapsed());
        caller.asked();
        connection.respond(&front, &mut room, &mut record).await
    };
    let next = tokio::select! {
        biased;
        next = served => Some(next),
        () = exchange.gone() => None,
    };
    match next {
        Some(Next::Request | Next::Linger) => {}
        Some(Next::Close) => exchange.reset(Reason::CANCEL),
        Some(Next::Reset) => exchange.reset(Reason::INTERNAL_ERROR),
        None => record.end = End::Cut(Cause::ClientAbort, record.phase()),
    }
    // To a stream it is the same who has cut the connection.
    if let (true, End::Cut(Cause::ClientAbort, phase)) = (worker.is_cut(), record.end) {
        record.end = End::Cut(Cause::Killed, phase);
    }
    let has_gone = matches!(record.end, End::Cut(Cause::ClientAbort, _));
    let is_taken_back = has_gone && record.status.is_none() && record.elapsed() < HASTE;
    record.close(&front, &caller, protocol.map(|protocol| (&room.request, protocol)));
    worker.give_back(room);
    if is_taken_back { Ended::TakenBack } else { Ended::Answered }
}

/// Octets of a request's head, as HTTP/1.1 would write it.
fn head_octets(parts: &http::request::Parts) -> u64 {
    let target = parts.uri.path_and_query().map_or(0, |path| path.as_str().len());
    let host = parts.uri.authority().map_or(0, |authority| authority.as_str().len());
    let line = parts.method.as_str().len() + target + " HTTP/1.1\r\n\r\n ".len();
    (line + "Host: \r\n".len() + host + octets_of(&parts.headers)) as u64
}
