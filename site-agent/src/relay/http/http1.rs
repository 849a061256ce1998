//! HTTP/1 from a client: one task, one request after the other.
//!
//! A connection that waits for its next request holds a socket and a timer. What a request takes is lent by the thread
//! (`Room`), and what is behind it on the connection is read in turn.

use std::cell::{Cell, RefCell};
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use common::clock;
use socket2::SockRef;

use super::answer::Answer;
use super::carrier::Carrier;
use super::record::Record;
use super::{Connection, Next};
use crate::access_log::{Cause, End, Phase, Protocol};
use crate::head::{Body, Persistence, Progress, Refusal, ResponseHead, Trailers, Version};
use crate::relay::Caller;
use crate::stream::{self, Buffer, Late, Stream, Timer};
use crate::worker::{Front, Room, Worker};

/// For so long, and so many octets, a client may go on sending what nobody reads, so that it reads our answer before it
/// hears that the connection is gone (RFC 9112 §9.6).
const LINGER: Duration = Duration::from_secs(2);
const MOST_LINGERING: usize = 1 << 20;

/// Why there is no request.
enum NoRequest {
    /// The client went away.
    Gone,
    Late,
    Refused(Refusal),
}

/// Serves a connection to its end. `is_idle` says when it waits for a request, and may be dropped without harm. `front`
/// is asked before each request.
pub async fn serve(
    worker: &Worker,
    client: RefCell<Stream>,
    caller: &Caller,
    front: impl Fn() -> Rc<Front>,
    is_idle: &Cell<bool>,
) {
    let mut connection =
        Connection { worker, caller, client, timer: Timer::default(), requests: 0 };
    loop {
        let timeouts = front().config.timeouts;
        let is_first = connection.requests == 0;
        let wait = if is_first { timeouts.http_request } else { timeouts.keep_alive };
        if !is_first && connection.is_over(&front()) {
            return;
        }
        is_idle.set(!is_first);
        let first = worker.unless_cut(pin!(connection.first_octets(wait))).await;
        is_idle.set(false);
        let Some(Some(mut room)) = first else { return };
        front().traffic.received.fetch_add(room.from_client.len() as u64, Relaxed);
        let next = loop {
            let next = connection.exchange(&front(), &mut room).await;
            connection.requests += 1;
            if next != Next::Request || room.from_client.is_empty() {
                break next;
            }
        };
        worker.give_back(room);
        match next {
            Next::Request => {}
            Next::Close => return,
            Next::Reset => return connection.reset(),
            Next::Linger => {
                return linger(worker, &connection.client, &mut connection.timer, LINGER).await;
            }
        }
    }
}

impl Connection<'_, RefCell<Stream>> {
    /// Waits for the next request: nobody's if none comes in time. What it takes is lent when there is something of it.
    async fn first_octets(&mut self, wait: Duration) -> Option<Box<Room>> {
        let until = clock::monotonic() + wait;
        let client = self.client.get_mut();
        loop {
            let left = until.saturating_sub(clock::monotonic());
            self.timer.within(left, client.readable()).await.ok()?.ok()?;
            let mut room = self.worker.room();
            match client.try_read(&mut room.from_client) {
                Ok(1..) => return Some(room),
                Ok(0) => return None,
                Err(error) => {
                    self.worker.give_back(room);
                    if error.kind() != io::ErrorKind::WouldBlock {
                        return None;
                    }
                }
            }
        }
    }

    /// One request and its answer.
    async fn exchange(&mut self, front: &Rc<Front>, room: &mut Room) -> Next {
        let (worker, mut record) = (self.worker, Record::begin(front));
        let Some(head) = worker.unless_cut(pin!(self.head(front, room, record.began))).await else {
            record.end = End::Cut(Cause::Killed, Phase::Request);
            record.close(front, self.caller, None);
            return Next::Reset;
        };
        if let Err(why) = head {
            if matches!(why, NoRequest::Gone) && room.from_client.is_empty() {
                return Next::Close;
            }
            let next = self.no_request(front, room, &mut record, why).await;
            record.close(front, self.caller, None);
            return next;
        }
        record.head = Some(record.elapsed());
        self.caller.asked();
        // Who has asked us to close, and has sent all, sends nothing more that a close could cross (RFC 9112 §9.6).
        let is_last = room.request.persistence() == Persistence::Close
            && room.request.body() == Body::None
            && matches!(*self.client.borrow(), Stream::Plain(_));
        let served = worker.unless_cut(pin!(self.respond(front, room, &mut record))).await;
        let next = served.unwrap_or_else(|| {
            record.end = End::Cut(Cause::Killed, record.phase());
            Next::Reset
        });
        let protocol = self.client.protocol(room.request.version());
        record.close(front, self.caller, Some((&room.request, protocol)));
        if next == Next::Linger && is_last && room.from_client.is_empty() {
            return Next::Close;
        }
        next
    }

    /// Reads the head of a request.
    async fn head(
        &mut self,
        front: &Front,
        room: &mut Room,
        began: Duration,
    ) -> Result<(), NoRequest> {
        let Room { request, from_client, .. } = room;
        loop {
            let progress = request.read(from_client.octets(), &front.limits);
            match progress.map_err(NoRequest::Refused)? {
                Progress::Whole(count) => {
                    from_client.take(count);
                    return Ok(());
                }
                Progress::More => {}
                // Only where TLS has agreed on it.
                Progress::Http2 => return Err(NoRequest::Refused(Refusal::Version)),
            }
            let spent = clock::monotonic().saturating_sub(began);
            let left = front.config.timeouts.http_request.saturating_sub(spent);
            let read = stream::read(&self.client, from_client);
            match self.timer.within(left, read).await {
                Ok(Ok(0) | Err(_)) => return Err(NoRequest::Gone),
                Ok(Ok(count)) => {
                    front.traffic.received.fetch_add(count as u64, Relaxed);
                }
                Err(Late) => return Err(NoRequest::Late),
            }
        }
    }

    /// What came is no request.
    async fn no_request(
        &mut self,
        front: &Front,
        room: &mut Room,
        record: &mut Record,
        why: NoRequest,
    ) -> Next {
        match why {
            NoRequest::Gone => {
                record.end = End::Cut(Cause::ClientAbort, Phase::Request);
                Next::Close
            }
            NoRequest::Late => {
                record.end = End::Cut(Cause::ClientTimeout, Phase::Request);
                let answer = Answer::Status(408, None);
                self.answer(front, room, record, &answer, Persistence::Close).await
            }
            NoRequest::Refused(refusal) => self.refuse(front, room, record, refusal).await,
        }
    }

    /// The client hears of it as of a failure.
    fn reset(&self) {
        let client = self.client.borrow();
        // One that is gone already is gone.
        let _ = SockRef::from(client.tcp()).set_linger(Some(Duration::ZERO));
    }
}

/// Says that nothing more comes, and reads what the client still sends: else our answer may be lost with it. Until it has
/// nothing to say for a while, and for so long at most, but for a cut.
pub async fn linger(worker: &Worker, client: &RefCell<Stream>, timer: &mut Timer, most: Duration) {
    worker.unless_cut(pin!(hear_out(worker, client, timer, most))).await;
}

async fn hear_out(worker: &Worker, client: &RefCell<Stream>, timer: &mut Timer, most: Duration) {
    let ends = clock::monotonic() + most;
    let mut room = worker.room();
    let left = || LINGER.min(ends.saturating_sub(clock::monotonic()));
    let said = timer.within(left(), stream::shutdown(client)).await;
    let (mut goes_on, mut seen) = (matches!(said, Ok(Ok(()))), 0);
    while goes_on && seen < MOST_LINGERING {
        room.from_client.clear();
        let read = timer.within(left(), stream::read(client, &mut room.from_client)).await;
        goes_on = matches!(read, Ok(Ok(count)) if count > 0);
        seen += room.from_client.len();
    }
    worker.give_back(room);
}

impl Carrier for RefCell<Stream> {
    const CLOSING_ASKS_AGAIN: bool = true;

    fn protocol(&self, version: Version) -> Protocol {
        match version {
            Version::Http10 => Protocol::Http10,
            Version::Http11 => Protocol::Http11,
        }
    }

    fn stream(&mut self) -> Option<&mut RefCell<Stream>> {
        Some(self)
    }

    /// What has come with the head stands in the buffer already.
    fn gather(&self, _: &mut Buffer) -> usize {
        0
    }

    async fn read(&self, buffer: &mut Buffer) -> io::Result<usize> {
        stream::read(self, buffer).await
    }

    fn framing(&self, body: Body, version: Version) -> Body {
        body.towards(version)
    }

    fn begin(
        &self,
        head: &ResponseHead,
        _: Body,
        version: Version,
        persistence: Persistence,
        out: &mut Vec<u8>,
    ) -> io::Result<usize> {
        head.write(version, persistence, out);
        Ok(0)
    }

    async fn write(
        &self,
        octets: &[u8],
        time: Duration,
        timer: &mut Timer,
    ) -> Result<io::Result<()>, Late> {
        stream::write(self, octets, time, timer).await
    }

    async fn end(
        &self,
        octets: &[u8],
        _: &Trailers,
        persistence: Persistence,
        time: Duration,
        timer: &mut Timer,
    ) -> Result<io::Result<()>, Late> {
        match persistence {
            Persistence::KeepAlive => stream::write(self, octets, time, timer).await,
            Persistence::Close => stream::write_last(self, octets, time, timer).await,
        }
    }

    async fn answer(
        &self,
        octets: &[u8],
        _: &mut ResponseHead,
        time: Duration,
        timer: &mut Timer,
    ) -> Result<io::Result<()>, Late> {
        stream::write(self, octets, time, timer).await
    }
}
