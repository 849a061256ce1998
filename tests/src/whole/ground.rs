//! The machines of a whole world, and what lies between them.
//!
//! ```text
//!  name servers 10.0.1.2, 10.0.2.2 ──┐        ┌── fra: gateway ─ switch ─ two balancers, three servers
//!  vantages 10.2.1.2 to 10.2.3.2 ────┼─ core ─┤        198.51.100.0/24
//!  continents 10.3.1.2, 10.3.2.2 ────┤        └── iad: the same, 203.0.113.0/24
//!  somebody elsewhere 10.4.1.2 ──────┘
//! ```

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use crate::netns::{Namespace, Network, Segment};

/// All of a kind, as paths are cut.
pub const NAME_SERVERS: &str = "10.0.0.0/16";
pub const VANTAGES: &str = "10.2.0.0/16";
pub const CLIENTS: &str = "10.3.0.0/16";
pub const ELSEWHERE: &str = "10.4.0.0/16";

/// Each stands with its place in the list.
pub const SITES: [Site; 2] = [Site::of("fra", "198.51.100"), Site::of("iad", "203.0.113")];
pub const VANTAGE_NAMES: [&str; 3] = ["ams", "lhr", "nyc"];
pub const CONTINENTS: [&str; 2] = ["EU", "NA"];

/// What everybody at a site is called and where it is.
#[derive(Clone, Copy, Debug)]
pub struct Site {
    pub name: &'static str,
    prefix: &'static str,
}

impl Site {
    const fn of(name: &'static str, prefix: &'static str) -> Site {
        Site { name, prefix }
    }

    pub fn net(self) -> String {
        format!("{}.0/24", self.prefix)
    }

    fn host(self, number: u8) -> Ipv4Addr {
        format!("{}.{number}", self.prefix).parse().expect("a prefix and a number")
    }

    pub fn gateway(self) -> Ipv4Addr {
        self.host(1)
    }

    pub fn vip(self) -> Ipv4Addr {
        self.host(100)
    }

    pub fn balancer(self, index: usize) -> Ipv4Addr {
        self.host(11 + index as u8)
    }

    pub fn server(self, index: usize) -> SocketAddr {
        (IpAddr::from(self.host(21 + index as u8)), 8080).into()
    }
}

pub fn name_server(index: usize) -> Ipv4Addr {
    Ipv4Addr::new(10, 0, index as u8 + 1, 2)
}

/// Where one vantage, or the clients of one continent, are.
pub fn vantage_net(index: usize) -> String {
    format!("10.2.{}.0/24", index + 1)
}

/// Somebody who has nothing to do with the sites.
pub fn elsewhere() -> SocketAddr {
    ([10, 4, 1, 2], 80).into()
}

pub struct Ground {
    pub core: Network,
    pub name_servers: [Namespace; 2],
    pub vantages: [Namespace; 3],
    pub continents: [Namespace; 2],
    pub elsewhere: Namespace,
    pub sites: [SiteGround; 2],
}

pub struct SiteGround {
    pub site: Site,
    /// `a` and `b` are the balancers.
    pub switch: Segment,
    pub balancers: [Namespace; 2],
    /// All servers: each has its address there.
    pub servers: Namespace,
    _gateway: Namespace,
}

impl Ground {
    pub fn new() -> anyhow::Result<Ground> {
        let core = Network::new(&[])?;
        let join = |kind: u8| {
            let core = &core;
            move |index: usize| core.join(&format!("10.{kind}.{}", index + 1), &[])
        };
        let (name_servers, vantages, continents) = (join(0), join(2), join(3));
        let elsewhere = join(4)(0)?;
        Ok(Ground {
            name_servers: [name_servers(0)?, name_servers(1)?],
            vantages: [vantages(0)?, vantages(1)?, vantages(2)?],
            continents: [continents(0)?, continents(1)?],
            elsewhere,
            sites: [SiteGround::new(&core, 0)?, SiteGround::new(&core, 1)?],
            core,
        })
    }
}

impl SiteGround {
    fn new(core: &Network, index: usize) -> anyhow::Result<SiteGround> {
        let (site, prefix) = (SITES[index], format!("10.1.{}", index + 1));
        let gateway = core.join(&prefix, &[])?;
        gateway.forward()?;
        core.route(&site.net(), &prefix)?;
        let switch = Segment::new()?;
        let cidr = |address: IpAddr| format!("{address}/24");
        switch.attach("gateway", &gateway, &[&cidr(site.gateway().into())])?;
        let member = |name, addresses: &[String]| {
            let addresses: Vec<&str> = addresses.iter().map(String::as_str).collect();
            let machine = switch.join(name, &addresses)?;
            machine.change(&format!("route add default via {}", site.gateway()))?;
            anyhow::Ok(machine)
        };
        let balancer = |name, index| member(name, &[cidr(site.balancer(index).into())]);
        let balancers = [balancer("a", 0)?, balancer("b", 1)?];
        let servers = member("servers", &[0, 1, 2].map(|index| cidr(site.server(index).ip())))?;
        Ok(SiteGround { site, balancers, servers, switch, _gateway: gateway })
    }
}
