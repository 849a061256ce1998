//! HTTP/1 message heads and bodies: read strictly, framed in one way, edited in place, written to the other side.
//!
//! Octets in, values out: the listener and the relay bring what sockets gave, and send what is written here. A
//! head is a copy of its octets and a list of where its fields stand in them; what is not edited goes on octet
//! for octet, in its order and its case. What two readers could take in two ways is refused, never repaired: an
//! attacker needs the readers to differ, so we stand between them only with what all of them read alike.
//!
//! ```text
//! octets ─▶ lines ─▶ request, response ─▶ framing (which body, kept open or not)
//!                        │  fields ─▶ strip (hop by hop) ─▶ write
//!                        └─ h2: from and to the `http` crate's heads
//! body   ─▶ incoming (chunked: decoder) ─▶ outgoing (encoder)
//! ```

mod body;
mod chunked;
mod fields;
mod framing;
mod h2;
mod lines;
mod name;
mod octets;
mod refusal;
mod request;
mod response;
mod strip;
mod target;
#[cfg(test)]
mod tests;
mod trailers;

pub use body::{Incoming, Mismatch, Outgoing};
pub use chunked::{ChunkSize, Decoder, Pass, Piece};
pub use fields::{Fields, Unwritable};
pub use framing::{Body, Persistence};
pub use h2::Stream;
pub use refusal::{Peer, Refusal};
pub use request::{Progress, RequestHead};
pub use response::{Asked, ResponseHead};
pub use strip::Upgrades;
pub use target::{Form, Scheme, authority_of};
pub use trailers::Trailers;

/// What a peer may send, at most.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Limits {
    /// Octets of a head, from its first line to the empty one, both with their ends.
    pub head: usize,
    /// Fields of a head.
    pub fields: usize,
    /// Octets of a request's target.
    pub target: usize,
    /// Octets of a body.
    pub body: u64,
    /// Octets of one chunk's extension.
    pub chunk_extension: usize,
    /// Octets of all chunks' extensions together: they cost us, and carry nothing.
    pub chunk_extensions: usize,
    /// Octets of a trailer section, its end included; an empty one is never too long.
    pub trailers: usize,
    /// Fields of a trailer section.
    pub trailer_fields: usize,
}

impl Limits {
    /// Where nobody has said otherwise.
    pub const OURS: Limits = Limits {
        head: 64 * 1024,
        fields: 100,
        target: 16 * 1024,
        body: i64::MAX.unsigned_abs(),
        chunk_extension: 256,
        chunk_extensions: 16 * 1024,
        trailers: 8 * 1024,
        trailer_fields: 32,
    };
}

impl Default for Limits {
    fn default() -> Self {
        Limits::OURS
    }
}

/// Of a message; nothing else is spoken.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub enum Version {
    Http10,
    #[default]
    Http11,
}

impl Version {
    fn octets(self) -> &'static [u8; 8] {
        match self {
            Self::Http10 => b"HTTP/1.0",
            Self::Http11 => b"HTTP/1.1",
        }
    }
}
