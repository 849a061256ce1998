//! Whose certificates are believed, and which of them are not any more: CAs and their revocation lists.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{VerifierBuilderError, WebPkiServerVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, ServerName, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::{DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use webpki::{CertRevocationList, EndEntityCert, OwnedCertRevocationList};

use crate::bounded;
use crate::der::{BIT_STRING, SEQUENCE, element, expect, time};
use crate::identity::{LONGEST_FILE, certificates, provider};

#[derive(Debug)]
pub struct Authority {
    cas: Vec<CertificateDer<'static>>,
    roots: Arc<RootCertStore>,
    lists: Vec<List>,
}

/// A revocation list, signed by one whom we believe.
#[derive(Debug)]
struct List {
    der: CertificateRevocationListDer<'static>,
    parsed: CertRevocationList<'static>,
    next_update: i64,
}

/// A file that says not whom to believe.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{} {why}", file.display())]
pub struct Unfit {
    pub file: PathBuf,
    pub why: String,
}

impl Authority {
    /// The certificates of a PEM file.
    pub fn of(pem: &[u8]) -> Result<Authority, String> {
        let cas = certificates(pem)?;
        let mut roots = RootCertStore::empty();
        for ca in &cas {
            roots
                .add(ca.clone())
                .map_err(|error| format!("holds a certificate that cannot be read: {error}"))?;
        }
        Ok(Authority { cas, roots: Arc::new(roots), lists: vec![] })
    }

    /// Of PEM files: CAs, and their revocation lists if they have any.
    pub fn read(ca: &Path, crl: Option<&Path>) -> Result<Authority, Unfit> {
        let blame = |file: &Path| {
            let file = file.to_owned();
            move |why| Unfit { file, why }
        };
        let mut authority = octets(ca).and_then(|pem| Authority::of(&pem)).map_err(blame(ca))?;
        if let Some(crl) = crl {
            let revoked = octets(crl).and_then(|pem| authority.revoke(&pem, &[]));
            revoked.map_err(blame(crl))?;
        }
        Ok(authority)
    }

    /// What this system believes. A certificate there that nobody could use is passed over.
    pub fn of_system() -> Result<Authority, String> {
        let mut roots = RootCertStore::empty();
        let mut cas = certificates_of_system()?;
        cas.retain(|ca| roots.add(ca.clone()).is_ok());
        match cas.is_empty() {
            true => Err("hold no CA that can be used: is ca-certificates installed?".to_owned()),
            false => Ok(Authority { cas, roots: Arc::new(roots), lists: vec![] }),
        }
    }

    /// Whether both believe the same.
    pub fn is_same(&self, other: &Authority) -> bool {
        let lists = |authority: &Authority| -> Vec<CertificateRevocationListDer<'static>> {
            authority.lists.iter().map(|list| list.der.clone()).collect()
        };
        self.cas == other.cas && lists(self) == lists(other)
    }

    /// Takes the revocation lists of a PEM file: of our CAs, or of those `between` them and us.
    pub fn revoke(&mut self, pem: &[u8], between: &[CertificateDer<'_>]) -> Result<(), String> {
        let issuers: Vec<EndEntityCert<'_>> = self
            .cas
            .iter()
            .chain(between)
            .map(EndEntityCert::try_from)
            .collect::<Result<_, _>>()
            .map_err(|error| format!("cannot be judged: a CA's certificate: {error}"))?;
        let mut lists: Vec<List> = vec![];
        for der in CertificateRevocationListDer::pem_slice_iter(pem) {
            let der = der.map_err(|error| format!("is damaged: {error}"))?;
            let list = List::of(der, &issuers)?;
            let is_second = |other: &List| {
                let scope = CertRevocationList::issuing_distribution_point;
                other.parsed.issuer() == list.parsed.issuer()
                    && scope(&other.parsed) == scope(&list.parsed)
            };
            if lists.iter().any(is_second) {
                return Err("holds two revocation lists of one CA: keep the newer one".to_owned());
            }
            lists.push(list);
        }
        if lists.is_empty() {
            return Err(
                "holds no revocation list (expected PEM: -----BEGIN X509 CRL-----; from DER: openssl crl -inform der)"
                    .to_owned(),
            );
        }
        self.lists = lists;
        Ok(())
    }

    /// Clients have to show a certificate that is believed.
    pub fn clients(&self) -> Result<Arc<dyn ClientCertVerifier>, String> {
        let builder =
            WebPkiClientVerifier::builder_with_provider(Arc::clone(&self.roots), provider());
        let builder = builder.with_crls(self.lists()).only_check_end_entity_revocation();
        builder.build().map_err(unusable)
    }

    /// Clients may show one, which then has to be believed.
    pub fn clients_or_strangers(&self) -> Result<Arc<dyn ClientCertVerifier>, String> {
        let builder =
            WebPkiClientVerifier::builder_with_provider(Arc::clone(&self.roots), provider());
        let builder = builder.with_crls(self.lists()).only_check_end_entity_revocation();
        builder.allow_unauthenticated().build().map_err(unusable)
    }

    pub fn servers(&self) -> Result<Arc<WebPkiServerVerifier>, String> {
        let builder =
            WebPkiServerVerifier::builder_with_provider(Arc::clone(&self.roots), provider());
        let builder = builder.with_crls(self.lists()).only_check_end_entity_revocation();
        builder.build().map_err(unusable)
    }

    fn lists(&self) -> impl Iterator<Item = CertificateRevocationListDer<'static>> {
        self.lists.iter().map(|list| list.der.clone())
    }

    pub fn has_revoked(&self, certificate: &CertificateDer<'_>) -> bool {
        let Ok(certificate) = EndEntityCert::try_from(certificate) else {
            return true;
        };
        self.lists
            .iter()
            .filter(|list| list.parsed.issuer() == certificate.issuer())
            .any(|list| !matches!(list.parsed.find_serial(certificate.serial()), Ok(None)))
    }

    /// When the first of the lists is to have a successor: unix time, in seconds.
    pub fn next_update(&self) -> Option<i64> {
        self.lists.iter().map(|list| list.next_update).min()
    }
}

fn unusable(error: VerifierBuilderError) -> String {
    format!("cannot be used: {error}")
}

fn octets(path: &Path) -> Result<Vec<u8>, String> {
    bounded::read_file(path, LONGEST_FILE).map_err(|error| format!("cannot be read: {error}"))
}

/// Debian's `ca-certificates`, or the file in `SSL_CERT_FILE`.
pub fn certificates_of_system() -> Result<Vec<CertificateDer<'static>>, String> {
    let found = rustls_native_certs::load_native_certs();
    match (found.certs.is_empty(), found.errors.first()) {
        (true, Some(error)) => Err(error.to_string()),
        _ => Ok(found.certs),
    }
}

/// Believes every server, as long as it has the key of the certificate that it shows.
#[derive(Debug)]
pub struct Anyone(Arc<CryptoProvider>);

impl Default for Anyone {
    fn default() -> Anyone {
        Anyone(provider())
    }
}

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

impl List {
    fn of(
        der: CertificateRevocationListDer<'static>,
        issuers: &[EndEntityCert<'_>],
    ) -> Result<List, String> {
        let unreadable = |error| format!("holds a revocation list that cannot be read: {error}");
        let parsed = OwnedCertRevocationList::from_der(&der).map_err(unreadable)?;
        let parsed = CertRevocationList::from(parsed);
        let (signed, next_update) =
            Signed::of(&der).ok_or_else(|| unreadable(webpki::Error::BadDer))?;
        let mut named = issuers.iter().filter(|ca| ca.subject() == parsed.issuer()).peekable();
        if named.peek().is_none() {
            return Err(
                "holds a revocation list of another CA: fetch the one of the CA that is believed here"
                    .to_owned(),
            );
        }
        if !named.any(|ca| signed.is_by(ca)) {
            return Err(
                "holds a revocation list that names our CA and is not signed by it: fetch the CA's own"
                    .to_owned(),
            );
        }
        Ok(List { der, parsed, next_update })
    }
}

/// What a list's signature is over, how it was made, and itself (RFC 5280 §5.1.1).
struct Signed<'a> {
    message: &'a [u8],
    algorithm: &'a [u8],
    signature: &'a [u8],
}

impl<'a> Signed<'a> {
    /// And the list's nextUpdate.
    fn of(list: &'a [u8]) -> Option<(Signed<'a>, i64)> {
        let (whole, _) = expect(SEQUENCE, list)?;
        let (to_be_signed, rest) = expect(SEQUENCE, whole)?;
        let message = &whole[..whole.len() - rest.len()];
        let (algorithm, rest) = expect(SEQUENCE, rest)?;
        let (bits, _) = expect(BIT_STRING, rest)?;
        let signature = bits.strip_prefix(&[0])?;
        // Version, algorithm, issuer.
        let (_, _, rest) = element(to_be_signed)?;
        let (_, _, rest) = element(rest)?;
        let (_, _, rest) = element(rest)?;
        let (_this_update, rest) = time(rest)?;
        let (next_update, _) = time(rest)?;
        Some((Signed { message, algorithm, signature }, next_update))
    }

    fn is_by(&self, ca: &EndEntityCert<'_>) -> bool {
        provider()
            .signature_verification_algorithms
            .all
            .iter()
            .filter(|known| known.signature_alg_id().as_ref() == self.algorithm)
            .any(|known| ca.verify_signature(*known, self.message, self.signature).is_ok())
    }
}
