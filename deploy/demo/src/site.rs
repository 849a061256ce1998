//! A balancer of a site's pair: the real agent before the site's servers.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use site_agent::config;
use site_agent::run::Agent;
use tokio::task::JoinHandle;

use crate::world;

/// One of the two that share a site's address.
pub struct Balancer {
    pub site: &'static str,
    /// Which of the pair.
    pub one: &'static str,
    file: PathBuf,
    balancing: Option<JoinHandle<()>>,
}

impl Balancer {
    /// Nobody balances yet.
    pub fn new(site: &'static str, one: &'static str, dir: &Path) -> Balancer {
        let file = world::agent_file(dir, &world::agent(site, one));
        Balancer { site, one, file, balancing: None }
    }

    /// The box loses its power: connections to it are refused, and nobody is told why.
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
            let mut agent =
                agent.with_context(|| format!("balancer {} of {}", self.one, self.site))?;
            self.balancing = Some(tokio::spawn(async move { agent.turn().await }));
        }
        Ok(())
    }
}
