//! TLS handshakes: a connection for each request, over TLS 1.3, full or resumed by a ticket.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use anyhow::{Context, anyhow, bail, ensure};
use rustls::client::Resumption;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::version::TLS13;
use rustls::{ClientConfig, ClientConnection, HandshakeKind, RootCertStore, Stream};

use super::answer::{Reading, Right};
use super::client::Heard;
use crate::interrupt::Interrupt;
use crate::{clock, nginx};

/// Clients at a time, each a thread.
const CLIENTS: usize = 8;

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    Full,
    Resumed,
}

/// Clients that remember tickets from run to run.
pub struct Clients {
    kind: Kind,
    servers: Vec<SocketAddr>,
    configs: Vec<Arc<ClientConfig>>,
}

impl Clients {
    /// They believe the certificate below `dir`, and agree on X25519: what all of the servers have.
    pub fn new(kind: Kind, servers: Vec<SocketAddr>, dir: &Path) -> anyhow::Result<Clients> {
        let mut roots = RootCertStore::empty();
        let certificate = CertificateDer::from_pem_file(dir.join("web.pem"));
        roots.add(certificate.map_err(|error| anyhow!("web.pem: {error}"))?)?;
        let roots = Arc::new(roots);
        let provider = Arc::new(CryptoProvider {
            kx_groups: vec![aws_lc_rs::kx_group::X25519],
            ..aws_lc_rs::default_provider()
        });
        let config = || -> anyhow::Result<Arc<ClientConfig>> {
            let mut config = ClientConfig::builder_with_provider(Arc::clone(&provider))
                .with_protocol_versions(&[&TLS13])?
                .with_root_certificates(Arc::clone(&roots))
                .with_no_client_auth();
            if kind == Kind::Full {
                config.resumption = Resumption::disabled();
            }
            Ok(Arc::new(config))
        };
        let configs = (0..CLIENTS).map(|_| config()).collect::<anyhow::Result<_>>()?;
        Ok(Clients { kind, servers, configs })
    }

    /// Every client asks, connection after connection.
    pub fn run(
        &self,
        request: &[u8],
        right: Right,
        lasting: Duration,
        interrupt: &Interrupt,
    ) -> anyhow::Result<Heard> {
        let began = clock::now();
        thread::scope(|scope| {
            let clients: Vec<_> = self
                .configs
                .iter()
                .zip(self.servers.iter().cycle())
                .map(|(config, &server)| {
                    scope.spawn(move || {
                        let mut heard = Heard::default();
                        while clock::now() - began < lasting {
                            interrupt.check()?;
                            self.ask(config, server, request, right, &mut heard)?;
                        }
                        anyhow::Ok(heard)
                    })
                })
                .collect();
            let mut all = Heard::default();
            for client in clients {
                let heard = client.join().map_err(|_| anyhow!("a client has panicked"))??;
                all.tally.answers += heard.tally.answers;
                all.tally.sampled += heard.tally.sampled;
                all.tally.wrong += heard.tally.wrong;
                all.tally.first_wrong = all.tally.first_wrong.or(heard.tally.first_wrong);
                all.asked += heard.asked;
                all.connections += heard.connections;
            }
            Ok(all)
        })
    }

    fn ask(
        &self,
        config: &Arc<ClientConfig>,
        server: SocketAddr,
        request: &[u8],
        right: Right,
        heard: &mut Heard,
    ) -> anyhow::Result<()> {
        let name = ServerName::try_from(format!("www.{}", nginx::ZONE))?;
        let mut session = ClientConnection::new(Arc::clone(config), name)?;
        let mut socket = TcpStream::connect(server)?;
        socket.set_nodelay(true)?;
        heard.connections += 1;
        heard.asked += 1;
        let mut stream = Stream::new(&mut session, &mut socket);
        stream.write_all(request)?;
        let (mut reading, mut octets, mut answer) = (Reading::default(), [0; 4096], None);
        // To the end: tickets come beside the answer.
        loop {
            match stream.read(&mut octets) {
                Ok(0) => break,
                Ok(read) => answer = answer.or(reading.take(&octets[..read], right)?),
                // An end without a goodbye, of whoever says nothing more, is common.
                Err(_) if answer.is_some() => break,
                Err(error) => return Err(error).context("within TLS"),
            }
        }
        ensure!(answer.is_some(), "closed before its answer");
        match (self.kind, session.handshake_kind()) {
            (Kind::Full, Some(HandshakeKind::Full))
            | (Kind::Resumed, Some(HandshakeKind::Resumed)) => {
                heard.tally.answers += 1;
                heard.tally.sampled += 1;
            }
            // The first of each client has no ticket yet.
            (Kind::Resumed, Some(HandshakeKind::Full)) => {
                heard.tally.wrong += 1;
                heard.tally.first_wrong.get_or_insert_with(|| "not resumed".to_owned());
            }
            (_, other) => bail!("a handshake of another kind: {other:?}"),
        }
        Ok(())
    }
}
