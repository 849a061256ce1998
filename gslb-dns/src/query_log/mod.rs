//! Tells a reader who asked what and what was answered, without an answer ever waiting for it.
//!
//! listen ─▶ tap ─▶ ring ─▶ writer (one thread) ─▶ a unix socket
//!
//! A `Tap` belongs to one UDP thread, or to one listener for connections. Its ring is allocated once; when it is
//! full the message is dropped and counted. Neither side of a ring ever waits for the other.

mod writer;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use rtrb::{Consumer, Producer, RingBuffer};

use crate::answer::Transport;
use crate::dnstap::{Encoder, Kind, MAX_FRAME, Meeting};
use crate::metrics::QueryLogMetrics;
use crate::world::{self, Messages, Sample};

pub use self::writer::Writing;

/// Octets of each ring: some 5000 messages of ordinary size. A thread at its fastest fills it in some 10 ms,
/// twice as long as the writer ever lies idle.
pub const RING: usize = 1 << 20;

const _: () = assert!(RING >= MAX_FRAME, "the largest message fits an empty ring");

/// One log before it begins: gives out taps.
pub struct QueryLog {
    config: world::QueryLog,
    identity: Box<str>,
    metrics: QueryLogMetrics,
    drains: Vec<Drain>,
}

/// The writer's end of a ring.
struct Drain {
    ring: Consumer<u8>,
    dropped: Arc<AtomicU64>,
}

/// Where messages go in.
pub struct Tap {
    transport: Transport,
    /// Where we listen.
    server: SocketAddr,
    messages: Messages,
    sample: Sample,
    dice: Dice,
    encoder: Encoder,
    /// Room for one frame.
    frame: Vec<u8>,
    ring: Producer<u8>,
    /// What found the ring full, until the writer has counted it. Shared with nobody but the writer.
    dropped: Arc<AtomicU64>,
}

impl QueryLog {
    pub fn new(config: world::QueryLog, node_name: &str, metrics: QueryLogMetrics) -> QueryLog {
        QueryLog { config, identity: node_name.into(), metrics, drains: vec![] }
    }

    /// `seed` decides which queries are of the sample.
    pub fn tap(&mut self, transport: Transport, server: SocketAddr, seed: [u8; 8]) -> Tap {
        let (producer, consumer) = RingBuffer::new(RING);
        let dropped = Arc::new(AtomicU64::new(0));
        self.drains.push(Drain { ring: consumer, dropped: Arc::clone(&dropped) });
        Tap {
            transport,
            server,
            messages: self.config.messages,
            sample: self.config.sample,
            dice: Dice(u64::from_ne_bytes(seed)),
            encoder: Encoder::new(&self.identity),
            frame: Vec::with_capacity(MAX_FRAME),
            ring: producer,
            dropped,
        }
    }
}

impl Tap {
    /// Tells of a query and its answer; an empty one was not sent. Never waits, never allocates.
    pub fn tell(
        &mut self,
        client: IpAddr,
        client_port: Option<u16>,
        at: Duration,
        query: &[u8],
        answer: &[u8],
    ) {
        if !self.sample.holds(self.dice.roll()) {
            return;
        }
        let (transport, server) = (self.transport, self.server);
        let meeting = Meeting { transport, client, client_port, server, at };
        if self.messages != Messages::Responses {
            self.push(Kind::AuthQuery, &meeting, query);
        }
        if self.messages != Messages::Queries && !answer.is_empty() {
            self.push(Kind::AuthResponse, &meeting, answer);
        }
    }

    fn push(&mut self, kind: Kind, meeting: &Meeting, dns: &[u8]) {
        self.encoder.write(kind, meeting, dns, &mut self.frame);
        // All of it or nothing: the writer finds whole frames only.
        if self.ring.push_entire_slice(&self.frame).is_err() {
            self.dropped.fetch_add(1, Relaxed);
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
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::dnstap::stream::whole_frames;
    use crate::metrics::Metrics;

    fn log(sample: f64, messages: Messages) -> QueryLog {
        let sample = Sample::of(sample).unwrap();
        let config = world::QueryLog { socket: PathBuf::from("none"), sample, messages };
        QueryLog::new(config, "test", Metrics::new(vec![]).query_log)
    }

    fn tap(log: &mut QueryLog) -> Tap {
        log.tap(Transport::Udp, "127.0.0.1:53".parse().unwrap(), [7; 8])
    }

    fn tell(tap: &mut Tap, query: &[u8], answer: &[u8]) {
        tap.tell([192, 0, 2, 1].into(), Some(53), Duration::from_secs(1), query, answer);
    }

    /// Frames in the only ring, which is empty afterwards, and how many found no room.
    fn drained(log: &mut QueryLog) -> (u64, u64) {
        let Drain { ring, dropped } = &mut log.drains[0];
        let mut octets = vec![0; ring.slots()];
        ring.pop_entire_slice(&mut octets).unwrap();
        let (frames, end) = whole_frames(&octets, octets.len());
        assert_eq!(end, octets.len(), "the ring holds whole frames");
        (frames, dropped.swap(0, Relaxed))
    }

    #[test]
    fn both_one_or_the_other_is_told() {
        for (messages, answered, unanswered) in
            [(Messages::Both, 2, 1), (Messages::Queries, 1, 1), (Messages::Responses, 1, 0)]
        {
            let mut log = log(1.0, messages);
            let mut tap = tap(&mut log);
            tell(&mut tap, b"query", b"answer");
            assert_eq!(drained(&mut log), (answered, 0), "{messages:?}");
            tell(&mut tap, b"query", b"");
            assert_eq!(drained(&mut log), (unanswered, 0), "{messages:?}");
        }
    }

    #[test]
    fn a_full_ring_drops_and_counts_and_takes_again_when_there_is_room() {
        let mut log = log(1.0, Messages::Queries);
        let mut tap = tap(&mut log);
        tell(&mut tap, &[0; 150], b"");
        let beside = tap.frame.len() - 150;
        assert_eq!(drained(&mut log), (1, 0));
        // Frames of 256 octets fill the ring to the last.
        let query = vec![0; 256 - beside];
        let room = RING as u64 / 256;
        (0..room).for_each(|_| tell(&mut tap, &query, b""));
        assert_eq!(log.drains[0].ring.slots(), RING);
        for _ in 0..3 {
            tell(&mut tap, &query, b"");
        }
        assert_eq!(drained(&mut log), (room, 3));
        // Less than one frame of room is none; the next message may be a shorter one.
        (1..room).for_each(|_| tell(&mut tap, &query, b""));
        tell(&mut tap, &[0; 1000], b"");
        tell(&mut tap, &query[1..], b"");
        assert_eq!(drained(&mut log), (room, 1));
        tell(&mut tap, &[0; 65_535], b"");
        assert_eq!(drained(&mut log), (1, 0));
    }

    #[test]
    fn a_sample_is_as_large_as_it_is_said_to_be() {
        for (share, least, most) in [(0.1, 900, 1100), (0.5, 4800, 5200), (0.01, 60, 140)] {
            let mut log = log(share, Messages::Queries);
            let mut tap = tap(&mut log);
            (0..10_000).for_each(|_| tell(&mut tap, b"query", b""));
            let (frames, _) = drained(&mut log);
            assert!((least..=most).contains(&frames), "{share}: {frames}");
        }
    }

    #[test]
    fn query_and_answer_are_of_one_sample() {
        let mut log = log(0.5, Messages::Both);
        let mut tap = tap(&mut log);
        for _ in 0..1000 {
            tell(&mut tap, b"query", b"answer");
            assert!([0, 2].contains(&drained(&mut log).0));
        }
    }
}
