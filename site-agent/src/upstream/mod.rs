//! Pools as they run: what is known of each server, who takes the next request, and what is under way.
//!
//! events (checks, agents, operators, outcomes) ─▶ `Upstream` ─▶ `Standing` and `Table` ─▶ a thread's `balance::Picker`
//! a request ─▶ picker ─▶ `Places` (where there are limits) ─▶ `Lease` ─▶ (the server) ─▶ dropped: the next who waits
//!
//! One upstream belongs to one config. A reload makes another of it: what has changed is new, every other server is the
//! same `Server`, so that its counters, its connections and the requests that are with it stay.

mod build;
mod places;
mod server;
mod statuses;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use arc_swap::{ArcSwap, Guard};
use common::lock::Mutex;
use tracing::{info, warn};

use crate::backends::{self, Change, Event, Mode, Serves, Standing, Status, Why};
use crate::balance::{Algorithm, Table};
use crate::ids::ServerId;
use crate::outlier::{Outcome, Outliers};
use crate::retry::Policy;
use crate::site;
use crate::slots::Takes;

pub use self::places::{Asked, Places, Waiting};
pub use self::server::{Counts, Lease, Server};
pub use self::statuses::{CLASSES, Statuses};

/// A pool of one config.
#[derive(Debug)]
pub struct Upstream {
    pub config: Arc<site::Pool>,
    pub policy: Policy,
    algorithm: Algorithm,
    /// By id.
    servers: Vec<Arc<Server>>,
    places: Arc<Places>,
    /// What its requests were answered, by servers and by us, for as long as its name is in the config.
    pub answers: Arc<Statuses>,
    health: Mutex<Health>,
    shown: ArcSwap<Shown>,
}

/// What changes under the one lock.
#[derive(Clone, Debug)]
struct Health {
    pool: backends::Pool,
    /// `None` where nothing is made of what servers answer.
    outliers: Option<Outliers>,
    /// Another config has made another of it: what still comes to this one changes nothing.
    is_past: bool,
    /// By what rule people were last told that it serves.
    told: Option<Mode>,
}

/// What follows from all that is known.
#[derive(Debug)]
pub struct Shown {
    pub standing: Standing,
    pub table: Arc<Table>,
    pub turns: Turns,
}

/// When anybody last began to take requests, or nobody any more; and how often it came to that.
#[derive(Clone, Copy, Debug)]
pub struct Turns {
    pub since: Duration,
    pub falls: u64,
}

impl Turns {
    /// What is before it goes over to what is now.
    fn then(self, now: Duration, before: &Standing, standing: &Standing) -> Turns {
        match (before.takers.is_empty(), standing.takers.is_empty()) {
            (false, true) => Turns { since: now, falls: self.falls + 1 },
            (true, false) => Turns { since: now, ..self },
            (true, true) | (false, false) => self,
        }
    }
}

/// One server as people are told of it.
#[derive(Clone, Debug)]
pub struct Told {
    pub server: Arc<Server>,
    pub status: Status,
    pub serves: Serves,
    /// All that is known of it.
    pub known: backends::Server,
}

impl Told {
    /// Since when it has served what it serves.
    pub fn since(&self) -> Duration {
        self.known.changed().unwrap_or(self.server.since)
    }
}

impl Upstream {
    pub fn servers(&self) -> &[Arc<Server>] {
        &self.servers
    }

    pub fn server(&self, id: ServerId) -> &Arc<Server> {
        &self.servers[id.0]
    }

    /// Whose this server is here; nobody's if a reload has taken it out.
    pub fn id_of(&self, server: &Arc<Server>) -> Option<ServerId> {
        self.servers.iter().position(|ours| Arc::ptr_eq(ours, server)).map(ServerId)
    }

    pub fn shown(&self) -> Guard<Arc<Shown>> {
        self.shown.load()
    }

    /// Requests that wait for any server, and all that wait for one of their own.
    pub fn waiting(&self) -> usize {
        self.places.waiting()
    }

    pub fn told(&self) -> Vec<Told> {
        let health = self.health.lock();
        let servers = health.pool.servers().zip(&self.servers);
        let told = |((_, known), server): ((_, &backends::Server), &Arc<Server>)| Told {
            server: Arc::clone(server),
            status: known.status(),
            serves: known.serves(),
            known: known.clone(),
        };
        servers.map(told).collect()
    }

    /// Somebody says something of a server, and no more than that.
    pub fn on_event(&self, now: Duration, id: ServerId, event: Event) {
        self.on_said(now, id, event, &Why::of(event));
    }

    /// Somebody says something of a server, and why.
    pub fn on_said(&self, now: Duration, id: ServerId, event: Event, why: &Why) {
        let mut health = self.health.lock();
        if health.is_past {
            return;
        }
        let had_health = |known: &backends::Server| known.health().is_some_and(|left| left > 0);
        if why.is_failed_look() && health.pool.server(id).is_some_and(had_health) {
            Counts::count(&self.servers[id.0].counts.failed_looks);
        }
        self.take(&mut health.pool, now, id, event, why);
        self.show(now, &mut health);
        // Of one that takes nobody by balance the standing says nothing: not its limit, nor whether those bound to it pass.
        if let Some(known) = health.pool.server(id) {
            self.limit_one(&self.shown.load().standing, id, known);
        }
    }

    /// Whether it is out of service by an order, and so not looked at.
    pub fn is_maint(&self, id: ServerId) -> bool {
        let health = self.health.lock();
        health.pool.server(id).is_some_and(backends::Server::is_maint)
    }

    /// Has the pool take it, and tells people what changed.
    fn take(
        &self,
        pool: &mut backends::Pool,
        now: Duration,
        id: ServerId,
        event: Event,
        why: &Why,
    ) {
        if let Some(change) = pool.on_event(now, id, event) {
            if !is_down(change.from) && is_down(change.to) {
                Counts::count(&self.servers[id.0].counts.falls);
            }
            self.tell(id, change, why, pool.serving());
        }
    }

    /// A look has passed, or an operator has it that one would: who was ejected returns.
    pub fn on_check_passed(&self, now: Duration, id: ServerId, why: &Why) {
        if self.config.breaker.is_none() {
            return;
        }
        let mut health = self.health.lock();
        let Health { pool, outliers: Some(outliers), is_past: false, .. } = &mut *health else {
            return;
        };
        if outliers.on_check_passed(now, id) {
            self.take(pool, now, id, Event::Return, why);
            self.show(now, &mut health);
        }
    }

    /// What came of a request. Successes of servers that have not just failed change nothing, and take no lock.
    pub fn on_outcome(&self, now: Duration, server: &Arc<Server>, outcome: Outcome) {
        let is_good = match outcome {
            Outcome::Connected => true,
            Outcome::Answered(status) => status < 500,
            Outcome::NotConnected | Outcome::TimedOut | Outcome::Closed | Outcome::Junk => false,
        };
        if self.config.breaker.is_none() || is_good && !server.has_run() {
            return;
        }
        let Some(id) = self.id_of(server) else { return };
        let mut health = self.health.lock();
        let Health { pool, outliers: Some(outliers), is_past: false, .. } = &mut *health else {
            return;
        };
        let others = self.shown.load().table.servers().filter(|other| *other != id).count();
        let ejected = outliers.on_outcome(now, id, outcome, others);
        server.set_run(outliers.has_run(id));
        if let Some(until) = ejected {
            let out = until.saturating_sub(now);
            let sooner = if self.config.servers[id.0].check.is_some() {
                ", or until a look passes"
            } else {
                ""
            };
            let detail = format!("the last in a row: {outcome}; out for {out:?}{sooner}");
            let why = Why::of(Event::Eject).because(detail);
            self.take(pool, now, id, Event::Eject, &why);
            self.show(now, &mut health);
        }
    }

    /// What time alone changes: ejections end, slow starts go on.
    pub fn turn(&self, now: Duration) {
        let mut health = self.health.lock();
        if health.is_past {
            return;
        }
        let over =
            health.outliers.as_mut().map(|outliers| outliers.expire(now)).unwrap_or_default();
        for id in &over {
            self.take(&mut health.pool, now, *id, Event::Return, &Why::of(Event::Return));
        }
        if !over.is_empty() || health.pool.next_change(now).is_some() {
            self.show(now, &mut health);
        }
    }

    /// What a request has to wait for, or its place.
    pub fn ask(&self, choice: crate::balance::Choice) -> Asked {
        self.places.ask(choice, &self.servers)
    }

    /// For people: `serving` of the pool's own servers can take requests now, and `backups` of the others, if it has any.
    fn tell(
        &self,
        id: ServerId,
        change: Change,
        why: &Why,
        (serving, backups): (usize, Option<usize>),
    ) {
        let Change { from, to, stopped } = change;
        let Why { by, reason, detail, took } = why;
        let (pool, server) = (&*self.config.name, &*self.servers[id.0].name);
        let (from, to, by) = (from.to_string(), to.to_string(), by.to_string());
        // What there is nothing of is no field.
        let detail = Some(&**detail).filter(|detail| !detail.is_empty());
        let took_ms = took.map(|took| u64::try_from(took.as_millis()).unwrap_or(u64::MAX));
        if stopped {
            warn!(
                pool,
                server,
                from,
                to,
                by,
                reason,
                detail,
                took_ms,
                serving,
                backups,
                "a server is in another state"
            );
        } else {
            info!(
                pool,
                server,
                from,
                to,
                by,
                reason,
                detail,
                took_ms,
                serving,
                backups,
                "a server is in another state"
            );
        }
    }

    /// By what rule the pool serves, where that is news. Before anything is known it is none.
    fn tell_pool(&self, health: &mut Health, standing: &Standing) {
        let pool = &*self.config.name;
        let Standing { mode, usable, wanted, .. } = standing;
        if health.told == Some(*mode) {
            return;
        }
        match (health.told, mode) {
            (_, Mode::Starting) => return,
            // Who is neither up nor down yet may still come up.
            (None, Mode::Nobody) if standing.starting > 0 => return,
            (None, Mode::Active) => info!(pool, "a pool serves"),
            (Some(Mode::Nobody), Mode::Active) => info!(pool, "a pool serves again"),
            (Some(_), Mode::Active) => info!(pool, "a pool serves by its own servers again"),
            (_, Mode::Backup) => warn!(pool, "a pool serves by its backups alone"),
            (_, Mode::Panic) => {
                warn!(pool, usable, wanted, "too few servers of a pool are up: it panics");
            }
            (_, Mode::Nobody) => {
                warn!(pool, "no server of a pool can serve: its requests are refused");
            }
        }
        health.told = Some(*mode);
    }

    /// Makes public what follows, if it is something else.
    fn show(&self, now: Duration, health: &mut Health) {
        let standing = health.pool.standing(now);
        let before = self.shown.load();
        if before.standing == standing {
            return;
        }
        self.tell_pool(health, &standing);
        let table = if before.standing.takers == standing.takers {
            Arc::clone(&before.table)
        } else {
            Arc::new(standing.table(&health.pool, self.algorithm))
        };
        self.limit(&standing, &health.pool);
        let turns = before.turns.then(now, &before.standing, &standing);
        self.shown.store(Arc::new(Shown { standing, table, turns }));
    }

    /// Tells the queues whom each server takes.
    fn limit(&self, standing: &Standing, pool: &backends::Pool) {
        for (id, known) in pool.servers() {
            self.limit_one(standing, id, known);
        }
    }

    fn limit_one(&self, standing: &Standing, id: ServerId, known: &backends::Server) {
        let taker = standing.takers.iter().find(|taker| taker.id == id);
        let (limit, takes) = match (taker, known.serves()) {
            (Some(taker), _) => (taker.limit, Takes::Anybody),
            (None, Serves::Persistent) => (known.whole_limit(), Takes::Bound),
            (None, Serves::All | Serves::Nothing) => (known.whole_limit(), Takes::Nobody),
        };
        self.places.set(&self.servers[id.0], limit, takes);
    }
}

/// As HAProxy counts it, to which maintenance is a way down, too.
fn is_down(status: Status) -> bool {
    match status {
        Status::Maint
        | Status::DownByAgent
        | Status::Down
        | Status::Rising { .. }
        | Status::Ejected => true,
        Status::NoLb
        | Status::NoLbFalling { .. }
        | Status::DrainByAgent
        | Status::Drain
        | Status::DrainFalling { .. }
        | Status::Up
        | Status::Falling { .. }
        | Status::NoCheck => false,
    }
}
