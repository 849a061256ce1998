//! Zones: their master files, and the services that stand in them.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use common::duration;
use common::names::listed;

use super::path;
use super::service::Draft;
use super::zone_text::{Text, source, taken_over};
use crate::config::epoch::{Digest, Role, content_hash};
use crate::config::file;
use crate::config::problems::{Problem, Problems, Source, Spot};
use crate::config::read::{At, Entries};
use crate::ids::ServiceId;
use crate::name::Name;
use crate::prove::{self, Severity};
use crate::record::{Record, RecordType};
use crate::world::{Answers, Bound, World, ZoneOrigin};
use crate::zone::Zone;
use crate::zone::master::{self, Master};

/// What an address service owns at its name.
const OWNED: [RecordType; 5] =
    [RecordType::A, RecordType::AAAA, RecordType::CNAME, RecordType::HTTPS, RecordType::SVCB];

/// All zones, read and not yet built.
pub struct Zones {
    list: Vec<Read>,
    by_apex: HashMap<Name, usize>,
}

struct Read {
    apex: At<Name>,
    /// `None` if something is wrong with it, which has been told.
    text: Option<Text>,
    /// The files of it, each with its hash.
    files: Vec<(PathBuf, [u8; 32])>,
}

/// All zones, built, and what each was made of.
#[derive(Default)]
pub struct Settled {
    pub zones: Vec<Arc<Zone>>,
    pub origins: Vec<Arc<ZoneOrigin>>,
}

pub fn read(
    entries: Entries<file::Zone>,
    dir: &Path,
    running: Option<&World>,
    digest: &mut Digest,
    problems: &mut Problems,
) -> Zones {
    let mut zones = Zones { list: Vec::new(), by_apex: HashMap::new() };
    for (key, raw) in entries.0 {
        let Some(apex) = problems.one(key.word::<Name>()) else {
            continue;
        };
        let apex = At { value: apex.to_lower(), spot: key.spot };
        if let Some(first) = zones.by_apex.get(&apex.value) {
            problems.add(apex.spot.twice(&zones.list[*first].apex.spot, &apex.value));
            continue;
        }
        let text = raw.and_then(|file::Zone { file }| {
            let file = file?;
            let path = problems.one(path(&file, dir))?;
            Text::read(file, &path, &apex.value, running, problems)
        });
        let files = text.iter().flat_map(Text::files);
        let files: Vec<(PathBuf, [u8; 32])> =
            files.map(|(path, contents)| (path.clone(), content_hash(contents))).collect();
        for (index, (_, hash)) in files.iter().enumerate() {
            digest.hashed_file(Role::Zone, &format!("{} {index}", apex.value), hash);
        }
        zones.by_apex.insert(apex.value.clone(), zones.list.len());
        zones.list.push(Read { apex, text, files });
    }
    zones
}

impl Zones {
    /// Puts each service into its zone, and builds the zones if nothing is wrong with them. One that would be as
    /// it is in the running world is taken from there, not even parsed.
    pub fn settle(
        mut self,
        services: &[Draft],
        running: Option<&World>,
        problems: &mut Problems,
        warnings: &mut Problems,
    ) -> Option<Settled> {
        let mut within: Vec<Vec<(ServiceId, &Draft)>> = vec![Vec::new(); self.list.len()];
        for (index, service) in services.iter().enumerate() {
            // There are no more services than ids: `numbered` has counted them.
            let id = ServiceId(index as u16);
            match self.around(&service.name.value) {
                Some(zone) => within[zone].push((id, service)),
                None => problems.add(self.outside(service)),
            }
        }
        let made_of: Vec<ZoneOrigin> =
            within.iter().enumerate().map(|(zone, services)| self.origin(zone, services)).collect();
        let taken = self.list.iter().zip(&made_of).map(|(read, made_of)| {
            taken_over(read.text.as_ref()?, &read.apex.value, made_of, running)
        });
        let mut taken: Vec<Option<(Arc<Zone>, Arc<ZoneOrigin>)>> = taken.collect();
        for (read, _) in self.list.iter_mut().zip(&taken).filter(|(_, taken)| taken.is_none()) {
            let text = read.text.take();
            read.text =
                text.and_then(|text| text.parse(&read.apex.value, problems)).map(Text::Parsed);
        }
        let servers: Vec<Vec<(usize, Name)>> =
            (0..self.list.len()).map(|zone| self.servers(zone)).collect();
        let mut settled = Some(Settled::default());
        for (index, (read, made_of)) in self.list.into_iter().zip(made_of).enumerate() {
            let made = match taken[index].take() {
                Some((zone, origin)) => {
                    read.tell_again(&origin, warnings);
                    Some((zone, origin))
                }
                None => read.build(&within[index], &servers[index], made_of, problems, warnings),
            };
            settled = settled.zip(made).map(|(mut settled, (zone, origin))| {
                settled.zones.push(zone);
                settled.origins.push(origin);
                settled
            });
        }
        settled
    }

    /// What a zone will be made of, but for what is to be told of it.
    fn origin(&self, zone: usize, services: &[(ServiceId, &Draft)]) -> ZoneOrigin {
        let Read { apex, files, .. } = &self.list[zone];
        let bound = services.iter().map(|(id, draft)| Bound {
            id: *id,
            name: draft.name.value.clone(),
            answers: draft.answers,
            empty: draft.empty.as_ref().and(draft.ttl),
        });
        let others = self.list.iter().map(|other| &other.apex.value);
        let within = others.filter(|other| *other != &apex.value && other.is_within(&apex.value));
        ZoneOrigin {
            files: files.clone(),
            services: bound.collect(),
            within: within.cloned().collect(),
            warnings: vec![],
        }
    }

    /// The records that name a zone's servers, and those that it has to tell the addresses of: none that lie
    /// in a zone within it.
    fn servers(&self, zone: usize) -> Vec<(usize, Name)> {
        let Read { apex, text, .. } = &self.list[zone];
        let master = text.as_ref().and_then(Text::master);
        let records = master.iter().flat_map(|master| &master.records).enumerate();
        let servers = records
            .filter(|(_, record)| record.rtype == RecordType::NS && record.owner == apex.value);
        let servers =
            servers.filter_map(|(index, record)| Some((index, Name::from_wire(&record.rdata)?)));
        servers.filter(|(_, server)| self.around(server) == Some(zone)).collect()
    }

    /// The zone with the longest apex at or above a name.
    fn around(&self, name: &Name) -> Option<usize> {
        let mut above = Some(name.clone());
        while let Some(name) = above {
            if let Some(zone) = self.by_apex.get(&name) {
                return Some(*zone);
            }
            above = name.parent();
        }
        None
    }

    fn outside(&self, service: &Draft) -> Problem {
        let At { value: name, spot } = &service.name;
        let apexes: Vec<String> =
            self.list.iter().map(|zone| zone.apex.value.to_string()).collect();
        let known = match apexes.is_empty() {
            true => "there are no zones".to_owned(),
            false => listed("zones", apexes.iter().map(String::as_str)),
        };
        spot.problem(format!("{name} is in none of the zones ({known})"))
    }
}

impl Read {
    fn build(
        self,
        services: &[(ServiceId, &Draft)],
        servers: &[(usize, Name)],
        mut made_of: ZoneOrigin,
        problems: &mut Problems,
        warnings: &mut Problems,
    ) -> Option<(Arc<Zone>, Arc<ZoneOrigin>)> {
        let Read { apex, text, files: _ } = self;
        let Some(Text::Parsed(Master { records, files, places })) = text else { return None };
        let file = File { files: &files, places: &places };
        let cuts = Cuts::of(&records, &apex.value);
        let mut at_services: HashMap<&Name, &Draft> = HashMap::new();
        for (_, service) in services {
            match misplaced(service, &apex.value, &cuts, &file) {
                Some(problem) => problems.add(problem),
                None => {
                    at_services.insert(&service.name.value, service);
                }
            }
        }
        let mut faults: Vec<(Option<usize>, String)> = Vec::new();
        for (index, record) in records.iter().enumerate() {
            let message = at_services.get(&record.owner).and_then(|at| contested(record, at));
            faults.extend(message.map(|message| (Some(index), message)));
        }
        let soa = records.iter().position(|record| record.rtype == RecordType::SOA);
        let named: Vec<(Name, ServiceId)> =
            services.iter().map(|(id, service)| (service.name.value.clone(), *id)).collect();
        let zone = Zone::build(apex.value.clone(), records, &named);
        let zone = zone.map_err(|found| {
            faults.extend(found.into_iter().map(|fault| (fault.record, fault.message)));
        });
        file.tell(faults, &apex.spot, problems);
        let zone = zone.ok()?;
        let faults = servers.iter().filter_map(|(index, server)| {
            let master::Place { file, line } = places[*index];
            Some((file, line, prove::server_fault(&zone, server)?))
        });
        made_of.warnings = faults.collect();
        tell_warnings(&made_of, &files, warnings);
        for (_, service) in services {
            problems.one(check_empty(service, &zone, soa.map(|soa| file.shown(soa))));
        }
        Some((Arc::new(zone), Arc::new(made_of)))
    }

    /// What there was to be told of a zone that is taken over.
    fn tell_again(&self, origin: &ZoneOrigin, warnings: &mut Problems) {
        let files = self.text.as_ref().map_or(&[][..], Text::files);
        tell_warnings(origin, files, warnings);
    }
}

fn tell_warnings(origin: &ZoneOrigin, files: &[(PathBuf, Vec<u8>)], warnings: &mut Problems) {
    let mut sources: HashMap<u32, Arc<Source>> = HashMap::new();
    for (file, line, message) in &origin.warnings {
        let source = sources.entry(*file).or_insert_with(|| {
            let (path, contents) = &files[*file as usize];
            source(path, contents)
        });
        let warning = Problem::of_line(source, *line as usize, message.as_str());
        warnings.add(warning.weighing(Severity::Warning));
    }
}

/// Why a service cannot stand at its name.
fn misplaced(service: &Draft, apex: &Name, cuts: &Cuts<'_>, file: &File<'_>) -> Option<Problem> {
    let At { value: name, spot } = &service.name;
    if service.answers == Some(Answers::Cname) && name == apex {
        return Some(spot.problem(
            "is the apex of its zone, which has SOA and NS records, and a CNAME stands alone \
             (RFC 1034 §3.6.2); give its sites vips",
        ));
    }
    let Cut { owner, record, does } = cuts.above(name)?;
    let line = file.shown(record);
    Some(spot.problem(format!(
        "{owner} {does} ({line}), so nobody would ask for it here; remove that or the service"
    )))
}

/// Why a record cannot stand at a service's name.
fn contested(record: &Record, service: &Draft) -> Option<String> {
    let Record { owner, rtype, ttl: _, rdata: _ } = record;
    let spot = &service.name.spot;
    match service.answers? {
        Answers::Addresses => OWNED.contains(rtype).then(|| {
            let instead = match *rtype {
                RecordType::HTTPS => ", and write https = { alpn = [...], ... } there instead",
                RecordType::SVCB => ", and write svcb = { alpn = [...], ... } there instead",
                _ => " or the service",
            };
            format!(
                "{owner} {rtype}: {spot} answers for the A, AAAA, CNAME, HTTPS and SVCB records \
                 of its name; remove this record{instead}"
            )
        }),
        Answers::Cname => Some(format!(
            "{owner} {rtype}: {spot} answers with a CNAME, which stands alone at its name \
             (RFC 1034 §3.6.2); remove this record or the service"
        )),
    }
}

/// Where a zone's authority ends or its names are rewritten.
struct Cuts<'r> {
    apex: &'r Name,
    delegations: HashMap<&'r Name, usize>,
    renames: HashMap<&'r Name, usize>,
}

/// The record that takes names out of a zone's hands.
struct Cut<'r> {
    owner: &'r Name,
    record: usize,
    does: &'static str,
}

impl<'r> Cuts<'r> {
    fn of(records: &'r [Record], apex: &'r Name) -> Cuts<'r> {
        let mut cuts = Cuts { apex, delegations: HashMap::new(), renames: HashMap::new() };
        for (index, Record { owner, rtype, .. }) in records.iter().enumerate() {
            match *rtype {
                RecordType::NS if owner != apex => cuts.delegations.entry(owner).or_insert(index),
                RecordType::DNAME => cuts.renames.entry(owner).or_insert(index),
                _ => continue,
            };
        }
        cuts
    }

    /// What takes a name out of the zone's hands.
    fn above(&self, name: &Name) -> Option<Cut<'r>> {
        if self.delegations.is_empty() && self.renames.is_empty() {
            return None;
        }
        let mut at = name.clone();
        loop {
            if let Some((owner, record)) = self.delegations.get_key_value(&at) {
                let does = "is delegated to other name servers";
                return Some(Cut { owner, record: *record, does });
            }
            // A DNAME leaves its own owner alone (RFC 6672 §2.3).
            if at != *name
                && let Some((owner, record)) = self.renames.get_key_value(&at)
            {
                let does = "has a DNAME that rewrites every name below it";
                return Some(Cut { owner, record: *record, does });
            }
            if at == *self.apex {
                return None;
            }
            at = at.parent()?;
        }
    }
}

/// `empty` answers that there is no such record, and resolvers remember that for as long as the
/// SOA record says.
fn check_empty(service: &Draft, zone: &Zone, soa: Option<String>) -> Result<(), Problem> {
    let (Some(spot), Some(ttl)) = (&service.empty, service.ttl) else {
        return Ok(());
    };
    let minimum = std::time::Duration::from_secs(zone.soa_minimum().into());
    if minimum <= ttl.max {
        return Ok(());
    }
    let (minimum, max) = (duration::shown(minimum), duration::shown(ttl.max));
    let apex = zone.apex();
    let soa = soa.map(|soa| format!(" ({soa})")).unwrap_or_default();
    Err(spot.problem(format!(
        "resolvers would remember an empty answer for {minimum} (RFC 2308 §5), so the service \
         would stay dark long after a site is back; set the TTL or the MINIMUM of the SOA record \
         of {apex}{soa} to ttl.max, {max}, or less"
    )))
}

/// A zone's master file with all it includes.
struct File<'m> {
    files: &'m [(PathBuf, Vec<u8>)],
    places: &'m [master::Place],
}

impl File<'_> {
    /// Where a record stands.
    fn shown(&self, record: usize) -> String {
        let master::Place { file, line } = self.places[record];
        format!("{}:{line}", self.files[file as usize].0.display())
    }

    /// Tells of records; what is about none is told of the zone.
    fn tell(&self, faults: Vec<(Option<usize>, String)>, zone: &Spot, problems: &mut Problems) {
        let mut sources: HashMap<u32, Arc<Source>> = HashMap::new();
        for (record, message) in faults {
            let Some(record) = record else {
                problems.add(zone.problem(message));
                continue;
            };
            let master::Place { file, line } = self.places[record];
            let source = sources.entry(file).or_insert_with(|| {
                let (path, contents) = &self.files[file as usize];
                source(path, contents)
            });
            problems.add(Problem::of_line(source, line as usize, message));
        }
    }
}
