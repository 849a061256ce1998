//! From a daemon that asks, by a name server that parks it, to the CA and back.

use std::convert::Infallible;
use std::fs;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use clap::Parser;
use common::mtls::{Credentials, Files, Kept, principal_of};
use common::principal::{Kind, Principal};
use common::renewal::{Asked, Renewing};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use jiff::{SignedDuration, Timestamp};
use rcgen::KeyPair;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::runtime::Builder;
use tokio_rustls::TlsAcceptor;

use crate::parked::desk::{self, Reply};
use crate::pki::Pki;
use crate::pki::visit::{Server, Signed, visit};
use common::lock::Mutex;

use crate::parked::{Answer, Parked};
use crate::pki::PkiError;
use crate::pki::directory::{DAYS, Directory, Wanted};
use crate::pki::renewal::MOST_SUCCESSORS;

const DAY: SignedDuration = SignedDuration::from_hours(24);

fn start() -> Timestamp {
    "2026-11-21T22:00:00Z".parse().unwrap()
}

/// As on a command line.
#[derive(Parser)]
struct Told {
    #[command(flatten)]
    pki: Pki,
}

/// A CA, and the files of a daemon elsewhere.
struct Story {
    dir: TempDir,
    files: Files,
}

impl Story {
    fn begin(kind: Kind, name: &str, dns_names: &[&str]) -> Story {
        let dir = tempfile::tempdir().unwrap();
        let (pki, daemon) = (dir.path().join("pki"), dir.path().join("daemon"));
        fs::create_dir(&daemon).unwrap();
        let mut directory = Directory::init(&pki, "test", start()).unwrap();
        let dns_names = dns_names.iter().map(|name| (*name).to_owned()).collect();
        let wanted = Wanted { kind, name: name.to_owned(), dns_names, days: DAYS };
        let (_, certificate, key) = directory.issue(&wanted, &daemon, start()).unwrap();
        let [ca, crl] = ["ca.pem", "crl.pem"].map(|file| pki.join(file));
        let files = Files { ca, certificate, key, crl: Some(crl) };
        Story { dir, files }
    }

    fn directory(&self, now: Timestamp) -> Directory {
        Directory::open(&self.dir.path().join("pki"), now).unwrap()
    }

    fn request(&self) -> Vec<u8> {
        let credentials = Credentials::read(&self.files).unwrap();
        Renewing::of(&self.files).request(&credentials).unwrap()
    }

    fn renew(&self, request: &[u8], now: Timestamp) -> Result<String, String> {
        let renewed = self.directory(now).renew(request, now);
        renewed.map(|(_, pem)| pem).map_err(|error: PkiError| error.to_string())
    }
}

#[test]
fn a_daemon_is_renewed_by_way_of_a_name_server() {
    for (kind, name, dns_names) in
        [(Kind::Probe, "ams", &[][..]), (Kind::Dns, "dns1", &["ns1.example.net"][..])]
    {
        let story = Story::begin(kind, name, dns_names);
        let now = start() + DAY * 20;
        let kept = Kept::read(story.files.clone()).unwrap();
        let us = kept.current().principal().clone();
        let renewing = Renewing::of(&story.files);
        let mut parked = Parked::default();
        let ask = |parked: &mut Parked| {
            let request = renewing.request(&kept.current()).unwrap();
            parked.ask(Duration::ZERO, &us, &request).unwrap()
        };
        assert_eq!(ask(&mut parked), None);

        let waiting: Vec<_> = parked
            .waiting()
            .into_iter()
            .map(|(who, request)| (who.clone(), request.to_vec()))
            .collect();
        assert_eq!(waiting.len(), 1);
        let (who, request) = &waiting[0];
        let (issued, pem) = story.directory(now).renew(request, now).unwrap();
        assert_eq!(issued.until, now + DAY * 30);
        let names: Vec<&str> = issued.dns_names.iter().map(|name| &**name).collect();
        let expected = if kind == Kind::Dns { vec!["dns1", "ns1.example.net"] } else { vec![] };
        assert_eq!(names, expected);
        parked.answer(Duration::ZERO, who, Answer::Certificate(pem.into())).unwrap();

        let Some(Answer::Certificate(pem)) = ask(&mut parked) else { panic!("no answer") };
        renewing.take(&kept.current(), pem.as_bytes()).unwrap();
        assert_eq!(kept.reread(), Some(Ok(())));
        assert_eq!(kept.current().not_after(), (now + DAY * 30).as_second());
        assert_eq!(*kept.current().principal(), us);
    }
}

#[test]
fn the_ca_believes_its_own_index_and_no_name_server() {
    let story = Story::begin(Kind::Probe, "ams", &[]);
    let due = start() + DAY * 20;
    let request = story.request();
    let check = |request: &[u8], now: Timestamp, expected: &str| {
        let told = story.renew(request, now).map_or_else(|error| error, |_| "renewed".to_owned());
        assert!(told.contains(expected), "{told}\nexpected {expected}");
    };
    check(&request, start(), "holds until 2026-12-21T22:00:00Z: it is too early");
    check(&request, start() + DAY * 19, "it is too early");
    check(&request, start() + DAY * 31, "is not of this CA, or holds no more");
    // Another CA's daemon of the same name.
    let other = Story::begin(Kind::Probe, "ams", &[]);
    check(&other.request(), due, "is not of this CA, or holds no more");
    // A name server that puts its own key into a request has nobody to vouch for it.
    let mut forged: serde_json::Value = serde_json::from_slice(&request).unwrap();
    let own: serde_json::Value = serde_json::from_slice(&other.request()).unwrap();
    forged["request"] = own["request"].clone();
    check(forged.to_string().as_bytes(), due, "has not signed this request");

    for _ in 0..MOST_SUCCESSORS {
        check(&request, due, "renewed");
    }
    check(&request, due, "it was given 8 certificates since the one that it shows");
    let index = |name: &str| story.dir.path().join("pki").join(name);
    let whole = fs::read_to_string(index("index.json")).unwrap();
    let serial = story.directory(due).index().issued[0].serial.to_string();
    fs::write(index("index.json"), whole.replace(&serial, &"7".repeat(32))).unwrap();
    check(&request, due, "its certificate is not in the index");
    fs::write(index("index.json"), whole).unwrap();
    story.directory(due).revoke("ams", "stolen", due).unwrap();
    check(&request, due, "its certificate is revoked");
}

#[test]
fn the_ca_shows_itself_for_an_hour_and_nobody_else_is_it() {
    let story = Story::begin(Kind::Probe, "ams", &[]);
    let files = story.directory(start()).visitor(start()).unwrap();
    let visitor = Credentials::read(&files).unwrap();
    assert_eq!(visitor.principal().to_string(), "gslb://test/ca/pki");
    assert_eq!(visitor.not_after(), (start() + SignedDuration::from_hours(1)).as_second());
    // The next visit has another, and the index knows each.
    let again = story.directory(start()).visitor(start()).unwrap();
    assert_eq!(again, files);
    let issued = story.directory(start()).index().issued.len();
    assert_eq!(issued, 3);
    // What it shows is renewed by no request.
    let key = KeyPair::generate().unwrap();
    let again = Credentials::read(&files).unwrap();
    let request = common::renewal::write(again.principal(), &key, &again.identity().key()).unwrap();
    assert_eq!(Asked::read(&request).unwrap().principal.kind, Kind::Ca);
    let told = story.renew(&request, start() + SignedDuration::from_mins(50)).unwrap_err();
    assert!(told.contains("the CA renews itself by no request"), "{told}");
}

/// A name server, as far as it parks: over TLS and HTTP/2, with the answers of `desk`.
struct NameServer {
    address: SocketAddr,
    parked: Arc<Mutex<Parked>>,
}

impl NameServer {
    fn start(credentials: &Credentials) -> NameServer {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let parked = Arc::new(Mutex::new(Parked::default()));
        let us = Arc::new(credentials.principal().clone());
        let acceptor = TlsAcceptor::from(credentials.server());
        let shared = Arc::clone(&parked);
        let serve = async move {
            let listener = TcpListener::from_std(listener).unwrap();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let Ok(stream) = acceptor.accept(stream).await else { continue };
                let peer =
                    principal_of(&stream.get_ref().1.peer_certificates().unwrap()[0]).unwrap();
                let (us, shared) = (Arc::clone(&us), Arc::clone(&shared));
                let service = service_fn(move |request: Request<Incoming>| {
                    let (us, shared, peer) = (Arc::clone(&us), Arc::clone(&shared), peer.clone());
                    async move {
                        let (head, body) = request.into_parts();
                        let body = body.collect().await.unwrap().to_bytes();
                        let mut parked = shared.lock();
                        let reply = match (desk::may(&us, &peer, head.uri.path()), head.method) {
                            (false, _) => Response::builder().status(403).body(Full::default()),
                            (true, Method::GET) => whole(desk::waiting(&parked)),
                            (true, _) => whole(desk::answer(&mut parked, Duration::ZERO, &body)),
                        };
                        Ok::<_, Infallible>(reply.unwrap())
                    }
                });
                let carrier = http2::Builder::new(TokioExecutor::new());
                tokio::spawn(carrier.serve_connection(TokioIo::new(stream), service));
            }
        };
        // It ends with the tests.
        thread::spawn(|| {
            Builder::new_current_thread().enable_all().build().unwrap().block_on(serve)
        });
        NameServer { address, parked }
    }

    /// What the CA has said of whoever asks.
    fn ask(&self, peer: &Principal, request: &[u8]) -> Reply {
        desk::ask(&mut self.parked.lock(), Duration::ZERO, peer, request)
    }
}

fn whole(reply: Reply) -> hyper::http::Result<Response<Full<Bytes>>> {
    Response::builder().status(reply.status).body(Full::from(reply.body))
}

#[test]
fn one_goes_round_and_brings_everybody_what_they_wait_for() {
    // By the clock of now: who goes round asks it.
    let now = common::clock::now();
    let dir = tempfile::tempdir().unwrap();
    let pki = dir.path().join("pki");
    let long_ago = now - DAY * 21;
    let mut directory = Directory::init(&pki, "test", long_ago).unwrap();
    let mut issue = |kind, name: &str, days, at| {
        let wanted = Wanted { kind, name: name.to_owned(), dns_names: vec![], days };
        let (_, certificate, key) = directory.issue(&wanted, &pki, at).unwrap();
        let [ca, crl] = ["ca.pem", "crl.pem"].map(|file| pki.join(file));
        Files { ca, certificate, key, crl: Some(crl) }
    };
    let [dns1, dns2] = ["dns1", "dns2"].map(|name| issue(Kind::Dns, name, DAYS, now));
    let ams = issue(Kind::Probe, "ams", DAYS, long_ago);
    let early = issue(Kind::Agent, "fra", DAYS, now);
    drop(directory);
    let read = |files: &Files| Credentials::read(files).unwrap();
    let servers = [NameServer::start(&read(&dns1)), NameServer::start(&read(&dns2))];
    let request = |files: &Files| Renewing::of(files).request(&read(files)).unwrap();
    let of = |files: &Files| read(files).principal().clone();
    for server in &servers {
        assert_eq!(server.ask(&of(&ams), &request(&ams)).status, 202);
    }
    assert_eq!(servers[1].ask(&of(&early), &request(&early)).status, 202);

    let go_round = |names: [&str; 2]| {
        let words = names
            .iter()
            .zip(&servers)
            .map(|(name, server)| format!("--server={name}={}", server.address));
        let words: Vec<String> =
            ["pki".to_owned(), format!("--dir={}", pki.display()), "renew".to_owned()]
                .into_iter()
                .chain(words)
                .collect();
        Told::parse_from(words).pki.run(now).unwrap()
    };
    // Whoever is not who was meant gets nothing.
    let done = go_round(["dns2", "dns1"]);
    assert_eq!(done.text, "");
    assert!(done.failures[0].contains("not valid for name \"dns2\""), "{:?}", done.failures);
    let done = go_round(["dns1", "dns2"]);
    assert_eq!(done.failures, [""; 0]);
    let lines: Vec<&str> = done.text.lines().map(|line| line.split_once(": ").unwrap().1).collect();
    assert!(lines[0].starts_with("renewed gslb://test/probe/ams, until "), "{}", done.text);
    assert_eq!(lines[1], "brought gslb://test/probe/ams");
    assert!(
        lines[2].starts_with("refused gslb://test/agent/fra: its certificate holds until"),
        "{}",
        done.text
    );
    assert_eq!(lines.len(), 3);

    let refused = servers[1].ask(&of(&early), &request(&early));
    assert_eq!(refused.status, 409);
    let answers = [&servers[0], &servers[1]].map(|server| server.ask(&of(&ams), &request(&ams)));
    assert_eq!(answers[0], answers[1]);
    assert_eq!(answers[0].status, 200);
    let before = read(&ams);
    Renewing::of(&ams).take(&before, &answers[0].body).unwrap();
    assert!(read(&ams).not_after() > before.not_after());
    let done = go_round(["dns1", "dns2"]);
    assert_eq!(done.text.matches("nobody waits").count(), 2, "{}", done.text);
    // A probe that takes itself for the CA.
    let probe = read(&ams);
    let mut directory = Directory::open(&pki, now).unwrap();
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let server = format!("dns1={}", servers[0].address).parse().unwrap();
    let refused = runtime.block_on(visit(&mut directory, &probe, &server, &mut Signed::new()));
    assert!(refused.unwrap_err().to_string().contains("403"));
}

#[test]
fn a_name_server_is_a_name_and_an_address() {
    for good in ["dns1=192.0.2.1:8453", "dns1=[2001:db8::1]:8453"] {
        assert_eq!(good.parse::<Server>().unwrap().to_string(), good);
    }
    for bad in ["", "dns1", "192.0.2.1:8453", "dns1=192.0.2.1", "dns1=dns1.example.com:8453"] {
        assert!(
            bad.parse::<Server>().unwrap_err().contains("such as dns1=192.0.2.1:8453"),
            "{bad}"
        );
    }
}
