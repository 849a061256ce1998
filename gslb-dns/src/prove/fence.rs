//! Strict fences: whom they do not hold, and a fail mode that cannot do its work inside one.

use geoip::Place;

use super::case::Case;
use super::effort::Spent;
use super::example::{Example, addresses};
use super::{At, CaseFinding};
use crate::locate::Client;
use crate::site_set::SiteSet;
use crate::steer::{Outcome, Silent, able, arrange};
use crate::world::{Area, FailMode};

/// Clients whom a strict fence lets go anywhere: none of its sites is in their area, or nobody knows it.
pub fn not_fenced(case: &Case<'_>) -> Result<Vec<CaseFinding>, Spent> {
    let Some(area) = case.service.strict_fence else { return Ok(vec![]) };
    let (mut elsewhere, mut unknown) = (None, None);
    let mut is_cut = false;
    for address in addresses(case.geography, &case.ground.trust) {
        // In the geography, and in the atlas.
        if case.budget.look_up(2) == Err(Spent) {
            is_cut = true;
            break;
        }
        let found = case.geography.find(&Client::resolver(address));
        if case.geography.classes()[found.class.index()].strict_inside.is_some() {
            continue;
        }
        let example = Example::at(address, found.depth, &case.ground.trust);
        let place = case.ground.world.atlas.lookup(example.address()).place;
        let known: &mut Option<Example> =
            if named(area, &place).is_some() { &mut elsewhere } else { &mut unknown };
        if known.is_none_or(|known| example.rank() < known.rank()) {
            *known = Some(example);
        }
        if [elsewhere, unknown].iter().all(|one| one.is_some_and(|one| one.is_best())) {
            break;
        }
    }
    let family = case.families().iter().find(|family| !able(&case.service, **family).is_empty());
    let (Some(example), Some(family)) = (elsewhere.or(unknown), family) else {
        return if is_cut { Err(Spent) } else { Ok(vec![]) };
    };
    let mut areas: Vec<String> = Vec::new();
    for candidate in &case.service.candidates {
        let area = named(area, &case.ground.world.site(candidate.site).place);
        areas.extend(area.filter(|area| !areas.contains(area)));
    }
    let kind = kind(area);
    let elsewhere = elsewhere.map(|example| format!("in another {kind}, such as {example}"));
    let unknown = unknown.map(|example| format!("whose {kind} nobody knows, such as {example}"));
    let whom: Vec<String> = [elsewhere, unknown].into_iter().flatten().collect();
    let message = format!(
        "the strict fence holds for clients in {} alone: those {}, are sent to any site; see to it that this is meant, \
         or say where they are in geoip.overrides; {}",
        areas.join(", "),
        whom.join(", and those "),
        case.see(*family, &example, SiteSet::EMPTY)
    );
    Ok(vec![CaseFinding::note(At::StrictFence, message)])
}

/// `last-known` remembers who was fit when one last was, anywhere: while a site outside the fence is fit it
/// remembers nobody inside, and answers as `open` does.
pub fn last_known(case: &Case<'_>) -> Result<Vec<CaseFinding>, Spent> {
    if case.service.strict_fence.is_none() || case.service.fail_mode != FailMode::LastKnown {
        return Ok(vec![]);
    }
    for family in case.families() {
        for (class, of) in case.classes() {
            let Some(inside) = of.strict_inside else { continue };
            let inside = inside.and(able(&case.service, *family));
            // With one site inside there is nobody else to remember.
            let Some(first) = inside.first().filter(|_| inside.len() > 1) else { continue };
            let last = inside.without(SiteSet::one(first));
            case.budget.arrange(1)?;
            let loss = case.without(SiteSet::one(first)).then(last);
            let outcome = arrange(&case.service, &loss.beliefs, of, *family, &mut Silent).outcome;
            let Outcome::Tiers(tiers) = outcome else { continue };
            // That one was down long before the others.
            if !tiers.iter().any(|tier| tier.contains(first)) {
                continue;
            }
            let Some(example) = case.example(class)? else { continue };
            let message = format!(
                "last-known does what open does inside a strict fence while a site outside is fit: when {} \
                 goes down, {} being down already, {example} may be sent to any of them; write \"open\", \
                 or remove strict; {}",
                case.sites(last),
                case.site(first),
                case.see(*family, &example, loss.lost)
            );
            return Ok(vec![CaseFinding::warning(At::FailMode, message)]);
        }
    }
    Ok(vec![])
}

fn named(area: Area, place: &Place) -> Option<String> {
    match area {
        Area::Continent => place.continent.map(|continent| continent.to_string()),
        Area::Country => place.country.map(|country| country.to_string()),
    }
}

fn kind(area: Area) -> &'static str {
    match area {
        Area::Continent => "continent",
        Area::Country => "country",
    }
}
