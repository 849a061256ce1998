//! One stream: a request and its response, to the relay as HTTP/1.1 says them.
//!
//! A body that comes without a length is chunked on the way in, so that it passes as one of HTTP/1 does. Its window opens
//! again when what came before has been taken, and what goes out waits for the client's window: no body is kept.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::num::NonZeroUsize;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use http::Response;

use crate::access_log::Protocol;
use crate::head::{Body, ChunkSize, Limits, Persistence, Refusal, ResponseHead, Trailers, Version};
use crate::relay::http::carrier::Carrier;
use crate::stream::{Buffer, Late, Stream, Timer};

/// What has come of a body is gathered up to so much before the request goes on: a body that is whole by then can be sent
/// again.
const GATHERED: usize = 16 << 10;

pub struct Exchange {
    said: RefCell<Said>,
    coming: RefCell<Coming>,
}

/// What the client has been told.
enum Said {
    Nothing(SendResponse<Bytes>),
    Begun(SendStream<Bytes>),
    All,
}

/// The request's body.
struct Coming {
    stream: RecvStream,
    /// Octets that are still to come; chunked if that is not known.
    left: Option<u64>,
    part: Part,
    /// Octets of the windows that were given to whoever reads, and are not open again.
    taken: usize,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Part {
    Data,
    Trailers,
    End,
}

impl Exchange {
    /// `body` is how the request's head frames it.
    pub fn new(respond: SendResponse<Bytes>, stream: RecvStream, body: Body) -> Exchange {
        let (left, part) = match body {
            Body::Chunked => (None, Part::Data),
            Body::Length(length @ 1..) => (Some(length), Part::Data),
            Body::None | Body::Length(0) | Body::UntilClose => (Some(0), Part::End),
        };
        let coming = Coming { stream, left, part, taken: 0 };
        Exchange { said: RefCell::new(Said::Nothing(respond)), coming: RefCell::new(coming) }
    }

    /// Once the client has reset the stream, or has gone.
    pub async fn gone(&self) {
        poll_fn(|context| match &mut *self.said.borrow_mut() {
            Said::Nothing(respond) => respond.poll_reset(context).map(drop),
            Said::Begun(stream) => stream.poll_reset(context).map(drop),
            Said::All => Poll::Pending,
        })
        .await;
    }

    /// Whether there is no more of the request to come.
    pub fn has_come(&self) -> bool {
        self.coming.borrow().part == Part::End
    }

    /// Ends it for the client, if it is not at its end.
    pub fn reset(&self, reason: Reason) {
        match &mut *self.said.borrow_mut() {
            Said::Nothing(respond) => respond.send_reset(reason),
            Said::Begun(stream) => stream.send_reset(reason),
            Said::All => {}
        }
    }

    /// How many of these octets may be said now: one or more.
    fn poll_room(&self, context: &mut Context<'_>, wanted: usize) -> Poll<io::Result<usize>> {
        let mut said = self.said.borrow_mut();
        let Said::Begun(stream) = &mut *said else { return Poll::Ready(Err(gone())) };
        stream.reserve_capacity(wanted);
        if stream.capacity() == 0 {
            match ready!(stream.poll_capacity(context)) {
                Some(Ok(_)) => {}
                Some(Err(error)) => return Poll::Ready(Err(io::Error::other(error))),
                None => return Poll::Ready(Err(gone())),
            }
        }
        Poll::Ready(Ok(stream.capacity().min(wanted)))
    }

    fn say(&self, octets: &[u8]) -> io::Result<()> {
        let mut said = self.said.borrow_mut();
        let Said::Begun(stream) = &mut *said else { return Err(gone()) };
        stream.send_data(Bytes::copy_from_slice(octets), false).map_err(io::Error::other)
    }

    /// Says that this was all. After a head that was all, it has been said.
    fn close(&self, trailers: &Trailers) -> io::Result<()> {
        let mut said = self.said.borrow_mut();
        let Said::Begun(stream) = &mut *said else { return Ok(()) };
        let closed = if trailers.fields().is_empty() {
            stream.send_data(Bytes::new(), true)
        } else {
            stream.send_trailers(trailers.to_map().map_err(unsayable)?)
        };
        closed.map_err(io::Error::other)?;
        *said = Said::All;
        Ok(())
    }
}

impl Coming {
    fn poll(&mut self, context: &mut Context<'_>, buffer: &mut Buffer) -> Poll<io::Result<usize>> {
        // What was given before has gone on.
        self.release()?;
        let before = buffer.len();
        while buffer.len() == before {
            match self.part {
                Part::Data => match ready!(self.stream.poll_data(context)).transpose() {
                    Ok(Some(octets)) => self.data(&octets, buffer),
                    Ok(None) => self.part = Part::Trailers,
                    Err(error) => return Poll::Ready(Err(io::Error::other(error))),
                },
                Part::Trailers => {
                    let trailers = ready!(self.stream.poll_trailers(context));
                    if self.left.is_none() {
                        let map = trailers.map_err(io::Error::other)?.unwrap_or_default();
                        let mut end = b"0\r\n".to_vec();
                        Trailers::from_map(&map).map_err(unsayable)?.write(&mut end);
                        buffer.put(&end);
                    }
                    self.part = Part::End;
                }
                Part::End => break,
            }
        }
        if self.part == Part::End {
            self.release()?;
        }
        Poll::Ready(Ok(buffer.len() - before))
    }

    /// Opens the windows again. Of a body that has come whole nobody comes to take more, and other streams need the room.
    fn release(&mut self) -> io::Result<()> {
        match std::mem::take(&mut self.taken) {
            0 => Ok(()),
            taken => self.stream.flow_control().release_capacity(taken).map_err(io::Error::other),
        }
    }

    fn data(&mut self, octets: &[u8], buffer: &mut Buffer) {
        let Some(length) = NonZeroUsize::new(octets.len()) else { return };
        self.taken += octets.len();
        let Some(left) = &mut self.left else {
            buffer.put(ChunkSize::of(length).octets());
            buffer.put(octets);
            buffer.put(b"\r\n");
            return;
        };
        buffer.put(octets);
        // HTTP/2 itself sees to it that there are no more.
        *left = left.saturating_sub(octets.len() as u64);
        if *left == 0 {
            self.part = Part::End;
        }
    }
}

fn gone() -> io::Error {
    io::ErrorKind::BrokenPipe.into()
}

fn unsayable(refusal: Refusal) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, refusal)
}

impl Carrier for &Exchange {
    /// A stream that is reset says nothing of whether a server has acted on its request.
    const CLOSING_ASKS_AGAIN: bool = false;

    fn protocol(&self, _: Version) -> Protocol {
        Protocol::Http2
    }

    fn stream(&mut self) -> Option<&mut RefCell<Stream>> {
        None
    }

    fn gather(&self, buffer: &mut Buffer) -> usize {
        let mut context = Context::from_waker(Waker::noop());
        let (mut coming, mut taken, mut count) = (self.coming.borrow_mut(), 0, 0);
        while buffer.len() < GATHERED {
            // What is wrong is found again where it can be told.
            let Poll::Ready(Ok(more @ 1..)) = coming.poll(&mut context, buffer) else { break };
            count += more;
            // None of it has gone on.
            taken += std::mem::take(&mut coming.taken);
        }
        coming.taken += taken;
        if coming.part == Part::End {
            // Of a stream that is at its end nothing can be wrong with that.
            let _ = coming.release();
        }
        count
    }

    async fn read(&self, buffer: &mut Buffer) -> io::Result<usize> {
        poll_fn(|context| self.coming.borrow_mut().poll(context, buffer)).await
    }

    /// The stream's end is the body's.
    fn framing(&self, body: Body, _: Version) -> Body {
        match body {
            Body::Chunked | Body::UntilClose => Body::UntilClose,
            Body::None | Body::Length(_) => body,
        }
    }

    fn begin(
        &self,
        head: &ResponseHead,
        body: Body,
        version: Version,
        persistence: Persistence,
        out: &mut Vec<u8>,
    ) -> io::Result<usize> {
        let mut said = self.said.borrow_mut();
        let Said::Nothing(respond) = &mut *said else { return Err(gone()) };
        let response = Response::from_parts(head.to_parts().map_err(unsayable)?, ());
        // It counts as HTTP/1.1 would write it: what is left of it by HPACK is the connection's.
        head.write(version, persistence, out);
        let count = out.len();
        out.clear();
        if head.is_interim() {
            respond.send_informational(response).map_err(io::Error::other)?;
            return Ok(count);
        }
        let is_all = matches!(body, Body::None | Body::Length(0));
        let stream = respond.send_response(response, is_all).map_err(io::Error::other)?;
        *said = if is_all { Said::All } else { Said::Begun(stream) };
        Ok(count)
    }

    async fn write(
        &self,
        mut octets: &[u8],
        time: Duration,
        timer: &mut Timer,
    ) -> Result<io::Result<()>, Late> {
        while !octets.is_empty() {
            let room = poll_fn(|context| self.poll_room(context, octets.len()));
            let said = timer.within(time, room).await?.and_then(|count| {
                let (now, rest) = octets.split_at(count);
                octets = rest;
                self.say(now)
            });
            if said.is_err() {
                return Ok(said);
            }
        }
        Ok(Ok(()))
    }

    async fn end(
        &self,
        octets: &[u8],
        trailers: &Trailers,
        time: Duration,
        timer: &mut Timer,
    ) -> Result<io::Result<()>, Late> {
        let written = self.write(octets, time, timer).await?;
        Ok(written.and_then(|()| self.close(trailers)))
    }

    async fn answer(
        &self,
        octets: &[u8],
        head: &mut ResponseHead,
        time: Duration,
        timer: &mut Timer,
    ) -> Result<io::Result<()>, Late> {
        head.clear();
        let length = match head.read(octets, &Limits::OURS) {
            Ok(length) => length.unwrap_or(octets.len()),
            Err(refusal) => return Ok(Err(unsayable(refusal))),
        };
        let content = &octets[length..];
        let body = if content.is_empty() { Body::None } else { Body::UntilClose };
        let (version, persistence) = (Version::Http11, Persistence::KeepAlive);
        let begun = self.begin(head, body, version, persistence, &mut vec![]);
        if begun.is_err() {
            return Ok(begun.map(drop));
        }
        self.end(content, &Trailers::NONE, time, timer).await
    }
}
