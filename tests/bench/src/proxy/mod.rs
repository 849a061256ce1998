//! What the balancer costs, beside HAProxy and nginx before the same servers.
//!
//! backend ─▶ peers ─▶ client, h2load, handshakes (answer) ─▶ work ─▶ table
//! backend ─▶ peers ─▶ client ─▶ crowd, reloads

mod answer;
mod backend;
mod client;
mod crowd;
mod h2load;
mod handshakes;
mod peers;
mod reloads;
mod work;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, ensure};
use clap::Args;

use self::client::Pace;
use self::peers::Programs;
use self::work::{Bench, Method, Work};
use crate::cpu::{self, Cores};
use crate::interrupt::Interrupt;
use crate::{Loop, table};

#[derive(Args)]
pub struct Costs {
    /// Rounds; in each every proxy has its turn. Below 11 no budget is judged.
    #[arg(long, default_value_t = 21, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Seconds that a proxy is measured for in each round.
    #[arg(long, default_value_t = 0.5)]
    seconds: f64,
    /// Only these works.
    #[arg(long, value_delimiter = ',')]
    work: Vec<Work>,
    /// Closed: CPU of a busy proxy. Open: waiting times of `keepalive` at a rate.
    #[arg(long, value_enum, default_value_t = Loop::Closed)]
    load: Loop,
    /// Of clients; h2load has its own.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=1000))]
    connections: u32,
    /// Requests per second of the open loop.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..))]
    rate: u64,
    /// Seed of resamples.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Another site-agent, such as one built before a change: measured in the same rounds, and judged by nobody.
    #[arg(long, value_name = "PROGRAM")]
    against: Option<PathBuf>,
}

#[derive(Args)]
pub struct Idle {
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=80_000))]
    connections: u32,
}

#[derive(Args)]
pub struct Crowd {
    /// Connections that have asked once.
    #[arg(long, default_value_t = 50_000, value_parser = clap::value_parser!(u32).range(..=60_000))]
    idle: u32,
    /// Connections that ask again as soon as they are answered.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=20_000))]
    active: u32,
    /// For which they ask.
    #[arg(long, default_value_t = 10.0)]
    seconds: f64,
}

#[derive(Args)]
pub struct Reloads {
    /// In all.
    #[arg(long, default_value_t = 600.0)]
    seconds: f64,
    /// Seconds between two reloads.
    #[arg(long, default_value_t = 5.0)]
    every: f64,
}

/// CPU of each unit of work, as a ratio.
pub fn costs(options: &Costs) -> anyhow::Result<ExitCode> {
    let works = if options.work.is_empty() { Work::ALL.to_vec() } else { options.work.clone() };
    let (works, pace) = match options.load {
        Loop::Closed => (works, Pace::Closed),
        Loop::Open => (vec![Work::Keepalive], Pace::Rate(options.rate)),
    };
    let programs = Programs::find(options.against.clone())?;
    if works.contains(&Work::H2) {
        h2load::find()?;
    }
    let (interrupt, cores, dir) = ready()?;
    let method = Method {
        rounds: options.rounds as usize,
        lasting: seconds(options.seconds, "--seconds")?,
        connections: options.connections as usize,
        pace,
        seed: options.seed,
    };
    println!("{}", conditions(&method, cores)?);
    let bench = Bench { method, cores, programs, dir: dir.path(), interrupt };
    let mut passed = true;
    for work in works {
        let outcome = bench.run(work)?;
        let verdict = match bench.method.pace {
            Pace::Closed => table::costs(&outcome, options.seed),
            Pace::Rate(_) => table::waits(&outcome, options.seed),
        };
        println!("\n{}", verdict.text.trim_end());
        passed &= verdict.passed;
    }
    Ok(exit(passed))
}

/// Memory of idle connections.
pub fn idle(options: &Idle) -> anyhow::Result<ExitCode> {
    let programs = Programs::find(None)?;
    let (interrupt, cores, dir) = ready()?;
    let connections = options.connections as usize;
    let idle = crowd::idle(&programs, connections, cores, dir.path(), &interrupt)?;
    print!("{}", crowd::Idle::heading());
    idle.iter().for_each(|idle| print!("{}", idle.text()));
    Ok(ExitCode::SUCCESS)
}

/// The crowd that site-agent has to hold.
pub fn crowd(options: &Crowd) -> anyhow::Result<ExitCode> {
    let programs = Programs::find(None)?;
    let (interrupt, cores, dir) = ready()?;
    let plan = crowd::Plan {
        idle: options.idle as usize,
        active: options.active as usize,
        lasting: seconds(options.seconds, "--seconds")?,
    };
    let crowd = crowd::crowd(&programs, plan, cores, dir.path(), &interrupt)?;
    println!("{}", crowd.text());
    Ok(exit(crowd.passed()))
}

/// Reloads of site-agent under load.
pub fn reloads(options: &Reloads) -> anyhow::Result<ExitCode> {
    let plan = reloads::Plan {
        lasting: seconds(options.seconds, "--seconds")?,
        every: seconds(options.every, "--every")?,
    };
    ensure!(!plan.every.is_zero(), "--every 0: expected more than 0 seconds");
    let programs = Programs::find(None)?;
    let (interrupt, cores, dir) = ready()?;
    let reloaded = reloads::measure(&programs, plan, cores, dir.path(), &interrupt)?;
    println!("{}", reloaded.text());
    Ok(exit(reloaded.passed()))
}

/// What every run begins with; the caller and what it starts is on the generator's core from now on.
fn ready() -> anyhow::Result<(Interrupt, Cores, tempfile::TempDir)> {
    let interrupt = Interrupt::watch()?;
    let cores = Cores::pick()?;
    cpu::pin(cores.generator)?;
    Ok((interrupt, cores, tempfile::tempdir()?))
}

fn seconds(number: f64, key: &'static str) -> anyhow::Result<Duration> {
    Duration::try_from_secs_f64(number).context(key)
}

fn exit(passed: bool) -> ExitCode {
    if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// What a reader of the tables has to know.
fn conditions(method: &Method, cores: Cores) -> anyhow::Result<String> {
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let pace = match method.pace {
        Pace::Closed => "closed loop".to_owned(),
        Pace::Rate(rate) => format!("open loop, {rate} requests/s"),
    };
    Ok(format!(
        "Linux {}, proxies on core {}, clients and servers on core {}; HAProxy {}, {}\n\
         {} rounds of {:.1} s, {pace}, {} connections; seed {}",
        kernel.trim_end(),
        cores.server,
        cores.generator,
        peers::haproxy_version()?,
        crate::nginx::version()?,
        method.rounds,
        method.lasting.as_secs_f64(),
        method.connections,
        method.seed,
    ))
}
