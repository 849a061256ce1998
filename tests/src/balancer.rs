//! The balancer's binary, started from a config.

use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};

use crate::process::Process;
use crate::server::built;
use crate::wait::until;

/// Returns once somebody listens there.
pub fn listens(address: &SocketAddr) -> anyhow::Result<()> {
    until(&format!("{address} listens"), || Ok(TcpStream::connect(address).ok().map(drop)))
}

/// The binary with this config in `site.toml` of the folder, and so many threads. Returns once it listens at all of these.
pub fn start(
    folder: &Path,
    config: &str,
    threads: usize,
    at: &[SocketAddr],
) -> anyhow::Result<Process> {
    let file = folder.join("site.toml");
    std::fs::write(&file, config)?;
    let mut command = Command::new(built("site-agent")?);
    command.args(["run", "--threads", &threads.to_string(), "--config"]).arg(file);
    let process = Process::spawn(command.stdin(Stdio::null()))?;
    at.iter().try_for_each(listens)?;
    Ok(process)
}

/// Whether a program is there and does this.
pub fn can(program: &str, arguments: &[&str]) -> bool {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}
