//! `gslb-dns`: arguments, config, run, exit code.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::{Args, Parser, Subcommand, ValueEnum};
use gslb_dns::clock::now;
use gslb_dns::config::{self, Colour, Config, Prepared, Problems};
use gslb_dns::explain::{self, Format, Request, RequestWords};
use gslb_dns::keeper::{Beliefs, Reread};
use gslb_dns::run::{HangUp, Server, Shell};
use gslb_dns::snapshot::{Groundwork, Snapshot};
use gslb_dns::{admin, certificates, telemetry};

/// Authoritative DNS that answers with the sites fit to serve the client asking.
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Answer queries until asked to end.
    Run {
        #[command(flatten)]
        config: ConfigFile,
        #[arg(long, value_enum, default_value = "text")]
        log_format: LogFormat,
    },
    /// Find every problem of the config, its world, zones and databases; exit code 1 if there is one.
    Check {
        #[command(flatten)]
        config: ConfigFile,
    },
    /// Say why a client is answered as it is.
    Explain {
        /// Such as www.example.com
        name: String,
        /// Record type
        #[arg(default_value = "A")]
        qtype: String,
        /// For a query with this EDNS client subnet, such as 81.2.69.0/24
        #[arg(long)]
        client: Option<String>,
        /// For a query from this resolver; it counts where no client subnet is given or none is believed
        #[arg(long)]
        resolver: Option<String>,
        /// up=, down=, unknown=, drained= or undrained= and a site or pattern, such as down=fra
        #[arg(long)]
        suppose: Vec<String>,
        /// At this instant, such as 2026-11-21T09:30:00Z; now if left out
        #[arg(long)]
        at: Option<String>,
        /// One JSON object, for programs
        #[arg(long)]
        json: bool,
        /// Ask the running server at this admin address instead of reading the config
        #[arg(long, value_name = "ADDRESS:PORT", conflicts_with = "config")]
        server: Option<String>,
        #[command(flatten)]
        config: ConfigFile,
    },
}

#[derive(Args)]
struct ConfigFile {
    /// node.toml of this name server
    #[arg(long, default_value = "/etc/gslb-dns/node.toml")]
    config: PathBuf,
}

#[derive(Clone, Copy, ValueEnum)]
enum LogFormat {
    Text,
    Json,
}

fn main() -> ExitCode {
    match command(Cli::parse().command) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("gslb-dns: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn command(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Run { config, log_format } => {
            match log_format {
                LogFormat::Text => telemetry::log_as_text()?,
                LogFormat::Json => telemetry::log_as_json()?,
            }
            let shell = Shell::open()?;
            let Some(prepared) = load(&config) else {
                return Ok(ExitCode::FAILURE);
            };
            let mut server = Server::start(shell, prepared)?;
            server.wait_for_signal(HangUp::Reload);
            Ok(ExitCode::SUCCESS)
        }
        Command::Check { config } => {
            let Some(Prepared { node, ground, tests, .. }) = load(&config) else {
                return Ok(ExitCode::FAILURE);
            };
            for doubt in certificates::doubts(&node, now()) {
                eprintln!("warning: {doubt}");
            }
            let world = &ground.world;
            let (zones, services, epoch) = (world.zones.len(), world.services.len(), world.epoch);
            say(&format!(
                "no problems: zones {zones}, services {services}, policy tests {tests}, epoch {epoch}\n"
            ))?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Explain { name, qtype, client, resolver, suppose, at, json, server, config } => {
            let words = RequestWords { name, qtype, client, resolver, at, suppose };
            let format = if json { Format::Json } else { Format::Text };
            let text = match server {
                Some(server) => admin::client::explain(&server, &words, format)?,
                None => explain_from_files(&config, &words, format)?,
            };
            say(&text)?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// Shows every problem, if there is one.
fn load(file: &ConfigFile) -> Option<Prepared> {
    told(config::load(&file.config).and_then(Config::prepare))
}

fn told<T>(read: Result<T, Problems>) -> Option<T> {
    read.inspect_err(|problems| eprintln!("{}", problems.render(Colour::Never))).ok()
}

fn explain_from_files(
    file: &ConfigFile,
    words: &RequestWords,
    format: Format,
) -> anyhow::Result<String> {
    let request = Request::parse(words, now())?;
    // Without its policy tests: one that fails sends people here.
    let Some(Config { node, world, .. }) = told(config::load(&file.config)) else {
        bail!("the config has problems, so nothing can be explained from it");
    };
    let (beliefs, reread) = Beliefs::read(&node);
    if let Reread::Refused(why) | Reread::Lost(why) = reread {
        bail!("{why}");
    }
    let ground = Groundwork::new(world);
    let board = beliefs.board(1, &ground, request.at);
    let explanation = explain::explain(&Snapshot::new(ground.into(), board), &node.name, &request);
    Ok(explanation.render(format)?)
}

/// Prints; a reader who has gone away is an error, not a panic.
fn say(text: &str) -> anyhow::Result<()> {
    std::io::stdout().write_all(text.as_bytes()).context("cannot write to standard output")
}
