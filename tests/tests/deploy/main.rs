//! What operators take from `deploy/` and the guide: units, examples and the image, started, measured and compared.

#![expect(clippy::unwrap_used, reason = "what a test cannot go on without may as well end it")]

mod examples;
mod fleet;
mod guide;
mod image;
mod units;

use std::fs;

use gslb_tests::machine::checkout;

/// A file of this repository.
fn read(path: &str) -> String {
    fs::read_to_string(checkout().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}
