//! Connections that a proxy passes on, over TCP and TLS: real sockets, one small zone.

#![expect(clippy::unwrap_used, reason = "what a test cannot go on without may as well end it")]

mod credentials;
mod small_zone;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use gslb_dns::answer::Transport;
use gslb_dns::listen::tcp::{Carries, Connections, TcpListener};
use gslb_dns::metrics::{Metrics, Tally};
use gslb_dns::publish::Published;
use gslb_dns::tls::{ALPN_DOT, server_config};
use gslb_dns::world::TcpLimits;
use rustls::version::TLS13;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::time::{interval, timeout};
use tokio_rustls::TlsConnector;

use credentials::{Credentials, NAME};
use small_zone::{answered, query, snapshot};

const DEADLINE: Duration = Duration::from_secs(20);
const PATIENT: Duration = Duration::from_secs(10);
const SHORT: Duration = Duration::from_millis(300);

struct Server {
    address: SocketAddr,
    metrics: Metrics,
    credentials: Credentials,
    _stop: watch::Sender<bool>,
}

impl Server {
    /// Believes 127.0.0.2 and no other. Two connections for each client.
    fn start(within_tls: bool, idle: Duration) -> Server {
        let credentials = Credentials::make();
        let carries = match within_tls {
            true => Carries::DnsInTls(server_config(credentials.shown(), &[ALPN_DOT]).unwrap()),
            false => Carries::Dns,
        };
        let tally = Arc::new(Tally::new(carries.transport()));
        let metrics = Metrics::new(vec![Arc::clone(&tally)]);
        let limits = TcpLimits { connections: 100, connections_per_client: 2, idle };
        let connections = Connections::new(limits, metrics.tcp.clone());
        let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = listener.local_address().unwrap();
        let (stop, stopping) = watch::channel(false);
        let proxies = vec!["127.0.0.2/32".parse().unwrap()].into();
        tokio::spawn(listener.carrying(carries).believing(proxies).serve(
            Published::new(snapshot()),
            "test".into(),
            connections,
            tally,
            stopping,
        ));
        Server { address, metrics, credentials, _stop: stop }
    }

    async fn from(&self, last: u8, octets: &[u8]) -> TcpStream {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(([127, 0, 0, last], 0).into()).unwrap();
        let connected = socket.connect(self.address);
        let mut stream = timeout(DEADLINE, connected).await.unwrap().unwrap();
        stream.set_nodelay(true).unwrap();
        stream.write_all(octets).await.unwrap();
        stream
    }

    fn evicted(&self, reason: &str) -> u64 {
        self.metrics.tcp.evicted.with_label_values(&[reason]).get()
    }

    async fn until(&self, what: &str, is_so: impl Fn(&Server) -> bool) {
        let mut ticks = interval(Duration::from_millis(2));
        let waited = timeout(DEADLINE, async {
            while !is_so(self) {
                ticks.tick().await;
            }
        });
        waited.await.unwrap_or_else(|_| panic!("never {what}:\n{}", self.metrics.text()));
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

async fn is_served(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), transport: Transport) {
    let message = query(1, "www");
    let framed = [&(message.len() as u16).to_be_bytes(), &message[..]].concat();
    stream.write_all(&framed).await.unwrap();
    stream.flush().await.unwrap();
    let expected = answered(1, "www", transport);
    let mut answer = vec![0; 2 + expected.len()];
    timeout(DEADLINE, stream.read_exact(&mut answer)).await.unwrap().unwrap();
    assert_eq!(answer[2..], expected);
}

async fn is_closed(stream: &mut TcpStream) {
    let read = timeout(DEADLINE, stream.read(&mut [0; 16])).await.expect("an end");
    assert!(matches!(read, Ok(0) | Err(_)), "it said something");
}

#[tokio::test]
async fn the_limits_are_the_clients_and_not_the_proxys() {
    let server = Server::start(false, PATIENT);
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
    let server = Server::start(false, PATIENT);
    let whole = header(1);
    let mut no_signature = whole.clone();
    no_signature[3] = b' ';
    let mut too_long = whole.clone();
    too_long[14] = 0xff;
    let asked = [&[0, 29], &query(1, "www")[..]].concat();
    let v1 = b"PROXY TCP4 198.51.100.1 192.0.2.53 12345 53\r\n".to_vec();
    for bad in [no_signature, too_long, asked, v1] {
        is_closed(&mut server.from(2, &bad).await).await;
    }
    assert_eq!(server.metrics.tcp.proxy_refused.get(), 4);
    // Gone in the middle of it.
    drop(server.from(2, &whole[..20]).await);
    server.until("counted", |server| server.metrics.tcp.proxy_refused.get() == 5).await;
    server.until("left", |server| server.metrics.tcp.open.get() == 0).await;
}

#[tokio::test]
async fn nobody_else_is_believed() {
    let server = Server::start(false, SHORT);
    let mut stream = server.from(1, &header(1)).await;
    is_closed(&mut stream).await; // Taken for a message of 3338 octets that never came.
    assert_eq!((server.metrics.tcp.proxy_refused.get(), server.evicted("slow")), (0, 1));
    is_served(&mut server.from(1, &[]).await, Transport::Tcp).await;
}

#[tokio::test]
async fn a_header_that_never_ends_is_given_up() {
    let server = Server::start(false, SHORT);
    let mut silent = server.from(2, &[]).await;
    let mut dribbling = server.from(2, &[]).await;
    let mut ticks = interval(SHORT / 10);
    let dribbled = async {
        for octet in header(1) {
            ticks.tick().await;
            dribbling.write_all(&[octet]).await?;
        }
        Ok::<(), std::io::Error>(())
    };
    timeout(DEADLINE, dribbled).await.unwrap().expect_err("closed on the way");
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
    let server = Server::start(true, PATIENT);
    let config = Arc::new(server.credentials.client(&TLS13, &[ALPN_DOT]));
    for (last, octets) in [(2, header(1)), (2, LOCAL.to_vec()), (1, vec![])] {
        let stream = server.from(last, &octets).await;
        let shaken =
            TlsConnector::from(Arc::clone(&config)).connect(NAME.try_into().unwrap(), stream);
        let mut stream = timeout(DEADLINE, shaken).await.unwrap().unwrap();
        is_served(&mut stream, Transport::Tls).await;
    }
}
