//! The two halves of a stream, whichever side has begun it: what comes as HTTP/1.1 would frame it, and what goes as the
//! other side's window lets.
//!
//! A window opens again when what came before has been taken, and what goes out waits for the other side's: no body is
//! kept.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::num::NonZeroUsize;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use h2::{RecvStream, SendStream};

use crate::head::{Body, ChunkSize, Refusal, Trailers};
use crate::stream::{Buffer, Late, Timer};

/// A body that comes. One without a length is chunked on the way in, so that it passes as one of HTTP/1 does.
#[derive(Debug)]
pub struct Coming {
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

impl Coming {
    /// `body` is how its head frames it.
    pub fn new(stream: RecvStream, body: Body) -> Coming {
        let (left, part) = match body {
            Body::Chunked => (None, Part::Data),
            Body::Length(length @ 1..) => (Some(length), Part::Data),
            Body::None | Body::Length(0) | Body::UntilClose => (Some(0), Part::End),
        };
        Coming { stream, left, part, taken: 0 }
    }

    pub fn poll(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut Buffer,
    ) -> Poll<Result<usize, Broken>> {
        // What was given before has gone on.
        self.release()?;
        let before = buffer.len();
        while buffer.len() == before {
            match self.part {
                Part::Data => match ready!(self.stream.poll_data(context)).transpose()? {
                    Some(octets) => self.data(&octets, buffer),
                    None => self.part = Part::Trailers,
                },
                Part::Trailers => {
                    let trailers = ready!(self.stream.poll_trailers(context));
                    if self.left.is_none() {
                        let map = trailers?.unwrap_or_default();
                        let mut end = b"0\r\n".to_vec();
                        Trailers::from_map(&map)?.write(&mut end);
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

    /// As [`Coming::poll`], of what has come and may not go on: its windows stay closed.
    pub fn gather(&mut self, context: &mut Context<'_>, buffer: &mut Buffer, most: usize) -> usize {
        let (mut taken, mut count) = (0, 0);
        while buffer.len() < most {
            // What is wrong is found again where it can be told.
            let Poll::Ready(Ok(more @ 1..)) = self.poll(context, buffer) else { break };
            count += more;
            taken += std::mem::take(&mut self.taken);
        }
        self.taken += taken;
        if self.part == Part::End {
            // Of a stream that is at its end nothing can be wrong with that.
            let _ = self.release();
        }
        count
    }

    /// Opens the windows again. Of a body that has come whole nobody comes to take more, and other streams need the room.
    fn release(&mut self) -> Result<(), h2::Error> {
        match std::mem::take(&mut self.taken) {
            0 => Ok(()),
            taken => self.stream.flow_control().release_capacity(taken),
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

/// Why no more of a body comes.
#[derive(Debug, thiserror::Error)]
pub enum Broken {
    #[error("the stream has ended early")]
    Stream(#[from] h2::Error),
    #[error("its trailers are none")]
    Trailers(#[from] Refusal),
}

/// Says these octets as the other side's window lets. `half` is nothing where no more may be said.
pub async fn write<S>(
    said: &RefCell<S>,
    half: fn(&mut S) -> Option<&mut SendStream<Bytes>>,
    mut octets: &[u8],
    time: Duration,
    timer: &mut Timer,
) -> Result<io::Result<()>, Late> {
    while !octets.is_empty() {
        let some = poll_fn(|context| {
            let mut said = said.borrow_mut();
            let Some(stream) = half(&mut said) else { return Poll::Ready(Err(gone())) };
            let count = ready!(poll_room(stream, context, octets.len()))?;
            let sent = stream.send_data(Bytes::copy_from_slice(&octets[..count]), false);
            Poll::Ready(sent.map(|()| count).map_err(io::Error::other))
        });
        match timer.within(time, some).await? {
            Ok(count) => octets = &octets[count..],
            Err(error) => return Ok(Err(error)),
        }
    }
    Ok(Ok(()))
}

/// How many of these octets may be said now: one or more.
fn poll_room(
    stream: &mut SendStream<Bytes>,
    context: &mut Context<'_>,
    wanted: usize,
) -> Poll<io::Result<usize>> {
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

/// Says that this was all.
pub fn close(stream: &mut SendStream<Bytes>, trailers: &Trailers) -> io::Result<()> {
    let closed = if trailers.fields().is_empty() {
        stream.send_data(Bytes::new(), true)
    } else {
        stream.send_trailers(trailers.to_map().map_err(unsayable)?)
    };
    closed.map_err(io::Error::other)
}

pub fn gone() -> io::Error {
    io::ErrorKind::BrokenPipe.into()
}

pub fn unsayable(refusal: Refusal) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, refusal)
}

/// Octets of fields, as HTTP/1.1 would write them.
pub fn octets_of(fields: &http::HeaderMap) -> usize {
    fields.iter().map(|(name, value)| name.as_str().len() + value.len() + ": \r\n".len()).sum()
}
