//! What a producer (a probe, an agent) tells a name server, as JSON, and the bounds within which it is read.
//!
//! A producer alone says what it saw, in the order of its marks; nobody merges. Every report is absolute in what
//! it says, so one that is lost costs an interval and one that is repeated costs nothing.

pub mod agent;
mod beat;
mod bounds;
mod digest;
mod entry;
mod teller;

use std::collections::HashSet;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use self::agent::{MOST_DEMANDS, MOST_VIPS, SiteSaid};
pub use self::beat::{Beat, Heard, LONGEST_PAUSE, Reply, SHORTEST_PAUSE};
pub use self::digest::{Digest, EntryHash};
pub use self::entry::{Entry, LONGEST_DETAIL, Phases, Reason, State};
pub use self::teller::{Outgoing, Teller, Told};

use crate::hex;
use crate::principal::Kind;
use crate::target::TargetId;

pub const VERSION: u8 = 1;
/// Octets of a report.
pub const LARGEST: usize = 8 << 20;
/// Lists and objects within each other.
pub const DEEPEST: usize = 16;
pub const MOST_TARGETS: usize = 20_000;
/// However long a producer says that its report holds.
pub const LONGEST_LEASE: Duration = Duration::from_secs(30);

/// Where a report stands among those of its producer: by incarnation, then by number.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub struct Mark {
    /// Counts the starts of a producer, and whatever else made it begin anew.
    pub inc: u64,
    pub seq: u64,
}

/// One run of a producer's process: 128 random bits.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Boot(#[serde(with = "hex")] pub [u8; 16]);

/// Everything of a report but what it is about.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Head {
    pub cluster: String,
    pub producer: String,
    pub kind: Kind,
    pub boot: Boot,
    pub mark: Mark,
    /// What it adds to; `None` for a whole report.
    pub base: Option<Mark>,
    /// On the producer's monotonic clock, as all its times.
    pub now: Duration,
    /// Of everything that the producer has to say, with what this report changes.
    pub digest: Digest,
    /// For how long it holds, before `LONGEST_LEASE`.
    pub valid: Duration,
    pub own: Own,
}

/// What a producer says of itself.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Own {
    /// Why nothing that it sees is to be believed; absent while it sees.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blind: Option<String>,
    /// Reference targets that answer, and all of them.
    #[serde(default)]
    pub references_up: u16,
    #[serde(default)]
    pub references: u16,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub version: String,
}

/// A report as it came.
#[derive(Debug)]
pub struct Report<'r> {
    pub head: Head,
    pub body: Body<'r>,
}

#[derive(Debug)]
pub enum Body<'r> {
    /// Changed targets only, unless the report is whole.
    Probe(Vec<Said<'r>>),
    /// Of a report that is always whole.
    Agent(SiteSaid<'r>),
}

/// What a probe says of one target.
#[derive(Debug)]
pub struct Said<'r> {
    pub entry: Entry,
    /// As it came, for the digest.
    pub octets: &'r str,
}

/// Why a report is not read.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Unreadable {
    #[error("{0} octets, expected at most {LARGEST}")]
    TooLarge(usize),
    #[error("more than {DEEPEST} lists and objects within each other")]
    TooDeep,
    #[error("{0} targets, expected at most {MOST_TARGETS}")]
    TooManyTargets(usize),
    #[error("target {0} stands in it twice")]
    Twice(TargetId),
    #[error("{0} VIPs, expected at most {MOST_VIPS}")]
    TooManyVips(usize),
    #[error("{0} shares of demand, expected at most {MOST_DEMANDS}")]
    TooManyDemands(usize),
    #[error("VIP {0} stands in it twice")]
    VipTwice(SocketAddr),
    #[error("what group {1:?} asks of VIP {0} stands in it twice")]
    DemandTwice(IpAddr, String),
    #[error("an agent's report is always whole: its base is null")]
    NotWhole,
    #[error("version {0}, expected {VERSION}")]
    Version(u64),
    #[error("not a report: {0}")]
    Malformed(String),
}

/// The keys of a report, in the order in which they are written.
#[derive(Deserialize, Serialize)]
struct Written<'r> {
    v: u64,
    cluster: String,
    producer: String,
    kind: Kind,
    boot: Boot,
    inc: u64,
    seq: u64,
    #[serde(default)]
    base: Option<Mark>,
    /// Milliseconds.
    now: u64,
    digest: Digest,
    valid_ms: u64,
    #[serde(rename = "self")]
    own: Own,
    #[serde(borrow)]
    body: &'r RawValue,
}

impl<'r> Report<'r> {
    /// Reads a report; what it takes is bounded by its octets, which are bounded first.
    pub fn read(octets: &'r [u8]) -> Result<Report<'r>, Unreadable> {
        if octets.len() > LARGEST {
            return Err(Unreadable::TooLarge(octets.len()));
        }
        if bounds::is_deeper(octets, DEEPEST) {
            return Err(Unreadable::TooDeep);
        }
        let malformed = |error: serde_json::Error| Unreadable::Malformed(error.to_string());
        // All of it: the parser skips what it does not know without reading it as text (RFC 8259 §8.1 wants UTF-8).
        let text = std::str::from_utf8(octets).map_err(|error| {
            Unreadable::Malformed(format!("octet {} is not UTF-8", error.valid_up_to()))
        })?;
        let written: Written<'_> = serde_json::from_str(text).map_err(malformed)?;
        let Written {
            v,
            cluster,
            producer,
            kind,
            boot,
            inc,
            seq,
            base,
            now,
            digest,
            valid_ms,
            own,
            body,
        } = written;
        if v != u64::from(VERSION) {
            return Err(Unreadable::Version(v));
        }
        let head = Head {
            cluster,
            producer,
            kind,
            boot,
            mark: Mark { inc, seq },
            base,
            now: Duration::from_millis(now),
            digest,
            valid: Duration::from_millis(valid_ms).min(LONGEST_LEASE),
            own,
        };
        let body = match kind {
            Kind::Probe => Body::Probe(said(body)?),
            Kind::Agent if base.is_some() => return Err(Unreadable::NotWhole),
            Kind::Agent => Body::Agent(SiteSaid::read(body)?),
            Kind::Ca | Kind::Dns => {
                let who = if kind == Kind::Dns { "a name server" } else { "a CA" };
                return Err(Unreadable::Malformed(format!("{who} tells nobody what it saw")));
            }
        };
        Ok(Report { head, body })
    }
}

fn said(body: &RawValue) -> Result<Vec<Said<'_>>, Unreadable> {
    let malformed = |error: serde_json::Error| Unreadable::Malformed(error.to_string());
    let entries: Vec<&RawValue> = serde_json::from_str(body.get()).map_err(malformed)?;
    if entries.len() > MOST_TARGETS {
        return Err(Unreadable::TooManyTargets(entries.len()));
    }
    let mut seen = HashSet::with_capacity(entries.len());
    let read = |octets: &'_ RawValue| -> Result<Entry, Unreadable> {
        let entry: Entry = serde_json::from_str(octets.get()).map_err(malformed)?;
        Ok(entry)
    };
    let mut said = Vec::with_capacity(entries.len());
    for octets in entries {
        let entry = read(octets)?;
        if !seen.insert(entry.target) {
            return Err(Unreadable::Twice(entry.target));
        }
        said.push(Said { entry, octets: octets.get() });
    }
    Ok(said)
}

impl Head {
    /// The report's octets; `body` is JSON.
    pub fn write(&self, body: &RawValue) -> Vec<u8> {
        let Head { cluster, producer, kind, boot, mark, base, now, digest, valid, own } =
            self.clone();
        let milliseconds = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let written = Written {
            v: VERSION.into(),
            cluster,
            producer,
            kind,
            boot,
            inc: mark.inc,
            seq: mark.seq,
            base,
            now: milliseconds(now),
            digest,
            valid_ms: milliseconds(valid),
            own,
            body,
        };
        serde_json::to_vec(&written).expect("numbers and strings are JSON")
    }
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.inc, self.seq)
    }
}

impl fmt::Display for Boot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hex::write(&self.0, f)
    }
}

#[cfg(test)]
mod tests;
