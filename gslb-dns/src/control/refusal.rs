//! Why a request is not granted, and what whoever asked is told to do.

use std::time::Duration;

use common::report::{LARGEST, MOST_TARGETS};
use hyper::StatusCode;

/// Octets of a text that tells of what a producer sent.
const LONGEST_TEXT: usize = 512;
/// For those who found no room.
const SOON: Duration = Duration::from_secs(1);

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

    /// Whether it stays so until somebody does something.
    pub fn is_for_people(&self) -> bool {
        let passes = matches!(
            self,
            Refusal::TooFast(_)
                | Refusal::AlreadyTelling
                | Refusal::Late
                | Refusal::CutShort
                | Refusal::Busy
        );
        !passes
    }

    /// In how long to ask again.
    pub fn wait(&self) -> Option<Duration> {
        match self {
            Refusal::TooFast(wait) => Some(*wait),
            Refusal::AlreadyTelling | Refusal::Busy => Some(SOON),
            _ => None,
        }
    }

    /// In one line, whatever was sent to us.
    pub fn told(&self) -> (StatusCode, String) {
        let (status, text) = self.words();
        (status, one_line(text))
    }

    fn words(&self) -> (StatusCode, String) {
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
