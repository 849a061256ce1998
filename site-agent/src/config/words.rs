//! Words of `site.toml`, and what they stand for.

use common::config::read::{Word, choose};

use crate::site::{Alpn, HttpVersion, Level, LogFormat, MinVersion, Mode, ProxyVersion, RetryOn};

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
        choose(text, &[Mode::Http, Mode::Tcp].map(|mode| (mode.as_str(), mode)))
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
