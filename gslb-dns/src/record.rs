//! Resource records as zones hold them: type, TTL and uncompressed wire data.

use std::fmt;
use std::str::FromStr;

use crate::name::Name;

/// A record type or query type (RFC 6895 §3.1).
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct RecordType(pub u16);

/// One record of class IN.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Record {
    pub owner: Name,
    /// Seconds, at most 2^31 - 1 (RFC 2181 §8).
    pub ttl: u32,
    pub rtype: RecordType,
    /// Uncompressed wire form, at most 65,535 octets.
    pub rdata: Box<[u8]>,
}

macro_rules! types {
    ($($name:ident = $code:literal),* $(,)?) => {
        impl RecordType {
            $(pub const $name: RecordType = RecordType($code);)*

            /// The mnemonic, if the type has one here.
            pub fn mnemonic(self) -> Option<&'static str> {
                match self.0 {
                    $($code => Some(stringify!($name)),)*
                    _ => None,
                }
            }

            fn from_mnemonic(text: &str) -> Option<RecordType> {
                $(if text.eq_ignore_ascii_case(stringify!($name)) {
                    return Some(RecordType($code));
                })*
                None
            }
        }
    };
}

types! {
    A = 1, NS = 2, CNAME = 5, SOA = 6, PTR = 12, HINFO = 13, MX = 15, TXT = 16, RP = 17,
    AFSDB = 18, KEY = 25, AAAA = 28, LOC = 29, SRV = 33, NAPTR = 35, KX = 36, CERT = 37,
    DNAME = 39, OPT = 41, APL = 42, DS = 43, SSHFP = 44, IPSECKEY = 45, RRSIG = 46, NSEC = 47,
    DNSKEY = 48, DHCID = 49, NSEC3 = 50, NSEC3PARAM = 51, TLSA = 52, SMIMEA = 53, HIP = 55,
    CDS = 59, CDNSKEY = 60, OPENPGPKEY = 61, CSYNC = 62, ZONEMD = 63, SVCB = 64, HTTPS = 65,
    SPF = 99, EUI48 = 108, EUI64 = 109, NXNAME = 128, TKEY = 249, TSIG = 250, IXFR = 251,
    AXFR = 252, MAILB = 253, MAILA = 254, ANY = 255, URI = 256, CAA = 257,
}

impl RecordType {
    /// Query-only and meta types (RFC 6895 §3.1): they never stand in a zone.
    pub fn is_meta(self) -> bool {
        self == RecordType::OPT || (128..=255).contains(&self.0) || self.0 == 0
    }
}

impl fmt::Display for RecordType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.mnemonic() {
            Some(mnemonic) => f.write_str(mnemonic),
            None => write!(f, "TYPE{}", self.0),
        }
    }
}

impl fmt::Debug for RecordType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Neither a mnemonic nor `TYPE` and a number (RFC 3597 §5).
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "not a record type; expected a mnemonic such as A or TYPE followed by a number up to 65535"
)]
pub struct NotAType;

impl FromStr for RecordType {
    type Err = NotAType;

    fn from_str(text: &str) -> Result<RecordType, NotAType> {
        if let Some(known) = RecordType::from_mnemonic(text) {
            return Ok(known);
        }
        let digits = text
            .get(..4)
            .filter(|prefix| prefix.eq_ignore_ascii_case("TYPE"))
            .map(|_| &text[4..])
            .filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))
            .ok_or(NotAType)?;
        digits.parse().map(RecordType).map_err(|_| NotAType)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_is_read_by_mnemonic_or_by_number() {
        let read = |text: &str| text.parse::<RecordType>();
        assert_eq!(read("aaaa"), Ok(RecordType::AAAA));
        assert_eq!(read("TYPE28"), Ok(RecordType::AAAA));
        assert_eq!(read("type65280"), Ok(RecordType(65280)));
        assert_eq!(read("TYPE65536"), Err(NotAType));
        assert_eq!(read("TYPE+1"), Err(NotAType));
        assert_eq!(read("BOGUS"), Err(NotAType));
        assert_eq!(RecordType(65280).to_string(), "TYPE65280");
    }
}
