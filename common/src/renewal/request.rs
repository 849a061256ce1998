//! What a daemon asks of its CA: a certificate like the one it has, for a new key. Pure.
//!
//! A signing request (PKCS #10, RFC 2986) with the new key, vouched for by a signature with the old one, and the old
//! certificate. So whoever carries it, and whoever parks it, can keep it back and nothing else: the CA believes the old
//! key, not the name server that brings the request.

use data_encoding::BASE64;
use rcgen::{CertificateParams, DistinguishedName, KeyPair, PublicKeyData, SanType};
use rustls::SignatureScheme;
use rustls::pki_types::{CertificateDer, alg_id};
use rustls::sign::CertifiedKey;
use serde::{Deserialize, Serialize};
use webpki::EndEntityCert;
use webpki::aws_lc_rs::ECDSA_P256_SHA256;

use crate::der::{BIT_STRING, SEQUENCE, element, expect};
use crate::identity::provider;
use crate::mtls::{HolderError, principal_of};
use crate::principal::{Principal, PrincipalError};

/// Octets of a request as it travels: an RSA certificate of 4096 bits, as others issue them, has some 3 KiB.
pub const LONGEST_REQUEST: usize = 8 << 10;
/// Of an answer: a leaf and what leads to the CA.
pub const LONGEST_ANSWER: usize = 16 << 10;
const VERSION: u32 = 1;
/// What the old key signs begins with it, so that it is nothing else that a key of TLS ever signs.
const CONTEXT: &[u8] = b"gslb renewal request, version 1\0";

/// A request that is whole, and vouched for by whoever holds the old certificate's key. Whether that certificate is
/// still believed, the one who reads it knows.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Asked {
    pub principal: Principal,
    pub key: PublicKey,
    /// The old certificate.
    pub shown: CertificateDer<'static>,
}

/// Of ECDSA on P-256: an uncompressed point (SEC 1 §2.3.3).
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct PublicKey([u8; 65]);

#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum RequestError {
    #[error("the request has more than {LONGEST_REQUEST} octets")]
    TooLarge,
    #[error("the request cannot be read: {0}")]
    Unreadable(String),
    #[error(
        "the request is of version {0}, expected {VERSION}: this side is older or newer than the other"
    )]
    Version(u32),
    #[error("the signing request is not PKCS #10 for a key of ECDSA on P-256, signed with SHA-256")]
    Form,
    #[error("the signing request asks for more or less than one URI as subject alternative name")]
    Names,
    #[error("the signing request asks for {0}")]
    Principal(#[from] PrincipalError),
    #[error("the signing request is not signed with its own key")]
    Unproven,
    #[error("the old certificate {0}")]
    Holder(#[from] HolderError),
    #[error("the signing request asks for {asked}, and the old certificate is of {shown}")]
    Another { asked: Principal, shown: Principal },
    #[error("the old certificate's key has not signed this request")]
    Unvouched,
    #[error("the old key can sign nothing: {0}")]
    Unable(String),
}

#[derive(Deserialize, Serialize)]
struct Wire {
    v: u32,
    request: String,
    certificate: String,
    signature: String,
}

impl Asked {
    /// As it travelled.
    pub fn read(octets: &[u8]) -> Result<Asked, RequestError> {
        if octets.len() > LONGEST_REQUEST {
            return Err(RequestError::TooLarge);
        }
        let unreadable = |error: &dyn ToString| RequestError::Unreadable(error.to_string());
        let wire: Wire = serde_json::from_slice(octets).map_err(|error| unreadable(&error))?;
        let Wire { v, request, certificate, signature } = wire;
        if v != VERSION {
            return Err(RequestError::Version(v));
        }
        let octets =
            |text: String| BASE64.decode(text.as_bytes()).map_err(|error| unreadable(&error));
        let [request, certificate, signature] =
            [octets(request)?, octets(certificate)?, octets(signature)?];
        let (principal, key) = wanted(&request)?;
        let shown = CertificateDer::from(certificate);
        let holder = principal_of(&shown)?;
        if holder != principal {
            return Err(RequestError::Another { asked: principal, shown: holder });
        }
        let old = EndEntityCert::try_from(&shown).map_err(HolderError::Unreadable)?;
        let message = [CONTEXT, &request].concat();
        let known = provider().signature_verification_algorithms.all;
        if !known.iter().any(|known| old.verify_signature(*known, &message, &signature).is_ok()) {
            return Err(RequestError::Unvouched);
        }
        Ok(Asked { principal, key, shown })
    }
}

/// What travels: for that new key, vouched for by the identity that is still shown.
pub fn write(
    principal: &Principal,
    key: &KeyPair,
    old: &CertifiedKey,
) -> Result<Vec<u8>, RequestError> {
    let unable = |error: &dyn ToString| RequestError::Unable(error.to_string());
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    let uri = principal.to_string().try_into().map_err(|error: rcgen::Error| unable(&error))?;
    params.subject_alt_names = vec![SanType::URI(uri)];
    let request = params.serialize_request(key).map_err(|error| unable(&error))?;
    let schemes: Vec<SignatureScheme> =
        provider().signature_verification_algorithms.supported_schemes();
    let signer = old.key.choose_scheme(&schemes).ok_or_else(|| unable(&"its kind is not known"))?;
    let signature =
        signer.sign(&[CONTEXT, request.der()].concat()).map_err(|error| unable(&error))?;
    let certificate = old.cert.first().ok_or_else(|| unable(&"it has no certificate"))?;
    let wire = Wire {
        v: VERSION,
        request: BASE64.encode(request.der()),
        certificate: BASE64.encode(certificate),
        signature: BASE64.encode(&signature),
    };
    serde_json::to_vec(&wire).map_err(|error| unable(&error))
}

impl PublicKey {
    /// Of a certificate; `None` if its key is of another kind.
    pub fn of(certificate: &CertificateDer<'_>) -> Option<PublicKey> {
        let certificate = EndEntityCert::try_from(certificate).ok()?;
        let info = certificate.subject_public_key_info();
        let (info, _) = expect(SEQUENCE, &info)?;
        PublicKey::read(info)
    }

    /// The inside of a SubjectPublicKeyInfo (RFC 5280 §4.1.2.7).
    fn read(info: &[u8]) -> Option<PublicKey> {
        let (algorithm, rest) = expect(SEQUENCE, info)?;
        let (bits, _) = expect(BIT_STRING, rest)?;
        let point = bits.strip_prefix(&[0])?;
        let is_ours = algorithm == alg_id::ECDSA_P256.as_ref() && point.first() == Some(&4);
        if is_ours { Some(PublicKey(point.try_into().ok()?)) } else { None }
    }
}

impl PublicKeyData for PublicKey {
    fn der_bytes(&self) -> &[u8] {
        &self.0
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        &rcgen::PKCS_ECDSA_P256_SHA256
    }
}

/// Who a signing request is for, and with which key.
pub(super) fn wanted(request: &[u8]) -> Result<(Principal, PublicKey), RequestError> {
    let (info, message, signature) = parts(request).ok_or(RequestError::Form)?;
    let (key, attributes) = key_and_attributes(info).ok_or(RequestError::Form)?;
    // It also refuses points that are on no curve.
    let good = rustls::pki_types::SignatureVerificationAlgorithm::verify_signature(
        ECDSA_P256_SHA256,
        &key.0,
        message,
        signature,
    );
    good.map_err(|_| RequestError::Unproven)?;
    let uri = uri(attributes).ok_or(RequestError::Names)?;
    Ok((uri.parse()?, key))
}

/// What is asked, the octets that are signed, and the signature (RFC 2986 §4.2).
fn parts(request: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let (whole, behind) = expect(SEQUENCE, request)?;
    let (info, rest) = expect(SEQUENCE, whole)?;
    let message = &whole[..whole.len() - rest.len()];
    let (algorithm, rest) = expect(SEQUENCE, rest)?;
    let (bits, end) = expect(BIT_STRING, rest)?;
    let signature = bits.strip_prefix(&[0])?;
    let is_whole = behind.is_empty() && end.is_empty();
    (is_whole && algorithm == alg_id::ECDSA_SHA256.as_ref()).then_some((info, message, signature))
}

fn key_and_attributes(info: &[u8]) -> Option<(PublicKey, &[u8])> {
    const VERSION: u8 = 0x02;
    const ATTRIBUTES: u8 = 0xa0;
    let (_, rest) = expect(VERSION, info)?;
    let (_subject, rest) = expect(SEQUENCE, rest)?;
    let (key, rest) = expect(SEQUENCE, rest)?;
    let (attributes, end) = expect(ATTRIBUTES, rest)?;
    if end.is_empty() { Some((PublicKey::read(key)?, attributes)) } else { None }
}

/// The one URI that is asked for, if nothing else is.
fn uri(attributes: &[u8]) -> Option<&str> {
    const OBJECT: u8 = 0x06;
    const OCTETS: u8 = 0x04;
    const SET: u8 = 0x31;
    const URI: u8 = 0x86;
    /// PKCS #9 extensionRequest (RFC 2985 §5.4.2).
    const EXTENSIONS: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x0e];
    const ALTERNATIVE_NAMES: &[u8] = &[0x55, 0x1d, 0x11];
    let only = |tag, der| expect(tag, der).filter(|(_, rest)| rest.is_empty());
    let (attribute, _) = only(SEQUENCE, attributes)?;
    let (name, values) = expect(OBJECT, attribute)?;
    let (values, _) = only(SET, values)?;
    let (extensions, _) = only(SEQUENCE, values)?;
    let (extension, _) = only(SEQUENCE, extensions)?;
    let (extension_name, value) = expect(OBJECT, extension)?;
    // Critical where there is no other subject: BOOLEAN, left out for false.
    const BOOLEAN: u8 = 0x01;
    let value = match element(value)? {
        (BOOLEAN, _, rest) => rest,
        _ => value,
    };
    let (value, _) = only(OCTETS, value)?;
    let (names, _) = only(SEQUENCE, value)?;
    let (uri, _) = only(URI, names)?;
    let is_asked = name == EXTENSIONS && extension_name == ALTERNATIVE_NAMES;
    is_asked.then(|| std::str::from_utf8(uri).ok()).flatten()
}
