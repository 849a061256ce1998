//! A balancer of a config, and servers behind it that say what they are told to say.

#![allow(dead_code, reason = "no test needs all of it")]
#![expect(clippy::unwrap_used, reason = "what a test cannot go on without may as well end it")]

pub mod http2;
pub mod logged;
pub mod operator;
pub mod segments;
pub mod servers;
pub mod witness;

use std::net::{Ipv4Addr, SocketAddr, TcpListener as StdListener};
use std::path::PathBuf;
use std::process;
use std::sync::Arc;
use std::sync::atomic::{
    AtomicBool, AtomicU32, AtomicUsize,
    Ordering::{Relaxed, SeqCst},
};
use std::time::Duration;

use common::lock::Mutex;
use site_agent::config;
use site_agent::run::Agent;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// Longer than anything here takes.
pub const LONG: Duration = Duration::from_secs(20);

/// An address that nobody has, on a host of its own: whoever asks the kernel for a port of 127.0.0.1 is not given the same.
pub fn address() -> SocketAddr {
    static GIVEN: AtomicU32 = AtomicU32::new(0);
    let (process, number) = (process::id() & 0x7fff, GIVEN.fetch_add(1, Relaxed) % 254 + 1);
    let host = Ipv4Addr::from_bits(0x7f80_0000 | process << 8 | number);
    StdListener::bind((host, 0)).unwrap().local_addr().unwrap()
}

/// A running balancer.
pub struct World {
    pub dir: TempDir,
    pub agent: Agent,
    /// Of its frontend.
    pub front: SocketAddr,
}

impl World {
    /// `FRONT` in the config is an address of ours.
    pub async fn start(config: &str) -> World {
        let (dir, front) = (tempfile::tempdir().unwrap(), address());
        let config = read(&dir, &config.replace("FRONT", &front.to_string()));
        let agent = Agent::start(config, 2).await.unwrap();
        World { dir, agent, front }
    }

    pub fn reload(&mut self, config: &str) {
        std::fs::write(file(&self.dir), config.replace("FRONT", &self.front.to_string())).unwrap();
        self.agent.reload();
    }

    pub async fn client(&self) -> Client {
        Client::connect(self.front).await
    }
}

fn file(dir: &TempDir) -> PathBuf {
    dir.path().join("site.toml")
}

fn read(dir: &TempDir, text: &str) -> config::Config {
    std::fs::write(file(dir), text).unwrap();
    config::load(&file(dir))
        .unwrap_or_else(|problems| panic!("{}", problems.render(config::Colour::Never)))
}

/// A connection that says raw octets.
pub struct Client {
    pub stream: TcpStream,
    seen: Vec<u8>,
}

/// An answer as it came.
#[derive(Debug)]
pub struct Answer {
    pub head: String,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn status(&self) -> u16 {
        self.head[9..12].parse().unwrap_or_else(|_| panic!("{}", self.head))
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        header(&self.head, name)
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

/// The value of the first of that name.
pub fn header<'h>(head: &'h str, name: &str) -> Option<&'h str> {
    let mut lines = head.lines().filter_map(|line| line.split_once(':'));
    lines.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
}

impl Client {
    pub async fn connect(to: SocketAddr) -> Client {
        Client { stream: TcpStream::connect(to).await.unwrap(), seen: vec![] }
    }

    pub fn over(stream: TcpStream) -> Client {
        Client { stream, seen: vec![] }
    }

    pub async fn say(&mut self, octets: impl AsRef<[u8]>) {
        self.stream.write_all(octets.as_ref()).await.unwrap();
    }

    /// `GET` of a path.
    pub async fn get(&mut self, path: &str) -> Answer {
        self.say(format!("GET {path} HTTP/1.1\r\nHost: a.example\r\n\r\n")).await;
        self.answer().await
    }

    /// Reads until these octets have come, and takes all up to their end.
    pub async fn until(&mut self, wanted: &[u8]) -> Vec<u8> {
        loop {
            if let Some(at) = self.seen.windows(wanted.len()).position(|octets| octets == wanted) {
                return self.seen.drain(..at + wanted.len()).collect();
            }
            assert!(self.more().await, "the end came before {}", wanted.escape_ascii());
        }
    }

    async fn more(&mut self) -> bool {
        let read = self.stream.read_buf(&mut self.seen);
        timeout(LONG, read).await.expect("something comes").unwrap_or(0) > 0
    }

    pub async fn octets(&mut self, count: usize) -> Vec<u8> {
        while self.seen.len() < count {
            assert!(self.more().await, "the end came after {} of {count}", self.seen.len());
        }
        self.seen.drain(..count).collect()
    }

    /// All that still comes.
    pub async fn rest(&mut self) -> Vec<u8> {
        while self.more().await {}
        std::mem::take(&mut self.seen)
    }

    pub async fn head(&mut self) -> String {
        String::from_utf8(self.until(b"\r\n\r\n").await).unwrap()
    }

    /// The first that comes, or nothing at the end.
    pub async fn until_end(&mut self) -> Vec<u8> {
        self.more().await;
        std::mem::take(&mut self.seen)
    }

    /// One answer, its body read as its head says.
    pub async fn answer(&mut self) -> Answer {
        let head = self.head().await;
        let body = if let Some(length) = header(&head, "content-length") {
            self.octets(length.parse().unwrap()).await
        } else if header(&head, "transfer-encoding").is_some() {
            self.chunks().await
        } else if head.starts_with("HTTP/1.1 1") || head.starts_with("HTTP/1.1 204") {
            vec![]
        } else {
            self.rest().await
        };
        Answer { head, body }
    }

    async fn chunks(&mut self) -> Vec<u8> {
        let mut body = vec![];
        loop {
            let line = String::from_utf8(self.until(b"\r\n").await).unwrap();
            let size = usize::from_str_radix(line.trim(), 16).unwrap();
            if size == 0 {
                while self.until(b"\r\n").await != b"\r\n" {}
                return body;
            }
            body.extend(self.octets(size).await);
            assert_eq!(self.octets(2).await, b"\r\n");
        }
    }

    /// Whether the other side has hung up, in time.
    pub async fn is_closed(&mut self) -> bool {
        matches!(timeout(LONG, self.stream.read_buf(&mut self.seen)).await, Ok(Ok(0) | Err(_)))
    }
}

/// What a server says to a request: `None` to hang up.
pub type Say = Arc<dyn Fn(&Asked) -> Option<Vec<u8>> + Send + Sync>;

/// A request as it came to a server.
#[derive(Clone, Debug)]
pub struct Asked {
    pub head: String,
    pub body: Vec<u8>,
}

impl Asked {
    pub fn path(&self) -> &str {
        self.head.split(' ').nth(1).unwrap()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        header(&self.head, name)
    }
}

/// A server of HTTP/1.1. Dropped, it is dead: nobody listens, and its connections are cut.
pub struct Backend {
    pub address: SocketAddr,
    pub connections: Arc<AtomicUsize>,
    pub asked: Arc<Mutex<Vec<Asked>>>,
    is_dead: Arc<AtomicBool>,
    task: JoinHandle<()>,
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A whole response with this body.
pub fn ok(body: impl AsRef<[u8]>) -> Vec<u8> {
    let body = body.as_ref();
    let mut octets =
        format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len()).into_bytes();
    octets.extend_from_slice(body);
    octets
}

impl Backend {
    /// One that says its name.
    pub async fn named(name: &'static str) -> Backend {
        Backend::start(move |_| Some(ok(name))).await
    }

    /// One that gives back what it is sent: with its length, in chunks with these trailers, or until it hangs up.
    pub async fn echo(trailers: &'static str) -> Backend {
        Backend::start(move |asked| {
            Some(match asked.path() {
                "/length" => ok(&asked.body),
                "/chunked" => chunked(&asked.body, trailers),
                _ => [b"HTTP/1.1 200 OK\r\n\r\n", &asked.body[..]].concat(),
            })
        })
        .await
    }

    pub async fn start(say: impl Fn(&Asked) -> Option<Vec<u8>> + Send + Sync + 'static) -> Backend {
        Backend::start_at((Ipv4Addr::LOCALHOST, 0).into(), say).await
    }

    /// One that answers each head as soon as it has come, and takes for a head whatever comes next.
    pub async fn hasty(name: &'static str) -> Backend {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (connections, asked) = (Arc::new(AtomicUsize::new(0)), Arc::new(Mutex::new(vec![])));
        let (count, log) = (Arc::clone(&connections), Arc::clone(&asked));
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                count.fetch_add(1, SeqCst);
                let log = Arc::clone(&log);
                tokio::spawn(async move {
                    let mut client = Client::over(stream);
                    loop {
                        while !client.seen.windows(4).any(|octets| octets == b"\r\n\r\n") {
                            if client.stream.read_buf(&mut client.seen).await.unwrap_or(0) == 0 {
                                return;
                            }
                        }
                        let head = client.head().await;
                        log.lock().push(Asked { head, body: vec![] });
                        if client.stream.write_all(&ok(name)).await.is_err() {
                            return;
                        }
                    }
                });
            }
        });
        Backend { address, connections, asked, is_dead: Arc::default(), task }
    }

    pub async fn start_at(
        address: SocketAddr,
        say: impl Fn(&Asked) -> Option<Vec<u8>> + Send + Sync + 'static,
    ) -> Backend {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (connections, asked) = (Arc::new(AtomicUsize::new(0)), Arc::new(Mutex::new(vec![])));
        let is_dead = Arc::new(AtomicBool::new(false));
        let dead = Arc::clone(&is_dead);
        let say: Say = Arc::new(move |asked| if dead.load(SeqCst) { None } else { say(asked) });
        let (count, log) = (Arc::clone(&connections), Arc::clone(&asked));
        let task = tokio::spawn(async move {
            let mut tasks = tokio::task::JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                count.fetch_add(1, SeqCst);
                tasks.spawn(serve(
                    Client { stream, seen: vec![] },
                    Arc::clone(&log),
                    Arc::clone(&say),
                ));
            }
        });
        Backend { address, connections, asked, is_dead, task }
    }

    /// Nobody listens any more, and nobody is answered.
    pub async fn kill(&mut self) {
        self.is_dead.store(true, SeqCst);
        self.task.abort();
        assert!((&mut self.task).await.is_err_and(|error| error.is_cancelled()));
    }

    pub fn connections(&self) -> usize {
        self.connections.load(SeqCst)
    }

    pub fn requests(&self) -> usize {
        self.asked.lock().len()
    }

    pub fn last(&self) -> Asked {
        self.asked.lock().last().unwrap().clone()
    }
}

async fn serve(mut client: Client, log: Arc<Mutex<Vec<Asked>>>, say: Say) {
    loop {
        while !client.seen.windows(4).any(|octets| octets == b"\r\n\r\n") {
            if client.stream.read_buf(&mut client.seen).await.unwrap_or(0) == 0 {
                return;
            }
        }
        let head = client.head().await;
        if header(&head, "expect").is_some() {
            client.say("HTTP/1.1 100 Continue\r\n\r\n").await;
        }
        let body = if let Some(length) = header(&head, "content-length") {
            client.octets(length.parse().unwrap()).await
        } else if header(&head, "transfer-encoding").is_some() {
            client.chunks().await
        } else {
            vec![]
        };
        let asked = Asked { head, body };
        log.lock().push(asked.clone());
        let Some(answer) = say(&asked) else { return };
        let switches = answer.starts_with(b"HTTP/1.1 101");
        if client.stream.write_all(&answer).await.is_err() {
            return;
        }
        if answer.starts_with(b"HTTP/1.1 100") {
            // The answer itself never comes.
            continue;
        }
        if switches {
            // An echo.
            loop {
                let seen = std::mem::take(&mut client.seen);
                if client.stream.write_all(&seen).await.is_err()
                    || client.stream.read_buf(&mut client.seen).await.unwrap_or(0) == 0
                {
                    return;
                }
            }
        }
        if !answer.windows(14).any(|octets| octets == b"Content-Length")
            && !answer.windows(7).any(|octets| octets == b"chunked")
        {
            return;
        }
    }
}

/// A server that is played by the test.
pub struct Server {
    pub listener: TcpListener,
}

impl Server {
    pub async fn new() -> Server {
        Server { listener: TcpListener::bind("127.0.0.1:0").await.unwrap() }
    }

    pub fn at(&self) -> [(&'static str, SocketAddr); 1] {
        [("a", self.listener.local_addr().unwrap())]
    }

    /// The next connection.
    pub async fn accept(&self) -> Client {
        let accepted = timeout(LONG, self.listener.accept()).await.expect("somebody comes");
        Client::over(accepted.unwrap().0)
    }

    /// The next connection, and the head that comes on it.
    pub async fn asked(&self) -> (Client, String) {
        let mut client = self.accept().await;
        let head = client.head().await;
        (client, head)
    }
}

fn chunked(body: &[u8], trailers: &str) -> Vec<u8> {
    let mut octets = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    for chunk in body.chunks(7919) {
        octets.extend(format!("{:x};ext=1\r\n", chunk.len()).into_bytes());
        octets.extend_from_slice(chunk);
        octets.extend_from_slice(b"\r\n");
    }
    octets.extend(format!("0\r\n{trailers}\r\n").into_bytes());
    octets
}

/// Waits until it is so.
pub async fn until(so: impl Fn() -> bool) {
    let wait = async {
        while !so() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    timeout(LONG, wait).await.expect("it becomes so");
}

/// A config of one frontend and one pool of these.
pub fn config(frontend: &str, pool: &str, servers: &[(&str, SocketAddr)]) -> String {
    let servers: Vec<_> = servers
        .iter()
        .map(|(name, address)| format!("{{ name = \"{name}\", address = \"{address}\" }}"))
        .collect();
    format!(
        "[frontend.web]\nbind = [\"FRONT\"]\npool = \"app\"\n{frontend}\n\n[pool.app]\n{pool}\nservers = [{}]\n",
        servers.join(", ")
    )
}
