//! What tells where clients are: databases and the operator's own overrides.

use std::collections::HashMap;
use std::fmt::Display;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use common::bounded;
use geoip::{Atlas, Database, MAX_DATABASE_BYTES, Overrides, Place};
use ipnet::IpNet;

use super::{or, path, place, within};
use crate::config::epoch::{Digest, Role, content_hash};
use crate::config::file;
use crate::config::problems::{Problem, Problems, Spot};
use crate::config::read::{At, Entries, List};
use crate::world::World;

pub struct Places {
    /// Whether anything tells where clients are, be it sound or not.
    pub are_known: bool,
    pub atlas: Option<Atlas>,
    pub database_hashes: Vec<[u8; 32]>,
    pub overrides: Vec<IpNet>,
    pub ecs_private: Option<bool>,
}

pub fn places(
    raw: Option<Option<file::Geoip>>,
    dir: &Path,
    running: Option<&World>,
    digest: &mut Digest,
    problems: &mut Problems,
) -> Places {
    let Some(raw) = raw.flatten() else {
        let atlas = Some(Atlas::new(vec![], Overrides::none()));
        return Places {
            are_known: false,
            atlas,
            database_hashes: vec![],
            overrides: vec![],
            ecs_private: Some(false),
        };
    };
    let file::Geoip { databases, overrides, ecs_private, expect } = raw;
    let databases = databases.map(Option::unwrap_or_default);
    let overrides = overrides.map(Option::unwrap_or_default);
    let none = databases.as_ref().is_some_and(Vec::is_empty)
        && overrides.as_ref().is_some_and(|overrides| overrides.0.is_empty());
    let databases = databases.and_then(|list| open_all(&list, dir, running, digest, problems));
    let (databases, database_hashes) = databases.map_or((None, vec![]), |opened| {
        let (hashes, databases) = opened.into_iter().map(|one| (one.hash, one.database)).unzip();
        (Some(databases), hashes)
    });
    let overrides = overrides.and_then(|entries| overrides_of(entries, problems));
    let expect = expect.flatten().unwrap_or_default();
    let over = overrides.iter().flat_map(|all| all.iter().map(|(net, _)| net)).collect();
    let atlas = databases.zip(overrides).map(|(databases, all)| Atlas::sharing(databases, all));
    check_canaries(expect, atlas.as_ref(), problems);
    Places {
        are_known: !none,
        overrides: over,
        atlas,
        database_hashes,
        ecs_private: ecs_private.map(|is| is.unwrap_or(false)),
    }
}

struct Opened {
    hash: [u8; 32],
    database: Arc<Database>,
}

fn open_all(
    list: &List<At<String>>,
    dir: &Path,
    running: Option<&World>,
    digest: &mut Digest,
    problems: &mut Problems,
) -> Option<Vec<Opened>> {
    let mut seen: Vec<PathBuf> = Vec::new();
    let mut databases = Vec::new();
    for (index, written) in list.iter().enumerate() {
        let Some(written) = written else { continue };
        let Some(path) = problems.one(path(written, dir)) else {
            continue;
        };
        if seen.contains(&path) {
            let message = format!("{} is listed twice; remove one", path.display());
            problems.add(written.spot.problem(message));
            continue;
        }
        let opened = open(written, &path, running, |hash| {
            digest.hashed_file(Role::Database, &index.to_string(), hash);
        });
        databases.extend(problems.one(opened));
        seen.push(path);
    }
    (databases.len() == list.len()).then_some(databases)
}

/// One that the running world has open is shared with it: the file says the same.
fn open(
    written: &At<String>,
    path: &Path,
    running: Option<&World>,
    note: impl FnOnce(&[u8; 32]),
) -> Result<Opened, Problem> {
    let bytes = bounded::read_file(path, MAX_DATABASE_BYTES).map_err(|error| {
        written.spot.problem(format!("{} cannot be read: {error}", path.display()))
    })?;
    let hash = content_hash(&bytes);
    note(&hash);
    let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy();
    let open = running
        .into_iter()
        .flat_map(|world| world.database_hashes.iter().zip(world.atlas.databases()));
    let mut alike = open.filter(|(of, database)| **of == hash && database.name() == name);
    if let Some((_, database)) = alike.next() {
        return Ok(Opened { hash, database: Arc::clone(database) });
    }
    let opened = Database::from_bytes(&name, bytes);
    let database = opened.map_err(|error| written.spot.problem(with_causes(&error)))?;
    Ok(Opened { hash, database: database.into() })
}

fn overrides_of(entries: Entries<At<file::Placed>>, problems: &mut Problems) -> Option<Overrides> {
    let mut all: Vec<(IpNet, Place)> = Vec::new();
    let mut spots: HashMap<IpNet, Spot> = HashMap::new();
    let mut is_sound = true;
    for (prefix, placed) in entries.0 {
        let net = problems.one(prefix.word::<IpNet>());
        let place = placed.and_then(|placed| place::of_clients(placed, problems));
        is_sound &= net.is_some() && place.is_some();
        let Some(net) = net else { continue };
        if let Some(first) = spots.insert(net, prefix.spot.clone()) {
            problems.add(prefix.spot.twice(&first, net));
        }
        all.extend(place.map(|place| (net, place)));
    }
    let overrides = Overrides::new(all);
    for net in overrides.without_effect() {
        problems.add(spots[&net].problem(place::NOBODY_THERE));
    }
    is_sound.then_some(overrides)
}

/// Looks up the addresses whose places people know: a database that has them elsewhere is another one than
/// was meant, or a bad one, however sound its file.
fn check_canaries(
    entries: Entries<At<file::Canary>>,
    atlas: Option<&Atlas>,
    problems: &mut Problems,
) {
    for (address, canary) in entries.0 {
        let address_read = problems.one(address.word::<IpAddr>());
        let Some(At { value: canary, spot }) = canary else { continue };
        let file::Canary { continent, country, subdivision, asn } = canary;
        let asn = or(asn, None, |asn| problems.one(within(&asn, place::ASNS)).map(Some));
        let (Some(continent), Some(country), Some(subdivision), Some(asn)) =
            (continent, country, subdivision, asn)
        else {
            continue;
        };
        let expected = Place {
            continent: continent.map(|continent| continent.0),
            country: country.map(|country| country.value.0),
            subdivision: subdivision.map(|part| part.value.0),
            asn,
            ..Place::default()
        };
        if expected.is_unknown() {
            problems.add(
                spot.problem("expects nothing (expected a continent, country, subdivision or asn)"),
            );
        }
        let Some((address, atlas)) = address_read.zip(atlas) else { continue };
        let found = atlas.lookup(address);
        if let Some(differs) = difference(&expected, &found.place) {
            problems.add(spot.problem(format!(
                "{address} is found in {differs}; the databases are not those that were meant, or \
                 the expectation is old"
            )));
        }
    }
}

/// What is found instead of something expected, and what was.
fn difference(expected: &Place, found: &Place) -> Option<String> {
    fn field<T: PartialEq + Display>(
        kind: &str,
        expected: &Option<T>,
        found: &Option<T>,
    ) -> Option<String> {
        let expected = expected.as_ref().filter(|_| expected != found)?;
        let found =
            found.as_ref().map_or("no ".to_owned() + kind, |found| format!("{kind} {found}"));
        Some(format!("{found}, expected {kind} {expected}"))
    }
    let differences = [
        field("continent", &expected.continent, &found.continent),
        field("country", &expected.country, &found.country),
        field("subdivision", &expected.subdivision, &found.subdivision),
        field("AS", &expected.asn, &found.asn),
    ];
    let differences: Vec<String> = differences.into_iter().flatten().collect();
    (!differences.is_empty()).then(|| differences.join(" and "))
}

fn with_causes(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
