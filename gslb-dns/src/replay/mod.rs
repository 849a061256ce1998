//! Asks again what was asked: each recorded query, through the code that answers, under another world or board.
//!
//! recording ─▶ replay (answer, with a note) ─▶ report
//!
//! Whom a change moves, from where to where, with a command that explains each move. The evaluator is the one that
//! answers and explains; nothing is decided here but what is the same.

mod report;
mod run;

use std::cell::RefCell;
use std::collections::BTreeMap;

pub use self::report::{Report, queries_line, queries_object};
pub use self::run::{Request, Source, files, open, replay};

use crate::answer::{Answer, Asker, Guard, MAX_STREAM, Resolved, Transport, answer_guarded};
use crate::explain;
use crate::ledger::Entry;
use crate::name::{Name, NameKey};
use crate::recording::{Asked, Outcome, Sent};
use crate::snapshot::Snapshot;
use crate::steer::Failing;
use crate::world::World;

/// Rows of moves that are told apart; what else moved is counted together.
const MOST_MOVES: usize = 10_000;
/// Moves of which an example is kept.
const MOST_EXAMPLES: usize = 10;

/// What stands for «no service» in a move, and for «no site».
const NOT_STEERED: &str = "not steered";
const NO_SITE: &str = "no site";

/// Compares what was answered with what would be.
pub struct Replay {
    tally: Tally,
    name: NameKey,
    resolved: RefCell<Resolved>,
    out: Vec<u8>,
}

/// What came of all queries so far.
#[derive(Debug, Default)]
pub struct Tally {
    pub same: u64,
    pub otherwise: u64,
    /// Answered under the very beliefs by which it was replayed, and by the very world.
    pub same_beliefs: u64,
    pub same_world: u64,
    /// First and last instant, in milliseconds of Unix time.
    pub between: Option<(u64, u64)>,
    /// By name.
    pub services: BTreeMap<Box<str>, ServiceTally>,
    /// What moved in no service: from one answer to another.
    pub answers: BTreeMap<Move, u64>,
    pub examples: Vec<Example>,
    rows: usize,
    /// Moves beyond the rows that are kept.
    pub others: u64,
}

#[derive(Debug, Default)]
pub struct ServiceTally {
    /// Of a query that leads through several services, each counts it.
    pub queries: u64,
    pub moved: u64,
    pub moves: BTreeMap<Move, u64>,
}

/// From what to what: sites, or answers of no service.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Move {
    pub from: Box<str>,
    pub to: Box<str>,
}

/// The first query that moved so.
#[derive(Debug)]
pub struct Example {
    pub service: Option<Box<str>>,
    pub moved: Move,
    pub query: Words,
}

/// A query as a command line has it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Words {
    pub at: u64,
    pub name: String,
    pub qtype: String,
    pub client: Option<String>,
    pub resolver: String,
}

impl Default for Replay {
    fn default() -> Replay {
        Replay {
            tally: Tally::default(),
            name: NameKey::ROOT,
            resolved: RefCell::default(),
            out: vec![0; MAX_STREAM],
        }
    }
}

impl Replay {
    /// Asks one query again.
    pub fn ask(&mut self, snapshot: &Snapshot, node_name: &str, asked: &Asked<'_>) {
        let Asked { query, state, .. } = asked;
        let Some(name) = Name::from_wire(query.name) else { return };
        let packet = explain::query(&name, query.qtype, query.subnet.as_ref());
        // Over a stream nothing is cut, nor is anybody limited.
        let (address, transport) = (query.resolver, Transport::Tcp);
        let asker = Asker { address, transport, now: query.at / 1000 };
        self.resolved.get_mut().rcode = None;
        let guard = Guard { note: Some(&self.resolved), ..Guard::OPEN };
        let (key, out) = (&mut self.name, &mut self.out);
        let answer = answer_guarded(&guard, snapshot, node_name, &packet, &asker, key, out);
        let records = answer.map_or(0, |answer| records_in(&answer, out));
        let now = Now { resolved: self.resolved.get_mut(), world: snapshot.world(), records };
        self.tally.count(asked, &now);
        self.tally.same_beliefs += u64::from(state.board == snapshot.board.digest);
        self.tally.same_world += u64::from(state.epoch == snapshot.world().epoch);
    }

    pub fn tally(self) -> Tally {
        self.tally
    }
}

fn records_in(answer: &Answer, out: &[u8]) -> u16 {
    match out[..answer.length] {
        [_, _, _, _, _, _, high, low, ..] => u16::from_be_bytes([high, low]),
        _ => 0,
    }
}

/// What a query comes to now.
struct Now<'n> {
    resolved: &'n Resolved,
    world: &'n World,
    records: u16,
}

impl Now<'_> {
    fn rcode(&self) -> u16 {
        self.resolved.rcode.map_or(0, |rcode| rcode as u16)
    }

    fn service(&self, entry: &Entry) -> String {
        self.world.service(entry.service).name.to_string()
    }

    fn sites(&self, entry: &Entry) -> impl Iterator<Item = &str> {
        let candidates = &self.world.service(entry.service).candidates;
        entry.named.iter().map(|one| &*self.world.site(candidates[one].site).name)
    }
}

impl Tally {
    fn count(&mut self, asked: &Asked<'_>, now: &Now<'_>) {
        let Asked { query, outcome, .. } = asked;
        let (first, last) = self.between.unwrap_or((query.at, query.at));
        self.between = Some((first.min(query.at), last.max(query.at)));
        let mut is_same = true;
        for part in &outcome.services {
            let now_there =
                now.resolved.entries.iter().find(|entry| *now.service(entry) == *part.service);
            let stays = now_there.is_some_and(|entry| {
                // The order in which a service lists its sites moves nobody.
                let sites =
                    part.sites.iter().filter(|site| now.sites(entry).any(|name| *name == ***site));
                entry.failing == part.failing
                    && entry.named.len() == part.sites.len()
                    && sites.count() == part.sites.len()
            });
            let tally = self.services.entry(part.service.as_ref().into()).or_default();
            tally.queries += 1;
            if !stays {
                is_same = false;
                let from = told(part.sites.iter().map(|site| &**site), part.failing);
                let to = now_there
                    .map_or(NOT_STEERED.into(), |entry| told(now.sites(entry), entry.failing));
                self.moved(Some(&part.service), from, to, asked);
            }
        }
        for entry in &now.resolved.entries {
            let service = now.service(entry);
            if !outcome.services.iter().any(|part| *part.service == *service) {
                is_same = false;
                let to = told(now.sites(entry), entry.failing);
                self.services.entry(service.as_str().into()).or_default().queries += 1;
                self.moved(Some(&service), NOT_STEERED.into(), to, asked);
            }
        }
        // What was not sent whole says nothing of its records.
        let is_counted = query.sent == Sent::Whole;
        let other_records = is_counted && outcome.records != now.records;
        if is_same && (outcome.rcode != now.rcode() || other_records) {
            is_same = false;
            let from = answer_told(outcome.rcode, outcome.records, is_counted);
            let to = answer_told(now.rcode(), now.records, is_counted);
            self.moved(None, from, to, asked);
        }
        match is_same {
            true => self.same += 1,
            false => self.otherwise += 1,
        }
    }

    fn moved(&mut self, service: Option<&str>, from: String, to: String, asked: &Asked<'_>) {
        let moved = Move { from: from.into(), to: to.into() };
        let moves = match service {
            Some(service) => {
                let tally = self.services.entry(service.into()).or_default();
                tally.moved += 1;
                &mut tally.moves
            }
            None => &mut self.answers,
        };
        if let Some(count) = moves.get_mut(&moved) {
            *count += 1;
        } else if self.rows < MOST_MOVES {
            self.rows += 1;
            moves.insert(moved.clone(), 1);
            if self.examples.len() < MOST_EXAMPLES {
                let (service, query) = (service.map(Into::into), Words::of(asked));
                self.examples.push(Example { service, moved, query });
            }
        } else {
            self.others += 1;
        }
    }
}

fn told<'s>(sites: impl Iterator<Item = &'s str>, failing: Failing) -> String {
    let mut sites: Vec<&str> = sites.collect();
    sites.sort_unstable();
    let sites = if sites.is_empty() { NO_SITE.to_owned() } else { sites.join("+") };
    match failing {
        Failing::No => sites,
        Failing::AllDown | Failing::AllDrained => format!("{sites} ({})", failing.as_str()),
    }
}

fn answer_told(rcode: u16, records: u16, is_counted: bool) -> String {
    let rcode = report::rcode_told(rcode);
    match (is_counted, records) {
        (false, _) => rcode,
        (true, 1) => format!("{rcode} with 1 record"),
        (true, _) => format!("{rcode} with {records} records"),
    }
}

impl Words {
    pub fn of(asked: &Asked<'_>) -> Words {
        let query = &asked.query;
        let client = query.subnet.and_then(|subnet| {
            subnet.address().map(|address| format!("{address}/{}", subnet.source))
        });
        Words {
            at: query.at,
            name: Name::from_wire(query.name).map_or(String::new(), |name| name.to_string()),
            qtype: query.qtype.to_string(),
            client,
            resolver: query.resolver.to_string(),
        }
    }
}

/// What a recorded outcome names, service by service.
fn outcome_told(outcome: &Outcome) -> Vec<(String, String)> {
    let parts = outcome.services.iter();
    parts
        .map(|part| {
            let sites = told(part.sites.iter().map(|site| &**site), part.failing);
            (part.service.to_string(), sites)
        })
        .collect()
}
