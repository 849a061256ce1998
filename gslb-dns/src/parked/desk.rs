//! Who may ask what of the parked, as requests of HTTP, and what is said to them. Pure: the listener brings requests.
//!
//! `POST /v1/renew`: a daemon asks for itself. 200 is its certificate, 202 «ask again», 409 that the CA refuses.
//! `GET /v1/renewals`, `POST /v1/renewals`: the CA fetches those that wait, and says what becomes of each.

use std::time::Duration;

use common::principal::{Kind, Principal};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::{Answer, AnswerError, AskError, LONGEST_WHY, PAGE, Parked};
use common::renewal::{LONGEST_ANSWER, LONGEST_REQUEST, RequestError};

pub const RENEW: &str = "/v1/renew";
pub const RENEWALS: &str = "/v1/renewals";
/// Octets of what the CA says of one: a certificate with its line ends escaped.
pub const LONGEST_SAYING: usize = 2 * LONGEST_ANSWER + 2 * LONGEST_WHY;
/// Octets of a page of those that wait.
pub const LONGEST_PAGE: usize = PAGE * (LONGEST_REQUEST + 512);

/// A status of HTTP, and what is said with it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Reply {
    pub status: u16,
    /// As metrics name it.
    pub outcome: &'static str,
    pub kind: &'static str,
    pub body: Vec<u8>,
}

pub const TEXT: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";
/// RFC 8555 §9.1.
const CHAIN: &str = "application/pem-certificate-chain";

/// A page of those that wait.
#[derive(Debug, Deserialize, Serialize)]
pub struct Page {
    pub waiting: Vec<Waiting>,
}

#[derive(Debug, Deserialize, Serialize)]
pub struct Waiting {
    pub principal: String,
    /// As the daemon sent it.
    pub request: Box<RawValue>,
}

/// What the CA says of one.
#[derive(Debug, Deserialize, Serialize)]
#[serde(untagged)]
pub enum Saying {
    Certificate { principal: String, certificate: String },
    Refused { principal: String, refused: String },
}

/// Whether someone may ask that of this name server at all.
pub fn may(us: &Principal, peer: &Principal, path: &str) -> bool {
    let is_ours = us.cluster == peer.cluster;
    match peer.kind {
        Kind::Ca => is_ours && path == RENEWALS,
        Kind::Dns | Kind::Probe | Kind::Agent => is_ours && path == RENEW,
    }
}

/// `POST /v1/renew`
pub fn ask(parked: &mut Parked, now: Duration, peer: &Principal, body: &[u8]) -> Reply {
    match parked.ask(now, peer, body) {
        Ok(None) => Reply::text(
            202,
            "parked",
            "parked until the CA has seen it: ask again, in a minute or later",
        ),
        Ok(Some(Answer::Certificate(pem))) => {
            let body = pem.as_bytes().to_vec();
            Reply { status: 200, outcome: "answered", kind: CHAIN, body }
        }
        Ok(Some(Answer::Refused(why))) => {
            Reply::text(409, "refused", &format!("the CA refuses: {why}"))
        }
        Err(error) => {
            let (status, outcome) = match error {
                AskError::Request(RequestError::TooLarge) => (413, "too_large"),
                AskError::Request(_) => (422, "unreadable"),
                AskError::Another { .. } => (403, "forbidden"),
                AskError::Full => (503, "busy"),
            };
            Reply::text(status, outcome, &error.to_string())
        }
    }
}

/// `GET /v1/renewals`
pub fn waiting(parked: &Parked) -> Reply {
    let waiting: Vec<Value> = parked
        .waiting()
        .into_iter()
        .filter_map(|(principal, request)| {
            // It was read when it was parked.
            let request: Value = serde_json::from_slice(request).ok()?;
            Some(json!({ "principal": principal.to_string(), "request": request }))
        })
        .collect();
    let page = json!({ "waiting": waiting });
    Reply { status: 200, outcome: "fetched", kind: JSON, body: page.to_string().into_bytes() }
}

/// `POST /v1/renewals`
pub fn answer(parked: &mut Parked, now: Duration, body: &[u8]) -> Reply {
    if body.len() > LONGEST_SAYING {
        return Reply::text(413, "too_large", &format!("expected at most {LONGEST_SAYING} octets"));
    }
    let saying: Saying = match serde_json::from_slice(body) {
        Ok(saying) => saying,
        Err(error) => return Reply::text(422, "unreadable", &error.to_string()),
    };
    let (principal, answer) = match saying {
        Saying::Certificate { principal, certificate } => {
            (principal, Answer::Certificate(certificate.into()))
        }
        Saying::Refused { principal, refused } => (principal, Answer::Refused(refused.into())),
    };
    let principal: Principal = match principal.parse() {
        Ok(principal) => principal,
        Err(error) => return Reply::text(422, "unreadable", &error.to_string()),
    };
    match parked.answer(now, &principal, answer) {
        Ok(()) => Reply { status: 204, outcome: "brought", kind: TEXT, body: vec![] },
        Err(error) => {
            let (status, outcome) = match error {
                AnswerError::NotWaiting(_) => (404, "superseded"),
                AnswerError::TooLarge => (413, "too_large"),
                AnswerError::Unreadable(_) => (422, "unreadable"),
                AnswerError::OtherKey(_) => (409, "superseded"),
            };
            Reply::text(status, outcome, &error.to_string())
        }
    }
}

impl Reply {
    fn text(status: u16, outcome: &'static str, text: &str) -> Reply {
        Reply { status, outcome, kind: TEXT, body: format!("{text}\n").into_bytes() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn daemons_ask_for_themselves_and_the_ca_alone_sees_what_waits() {
        let us: Principal = "gslb://test/dns/dns1".parse().unwrap();
        let check = |peer: &str, expected: [bool; 2]| {
            let peer: Principal = peer.parse().unwrap();
            assert_eq!([RENEW, RENEWALS].map(|path| may(&us, &peer, path)), expected, "{peer}");
        };
        check("gslb://test/probe/ams", [true, false]);
        check("gslb://test/agent/fra", [true, false]);
        check("gslb://test/dns/dns2", [true, false]);
        check("gslb://test/ca/pki", [false, true]);
        check("gslb://other/probe/ams", [false, false]);
        check("gslb://other/ca/pki", [false, false]);
    }

    #[test]
    fn what_makes_no_sense_is_answered() {
        let mut parked = Parked::default();
        let peer: Principal = "gslb://test/probe/ams".parse().unwrap();
        let mut check = |body: &str, of_daemon: u16, of_ca: u16| {
            let reply = ask(&mut parked, Duration::ZERO, &peer, body.as_bytes());
            assert_eq!(reply.status, of_daemon, "{body}");
            assert_eq!(
                answer(&mut parked, Duration::ZERO, body.as_bytes()).status,
                of_ca,
                "{body}"
            );
        };
        check("", 422, 422);
        check("{}", 422, 422);
        check(r#"{"principal": "gslb://test/probe/ams"}"#, 422, 422);
        check(r#"{"principal": "ams", "refused": "why"}"#, 422, 422);
        check(r#"{"principal": "gslb://test/probe/ams", "refused": "why"}"#, 422, 404);
        check(&" ".repeat(LONGEST_REQUEST), 422, 422);
        check(&" ".repeat(LONGEST_REQUEST + 1), 413, 422);
        check(&" ".repeat(LONGEST_SAYING + 1), 413, 413);
        assert_eq!(waiting(&parked).body, br#"{"waiting":[]}"#);
    }
}
