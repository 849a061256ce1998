//! A TLS ClientHello, read on the way through: which server a client asks for, and what it would speak.
//!
//! (a client's first octets) ─▶ read ─▶ Hello ─▶ route, and all of it on to the server, which alone answers
//!
//! Read from octets that come in any pieces, whatever records they are in (RFC 8446 §5.1). Of a hello that is encrypted
//! (ECH) only the outer name can be seen.

mod message;

use self::message::{HEADER, hello};

/// Octets that a hello may have, with the heads of its records: one with a key of post-quantum cryptography has some
/// 2000, and a ticket of a large session some more.
pub const LONGEST: usize = 16 << 10;
/// A record's type, version and length.
const RECORD_HEAD: usize = 5;
/// RFC 8446 §5.1.
const LONGEST_RECORD: usize = 1 << 14;
const HANDSHAKE: u8 = 22;
/// All versions of TLS have this in front.
const MAJOR: u8 = 3;

/// What a client says first.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Hello {
    server_name: Option<Box<str>>,
    /// Each behind its length, as they came.
    alpn: Box<[u8]>,
}

/// How far the reading has come.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Progress {
    /// There is more of the hello to come.
    More,
    Whole(Hello),
}

/// Why there is no hello. The connection can only be closed.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Refusal {
    #[error("it does not begin with TLS")]
    NotTls,
    #[error("the ClientHello is longer than any")]
    TooLong,
    #[error("the ClientHello makes no sense")]
    Malformed,
}

impl Hello {
    /// In lower case and without the dot of the root; `None` where the client does not say, or says an address, which
    /// is none (RFC 6066 §3).
    pub fn server_name(&self) -> Option<&str> {
        self.server_name.as_deref()
    }

    /// What the client would speak, the dearest first (RFC 7301).
    pub fn alpn(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = &*self.alpn;
        std::iter::from_fn(move || {
            let (length, after) = rest.split_first()?;
            let (protocol, after) = after.split_at_checked(usize::from(*length))?;
            rest = after;
            Some(protocol)
        })
    }
}

/// Reads a hello at the start of all that has come.
pub fn read(octets: &[u8]) -> Result<Progress, Refusal> {
    let window = &octets[..octets.len().min(LONGEST)];
    let mut rest = window;
    // What the records hold of the message: of most, one record holds all.
    let (mut first, mut others): (&[u8], Vec<u8>) = (&[], vec![]);
    loop {
        let Some((record, after)) = record(rest, rest.len() == window.len())? else {
            return more(window);
        };
        if first.is_empty() {
            first = record;
        } else {
            if others.is_empty() {
                others.extend_from_slice(first);
            }
            others.extend_from_slice(record);
        }
        let message = if others.is_empty() { first } else { &others };
        match (message::length(message)?, after) {
            (Some(length), _) if length > LONGEST - RECORD_HEAD => return Err(Refusal::TooLong),
            // The hello ends with its record: nothing else may be said before the server answers.
            (Some(length), _) if length < message.len() => return Err(Refusal::Malformed),
            (Some(length), Some(_)) if length == message.len() => {
                return hello(&message[HEADER..]).map(Progress::Whole).ok_or(Refusal::Malformed);
            }
            (_, Some(after)) => rest = after,
            (_, None) => return more(window),
        }
    }
}

fn more(window: &[u8]) -> Result<Progress, Refusal> {
    if window.len() < LONGEST { Ok(Progress::More) } else { Err(Refusal::TooLong) }
}

/// What has come of a record's content, and once that is all of it, what stands behind it.
type Record<'o> = (&'o [u8], Option<&'o [u8]>);

/// `None` before any of the content has come.
fn record(octets: &[u8], is_first: bool) -> Result<Option<Record<'_>>, Refusal> {
    // Whoever begins otherwise speaks something else; whoever goes on otherwise makes no sense.
    let other = if is_first { Refusal::NotTls } else { Refusal::Malformed };
    if octets.first().is_some_and(|kind| *kind != HANDSHAKE)
        || octets.get(1).is_some_and(|major| *major != MAJOR)
    {
        return Err(other);
    }
    let Some((head, after)) = octets.split_first_chunk::<RECORD_HEAD>() else { return Ok(None) };
    let length = usize::from(u16::from_be_bytes([head[3], head[4]]));
    if !(1..=LONGEST_RECORD).contains(&length) {
        return Err(Refusal::Malformed);
    }
    Ok(match after.split_at_checked(length) {
        Some((record, after)) => Some((record, Some(after))),
        None if after.is_empty() => None,
        None => Some((after, None)),
    })
}

#[cfg(test)]
mod tests;
