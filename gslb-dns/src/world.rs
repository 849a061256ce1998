//! The world as it runs: names resolved to ids, defaults filled in, the impossible unwritable.
//!
//! Built only by `config::check` from `config::file`; every other room reads it and trusts it.

mod ttl;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use common::mtls::Files;
use common::target::{Target, TargetId};
use geoip::{Atlas, Continent, Country, Overrides, Place, Subdivision};
use ipnet::IpNet;

use crate::binding::Binding;
use crate::cookie::Secrets;
use crate::ids::{DomainId, MapId, ServiceId, SiteId};
use crate::name::Name;
use crate::record::RecordType;
use crate::watch::{Vantage, Watch};
use crate::zone::Zone;

pub use self::ttl::Ttl;

/// Octets of a name server's name. It stands in answers (NSID), which must hold it beside the longest
/// question even in 512 octets.
pub const MAX_NODE_NAME: usize = 63;

/// Name servers of one cluster besides us: each asks all others each second.
pub const MOST_PEERS: usize = 16;

/// What is true of this name server only (`node.toml`).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Node {
    /// NSID (RFC 5001) and `id.server.` (RFC 4892).
    pub name: Box<str>,
    pub cluster: Box<str>,
    pub world: PathBuf,
    pub state_dir: PathBuf,
    /// Whom a server becomes that is started as root.
    pub account: Option<Account>,
    pub dns: DnsListeners,
    /// Without it there are no probes.
    pub control: Option<Control>,
    pub admin: AdminDoors,
}

/// Where probes tell what they saw, and how either side knows the other.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Control {
    pub listen: SocketAddr,
    pub files: Files,
    pub peers: Vec<Peer>,
}

/// Another name server of the cluster.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Peer {
    pub address: SocketAddr,
    /// The one that its certificate has to show.
    pub name: Box<str>,
}

/// Names as the system knows them.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Account {
    pub user: Box<str>,
    /// The user's own, if the file says nothing.
    pub group: Option<Box<str>>,
}

/// Where people and their tools are let in.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct AdminDoors {
    /// Reading only, for everybody who can reach it.
    pub listen: Option<SocketAddr>,
    /// Reading for whoever may connect, and changes for operators.
    pub socket: Option<PathBuf>,
    /// Who may change things, besides root and the server's own user.
    pub operators: Vec<Operator>,
}

/// Names as the system knows them.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Operator {
    User(Box<str>),
    /// Written with an `@` before it.
    Group(Box<str>),
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub struct DnsListeners {
    /// UDP and TCP alike.
    pub listen: Vec<SocketAddr>,
    /// UDP threads for each address; one per core if the file says nothing.
    pub threads: Option<usize>,
    /// For all transports by connections together, QUIC's too.
    pub tcp: TcpLimits,
    /// The server makes secrets of its own if the file says nothing.
    pub cookies: Option<CookieFile>,
    pub rate_limit: Option<RateLimits>,
    /// Networks whose clients are told what they were answered from.
    pub trusted: Arc<[IpNet]>,
    /// DNS over TLS (RFC 7858).
    pub tls: Option<TlsListeners>,
    /// DNS over HTTPS (RFC 8484).
    pub https: Option<HttpsListeners>,
    /// DNS over QUIC (RFC 9250): of UDP, at addresses that DNS itself has not.
    pub quic: Option<TlsListeners>,
    /// Whose connections begin with a header of the PROXY protocol.
    pub proxies: Vec<IpNet>,
    /// Who is told what is asked and answered: nobody, unless the file says so.
    pub query_log: Option<QueryLog>,
    /// Whether it is counted who asks most, and for what.
    pub talkers: bool,
}

/// Where it is told who asks what. At least one of the two is there.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct QueryLog {
    pub sample: Sample,
    pub dnstap: Option<Dnstap>,
    pub recording: Option<Recording>,
}

/// A reader of dnstap messages.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Dnstap {
    /// A unix socket at which it listens.
    pub socket: PathBuf,
    pub messages: Messages,
}

/// Files of our own, for replay.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Recording {
    pub dir: PathBuf,
    /// Octets with which a file is full, and how old one gets.
    pub file_octets: u64,
    pub file_age: Duration,
    /// Files that are kept, the one being written included.
    pub files: usize,
    pub clients: Clients,
}

/// How much of clients is recorded.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Clients {
    /// Their addresses, and their subnets as sent.
    Whole,
    /// Their networks: /24 and /56.
    Networks,
}

/// Which share of the queries is told of: so many of 2^32.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Sample(u64);

/// What is told of a query.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Messages {
    Both,
    Queries,
    Responses,
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub struct HttpsListeners {
    pub listen: Vec<SocketAddr>,
    pub credentials: Credentials,
    /// The one path at which queries are answered.
    pub path: Box<str>,
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TlsListeners {
    pub listen: Vec<SocketAddr>,
    pub credentials: Credentials,
}

/// Where a server's certificate and its key are.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Credentials {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

/// The secrets of cookies that a fleet shares, and whether strangers to its group can read them.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CookieFile {
    pub path: PathBuf,
    pub secrets: Secrets,
    pub is_open: bool,
}

/// How many answers over UDP a client prefix may have.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RateLimits {
    pub answers_per_second: u32,
    /// NXDOMAIN and errors.
    pub errors_per_second: u32,
    /// Bits of an address that make a prefix.
    pub ipv4_prefix: u8,
    pub ipv6_prefix: u8,
    /// Every so many answers over the limit one is sent, without records; 0 for none.
    pub slip: u8,
    /// Of the table.
    pub slots: usize,
    pub exempt: Vec<IpNet>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct TcpLimits {
    pub connections: usize,
    pub connections_per_client: usize,
    /// A connection that has been silent this long is closed (RFC 7766 §6.2.3).
    pub idle: Duration,
}

impl Sample {
    /// All of them.
    pub const ALL: Sample = Sample(1 << 32);
    /// One in a million.
    pub const LEAST: f64 = 0.000_001;

    /// `None` if it is less than the least or more than all.
    pub fn of(share: f64) -> Option<Sample> {
        let parts = share * Sample::ALL.0 as f64;
        (Sample::LEAST..=1.0).contains(&share).then_some(Sample(parts as u64))
    }

    /// So many of 2^32: what `parts` tells. `None` for more than all, and for none.
    pub fn of_parts(parts: u64) -> Option<Sample> {
        (1..=Sample::ALL.0).contains(&parts).then_some(Sample(parts))
    }

    pub fn parts(self) -> u64 {
        self.0
    }

    /// As a share of 1, to six digits: as it is written.
    pub fn share(self) -> f64 {
        (self.0 as f64 / Sample::ALL.0 as f64 * 1e6).round() / 1e6
    }

    /// Whether a query is of the sample, by an even lot.
    pub fn holds(self, lot: u32) -> bool {
        u64::from(lot) < self.0
    }
}

impl DnsListeners {
    /// What each encrypted transport shows its clients, by the transport's name.
    pub fn credentials(&self) -> Vec<(&'static str, &Credentials)> {
        let tls = self.tls.iter().map(|tls| ("tls", &tls.credentials));
        let https = self.https.iter().map(|https| ("https", &https.credentials));
        let quic = self.quic.iter().map(|quic| ("quic", &quic.credentials));
        tls.chain(https).chain(quic).collect()
    }

    /// Every address on which TCP connections are taken, with the key that names it.
    pub fn stream_addresses(&self) -> Vec<(&'static str, SocketAddr)> {
        let DnsListeners { listen, tls, https, .. } = self;
        let plain = listen.iter().map(|address| ("dns.listen", *address));
        let tls = tls.iter().flat_map(|tls| &tls.listen);
        let https = https.iter().flat_map(|https| &https.listen);
        plain
            .chain(tls.map(|address| ("dns.tls.listen", *address)))
            .chain(https.map(|address| ("dns.https.listen", *address)))
            .collect()
    }
}

impl Node {
    /// The keys in which another `node.toml` differs that were used once, at the start: sockets, threads,
    /// the state directory, the user and the name.
    pub fn needs_restart_for(&self, next: &Node) -> Vec<&'static str> {
        let Node { name, cluster, world: _, state_dir, account, dns, control, admin } = self;
        let DnsListeners {
            listen,
            threads,
            tcp,
            cookies: _,
            rate_limit,
            trusted: _,
            tls,
            https,
            quic,
            proxies,
            query_log,
            talkers,
        } = dns;
        let differs = [
            ("name", *name != next.name),
            ("cluster", *cluster != next.cluster),
            ("state_dir", *state_dir != next.state_dir),
            ("user", *account != next.account),
            ("dns.listen", *listen != next.dns.listen),
            ("dns.threads", *threads != next.dns.threads),
            ("dns.tcp", *tcp != next.dns.tcp),
            ("dns.rate_limit", *rate_limit != next.dns.rate_limit),
            ("dns.tls", *tls != next.dns.tls),
            ("dns.https", *https != next.dns.https),
            ("dns.quic", *quic != next.dns.quic),
            ("dns.proxy", *proxies != next.dns.proxies),
            ("dns.query_log", *query_log != next.dns.query_log),
            ("dns.talkers", *talkers != next.dns.talkers),
            ("control", *control != next.control),
            ("admin.listen", admin.listen != next.admin.listen),
            ("admin.socket", admin.socket != next.admin.socket),
            ("admin.operators", admin.operators != next.admin.operators),
        ];
        differs.into_iter().filter(|(_, differs)| *differs).map(|(key, _)| key).collect()
    }
}

/// Everything that decides an answer and is the same on every name server.
#[derive(Debug)]
pub struct World {
    pub epoch: Epoch,
    pub sites: Vec<Site>,
    pub vantages: Vec<Vantage>,
    /// What vantages look at, each once.
    pub targets: Vec<(TargetId, Target)>,
    pub maps: Vec<Map>,
    pub services: Vec<Service>,
    pub zones: Vec<Arc<Zone>>,
    /// What each of the zones was made of; none in a world that no file was read for.
    pub zone_origins: Vec<Arc<ZoneOrigin>>,
    pub atlas: Arc<Atlas>,
    /// SHA-256 of the files that the atlas's databases were read from, in their order.
    pub database_hashes: Vec<[u8; 32]>,
    /// Believe client subnets that are not public.
    pub ecs_private: bool,
    /// The prefixes of `[geoip] overrides`: client subnets inside them are believed.
    pub overrides: Vec<IpNet>,
}

/// What a zone was made of. One that would be made of the same is the same, and the next world shares it.
#[derive(Debug)]
pub struct ZoneOrigin {
    /// The master file and what it includes, in the order they were opened, with the SHA-256 of each.
    pub files: Vec<(PathBuf, [u8; 32])>,
    pub services: Vec<Bound>,
    /// Apexes of the zones within it, whose names are not its own to judge.
    pub within: Vec<Name>,
    /// What is to be told of it though it is sound: a file of `files`, a line, and what.
    pub warnings: Vec<(u32, u32, String)>,
}

/// All of a service that its zone depends on.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Bound {
    pub id: ServiceId,
    pub name: Name,
    pub answers: Option<Answers>,
    /// For how long it may be answered that there is nothing, with `empty`.
    pub empty: Option<Ttl>,
}

/// SHA-256 of a world's canonical form with those of every file it names.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Epoch(pub [u8; 32]);

#[derive(Clone, Debug)]
pub struct Site {
    pub name: Box<str>,
    /// Country and coordinates as far as the file gives them; the country's centroid otherwise.
    pub place: Place,
    pub vips: Vips,
    pub domain: Option<DomainId>,
    /// Who speaks for it from within, as their certificates have them. Nobody speaks for two.
    pub agents: Vec<Box<str>>,
    pub capacity: Option<Capacity>,
    pub bias: Bias,
}

/// Agents of one site: a pair, between which its VIPs move.
pub const MOST_AGENTS: usize = 2;

/// What a site can take, in requests per second: 1 to a thousand million.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Capacity(pub u32);

/// Addresses of one site or candidate, by family, in the order written.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub struct Vips {
    pub v4: Vec<Ipv4Addr>,
    pub v6: Vec<Ipv6Addr>,
}

/// Grows (> 0) or shrinks (< 0) a site's territory under `nearest`: -99 to 99.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Bias(pub i8);

/// A client's place or network to an ordered list of tiers of sites.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Map {
    pub name: Box<str>,
    pub default: Option<Tiers>,
    pub continent: Vec<(Continent, Tiers)>,
    pub country: Vec<(Country, Tiers)>,
    pub subdivision: Vec<(Subdivision, Tiers)>,
    pub asn: Vec<(u32, Tiers)>,
    pub net: Vec<(IpNet, Tiers)>,
}

/// Sites in order of preference; those of one inner list are alike.
pub type Tiers = Vec<Vec<SiteId>>;

/// Sites that one answer may name: with two addresses each they still fit 512 octets.
pub const MAX_TAKE: usize = 8;

#[derive(Clone, Debug)]
pub struct Service {
    /// As configured, lower case; may begin with a `*` label.
    pub name: Name,
    pub answers: Answers,
    pub candidates: Vec<Candidate>,
    /// Where `healthy` stands among the steps is fixed: after a strict fence, before all others.
    pub strict_fence: Option<Area>,
    /// In order; `pace` comes after all of them.
    pub steps: Vec<Step>,
    pub pace: Pace,
    pub take: Take,
    /// How its sites are watched; nobody watches them where there is none.
    pub watch: Option<Watch>,
    pub act: Act,
    pub fail_mode: FailMode,
    pub ttl: Ttl,
    /// What it answers to HTTPS and SVCB; NODATA where there is none.
    pub https: Option<Binding>,
    pub svcb: Option<Binding>,
}

/// What the candidates of a service are.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Answers {
    /// A and AAAA.
    Addresses,
    /// One CNAME for every type (a site with `cname`).
    Cname,
}

#[derive(Clone, Debug)]
pub struct Candidate {
    pub site: SiteId,
    /// 0 counts as admit 0.
    pub weight: u32,
    pub target: Destination,
}

/// Where clients of a candidate are sent.
#[derive(Clone, Debug)]
pub enum Destination {
    Vips(Vips),
    Cname(Name),
}

#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Area {
    Continent,
    Country,
}

/// A step refines each tier in place: it orders, splits or strikes, and never merges.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Step {
    Fence(Area),
    Map(MapId),
    Nearest,
    Failover,
}

/// The last step: whether the pick among equals changes with time.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Pace {
    Sticky,
    Weighted,
}

/// Whether what is believed of its sites' health changes its answers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Act {
    Serve,
    /// It is judged, shown and alerted of, and strikes nobody. A drain is an operator's word, and holds.
    Observe,
}

#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Take {
    pub sites: u8,
    /// Whether later tiers may fill up an answer that the first leaves short.
    pub across_tiers: bool,
}

#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum FailMode {
    Open,
    LastKnown,
    Static(Vips),
    Empty,
}

impl World {
    /// A world of one zone, with nothing to steer and nothing known of places.
    pub fn of_zone(zone: Zone) -> World {
        World {
            epoch: Epoch([0; 32]),
            sites: vec![],
            vantages: vec![],
            targets: vec![],
            maps: vec![],
            services: vec![],
            zones: vec![Arc::new(zone)],
            zone_origins: vec![],
            atlas: Arc::new(Atlas::new(vec![], Overrides::none())),
            database_hashes: vec![],
            ecs_private: false,
            overrides: vec![],
        }
    }

    /// The zone of an apex, with what it was made of.
    pub fn made_zone(&self, apex: &Name) -> Option<(&Arc<Zone>, &Arc<ZoneOrigin>)> {
        let mut made = self.zones.iter().zip(&self.zone_origins);
        made.find(|(zone, _)| zone.apex() == apex)
    }

    /// What each candidate of a service can take, in requests per second: equal shares where no site says it. One that
    /// does not say it beside others that do counts as their mean.
    pub fn capacities_of(&self, service: &Service) -> Vec<f64> {
        let said = |candidate: &Candidate| Some(self.site(candidate.site).capacity?.0);
        let known: Vec<u32> = service.candidates.iter().filter_map(said).collect();
        let all: u64 = known.iter().copied().map(u64::from).sum();
        // Whole numbers, so that sums of them are exact.
        let mean = all.checked_div(known.len() as u64).map_or(1.0, |mean| mean.max(1) as f64);
        let of = |candidate: &Candidate| said(candidate).map_or(mean, f64::from);
        service.candidates.iter().map(of).collect()
    }

    pub fn site(&self, id: SiteId) -> &Site {
        &self.sites[id.index()]
    }

    pub fn service(&self, id: ServiceId) -> &Service {
        &self.services[id.index()]
    }

    pub fn map(&self, id: MapId) -> &Map {
        &self.maps[id.index()]
    }

    pub fn service_ids(&self) -> impl Iterator<Item = ServiceId> {
        (0..self.services.len()).map(|index| ServiceId(index as u16))
    }
}

impl Act {
    /// As configured.
    pub fn as_str(self) -> &'static str {
        match self {
            Act::Serve => "serve",
            Act::Observe => "observe",
        }
    }
}

impl Service {
    /// What it answers to HTTPS or SVCB queries, if it answers them.
    pub fn binding(&self, qtype: RecordType) -> Option<&Binding> {
        match qtype {
            RecordType::HTTPS => self.https.as_ref(),
            RecordType::SVCB => self.svcb.as_ref(),
            _ => None,
        }
    }
}

impl Map {
    /// The `net` entry with the longest prefix around an address.
    pub fn longest_net(&self, address: IpAddr) -> Option<usize> {
        let holding = self.net.iter().enumerate().filter(|(_, (net, _))| net.contains(&address));
        holding.max_by_key(|(_, (net, _))| net.prefix_len()).map(|(index, _)| index)
    }
}

impl Vips {
    /// IPv4 first, each family in the order written.
    pub fn all(&self) -> impl Iterator<Item = IpAddr> {
        let v4 = self.v4.iter().copied().map(IpAddr::from);
        v4.chain(self.v6.iter().copied().map(IpAddr::from))
    }

    pub fn is_empty(&self) -> bool {
        self.v4.is_empty() && self.v6.is_empty()
    }
}
