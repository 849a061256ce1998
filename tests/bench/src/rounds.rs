//! Rounds: every server in turn under the same load, so that what the machine does meanwhile falls on
//! all alike, and only ratios within one round are believed.

use std::time::Duration;

use anyhow::Context;

use crate::clock;
use crate::cpu::Spent;
use crate::interrupt::Interrupt;
use crate::latency::Histogram;
use crate::load::{Clients, Load, Pace, Tally};
use crate::peers::Server;
use crate::queries::Queries;
use crate::stats::Summary;

/// Before each measurement, so that caches, queues and the clock of the core are this server's.
pub const WARM_UP: Duration = Duration::from_millis(200);

/// How a work is measured.
pub struct Method {
    pub rounds: usize,
    /// How long each server is measured in each round.
    pub lasting: Duration,
    pub batch: usize,
    pub pace: Pace,
    pub seed: u64,
}

/// A server, and what it is asked.
pub struct Entrant<'q> {
    pub server: Server,
    pub queries: &'q Queries,
    pub clients: Clients,
}

/// What one server did, round by round.
pub struct Record {
    pub name: &'static str,
    pub reply_size: usize,
    pub rounds: Vec<Round>,
    pub latency: Histogram,
    pub first_wrong: Option<String>,
}

pub struct Round {
    pub answers: u64,
    pub lost: u64,
    pub sampled: u64,
    pub wrong: u64,
    pub spent: Spent,
    pub took: Duration,
}

/// Gives everybody their turn in each round, by index; who follows whom changes from round to round.
pub fn in_turn(
    rounds: usize,
    names: &[&str],
    mut turn: impl FnMut(usize, usize) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    for round in 0..rounds {
        for place in 0..names.len() {
            let index = (round + place) % names.len();
            eprint!("\rround {}/{rounds} {:<16}", round + 1, names[index]);
            turn(index, round).with_context(|| format!("while asking {}", names[index]))?;
        }
    }
    eprint!("\r{:40}\r", "");
    Ok(())
}

impl Method {
    pub fn measure(
        &self,
        entrants: &[Entrant<'_>],
        interrupt: &Interrupt,
    ) -> anyhow::Result<Vec<Record>> {
        let mut records: Vec<Record> = entrants
            .iter()
            .map(|entrant| Record::new(entrant.server.name, entrant.server.reply_size))
            .collect();
        let names: Vec<&str> = entrants.iter().map(|entrant| entrant.server.name).collect();
        in_turn(self.rounds, &names, |index, round| {
            self.turn(&entrants[index], round, &mut records[index], interrupt)
        })?;
        Ok(records)
    }

    fn turn(
        &self,
        entrant: &Entrant<'_>,
        round: usize,
        record: &mut Record,
        interrupt: &Interrupt,
    ) -> anyhow::Result<()> {
        let &Entrant { ref server, queries, clients } = entrant;
        let (reply, batch, pace) = (server.reply, self.batch, self.pace);
        let load = Load { queries, clients, reply, batch, pace };
        // The same queries for all in one round, others in the next.
        let first = round * queries.len() / self.rounds;
        load.run(server.address, first, WARM_UP, interrupt)?;
        let (before, began) = (Spent::by(server.pid())?, clock::now());
        let tally = load.run(server.address, first, self.lasting, interrupt)?;
        let spent = Spent::by(server.pid())?.since(before);
        record.add(tally, spent, clock::now() - began);
        Ok(())
    }
}

impl Record {
    pub fn new(name: &'static str, reply_size: usize) -> Record {
        Record {
            name,
            reply_size,
            rounds: Vec::new(),
            latency: Histogram::default(),
            first_wrong: None,
        }
    }

    pub fn add(&mut self, tally: Tally, spent: Spent, took: Duration) {
        let Tally { answers, lost, sampled, wrong, first_wrong, latency } = tally;
        self.latency.merge(&latency);
        self.first_wrong = self.first_wrong.take().or(first_wrong);
        self.rounds.push(Round { answers, lost, sampled, wrong, spent, took });
    }

    /// Microseconds of CPU for each answer, over the rounds.
    pub fn cost(&self, seed: u64) -> Summary {
        self.over_rounds(seed, Round::cost)
    }

    /// Microseconds of CPU for each answer over all rounds together, by one way to read it: a tick is a
    /// fiftieth of a short round.
    pub fn mean_cost(&self, read: impl Fn(&Spent) -> Duration) -> f64 {
        let spent: Duration = self.rounds.iter().map(|round| read(&round.spent)).sum();
        spent.as_secs_f64() * 1e6 / self.total(|round| round.answers).max(1) as f64
    }

    /// Cost as a multiple of a peer's in the same round.
    pub fn ratio_to(&self, peer: &Record, seed: u64) -> Summary {
        let ratios: Vec<f64> = self
            .rounds
            .iter()
            .zip(&peer.rounds)
            .map(|(ours, theirs)| ours.cost() / theirs.cost())
            .collect();
        Summary::of(&ratios, seed)
    }

    pub fn total(&self, count: impl Fn(&Round) -> u64) -> u64 {
        self.rounds.iter().map(count).sum()
    }

    pub fn over_rounds(&self, seed: u64, value: impl Fn(&Round) -> f64) -> Summary {
        let values: Vec<f64> = self.rounds.iter().map(value).collect();
        Summary::of(&values, seed)
    }
}

impl Round {
    fn cost(&self) -> f64 {
        self.spent.scheduled.as_secs_f64() * 1e6 / self.answers.max(1) as f64
    }

    /// The share of its core that the server used. Well below 1 the generator was the slower of the two,
    /// and the server woke up for less than a full batch.
    pub fn busy(&self) -> f64 {
        self.spent.scheduled.as_secs_f64() / self.took.as_secs_f64()
    }

    /// The share of the time in which the server had work and somebody else had its core.
    pub fn kept_waiting(&self) -> f64 {
        self.spent.waiting.as_secs_f64() / self.took.as_secs_f64()
    }

    pub fn rate(&self) -> f64 {
        self.answers as f64 / self.took.as_secs_f64()
    }
}
