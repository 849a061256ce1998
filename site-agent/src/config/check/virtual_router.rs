//! Virtual routers, and the service that runs them.

use std::collections::BTreeMap;
use std::fs::{self, Metadata};
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use common::config::problems::{Problem, Spot};
use common::config::read::{At, Entries, List};
use common::config::settle::{or, within};
use common::duration;
use data_encoding::HEXLOWER_PERMISSIVE;
use ipnet::IpNet;

use super::{Judge, Reader};
use super::{names, tracks};
use crate::config::words::{ProfileWord, SignatureWord};
use crate::config::{MOST_PEERS, MOST_VIPS_OF_A_ROUTER, MOST_WITNESSES, file};
use crate::site::{
    Authentication, Checksum, Reach, Redundancy, Secret, Service, Signature, Vip, VirtualRouter,
};
use crate::vrrp::advert::{Interval, Priority, Version, Vrid};
use crate::vrrp::machine::settings::{Preempt, Refresh};
use crate::vrrp::packet::auth::{KEY_LENGTH, KeyId};
use crate::vrrp::packet::replay::Freshness;
use crate::vrrp::packet::{Accepted, Family, HOP_LIMIT, Password};

/// In a folder of its own: the balancer's goes with each of its restarts.
const SOCKET: &str = "/run/site-agent-vrrp/vrrp.sock";
const BALANCER_SOCKET: &str = "/run/site-agent-vrrp/balancer.sock";
/// Of switches that age their tables in minutes, the shortest.
const REFRESH: Duration = Duration::from_secs(60);
/// Octets of a kernel's name for an interface, less the NUL at its end.
const LONGEST_INTERFACE: usize = 15;
/// Of a password, those that go on the wire.
const PASSWORD: usize = 8;
/// keepalived's bounds for how far clocks may be apart.
const WINDOW: std::ops::RangeInclusive<Duration> =
    Duration::from_secs(1)..=Duration::from_secs(300);
/// Of a file that holds a key.
const LARGEST_KEY_FILE: u64 = 4096;

/// What was seen of other virtual routers: no two may be the same on a link, nor have one address.
#[derive(Default)]
struct Seen {
    routers: BTreeMap<(String, u8, u8), Spot>,
    vips: BTreeMap<IpAddr, Spot>,
}

pub fn redundancy(
    service: Option<file::VrrpService>,
    routers: Entries<At<file::Vrrp>>,
    balances: bool,
    judge: &mut Judge<'_>,
) -> Option<Redundancy> {
    names::bounded(&routers, judge)?;
    let service = self::service(service, judge);
    let mut seen = Seen::default();
    let mut all = vec![];
    for (name, raw) in routers.0 {
        judge.name(&name);
        all.push(raw.and_then(|raw| router(&name, raw, balances, &mut seen, judge)));
    }
    Some(Redundancy { service: service?, routers: all.into_iter().collect::<Option<_>>()? })
}

/// Where the service is asked, of the key `socket`.
pub(super) fn socket(written: Option<At<String>>, judge: &mut Judge<'_>) -> Option<PathBuf> {
    let Some(written) = written else { return Some(PathBuf::from(SOCKET)) };
    let path = judge.path(&written)?;
    judge.one(names::socket_path(&written, &path)).map(|()| path)
}

fn service(raw: Option<file::VrrpService>, judge: &mut Judge<'_>) -> Option<Service> {
    let (socket, balancer_socket) = (PathBuf::from(SOCKET), PathBuf::from(BALANCER_SOCKET));
    let usual = Service { socket, balancer_socket, listen: None, notify: None };
    let Some(file::VrrpService { socket, balancer_socket, listen, notify }) = raw else {
        return Some(usual);
    };
    let mut path = |written: At<String>| {
        let path = judge.path(&written)?;
        judge.one(names::socket_path(&written, &path)).map(|()| path)
    };
    let spot = balancer_socket.as_ref().and_then(|socket| Some(socket.as_ref()?.spot.clone()));
    let socket = or(socket, usual.socket, &mut path)?;
    let balancer_socket = or(balancer_socket, usual.balancer_socket, &mut path)?;
    if let (true, Some(spot)) = (socket == balancer_socket, spot) {
        return judge.wrong(&spot, "is socket as well, where people ask: name another path");
    }
    let listen = or(listen, None, |at| super::door(at, judge).map(|at| Some(at.value.0)))?;
    let notify = or(notify, None, |written| program(&written, judge).map(Some))?;
    Some(Service { socket, balancer_socket, listen, notify })
}

fn program(written: &At<String>, judge: &mut Judge<'_>) -> Option<PathBuf> {
    let path = judge.path(written)?;
    let is_program = |there: Metadata| there.is_file() && there.permissions().mode() & 0o111 != 0;
    if fs::metadata(&path).is_ok_and(is_program) {
        // It is run elsewhere, and without a slash it would be looked for in PATH.
        return std::path::absolute(path).ok();
    }
    let shown = path.display();
    judge.wrong(&written.spot, format!("{shown} is no file that can be executed: is it chmod +x?"))
}

fn router(
    name: &At<String>,
    raw: At<file::Vrrp>,
    balances: bool,
    seen: &mut Seen,
    judge: &mut Judge<'_>,
) -> Option<VirtualRouter> {
    let file::Vrrp {
        interface,
        vrid,
        priority,
        vips,
        profile,
        version,
        interval,
        peers,
        max_hops,
        source,
        preempt,
        refresh,
        tracks,
        needs_balancer,
        witnesses,
        checksum,
        password,
        signature,
    } = raw.value;
    let interface = interface.and_then(|written| judge.one(self::interface(written)));
    let vrid_at = vrid.as_ref().map(|vrid| vrid.spot.clone());
    let vrid = vrid.and_then(|vrid| Vrid::new(judge.one(within(&vrid, 1..=255))?));
    let priority = or(priority, Priority::new(100)?, |written| self::priority(&written, judge));
    let vips_at = vips.as_ref().map(|vips| vips.spot.clone());
    let vips = vips.and_then(|written| self::vips(written, seen, judge));
    let family = vips.as_ref().and_then(|vips| Some(Family::of(vips.first()?.address)));
    let profile = or(profile, ProfileWord::Standard, |at| Some(at.value));
    let spoken = self::version(version, profile, family, judge);
    let interval = self::interval(interval, profile, spoken, judge);
    let preempt = or(preempt, Preempt::Never, |never_or| Some(preempt_of(never_or)));
    let refresh = self::refresh(refresh, judge);
    let tracks = or(tracks, vec![], |written| tracks::tracks(written, judge));
    let needs_balancer = or(needs_balancer, balances, Some);
    let checksum = or(checksum, Checksum::AsHeard, |at| Some(at.value));
    let witnesses = or(witnesses, vec![], |written| self::witnesses(written, judge));
    let signature = or(signature, None, |at| self::signature(at, interval, judge).map(Some));
    let authentication = authentication(password, signature, spoken, judge);
    let is_enforced = matches!(
        &authentication,
        Some(Authentication::Signature(Signature { mode, .. }))
            if *mode == crate::vrrp::packet::auth::Mode::Enforce
    );
    let reach = reach(peers, max_hops, family, is_enforced, judge);
    let source = or(source, None, |at| of_family(&at, family, judge).map(Some));

    if let (Some(interface), Some(vrid), Some(family), Some(spot)) =
        (&interface, vrid, family, vrid_at)
    {
        let key = (interface.to_string(), vrid.get(), family.number());
        if let Some(other) = seen.routers.get(&key) {
            let what = format!("VRID {vrid} on {interface} over IPv{}", family.number());
            judge.problems.add(spot.twice(other, what));
        }
        seen.routers.insert(key, spot);
    }
    let (vips, family) = (vips?, family?);
    if let (IpAddr::V6(first), Some(spot)) = (vips[0].address, &vips_at)
        && !first.is_unicast_link_local()
    {
        return judge.wrong(
            spot,
            format!(
                "the first of them is {first}, expected a link-local address in front of it, such as \"fe80::5e:{}\": \
                 RFC 9568 §5.2.9",
                vrid.map_or(1, Vrid::get)
            ),
        );
    }
    let (version, accepted) = spoken?;
    let router = VirtualRouter {
        name: Arc::from(&*name.value),
        interface: interface?,
        vrid: vrid?,
        priority: priority?,
        family,
        vips,
        version,
        accepted,
        interval: interval?,
        reach: reach?,
        source: source?,
        preempt: preempt?,
        refresh: refresh?,
        tracks: tracks?,
        needs_balancer: needs_balancer?,
        witnesses: witnesses?,
        checksum: checksum?,
        authentication: authentication?,
    };
    if let Some(source) = router.source.filter(|source| router.has(*source)) {
        return judge.wrong(
            &raw.spot,
            format!("{source} is source and one of vips: a box has its source whoever has those"),
        );
    }
    if let (Reach::Unicast { peers, .. }, Some(source)) = (&router.reach, router.source)
        && peers.contains(&source)
    {
        return judge
            .wrong(&raw.spot, format!("{source} is source and one of peers: those are others"));
    }
    Some(router)
}

pub(super) fn interface(written: At<String>) -> Result<Arc<str>, Problem> {
    let text = &written.value;
    let fits = (1..=LONGEST_INTERFACE).contains(&text.len())
        && !text.bytes().any(|octet| octet.is_ascii_whitespace() || octet == b'/' || octet == 0);
    match fits {
        true => Ok(Arc::from(&**text)),
        false => Err(written.spot.problem(format!(
            "{text:?} is no interface's name: 1 to {LONGEST_INTERFACE} octets without spaces and /, such as \"eth0\""
        ))),
    }
}

fn priority(written: &At<i64>, judge: &mut Judge<'_>) -> Option<Priority> {
    let priority = Priority::new(judge.one(within(written, 1..=255))?)?;
    if priority == Priority::OWNER {
        judge.warn(
            &written.spot,
            "255 says that the addresses are this box's own: it takes over from every other, whatever preempt says; \
             they are put on and taken off all the same",
        );
    }
    Some(priority)
}

/// An address, alone or with the length of its prefix.
fn vip(written: &At<String>) -> Result<Vip, Problem> {
    let text = &written.value;
    let alone = text.parse::<IpAddr>().ok().map(IpNet::from);
    let Some(network) = alone.or_else(|| text.parse().ok()) else {
        return Err(written.spot.problem(format!(
            "{text:?} is no address, expected one such as \"192.0.2.10/24\" or \"2001:db8::10/64\""
        )));
    };
    let (address, prefix) = (network.addr(), network.prefix_len());
    let is_of_nobody = address.is_unspecified() || address.is_multicast() || address.is_loopback();
    if (Vip { address, prefix }).is_of_many() {
        return Err(written.spot.problem(format!(
            "{text} is the network's own address, or all of its hosts': no address that one box can have"
        )));
    }
    if is_of_nobody || prefix == 0 || address == IpAddr::V4(Ipv4Addr::BROADCAST) {
        return Err(written.spot.problem(format!("{text} is no address that one box can have")));
    }
    Ok(Vip { address, prefix })
}

fn vips(written: At<List<At<String>>>, seen: &mut Seen, judge: &mut Judge<'_>) -> Option<Vec<Vip>> {
    let count = written.value.len();
    if !(1..=MOST_VIPS_OF_A_ROUTER).contains(&count) {
        return judge.wrong(
            &written.spot,
            format!("{count} addresses, expected 1 to {MOST_VIPS_OF_A_ROUTER}"),
        );
    }
    let mut vips = vec![];
    for item in written.value {
        let vip = item.and_then(|item| {
            let vip = judge.one(vip(&item))?;
            if let Some(other) = seen.vips.get(&vip.address) {
                judge.problems.add(item.spot.twice(other, vip.address));
                return None;
            }
            seen.vips.insert(vip.address, item.spot);
            Some(vip)
        });
        vips.push(vip);
    }
    vips.into_iter().collect()
}

/// What is spoken, and what is listened to.
fn version(
    written: super::bounds::Given<i64>,
    profile: Option<ProfileWord>,
    family: Option<Family>,
    judge: &mut Judge<'_>,
) -> Option<(Version, Accepted)> {
    let usual = match (profile?, family) {
        // Only version 3 knows IPv6.
        (ProfileWord::Compat, Some(Family::V4)) => (Version::V2, Accepted::Either),
        (ProfileWord::Standard | ProfileWord::Fast | ProfileWord::Compat, _) => {
            (Version::V3, Accepted::Only(Version::V3))
        }
    };
    or(written, usual, |at| match (at.value, family) {
        (2, Some(Family::V6)) => {
            judge.wrong(&at.spot, "version 2 knows no IPv6, and the first of vips is one")
        }
        (2, Some(Family::V4) | None) => Some((Version::V2, Accepted::Only(Version::V2))),
        (3, _) => Some((Version::V3, Accepted::Only(Version::V3))),
        (other, _) => judge.wrong(&at.spot, format!("found {other}, expected 2 or 3")),
    })
}

fn interval(
    written: super::bounds::Given<Duration>,
    profile: Option<ProfileWord>,
    spoken: Option<(Version, Accepted)>,
    judge: &mut Judge<'_>,
) -> Option<Interval> {
    let (version, _) = spoken?;
    let usual = match (profile?, version) {
        (ProfileWord::Compat, _) | (_, Version::V2) => 100,
        (ProfileWord::Standard, Version::V3) => 40,
        (ProfileWord::Fast, Version::V3) => 10,
    };
    or(written, Interval::of_centiseconds(usual)?, |at| {
        let time = at.value;
        let (expected, longest) = match version {
            Version::V2 => {
                ("whole seconds, 1s to 255s, as version 2 has no others", Interval::LONGEST)
            }
            Version::V3 => ("10ms to 40.95s in steps of 10ms", Interval::LONGEST_OF_V3),
        };
        let centiseconds = u16::try_from(time.as_millis() / 10).ok();
        let interval = centiseconds.and_then(Interval::of_centiseconds).filter(|interval| {
            let is_whole = version == Version::V3 || interval.whole_seconds().is_some();
            is_whole && *interval <= longest && interval.duration() == time
        });
        interval.or_else(|| {
            judge.wrong(&at.spot, format!("found {}, expected {expected}", duration::shown(time)))
        })
    })
}

fn preempt_of(written: At<file::NeverOr>) -> Preempt {
    match written.value {
        file::NeverOr::Never => Preempt::Never,
        file::NeverOr::Time(delay) => Preempt::After(delay),
    }
}

fn refresh(written: Option<Option<At<file::NeverOr>>>, judge: &mut Judge<'_>) -> Option<Refresh> {
    or(written, Refresh::Every(REFRESH), |At { value, spot }| match value {
        file::NeverOr::Never => Some(Refresh::Never),
        file::NeverOr::Time(time) => {
            let range = Duration::from_secs(1)..=Duration::from_secs(86_400);
            let time = super::bounds::time_within(&At { value: time, spot }, range);
            judge.one(time).map(Refresh::Every)
        }
    })
}

fn witnesses(written: At<List<At<IpAddr>>>, judge: &mut Judge<'_>) -> Option<Vec<Ipv4Addr>> {
    let At { value: items, spot } = written;
    if !(1..=MOST_WITNESSES).contains(&items.len()) {
        let count = items.len();
        return judge.wrong(&spot, format!("{count} addresses, expected 1 to {MOST_WITNESSES}"));
    }
    let one = |item: Option<At<IpAddr>>| {
        let At { value, spot } = item?;
        match value {
            IpAddr::V4(address) => Some(address),
            IpAddr::V6(_) => {
                judge.wrong(&spot, "a witness is asked by ARP, so it has an IPv4 address")
            }
        }
    };
    let all: Vec<Option<Ipv4Addr>> = items.into_iter().map(one).collect();
    all.into_iter().collect()
}

fn of_family(at: &At<IpAddr>, family: Option<Family>, judge: &mut Judge<'_>) -> Option<IpAddr> {
    let family = family?;
    if Family::of(at.value) == family {
        return Some(at.value);
    }
    let (found, number) = (at.value, family.number());
    judge.wrong(&at.spot, format!("found {found}, expected IPv{number}, as the first of vips is"))
}

fn reach(
    peers: Option<Option<At<List<At<IpAddr>>>>>,
    max_hops: super::bounds::Given<i64>,
    family: Option<Family>,
    is_enforced: bool,
    judge: &mut Judge<'_>,
) -> Option<Reach> {
    let (peers, max_hops) = (peers?, max_hops?);
    let Some(At { value: items, spot }) = peers else {
        return match max_hops {
            Some(At { spot, .. }) => {
                judge.wrong(&spot, "is of no use without peers: multicast passes no router")
            }
            None => Some(Reach::Multicast),
        };
    };
    if !(1..=MOST_PEERS).contains(&items.len()) {
        let count = items.len();
        return judge.wrong(
            &spot,
            format!(
                "{count} peers, expected 1 to {MOST_PEERS}; without the key adverts go by multicast"
            ),
        );
    }
    let peers: Vec<Option<IpAddr>> =
        items.into_iter().map(|item| of_family(&item?, family, judge)).collect();
    let lowest_hop_limit = match max_hops {
        None => HOP_LIMIT,
        Some(written) => {
            if !is_enforced {
                return judge.wrong(
                    &written.spot,
                    "needs signature with mode = \"enforce\" beside it: from beyond a router anybody can send an advert",
                );
            }
            let hops: u8 = judge.one(within(&written, 1..=254))?;
            HOP_LIMIT - hops
        }
    };
    Some(Reach::Unicast { peers: peers.into_iter().collect::<Option<_>>()?, lowest_hop_limit })
}

fn authentication(
    password: Option<Option<At<String>>>,
    signature: Option<Option<Signature>>,
    spoken: Option<(Version, Accepted)>,
    judge: &mut Judge<'_>,
) -> Option<Authentication> {
    let (password, signature, (version, _)) = (password?, signature?, spoken?);
    match (password, signature) {
        (None, None) => Some(Authentication::None),
        (None, Some(signature)) => Some(Authentication::Signature(signature)),
        (Some(At { spot, .. }), Some(_)) => {
            judge.wrong(&spot, "signature stands beside it, and is worth more: remove one of them")
        }
        (Some(At { spot, .. }), None) if version == Version::V3 => {
            judge.wrong(&spot, "version 3 has no password; use signature, or version = 2")
        }
        (Some(At { value, spot }), None) => {
            if value.is_empty() || value.bytes().any(|octet| octet == 0) {
                return judge.wrong(&spot, "expected a password of 1 to 8 octets");
            }
            let cut = match value.len() {
                0..=PASSWORD => String::new(),
                _ => format!("; only its first {PASSWORD} octets are sent"),
            };
            judge.warn(
                &spot,
                format!(
                    "everybody on the link can read it{cut}: use signature where peers have it"
                ),
            );
            Some(Authentication::Password(Password::cut(&value)))
        }
    }
}

fn signature(
    written: At<file::Signature>,
    interval: Option<Interval>,
    judge: &mut Judge<'_>,
) -> Option<Signature> {
    let At { value: file::Signature { keys, sign_with, mode, window }, spot } = written;
    let (keys, mode) = (keys?, or(mode, SignatureWord::Enforce, |at| Some(at.value)));
    let sign_with = sign_with?;
    if keys.value.is_empty() {
        return judge.wrong(&keys.spot, "there is no key: add { id = 1, file = \"vrrp.key\" }");
    }
    let mut read = vec![];
    for item in keys.value {
        read.push(item.and_then(|item| key(item, judge)));
    }
    let read: Vec<(KeyId, Secret, Spot)> = read.into_iter().collect::<Option<_>>()?;
    for (index, (id, _, spot)) in read.iter().enumerate() {
        if let Some((_, _, other)) = read[..index].iter().find(|(before, ..)| before == id) {
            judge.problems.add(spot.twice(other, format!("key {}", id.get())));
            return None;
        }
    }
    let id: u8 = match &sign_with {
        Some(written) => judge.one(within(written, 1..=255))?,
        None => read.first()?.0.get(),
    };
    let Some(place) = read.iter().position(|(known, ..)| known.get() == id) else {
        let spot = sign_with.as_ref().map_or(&spot, |written| &written.spot);
        let known: Vec<String> = read.iter().map(|(id, ..)| id.get().to_string()).collect();
        return judge.wrong(spot, format!("no key {id} (keys: {})", known.join(", ")));
    };
    let freshness = match window? {
        None => Freshness::usual(interval?.duration()),
        Some(At { value: file::NeverOr::Never, .. }) => Freshness::Growing,
        Some(At { value: file::NeverOr::Time(time), spot }) => {
            let at = At { value: time, spot };
            let time = judge.one(super::bounds::time_within(&at, WINDOW))?;
            Freshness::Within { seconds: u16::try_from(time.as_secs()).ok()? }
        }
    };
    let mut others: Vec<(KeyId, Secret)> =
        read.into_iter().map(|(id, secret, _)| (id, secret)).collect();
    let signing = others.remove(place);
    Some(Signature { signing, others, mode: mode?.into(), freshness })
}

fn key(written: At<file::Key>, judge: &mut Judge<'_>) -> Option<(KeyId, Secret, Spot)> {
    let At { value: file::Key { id, file }, spot } = written;
    let id: Option<u8> = id.and_then(|id| judge.one(within(&id, 1..=255)));
    let file = file?;
    let path = judge.path(&file)?;
    let shown = path.display();
    let text = fs::metadata(&path).and_then(|metadata| match metadata.len() {
        0..=LARGEST_KEY_FILE => fs::read_to_string(&path),
        _ => Err(std::io::Error::other("it is larger than any key")),
    });
    let text = match text {
        Ok(text) => text,
        // The pair's secret is none of the process that strangers talk to.
        Err(error)
            if error.kind() == ErrorKind::PermissionDenied && judge.reader == Reader::Balancer =>
        {
            return Some((KeyId::new(id?)?, Secret(Arc::default()), spot));
        }
        Err(error) => return judge.wrong(&file.spot, format!("cannot read {shown}: {error}")),
    };
    let octets = HEXLOWER_PERMISSIVE.decode(text.trim().as_bytes()).ok();
    let Some(octets) = octets.filter(|octets| KEY_LENGTH.contains(&octets.len())) else {
        return judge.wrong(
            &file.spot,
            format!("{shown} holds no key: expected 64 to 128 hexadecimal digits, as of openssl rand -hex 32"),
        );
    };
    Some((KeyId::new(id?)?, Secret(octets.into()), spot))
}
