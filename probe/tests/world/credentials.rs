//! A CA made for the test, and credentials of it in files.

use std::fs;
use std::path::Path;

use common::mtls::Files;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, IsCa, Issuer,
    KeyIdMethod, KeyPair, KeyUsagePurpose, SanType, SerialNumber, date_time_ymd,
};

pub struct Ca {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Ca {
    pub fn new() -> Ca {
        let mut params = CertificateParams::new([]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Ca { issuer: Issuer::new(params, key), pem }
    }

    /// Writes `NAME-ca.pem`, `NAME.crl`, `NAME.pem` and `NAME.key` of this principal.
    pub fn issue(&self, dir: &Path, principal: &str) -> Files {
        let name = principal.rsplit('/').next().unwrap();
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        params.subject_alt_names.push(SanType::URI(principal.try_into().unwrap()));
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let file = |file: String, text: &str| {
            let path = dir.join(file);
            fs::write(&path, text).unwrap();
            path
        };
        file(format!("{name}.crl"), &self.nobody_revoked());
        Files {
            ca: file(format!("{name}-ca.pem"), &self.pem),
            certificate: file(format!("{name}.pem"), &certificate.pem()),
            key: file(format!("{name}.key"), &key.serialize_pem()),
            crl: None,
        }
    }

    fn nobody_revoked(&self) -> String {
        let list = CertificateRevocationListParams {
            this_update: date_time_ymd(2021, 1, 1),
            next_update: date_time_ymd(2099, 1, 1),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: vec![],
            key_identifier_method: KeyIdMethod::Sha256,
        };
        list.signed_by(&self.issuer).unwrap().pem().unwrap()
    }
}
