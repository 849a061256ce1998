//! The real `probe`, started from a file of its own, telling what it sees to name servers.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context as _, ensure};
use common::mtls::Files;
use rustix::process::Signal;
use tempfile::TempDir;

use crate::faketime;
use crate::pki::Holder;
use crate::process::Process;
use crate::server::{built, request};
use crate::wait::until;

pub struct Probe {
    dir: TempDir,
    process: Option<Process>,
    /// How far its clock is ahead, in seconds.
    ahead: i32,
}

impl Probe {
    /// Looks from a vantage and tells these name servers, each by its address and name. If it loses everything at
    /// once, it asks the references whether it sees at all.
    pub fn start(
        vantage: &str,
        holder: &Holder,
        servers: &[(SocketAddr, &str)],
        references: &[SocketAddr],
    ) -> anyhow::Result<Probe> {
        Probe::start_as(vantage, &holder.files(), servers, references)
    }

    /// The same with files that somebody else has made.
    pub fn start_as(
        vantage: &str,
        files: &Files,
        servers: &[(SocketAddr, &str)],
        references: &[SocketAddr],
    ) -> anyhow::Result<Probe> {
        let dir = tempfile::Builder::new().prefix("gslb-probe-").tempdir()?;
        let mut probe = Probe { dir, process: None, ahead: 0 };
        probe.configure(vantage, files, servers, references)?;
        probe.run()?;
        Ok(probe)
    }

    fn configure(
        &self,
        vantage: &str,
        files: &Files,
        servers: &[(SocketAddr, &str)],
        references: &[SocketAddr],
    ) -> anyhow::Result<()> {
        let servers = servers
            .iter()
            .map(|(address, name)| format!("{{ address = \"{address}\", name = \"{name}\" }}"));
        let servers = servers.collect::<Vec<_>>().join(", ");
        let references = references.iter().map(|at| {
            let (ip, port) = (at.ip(), at.port());
            format!(
                "{{ kind = \"tcp\", address = \"{ip}\", port = {port}, interval = \"500ms\", timeout = \"400ms\" }}"
            )
        });
        let references = references.collect::<Vec<_>>().join(", ");
        let crl = files.crl.as_ref().context("every holder has a list")?;
        fs::create_dir(self.path("state"))?;
        fs::write(
            self.path("probe.toml"),
            format!(
                "[probe]\nname = \"{vantage}\"\nstate_dir = \"state\"\nreport_to = [{servers}]\nreferences = [{references}]\nca = {:?}\n\
                 certificate = {:?}\nkey = {:?}\ncrl = {crl:?}\n[admin]\nlisten = \"127.0.0.1:0\"\n",
                files.ca, files.certificate, files.key
            ),
        )?;
        Ok(())
    }

    /// Starts it, if it does not run.
    pub fn run(&mut self) -> anyhow::Result<()> {
        if self.process.is_none() {
            let mut command = Command::new(built("probe")?);
            command.args(["run", "--config"]).arg(self.path("probe.toml"));
            if self.ahead != 0 {
                faketime::ahead(&mut command, self.ahead);
            }
            let log = fs::File::create(self.path("log"))?;
            command.env_remove("GSLB_LOG").stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
            self.process = Some(Process::spawn(&mut command)?);
        }
        Ok(())
    }

    /// Starts it again on a machine whose clock is so many seconds ahead.
    pub fn run_ahead(&mut self, seconds: i32) -> anyhow::Result<()> {
        self.kill()?;
        self.ahead = seconds;
        self.run()
    }

    pub fn is_running(&self) -> bool {
        self.process.is_some()
    }

    /// Asks it to end.
    pub fn stop(&mut self) -> anyhow::Result<()> {
        let mut process = self.process.take().context("it does not run")?;
        process.signal(Signal::TERM)?;
        let status = process.wait()?;
        ensure!(status.success(), "it ended badly: {status}");
        Ok(())
    }

    /// Ends it as a power cut does.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        if let Some(mut process) = self.process.take() {
            process.signal(Signal::KILL)?;
            process.wait()?;
        }
        Ok(())
    }

    pub fn signal(&mut self, signal: Signal) -> anyhow::Result<()> {
        self.process.as_mut().context("it does not run")?.signal(signal)
    }

    /// The value of one of its metrics, written as in the exposition; 0 if it is not there.
    pub fn metric(&self, series: &str) -> anyhow::Result<f64> {
        let text = request(self.admin()?, "GET", "/metrics")?.body;
        let name = series.split('{').next().unwrap_or_default();
        ensure!(text.contains(&format!("# TYPE {name} ")), "there is no {name} in {text}");
        let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        Ok(line.map_or(Ok(0.0), str::parse)?)
    }

    /// Where its door is, by what it said last.
    pub fn admin(&self) -> anyhow::Result<SocketAddr> {
        until("it tells where its door is", || {
            let log = self.log();
            let told = log.rsplit_once("admin=Some(").and_then(|(_, rest)| rest.split_once(')'));
            Ok(told.map(|(address, _)| address.parse()).transpose()?)
        })
    }

    /// What it has written.
    pub fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    /// Makes another machine of it, with everything that this one has.
    pub fn clone_of(other: &Probe) -> anyhow::Result<Probe> {
        let dir = tempfile::Builder::new().prefix("gslb-probe-").tempdir()?;
        fs::copy(other.path("probe.toml"), dir.path().join("probe.toml"))?;
        fs::create_dir(dir.path().join("state"))?;
        for entry in fs::read_dir(other.path("state"))? {
            let entry = entry?;
            fs::copy(entry.path(), dir.path().join("state").join(entry.file_name()))?;
        }
        let mut probe = Probe { dir, process: None, ahead: 0 };
        probe.run()?;
        Ok(probe)
    }

    /// `state` is where it keeps what outlives it.
    pub fn path(&self, file: &str) -> PathBuf {
        self.dir.path().join(file)
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        // The test has its result; nothing is left to tell.
        let _ = self.kill();
    }
}
