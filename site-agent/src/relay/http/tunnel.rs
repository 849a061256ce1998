//! After 101: whatever it is now, both ways until one has said its last.

use std::cell::RefCell;
use std::time::Duration;

use crate::access_log::{Cause, End, Phase};
use crate::relay::end_of;
use crate::splice::{Broken, Carry, Flow, Patience, Side, both, relay};
use crate::stream::{self, Buffer, Stream, Timer};

/// What has passed, and how it ended.
pub struct Passed {
    pub down: u64,
    pub end: End,
}

/// Carries both ways: first what has come early.
pub async fn tunnel(
    client: &mut RefCell<Stream>,
    server: &mut RefCell<Stream>,
    early: (&mut Buffer, &mut Buffer),
    idle: Duration,
    half_closed: Duration,
    carry: &Carry,
) -> Passed {
    let (from_client, from_server) = early;
    let mut timer = Timer::default();
    let first = from_server.len() as u64;
    for (to, octets) in [(&*server, &*from_client), (&*client, &*from_server)] {
        let written = timer.within(idle, stream::write(to, octets.octets())).await;
        if !matches!(written, Ok(Ok(()))) {
            return Passed { down: 0, end: End::Cut(Cause::ClientAbort, Phase::Data) };
        }
    }
    from_client.clear();
    from_server.clear();
    let (patience, flow) = (Patience { idle, half_closed }, Flow::new());
    let end = match (client.get_mut(), server.get_mut()) {
        (Stream::Plain(client), Stream::Plain(server)) => {
            relay(client, server, carry, patience, &flow).await
        }
        (Stream::Plain(_) | Stream::Tls(_), Stream::Plain(_) | Stream::Tls(_)) => {
            let up = copy(client, server, from_client, |octets| flow.moved(Side::Client, octets));
            let down = copy(server, client, from_server, |octets| flow.moved(Side::Server, octets));
            both(up, down, patience, &flow).await
        }
    };
    Passed { down: first + flow.down(), end: end_of(&end) }
}

/// One direction, where TLS has to see every octet.
async fn copy(
    from: &RefCell<Stream>,
    to: &RefCell<Stream>,
    buffer: &mut Buffer,
    note: impl Fn(usize),
) -> Result<(), Broken> {
    while stream::read(from, buffer).await.map_err(Broken::Reading)? > 0 {
        stream::write(to, buffer.octets()).await.map_err(Broken::Writing)?;
        note(buffer.len());
        buffer.clear();
    }
    stream::shutdown(to).await.map_err(Broken::Writing)
}
