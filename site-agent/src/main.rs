//! `site-agent`: the balancer of one site.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Args, Parser, Subcommand, ValueEnum};
use common::config::Colour;
use common::notify::ServiceManager;
use common::{clock, duration, telemetry};
use site_agent::config::{self, Config};
use site_agent::run::Agent;
use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};
use tracing::info;

/// A stream of HTTP/2 is a task of some KB, for which the system's allocator looks long: 8 % of what a request costs.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Parser)]
#[command(name = "site-agent", version, about, disable_help_subcommand = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Balance until asked to end (SIGTERM, SIGINT). SIGHUP reads the config again, SIGUSR1 opens access logs again
    Run {
        #[command(flatten)]
        config: ConfigFile,
        #[arg(long, value_enum, default_value = "text")]
        log_format: LogFormat,
        /// Threads of the data path; one for each core if left out
        #[arg(long)]
        threads: Option<NonZeroUsize>,
        /// How long connections may go on after SIGTERM, such as 30s
        #[arg(long, value_name = "TIME", default_value = "30s")]
        grace: String,
    },
    /// Find every problem of the config, exit code 1 if there is one
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

#[derive(Clone, Copy, ValueEnum)]
enum LogFormat {
    Text,
    Json,
}

fn main() -> ExitCode {
    let Arguments { command } = Arguments::parse();
    let done = match command {
        Command::Run { config, log_format, threads, grace } => {
            run(&config, log_format, threads, &grace)
        }
        Command::Check { config } => Ok(check(&config)),
    };
    match done {
        Ok(code) => code,
        Err(error) => {
            eprintln!("site-agent: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn run(
    file: &ConfigFile,
    log_format: LogFormat,
    threads: Option<NonZeroUsize>,
    grace: &str,
) -> anyhow::Result<ExitCode> {
    match log_format {
        LogFormat::Text => telemetry::log_as_text()?,
        LogFormat::Json => telemetry::log_as_json()?,
    }
    let grace = duration::parse(grace).map_err(anyhow::Error::msg).context("--grace")?;
    let threads = match threads {
        Some(threads) => threads,
        None => {
            std::thread::available_parallelism().context("cannot count this machine's cores")?
        }
    };
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    runtime.block_on(async {
        // Heard from before the config is read: a SIGHUP meanwhile does not end the process.
        let mut hang_up = signal(SignalKind::hangup())?;
        let mut reopen = signal(SignalKind::user_defined1())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let Some(config) = load(file) else { return Ok(ExitCode::FAILURE) };
        warn(&config);
        let service_manager = ServiceManager::from_environment();
        let mut agent = Agent::start(config, threads.get()).await?;
        let (shown, version) = (agent.shown(), env!("CARGO_PKG_VERSION"));
        let (frontends, pools) = (shown.frontends.len(), shown.upstreams.len());
        let (config, admin) = (file.config.display(), agent.admin());
        let admin = admin.map(tracing::field::display);
        info!(version, %config, threads, frontends, pools, admin, "balancing");
        service_manager.ready("balancing");
        loop {
            tokio::select! {
                _ = terminate.recv() => break,
                _ = interrupt.recv() => break,
                _ = hang_up.recv() => agent.reload(),
                _ = reopen.recv() => agent.reopen_logs(),
                () = agent.turn() => return Ok(ExitCode::FAILURE),
            }
        }
        info!("asked to end");
        service_manager.stopping("waiting for connections to end");
        let asked_again = async {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        };
        agent.stop_unless(grace, asked_again).await;
        Ok(ExitCode::SUCCESS)
    })
}

fn check(file: &ConfigFile) -> ExitCode {
    let Some(config) = load(file) else { return ExitCode::FAILURE };
    warn(&config);
    for doubt in config.doubts(now()) {
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

fn warn(config: &Config) {
    let warnings = config.warnings_at(now());
    if !warnings.is_empty() {
        eprintln!("{}", warnings.render(Colour::Never));
    }
}

/// Unix time, in seconds.
fn now() -> i64 {
    i64::try_from(clock::unix_seconds()).unwrap_or(i64::MAX)
}

/// Shows every problem, if there is one.
fn load(file: &ConfigFile) -> Option<Config> {
    let read = config::load(&file.config);
    read.inspect_err(|problems| eprintln!("{}", problems.render(Colour::Never))).ok()
}
