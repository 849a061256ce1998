//! What the CA makes of requests that daemons have parked: it believes the old certificate's key, and its own index.

use std::sync::Arc;
use std::time::Duration;

use common::durable;
use common::identity::provider;
use common::mtls::Files;
use common::principal::{Kind, Principal};
use common::renewal::{Asked, Stage};
use common::validity::Validity;
use jiff::{SignedDuration, Timestamp};
use rcgen::KeyPair;
use rustls::RootCertStore;
use rustls::pki_types::UnixTime;
use rustls::server::WebPkiClientVerifier;

use super::PkiError;
use super::ca::BACKDATED;
use super::directory::{CA_FILE, Directory, LIST_FILE};
use super::index::{Issued, Serial};

/// How the CA names itself to name servers.
pub const NAME: &str = "pki";
/// For how long it may speak to them: a visit.
const VISIT: SignedDuration = SignedDuration::from_hours(1);
/// Certificates of one daemon that it may be given from one: an answer may be lost, a name server may ask twice.
pub const MOST_SUCCESSORS: usize = 8;
/// Where its certificate for a visit lies. No daemon's name begins so.
const VISITOR: [&str; 2] = [".visitor.pem", ".visitor.key"];

impl Directory {
    /// The next certificate of whoever asks, as PEM: for the same names, and for as long as the one that it has.
    pub fn renew(&mut self, request: &[u8], now: Timestamp) -> Result<(Issued, String), PkiError> {
        let refused = |why: String| PkiError::Refused(why);
        let asked = Asked::read(request).map_err(|error| refused(error.to_string()))?;
        let Asked { principal, key, shown } = asked;
        self.believe(&shown, now).map_err(refused)?;
        let serial = Serial::of_certificate(&shown);
        let issued = &self.index().issued;
        let old = issued.iter().find(|issued| Some(issued.serial) == serial);
        let old = match old.filter(|old| old.principal == principal) {
            Some(old) => old.clone(),
            None => {
                return Err(refused(
                    "its certificate is not in the index: issue one by hand".to_owned(),
                ));
            }
        };
        if old.revoked.is_some() {
            return Err(refused("its certificate is revoked: issue one by hand".to_owned()));
        }
        if principal.kind == Kind::Ca {
            return Err(refused("the CA renews itself by no request".to_owned()));
        }
        let (from, until) = (old.from.as_second(), old.until.as_second());
        let validity = Validity { not_before: from, not_after: until };
        if Stage::of(validity, now.as_second()) == Stage::Early {
            return Err(refused(format!(
                "its certificate holds until {}: it is too early",
                old.until
            )));
        }
        let successors =
            issued.iter().filter(|one| one.principal == principal && one.from > old.from).count();
        if successors >= MOST_SUCCESSORS {
            return Err(refused(format!(
                "it was given {successors} certificates since the one that it shows: see why it takes none, and \
                 issue one by hand"
            )));
        }
        let lasts = old.until.duration_since(old.from) - BACKDATED;
        self.sign(principal, &old.dns_names, lasts, &key, now)
    }

    /// Whether a certificate is of this CA, and holds now.
    fn believe(
        &self,
        shown: &rustls::pki_types::CertificateDer<'_>,
        now: Timestamp,
    ) -> Result<(), String> {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate().clone()).map_err(|error| error.to_string())?;
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider())
            .build()
            .map_err(|error| error.to_string())?;
        let now = Duration::from_secs(now.as_second().try_into().unwrap_or_default());
        let judged = verifier.verify_client_cert(shown, &[], UnixTime::since_unix_epoch(now));
        judged.map(|_| ()).map_err(|error| {
            format!(
                "its certificate is not of this CA, or holds no more ({error}): issue one by hand"
            )
        })
    }

    /// What the CA shows name servers, made for one visit.
    pub fn visitor(&mut self, now: Timestamp) -> Result<Files, PkiError> {
        let cluster = self.index().cluster.clone();
        let principal = Principal::new(&cluster, Kind::Ca, NAME)
            .map_err(|error| PkiError::Refused(error.to_string()))?;
        let pair = KeyPair::generate()?;
        let (_, pem) = self.sign(principal, &[], VISIT, &pair, now)?;
        let [certificate, key] = VISITOR.map(|file| self.path(file));
        durable::write_secret(&key, pair.serialize_pem().as_bytes()).map_err(PkiError::of(&key))?;
        durable::write(&certificate, pem.as_bytes()).map_err(PkiError::of(&certificate))?;
        Ok(Files { ca: self.path(CA_FILE), certificate, key, crl: Some(self.path(LIST_FILE)) })
    }
}
