//! Words of `site.toml`, and what they stand for.

use std::net::{IpAddr, SocketAddr};

use common::check::KindWord;
use common::config::read::{Word, choose};

use crate::site::{
    Alpn, Checksum, HttpVersion, Level, LogFormat, MinVersion, Mode, ProxyVersion, RetryOn,
};
use crate::vrrp::packet::{Form, auth};

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum AlgorithmWord {
    RoundRobin,
    LeastConnections,
    RandomTwo,
    First,
    Source,
    Uri,
    Header,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ClientVerifyWord {
    None,
    Optional,
    Required,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum LogWord {
    As(LogFormat),
    Off,
}

/// A kind of check that a balancer can do: it runs no programs.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct CheckKind(pub KindWord);

/// Where a server is: never a name, which somebody would have to look up.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ServerAddress(pub SocketAddr);

/// Where clients or people come in.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ListenAddress(pub SocketAddr);

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ProfileWord {
    Standard,
    Fast,
    Compat,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SignatureWord {
    ReceiveOnly,
    Permissive,
    Enforce,
}

impl From<SignatureWord> for auth::Mode {
    fn from(word: SignatureWord) -> auth::Mode {
        match word {
            SignatureWord::ReceiveOnly => auth::Mode::ReceiveOnly,
            SignatureWord::Permissive => auth::Mode::Permissive,
            SignatureWord::Enforce => auth::Mode::Enforce,
        }
    }
}

impl AlgorithmWord {
    pub fn hashes(self) -> bool {
        match self {
            AlgorithmWord::Source | AlgorithmWord::Uri | AlgorithmWord::Header => true,
            AlgorithmWord::RoundRobin
            | AlgorithmWord::LeastConnections
            | AlgorithmWord::RandomTwo
            | AlgorithmWord::First => false,
        }
    }
}

impl Word for Mode {
    const EXPECTED: &'static str = "\"http\" or \"tcp\"";

    fn word(text: &str) -> Result<Mode, String> {
        let known = match text {
            "https" | "http1" | "http2" | "h1" | "h2" | "l7" | "layer7" => Some("http"),
            "stream" | "l4" | "layer4" | "tls" | "ssl" => Some("tcp"),
            _ => None,
        };
        match known {
            Some(known) => Err(format!("{text:?} is of mode {known:?} here")),
            None => choose(text, &[Mode::Http, Mode::Tcp].map(|mode| (mode.as_str(), mode))),
        }
    }
}

impl Word for Level {
    const EXPECTED: &'static str = "\"admin\" or \"user\"";

    fn word(text: &str) -> Result<Level, String> {
        match text {
            "operator" => Err("\"operator\" is \"user\" here: orders need \"admin\"".to_owned()),
            _ => choose(text, &[("admin", Level::Admin), ("user", Level::User)]),
        }
    }
}

impl Word for Alpn {
    const EXPECTED: &'static str = "\"h2\" or \"http/1.1\"";

    fn word(text: &str) -> Result<Alpn, String> {
        choose(text, &[Alpn::H2, Alpn::Http1].map(|alpn| (alpn.as_str(), alpn)))
    }
}

impl Word for MinVersion {
    const EXPECTED: &'static str = "\"1.2\" or \"1.3\"";

    fn word(text: &str) -> Result<MinVersion, String> {
        choose(text, &[("1.2", MinVersion::Tls12), ("1.3", MinVersion::Tls13)])
    }
}

impl Word for ClientVerifyWord {
    const EXPECTED: &'static str = "\"none\", \"optional\" or \"required\"";

    fn word(text: &str) -> Result<ClientVerifyWord, String> {
        let choices = [
            ("none", ClientVerifyWord::None),
            ("optional", ClientVerifyWord::Optional),
            ("required", ClientVerifyWord::Required),
        ];
        choose(text, &choices)
    }
}

impl Word for LogWord {
    const EXPECTED: &'static str = "\"haproxy\", \"json\" or \"off\"";

    fn word(text: &str) -> Result<LogWord, String> {
        let choices = [
            ("haproxy", LogWord::As(LogFormat::Haproxy)),
            ("json", LogWord::As(LogFormat::Json)),
            ("off", LogWord::Off),
        ];
        match text {
            "httplog" | "tcplog" => Err(format!("{text:?} is called \"haproxy\" here")),
            "none" | "false" => Err(format!("{text:?} is called \"off\" here")),
            _ => choose(text, &choices),
        }
    }
}

impl Word for CheckKind {
    const EXPECTED: &'static str =
        "\"tcp\", \"tls\", \"http\", \"https\", \"dns\", \"icmp\", \"grpc\" or \"grpcs\"";

    fn word(text: &str) -> Result<CheckKind, String> {
        let known = match text {
            "external" | "external-check" => {
                return Err(
                    "a balancer runs no programs; have the server answer agent_check, or http"
                        .to_owned(),
                );
            }
            "httpchk" | "http-check" => Some("http"),
            "tcp-check" | "connect" => Some("tcp"),
            "ssl" | "ssl-hello-chk" => Some("tls"),
            "ping" => Some("icmp"),
            "grpc_health_check" => Some("grpc"),
            _ => None,
        };
        if let Some(known) = known {
            return Err(format!("{text:?} is called {known:?} here"));
        }
        let kinds = KindWord::ALL.into_iter().filter(|kind| *kind != KindWord::External);
        let choices: Vec<_> = kinds.map(|kind| (kind.as_str(), CheckKind(kind))).collect();
        choose(text, &choices)
    }
}

impl Word for ServerAddress {
    const EXPECTED: &'static str =
        "an address and port such as \"192.0.2.1:8080\" or \"[2001:db8::1]:8080\"";

    fn word(text: &str) -> Result<ServerAddress, String> {
        text.parse().map(ServerAddress).map_err(|_| no_address(text, Self::EXPECTED, 8080))
    }
}

impl Word for ListenAddress {
    const EXPECTED: &'static str = "an address and port such as \"192.0.2.1:80\" or \"[::]:80\"";

    fn word(text: &str) -> Result<ListenAddress, String> {
        let every = text.strip_prefix('*').unwrap_or(text).strip_prefix(':');
        if let Some(port) = every.and_then(|port| port.parse::<u16>().ok()) {
            let every = "every address is";
            return Err(format!("{text:?}: {every} \"0.0.0.0:{port}\" and \"[::]:{port}\" here"));
        }
        text.parse().map(ListenAddress).map_err(|_| no_address(text, Self::EXPECTED, 80))
    }
}

/// Why a text is none, and what to write.
fn no_address(text: &str, expected: &str, port: u16) -> String {
    if let Ok(ip) = text.parse::<IpAddr>() {
        let whole = SocketAddr::new(ip, port).to_string();
        return format!("{text:?} has no port; write it behind, as in {whole:?}");
    }
    if let Some((address, rest)) = text.split_once(char::is_whitespace)
        && address.parse::<SocketAddr>().is_ok()
    {
        let rest = rest.trim();
        return format!(
            "{rest:?} behind the address means nothing: a key of its own says it, as in weight = 2"
        );
    }
    let is_of_name = |octet: u8| octet.is_ascii_alphanumeric() || b"-._".contains(&octet);
    let (host, digits) = text.rsplit_once(':').unwrap_or((text, "0"));
    let is_name = host.bytes().all(is_of_name) && host.bytes().any(|o| o.is_ascii_alphabetic());
    match is_name && digits.parse::<u16>().is_ok() {
        true => format!("{text:?}: names are never looked up; write {expected}"),
        false => format!("{text:?} is not {expected}"),
    }
}

impl Word for ProfileWord {
    const EXPECTED: &'static str = "\"standard\", \"fast\" or \"compat\"";

    fn word(text: &str) -> Result<ProfileWord, String> {
        let choices = [
            ("standard", ProfileWord::Standard),
            ("fast", ProfileWord::Fast),
            ("compat", ProfileWord::Compat),
        ];
        choose(text, &choices)
    }
}

impl Word for SignatureWord {
    const EXPECTED: &'static str = "\"receive-only\", \"permissive\" or \"enforce\"";

    fn word(text: &str) -> Result<SignatureWord, String> {
        let choices = [
            ("receive-only", SignatureWord::ReceiveOnly),
            ("permissive", SignatureWord::Permissive),
            ("enforce", SignatureWord::Enforce),
        ];
        choose(text, &choices)
    }
}

impl Word for Checksum {
    const EXPECTED: &'static str = "\"auto\", \"rfc9568\" or \"rfc5798\"";

    fn word(text: &str) -> Result<Checksum, String> {
        let choices = [
            ("auto", Checksum::AsHeard),
            ("rfc9568", Checksum::Always(Form::Message)),
            ("rfc5798", Checksum::Always(Form::PseudoHeader)),
        ];
        choose(text, &choices)
    }
}

impl Word for AlgorithmWord {
    const EXPECTED: &'static str = "an algorithm such as \"least-connections\"";

    fn word(text: &str) -> Result<AlgorithmWord, String> {
        let choices = [
            ("round-robin", AlgorithmWord::RoundRobin),
            ("least-connections", AlgorithmWord::LeastConnections),
            ("random-two", AlgorithmWord::RandomTwo),
            ("first", AlgorithmWord::First),
            ("source", AlgorithmWord::Source),
            ("uri", AlgorithmWord::Uri),
            ("header", AlgorithmWord::Header),
        ];
        // As those who come from HAProxy or nginx call them.
        let known = match text {
            "roundrobin" | "static-rr" | "round_robin" => Some("round-robin"),
            "leastconn" | "least_conn" | "least-request" => Some("least-connections"),
            "random" => Some("random-two"),
            "ip_hash" => Some("source"),
            "hdr" => Some("header"),
            _ => None,
        };
        match known {
            Some(known) => Err(format!("{text:?} is called {known:?} here")),
            None => choose(text, &choices),
        }
    }
}

impl Word for ProxyVersion {
    const EXPECTED: &'static str = "\"v1\" or \"v2\"";

    fn word(text: &str) -> Result<ProxyVersion, String> {
        choose(text, &[("v1", ProxyVersion::V1), ("v2", ProxyVersion::V2)])
    }
}

impl Word for HttpVersion {
    const EXPECTED: &'static str = "\"1.1\" or \"2\"";

    fn word(text: &str) -> Result<HttpVersion, String> {
        choose(text, &[("1.1", HttpVersion::V1), ("2", HttpVersion::V2)])
    }
}

/// Those of HAProxy's `retry-on` that we know of.
const STATUSES: [&str; 12] =
    ["401", "403", "404", "408", "421", "425", "429", "500", "501", "502", "503", "504"];

impl Word for RetryOn {
    const EXPECTED: &'static str = "a reason such as \"conn-failure\", or a status such as \"503\"";

    fn word(text: &str) -> Result<RetryOn, String> {
        let reasons = [
            ("conn-failure", RetryOn::ConnFailure),
            ("empty-response", RetryOn::EmptyResponse),
            ("junk-response", RetryOn::JunkResponse),
            ("response-timeout", RetryOn::ResponseTimeout),
        ];
        let statuses = STATUSES.into_iter().filter_map(|status| {
            status.parse().ok().map(|number| (status, RetryOn::Status(number)))
        });
        let choices: Vec<(&str, RetryOn)> = reasons.into_iter().chain(statuses).collect();
        choose(text, &choices)
    }
}
