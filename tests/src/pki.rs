//! A CA made for a test, and the files of those whom it has issued a certificate.

#![expect(clippy::unwrap_used, reason = "what a test cannot go on without may as well end it")]

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use common::mtls::{Credentials, Files};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType, IsCa, Issuer,
    KeyIdMethod, KeyPair, KeyUsagePurpose, PublicKeyData, RevokedCertParams, SanType, SerialNumber,
    date_time_ymd,
};
use tempfile::TempDir;

pub struct Ca {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
    issued: AtomicU64,
}

/// Who has a certificate, and its files.
pub struct Holder {
    dir: TempDir,
    /// The serial number of the certificate.
    pub serial: u64,
}

/// Until when a certificate holds.
#[derive(Clone, Copy)]
pub enum Until {
    Year(i32),
    /// So many seconds from now.
    Soon(i64),
}

impl Ca {
    pub fn new(name: &str) -> Ca {
        let mut params = CertificateParams::new([]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Ca { issuer: Issuer::new(params, key), pem, issued: AtomicU64::new(1) }
    }

    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// Certificate, key and serial number of `gslb://CLUSTER/KIND/NAME`, or of whatever the URI says.
    pub fn certify(&self, uri: &str, until: Until) -> (String, String, u64) {
        let key = KeyPair::generate().unwrap();
        let (certificate, serial) = self.sign(uri, until, &key);
        (certificate, key.serialize_pem(), serial)
    }

    /// For whoever has the key to that public key.
    pub fn sign(&self, uri: &str, until: Until, key: &impl PublicKeyData) -> (String, u64) {
        let serial = self.issued.fetch_add(1, Relaxed);
        let mut params = CertificateParams::new([]).unwrap();
        let name = uri.rsplit('/').next().unwrap();
        params.subject_alt_names =
            vec![SanType::URI(uri.try_into().unwrap()), SanType::DnsName(name.try_into().unwrap())];
        params.serial_number = Some(SerialNumber::from(serial));
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = match until {
            Until::Year(year) => date_time_ymd(year, 1, 1),
            Until::Soon(seconds) => {
                let now = common::clock::unix_seconds() as i64;
                let begin = date_time_ymd(1970, 1, 1);
                begin + std::time::Duration::from_secs((now + seconds) as u64)
            }
        };
        (params.signed_by(key, &self.issuer).unwrap().pem(), serial)
    }

    /// Files of a new holder, in a folder of their own.
    pub fn issue(&self, uri: &str) -> Holder {
        self.issue_until(uri, Until::Year(2090))
    }

    pub fn issue_until(&self, uri: &str, until: Until) -> Holder {
        let (certificate, key, serial) = self.certify(uri, until);
        let holder = Holder { dir: tempfile::tempdir().unwrap(), serial };
        holder.write("ca.pem", &self.pem);
        holder.write("own.pem", &certificate);
        holder.write("own.key", &key);
        holder.write("crl.pem", &self.revoke(&[]));
        holder
    }

    /// A list of all that are revoked.
    pub fn revoke(&self, serials: &[u64]) -> String {
        let revoked_certs = serials.iter().map(|serial| RevokedCertParams {
            serial_number: SerialNumber::from(*serial),
            revocation_time: date_time_ymd(2021, 1, 1),
            reason_code: None,
            invalidity_date: None,
        });
        let list = CertificateRevocationListParams {
            this_update: date_time_ymd(2021, 1, 1),
            next_update: date_time_ymd(2090, 1, 1),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: revoked_certs.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        list.signed_by(&self.issuer).unwrap().pem().unwrap()
    }
}

impl Holder {
    pub fn path(&self, file: &str) -> PathBuf {
        self.dir.path().join(file)
    }

    /// Beside, then renamed, as whoever renews certificates does it.
    pub fn write(&self, file: &str, text: &str) {
        fs::write(self.path("new"), text).unwrap();
        fs::rename(self.path("new"), self.path(file)).unwrap();
    }

    pub fn files(&self) -> Files {
        let [ca, certificate, key, crl] =
            ["ca.pem", "own.pem", "own.key", "crl.pem"].map(|file| self.path(file));
        Files { ca, certificate, key, crl: Some(crl) }
    }

    /// `[control]` of a node whose files these are.
    pub fn control(&self, listen: SocketAddr) -> String {
        let Files { ca, certificate, key, crl } = self.files();
        let crl = crl.expect("every holder has a list");
        format!(
            "\n[control]\nlisten = \"{listen}\"\nca = {ca:?}\ncertificate = {certificate:?}\nkey = {key:?}\n\
             crl = {crl:?}\n"
        )
    }

    pub fn credentials(&self) -> Credentials {
        Credentials::read(&self.files()).unwrap()
    }
}
