//! What follows from the states of a pool's servers: who is balanced over, what the pool can take, and what is
//! reported of it.

use std::time::Duration;

use super::server::{Server, Serves};
use super::{Backups, Limit, Pool, Role, Settings};
use crate::balance::{Algorithm, Candidate, Share, Table};
use crate::ids::ServerId;

/// A pool at one moment.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Standing {
    /// Who is balanced over: in the order of ids.
    pub takers: Vec<Taker>,
    pub mode: Mode,
    pub state: State,
    pub capacity: Capacity,
    /// Active servers that are usable.
    pub usable: usize,
    /// Active servers that nobody has taken out on purpose and of which something is known: what the panic floor is a
    /// percentage of.
    pub wanted: usize,
    /// Servers that nobody has taken out on purpose and of which no result has come yet.
    pub starting: usize,
}

/// A server that takes balanced requests.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Taker {
    pub id: ServerId,
    pub share: Share,
    pub limit: Limit,
}

/// By what rule the takers were chosen.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Mode {
    /// The usable active servers.
    Active,
    /// No active server is known to be usable, and some were never looked at: those, as HAProxy's new servers are up
    /// until a look says otherwise. So are backups where no better is.
    Starting,
    /// No active server is usable; a backup is.
    Backup,
    /// Too few are usable for health to be believed: every active server that is wanted takes its share.
    Panic,
    /// There is none.
    Nobody,
}

/// What is reported of a pool to the name servers. A panic does not hide there that nobody is usable.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum State {
    Serving,
    /// Nobody is usable.
    Empty,
    /// Nobody is usable, and every server was taken out on purpose: by an order or a weight of 0.
    Drained,
}

/// What a pool can take now, of what it could take with all its active servers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Capacity {
    pub usable: u64,
    pub whole: u64,
    pub unit: Unit,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Unit {
    /// At least one server's capacity is configured; those without count as the mean of those with one.
    RequestsPerSecond,
    /// None is: each server counts as a thousand.
    Thousandths,
}

impl Standing {
    pub(super) fn of(settings: &Settings, servers: &[Server], now: Duration) -> Standing {
        let Settings { slow_start, panic, backups } = *settings;
        let all = || servers.iter().enumerate().map(|(place, server)| (ServerId(place), server));
        let of_role =
            |role| all().filter(move |(_, server): &(_, &Server)| server.configured().role == role);
        let is_usable = |(_, server): &(ServerId, &Server)| server.serves() == Serves::All;
        let is_wanted =
            |(_, server): &(ServerId, &Server)| server.is_wanted() && !server.is_no_lb();

        let active: Vec<_> = of_role(Role::Active).filter(is_usable).collect();
        let wanted: Vec<_> = of_role(Role::Active).filter(is_wanted).collect();
        let backup: Vec<_> = of_role(Role::Backup).filter(is_usable).collect();
        let unseen =
            |role| -> Vec<_> { of_role(role).filter(|(_, server)| server.is_unseen()).collect() };
        let (unseen_active, unseen_backup) = (unseen(Role::Active), unseen(Role::Backup));
        let known = wanted.iter().filter(|(_, server)| !server.is_starting()).count();
        let first =
            |backup: &[_]| if backups == Backups::All { backup.len() } else { backup.len().min(1) };
        let floor = panic.map_or(0, |percent| usize::from(percent.get()));
        let (mode, taking) = if active.is_empty() && !unseen_active.is_empty() {
            (Mode::Starting, &unseen_active[..])
        } else if active.is_empty() && !backup.is_empty() {
            (Mode::Backup, &backup[..first(&backup)])
        } else if active.len() * 100 < floor * known {
            (Mode::Panic, &wanted[..])
        } else if active.is_empty() && !unseen_backup.is_empty() {
            (Mode::Starting, &unseen_backup[..first(&unseen_backup)])
        } else if active.is_empty() {
            (Mode::Nobody, &[][..])
        } else {
            (Mode::Active, &active[..])
        };

        let taker = |(id, server): &(ServerId, &Server)| {
            let share = server.share(now, slow_start)?;
            Some(Taker { id: *id, share, limit: server.limit(now, slow_start) })
        };
        let state = if !active.is_empty() || !backup.is_empty() {
            State::Serving
        } else if !servers.is_empty() && servers.iter().all(|server| !server.is_wanted()) {
            State::Drained
        } else {
            State::Empty
        };
        let able = if active.is_empty() { &backup[..first(&backup)] } else { &active[..] };
        Standing {
            takers: taking.iter().filter_map(taker).collect(),
            mode,
            state,
            capacity: Capacity::of(settings, servers, able, now),
            usable: active.len(),
            wanted: known,
            starting: servers.iter().filter(|server| server.is_starting()).count(),
        }
    }

    /// What `balance` picks from. `pool` is the one that this is the standing of.
    pub fn table(&self, pool: &Pool, algorithm: Algorithm) -> Table {
        let candidate = |taker: &Taker| {
            let Taker { id, share, limit } = *taker;
            Candidate { id, name: pool.servers[id.0].name(), share, limit }
        };
        let candidates: Vec<_> = self.takers.iter().map(candidate).collect();
        Table::new(algorithm, &candidates, pool.configured_weights())
    }
}

impl Capacity {
    /// Of those that are able. Who dies is missing at once; who comes back counts as far as it has come.
    fn of(
        settings: &Settings,
        servers: &[Server],
        able: &[(ServerId, &Server)],
        now: Duration,
    ) -> Capacity {
        let stated = |server: &Server| Some(u64::from(server.configured().capacity?.get()));
        let all: Vec<u64> = servers.iter().filter_map(stated).collect();
        let (mean, unit) = match all.len() as u64 {
            0 => (1000, Unit::Thousandths),
            count => (all.iter().sum::<u64>() / count, Unit::RequestsPerSecond),
        };
        let each = |server: &Server| stated(server).unwrap_or(mean);
        let whole = |role| {
            servers.iter().filter(|server| server.configured().role == role).map(each).sum::<u64>()
        };
        let part =
            |(_, server): &(_, &Server)| server.part_of(each(server), now, settings.slow_start);
        let whole_active = whole(Role::Active);
        Capacity {
            usable: able.iter().map(part).sum(),
            whole: if whole_active == 0 { whole(Role::Backup) } else { whole_active },
            unit,
        }
    }
}
