//! `site-agent`: the balancer of one site.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use common::clock;
use common::config::Colour;
use site_agent::config::{self, Config};

#[derive(Parser)]
#[command(name = "site-agent", version, about, disable_help_subcommand = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Find every problem of the config, exit code 1 if there is one.
    Check {
        #[command(flatten)]
        config: ConfigFile,
    },
}

#[derive(Args)]
struct ConfigFile {
    /// The site's site.toml
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
}

fn main() -> ExitCode {
    let Arguments { command } = Arguments::parse();
    match command {
        Command::Check { config } => check(&config),
    }
}

fn check(file: &ConfigFile) -> ExitCode {
    let Some(config) = load(file) else { return ExitCode::FAILURE };
    if !config.warnings.is_empty() {
        eprintln!("{}", config.warnings.render(Colour::Never));
    }
    for doubt in config.doubts(i64::try_from(clock::unix_seconds()).unwrap_or(i64::MAX)) {
        eprintln!("warning: {doubt}");
    }
    let site = &config.site;
    println!(
        "{}: good: frontends: {}, pools: {}, servers: {}",
        file.config.display(),
        site.frontends.len(),
        site.pools.len(),
        site.pools.iter().map(|pool| pool.servers.len()).sum::<usize>()
    );
    ExitCode::SUCCESS
}

/// Shows every problem, if there is one.
fn load(file: &ConfigFile) -> Option<Config> {
    let read = config::load(&file.config);
    read.inspect_err(|problems| eprintln!("{}", problems.render(Colour::Never))).ok()
}
