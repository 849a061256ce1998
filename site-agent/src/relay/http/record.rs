//! What is known of one request, for the log and the counters.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use common::clock;
use jiff::Timestamp;

use crate::access_log::{Ahead, Counts, End, Entry, Phase, Protocol, RequestLine, Subject};
use crate::head::{RequestHead, Scheme};
use crate::relay::Caller;
use crate::splice::Flow;
use crate::upstream::{self, Server, Upstream};
use crate::worker::Front;

#[derive(Debug)]
pub struct Record {
    at: Timestamp,
    /// On the monotonic clock.
    pub began: Duration,
    pub head: Option<Duration>,
    pub queue: Option<Duration>,
    /// `None` until the last server that was tried is connected to.
    pub connect: Option<Duration>,
    /// Spent on connecting so far, whether or not it came to anything.
    pub connecting: Duration,
    pub response: Option<Duration>,
    pub pool: Option<Arc<Upstream>>,
    pub server: Option<Arc<Server>>,
    pub status: Option<u16>,
    /// Whether that is a server's, and counted.
    pub is_servers: bool,
    /// To the client, heads included.
    pub sent: u64,
    pub retries: u32,
    pub is_redispatched: bool,
    pub ahead: Ahead,
    pub end: End,
    /// What it has become, if that is no HTTP any more.
    pub tunnel: Option<Tunnel>,
}

/// What moves both ways behind an upgrade.
#[derive(Debug)]
pub struct Tunnel {
    pub flow: Flow,
    /// Octets of the client that came before, and are counted.
    pub came_early: u64,
}

impl Record {
    /// The wall clock is asked only where a line is written.
    pub fn begin(front: &Front) -> Record {
        Record {
            at: if front.logs() { clock::now() } else { Timestamp::UNIX_EPOCH },
            began: clock::monotonic(),
            head: None,
            queue: None,
            connect: None,
            connecting: Duration::ZERO,
            response: None,
            pool: None,
            server: None,
            status: None,
            is_servers: false,
            sent: 0,
            retries: 0,
            is_redispatched: false,
            ahead: Ahead::default(),
            end: End::Complete,
            tunnel: None,
        }
    }

    /// It is sent once more, if it was sent before: what that came to is nothing that the log has.
    pub fn try_anew(&mut self) {
        (self.connect, self.response) = (None, None);
    }

    /// There is a connection to the server.
    pub fn connected(&mut self) {
        self.connect = Some(self.connecting);
    }

    /// Since the request's first octet.
    pub fn elapsed(&self) -> Duration {
        clock::monotonic().saturating_sub(self.began)
    }

    /// What is under way. Until a response's head has come that is waited for, be the request still on its way.
    pub fn phase(&self) -> Phase {
        match self {
            Record { pool: None, .. } => Phase::Request,
            Record { server: None, .. } => Phase::Queue,
            Record { connect: None, .. } => Phase::Connect,
            Record { status: None, .. } => Phase::Response,
            Record { .. } => Phase::Data,
        }
    }

    /// It has ended.
    pub fn close(
        mut self,
        front: &Front,
        caller: &Caller,
        request: Option<(&RequestHead, Protocol)>,
    ) {
        let traffic = &front.traffic;
        traffic.requests.fetch_add(1, Relaxed);
        traffic.answers.count(self.status);
        if let Some(pool) = &self.pool
            && !self.is_servers
        {
            pool.answers.count(self.status);
        }
        if let Some(Tunnel { flow, came_early }) = &self.tunnel {
            traffic.received.fetch_add(flow.up().saturating_sub(*came_early), Relaxed);
            self.sent += flow.down();
            if let Some(server) = &self.server {
                upstream::Counts::add(&server.counts.sent, flow.up());
                upstream::Counts::add(&server.counts.received, flow.down());
            }
        }
        if let Some(server) = &self.server {
            server.counts.ended(self.end);
        }
        traffic.sent.fetch_add(self.sent, Relaxed);
        if !front.logs() {
            return;
        }
        let whole = request.and_then(|(head, protocol)| whole_target(head, protocol, caller));
        let line = request.map(|(head, protocol)| RequestLine {
            method: head.method(),
            target: whole.as_deref().unwrap_or(head.target()),
            protocol,
        });
        let current = traffic.current.load(Relaxed);
        let pool = self.pool.as_deref();
        let in_flight = |server: &Arc<Server>| u64::from(server.in_flight());
        let server = self.server.as_ref();
        front.log(&Entry {
            client: caller.client,
            began: self.at,
            frontend: &front.config.name,
            is_tls: caller.is_tls,
            pool: pool.map(|pool| &*pool.config.name),
            server: server.map(|server| &*server.name),
            subject: Subject::Request {
                line,
                status: self.status,
                head: self.head,
                queue: self.queue,
                connect: self.connect,
                response: self.response,
                total: self.elapsed(),
            },
            octets: self.sent,
            end: self.end,
            counts: Counts {
                process: current,
                frontend: current,
                pool: pool.map_or(0, |pool| pool.servers().iter().map(in_flight).sum()),
                server: server.map_or(0, in_flight),
                retries: self.retries,
                is_redispatched: self.is_redispatched,
            },
            ahead: self.ahead,
        });
    }
}

/// What HTTP/2 asks for has a scheme and an authority, which HAProxy's log shows.
fn whole_target(head: &RequestHead, protocol: Protocol, caller: &Caller) -> Option<Vec<u8>> {
    let is_whole = protocol == Protocol::Http2 && head.target().starts_with(b"/");
    let scheme = if caller.is_tls { Scheme::Https } else { Scheme::Http };
    is_whole.then(|| [scheme.text().as_bytes(), b"://", head.authority(), head.target()].concat())
}
