//! A and AAAA: who is told that there is no such address, and who is sent to two different places.

use super::case::{Case, Named, lists};
use super::{At, CaseFinding, MOST_ARRANGED};
use crate::locate::Class;
use crate::site_set::SiteSet;
use crate::steer::{Family, able};
use crate::world::FailMode;

/// A family that sites have and `static` lists no address of: while they are down, its clients are told that
/// there is none, and resolvers remember that. With `empty` that is what was asked for.
pub fn silent(case: &Case<'_>) -> Vec<CaseFinding> {
    let FailMode::Static(vips) = &case.service.fail_mode else { return vec![] };
    let lacking = case
        .families()
        .iter()
        .filter(|family| !lists(vips, **family) && !able(&case.service, **family).is_empty());
    lacking.filter_map(|family| silence(case, *family)).collect()
}

fn silence(case: &Case<'_>, family: Family) -> Option<CaseFinding> {
    let is_small = case.geography.classes().len() * case.losses.len() <= MOST_ARRANGED;
    let one_by_one = if is_small { &case.losses[..] } else { &[] };
    let mut silences = one_by_one.iter().chain([&case.dark]).flat_map(|loss| {
        let is_silent =
            move |(_, class): &(usize, &Class)| case.named(class, family, loss) == Named::Nobody;
        case.classes().filter(is_silent).map(move |(class, _)| (class, loss.lost))
    });
    let (example, lost) = silences.find_map(|(class, lost)| Some((case.example(class)?, lost)))?;
    let (rtype, kind) = (family.record_type(), kind(family));
    let message = format!(
        "lists no {kind} address, and sites of this service have one: {}the {rtype} answer to \
         {example} says that there is none, and resolvers remember that for as long as the SOA record asks; \
         add one; {}",
        case.while_lost(lost),
        case.see(family, &example, lost)
    );
    Some(CaseFinding::warning(At::Static, message))
}

/// An address in `static` of a family that no site has: the service has no such records, so nothing of it is
/// ever answered.
pub fn never_listed(case: &Case<'_>) -> Vec<CaseFinding> {
    let FailMode::Static(vips) = &case.service.fail_mode else { return vec![] };
    let unused = case
        .families()
        .iter()
        .filter(|family| lists(vips, **family) && able(&case.service, **family).is_empty());
    let told = unused.filter_map(|family| {
        let is_never = |(_, class): &(usize, &Class)| {
            case.named(class, *family, &case.dark) == Named::Nobody
        };
        let mut nobody = case.classes().filter(is_never);
        let example = nobody.find_map(|(class, _)| case.example(class))?;
        let message = format!(
            "lists an {kind} address that is never answered: no site of this service has one, so it \
             has no {} records; remove it, or give a site one; {}",
            family.record_type(),
            case.see(*family, &example, case.everyone()),
            kind = kind(*family)
        );
        Some(CaseFinding::warning(At::Static, message))
    });
    told.collect()
}

/// Clients whose A answer and AAAA answer have no site in common, since a site lacks a family. Which of the
/// two a client takes is chance to the operator.
pub fn apart(case: &Case<'_>) -> Option<CaseFinding> {
    let [v4, v6] = [Family::V4, Family::V6].map(|family| able(&case.service, family));
    if v4.is_empty() || v6.is_empty() || v4 == v6 {
        return None;
    }
    let mut left = MOST_ARRANGED;
    for loss in &case.losses {
        for (class, of) in case.classes() {
            left = left.checked_sub(2)?;
            let [a, aaaa] = [Family::V4, Family::V6].map(|family| case.named(of, family, loss));
            if !is_apart(a, aaaa) {
                continue;
            }
            let Some(example) = case.example(class) else { continue };
            let [a, aaaa] = [a, aaaa].map(|named| tell(case, named, loss.lost));
            let message = format!(
                "{}the A answer to {example} names {a}, and the AAAA answer {aaaa}, since {lacking}; \
                 give all sites both, or leave IPv6 out; {}",
                case.while_lost(loss.lost),
                case.see(Family::V6, &example, loss.lost),
                lacking = lacking(case, v4, v6)
            );
            return Some(CaseFinding::warning(At::Service, message));
        }
    }
    None
}

fn is_apart(a: Named, aaaa: Named) -> bool {
    match (a, aaaa) {
        (Named::Sites(a), Named::Sites(aaaa)) => a.and(aaaa).is_empty(),
        (Named::Sites(_), Named::Static) | (Named::Static, Named::Sites(_)) => true,
        // Who is told that there is none takes the other.
        (Named::Nobody, _) | (_, Named::Nobody) | (Named::Static, Named::Static) => false,
    }
}

fn tell(case: &Case<'_>, named: Named, lost: SiteSet) -> String {
    match named {
        Named::Sites(sites) if !sites.is_empty() && sites.without(lost).is_empty() => {
            format!("{}, by when_all_down", case.sites(sites))
        }
        Named::Sites(sites) => case.sites(sites),
        Named::Static => "the addresses of static".to_owned(),
        Named::Nobody => "nobody".to_owned(),
    }
}

fn lacking(case: &Case<'_>, v4: SiteSet, v6: SiteSet) -> String {
    let told = |lacking: SiteSet, kind: &str| {
        let have = if lacking.len() == 1 { "has" } else { "have" };
        (!lacking.is_empty()).then(|| format!("{} {have} no {kind} address", case.sites(lacking)))
    };
    let both = [told(v4.without(v6), "IPv6"), told(v6.without(v4), "IPv4")];
    both.into_iter().flatten().collect::<Vec<_>>().join(" and ")
}

fn kind(family: Family) -> &'static str {
    match family {
        Family::V4 => "IPv4",
        Family::V6 => "IPv6",
        Family::Cname => "CNAME",
    }
}
