//! What dies, is cut off, is restarted or expires.

use std::time::Duration;

use anyhow::{Context as _, ensure};

use super::super::account::{Seen, is_answered};
use super::super::ground::{CLIENTS, CONTINENTS, NAME_SERVERS, SITES, VANTAGES, vantage_net};
use super::super::{Outcome, Request, Whole};
use super::{
    ANOTHER_ASKED, BUSY, DOWN_WITHIN, EMPTY_WITHIN, GOOD_FOR, HANDED_OVER, ORDERED_WITHIN,
    TAKEN_OVER, TTL, finished, is_gone, is_told_so, is_unserved, led, led_to, seconds,
};
use crate::wait::until;

pub fn a_server_dies(whole: &mut Whole<'_>) -> anyhow::Result<Seen> {
    whole.begin();
    whole.fault();
    whole.servers[0].kill(0);
    // What was under way there is cut.
    whole.explain(&SITES[..1], seconds(1), "it was asked when it died", is_told_so);
    whole.rest(seconds(6));
    whole.ensure_fire(&["ServerDown"])?;
    finished(whole, |account| {
        led_to(account, CONTINENTS[0], "fra", Duration::ZERO)?;
        let dead = |request: &&Request| request.outcome == Outcome::Answered("fra web1".into());
        ensure!(account.after(seconds(1)).find(dead).is_none(), "the dead answer");
        Ok(())
    })
}

pub fn all_servers_die(whole: &mut Whole<'_>) -> anyhow::Result<Seen> {
    whole.begin();
    whole.fault();
    whole.explain(
        &SITES[..1],
        EMPTY_WITHIN,
        "until it was seen, and the name's TTL is over",
        is_unserved,
    );
    for index in 0..3 {
        whole.servers[0].kill(index);
    }
    whole.rest(seconds(8));
    whole.ensure_fire(&["ErrorRate", "PoolEmpty", "ServerDown", "SiteDown"])?;
    finished(whole, |account| led_to(account, CONTINENTS[0], "iad", EMPTY_WITHIN))
}

pub fn a_balancer_dies(whole: &mut Whole<'_>) -> anyhow::Result<Seen> {
    whole.begin();
    whole.fault();
    whole.explain(&SITES[..1], TAKEN_OVER, "until the other one has the address", is_gone);
    whole.ground.sites[0].switch.unplug("a")?;
    whole.balancers[0][0].kill()?;
    whole.rest(seconds(8));
    whole.ensure_fire(&["AgentSilent", "DaemonGone"])?;
    finished(whole, |account| led_to(account, CONTINENTS[0], "fra", Duration::ZERO))
}

pub fn both_balancers_die(whole: &mut Whole<'_>) -> anyhow::Result<Seen> {
    whole.begin();
    whole.fault();
    whole.explain(&SITES[..1], DOWN_WITHIN, "until a quorum of vantages has seen it", is_gone);
    for (index, name) in ["a", "b"].into_iter().enumerate() {
        whole.ground.sites[0].switch.unplug(name)?;
        whole.balancers[0][index].kill()?;
    }
    whole.rest(seconds(10));
    whole.ensure_fire(&["AgentSilent", "DaemonGone", "SiteDown"])?;
    finished(whole, |account| led_to(account, CONTINENTS[0], "iad", DOWN_WITHIN))
}

pub fn cut_off_from_clients(whole: &mut Whole<'_>) -> anyhow::Result<Seen> {
    whole.begin();
    whole.fault();
    whole.explain(&SITES[..1], DOWN_WITHIN, "until a quorum of vantages has seen it", is_gone);
    for others in [CLIENTS, VANTAGES] {
        whole.ground.core.cut(&SITES[0].net(), others)?;
    }
    for server in &whole.name_servers {
        until("people are told", || {
            let is_told = server.attention()?.contains("unreachable_from_outside");
            Ok(is_told.then_some(()))
        })?;
    }
    whole.rest(DOWN_WITHIN + seconds(2));
    whole.ensure_fire(&["SiteDown", "UnreachableFromOutside"])?;
    finished(whole, |account| led_to(account, CONTINENTS[0], "iad", DOWN_WITHIN))
}

pub fn cut_off_from_name_servers(whole: &mut Whole<'_>) -> anyhow::Result<Seen> {
    whole.begin();
    whole.fault();
    whole.ground.core.cut(&SITES[0].net(), NAME_SERVERS)?;
    // Longer than what an agent said holds.
    whole.rest(seconds(15));
    let told = whole.name_servers[0].attention()?;
    ensure!(told.contains("fra"), "nobody noticed: {told}");
    whole.ensure_fire(&["AgentSilent", "ReportsNotTaken"])?;
    finished(whole, |account| led_to(account, CONTINENTS[0], "fra", Duration::ZERO))
}

pub fn a_vantage_disagrees(whole: &mut Whole<'_>) -> anyhow::Result<Seen> {
    whole.begin();
    whole.fault();
    whole.ground.core.cut(&SITES[0].net(), &vantage_net(0))?;
    whole.name_servers[0].until_site("fra", "is seen down by one", |site| {
        let votes = site["targets"][0]["votes"].as_array();
        votes.is_some_and(|votes| votes.iter().any(|vote| vote["state"] == "down"))
    })?;
    whole.rest(seconds(8));
    whole.ensure_fire(&[])?;
    finished(whole, |account| led_to(account, CONTINENTS[0], "fra", Duration::ZERO))
}

pub fn a_name_server_dies(whole: &mut Whole<'_>) -> anyhow::Result<Seen> {
    whole.begin();
    whole.may_wait(ANOTHER_ASKED);
    whole.fault();
    whole.name_servers[0].kill()?;
    whole.rest(seconds(8));
    let other = &whole.name_servers[1];
    until("its peer misses it", || Ok(other.attention()?.contains("peer ns1").then_some(())))?;
    whole.ensure_fire(&["DaemonGone", "PeerGone", "ReportsNotTaken"])?;
    finished(whole, |account| led_to(account, CONTINENTS[0], "fra", Duration::ZERO))
}

pub fn a_drain(whole: &mut Whole<'_>) -> anyhow::Result<Seen> {
    whole.begin();
    whole.fault();
    ordered(whole, 1, "drain fra", true)?;
    // Who was told before goes on for a TTL.
    let drained = whole.since_fault() + TTL + BUSY;
    whole.ensure_fire(&[])?;
    whole.rest(drained + seconds(2));
    let ends = whole.since_fault();
    ordered(whole, 0, "undrain fra", false)?;
    whole.rest(ends + seconds(8));
    let back = whole.since_fault() - seconds(2);
    finished(whole, |account| {
        let meanwhile = account.during(drained, ends);
        led(meanwhile, CONTINENTS[0], "iad").context("while it is drained")?;
        led_to(account, CONTINENTS[0], "fra", back).context("when it is drained no more")
    })
}

/// To one name server, and it holds on both in time.
fn ordered(whole: &Whole<'_>, index: usize, words: &str, is_drained: bool) -> anyhow::Result<()> {
    whole.name_servers[index].order(words)?;
    let given = whole.since_fault();
    for server in &whole.name_servers {
        until(words, || Ok((server.is_drained("fra")? == is_drained).then_some(())))?;
    }
    let took = whole.since_fault() - given;
    ensure!(took <= ORDERED_WITHIN, "{words}: the other one has it after {took:?}");
    Ok(())
}

pub fn rolling_restart(whole: &mut Whole<'_>) -> anyhow::Result<Seen> {
    whole.begin();
    whole.may_wait(ANOTHER_ASKED);
    whole.fault();
    for index in 0..2 {
        whole.name_servers[index].stop()?;
        whole.name_servers[index].start()?;
        whole.until_well()?;
    }
    for index in 0..3 {
        whole.restart_probe(index)?;
        whole.until_well()?;
    }
    for site in 0..2 {
        for index in [1, 0] {
            hand_over(whole, site, index)?;
            whole.restart_balancing(site, index)?;
            whole.until_well()?;
            hand_over(whole, site, index)?;
            let balancer = &mut whole.balancers[site][index];
            balancer.stop_leading()?;
            balancer.start_leading()?;
            whole.until_well()?;
        }
    }
    whole.ensure_fire(&[])?;
    finished(whole, |_| Ok(()))
}

/// If the box that is about to be restarted has the address, clients notice.
fn hand_over(whole: &mut Whole<'_>, site: usize, index: usize) -> anyhow::Result<()> {
    if whole.balancers[site][index].role()? == "active" {
        let sites = &SITES[site..=site];
        whole.explain(sites, HANDED_OVER, "the address is handed over", is_gone);
    }
    Ok(())
}

pub fn certificates_expire(whole: &mut Whole<'_>) -> anyhow::Result<Seen> {
    whole.begin();
    whole.fault();
    // It was good for so long before there was a world.
    whole.rest(seconds(GOOD_FOR.unsigned_abs()));
    for server in &whole.name_servers {
        until("the vantage is heard no more", || {
            Ok(server.attention()?.contains("vantage ams is silent").then_some(()))
        })?;
    }
    let now = whole.since_fault();
    whole.rest(now + seconds(4));
    whole.ensure_fire(&[
        "AgentSilent",
        "CertificateEndsSoon",
        "CertificateEndsTomorrow",
        "ReportsNotTaken",
        "TooFewVantages",
        "VantageSilent",
    ])?;
    finished(whole, |account| led_to(account, CONTINENTS[0], "fra", Duration::ZERO))
}

pub fn all_but_one_die(whole: &mut Whole<'_>) -> anyhow::Result<Seen> {
    whole.begin();
    whole.may_wait(ANOTHER_ASKED);
    whole.fault();
    whole.explain(&SITES, seconds(60), "there is nobody who could serve", is_gone);
    whole.name_servers[0].kill()?;
    whole.kill_probes()?;
    for balancer in whole.balancers.iter_mut().flatten() {
        balancer.kill()?;
    }
    for servers in &mut whole.servers {
        (0..3).for_each(|index| servers.kill(index));
    }
    // Longer than what anybody said holds.
    whole.rest(seconds(15));
    whole.ensure_fire(&[
        "DaemonGone",
        "PeerGone",
        "SiteBlind",
        "VantageSilent",
        "TooFewVantages",
        "AgentSilent",
    ])?;
    finished(whole, |account| {
        // Where to go they are told all the time; that somebody is named is what `explain` leaves.
        let mut late = account.after(seconds(12)).peekable();
        ensure!(late.peek().is_some(), "nobody asked then");
        ensure!(!late.any(is_answered), "who answers?");
        Ok(())
    })
}
