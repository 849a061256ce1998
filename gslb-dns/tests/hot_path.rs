//! The promise of the UDP path: after its start it allocates nothing, frees nothing and takes no lock.
//!
//! The real worker on a real socket, in this thread, so that its own counts are all that is counted.

// An allocator is an unsafe trait. This one forwards to the system's and counts: what it promises, the
// system's keeps.
#![allow(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "what a test cannot go on without may as well end it")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use gslb_dns::answer::Transport;
use gslb_dns::config;
use gslb_dns::explain::query;
use gslb_dns::health::board::Board;
use gslb_dns::health::last_known::LastKnown;
use gslb_dns::health::overrides::{Glob, Order, Override};
use gslb_dns::listen::batch::{Exchange, ReplyFrom};
use gslb_dns::listen::udp::Worker;
use gslb_dns::lock;
use gslb_dns::metrics::{Metrics, Tally};
use gslb_dns::publish::Published;
use gslb_dns::query::ClientSubnet;
use gslb_dns::snapshot::{Groundwork, Snapshot};
use jiff::Timestamp;

const QUERIES: usize = 1 << 20;
/// Different packets, gone round in: a multiple of the batch.
const PACKETS: usize = 64 * 64;
const BATCH: usize = 64;

thread_local! {
    static ALLOCATED: Cell<u64> = const { Cell::new(0) };
    static FREED: Cell<u64> = const { Cell::new(0) };
}

struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// SAFETY: every call is passed on as it came, and counting touches no memory but the thread's own.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATED.with(count);
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        ALLOCATED.with(count);
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATED.with(count);
        unsafe { System.realloc(block, layout, size) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        FREED.with(count);
        unsafe { System.dealloc(block, layout) }
    }
}

fn count(counter: &Cell<u64>) {
    counter.set(counter.get() + 1);
}

/// What this thread has done so far that the query path must not.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
struct Spent {
    allocated: u64,
    freed: u64,
    locked: u64,
}

impl Spent {
    fn so_far() -> Spent {
        Spent {
            allocated: ALLOCATED.get(),
            freed: FREED.get(),
            locked: lock::taken_by_this_thread(),
        }
    }

    /// Adds what `work` spends.
    fn on<T>(&mut self, work: impl FnOnce() -> T) -> T {
        let before = Spent::so_far();
        let result = work();
        let after = Spent::so_far();
        self.allocated += after.allocated - before.allocated;
        self.freed += after.freed - before.freed;
        self.locked += after.locked - before.locked;
        result
    }
}

const ZONE: &str = "
$TTL 1h
@       SOA   ns1 hostmaster 1 4h 15m 2w 5
        NS    ns1
        NS    ns.sub
ns1     A     198.51.100.53
host    A     198.51.100.1
        AAAA  2001:db8::1
        TXT   \"some text\"
blog    CNAME www
news    CNAME blog
lost    CNAME nowhere
*.dev   A     198.51.100.99
tree    DNAME dev
sub     NS    ns.sub
ns.sub  A     198.51.100.54
many    A     10.0.0.1
$GENERATE 2-99 many A 10.0.0.$
; So many that answers wait for memory, and look-ups are fetched ahead.
$GENERATE 1-20000 n$ A 10.0.0.1
";

const WORLD: &str = r#"
[geoip.overrides]
"81.0.0.0/8"  = { country = "GB" }
"81.2.0.0/16" = { country = "DE", asn = 64500 }
"63.0.0.0/8"  = { country = "US", subdivision = "US-CA" }
"2a00::/12"   = { country = "FR" }
"127.0.0.0/8" = { country = "NL" }

[zone."example.com"]
file = "example.com.zone"

[site.fra]
place  = { country = "DE" }
vips   = ["198.51.100.10", "2001:db8:f::10"]
domain = "a"
[site.ams]
place  = { country = "NL" }
vips   = ["198.51.100.20", "2001:db8:f::20"]
domain = "b"
[site.iad]
place  = { country = "US" }
vips   = ["192.0.2.10", "2001:db8:a::10"]
domain = "a"
[site.nrt]
place = { country = "JP" }
vips  = ["203.0.113.10"]

[map.world]
default   = ["iad", "fra", "nrt"]
continent = { EU = [["fra", "ams"], "iad"] }
asn       = { 64500 = ["ams"] }
net       = { "81.2.69.0/24" = ["nrt"], "2a02:d280::/32" = ["nrt", "iad"] }

[service."www.example.com"]
sites = ["fra", "ams", "iad", "nrt"]
steer = [{ fence = "continent" }, "nearest"]
when_all_down = "open"
https = { alpn = ["h3", "h2"] }

[service."map.example.com"]
sites = ["fra", "ams", "iad", "nrt"]
steer = [{ fence = "country", strict = true }, { map = "world" }, "weighted"]
when_all_down = "last-known"

[service."sticky.example.com"]
sites = [{ site = "fra", weight = 5 }, "ams", "iad", { site = "nrt", weight = 0 }]
take  = 3
when_all_down = "open"

[service."down.example.com"]
sites = ["fra", "nrt"]
steer = ["failover"]
when_all_down = "static"
static = ["192.0.2.99"]
https = {}

[service."alt.example.com"]
sites = [
  { site = "fra", https = { target = "fra.example.net" } },
  { site = "ams", https = { target = "ams.example.net", port = 8443 } },
  { site = "iad", https = { target = "iad.example.net" } },
]
steer = [{ fence = "continent" }, "weighted"]
when_all_down = "open"
https = { alpn = ["h2"], alternatives = 3 }

[service."*.pool.example.com"]
sites = ["fra", "iad"]
steer = ["weighted"]
when_all_down = "open"

[service."cdn.example.com"]
sites = [{ site = "fra", cname = "www.example.com" }, { site = "iad", cname = "x.pool.example.com" }]
steer = [{ fence = "continent" }]
when_all_down = "open"
"#;

fn snapshot() -> Snapshot {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("example.com.zone"), ZONE).unwrap();
    let world = config::world_from_str(WORLD, dir.path()).unwrap_or_else(|all| panic!("{all}"));
    let said = |service: &str, site: &str, order: Order| Override {
        site: Glob::new(site),
        service: Glob::new(service),
        order,
        who: "test".into(),
        why: "test".into(),
        since: Timestamp::UNIX_EPOCH,
        until: None,
    };
    let overrides = [
        said("down.*", "*", Order::Force(gslb_dns::health::board::Health::Down)),
        said("map.*", "iad", Order::Drain { over: 0 }),
        said("sticky.*", "ams", Order::Weight(0)),
    ];
    let ground = Arc::new(Groundwork::new(world));
    let board = Board::build(
        1,
        &ground.world,
        &overrides.each_ref(),
        &LastKnown::default(),
        Timestamp::UNIX_EPOCH,
    );
    Snapshot::new(ground, board)
}

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
            _ => {}
        }
        packets.push(packet);
    }
    packets
}

/// The client's side: its own packets and buffers, so that nothing of it is counted.
struct Asker {
    socket: UdpSocket,
    packets: Vec<Vec<u8>>,
    room: Vec<u8>,
    truncated: usize,
    /// HTTPS answers with a record, and those with several.
    bound: [usize; 2],
}

impl Asker {
    fn send(&mut self, batch: usize) {
        for index in 0..BATCH {
            let packet = batch * BATCH % PACKETS + index;
            let packet = &mut self.packets[packet];
            packet[..2].copy_from_slice(&(index as u16).to_be_bytes());
            self.socket.send(packet).unwrap();
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
    let mut asker = Asker {
        socket: client,
        packets: packets(),
        room: vec![0; 2048],
        truncated: 0,
        bound: [0; 2],
    };

    let tally = Arc::new(Tally::new(Transport::Udp));
    let snapshot = snapshot();
    assert!(snapshot.ground.zones.are_large());
    let published = Published::new(snapshot);
    let mut worker = Worker::new(&server, ReplyFrom::Socket, &published, "test", &tally);
    let mut answer = |asker: &mut Asker, batch: usize, spent: &mut Spent| {
        asker.send(batch);
        let mut answered = 0;
        while answered < BATCH {
            // Loopback has delivered what was sent.
            let count = spent.on(|| worker.turn(Exchange::receive_ready));
            assert!(count > 0, "a batch of {BATCH} ended at {answered}");
            answered += count;
        }
        asker.receive();
    };

    // The first batch warms up what a thread sets up once.
    answer(&mut asker, 0, &mut Spent::default());
    let mut spent = Spent::default();
    for batch in 1..=QUERIES / BATCH {
        answer(&mut asker, batch, &mut spent);
    }
    assert_eq!(spent, Spent::default(), "in {QUERIES} queries");

    // Everything was met, or nothing was shown.
    let metrics = Metrics::new(vec![Arc::clone(&tally)]).text();
    for rcode in ["NOERROR", "NXDOMAIN", "REFUSED", "FORMERR", "NOTIMP"] {
        let series = format!("gslb_dns_answers_total{{rcode=\"{rcode}\",transport=\"udp\"}}");
        assert!(value(&metrics, &series) > QUERIES / 1000, "{metrics}");
    }
    let steered = value(&metrics, "gslb_dns_steered_total{transport=\"udp\"}");
    assert!(steered > QUERIES / 4, "{metrics}");
    assert_eq!(value(&metrics, "gslb_dns_panics_total{transport=\"udp\"}"), 0);
    assert!(asker.truncated > 0);
    assert!(asker.bound.iter().all(|met| *met > QUERIES / 200), "HTTPS: {:?}", asker.bound);
}

fn value(metrics: &str, series: &str) -> usize {
    let line = metrics.lines().find(|line| line.starts_with(series));
    let line = line.unwrap_or_else(|| panic!("no {series} in\n{metrics}"));
    line.rsplit(' ').next().unwrap().parse().unwrap()
}
