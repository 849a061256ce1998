//! The words by which operators write what a check is, asks for and expects.

use super::{Method, StatusRange, Verify, Version};
use crate::config::read::{Word, choose};

/// A kind of check by its word alone, without what it asks for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum KindWord {
    Tcp,
    Tls,
    Http,
    Https,
    Dns,
    Icmp,
    Grpc,
    Grpcs,
    External,
}

/// Where a kind of check looks if nothing is said.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum UsualPort {
    Is(u16),
    /// Only the operator can know.
    Unknown,
    /// It has none, which is written as 0.
    None,
}

impl KindWord {
    pub const ALL: [KindWord; 9] = [
        KindWord::Tcp,
        KindWord::Tls,
        KindWord::Http,
        KindWord::Https,
        KindWord::Dns,
        KindWord::Icmp,
        KindWord::Grpc,
        KindWord::Grpcs,
        KindWord::External,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            KindWord::Tcp => "tcp",
            KindWord::Tls => "tls",
            KindWord::Http => "http",
            KindWord::Https => "https",
            KindWord::Dns => "dns",
            KindWord::Icmp => "icmp",
            KindWord::Grpc => "grpc",
            KindWord::Grpcs => "grpcs",
            KindWord::External => "external",
        }
    }

    pub fn port(self) -> UsualPort {
        match self {
            KindWord::Http => UsualPort::Is(80),
            KindWord::Tls | KindWord::Https | KindWord::Grpcs => UsualPort::Is(443),
            KindWord::Dns => UsualPort::Is(53),
            KindWord::Tcp | KindWord::Grpc => UsualPort::Unknown,
            KindWord::Icmp | KindWord::External => UsualPort::None,
        }
    }
}

impl Word for KindWord {
    const EXPECTED: &'static str = "\"tcp\", \"tls\", \"http\", \"https\", \"dns\", \"icmp\", \"grpc\", \"grpcs\" or \"external\"";

    fn word(text: &str) -> Result<KindWord, String> {
        choose(text, &KindWord::ALL.map(|kind| (kind.as_str(), kind)))
    }
}

impl Word for Method {
    const EXPECTED: &'static str = "\"GET\", \"HEAD\" or \"OPTIONS\"";

    fn word(text: &str) -> Result<Method, String> {
        choose(text, &[("GET", Method::Get), ("HEAD", Method::Head), ("OPTIONS", Method::Options)])
    }
}

impl Word for Version {
    const EXPECTED: &'static str = "\"any\", \"1.1\" or \"2\"";

    fn word(text: &str) -> Result<Version, String> {
        choose(text, &[("any", Version::Any), ("1.1", Version::V1), ("2", Version::V2)])
    }
}

impl Word for Verify {
    const EXPECTED: &'static str = "\"full\" or \"nothing\"";

    fn word(text: &str) -> Result<Verify, String> {
        choose(text, &[("full", Verify::Full), ("nothing", Verify::Nothing)])
    }
}

impl Word for StatusRange {
    const EXPECTED: &'static str = "statuses such as \"200-299\" or \"204\"";

    fn word(text: &str) -> Result<StatusRange, String> {
        text.parse().map_err(|_| match text.as_bytes() {
            [class @ b'1'..=b'5', b'x' | b'X', b'x' | b'X'] => {
                let class = class - b'0';
                format!("{text:?} is written \"{class}00-{class}99\" here")
            }
            _ => format!("{text:?} is not {}", Self::EXPECTED),
        })
    }
}
