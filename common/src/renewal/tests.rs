//! A daemon that asks, and what it takes for an answer.

use std::fs;

use data_encoding::BASE64;
use proptest::prelude::*;
use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P384_SHA384, SanType};
use serde_json::{Value, json};

use super::request::wanted;
use super::*;
use crate::durable;
use crate::mtls::tests::{Ca, DNS, Folder, Leaf, PROBE};
use crate::mtls::{Credentials, Kept};
use crate::principal::Principal;

const DAY: i64 = 86_400;

#[test]
fn a_third_before_its_end_a_certificate_is_renewed_and_a_week_before_somebody_looks() {
    let check = |days: i64, left: i64, expected| {
        let validity = Validity { not_before: 0, not_after: days * DAY };
        let now = days * DAY - left;
        assert_eq!(Stage::of(validity, now), expected, "{days} days, {left} s left");
    };
    check(30, 30 * DAY, Stage::Early);
    check(30, 10 * DAY + 1, Stage::Early);
    check(30, 10 * DAY, Stage::Due);
    check(30, 7 * DAY, Stage::Due);
    check(30, 7 * DAY - 1, Stage::Alarm);
    check(30, -1, Stage::Alarm);
    check(90, 30 * DAY, Stage::Due);
    check(90, 7 * DAY, Stage::Due);
    check(90, 7 * DAY - 1, Stage::Alarm);
    // Shorter ones have less.
    check(3, DAY + 1, Stage::Early);
    check(3, DAY, Stage::Due);
    check(3, DAY * 7 / 10 - 1, Stage::Alarm);
}

fn credentials(ca: &Ca, leaf: &Leaf<'_>) -> (Folder, Credentials) {
    let folder = Folder::new(&ca.pem, ca.issue(leaf), &ca.revoke(&[], 2090));
    let credentials = folder.read();
    (folder, credentials)
}

fn written(principal: &Principal, key: &KeyPair, credentials: &Credentials) -> Value {
    let octets = write(principal, key, &credentials.identity().key()).unwrap();
    serde_json::from_slice(&octets).unwrap()
}

fn told(request: &Value) -> String {
    match Asked::read(request.to_string().as_bytes()) {
        Ok(asked) => asked.principal.to_string(),
        Err(error) => error.to_string(),
    }
}

#[test]
fn a_request_is_vouched_for_by_the_old_key() {
    let ca = Ca::new("ca");
    let (_ams, old) = credentials(&ca, &PROBE);
    let (_dns1, other) = credentials(&ca, &DNS);
    // One who has had the same certificate's name, and not its key.
    let (_, forged) = credentials(&ca, &PROBE);
    let key = KeyPair::generate().unwrap();
    let good = written(old.principal(), &key, &old);
    assert_eq!(told(&good), "gslb://test/probe/ams");
    let asked = Asked::read(good.to_string().as_bytes()).unwrap();
    assert_eq!(rcgen::PublicKeyData::der_bytes(&asked.key), key.public_key_raw());
    assert_eq!(asked.shown, old.identity().key().cert[0]);

    let with = |field: &str, from: &Value| {
        let mut request = good.clone();
        request[field] = from[field].clone();
        request
    };
    let check = |request: &Value, expected: &str| {
        let told = told(request);
        assert!(told.contains(expected), "{told}\nexpected {expected}");
    };
    // What a name server could do to it on its way.
    let another = written(old.principal(), &KeyPair::generate().unwrap(), &old);
    check(&with("request", &another), "the old certificate's key has not signed this request");
    check(&with("signature", &another), "the old certificate's key has not signed this request");
    let by_forger = written(old.principal(), &key, &forged);
    check(&with("certificate", &by_forger), "the old certificate's key has not signed");
    check(&with("certificate", &written(other.principal(), &key, &other)), "is of gslb://test/dns");
    check(
        &written(other.principal(), &key, &old),
        "the old certificate is of gslb://test/probe/ams",
    );
    check(&with("v", &json!({ "v": 2 })), "is of version 2, expected 1");
    check(&with("request", &json!({})), "cannot be read");
    check(&with("request", &json!({ "request": "!" })), "cannot be read");
    check(&json!([]), "cannot be read");
    // What later versions may add is passed over.
    let mut more = good.clone();
    more["more"] = json!(1);
    check(&more, "gslb://test/probe/ams");

    let padded = |octets: usize| {
        let text = good.to_string();
        text.clone() + &" ".repeat(octets - text.len())
    };
    assert!(Asked::read(padded(LONGEST_REQUEST).as_bytes()).is_ok());
    let error = Asked::read(padded(LONGEST_REQUEST + 1).as_bytes()).unwrap_err();
    assert_eq!(error, RequestError::TooLarge);
}

/// A signing request for these names.
fn signing_request(names: &[SanType], key: &KeyPair) -> Vec<u8> {
    let mut params = CertificateParams::default();
    params.subject_alt_names = names.to_vec();
    params.serialize_request(key).unwrap().der().to_vec()
}

fn uri(uri: &str) -> SanType {
    SanType::URI(uri.try_into().unwrap())
}

#[test]
fn a_signing_request_asks_for_one_principal_and_proves_its_key() {
    let key = KeyPair::generate().unwrap();
    let good = signing_request(&[uri("gslb://test/probe/ams")], &key);
    let (principal, public) = wanted(&good).unwrap();
    assert_eq!(principal.to_string(), "gslb://test/probe/ams");
    assert_eq!(rcgen::PublicKeyData::der_bytes(&public), key.public_key_raw());
    let refused = |names: &[SanType]| wanted(&signing_request(names, &key)).unwrap_err();
    assert_eq!(refused(&[]), RequestError::Names);
    let name = SanType::DnsName("dns1".try_into().unwrap());
    assert_eq!(refused(&[uri("gslb://test/dns/dns1"), name.clone()]), RequestError::Names);
    assert_eq!(refused(&[name]), RequestError::Names);
    assert_eq!(refused(&[uri("gslb://t/dns/a"), uri("gslb://t/dns/b")]), RequestError::Names);
    assert!(matches!(refused(&[uri("spiffe://t/a")]), RequestError::Principal(_)));
    let p384 = KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).unwrap();
    let of_p384 = signing_request(&[uri("gslb://test/probe/ams")], &p384);
    assert_eq!(wanted(&of_p384).unwrap_err(), RequestError::Form);
    // Wherever an octet is another, it is refused, and by its signature if not before.
    for at in 0..good.len() {
        let mut slipped = good.clone();
        slipped[at] ^= 1;
        assert!(wanted(&slipped).is_err(), "{at}");
        assert!(wanted(&good[..at]).is_err(), "{at}");
    }
    assert_eq!(wanted(&[&good[..], &[0]].concat()).unwrap_err(), RequestError::Form);
}

proptest! {
    #[test]
    fn no_octets_are_a_panic(octets in prop::collection::vec(any::<u8>(), 0..256)) {
        let _ = wanted(&octets);
        let _ = Asked::read(&octets);
    }

    #[test]
    fn no_parts_are_a_panic(request: Vec<u8>, certificate: Vec<u8>, signature: Vec<u8>) {
        let [request, certificate, signature] =
            [request, certificate, signature].map(|octets| BASE64.encode(&octets));
        let wire = json!({ "v": 1, "request": request, "certificate": certificate, "signature": signature });
        prop_assert!(Asked::read(wire.to_string().as_bytes()).is_err());
    }
}

/// The CA's answer to a request, as PEM.
fn answer(ca: &Ca, leaf: &Leaf<'_>, request: &[u8]) -> String {
    ca.certify(leaf, &Asked::read(request).unwrap().key)
}

const NEXT: Leaf<'static> = Leaf { until: 2091, serial: 99, ..PROBE };

#[test]
fn a_daemon_takes_its_next_certificate_and_nothing_else() {
    let (ca, other) = (Ca::new("ca"), Ca::new("other"));
    let (folder, credentials) = credentials(&ca, &PROBE);
    let files = folder.files();
    let kept = Kept::read(files.clone()).unwrap();
    let renewing = Renewing::of(&files);
    let request = renewing.request(&credentials).unwrap();
    let before = (fs::read(&files.certificate).unwrap(), fs::read(&files.key).unwrap());

    let check = |answer: &str, expected: &str| {
        let told = renewing.take(&credentials, answer.as_bytes()).unwrap_err().to_string();
        assert!(told.contains(expected), "{told}\nexpected {expected}");
        let after = (fs::read(&files.certificate).unwrap(), fs::read(&files.key).unwrap());
        assert_eq!(after, before);
        assert!(!folder.0.path().join("own.pem.next").exists());
    };
    check("", "holds no certificate");
    check(&answer(&other, &NEXT, &request), "is not of the CA");
    check(&ca.issue(&NEXT).0, "is not the key of the certificate");
    let another = Leaf { uris: &["gslb://test/probe/fra"], ..NEXT };
    check(&answer(&ca, &another, &request), "is of gslb://test/probe/fra, not ours");
    check(&answer(&ca, &PROBE, &request), "ends no later than the one that we have");
    folder.write("crl.pem", &ca.revoke(&[NEXT.serial], 2090));
    check(&answer(&ca, &NEXT, &request), "is revoked already");
    folder.write("crl.pem", &ca.revoke(&[], 2090));
    let good = answer(&ca, &NEXT, &request);
    let padded = |octets: usize| good.clone() + &"\n".repeat(octets - good.len());
    check(&padded(LONGEST_ANSWER + 1), "has more than 16384 octets");

    renewing.take(&credentials, padded(LONGEST_ANSWER).as_bytes()).unwrap();
    assert_eq!(kept.reread(), Some(Ok(())));
    assert!(kept.current().not_after() > credentials.not_after());
    assert_eq!(fs::read_dir(folder.0.path()).unwrap().count(), 4);
    // The next time it is another key.
    let again = renewing.request(&kept.current()).unwrap();
    assert_ne!(Asked::read(&again).unwrap().key, Asked::read(&request).unwrap().key);
}

#[test]
fn who_asks_again_asks_with_the_same_key_also_after_a_restart() {
    let (folder, credentials) = credentials(&Ca::new("ca"), &PROBE);
    let key = || {
        let renewing = Renewing::of(&folder.files());
        Asked::read(&renewing.request(&credentials).unwrap()).unwrap().key
    };
    let first = key();
    assert_eq!(key(), first);
    let next = folder.0.path().join("own.key.next");
    let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&next).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    // What is no key is made anew.
    fs::write(&next, "-----BEGIN PRIVATE KEY-----\n").unwrap();
    assert_ne!(key(), first);
}

#[test]
fn a_renewal_cut_in_two_is_brought_to_its_end() {
    let ca = Ca::new("ca");
    let (folder, credentials) = credentials(&ca, &PROBE);
    let files = folder.files();
    let renewing = Renewing::of(&files);
    let request = renewing.request(&credentials).unwrap();
    let good = answer(&ca, &NEXT, &request);
    let [next_certificate, next_key] =
        ["own.pem.next", "own.key.next"].map(|file| folder.0.path().join(file));

    // Before the key was changed: as if nothing had come, and it can come again.
    fs::write(&next_certificate, &good).unwrap();
    renewing.settle().unwrap();
    assert!(!next_certificate.exists() && next_key.exists());
    assert_eq!(folder.read().not_after(), credentials.not_after());

    // Between key and certificate: the pair is whole once it is opened again.
    fs::write(&next_certificate, &good).unwrap();
    durable::rename(&next_key, &files.key).unwrap();
    // It can be used all the same.
    let cut = Credentials::read(&files).unwrap();
    assert!(cut.not_after() > credentials.not_after());
    renewing.settle().unwrap();
    assert!(folder.read().not_after() > credentials.not_after());
    assert!(!next_certificate.exists());
    renewing.settle().unwrap();
    assert!(folder.read().not_after() > credentials.not_after());
}
