//! Octets both ways between two TCP connections, until both have said their last or one of them fails.
//!
//! client ─▶ pump ─▶ server, and back the same way. Who has said its last is still told what the other says: half-closed
//! connections stay (RFC 9293 §3.6). A connection where nothing moves holds no buffer and no pipe.

mod carry;
mod pump;

use std::cell::Cell;
use std::io;
use std::time::Duration;

use common::clock;
use tokio::net::TcpStream;
use tokio::time::sleep;

pub use self::carry::Carry;
pub use self::pump::Broken;
use self::pump::pump;

/// How long nothing may move.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// In either direction, while both speak.
    pub idle: Duration,
    /// Once one of them has said its last (HAProxy's `timeout client-fin` and `server-fin`).
    pub half_closed: Duration,
}

/// What has moved so far: true also of a relay that was given up.
#[derive(Debug, Default)]
pub struct Flow {
    /// Octets from the client to the server, and from the server to the client.
    up: Cell<u64>,
    down: Cell<u64>,
    /// When anything moved last, on the monotonic clock.
    moved_at: Cell<Duration>,
    is_half_closed: Cell<bool>,
}

/// How it ended.
#[derive(Debug)]
pub enum End {
    /// Both have said their last, and have been told all.
    Closed,
    /// This side went away before that.
    Broken(Side, io::Error),
    /// Nothing moved for too long.
    Idle,
    /// The same after this side had said its last: the other never did.
    HalfClosed(Side),
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Side {
    Client,
    Server,
}

impl Flow {
    pub fn new() -> Flow {
        Flow { moved_at: Cell::new(clock::monotonic()), ..Flow::default() }
    }

    /// So many octets have gone from this side to the other.
    pub fn moved(&self, from: Side, octets: usize) {
        let moved = match from {
            Side::Client => &self.up,
            Side::Server => &self.down,
        };
        moved.set(moved.get() + octets as u64);
        self.moved_at.set(clock::monotonic());
    }

    /// Octets from the client to the server.
    pub fn up(&self) -> u64 {
        self.up.get()
    }

    /// Octets from the server to the client.
    pub fn down(&self) -> u64 {
        self.down.get()
    }
}

/// Carries until one of the ends that `End` tells. Both connections are then the caller's to close: who was the first to
/// say its last hears the other's by that. Given up earlier, by dropping the future, it has carried what `flow` says.
pub async fn relay(
    client: &mut TcpStream,
    server: &mut TcpStream,
    carry: &Carry,
    patience: Patience,
    flow: &Flow,
) -> End {
    let (mut from_client, mut to_client) = client.split();
    let (mut from_server, mut to_server) = server.split();
    let (said_up, said_down) =
        (|octets| flow.moved(Side::Client, octets), |octets| flow.moved(Side::Server, octets));
    let is_over = || flow.is_half_closed.get();
    let up = pump(&mut from_client, &mut to_server, carry, said_up, is_over);
    let down = pump(&mut from_server, &mut to_client, carry, said_down, is_over);
    both(up, down, patience, flow).await
}

/// Both directions until one of the ends that `End` tells. Each is done when its side has said its last and the other was
/// told, and notes in `flow` what moves.
pub async fn both(
    up: impl Future<Output = Result<(), Broken>>,
    down: impl Future<Output = Result<(), Broken>>,
    patience: Patience,
    flow: &Flow,
) -> End {
    let last_word = Cell::new(None);
    let up = async { note(up.await, Side::Client, Side::Server, &last_word, flow) };
    let down = async { note(down.await, Side::Server, Side::Client, &last_word, flow) };
    let both = async { tokio::try_join!(up, down) };
    tokio::select! {
        ended = both => match ended {
            Ok(((), ())) => End::Closed,
            Err((side, error)) => End::Broken(side, error),
        },
        () = nothing_moves(patience, flow) => match last_word.get() {
            None => End::Idle,
            Some(side) => End::HalfClosed(side),
        },
    }
}

/// What became of one direction, and whose fault it was.
fn note(
    outcome: Result<(), Broken>,
    from: Side,
    to: Side,
    last_word: &Cell<Option<Side>>,
    flow: &Flow,
) -> Result<(), (Side, io::Error)> {
    match outcome {
        Ok(()) => {
            last_word.set(Some(from));
            flow.is_half_closed.set(true);
            flow.moved_at.set(clock::monotonic());
            Ok(())
        }
        Err(Broken::Reading(error)) => Err((from, error)),
        Err(Broken::Writing(error)) => Err((to, error)),
    }
}

/// Ends when nothing has moved for as long as that may be. Looks only when that could be so: no timer is set anew for
/// what moves.
async fn nothing_moves(patience: Patience, flow: &Flow) {
    let Patience { idle, half_closed } = patience;
    loop {
        let allowed = if flow.is_half_closed.get() { half_closed } else { idle };
        let still = clock::monotonic().saturating_sub(flow.moved_at.get());
        if still >= allowed {
            return;
        }
        // The allowance may become the shorter one while we wait.
        sleep((allowed - still).min(half_closed)).await;
    }
}

#[cfg(test)]
mod tests;
