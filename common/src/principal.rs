//! Who a certificate says its holder is: `gslb://<cluster>/<kind>/<name>`, a URI among its subject alternative
//! names (RFC 5280 §4.2.1.6), as SPIFFE has it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Octets of a cluster's name and of a daemon's.
pub const LONGEST_NAME: usize = 63;
const SCHEME: &str = "gslb://";

/// Who may speak, and as what.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Principal {
    pub cluster: Box<str>,
    pub kind: Kind,
    pub name: Box<str>,
}

#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// The CA itself, when it brings name servers what they wait for. No daemon is ever given such a certificate.
    Ca,
    /// A name server.
    Dns,
    Probe,
    /// Of a site.
    Agent,
}

#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum PrincipalError {
    #[error("{0:?} is not gslb://CLUSTER/KIND/NAME, where KIND is ca, dns, probe or agent")]
    Form(String),
    #[error(transparent)]
    Name(#[from] NameError),
}

#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "{0:?} is no name here: 1 to {LONGEST_NAME} of the letters a to z, digits, -, . and _, the first a letter or digit"
)]
pub struct NameError(String);

impl Principal {
    /// Refuses names that cannot stand in it.
    pub fn new(cluster: &str, kind: Kind, name: &str) -> Result<Principal, NameError> {
        for word in [cluster, name] {
            if !is_name(word) {
                return Err(NameError(word.to_owned()));
            }
        }
        Ok(Principal { cluster: cluster.into(), kind, name: name.into() })
    }
}

/// One spelling for each: whoever compares them compares octets.
fn is_name(word: &str) -> bool {
    let is_plain = |octet: u8| octet.is_ascii_lowercase() || octet.is_ascii_digit();
    (1..=LONGEST_NAME).contains(&word.len())
        && is_plain(word.as_bytes()[0])
        && word.bytes().all(|octet| is_plain(octet) || matches!(octet, b'-' | b'.' | b'_'))
}

impl Kind {
    pub const ALL: [Kind; 4] = [Kind::Ca, Kind::Dns, Kind::Probe, Kind::Agent];

    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Ca => "ca",
            Kind::Dns => "dns",
            Kind::Probe => "probe",
            Kind::Agent => "agent",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}{}/{}/{}", self.cluster, self.kind, self.name)
    }
}

impl FromStr for Principal {
    type Err = PrincipalError;

    fn from_str(uri: &str) -> Result<Principal, PrincipalError> {
        let refused = || PrincipalError::Form(uri.to_owned());
        let mut words = uri.strip_prefix(SCHEME).ok_or_else(refused)?.split('/');
        let (Some(cluster), Some(kind), Some(name), None) =
            (words.next(), words.next(), words.next(), words.next())
        else {
            return Err(refused());
        };
        let kind = Kind::ALL.into_iter().find(|one| one.as_str() == kind).ok_or_else(refused)?;
        Ok(Principal::new(cluster, kind, name)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_principal_is_its_uri() {
        for uri in [
            "gslb://example/probe/ams",
            "gslb://a/dns/ns1.example.net",
            "gslb://9/agent/fra_a",
            "gslb://a/ca/pki",
        ] {
            assert_eq!(uri.parse::<Principal>().unwrap().to_string(), uri);
        }
    }

    #[test]
    fn nothing_else_is_one() {
        let long = format!("gslb://example/probe/{}", "a".repeat(LONGEST_NAME));
        assert!(long.parse::<Principal>().is_ok());
        for uri in [
            "",
            "gslb://",
            "gslb://example/probe",
            "gslb://example/probe/",
            "gslb:///probe/ams",
            "gslb://example/probe/ams/",
            "gslb://example/probe/ams/x",
            "gslb://example/prober/ams",
            "gslb://example/Probe/ams",
            "gslb://Example/probe/ams",
            "gslb://example/probe/Ams",
            "gslb://example/probe/a ms",
            "gslb://example/probe/%61ms",
            "gslb://example/probe/-ams",
            "gslb://example:1/probe/ams",
            "GSLB://example/probe/ams",
            "spiffe://example/probe/ams",
            &format!("{long}a"),
        ] {
            assert!(uri.parse::<Principal>().is_err(), "{uri}");
        }
    }
}
