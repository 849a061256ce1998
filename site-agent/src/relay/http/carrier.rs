//! What carries a client's requests and the responses to them: a connection of HTTP/1, or one stream of HTTP/2.
//!
//! All between them is the same for both: a request is what HTTP/1.1 says of it, and so is a response until it begins.

use std::cell::RefCell;
use std::io;
use std::time::Duration;

use crate::access_log::Protocol;
use crate::head::{Body, Persistence, ResponseHead, Trailers, Version};
use crate::stream::{Buffer, Late, Stream, Timer};

pub trait Carrier {
    /// Whether a client that finds it closed knows that its request may be sent again.
    const CLOSING_ASKS_AGAIN: bool;

    /// As the log has it, for a request of this version.
    fn protocol(&self, version: Version) -> Protocol;

    /// The connection itself, where it can become a tunnel.
    fn stream(&mut self) -> Option<&mut RefCell<Stream>>;

    /// Puts what has come of the request's body into the buffer, and waits for nothing; how many octets that was.
    fn gather(&self, buffer: &mut Buffer) -> usize;

    /// Puts more of the body behind what the buffer has, framed as the request's head says; 0 if no more comes.
    async fn read(&self, buffer: &mut Buffer) -> io::Result<usize>;

    /// How a response's body goes to a client of this version, if it has come as `body`.
    fn framing(&self, body: Body, version: Version) -> Body;

    /// Says a head, be it an interim one: what of it goes with the octets behind it stands in `out`, which was empty. How
    /// many octets of it have gone by themselves.
    ///
    /// # Errors
    /// `InvalidData` if there is no way to say it, any other if the client is gone.
    fn begin(
        &self,
        head: &ResponseHead,
        body: Body,
        version: Version,
        persistence: Persistence,
        out: &mut Vec<u8>,
    ) -> io::Result<usize>;

    /// Says octets of the body, framed already. `time` is how long nothing of them may be taken.
    async fn write(
        &self,
        octets: &[u8],
        time: Duration,
        timer: &mut Timer,
    ) -> Result<io::Result<()>, Late>;

    /// Says the last octets, and that they are the last. The trailers are among them where they are framed. Before a close
    /// some of them may wait for it.
    async fn end(
        &self,
        octets: &[u8],
        trailers: &Trailers,
        persistence: Persistence,
        time: Duration,
        timer: &mut Timer,
    ) -> Result<io::Result<()>, Late>;

    /// Says an answer of our own, as HTTP/1.1 writes it. `head` is room to read it in.
    async fn answer(
        &self,
        octets: &[u8],
        head: &mut ResponseHead,
        time: Duration,
        timer: &mut Timer,
    ) -> Result<io::Result<()>, Late>;
}
