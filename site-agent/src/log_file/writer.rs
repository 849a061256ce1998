//! The thread that empties the rings into the file. Whole lines only: what the file does not take now it is given
//! again, from where it stopped.

use std::fs::File;
use std::io::{
    self,
    ErrorKind::{Interrupted, WouldBlock},
    Write as _,
};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;
use std::time::Duration;

use rtrb::Consumer;
use tracing::{info, warn};

use super::{RING, Shared, count, open};
use crate::site::LogTarget;

/// How long the writer lies idle when there was nothing to write: lines that come together are written together.
const IDLE: Duration = Duration::from_millis(20);
/// From one try to write to the next.
const RETRY: Duration = Duration::from_secs(1);

pub struct Writer {
    target: LogTarget,
    file: File,
    rings: Vec<Consumer<u8>>,
    /// The ring whose turn it is.
    next: usize,
    /// Whole lines of one ring, and how many of their octets the file has taken.
    pending: Vec<u8>,
    sent: usize,
    /// What keeps us from writing is told once, not every second.
    is_failing: bool,
    shared: Arc<Shared>,
}

impl Writer {
    pub fn new(
        target: LogTarget,
        file: File,
        rings: Vec<Consumer<u8>>,
        shared: Arc<Shared>,
    ) -> Writer {
        let pending = Vec::with_capacity(RING);
        Writer { target, file, rings, next: 0, pending, sent: 0, is_failing: false, shared }
    }

    pub fn run(mut self) {
        loop {
            // Asked before we look: whoever logs, and then drops its end or stops us, is still heard.
            let is_last = self.shared.is_stopping.load(Relaxed)
                || self.rings.iter().all(|ring| ring.is_abandoned());
            let outcome = self.empty();
            if self.shared.is_reopening.swap(false, Relaxed) {
                self.reopen();
                continue;
            }
            if is_last && (outcome.is_err() || self.sent == self.pending.len()) {
                break;
            }
            thread::park_timeout(match outcome {
                Ok(()) => IDLE,
                Err(()) => RETRY,
            });
        }
        let left = self.rings.iter_mut().map(|ring| {
            let chunk = ring.read_chunk(ring.slots()).expect("so many octets stand there");
            let (one, other) = chunk.as_slices();
            count(one) + count(other)
        });
        let left: u64 = left.sum::<u64>() + count(&self.pending[self.sent..]);
        self.shared.dropped.fetch_add(left, Relaxed);
    }

    /// Writes until the rings are empty, or the file takes no more.
    fn empty(&mut self) -> Result<(), ()> {
        while self.sent < self.pending.len() || self.gather() {
            match self.file.write(&self.pending[self.sent..]) {
                Ok(octets) => {
                    let written = &self.pending[self.sent..self.sent + octets];
                    self.shared.written.fetch_add(count(written), Relaxed);
                    self.sent += octets;
                    if self.is_failing {
                        self.is_failing = false;
                        info!(file = self.name(), "the access log is written again");
                    }
                }
                Err(error) if error.kind() == Interrupted => {}
                // Whoever shares our stdout may have made it so.
                Err(error) if error.kind() == WouldBlock => return Ok(()),
                Err(error) => {
                    self.tell(&error);
                    return Err(());
                }
            }
        }
        Ok(())
    }

    fn tell(&mut self, error: &io::Error) {
        if !self.is_failing {
            self.is_failing = true;
            warn!(%error, file = self.name(), "the access log cannot be written: trying again every second");
        }
    }

    /// Takes what stands in the next ring that has something. Rings have turns, so that none waits for ever.
    fn gather(&mut self) -> bool {
        (self.sent, self.next) = (0, self.next % self.rings.len().max(1));
        let (before, from) = self.rings.split_at_mut(self.next);
        for (turn, ring) in (1..).zip(from.iter_mut().chain(before)) {
            self.pending.resize(ring.slots(), 0);
            // So many octets stand there, and only we take any away.
            if !self.pending.is_empty() && ring.pop_entire_slice(&mut self.pending).is_ok() {
                self.next += turn;
                return true;
            }
        }
        self.pending.clear();
        false
    }

    fn reopen(&mut self) {
        match open(&self.target) {
            Ok(file) => {
                self.file = file;
                let begin = next_line(&self.pending, self.sent);
                let torn = count(&self.pending[self.sent..begin]);
                self.shared.dropped.fetch_add(torn, Relaxed);
                self.sent = begin;
            }
            Err(error) => {
                warn!(%error, file = self.name(), "the access log cannot be opened again: writing to the old file");
            }
        }
    }

    fn name(&self) -> String {
        match &self.target {
            LogTarget::Stdout => "stdout".to_owned(),
            LogTarget::File(path) => path.display().to_string(),
        }
    }
}

/// Where the first line begins of which nothing is sent: of one that the old file has begun, the new one gets nothing.
pub fn next_line(lines: &[u8], sent: usize) -> usize {
    match lines[..sent].last() {
        None | Some(b'\n') => sent,
        Some(_) => memchr::memchr(b'\n', &lines[sent..]).map_or(lines.len(), |end| sent + end + 1),
    }
}
