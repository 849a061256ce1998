//! What can be said to `gslb-dns` on a command line, and what is done of it: config, build, run, exit code.
//!
//! Two programs begin here: `gslb-dns`, and the demo, which has it in its own. It decides nothing: each command has its
//! room.

use std::ffi::OsString;
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::admin::client::At;
use crate::archive::{self, Shelf};
use crate::config::{self, Colour, Config, Prepared, Problems};
use crate::explain::{self, Format, Request, RequestWords};
use crate::history::Words;
use crate::judge::Now;
use crate::keeper::{Beliefs, Evidence, Reread};
use crate::orders::OrderWords;
use crate::passed::Passed;
use crate::pki::{Done, Pki};
use crate::run::{HangUp, Server, Shell};
use crate::snapshot::{Groundwork, Snapshot};
use crate::world::{AdminDoors, CookieFile, Node};
use crate::{certificates, privileges, replay};
use anyhow::{Context as _, bail};
use clap::{Args, Parser, Subcommand, ValueEnum};
use common::clock::{monotonic, now};
use common::telemetry;

/// Exit code of an order that is in force and that a restart would not know of.
const NOT_ON_DISK: u8 = 3;

/// Exit codes of a replay, as diff has them.
const ANSWERED_OTHERWISE: u8 = 1;
const REPLAY_FAILED: u8 = 2;

/// Authoritative DNS that answers with the sites fit to serve the client asking.
#[derive(Parser)]
#[command(version)]
pub struct Cli {
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
    /// Find every problem of the config, its world, zones and databases, exit code 1 if there is one; and
    /// warn of what its clients would suffer.
    Check {
        #[command(flatten)]
        config: ConfigFile,
    },
    /// Say why a client is answered as it is: from the files that the config names, unless a server is to be asked.
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
        /// Explain the answer that carried this, as it was: the octets, or the line «OPT=65300: …» of dig or kdig
        #[arg(long, conflicts_with = "at")]
        stamp: Option<String>,
        /// One JSON object, for programs
        #[arg(long)]
        json: bool,
        /// Ask the running server at this admin address instead of reading the config
        #[arg(long, value_name = "ADDRESS:PORT", conflicts_with = "config")]
        server: Option<String>,
        /// Ask the running server at its admin socket instead
        #[arg(long, conflicts_with_all = ["config", "server"])]
        socket: Option<PathBuf>,
        #[command(flatten)]
        config: ConfigFile,
    },
    /// Ask recorded queries again, by this config, and tell who is answered otherwise: exit code 0 if nobody is,
    /// 1 if somebody is, 2 if it could not be done or not all of it could be read.
    Replay {
        /// Recordings, or folders of them
        #[arg(required = true)]
        files: Vec<PathBuf>,
        /// up=, down=, unknown=, drained= or undrained= and a site or pattern, such as down=fra
        #[arg(long)]
        suppose: Vec<String>,
        /// As if nothing were known of any site, and no operator had said a word
        #[arg(long)]
        no_overrides: bool,
        /// One JSON object, for programs
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        config: ConfigFile,
    },
    /// Show recorded queries, a line each.
    Queries {
        /// Recordings, or folders of them
        #[arg(required = true)]
        files: Vec<PathBuf>,
        /// A JSON object a line, for programs
        #[arg(long)]
        json: bool,
    },
    /// What the running server believes, and what wants attention.
    Status {
        #[command(flatten)]
        shown: Shown,
    },
    /// What operators said of sites: in force, to come and over.
    Overrides {
        #[command(flatten)]
        shown: Shown,
    },
    /// What is believed of every site, and what each vantage sees of it.
    Board {
        /// A site's name or pattern; every site if left out
        #[arg(long)]
        site: Option<String>,
        #[command(flatten)]
        shown: Shown,
    },
    /// Who looks at the sites, and how its word counts.
    Vantages {
        #[command(flatten)]
        shown: Shown,
    },
    /// What changed of sites, when and why, the newest last.
    History {
        /// A service's name or pattern, such as www.example.com or '*.example.com'
        #[arg(long)]
        service: Option<String>,
        /// A site's name or pattern
        #[arg(long)]
        site: Option<String>,
        /// From this instant on, such as 2026-11-21T09:30:00Z, or from so long ago, such as 12h
        #[arg(long)]
        since: Option<String>,
        /// Also each step of a ramp or of a drain that takes time
        #[arg(long)]
        steps: bool,
        #[command(flatten)]
        shown: Shown,
    },
    /// Who asks most, and for what, in the last minute.
    Talkers {
        #[command(flatten)]
        shown: Shown,
    },
    /// Take a site out of service: nobody new is sent there.
    Drain {
        #[command(flatten)]
        order: Order,
        /// Step by step over this time, such as 10m, instead of at once
        #[arg(long)]
        over: Option<String>,
    },
    /// End a drain.
    Undrain {
        #[command(flatten)]
        order: Order,
    },
    /// Say that a site is up, down or unknown, whatever is known of it; auto ends that.
    Force {
        /// up, down, unknown or auto
        state: String,
        #[command(flatten)]
        order: Order,
    },
    /// Give a site another weight than the configured one; auto ends that.
    Weight {
        /// A number, or auto; 0 takes nobody
        weight: String,
        #[command(flatten)]
        order: Order,
    },
    /// A CA of one's own, for the daemons of a cluster.
    Pki(Pki),
    /// Have the running server read its config again; exit code 1 if it refuses it.
    Reload {
        #[command(flatten)]
        at: OrderDoor,
    },
}

/// What every order says, and where it is given.
#[derive(Args)]
struct Order {
    /// A site's name or pattern, such as fra or 'eu-*'
    site: String,
    /// A service's name or pattern; every service if left out
    #[arg(long)]
    service: Option<String>,
    /// For whoever finds it later
    #[arg(long)]
    why: String,
    /// Ends by itself after this time, such as 1h
    #[arg(long = "for", value_name = "TIME")]
    lasts: Option<String>,
    /// Begins at this instant, such as 2026-11-21T22:00:00Z, instead of now
    #[arg(long = "at", value_name = "AT")]
    begins: Option<String>,
    /// Even if a service is left without a site
    #[arg(long)]
    anyway: bool,
    #[command(flatten)]
    at: OrderDoor,
}

/// The same, for what changes something.
#[derive(Args)]
struct OrderDoor {
    #[command(flatten)]
    door: Door,
    /// Refused, and said where to go: clap would guess that --service was meant.
    #[arg(long, hide = true, value_name = "ADDRESS:PORT", value_parser = takes_no_orders)]
    server: Option<String>,
}

/// Where orders are taken.
#[derive(Args)]
struct Door {
    /// The running server's admin socket; the one that the config names if left out
    #[arg(long, conflicts_with = "config")]
    socket: Option<PathBuf>,
    #[command(flatten)]
    config: ConfigFile,
}

#[derive(Args)]
struct Shown {
    #[command(flatten)]
    door: Door,
    /// Ask at this admin address instead
    #[arg(long, value_name = "ADDRESS:PORT", conflicts_with_all = ["config", "socket"])]
    server: Option<String>,
    /// For programs
    #[arg(long)]
    json: bool,
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

/// The words of a command line, the program's name first.
pub fn run(words: impl IntoIterator<Item = OsString>) -> ExitCode {
    match command(Cli::parse_from(words).command) {
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
            // While nobody else reads the environment.
            let passed = Passed::from_environment()?;
            match log_format {
                LogFormat::Text => telemetry::log_as_text()?,
                LogFormat::Json => telemetry::log_as_json()?,
            }
            let household = config::load_household(&config.config);
            let (account, dirs) = household.unzip();
            privileges::begin(account.as_ref(), &dirs.unwrap_or_default())?;
            let shell = Shell::open(passed)?;
            let Some(prepared) = load(&config) else {
                return Ok(ExitCode::FAILURE);
            };
            let mut server = Server::start(shell, prepared)?;
            server.wait_for_signal(HangUp::Reload);
            Ok(ExitCode::SUCCESS)
        }
        Command::Check { config } => {
            // What that user may not read is a problem, though root may.
            if let Some((account, _)) = config::load_household(&config.config)
                && let Err(error) = privileges::look_as(&account)
            {
                eprintln!("warning: {error:#}");
            }
            let Some(Prepared { node, ground, tests, findings, .. }) = load(&config) else {
                return Ok(ExitCode::FAILURE);
            };
            if let Some(CookieFile { path, is_open: true, .. }) = &node.dns.cookies {
                eprintln!("warning: everybody on this machine can read {}", path.display());
            }
            for doubt in
                certificates::doubts(&node, now()).into_iter().chain(certificates::exposed(&node))
            {
                eprintln!("warning: {doubt}");
            }
            if !findings.is_empty() {
                eprintln!("{}\n", findings.render(Colour::Never));
            }
            let world = &ground.world;
            let (zones, services, epoch) = (world.zones.len(), world.services.len(), world.epoch);
            say(&format!(
                "no problems: zones {zones}, services {services}, policy tests {tests}, epoch {epoch}\n"
            ))?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Explain {
            name,
            qtype,
            client,
            resolver,
            suppose,
            at,
            stamp,
            json,
            server,
            socket,
            config,
        } => {
            let words = RequestWords { name, qtype, client, resolver, at, stamp, suppose };
            let text = match server.map(At::Server).or(socket.map(At::Socket)) {
                Some(running) => running.explain(&words, format(json))?,
                None => explain_from_files(&config, &words, format(json))?,
            };
            done(&text)
        }
        Command::Replay { files, suppose, no_overrides, json, config } => {
            let replayed = replay(&files, &suppose, no_overrides, format(json), &config);
            Ok(replayed.unwrap_or_else(|error| {
                eprintln!("gslb-dns: {error:#}");
                ExitCode::from(REPLAY_FAILED)
            }))
        }
        Command::Queries { files, json } => show_queries(&files, format(json)),
        Command::Status { shown } => done(&shown.at()?.status(format(shown.json))?),
        Command::Overrides { shown } => done(&shown.at()?.overrides(format(shown.json))?),
        Command::Board { site, shown } => {
            done(&shown.at()?.board(site.as_deref(), format(shown.json))?)
        }
        Command::Vantages { shown } => done(&shown.at()?.vantages(format(shown.json))?),
        Command::History { service, site, since, steps, shown } => {
            let words = Words { service, site, since, steps };
            done(&shown.at()?.history(&words, format(shown.json))?)
        }
        Command::Talkers { shown } => done(&shown.at()?.talkers(format(shown.json))?),
        Command::Drain { order, over } => order.give("drain", None, over),
        Command::Undrain { order } => order.give("undrain", None, None),
        Command::Force { state, order } => order.give("force", Some(state), None),
        Command::Weight { weight, order } => order.give("weight", Some(weight), None),
        Command::Pki(pki) => {
            let Done { text, failures } = pki.run(now())?;
            say(&text)?;
            for failure in &failures {
                eprintln!("gslb-dns: {failure}");
            }
            Ok(if failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
        Command::Reload { at: OrderDoor { door, server: _ } } => {
            let told = door.at()?.reload(on_behalf_of().as_deref())?;
            done(&told.text())
        }
    }
}

impl Order {
    fn give(
        self,
        order: &str,
        value: Option<String>,
        over: Option<String>,
    ) -> anyhow::Result<ExitCode> {
        let Order { site, service, why, lasts, begins, anyway, at: OrderDoor { door, server: _ } } =
            self;
        let order = order.to_owned();
        let words =
            OrderWords { order, value, site, service, at: begins, lasts, over, why, anyway };
        let receipt = door.at()?.order(&words, on_behalf_of().as_deref())?;
        say(&receipt.text())?;
        if receipt.on_disk {
            return Ok(ExitCode::SUCCESS);
        }
        eprintln!(
            "gslb-dns: NOT ON DISK: it is in force, and a restart would not know of it; see the log"
        );
        Ok(ExitCode::from(NOT_ON_DISK))
    }
}

/// What comes by TCP has no credentials, by which to tell an operator from a stranger.
fn takes_no_orders(_: &str) -> Result<String, &'static str> {
    Err(
        "an admin address only shows things; orders and reloads go to a name server's admin socket, where the \
         system tells who gives them: --socket PATH, or --config FILE that names it; and an order is about a site, \
         such as gslb-dns drain fra --why \"new disks\" --socket /run/gslb-dns/admin.sock",
    )
}

/// Who became root for this, as sudo tells.
fn on_behalf_of() -> Option<String> {
    std::env::var("SUDO_USER").ok().filter(|user| !user.is_empty())
}

impl Door {
    fn at(self) -> anyhow::Result<At> {
        if let Some(socket) = self.socket {
            return Ok(At::Socket(socket));
        }
        let file = self.config.config;
        let socket = doors(&file)?.socket.with_context(|| {
            format!("{} names no [admin] socket, where orders are taken", file.display())
        })?;
        Ok(At::Socket(socket))
    }
}

fn doors(node_file: &Path) -> anyhow::Result<AdminDoors> {
    config::load_admin(node_file)
        .map_err(|problems| anyhow::anyhow!("{problems}"))
        .context("the config tells where the server is, and it has problems; or give --socket")
}

impl Shown {
    fn at(&self) -> anyhow::Result<At> {
        if let Some(server) = &self.server {
            return Ok(At::Server(server.clone()));
        }
        let Door { socket, config: ConfigFile { config } } = &self.door;
        if let Some(socket) = socket {
            return Ok(At::Socket(socket.clone()));
        }
        let AdminDoors { listen, socket, .. } = doors(config)?;
        let server = listen.map(|listen| At::Server(listen.to_string()));
        socket.map(At::Socket).or(server).with_context(|| {
            format!("{} opens no [admin] door; or give --server or --socket", config.display())
        })
    }
}

fn format(json: bool) -> Format {
    if json { Format::Json } else { Format::Text }
}

fn done(text: &str) -> anyhow::Result<ExitCode> {
    say(text)?;
    Ok(ExitCode::SUCCESS)
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
    request.fits(&world)?;
    let beliefs = beliefs(&node)?;
    let ground = Groundwork::new(world);
    let clocks = Now { monotonic: monotonic(), wall: now() };
    let evidence = Evidence::read(&node.state_dir, &ground.world, clocks);
    let views = evidence.views();
    let explanation = match &request.moment {
        // An explanation is of a whole second; an order of this very one is in force already.
        None => {
            let board = beliefs.board(1, &ground, views, now());
            explain::explain(&Snapshot::new(ground.into(), board), &node.name, &request)
        }
        Some(moment) => {
            let board = beliefs.board_of(moment, &ground, views, clocks.wall);
            let shelf = Shelf::of_files(&node.state_dir);
            let found = request.sought(clocks.wall).map(|sought| archive::found(&shelf, &sought));
            explain::explain_then(ground.into(), board, found, &node.name, &request)
        }
    };
    Ok(explanation.render_from_files(format)?)
}

fn beliefs(node: &Node) -> anyhow::Result<Beliefs> {
    let (beliefs, reread) = Beliefs::read(node);
    if let Reread::Refused(why) | Reread::Lost(why) = reread {
        bail!("{why}");
    }
    match &beliefs.entries_lost {
        Some(why) => bail!("{why}"),
        None => Ok(beliefs),
    }
}

fn replay(
    files: &[PathBuf],
    suppose: &[String],
    no_overrides: bool,
    format: Format,
    file: &ConfigFile,
) -> anyhow::Result<ExitCode> {
    let suppose = suppose.iter().map(|word| word.parse()).collect::<Result<_, _>>()?;
    let files = replay::files(files)?;
    // Without its policy tests: a world that fails one may be what is asked about.
    let Some(Config { node, world, .. }) = told(config::load(&file.config)) else {
        bail!("the config has problems, so nothing can be replayed by it");
    };
    let beliefs = if no_overrides { None } else { Some(beliefs(&node)?) };
    let request = replay::Request {
        files,
        config: &file.config,
        node_name: &node.name,
        beliefs: beliefs.as_ref(),
        suppose,
    };
    request.fits(&world)?;
    let report = replay::replay(Groundwork::new(world).into(), &request);
    say(&report.render(format)?)?;
    Ok(match (report.is_complete(), report.otherwise) {
        (false, _) => ExitCode::from(REPLAY_FAILED),
        (true, 0) => ExitCode::SUCCESS,
        (true, 1..) => ExitCode::from(ANSWERED_OTHERWISE),
    })
}

/// All that can be read is shown; what cannot be is an error.
fn show_queries(files: &[PathBuf], format: Format) -> anyhow::Result<ExitCode> {
    let mut out = BufWriter::new(std::io::stdout().lock());
    let mut code = ExitCode::SUCCESS;
    for file in replay::files(files)? {
        let shown = replay::open(&file)
            .map_err(|unreadable| anyhow::Error::from(unreadable.why))
            .and_then(|mut source| {
                while let Some(asked) = source.reader.next()? {
                    let line = match format {
                        Format::Text => replay::queries_line(&asked),
                        Format::Json => replay::queries_object(&asked).to_string() + "\n",
                    };
                    out.write_all(line.as_bytes()).context(UNSAID)?;
                }
                Ok(source.reader.cut())
            });
        match shown {
            Ok(0) => {}
            Ok(cut) => {
                eprintln!("gslb-dns: {}: {cut} octets at its end are cut short", file.display())
            }
            Err(error) => {
                eprintln!("gslb-dns: {}: {error:#}", file.display());
                code = ExitCode::FAILURE;
            }
        }
    }
    out.flush().context(UNSAID)?;
    Ok(code)
}

const UNSAID: &str = "cannot write to standard output";

/// Prints; a reader who has gone away is an error, not a panic.
fn say(text: &str) -> anyhow::Result<()> {
    std::io::stdout().write_all(text.as_bytes()).context(UNSAID)
}
