//! What a CA has issued and taken back. Pure: `directory` keeps it on disk.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use common::principal::{Kind, Principal};
use data_encoding::HEXLOWER;
use jiff::{SignedDuration, Timestamp};
use rustls::pki_types::CertificateDer;
use serde::{Deserialize, Serialize};

use super::PkiError;

/// Certificates at a time: a thousand daemons renewed three times a month, for two years.
pub const MOST_ISSUED: usize = 100_000;
/// How long one that has expired is kept, so that people can look it up.
const KEPT: SignedDuration = SignedDuration::from_hours(365 * 24);
/// How long one that has expired stays on the revocation list: for daemons whose clock is behind.
const LISTED: SignedDuration = SignedDuration::from_hours(7 * 24);
/// How long before its end a list is made anew.
const LIST_LEFT: SignedDuration = SignedDuration::from_hours(15 * 24);
/// Octets of why something was revoked.
pub const LONGEST_WHY: usize = 1024;

/// All that the CA must remember.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Index {
    pub version: u32,
    pub cluster: Box<str>,
    /// The CA's own common name.
    pub ca: Box<str>,
    pub ca_until: Timestamp,
    pub list: List,
    pub issued: Vec<Issued>,
}

pub const VERSION: u32 = 1;

/// Which revocation list is to be the newest.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct List {
    /// Its CRL number (RFC 5280 §5.2.3).
    pub number: u64,
    /// When its successor is due.
    pub until: Timestamp,
    /// Whether it has been written: what comes between is made up for by the next command.
    pub is_written: bool,
}

/// One certificate.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Issued {
    #[serde(with = "as_text")]
    pub serial: Serial,
    #[serde(with = "as_text")]
    pub principal: Principal,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dns_names: Vec<Box<str>>,
    pub from: Timestamp,
    pub until: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked: Option<Revoked>,
}

#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Revoked {
    pub at: Timestamp,
    pub why: Box<str>,
}

/// Sixteen octets of chance, as a positive number (RFC 5280 §4.1.2.2).
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Serial(pub [u8; 16]);

impl Index {
    pub fn add(&mut self, issued: Issued, now: Timestamp) -> Result<(), PkiError> {
        self.issued.retain(|one| now.duration_since(one.until) <= KEPT);
        if self.issued.len() >= MOST_ISSUED {
            return Err(PkiError::Refused(format!(
                "there are {MOST_ISSUED} certificates already; one is forgotten a year after its end: issue for \
                 longer, or make another CA"
            )));
        }
        self.issued.push(issued);
        Ok(())
    }

    /// Takes back every certificate of a daemon that still holds, or the one with a serial number. What `which` means is
    /// `dns1`, `dns/dns1`, the URI, or the number in hexadecimal digits.
    pub fn revoke(
        &mut self,
        which: &str,
        why: &str,
        now: Timestamp,
    ) -> Result<Vec<Serial>, PkiError> {
        let refused = |why: String| Err(PkiError::Refused(why));
        if why.trim().is_empty() || why.len() > LONGEST_WHY {
            return refused(format!(
                "--why is 1 to {LONGEST_WHY} octets, for whoever finds it later"
            ));
        }
        let is_meant = |issued: &Issued| {
            let Principal { kind, name, .. } = &issued.principal;
            which.parse() == Ok(issued.serial)
                || which == &**name
                || which.split_once('/') == Some((kind.as_str(), name))
                || which == issued.principal.to_string()
        };
        let meant: Vec<&Issued> = self.issued.iter().filter(|issued| is_meant(issued)).collect();
        let kinds: BTreeSet<Kind> = meant.iter().map(|issued| issued.principal.kind).collect();
        if kinds.len() > 1 {
            let told: Vec<String> = kinds.iter().map(|kind| format!("{kind}/{which}")).collect();
            return refused(format!(
                "several daemons are named {which}: say {}",
                told.join(" or ")
            ));
        }
        if meant.is_empty() {
            return refused(format!(
                "no certificate of {which} was issued here: see gslb-dns pki list"
            ));
        }
        let mut revoked = vec![];
        for issued in &mut self.issued {
            if is_meant(issued) && issued.until >= now && issued.revoked.is_none() {
                issued.revoked = Some(Revoked { at: now, why: why.trim().into() });
                revoked.push(issued.serial);
            }
        }
        if revoked.is_empty() {
            return refused(format!(
                "every certificate of {which} has expired or is revoked already: nothing is left to revoke"
            ));
        }
        self.list.is_written = false;
        Ok(revoked)
    }

    /// What the revocation list of this moment holds.
    pub fn listed(&self, now: Timestamp) -> impl Iterator<Item = (&Issued, &Revoked)> {
        let is_listed = move |one: &&Issued| now.duration_since(one.until) <= LISTED;
        self.issued.iter().filter(is_listed).filter_map(|one| Some((one, one.revoked.as_ref()?)))
    }

    /// Whether it is time for another list.
    pub fn wants_list(&self, now: Timestamp) -> bool {
        !self.list.is_written || self.list.until.duration_since(now) < LIST_LEFT
    }
}

impl Serial {
    /// Of chance: never 0, never negative, always sixteen octets long.
    pub fn of(mut chance: [u8; 16]) -> Serial {
        chance[0] = chance[0] & 0x7f | 0x40;
        Serial(chance)
    }

    /// `None` of a certificate that is none of ours, or cannot be read.
    pub fn of_certificate(certificate: &CertificateDer<'_>) -> Option<Serial> {
        let certificate = webpki::EndEntityCert::try_from(certificate).ok()?;
        Some(Serial(certificate.serial().try_into().ok()?))
    }
}

impl fmt::Display for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER.encode(&self.0))
    }
}

#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{0:?} is no serial number: 32 hexadecimal digits")]
pub struct SerialError(String);

impl FromStr for Serial {
    type Err = SerialError;

    /// Also as openssl prints it, in capitals or with colons.
    fn from_str(text: &str) -> Result<Serial, SerialError> {
        let digits = text.replace(':', "").to_ascii_lowercase();
        let octets = HEXLOWER.decode(digits.as_bytes()).ok();
        let octets = octets.and_then(|octets| octets.try_into().ok());
        octets.map(Serial).ok_or_else(|| SerialError(text.to_owned()))
    }
}

mod as_text {
    use std::fmt::Display;
    use std::str::FromStr;

    use serde::de::Error as _;
    use serde::{Deserialize as _, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(one: &impl Display, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(one)
    }

    pub fn deserialize<'de, T: FromStr<Err: Display>, D: Deserializer<'de>>(
        from: D,
    ) -> Result<T, D::Error> {
        String::deserialize(from)?.parse().map_err(D::Error::custom)
    }
}
