//! One connection: every stream a query and its answer, until it is quiet for too long.
//!
//! Streams have a task each, and so hold up none but themselves. What a connection holds is bounded: queries
//! by their length and the streams that it may have, answers by `SENDING` and what may be unacknowledged.

use std::net::IpAddr;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use quinn::{Connection, ConnectionError, ReadError, RecvStream, SendStream, VarInt, WriteError};
use tokio::sync::{Semaphore, watch};
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, sleep, sleep_until, timeout, timeout_at};

use super::message::{Breach, Heard, PREFIX, heard};
use crate::listen::connections::Seat;
use crate::listen::desk::Desk;
use crate::listen::stopped;
use crate::listen::table::Eviction;

/// Answers of one connection that may wait at a time for their client to take them.
const SENDING: usize = 8;
/// Queries that a client may take back, beyond those it lets us answer.
const TAKEN_BACK: usize = 100;
/// How long the end of a stream may come after its query, which is then answered without (RFC 9250 §4.2):
/// clients send both in one packet, and a lost one comes again within.
const END_WITHIN: Duration = Duration::from_millis(200);
/// Octets of a query taken from quinn at a time: most have less.
const TAKE: usize = 1 << 10;
/// How long we still take streams after the word to stop: what the kernel has already reaches us well within.
const LAST_WORD: Duration = Duration::from_millis(100);
/// How long clients have then to take their answers: one lost packet, and it comes again within.
const FAREWELL: Duration = Duration::from_millis(500);

/// RFC 9250 §4.3.
const NO_ERROR: VarInt = VarInt::from_u32(0);
const INTERNAL_ERROR: VarInt = VarInt::from_u32(1);
const PROTOCOL_ERROR: VarInt = VarInt::from_u32(2);
const REQUEST_CANCELLED: VarInt = VarInt::from_u32(3);
const EXCESSIVE_LOAD: VarInt = VarInt::from_u32(4);

/// One connection, as its streams see it.
pub struct Conversation {
    connection: Connection,
    address: IpAddr,
    desk: Arc<Desk>,
    seat: Seat,
    sending: Semaphore,
}

/// Why a conversation ends.
#[derive(Clone, Copy)]
enum Ending {
    /// The client closed it or vanished.
    Gone,
    Stopped,
    Evicted(Eviction),
    /// The same, counted by whoever decided it.
    MadeRoom,
    Breach(Breach),
}

/// How a stream ended.
enum Outcome {
    Answered,
    /// The client no longer wants the answer.
    TakenBack,
    /// We could not answer, and said so.
    Failed,
    /// The client neither went on nor took its answer.
    Slow,
    Breach(Breach),
    /// The connection is gone; whoever waits for streams hears of it.
    Lost,
}

impl Conversation {
    pub fn new(connection: Connection, address: IpAddr, desk: Arc<Desk>, seat: Seat) -> Self {
        Conversation { connection, address, desk, seat, sending: Semaphore::new(SENDING) }
    }

    /// Answers until the client has had enough, or `leave` says that it must make room.
    pub async fn hold(self, leave: impl Future<Output = ()>, stop: watch::Receiver<bool>) {
        let conversation = Arc::new(self);
        let mut streams = JoinSet::new();
        let ending = tokio::select! {
            ending = conversation.converse(&mut streams, stop) => ending,
            () = leave => Ending::MadeRoom,
        };
        conversation.close(ending);
    }

    async fn converse(
        self: &Arc<Self>,
        streams: &mut JoinSet<Outcome>,
        mut stop: watch::Receiver<bool>,
    ) -> Ending {
        let (mut quiet_since, mut taken_back) = (Instant::now(), 0_usize);
        loop {
            tokio::select! {
                stream = self.connection.accept_bi() => match stream {
                    Ok((send, receive)) => {
                        streams.spawn(Arc::clone(self).exchange(send, receive));
                    }
                    Err(error) => return Ending::of(&error),
                },
                stream = self.connection.accept_uni() => return match stream {
                    Ok(_) => Ending::Breach(Breach::Unidirectional),
                    Err(error) => Ending::of(&error),
                },
                Some(ended) = streams.join_next() => match self.outcome(ended) {
                    Outcome::Answered => {
                        quiet_since = Instant::now();
                        taken_back = taken_back.saturating_sub(1);
                    }
                    Outcome::TakenBack if taken_back >= TAKEN_BACK => {
                        return Ending::Breach(Breach::TakenBack);
                    }
                    Outcome::TakenBack => taken_back += 1,
                    Outcome::Failed | Outcome::Lost => {}
                    Outcome::Slow => return Ending::Evicted(Eviction::Slow),
                    Outcome::Breach(breach) => return Ending::Breach(breach),
                },
                // It is idle only when nothing is left to answer; what is not answered does not keep it.
                () = sleep_until(quiet_since + self.seat.idle()), if streams.is_empty() => {
                    return Ending::Evicted(Eviction::Idle);
                }
                () = stopped(&mut stop) => {
                    self.finish(streams).await;
                    return Ending::Stopped;
                }
            }
        }
    }

    /// Answers what had been asked before the word to stop.
    async fn finish(self: &Arc<Self>, streams: &mut JoinSet<Outcome>) {
        let mut heard_out = std::pin::pin!(sleep(LAST_WORD));
        loop {
            tokio::select! {
                stream = self.connection.accept_bi() => match stream {
                    Ok((send, receive)) => {
                        streams.spawn(Arc::clone(self).exchange(send, receive));
                    }
                    Err(_) => return,
                },
                () = heard_out.as_mut() => break,
            }
        }
        let taken = async {
            while let Some(ended) = streams.join_next().await {
                self.outcome(ended);
            }
        };
        let _ = timeout(FAREWELL, taken).await;
    }

    fn outcome(&self, ended: Result<Outcome, JoinError>) -> Outcome {
        ended.unwrap_or_else(|_| {
            self.desk.tally.count_panic();
            Outcome::Failed
        })
    }

    fn close(&self, ending: Ending) {
        match ending {
            Ending::Evicted(eviction) => self.seat.count(eviction),
            Ending::Breach(breach) => self.seat.count_breach(breach.as_str()),
            Ending::Gone | Ending::Stopped | Ending::MadeRoom => {}
        }
        self.connection.close(ending.code(), b"");
    }

    async fn exchange(self: Arc<Self>, mut send: SendStream, mut receive: RecvStream) -> Outcome {
        let query = match self.query(&mut receive).await {
            Ok(query) => query,
            Err(outcome) => {
                // What the client sees of a connection that ends is how that ends; here only the stream does.
                let _ = send.reset(REQUEST_CANCELLED);
                return outcome;
            }
        };
        self.seat.asked(Instant::now().into_std());
        match timeout(self.seat.idle(), self.answer(&query, &mut send)).await {
            Ok(outcome) => outcome,
            Err(_) => Outcome::Slow,
        }
    }

    /// The client has as long to send its query as it may be idle.
    async fn query(&self, receive: &mut RecvStream) -> Result<Vec<u8>, Outcome> {
        let late = Instant::now() + self.seat.idle();
        let (mut octets, mut is_over) = (Vec::new(), false);
        loop {
            let heard = heard(&octets, is_over).map_err(Outcome::Breach)?;
            let until = match heard {
                Heard::Part => late,
                Heard::Whole if is_over => break,
                Heard::Whole => Instant::now() + END_WITHIN,
            };
            match timeout_at(until, receive.read_chunk(TAKE, true)).await {
                Ok(Ok(Some(chunk))) => octets.extend_from_slice(&chunk.bytes),
                Ok(Ok(None)) => is_over = true,
                Ok(Err(ReadError::Reset(_))) => return Err(Outcome::TakenBack),
                Ok(Err(_)) => return Err(Outcome::Lost),
                Err(_) => match heard {
                    Heard::Whole => break,
                    Heard::Part => return Err(Outcome::Slow),
                },
            }
        }
        octets.drain(..PREFIX);
        Ok(octets)
    }

    /// Sends the answer and waits until the client has it all, which takes no room of ours.
    async fn answer(&self, query: &[u8], send: &mut SendStream) -> Outcome {
        {
            let _turn = self.sending.acquire().await;
            // Streams share a connection, so a panic costs its stream alone.
            let answered =
                panic::catch_unwind(AssertUnwindSafe(|| self.desk.answer_one(query, self.address)));
            let message = match answered {
                Ok(Some((_, message))) => message,
                Ok(None) => return Outcome::Breach(Breach::NoQuery),
                Err(_) => {
                    self.desk.tally.count_panic();
                    let _ = send.reset(INTERNAL_ERROR);
                    return Outcome::Failed;
                }
            };
            let framed = [&(message.len() as u16).to_be_bytes(), &message[..]].concat();
            match send.write_chunk(Bytes::from(framed)).await {
                Ok(()) => {}
                Err(WriteError::Stopped(_)) => return Outcome::TakenBack,
                Err(_) => return Outcome::Lost,
            }
        }
        // An error says that the client has stopped it, and the next line which way.
        let _ = send.finish();
        match send.stopped().await {
            Ok(None) => Outcome::Answered,
            Ok(Some(_)) => Outcome::TakenBack,
            Err(_) => Outcome::Lost,
        }
    }
}

impl Ending {
    fn of(error: &ConnectionError) -> Ending {
        match error {
            ConnectionError::TimedOut => Ending::Evicted(Eviction::Idle),
            ConnectionError::VersionMismatch
            | ConnectionError::TransportError(_)
            | ConnectionError::ConnectionClosed(_)
            | ConnectionError::ApplicationClosed(_)
            | ConnectionError::Reset
            | ConnectionError::LocallyClosed
            | ConnectionError::CidsExhausted => Ending::Gone,
        }
    }

    /// What its client is told.
    fn code(self) -> VarInt {
        match self {
            Ending::Gone | Ending::Stopped | Ending::Evicted(Eviction::Idle) => NO_ERROR,
            Ending::Breach(breach) if breach.is_of_protocol() => PROTOCOL_ERROR,
            Ending::Breach(_)
            | Ending::MadeRoom
            | Ending::Evicted(
                Eviction::Slow | Eviction::Handshake | Eviction::Full | Eviction::ClientFull,
            ) => EXCESSIVE_LOAD,
        }
    }
}
