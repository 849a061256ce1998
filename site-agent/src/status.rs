//! What the balancer does now, for people and their tools: `/v1/status`.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use common::report::agent::Vip;
use serde::Serialize;

use crate::backends::{Administrative, Mode, Origin, Serves, State, Unit};
use crate::balancer::Shown;
use crate::check::Held;
use crate::rounds::Looked;
use crate::site::{Mode as Spoken, PoolId, ServerId};
use crate::upstream::{CLASSES, Told, Upstream};

#[derive(Debug, Serialize)]
pub struct Status {
    pub version: &'static str,
    /// What name servers are told; absent where none is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub told: Option<Vec<Vip>>,
    pub frontends: Vec<FrontendStatus>,
    pub pools: Vec<PoolStatus>,
}

#[derive(Debug, Serialize)]
pub struct FrontendStatus {
    pub name: String,
    pub mode: String,
    pub bind: Vec<String>,
    pub connections: u64,
    pub connections_total: u64,
    pub requests_total: u64,
}

#[derive(Debug, Serialize)]
pub struct PoolStatus {
    pub name: String,
    /// What the name servers would be told: `serving`, `empty` or `drained`.
    pub state: &'static str,
    /// Who takes requests: `active`, `backup`, `panic` or `nobody`.
    pub mode: &'static str,
    /// Of what all servers could take, what the usable ones can.
    pub capacity: CapacityStatus,
    pub waiting: usize,
    /// What its requests were answered, by servers and by us; absent of tcp.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub responses_total: Option<Responses>,
    pub servers: Vec<ServerStatus>,
}

/// By the class of the status: `5xx`; `none` where nothing was answered.
type Responses = BTreeMap<&'static str, u64>;

#[derive(Debug, Serialize)]
pub struct CapacityStatus {
    pub usable: u64,
    pub whole: u64,
    pub unit: &'static str,
}

#[derive(Debug, Serialize)]
pub struct ServerStatus {
    pub name: String,
    pub address: String,
    /// In HAProxy's words: `UP`, `DOWN`, `DRAIN`, `MAINT`, `UP 1/3` on the way to down.
    pub status: String,
    /// `ready`, `drain` or `maint`: what is ordered.
    pub administrative: &'static str,
    /// By whom, where that is not `ready`: `command`, `agent` or `config`.
    pub set_by: Option<&'static str>,
    /// As the last order has it, or the config.
    pub weight: u32,
    pub max_connections: Option<u32>,
    /// `all`, `persistent` for those alone that belong to it, or `nothing`.
    pub serves: &'static str,
    /// The last look, where there is a check and one has ended.
    pub last_look: Option<LookStatus>,
    pub in_flight: u32,
    pub requests_total: u64,
    /// Its answers that went to clients; absent of tcp.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub responses_total: Option<Responses>,
    pub connections_total: u64,
    pub connect_errors_total: u64,
    pub response_errors_total: u64,
    pub retries_total: u64,
}

#[derive(Debug, Serialize)]
pub struct LookStatus {
    pub passed: bool,
    /// Why not: one of the reasons of `probe look`, and what was seen.
    pub reason: Option<&'static str>,
    pub detail: String,
    pub took_ms: u64,
    /// How long ago it ended.
    pub ago_ms: u64,
}

impl Status {
    /// `shown` has to be loaded while the checks were held already, so that both are of one site.
    pub fn of(shown: &Shown, checks: &Held<'_>, told: Option<&[Vip]>, now: Duration) -> Status {
        let frontend = |(config, traffic): &(std::sync::Arc<crate::site::Frontend>, _)| {
            let traffic: &std::sync::Arc<crate::worker::Traffic> = traffic;
            FrontendStatus {
                name: config.name.to_string(),
                mode: config.mode.to_string(),
                bind: config.bind.iter().map(ToString::to_string).collect(),
                connections: traffic.current.load(Relaxed),
                connections_total: traffic.connections.load(Relaxed),
                requests_total: traffic.requests.load(Relaxed),
            }
        };
        let pools = shown.upstreams.iter().enumerate();
        Status {
            version: env!("CARGO_PKG_VERSION"),
            told: told.map(<[Vip]>::to_vec),
            frontends: shown.frontends.iter().map(frontend).collect(),
            pools: pools
                .map(|(place, upstream)| PoolStatus::of(PoolId(place), upstream, checks, now))
                .collect(),
        }
    }
}

impl PoolStatus {
    fn of(id: PoolId, upstream: &Upstream, checks: &Held<'_>, now: Duration) -> PoolStatus {
        let server = |(place, told)| {
            let look = checks.seen(id, ServerId(place)).and_then(|shown| shown.check?.last);
            let look = look.map(|look| LookStatus::of(&look, now));
            ServerStatus::of(told, look, upstream.config.mode)
        };
        let shown = upstream.shown();
        let standing = &shown.standing;
        PoolStatus {
            name: upstream.config.name.to_string(),
            state: match standing.state {
                State::Serving => "serving",
                State::Empty => "empty",
                State::Drained => "drained",
            },
            mode: match standing.mode {
                Mode::Active => "active",
                Mode::Starting => "starting",
                Mode::Backup => "backup",
                Mode::Panic => "panic",
                Mode::Nobody => "nobody",
            },
            capacity: CapacityStatus {
                usable: standing.capacity.usable,
                whole: standing.capacity.whole,
                unit: match standing.capacity.unit {
                    Unit::RequestsPerSecond => "requests_per_second",
                    Unit::Thousandths => "thousandths_of_a_server",
                },
            },
            waiting: upstream.waiting(),
            responses_total: (upstream.config.mode == Spoken::Http)
                .then(|| CLASSES.into_iter().zip(upstream.answers.load()).collect()),
            servers: upstream.told().iter().enumerate().map(server).collect(),
        }
    }
}

impl ServerStatus {
    fn of(told: &Told, last_look: Option<LookStatus>, spoken: Spoken) -> ServerStatus {
        let Told { server, status, serves, known } = told;
        let counts = &server.counts;
        ServerStatus {
            name: server.name.to_string(),
            address: server.address().to_string(),
            status: status.to_string(),
            administrative: match known.administrative() {
                Administrative::Ready => "ready",
                Administrative::Drain => "drain",
                Administrative::Maint => "maint",
            },
            set_by: known.ordered().map(|(_, origin)| match origin {
                Origin::Command => "command",
                Origin::Agent => "agent",
                Origin::Config => "config",
            }),
            weight: known.whole_weight(),
            max_connections: known.whole_limit().map(NonZeroU32::get),
            serves: match serves {
                Serves::All => "all",
                Serves::Persistent => "persistent",
                Serves::Nothing => "nothing",
            },
            last_look,
            in_flight: server.in_flight(),
            requests_total: counts.requests.load(Relaxed),
            responses_total: (spoken == Spoken::Http)
                .then(|| CLASSES.into_iter().zip(counts.answers.load()).skip(1).collect()),
            connections_total: counts.connections.load(Relaxed),
            connect_errors_total: counts.connect_errors.load(Relaxed),
            response_errors_total: counts.response_errors.load(Relaxed),
            retries_total: counts.retries.load(Relaxed),
        }
    }
}

impl LookStatus {
    fn of(looked: &Looked, now: Duration) -> LookStatus {
        let Looked { seen, ended, took } = looked;
        let milliseconds = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let (reason, detail) = match &seen.outcome {
            Ok(()) => (None, String::new()),
            Err(failure) => (Some(failure.reason.as_str()), failure.detail.clone()),
        };
        LookStatus {
            passed: reason.is_none(),
            reason,
            detail,
            took_ms: milliseconds(*took),
            ago_ms: milliseconds(now.saturating_sub(*ended)),
        }
    }
}
