//! An upstream of a config: new, or of the one that was before it.

use std::num::{NonZeroU8, NonZeroU32};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use common::lock::Mutex;

use super::places::Places;
use super::server::Server;
use super::{Health, Shown, Statuses, Turns, Upstream};
use crate::backends::{self, Administrative, Backups, Configured, Role};
use crate::balance::{Algorithm, Factor};
use crate::ids::ServerId;
use crate::outlier::{self, Outliers};
use crate::retry::{Cause, Policy};
use crate::site;
use crate::slots;

/// A share as whole percent, rounded up: a floor of 0.5 % is one.
fn percent(share: site::Share) -> u8 {
    (share.get() * 100.0).ceil() as u8
}

impl Upstream {
    pub fn new(config: Arc<site::Pool>, now: Duration) -> Upstream {
        let places = Arc::new(Places::new(queue(&config)));
        let new = |server: &site::Server| places.add(|slot| Server::new(server.clone(), slot, now));
        let servers: Vec<_> = config.servers.iter().map(new).collect();
        let pool = backends::Pool::new(settings(&config), configured(&config));
        let outliers = config
            .breaker
            .map(|breaker| Outliers::new(watched(&config, breaker), servers.len(), now));
        let health = Health { pool, outliers, is_past: false, told: None };
        Upstream::of(config, servers, places, Arc::default(), health, None, now)
    }

    /// The same pool by another config. Servers that are written as before are the same; one that is not is forgotten, but
    /// for what is believed of it by its name.
    pub fn reloaded(&self, config: Arc<site::Pool>, now: Duration) -> Upstream {
        let places = Arc::clone(&self.places);
        places.configure(queue(&config));
        let take = |server: &site::Server| {
            let same = self.servers.iter().find(|known| known.config == *server);
            same.map_or_else(
                || places.add(|slot| Server::new(server.clone(), slot, now)),
                Arc::clone,
            )
        };
        let servers: Vec<_> = config.servers.iter().map(take).collect();
        let is_gone =
            |server: &&Arc<Server>| !servers.iter().any(|stays| Arc::ptr_eq(stays, server));
        for gone in self.servers.iter().filter(is_gone) {
            places.set(gone, None, slots::Takes::Nobody);
        }
        let answers = Arc::clone(&self.answers);
        let mut known = self.health.lock();
        let mut health = known.clone();
        known.is_past = true;
        drop(known);
        let was = health.pool.reload(settings(&config), configured(&config));
        health.outliers = match (health.outliers, config.breaker) {
            (Some(mut outliers), Some(breaker)) => {
                outliers.reload(watched(&config, breaker), &was, now);
                Some(outliers)
            }
            (None, Some(breaker)) => {
                Some(Outliers::new(watched(&config, breaker), servers.len(), now))
            }
            (before, None) => {
                // Nobody would ever take them back.
                let ejected = |was: ServerId| {
                    before.as_ref().is_some_and(|outliers| outliers.is_ejected(was))
                };
                for (place, was) in was.iter().enumerate() {
                    if was.is_some_and(ejected) {
                        health.pool.on_event(now, ServerId(place), backends::Event::Return);
                    }
                }
                None
            }
        };
        let shown = self.shown.load();
        Upstream::of(config, servers, places, answers, health, Some(&shown), now)
    }

    fn of(
        config: Arc<site::Pool>,
        servers: Vec<Arc<Server>>,
        places: Arc<Places>,
        answers: Arc<Statuses>,
        health: Health,
        before: Option<&Shown>,
        now: Duration,
    ) -> Upstream {
        let algorithm = algorithm(&config.balance);
        let standing = health.pool.standing(now);
        let table = Arc::new(standing.table(&health.pool, algorithm));
        let turns = match before {
            Some(before) => before.turns.then(now, &before.standing, &standing),
            None => Turns { since: now, falls: 0 },
        };
        let upstream = Upstream {
            policy: policy(&config),
            config,
            algorithm,
            servers,
            places,
            answers,
            shown: ArcSwap::from_pointee(Shown { standing, table, turns }),
            health: Mutex::new(health),
        };
        let mut health = upstream.health.lock();
        let shown = upstream.shown.load();
        upstream.tell_pool(&mut health, &shown.standing);
        upstream.limit(&shown.standing, &health.pool);
        drop((health, shown));
        upstream
    }
}

fn queue(config: &site::Pool) -> slots::Settings {
    // For how long it waits a request knows itself.
    let site::Queue { timeout: _, length } = config.queue;
    slots::Settings { length, server_length: length }
}

fn settings(config: &site::Pool) -> backends::Settings {
    backends::Settings {
        slow_start: config.slow_start.unwrap_or_default(),
        panic: NonZeroU8::new(percent(config.panic)),
        backups: Backups::First,
    }
}

fn configured(config: &site::Pool) -> Vec<Configured> {
    let of = |server: &site::Server| Configured {
        name: server.name.as_ref().into(),
        weight: backends::Weight::new(server.weight.get()).unwrap_or(backends::Weight::MOST),
        limit: server.max_connections,
        capacity: server.capacity.map(|capacity| capacity.0),
        role: if server.backup { Role::Backup } else { Role::Active },
        check: server.check.as_ref().map(|check| check.target.check.timing.thresholds()),
        has_agent: config.agent_check.is_some(),
        administrative: Administrative::Ready,
    };
    config.servers.iter().map(of).collect()
}

fn watched(config: &site::Pool, breaker: site::Breaker) -> outlier::Settings {
    let site::Breaker { consecutive_errors, eject, max_eject, max_ejected, interval } = breaker;
    outlier::Settings {
        consecutive_errors,
        counts: match config.mode {
            site::Mode::Http => outlier::Counts::Gateway,
            site::Mode::Tcp => outlier::Counts::Connections,
        },
        base_ejection_time: eject,
        max_ejection_time: max_eject,
        interval,
        max_ejection_percent: percent(max_ejected),
    }
}

fn algorithm(balance: &site::Balance) -> Algorithm {
    let percent = |bound: site::LoadBound| Factor::new((bound.get() * 100.0).ceil() as u16);
    match &balance.algorithm {
        site::Algorithm::RoundRobin => Algorithm::RoundRobin,
        site::Algorithm::LeastConnections => Algorithm::LeastConnections,
        site::Algorithm::RandomTwo => Algorithm::RandomTwo,
        site::Algorithm::First => Algorithm::First,
        site::Algorithm::Source | site::Algorithm::Uri | site::Algorithm::Header(_) => {
            Algorithm::Hash { bound: balance.bound.and_then(percent) }
        }
    }
}

/// The config counts the first try too.
fn policy(config: &site::Pool) -> Policy {
    let site::Retry { attempts, on, .. } = &config.retry;
    let again = NonZeroU32::get(*attempts) - 1;
    Policy {
        attempts: u8::try_from(again).unwrap_or(u8::MAX),
        on: on.iter().map(cause).collect(),
        ..Policy::default()
    }
}

fn cause(on: &site::RetryOn) -> Cause {
    match *on {
        site::RetryOn::ConnFailure => Cause::NotConnected,
        site::RetryOn::EmptyResponse => Cause::EmptyResponse,
        site::RetryOn::JunkResponse => Cause::JunkResponse,
        site::RetryOn::ResponseTimeout => Cause::ResponseTimeout,
        site::RetryOn::Status(status) => Cause::Status(status),
    }
}
