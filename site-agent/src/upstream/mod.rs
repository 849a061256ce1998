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
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use arc_swap::{ArcSwap, Guard};
use common::lock::Mutex;
use tracing::{info, warn};

use crate::backends::{self, Change, Event, Serves, Standing, Status};
use crate::balance::{Algorithm, Table};
use crate::ids::ServerId;
use crate::outlier::{Order, Outcome, Outliers};
use crate::retry::Policy;
use crate::site;
use crate::slots::Takes;

pub use self::places::{Asked, Places, Waiting};
pub use self::server::{Counts, Lease, Server};

/// A pool of one config.
#[derive(Debug)]
pub struct Upstream {
    pub config: Arc<site::Pool>,
    pub policy: Policy,
    algorithm: Algorithm,
    /// By id.
    servers: Vec<Arc<Server>>,
    places: Arc<Places>,
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
}

/// What follows from all that is known.
#[derive(Debug)]
pub struct Shown {
    pub standing: Standing,
    pub table: Arc<Table>,
}

/// One server as people are told of it.
#[derive(Clone, Debug)]
pub struct Told {
    pub server: Arc<Server>,
    pub status: Status,
    pub serves: Serves,
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
        };
        servers.map(told).collect()
    }

    /// Somebody says something of a server.
    pub fn on_event(&self, now: Duration, id: ServerId, event: Event) {
        let mut health = self.health.lock();
        if health.is_past {
            return;
        }
        let change = health.pool.on_event(now, id, event);
        self.tell(id, change);
        self.show(now, &health);
    }

    /// A look has passed: who was ejected returns.
    pub fn on_check_passed(&self, now: Duration, id: ServerId) {
        if self.config.breaker.is_none() {
            return;
        }
        let mut health = self.health.lock();
        let Health { pool, outliers: Some(outliers), is_past: false } = &mut *health else {
            return;
        };
        if outliers.on_check_passed(now, id) {
            let change = pool.on_event(now, id, Event::Return);
            self.tell(id, change);
            self.show(now, &health);
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
        let Health { pool, outliers: Some(outliers), is_past: false } = &mut *health else {
            return;
        };
        let others = self.shown.load().table.servers().filter(|other| *other != id).count();
        let order = outliers.on_outcome(now, id, outcome, others);
        server.set_run(outliers.has_run(id));
        if let Some(Order::Eject { until }) = order {
            let eject_seconds = until.saturating_sub(now).as_secs();
            let (pool_name, name) = (&*self.config.name, &*server.name);
            warn!(
                pool = pool_name,
                server = name,
                eject_seconds,
                "a server fails requests: it is ejected"
            );
            let change = pool.on_event(now, id, Event::Eject);
            self.tell(id, change);
            self.show(now, &health);
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
            let change = health.pool.on_event(now, *id, Event::Return);
            self.tell(*id, change);
        }
        if !over.is_empty() || health.pool.next_change(now).is_some() {
            self.show(now, &health);
        }
    }

    /// What a request has to wait for, or its place.
    pub fn ask(&self, now: Duration, choice: crate::balance::Choice) -> Asked {
        self.places.ask(now, choice, &self.servers)
    }

    fn tell(&self, id: ServerId, change: Option<Change>) {
        let Some(Change { from, to }) = change else { return };
        let (pool, server) = (&*self.config.name, &*self.servers[id.0].name);
        let (from, to) = (from.to_string(), to.to_string());
        info!(pool, server, from, to, "a server is in another state");
    }

    /// Makes public what follows, if it is something else.
    fn show(&self, now: Duration, health: &Health) {
        let standing = health.pool.standing(now);
        let before = self.shown.load();
        if before.standing == standing {
            return;
        }
        if before.standing.takers.is_empty() != standing.takers.is_empty() {
            let pool = &*self.config.name;
            match standing.takers.is_empty() {
                true => warn!(pool, "no server of a pool can serve: its requests are refused"),
                false => info!(pool, "a pool serves again"),
            }
        }
        let table = if before.standing.takers == standing.takers {
            Arc::clone(&before.table)
        } else {
            Arc::new(standing.table(&health.pool, self.algorithm))
        };
        self.limit(&standing, &health.pool);
        self.shown.store(Arc::new(Shown { standing, table }));
    }

    /// Tells the queues whom each server takes.
    fn limit(&self, standing: &Standing, pool: &backends::Pool) {
        for (id, known) in pool.servers() {
            let taker = standing.takers.iter().find(|taker| taker.id == id);
            let (limit, takes) = match (taker, known.serves()) {
                (Some(taker), _) => (taker.limit, Takes::Anybody),
                (None, Serves::Persistent) => (known.configured().limit, Takes::Bound),
                (None, Serves::All | Serves::Nothing) => (known.configured().limit, Takes::Nobody),
            };
            self.places.set(&self.servers[id.0], limit, takes);
        }
    }
}
