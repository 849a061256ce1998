//! Garbage beside good queries: of every kind in turn, at half of the rate that the server can answer, whatever
//! comes back, while good queries come at a quarter of it. None of those may be lost or answered wrong, nothing
//! may stay in memory, none may wait much longer, and the table says what a datagram of each kind costs.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::Path;
use std::time::Duration;

use anyhow::bail;
use gslb_dns::listen::batch::{Exchange, ReplyFrom};

use crate::cpu::{self, Cores, Spent};
use crate::dice::Dice;
use crate::interrupt::Interrupt;
use crate::load::{Clients, Load, Pace, Reply, Tally};
use crate::peers::{Server, gslb};
use crate::queries::Queries;
use crate::stats::Summary;
use crate::world::World;

/// Names of the zone.
const HOSTS: u32 = 1000;
/// How long the greatest rate is looked for.
const LIMIT: Duration = Duration::from_secs(2);
/// Before the first round.
const WARM_UP: Duration = Duration::from_secs(1);
/// Waiting times of good queries beside garbage, as a share of those without: the median of all rounds' 99th
/// percentiles, because in some rounds the machine has other things to do.
const MOST_WAITING: f64 = 2.0;
const WINDOW: usize = 128;
/// Half of what a server's queue takes, as both kinds may come at once.
const BATCH: usize = 32;
/// Of the greatest rate.
const GARBAGE_SHARE: u64 = 2;
const GOOD_SHARE: u64 = 4;
/// Different datagrams of one kind, gone round in.
const PREPARED: usize = 4096;
/// Octets that memory may grow by in the whole run, for which garbage comes by the million.
const MOST_GROWTH: u64 = 1 << 20;

/// Octets of a query: what comes before its name, and its OPT record at the end.
const HEADER: usize = 12;
const OPT: usize = 11;

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Kind {
    /// Anything, up to 600 octets.
    Octets,
    /// A good query without its end.
    Cut,
    /// The same as somebody's answer: it must get none.
    Response,
    /// Another opcode, some of which nobody has.
    Opcode,
    /// Versions that do not exist, two OPT records, options longer than their record.
    Edns,
    /// Client subnets of no family, too long, too short, or with bits past their prefix.
    Subnet,
    /// All of them.
    Mixed,
}

impl Kind {
    const ALL: [Kind; 7] = [
        Kind::Octets,
        Kind::Cut,
        Kind::Response,
        Kind::Opcode,
        Kind::Edns,
        Kind::Subnet,
        Kind::Mixed,
    ];

    fn name(self) -> &'static str {
        match self {
            Kind::Octets => "random octets",
            Kind::Cut => "cut short",
            Kind::Response => "responses",
            Kind::Opcode => "other opcodes",
            Kind::Edns => "bad EDNS",
            Kind::Subnet => "bad client subnet",
            Kind::Mixed => "all of these",
        }
    }

    /// One of the kind, made of a good query with EDNS and no option.
    fn datagram(self, good: &[u8], dice: &mut Dice) -> Vec<u8> {
        let mut packet = good.to_vec();
        match self {
            Kind::Octets => {
                packet = (0..dice.below(601)).map(|_| dice.below(256) as u8).collect();
                // A response is a kind of its own.
                if let Some(flags) = packet.get_mut(2) {
                    *flags &= 0x7f;
                }
            }
            // It says that it ends with an OPT record.
            Kind::Cut => packet.truncate(dice.below(packet.len())),
            Kind::Response => packet[2] |= 0x80,
            Kind::Opcode => packet[2] = ((1 + dice.below(15)) << 3) as u8,
            Kind::Edns => match dice.below(3) {
                0 => {
                    let version = packet.len() - 5;
                    packet[version] = 1 + dice.below(255) as u8;
                }
                1 => {
                    let opt = packet[packet.len() - OPT..].to_vec();
                    packet.extend(opt);
                    packet[11] = 2;
                }
                _ => {
                    let length = 5 + dice.below(60_000) as u16;
                    with_options(&mut packet, &[&[0, 3][..], &length.to_be_bytes(), &[0]].concat());
                }
            },
            Kind::Subnet => {
                let subnet: &[u8] = match dice.below(5) {
                    0 => &[0, 3, 24, 0, 192, 0, 2],
                    1 => &[0, 1, 33, 0, 192, 0, 2, 1, 1],
                    2 => &[0, 1, 24, 0, 192, 0],
                    3 => &[0, 1, 20, 0, 192, 0, 0xff],
                    _ => &[0, 1],
                };
                let option = [&[0, 8, 0, subnet.len() as u8], subnet].concat();
                with_options(&mut packet, &option);
            }
            Kind::Mixed => {
                let kinds = Kind::ALL.len() - 1;
                return Kind::ALL[dice.below(kinds)].datagram(good, dice);
            }
        }
        packet
    }
}

/// Puts options into the empty OPT record at the end of a query.
fn with_options(packet: &mut Vec<u8>, options: &[u8]) {
    let length = packet.len() - 2;
    packet.truncate(length);
    packet.extend((options.len() as u16).to_be_bytes());
    packet.extend(options);
}

/// What comes beside good queries. What is said to it is not read, which costs the server nothing.
struct Noise<'d> {
    socket: UdpSocket,
    exchange: Exchange,
    datagrams: &'d [Vec<u8>],
    rate: u64,
    sent: u64,
    refused: u64,
}

impl<'d> Noise<'d> {
    fn new(server: SocketAddr, datagrams: &'d [Vec<u8>], rate: u64) -> anyhow::Result<Noise<'d>> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        socket.connect(server)?;
        let exchange = Exchange::new(BATCH, ReplyFrom::Socket);
        Ok(Noise { socket, exchange, datagrams, rate, sent: 0, refused: 0 })
    }

    /// A batch at most, as good queries are sent too.
    fn send_what_is_due(&mut self, elapsed: Duration) {
        let due = (elapsed.as_secs_f64() * self.rate as f64) as u64;
        let count = due.saturating_sub(self.sent).min(BATCH as u64);
        for number in self.sent..self.sent + count {
            let datagram = &self.datagrams[number as usize % self.datagrams.len()];
            self.exchange.queue(|buffer| {
                buffer[..datagram.len()].copy_from_slice(datagram);
                datagram.len()
            });
        }
        let flushed = self.exchange.flush(&self.socket);
        self.sent += count;
        self.refused += count - flushed.sent as u64;
    }
}

/// What came of it.
pub struct Outcome {
    /// Answers a second, asked for as fast as they came.
    most: u64,
    /// Good queries without garbage, then beside each kind of it.
    alone: Row,
    rows: Vec<(Kind, Row)>,
    /// Octets of memory of the server's own before the first round, and at the end.
    grown: [u64; 2],
}

/// What came of all rounds.
#[derive(Default)]
struct Row {
    garbage: u64,
    answers: u64,
    lost: u64,
    wrong: u64,
    first_wrong: Option<String>,
    /// Microseconds, of each round.
    p99: Vec<f64>,
    spent: Duration,
    took: Duration,
    /// Datagrams that found the server's queue full.
    dropped: u64,
}

impl Row {
    fn is_well(&self) -> bool {
        self.answers > 0 && self.lost == 0 && self.wrong == 0 && self.dropped == 0
    }

    fn waiting(&self) -> Summary {
        Summary::of(&self.p99, 1)
    }

    fn add(&mut self, tally: Tally) {
        let Tally { answers, lost, sampled: _, wrong, first_wrong, latency } = tally;
        self.answers += answers;
        self.lost += lost;
        self.wrong += wrong;
        self.first_wrong = self.first_wrong.take().or(first_wrong);
        self.p99.push(latency.percentile(0.99).as_secs_f64() * 1e6);
    }
}

impl Outcome {
    pub fn passed(&self) -> bool {
        self.growth() <= MOST_GROWTH
            && self.alone.is_well()
            && self.rows.iter().all(|(_, row)| {
                row.is_well()
                    && row.garbage > 0
                    && row.waiting().median <= MOST_WAITING * self.alone.waiting().median
            })
    }

    fn growth(&self) -> u64 {
        let [before, after] = self.grown;
        after.saturating_sub(before)
    }

    /// Microseconds of CPU for a good answer when there is nothing else.
    fn cost_of_good(&self) -> f64 {
        self.alone.spent.as_secs_f64() * 1e6 / self.alone.answers.max(1) as f64
    }

    /// The same for a datagram of garbage: what is spent beyond what the good answers of the row cost alone.
    fn cost_of_garbage(&self, row: &Row) -> f64 {
        let good = self.cost_of_good() * row.answers as f64;
        (row.spent.as_secs_f64() * 1e6 - good) / row.garbage.max(1) as f64
    }

    pub fn text(&self) -> String {
        let Outcome { most, alone, rows, grown: [before, after] } = self;
        let mut text = format!(
            "{most} answers/s possible; good queries at a {GOOD_SHARE}th of it, garbage at a \
             {GARBAGE_SHARE}nd\n\n{:<18}{:>10}{:>12}{:>8}{:>8}{:>9}{:>24}{:>9}{:>9}{:>7}\n",
            "beside",
            "garbage",
            "answers",
            "lost",
            "wrong",
            "dropped",
            "p99 us [of rounds]",
            "us/good",
            "us/bad",
            "busy"
        );
        let mut line = |name: &str, row: &Row, bad: String| {
            let Row { garbage, answers, lost, wrong, spent, took, dropped, .. } = row;
            let Summary { median, min, max, .. } = row.waiting();
            let waiting = format!("{median:.0} [{min:.0} {max:.0}]");
            text += &format!(
                "{name:<18}{garbage:>10}{answers:>12}{lost:>8}{wrong:>8}{dropped:>9}{waiting:>24}{:>9.2}{bad:>9}{:>6.0}%\n",
                self.cost_of_good(),
                100.0 * spent.as_secs_f64() / took.as_secs_f64(),
            );
        };
        line("nothing", alone, "-".into());
        for (kind, row) in rows {
            line(kind.name(), row, format!("{:.2}", self.cost_of_garbage(row)));
        }
        let wrong = [alone].into_iter().chain(rows.iter().map(|(_, row)| row));
        for wrong in wrong.filter_map(|row| row.first_wrong.as_ref()) {
            text += &format!("first wrong: {wrong}\n");
        }
        text + &format!(
            "memory {} KiB, then {} KiB: {}",
            before >> 10,
            after >> 10,
            if self.passed() { "pass" } else { "FAIL" }
        )
    }
}

pub fn measure(
    program: &Path,
    cores: Cores,
    dir: &Path,
    (rounds, lasting): (u32, Duration),
    seed: u64,
    interrupt: &Interrupt,
) -> anyhow::Result<Outcome> {
    let mut dice = Dice::seeded(seed);
    let queries = Queries::names(HOSTS, &mut dice)?;
    let good = queries.packet(0);
    if good[HEADER - 1] != 1 || good[good.len() - 2..] != [0, 0] {
        bail!("garbage is made of a query with an OPT record without options at its end");
    }
    // Talkers fill their fixed memory in the first two minutes, which would be taken for growth.
    let start = gslb::start("garbage", program, dir, &World::Static { hosts: HOSTS }, gslb::BARE)?;
    let server = Server::start(start, cores.server, &queries, interrupt)?;
    let load = |pace| Load {
        queries: &queries,
        clients: Clients::One,
        reply: Reply::Address,
        batch: BATCH,
        pace,
    };
    let greatest = load(Pace::Window(WINDOW)).run(server.address, 0, LIMIT, interrupt)?;
    let most = (greatest.answers as f64 / LIMIT.as_secs_f64()) as u64;
    let paced = load(Pace::Rate(most / GOOD_SHARE));
    paced.run(server.address, 0, WARM_UP, interrupt)?;
    let before = cpu::anonymous(server.pid())?;

    let beside = |row: &mut Row, datagrams: &[Vec<u8>], rate: u64| -> anyhow::Result<()> {
        let mut noise = Noise::new(server.address, datagrams, rate)?;
        let dropped = cpu::dropped(server.address)?;
        let spent = Spent::by(server.pid())?;
        let mut took = Duration::ZERO;
        let more = |elapsed| {
            noise.send_what_is_due(elapsed);
            took = elapsed;
            elapsed < lasting
        };
        row.add(paced.run_while(server.address, 0, more, interrupt)?);
        row.garbage += noise.sent - noise.refused;
        row.spent += Spent::by(server.pid())?.since(spent).scheduled;
        row.took += took;
        row.dropped += cpu::dropped(server.address)? - dropped;
        Ok(())
    };
    let mut alone = Row::default();
    let mut rows: Vec<(Kind, Vec<Vec<u8>>, Row)> = Vec::new();
    for kind in Kind::ALL {
        let datagrams = (0..PREPARED).map(|_| kind.datagram(good, &mut dice)).collect();
        rows.push((kind, datagrams, Row::default()));
    }
    for _ in 0..rounds {
        beside(&mut alone, &[], 0)?;
        for (_, datagrams, row) in &mut rows {
            beside(row, datagrams, most / GARBAGE_SHARE)?;
        }
    }
    let rows = rows.into_iter().map(|(kind, _, row)| (kind, row)).collect();
    Ok(Outcome { most, alone, rows, grown: [before, cpu::anonymous(server.pid())?] })
}
