//! Whose certificates are believed, and which of them are not any more: CAs and their revocation lists.

use std::sync::Arc;

use rustls::RootCertStore;
use rustls::client::{VerifierBuilderError, WebPkiServerVerifier};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use webpki::{CertRevocationList, EndEntityCert, OwnedCertRevocationList};

use crate::der::{BIT_STRING, SEQUENCE, element, expect, time};
use crate::identity::{certificates, provider};

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

type Verifiers = (Arc<dyn ClientCertVerifier>, Arc<WebPkiServerVerifier>);

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

    /// For clients and for servers that want to be believed.
    pub fn verifiers(&self) -> Result<Verifiers, String> {
        let lists = || self.lists.iter().map(|list| list.der.clone());
        let why = |error: VerifierBuilderError| format!("cannot be used: {error}");
        let clients =
            WebPkiClientVerifier::builder_with_provider(Arc::clone(&self.roots), provider())
                .with_crls(lists())
                .only_check_end_entity_revocation()
                .build()
                .map_err(why)?;
        let servers =
            WebPkiServerVerifier::builder_with_provider(Arc::clone(&self.roots), provider())
                .with_crls(lists())
                .only_check_end_entity_revocation()
                .build()
                .map_err(why)?;
        Ok((clients, servers))
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
