//! What is for one connection does not go on, and what is not does.

use super::*;

fn check(upgrades: Upgrades, fields: &str, expected: &str) {
    let mut head = request("GET / HTTP/1.1", &format!("Host: a\r\n{fields}"));
    head.strip(upgrades);
    let written = lines(|out| head.write(Persistence::KeepAlive, out));
    let expected = if expected.is_empty() { String::new() } else { format!(" | {expected}") };
    assert_eq!(written, format!("GET / HTTP/1.1 | Host: a{expected}"), "{fields:?}");
}

#[test]
fn fields_of_one_connection_stay_on_it() {
    use Upgrades::Refused;
    check(Refused, "A: b\r\n", "A: b");
    check(Refused, "A: b\r\nKeep-Alive: timeout=5\r\nC: d\r\n", "A: b | C: d");
    check(Refused, "Proxy-Connection: keep-alive\r\nHTTP2-Settings: x\r\n", "");
    check(Refused, "Connection: A, x-b\r\nA: b\r\nX-B: c\r\nX-C: d\r\n", "X-C: d");
    check(Refused, "Connection: a\r\nConnection: b\r\nA: b\r\nB: c\r\n", "");
    check(Refused, "Trailer: x\r\n", "Trailer: x");
    check(Refused, "TE: gzip, Trailers\r\nConnection: TE\r\n", "TE: trailers | Connection: TE");
    check(Refused, "TE: gzip;q=1\r\n", "");
    check(Refused, "TE: trailersx\r\n", "");
    check(Refused, "transfer-encoding: CHUNKED\r\nA: b\r\n", "transfer-encoding: chunked | A: b");
    check(Refused, "A: b\r\nContent-Length: 007\r\nC: d\r\n", "A: b | Content-Length: 7 | C: d");
    check(Refused, "Upgrade: websocket\r\n", "");
}

#[test]
fn nobody_takes_away_what_is_for_the_server_by_naming_it() {
    let named = "Host, Content-Length, Transfer-Encoding, Authorization, Cookie, X-Forwarded-For, Content-Type, Via, \
                 If-Match, Expect, close";
    let rest = "Content-Length: 3 | Authorization: b | Cookie: c | X-Forwarded-For: d | content-type: e | Via: f | \
                If-Match: g";
    let fields = format!("Connection: {named}\r\n{}\r\n", rest.replace(" | ", "\r\n"));
    check(Upgrades::Refused, &fields, rest);
}

#[test]
fn an_upgrade_passes_only_where_it_may() {
    let fields = "Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nTE: trailers\r\nSec-WebSocket-Key: x\r\n";
    check(
        Upgrades::Passed,
        fields,
        "Upgrade: websocket | Sec-WebSocket-Key: x | Connection: upgrade",
    );
    check(Upgrades::Refused, fields, "Sec-WebSocket-Key: x | TE: trailers | Connection: TE");
    let h2c = "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: x\r\n";
    check(Upgrades::Passed, h2c, "");
}

#[test]
fn http_1_0_expects_nothing() {
    let mut head =
        request("PUT / HTTP/1.0", "Host: a\r\nExpect: 100-continue\r\nContent-Length: 1\r\n");
    head.strip(Upgrades::Passed);
    assert_eq!(fields(head.fields()), "Host: a, Content-Length: 1");
    check(
        Upgrades::Passed,
        "Expect: 100-continue\r\nContent-Length: 1\r\n",
        "Expect: 100-continue | Content-Length: 1",
    );
}

#[test]
fn a_server_is_told_that_its_connection_ends() {
    let mut head = request("GET / HTTP/1.1", "Host: a\r\nConnection: keep-alive\r\n");
    head.strip(Upgrades::Passed);
    let written = lines(|out| head.write(Persistence::Close, out));
    assert_eq!(written, "GET / HTTP/1.1 | Host: a | Connection: close");
    let mut head = request("GET / HTTP/1.1", "Host: a\r\nTE: trailers\r\n");
    head.strip(Upgrades::Passed);
    let written = lines(|out| head.write(Persistence::Close, out));
    assert_eq!(written, "GET / HTTP/1.1 | Host: a | TE: trailers | Connection: close, TE");
}

#[test]
fn a_responses_fields_of_one_connection_stay_on_it() {
    let mut head = response(
        "HTTP/1.1 200 OK",
        "Set-Cookie: a\r\nConnection: close, X-A, Set-Cookie\r\nX-A: b\r\nKeep-Alive: x\r\nProxy-Connection: x\r\nUpgrade: h2c\r\n\
         Set-Cookie: c\r\nProxy-Authenticate: d\r\n",
    );
    head.strip();
    assert_eq!(fields(head.fields()), "Set-Cookie: a, Set-Cookie: c, Proxy-Authenticate: d");
}
