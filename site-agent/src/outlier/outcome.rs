//! What can come of a request, and which of it speaks against the server.

use std::fmt;

/// What came of one request, or of one connection, to a server.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Outcome {
    /// A connection stands.
    Connected,
    /// It could not be made in time, or its TLS handshake failed.
    NotConnected,
    /// A response with this status.
    Answered(u16),
    /// The response did not come in time.
    TimedOut,
    /// The connection ended before the response.
    Closed,
    /// What came was no response.
    Junk,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Outcome::Connected => f.write_str("connected"),
            Outcome::NotConnected => f.write_str("no connection"),
            Outcome::Answered(status) => write!(f, "status {status}"),
            Outcome::TimedOut => f.write_str("no response in time"),
            Outcome::Closed => f.write_str("hung up without a response"),
            Outcome::Junk => f.write_str("no response that can be read"),
        }
    }
}

/// Which outcomes are errors.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Counts {
    /// HAProxy's `observe layer4`: only whether connections stand. For TCP.
    Connections,
    /// Envoy's `consecutive_gateway_failure`: 502, 503, 504, and that no response came.
    Gateway,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Judged {
    Error,
    Success,
    Nothing,
}

impl Counts {
    pub fn judge(self, outcome: Outcome) -> Judged {
        let is_error = |is_error| if is_error { Judged::Error } else { Judged::Success };
        match (self, outcome) {
            (_, Outcome::NotConnected) => Judged::Error,
            (Counts::Connections, Outcome::Connected) => Judged::Success,
            (
                Counts::Connections,
                Outcome::Answered(_) | Outcome::TimedOut | Outcome::Closed | Outcome::Junk,
            ) => Judged::Nothing,
            // That it stands says nothing of what will come over it.
            (Counts::Gateway, Outcome::Connected) => Judged::Nothing,
            (Counts::Gateway, Outcome::TimedOut | Outcome::Closed | Outcome::Junk) => Judged::Error,
            (Counts::Gateway, Outcome::Answered(status)) => is_error((502..=504).contains(&status)),
        }
    }
}
