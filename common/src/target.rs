//! One address looked at in one way, and the id by which reports speak of it.
//!
//! The id is a hash of what is asked, not of where it stands in a config: name servers whose worlds differ
//! elsewhere mean the same target, and keep what they know of it over a reload.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::check::{Check, Unfit, UsualPort};
use crate::hex::{self, NotHex};

/// Keeps these hashes apart from all others. A new version makes all targets new ones.
const DOMAIN: &[u8] = b"gslb target 1\0";
/// Octets of a host's name.
pub const LONGEST_HOST: usize = 253;

/// Where to look.
#[derive(Clone, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Address {
    Ip(IpAddr),
    /// Resolved at each look, by the probe's own resolver.
    Name(String),
}

#[derive(Clone, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub struct Target {
    pub address: Address,
    /// 0 where the kind of check has none.
    pub port: u16,
    /// Server name (RFC 6066 §3) and `Host`.
    pub host: String,
    pub check: Check,
}

#[derive(Clone, Copy, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(transparent)]
pub struct TargetId(#[serde(with = "hex")] pub [u8; 16]);

impl Target {
    pub fn id(&self) -> TargetId {
        let content = serde_json::to_vec(self).expect("numbers, strings and lists are JSON");
        let whole: [u8; 32] =
            Sha256::new().chain_update(DOMAIN).chain_update(content).finalize().into();
        TargetId(*whole.first_chunk().expect("16 octets stand in 32"))
    }

    /// Everything that keeps it from being looked at; empty for a sound one.
    pub fn faults(&self) -> Vec<Unfit> {
        let mut faults = self.check.faults();
        let is_plain =
            |octet: u8| octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'.' | b'_' | b':');
        if self.host.is_empty()
            || self.host.len() > LONGEST_HOST
            || !self.host.bytes().all(is_plain)
        {
            faults.push(Unfit { key: "host", fault: format!("{:?} is no host's name", self.host) });
        }
        if self.port == 0 && self.check.kind.word().port() != UsualPort::None {
            faults.push(Unfit { key: "port", fault: "0 is no port to look at".to_owned() });
        }
        faults
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Ip(address) => address.fmt(f),
            Address::Name(name) => f.write_str(name),
        }
    }
}

impl fmt::Display for TargetId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hex::write(&self.0, f)
    }
}

impl fmt::Debug for TargetId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TargetId({self})")
    }
}

impl FromStr for TargetId {
    type Err = NotHex;

    fn from_str(text: &str) -> Result<TargetId, NotHex> {
        hex::parse(text).map(TargetId)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(check: &str) -> Target {
        let check = format!(
            r#"{{"address":"192.0.2.1","port":443,"host":"www.example.com","check":{{{check},
               "interval_ms":5000,"timeout_ms":2000,"rise":2,"fall":3,"ok":2}}}}"#
        );
        serde_json::from_str(&check).unwrap()
    }

    /// Every probe and every name server has to come to these, whatever its version.
    #[test]
    fn ids_have_golden_vectors() {
        for (check, id) in [
            (r#""kind":"tcp""#, "356c00596dbc9005936a9aa5140c06bc"),
            (r#""kind":"icmp""#, "7a22409d2671bb192d4979a92bf34a81"),
            (r#""kind":"https","path":"/healthz""#, "31beb9e1c3008b76432ed27a35d3d24c"),
            (
                r#""kind":"http","version":"2","method":"HEAD","path":"/","headers":[["a","b"]],
                  "status":["200-299","404"],"expect_headers":[{"name":"x","value":{"matches":"^1"}}],
                  "expect_body":{"contains":"ok"}"#,
                "36098cd3b6d201c3441a98c66b1a1bc9",
            ),
            (
                r#""kind":"dns","name":"example.com","rtype":"SOA""#,
                "cad962b429572b2969838074c787f9d9",
            ),
            (
                r#""kind":"grpcs","service":"a","verify":"nothing""#,
                "cfa45ca56656bfa248b93a9e175ca22f",
            ),
            (r#""kind":"external","program":"mine""#, "dac7e6966be9faa992e8fec11e941413"),
        ] {
            assert_eq!(target(check).id().to_string(), id, "{check}");
        }
    }

    #[test]
    fn what_is_left_out_and_what_is_not_known_change_no_id() {
        let short = target(r#""kind":"https","path":"/""#);
        let long = target(
            r#""kind":"https","path":"/","version":"any","method":"GET","headers":[],"verify":"full",
               "status":["200-299"],"some_later_key":1"#,
        );
        assert_eq!(short, long);
        assert_eq!(short.id(), long.id());
    }

    #[test]
    fn everything_asked_for_makes_another_target() {
        let base = target(r#""kind":"http","path":"/""#);
        let mut ids = vec![base.id()];
        for change in [
            |target: &mut Target| target.address = Address::Ip("192.0.2.2".parse().unwrap()),
            |target: &mut Target| target.port = 80,
            |target: &mut Target| target.host = "example.com".to_owned(),
        ] {
            let mut other = base.clone();
            change(&mut other);
            ids.push(other.id());
        }
        ids.push(target(r#""kind":"http","path":"/x""#).id());
        ids.push(target(r#""kind":"https","path":"/""#).id());
        let count = ids.len();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), count);
    }

    #[test]
    fn an_id_is_its_digits() {
        let id = target(r#""kind":"tcp""#).id();
        assert_eq!(id.to_string().parse::<TargetId>(), Ok(id));
        for text in ["", "00", "zz", &"0".repeat(31), &"0".repeat(34), &"A".repeat(32)] {
            assert!(text.parse::<TargetId>().is_err(), "{text}");
        }
    }
}
