//! `probe`: looks at what answers serve, from where it runs.

use std::collections::BTreeMap;
use std::convert::identity;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Parser, Subcommand, ValueEnum};
use common::check::{
    Check, Dns, External, Grpc, Grpcs, Http, Https, Kind, KindWord, Method, StatusRange, Statuses,
    Tcp, Text, Timing, Tls, UsualPort, Verify, Version,
};
use common::clock;
use common::config::Colour;
use common::config::read::Word as _;
use common::duration;
use common::look::{Look as _, Looker, Program, Programs, Roots, Who};
use common::notify::ServiceManager;
use common::streak::Thresholds;
use common::target::{Address, Target};
use common::telemetry;
use probe::config::{self, Config};
use probe::run::Probe;
use probe::tell;
use tokio::signal::unix::{SignalKind, signal};
use tracing::info;

/// Threads for looks, reports and the admin door.
const RUNTIME_THREADS: usize = 2;
/// How long a look may take, unless it is said otherwise.
const TIMEOUT: &str = "5s";

#[derive(Parser)]
#[command(name = "probe", version, about, disable_help_subcommand = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Look and report until asked to end.
    Run {
        #[command(flatten)]
        config: ConfigFile,
        #[arg(long, value_enum, default_value = "text")]
        log_format: LogFormat,
    },
    /// Find every problem of the config, exit code 1 if there is one.
    Check {
        #[command(flatten)]
        config: ConfigFile,
    },
    /// Look once, as a check would, and tell what was seen; exit code 1 if it is not up.
    Look(Box<Look>),
}

#[derive(Args)]
struct ConfigFile {
    /// The probe's probe.toml
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
}

#[derive(Clone, Copy, ValueEnum)]
enum LogFormat {
    Text,
    Json,
}

#[derive(Args)]
struct Look {
    #[arg(value_parser = kinds())]
    kind: KindWord,
    /// An address or a name
    address: String,
    /// Where it listens; the kind's own port if left out
    #[arg(long)]
    port: Option<u16>,
    /// Server name and Host; the address if left out
    #[arg(long)]
    host: Option<String>,
    /// Ends the look, such as 2s
    #[arg(long, value_name = "TIME", default_value = TIMEOUT)]
    timeout: String,
    /// http, https: what to ask for
    #[arg(long, default_value = "/")]
    path: String,
    /// http, https: GET, HEAD or OPTIONS
    #[arg(long, default_value = "GET")]
    method: String,
    /// http, https: 1.1 or 2
    #[arg(long = "http", value_name = "VERSION")]
    version: Option<String>,
    /// http, https: a header to send, such as 'X-Probe: 1'; may be given again
    #[arg(long = "header", value_name = "NAME: VALUE")]
    headers: Vec<String>,
    /// http, https: statuses that are a success, such as 200-299; may be given again
    #[arg(long = "status", value_name = "STATUSES")]
    statuses: Vec<String>,
    /// tcp: what to send
    #[arg(long)]
    send: Option<String>,
    /// http, https, tcp: what must be in the answer. dns: what one of the records must be
    #[arg(long, value_name = "TEXT", conflicts_with = "matches")]
    expect: Option<String>,
    /// http, https, tcp: a regular expression for the answer
    #[arg(long, value_name = "EXPRESSION")]
    matches: Option<String>,
    /// dns: what to ask for; the host if left out
    #[arg(long)]
    name: Option<String>,
    /// dns: which type of record
    #[arg(long = "type", value_name = "TYPE", default_value = "SOA")]
    rtype: String,
    /// grpc, grpcs: the service, as the server registered it
    #[arg(long, default_value = "")]
    service: String,
    /// external: the program, and behind -- its arguments
    #[arg(long)]
    program: Option<PathBuf>,
    #[arg(last = true, value_name = "ARGUMENT")]
    arguments: Vec<String>,
    /// Whom to believe about certificates, as PEM; what the system believes if left out
    #[arg(long, value_name = "FILE")]
    roots: Option<PathBuf>,
    /// Take any certificate
    #[arg(long)]
    no_verify: bool,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

fn kinds() -> impl TypedValueParser<Value = KindWord> {
    let words = PossibleValuesParser::new(KindWord::ALL.map(KindWord::as_str));
    words.try_map(|word| KindWord::word(&word).map_err(anyhow::Error::msg))
}

/// The name under which a program given here is known.
const PROGRAM: &str = "look";

fn main() -> ExitCode {
    let Arguments { command } = Arguments::parse();
    let done = match command {
        Command::Run { config, log_format } => run(&config, log_format),
        Command::Check { config } => Ok(check(&config)),
        Command::Look(look) => look.run(),
    };
    match done {
        Ok(code) => code,
        Err(error) => {
            eprintln!("probe: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn run(file: &ConfigFile, log_format: LogFormat) -> anyhow::Result<ExitCode> {
    match log_format {
        LogFormat::Text => telemetry::log_as_text()?,
        LogFormat::Json => telemetry::log_as_json()?,
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(RUNTIME_THREADS)
        .enable_all()
        .build()?;
    runtime.block_on(async {
        // Heard from before the config is read: a SIGHUP meanwhile does not end the process.
        let mut hang_up = signal(SignalKind::hangup())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let Some(config) = load(file) else { return Ok(ExitCode::FAILURE) };
        let service_manager = ServiceManager::from_environment();
        let mut probe = Probe::start(config, identity).await?;
        service_manager.ready("looking and reporting");
        loop {
            tokio::select! {
                _ = terminate.recv() => break,
                _ = interrupt.recv() => break,
                _ = hang_up.recv() => drop(probe.reload().await),
                () = probe.ended() => return Ok(ExitCode::FAILURE),
            }
        }
        info!("asked to end");
        service_manager.stopping("ending");
        Ok(ExitCode::SUCCESS)
    })
}

fn check(file: &ConfigFile) -> ExitCode {
    let Some(config) = load(file) else { return ExitCode::FAILURE };
    if !config.warnings.is_empty() {
        eprintln!("{}", config.warnings.render(Colour::Never));
    }
    for doubt in config.doubts(i64::try_from(clock::unix_seconds()).unwrap_or(i64::MAX)) {
        eprintln!("warning: {doubt}");
    }
    println!(
        "{}: good: probe {} of cluster {}, name servers: {}, references: {}",
        file.config.display(),
        config.name,
        config.principal.cluster,
        config.servers.len(),
        config.references.len()
    );
    ExitCode::SUCCESS
}

/// Shows every problem, if there is one.
fn load(file: &ConfigFile) -> Option<Config> {
    let read = config::load(&file.config);
    read.inspect_err(|problems| eprintln!("{}", problems.render(Colour::Never))).ok()
}

impl Look {
    fn run(self) -> anyhow::Result<ExitCode> {
        let target = self.target()?;
        if let Some(fault) = target.faults().into_iter().next() {
            bail!("{fault}");
        }
        let looker = self.looker()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let seen = runtime.block_on(looker.look(&target));
        let text = if self.json { tell::json(&seen) } else { tell::text(&seen) };
        // Who closed the pipe has read enough.
        let _ = std::io::stdout().write_all(text.as_bytes());
        Ok(if seen.outcome.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    fn target(&self) -> anyhow::Result<Target> {
        let kind = self.kind()?;
        let port = match (self.port, self.kind.port()) {
            (Some(port), _) => port,
            (None, UsualPort::Is(port)) => port,
            (None, UsualPort::None) => 0,
            (None, UsualPort::Unknown) => bail!("--port is missing: where does it listen?"),
        };
        let address = match self.address.parse() {
            Ok(address) => Address::Ip(address),
            Err(_) => Address::Name(self.address.clone()),
        };
        let timeout =
            duration::parse(&self.timeout).map_err(anyhow::Error::msg).context("--timeout")?;
        let once = Thresholds::ONCE;
        // One look has no interval; it only has to be longer.
        let timing = Timing::new(timeout + Duration::from_secs(1), timeout, once);
        let host = self.host.clone().unwrap_or_else(|| self.address.clone());
        Ok(Target { address, port, host, check: Check { kind, timing } })
    }

    fn kind(&self) -> anyhow::Result<Kind> {
        let tls = Tls { verify: if self.no_verify { Verify::Nothing } else { Verify::Full } };
        let text = match (&self.expect, &self.matches) {
            (Some(text), _) => Some(Text::Contains(text.clone())),
            (None, Some(expression)) => Some(Text::Matches(expression.clone())),
            (None, None) => None,
        };
        let grpc = Grpc { service: self.service.clone() };
        Ok(match self.kind {
            KindWord::Tcp => Kind::Tcp(Tcp { send: self.send.clone(), expect: text }),
            KindWord::Tls => Kind::Tls(tls),
            KindWord::Http => Kind::Http(self.http(text)?),
            KindWord::Https => Kind::Https(Https { http: self.http(text)?, tls }),
            KindWord::Dns => Kind::Dns(Dns {
                name: self
                    .name
                    .clone()
                    .or_else(|| self.host.clone())
                    .context("--name is missing")?,
                rtype: self.rtype.clone(),
                expect: self.expect.clone(),
            }),
            KindWord::Icmp => Kind::Icmp,
            KindWord::Grpc => Kind::Grpc(grpc),
            KindWord::Grpcs => Kind::Grpcs(Grpcs { grpc, tls }),
            KindWord::External => Kind::External(External { program: PROGRAM.to_owned() }),
        })
    }

    fn http(&self, expect_body: Option<Text>) -> anyhow::Result<Http> {
        let version = match self.version.as_deref() {
            None => Version::Any,
            Some("1.1") => Version::V1,
            Some("2") => Version::V2,
            Some(other) => bail!("--http: found {other:?}, expected 1.1 or 2"),
        };
        let method = match &*self.method {
            "GET" => Method::Get,
            "HEAD" => Method::Head,
            "OPTIONS" => Method::Options,
            other => bail!("--method: found {other:?}, expected GET, HEAD or OPTIONS"),
        };
        let header = |header: &String| {
            let (name, value) = header
                .split_once(':')
                .with_context(|| format!("--header: found {header:?}, expected NAME: VALUE"))?;
            Ok((name.to_owned(), value.trim().to_owned()))
        };
        let status = |text: &String| -> anyhow::Result<StatusRange> {
            text.parse().map_err(anyhow::Error::msg).context("--status")
        };
        let statuses: Vec<StatusRange> =
            self.statuses.iter().map(status).collect::<Result<_, _>>()?;
        Ok(Http {
            version,
            method,
            path: self.path.clone(),
            headers: self.headers.iter().map(header).collect::<anyhow::Result<_>>()?,
            status: if statuses.is_empty() { Statuses::default() } else { Statuses(statuses) },
            expect_headers: vec![],
            expect_body,
        })
    }

    fn looker(&self) -> anyhow::Result<Looker> {
        let roots = match &self.roots {
            Some(file) => Roots::read([file.as_path()])
                .with_context(|| format!("the roots in {}", file.display()))?,
            None => Roots::of_system().context("the system's roots; give others with --roots")?,
        };
        let mut programs = BTreeMap::new();
        if let Some(path) = &self.program {
            let program = Program { path: path.clone(), arguments: self.arguments.clone() };
            programs.insert(PROGRAM.to_owned(), program);
        } else if matches!(self.kind, KindWord::External) {
            bail!("--program is missing: what is to be run?");
        }
        Ok(Looker { who: Who::Probe, roots, programs: Programs::new(programs) })
    }
}
