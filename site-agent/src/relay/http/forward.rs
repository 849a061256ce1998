//! A request to a pool: who takes it, its place there, and who takes it next if that fails.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use common::clock;
use tokio::time::sleep;

use super::attempt::Attempt;
use super::body::Upload;
use super::carrier::Carrier;
use super::record::Record;
use super::{Connection, Next};
use crate::balance::Key;
use crate::client::Client;
use crate::head::{RequestHead, Scheme, Upgrades};
use crate::ids::ServerId;
use crate::outlier::Outcome;
use crate::relay::place::place;
use crate::retry;
use crate::site::Algorithm;
use crate::upstream::{Counts, Lease};
use crate::worker::{Front, Local, Room};

/// What came of it.
pub(super) enum Done {
    Next(Next),
    /// Nothing that could be passed on: the client is to be told this.
    Answer(u16),
}

/// What was tried.
pub struct Tries {
    tried: Vec<ServerId>,
    retries: u8,
    sent: retry::Sent,
}

impl<C: Carrier> Connection<'_, C> {
    pub(super) async fn forward(
        &mut self,
        front: &Rc<Front>,
        local: &Rc<Local>,
        room: &mut Room,
        record: &mut Record,
        client: Client,
    ) -> Done {
        let scheme = if self.caller.is_tls { Scheme::Https } else { Scheme::Http };
        room.request.strip(Upgrades::Passed);
        let peer = self.caller.client.ip();
        front.trust.tell(peer, scheme, client, room.request.fields_mut());
        let key = key_of(&local.upstream.config.balance.algorithm, &room.request, client);
        let gathered = self.client.gather(&mut room.from_client);
        front.traffic.received.fetch_add(gathered as u64, Relaxed);
        let upload = Upload::of(room, &front.limits);
        let mut tries = Tries {
            tried: vec![],
            retries: 0,
            sent: retry::Sent {
                written: retry::Written::Nothing,
                method: retry::Method::of(room.request.method()),
                body: upload.kept(),
            },
        };
        local.budget.borrow_mut().deposit(clock::monotonic());
        loop {
            let lease = match self.place(local, key, &tries, record).await {
                Ok(lease) => lease,
                Err(status) => return Done::Answer(status),
            };
            if record.server.as_ref().is_some_and(|before| !Arc::ptr_eq(before, lease.server())) {
                record.is_redispatched = true;
            }
            record.server = Some(Arc::clone(lease.server()));
            let attempt =
                self.attempt(front, local, &lease, room, record, &mut tries, &upload).await;
            let (answer, again) = match attempt {
                Attempt::Done(next) => return Done::Next(next),
                Attempt::Failed { status, again } => (status, again),
            };
            let Some(wait) = again else { return Done::Answer(answer) };
            Counts::count(&lease.server().counts.retries);
            tries.tried.extend(local.upstream.id_of(lease.server()));
            tries.retries += 1;
            record.retries += 1;
            drop(lease);
            if !wait.is_zero() {
                sleep(wait).await;
            }
        }
    }

    /// A place at a server; the status to answer with where there is none.
    async fn place(
        &mut self,
        local: &Rc<Local>,
        key: Option<Key>,
        tries: &Tries,
        record: &mut Record,
    ) -> Result<Lease, u16> {
        let placed = place(self.worker, local, key, &tries.tried, &mut self.timer).await;
        record.ahead = placed.ahead;
        if let Some(waited) = placed.waited {
            record.queue = Some(waited + record.queue.unwrap_or_default());
        }
        placed.lease.map_err(|why| {
            record.end = why.end();
            503
        })
    }
}

impl Tries {
    pub fn write(&mut self, written: retry::Written, body: retry::Body) {
        (self.sent.written, self.sent.body) = (written, body);
    }

    pub fn is_on_idle(&self) -> bool {
        self.sent.written == retry::Written::OnIdle
    }

    /// Tries after the first.
    pub fn retries(&self) -> u8 {
        self.retries
    }

    pub fn method(&self) -> retry::Method {
        self.sent.method
    }

    /// Whether, and after how long, the request goes out once more for this. What does is paid for.
    pub fn again(
        &self,
        local: &Local,
        dice: u64,
        lease: &Lease,
        cause: retry::Cause,
    ) -> Option<Duration> {
        let this = local.upstream.id_of(lease.server());
        let shown = local.upstream.shown();
        let is_other = |id: ServerId| Some(id) != this && !self.tried.contains(&id);
        let now = retry::Now {
            now: clock::monotonic(),
            retries: self.retries,
            has_other: shown.table.servers().any(is_other),
            dice,
        };
        let policy = &local.upstream.policy;
        match policy.judge(now, self.sent, cause, &mut local.budget.borrow_mut()) {
            retry::Verdict::Again { wait } => Some(wait),
            retry::Verdict::No(_) => None,
        }
    }
}

/// What the pool hashes of a request.
fn key_of(algorithm: &Algorithm, head: &RequestHead, client: Client) -> Option<Key> {
    match algorithm {
        Algorithm::RoundRobin
        | Algorithm::LeastConnections
        | Algorithm::RandomTwo
        | Algorithm::First => None,
        Algorithm::Source => Some(Key::source(client.address)),
        Algorithm::Uri => Key::uri(head.target()),
        Algorithm::Header(name) => head.fields().first(name.as_bytes()).and_then(Key::header),
    }
}

/// What a server is found to be by what came of a request.
pub fn outcome_of(cause: retry::Cause) -> Outcome {
    match cause {
        retry::Cause::NotConnected => Outcome::NotConnected,
        retry::Cause::EmptyResponse | retry::Cause::Unprocessed => Outcome::Closed,
        retry::Cause::JunkResponse => Outcome::Junk,
        retry::Cause::ResponseTimeout => Outcome::TimedOut,
        retry::Cause::Status(status) => Outcome::Answered(status),
    }
}
