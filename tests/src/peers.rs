//! Tests that need a program of somebody else's: left out, and said so, where it is not installed.

/// Where this is set, nothing is left out: a test whose peer is missing fails instead.
pub const REQUIRE_PEERS: &str = "GSLB_REQUIRE_PEERS";

/// Whether to leave a test out, for what it needs and is not there. Prints what that is; panics if
/// `GSLB_REQUIRE_PEERS` is set.
///
/// ```no_run
/// # use gslb_tests::{gdnsd, internet, peers};
/// if peers::missing(gdnsd::missing().into_iter().chain(internet::missing())) {
///     return;
/// }
/// ```
pub fn missing(what: impl IntoIterator<Item = &'static str>) -> bool {
    let what: Vec<&str> = what.into_iter().collect();
    if what.is_empty() {
        return false;
    }
    let what = what.join(", ");
    assert!(std::env::var_os(REQUIRE_PEERS).is_none(), "{what}, and {REQUIRE_PEERS} is set");
    eprintln!("skipped: {what}");
    true
}
