//! UDP: one thread per socket, batches in and out, one snapshot per batch.
//!
//! The hottest path of the product: after its start it allocates nothing and takes no lock.

use std::cell::RefCell;
use std::hint;
use std::io::{
    self,
    ErrorKind::{Interrupted, TimedOut, WouldBlock},
};
use std::net::{SocketAddr, UdpSocket};
use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use arrayvec::ArrayVec;
use common::clock::{monotonic, unix_seconds, unix_time};
use ipnet::IpNet;
use socket2::{Domain, Protocol, SockRef, Socket, Type};

use super::batch::{self, Datagram, Exchange, IpVersion, ReplyFrom};
use super::proxy::{self, Origin};
use crate::answer::{Asker, Guard, Limit, MAX_UDP, Resolved, Transport, answer_guarded};
use crate::ids::ServiceId;
use crate::metrics::{Counts, Tally};
use crate::name::NameKey;
use crate::publish::Published;
use crate::query::{peek_client, peek_name};
use crate::query_log::{Heard, Tap};
use crate::rate_limit::{Class, Place, RateLimiter};
use crate::snapshot::Groundwork;
use crate::talkers::{Counter, Outcome};

/// Datagrams taken at a time. Wide enough to share a system call among many under load; at two lanes of
/// buffers the batch still fits the second-level cache.
const WIDTH: usize = 64;
/// Octets of the socket's receive queue: about 50 ms of queries at a million a second.
const RECEIVE_QUEUE: usize = 8 << 20;
/// How long an idle thread takes to see that it should stop.
const STOP_POLL: Duration = Duration::from_millis(200);
/// How long a thread waits when the socket fails, so that a lasting failure does not make it spin.
const ERROR_PAUSE: Duration = Duration::from_millis(10);
/// Batches answered after the word to stop: what stood in the queue, and no more.
const LAST_BATCHES: usize = 4096;

const _: () = assert!(batch::SEND_ROOM >= MAX_UDP, "the buffer holds the largest answer");

/// One UDP socket of an address that several threads share.
pub struct UdpListener {
    socket: UdpSocket,
    reply_from: ReplyFrom,
    proxies: Arc<[IpNet]>,
    tap: Option<Tap>,
    talkers: Option<Counter>,
}

impl UdpListener {
    /// Binds with `SO_REUSEPORT`: the kernel spreads clients over the sockets of one address.
    pub fn bind(address: SocketAddr) -> io::Result<UdpListener> {
        let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
        socket.set_reuse_port(true)?;
        if address.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        socket.bind(&address.into())?;
        UdpListener::of(socket.into())
    }

    /// Of a socket that is bound already. Listeners may share one, as copies of its descriptor: whoever is free
    /// takes what has come.
    pub fn of(socket: UdpSocket) -> io::Result<UdpListener> {
        let address = socket.local_addr()?;
        let version = if address.is_ipv4() { IpVersion::V4 } else { IpVersion::V6 };
        // As much as the system allows (`net.core.rmem_max`).
        SockRef::from(&socket).set_recv_buffer_size(RECEIVE_QUEUE)?;
        socket.set_nonblocking(false)?;
        socket.set_read_timeout(Some(STOP_POLL))?;
        batch::ignore_path_mtu(&socket, version)?;
        let reply_from = if address.ip().is_unspecified() {
            batch::ask_for_destination(&socket, version)?;
            ReplyFrom::Asked
        } else {
            ReplyFrom::Socket
        };
        let proxies = [].into();
        Ok(UdpListener { socket, reply_from, proxies, tap: None, talkers: None })
    }

    /// Datagrams from these networks begin with a header of the PROXY protocol, and all of them must.
    pub fn believing(self, proxies: Arc<[IpNet]>) -> UdpListener {
        UdpListener { proxies, ..self }
    }

    /// Tells the query log what is asked and answered.
    pub fn tapped(self, tap: Tap) -> UdpListener {
        UdpListener { tap: Some(tap), ..self }
    }

    /// Counts who asks most.
    pub fn counting(self, talkers: Counter) -> UdpListener {
        UdpListener { talkers: Some(talkers), ..self }
    }

    pub fn local_address(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Answers until told to stop, then what already stood in the queue. `limiter` is one for all listeners.
    pub fn serve(
        self,
        published: &Published,
        node_name: &Arc<str>,
        limiter: Option<&RateLimiter>,
        tally: &Tally,
        stop: &AtomicBool,
    ) {
        let mut worker =
            Worker::new(&self.socket, self.reply_from, published, node_name, limiter, tally)
                .believing(&self.proxies);
        worker.tap = self.tap;
        worker.talkers = self.talkers;
        while !stop.load(Relaxed) {
            worker.turn(Exchange::receive);
        }
        for _ in 0..LAST_BATCHES {
            if worker.turn(Exchange::receive_ready) == 0 {
                break;
            }
        }
    }
}

/// One thread's buffers and views.
pub struct Worker<'w> {
    socket: &'w UdpSocket,
    exchange: Exchange,
    reader: crate::publish::Reader,
    node_name: &'w str,
    limiter: Option<&'w RateLimiter>,
    tally: &'w Tally,
    /// The first datagram of the batch that is not looked at yet.
    next: usize,
    counts: Counts,
    /// The service that steered the last batch's last steered answer: likely the next one's too.
    likely: Option<ServiceId>,
    /// Room for the names of a batch.
    names: Box<[NameKey]>,
    /// Where answers to each of a batch are counted, if they are limited.
    places: ArrayVec<Option<Place>, WIDTH>,
    /// Empty unless there are such.
    proxies: &'w [IpNet],
    tap: Option<Tap>,
    /// What the last query came to, if the tap wants it.
    note: RefCell<Resolved>,
    talkers: Option<Counter>,
}

impl<'w> Worker<'w> {
    pub fn new(
        socket: &'w UdpSocket,
        reply_from: ReplyFrom,
        published: &Published,
        node_name: &'w str,
        limiter: Option<&'w RateLimiter>,
        tally: &'w Tally,
    ) -> Worker<'w> {
        let exchange = Exchange::new(WIDTH, reply_from);
        let reader = published.reader();
        Worker {
            socket,
            exchange,
            reader,
            node_name,
            limiter,
            tally,
            next: 0,
            counts: Counts::default(),
            likely: None,
            names: vec![NameKey::ROOT; WIDTH].into(),
            places: ArrayVec::new(),
            proxies: &[],
            tap: None,
            note: RefCell::default(),
            talkers: None,
        }
    }

    /// Takes the word of these for whose datagrams they pass on.
    pub fn believing(self, proxies: &'w [IpNet]) -> Worker<'w> {
        Worker { proxies, ..self }
    }

    /// Tells the query log what is asked and answered.
    pub fn tapped(self, tap: Tap) -> Worker<'w> {
        Worker { tap: Some(tap), ..self }
    }

    /// Counts who asks most.
    pub fn counting(self, talkers: Counter) -> Worker<'w> {
        Worker { talkers: Some(talkers), ..self }
    }

    /// Receives and answers one batch; tells how many packets there were.
    pub fn turn(
        &mut self,
        receive: impl Fn(&mut Exchange, &UdpSocket) -> io::Result<usize>,
    ) -> usize {
        let count = match receive(&mut self.exchange, self.socket) {
            Ok(count) => count,
            Err(error) => {
                // Whoever is not asked must not keep an old world in memory either.
                self.reader.load();
                // What was counted before all fell silent is to be known too.
                if let Some(talkers) = &mut self.talkers {
                    talkers.hand_over(unix_seconds());
                }
                // Nothing came in time, or a signal did; anything else, such as no memory, may last.
                if !matches!(error.kind(), WouldBlock | TimedOut | Interrupted) {
                    thread::park_timeout(ERROR_PAUSE);
                }
                return 0;
            }
        };
        // Asked once a batch: who has no proxies does without a look at every sender.
        match self.proxies {
            [] => self.answer(count, Direct),
            proxies => self.answer(count, Proxied(proxies)),
        }
        self.tally.add(&std::mem::take(&mut self.counts));
        self.tally.count_unsent(self.exchange.flush(self.socket).refused);
        count
    }

    /// Answers a batch.
    fn answer(&mut self, count: usize, sight: impl Sight) {
        // It fetches what the answers will read. A panic in it costs no answer, and it is not tried again.
        if panic::catch_unwind(AssertUnwindSafe(|| self.look_ahead(count, sight))).is_err() {
            self.tally.count_panic();
        }
        self.next = 0;
        // A panic costs the packet that caused it, and is counted; the others are still answered.
        while panic::catch_unwind(AssertUnwindSafe(|| self.answer_rest(count, sight))).is_err() {
            self.tally.count_panic();
        }
    }

    fn look_ahead(&mut self, count: usize, sight: impl Sight) {
        self.places.clear();
        let (snapshot, _) = self.reader.load();
        let likely = self.likely.take();
        if let Some(limiter) = self.limiter {
            let datagrams = (0..count).map(|index| sight.of(self.exchange.datagram(index)));
            let place = |datagram: Datagram<'_>| limiter.place(datagram.peer.ip());
            self.places.extend(datagrams.map(|datagram| datagram.and_then(place)));
            hint::black_box(fetch_limits(limiter, &self.places));
        }
        fetch_ahead(&snapshot.ground, &self.exchange, count, likely, &mut self.names, sight);
    }

    /// Answers what is left of a batch.
    fn answer_rest(&mut self, count: usize, sight: impl Sight) {
        let (snapshot, secrets) = self.reader.load();
        // One time for the batch, which came and is answered within microseconds.
        let at = unix_time();
        let now = at.as_secs();
        if let Some(talkers) = &mut self.talkers {
            talkers.hand_over(now);
        }
        let limiter = self.limiter.map(|limiter| (limiter, monotonic()));
        let page = snapshot.ground.page(self.tally.page());
        let note = self.tap.as_ref().is_some_and(Tap::wants_resolved).then_some(&self.note);
        while self.next < count {
            let index = self.next;
            self.next += 1;
            self.exchange.reply(index, |datagram, out| {
                let Some(datagram) = sight.of(datagram) else {
                    self.counts.count_refused();
                    return 0;
                };
                let address = datagram.peer.ip();
                let limit = limiter.and_then(|(limiter, now)| {
                    let place = match self.places.get(index) {
                        Some(place) => *place,
                        // Looking ahead did not get so far.
                        None => limiter.place(address),
                    };
                    Some(Limit { limiter, place: place?, now })
                });
                let guard = Guard { secrets, limit, page, note };
                let asker = Asker { address, transport: Transport::Udp, now };
                let name = &mut self.names[0];
                let node_name = self.node_name;
                let answer =
                    answer_guarded(&guard, snapshot, node_name, datagram.bytes, &asker, name, out);
                self.counts.count(answer.as_ref());
                self.likely = answer.and_then(|answer| answer.steered).or(self.likely);
                if let (Some(talkers), Some(answer)) = (&mut self.talkers, &answer)
                    && talkers.is_due()
                {
                    let outcome = Outcome::of(answer);
                    talkers.count(&snapshot.ground.zones, address, datagram.bytes, outcome);
                }
                let length = answer.map_or(0, |answer| answer.length);
                // What gets no answer at all is no query.
                if let (Some(tap), Some(answer)) = (&mut self.tap, &answer) {
                    let resolved = note.map(RefCell::borrow);
                    tap.tell(&Heard {
                        client: address,
                        client_port: Some(datagram.peer.port()),
                        at,
                        query: datagram.bytes,
                        answer,
                        octets: &out[..length],
                        resolved: resolved.as_deref(),
                        snapshot,
                    });
                }
                length
            });
        }
    }
}

/// What a client has sent, seen behind what brought it.
trait Sight: Copy {
    /// The message, with the client as its peer; `None` if it is to be dropped.
    fn of<'d>(self, datagram: Datagram<'d>) -> Option<Datagram<'d>>;
}

/// Everybody speaks for themselves.
#[derive(Clone, Copy)]
struct Direct;

/// What these pass on begins with a header that tells whose it is.
#[derive(Clone, Copy)]
struct Proxied<'p>(&'p [IpNet]);

impl Sight for Direct {
    fn of<'d>(self, datagram: Datagram<'d>) -> Option<Datagram<'d>> {
        Some(datagram)
    }
}

impl Sight for Proxied<'_> {
    fn of<'d>(self, datagram: Datagram<'d>) -> Option<Datagram<'d>> {
        let sender = datagram.peer.ip();
        if !self.0.iter().any(|proxies| proxies.contains(&sender)) {
            return Some(datagram);
        }
        let (origin, bytes) = proxy::unwrap_datagram(datagram.bytes)?;
        let peer = match origin {
            Origin::Client(client) => client,
            Origin::Proxy => datagram.peer,
        };
        Some(Datagram { bytes, peer })
    }
}

/// Fetches from memory what was answered to these clients: nearly all that the limit costs is waiting for that, and
/// processors wait for all of a batch at once.
fn fetch_limits(limiter: &RateLimiter, places: &[Option<Place>]) -> u64 {
    places.iter().flatten().fold(0, |read, place| read ^ limiter.warm(*place, Class::Answer))
}

/// Fetches from memory what the answers to a batch will read, if there is so much of it that they would wait.
fn fetch_ahead(
    ground: &Groundwork,
    exchange: &Exchange,
    count: usize,
    likely: Option<ServiceId>,
    names: &mut [NameKey],
    sight: impl Sight,
) {
    let datagrams = || (0..count).filter_map(|index| sight.of(exchange.datagram(index)));
    if ground.zones.are_large() {
        let mut read = 0;
        for datagram in datagrams() {
            read += usize::from(peek_name(datagram.bytes, &mut names[read]));
        }
        hint::black_box(ground.zones.warm(&names[..read]));
    }
    if let Some(service) = likely {
        let clients: ArrayVec<u32, WIDTH> =
            datagrams().filter_map(|datagram| client(&datagram)).collect();
        hint::black_box(ground.warm(service, &clients));
    }
}

/// Where an IPv4 client most likely is: in its subnet, or at the resolver's address.
fn client(datagram: &Datagram<'_>) -> Option<u32> {
    peek_client(datagram.bytes).or_else(|| match datagram.peer {
        SocketAddr::V4(peer) => Some(peer.ip().to_bits()),
        SocketAddr::V6(_) => None,
    })
}
