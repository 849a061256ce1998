//! Asks a running server's admin door.

use std::io;
use std::time::Duration;

use anyhow::{Context as _, bail};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::HOST;
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::explain::{Format, RequestWords};

/// For a connection: an address that swallows packets is told apart from one that refuses.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// How long the whole exchange may take.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Octets of an explanation: far more than the largest.
const MAX_BODY: usize = 16 << 20;

/// The explanation as the server gives it. `server` is an address and port, or a host's name and port, or
/// either as browsers show it.
pub fn explain(server: &str, words: &RequestWords, format: Format) -> anyhow::Result<String> {
    let RequestWords { name, qtype, client, resolver, at, suppose } = words;
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.append_pair("name", name).append_pair("type", qtype);
    for (key, value) in [("client", client), ("resolver", resolver), ("at", at)] {
        if let Some(value) = value {
            query.append_pair(key, value);
        }
    }
    query.extend_pairs(suppose.iter().map(|word| ("suppose", word)));
    query.append_pair("format", format.as_str());
    let server = server.strip_prefix("http://").unwrap_or(server).trim_end_matches('/');
    get(server, &format!("/v1/explain?{}", query.finish()))
}

fn get(server: &str, path: &str) -> anyhow::Result<String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let fetched = tokio::time::timeout(TIMEOUT, fetch(server, path)).await;
        fetched.unwrap_or_else(|_| {
            bail!(
                "{server} did not finish an answer within {TIMEOUT:?}; is that its admin \
                 address ([admin] listen in node.toml), and not its address for DNS?"
            )
        })
    })
}

async fn fetch(server: &str, path: &str) -> anyhow::Result<String> {
    let connected = tokio::time::timeout(CONNECT_TIMEOUT, TcpStream::connect(server)).await;
    let stream = connected.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())).with_context(|| {
        format!("no server at {server}; its address is [admin] listen in node.toml, such as 127.0.0.1:8080")
    })?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let connection = tokio::spawn(connection);
    let request = Request::get(path).header(HOST, server).body(Empty::<Bytes>::new())?;
    let response = sender.send_request(request).await?;
    let status = response.status();
    let body = Limited::new(response.into_body(), MAX_BODY).collect().await;
    let body = body.map_err(|error| anyhow::anyhow!("{error}"))?.to_bytes();
    drop(sender);
    connection.await??;
    let text = String::from_utf8(body.into()).context("the server sent no text")?;
    if status != StatusCode::OK {
        let reason: Option<serde_json::Value> = serde_json::from_str(&text).ok();
        let reason = reason.as_ref().and_then(|reason| reason["error"].as_str());
        bail!("{server} refused: {}", reason.unwrap_or(text.trim()));
    }
    Ok(text)
}
