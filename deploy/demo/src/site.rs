//! A site's balancer: the real agent before the site's servers, on threads that have its name.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use site_agent::config;
use site_agent::run::Agent;
use tokio::task::JoinHandle;

use crate::world;

pub struct Site {
    pub name: &'static str,
    file: PathBuf,
    balancing: Option<JoinHandle<()>>,
}

impl Site {
    /// Its config is written; nobody balances yet.
    pub fn new(
        name: &'static str,
        vip: Ipv4Addr,
        dir: &Path,
        control: SocketAddr,
        port: u16,
    ) -> anyhow::Result<Site> {
        let file = dir.join(name).join("site.toml");
        fs::write(&file, world::site(name, vip, control, port))?;
        Ok(Site { name, file, balancing: None })
    }

    /// The box loses its power: connections are refused, and nobody is told why.
    pub async fn kill(&mut self) {
        if let Some(balancing) = self.balancing.take() {
            balancing.abort();
            // Its listeners are closed when it has ended.
            let _ = balancing.await;
        }
    }

    pub async fn revive(&mut self) -> anyhow::Result<()> {
        if self.balancing.is_none() {
            let config =
                config::load(&self.file).map_err(|problems| anyhow::anyhow!("{problems}"))?;
            let agent = Agent::start(config, 1).await;
            let mut agent = agent.with_context(|| format!("the agent of {}", self.name))?;
            self.balancing = Some(tokio::spawn(async move { agent.turn().await }));
        }
        Ok(())
    }
}
