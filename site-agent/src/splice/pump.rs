//! One direction: what one side says, to the other.
//!
//! Little is copied, much moves by splice(2) and never comes to our memory. HAProxy's `splice-auto` likewise decides by
//! whether a read was large; small exchanges would pay two system calls more for a pipe.

use std::future::poll_fn;
use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::task::{Poll, ready};

use rustix::pipe::{SpliceFlags, splice};
use tokio::io::{AsyncRead as _, AsyncWriteExt as _, Interest, ReadBuf};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};

use super::carry::{BUFFER, Carry, Pipe};
use crate::stream::send_last;

/// Which end has failed.
#[derive(Debug)]
pub enum Broken {
    Reading(io::Error),
    Writing(io::Error),
}

/// What one turn has read, and what it has come to.
struct Said {
    octets: usize,
    /// Those that the other side has not taken.
    rest: Vec<u8>,
    next: Next,
}

/// What comes behind what was read.
enum Next {
    /// More, perhaps.
    More,
    /// Nothing: that was its last.
    Last,
    Failed(io::Error),
}

/// Carries until `from` has said its last, and tells `to`: not where that has said its own and `is_over`, as it is told by
/// the close that follows.
pub async fn pump(
    from: &mut ReadHalf<'_>,
    to: &mut WriteHalf<'_>,
    carry: &Carry,
    note: impl Fn(usize),
    is_over: impl Fn() -> bool,
) -> Result<(), Broken> {
    loop {
        let Said { octets, rest, next } = copy(from, to, carry).await?;
        note(octets - rest.len());
        if !rest.is_empty() {
            to.write_all(&rest).await.map_err(Broken::Writing)?;
            note(rest.len());
        }
        match next {
            Next::Last => break,
            Next::Failed(error) => return Err(Broken::Reading(error)),
            Next::More if octets < BUFFER => {}
            Next::More => {
                if through_a_pipe(from, to, carry, &note).await? {
                    break;
                }
            }
        }
    }
    if is_over() {
        return Ok(());
    }
    match to.shutdown().await {
        // It is gone, and has been told everything: nothing is lost.
        Err(error) if error.kind() != ErrorKind::NotConnected => Err(Broken::Writing(error)),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// What there is to read now, and at once as much of a write as is taken: the buffer is everybody's.
///
/// Where the end is known to have come behind it, the kernel is told to wait for that: the last octets and the end then
/// leave as one segment.
async fn copy(
    from: &mut ReadHalf<'_>,
    to: &mut WriteHalf<'_>,
    carry: &Carry,
) -> Result<Said, Broken> {
    poll_fn(|context| {
        let mut buffer = carry.buffer.borrow_mut();
        let mut read = ReadBuf::new(&mut buffer);
        let mut fill = |read: &mut ReadBuf<'_>| Pin::new(&mut *from).poll_read(context, read);
        ready!(fill(&mut read)).map_err(Broken::Reading)?;
        let first = read.filled().len();
        // After a short read the socket is asked again only if it has told of its end.
        let next = match read.remaining() {
            _ if first == 0 => Next::Last,
            0 => Next::More,
            _ => match fill(&mut read) {
                Poll::Ready(Ok(())) if read.filled().len() == first => Next::Last,
                Poll::Ready(Ok(())) | Poll::Pending => Next::More,
                Poll::Ready(Err(error)) => Next::Failed(error),
            },
        };
        let octets = read.filled();
        let taken = match &next {
            _ if octets.is_empty() => Ok(0),
            Next::More | Next::Failed(_) => to.try_write(octets),
            Next::Last => send_last(to.as_ref(), octets),
        };
        let taken = match taken {
            Ok(taken) => taken,
            Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
            Err(error) => return Poll::Ready(Err(Broken::Writing(error))),
        };
        Poll::Ready(Ok(Said { octets: octets.len(), rest: octets[taken..].to_vec(), next }))
    })
    .await
}

/// As long as there is more to read at once; whether `from` has said its last. Where the system gives us no pipe, nothing
/// has moved.
async fn through_a_pipe(
    from: &ReadHalf<'_>,
    to: &WriteHalf<'_>,
    carry: &Carry,
    note: impl Fn(usize),
) -> Result<bool, Broken> {
    let Ok(pipe) = carry.take() else { return Ok(false) };
    loop {
        // Only ever into an empty pipe: "would block" is then the socket's word.
        match spliced_in(from.as_ref(), &pipe) {
            Ok(0) => {
                carry.give_back(pipe);
                return Ok(true);
            }
            Ok(count) => {
                let mut left = count;
                while left > 0 {
                    let taken =
                        spliced_out(&pipe, to.as_ref(), left).await.map_err(Broken::Writing)?;
                    left -= taken;
                    note(taken);
                }
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                carry.give_back(pipe);
                return Ok(false);
            }
            Err(error) => return Err(Broken::Reading(error)),
        }
    }
}

const FLAGS: SpliceFlags = SpliceFlags::MOVE.union(SpliceFlags::NONBLOCK);

fn spliced_in(from: &TcpStream, pipe: &Pipe) -> io::Result<usize> {
    let splice = || Ok(splice(from, None, &pipe.write, None, pipe.capacity, FLAGS)?);
    from.try_io(Interest::READABLE, splice)
}

async fn spliced_out(pipe: &Pipe, to: &TcpStream, count: usize) -> io::Result<usize> {
    let splice = || Ok(splice(&pipe.read, None, to, None, count, FLAGS)?);
    to.async_io(Interest::WRITABLE, splice).await
}
