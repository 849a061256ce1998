//! The demo world on loopback: a name server, three sites with a balancer before three servers each, five probes.
//!
//! world ─▶ (name server, site, server, vantage) ◀─ switch (files that whoever tries it makes) ; guide (what to try)
//!
//! A composition root: it writes the world beside this file to a temporary directory and starts the daemons in one
//! process. It needs no root and leaves nothing behind.

mod guide;
mod server;
mod site;
mod switch;
mod vantage;
mod world;

use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context as _;
use gslb_dns::config;
use gslb_dns::passed::Passed;
use gslb_dns::run::{HangUp, Server, Shell, StartError};
use tokio::runtime::{self, Runtime};
use tokio::sync::watch;

use crate::guide::Addresses;
use crate::server::Listeners;
use crate::site::Site;
use crate::switch::Thrown;
use crate::vantage::Vantage;
use crate::world::{SITES, VANTAGES};

const HELP: &str = "\
A name server for example.com, three sites that serve, each a balancer before three servers, and five probes that look
at them, in one process on loopback.

It needs no root and no config: it prints what to try, and Ctrl-C ends it. Its files are in a temporary directory
(TMPDIR, or /tmp), which goes with it.

Usage: gslb-demo

Options:
  -h, --help  Print this
";

/// As for every command whose words are not understood.
const USAGE: u8 = 2;

fn main() -> ExitCode {
    let told = match std::env::args_os().nth(1) {
        None => run(),
        Some(word) if word == "-h" || word == "--help" => {
            say(HELP);
            Ok(())
        }
        Some(word) => {
            let word = word.display();
            eprintln!("gslb-demo: no argument {word} is known: it takes none but --help");
            return ExitCode::from(USAGE);
        }
    };
    match told {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("gslb-demo: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> anyhow::Result<()> {
    let dir = tempfile::Builder::new().prefix("gslb-demo-").tempdir()?;
    common::telemetry::log_as_text_to(File::create(dir.path().join("log"))?)?;
    let listeners = Listeners::bind()?;
    let port = listeners.port();
    world::write(dir.path(), port)?;
    let mut server = start(dir.path())?;
    let dns = *server.dns_addresses().first().context("the demo listens for DNS")?;
    let admin = server.admin_address().context("the demo has an admin door")?;
    let control = server.control_address().context("the demo listens for probes")?;
    let (thrown, switches) = watch::channel(Thrown::new());
    let threads_of_sites = threads("sites")?;
    {
        let _entered = threads_of_sites.enter();
        let servers = listeners.serve()?;
        let site = |(name, vip)| Site::new(name, vip, dir.path(), control, port);
        let mut sites: Vec<Site> = SITES.into_iter().map(site).collect::<anyhow::Result<_>>()?;
        for site in &mut sites {
            threads_of_sites.block_on(site.revive())?;
        }
        let everything = switch::Breakable { sites, servers };
        threads_of_sites.spawn(switch::follow(dir.path().to_owned(), everything, thrown));
    }
    let start = |name: &&'static str| Vantage::start(name, dir.path(), control, port, &switches);
    let vantages: Vec<Vantage> = VANTAGES.iter().map(start).collect::<anyhow::Result<_>>()?;
    say(&guide::what_to_try(dir.path(), &Addresses { dns, admin, port }));
    server.wait_for_signal(HangUp::End);
    say(&format!("\nending; {} is removed\n", dir.path().display()));
    drop((vantages, threads_of_sites));
    Ok(())
}

/// A runtime of few threads, by whose name the log tells whose lines they are.
fn threads(name: &str) -> std::io::Result<Runtime> {
    runtime::Builder::new_multi_thread().worker_threads(1).thread_name(name).enable_all().build()
}

/// Whoever closed our output wants to read no more; the demo goes on.
fn say(text: &str) {
    let _ = std::io::stdout().write_all(text.as_bytes());
}

/// On the ports of `node.toml`, or on free ones if those are taken.
fn start(dir: &Path) -> anyhow::Result<Server> {
    let node = dir.join("node.toml");
    let load = || {
        let prepared = config::load(&node).and_then(config::Config::prepare);
        prepared.map_err(|problems| anyhow::anyhow!("{problems}"))
    };
    match Server::start(Shell::open(Passed::default())?, load()?) {
        Err(StartError::Listen { address, .. }) => {
            say(&format!("{address} is taken: using free ports instead\n"));
            fs::write(&node, world::node_on_free_ports())?;
            Ok(Server::start(Shell::open(Passed::default())?, load()?)?)
        }
        other => Ok(other?),
    }
}
