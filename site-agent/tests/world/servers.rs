//! Servers of HTTP/2: one that a library makes well-behaved, and one that says frames.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use bytes::Bytes;
use common::lock::Mutex;
use h2::server::{Builder, SendResponse};
use h2::{Reason, RecvStream};
use http::{Request, Response};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;

use super::http2::made::Folder;
use super::http2::{DATA, Frame, HEADERS, SETTINGS, frame, next_of};
use super::{LONG, World, config};

type Answering = Pin<Box<dyn Future<Output = ()> + Send>>;
type Say = Arc<dyn Fn(Stream) -> Answering + Send + Sync>;

/// Of a pool: what is spoken to it.
pub const H2: &str = "http = \"2\"";

/// A balancer in the clear, of such a pool.
pub async fn plain(pool: &str, servers: &[(&str, SocketAddr)]) -> World {
    World::start(&config("", &format!("{H2}\n{pool}"), servers)).await
}

/// A request, and where its answer goes.
pub struct Stream {
    pub request: Request<RecvStream>,
    pub respond: SendResponse<Bytes>,
    /// Which connection it came on, and the request of all.
    pub connection: usize,
    pub number: usize,
}

/// A server in the clear, known to speak HTTP/2.
pub struct Http2Server {
    pub address: SocketAddr,
    connections: Arc<AtomicUsize>,
    open: Arc<AtomicUsize>,
    heads: Arc<Mutex<Vec<http::request::Parts>>>,
    /// Has every connection be told to go.
    pub go: Arc<Notify>,
    task: JoinHandle<()>,
}

impl Drop for Http2Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Stream {
    pub fn path(&self) -> &str {
        self.request.uri().path()
    }

    /// Answers with all of this.
    pub fn say(mut self, status: u16, body: impl Into<Bytes>) {
        let response = Response::builder().status(status).body(()).unwrap();
        let mut stream = self.respond.send_response(response, false).unwrap();
        // A client that has left does not hear it.
        let _ = stream.send_data(body.into(), true);
    }

    pub fn reset(mut self, reason: Reason) {
        self.respond.send_reset(reason);
    }

    /// Gives back what it is sent, trailers too, as it comes; with its length if it has one.
    pub async fn echo(mut self) {
        let mut response = Response::new(());
        if let Some(length) = self.request.headers().get("content-length") {
            response.headers_mut().insert("content-length", length.clone());
        }
        let mut to = self.respond.send_response(response, false).unwrap();
        let mut from = self.request.into_body();
        while let Some(Ok(octets)) = from.data().await {
            let count = octets.len();
            super::http2::upload(&mut to, &octets, |_| {}).await;
            from.flow_control().release_capacity(count).unwrap();
        }
        match from.trailers().await.unwrap() {
            Some(trailers) => to.send_trailers(trailers).unwrap(),
            None => to.send_data(Bytes::new(), true).unwrap(),
        }
    }
}

impl Http2Server {
    pub async fn start<F: Future<Output = ()> + Send + 'static>(
        say: impl Fn(Stream) -> F + Send + Sync + 'static,
    ) -> Http2Server {
        Http2Server::limited(1000, say).await
    }

    /// One that takes so many streams of a connection.
    pub async fn limited<F: Future<Output = ()> + Send + 'static>(
        most: u32,
        say: impl Fn(Stream) -> F + Send + Sync + 'static,
    ) -> Http2Server {
        let say: Say = Arc::new(move |stream| Box::pin(say(stream)));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (connections, open) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (heads, go) = (Arc::new(Mutex::new(vec![])), Arc::new(Notify::new()));
        let (counted, opened, log, going) =
            (Arc::clone(&connections), Arc::clone(&open), Arc::clone(&heads), Arc::clone(&go));
        let task = tokio::spawn(async move {
            let mut tasks = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                stream.set_nodelay(true).unwrap();
                let connection = counted.fetch_add(1, SeqCst);
                let (say, log, going) = (Arc::clone(&say), Arc::clone(&log), Arc::clone(&going));
                let opened = Arc::clone(&opened);
                tasks.spawn(async move {
                    opened.fetch_add(1, SeqCst);
                    serve(stream, most, connection, &say, &log, &going).await;
                    opened.fetch_sub(1, SeqCst);
                });
            }
        });
        Http2Server { address, connections, open, heads, go, task }
    }

    pub fn connections(&self) -> usize {
        self.connections.load(SeqCst)
    }

    /// Those that have not ended.
    pub fn open(&self) -> usize {
        self.open.load(SeqCst)
    }

    pub fn requests(&self) -> usize {
        self.heads.lock().len()
    }

    pub fn last(&self) -> http::request::Parts {
        self.heads.lock().last().unwrap().clone()
    }

    pub fn at(&self) -> [(&'static str, SocketAddr); 1] {
        [("a", self.address)]
    }
}

async fn serve(
    stream: TcpStream,
    most: u32,
    connection: usize,
    say: &Say,
    log: &Mutex<Vec<http::request::Parts>>,
    going: &Notify,
) {
    let mut builder = Builder::new();
    builder.max_concurrent_streams(most);
    let Ok(mut wire) = builder.handshake::<_, Bytes>(stream).await else { return };
    let mut streams = JoinSet::new();
    loop {
        tokio::select! {
            accepted = wire.accept() => {
                let Some(Ok((request, respond))) = accepted else { break };
                let head = Request::builder()
                    .method(request.method().clone())
                    .uri(request.uri().clone())
                    .version(request.version());
                let mut head = head.body(()).unwrap();
                *head.headers_mut() = request.headers().clone();
                let number = {
                    let mut log = log.lock();
                    log.push(head.into_parts().0);
                    log.len()
                };
                streams.spawn(say(Stream { request, respond, connection, number }));
            }
            () = going.notified() => wire.graceful_shutdown(),
        }
    }
    // What is under way is told by the streams themselves.
    streams.shutdown().await;
}

/// A server that is played by the test, frame by frame.
pub struct FramesServer {
    listener: TcpListener,
}

pub struct FramesOf {
    pub stream: TcpStream,
}

impl FramesServer {
    pub async fn new() -> FramesServer {
        FramesServer { listener: TcpListener::bind("127.0.0.1:0").await.unwrap() }
    }

    pub fn at(&self) -> [(&'static str, SocketAddr); 1] {
        [("a", self.listener.local_addr().unwrap())]
    }

    /// The next connection, settings said.
    pub async fn accept(&self) -> FramesOf {
        let accepted = timeout(LONG, self.listener.accept()).await.expect("somebody comes");
        let mut stream = accepted.unwrap().0;
        let mut preface = [0; 24];
        stream.read_exact(&mut preface).await.unwrap();
        assert_eq!(&preface, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
        stream.write_all(&frame(SETTINGS, 0, 0, &[])).await.unwrap();
        stream.write_all(&frame(SETTINGS, 1, 0, &[])).await.unwrap();
        FramesOf { stream }
    }

    /// The next request, on a connection of its own: where it came, and as which stream.
    pub async fn asked(&self) -> (FramesOf, u32) {
        let mut frames = self.accept().await;
        let stream = frames.until(&[HEADERS]).await.expect("it is asked").stream;
        (frames, stream)
    }
}

impl FramesOf {
    pub async fn say(&mut self, octets: &[u8]) {
        self.stream.write_all(octets).await.unwrap();
    }

    /// The next of these kinds; nothing at the end.
    pub async fn until(&mut self, kinds: &[u8]) -> Option<Frame> {
        next_of(&mut self.stream, kinds).await
    }
}

/// A head in HPACK without tables: `:status 200`, and these fields. `flags` as the frame has them.
pub fn head(stream: u32, flags: u8, fields: &[(&str, &[u8])]) -> Vec<u8> {
    headers(stream, flags, b"\x88", fields)
}

pub fn headers(stream: u32, flags: u8, before: &[u8], fields: &[(&str, &[u8])]) -> Vec<u8> {
    let mut block = before.to_vec();
    for (name, value) in fields {
        block.push(0);
        block.push(u8::try_from(name.len()).unwrap());
        block.extend_from_slice(name.as_bytes());
        block.push(u8::try_from(value.len()).unwrap());
        block.extend_from_slice(value);
    }
    frame(HEADERS, flags, stream, &block)
}

pub fn data(stream: u32, flags: u8, octets: &[u8]) -> Vec<u8> {
    frame(DATA, flags, stream, octets)
}

/// A server within TLS that agrees on one of these protocols, and says what it is asked and what was agreed on.
pub async fn tls_server(folder: &Folder, protocols: &[&[u8]]) -> SocketAddr {
    let pem = std::fs::read(folder.path().join("back.pem")).unwrap();
    let chain = CertificateDer::pem_slice_iter(&pem).collect::<Result<Vec<_>, _>>().unwrap();
    let key = PrivateKeyDer::from_pem_slice(&pem).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let Ok(stream) = acceptor.accept(stream).await else { continue };
            let agreed = stream.get_ref().1.alpn_protocol().unwrap_or_default().to_vec();
            let Ok(mut wire) = h2::server::handshake(stream).await else { continue };
            while let Some(Ok((request, mut respond))) = wire.accept().await {
                let text = format!("{} {}", request.uri(), String::from_utf8_lossy(&agreed));
                let mut body = respond.send_response(Response::new(()), false).unwrap();
                body.send_data(text.into(), true).unwrap();
            }
        }
    });
    address
}
