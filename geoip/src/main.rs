//! The `geoip` tool: looks up, verifies and builds databases.

use std::process::ExitCode;

use clap::Parser;
use geoip::command::Command;

fn main() -> ExitCode {
    match Command::parse().run(&mut std::io::stdout().lock()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("geoip: {error:#}");
            ExitCode::FAILURE
        }
    }
}
