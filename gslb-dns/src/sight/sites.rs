//! What agents say of their sites, for people.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};

use jiff::Timestamp;
use serde::Serialize;

use super::SightOf;
use crate::ids::SiteId;
use crate::inside::{Ground, State, View, Voice};
use crate::watch::WatchedVip;

/// A site as its agents have it.
#[derive(Clone, Debug, Serialize)]
pub struct SiteInside {
    pub site: String,
    pub agents: Vec<AgentSeen>,
    pub vips: Vec<VipSeen>,
}

#[derive(Clone, Debug, Serialize)]
pub struct AgentSeen {
    pub agent: String,
    pub standing: &'static str,
    /// Until when its last report holds, or held.
    pub holds_until: Option<Timestamp>,
    /// VIPs in it, each port counted.
    pub vips: usize,
    pub version: String,
}

#[derive(Clone, Debug, Serialize)]
pub struct VipSeen {
    pub addr: IpAddr,
    pub port: u16,
    pub state: State,
    /// How it came about.
    pub ground: Ground,
    pub since: Option<Timestamp>,
    /// Seconds since the oldest report came that it rests on.
    pub age_seconds: Option<f64>,
    pub owner: Option<String>,
    /// Requests a second: what it can take, is asked, and would like to be asked.
    pub capacity: Option<f64>,
    pub load: Option<f64>,
    pub offer: Option<f64>,
    pub backends_up: u32,
    pub backends: u32,
    pub flaps: u32,
    pub vrrp_dual_active: bool,
}

impl SightOf<'_> {
    /// Every site that names agents.
    pub(super) fn sites(&self) -> Vec<SiteInside> {
        let seen = self.voices.iter().map(|(site, voices)| {
            let views = self.views.get(*site).into_iter().flatten();
            SiteInside {
                site: (*site).to_owned(),
                agents: voices.iter().map(|voice| self.agent(voice)).collect(),
                vips: views.map(|(at, view)| self.vip(at.ip(), at.port(), view)).collect(),
            }
        });
        seen.collect()
    }

    /// What agents say of the ports where a service looks.
    pub(super) fn inside(&self, site: SiteId, vips: &[WatchedVip]) -> Vec<VipSeen> {
        let Some(views) = self.views.get(&self.world.site(site).name) else { return vec![] };
        let ports = vips.iter().flat_map(|vip| {
            let ports = vip.targets.iter().map(|target| self.world.targets[*target].1.port);
            ports.filter_map(|port| Some(SocketAddr::new(vip.address?, port)))
        });
        // Two checks may look at one port.
        let ports: BTreeSet<SocketAddr> = ports.collect();
        let told = ports.into_iter().filter_map(|at| Some((at, views.get(&at)?)));
        told.map(|(at, view)| self.vip(at.ip(), at.port(), view)).collect()
    }

    fn agent(&self, voice: &Voice<'_>) -> AgentSeen {
        let own = voice.stream.and_then(|stream| stream.own());
        AgentSeen {
            agent: voice.agent.to_owned(),
            standing: voice.standing(self.now.monotonic).as_str(),
            holds_until: voice
                .stream
                .and_then(|stream| stream.lease_ends())
                .map(|end| self.wall(end)),
            vips: voice.stream.map_or(0, |stream| stream.entries().count()),
            version: own.map(|own| own.version.clone()).unwrap_or_default(),
        }
    }

    fn vip(&self, addr: IpAddr, port: u16, view: &View) -> VipSeen {
        let View { state, ground, since, heard, capacity, load, offer, .. } = *view;
        VipSeen {
            addr,
            port,
            state,
            ground,
            since: since.map(|since| self.wall(since)),
            age_seconds: heard.map(|heard| self.now.monotonic.saturating_sub(heard).as_secs_f64()),
            owner: view.owner.as_deref().map(str::to_owned),
            capacity,
            load,
            offer,
            backends_up: view.backends_up,
            backends: view.backends,
            flaps: view.flaps,
            vrrp_dual_active: view.is_dual_active,
        }
    }
}

impl SiteInside {
    pub(super) fn tell(&self, text: &mut String) {
        let SiteInside { site, agents, vips } = self;
        let agents = agents.iter().map(|seen| format!("{} {}", seen.agent, seen.standing));
        let agents = agents.collect::<Vec<_>>().join(", ");
        let _ = write!(text, "\n{site}, as its agents have it ({agents})\n");
        for vip in vips {
            let _ = writeln!(text, "  {}", vip.line());
        }
    }
}

impl VipSeen {
    pub(super) fn line(&self) -> String {
        let VipSeen { addr, port, state, ground, since, age_seconds, owner, .. } = self;
        let mut text = format!("{addr} port {port}: {}", state.as_str());
        if let Some(owner) = owner {
            let _ = write!(text, ", owner {owner}");
        }
        let _ = write!(text, ", {ground}");
        if let Some(since) = since {
            let _ = write!(text, ", since {since:.0}");
        }
        let _ = write!(text, "; {} of {} backends", self.backends_up, self.backends);
        for (is, rate) in
            [("can take", self.capacity), ("is asked", self.load), ("offers", self.offer)]
        {
            if let Some(rate) = rate {
                let _ = write!(text, ", {is} {rate:.0}/s");
            }
        }
        if let Some(age) = age_seconds {
            let _ = write!(text, ", {age:.0} s ago");
        }
        if self.vrrp_dual_active {
            text.push_str("; TWO ROUTERS ARE ACTIVE");
        }
        text
    }
}
