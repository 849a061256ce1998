//! Sites that nobody is ever sent to.

use std::collections::HashSet;

use super::case::{Case, Loss};
use super::{At, CaseFinding, MOST_ARRANGED};
use crate::locate::{Class, View};
use crate::site_set::SiteSet;
use crate::steer::{Contender, Outcome, Skipped, StepName, Struck, Trace, able, arrange};
use crate::world::{Area, Step};

/// What of a class can keep a site from its clients: the other steps only order.
type Strikes<'c> = (Option<SiteSet>, Vec<&'c [SiteSet]>);

/// A site that is not answered though all others are down, unless by skipping a step that would have left
/// nobody. One of weight 0 is kept out on purpose.
pub fn unreachable(case: &Case<'_>) -> Vec<CaseFinding> {
    let strikes = |step: &Step| matches!(step, Step::Map(_));
    if case.service.strict_fence.is_none() && !case.service.steps.iter().any(strikes) {
        return vec![];
    }
    let imagined = case.imagined();
    let mut seen: HashSet<Strikes<'_>> = HashSet::new();
    let classes: Vec<&Class> = case
        .geography
        .classes()
        .iter()
        .chain(&imagined)
        .filter(|class| seen.insert(strikes_of(class)))
        .collect();
    if classes.len() * case.losses.len() * case.families().len() > MOST_ARRANGED {
        return vec![];
    }
    let weighted = case.everyone().without(case.unweighted());
    let lost = weighted.iter().filter_map(|candidate| {
        let alone = case.without(case.everyone().without(SiteSet::one(candidate)));
        let is_reached = classes.iter().any(|class| is_reached(case, class, candidate, &alone));
        (!is_reached).then(|| told(case, candidate)).flatten()
    });
    lost.collect()
}

fn strikes_of(class: &Class) -> Strikes<'_> {
    let maps = class.views.iter().filter_map(|view| match view {
        View::Map(tiers) => Some(tiers.as_slice()),
        View::Nothing | View::Fence(_) | View::Nearest(_) => None,
    });
    (class.strict_inside, maps.collect())
}

fn is_reached(case: &Case<'_>, class: &Class, candidate: usize, alone: &Loss) -> bool {
    let families = case.families().iter();
    let mut able = families.filter(|family| able(&case.service, **family).contains(candidate));
    able.any(|family| {
        let mut listener = NobodyLeft(None);
        let arrangement = arrange(&case.service, &alone.beliefs, class, *family, &mut listener);
        let is_in = match arrangement.outcome {
            Outcome::Tiers(tiers) => tiers.iter().any(|tier| tier.contains(candidate)),
            Outcome::Static | Outcome::NoData => false,
        };
        is_in && listener.0.is_none()
    })
}

fn told(case: &Case<'_>, candidate: usize) -> Option<CaseFinding> {
    let family =
        case.families().iter().find(|one| able(&case.service, **one).contains(candidate))?;
    let alone = case.without(case.everyone().without(SiteSet::one(candidate)));
    let (why, example) = case.classes().find_map(|(class, of)| {
        let example = case.example(class)?;
        let mut listener = NobodyLeft(None);
        arrange(&case.service, &alone.beliefs, of, *family, &mut listener);
        let why = match listener.0 {
            Some(StepName::Map(map)) => {
                format!("map {:?} leaves it out for every client", case.ground.world.map(map).name)
            }
            Some(_) | None => match case.service.strict_fence {
                Some(Area::Continent) => "no client is on its continent".to_owned(),
                Some(Area::Country) => "no client is in its country".to_owned(),
                None => "the steps leave it out for every client".to_owned(),
            },
        };
        Some((why, example))
    })?;
    let site = case.site(candidate);
    let message = format!(
        "site {site:?} is sent nobody while another is fit: {why}; name it there, give it weight 0 if that \
         is meant, or remove it; {}",
        case.see(*family, &example, alone.lost)
    );
    Some(CaseFinding::warning(At::Candidate(candidate), message))
}

/// Hears of a step that was skipped because it would have left nobody.
struct NobodyLeft(Option<StepName>);

impl Trace for NobodyLeft {
    fn step(&mut self, _: StepName, _: &[SiteSet]) {}
    fn skipped(&mut self, step: StepName, why: Skipped) {
        if why == Skipped::NobodyLeft {
            self.0 = Some(step);
        }
    }
    fn struck(&mut self, _: usize, _: Struck) {}
    fn fail_mode(&mut self, _: &'static str) {}
    fn stood_aside(&mut self, _: usize, _: f64, _: f64) {}
    fn ranked(&mut self, _: &[Contender]) {}
}
