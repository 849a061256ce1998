//! A handshake, with the certificate really verified, and its end noted even where it is not good.

use std::fmt;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::{Failure, Notes, connect, failed, since};
use crate::authority::{Anyone, certificates_of_system};
use crate::bounded;
use crate::check::{Tls, Verify};
use crate::clock;
use crate::report::Reason;
use crate::validity::Validity;

/// Octets of a file of roots: Debian's has some 220 KiB.
const LARGEST_FILE: u64 = 4 << 20;

/// Whom to believe about servers.
#[derive(Clone)]
pub struct Roots {
    provider: Arc<CryptoProvider>,
    verifier: Arc<WebPkiServerVerifier>,
}

#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum RootsError {
    #[error("cannot be read: {0}")]
    Unreadable(String),
    #[error("holds no certificate (expected PEM: -----BEGIN CERTIFICATE-----)")]
    Empty,
    #[error("holds a certificate that cannot be a root: {0}")]
    Unfit(String),
}

impl Roots {
    /// Of PEM files.
    pub fn read<'p>(files: impl IntoIterator<Item = &'p Path>) -> Result<Roots, RootsError> {
        let mut certificates = Vec::new();
        for file in files {
            let pem = bounded::read_file(file, LARGEST_FILE)
                .map_err(|error| RootsError::Unreadable(error.to_string()))?;
            certificates.extend(Roots::certificates(&pem)?);
        }
        Roots::of(certificates)
    }

    /// Those that this system believes: Debian's `ca-certificates`, or the file in `SSL_CERT_FILE`.
    pub fn of_system() -> Result<Roots, RootsError> {
        Roots::of(certificates_of_system().map_err(RootsError::Unreadable)?)
    }

    fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, RootsError> {
        CertificateDer::pem_slice_iter(pem)
            .collect::<Result<_, _>>()
            .map_err(|error| RootsError::Unfit(error.to_string()))
    }

    pub fn of(certificates: Vec<CertificateDer<'static>>) -> Result<Roots, RootsError> {
        let mut store = RootCertStore::empty();
        for certificate in certificates {
            store.add(certificate).map_err(|error| RootsError::Unfit(error.to_string()))?;
        }
        if store.is_empty() {
            return Err(RootsError::Empty);
        }
        let provider = Arc::new(aws_lc_rs::default_provider());
        let verifier =
            WebPkiServerVerifier::builder_with_provider(Arc::new(store), Arc::clone(&provider))
                .build()
                .map_err(|error| RootsError::Unfit(error.to_string()))?;
        Ok(Roots { provider, verifier })
    }
}

impl fmt::Debug for Roots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Roots").finish_non_exhaustive()
    }
}

pub async fn look(
    at: SocketAddr,
    host: &str,
    check: &Tls,
    roots: &Roots,
    notes: &mut Notes,
) -> Result<(), Failure> {
    let stream = connect(at, notes).await?;
    shake_hands(stream, host, check, &[], roots, notes).await.map(drop)
}

/// Begins TLS on a connection.
pub async fn shake_hands(
    stream: TcpStream,
    host: &str,
    check: &Tls,
    alpn: &[&[u8]],
    roots: &Roots,
    notes: &mut Notes,
) -> Result<TlsStream<TcpStream>, Failure> {
    let name = ServerName::try_from(host.to_owned())
        .map_err(|_| Failure::new(Reason::Probe, format!("{host:?} is no server's name")))?;
    let inner: Arc<dyn ServerCertVerifier> = match check.verify {
        Verify::Full => Arc::clone(&roots.verifier) as _,
        Verify::Nothing => Arc::new(Anyone::default()),
    };
    let noting = Arc::new(Noting { inner, not_after: OnceLock::new() });
    let mut config = ClientConfig::builder_with_provider(Arc::clone(&roots.provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| Failure::new(Reason::Probe, error.to_string()))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::clone(&noting) as Arc<dyn ServerCertVerifier>)
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
    // A resumed session would show no certificate.
    config.resumption = Resumption::disabled();
    let began = clock::monotonic();
    let shaken = TlsConnector::from(Arc::new(config)).connect(name, stream).await;
    notes.not_after = noting.not_after.get().copied();
    let stream = shaken.map_err(|error| refused(&error))?;
    notes.phases.tls = since(began);
    Ok(stream)
}

fn refused(error: &std::io::Error) -> Failure {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(rustls::Error::InvalidCertificate(fault)) => {
            Failure::new(Reason::Certificate, format!("the server's certificate: {fault}"))
        }
        Some(fault) => Failure::new(Reason::Handshake, format!("no TLS: {fault}")),
        None => failed("TLS handshake", error),
    }
}

/// Verifies as asked, and notes when the server's certificate ends.
#[derive(Debug)]
struct Noting {
    inner: Arc<dyn ServerCertVerifier>,
    not_after: OnceLock<i64>,
}

impl ServerCertVerifier for Noting {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if let Some(Validity { not_after, .. }) = Validity::of(end_entity) {
            let _ = self.not_after.set(not_after);
        }
        self.inner.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}
