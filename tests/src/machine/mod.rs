//! Machines with a service manager of their own: systemd is the first process, on a network of `netns`.
//!
//! Below their files are this machine's, which they cannot change; units of this machine are not there. Services are
//! started as systemd does it everywhere: users, capabilities, mounts and filters of system calls are the kernel's.
//! All of it goes with its owner, also after a panic, and after SIGKILL, as `boot.sh` sees its input end. If that is killed
//! itself the machine ends with it, and an empty folder and an empty control group stay behind.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, ensure};

use crate::balancer::can;
use crate::netns::{self, Namespace};
use crate::process::Process;
use crate::server::built;
use crate::wait::until;

const BOOT: &str = include_str!("boot.sh");
const SYSTEMD: &str = "/lib/systemd/systemd";
/// Where this checkout is on such a machine.
pub const CHECKOUT: &str = "/srv/gslb";

pub struct Machine {
    pub name: String,
    /// Of the script that keeps it; the machine's first process, as it is seen from here.
    keeper: Process,
    first: u32,
}

/// What a script that has ended said, and how it ended.
#[derive(Debug)]
pub struct Said {
    pub code: Option<i32>,
    pub out: String,
    pub error: String,
}

/// What this machine lacks to boot others.
pub fn missing() -> impl Iterator<Item = &'static str> {
    let lacks = |is_there: bool, what: &'static str| (!is_there).then_some(what);
    let has_systemd = lacks(Path::new(SYSTEMD).exists(), "systemd is not installed");
    // As in a container that may not mount anything.
    let may_unshare = can("unshare", &["--mount", "--pid", "--fork", "--cgroup", "true"]);
    let no_namespaces = lacks(may_unshare, "namespaces cannot be made here");
    netns::missing().into_iter().chain(has_systemd).chain(no_namespaces)
}

impl Machine {
    /// Returns when it has booted, with nothing of ours running.
    pub fn boot(network: &Namespace, name: &str) -> anyhow::Result<Machine> {
        let programs = built("gslb-dns")?;
        let programs = programs.parent().context("it is in a folder")?;
        // The script calls itself by this name in the namespaces that it makes.
        let script = tempfile::NamedTempFile::new()?;
        fs::write(script.path(), BOOT)?;
        // Which becomes bash: its process is the script's.
        let mut command = Command::new("unshare");
        command
            .args(["--mount", "bash"])
            .arg(script.path())
            .args(["begin", name])
            .arg(checkout())
            .arg(programs);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut keeper = network.within(|| Process::spawn(&mut command))?;
        let said = keeper.child().stdout.take().context("it is piped")?;
        let mut parent = String::new();
        BufReader::new(said).read_line(&mut parent)?;
        let parent = parent.trim();
        let first = until("a machine has a first process", || {
            let children = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children"))?;
            Ok(children.split_whitespace().next().map(str::parse).transpose()?)
        })?;
        let machine = Machine { name: name.to_owned(), keeper, first };
        until("systemd listens", || {
            Ok(machine.path("/run/systemd/private").exists().then_some(()))
        })?;
        let state = machine.run("systemctl is-system-running --wait")?;
        ensure!(state.out.trim() == "running", "{name} is {state:?}");
        Ok(machine)
    }

    /// A file of that machine.
    pub fn path(&self, path: &str) -> PathBuf {
        let root = PathBuf::from(format!("/proc/{}/root", self.first));
        root.join(path.trim_start_matches('/'))
    }

    /// What root does there, in the checkout, until something fails.
    pub fn run(&self, script: &str) -> anyhow::Result<Said> {
        let script = format!("cd {CHECKOUT}\n{script}");
        let done = Command::new("nsenter")
            .args([
                "--target",
                &self.first.to_string(),
                "--all",
                "bash",
                "-euo",
                "pipefail",
                "-c",
                &script,
            ])
            .env_remove("GSLB_LOG")
            .stdin(Stdio::null())
            .output()?;
        let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
        Ok(Said { code: done.status.code(), out: text(&done.stdout), error: text(&done.stderr) })
    }

    /// The same, of which nothing may fail. What it printed.
    pub fn does(&self, script: &str) -> anyhow::Result<String> {
        let Said { code, out, error } = self.run(script)?;
        let logs = || self.run("journalctl --no-pager --lines 60 --output short");
        if code != Some(0) {
            let logs = logs()?.out;
            anyhow::bail!("{} ended with {code:?}:\n{script}\n{out}\n{error}\n{logs}", self.name);
        }
        Ok(out)
    }

    /// What a service has said so far, and systemd of it.
    pub fn log(&self, unit: &str) -> anyhow::Result<String> {
        self.does(&format!("journalctl --no-pager --output cat --unit {unit}"))
    }

    /// Ends it as a power cut does.
    pub fn cut_power(self) {
        drop(self);
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // The end of its input is what the script waits for.
        drop(self.keeper.child().stdin.take());
        let _ = self.keeper.wait();
    }
}

/// The top of this repository.
pub fn checkout() -> PathBuf {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.parent().unwrap_or(package).to_path_buf()
}

#[cfg(test)]
mod tests {
    use std::env;

    use rustix::process::Signal;

    use super::*;
    use crate::netns::Segment;
    use crate::peers;

    /// What stays behind then, in a mount namespace of its own: `$1` is the folder, `$2` the script's process.
    const CLEAR: &str = r#"
mount -t cgroup2 cgroup2 "$1"
find "$1/gslb-machine-$2" -depth -type d -exec rmdir {} +
"#;

    #[test]
    fn a_machine_ends_with_the_script_that_keeps_it() {
        if peers::missing(missing()) {
            return;
        }
        let link = Segment::new().unwrap();
        let network = link.join("alone", &["192.0.2.1/24"]).unwrap();
        let mut machine = Machine::boot(&network, "alone").unwrap();
        let keeper = machine.keeper.id();
        let mounts = fs::read_to_string(format!("/proc/{keeper}/mountinfo")).unwrap();
        let temp = env::temp_dir().display().to_string();
        let mut places = mounts.lines().filter_map(|line| line.split(' ').nth(4));
        let base = places
            .find_map(|at| at.strip_suffix("/cgroup").filter(|base| base.starts_with(&temp)))
            .unwrap();
        machine.keeper.signal(Signal::KILL).unwrap();
        machine.keeper.wait().unwrap();
        let root = machine.path("/");
        until("its first process ends", || Ok((!root.exists()).then_some(()))).unwrap();
        let id = keeper.to_string();
        until("its processes have ended", || {
            let mut clear = Command::new("unshare");
            clear.args(["--mount", "bash", "-euc", CLEAR, "bash", base, &id]);
            Ok(clear.stderr(Stdio::null()).status()?.success().then_some(()))
        })
        .unwrap();
        fs::remove_dir(base).unwrap();
    }
}
