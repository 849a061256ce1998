//! Clients of HTTP/2: one that a library makes well-behaved, and one that says frames.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use h2::{RecvStream, SendStream};
use http::{HeaderMap, Request, Response};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use self::made::{Ca, Folder, LEAF, Leaf};
use super::{LONG, World, config};

#[path = "../../src/tls/tests/made.rs"]
#[expect(dead_code, reason = "the test of TLS alone needs more of it")]
pub mod made;

const NAME: &str = "www.example.com";

/// A frontend that ends TLS, and who is believed there.
pub struct Secure {
    pub world: World,
    ca: CertificateDer<'static>,
    /// Read once, at the start.
    _folder: Folder,
}

impl Secure {
    pub async fn start(frontend: &str, pool: &str, servers: &[(&str, SocketAddr)]) -> Secure {
        Secure::of(&config(&format!("TLS\n{frontend}"), pool, servers)).await
    }

    /// `TLS` in the config is what ends it, as `FRONT` is where.
    pub async fn of(config: &str) -> Secure {
        let (folder, ca) = (Folder::new(), Ca::new("ca"));
        let file = folder.certify(&ca, "front", Leaf { names: &[NAME], ..LEAF });
        let tls = format!("tls = {{ certificates = [{file:?}] }}");
        let world = World::start(&config.replace("TLS", &tls)).await;
        let ca = CertificateDer::from_pem_slice(ca.pem.as_bytes()).unwrap();
        Secure { world, ca, _folder: folder }
    }

    /// One whose certificates a test has made itself.
    pub fn over(world: World, ca: &Ca, folder: Folder) -> Secure {
        let ca = CertificateDer::from_pem_slice(ca.pem.as_bytes()).unwrap();
        Secure { world, ca, _folder: folder }
    }

    /// A connection on which TLS has agreed on one of these.
    pub async fn shake_hands(&self, protocols: &[&[u8]]) -> TlsStream<TcpStream> {
        let stream = TcpStream::connect(self.world.front).await.unwrap();
        self.shake_hands_on(stream, protocols).await
    }

    async fn shake_hands_on(&self, stream: TcpStream, protocols: &[&[u8]]) -> TlsStream<TcpStream> {
        let mut roots = RootCertStore::empty();
        roots.add(self.ca.clone()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        let name = ServerName::try_from(NAME).unwrap();
        TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap()
    }

    pub async fn client(&self) -> Http2 {
        let stream = self.shake_hands(&[b"h2"]).await;
        // A stream that is not read leaves room for the others.
        let mut builder = h2::client::Builder::new();
        builder.initial_connection_window_size(1 << 20);
        let (send, connection) = builder.handshake(stream).await.unwrap();
        Http2 { send, connection: tokio::spawn(connection) }
    }

    pub async fn frames(&self) -> Frames {
        Secure::frames_on(self.shake_hands(&[b"h2"]).await).await
    }

    /// With little room in the kernel for what is not read.
    pub async fn frames_in_a_small_buffer(&self) -> Frames {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        let stream = socket.connect(self.world.front).await.unwrap();
        Secure::frames_on(self.shake_hands_on(stream, &[b"h2"]).await).await
    }

    async fn frames_on(mut stream: TlsStream<TcpStream>) -> Frames {
        stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
        let mut frames = Frames { stream, next: 1 };
        frames.until(&[SETTINGS]).await.unwrap();
        frames.say(&frame(SETTINGS, 1, 0, &[])).await;
        frames
    }
}

pub struct Http2 {
    pub send: SendRequest<Bytes>,
    /// Ends with the connection.
    pub connection: JoinHandle<Result<(), h2::Error>>,
}

/// A response, read whole.
#[derive(Debug)]
pub struct Whole {
    pub head: http::response::Parts,
    pub body: Vec<u8>,
    pub trailers: Option<HeaderMap>,
}

impl Whole {
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub fn status(&self) -> u16 {
        self.head.status.as_u16()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        Some(self.head.headers.get(name)?.to_str().unwrap())
    }
}

pub fn request(method: &str, path: &str) -> Request<()> {
    let uri = format!("https://{NAME}{path}");
    Request::builder().method(method).uri(uri).body(()).unwrap()
}

impl Http2 {
    /// Asks, with no body.
    pub fn ask(&mut self, request: Request<()>) -> ResponseFuture {
        self.send.send_request(request, true).unwrap().0
    }

    /// Asks, with a body to come.
    pub fn begin(&mut self, request: Request<()>) -> (ResponseFuture, SendStream<Bytes>) {
        self.send.send_request(request, false).unwrap()
    }

    pub async fn get(&mut self, path: &str) -> Whole {
        let response = self.ask(request("GET", path));
        whole(response).await.unwrap()
    }

    /// Until the other side has closed it.
    pub async fn end(self) {
        let Http2 { send, connection } = self;
        // Whether it hears of that in good order is a matter of who is first.
        let _ = timeout(LONG, connection).await.expect("it ends").unwrap();
        drop(send);
    }
}

pub async fn head(response: ResponseFuture) -> Result<Response<RecvStream>, h2::Error> {
    timeout(LONG, response).await.expect("it is answered")
}

pub async fn whole(response: ResponseFuture) -> Result<Whole, h2::Error> {
    let (head, stream) = head(response).await?.into_parts();
    let (body, trailers) = rest(stream).await?;
    Ok(Whole { head, body, trailers })
}

pub async fn rest(mut stream: RecvStream) -> Result<(Vec<u8>, Option<HeaderMap>), h2::Error> {
    let mut body = vec![];
    while let Some(octets) = timeout(LONG, stream.data()).await.expect("more comes") {
        let octets = octets?;
        stream.flow_control().release_capacity(octets.len()).unwrap();
        body.extend_from_slice(&octets);
    }
    Ok((body, timeout(LONG, stream.trailers()).await.expect("the end comes")?))
}

/// Sends as the windows let, and says how much that was at each step.
pub async fn upload(stream: &mut SendStream<Bytes>, body: &[u8], mut sent: impl FnMut(usize)) {
    let mut rest = body;
    while !rest.is_empty() {
        stream.reserve_capacity(rest.len());
        let room = std::future::poll_fn(|context| stream.poll_capacity(context)).await;
        let count = room.expect("it is open").unwrap().min(rest.len());
        stream.send_data(Bytes::copy_from_slice(&rest[..count]), false).unwrap();
        rest = &rest[count..];
        sent(body.len() - rest.len());
    }
}

/// Whoever says what no library would.
pub struct Frames {
    pub stream: TlsStream<TcpStream>,
    next: u32,
}

/// A frame as it came.
#[derive(Debug)]
pub struct Frame {
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    pub payload: Vec<u8>,
}

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const GOAWAY: u8 = 7;

pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

impl Frames {
    /// `GET /` as HPACK has it without tables, END_STREAM and END_HEADERS with it; which stream that is.
    pub fn get(&mut self) -> (u32, Vec<u8>) {
        let stream = self.next;
        self.next += 2;
        (stream, frame(HEADERS, 5, stream, b"\x82\x84\x87\x01\x0fwww.example.com"))
    }

    /// `POST /`, of which the body is still to come.
    pub fn post(&mut self) -> (u32, Vec<u8>) {
        let stream = self.next;
        self.next += 2;
        (stream, frame(HEADERS, 4, stream, b"\x83\x84\x87\x01\x0fwww.example.com"))
    }

    /// `GET /`, and at once that nobody wants to know.
    pub fn get_and_reset(&mut self) -> Vec<u8> {
        let (stream, get) = self.get();
        [get, reset(stream)].concat()
    }

    pub async fn say(&mut self, octets: &[u8]) {
        self.stream.write_all(octets).await.unwrap();
        self.stream.flush().await.unwrap();
    }

    /// The next of these kinds; nothing at the end.
    pub async fn until(&mut self, kinds: &[u8]) -> Option<Frame> {
        next_of(&mut self.stream, kinds).await
    }

    /// The code of GOAWAY.
    pub async fn goaway(&mut self) -> u32 {
        let frame = self.until(&[GOAWAY]).await.expect("it is told to go");
        frame.code(4)
    }
}

/// The next frame of these kinds; nothing at the end.
pub async fn next_of(stream: &mut (impl AsyncRead + Unpin), kinds: &[u8]) -> Option<Frame> {
    loop {
        let mut head = [0; 9];
        let read = timeout(LONG, stream.read_exact(&mut head));
        read.await.expect("something comes").ok()?;
        let [a, b, c, kind, flags, number @ ..] = head;
        let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
        stream.read_exact(&mut payload).await.ok()?;
        if kinds.contains(&kind) {
            return Some(Frame { kind, flags, stream: u32::from_be_bytes(number), payload });
        }
    }
}

impl Frame {
    /// The error code that stands behind so many octets.
    pub fn code(&self, at: usize) -> u32 {
        u32::from_be_bytes(self.payload[at..at + 4].try_into().unwrap())
    }
}

pub fn reset(stream: u32) -> Vec<u8> {
    frame(RST_STREAM, 0, stream, &8u32.to_be_bytes())
}
