//! Each board that answers: promises 1 and 5.

use std::net::IpAddr;
use std::time::Duration;

use gslb_dns::health::board::{Duty, Health};
use gslb_dns::locate::Client;
use gslb_dns::snapshot::{Chosen, Snapshot};
use gslb_dns::steer::Family;

use crate::clock::s;
use crate::earth::{MAX_REMOVED, SITES};
use crate::name_server::NameServer;

use super::ear::Ear;
use super::{Findings, Promise};

/// From a name server's start, within which nobody is taken out.
const GRACE: Duration = s(10);
const CLIENTS: [[u8; 4]; 4] = [[9, 9, 9, 9], [81, 2, 69, 142], [8, 8, 8, 8], [1, 1, 1, 1]];

/// Whether it is another board than the last.
pub fn look(
    now: Duration,
    server: &NameServer,
    snapshot: &Snapshot,
    ear: &mut Ear,
    findings: &mut Findings<'_>,
) -> bool {
    let number = snapshot.board.number;
    if ear.board == Some(number) {
        return false;
    }
    let is_first = ear.board.replace(number).is_none();
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
    if ear.stood.is_empty() {
        ear.stood = health.iter().map(|of| vec![None; of.len()]).collect();
    }
    for (service, after) in health.iter().enumerate() {
        for (site, after) in after.iter().enumerate() {
            let before = ear.stood[service][site].map(|(before, _)| before);
            if before == Some(Health::Up) {
                let is_grace = !is_first && now < server.since + GRACE;
                stays_up(now, server, ear, (site, is_grace), *after, findings);
            }
            if *after != Health::Unknown && before != Some(*after) {
                ear.stood[service][site] = Some((*after, now));
            }
        }
    }
    for (id, health) in ids.into_iter().zip(&health) {
        let service = snapshot.world().service(id);
        if service.name.to_host().to_string().starts_with("www") {
            let duties = snapshot.board.of_service(id).standings.iter().map(|one| one.duty);
            most(now, server, ear, health, &duties.collect::<Vec<_>>(), findings);
        }
    }
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
            findings.hold(Promise::AlwaysAnswers, !is_nobody, || {
                let name = snapshot.world().service(id).name.to_host();
                format!("{} has no answer for {name}", server.name)
            });
        }
    }
}

/// A site that was up is not down without a reason: a quorum had it down and none up since, one of its agents has nothing to
/// serve, or it came back lately, as it did before, and waits. Within the grace of a start no quorum takes out who was up on a
/// board since.
fn stays_up(
    now: Duration,
    server: &NameServer,
    ear: &Ear,
    (site, is_grace): (usize, bool),
    after: Health,
    findings: &mut Findings<'_>,
) {
    let is_excused = ear.memory[site].is_accused && !is_grace
        || ear.is_empty(now, site)
        || ear.may_wait_by_all(now, site);
    if is_excused {
        return;
    }
    let votes = ear.votes(now, site);
    let promise = match (votes.having_down, ear.hears_anybody(now)) {
        (0, _) | (_, false) => Promise::SilenceIsNotDown,
        _ => Promise::NoMinority,
    };
    findings.hold(promise, after != Health::Down, || {
        format!("{} takes {} out: {votes:?}", server.name, SITES[site])
    });
}

/// Sites that probes alone have taken out of `www`: all weigh the same.
fn most(
    now: Duration,
    server: &NameServer,
    ear: &Ear,
    health: &[Health],
    duties: &[Duty],
    findings: &mut Findings<'_>,
) {
    // Of whom no quorum ever said anything is not answered either while another is up, and is no work of probes.
    let by_probes = |site: &usize| {
        let memory = ear.memory[*site];
        duties[*site] == Duty::Serving
            && memory.judged.is_some()
            && !memory.is_certain
            && !ear.is_empty(now, *site)
    };
    let of_probes: Vec<usize> = (0..health.len()).filter(by_probes).collect();
    let count = |is: &dyn Fn(usize) -> bool| of_probes.iter().filter(|site| is(**site)).count();
    let out = count(&|site| health[site] == Health::Down);
    let accused = count(&|site| ear.memory[site].is_accused);
    let all = health.len();
    #[expect(clippy::cast_precision_loss, reason = "two or three sites")]
    let is_too_much = |sites: usize| sites > 1 && sites as f64 > all as f64 * MAX_REMOVED;
    // Asked where more could be taken out than may be.
    if is_too_much(accused.max(out)) {
        findings.hold(Promise::MostRemoved, !is_too_much(out), || {
            format!("{} has {out} of {all} sites out, and all by probes alone", server.name)
        });
    }
}
