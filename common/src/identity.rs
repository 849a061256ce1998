//! A certificate chain and its key from two PEM files, judged before anybody is shown them; and the one provider
//! of cryptography.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use rustls::Error;
use rustls::InconsistentKeys::KeyMismatch;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

use crate::bounded;
use crate::validity::Validity;

/// Octets of a PEM file: a chain of four has some 8 KiB.
pub const LONGEST_FILE: u64 = 1 << 20;
/// The tag of an ASN.1 SEQUENCE, with which DER begins and PEM never does.
const DER: u8 = 0x30;

/// The one provider of cryptography, named wherever one is needed: nothing hangs on a global that somebody else
/// may install.
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

/// What can be shown to peers.
#[derive(Clone, Debug)]
pub struct Identity {
    key: Arc<CertifiedKey>,
    /// Of the daemon's own certificate.
    pub validity: Validity,
}

/// What is wrong, without the path: of which file it is.
#[derive(Debug, Eq, PartialEq)]
pub enum Fault {
    Certificate(String),
    Key(String),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Fault::Certificate(why) | Fault::Key(why)) = self;
        f.write_str(why)
    }
}

impl Identity {
    /// Reads both. An identity that has expired is still one: better shown than nothing.
    pub fn read(certificate: &Path, key: &Path) -> Result<Identity, Fault> {
        let cannot = |error| format!("cannot be read: {error}");
        let chain = bounded::read_file(certificate, LONGEST_FILE)
            .map_err(|error| Fault::Certificate(cannot(error)))?;
        let key =
            bounded::read_file(key, LONGEST_FILE).map_err(|error| Fault::Key(cannot(error)))?;
        Identity::of(&chain, &key)
    }

    /// Both as PEM.
    pub fn of(chain: &[u8], key: &[u8]) -> Result<Identity, Fault> {
        let chain = certificates(chain).map_err(Fault::Certificate)?;
        let key = private_key(key).map_err(Fault::Key)?;
        let validity = chain.first().and_then(|own| Validity::of(own)).ok_or_else(|| {
            Fault::Certificate("holds a certificate that says not until when it holds".to_owned())
        })?;
        let key = CertifiedKey::from_der(chain, key, &provider()).map_err(|error| match error {
            Error::InconsistentKeys(KeyMismatch) => Fault::Key(
                "is not the key of the certificate, or that is not the first of its file: put the \
                 daemon's own certificate before those that vouch for it"
                    .to_owned(),
            ),
            Error::InvalidCertificate(error) => {
                Fault::Certificate(format!("holds a certificate that cannot be read: {error:?}"))
            }
            other => Fault::Key(format!("is no key that we can sign with: {other}")),
        })?;
        Ok(Identity { key: Arc::new(key), validity })
    }

    /// The chain, the own certificate first, and what signs for it.
    pub fn key(&self) -> Arc<CertifiedKey> {
        Arc::clone(&self.key)
    }
}

/// All of a PEM file, in its order; at least one.
pub fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let chain: Vec<_> = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<_, _>>()
        .map_err(|error| format!("is damaged: {error}"))?;
    match (chain.is_empty(), pem.first()) {
        (false, _) => Ok(chain),
        (true, Some(&DER)) => {
            Err("is DER, expected PEM: convert it with openssl x509 -inform der".to_owned())
        }
        (true, _) => {
            Err("holds no certificate (expected PEM: -----BEGIN CERTIFICATE-----)".to_owned())
        }
    }
}

/// The first of a PEM file.
pub fn private_key(pem: &[u8]) -> Result<PrivateKeyDer<'static>, String> {
    use rustls::pki_types::pem::Error::NoItemsFound;
    let holds = |text: &str| pem.windows(text.len()).any(|window| window == text.as_bytes());
    if holds("ENCRYPTED") {
        return Err(
            "is encrypted, and nobody is there to give the pass phrase: decrypt it with openssl \
                    pkey and guard it by its permissions"
                .to_owned(),
        );
    }
    PrivateKeyDer::from_pem_slice(pem).map_err(|error| match (error, pem.first()) {
        (NoItemsFound, Some(&DER)) => {
            "is DER, expected PEM: convert it with openssl pkey -inform der".to_owned()
        }
        (NoItemsFound, _) => {
            "holds no private key (expected PEM: -----BEGIN PRIVATE KEY-----)".to_owned()
        }
        (damaged, _) => format!("is damaged: {damaged}"),
    })
}

#[cfg(test)]
mod tests {
    use rcgen::{CertifiedKey as Made, generate_simple_self_signed};

    use super::*;

    fn made() -> (String, String) {
        let Made { cert, signing_key } =
            generate_simple_self_signed(["dns1.example.com".to_owned()]).unwrap();
        (cert.pem(), signing_key.serialize_pem())
    }

    #[test]
    fn a_pair_is_told_from_what_is_none() {
        let (chain, key) = made();
        let (other_chain, other_key) = made();
        let check = |chain: &[u8], key: &[u8], expected: &str| {
            let told = match Identity::of(chain, key) {
                Ok(_) => "good".to_owned(),
                Err(Fault::Certificate(why)) => format!("certificate {why}"),
                Err(Fault::Key(why)) => format!("key {why}"),
            };
            assert!(told.starts_with(expected), "{told}\nexpected {expected}");
        };
        let der = CertificateDer::from_pem_slice(chain.as_bytes()).unwrap();
        let key_der = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
        check(chain.as_bytes(), key.as_bytes(), "good");
        check((chain.clone() + &other_chain).as_bytes(), key.as_bytes(), "good");
        check((other_chain + &chain).as_bytes(), key.as_bytes(), "key is not the key of");
        check(chain.as_bytes(), other_key.as_bytes(), "key is not the key of the certificate");
        check(b"", key.as_bytes(), "certificate holds no certificate");
        check(key.as_bytes(), key.as_bytes(), "certificate holds no certificate");
        check(&der, key.as_bytes(), "certificate is DER");
        check(chain.as_bytes(), b"", "key holds no private key");
        check(chain.as_bytes(), chain.as_bytes(), "key holds no private key");
        check(chain.as_bytes(), key_der.secret_der(), "key is DER");
        let encrypted = key.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY");
        check(chain.as_bytes(), encrypted.as_bytes(), "key is encrypted");
        let cut = &chain.as_bytes()[..chain.len() / 2];
        check(cut, key.as_bytes(), "certificate is damaged");
        check(chain.as_bytes(), &key.as_bytes()[..key.len() / 2], "key is damaged");
        // The frame is whole, what it holds is not.
        let broken = "-----BEGIN CERTIFICATE-----\nMAMCAQE=\n-----END CERTIFICATE-----\n";
        check(broken.as_bytes(), key.as_bytes(), "certificate holds a certificate that says not");
        let broken = "-----BEGIN PRIVATE KEY-----\nMAMCAQE=\n-----END PRIVATE KEY-----\n";
        check(chain.as_bytes(), broken.as_bytes(), "key is no key that we can sign with");
    }
}
