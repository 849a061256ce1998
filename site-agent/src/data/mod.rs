//! The threads of the data path: each accepts, serves and balances by itself, and is told of another config whole.
//!
//! run ─▶ `Part` (a config, one for each thread) ─▶ `Thread` ─▶ accept ─▶ proxy_protocol ─▶ relay ─▶ worker, upstream

mod accept;
mod crowd;

use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::thread::JoinHandle;
use std::time::Duration;

use common::clock;
use rustls::ServerConfig;
use tokio::runtime;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::{AbortHandle, LocalSet, spawn_local};
use tokio::time::{MissedTickBehavior, interval};
use tracing::error;

use self::accept::accept;
use self::crowd::Crowd;
use crate::log_file::Lines;
use crate::site::{self, LogTarget};
use crate::upstream::Upstream;
use crate::worker::{Front, Traffic, Worker};

/// Idle connections to servers are looked through so often.
const TIDY: Duration = Duration::from_secs(1);

/// What one thread is told of a config.
pub struct Part {
    pub upstreams: Vec<Arc<Upstream>>,
    pub frontends: Vec<FrontendPart>,
    /// For targets that this thread does not log to yet.
    pub lines: Vec<(LogTarget, Lines)>,
}

pub struct FrontendPart {
    pub config: Arc<site::Frontend>,
    pub tls: Option<Arc<ServerConfig>>,
    pub shared: Arc<Shared>,
    /// Sockets of addresses that are new.
    pub sockets: Vec<(SocketAddr, TcpListener)>,
}

/// What all threads have of one frontend, for as long as its name is in the config.
#[derive(Debug)]
pub struct Shared {
    pub traffic: Arc<Traffic>,
    /// A permit for each connection.
    pub permits: Arc<Semaphore>,
}

enum Command {
    Adopt(Box<Part>),
    /// Nobody new comes in, and who waits for a request is let go.
    Stop,
    /// What is still under way ends.
    Cut,
}

/// A thread of the data path.
pub struct Thread {
    commands: mpsc::UnboundedSender<Command>,
    /// How often it has gone round: once a second at least.
    pub rounds: Arc<AtomicU64>,
    handle: JoinHandle<()>,
}

/// What the accepting tasks of one frontend share on one thread.
pub struct Door {
    front: RefCell<Rc<Front>>,
    shared: Arc<Shared>,
}

/// One thread's whole state.
struct Data {
    worker: Rc<Worker>,
    crowd: Rc<Crowd>,
    doors: HashMap<Arc<str>, Rc<Door>>,
    /// By address, with the frontend's name.
    accepting: HashMap<SocketAddr, (Arc<str>, AbortHandle)>,
    lines: HashMap<LogTarget, Rc<RefCell<Lines>>>,
}

impl Door {
    pub fn front(&self) -> Rc<Front> {
        Rc::clone(&self.front.borrow())
    }
}

impl Thread {
    pub fn start(index: usize, count: usize) -> io::Result<Thread> {
        let (commands, told) = mpsc::unbounded_channel();
        let rounds = Arc::new(AtomicU64::new(0));
        let round = Arc::clone(&rounds);
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        let work = move || {
            let data = Data {
                worker: Rc::new(Worker::new(index, count)),
                crowd: Rc::default(),
                doors: HashMap::new(),
                accepting: HashMap::new(),
                lines: HashMap::new(),
            };
            LocalSet::new().block_on(&runtime, data.work(told, &round));
        };
        let handle = std::thread::Builder::new().name(format!("data-{index}")).spawn(work)?;
        Ok(Thread { commands, rounds, handle })
    }

    pub fn adopt(&self, part: Part) {
        self.send(Command::Adopt(Box::new(part)));
    }

    pub fn stop(&self) {
        self.send(Command::Stop);
    }

    pub fn cut(&self) {
        // One whose connections have ended has ended too.
        let _ = self.commands.send(Command::Cut);
    }

    /// Whether its last connection has ended.
    pub fn has_ended(&self) -> bool {
        self.handle.is_finished()
    }

    fn send(&self, command: Command) {
        // It ends by itself only where it has panicked, and then we end with it.
        if self.commands.send(command).is_err() {
            error!("a thread of the data path is gone");
        }
    }
}

impl Data {
    /// Works until it is told to stop and everybody has gone.
    async fn work(mut self, mut told: mpsc::UnboundedReceiver<Command>, round: &AtomicU64) {
        let mut ticks = interval(TIDY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut is_stopping, mut is_over) = (false, false);
        loop {
            round.fetch_add(1, Relaxed);
            tokio::select! {
                command = told.recv(), if !is_over => match command {
                    Some(Command::Adopt(part)) => self.adopt(*part),
                    Some(Command::Cut) => {
                        self.worker.cut();
                        self.crowd.wake();
                    }
                    Some(Command::Stop) | None => {
                        is_over = command.is_none();
                        is_stopping = true;
                        self.accepting.drain().for_each(|(_, (_, task))| task.abort());
                        self.worker.stop();
                        self.crowd.send_home();
                    }
                },
                _ = ticks.tick() => self.worker.tidy(clock::monotonic()),
                () = self.crowd.empty(), if is_stopping => return,
            }
        }
    }

    fn adopt(&mut self, part: Part) {
        let Part { upstreams, frontends, lines } = part;
        let pools = self.worker.adopt(&upstreams);
        self.lines.extend(lines.into_iter().map(|(to, lines)| (to, Rc::new(RefCell::new(lines)))));
        let mut wanted = HashMap::new();
        for FrontendPart { config, tls, shared, sockets } in frontends {
            let name = Arc::clone(&config.name);
            wanted.extend(config.bind.iter().map(|address| (*address, Arc::clone(&name))));
            let target = config.access_log.as_ref().map(|log| &log.target);
            let lines = target.and_then(|target| self.lines.get(target)).map(Rc::clone);
            let front =
                Rc::new(Front::new(config, pools.clone(), Arc::clone(&shared.traffic), tls, lines));
            let door = self.doors.entry(Arc::clone(&name)).or_insert_with(|| {
                Rc::new(Door { front: RefCell::new(Rc::clone(&front)), shared })
            });
            door.front.replace(front);
            for (address, socket) in sockets {
                let task = accept(&self.worker, &self.crowd, door, socket);
                let task = spawn_local(task).abort_handle();
                if let Some((_, before)) = self.accepting.insert(address, (Arc::clone(&name), task))
                {
                    before.abort();
                }
            }
        }
        // An address that is another frontend's now came with a socket of its own.
        self.accepting.retain(|address, (name, task)| {
            let stays = wanted.get(address) == Some(name);
            if !stays {
                task.abort();
            }
            stays
        });
        self.doors.retain(|name, door| {
            let stays = wanted.values().any(|wanted| wanted == name);
            if !stays {
                door.front().leave();
            }
            stays
        });
        let doors = &self.doors;
        self.lines.retain(|target, _| {
            doors.values().any(|door| {
                let front = door.front();
                front.config.access_log.as_ref().is_some_and(|log| log.target == *target)
            })
        });
        self.worker.announce();
    }
}
