//! A client for each class of clients: what a finding points at, and people can ask for.

use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;

use super::effort::{Budget, Spent};
use crate::locate::{Client, Geography, ToldBy, Trust, is_public};
use crate::query::ClientSubnet;

/// Clients of one network, all of one class.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Example {
    pub network: IpNet,
    pub told_by: ToldBy,
}

impl Example {
    /// The network around `address` that is as long as resolvers tell, or as `depth` asks.
    pub fn at(address: IpAddr, depth: u8, trust: &Trust) -> Example {
        let whole = IpNet::from(address);
        let usual = ClientSubnet::usual_source(address).max(depth);
        let usual = IpNet::new(address, usual).map_or(whole, |network| network.trunc());
        let is_believed = |network: &IpNet| {
            let subnet = ClientSubnet::new(network.addr(), network.prefix_len());
            Client::subnet(&subnet, trust).is_some()
        };
        match [usual, whole].into_iter().find(is_believed) {
            Some(network) => Example { network, told_by: ToldBy::Subnet },
            None => Example { network: whole, told_by: ToldBy::Resolver },
        }
    }

    pub fn address(&self) -> IpAddr {
        self.network.addr()
    }

    /// As `explain` takes it.
    pub fn option(&self) -> String {
        match self.told_by {
            ToldBy::Subnet => format!("--client {}", self.network),
            ToldBy::Resolver => format!("--resolver {}", self.network.addr()),
        }
    }

    /// The lower, the sooner people will try it: believed before not, public before what an operator has
    /// named, and IPv4 before IPv6.
    pub fn rank(&self) -> (bool, bool, bool) {
        let address = self.network.addr();
        (self.told_by == ToldBy::Resolver, !is_public(address), address.is_ipv6())
    }

    pub fn is_best(&self) -> bool {
        self.rank() == (false, false, false)
    }
}

impl fmt::Display for Example {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.told_by {
            ToldBy::Subnet => write!(f, "{}", self.network),
            ToldBy::Resolver => write!(f, "{}", self.network.addr()),
        }
    }
}

/// Addresses that together are of every class that somebody has, by themselves and along with whether they
/// are believed: where a run of either begins. Those read as the IPv4 address inside are left out.
pub fn addresses<'g>(
    geography: &'g Geography,
    trust: &'g Trust,
) -> impl Iterator<Item = IpAddr> + 'g {
    geography.run_starts().chain(trust.run_starts()).filter(|address| match address {
        IpAddr::V4(_) => true,
        IpAddr::V6(v6) => geoip::embedded(*v6).is_none(),
    })
}

/// An example of each class, as far as a budget reached.
pub struct Examples {
    of_class: Vec<Option<Example>>,
    is_whole: bool,
}

impl Examples {
    pub fn find(geography: &Geography, trust: &Trust, budget: &Budget) -> Examples {
        let mut of_class: Vec<Option<Example>> = vec![None; geography.classes().len()];
        let mut wanting = of_class.len();
        for address in addresses(geography, trust) {
            if wanting == 0 {
                break;
            }
            if budget.look_up(1) == Err(Spent) {
                return Examples { of_class, is_whole: false };
            }
            let found = geography.find(&Client::resolver(address));
            let known = &mut of_class[found.class.index()];
            if known.is_some_and(|known| known.is_best()) {
                continue;
            }
            let example = Example::at(address, found.depth, trust);
            if known.is_none_or(|known| example.rank() < known.rank()) {
                *known = Some(example);
                wanting -= usize::from(example.is_best());
            }
        }
        Examples { of_class, is_whole: true }
    }

    pub fn is_whole(&self) -> bool {
        self.is_whole
    }

    /// `None` of a class that no client has.
    pub fn of(&self, class: usize) -> Result<Option<Example>, Spent> {
        match self.of_class[class] {
            None if !self.is_whole => Err(Spent),
            known => Ok(known),
        }
    }
}
