//! Bodies: how much of what comes is a body's, and what goes out as one.

use std::num::NonZeroUsize;

use super::Limits;
use super::chunked::{ChunkSize, Decoder, Pass, Piece};
use super::framing::Body;
use super::refusal::Refusal;
use super::trailers::Trailers;

/// A body as it comes.
#[derive(Clone, Debug, Default)]
pub enum Incoming {
    #[default]
    End,
    /// So many octets are still to come.
    Length(u64),
    Chunked(Decoder),
    UntilClose,
}

/// What is to be sent is not what was said of it: the connection can only be closed.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Mismatch {
    #[error("the body is longer than its Content-Length")]
    TooMuch,
    #[error("the body is shorter than its Content-Length")]
    TooLittle,
}

impl Incoming {
    pub fn new(body: Body) -> Self {
        match body {
            Body::None | Body::Length(0) => Self::End,
            Body::Length(length) => Self::Length(length),
            Body::Chunked => Self::Chunked(Decoder::new()),
            Body::UntilClose => Self::UntilClose,
        }
    }

    /// Whether all of it has come; what follows is another message's.
    pub fn is_end(&self) -> bool {
        match self {
            Self::End => true,
            Self::Chunked(decoder) => decoder.is_end(),
            Self::Length(_) | Self::UntilClose => false,
        }
    }

    /// The connection was closed: whether the body was whole then.
    pub fn close(&mut self) -> bool {
        if let Self::UntilClose = self {
            *self = Self::End;
        }
        self.is_end()
    }

    /// What the first of these octets are; `None` if there are none, or the body is at its end.
    pub fn next(&mut self, octets: &[u8], limits: &Limits) -> Result<Option<Piece>, Refusal> {
        if let Self::Chunked(decoder) = self {
            return decoder.next(octets, limits);
        }
        let taken = self.take(octets.len());
        Ok((taken > 0).then_some(Piece::Data(taken)))
    }

    /// What of these octets may go on as it came, framed as it is.
    pub fn pass(&mut self, octets: &[u8], limits: &Limits) -> Result<Pass, Refusal> {
        if let Self::Chunked(decoder) = self {
            return decoder.pass(octets, limits);
        }
        let taken = self.take(octets.len());
        Ok(Pass { kept: taken, taken, is_end: self.is_end() })
    }

    fn take(&mut self, available: usize) -> usize {
        match self {
            Self::End | Self::Chunked(_) => 0,
            Self::UntilClose => available,
            Self::Length(left) => {
                let taken = usize::try_from(*left).unwrap_or(usize::MAX).min(available);
                *left -= taken as u64;
                if *left == 0 {
                    *self = Self::End;
                }
                taken
            }
        }
    }
}

/// A body as it goes out, when it is framed otherwise than it came.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Outgoing {
    End,
    Length(u64),
    Chunked,
    UntilClose,
}

impl Outgoing {
    pub fn new(body: Body) -> Self {
        match body {
            Body::None => Self::End,
            Body::Length(length) => Self::Length(length),
            Body::Chunked => Self::Chunked,
            Body::UntilClose => Self::UntilClose,
        }
    }

    /// Writes data.
    ///
    /// # Errors
    ///
    /// If it is more than Content-Length said; then nothing is written.
    pub fn data(&mut self, data: &[u8], out: &mut Vec<u8>) -> Result<(), Mismatch> {
        let Some(length) = NonZeroUsize::new(data.len()) else { return Ok(()) };
        match self {
            Self::End => return Err(Mismatch::TooMuch),
            Self::Length(left) => {
                *left = left.checked_sub(data.len() as u64).ok_or(Mismatch::TooMuch)?;
            }
            Self::Chunked => out.extend_from_slice(ChunkSize::of(length).octets()),
            Self::UntilClose => {}
        }
        out.extend_from_slice(data);
        if let Self::Chunked = self {
            out.extend_from_slice(b"\r\n");
        }
        Ok(())
    }

    /// Ends the body, with trailers where there can be some.
    ///
    /// # Errors
    ///
    /// If it was less than Content-Length said.
    pub fn end(&mut self, trailers: &Trailers, out: &mut Vec<u8>) -> Result<(), Mismatch> {
        match *self {
            Self::Length(left) if left > 0 => return Err(Mismatch::TooLittle),
            Self::Chunked => {
                out.extend_from_slice(b"0\r\n");
                trailers.write(out);
            }
            Self::End | Self::Length(_) | Self::UntilClose => {}
        }
        *self = Self::End;
        Ok(())
    }
}
