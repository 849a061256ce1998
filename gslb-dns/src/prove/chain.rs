//! Where the CNAMEs of services lead: round in a circle, too far, or to nobody.
//!
//! Each target is followed through static records to its end. Services that are ends of others make a graph;
//! only where that has a walk longer than a chain may be is it looked at client by client: two services that
//! stand in for each other are a circle on paper and for nobody.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::case::{Case, Loss, Named};
use super::effort::{Budget, Effort, Spent};
use super::example::{Example, addresses};
use super::{At, Finding, SERVICE, Severity, host, see};
use crate::answer::MAX_CHAIN;
use crate::health::board::Board;
use crate::ids::{ServiceId, SiteId};
use crate::locate::{Client, Geography};
use crate::name::{Name, NameKey};
use crate::record::RecordType;
use crate::site_set::SiteSet;
use crate::snapshot::Groundwork;
use crate::steer::Family;
use crate::world::{Answers, Destination, Service};
use crate::zone::Match;

/// Where a target leads through static records.
struct Lead {
    /// The target and what it leads to, in order.
    names: Vec<Name>,
    end: End,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum End {
    /// Addresses, or a service that has them.
    Addresses,
    /// Out of the zones hosted here.
    Elsewhere,
    /// A service that answers with a CNAME.
    Alias(ServiceId),
    Missing,
    NoAddress,
    Circle,
    TooFar,
}

impl End {
    /// Whether it is wrong whoever the client is.
    fn is_dead(self) -> bool {
        match self {
            End::Addresses | End::Elsewhere | End::Alias(_) => false,
            End::Missing | End::NoAddress | End::Circle | End::TooFar => true,
        }
    }
}

/// Where every candidate of every CNAME service leads.
type Leads = BTreeMap<ServiceId, Vec<Lead>>;

/// What is found, the services that were not judged whole, and what of `effort` is left.
pub fn findings(
    ground: &Groundwork,
    blank: &Board,
    effort: Effort,
) -> (Vec<Finding>, Vec<ServiceId>, Effort) {
    let world = &ground.world;
    let aliases = world.service_ids().filter(|id| world.service(*id).answers == Answers::Cname);
    let leads: Leads = aliases.map(|id| (id, leads_of(ground, world.service(id)))).collect();
    let mut findings = Vec::new();
    let has_dead_end = |of_service: &[Lead]| of_service.iter().any(|lead| lead.end.is_dead());
    let dead: Vec<(&ServiceId, &Vec<Lead>)> =
        leads.iter().filter(|(_, of_service)| has_dead_end(of_service)).collect();
    let far = too_far(&leads);
    // Those that lead to each other are one question.
    let mut left = effort;
    for (done, (id, of_service)) in dead.iter().enumerate() {
        let share = left.part(dead.len() - done + usize::from(!far.is_empty()));
        let case = Case::new(ground, blank, **id);
        case.budget.refill(share);
        for (candidate, lead) in of_service.iter().enumerate() {
            findings.extend(dead_end(&case, **id, candidate, lead));
        }
        left = left.less(share.less(case.budget.left()));
    }
    if far.is_empty() {
        return (findings, vec![], left);
    }
    let clients = Clients::of(ground, blank, &leads, &far, Budget::of(left));
    let mut told = BTreeSet::new();
    let judged = clients.judge(&mut told, &mut findings);
    let unjudged = match judged {
        Ok(()) => vec![],
        Err(Spent) => far.difference(&told).copied().collect(),
    };
    (findings, unjudged, clients.budget.left())
}

/// The name that a target written without its final dot may have meant: below the service's zone, where it
/// stands, while as a whole name it leads out of all zones.
pub fn relative_reading(ground: &Groundwork, id: ServiceId, candidate: usize) -> Option<Name> {
    let service = ground.world.service(id);
    let Destination::Cname(target) = &service.candidates[candidate].target else { return None };
    let find = |name: &Name| ground.zones.find(&NameKey::of(name.wire())?);
    if find(target).is_some() {
        return None;
    }
    let zone = find(&service.name)?;
    let apex = zone.apex().wire();
    let head = &target.wire()[..target.wire().len() - 1];
    let relative = Name::from_wire(&[head, apex].concat())?;
    // A wildcard would stand in for whatever was written.
    let exists = matches!(zone.search(&NameKey::of(relative.wire())?), Match::Node(_));
    exists.then_some(relative)
}

fn leads_of(ground: &Groundwork, service: &Service) -> Vec<Lead> {
    let targets = service.candidates.iter().map(|candidate| match &candidate.target {
        Destination::Cname(target) => follow(ground, target),
        Destination::Vips(_) => Lead { names: vec![], end: End::Addresses },
    });
    targets.collect()
}

fn follow(ground: &Groundwork, target: &Name) -> Lead {
    let mut names = vec![target.to_lower()];
    let end = loop {
        if names.len() > MAX_CHAIN {
            break End::TooFar;
        }
        match one_on(ground, &names[names.len() - 1]) {
            Err(end) => break end,
            Ok(next) => {
                let is_circle = names.contains(&next);
                names.push(next);
                if is_circle {
                    break End::Circle;
                }
            }
        }
    };
    Lead { names, end }
}

/// The name that a name is an alias of, or what is the end of it.
fn one_on(ground: &Groundwork, name: &Name) -> Result<Name, End> {
    let key = NameKey::of(name.wire()).ok_or(End::Missing)?;
    let zone = ground.zones.find(&key).ok_or(End::Elsewhere)?;
    let first = |node, rtype| zone.set(node, rtype).and_then(|set| set.records().next());
    match zone.search(&key) {
        Match::Node(node) | Match::Wildcard(node) => {
            if let Some(id) = zone.service(node) {
                return Err(match ground.world.service(id).answers {
                    Answers::Addresses => End::Addresses,
                    Answers::Cname => End::Alias(id),
                });
            }
            let has = |rtype| zone.set(node, rtype).is_some();
            match first(node, RecordType::CNAME).and_then(Name::from_wire) {
                Some(next) => Ok(next.to_lower()),
                None if has(RecordType::A) || has(RecordType::AAAA) => Err(End::Addresses),
                None => Err(End::NoAddress),
            }
        }
        Match::Rename(node) => {
            let tail = first(node, RecordType::DNAME).ok_or(End::Missing)?;
            let head = name.wire().len() - zone.owner(node).len();
            let renamed = [&name.wire()[..head], tail].concat();
            Name::from_wire(&renamed).map(|name| name.to_lower()).ok_or(End::Missing)
        }
        Match::Delegation(_) | Match::DelegationExactly(_) => Err(End::Elsewhere),
        Match::Nothing => Err(End::Missing),
    }
}

/// What is wrong with a target whoever the client is.
fn dead_end(case: &Case<'_>, id: ServiceId, candidate: usize, lead: &Lead) -> Option<Finding> {
    let (target, last) = (lead.names.first()?, lead.names.last()?);
    let by_way = if target == last { String::new() } else { format!("leads to {last}, which ") };
    let (severity, says) = match lead.end {
        End::Addresses | End::Elsewhere | End::Alias(_) => return None,
        End::Missing => (
            Severity::Warning,
            format!(
                "{by_way}does not exist in its zone, so who is led there is told that there is no such name; add it or write another"
            ),
        ),
        End::NoAddress => (
            Severity::Warning,
            format!(
                "{by_way}has neither an A nor an AAAA record, so who is led there gets no address; add one or write another"
            ),
        ),
        End::Circle => (
            Severity::Problem,
            format!(
                "leads round in a circle ({}), so who is led there never gets an address; break it, or \
                 write another",
                path(lead.names.iter())
            ),
        ),
        End::TooFar => (
            Severity::Warning,
            format!(
                "leads through more than {MAX_CHAIN} names ({}, ...), and resolvers give up on so many; \
                 write the last of them",
                path(lead.names.iter().take(3))
            ),
        ),
    };
    // It is wrong whether or not there is effort left to find somebody to whom it happens.
    let witness = witness(case, candidate).ok().flatten();
    let see = witness.map_or(String::new(), |(example, lost)| {
        format!("; {}", case.see(Family::Cname, &example, lost))
    });
    let see = see.replace(SERVICE, &host(&case.service)).replace(" CNAME ", " A ");
    let message = format!("{target} {says}{see}");
    Some(Finding { service: id, at: At::Candidate(candidate), severity, message })
}

/// A client who is sent to the candidate, with nothing lost or as little as it takes.
fn witness(case: &Case<'_>, candidate: usize) -> Result<Option<(Example, SiteSet)>, Spent> {
    let last = case.without(case.everyone().without(SiteSet::one(candidate)));
    for loss in case.losses()?.iter().chain([&last]) {
        for (class, of) in case.classes() {
            let is_sent = match case.named(of, Family::Cname, loss)? {
                Named::Sites(sites) => sites.contains(candidate),
                Named::Static | Named::Nobody => false,
            };
            if is_sent && let Some(example) = case.example(class)? {
                return Ok(Some((example, loss.lost)));
            }
        }
    }
    Ok(None)
}

fn path<'n>(names: impl Iterator<Item = &'n Name>) -> String {
    names.map(Name::to_host).collect::<Vec<_>>().join(", ")
}

/// The services with a walk of more than `MAX_CHAIN` names on paper; each round takes every walk one service
/// further, and each service adds a name, so a circle is among them.
fn too_far(leads: &Leads) -> BTreeSet<ServiceId> {
    let edges = leads.iter().map(|(id, of_service)| (*id, of_service.iter().collect()));
    longest(&edges.collect())
        .into_iter()
        .filter(|(_, far)| *far > MAX_CHAIN)
        .map(|(id, _)| id)
        .collect()
}

type Edges<'l> = BTreeMap<ServiceId, Vec<&'l Lead>>;

/// For each service the names of its longest walk, up to one more than `MAX_CHAIN`.
fn longest(edges: &Edges<'_>) -> HashMap<ServiceId, usize> {
    let mut far: HashMap<ServiceId, usize> = edges.keys().map(|id| (*id, 0)).collect();
    for _ in 0..=MAX_CHAIN {
        let next = edges.iter().map(|(id, leads)| {
            let most = leads.iter().map(|lead| beyond(lead, &far)).max().unwrap_or(0);
            (*id, most.min(MAX_CHAIN + 1))
        });
        let next: HashMap<ServiceId, usize> = next.collect();
        if next == far {
            break;
        }
        far = next;
    }
    far
}

fn beyond(lead: &Lead, far: &HashMap<ServiceId, usize>) -> usize {
    let more = match lead.end {
        End::Alias(id) => far.get(&id).copied().unwrap_or(0),
        // Told by itself already.
        End::Circle | End::TooFar => return 0,
        End::Addresses | End::Elsewhere | End::Missing | End::NoAddress => 0,
    };
    lead.names.len() + more
}

/// Services that lead to each other, client by client.
struct Clients<'g> {
    ground: &'g Groundwork,
    leads: &'g Leads,
    /// Those that walk too far on paper, and all that they lead to.
    cases: BTreeMap<ServiceId, Case<'g>>,
    geographies: Vec<&'g Geography>,
    /// Every site that one of them has.
    sites: BTreeSet<SiteId>,
    budget: Budget,
}

impl<'g> Clients<'g> {
    fn of(
        ground: &'g Groundwork,
        blank: &'g Board,
        leads: &'g Leads,
        far: &BTreeSet<ServiceId>,
        budget: Budget,
    ) -> Clients<'g> {
        let mut cases = BTreeMap::new();
        let mut open: Vec<ServiceId> = far.iter().copied().collect();
        while let Some(id) = open.pop() {
            if cases.contains_key(&id) {
                continue;
            }
            cases.insert(id, Case::new(ground, blank, id));
            open.extend(leads[&id].iter().filter_map(|lead| match lead.end {
                End::Alias(next) => Some(next),
                _ => None,
            }));
        }
        let mut geographies: Vec<&Geography> = Vec::new();
        let mut sites = BTreeSet::new();
        for case in cases.values() {
            if !geographies.iter().any(|known| std::ptr::eq(*known, case.geography)) {
                geographies.push(case.geography);
            }
            sites.extend(case.service.candidates.iter().map(|candidate| candidate.site));
        }
        Clients { ground, leads, cases, geographies, sites, budget }
    }

    /// Tells of each service once, and of none that another's walk went through.
    fn judge(
        &self,
        told: &mut BTreeSet<ServiceId>,
        findings: &mut Vec<Finding>,
    ) -> Result<(), Spent> {
        let losses: Vec<Option<SiteId>> =
            [None].into_iter().chain(self.sites.iter().copied().map(Some)).collect();
        let (kinds, are_all) = self.kinds();
        for lost in losses {
            self.budget.arrange(self.cases.len())?;
            let of_case = |case: &Case<'_>| case.without(candidates_at(&case.service, lost));
            let beliefs: BTreeMap<ServiceId, Loss> =
                self.cases.iter().map(|(id, case)| (*id, of_case(case))).collect();
            for (classes, example) in &kinds {
                self.budget.arrange(self.cases.len())?;
                let edges = self.edges(classes, &beliefs);
                let far = longest(&edges);
                for (id, _) in edges.iter().filter(|(id, _)| far[*id] > MAX_CHAIN) {
                    if told.contains(id) {
                        continue;
                    }
                    let walk = Walk::from(*id, self.leads, &edges, &far);
                    if !walk.services.iter().any(|id| told.contains(id)) {
                        findings.push(self.told(&walk, example, lost));
                    }
                    told.extend(&walk.services);
                }
            }
        }
        are_all
    }

    /// Every kind of client that these services can tell apart, each with an example: the geographies are
    /// looked through together, run by run. With whether the budget reached for all.
    fn kinds(&self) -> (BTreeMap<Vec<usize>, Example>, Result<(), Spent>) {
        let mut kinds: BTreeMap<Vec<usize>, Example> = BTreeMap::new();
        // More would not be arranged with nothing lost.
        let most = self.budget.left().arrangements / self.cases.len();
        let mut are_all = Ok(());
        for address in self.geographies.iter().flat_map(|one| addresses(one, &self.ground.trust)) {
            if self.budget.look_up(self.geographies.len()) == Err(Spent) {
                return (kinds, Err(Spent));
            }
            let client = Client::resolver(address);
            let found: Vec<_> = self.geographies.iter().map(|one| one.find(&client)).collect();
            let classes: Vec<usize> = found.iter().map(|found| found.class.index()).collect();
            let depth = found.iter().map(|found| found.depth).max().unwrap_or(0);
            let example = Example::at(address, depth, &self.ground.trust);
            let is_full = kinds.len() >= most;
            match kinds.entry(classes) {
                Entry::Occupied(mut known) if example.rank() < known.get().rank() => {
                    known.insert(example);
                }
                Entry::Occupied(_) => {}
                Entry::Vacant(_) if is_full => are_all = Err(Spent),
                Entry::Vacant(free) => {
                    free.insert(example);
                }
            }
        }
        (kinds, are_all)
    }

    /// Where one kind of client may be led.
    fn edges(&self, classes: &[usize], beliefs: &BTreeMap<ServiceId, Loss>) -> Edges<'g> {
        let edges = self.cases.iter().map(|(id, case)| {
            let at = self.geographies.iter().position(|one| std::ptr::eq(*one, case.geography));
            let class = classes[at.unwrap_or(0)];
            let of = &case.geography.classes()[class];
            let sites = match case.answered(of, Family::Cname, &beliefs[id]) {
                Named::Sites(sites) => sites,
                Named::Static | Named::Nobody => SiteSet::EMPTY,
            };
            (*id, sites.iter().map(|candidate| &self.leads[id][candidate]).collect())
        });
        edges.collect()
    }

    fn told(&self, walk: &Walk<'_>, example: &Example, lost: Option<SiteId>) -> Finding {
        let world = &self.ground.world;
        let from = walk.services[0];
        let name = host(world.service(from));
        let site = lost.map(|site| &*world.site(site).name);
        let suppose = site.map_or(String::new(), |site| format!(" --suppose down={site}"));
        let when = site.map_or(String::new(), |site| format!("while {site} is down, "));
        let see = see(&name, "A", example, &suppose);
        let (severity, message) = if walk.is_circle {
            let message = format!(
                "{when}this cname leads a client such as {example} round in a circle ({name}, {}), and it never gets \
                 an address; give one of these services another cname here; {see}",
                path(walk.names.iter().copied())
            );
            (Severity::Problem, message)
        } else {
            let message = format!(
                "{when}this cname leads a client such as {example} through more than {MAX_CHAIN} names ({name}, {}), \
                 and resolvers give up on so many; write one that is nearer its end; {see}",
                path(walk.names.iter().copied())
            );
            (Severity::Warning, message)
        };
        Finding { service: from, at: At::Candidate(walk.first), severity, message }
    }
}

fn candidates_at(service: &Service, site: Option<SiteId>) -> SiteSet {
    let candidates = service.candidates.iter().enumerate();
    candidates.filter(|(_, one)| Some(one.site) == site).map(|(index, _)| index).collect()
}

/// One client's way from a service, as long as it can be.
struct Walk<'l> {
    services: Vec<ServiceId>,
    /// The candidate of the first service.
    first: usize,
    names: Vec<&'l Name>,
    is_circle: bool,
}

impl<'l> Walk<'l> {
    fn from(
        start: ServiceId,
        leads: &Leads,
        edges: &Edges<'l>,
        far: &HashMap<ServiceId, usize>,
    ) -> Walk<'l> {
        let mut ways: Vec<(ServiceId, &Lead)> = Vec::new();
        let mut at = start;
        let is_circle = loop {
            let furthest = edges.get(&at).into_iter().flatten();
            let Some(lead) = furthest.max_by_key(|lead| beyond(lead, far)) else { break false };
            ways.push((at, lead));
            let End::Alias(next) = lead.end else { break false };
            if let Some(met) = ways.iter().position(|(before, _)| *before == next) {
                ways.drain(..met);
                break true;
            }
            at = next;
        };
        let services: Vec<ServiceId> = ways.iter().map(|(id, _)| *id).collect();
        let first = ways.first().map_or(0, |(id, lead)| {
            leads[id].iter().position(|one| std::ptr::eq(one, *lead)).unwrap_or(0)
        });
        let names = ways.iter().flat_map(|(_, lead)| &lead.names).collect();
        Walk { services, first, names, is_circle }
    }
}
