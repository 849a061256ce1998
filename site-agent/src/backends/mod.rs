//! What is known of the servers of a pool, as operators know it from HAProxy, and what follows: who is balanced over
//! with what weight, what the pool can serve, and what is reported upward.
//!
//! check ─▶ streak ─┐
//! agent_check ─────┼─▶ `Pool` ─▶ `Standing` ─▶ balance (a table), slots (limits), report (state, capacity)
//! outlier ─────────┤
//! operators ───────┘
//!
//! A server's state is kept apart by who says it: what operators and the agent order (`orders`), what checks and the
//! agent see, whether it is ejected. What one has set, only that one or an operator takes back, so that an agent's `up`
//! does not undo an operator's drain. Told events and the time; never reads a clock.

mod orders;
mod server;
mod standing;
mod status;
#[cfg(test)]
mod tests;
mod weight;
mod why;

use std::num::{NonZeroU8, NonZeroU32};
use std::time::Duration;

use common::streak::Thresholds;

use crate::ids::ServerId;

pub use self::orders::{Administrative, By, Origin};
pub use self::server::{AgentDown, Checked, Event, Server, Serves};
pub use self::standing::{Capacity, Mode, Standing, State, Taker, Unit};
pub use self::status::Status;
pub use self::weight::{Limit, NoWeight, Weight, WeightOrder};
pub use self::why::{Source, Why};

/// What the config says of a pool.
#[derive(Clone, Copy, Debug, Default)]
pub struct Settings {
    /// For so long a server that comes back is on its way to its whole weight; zero is at once.
    pub slow_start: Duration,
    /// With fewer than this percentage of the active servers usable, health is not believed (Envoy's panic threshold);
    /// `None` is never.
    pub panic: Option<NonZeroU8>,
    pub backups: Backups,
}

/// Who serves when no active server is usable.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Backups {
    /// The first usable backup alone.
    #[default]
    First,
    /// All of them (HAProxy's `option allbackups`).
    All,
}

/// What the config says of a server.
#[derive(Clone, Debug)]
pub struct Configured {
    pub name: Box<str>,
    pub weight: Weight,
    pub limit: Limit,
    /// Requests a second; `None` where nobody has said.
    pub capacity: Option<NonZeroU32>,
    pub role: Role,
    /// `None` is without a check: up until somebody else says otherwise.
    pub check: Option<Thresholds>,
    /// Whether there is an agent to take back what it says.
    pub has_agent: bool,
    pub administrative: Administrative,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Role {
    Active,
    Backup,
}

/// The servers of one pool, in the config's order.
#[derive(Clone, Debug)]
pub struct Pool {
    settings: Settings,
    servers: Vec<Server>,
}

/// A server's status before an event and after it, where that is another.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Change {
    pub from: Status,
    pub to: Status,
    /// Whether anything was sent to it before, and nothing is now.
    pub stopped: bool,
}

impl Pool {
    /// Servers that nothing is known of: those with a check serve while nobody is known to, and else once one has passed.
    pub fn new(settings: Settings, servers: Vec<Configured>) -> Pool {
        Pool { settings, servers: servers.into_iter().map(Server::new).collect() }
    }

    /// A new config. A server that was here by that name stays what it was; who is new is as in `new`; who is
    /// not named any more is forgotten. Ids are those of the new config; told is which each server had before.
    pub fn reload(
        &mut self,
        settings: Settings,
        servers: Vec<Configured>,
    ) -> Vec<Option<ServerId>> {
        let was: Vec<_> = servers.iter().map(|configured| self.find(&configured.name)).collect();
        let known = std::mem::take(&mut self.servers);
        let take = |(configured, was): (Configured, &Option<ServerId>)| match was {
            Some(id) => known[id.0].clone().reconfigured(configured),
            None => Server::new(configured),
        };
        self.servers = servers.into_iter().zip(&was).map(take).collect();
        self.settings = settings;
        was
    }

    /// Takes what somebody says of a server. Whether its status is another by it, for the log; the standing may be
    /// another even where that is not. Panics where no server has that id.
    pub fn on_event(&mut self, now: Duration, id: ServerId, event: Event) -> Option<Change> {
        let server = &mut self.servers[id.0];
        let (from, served) = (server.status(), server.serves());
        server.on_event(now, event);
        let to = server.status();
        let stopped = served != Serves::Nothing && server.serves() == Serves::Nothing;
        (from != to).then_some(Change { from, to, stopped })
    }

    pub fn servers(&self) -> impl Iterator<Item = (ServerId, &Server)> {
        self.servers.iter().enumerate().map(|(place, server)| (ServerId(place), server))
    }

    /// How many can take balanced requests now: of the active ones, and of the backups, if there are any.
    pub fn serving(&self) -> (usize, Option<usize>) {
        let of_role =
            |role| self.servers.iter().filter(move |server| server.configured().role == role);
        let able = |role| of_role(role).filter(|server| server.serves() == Serves::All).count();
        let has_backups = of_role(Role::Backup).next().is_some();
        (able(Role::Active), has_backups.then(|| able(Role::Backup)))
    }

    pub fn server(&self, id: ServerId) -> Option<&Server> {
        self.servers.get(id.0)
    }

    pub fn find(&self, name: &str) -> Option<ServerId> {
        self.servers.iter().position(|server| server.name() == name).map(ServerId)
    }

    /// What follows from all of it now.
    pub fn standing(&self, now: Duration) -> Standing {
        Standing::of(&self.settings, &self.servers, now)
    }

    /// When the standing changes by time alone, because somebody starts slowly.
    pub fn next_change(&self, now: Duration) -> Option<Duration> {
        let slow_start = self.settings.slow_start;
        self.servers.iter().filter_map(|server| server.next_step(now, slow_start)).min()
    }

    /// The sum of the configured weights, which the density of the ring follows from.
    pub fn configured_weights(&self) -> u64 {
        self.servers.iter().map(|server| u64::from(server.configured().weight.get())).sum()
    }
}
