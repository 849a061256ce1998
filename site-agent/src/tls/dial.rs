//! TLS towards one server of a pool: whom to believe that it is, what to call it and to offer it.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use common::authority::{Anyone, Authority};
use common::check::Verify;
use common::identity::provider;
use rustls::ClientConfig;
use rustls::client::Resumption;
use rustls::client::danger::ServerCertVerifier;
use rustls::pki_types::ServerName;
use rustls::version::{TLS12, TLS13};

use super::Fault;
use crate::site::ServerTls;

/// Tickets that are remembered for a server: as many as rustls keeps for one name.
const SESSIONS: usize = 8;

/// Shared by all threads: what one of them has spoken of, another can resume.
#[derive(Clone, Debug)]
pub struct Dial {
    pub config: Arc<ClientConfig>,
    /// For which the certificate has to be; sent, unless it is an address.
    pub name: ServerName<'static>,
}

#[derive(Debug)]
pub struct Kept {
    tls: ServerTls,
    trust: Arc<Trust>,
    pub dial: Dial,
}

/// By whom servers have to be vouched for. Each is read once, however many servers have it; `None` if it cannot be.
#[derive(Debug, Default)]
pub struct Trusts(BTreeMap<Whom, Option<Arc<Trust>>>);

#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Whom {
    Anyone,
    System,
    Ca(PathBuf),
}

#[derive(Debug)]
pub struct Trust {
    /// `None` where nobody has to.
    authority: Option<Authority>,
    verifier: Arc<dyn ServerCertVerifier>,
}

impl Trusts {
    /// What is as it was last is the same; what is broken is told, once, and is as it was last.
    pub fn of(
        &mut self,
        tls: &ServerTls,
        last: &Trusts,
        key: impl Fn() -> String,
        faults: &mut Vec<Fault>,
    ) -> Option<Arc<Trust>> {
        let whom = match (tls.verify, &tls.ca) {
            (Verify::Nothing, _) => Whom::Anyone,
            (Verify::Full, None) => Whom::System,
            (Verify::Full, Some(ca)) => Whom::Ca(ca.clone()),
        };
        if let Some(known) = self.0.get(&whom) {
            return known.clone();
        }
        let before = last.0.get(&whom).and_then(Option::as_ref);
        let trust = match Trust::read(&whom) {
            Ok(read) => match before.filter(|before| before.is_same(&read)) {
                Some(before) => Some(Arc::clone(before)),
                None => Some(Arc::new(read)),
            },
            Err(why) => {
                faults.push(Fault { key: format!("{}.ca", key()), why });
                before.cloned()
            }
        };
        self.0.insert(whom, trust.clone());
        trust
    }
}

impl Trust {
    fn read(whom: &Whom) -> Result<Trust, String> {
        let (authority, of) = match whom {
            Whom::Anyone => {
                return Ok(Trust { authority: None, verifier: Arc::new(Anyone::default()) });
            }
            Whom::System => {
                let of = "the certificates that this system believes";
                (Authority::of_system().map_err(|why| format!("{of}: {why}"))?, of.to_owned())
            }
            Whom::Ca(file) => {
                let read = Authority::read(file, None).map_err(|unfit| unfit.to_string())?;
                (read, file.display().to_string())
            }
        };
        let verifier = authority.servers().map_err(|why| format!("{of} {why}"))?;
        Ok(Trust { authority: Some(authority), verifier })
    }

    fn is_same(&self, other: &Trust) -> bool {
        match (&self.authority, &other.authority) {
            (None, None) => true,
            (Some(one), Some(other)) => one.is_same(other),
            (None, Some(_)) | (Some(_), None) => false,
        }
    }
}

/// The error says what is wrong with the name.
pub fn keep(
    tls: &ServerTls,
    address: IpAddr,
    trust: Arc<Trust>,
    last: Option<&Kept>,
) -> Result<Kept, String> {
    let name = match &tls.sni {
        Some(name) => ServerName::try_from(name.to_string())
            .map_err(|_| format!("{name:?} is no server name such as \"www.example.com\""))?,
        None => ServerName::IpAddress(address.into()),
    };
    let same = last.filter(|last| {
        last.tls == *tls && last.dial.name == name && Arc::ptr_eq(&last.trust, &trust)
    });
    let dial = match same {
        Some(last) => last.dial.clone(),
        None => Dial { config: client_config(tls, &trust), name },
    };
    Ok(Kept { tls: tls.clone(), trust, dial })
}

fn client_config(tls: &ServerTls, trust: &Trust) -> Arc<ClientConfig> {
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13, &TLS12])
        .expect("the provider has cipher suites of both")
        .dangerous()
        .with_custom_certificate_verifier(Arc::clone(&trust.verifier))
        .with_no_client_auth();
    config.alpn_protocols =
        tls.alpn.iter().map(|protocol| protocol.as_str().as_bytes().to_vec()).collect();
    config.resumption = Resumption::in_memory_sessions(SESSIONS);
    Arc::new(config)
}
