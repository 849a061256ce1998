//! gRPC's own health protocol: `grpc.health.v1.Health/Check` over HTTP/2.
//!
//! A message is a flag, a length of four octets, and protobuf (gRPC over HTTP/2, «Length-Prefixed-Message»). The
//! status of the call stands in the trailers, or in the headers where there is nothing else.

use std::net::SocketAddr;
use std::pin::pin;

use bytes::{BufMut as _, Bytes, BytesMut};
use http_body_util::{BodyExt as _, Full};
use hyper::header::{CONTENT_TYPE, TE};
use hyper::{HeaderMap, Method, Request};
use prost::Message as _;
use tokio::io::{AsyncRead, AsyncWrite};

use super::http::{open_http2, unanswered};
use super::tls::{Roots, shake_hands};
use super::{Failure, MOST_READ, Notes, connect, since};
use crate::check::{Grpc, Grpcs};
use crate::clock;
use crate::report::Reason;

const METHOD: &str = "/grpc.health.v1.Health/Check";
/// Flag and length.
const PREFIX: usize = 5;

#[derive(Clone, PartialEq, prost::Message)]
struct HealthCheckRequest {
    #[prost(string, tag = "1")]
    service: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct HealthCheckResponse {
    #[prost(enumeration = "ServingStatus", tag = "1")]
    status: i32,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, prost::Enumeration)]
#[repr(i32)]
enum ServingStatus {
    Unknown = 0,
    Serving = 1,
    NotServing = 2,
    ServiceUnknown = 3,
}

pub async fn look(
    at: SocketAddr,
    host: &str,
    check: &Grpc,
    notes: &mut Notes,
) -> Result<(), Failure> {
    let stream = connect(at, notes).await?;
    ask(stream, "http", host, at.port(), check, notes).await
}

pub async fn look_within_tls(
    at: SocketAddr,
    host: &str,
    check: &Grpcs,
    roots: &Roots,
    notes: &mut Notes,
) -> Result<(), Failure> {
    let Grpcs { grpc, tls } = check;
    let stream = connect(at, notes).await?;
    let stream = shake_hands(stream, host, tls, &[b"h2"], roots, notes).await?;
    ask(stream, "https", host, at.port(), grpc, notes).await
}

async fn ask<S>(
    stream: S,
    scheme: &str,
    host: &str,
    port: u16,
    check: &Grpc,
    notes: &mut Notes,
) -> Result<(), Failure>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, mut driver) = open_http2(stream).await?;
    let message = HealthCheckRequest { service: check.service.clone() }.encode_to_vec();
    let mut framed = BytesMut::with_capacity(PREFIX + message.len());
    framed.put_u8(0);
    framed.put_u32(message.len() as u32);
    framed.put_slice(&message);
    let request = Request::builder()
        .method(Method::POST)
        .uri(format!("{scheme}://{host}:{port}{METHOD}"))
        .header(CONTENT_TYPE, "application/grpc")
        .header(TE, "trailers")
        .body(Full::new(framed.freeze()))
        .map_err(|error| Failure::new(Reason::Probe, format!("cannot ask that: {error}")))?;
    let began = clock::monotonic();
    let answer = match sender.send_request(request).await {
        Ok(answer) => answer,
        Err(error) => return Err(driver.why(error).await),
    };
    notes.phases.first_byte = since(began);
    if answer.status() != 200 {
        let detail = format!("answered {} instead of a gRPC answer", answer.status().as_u16());
        return Err(Failure::new(Reason::Status, detail));
    }
    // An answer without a message has its trailers for headers.
    judge_call(answer.headers())?;
    let (message, trailers) = read(answer.into_body()).await?;
    judge_call(&trailers)?;
    judge_message(&message)
}

/// At most `MOST_READ` octets, and the trailers.
async fn read(body: hyper::body::Incoming) -> Result<(Bytes, HeaderMap), Failure> {
    let (mut read, mut trailers) = (BytesMut::new(), HeaderMap::new());
    let mut body = pin!(body);
    while let Some(frame) = body.frame().await {
        match frame.map_err(|error| unanswered(&error))?.into_data() {
            Ok(octets) => {
                if read.len() + octets.len() > MOST_READ {
                    let detail = format!("an answer of more than {MOST_READ} octets");
                    return Err(Failure::new(Reason::Malformed, detail));
                }
                read.extend_from_slice(&octets);
            }
            Err(frame) => trailers = frame.into_trailers().unwrap_or_default(),
        }
    }
    Ok((read.freeze(), trailers))
}

fn judge_call(headers: &HeaderMap) -> Result<(), Failure> {
    let text =
        |name: &str| headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()));
    match text("grpc-status") {
        None => Ok(()),
        Some(status) if status == "0" => Ok(()),
        Some(status) => {
            let message = text("grpc-message").unwrap_or_default();
            let detail = format!("the call ended with gRPC status {status} ({message})");
            Err(Failure::new(Reason::Answer, detail))
        }
    }
}

fn judge_message(octets: &[u8]) -> Result<(), Failure> {
    let malformed = |why: &str| Failure::new(Reason::Malformed, format!("no gRPC answer: {why}"));
    let Some((prefix, rest)) = octets.split_first_chunk::<PREFIX>() else {
        return Err(malformed("it has no message"));
    };
    let length = u32::from_be_bytes([prefix[1], prefix[2], prefix[3], prefix[4]]) as usize;
    if prefix[0] != 0 {
        return Err(malformed("it is compressed, which was not asked for"));
    }
    if rest.len() != length {
        return Err(malformed("its message is not as long as it says"));
    }
    let answer =
        HealthCheckResponse::decode(rest).map_err(|error| malformed(&error.to_string()))?;
    match ServingStatus::try_from(answer.status) {
        Ok(ServingStatus::Serving) => Ok(()),
        Ok(ServingStatus::NotServing) => {
            Err(Failure::new(Reason::Answer, "NOT_SERVING, expected SERVING"))
        }
        Ok(ServingStatus::ServiceUnknown) => {
            Err(Failure::new(Reason::Answer, "SERVICE_UNKNOWN, expected SERVING"))
        }
        Ok(ServingStatus::Unknown) => {
            Err(Failure::new(Reason::Answer, "UNKNOWN, expected SERVING"))
        }
        Err(_) => Err(malformed(&format!("a status {}", answer.status))),
    }
}
