//! Steps that change nothing for anybody.

use super::case::{Case, Loss};
use super::{At, CaseFinding, MOST_ARRANGED};
use crate::locate::{Class, View};
use crate::steer::{Silent, arrange};
use crate::world::{Service, Step};

/// A step without which every client would have the same sites in the same order, whichever one site is lost.
/// The last is looked at first, and is out when the others are: of two that do the same, one is told.
pub fn useless(case: &Case<'_>) -> Vec<CaseFinding> {
    // `check` has told of every step of a service with one site.
    if case.service.candidates.len() < 2 {
        return vec![];
    }
    let needs = case.service.steps.len() + usize::from(case.service.strict_fence.is_some());
    if needs == 0 {
        return vec![];
    }
    let imagined = case.imagined();
    let of_data = case.geography.classes().len();
    let cases = (of_data + imagined.len()) * case.losses.len() * case.families().len() * 2;
    if cases > MOST_ARRANGED {
        return vec![];
    }
    let mut service = case.service.clone();
    let mut classes: Vec<Class> =
        case.geography.classes().iter().chain(&imagined).cloned().collect();
    let mut findings = Vec::new();
    for index in (0..case.service.steps.len()).rev() {
        let mut shorter = service.clone();
        shorter.steps.remove(index);
        let fewer = classes.iter().map(|class| without_view(class, index));
        let fewer: Vec<Class> = fewer.collect();
        if are_same(case, (&service, &classes), (&shorter, &fewer)) {
            findings.extend(told(case, At::Step(index), index));
            (service, classes) = (shorter, fewer);
        }
    }
    findings
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
) -> bool {
    let is_same = |loss: &Loss, class: &Class, without: &Class| {
        case.families().iter().all(|family| {
            let with = arrange(longer, &loss.beliefs, class, *family, &mut Silent);
            with == arrange(shorter, &loss.beliefs, without, *family, &mut Silent)
        })
    };
    let all =
        |loss| classes.iter().zip(fewer).all(|(class, without)| is_same(loss, class, without));
    case.losses.iter().all(all)
}

/// With a client for whom the step does something that comes to nothing, if there is one.
fn told(case: &Case<'_>, at: At, index: usize) -> Option<CaseFinding> {
    let acts = |class: &Class| class.views.get(index).is_some_and(|view| *view != View::Nothing);
    let acting = case.classes().filter(|(_, class)| acts(class)).map(|(class, _)| class);
    let any = case.classes().map(|(class, _)| class);
    let example = acting.chain(any).find_map(|class| case.example(class))?;
    let step = match case.service.steps[index] {
        Step::Map(_) if !case.classes().any(|(_, class)| acts(class)) => {
            "the map has no entry for any client that the databases and overrides know, so it"
        }
        Step::Fence(_) | Step::Map(_) | Step::Nearest | Step::Failover => "it",
    };
    let family = case.families().first()?;
    let message = format!(
        "can never matter: {step} changes neither sites nor order for any client, with all sites up or \
         one down; remove it; {}",
        case.see(*family, &example, case.losses[0].lost)
    );
    Some(CaseFinding::warning(at, message))
}
