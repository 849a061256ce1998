//! One thread that empties the rings of a recording into its files.
//!
//! Here ids get their names. A disk that does not take what is written is told of once; meanwhile what the rings
//! hold is counted and let go, and nobody waits.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use common::clock::{monotonic, now};
use tracing::{info, warn};

use super::files::Files;
use super::notes::{self, Drain, Note};
use crate::answer::Transport;
use crate::metrics::QueryLogMetrics;
use crate::name::NameKey;
use crate::query;
use crate::recording::{BlockWriter, Edns, Header, Outcome, OutcomeRef, Part, Query, State};
use crate::snapshot::Groundwork;
use crate::world::{Epoch, Recording};

/// How long the scribe lies idle when there was nothing to write: half of what fills a ring.
const IDLE: Duration = Duration::from_millis(5);
/// How old a block gets before it is written all the same: as much is lost when the process is killed.
const FLUSH: Duration = Duration::from_millis(500);
/// From one try to write to the next.
const RETRY: Duration = Duration::from_secs(1);

pub struct Scribe {
    header: Header,
    metrics: QueryLogMetrics,
    rings: Vec<Ring>,
    files: Files,
    block: BlockWriter,
    /// When its first query was put there.
    begun: Duration,
    /// What the block was told last.
    state: Option<State>,
    /// Of the block, under that state.
    outcomes: HashMap<Box<[u8]>, OutcomeRef>,
    trouble: Option<Trouble>,
    /// Room for a query's name, and for what was in a ring.
    name: NameKey,
    taken: Vec<u8>,
    stop: Arc<AtomicBool>,
}

struct Ring {
    drain: Drain,
    /// By what the queries that stand in it next were answered.
    turn: Option<(State, Rc<Roster>)>,
}

/// What a world calls its services and sites.
struct Roster {
    epoch: Epoch,
    sites: Vec<Arc<str>>,
    /// Each with its candidates.
    services: Vec<(Arc<str>, Box<[u16]>)>,
}

/// The disk takes nothing.
struct Trouble {
    retry_at: Duration,
}

impl Roster {
    fn of(ground: &Groundwork) -> Roster {
        let world = &ground.world;
        let services = world.services.iter().map(|service| {
            let sites = service.candidates.iter().map(|candidate| candidate.site.0);
            (service.name.to_string().into(), sites.collect())
        });
        Roster {
            epoch: world.epoch,
            sites: world.sites.iter().map(|site| Arc::from(&*site.name)).collect(),
            services: services.collect(),
        }
    }

    fn outcome(&self, query: &notes::Query<'_>) -> Outcome {
        let part = |entry: crate::ledger::Entry| {
            let (service, candidates) = self.services.get(entry.service.index())?;
            let site = |one: usize| self.sites.get(usize::from(*candidates.get(one)?)).cloned();
            let sites = entry.named.iter().filter_map(site).collect();
            Some(Part { service: Arc::clone(service), failing: entry.failing, sites })
        };
        Outcome {
            rcode: query.rcode(),
            records: query.records(),
            services: query.entries().filter_map(part).collect(),
        }
    }
}

impl Scribe {
    pub fn new(
        config: Recording,
        header: Header,
        metrics: QueryLogMetrics,
        drains: Vec<Drain>,
        stop: Arc<AtomicBool>,
    ) -> Scribe {
        Scribe {
            block: BlockWriter::new(header.clients),
            header,
            metrics,
            rings: drains.into_iter().map(|drain| Ring { drain, turn: None }).collect(),
            files: Files::new(config),
            begun: Duration::ZERO,
            state: None,
            outcomes: HashMap::new(),
            trouble: None,
            name: NameKey::ROOT,
            taken: vec![],
            stop,
        }
    }

    pub fn run(mut self) {
        self.metrics.recording_ok.set(1);
        loop {
            // Asked first: what is told before the word to stop is written.
            let is_last = self.stop.load(Relaxed);
            let mut took = false;
            for index in 0..self.rings.len() {
                took |= self.empty(index);
            }
            let is_old = self.block.queries() > 0 && monotonic() >= self.begun + FLUSH;
            if is_old || is_last {
                self.write();
            }
            if is_last && !took {
                return;
            }
            if !took {
                thread::park_timeout(IDLE);
            }
        }
    }

    /// Takes what stands in a ring now; false if there was nothing.
    fn empty(&mut self, index: usize) -> bool {
        let Drain { transport, ring, dropped, .. } = &mut self.rings[index].drain;
        let transport = *transport;
        let dropped = dropped.swap(0, Relaxed);
        if dropped > 0 {
            self.metrics.unrecorded.with_label_values(&["full"]).inc_by(dropped);
        }
        let mut taken = std::mem::take(&mut self.taken);
        taken.resize(ring.slots(), 0);
        // So many octets stand there, and only we take any away.
        if taken.is_empty() || ring.pop_entire_slice(&mut taken).is_err() {
            self.taken = taken;
            return false;
        }
        let mut rest = &taken[..];
        while let Some(note) = Note::take(&mut rest) {
            match note {
                Note::Turn { board, epoch, has_world } => {
                    let roster = self.roster(index, epoch, has_world);
                    self.rings[index].turn = roster.map(|roster| (State { epoch, board }, roster));
                }
                Note::Query(query) => self.put(index, transport, &query),
            }
        }
        self.taken = taken;
        true
    }

    /// The names of a ring's world. A world comes with its turn; it is let go at once, for what it calls things is
    /// all that is wanted of it, and threads that answer by the same one share that.
    fn roster(&mut self, index: usize, epoch: Epoch, has_world: bool) -> Option<Rc<Roster>> {
        let ground = if has_world { self.rings[index].drain.worlds.pop().ok() } else { None };
        let turns = self.rings.iter().filter_map(|ring| ring.turn.as_ref());
        let known = turns.map(|(_, roster)| roster).find(|roster| roster.epoch == epoch);
        known.cloned().or_else(|| ground.map(|ground| Rc::new(Roster::of(&ground))))
    }

    fn put(&mut self, index: usize, transport: Transport, note: &notes::Query<'_>) {
        let Ok(parsed) = query::Query::parse(note.packet, &mut self.name) else { return };
        let Some((state, roster)) = &self.rings[index].turn else { return };
        let subnet = parsed.edns.as_ref().and_then(|edns| edns.subnet);
        let asked = Query {
            at: note.at,
            transport,
            edns: match &parsed.edns {
                None => Edns::None,
                Some(edns) if edns.dnssec_ok => Edns::WantsDnssec,
                Some(_) => Edns::Plain,
            },
            sent: note.sent,
            name: parsed.question.name.wire(),
            qtype: parsed.question.qtype,
            resolver: note.client,
            subnet,
        };
        if self.block.queries() == 0 {
            self.begun = monotonic();
            // Of the file, if it is the block that begins one.
            (self.header.started, self.header.epoch) = (note.at, state.epoch);
        }
        if self.state != Some(*state) {
            self.block.state(state);
            self.state = Some(*state);
            // The same ids may mean others now.
            self.outcomes.clear();
        }
        let outcome = match self.outcomes.get(note.outcome) {
            Some(&outcome) => outcome,
            None => {
                let outcome = self.block.outcome(&roster.outcome(note));
                self.outcomes.insert(note.outcome.into(), outcome);
                outcome
            }
        };
        self.block.query(&asked, outcome);
        if self.block.is_full() {
            self.write();
        }
    }

    /// Writes the block, or counts it as lost, and begins the next.
    fn write(&mut self) {
        let queries = u64::from(self.block.queries());
        if queries == 0 {
            return;
        }
        let clock = monotonic();
        let is_waiting = self.trouble.as_ref().is_some_and(|trouble| clock < trouble.retry_at);
        let block = self.block.finish().filter(|_| !is_waiting);
        match block.map(|block| self.files.append(&self.header, block, now(), clock)) {
            Some(Ok(())) => {
                self.metrics.recorded.inc_by(queries);
                if self.trouble.take().is_some() {
                    self.metrics.recording_ok.set(1);
                    info!(dir = %self.files.dir(), "queries are recorded again");
                }
            }
            Some(Err(error)) => {
                self.metrics.unrecorded.with_label_values(&["disk"]).inc_by(queries);
                if self.trouble.is_none() {
                    self.metrics.recording_ok.set(0);
                    let dir = self.files.dir();
                    warn!(%error, %dir, "queries cannot be recorded: answering on, and trying again every second");
                }
                self.trouble = Some(Trouble { retry_at: clock + RETRY });
            }
            None => self.metrics.unrecorded.with_label_values(&["disk"]).inc_by(queries),
        }
        self.block.clear();
        self.state = None;
        self.outcomes.clear();
    }
}
