//! What a name server tells of itself: its world, its board, its overrides, and what wants attention.
//!
//! Made from what the keeper holds; shown as text or JSON. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Write as _};

use common::names::few;
use jiff::{SignedDuration, Timestamp};
use serde::{Serialize, Serializer};

use crate::health::board::{Duty, Health, Standing};
use crate::health::overrides::{Override, Phase, SLOPE};
use crate::peers;
use crate::snapshot::Snapshot;
use crate::steer::Failing;
use crate::world::{Act, Node};

/// Names of services that a line tells; of more, how many.
pub const MOST_NAMED: usize = 3;

/// What came of the last reload.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct LastReload {
    pub at: Timestamp,
    /// Why the world that answered before still does.
    pub refused: Option<String>,
}

/// What a status is made of.
pub struct StatusOf<'a> {
    pub node: &'a Node,
    pub snapshot: &'a Snapshot,
    pub started: Timestamp,
    pub board_since: Timestamp,
    pub overrides_ok: bool,
    pub is_persisted: bool,
    /// The clock is this far behind the last order: then time stands still for all orders.
    pub clock_behind: Option<SignedDuration>,
    pub last_reload: Option<&'a LastReload>,
    pub restart_needed: &'a [&'static str],
    /// Overrides that touch nothing, each told.
    pub untouching: Vec<String>,
    /// Vantages whose word does not count, agents that are not heard, and what agents warn of, each told.
    pub unheard: Vec<String>,
    /// Why orders given before the start are not in force.
    pub lost: Option<&'a str>,
    pub peers: Vec<PeerTold>,
    /// Peers of which orders are not taken, each told.
    pub unmerged: Vec<String>,
    pub overrides_in_force: usize,
    pub now: Timestamp,
}

#[derive(Clone, Debug, Serialize)]
pub struct Status {
    pub node: String,
    pub cluster: String,
    pub version: &'static str,
    pub now: Timestamp,
    pub started: Timestamp,
    pub epoch: String,
    pub board: BoardTold,
    pub last_reload: Option<LastReload>,
    /// Keys of node.toml that another value waits for.
    pub restart_needed: Vec<&'static str>,
    pub overrides_in_force: usize,
    /// The other name servers of the cluster, as far as they are listed.
    pub peers: Vec<PeerTold>,
    /// What somebody should look at; empty if all is well.
    pub attention: Vec<String>,
    pub services: Vec<ServiceTold>,
}

#[derive(Clone, Debug, Serialize)]
pub struct BoardTold {
    pub number: u64,
    pub digest: String,
    pub since: Timestamp,
}

#[derive(Clone, Debug, Serialize)]
pub struct PeerTold {
    pub peer: String,
    pub address: String,
    /// `agrees`, `differs` (not for long), `never_heard`, `silent`, `other_epoch` or `board_divergence`.
    pub standing: &'static str,
    /// Whether somebody has to look at it.
    pub is_alarming: bool,
    pub why: String,
}

#[derive(Clone, Debug, Serialize)]
pub struct ServiceTold {
    pub service: String,
    pub act: Act,
    /// Whether the fail mode answers.
    pub failing: Failing,
    pub sites: Vec<SiteTold>,
}

#[derive(Clone, Debug, Serialize)]
pub struct SiteTold {
    pub site: String,
    pub health: &'static str,
    pub why: String,
    pub duty: &'static str,
    pub duty_why: Option<String>,
    pub weight: u32,
    /// Whose word the weight is; `None` if it is the configured one.
    pub weight_why: Option<String>,
    /// The share of clients taken now.
    pub admit: f64,
}

/// One override, as people look it up.
#[derive(Clone, Debug, Serialize)]
pub struct OverrideTold {
    /// Its stamp; `None` if it stands in the file.
    pub id: Option<String>,
    pub order: String,
    pub site: String,
    pub service: String,
    /// `None`: from the beginning.
    pub since: Option<Timestamp>,
    pub until: Option<Timestamp>,
    pub state: OverrideState,
    pub who: String,
    pub why: String,
}

/// What an override does now.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum OverrideState {
    ToCome,
    /// A drain under way: so much of it is done.
    Draining {
        percent: u32,
    },
    InForce,
    /// The id of the later one that decides instead.
    OutrankedBy(String),
    Over,
}

impl Status {
    pub fn new(of: &StatusOf<'_>) -> Status {
        let world = of.snapshot.world();
        let board = &of.snapshot.board;
        let services: Vec<ServiceTold> = world
            .service_ids()
            .map(|id| {
                let service = world.service(id);
                let standings = service.candidates.iter().zip(&board.of_service(id).standings);
                let sites = standings
                    .map(|(candidate, standing)| {
                        SiteTold::new(&world.site(candidate.site).name, standing)
                    })
                    .collect();
                let failing = of.snapshot.failing(id);
                ServiceTold { service: service.name.to_host(), act: service.act, failing, sites }
            })
            .collect();
        Status {
            node: of.node.name.to_string(),
            cluster: of.node.cluster.to_string(),
            version: env!("CARGO_PKG_VERSION"),
            now: of.now,
            started: of.started,
            epoch: world.epoch.to_string(),
            board: BoardTold {
                number: board.number,
                digest: board.digest.to_string(),
                since: of.board_since,
            },
            last_reload: of.last_reload.cloned(),
            restart_needed: of.restart_needed.to_vec(),
            overrides_in_force: of.overrides_in_force,
            peers: of.peers.clone(),
            attention: attention(of, &services),
            services,
        }
    }

    /// For people.
    pub fn text(&self) -> String {
        let mut text = String::new();
        let BoardTold { number, digest, since } = &self.board;
        let overrides = self.overrides_in_force;
        let _ = writeln!(text, "{} of {}, version {}", self.node, self.cluster, self.version);
        let _ = writeln!(text, "started    {}", to_second(self.started));
        let _ = writeln!(text, "epoch      {}", self.epoch);
        let _ = writeln!(text, "board      {number} {digest} since {}", to_second(*since));
        let _ = writeln!(text, "overrides  {overrides} in force");
        if let Some(LastReload { at, refused }) = &self.last_reload {
            let what = if refused.is_some() { "refused" } else { "done" };
            let _ = writeln!(text, "reload     {what} at {}", to_second(*at));
        }
        for PeerTold { peer, address, standing, is_alarming, why } in &self.peers {
            let _ = write!(text, "peer       {peer} at {address} {standing}");
            // Nobody is alarmed yet, so nothing below tells of it.
            if !is_alarming && *standing != peers::Standing::Agrees.as_str() {
                let _ = write!(text, ": {why}");
            }
            text.push('\n');
        }
        for one in &self.attention {
            let _ = writeln!(text, "ATTENTION  {one}");
        }
        let mut rows = vec![row(["service", "site", "health", "duty", "weight", "admit", "why"])];
        for ServiceTold { service, act, sites, .. } in &self.services {
            let service = match act {
                Act::Serve => service.clone(),
                Act::Observe => format!("{service} ({})", act.as_str()),
            };
            for (index, site) in sites.iter().enumerate() {
                let name = if index == 0 { service.as_str() } else { "" };
                let weight = site.weight.to_string();
                // What a site would take that is down is no news, and looks like some.
                let admit = match site.health {
                    health if health == Health::Down.as_str() => "-".to_owned(),
                    _ => format!("{:.2}", site.admit),
                };
                let why = site.duty_why.as_deref().unwrap_or(&site.why);
                rows.push(row([name, &site.site, site.health, site.duty, &weight, &admit, why]));
            }
        }
        text.push('\n');
        text + &aligned(&rows)
    }
}

/// Each site that is down and not drained, for which services that are answered, and why in the first of them.
fn down(snapshot: &Snapshot) -> impl Iterator<Item = String> {
    let world = snapshot.world();
    let mut down: BTreeMap<&str, (BTreeSet<String>, &str)> = BTreeMap::new();
    for id in world.service_ids().filter(|id| world.service(*id).act == Act::Serve) {
        let service = world.service(id);
        let standings = service.candidates.iter().zip(&snapshot.board.of_service(id).standings);
        for (candidate, standing) in standings {
            if standing.health == Health::Down && standing.duty == Duty::Serving {
                let site = &*world.site(candidate.site).name;
                let (services, _) =
                    down.entry(site).or_insert_with(|| (BTreeSet::new(), &*standing.why));
                services.insert(service.name.to_host());
            }
        }
    }
    down.into_iter().map(|(site, (services, why))| {
        let services = few(services.iter(), MOST_NAMED);
        format!("site {site} is down for {services}: {why}")
    })
}

fn attention(of: &StatusOf<'_>, services: &[ServiceTold]) -> Vec<String> {
    let mut all = Vec::new();
    if let Some(why) = of.last_reload.and_then(|last| last.refused.as_deref()) {
        let first = why.lines().next().unwrap_or_default();
        all.push(format!("the config on disk is refused, the one before answers: {first}"));
    }
    if !of.restart_needed.is_empty() {
        let keys = of.restart_needed.join(", ");
        all.push(format!("node.toml has other values that need a restart: {keys}"));
    }
    if let Some(why) = of.lost {
        all.push(format!("orders given before the start are lost: {why}"));
    } else if !of.overrides_ok {
        all.push(
            "overrides.toml is refused, what it said before holds: the log says why".to_owned(),
        );
    }
    all.extend(of.untouching.iter().cloned());
    all.extend(of.unheard.iter().cloned());
    all.extend(of.unmerged.iter().cloned());
    let alarming = of.peers.iter().filter(|peer| peer.is_alarming);
    all.extend(
        alarming
            .map(|PeerTold { peer, standing, why, .. }| format!("peer {peer}: {standing}: {why}")),
    );
    if !of.is_persisted {
        all.push(
            "the state directory cannot be written: a restart would not know of orders".into(),
        );
    }
    if let Some(behind) = of.clock_behind {
        all.push(format!(
            "the clock is {behind:#} behind the last order: until it has caught up, orders neither \
             begin nor end"
        ));
    }
    all.extend(down(of.snapshot));
    for ServiceTold { service, act, failing, .. } in services {
        all.push(match (failing, act) {
            (Failing::No, Act::Serve | Act::Observe) => continue,
            (Failing::AllDrained, Act::Serve | Act::Observe) => {
                format!("{service}: every site is drained, so all answer as if none were")
            }
            (Failing::AllDown, Act::Observe) => {
                format!("{service}: no site is fit to serve; it is only observed")
            }
            (Failing::AllDown, Act::Serve) => {
                format!("{service}: no undrained site is fit to serve, and when_all_down decides")
            }
        });
    }
    all
}

impl SiteTold {
    fn new(site: &str, standing: &Standing) -> SiteTold {
        let is_leaving = standing.duty == Duty::Serving && !standing.duty_why.is_empty();
        SiteTold {
            site: site.to_owned(),
            health: standing.health.as_str(),
            why: standing.why.to_string(),
            duty: match standing.duty {
                Duty::Drained => "drained",
                Duty::Serving if is_leaving => "draining",
                Duty::Serving => "serving",
            },
            duty_why: (!standing.duty_why.is_empty()).then(|| standing.duty_why.to_string()),
            weight: standing.weight,
            weight_why: (!standing.weight_why.is_empty()).then(|| standing.weight_why.to_string()),
            admit: match standing.duty {
                Duty::Drained => 0.0,
                Duty::Serving => standing.admit().share(),
            },
        }
    }
}

impl OverrideTold {
    /// `outranked_by` is the id of the later one that decides instead.
    pub fn new(
        id: Option<String>,
        said: &Override,
        outranked_by: Option<String>,
        now: Timestamp,
    ) -> OverrideTold {
        let state = match (said.phase(now), outranked_by) {
            (Phase::Idle, _) if said.is_over(now) => OverrideState::Over,
            (Phase::Idle, _) => OverrideState::ToCome,
            (Phase::Full | Phase::Draining { .. }, Some(by)) => OverrideState::OutrankedBy(by),
            (Phase::Full, None) => OverrideState::InForce,
            (Phase::Draining { steps }, None) => {
                OverrideState::Draining { percent: steps * 100 / SLOPE }
            }
        };
        OverrideTold {
            id,
            order: said.order.to_string(),
            site: said.site.to_string(),
            service: said.service.to_string(),
            since: (said.since > Timestamp::UNIX_EPOCH).then_some(said.since),
            until: said.until,
            state,
            who: said.who.to_string(),
            why: said.why.to_string(),
        }
    }
}

impl OverrideState {
    /// Whether it has a say, or will have one.
    pub fn matters(&self) -> bool {
        match self {
            OverrideState::ToCome | OverrideState::Draining { .. } | OverrideState::InForce => true,
            OverrideState::OutrankedBy(_) | OverrideState::Over => false,
        }
    }
}

impl fmt::Display for OverrideState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OverrideState::ToCome => f.write_str("to come"),
            OverrideState::Draining { percent } => write!(f, "{percent} % gone"),
            OverrideState::InForce => f.write_str("in force"),
            OverrideState::OutrankedBy(id) => write!(f, "outranked by {id}"),
            OverrideState::Over => f.write_str("over"),
        }
    }
}

impl Serialize for OverrideState {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Serialize for Act {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl Serialize for Failing {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// All overrides, for people: of two about the same, the later one holds.
pub fn overrides_text(all: &[OverrideTold]) -> String {
    if all.is_empty() {
        return "no overrides\n".to_owned();
    }
    let mut rows =
        vec![row(["id", "order", "site", "service", "state", "since", "until", "who", "why"])];
    let moment = |at: Option<Timestamp>| at.map_or("-".to_owned(), |at| to_second(at).to_string());
    for one in all {
        let id = one.id.as_deref().unwrap_or("file");
        let (since, until) = (moment(one.since), moment(one.until));
        let OverrideTold { order, site, service, state, who, why, .. } = one;
        let state = state.to_string();
        rows.push(row([id, order, site, service, &state, &since, &until, who, why]));
    }
    aligned(&rows)
}

/// As people want to read an instant.
pub fn to_second(at: Timestamp) -> Timestamp {
    Timestamp::from_second(at.as_second()).unwrap_or(at)
}

fn row<const N: usize>(cells: [&str; N]) -> Vec<String> {
    cells.map(str::to_owned).to_vec()
}

/// Columns as wide as their widest cell.
fn aligned(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let cells = row.iter().zip(&widths).map(|(cell, &width)| format!("{cell:<width$}"));
        let line = cells.collect::<Vec<_>>().join("  ");
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}
