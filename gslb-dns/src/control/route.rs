//! Who may ask what, and what is said to them.

use std::sync::Arc;
use std::time::Duration;

use common::principal::{Kind, Principal};
use common::report::{LARGEST, Mark};
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Body as _, Bytes, Incoming};
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use hyper::http::request::Parts;
use hyper::{Method, Request, Response, StatusCode};
use serde_json::json;
use tokio::time::{Instant, timeout};
use tracing::warn;

use super::refusal::Refusal;
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
/// Of a body that nobody wants.
const DISCARDED_FOR: Duration = Duration::from_secs(2);

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
        Err(refusal) => refuse(door, peer, &allowed.err().unwrap_or(refusal)).1,
        Ok(Asked::Assignment(known)) => {
            let (outcome, reply) = match allowed.and_then(|()| entitled()) {
                Ok(insider) => {
                    let octets = insider.map_or(&assigned.octets, |insider| &insider.octets);
                    assignment(assigned.epoch, octets, known.as_deref())
                }
                Err(refusal) => refuse(door, peer, &refusal),
            };
            door.metrics.assignments.with_label_values(&[outcome]).inc();
            reply
        }
        Ok(Asked::Peer(known)) => {
            let shown =
                allowed.and_then(|()| is_peer(door, peer)).and_then(|()| shown(door, &known));
            let (outcome, reply) = match shown {
                Ok(reply) => ("told", reply),
                Err(refusal) => refuse(door, peer, &refusal),
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
                Err(refusal) => refuse(door, peer, &refusal),
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
            // The epoch of now: the world may have changed while the report was weighed.
            let said = received
                .and_then(|(head, reception)| received_as(head.mark, reception, &door.assigned()));
            let (outcome, reply) = said.unwrap_or_else(|refusal| refuse(door, peer, &refusal));
            door.metrics.reports.with_label_values(&[outcome]).inc();
            reply
        }
    }
}

/// As metrics name it, and what is said; the log says it too if somebody has to mend it.
fn refuse(door: &Door, peer: &Arc<Principal>, refusal: &Refusal) -> (&'static str, Reply) {
    if refusal.is_for_people() && door.complaints.lock().begin(peer, refusal, Instant::now()) {
        let (principal, (_, why)) = (peer, refusal.told());
        warn!(%principal, why, "refused at the control listener: it was told why");
    }
    (refusal.as_str(), refused_as(refusal))
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

fn received_as(
    mark: Mark,
    reception: Reception,
    assigned: &Assigned,
) -> Result<(&'static str, Reply), Refusal> {
    let Mark { inc, seq } = mark;
    Ok(match reception {
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
        Reception::TooMany => return Err(Refusal::TooMany),
    })
}

fn refused_as(refusal: &Refusal) -> Reply {
    let (status, text) = refusal.told();
    let mut reply = reply(status, TEXT, (text + "\n").into());
    let headers = reply.headers_mut();
    if let Some(wait) = refusal.wait() {
        headers.insert(RETRY_AFTER, whole_seconds(wait).into());
    }
    if let Refusal::NoSuchMethod(method) = *refusal {
        headers.insert(ALLOW, HeaderValue::from_static(method));
    }
    reply
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
