//! Certificates that clients are shown, and what is to be told of them at some moment.
//!
//! check ─▶ Dated ─▶ warnings. The clock is the caller's.

use std::path::PathBuf;

use common::config::problems::{Problem, Severity, Spot};
use common::renewal::Stage;
use common::validity::Validity;
use jiff::Timestamp;

/// One that was read, and where it is asked for.
#[derive(Clone, Debug)]
pub struct Dated {
    pub file: PathBuf,
    pub spot: Spot,
    pub validity: Validity,
}

impl Dated {
    /// At that Unix time, in seconds. One that ends within a week, or sooner if it holds for less than a month, should
    /// have been renewed.
    pub fn warning(&self, now: i64) -> Option<Problem> {
        let Dated { file, spot, validity } = self;
        let (file, Validity { not_before, not_after }) = (file.display(), *validity);
        let at = |second| match Timestamp::from_second(second) {
            Ok(time) => time.to_string(),
            Err(_) => format!("the second {second}"),
        };
        let message = if now < not_before {
            let from = at(not_before);
            format!(
                "{file} holds from {from} on: until then clients refuse it; is the clock right?"
            )
        } else if now > not_after {
            format!(
                "{file} has ended at {}: clients refuse it; put the next one there",
                at(not_after)
            )
        } else if Stage::of(*validity, now) == Stage::Alarm {
            format!("{file} ends at {}, and nobody has renewed it", at(not_after))
        } else {
            return None;
        };
        Some(spot.problem(message).weighing(Severity::Warning))
    }
}
