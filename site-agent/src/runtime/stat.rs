//! `show stat`: HAProxy's table of numbers. A column of which nothing is known here is empty.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use super::servers::Look;
use super::view::FIRST_NUMBER;
use super::{PoolView, Refusal, StatFilter, View};
use crate::agent_check::Health;
use crate::backends::{Role, Serves, Status};
use crate::balance::Share;
use crate::rounds::Shown;
use crate::site::{Algorithm, Frontend, Mode};
use crate::upstream::{Counts, Told};
use crate::worker::Traffic;

/// Those of HAProxy 2.6, in its order. Readers go by the names or by the order, so none is left out.
#[rustfmt::skip]
const COLUMNS: [&str; 128] = [
    "pxname", "svname", "qcur", "qmax", "scur", "smax", "slim", "stot", "bin", "bout", "dreq", "dresp", "ereq",
    "econ", "eresp", "wretr", "wredis", "status", "weight", "act", "bck", "chkfail", "chkdown", "lastchg",
    "downtime", "qlimit", "pid", "iid", "sid", "throttle", "lbtot", "tracked", "type", "rate", "rate_lim",
    "rate_max", "check_status", "check_code", "check_duration", "hrsp_1xx", "hrsp_2xx", "hrsp_3xx", "hrsp_4xx",
    "hrsp_5xx", "hrsp_other", "hanafail", "req_rate", "req_rate_max", "req_tot", "cli_abrt", "srv_abrt", "comp_in",
    "comp_out", "comp_byp", "comp_rsp", "lastsess", "last_chk", "last_agt", "qtime", "ctime", "rtime", "ttime",
    "agent_status", "agent_code", "agent_duration", "check_desc", "agent_desc", "check_rise", "check_fall",
    "check_health", "agent_rise", "agent_fall", "agent_health", "addr", "cookie", "mode", "algo", "conn_rate",
    "conn_rate_max", "conn_tot", "intercepted", "dcon", "dses", "wrew", "connect", "reuse", "cache_lookups",
    "cache_hits", "srv_icur", "src_ilim", "qtime_max", "ctime_max", "rtime_max", "ttime_max", "eint",
    "idle_conn_cur", "safe_conn_cur", "used_conn_cur", "need_conn_est", "uweight", "agg_server_status",
    "agg_server_check_status", "agg_check_status", "-", "ssl_sess", "ssl_reused_sess", "ssl_failed_handshake",
    "h2_headers_rcvd", "h2_data_rcvd", "h2_settings_rcvd", "h2_rst_stream_rcvd", "h2_goaway_rcvd",
    "h2_detected_conn_protocol_errors", "h2_detected_strm_protocol_errors", "h2_rst_stream_resp", "h2_goaway_resp",
    "h2_open_connections", "h2_backend_open_streams", "h2_total_connections", "h2_backend_total_streams",
    "h1_open_connections", "h1_open_streams", "h1_total_connections", "h1_total_streams", "h1_bytes_in",
    "h1_bytes_out", "h1_spliced_bytes_in", "h1_spliced_bytes_out",
];

const FRONTEND: i64 = 0;
const BACKEND: i64 = 1;
const SERVER: i64 = 2;

pub fn stat(view: &View<'_>, filter: &StatFilter) -> Result<String, Refusal> {
    if filter.proxy.as_ref().is_some_and(|proxy| !view.has_proxy(proxy)) {
        return Err(Refusal::NoProxy);
    }
    let mut text = format!("# {},\n", COLUMNS.join(","));
    for ((config, traffic), number) in view.frontends.iter().zip(FIRST_NUMBER..) {
        if filter.wants(FRONTEND, number, &config.name, 0) {
            frontend(config, traffic, number).write(&mut text);
        }
    }
    for (number, pool) in view.numbered() {
        for ((told, seen), server_number) in pool.servers.iter().zip(1..) {
            let is_wanted = filter.wants(SERVER, number, &pool.config.name, server_number);
            if is_wanted && !filter.hides(told.status) {
                let mut row = server(view, pool, told, seen.as_ref());
                row.set("iid", number);
                row.set("sid", server_number);
                row.write(&mut text);
            }
        }
        if filter.wants(BACKEND, number, &pool.config.name, 0) {
            backend(view, pool, number).write(&mut text);
        }
    }
    Ok(text)
}

impl View<'_> {
    /// Whether anything could have that name. A number may be nobody's, but 0 is none.
    fn has_proxy(&self, wanted: &str) -> bool {
        let mut frontends = self.frontends.iter().map(|(config, _)| &*config.name);
        wanted.parse::<usize>().is_ok_and(|number| number > 0)
            || self.pool(wanted).is_some()
            || frontends.any(|name| name == wanted)
    }
}

impl StatFilter {
    fn wants(&self, kind: i64, number: usize, name: &str, server: usize) -> bool {
        let is_of_kind = self.kinds & (1 << kind) != 0;
        let is_of_proxy =
            self.proxy.as_ref().is_none_or(|proxy| *proxy == name || *proxy == number.to_string());
        // A server's number says nothing of what is none.
        let is_of_number = kind != SERVER || self.server.is_none_or(|wanted| wanted == server);
        is_of_kind && is_of_proxy && is_of_number
    }

    fn hides(&self, status: Status) -> bool {
        match status {
            Status::Maint => self.hides_maint || self.hides_down,
            Status::DownByAgent | Status::Down | Status::Ejected => self.hides_down,
            Status::Rising { .. }
            | Status::NoLb
            | Status::NoLbFalling { .. }
            | Status::DrainByAgent
            | Status::Drain
            | Status::DrainFalling { .. }
            | Status::Up
            | Status::Falling { .. }
            | Status::NoCheck => false,
        }
    }
}

struct Row([Option<String>; COLUMNS.len()]);

impl Row {
    fn new(proxy: &str, name: &str, kind: i64) -> Row {
        let mut row = Row([const { None }; COLUMNS.len()]);
        row.set("pxname", proxy);
        row.set("svname", name);
        row.set("type", kind);
        // Which of HAProxy's processes; what stands before the columns of its modules.
        row.set("pid", 1);
        row.set("-", "-");
        row
    }

    fn set(&mut self, column: &str, value: impl ToString) {
        let place = COLUMNS.iter().position(|known| *known == column).expect("it is a column");
        self.0[place] = Some(value.to_string());
    }

    fn set_answers(&mut self, answers: [u64; 6]) {
        const COLUMNS: [&str; 6] =
            ["hrsp_other", "hrsp_1xx", "hrsp_2xx", "hrsp_3xx", "hrsp_4xx", "hrsp_5xx"];
        for (column, count) in COLUMNS.iter().zip(answers) {
            self.set(column, count);
        }
    }

    fn write(&self, text: &mut String) {
        for value in &self.0 {
            let value = value.as_deref().unwrap_or_default();
            // What people are told has commas and quotes in it (RFC 4180), and never an end of line.
            if value.contains([',', '"', '\n', '\r']) {
                let value = value.replace('"', "\"\"").replace(['\n', '\r'], " ");
                text.extend(["\"", &value, "\""]);
            } else {
                text.push_str(value);
            }
            text.push(',');
        }
        text.push('\n');
    }
}

fn load(of: &AtomicU64) -> u64 {
    of.load(Relaxed)
}

fn frontend(config: &Frontend, traffic: &Traffic, number: usize) -> Row {
    let mut row = Row::new(&config.name, "FRONTEND", FRONTEND);
    row.set("iid", number);
    row.set("sid", 0);
    row.set("status", "OPEN");
    row.set("mode", config.mode);
    row.set("slim", config.max_connections);
    for (column, count) in [
        ("scur", &traffic.current),
        ("stot", &traffic.connections),
        ("conn_tot", &traffic.connections),
        ("bin", &traffic.received),
        ("bout", &traffic.sent),
        ("dreq", &traffic.denied),
        ("ereq", &traffic.refused),
        ("req_tot", &traffic.requests),
        ("ssl_failed_handshake", &traffic.handshake_errors),
    ] {
        row.set(column, load(count));
    }
    if config.mode == Mode::Http {
        row.set_answers(traffic.answers.load());
    }
    row
}

fn server(view: &View<'_>, pool: &PoolView, told: &Told, seen: Option<&Shown>) -> Row {
    let Told { server, known, status, .. } = told;
    let configured = known.configured();
    let slow_start = pool.config.slow_start.unwrap_or_default();
    let mut row = Row::new(&pool.config.name, &server.name, SERVER);
    row.set("mode", pool.config.mode);
    row.set("addr", server.address());
    row.set("status", status);
    row.set("act", u8::from(configured.role == Role::Active));
    row.set("bck", u8::from(configured.role == Role::Backup));
    row.set("weight", known.weight(view.now, slow_start));
    row.set("uweight", known.whole_weight());
    row.set("lastchg", view.now.saturating_sub(told.since()).as_secs());
    row.set("scur", server.in_flight());
    row.set("qcur", server.load().saturating_sub(server.in_flight()));
    if let Some(limit) = known.whole_limit() {
        row.set("slim", limit);
    }
    let throttle = known.throttle(view.now, slow_start);
    if throttle < 100 {
        row.set("throttle", throttle);
    }
    for (column, count) in sums([&server.counts]) {
        row.set(column, count);
    }
    if pool.config.mode == Mode::Http {
        let answers = server.counts.answers.load();
        row.set_answers(answers);
        row.set("req_tot", answers.iter().sum::<u64>());
    }
    row.set("lastsess", idle([&server.counts], view.now));
    if configured.check.is_some() {
        row.set("chkfail", load(&server.counts.failed_looks));
        row.set("chkdown", load(&server.counts.falls));
    }
    if let Some(thresholds) = configured.check.filter(|_| !known.is_maint()) {
        row.set("check_rise", thresholds.rise);
        row.set("check_fall", thresholds.fall);
        row.set("check_health", known.health().unwrap_or_default());
        let (code, about) = Look::of(&server.config, known, seen).status.words();
        row.set("check_status", code);
        row.set("check_desc", about);
        if let Some(looked) = seen.and_then(|seen| seen.check.as_ref()?.last.as_ref()) {
            row.set("check_duration", looked.took.as_millis());
            if let Some(status) = looked.seen.status {
                row.set("check_code", status);
            }
            if let Err(failure) = &looked.seen.outcome {
                row.set("last_chk", &failure.detail);
            }
        }
    }
    if let Some(said) = seen.and_then(|seen| seen.line.as_ref()) {
        row.set("agent_duration", said.took.as_millis());
        match &said.line {
            Ok(line) => {
                let is_down = matches!(line.health, Some(Health::Down(_)));
                row.set("agent_status", if is_down { "L7STS" } else { "L7OK" });
                row.set("last_agt", line.text.as_deref().unwrap_or_default());
            }
            Err(why) => row.set("last_agt", why),
        }
    }
    row
}

fn backend(view: &View<'_>, pool: &PoolView, number: usize) -> Row {
    let mut row = Row::new(&pool.config.name, "BACKEND", BACKEND);
    let servers = || pool.servers.iter().map(|(told, _)| told);
    row.set("iid", number);
    row.set("sid", 0);
    row.set("mode", pool.config.mode);
    row.set("algo", algorithm(&pool.config.balance.algorithm));
    row.set("status", if pool.standing.takers.is_empty() { "DOWN" } else { "UP" });
    row.set("lastchg", view.now.saturating_sub(pool.turns.since).as_secs());
    row.set("chkdown", pool.turns.falls);
    row.set("lastsess", idle(servers().map(|told| &told.server.counts), view.now));
    row.set("qcur", pool.waiting);
    row.set("scur", servers().map(|told| u64::from(told.server.in_flight())).sum::<u64>());
    let weights = pool.standing.takers.iter().map(|taker| u64::from(taker.share.get()));
    row.set("weight", weights.sum::<u64>().div_ceil(u64::from(Share::UNIT)));
    row.set("act", pool.standing.usable);
    let is_backup =
        |told: &&Told| told.known.configured().role == Role::Backup && told.serves == Serves::All;
    row.set("bck", servers().filter(is_backup).count());
    for (column, count) in sums(servers().map(|told| &told.server.counts)) {
        row.set(column, count);
    }
    if pool.config.mode == Mode::Http {
        row.set_answers(pool.answers);
        row.set("req_tot", pool.answers.iter().sum::<u64>());
    }
    row
}

/// HAProxy counts what comes in from clients, and so goes to servers, as `bin`.
fn sums<'c>(of: impl IntoIterator<Item = &'c Counts> + Clone) -> [(&'static str, u64); 10] {
    let sum = |count: &dyn Fn(&Counts) -> &AtomicU64| -> u64 {
        of.clone().into_iter().map(|counts| load(count(counts))).sum()
    };
    [
        ("stot", sum(&|counts| &counts.requests)),
        ("bin", sum(&|counts| &counts.sent)),
        ("bout", sum(&|counts| &counts.received)),
        ("econ", sum(&|counts| &counts.connect_errors)),
        ("eresp", sum(&|counts| &counts.response_errors)),
        ("wretr", sum(&|counts| &counts.retries)),
        ("connect", sum(&|counts| &counts.connections)),
        ("reuse", sum(&|counts| &counts.reused)),
        ("cli_abrt", sum(&|counts| &counts.client_aborts)),
        ("srv_abrt", sum(&|counts| &counts.server_aborts)),
    ]
}

/// Seconds since any of them was last given a place; -1 if none ever was.
fn idle<'c>(of: impl IntoIterator<Item = &'c Counts>, now: Duration) -> i64 {
    let last = of.into_iter().filter_map(Counts::last_used).max();
    let seconds = |last| i64::try_from(now.saturating_sub(last).as_secs()).unwrap_or(i64::MAX);
    last.map_or(-1, seconds)
}

fn algorithm(algorithm: &Algorithm) -> &'static str {
    match algorithm {
        Algorithm::RoundRobin => "roundrobin",
        Algorithm::LeastConnections => "leastconn",
        Algorithm::RandomTwo => "random",
        Algorithm::First => "first",
        Algorithm::Source => "source",
        Algorithm::Uri => "uri",
        Algorithm::Header(_) => "hdr",
    }
}
