//! CAs and certificates made for a test, in a folder, as an operator would lay them there.

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType, IsCa, Issuer,
    KeyIdMethod, KeyPair, KeyUsagePurpose, PKCS_RSA_SHA256, RevokedCertParams, SanType,
    SerialNumber, date_time_ymd,
};
use tempfile::TempDir;

pub struct Ca {
    issuer: Issuer<'static, KeyPair>,
    pub pem: String,
}

#[derive(Clone, Copy)]
pub enum Key {
    Ecdsa,
    Rsa,
}

#[derive(Clone, Copy)]
pub struct Leaf<'a> {
    pub names: &'a [&'a str],
    pub address: Option<IpAddr>,
    pub serial: u64,
    /// A year.
    pub until: i32,
    pub key: Key,
}

pub const LEAF: Leaf<'static> =
    Leaf { names: &[], address: None, serial: 1, until: 2090, key: Key::Ecdsa };

impl Ca {
    pub fn new(name: &str) -> Ca {
        let mut params = CertificateParams::new([]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Ca { issuer: Issuer::new(params, key), pem }
    }

    /// Certificate and key.
    pub fn issue(&self, leaf: Leaf<'_>) -> (String, String) {
        let mut params = CertificateParams::new([]).unwrap();
        let names = leaf.names.iter().map(|name| SanType::DnsName((*name).try_into().unwrap()));
        params.subject_alt_names = names.chain(leaf.address.map(SanType::IpAddress)).collect();
        params.distinguished_name.push(DnType::CommonName, format!("number {}", leaf.serial));
        params.serial_number = Some(SerialNumber::from(leaf.serial));
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(leaf.until, 1, 1);
        let key = match leaf.key {
            Key::Ecdsa => KeyPair::generate().unwrap(),
            Key::Rsa => KeyPair::from_pem(rsa()).unwrap(),
        };
        (params.signed_by(&key, &self.issuer).unwrap().pem(), key.serialize_pem())
    }

    /// A list of those serial numbers.
    pub fn revoke(&self, serials: &[u64]) -> String {
        let revoked = |serial: &u64| RevokedCertParams {
            serial_number: SerialNumber::from(*serial),
            revocation_time: date_time_ymd(2026, 1, 1),
            reason_code: None,
            invalidity_date: None,
        };
        let list = CertificateRevocationListParams {
            this_update: date_time_ymd(2026, 1, 1),
            next_update: date_time_ymd(2090, 1, 1),
            crl_number: SerialNumber::from(serials.len() as u64),
            issuing_distribution_point: None,
            revoked_certs: serials.iter().map(revoked).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        list.signed_by(&self.issuer).unwrap().pem().unwrap()
    }
}

/// One key for all: to find another takes a while.
fn rsa() -> &'static str {
    static RSA: OnceLock<String> = OnceLock::new();
    RSA.get_or_init(|| KeyPair::generate_for(&PKCS_RSA_SHA256).unwrap().serialize_pem())
}

pub struct Folder(TempDir);

impl Folder {
    pub fn new() -> Folder {
        Folder(tempfile::tempdir().unwrap())
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    pub fn write(&self, file: &str, text: &str) -> PathBuf {
        let path = self.0.path().join(file);
        fs::write(&path, text).unwrap();
        path
    }

    /// `NAME.pem` with the certificate and its key.
    pub fn certify(&self, ca: &Ca, name: &str, leaf: Leaf<'_>) -> PathBuf {
        let (certificate, key) = ca.issue(leaf);
        self.write(&format!("{name}.pem"), &(certificate + &key))
    }
}
