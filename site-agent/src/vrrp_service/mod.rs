//! `site-agent vrrp run`: the virtual routers as a process of their own. The shell around `routers`.
//!
//! config ─▶ privileges ─▶ routers ─▶ log · desk, (the door) ─▶ status, metrics · notify: queue ─▶ (a program)
//! (the balancer) ─▶ balancers ─▶ routers
//!
//! It reads its own part of `site.toml` and names no room of the balancer's, whose restarts it outlives.

mod balancers;
pub mod desk;
mod log;
mod notify;
pub mod privileges;
mod queue;
pub mod status;
mod tracks;

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::time::Duration;

use arc_swap::ArcSwap;
use common::clock;
use common::config::problems::Problems;
use common::door::{self, Page};
use common::look::{Looker, Programs, Roots, RootsError, Who};
use hyper::StatusCode;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};
use tracing::{error, info, warn};

use self::balancers::Balancers;
use self::desk::{Asked, Request};
use self::log::Events;
use self::notify::Notify;
use self::status::Status;
use self::tracks::{Tracked, Tracks};
use crate::config;
use crate::local_socket::{BindError, File, Kind, LocalSocket};
use crate::metrics;
use crate::routers::shown::Shown;
use crate::routers::{Orders, Refused, Running, realtime};
use crate::site::{Redundancy, Service};
use crate::vrrp::machine::event::Lease;

/// Whoever may give orders is who runs the service.
const MODE: u32 = 0o600;
/// Balancers run as another user of the same group.
const BALANCER_MODE: u32 = 0o660;
/// Where the config has their paths.
const SOCKET: &str = "vrrp_service.socket";
const BALANCER_SOCKET: &str = "vrrp_service.balancer_socket";
/// Requests that wait for the service: it answers each at once.
const REQUESTS: usize = 16;
/// So often it is seen whether the thread of the virtual routers is still there.
const LOOK: Duration = Duration::from_millis(200);

const INDEX: &str = "\
site-agent vrrp

/metrics      Prometheus metrics
/healthz      200 while this process runs
/v1/status    virtual routers: who has the addresses, and what became of it
";

/// The service, while it runs.
pub struct Daemon {
    file: PathBuf,
    service: Service,
    running: Running,
    sources: Sources,
    notify: Notify,
    requests: mpsc::Receiver<Request>,
    tracks: Tracks,
    tracked: mpsc::Receiver<Tracked>,
    /// How many balancers serve.
    serving: watch::Receiver<usize>,
    /// That something of what is shown may be another.
    changed: watch::Sender<()>,
    tasks: JoinSet<()>,
    _sockets: [File; 2],
}

/// What is shown is made of these.
#[derive(Clone)]
struct Sources {
    shown: Arc<ArcSwap<Vec<Arc<Shown>>>>,
    events: Events,
    lost: Arc<AtomicU64>,
    /// How many balancers serve.
    serving: watch::Receiver<usize>,
    notified: Arc<notify::Counts>,
    /// Whether the config was good when it was last read.
    config_ok: Arc<AtomicBool>,
}

impl Sources {
    fn status(&self) -> Status {
        let (lost, balancers) = (self.lost.load(Relaxed), *self.serving.borrow());
        let (events, config_ok) = (self.events.all(), self.config_ok.load(Relaxed));
        Status::of(&self.shown.load(), balancers, events, lost, config_ok, clock::since_boot())
    }

    fn page(&self, path: &str) -> Page {
        match path {
            "/" => door::text(StatusCode::OK, INDEX),
            "/healthz" => door::text(StatusCode::OK, "ok\n"),
            "/metrics" => {
                let (lost, skipped) =
                    (self.lost.load(Relaxed), self.notified.skipped.load(Relaxed));
                let (notified, balancers) = (self.notified.results(), *self.serving.borrow());
                let shown = self.shown.load();
                let config_ok = self.config_ok.load(Relaxed);
                let page =
                    metrics::of_routers(&shown, balancers, lost, &notified, skipped, config_ok);
                door::metrics(page)
            }
            "/v1/status" => door::json(&self.status()),
            other => {
                door::text(StatusCode::NOT_FOUND, format!("no page {other}; there are:\n\n{INDEX}"))
            }
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Socket(#[from] BindError),
    #[error("cannot listen on {address} for vrrp_service.listen")]
    Listen { address: SocketAddr, source: io::Error },
    #[error(transparent)]
    Roots(#[from] RootsError),
    #[error("the virtual routers cannot start")]
    Routers(#[source] io::Error),
    #[error("the thread that tells vrrp_service.notify cannot start")]
    Notify(#[source] io::Error),
}

impl Daemon {
    /// `in_real_time` is what came of [`realtime::take`], which takes privileges that are gone by now.
    pub async fn start(
        file: PathBuf,
        redundancy: Redundancy,
        in_real_time: io::Result<()>,
    ) -> Result<Daemon, StartError> {
        let Redundancy { service, routers } = redundancy;
        // A second service of the same file would fight the first one for the addresses.
        let socket = LocalSocket::bind(SOCKET, &service.socket, Kind::STREAM, MODE)?;
        let for_balancers = LocalSocket::bind(
            BALANCER_SOCKET,
            &service.balancer_socket,
            Kind::SEQPACKET,
            BALANCER_MODE,
        )?;
        let door = match service.listen {
            None => None,
            Some(address) => {
                let listener = TcpListener::bind(address).await;
                Some(listener.map_err(|source| StartError::Listen { address, source })?)
            }
        };
        if let Err(error) = realtime::lock_memory() {
            warn!(%error, "memory is not locked: on a box without free memory adverts may be late");
        }
        let looker = Looker {
            who: Who::Balancer,
            roots: Roots::of_system()?,
            programs: Programs::new(BTreeMap::new()),
        };
        let (mut tracks, tracked) = Tracks::new(looker);
        let watching = routers.clone();
        let running = Running::start(routers).map_err(StartError::Routers)?;
        // This thread has nothing to do that could not wait.
        if let Err(error) = in_real_time.and_then(|()| realtime::give_back()) {
            warn!(%error, "virtual routers do not run in real time: on a busy box adverts may be late");
        }
        let (holders, serving) = watch::channel(0);
        let notify = Notify::start(service.notify.clone()).map_err(StartError::Notify)?;
        let sources = Sources {
            shown: Arc::clone(&running.shown),
            events: Events::default(),
            lost: Arc::clone(&running.lost),
            serving: serving.clone(),
            notified: notify.counts(),
            config_ok: Arc::new(AtomicBool::new(true)),
        };
        tracks.adopt(&watching);
        let mut tasks = JoinSet::new();
        let (to, requests) = mpsc::channel(REQUESTS);
        let failed = |key, path: &Path| {
            let path = path.to_owned();
            move |source| BindError::Io { key, path, source }
        };
        let (to_people, of_people) = socket.listen().map_err(failed(SOCKET, &service.socket))?;
        tasks.spawn(desk::serve(to_people, to));
        let failed = failed(BALANCER_SOCKET, &service.balancer_socket);
        let (to_balancers, of_balancers) = for_balancers.listen().map_err(failed)?;
        let (changed, told) = watch::channel(());
        let shown = Arc::clone(&running.shown);
        tasks.spawn(balancers::serve(
            to_balancers,
            Balancers { serving: holders, shown, changed: told },
        ));
        if let Some(door) = door {
            let sources = sources.clone();
            tasks.spawn(door::serve(door, move |path| {
                let page = sources.page(&path);
                async move { page }
            }));
        }
        let _sockets = [of_people, of_balancers];
        Ok(Daemon {
            file,
            service,
            running,
            sources,
            notify,
            requests,
            tracks,
            tracked,
            serving,
            changed,
            tasks,
            _sockets,
        })
    }

    /// Reads the config again. What is wrong with it is told, and what runs goes on.
    pub fn reload(&mut self) {
        let told =
            |problems: Problems| problems.iter().map(ToString::to_string).collect::<Vec<_>>();
        match config::load_redundancy(&self.file) {
            Ok((Redundancy { service, routers }, warnings)) => {
                for warning in warnings.iter() {
                    let warning = warning.to_string();
                    warn!(warning, "the config may not do what was meant");
                }
                let Service { notify, .. } = service.clone();
                if (Service { notify: self.service.notify.clone(), ..service }) != self.service {
                    warn!("vrrp_service is another: it is taken at the next start");
                }
                self.notify.adopt(notify);
                let watching = routers.clone();
                self.running.orders().adopt(routers);
                self.tracks.adopt(&watching);
                self.sources.config_ok.store(true, Relaxed);
                info!("the config is taken");
            }
            Err(problems) => {
                let problems = told(problems);
                for problem in &problems {
                    error!(problem, "the config has a problem");
                }
                let problems = problems.len();
                self.sources.config_ok.store(false, Relaxed);
                error!(problems, "the config is refused: the one before goes on");
            }
        }
    }

    /// Writes down what happens and answers who asks, until the virtual routers have ended, which they never should.
    pub async fn turn(&mut self) {
        let mut looks = interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                Some(said) = self.running.said.recv() => {
                    self.notify.hear(&said, &self.sources.shown.load());
                    self.sources.events.write(said);
                    self.changed.send_replace(());
                }
                Some(Tracked { router, track, result }) = self.tracked.recv() => {
                    self.running.orders().tracked(router, track, result);
                }
                Ok(()) = self.serving.changed() => {
                    let is_held = *self.serving.borrow_and_update() > 0;
                    self.running.orders().lease(if is_held { Lease::Held } else { Lease::Lost });
                }
                Some((asked, to)) = self.requests.recv() => {
                    let (orders, sources) = (self.running.orders().clone(), self.sources.clone());
                    // By itself: whoever stops this to read the config leaves nobody without an answer.
                    tokio::spawn(async move {
                        // Who asked may have gone.
                        let _ = to.send(answer(asked, &orders, &sources).await);
                    });
                }
                _ = looks.tick() => {
                    if self.running.has_ended() {
                        error!("the thread of the virtual routers has panicked: ending");
                        return;
                    }
                }
            }
        }
    }

    /// Has the virtual routers resign and give their addresses back, and writes down the last of it.
    pub async fn stop(self) {
        let Daemon { running, sources, mut notify, mut tasks, .. } = self;
        tasks.abort_all();
        let (ended, mut said) = running.stop();
        if ended.is_err() {
            error!(
                "the thread of the virtual routers has panicked: its addresses go by themselves"
            );
        }
        while let Ok(last) = said.try_recv() {
            notify.hear(&last, &sources.shown.load());
            sources.events.write(last);
        }
        notify.stop();
    }
}

async fn answer(asked: Asked, orders: &Orders, sources: &Sources) -> String {
    let done = match asked {
        Asked::Status => {
            let status = serde_json::to_string(&sources.status());
            return status.expect("numbers, strings and lists are JSON") + "\n";
        }
        Asked::HandOver(router) => orders.hand_over(&router).await,
        Asked::TakeBack(router) => orders.take_back(&router).await,
    };
    match done {
        Ok(()) => "ok\n".to_owned(),
        Err(refused @ (Refused::Unknown(_) | Refused::Ended)) => format!("error: {refused}\n"),
    }
}
