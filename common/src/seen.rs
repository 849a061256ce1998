//! What came of one look. Made by `look`, judged by whoever looks.

use crate::report::{Phases, Reason};

const SECONDS_IN_DAY: i64 = 86_400;

#[derive(Clone, Debug, PartialEq)]
pub struct Seen {
    pub outcome: Result<(), Failure>,
    pub phases: Phases,
    /// When the server's certificate ends, in Unix seconds, whether or not it is a good one.
    pub not_after: Option<i64>,
    /// Of HTTP's answer, whether or not it is a good one.
    pub status: Option<u16>,
}

/// Why a look failed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Failure {
    pub reason: Reason,
    /// For people: what was found, and what was expected.
    pub detail: String,
}

impl Seen {
    /// Whole days for which the server's certificate is still good; below 0 when it is no more.
    pub fn cert_days(&self, now: i64) -> Option<i64> {
        self.not_after.map(|not_after| (not_after - now).div_euclid(SECONDS_IN_DAY))
    }

    /// That the probe itself could not look, which says nothing of the target.
    pub fn unseen(detail: impl Into<String>) -> Seen {
        let failure = Failure::new(Reason::Probe, detail);
        Seen { outcome: Err(failure), phases: Phases::default(), not_after: None, status: None }
    }

    /// Why, if it failed.
    pub fn reason(&self) -> Option<Reason> {
        self.outcome.as_ref().err().map(|failure| failure.reason)
    }
}

impl Failure {
    pub fn new(reason: Reason, detail: impl Into<String>) -> Failure {
        Failure { reason, detail: detail.into() }
    }
}
