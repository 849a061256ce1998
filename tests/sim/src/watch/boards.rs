//! Each board that answers: promises 1 and 5.

use std::net::IpAddr;
use std::time::Duration;

use gslb_dns::health::board::{Duty, Health};
use gslb_dns::locate::Client;
use gslb_dns::snapshot::{Chosen, Snapshot};
use gslb_dns::steer::Family;

use crate::earth::{MAX_REMOVED, SITES};
use crate::name_server::NameServer;
use crate::run::World;

use super::ear::Ear;
use super::{Findings, Promise};

const CLIENTS: [[u8; 4]; 4] = [[9, 9, 9, 9], [81, 2, 69, 142], [8, 8, 8, 8], [1, 1, 1, 1]];

/// Whether it is another board than the last.
pub fn look(
    now: Duration,
    world: &World,
    server: &NameServer,
    snapshot: &Snapshot,
    ear: &mut Ear,
    findings: &mut Findings<'_>,
) -> bool {
    let number = snapshot.board.number;
    if ear.board == Some(number) {
        return false;
    }
    ear.board = Some(number);
    answers(server, snapshot, findings);
    let ids: Vec<_> = snapshot.world().service_ids().collect();
    let standings = ids.iter().map(|id| &snapshot.board.of_service(*id).standings);
    let health: Vec<Vec<Health>> =
        standings.map(|of| of.iter().map(|one| one.health).collect()).collect();
    if findings.story.is_told() {
        let of = &snapshot.board.of_service(ids[0]);
        for (site, one) in of.standings.iter().enumerate() {
            let (health, duty, admit) = (one.health, one.duty, one.admit.share());
            let name = SITES[site];
            let line = format_args!(
                "{} board {number}: {name} {health:?} {duty:?} x{admit:.2}: {}",
                server.name, one.why
            );
            findings.story.tell(now, line);
        }
    }
    if let Some(before) = &ear.health {
        for (before, after) in before.iter().zip(&health) {
            for site in 0..after.len() {
                if (before[site], after[site]) == (Health::Up, Health::Down) {
                    struck(now, server, ear, site, findings);
                }
            }
        }
    }
    for (id, health) in ids.into_iter().zip(&health) {
        let service = snapshot.world().service(id);
        if service.name.to_host().to_string().starts_with("www") {
            let duties = snapshot.board.of_service(id).standings.iter().map(|one| one.duty);
            most(world, server, ear, health, &duties.collect::<Vec<_>>(), findings);
        }
    }
    ear.health = Some(health);
    true
}

fn answers(server: &NameServer, snapshot: &Snapshot, findings: &mut Findings<'_>) {
    for id in snapshot.world().service_ids() {
        for client in CLIENTS {
            let client = Client::resolver(IpAddr::from(client));
            let decision = snapshot.decide(id, Family::V4, &client, 7);
            let is_nobody = match &decision.chosen {
                Chosen::Sites(choice) => choice.taken.is_empty(),
                Chosen::Static => false,
                Chosen::NoData => true,
            };
            if is_nobody {
                findings.find(Promise::AlwaysAnswers, || {
                    let name = snapshot.world().service(id).name.to_host();
                    format!("{} has no answer for {name}", server.name)
                });
            }
        }
    }
}

/// A site that was up is not any more: somebody has to have said so.
fn struck(now: Duration, server: &NameServer, ear: &Ear, site: usize, findings: &mut Findings<'_>) {
    let memory = ear.memory[site];
    if memory.is_accused || ear.has_flapped(site) || !memory.is_seen {
        return;
    }
    let (up, down, _) = ear.domains_of(now, site);
    let promise = match (down, ear.hears_anybody(now)) {
        (0, _) | (_, false) => Promise::SilenceIsNotDown,
        _ => Promise::NoMinority,
    };
    findings.find(promise, || {
        let (server, site) = (&server.name, SITES[site]);
        format!("{server} strikes {site}: {down} failure domains have it down, {up} up")
    });
}

/// Sites that probes alone have taken out of `www`: all weigh the same.
fn most(
    world: &World,
    server: &NameServer,
    ear: &Ear,
    health: &[Health],
    duties: &[Duty],
    findings: &mut Findings<'_>,
) {
    let by_probes = |site: &usize| {
        let memory = ear.memory[*site];
        health[*site] == Health::Down
            && duties[*site] == Duty::Serving
            && memory.is_seen
            && !memory.is_certain
            && !ear.has_flapped(*site)
    };
    let out = (0..health.len()).filter(by_probes).count();
    let all = world.plan.shape.sites;
    #[expect(clippy::cast_precision_loss, reason = "two or three sites")]
    let is_too_much = out > 1 && out as f64 > all as f64 * MAX_REMOVED;
    if is_too_much {
        findings.find(Promise::MostRemoved, || {
            format!("{} has {out} of {all} sites out, and all by probes alone", server.name)
        });
    }
}
