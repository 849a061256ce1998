//! HTTP/2 through a balancer, to servers of HTTP/1.1 that say what a test wants.

mod world;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use bytes::Bytes;
use h2::Reason;
use http::{HeaderMap, HeaderValue};
use tempfile::NamedTempFile;
use tokio::net::TcpSocket;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use world::http2::{DATA, HEADERS, RST_STREAM, Secure, head, request, rest, upload, whole};
use world::{Backend, LONG, Server, ok, until};

#[tokio::test(flavor = "multi_thread")]
async fn a_request_goes_on_as_http_1_says_it() {
    let app = Backend::named("app").await;
    let hsts = "hsts = { max_age = \"1d\" }";
    let secure = Secure::start(hsts, "", &[("a", app.address)]).await;
    let mut client = secure.client().await;
    let mut asked = request("GET", "/a%2Fb?c=d");
    let fields = [("cookie", "a=1"), ("cookie", "b=2"), ("x-forwarded-for", "203.0.113.9")];
    for (name, value) in fields.into_iter().chain([("te", "trailers"), ("x-own", "kept")]) {
        asked.headers_mut().append(name, HeaderValue::from_static(value));
    }
    let answer = whole(client.ask(asked)).await.unwrap();
    assert_eq!((answer.status(), answer.text()), (200, "app"));
    assert_eq!(answer.header("strict-transport-security"), Some("max-age=86400"));
    let expected = "GET /a%2Fb?c=d HTTP/1.1\r\nHost: www.example.com\r\nx-own: kept\r\ncookie: a=1; b=2\r\n\
                    TE: trailers\r\nX-Forwarded-For: 127.0.0.1\r\nX-Forwarded-Proto: https\r\n\
                    Forwarded: for=127.0.0.1;proto=https\r\nConnection: TE\r\n\r\n";
    assert_eq!(app.last().head, expected);
    // Who speaks HTTP/1.1, or agrees on nothing, is served so.
    for protocols in [&[&b"http/1.1"[..]][..], &[]] {
        let mut stream = secure.shake_hands(protocols).await;
        let request = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
        tokio::io::AsyncWriteExt::write_all(&mut stream, request).await.unwrap();
        let mut answer = vec![];
        // It may hang up without a word of TLS.
        let _ = tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut answer).await;
        assert!(answer.starts_with(b"HTTP/1.1 200 OK\r\n"), "{}", answer.escape_ascii());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_streams_are_answered_each_when_its_server_is_ready() {
    let server = Server::new().await;
    let secure = Secure::start("", "", &server.at()).await;
    let mut client = secure.client().await;
    let asked: Vec<_> =
        (0..60).map(|number| client.ask(request("GET", &format!("/{number}")))).collect();
    let mut held = vec![];
    for _ in &asked {
        held.push(server.asked().await);
    }
    // The last to come is the first to be answered; the very last is not, and holds up nobody.
    let (mut slow, slow_head) = held.remove(0);
    for (connection, head) in held.iter_mut().rev() {
        let path = head.split(' ').nth(1).unwrap();
        connection.say(ok(path)).await;
    }
    let mut waiting = None;
    for (number, response) in asked.into_iter().enumerate() {
        let path = format!("/{number}");
        if slow_head.starts_with(&format!("GET {path} ")) {
            waiting = Some(response);
            continue;
        }
        assert_eq!(whole(response).await.unwrap().text(), path);
    }
    slow.say(ok("slow")).await;
    assert_eq!(whole(waiting.unwrap()).await.unwrap().text(), "slow");
    let shown = secure.world.agent.shown();
    assert_eq!(shown.frontends[0].1.connections.load(Relaxed), 1);
    assert_eq!(shown.frontends[0].1.requests.load(Relaxed), 60);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_read_one_stream_reads_the_others() {
    let large = vec![7; 3_000_000];
    let body = large.clone();
    let app = Backend::start(move |asked| {
        Some(if asked.path() == "/large" { ok(&body) } else { ok("small") })
    })
    .await;
    let secure = Secure::start("", "", &[("a", app.address)]).await;
    let mut client = secure.client().await;
    let unread = head(client.ask(request("GET", "/large"))).await.unwrap();
    for _ in 0..20 {
        assert_eq!(client.get("/").await.text(), "small");
    }
    let (body, _) = rest(unread.into_body()).await.unwrap();
    assert!(body == large);
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_of_every_kind_pass_whole() {
    let large: Vec<u8> = (0..2_000_000u32).map(|number| (number % 251) as u8).collect();
    let app = Backend::echo("").await;
    let secure = Secure::start("", "", &[("a", app.address)]).await;
    let mut client = secure.client().await;
    for size in [0, 1, 10, 16_384, 65_536, 2_000_000] {
        for path in ["/length", "/chunked", "/close"] {
            for has_length in [false, true] {
                let body = &large[..size];
                let mut asked = request("POST", path);
                if has_length {
                    asked.headers_mut().insert("content-length", size.into());
                }
                let (response, mut stream) = client.begin(asked);
                let up = async {
                    upload(&mut stream, body, |_| {}).await;
                    let ended = stream.send_data(Bytes::new(), true);
                    // By its length it is whole without that, and may have been answered.
                    assert!(ended.is_ok() || has_length, "{path} {size}: {ended:?}");
                };
                let ((), answer) = tokio::join!(up, whole(response));
                let answer = answer.unwrap();
                assert!(answer.body == body, "{path} {size} {has_length}");
                assert_eq!(answer.header("transfer-encoding"), None);
                let asked = app.last();
                assert!(asked.body == body, "{path} {size} {has_length}");
                let framed = if has_length { "content-length" } else { "transfer-encoding" };
                assert!(asked.header(framed).is_some(), "{}", asked.head);
            }
        }
    }
    // All in one go, and with nothing: then its length is told.
    let (response, mut stream) = client.begin(request("POST", "/length"));
    stream.send_data(Bytes::from_static(b"abc"), true).unwrap();
    assert_eq!(whole(response).await.unwrap().text(), "abc");
    assert_eq!(whole(client.ask(request("POST", "/length"))).await.unwrap().text(), "");
    assert_eq!(app.last().header("content-length"), Some("0"));
}

#[tokio::test(flavor = "multi_thread")]
async fn responses_without_a_body_end_with_their_head() {
    let app = Backend::start(|asked| {
        Some(match asked.path() {
            "/204" => b"HTTP/1.1 204 No Content\r\nX: chunked\r\n\r\n".to_vec(),
            "/304" => b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n".to_vec(),
            _ => b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n".to_vec(),
        })
    })
    .await;
    let secure = Secure::start("", "", &[("a", app.address)]).await;
    let mut client = secure.client().await;
    for (method, path, status) in [("GET", "/204", 204), ("GET", "/304", 304), ("HEAD", "/", 200)] {
        for _ in 0..3 {
            let response = head(client.ask(request(method, path))).await.unwrap();
            assert_eq!(response.status(), status);
            assert!(response.body().is_end_stream(), "{path}");
        }
    }
    assert_eq!(app.connections(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_goes_only_as_fast_as_its_server_reads() {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let server = Server { listener: socket.listen(16).unwrap() };
    let secure = Secure::start("", "", &server.at()).await;
    let mut client = secure.client().await;
    let body: Vec<u8> = (0..24_000_000u32).map(|number| (number % 253) as u8).collect();
    let (response, mut stream) = client.begin(request("POST", "/"));
    let sent = Arc::new(AtomicUsize::new(0));
    let (count, whole_body) = (Arc::clone(&sent), body.clone());
    let up = tokio::spawn(async move {
        upload(&mut stream, &whole_body, |so_far| count.store(so_far, Relaxed)).await;
        stream.send_data(Bytes::new(), true).unwrap();
    });
    let (mut slow, _) = server.asked().await;
    // It reads nothing more, until the client can say nothing more.
    let mut before = usize::MAX;
    while before != sent.load(Relaxed) {
        before = sent.load(Relaxed);
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    // What is on the way is in windows and in the kernel.
    assert!(before < body.len() / 2, "{before}");
    // Others are not held up by it.
    let other = client.ask(request("GET", "/other"));
    let (mut quick, _) = server.asked().await;
    quick.say(ok("other")).await;
    assert_eq!(whole(other).await.unwrap().text(), "other");
    let mut seen = vec![];
    loop {
        let line = String::from_utf8(slow.until(b"\r\n").await).unwrap();
        let size = usize::from_str_radix(line.trim(), 16).unwrap();
        seen.extend(slow.octets(size + 2).await);
        seen.truncate(seen.len() - 2);
        if size == 0 {
            break;
        }
    }
    assert!(seen == body);
    slow.say(ok("whole")).await;
    assert_eq!(whole(response).await.unwrap().text(), "whole");
    up.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn trailers_pass_both_ways() {
    let server = Server::new().await;
    let secure = Secure::start("", "", &server.at()).await;
    let mut client = secure.client().await;
    let mut asked = request("POST", "/pkg.Service/Method");
    asked.headers_mut().insert("te", HeaderValue::from_static("trailers"));
    asked.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
    let (response, mut stream) = client.begin(asked);
    stream.send_data(Bytes::from_static(b"message"), false).unwrap();
    let mut trailers = HeaderMap::new();
    trailers.insert("x-sum", HeaderValue::from_static("7"));
    // What would frame the message, had it been a header.
    trailers.insert("content-length", HeaderValue::from_static("7"));
    stream.send_trailers(trailers).unwrap();
    let (mut connection, head) = server.asked().await;
    assert!(head.contains("TE: trailers\r\n") && head.contains("Connection: TE\r\n"), "{head}");
    assert_eq!(connection.until(b"\r\n\r\n").await, b"7\r\nmessage\r\n0\r\nx-sum: 7\r\n\r\n");
    let answer = "HTTP/1.1 200 OK\r\nContent-Type: application/grpc\r\nTransfer-Encoding: chunked\r\n\
                  Trailer: grpc-status\r\n\r\n3\r\nabc\r\n0\r\ngrpc-status: 0\r\nGrpc-Message: fine\r\n\r\n";
    connection.say(answer).await;
    let answer = whole(response).await.unwrap();
    assert_eq!((answer.text(), answer.header("trailer")), ("abc", Some("grpc-status")));
    let trailers = answer.trailers.unwrap();
    assert_eq!(trailers["grpc-status"], "0");
    assert_eq!(trailers["grpc-message"], "fine");
    drop(connection);
    // With no data at all.
    let response = client.ask(request("GET", "/"));
    let (mut connection, _) = server.asked().await;
    let answer = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\ngrpc-status: 5\r\n\r\n";
    connection.say(answer).await;
    let answer = whole(response).await.unwrap();
    assert_eq!((answer.text(), answer.trailers.is_some()), ("", true));
    assert_eq!(answer.trailers.unwrap()["grpc-status"], "5");
}

#[tokio::test(flavor = "multi_thread")]
async fn interim_responses_pass() {
    let server = Server::new().await;
    let secure = Secure::start("", "", &server.at()).await;
    let mut client = secure.client().await;
    let mut asked = request("POST", "/");
    asked.headers_mut().insert("expect", HeaderValue::from_static("100-continue"));
    let (mut response, mut stream) = client.begin(asked);
    let (mut connection, head) = server.asked().await;
    assert!(head.contains("expect: 100-continue\r\n"), "{head}");
    connection
        .say("HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n")
        .await;
    let mut interim = vec![];
    while interim.len() < 2 {
        let next = std::future::poll_fn(|context| response.poll_informational(context));
        interim.push(timeout(LONG, next).await.expect("it comes").unwrap().unwrap());
    }
    assert_eq!(interim[0].status(), 103);
    assert_eq!(interim[0].headers()["link"], "</a.css>");
    assert_eq!(interim[1].status(), 100);
    stream.send_data(Bytes::from_static(b"abc"), true).unwrap();
    assert_eq!(connection.until(b"0\r\n\r\n").await, b"3\r\nabc\r\n0\r\n\r\n");
    connection.say(ok("done")).await;
    assert_eq!(whole(response).await.unwrap().text(), "done");
}

/// A world before this server, and its access log.
async fn logged(server: &Server) -> (NamedTempFile, Secure) {
    let log = NamedTempFile::new().expect("a temporary file");
    let access_log = format!("access_log = {{ target = {:?} }}", log.path());
    let secure = Secure::start(&access_log, "", &server.at()).await;
    (log, secure)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_is_reset_ends_its_exchange_with_the_server_and_no_other() {
    let server = Server::new().await;
    let (log, secure) = logged(&server).await;
    let mut client = secure.client().await;
    let stays = client.ask(request("GET", "/stays"));
    let (mut staying, _) = server.asked().await;
    // While the server is asked.
    let (response, mut stream) = client.send.send_request(request("GET", "/asked"), true).unwrap();
    let (mut connection, _) = server.asked().await;
    stream.send_reset(Reason::CANCEL);
    assert!(connection.is_closed().await);
    assert!(whole(response).await.is_err());
    // While the request goes up.
    let (_response, mut stream) = client.begin(request("POST", "/up"));
    let (mut connection, _) = server.asked().await;
    stream.send_reset(Reason::CANCEL);
    assert!(connection.is_closed().await);
    // While the response comes down.
    let response = client.ask(request("GET", "/down"));
    let (mut connection, _) = server.asked().await;
    connection.say("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc").await;
    drop(head(response).await.unwrap());
    assert!(connection.is_closed().await);
    staying.say(ok("stays")).await;
    assert_eq!(whole(stays).await.unwrap().text(), "stays");
    // Nobody has a place any more.
    let servers = || secure.world.agent.shown().upstreams[0].servers()[0].in_flight();
    until(|| servers() == 0).await;
    drop(staying);
    // The client itself, with all that it has asked.
    let _lost = client.ask(request("GET", "/lost"));
    let (mut connection, _) = server.asked().await;
    client.connection.abort();
    assert!(connection.is_closed().await);
    secure.world.agent.stop(LONG).await;
    let lines = std::fs::read_to_string(log.path()).unwrap();
    for (path, end) in
        [("asked", "CH--"), ("up", "CH--"), ("down", "CD--"), ("stays", "----"), ("lost", "CH--")]
    {
        let line = lines.lines().find(|line| line.contains(&format!("/{path} "))).unwrap();
        assert!(line.contains(&format!(" {end} ")), "{line}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_dies_costs_its_stream_and_no_other() {
    let server = Server::new().await;
    let (log, secure) = logged(&server).await;
    let mut client = secure.client().await;
    let stays = client.ask(request("GET", "/stays"));
    let (mut staying, _) = server.asked().await;
    for (path, begun) in [
        ("/length", "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc"),
        ("/chunked", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"),
    ] {
        let response = client.ask(request("GET", path));
        let (mut connection, _) = server.asked().await;
        connection.say(begun).await;
        let (head, mut stream) = head(response).await.unwrap().into_parts();
        assert_eq!(head.status, 200);
        assert_eq!(timeout(LONG, stream.data()).await.unwrap().unwrap().unwrap(), "abc");
        drop(connection);
        let error = rest(stream).await.unwrap_err();
        assert_eq!(error.reason(), Some(Reason::INTERNAL_ERROR), "{path}: {error}");
    }
    // One that has said nothing is a 502, as it is over HTTP/1.
    let response = client.ask(request("POST", "/nothing"));
    drop(server.asked().await);
    assert_eq!(whole(response).await.unwrap().status(), 502);
    staying.say(ok("stays")).await;
    assert_eq!(whole(stays).await.unwrap().text(), "stays");
    drop(client);
    secure.world.agent.stop(LONG).await;
    let lines = std::fs::read_to_string(log.path()).unwrap();
    for (path, end) in [("length", "SD--"), ("chunked", "SD--"), ("nothing", "SH--")] {
        let line = lines.lines().find(|line| line.contains(&format!("/{path} "))).unwrap();
        assert!(line.contains(&format!(" {end} ")), "{line}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_before_the_request_is_whole_ends_its_stream_alone() {
    let app = Backend::hasty("early").await;
    let secure = Secure::start("", "", &[("a", app.address)]).await;
    let mut client = secure.client().await;
    let (response, mut stream) = client.begin(request("POST", "/"));
    // The answer may be here before it, and with it the end of the stream.
    let _ = stream.send_data(Bytes::from_static(b"GET /smuggled HTTP/1.1\r\n"), false);
    assert_eq!(whole(response).await.unwrap().text(), "early");
    // Nobody wants the rest (RFC 9113 §8.1).
    let reset = std::future::poll_fn(|context| stream.poll_reset(context));
    assert_eq!(timeout(LONG, reset).await.expect("it is told").unwrap(), Reason::NO_ERROR);
    assert_eq!(client.get("/other").await.text(), "early");
    assert_eq!(app.connections(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_and_a_frontend_that_goes_let_streams_finish() {
    for is_stop in [true, false] {
        let server = Server::new().await;
        let mut secure = Secure::start("", "", &server.at()).await;
        let (mut client, idle) = (secure.frames().await, secure.client().await);
        let (stream, get) = client.get();
        client.say(&get).await;
        let (mut connection, _) = server.asked().await;
        let stopped = if is_stop {
            Some(tokio::spawn(secure.world.agent.stop(LONG)))
        } else {
            let other = "[frontend.other]\nbind = [\"OTHER\"]\nrules = [{ deny = 403 }]\n";
            secure.world.reload(&other.replace("OTHER", &world::address().to_string()));
            None
        };
        // Who has nothing under way goes, and who has is told to ask elsewhere.
        idle.end().await;
        assert_eq!(client.goaway().await, 0);
        connection.say(ok("slow")).await;
        let answered = client.until(&[HEADERS, RST_STREAM]).await.unwrap();
        assert_eq!((answered.kind, answered.stream), (HEADERS, stream));
        assert_eq!(client.until(&[DATA]).await.unwrap().payload, b"slow");
        // It never says that it has heard, and is not waited for.
        assert!(client.until(&[]).await.is_none());
        if let Some(stopped) = stopped {
            timeout(LONG, stopped).await.unwrap().unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_reset_in_the_queue_leaves_it() {
    let gate = Arc::new(Semaphore::new(0));
    let opened = Arc::clone(&gate);
    let app = Backend::start(move |_| {
        let handle = tokio::runtime::Handle::current();
        tokio::task::block_in_place(|| handle.block_on(opened.acquire()).unwrap().forget());
        Some(ok("app"))
    })
    .await;
    let log = tempfile::NamedTempFile::new().unwrap();
    let text = format!(
        "[frontend.web]\nbind = [\"FRONT\"]\npool = \"app\"\nTLS\naccess_log = {{ target = {:?} }}\n[pool.app]\n\
         servers = [{{ name = \"a\", address = \"{}\", max_connections = 1 }}]\n",
        log.path(),
        app.address
    );
    let secure = Secure::of(&text).await;
    let mut client = secure.client().await;
    let waiting = || secure.world.agent.shown().upstreams[0].waiting();
    let first = client.ask(request("GET", "/first"));
    until(|| app.requests() == 1).await;
    let (_, mut second) = client.send.send_request(request("GET", "/second"), true).unwrap();
    until(|| waiting() == 1).await;
    second.send_reset(Reason::CANCEL);
    until(|| waiting() == 0).await;
    gate.add_permits(1);
    assert_eq!(whole(first).await.unwrap().text(), "app");
    drop(client);
    secure.world.agent.stop(LONG).await;
    let lines = std::fs::read_to_string(log.path()).unwrap();
    let line = lines.lines().find(|line| line.contains("/second ")).unwrap();
    assert!(line.contains(" CQ-- "), "{line}");
    assert_eq!(app.requests(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_stream_is_a_line_of_the_log() {
    let app = Backend::named("app").await;
    let log = tempfile::NamedTempFile::new().unwrap();
    let front = format!(
        "access_log = {{ target = {:?} }}\n\
         rules = [{{ when = \"path_prefix('/admin')\", deny = 403 }}]",
        log.path()
    );
    let secure = Secure::start(&front, "", &[("a", app.address)]).await;
    let mut client = secure.client().await;
    client.get("/one?two").await;
    let denied = client.get("/admin").await;
    assert_eq!(
        (denied.status(), denied.text()),
        (403, "403 Forbidden\nThis is not open to you.\n")
    );
    assert_eq!(denied.header("connection"), None);
    let mut refused = request("GET", "/");
    refused.headers_mut().append("host", HeaderValue::from_static("other.example"));
    whole(client.ask(refused)).await.unwrap();
    drop(client);
    secure.world.agent.stop(LONG).await;
    let lines = std::fs::read_to_string(log.path()).unwrap();
    let lines: Vec<_> = lines.lines().collect();
    assert_eq!(lines.len(), 3, "{lines:?}");
    assert!(lines[0].contains(" web~ app/a 0/"), "{}", lines[0]);
    let asked = "\"GET https://www.example.com/one?two HTTP/2.0\"";
    assert!(lines[0].contains(" ---- ") && lines[0].ends_with(asked), "{}", lines[0]);
    assert!(lines[1].contains(" 403 ") && lines[1].contains(" PR-- "), "{}", lines[1]);
    assert!(lines[2].contains(" 400 ") && lines[2].contains(" PR-- "), "{}", lines[2]);
}

/// Rules see the name of the handshake. A client that has one connection for all names of a certificate is told to make
/// another (RFC 9110 §15.5.20), lest one name's rules be another's.
#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_was_not_shaken_hands_for_is_misdirected_where_rules_look_at_that() {
    let app = Backend::named("app").await;
    let served = async |rules: &str, authority: &str| {
        let text = format!(
            "[frontend.web]\nbind = [\"FRONT\"]\npool = \"app\"\nTLS\nrules = [{rules}]\n[pool.app]\n\
             servers = [{{ name = \"a\", address = \"{}\" }}]\n",
            app.address
        );
        let secure = Secure::of(&text).await;
        let mut asked = request("GET", "/");
        *asked.uri_mut() = format!("https://{authority}/").parse().unwrap();
        whole(secure.client().await.ask(asked)).await.unwrap().status()
    };
    let by_sni = "{ when = \"sni('admin.example.com')\", deny = 403 }";
    let by_host = "{ when = \"host('admin.example.com')\", deny = 403 }";
    assert_eq!(served(by_sni, "www.example.com").await, 200);
    assert_eq!(served(by_sni, "WWW.Example.com:443").await, 200);
    assert_eq!(served(by_sni, "admin.example.com").await, 421);
    assert_eq!(served(by_sni, "www.example.com.evil").await, 421);
    assert_eq!(served(by_host, "admin.example.com").await, 403);
    assert_eq!(served(by_host, "other.example.com").await, 200);
}
