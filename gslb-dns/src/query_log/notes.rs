//! The taps' side of a recording: what each query was and came to, by ids, into a ring.
//!
//! Names and the format of the file are the scribe's business, on its own thread: here a query is copied, and
//! nothing is looked up. What its ids mean stands before it: `Turn` tells by which board and world queries are
//! answered from then on, and a world itself goes by a ring of its own.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use rtrb::{Consumer, Producer, RingBuffer};

use super::Heard;
use super::scribe::Scribe;
use crate::answer::{MAX_CHAIN, MAX_STREAM, Transport};
use crate::health::board::BoardDigest;
use crate::ids::ServiceId;
use crate::ledger::Entry;
use crate::metrics::QueryLogMetrics;
use crate::recording::{Header, Sent};
use crate::site_set::SiteSet;
use crate::snapshot::{Groundwork, Snapshot};
use crate::steer::Failing;
use crate::world::{Epoch, Recording, Sample};

/// Octets of each ring: some 8000 queries. A thread at its fastest fills it in some 10 ms, twice as long as the
/// scribe ever lies idle.
const RING: usize = 1 << 20;
/// Worlds that a thread has come to and the scribe has not, at most: each is kept in memory by that.
const WORLDS: usize = 4;
/// Octets of an entry, and those of a query beside its entries and itself.
const ENTRY: usize = 19;
const QUERY: usize = 4 + 1 + 8 + 17 + 1 + 2 + 2 + 1;
const MAX_ENTRIES: usize = MAX_CHAIN + 1;
const MAX_NOTE: usize = QUERY + MAX_ENTRIES * ENTRY + MAX_STREAM;

const _: () = assert!(RING >= 2 * MAX_NOTE, "a turn and the largest query fit an empty ring");

/// All of a recording before it begins.
pub struct NoteLog {
    config: Recording,
    header: Header,
    metrics: QueryLogMetrics,
    drains: Vec<Drain>,
}

/// The scribe's end of a tap's rings.
pub struct Drain {
    pub transport: Transport,
    pub ring: Consumer<u8>,
    pub worlds: Consumer<Arc<Groundwork>>,
    pub dropped: Arc<AtomicU64>,
}

/// Where queries go in.
pub struct Notes {
    /// Of what was told last.
    board: Option<u64>,
    epoch: Option<Epoch>,
    /// Room for one note.
    note: Vec<u8>,
    ring: Producer<u8>,
    worlds: Producer<Arc<Groundwork>>,
    /// What found a ring full, until the scribe has counted it.
    dropped: Arc<AtomicU64>,
}

/// What stands in a ring, read back.
#[derive(Debug)]
pub enum Note<'n> {
    Turn { board: BoardDigest, epoch: Epoch, has_world: bool },
    Query(Query<'n>),
}

#[derive(Debug)]
pub struct Query<'n> {
    /// Milliseconds of Unix time.
    pub at: u64,
    pub client: IpAddr,
    pub sent: Sent,
    /// Response code, number of records and entries: equal octets are equal outcomes, as long as ids mean the same.
    pub outcome: &'n [u8],
    pub packet: &'n [u8],
}

const TURN: u8 = 0;
const QUERIED: u8 = 1;

impl NoteLog {
    pub fn new(
        config: Recording,
        sample: Sample,
        node_name: &str,
        metrics: QueryLogMetrics,
    ) -> NoteLog {
        // When it starts, and by which world, is known with the first query.
        let (node, clients) = (node_name.into(), config.clients);
        let header = Header { node, started: 0, sample, clients, epoch: Epoch([0; 32]) };
        NoteLog { config, header, metrics, drains: vec![] }
    }

    pub fn tap(&mut self, transport: Transport) -> Notes {
        let (producer, consumer) = RingBuffer::new(RING);
        let (world_in, world_out) = RingBuffer::new(WORLDS);
        let dropped = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&dropped);
        self.drains.push(Drain { transport, ring: consumer, worlds: world_out, dropped: counted });
        Notes {
            board: None,
            epoch: None,
            note: Vec::with_capacity(MAX_NOTE),
            ring: producer,
            worlds: world_in,
            dropped,
        }
    }

    pub fn scribe(self, stop: Arc<AtomicBool>) -> Scribe {
        let NoteLog { config, header, metrics, drains } = self;
        Scribe::new(config, header, metrics, drains, stop)
    }
}

impl Notes {
    /// What came to nothing, such as an error without a question, is no query to replay.
    pub fn tell(&mut self, heard: &Heard<'_>) {
        let Some(resolved) = heard.resolved else { return };
        let Some(rcode) = resolved.rcode else { return };
        if self.board != Some(heard.snapshot.board.number) && !self.turn(heard.snapshot) {
            self.dropped.fetch_add(1, Relaxed);
            return;
        }
        let sent = match heard.answer {
            answer if answer.limited.is_some() => Sent::Limited,
            answer if answer.truncated => Sent::Cut,
            _ => Sent::Whole,
        };
        let records = match (sent, heard.octets) {
            (Sent::Whole, &[_, _, _, _, _, _, high, low, ..]) => [high, low],
            _ => [0, 0],
        };
        let note = &mut self.note;
        begin(note, QUERIED);
        let at = u64::try_from(heard.at.as_millis()).unwrap_or(u64::MAX);
        note.extend_from_slice(&at.to_ne_bytes());
        let (family, octets) = match heard.client {
            IpAddr::V4(v4) => (4, v4.to_ipv6_compatible().octets()),
            IpAddr::V6(v6) => (6, v6.octets()),
        };
        note.push(family);
        note.extend_from_slice(&octets);
        note.push(sent as u8);
        note.extend_from_slice(&(rcode as u16).to_ne_bytes());
        note.extend_from_slice(&records);
        note.push(resolved.entries.len() as u8);
        for entry in &resolved.entries {
            note.extend_from_slice(&entry.service.0.to_ne_bytes());
            note.push(entry.failing as u8);
            note.extend_from_slice(&entry.named.bits().to_ne_bytes());
        }
        note.extend_from_slice(heard.query);
        if !self.push() {
            self.dropped.fetch_add(1, Relaxed);
        }
    }

    /// Tells by what queries are answered from now on; false where there is no room for it.
    #[cold]
    fn turn(&mut self, snapshot: &Snapshot) -> bool {
        let epoch = snapshot.world().epoch;
        let is_new = self.epoch != Some(epoch);
        begin(&mut self.note, TURN);
        self.note.push(u8::from(is_new));
        self.note.extend_from_slice(&snapshot.board.digest.0);
        self.note.extend_from_slice(&epoch.0);
        // Only we put anything in, so what has room now has room.
        if self.ring.slots() < self.note.len() || (is_new && self.worlds.is_full()) {
            return false;
        }
        if is_new && self.worlds.push(Arc::clone(&snapshot.ground)).is_err() {
            return false;
        }
        if !self.push() {
            return false;
        }
        (self.board, self.epoch) = (Some(snapshot.board.number), Some(epoch));
        true
    }

    /// All of a note or nothing.
    fn push(&mut self) -> bool {
        let length = (self.note.len() - 4) as u32;
        self.note[..4].copy_from_slice(&length.to_ne_bytes());
        self.ring.push_entire_slice(&self.note).is_ok()
    }
}

fn begin(note: &mut Vec<u8>, kind: u8) {
    note.clear();
    note.extend_from_slice(&[0, 0, 0, 0, kind]);
}

impl<'n> Note<'n> {
    /// Takes the first of what was in a ring; `None` at the end.
    pub fn take(octets: &mut &'n [u8]) -> Option<Note<'n>> {
        let (length, rest) = octets.split_first_chunk()?;
        let (note, rest) = rest.split_at_checked(u32::from_ne_bytes(*length) as usize)?;
        *octets = rest;
        let (&kind, note) = note.split_first()?;
        match kind {
            TURN => {
                let (&has_world, note) = note.split_first()?;
                let (board, note) = note.split_first_chunk()?;
                let (board, epoch) = (BoardDigest(*board), Epoch(*note.first_chunk()?));
                Some(Note::Turn { board, epoch, has_world: has_world == 1 })
            }
            _ => Query::read(note).map(Note::Query),
        }
    }
}

impl<'n> Query<'n> {
    fn read(note: &'n [u8]) -> Option<Query<'n>> {
        let (at, note) = note.split_first_chunk()?;
        let (&family, note) = note.split_first()?;
        let (octets, note) = note.split_first_chunk::<16>()?;
        let client = match family {
            4 => IpAddr::from(*octets.last_chunk::<4>()?),
            _ => IpAddr::from(*octets),
        };
        let (&sent, outcome) = note.split_first()?;
        let entries = usize::from(*outcome.get(4)?);
        let (outcome, packet) = outcome.split_at_checked(5 + entries * ENTRY)?;
        let sent = *[Sent::Whole, Sent::Cut, Sent::Limited].get(usize::from(sent))?;
        Some(Query { at: u64::from_ne_bytes(*at), client, sent, outcome, packet })
    }

    pub fn rcode(&self) -> u16 {
        u16::from_ne_bytes([self.outcome[0], self.outcome[1]])
    }

    pub fn records(&self) -> u16 {
        u16::from_be_bytes([self.outcome[2], self.outcome[3]])
    }

    pub fn entries(&self) -> impl Iterator<Item = Entry> {
        self.outcome[5..].chunks_exact(ENTRY).filter_map(|entry| {
            let (service, rest) = entry.split_first_chunk()?;
            let (&failing, named) = rest.split_first()?;
            Some(Entry {
                service: ServiceId(u16::from_ne_bytes(*service)),
                failing: *Failing::ALL.get(usize::from(failing))?,
                named: SiteSet::from_bits(u128::from_ne_bytes(*named.first_chunk()?)),
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::tests::{ANSWER, SNAPSHOT, heard};
    use super::*;
    use crate::answer::Resolved;
    use crate::metrics::Metrics;
    use crate::query::Rcode;
    use crate::world::Clients;

    fn log() -> NoteLog {
        let config = Recording {
            dir: "none".into(),
            file_octets: 1 << 20,
            file_age: Duration::from_secs(60),
            files: 2,
            clients: Clients::Whole,
        };
        NoteLog::new(config, Sample::ALL, "test", Metrics::new(vec![]).query_log)
    }

    #[test]
    fn a_full_ring_drops_and_counts_and_takes_again_when_there_is_room() {
        let mut log = log();
        let mut notes = log.tap(Transport::Udp);
        let mut tell = |query: &[u8]| {
            heard(Duration::from_secs(1), query, b"")(&mut |heard| notes.tell(heard));
        };
        let mut drained = || {
            let Drain { ring, worlds, dropped, .. } = &mut log.drains[0];
            let mut octets = vec![0; ring.slots()];
            ring.pop_entire_slice(&mut octets).unwrap();
            let (mut rest, mut turns, mut queries) = (&octets[..], 0, 0);
            while let Some(note) = Note::take(&mut rest) {
                match note {
                    Note::Turn { has_world, .. } => turns += usize::from(has_world),
                    Note::Query(query) => {
                        assert_eq!(query.client, IpAddr::from([192, 0, 2, 1]));
                        queries += 1;
                    }
                }
            }
            assert!(rest.is_empty(), "the ring holds whole notes");
            let told = std::iter::from_fn(|| worlds.pop().ok()).count();
            assert_eq!(turns, told, "each world with its turn");
            (turns, queries, dropped.swap(0, Relaxed))
        };
        tell(b"query");
        assert_eq!(drained(), (1, 1, 0));
        let query = [7; 256 - QUERY];
        let room = RING / 256;
        (0..room + 3).for_each(|_| tell(&query));
        assert_eq!(drained(), (0, room, 3));
        tell(&query);
        assert_eq!(drained(), (0, 1, 0));
    }

    #[test]
    fn the_largest_query_has_room() {
        let mut log = log();
        let mut notes = log.tap(Transport::Https);
        let entry = Entry {
            service: ServiceId(65_535),
            failing: Failing::AllDrained,
            named: SiteSet::one(127),
        };
        let entries = std::iter::repeat_n(entry, MAX_ENTRIES).collect();
        let resolved = Resolved { rcode: Some(Rcode::BadCookie), entries };
        let query = vec![0; MAX_STREAM];
        notes.tell(&Heard {
            client: [0xffff; 8].into(),
            client_port: None,
            at: Duration::MAX,
            query: &query,
            answer: &ANSWER,
            octets: &[0, 0, 0, 0, 0, 0, 1, 2],
            resolved: Some(&resolved),
            snapshot: &SNAPSHOT,
        });
        assert_eq!(notes.note.len(), MAX_NOTE);
        assert_eq!(notes.note.capacity(), MAX_NOTE);
        let Drain { ring, .. } = &mut log.drains[0];
        let mut octets = vec![0; ring.slots()];
        ring.pop_entire_slice(&mut octets).unwrap();
        let mut rest = &octets[..];
        assert!(matches!(Note::take(&mut rest), Some(Note::Turn { .. })));
        let Some(Note::Query(read)) = Note::take(&mut rest) else { panic!("a query") };
        assert_eq!((read.at, read.client), (u64::MAX, IpAddr::from([0xffff; 8])));
        assert_eq!((read.rcode(), read.records()), (23, 258));
        assert_eq!(read.entries().collect::<Vec<_>>(), vec![entry; MAX_ENTRIES]);
        assert_eq!(read.packet, query);
    }
}
