//! HTTP/1 from a client to servers that speak HTTP/1: one task, one request after the other.
//!
//! serve: (readable) ─▶ head ─▶ client ─▶ route ─▶ `forward`: pick, place ─▶ `attempt` ─▶ again, or done ─▶ `record`
//!                                        └▶ `answer`
//!
//! A connection that waits for its next request holds a socket and a timer. What a request takes is lent by the thread
//! (`Room`), and what is behind it on the connection is read in turn.

mod answer;
mod attempt;
mod body;
mod forward;
mod record;

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use common::clock;
use socket2::SockRef;

use self::answer::Answer;
use self::record::Record;
use super::connect::Caller;
use crate::access_log::{Cause, End, Phase};
use crate::head::{Body, Form, Persistence, Progress, Refusal, RequestHead, Scheme, Version};
use crate::route::{Outcome, https_location, route};
use crate::rules::path::normal;
use crate::rules::{Http, Request};
use crate::site::PoolId;
use crate::stream::{self, Late, Stream, Timer};
use crate::worker::{Front, Room, Worker};

/// For so long, and so many octets, a client may go on sending what nobody reads, so that it reads our answer before it
/// hears that the connection is gone (RFC 9112 §9.6).
const LINGER: Duration = Duration::from_secs(2);
const MOST_LINGERING: usize = 1 << 20;

/// One connection of a client.
pub struct Connection<'c> {
    worker: &'c Worker,
    caller: &'c Caller,
    client: RefCell<Stream>,
    timer: Timer,
    /// Requests before this one.
    requests: u64,
}

/// What becomes of the connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Next {
    /// It waits for another request.
    Request,
    Close,
    /// It is cut, so that nobody takes what came for the whole.
    Reset,
    /// It is closed once the client has had time to read the answer.
    Linger,
}

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
        let first = connection.first_octets(wait).await;
        is_idle.set(false);
        let Some(mut room) = first else { return };
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
            Next::Linger => return connection.linger().await,
        }
    }
}

impl Connection<'_> {
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

    /// Whether nobody is to wait for another request here.
    fn is_over(&self, front: &Front) -> bool {
        self.worker.is_stopping() || front.is_gone()
    }

    /// One request and its answer.
    async fn exchange(&mut self, front: &Rc<Front>, room: &mut Room) -> Next {
        let mut record = Record::begin(front);
        if let Err(why) = self.head(front, room, record.began).await {
            if matches!(why, NoRequest::Gone) && room.from_client.is_empty() {
                return Next::Close;
            }
            let next = self.refuse(front, room, &mut record, why).await;
            record.close(front, self.caller, None);
            return next;
        }
        record.head = Some(record.elapsed());
        let next = self.respond(front, room, &mut record).await;
        record.close(front, self.caller, Some(&room.request));
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
    async fn refuse(
        &mut self,
        front: &Front,
        room: &mut Room,
        record: &mut Record,
        why: NoRequest,
    ) -> Next {
        let (status, cause) = match why {
            NoRequest::Gone => {
                record.end = End::Cut(Cause::ClientAbort, Phase::Request);
                return Next::Close;
            }
            NoRequest::Late => (408, Cause::ClientTimeout),
            NoRequest::Refused(refusal) => {
                front.traffic.refused.fetch_add(1, Relaxed);
                (refusal.status(crate::head::Peer::Client), Cause::Proxy)
            }
        };
        record.end = End::Cut(cause, Phase::Request);
        self.answer(front, room, record, &Answer::Status(status, None), Persistence::Close).await
    }

    /// Answers a request whose head is read.
    async fn respond(&mut self, front: &Rc<Front>, room: &mut Room, record: &mut Record) -> Next {
        let scheme = if self.caller.is_tls { Scheme::Https } else { Scheme::Http };
        let peer = self.caller.client.ip();
        let client = front.trust.client(peer, scheme, room.request.fields());
        let outcome = match self.outcome(front, &room.request, client.address, &mut room.path) {
            Ok(outcome) => outcome,
            Err(status) => {
                front.traffic.refused.fetch_add(1, Relaxed);
                record.end = End::Cut(Cause::Proxy, Phase::Request);
                return self.answer_whole(front, room, record, &Answer::Status(status, None)).await;
            }
        };
        match outcome {
            Outcome::Pool(pool) => self.pass_on(front, room, record, pool, client).await,
            Outcome::Deny(status) => {
                front.traffic.denied.fetch_add(1, Relaxed);
                record.end = End::Cut(Cause::Proxy, Phase::Request);
                let answer = Answer::Status(status.get(), None);
                self.answer_whole(front, room, record, &answer).await
            }
            Outcome::Close => {
                front.traffic.denied.fetch_add(1, Relaxed);
                record.end = End::Cut(Cause::Proxy, Phase::Request);
                Next::Close
            }
            Outcome::NoPool => {
                record.end = End::Cut(Cause::ServerAbort, Phase::Connect);
                self.answer_whole(front, room, record, &Answer::Status(503, None)).await
            }
            Outcome::RedirectHttps(code) => {
                let mut location = vec![];
                let host = Some(room.request.authority());
                let written = https_location(host, room.request.target(), &mut location);
                let answer = match written {
                    Ok(()) => Answer::Redirect(code.status(), &location),
                    Err(_) => Answer::Status(400, None),
                };
                record.end = End::Cut(Cause::Local, Phase::Request);
                self.answer_whole(front, room, record, &answer).await
            }
        }
    }

    /// What the rules make of a request; the status of one that they cannot judge.
    fn outcome(
        &self,
        front: &Front,
        head: &RequestHead,
        client: std::net::IpAddr,
        path: &mut Vec<u8>,
    ) -> Result<Outcome, u16> {
        if matches!(head.form(), Form::Authority) {
            return Err(405);
        }
        let routing = &front.config.routing;
        path.clear();
        // Where no rule looks at the path, it is the servers' affair alone.
        let seen = if routing.needs.path { head.path() } else { b"/" };
        let path = normal(seen, path).map_err(|_| 400u16)?;
        let authority = head.authority();
        let headers = |name: &str, take: &mut dyn FnMut(&[u8]) -> bool| {
            head.fields().all(name.as_bytes()).any(&mut *take)
        };
        let request = Request {
            src: client,
            port: self.caller.local.port(),
            is_tls: self.caller.is_tls,
            sni: self.caller.server_name.as_deref(),
            http: Some(Http {
                method: head.method(),
                host: (!authority.is_empty()).then_some(authority),
                path,
                query: head.query().unwrap_or_default(),
                headers: &headers,
            }),
        };
        Ok(route(routing, &request).outcome)
    }

    /// Answers ourselves. What the request has of a body is not read, and so ends the connection.
    async fn answer_whole(
        &mut self,
        front: &Front,
        room: &mut Room,
        record: &mut Record,
        answer: &Answer<'_>,
    ) -> Next {
        // Behind CONNECT comes what is for somebody else, if anything.
        let has_body = !matches!(room.request.body(), Body::None | Body::Length(0))
            || matches!(room.request.form(), Form::Authority);
        let persistence = match room.request.persistence() {
            Persistence::KeepAlive if !has_body && !self.is_over(front) => Persistence::KeepAlive,
            Persistence::KeepAlive | Persistence::Close => Persistence::Close,
        };
        self.answer(front, room, record, answer, persistence).await
    }

    async fn answer(
        &mut self,
        front: &Front,
        room: &mut Room,
        record: &mut Record,
        answer: &Answer<'_>,
        persistence: Persistence,
    ) -> Next {
        // Of what was refused nothing is known, and its answer has a body.
        let (version, is_head) = match record.head {
            Some(_) => (room.request.version(), room.request.method() == b"HEAD"),
            None => (Version::Http11, false),
        };
        let hsts = front.hsts.as_deref().filter(|_| self.caller.is_tls);
        room.down.clear();
        answer.write(version, persistence, is_head, hsts, &mut room.down);
        record.status = Some(answer.status());
        record.sent += room.down.len() as u64;
        let within = front.config.timeouts.client;
        let written = stream::write(&self.client, &room.down, within, &mut self.timer).await;
        match (written, persistence) {
            (Ok(Ok(())), Persistence::KeepAlive) => Next::Request,
            (Ok(Ok(())), Persistence::Close) => Next::Linger,
            (Ok(Err(_)) | Err(Late), _) => Next::Close,
        }
    }

    /// Passes a request on to a pool.
    async fn pass_on(
        &mut self,
        front: &Rc<Front>,
        room: &mut Room,
        record: &mut Record,
        pool: PoolId,
        client: crate::client::Client,
    ) -> Next {
        let local = Rc::clone(front.pool(pool));
        record.pool = Some(std::sync::Arc::clone(&local.upstream));
        match self.forward(front, &local, room, record, client).await {
            forward::Done::Next(next) => next,
            forward::Done::Answer(status) => {
                let answer = Answer::Status(status, Some(&local.upstream.config));
                self.answer_whole(front, room, record, &answer).await
            }
        }
    }

    /// The client hears of it as of a failure.
    fn reset(&self) {
        let client = self.client.borrow();
        // One that is gone already is gone.
        let _ = SockRef::from(client.tcp()).set_linger(Some(Duration::ZERO));
    }

    /// Says that nothing more comes, and reads what the client still sends: else our answer may be lost with it.
    async fn linger(&mut self) {
        let (client, mut room) = (&self.client, self.worker.room());
        let drain = async {
            if stream::shutdown(client).await.is_err() {
                return;
            }
            let mut seen = 0;
            while seen < MOST_LINGERING {
                room.from_client.clear();
                match stream::read(client, &mut room.from_client).await {
                    Ok(0) | Err(_) => return,
                    Ok(count) => seen += count,
                }
            }
        };
        let _ = self.timer.within(LINGER, drain).await;
        self.worker.give_back(room);
    }
}
