//! What the running config has that was good when it was taken: where a file is broken at a reload there is something to
//! fall back on, and what is open stays open.
//!
//! site ─▶ Good ─▶ check (of the next config). Who holds what was read falls back by the same paths: `tls`, `check`, `report`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use common::mtls::Files;
use common::principal::Principal;

use crate::site::{Certificate, LogTarget, Site};

/// By the paths of files. Empty where nothing runs: then all has to be good.
#[derive(Clone, Debug, Default)]
pub struct Good {
    /// By their chains.
    certificates: BTreeMap<PathBuf, Certificate>,
    /// Whose clients are believed, with their revocation lists.
    clients: BTreeSet<(PathBuf, Option<PathBuf>)>,
    /// Whose servers are.
    servers: BTreeSet<PathBuf>,
    agent: Option<(Files, Principal)>,
    /// Files that are logged to: they are open.
    logs: BTreeSet<PathBuf>,
    /// Where operators are listened to.
    socket: Option<PathBuf>,
}

impl Good {
    pub fn of(site: &Site) -> Good {
        let mut good = Good::default();
        for tls in site.frontends.iter().filter_map(|frontend| frontend.tls.as_ref()) {
            for certificate in &tls.certificates {
                good.certificates.insert(certificate.chain.clone(), certificate.clone());
            }
            let files = tls.client_verify.files();
            good.clients.extend(files.map(|(ca, crl)| (ca.to_owned(), crl.map(Path::to_owned))));
        }
        let logs = site.frontends.iter().filter_map(|frontend| frontend.access_log.as_ref());
        good.logs.extend(logs.filter_map(|log| match &log.target {
            LogTarget::Stdout => None,
            LogTarget::File(path) => Some(path.clone()),
        }));
        good.socket = site.runtime.as_ref().map(|runtime| runtime.socket.clone());
        let servers = site.pools.iter().flat_map(|pool| &pool.servers);
        good.servers.extend(servers.filter_map(|server| server.tls.as_ref()?.ca.clone()));
        let reporting = site.agent.as_ref().and_then(|agent| agent.reporting.as_ref());
        good.agent = reporting.map(|told| (told.files.clone(), told.principal.clone()));
        good
    }

    /// With the key that it had.
    pub fn certificate(&self, chain: &Path) -> Option<Certificate> {
        self.certificates.get(chain).cloned()
    }

    pub fn has_clients(&self, ca: &Path, crl: Option<&Path>) -> bool {
        self.clients.contains(&(ca.to_owned(), crl.map(Path::to_owned)))
    }

    pub fn has_servers(&self, ca: &Path) -> bool {
        self.servers.contains(ca)
    }

    pub fn has_log(&self, file: &Path) -> bool {
        self.logs.contains(file)
    }

    pub fn has_socket(&self, path: &Path) -> bool {
        self.socket.as_deref() == Some(path)
    }

    /// Who we are by these.
    pub fn principal(&self, files: &Files) -> Option<Principal> {
        let (_, principal) = self.agent.as_ref().filter(|(good, _)| good == files)?;
        Some(principal.clone())
    }
}
