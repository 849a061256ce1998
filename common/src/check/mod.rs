//! What is done to find out whether an address serves, and what is expected of it.
//!
//! Written by operators in `world.toml`, carried to probes by assignment. A check is its content: two name servers
//! that ask the same of the same address mean the same target. Numbers are checked where a check is read, here or
//! from a file: what is a `Check` can be done.

mod expect;
mod words;

use std::num::NonZeroU16;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use self::expect::{HeaderExpect, MOST_RANGES, Search, StatusRange, Statuses, Text};
pub use self::words::{KindWord, UsualPort};

use crate::streak::Thresholds;

/// Time that a check may take at most.
pub const LONGEST_TIMEOUT: Duration = Duration::from_secs(60);
pub const SHORTEST_INTERVAL: Duration = Duration::from_millis(100);
pub const LONGEST_INTERVAL: Duration = Duration::from_secs(3600);
/// Octets of a path, a header, a name, a text to send or one to look for.
pub const LONGEST_TEXT: usize = 1024;
/// Headers that a request may have of its own, and that may be expected.
pub const MOST_HEADERS: usize = 16;

/// One way of looking, and how many looks make a state.
#[derive(Clone, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub struct Check {
    #[serde(flatten)]
    pub kind: Kind,
    #[serde(flatten)]
    pub timing: Timing,
}

#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub struct Timing {
    interval_ms: u32,
    timeout_ms: u32,
    rise: NonZeroU16,
    fall: NonZeroU16,
    ok: NonZeroU16,
}

/// The tags are the words of `kind = "..."`.
#[derive(Clone, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Kind {
    /// A connection, and a word and its answer if any is given.
    Tcp(Tcp),
    /// A handshake.
    Tls(Tls),
    Http(Http),
    Https(Https),
    Dns(Dns),
    /// An echo (RFC 792, RFC 4443).
    Icmp,
    /// `grpc.health.v1.Health/Check`.
    Grpc(Grpc),
    /// The same within TLS.
    Grpcs(Grpcs),
    /// A program that the probe's own config names.
    External(External),
}

#[derive(Clone, Debug, Default, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub struct Tcp {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub send: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expect: Option<Text>,
}

/// What is asked of a server's certificate.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verify {
    /// That a root that the probe trusts vouches for it, now and for this host.
    #[default]
    Full,
    /// Nothing: its days are told all the same.
    Nothing,
}

#[derive(Clone, Debug, Default, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub struct Tls {
    #[serde(default)]
    pub verify: Verify,
}

#[derive(Clone, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub struct Http {
    #[serde(default)]
    pub version: Version,
    #[serde(default)]
    pub method: Method,
    pub path: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<(String, String)>,
    #[serde(default)]
    pub status: Statuses,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub expect_headers: Vec<HeaderExpect>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expect_body: Option<Text>,
}

#[derive(Clone, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub struct Https {
    #[serde(flatten)]
    pub http: Http,
    #[serde(flatten)]
    pub tls: Tls,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub enum Version {
    /// HTTP/1.1; within TLS what ALPN comes to.
    #[default]
    #[serde(rename = "any")]
    Any,
    #[serde(rename = "1.1")]
    V1,
    /// By prior knowledge where there is no TLS (RFC 9113 §3.3).
    #[serde(rename = "2")]
    V2,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Method {
    #[default]
    Get,
    Head,
    Options,
}

#[derive(Clone, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub struct Dns {
    pub name: String,
    /// As in master files: `A`, `SOA`, `TYPE65`.
    pub rtype: String,
    /// What one of the answer's records must be, as in master files; any NOERROR answer if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expect: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub struct Grpc {
    /// As the server registered it; empty for the server as a whole.
    #[serde(default)]
    pub service: String,
}

#[derive(Clone, Debug, Default, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub struct Grpcs {
    #[serde(flatten)]
    pub grpc: Grpc,
    #[serde(flatten)]
    pub tls: Tls,
}

#[derive(Clone, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub struct External {
    /// A name that each probe's own config gives a command: no name server can have one run that its probe's
    /// operator did not write down.
    pub program: String,
}

/// Why a check cannot be done; the text says what was found and what was expected.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{key}: {fault}")]
pub struct Unfit {
    /// As it is written in `world.toml`.
    pub key: &'static str,
    pub fault: String,
}

impl Check {
    /// Everything that keeps it from being done; empty for a sound one.
    pub fn faults(&self) -> Vec<Unfit> {
        let mut faults = self.timing.faults();
        match &self.kind {
            Kind::Tcp(Tcp { send, expect }) => {
                faults.extend(send.as_ref().and_then(|text| too_long("send", text)));
                faults.extend(expect.as_ref().and_then(|text| unsearchable("expect", text)));
            }
            Kind::Tls(Tls { verify: _ }) | Kind::Icmp => {}
            Kind::Http(http) | Kind::Https(Https { http, tls: _ }) => http.faults(&mut faults),
            Kind::Dns(Dns { name, rtype, expect }) => {
                faults.extend(too_long("name", name).or_else(|| empty("name", name)));
                faults.extend(too_long("type", rtype).or_else(|| empty("type", rtype)));
                faults.extend(expect.as_ref().and_then(|text| too_long("expect", text)));
            }
            Kind::Grpc(grpc) | Kind::Grpcs(Grpcs { grpc, tls: _ }) => {
                faults.extend(too_long("service", &grpc.service));
            }
            Kind::External(External { program }) => {
                faults.extend(too_long("program", program).or_else(|| empty("program", program)));
            }
        }
        faults
    }
}

impl Kind {
    pub fn word(&self) -> KindWord {
        match self {
            Kind::Tcp(_) => KindWord::Tcp,
            Kind::Tls(_) => KindWord::Tls,
            Kind::Http(_) => KindWord::Http,
            Kind::Https(_) => KindWord::Https,
            Kind::Dns(_) => KindWord::Dns,
            Kind::Icmp => KindWord::Icmp,
            Kind::Grpc(_) => KindWord::Grpc,
            Kind::Grpcs(_) => KindWord::Grpcs,
            Kind::External(_) => KindWord::External,
        }
    }
}

impl Timing {
    pub fn new(interval: Duration, timeout: Duration, thresholds: Thresholds) -> Timing {
        // What is too long for a number here is too long for a check: told as that.
        let milliseconds = |time: Duration| u32::try_from(time.as_millis()).unwrap_or(u32::MAX);
        let Thresholds { rise, fall, ok } = thresholds;
        Timing {
            interval_ms: milliseconds(interval),
            timeout_ms: milliseconds(timeout),
            rise,
            fall,
            ok,
        }
    }

    pub fn interval(&self) -> Duration {
        Duration::from_millis(self.interval_ms.into())
    }

    pub fn timeout(&self) -> Duration {
        Duration::from_millis(self.timeout_ms.into())
    }

    pub fn thresholds(&self) -> Thresholds {
        Thresholds { rise: self.rise, fall: self.fall, ok: self.ok }
    }

    fn faults(&self) -> Vec<Unfit> {
        let mut faults = Vec::new();
        let (interval, timeout) = (self.interval(), self.timeout());
        if !(SHORTEST_INTERVAL..=LONGEST_INTERVAL).contains(&interval) {
            let fault = format!(
                "{interval:?} is not within {SHORTEST_INTERVAL:?} and {LONGEST_INTERVAL:?}"
            );
            faults.push(Unfit { key: "interval", fault });
        }
        if timeout.is_zero() || timeout > LONGEST_TIMEOUT {
            let fault = format!("{timeout:?} is not within 1ms and {LONGEST_TIMEOUT:?}");
            faults.push(Unfit { key: "timeout", fault });
        } else if timeout >= interval {
            // Two looks at a time at one address would tell of two states.
            let fault = format!("{timeout:?} is not shorter than interval {interval:?}");
            faults.push(Unfit { key: "timeout", fault });
        }
        faults
    }
}

impl Http {
    fn faults(&self, faults: &mut Vec<Unfit>) {
        let Http { version: _, method, path, headers, status, expect_headers, expect_body } = self;
        faults.extend(too_long("path", path));
        let is_sendable = |octet: u8| octet.is_ascii_graphic() && octet != b'#';
        if !path.starts_with('/') || !path.bytes().all(is_sendable) {
            let fault = format!("{path:?} is no path such as \"/healthz\" (other octets as %20)");
            faults.push(Unfit { key: "path", fault });
        }
        if status.0.is_empty() || status.0.len() > MOST_RANGES {
            let fault = format!("found {} ranges, expected 1 to {MOST_RANGES}", status.0.len());
            faults.push(Unfit { key: "expect.status", fault });
        }
        if headers.len() > MOST_HEADERS {
            faults.push(too_many("headers", headers.len()));
        }
        for (name, value) in headers {
            faults.extend(no_header_name("headers", name));
            faults.extend(too_long("headers", value));
            if value.bytes().any(|octet| octet.is_ascii_control()) {
                let fault = format!("{value:?} is no header's value");
                faults.push(Unfit { key: "headers", fault });
            }
        }
        if expect_headers.len() > MOST_HEADERS {
            faults.push(too_many("expect.headers", expect_headers.len()));
        }
        for HeaderExpect { name, value } in expect_headers {
            faults.extend(no_header_name("expect.headers", name));
            faults.extend(value.as_ref().and_then(|text| unsearchable("expect.headers", text)));
        }
        faults.extend(expect_body.as_ref().and_then(|text| unsearchable("expect.body", text)));
        if *method == Method::Head && expect_body.is_some() {
            let fault = "an answer to HEAD has no body; use GET".to_owned();
            faults.push(Unfit { key: "expect.body", fault });
        }
    }
}

fn too_long(key: &'static str, text: &str) -> Option<Unfit> {
    let fault = || format!("{} octets, expected at most {LONGEST_TEXT}", text.len());
    (text.len() > LONGEST_TEXT).then(|| Unfit { key, fault: fault() })
}

fn too_many(key: &'static str, count: usize) -> Unfit {
    Unfit { key, fault: format!("found {count}, expected at most {MOST_HEADERS}") }
}

fn empty(key: &'static str, text: &str) -> Option<Unfit> {
    text.is_empty().then(|| Unfit { key, fault: "empty".to_owned() })
}

fn unsearchable(key: &'static str, text: &Text) -> Option<Unfit> {
    let fault = || text.search().err().map(|fault| Unfit { key, fault });
    too_long(key, text.as_str()).or_else(fault)
}

/// RFC 9110 §5.1: a token.
fn no_header_name(key: &'static str, name: &str) -> Option<Unfit> {
    let is_token = |octet: u8| octet.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&octet);
    let is_name = !name.is_empty() && name.len() <= LONGEST_TEXT && name.bytes().all(is_token);
    (!is_name).then(|| Unfit { key, fault: format!("{name:?} is no header's name") })
}
