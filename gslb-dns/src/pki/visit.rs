//! Goes to a name server, fetches what daemons have parked there, signs, and brings it back.
//!
//! The one place of `pki` that speaks to somebody. What a name server says is bounded and doubted: the CA signs by the
//! old key's word and its own index.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Duration;

use bytes::Bytes;
use common::clock::now;
use common::mtls::{ALPN, Credentials, principal_of};
use common::principal::{Kind, Principal};
use common::renewal::{Asked, PublicKey};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http2::{self, SendRequest};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsConnector;

use super::directory::Directory;
use crate::parked::desk::{LONGEST_PAGE, Page, RENEWALS, Saying, Waiting};
use crate::parked::{MOST_PARKED, PAGE};

/// For each thing that is asked of a name server, and for reaching it.
const PATIENCE: Duration = Duration::from_secs(10);
/// Before asking again who was asked too fast.
const PAUSE: Duration = Duration::from_millis(200);
/// Pages of those that wait: as many as there can be, and what came meanwhile.
const MOST_PAGES: usize = 2 * MOST_PARKED / PAGE;

/// `dns1=192.0.2.1:8453`
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Server {
    name: Box<str>,
    address: SocketAddr,
}

/// What was signed on this round, so that a daemon that asks several name servers gets one certificate.
pub type Signed = BTreeMap<(Principal, PublicKey), Box<str>>;

#[derive(Debug, thiserror::Error)]
pub enum VisitError {
    #[error("it does not answer within {} s", PATIENCE.as_secs())]
    Late,
    #[error("{0}")]
    Failed(String),
}

impl FromStr for Server {
    type Err = String;

    fn from_str(text: &str) -> Result<Server, String> {
        let refused = || {
            format!("{text:?} is no name server: NAME=ADDRESS:PORT, such as dns1=192.0.2.1:8453")
        };
        let (name, address) = text.split_once('=').ok_or_else(refused)?;
        let address = address.parse().map_err(|_| refused())?;
        Ok(Server { name: name.into(), address })
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.name, self.address)
    }
}

/// Tells a line of each daemon that was answered.
pub async fn visit(
    directory: &mut Directory,
    visitor: &Credentials,
    server: &Server,
    signed: &mut Signed,
) -> Result<Vec<String>, VisitError> {
    let mut line = within(connect(visitor, server)).await?;
    let mut told = vec![];
    let mut seen = vec![];
    for _ in 0..MOST_PAGES {
        let page = within(line.ask(Method::GET, vec![])).await?;
        let page: Page = serde_json::from_slice(&page).map_err(|error| failed(&error))?;
        let new: Vec<Waiting> =
            page.waiting.into_iter().filter(|one| !seen.contains(&one.principal)).collect();
        if new.is_empty() {
            break;
        }
        for Waiting { principal, request } in new {
            seen.push(principal.clone());
            let (saying, line_of_it) = judge(directory, principal, request.get(), signed);
            let body = serde_json::to_vec(&saying).map_err(|error| failed(&error))?;
            match within(line.ask(Method::POST, body)).await {
                Ok(_) => told.push(line_of_it),
                Err(error) => told.push(format!("{line_of_it}; not taken: {error}")),
            }
        }
    }
    Ok(told)
}

fn judge(
    directory: &mut Directory,
    principal: String,
    request: &str,
    signed: &mut Signed,
) -> (Saying, String) {
    let asked = Asked::read(request.as_bytes()).ok();
    // What it is answered for is what the name server said; what is signed, what the request says.
    let asked = asked.filter(|asked| asked.principal.to_string() == principal);
    let refuse = |why: String| {
        let line = format!("refused {principal}: {why}");
        (Saying::Refused { principal: principal.clone(), refused: why }, line)
    };
    let Some(asked) = asked else {
        return refuse("the request cannot be read, or is another's".to_owned());
    };
    let key = (asked.principal, asked.key);
    if let Some(pem) = signed.get(&key) {
        let line = format!("brought {principal}");
        return (Saying::Certificate { principal, certificate: pem.to_string() }, line);
    }
    match directory.renew(request.as_bytes(), now()) {
        Err(error) => refuse(error.to_string()),
        Ok((issued, pem)) => {
            signed.insert(key, pem.as_str().into());
            let line =
                format!("renewed {principal}, until {}, serial {}", issued.until, issued.serial);
            (Saying::Certificate { principal, certificate: pem }, line)
        }
    }
}

/// A connection to a name server that is who we meant.
struct Line {
    requests: SendRequest<Full<Bytes>>,
    authority: String,
}

async fn connect(visitor: &Credentials, server: &Server) -> Result<Line, VisitError> {
    let name = ServerName::try_from(server.name.to_string()).map_err(|error| failed(&error))?;
    let stream = TcpStream::connect(server.address).await.map_err(|error| failed(&error))?;
    let connector = TlsConnector::from(visitor.client());
    let stream = connector.connect(name, stream).await.map_err(|error| failed(&error))?;
    let (_, session) = stream.get_ref();
    let certificate = session.peer_certificates().and_then(|chain| chain.first());
    let peer = certificate.and_then(|certificate| principal_of(certificate).ok());
    let cluster = &visitor.principal().cluster;
    let meant = Principal { cluster: cluster.clone(), kind: Kind::Dns, name: server.name.clone() };
    if peer.as_ref() != Some(&meant) {
        let found = peer.map_or("nobody".to_owned(), |peer| peer.to_string());
        return Err(VisitError::Failed(format!("it is {found}, expected {meant}")));
    }
    if session.alpn_protocol() != Some(ALPN) {
        return Err(VisitError::Failed("it does not speak HTTP/2".to_owned()));
    }
    let shaken = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await;
    let (requests, connection) = shaken.map_err(|error| failed(&error))?;
    // It ends when nobody can ask any more; whoever asks is told of its errors.
    tokio::spawn(connection);
    Ok(Line { requests, authority: server.name.to_string() })
}

impl Line {
    /// A name server that is asked faster than it likes says so, and is asked again.
    async fn ask(&mut self, method: Method, body: Vec<u8>) -> Result<Bytes, VisitError> {
        let body = Bytes::from(body);
        loop {
            match self.ask_once(method.clone(), body.clone()).await? {
                Some(answer) => return Ok(answer),
                None => sleep(PAUSE).await,
            }
        }
    }

    /// `None`: not so fast.
    async fn ask_once(&mut self, method: Method, body: Bytes) -> Result<Option<Bytes>, VisitError> {
        let uri = format!("https://{}{RENEWALS}", self.authority);
        let request = Request::builder().method(method).uri(uri).body(Full::new(body));
        let request = request.map_err(|error| failed(&error))?;
        let reply = self.requests.send_request(request).await.map_err(|error| failed(&error))?;
        let status = reply.status();
        let body = Limited::new(reply.into_body(), LONGEST_PAGE).collect().await;
        let body = body.map_err(|error| VisitError::Failed(error.to_string()))?.to_bytes();
        match status {
            StatusCode::OK | StatusCode::NO_CONTENT => Ok(Some(body)),
            StatusCode::TOO_MANY_REQUESTS => Ok(None),
            status => {
                let said: String = String::from_utf8_lossy(&body).chars().take(512).collect();
                Err(VisitError::Failed(format!("{status}: {}", said.trim())))
            }
        }
    }
}

async fn within<T>(work: impl Future<Output = Result<T, VisitError>>) -> Result<T, VisitError> {
    timeout(PATIENCE, work).await.unwrap_or(Err(VisitError::Late))
}

fn failed(error: &(impl std::error::Error + ?Sized)) -> VisitError {
    // hyper and rustls say the cause beneath.
    let causes = std::iter::successors(error.source(), |error| error.source());
    VisitError::Failed(causes.fold(error.to_string(), |told, cause| format!("{told}: {cause}")))
}
