//! Who speaks for sites from within, and what each is told of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use bytes::Bytes;
use common::site_assignment::{SiteAssignment, Vip};
use common::target::{Address, Target};

use crate::world::{Destination, World};

/// An agent, as its site names it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Insider {
    pub site: Box<str>,
    /// The answer to `GET /v1/assignment`.
    pub octets: Bytes,
}

/// By name, with the VIPs of its site.
pub fn insiders(world: &World) -> BTreeMap<Box<str>, Insider> {
    let epoch = world.epoch.to_string();
    let mut insiders = BTreeMap::new();
    for (index, site) in world.sites.iter().enumerate().filter(|(_, site)| !site.agents.is_empty())
    {
        let vips = vips(world, index).into_iter().map(|(addr, ports)| Vip { addr, ports });
        let (epoch, vips) = (epoch.clone(), vips.collect());
        let told = SiteAssignment { epoch, site: site.name.to_string(), vips };
        let insider = Insider { site: site.name.clone(), octets: told.write().into() };
        insiders.extend(site.agents.iter().map(|agent| (agent.clone(), insider.clone())));
    }
    insiders
}

/// Each address that a site has for any service, and where it is looked at.
fn vips(world: &World, site: usize) -> BTreeMap<IpAddr, BTreeSet<u16>> {
    let own = world.sites[site].vips.all().map(|addr| (addr, BTreeSet::new()));
    let mut vips: BTreeMap<IpAddr, BTreeSet<u16>> = own.collect();
    for service in &world.services {
        for (index, candidate) in service.candidates.iter().enumerate() {
            let Destination::Vips(addresses) = &candidate.target else { continue };
            if candidate.site.index() != site {
                continue;
            }
            for addr in addresses.all() {
                vips.entry(addr).or_default();
            }
            let watched = service.watch.iter().flat_map(|watch| &watch.candidates[index]);
            for target in watched.flat_map(|vip| &vip.targets) {
                let (_, Target { address, port, .. }) = &world.targets[*target];
                // What has no port, as ICMP, is no matter of a listener.
                if let Address::Ip(addr) = address
                    && *port != 0
                {
                    vips.entry(*addr).or_default().insert(*port);
                }
            }
        }
    }
    vips
}
