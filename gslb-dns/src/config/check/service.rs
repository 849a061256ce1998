//! Services: the sites that may answer for a name, and how one of them is chosen.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use common::duration;

use super::binding::{self, Checked, Target as SiteTarget};
use super::names::Named;
use super::watch::{Asked, Watchers, Watching};
use super::{addresses, or, steer, within};
use crate::binding::Binding;
use crate::config::file;
use crate::config::problems::{Problem, Problems, Spot};
use crate::config::read::{At, Entries, List, NameOr};
use crate::ids::SiteId;
use crate::name::Name;
use crate::record::RecordType;
use crate::site_set::MAX_CANDIDATES;
use crate::world::{
    Act, Answers, Candidate, Destination, FailMode, MAX_TAKE, Map, Service, Site, Take, Ttl, Vips,
};

const MOST_WEIGHT: i64 = 1 << 20;
const MOST_TAKEN: i64 = MAX_TAKE as i64;
const LONGEST_TTL: Duration = Duration::from_secs(86_400);
const SHORTEST_TTL: Duration = Duration::from_secs(1);
const DEFAULT_TTL: Duration = Duration::from_secs(30);

/// What a service may refer to.
pub struct Around<'w> {
    pub sites: &'w Named<Site>,
    pub watchers: Watchers<'w>,
    pub maps: &'w Named<Map>,
    /// Whether anything tells where clients are.
    pub knows_places: bool,
}

/// A service as far as it is known before its zone was looked at.
pub struct Draft {
    pub name: At<Name>,
    pub answers: Option<Answers>,
    /// `None` if anything is wrong with it.
    pub service: Option<Service>,
    /// The inner `None` if nobody watches it.
    pub watching: Option<Option<Watching>>,
    /// Of its candidates; `None` if they are not known.
    pub sites: Option<Vec<SiteId>>,
    /// Where `empty` is asked for.
    pub empty: Option<Spot>,
    /// `None` if it could not be read.
    pub ttl: Option<Ttl>,
    /// Names of its sites that have yet to be looked up in the zones.
    pub targets: Vec<SiteTarget>,
    pub expect: List<At<file::Expect>>,
    pub spots: Spots,
}

/// Where the parts of a service are written, for what is found of it later.
#[derive(Debug)]
pub struct Spots {
    pub service: Spot,
    pub mode: Option<Spot>,
    pub r#static: Option<Spot>,
    pub strict_fence: Option<Spot>,
    pub steps: Vec<Spot>,
    pub candidates: Vec<CandidateSpot>,
}

#[derive(Debug)]
pub struct CandidateSpot {
    /// Of its CNAME, if it has one; of its name else.
    pub spot: Spot,
    /// Whether it is a CNAME without a final dot.
    pub is_dotless: bool,
}

/// Services in the order of their keys; those whose names are no names are left out, and told.
pub fn drafts(
    entries: Entries<At<file::Service>>,
    around: &Around<'_>,
    problems: &mut Problems,
) -> Vec<Draft> {
    let mut seen: HashMap<Name, Spot> = HashMap::new();
    let mut drafts = Vec::new();
    for (key, raw) in entries.0 {
        let Some(name) = problems.one(key.word::<Name>()) else {
            continue;
        };
        if let Some(first) = seen.insert(name.clone(), key.spot.clone()) {
            problems.add(key.spot.twice(&first, &name));
        }
        let name = At { value: name.to_lower(), spot: key.spot };
        drafts.push(draft(name, raw, around, problems));
    }
    drafts
}

fn draft(
    name: At<Name>,
    raw: Option<At<file::Service>>,
    around: &Around<'_>,
    problems: &mut Problems,
) -> Draft {
    let Some(At { value: raw, spot }) = raw else {
        let spots = Spots::of(&name.spot);
        return Draft {
            name,
            spots,
            answers: None,
            service: None,
            watching: None,
            sites: None,
            empty: None,
            ttl: None,
            targets: vec![],
            expect: vec![],
        };
    };
    let file::Service {
        sites,
        check,
        any,
        quorum,
        steer,
        take,
        across_tiers,
        when_all_down,
        act,
        r#static,
        ttl,
        https,
        svcb,
        expect,
    } = raw;
    let mode = when_all_down.as_ref().map(|mode| mode.value);
    let listed = sites.as_ref().and_then(|sites| candidates(&name.value, sites, around, problems));
    let answers = listed.as_deref().and_then(|listed| answers(listed, problems));
    let sites = listed.as_deref().map(sites_of);
    let asks = steer::Asks { sites: sites.clone(), when_all_down: mode, around };
    let mut spots = Spots::of(&name.spot);
    spots.mode = when_all_down.as_ref().map(|mode| mode.spot.clone());
    spots.r#static = r#static.iter().flatten().map(|listed| listed.spot.clone()).next();
    let mut plan = asks.plan(steer, problems);
    if let Some(plan) = &mut plan {
        spots.strict_fence = plan.strict_spot.take();
        spots.steps = std::mem::take(&mut plan.spots);
    }
    let candidates = listed.iter().flatten();
    spots.candidates = candidates.map(Listed::candidate_spot).collect();
    let asked = Asked { check, any, quorum };
    let watching = around.watchers.watching(asked, &spot, problems);
    let take = self::take(take, across_tiers, answers, problems);
    if let (Some(Take { sites: 2.., .. }), Some(listed)) = (take, &listed) {
        check_shared(listed, problems);
    }
    let fail_mode = fail_mode(mode, r#static, answers, &spot, problems);
    let ttl = self::ttl(ttl, problems);
    let empty = when_all_down.filter(|mode| mode.value == file::FailMode::Empty);
    let mut targets = Vec::new();
    let mut bound = |rtype, raw| {
        let of_sites = listed.as_deref().map(|listed| bound_sites(rtype, listed));
        let checked = binding::binding(rtype, raw, of_sites.as_deref(), take, problems)?;
        let Checked { binding, targets: led } = checked;
        targets.extend(led);
        Some(binding)
    };
    let https = bound(RecordType::HTTPS, &https);
    let svcb = bound(RecordType::SVCB, &svcb);
    let act = act.map(|act| act.unwrap_or(Act::Serve));
    let parts = Parts { listed, answers, plan, take, act, fail_mode, ttl, https, svcb };
    let service = parts.service(&name.value);
    let expect = expect.flatten().unwrap_or_default();
    let empty = empty.map(|mode| mode.spot);
    Draft { name, answers, service, watching, sites, empty, ttl, targets, expect, spots }
}

fn bound_sites<'l>(rtype: RecordType, listed: &'l [Listed<'_>]) -> Vec<binding::Site<'l>> {
    let site = |listed: &'l Listed<'_>| {
        let own = match (listed.written, rtype) {
            (None, _) => Some(None),
            (Some(written), RecordType::HTTPS) => written.https.as_ref().map(Option::as_ref),
            (Some(written), _) => written.svcb.as_ref().map(Option::as_ref),
        };
        let vips = match &listed.candidate.target {
            Destination::Vips(vips) => Some(vips),
            Destination::Cname(_) => None,
        };
        binding::Site { spot: &listed.spot, vips, own }
    };
    listed.iter().map(site).collect()
}

struct Parts<'f> {
    listed: Option<Vec<Listed<'f>>>,
    answers: Option<Answers>,
    plan: Option<steer::Plan>,
    take: Option<Take>,
    act: Option<Act>,
    fail_mode: Option<FailMode>,
    ttl: Option<Ttl>,
    https: Option<Option<Binding>>,
    svcb: Option<Option<Binding>>,
}

impl Parts<'_> {
    /// A service if there are all of them.
    fn service(self, name: &Name) -> Option<Service> {
        let Parts { listed, answers, plan, take, act, fail_mode, ttl, https, svcb } = self;
        let steer::Plan { strict_fence, steps, pace, .. } = plan?;
        Some(Service {
            name: name.clone(),
            answers: answers?,
            candidates: listed?.into_iter().map(|listed| listed.candidate).collect(),
            strict_fence,
            steps,
            pace,
            take: take?,
            watch: None,
            act: act?,
            fail_mode: fail_mode?,
            ttl: ttl?,
            https: https?,
            svcb: svcb?,
        })
    }
}

/// A candidate and where it is listed.
struct Listed<'f> {
    candidate: Candidate,
    spot: Spot,
    /// Its table, if it has one.
    written: Option<&'f file::Candidate>,
    /// Where its CNAME is, and whether that ends in a dot.
    cname: Option<(Spot, bool)>,
}

impl Listed<'_> {
    fn candidate_spot(&self) -> CandidateSpot {
        match &self.cname {
            Some((spot, has_final_dot)) => {
                CandidateSpot { spot: spot.clone(), is_dotless: !has_final_dot }
            }
            None => CandidateSpot { spot: self.spot.clone(), is_dotless: false },
        }
    }
}

impl Spots {
    /// Of a service of which nothing more is known yet.
    fn of(service: &Spot) -> Spots {
        Spots {
            service: service.clone(),
            mode: None,
            r#static: None,
            strict_fence: None,
            steps: vec![],
            candidates: vec![],
        }
    }
}

fn sites_of(listed: &[Listed<'_>]) -> Vec<SiteId> {
    listed.iter().map(|listed| listed.candidate.site).collect()
}

fn candidates<'f>(
    service: &Name,
    written: &'f At<List<NameOr<file::Candidate>>>,
    around: &Around<'_>,
    problems: &mut Problems,
) -> Option<Vec<Listed<'f>>> {
    let At { value: items, spot } = written;
    if items.is_empty() {
        problems.add(spot.problem("is empty; list a site that may answer"));
        return None;
    }
    if items.len() > MAX_CANDIDATES {
        let message = format!("lists {} sites, and {MAX_CANDIDATES} is the most", items.len());
        problems.add(spot.problem(message));
    }
    let mut seen: HashMap<SiteId, Spot> = HashMap::new();
    let mut listed: Vec<Listed<'f>> = Vec::new();
    for item in items.iter().flatten() {
        listed.extend(candidate(service, item, around, &mut seen, problems));
    }
    if listed.len() < items.len() {
        return None;
    }
    if listed.iter().all(|listed| listed.candidate.weight == 0) {
        problems.add(spot.problem("gives every site weight 0; give one of them more"));
    }
    Some(listed)
}

fn candidate<'f>(
    service: &Name,
    item: &'f NameOr<file::Candidate>,
    around: &Around<'_>,
    seen: &mut HashMap<SiteId, Spot>,
    problems: &mut Problems,
) -> Option<Listed<'f>> {
    let (name, weight, own, cname) = match item {
        NameOr::Name(name) => (name, Some(1), Some(None), None),
        NameOr::More(file::Candidate { site, weight, vips, cname, https: _, svcb: _ }) => {
            let weight = or(weight.as_ref().map(Option::as_ref), 1, |weight| {
                problems.one(within(weight, 0..=MOST_WEIGHT))
            });
            let own = own_target(service, vips.as_ref()?, cname.as_ref()?, problems);
            let cname = cname.iter().flatten().next();
            let cname = cname.map(|cname| (cname.spot.clone(), cname.value.has_final_dot));
            (site.as_ref()?, weight, own, cname)
        }
    };
    let site = problems.one(around.sites.names.find(name).map(SiteId));
    if let Some(first) = site.and_then(|site| seen.insert(site, name.spot.clone())) {
        problems.add(name.spot.twice(&first, format!("site {:?}", name.value)));
    }
    let target = match own? {
        Some(target) => target,
        // Of a site with a problem of its own nothing more is said here.
        None => Destination::Vips(around.sites.at(site?.index())?.vips.clone()),
    };
    if matches!(&target, Destination::Vips(vips) if vips.is_empty()) {
        problems.add(name.spot.problem(format!(
            "site {0:?} has no address; give [site.{0}] vips, or give vips or a cname here",
            name.value
        )));
        return None;
    }
    let candidate = Candidate { site: site?, weight: weight?, target };
    let written = match item {
        NameOr::Name(_) => None,
        NameOr::More(written) => Some(written),
    };
    Some(Listed { candidate, spot: name.spot.clone(), written, cname })
}

/// What a service has at a site instead of the site's own addresses, if it says so.
fn own_target(
    service: &Name,
    vips: &Option<At<List<At<IpAddr>>>>,
    cname: &Option<At<file::Alias>>,
    problems: &mut Problems,
) -> Option<Option<Destination>> {
    match (vips, cname) {
        (None, None) => Some(None),
        (Some(vips), None) => addresses::vips(vips, problems).map(Destination::Vips).map(Some),
        (None, Some(cname)) if cname.value.name == *service => {
            problems
                .add(cname.spot.problem("is the service's own name, so nobody gets an address"));
            None
        }
        (None, Some(cname)) => Some(Some(Destination::Cname(cname.value.name.clone()))),
        (Some(_), Some(cname)) => {
            problems.add(cname.spot.problem("stands beside vips; a site has one or the other"));
            None
        }
    }
}

/// Addresses or names, and the same of all sites: an answer has one of the two.
fn answers(listed: &[Listed<'_>], problems: &mut Problems) -> Option<Answers> {
    let is_cname = |listed: &&Listed<'_>| matches!(listed.candidate.target, Destination::Cname(_));
    let Some(first) = listed.iter().find(is_cname) else {
        return Some(Answers::Addresses);
    };
    for other in listed.iter().filter(|listed| !is_cname(listed)) {
        problems.add(other.spot.problem(format!(
            "has addresses where {} has a cname; give every site of a service a cname, or none",
            first.spot
        )));
    }
    Some(Answers::Cname)
}

/// With one site an answer, two may have an address in common; with more an answer would hold it
/// twice, which no record set does (RFC 2181 §5).
fn check_shared(listed: &[Listed<'_>], problems: &mut Problems) {
    let mut seen: HashMap<IpAddr, &Spot> = HashMap::new();
    for Listed { candidate, spot, written: _, cname: _ } in listed {
        let Destination::Vips(Vips { v4, v6 }) = &candidate.target else {
            continue;
        };
        let v4 = v4.iter().copied().map(IpAddr::from);
        for address in v4.chain(v6.iter().copied().map(IpAddr::from)) {
            if let Some(first) = seen.insert(address, spot) {
                problems.add(spot.problem(format!(
                    "{address} is an address of {first} too, and an answer may hold both sites; \
                     give one of them another, or take = 1"
                )));
            }
        }
    }
}

fn take(
    sites: Option<Option<At<i64>>>,
    across_tiers: Option<Option<At<bool>>>,
    answers: Option<Answers>,
    problems: &mut Problems,
) -> Option<Take> {
    let spot = sites.iter().flatten().map(|sites| sites.spot.clone()).next();
    let sites = or(sites, 1, |sites| problems.one(within::<u8>(&sites, 1..=MOST_TAKEN)));
    if let (Some(2..), Some(Answers::Cname), Some(spot)) = (sites, answers, spot) {
        let message = "an answer holds one CNAME (RFC 1034 §3.6.2); take 1, or leave it out";
        problems.add(spot.problem(message));
    }
    let across_tiers = or(across_tiers, false, |across_tiers| {
        if across_tiers.value && sites == Some(1) {
            let message =
                "across_tiers can never matter with take = 1; take more sites, or remove it";
            problems.add(across_tiers.spot.problem(message));
        }
        Some(across_tiers.value)
    });
    Some(Take { sites: sites?, across_tiers: across_tiers? })
}

fn fail_mode(
    mode: Option<file::FailMode>,
    addresses: Option<Option<At<List<At<IpAddr>>>>>,
    answers: Option<Answers>,
    service: &Spot,
    problems: &mut Problems,
) -> Option<FailMode> {
    let mode = match mode? {
        file::FailMode::Open => FailMode::Open,
        file::FailMode::LastKnown => FailMode::LastKnown,
        file::FailMode::Empty => FailMode::Empty,
        file::FailMode::Static => {
            let Some(addresses) = addresses? else {
                problems.add(service.problem(
                    "static is missing: when_all_down = \"static\" answers with the addresses \
                     that it lists",
                ));
                return None;
            };
            if answers == Some(Answers::Cname) {
                problems.add(addresses.spot.problem(
                    "static lists addresses, and the service answers with a CNAME; choose another \
                     when_all_down",
                ));
            }
            return addresses::vips(&addresses, problems).map(FailMode::Static);
        }
    };
    if let Some(addresses) = addresses? {
        let message = "is used with when_all_down = \"static\" alone; remove it";
        problems.add(addresses.spot.problem(message));
    }
    Some(mode)
}

fn ttl(raw: Option<Option<file::Ttl>>, problems: &mut Problems) -> Option<Ttl> {
    let (max, min) = match raw? {
        Some(file::Ttl { max, min }) => (max, min),
        None => (Some(None), Some(None)),
    };
    let max = or(max, DEFAULT_TTL, |max| problems.one(whole_seconds(&max)))?;
    // As gdnsd: half of it, and never nothing.
    let half = Duration::from_secs(max.as_secs() / 2).max(SHORTEST_TTL);
    let min = or(min, half, |min| {
        let seconds = problems.one(whole_seconds(&min))?;
        if seconds > max {
            let message = format!(
                "found {}, which is longer than max, {}; lower it",
                duration::shown(seconds),
                duration::shown(max)
            );
            problems.add(min.spot.problem(message));
            return None;
        }
        Some(seconds)
    });
    Some(Ttl { max, min: min? })
}

fn whole_seconds(written: &At<Duration>) -> Result<Duration, Problem> {
    let found = written.value;
    let is_sound = (SHORTEST_TTL..=LONGEST_TTL).contains(&found) && found.subsec_nanos() == 0;
    is_sound.then_some(found).ok_or_else(|| {
        let found = duration::shown(found);
        written.spot.problem(format!("found {found}, expected whole seconds from 1s to 1d"))
    })
}
