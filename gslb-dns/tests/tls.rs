//! DNS over TLS as clients meet it: real sockets, a listener on port 0, one small zone. What frames, limits
//! and stops have in common with plain TCP is in `tcp.rs`.

#![expect(clippy::unwrap_used, reason = "what a test cannot go on without may as well end it")]

mod credentials;
mod frames;
mod listening;
mod small_zone;

use std::io;
use std::net::SocketAddr;
use std::ops::Deref;
use std::sync::Arc;

use gslb_dns::answer::Transport;
use gslb_dns::listen::tcp::Carries;
use gslb_dns::tls::{ALPN_DOT, Shown, server_config};
use gslb_dns::world::TcpLimits;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, HandshakeKind, SupportedProtocolVersion};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use credentials::{Credentials, NAME};
use frames::{framed, is_served, receive};
use listening::{DEADLINE, PATIENT, SHORT, connect_from, dribble, limits};
use small_zone::{answered, query};

/// A server, and what shows who it is.
struct Server {
    listening: listening::Server,
    credentials: Credentials,
    shown: Arc<Shown>,
}

impl Server {
    fn start(limits: TcpLimits) -> Server {
        let credentials = Credentials::make();
        let shown = credentials.shown();
        let carries = Carries::DnsInTls(server_config(Arc::clone(&shown), &[ALPN_DOT]).unwrap());
        let listening = listening::Server::start(carries, vec![], limits);
        Server { listening, credentials, shown }
    }

    fn config(&self, version: &'static SupportedProtocolVersion) -> Arc<ClientConfig> {
        self.credentials.client(version, &[ALPN_DOT]).into()
    }

    async fn client(&self) -> Client {
        Client::shake_hands(self.address(), &self.config(&TLS13)).await.unwrap()
    }

    /// On which nothing has been said yet.
    async fn bare(&self) -> TcpStream {
        connect_from(1, self.address()).await
    }
}

impl Deref for Server {
    type Target = listening::Server;

    fn deref(&self) -> &listening::Server {
        &self.listening
    }
}

fn handshakes(server: &listening::Server, result: &str) -> u64 {
    server.metrics.tcp.handshakes.with_label_values(&["tls", result]).get()
}

struct Client(TlsStream<TcpStream>);

impl Client {
    async fn shake_hands(to: SocketAddr, config: &Arc<ClientConfig>) -> io::Result<Client> {
        let stream = connect_from(1, to).await;
        let connector = TlsConnector::from(Arc::clone(config));
        let shaken = connector.connect(NAME.try_into().unwrap(), stream);
        timeout(DEADLINE, shaken).await.expect("a handshake or its end").map(Client)
    }

    async fn send(&mut self, octets: &[u8]) {
        self.0.write_all(octets).await.unwrap();
        self.0.flush().await.unwrap();
    }

    async fn receive(&mut self) -> io::Result<Vec<u8>> {
        receive(&mut self.0).await
    }

    async fn is_served(&mut self) {
        is_served(&mut self.0, Transport::Tls).await;
    }

    /// The server closes, says so, and says nothing before.
    async fn is_told_of_the_end(&mut self) {
        let read = timeout(DEADLINE, self.0.read(&mut [0; 16])).await.expect("an end");
        // Without close_notify this would be an error.
        assert_eq!(read.unwrap(), 0);
    }
}

fn expected(id: u16, label: &str) -> Vec<u8> {
    answered(id, label, Transport::Tls)
}

#[tokio::test]
async fn a_thousand_queries_at_once_are_answered_in_order() {
    let server = Server::start(limits(PATIENT));
    let labels: Vec<(u16, &str)> =
        (0..1000).zip(["www", "nothing", "www", "big", "www"].into_iter().cycle()).collect();
    for version in [&TLS12, &TLS13] {
        let client = Client::shake_hands(server.address(), &server.config(version)).await.unwrap();
        let agreed = client.0.get_ref().1.alpn_protocol();
        assert_eq!(agreed, Some(ALPN_DOT));
        let (mut reading, mut writing) = tokio::io::split(client.0);
        let queries: Vec<u8> =
            labels.iter().flat_map(|&(id, label)| framed(&query(id, label))).collect();
        let sending = tokio::spawn(async move {
            writing.write_all(&queries).await.unwrap();
            writing.flush().await.unwrap();
            writing
        });
        for &(id, label) in &labels {
            assert_eq!(receive(&mut reading).await.unwrap(), expected(id, label), "{id} {label}");
        }
        sending.await.unwrap();
    }
}

#[tokio::test]
async fn answers_are_those_of_tcp() {
    for label in ["www", "nothing", "big"] {
        assert_eq!(expected(1, label), answered(1, label, Transport::Tcp));
    }
}

#[tokio::test]
async fn a_client_of_another_protocol_is_refused() {
    let server = Server::start(limits(PATIENT));
    let other = server.credentials.client(&TLS13, &[b"h2"]).into();
    assert!(Client::shake_hands(server.address(), &other).await.is_err());
    // One that says nothing of protocols is believed, as RFC 7858 clients before RFC 9103 were.
    let silent = server.credentials.client(&TLS13, &[]).into();
    Client::shake_hands(server.address(), &silent).await.unwrap().is_served().await;
    let mut plain = server.bare().await;
    plain.write_all(&framed(&query(1, "www"))).await.unwrap();
    let mut octets = Vec::new();
    // An alert, and the end; no answer.
    let _ = timeout(DEADLINE, plain.read_to_end(&mut octets)).await.unwrap();
    assert!(octets.len() < 16, "{octets:02x?}");
    server.until("counted", |server| handshakes(server, "failed") == 2).await;
    assert_eq!(handshakes(&server, "full"), 1);
    server.until_nobody_is_connected().await;
}

#[tokio::test]
async fn a_handshake_that_never_ends_is_given_up() {
    let server = Server::start(limits(SHORT));
    let mut silent = server.bare().await;
    let mut dribbling = server.bare().await;
    // A record that would hold a ClientHello, an octet at a time: each comes well in time.
    let hello = [&[0x16, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3][..], &[0; 500]].concat();
    dribble(&mut dribbling, &hello).await.expect_err("closed on the way");
    assert_eq!(timeout(DEADLINE, silent.read(&mut [0; 16])).await.unwrap().unwrap(), 0);
    server.until("counted", |server| server.evicted("handshake") == 2).await;
    assert_eq!(handshakes(&server, "failed"), 2);
    server.until_nobody_is_connected().await;
}

#[tokio::test]
async fn who_never_shakes_hands_counts_against_the_limits() {
    let server = Server::start(TcpLimits { connections: 4, ..limits(PATIENT) });
    let mut client = server.client().await;
    let mut flood = Vec::new();
    for _ in 0..50 {
        // It asks now and then, so it is never the idlest.
        client.is_served().await;
        flood.push(server.bare().await);
    }
    client.is_served().await;
    server.until("evicted", |server| server.evicted("full") == 50 + 1 - 4).await;
    assert_eq!(server.metrics.tcp.open.get(), 4);
    server.client().await.is_served().await;
}

#[tokio::test]
async fn a_client_that_ends_its_half_gets_its_answers_first() {
    let server = Server::start(limits(PATIENT));
    for version in [&TLS12, &TLS13] {
        let config = server.config(version);
        let mut client = Client::shake_hands(server.address(), &config).await.unwrap();
        client.send(&framed(&query(1, "big")).repeat(3)).await;
        client.0.shutdown().await.unwrap();
        for _ in 0..3 {
            assert_eq!(client.receive().await.unwrap(), expected(1, "big"));
        }
        client.is_told_of_the_end().await;
    }
    server.until_nobody_is_connected().await;
}

#[tokio::test]
async fn an_idle_connection_is_told_and_closed() {
    let server = Server::start(limits(SHORT));
    let mut client = server.client().await;
    client.is_served().await;
    client.is_told_of_the_end().await;
    server.until("counted", |server| server.evicted("idle") == 1).await;
}

#[tokio::test]
async fn a_query_an_octet_at_a_time_is_answered_or_too_slow() {
    let server = Server::start(limits(SHORT));
    let mut client = server.client().await;
    for octet in framed(&query(1, "www")) {
        client.send(&[octet]).await; // A record each.
    }
    assert_eq!(client.receive().await.unwrap(), expected(1, "www"));
    let dribbled = dribble(&mut client.0, &framed(&query(1, "www"))).await;
    dribbled.expect_err("closed on the way");
    assert_eq!(server.evicted("slow"), 1);
}

#[tokio::test]
async fn a_client_that_does_not_read_is_neither_read_from_nor_kept() {
    let server = Server::start(limits(SHORT));
    let (_unread, mut sending) = tokio::io::split(server.client().await.0);
    let queries = framed(&query(1, "big")).repeat(1 << 20);
    let sent = timeout(DEADLINE, sending.write_all(&queries)).await.unwrap();
    sent.expect_err("closed on the way");
    assert_eq!(server.evicted("slow"), 1);
    server.client().await.is_served().await;
}

#[tokio::test]
async fn who_comes_back_resumes() {
    let server = Server::start(limits(PATIENT));
    for version in [&TLS12, &TLS13] {
        let config = server.config(version);
        for expected in [HandshakeKind::Full, HandshakeKind::Resumed] {
            let mut client = Client::shake_hands(server.address(), &config).await.unwrap();
            client.is_served().await; // Tickets come with it.
            assert_eq!(client.0.get_ref().1.handshake_kind(), Some(expected), "{version:?}");
        }
    }
    assert_eq!((handshakes(&server, "full"), handshakes(&server, "resumed")), (2, 2));
}

#[tokio::test]
async fn new_connections_are_shown_the_new_certificate() {
    let server = Server::start(limits(PATIENT));
    let mut before = server.client().await;
    let renewed = Credentials::make();
    server.shown.swap(renewed.identity());
    before.is_served().await;
    let believes_old = server.config(&TLS13);
    assert!(Client::shake_hands(server.address(), &believes_old).await.is_err());
    let believes_new = renewed.client(&TLS13, &[ALPN_DOT]).into();
    Client::shake_hands(server.address(), &believes_new).await.unwrap().is_served().await;
}

#[tokio::test]
async fn a_stop_answers_what_has_come_and_tells_of_the_end() {
    let server = Server::start(limits(PATIENT));
    let mut asking = server.client().await;
    let mut silent = server.client().await;
    let mut shaking = server.bare().await;
    asking.is_served().await;
    silent.is_served().await;
    server.until("accepted", |server| server.metrics.tcp.open.get() == 3).await;
    asking.send(&framed(&query(1, "big")).repeat(3)).await;
    server.stop();
    for _ in 0..3 {
        assert_eq!(asking.receive().await.unwrap(), expected(1, "big"));
    }
    asking.is_told_of_the_end().await;
    silent.is_told_of_the_end().await;
    assert_eq!(timeout(DEADLINE, shaking.read(&mut [0; 16])).await.unwrap().unwrap(), 0);
    server.listening.ended().await;
}

#[tokio::test]
async fn a_panic_costs_its_connection_and_is_counted() {
    let server = Server::start(limits(PATIENT));
    let mut neighbour = server.client().await;
    let mut client = server.client().await;
    client.send(&framed(&query(1, "broken"))).await;
    client.receive().await.expect_err("it is closed");
    neighbour.is_served().await;
    let counted = "gslb_dns_panics_total{transport=\"tls\"} 1";
    server.until("counted", |server| server.metrics.text().contains(counted)).await;
}
