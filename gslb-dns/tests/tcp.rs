//! DNS over TCP as clients meet it: real sockets, a listener on port 0, one small zone.

#![expect(clippy::unwrap_used, reason = "what a test cannot go on without may as well end it")]

mod frames;
mod listening;
mod small_zone;

use std::fs::File;
use std::io;
use std::process::Command;
use std::time::Duration;

use gslb_dns::answer::Transport;
use gslb_dns::listen::tcp::Carries;
use gslb_dns::world::TcpLimits;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{Instant, timeout};

use frames::{framed, is_served, receive};
use listening::{DEADLINE, PATIENT, SHORT, Server, connect_from, dribble, limits};
use small_zone::{answered, query};

fn start(limits: TcpLimits) -> Server {
    Server::start(Carries::Dns, vec![], limits)
}

struct Client(TcpStream);

impl Client {
    async fn of(server: &Server) -> Client {
        Client::from(1, server).await
    }

    /// From 127.0.0.`host`.
    async fn from(host: u8, server: &Server) -> Client {
        Client(connect_from(host, server.address()).await)
    }

    async fn send(&mut self, octets: &[u8]) {
        self.0.write_all(octets).await.unwrap();
    }

    async fn receive(&mut self) -> io::Result<Vec<u8>> {
        receive(&mut self.0).await
    }

    async fn is_served(&mut self) {
        is_served(&mut self.0, Transport::Tcp).await;
    }

    /// The server closes, and says nothing before.
    async fn is_closed(&mut self) {
        let error = self.receive().await.expect_err("nothing more was to come");
        let closed = [io::ErrorKind::UnexpectedEof, io::ErrorKind::ConnectionReset];
        assert!(closed.contains(&error.kind()), "{error}");
    }
}

/// Answers without an error so far.
fn answers(server: &Server) -> usize {
    let text = server.metrics.text();
    let of_tcp = |line: &&str| line.starts_with("gslb_dns_answers_total{rcode=\"NOERROR\"");
    let line = text.lines().find(of_tcp).unwrap();
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

fn expected(id: u16, label: &str) -> Vec<u8> {
    answered(id, label, Transport::Tcp)
}

#[tokio::test]
async fn queries_are_answered_in_order_however_they_are_cut() {
    let server = start(limits(PATIENT));
    let labels = ["www", "nothing", "big", "www", "big", "www"];
    let stream: Vec<u8> =
        labels.iter().zip(1..).flat_map(|(label, id)| framed(&query(id, label))).collect();
    for piece in [stream.len(), 100, 7, 1] {
        let mut client = Client::of(&server).await;
        for octets in stream.chunks(piece) {
            client.send(octets).await;
        }
        for (label, id) in labels.iter().zip(1..) {
            assert_eq!(client.receive().await.unwrap(), expected(id, label), "{label} by {piece}");
        }
    }
}

#[tokio::test]
async fn answers_are_those_of_udp_but_for_the_size() {
    assert_eq!(expected(1, "www"), answered(1, "www", Transport::Udp));
    assert_eq!(expected(1, "nothing"), answered(1, "nothing", Transport::Udp));
    assert!(expected(1, "big").len() > 29_000);
    assert!(answered(1, "big", Transport::Udp).len() < 512);
}

#[tokio::test]
async fn what_is_no_query_closes_after_the_answers_before_it() {
    let server = start(limits(PATIENT));
    let mut response = query(2, "www");
    response[2] |= 0x80;
    for bad in [framed(&response), framed(&[0; 11]), framed(&[])] {
        let mut client = Client::of(&server).await;
        client.send(&[framed(&query(1, "www")), bad].concat()).await;
        assert_eq!(client.receive().await.unwrap(), expected(1, "www"));
        client.is_closed().await;
    }
    // A query that makes no sense is still a query.
    let mut client = Client::of(&server).await;
    client.send(&framed(&[0; 12])).await;
    assert_eq!(client.receive().await.unwrap()[3] & 0xf, 1, "FORMERR");
    client.is_served().await;
}

#[tokio::test]
async fn a_client_that_ends_its_half_gets_its_answers_first() {
    let server = start(limits(PATIENT));
    let mut client = Client::of(&server).await;
    client.send(&framed(&query(1, "www")).repeat(3)).await;
    client.0.shutdown().await.unwrap();
    for _ in 0..3 {
        assert_eq!(client.receive().await.unwrap(), expected(1, "www"));
    }
    client.is_closed().await;
    server.until_nobody_is_connected().await;
}

#[tokio::test]
async fn an_idle_connection_is_closed() {
    let server = start(limits(SHORT));
    let began = Instant::now();
    let mut silent = Client::of(&server).await;
    let mut asked = Client::of(&server).await;
    asked.is_served().await;
    silent.is_closed().await;
    asked.is_closed().await;
    assert!(began.elapsed() >= SHORT);
    server.until("counted", |server| server.evicted("idle") == 2).await;
    assert_eq!(server.metrics.tcp.accepted.get(), 2);
    server.until_nobody_is_connected().await;
}

#[tokio::test]
async fn a_connection_that_dribbles_is_closed() {
    let server = start(limits(SHORT));
    let mut client = Client::of(&server).await;
    client.is_served().await;
    // Each octet comes well in time; the query does not.
    let dribbled = dribble(&mut client.0, &framed(&query(1, "www")).repeat(100)).await;
    dribbled.expect_err("closed on the way");
    assert_eq!(server.evicted("slow"), 1);
}

#[tokio::test]
async fn a_client_that_does_not_read_is_neither_read_from_nor_kept() {
    let server = start(limits(SHORT));
    let client = Client::of(&server).await;
    let (_unread, mut sending) = client.0.into_split();
    // Far more than the kernel holds of either direction.
    let queries = framed(&query(1, "big")).repeat(1 << 20);
    let sent = timeout(DEADLINE, sending.write_all(&queries)).await.unwrap();
    sent.expect_err("closed on the way");
    assert_eq!(server.evicted("slow"), 1);
    let held = answers(&server) * expected(1, "big").len();
    assert!(held < 8 << 20, "{held} octets answered, and none read");
    Client::of(&server).await.is_served().await;
}

#[tokio::test]
async fn a_client_that_has_its_share_loses_its_own_idlest() {
    let server = start(TcpLimits { connections_per_client: 2, ..limits(PATIENT) });
    let mut other = Client::from(2, &server).await;
    other.is_served().await;
    let mut first = Client::of(&server).await;
    let mut second = Client::of(&server).await;
    first.is_served().await;
    second.is_served().await;
    first.is_served().await;
    let mut third = Client::of(&server).await;
    second.is_closed().await;
    for client in [&mut other, &mut first, &mut third] {
        client.is_served().await;
    }
    assert_eq!((server.evicted("client_full"), server.evicted("full")), (1, 0));
    assert_eq!(server.metrics.tcp.open.get(), 3);
}

#[tokio::test]
async fn at_the_limit_the_idlest_leaves() {
    let server = start(TcpLimits { connections: 2, ..limits(PATIENT) });
    let mut first = Client::from(1, &server).await;
    let mut second = Client::from(2, &server).await;
    first.is_served().await;
    second.is_served().await;
    first.is_served().await;
    let mut third = Client::from(3, &server).await;
    second.is_closed().await;
    for client in [&mut first, &mut third] {
        client.is_served().await;
    }
    assert_eq!((server.evicted("client_full"), server.evicted("full")), (0, 1));
}

#[tokio::test]
async fn listeners_share_one_limit() {
    let limits = TcpLimits { connections: 1, ..limits(PATIENT) };
    let server = Server::start_at(&["127.0.0.1:0", "[::1]:0"], Carries::Dns, vec![], limits);
    let mut clients = Vec::new();
    for address in &server.addresses {
        let mut client = Client(TcpStream::connect(address).await.unwrap());
        client.is_served().await;
        clients.push(client);
    }
    clients[0].is_closed().await;
    clients[1].is_served().await;
}

#[tokio::test]
async fn a_panic_costs_its_connection_and_is_counted() {
    let server = start(limits(PATIENT));
    let mut neighbour = Client::of(&server).await;
    neighbour.is_served().await;
    let mut client = Client::of(&server).await;
    client.send(&framed(&query(1, "broken"))).await;
    client.is_closed().await;
    neighbour.is_served().await;
    let counted = "gslb_dns_panics_total{transport=\"tcp\"} 1";
    server.until("counted", |server| server.metrics.text().contains(counted)).await;
    server.until("left", |server| server.metrics.tcp.open.get() == 1).await;
}

#[tokio::test]
async fn a_stop_answers_what_has_come_and_closes() {
    let server = start(limits(PATIENT));
    let address = server.address();
    let mut asking = Client::of(&server).await;
    let mut silent = Client::of(&server).await;
    asking.is_served().await;
    silent.is_served().await;
    asking.send(&framed(&query(1, "big")).repeat(3)).await;
    let began = Instant::now();
    server.stop();
    for _ in 0..3 {
        assert_eq!(asking.receive().await.unwrap(), expected(1, "big"));
    }
    asking.is_closed().await;
    silent.is_closed().await;
    server.ended().await;
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    TcpStream::connect(address).await.expect_err("nobody listens");
}

#[tokio::test]
async fn a_stop_waits_for_nobody_for_long() {
    let server = start(limits(DEADLINE));
    let (_unread, mut sending) = Client::of(&server).await.0.into_split();
    let flood = framed(&query(1, "big")).repeat(1 << 20);
    let flooding = tokio::spawn(async move { sending.write_all(&flood).await });
    server.until("answering", |server| answers(server) > 0).await;
    let began = Instant::now();
    server.stop();
    server.ended().await;
    assert!(began.elapsed() < PATIENT, "{:?}", began.elapsed());
    timeout(DEADLINE, flooding).await.unwrap().unwrap().expect_err("closed on the way");
}

/// Takes every descriptor there is, so it has a process of its own.
#[test]
fn a_server_out_of_descriptors_neither_spins_nor_dies() {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "out_of_descriptors", "--ignored", "--nocapture"])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("1 passed"), "{text}{errors}");
}

#[tokio::test]
#[ignore = "run in a process of its own by a_server_out_of_descriptors_neither_spins_nor_dies"]
async fn out_of_descriptors() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: Some(64), maximum }).unwrap();
    let server = start(limits(DEADLINE));
    // A descriptor for each client, taken while there are some.
    let mut sockets: Vec<TcpSocket> = (0..3).map(|_| TcpSocket::new_v4().unwrap()).collect();
    let mut connect = || {
        let connected = sockets.pop().unwrap().connect(server.address());
        async { Client(timeout(DEADLINE, connected).await.unwrap().unwrap()) }
    };
    let hoard = || std::iter::from_fn(|| File::open("/dev/null").ok()).collect::<Vec<_>>();
    let hoarded = hoard();
    assert!(!hoarded.is_empty());

    // Nobody can be evicted: nothing can be done but to try again now and then.
    let mut first = connect().await;
    let began = Instant::now();
    server.until("refused", |server| server.metrics.tcp.accept_errors.get() >= 5).await;
    assert!(began.elapsed() >= Duration::from_millis(350), "{:?}", began.elapsed());
    drop(hoarded);
    first.is_served().await;

    // The idlest makes room, and the new one is served.
    let errors = server.metrics.tcp.accept_errors.get();
    let _hoarded = hoard();
    let mut second = connect().await;
    first.is_closed().await;
    drop(first);
    second.is_served().await;
    assert_eq!(server.evicted("full"), 1);
    assert_eq!(server.metrics.tcp.accept_errors.get(), errors + 1);
}
