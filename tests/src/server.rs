//! The real `gslb-dns`, started from files on free ports, and spoken to from outside.
//!
//! Its addresses are read from its log. What it says there is kept, and shown when something fails.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;

use anyhow::{Context as _, bail, ensure};
use rustix::process::Signal;
use serde_json::Value;

use crate::process::Process;
use crate::wait::{PATIENCE, until};

/// `tidy` holds it to be all of them.
const METRICS: &str = include_str!("../../docs/metrics.md");

pub struct Server {
    process: Process,
    log: Log,
    dns: SocketAddr,
    tls: Option<SocketAddr>,
    https: Option<SocketAddr>,
    quic: Option<SocketAddr>,
    control: Option<SocketAddr>,
    admin: SocketAddr,
}

/// A response of the admin door.
#[derive(Debug)]
pub struct Page {
    pub status: u16,
    pub body: String,
}

impl Server {
    /// Starts the server and returns when it answers. `node` must have an admin door.
    pub fn start(node: &Path) -> anyhow::Result<Server> {
        Server::start_as(Command::new(program()?), node)
    }

    /// The same by another command, to which the arguments are added.
    pub fn start_as(mut command: Command, node: &Path) -> anyhow::Result<Server> {
        command
            .args(["run", "--log-format", "json", "--config"])
            .arg(node)
            .env_remove("GSLB_LOG")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let mut process = Process::spawn(&mut command)?;
        let stderr = process.child().stderr.take().context("stderr is piped")?;
        let mut log = Log::reading(stderr);
        let ready = log.wait_for("ready")?;
        // `[127.0.0.1:4711]` and `Some(127.0.0.1:4712)`: Rust's debug format, which serves for both.
        let address = |field: &str| -> anyhow::Result<SocketAddr> {
            let shown = ready["fields"][field].as_str().unwrap_or_default();
            let shown = shown.trim_start_matches(['[', 'S', 'o', 'm', 'e', '(']);
            let first = shown.split([']', ')', ',']).next().unwrap_or_default();
            first.parse().with_context(|| format!("no {field} address in {ready}"))
        };
        let (dns, admin) = (address("dns")?, address("admin")?);
        // `[]` where the node has none.
        let (tls, https) = (address("tls").ok(), address("https").ok());
        let quic = address("quic").ok();
        let control = address("control").ok();
        Ok(Server { process, log, dns, tls, https, quic, control, admin })
    }

    /// UDP and TCP.
    pub fn dns(&self) -> SocketAddr {
        self.dns
    }

    /// DNS over TLS, if the node has it.
    pub fn tls(&self) -> Option<SocketAddr> {
        self.tls
    }

    /// DNS over HTTPS, if the node has it.
    pub fn https(&self) -> Option<SocketAddr> {
        self.https
    }

    /// DNS over QUIC, if the node has it.
    pub fn quic(&self) -> Option<SocketAddr> {
        self.quic
    }

    /// Where producers tell what they saw, if the node has that.
    pub fn control(&self) -> Option<SocketAddr> {
        self.control
    }

    pub fn admin(&self) -> SocketAddr {
        self.admin
    }

    pub fn pid(&mut self) -> u32 {
        self.process.child().id()
    }

    pub fn get(&self, path: &str) -> anyhow::Result<Page> {
        self.request("GET", path)
    }

    pub fn request(&self, method: &str, path: &str) -> anyhow::Result<Page> {
        request(self.admin, method, path)
    }

    /// The value of one metric, written as in the exposition, labels and all; 0 if it is not there. There
    /// must be such a metric, or its 0 would say nothing.
    pub fn metric(&self, series: &str) -> anyhow::Result<f64> {
        let name = series.split('{').next().unwrap_or_default();
        ensure!(METRICS.contains(&format!("`{name}`")), "docs/metrics.md knows no {name}");
        let Page { status: 200, body } = self.get("/metrics")? else {
            bail!("no metrics");
        };
        let line = body.lines().find_map(|line| {
            let (named, value) = line.rsplit_once(' ')?;
            (named == series).then_some(value)
        });
        Ok(line.map_or(Ok(0.0), str::parse)?)
    }

    pub fn board_number(&self) -> anyhow::Result<u64> {
        Ok(self.metric("gslb_dns_board_number")? as u64)
    }

    /// Returns when a board later than `number` answers, with its number.
    pub fn wait_for_board_after(&self, number: u64) -> anyhow::Result<u64> {
        until("a new board answers", || {
            let now = self.board_number()?;
            Ok((now > number).then_some(now))
        })
    }

    /// The next log line whose message begins like this.
    pub fn wait_for_log(&mut self, message: &str) -> anyhow::Result<Value> {
        self.log.wait_for(message)
    }

    /// The process, for what the system knows of it.
    pub fn process(&self) -> &Process {
        &self.process
    }

    pub fn signal(&mut self, signal: Signal) -> anyhow::Result<()> {
        self.process.signal(signal)
    }

    /// Asks it to end, and tells how it did.
    pub fn stop(mut self) -> anyhow::Result<ExitStatus> {
        self.signal(Signal::TERM)?;
        self.wait()
    }

    pub fn wait(&mut self) -> anyhow::Result<ExitStatus> {
        self.process.wait()
    }
}

/// Of an admin door.
pub fn request(host: SocketAddr, method: &str, path: &str) -> anyhow::Result<Page> {
    let mut stream = TcpStream::connect(host)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    write!(stream, "{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    let (head, body) =
        text.split_once("\r\n\r\n").with_context(|| format!("no response: {text:?}"))?;
    let status = head.split(' ').nth(1).unwrap_or_default();
    Ok(Page { status: status.parse().with_context(|| head.to_owned())?, body: body.to_owned() })
}

/// Lines of standard error, read by a thread of their own so that the writer never waits.
struct Log {
    lines: Receiver<String>,
    read: Vec<String>,
}

impl Log {
    fn reading(stderr: impl std::io::Read + Send + 'static) -> Log {
        let (sender, lines) = mpsc::channel();
        // Ends with the process, whose end closes the pipe, or with the log, which closes the channel.
        thread::spawn(move || {
            let mut lines = BufReader::new(stderr).lines().map_while(Result::ok);
            while let Some(line) = lines.next()
                && sender.send(line).is_ok()
            {}
        });
        Log { lines, read: vec![] }
    }

    fn wait_for(&mut self, message: &str) -> anyhow::Result<Value> {
        loop {
            let Ok(line) = self.lines.recv_timeout(PATIENCE) else {
                bail!(
                    "gslb-dns ended or never logged {message:?}; it said\n{}",
                    self.read.join("\n")
                );
            };
            let entry: Value = serde_json::from_str(&line).unwrap_or_default();
            self.read.push(line);
            let said = entry["fields"]["message"].as_str().unwrap_or_default();
            if said.starts_with(message) {
                return Ok(entry);
            }
        }
    }
}

/// The binary of the profile that this test was built with.
pub fn program() -> anyhow::Result<PathBuf> {
    built("gslb-dns")
}

/// A daemon of this workspace, beside the test's own program, or that of a bench, and not older than its sources.
pub fn built(name: &str) -> anyhow::Result<PathBuf> {
    let us = std::env::current_exe()?;
    // target/PROFILE/deps/TEST, or target/PROFILE/BENCH.
    let beside = us.parent().context("a program is in a folder")?;
    let dir = if beside.ends_with("deps") { beside.parent().unwrap_or(beside) } else { beside };
    let build = match dir.ends_with("release") {
        true => "cargo build --release --workspace",
        false => "cargo build --workspace",
    };
    let program = dir.join(name);
    if !program.exists() {
        bail!("{} is missing: run `{build}` first", program.display());
    }
    if let Some(newer) = source_newer_than(&program)? {
        bail!("{} is older than {newer}: run `{build}` first", program.display());
    }
    Ok(program)
}

/// Cargo says beside a binary what it was made of.
fn source_newer_than(program: &Path) -> anyhow::Result<Option<String>> {
    let Ok(made_of) = fs::read_to_string(program.with_extension("d")) else {
        return Ok(None);
    };
    let built = fs::metadata(program)?.modified()?;
    let sources = made_of
        .lines()
        .filter_map(|line| line.split_once(": "))
        .flat_map(|(_, sources)| sources.split_whitespace());
    for source in sources {
        // What is gone cannot be newer; what is new is named by a source that has changed.
        if let Ok(source_file) = fs::metadata(source)
            && source_file.modified()? > built
        {
            return Ok(Some(source.to_owned()));
        }
    }
    Ok(None)
}

/// Runs the binary to its end with these arguments.
pub fn run<A: AsRef<std::ffi::OsStr>>(
    arguments: impl IntoIterator<Item = A>,
) -> anyhow::Result<Finished> {
    let output = Command::new(program()?)
        .args(arguments)
        .env_remove("GSLB_LOG")
        .stdin(Stdio::null())
        .output()?;
    Ok(Finished {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout)?,
        stderr: String::from_utf8(output.stderr)?,
    })
}

/// What a command that has ended left behind.
#[derive(Debug)]
pub struct Finished {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}
