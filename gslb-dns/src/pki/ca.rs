//! What signs: the CA's key, and the names under which it does.

use std::time::Duration;

use common::identity::Identity;
use common::principal::Kind;
use jiff::{SignedDuration, Timestamp};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DistinguishedName,
    DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose,
    PublicKeyData, RevokedCertParams, SanType, SerialNumber, date_time_ymd,
};
use rustls::pki_types::CertificateDer;
use webpki::EndEntityCert;

use super::PkiError;
use super::index::{Index, Issued, List, Serial};

/// Clocks of daemons may be behind by so much.
pub const BACKDATED: SignedDuration = SignedDuration::from_hours(1);

pub struct Ca {
    issuer: Issuer<'static, KeyPair>,
    /// Its own certificate.
    certificate: CertificateDer<'static>,
}

/// A new CA, and what is to be kept of it, as PEM.
pub struct Made {
    pub ca: Ca,
    pub certificate: String,
    pub key: String,
}

impl Ca {
    /// Signs itself. `name` tells it from every other CA, also of this cluster: what they sign must not be mistaken for
    /// one another's.
    pub fn make(
        cluster: &str,
        name: &str,
        serial: Serial,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<Made, PkiError> {
        let epoch = date_time_ymd(1970, 1, 1);
        let mut params = params(cluster, name);
        params.serial_number = Some(SerialNumber::from_slice(&serial.0));
        params.not_before = epoch + since_1970(now - BACKDATED);
        params.not_after = epoch + since_1970(until);
        let key = KeyPair::generate()?;
        let certificate = params.self_signed(&key)?;
        let (pem, key_pem) = (certificate.pem(), key.serialize_pem());
        let ca = Ca { issuer: Issuer::new(params, key), certificate: certificate.der().clone() };
        Ok(Made { ca, certificate: pem, key: key_pem })
    }

    /// As it was kept.
    pub fn of(index: &Index, identity: &Identity, key_pem: &str) -> Result<Ca, PkiError> {
        let params = params(&index.cluster, &index.ca);
        let chain = identity.key();
        let certificate = chain.cert[0].clone();
        Ok(Ca { issuer: Issuer::new(params, KeyPair::from_pem(key_pem)?), certificate })
    }

    pub fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// The certificate that an entry of the index speaks of, as PEM, for whoever has the key to that public key.
    pub fn issue(&self, issued: &Issued, key: &impl PublicKeyData) -> Result<String, PkiError> {
        let Issued { serial, principal, dns_names, from, until, revoked: _ } = issued;
        let epoch = date_time_ymd(1970, 1, 1);
        let mut params = CertificateParams::new([])?;
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, &*principal.name);
        params.subject_alt_names = vec![SanType::URI(principal.to_string().try_into()?)];
        for name in dns_names {
            params.subject_alt_names.push(SanType::DnsName((&**name).try_into()?));
        }
        params.serial_number = Some(SerialNumber::from_slice(&serial.0));
        params.not_before = epoch + since_1970(*from);
        params.not_after = epoch + since_1970(*until);
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        if principal.kind == Kind::Dns {
            params.extended_key_usages.push(ExtendedKeyUsagePurpose::ServerAuth);
        }
        params.use_authority_key_identifier_extension = true;
        let certificate = params.signed_by(key, &self.issuer)?;
        // An index of another CA would have it signed under that one's name.
        let read = |der| EndEntityCert::try_from(der).ok();
        let issuer = read(certificate.der()).map(|leaf| leaf.issuer().to_vec());
        if issuer != read(&self.certificate).map(|ca| ca.subject().to_vec()) {
            return Err(PkiError::Refused(
                "ca.pem and index.json are not of the same CA: bring back the ones that belong together"
                    .to_owned(),
            ));
        }
        Ok(certificate.pem())
    }

    /// The revocation list of this moment, as PEM.
    pub fn list(&self, index: &Index, now: Timestamp) -> Result<String, PkiError> {
        let epoch = date_time_ymd(1970, 1, 1);
        let revoked_certs = index.listed(now).map(|(issued, revoked)| RevokedCertParams {
            serial_number: SerialNumber::from_slice(&issued.serial.0),
            revocation_time: epoch + since_1970(revoked.at),
            reason_code: None,
            invalidity_date: None,
        });
        let List { number, until, is_written: _ } = &index.list;
        let list = CertificateRevocationListParams {
            this_update: epoch + since_1970(now - BACKDATED),
            next_update: epoch + since_1970(*until),
            crl_number: SerialNumber::from(*number),
            issuing_distribution_point: None,
            revoked_certs: revoked_certs.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        Ok(list.signed_by(&self.issuer)?.pem()?)
    }
}

/// Of the CA itself; whose names the signed bear.
fn params(cluster: &str, name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, cluster);
    params.distinguished_name.push(DnType::CommonName, name);
    // It signs daemons alone, no other CA.
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

/// Whole seconds since 1970, as certificates and lists have them.
fn since_1970(at: Timestamp) -> Duration {
    Duration::from_secs(u64::try_from(at.as_second()).unwrap_or_default())
}
