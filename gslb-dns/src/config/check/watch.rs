//! Vantages, checks, and how a service uses them.

use std::collections::HashMap;
use std::net::IpAddr;
use std::num::NonZeroU16;
use std::time::Duration;

use common::check::{
    Check, Dns, External, Grpc, Grpcs, HeaderExpect, Http, Https, Kind, KindWord, Statuses, Tcp,
    Text, Timing, Tls, UsualPort,
};
use common::principal::{self, Principal};
use common::report::MOST_TARGETS;
use common::streak::Thresholds;
use common::target::{Address, Target, TargetId};

use super::names::{Named, Names};
use super::service::Draft;
use super::{or, place, within};
use crate::config::file;
use crate::config::problems::{Problems, Spot};
use crate::config::read::{At, Entries, List};
use crate::name::Name;
use crate::verdict::Share;
use crate::verdict::quorum::Quorum;
use crate::watch::{Combine, MOST_CHECKS, MOST_VANTAGES, Regions, Vantage, Watch, WatchedVip};
use crate::world::{Candidate, Destination};

const INTERVAL: Duration = Duration::from_secs(5);
const TIMEOUT: Duration = Duration::from_secs(2);
const RISE: i64 = 2;
const FALL: i64 = 3;
const OK: i64 = 2;
const MOST_RESULTS: i64 = 1000;
const MOST_PORT: i64 = u16::MAX as i64;

/// A check by name, and where to look unless the service says it.
pub struct NamedCheck {
    port: u16,
    /// The service's own name if it says nothing.
    host: Option<String>,
    check: Check,
}

pub fn vantages(entries: Entries<At<file::Vantage>>, problems: &mut Problems) -> Vec<Vantage> {
    let mut domains: HashMap<String, usize> = HashMap::new();
    let mut list = Vec::new();
    if let Some((beyond, _)) = entries.0.get(MOST_VANTAGES) {
        let count = entries.0.len();
        let message = format!("one of {count} vantages, where {MOST_VANTAGES} is the most");
        problems.add(beyond.spot.problem(message));
    }
    for (name, raw) in entries.0 {
        // Whether a probe can have a certificate of that name.
        let sound = Principal::new("cluster", principal::Kind::Probe, &name.value);
        let sound = problems.one(sound.map_err(|error| name.spot.problem(error.to_string())));
        let Some(At { value: file::Vantage { place, domain }, spot: _ }) = raw else { continue };
        let place = or(place, geoip::Place::default(), |place| place::of_site(place, problems));
        let domain = or(domain, None, |domain| Some(Some(domain)));
        let (Some(_), Some(place), Some(domain)) = (sound, place, domain) else { continue };
        let next = domains.len();
        // A name that no vantage's domain can have: each is by itself unless it says otherwise.
        let key = domain.map_or_else(|| format!("\0{}", name.value), |domain| domain.value);
        let domain = *domains.entry(key).or_insert(next);
        list.push(Vantage { name: name.value.as_str().into(), place, domain });
    }
    list
}

pub fn checks(entries: Entries<At<file::Check>>, problems: &mut Problems) -> Named<NamedCheck> {
    let names = Names::new(("check", "checks"), &entries);
    let list = entries.0.into_iter().map(|(_, raw)| check(raw?, problems));
    let list = list.collect();
    Named { names, list }
}

fn check(raw: At<file::Check>, problems: &mut Problems) -> Option<NamedCheck> {
    let At { value: raw, spot } = raw;
    let file::Check {
        kind,
        port,
        host,
        path,
        method,
        version,
        headers,
        send,
        name: asked,
        r#type,
        service,
        program,
        verify,
        expect,
        interval,
        timeout,
        rise,
        fall,
        ok,
    } = raw;
    let interval = or(interval, INTERVAL, |at| Some(at.value));
    let timeout = or(timeout, TIMEOUT, |at| Some(at.value));
    let mut results = |raw, default| -> Option<NonZeroU16> {
        let count: i64 =
            or(raw, default, |at: At<i64>| problems.one(within(&at, 1..=MOST_RESULTS)))?;
        NonZeroU16::new(u16::try_from(count).ok()?)
    };
    let (rise, fall, ok) = (results(rise, RISE), results(fall, FALL), results(ok, OK));
    let kind = kind?.value;
    let mut given = Given { kind, problems, spot: &spot };
    let port = given.port(port);
    let host = or(host, None, |host| Some(Some(host.value)));
    let path = given.of("path", HTTP, path);
    let method = given.of("method", HTTP, method);
    let version = given.of("version", HTTP, version);
    let headers = given.of("headers", HTTP, headers);
    let send = given.of("send", &[KindWord::Tcp], send);
    let asked = given.of("name", &[KindWord::Dns], asked);
    let rtype = given.of("type", &[KindWord::Dns], r#type);
    let service = given.of("service", &[KindWord::Grpc, KindWord::Grpcs], service);
    let program = given.of("program", &[KindWord::External], program);
    let verify = given.of("verify", WITHIN_TLS, verify);
    let Expected { status, headers: expect_headers, text, answer } = given.expected(expect)?;
    let tls = Tls { verify: verify?.unwrap_or_default() };
    let grpc = Grpc { service: service?.unwrap_or_default() };
    let (method, path, version) = (method?, path?, version?);
    let (headers, send, asked, program, rtype) = (headers?, send?, asked?, program?, rtype?);
    let http = Http {
        version: version.unwrap_or_default(),
        method: method.unwrap_or_default(),
        path: path.unwrap_or_else(|| "/".to_owned()),
        headers: headers.map(pairs).unwrap_or_default(),
        status,
        expect_headers,
        expect_body: text.clone(),
    };
    let kind = match kind {
        KindWord::Tcp => Kind::Tcp(Tcp { send, expect: text }),
        KindWord::Tls => Kind::Tls(tls),
        KindWord::Http => Kind::Http(http),
        KindWord::Https => Kind::Https(Https { http, tls }),
        KindWord::Dns => {
            let name = given.needed("name", asked)?;
            let rtype = rtype.unwrap_or_else(|| "SOA".to_owned());
            Kind::Dns(Dns { name, rtype, expect: answer })
        }
        KindWord::Icmp => Kind::Icmp,
        KindWord::Grpc => Kind::Grpc(grpc),
        KindWord::Grpcs => Kind::Grpcs(Grpcs { grpc, tls }),
        KindWord::External => {
            Kind::External(External { program: given.needed("program", program)? })
        }
    };
    let thresholds = Thresholds { rise: rise?, fall: fall?, ok: ok? };
    let check = Check { kind, timing: Timing::new(interval?, timeout?, thresholds) };
    let faults = check.faults();
    for fault in &faults {
        problems.add(spot.problem(fault.to_string()));
    }
    if !faults.is_empty() {
        return None;
    }
    Some(NamedCheck { port: port?, host: host?, check })
}

const HTTP: &[KindWord] = &[KindWord::Http, KindWord::Https];
const WITHIN_TLS: &[KindWord] = &[KindWord::Tls, KindWord::Https, KindWord::Grpcs];

/// The keys of one check, as far as its kind has them.
struct Given<'g> {
    kind: KindWord,
    spot: &'g Spot,
    problems: &'g mut Problems,
}

/// What an answer must be like.
struct Expected {
    status: Statuses,
    headers: Vec<HeaderExpect>,
    text: Option<Text>,
    answer: Option<String>,
}

impl Given<'_> {
    /// A key that belongs to these kinds alone.
    fn of<T>(
        &mut self,
        key: &str,
        kinds: &[KindWord],
        raw: Option<Option<At<T>>>,
    ) -> Option<Option<T>> {
        or(raw, None, |at| {
            if !kinds.contains(&self.kind) {
                let words: Vec<String> =
                    kinds.iter().map(|kind| format!("{:?}", kind.as_str())).collect();
                let kinds = words.join(" or ");
                let message =
                    format!("{key} belongs to checks of kind {kinds}; remove it, or change kind");
                self.problems.add(at.spot.problem(message));
                return None;
            }
            Some(Some(at.value))
        })
    }

    fn needed<T>(&mut self, key: &str, value: Option<T>) -> Option<T> {
        if value.is_none() {
            let message =
                format!("{key} is missing: a check of kind {:?} needs it", self.kind.as_str());
            self.problems.add(self.spot.problem(message));
        }
        value
    }

    /// Where it listens: the kind's own port, where there is one.
    fn port(&mut self, raw: Option<Option<At<i64>>>) -> Option<u16> {
        let Some(at) = raw? else {
            return match self.kind.port() {
                UsualPort::Is(port) => Some(port),
                UsualPort::None => Some(0),
                UsualPort::Unknown => self.needed("port", None),
            };
        };
        if self.kind.port() == UsualPort::None {
            let message =
                format!("a check of kind {:?} has no port; remove it", self.kind.as_str());
            self.problems.add(at.spot.problem(message));
            return None;
        }
        self.problems.one(within(&at, 1..=MOST_PORT))
    }

    fn expected(&mut self, raw: Option<Option<At<file::CheckExpect>>>) -> Option<Expected> {
        let Some(At { value: raw, spot }) = raw? else {
            return Some(Expected {
                status: Statuses::default(),
                headers: vec![],
                text: None,
                answer: None,
            });
        };
        let file::CheckExpect { status, headers, contains, matches, answer } = raw;
        const WITH_TEXT: &[KindWord] = &[KindWord::Tcp, KindWord::Http, KindWord::Https];
        let status = self.of("expect.status", HTTP, status);
        let headers = self.of("expect.headers", HTTP, headers);
        let contains = self.of("expect.contains", WITH_TEXT, contains);
        let matches = self.of("expect.matches", WITH_TEXT, matches);
        let answer = self.of("expect.answer", &[KindWord::Dns], answer);
        let (contains, matches) = (contains?, matches?);
        if contains.is_some() && matches.is_some() {
            self.problems.add(spot.problem("has contains and matches; keep one of them"));
            return None;
        }
        let text = contains.map(Text::Contains).or(matches.map(Text::Matches));
        let status = status?.map(|list| list.into_iter().flatten().map(|at| at.value).collect());
        let headers = headers?.map(pairs).unwrap_or_default();
        let headers = headers.into_iter().map(|(name, value)| {
            // Without a word of it, the header only has to be there.
            let value = (!value.is_empty()).then_some(Text::Contains(value));
            HeaderExpect { name, value }
        });
        Some(Expected {
            status: status.map_or_else(Statuses::default, Statuses),
            headers: headers.collect(),
            text,
            answer: answer?,
        })
    }
}

fn pairs(entries: Entries<At<String>>) -> Vec<(String, String)> {
    let pair = |(name, value): (At<String>, Option<At<String>>)| Some((name.value, value?.value));
    entries.0.into_iter().filter_map(pair).collect()
}

/// What a service says of how it is watched.
pub struct Asked {
    pub check: Option<Option<At<List<At<String>>>>>,
    pub any: Option<Option<At<List<At<String>>>>>,
    pub quorum: Option<Option<At<file::Quorum>>>,
}

/// What a service may be watched by.
pub struct Watchers<'w> {
    pub checks: &'w Named<NamedCheck>,
    pub vantages: &'w [Vantage],
}

/// How a service is watched, before its targets have numbers.
pub struct Watching {
    pub checks: Vec<u16>,
    pub combine: Combine,
    pub quorum: Quorum,
    pub max_removed: Share,
    /// Of its checks.
    pub spot: Spot,
    pub spots: QuorumSpots,
}

/// Where parts of a quorum are written.
pub struct QuorumSpots {
    pub vantages: Spot,
    pub domains: Spot,
    pub max_removed: Spot,
}

impl Watchers<'_> {
    /// The inner `None` if nobody watches it.
    pub fn watching(
        &self,
        asked: Asked,
        service: &Spot,
        problems: &mut Problems,
    ) -> Option<Option<Watching>> {
        let Asked { check, any, quorum } = asked;
        let (combine, list) = match (check?, any?) {
            (None, None) => {
                if let Some(quorum) = quorum? {
                    let message =
                        "can never matter: nothing is checked; add check = [...], or remove it";
                    problems.add(quorum.spot.problem(message));
                    return None;
                }
                return Some(None);
            }
            (Some(_), Some(any)) => {
                let message =
                    "stands beside check; a service has one or the other: all must pass, or any";
                problems.add(any.spot.problem(message));
                return None;
            }
            (Some(all), None) => (Combine::All, all),
            (None, Some(any)) => (Combine::Any, any),
        };
        let checks = self.checks_of(&list, problems);
        let Some(quorum) = quorum? else {
            problems.add(service.problem(
                "quorum is missing: with a check, say what it takes to believe it, such as \
                 quorum = { down = 0.6, up = 0.6, vantages = 3, domains = 2, max_removed = 0.5 }",
            ));
            return None;
        };
        let (quorum, max_removed, spots) = self.quorum(quorum, problems)?;
        let (checks, spot) = (checks?, list.spot);
        Some(Some(Watching { checks, combine, quorum, max_removed, spot, spots }))
    }

    fn checks_of(&self, list: &At<List<At<String>>>, problems: &mut Problems) -> Option<Vec<u16>> {
        let count = list.value.len();
        if count == 0 || count > MOST_CHECKS {
            let message = format!("lists {count} checks, expected 1 to {MOST_CHECKS}");
            problems.add(list.spot.problem(message));
            return None;
        }
        let mut found: Vec<u16> = Vec::new();
        for name in list.value.iter().flatten() {
            let Some(check) = problems.one(self.checks.names.find(name)) else { continue };
            if found.contains(&check) {
                let message = format!("{:?} is listed twice; remove one", name.value);
                problems.add(name.spot.problem(message));
                continue;
            }
            found.push(check);
        }
        (found.len() == count).then_some(found)
    }

    fn quorum(
        &self,
        raw: At<file::Quorum>,
        problems: &mut Problems,
    ) -> Option<(Quorum, Share, QuorumSpots)> {
        let At { value: raw, spot } = raw;
        let file::Quorum { down, up, vantages, domains, max_removed } = raw;
        let spots = QuorumSpots {
            vantages: vantages.as_ref().map_or(&spot, |at| &at.spot).clone(),
            domains: domains.as_ref().map_or(&spot, |at| &at.spot).clone(),
            max_removed: max_removed.as_ref().map_or(&spot, |at| &at.spot).clone(),
        };
        let mut share = |at: Option<At<f64>>| -> Option<Share> {
            let at = at?;
            let share = Share::new(at.value);
            if share.is_none() {
                let message = format!("found {}, expected a share from 0 to 1", at.value);
                problems.add(at.spot.problem(message));
            }
            share
        };
        let (down, up, max_removed) = (share(down), share(up), share(max_removed));
        let there = self.vantages.len();
        let mut domains_there: Vec<usize> = self.vantages.iter().map(|one| one.domain).collect();
        domains_there.sort_unstable();
        domains_there.dedup();
        let mut least = |at: Option<At<i64>>, what: &str, there: usize| -> Option<usize> {
            let at = at?;
            let most = MOST_VANTAGES as i64;
            let count: usize = problems.one(within(&at, 1..=most))?;
            if count > there {
                let message = format!(
                    "{count} {what} are never reached: the world has {there}; add [vantage.NAME], or ask for fewer"
                );
                problems.add(at.spot.problem(message));
                return None;
            }
            Some(count)
        };
        let vantages = least(vantages, "vantages", there);
        let domains = least(domains, "failure domains of vantages", domains_there.len());
        let (down, up) = (down?, up?);
        if !down.exceed_all_with(up) {
            problems.add(spot.problem(
                "down and up are not more than 1 together, so one state of things could be called both; raise one",
            ));
            return None;
        }
        let quorum = Quorum { down, up, vantages: vantages?, domains: domains? };
        Some((quorum, max_removed?, spots))
    }

    /// What is looked at for one service.
    pub fn watch(
        &self,
        service: &Name,
        candidates: &[Candidate],
        watching: Watching,
        targets: &mut Targets,
        problems: &mut Problems,
    ) -> Option<Watch> {
        let Watching { checks, combine, quorum, max_removed, spot, spots: _ } = watching;
        let checks: Vec<&NamedCheck> = checks
            .iter()
            .map(|check| self.checks.at(usize::from(*check)))
            .collect::<Option<_>>()?;
        let name = service.to_host();
        let mut is_sound = true;
        let mut of_address = |address: Address, ip: Option<IpAddr>| -> WatchedVip {
            let mut numbers = Vec::new();
            for check in &checks {
                let host = check.host.clone().unwrap_or_else(|| name.to_string());
                let target = Target {
                    address: address.clone(),
                    port: check.port,
                    host,
                    check: check.check.clone(),
                };
                if let (Some(fault), true) = (target.faults().first(), is_sound) {
                    let message = format!("{fault}; give the check host = \"...\"");
                    problems.add(spot.problem(message));
                    is_sound = false;
                }
                numbers.push(targets.number(target));
            }
            WatchedVip { address: ip, targets: numbers }
        };
        let count = candidates.len();
        let candidates = candidates.iter().map(|candidate| match &candidate.target {
            Destination::Vips(vips) => {
                vips.all().map(|address| of_address(Address::Ip(address), Some(address))).collect()
            }
            Destination::Cname(name) => {
                vec![of_address(Address::Name(name.to_host().to_string()), None)]
            }
        });
        let candidates = candidates.collect();
        // A site that is the only one is answered to everybody.
        let regions = if count > 1 { Regions::of(self.vantages) } else { Regions::NONE };
        is_sound.then_some(Watch { candidates, combine, quorum, max_removed, regions })
    }
}

/// Has every service watched as it asks for; what is looked at for all of them.
pub fn watched(
    drafts: &mut [Draft],
    watchers: &Watchers<'_>,
    problems: &mut Problems,
) -> Vec<(TargetId, Target)> {
    let mut targets = Targets::default();
    for draft in &mut *drafts {
        let Some(Some(watching)) = draft.watching.take() else { continue };
        let Some(service) = &mut draft.service else { continue };
        let watch =
            watchers.watch(&service.name, &service.candidates, watching, &mut targets, problems);
        service.watch = watch;
    }
    let Targets { list, numbers: _ } = targets;
    if list.len() > MOST_TARGETS
        && let Some(draft) = drafts.first()
    {
        let count = list.len();
        problems.add(draft.name.spot.problem(format!(
                "with all other services it has {count} targets to be looked at, and {MOST_TARGETS} is the most: \
                 fewer sites, addresses or checks"
            )));
    }
    list
}

/// What is looked at for all services together, each once.
#[derive(Default)]
pub struct Targets {
    list: Vec<(TargetId, Target)>,
    numbers: HashMap<TargetId, usize>,
}

impl Targets {
    fn number(&mut self, target: Target) -> usize {
        let id = target.id();
        *self.numbers.entry(id).or_insert_with(|| {
            self.list.push((id, target));
            self.list.len() - 1
        })
    }
}
