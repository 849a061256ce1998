//! Sites that nobody is ever sent to.

use std::collections::HashSet;

use super::case::{Case, Loss};
use super::effort::Spent;
use super::example::Example;
use super::{At, CaseFinding};
use crate::locate::{Class, View};
use crate::site_set::SiteSet;
use crate::steer::{Contender, Outcome, Skipped, StepName, Struck, Trace, able, arrange};
use crate::world::{Area, Step};

/// What of a class can keep a site from its clients: the other steps only order.
type Strikes<'c> = (Option<SiteSet>, Vec<&'c [SiteSet]>);

/// A site that is not answered though all others are down, unless by skipping a step that would have left
/// nobody. One of weight 0 is kept out on purpose.
pub fn unreachable(case: &Case<'_>) -> Result<Vec<CaseFinding>, Spent> {
    let strikes = |step: &Step| matches!(step, Step::Map(_));
    if case.service.strict_fence.is_none() && !case.service.steps.iter().any(strikes) {
        return Ok(vec![]);
    }
    let imagined = case.imagined()?;
    // To tell classes apart costs what it does to arrange them.
    case.budget.arrange(case.geography.classes().len())?;
    let mut seen: HashSet<Strikes<'_>> = HashSet::new();
    let classes: Vec<&Class> = case
        .geography
        .classes()
        .iter()
        .chain(imagined)
        .filter(|class| seen.insert(strikes_of(class)))
        .collect();
    let mut findings = Vec::new();
    for candidate in case.everyone().without(case.unweighted()).iter() {
        case.budget.arrange(1)?;
        let alone = case.without(case.everyone().without(SiteSet::one(candidate)));
        if !is_reached_by_any(case, &classes, candidate, &alone)? {
            findings.extend(told(case, candidate)?);
        }
    }
    Ok(findings)
}

fn is_reached_by_any(
    case: &Case<'_>,
    classes: &[&Class],
    candidate: usize,
    alone: &Loss,
) -> Result<bool, Spent> {
    for class in classes {
        if is_reached(case, class, candidate, alone)? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn strikes_of(class: &Class) -> Strikes<'_> {
    let maps = class.views.iter().filter_map(|view| match view {
        View::Map(tiers) => Some(tiers.as_slice()),
        View::Nothing | View::Fence(_) | View::Nearest(_) => None,
    });
    (class.strict_inside, maps.collect())
}

fn is_reached(
    case: &Case<'_>,
    class: &Class,
    candidate: usize,
    alone: &Loss,
) -> Result<bool, Spent> {
    let families = case.families().iter();
    for family in families.filter(|family| able(&case.service, **family).contains(candidate)) {
        case.budget.arrange(1)?;
        let mut listener = NobodyLeft(None);
        let arrangement = arrange(&case.service, &alone.beliefs, class, *family, &mut listener);
        let is_in = match arrangement.outcome {
            Outcome::Tiers(tiers) => tiers.iter().any(|tier| tier.contains(candidate)),
            Outcome::Static | Outcome::NoData => false,
        };
        if is_in && listener.0.is_none() {
            return Ok(true);
        }
    }
    Ok(false)
}

fn told(case: &Case<'_>, candidate: usize) -> Result<Option<CaseFinding>, Spent> {
    let alone = case.without(case.everyone().without(SiteSet::one(candidate)));
    let mut families = case.families().iter();
    let family = families.find(|one| able(&case.service, **one).contains(candidate));
    let (Some(family), Some((of, example))) = (family, anybody(case)?) else { return Ok(None) };
    let why = {
        let mut listener = NobodyLeft(None);
        arrange(&case.service, &alone.beliefs, of, *family, &mut listener);
        match listener.0 {
            Some(StepName::Map(map)) => {
                format!("map {:?} leaves it out for every client", case.ground.world.map(map).name)
            }
            Some(_) | None => match case.service.strict_fence {
                Some(Area::Continent) => "no client is on its continent".to_owned(),
                Some(Area::Country) => "no client is in its country".to_owned(),
                None => "the steps leave it out for every client".to_owned(),
            },
        }
    };
    let site = case.site(candidate);
    let message = format!(
        "site {site:?} is sent nobody while another is fit: {why}; name it there, give it weight 0 if that \
         is meant, or remove it; {}",
        case.see(*family, &example, alone.lost)
    );
    Ok(Some(CaseFinding::warning(At::Candidate(candidate), message)))
}

fn anybody<'g>(case: &Case<'g>) -> Result<Option<(&'g Class, Example)>, Spent> {
    for (class, of) in case.classes() {
        if let Some(example) = case.example(class)? {
            return Ok(Some((of, example)));
        }
    }
    Ok(None)
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
