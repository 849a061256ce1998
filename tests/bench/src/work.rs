//! The works of the bench: what is served, by whom, and what it may cost.

use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::cpu::{self, Cores};
use crate::dice::Dice;
use crate::interrupt::Interrupt;
use crate::load::Clients;
use crate::peers::{Server, echo, gdnsd, gslb, hickory};
use crate::places::Places;
use crate::queries::Queries;
use crate::rounds::{Entrant, Method, Record};
use crate::stats::Summary;
use crate::world::World;

const SMALL_ZONE: u32 = 1_000;
const MILLION: u32 = 1_000_000;
/// So many that no table of talkers holds them, and that the limiter's slots lie all over its own.
const NETWORKS: u32 = 30_000;
/// How another build is called.
const AGAINST: &str = "against";
/// Datagrams the echo takes at once: as many as a thread of gslb-dns.
const ECHO_WIDTH: usize = 64;

#[derive(Clone, Copy, Debug, Eq, PartialEq, clap::ValueEnum)]
pub enum Work {
    /// A static name of a small zone.
    Static,
    /// A name steered by continent, a random client subnet in every query.
    Geo,
    /// A static name of a zone of a million, against the small zone.
    Million,
    /// A static name asked from many networks, with limiting and the count of talkers, against itself with neither.
    Guarded,
}

/// What gslb-dns may cost, as a multiple of a peer in the same run.
pub struct Budget {
    pub peer: &'static str,
    /// The median of the ratios.
    pub median: f64,
    /// The upper bound of its 95 % bootstrap interval, where the budget sets one.
    pub upper: Option<f64>,
    pub stakes: Stakes,
}

/// What hangs on a budget.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Stakes {
    /// Lost, it fails the run.
    Gate,
    /// Whether it is reached is shown, and no more.
    Goal,
}

impl Budget {
    pub fn holds(&self, ratio: Summary) -> bool {
        ratio.median <= self.median && self.upper.is_none_or(|upper| ratio.upper <= upper)
    }
}

/// What every work of a run shares.
pub struct Bench<'a> {
    pub method: Method,
    pub cores: Cores,
    /// gslb-dns; without it only the peers are measured.
    pub program: Option<PathBuf>,
    /// Another build of it.
    pub against: Option<PathBuf>,
    /// The country database.
    pub database: PathBuf,
    /// Ours to write in.
    pub dir: &'a Path,
    pub interrupt: Interrupt,
}

/// What a table is of: who is judged, and by whom.
#[derive(Clone, Copy)]
pub struct Subject {
    pub name: &'static str,
    /// What is counted.
    pub unit: &'static str,
    /// The server whose cost is judged.
    pub judged: &'static str,
    /// Those that the others are measured against, in the order of the table's columns.
    pub references: &'static [&'static str],
    pub budgets: &'static [Budget],
}

/// What came of a work.
pub struct Outcome {
    pub subject: Subject,
    pub records: Vec<Record>,
    /// Remarks for below the table.
    pub notes: Vec<String>,
}

impl Work {
    pub const ALL: [Work; 4] = [Work::Static, Work::Geo, Work::Million, Work::Guarded];

    pub fn name(self) -> &'static str {
        match self {
            Work::Static => "static",
            Work::Geo => "geo",
            Work::Million => "million",
            Work::Guarded => "guarded",
        }
    }

    pub fn subject(self) -> Subject {
        Subject {
            name: self.name(),
            unit: "answer",
            judged: self.judged(),
            references: self.references(),
            budgets: self.budgets(),
        }
    }

    fn judged(self) -> &'static str {
        match self {
            Work::Static | Work::Geo => "gslb-dns",
            Work::Million => "million-names",
            Work::Guarded => "guarded",
        }
    }

    fn references(self) -> &'static [&'static str] {
        match self {
            Work::Static | Work::Geo => &["gdnsd", "echo"],
            Work::Million => &["small-zone"],
            Work::Guarded => &["bare"],
        }
    }

    fn budgets(self) -> &'static [Budget] {
        match self {
            Work::Static => {
                &[Budget { peer: "gdnsd", median: 1.0, upper: Some(1.03), stakes: Stakes::Gate }]
            }
            Work::Geo => &[
                Budget { peer: "gdnsd", median: 1.0, upper: None, stakes: Stakes::Gate },
                Budget { peer: "echo", median: 1.1, upper: None, stakes: Stakes::Goal },
            ],
            Work::Million => {
                &[Budget { peer: "small-zone", median: 1.2, upper: None, stakes: Stakes::Gate }]
            }
            Work::Guarded => {
                &[Budget { peer: "bare", median: 1.05, upper: None, stakes: Stakes::Gate }]
            }
        }
    }
}

impl Bench<'_> {
    pub fn run(&self, work: Work) -> anyhow::Result<Outcome> {
        match work {
            Work::Static => {
                let world = World::Static { hosts: SMALL_ZONE };
                let queries = Queries::names(SMALL_ZONE, &mut self.dice())?;
                self.compare(work, &world, &queries)
            }
            Work::Geo => {
                let world = World::Geo { database: self.database.clone() };
                let places = Places::open(&self.database)?;
                let queries = Queries::clients(&places, &mut self.dice())?;
                self.compare(work, &world, &queries)
            }
            Work::Million => self.grow(),
            Work::Guarded => self.guard(),
        }
    }

    /// gslb-dns against its peers in one world.
    fn compare(&self, work: Work, world: &World, queries: &Queries) -> anyhow::Result<Outcome> {
        let dir = self.dir.join(work.name());
        std::fs::create_dir(&dir)?;
        let start = |start| Server::start(start, self.cores.server, queries, &self.interrupt);
        let mut servers = Vec::new();
        if let Some(program) = &self.program {
            servers.push(start(gslb::start(work.judged(), program, &dir, world, gslb::PLAIN)?)?);
        }
        if let Some(against) = &self.against {
            servers.push(start(gslb::start(AGAINST, against, &dir, world, gslb::PLAIN)?)?);
        }
        servers.push(start(gdnsd::start(&dir, world)?)?);
        // Answers are not all of one size; the echo's is that of the server judged.
        let reply_size = servers[0].reply_size;
        servers.push(start(echo::start(&dir, ECHO_WIDTH, reply_size)?)?);
        if matches!(world, World::Static { .. }) {
            servers.push(start(hickory::start(&dir, world)?)?);
        }
        let entrants: Vec<Entrant<'_>> = servers
            .into_iter()
            .map(|server| Entrant { server, queries, clients: Clients::One })
            .collect();
        Ok(Outcome {
            subject: work.subject(),
            records: self.method.measure(&entrants, &self.interrupt)?,
            notes: Vec::new(),
        })
    }

    /// gslb-dns with a million names against itself with a thousand.
    fn grow(&self) -> anyhow::Result<Outcome> {
        let work = Work::Million;
        let program = self.program.as_ref().context("gslb-dns is not built")?;
        let dir = self.dir.join(work.name());
        std::fs::create_dir(&dir)?;
        let mut dice = self.dice();
        let few = Queries::names(SMALL_ZONE, &mut dice)?;
        let many = Queries::names(MILLION, &mut dice)?;
        let mut entrants = Vec::new();
        let mut notes = Vec::new();
        for (name, hosts, queries) in
            [(work.judged(), MILLION, &many), (work.references()[0], SMALL_ZONE, &few)]
        {
            let start = gslb::start(name, program, &dir, &World::Static { hosts }, gslb::PLAIN)?;
            let server = Server::start(start, self.cores.server, queries, &self.interrupt)?;
            notes.push(format!(
                "{name}: first answer {:.2} s after the start, {} MiB resident",
                server.ready_in.as_secs_f64(),
                cpu::resident(server.pid())? >> 20
            ));
            entrants.push(Entrant { server, queries, clients: Clients::One });
        }
        Ok(Outcome {
            subject: work.subject(),
            records: self.method.measure(&entrants, &self.interrupt)?,
            notes,
        })
    }

    /// gslb-dns with limiting and talkers against itself with neither.
    fn guard(&self) -> anyhow::Result<Outcome> {
        let work = Work::Guarded;
        let program = self.program.as_ref().context("gslb-dns is not built")?;
        let dir = self.dir.join(work.name());
        std::fs::create_dir(&dir)?;
        let queries = Queries::names(SMALL_ZONE, &mut self.dice())?;
        let world = World::Static { hosts: SMALL_ZONE };
        let bare = work.references()[0];
        let mut servers = vec![
            (work.judged(), program, gslb::GUARDED),
            ("limit-alone", program, gslb::LIMIT_ALONE),
            ("talkers-alone", program, gslb::TALKERS_ALONE),
            (bare, program, gslb::BARE),
        ];
        servers.extend(self.against.as_ref().map(|against| (AGAINST, against, gslb::PLAIN)));
        let mut entrants = Vec::new();
        for (name, program, guards) in servers {
            let start = gslb::start(name, program, &dir, &world, guards)?;
            let server = Server::start(start, self.cores.server, &queries, &self.interrupt)?;
            let clients = Clients::Networks(NETWORKS);
            entrants.push(Entrant { server, queries: &queries, clients });
        }
        let notes =
            vec![format!("asked from {NETWORKS} networks alike, for {SMALL_ZONE} names alike")];
        Ok(Outcome {
            subject: work.subject(),
            records: self.method.measure(&entrants, &self.interrupt)?,
            notes,
        })
    }

    fn dice(&self) -> Dice {
        Dice::seeded(self.method.seed)
    }
}

impl Outcome {
    pub fn record(&self, name: &str) -> Option<&Record> {
        self.records.iter().find(|record| record.name == name)
    }
}
