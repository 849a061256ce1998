//! The promise of the UDP path: after its start it allocates nothing, frees nothing and takes no lock, with
//! cookies, limits and the count of talkers too, and whatever names are asked for.
//!
//! The real worker on a real socket, in this thread, so that its own counts are all that is counted.

#![expect(clippy::unwrap_used, reason = "what a test cannot go on without may as well end it")]

mod busy_world;
mod small_world;
mod spent;

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use common::clock::unix_seconds;
use common::lock;
use gslb_dns::answer::Transport;
use gslb_dns::cookie::{Secret, Secrets};
use gslb_dns::explain::query;
use gslb_dns::listen::batch::{Exchange, ReplyFrom};
use gslb_dns::listen::udp::Worker;
use gslb_dns::metrics::{Metrics, Tally};
use gslb_dns::publish::Published;
use gslb_dns::query::ClientSubnet;
use gslb_dns::query_log::QueryLog;
use gslb_dns::rate_limit::RateLimiter;
use gslb_dns::talkers::{self, History, Outcome, SAMPLED, WINDOW};
use gslb_dns::world::{self, Clients, Dnstap, Messages, RateLimits, Recording, Sample};

use busy_world::snapshot;
use spent::Spent;

const QUERIES: usize = 1 << 20;
/// Different packets, gone round in: a multiple of the batch.
const PACKETS: usize = 64 * 64;
const BATCH: usize = 64;

/// Every name with every type from clients of every kind, and packets that are no queries of ours.
fn packets() -> Vec<Vec<u8>> {
    const NAMES: [&str; 22] = [
        "example.com",
        "host.example.com",
        "HOST.Example.com",
        "news.example.com",
        "lost.example.com",
        "nowhere.example.com",
        "a.b.dev.example.com",
        "x.tree.example.com",
        "x.sub.example.com",
        "many.example.com",
        "n4711.example.com",
        "www.example.com",
        "map.example.com",
        "sticky.example.com",
        "down.example.com",
        "x.pool.example.com",
        "a.b.pool.example.com",
        "cdn.example.com",
        "alt.example.com",
        "www.example.net",
        "id.server",
        "blog.example.com",
    ];
    const TYPES: [&str; 9] = ["A", "A", "A", "AAAA", "AAAA", "TXT", "ANY", "HTTPS", "HTTPS"];
    let mut mixed: u64 = 1;
    let mut dice = move |end: usize| {
        mixed =
            mixed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (mixed >> 33) as usize % end
    };
    let mut packets = Vec::new();
    while packets.len() < PACKETS {
        let name = NAMES[dice(NAMES.len())].parse().unwrap();
        let qtype = TYPES[dice(TYPES.len())].parse().unwrap();
        let bytes = [dice(256) as u8, dice(256) as u8, dice(256) as u8];
        let v4 = |first| Ipv4Addr::new(first, bytes[0] & 3, bytes[1] & 0x4f, bytes[2]).into();
        let v6 = |first, second| {
            let third = u16::from(bytes[0]);
            IpAddr::from(Ipv6Addr::new(first, second, third, 0, 0, 0, 0, 0))
        };
        let client: Option<(IpAddr, u8)> = match dice(8) {
            0 => None,
            1 => Some((v4(81), 24)),
            2 => Some((v4(63), 20)),
            3 => Some((v4(10), 24)),
            4 => Some((v4(81), dice(33) as u8)),
            5 => Some((v6(0x2a02, 0xd280), 48)),
            6 => Some((v6(0x2002, 0x5102), 48)), // 6to4
            _ => Some((v6(0x64, 0xff9b), 128)),
        };
        let subnet = client.map(|(address, source)| ClientSubnet::new(address, source));
        let mut packet = query(&name, qtype, subnet.as_ref());
        match dice(16) {
            0 => packet.truncate(packet.len() - 1), // An OPT cut short: FORMERR.
            1 => packet[2] |= 0x20,                 // Another opcode: NOTIMP.
            2 if subnet.is_none() => {
                packet.truncate(packet.len() - 11); // No OPT: 512 octets at most.
                packet[11] = 0;
            }
            3 => add_cookie(&mut packet, subnet.as_ref(), &[7; 8]),
            4 => add_cookie(&mut packet, subnet.as_ref(), &[8; 24]),
            5 => add_cookie(&mut packet, subnet.as_ref(), &good_cookie()),
            _ => {}
        }
        packets.push(packet);
    }
    packets
}

fn secrets() -> Secrets {
    Secrets::new([Secret::new([1; 16]), Secret::new([2; 16])])
}

/// One that is good for us, for longer than the test takes.
fn good_cookie() -> [u8; 24] {
    secrets().judge(&[9; 8], &[], Ipv4Addr::LOCALHOST.into(), unix_seconds()).unwrap().reply
}

/// Behind the client subnet, if there is one.
fn add_cookie(packet: &mut Vec<u8>, subnet: Option<&ClientSubnet>, cookie: &[u8]) {
    let before = subnet.map_or(0, |subnet| 8 + subnet.wire_address().len());
    let options_at = packet.len() - before - 2;
    packet[options_at..options_at + 2]
        .copy_from_slice(&((before + 4 + cookie.len()) as u16).to_be_bytes());
    packet.extend_from_slice(&[0, 10, 0, cookie.len() as u8]);
    packet.extend_from_slice(cookie);
}

/// A limiter that soon has had enough of us, and sends every so many answers all the same.
fn limiter(slip: u8) -> RateLimiter {
    let limits = RateLimits {
        answers_per_second: 1000,
        errors_per_second: 100,
        ipv4_prefix: 24,
        ipv6_prefix: 56,
        slip,
        slots: 1024,
        exempt: vec!["192.0.2.0/24".parse().unwrap()],
    };
    RateLimiter::new(limits, [3; 16])
}

/// What a proxy says of a client.
const PROXIED: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x21\x12\0\x0c\x51\x02\x45\x01\0\0\0\0\0\0\0\0";

/// The client's side: its own packets and buffers, so that nothing of it is counted.
struct Asker {
    socket: UdpSocket,
    packets: Vec<Vec<u8>>,
    room: Vec<u8>,
    truncated: usize,
    /// HTTPS answers with a record, and those with several.
    bound: [usize; 2],
    /// Stands before each query.
    header: &'static [u8],
}

impl Asker {
    fn send(&mut self, batch: usize) {
        for index in 0..BATCH {
            let packet = batch * BATCH % PACKETS + index;
            let packet = &mut self.packets[packet];
            packet[..2].copy_from_slice(&(index as u16).to_be_bytes());
            self.socket.send(&[self.header, packet].concat()).unwrap();
        }
    }

    /// Every query has one answer, in the order asked.
    fn receive(&mut self) {
        for index in 0..BATCH {
            let length = self.socket.recv(&mut self.room).unwrap();
            assert!(length >= 12);
            assert_eq!(self.room[..2], (index as u16).to_be_bytes());
            assert_eq!(self.room[2] & 0x80, 0x80);
            self.truncated += usize::from(self.room[2] >> 1 & 1);
            let records = u16::from_be_bytes([self.room[6], self.room[7]]);
            let name = self.room[12..].iter().position(|octet| *octet == 0).unwrap_or(0);
            if self.room[13 + name..].starts_with(&[0, 65]) {
                self.bound[0] += usize::from(records == 1);
                self.bound[1] += usize::from(records > 1);
            }
        }
    }
}

#[test]
fn a_query_costs_no_allocation_and_no_lock() {
    // The counters count, or their zeros below would say nothing.
    let mut spent = Spent::default();
    let guarded = lock::Mutex::new(());
    spent.on(|| drop(std::hint::black_box(Vec::<u8>::with_capacity(1))));
    spent.on(|| drop(guarded.lock()));
    let one_each = Spent { allocated: 1, freed: 1, locked: 1 };
    assert_eq!(spent, one_each);

    let server = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address: SocketAddr = server.local_addr().unwrap();
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    client.connect(address).unwrap();
    client.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let (packets, room) = (packets(), vec![0; 2048]);
    let mut asker =
        Asker { socket: client, packets, room, truncated: 0, bound: [0; 2], header: b"" };

    let tally = Arc::new(Tally::new(Transport::Udp));
    let metrics = Metrics::new(vec![Arc::clone(&tally)]);
    let snapshot = snapshot(&metrics);
    assert!(snapshot.ground.zones.are_large());
    let published = Published::new(snapshot);
    drop(published.swap_secrets(secrets()));
    // With a slip of 1 every query has an answer, over the limit or not.
    let limiter = limiter(1);
    let some = QUERIES / 4;
    let sender = [address.ip().into()];
    for (limiter, queries, header, proxies) in [
        (None, QUERIES, &b""[..], &[][..]),
        (Some(&limiter), some, b"", &[]),
        (None, some, PROXIED, &sender),
    ] {
        asker.header = header;
        let mut worker =
            Worker::new(&server, ReplyFrom::Socket, &published, "test", limiter, &tally)
                .believing(proxies)
                .counting(talkers::counter([5; 8], unix_seconds()).0);
        // The first batch warms up what a thread sets up once.
        asker.send(0);
        take(&mut worker, &mut Spent::default());
        asker.receive();
        let mut spent = Spent::default();
        for batch in 1..=queries / BATCH {
            asker.send(batch);
            take(&mut worker, &mut spent);
            asker.receive();
        }
        assert_eq!(spent, Spent::default(), "in {queries} queries");
    }

    // Everything was met, or nothing was shown.
    let metrics = metrics.text();
    for rcode in ["NOERROR", "NXDOMAIN", "REFUSED", "FORMERR", "NOTIMP", "BADCOOKIE"] {
        let series = format!("gslb_dns_answers_total{{rcode=\"{rcode}\",transport=\"udp\"}}");
        assert!(value(&metrics, &series) > QUERIES / 1000, "{metrics}");
    }
    for state in ["new", "valid", "invalid"] {
        let series = format!("gslb_dns_cookies_total{{state=\"{state}\",transport=\"udp\"}}");
        assert!(value(&metrics, &series) > QUERIES / 100, "{metrics}");
    }
    for outcome in ["slipped", "bad_cookie"] {
        let series = format!("gslb_dns_rate_limited_total{{outcome=\"{outcome}\"}}");
        assert!(value(&metrics, &series) > QUERIES / 100, "{metrics}");
    }
    let steered = value(&metrics, "gslb_dns_steered_total{transport=\"udp\"}");
    assert!(steered > QUERIES / 4, "{metrics}");
    for (metric, labels) in [
        ("service", "failing=\"no\",service=\"www.example.com.\""),
        ("service", "failing=\"all_down\",service=\"down.example.com.\""),
        ("site", "service=\"www.example.com.\",site=\"fra\""),
    ] {
        let series = format!("gslb_dns_{metric}_answers_total{{{labels}}}");
        assert!(value(&metrics, &series) > QUERIES / 1000, "{metrics}");
    }
    assert_eq!(value(&metrics, "gslb_dns_panics_total{transport=\"udp\"}"), 0);
    assert!(asker.truncated > 0);
    assert!(asker.bound.iter().all(|met| *met > QUERIES / 200), "HTTPS: {:?}", asker.bound);
}

/// A thread's windows come and go, with whoever asks and whatever is asked for, and with a history that comes to fetch
/// them or does not.
#[test]
fn a_counter_of_talkers_costs_no_allocation_and_no_lock() {
    const ASKED: u32 = 1 << 14;
    let metrics = Metrics::new(vec![]);
    let ground = Arc::clone(&snapshot(&metrics).ground);
    let packets = packets();
    for fetched in [true, false] {
        let (mut counter, outlet) = talkers::counter([6; 8], 0);
        let mut history = History::new(vec![outlet], 0);
        let (mut spent, mut due) = (Spent::default(), 0);
        for window in 0..20 {
            spent.on(|| {
                for number in 0..ASKED {
                    if counter.is_due() {
                        due += 1;
                        let client = Ipv4Addr::from_bits(number.wrapping_mul(0x9e37_79b9));
                        let packet = &packets[number as usize % PACKETS];
                        let zones = &ground.zones;
                        counter.count(zones, client.into(), packet, Outcome::default());
                    }
                }
                counter.hand_over((window + 1) * WINDOW);
            });
            if fetched {
                history.gather();
            }
        }
        assert_eq!(spent, Spent::default());
        assert_eq!(due, 20 * ASKED / SAMPLED);
        history.gather();
        let report = history.report(20 * WINDOW);
        let met = report.names.talkers.len();
        assert!(met > 15 || !fetched, "{report:?}");
        counter.count(&ground.zones, Ipv4Addr::LOCALHOST.into(), &packets[0], Outcome::default());
        counter.hand_over(21 * WINDOW);
        history.gather();
        assert_eq!(history.report(21 * WINDOW).lost_windows > 0, !fetched);
    }
}

/// The same with a query log, be it read, full or sampled.
#[test]
fn a_logged_query_costs_no_allocation_and_no_lock() {
    let server = UdpSocket::bind("127.0.0.1:0").unwrap();
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    client.connect(server.local_addr().unwrap()).unwrap();
    client.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let (packets, room) = (packets(), vec![0; 2048]);
    let mut asker =
        Asker { socket: client, packets, room, truncated: 0, bound: [0; 2], header: b"" };
    let tally = Arc::new(Tally::new(Transport::Udp));
    let published = Published::new(snapshot(&Metrics::new(vec![Arc::clone(&tally)])));
    drop(published.swap_secrets(secrets()));
    let dir = tempfile::tempdir().unwrap();
    let (read, absent) = (dir.path().join("read"), dir.path().join("absent"));
    let reader = discard(&read);
    for (socket, sample, is_full) in
        [(&read, 1.0, false), (&absent, 1.0, true), (&absent, 0.01, false)]
    {
        let metrics = Metrics::new(vec![]).query_log;
        let config = world::QueryLog {
            sample: Sample::of(sample).unwrap(),
            dnstap: Some(Dnstap { socket: socket.clone(), messages: Messages::Both }),
            recording: Some(recording(&dir.path().join("queries"))),
        };
        let mut log = QueryLog::new(config, "test", metrics.clone());
        let tap = log.tap(Transport::Udp, server.local_addr().unwrap(), [1; 8]);
        let writing = log.start().unwrap();
        let mut worker =
            Worker::new(&server, ReplyFrom::Socket, &published, "test", None, &tally).tapped(tap);
        asker.send(0);
        take(&mut worker, &mut Spent::default());
        asker.receive();
        let mut spent = Spent::default();
        for batch in 1..=QUERIES / 16 / BATCH {
            asker.send(batch);
            take(&mut worker, &mut spent);
            asker.receive();
        }
        assert_eq!(spent, Spent::default(), "{socket:?} {sample}");
        drop(worker);
        drop(writing);
        assert_eq!(metrics.written.get() > 10_000, socket == &read, "{socket:?} {sample}");
        assert_eq!(metrics.dropped.get() > 10_000, is_full, "{socket:?} {sample}");
        let full = metrics.unrecorded.with_label_values(&["full"]).get();
        let least = QUERIES as f64 / 16.0 * sample / 2.0;
        assert!((metrics.recorded.get() + full) as f64 > least, "{socket:?} {sample}");
        assert_eq!(metrics.unrecorded.with_label_values(&["disk"]).get(), 0);
    }
    let recorded = fs::read_dir(dir.path().join("queries")).unwrap().count();
    assert_eq!(recorded, 3, "of each log a file, and no more than are kept");
    reader.join().unwrap();
}

fn recording(dir: &Path) -> Recording {
    let file_age = Duration::from_secs(3600);
    let (dir, clients) = (dir.to_owned(), Clients::Whole);
    Recording { dir, file_octets: 1 << 20, file_age, files: 3, clients }
}

/// A reader that takes one log to its end.
fn discard(socket: &Path) -> thread::JoinHandle<()> {
    const ACCEPT: &[u8] = b"\0\0\0\0\0\0\0\x22\0\0\0\x01\0\0\0\x01\0\0\0\x16protobuf:dnstap.Dnstap";
    let listener = UnixListener::bind(socket).unwrap();
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.write_all(ACCEPT).unwrap();
        let mut room = vec![0; 1 << 16];
        while stream.read(&mut room).is_ok_and(|octets| octets > 0) {}
    })
}

/// One batch, which loopback has delivered.
fn take(worker: &mut Worker<'_>, spent: &mut Spent) {
    let mut taken = 0;
    while taken < BATCH {
        let count = spent.on(|| worker.turn(Exchange::receive_ready));
        assert!(count > 0, "a batch of {BATCH} ended at {taken}");
        taken += count;
    }
}

/// Water torture: every name is another, and none exists. The server remembers none of them.
#[test]
fn a_flood_of_random_names_leaves_nothing_behind() {
    const NXDOMAIN: u8 = 3;
    flood_with_names_below("example.com", NXDOMAIN);
}

/// The same where every name exists, and a service answers it.
#[test]
fn a_flood_of_random_names_below_a_wildcard_leaves_nothing_behind() {
    const NOERROR: u8 = 0;
    flood_with_names_below("pool.example.com", NOERROR);
}

fn flood_with_names_below(parent: &str, rcode: u8) {
    const FLOOD: usize = 1 << 17;
    const LABEL: usize = 16;
    let server = UdpSocket::bind("127.0.0.1:0").unwrap();
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    client.connect(server.local_addr().unwrap()).unwrap();
    client.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let tally = Arc::new(Tally::new(Transport::Udp));
    let metrics = Metrics::new(vec![Arc::clone(&tally)]);
    let published = Published::new(snapshot(&metrics));
    drop(published.swap_secrets(secrets()));
    // Most of them are dropped: that costs nothing either.
    let limiter = limiter(2);
    let octets = limiter.octets();
    let of_services = |text: &str| text.matches("service=\"").count();
    let before = of_services(&metrics.text());
    let mut worker =
        Worker::new(&server, ReplyFrom::Socket, &published, "test", Some(&limiter), &tally);
    let name = format!("{}.{parent}", "x".repeat(LABEL)).parse().unwrap();
    let mut packet = query(&name, "A".parse().unwrap(), None);
    let (mut spent, mut room) = (Spent::default(), [0; 2048]);
    let (mut whole, mut cut) = (vec![], vec![]);
    let mut number: u64 = 0;
    for batch in 0..FLOOD / BATCH {
        for _ in 0..BATCH {
            number += 1;
            // Hexadecimal digits, from the lowest: no two labels are alike.
            for (at, letter) in packet[13..13 + LABEL].iter_mut().enumerate() {
                let mixed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
                *letter = b"0123456789abcdef"[(mixed >> (4 * at)) as usize % 16];
            }
            client.send(&packet).unwrap();
        }
        let mut warm_up = Spent::default();
        take(&mut worker, if batch == 0 { &mut warm_up } else { &mut spent });
        client.set_nonblocking(true).unwrap();
        while let Ok(length) = client.recv(&mut room) {
            assert_eq!(room[3] & 0xf, rcode);
            if room[2] >> 1 & 1 == 1 { &mut cut } else { &mut whole }.push(length);
        }
        client.set_nonblocking(false).unwrap();
    }
    assert_eq!(spent, Spent::default(), "in {FLOOD} queries");
    assert_eq!(limiter.octets(), octets);
    for lengths in [&mut whole, &mut cut] {
        assert!(!lengths.is_empty());
        lengths.dedup();
        assert_eq!(lengths.len(), 1, "{lengths:?}");
    }
    let after = metrics.text();
    assert!(value(&after, "gslb_dns_rate_limited_total{outcome=\"dropped\"}") > 0);
    // No name became a label.
    assert_eq!(of_services(&after), before);
}

fn value(metrics: &str, series: &str) -> usize {
    let line = metrics.lines().find(|line| line.starts_with(series));
    let line = line.unwrap_or_else(|| panic!("no {series} in\n{metrics}"));
    line.rsplit(' ').next().unwrap().parse().unwrap()
}
