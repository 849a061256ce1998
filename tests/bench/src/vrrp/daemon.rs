//! What has the addresses: our service, or keepalived told the same, on one machine of a link.

use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use gslb_tests::netns::{self, Namespace};
use gslb_tests::process::Process;
use rustix::process::{Pid, Signal, kill_process, set_parent_process_death_signal};
use serde_json::Value;

use super::until;
use crate::interrupt::Interrupt;
use crate::peers::{ourselves, sibling};

const KEEPALIVED: &str = "/usr/sbin/keepalived";
const STARTS_WITHIN: Duration = Duration::from_secs(20);
/// Of a service that is asked; one that was stopped (SIGSTOP) is not.
const ANSWERS_WITHIN: Duration = Duration::from_secs(5);
/// The lines of its log that are shown when something went wrong.
const LOG_TAIL: usize = 8;

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    SiteAgent,
    Keepalived,
}

/// Where they are.
pub struct Programs {
    pub site_agent: PathBuf,
}

/// A virtual router on `eth0`, for either. keepalived refreshes as often and preempts at once, and knows no witnesses.
#[derive(Clone, Debug)]
pub struct Router {
    pub name: String,
    pub vrid: u8,
    pub vip: String,
    pub priority: u8,
    pub interval: Duration,
    pub refresh: Duration,
    /// An address that has to answer before this one leads.
    pub witness: Option<&'static str>,
    pub balancer: Balancer,
}

/// Whether a balancer of the same box has to serve the address, or nobody leads. Of ours alone.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Balancer {
    Serves,
    NotAsked,
}

/// A process that has a machine's virtual routers. Dropped, it is asked to end, and made to if it does not.
pub struct Daemon {
    kind: Kind,
    home: PathBuf,
    process: Process,
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Kind::SiteAgent => "site-agent",
            Kind::Keepalived => "keepalived",
        }
    }
}

impl Programs {
    pub fn find(program: Option<PathBuf>, kinds: &[Kind]) -> anyhow::Result<Programs> {
        let site_agent = program.map_or_else(|| sibling("site-agent"), Ok)?;
        if !site_agent.exists() {
            bail!(
                "{} is not there; build it with: cargo build --release --workspace",
                site_agent.display()
            );
        }
        if kinds.contains(&Kind::Keepalived) && !Path::new(KEEPALIVED).exists() {
            bail!(
                "keepalived is not installed; install with: apt-get install --no-install-recommends keepalived"
            );
        }
        Ok(Programs { site_agent })
    }
}

/// Such as `v2.2.7`.
pub fn keepalived_version() -> anyhow::Result<String> {
    let output = Command::new(KEEPALIVED).arg("--version").output()?;
    let text = String::from_utf8_lossy(&output.stderr);
    let version = text.split_whitespace().nth(1).context("keepalived does not say its version")?;
    Ok(version.to_owned())
}

/// The role `in-namespace`: goes to its machine, makes sure not to outlive the bench, becomes the program.
pub fn become_in_namespace(name: &str, program: &[OsString]) -> anyhow::Result<()> {
    netns::enter(name)?;
    set_parent_process_death_signal(Some(Signal::KILL))?;
    let (program, arguments) = program.split_first().context("no program")?;
    let error = Command::new(program).args(arguments).exec();
    Err(error).with_context(|| format!("cannot start {}", program.display()))
}

/// Begins a command on a machine.
fn within(machine: &Namespace) -> anyhow::Result<Command> {
    let mut command = ourselves("in-namespace")?;
    command.arg(machine.name()).arg("--");
    Ok(command)
}

fn spawn(mut command: Command, log: &Path) -> anyhow::Result<Process> {
    let log = OpenOptions::new().create(true).append(true).open(log)?;
    command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    // Ctrl-C is ours to handle: one that died of it would look like one that failed.
    command.process_group(0);
    Process::spawn(&mut command)
}

/// A balancer by the same file as our service. It tells that service when it serves.
pub fn balance(programs: &Programs, machine: &Namespace, home: &Path) -> anyhow::Result<Process> {
    let mut command = within(machine)?;
    command.arg(&programs.site_agent).args(["run", "--threads", "1", "--config"]);
    command.arg(home.join("site.toml"));
    spawn(command, &home.join("balancer.log"))
}

/// Writes its file below `home`.
pub fn tell(kind: Kind, home: &Path, routers: &[Router]) -> anyhow::Result<()> {
    let (file, text) = match kind {
        Kind::SiteAgent => ("site.toml", site_toml(home, routers)),
        Kind::Keepalived => ("keepalived.conf", keepalived_conf(routers)),
    };
    fs::write(home.join(file), text)?;
    Ok(())
}

fn site_toml(home: &Path, routers: &[Router]) -> String {
    let [socket, balancer] = ["vrrp.sock", "balancer.sock"].map(|name| home.join(name));
    let mut text = format!("[vrrp_service]\nsocket = {socket:?}\nbalancer_socket = {balancer:?}\n");
    for Router { name, vrid, vip, priority, interval, refresh, witness, balancer } in routers {
        if *balancer == Balancer::Serves {
            let (address, _) = vip.split_once('/').unwrap_or((vip, ""));
            text += &format!(
                "[frontend.{name}]\nbind = [\"{address}:80\"]\nrules = [{{ when = \"true\", deny = 403 }}]\n"
            );
        }
        let witnesses = witness.map(|witness| format!("witnesses = [{witness:?}]\n"));
        text += &format!(
            "[vrrp.{name}]\ninterface = \"eth0\"\nvrid = {vrid}\nvips = [{vip:?}]\npriority = {priority}\n\
             interval = \"{}ms\"\npreempt = \"0s\"\nrefresh = \"{}s\"\n{}",
            interval.as_millis(),
            refresh.as_secs(),
            witnesses.unwrap_or_default(),
        );
    }
    text
}

fn keepalived_conf(routers: &[Router]) -> String {
    let refresh = routers.first().map_or(0, |router| router.refresh.as_secs());
    let mut text =
        format!("global_defs {{\n vrrp_version 3\n vrrp_garp_master_refresh {refresh}\n}}\n");
    for Router { name, vrid, vip, priority, interval, .. } in routers {
        text += &format!(
            "vrrp_instance {name} {{\n interface eth0\n virtual_router_id {vrid}\n priority {priority}\n advert_int {}\n \
             virtual_ipaddress {{ {vip} }}\n}}\n",
            interval.as_secs_f64(),
        );
    }
    text
}

impl Daemon {
    /// By the file that it was told in. Returns when ours answers; keepalived tells nobody.
    pub fn start(
        kind: Kind,
        programs: &Programs,
        machine: &Namespace,
        home: &Path,
        interrupt: &Interrupt,
    ) -> anyhow::Result<Daemon> {
        let mut command = within(machine)?;
        match kind {
            Kind::SiteAgent => {
                let file = home.join("site.toml");
                command.arg(&programs.site_agent).args(["vrrp", "run", "--config"]).arg(file);
            }
            Kind::Keepalived => {
                command.arg(KEEPALIVED).args(["--vrrp", "--dont-fork", "--log-console"]);
                command.arg("--use-file").arg(home.join("keepalived.conf"));
                command.arg("--pid").arg(home.join("pid"));
                command.arg("--vrrp_pid").arg(home.join("vrrp_pid"));
            }
        }
        let process = spawn(command, &log_of(home))?;
        let mut daemon = Daemon { kind, home: home.to_owned(), process };
        let what = format!("{} runs", kind.name());
        until(&what, STARTS_WITHIN, interrupt, || {
            if let Some(status) = daemon.process.child().try_wait()? {
                bail!("{} ended with {status}:\n{}", kind.name(), log_tail(home));
            }
            let runs = match kind {
                Kind::SiteAgent => daemon.ask("status").is_ok(),
                Kind::Keepalived => daemon.child().is_ok(),
            };
            Ok(runs.then_some(()))
        })?;
        Ok(daemon)
    }

    /// A line to our service, and its answer.
    pub fn ask(&self, line: &str) -> anyhow::Result<String> {
        let mut stream = UnixStream::connect(self.home.join("vrrp.sock"))?;
        stream.set_read_timeout(Some(ANSWERS_WITHIN))?;
        writeln!(stream, "{line}")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        ensure!(!answer.is_empty() && !answer.starts_with("error: "), "{line}: {answer:?}");
        Ok(answer)
    }

    /// What our service shows.
    pub fn status(&self) -> anyhow::Result<Value> {
        Ok(serde_json::from_str(&self.ask("status")?)?)
    }

    /// Of its process, and keepalived's child that does the work.
    pub fn pids(&self) -> anyhow::Result<Vec<u32>> {
        let mut pids = vec![self.process.id()];
        if self.kind == Kind::Keepalived {
            pids.push(u32::try_from(self.child()?.as_raw_nonzero().get())?);
        }
        Ok(pids)
    }

    pub fn signal(&mut self, signal: Signal) -> anyhow::Result<()> {
        self.process.signal(signal)
    }

    /// Without a word.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        if self.kind == Kind::Keepalived {
            // The one would start the other anew, and the other clean up after the one.
            self.process.signal(Signal::STOP)?;
            kill_process(self.child()?, Signal::KILL)?;
        }
        self.process.signal(Signal::KILL)
    }

    pub fn freeze(&mut self) -> anyhow::Result<()> {
        self.process.signal(Signal::STOP)?;
        self.signal_child(Signal::STOP)
    }

    pub fn thaw(&mut self) -> anyhow::Result<()> {
        self.signal_child(Signal::CONT)?;
        self.process.signal(Signal::CONT)
    }

    /// Waits until it has ended.
    pub fn ended(&mut self, interrupt: &Interrupt) -> anyhow::Result<()> {
        let what = format!("{} ends", self.kind.name());
        let child = self.process.child();
        until(&what, STARTS_WITHIN, interrupt, || Ok(child.try_wait()?.map(drop)))?;
        // Of a process that was killed they would be taken for those of the next.
        let _ = fs::remove_file(self.home.join("vrrp_pid"));
        let _ = fs::remove_file(self.home.join("pid"));
        Ok(())
    }

    fn signal_child(&self, signal: Signal) -> anyhow::Result<()> {
        match self.kind {
            Kind::SiteAgent => Ok(()),
            Kind::Keepalived => Ok(kill_process(self.child()?, signal)?),
        }
    }

    fn child(&self) -> anyhow::Result<Pid> {
        let text = fs::read_to_string(self.home.join("vrrp_pid"))?;
        Pid::from_raw(text.trim().parse()?).context("0 is no process")
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // The parent is woken by its own owner, behind this. If the child is gone, so much the better.
        let _ = self.signal_child(Signal::CONT);
    }
}

pub fn log_of(home: &Path) -> PathBuf {
    home.join("log")
}

/// The end of what it has said.
pub fn log_tail(home: &Path) -> String {
    let text = fs::read_to_string(log_of(home)).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(LOG_TAIL)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_are_told_the_same() {
        let router = Router {
            name: "web".to_owned(),
            vrid: 51,
            vip: "192.0.2.100/24".to_owned(),
            priority: 200,
            interval: Duration::from_millis(400),
            refresh: Duration::from_secs(60),
            witness: Some("192.0.2.1"),
            balancer: Balancer::NotAsked,
        };
        let served = Router { balancer: Balancer::Serves, ..router.clone() };
        let text = site_toml(Path::new("/home"), &[served]);
        let frontend = "[frontend.web]\nbind = [\"192.0.2.100:80\"]\nrules = [{ when = \"true\", deny = 403 }]\n[vrrp.web]\n";
        assert!(text.contains(frontend), "{text}");
        let routers = [router];
        assert_eq!(
            site_toml(Path::new("/home"), &routers),
            "[vrrp_service]\nsocket = \"/home/vrrp.sock\"\nbalancer_socket = \"/home/balancer.sock\"\n\
             [vrrp.web]\ninterface = \"eth0\"\nvrid = 51\nvips = [\"192.0.2.100/24\"]\npriority = 200\ninterval = \"400ms\"\npreempt = \"0s\"\nrefresh = \"60s\"\n\
             witnesses = [\"192.0.2.1\"]\n"
        );
        assert_eq!(
            keepalived_conf(&routers),
            "global_defs {\n vrrp_version 3\n vrrp_garp_master_refresh 60\n}\nvrrp_instance web {\n interface eth0\n \
             virtual_router_id 51\n priority 200\n advert_int 0.4\n virtual_ipaddress { 192.0.2.100/24 }\n}\n"
        );
    }
}
