//! Why an advert is not taken, or not written.

use std::net::{IpAddr, Ipv6Addr};

/// Why a packet is dropped. Its [`Refusal::word`] is a label of counters; what it says is for people.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Refusal {
    #[error("{octets} octets have no IPv4 header")]
    NoIpHeader { octets: usize },
    #[error("IP version {got}, expected 4")]
    IpVersion { got: u8 },
    #[error("the IP header says {says} octets, there are {octets}")]
    IpLength { says: usize, octets: usize },
    #[error("IP protocol {got}, expected 112")]
    IpProtocol { got: u8 },
    #[error("a fragment")]
    Fragment,

    #[error("{octets} octets, an advert has at least 8")]
    Short { octets: usize },
    #[error("VRRP version {got}, known are 2 and 3")]
    Version { got: u8 },
    #[error("VRRP version 2 knows no IPv6")]
    V2OverIpv6,
    #[error("type {got}, the only one is 1 (ADVERTISEMENT)")]
    Type { got: u8 },
    #[error("VRID 0, expected 1 to 255")]
    VridZero,
    #[error("no addresses")]
    NoAddresses,
    #[error(
        "{octets} octets, expected {expected} by its count of addresses, or 28 more with a signature"
    )]
    Length { octets: usize, expected: usize },
    #[error("checksum {got:#06x} is right in no form")]
    Checksum { got: u16 },
    #[error("interval 0, with which every backup would take over at once")]
    IntervalZero,
    #[error("its first address is {got}, expected a link-local one")]
    FirstNotLinkLocal { got: Ipv6Addr },

    #[error("our own advert")]
    Own,
    #[error("VRID {got}, which is not configured here")]
    Vrid { got: u8 },
    #[error("over IPv{got}, expected IPv{expected}")]
    Family { got: u8, expected: u8 },
    #[error("TTL or hop limit {got}, expected {expected} or more: it came through a router")]
    HopLimit { got: u8, expected: u8 },
    #[error("sent to {got}, expected {expected}")]
    Destination { got: IpAddr, expected: IpAddr },
    #[error("from {got}, which is not in peers")]
    Stranger { got: IpAddr },
    #[error("VRRP version {got}, which is not spoken here")]
    OtherVersion { got: u8 },
    #[error("interval {got} s, expected {expected} cs: version 2 adopts none")]
    Interval { got: u16, expected: u16 },
    #[error("authentication type {got}, expected {expected}")]
    AuthType { got: u8, expected: u8 },
    #[error("wrong password")]
    Password,

    #[error("not signed")]
    Unsigned,
    #[error("signature of type {got}, expected 1")]
    SignatureType { got: u8 },
    #[error("reserved bits of the signature are {got:#06x}, expected 0")]
    SignatureReserved { got: u16 },
    #[error("signed with key {got}, which is not configured here")]
    UnknownKey { got: u8 },
    #[error("wrong signature: another key, or not from who it says")]
    Signature,
    #[error("signed {seconds} s ago by our clock, {window} s are allowed")]
    Stale { seconds: u32, window: u32 },
    #[error("signed {seconds} s from now by our clock, {window} s are allowed")]
    Early { seconds: u32, window: u32 },
    #[error("signed no later than its sender's last one: sent again by somebody")]
    Replay,
}

impl Refusal {
    /// All labels that there are.
    pub const WORDS: [&'static str; 29] = [
        "ip_header",
        "ip_protocol",
        "fragment",
        "short",
        "version",
        "type",
        "vrid_zero",
        "no_addresses",
        "length",
        "checksum",
        "interval_zero",
        "first_not_link_local",
        "own",
        "vrid",
        "family",
        "hop_limit",
        "destination",
        "stranger",
        "other_version",
        "interval",
        "auth_type",
        "password",
        "unsigned",
        "signature_malformed",
        "unknown_key",
        "signature",
        "stale",
        "early",
        "replay",
    ];

    /// A label of counters.
    pub fn word(&self) -> &'static str {
        match self {
            Refusal::NoIpHeader { .. } | Refusal::IpVersion { .. } | Refusal::IpLength { .. } => {
                "ip_header"
            }
            Refusal::IpProtocol { .. } => "ip_protocol",
            Refusal::Fragment => "fragment",
            Refusal::Short { .. } => "short",
            Refusal::Version { .. } | Refusal::V2OverIpv6 => "version",
            Refusal::Type { .. } => "type",
            Refusal::VridZero => "vrid_zero",
            Refusal::NoAddresses => "no_addresses",
            Refusal::Length { .. } => "length",
            Refusal::Checksum { .. } => "checksum",
            Refusal::IntervalZero => "interval_zero",
            Refusal::FirstNotLinkLocal { .. } => "first_not_link_local",
            Refusal::Own => "own",
            Refusal::Vrid { .. } => "vrid",
            Refusal::Family { .. } => "family",
            Refusal::HopLimit { .. } => "hop_limit",
            Refusal::Destination { .. } => "destination",
            Refusal::Stranger { .. } => "stranger",
            Refusal::OtherVersion { .. } => "other_version",
            Refusal::Interval { .. } => "interval",
            Refusal::AuthType { .. } => "auth_type",
            Refusal::Password => "password",
            Refusal::Unsigned => "unsigned",
            Refusal::SignatureType { .. } | Refusal::SignatureReserved { .. } => {
                "signature_malformed"
            }
            Refusal::UnknownKey { .. } => "unknown_key",
            Refusal::Signature => "signature",
            Refusal::Stale { .. } => "stale",
            Refusal::Early { .. } => "early",
            Refusal::Replay => "replay",
        }
    }
}

/// Why an advert cannot be written. Config is checked for all of these but the last.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Unwritable {
    #[error("VRRP version 2 knows no IPv6")]
    V2OverIpv6,
    #[error("no addresses")]
    NoAddresses,
    #[error("{got} addresses, an advert has room for 255")]
    TooManyAddresses { got: usize },
    #[error("addresses of another family than the packet")]
    Family,
    #[error("the first address is {got}, expected a link-local one")]
    FirstNotLinkLocal { got: Ipv6Addr },
    #[error("{centiseconds} cs are not whole seconds, as VRRP version 2 has them")]
    IntervalNotWhole { centiseconds: u16 },
    #[error("{centiseconds} cs, VRRP version 3 has at most 4095")]
    IntervalTooLong { centiseconds: u16 },
    #[error("VRRP version 3 has no password")]
    PasswordInV3,
    #[error("a buffer of {got} octets, {expected} are needed")]
    Buffer { got: usize, expected: usize },
}
