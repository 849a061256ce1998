//! What carries one attempt at a server, its request and the response: a connection of HTTP/1, or a stream of HTTP/2.
//!
//! To the relay both say what HTTP/1.1 would: the other side of what `carrier` is for clients.

use std::cell::RefCell;
use std::io;
use std::time::Duration;

use crate::head::{Body, Limits, Refusal, ResponseHead, Trailers};
use crate::retry;
use crate::stream::{self, Buffer, Late, Stream, Timer};

/// A request that is here to its end.
#[derive(Clone, Copy, Debug)]
pub struct Whole<'w> {
    /// All of it, as HTTP/1.1 writes it.
    pub octets: &'w [u8],
    pub body: Body,
    /// The octets of its body, framed as they have come.
    pub content: &'w [u8],
    pub limits: &'w Limits,
}

pub trait Leg {
    /// Sends it.
    async fn send(
        &self,
        request: Whole<'_>,
        time: Duration,
        timer: &mut Timer,
    ) -> Result<io::Result<()>, Late>;

    /// Says a request's head, which HTTP/1.1 writes so; its body is to come.
    async fn begin(
        &self,
        head: &[u8],
        time: Duration,
        timer: &mut Timer,
    ) -> Result<io::Result<()>, Late>;

    /// How a request's body goes, if it has come as `body`.
    fn framing(&self, body: Body) -> Body;

    /// Says octets of the body, framed so. `time` is how long nothing of them may be taken.
    async fn write(
        &self,
        octets: &[u8],
        time: Duration,
        timer: &mut Timer,
    ) -> Result<io::Result<()>, Late>;

    /// Says the last octets, and that they are the last. The trailers are among them where they are framed.
    async fn end(
        &self,
        octets: &[u8],
        trailers: &Trailers,
        time: Duration,
        timer: &mut Timer,
    ) -> Result<io::Result<()>, Late>;

    /// Takes the next head of the response, be it an interim one. `false` if more has to be read first.
    ///
    /// # Errors
    /// What came is none.
    fn head(
        &self,
        response: &mut ResponseHead,
        buffer: &mut Buffer,
        limits: &Limits,
    ) -> Result<bool, Refusal>;

    /// How the body comes that a head frames as `body`.
    fn coming(&self, body: Body) -> Body;

    /// Reads more of the response: of a body, behind what the buffer has. So many octets have come; 0 at the end.
    async fn read(&self, buffer: &mut Buffer) -> io::Result<usize>;

    /// Why no head came, if that is known.
    fn failure(&self) -> Option<retry::Cause>;
}

impl Leg for RefCell<Stream> {
    async fn send(
        &self,
        request: Whole<'_>,
        time: Duration,
        timer: &mut Timer,
    ) -> Result<io::Result<()>, Late> {
        stream::write(self, request.octets, time, timer).await
    }

    async fn begin(
        &self,
        head: &[u8],
        time: Duration,
        timer: &mut Timer,
    ) -> Result<io::Result<()>, Late> {
        stream::write(self, head, time, timer).await
    }

    fn framing(&self, body: Body) -> Body {
        body
    }

    async fn write(
        &self,
        octets: &[u8],
        time: Duration,
        timer: &mut Timer,
    ) -> Result<io::Result<()>, Late> {
        stream::write(self, octets, time, timer).await
    }

    async fn end(
        &self,
        octets: &[u8],
        _: &Trailers,
        time: Duration,
        timer: &mut Timer,
    ) -> Result<io::Result<()>, Late> {
        if octets.is_empty() { Ok(Ok(())) } else { stream::write(self, octets, time, timer).await }
    }

    fn head(
        &self,
        response: &mut ResponseHead,
        buffer: &mut Buffer,
        limits: &Limits,
    ) -> Result<bool, Refusal> {
        let Some(count) = response.read(buffer.octets(), limits)? else { return Ok(false) };
        buffer.take(count);
        Ok(true)
    }

    fn coming(&self, body: Body) -> Body {
        body
    }

    async fn read(&self, buffer: &mut Buffer) -> io::Result<usize> {
        stream::read(self, buffer).await
    }

    fn failure(&self) -> Option<retry::Cause> {
        None
    }
}
