//! Requests of a client to servers.
//!
//! `http1`, `http2`: head ─▶ client ─▶ route ─▶ `forward`: pick, place ─▶ `attempt`, `fetch` ─▶ again, or done ─▶ `record`
//!                                     └▶ `answer`
//!
//! What of this depends on what the client speaks is behind `carrier`, and on what the server speaks behind `leg`.

mod answer;
mod attempt;
mod body;
mod carrier;
mod fetch;
mod forward;
pub mod http1;
pub mod http2;
mod leg;
mod record;

use std::rc::Rc;
use std::sync::atomic::Ordering::Relaxed;

use self::answer::{Answer, is_grpc};
use self::carrier::Carrier;
use self::record::Record;
use super::connect::Caller;
use crate::access_log::{Cause, End, Phase};
use crate::head::{Body, Form, Peer, Persistence, Refusal, RequestHead, Scheme, Version};
use crate::route::{Outcome, https_location, route};
use crate::rules::path::normal;
use crate::rules::{Http, Request, is_same_host};
use crate::site::PoolId;
use crate::stream::{Late, Timer};
use crate::worker::{Front, Room, Worker};

/// One connection of a client, or as much of it as carries one request.
struct Connection<'c, C> {
    worker: &'c Worker,
    caller: &'c Caller,
    client: C,
    timer: Timer,
    /// Requests on the whole connection before this one.
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

impl Next {
    fn after(persistence: Persistence) -> Next {
        match persistence {
            Persistence::KeepAlive => Next::Request,
            Persistence::Close => Next::Linger,
        }
    }
}

impl<C: Carrier> Connection<'_, C> {
    /// Whether nobody is to wait for another request here.
    fn is_over(&self, front: &Front) -> bool {
        self.worker.is_stopping() || front.is_gone()
    }

    /// What came is no request that we would pass on.
    async fn refuse(
        &mut self,
        front: &Front,
        room: &mut Room,
        record: &mut Record,
        refusal: Refusal,
    ) -> Next {
        front.traffic.refused.fetch_add(1, Relaxed);
        record.end = End::Cut(Cause::Proxy, Phase::Request);
        let answer = Answer::Status(refusal.status(Peer::Client), None);
        self.answer(front, room, record, &answer, Persistence::Close).await
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
        let sni = self.caller.server_name.as_deref().filter(|_| routing.needs.sni);
        // RFC 9110 §15.5.20: rules see the name of the handshake, and clients put requests for others on a connection
        // whose certificate names those too (RFC 9113 §9.1.1).
        if sni.is_some_and(|sni| !is_same_host(sni, authority)) {
            return Err(421);
        }
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
        match answer {
            Answer::Status(..) if record.head.is_some() && is_grpc(&room.request) => {
                answer.write_for_grpc(persistence, &mut room.down);
            }
            Answer::Status(..) | Answer::Redirect(..) => {
                answer.write(version, persistence, is_head, hsts, &mut room.down);
            }
        }
        record.status = Some(answer.status());
        record.sent += room.down.len() as u64;
        let within = front.config.timeouts.client;
        let (client, head) = (&self.client, &mut room.response);
        let written = client.answer(&room.down, head, within, &mut self.timer).await;
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
}
