//! How the virtual routers are, for people and their tools.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use common::duration;
use serde::{Deserialize, Serialize};

use super::log::Event;
use crate::routers::shown::Shown;

#[derive(Debug, Deserialize, Serialize)]
pub struct Status {
    pub version: String,
    /// Whether the config was good when it was last read; if not, the one before goes on.
    pub config_ok: bool,
    /// Those of this box that serve now.
    pub balancers: usize,
    pub routers: Vec<RouterStatus>,
    /// The latest of all virtual routers, in order.
    pub events: Vec<EventStatus>,
    /// Those that were not logged, as there were too many at once.
    pub events_lost: u64,
}

#[derive(Debug, Deserialize, Serialize)]
pub struct RouterStatus {
    pub name: String,
    pub interface: String,
    pub vrid: u8,
    /// 4 or 6: that in which adverts go.
    pub family: u8,
    /// `active`, `backup`, `fault` or `initialize`.
    pub role: String,
    /// Why, of `fault`.
    pub fault: Option<String>,
    /// Since then.
    pub for_ms: u64,
    pub priority: u8,
    /// Adverts come from there.
    pub address: Option<IpAddr>,
    pub vips: Vec<String>,
    /// Of those, as many as the kernel did not take when they were last put on.
    pub vips_not_taken: usize,
    /// Who was last heard to be Active; nobody while this box is.
    pub leader: Option<LeaderStatus>,
    /// Whether the addresses are nothing without a balancer of this box that serves.
    pub needs_balancer: bool,
    pub yields: bool,
    pub adverts_sent: u64,
    pub adverts_heard: u64,
    pub adverts_refused: u64,
}

#[derive(Debug, Deserialize, Serialize)]
pub struct LeaderStatus {
    pub address: IpAddr,
    pub priority: u8,
}

#[derive(Debug, Deserialize, Serialize)]
pub struct EventStatus {
    pub router: String,
    pub number: u64,
    pub ago_ms: u64,
    pub what: String,
}

impl Status {
    /// `now` is since boot.
    pub fn of(
        shown: &[Arc<Shown>],
        balancers: usize,
        events: Vec<Event>,
        lost: u64,
        config_ok: bool,
        now: Duration,
    ) -> Status {
        let since = |then: Duration| {
            u64::try_from(now.saturating_sub(then).as_millis()).unwrap_or(u64::MAX)
        };
        let router = |shown: &Arc<Shown>| {
            let (config, standing) = (shown.config.load(), shown.standing.load());
            let leader = standing.leader;
            RouterStatus {
                name: config.name.to_string(),
                interface: config.interface.to_string(),
                vrid: config.vrid.get(),
                family: config.family.number(),
                role: standing.role.word().to_owned(),
                fault: standing.fault.map(|fault| fault.to_string()),
                for_ms: since(standing.since),
                priority: standing.priority.get(),
                address: standing.address,
                vips: config.vips.iter().map(ToString::to_string).collect(),
                vips_not_taken: standing.vips_not_taken,
                leader: leader
                    .map(|(address, priority)| LeaderStatus { address, priority: priority.get() }),
                needs_balancer: config.needs_balancer,
                yields: standing.is_yielding,
                adverts_sent: shown.counts.sent.load(Relaxed),
                adverts_heard: shown.counts.heard.load(Relaxed),
                adverts_refused: shown.counts.refused.all().map(|(_, count)| count).sum(),
            }
        };
        let event = |event: Event| EventStatus {
            router: event.router.to_string(),
            number: event.number,
            ago_ms: since(event.at),
            what: event.what,
        };
        Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            config_ok,
            balancers,
            routers: shown.iter().map(router).collect(),
            events: events.into_iter().map(event).collect(),
            events_lost: lost,
        }
    }

    /// As lines for people.
    pub fn lines(&self) -> String {
        let mut lines = String::new();
        if !self.config_ok {
            lines += "the config was refused when it was last read: the one before goes on\n";
        }
        for router in &self.routers {
            let RouterStatus { name, interface, vrid, family, role, priority, vips, .. } = router;
            let time = shown(router.for_ms);
            let yields = if router.yields { ", yields" } else { "" };
            let fault = router.fault.as_ref().map_or(String::new(), |fault| format!(" ({fault})"));
            let leader = router.leader.as_ref();
            let leader = leader.map_or(String::new(), |LeaderStatus { address, priority }| {
                format!(", last heard: {address} with {priority}")
            });
            lines += &format!(
                "{name}: {role} for {time}{fault}, vrid {vrid} on {interface} over IPv{family}, priority {priority}{yields}{leader}\n  \
                 {}\n",
                vips.join(" ")
            );
            if router.vips_not_taken > 0 {
                let (count, all) = (router.vips_not_taken, vips.len());
                lines +=
                    &format!("  {count} of {all} cannot be put on this box: the log has why\n");
            }
        }
        if self.balancers == 0 && self.routers.iter().any(|router| router.needs_balancer) {
            lines += "no balancer of this box serves\n";
        }
        for EventStatus { router, number, ago_ms, what } in &self.events {
            lines += &format!("{:>10} ago  {router} #{number}: {what}\n", shown(*ago_ms));
        }
        if self.events_lost > 0 {
            lines += &format!("{} events were not logged: too many at once\n", self.events_lost);
        }
        lines
    }
}

/// Whole seconds, where there is one.
fn shown(ms: u64) -> String {
    let time = match ms {
        0..1000 => Duration::from_millis(ms),
        _ => Duration::from_secs(ms / 1000),
    };
    duration::shown(time)
}
