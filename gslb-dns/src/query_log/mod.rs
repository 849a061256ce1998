//! Tells who asked what and what was answered, without an answer ever waiting for it.
//!
//! listen ─▶ tap ─┬▶ ring ─▶ writer (one thread) ─▶ a unix socket   (dnstap)
//!                └▶ ring ─▶ scribe (one thread) ─▶ files           (recording)
//!
//! A `Tap` belongs to one UDP thread, or to one listener for connections. Its rings are allocated once; when one is
//! full what is told is dropped and counted. Neither side of a ring ever waits for the other, nor the reader of the
//! one log for the disk of the other.

mod files;
mod frames;
mod notes;
mod scribe;
mod writer;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tracing::error;

pub use self::files::recordings_in;
pub use self::frames::RING;

use self::frames::{FrameLog, Frames};
use self::notes::{NoteLog, Notes};
use crate::answer::{Answer, Resolved, Transport};
use crate::metrics::QueryLogMetrics;
use crate::snapshot::Snapshot;
use crate::world::{self, Sample};

/// One log before it begins: gives out taps.
pub struct QueryLog {
    sample: Sample,
    frames: Option<FrameLog>,
    notes: Option<NoteLog>,
}

/// Where queries go in.
pub struct Tap {
    sample: Sample,
    dice: Dice,
    frames: Option<Frames>,
    notes: Option<Notes>,
}

/// A query that was answered.
pub struct Heard<'h> {
    pub client: IpAddr,
    /// Unknown where a connection was taken apart before.
    pub client_port: Option<u16>,
    /// Since 1970. Its second is that for which the query was answered.
    pub at: Duration,
    pub query: &'h [u8],
    pub answer: &'h Answer,
    /// As it was sent; empty if it was not.
    pub octets: &'h [u8],
    /// What it came to, where the tap wants that.
    pub resolved: Option<&'h Resolved>,
    pub snapshot: &'h Snapshot,
}

impl QueryLog {
    pub fn new(config: world::QueryLog, node_name: &str, metrics: QueryLogMetrics) -> QueryLog {
        let world::QueryLog { sample, dnstap, recording } = config;
        let notes =
            recording.map(|recording| NoteLog::new(recording, sample, node_name, metrics.clone()));
        QueryLog {
            sample,
            frames: dnstap.map(|dnstap| FrameLog::new(dnstap, node_name, metrics)),
            notes,
        }
    }

    /// `seed` decides which queries are of the sample.
    pub fn tap(&mut self, transport: Transport, server: SocketAddr, seed: [u8; 8]) -> Tap {
        Tap {
            sample: self.sample,
            dice: Dice(u64::from_ne_bytes(seed)),
            frames: self.frames.as_mut().map(|log| log.tap(transport, server)),
            notes: self.notes.as_mut().map(|log| log.tap(transport)),
        }
    }

    /// Begins to write what the taps take.
    pub fn start(self) -> io::Result<Writing> {
        let mut writing = Writing { stop: Arc::default(), threads: vec![] };
        if let Some(frames) = self.frames {
            let writer = frames.writer(Arc::clone(&writing.stop));
            writing.spawn("query-log", || writer.run())?;
        }
        if let Some(notes) = self.notes {
            let stop = Arc::clone(&writing.stop);
            writing.spawn("recording", || notes.scribe(stop).run())?;
        }
        Ok(writing)
    }
}

impl Tap {
    /// Tells of a query and its answer. Never waits, never allocates.
    pub fn tell(&mut self, heard: &Heard<'_>) {
        if !self.sample.holds(self.dice.roll()) {
            return;
        }
        if let Some(frames) = &mut self.frames {
            frames.tell(heard);
        }
        if let Some(notes) = &mut self.notes {
            notes.tell(heard);
        }
    }

    /// Whether it matters what a query came to, beside what was sent.
    pub fn wants_resolved(&self) -> bool {
        self.notes.is_some()
    }
}

/// A log that is being written. Dropped when its taps are gone, it writes what they left and ends.
pub struct Writing {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Writing {
    fn spawn(&mut self, name: &str, run: impl FnOnce() + Send + 'static) -> io::Result<()> {
        self.threads.push(thread::Builder::new().name(name.into()).spawn(run)?);
        Ok(())
    }
}

impl Drop for Writing {
    fn drop(&mut self) {
        self.stop.store(true, Relaxed);
        self.threads.iter().for_each(|thread| thread.thread().unpark());
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                error!("a thread of the query log had panicked");
            }
        }
    }
}

/// SplitMix64: enough to choose a sample that no pattern of queries can escape or fill.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u32 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed >> 32) as u32
    }
}

#[cfg(test)]
mod tests;
