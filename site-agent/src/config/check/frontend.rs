//! Frontends: where clients come in, within which bounds, and what becomes of them.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use common::config::problems::Spot;
use common::config::read::{At, List};
use common::config::settle::{or, within};
use ipnet::IpNet;

use super::bounds::{NEVER, not_longer, time_or, time_within};
use super::names::Names;
use super::rules::{Of, Rules, redirect, rules};
use super::{Judge, place, tls};
use crate::config::words::{ListenAddress, LogWord};
use crate::config::{MOST_BINDS, file};
use crate::site::{
    AccessLog, ClientTimeouts, Frontend, Hsts, Limits, LogFormat, LogTarget, Mode, PoolId, Routing,
};

const CONNECTIONS: RangeInclusive<i64> = 1..=10_000_000;
const USUAL_CONNECTIONS: usize = 20_000;
const HEAD_OCTETS: RangeInclusive<i64> = 1024..=1 << 20;
const HEADERS: RangeInclusive<i64> = 8..=1000;
const H2_STREAMS: RangeInclusive<i64> = 1..=10_000;
/// What browsers ask of those whom they know beforehand (hstspreload.org).
const PRELOAD_AGE: Duration = Duration::from_secs(31_536_000);
const LONGEST_AGE: Duration = Duration::from_secs(10 * 31_536_000);

/// What frontends know of the rest of the file, and of each other.
pub struct Known<'k> {
    pub names: &'k Names,
    /// By pool; `None` where it could not be read.
    pub modes: &'k [Option<Mode>],
    /// Whether any frontend sends something there, by pool.
    pub used: Vec<bool>,
    /// Where somebody listens already.
    pub taken: BTreeMap<SocketAddr, Spot>,
}

impl Known<'_> {
    /// A pool by its name, if it is of the same mode.
    pub fn pool(&mut self, name: &At<String>, mode: Mode, judge: &mut Judge<'_>) -> Option<PoolId> {
        let id = judge.one(self.names.find(name))?;
        self.used[id.0] = true;
        match self.modes[id.0] {
            Some(other) if other != mode => judge.wrong(
                &name.spot,
                format!(
                    "pool {:?} is of mode \"{other}\", this frontend of mode \"{mode}\"",
                    name.value
                ),
            ),
            Some(_) | None => Some(id),
        }
    }
}

pub fn frontend(
    name: &At<String>,
    raw: At<file::Frontend>,
    known: &mut Known<'_>,
    judge: &mut Judge<'_>,
) -> Option<Frontend> {
    let At { value: raw, spot } = raw;
    let file::Frontend {
        bind,
        mode,
        tls,
        accept_proxy,
        trusted,
        max_connections,
        timeouts,
        limits,
        rules,
        pool,
        redirect_https,
        hsts,
        access_log,
    } = raw;
    let bind = bind.and_then(|list| addresses(&list, known, judge));
    let mode = or(mode, Mode::Http, |mode| Some(mode.value))?;
    judge.only_http("frontend", mode, &trusted);
    judge.only_http("frontend", mode, &limits);
    judge.only_http("frontend", mode, &redirect_https);
    judge.only_http("frontend", mode, &hsts);
    let has_tls = !matches!(tls, Some(None));
    let tls = or(tls, None, |tls| tls::tls(tls.value, mode, judge).map(Some));
    let accept_proxy = or(accept_proxy, vec![], |list| networks(&list, judge));
    let trusted = or(trusted, vec![], |list| networks(&list, judge));
    let max_connections =
        or(max_connections, USUAL_CONNECTIONS, |number| judge.one(within(&number, CONNECTIONS)));
    let timeouts = or(timeouts, ClientTimeouts::default(), |raw| self::timeouts(raw, mode, judge));
    let limits = or(limits, Limits::default(), |raw| self::limits(raw.value, judge));
    let of = Of { mode, has_tls };
    let rules = or(rules, Rules::default(), |list| self::rules(list, of, known, judge));
    let hsts = match mode {
        Mode::Http => or(hsts, None, |raw| self::hsts(raw, has_tls, judge).map(Some)),
        Mode::Tcp => Some(None),
    };
    let access_log = or(access_log, Some(STDOUT), |raw| self::access_log(raw, judge));
    let (pool, redirect_https) = (pool?, redirect_https?);
    if let (Some(pool), Some(redirect)) = (&pool, &redirect_https) {
        let message =
            format!("is never asked: {} takes what no rule decides; remove one", redirect.spot);
        judge.problems.add(pool.spot.problem(message));
    }
    if pool.is_none()
        && redirect_https.is_none()
        && matches!(&rules, Some(rules) if rules.list.is_empty())
    {
        judge.problems.add(spot.problem("sends nothing anywhere: add pool = \"NAME\", or rules"));
    }
    if let Some(last) = rules.as_ref().and_then(|rules| rules.last.as_ref()) {
        let rest = [pool.as_ref().map(|at| &at.spot), redirect_https.as_ref().map(|at| &at.spot)];
        for spot in rest.into_iter().flatten() {
            let message = format!("is never asked: {last} has no when, so it always holds");
            judge.problems.add(spot.problem(message));
        }
    }
    let pool = match pool {
        Some(pool) => known.pool(&pool, mode, judge).map(Some),
        None => Some(None),
    };
    let redirect_https = match redirect_https.filter(|_| mode == Mode::Http) {
        Some(code) => judge.one(redirect(&code, has_tls)).map(Some),
        None => Some(None),
    };
    let Rules { list: rules, needs, last: _ } = rules?;
    Some(Frontend {
        name: name.value.as_str().into(),
        mode,
        bind: bind?,
        tls: tls?,
        accept_proxy: accept_proxy?,
        trusted: trusted?,
        max_connections: max_connections?,
        timeouts: timeouts?,
        limits: limits?,
        routing: Routing { rules, needs, redirect_https: redirect_https?, pool: pool? },
        hsts: hsts?,
        access_log: access_log?,
    })
}

/// Addresses that nobody has.
fn addresses(
    list: &At<List<At<ListenAddress>>>,
    known: &mut Known<'_>,
    judge: &mut Judge<'_>,
) -> Option<Vec<SocketAddr>> {
    if list.value.is_empty() || list.value.len() > MOST_BINDS {
        let count = list.value.len();
        let message =
            format!("lists {count} addresses, expected 1 to {MOST_BINDS}, such as \"0.0.0.0:80\"");
        return judge.wrong(&list.spot, message);
    }
    let mut addresses = vec![];
    for At { value: ListenAddress(value), spot } in list.value.iter().flatten() {
        // Port 0 is whichever is free, so two of them are two addresses.
        match known.taken.get(value).filter(|_| value.port() != 0) {
            Some(by) => judge.problems.add(spot.problem(format!("{value} is taken by {by}"))),
            None => drop(known.taken.insert(*value, spot.clone())),
        }
        addresses.push(*value);
    }
    (addresses.len() == list.value.len()).then_some(addresses)
}

/// Networks whose word is taken for who a client is.
fn networks(list: &At<List<At<IpNet>>>, judge: &mut Judge<'_>) -> Option<Vec<IpNet>> {
    if list.value.is_empty() {
        return judge.wrong(&list.spot, "is empty; list your proxies, or remove it");
    }
    let mut networks = vec![];
    for At { value, spot } in list.value.iter().flatten() {
        if value.prefix_len() == 0 {
            let message = format!(
                "{value} is everybody, who could then say to be anybody; list your proxies"
            );
            judge.problems.add(spot.problem(message));
        }
        networks.push(*value);
    }
    (networks.len() == list.value.len()).then_some(networks)
}

fn timeouts(
    raw: file::ClientTimeouts,
    mode: Mode,
    judge: &mut Judge<'_>,
) -> Option<ClientTimeouts> {
    let file::ClientTimeouts { client, http_request, keep_alive, client_fin } = raw;
    judge.only_http("frontend", mode, &http_request);
    judge.only_http("frontend", mode, &keep_alive);
    let usual = ClientTimeouts::default();
    let client_time = time_or(&client, usual.client, judge);
    let http_request = time_or(&http_request, usual.http_request, judge);
    let keep_alive = time_or(&keep_alive, usual.keep_alive, judge);
    // What is left out follows the other, and never outlives it.
    let fin_time = time_or(&client_fin, usual.client_fin.min(client_time?), judge);
    not_longer((&client_fin, fin_time), ("client", client_time), NEVER, judge);
    Some(ClientTimeouts {
        client: client_time?,
        http_request: http_request?,
        keep_alive: keep_alive?,
        client_fin: fin_time?,
    })
}

fn limits(raw: file::Limits, judge: &mut Judge<'_>) -> Option<Limits> {
    let file::Limits { head_octets, headers, h2_streams } = raw;
    let usual = Limits::default();
    let head_octets =
        or(head_octets, usual.head_octets, |number| judge.one(within(&number, HEAD_OCTETS)));
    let headers = or(headers, usual.headers, |number| judge.one(within(&number, HEADERS)));
    let h2_streams =
        or(h2_streams, usual.h2_streams, |number| judge.one(within(&number, H2_STREAMS)));
    Some(Limits { head_octets: head_octets?, headers: headers?, h2_streams: h2_streams? })
}

fn hsts(raw: At<file::Hsts>, has_tls: bool, judge: &mut Judge<'_>) -> Option<Hsts> {
    let At { value: file::Hsts { max_age, include_subdomains, preload }, spot } = raw;
    if !has_tls {
        let message = "is believed by nobody who was not sent it by TLS; move it to the frontend that has tls";
        return judge.wrong(&spot, message);
    }
    let age = max_age.map(|at| judge.one(time_within(&at, Duration::ZERO..=LONGEST_AGE)))??;
    let include_subdomains = or(include_subdomains, false, Some)?;
    let preload = preload?;
    if let Some(At { value: true, spot }) = &preload
        && (!include_subdomains || age < PRELOAD_AGE)
    {
        let message = "browsers take nobody beforehand without include_subdomains = true and max_age = \"365d\"";
        judge.problems.add(spot.problem(message));
    }
    let preload = preload.is_some_and(|at| at.value);
    Some(Hsts { max_age: age, include_subdomains, preload })
}

const STDOUT: AccessLog = AccessLog { format: LogFormat::Haproxy, target: LogTarget::Stdout };

/// The inner `None` where it is off.
fn access_log(raw: file::AccessLog, judge: &mut Judge<'_>) -> Option<Option<AccessLog>> {
    let file::AccessLog { format, target } = raw;
    let format = or(format, LogWord::As(STDOUT.format), |at| Some(at.value));
    let target = target?;
    let judged = match &target {
        Some(target) => log_target(target, judge),
        None => Some(STDOUT.target),
    };
    match (format?, target) {
        (LogWord::Off, Some(target)) => {
            judge.wrong(&target.spot, "means nothing where format is \"off\"; remove it")
        }
        (LogWord::Off, None) => Some(None),
        (LogWord::As(format), _) => Some(Some(AccessLog { format, target: judged? })),
    }
}

fn log_target(target: &At<String>, judge: &mut Judge<'_>) -> Option<LogTarget> {
    match &*target.value {
        "stdout" => Some(LogTarget::Stdout),
        word @ ("stderr" | "syslog") => {
            let message = format!(
                "{word:?} is no target: expected \"stdout\", which a service manager keeps, or a file (one of that name as \
                 \"./{word}\")"
            );
            judge.wrong(&target.spot, message)
        }
        _ => log_file(target, judge).map(LogTarget::File),
    }
}

/// One that can be opened, as far as can be seen without doing so.
fn log_file(target: &At<String>, judge: &mut Judge<'_>) -> Option<PathBuf> {
    let path = judge.path(target)?;
    if judge.good.has_log(&path) {
        return Some(path);
    }
    match place::file(&path) {
        Ok(()) => Some(path),
        Err(place::Unfit::Taken(why)) => judge.wrong(&target.spot, why),
        Err(place::Unfit::NoFolder(folder)) => {
            let message =
                format!("there is no folder {}: make it, or name another file", folder.display());
            judge.wrong(&target.spot, message)
        }
    }
}
