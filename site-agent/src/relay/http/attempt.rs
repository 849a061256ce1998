//! One try at one server: what carries it, and what becomes of the request by what came of it.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use common::clock;

use super::body::{Cut, Stuck, Upload};
use super::carrier::Carrier;
use super::fetch::Fetched;
use super::forward::{Tries, outcome_of};
use super::http2::Call;
use super::record::{Record, Tunnel};
use super::{Connection, Next};
use crate::access_log::{Cause, End, Phase};
use crate::head::{Peer, Scheme};
use crate::link::Seat;
use crate::outlier::Outcome;
use crate::relay::connect::{Handshake, NoConnection, connect};
use crate::relay::seat::{Seated, seat};
use crate::relay::tunnel::tunnel;
use crate::retry::{self, Written};
use crate::site::HttpVersion;
use crate::splice::{Flow, Patience};
use crate::stream::Stream;
use crate::upstream::{Counts, Lease};
use crate::worker::{Front, Local, Room, Traffic};

/// What became of it.
pub(super) enum Attempt {
    Done(Next),
    /// The client was told nothing yet: it is sent again after so long, or answered with this.
    Failed {
        status: u16,
        again: Option<Duration>,
    },
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
        record.try_anew();
        if local.upstream.config.http == HttpVersion::V2 {
            // What that takes is not for every request to have room for.
            let call = self.attempt_over_http2(front, local, lease, room, record, tries, *upload);
            return Box::pin(call).await;
        }
        let (stream, written) = match self.connection(local, lease, record, tries).await {
            Ok(connected) => connected,
            Err(why) => return self.not_connected(local, lease, record, tries, &why),
        };
        self.write_over(record, tries, written, *upload);
        let mut server = RefCell::new(stream);
        let fetched =
            self.exchange_with(front, local, lease, room, record, tries, *upload, &server).await;
        match fetched {
            Ok(Fetched::Whole { is_reusable, persistence }) => {
                if is_reusable && lease.server().config.send_proxy.is_none() {
                    local.park(lease.server(), server.into_inner(), clock::monotonic());
                }
                Attempt::Done(Next::after(persistence))
            }
            Ok(Fetched::Upgraded) => {
                let timeouts = &local.upstream.config.timeouts;
                let half_closed = front.config.timeouts.client_fin.min(timeouts.server_fin);
                let patience = Patience { idle: timeouts.tunnel, half_closed };
                let Room { from_client, from_server, .. } = room;
                let came_early = from_client.len() as u64;
                let tunnel_of = Tunnel { flow: Flow::new(), came_early };
                let (early, flow) =
                    ((from_client, from_server), &record.tunnel.insert(tunnel_of).flow);
                let client = self.client.stream().expect("only HTTP/1 asks for another protocol");
                let ends = (client, &mut server);
                let _counted = Upgraded::new(&front.traffic);
                record.end = tunnel(ends, early, patience, &self.worker.carry, flow).await;
                Attempt::Done(Next::Close)
            }
            other => self.settle(local, lease, record, tries, other),
        }
    }

    /// The same over a stream of HTTP/2.
    #[expect(
        clippy::too_many_arguments,
        reason = "what an attempt is made of, each of it with another life"
    )]
    async fn attempt_over_http2(
        &mut self,
        front: &Rc<Front>,
        local: &Rc<Local>,
        lease: &Lease,
        room: &mut Room,
        record: &mut Record,
        tries: &mut Tries,
        upload: Upload,
    ) -> Attempt {
        // What the server sees of its connection: some refuse any other.
        let is_tls = lease.server().config.tls.is_some();
        let scheme = if is_tls { Scheme::Https } else { Scheme::Http };
        let parts = match room.request.to_parts(scheme) {
            Ok(parts) => parts,
            Err(refusal) => {
                front.traffic.refused.fetch_add(1, Relaxed);
                record.end = End::Cut(Cause::Proxy, Phase::Request);
                return Attempt::Failed { status: refusal.status(Peer::Client), again: None };
            }
        };
        let (seat, written) = match self.seat(local, lease, record).await {
            Ok(seated) => seated,
            Err(why) => return self.not_connected(local, lease, record, tries, &why),
        };
        self.write_over(record, tries, written, upload);
        let call = Call::new(seat, parts, upload == Upload::None);
        let fetched =
            self.exchange_with(front, local, lease, room, record, tries, upload, &call).await;
        match fetched {
            Ok(Fetched::Whole { persistence, .. }) => Attempt::Done(Next::after(persistence)),
            other => {
                let is_late = matches!(
                    other,
                    Ok(Fetched::Nothing(retry::Cause::ResponseTimeout)
                        | Fetched::Cut(Cut::ServerLate))
                );
                if is_late {
                    call.is_late();
                }
                if call.is_reset() {
                    // That is not what a connection which had been idle does.
                    self.write_over(record, tries, Written::OnNew, upload);
                }
                self.settle(local, lease, record, tries, other)
            }
        }
    }

    /// It is to be written, to a server that is there.
    fn write_over(&self, record: &mut Record, tries: &mut Tries, written: Written, upload: Upload) {
        record.end = End::Complete;
        let body = if upload == Upload::Streamed { retry::Body::Gone } else { upload.kept() };
        tries.write(written, body);
    }

    fn not_connected(
        &self,
        local: &Local,
        lease: &Lease,
        record: &mut Record,
        tries: &Tries,
        why: &NoConnection,
    ) -> Attempt {
        let is_late = matches!(why, NoConnection::Late);
        let cause = if is_late { Cause::ServerTimeout } else { Cause::ServerAbort };
        record.end = End::Cut(cause, Phase::Connect);
        let again = self.failed(local, lease, tries, retry::Cause::NotConnected);
        Attempt::Failed { status: 503, again }
    }

    /// What becomes of a request of which no whole response came.
    fn settle(
        &self,
        local: &Local,
        lease: &Lease,
        record: &mut Record,
        tries: &Tries,
        fetched: Result<Fetched, Stuck>,
    ) -> Attempt {
        match fetched {
            Ok(Fetched::Nothing(cause)) => {
                let (log, status) = match cause {
                    retry::Cause::ResponseTimeout => (Cause::ServerTimeout, 504),
                    retry::Cause::JunkResponse => (Cause::Proxy, 502),
                    retry::Cause::NotConnected
                    | retry::Cause::EmptyResponse
                    | retry::Cause::Unprocessed
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
                record.end = End::Cut(cause, record.phase());
                Attempt::Done(Next::Reset)
            }
            // Where the protocol cannot become another, a response that says so is junk before it gets here.
            Ok(Fetched::Whole { persistence, .. }) => Attempt::Done(Next::after(persistence)),
            Ok(Fetched::Upgraded) => Attempt::Done(Next::Close),
            // The request itself did not come to its end, and nothing was answered.
            Err(stuck) => {
                let (cause, status) = match stuck {
                    Stuck::ClientGone => (Cause::ClientAbort, None),
                    Stuck::ClientLate => (Cause::ClientTimeout, Some(408)),
                    Stuck::Refused(refusal) => (Cause::Proxy, Some(refusal.status(Peer::Client))),
                    Stuck::Server => (Cause::ServerAbort, Some(502)),
                };
                record.end = End::Cut(cause, record.phase());
                match status {
                    Some(status) => Attempt::Failed { status, again: None },
                    None => Attempt::Done(Next::Close),
                }
            }
        }
    }

    /// Room for a stream, on a connection that is there or is made.
    async fn seat(
        &mut self,
        local: &Local,
        lease: &Lease,
        record: &mut Record,
    ) -> Result<(Seat, Written), NoConnection> {
        let (server, began) = (lease.server(), clock::monotonic());
        let found = seat(server, local, self.caller, &mut self.timer).await;
        let now = clock::monotonic();
        match found {
            Ok(Seated::Before(_)) => {}
            Ok(Seated::Anew(_)) | Err(_) => record.connecting += now.saturating_sub(began),
        }
        let found = found?;
        record.connected();
        match found {
            Seated::Before(seat) => {
                Counts::count(&server.counts.reused);
                let written = if seat.was_idle { Written::OnIdle } else { Written::OnNew };
                Ok((seat, written))
            }
            Seated::Anew(seat) => {
                local.upstream.on_outcome(now, server, Outcome::Connected);
                Ok((seat, Written::OnNew))
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
            record.connected();
            return Ok((stream, Written::OnIdle));
        }
        let (began, within) = (clock::monotonic(), local.upstream.config.timeouts.connect);
        let made = connect(server, self.caller, Handshake::Plain, within, &mut self.timer).await;
        let now = clock::monotonic();
        record.connecting += now.saturating_sub(began);
        let made = made?;
        record.connected();
        local.upstream.on_outcome(now, server, Outcome::Connected);
        Ok((made, Written::OnNew))
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
        // A server that closes an idle connection does nothing wrong, nor does one that says that it goes.
        let is_fair = cause == retry::Cause::Unprocessed
            || tries.is_on_idle() && cause == retry::Cause::EmptyResponse;
        if !is_fair {
            local.upstream.on_outcome(clock::monotonic(), server, outcome_of(cause));
        }
        tries.again(local, self.worker.dice(), lease, cause)
    }
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
