//! The chunked coding (RFC 9112 §7.1), in octets that come in any pieces.
//!
//! What is read so strictly (hexadecimal digits, CR LF, nothing else) all readers take alike, and so it may go on
//! as it came: a relay from HTTP/1 to HTTP/1 copies size lines and data in one piece ([`Decoder::pass`]) and
//! leaves out only extensions and trailers. That weakens nothing: not one octet goes on that this machine has
//! not seen in its place, and what it refuses ends both connections before the octet that is wrong.

use std::num::NonZeroUsize;

use super::Limits;
use super::octets::is_text;
use super::refusal::Refusal;
use super::trailers::{Section, Trailers};

/// Digits of a size, at most: as many as 64 bits have.
const MOST_DIGITS: u8 = 16;

/// What the next octets of a chunked body are, and how many.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Piece {
    /// Of a size line, or the end of a chunk.
    Framing(usize),
    Data(usize),
    /// Of an extension, or of the trailers, which [`Decoder::trailers`] has at the end.
    Dropped(usize),
    /// The last octets of the body, dropped too.
    End(usize),
}

/// What of some octets goes on as it came.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Pass {
    /// Octets from the first, which may be written as they are.
    pub kept: usize,
    /// Octets that are done with, kept or dropped. If these are not all, there is more to pass.
    pub taken: usize,
    /// The body is at its end: now [`Trailers::write`] ends it for the reader.
    pub is_end: bool,
}

/// Reads a chunked body.
#[derive(Clone, Debug, Default)]
pub struct Decoder {
    state: State,
    /// Octets of data, with those of the chunk under way that are still to come.
    total: u64,
    /// Octets of extensions.
    extensions: usize,
    trailers: Trailers,
}

#[derive(Clone, Debug)]
enum State {
    Size {
        digits: u8,
        size: u64,
    },
    Extension {
        octets: usize,
        size: u64,
    },
    SizeLf {
        size: u64,
    },
    Data {
        left: u64,
    },
    DataCr,
    DataLf,
    Trailers(Section),
    End,
    /// Refused: nothing that follows means anything.
    Failed(Refusal),
}

impl Default for State {
    fn default() -> Self {
        Self::Size { digits: 0, size: 0 }
    }
}

impl Decoder {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn is_end(&self) -> bool {
        matches!(self.state, State::End)
    }

    /// The trailers, which are there at the end.
    pub fn trailers(&self) -> &Trailers {
        &self.trailers
    }

    /// What the first of these octets are; `None` if there are none, or the body is at its end.
    pub fn next(&mut self, octets: &[u8], limits: &Limits) -> Result<Option<Piece>, Refusal> {
        if octets.is_empty() || self.is_end() {
            return Ok(None);
        }
        let piece = self.step(octets, limits);
        if let Err(refusal) = piece {
            self.state = State::Failed(refusal);
        }
        piece.map(Some)
    }

    fn step(&mut self, octets: &[u8], limits: &Limits) -> Result<Piece, Refusal> {
        match &mut self.state {
            State::Size { .. } => self.size_line(octets, limits),
            State::Extension { octets: before, size } => {
                let end = octets.iter().position(|octet| *octet == b'\r').unwrap_or(octets.len());
                let extension = &octets[..end];
                if extension.is_empty() {
                    self.state = State::SizeLf { size: *size };
                    return Ok(Piece::Framing(1));
                }
                let room = (limits.chunk_extension - *before)
                    .min(limits.chunk_extensions - self.extensions);
                // Within the bound first: the same octets are refused for the same reason however they come.
                let within = &extension[..end.min(room)];
                if let Some(fault) = within.iter().find(|octet| !is_text(&[**octet])) {
                    let is_lf = *fault == b'\n';
                    return Err(if is_lf { Refusal::BareLf } else { Refusal::ChunkExtension });
                }
                if end > room {
                    return Err(Refusal::ChunkExtensionTooLong);
                }
                *before += end;
                self.extensions += end;
                Ok(Piece::Dropped(end))
            }
            State::SizeLf { size } => {
                let size = *size;
                self.size_lf(octets[0], size)?;
                Ok(Piece::Framing(1))
            }
            State::Data { left } => {
                let length = usize::try_from(*left).unwrap_or(usize::MAX).min(octets.len());
                *left -= length as u64;
                if *left == 0 {
                    self.state = State::DataCr;
                }
                Ok(Piece::Data(length))
            }
            State::DataCr if octets[0] == b'\r' => {
                self.state = State::DataLf;
                Ok(Piece::Framing(1))
            }
            State::DataLf if octets[0] == b'\n' => {
                self.state = State::default();
                Ok(Piece::Framing(1))
            }
            State::DataCr | State::DataLf => Err(Refusal::ChunkEnd),
            State::Trailers(section) if section.is_empty() && octets.starts_with(b"\r\n") => {
                self.state = State::End;
                Ok(Piece::End(2))
            }
            State::Trailers(section) => {
                let (taken, trailers) = section.take(octets, limits)?;
                let Some(trailers) = trailers else { return Ok(Piece::Dropped(taken)) };
                self.trailers = trailers;
                self.state = State::End;
                Ok(Piece::End(taken))
            }
            State::End => Ok(Piece::End(0)),
            State::Failed(refusal) => Err(*refusal),
        }
    }

    /// The digits of a size, up to what ends them.
    fn size_line(&mut self, octets: &[u8], limits: &Limits) -> Result<Piece, Refusal> {
        let State::Size { mut digits, mut size } = self.state else {
            return Err(Refusal::ChunkSize);
        };
        for (at, octet) in octets.iter().enumerate() {
            let digit = match octet {
                b'0'..=b'9' => octet - b'0',
                b'a'..=b'f' => octet - b'a' + 10,
                b'A'..=b'F' => octet - b'A' + 10,
                b'\r' | b';' if digits > 0 => {
                    self.sized(size, limits)?;
                    if *octet == b'\r' {
                        self.state = State::SizeLf { size };
                        return Ok(Piece::Framing(at + 1));
                    }
                    self.state = State::Extension { octets: 0, size };
                    return if at > 0 { Ok(Piece::Framing(at)) } else { self.step(octets, limits) };
                }
                b'\n' => return Err(Refusal::BareLf),
                _ => return Err(Refusal::ChunkSize),
            };
            if digits == MOST_DIGITS {
                return Err(Refusal::ChunkSizeTooBig);
            }
            digits += 1;
            size = size << 4 | u64::from(digit);
        }
        self.state = State::Size { digits, size };
        Ok(Piece::Framing(octets.len()))
    }

    /// A whole size: it must leave the body's length what an `i64` holds, and within the limit.
    fn sized(&mut self, size: u64, limits: &Limits) -> Result<(), Refusal> {
        if i64::try_from(size).is_err() {
            return Err(Refusal::ChunkSizeTooBig);
        }
        self.total = self.total.saturating_add(size);
        if self.total > limits.body { Err(Refusal::BodyTooLong) } else { Ok(()) }
    }

    fn size_lf(&mut self, octet: u8, size: u64) -> Result<(), Refusal> {
        if octet != b'\n' {
            return Err(Refusal::BareCr);
        }
        self.state = if size == 0 {
            State::Trailers(Section::default())
        } else {
            State::Data { left: size }
        };
        Ok(())
    }

    /// What of these octets may go on as it came.
    pub fn pass(&mut self, octets: &[u8], limits: &Limits) -> Result<Pass, Refusal> {
        let mut pass = Pass::default();
        while let Some(piece) = self.next(&octets[pass.taken..], limits)? {
            match piece {
                Piece::Framing(length) | Piece::Data(length) => {
                    pass.taken += length;
                    pass.kept = pass.taken;
                }
                // What follows does not stand beside what was kept, and so is for another pass.
                Piece::Dropped(length) | Piece::End(length) => {
                    pass.taken += length;
                    break;
                }
            }
        }
        pass.is_end = self.is_end();
        Ok(pass)
    }
}

/// The line before a chunk's data.
#[derive(Clone, Copy, Debug)]
pub struct ChunkSize {
    octets: [u8; 18],
    start: u8,
}

impl ChunkSize {
    /// Of data that is there: a chunk of none would be the last.
    pub fn of(length: NonZeroUsize) -> Self {
        let mut octets = *b"0000000000000000\r\n";
        let (mut size, mut start) = (length.get(), 16);
        while size > 0 {
            start -= 1;
            octets[start] = b"0123456789abcdef"[size & 15];
            size >>= 4;
        }
        Self { octets, start: start as u8 }
    }

    pub fn octets(&self) -> &[u8] {
        &self.octets[self.start.into()..]
    }
}
