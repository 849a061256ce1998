//! The servers of a run: each a process on the measured core, killed when it is dropped.

pub mod echo;
pub mod gdnsd;
pub mod gslb;
pub mod hickory;

use std::env;
use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use rustix::process::{Signal, set_parent_process_death_signal};

use crate::interrupt::Interrupt;
use crate::load::{Reply, is_right};
use crate::queries::Queries;
use crate::reloads::is_of_one_world;
use crate::{clock, cpu};

/// Between two asks whether a server answers yet.
const ASK_AGAIN: Duration = Duration::from_millis(20);
/// How long a server may take to its first answer, a million names included.
const READY_WITHIN: Duration = Duration::from_secs(120);
/// How much of its log is shown of a server that did not come up.
const LOG_TAIL: usize = 20;

/// A server that answers.
pub struct Server {
    pub name: &'static str,
    pub address: SocketAddr,
    pub reply: Reply,
    /// From start to first answer.
    pub ready_in: Duration,
    /// Octets of its answer to the first query.
    pub reply_size: usize,
    child: Child,
}

/// How to start a server.
pub struct Start<'a> {
    pub name: &'static str,
    pub command: Command,
    pub address: SocketAddr,
    pub reply: Reply,
    /// Where it may write.
    pub dir: &'a Path,
}

impl Server {
    /// Starts a server on `core` and waits until it answers the first of the queries.
    pub fn start(
        start: Start<'_>,
        core: usize,
        queries: &Queries,
        interrupt: &Interrupt,
    ) -> anyhow::Result<Server> {
        let Start { name, command, address, reply, dir } = start;
        let log = dir.join(format!("{name}.log"));
        let output = File::create(&log)?;
        let began = clock::now();
        let child = on_core(core, &command)?
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()
            .with_context(|| format!("cannot start {name}"))?;
        let mut server =
            Server { name, address, reply, ready_in: Duration::ZERO, reply_size: 0, child };
        server.reply_size = server.first_answer(queries, interrupt).map_err(|error| {
            anyhow!("{name} did not come up: {error:#}; its log ends:\n{}", tail(&log))
        })?;
        server.ready_in = clock::now() - began;
        Ok(server)
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Asks until the right answer comes, and says how long it is.
    fn first_answer(&mut self, queries: &Queries, interrupt: &Interrupt) -> anyhow::Result<usize> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        socket.connect(self.address)?;
        socket.set_read_timeout(Some(ASK_AGAIN))?;
        let deadline = clock::now() + READY_WITHIN;
        let mut buffer = [0; 4096];
        let mut last = anyhow!("no answer");
        while clock::now() < deadline {
            interrupt.check()?;
            if let Some(status) = self.child.try_wait()? {
                bail!("it ended with {status}");
            }
            // Refused while nobody listens: the next try tells.
            let answer = socket.send(queries.packet(0)).and_then(|_| socket.recv(&mut buffer));
            match (answer, self.reply) {
                (Ok(length), Reply::Echo) => return Ok(length),
                (Ok(length), Reply::OneWorld) => match is_of_one_world(&buffer[..length]) {
                    Ok(()) => return Ok(length),
                    Err(wrong) => last = wrong,
                },
                (Ok(length), Reply::Address) => {
                    match is_right(&buffer[..length], queries.expected(0)) {
                        Ok(()) => return Ok(length),
                        Err(wrong) => last = wrong,
                    }
                }
                (Err(_), _) => {}
            }
            clock::pause(ASK_AGAIN);
        }
        Err(last.context(format!("not ready within {READY_WITHIN:?}")))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Both fail only if it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A process on a core of its own, killed when it is dropped.
pub struct Running {
    name: String,
    log: PathBuf,
    child: Child,
}

impl Running {
    pub fn start(command: &Command, core: usize, log: &Path) -> anyhow::Result<Running> {
        let name = command.get_program().to_string_lossy().into_owned();
        let output = File::create(log)?;
        let child = on_core(core, command)?
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()
            .with_context(|| format!("cannot start {name}"))?;
        Ok(Running { name, log: log.to_owned(), child })
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Fails if it has ended.
    pub fn check(&mut self) -> anyhow::Result<()> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => bail!("{} ended with {status}:\n{}", self.name, tail(&self.log)),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail only if it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs this very program again, in one of its hidden roles.
pub fn ourselves(role: &str) -> anyhow::Result<Command> {
    let mut command = Command::new(env::current_exe()?);
    command.arg(role);
    Ok(command)
}

/// A program built beside this one.
pub fn sibling(name: &str) -> anyhow::Result<PathBuf> {
    Ok(env::current_exe()?.with_file_name(name))
}

/// The role `on-core`: goes to its core, makes sure not to outlive the bench, becomes the program.
pub fn become_on_core(core: usize, program: &[std::ffi::OsString]) -> anyhow::Result<()> {
    cpu::pin(core)?;
    set_parent_process_death_signal(Some(Signal::KILL))?;
    let (program, arguments) = program.split_first().context("no program")?;
    let error = Command::new(program).args(arguments).exec();
    Err(error).with_context(|| format!("cannot start {}", program.display()))
}

fn on_core(core: usize, command: &Command) -> anyhow::Result<Command> {
    let mut pinned = ourselves("on-core")?;
    pinned
        .arg(core.to_string())
        .arg("--")
        .arg(command.get_program())
        .args(command.get_args())
        // Ctrl-C is ours to handle: a server that died of it would look like a server that failed.
        .process_group(0);
    Ok(pinned)
}

fn tail(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(LOG_TAIL)..].join("\n")
}
