//! One thread that empties the rings into a reader's socket, by Frame Streams with its handshake.
//!
//! Waits for the reader as long as it has to; meanwhile the rings fill, and taps drop. Decides nothing about
//! queries and is never waited for, but for a moment at the stop.

use std::io::{
    self,
    ErrorKind::{Interrupted, TimedOut, WouldBlock},
    Read as _, Write as _,
};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use common::clock::monotonic;
use rustix::net::{RecvFlags, recv};
use socket2::{Domain, SockAddr, Socket, Type};
use tracing::{info, warn};

use super::frames::{Drain, RING};
use crate::dnstap::stream::{Control, whole_frames};
use crate::metrics::QueryLogMetrics;

/// How long the writer lies idle when there was nothing to write: half of what fills a ring.
const IDLE: Duration = Duration::from_millis(5);
/// How long one call waits for the reader before we look whether to stop.
const STOP_POLL: Duration = Duration::from_millis(200);
/// From one try to connect to the next.
const RETRY: Duration = Duration::from_secs(1);
/// How long a reader has for its part of the handshake.
const HANDSHAKE: Duration = Duration::from_secs(5);
/// How long a reader has, after the word to stop, to take what was told before.
const LAST_WORD: Duration = Duration::from_secs(1);

pub struct Writer {
    /// Where the reader listens.
    socket: PathBuf,
    metrics: QueryLogMetrics,
    drains: Vec<Drain>,
    /// The ring whose turn it is.
    next: usize,
    /// Whole frames of one ring, and how many of their octets the reader has been given.
    pending: Vec<u8>,
    sent: usize,
    stop: Arc<AtomicBool>,
}

impl Writer {
    pub fn new(
        socket: PathBuf,
        metrics: QueryLogMetrics,
        drains: Vec<Drain>,
        stop: Arc<AtomicBool>,
    ) -> Writer {
        let pending = Vec::with_capacity(RING);
        Writer { socket, metrics, drains, next: 0, pending, sent: 0, stop }
    }

    pub fn run(mut self) {
        // A reader that stays away is told of once, not every second.
        let mut is_told = false;
        while !self.stop.load(Relaxed) {
            let file = self.socket.display();
            match self.connect() {
                Ok(stream) => {
                    info!(%file, "the reader of the query log is there");
                    is_told = false;
                    self.metrics.connected.set(1);
                    let ended = self.serve(&stream);
                    self.metrics.connected.set(0);
                    if let Err(error) = ended {
                        let file = self.socket.display();
                        warn!(%error, %file, "the reader of the query log is gone: trying again every second");
                        is_told = true;
                    }
                }
                Err(error) if !is_told => {
                    warn!(%error, %file, "no reader of the query log: trying again every second");
                    is_told = true;
                }
                Err(_) => {}
            }
            self.count_dropped();
            if !self.stop.load(Relaxed) {
                thread::park_timeout(RETRY);
            }
        }
        self.count_dropped();
    }

    fn connect(&self) -> io::Result<UnixStream> {
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        // Connecting waits as well, if the reader takes nobody (unix(7)).
        socket.set_write_timeout(Some(STOP_POLL))?;
        socket.set_read_timeout(Some(STOP_POLL))?;
        socket.connect(&SockAddr::unix(&self.socket)?)?;
        let mut stream = UnixStream::from(std::os::fd::OwnedFd::from(socket));
        // Neither fills the queue of a fresh socket, so they are written whole.
        stream.write_all(&Control::Ready.to_wire())?;
        self.await_word(&stream, Control::Accept, HANDSHAKE)?;
        stream.write_all(&Control::Start.to_wire())?;
        Ok(stream)
    }

    /// Until the reader has said what it has to.
    fn await_word(
        &self,
        mut stream: &UnixStream,
        word: Control,
        within: Duration,
    ) -> io::Result<()> {
        let until = monotonic() + within;
        let (mut said, mut room) = (Vec::new(), [0; 512]);
        loop {
            if word.expect(&said).map_err(io::Error::other)?.is_some() {
                return Ok(());
            }
            if monotonic() >= until || (word == Control::Accept && self.stop.load(Relaxed)) {
                return Err(io::Error::new(TimedOut, format!("it did not say {word:?}")));
            }
            match stream.read(&mut room) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(octets) => said.extend_from_slice(&room[..octets]),
                Err(error) if is_passing(&error) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Writes until the reader is gone, or all is written after the word to stop.
    fn serve(&mut self, mut stream: &UnixStream) -> io::Result<()> {
        let mut stop_at = None;
        loop {
            if self.stop.load(Relaxed) {
                let until = *stop_at.get_or_insert_with(|| monotonic() + LAST_WORD);
                if monotonic() >= until {
                    return Err(io::Error::new(TimedOut, "it did not take all before the stop"));
                }
            }
            if self.pending.is_empty() && !self.gather() {
                if stop_at.is_some() {
                    stream.write_all(&Control::Stop.to_wire())?;
                    return self.await_word(stream, Control::Finish, LAST_WORD);
                }
                if is_gone(stream) {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                thread::park_timeout(IDLE);
                continue;
            }
            match stream.write(&self.pending[self.sent..]) {
                Ok(octets) => self.sent += octets,
                // The reader is slow; that the rings fill meanwhile shows at once.
                Err(error) if is_passing(&error) => self.count_dropped(),
                Err(error) => {
                    self.rewind();
                    return Err(error);
                }
            }
            if self.sent == self.pending.len() {
                self.rewind();
            }
        }
    }

    /// Takes what stands in the next ring that has something. Rings have turns, so that none waits for ever.
    fn gather(&mut self) -> bool {
        self.count_dropped();
        let rings = self.drains.len();
        for _ in 0..rings {
            let Drain { ring, .. } = &mut self.drains[self.next];
            self.next = (self.next + 1) % rings;
            self.pending.resize(ring.slots(), 0);
            // So many octets stand there, and only we take any away.
            if !self.pending.is_empty() && ring.pop_entire_slice(&mut self.pending).is_ok() {
                return true;
            }
        }
        self.pending.clear();
        false
    }

    /// Forgets the frames that the reader has been given whole. One that was cut is given again, whole, to the
    /// next reader.
    fn rewind(&mut self) {
        let (frames, end) = whole_frames(&self.pending, self.sent);
        self.metrics.written.inc_by(frames);
        self.pending.drain(..end);
        self.sent = 0;
    }

    fn count_dropped(&self) {
        for Drain { dropped, .. } in &self.drains {
            self.metrics.dropped.inc_by(dropped.swap(0, Relaxed));
        }
    }
}

/// Nothing came of it in time, or a signal did: no reason to give the reader up.
fn is_passing(error: &io::Error) -> bool {
    matches!(error.kind(), WouldBlock | TimedOut | Interrupted)
}

/// Who writes nothing learns only this way that nobody reads.
fn is_gone(stream: &UnixStream) -> bool {
    let mut room = [0; 64];
    match recv(stream, &mut room, RecvFlags::DONTWAIT) {
        Ok((octets, _)) => octets == 0,
        Err(error) => !is_passing(&error.into()),
    }
}
