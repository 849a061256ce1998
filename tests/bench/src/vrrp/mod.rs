//! Virtual routers: for how long an address is gone when its box fails, what a hundred of them cost, what reloads do to
//! them. The real service on links of network namespaces, and keepalived told the same beside it.
//!
//! daemon ─▶ member (post) ─▶ pair (client) ─▶ fault ─▶ failover ─▶ (a row for each fault)
//!                            pair ─▶ reloads
//! daemon ─▶ instances
//!
//! All of it goes with its owner: processes, threads, namespaces; when it is interrupted or panics too.

mod client;
mod daemon;
mod duty;
mod failover;
mod fault;
mod instances;
mod member;
mod pair;
mod post;
mod reloads;

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{bail, ensure};
use clap::{Args, ValueEnum};
use gslb_tests::netns;

pub use self::daemon::become_in_namespace;
use self::daemon::{Kind, Programs};
use self::fault::Fault;
use crate::clock;
use crate::cpu::Host;
use crate::interrupt::Interrupt;

/// Between two looks at something that tells nobody when it is so.
const LOOK_AGAIN: Duration = Duration::from_millis(2);

#[derive(Args)]
pub struct Failover {
    /// Of each fault, and of each program.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    trials: u32,
    /// That fail at a time, each on a link of its own.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=32))]
    pairs: u32,
    /// An advert every 400 ms, or every 100 ms.
    #[arg(long, value_enum, default_value_t = Profile::Standard)]
    profile: Profile,
    /// Only these; all of them if left out.
    #[arg(long, value_delimiter = ',')]
    fault: Vec<Fault>,
    /// Has the same done to pairs of this program, fault by fault.
    #[arg(long, value_enum)]
    peer: Option<Peer>,
    /// Of the moments between two adverts at which faults come.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Another site-agent than the one beside this program.
    #[arg(long, value_name = "PROGRAM")]
    program: Option<PathBuf>,
}

#[derive(Args)]
pub struct Instances {
    /// Virtual routers of each process.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u8).range(1..=250))]
    instances: u8,
    /// Between two adverts of each.
    #[arg(long, default_value = "100ms", value_parser = common::duration::parse)]
    interval: Duration,
    /// How long it is measured.
    #[arg(long = "for", value_name = "TIME", default_value = "60s", value_parser = common::duration::parse)]
    lasting: Duration,
    /// Another site-agent than the one beside this program.
    #[arg(long, value_name = "PROGRAM")]
    program: Option<PathBuf>,
}

#[derive(Args)]
pub struct Reloads {
    /// In all, of one box and the other in turn.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    reloads: u32,
    /// Another site-agent than the one beside this program.
    #[arg(long, value_name = "PROGRAM")]
    program: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum Profile {
    Standard,
    Fast,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
enum Peer {
    Keepalived,
}

impl Profile {
    pub fn interval(self) -> Duration {
        match self {
            Profile::Standard => Duration::from_millis(400),
            Profile::Fast => Duration::from_millis(100),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Profile::Standard => "standard",
            Profile::Fast => "fast",
        }
    }
}

/// For how long an address is gone.
pub fn failover(options: &Failover) -> anyhow::Result<ExitCode> {
    let kinds = match options.peer {
        None => vec![Kind::SiteAgent],
        Some(Peer::Keepalived) => vec![Kind::SiteAgent, Kind::Keepalived],
    };
    let programs = ready(options.program.clone(), &kinds)?;
    let faults = match options.fault.is_empty() {
        true => Fault::value_variants().to_vec(),
        false => options.fault.clone(),
    };
    let interrupt = Interrupt::watch()?;
    let plan = failover::Plan {
        trials: options.trials as usize,
        pairs: options.pairs as usize,
        profile: options.profile,
        seed: options.seed,
    };
    println!("{}", conditions(&programs, &kinds)?);
    println!(
        "profile {}, an advert every {} ms; {} trials of each fault, on {} links at a time; seed {}; in this order: {}",
        options.profile.name(),
        options.profile.interval().as_millis(),
        plan.trials,
        plan.pairs,
        plan.seed,
        faults.iter().map(|fault| fault.name()).collect::<Vec<_>>().join(", "),
    );
    print!("\n{}", failover::heading());
    let (mut passed, host) = (true, Host::now()?);
    for fault in faults {
        let mut ours = None;
        for kind in kinds.iter().copied().filter(|kind| fault.can_befall(*kind)) {
            let row = failover::measure(&programs, kind, fault, &plan, &interrupt)?;
            print!("{}", row.text(ours.as_ref()));
            passed &= row.passed();
            ours.get_or_insert(row);
        }
    }
    let stolen = Host::now()?.stolen_since(host) * 1e2;
    println!("\nThe host gave {stolen:.1} % of the cores to others meanwhile.");
    Ok(exit(passed))
}

/// What many of them cost.
pub fn instances(options: &Instances) -> anyhow::Result<ExitCode> {
    ensure!(options.interval >= Duration::from_millis(10), "--interval: expected at least 10ms");
    ensure!(!options.lasting.is_zero(), "--for: expected more than 0s");
    let kinds = [Kind::SiteAgent, Kind::Keepalived];
    let programs = ready(options.program.clone(), &kinds)?;
    let interrupt = Interrupt::watch()?;
    let plan = instances::Plan {
        instances: options.instances,
        interval: options.interval,
        lasting: options.lasting,
    };
    println!("{}", conditions(&programs, &kinds)?);
    let outcome = instances::measure(&programs, &plan, &interrupt)?;
    print!("{}", outcome.text());
    Ok(exit(outcome.passed()))
}

/// What reloads do to them.
pub fn reloads(options: &Reloads) -> anyhow::Result<ExitCode> {
    let kinds = [Kind::SiteAgent];
    let programs = ready(options.program.clone(), &kinds)?;
    let interrupt = Interrupt::watch()?;
    println!("{}", conditions(&programs, &kinds)?);
    let outcome = reloads::measure(&programs, options.reloads, &interrupt)?;
    println!("{}", outcome.text());
    Ok(exit(outcome.passed()))
}

fn ready(program: Option<PathBuf>, kinds: &[Kind]) -> anyhow::Result<Programs> {
    if let Some(lacks) = netns::missing() {
        bail!("no network namespaces: {lacks}");
    }
    Programs::find(program, kinds)
}

/// What a reader of the tables has to know.
fn conditions(programs: &Programs, kinds: &[Kind]) -> anyhow::Result<String> {
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let cores = std::thread::available_parallelism()?;
    let mut text =
        format!("Linux {}, {cores} cores; {}", kernel.trim_end(), programs.site_agent.display());
    if kinds.contains(&Kind::Keepalived) {
        text += &format!("; keepalived {}", daemon::keepalived_version()?);
    }
    Ok(text)
}

fn exit(passed: bool) -> ExitCode {
    if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Looks until there is something to see, for so long at most.
fn until<T>(
    what: &str,
    within: Duration,
    interrupt: &Interrupt,
    mut look: impl FnMut() -> anyhow::Result<Option<T>>,
) -> anyhow::Result<T> {
    let began = clock::now();
    loop {
        interrupt.check()?;
        if let Some(seen) = look()? {
            return Ok(seen);
        }
        if clock::now() - began > within {
            bail!("never within {within:?}: {what}");
        }
        clock::pause(LOOK_AGAIN);
    }
}

/// Milliseconds, for a table.
fn millis(time: Duration) -> String {
    format!("{:.1}", time.as_secs_f64() * 1e3)
}
