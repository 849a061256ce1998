//! A certificate made for a test, and clients that believe it.

use std::sync::Arc;

use common::identity::Identity;
use gslb_dns::tls::Shown;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};

pub const NAME: &str = "dns1.example.com";

pub struct Credentials {
    certificate: CertificateDer<'static>,
    identity: (String, String),
}

impl Credentials {
    pub fn make() -> Credentials {
        let CertifiedKey { cert, signing_key } =
            generate_simple_self_signed([NAME.to_owned()]).unwrap();
        let identity = (cert.pem(), signing_key.serialize_pem());
        Credentials { certificate: cert.der().clone(), identity }
    }

    pub fn identity(&self) -> Identity {
        let (certificate, key) = &self.identity;
        Identity::of(certificate.as_bytes(), key.as_bytes()).unwrap()
    }

    pub fn shown(&self) -> Arc<Shown> {
        Shown::new(self.identity())
    }

    /// A client that believes this certificate and no other.
    pub fn client(
        &self,
        version: &'static SupportedProtocolVersion,
        alpn: &[&[u8]],
    ) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.clone()).unwrap();
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
        config
    }
}
