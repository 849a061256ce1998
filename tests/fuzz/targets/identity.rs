//! `identity`: who a peer's certificate says its holder is, and what operators may put where a certificate, a key or
//! a request to renew it is expected.
//!
//! Input: a letter that says which, then its octets; a certificate is one of ours with some octets changed, so that
//! most of it can be read.

#![no_main]

use std::sync::LazyLock;

use common::identity::{Identity, certificates};
use common::mtls::{HolderError, principal_of};
use common::principal::{Kind, LONGEST_NAME, Principal};
use common::renewal::Asked;
use common::validity::Validity;
use libfuzzer_sys::fuzz_target;
use rustls_pki_types::CertificateDer;

const CERTIFICATE: &str = include_str!("../seeds/identity/pem");

static OURS: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let all = certificates(CERTIFICATE.as_bytes()).expect("a certificate of ours");
    all[0].to_vec()
});

fuzz_target!(|octets: &[u8]| {
    let Some((which, rest)) = octets.split_first() else { return };
    match which {
        b'u' => drop(std::str::from_utf8(rest).map(uri)),
        b'd' => certificate(rest),
        b'c' => certificate(&changed(rest)),
        b'r' => {
            if let Ok(asked) = Asked::read(rest) {
                sound(&asked.principal);
                assert_eq!(principal_of(&asked.shown), Ok(asked.principal));
            }
        }
        _ => {
            let middle = rest.iter().position(|octet| *octet == 0).unwrap_or(rest.len());
            let (chain, key) = rest.split_at(middle);
            if let Ok(identity) = Identity::of(chain, key) {
                assert!(!identity.key().cert.is_empty());
            }
        }
    }
});

fn uri(text: &str) {
    if let Ok(principal) = text.parse::<Principal>() {
        sound(&principal);
        assert_eq!(principal.to_string(), text, "one spelling for each");
    }
}

fn certificate(der: &[u8]) {
    let _ = Validity::of(der);
    match principal_of(&CertificateDer::from(der)) {
        Ok(principal) => {
            sound(&principal);
            let uri = principal.to_string();
            assert!(der.windows(uri.len()).any(|window| window == uri.as_bytes()), "it says so");
        }
        Err(error) => {
            assert!(!error.to_string().is_empty());
            if let HolderError::Several(one, other) = error {
                assert!(!one.is_empty() && !other.is_empty());
            }
        }
    }
}

/// What nobody need escape, in logs or files.
fn sound(principal: &Principal) {
    let Principal { cluster, kind, name } = principal;
    for word in [cluster, name] {
        assert!((1..=LONGEST_NAME).contains(&word.len()), "{word:?}");
        assert!(
            word.bytes().all(|octet| octet.is_ascii_graphic() && !b"/\\\"'%:".contains(&octet))
        );
        assert!(
            !word.starts_with(['.', '-']) && !word.bytes().any(|octet| octet.is_ascii_uppercase())
        );
    }
    assert!(Kind::ALL.contains(kind));
}

/// Ours with octets in the place of others: two octets say where, the third is what.
fn changed(changes: &[u8]) -> Vec<u8> {
    let mut der = OURS.clone();
    for change in changes.chunks_exact(3) {
        let place = usize::from(u16::from_be_bytes([change[0], change[1]])) % der.len();
        der[place] = change[2];
    }
    der
}
