//! Everything an answer depends on but the query and the time: one immutable whole, swapped at once.
//!
//! `Groundwork` is what follows from the world alone and outlives changes of health; a `Snapshot` joins
//! it with one board. Health touches the arrangements, never the prefixes. Pure.

use std::cell::OnceCell;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use geoip::Continent;
use ipnet::IpNet;

use crate::health::board::{Beliefs, Board};
use crate::ids::ServiceId;
use crate::ledger::{Ledger, Ledgers, Page};
use crate::locate::{Class, Client, Found, Geography, Need, ToldBy, Trust};
use crate::query::ClientSubnet;
use crate::steer::{
    Arrangement, Choice, Failing, Family, Outcome, Seed, Shares, Silent, Trace, arrange, pick,
    pick_alternatives,
};
use crate::world::{Act, Destination, Service, Vips, World};
use crate::zone::Zones;

/// What a world means for queries, compiled once, off the query threads.
pub struct Groundwork {
    pub world: World,
    pub zones: Zones,
    pub trust: Trust,
    /// By service; services of one need share theirs.
    geographies: Vec<Arc<Geography>>,
    ledger: Arc<Ledger>,
}

pub struct Snapshot {
    pub ground: Arc<Groundwork>,
    pub board: Board,
    /// Networks of clients that are told what they were answered from: nobody, unless `trusting` says so.
    trusted: Arc<[IpNet]>,
    plans: Vec<Arc<Plan>>,
}

/// One service under one board.
struct Plan {
    shares: Shares,
    /// By region that has lost something; everybody else first.
    live: Vec<(Option<Continent>, LiveVips)>,
    /// By candidate: how often the TTL of an answer with it is halved.
    halvings: Box<[u8]>,
    /// The distinct arrangements, and by family the one of each class.
    variants: Vec<Arrangement>,
    of_class: [Vec<u32>; FAMILIES.len()],
}

/// By candidate: its addresses without those that are down or lost, where some are.
type LiveVips = Vec<Option<Box<Vips>>>;

/// Where the clients of a service's candidates are sent now.
#[derive(Clone, Copy)]
pub struct Live<'s> {
    pub service: &'s Service,
    vips: &'s [Option<Box<Vips>>],
}

const FAMILIES: [Family; 3] = [Family::V4, Family::V6, Family::Cname];

/// What one client is answered by one service.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Decision {
    pub chosen: Chosen,
    /// The EDNS scope, in bits of the subnet as it was sent.
    pub scope: u8,
    /// Seconds.
    pub ttl: u32,
    /// How often it was halved.
    pub halvings: u8,
    pub failing: Failing,
    /// The client's region, if it has lost something of a candidate.
    pub region: Option<Continent>,
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Chosen {
    Sites(Choice),
    /// The addresses of `when_all_down = "static"`.
    Static,
    NoData,
}

/// How many sites an answer may name.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Extent {
    /// Those that the service takes.
    Taken,
    /// Behind those, others in the order of the walk, until there are so many.
    Alternatives(u8),
}

/// How a decision came about, for those who ask.
pub struct Derivation {
    pub found: Found,
    /// `None` if chance had no say.
    pub seed: Option<Seed>,
    pub decision: Decision,
}

impl Groundwork {
    pub fn new(world: World) -> Groundwork {
        Groundwork::beside(world, None)
    }

    /// The same beside one that runs, whose geographies are taken over where nothing that they depend on has
    /// changed.
    pub fn beside(world: World, running: Option<&Groundwork>) -> Groundwork {
        let running = running.filter(|running| world.atlas.is_plainly(&running.world.atlas));
        let places = OnceCell::new();
        let mut known: HashMap<Need, Arc<Geography>> = HashMap::new();
        let geography = |service| {
            let need = Need::of(service);
            if let Some(known) = known.get(&need) {
                return Arc::clone(known);
            }
            let taken_over = running.and_then(|running| running.geography_of(&need, &world));
            let geography = taken_over.unwrap_or_else(|| {
                let places = places.get_or_init(|| world.atlas.compile());
                Arc::new(Geography::compile(&world, places, &need))
            });
            known.insert(need, Arc::clone(&geography));
            geography
        };
        let geographies = world.services.iter().map(geography).collect();
        let zones = Zones::new(world.zones.clone());
        let named_by_maps = world.maps.iter().flat_map(|map| map.net.iter().map(|(net, _)| *net));
        let trust = match world.ecs_private {
            true => Trust::everyone(),
            false => Trust::new(world.overrides.iter().copied().chain(named_by_maps)),
        };
        Groundwork { world, zones, trust, geographies, ledger: Arc::new(Ledger::closed()) }
    }

    /// Has what its services answer counted from now on.
    pub fn count_in(&mut self, ledgers: &Ledgers) {
        self.ledger = ledgers.open(&self.world);
    }

    /// Where a thread counts, if anything is counted.
    pub fn page(&self, number: usize) -> Option<Page<'_>> {
        self.ledger.page(number)
    }

    /// Whom to answer for: the query's subnet if it can be believed, else the resolver.
    pub fn client(&self, subnet: Option<&ClientSubnet>, resolver: IpAddr) -> Client {
        subnet
            .and_then(|subnet| Client::subnet(subnet, &self.trust))
            .unwrap_or_else(|| Client::resolver(resolver))
    }

    pub fn geography(&self, service: ServiceId) -> &Geography {
        &self.geographies[service.index()]
    }

    /// Fetches from memory what clients at these addresses will need of a service, if there is such a one.
    pub fn warm(&self, service: ServiceId, addresses: &[u32]) -> u32 {
        self.geographies.get(service.index()).map_or(0, |geography| geography.warm(addresses))
    }

    /// The geography of a need that means the same in another world.
    fn geography_of(&self, need: &Need, other: &World) -> Option<Arc<Geography>> {
        let services = self.world.services.iter().zip(&self.geographies);
        let mut alike = services.filter(|(service, _)| {
            Need::of(service) == *need && need.means_the_same(&self.world, other)
        });
        alike.next().map(|(_, geography)| Arc::clone(geography))
    }

    /// How many distinct geographies the services share.
    pub fn distinct_geographies(&self) -> usize {
        let mut distinct: Vec<_> = self.geographies.iter().map(Arc::as_ptr).collect();
        distinct.sort_unstable();
        distinct.dedup();
        distinct.len()
    }
}

impl Snapshot {
    pub fn new(ground: Arc<Groundwork>, board: Board) -> Snapshot {
        Snapshot::beside(ground, board, None)
    }

    /// The same beside one that runs, whose plans are taken over of services of which the very same is believed.
    pub fn beside(ground: Arc<Groundwork>, board: Board, running: Option<&Snapshot>) -> Snapshot {
        let running = running.filter(|running| Arc::ptr_eq(&running.ground, &ground));
        let plan = |id: ServiceId| {
            let same = running.filter(|running| board.shares(&running.board, id));
            let same = same.map(|running| Arc::clone(&running.plans[id.index()]));
            same.unwrap_or_else(|| Arc::new(Plan::new(&ground, &board, id)))
        };
        let plans = ground.world.service_ids().map(plan).collect();
        Snapshot { plans, ground, board, trusted: [].into() }
    }

    /// Tells clients in these networks what they were answered from.
    #[must_use]
    pub fn trusting(self, trusted: Arc<[IpNet]>) -> Snapshot {
        Snapshot { trusted, ..self }
    }

    /// Whether a client at this address may know what it was answered from.
    pub fn trusts(&self, address: IpAddr) -> bool {
        self.trusted.iter().any(|net| net.contains(&address))
    }

    pub fn world(&self) -> &World {
        &self.ground.world
    }

    /// Where the clients of a service are sent, in a region that has lost something or anywhere else.
    pub fn live(&self, id: ServiceId, region: Option<Continent>) -> Live<'_> {
        let live = &self.plans[id.index()].live;
        let of_region = live.iter().find(|(of, _)| *of == region).unwrap_or(&live[0]);
        Live { service: self.world().service(id), vips: &of_region.1 }
    }

    /// Whether some client of a service has to be answered without a site that is fit.
    pub fn failing(&self, id: ServiceId) -> Failing {
        let variants = self.plans[id.index()].variants.iter();
        variants
            .map(|variant| variant.failing)
            .find(|how| *how != Failing::No)
            .unwrap_or(Failing::No)
    }

    /// What `client` is answered at `now`, in whole seconds of Unix time.
    pub fn decide(&self, id: ServiceId, family: Family, client: &Client, now: u64) -> Decision {
        self.decide_to(Extent::Taken, id, family, client, now)
    }

    /// The same, as far as an answer with alternatives goes.
    pub fn decide_to(
        &self,
        extent: Extent,
        id: ServiceId,
        family: Family,
        client: &Client,
        now: u64,
    ) -> Decision {
        let found = self.ground.geography(id).find(client);
        let arrangement = self.plans[id.index()].arrangement(family, found);
        self.derive(extent, id, arrangement, client, found, now, &mut Silent).decision
    }

    /// The same decision made again from the start, told to `trace` step by step.
    pub fn retrace(
        &self,
        extent: Extent,
        id: ServiceId,
        family: Family,
        client: &Client,
        now: u64,
        trace: &mut impl Trace,
    ) -> Derivation {
        let geography = self.ground.geography(id);
        let found = geography.find(client);
        let class: &Class = &geography.classes()[found.class.index()];
        let service = self.world().service(id);
        let arrangement = arrange(service, self.board.of_service(id), class, family, trace);
        self.derive(extent, id, &arrangement, client, found, now, trace)
    }

    #[expect(clippy::too_many_arguments, reason = "all that a decision depends on, each once")]
    fn derive(
        &self,
        extent: Extent,
        id: ServiceId,
        arrangement: &Arrangement,
        client: &Client,
        found: Found,
        now: u64,
        trace: &mut impl Trace,
    ) -> Derivation {
        let service = self.world().service(id);
        let seed = OnceCell::new();
        let (chosen, depth) = match &arrangement.outcome {
            Outcome::Tiers(tiers) => {
                let shares = &self.plans[id.index()].shares;
                let mut draw = || *seed.get_or_init(|| Seed::new(service, client, now));
                let choice = match extent {
                    Extent::Taken => pick(shares, tiers, &mut draw, trace),
                    Extent::Alternatives(most) => {
                        pick_alternatives(shares, tiers, most, &mut draw, trace)
                    }
                };
                let hashed = if choice.hash_decided { draw().hashed } else { 0 };
                (Chosen::Sites(choice), found.depth.max(hashed))
            }
            // These end the chain alike for every client, unless a strict fence tells clients apart.
            Outcome::Static => (Chosen::Static, strict_depth(service, found)),
            Outcome::NoData => (Chosen::NoData, strict_depth(service, found)),
        };
        let scope = match client.told_by {
            ToldBy::Subnet if depth > 0 || seed.get().is_some() => depth + client.offset,
            ToldBy::Subnet | ToldBy::Resolver => 0,
        };
        let halvings = match &chosen {
            Chosen::Sites(choice) => {
                let shares = &self.plans[id.index()].halvings;
                choice.taken.iter().map(|&one| shares[usize::from(one)]).max().unwrap_or(0)
            }
            Chosen::Static | Chosen::NoData => 0,
        };
        let ttl = service.ttl.halved(halvings).as_secs() as u32;
        let (failing, region) = (arrangement.failing, arrangement.region);
        let decision = Decision { chosen, scope, ttl, halvings, failing, region };
        Derivation { found, seed: seed.into_inner(), decision }
    }
}

fn strict_depth(service: &Service, found: Found) -> u8 {
    if service.strict_fence.is_some() { found.depth } else { 0 }
}

impl<'s> Live<'s> {
    /// The addresses of a candidate that are to be answered; `None` for a CNAME.
    pub fn vips(self, candidate: u8) -> Option<&'s Vips> {
        let index = usize::from(candidate);
        match &self.service.candidates[index].target {
            Destination::Vips(vips) => Some(self.vips[index].as_deref().unwrap_or(vips)),
            Destination::Cname(_) => None,
        }
    }
}

impl Plan {
    fn new(ground: &Groundwork, board: &Board, id: ServiceId) -> Plan {
        let service = ground.world.service(id);
        let beliefs = board.of_service(id);
        let mut ids: HashMap<Arrangement, u32> = HashMap::new();
        let mut variants = Vec::new();
        let of_class = FAMILIES.map(|family| {
            let classes = ground.geography(id).classes().iter();
            let arranged =
                classes.map(|class| arrange(service, beliefs, class, family, &mut Silent));
            arranged
                .map(|arrangement| {
                    *ids.entry(arrangement).or_insert_with_key(|arrangement| {
                        variants.push(arrangement.clone());
                        variants.len() as u32 - 1
                    })
                })
                .collect()
        });
        let live = live(service, beliefs);
        let halvings = beliefs.standings.iter().map(|standing| standing.halvings).collect();
        Plan {
            shares: Shares::new(&ground.world, service, beliefs),
            live,
            halvings,
            variants,
            of_class,
        }
    }

    fn arrangement(&self, family: Family, found: Found) -> &Arrangement {
        let of_class = &self.of_class[family as usize];
        &self.variants[of_class[found.class.index()] as usize]
    }
}

/// Where clients are sent, by region.
fn live(service: &Service, beliefs: &Beliefs) -> Vec<(Option<Continent>, LiveVips)> {
    let is_observed = service.act == Act::Observe;
    let of = |region| {
        let candidates = service.candidates.iter().zip(&beliefs.standings);
        let live = candidates.map(|(candidate, standing)| {
            // What is only observed strikes no address either.
            if is_observed { None } else { standing.live(&candidate.target, region).map(Box::new) }
        });
        (region, live.collect())
    };
    let lost = beliefs.standings.iter().flat_map(|standing| &standing.lost);
    let mut regions: Vec<Continent> = lost.map(|lost| lost.region).collect();
    regions.sort_unstable();
    regions.dedup();
    std::iter::once(None).chain(regions.into_iter().map(Some)).map(of).collect()
}
