//! What operators write: `site.toml`, as it stands in the file.
//!
//! Mirrors the file key by key. Nothing is resolved or judged here: that is `check`'s.

use std::net::IpAddr;
use std::time::Duration;

use common::check::{Method, StatusRange, Verify, Version};
use common::config::problems::{Problems, Spot};
use common::config::read::{At, DeValue, Entries, List, NameOr, Read, table};
use common::config::report_to::ReportTo;
use ipnet::IpNet;

use super::elsewhere;
use super::words::{
    AlgorithmWord, CheckKind, ClientVerifyWord, ListenAddress, LogWord, ProfileWord, ServerAddress,
    SignatureWord,
};
use crate::site::{Alpn, Checksum, HttpVersion, Level, MinVersion, Mode, ProxyVersion, RetryOn};

table! {
    /// `site.toml`.
    Site {
        agent: Option<Agent>,
        admin: Option<Admin>,
        runtime: Option<Runtime>,
        vrrp: Option<Entries<At<Vrrp>>>,
        vrrp_service: Option<VrrpService>,
        frontend: Option<Entries<At<Frontend>>>,
        pool: Option<Entries<At<Pool>>>,
    } known_as elsewhere::site
}

table! {
    /// The same file, as the virtual routers' service sees it.
    Redundancy {
        agent: Option<Skipped>,
        admin: Option<Skipped>,
        runtime: Option<Skipped>,
        vrrp: Option<Entries<At<Vrrp>>>,
        vrrp_service: Option<VrrpService>,
        frontend: Option<Skipped>,
        pool: Option<Skipped>,
    }
}

table! {
    /// The same file, as whoever asks that service sees it.
    Asked {
        agent: Option<Skipped>,
        admin: Option<Skipped>,
        runtime: Option<Skipped>,
        vrrp: Option<Skipped>,
        vrrp_service: Option<AskedService>,
        frontend: Option<Skipped>,
        pool: Option<Skipped>,
    }
}

table! {
    AskedService {
        socket: Option<At<String>>,
        balancer_socket: Option<Skipped>,
        listen: Option<Skipped>,
        notify: Option<Skipped>,
    }
}

/// What somebody else reads.
#[derive(Debug)]
pub struct Skipped;

table! {
    Agent {
        name: At<String>,
        site: At<String>,
        report_to: Option<At<List<At<ReportTo>>>>,
        ca: Option<At<String>>,
        certificate: Option<At<String>>,
        key: Option<At<String>>,
        crl: Option<At<String>>,
        state_dir: Option<At<String>>,
    }
}

table! {
    Admin {
        listen: At<ListenAddress>,
    }
}

table! {
    Runtime {
        socket: At<String>,
        mode: Option<At<String>>,
        level: Option<At<Level>>,
    }
}

table! {
    VrrpService {
        socket: Option<At<String>>,
        balancer_socket: Option<At<String>>,
        listen: Option<At<ListenAddress>>,
        notify: Option<At<String>>,
    }
}

table! {
    Vrrp {
        interface: At<String>,
        vrid: At<i64>,
        priority: Option<At<i64>>,
        vips: At<List<At<String>>>,
        profile: Option<At<ProfileWord>>,
        version: Option<At<i64>>,
        interval: Option<At<Duration>>,
        peers: Option<At<List<At<IpAddr>>>>,
        max_hops: Option<At<i64>>,
        source: Option<At<IpAddr>>,
        preempt: Option<At<NeverOr>>,
        refresh: Option<At<NeverOr>>,
        tracks: Option<At<List<At<Track>>>>,
        needs_balancer: Option<bool>,
        witnesses: Option<At<List<At<IpAddr>>>>,
        checksum: Option<At<Checksum>>,
        password: Option<At<String>>,
        signature: Option<At<Signature>>,
    }
}

table! {
    Track {
        name: At<String>,
        interface: Option<At<String>>,
        address: Option<At<IpAddr>>,
        check: Option<At<Check>>,
        weight: Option<At<i64>>,
    }
}

/// `"never"`, or a time.
#[derive(Clone, Copy, Debug)]
pub enum NeverOr {
    Never,
    Time(Duration),
}

table! {
    Signature {
        keys: At<List<At<Key>>>,
        sign_with: Option<At<i64>>,
        mode: Option<At<SignatureWord>>,
        window: Option<At<NeverOr>>,
    }
}

table! {
    Key {
        id: At<i64>,
        file: At<String>,
    }
}

table! {
    Frontend {
        bind: At<List<At<ListenAddress>>>,
        mode: Option<At<Mode>>,
        tls: Option<At<Tls>>,
        accept_proxy: Option<At<List<At<IpNet>>>>,
        trusted: Option<At<List<At<IpNet>>>>,
        max_connections: Option<At<i64>>,
        timeouts: Option<ClientTimeouts>,
        limits: Option<At<Limits>>,
        rules: Option<At<List<At<Rule>>>>,
        pool: Option<At<String>>,
        redirect_https: Option<At<i64>>,
        hsts: Option<At<Hsts>>,
        access_log: Option<AccessLog>,
    } known_as elsewhere::frontend
}

table! {
    Tls {
        certificates: At<Certificates>,
        alpn: Option<At<List<At<Alpn>>>>,
        min: Option<MinVersion>,
        client_ca: Option<At<String>>,
        crl: Option<At<String>>,
        client_verify: Option<At<ClientVerifyWord>>,
    } known_as elsewhere::tls
}

/// A folder or file, or several.
#[derive(Debug)]
pub struct Certificates(pub List<At<String>>);

table! {
    ClientTimeouts {
        client: Option<At<Duration>>,
        http_request: Option<At<Duration>>,
        keep_alive: Option<At<Duration>>,
        client_fin: Option<At<Duration>>,
    } known_as elsewhere::client_timeouts
}

table! {
    Limits {
        head_octets: Option<At<i64>>,
        headers: Option<At<i64>>,
        h2_streams: Option<At<i64>>,
    }
}

table! {
    /// What is asked, and one of the things that may follow from it.
    Rule {
        when: Option<At<String>>,
        deny: Option<At<Deny>>,
        redirect_https: Option<At<i64>>,
        pool: Option<At<String>>,
    }
}

/// `true`, or a status.
#[derive(Clone, Copy, Debug)]
pub enum Deny {
    Close,
    Status(i64),
}

table! {
    Hsts {
        max_age: At<Duration>,
        include_subdomains: Option<bool>,
        preload: Option<At<bool>>,
    }
}

table! {
    AccessLog {
        format: Option<At<LogWord>>,
        target: Option<At<String>>,
    }
}

table! {
    Pool {
        mode: Option<Mode>,
        balance: Option<NameOr<At<Balance>>>,
        servers: At<List<At<Server>>>,
        check: Option<At<Check>>,
        agent_check: Option<AgentCheck>,
        slow_start: Option<At<Duration>>,
        panic: Option<At<f64>>,
        queue: Option<At<Queue>>,
        retry: Option<At<Retry>>,
        breaker: Option<At<Breaker>>,
        http: Option<At<HttpVersion>>,
        timeouts: Option<ServerTimeouts>,
        error_pages: Option<At<Entries<At<String>>>>,
    } known_as elsewhere::pool
}

table! {
    /// An algorithm that has something to be told.
    Balance {
        algorithm: At<AlgorithmWord>,
        header: Option<At<String>>,
        bound: Option<At<f64>>,
    }
}

table! {
    Server {
        name: At<String>,
        address: At<ServerAddress>,
        weight: Option<At<i64>>,
        max_connections: Option<At<i64>>,
        capacity: Option<At<i64>>,
        backup: Option<bool>,
        tls: Option<ServerTls>,
        send_proxy: Option<At<ProxyVersion>>,
        check: Option<At<Check>>,
    } known_as elsewhere::server
}

table! {
    ServerTls {
        verify: Option<At<Verify>>,
        ca: Option<At<String>>,
        sni: Option<At<String>>,
        alpn: Option<At<List<At<Alpn>>>>,
    } known_as elsewhere::server_tls
}

table! {
    /// A way of looking. Which keys go with which kind is `check`'s to say.
    Check {
        kind: At<CheckKind>,
        port: Option<At<i64>>,
        host: Option<At<String>>,
        path: Option<At<String>>,
        method: Option<At<Method>>,
        version: Option<At<Version>>,
        headers: Option<At<Entries<At<String>>>>,
        send: Option<At<String>>,
        name: Option<At<String>>,
        r#type: Option<At<String>>,
        service: Option<At<String>>,
        verify: Option<At<Verify>>,
        expect: Option<At<CheckExpect>>,
        interval: Option<At<Duration>>,
        fast_interval: Option<At<Duration>>,
        down_interval: Option<At<Duration>>,
        timeout: Option<At<Duration>>,
        rise: Option<At<i64>>,
        fall: Option<At<i64>>,
    } known_as elsewhere::check
}

table! {
    /// What an answer must be like.
    CheckExpect {
        status: Option<At<List<At<StatusRange>>>>,
        headers: Option<At<Entries<At<String>>>>,
        contains: Option<At<String>>,
        matches: Option<At<String>>,
        answer: Option<At<String>>,
    }
}

table! {
    AgentCheck {
        port: At<i64>,
        interval: Option<At<Duration>>,
        timeout: Option<At<Duration>>,
        send: Option<At<String>>,
    } known_as elsewhere::agent_check
}

table! {
    Queue {
        timeout: Option<At<Duration>>,
        length: Option<At<i64>>,
    } known_as elsewhere::queue
}

table! {
    Retry {
        attempts: Option<At<i64>>,
        on: Option<At<List<At<RetryOn>>>>,
        budget: Option<At<f64>>,
    } known_as elsewhere::retry
}

table! {
    Breaker {
        consecutive_errors: Option<At<i64>>,
        eject: Option<At<Duration>>,
        max_eject: Option<At<Duration>>,
        max_ejected: Option<At<f64>>,
        interval: Option<At<Duration>>,
    }
}

table! {
    ServerTimeouts {
        connect: Option<At<Duration>>,
        server: Option<At<Duration>>,
        tunnel: Option<At<Duration>>,
        server_fin: Option<At<Duration>>,
    } known_as elsewhere::server_timeouts
}

impl Read for Certificates {
    fn expected() -> String {
        "a folder of certificates, a file, or a list of files".to_owned()
    }

    fn read(value: &DeValue<'_>, spot: &Spot, problems: &mut Problems) -> Option<Certificates> {
        match value {
            DeValue::String(path) => {
                Some(Certificates(vec![Some(At { value: path.to_string(), spot: spot.clone() })]))
            }
            DeValue::Array(_) => List::read(value, spot, problems).map(Certificates),
            _ => {
                let message = format!("expected {}, such as \"certs/\"", Certificates::expected());
                problems.add(spot.problem(message));
                None
            }
        }
    }
}

impl Read for Deny {
    fn expected() -> String {
        "a status such as 403; in a frontend of mode tcp, true".to_owned()
    }

    fn read(value: &DeValue<'_>, spot: &Spot, problems: &mut Problems) -> Option<Deny> {
        match value {
            DeValue::Boolean(true) => Some(Deny::Close),
            DeValue::Integer(_) => i64::read(value, spot, problems).map(Deny::Status),
            _ => {
                problems.add(spot.problem(format!("expected {}", Deny::expected())));
                None
            }
        }
    }
}

impl Read for Skipped {
    fn expected() -> String {
        "anything".to_owned()
    }

    fn read(_: &DeValue<'_>, _: &Spot, _: &mut Problems) -> Option<Skipped> {
        Some(Skipped)
    }
}

impl Read for NeverOr {
    fn expected() -> String {
        "\"never\", or a time such as \"30s\"".to_owned()
    }

    fn read(value: &DeValue<'_>, spot: &Spot, problems: &mut Problems) -> Option<NeverOr> {
        match value {
            DeValue::String(text) if text == "never" => Some(NeverOr::Never),
            DeValue::String(_) => Duration::read(value, spot, problems).map(NeverOr::Time),
            _ => {
                problems.add(spot.problem(format!("expected {}", NeverOr::expected())));
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_written_up() {
        let page =
            std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/site-config.md"))
                .unwrap();
        let mut checked = 0;
        let mut check = |heading: &str, keys: &[&str]| {
            let (_, section) = page.split_once(&format!("# {heading}\n")).expect(heading);
            let section = section.split("\n#").next().unwrap();
            let written: Vec<&str> = section
                .lines()
                .filter_map(|line| line.strip_prefix("| `")?.split_once("` |"))
                .map(|(key, _)| key)
                .collect();
            for key in keys {
                assert!(written.contains(key), "{heading}: no {key}");
            }
            // The algorithms stand in a table of their own; one of them is called as a key is.
            let others = written.iter().filter(|key| !keys.contains(key));
            let words = if heading == "balance" { 6 } else { 0 };
            assert_eq!(others.count(), words, "{heading}: {written:?}");
            checked += keys.len();
        };
        check("[agent]", Agent::keys());
        check("[admin]", Admin::keys());
        check("[runtime]", Runtime::keys());
        check("[vrrp.NAME]", Vrrp::keys());
        check("tracks", Track::keys());
        check("signature", Signature::keys());
        check("keys", Key::keys());
        check("[vrrp_service]", VrrpService::keys());
        check("[frontend.NAME]", Frontend::keys());
        check("TLS of a frontend", Tls::keys());
        check("timeouts of a frontend", ClientTimeouts::keys());
        check("limits", Limits::keys());
        check("rules", Rule::keys());
        check("hsts", Hsts::keys());
        check("access_log", AccessLog::keys());
        check("[pool.NAME]", Pool::keys());
        check("balance", Balance::keys());
        check("servers", Server::keys());
        check("TLS of a server", ServerTls::keys());
        check("check", Check::keys());
        check("agent_check", AgentCheck::keys());
        check("queue", Queue::keys());
        check("retry", Retry::keys());
        check("breaker", Breaker::keys());
        check("timeouts of a pool", ServerTimeouts::keys());
        // Nothing of the file is unknown to whoever reads a part of it.
        assert_eq!(Site::keys(), Redundancy::keys());
        assert_eq!(Site::keys(), Asked::keys());
        assert_eq!(VrrpService::keys(), AskedService::keys());
        assert!(checked > 110, "{checked} keys");
    }
}
