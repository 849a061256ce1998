//! The machines alone: a report's octets to what is answered, with no socket between, on a clock that is made up.

use std::path::Path;
use std::time::Duration;

use common::clock::now;
use common::principal::{Kind, Principal};
use common::report::{Body, Mark, Report};
use gslb_dns::config::{self, Config};
use gslb_dns::control::{Changes, Told, changes};
use gslb_dns::inbox::stream::Reception;
use gslb_dns::judge::Now;
use gslb_dns::keeper::Keeper;
use gslb_dns::metrics::Metrics;
use rustix::time::{ClockId, clock_gettime};
use tokio::sync::oneshot;

use super::fleet::{Churn, Targets, VANTAGES, Vantage};
use crate::interrupt::Interrupt;

/// How long all is quiet before anything is measured: longer than the grace of a start.
const SETTLED: Duration = Duration::from_secs(15);
const STEP: Duration = Duration::from_millis(10);
/// As often as the keeper looks at time and files.
const TURN: Duration = Duration::from_millis(500);
/// Where the clock begins.
const BEGIN: Duration = Duration::from_secs(100_000);

/// What so much time has cost.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cost {
    pub reports: u64,
    pub entries: u64,
    pub boards: u64,
    /// Reading the octets of reports; hearing, judging and publishing them; looking at time and files.
    pub reading: Duration,
    pub hearing: Duration,
    pub turning: Duration,
    pub lasting: Duration,
}

impl Cost {
    /// Of a core.
    pub fn share(&self) -> f64 {
        let spent = self.reading + self.hearing + self.turning;
        spent.as_secs_f64() / self.lasting.as_secs_f64()
    }
}

struct Alone {
    keeper: Keeper,
    vantages: Vec<Vantage>,
    now: Duration,
    wall: jiff::Timestamp,
    churn: Option<Churn>,
}

/// All quiet for so long, then one target of a hundred changing each second for as long.
pub fn measure(
    config: &Path,
    targets: &Targets,
    lasting: Duration,
    seed: u64,
    interrupt: &Interrupt,
) -> anyhow::Result<[Cost; 2]> {
    let prepared = config::load(config).and_then(Config::prepare);
    let prepared = prepared.map_err(|problems| anyhow::anyhow!("{problems}"))?;
    let wall = now();
    let clocks = Now { monotonic: BEGIN, wall };
    let metrics = Metrics::new(vec![]).world;
    let keeper = Keeper::start(&prepared.node, prepared.ground, metrics, clocks);
    let vantages = (0..VANTAGES).map(|number| Vantage::new(number, targets)).collect();
    let mut alone = Alone { keeper, vantages, now: BEGIN, wall, churn: None };
    alone.run(SETTLED, interrupt)?;
    let quiet = alone.run(lasting, interrupt)?;
    alone.churn = Some(Churn::new(targets, seed, alone.now));
    // Until as many come back as go.
    alone.run(SETTLED, interrupt)?;
    Ok([quiet, alone.run(lasting, interrupt)?])
}

impl Alone {
    fn run(&mut self, lasting: Duration, interrupt: &Interrupt) -> anyhow::Result<Cost> {
        let board = |keeper: &Keeper| keeper.published().load().board.number;
        let (end, before) = (self.now + lasting, board(&self.keeper));
        let mut cost = Cost { lasting, ..Cost::default() };
        while self.now < end {
            interrupt.check()?;
            self.now += STEP;
            let found = self.churn.as_mut().map(|churn| churn.until(self.now));
            for (vantage, target, state) in found.into_iter().flatten() {
                self.vantages[vantage].say(target, state, self.now);
            }
            for number in 0..VANTAGES {
                self.report(number, &mut cost)?;
            }
            if self.now.as_millis().is_multiple_of(TURN.as_millis()) {
                let clocks = self.clocks();
                cost.turning += spent(|| self.keeper.turn(clocks)).0;
            }
        }
        cost.boards = board(&self.keeper) - before;
        Ok(cost)
    }

    fn report(&mut self, number: usize, cost: &mut Cost) -> anyhow::Result<()> {
        // At first one after the other: they have not all begun at once.
        let first = BEGIN + STEP * 10 * number as u32;
        let vantage = &mut self.vantages[number];
        if vantage.due().is_none_or(|due| due.max(first) > self.now) {
            return Ok(());
        }
        let (octets, entries) = vantage.report(self.now);
        let (took, read) = spent(|| -> anyhow::Result<_> {
            let Report { head, body } = Report::read(&octets)?;
            let Body::Probe(said) = body else { anyhow::bail!("a probe's report") };
            Ok((head, changes(said)))
        });
        let (head, changes) = read?;
        let producer = Principal::new("bench", Kind::Probe, &head.producer)?;
        let mark = head.mark;
        let (answer, mut answered) = oneshot::channel();
        let changes = Changes::Probe(changes);
        let told = vec![Told { producer, head, changes, answer }];
        let clocks = self.clocks();
        cost.hearing += spent(|| self.keeper.hear(told, clocks)).0;
        cost.reading += took;
        cost.reports += 1;
        cost.entries += entries as u64;
        match answered.try_recv()? {
            Reception::Taken(_) => self.vantages[number].on_reply(taken(mark)),
            other => anyhow::bail!("a report came to {other:?}"),
        }
        Ok(())
    }

    fn clocks(&self) -> Now {
        let elapsed = self.now - BEGIN;
        Now { monotonic: self.now, wall: self.wall + elapsed }
    }
}

fn taken(mark: Mark) -> common::report::Reply {
    common::report::Reply::Taken(mark)
}

/// The CPU time of this thread that something takes.
fn spent<T>(work: impl FnOnce() -> T) -> (Duration, T) {
    let time = || {
        let time = clock_gettime(ClockId::ThreadCPUTime);
        Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
    };
    let before = time();
    let done = work();
    (time() - before, done)
}
