//! DNS over QUIC as clients meet it: real sockets, a listener on port 0, one small zone.

#![expect(clippy::unwrap_used, reason = "what a test cannot go on without may as well end it")]

mod credentials;
mod small_zone;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use common::identity::Identity;
use gslb_dns::answer::Transport;
use gslb_dns::listen::connections::Connections;
use gslb_dns::listen::quic::QuicListener;
use gslb_dns::metrics::{Metrics, Tally};
use gslb_dns::publish::Published;
use gslb_dns::tls::{ALPN_DOQ, Shown, quic_config};
use gslb_dns::world::TcpLimits;
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{
    ClientConfig, Connection, ConnectionError, Endpoint, ReadError, RecvStream, SendStream,
    TransportConfig, TransportErrorCode, VarInt,
};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::version::TLS13;
use tokio::net::UdpSocket;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{interval, timeout};

use credentials::{Credentials, NAME};
use small_zone::{answered, query, snapshot};

/// Everything here happens within moments; this is for a machine that is very busy.
const DEADLINE: Duration = Duration::from_secs(20);
const PATIENT: Duration = Duration::from_secs(10);
/// Who does nothing wrong is served within it, too.
const SHORT: Duration = Duration::from_millis(1500);
/// RFC 9250 §4.3.
const NO_ERROR: u32 = 0;
const INTERNAL_ERROR: u32 = 1;
const PROTOCOL_ERROR: u32 = 2;
const REQUEST_CANCELLED: u32 = 3;
const EXCESSIVE_LOAD: u32 = 4;
/// What the listener allows; `docs/SPECIFICATION.md` has the same.
const STREAMS: usize = 100;
const UNPROVED: u64 = 64;
const TAKEN_BACK: usize = 100;
const LONGEST_QUERY: usize = 4096;

struct Server {
    address: SocketAddr,
    metrics: Metrics,
    credentials: Credentials,
    shown: Arc<Shown>,
    stop: watch::Sender<bool>,
    serving: JoinHandle<()>,
}

impl Server {
    fn start(limits: TcpLimits) -> Server {
        let credentials = Credentials::make();
        let shown = credentials.shown();
        Server::showing(shown, credentials, limits)
    }

    fn showing(shown: Arc<Shown>, credentials: Credentials, limits: TcpLimits) -> Server {
        let tally = Arc::new(Tally::new(Transport::Quic));
        let metrics = Metrics::new(vec![Arc::clone(&tally)]);
        let connections = Connections::new(limits, metrics.tcp.clone());
        let listener = QuicListener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = listener.local_address().unwrap();
        let (stop, stopping) = watch::channel(false);
        let serving = tokio::spawn(listener.serve(
            quic_config(Arc::clone(&shown)).unwrap(),
            Published::new(snapshot()),
            "test".into(),
            connections,
            tally,
            stopping,
        ));
        Server { address, metrics, credentials, shown, stop, serving }
    }

    fn config(&self) -> ClientConfig {
        client_config(&self.credentials, &[ALPN_DOQ])
    }

    async fn client(&self) -> Client {
        self.connect(self.config()).await.unwrap()
    }

    async fn connect(&self, config: ClientConfig) -> Result<Client, ConnectionError> {
        let endpoint = Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
        let connecting = endpoint.connect_with(config, self.address, NAME).unwrap();
        let connected = timeout(DEADLINE, connecting).await.expect("a handshake or its end");
        connected.map(|connection| Client { endpoint, connection })
    }

    fn evicted(&self, reason: &str) -> u64 {
        self.metrics.tcp.evicted.with_label_values(&[reason]).get()
    }

    fn handshakes(&self, result: &str) -> u64 {
        self.metrics.tcp.handshakes.with_label_values(&["quic", result]).get()
    }

    fn breaches(&self, reason: &str) -> u64 {
        self.metrics.tcp.quic_breaches.with_label_values(&[reason]).get()
    }

    /// Waits until what the metrics say is so.
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

struct Client {
    endpoint: Endpoint,
    connection: Connection,
}

impl Client {
    async fn open(&self) -> (SendStream, RecvStream) {
        timeout(DEADLINE, self.connection.open_bi()).await.unwrap().unwrap()
    }

    /// A stream with these octets and no end yet.
    async fn say(&self, octets: &[u8]) -> (SendStream, RecvStream) {
        let (mut send, receive) = self.open().await;
        send.write_all(octets).await.unwrap();
        (send, receive)
    }

    async fn ask(&self, label: &str) -> Vec<u8> {
        let (mut send, mut receive) = self.say(&framed(&query(0, label))).await;
        send.finish().unwrap();
        hear(&mut receive).await.unwrap()
    }

    async fn is_served(&self) {
        assert_eq!(self.ask("www").await, expected("www"));
    }

    /// With which code the server closes.
    async fn is_told_of_the_end(&self, code: u32) {
        match timeout(DEADLINE, self.connection.closed()).await.expect("an end") {
            ConnectionError::ApplicationClosed(close) => {
                assert_eq!(close.error_code, VarInt::from_u32(code));
            }
            other => panic!("{other:?}"),
        }
    }
}

/// The one message of a stream, and its end.
async fn hear(receive: &mut RecvStream) -> Result<Vec<u8>, ReadError> {
    let mut octets = Vec::new();
    let heard = timeout(DEADLINE, async {
        while let Some(chunk) = receive.read_chunk(usize::MAX, true).await? {
            octets.extend_from_slice(&chunk.bytes);
        }
        Ok::<(), ReadError>(())
    });
    heard.await.expect("an answer or an end")?;
    let (prefix, message) = octets.split_first_chunk::<2>().expect("a length");
    assert_eq!(usize::from(u16::from_be_bytes(*prefix)), message.len());
    Ok(message.to_vec())
}

fn client_config(credentials: &Credentials, alpn: &[&[u8]]) -> ClientConfig {
    let tls = credentials.client(&TLS13, alpn);
    ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).unwrap()))
}

fn limits(idle: Duration) -> TcpLimits {
    TcpLimits { connections: 100, connections_per_client: 100, idle }
}

fn framed(message: &[u8]) -> Vec<u8> {
    [&(message.len() as u16).to_be_bytes(), message].concat()
}

fn expected(label: &str) -> Vec<u8> {
    answered(0, label, Transport::Quic)
}

/// A query with an option of so many octets.
fn with_option(code: u16, octets: usize) -> Vec<u8> {
    let mut message = query(0, "www");
    message[11] = 1;
    let length = (4 + octets as u16).to_be_bytes();
    message.extend_from_slice(&[0, 0, 41, 4, 208, 0, 0, 0, 0]);
    message.extend_from_slice(&length);
    message.extend_from_slice(&code.to_be_bytes());
    message.extend_from_slice(&(octets as u16).to_be_bytes());
    message.resize(message.len() + octets, 0);
    message
}

#[tokio::test]
async fn a_thousand_queries_at_once_are_answered() {
    let server = Server::start(limits(PATIENT));
    let client = Arc::new(server.client().await);
    let mut asking = JoinSet::new();
    for label in ["www", "nothing", "www", "big", "www"].into_iter().cycle().take(1000) {
        let client = Arc::clone(&client);
        asking.spawn(async move { assert_eq!(client.ask(label).await, expected(label)) });
    }
    while let Some(done) = asking.join_next().await {
        done.unwrap();
    }
    assert_eq!(server.metrics.tcp.accepted.get(), 1);
    let counted = "gslb_dns_answers_total{rcode=\"NOERROR\",transport=\"quic\"} 800";
    assert!(server.metrics.text().contains(counted), "{}", server.metrics.text());
    for label in ["www", "nothing", "big"] {
        assert_eq!(expected(label), answered(0, label, Transport::Tcp));
    }
}

#[tokio::test]
async fn a_client_of_another_protocol_is_refused() {
    let server = Server::start(limits(PATIENT));
    // No application protocol is none of ours too (RFC 9001 §8.1).
    for alpn in [&[&b"h3"[..]][..], &[b"dot"], &[]] {
        let config = client_config(&server.credentials, alpn);
        match server.connect(config).await.map(|_| ()) {
            Err(ConnectionError::ConnectionClosed(close)) => {
                assert_eq!(close.error_code, TransportErrorCode::crypto(120), "{alpn:?}");
            }
            other => panic!("{other:?}"),
        }
    }
    server.until("counted", |server| server.handshakes("failed") == 3).await;
    assert_eq!((server.handshakes("done"), server.metrics.tcp.accepted.get()), (0, 0));
    server.client().await.is_served().await;
    assert_eq!(server.handshakes("done"), 1);
}

#[tokio::test]
async fn who_breaks_a_rule_is_told_which_kind() {
    let server = Server::start(limits(PATIENT));
    let whole = framed(&query(0, "www"));
    let mut response = query(0, "www");
    response[2] |= 0x80;
    for (octets, reason, code) in [
        (whole[..whole.len() - 1].to_vec(), "cut_short", PROTOCOL_ERROR),
        (vec![0], "cut_short", PROTOCOL_ERROR),
        (vec![], "cut_short", PROTOCOL_ERROR),
        (whole.repeat(2), "second_message", PROTOCOL_ERROR),
        ([&whole[..], &[0]].concat(), "second_message", PROTOCOL_ERROR),
        (framed(&query(1, "www")), "message_id", PROTOCOL_ERROR),
        (framed(&with_option(11, 0)), "keepalive", PROTOCOL_ERROR),
        (framed(&with_option(11, 2)), "keepalive", PROTOCOL_ERROR),
        (framed(&response), "no_query", PROTOCOL_ERROR),
        (framed(&[0; 11]), "no_query", PROTOCOL_ERROR),
        (vec![0, 0], "no_query", PROTOCOL_ERROR),
        (framed(&vec![0; LONGEST_QUERY + 1])[..40].to_vec(), "too_long", EXCESSIVE_LOAD),
    ] {
        let client = server.client().await;
        let before = server.breaches(reason);
        let (mut send, _receive) = client.say(&octets).await;
        let _ = send.finish(); // It may be closed by now.
        client.is_told_of_the_end(code).await;
        assert_eq!(server.breaches(reason), before + 1, "{reason}");
    }
    let client = server.client().await;
    let mut one_way = client.connection.open_uni().await.unwrap();
    one_way.write_all(&whole).await.unwrap();
    client.is_told_of_the_end(PROTOCOL_ERROR).await;
    assert_eq!(server.breaches("unidirectional"), 1);
    server.until("left", |server| server.metrics.tcp.open.get() == 0).await;
}

#[tokio::test]
async fn what_is_malformed_is_answered_and_a_query_may_be_long() {
    let server = Server::start(limits(PATIENT));
    let client = server.client().await;
    let padded = with_option(12, LONGEST_QUERY - with_option(12, 0).len());
    for message in [vec![0; 12], padded] {
        let (mut send, mut receive) = client.say(&framed(&message)).await;
        send.finish().unwrap();
        let answer = hear(&mut receive).await.unwrap();
        assert_eq!(answer[2] & 0x80, 0x80);
        // Padded as over all that encrypts (RFC 8467 §4.1), and FORMERR where there is nothing to answer.
        let is_long = message.len() == LONGEST_QUERY;
        assert_eq!((answer.len().is_multiple_of(468), answer[3] & 0xf == 1), (is_long, !is_long));
    }
}

#[tokio::test]
async fn a_stream_that_does_not_end_is_answered_all_the_same() {
    let server = Server::start(limits(PATIENT));
    let client = server.client().await;
    let (send, mut receive) = client.say(&framed(&query(0, "www"))).await;
    assert_eq!(hear(&mut receive).await.unwrap(), expected("www"));
    // What it says later is not listened to.
    assert_eq!(send.stopped().await.unwrap(), Some(VarInt::from_u32(NO_ERROR)));
    client.is_served().await;
}

#[tokio::test]
async fn a_query_an_octet_at_a_time_is_answered_or_too_slow() {
    let server = Server::start(limits(SHORT));
    let client = server.client().await;
    let (mut send, mut receive) = client.open().await;
    for octet in framed(&query(0, "www")) {
        send.write_all(&[octet]).await.unwrap();
    }
    send.finish().unwrap();
    assert_eq!(hear(&mut receive).await.unwrap(), expected("www"));
    let (mut send, _receive) = client.open().await;
    let mut ticks = interval(SHORT / 10);
    let dribbled = async {
        for octet in framed(&query(0, "www")) {
            ticks.tick().await;
            send.write_all(&[octet]).await?;
        }
        Ok::<(), quinn::WriteError>(())
    };
    timeout(DEADLINE, dribbled).await.unwrap().expect_err("closed on the way");
    client.is_told_of_the_end(EXCESSIVE_LOAD).await;
    assert_eq!(server.evicted("slow"), 1);
}

#[tokio::test]
async fn a_client_that_does_not_take_its_answer_is_not_kept() {
    let server = Server::start(limits(SHORT));
    let mut config = server.config();
    let mut transport = TransportConfig::default();
    // Pings show that it is there.
    transport.stream_receive_window(VarInt::from_u32(1000)).keep_alive_interval(Some(SHORT / 20));
    config.transport_config(Arc::new(transport));
    let client = server.connect(config).await.unwrap();
    let (mut send, _unread) = client.say(&framed(&query(0, "big"))).await;
    send.finish().unwrap();
    client.is_told_of_the_end(EXCESSIVE_LOAD).await;
    assert_eq!(server.evicted("slow"), 1);
}

#[tokio::test]
async fn queries_may_be_taken_back_but_not_without_end() {
    let server = Server::start(limits(PATIENT));
    let client = server.client().await;
    let take_back = async || {
        let (mut send, _receive) = client.say(&[0]).await;
        send.reset(VarInt::from_u32(REQUEST_CANCELLED)).unwrap();
    };
    for _ in 0..TAKEN_BACK {
        take_back().await;
    }
    // An answer that nobody wants is none that was taken.
    let (mut send, mut receive) = client.say(&framed(&query(0, "big"))).await;
    receive.stop(VarInt::from_u32(REQUEST_CANCELLED)).unwrap();
    let _ = send.finish();
    client.is_told_of_the_end(EXCESSIVE_LOAD).await;
    assert_eq!(server.breaches("taken_back"), 1);

    let client = server.client().await;
    for _ in 0..3 {
        for _ in 0..TAKEN_BACK - 10 {
            let (mut send, _receive) = client.say(&[0]).await;
            send.reset(VarInt::from_u32(REQUEST_CANCELLED)).unwrap();
        }
        for _ in 0..TAKEN_BACK {
            client.is_served().await;
        }
    }
    assert_eq!(server.breaches("taken_back"), 1);
}

#[tokio::test]
async fn a_connection_that_asks_nothing_is_closed_even_if_it_pings() {
    let server = Server::start(limits(SHORT));
    let mut config = server.config();
    let mut transport = TransportConfig::default();
    transport.keep_alive_interval(Some(SHORT / 20));
    config.transport_config(Arc::new(transport));
    let pinging = server.connect(config).await.unwrap();
    pinging.is_served().await;
    pinging.is_told_of_the_end(NO_ERROR).await;
    server.until("counted", |server| server.evicted("idle") == 1).await;
    // One that vanishes is forgotten.
    let vanishing = server.client().await;
    vanishing.is_served().await;
    server.until("forgotten", |server| server.evicted("idle") == 2).await;
    server.until("left", |server| server.metrics.tcp.open.get() == 0).await;
}

#[tokio::test]
async fn what_a_client_may_do_at_once_is_limited() {
    let server = Server::start(limits(PATIENT));
    let client = server.client().await;
    assert_eq!(client.connection.max_datagram_size(), None);
    let mut held = Vec::new();
    for _ in 0..STREAMS {
        held.push(client.say(&[0]).await);
    }
    tokio::select! {
        biased;
        _ = client.connection.open_bi() => panic!("one more than {STREAMS}"),
        () = std::future::ready(()) => {}
    }
    // Leave for others comes with several that have ended, not with each.
    for (mut send, mut receive) in held {
        send.write_all(&framed(&query(0, "www"))[1..]).await.unwrap();
        send.finish().unwrap();
        assert_eq!(hear(&mut receive).await.unwrap(), expected("www"));
    }
    client.is_served().await;
}

#[tokio::test]
async fn connections_count_against_the_limits() {
    let server = Server::start(TcpLimits { connections: 4, ..limits(PATIENT) });
    let client = server.client().await;
    let mut flood = Vec::new();
    for _ in 0..20 {
        // It asks now and then, so it is never the idlest.
        client.is_served().await;
        let newcomer = server.client().await;
        // Its seat is taken a moment after its own end of the handshake.
        newcomer.is_served().await;
        flood.push(newcomer);
    }
    client.is_served().await;
    server.until("evicted", |server| server.evicted("full") == 20 + 1 - 4).await;
    assert_eq!(server.metrics.tcp.open.get(), 4);
    flood[0].is_told_of_the_end(EXCESSIVE_LOAD).await;
    let own = TcpLimits { connections_per_client: 2, ..limits(PATIENT) };
    let server = Server::start(own);
    let first = server.client().await;
    first.is_served().await;
    let others = [server.client().await, server.client().await];
    for other in &others {
        other.is_served().await;
    }
    first.is_told_of_the_end(EXCESSIVE_LOAD).await;
    assert_eq!(server.evicted("client_full"), 1);
}

/// First packets come from an address at which nobody listens to what is said.
#[tokio::test]
async fn addresses_that_are_not_proved_cost_little_and_get_little() {
    const FLOOD: u64 = 3 * UNPROVED;
    // A certificate that would fill many packets.
    let names: Vec<String> = (0..800).map(|n| format!("host{n}.dns1.example.com")).collect();
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(names).unwrap();
    let pem = (cert.pem(), signing_key.serialize_pem());
    let shown = Shown::new(Identity::of(pem.0.as_bytes(), pem.1.as_bytes()).unwrap());
    let credentials = Credentials::make();
    let server = Server::showing(shown, credentials, limits(PATIENT));
    let relay = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let spoofed = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    spoofed.connect(server.address).await.unwrap();
    let endpoint = Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
    let (mut sent, mut received, mut attempts) = (0, 0, Vec::new());
    let mut room = vec![0; 2048];
    while server.metrics.tcp.quic_retries.get() < FLOOD - UNPROVED {
        assert!(attempts.len() < 10 * FLOOD as usize, "nobody has to prove its address");
        let to = relay.local_addr().unwrap();
        attempts.push(endpoint.connect_with(server.config(), to, NAME).unwrap());
        let length = timeout(DEADLINE, relay.recv(&mut room)).await.unwrap().unwrap();
        sent += spoofed.send(&room[..length]).await.unwrap();
        while let Ok(length) = relay.try_recv(&mut room) {
            sent += spoofed.send(&room[..length]).await.unwrap();
        }
        while let Ok(length) = spoofed.try_recv(&mut room) {
            received += length;
        }
        assert!(received <= 3 * sent, "{received} octets for {sent}");
    }
    assert!(received > 0);
    // Nobody had to make room, and whoever is where it says is served.
    assert_eq!((server.metrics.tcp.accepted.get(), server.metrics.tcp.open.get()), (0, 0));
    server.shown.swap(server.credentials.identity());
    let before = server.metrics.tcp.quic_retries.get();
    let honest = server.client().await;
    honest.is_served().await;
    assert!(server.metrics.tcp.quic_retries.get() > before, "it had to show a token");
    // They are given up in time, each counted.
    server.until("given up", |server| server.evicted("handshake") >= UNPROVED).await;
    assert_eq!(server.metrics.tcp.open.get(), 1);
}

#[tokio::test]
async fn new_connections_are_shown_the_new_certificate_and_who_comes_back_resumes() {
    let server = Server::start(limits(PATIENT));
    let (comes_back, comes_anew) = (server.config(), server.config());
    let before = server.connect(comes_back.clone()).await.unwrap();
    before.is_served().await; // Tickets come with it.
    let renewed = Credentials::make();
    server.shown.swap(renewed.identity());
    before.is_served().await;
    assert!(server.connect(comes_anew).await.is_err());
    let believes_new = client_config(&renewed, &[ALPN_DOQ]);
    server.connect(believes_new).await.unwrap().is_served().await;
    // A certificate is not shown again to who resumes.
    server.connect(comes_back).await.unwrap().is_served().await;
}

/// What is said before the handshake is over, others could say again (RFC 9250 §4.5).
#[tokio::test]
async fn nothing_is_taken_as_early_data() {
    let server = Server::start(limits(PATIENT));
    let mut tls = server.credentials.client(&TLS13, &[ALPN_DOQ]);
    tls.enable_early_data = true;
    let config = ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).unwrap()));
    server.connect(config.clone()).await.unwrap().is_served().await;
    let endpoint = Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
    let connecting = endpoint.connect_with(config, server.address, NAME).unwrap();
    let connecting = connecting.into_0rtt().map(|_| ()).expect_err("no ticket allows it");
    let connection = timeout(DEADLINE, connecting).await.unwrap().unwrap();
    Client { endpoint, connection }.is_served().await;
}

#[tokio::test]
async fn who_moves_connects_again() {
    let server = Server::start(limits(SHORT));
    let client = server.client().await;
    client.is_served().await;
    client.endpoint.rebind(std::net::UdpSocket::bind("127.0.0.1:0").unwrap()).unwrap();
    let (mut send, mut receive) = client.say(&framed(&query(0, "www"))).await;
    send.finish().unwrap();
    let lost = hear(&mut receive).await.unwrap_err();
    // To its new address nothing is said; at its old one it may still hear that it was quiet for too long.
    assert!(matches!(lost, ReadError::ConnectionLost(_)), "{lost:?}");
    server.until("left", |server| server.metrics.tcp.open.get() == 0).await;
    assert!(server.metrics.text().contains("rcode=\"NOERROR\",transport=\"quic\"} 1"));
}

#[tokio::test]
async fn a_stop_answers_what_has_come_and_tells_of_the_end() {
    let server = Server::start(limits(PATIENT));
    let (asking, silent) = (server.client().await, server.client().await);
    asking.is_served().await;
    silent.is_served().await;
    let mut streams = Vec::new();
    for _ in 0..3 {
        let (mut send, receive) = asking.say(&framed(&query(0, "big"))).await;
        send.finish().unwrap();
        streams.push(receive);
    }
    server.stop.send_replace(true);
    for mut receive in streams {
        assert_eq!(hear(&mut receive).await.unwrap(), expected("big"));
    }
    asking.is_told_of_the_end(NO_ERROR).await;
    silent.is_told_of_the_end(NO_ERROR).await;
    timeout(DEADLINE, server.serving).await.unwrap().unwrap();
    assert_eq!(server.metrics.tcp.open.get(), 0);
    QuicListener::bind(server.address).expect("nobody listens");
}

#[tokio::test]
async fn a_panic_costs_its_stream_and_is_counted() {
    let server = Server::start(limits(PATIENT));
    let client = server.client().await;
    let (mut send, mut receive) = client.say(&framed(&query(0, "broken"))).await;
    send.finish().unwrap();
    let lost = hear(&mut receive).await.unwrap_err();
    assert_eq!(lost, ReadError::Reset(VarInt::from_u32(INTERNAL_ERROR)));
    client.is_served().await;
    assert!(server.metrics.text().contains("gslb_dns_panics_total{transport=\"quic\"} 1"));
}
