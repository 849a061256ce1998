//! Bodies on their way: up to the server as they come, and down to the client as it can read them.

use std::cell::Cell;
use std::io;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use super::carrier::Carrier;
use super::leg::Leg;
use crate::head::{
    Body, Incoming, Limits, Mismatch, Outgoing, Persistence, Piece, Refusal, ResponseHead,
    Trailers, Version,
};
use crate::retry;
use crate::stream::{Buffer, Late, Timer};
use crate::upstream::{Counts, Server};
use crate::worker::{Front, Room};

/// What is collected before it is written. More goes out from where it was read.
const COLLECTED: usize = 32 << 10;

/// The two ends of an exchange, and how long each may be silent.
pub struct Sides<'s, C, L> {
    pub client: &'s C,
    pub server: &'s L,
    pub client_time: Duration,
    pub server_time: Duration,
}

/// How the request goes to the server.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Upload {
    /// Its head is all.
    None,
    /// All of its body has come with it: so many octets of what the client has sent.
    Whole(usize),
    /// As it comes.
    Streamed,
}

/// Why the request did not go up whole.
#[derive(Debug)]
pub enum Stuck {
    ClientGone,
    ClientLate,
    Refused(Refusal),
    /// It may have answered all the same.
    Server,
}

/// Why the response did not come down whole.
#[derive(Debug)]
pub enum Cut {
    ClientGone,
    ClientLate,
    ServerGone,
    ServerLate,
    /// What came is no body.
    Junk,
}

impl Upload {
    /// Makes the request ready: its head, and its body if all of that is there.
    pub fn of(room: &mut Room, limits: &Limits) -> Upload {
        let Room { request, from_client, up, .. } = room;
        up.clear();
        request.write(crate::head::Persistence::KeepAlive, up);
        let mut incoming = Incoming::new(request.body());
        if incoming.is_end() {
            return Upload::None;
        }
        let head = up.len();
        match pass(&mut incoming, from_client.octets(), limits, up) {
            Ok(taken) if incoming.is_end() => Upload::Whole(taken),
            // What is wrong with it is found again where it can be told.
            Ok(_) | Err(_) => {
                up.truncate(head);
                Upload::Streamed
            }
        }
    }

    /// What is left to send again while nothing has gone up.
    pub fn kept(self) -> retry::Body {
        match self {
            Upload::None => retry::Body::None,
            Upload::Whole(_) | Upload::Streamed => retry::Body::Kept,
        }
    }
}

/// Adds what of these octets goes on as it came; how many are done with.
fn pass(
    incoming: &mut Incoming,
    octets: &[u8],
    limits: &Limits,
    out: &mut Vec<u8>,
) -> Result<usize, Refusal> {
    let mut taken = 0;
    while taken < octets.len() && !incoming.is_end() {
        let passed = incoming.pass(&octets[taken..], limits)?;
        out.extend_from_slice(&octets[taken..taken + passed.kept]);
        taken += passed.taken;
        if passed.is_end {
            trailers(incoming, out);
        }
    }
    Ok(taken)
}

/// Ends a chunked body.
fn trailers(incoming: &Incoming, out: &mut Vec<u8>) {
    if let Incoming::Chunked(decoder) = incoming {
        decoder.trailers().write(out);
    }
}

/// How far the response has come, while the request is still on its way.
#[derive(Clone, Copy)]
pub struct Progress<'p> {
    /// Octets that the server has sent.
    pub received: &'p Cell<u64>,
    /// Whether the client was told anything of the response, be it a part. A head that comes before it is none.
    pub has_begun: &'p Cell<bool>,
}

/// Sends a request whose body is still to come.
pub async fn up<C: Carrier, L: Leg>(
    sides: &Sides<'_, C, L>,
    front: &Front,
    head: &[u8],
    body: Body,
    buffer: &mut Buffer,
    server: &Server,
    response: Progress<'_>,
) -> Result<(), Stuck> {
    let Sides { client, server: to, client_time, server_time } = *sides;
    let (mut timer, mut incoming, mut end) = (Timer::default(), Incoming::new(body), vec![]);
    let goes_as_it_comes = to.framing(body) == body;
    let sent = |written: Result<io::Result<()>, Late>, octets: &[u8]| match written {
        Ok(Ok(())) => {
            Counts::add(&server.counts.sent, octets.len() as u64);
            Ok(())
        }
        Ok(Err(_)) | Err(Late) => Err(Stuck::Server),
    };
    sent(to.begin(head, server_time, &mut timer).await, head)?;
    loop {
        while !buffer.is_empty() && !incoming.is_end() {
            let octets = buffer.octets();
            let (kept, taken) = match goes_as_it_comes {
                true => incoming.pass(octets, &front.limits).map(|pass| (pass.kept, pass.taken)),
                false => incoming.next(octets, &front.limits).map(|piece| match piece {
                    Some(Piece::Data(count)) => (count, count),
                    Some(Piece::Framing(count) | Piece::Dropped(count) | Piece::End(count)) => {
                        (0, count)
                    }
                    None => (0, 0),
                }),
            }
            .map_err(Stuck::Refused)?;
            if kept > 0 {
                let octets = &octets[..kept];
                sent(to.write(octets, server_time, &mut timer).await, octets)?;
            }
            buffer.take(taken);
        }
        if incoming.is_end() {
            if goes_as_it_comes {
                trailers(&incoming, &mut end);
            }
            let last = trailers_of(&incoming);
            return sent(to.end(&end, last, server_time, &mut timer).await, &end);
        }
        let before = response.received.get();
        match timer.within(client_time, client.read(buffer)).await {
            Ok(Ok(0) | Err(_)) => return Err(Stuck::ClientGone),
            Ok(Ok(count)) => {
                front.traffic.received.fetch_add(count as u64, Relaxed);
            }
            // It may be silent while it is talked to: that is a conversation.
            Err(Late) if response.has_begun.get() && response.received.get() != before => {}
            Err(Late) => return Err(Stuck::ClientLate),
        }
    }
}

/// A response's body on its way to the client.
pub struct Down<'d, C, L> {
    pub sides: &'d Sides<'d, C, L>,
    pub timer: &'d mut Timer,
    pub limits: &'d Limits,
    /// Octets that the client was sent.
    pub sent: &'d mut u64,
    pub progress: Progress<'d>,
    /// Whether the request has gone up whole: a server that waits for it is not late.
    pub is_up: &'d Cell<bool>,
}

impl<C: Carrier, L: Leg> Down<'_, C, L> {
    /// Reads more of the server's. `false` at its end.
    pub async fn read(&mut self, buffer: &mut Buffer) -> Result<bool, Cut> {
        loop {
            let was_up = self.is_up.get();
            let read = self.sides.server.read(buffer);
            match self.timer.within(self.sides.server_time, read).await {
                Ok(Ok(count)) => {
                    let received = self.progress.received;
                    received.set(received.get() + count as u64);
                    return Ok(count > 0);
                }
                Ok(Err(_)) => return Err(Cut::ServerGone),
                Err(Late) if !was_up => {}
                Err(Late) => return Err(Cut::ServerLate),
            }
        }
    }

    /// Begins the response, or says a head that comes before it; `out` is to be written next, and was empty.
    pub fn begin(
        &mut self,
        head: &ResponseHead,
        body: Body,
        version: Version,
        persistence: Persistence,
        out: &mut Vec<u8>,
    ) -> Result<(), Cut> {
        if !head.is_interim() {
            self.progress.has_begun.set(true);
        }
        match self.sides.client.begin(head, body, version, persistence, out) {
            Ok(count) => {
                *self.sent += count as u64;
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::InvalidData => Err(Cut::Junk),
            Err(_) => Err(Cut::ClientGone),
        }
    }

    pub async fn write(&mut self, octets: &[u8]) -> Result<(), Cut> {
        let Sides { client, client_time, .. } = *self.sides;
        let written = client.write(octets, client_time, self.timer).await;
        self.written(written, octets)
    }

    /// Writes the last of it.
    async fn end(
        &mut self,
        octets: &[u8],
        trailers: &Trailers,
        persistence: Persistence,
    ) -> Result<(), Cut> {
        let Sides { client, client_time, .. } = *self.sides;
        let written = client.end(octets, trailers, persistence, client_time, self.timer).await;
        self.written(written, octets)
    }

    fn written(&mut self, written: Result<io::Result<()>, Late>, octets: &[u8]) -> Result<(), Cut> {
        match written {
            Ok(Ok(())) => {
                *self.sent += octets.len() as u64;
                Ok(())
            }
            Ok(Err(_)) => Err(Cut::ClientGone),
            Err(Late) => Err(Cut::ClientLate),
        }
    }

    async fn flush(&mut self, out: &mut Vec<u8>) -> Result<(), Cut> {
        self.write(out).await?;
        out.clear();
        Ok(())
    }

    /// Passes on a body that comes as `body` and goes as `toward`, behind the head that stands in `out`. What becomes of the
    /// client's connection behind it is `persistence`.
    pub async fn body(
        &mut self,
        (body, toward): (Body, Body),
        persistence: Persistence,
        buffer: &mut Buffer,
        out: &mut Vec<u8>,
    ) -> Result<(), Cut> {
        let (mut incoming, mut outgoing) = (Incoming::new(body), Outgoing::new(toward));
        loop {
            while !buffer.is_empty() && !incoming.is_end() {
                if body == toward {
                    let passed = incoming.pass(buffer.octets(), self.limits).map_err(junk)?;
                    self.put(&buffer.octets()[..passed.kept], out).await?;
                    buffer.take(passed.taken);
                } else {
                    self.reframe(&mut incoming, &mut outgoing, buffer, out).await?;
                }
            }
            if incoming.is_end() {
                if body == toward {
                    trailers(&incoming, out);
                } else {
                    outgoing.end(trailers_of(&incoming), out).map_err(mismatch)?;
                }
                return self.end(out, trailers_of(&incoming), persistence).await;
            }
            if !out.is_empty() {
                self.flush(out).await?;
            }
            if !self.read(buffer).await? && !incoming.close() {
                return Err(Cut::ServerGone);
            }
        }
    }

    /// Writes it, or has it wait for what is read with it.
    async fn put(&mut self, octets: &[u8], out: &mut Vec<u8>) -> Result<(), Cut> {
        if out.len() + octets.len() <= COLLECTED {
            out.extend_from_slice(octets);
            return Ok(());
        }
        self.flush(out).await?;
        self.write(octets).await
    }

    /// One piece, framed as the client knows it.
    async fn reframe(
        &mut self,
        incoming: &mut Incoming,
        outgoing: &mut Outgoing,
        buffer: &mut Buffer,
        out: &mut Vec<u8>,
    ) -> Result<(), Cut> {
        let Some(piece) = incoming.next(buffer.octets(), self.limits).map_err(junk)? else {
            return Ok(());
        };
        let count = match piece {
            Piece::Data(count) => {
                outgoing.data(&buffer.octets()[..count], out).map_err(mismatch)?;
                count
            }
            Piece::Framing(count) | Piece::Dropped(count) | Piece::End(count) => count,
        };
        buffer.take(count);
        if out.len() > COLLECTED {
            self.flush(out).await?;
        }
        Ok(())
    }
}

pub fn trailers_of(incoming: &Incoming) -> &Trailers {
    const NONE: &Trailers = &Trailers::NONE;
    match incoming {
        Incoming::Chunked(decoder) => decoder.trailers(),
        Incoming::End | Incoming::Length(_) | Incoming::UntilClose => NONE,
    }
}

fn junk(_: Refusal) -> Cut {
    Cut::Junk
}

fn mismatch(_: Mismatch) -> Cut {
    Cut::Junk
}
