//! Encrypted transports in `node.toml`: where they listen, and as whom.

use std::net::SocketAddr;
use std::path::Path;

use super::node::{addresses, taken};
use super::path;
use crate::config::file;
use crate::config::problems::Problems;
use crate::config::read::{At, List};
use crate::tls::{Fault, Identity};
use crate::world::{Credentials, TlsListeners};

/// Addresses of other listeners, by key.
type Others<'a> = &'a [(&'static str, SocketAddr)];

pub fn tls(
    raw: file::Tls,
    others: Others<'_>,
    dir: &Path,
    problems: &mut Problems,
) -> Option<TlsListeners> {
    let file::Tls { listen, certificate, key } = raw;
    let listen = listen.and_then(|listen| free(&listen, others, problems));
    let credentials = credentials(certificate, key, dir, problems);
    Some(TlsListeners { listen: listen?, credentials: credentials? })
}

/// Addresses that no other listener has.
fn free(
    listen: &At<List<At<SocketAddr>>>,
    others: Others<'_>,
    problems: &mut Problems,
) -> Option<Vec<SocketAddr>> {
    for problem in listen.value.iter().flatten().filter_map(|address| taken(address, others)) {
        problems.add(problem);
    }
    addresses(listen, problems)
}

/// Both files are read and must fit each other. That they are read again later is no reason to start with
/// what cannot be shown.
fn credentials(
    certificate: Option<At<String>>,
    key: Option<At<String>>,
    dir: &Path,
    problems: &mut Problems,
) -> Option<Credentials> {
    let certificate_path =
        certificate.as_ref().and_then(|written| problems.one(path(written, dir)));
    let key_path = key.as_ref().and_then(|written| problems.one(path(written, dir)));
    let credentials = Credentials { certificate: certificate_path?, key: key_path? };
    let problem = match Identity::read(&credentials.certificate, &credentials.key) {
        Ok(_) => return Some(credentials),
        Err(Fault::Certificate(why)) => {
            certificate?.spot.problem(format!("{} {why}", credentials.certificate.display()))
        }
        Err(Fault::Key(why)) => key?.spot.problem(format!("{} {why}", credentials.key.display())),
    };
    problems.add(problem);
    None
}
