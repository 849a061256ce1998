//! What an agent says of its site: each VIP and port that it serves, and what its clients ask of them.
//!
//! Always whole: what a report does not name is not there.

use std::collections::HashSet;
use std::fmt;
use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

use super::entry::words;
use super::{Digest, EntryHash, Unreadable};

/// VIPs in one report, each port counted: a site of a hundred addresses with ten ports each.
pub const MOST_VIPS: usize = 1024;
/// Shares of demand in one report: forty VIPs with five hundred groups of clients each.
pub const MOST_DEMANDS: usize = 20_000;
/// Octets of a demand group's name.
pub const LONGEST_GROUP: usize = 63;
/// Requests a second: more than all of them that are asked on earth, and small enough to be added up.
pub const MOST_PER_SECOND: f64 = 1e12;

/// The body of an agent's report.
#[derive(Debug)]
pub struct SiteSaid<'r> {
    pub site: String,
    pub vips: Vec<VipSaid<'r>>,
    pub demand: Vec<Demand>,
}

/// What an agent says of one VIP and port.
#[derive(Debug)]
pub struct VipSaid<'r> {
    pub vip: Vip,
    /// As it came, for the digest.
    pub octets: &'r str,
}

/// One VIP and port, as one box of the site has it.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Vip {
    pub addr: IpAddr,
    pub port: u16,
    pub state: State,
    /// When the state began, in milliseconds on the producer's clock.
    #[serde(default)]
    pub since: u64,
    /// Changes of the state in the last hour.
    #[serde(default)]
    pub flaps: u32,
    /// What its healthy backends can take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capacity: Option<Rate>,
    /// What it is asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub load: Option<Rate>,
    /// What it would like to be asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offer: Option<Rate>,
    #[serde(default)]
    pub backends_up: u32,
    #[serde(default)]
    pub backends: u32,
    /// Where the VIP moves between boxes; absent where each box has it for itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vrrp: Option<Vrrp>,
}

/// Of the virtual router (RFC 9568) that has the VIP.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Vrrp {
    pub vrid: u8,
    pub role: Role,
    /// When the role began, in milliseconds on the producer's clock.
    #[serde(default)]
    pub since: u64,
}

/// What one group of clients asks of a VIP.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Demand {
    pub vip: IpAddr,
    pub group: String,
    pub rps: Rate,
}

/// Requests a second: 0 to `MOST_PER_SECOND`.
#[derive(Clone, Copy, Debug, Default, PartialEq, PartialOrd)]
pub struct Rate(f64);

words! {
    /// What a box makes of a VIP and port. A word of some later version is `None`: no evidence.
    State, others are None {
        /// It answers there.
        Serving = "serving",
        /// It answers there, and has nothing to serve: no backend is up.
        Empty = "empty",
        /// An operator wants no clients there.
        Drained = "drained",
        /// The agent cannot say.
        None = "none",
    }
}

words! {
    /// The state of a virtual router (RFC 9568 §6.4). A word of some later version is `Other`: it has no VIP.
    Role, others are Other {
        Initialize = "initialize",
        Backup = "backup",
        /// It has the VIP.
        Active = "active",
        Other = "other",
    }
}

/// A body as it is written.
#[derive(Deserialize, Serialize)]
struct Written<'r> {
    site: String,
    #[serde(borrow)]
    vips: Vec<&'r RawValue>,
    #[serde(borrow, default)]
    demand: Vec<&'r RawValue>,
}

impl<'r> SiteSaid<'r> {
    /// Reads a body, within whose octets and depth the report's bounds are held already.
    pub(super) fn read(body: &'r RawValue) -> Result<SiteSaid<'r>, Unreadable> {
        let malformed = |error: serde_json::Error| Unreadable::Malformed(error.to_string());
        let Written { site, vips: entries, demand: shares } =
            serde_json::from_str(body.get()).map_err(malformed)?;
        if entries.len() > MOST_VIPS {
            return Err(Unreadable::TooManyVips(entries.len()));
        }
        if shares.len() > MOST_DEMANDS {
            return Err(Unreadable::TooManyDemands(shares.len()));
        }
        let mut seen = HashSet::with_capacity(entries.len());
        let mut vips = Vec::with_capacity(entries.len());
        for octets in entries {
            let vip: Vip = serde_json::from_str(octets.get()).map_err(malformed)?;
            if !seen.insert(vip.at()) {
                return Err(Unreadable::VipTwice(vip.at()));
            }
            vips.push(VipSaid { vip, octets: octets.get() });
        }
        let mut demand: Vec<Demand> = Vec::with_capacity(shares.len());
        for octets in shares {
            let share: Demand = serde_json::from_str(octets.get()).map_err(malformed)?;
            let is_name = (1..=LONGEST_GROUP).contains(&share.group.len())
                && !share.group.contains(char::is_control);
            if !is_name {
                let message = format!(
                    "demand: a group has a name of 1 to {LONGEST_GROUP} octets, without control characters"
                );
                return Err(Unreadable::Malformed(message));
            }
            demand.push(share);
        }
        let mut seen = HashSet::with_capacity(demand.len());
        if let Some(twice) = demand.iter().find(|share| !seen.insert((share.vip, &share.group))) {
            return Err(Unreadable::DemandTwice(twice.vip, twice.group.clone()));
        }
        Ok(SiteSaid { site, vips, demand })
    }
}

/// The body of an agent's report, and the digest that its head has.
pub fn write(site: &str, vips: &[Vip], demand: &[Demand]) -> (Box<RawValue>, Digest) {
    let raw =
        |value: serde_json::Result<Box<RawValue>>| value.expect("numbers and strings are JSON");
    let vips: Vec<_> = vips.iter().map(|vip| raw(serde_json::value::to_raw_value(vip))).collect();
    let demand: Vec<_> =
        demand.iter().map(|share| raw(serde_json::value::to_raw_value(share))).collect();
    let mut digest = Digest::default();
    for vip in &vips {
        digest.add(EntryHash::of(vip.get()));
    }
    let written = Written {
        site: site.to_owned(),
        vips: vips.iter().map(|vip| &**vip).collect(),
        demand: demand.iter().map(|share| &**share).collect(),
    };
    (raw(serde_json::value::to_raw_value(&written)), digest)
}

impl Vip {
    /// What no two entries of a report share.
    pub fn at(&self) -> SocketAddr {
        SocketAddr::new(self.addr, self.port)
    }
}

impl Rate {
    /// `None` for what is no number, negative, or more than `MOST_PER_SECOND`.
    pub fn new(per_second: f64) -> Option<Rate> {
        // Negative zero is zero.
        (0.0..=MOST_PER_SECOND).contains(&per_second).then_some(Rate(per_second.abs()))
    }

    pub fn per_second(self) -> f64 {
        self.0
    }
}

impl Serialize for Rate {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(self.0)
    }
}

impl<'de> Deserialize<'de> for Rate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Rate, D::Error> {
        let per_second = f64::deserialize(deserializer)?;
        Rate::new(per_second).ok_or_else(|| {
            serde::de::Error::custom(format!(
                "{per_second} is no rate, expected 0 to {MOST_PER_SECOND:e} requests a second"
            ))
        })
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
#[path = "agent_tests.rs"]
mod tests;
