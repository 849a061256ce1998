//! Lines as HAProxy 2.6.12 has written them of the same, and JSON as anybody reads it.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

const GET: Option<RequestLine<'static>> =
    Some(RequestLine { method: b"GET", target: b"/good", protocol: Protocol::Http11 });

fn get(target: &'static [u8]) -> Option<RequestLine<'static>> {
    GET.map(|line| RequestLine { target, ..line })
}

fn ms(times: [i64; 5]) -> Subject<'static> {
    let [head, queue, connect, response, total] =
        times.map(|time| u64::try_from(time).ok().map(Duration::from_millis));
    let total = total.unwrap();
    Subject::Request { line: GET, status: Some(200), head, queue, connect, response, total }
}

fn asked(line: Option<RequestLine<'static>>, status: u16, times: [i64; 5]) -> Subject<'static> {
    match ms(times) {
        Subject::Request { head, queue, connect, response, total, .. } => {
            Subject::Request { line, status: Some(status), head, queue, connect, response, total }
        }
        Subject::Connection { .. } => unreachable!(),
    }
}

fn connected(times: [i64; 3]) -> Subject<'static> {
    let [queue, connect, total] =
        times.map(|time| u64::try_from(time).ok().map(Duration::from_millis));
    Subject::Connection { queue, connect, total: total.unwrap() }
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn good() -> Entry<'static> {
    Entry {
        client: "127.0.0.1:59696".parse().unwrap(),
        began: at("2026-11-22T09:00:32.434Z"),
        frontend: "web",
        is_tls: false,
        pool: Some("good"),
        server: Some("s1"),
        subject: ms([0, 0, 0, 0, 0]),
        octets: 54,
        end: End::Complete,
        counts: Counts { process: 1, frontend: 1, ..Counts::default() },
        ahead: Ahead::default(),
    }
}

fn line(format: LogFormat, entry: &Entry<'_>) -> String {
    let mut out = vec![];
    write(format, entry, &mut out);
    assert!(out.len() <= LONGEST_LINE, "{}", out.len());
    let line = String::from_utf8(out).unwrap();
    let line = line.strip_suffix('\n').unwrap().to_owned();
    assert!(!line.contains('\n'));
    line
}

#[test]
fn requests_stand_as_in_haproxys_log() {
    use super::{Cause::*, Phase::*};
    let check = |entry: Entry<'_>, expected: &str| {
        assert_eq!(line(LogFormat::Haproxy, &entry), expected);
    };
    let cut = End::Cut;
    check(
        good(),
        r#"127.0.0.1:59696 [22/Nov/2026:09:00:32.434] web good/s1 0/0/0/0/0 200 54 - - ---- 1/1/0/0/0 0/0 "GET /good HTTP/1.1""#,
    );
    check(
        Entry {
            is_tls: true,
            client: "127.0.0.1:50218".parse().unwrap(),
            began: at("2026-11-22T09:00:42.011Z"),
            ..good()
        },
        r#"127.0.0.1:50218 [22/Nov/2026:09:00:42.011] web~ good/s1 0/0/0/0/0 200 54 - - ---- 1/1/0/0/0 0/0 "GET /good HTTP/1.1""#,
    );
    let nowhere = Entry { pool: None, server: None, ..good() };
    check(
        Entry {
            subject: asked(get(b"/deny"), 403, [0, -1, -1, -1, 0]),
            octets: 192,
            end: cut(Proxy, Request),
            ..nowhere
        },
        r#"127.0.0.1:59696 [22/Nov/2026:09:00:32.434] web web/<NOSRV> 0/-1/-1/-1/0 403 192 - - PR-- 1/1/0/0/0 0/0 "GET /deny HTTP/1.1""#,
    );
    check(
        Entry {
            subject: asked(get(b"/redir"), 302, [0, -1, -1, -1, 0]),
            octets: 83,
            end: cut(Local, Request),
            ..nowhere
        },
        r#"127.0.0.1:59696 [22/Nov/2026:09:00:32.434] web web/<NOSRV> 0/-1/-1/-1/0 302 83 - - LR-- 1/1/0/0/0 0/0 "GET /redir HTTP/1.1""#,
    );
    check(
        Entry {
            subject: asked(get(b"/none"), 503, [-1, -1, -1, -1, 0]),
            octets: 217,
            end: cut(ServerAbort, Connect),
            ..nowhere
        },
        r#"127.0.0.1:59696 [22/Nov/2026:09:00:32.434] web web/<NOSRV> -1/-1/-1/-1/0 503 217 - - SC-- 1/1/0/0/0 0/0 "GET /none HTTP/1.1""#,
    );
    check(
        Entry {
            subject: asked(get(b"/empty"), 503, [0, -1, -1, -1, 0]),
            pool: Some("empty"),
            octets: 217,
            end: cut(ServerAbort, Connect),
            ..nowhere
        },
        r#"127.0.0.1:59696 [22/Nov/2026:09:00:32.434] web empty/<NOSRV> 0/-1/-1/-1/0 503 217 - - SC-- 1/1/0/0/0 0/0 "GET /empty HTTP/1.1""#,
    );
    check(
        Entry {
            pool: Some("closer"),
            subject: asked(get(b"/closer"), 502, [0, 0, 0, -1, 0]),
            octets: 209,
            end: cut(ServerAbort, Response),
            ..good()
        },
        r#"127.0.0.1:59696 [22/Nov/2026:09:00:32.434] web closer/s1 0/0/0/-1/0 502 209 - - SH-- 1/1/0/0/0 0/0 "GET /closer HTTP/1.1""#,
    );
    check(
        Entry {
            pool: Some("stall"),
            subject: asked(get(b"/stall"), 200, [0, 0, 0, 0, 1001]),
            octets: 56,
            end: cut(ServerTimeout, Data),
            ..good()
        },
        r#"127.0.0.1:59696 [22/Nov/2026:09:00:32.434] web stall/s1 0/0/0/0/1001 200 56 - - sD-- 1/1/0/0/0 0/0 "GET /stall HTTP/1.1""#,
    );
    let counts = Counts { retries: 1, ..good().counts };
    check(
        Entry {
            pool: Some("refused"),
            subject: asked(get(b"/refused"), 503, [0, 0, -1, -1, 1001]),
            octets: 217,
            end: cut(ServerAbort, Connect),
            counts,
            ..good()
        },
        r#"127.0.0.1:59696 [22/Nov/2026:09:00:32.434] web refused/s1 0/0/-1/-1/1001 503 217 - - SC-- 1/1/0/0/1 0/0 "GET /refused HTTP/1.1""#,
    );
    let counts = Counts { is_redispatched: true, ..counts };
    check(
        Entry {
            pool: Some("redisp"),
            server: Some("s2"),
            subject: asked(get(b"/redisp"), 200, [0; 5]),
            counts,
            ..good()
        },
        r#"127.0.0.1:59696 [22/Nov/2026:09:00:32.434] web redisp/s2 0/0/0/0/0 200 54 - - ---- 1/1/0/0/+1 0/0 "GET /redisp HTTP/1.1""#,
    );
    let counts = Counts { process: 2, frontend: 2, pool: 1, ..Counts::default() };
    check(
        Entry {
            pool: Some("q"),
            server: None,
            subject: asked(get(b"/q"), 503, [0, 1000, -1, -1, 1000]),
            octets: 217,
            end: cut(ServerTimeout, Queue),
            counts,
            ahead: Ahead { server: 0, pool: 1 },
            ..good()
        },
        r#"127.0.0.1:59696 [22/Nov/2026:09:00:32.434] web q/<NOSRV> 0/1000/-1/-1/1000 503 217 - - sQ-- 2/2/1/0/0 0/1 "GET /q HTTP/1.1""#,
    );
    check(
        Entry {
            subject: asked(None, 408, [-1, -1, -1, -1, 1001]),
            octets: 0,
            end: cut(ClientTimeout, Request),
            ..nowhere
        },
        r#"127.0.0.1:59696 [22/Nov/2026:09:00:32.434] web web/<NOSRV> -1/-1/-1/-1/1001 408 0 - - cR-- 1/1/0/0/0 0/0 "<BADREQ>""#,
    );
    let connect =
        RequestLine { method: b"CONNECT", target: b"example.com:443", protocol: Protocol::Http11 };
    check(
        Entry {
            subject: asked(Some(connect), 503, [-1, -1, -1, -1, 0]),
            octets: 217,
            end: cut(ServerAbort, Connect),
            ..nowhere
        },
        r#"127.0.0.1:59696 [22/Nov/2026:09:00:32.434] web web/<NOSRV> -1/-1/-1/-1/0 503 217 - - SC-- 1/1/0/0/0 0/0 "CONNECT example.com:443 HTTP/1.1""#,
    );
    let h2 = RequestLine {
        method: b"GET",
        target: b"https://127.0.0.1:19444/good?x",
        protocol: Protocol::Http2,
    };
    check(
        Entry { is_tls: true, subject: asked(Some(h2), 200, [0; 5]), ..good() },
        r#"127.0.0.1:59696 [22/Nov/2026:09:00:32.434] web~ good/s1 0/0/0/0/0 200 54 - - ---- 1/1/0/0/0 0/0 "GET https://127.0.0.1:19444/good?x HTTP/2.0""#,
    );
}

#[test]
fn a_request_cannot_write_a_second_line() {
    let check = |line: Option<RequestLine<'static>>, expected: &str| {
        let entry = Entry { subject: asked(line, 200, [0; 5]), ..good() };
        let line = self::line(LogFormat::Haproxy, &entry);
        assert_eq!(&line[line.find('"').unwrap()..], expected);
    };
    // As HAProxy has written it.
    check(
        get(br##"/good?a"b#c{d|e}^~'\%41<>`"##),
        r#""GET /good?a#22b#23c{d|e}^~'\%41<>` HTTP/1.1""#,
    );
    check(get(b"/\n\x00\x7f\xc3\xa9\xff"), r#""GET /#0A#00#7F#C3#A9#FF HTTP/1.1""#);
    // HAProxy keeps 1023 octets of the three.
    static LONG: [u8; 1500] = [b'x'; 1500];
    check(get(&LONG), &format!("\"GET {}\"", "x".repeat(1019)));
    check(get(&LONG[..1010]), &format!("\"GET {} HTTP/1.1\"", "x".repeat(1010)));
    check(get(&LONG[..1011]), &format!("\"GET {} HTTP/1.\"", "x".repeat(1011)));
}

#[test]
fn connections_stand_as_in_haproxys_log() {
    use super::{Cause::*, Phase::*};
    let check = |entry: Entry<'_>, expected: &str| {
        assert_eq!(line(LogFormat::Haproxy, &entry), expected);
    };
    let tcp = Entry {
        frontend: "tcp",
        pool: Some("tcp"),
        octets: 5,
        subject: connected([1, 0, 0]),
        ..good()
    };
    check(tcp, "127.0.0.1:59696 [22/Nov/2026:09:00:32.434] tcp tcp/s1 1/0/0 5 -- 1/1/0/0/0 0/0");
    check(
        Entry { subject: connected([1, 0, 1001]), end: End::Cut(ClientTimeout, Data), ..tcp },
        "127.0.0.1:59696 [22/Nov/2026:09:00:32.434] tcp tcp/s1 1/0/1001 5 cD 1/1/0/0/0 0/0",
    );
    let counts = Counts { retries: 1, ..tcp.counts };
    check(
        Entry {
            subject: connected([1, -1, 1001]),
            octets: 0,
            end: End::Cut(ServerAbort, Connect),
            counts,
            ..tcp
        },
        "127.0.0.1:59696 [22/Nov/2026:09:00:32.434] tcp tcp/s1 1/-1/1001 0 SC 1/1/0/0/1 0/0",
    );
    check(
        Entry {
            subject: connected([-1, -1, 0]),
            server: None,
            octets: 0,
            end: End::Cut(Proxy, Request),
            ..tcp
        },
        "127.0.0.1:59696 [22/Nov/2026:09:00:32.434] tcp tcp/<NOSRV> -1/-1/0 0 PR 1/1/0/0/0 0/0",
    );
    check(
        Entry { client: "[::1]:42564".parse().unwrap(), subject: connected([1, 0, 4]), ..tcp },
        "::1:42564 [22/Nov/2026:09:00:32.434] tcp tcp/s1 1/0/4 5 -- 1/1/0/0/0 0/0",
    );
    check(
        Entry {
            client: "[::ffff:192.0.2.1]:1".parse().unwrap(),
            began: at("2027-01-02T03:04:05.006999Z"),
            ..tcp
        },
        "192.0.2.1:1 [02/Jan/2027:03:04:05.006] tcp tcp/s1 1/0/0 5 -- 1/1/0/0/0 0/0",
    );
}

#[test]
fn json_has_the_same_facts() {
    let check = |entry: Entry<'_>, expected: Value| {
        let line = line(LogFormat::Json, &entry);
        let read: Value = serde_json::from_str(&line).unwrap_or_else(|why| panic!("{why}: {line}"));
        assert_eq!(read, expected, "{line}");
    };
    check(
        Entry {
            subject: asked(get(b"/a\"b\\c\n\xe9"), 503, [0, 1000, -1, -1, 1000]),
            end: End::Cut(Cause::ServerTimeout, Phase::Queue),
            counts: Counts {
                process: 5,
                frontend: 4,
                pool: 3,
                server: 2,
                retries: 1,
                is_redispatched: true,
            },
            ahead: Ahead { server: 7, pool: 8 },
            is_tls: true,
            server: None,
            ..good()
        },
        json!({
            "time": "2026-11-22T09:00:32.434Z", "client": "127.0.0.1", "client_port": 59696,
            "frontend": "web", "tls": true, "pool": "good", "server": null,
            "method": "GET", "target": "/a\"b\\c\n\u{e9}", "protocol": "HTTP/1.1", "status": 503,
            "head_ms": 0, "queue_ms": 1000, "connect_ms": null, "response_ms": null, "total_ms": 1000,
            "octets": 54, "state": "sQ", "cause": "server-timeout", "phase": "queue",
            "process_connections": 5, "frontend_connections": 4, "pool_connections": 3, "server_connections": 2,
            "retries": 1, "redispatched": true, "server_queue": 7, "pool_queue": 8
        }),
    );
    check(
        Entry { subject: connected([1, 0, 4]), pool: None, ..good() },
        json!({
            "time": "2026-11-22T09:00:32.434Z", "client": "127.0.0.1", "client_port": 59696,
            "frontend": "web", "tls": false, "pool": null, "server": "s1",
            "queue_ms": 1, "connect_ms": 0, "total_ms": 4,
            "octets": 54, "state": "--", "cause": null, "phase": null,
            "process_connections": 1, "frontend_connections": 1, "pool_connections": 0, "server_connections": 0,
            "retries": 0, "redispatched": false, "server_queue": 0, "pool_queue": 0
        }),
    );
    let unread = Entry { subject: asked(None, 400, [-1, -1, -1, -1, 0]), ..good() };
    let read: Value = serde_json::from_str(&line(LogFormat::Json, &unread)).unwrap();
    assert!(["method", "target", "protocol", "head_ms"].iter().all(|key| read[key].is_null()));
}

#[test]
fn letters_are_haproxys() {
    // `sess_term_cond` and `sess_fin_state` of its log.c, in another order.
    let letters = |letters: Vec<u8>| String::from_utf8(letters).unwrap();
    let causes = letters(Cause::ALL.iter().map(|cause| cause.letter()).collect());
    assert_eq!(causes, "CcSsPLRIDUK");
    assert_eq!(letters(Phase::ALL.iter().map(|phase| phase.letter()).collect()), "RQCHDLT");
    assert_eq!(End::Cut(Cause::Killed, Phase::Data).letters(), *b"KD");
    assert_eq!(End::Complete.letters(), *b"--");
}

#[test]
fn no_line_is_longer_than_it_may_be() {
    let octets = vec![0xff; 4096];
    let name = "x".repeat(64);
    let most = Duration::from_millis(u64::MAX);
    let request = RequestLine { method: &octets, target: &octets, protocol: Protocol::Http2 };
    let entry = Entry {
        client: "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535".parse().unwrap(),
        began: Timestamp::MAX,
        frontend: &name,
        is_tls: true,
        pool: Some(&name),
        server: Some(&name),
        subject: Subject::Request {
            line: Some(request),
            status: Some(u16::MAX),
            head: Some(most),
            queue: Some(most),
            connect: Some(most),
            response: Some(most),
            total: most,
        },
        octets: u64::MAX,
        end: End::Cut(Cause::ServerTimeout, Phase::Response),
        counts: Counts {
            process: u64::MAX,
            frontend: u64::MAX,
            pool: u64::MAX,
            server: u64::MAX,
            retries: u32::MAX,
            is_redispatched: false,
        },
        ahead: Ahead { server: u64::MAX, pool: u64::MAX },
    };
    for format in [LogFormat::Haproxy, LogFormat::Json] {
        let length = line(format, &entry).len();
        assert!(length > 3 * LONGEST_REQUEST, "{format:?} {length}");
    }
}

proptest! {
    #[test]
    fn any_request_is_one_line_that_can_be_read(
        method in prop::collection::vec(any::<u8>(), 0..20),
        target in prop::collection::vec(any::<u8>(), 0..2000),
    ) {
        let request = RequestLine { method: &method, target: &target, protocol: Protocol::Http10 };
        let subject = match ms([0; 5]) {
            Subject::Request { status, head, queue, connect, response, total, .. } => {
                Subject::Request { line: Some(request), status, head, queue, connect, response, total }
            }
            connection @ Subject::Connection { .. } => connection,
        };
        let entry = Entry { subject, ..good() };
        let haproxy = line(LogFormat::Haproxy, &entry);
        prop_assert!(haproxy.bytes().all(|octet| (b' '..=b'~').contains(&octet)));
        prop_assert_eq!(haproxy.matches('"').count(), 2);
        let json = line(LogFormat::Json, &entry);
        prop_assert!(json.is_ascii());
        let read: Value = serde_json::from_str(&json).unwrap();
        let back: Vec<u8> = read["target"].as_str().unwrap().chars().map(|letter| u8::try_from(letter).unwrap()).collect();
        prop_assert_eq!(&back, &target[..target.len().min(LONGEST_REQUEST)]);
    }
}
