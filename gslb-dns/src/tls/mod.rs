//! Who we are to clients that ask over TLS: a certificate and its key, as `config` and `run` read them from
//! files, and as connections show them.
//!
//! files ─▶ common::identity (read, judged) ─▶ Shown (swapped whole) ─▶ every handshake from then on

use std::sync::Arc;

use arc_swap::ArcSwap;
use common::identity::{Identity, provider};
use rustls::crypto::aws_lc_rs;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};
use rustls::{ServerConfig, SupportedProtocolVersion};

/// RFC 7858 §3.1, as registered with IANA.
pub const ALPN_DOT: &[u8] = b"dot";

/// RFC 9250 §4.1.1.
pub const ALPN_DOQ: &[u8] = b"doq";

/// HTTP/2 (RFC 9113 §3.1) and HTTP/1.1 (RFC 7301 §6), in the order in which we like them.
pub const ALPN_DOH: [&[u8]; 2] = [ALPN_HTTP2, b"http/1.1"];
pub const ALPN_HTTP2: &[u8] = b"h2";

/// The identity that new connections are shown. Whatever name a client asks for: a name server has one.
#[derive(Debug)]
pub struct Shown(ArcSwap<CertifiedKey>);

impl Shown {
    pub fn new(identity: Identity) -> Arc<Shown> {
        Arc::new(Shown(ArcSwap::new(identity.key())))
    }

    /// Connections that are open keep what they were shown.
    pub fn swap(&self, identity: Identity) {
        self.0.store(identity.key());
    }
}

impl ResolvesServerCert for Shown {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load_full())
    }
}

/// How we do TLS: versions 1.2 and 1.3, clients resume by tickets that we need not remember, nothing is
/// taken as early data, which others could send again.
pub fn server_config(
    shown: Arc<Shown>,
    alpn: &[&[u8]],
) -> Result<Arc<ServerConfig>, rustls::Error> {
    config_of(&[&TLS13, &TLS12], shown, alpn)
}

/// The same over QUIC, which knows no TLS before 1.3 (RFC 9001 §4.2).
pub fn quic_config(shown: Arc<Shown>) -> Result<Arc<ServerConfig>, rustls::Error> {
    config_of(&[&TLS13], shown, &[ALPN_DOQ])
}

fn config_of(
    versions: &[&'static SupportedProtocolVersion],
    shown: Arc<Shown>,
    alpn: &[&[u8]],
) -> Result<Arc<ServerConfig>, rustls::Error> {
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(versions)?
        .with_no_client_auth()
        .with_cert_resolver(shown);
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
    config.ticketer = aws_lc_rs::Ticketer::new()?;
    Ok(Arc::new(config))
}
