//! Tells a program of each change of role: one at a time and in order, by a thread that nobody waits for.
//!
//! (routers) ─▶ Notify: queue ─▶ a thread ─▶ the program ─▶ log, counts
//!
//! The program has the arguments that keepalived's `notify` has, and more in its environment. It has no capabilities, as
//! ours go with an execve, and what the unit takes from the service it takes from the program.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use common::clock;
use common::lock::Mutex;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};
use tracing::{info, warn};

use super::queue::{Added, Change, Queue};
use crate::routers::shown::Shown;
use crate::routers::tell::Said;
use crate::vrrp::machine::action::{News, Role, What};

/// What a program may take: it is killed after that, and the next change is told. In the end, of all that wait.
const LIMIT: Duration = Duration::from_secs(10);

/// Tells a program, if there is one.
pub struct Notify {
    shared: Arc<Shared>,
    wake: SyncSender<()>,
    thread: JoinHandle<()>,
    /// By name. One that is gone from the config is kept until its last change is told.
    known: BTreeMap<Arc<str>, Arc<Shown>>,
}

struct Shared {
    program: ArcSwapOption<PathBuf>,
    queue: Mutex<Queue>,
    /// Since the clock began, in milliseconds: when the service ends.
    ends_at: AtomicU64,
    counts: Arc<Counts>,
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Counts {
    results: [AtomicU64; Ended::WORDS.len()],
    pub skipped: AtomicU64,
}

/// How a program ended.
enum Ended {
    By(ExitStatus),
    Killed,
    /// It could not be started, or be waited for.
    NotRun(io::Error),
}

impl Ended {
    /// Labels, in the order of their counts.
    const WORDS: [&'static str; 4] = ["ok", "failed", "killed", "not_run"];

    fn place(&self) -> usize {
        match self {
            Ended::By(status) if status.success() => 0,
            Ended::By(_) => 1,
            Ended::Killed => 2,
            Ended::NotRun(_) => 3,
        }
    }
}

impl Counts {
    /// By how programs ended.
    pub fn results(&self) -> [(&'static str, u64); Ended::WORDS.len()] {
        let mut counts = self.results.iter().map(|count| count.load(Relaxed));
        Ended::WORDS.map(|word| (word, counts.next().unwrap_or_default()))
    }
}

impl Notify {
    /// Its thread, and so each program, has the scheduling class of whoever calls this.
    pub fn start(program: Option<PathBuf>) -> io::Result<Notify> {
        let shared = Arc::new(Shared {
            program: ArcSwapOption::new(program.map(Arc::new)),
            queue: Mutex::default(),
            ends_at: AtomicU64::new(u64::MAX),
            counts: Arc::default(),
        });
        // Woken once or often is the same.
        let (wake, woken) = sync_channel(1);
        let thread = thread::Builder::new().name("notify".to_owned()).spawn({
            let shared = Arc::clone(&shared);
            move || shared.run(&woken)
        })?;
        Ok(Notify { shared, wake, thread, known: BTreeMap::new() })
    }

    pub fn counts(&self) -> Arc<Counts> {
        Arc::clone(&self.shared.counts)
    }

    /// From the next change on; what waits is told to that, too.
    pub fn adopt(&self, program: Option<PathBuf>) {
        self.shared.program.store(program.map(Arc::new));
    }

    /// Takes what was said, if it is a change of role. `shown` are the virtual routers as they are now.
    pub fn hear(&mut self, said: &Said, shown: &[Arc<Shown>]) {
        for shown in shown {
            self.known.insert(Arc::clone(&shown.config.load().name), Arc::clone(shown));
        }
        let Said::News { router, news: News { number, what, at: _ } } = said else { return };
        let What::Turned { from, to, why } = what else { return };
        let Some(its) = self.known.get(router) else { return };
        let (config, standing) = (its.config.load(), its.standing.load());
        let change = Change {
            router: Arc::clone(router),
            number: *number,
            from: *from,
            to: *to,
            why: why.to_string(),
            priority: standing.priority.get(),
            interface: Arc::clone(&config.interface),
            vrid: config.vrid.get(),
            vips: config.vips.iter().map(|vip| vip.address).collect(),
            skipped: 0,
        };
        if *to == Role::Initialize && !shown.iter().any(|shown| Arc::ptr_eq(shown, its)) {
            self.known.remove(router);
        }
        self.tell(change);
    }

    fn tell(&self, change: Change) {
        if self.shared.program.load().is_none() {
            return;
        }
        if self.shared.queue.lock().add(change) == Added::Merged {
            self.shared.counts.skipped.fetch_add(1, Relaxed);
        }
        // It is awake, or will be.
        let _ = self.wake.try_send(());
    }

    /// Once what waits is told, or the time for it is over.
    pub fn stop(self) {
        let Notify { shared, wake, thread, .. } = self;
        let ends_at = clock::monotonic() + LIMIT;
        shared.ends_at.store(milliseconds(ends_at), Relaxed);
        drop(wake);
        // A panic of it has been told, and there is nothing more to be done.
        let _ = thread.join();
    }
}

impl Shared {
    fn run(&self, woken: &Receiver<()>) {
        loop {
            // The lock is not held while a program runs.
            let next = self.queue.lock().next();
            match next {
                Some(change) => self.tell(&change),
                None if woken.recv().is_err() => return,
                None => {}
            }
        }
    }

    fn tell(&self, change: &Change) {
        let ends_at = Duration::from_millis(self.ends_at.load(Relaxed));
        let begin = clock::monotonic();
        let left = ends_at.saturating_sub(begin).min(LIMIT);
        let Some(program) = self.program.load_full() else { return };
        if left.is_zero() {
            let changes = 1 + self.queue.lock().give_up();
            warn!(changes, "the service ends: a program is not told of changes of role");
            return;
        }
        let ended = run(&program, change, left);
        self.counts.results[ended.place()].fetch_add(1, Relaxed);
        let took_ms = milliseconds(clock::monotonic().saturating_sub(begin));
        let Change { router, number, skipped, .. } = change;
        let program = program.display();
        match ended {
            Ended::By(status) if status.success() => {
                info!(%router, number, %program, took_ms, "a program was told of a change of role");
            }
            Ended::By(status) => {
                warn!(%router, number, %program, %status, took_ms, "a program failed that was told of a change of role");
            }
            Ended::Killed => {
                warn!(%router, number, %program, took_ms, "a program took too long over a change of role, and was killed");
            }
            Ended::NotRun(error) => {
                warn!(%router, number, %program, %error, "a program cannot be told of a change of role");
            }
        }
        if *skipped > 0 {
            warn!(%router, number, skipped, "changes of role came faster than a program takes them: some were told as one");
        }
    }
}

/// Its output goes nowhere, its errors to where ours go.
fn run(program: &Path, change: &Change, limit: Duration) -> Ended {
    let Change { router, number, from, to, why, priority, interface, vrid, vips, skipped } = change;
    let vips: Vec<String> = vips.iter().map(ToString::to_string).collect();
    let mut command = Command::new(program);
    command.args(["INSTANCE", &**router, keepalived_word(*to), &priority.to_string()]);
    // What the service manager says to us is not for it.
    command.env_clear().envs(std::env::var_os("PATH").map(|path| ("PATH", path)));
    command
        .env("VRRP_ROUTER", &**router)
        .env("VRRP_NUMBER", number.to_string())
        .env("VRRP_FROM", from.word())
        .env("VRRP_TO", to.word())
        .env("VRRP_WHY", why)
        .env("VRRP_PRIORITY", priority.to_string())
        .env("VRRP_INTERFACE", &**interface)
        .env("VRRP_VRID", vrid.to_string())
        .env("VRRP_VIPS", vips.join(" "))
        .env("VRRP_SKIPPED", skipped.to_string());
    command.stdin(Stdio::null()).stdout(Stdio::null()).current_dir("/");
    // Killed, it is killed with those that it has started.
    command.process_group(0);
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) => return Ended::NotRun(error),
    };
    match has_ended(&child, limit) {
        Ok(true) => child.wait().map_or_else(Ended::NotRun, Ended::By),
        Ok(false) => {
            kill(&mut child);
            Ended::Killed
        }
        Err(error) => {
            kill(&mut child);
            Ended::NotRun(error)
        }
    }
}

/// keepalived's word for a role.
fn keepalived_word(role: Role) -> &'static str {
    match role {
        Role::Initialize => "STOP",
        Role::Fault => "FAULT",
        Role::Backup => "BACKUP",
        Role::Active => "MASTER",
    }
}

fn has_ended(child: &Child, limit: Duration) -> io::Result<bool> {
    let process = pidfd_open(Pid::from_child(child), PidfdFlags::empty())?;
    let end = clock::monotonic() + limit;
    loop {
        let left = end.saturating_sub(clock::monotonic());
        let left = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos().into() };
        match poll(&mut [PollFd::new(&process, PollFlags::IN)], Some(&left)) {
            Ok(ready) => return Ok(ready > 0),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

fn kill(child: &mut Child) {
    // It may have ended in between, or be in a group of its own making.
    let _ = kill_process_group(Pid::from_child(child), Signal::KILL);
    let _ = child.kill();
    let _ = child.wait();
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
