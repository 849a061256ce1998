//! One direction: what one side says, to the other.
//!
//! Little is copied, much moves by splice(2) and never comes to our memory. HAProxy's `splice-auto` likewise decides by
//! whether a read was large; small exchanges would pay two system calls more for a pipe.

use std::future::poll_fn;
use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::task::Poll;

use rustix::pipe::{SpliceFlags, splice};
use tokio::io::{AsyncRead as _, AsyncWriteExt as _, Interest, ReadBuf};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};

use super::carry::{BUFFER, Carry, Pipe};

/// Which end has failed.
#[derive(Debug)]
pub enum Broken {
    Reading(io::Error),
    Writing(io::Error),
}

/// What one read brought.
enum Said {
    /// Nothing more will come.
    Last,
    /// So many octets, of which the other side has not taken these.
    Octets(usize, Vec<u8>),
}

/// Carries until `from` has said its last, and tells `to`.
pub async fn pump(
    from: &mut ReadHalf<'_>,
    to: &mut WriteHalf<'_>,
    carry: &Carry,
    note: impl Fn(usize),
) -> Result<(), Broken> {
    loop {
        match copy(from, to, carry).await? {
            Said::Last => break,
            Said::Octets(count, rest) => {
                note(count - rest.len());
                if !rest.is_empty() {
                    to.write_all(&rest).await.map_err(Broken::Writing)?;
                    note(rest.len());
                }
                if count == BUFFER && through_a_pipe(from, to, carry, &note).await? {
                    break;
                }
            }
        }
    }
    match to.shutdown().await {
        // It is gone, and has been told everything: nothing is lost.
        Err(error) if error.kind() != ErrorKind::NotConnected => Err(Broken::Writing(error)),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// One read, and at once as much of a write as is taken: the buffer is everybody's.
async fn copy(
    from: &mut ReadHalf<'_>,
    to: &mut WriteHalf<'_>,
    carry: &Carry,
) -> Result<Said, Broken> {
    poll_fn(|context| {
        let mut buffer = carry.buffer.borrow_mut();
        let mut read = ReadBuf::new(&mut buffer);
        match Pin::new(&mut *from).poll_read(context, &mut read) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(Err(error)) => return Poll::Ready(Err(Broken::Reading(error))),
            Poll::Ready(Ok(())) => {}
        }
        let said = read.filled();
        if said.is_empty() {
            return Poll::Ready(Ok(Said::Last));
        }
        let taken = match to.try_write(said) {
            Ok(taken) => taken,
            Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
            Err(error) => return Poll::Ready(Err(Broken::Writing(error))),
        };
        Poll::Ready(Ok(Said::Octets(said.len(), said[taken..].to_vec())))
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
