//! How a daemon gets its next certificate before the one it has ends.
//!
//! stage (is it time?) ─▶ Renewing::request ─▶ POST /v1/renew ─▶ (parked, signed by the CA) ─▶ Renewing::take ─▶ files
//!
//! `request`, `round` and `stage` are pure; `renewing` is the shell around a daemon's own files.

mod renewing;
mod request;
mod round;
#[cfg(test)]
mod tests;

pub use self::renewing::{RenewalError, Renewing};
pub use self::request::{Asked, LONGEST_ANSWER, LONGEST_REQUEST, PublicKey, RequestError, write};
pub use self::round::{Outcome, Round, Said, State};

use crate::validity::Validity;

/// Seconds before its end at which a certificate that nobody renews is alarming: seven days of thirty, and as
/// much of a shorter one.
const ALARMING: i64 = 7 * 86_400;

/// How near its end a certificate is.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Stage {
    Early,
    /// A third of its life is left: the next one is asked for.
    Due,
    /// The same, and somebody has to look why it does not come.
    Alarm,
}

impl Stage {
    pub fn of(validity: Validity, now: i64) -> Stage {
        let Validity { not_before, not_after } = validity;
        let life = not_after.saturating_sub(not_before);
        let left = not_after.saturating_sub(now);
        match () {
            () if left < ALARMING.min(life / 30 * 7) => Stage::Alarm,
            () if left <= life / 3 => Stage::Due,
            () => Stage::Early,
        }
    }
}
