//! A program that the probe's operator wrote down: exit code 0 is up, its first line says why.
//!
//! Runs in a process group of its own with nothing of our environment, and limits of its own; when the look ends,
//! in time or not, so does the whole group.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::pin::pin;
use std::process::Stdio;

use rustix::process::{Pid, Resource, Rlimit, Signal, kill_process_group, prlimit};
use tokio::io::AsyncReadExt as _;
use tokio::process::{Child, ChildStdout, Command};
use tokio::sync::Semaphore;

use super::{Failure, Notes, failed, since};
use crate::check::External;
use crate::clock;
use crate::report::Reason;
use crate::target::Target;

/// Octets of a program's output that are kept.
const MOST_OUTPUT: u64 = 4096;
/// Programs at a time; others wait, within their own timeout.
pub const MOST_RUNNING: usize = 32;
/// What each process of a program may take: octets of memory, octets of a file, and descriptors. How many processes
/// there are is not bounded: that limit counts all of our user, so it would stop ours too.
const MOST_MEMORY: u64 = 512 << 20;
const MOST_FILE: u64 = 1 << 20;
const MOST_DESCRIPTORS: u64 = 64;

/// The programs that checks may name.
#[derive(Debug)]
pub struct Programs {
    by_name: BTreeMap<String, Program>,
    running: Semaphore,
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Program {
    pub path: PathBuf,
    pub arguments: Vec<String>,
}

impl Programs {
    pub fn new(by_name: BTreeMap<String, Program>) -> Programs {
        Programs { by_name, running: Semaphore::new(MOST_RUNNING) }
    }

    pub(super) async fn look(
        &self,
        target: &Target,
        address: IpAddr,
        check: &External,
        notes: &mut Notes,
    ) -> Result<(), Failure> {
        let Some(program) = self.by_name.get(&check.program) else {
            let detail = format!("this probe's config has no [program.{}]", check.program);
            return Err(Failure::new(Reason::Probe, detail));
        };
        let _permit = self.running.acquire().await.expect("nobody closes it");
        let began = clock::monotonic();
        let mut command = Command::new(&program.path);
        command
            .args(&program.arguments)
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("GSLB_ADDRESS", address.to_string())
            .env("GSLB_PORT", target.port.to_string())
            .env("GSLB_HOST", &target.host)
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .process_group(0);
        let path = program.path.display();
        let unrun =
            |error: std::io::Error| Failure::new(Reason::Probe, format!("running {path}: {error}"));
        let mut group = Group::of(command.spawn().map_err(unrun)?);
        group.limit();
        let mut reading = pin!(read(group.child.stdout.take()));
        let (status, output) = tokio::select! {
            status = group.child.wait() => {
                // What it left behind may have its output and keep it open.
                group.kill();
                (status, reading.await)
            }
            output = &mut reading => (group.child.wait().await, output),
        };
        let status = status.map_err(unrun)?;
        let output = output.map_err(|error| failed("reading its output", &error))?;
        notes.phases.first_byte = since(began);
        if status.success() {
            return Ok(());
        }
        let output = String::from_utf8_lossy(&output);
        let said = output.lines().next().unwrap_or_default();
        let detail = if said.is_empty() { status.to_string() } else { format!("{status}: {said}") };
        Err(Failure::new(Reason::Program, detail))
    }
}

/// To its end, and keeps the beginning: a program that says more than that is not ended for it.
async fn read(stdout: Option<ChildStdout>) -> std::io::Result<Vec<u8>> {
    let mut output = Vec::new();
    if let Some(mut stdout) = stdout {
        (&mut stdout).take(MOST_OUTPUT).read_to_end(&mut output).await?;
        tokio::io::copy(&mut stdout, &mut tokio::io::sink()).await?;
    }
    Ok(output)
}

/// A program and what it started.
struct Group {
    child: Child,
    leader: Option<Pid>,
}

impl Group {
    fn of(child: Child) -> Group {
        let leader = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        Group { child, leader }
    }

    /// A program that ends before this needs no limits.
    fn limit(&self) {
        let of = |most| Rlimit { current: Some(most), maximum: Some(most) };
        for (resource, most) in [
            (Resource::As, MOST_MEMORY),
            (Resource::Fsize, MOST_FILE),
            (Resource::Nofile, MOST_DESCRIPTORS),
            (Resource::Core, 0),
        ] {
            let _ = prlimit(self.leader, resource, of(most));
        }
    }

    fn kill(&self) {
        // Its number is its own until it was waited for; then only what it left behind is in the group.
        if let Some(leader) = self.leader {
            let _ = kill_process_group(leader, Signal::KILL);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.kill();
    }
}
