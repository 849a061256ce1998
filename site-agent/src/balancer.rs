//! The balancer as a whole: a config becomes sockets, pools and what each thread is told, and so does the next one.
//!
//! What a reload does not change stays: listeners, what is known of servers, counters, connections. What it cannot have, an
//! address or a log file, refuses it whole, and what runs goes on.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use arc_swap::ArcSwap;
use common::clock;
use common::look::Looker;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tracing::{error, info, warn};

use crate::check::Checks;
use crate::data::{FrontendPart, Part, Shared, Thread};
use crate::listen::{self, Presence};
use crate::log_file::LogFile;
use crate::site::{self, Alpn, FrontendId, HttpVersion, LogTarget, PoolId, ServerId, Site};
use crate::tls::{self, Adopted, Fault, Tls};
use crate::upstream::Upstream;
use crate::worker::Traffic;

/// What runs.
pub struct Balancer {
    threads: Vec<Thread>,
    tls: Tls,
    /// By address, whose it is.
    bound: HashMap<SocketAddr, Arc<str>>,
    shared: HashMap<Arc<str>, (usize, Arc<Shared>)>,
    logs: HashMap<LogTarget, LogFile>,
    shown: Arc<ArcSwap<Shown>>,
    checks: Arc<Checks>,
}

/// What the admin door shows.
#[derive(Default)]
pub struct Shown {
    pub frontends: Vec<(Arc<site::Frontend>, Arc<Traffic>)>,
    pub upstreams: Vec<Arc<Upstream>>,
    pub certificates: Vec<tls::Shown>,
}

/// Why a config is not taken.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    #[error("frontend {frontend} cannot listen on {address}")]
    Bind { frontend: Arc<str>, address: SocketAddr, source: io::Error },
    #[error("the access log {} cannot be opened", file.display())]
    Log { file: PathBuf, source: io::Error },
    #[error("TLS cannot be spoken: {}", list(.0))]
    Tls(Vec<Fault>),
}

impl Refused {
    /// Each in a line of its own.
    pub fn problems(&self) -> Vec<String> {
        match self {
            Refused::Bind { source, .. } | Refused::Log { source, .. } => {
                vec![format!("{self}: {source}")]
            }
            Refused::Tls(faults) => faults.iter().map(ToString::to_string).collect(),
        }
    }
}

impl Balancer {
    /// Starts the threads, with nothing to do yet. Checks run on this runtime.
    pub fn start(threads: usize, looker: Looker) -> io::Result<Balancer> {
        let threads =
            (0..threads).map(|index| Thread::start(index, threads)).collect::<Result<_, _>>()?;
        let shown: Arc<ArcSwap<Shown>> = Arc::default();
        let checks = Arc::new(checks(looker, &shown));
        Ok(Balancer {
            threads,
            tls: Tls::new().map_err(io::Error::other)?,
            bound: HashMap::new(),
            shared: HashMap::new(),
            logs: HashMap::new(),
            shown,
            checks,
        })
    }

    pub fn shown(&self) -> &Arc<ArcSwap<Shown>> {
        &self.shown
    }

    /// What looks have come to, for people.
    pub fn checks(&self) -> &Arc<Checks> {
        &self.checks
    }

    /// Goes over to a config, or leaves everything as it is.
    pub fn adopt(&mut self, mut site: Site) -> Result<(), Refused> {
        offer_what_is_spoken(&mut site);
        let mut sockets = self.bind(&site)?;
        let (new_logs, mut lines) = self.open_logs(&site)?;
        let Adopted { handshakes, stale, certificates } =
            self.tls.adopt(&site).map_err(Refused::Tls)?;
        // From here on nothing fails.
        for fault in stale {
            error!(%fault, "a file of TLS is broken: the last good one is used");
        }
        let now = clock::monotonic();
        // Nobody is told of a server by an id of the other config.
        let checks = Arc::clone(&self.checks);
        let adopting = checks.adopt(Arc::new(site.clone()));
        let upstreams: Vec<_> =
            site.pools.into_iter().map(|pool| self.upstream(pool, now)).collect();
        for (pool, upstream) in upstreams.iter().enumerate() {
            for (server, known) in upstream.servers().iter().enumerate() {
                known.set_dial(handshakes.server(PoolId(pool), ServerId(server)).cloned());
            }
        }
        let frontends: Vec<_> = site.frontends.into_iter().map(Arc::new).collect();
        let shared: Vec<_> = frontends.iter().map(|frontend| self.share(frontend)).collect();
        for (index, thread) in self.threads.iter().enumerate() {
            let part =
                |(place, (config, shared)): (usize, (&Arc<site::Frontend>, &Arc<Shared>))| {
                    let take =
                        |address: &SocketAddr| Some((*address, sockets.get_mut(address)?.pop()?));
                    FrontendPart {
                        sockets: config.bind.iter().filter_map(take).collect(),
                        tls: handshakes.frontend(FrontendId(place)).map(Arc::clone),
                        config: Arc::clone(config),
                        shared: Arc::clone(shared),
                    }
                };
            let frontends = frontends.iter().zip(&shared).enumerate().map(part).collect();
            let lines = std::mem::take(&mut lines[index]);
            thread.adopt(Part { upstreams: upstreams.clone(), frontends, lines });
        }
        let names = frontends.iter().flat_map(|frontend| {
            frontend.bind.iter().map(|address| (*address, Arc::clone(&frontend.name)))
        });
        self.bound = names.collect();
        self.shared.retain(|name, _| frontends.iter().any(|frontend| frontend.name == *name));
        self.logs.extend(new_logs);
        let is_used = |target: &LogTarget| {
            let mut logs = frontends.iter().filter_map(|frontend| frontend.access_log.as_ref());
            logs.any(|log| log.target == *target)
        };
        self.logs.retain(|target, _| is_used(target));
        let traffic = shared.iter().map(|shared| Arc::clone(&shared.traffic));
        let frontends = frontends.into_iter().zip(traffic).collect();
        self.shown.store(Arc::new(Shown { frontends, upstreams, certificates }));
        drop(adopting);
        Ok(())
    }

    /// Sockets for every address that is not this frontend's already.
    fn bind(
        &self,
        site: &Site,
    ) -> Result<HashMap<SocketAddr, Vec<std::net::TcpListener>>, Refused> {
        let mut sockets = HashMap::new();
        let routers = &site.redundancy.routers;
        for frontend in &site.frontends {
            for address in &frontend.bind {
                if self.bound.get(address) == Some(&frontend.name) {
                    continue;
                }
                // Not with ourselves: another frontend, or one that is left by this config.
                let mut ours = self.bound.keys().chain(sockets.keys());
                let is_ours = ours.any(|ours| listen::overlap(*ours, *address));
                let is_shared = !is_ours && listen::is_shared(*address);
                let presence = match routers.iter().any(|router| router.has(address.ip())) {
                    true => Presence::NotNeeded,
                    false => Presence::Needed,
                };
                let bound =
                    listen::bind(*address, presence, self.threads.len()).map_err(|source| {
                        Refused::Bind {
                            frontend: Arc::clone(&frontend.name),
                            address: *address,
                            source,
                        }
                    })?;
                if is_shared {
                    warn!(frontend = &*frontend.name, %address, "another process listens there too, and takes a share");
                }
                sockets.insert(*address, bound);
            }
        }
        Ok(sockets)
    }

    /// Files that nobody logs to yet, and for each thread where its lines go in.
    #[expect(clippy::type_complexity, reason = "two lists that are taken apart at once")]
    fn open_logs(
        &self,
        site: &Site,
    ) -> Result<(HashMap<LogTarget, LogFile>, Vec<Vec<(LogTarget, crate::log_file::Lines)>>), Refused>
    {
        let mut files = HashMap::new();
        let mut lines: Vec<Vec<_>> = self.threads.iter().map(|_| vec![]).collect();
        for log in site.frontends.iter().filter_map(|frontend| frontend.access_log.as_ref()) {
            if self.logs.contains_key(&log.target) || files.contains_key(&log.target) {
                continue;
            }
            let opened = LogFile::open(log.target.clone(), self.threads.len());
            let (file, of_threads) = opened.map_err(|source| Refused::Log {
                file: match &log.target {
                    LogTarget::Stdout => "stdout".into(),
                    LogTarget::File(path) => path.clone(),
                },
                source,
            })?;
            for (of_thread, lines) in lines.iter_mut().zip(of_threads) {
                of_thread.push((log.target.clone(), lines));
            }
            files.insert(log.target.clone(), file);
        }
        Ok((files, lines))
    }

    fn upstream(&self, pool: site::Pool, now: Duration) -> Arc<Upstream> {
        let shown = self.shown.load();
        match shown.upstreams.iter().find(|upstream| upstream.config.name == pool.name) {
            Some(same) if *same.config == pool => Arc::clone(same),
            Some(before) => Arc::new(before.reloaded(Arc::new(pool), now)),
            None => Arc::new(Upstream::new(Arc::new(pool), now)),
        }
    }

    /// What all threads have of a frontend: what it was, with as many permits as it is to have now.
    fn share(&mut self, frontend: &site::Frontend) -> Arc<Shared> {
        let most = frontend.max_connections.min(Semaphore::MAX_PERMITS);
        let (before, shared) = self.shared.entry(Arc::clone(&frontend.name)).or_insert_with(|| {
            let permits = Arc::new(Semaphore::new(most));
            (most, Arc::new(Shared { traffic: Arc::default(), permits }))
        });
        if *before < most {
            shared.permits.add_permits(most - *before);
        } else if *before > most {
            let (permits, less) = (Arc::clone(&shared.permits), *before - most);
            let less = less - permits.forget_permits(less);
            let less = u32::try_from(less).unwrap_or(u32::MAX);
            // The others are had by connections: each is taken back when one ends.
            tokio::spawn(async move {
                if let Ok(permit) = permits.acquire_many_owned(less).await {
                    permit.forget();
                }
            });
        }
        *before = most;
        Arc::clone(shared)
    }

    /// What time alone changes.
    pub fn turn(&self) {
        let now = clock::monotonic();
        self.shown.load().upstreams.iter().for_each(|upstream| upstream.turn(now));
    }

    /// Access logs go on in the files that have their names now.
    pub fn reopen_logs(&self) {
        self.logs.values().for_each(LogFile::reopen);
        info!("access logs are opened again");
    }

    /// Nobody new comes in.
    pub fn stop(&self) {
        self.threads.iter().for_each(Thread::stop);
    }

    /// Who is still there has no more time.
    pub fn cut(&self) {
        self.threads.iter().for_each(Thread::cut);
    }

    /// Connections of clients that have not ended.
    pub fn connections(&self) -> u64 {
        let current = |(_, traffic): &(_, Arc<Traffic>)| {
            traffic.current.load(std::sync::atomic::Ordering::Relaxed)
        };
        self.shown.load().frontends.iter().map(current).sum()
    }

    pub fn has_ended(&self) -> bool {
        self.threads.iter().all(Thread::has_ended)
    }

    /// How often each thread has gone round.
    pub fn rounds(&self) -> Vec<Arc<AtomicU64>> {
        self.threads.iter().map(|thread| Arc::clone(&thread.rounds)).collect()
    }

    /// Whether a thread is gone that nobody has stopped: what it served is served by nobody.
    pub fn has_lost_a_thread(&self) -> bool {
        self.threads.iter().any(Thread::has_ended)
    }

    /// Writes what is still to be logged.
    pub fn end(self, within: Duration) {
        for (_, log) in self.logs {
            log.close(within);
        }
    }
}

/// Looks, and tells the pools of now what came of it.
fn checks(looker: Looker, shown: &Arc<ArcSwap<Shown>>) -> Checks {
    let (of_events, of_passes, of_orders) =
        (Arc::clone(shown), Arc::clone(shown), Arc::clone(shown));
    Checks::start(
        &Handle::current(),
        looker,
        move |pool, server, event, why| {
            if let Some(upstream) = of_events.load().upstreams.get(pool.0) {
                upstream.on_said(clock::monotonic(), server, event, why);
            }
        },
        move |pool, server, why| {
            if let Some(upstream) = of_passes.load().upstreams.get(pool.0) {
                upstream.on_check_passed(clock::monotonic(), server, why);
            }
        },
        move |pool, server| {
            let shown = of_orders.load();
            shown.upstreams.get(pool.0).is_some_and(|upstream| upstream.is_maint(server))
        },
    )
}

fn list(faults: &[Fault]) -> String {
    faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

/// Servers are offered what is spoken to them, and nothing that they might choose instead.
fn offer_what_is_spoken(site: &mut Site) {
    for pool in &mut site.pools {
        let spoken = match pool.http {
            HttpVersion::V1 => Alpn::Http1,
            HttpVersion::V2 => Alpn::H2,
        };
        for tls in pool.servers.iter_mut().filter_map(|server| server.tls.as_mut()) {
            tls.alpn.retain(|protocol| *protocol == spoken);
        }
    }
}
