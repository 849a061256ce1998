//! The servers behind every proxy: one nginx on the generator's core, at several loopback addresses and two ports, which
//! says how many connections and requests came to it.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, ensure};

use super::answer::Right;
use super::client::ask_once;
use crate::clock;
use crate::cpu::Cores;
use crate::nginx;
use crate::peers::Running;

/// So many that one port of them has enough others for all connections at a time, and for those that have just ended.
pub const ADDRESSES: [Ipv4Addr; 4] = [
    Ipv4Addr::new(127, 0, 0, 1),
    Ipv4Addr::new(127, 0, 0, 2),
    Ipv4Addr::new(127, 0, 0, 3),
    Ipv4Addr::new(127, 0, 0, 4),
];

/// The bodies of the two ports.
pub const BODIES: [&[u8]; 2] = [&[b'1'; 128], &[b'2'; 128]];

pub const SMALL: &str = "/small";
pub const LARGE: (&str, u64) = ("/large", 10_000_000);
/// For streams that nobody looks into.
pub const HUGE: (&str, u64) = ("/huge", 100_000_000);
const COUNTS: &str = "/counts";

const READY_WITHIN: Duration = Duration::from_secs(10);
const ASK_AGAIN: Duration = Duration::from_millis(20);

pub struct Backend {
    pub ports: [u16; 2],
    _nginx: Running,
}

/// What has come to it so far.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Counts {
    pub connections: u64,
    pub requests: u64,
}

impl Backend {
    /// For so many connections at a time. Writes below `dir`.
    pub fn start(dir: &Path, connections: usize, cores: Cores) -> anyhow::Result<Backend> {
        let home = dir.join("backend");
        fs::create_dir(&home)?;
        for (path, octets) in [LARGE, HUGE] {
            File::create(home.join(&path[1..]))?.set_len(octets)?;
        }
        let ports = [free_port()?, free_port()?];
        let mut text = "sendfile on; tcp_nopush on; open_file_cache max=10; \
                        keepalive_requests 1000000000; keepalive_timeout 1h;\n"
            .to_owned();
        for (port, body) in ports.iter().zip(BODIES) {
            let listen = listens(*port, " backlog=4096");
            text += &format!(
                "server {{ {listen} root {}; location = {SMALL} {{ return 200 \"{}\"; }} \
                 location = {COUNTS} {{ stub_status; }} }}\n",
                home.display(),
                body.escape_ascii()
            );
        }
        let command = nginx::prepare(&home, connections, &text)?;
        let mut running = Running::start(&command, cores.generator, &dir.join("backend.log"))?;
        until_answered(&mut running, SocketAddr::from((ADDRESSES[0], ports[0])))?;
        Ok(Backend { ports, _nginx: running })
    }

    pub fn counts(&self) -> anyhow::Result<Counts> {
        let mut stream = TcpStream::connect((ADDRESSES[0], self.ports[0]))?;
        let mut answer = String::new();
        let request = format!("GET {COUNTS} HTTP/1.0\r\n\r\n");
        std::io::Write::write_all(&mut stream, request.as_bytes())?;
        std::io::Read::read_to_string(&mut stream, &mut answer)?;
        Counts::read(&answer).with_context(|| format!("nginx counts in another way: {answer}"))
    }
}

impl Counts {
    /// ` 7 7 12 ` is the third of nginx's lines: accepted, handled, requests.
    fn read(answer: &str) -> Option<Counts> {
        let (_, lines) = answer.split_once("server accepts handled requests")?;
        let mut numbers = lines.split_whitespace().map(str::parse::<u64>);
        let (connections, _, requests) =
            (numbers.next()?.ok()?, numbers.next()?, numbers.next()?.ok()?);
        Some(Counts { connections, requests })
    }

    /// Since an earlier count; the counting itself left out.
    pub fn since(self, before: Counts) -> Counts {
        Counts {
            connections: self.connections.saturating_sub(before.connections + 1),
            requests: self.requests.saturating_sub(before.requests + 1),
        }
    }
}

/// A request for one of its paths.
pub fn request(path: &str, fields: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: www.{}\r\n{fields}\r\n", nginx::ZONE).into_bytes()
}

/// Every address with one port.
pub fn all(port: u16) -> Vec<SocketAddr> {
    ADDRESSES.iter().map(|&address| SocketAddr::from((address, port))).collect()
}

/// The same in nginx's words.
pub fn listens(port: u16, how: &str) -> String {
    all(port).iter().map(|address| format!("listen {address}{how};")).collect()
}

/// A port that is free at all of the addresses.
pub fn free_port() -> anyhow::Result<u16> {
    loop {
        let port = TcpListener::bind((ADDRESSES[0], 0))?.local_addr()?.port();
        if all(port).iter().all(|address| TcpListener::bind(address).is_ok()) {
            return Ok(port);
        }
    }
}

/// Until it has the right answer to a small request; the answer's octets.
pub fn until_answered(running: &mut Running, address: SocketAddr) -> anyhow::Result<usize> {
    let deadline = clock::now() + READY_WITHIN;
    loop {
        running.check()?;
        let asked = TcpStream::connect(address).map_err(anyhow::Error::from);
        let asked = asked.and_then(|mut stream| {
            stream.set_read_timeout(Some(READY_WITHIN))?;
            ask_once(&mut stream, &request(SMALL, ""), Right::Bodies(&BODIES))
        });
        match asked {
            Ok(answer) => return Ok(answer.octets as usize),
            Err(error) => {
                ensure!(clock::now() < deadline, "not ready within {READY_WITHIN:?}: {error:#}");
            }
        }
        clock::pause(ASK_AGAIN);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_those_of_stub_status_without_the_counting() {
        let text = |numbers: &str| {
            format!(
                "HTTP/1.1 200 OK\r\n\r\nActive connections: 2 \nserver accepts handled requests\n {numbers} \n\
                 Reading: 0 Writing: 1 Waiting: 1 \n"
            )
        };
        let before = Counts::read(&text("7 7 12")).unwrap();
        assert_eq!(before, Counts { connections: 7, requests: 12 });
        let after = Counts::read(&text("10 10 113")).unwrap();
        assert_eq!(after.since(before), Counts { connections: 2, requests: 100 });
        assert_eq!(Counts::read("HTTP/1.1 404 Not Found\r\n\r\n"), None);
    }
}
