//! HTTP/2 connections of one thread to servers: how many streams each takes, and when one is over.
//!
//! relay ─▶ `Links::find`, or `make` and connect ─▶ `Waiting` ─▶ `Seat` ─▶ (a stream) ─▶ dropped: room for the next
//!
//! A task of its own drives each connection, for as long as somebody has it. Nothing here knows what is asked on it.

#[cfg(test)]
mod tests;

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::future::{Future as _, poll_fn};
use std::io;
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use common::clock;
use h2::SendStream;
use h2::client::{Builder, Connection, ResponseFuture, SendRequest};
use http::Request;
use socket2::{SockRef, TcpKeepalive};
use tokio::sync::{Notify, oneshot};
use tokio::time::sleep;

use crate::stream::{Late, Stream, Timer};

/// Streams of one connection at a time, of a server that would take more (HAProxy's `tune.h2.be.max-concurrent-streams`).
pub const MOST_STREAMS: usize = 100;
/// Octets of one body that may wait unread, and of all on a connection: whoever reads slowly holds up nobody else.
const STREAM_WINDOW: u32 = 64 << 10;
const CONNECTION_WINDOW: u32 = MOST_STREAMS as u32 * STREAM_WINDOW;
/// What `h2` lets small frames cost that nobody has read, 256 less its octets for each: as much as all streams' windows full of
/// empty gRPC messages (5 octets). Else one client that does not read a chatty stream would end those of all others.
const SMALL_FRAMES: usize = CONNECTION_WINDOW as usize / 5 * (256 - 5);
/// Streams that were reset here, of which more may still come.
const MOST_RESET: usize = 10 * MOST_STREAMS;
/// Octets of one request that may wait for the socket.
const MOST_UNSENT: usize = 64 << 10;
/// Octets that the head of a response may have, as HTTP/2 counts them: 64 KiB and 32 for each of a hundred fields.
const MOST_HEAD: u32 = (64 << 10) + 32 * 101;
/// A peer that acknowledges nothing of what was sent for so long is gone, and one that has nothing to acknowledge is asked
/// at these times. The kernel does that: a gRPC server takes PINGs amiss.
const UNACKNOWLEDGED: Duration = Duration::from_secs(15);
const ASKED_AFTER: Duration = Duration::from_secs(10);
const ASKED_EVERY: Duration = Duration::from_secs(5);
/// For so long a connection that nobody wants any more may take to say so.
const LINGER: Duration = Duration::from_secs(2);

/// What a thread has of one server.
#[derive(Debug)]
pub struct Links {
    links: Vec<Rc<Link>>,
    /// Streams that the last connection took, and so most likely the next.
    most: usize,
}

/// One connection.
#[derive(Debug)]
struct Link {
    state: RefCell<State>,
    /// Streams under way, and requests that wait until it is open.
    streams: Cell<usize>,
    waiting: Cell<usize>,
    /// Streams that it takes.
    most: Cell<usize>,
    /// Whether no new stream is to begin here.
    is_retired: Cell<bool>,
    idle_since: Cell<Duration>,
    changed: Notify,
    /// Dropped with it.
    _alive: oneshot::Sender<Infallible>,
}

#[derive(Debug)]
enum State {
    Opening,
    Open(SendRequest<Bytes>),
    Closed(Lost),
}

/// Why there is no connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Lost {
    Late,
    Failed,
}

/// What there is for one more stream.
#[derive(Debug)]
pub enum Found {
    Open(Seat),
    Opening(Waiting),
}

/// Room for one stream: given back when it is dropped.
#[derive(Debug)]
pub struct Seat {
    link: Rc<Link>,
    /// Whether the connection had been idle, which the server may have closed at that moment.
    pub was_idle: bool,
}

/// A request that waits for a connection to open.
#[derive(Debug)]
pub struct Waiting(Rc<Link>);

/// A connection that is being made.
#[derive(Debug)]
pub struct Opening {
    link: Weak<Link>,
    gone: oneshot::Receiver<Infallible>,
}

impl Default for Links {
    fn default() -> Links {
        Links { links: vec![], most: MOST_STREAMS }
    }
}

impl Links {
    /// The first connection that has room, or will have: those behind it may become idle, and go. `None` where another
    /// one has to be made. `idle` is how long one may have had nothing to do.
    pub fn find(&mut self, now: Duration, idle: Duration) -> Option<Found> {
        self.tidy(now, idle);
        if let Some(open) = self.links.iter().find_map(|link| link.most_if_open()) {
            // A server that takes nothing now is waited for, not asked by more connections.
            self.most = open.max(1);
        }
        let most = self.most;
        self.links.iter().find_map(|link| match link.most_if_open() {
            Some(most) if link.streams.get() < most => {
                let was_idle = link.streams.get() == 0;
                Some(Found::Open(Seat::new(link, was_idle)))
            }
            None if link.waiting.get() < most => Some(Found::Opening(Waiting::new(link))),
            Some(_) | None => None,
        })
    }

    /// One more connection: for whoever asks, and for others.
    pub fn make(&mut self, now: Duration) -> (Waiting, Opening) {
        let (link, opening) = Link::new(now);
        self.links.push(Rc::clone(&link));
        (Waiting::new(&link), opening)
    }

    /// A connection that nobody else will have.
    pub fn alone(now: Duration) -> (Waiting, Opening) {
        let (link, opening) = Link::new(now);
        (Waiting::new(&link), opening)
    }

    /// Lets those go on which nothing new begins, and those with nothing to do for so long. What is under way there ends
    /// in its own time.
    pub fn tidy(&mut self, now: Duration, idle: Duration) {
        self.links.retain(|link| link.is_wanted(now, idle));
    }

    pub fn inherit(&mut self, before: &mut Links) {
        self.links.append(&mut before.links);
        self.most = before.most;
    }
}

impl Link {
    fn new(now: Duration) -> (Rc<Link>, Opening) {
        let (alive, gone) = oneshot::channel();
        let link = Rc::new(Link {
            state: RefCell::new(State::Opening),
            streams: Cell::new(0),
            waiting: Cell::new(0),
            most: Cell::new(MOST_STREAMS),
            is_retired: Cell::new(false),
            idle_since: Cell::new(now),
            changed: Notify::new(),
            _alive: alive,
        });
        let opening = Opening { link: Rc::downgrade(&link), gone };
        (link, opening)
    }

    /// How many streams it takes, once it is open.
    fn most_if_open(&self) -> Option<usize> {
        matches!(&*self.state.borrow(), State::Open(_)).then(|| self.most.get())
    }

    fn is_wanted(&self, now: Duration, idle: Duration) -> bool {
        let mut context = Context::from_waker(Waker::noop());
        let goes_on = match &mut *self.state.borrow_mut() {
            State::Opening => true,
            // After a GOAWAY it takes no more.
            State::Open(send) => matches!(send.poll_ready(&mut context), Poll::Ready(Ok(()))),
            State::Closed(_) => false,
        };
        let is_used = self.streams.get() + self.waiting.get() > 0;
        goes_on && !self.is_retired.get() && (is_used || self.idle_since.get() + idle > now)
    }

    fn is_in(&self, state: State) {
        self.state.replace(state);
        self.changed.notify_waiters();
    }
}

impl Waiting {
    fn new(link: &Rc<Link>) -> Waiting {
        link.waiting.set(link.waiting.get() + 1);
        Waiting(Rc::clone(link))
    }

    /// Once it is open: `None` if others have all the room by then.
    pub async fn seat(self) -> Result<Option<Seat>, Lost> {
        let Waiting(link) = &self;
        loop {
            let changed = link.changed.notified();
            match &*link.state.borrow() {
                State::Opening => {}
                State::Open(_) => {
                    let has_room = link.streams.get() < link.most.get();
                    return Ok(has_room.then(|| Seat::new(link, false)));
                }
                State::Closed(lost) => return Err(*lost),
            }
            changed.await;
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let Waiting(link) = self;
        link.waiting.set(link.waiting.get() - 1);
    }
}

impl Seat {
    fn new(link: &Rc<Link>, was_idle: bool) -> Seat {
        link.streams.set(link.streams.get() + 1);
        Seat { link: Rc::clone(link), was_idle }
    }

    /// Begins the stream.
    ///
    /// # Errors
    /// The connection takes no more; nothing was sent.
    pub fn begin(
        &self,
        request: Request<()>,
        is_all: bool,
    ) -> Result<(ResponseFuture, SendStream<Bytes>), io::Error> {
        match &*self.link.state.borrow() {
            State::Open(send) => {
                send.clone().send_request(request, is_all).map_err(io::Error::other)
            }
            State::Opening | State::Closed(_) => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    /// Has nothing new begin on this connection: its server does not answer, and it may be the connection.
    pub fn retire(&self) {
        self.link.is_retired.set(true);
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let Link { streams, idle_since, .. } = &*self.link;
        streams.set(streams.get() - 1);
        idle_since.set(clock::monotonic());
    }
}

impl Opening {
    /// It does not come to be.
    pub fn fail(self, lost: Lost) {
        if let Some(link) = self.link.upgrade() {
            link.is_in(State::Closed(lost));
        }
    }

    fn lose(self, lost: Lost) -> Lost {
        self.fail(lost);
        lost
    }

    /// Speaks HTTP/2 on it, to its end. It is open once the server's settings have come, and so is known to speak it too;
    /// `Err` is that it was never open.
    pub async fn run(
        self,
        stream: Stream,
        within: Duration,
        timer: &mut Timer,
    ) -> Result<(), Lost> {
        let shaken = match notice_death(&stream) {
            Ok(()) => timer.within(within, shake_hands(stream)).await,
            Err(_) => return Err(self.lose(Lost::Failed)),
        };
        let (send, mut wire) = match shaken {
            Ok(Ok(open)) => open,
            Ok(Err(_)) => return Err(self.lose(Lost::Failed)),
            Err(Late) => return Err(self.lose(Lost::Late)),
        };
        let Opening { link, gone } = self;
        if let Some(link) = link.upgrade() {
            link.most.set(most_of(&wire));
            link.is_in(State::Open(send));
        }
        let driven = poll_fn(|context| {
            let ended = Pin::new(&mut wire).poll(context);
            if let Some(link) = link.upgrade() {
                link.most.set(most_of(&wire));
            }
            ended.map(drop)
        });
        let given_up = async {
            // Nobody ever says anything there.
            let _ = gone.await;
            sleep(LINGER).await;
        };
        tokio::select! {
            () = driven => {}
            () = given_up => {}
        }
        if let Some(link) = link.upgrade() {
            link.is_in(State::Closed(Lost::Failed));
        }
        Ok(())
    }
}

type Wire = Connection<Stream, Bytes>;

fn most_of(wire: &Wire) -> usize {
    wire.max_concurrent_send_streams().min(MOST_STREAMS)
}

async fn shake_hands(stream: Stream) -> Result<(SendRequest<Bytes>, Wire), h2::Error> {
    let mut builder = Builder::new();
    builder
        .enable_push(false)
        // None until the server says how many.
        .initial_max_send_streams(0)
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buffer_size(MOST_UNSENT)
        .data_frame_budget(SMALL_FRAMES)
        // What comes of streams that clients have left is no mistake of a server, however many leave at once.
        .max_concurrent_reset_streams(MOST_RESET)
        .max_local_error_reset_streams(None)
        .max_header_list_size(MOST_HEAD);
    let (send, mut wire) = builder.handshake(stream).await?;
    poll_fn(|context| {
        let ended = Pin::new(&mut wire).poll(context);
        match ended {
            Poll::Ready(Ok(())) => Poll::Ready(Err(h2::Reason::NO_ERROR.into())),
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending if wire.max_concurrent_send_streams() > 0 => Poll::Ready(Ok(())),
            Poll::Pending => Poll::Pending,
        }
    })
    .await?;
    Ok((send, wire))
}

/// Has the kernel end the connection if the server is gone without a word.
fn notice_death(stream: &Stream) -> io::Result<()> {
    let socket = SockRef::from(stream.tcp());
    socket.set_tcp_user_timeout(Some(UNACKNOWLEDGED))?;
    let asked = TcpKeepalive::new().with_time(ASKED_AFTER).with_interval(ASKED_EVERY);
    socket.set_tcp_keepalive(&asked)
}
