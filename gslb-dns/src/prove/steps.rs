//! Steps that change nothing for anybody.

use super::case::Case;
use super::effort::Spent;
use super::{At, CaseFinding};
use crate::locate::{Class, View};
use crate::site_set::SiteSet;
use crate::steer::{Silent, arrange};
use crate::world::{Service, Step};

/// A step without which every client would have the same sites in the same order, whichever one site is lost.
/// The last is looked at first, and is out when the others are: of two that do the same, one is told.
pub fn useless(case: &Case<'_>) -> Result<Vec<CaseFinding>, Spent> {
    // `check` has told of every step of a service with one site.
    if case.service.candidates.len() < 2 || case.service.steps.is_empty() {
        return Ok(vec![]);
    }
    let known = case.geography.classes();
    // To copy a class costs what it does to arrange it.
    case.budget.arrange(known.len())?;
    let mut service = case.service.clone();
    let mut classes: Vec<Class> = known.iter().chain(case.imagined()?).cloned().collect();
    let mut findings = Vec::new();
    for index in (0..case.service.steps.len()).rev() {
        let mut shorter = service.clone();
        shorter.steps.remove(index);
        case.budget.arrange(classes.len())?;
        let fewer = classes.iter().map(|class| without_view(class, index));
        let fewer: Vec<Class> = fewer.collect();
        if are_same(case, (&service, &classes), (&shorter, &fewer))? {
            findings.extend(told(case, At::Step(index), index)?);
            (service, classes) = (shorter, fewer);
        }
    }
    Ok(findings)
}

fn without_view(class: &Class, index: usize) -> Class {
    let mut class = class.clone();
    class.views.remove(index);
    class
}

fn are_same(
    case: &Case<'_>,
    (longer, classes): (&Service, &[Class]),
    (shorter, fewer): (&Service, &[Class]),
) -> Result<bool, Spent> {
    for loss in case.losses()? {
        for (class, without) in classes.iter().zip(fewer) {
            for family in case.families() {
                case.budget.arrange(2)?;
                let with = arrange(longer, &loss.beliefs, class, *family, &mut Silent);
                if with != arrange(shorter, &loss.beliefs, without, *family, &mut Silent) {
                    return Ok(false);
                }
            }
        }
    }
    Ok(true)
}

/// With a client for whom the step does something that comes to nothing, if there is one.
fn told(case: &Case<'_>, at: At, index: usize) -> Result<Option<CaseFinding>, Spent> {
    let acts = |class: &Class| class.views.get(index).is_some_and(|view| *view != View::Nothing);
    let acting = case.classes().filter(|(_, class)| acts(class)).map(|(class, _)| class);
    let any = case.classes().map(|(class, _)| class);
    let mut example = None;
    for class in acting.chain(any) {
        example = case.example(class)?;
        if example.is_some() {
            break;
        }
    }
    let (Some(example), Some(family)) = (example, case.families().first()) else { return Ok(None) };
    let step = match case.service.steps[index] {
        Step::Map(_) if !case.classes().any(|(_, class)| acts(class)) => {
            "the map has no entry for any client that the databases and overrides know, so it"
        }
        Step::Fence(_) | Step::Map(_) | Step::Nearest | Step::Failover => "it",
    };
    let message = format!(
        "this step can never matter: {step} changes neither sites nor order for any client, with all sites up or \
         one down; remove it; {}",
        case.see(*family, &example, SiteSet::EMPTY)
    );
    Ok(Some(CaseFinding::warning(at, message)))
}
