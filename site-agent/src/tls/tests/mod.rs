//! Handshakes with rustls on the other side, in memory. Those with openssl are in the package of whole worlds.

mod clients;
mod made;
mod reload;
mod servers;
mod shown;

use std::sync::Arc;

use common::config::Colour;
use common::identity::{Identity, certificates, provider};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::ServerName;
use rustls::sign::SingleCertAndKey;
use rustls::version::{TLS12, TLS13};
use rustls::{
    ClientConfig, ClientConnection, HandshakeKind, ProtocolVersion, RootCertStore, ServerConfig,
    ServerConnection, SignatureScheme, SupportedProtocolVersion,
};
use webpki::EndEntityCert;

use self::made::{Ca, Folder, Key, LEAF, Leaf};
use super::*;
use crate::config;

/// What a handshake came to.
#[derive(Debug, Eq, PartialEq)]
struct Shaken {
    /// The serial number of the certificate that the client was shown.
    serial: u64,
    version: ProtocolVersion,
    is_resumed: bool,
    alpn: Option<String>,
    /// What the server was asked for.
    sni: Option<String>,
}

fn read(folder: &Folder, text: &str) -> Site {
    config::from_str(text, folder.path())
        .unwrap_or_else(|problems| panic!("{}", problems.render(Colour::Never)))
        .site
}

/// With one frontend, whose table `tls` has these keys.
fn frontend(folder: &Folder, keys: &str) -> Site {
    let text = format!(
        "[frontend.web]\nbind = [\"127.0.0.1:443\"]\ntls = {{ {keys} }}\npool = \"web\"\n\
         [pool.web]\nservers = [{{ name = \"a\", address = \"127.0.0.1:80\" }}]\n"
    );
    read(folder, &text)
}

fn tls() -> Tls {
    Tls::new().unwrap()
}

fn adopt(tls: &mut Tls, site: &Site) -> Arc<ServerConfig> {
    let adopted = tls.adopt(site).unwrap();
    assert_eq!(adopted.stale, []);
    Arc::clone(adopted.handshakes.frontend(FrontendId(0)).unwrap())
}

/// What a client can do.
#[derive(Clone, Copy)]
struct Can<'a> {
    versions: &'a [&'static SupportedProtocolVersion],
    /// Signatures that it knows: those whose name has this.
    signatures: &'a str,
    alpn: &'a [&'a str],
    /// Certificate and key.
    shows: Option<(&'a str, &'a str)>,
}

const ALL: Can<'static> =
    Can { versions: &[&TLS13, &TLS12], signatures: "", alpn: &[], shows: None };

fn client(ca: &Ca, can: Can<'_>) -> Arc<ClientConfig> {
    let mut known = CryptoProvider::clone(&provider());
    let algorithms = &mut known.signature_verification_algorithms;
    let is_known = |scheme: &SignatureScheme| format!("{scheme:?}").contains(can.signatures);
    let mapping = algorithms.mapping.iter().filter(|(scheme, _)| is_known(scheme)).copied();
    algorithms.mapping = mapping.collect::<Vec<_>>().leak();
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(certificates(ca.pem.as_bytes()).unwrap());
    let builder = ClientConfig::builder_with_provider(Arc::new(known))
        .with_protocol_versions(can.versions)
        .unwrap()
        .with_root_certificates(roots);
    let mut config = match can.shows {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => {
            let identity = Identity::of(certificate.as_bytes(), key.as_bytes()).unwrap();
            builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(identity.key())))
        }
    };
    config.alpn_protocols = can.alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    Arc::new(config)
}

fn ask(
    server: &Arc<ServerConfig>,
    client: &Arc<ClientConfig>,
    name: &str,
) -> Result<Shaken, String> {
    shake_hands(server, client, ServerName::try_from(name.to_owned()).unwrap())
}

/// The error has who refuses, and why.
fn shake_hands(
    server: &Arc<ServerConfig>,
    client: &Arc<ClientConfig>,
    name: ServerName<'static>,
) -> Result<Shaken, String> {
    let mut client = ClientConnection::new(Arc::clone(client), name).unwrap();
    let mut server = ServerConnection::new(Arc::clone(server)).unwrap();
    // The last flight has tickets, or the alert that tells a client that it is refused.
    while client.wants_write() || server.wants_write() {
        let mut wire = vec![];
        client.write_tls(&mut wire).unwrap();
        server.read_tls(&mut wire.as_slice()).unwrap();
        let outcome = server.process_new_packets();
        outcome.map_err(|error| format!("server: {error}"))?;
        let mut wire = vec![];
        server.write_tls(&mut wire).unwrap();
        client.read_tls(&mut wire.as_slice()).unwrap();
        let outcome = client.process_new_packets();
        outcome.map_err(|error| format!("client: {error}"))?;
    }
    assert!(!client.is_handshaking() && !server.is_handshaking());
    let shown = client.peer_certificates().unwrap().first().unwrap();
    let serial = EndEntityCert::try_from(shown).unwrap().serial().to_vec();
    assert_eq!(client.handshake_kind() == Some(HandshakeKind::Resumed), is_resumed(&server));
    Ok(Shaken {
        serial: serial.iter().fold(0, |serial, octet| serial << 8 | u64::from(*octet)),
        version: client.protocol_version().unwrap(),
        is_resumed: is_resumed(&server),
        alpn: client.alpn_protocol().map(|name| String::from_utf8(name.to_vec()).unwrap()),
        sni: server.server_name().map(str::to_owned),
    })
}

fn is_resumed(server: &ServerConnection) -> bool {
    server.handshake_kind() == Some(HandshakeKind::Resumed)
}
