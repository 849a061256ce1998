//! Whatever it is, both ways: what TCP carries, and what HTTP has become after 101.

use std::cell::RefCell;
use std::io;

use super::end_of;
use crate::access_log::{Cause, End, Phase};
use crate::splice::{Broken, Carry, Flow, Patience, Side, both, relay};
use crate::stream::{self, Buffer, Late, Stream, Timer};

/// Carries both ways until both have said their last, or as `patience` has it: first what has come early, from the
/// client and from the server.
pub async fn tunnel(
    (client, server): (&mut RefCell<Stream>, &mut RefCell<Stream>),
    (from_client, from_server): (&mut Buffer, &mut Buffer),
    patience: Patience,
    carry: &Carry,
    flow: &Flow,
) -> End {
    for (from, to, octets) in
        [(Side::Client, &*server, &mut *from_client), (Side::Server, &*client, &mut *from_server)]
    {
        if let Err(end) = say(from, to, octets, patience, flow).await {
            return end;
        }
    }
    let end = match (client.get_mut(), server.get_mut()) {
        (Stream::Plain(client), Stream::Plain(server)) => {
            // The kernel carries it: who is silent holds no room.
            (*from_client, *from_server) = (Buffer::default(), Buffer::default());
            relay(client, server, carry, patience, flow).await
        }
        (Stream::Plain(_) | Stream::Tls(_), Stream::Plain(_) | Stream::Tls(_)) => {
            let up = copy(client, server, from_client, |octets| flow.moved(Side::Client, octets));
            let down = copy(server, client, from_server, |octets| flow.moved(Side::Server, octets));
            both(up, down, patience, flow).await
        }
    };
    end_of(&end)
}

/// Tells the other side what has come early from this one.
pub async fn say(
    from: Side,
    to: &RefCell<Stream>,
    octets: &mut Buffer,
    patience: Patience,
    flow: &Flow,
) -> Result<(), End> {
    let written = stream::write(to, octets.octets(), patience.idle, &mut Timer::default()).await;
    match written {
        Ok(Ok(())) => flow.moved(from, octets.len()),
        Ok(Err(_)) => return Err(End::Cut(gone(from), Phase::Data)),
        Err(Late) => return Err(End::Cut(Cause::ClientTimeout, Phase::Data)),
    }
    octets.clear();
    Ok(())
}

/// Who has gone, if nothing from this side can be told any more.
fn gone(from: Side) -> Cause {
    match from {
        Side::Client => Cause::ServerAbort,
        Side::Server => Cause::ClientAbort,
    }
}

/// One direction, where TLS has to see every octet.
async fn copy(
    from: &RefCell<Stream>,
    to: &RefCell<Stream>,
    buffer: &mut Buffer,
    note: impl Fn(usize),
) -> Result<(), Broken> {
    while stream::read(from, buffer).await.map_err(Broken::Reading)? > 0 {
        while !buffer.is_empty() {
            let written = stream::write_some(to, buffer.octets()).await;
            let count = written.map_err(Broken::Writing)?;
            buffer.take(count);
            note(count);
        }
        stream::flush(to).await.map_err(Broken::Writing)?;
    }
    match stream::shutdown(to).await {
        // It is gone, and has been told everything: nothing is lost.
        Err(error) if error.kind() != io::ErrorKind::NotConnected => Err(Broken::Writing(error)),
        Ok(()) | Err(_) => Ok(()),
    }
}
