//! The demo world on loopback: a name server, three sites that serve, five probes that look at them.
//!
//! world ─▶ (name server, site, vantage) ◀─ switch (files that whoever tries it makes) ; guide (what to try)
//!
//! A composition root: it writes the world beside this file to a temporary directory and starts the daemons in one
//! process. It needs no root and leaves nothing behind.

mod guide;
mod site;
mod switch;
mod vantage;
mod world;

use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;

use anyhow::Context as _;
use gslb_dns::config;
use gslb_dns::passed::Passed;
use gslb_dns::run::{HangUp, Server, Shell, StartError};
use tokio::runtime::{self, Runtime};
use tokio::sync::watch;

use crate::guide::Addresses;
use crate::site::Listeners;
use crate::switch::Thrown;
use crate::vantage::Vantage;
use crate::world::VANTAGES;

fn main() -> anyhow::Result<()> {
    if std::env::args().len() > 1 {
        anyhow::bail!("the demo takes no arguments: it prints what to try, and Ctrl-C ends it");
    }
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
    let sites = threads("sites")?;
    {
        let _entered = sites.enter();
        let serving = listeners.serve()?;
        sites.spawn(switch::follow(dir.path().to_owned(), serving, thrown));
    }
    let start = |name: &&'static str| Vantage::start(name, dir.path(), control, port, &switches);
    let vantages: Vec<Vantage> = VANTAGES.iter().map(start).collect::<anyhow::Result<_>>()?;
    say(&guide::what_to_try(dir.path(), &Addresses { dns, admin, port }));
    server.wait_for_signal(HangUp::End);
    say(&format!("\nending; {} is removed\n", dir.path().display()));
    drop((vantages, sites));
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
