//! What one name server is told, which is always all of it; and which VIPs it asks for.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use common::clock::monotonic;
use common::lock::Mutex;
use common::principal::Kind;
use common::report::agent::{self, Vip};
use common::report::{Beat, Boot, Head, Heard, Own, Reply};
use common::site_assignment::SiteAssignment;
use common::telling::{self, VALID};
use tokio::sync::watch;
use tracing::info;

use crate::site::Agent;

/// What is asked for is looked at within this: twice the balancer's turn.
const LOOKED_AT: Duration = Duration::from_millis(200);

/// All that there is to say, and how often something else was said before.
#[derive(Debug, Default)]
pub struct Said {
    pub number: u64,
    pub vips: Vec<Vip>,
}

/// What name servers ask for, by name.
#[derive(Debug, Default)]
pub struct Asked(Mutex<BTreeMap<Arc<str>, Arc<BTreeSet<SocketAddr>>>>);

impl Asked {
    /// VIPs and ports that any of those checks who are told; what others asked is forgotten.
    pub fn vips(&self, is_told: impl Fn(&str) -> bool) -> BTreeSet<SocketAddr> {
        let mut asked = self.0.lock();
        asked.retain(|server, _| is_told(server));
        asked.values().flat_map(|vips| vips.iter().copied()).collect()
    }
}

pub struct Tale {
    server: Arc<str>,
    cluster: String,
    agent: Agent,
    said: watch::Receiver<Arc<Said>>,
    beat: Beat,
    /// When what was asked for first is looked at, and said with the rest.
    looked_at: Duration,
    /// The word in flight.
    told: u64,
    heard: watch::Sender<u64>,
    asked: Arc<Asked>,
}

impl Tale {
    /// And which word the name server has acknowledged.
    pub fn new(
        server: Arc<str>,
        cluster: String,
        agent: &Agent,
        (boot, inc): (Boot, u64),
        said: watch::Receiver<Arc<Said>>,
        asked: Arc<Asked>,
    ) -> (Tale, watch::Receiver<u64>) {
        let (heard, hears) = watch::channel(0);
        let (agent, beat) = (agent.clone(), Beat::new(boot, inc));
        let looked_at = Duration::ZERO;
        (Tale { server, cluster, agent, said, beat, looked_at, told: 0, heard, asked }, hears)
    }
}

impl telling::Tale for Tale {
    async fn changed(&mut self) {
        // Nobody says anything more only when the agent ends, and this with it.
        let _ = self.said.changed().await;
        self.said.mark_changed();
    }

    fn on_connected(&mut self) {
        self.beat.on_connected();
    }

    fn due(&mut self) -> Option<Duration> {
        if self.said.has_changed().unwrap_or(false) {
            self.said.mark_unchanged();
            self.beat.on_news();
        }
        // To say nothing of a VIP is to say that there is none.
        if self.said.borrow().number == 0 {
            return Some(Duration::MAX);
        }
        Some(self.beat.due()?.max(self.looked_at))
    }

    fn next(&mut self, now: Duration) -> Vec<u8> {
        let said = Arc::clone(&self.said.borrow());
        self.told = said.number;
        let (body, digest) = agent::write(&self.agent.site, &said.vips, &[]);
        let head = Head {
            cluster: self.cluster.clone(),
            producer: self.agent.name.to_string(),
            kind: Kind::Agent,
            boot: self.beat.boot(),
            mark: self.beat.next(now),
            base: None,
            now,
            digest,
            valid: VALID,
            own: Own { version: env!("CARGO_PKG_VERSION").to_owned(), ..Own::default() },
        };
        head.write(&body)
    }

    fn on_reply(&mut self, reply: Reply) -> Option<u64> {
        match self.beat.on_reply(reply) {
            Heard::Acknowledged(_) => {
                self.heard.send_replace(self.told);
                None
            }
            Heard::Raised(inc) => Some(inc),
            // Every report is whole; one that was lost is sent again at the next beat.
            Heard::Anew | Heard::Nothing => None,
        }
    }

    async fn on_assignment(&mut self, octets: Bytes) -> Result<String, String> {
        let assignment = SiteAssignment::read(&octets).map_err(|error| error.to_string())?;
        let SiteAssignment { epoch, site, vips } = assignment;
        let of_vip = |vip: common::site_assignment::Vip| {
            vip.ports.into_iter().map(move |port| SocketAddr::new(vip.addr, port))
        };
        let vips: BTreeSet<SocketAddr> = vips.into_iter().flat_map(of_vip).collect();
        let server = &*self.server;
        info!(server, site, vips = vips.len(), epoch, "assignment taken");
        if self.asked.0.lock().insert(Arc::clone(&self.server), Arc::new(vips)).is_none() {
            self.looked_at = monotonic() + LOOKED_AT;
        }
        Ok(epoch)
    }
}
