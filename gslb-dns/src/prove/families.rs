//! A and AAAA: who is told that there is no such address, and who is sent to two different places.

use super::case::{Case, Named, lists};
use super::effort::Spent;
use super::example::Example;
use super::{At, CaseFinding};
use crate::site_set::SiteSet;
use crate::steer::{Family, able};
use crate::world::FailMode;

/// A family that sites have and `static` lists no address of: while they are down, its clients are told that
/// there is none, and resolvers remember that. With `empty` that is what was asked for.
pub fn silent(case: &Case<'_>) -> Result<Vec<CaseFinding>, Spent> {
    let FailMode::Static(vips) = &case.service.fail_mode else { return Ok(vec![]) };
    let lacking = case
        .families()
        .iter()
        .filter(|family| !lists(vips, **family) && !able(&case.service, **family).is_empty());
    lacking.filter_map(|family| silence(case, *family).transpose()).collect()
}

fn silence(case: &Case<'_>, family: Family) -> Result<Option<CaseFinding>, Spent> {
    let Some((example, lost)) = first_silenced(case, family)? else { return Ok(None) };
    let (rtype, kind) = (family.record_type(), kind(family));
    let message = format!(
        "static lists no {kind} address, and sites of this service have one: {}the {rtype} answer to \
         {example} says that there is none, and resolvers remember that for as long as the SOA record asks; \
         add one; {}",
        case.while_lost(lost),
        case.see(family, &example, lost)
    );
    Ok(Some(CaseFinding::warning(At::Static, message)))
}

/// While as little is lost as it takes.
fn first_silenced(case: &Case<'_>, family: Family) -> Result<Option<(Example, SiteSet)>, Spent> {
    for loss in case.losses()?.iter().chain([&case.dark]) {
        for (class, of) in case.classes() {
            if case.named(of, family, loss)? == Named::Nobody
                && let Some(example) = case.example(class)?
            {
                return Ok(Some((example, loss.lost)));
            }
        }
    }
    Ok(None)
}

/// An address in `static` of a family that no site has: the service has no such records, so nothing of it is
/// ever answered.
pub fn never_listed(case: &Case<'_>) -> Result<Vec<CaseFinding>, Spent> {
    let FailMode::Static(vips) = &case.service.fail_mode else { return Ok(vec![]) };
    let unused = case
        .families()
        .iter()
        .filter(|family| lists(vips, **family) && able(&case.service, **family).is_empty());
    let mut told = Vec::new();
    for family in unused {
        let mut example = None;
        for (class, of) in case.classes() {
            if case.named(of, *family, &case.dark)? == Named::Nobody {
                example = case.example(class)?;
            }
            if example.is_some() {
                break;
            }
        }
        let Some(example) = example else { continue };
        let message = format!(
            "static lists an {kind} address that is never answered: no site of this service has one, so it \
             has no {} records; remove it, or give a site one; {}",
            family.record_type(),
            case.see(*family, &example, case.everyone()),
            kind = kind(*family)
        );
        told.push(CaseFinding::warning(At::Static, message));
    }
    Ok(told)
}

/// Clients whose A answer and AAAA answer have no site in common, since a site lacks a family. Which of the
/// two a client takes is chance to the operator.
pub fn apart(case: &Case<'_>) -> Result<Vec<CaseFinding>, Spent> {
    let [v4, v6] = [Family::V4, Family::V6].map(|family| able(&case.service, family));
    if v4.is_empty() || v6.is_empty() || v4 == v6 {
        return Ok(vec![]);
    }
    for loss in case.losses()? {
        for (class, of) in case.classes() {
            let a = case.named(of, Family::V4, loss)?;
            let aaaa = case.named(of, Family::V6, loss)?;
            if !is_apart(a, aaaa) {
                continue;
            }
            let Some(example) = case.example(class)? else { continue };
            let [a, aaaa] = [a, aaaa].map(|named| tell(case, named, loss.lost));
            let message = format!(
                "{}the A answer to {example} names {a}, and the AAAA answer {aaaa}, since {lacking}; \
                 give all sites both, or leave IPv6 out; {}",
                case.while_lost(loss.lost),
                case.see(Family::V6, &example, loss.lost),
                lacking = lacking(case, v4, v6)
            );
            return Ok(vec![CaseFinding::warning(At::Service, message)]);
        }
    }
    Ok(vec![])
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
