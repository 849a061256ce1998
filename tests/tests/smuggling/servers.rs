//! Three servers that tell what they read: nginx, hyper, and one that takes nothing that another could take
//! otherwise, and keeps every octet.
//!
//! A client is known by its address, which the balancer tells them: so what they read is a client's, whenever and on whatever
//! connection it came.

use std::convert::Infallible;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::thread;

use common::lock::Mutex;
use gslb_tests::balancer::{can, listens};
use gslb_tests::loopback::addresses;
use gslb_tests::process::Process;
use gslb_tests::wait::until;
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{HeaderMap, Request, Response};
use hyper_util::rt::TokioIo;
use rustix::process::Signal;
use serde_json::Value;
use tokio::runtime::Runtime;

const NGINX: &str = "/usr/sbin/nginx";

pub fn missing() -> Option<&'static str> {
    (!can(NGINX, &["-v"])).then_some("nginx is not installed")
}

/// What a server read.
#[derive(Clone, Debug)]
pub struct Seen {
    /// As `X-Forwarded-For` has it; empty if the balancer never wrote that.
    pub client: String,
    pub what: What,
    /// All that came on the connection up to then, where that is known.
    pub octets: Vec<u8>,
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub enum What {
    /// As `METHOD target host "body"`.
    Whole(String),
    /// A request that ended before it should, as `METHOD target host`.
    Cut(String),
    /// What nobody should have sent, and why.
    Malformed(String),
}

/// What a client is answered: who it is, and what it asked for, as the server read both.
fn answer(client: &str, method: &str, target: &str) -> String {
    format!("{client} {method} {target}\n")
}

fn request(method: &str, target: &str, host: &str, body: &[u8], trailers: &str) -> String {
    let mut text = format!("{method} {target} {host}");
    if !body.is_empty() {
        text += &format!(" {:?}", String::from_utf8_lossy(body));
    }
    if !trailers.is_empty() {
        text += &format!(" with {trailers}");
    }
    text
}

pub struct Nginx {
    pub address: SocketAddr,
    process: Process,
    log: PathBuf,
}

impl Nginx {
    /// One who reads each request whole, and logs it.
    pub fn start(dir: &Path) -> Nginx {
        let [address, behind] = addresses().unwrap();
        fs::create_dir_all(dir).unwrap();
        let (shown, log) = (dir.display(), dir.join("access.log"));
        let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|kind| format!("{kind}_temp_path {shown}/{kind};\n"))
            .concat();
        // It has a request's body only where it passes that on.
        let text = format!(
            "daemon off; master_process off; pid {shown}/nginx.pid; error_log {shown}/error.log;\nevents {{ }}\nhttp {{\n{temporary}\
             underscores_in_headers on; ignore_invalid_headers off; client_max_body_size 0; client_body_buffer_size 1m;\n\
             keepalive_requests 100000; keepalive_timeout 600s; merge_slashes off;\n\
             log_format all escape=json '{{\"client\":\"$http_x_forwarded_for\",\"method\":\"$request_method\",\
             \"target\":\"$request_uri\",\"host\":\"$http_host\",\"body\":\"$request_body\",\"status\":\"$status\"}}';\n\
             server {{ listen {address}; access_log {} all; location / {{ proxy_pass http://{behind}; }} }}\n\
             server {{ listen {behind}; access_log off; location / {{ default_type text/plain;\n\
             return 200 \"$http_x_forwarded_for $request_method $request_uri\\n\"; }} }}\n}}\n",
            log.display()
        );
        let file = dir.join("nginx.conf");
        fs::write(&file, text).unwrap();
        let mut command = Command::new(NGINX);
        command.arg("-c").arg(&file).arg("-p").arg(dir).stdin(Stdio::null());
        let process = Process::spawn(&mut command).unwrap();
        listens(&address).unwrap();
        Nginx { address, process, log }
    }

    /// All that it read, once it has ended.
    pub fn end(mut self) -> Vec<Seen> {
        self.process.signal(Signal::QUIT).unwrap();
        assert!(self.process.wait().unwrap().success());
        let lines = fs::read(&self.log).unwrap();
        let lines = lines.split(|octet| *octet == b'\n').filter(|line| !line.is_empty());
        lines.map(|line| of_line(&String::from_utf8_lossy(line))).collect()
    }
}

fn of_line(line: &str) -> Seen {
    let logged: Value = serde_json::from_str(line).unwrap_or_else(|why| panic!("{why}: {line}"));
    let field = |name: &str| logged[name].as_str().unwrap_or_default().to_owned();
    let (method, target, host) = (field("method"), field("target"), field("host"));
    let what = match field("status").as_str() {
        "200" => What::Whole(request(&method, &target, &host, field("body").as_bytes(), "")),
        _ => What::Cut(request(&method, &target, &host, b"", "")),
    };
    Seen { client: field("client"), what, octets: line.into() }
}

/// What is read on many connections, and how many of these there are.
#[derive(Clone, Default)]
struct Log {
    seen: Arc<Mutex<Vec<Seen>>>,
    open: Arc<AtomicUsize>,
}

impl Log {
    fn end(self) -> Vec<Seen> {
        until("connections end", || Ok((self.open.load(SeqCst) == 0).then_some(()))).unwrap();
        std::mem::take(&mut *self.seen.lock())
    }
}

pub struct Hyper {
    pub address: SocketAddr,
    log: Log,
    _runtime: Runtime,
}

impl Hyper {
    pub fn start() -> Hyper {
        let runtime = Runtime::new().unwrap();
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let (address, log) = (listener.local_addr().unwrap(), Log::default());
        let shared = log.clone();
        runtime.spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                shared.open.fetch_add(1, SeqCst);
                let log = shared.clone();
                tokio::spawn(async move {
                    let service = service_fn(|request| read(request, &log));
                    // One that is no HTTP to it, or is cut, it ends by itself.
                    let _ =
                        http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
                    log.open.fetch_sub(1, SeqCst);
                });
            }
        });
        Hyper { address, log, _runtime: runtime }
    }

    /// All that it read, once nobody is connected any more.
    pub fn end(self) -> Vec<Seen> {
        self.log.end()
    }
}

fn text(headers: &HeaderMap, name: &str) -> String {
    let value = headers.get(name).map(|value| value.as_bytes());
    String::from_utf8_lossy(value.unwrap_or_default()).into_owned()
}

async fn read(asked: Request<Incoming>, log: &Log) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = asked.into_parts();
    let client = text(&head.headers, "x-forwarded-for");
    let (method, target) = (head.method.as_str(), head.uri.to_string());
    let host = text(&head.headers, "host");
    let told = answer(&client, method, &target);
    let octets = format!("{head:?}").into_bytes();
    let what = match body.collect().await {
        Ok(body) => {
            let trailers = body.trailers().map(|trailers| {
                let line = |name: &hyper::header::HeaderName| {
                    format!("{name}: {}", text(trailers, name.as_str()))
                };
                trailers.keys().map(line).collect::<Vec<_>>().join(", ")
            });
            let trailers = trailers.unwrap_or_default();
            What::Whole(request(method, &target, &host, &body.to_bytes(), &trailers))
        }
        Err(_) => What::Cut(request(method, &target, &host, b"", "")),
    };
    log.seen.lock().push(Seen { client, what, octets });
    Ok(Response::new(Full::new(told.into())))
}

/// Reads as strictly as can be: whatever some reader could take otherwise is malformed.
pub struct Recorder {
    pub address: SocketAddr,
    log: Log,
}

impl Recorder {
    pub fn start() -> Recorder {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, log) = (listener.local_addr().unwrap(), Log::default());
        let shared = log.clone();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (stream, log) = (stream.unwrap(), shared.clone());
                log.open.fetch_add(1, SeqCst);
                thread::spawn(move || {
                    let mut connection = Connection { stream, octets: vec![], at: 0, log };
                    while connection.request() {}
                    connection.log.open.fetch_sub(1, SeqCst);
                });
            }
        });
        Recorder { address, log }
    }

    /// All that it read, once nobody is connected any more.
    pub fn end(self) -> Vec<Seen> {
        self.log.end()
    }
}

struct Connection {
    stream: TcpStream,
    /// All that came.
    octets: Vec<u8>,
    /// Up to here it is read.
    at: usize,
    log: Log,
}

enum Fault {
    Cut,
    Malformed(String),
}

/// A line of a head, or of trailers.
type Field = (String, String);

impl Connection {
    /// Reads one and answers it; whether another can follow.
    fn request(&mut self) -> bool {
        let (mut client, mut start) = (String::new(), String::new());
        let what = match self.read(&mut client, &mut start) {
            Ok(whole) => What::Whole(whole),
            Err(Fault::Cut) if start.is_empty() && self.at == self.octets.len() => return false,
            Err(Fault::Cut) => What::Cut(start.clone()),
            Err(Fault::Malformed(why)) => What::Malformed(why),
        };
        let is_whole = matches!(what, What::Whole(_));
        let octets = self.octets.clone();
        self.log.seen.lock().push(Seen { client: client.clone(), what, octets });
        let mut words = start.split(' ');
        let body = answer(&client, words.next().unwrap(), words.next().unwrap_or_default());
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
        is_whole && self.stream.write_all((head + &body).as_bytes()).is_ok()
    }

    fn read(&mut self, client: &mut String, start: &mut String) -> Result<String, Fault> {
        let line = self.line()?;
        let words: Vec<&str> = line.split(' ').collect();
        let [method, target, version @ ("HTTP/1.1" | "HTTP/1.0")] = words[..] else {
            return Err(Fault::Malformed(format!("request line {line:?}")));
        };
        let fields = self.fields()?;
        let only = |name: &str| -> Result<Option<&str>, Fault> {
            let is_it = |key: &&Field| key.0.eq_ignore_ascii_case(name);
            let mut values = fields.iter().filter(is_it);
            match (values.next(), values.next()) {
                (_, Some(_)) => Err(Fault::Malformed(format!("two of {name}"))),
                (value, None) => Ok(value.map(|(_, value)| value.as_str())),
            }
        };
        only("x-forwarded-for")?.unwrap_or_default().clone_into(client);
        let host = only("host")?;
        if host.is_none() && version == "HTTP/1.1" {
            return Err(Fault::Malformed("no Host".into()));
        }
        *start = format!("{method} {target} {}", host.unwrap_or_default());
        if let Some(like) = fields.iter().find(|(name, _)| {
            name.contains('_')
                && ["content-length", "transfer-encoding"]
                    .contains(&name.to_ascii_lowercase().replace('_', "-").as_str())
        }) {
            return Err(Fault::Malformed(format!("{} is like another", like.0)));
        }
        if only("expect")?.is_some() {
            let _ = self.stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n");
        }
        let (mut body, mut trailers) = (vec![], vec![]);
        match (only("content-length")?, only("transfer-encoding")?) {
            (None, None) => {}
            (Some(length), None) => {
                let sound = length.bytes().all(|digit| digit.is_ascii_digit());
                let number = length
                    .parse()
                    .ok()
                    .filter(|number: &usize| sound && number.to_string() == length);
                let number = number.ok_or(Fault::Malformed(format!("length {length:?}")))?;
                body = self.take(number)?;
            }
            (None, Some("chunked")) if version == "HTTP/1.1" => {
                while let Some(chunk) = self.chunk()? {
                    body.extend(chunk);
                }
                trailers = self.fields()?;
            }
            (length, coding) => {
                return Err(Fault::Malformed(format!("framed by {length:?} and {coding:?}")));
            }
        }
        let trailers: Vec<String> =
            trailers.iter().map(|(name, value)| format!("{name}: {value}")).collect();
        let [method, target, host] = [0, 1, 2].map(|at| start.split(' ').nth(at).unwrap());
        Ok(request(method, target, host, &body, &trailers.join(", ")))
    }

    fn chunk(&mut self) -> Result<Option<Vec<u8>>, Fault> {
        let line = self.line()?;
        let sound =
            (1..=16).contains(&line.len()) && line.bytes().all(|digit| digit.is_ascii_hexdigit());
        let size = usize::from_str_radix(&line, 16).ok().filter(|_| sound);
        let size = size.ok_or(Fault::Malformed(format!("chunk size {line:?}")))?;
        if size == 0 {
            return Ok(None);
        }
        let chunk = self.take(size)?;
        match &self.take(2)?[..] {
            b"\r\n" => Ok(Some(chunk)),
            other => {
                Err(Fault::Malformed(format!("chunk end {:?}", other.escape_ascii().to_string())))
            }
        }
    }

    fn fields(&mut self) -> Result<Vec<Field>, Fault> {
        let mut fields = vec![];
        loop {
            let line = self.line()?;
            if line.is_empty() {
                return Ok(fields);
            }
            let of_token =
                |octet: u8| octet.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&octet);
            let field = line
                .split_once(':')
                .filter(|(name, _)| !name.is_empty() && name.bytes().all(of_token));
            let (name, value) = field.ok_or(Fault::Malformed(format!("field {line:?}")))?;
            fields.push((name.to_owned(), value.trim_matches([' ', '\t']).to_owned()));
        }
    }

    /// A line that all take for one.
    fn line(&mut self) -> Result<String, Fault> {
        let end = loop {
            let rest = &self.octets[self.at..];
            if let Some(end) = rest.iter().position(|octet| *octet == b'\n') {
                break end;
            }
            self.more()?;
        };
        let line = &self.octets[self.at..self.at + end];
        self.at += end + 1;
        let is_odd = |octet: &u8| (*octet < 0x20 && *octet != b'\t') || *octet == 0x7f;
        match line.strip_suffix(b"\r") {
            Some(line) if !line.iter().any(is_odd) => {
                Ok(String::from_utf8_lossy(line).into_owned())
            }
            _ => Err(Fault::Malformed(format!("line {:?}", line.escape_ascii().to_string()))),
        }
    }

    fn take(&mut self, count: usize) -> Result<Vec<u8>, Fault> {
        while self.octets.len() - self.at < count {
            self.more()?;
        }
        self.at += count;
        Ok(self.octets[self.at - count..self.at].to_vec())
    }

    fn more(&mut self) -> Result<(), Fault> {
        let mut buffer = [0; 4096];
        match self.stream.read(&mut buffer) {
            Ok(0) | Err(_) => Err(Fault::Cut),
            Ok(count) => {
                self.octets.extend_from_slice(&buffer[..count]);
                Ok(())
            }
        }
    }
}
