//! `site-agent vrrp run`: the virtual routers as a process of their own. The shell around `routers`.
//!
//! config ─▶ privileges ─▶ routers ─▶ log · desk, (the door) ─▶ status, metrics
//!
//! It reads its own part of `site.toml` and names nothing of the balancer, whose restarts it outlives.

pub mod desk;
mod log;
pub mod privileges;
pub mod status;

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use arc_swap::ArcSwap;
use common::clock;
use common::config::problems::Problems;
use common::door::{self, Page};
use hyper::StatusCode;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};
use tracing::{error, info, warn};

use self::desk::{Asked, Request};
use self::log::Events;
use self::status::Status;
use crate::config;
use crate::local_socket::{BindError, File, LocalSocket};
use crate::metrics;
use crate::routers::shown::Shown;
use crate::routers::{Refused, Running, realtime};
use crate::site::{Redundancy, Service};

/// Whoever may give orders is who runs the service.
const MODE: u32 = 0o600;
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
    requests: mpsc::Receiver<Request>,
    tasks: JoinSet<()>,
    _socket: File,
}

/// What is shown is made of these.
#[derive(Clone)]
struct Sources {
    shown: Arc<ArcSwap<Vec<Arc<Shown>>>>,
    events: Events,
    lost: Arc<AtomicU64>,
}

impl Sources {
    fn status(&self) -> Status {
        let lost = self.lost.load(Relaxed);
        Status::of(&self.shown.load(), self.events.all(), lost, clock::since_boot())
    }

    fn page(&self, path: &str) -> Page {
        match path {
            "/" => door::text(StatusCode::OK, INDEX),
            "/healthz" => door::text(StatusCode::OK, "ok\n"),
            "/metrics" => {
                door::metrics(metrics::of_routers(&self.shown.load(), self.lost.load(Relaxed)))
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
    #[error("the virtual routers cannot start")]
    Routers(#[source] io::Error),
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
        let socket = LocalSocket::bind("vrrp_service.socket", &service.socket, MODE)?;
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
        let running = Running::start(routers).map_err(StartError::Routers)?;
        // This thread has nothing to do that could not wait.
        if let Err(error) = in_real_time.and_then(|()| realtime::give_back()) {
            warn!(%error, "virtual routers do not run in real time: on a busy box adverts may be late");
        }
        let sources = Sources {
            shown: Arc::clone(&running.shown),
            events: Events::default(),
            lost: Arc::clone(&running.lost),
        };
        let mut tasks = JoinSet::new();
        let (to, requests) = mpsc::channel(REQUESTS);
        let path = service.socket.clone();
        let failed = |source| BindError::Io { key: "vrrp_service.socket", path, source };
        let (listener, file_of_socket) = socket.listen().map_err(failed)?;
        tasks.spawn(desk::serve(listener, to));
        if let Some(door) = door {
            let sources = sources.clone();
            tasks.spawn(door::serve(door, move |path| {
                let page = sources.page(&path);
                async move { page }
            }));
        }
        Ok(Daemon { file, service, running, sources, requests, tasks, _socket: file_of_socket })
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
                if service != self.service {
                    warn!("vrrp_service is another: it is taken at the next start");
                }
                self.running.adopt(routers);
                info!("the config is taken");
            }
            Err(problems) => {
                let problems = told(problems);
                for problem in &problems {
                    error!(problem, "the config has a problem");
                }
                let problems = problems.len();
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
                Some(said) = self.running.said.recv() => self.sources.events.write(said),
                Some((asked, to)) = self.requests.recv() => {
                    let answer = self.answer(asked).await;
                    // Who asked may have gone.
                    let _ = to.send(answer);
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

    async fn answer(&self, asked: Asked) -> String {
        let done = match asked {
            Asked::Status => {
                let status = serde_json::to_string(&self.sources.status());
                return status.expect("numbers, strings and lists are JSON") + "\n";
            }
            Asked::HandOver(router) => self.running.hand_over(&router).await,
            Asked::TakeBack(router) => self.running.take_back(&router).await,
        };
        match done {
            Ok(()) => "ok\n".to_owned(),
            Err(refused @ (Refused::Unknown(_) | Refused::Ended)) => format!("error: {refused}\n"),
        }
    }

    /// Has the virtual routers resign and give their addresses back, and writes down the last of it.
    pub async fn stop(self) {
        let Daemon { running, sources, mut tasks, .. } = self;
        tasks.abort_all();
        let (ended, mut said) = running.stop();
        if ended.is_err() {
            error!(
                "the thread of the virtual routers has panicked: its addresses go by themselves"
            );
        }
        while let Ok(last) = said.try_recv() {
            sources.events.write(last);
        }
    }
}
