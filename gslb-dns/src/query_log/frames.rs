//! The taps' side of dnstap: messages as frames, into a ring.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use rtrb::{Consumer, Producer, RingBuffer};

use super::Heard;
use super::writer::Writer;
use crate::answer::Transport;
use crate::dnstap::{Encoder, Kind, MAX_FRAME, Meeting};
use crate::metrics::QueryLogMetrics;
use crate::world::{Dnstap, Messages};

/// Octets of each ring: some 5000 messages of ordinary size. A thread at its fastest fills it in some 10 ms,
/// twice as long as the writer ever lies idle.
pub const RING: usize = 1 << 20;

const _: () = assert!(RING >= MAX_FRAME, "the largest message fits an empty ring");

/// All of dnstap before it begins.
pub struct FrameLog {
    config: Dnstap,
    identity: Box<str>,
    metrics: QueryLogMetrics,
    drains: Vec<Drain>,
}

/// The writer's end of a ring.
pub struct Drain {
    pub ring: Consumer<u8>,
    pub dropped: Arc<AtomicU64>,
}

/// Where messages go in.
pub struct Frames {
    transport: Transport,
    /// Where we listen.
    server: SocketAddr,
    messages: Messages,
    encoder: Encoder,
    /// Room for one frame.
    frame: Vec<u8>,
    ring: Producer<u8>,
    /// What found the ring full, until the writer has counted it. Shared with nobody but the writer.
    dropped: Arc<AtomicU64>,
}

impl FrameLog {
    pub fn new(config: Dnstap, node_name: &str, metrics: QueryLogMetrics) -> FrameLog {
        FrameLog { config, identity: node_name.into(), metrics, drains: vec![] }
    }

    pub fn tap(&mut self, transport: Transport, server: SocketAddr) -> Frames {
        let (producer, consumer) = RingBuffer::new(RING);
        let dropped = Arc::new(AtomicU64::new(0));
        self.drains.push(Drain { ring: consumer, dropped: Arc::clone(&dropped) });
        Frames {
            transport,
            server,
            messages: self.config.messages,
            encoder: Encoder::new(&self.identity),
            frame: Vec::with_capacity(MAX_FRAME),
            ring: producer,
            dropped,
        }
    }

    pub fn writer(self, stop: Arc<AtomicBool>) -> Writer {
        let FrameLog { config, identity: _, metrics, drains } = self;
        Writer::new(config.socket, metrics, drains, stop)
    }
}

impl Frames {
    pub fn tell(&mut self, heard: &Heard<'_>) {
        let &Heard { client, client_port, at, query, octets, .. } = heard;
        let (transport, server) = (self.transport, self.server);
        let meeting = Meeting { transport, client, client_port, server, at };
        if self.messages != Messages::Responses {
            self.push(Kind::AuthQuery, &meeting, query);
        }
        if self.messages != Messages::Queries && !octets.is_empty() {
            self.push(Kind::AuthResponse, &meeting, octets);
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

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::time::Duration;

    use super::super::tests::heard;
    use super::*;
    use crate::dnstap::stream::whole_frames;
    use crate::metrics::Metrics;

    fn log(messages: Messages) -> FrameLog {
        let config = Dnstap { socket: PathBuf::from("none"), messages };
        FrameLog::new(config, "test", Metrics::new(vec![]).query_log)
    }

    fn tap(log: &mut FrameLog) -> Frames {
        log.tap(Transport::Udp, "127.0.0.1:53".parse().unwrap())
    }

    fn tell(tap: &mut Frames, query: &[u8], octets: &[u8]) {
        let told = heard(Duration::from_secs(1), query, octets);
        told(&mut |heard| tap.tell(heard));
    }

    /// Frames in the only ring, which is empty afterwards, and how many found no room.
    fn drained(log: &mut FrameLog) -> (u64, u64) {
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
            let mut log = log(messages);
            let mut tap = tap(&mut log);
            tell(&mut tap, b"query", b"answer");
            assert_eq!(drained(&mut log), (answered, 0), "{messages:?}");
            tell(&mut tap, b"query", b"");
            assert_eq!(drained(&mut log), (unanswered, 0), "{messages:?}");
        }
    }

    #[test]
    fn a_full_ring_drops_and_counts_and_takes_again_when_there_is_room() {
        let mut log = log(Messages::Queries);
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
}
