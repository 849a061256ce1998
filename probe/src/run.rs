//! The shell: takes signals' orders, runs looks, carries what they come to, and keeps a stream to each name server.
//!
//! Decides nothing: `rounds` does. One task owns it; looks are tasks of their own, and so is each name server.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use common::assignment::Assignment;
use common::clock::{monotonic, now, unix_seconds};
use common::config::problems::Severity;
use common::entropy;
use common::look::{Look, Looker};
use common::mtls::{CredentialsError, Kept};
use common::report::{Boot, Own};
use common::seen::Seen;
use common::target::{Target, TargetId};
use common::telling::{self, Lock, NameServer, Renewer, Runs, RunsError, Stream};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{AbortHandle, Id, JoinError, JoinSet};
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use tracing::{error, info, warn};

use crate::admin;
use crate::asked::Server;
use crate::config::{self, Config};
use crate::dice;
use crate::metrics::Metrics;
use crate::report::{Mailbox, Producer, Tale};
use crate::rounds::{Begun, Ended, Post, Rounds};
use crate::state_dir::StateDir;
use crate::status::{self, Now, Order, Status};

/// The rounds turn at least so often.
const BEAT: Duration = Duration::from_millis(500);
/// What is shown in metrics is counted so often.
const COUNT: Duration = Duration::from_secs(1);
/// A look that is not over by then never ends.
const GRACE: Duration = Duration::from_secs(2);
/// Orders and assignments that wait. Whoever brings more waits with them.
const WAITING: usize = 16;

/// A running probe; dropping it ends it at once.
pub struct Probe {
    orders: mpsc::Sender<Order>,
    admin: Option<SocketAddr>,
    tasks: JoinSet<()>,
    /// Given back when all that could write there was told to end.
    _lock: Lock,
}

#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    StateDir(#[from] RunsError),
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    #[error("cannot listen on {address} for the admin door")]
    Admin { address: SocketAddr, source: io::Error },
}

/// What came of a look, and how long it took.
type Looked = (TargetId, Arc<Target>, Seen, Duration);

struct Shell<L, W> {
    config: Config,
    wrap: W,
    look: Arc<L>,
    rounds: Rounds,
    looks: JoinSet<Looked>,
    /// At what each look is, for one that panics.
    looking: HashMap<Id, TargetId>,
    servers: BTreeMap<Server, Told>,
    own: Own,
    producer: Producer,
    credentials: Arc<Kept>,
    runs: Arc<Runs>,
    state_dir: Arc<StateDir>,
    assigned: mpsc::Sender<(Server, Assignment)>,
    /// Whom to ask for our next certificate.
    renewers: watch::Sender<Vec<NameServer>>,
    metrics: Metrics,
}

/// A name server that is told.
struct Told {
    address: SocketAddr,
    mailbox: Arc<Mailbox>,
    stream: AbortHandle,
}

impl Drop for Told {
    fn drop(&mut self) {
        self.stream.abort();
    }
}

impl Probe {
    /// Starts to look and to tell. `wrap` is given what looks, at the start and at each reload, and returns what is
    /// to look in its place.
    pub async fn start<L, W>(config: Config, wrap: W) -> Result<Probe, StartError>
    where
        L: Look,
        W: Fn(Looker) -> L + Send + 'static,
    {
        let (runs, inc, lock) = Runs::open(&config.state_dir)?;
        let state_dir = Arc::new(StateDir::new(&config.state_dir));
        let credentials = Arc::new(Kept::read(config.files.clone())?);
        let metrics = Metrics::new();
        let door = match config.admin {
            None => None,
            Some(address) => {
                let listener = TcpListener::bind(address).await;
                Some(listener.map_err(|source| StartError::Admin { address, source })?)
            }
        };
        let admin = door.as_ref().and_then(|door| door.local_addr().ok());
        for warning in config.warnings.of(Severity::Warning) {
            warn!(%warning, "the config may not do what was meant");
        }
        let producer = Producer {
            cluster: (*config.principal.cluster).into(),
            name: Arc::clone(&config.name),
            boot: Boot(entropy::octets()),
            inc,
        };
        let (orders, to_do) = mpsc::channel(WAITING);
        let (assigned, assignments) = mpsc::channel(WAITING);
        let (renewers, to_ask) = watch::channel(config.servers.clone());
        let look = Arc::new(wrap(config.looker()));
        let version = env!("CARGO_PKG_VERSION");
        let rounds = Rounds::new(&config.name, config.looks_at_once, version, monotonic());
        let mut shell = Shell {
            wrap,
            look,
            rounds,
            looks: JoinSet::new(),
            looking: HashMap::new(),
            servers: BTreeMap::new(),
            own: Own::default(),
            producer,
            credentials: Arc::clone(&credentials),
            runs: Arc::new(runs),
            state_dir,
            assigned,
            renewers,
            metrics: metrics.clone(),
            config,
        };
        info!(
            probe = &*shell.config.name,
            cluster = %shell.config.principal.cluster,
            inc,
            admin = ?admin,
            "ready"
        );
        let mut tasks = JoinSet::new();
        shell.begin();
        tasks.spawn(Renewer::new(Arc::clone(&credentials), to_ask, metrics.clone()).run());
        tasks.spawn(telling::follow(credentials, metrics.clone()));
        if let Some(door) = door {
            tasks.spawn(admin::serve(door, orders.clone(), metrics));
        }
        tasks.spawn(shell.run(to_do, assignments));
        Ok(Probe { orders, admin, tasks, _lock: lock })
    }

    /// Where the admin door is, its port filled in.
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.admin
    }

    /// Reads the config again; whether it was taken. A bad one is told in the log, and the old one holds.
    pub async fn reload(&self) -> bool {
        let (answer, answered) = oneshot::channel();
        self.orders.send(Order::Reload(answer)).await.is_ok() && answered.await.unwrap_or(false)
    }

    /// Everything that the probe knows now.
    pub async fn status(&self) -> Option<Status> {
        let (answer, answered) = oneshot::channel();
        self.orders.send(Order::Status(answer)).await.ok()?;
        answered.await.ok()
    }

    /// Returns only if a part of the probe ends, which is a defect.
    pub async fn ended(&mut self) {
        if let Some(Err(error)) = self.tasks.join_next().await {
            error!(%error, "a task had failed");
        }
    }
}

impl<L: Look, W: Fn(Looker) -> L + Send + 'static> Shell<L, W> {
    /// What is known before anybody was asked: references, and what was asked in the run before.
    fn begin(&mut self) {
        let now = monotonic();
        let posts = self.rounds.refer_to(now, self.config.references.clone());
        self.deliver(posts);
        self.open_streams(self.config.servers.clone());
        self.metrics.show(&self.rounds.states(), self.rounds.own());
    }

    async fn run(
        mut self,
        mut orders: mpsc::Receiver<Order>,
        mut assignments: mpsc::Receiver<(Server, Assignment)>,
    ) {
        let mut counts = interval(COUNT);
        counts.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let now = monotonic();
            self.turn(now);
            let wake = self.rounds.next_wakeup().map_or(BEAT, |at| at.saturating_sub(now));
            tokio::select! {
                () = sleep(wake.min(BEAT)) => {}
                Some(looked) = self.looks.join_next_with_id() => {
                    self.end(looked);
                    // All that ended meanwhile, in one turn.
                    while let Some(looked) = self.looks.try_join_next_with_id() {
                        self.end(looked);
                    }
                }
                Some((server, assignment)) = assignments.recv() => {
                    let posts = self.rounds.assign(monotonic(), server, assignment);
                    self.deliver(posts);
                }
                Some(order) = orders.recv() => match order {
                    Order::Reload(answer) => {
                        let taken = self.reload().await;
                        let _ = answer.send(taken);
                    }
                    Order::Status(answer) => drop(answer.send(self.status())),
                },
                _ = counts.tick() => self.metrics.show(&self.rounds.states(), self.rounds.own()),
            }
        }
    }

    /// Begins what is due.
    fn turn(&mut self, now: Duration) {
        let missed = self.rounds.turn(now);
        if missed > 0 {
            warn!(missed, "this process stood still: the looks of that time are left out");
            self.metrics.stood_still(missed);
        }
        while let Some(Begun { id, target, is_late }) = self.rounds.begin(now) {
            self.metrics.began(is_late, self.rounds.running());
            let look = Arc::clone(&self.look);
            let handle = self.looks.spawn(async move {
                let began = monotonic();
                let limit = target.check.timing.timeout() + GRACE;
                let seen = timeout(limit, look.look(&target)).await;
                let seen = seen.unwrap_or_else(|_| Seen::unseen("the look did not end"));
                (id, target, seen, monotonic().saturating_sub(began))
            });
            self.looking.insert(handle.id(), id);
        }
        self.tell_own();
    }

    fn end(&mut self, looked: Result<(Id, Looked), JoinError>) {
        let (id, seen) = match looked {
            Ok((task, (id, target, seen, took))) => {
                self.looking.remove(&task);
                self.metrics.looked(&target.check.kind, &seen, took);
                (id, seen)
            }
            Err(failed) => {
                let Some(id) = self.looking.remove(&failed.id()) else { return };
                error!(error = %failed, "a look panicked");
                (id, Seen::unseen("the look panicked"))
            }
        };
        let today = i64::try_from(unix_seconds()).unwrap_or(i64::MAX);
        let ended = self.rounds.end(monotonic(), id, &seen, today, dice::share());
        let Ended { posts, changed } = ended;
        if let (Some(changed), Some(target)) = (changed, self.rounds.target(id)) {
            let (from, to) = changed;
            let reason = seen.reason().map_or("", |reason| reason.as_str());
            info!(
                address = %target.address, port = target.port, host = target.host, %from, %to, reason,
                "a target changed its state"
            );
        }
        // What the probe says of itself is in the same report as what made it say so.
        self.tell_own();
        self.deliver(posts);
        self.metrics.ran(self.rounds.running());
    }

    fn tell_own(&mut self) {
        let own = self.rounds.own();
        if *own == self.own {
            return;
        }
        match (&self.own.blind, &own.blind) {
            (None, Some(why)) => warn!(why, "this probe does not see: name servers are told so"),
            (Some(_), None) => info!("this probe sees again"),
            (Some(_), Some(_)) | (None, None) => {}
        }
        self.own = own.clone();
        for told in self.servers.values() {
            told.mailbox.post_own(own.clone());
        }
    }

    fn deliver(&self, posts: Vec<Post>) {
        for Post { to, target, octets } in posts {
            if let Some(told) = self.servers.get(&to) {
                told.mailbox.post(target, octets);
            }
        }
    }

    /// Streams to these name servers and to no others; one that has not changed goes on.
    fn open_streams(&mut self, wanted: Vec<NameServer>) {
        let names: BTreeSet<Server> = wanted.iter().map(|one| Arc::clone(&one.name)).collect();
        let is_wanted = |name: &Server, told: &Told| {
            wanted.iter().any(|one| one.name == *name && one.address == told.address)
        };
        let metrics = &self.metrics;
        self.servers.retain(|name, told| {
            let stays = is_wanted(name, told);
            if !stays {
                metrics.tell_no_more(name);
            }
            stays
        });
        let posts = self.rounds.keep(monotonic(), &names);
        self.deliver(posts);
        let new: Vec<NameServer> =
            wanted.into_iter().filter(|one| !self.servers.contains_key(&one.name)).collect();
        let unknown = new.iter().map(|one| &one.name);
        let unknown = unknown.filter(|name| self.rounds.assignment(name).is_none());
        for (server, assignment) in self.state_dir.assignments(unknown) {
            let posts = self.rounds.assign(monotonic(), server, assignment);
            self.deliver(posts);
        }
        for server in new {
            let NameServer { address, name } = server.clone();
            self.metrics.tell(&name);
            let mailbox = Arc::new(Mailbox::new(self.own.clone()));
            let assignment = self.rounds.assignment(&name);
            let tale = Tale::new(
                Arc::clone(&name),
                self.producer.clone(),
                Arc::clone(&mailbox),
                Arc::clone(&self.state_dir),
                self.assigned.clone(),
            );
            let stream = Stream {
                server,
                credentials: Arc::clone(&self.credentials),
                runs: Arc::clone(&self.runs),
                tale,
                epoch: assignment.map(|assignment| assignment.epoch.clone()),
                meters: self.metrics.clone(),
            };
            let stream = tokio::spawn(stream.tell()).abort_handle();
            self.servers.insert(Arc::clone(&name), Told { address, mailbox, stream });
            self.deliver(self.rounds.everything_for(&name));
        }
    }

    async fn reload(&mut self) -> bool {
        let file = self.config.file.clone();
        // Off this task: files may be slow, and looks go on.
        let read = tokio::task::spawn_blocking(move || config::load(&file)).await;
        let config = match read {
            Ok(Ok(config)) => config,
            Ok(Err(problems)) => {
                for problem in problems.iter() {
                    error!(%problem, "the config has a problem");
                }
                return self.refuse();
            }
            Err(failed) => {
                error!(error = %failed, "a task had failed");
                return self.refuse();
            }
        };
        let fixed = |config: &Config| {
            let Config { name, state_dir, files, admin, .. } = config;
            (name.clone(), state_dir.clone(), files.clone(), *admin)
        };
        if fixed(&config) != fixed(&self.config) || config.principal != self.config.principal {
            warn!("name, state_dir, certificate files and admin.listen change with a restart only");
        }
        for warning in config.warnings.of(Severity::Warning) {
            warn!(%warning, "the config may not do what was meant");
        }
        self.look = Arc::new((self.wrap)(config.looker()));
        self.rounds.limit(config.looks_at_once);
        let posts = self.rounds.refer_to(monotonic(), config.references.clone());
        self.deliver(posts);
        self.open_streams(config.servers.clone());
        self.renewers.send_replace(config.servers.clone());
        let Config { name, state_dir, files, admin, principal, .. } = self.config.clone();
        self.config = Config { name, state_dir, files, admin, principal, ..config };
        self.metrics.config_ok.set(1);
        info!("config taken");
        true
    }

    fn refuse(&self) -> bool {
        self.metrics.config_ok.set(0);
        error!("config refused: the old one holds");
        false
    }

    fn status(&self) -> Status {
        let servers = self.servers.iter().map(|(name, told)| {
            let assignment = self.rounds.assignment(name);
            status::Server {
                name: name.to_string(),
                address: told.address,
                epoch: assignment.map(|assignment| assignment.epoch.clone()),
                targets: assignment.map_or(0, |assignment| assignment.targets.len()),
            }
        });
        let now = Now { monotonic: monotonic(), wall: now() };
        Status {
            probe: self.config.name.to_string(),
            cluster: self.config.principal.cluster.to_string(),
            now: now.wall,
            monotonic_ms: now.monotonic_ms(),
            own: self.rounds.own().clone(),
            looks_running: self.rounds.running(),
            name_servers: servers.collect(),
            targets: self.rounds.shown().into_iter().map(|shown| now.told(shown)).collect(),
        }
    }
}
