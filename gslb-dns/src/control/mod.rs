//! The control listener: what probes and agents tell this name server, what they are asked to look at, and what peers
//! tell each other.
//!
//! listen ─▶ trust (a handshake, both sides known) ─▶ seats ─▶ visit ─▶ route ─▶ report ─▶ Told ─▶ who weighs it
//!                                                                       ├▶ renewal ─▶ parked
//!                                                                       ├▶ what is shown to peers
//!                                                                       └▶ refusal ─▶ complaints (what the log says of it)
//! pull ─▶ (a peer's listener) ─▶ Heard ─▶ who weighs it
//!
//! HTTP/2 within TLS 1.3, each side with a certificate of the cluster's CA. Everything is bounded before it is
//! looked at: who is connected, who asks how often, what a report may take. No thread of UDP has a part in it, and
//! one report is parsed at a time, so that a storm of them takes one core at most.

mod complaints;
mod inside;
mod meters;
mod pull;
mod refusal;
mod renewal;
mod report;
mod route;
mod seats;
mod trust;
mod visit;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use common::mtls::{CredentialsError, Files, Kept};
use common::principal::Principal;
use common::report::agent::Vip;
use common::report::{Entry, Head};
use common::target::TargetId;
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tracing::error;

pub use self::inside::Insider;
pub use self::pull::Heard;
pub use self::report::{changes, vips};

use self::complaints::Complaints;
use self::meters::Meters;
use self::seats::Seats;
use self::trust::Trust;
use self::visit::Newcomer;
use crate::inbox::stream::{Change, Reception};
use crate::metrics::{CertificateMetrics, ControlMetrics};
use crate::parked::Parked;
use crate::peers::page::Shown;
use crate::world::{Epoch, MOST_PEERS, Peer, World};
use common::lock::Mutex;

/// Reports that wait to be weighed, which takes less than a millisecond each: as many as come while somebody else is
/// heard there. Each waits as long as `Limits::answer` for its place, and is refused then.
pub const QUEUE: usize = 64;
/// Time for an `accept` failure such as lack of descriptors to pass.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Time for what is under way when the server stops.
const LAST_ANSWERS: Duration = Duration::from_secs(2);

/// What a producer told, read and bounded; whoever weighs it answers what becomes of it.
#[derive(Debug)]
pub struct Told {
    pub producer: Principal,
    pub head: Head,
    pub changes: Changes,
    pub answer: oneshot::Sender<Reception>,
}

/// What a report says, by who told it.
#[derive(Debug)]
pub enum Changes {
    Probe(Vec<(TargetId, Change<Entry>)>),
    /// Of all of this site, for which the agent speaks.
    Agent(Box<str>, Vec<(SocketAddr, Change<Vip>)>),
}

/// What the listener needs to know of the world that answers now.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Assigned {
    pub epoch: Epoch,
    pub vantages: BTreeSet<Box<str>>,
    /// The answer to `GET /v1/assignment` of a probe.
    pub octets: Bytes,
    /// By name.
    pub agents: BTreeMap<Box<str>, Insider>,
}

/// What is let in, and for how long.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Connections whose other side is known. Beyond that the one that has asked nothing the longest leaves.
    pub connections: usize,
    /// Of one principal, which has one, and for a while two when its network has changed. The same holds.
    pub connections_per_principal: usize,
    /// Handshakes under way; beyond that the oldest is given up, so that silence holds nobody off.
    pub handshakes: usize,
    pub handshake: Duration,
    /// A connection on which nothing is asked for so long is closed: silence longer than any report holds.
    pub idle: Duration,
    /// Between two requests of one principal, and how many may come at once. A producer tells at most one report each
    /// 50 ms; what is left is room for its questions.
    pub pause: Duration,
    pub burst: u32,
    /// Reports of one principal under way: one, and one that was given up elsewhere.
    pub reports_per_principal: usize,
    /// Octets of a report that needs no place among the large ones.
    pub small: usize,
    /// Larger reports at a time: each may take `report::LARGEST` as it comes, and about twice that while it is read.
    pub large: usize,
    /// From a report's head to its last octet.
    pub body: Duration,
    /// From there to what becomes of it.
    pub answer: Duration,
    /// How often our files are looked at, and whose certificate holds no more.
    pub look: Duration,
    /// How often our own next certificate is asked for, once it is time.
    pub renew: Duration,
}

impl Limits {
    pub const OURS: Limits = Limits {
        connections: 1024,
        connections_per_principal: 4,
        handshakes: 128,
        handshake: Duration::from_secs(5),
        idle: Duration::from_secs(30),
        pause: Duration::from_millis(40),
        burst: 40,
        reports_per_principal: 2,
        small: 64 << 10,
        large: 8,
        body: Duration::from_secs(15),
        answer: Duration::from_secs(5),
        look: Duration::from_secs(3),
        renew: Duration::from_mins(1),
    };
}

/// All that a listener needs but its socket.
pub struct Control {
    pub kept: Arc<Kept>,
    pub assigned: watch::Receiver<Arc<Assigned>>,
    pub told: mpsc::Sender<Told>,
    /// Whom we ask, and who may ask us.
    pub peers: Vec<Peer>,
    /// What they are told.
    pub shown: watch::Receiver<Arc<Shown>>,
    /// What they tell.
    pub heard: mpsc::Sender<Heard>,
    pub limits: Limits,
    pub metrics: ControlMetrics,
    pub certificates: CertificateMetrics,
}

/// The other end: who says what is assigned and shown, and hears what is told.
pub struct Behind {
    pub assigned: watch::Sender<Arc<Assigned>>,
    pub told: mpsc::Receiver<Told>,
    pub shown: watch::Sender<Arc<Shown>>,
    pub heard: mpsc::Receiver<Heard>,
}

/// What all connections share.
struct Door {
    /// Who we are.
    us: Principal,
    limits: Limits,
    assigned: watch::Receiver<Arc<Assigned>>,
    told: mpsc::Sender<Told>,
    /// Who may ask what is shown to peers, by name.
    peers: BTreeSet<Box<str>>,
    shown: watch::Receiver<Arc<Shown>>,
    seats: Mutex<Seats>,
    meters: Mutex<Meters>,
    complaints: Mutex<Complaints>,
    parked: Mutex<Parked>,
    /// Places for large reports.
    large: Arc<Semaphore>,
    /// The right to parse, of which there is one.
    parsing: Arc<Semaphore>,
    metrics: ControlMetrics,
}

impl Assigned {
    pub fn of(world: &World) -> Assigned {
        let targets = world.targets.iter().map(|(_, target)| target);
        let octets = common::assignment::write(&world.epoch.to_string(), targets);
        let vantages = world.vantages.iter().map(|vantage| vantage.name.clone()).collect();
        let agents = inside::insiders(world);
        Assigned { epoch: world.epoch, vantages, octets: octets.into(), agents }
    }
}

impl Control {
    /// # Errors
    /// The file at fault, and what to do.
    pub fn open(
        files: &Files,
        peers: &[Peer],
        assigned: Assigned,
        metrics: ControlMetrics,
        certificates: CertificateMetrics,
    ) -> Result<(Control, Behind), CredentialsError> {
        let kept = Arc::new(Kept::read(files.clone())?);
        let (assigned_sender, assigned) = watch::channel(Arc::new(assigned));
        let (told, told_receiver) = mpsc::channel(QUEUE);
        let (shown_sender, shown) = watch::channel(Arc::default());
        // Each peer waits until what it told has its place.
        let (heard, heard_receiver) = mpsc::channel(MOST_PEERS);
        let (limits, peers) = (Limits::OURS, peers.to_vec());
        let control =
            Control { kept, assigned, told, peers, shown, heard, limits, metrics, certificates };
        let behind = Behind {
            assigned: assigned_sender,
            told: told_receiver,
            shown: shown_sender,
            heard: heard_receiver,
        };
        Ok((control, behind))
    }

    /// Serves until told to stop.
    pub async fn serve(self, socket: TcpListener, stopping: watch::Receiver<bool>) {
        let listener = match tokio::net::TcpListener::from_std(socket) {
            Ok(listener) => listener,
            Err(error) => {
                error!(%error, "the control listener could not start");
                return;
            }
        };
        let Control { kept, assigned, told, peers, shown, heard, limits, metrics, certificates } =
            self;
        let trust = Arc::new(Trust::new(kept, certificates));
        let door = Arc::new(Door {
            us: trust.us().clone(),
            seats: Mutex::new(Seats::new(&limits)),
            meters: Mutex::new(Meters::new(&limits)),
            complaints: Mutex::default(),
            parked: Mutex::default(),
            large: Arc::new(Semaphore::new(limits.large)),
            parsing: Arc::new(Semaphore::new(1)),
            limits,
            assigned,
            told,
            peers: peers.iter().map(|peer| peer.name.clone()).collect(),
            shown,
            metrics,
        });
        let looking = trust::keep(Arc::clone(&trust), Arc::clone(&door), stopping.clone());
        let pulling = pull::pull_all(peers, &trust, &heard, &door.metrics, stopping.clone());
        tokio::join!(receive_all(listener, &door, &trust, stopping), looking, pulling);
    }
}

async fn receive_all(
    listener: tokio::net::TcpListener,
    door: &Arc<Door>,
    trust: &Arc<Trust>,
    mut stopping: watch::Receiver<bool>,
) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            () = stopped(&mut stopping) => break,
            Some(ended) = connections.join_next() => {
                if ended.is_err() {
                    door.metrics.closed.with_label_values(&["panic"]).inc();
                }
            }
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    let newcomer = Newcomer::new(door, trust, stopping.clone());
                    connections.spawn(newcomer.serve(stream));
                }
                Err(_) => {
                    door.metrics.accept_errors.inc();
                    sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
    // Each has been told as we have.
    let _ = timeout(LAST_ANSWERS, async { while connections.join_next().await.is_some() {} }).await;
}

impl Door {
    /// After each change of who is connected.
    fn count_connections(&self) {
        let open = self.seats.lock().open();
        self.metrics.connections.set(i64::try_from(open).unwrap_or(i64::MAX));
    }

    fn assigned(&self) -> Arc<Assigned> {
        Arc::clone(&self.assigned.borrow())
    }

    /// Until when a request's next step has time.
    fn deadline(within: Duration) -> Instant {
        Instant::now() + within
    }
}

async fn stopped(stopping: &mut watch::Receiver<bool>) {
    // Who could say so may be gone; then it is over too.
    let _ = stopping.wait_for(|stop| *stop).await;
}
