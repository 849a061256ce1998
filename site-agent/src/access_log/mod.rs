//! A line for each request, or connection of tcp, once it has ended: as HAProxy writes it, or as JSON.
//!
//! (what a relay knows at the end) ─▶ Entry ─▶ write ─▶ log_file
//!
//! Pure: the time stands in the entry. Nothing is allocated once the buffer is as long as a line. A line is a line
//! whatever stands in a request: all that could end one, or a string of it, is escaped.

mod end;
mod haproxy;
mod json;
mod text;

use std::net::SocketAddr;
use std::time::Duration;

use jiff::Timestamp;

pub use self::end::{Cause, End, Phase};
use crate::site::LogFormat;

/// Octets of a request line that are shown, as by HAProxy (`tune.http.logurilen`); in JSON, of a method and of a target.
pub const LONGEST_REQUEST: usize = 1023;
/// Octets of a line, with names of the config's length: each octet of a request takes three, or six of JSON.
pub const LONGEST_LINE: usize = 16 << 10;

#[derive(Clone, Copy, Debug)]
pub struct Entry<'a> {
    pub client: SocketAddr,
    /// When the request's first octet came, or the connection was accepted.
    pub began: Timestamp,
    pub frontend: &'a str,
    pub is_tls: bool,
    /// `None` where none was chosen.
    pub pool: Option<&'a str>,
    /// The last that was chosen.
    pub server: Option<&'a str>,
    pub subject: Subject<'a>,
    /// That the client was sent, heads included.
    pub octets: u64,
    pub end: End,
    pub counts: Counts,
    pub ahead: Ahead,
}

/// What ended. A time is `None` where it did not come to that.
#[derive(Clone, Copy, Debug)]
pub enum Subject<'a> {
    Request {
        /// `None` for what was no request, or not yet one.
        line: Option<RequestLine<'a>>,
        status: Option<u16>,
        /// From the first octet to the end of the head.
        head: Option<Duration>,
        queue: Option<Duration>,
        /// All attempts; nothing on a connection that was there.
        connect: Option<Duration>,
        /// From there to the end of the response's head.
        response: Option<Duration>,
        /// From the request's first octet to the response's last.
        total: Duration,
    },
    Connection {
        queue: Option<Duration>,
        connect: Option<Duration>,
        total: Duration,
    },
}

/// As it came.
#[derive(Clone, Copy, Debug)]
pub struct RequestLine<'a> {
    pub method: &'a [u8],
    pub target: &'a [u8],
    pub protocol: Protocol,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Protocol {
    Http10,
    Http11,
    Http2,
}

/// What was there at a time when it ended, and how often it was tried again.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    /// Connections of clients, this one included: of all frontends, and of this one.
    pub process: u64,
    pub frontend: u64,
    /// Requests, or connections of tcp, on servers, without this one, which has left: of the pool, and of this server.
    pub pool: u64,
    pub server: u64,
    pub retries: u32,
    /// Whether the last of these was with another server.
    pub is_redispatched: bool,
}

/// Whom it had to wait for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ahead {
    pub server: u64,
    pub pool: u64,
}

/// Adds the line, with the line feed behind it.
pub fn write(format: LogFormat, entry: &Entry<'_>, out: &mut Vec<u8>) {
    match format {
        LogFormat::Haproxy => haproxy::write(entry, out),
        LogFormat::Json => json::write(entry, out),
    }
}

impl Protocol {
    fn text(self) -> &'static str {
        match self {
            Protocol::Http10 => "HTTP/1.0",
            Protocol::Http11 => "HTTP/1.1",
            Protocol::Http2 => "HTTP/2.0",
        }
    }
}

#[cfg(test)]
mod tests;
