//! `site-agent`: the balancer of one site.

use std::io;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use anyhow::Context as _;
use clap::{Args, Parser, Subcommand, ValueEnum};
use common::config::Colour;
use common::notify::ServiceManager;
use common::{clock, duration, telemetry};
use site_agent::config::{self, Config};
use site_agent::keepalived_files;
use site_agent::routers::realtime;
use site_agent::run::Agent;
use site_agent::site::Redundancy;
use site_agent::vrrp_doctor;
use site_agent::vrrp_findings::facts::Standing;
use site_agent::vrrp_scan;
use site_agent::vrrp_service::status::{RouterStatus, Status};
use site_agent::vrrp_service::{Daemon, desk, privileges};
use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};
use tracing::info;

/// In which another box leads after a hand-over: its skew, of a second at most, and what it takes to be heard.
const HANDED_OVER_WITHIN: Duration = Duration::from_secs(5);
/// Between two looks at that.
const LOOK: Duration = Duration::from_millis(50);

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
    /// Make a site.toml of another program's configuration, on standard output. What could not be carried over is told on
    /// standard error, exit code 1 if there is any
    Import {
        /// Its keepalived.conf
        #[arg(long, value_name = "FILE")]
        keepalived: PathBuf,
        /// Which box this is, where lines begin with @: what keepalived is given with -i
        #[arg(long, value_name = "NAME")]
        config_id: Option<String>,
    },
    /// The site's addresses, of which one box of a pair has each: a service of its own
    Vrrp {
        #[command(subcommand)]
        command: VrrpCommand,
    },
}

#[derive(Subcommand)]
enum VrrpCommand {
    /// Run all virtual routers until asked to end (SIGTERM, SIGINT). SIGHUP reads the config again
    Run {
        #[command(flatten)]
        config: ConfigFile,
        #[arg(long, value_enum, default_value = "text")]
        log_format: LogFormat,
    },
    /// Show who has the addresses and what became of it lately, exit code 1 if the service does not run
    Status {
        #[command(flatten)]
        config: ConfigFile,
        /// All of it, for tools
        #[arg(long)]
        json: bool,
    },
    /// Have another box take the addresses of a virtual router, and keep them
    HandOver {
        router: String,
        #[command(flatten)]
        config: ConfigFile,
    },
    /// Listen on the link and show whose adverts are there: needs CAP_NET_RAW, and neither a config nor the service
    Scan {
        /// Where to listen; at every Ethernet interface that is up, if left out
        #[arg(long, value_name = "NAME")]
        interface: Vec<String>,
        /// For how long, such as 10s: at least three intervals of the slowest
        #[arg(long = "for", value_name = "TIME", default_value = "5s")]
        time: String,
        /// All of it, for tools
        #[arg(long)]
        json: bool,
    },
    /// Look at this box and listen to its link for what keeps pairs from working, exit code 1 if there is a problem:
    /// needs CAP_NET_RAW
    Doctor {
        #[command(flatten)]
        config: ConfigFile,
        /// All of it, for tools
        #[arg(long)]
        json: bool,
    },
    /// Go by configured priorities again, after a hand-over
    TakeBack {
        router: String,
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
        Command::Import { keepalived, config_id } => import(&keepalived, config_id.as_deref()),
        Command::Vrrp { command } => vrrp(command),
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
    log_as(log_format)?;
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

fn log_as(format: LogFormat) -> anyhow::Result<()> {
    match format {
        LogFormat::Text => telemetry::log_as_text()?,
        LogFormat::Json => telemetry::log_as_json()?,
    }
    Ok(())
}

fn vrrp(command: VrrpCommand) -> anyhow::Result<ExitCode> {
    match command {
        VrrpCommand::Run { config, log_format } => run_vrrp(config, log_format),
        VrrpCommand::Status { config, json } => {
            let Some(answer) = ask(&config, "status")? else { return Ok(ExitCode::FAILURE) };
            match json {
                true => print!("{answer}"),
                false => print!("{}", serde_json::from_str::<Status>(&answer)?.lines()),
            }
            Ok(ExitCode::SUCCESS)
        }
        VrrpCommand::Scan { interface, time, json } => scan(&interface, &time, json),
        VrrpCommand::Doctor { config, json } => doctor(&config, json),
        VrrpCommand::HandOver { router, config } => hand_over(&config, &router),
        VrrpCommand::TakeBack { router, config } => take_back(&config, &router),
    }
}

fn scan(interfaces: &[String], time: &str, json: bool) -> anyhow::Result<ExitCode> {
    let time = duration::parse(time).map_err(anyhow::Error::msg).context("--for")?;
    let told = vrrp_scan::scan(interfaces, time)?;
    match json {
        true => println!("{}", serde_json::to_string(&told)?),
        false => print!("{}", told.lines()),
    }
    Ok(ExitCode::SUCCESS)
}

fn doctor(file: &ConfigFile, json: bool) -> anyhow::Result<ExitCode> {
    let Some(redundancy) = load_redundancy(file) else { return Ok(ExitCode::FAILURE) };
    // Whether somebody answers there it finds out itself.
    let status = said(&redundancy.service.socket, "status").ok();
    let status = status.and_then(|status| serde_json::from_str::<Status>(&status).ok());
    let running = status.map_or(vec![], |status| status.routers);
    let standing = |RouterStatus { name, fault, yields, .. }| Standing { name, fault, yields };
    let report = vrrp_doctor::examine(&redundancy, running.into_iter().map(standing).collect())?;
    match json {
        true => println!("{}", serde_json::to_string(&report)?),
        false => print!("{}", report.lines()),
    }
    Ok(if report.has_problem() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn run_vrrp(file: ConfigFile, log_format: LogFormat) -> anyhow::Result<ExitCode> {
    log_as(log_format)?;
    let Some(redundancy) = load_redundancy(&file) else { return Ok(ExitCode::FAILURE) };
    // While there is one thread, whose class and capabilities all others have.
    let in_real_time = realtime::take();
    privileges::keep_two()?;
    let runtime = Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut hang_up = signal(SignalKind::hangup())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let service_manager = ServiceManager::from_environment();
        let mut daemon = Daemon::start(file.config, redundancy, in_real_time).await?;
        info!("virtual routers run");
        service_manager.ready("virtual routers run");
        loop {
            tokio::select! {
                _ = terminate.recv() => break,
                _ = interrupt.recv() => break,
                _ = hang_up.recv() => daemon.reload(),
                () = daemon.turn() => return Ok(ExitCode::FAILURE),
            }
        }
        info!("asked to end");
        service_manager.stopping("giving the addresses back");
        daemon.stop().await;
        Ok(ExitCode::SUCCESS)
    })
}

fn load_redundancy(file: &ConfigFile) -> Option<Redundancy> {
    let read = config::load_redundancy(&file.config);
    let (redundancy, warnings) =
        read.inspect_err(|problems| eprintln!("{}", problems.render(Colour::Never))).ok()?;
    if !warnings.is_empty() {
        eprintln!("{}", warnings.render(Colour::Never));
    }
    Some(redundancy)
}

/// What a running service says to a line. `None` after an error, which has been shown.
fn ask(file: &ConfigFile, line: &str) -> anyhow::Result<Option<String>> {
    let read = config::load_service_socket(&file.config);
    let read = read.inspect_err(|problems| eprintln!("{}", problems.render(Colour::Never)));
    let Ok(socket) = read else { return Ok(None) };
    let answer = said(&socket, line).with_context(|| {
        format!("cannot ask at {}: does `site-agent vrrp run` run?", socket.display())
    });
    match answer {
        Ok(answer) if answer.starts_with("error: ") => {
            eprint!("site-agent: {answer}");
            Ok(None)
        }
        Ok(answer) => Ok(Some(answer)),
        Err(error) => {
            eprintln!("site-agent: {error:#}");
            Ok(None)
        }
    }
}

fn said(socket: &Path, line: &str) -> io::Result<String> {
    Builder::new_current_thread().enable_all().build()?.block_on(desk::ask(socket, line))
}

/// How a virtual router is now.
fn standing(file: &ConfigFile, router: &str) -> anyhow::Result<Option<RouterStatus>> {
    let Some(answer) = ask(file, "status")? else { return Ok(None) };
    let Status { routers, .. } = serde_json::from_str(&answer)?;
    Ok(routers.into_iter().find(|known| known.name == router))
}

/// Says what came of it: who leads then, if anybody does.
fn hand_over(file: &ConfigFile, router: &str) -> anyhow::Result<ExitCode> {
    if ask(file, &format!("hand-over {router}"))?.is_none() {
        return Ok(ExitCode::FAILURE);
    }
    let begin = clock::monotonic();
    while clock::monotonic() < begin + HANDED_OVER_WITHIN {
        match standing(file, router)? {
            None => return Ok(ExitCode::FAILURE),
            Some(RouterStatus { role, yields: false, .. }) if role == "active" => {
                println!("{router}: nobody else took its addresses, so this box has them again");
                return Ok(ExitCode::FAILURE);
            }
            Some(RouterStatus { leader: Some(leader), .. }) => {
                println!("{router}: {} leads, with {}", leader.address, leader.priority);
                return Ok(ExitCode::SUCCESS);
            }
            Some(_) => thread::park_timeout(LOOK),
        }
    }
    println!("{router}: yields, and nobody is heard to lead yet: see `site-agent vrrp status`");
    Ok(ExitCode::FAILURE)
}

fn take_back(file: &ConfigFile, router: &str) -> anyhow::Result<ExitCode> {
    let before = standing(file, router)?;
    if ask(file, &format!("take-back {router}"))?.is_none() {
        return Ok(ExitCode::FAILURE);
    }
    match before {
        Some(RouterStatus { yields: false, .. }) => println!("{router}: it did not yield"),
        Some(RouterStatus { leader: Some(leader), priority, .. }) if leader.priority < priority => {
            println!(
                "{router}: goes by priorities again. {} leads with less ({}), and goes on where `preempt` is \"never\": hand over \
                 there to have the addresses here",
                leader.address, leader.priority
            );
        }
        Some(_) | None => println!("{router}: goes by priorities again"),
    }
    Ok(ExitCode::SUCCESS)
}

fn check(file: &ConfigFile) -> ExitCode {
    if config::is_of_routers_alone(&file.config) {
        let Some(redundancy) = load_redundancy(file) else { return ExitCode::FAILURE };
        let count = redundancy.routers.len();
        println!("{}: good: virtual routers: {count}, and no balancer", file.config.display());
        return ExitCode::SUCCESS;
    }
    let Some(config) = load(file) else { return ExitCode::FAILURE };
    warn(&config);
    for doubt in config.doubts(now()) {
        eprintln!("warning: {doubt}");
    }
    let site = &config.site;
    let routers = match site.redundancy.routers.len() {
        0 => String::new(),
        count => format!(", virtual routers: {count}"),
    };
    println!(
        "{}: good: frontends: {}, pools: {}, servers: {}{routers}",
        file.config.display(),
        site.frontends.len(),
        site.pools.len(),
        site.pools.iter().map(|pool| pool.servers.len()).sum::<usize>()
    );
    ExitCode::SUCCESS
}

fn import(file: &Path, config_id: Option<&str>) -> anyhow::Result<ExitCode> {
    let import = keepalived_files::import(file, config_id)?;
    for remark in &import.remarks {
        eprintln!("{remark}");
    }
    eprintln!("{}", import.counted());
    print!("{}", import.text);
    Ok(if import.is_whole() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
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
