//! Encrypted transports in `node.toml`: where they listen, and as whom.

use std::net::SocketAddr;
use std::path::Path;

use common::identity::{Fault, Identity};

use super::node::{addresses, taken};
use super::{or, path};
use crate::config::file;
use crate::config::problems::{Problem, Problems};
use crate::config::read::{At, List};
use crate::world::{Credentials, HttpsListeners, TlsListeners};

/// What RFC 8484 writes in its examples, and most clients ask unless they are told otherwise.
const HTTPS_PATH: &str = "/dns-query";
const LONGEST_PATH: usize = 255;

/// Addresses of other listeners, by key.
type Others<'a> = &'a [(&'static str, SocketAddr)];

/// Of DNS over TLS, or over QUIC. `others` are listeners of the same protocol, TCP or UDP: those of the other may have
/// the same address.
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

pub fn https(
    raw: file::Https,
    others: Others<'_>,
    dir: &Path,
    problems: &mut Problems,
) -> Option<HttpsListeners> {
    let file::Https { listen, certificate, key, path } = raw;
    let listen = listen.and_then(|listen| free(&listen, others, problems));
    let credentials = credentials(certificate, key, dir, problems);
    let path = or(path, HTTPS_PATH.into(), |path| problems.one(uri_path(path)));
    Some(HttpsListeners { listen: listen?, credentials: credentials?, path: path? })
}

/// As requests have it, so nothing in it may need an escape.
fn uri_path(path: At<String>) -> Result<Box<str>, Problem> {
    let At { value, spot } = path;
    let is_plain = |octet: u8| octet.is_ascii_alphanumeric() || b"-._~/".contains(&octet);
    match value.starts_with('/') && value.bytes().all(is_plain) && value.len() <= LONGEST_PATH {
        true => Ok(value.into()),
        false => Err(spot.problem(format!(
            "found {value:?}, expected a path such as {HTTPS_PATH:?}: / first, then letters, digits \
             and -._~/, {LONGEST_PATH} octets at most"
        ))),
    }
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
