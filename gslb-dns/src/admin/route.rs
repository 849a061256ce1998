//! A path and its parameters to a response.

use std::sync::Arc;
use std::time::Duration;

use common::clock::now;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CONTENT_TYPE};
use hyper::{Method, Response, StatusCode};
use serde::Serialize;
use serde_json::json;
use tokio::net::unix::UCred;
use tokio::time::timeout;

use super::role::{Peer, Role};
use super::{Door, socket};
use crate::archive;
use crate::explain::{Evidence, Explanation, Format, Request, RequestWords, explain, explain_then};
use crate::history::{self, Words};
use crate::keeper::{AskError, Then};
use crate::orders::OrderWords;
use crate::sight::vantages_text;
use crate::status::overrides_text;

const TEXT: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";
const METRICS: &str = "text/plain; version=0.0.4; charset=utf-8";
/// Octets of an order: all its words at their longest are a tenth of it.
const MAX_ORDER: usize = 64 << 10;
/// How long the system may take to name who asks.
const NAMING: Duration = Duration::from_secs(5);
/// Why there is no evidence.
const NOBODY_KEEPS: &str = "nobody keeps the board any more: the log tells why";
/// For whom root gives an order, as sudo knows it.
pub const ON_BEHALF: &str = "x-on-behalf-of";

const INDEX: &str = "\
gslb-dns

/metrics      Prometheus metrics
/healthz      200 while this process runs
/v1/explain   ?name=www.example.com&type=A&client=81.2.69.0/24 | &resolver=192.0.2.53
              [&at=2026-11-21T09:30:00Z | &stamp=…] [&suppose=down=fra] [&format=text]
/v1/status    what this name server believes, and what wants attention [?format=text]
/v1/board     what is believed of every site, and what each vantage sees of it [?site=…] [&format=text]
/v1/vantages  who looks, and how its word counts [?format=text]
/v1/history   what changed of sites, and why [?service=…] [&site=…] [&since=12h | 2026-11-21T09:30:00Z]
              [&steps=true] [&format=text]
/v1/overrides what operators said [?format=text]
/v1/talkers   who asks most, and for what [?format=text]; clients only at the admin socket
";

pub async fn route(
    door: Door,
    peer: Option<UCred>,
    request: hyper::Request<Incoming>,
) -> Response<Full<Bytes>> {
    let query = request.uri().query().unwrap_or_default().to_owned();
    let path = request.uri().path().to_owned();
    match (request.method(), path.as_str()) {
        (&Method::POST, "/v1/overrides" | "/v1/reload") => change(door, peer, &path, request).await,
        (&(Method::GET | Method::HEAD), "/") => page(StatusCode::OK, TEXT, INDEX.into()),
        (&(Method::GET | Method::HEAD), "/metrics") => {
            page(StatusCode::OK, METRICS, door.metrics.text())
        }
        (&(Method::GET | Method::HEAD), "/healthz") => page(StatusCode::OK, TEXT, "ok\n".into()),
        (&(Method::GET | Method::HEAD), "/v1/explain") => explained(door, query).await,
        (&(Method::GET | Method::HEAD), "/v1/status") => match door.desk.status().await {
            Ok(status) => shown(&query, &*status, |status| status.text()),
            Err(gone) => unavailable(gone),
        },
        (&(Method::GET | Method::HEAD), "/v1/board") => board(door, &query).await,
        (&(Method::GET | Method::HEAD), "/v1/vantages") => match door.desk.vantages().await {
            Ok(vantages) => shown(&query, &vantages, |vantages| vantages_text(vantages)),
            Err(gone) => unavailable(gone),
        },
        (&(Method::GET | Method::HEAD), "/v1/overrides") => match door.desk.overrides().await {
            Ok(all) => shown(&query, &all, |all| overrides_text(all)),
            Err(gone) => unavailable(gone),
        },
        (&(Method::GET | Method::HEAD), "/v1/history") => history(door, &query).await,
        (&(Method::GET | Method::HEAD), "/v1/talkers") => talkers(door, peer, &query).await,
        (&(Method::GET | Method::HEAD), other) => {
            let text = format!("no page {other}; there are these:\n\n{INDEX}");
            page(StatusCode::NOT_FOUND, TEXT, text)
        }
        _ => {
            let text = "this page only reads: use GET; orders go to POST /v1/overrides and /v1/reload \
                        at the admin socket\n";
            let mut response = page(StatusCode::METHOD_NOT_ALLOWED, TEXT, text.into());
            response.headers_mut().insert(ALLOW, "GET, HEAD".parse().expect("a constant"));
            response
        }
    }
}

/// Something is to be done, by somebody who may.
async fn change(
    door: Door,
    peer: Option<UCred>,
    path: &str,
    request: hyper::Request<Incoming>,
) -> Response<Full<Bytes>> {
    let Some(credentials) = peer else {
        let why = "this door only reads; orders are taken at the admin socket ([admin] socket in \
                   node.toml), which knows who gives them";
        return error(StatusCode::FORBIDDEN, why);
    };
    let Some(peer) = named(&door, credentials).await else {
        let why = "the system does not say who you are: its directory of users does not answer";
        return error(StatusCode::SERVICE_UNAVAILABLE, why);
    };
    let claims = request.headers().get(ON_BEHALF).and_then(|name| name.to_str().ok());
    let by = peer.by(claims);
    if role(&door, &peer) != Role::Operator {
        let why = format!(
            "{} may only read; root, the server's own user and those in [admin] operators of \
             node.toml may change things",
            by.who
        );
        door.desk.turned_away(by, path).await;
        return error(StatusCode::FORBIDDEN, &why);
    }
    if path == "/v1/reload" {
        return match door.desk.reload(by).await {
            Ok(Ok(reloaded)) => as_json(&reloaded),
            Ok(Err(why)) => error(StatusCode::CONFLICT, &why),
            Err(gone) => unavailable(gone),
        };
    }
    let body = match Limited::new(request.into_body(), MAX_ORDER).collect().await {
        Ok(body) => body.to_bytes(),
        Err(cause) => return error(StatusCode::PAYLOAD_TOO_LARGE, &cause.to_string()),
    };
    let words: OrderWords = match serde_json::from_slice(&body) {
        Ok(words) => words,
        Err(cause) => return refused(&format!("the order cannot be read: {cause}")),
    };
    match door.desk.order(words, by).await {
        Ok(Ok(receipt)) => as_json(&receipt),
        Ok(Err(why)) => error(StatusCode::CONFLICT, &why.to_string()),
        Err(gone) => unavailable(gone),
    }
}

/// Who asks at the socket, as the system knows them; `None` if it does not say.
async fn named(door: &Door, credentials: UCred) -> Option<Peer> {
    // Names may be asked of a directory far away, which must not hold up others.
    let operators = Arc::clone(&door.operators);
    let named = tokio::task::spawn_blocking(move || socket::peer(credentials, &operators));
    timeout(NAMING, named).await.ok()?.ok()
}

fn role(door: &Door, peer: &Peer) -> Role {
    peer.role(nix::unistd::geteuid().as_raw(), &door.operators)
}

/// Clients' networks are for operators alone: everybody who can reach the address may read there.
async fn talkers(door: Door, peer: Option<UCred>, query: &str) -> Response<Full<Bytes>> {
    let Some(gatherer) = &door.talkers else {
        let why = "nobody counts who asks most: dns.talkers is false in node.toml";
        return error(StatusCode::NOT_FOUND, why);
    };
    let peer = match peer {
        Some(credentials) => named(&door, credentials).await,
        None => None,
    };
    let may_see = peer.is_some_and(|peer| role(&door, &peer) == Role::Operator);
    let report = gatherer.report();
    let report = if may_see { report } else { report.nameless() };
    shown(query, &report, |report| report.text())
}

async fn board(door: Door, query: &str) -> Response<Full<Bytes>> {
    let (mut site, mut format) = (None, Format::Json);
    for (key, value) in form_urlencoded::parse(query.as_bytes()) {
        match &*key {
            "site" => site = Some(value.into_owned()),
            "format" => match Format::named(&value) {
                Ok(named) => format = named,
                Err(message) => return refused(&message),
            },
            other => return refused(&format!("no parameter {other} (parameters: site, format)")),
        }
    }
    let sight = match door.desk.sight().await {
        Ok(sight) => sight,
        Err(gone) => return unavailable(gone),
    };
    let sight = match &site {
        None => sight,
        Some(site) => match sight.of_sites(site, door.published.load().world()) {
            Ok(sight) => sight,
            Err(error) => return refused(&error.to_string()),
        },
    };
    match format {
        Format::Text => page(StatusCode::OK, TEXT, sight.text()),
        Format::Json => as_json(&sight),
    }
}

async fn history(door: Door, query: &str) -> Response<Full<Bytes>> {
    let (mut words, mut format) = (Words::default(), Format::Json);
    for (key, value) in form_urlencoded::parse(query.as_bytes()) {
        let value = value.into_owned();
        match &*key {
            "service" => words.service = Some(value),
            "site" => words.site = Some(value),
            "since" => words.since = Some(value),
            "steps" => match value.parse() {
                Ok(steps) => words.steps = steps,
                Err(_) => return refused("steps is true or false"),
            },
            "format" => match Format::named(&value) {
                Ok(named) => format = named,
                Err(message) => return refused(&message),
            },
            other => {
                return refused(&format!(
                    "no parameter {other} (parameters: service, site, since, steps, format)"
                ));
            }
        }
    }
    let asked = match history::Asked::read(&words, now()) {
        Ok(asked) => asked,
        Err(error) => return refused(&error.to_string()),
    };
    let shelf = match door.desk.history().await {
        Ok(shelf) => shelf,
        Err(gone) => return unavailable(gone),
    };
    let reading = Arc::clone(&door.reading).acquire_owned().await;
    let listing = tokio::task::spawn_blocking(move || {
        let _reading = reading;
        archive::listing(&shelf, asked)
    });
    let listing = match listing.await {
        Ok(listing) => listing,
        Err(error) => return failed(&error.to_string()),
    };
    if let Err(error) = listing.fits(door.published.load().world()) {
        return refused(&format!("{error}, and what was asked of history tells of none"));
    }
    match format {
        Format::Text => page(StatusCode::OK, TEXT, listing.text()),
        Format::Json => as_json(&listing),
    }
}

/// As JSON, or as text where `format=text` asks for it.
fn shown<T: Serialize>(query: &str, it: &T, text: impl Fn(&T) -> String) -> Response<Full<Bytes>> {
    let mut format = Format::Json;
    for (key, value) in form_urlencoded::parse(query.as_bytes()) {
        match &*key {
            "format" => match Format::named(&value) {
                Ok(named) => format = named,
                Err(message) => return refused(&message),
            },
            other => return refused(&format!("no parameter {other} (parameters: format)")),
        }
    }
    match format {
        Format::Text => page(StatusCode::OK, TEXT, text(it)),
        Format::Json => as_json(it),
    }
}

fn as_json(it: &impl Serialize) -> Response<Full<Bytes>> {
    match serde_json::to_string_pretty(it) {
        Ok(json) => page(StatusCode::OK, JSON, json + "\n"),
        Err(cause) => failed(&cause.to_string()),
    }
}

fn unavailable(gone: AskError) -> Response<Full<Bytes>> {
    error(StatusCode::SERVICE_UNAVAILABLE, &gone.to_string())
}

async fn explained(door: Door, query: String) -> Response<Full<Bytes>> {
    let asked = match Asked::read(&query) {
        Ok(asked) => asked,
        Err(message) => return refused(&message),
    };
    let request = match Request::parse(&asked.words, now()) {
        Ok(request) => request,
        Err(error) => return refused(&error.to_string()),
    };
    if let Err(error) = request.fits(door.published.load().world()) {
        return refused(&error.to_string());
    }
    let explanation = match request.moment {
        None => {
            let (snapshot, evidence) = match door.desk.evidence_for(&request).await {
                Ok((snapshot, seen)) => (snapshot, Evidence::Seen(seen)),
                // What answers can be explained all the same.
                Err(AskError) => (door.published.load(), Evidence::None(NOBODY_KEEPS)),
            };
            tokio::task::spawn_blocking(move || {
                let explanation = explain(&snapshot, &door.node_name, &request);
                Explanation { evidence, ..explanation }
            })
        }
        Some(moment) => match door.desk.then(moment).await {
            Ok(then) => {
                let Then { ground, board, shelf } = *then;
                let sought = request.sought(now());
                let reading = Arc::clone(&door.reading).acquire_owned().await;
                // Files are read, and another board is arranged anew: both take a while for a large world.
                tokio::task::spawn_blocking(move || {
                    let _reading = reading;
                    let found = sought.map(|sought| archive::found(&shelf, &sought));
                    explain_then(ground, board, found, &door.node_name, &request)
                })
            }
            Err(gone) => return unavailable(gone),
        },
    };
    let kind = match asked.format {
        Format::Text => TEXT,
        Format::Json => JSON,
    };
    let written = match explanation.await {
        Ok(explanation) => explanation.render(asked.format).map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    };
    match written {
        Ok(text) => page(StatusCode::OK, kind, text),
        Err(error) => failed(&error),
    }
}

struct Asked {
    words: RequestWords,
    format: Format,
}

impl Asked {
    fn read(query: &str) -> Result<Asked, String> {
        let mut words = RequestWords { qtype: "A".into(), ..RequestWords::default() };
        let mut format = Format::Json;
        for (key, value) in form_urlencoded::parse(query.as_bytes()) {
            let value = value.into_owned();
            match &*key {
                "name" => words.name = value,
                "type" => words.qtype = value,
                "client" => words.client = Some(value),
                "resolver" => words.resolver = Some(value),
                "at" => words.at = Some(value),
                "stamp" => words.stamp = Some(value),
                "suppose" => words.suppose.push(value),
                "format" => {
                    format = Format::named(&value)?;
                }
                other => {
                    return Err(format!(
                        "no parameter {other} (parameters: name, type, client, resolver, at, \
                         stamp, suppose, format)"
                    ));
                }
            }
        }
        if words.name.is_empty() {
            return Err("which name? give one, such as name=www.example.com".into());
        }
        Ok(Asked { words, format })
    }
}

fn refused(message: &str) -> Response<Full<Bytes>> {
    error(StatusCode::BAD_REQUEST, message)
}

fn failed(message: &str) -> Response<Full<Bytes>> {
    tracing::error!(message, "an admin answer failed");
    error(StatusCode::INTERNAL_SERVER_ERROR, message)
}

fn error(status: StatusCode, message: &str) -> Response<Full<Bytes>> {
    page(status, JSON, format!("{}\n", json!({ "error": message })))
}

fn page(status: StatusCode, kind: &'static str, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, kind.parse().expect("a constant"));
    response
}
