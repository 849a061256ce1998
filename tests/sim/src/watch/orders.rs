//! What operators order at one name server holds at all: promise 9, and §4.6.

use std::collections::BTreeMap;
use std::time::Duration;

use gslb_dns::health::board::Duty;

use crate::earth::SITES;
use crate::name_server::NameServer;
use crate::network::Place;
use crate::run::Stage;

use super::{CONNECTED, Findings, IN_FORCE, Promise, UNDER_WAY, is_fair};

/// `7@dns1`: the number first, then the name.
type Stamp = (u64, String);

#[derive(Clone, Debug)]
struct Ordered {
    stamp: Stamp,
    is_drain: bool,
    site: usize,
}

#[derive(Debug)]
pub struct Orders {
    all: Vec<Ordered>,
    /// By name server: since when it knows which.
    known: Vec<BTreeMap<Stamp, Duration>>,
    /// Until when a name server stands still, or did.
    unsteady: Vec<Duration>,
    /// When the weather was last not fair.
    storm: Duration,
}

impl Orders {
    pub fn new(servers: usize) -> Orders {
        Orders {
            all: vec![],
            known: vec![BTreeMap::new(); servers],
            unsteady: vec![Duration::ZERO; servers],
            storm: Duration::ZERO,
        }
    }

    pub fn unsteady(&mut self, server: usize, until: Duration) {
        self.unsteady[server] = self.unsteady[server].max(until);
    }

    pub fn started(&mut self, server: usize, forgets: bool) {
        if forgets {
            self.known[server].clear();
        }
    }

    pub fn ordered(
        &mut self,
        now: Duration,
        server: usize,
        id: Option<String>,
        order: &str,
        site: usize,
    ) {
        let Some(stamp) = id.as_deref().and_then(stamp) else { return };
        self.known[server].insert(stamp.clone(), now);
        // Who has lost its state may give a stamp again that it gave before.
        self.all.retain(|one| one.stamp != stamp);
        self.all.push(Ordered { stamp, is_drain: order == "drain", site });
    }

    pub fn look(&mut self, now: Duration, stage: &Stage, findings: &mut Findings<'_>) {
        if !is_fair(&stage.network) {
            self.storm = now;
        }
        for server in &stage.servers {
            self.learn(now, server, findings);
        }
        self.everywhere(now, stage, findings);
    }

    fn learn(&mut self, now: Duration, server: &NameServer, findings: &mut Findings<'_>) {
        let Some(keeper) = server.keeper() else { return };
        let told = keeper.overrides(server.clocks(now).wall);
        let ids: Vec<Stamp> = told.iter().filter_map(|one| stamp(one.id.as_deref()?)).collect();
        let known = &mut self.known[server.number];
        for lost in known.keys() {
            findings.hold(Promise::OrdersStay, ids.contains(lost), || {
                format!("{} knows no more of {}@{}", server.name, lost.0, lost.1)
            });
        }
        for stamp in ids {
            known.entry(stamp).or_insert(now);
        }
        let Some(snapshot) = server.snapshot() else { return };
        for (site, name) in SITES.iter().enumerate().take(snapshot.world().sites.len()) {
            let of_site =
                self.all.iter().filter(|one| one.site == site && known.contains_key(&one.stamp));
            let last = of_site.max_by(|one, other| one.stamp.cmp(&other.stamp));
            // Whom no order that is known here is about serves.
            let expected = match last {
                Some(Ordered { is_drain: true, .. }) => Duty::Drained,
                Some(_) | None => Duty::Serving,
            };
            for id in snapshot.world().service_ids() {
                let duty = snapshot.board.of_service(id).standings[site].duty;
                findings.hold(Promise::OrdersByStamp, duty == expected, || {
                    let stamp = last.map(|last| &last.stamp);
                    format!("{} has {name} {duty:?} against {stamp:?}", server.name)
                });
            }
        }
    }

    fn everywhere(&self, now: Duration, stage: &Stage, findings: &mut Findings<'_>) {
        for one in &stage.servers {
            for other in &stage.servers {
                let places = [one, other].map(|server| Place::Server(server.number));
                let is_connected = stage.network.is_whole(places[0], places[1])
                    && one.keeper().is_some()
                    && other.keeper().is_some();
                if one.number == other.number || !is_connected {
                    continue;
                }
                let changed = [one.since, other.since, stage.network.since(places[0], places[1])];
                let unsteady = self.unsteady[one.number].max(self.unsteady[other.number]);
                let changed = changed.into_iter().fold(unsteady.max(self.storm), Duration::max);
                let (theirs, ours) = (&self.known[other.number], &self.known[one.number]);
                for (stamp, since) in ours {
                    if now <= (changed + CONNECTED).max(*since) + IN_FORCE + UNDER_WAY {
                        continue;
                    }
                    findings.hold(Promise::OrdersEverywhere, theirs.contains_key(stamp), || {
                        let (number, node) = stamp;
                        let (one, other) = (&one.name, &other.name);
                        format!("{number}@{node} is known at {one} and not at {other}")
                    });
                }
            }
        }
    }
}

fn stamp(text: &str) -> Option<Stamp> {
    let (number, node) = text.split_once('@')?;
    Some((number.parse().ok()?, node.to_owned()))
}
