//! A name server as probes know it: mutual TLS, HTTP/2, and the rules by which reports are taken.
//!
//! Whatever a probe sends that no probe may send is a fault, and every test ends by asking for faults.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use common::assignment;
use common::mtls::{Credentials, Files, principal_of};
use common::report::{Body, Digest, Entry, EntryHash, Head, Mark, Report, State};
use common::target::{Target, TargetId};
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

const DEADLINE: Duration = Duration::from_secs(20);

/// What it does with reports.
#[derive(Clone, Debug, PartialEq)]
pub enum Mode {
    /// As it should.
    Takes,
    /// Never answers.
    Hangs,
    Refuses(u16),
}

/// What it knows and heard.
#[derive(Clone, Debug)]
pub struct Heard {
    pub mode: Mode,
    pub epoch: String,
    assignment: Vec<u8>,
    pub mark: Mark,
    pub head: Option<Head>,
    entries: BTreeMap<TargetId, (Entry, EntryHash)>,
    pub connections: usize,
    pub reports: usize,
    pub wholes: usize,
    pub fetched: usize,
    pub sent_whole: usize,
    pub behind: usize,
    faults: Vec<String>,
}

pub struct NameServer {
    pub name: String,
    pub address: SocketAddr,
    credentials: Arc<Credentials>,
    heard: Arc<watch::Sender<Heard>>,
    serving: Option<JoinHandle<()>>,
}

impl Heard {
    fn new() -> Heard {
        Heard {
            mode: Mode::Takes,
            epoch: "e0".to_owned(),
            assignment: assignment::write("e0", []),
            mark: Mark::default(),
            head: None,
            entries: BTreeMap::new(),
            connections: 0,
            reports: 0,
            wholes: 0,
            fetched: 0,
            sent_whole: 0,
            behind: 0,
            faults: vec![],
        }
    }

    pub fn state(&self, target: &Target) -> Option<State> {
        self.entries.get(&target.id()).map(|(entry, _)| entry.state)
    }

    pub fn entry(&self, target: TargetId) -> Option<&Entry> {
        self.entries.get(&target).map(|(entry, _)| entry)
    }

    pub fn known(&self) -> usize {
        self.entries.len()
    }

    pub fn blind(&self) -> Option<&str> {
        self.head.as_ref()?.own.blind.as_deref()
    }

    /// Takes a report as a name server does: status and answer.
    fn take(&mut self, octets: &[u8], peer: &str) -> (StatusCode, String) {
        self.reports += 1;
        let Report { head, body } = match Report::read(octets) {
            Ok(report) => report,
            Err(error) => {
                self.faults.push(error.to_string());
                return (StatusCode::UNPROCESSABLE_ENTITY, error.to_string());
            }
        };
        let says = format!("gslb://{}/{}/{}", head.cluster, head.kind, head.producer);
        if says != peer {
            self.faults.push(format!("{peer} reports as {says}"));
        }
        let Mark { inc, seq } = self.mark;
        let is_next = match head.base {
            None => head.mark > self.mark,
            Some(base) if base > self.mark || base.inc != head.mark.inc || head.mark.inc != inc => {
                self.sent_whole += 1;
                return (StatusCode::RESET_CONTENT, String::new());
            }
            Some(_) => head.mark > self.mark,
        };
        if !is_next {
            self.behind += 1;
            return (StatusCode::CONFLICT, format!(r#"{{"inc":{inc},"seq":{seq}}}"#));
        }
        if head.base.is_none() {
            self.wholes += 1;
            self.entries.clear();
        }
        let Body::Probe(said) = body else {
            self.faults.push("no probe".to_owned());
            return (StatusCode::UNPROCESSABLE_ENTITY, String::new());
        };
        for said in said {
            let hash = EntryHash::of(said.octets);
            match said.entry.state {
                State::Gone => drop(self.entries.remove(&said.entry.target)),
                _ => drop(self.entries.insert(said.entry.target, (said.entry, hash))),
            }
        }
        let mut digest = Digest::default();
        self.entries.values().for_each(|(_, hash)| digest.add(*hash));
        if digest != head.digest {
            self.faults
                .push(format!("{}: digest {digest}, and it says {}", head.mark, head.digest));
        }
        if head.valid < Duration::from_secs(4) {
            self.faults.push(format!("a lease of {:?}", head.valid));
        }
        let epoch = &self.epoch;
        let Mark { inc, seq } = head.mark;
        (self.mark, self.head) = (head.mark, Some(head));
        (StatusCode::OK, format!(r#"{{"inc":{inc},"seq":{seq},"epoch":"{epoch}"}}"#))
    }
}

impl NameServer {
    pub async fn start(files: &Files, name: &str) -> NameServer {
        let credentials = Arc::new(Credentials::read(files).unwrap());
        let heard = Arc::new(watch::Sender::new(Heard::new()));
        let address = "127.0.0.1:0".parse().unwrap();
        let mut server =
            NameServer { name: name.to_owned(), address, credentials, heard, serving: None };
        server.come().await;
        server
    }

    /// Listens, where it did before if it did.
    pub async fn come(&mut self) {
        let listener = TcpListener::bind(self.address).await.unwrap();
        self.address = listener.local_addr().unwrap();
        let (credentials, heard) = (Arc::clone(&self.credentials), Arc::clone(&self.heard));
        self.serving = Some(tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (credentials, heard) = (Arc::clone(&credentials), Arc::clone(&heard));
                connections.spawn(serve(stream, credentials, heard));
            }
        }));
    }

    /// Listens no more, and all connections end.
    pub async fn go(&mut self) {
        if let Some(serving) = self.serving.take() {
            serving.abort();
            let _ = serving.await;
        }
    }

    /// Has lost what it knew, as a server does that starts anew.
    pub fn forget(&self) {
        self.heard.send_modify(|heard| {
            heard.mark = Mark::default();
            heard.entries.clear();
        });
    }

    pub fn assign(&self, epoch: &str, targets: &[Target]) {
        self.assign_octets(epoch, assignment::write(epoch, targets));
    }

    pub fn assign_octets(&self, epoch: &str, octets: Vec<u8>) {
        self.heard.send_modify(|heard| {
            heard.epoch = epoch.to_owned();
            heard.assignment = octets;
        });
    }

    pub fn set(&self, change: impl FnOnce(&mut Heard)) {
        self.heard.send_modify(change);
    }

    pub fn heard(&self) -> Heard {
        self.heard.borrow().clone()
    }

    /// Waits until this is so of what it heard.
    pub async fn until(&self, what: &str, is_so: impl Fn(&Heard) -> bool) -> Heard {
        let mut heard = self.heard.subscribe();
        let found = tokio::time::timeout(DEADLINE, heard.wait_for(|heard| is_so(heard))).await;
        match found {
            Ok(found) => found.unwrap().clone(),
            Err(_) => panic!("{}: not {what}: {:#?}", self.name, self.heard()),
        }
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        if let Some(serving) = self.serving.take() {
            serving.abort();
        }
        let faults = self.heard.borrow().faults.clone();
        assert!(std::thread::panicking() || faults.is_empty(), "{faults:#?}");
    }
}

async fn serve(stream: TcpStream, credentials: Arc<Credentials>, heard: Arc<watch::Sender<Heard>>) {
    heard.send_modify(|heard| heard.connections += 1);
    let Ok(stream) = TlsAcceptor::from(credentials.server()).accept(stream).await else { return };
    let chain = stream.get_ref().1.peer_certificates().unwrap();
    let peer = principal_of(&chain[0]).unwrap().to_string();
    let answer = service_fn(move |request| {
        let (heard, peer) = (Arc::clone(&heard), peer.clone());
        async move { Ok::<_, Infallible>(route(&heard, &peer, request).await) }
    });
    let connection =
        http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), answer);
    let _ = connection.await;
}

async fn route(
    heard: &watch::Sender<Heard>,
    peer: &str,
    request: Request<Incoming>,
) -> Response<Full<Bytes>> {
    let (mode, epoch) = (heard.borrow().mode.clone(), heard.borrow().epoch.clone());
    let (status, body) = match (request.method().as_str(), request.uri().path()) {
        ("POST", "/v1/report") => {
            // Cut short where the probe gave up.
            let Ok(octets) = request.into_body().collect().await else {
                return Response::new(Full::default());
            };
            let octets = octets.to_bytes();
            match mode {
                Mode::Takes => {
                    let mut answer = (StatusCode::OK, String::new());
                    heard.send_modify(|heard| answer = heard.take(&octets, peer));
                    (answer.0, answer.1.into_bytes())
                }
                Mode::Hangs => {
                    heard.send_modify(|heard| heard.reports += 1);
                    std::future::pending().await
                }
                Mode::Refuses(status) => {
                    heard.send_modify(|heard| heard.reports += 1);
                    (StatusCode::from_u16(status).unwrap(), b"not now\n".to_vec())
                }
            }
        }
        ("GET", "/v1/assignment") => {
            heard.send_modify(|heard| heard.fetched += 1);
            let query = request.uri().query().unwrap_or_default();
            match query == format!("epoch={epoch}") {
                true => (StatusCode::NOT_MODIFIED, vec![]),
                false => (StatusCode::OK, heard.borrow().assignment.clone()),
            }
        }
        (method, path) => {
            heard.send_modify(|heard| heard.faults.push(format!("{method} {path}")));
            (StatusCode::NOT_FOUND, vec![])
        }
    };
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response
}
