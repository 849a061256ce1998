//! Asks a running server at one of its admin doors.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::HOST;
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

use super::route::ON_BEHALF;
use crate::explain::{Format, RequestWords};
use crate::history::Words;
use crate::keeper::{Receipt, Reloaded};
use crate::orders::OrderWords;

/// For a connection: an address that swallows packets is told apart from one that refuses.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// How long the whole exchange may take.
const TIMEOUT: Duration = Duration::from_secs(5);
/// How long history may take: others may be reading it, one at a time.
const READING_TIMEOUT: Duration = Duration::from_secs(30);
/// How long an order may take: a world that is being taken over goes first.
const ORDER_TIMEOUT: Duration = Duration::from_secs(60);
/// How long a reload may take: a million names and a city database are read meanwhile.
const RELOAD_TIMEOUT: Duration = Duration::from_secs(300);
/// Octets of an answer: far more than the largest.
const MAX_BODY: usize = 16 << 20;

/// Where a server is asked.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum At {
    /// An address and port, or a host's name and port, or either as browsers show it: reading only.
    Server(String),
    Socket(PathBuf),
}

impl At {
    /// The explanation as the server gives it.
    pub fn explain(&self, words: &RequestWords, format: Format) -> anyhow::Result<String> {
        let RequestWords { name, qtype, client, resolver, at, stamp, suppose } = words;
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.append_pair("name", name).append_pair("type", qtype);
        let known = [("client", client), ("resolver", resolver), ("at", at), ("stamp", stamp)];
        for (key, value) in known {
            if let Some(value) = value {
                query.append_pair(key, value);
            }
        }
        query.extend_pairs(suppose.iter().map(|word| ("suppose", word)));
        query.append_pair("format", format.as_str());
        let patience = if at.is_some() || stamp.is_some() { READING_TIMEOUT } else { TIMEOUT };
        self.ask(&Asked::get(&format!("/v1/explain?{}", query.finish())), patience)
    }

    pub fn status(&self, format: Format) -> anyhow::Result<String> {
        self.ask(&Asked::get(&format!("/v1/status?format={}", format.as_str())), TIMEOUT)
    }

    /// Of the sites that match a pattern, or of all.
    pub fn board(&self, site: Option<&str>, format: Format) -> anyhow::Result<String> {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.append_pair("format", format.as_str());
        query.extend_pairs(site.map(|site| ("site", site)));
        self.ask(&Asked::get(&format!("/v1/board?{}", query.finish())), TIMEOUT)
    }

    pub fn vantages(&self, format: Format) -> anyhow::Result<String> {
        self.ask(&Asked::get(&format!("/v1/vantages?format={}", format.as_str())), TIMEOUT)
    }

    pub fn history(&self, words: &Words, format: Format) -> anyhow::Result<String> {
        let Words { service, site, since, steps } = words;
        let mut query = form_urlencoded::Serializer::new(String::new());
        for (key, value) in [("service", service), ("site", site), ("since", since)] {
            if let Some(value) = value {
                query.append_pair(key, value);
            }
        }
        query.append_pair("steps", &steps.to_string()).append_pair("format", format.as_str());
        self.ask(&Asked::get(&format!("/v1/history?{}", query.finish())), READING_TIMEOUT)
    }

    pub fn overrides(&self, format: Format) -> anyhow::Result<String> {
        self.ask(&Asked::get(&format!("/v1/overrides?format={}", format.as_str())), TIMEOUT)
    }

    pub fn talkers(&self, format: Format) -> anyhow::Result<String> {
        self.ask(&Asked::get(&format!("/v1/talkers?format={}", format.as_str())), TIMEOUT)
    }

    /// `on_behalf_of`: for whom root gives the order.
    pub fn order(&self, words: &OrderWords, on_behalf_of: Option<&str>) -> anyhow::Result<Receipt> {
        let body = serde_json::to_vec(words)?;
        let told = self.ask(&Asked::post("/v1/overrides", body, on_behalf_of), ORDER_TIMEOUT)?;
        serde_json::from_str(&told).context("the server's answer is no receipt")
    }

    pub fn reload(&self, on_behalf_of: Option<&str>) -> anyhow::Result<Reloaded> {
        let told = self.ask(&Asked::post("/v1/reload", vec![], on_behalf_of), RELOAD_TIMEOUT)?;
        serde_json::from_str(&told).context("the server's answer does not tell of a reload")
    }

    fn ask(&self, asked: &Asked<'_>, patience: Duration) -> anyhow::Result<String> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let fetched = tokio::time::timeout(patience, self.fetch(asked)).await;
            fetched.unwrap_or_else(|_| match self {
                At::Server(_) => bail!(
                    "{self} did not finish an answer within {patience:?}; is that its admin \
                     address ([admin] listen in node.toml), and not its address for DNS?"
                ),
                At::Socket(_) if asked.method == Method::POST => bail!(
                    "{self} did not finish an answer within {patience:?}, and may have done what was \
                     asked all the same: look at gslb-dns status and overrides"
                ),
                At::Socket(_) => bail!("{self} did not finish an answer within {patience:?}"),
            })
        })
    }

    async fn fetch(&self, asked: &Asked<'_>) -> anyhow::Result<String> {
        match self {
            At::Server(server) => {
                let server = server.strip_prefix("http://").unwrap_or(server).trim_end_matches('/');
                let stream = connected(TcpStream::connect(server)).await;
                let stream = stream.with_context(|| {
                    format!(
                        "no server at {server}; its address is [admin] listen in node.toml, such \
                         as 127.0.0.1:8080"
                    )
                })?;
                self.exchange(stream, server, asked).await
            }
            At::Socket(path) => {
                let stream = connected(UnixStream::connect(path)).await;
                let stream = stream.map_err(|error| {
                    let why = no_socket(path, error.kind());
                    anyhow::Error::from(error).context(why)
                })?;
                self.exchange(stream, "localhost", asked).await
            }
        }
    }

    async fn exchange(
        &self,
        stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
        host: &str,
        asked: &Asked<'_>,
    ) -> anyhow::Result<String> {
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        let connection = tokio::spawn(connection);
        let mut request =
            Request::builder().method(&asked.method).uri(asked.path).header(HOST, host);
        if let Some(name) = asked.on_behalf_of {
            request = request.header(ON_BEHALF, name);
        }
        let request = request.body(Full::new(asked.body.clone()))?;
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
            bail!("{self} refused: {}", reason.unwrap_or(text.trim()));
        }
        Ok(text)
    }
}

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            At::Server(server) => f.write_str(server),
            At::Socket(path) => path.display().fmt(f),
        }
    }
}

/// One request.
struct Asked<'a> {
    method: Method,
    path: &'a str,
    body: Bytes,
    on_behalf_of: Option<&'a str>,
}

impl<'a> Asked<'a> {
    fn get(path: &'a str) -> Asked<'a> {
        Asked { method: Method::GET, path, body: Bytes::new(), on_behalf_of: None }
    }

    fn post(path: &'a str, body: Vec<u8>, on_behalf_of: Option<&'a str>) -> Asked<'a> {
        Asked { method: Method::POST, path, body: body.into(), on_behalf_of }
    }
}

/// Why nobody answers at a socket, and what that means.
fn no_socket(path: &Path, kind: io::ErrorKind) -> String {
    let path = path.display();
    match kind {
        // The file of a server that was killed stays, and refuses.
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => format!(
            "no server runs at {path}: one that runs has its socket there ([admin] socket in node.toml)"
        ),
        io::ErrorKind::PermissionDenied => format!(
            "no server that you may ask at {path}; it is [admin] socket in node.toml, open to its owner and group"
        ),
        _ => format!("the server at {path} cannot be asked"),
    }
}

async fn connected<S>(connecting: impl Future<Output = io::Result<S>>) -> io::Result<S> {
    let connected = tokio::time::timeout(CONNECT_TIMEOUT, connecting).await;
    connected.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}
