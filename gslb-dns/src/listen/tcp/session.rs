//! One connection: receive, answer, send, in turn.
//!
//! Nothing is received while answers wait to be sent, so a client that does not read is not read from
//! either. A connection holds at most 68 KiB received and 80 KiB pending, and no buffer at all while
//! it waits for a query.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::sync::watch;
use tokio::time::{Instant, timeout, timeout_at};

use super::frames::{Batch, Then};
use crate::listen::connections::Seat;
use crate::listen::desk::Desk;
use crate::listen::stopped;
use crate::listen::table::Eviction;

/// Octets asked of the kernel at a time: some seventy queries. A larger message takes more turns, and
/// room only as it comes, so that announcing one costs us nothing.
const RECEIVE: usize = 4 << 10;
/// How long we still listen after the word to stop: what the kernel has already taken from the client
/// reaches us well within.
const LAST_WORD: Duration = Duration::from_millis(100);
/// How long saying that we close may take: it waits only where answers do already.
const FAREWELL: Duration = Duration::from_millis(100);

thread_local! {
    /// Where octets arrive, so that a connection need not hold room for them while it waits.
    static ROOM: RefCell<[u8; RECEIVE]> = const { RefCell::new([0; RECEIVE]) };
}

/// A conversation over a stream, whatever carries it.
pub struct Session<S> {
    stream: S,
    address: IpAddr,
    desk: Arc<Desk>,
    seat: Seat,
    stop: watch::Receiver<bool>,
}

/// Why a session ends.
enum Ending {
    /// The client closed, broke the rules or vanished; or we stop.
    Over,
    Evicted(Eviction),
}

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    pub fn new(
        stream: S,
        address: IpAddr,
        desk: Arc<Desk>,
        seat: Seat,
        stop: watch::Receiver<bool>,
    ) -> Session<S> {
        Session { stream, address, desk, seat, stop }
    }

    pub async fn run(mut self) {
        match self.converse().await {
            Ending::Over => {}
            Ending::Evicted(eviction) => self.seat.count(eviction),
        }
        // A client that is told that this was all does not take it for cut short. One that has gone, or
        // takes nothing, need not hear it.
        let _ = timeout(FAREWELL, self.stream.shutdown()).await;
    }

    async fn converse(&mut self) -> Ending {
        let mut received = Vec::new();
        let mut quiet_since = Instant::now();
        loop {
            let batch = self.desk.answer(&received, self.address);
            received.drain(..batch.taken);
            received.shrink_to_fit();
            if batch.taken > 0 {
                self.seat.asked(Instant::now().into_std());
                if let Err(ending) = self.send(&batch.answers).await {
                    return ending;
                }
                // A session is idle only when nothing is left to answer (RFC 7766 §3).
                quiet_since = Instant::now();
            }
            match batch.then {
                Then::Again => {}
                Then::HangUp => return Ending::Over,
                Then::Receive => {
                    if let Err(ending) = self.receive(&mut received, quiet_since).await {
                        return ending;
                    }
                }
            }
        }
    }

    /// Waits for more of the client's octets. The whole of a query must come in time, however its
    /// octets are spread.
    async fn receive(
        &mut self,
        received: &mut Vec<u8>,
        quiet_since: Instant,
    ) -> Result<(), Ending> {
        let late = match received.is_empty() {
            true => Eviction::Idle,
            false => Eviction::Slow,
        };
        let read = tokio::select! {
            biased; // What has come is answered, even if the word to stop has come too.
            read = timeout_at(quiet_since + self.seat.idle(), read(&mut self.stream, received)) => {
                read.map_err(|_| Ending::Evicted(late))?
            }
            () = stopped(&mut self.stop) => {
                let last = timeout(LAST_WORD, read(&mut self.stream, received));
                last.await.map_err(|_| Ending::Over)?
            }
        };
        match read {
            Ok(0) | Err(_) => Err(Ending::Over),
            Ok(_) => Ok(()),
        }
    }

    /// The client has as long to take its answers as it has to ask.
    async fn send(&mut self, answers: &[u8]) -> Result<(), Ending> {
        let sent = async {
            self.stream.write_all(answers).await?;
            // What encrypts also holds back.
            self.stream.flush().await
        };
        match timeout(self.seat.idle(), sent).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(Ending::Over),
            Err(_) => Err(Ending::Evicted(Eviction::Slow)),
        }
    }
}

/// Takes room only when there is something to put there.
async fn read<S: AsyncRead + Unpin>(stream: &mut S, received: &mut Vec<u8>) -> io::Result<usize> {
    poll_fn(|context| {
        ROOM.with_borrow_mut(|room| {
            let mut room = ReadBuf::new(room);
            let Poll::Ready(read) = Pin::new(&mut *stream).poll_read(context, &mut room) else {
                return Poll::Pending;
            };
            let octets = room.filled();
            received.reserve_exact(octets.len());
            received.extend_from_slice(octets);
            Poll::Ready(read.map(|()| octets.len()))
        })
    })
    .await
}

impl Desk {
    fn answer(&self, received: &[u8], address: IpAddr) -> Batch {
        self.answering(address, |answer| {
            Batch::of(received, |message, room| answer(message, room).map(|said| said.length))
        })
    }
}
