//! The truth of a scope: every address inside is answered alike, and one bit less would be one too few.
//!
//! Told by brute force from the world's own prefixes, address by address, with the policy's steps taken
//! by the word; none of the tables that answer is asked.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use geoip::{Place, embedded};
use gslb_dns::explain::Explanation;
use gslb_dns::ids::ServiceId;
use gslb_dns::locate::{map_entry, territory_km};
use gslb_dns::query::ClientSubnet;
use gslb_dns::world::{Answers, Area, Service, Step, World};
use gslb_tests::dice::Dice;
use gslb_tests::resolver::Resolver;
use hickory_proto::rr::RecordType;
use ipnet::IpNet;

use super::{Input, Scene, ask_in_one_second, clients};

/// Addresses asked for in one scope.
const ASKED: usize = 40;
/// Addresses within this distance of the nearest are as near.
const SAME_DISTANCE_KM: f64 = 50.0;

/// What one answer says of how far it holds.
pub struct Claim<'a> {
    scene: &'a Scene<'a>,
    input: Input,
    client: IpNet,
    service: ServiceId,
    scope: IpNet,
    hashed: bool,
}

/// How many claims were looked into.
#[derive(Clone, Copy, Debug, Default)]
pub struct Met {
    pub holds: usize,
    pub exact: usize,
    pub asked: usize,
}

impl Met {
    pub fn add(&mut self, other: Met) {
        let Met { holds, exact, asked } = other;
        self.holds += holds;
        self.exact += exact;
        self.asked += asked;
    }
}

impl<'a> Claim<'a> {
    /// Of answers that one service alone gave to a believed subnet.
    pub fn of(scene: &'a Scene<'a>, input: &Input, told: &Explanation) -> Option<Claim<'a>> {
        let client = input.client?;
        let [steering] = told.steering.as_slice() else { return None };
        let world = scene.snapshot.world();
        let mut ids = world.service_ids();
        let service = ids.find(|id| world.service(*id).name.to_string() == steering.service)?;
        let is_alias = world.service(service).answers == Answers::Cname;
        let is_address = matches!(input.qtype, RecordType::A | RecordType::AAAA);
        if told.client.told_by != "subnet" || !(is_alias || is_address) {
            return None;
        }
        let scope = IpNet::new(client.network(), steering.scope.bits).ok()?.trunc();
        // Teredo inverts the address: of a subnet that is shorter than the scope the bits that are not
        // known are no address, neither as they stand nor inverted, and no prefix to look into.
        if is_teredo(client.network()) && scope.prefix_len() > client.prefix_len() {
            return None;
        }
        let input = input.clone();
        let hashed = steering.walk.hashed.is_some();
        Some(Claim { scene, input, client, service, scope, hashed })
    }

    pub fn look_into(&self, resolver: &mut Resolver, dice: &mut Dice) -> anyhow::Result<Met> {
        let asked = self.holds(resolver, dice)?;
        let exact = !self.hashed && self.scope.prefix_len() > 1 && self.is_exact();
        Ok(Met { holds: 1, exact: usize::from(exact), asked })
    }

    /// Asks for others in the scope, as a resolver would that sends as many bits of them.
    fn holds(&self, resolver: &mut Resolver, dice: &mut Dice) -> anyhow::Result<usize> {
        let source = self.client.prefix_len();
        // A scope beyond the source speaks for the beginning of the subnet; whoever asks on has to send
        // as much. Chance then sees more bits than it did, so only places can be compared.
        if self.scope.prefix_len() > source && self.hashed {
            return Ok(0);
        }
        let source = source.max(self.scope.prefix_len());
        let mut inside = self.landmarks(self.scope);
        inside = dice.picks(ASKED / 2, &inside);
        inside.extend((0..ASKED / 2).map(|_| clients::inside(self.scope, dice)));
        let inside =
            inside.into_iter().map(|address| IpNet::new(address, source).map(|net| net.trunc()));
        let mut inside: Vec<IpNet> = inside.collect::<Result<_, _>>()?;
        inside.retain(|net| {
            let subnet = ClientSubnet::new(net.addr(), net.prefix_len());
            // What is not believed is not answered for, wherever it lies.
            self.scene.snapshot.ground.trust.disbelief(&subnet).is_none()
                && self.scope.contains(net)
        });
        let mut inputs = vec![self.input.clone()];
        inputs.extend(inside.iter().map(|net| Input { client: Some(*net), ..self.input.clone() }));
        let (seen, _) = ask_in_one_second(resolver, &inputs)?;
        for (input, other) in inputs.iter().zip(&seen) {
            assert_eq!(
                (&other.rcode, &other.records),
                (&seen[0].rcode, &seen[0].records),
                "{:?} is said to hold for {}, and is not for {input:?}",
                self.input,
                self.scope
            );
        }
        Ok(inputs.len())
    }

    /// The other half of the prefix that is one bit shorter has an address that the policy can tell from
    /// the client's. Panics if it has none.
    fn is_exact(&self) -> bool {
        let offset = match self.client.network() {
            IpAddr::V6(v6) => embedded(v6).map_or(0, |inside| inside.offset),
            IpAddr::V4(_) => 0,
        };
        // The shortest there is, because a scope of 0 would speak for the other family too.
        if self.scope.prefix_len() <= offset + 1 {
            return false;
        }
        let sibling = sibling(self.scope);
        let own = self.view(self.scope.network());
        let others = self.landmarks(sibling);
        assert!(
            others.iter().any(|other| self.view(*other) != own),
            "{:?}: {} is longer than needed: all of {sibling} is alike, {own}",
            self.input,
            self.scope
        );
        true
    }

    /// Where anything may change inside a prefix: its ends, and the ends of all that the world names.
    fn landmarks(&self, prefix: IpNet) -> Vec<IpAddr> {
        let carrying = ["::ffff:0:0/96", "64:ff9b::/96", "2002::/16", "2001::/32"];
        let carrying = carrying.map(|net| net.parse().expect("a prefix"));
        let named = self.scene.drawn.prefixes.iter().copied().chain(carrying);
        let named: Vec<IpNet> = match prefix.network() {
            // In an IPv6 address that carries an IPv4 one, IPv4's ends lie behind the bits before it.
            IpAddr::V6(v6) if embedded(v6).is_some() => {
                let carried = |net| carried(v6, net);
                named.clone().filter_map(carried).chain(named).collect()
            }
            _ => named.collect(),
        };
        let mut landmarks = vec![prefix.network(), prefix.broadcast()];
        for net in named {
            let (first, last) = (net.network(), net.broadcast());
            landmarks.extend([first, last]);
            landmarks.extend(neighbour(first, u128::wrapping_sub));
            landmarks.extend(neighbour(last, u128::wrapping_add));
        }
        landmarks.retain(|address| prefix.contains(address));
        landmarks.sort();
        landmarks.dedup();
        landmarks
    }

    /// All that the policy can see of an address.
    fn view(&self, address: IpAddr) -> String {
        let world = self.scene.snapshot.world();
        let (address, kind) = match address {
            IpAddr::V6(v6) => {
                embedded(v6).map_or((address, "IPv6"), |inside| (inside.v4.into(), "IPv4"))
            }
            IpAddr::V4(_) => (address, "IPv4"),
        };
        let place = world.atlas.lookup(address).place;
        let service = world.service(self.service);
        let strict =
            service.strict_fence.and_then(|area| inside_area(world, service, area, &place));
        let strict = strict.filter(|inside| inside.contains(&true));
        let steps = service.steps.iter().map(|step| match step {
            Step::Fence(area) => format!("{:?}", inside_area(world, service, *area, &place)),
            Step::Map(id) => {
                let map = world.map(*id);
                let entry = map_entry(map, &place, map.longest_net(address));
                format!("{:?}", entry.map(|(_, tiers)| of_service(service, tiers)))
            }
            Step::Nearest => format!("{:?}", distances(world, service, &place)),
            Step::Failover => String::new(),
        });
        // Tables speak for one family each: an IPv4 address inside is never like the IPv6 ones around.
        format!("{kind} {strict:?} {:?}", steps.collect::<Vec<_>>())
    }
}

fn inside_area(world: &World, service: &Service, area: Area, place: &Place) -> Option<Vec<bool>> {
    let candidates = service.candidates.iter().map(|candidate| &world.site(candidate.site).place);
    match area {
        Area::Continent => {
            place.continent?;
            Some(candidates.map(|site| site.continent == place.continent).collect())
        }
        Area::Country => {
            place.country?;
            Some(candidates.map(|site| site.country == place.country).collect())
        }
    }
}

/// A map's tiers as far as the service has their sites.
fn of_service(service: &Service, tiers: &[Vec<gslb_dns::ids::SiteId>]) -> Vec<Vec<usize>> {
    let index = |site| service.candidates.iter().position(|candidate| candidate.site == site);
    let tiers = tiers.iter().map(|tier| {
        let mut tier: Vec<usize> = tier.iter().filter_map(|&site| index(site)).collect();
        tier.sort_unstable();
        tier
    });
    tiers.filter(|tier| !tier.is_empty()).collect()
}

/// The sites by distance, each with the last one that is as near.
fn distances(world: &World, service: &Service, place: &Place) -> Option<Vec<(usize, usize)>> {
    place.location?;
    let candidates = service.candidates.iter().enumerate();
    let km = candidates
        .map(|(index, candidate)| Some((territory_km(place, world.site(candidate.site))?, index)));
    let mut km: Vec<(f64, usize)> = km.collect::<Option<_>>()?;
    km.sort_by(|one, other| one.0.total_cmp(&other.0).then(one.1.cmp(&other.1)));
    let last_as_near =
        |near: f64| km.iter().filter(|(far, _)| *far <= near + SAME_DISTANCE_KM).count();
    Some(km.iter().map(|&(near, index)| (index, last_as_near(near))).collect())
}

fn sibling(prefix: IpNet) -> IpNet {
    let length = prefix.prefix_len();
    let address = match prefix.network() {
        IpAddr::V4(v4) => Ipv4Addr::from_bits(v4.to_bits() ^ 1 << (32 - length)).into(),
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() ^ 1 << (128 - length)).into(),
    };
    IpNet::new(address, length).expect("the length it had")
}

/// An IPv4 prefix as it stands inside IPv6 addresses of the kind that `like` is.
fn carried(like: Ipv6Addr, net: IpNet) -> Option<IpNet> {
    let inside = embedded(like)?;
    let IpNet::V4(v4) = net else { return None };
    let shift = 96 - inside.offset;
    let mask = u128::from(u32::MAX) << shift;
    let bits = v4.network().to_bits();
    // Teredo inverts every bit of the address.
    let bits = if is_teredo(like.into()) { !bits } else { bits };
    let bits = like.to_bits() & !mask | u128::from(bits) << shift;
    IpNet::new(Ipv6Addr::from_bits(bits).into(), inside.offset + v4.prefix_len())
        .ok()
        .map(|net| net.trunc())
}

fn neighbour(address: IpAddr, step: fn(u128, u128) -> u128) -> Option<IpAddr> {
    Some(match address {
        IpAddr::V4(v4) => {
            Ipv4Addr::from_bits(u32::try_from(step(v4.to_bits().into(), 1)).ok()?).into()
        }
        IpAddr::V6(v6) => Ipv6Addr::from_bits(step(v6.to_bits(), 1)).into(),
    })
}

fn is_teredo(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(v6) if v6.to_bits() >> 96 == 0x2001_0000)
}
