//! Tells name servers what this site can do: a stream of reports to each.
//!
//! `Voice` ─▶ what is said ─▶ tale ─▶ (`common::telling`, a name server) ─▶ tale ─▶ the VIPs that it asks for ─▶ `Voice`

mod tale;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use common::clock::monotonic;
use common::entropy;
use common::mtls::{CredentialsError, Kept};
use common::report::Boot;
use common::report::agent::{MOST_VIPS, Vrrp};
use common::telling::{self, Lock, NameServer, Renewer, Runs, RunsError, Stream};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{sleep, timeout};
use tracing::{info, warn};

pub use self::tale::Said;
use self::tale::{Asked, Tale};
use crate::balancer::Shown;
use crate::metrics::Telling;
use crate::site::{Agent, Reporting};
use crate::voice::{Door, PoolWord, Voice};

/// Whoever leaves is believed to be heard after this, whether they are or not.
const LAST_WORD: Duration = Duration::from_secs(2);
/// Whether the last word is heard is looked at so often.
const LOOK: Duration = Duration::from_millis(20);

/// The name servers as they are told now; dropped, none is told any more.
pub struct Reporter {
    /// As it was at the start: only whom we tell changes with a reload.
    agent: Agent,
    reporting: Reporting,
    voice: Voice,
    /// Whether somebody was told that there are more VIPs than may be told of.
    is_too_much_told: bool,
    said: watch::Sender<Arc<Said>>,
    asked: Arc<Asked>,
    streams: Vec<Told>,
    credentials: Arc<Kept>,
    runs: Arc<Runs>,
    boot: Boot,
    inc: u64,
    renewers: watch::Sender<Vec<NameServer>>,
    meters: Telling,
    _tasks: JoinSet<()>,
    /// Given back when all that could write there was told to end.
    _lock: Lock,
}

/// A name server that is told.
struct Told {
    server: NameServer,
    /// Which word it has acknowledged.
    heard: watch::Receiver<u64>,
    stream: AbortHandle,
}

impl Drop for Told {
    fn drop(&mut self) {
        self.stream.abort();
    }
}

#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    #[error(transparent)]
    Runs(#[from] RunsError),
}

impl Reporter {
    /// Begins to tell these name servers; nothing is said of any VIP yet.
    pub fn start(
        agent: &Agent,
        reporting: &Reporting,
        meters: Telling,
    ) -> Result<Reporter, ReportError> {
        let (runs, inc, lock) = Runs::open(&reporting.state_dir)?;
        let credentials = Arc::new(Kept::read(reporting.files.clone())?);
        let (renewers, to_ask) = watch::channel(reporting.servers.clone());
        let mut tasks = JoinSet::new();
        tasks.spawn(Renewer::new(Arc::clone(&credentials), to_ask, meters.clone()).run());
        tasks.spawn(telling::follow(Arc::clone(&credentials), meters.clone()));
        info!(agent = &*agent.name, site = &*agent.site, inc, "name servers are told of this site");
        let mut reporter = Reporter {
            agent: agent.clone(),
            reporting: reporting.clone(),
            voice: Voice::default(),
            is_too_much_told: false,
            said: watch::Sender::default(),
            asked: Arc::default(),
            streams: vec![],
            credentials,
            runs: Arc::new(runs),
            boot: Boot(entropy::octets()),
            inc,
            renewers,
            meters,
            _tasks: tasks,
            _lock: lock,
        };
        reporter.open(&reporting.servers);
        Ok(reporter)
    }

    /// Goes over to a config: other name servers are told, and those that stay hear no break.
    pub fn adopt(&mut self, agent: Option<&Agent>) {
        let reporting = agent.and_then(|agent| Some((agent, agent.reporting.as_ref()?)));
        let Some((agent, reporting)) = reporting else {
            warn!("agent.report_to is gone: name servers are told until the next start");
            return;
        };
        let fixed = |agent: &Agent, reporting: &Reporting| {
            let Reporting { servers: _, files, principal, state_dir } = reporting.clone();
            (agent.name.clone(), agent.site.clone(), files, principal, state_dir)
        };
        if fixed(agent, reporting) != fixed(&self.agent, &self.reporting) {
            warn!("agent.name, site, state_dir and certificate files change with a restart only");
        }
        self.open(&reporting.servers);
        self.renewers.send_replace(reporting.servers.clone());
    }

    fn open(&mut self, wanted: &[NameServer]) {
        let meters = &self.meters;
        self.streams.retain(|told| {
            let stays = wanted.contains(&told.server);
            if !stays {
                meters.tell_no_more(&told.server.name);
            }
            stays
        });
        for server in wanted {
            if self.streams.iter().any(|told| told.server == *server) {
                continue;
            }
            self.meters.tell(&server.name);
            let (tale, heard) = Tale::new(
                Arc::clone(&server.name),
                self.reporting.principal.cluster.to_string(),
                &self.agent,
                (self.boot, self.inc),
                self.said.subscribe(),
                Arc::clone(&self.asked),
            );
            let stream = Stream {
                server: server.clone(),
                credentials: Arc::clone(&self.credentials),
                runs: Arc::clone(&self.runs),
                tale,
                epoch: None,
                meters: self.meters.clone(),
            };
            let stream = tokio::spawn(stream.tell()).abort_handle();
            self.streams.push(Told { server: server.clone(), heard, stream });
        }
    }

    /// Looks at what the balancer can do now and which roles this box has, and says what is new.
    pub fn look(&mut self, shown: &Shown, roles: &BTreeMap<IpAddr, Vrrp>) {
        self.look_at(shown, roles, false);
    }

    fn look_at(&mut self, shown: &Shown, roles: &BTreeMap<IpAddr, Vrrp>, is_leaving: bool) {
        let doors: Vec<Door> = shown.frontends.iter().map(|(frontend, _)| door(frontend)).collect();
        let word = |upstream: &Arc<crate::upstream::Upstream>| {
            PoolWord::of(&upstream.shown().standing, upstream.servers().len())
        };
        let pools: Vec<PoolWord> = shown.upstreams.iter().map(word).collect();
        let is_told = |name: &str| self.streams.iter().any(|told| *told.server.name == *name);
        let asked = self.asked.vips(is_told);
        let is_first = self.said.borrow().number == 0;
        let now = monotonic();
        self.voice.count(now, &counts(shown));
        let has_news = self.voice.look(now, &doors, &pools, &asked, roles, is_leaving) || is_first;
        self.tell_of_too_many();
        let vips = self.voice.vips();
        if has_news {
            self.said.send_modify(|said| {
                *said = Arc::new(Said { number: said.number + 1, vips });
            });
        } else if self.said.borrow().vips != vips {
            // What is asked has changed, and nothing else: it goes with the next report, and nobody is woken for it.
            self.said.send_if_modified(|said| {
                *said = Arc::new(Said { number: said.number, vips });
                false
            });
        }
    }

    fn tell_of_too_many(&mut self) {
        let left_out = self.voice.left_out();
        if left_out > 0 && !self.is_too_much_told {
            warn!(left_out, most = MOST_VIPS, "name servers are not told of every VIP and port");
        }
        self.is_too_much_told = left_out > 0;
    }

    /// What is said of the site.
    pub fn said(&self) -> watch::Receiver<Arc<Said>> {
        self.said.subscribe()
    }

    pub fn meters(&self) -> &Telling {
        &self.meters
    }

    /// Tells that nobody is served here any more, and waits until that is heard.
    pub async fn leave(mut self, shown: &Shown, roles: &BTreeMap<IpAddr, Vrrp>) {
        self.look_at(shown, roles, true);
        let number = self.said.borrow().number;
        let heard = async {
            while self.streams.iter().any(|told| *told.heard.borrow() < number) {
                sleep(LOOK).await;
            }
        };
        if timeout(LAST_WORD, heard).await.is_err() {
            warn!("not every name server has heard that this site's agent ends");
        }
    }
}

/// How often clients have asked, at each address that they came to. Where somebody listens at one address it is zero before
/// anybody came; at a wildcard it is not known whether anybody ever will, under that address.
fn counts(shown: &Shown) -> BTreeMap<SocketAddr, u64> {
    let mut counts = BTreeMap::new();
    for (frontend, traffic) in &shown.frontends {
        let bound = frontend.bind.iter().filter(|at| !at.ip().is_unspecified());
        let zero = bound.map(|at| (*at, 0));
        for (at, count) in zero.chain(traffic.vips.counts()) {
            *counts.entry(at).or_default() += count;
        }
    }
    counts
}

fn door(frontend: &crate::site::Frontend) -> Door {
    let routing = &frontend.routing;
    let of_rules = || routing.rules.iter().filter_map(|rule| rule.action.pool());
    let pools: Option<BTreeSet<_>> = match routing.pool {
        None if routing.redirect_https.is_some() => None,
        None => Some(of_rules().collect()),
        Some(pool) => Some([pool].into()),
    };
    Door { bind: frontend.bind.clone(), pools: pools.map(|pools| pools.into_iter().collect()) }
}
