//! The real binary: `check`, `run`, and what signals ask of it.

#![expect(clippy::unwrap_used, reason = "what a test cannot go on without may as well end it")]

#[path = "world/credentials.rs"]
mod credentials;

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::net::UnixDatagram;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use credentials::Ca;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

const GOOD: &str = r#"
[probe]
name = "ams"
state_dir = "state"
report_to = [{ address = "127.0.0.1:1", name = "dns1" }]
ca = "ams-ca.pem"
certificate = "ams.pem"
key = "ams.key"
roots = "ams-ca.pem"
"#;

fn folder(text: &str) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    Ca::new().issue(dir.path(), "gslb://test/probe/ams");
    fs::write(dir.path().join("probe.toml"), text).unwrap();
    dir
}

fn command(dir: &TempDir, verb: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_probe"));
    command.arg(verb).arg("--config").arg(dir.path().join("probe.toml")).env_clear();
    command
}

fn check(text: &str) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = command(&folder(text), "check").output().unwrap();
    let text = |octets| String::from_utf8(octets).unwrap();
    (status.code(), text(stdout), text(stderr))
}

#[test]
fn check_tells_what_is_wrong_and_what_may_be() {
    let (code, told, warned) = check(GOOD);
    assert_eq!(code, Some(0));
    assert!(
        told.contains("good: probe ams of cluster test, name servers: 1, references: 0"),
        "{told}"
    );
    assert!(warned.contains("warning: it has no references"), "{warned}");
    let (code, told, problems) = check(&GOOD.replace("key =", "kye ="));
    assert_eq!((code, &*told), (Some(1), ""));
    assert!(
        problems.contains("did you mean key?") && problems.contains("2 problems"),
        "{problems}"
    );
}

/// A run, and the lines of its log.
struct Run {
    child: Child,
    log: std::io::Lines<BufReader<std::process::ChildStderr>>,
}

impl Run {
    fn start(mut command: Command) -> Run {
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let log = BufReader::new(child.stderr.take().unwrap()).lines();
        Run { child, log }
    }

    fn signal(&self, signal: Signal) {
        let id = Pid::from_raw(self.child.id().try_into().unwrap()).unwrap();
        kill_process(id, signal).unwrap();
    }

    /// Reads on until a line holds this.
    fn says(&mut self, text: &str) {
        let mut seen = vec![];
        for line in &mut self.log {
            let line = line.unwrap();
            if line.contains(text) {
                return;
            }
            seen.push(line);
        }
        panic!("ended without {text:?}: {seen:#?}");
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_run_reloads_and_ends_when_it_is_asked_to() {
    let dir = folder(GOOD);
    let socket = dir.path().join("notify");
    let manager = UnixDatagram::bind(&socket).unwrap();
    manager.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let mut command = command(&dir, "run");
    command.env("NOTIFY_SOCKET", &socket);
    let mut run = Run::start(command);
    run.says("ready");
    let mut told = [0; 256];
    let length = manager.recv(&mut told).unwrap();
    assert!(told[..length].starts_with(b"READY=1\n"));
    run.says("a name server cannot be told");
    run.signal(Signal::HUP);
    run.says("config taken");
    fs::write(dir.path().join("probe.toml"), GOOD.replace("dns1", "Dns1")).unwrap();
    run.signal(Signal::HUP);
    run.says("config refused");
    run.signal(Signal::TERM);
    run.says("asked to end");
    assert_eq!(run.child.wait().unwrap().code(), Some(0));
    let length = manager.recv(&mut told).unwrap();
    assert!(told[..length].starts_with(b"STOPPING=1\n"));
}

#[test]
fn a_run_with_a_bad_config_does_not_begin() {
    let dir = folder(&GOOD.replace("ams-ca.pem", "none.pem"));
    let Output { status, stderr, .. } = command(&dir, "run").output().unwrap();
    let told = String::from_utf8(stderr).unwrap();
    assert_eq!(status.code(), Some(1), "{told}");
    assert!(told.contains("none.pem cannot be read"), "{told}");
}
