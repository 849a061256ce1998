//! Whether a target that is up is slower than it was.
//!
//! What a look took (connecting, TLS and the first octet together) is smoothed: each counts a quarter. The baseline is
//! the median of the first eight looks, and from then on moves by a 128th towards what is seen. A look is slow where
//! the smoothed time is beyond twice the baseline, and beyond the baseline and 50 ms; it is not, once that time is
//! nearer to the baseline than to this limit; in between it says neither. `fall` slow ones make the target slow, `rise`
//! others end that. While it is slow, or may be becoming it, the baseline does not learn: what lasts is not thereby
//! normal. It is forgotten with the process.

use std::time::Duration;

use common::streak::{Outcome, State, Streak, Thresholds};

/// Looks that the first baseline is made of.
const FIRST: usize = 8;
/// How much one look counts for the smoothed time, and for the baseline.
const SMOOTHING: f64 = 1.0 / 4.0;
const LEARNING: f64 = 1.0 / 128.0;
/// Nobody notices less.
const LEAST: f64 = 50.0;

#[derive(Clone, Debug)]
pub struct Pace {
    thresholds: Thresholds,
    /// Of the first looks, until there is a baseline. All times in milliseconds.
    first: Vec<f64>,
    baseline: Option<f64>,
    smoothed: Option<f64>,
    streak: Streak,
}

impl Pace {
    pub fn new(thresholds: Thresholds, now: Duration) -> Pace {
        let streak = Streak::new(thresholds, now);
        let (first, baseline, smoothed) = (Vec::new(), None, None);
        Pace { thresholds, first, baseline, smoothed, streak }
    }

    /// Keeps the baseline alone: the target was down, or comes up.
    pub fn begin_anew(&mut self, now: Duration) {
        self.streak = Streak::new(self.thresholds, now);
        self.smoothed = None;
    }

    pub fn is_slow(&self) -> bool {
        self.streak.state() == State::Down
    }

    /// Takes what a look that succeeded took, in milliseconds.
    pub fn take(&mut self, now: Duration, took: f64) {
        let smoothed = self.smoothed.map_or(took, |before| before + (took - before) * SMOOTHING);
        self.smoothed = Some(smoothed);
        let Some(baseline) = self.baseline else {
            self.first.push(took);
            if self.first.len() == FIRST {
                let mut first = std::mem::take(&mut self.first);
                first.sort_by(f64::total_cmp);
                self.baseline = Some(f64::midpoint(first[FIRST / 2 - 1], first[FIRST / 2]));
            }
            return;
        };
        let limit = (2.0 * baseline).max(baseline + LEAST);
        let outcome = if smoothed > limit {
            Outcome::Failure
        } else if smoothed <= f64::midpoint(baseline, limit) {
            Outcome::Success
        } else {
            return;
        };
        self.streak.on_result(now, outcome);
        if !self.is_slow() && !self.streak.is_in_doubt() {
            // No single look, however long, moves it far.
            self.baseline = Some(baseline + (took.min(limit) - baseline) * LEARNING);
        }
    }
}
