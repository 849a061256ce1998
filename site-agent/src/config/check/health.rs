//! How servers are looked at: the words of `world.toml`'s checks, with the intervals that a balancer has besides.

use std::net::{IpAddr, Ipv4Addr};
use std::num::NonZeroU16;
use std::time::Duration;

use common::check::{
    Check, Dns, Grpc, Grpcs, HeaderExpect, Http, Https, Kind, KindWord, LONGEST_INTERVAL,
    SHORTEST_INTERVAL, Statuses, Tcp, Text, Timing, Tls, Unfit, UsualPort, Version,
};
use common::config::problems::{Problem, Spot};
use common::config::read::{At, Entries};
use common::config::settle::{or, within};
use common::duration;
use common::streak::Thresholds;
use common::target::{Address, Target};

use super::Judge;
use super::bounds::{Given as Maybe, time_within};
use crate::config::file;
use crate::config::words::CheckKind;
use crate::site::{HttpVersion, Server, ServerCheck};

const INTERVAL: Duration = Duration::from_secs(2);
const LONGEST_USUAL_TIMEOUT: Duration = Duration::from_secs(2);
const RISE: i64 = 2;
const FALL: i64 = 3;
/// Successes after which failures before them are forgotten: as the checks of `world.toml` have it.
const OK: NonZeroU16 = NonZeroU16::new(2).expect("2 is not 0");
const MOST_RESULTS: i64 = 1000;
const MOST_PORT: i64 = u16::MAX as i64;

/// A way of looking, of which server is not said yet.
#[derive(Clone)]
pub struct Look {
    /// The server's own if there is none.
    port: Option<u16>,
    /// What the server is called otherwise.
    host: Option<String>,
    check: Check,
    fast_interval: Duration,
    down_interval: Duration,
}

impl Look {
    pub fn of(&self, server: &Server) -> ServerCheck {
        let sni = server.tls.as_ref().and_then(|tls| tls.sni.as_deref());
        let has_port = self.check.kind.word().port() != UsualPort::None;
        let port = if has_port { server.address.port() } else { 0 };
        let ca = server.tls.as_ref().and_then(|tls| tls.ca.clone());
        ServerCheck { ca, ..self.at(server.address.ip(), port, sni) }
    }

    /// Of somebody who is no server. `None` where it is not said at which port.
    pub fn of_address(&self, ip: IpAddr) -> Option<ServerCheck> {
        let usual = match self.check.kind.word().port() {
            UsualPort::Is(port) => Some(port),
            UsualPort::Unknown => self.port,
            UsualPort::None => Some(0),
        };
        usual.map(|port| self.at(ip, port, None))
    }

    /// What the check itself says goes before these.
    fn at(&self, ip: IpAddr, port: u16, host: Option<&str>) -> ServerCheck {
        let host = self.host.as_deref().or(host);
        let target = Target {
            address: Address::Ip(ip),
            port: self.port.unwrap_or(port),
            host: host.map_or_else(|| ip.to_string(), str::to_owned),
            check: self.check.clone(),
        };
        let (fast_interval, down_interval) = (self.fast_interval, self.down_interval);
        ServerCheck { target, ca: None, fast_interval, down_interval }
    }
}

/// `None` if anything is wrong with it. `spoken` is what requests are sent in: who is looked at where they go is spoken to alike.
pub fn look(raw: At<file::Check>, spoken: HttpVersion, judge: &mut Judge<'_>) -> Option<Look> {
    let At { value: raw, spot } = raw;
    let spots = Spots::of(&raw, &spot);
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
        verify,
        expect,
        interval,
        fast_interval,
        down_interval,
        timeout,
        rise,
        fall,
    } = raw;
    let times = times((interval, fast_interval, down_interval, timeout), judge);
    let mut results = |raw, default| -> Option<NonZeroU16> {
        let count: i64 = or(raw, default, |at: At<i64>| judge.one(within(&at, 1..=MOST_RESULTS)))?;
        NonZeroU16::new(u16::try_from(count).ok()?)
    };
    let (rise, fall) = (results(rise, RISE), results(fall, FALL));
    let CheckKind(kind) = kind?.value;
    let mut given = Given { kind, judge, spot: &spot };
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
    let verify = given.of("verify", WITHIN_TLS, verify);
    let Expected { status, headers: expect_headers, text, answer } = given.expected(expect)?;
    let tls = Tls { verify: verify?.unwrap_or_default() };
    let grpc = Grpc { service: service?.unwrap_or_default() };
    let (method, path, version) = (method?, path?, version?);
    let usual = match (spoken, port) {
        (HttpVersion::V2, Some(None)) => Version::V2,
        (HttpVersion::V1 | HttpVersion::V2, _) => Version::default(),
    };
    let (headers, send, asked, rtype) = (headers?, send?, asked?, rtype?);
    let http = Http {
        version: version.unwrap_or(usual),
        method: method.unwrap_or_default(),
        path: path.unwrap_or_else(|| "/".to_owned()),
        headers: headers.map(pairs).unwrap_or_default(),
        status,
        expect_headers,
        expect_body: text.clone(),
    };
    let kind = match kind {
        KindWord::Tcp | KindWord::External => Kind::Tcp(Tcp { send, expect: text }),
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
    };
    let Times { interval, fast_interval, down_interval, timeout } = times?;
    let thresholds = Thresholds { rise: rise?, fall: fall?, ok: OK };
    let check = Check { kind, timing: Timing::new(interval, timeout, thresholds) };
    let (port, host) = (port?, host?);
    let look = Look { port, host, check, fast_interval, down_interval };
    let is_sound = look.is_sound(&spots, judge);
    is_sound.then_some(look)
}

impl Look {
    /// What is wrong with it is wrong with all servers alike, so it is asked of one that is nobody's.
    fn is_sound(&self, spots: &Spots, judge: &mut Judge<'_>) -> bool {
        let target = Target {
            address: Address::Ip(IpAddr::V4(Ipv4Addr::LOCALHOST)),
            port: self.port.unwrap_or(1),
            host: self.host.clone().unwrap_or_else(|| "localhost".to_owned()),
            check: self.check.clone(),
        };
        let faults = target.faults();
        for fault in &faults {
            judge.problems.add(spots.problem(fault));
        }
        faults.is_empty()
    }
}

/// Where the keys of a check stand whose values the check itself judges.
struct Spots {
    /// By the names that it has for them.
    keys: Vec<(&'static str, Option<Spot>)>,
    whole: Spot,
}

impl Spots {
    fn of(raw: &file::Check, whole: &Spot) -> Spots {
        fn spot<T>(given: &Maybe<T>) -> Option<Spot> {
            Some(given.as_ref()?.as_ref()?.spot.clone())
        }
        let mut keys = vec![
            ("interval", spot(&raw.interval)),
            ("timeout", spot(&raw.timeout)),
            ("port", spot(&raw.port)),
            ("host", spot(&raw.host)),
            ("path", spot(&raw.path)),
            ("headers", spot(&raw.headers)),
            ("send", spot(&raw.send)),
            ("name", spot(&raw.name)),
            ("type", spot(&raw.r#type)),
            ("service", spot(&raw.service)),
        ];
        if let Some(Some(At { value: expect, .. })) = &raw.expect {
            let text = || spot(&expect.contains).or(spot(&expect.matches));
            keys.extend([
                ("expect.status", spot(&expect.status)),
                ("expect.headers", spot(&expect.headers)),
                ("expect.body", text()),
                ("expect", text().or(spot(&expect.answer))),
            ]);
        }
        Spots { keys, whole: whole.clone() }
    }

    fn problem(&self, fault: &Unfit) -> Problem {
        let spot = self.keys.iter().find(|(key, _)| *key == fault.key);
        match spot.and_then(|(_, spot)| spot.as_ref()) {
            Some(spot) => spot.problem(&*fault.fault),
            None => self.whole.problem(fault.to_string()),
        }
    }
}

struct Times {
    interval: Duration,
    fast_interval: Duration,
    down_interval: Duration,
    timeout: Duration,
}

type Written = (Maybe<Duration>, Maybe<Duration>, Maybe<Duration>, Maybe<Duration>);

fn times((interval, fast, down, timeout): Written, judge: &mut Judge<'_>) -> Option<Times> {
    let mut time = |given: Maybe<Duration>, usual: Duration| -> Option<(Duration, Option<Spot>)> {
        match given? {
            Some(at) => {
                let time = judge.one(time_within(&at, SHORTEST_INTERVAL..=LONGEST_INTERVAL))?;
                Some((time, Some(at.spot)))
            }
            None => Some((usual, None)),
        }
    };
    let (interval, _) = time(interval, INTERVAL)?;
    let (fast_interval, fast_spot) = time(fast, interval)?;
    let (down_interval, down_spot) = time(down, interval)?;
    if let Some(spot) = fast_spot.as_ref().filter(|_| fast_interval > interval) {
        let (fast, usual) = (duration::shown(fast_interval), duration::shown(interval));
        let message = format!("{fast} is longer than interval {usual}, and is for looking sooner");
        return judge.wrong(spot, message);
    }
    let shortest = fast_interval.min(down_interval);
    let usual_timeout = LONGEST_USUAL_TIMEOUT.min(shortest / 2);
    let timeout = or(timeout, usual_timeout, |at| Some(at.value))?;
    // That it is shorter than the interval is the check's own to say.
    for (time, spot) in [(fast_interval, fast_spot), (down_interval, down_spot)] {
        if let Some(spot) = spot.filter(|_| timeout >= time && timeout < interval) {
            let (time, timeout) = (duration::shown(time), duration::shown(timeout));
            let message = format!("{time} is not longer than timeout {timeout}");
            return judge.wrong(&spot, message);
        }
    }
    Some(Times { interval, fast_interval, down_interval, timeout })
}

const HTTP: &[KindWord] = &[KindWord::Http, KindWord::Https];
const WITHIN_TLS: &[KindWord] = &[KindWord::Tls, KindWord::Https, KindWord::Grpcs];

/// The keys of one check, as far as its kind has them.
struct Given<'g, 'j> {
    kind: KindWord,
    spot: &'g Spot,
    judge: &'g mut Judge<'j>,
}

/// What an answer must be like.
struct Expected {
    status: Statuses,
    headers: Vec<HeaderExpect>,
    text: Option<Text>,
    answer: Option<String>,
}

impl Given<'_, '_> {
    /// A key that belongs to these kinds alone.
    fn of<T>(&mut self, key: &str, kinds: &[KindWord], raw: Maybe<T>) -> Option<Option<T>> {
        or(raw, None, |at| {
            if !kinds.contains(&self.kind) {
                let words: Vec<String> =
                    kinds.iter().map(|kind| format!("{:?}", kind.as_str())).collect();
                let kinds = words.join(" or ");
                let message =
                    format!("{key} belongs to checks of kind {kinds}; remove it, or change kind");
                return self.judge.wrong(&at.spot, message);
            }
            Some(Some(at.value))
        })
    }

    fn needed<T>(&mut self, key: &str, value: Option<T>) -> Option<T> {
        if value.is_none() {
            let message =
                format!("{key} is missing: a check of kind {:?} needs it", self.kind.as_str());
            self.judge.problems.add(self.spot.problem(message));
        }
        value
    }

    /// The inner `None` for the server's own.
    fn port(&mut self, raw: Maybe<i64>) -> Option<Option<u16>> {
        or(raw, None, |at| {
            if self.kind.port() == UsualPort::None {
                let message =
                    format!("a check of kind {:?} has no port; remove it", self.kind.as_str());
                return self.judge.wrong(&at.spot, message);
            }
            self.judge.one(within(&at, 1..=MOST_PORT)).map(Some)
        })
    }

    fn expected(&mut self, raw: Maybe<file::CheckExpect>) -> Option<Expected> {
        let Some(At { value: raw, spot }) = raw? else {
            let (headers, text, answer) = (vec![], None, None);
            return Some(Expected { status: Statuses::default(), headers, text, answer });
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
            return self.judge.wrong(&spot, "has contains and matches; keep one of them");
        }
        let text = contains.map(Text::Contains).or(matches.map(Text::Matches));
        let status = match status? {
            Some(list) => Some(list.into_iter().map(|at| Some(at?.value)).collect::<Option<_>>()?),
            None => None,
        };
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
