//! The release binary with twenty vantages connected to it: what it takes of a core, how long evidence takes to become an
//! answer, and whether queries cost more meanwhile.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail};
use common::report::State;
use gslb_tests::loopback;
use gslb_tests::pki::Ca;
use hickory_proto::op::Message;
use hickory_proto::rr::RData;

use super::crew::{Crew, go_on};
use super::fleet::{BEFORE_THE_LAST, RESERVED, SERVICES, Targets, first_address, label};
use crate::cpu::{self, Cores, Spent};
use crate::dice::Dice;
use crate::interrupt::Interrupt;
use crate::latency::Histogram;
use crate::load::{Clients, Load, Pace, Reply};
use crate::peers::{Server, Start};
use crate::queries::Queries;
use crate::{clock, world};

const NODE: &str = "bench";
/// Longer than the grace of a start, and until as many come back as go.
const SETTLED: Duration = Duration::from_secs(12);
/// Between two asks for an answer that is waited for.
const ASK_AGAIN: Duration = Duration::from_micros(500);
const PATIENCE: Duration = Duration::from_secs(5);
/// Before each measurement of queries.
const WARM_UP: Duration = Duration::from_millis(200);
const ROUND: Duration = Duration::from_millis(500);
const WINDOW: usize = 128;
const BATCH: usize = 32;

/// What so much time has cost the process.
#[derive(Clone, Copy, Debug)]
pub struct Cost {
    pub reports: u64,
    pub entries: u64,
    pub spent: Spent,
    pub took: Duration,
}

impl Cost {
    /// Of a core. Threads of the process come and go: only whole ticks count those that have gone.
    pub fn share(&self) -> f64 {
        self.spent.ticks.as_secs_f64() / self.took.as_secs_f64()
    }
}

/// What came of it.
pub struct Outcome {
    pub quiet: Cost,
    pub changing: Cost,
    /// Deciding report to first other answer: while else all is quiet, and while other targets change.
    pub flips: [(usize, Histogram); 2],
    /// Microseconds of the UDP thread for each answer, by round: all quiet, all quiet again, targets changing.
    pub answers: Vec<[f64; 3]>,
    pub lost: u64,
    pub wrong: u64,
    pub first_wrong: Option<String>,
}

/// How much of each.
pub struct Extent {
    pub lasting: Duration,
    pub flips: usize,
    pub rounds: u32,
    pub seed: u64,
}

/// Writes node, world and zone below `home`; the world alone is enough for the machines alone.
pub fn write_world(home: &Path, dns: SocketAddr, control: &str) -> anyhow::Result<()> {
    fs::create_dir_all(home.join("state"))?;
    world::World::Static { hosts: 1 }
        .write_zone(&home.join(format!("{}.zone", world::ORIGIN)), "")?;
    fs::write(home.join("world.toml"), super::fleet::world())?;
    fs::write(
        home.join("node.toml"),
        format!(
            "name = \"{NODE}\"\ncluster = \"bench\"\nworld = \"world.toml\"\nstate_dir = \"state\"\n\n\
             [dns]\nlisten = [\"{dns}\"]\nthreads = 1\n{control}"
        ),
    )?;
    Ok(())
}

pub fn measure(
    program: &Path,
    cores: Cores,
    dir: &Path,
    targets: &Targets,
    extent: &Extent,
    interrupt: &Interrupt,
) -> anyhow::Result<Outcome> {
    let Extent { lasting, flips, rounds, seed } = *extent;
    let (home, ca) = (dir.join("real"), Ca::new("bench"));
    let us = ca.issue(&format!("gslb://bench/dns/{NODE}"));
    let (address, control) = (loopback::address()?, loopback::address()?);
    write_world(&home, address, &us.control(control))?;
    let labels = (0..SERVICES - RESERVED).map(|one| (label(one), first_address(one)));
    let queries = Queries::steered(&labels.collect::<Vec<_>>(), &mut Dice::seeded(seed))?;
    let mut command = std::process::Command::new(program);
    command.arg("run").arg("--config").arg(home.join("node.toml")).env_remove("GSLB_LOG");
    let start = Start { name: NODE, command, address, reply: Reply::Address, dir };
    let server = Server::start(start, cores.server, &queries, interrupt)?;
    let crew = Crew::start((control, NODE), &ca, targets, seed)?;
    let cost = || -> anyhow::Result<Cost> {
        interrupt.check()?;
        let (told, before, began) = (crew.told(), Spent::by(server.pid())?, clock::now());
        go_on(lasting);
        let ((reports, entries), spent) = (crew.told(), Spent::by(server.pid())?);
        Ok(Cost {
            reports: reports - told.0,
            entries: entries - told.1,
            spent: spent.since(before),
            took: began.elapsed(),
        })
    };
    go_on(SETTLED);
    let quiet = cost()?;
    let asker = Asker::new(address)?;
    let flip = |number: usize| asker.flip(&crew, targets, SERVICES - 1 - number);
    let mut waited = [(0, Histogram::default()), (0, Histogram::default())];
    for number in 0..flips.min(RESERVED / 2) {
        interrupt.check()?;
        waited[0].1.record(flip(number)?);
        waited[0].0 += 1;
    }
    crew.change(true);
    go_on(SETTLED);
    let changing = cost()?;
    for number in 0..flips.min(RESERVED / 2) {
        interrupt.check()?;
        waited[1].1.record(flip(RESERVED / 2 + number)?);
        waited[1].0 += 1;
    }
    let mut outcome = Outcome {
        quiet,
        changing,
        flips: waited,
        answers: vec![],
        lost: 0,
        wrong: 0,
        first_wrong: None,
    };
    for round in 0..rounds {
        let mut costs = [0.0; 3];
        // Whoever follows whom changes from round to round.
        for turn in 0..3 {
            let arm = (round as usize + turn) % 3;
            crew.change(arm == 2);
            costs[arm] = outcome.ask(&server, &queries, round as usize * 1000, interrupt)?;
        }
        outcome.answers.push(costs);
    }
    Ok(outcome)
}

impl Outcome {
    /// What an answer costs the thread that gives it.
    fn ask(
        &mut self,
        server: &Server,
        queries: &Queries,
        first: usize,
        interrupt: &Interrupt,
    ) -> anyhow::Result<f64> {
        let (clients, reply, batch) = (Clients::One, Reply::Address, BATCH);
        let load = Load { queries, clients, reply, batch, pace: Pace::Window(WINDOW) };
        load.run(server.address, first, WARM_UP, interrupt)?;
        let before = cpu::of_threads(server.pid(), "udp-")?;
        let tally = load.run(server.address, first, ROUND, interrupt)?;
        let spent = cpu::of_threads(server.pid(), "udp-")? - before;
        self.lost += tally.lost;
        self.wrong += tally.wrong;
        self.first_wrong = self.first_wrong.take().or(tally.first_wrong);
        Ok(spent.as_secs_f64() * 1e6 / tally.answers.max(1) as f64)
    }
}

/// Asks for one name again and again until the answer is another.
struct Asker(UdpSocket);

impl Asker {
    fn new(server: SocketAddr) -> anyhow::Result<Asker> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        socket.connect(server)?;
        socket.set_read_timeout(Some(Duration::from_millis(50)))?;
        Ok(Asker(socket))
    }

    /// Has the first site of a service go down, and tells how long that takes from the deciding report on.
    fn flip(&self, crew: &Crew, targets: &Targets, service: usize) -> anyhow::Result<Duration> {
        let target = targets.id(service, 0, service % 2);
        let packet = Queries::one(&label(service))?;
        let before = self.ask(&packet)?;
        if before != Some(first_address(service)) {
            bail!("{} is answered with {before:?} before its site goes down", label(service));
        }
        for vantage in 0..BEFORE_THE_LAST {
            crew.say(order(vantage), target, State::Down)?;
        }
        if self.ask(&packet)? != before {
            bail!("{} is answered otherwise before the quorum is there", label(service));
        }
        let mut sent = crew.begin_to_say(order(BEFORE_THE_LAST), target, State::Down)?;
        let begin = clock::now();
        loop {
            let (after, at) = (self.ask(&packet)?, clock::now());
            if after.is_some() && after != before {
                return Ok(at - sent.try_recv().context("it was answered before it was said")?);
            }
            if begin.elapsed() > PATIENCE {
                bail!(
                    "{} is answered as before {PATIENCE:?} after its site went down",
                    label(service)
                );
            }
            clock::pause(ASK_AGAIN);
        }
    }

    fn ask(&self, packet: &[u8]) -> anyhow::Result<Option<Ipv4Addr>> {
        let mut buffer = [0; 1500];
        self.0.send(packet)?;
        let Ok(length) = self.0.recv(&mut buffer) else { return Ok(None) };
        let answer = Message::from_vec(&buffer[..length])?;
        Ok(answer.answers.iter().find_map(|record| match record.data {
            RData::A(address) => Some(address.0),
            _ => None,
        }))
    }
}

/// Domain by domain.
fn order(number: usize) -> usize {
    let domains = super::fleet::VANTAGES / 2;
    number / 2 + number % 2 * domains
}
