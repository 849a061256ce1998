//! The load generator: asks prepared queries of one server from one socket, as one client or as many.
//!
//! Closed loop keeps a window of queries in flight and shows what an answer costs a busy server; open
//! loop asks at a given rate, whatever comes back, and shows how long an answer takes.

use std::hint::spin_loop;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use gslb_dns::listen::batch::{Exchange, ReplyFrom};
use hickory_proto::op::{Message, MessageType, ResponseCode};
use hickory_proto::rr::RData;

use crate::clock;
use crate::interrupt::Interrupt;
use crate::latency::Histogram;
use crate::queries::Queries;
use crate::reloads::is_of_one_world;

/// Silence after which what is in flight counts as lost. Far above any queueing on one machine.
const STALL: Duration = Duration::from_millis(200);
/// Every so many answers one is decoded and compared whole. A prime, so that no pattern is followed.
const SAMPLE_EVERY: u64 = 997;
/// Looks at the socket rarely enough that looking does not disturb the server writing to it.
const SPINS: usize = 4;

/// What to ask, and how.
#[derive(Clone, Copy)]
pub struct Load<'q> {
    pub queries: &'q Queries,
    pub clients: Clients,
    pub reply: Reply,
    /// Queries given to the kernel at once.
    pub batch: usize,
    pub pace: Pace,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Pace {
    /// Closed loop: so many queries in flight.
    Window(usize),
    /// Open loop: so many queries per second.
    Rate(u64),
}

/// Who asks.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Clients {
    /// One address, by a connected socket.
    One,
    /// So many networks of 127.0.0.0/8 (/24), at most 65,535. Each asks the same queries in every round, next to each
    /// other in no order.
    Networks(u32),
}

/// What a reply should be.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Reply {
    /// NOERROR with the one address that the query has coming.
    Address,
    /// The query again: there is nothing to check.
    Echo,
    /// All of one of the worlds that `reloads` goes round in.
    OneWorld,
}

/// What came of it.
#[derive(Default)]
pub struct Tally {
    pub answers: u64,
    pub lost: u64,
    /// Answers decoded and compared.
    pub sampled: u64,
    pub wrong: u64,
    pub first_wrong: Option<String>,
    /// From when a query was due to when its answer was read; open loop only.
    pub latency: Histogram,
}

impl Load<'_> {
    /// Asks for as long as told, beginning with the `first` of the queries, then waits for the rest.
    pub fn run(
        &self,
        server: SocketAddr,
        first: usize,
        lasting: Duration,
        interrupt: &Interrupt,
    ) -> anyhow::Result<Tally> {
        self.run_while(server, first, |elapsed| elapsed < lasting, interrupt)
    }

    /// The same for as long as there is more to ask, which is told how long it has been, again and again:
    /// it may send something of its own beside.
    pub fn run_while(
        &self,
        server: SocketAddr,
        first: usize,
        mut more: impl FnMut(Duration) -> bool,
        interrupt: &Interrupt,
    ) -> anyhow::Result<Tally> {
        let mut flight = Flight::new(*self, server, first)?;
        let begin = clock::now();
        let mut heard = begin;
        loop {
            interrupt.check()?;
            let now = clock::now();
            let elapsed = now - begin;
            let asking = more(elapsed);
            if asking {
                flight.ask_what_is_due(elapsed);
            } else if flight.in_flight == 0 {
                break;
            }
            if flight.hear(begin)? {
                heard = now;
            } else if flight.in_flight > 0 && now - heard > STALL {
                flight.give_up();
                heard = now;
            } else if flight.in_flight == 0 {
                heard = now;
            }
        }
        Ok(flight.tally)
    }
}

/// The queries in flight, by id.
struct Flight<'q> {
    load: Load<'q>,
    socket: UdpSocket,
    /// Where the socket is not connected to it.
    server: Option<SocketAddrV4>,
    exchange: Exchange,
    slots: Box<[Slot]>,
    in_flight: usize,
    /// Queries asked so far. The next one's id is this, cut to 16 bits.
    asked: u64,
    first: usize,
    tally: Tally,
}

#[derive(Clone, Copy)]
enum Slot {
    Free,
    Waiting { query: u32, due: Duration },
}

impl<'q> Flight<'q> {
    fn new(load: Load<'q>, server: SocketAddr, first: usize) -> anyhow::Result<Flight<'q>> {
        let (socket, server) = match (load.clients, server) {
            (Clients::One, server) => {
                let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
                socket.connect(server)?;
                (socket, None)
            }
            (Clients::Networks(_), SocketAddr::V4(server)) => {
                (UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?, Some(server))
            }
            (Clients::Networks(_), SocketAddr::V6(server)) => {
                bail!("{server}: many clients ask by IPv4 alone")
            }
        };
        socket2::SockRef::from(&socket).set_recv_buffer_size(1 << 20)?;
        Ok(Flight {
            load,
            socket,
            server,
            exchange: Exchange::new(load.batch, ReplyFrom::Socket),
            slots: vec![Slot::Free; 1 << 16].into_boxed_slice(),
            in_flight: 0,
            asked: 0,
            first,
            tally: Tally::default(),
        })
    }

    fn ask_what_is_due(&mut self, elapsed: Duration) {
        match self.load.pace {
            // Whole batches only: the fixed cost of a system call is shared alike at every server.
            Pace::Window(window) => {
                while self.in_flight + self.load.batch <= window {
                    self.ask(self.load.batch, |_| Duration::ZERO);
                }
            }
            Pace::Rate(rate) => {
                let due_at = |index: u64| Duration::from_secs_f64(index as f64 / rate as f64);
                let due = (elapsed.as_secs_f64() * rate as f64) as u64;
                // One batch, then a look at the answers: a late generator catches up without
                // overflowing its own socket.
                let count = due.saturating_sub(self.asked).min(self.load.batch as u64);
                self.ask(count as usize, due_at);
            }
        }
    }

    fn ask(&mut self, count: usize, due_at: impl Fn(u64) -> Duration) {
        for _ in 0..count {
            let id = self.asked as u16;
            let query = (self.first + self.asked as usize) % self.load.queries.len();
            let slot = &mut self.slots[usize::from(id)];
            if matches!(slot, Slot::Waiting { .. }) {
                // The ids have gone round since: it is not coming any more.
                self.tally.lost += 1;
                self.in_flight -= 1;
            }
            *slot = Slot::Waiting { query: query as u32, due: due_at(self.asked) };
            let packet = self.load.queries.packet(query);
            let write = |buffer: &mut [u8]| {
                buffer[..packet.len()].copy_from_slice(packet);
                buffer[..2].copy_from_slice(&id.to_be_bytes());
                packet.len()
            };
            match self.server {
                None => self.exchange.queue(write),
                Some(server) => {
                    let source = self.load.clients.source(query as u32);
                    self.exchange.queue_from(source, server, write);
                }
            }
            self.asked += 1;
            self.in_flight += 1;
        }
        // What the kernel refuses gets no answer, and is counted as lost in its time.
        self.exchange.flush(&self.socket);
    }

    /// Reads what has come, and says whether anything had.
    fn hear(&mut self, begin: Instant) -> anyhow::Result<bool> {
        let count = match self.exchange.receive_ready(&self.socket) {
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                (0..SPINS).for_each(|_| spin_loop());
                return Ok(false);
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(false),
            Err(error) => return Err(error).context("the server is gone"),
        };
        let heard_at = match self.load.pace {
            Pace::Window(_) => Duration::ZERO,
            Pace::Rate(_) => clock::now() - begin,
        };
        for index in 0..count {
            let reply = self.exchange.datagram(index).bytes;
            let Some((id, _)) = reply.split_first_chunk() else {
                continue;
            };
            let slot = &mut self.slots[usize::from(u16::from_be_bytes(*id))];
            // A reply to what was given up for lost: it stays lost.
            let Slot::Waiting { query, due } = *slot else {
                continue;
            };
            *slot = Slot::Free;
            self.in_flight -= 1;
            self.tally.answers += 1;
            if matches!(self.load.pace, Pace::Rate(_)) {
                self.tally.latency.record(heard_at.saturating_sub(due));
            }
            match self.load.reply {
                Reply::Address => {
                    let expected = self.load.queries.expected(query as usize);
                    self.tally.judge(reply, expected);
                }
                Reply::OneWorld => self.tally.note(is_of_one_world(reply)),
                Reply::Echo => {}
            }
        }
        Ok(true)
    }

    fn give_up(&mut self) {
        self.slots.fill(Slot::Free);
        self.tally.lost += self.in_flight as u64;
        self.in_flight = 0;
    }
}

impl Clients {
    /// From where a query comes.
    fn source(self, query: u32) -> Ipv4Addr {
        match self {
            Clients::One => Ipv4Addr::LOCALHOST,
            Clients::Networks(networks) => {
                let mixed = query.wrapping_mul(0x9E37_79B9);
                let network = ((u64::from(mixed) * u64::from(networks)) >> 32) as u32 + 1;
                Ipv4Addr::from_bits(127 << 24 | network << 8 | ((mixed & 0x7F) + 1))
            }
        }
    }
}

impl Tally {
    /// A glance at every answer, a long look at a sample.
    fn judge(&mut self, reply: &[u8], expected: Ipv4Addr) {
        let sample = self.answers.is_multiple_of(SAMPLE_EVERY);
        self.sampled += u64::from(sample);
        self.note(if sample || !seems_right(reply) { is_right(reply, expected) } else { Ok(()) });
    }

    fn note(&mut self, verdict: anyhow::Result<()>) {
        if let Err(error) = verdict {
            self.wrong += 1;
            self.first_wrong.get_or_insert(format!("{error:#}"));
        }
    }
}

/// A response, NOERROR, one answer record.
fn seems_right(reply: &[u8]) -> bool {
    reply.len() > 12 && reply[2] & 0x80 != 0 && reply[3] & 0x0F == 0 && reply[6..8] == [0, 1]
}

/// Whether a reply holds the one address expected and nothing else.
pub fn is_right(reply: &[u8], expected: Ipv4Addr) -> anyhow::Result<()> {
    let message = Message::from_vec(reply).context("cannot decode the reply")?;
    let metadata = &message.metadata;
    if metadata.message_type != MessageType::Response {
        bail!("not a response");
    }
    if metadata.response_code != ResponseCode::NoError || !metadata.authoritative {
        bail!("rcode {}, authoritative {}", metadata.response_code, metadata.authoritative);
    }
    let asked = message.queries.first().map(|query| query.name());
    match message.answers.as_slice() {
        [record] if record.data == RData::A(expected.into()) && Some(&record.name) == asked => {
            Ok(())
        }
        answers => bail!("expected {expected} alone, got {answers:?}"),
    }
}
