//! Where lines go: through a ring for each thread to one thread that writes them to a file or to stdout.
//!
//! access_log ─▶ Lines (one a thread) ─▶ ring ─▶ writer ─▶ file
//!
//! Who logs is never kept waiting: what finds its ring full is dropped and counted. Lines of one thread keep their
//! order; those of several come in blocks.

mod writer;

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use common::clock::monotonic;
use rtrb::{Producer, RingBuffer};

use self::writer::Writer;
use crate::access_log::LONGEST_LINE;
use crate::site::LogTarget;

/// Octets of each thread's ring: some 5000 lines. A thread fills it in twice the time that the writer lies idle if it
/// logs a hundred thousand a second.
pub const RING: usize = 1 << 20;
/// How long it is from one look at the end of the writer to the next.
const POLL: Duration = Duration::from_millis(5);

const _: () = assert!(RING >= LONGEST_LINE, "the longest line fits an empty ring");

/// One file's writer. Dropped, it goes on for as long as somebody has `Lines`.
#[derive(Debug)]
pub struct LogFile {
    shared: Arc<Shared>,
    thread: JoinHandle<()>,
}

/// Where one thread's lines go in.
#[derive(Debug)]
pub struct Lines {
    ring: Producer<u8>,
    shared: Arc<Shared>,
}

/// How many lines there have been.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Counts {
    pub written: u64,
    /// For want of room in a ring, or in the file until the end.
    pub dropped: u64,
}

#[derive(Debug, Default)]
struct Shared {
    written: AtomicU64,
    dropped: AtomicU64,
    is_reopening: AtomicBool,
    is_stopping: AtomicBool,
}

impl LogFile {
    /// Opens the file, and begins to write what so many threads log.
    pub fn open(target: LogTarget, threads: usize) -> io::Result<(LogFile, Vec<Lines>)> {
        let file = open(&target)?;
        let shared = Arc::new(Shared::default());
        let (mut lines, mut rings) = (vec![], vec![]);
        for _ in 0..threads {
            let (producer, consumer) = RingBuffer::new(RING);
            lines.push(Lines { ring: producer, shared: Arc::clone(&shared) });
            rings.push(consumer);
        }
        let writer = Writer::new(target, file, rings, Arc::clone(&shared));
        let thread =
            thread::Builder::new().name("access-log".to_owned()).spawn(move || writer.run())?;
        Ok((LogFile { shared, thread }, lines))
    }

    /// Goes on in the file that has the name now, once what was logged until then is written: for who has renamed it.
    pub fn reopen(&self) {
        self.shared.is_reopening.store(true, Relaxed);
        self.thread.thread().unpark();
    }

    pub fn counts(&self) -> Counts {
        let Shared { written, dropped, .. } = &*self.shared;
        Counts { written: written.load(Relaxed), dropped: dropped.load(Relaxed) }
    }

    /// Writes what was logged until now, for so long at most: a reader of stdout may never take it.
    pub fn close(self, within: Duration) -> Counts {
        self.shared.is_stopping.store(true, Relaxed);
        self.thread.thread().unpark();
        let until = monotonic() + within;
        while !self.thread.is_finished() && monotonic() < until {
            thread::park_timeout(POLL);
        }
        self.counts()
    }
}

impl Lines {
    /// Takes whole lines, each with the line feed behind it: all of them or none.
    pub fn log(&mut self, lines: &[u8]) {
        if self.ring.push_entire_slice(lines).is_err() {
            self.shared.dropped.fetch_add(count(lines), Relaxed);
        }
    }
}

/// How many lines end in this.
fn count(lines: &[u8]) -> u64 {
    memchr::memchr_iter(b'\n', lines).count() as u64
}

fn open(target: &LogTarget) -> io::Result<File> {
    match target {
        LogTarget::Stdout => Ok(File::from(io::stdout().as_fd().try_clone_to_owned()?)),
        LogTarget::File(path) => {
            OpenOptions::new().append(true).create(true).mode(0o640).open(path)
        }
    }
}

#[cfg(test)]
mod tests;
