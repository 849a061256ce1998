//! Numbers, times and shares within what makes sense.

use std::num::NonZeroU32;
use std::ops::RangeInclusive;
use std::time::Duration;

use common::config::problems::Problem;
use common::config::read::At;
use common::config::settle::{or, within};
use common::duration;

use super::Judge;
use crate::site::Share;

const SHORTEST: Duration = Duration::from_millis(1);
/// A connection may be idle for long: nobody means more than this.
const LONGEST: Duration = Duration::from_secs(30 * 86_400);

/// What may be left out: `None` if anything is wrong with it, which has been told.
pub type Given<T> = Option<Option<At<T>>>;

/// A time that is not 0.
pub fn time(written: &At<Duration>) -> Result<Duration, Problem> {
    time_within(written, SHORTEST..=LONGEST)
}

pub fn time_within(
    written: &At<Duration>,
    range: RangeInclusive<Duration>,
) -> Result<Duration, Problem> {
    if range.contains(&written.value) {
        return Ok(written.value);
    }
    let (least, most) = range.into_inner();
    Err(written.spot.problem(format!(
        "found {}, expected {} to {}",
        duration::shown(written.value),
        duration::shown(least),
        duration::shown(most)
    )))
}

pub fn time_or(
    given: &Given<Duration>,
    default: Duration,
    judge: &mut Judge<'_>,
) -> Option<Duration> {
    match given.as_ref()? {
        Some(written) => judge.one(time(written)),
        None => Some(default),
    }
}

pub fn share(written: &At<f64>) -> Result<Share, Problem> {
    Share::new(written.value).ok_or_else(|| {
        written.spot.problem(format!("found {}, expected a share from 0 to 1", written.value))
    })
}

pub fn share_or(given: Given<f64>, default: Share, judge: &mut Judge<'_>) -> Option<Share> {
    or(given, default, |written| judge.one(share(&written)))
}

/// A number that is not 0.
pub fn count_or(
    given: Given<i64>,
    default: NonZeroU32,
    most: i64,
    judge: &mut Judge<'_>,
) -> Option<NonZeroU32> {
    or(given, default, |written| {
        let count: u32 = judge.one(within(&written, 1..=most))?;
        NonZeroU32::new(count)
    })
}

/// The same without a default.
pub fn count(given: Given<i64>, most: i64, judge: &mut Judge<'_>) -> Option<Option<NonZeroU32>> {
    or(given, None, |written| {
        let count: u32 = judge.one(within(&written, 1..=most))?;
        Some(NonZeroU32::new(count))
    })
}

/// Why the end of a half-closed connection cannot be later than that of an idle one.
pub const NEVER: &str = "so it never ends anything";

/// That one of two times is longer than it can be beside the other: told where it is written.
pub fn not_longer(
    (given, time): (&Given<Duration>, Option<Duration>),
    (other, limit): (&str, Option<Duration>),
    why: &str,
    judge: &mut Judge<'_>,
) {
    let (Some(Some(written)), Some(time), Some(limit)) = (given, time, limit) else { return };
    if time > limit {
        let (time, limit) = (duration::shown(time), duration::shown(limit));
        let message = format!("{time} is longer than {other} {limit}, {why}");
        judge.problems.add(written.spot.problem(message));
    }
}
