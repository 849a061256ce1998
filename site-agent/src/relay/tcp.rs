//! A connection of TCP to one server of a pool, TLS and all.

use std::cell::RefCell;
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use common::clock;
use tokio::time::sleep;

use super::connect::{Caller, Handshake, NoConnection, connect, opened};
use super::place::place;
use super::tunnel::{say, tunnel};
use crate::access_log::{Ahead, Cause, Counts, End, Entry, Phase, Subject};
use crate::balance::Key;
use crate::outlier::Outcome;
use crate::retry::{self, Body, Method, Sent, Verdict, Written};
use crate::route::{self, route};
use crate::rules::Request;
use crate::site::Algorithm;
use crate::splice::{Flow, Patience, Side};
use crate::stream::{Buffer, Stream, Timer};
use crate::upstream::{self, Server, Upstream};
use crate::worker::{Front, Local, Worker};

/// What is known of one connection, for the log.
#[derive(Default)]
struct Record {
    pool: Option<Arc<Upstream>>,
    server: Option<Arc<Server>>,
    queue: Option<Duration>,
    /// Once there is a connection to a server: how long that took, with those that came to nothing.
    connect: Option<Duration>,
    retries: u8,
    is_redispatched: bool,
    ahead: Ahead,
}

/// Serves a connection to its end. `first` is what was read of it already.
pub async fn serve(
    worker: &Worker,
    client: RefCell<Stream>,
    caller: &Caller,
    front: &Rc<Front>,
    first: &mut Buffer,
) {
    caller.asked();
    let (at, began) = (clock::now(), clock::monotonic());
    let (mut record, flow) = (Record::default(), Flow::new());
    let carried = carry(worker, client, caller, front, first, (&mut record, &flow));
    let carried = worker.unless_cut(pin!(carried)).await;
    let end = carried.unwrap_or_else(|| {
        let phase = match record {
            Record { server: None, .. } => Phase::Queue,
            Record { connect: None, .. } => Phase::Connect,
            Record { .. } => Phase::Data,
        };
        End::Cut(Cause::Killed, phase)
    });
    let received = flow.up();
    front.traffic.received.fetch_add(received, Relaxed);
    front.traffic.sent.fetch_add(flow.down(), Relaxed);
    if let Some(server) = &record.server {
        upstream::Counts::add(&server.counts.sent, received);
        upstream::Counts::add(&server.counts.received, flow.down());
        server.counts.ended(end);
    }
    let in_flight = |server: &Arc<Server>| u64::from(server.in_flight());
    let current = front.traffic.current.load(Relaxed);
    let (pool, server) = (record.pool.as_deref(), record.server.as_ref());
    front.log(&Entry {
        client: caller.client,
        began: at,
        frontend: &front.config.name,
        is_tls: caller.is_tls,
        pool: pool.map(|pool| &*pool.config.name),
        server: server.map(|server| &*server.name),
        subject: Subject::Connection {
            queue: record.queue,
            connect: record.connect,
            total: clock::monotonic().saturating_sub(began),
        },
        octets: flow.down(),
        end,
        counts: Counts {
            process: current,
            frontend: current,
            pool: pool.map_or(0, |pool| pool.servers().iter().map(in_flight).sum()),
            server: server.map_or(0, in_flight),
            retries: record.retries.into(),
            is_redispatched: record.is_redispatched,
        },
        ahead: record.ahead,
    });
}

async fn carry(
    worker: &Worker,
    mut client: RefCell<Stream>,
    caller: &Caller,
    front: &Rc<Front>,
    first: &mut Buffer,
    (record, flow): (&mut Record, &Flow),
) -> End {
    let request = Request {
        src: caller.client.ip(),
        port: caller.local.port(),
        is_tls: caller.is_tls,
        sni: caller.server_name.as_deref(),
        http: None,
    };
    let pool = match route(&front.config.routing, &request).outcome {
        route::Outcome::Pool(pool) => pool,
        route::Outcome::NoPool => return End::Cut(Cause::ServerAbort, Phase::Connect),
        route::Outcome::Deny(_) | route::Outcome::Close | route::Outcome::RedirectHttps(_) => {
            front.traffic.denied.fetch_add(1, Relaxed);
            return End::Cut(Cause::Proxy, Phase::Request);
        }
    };
    let local = Rc::clone(front.pool(pool));
    record.pool = Some(Arc::clone(&local.upstream));
    // What it has said so far is for the first segment that a server gets. It has a buffer of its own until then; who has said
    // nothing has none.
    let mut room = None;
    if first.is_empty() {
        let mut own = worker.room();
        match client.get_mut().try_read(&mut own.from_client) {
            Ok(1..) => room = Some(own),
            Ok(0) => worker.give_back(own),
            Err(error) => {
                worker.give_back(own);
                if error.kind() != io::ErrorKind::WouldBlock {
                    return End::Cut(Cause::ClientAbort, Phase::Connect);
                }
            }
        }
    }
    let early = room.as_mut().map_or(&mut *first, |room| &mut room.from_client);
    let handshake = if early.is_empty() { Handshake::Plain } else { Handshake::WithWords };
    let reached = reach(worker, caller, &local, handshake, record).await;
    let (lease, server) = match reached {
        Ok(reached) => reached,
        Err(end) => {
            room.into_iter().for_each(|room| worker.give_back(room));
            return end;
        }
    };
    let timeouts = &local.upstream.config.timeouts;
    let half_closed = front.config.timeouts.client_fin.min(timeouts.server_fin);
    let patience = Patience { idle: timeouts.tunnel, half_closed };
    let mut server = RefCell::new(server);
    if let Err(end) = say(Side::Client, &server, early, patience, flow).await {
        return end;
    }
    if handshake == Handshake::WithWords {
        opened(server.get_mut());
    }
    room.into_iter().for_each(|room| worker.give_back(room));
    let (ends, mut last) = ((&mut client, &mut server), Buffer::default());
    let end = tunnel(ends, (first, &mut last), patience, &worker.carry, flow).await;
    drop(lease);
    end
}

/// A connection to a server that has a place for it.
async fn reach(
    worker: &Worker,
    caller: &Caller,
    local: &Local,
    handshake: Handshake,
    record: &mut Record,
) -> Result<(upstream::Lease, Stream), End> {
    let key = (local.upstream.config.balance.algorithm == Algorithm::Source)
        .then(|| Key::source(caller.client.ip()));
    let (mut tried, mut timer, mut connecting) = (vec![], Timer::default(), Duration::ZERO);
    local.budget.borrow_mut().deposit(clock::monotonic());
    loop {
        let placed = place(worker, local, key, &tried, &mut timer).await;
        record.ahead = placed.ahead;
        if let Some(waited) = placed.waited {
            record.queue = Some(waited + record.queue.unwrap_or_default());
        }
        let lease = placed.lease.map_err(|why| why.end())?;
        let server = Arc::clone(lease.server());
        record.is_redispatched |=
            record.server.as_ref().is_some_and(|before| !Arc::ptr_eq(before, &server));
        record.server = Some(Arc::clone(&server));
        let began = clock::monotonic();
        let within = local.upstream.config.timeouts.connect;
        let made = connect(&server, caller, handshake, within, &mut timer).await;
        let now = clock::monotonic();
        connecting += now.saturating_sub(began);
        let why = match made {
            Ok(stream) => {
                record.connect = Some(connecting);
                local.upstream.on_outcome(now, &server, Outcome::Connected);
                return Ok((lease, stream));
            }
            Err(why) => why,
        };
        local.upstream.on_outcome(now, &server, Outcome::NotConnected);
        let this = local.upstream.id_of(&server);
        tried.extend(this);
        let shown = local.upstream.shown();
        let now = retry::Now {
            now,
            retries: record.retries,
            has_other: shown.table.servers().any(|id| !tried.contains(&id)),
            dice: worker.dice(),
        };
        drop(shown);
        let sent = Sent { written: Written::Nothing, method: Method::Other, body: Body::None };
        let cause = retry::Cause::NotConnected;
        let policy = &local.upstream.policy;
        let verdict = policy.judge(now, sent, cause, &mut local.budget.borrow_mut());
        let Verdict::Again { wait } = verdict else {
            let cause = match why {
                NoConnection::Late => Cause::ServerTimeout,
                NoConnection::Failed(_) => Cause::ServerAbort,
            };
            return Err(End::Cut(cause, Phase::Connect));
        };
        upstream::Counts::count(&server.counts.retries);
        record.retries += 1;
        drop(lease);
        if !wait.is_zero() {
            sleep(wait).await;
        }
    }
}
