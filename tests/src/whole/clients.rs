//! Clients of a continent behind a resolver: they ask for a name, go where it leads, and keep an account of each request.

use std::fs;
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::{Name, RecordType};

use super::ground::name_server;
use crate::netns::Namespace;
use crate::process::Process;
use crate::resolver::plain_query;
use crate::wait::{now, rest, until};

const UNBOUND: &str = "/usr/sbin/unbound";
const UNBOUND_CONTROL: &str = "/usr/sbin/unbound-control";
const RESOLVER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 53);
/// For the resolver: what a client waits by itself (RES_TIMEOUT of resolv.conf(5)). Of a name server that falls silent unbound
/// waits for answers four times, of which the last two take twice as long, and four times more for four times as long, unless
/// that is far more than what the other one takes: thirty times its first wait in all, if that is 50 to 112 ms.
const NAMED_WITHIN: Duration = Duration::from_secs(5);
/// The longest first wait for a name server that is as it should be: 376 ms if nothing is known of it, from then on by how soon
/// it answers. Where both were slow once, unbound waits for far longer than clients do.
const QUICK: Duration = Duration::from_millis(250);
/// For whoever has the address.
const ANSWERED_WITHIN: Duration = Duration::from_secs(1);
/// Clients of a continent, and how often each asks.
const CLIENTS: u32 = 4;
const PACE: Duration = Duration::from_millis(100);

pub fn missing() -> Option<&'static str> {
    let are_there = [UNBOUND, UNBOUND_CONTROL].map(|program| Path::new(program).exists());
    are_there.contains(&false).then_some("unbound is not installed")
}

/// The resolver of a continent, and its clients while they ask.
pub struct Continent<'g> {
    place: &'g Namespace,
    name: &'static str,
    _resolver: Process,
    asking: Option<Asking>,
}

/// Clients at work.
struct Asking {
    stop: Arc<AtomicBool>,
    clients: Vec<JoinHandle<Vec<Request>>>,
}

/// One request of one client.
#[derive(Clone, Debug)]
pub struct Request {
    pub continent: &'static str,
    pub at: Instant,
    pub took: Duration,
    pub outcome: Outcome,
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Outcome {
    /// By that server, as it calls itself.
    Answered(String),
    /// The name led nowhere.
    Unnamed(String),
    /// It led to an address at which this happened.
    Failed(IpAddr, Failure),
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Failure {
    /// Nobody answered in time, or there is no way.
    Silence,
    Refused,
    /// The connection ended before the answer was whole.
    Cut,
    Status(u16),
    /// An answer that is not one to this request.
    Wrong,
}

impl<'g> Continent<'g> {
    /// Starts its resolver.
    pub fn start(
        place: &'g Namespace,
        name: &'static str,
        dir: &Path,
    ) -> anyhow::Result<Continent<'g>> {
        let stubs = [0, 1].map(|index| format!(" stub-addr: {}\n", name_server(index))).concat();
        let config = format!(
            "server:\n do-daemonize: no\n use-syslog: no\n username: \"\"\n chroot: \"\"\n directory: \"{}\"\n \
             pidfile: \"\"\n interface: 127.0.0.1\n num-threads: 1\n access-control: 127.0.0.0/8 allow\n \
             module-config: \"iterator\"\nremote-control:\n control-enable: yes\n control-interface: \"{0}/{name}.sock\"\n\
             stub-zone:\n name: \"example.com\"\n{stubs}",
            dir.display()
        );
        let file = dir.join(format!("unbound-{name}.conf"));
        fs::write(&file, config)?;
        let mut command = Command::new(UNBOUND);
        command.arg("-d").arg("-c").arg(&file).stdin(Stdio::null()).stdout(Stdio::null());
        command.stderr(fs::File::create(dir.join(format!("unbound-{name}.log")))?);
        let resolver = place.within(|| Process::spawn(&mut command))?;
        let continent = Continent { place, name, _resolver: resolver, asking: None };
        until("its resolver knows the way", || {
            let request = place.within(|| ask(name, 0));
            Ok(matches!(request.outcome, Outcome::Answered(_)).then_some(()))
        })?;
        let mut unheard = 0..;
        until("its resolver knows both name servers to be quick", || {
            for number in unheard.by_ref().take(4) {
                // That there is no such name tells it as much.
                let _ = place.within(|| resolve(&format!("{number}.example.com.")));
            }
            Ok((quick_name_servers(&file)? == 2).then_some(()))
        })?;
        Ok(continent)
    }

    /// From now on its clients ask.
    pub fn begin(&mut self) {
        let stop = Arc::new(AtomicBool::new(false));
        let number = Arc::new(AtomicU64::new(1));
        let clients = (0..CLIENTS).map(|client| {
            let (name, stop, number) = (self.name, Arc::clone(&stop), Arc::clone(&number));
            let namespace = self.place.name().to_owned();
            thread::spawn(move || {
                crate::netns::enter(&namespace).expect("it is there as long as we are");
                let mut requests = vec![];
                let mut due = now() + PACE * client / CLIENTS;
                while !stop.load(Relaxed) {
                    rest(due);
                    requests.push(ask(name, number.fetch_add(1, Relaxed)));
                    // Whoever waited for long asks on as before, and does not catch up.
                    due = now().max(due + PACE);
                }
                requests
            })
        });
        let clients = clients.collect();
        self.asking = Some(Asking { stop, clients });
    }

    /// All that was asked.
    pub fn end(&mut self) -> Vec<Request> {
        let Some(Asking { stop, clients }) = self.asking.take() else { return vec![] };
        stop.store(true, Relaxed);
        clients.into_iter().flat_map(|client| client.join().expect("it only asks")).collect()
    }
}

impl Drop for Continent<'_> {
    fn drop(&mut self) {
        self.end();
    }
}

/// How many name servers the resolver of this configuration knows to be quick.
fn quick_name_servers(config: &Path) -> anyhow::Result<usize> {
    let known = Command::new(UNBOUND_CONTROL).arg("-c").arg(config).arg("dump_infra").output()?;
    let known = String::from_utf8(known.stdout)?;
    // 192.0.2.1 example.com. ttl 894 ping 0 var 54 rtt 216 rto 216 …
    let waits = known.lines().filter_map(|line| {
        let (_, wait) = line.split_once(" rto ")?;
        wait.split(' ').next()?.parse().ok().map(Duration::from_millis)
    });
    Ok(waits.filter(|wait| *wait <= QUICK).count())
}

fn ask(continent: &'static str, number: u64) -> Request {
    let at = now();
    let outcome = match name() {
        Ok(address) => match fetch(address, number) {
            Ok(by) => Outcome::Answered(by),
            Err(failure) => Outcome::Failed(address, failure),
        },
        Err(why) => Outcome::Unnamed(format!("{why:#}")),
    };
    Request { continent, at, took: at.elapsed(), outcome }
}

/// Where the resolver sends us.
fn name() -> anyhow::Result<IpAddr> {
    let answer = resolve("www.example.com.")?;
    let code = answer.metadata.response_code;
    anyhow::ensure!(code == ResponseCode::NoError, "{code}");
    answer.answers.iter().find_map(|record| record.data.ip_addr()).context("no address")
}

fn resolve(name: &str) -> anyhow::Result<Message> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    socket.connect(RESOLVER)?;
    socket.set_read_timeout(Some(NAMED_WITHIN))?;
    let mut query = plain_query(&Name::from_ascii(name)?, RecordType::A)?;
    query[2] |= 1; // A resolver wants to be asked for recursion.
    socket.send(&query)?;
    let mut room = [0; 1232];
    let length = socket.recv(&mut room).context("the resolver says nothing")?;
    Ok(Message::from_vec(&room[..length])?)
}

/// Who answers there.
fn fetch(address: IpAddr, number: u64) -> Result<String, Failure> {
    let mut stream = TcpStream::connect_timeout(&(address, 80).into(), ANSWERED_WITHIN)
        .map_err(|error| failure(&error))?;
    let mut text = String::new();
    let mut exchange = || {
        stream.set_read_timeout(Some(ANSWERED_WITHIN))?;
        write!(
            stream,
            "GET /{number} HTTP/1.1\r\nHost: www.example.com\r\nConnection: close\r\n\r\n"
        )?;
        stream.read_to_string(&mut text)
    };
    exchange().map_err(|error| failure(&error))?;
    let (head, body) = text.split_once("\r\n\r\n").ok_or(Failure::Cut)?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    match status {
        Some(200) => {}
        Some(status) => return Err(Failure::Status(status)),
        None => return Err(Failure::Wrong),
    }
    let (by, asked) = body.split_once(" /").ok_or(Failure::Cut)?;
    let is_ours = asked.trim_end().parse() == Ok(number);
    if is_ours { Ok(by.to_owned()) } else { Err(Failure::Wrong) }
}

fn failure(error: &io::Error) -> Failure {
    match error.kind() {
        ErrorKind::ConnectionRefused => Failure::Refused,
        ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted | ErrorKind::BrokenPipe => {
            Failure::Cut
        }
        _ => Failure::Silence,
    }
}
