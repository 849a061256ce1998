//! Connections that a proxy passes on, over TCP and TLS: real sockets, one small zone.

#![expect(clippy::unwrap_used, reason = "what a test cannot go on without may as well end it")]

mod credentials;
mod frames;
mod listening;
mod small_zone;

use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use gslb_dns::answer::Transport;
use gslb_dns::listen::tcp::Carries;
use gslb_dns::tls::{ALPN_DOT, server_config};
use gslb_dns::world::TcpLimits;
use rustls::version::TLS13;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsConnector;

use credentials::{Credentials, NAME};
use frames::{framed, is_served};
use listening::{DEADLINE, PATIENT, SHORT, connect_from, dribble, limits};
use small_zone::query;

/// Believes 127.0.0.2 and no other. Two connections for each client.
struct Server(listening::Server);

impl Server {
    fn start(carries: Carries, idle: Duration) -> Server {
        let limits = TcpLimits { connections_per_client: 2, ..limits(idle) };
        let proxies = vec!["127.0.0.2/32".parse().unwrap()];
        Server(listening::Server::start(carries, proxies, limits))
    }

    /// From 127.0.0.`host`, which begins with these octets.
    async fn from(&self, host: u8, octets: &[u8]) -> TcpStream {
        let mut stream = connect_from(host, self.address()).await;
        stream.write_all(octets).await.unwrap();
        stream
    }
}

impl Deref for Server {
    type Target = listening::Server;

    fn deref(&self) -> &listening::Server {
        &self.0
    }
}

/// As a proxy writes it for an IPv4 client, with something more to say behind.
fn header(client: u8) -> Vec<u8> {
    let addresses = [198, 51, 100, client, 192, 0, 2, 53, 0x30, 0x39, 0, 53];
    let more = [0xee, 0, 3, b't', b'l', b'v'];
    let length = (addresses.len() + more.len()) as u8;
    [b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0", &[length][..], &addresses, &more].concat()
}

const LOCAL: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";

async fn is_closed(stream: &mut TcpStream) {
    let read = timeout(DEADLINE, stream.read(&mut [0; 16])).await.expect("an end");
    assert!(matches!(read, Ok(0) | Err(_)), "it said something");
}

#[tokio::test]
async fn the_limits_are_the_clients_and_not_the_proxys() {
    let server = Server::start(Carries::Dns, PATIENT);
    let mut streams = Vec::new();
    for client in [1, 1, 2, 2, 3, 3] {
        streams.push(server.from(2, &header(client)).await);
        is_served(streams.last_mut().unwrap(), Transport::Tcp).await;
    }
    assert_eq!(server.evicted("client_full"), 0);
    let mut third = server.from(2, &header(2)).await;
    is_served(&mut third, Transport::Tcp).await;
    is_closed(&mut streams[2]).await;
    for at in [0, 1, 3, 4, 5] {
        is_served(&mut streams[at], Transport::Tcp).await;
    }
    assert_eq!(server.evicted("client_full"), 1);
    // What the proxy asks for itself counts as its own.
    for _ in 0..3 {
        streams.push(server.from(2, LOCAL).await);
        is_served(streams.last_mut().unwrap(), Transport::Tcp).await;
    }
    assert_eq!(server.evicted("client_full"), 2);
}

#[tokio::test]
async fn a_proxy_that_sends_no_header_is_closed() {
    let server = Server::start(Carries::Dns, PATIENT);
    let whole = header(1);
    let mut no_signature = whole.clone();
    no_signature[3] = b' ';
    let mut too_long = whole.clone();
    too_long[14] = 0xff;
    let asked = framed(&query(1, "www"));
    let v1 = b"PROXY TCP4 198.51.100.1 192.0.2.53 12345 53\r\n".to_vec();
    for bad in [no_signature, too_long, asked, v1] {
        is_closed(&mut server.from(2, &bad).await).await;
    }
    assert_eq!(server.metrics.tcp.proxy_refused.get(), 4);
    // Gone in the middle of it.
    drop(server.from(2, &whole[..20]).await);
    server.until("counted", |server| server.metrics.tcp.proxy_refused.get() == 5).await;
    server.until_nobody_is_connected().await;
}

#[tokio::test]
async fn nobody_else_is_believed() {
    let server = Server::start(Carries::Dns, SHORT);
    let mut stream = server.from(1, &header(1)).await;
    is_closed(&mut stream).await; // Taken for a message of 3338 octets that never came.
    assert_eq!((server.metrics.tcp.proxy_refused.get(), server.evicted("slow")), (0, 1));
    is_served(&mut server.from(1, &[]).await, Transport::Tcp).await;
}

#[tokio::test]
async fn a_header_that_never_ends_is_given_up() {
    let server = Server::start(Carries::Dns, SHORT);
    let mut silent = server.from(2, &[]).await;
    let mut dribbling = server.from(2, &[]).await;
    dribble(&mut dribbling, &header(1)).await.expect_err("closed on the way");
    is_closed(&mut silent).await;
    server.until("counted", |server| server.evicted("slow") == 2).await;
    // Slowly, and in time.
    let mut stream = server.from(2, &[]).await;
    for octet in header(1) {
        stream.write_all(&[octet]).await.unwrap();
    }
    is_served(&mut stream, Transport::Tcp).await;
}

#[tokio::test]
async fn the_header_stands_before_the_handshake() {
    let credentials = Credentials::make();
    let tls = server_config(credentials.shown(), &[ALPN_DOT]).unwrap();
    let server = Server::start(Carries::DnsInTls(tls), PATIENT);
    let config = Arc::new(credentials.client(&TLS13, &[ALPN_DOT]));
    for (last, octets) in [(2, header(1)), (2, LOCAL.to_vec()), (1, vec![])] {
        let stream = server.from(last, &octets).await;
        let shaken =
            TlsConnector::from(Arc::clone(&config)).connect(NAME.try_into().unwrap(), stream);
        let mut stream = timeout(DEADLINE, shaken).await.unwrap().unwrap();
        is_served(&mut stream, Transport::Tls).await;
    }
}

#[tokio::test]
async fn a_stop_waits_for_no_header() {
    let server = Server::start(Carries::Dns, PATIENT);
    let mut silent = server.from(2, &[]).await;
    let mut asking = server.from(2, &header(1)).await;
    is_served(&mut asking, Transport::Tcp).await;
    server.until("accepted", |server| server.metrics.tcp.open.get() == 2).await;
    let began = Instant::now();
    server.stop();
    is_closed(&mut silent).await;
    is_closed(&mut asking).await;
    server.0.ended().await;
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
}
