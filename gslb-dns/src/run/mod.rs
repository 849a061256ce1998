//! The shell: opens sockets, starts threads, keeps the board, and stops all of it in order.
//!
//! Decides nothing. UDP has threads of its own; everything else runs on one small tokio runtime.

mod sockets;

use std::fs::{self, File, TryLockError};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::{self, JoinHandle};

use common::clock::{monotonic, now};
use common::entropy;
use common::mtls::CredentialsError;
use common::notify::ServiceManager;
use ipnet::IpNet;
use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{Notify, Semaphore, watch};
use tokio::task::JoinHandle as Task;
use tracing::{error, info};

use self::sockets::{Sockets, addresses_of};
use crate::admin::{self, Door};
use crate::answer::Transport;
use crate::certificates::{self, Certificates, Unreadable};
use crate::config::Prepared;
use crate::control::{Assigned, Control};
use crate::gather;
use crate::judge::Now;
use crate::keeper::{self, By, Desk, Keeper};
use crate::listen::quic::QuicListener;
use crate::listen::tcp::{Carries, Connections, TcpListener};
use crate::listen::udp::UdpListener;
use crate::metrics::{Metrics, Tally};
use crate::passed::{Passed, PassedError};
use crate::privileges::{self, PrivilegeError};
use crate::query_log::{QueryLog, Writing};
use crate::rate_limit::RateLimiter;
use crate::tls;
use crate::world::Node;

/// Threads for TCP, the admin door and the keeper.
const RUNTIME_THREADS: usize = 2;
/// In the state directory: locked by the server whose directory it is.
const LOCK_FILE: &str = "lock";
/// Opened before the config is read: from then on a SIGHUP does not end the process, however long the reading
/// takes. No thread runs yet: what one thread gives up of its privileges another would keep.
pub struct Shell {
    hang_up: Signal,
    passed: Passed,
}

/// A running name server; dropping it stops it.
pub struct Server {
    dns: Vec<SocketAddr>,
    tls: Vec<SocketAddr>,
    https: Vec<SocketAddr>,
    quic: Vec<SocketAddr>,
    control: Option<SocketAddr>,
    admin: Option<SocketAddr>,
    udp: Vec<JoinHandle<()>>,
    stop_udp: Arc<AtomicBool>,
    stop: watch::Sender<bool>,
    /// Where the keeper is asked to read the config again.
    desk: Desk,
    tasks: Vec<Task<()>>,
    runtime: Option<Runtime>,
    signals: Signals,
    service_manager: ServiceManager,
    /// Ends after everything that tells it something.
    query_log: Option<Writing>,
    /// Held while the state directory is ours.
    _state_lock: Option<File>,
}

/// What is asked of the process. Heard from before the server says that it is ready.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

/// What a SIGHUP asks for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum HangUp {
    /// To read the config again, as daemons do.
    Reload,
    /// To end: the terminal is gone, and with it whoever started this.
    End,
}

#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("cannot listen on {address} for {what}")]
    Listen { what: &'static str, address: SocketAddr, source: io::Error },
    #[error("cannot listen at the admin socket {file}")]
    AdminSocket { file: String, source: io::Error },
    #[error("cannot listen for signals")]
    Signals(#[source] io::Error),
    #[error("cannot start a thread")]
    Thread(#[source] io::Error),
    #[error("cannot make the state directory {dir}")]
    StateDir { dir: String, source: io::Error },
    #[error(
        "the state directory {dir} belongs to another gslb-dns that runs; give each its own \
         (state_dir in node.toml)"
    )]
    StateDirTaken { dir: String },
    #[error(transparent)]
    Certificate(#[from] Unreadable),
    #[error(transparent)]
    Control(#[from] CredentialsError),
    #[error(transparent)]
    Privileges(#[from] PrivilegeError),
    #[error(transparent)]
    Passed(#[from] PassedError),
    #[error("cannot prepare for TLS")]
    Tls(#[source] rustls::Error),
}

impl Shell {
    /// `passed` are sockets to use instead of our own.
    pub fn open(passed: Passed) -> Result<Shell, StartError> {
        // What it hears it tells every runtime of the process, also those made later.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(StartError::Thread)?;
        let _entered = runtime.enter();
        let hang_up = signal(SignalKind::hangup()).map_err(StartError::Signals)?;
        Ok(Shell { hang_up, passed })
    }
}

fn runtime() -> io::Result<Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(RUNTIME_THREADS)
        .thread_name("runtime")
        .enable_all()
        .build()
}

fn clocks() -> Now {
    Now { monotonic: monotonic(), wall: now() }
}

impl Server {
    /// Starts to answer. All sockets are bound before the first answer.
    pub fn start(shell: Shell, prepared: Prepared) -> Result<Server, StartError> {
        let Shell { hang_up, passed } = shell;
        let Prepared { file, node, ground, tests: _, findings } = prepared;
        let state_lock = take_state_dir(&node)?;
        let sockets = Sockets::bind(&node, passed)?;
        privileges::seal()?;
        let runtime = runtime().map_err(StartError::Thread)?;
        let signals = {
            let _entered = runtime.enter();
            Signals::listen(hang_up).map_err(StartError::Signals)?
        };
        let dns: Vec<SocketAddr> = sockets.dns.iter().map(|(address, ..)| *address).collect();
        let threads: usize = sockets.dns.iter().map(|(_, udp, _)| udp.len()).sum();
        let udp_tallies: Vec<_> = (0..threads).map(|_| tally(Transport::Udp)).collect();
        let tcp_tally = tally(Transport::Tcp);
        let tls_tally = node.dns.tls.is_some().then(|| tally(Transport::Tls));
        let https_tally = node.dns.https.is_some().then(|| tally(Transport::Https));
        let quic_tally = node.dns.quic.is_some().then(|| tally(Transport::Quic));
        let tallies = udp_tallies.iter().chain([&tcp_tally]);
        let tallies = tallies.chain(&tls_tally).chain(&https_tally).chain(&quic_tally);
        let metrics = Metrics::new(tallies.cloned().collect());
        let certificates = Certificates::open(&node, metrics.certificates.clone(), now())?;
        let keeper = Keeper::start(&node, ground, metrics.world.clone(), clocks());
        let query_log = node.dns.query_log.clone();
        let mut query_log =
            query_log.map(|log| QueryLog::new(log, &node.name, metrics.query_log.clone()));
        let sockets = match &mut query_log {
            Some(log) => sockets.tapped(log),
            None => sockets,
        };
        let (sockets, talkers) = match node.dns.talkers {
            true => sockets.counting(),
            false => (sockets, None),
        };
        let (stop, stopping) = watch::channel(false);
        let (desk, questions) = Desk::new();
        let mut server = Server {
            dns,
            tls: addresses_of(&sockets.tls),
            https: addresses_of(&sockets.https),
            quic: sockets.quic.iter().filter_map(|quic| quic.local_address().ok()).collect(),
            control: None,
            admin: sockets.admin.as_ref().and_then(|socket| socket.local_addr().ok()),
            udp: vec![],
            stop_udp: Arc::new(AtomicBool::new(false)),
            stop,
            desk: desk.clone(),
            tasks: vec![],
            runtime: Some(runtime),
            signals,
            service_manager: ServiceManager::from_environment(),
            query_log: None,
            _state_lock: state_lock,
        };
        let writing = query_log.map(QueryLog::start).transpose();
        server.query_log = writing.map_err(StartError::Thread)?;
        let door = Door {
            node_name: node.name.as_ref().into(),
            published: keeper.published().clone(),
            metrics: metrics.clone(),
            desk,
            talkers: talkers.clone(),
            reading: Arc::new(Semaphore::new(1)),
            operators: node.admin.operators.clone().into(),
        };
        let connections = Connections::new(node.dns.tcp, metrics.tcp.clone());
        let proxies = node.dns.proxies.as_slice().into();
        let streams =
            Streams { door: door.clone(), connections, proxies, stopping: stopping.clone() };
        let limiter = node.dns.rate_limit.clone();
        let limiter = limiter.map(|limits| Arc::new(RateLimiter::new(limits, entropy::octets())));
        server.serve_dns(sockets.dns, udp_tallies, &tcp_tally, limiter.as_ref(), &streams)?;
        if let (Some(tally), Some(shown)) = (tls_tally, certificates.shown("tls")) {
            let config = tls::server_config(shown, &[tls::ALPN_DOT]).map_err(StartError::Tls)?;
            let carries = Carries::DnsInTls(config);
            for listener in sockets.tls {
                server.spawn(streams.serve(listener.carrying(carries.clone()), &tally));
            }
        }
        if let (Some(tally), Some(shown), Some(https)) =
            (https_tally, certificates.shown("https"), &node.dns.https)
        {
            let tls = tls::server_config(shown, &tls::ALPN_DOH).map_err(StartError::Tls)?;
            let carries = Carries::DnsInHttps { tls, path: https.path.as_ref().into() };
            for listener in sockets.https {
                server.spawn(streams.serve(listener.carrying(carries.clone()), &tally));
            }
        }
        if let (Some(tally), Some(shown)) = (quic_tally, certificates.shown("quic")) {
            let tls = tls::quic_config(shown).map_err(StartError::Tls)?;
            for listener in sockets.quic {
                server.spawn(streams.serve_quic(listener, &tls, &tally));
            }
        }
        let mut behind = None;
        if let Some((socket, control)) = sockets.control.zip(node.control.as_ref()) {
            let assigned = Assigned::of(door.published.load().world());
            let (of_control, shown) = (metrics.control.clone(), metrics.certificates.clone());
            let (listener, of_keeper) =
                Control::open(&control.files, &control.peers, assigned, of_control, shown)?;
            behind = Some(of_keeper);
            server.control = socket.local_addr().ok();
            server.spawn(listener.serve(socket, stopping.clone()));
        }
        let reread = Arc::new(Notify::new());
        let of_keeper = Arc::clone(&reread);
        server.spawn(certificates::keep(certificates, reread, now, stopping.clone()));
        server.spawn(keeper::keep(
            keeper,
            file,
            questions,
            behind,
            clocks,
            of_keeper,
            stopping.clone(),
        ));
        if let Some(talkers) = talkers {
            server.spawn(gather::gather(talkers, stopping.clone()));
        }
        if let Some(socket) = sockets.admin_socket {
            server.spawn(admin::serve_socket(socket, door.clone(), stopping.clone()));
        }
        if let Some(socket) = sockets.admin {
            server.spawn(admin::serve(socket, door.clone(), stopping));
        }
        let snapshot = door.published.load();
        info!(
            node = %node.name,
            cluster = %node.cluster,
            epoch = %snapshot.world().epoch,
            dns = ?server.dns,
            tls = ?server.tls,
            https = ?server.https,
            quic = ?server.quic,
            control = ?server.control,
            admin = ?server.admin,
            "ready"
        );
        keeper::tell_findings(&findings);
        server.service_manager.ready(&format!("answering at {:?}", server.dns));
        Ok(server)
    }

    /// The DNS addresses in use, ports filled in.
    pub fn dns_addresses(&self) -> &[SocketAddr] {
        &self.dns
    }

    /// The addresses for DNS over TLS in use, ports filled in.
    pub fn tls_addresses(&self) -> &[SocketAddr] {
        &self.tls
    }

    /// The same for DNS over HTTPS.
    pub fn https_addresses(&self) -> &[SocketAddr] {
        &self.https
    }

    /// The same for DNS over QUIC.
    pub fn quic_addresses(&self) -> &[SocketAddr] {
        &self.quic
    }

    /// Where probes tell what they saw.
    pub fn control_address(&self) -> Option<SocketAddr> {
        self.control
    }

    /// The address of the dashboard, metrics and JSON.
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.admin
    }

    /// Returns when the process is asked to end.
    pub fn wait_for_signal(&mut self, hang_up_asks: HangUp) {
        let Some(runtime) = &self.runtime else { return };
        let Signals { terminate, interrupt, hang_up } = &mut self.signals;
        let desk = &self.desk;
        runtime.block_on(async {
            loop {
                tokio::select! {
                    _ = terminate.recv() => return info!("asked to end"),
                    _ = interrupt.recv() => return info!("interrupted"),
                    _ = hang_up.recv() => match hang_up_asks {
                        HangUp::Reload => {
                            let desk = desk.clone();
                            // The log tells what came of it; a keeper that is gone has told so too.
                            tokio::spawn(async move { drop(desk.reload(By::signal()).await) });
                        }
                        HangUp::End => return info!("hung up"),
                    },
                }
            }
        });
    }

    fn serve_dns(
        &mut self,
        sockets: Vec<(SocketAddr, Vec<UdpListener>, TcpListener)>,
        udp_tallies: Vec<Arc<Tally>>,
        tcp_tally: &Arc<Tally>,
        limiter: Option<&Arc<RateLimiter>>,
        streams: &Streams,
    ) -> Result<(), StartError> {
        let mut udp_tallies = udp_tallies.into_iter();
        for (_, udp, tcp) in sockets {
            for (listener, tally) in udp.into_iter().zip(&mut udp_tallies) {
                let (door, stop) = (streams.door.clone(), Arc::clone(&self.stop_udp));
                let limiter = limiter.cloned();
                let listener = listener.believing(Arc::clone(&streams.proxies));
                let thread = thread::Builder::new()
                    .name(format!("udp-{}", self.udp.len()))
                    .spawn(move || {
                        let (published, limiter) = (&door.published, limiter.as_deref());
                        listener.serve(published, &door.node_name, limiter, &tally, &stop);
                    })
                    .map_err(StartError::Thread)?;
                self.udp.push(thread);
            }
            self.spawn(streams.serve(tcp, tcp_tally));
        }
        Ok(())
    }

    fn spawn(&mut self, task: impl Future<Output = ()> + Send + 'static) {
        if let Some(runtime) = &self.runtime {
            self.tasks.push(runtime.spawn(task));
        }
    }
}

/// What every listener for connections is given.
struct Streams {
    door: Door,
    connections: Arc<Connections>,
    proxies: Arc<[IpNet]>,
    stopping: watch::Receiver<bool>,
}

impl Streams {
    fn serve(
        &self,
        listener: TcpListener,
        tally: &Arc<Tally>,
    ) -> impl Future<Output = ()> + Send + use<> {
        listener.believing(Arc::clone(&self.proxies)).serve(
            self.door.published.clone(),
            Arc::clone(&self.door.node_name),
            Arc::clone(&self.connections),
            Arc::clone(tally),
            self.stopping.clone(),
        )
    }
}

impl Streams {
    fn serve_quic(
        &self,
        listener: QuicListener,
        tls: &Arc<rustls::ServerConfig>,
        tally: &Arc<Tally>,
    ) -> impl Future<Output = ()> + Send + use<> {
        listener.serve(
            Arc::clone(tls),
            self.door.published.clone(),
            Arc::clone(&self.door.node_name),
            Arc::clone(&self.connections),
            Arc::clone(tally),
            self.stopping.clone(),
        )
    }
}

impl Drop for Server {
    /// Answers what stands in the queues, then ends.
    fn drop(&mut self) {
        self.service_manager.stopping("answering what stands in the queues");
        self.stop_udp.store(true, Relaxed);
        // Every receiver may be gone already; then there is nobody to tell.
        let _ = self.stop.send(true);
        for thread in self.udp.drain(..) {
            if thread.join().is_err() {
                error!("a UDP thread had panicked");
            }
        }
        if let Some(runtime) = self.runtime.take() {
            let tasks = std::mem::take(&mut self.tasks);
            runtime.block_on(async {
                for task in tasks {
                    if let Err(error) = task.await {
                        error!(%error, "a task had failed");
                    }
                }
            });
            // A config still being read is nothing that must end first.
            runtime.shutdown_background();
        }
        drop(self.query_log.take());
        info!("stopped");
    }
}

impl Signals {
    fn listen(hang_up: Signal) -> io::Result<Signals> {
        Ok(Signals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up,
        })
    }
}

/// Two servers that write to one directory would each undo what the other remembers. A directory that
/// cannot be written, such as on a full disk, keeps nobody from answering.
fn take_state_dir(node: &Node) -> Result<Option<File>, StartError> {
    let dir = node.state_dir.display().to_string();
    if let Err(source) = fs::create_dir_all(&node.state_dir) {
        return Err(StartError::StateDir { dir, source });
    }
    let path = node.state_dir.join(LOCK_FILE);
    // Somebody else's file can be locked as well, as long as it can be read.
    let lock = File::create(&path).or_else(|_| File::open(&path)).map_err(TryLockError::Error);
    match lock.and_then(|lock| lock.try_lock().map(|()| lock)) {
        Ok(lock) => Ok(Some(lock)),
        Err(TryLockError::WouldBlock) => Err(StartError::StateDirTaken { dir }),
        Err(TryLockError::Error(error)) => {
            error!(%error, file = %path.display(), "the state directory could not be locked: going on without");
            Ok(None)
        }
    }
}

fn tally(transport: Transport) -> Arc<Tally> {
    Arc::new(Tally::new(transport))
}
