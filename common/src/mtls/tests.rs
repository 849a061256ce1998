//! Credentials of a CA made for the test, good and bad, and handshakes between them.

use std::fs;
use std::io::{Read as _, Write as _};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, PublicKeyData,
    RevokedCertParams, SanType, SerialNumber, date_time_ymd,
};
use rustls::client::ClientSessionMemoryCache;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConnection, HandshakeKind, ServerConnection};
use tempfile::TempDir;

use super::*;

pub(crate) struct Ca {
    pub(crate) issuer: Issuer<'static, KeyPair>,
    pub(crate) pem: String,
}

/// What a leaf is made of.
#[derive(Clone, Copy)]
pub(crate) struct Leaf<'a> {
    pub(crate) uris: &'a [&'a str],
    pub(crate) dns: &'a [&'a str],
    pub(crate) serial: u64,
    pub(crate) usages: &'a [ExtendedKeyUsagePurpose],
    pub(crate) from: i32,
    pub(crate) until: i32,
}

pub(crate) const PROBE: Leaf<'static> = Leaf {
    uris: &["gslb://test/probe/ams"],
    dns: &[],
    serial: 7,
    usages: &[],
    from: 2020,
    until: 2090,
};
pub(crate) const DNS: Leaf<'static> =
    Leaf { uris: &["gslb://test/dns/dns1"], dns: &["dns1"], serial: 8, ..PROBE };
/// 2026-11-21.
pub(crate) const NOW: i64 = 1_795_219_200;

impl Ca {
    pub(crate) fn new(name: &str) -> Ca {
        let mut params = CertificateParams::new([]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Ca { issuer: Issuer::new(params, key), pem }
    }

    fn params(leaf: &Leaf<'_>) -> CertificateParams {
        let mut params = CertificateParams::new([]).unwrap();
        let uris = leaf.uris.iter().map(|uri| SanType::URI((*uri).try_into().unwrap()));
        let dns = leaf.dns.iter().map(|name| SanType::DnsName((*name).try_into().unwrap()));
        params.subject_alt_names = uris.chain(dns).collect();
        params.serial_number = Some(SerialNumber::from(leaf.serial));
        params.extended_key_usages = leaf.usages.to_vec();
        params.not_before = date_time_ymd(leaf.from, 1, 1);
        params.not_after = date_time_ymd(leaf.until, 1, 1);
        params
    }

    /// Certificate and key.
    pub(crate) fn issue(&self, leaf: &Leaf<'_>) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        (self.certify(leaf, &key), key.serialize_pem())
    }

    /// For whoever has the key to that public key.
    pub(crate) fn certify(&self, leaf: &Leaf<'_>, key: &impl PublicKeyData) -> String {
        Ca::params(leaf).signed_by(key, &self.issuer).unwrap().pem()
    }

    pub(crate) fn revoke(&self, serials: &[u64], next_update: i32) -> String {
        let revoked_certs = serials.iter().map(|serial| RevokedCertParams {
            serial_number: SerialNumber::from(*serial),
            revocation_time: date_time_ymd(2021, 1, 1),
            reason_code: None,
            invalidity_date: None,
        });
        let list = CertificateRevocationListParams {
            this_update: date_time_ymd(2021, 1, 1),
            next_update: date_time_ymd(next_update, 1, 1),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: revoked_certs.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        list.signed_by(&self.issuer).unwrap().pem().unwrap()
    }
}

/// A folder with files of credentials.
pub(crate) struct Folder(pub(crate) TempDir);

impl Folder {
    pub(crate) fn new(ca: &str, (certificate, key): (String, String), crl: &str) -> Folder {
        let folder = Folder(tempfile::tempdir().unwrap());
        for (file, text) in
            [("ca.pem", ca), ("own.pem", &certificate), ("own.key", &key), ("crl.pem", crl)]
        {
            folder.write(file, text);
        }
        folder
    }

    /// Beside, then renamed, as whoever renews certificates does it.
    pub(crate) fn write(&self, file: &str, text: &str) {
        let beside = self.0.path().join("new");
        fs::write(&beside, text).unwrap();
        fs::rename(beside, self.0.path().join(file)).unwrap();
    }

    pub(crate) fn files(&self) -> Files {
        let [ca, certificate, key, crl] =
            ["ca.pem", "own.pem", "own.key", "crl.pem"].map(|file| self.0.path().join(file));
        Files { ca, certificate, key, crl: Some(crl) }
    }

    pub(crate) fn read(&self) -> Credentials {
        Credentials::read(&self.files()).unwrap()
    }
}

fn certificate(pem: &str) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()
}

#[test]
fn a_certificate_says_who_its_holder_is() {
    let ca = Ca::new("ca");
    let check = |uris: &[&str], expected: &str| {
        let (pem, _) = ca.issue(&Leaf { uris, ..DNS });
        let told = match principal_of(&certificate(&pem)) {
            Ok(principal) => principal.to_string(),
            Err(error) => error.to_string(),
        };
        assert!(told.starts_with(expected), "{told}\nexpected {expected}");
    };
    check(&["gslb://test/probe/ams"], "gslb://test/probe/ams");
    // Other systems' identities may stand beside ours.
    check(&["spiffe://test/ams", "gslb://test/probe/ams"], "gslb://test/probe/ams");
    check(&[], "says not who its holder is: expected one URI");
    check(&["spiffe://test/ams"], "says not who its holder is: expected one URI");
    check(&["gslb://test/probe/ams", "gslb://test/probe/fra"], "says that its holder is gslb://");
    check(&["gslb://test/probe/ams", "gslb://test/probe/ams"], "says that its holder is gslb://");
    check(&["gslb://test/probe/ams", "GSLB://test/agent/ams"], "says that its holder is gslb://");
    check(&["GSLB://test/probe/ams"], "says not who its holder is: \"GSLB://");
    let none = principal_of(&CertificateDer::from(vec![0x30, 0]));
    assert!(matches!(none, Err(HolderError::Unreadable(_))), "{none:?}");
}

#[test]
fn what_cannot_be_used_is_told_with_its_file() {
    let (ca, other) = (Ca::new("ca"), Ca::new("other"));
    // Of our CA's name, and not it.
    let namesake = Ca::new("ca");
    let check_as = |roots: &str, leaf: (String, String), crl: &str, expected: &str| {
        let folder = Folder::new(roots, leaf, crl);
        let told = match Credentials::read(&folder.files()) {
            Ok(credentials) => credentials.principal().to_string(),
            Err(error) => {
                let file = error.file.strip_prefix(folder.0.path()).unwrap();
                format!("{} {}", file.display(), error.why)
            }
        };
        assert!(told.starts_with(expected), "{told}\nexpected {expected}");
    };
    let crl = ca.revoke(&[1], 2090);
    let check = |roots: &str, leaf: (String, String), expected: &str| {
        check_as(roots, leaf, &crl, expected);
    };
    let check_list = |crl: &str, expected: &str| check_as(&ca.pem, ca.issue(&PROBE), crl, expected);
    let both = ca.pem.clone() + &other.pem;
    let issued = |uris: &[&str]| ca.issue(&Leaf { uris, ..PROBE });

    check(&ca.pem, ca.issue(&PROBE), "gslb://test/probe/ams");
    check(&ca.pem, ca.issue(&DNS), "gslb://test/dns/dns1");
    check(&both, ca.issue(&PROBE), "gslb://test/probe/ams");

    check("", ca.issue(&PROBE), "ca.pem holds no certificate");
    check(&ca.pem[..99], ca.issue(&PROBE), "ca.pem is damaged");
    check(&ca.pem, (String::new(), ca.issue(&PROBE).1), "own.pem holds no certificate");
    check(&ca.pem, (ca.issue(&PROBE).0, String::new()), "own.key holds no private key");
    check(&ca.pem, (ca.issue(&PROBE).0, ca.issue(&PROBE).1), "own.key is not the key of");

    check(&ca.pem, other.issue(&PROBE), "own.pem is not of the CA in /");
    check(&ca.pem, namesake.issue(&PROBE), "own.pem is not of the CA in /");
    check(&ca.pem, issued(&[]), "own.pem says not who its holder is");
    check(&ca.pem, issued(&["gslb://test/probe/a", "gslb://test/agent/a"]), "own.pem says that");
    check(&ca.pem, ca.issue(&Leaf { dns: &["dns2"], ..DNS }), "own.pem is of gslb://test/dns/dns1");
    check(
        &ca.pem,
        ca.issue(&Leaf { dns: &[], ..DNS }),
        "own.pem is of gslb://test/dns/dns1, which",
    );
    let unfit = &[ExtendedKeyUsagePurpose::ServerAuth];
    check(&ca.pem, ca.issue(&Leaf { usages: unfit, ..DNS }), "own.pem may not be used for this");
    let fit = &[ExtendedKeyUsagePurpose::ClientAuth];
    check(&ca.pem, ca.issue(&Leaf { usages: fit, ..DNS }), "own.pem may not be used for");
    check(&ca.pem, ca.issue(&Leaf { usages: fit, ..PROBE }), "gslb://test/probe/ams");

    check_list("", "crl.pem holds no revocation list (");
    check_list(&crl[..99], "crl.pem is damaged");
    check_list(&other.revoke(&[1], 2090), "crl.pem holds a revocation list of another CA");
    check_list(&namesake.revoke(&[1], 2090), "crl.pem holds a revocation list that names our CA");
    check_list(&(crl.clone() + &crl), "crl.pem holds two revocation lists of one CA");
    let others = other.revoke(&[1], 2090);
    check_as(&both, ca.issue(&PROBE), &others, "crl.pem holds no revocation list of the CA that");
    check_as(&both, ca.issue(&PROBE), &(crl.clone() + &others), "gslb://test/probe/ams");

    let absent = Files {
        certificate: "/nowhere/own.pem".into(),
        ..Folder::new(&ca.pem, ca.issue(&PROBE), &crl).files()
    };
    let error = Credentials::read(&absent).unwrap_err();
    assert!(error.file.ends_with("own.pem") && error.why.starts_with("cannot be read"), "{error}");
}

#[test]
fn a_file_is_bounded() {
    let ca = Ca::new("ca");
    let most = LONGEST_FILE as usize;
    let padded = |text: &str, octets: usize| text.to_owned() + &"\n".repeat(octets - text.len());
    let crl = ca.revoke(&[], 2090);
    let folder = Folder::new(&padded(&ca.pem, most), ca.issue(&PROBE), &padded(&crl, most));
    folder.read();
    for (file, text) in [("crl.pem", &crl), ("ca.pem", &ca.pem)] {
        folder.write(file, &padded(text, most + 1));
        let error = Credentials::read(&folder.files()).unwrap_err();
        assert!(error.file.ends_with(file) && error.why.contains("larger than"), "{error}");
    }
}

#[test]
fn what_time_heals_or_breaks_is_a_doubt() {
    let ca = Ca::new("ca");
    let check = |leaf: &Leaf<'_>, revoked: &[u64], next_update, expected: &[Doubt]| {
        let folder = Folder::new(&ca.pem, ca.issue(leaf), &ca.revoke(revoked, next_update));
        assert_eq!(folder.read().doubts(NOW), expected);
    };
    check(&PROBE, &[], 2090, &[]);
    check(&Leaf { from: 2030, ..PROBE }, &[], 2090, &[Doubt::NotYet]);
    check(&Leaf { until: 2025, ..DNS }, &[], 2090, &[Doubt::Expired]);
    check(&PROBE, &[PROBE.serial], 2090, &[Doubt::Revoked]);
    check(&PROBE, &[DNS.serial], 2022, &[Doubt::ListOutOfDate]);
    let folder =
        Folder::new(&ca.pem, ca.issue(&Leaf { until: 2027, ..PROBE }), &ca.revoke(&[], 2027));
    let until = folder.read().not_after();
    assert_eq!(until, 1_798_761_600);
    let week = 7 * 86_400;
    assert_eq!(folder.read().doubts(until - week), []);
    assert_eq!(folder.read().doubts(until - week + 1), [Doubt::EndsSoon]);
    assert_eq!(folder.read().doubts(until), [Doubt::EndsSoon]);
    assert_eq!(folder.read().doubts(until + 1), [Doubt::Expired, Doubt::ListOutOfDate]);
}

#[test]
fn only_serial_numbers_of_the_list_are_revoked() {
    let (ca, other) = (Ca::new("ca"), Ca::new("other"));
    let folder = Folder::new(&ca.pem, ca.issue(&DNS), &ca.revoke(&[PROBE.serial], 2090));
    let credentials = folder.read();
    let check = |pem: &str, expected| {
        assert_eq!(credentials.is_revoked(&certificate(pem)), expected);
    };
    check(&ca.issue(&PROBE).0, true);
    check(&ca.issue(&DNS).0, false);
    // Serial numbers are an issuer's own.
    check(&other.issue(&PROBE).0, false);
    assert!(credentials.is_revoked(&CertificateDer::from(vec![0x30, 0])));
    let listless = Files { crl: None, ..folder.files() };
    let listless = Credentials::read(&listless).unwrap();
    assert!(!listless.is_revoked(&certificate(&ca.issue(&PROBE).0)));
}

/// What became of a handshake, and whether it was a whole one.
fn handshake(
    client: Arc<ClientConfig>,
    server: Arc<ServerConfig>,
) -> Result<(HandshakeKind, HandshakeKind), Error> {
    let mut client = ClientConnection::new(client, "dns1".try_into().unwrap())?;
    let mut server = ServerConnection::new(server)?;
    // Three flights, then what comes behind: tickets, were there any.
    for _ in 0..8 {
        let mut wire = vec![];
        while client.wants_write() {
            client.write_tls(&mut wire).unwrap();
        }
        let mut wire = wire.as_slice();
        while !wire.is_empty() {
            server.read_tls(&mut wire).unwrap();
            server.process_new_packets()?;
        }
        let mut wire = vec![];
        while server.wants_write() {
            server.write_tls(&mut wire).unwrap();
        }
        let mut wire = wire.as_slice();
        while !wire.is_empty() {
            client.read_tls(&mut wire).unwrap();
            client.process_new_packets()?;
        }
    }
    assert!(!client.is_handshaking() && !server.is_handshaking());
    client.writer().write_all(b"hello").unwrap();
    let mut wire = vec![];
    client.write_tls(&mut wire).unwrap();
    server.read_tls(&mut wire.as_slice()).unwrap();
    server.process_new_packets()?;
    let mut heard = [0; 5];
    server.reader().read_exact(&mut heard).unwrap();
    assert_eq!(&heard, b"hello");
    assert_eq!(server.alpn_protocol(), Some(ALPN));
    assert_eq!(server.protocol_version(), Some(rustls::ProtocolVersion::TLSv1_3));
    Ok((client.handshake_kind().unwrap(), server.handshake_kind().unwrap()))
}

#[test]
fn both_sides_show_who_they_are_and_are_believed() {
    let (ca, other) = (Ca::new("ca"), Ca::new("other"));
    let no_one = ca.revoke(&[], 2090);
    let of = |ca: &Ca, leaf: &Leaf<'_>, crl: &str| Folder::new(&ca.pem, ca.issue(leaf), crl).read();
    let check = |client: &Credentials, server: &Credentials, expected: &str| {
        let told = match handshake(client.client(), server.server()) {
            Ok(_) => "good".to_owned(),
            Err(error) => error.to_string(),
        };
        assert!(told.contains(expected), "{told}\nexpected {expected}");
    };
    let (probe, dns1) = (of(&ca, &PROBE, &no_one), of(&ca, &DNS, &no_one));
    let stranger = of(&other, &PROBE, &other.revoke(&[], 2090));
    let foreign = of(&other, &DNS, &other.revoke(&[], 2090));
    let named = Leaf { uris: &["gslb://test/dns/dns2"], dns: &["dns2"], ..DNS };
    let dns2 = of(&ca, &named, &no_one);
    check(&probe, &dns1, "good");
    check(&dns2, &dns1, "good");
    check(&stranger, &dns1, "UnknownIssuer");
    check(&probe, &foreign, "UnknownIssuer");
    check(&probe, &dns2, "not valid for name \"dns1\"");
    // Each side goes by its own list; one out of date is believed.
    for next_update in [2090, 2022] {
        let knowing = of(&ca, &DNS, &ca.revoke(&[PROBE.serial], next_update));
        check(&probe, &knowing, "Revoked");
        let knowing = of(&ca, &PROBE, &ca.revoke(&[DNS.serial], next_update));
        check(&knowing, &dns1, "Revoked");
    }
    // By the clock of the one who judges.
    check(&of(&ca, &Leaf { until: 2021, ..PROBE }, &no_one), &dns1, "expired");
    check(&probe, &of(&ca, &Leaf { until: 2021, ..DNS }, &no_one), "expired");
}

#[test]
fn who_shows_nothing_or_speaks_an_older_tls_is_refused() {
    let ca = Ca::new("ca");
    let server = Folder::new(&ca.pem, ca.issue(&DNS), &ca.revoke(&[], 2090)).read().server();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(certificate(&ca.pem)).unwrap();
    let client = |version| {
        ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(roots.clone())
            .with_no_client_auth()
    };
    let told = handshake(Arc::new(client(&TLS13)), Arc::clone(&server)).unwrap_err().to_string();
    assert!(told.contains("sent no certificates"), "{told}");
    let told =
        handshake(Arc::new(client(&rustls::version::TLS12)), server).unwrap_err().to_string();
    assert!(told.contains("Tls12NotOffered"), "{told}");
}

#[test]
fn a_revoked_client_does_not_come_back_by_resumption() {
    let ca = Ca::new("ca");
    let probe = Folder::new(&ca.pem, ca.issue(&PROBE), &ca.revoke(&[], 2090)).read();
    let folder = Folder::new(&ca.pem, ca.issue(&DNS), &ca.revoke(&[], 2090));
    let kept = Kept::read(folder.files()).unwrap();
    // A client that would resume, and send early data, if it were let.
    let mut eager = (*probe.client()).clone();
    let tickets = Arc::new(ClientSessionMemoryCache::new(8));
    eager.resumption = Resumption::store(tickets);
    eager.enable_early_data = true;
    let eager = Arc::new(eager);
    for _ in 0..2 {
        let kinds = handshake(Arc::clone(&eager), kept.current().server()).unwrap();
        assert_eq!(kinds, (HandshakeKind::Full, HandshakeKind::Full));
    }
    folder.write("crl.pem", &ca.revoke(&[PROBE.serial], 2090));
    assert_eq!(kept.reread(), Some(Ok(())));
    let told = handshake(eager, kept.current().server()).unwrap_err().to_string();
    assert!(told.contains("Revoked"), "{told}");
    // Nor do ours ask to resume where a server would let them.
    let mut lenient = (*kept.current().server()).clone();
    lenient.send_tls13_tickets = 2;
    lenient.ticketer = rustls::crypto::aws_lc_rs::Ticketer::new().unwrap();
    let (lenient, dns1) = (Arc::new(lenient), kept.current());
    for _ in 0..2 {
        let kinds = handshake(dns1.client(), Arc::clone(&lenient)).unwrap();
        assert_eq!(kinds, (HandshakeKind::Full, HandshakeKind::Full));
    }
}

#[test]
fn the_last_good_ones_are_kept() {
    let ca = Ca::new("ca");
    let folder = Folder::new(&ca.pem, ca.issue(&PROBE), &ca.revoke(&[], 2090));
    let kept = Kept::read(folder.files()).unwrap();
    assert_eq!(kept.reread(), None);

    // A certificate that comes before its key is no error yet.
    let (certificate, key) = ca.issue(&Leaf { until: 2091, ..PROBE });
    let before = kept.current().not_after();
    folder.write("own.pem", &certificate);
    assert_eq!(kept.reread(), None);
    folder.write("own.key", &key);
    assert_eq!(kept.reread(), Some(Ok(())));
    assert!(kept.current().not_after() > before);
    assert_eq!(kept.reread(), None);

    // What stays wrong is told, once, and the last good ones stay.
    let after = kept.current().not_after();
    folder.write("own.key", &ca.issue(&PROBE).1);
    assert_eq!(kept.reread(), None);
    let error = kept.reread().unwrap().unwrap_err();
    assert!(error.file.ends_with("own.key"), "{error}");
    assert_eq!(kept.reread(), None);
    assert_eq!(kept.current().not_after(), after);
    fs::remove_file(&folder.files().key).unwrap();
    assert_eq!(kept.reread(), None);
    assert!(kept.reread().unwrap().unwrap_err().to_string().contains("cannot be read"));
    folder.write("own.key", &key);
    assert_eq!(kept.reread(), Some(Ok(())));
    assert_eq!(kept.reread(), None);
}
