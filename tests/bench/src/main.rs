//! CPU per answer, as a ratio against the peers of the field in the same run.
//!
//! world ─▶ peers ─▶ rounds (load, cpu) ─▶ stats ─▶ table
//! vantage (a name server and a probe) ─▶ looks, detection
//! proxy (site-agent, HAProxy and nginx before the same servers) ─▶ stats ─▶ table
//! vrrp (pairs of site-agent, and of keepalived, on links of their own)
//! worlds (everything together, and what clients see when something of it fails)
//!
//! Judges the budgets of the design and exits with 1 if one is lost, 2 if it could not be measured.

mod clock;
mod cpu;
mod detection;
mod dice;
mod garbage;
mod install;
mod interrupt;
mod latency;
mod load;
mod looks;
mod nginx;
mod peers;
mod places;
mod proxy;
mod queries;
mod reloads;
mod rounds;
mod stats;
mod table;
mod vantage;
mod verdicts;
mod vrrp;
mod work;
mod world;
mod worlds;

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::{Args, Parser, Subcommand, ValueEnum};

use cpu::Cores;
use interrupt::Interrupt;
use load::Pace;
use peers::{gdnsd, gslb};
use rounds::Method;
use verdicts::Extent;
use work::{Bench, Work};

#[derive(Parser)]
#[command(about, args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Suite>,
    #[command(flatten)]
    dns: Dns,
}

#[derive(Subcommand)]
enum Suite {
    /// Everything (the default).
    All(Dns),
    /// UDP answers of the name server.
    Dns(Dns),
    /// Reloads under load: none may cost a query.
    Reloads {
        #[arg(long, default_value_t = 1000)]
        reloads: u32,
    },
    /// Garbage beside good queries: none of those may suffer for it.
    Garbage {
        /// Rounds; in each every kind has its turn.
        #[arg(long, default_value_t = 11, value_parser = clap::value_parser!(u32).range(1..))]
        rounds: u32,
        /// For which each kind of garbage comes in each round.
        #[arg(long, default_value_t = 0.5)]
        seconds: f64,
        /// Of what is garbage.
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
    /// Verdicts of ten thousand targets that twenty vantages look at: CPU, time to the answer, cost of answers beside.
    Verdicts {
        /// For which the cost of each kind of time is measured.
        #[arg(long, default_value_t = 20.0)]
        seconds: f64,
        /// Sites that go down, while all is quiet and while others change.
        #[arg(long, default_value_t = 100)]
        flips: usize,
        /// Of queries beside; 0 for none.
        #[arg(long, default_value_t = 21)]
        rounds: u32,
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// Another gslb-dns than the one beside this program.
        #[arg(long, value_name = "PROGRAM")]
        program: Option<PathBuf>,
    },
    /// What looks cost: one probe on one core.
    Probe {
        /// By HTTP, in hundreds.
        #[arg(long, default_value_t = 10_000)]
        targets: usize,
        /// By HTTPS, in hundreds.
        #[arg(long, default_value_t = 2_000)]
        https: usize,
        /// Seconds between two looks at one target.
        #[arg(long, default_value_t = 5.0)]
        interval: f64,
        /// For which each kind is measured.
        #[arg(long, default_value_t = 40.0)]
        seconds: f64,
    },
    /// How long it takes until a site that has died is answered no more.
    Detection {
        /// Sites that die, for each row.
        #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u16).range(1..1000))]
        trials: u16,
        /// Of when they die.
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
    /// Requests, connections and streams through the balancer.
    Proxy(proxy::Costs),
    /// Memory of the balancer's idle connections.
    ProxyIdle(proxy::Idle),
    /// Tens of thousands of connections, idle and active, in 2 GiB.
    ProxyCrowd(proxy::Crowd),
    /// Reloads of the balancer under load: none may cost a request.
    ProxyReloads(proxy::Reloads),
    /// For how long a pair's address is gone when the box fails that has it. As root: in network namespaces.
    VrrpFailover(vrrp::Failover),
    /// What a hundred virtual routers cost. As root: in network namespaces.
    VrrpInstances(vrrp::Instances),
    /// Reloads of a pair under traffic: none may change a role or cost an answer. As root: in network namespaces.
    VrrpReloads(vrrp::Reloads),
    /// What clients of a whole world see when something of it fails. As root: in network namespaces.
    Worlds(worlds::Worlds),
    /// A server on its core.
    #[command(hide = true)]
    OnCore {
        core: usize,
        #[arg(last = true)]
        program: Vec<OsString>,
    },
    /// A program on a machine of a link.
    #[command(hide = true)]
    InNamespace {
        name: String,
        #[arg(last = true)]
        program: Vec<OsString>,
    },
    /// The bare echo.
    #[command(hide = true)]
    Echo { address: SocketAddr, width: usize, reply_size: usize },
    /// The plain hickory-server.
    #[command(hide = true)]
    Hickory { address: SocketAddr, zone: PathBuf },
}

#[derive(Args)]
struct Dns {
    /// Rounds; in each every server has its turn. Below 11 no budget is judged.
    #[arg(long, default_value_t = 41, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Seconds that a server is measured for in each round.
    #[arg(long, default_value_t = 0.5)]
    seconds: f64,
    /// Only these works.
    #[arg(long, value_delimiter = ',')]
    work: Vec<Work>,
    /// Closed: CPU per answer of a busy server. Open: waiting times at a rate.
    #[arg(long, value_enum, default_value_t = Loop::Closed)]
    load: Loop,
    /// Queries in flight of the closed loop. More than some 200 small datagrams overflow the socket
    /// buffer that Linux gives a server by default.
    #[arg(long, default_value_t = 128)]
    window: usize,
    /// Queries per second of the open loop.
    #[arg(long, default_value_t = 100_000)]
    rate: u64,
    /// Queries sent at once.
    #[arg(long, default_value_t = 32)]
    batch: usize,
    /// Seed of names, clients and resamples.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Country or city database (mmdb) instead of the one built from tor-geoipdb.
    #[arg(long, value_name = "FILE")]
    database: Option<PathBuf>,
    /// Measure the peers alone; no budget is judged.
    #[arg(long)]
    peers_only: bool,
    /// Another gslb-dns, such as one built before a change: measured in the same rounds, and judged by nobody.
    #[arg(long, value_name = "PROGRAM")]
    against: Option<PathBuf>,
    /// First install the peers' Debian packages (as root; starts no service).
    #[arg(long)]
    install: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Loop {
    Closed,
    Open,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let done = match cli.command {
        None => dns(cli.dns),
        Some(Suite::All(options) | Suite::Dns(options)) => dns(options),
        Some(Suite::Reloads { reloads }) => reload(reloads),
        Some(Suite::Garbage { rounds, seconds, seed }) => garbage(rounds, seconds, seed),
        Some(Suite::Verdicts { seconds, flips, rounds, seed, program }) => {
            verdicts(seconds, flips, rounds, seed, program)
        }
        Some(Suite::Probe { targets, https, interval, seconds }) => {
            probe([targets, https], interval, seconds)
        }
        Some(Suite::Detection { trials, seed }) => detection(trials.into(), seed),
        Some(Suite::Proxy(options)) => proxy::costs(&options),
        Some(Suite::ProxyIdle(options)) => proxy::idle(&options),
        Some(Suite::ProxyCrowd(options)) => proxy::crowd(&options),
        Some(Suite::ProxyReloads(options)) => proxy::reloads(&options),
        Some(Suite::VrrpFailover(options)) => vrrp::failover(&options),
        Some(Suite::VrrpInstances(options)) => vrrp::instances(&options),
        Some(Suite::VrrpReloads(options)) => vrrp::reloads(&options),
        Some(Suite::Worlds(options)) => worlds::tell(&options),
        Some(Suite::InNamespace { name, program }) => {
            served(vrrp::become_in_namespace(&name, &program))
        }
        Some(Suite::OnCore { core, program }) => served(peers::become_on_core(core, &program)),
        Some(Suite::Echo { address, width, reply_size }) => {
            served(peers::echo::serve(address, width, reply_size))
        }
        Some(Suite::Hickory { address, zone }) => served(peers::hickory::serve(address, zone)),
    };
    done.unwrap_or_else(|error| {
        eprintln!("{error:#}");
        ExitCode::from(2)
    })
}

fn served(done: anyhow::Result<()>) -> anyhow::Result<ExitCode> {
    done.map(|()| ExitCode::SUCCESS)
}

fn dns(options: Dns) -> anyhow::Result<ExitCode> {
    if options.install {
        install::install()?;
    }
    let Some(gdnsd) = gdnsd::find() else {
        bail!("gdnsd is not installed; {}", install::advice());
    };
    let program = match gslb::find()? {
        _ if options.peers_only => None,
        None => bail!("gslb-dns is not built; build it with: cargo build --release --workspace"),
        found => found,
    };
    let interrupt = Interrupt::watch()?;
    let cores = Cores::pick()?;
    // The signal thread keeps both cores; it sleeps.
    cpu::pin(cores.generator)?;
    let dir = tempfile::tempdir()?;
    let works = options.works(program.is_some());
    let database = match &options.database {
        Some(database) => database.canonicalize()?,
        None if works.contains(&Work::Geo) => places::build(dir.path())?,
        None => PathBuf::new(),
    };
    let method = options.method()?;
    println!("{}", conditions(&method, cores, &gdnsd)?);
    let against = options.against.clone();
    let bench = Bench { method, cores, program, against, database, dir: dir.path(), interrupt };
    let mut passed = true;
    for work in works {
        let outcome = bench.run(work)?;
        let verdict = match bench.method.pace {
            Pace::Window(_) => table::costs(&outcome, options.seed),
            Pace::Rate(_) => table::waits(&outcome, options.seed),
        };
        println!("\n{}", verdict.text.trim_end());
        passed &= verdict.passed;
    }
    Ok(if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn reload(reloads: u32) -> anyhow::Result<ExitCode> {
    let Some(program) = gslb::find()? else {
        bail!("gslb-dns is not built; build it with: cargo build --release --workspace");
    };
    let interrupt = Interrupt::watch()?;
    let cores = Cores::pick()?;
    let dir = tempfile::tempdir()?;
    cpu::pin(cores.generator)?;
    let reloaded = reloads::measure(&program, cores, dir.path(), reloads, &interrupt)?;
    println!("{}", reloaded.text());
    Ok(if reloaded.passed() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn garbage(rounds: u32, seconds: f64, seed: u64) -> anyhow::Result<ExitCode> {
    let Some(program) = gslb::find()? else {
        bail!("gslb-dns is not built; build it with: cargo build --release --workspace");
    };
    let lasting = Duration::try_from_secs_f64(seconds).context("--seconds")?;
    let interrupt = Interrupt::watch()?;
    let cores = Cores::pick()?;
    let dir = tempfile::tempdir()?;
    cpu::pin(cores.generator)?;
    let outcome =
        garbage::measure(&program, cores, dir.path(), (rounds, lasting), seed, &interrupt)?;
    println!("{}", outcome.text());
    Ok(if outcome.passed() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn verdicts(
    seconds: f64,
    flips: usize,
    rounds: u32,
    seed: u64,
    program: Option<PathBuf>,
) -> anyhow::Result<ExitCode> {
    let Some(program) = program.map_or_else(gslb::find, |program| Ok(Some(program)))? else {
        bail!("gslb-dns is not built; build it with: cargo build --release --workspace");
    };
    let lasting = Duration::try_from_secs_f64(seconds).context("--seconds")?;
    let interrupt = Interrupt::watch()?;
    let cores = Cores::pick()?;
    let dir = tempfile::tempdir()?;
    cpu::pin(cores.generator)?;
    let extent = Extent { lasting, flips, rounds, seed };
    let outcome = verdicts::measure(&program, cores, dir.path(), &extent, &interrupt)?;
    println!("{}", outcome.text());
    Ok(if outcome.passed() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn probe([http, https]: [usize; 2], interval: f64, seconds: f64) -> anyhow::Result<ExitCode> {
    let interrupt = Interrupt::watch()?;
    let cores = Cores::pick()?;
    cpu::pin(cores.generator)?;
    let interval = Duration::try_from_secs_f64(interval).context("--interval")?;
    let lasting = Duration::try_from_secs_f64(seconds).context("--seconds")?;
    let mut passed = true;
    print!("{}", looks::Outcome::heading());
    for (kind, targets) in [(looks::Kind::Http, http), (looks::Kind::Https, https)] {
        if targets == 0 {
            continue;
        }
        let dir = tempfile::tempdir()?;
        let plan = looks::Plan { kind, targets, interval, lasting };
        let outcome = looks::measure(plan, cores, dir.path(), &interrupt)?;
        print!("{}", outcome.text());
        passed &= outcome.passed();
    }
    Ok(if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn detection(trials: usize, seed: u64) -> anyhow::Result<ExitCode> {
    use detection::{Death, Outcome, Plan};
    let interrupt = Interrupt::watch()?;
    let cores = Cores::pick()?;
    cpu::pin(cores.generator)?;
    let mut passed = true;
    print!("{}", Outcome::heading());
    for (interval, timeout) in [(5000, 2000), (1000, 500)].map(|(interval, timeout)| {
        (Duration::from_millis(interval), Duration::from_millis(timeout))
    }) {
        for death in [Death::Refused, Death::Silent] {
            let dir = tempfile::tempdir()?;
            let plan = Plan { death, interval, timeout, trials };
            let outcome = detection::measure(plan, cores, dir.path(), seed, &interrupt)?;
            print!("{}", outcome.text());
            passed &= outcome.passed();
        }
    }
    Ok(if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

impl Dns {
    fn works(&self, ours_too: bool) -> Vec<Work> {
        let wanted = if self.work.is_empty() { Work::ALL.to_vec() } else { self.work.clone() };
        // Without gslb-dns nothing is left of the works that compare it with itself.
        let is_ours = |work| matches!(work, Work::Million | Work::Guarded);
        wanted.into_iter().filter(|&work| ours_too || !is_ours(work)).collect()
    }

    fn method(&self) -> anyhow::Result<Method> {
        let pace = match self.load {
            Loop::Closed => Pace::Window(self.window),
            Loop::Open => Pace::Rate(self.rate),
        };
        if self.batch == 0 || self.window < self.batch || self.window > 1 << 15 {
            bail!(
                "--batch {} and --window {}: expected 1 <= batch <= window <= 32768",
                self.batch,
                self.window
            );
        }
        let lasting = Duration::try_from_secs_f64(self.seconds).context("--seconds")?;
        Ok(Method {
            rounds: self.rounds as usize,
            lasting,
            batch: self.batch,
            pace,
            seed: self.seed,
        })
    }
}

/// What a reader of the tables has to know.
fn conditions(method: &Method, cores: Cores, gdnsd: &Path) -> anyhow::Result<String> {
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let pace = match method.pace {
        Pace::Window(window) => format!("closed loop, {window} in flight"),
        Pace::Rate(rate) => format!("open loop, {rate} queries/s"),
    };
    Ok(format!(
        "Linux {}, server on core {}, generator on core {}; {} {}; hickory-server {}\n\
         {} rounds of {:.1} s, {pace}, sent {} at once; seed {}",
        kernel.trim_end(),
        cores.server,
        cores.generator,
        gdnsd.display(),
        gdnsd::version()?,
        hickory_server::version(),
        method.rounds,
        method.lasting.as_secs_f64(),
        method.batch,
        method.seed,
    ))
}
