//! From a question to the records of its answer: zone cuts, CNAME and DNAME chains, services, and the
//! proof of absence (RFC 1034 §4.3.2, RFC 2308, RFC 4592, RFC 6604, RFC 6672).

use std::cell::OnceCell;

use arrayvec::ArrayVec;

use super::binding::{self, Heading};
use super::writer::{Full, Owner, Section, Writer};
use super::{Asker, ClientSubnet};
use crate::binding::Binding;
use crate::ids::ServiceId;
use crate::ledger::Entry;
use crate::locate::Client;
use crate::name::{MAX_NAME, NameKey};
use crate::query::{Question, Rcode};
use crate::record::RecordType;
use crate::site_set::SiteSet;
use crate::snapshot::{Chosen, Decision, Extent, Live, Snapshot};
use crate::steer::{Failing, Family, common_family};
use crate::world::{Answers, Destination, FailMode, Vips};
use crate::zone::{Match, NodeId, RrSet, Zone};

/// Names that one answer follows through CNAME and DNAME records; what lies beyond is the resolver's
/// to ask for.
pub const MAX_CHAIN: usize = 16;
/// Seconds that the HINFO of RFC 8482 §4.2 may be cached.
const ANY_TTL: u32 = 3600;
/// `"RFC8482" ""` (RFC 8482 §4.2).
const ANY_HINFO: &[u8] = b"\x07RFC8482\0";

/// What the records written amount to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Resolution {
    pub rcode: Rcode,
    pub authoritative: bool,
    pub scope: u8,
    pub steered: Option<ServiceId>,
}

/// The services along a chain, each once.
pub type Entries = ArrayVec<Entry, { MAX_CHAIN + 1 }>;

/// One question on its way through the zones.
pub struct Resolver<'a> {
    snapshot: &'a Snapshot,
    qtype: RecordType,
    name: &'a NameKey,
    subnet: Option<&'a ClientSubnet>,
    asker: &'a Asker,
    client: OnceCell<Client>,
    found: Resolution,
    entries: &'a mut Entries,
}

/// One name of the chain.
#[derive(Clone, Copy)]
struct Hop<'n> {
    key: &'n NameKey,
    owner: Owner<'n>,
}

/// The uncompressed name that the chain leads on to, if it does.
type Next<'z> = Option<&'z [u8]>;

impl Resolution {
    pub fn answer() -> Resolution {
        Resolution { rcode: Rcode::NoError, authoritative: true, scope: 0, steered: None }
    }

    pub fn error(rcode: Rcode) -> Resolution {
        Resolution { rcode, authoritative: false, scope: 0, steered: None }
    }
}

impl<'a> Resolver<'a> {
    pub fn new(
        snapshot: &'a Snapshot,
        question: &'a Question<'_>,
        subnet: Option<&'a ClientSubnet>,
        asker: &'a Asker,
        entries: &'a mut Entries,
    ) -> Resolver<'a> {
        Resolver {
            snapshot,
            qtype: question.qtype,
            name: question.name,
            subnet,
            asker,
            client: OnceCell::new(),
            found: Resolution::answer(),
            entries,
        }
    }

    /// Writes the records. When they do not fit, what was found is returned with the error.
    pub fn run(mut self, writer: &mut Writer<'_>) -> Result<Resolution, (Full, Resolution)> {
        let zones = &self.snapshot.ground.zones;
        let Some(mut zone) = zones.find(self.name) else {
            return Ok(Resolution::error(Rcode::Refused));
        };
        // DS stands on the parent's side of a cut (RFC 4035 §3.1.4.1).
        if self.qtype == RecordType::DS
            && zone.apex().wire().eq_ignore_ascii_case(self.name.wire())
            && let Some(parent) = zones.find_above(self.name)
        {
            zone = parent;
        }
        match self.follow(zone, writer) {
            Ok(()) => Ok(self.found),
            Err(full) => Err((full, self.found)),
        }
    }

    fn follow(&mut self, zone: &'a Zone, writer: &mut Writer<'_>) -> Result<(), Full> {
        let mut hop = Hop { key: self.name, owner: Owner::Question };
        let mut target;
        let mut renamed;
        let mut last_rename = None;
        for hops in 0..=MAX_CHAIN {
            let next = match zone.search(hop.key) {
                // Its target lies below itself: every turn would only make the name longer.
                Match::Rename(node) if last_rename == Some(node) => break,
                Match::Node(node) | Match::Wildcard(node) => {
                    last_rename = None;
                    self.at_node(zone, node, hop, writer)?
                }
                Match::DelegationExactly(node) if self.qtype == RecordType::DS => {
                    self.at_node(zone, node, hop, writer)?
                }
                Match::Delegation(node) | Match::DelegationExactly(node) => {
                    // The first owner in the answer section decides about AA (RFC 1035 §4.1.1).
                    self.found.authoritative = hops > 0;
                    refer(zone, node, writer)?;
                    None
                }
                Match::Rename(node) => {
                    last_rename = Some(node);
                    renamed = [0; MAX_NAME];
                    self.rename(zone, node, hop, &mut renamed, writer)?
                }
                Match::Nothing => {
                    // RFC 6604 §3: the code tells of the last name of the chain.
                    self.found.rcode = Rcode::NxDomain;
                    write_soa(zone, writer)?;
                    None
                }
            };
            match next.and_then(NameKey::of) {
                Some(next) if self.answers_from(zone, &next) => target = next,
                Some(_) | None => break,
            }
            hop = Hop { key: &target, owner: Owner::Name(target.wire()) };
        }
        Ok(())
    }

    /// The name exists, or a wildcard stands in for it.
    fn at_node(
        &mut self,
        zone: &'a Zone,
        node: NodeId,
        hop: Hop<'_>,
        writer: &mut Writer<'_>,
    ) -> Result<Next<'a>, Full> {
        if let Some(id) = zone.service(node)
            && let Some(next) = self.at_service(zone, id, hop, writer)?
        {
            return Ok(next);
        }
        if self.qtype == RecordType::ANY {
            any(zone, node, hop, writer)?;
            return Ok(None);
        }
        if let Some(set) = zone.set(node, self.qtype) {
            write_set(Section::Answer, hop.owner, set, writer)?;
            return Ok(None);
        }
        if let Some(alias) = zone.set(node, RecordType::CNAME) {
            write_set(Section::Answer, hop.owner, alias, writer)?;
            return Ok(alias.records().next());
        }
        write_soa(zone, writer)?;
        Ok(None)
    }

    /// `None` if the type is none of the service's: static records of other types stand beside it.
    fn at_service(
        &mut self,
        zone: &Zone,
        id: ServiceId,
        hop: Hop<'_>,
        writer: &mut Writer<'_>,
    ) -> Result<Option<Next<'a>>, Full> {
        let service = self.snapshot.world().service(id);
        let family = match (service.answers, self.qtype) {
            (Answers::Cname, _) => Family::Cname,
            (Answers::Addresses, RecordType::A) => Family::V4,
            (Answers::Addresses, RecordType::AAAA) => Family::V6,
            (Answers::Addresses, qtype) => {
                let Some(binding) = service.binding(qtype) else { return Ok(None) };
                self.at_binding(zone, (id, binding), hop.owner, writer)?;
                return Ok(Some(None));
            }
        };
        let decision = self.decide(Extent::Taken, id, family);
        let live = self.snapshot.live(id, decision.region);
        let next = write_decision(zone, live, family, &decision, hop.owner, writer)?;
        // Who asks for the alias itself is not led on (RFC 1034 §4.3.2 step 3a).
        Ok(Some(next.filter(|_| !self.asks_for_alias())))
    }

    /// The service's word for this client, taken note of.
    fn decide(&mut self, extent: Extent, id: ServiceId, family: Family) -> Decision {
        let client = self
            .client
            .get_or_init(|| self.snapshot.ground.client(self.subnet, self.asker.address));
        let decision = self.snapshot.decide_to(extent, id, family, client, self.asker.now);
        // Along a chain, the answer as a whole holds only where each part does.
        self.found.scope = self.found.scope.max(decision.scope);
        self.found.steered = Some(id);
        self.note(id, &decision);
        decision
    }

    /// A service that decides twice, for hints of both families or in a circle, has one part in the answer.
    fn note(&mut self, service: ServiceId, decision: &Decision) {
        let failing = decision.failing;
        let named = match &decision.chosen {
            Chosen::Sites(choice) => choice.taken.iter().map(|&one| usize::from(one)).collect(),
            Chosen::Static | Chosen::NoData => SiteSet::EMPTY,
        };
        match self.entries.iter_mut().find(|entry| entry.service == service) {
            Some(entry) => {
                entry.named = entry.named.or(named);
                if entry.failing == Failing::No {
                    entry.failing = failing;
                }
            }
            // There is room for one at each hop.
            None => drop(self.entries.try_push(Entry { service, failing, named })),
        }
    }

    /// HTTPS or SVCB of a service that has them.
    fn at_binding(
        &mut self,
        zone: &Zone,
        (id, binding): (ServiceId, &Binding),
        owner: Owner<'_>,
        writer: &mut Writer<'_>,
    ) -> Result<(), Full> {
        let service = self.snapshot.world().service(id);
        let heading = Heading { owner, rtype: self.qtype };
        let is_written = match &binding.targets {
            None => {
                let v4 = self.decide(Extent::Taken, id, Family::V4);
                let v6 = self.decide(Extent::Taken, id, Family::V6);
                // One client, one region; a family of which it has lost nothing has none.
                let live = self.snapshot.live(id, v4.region.or(v6.region));
                binding::write_own(live, &binding.params, [&v4, &v6], heading, writer)?
            }
            Some(targets) => {
                let extent = Extent::Alternatives(targets.alternatives);
                let decision = self.decide(extent, id, common_family(service));
                let live = self.snapshot.live(id, decision.region);
                binding::write_sites(live, binding, targets, &decision, heading, writer)?
            }
        };
        if !is_written {
            write_soa(zone, writer)?;
        }
        Ok(())
    }

    /// Whether a name is this zone's to answer, and not that of a zone within it.
    fn answers_from(&self, zone: &Zone, name: &NameKey) -> bool {
        self.snapshot.ground.zones.find(name).is_some_and(|found| std::ptr::eq(found, zone))
    }

    fn asks_for_alias(&self) -> bool {
        matches!(self.qtype, RecordType::CNAME | RecordType::ANY)
    }

    /// A DNAME above the name: the name's head is put before another tail (RFC 6672 §3.2), which makes
    /// `renamed`.
    fn rename<'r>(
        &mut self,
        zone: &Zone,
        node: NodeId,
        hop: Hop<'_>,
        renamed: &'r mut [u8; MAX_NAME],
        writer: &mut Writer<'_>,
    ) -> Result<Next<'r>, Full> {
        let owner = zone.owner(node);
        let Some(set) = zone.set(node, RecordType::DNAME) else {
            return Ok(None);
        };
        write_set(Section::Answer, Owner::Name(owner), set, writer)?;
        let tail = set.records().next().unwrap_or(&[0]);
        let name = hop.key.wire();
        let head = &name[..name.len() - owner.len()];
        if head.len() + tail.len() > MAX_NAME {
            self.found.rcode = Rcode::YxDomain;
            return Ok(None);
        }
        renamed[..head.len()].copy_from_slice(head);
        renamed[head.len()..head.len() + tail.len()].copy_from_slice(tail);
        let renamed = &renamed[..head.len() + tail.len()];
        writer.record(Section::Answer, hop.owner, RecordType::CNAME, set.ttl, renamed)?;
        Ok((!self.asks_for_alias()).then_some(renamed))
    }
}

/// One RRset stands for all (RFC 8482 §4): the alias if there is one, else HINFO.
fn any(zone: &Zone, node: NodeId, hop: Hop<'_>, writer: &mut Writer<'_>) -> Result<(), Full> {
    if let Some(alias) = zone.set(node, RecordType::CNAME) {
        write_set(Section::Answer, hop.owner, alias, writer)?;
    } else if zone.service(node).is_some() || zone.sets_of(node).next().is_some() {
        writer.record(Section::Answer, hop.owner, RecordType::HINFO, ANY_TTL, ANY_HINFO)?;
    } else {
        write_soa(zone, writer)?;
    }
    Ok(())
}

/// Whether `name` is `ancestor`, given in lower case, or lies below it.
fn lies_within(name: &NameKey, ancestor: &[u8]) -> bool {
    (0..=name.labels()).any(|labels| name.suffix(labels) == ancestor)
}

fn write_decision<'s>(
    zone: &Zone,
    live: Live<'s>,
    family: Family,
    decision: &Decision,
    owner: Owner<'_>,
    writer: &mut Writer<'_>,
) -> Result<Next<'s>, Full> {
    match &decision.chosen {
        Chosen::NoData => write_soa(zone, writer)?,
        Chosen::Static => match &live.service.fail_mode {
            FailMode::Static(vips) if !has(vips, family) => write_soa(zone, writer)?,
            FailMode::Static(vips) => write_vips(vips, family, owner, decision.ttl, writer)?,
            FailMode::Open | FailMode::LastKnown | FailMode::Empty => write_soa(zone, writer)?,
        },
        Chosen::Sites(choice) => {
            for &candidate in &choice.taken {
                match &live.service.candidates[usize::from(candidate)].target {
                    Destination::Vips(all) => {
                        let vips = live.vips(candidate).unwrap_or(all);
                        write_vips(vips, family, owner, decision.ttl, writer)?;
                    }
                    Destination::Cname(target) => {
                        let rdata = target.wire();
                        let (rtype, ttl) = (RecordType::CNAME, decision.ttl);
                        writer.record(Section::Answer, owner, rtype, ttl, rdata)?;
                        return Ok(Some(rdata));
                    }
                }
            }
        }
    }
    Ok(None)
}

fn has(vips: &Vips, family: Family) -> bool {
    match family {
        Family::V4 => !vips.v4.is_empty(),
        Family::V6 => !vips.v6.is_empty(),
        Family::Cname => false,
    }
}

fn write_vips(
    vips: &Vips,
    family: Family,
    owner: Owner<'_>,
    ttl: u32,
    writer: &mut Writer<'_>,
) -> Result<(), Full> {
    let answer = Section::Answer;
    match family {
        Family::V4 => vips
            .v4
            .iter()
            .try_for_each(|vip| writer.record(answer, owner, RecordType::A, ttl, &vip.octets())),
        Family::V6 => vips
            .v6
            .iter()
            .try_for_each(|vip| writer.record(answer, owner, RecordType::AAAA, ttl, &vip.octets())),
        Family::Cname => Ok(()),
    }
}

fn write_set(
    section: Section,
    owner: Owner<'_>,
    set: RrSet<'_>,
    writer: &mut Writer<'_>,
) -> Result<(), Full> {
    set.records().try_for_each(|rdata| writer.record(section, owner, set.rtype, set.ttl, rdata))
}

/// Says for how long an absence may be believed (RFC 2308 §3).
fn write_soa(zone: &Zone, writer: &mut Writer<'_>) -> Result<(), Full> {
    let soa = zone.soa();
    let ttl = zone.soa_minimum();
    soa.records().try_for_each(|rdata| {
        writer.record(
            Section::Authority,
            Owner::Name(zone.apex().wire()),
            RecordType::SOA,
            ttl,
            rdata,
        )
    })
}

/// A referral: the cut's name servers, its DS if it has one, and the addresses without which they
/// cannot be reached.
fn refer(zone: &Zone, cut: NodeId, writer: &mut Writer<'_>) -> Result<(), Full> {
    let Some(servers) = zone.set(cut, RecordType::NS) else {
        return Ok(());
    };
    let owner = zone.owner(cut);
    write_set(Section::Authority, Owner::Name(owner), servers, writer)?;
    // Addresses below the cut must all be there or TC is set (RFC 9471 §2.1); others are a kindness.
    for server in servers.records() {
        let Some(key) = NameKey::of(server) else {
            continue;
        };
        if lies_within(&key, owner) {
            write_glue(zone, &key, writer)?;
        }
    }
    for server in servers.records() {
        let Some(key) = NameKey::of(server) else {
            continue;
        };
        if !lies_within(&key, owner) && lies_within(&key, zone.apex().wire()) {
            let before = writer.mark();
            if write_glue(zone, &key, writer).is_err() {
                writer.back_to(&before);
                break;
            }
        }
    }
    Ok(())
}

fn write_glue(zone: &Zone, server: &NameKey, writer: &mut Writer<'_>) -> Result<(), Full> {
    let Some(node) = zone.glue(server) else {
        return Ok(());
    };
    for rtype in [RecordType::A, RecordType::AAAA] {
        if let Some(addresses) = zone.set(node, rtype) {
            write_set(Section::Additional, Owner::Name(server.wire()), addresses, writer)?;
        }
    }
    Ok(())
}
