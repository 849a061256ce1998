//! One try at one server: a connection, the request up, the response down.

use std::cell::{Cell, RefCell};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use common::clock;

pub use super::body::Upload;
use super::body::{Cut, Down, Sides, Stuck, up};
use super::carrier::Carrier;
use super::forward::{Tries, outcome_of};
use super::record::Record;
use super::{Connection, Next};
use crate::access_log::{Cause, End, Phase};
use crate::head::{self, Asked, Body, Peer, Persistence, Version};
use crate::outlier::Outcome;
use crate::relay::connect::{NoConnection, connect};
use crate::relay::tunnel::tunnel;
use crate::retry::{self, Written};
use crate::splice::{Flow, Patience};
use crate::stream::{self, Buffer, Stream};
use crate::upstream::{Counts, Lease};
use crate::worker::{Front, Local, Room, Traffic, Worker};

/// What became of it.
pub(super) enum Attempt {
    Done(Next),
    /// The client was told nothing yet: it is sent again after so long, or answered with this.
    Failed {
        status: u16,
        again: Option<Duration>,
    },
}

/// What came of the server's side.
enum Fetched {
    /// The client has the response.
    Whole { is_reusable: bool, persistence: Persistence },
    /// The protocol is another one now.
    Upgraded,
    /// The client was told nothing.
    Nothing(retry::Cause),
    /// A response that is worth another try.
    Again { status: u16, wait: Duration },
    /// The client has a part of it.
    Cut(Cut),
}

/// What a response is to become for this client.
struct Toward<'t> {
    front: &'t Front,
    asked: Asked,
    version: Version,
    worker: &'t Worker,
    /// What the client would have of its connection.
    asks_for: Persistence,
    is_tls: bool,
}

impl<C: Carrier> Connection<'_, C> {
    #[expect(
        clippy::too_many_arguments,
        reason = "what an attempt is made of, each of it with another life"
    )]
    pub(super) async fn attempt(
        &mut self,
        front: &Rc<Front>,
        local: &Rc<Local>,
        lease: &Lease,
        room: &mut Room,
        record: &mut Record,
        tries: &mut Tries,
        upload: &Upload,
    ) -> Attempt {
        tries.write(Written::Nothing, upload.kept());
        let (stream, written) = match self.connection(local, lease, record, tries).await {
            Ok(connected) => connected,
            Err(why) => {
                let is_late = matches!(why, NoConnection::Late);
                let cause = if is_late { Cause::ServerTimeout } else { Cause::ServerAbort };
                record.end = End::Cut(cause, Phase::Connect);
                let again = self.failed(local, lease, tries, retry::Cause::NotConnected);
                return Attempt::Failed { status: 503, again };
            }
        };
        record.end = End::Complete;
        let body = if *upload == Upload::Streamed { retry::Body::Gone } else { upload.kept() };
        tries.write(written, body);
        let mut server = RefCell::new(stream);
        let fetched =
            self.exchange_with(front, local, lease, room, record, tries, *upload, &server).await;
        if let Upload::Whole(taken) = upload
            && !matches!(fetched, Ok(Fetched::Nothing(_) | Fetched::Again { .. }))
        {
            room.from_client.take(*taken);
        }
        match fetched {
            Ok(Fetched::Whole { is_reusable, persistence }) => {
                if is_reusable && lease.server().config.send_proxy.is_none() {
                    local.park(lease.server(), server.into_inner(), clock::monotonic());
                }
                let next = match persistence {
                    Persistence::KeepAlive => Next::Request,
                    Persistence::Close => Next::Linger,
                };
                Attempt::Done(next)
            }
            Ok(Fetched::Upgraded) => {
                let timeouts = &local.upstream.config.timeouts;
                let half_closed = front.config.timeouts.client_fin.min(timeouts.server_fin);
                let patience = Patience { idle: timeouts.tunnel, half_closed };
                let Room { from_client, from_server, .. } = room;
                let came_early = from_client.len() as u64;
                let (early, flow) = ((from_client, from_server), Flow::new());
                let client = self.client.stream().expect("only HTTP/1 asks for another protocol");
                let ends = (client, &mut server);
                let _counted = Upgraded::new(&front.traffic);
                record.end = tunnel(ends, early, patience, &self.worker.carry, &flow).await;
                front.traffic.received.fetch_add(flow.up().saturating_sub(came_early), Relaxed);
                Counts::add(&lease.server().counts.sent, flow.up());
                Counts::add(&lease.server().counts.received, flow.down());
                record.sent += flow.down();
                Attempt::Done(Next::Close)
            }
            Ok(Fetched::Nothing(cause)) => {
                let (log, status) = match cause {
                    retry::Cause::ResponseTimeout => (Cause::ServerTimeout, 504),
                    retry::Cause::JunkResponse => (Cause::Proxy, 502),
                    retry::Cause::NotConnected
                    | retry::Cause::EmptyResponse
                    | retry::Cause::EarlyDataRejected
                    | retry::Cause::Status(_) => (Cause::ServerAbort, 502),
                };
                record.end = End::Cut(log, Phase::Response);
                let is_stale = tries.is_on_idle() && cause == retry::Cause::EmptyResponse;
                match self.failed(local, lease, tries, cause) {
                    // As if the client's own connection had been closed: it knows whether to try again.
                    None if is_stale && self.requests > 0 && C::CLOSING_ASKS_AGAIN => {
                        Attempt::Done(Next::Close)
                    }
                    again => Attempt::Failed { status, again },
                }
            }
            Ok(Fetched::Again { status, wait }) => Attempt::Failed { status, again: Some(wait) },
            Ok(Fetched::Cut(cut)) => {
                let cause = match cut {
                    Cut::ClientGone => Cause::ClientAbort,
                    Cut::ClientLate => Cause::ClientTimeout,
                    Cut::ServerLate => Cause::ServerTimeout,
                    Cut::ServerGone => Cause::ServerAbort,
                    Cut::Junk => Cause::Proxy,
                };
                if matches!(cut, Cut::ServerLate | Cut::ServerGone | Cut::Junk) {
                    Counts::count(&lease.server().counts.response_errors);
                }
                record.end = End::Cut(cause, Phase::Data);
                Attempt::Done(Next::Reset)
            }
            // The request itself did not come to its end, and nothing was answered.
            Err(stuck) => {
                let (cause, status) = match stuck {
                    Stuck::ClientGone => (Cause::ClientAbort, None),
                    Stuck::ClientLate => (Cause::ClientTimeout, Some(408)),
                    Stuck::Refused(refusal) => (Cause::Proxy, Some(refusal.status(Peer::Client))),
                    Stuck::Server => (Cause::ServerAbort, Some(502)),
                };
                record.end = End::Cut(cause, Phase::Data);
                match status {
                    Some(status) => Attempt::Failed { status, again: None },
                    None => Attempt::Done(Next::Close),
                }
            }
        }
    }

    /// A connection that was idle, or a new one.
    async fn connection(
        &mut self,
        local: &Local,
        lease: &Lease,
        record: &mut Record,
        tries: &Tries,
    ) -> Result<(Stream, Written), NoConnection> {
        let server = lease.server();
        // HAProxy's `http-reuse safe`: what cannot be sent again goes over an idle connection only for a client that has
        // seen this one answer, and so knows to try again.
        let may_reuse = tries.retries() == 0
            && (tries.method() == retry::Method::Idempotent || self.requests > 0)
            && server.config.send_proxy.is_none();
        if may_reuse && let Some(stream) = local.unpark(server, clock::monotonic()) {
            Counts::count(&server.counts.reused);
            record.connect.get_or_insert(Duration::ZERO);
            return Ok((stream, Written::OnIdle));
        }
        let (began, within) = (clock::monotonic(), local.upstream.config.timeouts.connect);
        let made = connect(server, self.caller, within, &mut self.timer).await;
        let (now, before) = (clock::monotonic(), record.connect.unwrap_or_default());
        record.connect = Some(before + now.saturating_sub(began));
        if made.is_ok() {
            local.upstream.on_outcome(now, server, Outcome::Connected);
        }
        Ok((made?, Written::OnNew))
    }

    /// Nothing came of it that could be passed on: after how long it is sent again, if it is.
    fn failed(
        &self,
        local: &Local,
        lease: &Lease,
        tries: &Tries,
        cause: retry::Cause,
    ) -> Option<Duration> {
        let server = lease.server();
        if cause != retry::Cause::NotConnected {
            Counts::count(&server.counts.response_errors);
        }
        // A server that closes an idle connection does nothing wrong.
        if !(tries.is_on_idle() && cause == retry::Cause::EmptyResponse) {
            local.upstream.on_outcome(clock::monotonic(), server, outcome_of(cause));
        }
        tries.again(local, self.worker.dice(), lease, cause)
    }

    /// Sends the request and passes the response on, both at once where the request is still coming.
    #[expect(
        clippy::too_many_arguments,
        reason = "what an attempt is made of, each of it with another life"
    )]
    async fn exchange_with(
        &mut self,
        front: &Rc<Front>,
        local: &Rc<Local>,
        lease: &Lease,
        room: &mut Room,
        record: &mut Record,
        tries: &Tries,
        upload: Upload,
        server: &RefCell<Stream>,
    ) -> Result<Fetched, Stuck> {
        let Room { request, response, from_client, from_server, up: head, down: out, .. } = room;
        from_server.clear();
        out.clear();
        response.clear();
        let sides = Sides {
            client: &self.client,
            server,
            client_time: front.config.timeouts.client,
            server_time: local.upstream.config.timeouts.server,
        };
        let toward = Toward {
            front,
            asked: request.asked(),
            version: request.version(),
            worker: self.worker,
            asks_for: request.persistence(),
            is_tls: self.caller.is_tls,
        };
        let (received, is_up) = (Cell::new(0), Cell::new(upload != Upload::Streamed));
        let has_begun = Cell::new(false);
        let is_private = has_own_connection(request.fields(), b"Authorization");
        let (dice, sent_at) = (self.worker.dice(), clock::monotonic());
        let Record { sent, response: answered, status, .. } = record;
        let again = |cause| {
            local
                .upstream
                .policy
                .on
                .names(cause)
                .then(|| tries.again(local, dice, lease, cause))
                .flatten()
        };
        let mut down = Down {
            sides: &sides,
            timer: &mut self.timer,
            limits: &RESPONSES,
            sent,
            received: &received,
            is_up: &is_up,
            has_begun: &has_begun,
        };
        *answered = None;
        let down = async {
            if upload != Upload::Streamed {
                // Whether it was taken is seen by what comes: an answer may be there already.
                let written = stream::write(server, head, sides.server_time, down.timer).await;
                if written.is_err() {
                    return Fetched::Nothing(retry::Cause::ResponseTimeout);
                }
                Counts::add(&lease.server().counts.sent, head.len() as u64);
            }
            let head = fetch_head(&mut down, &toward, response, from_server, out).await;
            let body = match head {
                Ok(body) => body,
                Err(fetched) => return fetched,
            };
            let (now, found) = (clock::monotonic(), response.status());
            *answered = Some(now.saturating_sub(sent_at));
            local.upstream.on_outcome(now, lease.server(), Outcome::Answered(found));
            if found >= 400
                && is_up.get()
                && let Some(wait) = again(retry::Cause::Status(found))
            {
                return Fetched::Again { status: found, wait };
            }
            *status = Some(found);
            fetch_body(&mut down, &toward, response, body, from_server, out).await
        };
        let fetched = if upload == Upload::Streamed {
            let body = request.body();
            let up = up(&sides, front, head, body, from_client, lease.server());
            both(up, down, &is_up, &has_begun).await
        } else {
            Ok(down.await)
        };
        Counts::add(&lease.server().counts.received, received.get());
        let is_clean = from_server.is_empty() && !toward.is_old(request) && !is_private;
        fetched.map(|fetched| match fetched {
            Fetched::Whole { is_reusable, persistence } => {
                Fetched::Whole { is_reusable: is_reusable && is_clean, persistence }
            }
            other => other,
        })
    }
}

/// What servers may send: nobody configures it.
const RESPONSES: head::Limits = head::Limits::OURS;

/// Request up and response down. Once the client was told anything, what becomes of the request only says whether its
/// connections are used again.
async fn both(
    up: impl Future<Output = Result<(), Stuck>>,
    down: impl Future<Output = Fetched>,
    is_up: &Cell<bool>,
    has_begun: &Cell<bool>,
) -> Result<Fetched, Stuck> {
    let (mut up, mut down) = (pin!(up), pin!(down));
    let mut is_whole = None;
    let fetched = loop {
        tokio::select! {
            biased;
            fetched = &mut down => break fetched,
            done = &mut up, if is_whole.is_none() => {
                is_up.set(true);
                match done {
                    Ok(()) => is_whole = Some(true),
                    // It may have answered before it hung up.
                    Err(Stuck::Server) => is_whole = Some(false),
                    Err(_) if has_begun.get() => is_whole = Some(false),
                    Err(stuck) => return Err(stuck),
                }
            }
        }
    };
    // A server that has answered before it heard all may take the rest for another request, and so is told no more.
    Ok(match fetched {
        Fetched::Whole { .. } if is_whole != Some(true) => {
            Fetched::Whole { is_reusable: false, persistence: Persistence::Close }
        }
        other => other,
    })
}

/// Reads the response's head, and passes on those that come before it (1xx).
async fn fetch_head<C: Carrier>(
    down: &mut Down<'_, C>,
    toward: &Toward<'_>,
    response: &mut head::ResponseHead,
    buffer: &mut Buffer,
    out: &mut Vec<u8>,
) -> Result<Body, Fetched> {
    loop {
        match response.read(buffer.octets(), down.limits) {
            Ok(Some(count)) => {
                buffer.take(count);
                if !response.is_interim() {
                    let junk = |_| Fetched::Nothing(retry::Cause::JunkResponse);
                    return response.body(toward.asked).map_err(junk);
                }
                if toward.version == Version::Http11 {
                    response.strip();
                    response.set_body(Body::None);
                    let (version, persistence) = (toward.version, Persistence::KeepAlive);
                    let begun = down.begin(response, Body::None, version, persistence, out);
                    begun.map_err(Fetched::Cut)?;
                    down.write(out).await.map_err(Fetched::Cut)?;
                    out.clear();
                }
            }
            Ok(None) => match down.read(buffer).await {
                Ok(true) => {}
                Err(Cut::ServerLate) => {
                    return Err(Fetched::Nothing(retry::Cause::ResponseTimeout));
                }
                Ok(false) | Err(_) if buffer.is_empty() => {
                    return Err(Fetched::Nothing(retry::Cause::EmptyResponse));
                }
                Ok(false) | Err(_) => {
                    return Err(Fetched::Nothing(retry::Cause::JunkResponse));
                }
            },
            Err(_) => return Err(Fetched::Nothing(retry::Cause::JunkResponse)),
        }
    }
}

/// Passes the response on.
async fn fetch_body<C: Carrier>(
    down: &mut Down<'_, C>,
    toward: &Toward<'_>,
    response: &mut head::ResponseHead,
    body: Body,
    buffer: &mut Buffer,
    out: &mut Vec<u8>,
) -> Fetched {
    let is_reusable = response.persistence(toward.asked) == Persistence::KeepAlive
        && !has_own_connection(response.fields(), b"WWW-Authenticate");
    let is_upgraded = response.status() == 101;
    response.strip();
    let goes = down.sides.client.framing(body, toward.version);
    response.set_body(goes);
    if let Some(hsts) = toward.front.hsts.as_deref().filter(|_| toward.is_tls) {
        let set = response.fields_mut().set(b"Strict-Transport-Security", hsts.as_bytes());
        set.expect("it is text of our own");
    }
    let is_over = toward.worker.is_stopping() || toward.front.is_gone();
    let keeps = goes.has_end() && !is_over && down.is_up.get();
    let persistence = if keeps { toward.asks_for } else { Persistence::Close };
    if let Err(cut) = down.begin(response, goes, toward.version, persistence, out) {
        return Fetched::Cut(cut);
    }
    let passed = down.body(body, goes, buffer, out).await;
    match passed {
        Err(cut) => Fetched::Cut(cut),
        Ok(()) if is_upgraded => Fetched::Upgraded,
        Ok(()) => Fetched::Whole { is_reusable, persistence },
    }
}

/// Whether a connection is somebody's once it has seen this: NTLM and its kin vouch for connections, not for requests.
fn has_own_connection(fields: &head::Fields, name: &[u8]) -> bool {
    let is_one = |value: &[u8]| {
        let scheme = value.trim_ascii().split(|octet| *octet == b' ').next().unwrap_or_default();
        scheme.eq_ignore_ascii_case(b"NTLM") || scheme.eq_ignore_ascii_case(b"Negotiate")
    };
    fields.all(name).any(|value| value.split(|octet| *octet == b',').any(is_one))
}

/// A connection counts as upgraded until this is dropped.
struct Upgraded(Arc<Traffic>);

impl Upgraded {
    fn new(traffic: &Arc<Traffic>) -> Upgraded {
        traffic.upgraded.fetch_add(1, Relaxed);
        Upgraded(Arc::clone(traffic))
    }
}

impl Drop for Upgraded {
    fn drop(&mut self) {
        self.0.upgraded.fetch_sub(1, Relaxed);
    }
}

impl Toward<'_> {
    /// A request without a host goes on as HTTP/1.0, after which a server hangs up.
    fn is_old(&self, request: &head::RequestHead) -> bool {
        self.version == Version::Http10 && request.authority().is_empty()
    }
}
