//! What must be so once nothing has happened to anybody for a while: promises 3 and 4, and that what is dead is down, what
//! is well is up, and what is said is heard; and, at any time, that what is believed of a producer is what it said.

use std::time::Duration;

use common::telling::VALID;
use gslb_dns::health::board::Health;
use gslb_dns::inside::{Ground, State};
use gslb_dns::sight::Sight;
use gslb_dns::snapshot::Snapshot;

use crate::clock::s;
use crate::earth::SITES;
use crate::name_server::NameServer;
use crate::network::Place;
use crate::run::{Reached, Stage};
use crate::site_box::agent_name;

use super::ear::Ear;
use super::{APART, Findings, Promise, SETTLED};

/// What is believed of each producer's word is what it said when it was last heard, and holds for as long as it said.
pub fn believed(
    now: Duration,
    stage: &Stage,
    server: &NameServer,
    ear: &Ear,
    findings: &mut Findings<'_>,
) {
    let Some(keeper) = server.keeper().filter(|_| !server.is_stalled(now)) else { return };
    let sight = keeper.sight(server.clocks(now));
    agents(now, server, &sight, ear, findings);
    let Some(service) = sight.services.first() else { return };
    for (site, seen) in service.sites.iter().enumerate() {
        let votes = || seen.targets.iter().flat_map(|target| &target.votes);
        for (number, vantage) in stage.vantages.iter().enumerate() {
            let vantage = &vantage.producer.name;
            let vote = votes().find(|vote| *vote.vantage == **vantage);
            let told = ear.vantages[number].as_ref().and_then(|told| told.sites[site].as_ref());
            let said = told.map_or(("none", None), |(_, word)| (word.state.as_str(), word.reason));
            let known = vote.map_or(("none", None), |vote| (vote.state, vote.reason));
            // The keeper looks at the time twice a second.
            let is_held = ear.fresh(now.saturating_sub(s(1)), number).is_some();
            let counts = vote.is_some_and(|vote| vote.counts);
            findings.hold(Promise::BelievedAsSaid, said == known && (is_held || !counts), || {
                let (server, site) = (&server.name, SITES[site]);
                let held = if is_held { "" } else { ", and is silent" };
                format!("{server} has {vantage} say {known:?} of {site}: it said {said:?}{held}")
            });
        }
    }
}

/// Of agents: who is heard has spoken lately, and of a VIP that one of them owns what that one said is what is believed.
fn agents(
    now: Duration,
    server: &NameServer,
    sight: &Sight,
    ear: &Ear,
    findings: &mut Findings<'_>,
) {
    for inside in &sight.inside {
        let Some(site) = SITES.iter().position(|name| *name == inside.site) else { continue };
        let told = |agent: &str| {
            let which = (0..2).find(|which| agent_name(&inside.site, *which) == agent)?;
            ear.agents[2 * site + which].as_ref()
        };
        for agent in inside.agents.iter().filter(|agent| agent.standing == "heard") {
            let is_fresh = told(&agent.agent).is_some_and(|told| now < told.arrived + VALID + s(1));
            findings.hold(Promise::BelievedAsSaid, is_fresh, || {
                format!("{} hears {}, which is silent", server.name, agent.agent)
            });
        }
        for vip in inside.vips.iter().filter(|vip| vip.ground == Ground::Owner) {
            let Some(owner) = vip.owner.as_deref().filter(|_| vip.state != State::Stale) else {
                continue;
            };
            let said = told(owner).and_then(|told| {
                told.vips.iter().find(|said| (said.addr, said.port) == (vip.addr, vip.port))
            });
            let said = said.map_or("nothing", |said| said.state.as_str());
            let known = vip.state.as_str();
            findings.hold(Promise::BelievedAsSaid, said == known, || {
                format!("{} has {owner} say {known} of its VIP: it said {said}", server.name)
            });
        }
    }
}

/// What all who are heard see of a site, for a while already; `None` where they do not see the same, or are too few.
fn agreed(now: Duration, stage: &Stage, server: &NameServer, site: usize) -> Option<bool> {
    let shape = &stage.plan.shape;
    let (mut count, mut domains, mut served) = (0, 0_u64, 0);
    for (number, vantage) in stage.vantages.iter().enumerate() {
        let place = Place::Vantage(number);
        let is_heard = vantage.runs()
            && now >= vantage.stalled_until
            && stage.network.is_whole(place, Place::Server(server.number));
        if !is_heard || !stage.network.is_whole(place, Place::References) {
            continue;
        }
        count += 1;
        domains |= 1 << shape.domains[number];
        let reached: Vec<Reached> =
            (0..2).map(|which| stage.reached(now, number, site, which)).collect();
        match (reached[0] == Reached::Served, reached[1] == Reached::Served) {
            (true, true) => served += 1,
            (false, false) => {}
            _ => return None,
        }
    }
    let is_quorum = count >= shape.vantages && domains.count_ones() >= 2;
    match served {
        _ if !is_quorum => None,
        0 => Some(false),
        all if all == count => Some(true),
        _ => None,
    }
}

pub fn in_time(
    now: Duration,
    stage: &Stage,
    server: &NameServer,
    ear: &Ear,
    findings: &mut Findings<'_>,
) {
    let Some(snapshot) = server.snapshot().filter(|_| !server.is_stalled(now)) else { return };
    heard(now, stage, server, ear, findings);
    let sites = stage.plan.shape.sites;
    let agreed: Vec<Option<bool>> =
        (0..sites).map(|site| agreed(now, stage, server, site)).collect();
    let dead = agreed.iter().filter(|served| **served == Some(false)).count();
    let others_serve = agreed.iter().filter(|served| **served == Some(true)).count();
    for id in snapshot.world().service_ids() {
        let name = snapshot.world().service(id).name.to_host().to_string();
        let is_capped = name.starts_with("www");
        for (site, standing) in snapshot.board.of_service(id).standings.iter().enumerate() {
            match agreed[site] {
                // Of several dead ones some are held in, and which is the cap's to say.
                Some(false) if !is_capped || dead == 1 && others_serve == sites - 1 => {
                    let is_down = standing.health == Health::Down;
                    findings.hold(Promise::DownInTime, is_down, || {
                        let site = SITES[site];
                        let why = &standing.why;
                        format!("{} still answers {name} with {site}: {why}", server.name)
                    });
                }
                Some(true) if !ear.may_wait(now, site) => {
                    findings.hold(Promise::BackInTime, standing.health == Health::Up, || {
                        let site = SITES[site];
                        let why = &standing.why;
                        format!("{} still leaves {site} out of {name}: {why}", server.name)
                    });
                }
                Some(_) | None => {}
            }
        }
    }
}

/// What a vantage says is known, unless it has just begun to say it.
fn heard(
    now: Duration,
    stage: &Stage,
    server: &NameServer,
    ear: &Ear,
    findings: &mut Findings<'_>,
) {
    let at = Place::Server(server.number);
    for (number, vantage) in stage.vantages.iter().enumerate() {
        let is_connected = stage.network.is_whole(Place::Vantage(number), at);
        if !is_connected || !vantage.runs() || vantage.changed + s(3) > now {
            continue;
        }
        let told = ear.fresh(now, number);
        let is_known = told.is_some_and(|told| told.words == *vantage.said(server.number));
        findings.hold(Promise::HeardInTime, is_known, || {
            let (server, vantage) = (&server.name, &vantage.producer.name);
            match told {
                None => format!("{server} hears nothing of {vantage}"),
                Some(_) => format!("{server} does not know what {vantage} says"),
            }
        });
    }
    for (number, one) in stage.boxes.iter().enumerate() {
        let is_connected = stage.network.is_whole(Place::Site(one.site), at);
        if !is_connected || !one.runs() || one.changed + s(3) > now {
            continue;
        }
        let is_heard = ear.agents[number].as_ref().is_some_and(|told| now < told.arrived + VALID);
        findings.hold(Promise::HeardInTime, is_heard, || {
            format!("{} hears nothing of {}", server.name, one.producer.name)
        });
    }
}

/// Name servers that hear the same producers, and each other, have one board.
pub fn same(
    now: Duration,
    stage: &Stage,
    apart: &mut [Option<Duration>],
    findings: &mut Findings<'_>,
) {
    let count = stage.servers.len();
    let producers = stage.vantages.iter().map(|one| one.producer.place);
    let producers: Vec<Place> =
        producers.chain(stage.boxes.iter().map(|one| one.producer.place)).collect();
    for one in 0..count {
        for other in one + 1..count {
            let since = &mut apart[one * count + other];
            let places = [Place::Server(one), Place::Server(other)];
            let is_alike = |producer: &Place| {
                let is_whole = places.map(|place| stage.network.is_whole(*producer, place));
                is_whole[0] == is_whole[1]
            };
            let both = [&stage.servers[one], &stage.servers[other]];
            let boards = both.map(|server| server.snapshot());
            let is_comparable = stage.network.is_whole(places[0], places[1])
                && producers.iter().all(is_alike)
                && both
                    .iter()
                    .all(|server| !server.is_stalled(now) && now >= server.since + SETTLED);
            let [Some(first), Some(second)] = &boards else {
                *since = None;
                continue;
            };
            if !is_comparable {
                *since = None;
                continue;
            }
            let is_same = first.board.digest == second.board.digest;
            *since = if is_same { None } else { since.or(Some(now)) };
            let is_soon = since.is_none_or(|since| now < since + APART);
            findings.hold(Promise::SameBoard, is_soon, || difference(both, [first, second]));
        }
    }
}

/// What two boards have otherwise.
fn difference(servers: [&NameServer; 2], boards: [&Snapshot; 2]) -> String {
    let [first, second] = boards;
    for id in first.world().service_ids() {
        let name = first.world().service(id).name.to_host();
        let both = boards.map(|snapshot| snapshot.board.of_service(id));
        for (site, one) in both[0].standings.iter().enumerate() {
            let other = &both[1].standings[site];
            if one != other {
                let servers = servers.map(|server| &server.name);
                return format!(
                    "{name}, {}: {} has {one:?}, {} has {other:?}",
                    SITES[site], servers[0], servers[1]
                );
            }
        }
        if both[0].last_known != both[1].last_known {
            return format!("{name}: who was fit last differs");
        }
    }
    format!("{} and {} differ", first.board.digest, second.board.digest)
}
