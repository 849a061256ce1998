//! A pair with VRRP, where there is root for it: two boxes on a link of their own, of which one has the address.
//!
//! running ─▶ (a process) link ─▶ (two processes) member ─▶ `site_agent::vrrp_service`
//!
//! Each is in a network namespace without a name, which goes with it: nothing of it is seen from outside, and nothing
//! stays behind. Each ends when whoever started it closes its input, and is killed by the kernel when that one is gone.

pub mod link;
pub mod member;

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::thread::park_timeout;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use common::clock::monotonic;
use rustix::process::{Signal, geteuid, set_parent_process_death_signal};

use crate::world::BOXES;

/// What this program is called with, to be one of these processes.
pub const LINK: &str = "vrrp-link";
pub const MEMBER: &str = "vrrp-member";
/// In the demo's directory: who has the address.
pub const SHOWN: &str = "vrrp";

/// The address that the two have in turn, and where its page is.
const VIP: &str = "192.0.2.100";
const PAGE_PORT: u16 = 8080;

/// In which who is asked to end has ended, with all that it has started.
const END_WITHIN: Duration = Duration::from_secs(5);
/// Between two looks at that.
const PAUSE: Duration = Duration::from_millis(10);

/// A process of this program, and what it is told and tells. Dropped, it ends.
struct Part {
    child: Child,
    to: Option<ChildStdin>,
    from: BufReader<ChildStdout>,
}

impl Part {
    fn start(words: &[&str], dir: &Path) -> anyhow::Result<Part> {
        let program = std::env::current_exe().context("cannot tell where this program is")?;
        let mut command = Command::new(program);
        command.args(words).arg(dir).stdin(Stdio::piped()).stdout(Stdio::piped());
        // Ctrl-C is for whoever started us, who ends us.
        command.process_group(0);
        let mut child = command.spawn().with_context(|| words.join(" "))?;
        let to = child.stdin.take();
        let from = BufReader::new(child.stdout.take().context("it is piped")?);
        Ok(Part { child, to, from })
    }

    fn tell(&mut self, line: &str) -> anyhow::Result<()> {
        Ok(writeln!(self.to.as_mut().context("it is piped")?, "{line}")?)
    }

    /// Until it says that; what it says instead is why it cannot.
    fn until_says(&mut self, expected: &str) -> anyhow::Result<()> {
        let mut line = String::new();
        self.from.read_line(&mut line)?;
        let said = line.trim_end();
        ensure!(said == expected, "{}", if said.is_empty() { "it has ended" } else { said });
        Ok(())
    }

    /// As if its power were cut.
    fn kill(mut self) {
        let _ = self.child.kill();
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        drop(self.to.take());
        let deadline = monotonic() + END_WITHIN;
        while matches!(self.child.try_wait(), Ok(None)) && monotonic() < deadline {
            park_timeout(PAUSE);
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Of one of these processes, before it does anything: it does not outlive whoever started it. Who is gone before this
/// has closed our input.
fn end_with_starter() -> anyhow::Result<()> {
    set_parent_process_death_signal(Some(Signal::KILL)).context("cannot be bound to its starter")
}

/// Dropped, it ends.
pub struct Pair {
    link: Part,
    /// As they stand in `BOXES`.
    killed: [bool; BOXES.len()],
}

impl Pair {
    pub fn start(dir: &Path) -> anyhow::Result<Pair> {
        ensure!(
            geteuid().is_root(),
            "--vrrp needs root, for a network of its own and raw sockets; without it all else is there"
        );
        let mut link = Part::start(&[LINK], dir)?;
        link.until_says("ready").context("the pair with VRRP cannot start")?;
        Ok(Pair { link, killed: [false; BOXES.len()] })
    }

    /// Has one of the boxes be there, or not.
    pub fn set(&mut self, one: &str, killed: bool) -> anyhow::Result<()> {
        let index = BOXES.iter().position(|name| *name == one).context("a box of the pair")?;
        if self.killed[index] != killed {
            self.link.tell(&format!("{} {one}", if killed { "kill" } else { "revive" }))?;
            self.link.until_says("done")?;
            self.killed[index] = killed;
        }
        Ok(())
    }
}
