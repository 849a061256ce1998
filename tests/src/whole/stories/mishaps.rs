//! What else befalls a fleet: nobody serves, cables, vantages that see nothing, and the mistakes of operators.

use std::time::Duration;

use anyhow::ensure;
use rustix::process::Signal;

use super::super::account::{Seen, is_answered};
use super::super::ground::{CONTINENTS, ELSEWHERE, SITES, VANTAGE_NAMES, vantage_net};
use super::super::{Failure, Whole};
use super::{
    DOWN_WITHIN, HANDED_OVER, SERVES_WITHIN, TAKEN_OVER, finished, is_gone, is_unserved, led_to,
    seconds,
};
use crate::wait::until;

/// How often a pair has two that lead: more often than `VrrpFlap` takes for chance.
const SPLITS: usize = 4;
/// Requests that are under way as the address moves: one of each client of the site, each time that it does and once more.
const MOST_CUT: usize = 4 * 2 * SPLITS;

pub fn nobody_serves(whole: &mut Whole<'_>) -> anyhow::Result<Seen> {
    whole.begin();
    whole.fault();
    // Until alerts have been looked at, with time to spare.
    let dead = seconds(12);
    whole.explain(&SITES, dead + SERVES_WITHIN, "there is nobody who could serve", is_unserved);
    for servers in &mut whole.servers {
        (0..3).for_each(|index| servers.kill(index));
    }
    whole.rest(seconds(5));
    whole.ensure_fire(&["ErrorRate", "PoolEmpty", "ServerDown", "ServiceFailing", "SiteDown"])?;
    let looked = whole.since_fault();
    ensure!(looked <= dead, "alerts were looked at until {looked:?}: this machine is too busy");
    whole.rest(dead);
    for servers in &mut whole.servers {
        (0..3).try_for_each(|index| servers.revive(index))?;
    }
    whole.rest(dead + SERVES_WITHIN + seconds(3));
    // Each is led to its own, or where there is room, and is answered.
    finished(whole, |_| Ok(()))
}

pub fn cables_pulled(whole: &mut Whole<'_>) -> anyhow::Result<Seen> {
    whole.begin();
    whole.fault();
    let switch = &whole.ground.sites[0].switch;
    whole.explain(&SITES[..1], TAKEN_OVER, "until the other one has the address", is_gone);
    switch.unplug("a")?;
    until("the other one leads", || Ok((whole.balancers[0][1].role()? == "active").then_some(())))?;
    whole.rest(seconds(4));
    let second = whole.since_fault();
    whole.explain(&SITES[..1], DOWN_WITHIN, "until a quorum of vantages has seen it", is_gone);
    switch.unplug("b")?;
    whole.rest(second + seconds(10));
    whole.ensure_fire(&[
        "AgentSilent",
        "PoolEmpty",
        "ReportsNotTaken",
        "ServerDown",
        "SiteDown",
        "VipMissing",
        "VrrpFault",
    ])?;
    finished(whole, |account| led_to(account, CONTINENTS[0], "iad", second + DOWN_WITHIN))
}

pub fn deaf_pair(whole: &mut Whole<'_>) -> anyhow::Result<Seen> {
    whole.begin();
    whole.fault();
    let switch = &whole.ground.sites[0].switch;
    // The gateway asks who has the address now and then, and while both have it both answer.
    whole.explain(&SITES[..1], seconds(60), "both have the address", is_moved);
    for split in 1..=SPLITS {
        whole.explain(&SITES[..1], HANDED_OVER, "another one has the address too", is_gone);
        switch.deafen("b")?;
        becomes(whole, "active")?;
        if split == SPLITS {
            break;
        }
        whole.explain(&SITES[..1], HANDED_OVER, "it gives the address back", is_gone);
        switch.undeafen("b")?;
        becomes(whole, "backup")?;
    }
    let told = whole.since_fault() + seconds(3);
    whole.rest(told);
    whole.ensure_fire(&["VrrpDualActive", "VrrpFlap"])?;
    finished(whole, |account| {
        let cut = account.requests.iter().filter(|request| !is_answered(request)).count();
        ensure!(cut <= MOST_CUT, "{cut} were cut");
        led_to(account, CONTINENTS[0], "fra", Duration::ZERO)
    })
}

/// A connection is of the one box, and its packets go to the other one.
fn is_moved(failure: Failure) -> bool {
    matches!(failure, Failure::Cut | Failure::Refused)
}

/// The one that waits while all is well.
fn becomes(whole: &Whole<'_>, role: &str) -> anyhow::Result<()> {
    until(role, || Ok((whole.balancers[0][1].role()? == role).then_some(())))
}

pub fn blind_vantage(whole: &mut Whole<'_>) -> anyhow::Result<Seen> {
    whole.begin();
    whole.fault();
    for others in [&SITES[0].net(), &SITES[1].net(), ELSEWHERE] {
        whole.ground.core.cut(&vantage_net(0), others)?;
    }
    // Another one stands still, for less long than what it said holds.
    whole.signal_probe(1, Signal::STOP)?;
    whole.rest(seconds(4));
    whole.signal_probe(1, Signal::CONT)?;
    for server in &whole.name_servers {
        until("the one is not believed, and the others are", || {
            let [cut_off, stood_still, other] = VANTAGE_NAMES.map(|name| server.trusts(name));
            Ok((!cut_off? && stood_still? && other?).then_some(()))
        })?;
    }
    whole.ensure_fire(&[
        "ProbeBlind",
        "ProbeStoodStill",
        "TooFewVantages",
        "VantageNotBelieved",
    ])?;
    finished(whole, |account| led_to(account, CONTINENTS[0], "fra", Duration::ZERO))
}

pub fn operators_err(whole: &mut Whole<'_>) -> anyhow::Result<Seen> {
    whole.begin();
    whole.fault();
    // One gets a world that is none, and orders that are none.
    let one = &mut whole.name_servers[0];
    one.world.write_overrides("drain fra\n")?;
    one.change_world("\"nearest\"", "\"nearst\"")?;
    notices(whole, 0, &["gslb_dns_config_ok 0", "gslb_dns_overrides_ok 0"])?;
    // The other one gets a world of its own, a certificate that is none, and loses the folder of what it keeps.
    whole.name_servers[1].change_world("max = \"1s\"", "max = \"2s\"")?;
    notices(whole, 1, &["gslb_dns_reloads_total{result=\"adopted\"} 1"])?;
    let other = &whole.name_servers[1];
    other.holder.write("own.pem", "a certificate\n");
    other.lose_state()?;
    let refused = "gslb_dns_certificate_ok{transport=\"control\"} 0";
    notices(whole, 1, &["gslb_dns_state_ok 0", refused])?;
    let noticed = whole.since_fault();
    whole.rest(noticed + seconds(4));
    whole.ensure_fire(&[
        "CertificateRefused",
        "ConfigRefused",
        "NotKept",
        "OverridesRefused",
        "WorldsDiffer",
    ])?;
    finished(whole, |account| led_to(account, CONTINENTS[0], "fra", Duration::ZERO))
}

/// A name server's metrics have these lines.
fn notices(whole: &Whole<'_>, server: usize, lines: &[&str]) -> anyhow::Result<()> {
    let server = &whole.name_servers[server];
    lines.iter().try_for_each(|line| until(line, || Ok(server.exposes(line)?.then_some(()))))
}
