//! Whether a request that failed is sent again, when, and who pays for it.
//!
//! relay ─▶ (what was sent, what came) ─▶ `Policy` ─▶ again (after a wait, elsewhere) or not, and why not
//!
//! HAProxy's words (`retry-on`) say what is worth another try; beyond them nothing is sent twice that could be done
//! twice. A retry prefers a server that was not tried, every time, and so breaks persistence if need be: HAProxy's
//! default keeps to the same server until the last retry, which suits a server that stumbles, but one that is gone costs
//! every client of it all its retries first. `balance` is given those tried, and takes one of them when nobody else is
//! left.
//!
//! Told the time and a random number; never reads a clock, never draws.

mod budget;
mod on;
#[cfg(test)]
mod tests;

use std::time::Duration;

pub use self::budget::Budget;
pub use self::on::RetryOn;

/// How a pool's requests are retried.
#[derive(Clone, Copy, Debug)]
pub struct Policy {
    /// Tries after the first (HAProxy's `retries`).
    pub attempts: u8,
    pub on: RetryOn,
    /// The first back-off is up to this, the next up to 3 and 7 times as long, with 10 times as the most (Envoy's).
    pub backoff: Duration,
    /// What a server that refused a connection is left in peace for before it is asked again: HAProxy's
    /// `min(timeout connect, 1 s)`. Another server is asked at once.
    pub same_server: Duration,
}

impl Default for Policy {
    fn default() -> Policy {
        Policy {
            attempts: 3,
            on: RetryOn::default(),
            backoff: Duration::from_millis(25),
            same_server: Duration::from_secs(1),
        }
    }
}

/// What became of a request before it failed.
#[derive(Clone, Copy, Debug)]
pub struct Sent {
    pub written: Written,
    pub method: Method,
    pub body: Body,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Written {
    /// Not an octet of it.
    Nothing,
    /// On a connection made for it.
    OnNew,
    /// On one that had been idle, which the server may have closed at that moment.
    OnIdle,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Method {
    /// To do it twice is to do it once (RFC 9110 §9.2.2).
    Idempotent,
    Other,
}

impl Method {
    /// By its name, as sent: methods are case-sensitive. One that nobody knows may do anything.
    pub fn of(name: &[u8]) -> Method {
        match name {
            b"GET" | b"HEAD" | b"OPTIONS" | b"TRACE" | b"PUT" | b"DELETE" => Method::Idempotent,
            _ => Method::Other,
        }
    }
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Body {
    /// There is none.
    None,
    /// All of it is still here.
    Kept,
    /// Some of it went to the server and is not here any more.
    Gone,
}

/// Why there is no response to pass on, or which it is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Cause {
    /// No connection, or no TLS, in time.
    NotConnected,
    /// It ended before any of a response.
    EmptyResponse,
    /// What came was no whole response head.
    JunkResponse,
    ResponseTimeout,
    /// The server has said that it did nothing of it: by REFUSED_STREAM, or by a GOAWAY before it (RFC 9113 §8.7).
    Unprocessed,
    /// A response of that status, of which nothing was passed on yet.
    Status(u16),
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Verdict {
    /// After so long, and to another server if there is one.
    Again {
        wait: Duration,
    },
    No(Why),
}

/// Why a request is not sent again. A closed set: labels of a metric.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Why {
    /// `retry-on` does not name the cause.
    NotWorthIt,
    /// It might be done twice.
    Unsafe,
    /// There is nothing left to send.
    BodyGone,
    /// It was tried as often as it may.
    Attempts,
    /// Too many other requests were.
    Budget,
}

/// What decides beside the policy and the request.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    pub now: Duration,
    /// How often the request was sent again already.
    pub retries: u8,
    /// Whether a server is left that it was not sent to.
    pub has_other: bool,
    /// Uniformly random.
    pub dice: u64,
}

impl Policy {
    /// Whether a request that failed is sent again. What is, is paid for.
    pub fn judge(&self, now: Now, sent: Sent, cause: Cause, budget: &mut Budget) -> Verdict {
        // Where nothing was written, or a server hung up on an idle connection, what failed is a connection.
        let is_stale = sent.written == Written::OnIdle
            && cause == Cause::EmptyResponse
            && sent.method == Method::Idempotent;
        let is_unsent = sent.written == Written::Nothing;
        let is_refused = cause == Cause::Unprocessed;
        let is_safe = is_unsent || sent.method == Method::Idempotent || is_unprocessed(cause);
        let is_connection = cause == Cause::NotConnected || is_stale || is_unsent || is_refused;
        let cause = if is_connection { Cause::NotConnected } else { cause };
        if !self.on.names(cause) {
            return Verdict::No(Why::NotWorthIt);
        }
        if !is_safe {
            return Verdict::No(Why::Unsafe);
        }
        if sent.body == Body::Gone {
            return Verdict::No(Why::BodyGone);
        }
        if now.retries >= self.attempts {
            return Verdict::No(Why::Attempts);
        }
        if !budget.withdraw(now.now) {
            return Verdict::No(Why::Budget);
        }
        let wait = match (is_connection, now.has_other) {
            // The server is there: it has closed what was idle, and takes another.
            _ if is_stale => Duration::ZERO,
            _ if is_refused && !is_unsent => self.jitter(now),
            (true, true) => Duration::ZERO,
            (true, false) => self.same_server + self.jitter(now),
            (false, _) => self.jitter(now),
        };
        Verdict::Again { wait }
    }

    /// Full jitter: anything from nothing to `2^n - 1` times the back-off, n being the number of the retry.
    fn jitter(&self, now: Now) -> Duration {
        /// Envoy's `max_interval`, in back-offs.
        const MOST: u32 = 10;
        let times = 2u32.saturating_pow(u32::from(now.retries) + 1).saturating_sub(1).min(MOST);
        let most = self.backoff.saturating_mul(times);
        let nanos = (most.as_nanos() * u128::from(now.dice)) >> 64;
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

/// The server says itself that it has done nothing: RFC 9113 §8.7, RFC 8470 §5.2, RFC 9110 §15.5.20.
fn is_unprocessed(cause: Cause) -> bool {
    match cause {
        Cause::Unprocessed | Cause::Status(421 | 425) => true,
        Cause::NotConnected
        | Cause::EmptyResponse
        | Cause::JunkResponse
        | Cause::ResponseTimeout
        | Cause::Status(_) => false,
    }
}
