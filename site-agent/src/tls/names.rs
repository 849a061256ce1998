//! Which certificate a client is shown: by the name that it asks for and the signatures that it can check.

use std::collections::HashMap;
use std::sync::Arc;

use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{SignatureAlgorithm, SignatureScheme};
use webpki::EndEntityCert;

/// By the names in them: its own, then a wildcard's (of one label, RFC 6125 §6.4.3), then the first of all.
#[derive(Debug)]
pub struct Names {
    exact: HashMap<Box<str>, Keys>,
    /// By what stands behind `*.`.
    wildcards: HashMap<Box<str>, Keys>,
    /// For those who ask for none of these names, or for none.
    others: Keys,
}

/// Of one name: one for each kind of key, as a rule. Cheap ones first, otherwise as in the config.
type Keys = Vec<Arc<CertifiedKey>>;

impl Names {
    /// Of at least one key, all of which can be read.
    pub fn of(keys: &[Arc<CertifiedKey>]) -> Names {
        let (mut exact, mut wildcards) = (HashMap::new(), HashMap::new());
        for key in keys {
            for name in names(key) {
                let (map, name) = match name.strip_prefix("*.") {
                    Some(parent) => (&mut wildcards, parent),
                    None => (&mut exact, &*name),
                };
                map.entry(name.into()).or_insert_with(Keys::new).push(Arc::clone(key));
            }
        }
        // Beside the first stand those of its names that have another kind of key.
        let first = keys.first();
        let of_first: Vec<String> = first.map(|key| names(key)).unwrap_or_default();
        let is_other = |key: &&Arc<CertifiedKey>| {
            let first = first.is_some_and(|first| first.key.algorithm() != key.key.algorithm());
            first && !of_first.is_empty() && of_first == names(key)
        };
        let others = first.into_iter().chain(keys.iter().filter(is_other)).cloned().collect();
        let mut names = Names { exact, wildcards, others };
        for keys in names.exact.values_mut().chain(names.wildcards.values_mut()) {
            keys.sort_by_key(|key| cost(key));
        }
        names.others.sort_by_key(|key| cost(key));
        names
    }

    pub fn choose(
        &self,
        name: Option<&str>,
        schemes: &[SignatureScheme],
    ) -> Option<Arc<CertifiedKey>> {
        let name = name.map(|name| name.strip_suffix('.').unwrap_or(name));
        let exact = name.and_then(|name| self.exact.get(name));
        let parent = name.and_then(|name| name.split_once('.')).map(|(_, parent)| parent);
        let wildcard = parent.and_then(|parent| self.wildcards.get(parent));
        let others = Some(&self.others).filter(|_| exact.is_none() && wildcard.is_none());
        let keys = || exact.into_iter().chain(wildcard).chain(others).flatten();
        // Who can check none of them is told so by the handshake.
        keys()
            .find(|key| key.key.choose_scheme(schemes).is_some())
            .or_else(|| keys().next())
            .cloned()
    }
}

impl ResolvesServerCert for Names {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.choose(hello.server_name(), hello.signature_schemes())
    }
}

/// Those of the subject's alternative names, in lower case and in order, each once. The common name is none (RFC 9525
/// §2).
fn names(key: &CertifiedKey) -> Vec<String> {
    let certificate = key.cert.first().and_then(|own| EndEntityCert::try_from(own).ok());
    let names = certificate.iter().flat_map(|certificate| certificate.valid_dns_names());
    let mut names: Vec<String> = names.map(str::to_ascii_lowercase).collect();
    names.sort();
    names.dedup();
    names
}

/// What a signature costs us, beside those of the other kinds.
fn cost(key: &CertifiedKey) -> u8 {
    match key.key.algorithm() {
        SignatureAlgorithm::ECDSA => 0,
        SignatureAlgorithm::ED25519 => 1,
        _ => 2,
    }
}
