//! The shell around the balancer: its start, reloads, time, and a stop that waits for those who are still there.

use std::collections::BTreeMap;
use std::future::pending;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use common::clock;
use common::config::problems::Problems;
use common::look::{Looker, Programs, Roots, RootsError, Who};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::{interval, sleep, timeout};
use tracing::{error, info, warn};

use crate::admin::{self, Sources, Told};
use crate::balancer::{Balancer, Refused, Shown};
use crate::changes::{Change, Parts, changes};
use crate::config::{self, Config, Good};
use crate::lease::keep::{Keeper, Of, Roles};
use crate::local_socket::BindError;
use crate::metrics::Telling;
use crate::report::{ReportError, Reporter};
use crate::runtime::Process;
use crate::runtime_socket::{self, Desk, RuntimeSocket};
use crate::site::Runtime;

/// Slow starts and ejections go on so often.
const TURN: Duration = Duration::from_millis(100);
/// For so long the last lines of access logs may take.
const LAST_LINES: Duration = Duration::from_secs(2);
/// Changes of a config of which people are told one by one.
const MOST_TOLD: usize = 100;

/// A running agent. Dropped, it takes nobody new.
pub struct Agent {
    file: PathBuf,
    /// Of the config that runs.
    good: Good,
    balancer: Balancer,
    sources: Sources,
    /// As the config has it, and as it is.
    asked_admin: Option<SocketAddr>,
    admin: Option<SocketAddr>,
    /// As the config has it.
    asked_runtime: Option<Runtime>,
    /// `None` where no name server is told.
    reporter: Option<Reporter>,
    /// `None` where this box shares no address with another.
    keeper: Option<Keeper>,
    tasks: JoinSet<()>,
}

#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Refused(#[from] Refused),
    #[error(transparent)]
    Roots(#[from] RootsError),
    #[error(transparent)]
    Report(#[from] ReportError),
    #[error("the threads of the data path cannot start")]
    Threads(#[source] io::Error),
    #[error("cannot listen on {address} for the admin door")]
    Admin { address: SocketAddr, source: io::Error },
    #[error(transparent)]
    Runtime(#[from] BindError),
}

impl Agent {
    pub async fn start(config: Config, threads: usize) -> Result<Agent, StartError> {
        let Config { file, site, .. } = config;
        let (address, agent) = (site.admin, site.agent.clone());
        let door = match address {
            None => None,
            Some(address) => {
                let listener = TcpListener::bind(address).await;
                Some(listener.map_err(|source| StartError::Admin { address, source })?)
            }
        };
        let (asked_runtime, good) = (site.runtime.clone(), Good::of(&site));
        let lease = Of::site(&site.redundancy);
        let socket = asked_runtime.as_ref().map(RuntimeSocket::bind).transpose()?;
        let looker = Looker {
            who: Who::Balancer,
            roots: Roots::of_system()?,
            programs: Programs::new(BTreeMap::new()),
        };
        let mut balancer = Balancer::start(threads, looker).map_err(StartError::Threads)?;
        balancer.adopt(site)?;
        // Before anybody is told of a VIP, it is listened at.
        let keeper = lease.map(|of| Keeper::start(of, balancer.rounds()));
        let reporter = match agent
            .as_ref()
            .and_then(|agent| Some((agent, agent.reporting.as_ref()?)))
        {
            Some((agent, reporting)) => Some(Reporter::start(agent, reporting, Telling::new())?),
            None => None,
        };
        let told = reporter
            .as_ref()
            .map(|reporter| Told { meters: reporter.meters().clone(), vips: reporter.said() });
        let sources = Sources {
            shown: Arc::clone(balancer.shown()),
            checks: Arc::clone(balancer.checks()),
            reloads: Arc::default(),
            told,
        };
        let admin = door.as_ref().and_then(|door| door.local_addr().ok());
        let mut tasks = JoinSet::new();
        if let Some(door) = door {
            tasks.spawn(admin::serve(door, sources.clone()));
        }
        if let Some(socket) = socket {
            let desk = Desk {
                process: Process {
                    version: env!("CARGO_PKG_VERSION"),
                    pid: std::process::id(),
                    threads,
                    node: agent.map(|agent| agent.name),
                    started: clock::monotonic(),
                    started_at: clock::unix_seconds(),
                },
                shown: Arc::clone(balancer.shown()),
                checks: Arc::clone(balancer.checks()),
            };
            tasks.spawn(runtime_socket::serve(socket, desk));
        }
        let asked_admin = address;
        Ok(Agent {
            file,
            good,
            balancer,
            sources,
            asked_admin,
            admin,
            asked_runtime,
            reporter,
            keeper,
            tasks,
        })
    }

    pub fn admin(&self) -> Option<SocketAddr> {
        self.admin
    }

    pub fn shown(&self) -> Arc<Shown> {
        self.balancer.shown().load_full()
    }

    /// Reads the config again. What is wrong with it is told, and what runs goes on.
    pub fn reload(&mut self) {
        match self.read_again() {
            Ok(()) => {
                self.sources.reloads.done.fetch_add(1, Relaxed);
                info!("the config is taken");
            }
            Err(problems) => {
                self.sources.reloads.refused.fetch_add(1, Relaxed);
                for problem in &problems {
                    error!(problem, "the config has a problem");
                }
                let problems = problems.len();
                error!(problems, "the config is refused: the one before goes on");
            }
        }
    }

    /// Each problem is told in a line, with its file, line and key where it has such.
    fn read_again(&mut self) -> Result<(), Vec<String>> {
        let told =
            |problems: Problems| problems.iter().map(ToString::to_string).collect::<Vec<_>>();
        let config = config::reload(&self.file, &self.good).map_err(told)?;
        let now = i64::try_from(clock::unix_seconds()).unwrap_or(i64::MAX);
        for warning in config.warnings_at(now).iter() {
            let warning = warning.to_string();
            warn!(warning, "the config may not do what was meant");
        }
        let is_other_admin = config.site.admin != self.asked_admin;
        let is_other_runtime = config.site.runtime != self.asked_runtime;
        let (agent, good) = (config.site.agent.clone(), Good::of(&config.site));
        let lease = Of::site(&config.site.redundancy);
        let before = self.shown();
        self.balancer.adopt(config.site).map_err(|refused| refused.problems())?;
        self.good = good;
        match (&self.keeper, lease) {
            (Some(keeper), Some(of)) => keeper.adopt(of),
            (None, Some(of)) => self.keeper = Some(Keeper::start(of, self.balancer.rounds())),
            (_, None) => self.keeper = None,
        }
        tell_changes(&before, &self.shown());
        if is_other_admin {
            warn!("admin is another address: it is taken at the next start");
        }
        if is_other_runtime {
            warn!("runtime is another: it is taken at the next start");
        }
        let is_to_report = agent.as_ref().is_some_and(|agent| agent.reporting.is_some());
        match &mut self.reporter {
            Some(reporter) => reporter.adopt(agent.as_ref()),
            None if is_to_report => {
                warn!("agent.report_to is new: name servers are told from the next start on");
            }
            None => {}
        }
        Ok(())
    }

    /// Access logs go on in the files that have their names now.
    pub fn reopen_logs(&self) {
        self.balancer.reopen_logs();
    }

    /// Has time pass, until a part of it has ended that never should.
    pub async fn turn(&mut self) {
        let mut ticks = interval(TURN);
        loop {
            ticks.tick().await;
            self.balancer.turn();
            if let Some(reporter) = &mut self.reporter {
                reporter.look(&self.balancer.shown().load(), &roles(self.keeper.as_ref()));
            }
            if self.balancer.has_lost_a_thread() {
                error!("a thread of the data path has panicked: ending");
                return;
            }
        }
    }

    /// Takes nobody new, and waits for who is there, for so long at most.
    pub async fn stop(self, within: Duration) {
        self.stop_unless(within, pending()).await;
    }

    /// The same, and for no longer than until somebody has enough of it.
    pub async fn stop_unless(self, within: Duration, enough: impl Future<Output = ()>) {
        let Agent { balancer, mut tasks, reporter, keeper, .. } = self;
        let roles = roles(keeper.as_ref());
        // The other box has the addresses, if there is one, before nobody is served at them here.
        drop(keeper);
        // Who asks for the site is sent elsewhere before the door is shut.
        if let Some(reporter) = reporter {
            reporter.leave(&balancer.shown().load_full(), &roles).await;
        }
        balancer.stop();
        let connections = balancer.connections();
        info!(connections, ?within, "nobody new is taken: connections may end");
        let is_over = tokio::select! {
            biased;
            () = gone(&balancer) => false,
            () = sleep(within) => true,
            () = enough => true,
        };
        if is_over {
            let connections = balancer.connections();
            warn!(connections, "the time for stopping is over: connections are cut");
            // Each has its line in the access log.
            balancer.cut();
            let _ = timeout(LAST_LINES, gone(&balancer)).await;
        }
        tasks.abort_all();
        balancer.end(LAST_LINES);
        info!("stopped");
    }
}

/// Tells what is otherwise than before.
fn tell_changes(before: &Shown, after: &Shown) {
    let frontends = |shown: &Shown| -> Vec<_> {
        shown.frontends.iter().map(|(config, _)| Arc::clone(config)).collect()
    };
    let pools = |shown: &Shown| -> Vec<_> {
        shown.upstreams.iter().map(|upstream| Arc::clone(&upstream.config)).collect()
    };
    let (frontends, pools) = ([before, after].map(frontends), [before, after].map(pools));
    let [before, after] = [0, 1].map(|at| Parts { frontends: &frontends[at], pools: &pools[at] });
    let all = changes(before, after);
    for Change { what, name, how } in all.iter().take(MOST_TOLD) {
        let (what, name, how) = (what.to_string(), &**name, how.to_string());
        info!(what, name, how, "the config has it otherwise");
    }
    if let Some(more @ 1..) = all.len().checked_sub(MOST_TOLD) {
        info!(more, "the config has more otherwise");
    }
}

fn roles(keeper: Option<&Keeper>) -> Roles {
    keeper.map(Keeper::roles).unwrap_or_default()
}

/// Once the last connection has ended.
async fn gone(balancer: &Balancer) {
    while !balancer.has_ended() {
        sleep(TURN).await;
    }
}
