//! Policy tests: whom a client may be sent to, as operators expect it and as the policy has it.
//!
//! Judged by what any client hash could bring about, not by one client's lot: a test that passes by luck
//! today would fail by it with the next site. Pure; the same `arrange` as queries and explanations.

use ipnet::IpNet;

use crate::health::board::Board;
use crate::health::supposition::Supposition;
use crate::ids::ServiceId;
use crate::locate::ToldBy;
use crate::query::ClientSubnet;
use crate::site_set::SiteSet;
use crate::snapshot::Groundwork;
use crate::steer::{Family, Outcome, Shares, Silent, able, arrange, reach};
use crate::world::{Answers, Service, World};

/// One test of one service.
#[derive(Clone, Debug)]
pub struct Expectation {
    pub service: ServiceId,
    /// The client, as its query's subnet names it.
    pub from: IpNet,
    /// On top of a board on which nothing is known.
    pub when: Vec<Supposition>,
    /// The candidates that an answer may name; if there are none, no site may be named.
    pub sites: SiteSet,
}

/// What else an answer may do.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Surprise {
    /// Whether the client's subnet is believed, or the resolver at its address is answered for.
    pub told_by: ToldBy,
    pub family: Family,
    pub instead: Instead,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Instead {
    /// Name these candidates, which are not expected.
    Names(SiteSet),
    /// Name no site: `when_all_down` decides.
    FailMode,
}

/// Judges an expectation for each family in which it says anything. `blank` is the board of the same world
/// on which nothing is known.
pub fn judge(ground: &Groundwork, blank: &Board, expected: &Expectation) -> Vec<Surprise> {
    let world = &ground.world;
    let service = world.service(expected.service);
    let beliefs = blank.of_service(expected.service);
    let beliefs = beliefs.supposing(world, service, &expected.when);
    let subnet = ClientSubnet::new(expected.from.addr(), expected.from.prefix_len());
    let client = ground.client(Some(&subnet), expected.from.addr());
    let geography = ground.geography(expected.service);
    let class = &geography.classes()[geography.find(&client).class.index()];
    let shares = Shares::new(world, service, &beliefs);
    let instead = |family: &Family| -> Option<Instead> {
        let arrangement = arrange(service, &beliefs, class, *family, &mut Silent);
        match arrangement.outcome {
            Outcome::Tiers(tiers) => {
                let others = reach(&shares, &tiers).without(expected.sites);
                (!others.is_empty()).then_some(Instead::Names(others))
            }
            Outcome::Static | Outcome::NoData => {
                (!expected.sites.is_empty()).then_some(Instead::FailMode)
            }
        }
    };
    let families = families(service).iter();
    let meant = families.filter(|family| expected.speaks_of(service, **family));
    meant
        .filter_map(|family| {
            let instead = instead(family)?;
            Some(Surprise { told_by: client.told_by, family: *family, instead })
        })
        .collect()
}

fn families(service: &Service) -> &'static [Family] {
    match service.answers {
        Answers::Addresses => &[Family::V4, Family::V6],
        Answers::Cname => &[Family::Cname],
    }
}

impl Expectation {
    /// Sites without an address of a family are no expectation for it. No sites are one for each.
    fn speaks_of(&self, service: &Service, family: Family) -> bool {
        let able = able(service, family);
        !able.is_empty() && (self.sites.is_empty() || !self.sites.and(able).is_empty())
    }

    /// What happens instead, and how to see it, for people.
    pub fn told(&self, world: &World, surprise: Surprise) -> String {
        let service = world.service(self.service);
        let name = |candidate: usize| &*world.site(service.candidates[candidate].site).name;
        let rtype = surprise.family.record_type();
        let instead = match surprise.instead {
            Instead::Names(others) => {
                let names: Vec<&str> = others.iter().map(name).collect();
                format!("may name {}, which the list does not", names.join(", "))
            }
            Instead::FailMode => "names no site, since when_all_down decides".to_owned(),
        };
        let suppose: String = self.when.iter().map(|when| format!(" --suppose '{when}'")).collect();
        let whom = match surprise.told_by {
            ToldBy::Subnet => format!("--client {}", self.from),
            ToldBy::Resolver => format!("--resolver {}", self.from.addr()),
        };
        format!(
            "the {rtype} answer to {} {instead}; see gslb-dns explain {} {rtype} {whom}{suppose}",
            self.from,
            service.name.to_host(),
        )
    }
}
