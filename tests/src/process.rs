//! A child process that does not outlive its owner: asked to end first, then made to.

use std::fs;
use std::process::{Child, Command, ExitStatus};

use anyhow::Context as _;
use rustix::process::{Pid, Signal, kill_process};

use crate::wait::until;

pub struct Process {
    name: String,
    child: Child,
}

impl Process {
    pub fn spawn(command: &mut Command) -> anyhow::Result<Process> {
        let name = command.get_program().to_string_lossy().into_owned();
        let child = command.spawn().with_context(|| format!("cannot start {name}"))?;
        Ok(Process { name, child })
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// Octets of memory that are its own and in memory.
    pub fn resident(&self) -> anyhow::Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
        let kib = line.and_then(|rest| rest.split_whitespace().next()).context("no RssAnon")?;
        Ok(kib.parse::<u64>()? << 10)
    }

    /// How many files and sockets it has open.
    pub fn descriptors(&self) -> anyhow::Result<usize> {
        Ok(fs::read_dir(format!("/proc/{}/fd", self.child.id()))?.count())
    }

    /// Does nothing if it has ended.
    pub fn signal(&mut self, signal: Signal) -> anyhow::Result<()> {
        if self.child.try_wait()?.is_none() {
            let id = i32::try_from(self.child.id()).context("a process id is positive")?;
            let pid = Pid::from_raw(id).context("a process id is not 0")?;
            kill_process(pid, signal)
                .with_context(|| format!("cannot signal {} ({id})", self.name))?;
        }
        Ok(())
    }

    /// How it ended, once it has.
    pub fn wait(&mut self) -> anyhow::Result<ExitStatus> {
        let Process { name, child } = self;
        until(&format!("{name} ends"), || Ok(child.try_wait()?))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let asked = self.signal(Signal::CONT).and_then(|()| self.signal(Signal::TERM));
        if asked.and_then(|()| self.wait()).is_err() {
            // It may have ended in between; then there is nothing left to do.
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}
