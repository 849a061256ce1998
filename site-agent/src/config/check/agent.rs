//! Who we are, whom we tell, and whether our certificate says the same.

use std::path::PathBuf;
use std::sync::Arc;

use common::config::problems::{Problem, Spot};
use common::config::read::{At, List};
use common::config::report_to::{ReportTo, name_servers};
use common::mtls::{Credentials, Files};
use common::principal::{self, Principal};

use super::Judge;
use crate::config::file;
use crate::site::{Agent, Reporting};

/// Where Debian's policy has a service's state.
const STATE_DIR: &str = "/var/lib/site-agent";

pub fn agent(raw: file::Agent, judge: &mut Judge<'_>) -> Option<Agent> {
    let file::Agent { name, site, report_to, ca, certificate, key, crl, state_dir } = raw;
    let (report_to, ca, certificate, key) = (report_to?, ca?, certificate?, key?);
    let (crl, state_dir) = (crl?, state_dir?);
    let (name, site) = (name?, site?);
    let named = judge.one(principal_name(&name));
    if site.value.is_empty() {
        judge.problems.add(site.spot.problem("is empty (expected the site's name in world.toml)"));
    }
    let reporting = match (report_to, ca, certificate, key) {
        (None, None, None, None) => {
            for (key, given) in [("crl", &crl), ("state_dir", &state_dir)] {
                if let Some(given) = given {
                    judge.problems.add(given.spot.problem(format!(
                        "{key} is of no use without report_to, ca, certificate and key"
                    )));
                }
            }
            None
        }
        (Some(report_to), Some(ca), Some(certificate), Some(key)) => {
            let shown = shown(&ca, &certificate, &key, crl.as_ref(), judge);
            let principal = shown.as_ref().map(|(_, principal)| principal);
            if let Some(principal) = principal.filter(|principal| *principal.name != *name.value) {
                judge.problems.add(name.spot.problem(format!(
                    "found {:?}, expected {:?}: the certificate is of {principal}, and that is what name servers \
                     believe",
                    name.value, principal.name
                )));
            }
            let servers = name_servers(&report_to, principal, judge.problems)?;
            let state_dir = match &state_dir {
                Some(state_dir) => judge.path(state_dir)?,
                None => PathBuf::from(STATE_DIR),
            };
            let (files, principal) = shown?;
            Some(Reporting { servers, files, principal, state_dir })
        }
        some => {
            judge.problems.add(incomplete(&name.spot, some));
            return None;
        }
    };
    named?;
    Some(Agent { name: Arc::from(&*name.value), site: Arc::from(&*site.value), reporting })
}

type Keys =
    (Option<At<List<At<ReportTo>>>>, Option<At<String>>, Option<At<String>>, Option<At<String>>);

/// Some of what it takes to be believed, and not all.
fn incomplete(name: &Spot, (report_to, ca, certificate, key): Keys) -> Problem {
    let there = [
        ("report_to", report_to.map(|at| at.spot)),
        ("ca", ca.map(|at| at.spot)),
        ("certificate", certificate.map(|at| at.spot)),
        ("key", key.map(|at| at.spot)),
    ];
    let missing: Vec<&str> =
        there.iter().filter(|(_, spot)| spot.is_none()).map(|(key, _)| *key).collect();
    let first = there.iter().find_map(|(_, spot)| spot.as_ref()).unwrap_or(name);
    first.problem(format!(
        "needs {} beside it: name servers believe a certificate; without all of report_to, ca, certificate and key \
         nothing is reported",
        missing.join(" and ")
    ))
}

/// Of whichever cluster: the name is at fault.
fn principal_name(name: &At<String>) -> Result<(), Problem> {
    let principal = Principal::new("any", principal::Kind::Agent, &name.value);
    principal.map(drop).map_err(|error| name.spot.problem(error.to_string()))
}

/// What we show name servers, and who we are by that.
fn shown(
    ca: &At<String>,
    certificate: &At<String>,
    key: &At<String>,
    crl: Option<&At<String>>,
    judge: &mut Judge<'_>,
) -> Option<(Files, Principal)> {
    let all: [(&At<String>, Option<PathBuf>); 3] =
        [ca, certificate, key].map(|written| (written, judge.path(written)));
    let [ca_path, certificate_path, key_path] = all.each_ref().map(|(_, path)| path.clone());
    let crl_path = match crl {
        Some(written) => Some(judge.path(written)?),
        None => None,
    };
    let files =
        Files { ca: ca_path?, certificate: certificate_path?, key: key_path?, crl: crl_path };
    let read = Credentials::read(&files).map(|read| read.principal().clone());
    let read = read.or_else(|error| judge.good.principal(&files).ok_or(error));
    let read = read.map_err(|error| {
        let of_keys = all.iter().find(|(_, path)| path.as_ref() == Some(&error.file));
        let of_crl = crl.filter(|_| files.crl.as_ref() == Some(&error.file));
        let found =
            of_keys.map(|(written, _)| &written.spot).or(of_crl.map(|written| &written.spot));
        found.unwrap_or(&certificate.spot).problem(error.to_string())
    });
    let principal = judge.one(read)?;
    if principal.kind != principal::Kind::Agent {
        return judge.wrong(
            &certificate.spot,
            format!(
                "is of {principal}, expected that of an agent: gslb://{}/agent/NAME",
                principal.cluster
            ),
        );
    }
    Some((files, principal))
}
