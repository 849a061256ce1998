//! Judges what `file` holds: certificates and roots are read, names compared, references made targets of.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use common::config::problems::{Problem, Problems, Severity, Spot};
use common::config::read::{At, Document, Entries, List};
use common::config::report_to::name_servers;
use common::config::settle::{or, path, within};
use common::look::{Program, Roots};
use common::mtls::{Credentials, Files};
use common::principal::{self, Principal};
use common::target::Target;

use super::reference::reference;
use super::{Config, MOST_REFERENCES, file};

const LOOKS_AT_ONCE: RangeInclusive<i64> = 1..=8192;
/// Half of the descriptors that a process has by default.
const USUAL_LOOKS: usize = 512;

/// Turns `probe.toml` into what runs. `None` if anything is wrong.
pub fn config(document: &Document<'_>, file: &Path, problems: &mut Problems) -> Option<Config> {
    let dir = file.parent().unwrap_or(Path::new(""));
    let file::File { probe, program, admin } = document.read(problems)?;
    let programs = or(program, BTreeMap::new(), |program| programs(program, problems));
    let admin = or(admin, None, |file::Admin { listen }| Some(Some(listen?.value)));
    let file::Probe {
        name,
        state_dir,
        report_to,
        ca,
        certificate,
        key,
        crl,
        roots,
        references,
        looks_at_once,
    } = probe?;
    let state_dir = state_dir.and_then(|written| problems.one(path(&written, dir)));
    let ca = ca.and_then(|written| Found::of(written, dir, problems));
    let certificate = certificate.and_then(|written| Found::of(written, dir, problems));
    let key = key.and_then(|written| Found::of(written, dir, problems));
    let crl = or(crl, None, |written| Found::of(written, dir, problems).map(Some));
    let shown = match (ca, certificate, key, crl) {
        (Some(ca), Some(certificate), Some(key), Some(crl)) => {
            problems.one(shown(ca, certificate, key, crl))
        }
        _ => None,
    };
    let principal = shown.as_ref().map(|(_, principal)| principal);
    let report_to = report_to.and_then(|list| name_servers(&list, principal, problems));
    let roots = or(roots, None, |written| problems.one(roots_of(&written, dir)).map(Some));
    let roots = roots.and_then(|given| match given {
        Some(roots) => Some(roots),
        None => problems.one(system_roots(file)),
    });
    let references = or(references, vec![], |list| self::references(list, problems));
    let looks_at_once =
        or(looks_at_once, USUAL_LOOKS, |looks| problems.one(within(&looks, LOOKS_AT_ONCE)));
    let mut warnings = Problems::default();
    if let (Some(references), Some(name)) = (&references, &name)
        && references.is_empty()
    {
        let message = "it has no references, so it can hardly tell its own darkness from that of the sites; list \
                       some addresses in probe.references that are up whatever becomes of the sites";
        warnings.add(name.spot.problem(message).weighing(Severity::Warning));
    }
    let name = name.and_then(|name| problems.one(own_name(&name, principal)));
    let (files, principal) = shown?;
    Some(Config {
        file: file.to_owned(),
        name: name?,
        state_dir: state_dir?,
        servers: report_to?,
        files,
        principal,
        roots: roots?,
        programs: programs?,
        references: references?,
        looks_at_once: looks_at_once?,
        admin: admin?,
        warnings,
    })
}

/// A file, and where it is written.
struct Found {
    path: PathBuf,
    spot: Spot,
}

impl Found {
    fn of(written: At<String>, dir: &Path, problems: &mut Problems) -> Option<Found> {
        let path = problems.one(path(&written, dir))?;
        Some(Found { path, spot: written.spot })
    }
}

/// What we show name servers, and who we are by that.
fn shown(
    ca: Found,
    certificate: Found,
    key: Found,
    crl: Option<Found>,
) -> Result<(Files, Principal), Problem> {
    let files = Files {
        ca: ca.path.clone(),
        certificate: certificate.path.clone(),
        key: key.path.clone(),
        crl: crl.as_ref().map(|crl| crl.path.clone()),
    };
    let credentials = Credentials::read(&files).map_err(|error| {
        let all = [Some(&certificate), Some(&key), Some(&ca), crl.as_ref()];
        let found = all.into_iter().flatten().find(|found| found.path == error.file);
        found.unwrap_or(&certificate).spot.problem(error.to_string())
    })?;
    let principal = credentials.principal().clone();
    if principal.kind != principal::Kind::Probe {
        return Err(certificate.spot.problem(format!(
            "is of {principal}, expected that of a probe: gslb://{}/probe/NAME",
            principal.cluster
        )));
    }
    Ok((files, principal))
}

fn own_name(name: &At<String>, principal: Option<&Principal>) -> Result<Arc<str>, Problem> {
    match principal {
        Some(principal) if *name.value != *principal.name => Err(name.spot.problem(format!(
            "found {:?}, expected {:?}: the certificate is of {principal}, and that is what name servers believe",
            name.value, principal.name
        ))),
        Some(_) | None => Ok(name.value.as_str().into()),
    }
}

fn roots_of(written: &At<String>, dir: &Path) -> Result<Roots, Problem> {
    let path = path(written, dir)?;
    Roots::read([path.as_path()])
        .map_err(|error| written.spot.problem(format!("{} {error}", path.display())))
}

fn system_roots(file: &Path) -> Result<Roots, Problem> {
    Roots::of_system().map_err(|error| {
        let message = format!("the system's roots: {error}; name a file of others in probe.roots");
        Problem::of_file(file, message)
    })
}

fn programs(
    entries: Entries<At<file::Program>>,
    problems: &mut Problems,
) -> Option<BTreeMap<String, Program>> {
    let count = entries.0.len();
    let mut programs = BTreeMap::new();
    for (name, program) in entries.0 {
        let Some(At { value: file::Program { path, arguments }, spot: _ }) = program else {
            continue;
        };
        let (Some(written), Some(arguments)) = (path, arguments) else { continue };
        let path = PathBuf::from(&written.value);
        if !path.is_absolute() {
            let message = format!("{:?} is no absolute path: nothing is searched", written.value);
            problems.add(written.spot.problem(message));
        } else if !path.is_file() {
            problems.add(written.spot.problem(format!("there is no file {}", written.value)));
        }
        let arguments: Option<Vec<String>> = arguments.unwrap_or_default().into_iter().collect();
        let Some(arguments) = arguments else { continue };
        programs.insert(name.value, Program { path, arguments });
    }
    (programs.len() == count).then_some(programs)
}

fn references(list: List<At<file::Reference>>, problems: &mut Problems) -> Option<Vec<Target>> {
    let count = list.len();
    let mut references: Vec<Target> = Vec::new();
    let mut seen = BTreeSet::new();
    for raw in list.into_iter().flatten() {
        let spot = raw.spot.clone();
        let Some(target) = reference(raw, problems) else { continue };
        if !seen.insert(target.id()) {
            problems.add(spot.problem("is listed twice; remove one"));
        }
        if references.len() == MOST_REFERENCES {
            problems.add(spot.problem(format!("there are more than {MOST_REFERENCES} references")));
        }
        references.push(target);
    }
    (references.len() == count).then_some(references)
}
