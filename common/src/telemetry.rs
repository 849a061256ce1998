//! Where logs go: standard error, one line an event, level and rooms by `GSLB_LOG`.

use std::env;
use std::fs::File;
use std::io::stderr;
use std::sync::Arc;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

/// Levels, such as `info`, or `gslb_dns::keeper=debug,info`; rooms of `probe` begin with `probe::`.
const FILTER_VARIABLE: &str = "GSLB_LOG";
const DEFAULT: &str = "info";
/// What QUIC's library would log, strangers cause, and it has their addresses; unless somebody asks for it.
const QUIET: &str = "quinn=off";

#[derive(Debug, Eq, PartialEq, thiserror::Error)]
pub enum FilterError {
    #[error(
        "{FILTER_VARIABLE}: {0:?} is no level (levels: off, error, warn, info, debug, trace; one for all, \
         or for a room as in gslb_dns::keeper=debug)"
    )]
    Level(String),
    #[error(
        "{FILTER_VARIABLE}: {0:?} is no filter; expected one such as gslb_dns::keeper=debug,info"
    )]
    Filter(String),
}

/// For people.
pub fn log_as_text() -> Result<(), FilterError> {
    let filter = from_environment()?;
    tracing_subscriber::fmt().with_writer(stderr).with_env_filter(filter).with_ansi(false).init();
    Ok(())
}

/// For people, into a file. Daemons that are one process are told apart by the names of their threads.
pub fn log_as_text_to(file: File) -> Result<(), FilterError> {
    let filter = from_environment()?;
    let log = tracing_subscriber::fmt().with_writer(Arc::new(file)).with_thread_names(true);
    log.with_env_filter(filter).with_ansi(false).init();
    Ok(())
}

/// For collectors: one JSON object a line.
pub fn log_as_json() -> Result<(), FilterError> {
    let filter = from_environment()?;
    tracing_subscriber::fmt().json().with_writer(stderr).with_env_filter(filter).init();
    Ok(())
}

fn from_environment() -> Result<EnvFilter, FilterError> {
    match env::var_os(FILTER_VARIABLE) {
        Some(text) if !text.is_empty() => filter(&text.to_string_lossy()),
        Some(_) | None => filter(DEFAULT),
    }
}

/// A word alone is a level here. The library takes a misspelt one for the name of a room, and then says
/// nothing of all the others.
fn filter(text: &str) -> Result<EnvFilter, FilterError> {
    // Nor does it take the spaces that people write after commas.
    let directives: Vec<&str> = text.split(',').map(str::trim).collect();
    for directive in &directives {
        let level = directive.rsplit_once('=').map_or(*directive, |(_, level)| level);
        if level.parse::<LevelFilter>().is_err() {
            return Err(FilterError::Level(level.to_owned()));
        }
    }
    EnvFilter::try_new(format!("{QUIET},{}", directives.join(",")))
        .map_err(|_| FilterError::Filter(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Result<(), FilterError>) {
        assert_eq!(filter(text).map(drop), expected, "{text}");
    }

    #[test]
    fn what_strangers_cause_in_quic_is_not_logged() {
        let check = |text: &str, expected: &str| {
            let shown = filter(text).unwrap().to_string();
            assert!(shown.split(',').any(|directive| directive == expected), "{shown}");
        };
        check("debug", "quinn=off");
        check("quinn=debug,info", "quinn=debug");
        check("info", "info");
    }

    #[test]
    fn a_misspelt_level_is_told() {
        check("info", Ok(()));
        check("gslb_dns::keeper=debug,warn", Ok(()));
        check("OFF", Ok(()));
        check(" info ", Ok(()));
        check("info, gslb_dns::admin=debug", Ok(()));
        check("inof", Err(FilterError::Level("inof".into())));
        check("gslb_dns=debgu", Err(FilterError::Level("debgu".into())));
        check("gslb_dns::keeper", Err(FilterError::Level("gslb_dns::keeper".into())));
        check("[=info", Err(FilterError::Filter("[=info".into())));
    }
}
