//! Where logs go: standard error, one line an event, level and rooms by `GSLB_LOG`.

use std::io::stderr;

use tracing_subscriber::EnvFilter;

/// Filter directives, such as `info` or `gslb_dns::keeper=debug`.
const FILTER_VARIABLE: &str = "GSLB_LOG";

/// For people.
pub fn log_as_text() {
    tracing_subscriber::fmt().with_writer(stderr).with_env_filter(filter()).with_ansi(false).init();
}

/// For collectors: one JSON object a line.
pub fn log_as_json() {
    tracing_subscriber::fmt().json().with_writer(stderr).with_env_filter(filter()).init();
}

fn filter() -> EnvFilter {
    EnvFilter::try_from_env(FILTER_VARIABLE).unwrap_or_else(|_| EnvFilter::new("info"))
}
