//! A CA made for the test, and credentials of it in files.

use std::fs;
use std::path::Path;

use common::mtls::Files;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType};

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

    /// Writes `NAME-ca.pem`, `NAME.pem` and `NAME.key` of this principal.
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
        Files {
            ca: file(format!("{name}-ca.pem"), &self.pem),
            certificate: file(format!("{name}.pem"), &certificate.pem()),
            key: file(format!("{name}.key"), &key.serialize_pem()),
            crl: None,
        }
    }
}
