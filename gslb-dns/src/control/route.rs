//! Who may ask what, and what is said to them.

use std::sync::Arc;
use std::time::Duration;

use common::principal::{Kind, Principal};
use common::report::{LARGEST, MOST_TARGETS, Mark};
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Body as _, Bytes, Incoming};
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use hyper::http::request::Parts;
use hyper::{Method, Request, Response, StatusCode};
use serde_json::json;
use tokio::time::{Instant, timeout};

use super::renewal::{self, Errand};
use super::{Assigned, Door, Insider, report};
use crate::inbox::stream::{Oddity, Reception};
use crate::parked::desk::{self, RENEW, RENEWALS};
use crate::peers::page::Known;
use crate::world::Epoch;

const TEXT: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";
const REPORT: &str = "/v1/report";
const ASSIGNMENT: &str = "/v1/assignment";
pub const PEER: &str = "/v1/peer";
/// Octets of a text that tells of what a producer sent.
const LONGEST_TEXT: usize = 512;
/// Of a body that nobody wants.
const DISCARDED_FOR: Duration = Duration::from_secs(2);
/// For those who found no room.
const SOON: Duration = Duration::from_secs(1);

type Reply = Response<Full<Bytes>>;

/// What a request asks.
#[derive(Debug, Eq, PartialEq)]
enum Asked {
    Report,
    /// With the epoch of the assignment that is known already.
    Assignment(Option<String>),
    Renewal(Errand),
    /// With what is known already.
    Peer(Known),
}

/// Why a request is not granted.
#[derive(Debug, Eq, PartialEq)]
pub enum Refusal {
    NoSuchPath,
    /// With the one that there is.
    NoSuchMethod(&'static str),
    /// Asked too often; in how long it is heard again.
    TooFast(Duration),
    OtherCluster {
        theirs: Box<str>,
        ours: Box<str>,
    },
    NoReporter,
    /// No site names it.
    NoAgent(Box<str>),
    /// Its report is of another site than the one that names it.
    OtherSite {
        theirs: String,
        ours: Box<str>,
    },
    /// Daemons ask for themselves, the CA fetches and brings.
    NoErrand,
    NoVantage(Box<str>),
    /// Of a name server, or of somebody who is none.
    NoPeer(Box<str>),
    /// The report says that it is another's.
    NotYours {
        key: &'static str,
        expected: String,
    },
    AlreadyTelling,
    TooLarge,
    TooMany,
    /// More VIPs, or shares of demand, than an agent tells of.
    TooManyOfSite(String),
    Unreadable(String),
    /// It did not come in time.
    Late,
    CutShort,
    Busy,
    /// A defect of ours.
    Failed,
}

/// Answers one request of a principal.
pub async fn route(door: &Door, peer: &Arc<Principal>, request: Request<Incoming>) -> Reply {
    let (head, mut body) = request.into_parts();
    let reply = answer(door, peer, &head, &mut body).await;
    if !body.is_end_stream() {
        tokio::spawn(timeout(DISCARDED_FOR, discard(body)));
    }
    reply
}

/// What comes behind a refusal is read on for a while: a client whose stream is reset while it sends may lose the
/// answer (curl does).
async fn discard(mut body: Incoming) {
    let mut octets = 0;
    while let Some(Ok(frame)) = body.frame().await
        && octets <= LARGEST
    {
        octets += frame.data_ref().map_or(0, Bytes::len);
    }
}

async fn answer(door: &Door, peer: &Arc<Principal>, head: &Parts, body: &mut Incoming) -> Reply {
    let allowed = door.meters.lock().ask(peer, Instant::now()).map_err(Refusal::TooFast);
    let asked = asked(&head.method, head.uri.path(), head.uri.query().unwrap_or_default());
    let assigned = door.assigned();
    let entitled = || entitled(&door.us, peer, &assigned);
    match asked {
        Err(refusal) => allowed.err().unwrap_or(refusal).reply(),
        Ok(Asked::Assignment(known)) => {
            let (outcome, reply) = match allowed.and_then(|()| entitled()) {
                Ok(insider) => {
                    let octets = insider.map_or(&assigned.octets, |insider| &insider.octets);
                    assignment(assigned.epoch, octets, known.as_deref())
                }
                Err(refusal) => (refusal.as_str(), refusal.reply()),
            };
            door.metrics.assignments.with_label_values(&[outcome]).inc();
            reply
        }
        Ok(Asked::Peer(known)) => {
            let shown =
                allowed.and_then(|()| is_peer(door, peer)).and_then(|()| shown(door, &known));
            let (outcome, reply) = match shown {
                Ok(reply) => ("told", reply),
                Err(refusal) => (refusal.as_str(), refusal.reply()),
            };
            door.metrics.pages.with_label_values(&[outcome]).inc();
            reply
        }
        Ok(Asked::Renewal(errand)) => {
            let said = match allowed {
                Ok(()) => renewal::run(door, peer, errand, body).await,
                Err(refusal) => Err(refusal),
            };
            let (outcome, reply) = match said {
                Ok(said) => (said.outcome, said_of_renewal(said)),
                Err(refusal) => (refusal.as_str(), refusal.reply()),
            };
            door.metrics.renewals.with_label_values(&[outcome]).inc();
            reply
        }
        Ok(Asked::Report) => {
            let received = match allowed.and_then(|()| entitled()) {
                Ok(insider) => {
                    let site = insider.map(|insider| insider.site.clone());
                    report::receive(door, peer, site, body).await
                }
                Err(refusal) => Err(refusal),
            };
            let (outcome, reply) = match received {
                // The epoch of now: the world may have changed while the report was weighed.
                Ok((head, reception)) => received_as(head.mark, reception, &door.assigned()),
                Err(refusal) => (refusal.as_str(), refusal.reply()),
            };
            door.metrics.reports.with_label_values(&[outcome]).inc();
            reply
        }
    }
}

fn asked(method: &Method, path: &str, query: &str) -> Result<Asked, Refusal> {
    match (path, method) {
        (REPORT, &Method::POST) => Ok(Asked::Report),
        (REPORT, _) => Err(Refusal::NoSuchMethod("POST")),
        (ASSIGNMENT, &Method::GET) => {
            // Parameters of later versions are none of ours.
            let mut parameters = form_urlencoded::parse(query.as_bytes());
            let epoch = parameters.find(|(key, _)| key == "epoch");
            Ok(Asked::Assignment(epoch.map(|(_, epoch)| epoch.into_owned())))
        }
        (ASSIGNMENT, _) => Err(Refusal::NoSuchMethod("GET")),
        (PEER, &Method::GET) => Ok(Asked::Peer(Known::of_query(query))),
        (PEER, _) => Err(Refusal::NoSuchMethod("GET")),
        (RENEW, &Method::POST) => Ok(Asked::Renewal(Errand::Ask)),
        (RENEW, _) => Err(Refusal::NoSuchMethod("POST")),
        (RENEWALS, &Method::GET) => Ok(Asked::Renewal(Errand::Fetch)),
        (RENEWALS, &Method::POST) => Ok(Asked::Renewal(Errand::Bring)),
        (RENEWALS, _) => Err(Refusal::NoSuchMethod("GET, POST")),
        (_, _) => Err(Refusal::NoSuchPath),
    }
}

/// Whether this world knows what to make of who asks; of an agent, what its site is.
fn entitled<'a>(
    us: &Principal,
    peer: &Principal,
    assigned: &'a Assigned,
) -> Result<Option<&'a Insider>, Refusal> {
    let Principal { cluster, kind, name } = peer;
    if *cluster != us.cluster {
        return Err(Refusal::OtherCluster { theirs: cluster.clone(), ours: us.cluster.clone() });
    }
    match kind {
        Kind::Probe if assigned.vantages.contains(name) => Ok(None),
        Kind::Probe => Err(Refusal::NoVantage(name.clone())),
        Kind::Agent => match assigned.agents.get(name) {
            Some(insider) => Ok(Some(insider)),
            None => Err(Refusal::NoAgent(name.clone())),
        },
        Kind::Ca | Kind::Dns => Err(Refusal::NoReporter),
    }
}

/// Whether it is a name server of ours, and one that we know of: what one learns of the other, both have to.
fn is_peer(door: &Door, peer: &Principal) -> Result<(), Refusal> {
    let Principal { cluster, kind, name } = peer;
    if *cluster != door.us.cluster {
        let (theirs, ours) = (cluster.clone(), door.us.cluster.clone());
        return Err(Refusal::OtherCluster { theirs, ours });
    }
    match kind {
        Kind::Dns if door.peers.contains(name) => Ok(()),
        Kind::Ca | Kind::Dns | Kind::Probe | Kind::Agent => {
            Err(Refusal::NoPeer(peer.to_string().into()))
        }
    }
}

fn shown(door: &Door, known: &Known) -> Result<Reply, Refusal> {
    let shown = Arc::clone(&door.shown.borrow());
    let octets = shown.page(known).map_err(|_| Refusal::Failed)?;
    Ok(reply(StatusCode::OK, JSON, octets.into()))
}

fn assignment(epoch: Epoch, octets: &Bytes, known: Option<&str>) -> (&'static str, Reply) {
    if known == Some(&*epoch.to_string()) {
        return ("unchanged", empty(StatusCode::NOT_MODIFIED));
    }
    ("sent", reply(StatusCode::OK, JSON, octets.clone()))
}

fn said_of_renewal(said: desk::Reply) -> Reply {
    let status = StatusCode::from_u16(said.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    reply(status, said.kind, said.body.into())
}

fn received_as(mark: Mark, reception: Reception, assigned: &Assigned) -> (&'static str, Reply) {
    let Mark { inc, seq } = mark;
    match reception {
        Reception::Taken(oddity) => {
            let outcome = match oddity {
                Oddity::None => "taken",
                Oddity::Restarted => "restarted",
                Oddity::WrongDigest => "wrong_digest",
            };
            let epoch = assigned.epoch.to_string();
            (outcome, json(StatusCode::OK, &json!({ "inc": inc, "seq": seq, "epoch": epoch })))
        }
        // Nothing may follow it (RFC 9110 §15.3.6).
        Reception::SendWhole => ("send_whole", empty(StatusCode::RESET_CONTENT)),
        Reception::Behind(Mark { inc, seq }) => {
            ("behind", json(StatusCode::CONFLICT, &json!({ "inc": inc, "seq": seq })))
        }
        Reception::Duplicate(Mark { inc, seq }) => {
            let told = json!({ "inc": inc, "seq": seq, "duplicate": true });
            ("duplicate", json(StatusCode::CONFLICT, &told))
        }
        Reception::TooMany => (Refusal::TooMany.as_str(), Refusal::TooMany.reply()),
    }
}

impl Refusal {
    /// As metrics name it.
    pub fn as_str(&self) -> &'static str {
        match self {
            Refusal::NoSuchPath | Refusal::NoSuchMethod(_) => "unknown",
            Refusal::TooFast(_) | Refusal::AlreadyTelling => "too_fast",
            Refusal::OtherCluster { .. }
            | Refusal::NoReporter
            | Refusal::NoAgent(_)
            | Refusal::OtherSite { .. }
            | Refusal::NoErrand
            | Refusal::NoVantage(_)
            | Refusal::NoPeer(_)
            | Refusal::NotYours { .. } => "forbidden",
            Refusal::TooLarge | Refusal::TooMany | Refusal::TooManyOfSite(_) => "too_large",
            Refusal::Unreadable(_) => "unreadable",
            Refusal::Late => "late",
            Refusal::CutShort => "cut_short",
            Refusal::Busy => "busy",
            Refusal::Failed => "failed",
        }
    }

    fn reply(&self) -> Reply {
        let (status, text) = self.told();
        let text = one_line(text) + "\n";
        let mut reply = reply(status, TEXT, text.into());
        let headers = reply.headers_mut();
        let wait = match self {
            Refusal::TooFast(wait) => Some(*wait),
            Refusal::AlreadyTelling | Refusal::Busy => Some(SOON),
            _ => None,
        };
        if let Some(wait) = wait {
            headers.insert(RETRY_AFTER, whole_seconds(wait).into());
        }
        if let Refusal::NoSuchMethod(method) = *self {
            headers.insert(ALLOW, HeaderValue::from_static(method));
        }
        reply
    }

    fn told(&self) -> (StatusCode, String) {
        let said = |text: &str| text.to_owned();
        match self {
            Refusal::NoSuchPath => (
                StatusCode::NOT_FOUND,
                said(
                    "nothing is here; there are POST /v1/report, GET /v1/assignment?epoch=EPOCH, GET /v1/peer and POST \
                     /v1/renew",
                ),
            ),
            Refusal::NoSuchMethod(method) => (
                StatusCode::METHOD_NOT_ALLOWED,
                format!("this path takes {method} and nothing else"),
            ),
            Refusal::TooFast(_) => (
                StatusCode::TOO_MANY_REQUESTS,
                said("asked too often; a producer tells at most one report each 50 ms"),
            ),
            Refusal::AlreadyTelling => (
                StatusCode::TOO_MANY_REQUESTS,
                said("other reports of yours are under way; wait for what becomes of one"),
            ),
            Refusal::OtherCluster { theirs, ours } => (
                StatusCode::FORBIDDEN,
                format!(
                    "your certificate is of cluster {theirs}, and this name server of {ours}; tell \
                     the name servers of {theirs}, or have a certificate issued for {ours}"
                ),
            ),
            Refusal::NoReporter => (
                StatusCode::FORBIDDEN,
                said(
                    "your certificate is a name server's or the CA's, which tells nobody what it saw and is \
                     assigned nothing; use a probe's or an agent's",
                ),
            ),
            Refusal::NoAgent(name) => (
                StatusCode::FORBIDDEN,
                format!(
                    "no site of this name server's world has an agent {name}; add it to its site's \
                     agents in world.toml and reload, or stop this agent"
                ),
            ),
            Refusal::OtherSite { theirs, ours } => (
                StatusCode::FORBIDDEN,
                format!(
                    "in this name server's world you speak for site {ours}, and the report is of {theirs}; \
                     write that site in the agent's config, or name the agent at the other in world.toml"
                ),
            ),
            Refusal::NoErrand => (
                StatusCode::FORBIDDEN,
                said(
                    "daemons of this cluster ask for themselves, by POST /v1/renew; what they wait for is \
                     fetched and brought by the CA alone, at /v1/renewals",
                ),
            ),
            Refusal::NoVantage(name) => (
                StatusCode::FORBIDDEN,
                format!(
                    "this name server's world has no vantage {name}; add it to world.toml and \
                     reload, or stop this probe"
                ),
            ),
            Refusal::NoPeer(who) => (
                StatusCode::FORBIDDEN,
                format!(
                    "your certificate is of {who}, and this is told to the name servers listed in control.peers of \
                     this one's node.toml alone; if you are one, list it there and restart"
                ),
            ),
            Refusal::NotYours { key, expected } => (
                StatusCode::FORBIDDEN,
                format!(
                    "the report's {key} is not {expected}, as your certificate has it; give the \
                     producer the {key} of its certificate, or a certificate of its own"
                ),
            ),
            Refusal::TooLarge => (
                StatusCode::PAYLOAD_TOO_LARGE,
                format!(
                    "a report has at most {LARGEST} octets; look at fewer targets, or split them among probes"
                ),
            ),
            Refusal::TooMany => (
                StatusCode::PAYLOAD_TOO_LARGE,
                format!(
                    "a producer tells of at most {MOST_TARGETS} targets; look at fewer, or split them among probes"
                ),
            ),
            Refusal::TooManyOfSite(why) => {
                (StatusCode::PAYLOAD_TOO_LARGE, format!("{why}; split the site in two"))
            }
            Refusal::Unreadable(why) => (StatusCode::UNPROCESSABLE_ENTITY, why.clone()),
            Refusal::Late => (
                StatusCode::REQUEST_TIMEOUT,
                said("what was sent took too long to come; send it again"),
            ),
            Refusal::CutShort => (StatusCode::BAD_REQUEST, said("what was sent was cut short")),
            Refusal::Busy => (
                StatusCode::SERVICE_UNAVAILABLE,
                said(
                    "no room for a report just now, and perhaps it was taken all the same; send the next one",
                ),
            ),
            Refusal::Failed => (
                StatusCode::INTERNAL_SERVER_ERROR,
                said("what was asked could not be done, which is a defect"),
            ),
        }
    }
}

fn one_line(mut text: String) -> String {
    text.truncate(text.floor_char_boundary(LONGEST_TEXT));
    text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect()
}

/// Rounded up, and never 0: that would be at once.
fn whole_seconds(wait: Duration) -> u64 {
    (wait.as_secs() + u64::from(wait.subsec_nanos() > 0)).max(1)
}

fn json(status: StatusCode, value: &serde_json::Value) -> Reply {
    reply(status, JSON, value.to_string().into())
}

fn empty(status: StatusCode) -> Reply {
    let mut response = Response::new(Full::default());
    *response.status_mut() = status;
    response
}

fn reply(status: StatusCode, kind: &'static str, octets: Bytes) -> Reply {
    let mut response = Response::new(Full::new(octets));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}
