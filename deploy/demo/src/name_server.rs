//! A name server that can stop and come back, at the same addresses and with what it wrote down.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use gslb_dns::config;
use gslb_dns::passed::Passed;
use gslb_dns::run::{Server, Shell};

use crate::world;

pub struct NameServer {
    pub name: &'static str,
    file: PathBuf,
    running: Option<Server>,
}

impl NameServer {
    /// It does not answer yet.
    pub fn new(name: &'static str, dir: &Path) -> NameServer {
        NameServer { name, file: world::node(dir, name), running: None }
    }

    /// Whoever asks is refused. Not to be called by a task: it waits for threads.
    pub fn kill(&mut self) {
        drop(self.running.take());
    }

    /// The same holds of this.
    pub fn revive(&mut self) -> anyhow::Result<()> {
        if self.running.is_none() {
            let prepared = config::load(&self.file).and_then(config::Config::prepare);
            let prepared = prepared.map_err(|problems| anyhow::anyhow!("{problems}"));
            let server = prepared
                .and_then(|prepared| Ok(Server::start(Shell::open(Passed::default())?, prepared)?));
            self.running = Some(server.with_context(|| format!("name server {}", self.name))?);
        }
        Ok(())
    }
}
