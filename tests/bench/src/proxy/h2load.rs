//! h2load, the load generator of HTTP/2 (nghttp2), and what it says at its end.

use std::io::Read as _;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, bail, ensure};

const PROGRAM: &str = "/usr/bin/h2load";

/// Connections, and requests at a time on each.
pub const CONNECTIONS: usize = 16;
pub const STREAMS: usize = 8;

pub struct Running(Child);

/// What it counted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Report {
    pub done: u64,
    /// Answers of the 200s.
    pub good: u64,
    /// Requests that failed, in any of its ways.
    pub bad: u64,
}

pub fn find() -> anyhow::Result<()> {
    if !Path::new(PROGRAM).exists() {
        bail!(
            "h2load is not installed; install with: apt-get install --no-install-recommends nghttp2-client"
        );
    }
    Ok(())
}

impl Running {
    /// Asks within TLS, for so long, as fast as it is answered.
    pub fn start(server: SocketAddr, path: &str, lasting: Duration) -> anyhow::Result<Running> {
        let child = Command::new(PROGRAM)
            .args(["-t", "1", "-c", &CONNECTIONS.to_string(), "-m", &STREAMS.to_string()])
            .args(["-D", &format!("{}ms", lasting.as_millis())])
            .arg(format!("https://{server}{path}"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .context("cannot start h2load")?;
        Ok(Running(child))
    }

    pub fn report(mut self) -> anyhow::Result<Report> {
        let mut text = String::new();
        let mut stdout = self.0.stdout.take().context("h2load has no output")?;
        stdout.read_to_string(&mut text)?;
        let status = self.0.wait()?;
        ensure!(status.success(), "h2load ended with {status}:\n{text}");
        ensure!(
            text.contains("Application protocol: h2\n"),
            "h2load was not served by HTTP/2:\n{text}"
        );
        Report::read(&text).with_context(|| format!("h2load reports in another way:\n{text}"))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail only if it has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Report {
    fn read(text: &str) -> Option<Report> {
        let number = |line: &str, after: &str| {
            let line = text.lines().find_map(|text| text.strip_prefix(line))?;
            let part = line.split(',').find_map(|part| part.trim().strip_suffix(after))?;
            part.trim().parse::<u64>().ok()
        };
        let requests = |what| number("requests:", what);
        Some(Report {
            done: requests(" done")?,
            good: number("status codes:", " 2xx")?,
            bad: requests(" failed")? + requests(" errored")? + requests(" timeout")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_went_wrong_is_read_in_all_of_its_ways() {
        let text = "finished in 1.00s, 3 req/s, 1KB/s\n\
            requests: 9 total, 10 started, 8 done, 7 succeeded, 1 failed, 2 errored, 3 timeout\n\
            status codes: 7 2xx, 0 3xx, 0 4xx, 1 5xx\n";
        assert_eq!(Report::read(text), Some(Report { done: 8, good: 7, bad: 6 }));
        assert_eq!(Report::read("finished in 1.00s\n"), None);
    }
}
