//! `node.toml`: what is true of this name server only.

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use common::duration;
use ipnet::IpNet;

use super::control::control;
use super::cookie::cookie_file;
use super::query_log::query_log;
use super::rate_limit::{networks, rate_limits};
use super::{encrypted, or, path, within};
use crate::config::file;
use crate::config::problems::{Problem, Problems};
use crate::config::read::{At, Document, List};
use crate::world::{Account, AdminDoors, DnsListeners, MAX_NODE_NAME, Node, Operator, TcpLimits};

/// Threads for one address: more than any machine has cores.
const THREADS: RangeInclusive<i64> = 1..=1024;
const CONNECTIONS: RangeInclusive<i64> = 1..=1_000_000;
/// What a character-string of a TXT record holds (RFC 1035 §3.3): the name is asked for as one.
const LONGEST_NAME: usize = MAX_NODE_NAME;
/// What `sockaddr_un` holds, its final zero left out (unix(7)).
const LONGEST_SOCKET_PATH: usize = 107;
const SHORTEST_IDLE: Duration = Duration::from_millis(100);
const LONGEST_IDLE: Duration = Duration::from_secs(3600);

const TCP: TcpLimits =
    TcpLimits { connections: 4096, connections_per_client: 64, idle: Duration::from_secs(10) };

/// Turns `node.toml` into what runs. `None` if anything is wrong.
pub fn node(document: &Document<'_>, dir: &Path, problems: &mut Problems) -> Option<Node> {
    let raw: file::Node = document.read(problems)?;
    let file::Node { name, cluster, world, state_dir, user, group, dns, control, admin } = raw;
    let name = name.and_then(|name| problems.one(label(name)));
    let cluster = cluster.and_then(|cluster| problems.one(label(cluster)));
    let world = world.and_then(|world| problems.one(path(&world, dir)));
    let state_dir = state_dir.and_then(|state_dir| problems.one(path(&state_dir, dir)));
    let account = self::account(user, group, problems);
    let dns = dns.and_then(|dns| listeners(dns, dir, problems));
    let mut others = dns.as_ref().map(DnsListeners::stream_addresses).unwrap_or_default();
    let us = name.as_deref().zip(cluster.as_deref());
    let control = or(control, None, |raw| self::control(raw, us, &others, dir, problems).map(Some));
    let of_control = control.iter().flatten().map(|control| ("control.listen", control.listen));
    others.extend(of_control);
    let admin = or(admin, AdminDoors::default(), |admin| doors(admin, dir, &others, problems));
    Some(Node {
        name: name?,
        cluster: cluster?,
        world: world?,
        state_dir: state_dir?,
        account: account?,
        dns: dns?,
        control: control?,
        admin: admin?,
    })
}

/// The admin doors alone; what is wrong elsewhere is not told.
pub fn admin(document: &Document<'_>, dir: &Path, problems: &mut Problems) -> Option<AdminDoors> {
    let mut elsewhere = Problems::default();
    let raw: file::Node = document.read(&mut elsewhere)?;
    or(raw.admin, AdminDoors::default(), |admin| doors(admin, dir, &[], problems))
}

/// Whom to become, and the folders in which that user must be able to write; what is wrong is not told. `None`
/// unless it is known whom.
pub fn household(document: &Document<'_>, dir: &Path) -> Option<(Account, Vec<PathBuf>)> {
    let mut elsewhere = Problems::default();
    let raw: file::Node = document.read(&mut elsewhere)?;
    let account = account(raw.user, raw.group, &mut elsewhere)??;
    let state_dir = raw.state_dir.and_then(|state_dir| path(&state_dir, dir).ok());
    let socket = raw.admin.flatten().and_then(|admin| admin.value.socket.flatten());
    let socket = socket.and_then(|socket| path(&socket, dir).ok());
    let of_socket = socket.as_deref().and_then(Path::parent).map(Path::to_owned);
    Some((account, state_dir.into_iter().chain(of_socket).collect()))
}

/// The outer `None` if anything is wrong.
fn account(
    user: Option<Option<At<String>>>,
    group: Option<Option<At<String>>>,
    problems: &mut Problems,
) -> Option<Option<Account>> {
    let (user, group) = (user?, group?);
    if let (None, Some(group)) = (&user, &group) {
        problems.add(group.spot.problem("stands without user; name the user too, or remove it"));
        return None;
    }
    let name = |written: &At<String>, problems: &mut Problems| {
        let is_name = is_name(&written.value);
        if !is_name {
            problems.add(written.spot.problem(format!(
                "{:?} is no name; expected one that the system knows, such as \"gslb-dns\"",
                written.value
            )));
        }
        is_name.then(|| Box::from(&*written.value))
    };
    let user = user.map(|user| name(&user, problems));
    let group = group.map(|group| name(&group, problems));
    match (user, group) {
        (None, _) => Some(None),
        (Some(user), None) => Some(Some(Account { user: user?, group: None })),
        (Some(user), Some(group)) => Some(Some(Account { user: user?, group: Some(group?) })),
    }
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && !text.chars().any(|one| one.is_whitespace() || one.is_control())
}

fn doors(
    raw: At<file::Admin>,
    dir: &Path,
    others: &[(&'static str, SocketAddr)],
    problems: &mut Problems,
) -> Option<AdminDoors> {
    let At { value: file::Admin { listen, socket, operators }, spot } = raw;
    let (listen, socket, operators) = (listen?, socket?, operators?);
    if listen.is_none() && socket.is_none() {
        problems.add(spot.problem(
            "opens no door; give listen = \"127.0.0.1:8080\" for reading, socket = \
             \"/run/gslb-dns/admin.sock\" for orders too, or remove it",
        ));
    }
    if let Some(taken) = listen.as_ref().and_then(|listen| taken(listen, others)) {
        problems.add(taken);
    }
    let socket = match &socket {
        Some(socket) => Some(problems.one(socket_path(socket, dir))?),
        None => None,
    };
    let listed = operators.unwrap_or_default();
    let operators: Vec<Operator> =
        listed.iter().flatten().filter_map(|name| problems.one(operator(name))).collect();
    (operators.len() == listed.len()).then_some(AdminDoors {
        listen: listen.map(|listen| listen.value),
        socket,
        operators,
    })
}

pub(super) fn socket_path(written: &At<String>, dir: &Path) -> Result<PathBuf, Problem> {
    let path = path(written, dir)?;
    let length = path.as_os_str().len();
    if length > LONGEST_SOCKET_PATH {
        return Err(written.spot.problem(format!(
            "has {length} octets, and the system takes {LONGEST_SOCKET_PATH} for a socket; choose \
             a shorter path"
        )));
    }
    Ok(path)
}

/// A user, or a group behind an `@`.
fn operator(written: &At<String>) -> Result<Operator, Problem> {
    let At { value, spot } = written;
    let (name, group) = match value.strip_prefix('@') {
        Some(name) => (name, true),
        None => (value.as_str(), false),
    };
    if !is_name(name) {
        return Err(spot.problem(format!(
            "{value:?} is no name; expected a user such as \"alice\", or a group such as \"@ops\""
        )));
    }
    Ok(if group { Operator::Group(name.into()) } else { Operator::User(name.into()) })
}

fn listeners(raw: file::Dns, dir: &Path, problems: &mut Problems) -> Option<DnsListeners> {
    let file::Dns {
        listen,
        threads,
        tcp,
        cookie_secret,
        rate_limit,
        trusted,
        tls,
        https,
        quic,
        proxy,
        query_log,
        talkers,
    } = raw;
    let listen = listen.and_then(|listen| addresses(&listen, problems));
    let threads = or(threads, None, |threads| problems.one(within(&threads, THREADS)).map(Some));
    let tcp = or(tcp, TCP, |tcp| tcp_limits(tcp, problems));
    let mut others: Vec<_> =
        listen.iter().flatten().map(|address| ("dns.listen", *address)).collect();
    let quic = or(quic, None, |quic| encrypted::tls(quic, &others, dir, problems).map(Some));
    let tls = or(tls, None, |tls| encrypted::tls(tls, &others, dir, problems).map(Some));
    let of_tls = tls.iter().flatten().flat_map(|tls| &tls.listen);
    others.extend(of_tls.map(|address| ("dns.tls.listen", *address)));
    let https = or(https, None, |https| encrypted::https(https, &others, dir, problems).map(Some));
    let proxies = or(proxy, vec![], |file::Proxy { from }| proxies(&from?, problems));
    let cookies = or(cookie_secret, None, |file| cookie_file(&file, dir, problems).map(Some));
    let rate_limit = or(rate_limit, None, |limits| rate_limits(limits, problems).map(Some));
    let trusted = or(trusted, vec![], |trusted| self::trusted(&trusted, problems));
    let query_log = or(query_log, None, |log| self::query_log(log, dir, problems).map(Some));
    let talkers = or(talkers, true, Some);
    Some(DnsListeners {
        listen: listen?,
        threads: threads?,
        tcp: tcp?,
        cookies: cookies?,
        rate_limit: rate_limit?,
        trusted: trusted?.into(),
        tls: tls?,
        https: https?,
        quic: quic?,
        proxies: proxies?,
        query_log: query_log?,
        talkers: talkers?,
    })
}

/// Networks whose word is taken for who a client is.
fn proxies(from: &At<List<At<IpNet>>>, problems: &mut Problems) -> Option<Vec<IpNet>> {
    if from.value.is_empty() {
        problems.add(from.spot.problem("is empty; list your proxies, or remove the table"));
        return None;
    }
    for At { value, spot } in from.value.iter().flatten() {
        if value.prefix_len() == 0 {
            problems.add(spot.problem(format!("{value} is everybody; list your proxies")));
        }
    }
    from.value.iter().map(|net| net.as_ref().map(|net| net.value)).collect()
}

/// Networks whose clients are told what they were answered from.
fn trusted(trusted: &At<List<At<IpNet>>>, problems: &mut Problems) -> Option<Vec<IpNet>> {
    let networks = networks(trusted, problems);
    for At { value, spot } in trusted.value.iter().flatten() {
        if value.prefix_len() == 0 {
            problems.add(spot.problem(format!("{value} is everybody; list your own networks")));
        }
    }
    networks
}

/// That an address is another listener's already.
pub(super) fn taken(
    address: &At<SocketAddr>,
    others: &[(&'static str, SocketAddr)],
) -> Option<Problem> {
    let At { value, spot } = address;
    // Port 0 is whichever is free.
    let (by, _) = others.iter().find(|(_, other)| other == value && value.port() != 0)?;
    Some(spot.problem(format!("{value} is taken by {by}")))
}

pub(super) fn addresses(
    listen: &At<List<At<SocketAddr>>>,
    problems: &mut Problems,
) -> Option<Vec<SocketAddr>> {
    if listen.value.is_empty() {
        problems.add(listen.spot.problem("is empty; list an address to answer on"));
        return None;
    }
    let mut addresses: Vec<SocketAddr> = Vec::new();
    for address in listen.value.iter().flatten() {
        // Port 0 is whichever is free, so two of them are two addresses.
        if address.value.port() != 0 && addresses.contains(&address.value) {
            let message = format!("{} is listed twice; remove one", address.value);
            problems.add(address.spot.problem(message));
        }
        addresses.push(address.value);
    }
    (addresses.len() == listen.value.len()).then_some(addresses)
}

fn tcp_limits(raw: file::Tcp, problems: &mut Problems) -> Option<TcpLimits> {
    let file::Tcp { connections, connections_per_client, idle } = raw;
    let connections = or(connections, TCP.connections, |connections| {
        problems.one(within(&connections, CONNECTIONS))
    });
    let most = connections.unwrap_or(TCP.connections);
    let connections_per_client =
        or(connections_per_client, TCP.connections_per_client.min(most), |per_client| {
            problems.one(within(&per_client, 1..=i64::try_from(most).unwrap_or(i64::MAX)))
        });
    let idle = or(idle, TCP.idle, |idle| problems.one(idle_time(&idle)));
    Some(TcpLimits {
        connections: connections?,
        connections_per_client: connections_per_client?,
        idle: idle?,
    })
}

fn idle_time(idle: &At<Duration>) -> Result<Duration, Problem> {
    match (SHORTEST_IDLE..=LONGEST_IDLE).contains(&idle.value) {
        true => Ok(idle.value),
        false => Err(idle.spot.problem(format!(
            "found {}, expected {} to {}",
            duration::shown(idle.value),
            duration::shown(SHORTEST_IDLE),
            duration::shown(LONGEST_IDLE)
        ))),
    }
}

/// A name that servers tell clients and each other.
fn label(name: At<String>) -> Result<Box<str>, Problem> {
    let At { value, spot } = name;
    if value.is_empty() || value.len() > LONGEST_NAME {
        let found = value.len();
        return Err(spot.problem(format!("has {found} octets, expected 1 to {LONGEST_NAME}")));
    }
    if value.chars().any(char::is_control) {
        return Err(spot.problem(format!("{value:?} holds a control character")));
    }
    Ok(value.into())
}
