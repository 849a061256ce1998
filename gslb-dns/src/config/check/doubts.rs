//! What stands in a world that is sound, and that its operator will hardly mean: told, and taken all the same.
//!
//! Of what is written, before services are watched: `prove` asks what becomes of clients.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;

use super::names::Named;
use super::service::Draft;
use super::watch::Watching;
use crate::config::file;
use crate::config::problems::{Problem, Severity, Spot};
use crate::config::read::{At, Entries};
use crate::verdict::Share;
use crate::verdict::quorum::Quorum;
use crate::watch::Vantage;
use crate::world::{Act, Destination, Site};

/// Where addresses and checks are written.
pub struct Written {
    vips: Vec<Placed>,
    /// By id.
    checks: Vec<Spot>,
}

/// An address at a site.
struct Placed {
    at: IpAddr,
    site: String,
    spot: Spot,
}

impl Written {
    pub fn of(sites: &Entries<file::Site>, checks: &Entries<At<file::Check>>) -> Written {
        let vips = sites.0.iter().flat_map(|(name, raw)| {
            let list = raw.iter().flat_map(|raw| raw.vips.iter().flatten());
            list.flat_map(|list| list.value.iter().flatten()).map(|vip| Placed {
                at: vip.value,
                site: name.value.clone(),
                spot: vip.spot.clone(),
            })
        });
        let checks = checks.0.iter().map(|(name, _)| name.spot.clone());
        Written { vips: vips.collect(), checks: checks.collect() }
    }
}

/// Of drafts that are not watched yet.
pub fn doubts(
    written: Written,
    sites: &Named<Site>,
    vantages: &[Vantage],
    drafts: &[Draft],
) -> Vec<Problem> {
    let Written { vips, checks } = written;
    let watched =
        || drafts.iter().filter_map(|draft| Some((draft, draft.watching.as_ref()?.as_ref()?)));
    let mut doubts = at_two_sites(vips, sites, drafts);
    let used: HashSet<u16> =
        watched().flat_map(|(_, watching)| &watching.checks).copied().collect();
    for (_, spot) in (0..).zip(checks).filter(|(check, _)| !used.contains(check)) {
        let message = "no service asks for it, so it is never run; name it in the check or any of a service, or \
                       remove it";
        doubts.push(spot.problem(message).weighing(Severity::Warning));
    }
    let mut alike = Alike::default();
    for (draft, watching) in watched() {
        let found = [fragile(vantages, watching), unbounded(draft, watching)];
        found.into_iter().flatten().for_each(|doubt| alike.tell(doubt));
    }
    doubts.extend(alike.told());
    doubts
}

/// Addresses that are of more than one site, of their own or where a service gives them.
fn at_two_sites(mut vips: Vec<Placed>, sites: &Named<Site>, drafts: &[Draft]) -> Vec<Problem> {
    for draft in drafts {
        let candidates = draft.service.iter().flat_map(|service| &service.candidates);
        for (candidate, written) in candidates.zip(&draft.spots.candidates) {
            let (Some(site), Destination::Vips(own)) =
                (sites.at(candidate.site.index()), &candidate.target)
            else {
                continue;
            };
            let others = own.all().filter(|at| !site.vips.all().any(|known| known == *at));
            vips.extend(others.map(|at| Placed {
                at,
                site: site.name.to_string(),
                spot: written.spot.clone(),
            }));
        }
    }
    let mut first: HashMap<IpAddr, (&str, &Spot)> = HashMap::new();
    let mut told: HashSet<(IpAddr, &str)> = HashSet::new();
    let mut doubts = Vec::new();
    for Placed { at, site, spot } in &vips {
        let (other, place) = *first.entry(*at).or_insert((site, spot));
        if other != site && told.insert((*at, site)) {
            let message = format!(
                "{at} is an address of site {other:?} too ({place}), and of site {site:?} here: clients of both come \
                 to one place, and both are lost with it; give each site its own"
            );
            doubts.push(spot.problem(message).weighing(Severity::Warning));
        }
    }
    doubts
}

/// Something that is told of a service: what it says, and what comes of that.
struct Doubt<'w> {
    spot: &'w Spot,
    severity: Severity,
    what: String,
    then: &'static str,
}

/// That the loss of one vantage is the loss of every verdict.
fn fragile<'w>(vantages: &[Vantage], watching: &'w Watching) -> Option<Doubt<'w>> {
    let Watching { quorum: Quorum { vantages: asked, domains, .. }, spots, .. } = watching;
    let doubt = |spot, what| {
        let then = "while it is silent nothing is decided, and a site that fails is answered on; ask for fewer, or add \
                    [vantage.NAME]";
        Some(Doubt { spot, severity: Severity::Warning, what, then })
    };
    if *asked == vantages.len() {
        let what = match asked {
            1 => "asks for the only vantage there is".to_owned(),
            all => format!("asks for all {all} vantages there are, so for each one"),
        };
        return doubt(&spots.vantages, what);
    }
    let mut members: HashMap<usize, Vec<&str>> = HashMap::new();
    for vantage in vantages {
        members.entry(vantage.domain).or_default().push(&vantage.name);
    }
    let alone = members.values().filter_map(|names| match names[..] {
        [alone] => Some(alone),
        _ => None,
    });
    let name = alone.min().filter(|_| *domains == members.len())?;
    doubt(
        &spots.domains,
        format!(
            "asks for all {domains} failure domains there are, so for vantage {name:?}, which is alone in one"
        ),
    )
}

/// That the bound on what probes may remove is none, or not the one that it looks like.
fn unbounded<'w>(draft: &Draft, watching: &'w Watching) -> Option<Doubt<'w>> {
    let service = draft.service.as_ref()?;
    if service.act == Act::Observe || service.candidates.len() < 2 {
        return None;
    }
    let (what, then) = match watching.max_removed {
        Share::ONE => (
            "lets probes alone remove every site",
            "if they are wrong together, when_all_down answers; 0.5 keeps half of the capacity in",
        ),
        Share::NONE => (
            "does not keep every site in",
            "probes alone may remove one all the same; act = \"observe\" removes none",
        ),
        _ => return None,
    };
    let spot = &watching.spots.max_removed;
    Some(Doubt { spot, severity: Severity::Note, what: what.to_owned(), then })
}

/// The same of several services, told of the first.
#[derive(Default)]
struct Alike<'w>(Vec<(Doubt<'w>, usize)>);

impl<'w> Alike<'w> {
    fn tell(&mut self, doubt: Doubt<'w>) {
        match self.0.iter_mut().find(|(told, _)| told.what == doubt.what) {
            Some((_, others)) => *others += 1,
            None => self.0.push((doubt, 0)),
        }
    }

    fn told(self) -> impl Iterator<Item = Problem> {
        self.0.into_iter().map(|(Doubt { spot, severity, what, then }, others)| {
            let others = match others {
                0 => String::new(),
                1 => " (as in 1 other service)".to_owned(),
                many => format!(" (as in {many} other services)"),
            };
            spot.problem(format!("{what}{others}: {then}")).weighing(severity)
        })
    }
}
