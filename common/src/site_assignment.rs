//! What a name server asks of an agent: the VIPs of its site, and at which ports they are checked. The answer to
//! `GET /v1/assignment`.

use std::collections::BTreeSet;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::report::agent::MOST_VIPS;

/// Octets of an assignment: as many VIPs as are told of, and their ports.
pub const LARGEST: usize = 1 << 20;

#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct SiteAssignment {
    /// Of the world that it is made of.
    pub epoch: String,
    pub site: String,
    pub vips: Vec<Vip>,
}

#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Vip {
    pub addr: IpAddr,
    /// That services check there.
    pub ports: BTreeSet<u16>,
}

/// Why an assignment is not read.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Unreadable {
    #[error("{0} octets, expected at most {LARGEST}")]
    TooLarge(usize),
    #[error("{0} VIPs and ports, expected at most {MOST_VIPS}")]
    TooManyVips(usize),
    #[error("not an assignment: {0}")]
    Malformed(String),
}

impl SiteAssignment {
    /// The octets of it.
    pub fn write(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("numbers, strings and lists are JSON")
    }

    pub fn read(octets: &[u8]) -> Result<SiteAssignment, Unreadable> {
        if octets.len() > LARGEST {
            return Err(Unreadable::TooLarge(octets.len()));
        }
        let read: SiteAssignment = serde_json::from_slice(octets)
            .map_err(|error| Unreadable::Malformed(error.to_string()))?;
        let count: usize = read.vips.iter().map(|vip| vip.ports.len().max(1)).sum();
        if count > MOST_VIPS {
            return Err(Unreadable::TooManyVips(count));
        }
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(ports: u16) -> SiteAssignment {
        let vip = Vip { addr: [192, 0, 2, 1].into(), ports: (0..ports).collect() };
        SiteAssignment { epoch: "e1".into(), site: "fra".into(), vips: vec![vip] }
    }

    #[test]
    fn what_is_written_is_read() {
        let whole = of(2);
        let octets = whole.write();
        let expected = r#"{"epoch":"e1","site":"fra","vips":[{"addr":"192.0.2.1","ports":[0,1]}]}"#;
        assert_eq!(String::from_utf8(octets.clone()).unwrap(), expected);
        assert_eq!(SiteAssignment::read(&octets), Ok(whole));
        // What a later version adds is of no concern.
        let later = r#"{"epoch":"e1","site":"fra","vips":[],"groups":[1]}"#;
        assert!(SiteAssignment::read(later.as_bytes()).is_ok());
    }

    #[test]
    fn every_bound_is_held() {
        let most = u16::try_from(MOST_VIPS).unwrap();
        assert!(SiteAssignment::read(&of(most).write()).is_ok());
        let error = SiteAssignment::read(&of(most + 1).write());
        assert_eq!(error, Err(Unreadable::TooManyVips(MOST_VIPS + 1)));
        let mut octets = of(1).write();
        octets.resize(LARGEST, b' ');
        assert!(SiteAssignment::read(&octets).is_ok());
        octets.push(b' ');
        assert_eq!(SiteAssignment::read(&octets), Err(Unreadable::TooLarge(LARGEST + 1)));
        let error = SiteAssignment::read(br#"{"epoch":"e1"}"#).unwrap_err();
        assert!(matches!(error, Unreadable::Malformed(_)), "{error}");
    }
}
