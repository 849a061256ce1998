//! What operators order at one name server holds at all: promise 9, and §4.6.

use std::collections::BTreeMap;
use std::time::Duration;

use gslb_dns::health::board::Duty;

use crate::earth::SITES;
use crate::name_server::NameServer;
use crate::network::Place;
use crate::run::World;

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

    pub fn look(&mut self, now: Duration, world: &World, findings: &mut Findings<'_>) {
        if !is_fair(&world.network) {
            self.storm = now;
        }
        if self.all.is_empty() {
            return;
        }
        for server in &world.servers {
            self.learn(now, server, findings);
        }
        self.everywhere(now, world, findings);
    }

    fn learn(&mut self, now: Duration, server: &NameServer, findings: &mut Findings<'_>) {
        let Some(keeper) = server.keeper() else { return };
        let told = keeper.overrides(server.clocks(now).wall);
        let ids: Vec<Stamp> = told.iter().filter_map(|one| stamp(one.id.as_deref()?)).collect();
        let known = &mut self.known[server.number];
        if let Some((lost, _)) = known.iter().find(|(stamp, _)| !ids.contains(stamp)) {
            findings.find(Promise::OrdersStay, || {
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
            let Some(last) = of_site.max_by(|one, other| one.stamp.cmp(&other.stamp)) else {
                continue;
            };
            for id in snapshot.world().service_ids() {
                let duty = snapshot.board.of_service(id).standings[site].duty;
                if (duty == Duty::Drained) != last.is_drain {
                    findings.find(Promise::OrdersByStamp, || {
                        let stamp = &last.stamp;
                        format!(
                            "{} has {name} {duty:?} against {}@{}",
                            server.name, stamp.0, stamp.1
                        )
                    });
                }
            }
        }
    }

    fn everywhere(&self, now: Duration, world: &World, findings: &mut Findings<'_>) {
        for one in &world.servers {
            for other in &world.servers {
                let places = [one, other].map(|server| Place::Server(server.number));
                let is_connected = world.network.is_whole(places[0], places[1])
                    && one.keeper().is_some()
                    && other.keeper().is_some();
                if one.number == other.number || !is_connected {
                    continue;
                }
                let changed = [one.since, other.since, world.network.since(places[0], places[1])];
                let unsteady = self.unsteady[one.number].max(self.unsteady[other.number]);
                let changed = changed.into_iter().fold(unsteady.max(self.storm), Duration::max);
                let (theirs, ours) = (&self.known[other.number], &self.known[one.number]);
                for (stamp, since) in ours.iter().filter(|(stamp, _)| !theirs.contains_key(stamp)) {
                    let due = (changed + CONNECTED).max(*since) + IN_FORCE + UNDER_WAY;
                    if now > due {
                        findings.find(Promise::OrdersEverywhere, || {
                            let (number, node) = stamp;
                            let (one, other) = (&one.name, &other.name);
                            format!("{number}@{node} is known at {one} and not at {other}")
                        });
                    }
                }
            }
        }
    }
}

fn stamp(text: &str) -> Option<Stamp> {
    let (number, node) = text.split_once('@')?;
    Some((number.parse().ok()?, node.to_owned()))
}
