//! The world while it runs: name servers, sites, vantages, and who breaks them.

use std::fs::File;
use std::os::unix::fs::symlink;
use std::path::Path;

use anyhow::Context as _;
use tokio::runtime::{self, Runtime};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

use crate::directory::Directory;
use crate::name_server::NameServer;
use crate::pair::Pair;
use crate::ports::{Ports, Turn};
use crate::server::Listeners;
use crate::site::Balancer;
use crate::switch::{self, Breakable, Thrown};
use crate::vantage::Vantage;
use crate::world::{self, BOXES, NAME_SERVERS, SITES, VANTAGES};

/// Whether there is a pair with VRRP, for which Linux wants root.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Vrrp {
    Shown,
    LeftOut,
}

pub struct Running {
    vantages: Vec<Vantage>,
    /// Who breaks things, and whom to ask to stop that.
    breaker: Option<(JoinHandle<Breakable>, oneshot::Sender<()>)>,
    switches: watch::Receiver<Thrown>,
    /// Of sites and their servers.
    sites: Runtime,
    ports: Ports,
    vrrp: Vrrp,
    /// Goes last.
    directory: Directory,
}

impl Running {
    /// Each change that a switch makes is told.
    pub fn start(vrrp: Vrrp, tell: fn(&str)) -> anyhow::Result<Running> {
        let directory = Directory::make()?;
        let dir = directory.path();
        let log = dir.join("log");
        let file = File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
        common::telemetry::log_as_text_to(file)?;
        // Before name servers give up what it takes.
        let pair = match vrrp {
            Vrrp::Shown => Some(Pair::start(dir)?),
            Vrrp::LeftOut => None,
        };
        let turn = Turn::wait().context("cannot wait for other demos to choose their ports")?;
        let ports = Ports::find()?;
        world::write(dir, &ports)
            .context("the demo's files cannot be written; TMPDIR names another place for them")?;
        link_commands(dir)?;
        let mut name_servers = NAME_SERVERS.map(|(name, _)| NameServer::new(name, dir));
        for server in &mut name_servers {
            server.revive()?;
        }
        let (thrown, switches) = watch::channel(Thrown::new());
        let (stop, stopping) = oneshot::channel();
        let sites = threads("sites")?;
        let entered = sites.enter();
        let servers = Listeners::bind(ports.web)?.serve()?;
        let mut balancers: Vec<Balancer> = SITES
            .iter()
            .flat_map(|(site, _)| BOXES.map(|one| Balancer::new(site, one, dir)))
            .collect();
        for balancer in &mut balancers {
            sites.block_on(balancer.revive())?;
        }
        drop(turn);
        let all = Breakable { name_servers: name_servers.into(), balancers, servers, pair };
        let breaker = sites.spawn(switch::follow(dir.to_owned(), all, thrown, tell, stopping));
        drop(entered);
        let vantages = VANTAGES.iter().map(|name| Vantage::start(name, dir, &switches));
        let vantages = vantages.collect::<anyhow::Result<_>>()?;
        Ok(Running {
            vantages,
            breaker: Some((breaker, stop)),
            switches,
            sites,
            ports,
            vrrp,
            directory,
        })
    }

    pub fn dir(&self) -> &Path {
        self.directory.path()
    }

    /// What is broken now.
    pub fn switches(&self) -> watch::Receiver<Thrown> {
        self.switches.clone()
    }

    pub fn vrrp(&self) -> Vrrp {
        self.vrrp
    }

    pub fn ports(&self) -> Ports {
        self.ports
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Nobody shall look at what is gone.
        self.vantages.clear();
        if let Some((breaker, stop)) = self.breaker.take() {
            let _ = stop.send(());
            // Name servers wait for their threads when they end, which no task may do.
            drop(self.sites.block_on(breaker));
        }
    }
}

/// A runtime of few threads, by whose name the log tells whose lines they are.
pub fn threads(name: &str) -> std::io::Result<Runtime> {
    runtime::Builder::new_multi_thread().worker_threads(1).thread_name(name).enable_all().build()
}

/// `dns1 board` there asks the name server `dns1`: see `commands`.
fn link_commands(dir: &Path) -> anyhow::Result<()> {
    let program = std::env::current_exe().context("cannot tell where this program is")?;
    for (name, _) in NAME_SERVERS {
        let link = dir.join(name);
        symlink(&program, &link).with_context(|| format!("cannot make {}", link.display()))?;
    }
    Ok(())
}
