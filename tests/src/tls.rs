//! A certificate for a world's server, and clients that ask it within TLS.

use std::fs;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use anyhow::{Context as _, bail};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::crypto::aws_lc_rs;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::resolver::Stream;
use crate::wait::PATIENCE;
use crate::world::World;

/// By which clients know the server.
pub const NAME: &str = "dns1.example.com";
/// In the world's directory.
pub const CERTIFICATE: &str = "dns.pem";
pub const KEY: &str = "dns.key";

pub type Within = StreamOwned<ClientConnection, TcpStream>;

/// A client that believes the one certificate that it was made with.
pub struct Believer(RootCertStore);

/// Writes a new certificate and key for a world, whole, as whoever renews them does.
pub fn certify(world: &World) -> anyhow::Result<Believer> {
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed([NAME.to_owned()])?;
    for (file, text) in [(CERTIFICATE, cert.pem()), (KEY, signing_key.serialize_pem())] {
        let beside = world.path("new");
        fs::write(&beside, text)?;
        fs::rename(beside, world.path(file))?;
    }
    let mut roots = RootCertStore::empty();
    roots.add(cert.der().clone())?;
    Ok(Believer(roots))
}

/// Has the world's server answer over TLS, HTTPS and QUIC too, on free ports.
pub fn encrypt(world: &World) -> anyhow::Result<Believer> {
    let believer = certify(world)?;
    let node = fs::read_to_string(world.node())?;
    let keys =
        format!("listen = [\"127.0.0.1:0\"], certificate = \"{CERTIFICATE}\", key = \"{KEY}\"");
    let dns = format!("[dns]\ntls = {{ {keys} }}\nhttps = {{ {keys} }}\nquic = {{ {keys} }}\n");
    fs::write(world.node(), node.replace("[dns]\n", &dns))?;
    Ok(believer)
}

impl Believer {
    /// A stream of messages, as over TCP.
    pub fn stream(&self, server: SocketAddr) -> anyhow::Result<Stream<Within>> {
        Ok(Stream(self.connect(server, b"dot")?))
    }

    /// HTTP/1.1, one request after another.
    pub fn https(&self, server: SocketAddr) -> anyhow::Result<Https> {
        Ok(Https(self.connect(server, b"http/1.1")?))
    }

    /// TLS as this client does it.
    pub fn config(&self, protocol: &[u8]) -> anyhow::Result<ClientConfig> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(self.0.clone())
            .with_no_client_auth();
        config.alpn_protocols = vec![protocol.to_vec()];
        Ok(config)
    }

    /// Ends with an error unless the server is believed.
    pub fn connect(&self, server: SocketAddr, protocol: &[u8]) -> anyhow::Result<Within> {
        let stream = TcpStream::connect(server)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        self.over(stream, protocol)
    }

    /// The same over a connection that is there.
    pub fn over(&self, mut stream: TcpStream, protocol: &[u8]) -> anyhow::Result<Within> {
        let config = self.config(protocol)?;
        let mut connection = ClientConnection::new(Arc::new(config), NAME.try_into()?)?;
        while connection.is_handshaking() {
            connection.complete_io(&mut stream)?;
        }
        Ok(StreamOwned::new(connection, stream))
    }
}

/// A client that writes HTTP by itself.
pub struct Https(Within);

impl Https {
    pub fn send(&mut self, query: &[u8]) -> io::Result<()> {
        let head = format!(
            "POST /dns-query HTTP/1.1\r\nHost: {NAME}\r\nContent-Type: application/dns-message\r\n\
             Content-Length: {}\r\n\r\n",
            query.len()
        );
        self.0.write_all(&[head.as_bytes(), query].concat())?;
        self.0.flush()
    }

    /// Status and body of the next response.
    pub fn receive(&mut self) -> anyhow::Result<(u16, Vec<u8>)> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut octet = [0];
            self.0.read_exact(&mut octet)?;
            head.push(octet[0]);
        }
        let head = String::from_utf8(head)?.to_ascii_lowercase();
        let status = head.split(' ').nth(1).context("no status")?.parse()?;
        let Some((_, after)) = head.split_once("content-length: ") else {
            bail!("no length: {head}");
        };
        let length = after.split("\r\n").next().unwrap_or_default().parse()?;
        let mut body = vec![0; length];
        self.0.read_exact(&mut body)?;
        Ok((status, body))
    }
}
