//! What one frontend does in handshakes.
//!
//! Clients resume by tickets, and nothing is remembered of them. Where they show certificates nobody resumes: whoever
//! is revoked, or has expired, is refused by the next handshake. Nothing is early data, which others could send again.

use std::collections::BTreeMap;
use std::sync::Arc;

use common::authority::Authority;
use common::identity::{Fault as Broken, Identity, provider};
use common::validity::Validity;
use rustls::ServerConfig;
use rustls::server::NoServerSessionStorage;
use rustls::server::danger::ClientCertVerifier;
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};

use super::names::Names;
use super::tickets::Tickets;
use super::{Fault, Shown};
use crate::site::{Certificate, ClientVerify, MinVersion, Tls};

/// What was read, and what it has become.
#[derive(Debug)]
pub struct Kept {
    tls: Tls,
    /// In the order of `tls.certificates`.
    keys: Vec<Arc<CertifiedKey>>,
    clients: Option<Arc<Clients>>,
    pub config: Arc<ServerConfig>,
}

/// Whom of the clients to believe.
#[derive(Debug)]
struct Clients {
    authority: Arc<Authority>,
    verifier: Arc<dyn ClientCertVerifier>,
}

/// `None` if a file is broken that was not good before, at whichever frontend; broken ones are told.
pub fn keep(
    name: &str,
    tls: &Tls,
    before: &BTreeMap<Arc<str>, Kept>,
    tickets: &Tickets,
    faults: &mut Vec<Fault>,
) -> Option<Kept> {
    let mut fault = |part: &str, why: String| {
        faults.push(Fault { key: format!("frontend.{name}.tls.{part}"), why });
    };
    let keys: Vec<Option<Arc<CertifiedKey>>> = tls
        .certificates
        .iter()
        .map(|certificate| match read(certificate) {
            Ok(key) => Some(key),
            Err(why) => {
                fault("certificates", why);
                before.values().find_map(|kept| kept.key_of(certificate))
            }
        })
        .collect();
    let clients = Clients::read(&tls.client_verify).or_else(|why| {
        fault("client_ca", why);
        Clients::kept(&tls.client_verify, before).map(Some).ok_or(())
    });
    let keys = keys.into_iter().collect::<Option<Vec<_>>>()?;
    let clients = clients.ok()?.map(Arc::new);
    let same = before.get(name).filter(|last| {
        let shows_same = last.keys.iter().map(|key| &key.cert).eq(keys.iter().map(|key| &key.cert));
        last.tls == *tls && shows_same && is_same(last.clients.as_deref(), clients.as_deref())
    });
    let config = same.map_or_else(
        || server_config(name, tls, &keys, clients.as_deref(), tickets),
        |last| Arc::clone(&last.config),
    );
    Some(Kept { tls: tls.clone(), keys, clients, config })
}

impl Kept {
    /// What clients are shown, be its file good now or not.
    pub fn shown(&self, name: &Arc<str>) -> impl Iterator<Item = Shown> {
        let known = self.tls.certificates.iter().zip(&self.keys);
        known.filter_map(|(certificate, key)| {
            let Validity { not_after: ends, .. } = Validity::of(key.cert.first()?)?;
            let file = certificate.chain.display().to_string();
            Some(Shown { frontend: Arc::clone(name), file, ends })
        })
    }

    fn key_of(&self, certificate: &Certificate) -> Option<Arc<CertifiedKey>> {
        let mut known = self.tls.certificates.iter().zip(&self.keys);
        known.find(|(known, _)| *known == certificate).map(|(_, key)| Arc::clone(key))
    }
}

impl Clients {
    /// `None` where they are not asked.
    fn read(verify: &ClientVerify) -> Result<Option<Clients>, String> {
        let Some((ca, crl)) = verify.files() else { return Ok(None) };
        let authority = Authority::read(ca, crl).map_err(|unfit| unfit.to_string())?;
        let clients = Clients::of(Arc::new(authority), verify);
        clients.map(Some).map_err(|why| format!("{} {why}", ca.display()))
    }

    /// By the same files as they were last good.
    fn kept(verify: &ClientVerify, before: &BTreeMap<Arc<str>, Kept>) -> Option<Clients> {
        let mut same =
            before.values().filter(|kept| kept.tls.client_verify.files() == verify.files());
        let authority = same.find_map(|kept| Some(Arc::clone(&kept.clients.as_ref()?.authority)));
        Clients::of(authority?, verify).ok()
    }

    fn of(authority: Arc<Authority>, verify: &ClientVerify) -> Result<Clients, String> {
        let verifier = match verify {
            ClientVerify::Optional { .. } => authority.clients_or_strangers(),
            ClientVerify::Nobody | ClientVerify::Required { .. } => authority.clients(),
        };
        Ok(Clients { authority, verifier: verifier? })
    }
}

fn is_same(one: Option<&Clients>, other: Option<&Clients>) -> bool {
    match (one, other) {
        (None, None) => true,
        (Some(one), Some(other)) => one.authority.is_same(&other.authority),
        (None, Some(_)) | (Some(_), None) => false,
    }
}

/// The error has the file.
fn read(certificate: &Certificate) -> Result<Arc<CertifiedKey>, String> {
    let Certificate { chain, key } = certificate;
    match Identity::read(chain, key) {
        Ok(identity) => Ok(identity.key()),
        Err(Broken::Certificate(why)) => Err(format!("{} {why}", chain.display())),
        Err(Broken::Key(why)) => Err(format!("{} {why}", key.display())),
    }
}

fn server_config(
    name: &str,
    tls: &Tls,
    keys: &[Arc<CertifiedKey>],
    clients: Option<&Clients>,
    tickets: &Tickets,
) -> Arc<ServerConfig> {
    let versions = match tls.min {
        MinVersion::Tls12 => &[&TLS13, &TLS12][..],
        MinVersion::Tls13 => &[&TLS13],
    };
    let builder = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(versions)
        .expect("the provider has cipher suites of both");
    let builder = match clients {
        Some(clients) => builder.with_client_cert_verifier(Arc::clone(&clients.verifier)),
        None => builder.with_no_client_auth(),
    };
    let mut config = builder.with_cert_resolver(Arc::new(Names::of(keys)));
    config.alpn_protocols =
        tls.alpn.iter().map(|protocol| protocol.as_str().as_bytes().to_vec()).collect();
    // As HAProxy does: of suites that both have, ours come in the order that we trust them.
    config.ignore_client_order = true;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    match clients {
        None => config.ticketer = tickets.of(name),
        Some(_) => config.send_tls13_tickets = 0,
    }
    Arc::new(config)
}
