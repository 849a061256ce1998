//! A request and what is expected of its answer, over HTTP/1.1 or HTTP/2, in the clear or within TLS.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper::body::{Body, Incoming};
use hyper::client::conn::{http1, http2};
use hyper::header::{ACCEPT, CONNECTION, HOST, HeaderName, HeaderValue, USER_AGENT};
use hyper::{Request, Response, Uri};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinHandle;

use super::tls::{Roots, shake_hands};
use super::{Failure, MOST_READ, Notes, Who, connect, since};
use crate::check::{HeaderExpect, Http, Https, Method, Text, Version};
use crate::clock;
use crate::report::Reason;

const HTTP1: &[u8] = b"http/1.1";
const HTTP2: &[u8] = b"h2";
/// Octets of an answer's head, and its headers.
const LARGEST_HEAD: usize = 64 << 10;
const MOST_HEADERS: usize = 256;

pub async fn look(
    at: SocketAddr,
    host: &str,
    check: &Http,
    who: Who,
    notes: &mut Notes,
) -> Result<(), Failure> {
    let stream = connect(at, notes).await?;
    let authority = authority(host, at.port(), 80);
    match check.version {
        Version::Any | Version::V1 => ask_http1(stream, &authority, check, who, notes).await,
        Version::V2 => ask_http2(stream, "http", &authority, check, who, notes).await,
    }
}

pub async fn look_within_tls(
    at: SocketAddr,
    host: &str,
    check: &Https,
    who: Who,
    roots: &Roots,
    notes: &mut Notes,
) -> Result<(), Failure> {
    let Https { http, tls } = check;
    let alpn: &[&[u8]] = match http.version {
        Version::Any => &[HTTP2, HTTP1],
        Version::V1 => &[HTTP1],
        Version::V2 => &[HTTP2],
    };
    let stream = connect(at, notes).await?;
    let stream = shake_hands(stream, host, tls, alpn, roots, notes).await?;
    let authority = authority(host, at.port(), 443);
    let chosen = stream.get_ref().1.alpn_protocol().map(<[u8]>::to_vec);
    match (http.version, chosen.as_deref()) {
        (Version::Any | Version::V2, Some(HTTP2)) => {
            ask_http2(stream, "https", &authority, http, who, notes).await
        }
        (Version::Any | Version::V1, _) => ask_http1(stream, &authority, http, who, notes).await,
        (Version::V2, _) => Err(Failure::new(
            Reason::Handshake,
            "the server does not speak HTTP/2 (no h2 in its ALPN)",
        )),
    }
}

/// RFC 9110 §7.2: without the port where it is the scheme's own.
fn authority(host: &str, port: u16, usual: u16) -> String {
    let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
    if port == usual { host } else { format!("{host}:{port}") }
}

/// Ends what drives a connection when the look ends.
pub struct Driver(JoinHandle<Result<(), hyper::Error>>);

impl Driver {
    pub fn of(
        connection: impl Future<Output = Result<(), hyper::Error>> + Send + 'static,
    ) -> Driver {
        Driver(tokio::spawn(connection))
    }

    /// What kept an answer from coming. Of a connection that has failed itself, who waits for the answer hears no more
    /// than that it has ended.
    pub async fn why(&mut self, error: hyper::Error) -> Failure {
        if !error.is_canceled() {
            return unanswered(&error);
        }
        match (&mut self.0).await {
            Ok(Err(of_connection)) => unanswered(&of_connection),
            Ok(Ok(())) | Err(_) => unanswered(&error),
        }
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// For one request; nothing is kept open behind it.
pub async fn open_http2<S, B>(stream: S) -> Result<(http2::SendRequest<B>, Driver), Failure>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    B: Body<Data = Bytes, Error = Infallible> + Unpin + Send + 'static,
{
    let (sender, connection) = http2::Builder::new(TokioExecutor::new())
        .max_header_list_size(LARGEST_HEAD as u32)
        .initial_stream_window_size(MOST_READ as u32)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|error| unanswered(&error))?;
    Ok((sender, Driver::of(connection)))
}

async fn ask_http1<S>(
    stream: S,
    authority: &str,
    check: &Http,
    who: Who,
    notes: &mut Notes,
) -> Result<(), Failure>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) = http1::Builder::new()
        .max_buf_size(LARGEST_HEAD)
        .max_headers(MOST_HEADERS)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|error| unanswered(&error))?;
    let mut driver = Driver::of(connection);
    let uri: Uri = check.path.parse().map_err(|error| unaskable(&error))?;
    let mut request = request(check, uri, who)?;
    request.headers_mut().insert(HOST, header_value(authority)?);
    request.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    own_headers(&mut request, check)?;
    let began = clock::monotonic();
    let answer = match sender.send_request(request).await {
        Ok(answer) => answer,
        Err(error) => return Err(driver.why(error).await),
    };
    notes.phases.first_byte = since(began);
    judge(answer, check, notes).await
}

async fn ask_http2<S>(
    stream: S,
    scheme: &str,
    authority: &str,
    check: &Http,
    who: Who,
    notes: &mut Notes,
) -> Result<(), Failure>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, mut driver) = open_http2(stream).await?;
    let uri = Uri::builder().scheme(scheme).authority(authority).path_and_query(&*check.path);
    let mut request = request(check, uri.build().map_err(|error| unaskable(&error))?, who)?;
    own_headers(&mut request, check)?;
    // HTTP/2 has it in :authority (RFC 9113 §8.3.1), which an own header must not contradict.
    request.headers_mut().remove(HOST);
    let began = clock::monotonic();
    let answer = match sender.send_request(request).await {
        Ok(answer) => answer,
        Err(error) => return Err(driver.why(error).await),
    };
    notes.phases.first_byte = since(began);
    judge(answer, check, notes).await
}

fn request(check: &Http, uri: Uri, who: Who) -> Result<Request<Empty<Bytes>>, Failure> {
    let method = match check.method {
        Method::Get => hyper::Method::GET,
        Method::Head => hyper::Method::HEAD,
        Method::Options => hyper::Method::OPTIONS,
    };
    Request::builder()
        .method(method)
        .uri(uri)
        .header(USER_AGENT, who.user_agent())
        .header(ACCEPT, "*/*")
        .body(Empty::new())
        .map_err(|error| unaskable(&error))
}

/// An own header takes the place of ours.
fn own_headers(request: &mut Request<Empty<Bytes>>, check: &Http) -> Result<(), Failure> {
    for (name, value) in &check.headers {
        let name: HeaderName = name.parse().map_err(|error| unaskable(&error))?;
        request.headers_mut().insert(name, header_value(value)?);
    }
    Ok(())
}

fn header_value(text: &str) -> Result<HeaderValue, Failure> {
    HeaderValue::from_str(text).map_err(|error| unaskable(&error))
}

async fn judge(answer: Response<Incoming>, check: &Http, notes: &mut Notes) -> Result<(), Failure> {
    let status = answer.status().as_u16();
    notes.status = Some(status);
    if !check.status.include(status) {
        let detail = format!("answered {status}, expected {}", check.status);
        return Err(Failure::new(Reason::Status, detail));
    }
    for expected in &check.expect_headers {
        judge_header(&answer, expected)?;
    }
    match &check.expect_body {
        Some(text) => judge_body(answer.into_body(), text).await,
        None => Ok(()),
    }
}

fn judge_header(answer: &Response<Incoming>, expected: &HeaderExpect) -> Result<(), Failure> {
    let HeaderExpect { name, value } = expected;
    let mut values = answer.headers().get_all(name.as_str()).iter().peekable();
    let Some(first) = values.peek() else {
        return Err(Failure::new(Reason::Header, format!("answered without a header {name}")));
    };
    let Some(text) = value else { return Ok(()) };
    let first = String::from_utf8_lossy(first.as_bytes()).into_owned();
    let search = text.search().map_err(|fault| Failure::new(Reason::Probe, fault))?;
    if values.any(|value| search.is_in(value.as_bytes())) {
        return Ok(());
    }
    Err(Failure::new(Reason::Header, format!("answered {name}: {first:?}, expected {text}")))
}

async fn judge_body(body: Incoming, text: &Text) -> Result<(), Failure> {
    let search = text.search().map_err(|fault| Failure::new(Reason::Probe, fault))?;
    let mut read: Vec<u8> = Vec::new();
    let mut body = pin!(body);
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| unanswered(&error))?;
        let Some(octets) = frame.data_ref() else { continue };
        let room = MOST_READ - read.len();
        read.extend_from_slice(&octets[..octets.len().min(room)]);
        if read.len() == MOST_READ {
            break;
        }
    }
    // Looked for once: an expression with an end mark means the end of the whole.
    if search.is_in(&read) {
        return Ok(());
    }
    let detail = match read.len() {
        MOST_READ => format!("{text} is not in the first {MOST_READ} octets of the body"),
        length => format!("{text} is not in the body of {length} octets"),
    };
    Err(Failure::new(Reason::Body, detail))
}

/// What kept an answer from coming whole.
pub fn unanswered(error: &hyper::Error) -> Failure {
    let causes = || std::iter::successors(std::error::Error::source(error), |cause| cause.source());
    // What we found wrong, not what the server says of us.
    let is_no_http2 = |cause: &(dyn std::error::Error + 'static)| {
        cause.downcast_ref::<h2::Error>().is_some_and(h2::Error::is_library)
    };
    let reason = if error.is_parse() || error.is_parse_too_large() || causes().any(is_no_http2) {
        Reason::Malformed
    } else {
        Reason::Closed
    };
    // The library says only half of it by itself.
    let detail = causes().fold(error.to_string(), |told, cause| format!("{told}: {cause}"));
    Failure::new(reason, detail)
}

/// What should have been refused with the config.
fn unaskable(error: &dyn std::error::Error) -> Failure {
    Failure::new(Reason::Probe, format!("cannot ask that: {error}"))
}
