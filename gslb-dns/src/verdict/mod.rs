//! Whether a target serves, judged from what vantages saw of it, by a quorum that the operator states.
//!
//! evidence ─▶ row (whose word counts) ─▶ tally (a vote for each failure domain) ─▶ quorum ─▶ cap (what is acted on)
//!
//! Pure. Too little evidence holds the last verdict: to lose our probers must not take a site out.

pub mod cap;
pub mod quorum;
pub mod row;
pub mod tally;

use std::fmt;

use serde::{Deserialize, Serialize};

/// What one vantage says of one target now. Silence, blindness and distrust are all `None`.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub enum Evidence {
    Up,
    /// Up, and slower than it was.
    Slow,
    Down,
    #[default]
    None,
}

/// What is taken for true of a target.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Nobody ever knew.
    #[default]
    Unknown,
    Up,
    Slow,
    Down,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Verdict::Unknown => "unknown",
            Verdict::Up => "up",
            Verdict::Slow => "slow",
            Verdict::Down => "down",
        })
    }
}

/// 0 to 1 in millionths: what operators write as 0.6 is compared without rounding.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Share(u32);

impl Share {
    pub const NONE: Share = Share(0);
    pub const ONE: Share = Share(1_000_000);

    /// `None` outside 0 to 1; the nearest millionth.
    pub fn new(share: f64) -> Option<Share> {
        (0.0..=1.0).contains(&share).then(|| Share((share * 1e6).round() as u32))
    }

    /// Whether `part` of `whole` is at least this share.
    pub fn is_reached(self, part: u64, whole: u64) -> bool {
        u128::from(part) * u128::from(Share::ONE.0) >= u128::from(whole) * u128::from(self.0)
    }

    /// This share of an amount.
    pub fn of(self, amount: f64) -> f64 {
        amount * f64::from(self.0) / f64::from(Share::ONE.0)
    }

    /// Whether this and another are more than everything together.
    pub fn exceed_all_with(self, other: Share) -> bool {
        self.0 + other.0 > Share::ONE.0
    }
}
