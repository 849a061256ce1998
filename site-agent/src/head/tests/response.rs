//! Responses: where their body ends, and what becomes of the connection.

use super::*;

#[test]
fn a_body_ends_as_status_and_request_say() {
    let check = |status: u16, fields: &str, asked: Asked, expected: &str| {
        let head = response(&format!("HTTP/1.1 {status} x"), fields);
        let body = match head.body(asked) {
            Ok(Body::None) => "none".to_owned(),
            Ok(Body::Length(length)) => length.to_string(),
            Ok(Body::Chunked) => "chunked".to_owned(),
            Ok(Body::UntilClose) => "until close".to_owned(),
            Err(refusal) => refusal.word().to_owned(),
        };
        let keeps = if head.persistence(asked) == Persistence::KeepAlive { "" } else { ", close" };
        assert_eq!(format!("{body}{keeps}"), expected, "{status} {fields:?} {asked:?}");
    };
    use Asked::{Connect, Head, Other, Upgrade};
    let length = "Content-Length: 3\r\n";
    let chunked = "Transfer-Encoding: chunked\r\n";
    check(200, length, Other, "3");
    check(200, chunked, Other, "chunked");
    check(200, "", Other, "until close, close");
    check(404, "", Other, "until close, close");
    for fields in ["", length, chunked] {
        check(200, fields, Head, "none");
        check(404, fields, Head, "none");
        check(304, fields, Other, "none");
        check(200, fields, Connect, "none");
        check(299, fields, Connect, "none");
    }
    check(300, length, Connect, "3");
    check(407, chunked, Connect, "chunked");
    // Who frames what cannot be there may send it too.
    check(204, "", Other, "none");
    check(204, "Content-Length: 0\r\n", Other, "none");
    check(204, length, Other, "none, close");
    check(204, chunked, Other, "none, close");
    check(103, length, Other, "none, close");
    check(100, "", Other, "none");
    let upgrade = "Connection: upgrade\r\nUpgrade: websocket\r\n";
    check(101, upgrade, Upgrade, "none, close");
    check(101, upgrade, Other, "unasked-upgrade, close");
    check(101, "", Upgrade, "unasked-upgrade, close");
    check(101, "Connection: upgrade\r\nUpgrade: h2c\r\n", Upgrade, "unasked-upgrade, close");
    check(200, length, Upgrade, "3");
    check(999, length, Other, "3");
}

#[test]
fn a_body_without_length_goes_on_as_the_client_can_read_it() {
    use Body::{Chunked, Length, None, UntilClose};
    let check = |body: Body, to_1_1: Body, to_1_0: Body| {
        assert_eq!(body.towards(Version::Http11), to_1_1);
        assert_eq!(body.towards(Version::Http10), to_1_0);
    };
    check(None, None, None);
    check(Length(3), Length(3), Length(3));
    check(Chunked, Chunked, UntilClose);
    check(UntilClose, Chunked, UntilClose);
}

#[test]
fn a_response_is_written_for_its_client() {
    let check = |line: &str,
                 fields: &str,
                 client: Version,
                 body: Body,
                 persistence: Persistence,
                 expected: &str| {
        let mut head = response(line, fields);
        head.strip();
        head.set_body(body);
        assert_eq!(lines(|out| head.write(client, persistence, out)), expected);
    };
    use Persistence::{Close, KeepAlive};
    use Version::{Http10, Http11};
    let fields = "X: y\r\ntransfer-encoding: Chunked\r\nA:b\r\nConnection: close\r\n";
    let chunked = "HTTP/1.1 200 OK | X: y | transfer-encoding: chunked | A: b";
    check("HTTP/1.1 200 OK", fields, Http11, Body::Chunked, KeepAlive, chunked);
    check(
        "HTTP/1.1 200 OK",
        fields,
        Http10,
        Body::UntilClose,
        Close,
        "HTTP/1.1 200 OK | X: y | A: b | Connection: close",
    );
    check(
        "HTTP/1.0 404 Not  Found \u{e4}",
        "content-length: 3\r\n",
        Http10,
        Body::Length(3),
        KeepAlive,
        "HTTP/1.1 404 Not  Found \u{e4} | content-length: 3 | Connection: keep-alive",
    );
    check(
        "HTTP/1.0 200",
        "",
        Http11,
        Body::Chunked,
        KeepAlive,
        "HTTP/1.1 200  | Transfer-Encoding: chunked",
    );
    // To HEAD, and with a 304, it tells of the body that there would have been.
    let there = "HTTP/1.1 304 a | Content-Length: 3";
    check("HTTP/1.1 304 a", "Content-Length: 3\r\n", Http11, Body::None, KeepAlive, there);
    check(
        "HTTP/1.1 304 a",
        "Transfer-Encoding: chunked\r\n",
        Http11,
        Body::None,
        KeepAlive,
        "HTTP/1.1 304 a",
    );
    check(
        "HTTP/1.1 204 a",
        "Content-Length: 3\r\n",
        Http11,
        Body::None,
        KeepAlive,
        "HTTP/1.1 204 a",
    );
    check("HTTP/1.1 103 a", "Link: b\r\n", Http11, Body::None, Close, "HTTP/1.1 103 a | Link: b");
    let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\n";
    let switched = "HTTP/1.1 101 a | Upgrade: websocket | Connection: upgrade";
    check("HTTP/1.1 101 a", upgrade, Http11, Body::None, Close, switched);
    let required =
        "HTTP/1.1 426 a | Upgrade: websocket | Content-Length: 0 | Connection: close, upgrade";
    check("HTTP/1.1 426 a", upgrade, Http11, Body::Length(0), Close, required);
    let offered = "HTTP/1.1 200 a | Content-Length: 0";
    check("HTTP/1.1 200 a", upgrade, Http11, Body::Length(0), KeepAlive, offered);
}

#[test]
fn a_responses_head_is_as_long_as_it_may_be_and_not_longer() {
    let octets = b"HTTP/1.1 200 OK\r\nA: b\r\nC: d\r\n\r\n";
    let read = |limits: Limits| ResponseHead::new().read(octets, &limits);
    let whole = Ok(Some(octets.len()));
    assert_eq!(read(Limits { head: octets.len(), ..Limits::default() }), whole);
    assert_eq!(
        read(Limits { head: octets.len() - 1, ..Limits::default() }),
        Err(Refusal::HeadTooLong)
    );
    assert_eq!(read(Limits { fields: 2, ..Limits::default() }), whole);
    assert_eq!(read(Limits { fields: 1, ..Limits::default() }), Err(Refusal::TooManyFields));
    let interim = response("HTTP/1.1 100 Continue", "");
    assert!(interim.is_interim() && !response("HTTP/1.1 200 OK", "").is_interim());
    assert!(!response("HTTP/1.1 101 x", "").is_interim());
}
