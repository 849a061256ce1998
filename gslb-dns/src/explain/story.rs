//! Listens to one evaluation and keeps what it hears, with names in place of numbers.

use serde::Serialize;

use crate::health::board::{Duty, Standing};
use crate::ids::{MapId, ServiceId};
use crate::locate::{Client, MapKey, map_entry, territory_km};
use crate::record::RecordType;
use crate::site_set::SiteSet;
use crate::snapshot::{Chosen, Decision, Derivation, Snapshot};
use crate::steer::{Contender, Failing, Family, Skipped, StepName, Struck, Trace};
use crate::world::{Area, Pace, Service, World};

/// How one service came to its part of the answer.
#[derive(Debug, Serialize)]
pub struct Steering {
    pub service: String,
    /// `A`, `AAAA` or `CNAME`; `HTTPS` or `SVCB` where each site has a record of its own.
    pub family: String,
    /// The type of the record whose hint the addresses of this family are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint_of: Option<String>,
    pub candidates: Vec<CandidateTold>,
    pub steps: Vec<StepTold>,
    pub walk: WalkTold,
    /// The sites in the answer, in order; empty if the fail mode ended the chain.
    pub sites: Vec<String>,
    /// Set while no site is fit to serve.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failing: Option<&'static str>,
    pub ttl: TtlTold,
    pub scope: ScopeTold,
}

#[derive(Debug, Serialize)]
pub struct CandidateTold {
    pub site: String,
    pub health: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<jiff::Timestamp>,
    pub why: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drained: Option<String>,
    /// Why it is on its way there.
    pub draining: Option<String>,
    pub weight: u32,
    /// Whose word the weight is, if it is not the configured one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight_why: Option<String>,
    pub admit: f64,
    /// From the client's place, the site's bias applied: what `nearest` compares.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub km: Option<u64>,
}

/// One step, and the tiers after it.
#[derive(Debug, Serialize)]
pub struct StepTold {
    pub step: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub struck: Vec<StruckTold>,
    /// Why the step was skipped, or what it did beyond its tiers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    pub tiers: Vec<Vec<String>>,
}

#[derive(Debug, Serialize)]
pub struct StruckTold {
    pub site: String,
    pub why: String,
}

#[derive(Debug, Default, Serialize)]
pub struct WalkTold {
    /// The client prefix that was hashed, if chance had a say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hashed: Option<String>,
    /// The number of the time slice under `weighted`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slice: Option<u64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub stood_aside: Vec<AsideTold>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub contests: Vec<Vec<Contest>>,
}

#[derive(Debug, Serialize)]
pub struct AsideTold {
    pub site: String,
    pub admit: f64,
    pub drawn: f64,
}

/// One contender of a tier; the lowest arrival comes first.
#[derive(Debug, Serialize)]
pub struct Contest {
    pub site: String,
    pub weight: f64,
    pub drawn: f64,
    pub arrival: f64,
}

#[derive(Debug, Serialize)]
pub struct TtlTold {
    pub seconds: u32,
    pub why: String,
}

#[derive(Debug, Serialize)]
pub struct ScopeTold {
    pub bits: u8,
    pub why: String,
}

/// What a decision is to the answer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Part {
    /// Its records are the answer.
    Records,
    /// Its addresses are a hint in a record of this type.
    HintOf(RecordType),
    /// Each of its sites has a record of this type.
    Alternatives(RecordType),
}

pub struct Story<'w> {
    world: &'w World,
    part: Part,
    service: &'w Service,
    /// By candidate.
    standings: &'w [Standing],
    struck: Vec<StruckTold>,
    note: Option<String>,
    steps: Vec<StepTold>,
    walk: WalkTold,
}

impl<'w> Story<'w> {
    pub fn new(snapshot: &'w Snapshot, service: ServiceId, part: Part) -> Story<'w> {
        let world = snapshot.world();
        Story {
            world,
            part,
            service: world.service(service),
            standings: &snapshot.board.of_service(service).standings,
            struck: vec![],
            note: None,
            steps: vec![],
            walk: WalkTold::default(),
        }
    }

    /// The whole of it.
    pub fn told(mut self, client: &Client, family: Family, derivation: &Derivation) -> Steering {
        let service = self.service;
        let place = self.world.atlas.lookup(client.address).place;
        let candidates =
            service.candidates.iter().zip(self.standings).map(|(candidate, standing)| {
                let site = self.world.site(candidate.site);
                let km = territory_km(&place, site).map(|km| km.round() as u64);
                CandidateTold::new(&site.name, standing, km)
            });
        let candidates = candidates.collect();
        if let Some(seed) = derivation.seed {
            let hashed = match service.pace {
                Pace::Sticky => client.hashed(),
                Pace::Weighted if seed.hashed == client.hashed().length => client.hashed(),
                Pace::Weighted => client.whole(),
            };
            self.walk.hashed = Some(format!("{}/{}", hashed.address, hashed.length));
            self.walk.slice = seed.slice;
        }
        self.name_map_entries(client, &place);
        let sites = match &derivation.decision.chosen {
            Chosen::Sites(choice) => {
                choice.taken.iter().map(|&one| self.site(one.into())).collect()
            }
            Chosen::Static | Chosen::NoData => vec![],
        };
        let failing = match derivation.decision.failing {
            Failing::No => None,
            Failing::AllDown => Some("every site is down"),
            Failing::AllDrained => Some("every site is drained"),
        };
        let ttl = self.ttl_told(&derivation.decision);
        Steering {
            service: service.name.to_string(),
            family: match self.part {
                Part::Records | Part::HintOf(_) => family.record_type().to_string(),
                Part::Alternatives(qtype) => qtype.to_string(),
            },
            hint_of: match self.part {
                Part::HintOf(qtype) => Some(qtype.to_string()),
                Part::Records | Part::Alternatives(_) => None,
            },
            candidates,
            steps: self.steps,
            walk: self.walk,
            sites,
            failing,
            ttl,
            scope: scope_told(client, derivation),
        }
    }

    /// Says for each map step under which of its keys the client fell.
    fn name_map_entries(&mut self, client: &Client, place: &geoip::Place) {
        for step in &mut self.steps {
            let map = self.world.maps.iter().find(|map| step.step == format!("map {}", map.name));
            let Some(map) = map else { continue };
            let net = map.longest_net(client.address);
            let Some((key, _)) = map_entry(map, place, net) else {
                continue;
            };
            step.note = Some(match key {
                MapKey::Net(index) => format!("by net {}", map.net[index].0),
                MapKey::Asn(asn) => format!("by asn {asn}"),
                MapKey::Subdivision => format!("by subdivision {}", shown(place.subdivision)),
                MapKey::Country => format!("by country {}", shown(place.country)),
                MapKey::Continent => {
                    format!("by continent {}", place.continent.map_or("", |known| known.code()))
                }
                MapKey::Default => "by default".into(),
            });
        }
    }

    /// Why the TTL is what it is.
    fn ttl_told(&self, decision: &Decision) -> TtlTold {
        let why = match (&decision.chosen, decision.halvings) {
            (_, 0) | (Chosen::Static | Chosen::NoData, _) => "ttl.max".to_owned(),
            (Chosen::Sites(choice), times) => {
                let failing_at = choice.taken.iter().map(|&one| usize::from(one));
                let failing_at = failing_at.filter(|one| self.standings[*one].halvings == times);
                let names: Vec<String> = failing_at.map(|one| self.site(one)).collect();
                let least = if self.service.ttl.min.as_secs() == u64::from(decision.ttl) {
                    ", down to ttl.min"
                } else {
                    ""
                };
                format!(
                    "ttl.max, halved {times}x{least}: looks at {} fail, of so many vantages that it may soon be down",
                    names.join(", ")
                )
            }
        };
        TtlTold { seconds: decision.ttl, why }
    }

    fn site(&self, candidate: usize) -> String {
        self.world.site(self.service.candidates[candidate].site).name.to_string()
    }

    fn map(&self, id: MapId) -> &str {
        &self.world.map(id).name
    }

    fn step_name(&self, step: StepName) -> String {
        match step {
            StepName::Start => "start".into(),
            StepName::StrictFence(area) => format!("fence {}, strict", area_name(area)),
            StepName::Healthy => "healthy".into(),
            StepName::Region(region) => format!("healthy, for {}", region.name()),
            StepName::Fence(area) => format!("fence {}", area_name(area)),
            StepName::Map(map) => format!("map {}", self.map(map)),
            StepName::Nearest => "nearest".into(),
            StepName::Failover => "failover".into(),
        }
    }

    fn tiers(&self, tiers: &[SiteSet]) -> Vec<Vec<String>> {
        tiers.iter().map(|tier| tier.iter().map(|one| self.site(one)).collect()).collect()
    }
}

impl Trace for Story<'_> {
    fn step(&mut self, step: StepName, tiers: &[SiteSet]) {
        let told = StepTold {
            step: self.step_name(step),
            struck: std::mem::take(&mut self.struck),
            note: self.note.take(),
            tiers: self.tiers(tiers),
        };
        self.steps.push(told);
    }

    fn skipped(&mut self, step: StepName, why: Skipped) {
        let tiers = self.steps.last().map_or(vec![], |last| last.tiers.clone());
        let told = StepTold {
            step: self.step_name(step),
            struck: std::mem::take(&mut self.struck),
            note: Some(format!("skipped: {}", why.as_str())),
            tiers,
        };
        self.steps.push(told);
    }

    fn struck(&mut self, candidate: usize, why: Struck) {
        let why = match why {
            Struck::NoAddressOfFamily => "it has no address of this family".into(),
            Struck::OutsideStrictFence(area) => {
                format!("outside the client's {}", area_name(area))
            }
            Struck::Down => "down".into(),
            Struck::Drained => "drained".into(),
            Struck::LostTo(region) => {
                let lost = self.standings[candidate].lost_to(region);
                lost.map_or_else(String::new, |lost| lost.why.to_string())
            }
            Struck::NotOnMap(map) => {
                format!("map {} does not name it for this client", self.map(map))
            }
        };
        self.struck.push(StruckTold { site: self.site(candidate), why });
    }

    fn fail_mode(&mut self, what: &'static str) {
        self.note = Some(match self.note.take() {
            None => what.into(),
            Some(before) => format!("{before}; {what}"),
        });
    }

    fn stood_aside(&mut self, candidate: usize, admit: f64, drawn: f64) {
        self.walk.stood_aside.push(AsideTold { site: self.site(candidate), admit, drawn });
    }

    fn ranked(&mut self, contenders: &[Contender]) {
        let contest = contenders.iter().map(|contender| Contest {
            site: self.site(contender.candidate.into()),
            weight: contender.weight,
            drawn: contender.drawn,
            arrival: contender.arrival,
        });
        self.walk.contests.push(contest.collect());
    }
}

impl CandidateTold {
    fn new(site: &str, standing: &Standing, km: Option<u64>) -> CandidateTold {
        let duty_why = || standing.duty_why.to_string();
        let is_leaving = standing.duty == Duty::Serving && !standing.duty_why.is_empty();
        CandidateTold {
            site: site.to_owned(),
            health: standing.health.as_str(),
            since: standing.since,
            why: standing.why.to_string(),
            drained: (standing.duty == Duty::Drained).then(duty_why),
            draining: is_leaving.then(duty_why),
            weight: standing.weight,
            weight_why: (!standing.weight_why.is_empty()).then(|| standing.weight_why.to_string()),
            admit: standing.admit().share(),
            km,
        }
    }
}

fn scope_told(client: &Client, derivation: &Derivation) -> ScopeTold {
    let bits = derivation.decision.scope;
    let depth = derivation.found.depth;
    let hashed = match (&derivation.decision.chosen, derivation.seed) {
        (Chosen::Sites(choice), Some(seed)) if choice.hash_decided => seed.hashed,
        _ => 0,
    };
    let why = if client.told_by == crate::locate::ToldBy::Resolver {
        "the answer is for the resolver: no client subnet was sent, or none to be believed".into()
    } else if bits == 0 {
        "every client is answered alike".into()
    } else if depth == 0 {
        format!("the policy asks for no place, the hash for a prefix of /{hashed}")
    } else if hashed > depth {
        format!("the policy tells places apart down to /{depth}, the hash down to /{hashed}")
    } else {
        format!("the policy tells places apart down to /{depth}")
    };
    let why = match client.offset {
        0 => why,
        offset => format!("{why}, behind the {offset} bits before the IPv4 address inside"),
    };
    ScopeTold { bits, why }
}

fn area_name(area: Area) -> &'static str {
    match area {
        Area::Continent => "continent",
        Area::Country => "country",
    }
}

fn shown<T: ToString>(known: Option<T>) -> String {
    known.map_or(String::new(), |known| known.to_string())
}
