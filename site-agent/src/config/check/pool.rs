//! Pools: their servers, and how requests are shared among them.

use std::num::NonZeroU16;
use std::path::Path;
use std::time::Duration;

use common::bounded;
use common::check::{LONGEST_INTERVAL, LONGEST_TEXT, SHORTEST_INTERVAL};
use common::config::problems::Problem;
use common::config::read::{At, Entries, NameOr, Word as _};
use common::config::settle::{or, within};
use common::duration;

use super::Judge;
use super::bounds::{
    Given, NEVER, count_or, not_longer, share, share_or, time, time_or, time_within,
};
use super::health::look;
use super::server::{Of, servers};
use crate::config::words::AlgorithmWord;
use crate::config::{LARGEST_PAGE, file};
use crate::site::{
    AgentCheck, Algorithm, Balance, Breaker, ErrorPage, HttpVersion, LoadBound, Mode, Pool, Queue,
    Retry, RetryOn, ServerTimeouts, Share,
};

const MOST_WAITING: i64 = 1_000_000;
const MOST_ATTEMPTS: i64 = 16;
const MOST_ERRORS: i64 = 1_000_000;
/// What goes wrong once a pool was chosen, and is for us to tell.
const PAGES: [&str; 4] = ["500", "502", "503", "504"];
const CONTENT: [(&str, &str); 3] = [
    ("html", "text/html; charset=utf-8"),
    ("json", "application/json"),
    ("txt", "text/plain; charset=utf-8"),
];

pub fn pool(name: &At<String>, raw: At<file::Pool>, judge: &mut Judge<'_>) -> Option<Pool> {
    let file::Pool {
        mode,
        balance,
        servers,
        check,
        agent_check,
        slow_start,
        panic,
        queue,
        retry,
        breaker,
        http,
        timeouts,
        error_pages,
    } = raw.value;
    let mode = or(mode, Mode::Http, Some)?;
    judge.only_http("pool", mode, &http);
    judge.only_http("pool", mode, &error_pages);
    let balance = or(balance, Balance::default(), |raw| self::balance(raw, mode, judge));
    let http = or(http, HttpVersion::V1, |at| Some(at.value));
    let spoken = http.unwrap_or_default();
    let look = or(check, None, |raw| look(raw, spoken, judge).map(Some));
    let of =
        Of { mode, http: http.unwrap_or_default(), look: look.as_ref().and_then(Option::as_ref) };
    let servers = servers.and_then(|list| self::servers(list, &of, judge));
    let agent_check = or(agent_check, None, |raw| self::agent_check(raw, judge).map(Some));
    if let (Some(Some(at)), Some(servers), Some(None), Some(None)) =
        (&slow_start, &servers, &agent_check, &breaker)
        && servers.iter().all(|server| server.check.is_none())
    {
        let message =
            "nobody looks at these servers, so none ever comes up again by itself; add check";
        judge.warn(&at.spot, message);
    }
    let slow_start = or(slow_start, None, |at| judge.one(time(&at)).map(Some));
    let panic = share_or(panic, Share::NONE, judge);
    if let (Some(Some(queue)), Some(servers)) = (&queue, &servers)
        && servers.iter().all(|server| server.max_connections.is_none())
    {
        judge.warn(&queue.spot, "nobody ever waits: no server of this pool has max_connections");
    }
    let queue = or(queue, Queue::default(), |raw| self::queue(raw.value, judge));
    let retry = or(retry, Retry::default(), |raw| self::retry(raw.value, mode, judge));
    let breaker = or(breaker, None, |raw| self::breaker(raw.value, judge).map(Some));
    let timeouts = or(timeouts, ServerTimeouts::default(), |raw| self::timeouts(raw, judge));
    let error_pages = or(error_pages, vec![], |raw| pages(raw.value, judge));
    look.as_ref()?;
    Some(Pool {
        name: name.value.as_str().into(),
        mode,
        balance: balance?,
        servers: servers?,
        agent_check: agent_check?,
        slow_start: slow_start?,
        panic: panic?,
        queue: queue?,
        retry: retry?,
        breaker: breaker?,
        http: http?,
        timeouts: timeouts?,
        error_pages: error_pages?,
    })
}

fn balance(raw: NameOr<At<file::Balance>>, mode: Mode, judge: &mut Judge<'_>) -> Option<Balance> {
    let (word, header, bound) = match raw {
        NameOr::Name(name) => {
            let word =
                AlgorithmWord::word(&name.value).map_err(|message| name.spot.problem(message));
            (At { value: judge.one(word)?, spot: name.spot }, None, None)
        }
        NameOr::More(At { value: file::Balance { algorithm, header, bound }, spot: _ }) => {
            let (header, bound) = (header?, bound?);
            (algorithm?, header, bound)
        }
    };
    let of_requests = matches!(word.value, AlgorithmWord::Uri | AlgorithmWord::Header);
    if mode == Mode::Tcp && of_requests {
        judge.only_http_at("pool", &word.spot);
        return None;
    }
    if let Some(header) = header.as_ref().filter(|_| word.value != AlgorithmWord::Header) {
        return judge.wrong(
            &header.spot,
            "belongs to algorithm = \"header\"; remove it, or change algorithm",
        );
    }
    let bound = match bound {
        Some(bound) if !word.value.hashes() => {
            let message = "belongs to algorithms that hash (source, uri, header); remove it";
            return judge.wrong(&bound.spot, message);
        }
        Some(bound) => Some(judge.one(LoadBound::new(bound.value).ok_or_else(|| {
            let found = bound.value;
            bound
                .spot
                .problem(format!("found {found}, expected more than 1, 10 at most, such as 1.25"))
        }))?),
        None => None,
    };
    let algorithm = match word.value {
        AlgorithmWord::RoundRobin => Algorithm::RoundRobin,
        AlgorithmWord::LeastConnections => Algorithm::LeastConnections,
        AlgorithmWord::RandomTwo => Algorithm::RandomTwo,
        AlgorithmWord::First => Algorithm::First,
        AlgorithmWord::Source => Algorithm::Source,
        AlgorithmWord::Uri => Algorithm::Uri,
        AlgorithmWord::Header => match header {
            Some(name) => Algorithm::Header(judge.one(header_name(&name))?),
            None => {
                let message =
                    "by which header? write { algorithm = \"header\", header = \"x-user\" }";
                return judge.wrong(&word.spot, message);
            }
        },
    };
    Some(Balance { algorithm, bound })
}

/// RFC 9110 §5.1, in lower case.
fn header_name(name: &At<String>) -> Result<Box<str>, Problem> {
    let is_token = |octet: u8| octet.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&octet);
    let text = &name.value;
    match !text.is_empty() && text.len() <= LONGEST_TEXT && text.bytes().all(is_token) {
        true => Ok(text.to_ascii_lowercase().into()),
        false => Err(name.spot.problem(format!("{text:?} is no header's name"))),
    }
}

fn agent_check(raw: file::AgentCheck, judge: &mut Judge<'_>) -> Option<AgentCheck> {
    const INTERVAL: Duration = Duration::from_secs(2);
    let file::AgentCheck { port, interval, timeout, send } = raw;
    let port = port.and_then(|port| judge.one(within::<u16>(&port, 1..=65_535)));
    let interval = or(interval, INTERVAL, |at| {
        judge.one(time_within(&at, SHORTEST_INTERVAL..=LONGEST_INTERVAL))
    });
    let timeout_time = time_or(&timeout, interval.unwrap_or(INTERVAL), judge);
    let why = "so two would be under way at once";
    not_longer((&timeout, timeout_time), ("interval", interval), why, judge);
    let send = or(send, None, |at| {
        if at.value.len() > LONGEST_TEXT {
            let message = format!("has {} octets, expected at most {LONGEST_TEXT}", at.value.len());
            return judge.wrong(&at.spot, message);
        }
        Some(Some(at.value.into_boxed_str()))
    });
    Some(AgentCheck {
        port: NonZeroU16::new(port?)?,
        interval: interval?,
        timeout: timeout_time?,
        send: send?,
    })
}

fn queue(raw: file::Queue, judge: &mut Judge<'_>) -> Option<Queue> {
    let file::Queue { timeout, length } = raw;
    let usual = Queue::default();
    let timeout = time_or(&timeout, usual.timeout, judge);
    let length = or(length, usual.length, |at| judge.one(within(&at, 0..=MOST_WAITING)));
    Some(Queue { timeout: timeout?, length: length? })
}

fn retry(raw: file::Retry, mode: Mode, judge: &mut Judge<'_>) -> Option<Retry> {
    let file::Retry { attempts, on, budget } = raw;
    let usual = Retry::default();
    let attempts = count_or(attempts, usual.attempts, MOST_ATTEMPTS, judge);
    let on = or(on, usual.on, |list| {
        if list.value.is_empty() {
            return judge.wrong(&list.spot, "is empty; to try once only, write attempts = 1");
        }
        let mut on = vec![];
        for At { value, spot } in list.value.iter().flatten() {
            if on.contains(value) {
                judge.problems.add(spot.problem("is listed twice; remove one"));
            }
            if mode == Mode::Tcp && *value != RetryOn::ConnFailure {
                judge.only_http_at("pool", spot);
            }
            on.push(*value);
        }
        (on.len() == list.value.len()).then_some(on)
    });
    let budget = share_or(budget, usual.budget, judge);
    Some(Retry { attempts: attempts?, on: on?, budget: budget? })
}

fn breaker(raw: file::Breaker, judge: &mut Judge<'_>) -> Option<Breaker> {
    let file::Breaker { consecutive_errors, eject, max_eject, max_ejected, interval } = raw;
    let usual = Breaker::default();
    let consecutive_errors =
        count_or(consecutive_errors, usual.consecutive_errors, MOST_ERRORS, judge);
    let eject_time = time_or(&eject, usual.eject, judge);
    // As Envoy: never less than the first time.
    let usual_most = usual.max_eject.max(eject_time.unwrap_or_default());
    let most_time = time_or(&max_eject, usual_most, judge);
    if let (Some(eject), Some(most), Some(Some(at))) = (eject_time, most_time, &max_eject)
        && most < eject
    {
        let (most, eject) = (duration::shown(most), duration::shown(eject));
        judge.problems.add(at.spot.problem(format!("{most} is shorter than eject {eject}")));
    }
    let max_ejected = or(max_ejected, usual.max_ejected, |at| {
        let share = judge.one(share(&at))?;
        if share == Share::NONE {
            return judge.wrong(&at.spot, "ejects nobody; remove the breaker");
        }
        Some(share)
    });
    let interval = time_or(&interval, usual.interval, judge);
    Some(Breaker {
        consecutive_errors: consecutive_errors?,
        eject: eject_time?,
        max_eject: most_time?,
        max_ejected: max_ejected?,
        interval: interval?,
    })
}

fn timeouts(raw: file::ServerTimeouts, judge: &mut Judge<'_>) -> Option<ServerTimeouts> {
    let file::ServerTimeouts { connect, server, tunnel, server_fin } = raw;
    let usual = ServerTimeouts::default();
    let connect = time_or(&connect, usual.connect, judge);
    let server_time = time_or(&server, usual.server, judge);
    let tunnel_time = time_or(&tunnel, usual.tunnel.max(server_time.unwrap_or_default()), judge);
    // What is left out follows the other, and never outlives it.
    let fin_time = time_or(&server_fin, usual.server_fin.min(server_time?), judge);
    not_longer((&server_fin, fin_time), ("server", server_time), NEVER, judge);
    if let (Some(tunnel_time), Some(server_time)) = (tunnel_time, server_time)
        && tunnel_time < server_time
    {
        let given: [&Given<Duration>; 2] = [&tunnel, &server];
        let spot = given.into_iter().flatten().flatten().next().map(|at| at.spot.clone());
        let (tunnel, server) = (duration::shown(tunnel_time), duration::shown(server_time));
        let message = format!(
            "tunnel {tunnel} is shorter than server {server}: what was upgraded would be cut before what was not"
        );
        return judge.wrong(&spot?, message);
    }
    Some(ServerTimeouts {
        connect: connect?,
        server: server_time?,
        tunnel: tunnel_time?,
        server_fin: fin_time?,
    })
}

fn pages(entries: Entries<At<String>>, judge: &mut Judge<'_>) -> Option<Vec<ErrorPage>> {
    let count = entries.0.len();
    let mut pages = vec![];
    for (status, file) in entries.0 {
        let Some(number) =
            PAGES.contains(&&*status.value).then(|| status.value.parse().ok()).flatten()
        else {
            let message =
                format!("is no status that a pool answers itself (expected {})", PAGES.join(", "));
            judge.problems.add(status.spot.problem(message));
            continue;
        };
        let Some(file) = file else { continue };
        let Some(path) = judge.path(&file) else { continue };
        let read = page(number, &path)
            .map_err(|why| file.spot.problem(format!("{} {why}", path.display())));
        pages.extend(judge.one(read));
    }
    (pages.len() == count).then_some(pages)
}

fn page(status: u16, path: &Path) -> Result<ErrorPage, String> {
    let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    let content =
        CONTENT.iter().find(|(known, _)| *known == extension).map(|(_, content)| *content);
    let content_type = content
        .ok_or("says not what it holds: expected a name that ends with .html, .json or .txt")?;
    let body = bounded::read_file(path, LARGEST_PAGE)
        .map_err(|error| format!("cannot be read: {error}"))?
        .into();
    Ok(ErrorPage { status, content_type, body })
}
