//! Datagrams that a proxy passes on: real sockets, one small zone.

#![expect(clippy::unwrap_used, reason = "what a test cannot go on without may as well end it")]

mod small_zone;

use std::net::{Ipv4Addr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use gslb_dns::answer::Transport;
use gslb_dns::listen::batch::{Exchange, ReplyFrom};
use gslb_dns::listen::udp::Worker;
use gslb_dns::metrics::{Metrics, Tally};
use gslb_dns::publish::Published;
use gslb_dns::rate_limit::RateLimiter;
use gslb_dns::world::RateLimits;

use small_zone::{answered, query, snapshot};

/// Far beyond any wait there is; a test that needs it has failed.
const DEADLINE: Duration = Duration::from_secs(10);
/// Answers that each client has in a second.
const ANSWERS: u32 = 3;

/// Believes 127.0.0.2 and no other; each address is limited by itself, without slip.
struct Served {
    socket: UdpSocket,
    tally: Arc<Tally>,
    metrics: Metrics,
    published: Published,
    limiter: RateLimiter,
}

impl Served {
    fn new() -> Served {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(DEADLINE)).unwrap();
        let tally = Arc::new(Tally::new(Transport::Udp));
        let metrics = Metrics::new(vec![Arc::clone(&tally)]);
        let limits = RateLimits {
            answers_per_second: ANSWERS,
            errors_per_second: ANSWERS,
            ipv4_prefix: 32,
            ipv6_prefix: 128,
            slip: 0,
            slots: 1024,
            exempt: vec![],
        };
        let limiter = RateLimiter::new(limits, [7; 16]);
        Served { socket, tally, metrics, published: Published::new(snapshot()), limiter }
    }

    /// Sends each datagram from 127.0.0.`last` and serves them in one batch; the ids of what was answered.
    fn ask(&self, last: u8, datagrams: &[Vec<u8>]) -> Vec<u16> {
        let answers = self.answers(last, datagrams).into_iter().map(|answer| {
            let id = u16::from_be_bytes([answer[0], answer[1]]);
            assert_eq!(answer, answered(id, "www", Transport::Udp), "with no header before it");
            id
        });
        answers.collect()
    }

    fn answers(&self, last: u8, datagrams: &[Vec<u8>]) -> Vec<Vec<u8>> {
        let sender = UdpSocket::bind((Ipv4Addr::new(127, 0, 0, last), 0)).unwrap();
        sender.connect(self.socket.local_addr().unwrap()).unwrap();
        for datagram in datagrams {
            sender.send(datagram).unwrap();
        }
        let proxies = ["127.0.0.2/32".parse().unwrap()];
        let limiter = Some(&self.limiter);
        let reply_from = ReplyFrom::Socket;
        let mut worker =
            Worker::new(&self.socket, reply_from, &self.published, "test", limiter, &self.tally)
                .believing(&proxies);
        // Loopback has delivered them all, and what is answered stands in our queue when the turn is over.
        assert_eq!(worker.turn(Exchange::receive), datagrams.len());
        sender.set_nonblocking(true).unwrap();
        let mut answers = vec![];
        let mut room = [0; 1500];
        while let Ok(length) = sender.recv(&mut room) {
            answers.push(room[..length].to_vec());
        }
        answers
    }

    fn metric(&self, series: &str) -> u64 {
        let text = self.metrics.text();
        let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no {series} in\n{text}")).parse().unwrap()
    }

    fn refused(&self) -> u64 {
        self.metric("gslb_dns_proxy_refused_datagrams_total{transport=\"udp\"}")
    }
}

/// As dnsdist writes it for an IPv4 client, with something more to say behind.
fn header(client: u8) -> Vec<u8> {
    let addresses = [198, 51, 100, client, 192, 0, 2, 53, 0x30, 0x39, 0, 53];
    let more = [0xee, 0, 3, b't', b'l', b'v'];
    let length = (addresses.len() + more.len()) as u8;
    [b"\r\n\r\n\0\r\nQUIT\n\x21\x12\0", &[length][..], &addresses, &more].concat()
}

const LOCAL: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";

fn from(header: &[u8], id: u16) -> Vec<u8> {
    [header, &query(id, "www")].concat()
}

#[test]
fn the_client_in_the_header_is_the_one_that_counts() {
    let served = Served::new();
    // Five of one client, of which three are answered, and one of another, which is answered last.
    let asked: Vec<_> =
        (1..=5).map(|id| from(&header(1), id)).chain([from(&header(2), 6)]).collect();
    assert_eq!(served.ask(2, &asked), [1, 2, 3, 6]);
    // The proxy speaks for itself, and has a limit of its own.
    let asked: Vec<_> = (11..=15).map(|id| from(LOCAL, id)).collect();
    assert_eq!(served.ask(2, &asked), [11, 12, 13]);
    assert_eq!(served.refused(), 0);
}

#[test]
fn a_proxys_datagram_without_a_header_is_dropped_and_counted() {
    let served = Served::new();
    let whole = header(1);
    let mut no_signature = whole.clone();
    no_signature[3] = b' ';
    let mut other_version = whole.clone();
    other_version[12] = 0x11;
    let mut longer_than_it_is = from(&whole, 2);
    longer_than_it_is[15] = 0xff;
    let v1 = b"PROXY UDP4 198.51.100.1 192.0.2.53 12345 53\r\n".to_vec();
    let bad = [
        query(1, "www"),
        from(&no_signature, 2),
        from(&other_version, 3),
        longer_than_it_is,
        from(&v1, 4),
        whole[..20].to_vec(),
        vec![],
    ];
    let asked: Vec<_> = bad.iter().cloned().chain([from(&whole, 5)]).collect();
    assert_eq!(served.ask(2, &asked), [5]);
    assert_eq!(served.refused(), bad.len() as u64);
    // Behind a header stands a message like every other: nothing, or what is no query.
    let twice = [&header(1)[..], &from(&header(1), 6)].concat();
    let answers = served.answers(2, &[whole, twice]);
    assert!(matches!(&answers[..], [answer] if answer[3] & 0xf != 0), "an error: {answers:02x?}");
    assert_eq!(served.refused(), bad.len() as u64);
}

#[test]
fn nobody_else_is_believed() {
    let served = Served::new();
    // Each in the name of another: taken for the header of a message, which asks for nothing.
    let forged: Vec<_> = (1..=5).map(|id| from(&header(id as u8), id)).collect();
    let answered = served.answers(1, &forged);
    assert!(answered.iter().all(|answer| answer[3] & 0xf != 0), "an error: {answered:02x?}");
    assert_eq!(served.refused(), 0);
    assert_eq!(served.ask(1, &[query(1, "www")]), [1]);
}
