//! From HTTP/2 and to it: what both can say is kept, and what one cannot is refused.

use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::{Request, Response};

use super::*;

/// A start line or status, and fields; or why not.
type Told<'t, S> = Result<(S, &'t [(&'t str, &'t str)]), Refusal>;

fn parts(method: &str, uri: &str, fields: &[(&str, &str)]) -> http::request::Parts {
    let mut request = Request::builder().method(method).uri(uri).body(()).unwrap();
    *request.headers_mut() = map(fields);
    request.into_parts().0
}

fn map(fields: &[(&str, &str)]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in fields {
        map.append(HeaderName::try_from(*name).unwrap(), HeaderValue::try_from(*value).unwrap());
    }
    map
}

fn to_http_1(method: &str, uri: &str, fields: &[(&str, &str)], stream: Stream) -> String {
    let mut head = RequestHead::new();
    match head.from_parts(&parts(method, uri, fields), stream, &Limits::default()) {
        Ok(()) => {
            head.strip(Upgrades::Refused);
            lines(|out| head.write(Persistence::KeepAlive, out))
        }
        Err(refusal) => refusal.word().to_owned(),
    }
}

#[test]
fn a_request_comes_from_http_2() {
    let check = |method: &str, uri: &str, fields: &[(&str, &str)], stream, expected: &str| {
        assert_eq!(to_http_1(method, uri, fields, stream), expected, "{method} {uri} {fields:?}");
    };
    use Stream::{Ended, Open};
    check("GET", "https://a/b?c", &[("x", "y")], Ended, "GET /b?c HTTP/1.1 | Host: a | x: y");
    check("GET", "https://a:8443", &[], Ended, "GET / HTTP/1.1 | Host: a:8443");
    check("GET", "/b", &[("host", "A")], Ended, "GET /b HTTP/1.1 | Host: A");
    check("GET", "https://a/", &[("host", "A")], Ended, "GET / HTTP/1.1 | Host: a");
    check("OPTIONS", "*", &[("host", "a")], Ended, "OPTIONS * HTTP/1.1 | Host: a");
    check(
        "GET",
        "https://a/",
        &[("te", "trailers")],
        Ended,
        "GET / HTTP/1.1 | Host: a | TE: trailers | Connection: TE",
    );
    let cookies = &[("cookie", "a=b"), ("x", "y"), ("cookie", "c=d")];
    check(
        "GET",
        "https://a/",
        cookies,
        Ended,
        "GET / HTTP/1.1 | Host: a | x: y | cookie: a=b; c=d",
    );
    let crumbs = &[("cookie", ""), ("cookie", " a=b"), ("cookie", "")];
    check("GET", "https://a/", crumbs, Ended, "GET / HTTP/1.1 | Host: a | cookie: a=b");
    check("GET", "https://a/", &crumbs[..1], Ended, "GET / HTTP/1.1 | Host: a");
    // Its body.
    check("PUT", "https://a/", &[], Open, "PUT / HTTP/1.1 | Host: a | Transfer-Encoding: chunked");
    check(
        "PUT",
        "https://a/",
        &[("content-length", "3")],
        Open,
        "PUT / HTTP/1.1 | Host: a | content-length: 3",
    );
    check(
        "PUT",
        "https://a/",
        &[("content-length", "0")],
        Ended,
        "PUT / HTTP/1.1 | Host: a | content-length: 0",
    );
    check("PUT", "https://a/", &[], Ended, "PUT / HTTP/1.1 | Host: a | Content-Length: 0");
    check("DELETE", "https://a/", &[], Ended, "DELETE / HTTP/1.1 | Host: a");
    check("PUT", "https://a/", &[("content-length", "3")], Ended, "content-length-differs");
    check("PUT", "https://a/", &[("content-length", "3, 3")], Open, "content-length");
    check("PUT", "https://a/", &[("content-length", "+3")], Open, "content-length");
    check(
        "PUT",
        "https://a/",
        &[("content-length", "3"), ("content-length", "3")],
        Open,
        "many-content-lengths",
    );
    // What is a line of HTTP/1 must not be made here.
    check("GET", "/", &[], Ended, "no-host");
    check("GET", "https://a/", &[("host", "b")], Ended, "host-differs");
    check("GET", "https://a/", &[("host", "a"), ("host", "a")], Ended, "many-hosts");
    check("GET", "https://u@a/", &[], Ended, "userinfo");
    check("GET", "/", &[("host", "a b")], Ended, "host");
    check("GET", "/", &[("host", "a, b")], Ended, "host");
    check("GET", "https://a/\u{e4}", &[], Ended, "target-octet");
    for (name, value) in [
        ("connection", "close"),
        ("connection", "x"),
        ("keep-alive", "x"),
        ("proxy-connection", "x"),
        ("transfer-encoding", "chunked"),
        ("upgrade", "websocket"),
        ("http2-settings", "x"),
        ("te", "gzip"),
        ("te", "trailers, gzip"),
    ] {
        check("GET", "https://a/", &[(name, value)], Ended, "connection-field");
    }
    check("GET", "https://a/", &[("content_length", "3")], Ended, "framing-look-alike");
    check("PUT", "https://a/", &[("expect", "x")], Open, "expectation");
    check("CONNECT", "a:443", &[], Open, "CONNECT a:443 HTTP/1.1 | Host: a:443");
}

#[test]
fn nothing_of_a_request_of_http_2_is_left_for_the_next() {
    let mut head = RequestHead::new();
    let expecting = parts("PUT", "https://a/", &[("expect", "100-continue"), ("x", "y")]);
    head.from_parts(&expecting, Stream::Open, &Limits::default()).unwrap();
    assert!(head.expects_continue());
    let next = b"PUT / HTTP/1.1\r\nContent-Length: 1\r\nHost: b\r\n\r\n";
    assert_eq!(head.read(next, &Limits::default()), Ok(Progress::Whole(next.len())));
    assert_eq!((head.authority(), head.expects_continue()), (&b"b"[..], false));
    assert_eq!(fields(head.fields()), "Content-Length: 1, Host: b");
}

#[test]
fn a_request_of_http_2_is_bounded_too() {
    let read = |limits: Limits| {
        let fields = [("x", "yyyy"), ("z", "")];
        RequestHead::new().from_parts(
            &parts("GET", "https://a/bc", &fields),
            Stream::Ended,
            &limits,
        )
    };
    let default = Limits::default;
    assert_eq!(read(Limits { target: 3, ..default() }), Ok(()));
    assert_eq!(read(Limits { target: 2, ..default() }), Err(Refusal::TargetTooLong));
    // Host is one.
    assert_eq!(read(Limits { fields: 3, ..default() }), Ok(()));
    assert_eq!(read(Limits { fields: 2, ..default() }), Err(Refusal::TooManyFields));
    let octets = "GET/bcHost: a\r\nx: yyyy\r\nz:\r\n".len();
    assert_eq!(read(Limits { head: octets, ..default() }), Ok(()));
    assert_eq!(read(Limits { head: octets - 1, ..default() }), Err(Refusal::HeadTooLong));
}

#[test]
fn a_request_goes_to_http_2() {
    let check = |line: &str, fields: &str, expected: Told<&str>| {
        let mut head = request(line, fields);
        head.strip(Upgrades::Passed);
        let told = head.to_parts(Scheme::Https).map(|parts| {
            assert_eq!(parts.version, http::Version::HTTP_2);
            (format!("{} {}", parts.method, parts.uri), parts.headers)
        });
        let expected = expected.map(|(start, fields)| (start.to_owned(), map(fields)));
        assert_eq!(told, expected, "{line} {fields:?}");
    };
    check(
        "GET /a?b HTTP/1.1",
        "Host: c:80\r\nX-A: b\r\n",
        Ok(("GET https://c:80/a?b", &[("x-a", "b")])),
    );
    let body = "Host: c\r\nTransfer-Encoding: chunked\r\nTE: trailers\r\nConnection: TE\r\n";
    check("PUT / HTTP/1.1", body, Ok(("PUT https://c/", &[("te", "trailers")])));
    check(
        "PUT / HTTP/1.1",
        "Host: c\r\nContent-Length: 3\r\n",
        Ok(("PUT https://c/", &[("content-length", "3")])),
    );
    check("OPTIONS * HTTP/1.1", "Host: c\r\n", Ok(("OPTIONS https://c*", &[])));
    check("GET / HTTP/1.0", "", Err(Refusal::NotInHttp2));
    check("GET / HTTP/1.1", "Host:\r\n", Err(Refusal::NotInHttp2));
    check("CONNECT c:1 HTTP/1.1", "Host: c:1\r\n", Err(Refusal::NotInHttp2));
    let upgrade = "Host: c\r\nConnection: upgrade\r\nUpgrade: websocket\r\n";
    check("GET / HTTP/1.1", upgrade, Err(Refusal::NotInHttp2));
}

#[test]
fn a_response_comes_from_http_2() {
    let check =
        |status: u16, fields: &[(&str, &str)], stream, asked, expected: Result<&str, Refusal>| {
            let mut response = Response::builder().status(status).body(()).unwrap();
            *response.headers_mut() = map(fields);
            let mut head = ResponseHead::new();
            let written = head
                .from_parts(&response.into_parts().0, stream, &Limits::default())
                .and_then(|()| head.body(asked))
                .map(|body| {
                    head.strip();
                    head.set_body(body.towards(Version::Http11));
                    lines(|out| head.write(Version::Http11, head.persistence(asked), out))
                });
            assert_eq!(written, expected.map(str::to_owned), "{status} {fields:?}");
        };
    use Asked::{Head, Other};
    use Stream::{Ended, Open};
    check(
        200,
        &[("x", "y")],
        Open,
        Other,
        Ok("HTTP/1.1 200 OK | x: y | Transfer-Encoding: chunked"),
    );
    check(200, &[("content-length", "3")], Open, Other, Ok("HTTP/1.1 200 OK | content-length: 3"));
    check(200, &[], Ended, Other, Ok("HTTP/1.1 200 OK | Content-Length: 0"));
    check(200, &[("content-length", "3")], Ended, Head, Ok("HTTP/1.1 200 OK | content-length: 3"));
    check(204, &[], Ended, Other, Ok("HTTP/1.1 204 No Content"));
    check(
        304,
        &[("content-length", "3")],
        Ended,
        Other,
        Ok("HTTP/1.1 304 Not Modified | content-length: 3"),
    );
    check(103, &[("link", "x")], Open, Other, Ok("HTTP/1.1 103 Early Hints | link: x"));
    check(101, &[], Ended, Other, Err(Refusal::UnaskedUpgrade));
    check(200, &[("connection", "close")], Ended, Other, Err(Refusal::ConnectionField));
    check(200, &[("transfer-encoding", "chunked")], Open, Other, Err(Refusal::ConnectionField));
    check(200, &[("content-length", "x")], Open, Other, Err(Refusal::ContentLength));
    check(
        200,
        &[("set-cookie", "a"), ("set-cookie", "b")],
        Ended,
        Other,
        Ok("HTTP/1.1 200 OK | set-cookie: a | set-cookie: b | Content-Length: 0"),
    );
}

#[test]
fn a_response_that_ends_before_its_length_is_refused() {
    let mut response = Response::builder().status(200).body(()).unwrap();
    *response.headers_mut() = map(&[("content-length", "3")]);
    let mut head = ResponseHead::new();
    let parts = response.into_parts().0;
    head.from_parts(&parts, Stream::Ended, &Limits::default()).unwrap();
    assert_eq!(head.body(Asked::Other), Err(Refusal::LengthDiffers));
    assert_eq!(head.body(Asked::Head), Ok(Body::None));
    head.from_parts(&parts, Stream::Open, &Limits::default()).unwrap();
    assert_eq!(head.body(Asked::Other), Ok(Body::Length(3)));
}

#[test]
fn a_response_goes_to_http_2() {
    let check = |line: &str, fields: &str, expected: Told<u16>| {
        let mut head = response(line, fields);
        head.strip();
        let told = head.to_parts().map(|parts| (parts.status.as_u16(), parts.headers));
        assert_eq!(
            told,
            expected.map(|(status, fields)| (status, map(fields))),
            "{line} {fields:?}"
        );
    };
    check("HTTP/1.1 200 OK", "X: y\r\nConnection: close, Z\r\nZ: z\r\n", Ok((200, &[("x", "y")])));
    check("HTTP/1.0 404 No", "Content-Length: 3\r\n", Ok((404, &[("content-length", "3")])));
    check(
        "HTTP/1.1 200 OK",
        "Transfer-Encoding: chunked\r\nTrailer: a\r\n",
        Ok((200, &[("trailer", "a")])),
    );
    let upgrade = "Connection: upgrade\r\nUpgrade: websocket\r\n";
    check("HTTP/1.1 101 x", upgrade, Err(Refusal::NotInHttp2));
    check("HTTP/1.1 426 x", upgrade, Ok((426, &[])));
}

#[test]
fn trailers_go_both_ways() {
    let trailers =
        Trailers::from_map(&map(&[("grpc-status", "0"), ("content-length", "3"), ("x", "y")]))
            .unwrap();
    let mut out = vec![];
    trailers.write(&mut out);
    assert_eq!(text(&out), "grpc-status: 0\r\nx: y\r\n\r\n");
    assert_eq!(trailers.to_map(), Ok(map(&[("grpc-status", "0"), ("x", "y")])));
}
