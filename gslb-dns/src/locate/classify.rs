//! What each geographic step of a policy makes of a place: the view that decides a client's class.

use geoip::{Continent, Place};

use crate::ids::{MapId, SiteId};
use crate::site_set::SiteSet;
use crate::watch::Regions;
use crate::world::{Area, Bias, Candidate, Map, Service, Site, Step, Tiers, World};

/// Sites within this distance of the nearest one left are as near (DESIGN: `nearest`).
const SAME_DISTANCE_KM: f64 = 50.0;

/// What of a service's policy asks for the client's place. Services alike in it share a geography.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Need {
    pub(super) strict_fence: Option<Area>,
    pub(super) steps: Vec<Step>,
    pub(super) sites: Vec<SiteId>,
    /// Whose clients may lose a site by themselves.
    pub(super) regions: Regions,
}

/// What every geographic step of one policy sees of a client: all that steering knows of its place.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Class {
    /// The candidates inside a strict fence; `None` if there is no fence for this client.
    pub strict_inside: Option<SiteSet>,
    /// One for each step, in order.
    pub views: Vec<View>,
    /// The client's region, if its vantages may speak for it.
    pub region: Option<Continent>,
}

#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum View {
    /// The step does not ask for the place, or the place does not answer: it is skipped.
    Nothing,
    /// The candidates inside the client's area.
    Fence(SiteSet),
    /// The map's tiers for the client; candidates in none of them are struck.
    Map(Vec<SiteSet>),
    Nearest(Nearness),
}

/// The candidates by distance, and how far each one's 50 km reach in that order: enough to form the
/// tiers of whichever of them are left, and no more, so that places alike in this are one class.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Nearness {
    /// Candidate indices, nearest first; equals in the service's order.
    order: Vec<u8>,
    /// For each place in the order, the last place within 50 km of it.
    reach: Vec<u8>,
}

/// Which of a map's keys a client fell under.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum MapKey {
    Net(usize),
    Asn(u32),
    Subdivision,
    Country,
    Continent,
    Default,
}

impl Need {
    pub fn of(service: &Service) -> Need {
        Need {
            strict_fence: service.strict_fence,
            steps: service.steps.clone(),
            sites: service.candidates.iter().map(|candidate: &Candidate| candidate.site).collect(),
            regions: service.watch.as_ref().map_or(Regions::NONE, |watch| watch.regions),
        }
    }

    /// What the policy would make of clients at a place, be there any or not; none of its nets holds them.
    pub fn imagine(&self, world: &World, place: &Place) -> Class {
        self.class(world, place, &[])
    }

    /// Whether two worlds have the same sites and maps under the ids of this need.
    pub fn means_the_same(&self, one: &World, other: &World) -> bool {
        let site = |world: &World, id: SiteId| {
            world.sites.get(id.index()).map(|site| (site.place.clone(), site.bias))
        };
        let map = |world: &World, step: &Step| match step {
            Step::Map(id) => world.maps.get(id.index()).cloned(),
            Step::Fence(_) | Step::Nearest | Step::Failover => None,
        };
        self.sites.iter().all(|id| site(one, *id) == site(other, *id))
            && self.steps.iter().all(|step| map(one, step) == map(other, step))
    }

    /// `nets` holds, for each map among the steps, the entry whose prefix holds the client.
    pub(super) fn class(&self, world: &World, place: &Place, nets: &[Option<u32>]) -> Class {
        let sites: Vec<&Site> = self.sites.iter().map(|&id| world.site(id)).collect();
        let mut nets = nets.iter();
        let views = self.steps.iter().map(|step| match step {
            Step::Fence(area) => inside(*area, place, &sites).map_or(View::Nothing, View::Fence),
            Step::Map(id) => {
                let net = nets.next().copied().flatten();
                self.map_view(world, *id, place, net)
            }
            Step::Nearest => nearness(place, &sites).map_or(View::Nothing, View::Nearest),
            Step::Failover => View::Nothing,
        });
        let strict_inside = self
            .strict_fence
            .and_then(|area| inside(area, place, &sites))
            .filter(|inside| !inside.is_empty());
        let region = place.continent.filter(|region| self.regions.contains(*region));
        Class { strict_inside, views: views.collect(), region }
    }

    fn map_view(&self, world: &World, map: MapId, place: &Place, net: Option<u32>) -> View {
        let net = net.map(|index| index as usize);
        let Some((_, tiers)) = map_entry(world.map(map), place, net) else {
            return View::Nothing;
        };
        let candidates = |tier: &Vec<SiteId>| -> SiteSet {
            let index = |site| self.sites.iter().position(|candidate| *candidate == site);
            tier.iter().filter_map(|&site| index(site)).collect()
        };
        View::Map(tiers.iter().map(candidates).filter(|tier| !tier.is_empty()).collect())
    }
}

/// The entry of `map` for a client: net by longest prefix, then asn, subdivision, country, continent,
/// default.
pub fn map_entry<'m>(
    map: &'m Map,
    place: &Place,
    net: Option<usize>,
) -> Option<(MapKey, &'m Tiers)> {
    fn entry<'m, K: PartialEq>(entries: &'m [(K, Tiers)], key: &Option<K>) -> Option<&'m Tiers> {
        let key = key.as_ref()?;
        entries.iter().find(|(written, _)| written == key).map(|(_, tiers)| tiers)
    }
    if let Some(index) = net {
        return Some((MapKey::Net(index), &map.net[index].1));
    }
    if let (Some(asn), Some(tiers)) = (place.asn, entry(&map.asn, &place.asn)) {
        return Some((MapKey::Asn(asn), tiers));
    }
    if let Some(tiers) = entry(&map.subdivision, &place.subdivision) {
        return Some((MapKey::Subdivision, tiers));
    }
    if let Some(tiers) = entry(&map.country, &place.country) {
        return Some((MapKey::Country, tiers));
    }
    if let Some(tiers) = entry(&map.continent, &place.continent) {
        return Some((MapKey::Continent, tiers));
    }
    map.default.as_ref().map(|tiers| (MapKey::Default, tiers))
}

/// The candidates in the client's area; `None` if the client's area is not known.
fn inside(area: Area, place: &Place, sites: &[&Site]) -> Option<SiteSet> {
    let is_inside = |site: &Site| match area {
        Area::Continent => site.place.continent == place.continent,
        Area::Country => site.place.country == place.country,
    };
    let known = match area {
        Area::Continent => place.continent.is_some(),
        Area::Country => place.country.is_some(),
    };
    known.then(|| (0..sites.len()).filter(|&index| is_inside(sites[index])).collect())
}

/// The distance that `nearest` compares: a site's bias grows or shrinks its territory
/// (as Route 53's geoproximity).
pub fn territory_km(place: &Place, site: &Site) -> Option<f64> {
    let distance = place.location?.distance_km(site.place.location?);
    let Bias(bias) = site.bias;
    let share = f64::from(bias.unsigned_abs()) / 100.0;
    Some(if bias >= 0 { distance * (1.0 - share) } else { distance / (1.0 - share) })
}

fn nearness(place: &Place, sites: &[&Site]) -> Option<Nearness> {
    place.location?;
    // Config sees to it that a service with this step has only sites with coordinates; one without
    // would stand last.
    let distance = |index: usize| territory_km(place, sites[index]).unwrap_or(f64::MAX);
    let mut order: Vec<(f64, u8)> =
        (0..sites.len()).map(|index| (distance(index), index as u8)).collect();
    order.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    let reach = order.iter().map(|&(from, _)| {
        order.partition_point(|&(to, _)| to <= from + SAME_DISTANCE_KM) as u8 - 1
    });
    let reach = reach.collect();
    Some(Nearness { order: order.into_iter().map(|(_, index)| index).collect(), reach })
}

impl Nearness {
    /// Splits a tier: repeatedly the nearest left, and all within 50 km of it.
    pub fn split(&self, tier: SiteSet) -> Vec<SiteSet> {
        let mut tiers = Vec::new();
        let mut at = 0;
        while at < self.order.len() {
            let nearest = usize::from(self.order[at]);
            if !tier.contains(nearest) {
                at += 1;
                continue;
            }
            let end = usize::from(self.reach[at]) + 1;
            let near = self.order[at..end].iter().map(|&index| usize::from(index));
            tiers.push(near.collect::<SiteSet>().and(tier));
            at = end;
        }
        tiers
    }
}
