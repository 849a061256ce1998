//! The access log beside HAProxy's: the same comes to both, and they write the same of it.

#![expect(clippy::unwrap_used, reason = "what a test cannot go on without may as well end it")]

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use gslb_tests::balancer::{can, listens, start};
use gslb_tests::loopback::addresses;
use gslb_tests::peers;
use gslb_tests::process::Process;
use gslb_tests::wait::until;

const HAPROXY: &str = "/usr/sbin/haproxy";
/// What a frontend of its own leads to: a server that answers, one that nobody is, and none.
const POOLS: [&str; 3] = ["good", "dead", "none"];
const DEADLINE: Duration = Duration::from_secs(20);

fn missing() -> Option<&'static str> {
    (!can(HAPROXY, &["-v"])).then_some("haproxy is not installed")
}

/// Answers every connection, and hangs up.
fn server() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            // Whoever only looks whether somebody listens says nothing.
            if matches!(stream.read(&mut [0; 1024]), Ok(1..)) {
                let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok";
                let _ = stream.write_all(answer);
            }
        }
    });
    address
}

/// Frontends and pools of HTTP, then of TCP.
fn all() -> impl Iterator<Item = (&'static str, &'static str)> {
    ["http", "tcp"].into_iter().flat_map(|mode| POOLS.into_iter().map(move |pool| (mode, pool)))
}

fn haproxy(folder: &Path, at: &[SocketAddr], servers: [SocketAddr; 2], log: &UdpSocket) -> Process {
    let mut text = format!(
        "global\n  log {} format raw local0\ndefaults\n  log global\n  retries 1\n  timeout client 5s\n  \
         timeout server 5s\n  timeout connect 1s\n",
        log.local_addr().unwrap()
    );
    let [good, dead] = servers;
    for ((mode, pool), at) in all().zip(at) {
        let server = match pool {
            "good" => format!("server s {good}"),
            "dead" => format!("server s {dead}"),
            _ => format!("server s {good} disabled"),
        };
        text += &format!(
            "frontend {mode}-{pool}\n  mode {mode}\n  option {mode}log\n  bind {at}\n  default_backend {mode}-{pool}-to\n\
             backend {mode}-{pool}-to\n  mode {mode}\n  {server}\n"
        );
    }
    let file = folder.join("haproxy.cfg");
    fs::write(&file, text).unwrap();
    let mut command = Command::new(HAPROXY);
    command.arg("-db").arg("-f").arg(file).stdin(Stdio::null());
    let process = Process::spawn(&mut command).unwrap();
    at.iter().try_for_each(listens).unwrap();
    process
}

fn ours(folder: &Path, at: &[SocketAddr], [good, dead]: [SocketAddr; 2]) -> Process {
    let mut text = "[runtime]\nsocket = \"ours.sock\"\n".to_owned();
    for ((mode, pool), at) in all().zip(at) {
        let server = if pool == "dead" { dead } else { good };
        text += &format!(
            "[frontend.{mode}-{pool}]\nmode = \"{mode}\"\nbind = [\"{at}\"]\npool = \"{mode}-{pool}-to\"\n\
             access_log = {{ target = \"{}/access.log\" }}\n[pool.{mode}-{pool}-to]\nmode = \"{mode}\"\n\
             retry = {{ attempts = 2 }}\nservers = [{{ name = \"s\", address = \"{server}\" }}]\n",
            folder.display()
        );
    }
    let process = start(folder, &text, 1, at).unwrap();
    let mut socket = std::os::unix::net::UnixStream::connect(folder.join("ours.sock")).unwrap();
    socket.write_all(b"disable server http-none-to/s;disable server tcp-none-to/s\n").unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    assert_eq!(answer.trim(), "");
    process
}

/// Asks, and reads to the end; from which port.
fn ask(at: SocketAddr) -> u16 {
    let mut stream = TcpStream::connect(at).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    let _ = stream.write_all(b"GET /a HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n");
    let _ = stream.read_to_end(&mut vec![]);
    stream.local_addr().unwrap().port()
}

/// Without what is another each time: the client and the date, and how long something took, but not whether it came to
/// be. Nor with HTTP's octets: headers are written in other ways.
fn shape(line: &str) -> String {
    let mut words: Vec<&str> = line.split_whitespace().skip(2).collect();
    let times = words[2].split('/').map(|time| if time == "-1" { "-1" } else { "T" });
    let times = times.collect::<Vec<_>>().join("/");
    words[2] = &times;
    if words[0].starts_with("http") {
        words[4] = "N";
    }
    words.join(" ")
}

/// What has been written of a frontend.
fn of<'l>(lines: &'l str, frontend: &str) -> impl Iterator<Item = &'l str> {
    let frontend = format!(" {frontend} ");
    lines.lines().filter(move |line| line.contains(&frontend))
}

/// The line of a client's port, once it is written.
fn line_of(port: u16, frontend: &str, lines: &mut dyn FnMut() -> String) -> String {
    let client = format!("127.0.0.1:{port} ");
    until(&format!("{frontend} logs {client}"), || {
        let lines = lines();
        Ok(of(&lines, frontend).find(|line| line.starts_with(&client)).map(shape))
    })
    .unwrap()
}

#[test]
fn what_came_to_be_and_what_did_not_stands_as_in_haproxys() {
    if peers::missing(missing()) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let log = UdpSocket::bind("127.0.0.1:0").unwrap();
    log.set_nonblocking(true).unwrap();
    let addresses: [SocketAddr; 13] = addresses().unwrap();
    let (at_ours, at_theirs) = (&addresses[..6], &addresses[6..12]);
    let servers = [server(), addresses[12]];
    let _theirs = haproxy(folder.path(), at_theirs, servers, &log);
    let _ours = ours(folder.path(), at_ours, servers);
    let access_log = folder.path().join("access.log");
    let mut by_us = || fs::read_to_string(&access_log).unwrap_or_default();
    let (mut heard, mut octets) = (String::new(), [0; 4096]);
    let mut by_them = || {
        while let Ok(count) = log.recv(&mut octets) {
            heard += &String::from_utf8_lossy(&octets[..count]);
            heard.push('\n');
        }
        heard.clone()
    };
    for (((mode, pool), ours), theirs) in all().zip(at_ours).zip(at_theirs) {
        let frontend = format!("{mode}-{pool}");
        let told = |at: SocketAddr, lines: &mut dyn FnMut() -> String| {
            // Who only looked whether somebody listens is a line of TCP's, too, and is not to be counted.
            let looked =
                || Ok((mode == "http" || of(&lines(), &frontend).next().is_some()).then_some(()));
            until("who looked has gone", looked).unwrap();
            line_of(ask(at), &frontend, lines)
        };
        assert_eq!(told(*ours, &mut by_us), told(*theirs, &mut by_them), "{frontend}");
    }
}
