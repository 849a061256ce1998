//! A probe with a fault before its eyes, on threads that have its name.

use std::net::IpAddr;
use std::path::Path;

use anyhow::Context as _;
use common::look::{Failure, Look, Looker, Seen};
use common::report::{Phases, Reason};
use common::target::{Address, Target};
use probe::config;
use probe::run::Probe;
use tokio::runtime::Runtime;
use tokio::sync::watch;

use crate::running::threads;
use crate::switch::{Switch, Thrown};
use crate::world;

/// In this order they end.
pub struct Vantage {
    _probe: Probe,
    _runtime: Runtime,
}

impl Vantage {
    /// Looks at once, and tells the name servers.
    pub fn start(
        name: &'static str,
        dir: &Path,
        switches: &watch::Receiver<Thrown>,
    ) -> anyhow::Result<Vantage> {
        let config = config::load(&world::probe(dir, name))
            .map_err(|problems| anyhow::anyhow!("{problems}"))?;
        let runtime = threads(name)?;
        let switches = switches.clone();
        let wrap = move |looker| Eyes { looker, vantage: name, switches: switches.clone() };
        let probe = runtime.block_on(Probe::start(config, wrap));
        Ok(Vantage { _probe: probe.with_context(|| format!("probe {name}"))?, _runtime: runtime })
    }
}

struct Eyes {
    looker: Looker,
    vantage: &'static str,
    switches: watch::Receiver<Thrown>,
}

impl Look for Eyes {
    async fn look(&self, target: &Target) -> Seen {
        match self.fault(&target.address) {
            Some(failure) => Seen {
                outcome: Err(failure),
                phases: Phases::default(),
                status: None,
                not_after: None,
            },
            None => self.looker.look(target).await,
        }
    }
}

impl Eyes {
    fn fault(&self, address: &Address) -> Option<Failure> {
        let vantage = self.vantage;
        let thrown = self.switches.borrow();
        if thrown.contains(&Switch::Blind { vantage }) {
            return Some(Failure::new(Reason::Unreachable, "its network is cut"));
        }
        let Address::Ip(IpAddr::V4(address)) = address else { return None };
        let site = world::site_at(*address)?;
        let lies = thrown.contains(&Switch::Lie { vantage, site });
        lies.then(|| Failure::new(Reason::Timeout, format!("its way to {site} is cut")))
    }
}
