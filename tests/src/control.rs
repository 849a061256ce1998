//! A control listener in process, what stands behind it, and producers that speak to it over real TLS.

#![expect(clippy::unwrap_used, reason = "what a test cannot go on without may as well end it")]

use std::collections::HashMap;
use std::net::{SocketAddr, TcpListener};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use common::clock::monotonic;
use common::mtls::Kept;
use common::principal::{Kind, Principal};
use common::report::agent::{self, Rate, Role, State, Vip, Vrrp};
use common::report::{Boot, Digest, EntryHash, Head, Mark, Own};
use common::target::TargetId;
use gslb_dns::control::{Assigned, Changes, Control, Insider, Limits, QUEUE, Told};
use gslb_dns::inbox::agents::Agents;
use gslb_dns::inbox::stream::Stream;
use gslb_dns::metrics::Metrics;
use gslb_dns::world::{Epoch, Peer};
use http_body_util::BodyExt as _;
use hyper::body::{Body, Bytes, Frame, SizeHint};
use hyper::client::conn::http2::{self, SendRequest};
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::value::RawValue;
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::pki::{Ca, Holder};
use crate::wait::{PATIENCE, until};

/// The vantage that this world has.
pub const VANTAGE: &str = "gslb://test/probe/ams";
/// Its site, and one of the pair that speaks for it.
pub const SITE: &str = "fra";
pub const AGENT: &str = "gslb://test/agent/fra-a";
pub const EPOCH: Epoch = Epoch([7; 32]);

/// A listener, its files and its metrics. Stops when it is dropped.
pub struct Listening {
    pub address: SocketAddr,
    pub holder: Holder,
    pub metrics: Metrics,
    pub assigned: watch::Sender<Arc<Assigned>>,
    stop: watch::Sender<bool>,
    pub serving: JoinHandle<()>,
}

/// A connection of a producer.
pub struct Client {
    sender: SendRequest<Sent>,
    connection: JoinHandle<hyper::Result<()>>,
}

/// What a request was answered.
#[derive(Debug)]
pub struct Answered {
    pub status: u16,
    pub headers: hyper::HeaderMap,
    pub body: String,
}

/// A body that is sent as it comes.
pub struct Sent {
    frames: mpsc::Receiver<Bytes>,
    length: Option<u64>,
}

impl Listening {
    /// With the real rules behind it.
    pub fn start(ca: &Ca, limits: Limits) -> Listening {
        let (told, heard) = mpsc::channel(QUEUE);
        tokio::spawn(weigh(heard));
        Listening::start_telling(ca, limits, told)
    }

    /// With somebody else behind it.
    pub fn start_telling(ca: &Ca, limits: Limits, told: mpsc::Sender<Told>) -> Listening {
        Listening::start_as(ca.issue("gslb://test/dns/dns1"), limits, told)
    }

    /// As whoever has these files.
    pub fn start_as(holder: Holder, limits: Limits, told: mpsc::Sender<Told>) -> Listening {
        Listening::start_beside(holder, limits, told, vec![])
    }

    /// The same, and asks peers.
    pub fn start_beside(
        holder: Holder,
        limits: Limits,
        told: mpsc::Sender<Told>,
        peers: Vec<Peer>,
    ) -> Listening {
        let kept = Arc::new(Kept::read(holder.files()).unwrap());
        let vantages = [VANTAGE, "gslb://test/probe/fra"];
        let vantages = vantages.map(|uri| uri.rsplit('/').next().unwrap().into());
        let octets = common::assignment::write(&EPOCH.to_string(), []).into();
        let octets_of_agents = format!(r#"{{"epoch":"{EPOCH}","site":"{SITE}","vips":[]}}"#);
        let insider = Insider { site: SITE.into(), octets: octets_of_agents.into() };
        let agents = [("fra-a".into(), insider.clone()), ("fra-b".into(), insider)].into();
        let assigned = Assigned { epoch: EPOCH, vantages: vantages.into(), octets, agents };
        let (assigned, world) = watch::channel(Arc::new(assigned));
        let metrics = Metrics::new(vec![]);
        let control = Control {
            kept,
            assigned: world,
            told,
            peers,
            shown: watch::channel(Arc::default()).1,
            heard: mpsc::channel(1).0,
            limits,
            metrics: metrics.control.clone(),
            certificates: metrics.certificates.clone(),
        };
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        socket.set_nonblocking(true).unwrap();
        let address = socket.local_addr().unwrap();
        let (stop, stopping) = watch::channel(false);
        let serving = tokio::spawn(control.serve(socket, stopping));
        Listening { address, holder, metrics, assigned, stop, serving }
    }

    pub fn stop(&self) {
        self.stop.send_replace(true);
    }

    /// TLS has been spoken, and nothing else.
    pub async fn bare(
        &self,
        config: Arc<rustls::ClientConfig>,
    ) -> std::io::Result<TlsStream<TcpStream>> {
        let stream = TcpStream::connect(self.address).await?;
        stream.set_nodelay(true)?;
        let name = "dns1".try_into().unwrap();
        timeout(PATIENCE, TlsConnector::from(config).connect(name, stream)).await.unwrap()
    }

    /// A client that is believed.
    pub async fn connect(&self, holder: &Holder) -> Client {
        Client::over(self.bare(holder.credentials().client()).await.unwrap()).await
    }

    pub fn handshakes(&self, result: &str) -> u64 {
        self.metrics.control.handshakes.with_label_values(&[result]).get()
    }

    pub fn closed(&self, reason: &str) -> u64 {
        self.metrics.control.closed.with_label_values(&[reason]).get()
    }

    pub fn reports(&self, outcome: &str) -> u64 {
        self.metrics.control.reports.with_label_values(&[outcome]).get()
    }

    /// Waits until what the metrics say is so. For tests on a runtime of several threads.
    pub async fn until(&self, what: &str, is_so: impl Fn(&Listening) -> bool) {
        tokio::task::block_in_place(|| {
            until(what, || Ok(is_so(self).then_some(()))).unwrap();
        });
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.stop();
    }
}

/// As a name server does that keeps what it is told.
async fn weigh(mut heard: mpsc::Receiver<Told>) {
    let mut streams: HashMap<Principal, Stream<TargetId, common::report::Entry>> = HashMap::new();
    let mut agents = Agents::default();
    while let Some(Told { producer, head, changes, answer }) = heard.recv().await {
        let reception = match changes {
            Changes::Probe(changes) => {
                let stream =
                    streams.entry(producer).or_insert_with(|| Stream::new(Mark::default()));
                stream.on_report(monotonic(), &head, changes)
            }
            Changes::Agent(site, vips) => {
                agents.on_report(monotonic(), &producer.name, &site, &head, vips)
            }
        };
        let _ = answer.send(reception);
    }
}

impl Client {
    /// One that is believed, to a name server of that name.
    pub async fn to(address: SocketAddr, name: &str, holder: &Holder) -> Client {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let name = name.to_owned().try_into().unwrap();
        let connector = TlsConnector::from(holder.credentials().client());
        let stream = timeout(PATIENCE, connector.connect(name, stream)).await.unwrap();
        Client::over(stream.unwrap()).await
    }

    pub async fn over(stream: TlsStream<TcpStream>) -> Client {
        let handshake = http2::Builder::new(TokioExecutor::new()).handshake(TokioIo::new(stream));
        let (sender, connection) = timeout(PATIENCE, handshake).await.unwrap().unwrap();
        Client { sender, connection: tokio::spawn(connection) }
    }

    /// `POST /v1/report` and the like, with the octets of the body.
    pub async fn ask(&self, line: &str, body: impl Into<Bytes>) -> Answered {
        self.send(line, Sent::whole(body.into())).await.unwrap()
    }

    pub fn send(
        &self,
        line: &str,
        body: Sent,
    ) -> impl Future<Output = hyper::Result<Answered>> + Send + use<> {
        let (method, path) = line.split_once(' ').unwrap();
        let request = Request::builder().method(method).uri(format!("https://dns1{path}"));
        self.request(request.body(body).unwrap())
    }

    pub fn request(
        &self,
        request: Request<Sent>,
    ) -> impl Future<Output = hyper::Result<Answered>> + Send + use<> {
        let mut sender = self.sender.clone();
        async move {
            let response = timeout(PATIENCE, sender.send_request(request)).await.unwrap()?;
            let (head, body): (_, hyper::body::Incoming) = Response::into_parts(response);
            let body = timeout(PATIENCE, body.collect()).await.unwrap()?.to_bytes();
            let body = String::from_utf8(body.into()).unwrap();
            Ok(Answered { status: head.status.as_u16(), headers: head.headers, body })
        }
    }

    /// Waits until the other side has ended the connection.
    pub async fn ended(self) {
        // However it did.
        let _ = timeout(PATIENCE, self.connection).await.expect("it is closed");
    }
}

impl Answered {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

impl Sent {
    pub fn whole(octets: Bytes) -> Sent {
        let (sender, frames) = mpsc::channel(1);
        let length = Some(octets.len() as u64);
        sender.try_send(octets).unwrap();
        Sent { frames, length }
    }

    /// One whose length nobody knows; it ends when the sender is dropped.
    pub fn piecemeal() -> (mpsc::Sender<Bytes>, Sent) {
        let (sender, frames) = mpsc::channel(1);
        (sender, Sent { frames, length: None })
    }

    /// One that says how long it is, and of which nothing has come yet.
    pub fn promised(length: usize) -> (mpsc::Sender<Bytes>, Sent) {
        let (sender, frames) = mpsc::channel(1);
        (sender, Sent { frames, length: Some(length as u64) })
    }
}

impl Body for Sent {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        waker: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        self.frames.poll_recv(waker).map(|octets| octets.map(|octets| Ok(Frame::data(octets))))
    }

    fn size_hint(&self) -> SizeHint {
        self.length.map(SizeHint::with_exact).unwrap_or_default()
    }
}

/// What a probe reports; its digest is right unless it is changed.
#[derive(Clone)]
pub struct Report {
    pub head: Head,
    pub entries: Vec<String>,
}

impl Report {
    /// A whole one of `VANTAGE`, about nothing.
    pub fn new(inc: u64, seq: u64) -> Report {
        Report {
            head: Head {
                cluster: "test".into(),
                producer: "ams".into(),
                kind: Kind::Probe,
                boot: Boot([1; 16]),
                mark: Mark { inc, seq },
                base: None,
                now: Duration::from_secs(10),
                digest: Digest::default(),
                valid: Duration::from_secs(10),
                own: Own::default(),
            },
            entries: vec![],
        }
    }

    /// About so many targets that are up.
    pub fn of(mut self, targets: std::ops::Range<usize>) -> Report {
        for number in targets {
            let entry = format!(r#"{{"target":"{number:032x}","state":"up"}}"#);
            self.head.digest.add(EntryHash::of(&entry));
            self.entries.push(entry);
        }
        self
    }

    pub fn octets(&self) -> Vec<u8> {
        let body = RawValue::from_string(format!("[{}]", self.entries.join(","))).unwrap();
        self.head.write(&body)
    }
}

/// What an agent reports of its site; its digest is right unless it is changed.
#[derive(Clone)]
pub struct SiteReport {
    pub head: Head,
    pub site: String,
    pub vips: Vec<Vip>,
}

impl SiteReport {
    /// One of `AGENT`, about nothing.
    pub fn new(inc: u64, seq: u64) -> SiteReport {
        let head = Report::new(inc, seq).head;
        let head = Head { producer: "fra-a".into(), kind: Kind::Agent, ..head };
        SiteReport { head, site: SITE.into(), vips: vec![] }
    }

    /// Of another agent.
    pub fn by(mut self, agent: &str) -> SiteReport {
        self.head.producer = agent.into();
        self.head.boot = Boot([agent.as_bytes()[agent.len() - 1]; 16]);
        self
    }

    /// Of another site.
    pub fn of(self, site: &str) -> SiteReport {
        SiteReport { site: site.into(), ..self }
    }

    /// About a VIP with four backends, three of them up, that has been in this role since the first second of its
    /// agent's clock.
    pub fn with(mut self, at: &str, state: State, role: Option<Role>) -> SiteReport {
        let at: SocketAddr = at.parse().unwrap();
        let vrrp = role.map(|role| Vrrp { vrid: 51, role, since: 1000 });
        self.vips.push(Vip {
            addr: at.ip(),
            port: at.port(),
            state,
            since: 1000,
            flaps: 0,
            capacity: Rate::new(400.0),
            load: Rate::new(100.5),
            offer: Rate::new(300.0),
            backends_up: 3,
            backends: 4,
            vrrp,
        });
        self
    }

    pub fn octets(&self) -> Vec<u8> {
        let (body, digest) = agent::write(&self.site, &self.vips, &[]);
        Head { digest, ..self.head.clone() }.write(&body)
    }
}
