//! Zones: their master files, and the services that stand in them.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::path;
use super::service::Draft;
use crate::config::closest::listed;
use crate::config::duration;
use crate::config::epoch::{Digest, Role};
use crate::config::file;
use crate::config::problems::{Problem, Problems, Source, Spot};
use crate::config::read::{At, Entries};
use crate::ids::ServiceId;
use crate::name::Name;
use crate::prove::{self, Severity};
use crate::record::{Record, RecordType};
use crate::world::Answers;
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
    master: Option<Master>,
}

pub fn read(
    entries: Entries<file::Zone>,
    dir: &Path,
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
        let master = raw.and_then(|file::Zone { file }| {
            let file = file?;
            let path = problems.one(path(&file, dir))?;
            read_master(&file, &path, &apex.value, problems)
        });
        for (index, (_, contents)) in master.iter().flat_map(|read| &read.files).enumerate() {
            digest.file(Role::Zone, &format!("{} {index}", apex.value), contents);
        }
        zones.by_apex.insert(apex.value.clone(), zones.list.len());
        zones.list.push(Read { apex, master });
    }
    zones
}

fn read_master(
    file: &At<String>,
    path: &Path,
    apex: &Name,
    problems: &mut Problems,
) -> Option<Master> {
    let found = match master::read(path, apex) {
        Ok(master) => return Some(master),
        Err(found) => found,
    };
    let mut sources: HashMap<PathBuf, Arc<Source>> = HashMap::new();
    for master::Problem { file: within, line, message } in found {
        problems.add(match line {
            0 if within == path => file.spot.problem(format!("{} {message}", path.display())),
            0 => Problem::of_file(&within, message),
            line => {
                let source = sources.entry(within).or_insert_with_key(|within| {
                    // Only to show the line: where it cannot be read again, its number is enough.
                    source(within, &std::fs::read(within).unwrap_or_default())
                });
                Problem::of_line(source, line as usize, message)
            }
        });
    }
    None
}

impl Zones {
    /// Puts each service into its zone, and builds the zones if nothing is wrong with them.
    pub fn settle(
        self,
        services: &[Draft],
        problems: &mut Problems,
        warnings: &mut Problems,
    ) -> Option<Vec<Arc<Zone>>> {
        let mut within: Vec<Vec<(ServiceId, &Draft)>> = vec![Vec::new(); self.list.len()];
        for (index, service) in services.iter().enumerate() {
            // There are no more services than ids: `numbered` has counted them.
            let id = ServiceId(index as u16);
            match self.around(&service.name.value) {
                Some(zone) => within[zone].push((id, service)),
                None => problems.add(self.outside(service)),
            }
        }
        let servers: Vec<Vec<(usize, Name)>> =
            (0..self.list.len()).map(|zone| self.servers(zone)).collect();
        let zones = self.list.into_iter().zip(within).zip(servers);
        let built = zones
            .map(|((zone, services), servers)| zone.build(&services, &servers, problems, warnings));
        built.collect::<Vec<_>>().into_iter().collect()
    }

    /// The records that name a zone's servers, and those that it has to tell the addresses of: none that lie
    /// in a zone within it.
    fn servers(&self, zone: usize) -> Vec<(usize, Name)> {
        let Read { apex, master } = &self.list[zone];
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
        problems: &mut Problems,
        warnings: &mut Problems,
    ) -> Option<Arc<Zone>> {
        let Read { apex, master } = self;
        let Master { records, files, places } = master?;
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
            Some((Some(*index), prove::server_fault(&zone, server)?))
        });
        let mut told = Problems::default();
        file.tell(faults.collect(), &apex.spot, &mut told);
        warnings.add_all(told.weighing(Severity::Warning));
        for (_, service) in services {
            problems.one(check_empty(service, &zone, soa.map(|soa| file.shown(soa))));
        }
        Some(Arc::new(zone))
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

fn source(path: &Path, contents: &[u8]) -> Arc<Source> {
    Arc::new(Source::new(path, String::from_utf8_lossy(contents).into_owned()))
}
