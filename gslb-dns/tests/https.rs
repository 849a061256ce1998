//! DNS over HTTPS as clients meet it: real sockets, a listener on port 0, one small zone.

#![expect(clippy::unwrap_used, reason = "what a test cannot go on without may as well end it")]

mod credentials;
mod listening;
mod small_zone;

use std::ops::Deref;
use std::sync::Arc;

use data_encoding::BASE64URL_NOPAD;
use gslb_dns::answer::Transport;
use gslb_dns::listen::tcp::Carries;
use gslb_dns::tls::{ALPN_DOH, ALPN_HTTP2, server_config};
use gslb_dns::world::TcpLimits;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper::client::conn::{http1, http2};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::version::TLS13;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use credentials::{Credentials, NAME};
use listening::{DEADLINE, PATIENT, SHORT, connect_from, dribble, limits};
use small_zone::{answered, query};

const PATH: &str = "https://dns1.example.com/dns-query";
const DNS_MESSAGE: (&str, &str) = ("content-type", "application/dns-message");

/// A server, and what shows who it is.
struct Server {
    listening: listening::Server,
    credentials: Credentials,
}

impl Server {
    fn start(limits: TcpLimits) -> Server {
        let credentials = Credentials::make();
        let tls = server_config(credentials.shown(), &ALPN_DOH).unwrap();
        let carries = Carries::DnsInHttps { tls, path: "/dns-query".into() };
        let listening = listening::Server::start(carries, vec![], limits);
        Server { listening, credentials }
    }

    /// A connection on which only TLS has been spoken.
    async fn bare(&self, alpn: &[u8]) -> TlsStream<TcpStream> {
        let config = Arc::new(self.credentials.client(&TLS13, &[alpn]));
        let stream = connect_from(1, self.address()).await;
        let shaken = TlsConnector::from(config).connect(NAME.try_into().unwrap(), stream);
        timeout(DEADLINE, shaken).await.unwrap().unwrap()
    }

    async fn http1(&self) -> Client {
        let stream = TokioIo::new(self.bare(b"http/1.1").await);
        let (sender, connection) = http1::handshake(stream).await.unwrap();
        tokio::spawn(connection);
        Client::Http1(sender)
    }

    async fn http2(&self) -> Client {
        let stream = TokioIo::new(self.bare(ALPN_HTTP2).await);
        let (sender, connection) = http2::handshake(TokioExecutor::new(), stream).await.unwrap();
        tokio::spawn(connection);
        Client::Http2(sender)
    }
}

impl Deref for Server {
    type Target = listening::Server;

    fn deref(&self) -> &listening::Server {
        &self.listening
    }
}

enum Client {
    Http1(http1::SendRequest<Full<Bytes>>),
    Http2(http2::SendRequest<Full<Bytes>>),
}

impl Client {
    async fn send(
        &mut self,
        mut request: Request<Full<Bytes>>,
    ) -> hyper::Result<(Response<()>, Vec<u8>)> {
        let response = match self {
            Client::Http1(sender) => {
                request.headers_mut().insert("host", NAME.parse().unwrap());
                let path = request.uri().path_and_query().unwrap().as_str().parse().unwrap();
                *request.uri_mut() = path;
                timeout(DEADLINE, sender.send_request(request)).await.unwrap()?
            }
            Client::Http2(sender) => {
                timeout(DEADLINE, sender.send_request(request)).await.unwrap()?
            }
        };
        let (head, body) = response.into_parts();
        let body = timeout(DEADLINE, body.collect()).await.unwrap()?.to_bytes();
        Ok((Response::from_parts(head, ()), body.into()))
    }

    async fn is_served(&mut self) {
        let (response, body) = self.send(post("www", 1)).await.unwrap();
        assert_eq!((response.status(), body), (StatusCode::OK, expected(1, "www")));
    }
}

fn expected(id: u16, label: &str) -> Vec<u8> {
    answered(id, label, Transport::Https)
}

fn post(label: &str, id: u16) -> Request<Full<Bytes>> {
    let (name, value) = DNS_MESSAGE;
    let body = Full::new(Bytes::from(query(id, label)));
    Request::post(PATH).header(name, value).body(body).unwrap()
}

fn get(label: &str, id: u16) -> Request<Full<Bytes>> {
    let uri = format!("{PATH}?dns={}", BASE64URL_NOPAD.encode(&query(id, label)));
    Request::get(uri).body(Full::default()).unwrap()
}

#[tokio::test]
async fn get_and_post_are_answered_over_both_versions() {
    let server = Server::start(limits(PATIENT));
    for mut client in [server.http1().await, server.http2().await] {
        for label in ["www", "nothing", "big"] {
            for request in [get(label, 7), post(label, 7)] {
                let (response, body) = client.send(request).await.unwrap();
                assert_eq!((response.status(), &body), (StatusCode::OK, &expected(7, label)));
                let header = |name| response.headers()[name].to_str().unwrap();
                assert_eq!(header("content-type"), "application/dns-message");
                // The SOA's MINIMUM is 5, and stands with an absence.
                let seconds = if label == "nothing" { 5 } else { 60 };
                assert_eq!(header("cache-control"), format!("max-age={seconds}"));
                assert_eq!(header("content-length"), body.len().to_string());
            }
        }
    }
    assert_eq!(server.metrics.tcp.accepted.get(), 2);
    assert!(
        server
            .metrics
            .text()
            .contains("gslb_dns_answers_total{rcode=\"NOERROR\",transport=\"https\"} 8")
    );
}

#[tokio::test]
async fn what_is_no_question_has_its_status() {
    let server = Server::start(limits(PATIENT));
    let mut response = query(1, "www");
    response[2] |= 0x80;
    let with = |request: hyper::http::request::Builder, body: Vec<u8>| {
        request.body(Full::new(Bytes::from(body))).unwrap()
    };
    let typed = || Request::post(PATH).header(DNS_MESSAGE.0, DNS_MESSAGE.1);
    for mut client in [server.http1().await, server.http2().await] {
        for (request, status) in [
            (with(Request::get("https://dns1.example.com/"), vec![]), 404),
            (with(Request::put(PATH), query(1, "www")), 405),
            (with(Request::head(PATH), vec![]), 405),
            (with(Request::post(PATH), query(1, "www")), 415),
            (with(Request::get(PATH), vec![]), 400),
            (with(Request::get(format!("{PATH}?dns=A")), vec![]), 400),
            (with(typed(), response.clone()), 400),
            (with(typed(), vec![0; 11]), 400),
            (with(typed(), vec![]), 400),
            (with(typed(), vec![0; 12]), 200), // FORMERR, said in DNS.
            (with(typed(), vec![0; 4096]), 200),
        ] {
            let shown = format!("{request:?}");
            let (response, _) = client.send(request).await.unwrap();
            assert_eq!(response.status(), status, "{shown}");
            assert_eq!(response.headers().contains_key("allow"), status == 405, "{shown}");
            let control = response.headers()["cache-control"].to_str().unwrap();
            assert_eq!(control, if status == 200 { "max-age=0" } else { "no-store" }, "{shown}");
        }
        client.is_served().await;
        // What is too large is refused before it has come; the client may hear of it or be cut off.
        if let Ok((response, _)) = client.send(with(typed(), vec![0; 4097])).await {
            assert_eq!(response.status(), 413);
        }
    }
}

#[tokio::test]
async fn requests_as_no_library_sends_them() {
    let server = Server::start(limits(PATIENT));
    let head = "POST /dns-query HTTP/1.1\r\nhost: x\r\ncontent-type: application/dns-message\r\n";
    let long = format!("GET /dns-query?dns={} HTTP/1.1\r\nhost: x\r\n\r\n", "A".repeat(20_000));
    let chunk = format!("ffff\r\n{}\r\n2\r\nxx\r\n0\r\n\r\n", "x".repeat(0xffff));
    for (request, expected) in [
        (format!("{head}content-length: 65536\r\n\r\n"), "HTTP/1.1 413 "),
        (format!("{head}transfer-encoding: chunked\r\n\r\n{chunk}"), "HTTP/1.1 413 "),
        ("GET /dns-query?dns=AAAB HTTP/1.0\r\n\r\n".to_owned(), "HTTP/1.0 505 "),
        (long, "HTTP/1.1 4"),
        ("\0\0\0".to_owned(), "HTTP/1.1 400 "),
        (format!("{head}{}\r\n", "x: y\r\n".repeat(100)), "HTTP/1.1 431 "),
    ] {
        let mut stream = server.bare(b"http/1.1").await;
        // It may be refused before all of it is sent.
        let _ = stream.write_all(request.as_bytes()).await;
        let _ = stream.flush().await;
        let mut start = vec![0; expected.len()];
        let read = timeout(DEADLINE, stream.read_exact(&mut start)).await.unwrap();
        let shown = &request[..request.len().min(80)];
        read.unwrap_or_else(|error| panic!("{error}: {shown}"));
        assert_eq!(String::from_utf8_lossy(&start), expected, "{shown}");
    }
}

#[tokio::test]
async fn a_thousand_requests_at_once_are_answered() {
    let server = Server::start(limits(PATIENT));
    let Client::Http2(sender) = server.http2().await else { panic!("HTTP/2 was asked for") };
    let mut requests = JoinSet::new();
    for id in 0..1000 {
        let mut client = Client::Http2(sender.clone());
        requests.spawn(async move {
            let label = if id % 10 == 0 { "big" } else { "www" };
            let (_, body) = client.send(post(label, id)).await.unwrap();
            assert_eq!(body, expected(id, label));
        });
    }
    while let Some(done) = requests.join_next().await {
        done.unwrap();
    }
    assert_eq!(server.metrics.tcp.accepted.get(), 1);
}

#[tokio::test]
async fn a_connection_that_is_quiet_or_dribbles_is_closed() {
    let server = Server::start(limits(SHORT));
    let mut quiet = server.http2().await;
    quiet.is_served().await;
    server.until("closed", |server| server.evicted("idle") == 1).await;
    server.until_nobody_is_connected().await;
    assert!(quiet.send(post("www", 1)).await.is_err());
    let mut stream = server.bare(b"http/1.1").await;
    let head = format!("GET /dns-query HTTP/1.1\r\n{}", "x".repeat(500));
    dribble(&mut stream, head.as_bytes()).await.expect_err("closed on the way");
    assert_eq!(server.evicted("idle"), 2);
    // A body that never comes whole.
    let mut stream = server.bare(b"http/1.1").await;
    let head = "POST /dns-query HTTP/1.1\r\nhost: x\r\ncontent-type: application/dns-message\r\n\
                content-length: 29\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut said = String::new();
    timeout(DEADLINE, stream.read_to_string(&mut said)).await.unwrap().unwrap();
    assert!(said.starts_with("HTTP/1.1 408 "), "{said}");
    server.until_nobody_is_connected().await;
}

#[tokio::test]
async fn connections_count_against_the_limits() {
    let server = Server::start(TcpLimits { connections: 4, ..limits(PATIENT) });
    let mut client = server.http2().await;
    let mut flood = Vec::new();
    for _ in 0..20 {
        client.is_served().await;
        flood.push(server.bare(ALPN_HTTP2).await);
    }
    client.is_served().await;
    server.until("evicted", |server| server.evicted("full") == 20 + 1 - 4).await;
    server.http1().await.is_served().await;
}

/// Requests taken back as soon as they are made (CVE-2023-44487).
#[tokio::test]
async fn rapid_resets_end_the_connection() {
    let server = Server::start(limits(PATIENT));
    let frame = |kind: u8, flags: u8, stream: u32, payload: &[u8]| {
        let length = (payload.len() as u32).to_be_bytes();
        [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
    };
    // :method GET, :scheme https, :path /, :authority x.
    let fields = [0x82, 0x87, 0x84, 0x01, 1, b'x'];
    let mut octets = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    octets.extend(frame(4, 0, 0, &[]));
    for stream in (1..1000).step_by(2) {
        octets.extend(frame(1, 5, stream, &fields));
        octets.extend(frame(3, 0, stream, &8_u32.to_be_bytes()));
    }
    let mut stream = server.bare(ALPN_HTTP2).await;
    let _ = stream.write_all(&octets).await;
    let _ = stream.flush().await;
    let mut said = Vec::new();
    let _ = timeout(DEADLINE, stream.read_to_end(&mut said)).await.unwrap();
    let mut rest = &said[..];
    let mut reasons = Vec::new();
    while let Some((head, tail)) = rest.split_first_chunk::<9>() {
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        if head[3] == 7 {
            reasons.push(tail[7]);
        }
        rest = tail.get(length..).unwrap_or_default();
    }
    const ENHANCE_YOUR_CALM: u8 = 11;
    assert!(reasons.contains(&ENHANCE_YOUR_CALM), "{reasons:?}");
    server.until_nobody_is_connected().await;
    server.http2().await.is_served().await;
}

#[tokio::test]
async fn a_panic_costs_its_request_and_is_counted() {
    let server = Server::start(limits(PATIENT));
    for mut client in [server.http1().await, server.http2().await] {
        let (response, _) = client.send(post("broken", 1)).await.unwrap();
        assert_eq!(response.status(), 500);
        client.is_served().await;
    }
    assert!(server.metrics.text().contains("gslb_dns_panics_total{transport=\"https\"} 2"));
}

#[tokio::test]
async fn a_stop_ends_every_connection() {
    let server = Server::start(limits(PATIENT));
    let (mut one, mut two) = (server.http1().await, server.http2().await);
    one.is_served().await;
    two.is_served().await;
    let _silent = server.bare(ALPN_HTTP2).await;
    let address = server.address();
    server.stop();
    server.listening.ended().await;
    assert!(one.send(post("www", 1)).await.is_err());
    assert!(two.send(post("www", 1)).await.is_err());
    TcpStream::connect(address).await.expect_err("nobody listens");
}
