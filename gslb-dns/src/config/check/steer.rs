//! The steps of one service: each known, in its place, and able to matter.

use std::collections::BTreeSet;

use common::names::listed;

use super::service::Around;
use crate::config::closest::closest;
use crate::config::file;
use crate::config::problems::{Problem, Problems, Spot};
use crate::config::read::{At, List, NameOr};
use crate::ids::{MapId, SiteId};
use crate::world::{Area, Map, Pace, Site, Step, Tiers};

pub struct Plan {
    pub strict_fence: Option<Area>,
    pub steps: Vec<Step>,
    pub pace: Pace,
    /// Where the strict fence and each of the steps is written.
    pub strict_spot: Option<Spot>,
    pub spots: Vec<Spot>,
}

/// What a service asks of its steps.
pub struct Asks<'a> {
    /// Of its candidates; `None` if they are not known.
    pub sites: Option<Vec<SiteId>>,
    pub when_all_down: Option<file::FailMode>,
    pub around: &'a Around<'a>,
}

#[derive(Clone, Copy, Eq, PartialEq)]
enum Written {
    Strict(Area),
    Step(Step),
    Pace(Pace),
}

type Steps = At<List<NameOr<At<file::Step>>>>;

impl Asks<'_> {
    pub fn plan(&self, raw: Option<Option<Steps>>, problems: &mut Problems) -> Option<Plan> {
        let items = raw?.map_or_else(Vec::new, |raw| raw.value);
        let mut plan = Plan {
            strict_fence: None,
            steps: Vec::new(),
            pace: Pace::Sticky,
            strict_spot: None,
            spots: Vec::new(),
        };
        let mut before: Vec<(Written, Spot)> = Vec::new();
        for (index, item) in items.iter().enumerate() {
            let written = item.as_ref().and_then(|item| self.written(item, problems));
            let Some((written, spot)) = written else {
                continue;
            };
            let fault = repeated(written, &before)
                .or_else(|| self.misplaced(written, index, items.len() - 1))
                .or_else(|| self.useless(written, &before));
            if let Some(fault) = fault {
                problems.add(spot.problem(fault));
            }
            match written {
                Written::Strict(area) => {
                    plan.strict_fence = Some(area);
                    plan.strict_spot = Some(spot.clone());
                }
                Written::Step(step) => {
                    plan.steps.push(step);
                    plan.spots.push(spot.clone());
                }
                Written::Pace(pace) => plan.pace = pace,
            }
            before.push((written, spot));
        }
        (before.len() == items.len()).then_some(plan)
    }

    fn written(
        &self,
        item: &NameOr<At<file::Step>>,
        problems: &mut Problems,
    ) -> Option<(Written, Spot)> {
        let At { value: file::Step { fence, strict, map }, spot } = match item {
            NameOr::Name(name) => {
                return problems.one(named(name)).map(|written| (written, name.spot.clone()));
            }
            NameOr::More(step) => step,
        };
        let written = match (fence.as_ref()?, strict.as_ref()?, map.as_ref()?) {
            (Some(area), Some(strict), None) if strict.value => Ok(Written::Strict(area.value)),
            (Some(area), _, None) => Ok(Written::Step(Step::Fence(area.value))),
            (None, None, Some(map)) => {
                let map = self.around.maps.names.find(map).map(MapId);
                map.map(|map| Written::Step(Step::Map(map)))
            }
            (None, Some(strict), _) => {
                Err(strict.spot.problem("belongs to a fence, and this step is none; remove it"))
            }
            (Some(_), _, Some(map)) => {
                Err(map.spot.problem("stands beside fence; make two steps of them"))
            }
            (None, None, None) => {
                Err(spot.problem("is no step (expected { fence = ... } or { map = ... })"))
            }
        };
        Some((problems.one(written)?, spot.clone()))
    }

    fn misplaced(&self, written: Written, index: usize, last: usize) -> Option<String> {
        let says = match written {
            Written::Pace(_) if index < last => {
                "comes last: it picks one of those that the other steps leave; move it to the end"
            }
            Written::Strict(_) if index > 0 => {
                "with strict = true comes first: it stands before health is looked at; move it to \
                 the front"
            }
            Written::Strict(_) if self.when_all_down == Some(file::FailMode::Empty) => {
                "strict = true with when_all_down = \"empty\" would leave the clients of an area \
                 without an answer while other sites are up; choose another when_all_down or \
                 remove strict"
            }
            Written::Pace(_) | Written::Strict(_) | Written::Step(_) => return None,
        };
        Some(says.to_owned())
    }

    /// Why a step can never change which site a client gets.
    fn useless(&self, written: Written, before: &[(Written, Spot)]) -> Option<String> {
        let step = match written {
            Written::Strict(area) => Step::Fence(area),
            Written::Step(step) => step,
            Written::Pace(_) => return None,
        };
        if matches!(step, Step::Fence(_) | Step::Nearest) && !self.around.knows_places {
            return Some(
                "this step can never matter: no database and no override tells where clients are; add \
                 geoip.databases or remove it"
                    .to_owned(),
            );
        }
        let sites = self.sites.as_ref()?;
        if sites.len() == 1 {
            return Some(
                "this step can never matter: the service has one site; remove it".to_owned(),
            );
        }
        let settled_by = before.iter().find(|(written, _)| match written {
            Written::Step(step) => self.settles(*step),
            Written::Strict(_) | Written::Pace(_) => false,
        });
        let strikes = matches!(step, Step::Map(map) if self.strikes(map));
        if let Some((_, spot)) = settled_by
            && !strikes
        {
            return Some(format!(
                "this step can never matter: {spot} leaves no two sites alike, so there is nothing to order; \
                 remove one of the two"
            ));
        }
        match step {
            Step::Fence(area) => self.useless_fence(area),
            Step::Nearest => self.useless_nearest(),
            Step::Map(map) => self.useless_map(map),
            Step::Failover => None,
        }
    }

    fn useless_fence(&self, area: Area) -> Option<String> {
        let sites = self.known_sites()?;
        let area_of = |site: &&Site| match area {
            Area::Continent => site.place.continent.map(|continent| continent.to_string()),
            Area::Country => site.place.country.map(|country| country.to_string()),
        };
        let kind = match area {
            Area::Continent => "continent",
            Area::Country => "country",
        };
        let unplaced = sites.iter().filter(|site| area_of(site).is_none());
        if let Some(names) = names_of(unplaced.copied()) {
            return Some(format!(
                "needs the {kind} of each site; give a place with one to {names}"
            ));
        }
        let areas: BTreeSet<_> = sites.iter().filter_map(area_of).collect();
        let only = areas.first().filter(|_| areas.len() == 1)?;
        Some(format!(
            "this step can never matter: every site of the service is in {only}; remove it"
        ))
    }

    fn useless_nearest(&self) -> Option<String> {
        let sites = self.known_sites()?;
        let unplaced = sites.iter().filter(|site| site.place.location.is_none());
        if let Some(names) = names_of(unplaced.copied()) {
            return Some(format!(
                "needs to know where each site stands; give a place with a country, or lat and \
                 lon, to {names}"
            ));
        }
        let first = sites.first()?;
        let is_alike =
            |site: &&Site| (site.place.location, site.bias) == (first.place.location, first.bias);
        sites.iter().all(is_alike).then(|| {
            "this step can never matter: every site of the service stands at the same point; remove it"
                .to_owned()
        })
    }

    fn useless_map(&self, id: MapId) -> Option<String> {
        let views = self.views(self.around.maps.at(id.index())?)?;
        if views.iter().all(|view| view.named == 0) {
            return Some(
                "this step can never matter: the map names none of the service's sites; remove it"
                    .to_owned(),
            );
        }
        let matters = views.iter().any(|view| view.tiers > 1 || view.strikes());
        (!matters).then(|| {
            "this step can never matter: the map gives every client all sites of the service in one tier; \
             remove it"
                .to_owned()
        })
    }

    /// Whether after a step each tier holds one site, for every client.
    fn settles(&self, step: Step) -> bool {
        match step {
            Step::Failover => true,
            Step::Map(id) => {
                let map = self.around.maps.at(id.index());
                // Without a default the step is skipped for some, and they keep their order.
                let views = map.filter(|map| map.default.is_some()).and_then(|map| self.views(map));
                let is_full = |view: &View| view.named == view.of && view.tiers == view.named;
                views.is_some_and(|views| views.iter().all(is_full))
            }
            Step::Fence(_) | Step::Nearest => false,
        }
    }

    fn strikes(&self, id: MapId) -> bool {
        let views = self.around.maps.at(id.index()).and_then(|map| self.views(map));
        views.is_none_or(|views| views.iter().any(View::strikes))
    }

    /// What each list of a map makes of the service's sites.
    fn views(&self, map: &Map) -> Option<Vec<View>> {
        let sites = self.sites.as_ref()?;
        let view = |tiers: &Tiers| {
            let named = tiers.iter().map(|tier| tier.iter().filter(|site| sites.contains(site)));
            let counts: Vec<usize> =
                named.map(Iterator::count).filter(|count| *count > 0).collect();
            View { named: counts.iter().sum(), tiers: counts.len(), of: sites.len() }
        };
        let Map { name: _, default, continent, country, subdivision, asn, net } = map;
        let lists = default.iter();
        let lists = lists.chain(continent.iter().map(|(_, tiers)| tiers));
        let lists = lists.chain(country.iter().map(|(_, tiers)| tiers));
        let lists = lists.chain(subdivision.iter().map(|(_, tiers)| tiers));
        let lists = lists.chain(asn.iter().map(|(_, tiers)| tiers));
        let lists = lists.chain(net.iter().map(|(_, tiers)| tiers));
        Some(lists.map(view).collect())
    }

    /// The service's sites, unless something is wrong with one.
    fn known_sites(&self) -> Option<Vec<&Site>> {
        self.sites.as_ref()?.iter().map(|site| self.around.sites.at(site.index())).collect()
    }
}

/// One list of a map, as one service sees it.
struct View {
    /// Sites of the service that the list names, and in how many tiers.
    named: usize,
    tiers: usize,
    /// Sites of the service.
    of: usize,
}

impl View {
    /// A list that names none would leave nothing, so the step is skipped.
    fn strikes(&self) -> bool {
        (1..self.of).contains(&self.named)
    }
}

fn named(name: &At<String>) -> Result<Written, Problem> {
    const NAMED: [(&str, Written); 4] = [
        ("nearest", Written::Step(Step::Nearest)),
        ("failover", Written::Step(Step::Failover)),
        ("weighted", Written::Pace(Pace::Weighted)),
        ("sticky", Written::Pace(Pace::Sticky)),
    ];
    let found = NAMED.iter().find(|(known, _)| *known == name.value);
    found.map(|(_, written)| *written).ok_or_else(|| {
        let known = || NAMED.iter().map(|(known, _)| *known);
        let advice = match (&*name.value, closest(&name.value, known())) {
            ("fence" | "map", _) => format!("; write {{ {} = \"...\" }}", name.value),
            (_, Some(guess)) => format!("; did you mean {guess:?}?"),
            (_, None) => String::new(),
        };
        name.spot.problem(format!(
            "no step named {:?}{advice} ({}, {{ fence = ... }}, {{ map = ... }})",
            name.value,
            listed("steps", known())
        ))
    })
}

fn repeated(written: Written, before: &[(Written, Spot)]) -> Option<String> {
    // A fence that struck the outside leaves nothing for one that sets it back.
    let key = |written: Written| match written {
        Written::Strict(area) => Written::Step(Step::Fence(area)),
        Written::Step(_) | Written::Pace(_) => written,
    };
    let (_, first) = before.iter().find(|(earlier, _)| key(*earlier) == key(written))?;
    Some(format!("this step can never matter: {first} is the same step; remove one of them"))
}

fn names_of<'s>(sites: impl Iterator<Item = &'s Site>) -> Option<String> {
    let names: Vec<&str> = sites.map(|site| &*site.name).collect();
    match names.as_slice() {
        [] => None,
        [one] => Some(format!("site {one:?}")),
        many => Some(listed("these sites", many.iter().copied())),
    }
}
