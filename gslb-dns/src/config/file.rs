//! What operators write: `node.toml`, `world.toml` and the overrides, as they stand in the files.
//!
//! Mirrors the files key by key. Nothing is resolved or judged here: that is `check`'s.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use common::check::{KindWord, Method, StatusRange, Verify, Version};
use ipnet::IpNet;
use jiff::Timestamp;

use super::read::{At, ByDomain, Entries, List, NameOr, Word, choose, table};
use super::words::{Continent, Country, Subdivision};
use crate::name::Name;
use crate::query::ClientSubnet;
use crate::world::{Act, Area, Clients, Messages};

table! {
    /// `node.toml`.
    Node {
        name: At<String>,
        cluster: At<String>,
        world: At<String>,
        state_dir: At<String>,
        user: Option<At<String>>,
        group: Option<At<String>>,
        dns: Dns,
        control: Option<Control>,
        admin: Option<At<Admin>>,
    } else World in "world.toml"
}

table! {
    Dns {
        listen: At<List<At<SocketAddr>>>,
        threads: Option<At<i64>>,
        tcp: Option<Tcp>,
        cookie_secret: Option<At<String>>,
        rate_limit: Option<RateLimit>,
        trusted: Option<At<List<At<IpNet>>>>,
        tls: Option<Tls>,
        https: Option<Https>,
        quic: Option<Tls>,
        proxy: Option<Proxy>,
        query_log: Option<At<QueryLog>>,
        talkers: Option<bool>,
    }
}

table! {
    /// Who is told what is asked.
    QueryLog {
        dnstap: Option<At<String>>,
        recording: Option<Recording>,
        sample: Option<At<f64>>,
        messages: Option<At<Messages>>,
    }
}

table! {
    /// What is asked, in files for replay.
    Recording {
        dir: At<String>,
        file_mib: Option<At<i64>>,
        file_age: Option<At<Duration>>,
        files: Option<At<i64>>,
        clients: Option<Clients>,
    }
}

table! {
    /// Who may tell by the PROXY protocol whose connection it passes on.
    Proxy {
        from: At<List<At<IpNet>>>,
    }
}

table! {
    /// DNS over HTTPS.
    Https {
        listen: At<List<At<SocketAddr>>>,
        certificate: At<String>,
        key: At<String>,
        path: Option<At<String>>,
    }
}

table! {
    /// DNS over TLS, and over QUIC, which has it within.
    Tls {
        listen: At<List<At<SocketAddr>>>,
        certificate: At<String>,
        key: At<String>,
    }
}

table! {
    Tcp {
        connections: Option<At<i64>>,
        connections_per_client: Option<At<i64>>,
        idle: Option<At<Duration>>,
    }
}

table! {
    RateLimit {
        answers_per_second: At<i64>,
        errors_per_second: Option<At<i64>>,
        ipv4_prefix: Option<At<i64>>,
        ipv6_prefix: Option<At<i64>>,
        slip: Option<At<i64>>,
        slots: Option<At<i64>>,
        exempt: Option<At<List<At<IpNet>>>>,
    }
}

table! {
    /// Where probes speak to us, and how either side knows the other.
    Control {
        listen: At<SocketAddr>,
        ca: At<String>,
        certificate: At<String>,
        key: At<String>,
        crl: Option<At<String>>,
        peers: Option<At<List<NameOr<At<Peer>>>>>,
    }
}

table! {
    /// Another name server: its name is never asked of the zone that both serve.
    Peer {
        address: At<SocketAddr>,
        name: At<String>,
    }
}

table! {
    Admin {
        listen: Option<At<SocketAddr>>,
        socket: Option<At<String>>,
        operators: Option<List<At<String>>>,
    }
}

table! {
    /// `world.toml`.
    World {
        geoip: Option<Geoip>,
        zone: Option<ByDomain<Zone>>,
        site: Option<Entries<Site>>,
        vantage: Option<Entries<At<Vantage>>>,
        check: Option<Entries<At<Check>>>,
        map: Option<Entries<At<Map>>>,
        service: Option<ByDomain<At<Service>>>,
    } else Node in "node.toml"
}

table! {
    Geoip {
        databases: Option<List<At<String>>>,
        overrides: Option<Entries<At<Placed>>>,
        ecs_private: Option<bool>,
        expect: Option<Entries<At<Canary>>>,
    }
}

table! {
    /// Where an address must be found.
    Canary {
        continent: Option<Continent>,
        country: Option<At<Country>>,
        subdivision: Option<At<Subdivision>>,
        asn: Option<At<i64>>,
    }
}

table! {
    /// Where the clients of a network are.
    Placed {
        continent: Option<Continent>,
        country: Option<At<Country>>,
        subdivision: Option<At<Subdivision>>,
        city: Option<String>,
        lat: Option<At<f64>>,
        lon: Option<At<f64>>,
        asn: Option<At<i64>>,
    }
}

table! {
    Zone {
        file: At<String>,
    }
}

table! {
    Site {
        place: Option<At<Place>>,
        vips: Option<At<List<At<IpAddr>>>>,
        domain: Option<At<String>>,
        agents: Option<At<List<At<String>>>>,
        capacity: Option<At<i64>>,
        bias: Option<At<i64>>,
    }
}

table! {
    /// A place from which probes look.
    Vantage {
        place: Option<At<Place>>,
        domain: Option<At<String>>,
    }
}

table! {
    /// A way of looking. Which keys go with which kind is `check`'s to say.
    Check {
        kind: At<KindWord>,
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
        program: Option<At<String>>,
        verify: Option<At<Verify>>,
        expect: Option<At<CheckExpect>>,
        interval: Option<At<Duration>>,
        timeout: Option<At<Duration>>,
        rise: Option<At<i64>>,
        fall: Option<At<i64>>,
        ok: Option<At<i64>>,
    }
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
    /// What it takes to believe something of a site.
    Quorum {
        down: At<f64>,
        up: At<f64>,
        vantages: At<i64>,
        domains: At<i64>,
        max_removed: At<f64>,
    }
}

table! {
    /// Where a site is.
    Place {
        continent: Option<Continent>,
        country: Option<At<Country>>,
        subdivision: Option<At<Subdivision>>,
        city: Option<String>,
        lat: Option<At<f64>>,
        lon: Option<At<f64>>,
    }
}

table! {
    Map {
        default: Option<Tiers>,
        continent: Option<At<Entries<Tiers>>>,
        country: Option<At<Entries<Tiers>>>,
        subdivision: Option<At<Entries<Tiers>>>,
        asn: Option<At<Entries<Tiers>>>,
        net: Option<At<Entries<Tiers>>>,
    }
}

/// Sites in order; a nested list is one tier.
pub type Tiers = At<List<At<Tier>>>;
pub type Tier = NameOr<List<At<String>>>;

table! {
    Service {
        sites: At<List<NameOr<Candidate>>>,
        check: Option<At<List<At<String>>>>,
        any: Option<At<List<At<String>>>>,
        quorum: Option<At<Quorum>>,
        steer: Option<At<List<NameOr<At<Step>>>>>,
        take: Option<At<i64>>,
        across_tiers: Option<At<bool>>,
        when_all_down: At<FailMode>,
        act: Option<Act>,
        r#static: Option<At<List<At<IpAddr>>>>,
        ttl: Option<Ttl>,
        https: Option<At<Binding>>,
        svcb: Option<At<Binding>>,
        expect: Option<List<At<Expect>>>,
    }
}

table! {
    /// What HTTPS or SVCB records of a service say (RFC 9460).
    Binding {
        alpn: Option<At<List<At<String>>>>,
        no_default_alpn: Option<At<bool>>,
        port: Option<At<i64>>,
        ech: Option<At<String>>,
        dohpath: Option<At<String>>,
        mandatory: Option<At<List<At<String>>>>,
        alternatives: Option<At<i64>>,
    }
}

table! {
    /// The same of one site, which has a name of its own; what is left out is the service's.
    SiteBinding {
        target: Option<At<Name>>,
        alpn: Option<At<List<At<String>>>>,
        no_default_alpn: Option<At<bool>>,
        port: Option<At<i64>>,
        ech: Option<At<String>>,
        dohpath: Option<At<String>>,
        mandatory: Option<At<List<At<String>>>>,
    }
}

table! {
    /// A policy test.
    Expect {
        from: At<From>,
        when: Option<When>,
        sites: At<List<At<String>>>,
    }
}

table! {
    /// Patterns of sites by what is supposed of them.
    When {
        up: Option<List<At<String>>>,
        down: Option<List<At<String>>>,
        unknown: Option<List<At<String>>>,
        drained: Option<List<At<String>>>,
        undrained: Option<List<At<String>>>,
    }
}

/// A client by the subnet that its resolver tells; an address alone stands for the usual one.
#[derive(Clone, Copy, Debug)]
pub struct From(pub IpNet);

table! {
    Candidate {
        site: At<String>,
        weight: Option<At<i64>>,
        vips: Option<At<List<At<IpAddr>>>>,
        cname: Option<At<Alias>>,
        https: Option<At<SiteBinding>>,
        svcb: Option<At<SiteBinding>>,
    }
}

/// A CNAME's target. It is absolute; without its final dot, somebody may have meant otherwise.
#[derive(Clone, Debug)]
pub struct Alias {
    pub name: Name,
    pub has_final_dot: bool,
}

table! {
    /// A step that says more than its name.
    Step {
        fence: Option<At<Area>>,
        strict: Option<At<bool>>,
        map: Option<At<String>>,
    }
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum FailMode {
    Open,
    LastKnown,
    Static,
    Empty,
}

table! {
    Ttl {
        max: Option<At<Duration>>,
        min: Option<At<Duration>>,
    }
}

table! {
    /// The overrides file.
    Overrides {
        r#override: Option<List<At<Override>>>,
    }
}

table! {
    Override {
        site: At<String>,
        service: Option<At<String>>,
        state: Option<At<State>>,
        drain: Option<At<bool>>,
        weight: Option<At<i64>>,
        why: At<String>,
        who: At<String>,
        since: Option<At<Timestamp>>,
        until: Option<At<Timestamp>>,
    }
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum State {
    Up,
    Down,
    Unknown,
}

impl Word for From {
    const EXPECTED: &'static str = "a client such as \"81.2.69.142\" or \"81.2.69.0/24\"";

    fn word(text: &str) -> Result<From, String> {
        match text.parse::<IpAddr>() {
            Ok(address) => IpNet::new(address, ClientSubnet::usual_source(address))
                .map(|net| From(net.trunc()))
                .map_err(|error| error.to_string()),
            Err(_) if text.contains('/') => IpNet::word(text).map(From),
            Err(_) => Err(format!("{text:?} is not {}", Self::EXPECTED)),
        }
    }
}

impl Word for Alias {
    const EXPECTED: &'static str = Name::EXPECTED;

    fn word(text: &str) -> Result<Alias, String> {
        Name::word(text).map(|name| Alias { name, has_final_dot: text.ends_with('.') })
    }
}

impl Word for Messages {
    const EXPECTED: &'static str = "\"both\", \"queries\" or \"responses\"";

    fn word(text: &str) -> Result<Messages, String> {
        let choices = [
            ("both", Messages::Both),
            ("queries", Messages::Queries),
            ("responses", Messages::Responses),
        ];
        choose(text, &choices)
    }
}

impl Word for Clients {
    const EXPECTED: &'static str = "\"whole\" or \"networks\"";

    fn word(text: &str) -> Result<Clients, String> {
        choose(text, &[("whole", Clients::Whole), ("networks", Clients::Networks)])
    }
}

impl Word for Area {
    const EXPECTED: &'static str = "\"continent\" or \"country\"";

    fn word(text: &str) -> Result<Area, String> {
        choose(text, &[("continent", Area::Continent), ("country", Area::Country)])
    }
}

impl Word for Act {
    const EXPECTED: &'static str = "\"serve\" or \"observe\"";

    fn word(text: &str) -> Result<Act, String> {
        choose(text, &[("serve", Act::Serve), ("observe", Act::Observe)])
    }
}

impl Word for FailMode {
    const EXPECTED: &'static str = "\"open\", \"last-known\", \"static\" or \"empty\"";

    fn word(text: &str) -> Result<FailMode, String> {
        let choices = [
            ("open", FailMode::Open),
            ("last-known", FailMode::LastKnown),
            ("static", FailMode::Static),
            ("empty", FailMode::Empty),
        ];
        choose(text, &choices)
    }
}

impl Word for State {
    const EXPECTED: &'static str = "\"up\", \"down\" or \"unknown\"";

    fn word(text: &str) -> Result<State, String> {
        choose(text, &[("up", State::Up), ("down", State::Down), ("unknown", State::Unknown)])
    }
}
