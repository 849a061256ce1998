//! Requests: their target, their connection, what they expect, and how long they may be.

use super::*;

fn read(octets: &[u8], limits: &Limits) -> Result<Progress, Refusal> {
    RequestHead::new().read(octets, limits)
}

#[test]
fn a_target_goes_on_in_origin_form() {
    let check = |method: &str, target: &str, host: &str, expected: &str| {
        let octets = format!("{method} {target} HTTP/1.1\r\nX: y\r\nHost: {host}\r\n\r\n");
        let mut head = RequestHead::new();
        let read = match head.read(octets.as_bytes(), &Limits::default()) {
            Ok(_) => lines(|out| head.write(Persistence::KeepAlive, out)),
            Err(refusal) => refusal.word().to_owned(),
        };
        assert_eq!(read, expected, "{octets:?}");
    };
    check("GET", "/a?b", "c", "GET /a?b HTTP/1.1 | X: y | Host: c");
    check("GET", "http://c/a?b", "c", "GET /a?b HTTP/1.1 | X: y | Host: c");
    check("GET", "http://c", "c", "GET / HTTP/1.1 | X: y | Host: c");
    check("GET", "http://c?b", "c", "GET /?b HTTP/1.1 | X: y | Host: c");
    check("GET", "http://C:80/", "c", "GET / HTTP/1.1 | X: y | Host: C:80");
    check("GET", "http://c:80/", "c:80", "GET / HTTP/1.1 | X: y | Host: c:80");
    check("GET", "HTTPS://c/", "c:443", "GET / HTTP/1.1 | X: y | Host: c");
    check("GET", "http://c/", "c:443", "host-differs");
    check("GET", "http://c:8080/", "c", "host-differs");
    check("GET", "http://c/", "", "host-differs");
    check("GET", "/", "", "GET / HTTP/1.1 | X: y | Host:");
    check("GET", "http://[::1]:80/", "[::1]", "GET / HTTP/1.1 | X: y | Host: [::1]:80");
    check("GET", "//c/d", "c", "GET //c/d HTTP/1.1 | X: y | Host: c");
    check("GET", "/%zz\"<>\\^`{|}", "c", "GET /%zz\"<>\\^`{|} HTTP/1.1 | X: y | Host: c");
    check("OPTIONS", "*", "c", "OPTIONS * HTTP/1.1 | X: y | Host: c");
    check("OPTIONS", "http://c", "c", "OPTIONS * HTTP/1.1 | X: y | Host: c");
    check("OPTIONS", "http://c?b", "c", "OPTIONS /?b HTTP/1.1 | X: y | Host: c");
    check("OPTIONS", "http://c/", "c", "OPTIONS / HTTP/1.1 | X: y | Host: c");
    check("options", "*", "c", "target");
    check("CONNECT", "c:443", "c:443", "CONNECT c:443 HTTP/1.1 | X: y | Host: c:443");
    check("CONNECT", "c:443", "c", "host-differs");
    check("CONNECT", "c", "c", "target");
    check("CONNECT", "/", "c", "authority");
    check("CONNECT", "http://c:443", "c", "authority");
    check("GET", "c:443", "c:443", "target");
    check("GET", "ws://c/", "c", "target");
}

#[test]
fn an_authority_is_a_host_and_perhaps_a_port() {
    let check = |authority: &str, expected: Option<(&str, &str)>| {
        let expected = expected.map(|(host, port)| (host.as_bytes(), port.as_bytes()));
        assert_eq!(authority_of(authority.as_bytes()).ok(), expected, "{authority:?}");
    };
    check("a", Some(("a", "")));
    check("a:", Some(("a", "")));
    check("www.Example.com.:65535", Some(("www.Example.com.", "65535")));
    check("a_b~!$&'()*+;=%7F", Some(("a_b~!$&'()*+;=%7F", "")));
    check("192.0.2.1:0", Some(("192.0.2.1", "0")));
    check("[2001:db8::1]", Some(("[2001:db8::1]", "")));
    check("[2001:db8::1]:80", Some(("[2001:db8::1]", "80")));
    for wrong in [
        "",
        ":80",
        "a:65536",
        "a:000080",
        "a:8o",
        "a:-1",
        "a:+1",
        "a:80:80",
        "a,b",
        "a b",
        "a/",
        "a?",
        "u@a",
        "@a",
        "%7",
        "%7g",
        "%",
        "[]",
        "[::1",
        "[::1]a",
        "[::1]80",
        "[fe80::1%25eth0]",
        "[v1.a]",
        "[1.2.3.4]",
        "a]",
        "::1",
        "a\\b",
        "\"a\"",
        "a\u{e4}",
        "a|b",
    ] {
        check(wrong, None);
    }
}

#[test]
fn host_path_and_query_are_told_apart() {
    let check = |target: &str, host: &str, expected: (&str, &str, Option<&str>)| {
        let head = request(&format!("GET {target} HTTP/1.1"), &format!("Host: {host}\r\n"));
        let told = (text(head.host()), text(head.path()), head.query().map(text));
        assert_eq!((&*told.0, &*told.1, told.2.as_deref()), expected);
    };
    check("/a/b?c=d?e", "h:80", ("h", "/a/b", Some("c=d?e")));
    check("/a?", "h", ("h", "/a", Some("")));
    check("/", "", ("", "/", None));
    check("http://[::1]:80?c", "[::1]", ("[::1]", "/", Some("c")));
}

#[test]
fn a_connection_is_kept_if_both_versions_rules_say_so() {
    let check = |version: &str, connection: &str, expected: Persistence| {
        let fields = format!("Host: a\r\n{connection}");
        let head = request(&format!("GET / {version}"), &fields);
        assert_eq!(head.persistence(), expected, "{version} {connection:?}");
        let head =
            response(&format!("{version} 200 OK"), &format!("Content-Length: 0\r\n{connection}"));
        assert_eq!(head.persistence(Asked::Other), expected, "{version} {connection:?}");
    };
    use Persistence::{Close, KeepAlive};
    check("HTTP/1.1", "", KeepAlive);
    check("HTTP/1.1", "Connection: Close\r\n", Close);
    check("HTTP/1.1", "Connection: x\r\nConnection: y, close\r\n", Close);
    check("HTTP/1.1", "Connection: keep-alive, close\r\n", Close);
    check("HTTP/1.1", "Connection: closed\r\n", KeepAlive);
    check("HTTP/1.1", "Proxy-Connection: close\r\n", KeepAlive);
    check("HTTP/1.0", "", Close);
    check("HTTP/1.0", "Connection: Keep-Alive\r\n", KeepAlive);
    check("HTTP/1.0", "Connection: ,keep-alive ,\r\n", KeepAlive);
    check("HTTP/1.0", "Connection: keep-alive\r\nConnection: close\r\n", Close);
}

#[test]
fn only_a_100_is_expected() {
    let check = |version: &str, expect: &str, expected: Result<bool, Refusal>| {
        let octets = format!("PUT / {version}\r\nHost: a\r\n{expect}\r\n");
        let mut head = RequestHead::new();
        let read = head.read(octets.as_bytes(), &Limits::default());
        assert_eq!(read.map(|_| head.expects_continue()), expected, "{octets:?}");
    };
    check("HTTP/1.1", "Content-Length: 1\r\nExpect: 100-Continue\r\n", Ok(true));
    check("HTTP/1.1", "Transfer-Encoding: chunked\r\nExpect: 100-continue\r\n", Ok(true));
    check("HTTP/1.1", "Content-Length: 0\r\nExpect: 100-continue\r\n", Ok(false));
    check("HTTP/1.1", "Content-Length: 1\r\n", Ok(false));
    check("HTTP/1.0", "Content-Length: 1\r\nExpect: 100-continue\r\n", Ok(false));
    check("HTTP/1.0", "Expect: x\r\n", Ok(false));
    check("HTTP/1.1", "Expect: x\r\n", Err(Refusal::Expectation));
    check("HTTP/1.1", "Expect: 100-continue, x\r\n", Err(Refusal::Expectation));
    check(
        "HTTP/1.1",
        "Expect: 100-continue\r\nExpect: 100-continue\r\n",
        Err(Refusal::Expectation),
    );
}

#[test]
fn an_upgrade_is_asked_for_in_one_way() {
    let check = |version: &str, fields: &str, expected: bool| {
        let head = request(&format!("GET / {version}"), &format!("Host: a\r\n{fields}"));
        assert_eq!(head.is_upgrade(), expected, "{version} {fields:?}");
    };
    check("HTTP/1.1", "Connection: Upgrade\r\nUpgrade: websocket\r\n", true);
    check(
        "HTTP/1.1",
        "Connection: keep-alive, upgrade\r\nUpgrade: a/1\r\nContent-Length: 0\r\n",
        true,
    );
    check("HTTP/1.0", "Connection: upgrade\r\nUpgrade: websocket\r\n", false);
    check("HTTP/1.1", "Upgrade: websocket\r\n", false);
    check("HTTP/1.1", "Connection: upgrade\r\n", false);
    check("HTTP/1.1", "Connection: upgrade\r\nUpgrade: h2c\r\n", false);
    check("HTTP/1.1", "Connection: upgrade\r\nUpgrade: websocket\r\nUpgrade: x, H2C\r\n", false);
    check("HTTP/1.1", "Connection: upgrade\r\nUpgrade: websocket\r\nContent-Length: 1\r\n", false);
    check(
        "HTTP/1.1",
        "Connection: upgrade\r\nUpgrade: websocket\r\nTransfer-Encoding: chunked\r\n",
        false,
    );
}

#[test]
fn what_was_asked_decides_on_the_responses_body() {
    let check = |line: &str, upgrades: Upgrades, expected: Asked| {
        let fields = "Host: a:1\r\nConnection: upgrade\r\nUpgrade: websocket\r\n";
        let mut head = request(&format!("{line} HTTP/1.1"), fields);
        head.strip(upgrades);
        assert_eq!(head.asked(), expected, "{line} {upgrades:?}");
    };
    check("GET /", Upgrades::Passed, Asked::Upgrade);
    check("GET /", Upgrades::Refused, Asked::Other);
    check("HEAD /", Upgrades::Passed, Asked::Head);
    check("head /", Upgrades::Refused, Asked::Other);
    check("CONNECT a:1", Upgrades::Passed, Asked::Connect);
}

#[test]
fn http_1_0_may_lack_a_host_and_goes_on_as_it_is() {
    let head = request("GET / HTTP/1.0", "A: b\r\n");
    assert_eq!(lines(|out| head.write(Persistence::KeepAlive, out)), "GET / HTTP/1.0 | A: b");
    let head = request("GET / HTTP/1.0", "host: a\r\n");
    assert_eq!(lines(|out| head.write(Persistence::KeepAlive, out)), "GET / HTTP/1.1 | host: a");
    let head = request("GET http://b/ HTTP/1.0", "");
    assert_eq!(lines(|out| head.write(Persistence::KeepAlive, out)), "GET / HTTP/1.1 | Host: b");
}

#[test]
fn a_head_is_as_long_as_it_may_be_and_not_longer() {
    let octets = b"GET /index HTTP/1.1\r\nHost: a\r\nX: y\r\n\r\nbody";
    let head = octets.len() - 4;
    let limited = |change: fn(&mut Limits, usize), bound: usize| {
        let mut limits = Limits::default();
        change(&mut limits, bound);
        read(octets, &limits)
    };
    let check = |change: fn(&mut Limits, usize), bound: usize, refusal: Refusal| {
        assert_eq!(limited(change, bound), Ok(Progress::Whole(head)), "{bound}");
        assert_eq!(limited(change, bound - 1), Err(refusal), "{bound}");
    };
    check(|limits, bound| limits.head = bound, head, Refusal::HeadTooLong);
    check(|limits, bound| limits.fields = bound, 2, Refusal::TooManyFields);
    check(|limits, bound| limits.target = bound, 6, Refusal::TargetTooLong);
    // A line that does not end is of a target that does not.
    assert_eq!(limited(|limits, bound| limits.head = bound, 20), Err(Refusal::TargetTooLong));
    assert_eq!(limited(|limits, bound| limits.head = bound, 21), Err(Refusal::HeadTooLong));
    // As long as it may be, and without its end, it is too long already.
    let limits = Limits { head, ..Limits::default() };
    assert_eq!(read(&octets[..head - 1], &limits), Ok(Progress::More));
    let mut endless = octets[..head - 1].to_vec();
    endless.push(b'x');
    assert_eq!(read(&endless, &limits), Err(Refusal::HeadTooLong));

    let method = |length: usize| format!("{} / HTTP/1.1\r\nHost: a\r\n\r\n", "A".repeat(length));
    assert!(read(method(32).as_bytes(), &Limits::default()).is_ok());
    assert_eq!(read(method(33).as_bytes(), &Limits::default()), Err(Refusal::MethodTooLong));
    let options = |count: usize| {
        format!("GET / HTTP/1.1\r\nHost: a\r\nConnection: {}\r\n\r\n", vec!["a"; count].join(","))
    };
    assert!(read(options(32).as_bytes(), &Limits::default()).is_ok());
    assert_eq!(read(options(33).as_bytes(), &Limits::default()), Err(Refusal::TooManyOptions));
    let length =
        |length: u64| format!("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n");
    let limits = Limits { body: 1000, ..Limits::default() };
    assert!(read(length(1000).as_bytes(), &limits).is_ok());
    assert_eq!(read(length(1001).as_bytes(), &limits), Err(Refusal::BodyTooLong));
    assert!(read(length(i64::MAX as u64).as_bytes(), &Limits::default()).is_ok());
}

#[test]
fn http_2_is_told_from_its_first_line() {
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    for length in 1..preface.len() {
        let expected = if length < 16 { Progress::More } else { Progress::Http2 };
        assert_eq!(read(&preface[..length], &Limits::default()), Ok(expected), "{length}");
    }
    assert_eq!(read(b"PRI / HTTP/2.0\r\n", &Limits::default()), Err(Refusal::Version));
    assert_eq!(read(b"\r\nPRI * HTTP/2.0\r\n", &Limits::default()), Err(Refusal::Version));
}

#[test]
fn room_is_used_again_and_a_long_heads_is_given_back() {
    let mut head = RequestHead::new();
    let limits = Limits::default();
    let long = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "y".repeat(40_000));
    for octets in [
        long.as_str(),
        "GET /b HTTP/1.1\r\nHost: b\r\nContent-Length: 1\r\n\r\n",
        "GET /c HTTP/1.0\r\n\r\n",
    ] {
        assert_eq!(head.read(octets.as_bytes(), &limits), Ok(Progress::Whole(octets.len())));
    }
    assert_eq!((head.path(), head.authority(), head.body()), (&b"/c"[..], &b""[..], Body::None));
    assert!(head.fields().is_empty());
    assert!(head.fields.capacity() < 20_000, "{}", head.fields.capacity());
    // Nor does a refusal leave anything behind.
    assert!(head.read(b"GET /d HTTP/1.1\r\nA: b\r\nC\r\n", &limits).is_err());
    assert_eq!(head.read(b"GET /e HTTP/1.0\r\n\r\n", &limits), Ok(Progress::Whole(19)));
    assert!(head.fields().is_empty());
}
