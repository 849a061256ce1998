//! From what was written to what holds: defaults, ranges, paths.

use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use super::problems::Problem;
use super::read::At;

/// What is made of a key that may be left out: its default then, and `None` if it could not be
/// read, which has been told.
pub fn or<T, U>(
    read: Option<Option<T>>,
    default: U,
    check: impl FnOnce(T) -> Option<U>,
) -> Option<U> {
    match read? {
        Some(given) => check(given),
        None => Some(default),
    }
}

/// A number that is not too large or small.
pub fn within<T: TryFrom<i64>>(number: &At<i64>, range: RangeInclusive<i64>) -> Result<T, Problem> {
    let found = number.value;
    let fits = range.contains(&found).then(|| T::try_from(found).ok()).flatten();
    let (least, most) = range.into_inner();
    fits.ok_or_else(|| {
        number.spot.problem(format!("found {found}, expected a number from {least} to {most}"))
    })
}

/// A path as written, seen from the folder of the file it is written in.
pub fn path(written: &At<String>, dir: &Path) -> Result<PathBuf, Problem> {
    if written.value.is_empty() {
        return Err(written.spot.problem("is empty (expected a path)"));
    }
    Ok(dir.join(&written.value))
}
