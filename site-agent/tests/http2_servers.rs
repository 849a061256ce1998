//! Servers of HTTP/2 behind a balancer, asked by clients of HTTP/1.1 and HTTP/2: what is said.

mod world;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use bytes::Bytes;
use h2::Reason;
use http::{HeaderMap, HeaderValue, Response};
use tempfile::NamedTempFile;
use tokio::sync::{Notify, Semaphore, mpsc};
use tokio::time::{sleep, timeout};
use world::http2::{RST_STREAM, Secure, head, request, rest, upload, whole};
use world::servers::{FramesServer, H2, Http2Server, Stream, data, headers, plain};
use world::{Backend, LONG, until};

#[tokio::test(flavor = "multi_thread")]
async fn a_request_goes_on_as_http_2_says_it() {
    let app = Http2Server::start(async |stream: Stream| stream.say(200, "app")).await;
    let world = plain("", &app.at()).await;
    let mut client = world.client().await;
    client
        .say(
            "GET /a%2Fb?c=d HTTP/1.1\r\nHost: A.example:81\r\nX-Own: kept\r\nConnection: X-Mine, te\r\nX-Mine: 1\r\n\
             Keep-Alive: 1\r\nTE: trailers, gzip\r\nProxy-Connection: keep-alive\r\nCookie: a=1; b=2\r\n\r\n",
        )
        .await;
    let answer = client.answer().await;
    assert_eq!((answer.status(), answer.text()), (200, "app"));
    let seen = app.last();
    assert_eq!(
        (seen.method.as_str(), seen.uri.to_string()),
        ("GET", "http://A.example:81/a%2Fb?c=d".into())
    );
    let mut fields: Vec<_> = seen
        .headers
        .iter()
        .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
        .collect();
    fields.sort();
    let expected = [
        "cookie: a=1; b=2",
        "forwarded: for=127.0.0.1;proto=http",
        "te: trailers",
        "x-forwarded-for: 127.0.0.1",
        "x-forwarded-proto: http",
        "x-own: kept",
    ];
    assert_eq!(fields, expected);
    // Other clients share the connection, each of them on its own thread's.
    for _ in 0..10 {
        assert_eq!(world.client().await.get("/").await.text(), "app");
    }
    assert!(app.connections() <= 2, "{}", app.connections());
    let shown = world.agent.shown();
    let counts = &shown.upstreams[0].servers()[0].counts;
    assert_eq!(counts.connections.load(SeqCst), app.connections() as u64);
    assert_eq!(counts.reused.load(SeqCst) + counts.connections.load(SeqCst), 11);
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_of_every_kind_pass_whole_with_their_trailers() {
    let large: Vec<u8> = (0..2_000_000u32).map(|number| (number % 251) as u8).collect();
    let app = Http2Server::start(Stream::echo).await;
    let secure = Secure::start("", H2, &app.at()).await;
    let mut client = secure.client().await;
    let world = plain("", &app.at()).await;
    for size in [0, 1, 10, 16_384, 65_536, 2_000_000] {
        for has_length in [false, true] {
            let body = &large[..size];
            let mut asked = request("POST", "/");
            if has_length {
                asked.headers_mut().insert("content-length", size.into());
            }
            let (response, mut stream) = client.begin(asked);
            let trailers = HeaderMap::from_iter([(
                http::HeaderName::from_static("x-sum"),
                HeaderValue::from_static("7"),
            )]);
            let up = async {
                upload(&mut stream, body, |_| {}).await;
                if has_length {
                    stream.send_data(Bytes::new(), true).unwrap();
                } else {
                    stream.send_trailers(trailers.clone()).unwrap();
                }
            };
            let ((), answer) = tokio::join!(up, whole(response));
            let answer = answer.unwrap();
            assert!(answer.body == body, "{size} {has_length}");
            assert_eq!(answer.trailers, (!has_length).then_some(trailers), "{size}");
            let length = has_length.then(|| size.to_string());
            assert_eq!(answer.header("content-length"), length.as_deref());

            let head = if has_length {
                format!("Content-Length: {size}\r\n\r\n")
            } else {
                "Transfer-Encoding: chunked\r\nTrailer: x-sum\r\n\r\n".to_owned()
            };
            let mut octets =
                format!("POST / HTTP/1.1\r\nHost: a\r\nTE: trailers\r\n{head}").into_bytes();
            if has_length {
                octets.extend_from_slice(body);
            } else {
                for chunk in body.chunks(7919) {
                    octets.extend(format!("{:x};e=1\r\n", chunk.len()).into_bytes());
                    octets.extend_from_slice(chunk);
                    octets.extend_from_slice(b"\r\n");
                }
                octets.extend_from_slice(b"0\r\nX-Sum: 7\r\n\r\n");
            }
            // It is answered before all of it is there, after which HTTP/1 has no other.
            let mut old = world.client().await;
            let (mut from, mut to) = old.stream.split();
            let up = tokio::io::AsyncWriteExt::write_all(&mut to, &octets);
            let mut seen = vec![];
            let down = async {
                let ends = |seen: &[u8]| match has_length {
                    true => {
                        let head = seen.windows(4).position(|end| end == b"\r\n\r\n");
                        head.is_some_and(|head| seen.len() == head + 4 + size)
                    }
                    false => seen.ends_with(b"\r\nx-sum: 7\r\n\r\n"),
                };
                while !ends(&seen) {
                    let read = tokio::io::AsyncReadExt::read_buf(&mut from, &mut seen);
                    assert!(timeout(LONG, read).await.expect("more comes").unwrap() > 0);
                }
            };
            let (written, ()) = tokio::join!(up, down);
            written.unwrap();
            let text = String::from_utf8_lossy(&seen[..seen.len().min(200)]).into_owned();
            assert!(text.starts_with("HTTP/1.1 200 OK\r\n"), "{text}");
            assert!(has_length == text.contains("content-length"), "{text}");
            assert!(!has_length || seen.ends_with(body));
        }
    }
    assert_eq!(app.last().headers.get("transfer-encoding"), None);
    // All in one go, one after the other.
    let mut old = world.client().await;
    for body in ["abc", ""] {
        old.say(format!(
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        ))
        .await;
        assert_eq!(old.answer().await.text(), body);
    }
    old.say("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-Sum: 8\r\n\r\n").await;
    let rest = old.until(b"x-sum: 8\r\n\r\n").await;
    assert!(rest.ends_with(b"3\r\nabc\r\n0\r\nx-sum: 8\r\n\r\n"), "{}", rest.escape_ascii());
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_between_pass_and_ones_without_a_body_end_with_their_head() {
    let app = Http2Server::start(async |mut stream: Stream| {
        let interim = Response::builder().status(103).header("link", "</a>").body(()).unwrap();
        stream.respond.send_informational(interim).unwrap();
        let status = if stream.path() == "/304" { 304 } else { 200 };
        let response = Response::builder().status(status).header("content-length", "5");
        let is_head = stream.request.method() == "HEAD" || status == 304;
        let sent = stream.respond.send_response(response.body(()).unwrap(), is_head);
        let mut body = sent.unwrap();
        if !is_head {
            body.send_data("hello".into(), true).unwrap();
        }
    })
    .await;
    let world = plain("", &app.at()).await;
    let mut client = world.client().await;
    for (line, rest) in [("GET /", "hello"), ("HEAD /", ""), ("GET /304", ""), ("GET /", "hello")] {
        client.say(format!("{line} HTTP/1.1\r\nHost: a\r\n\r\n")).await;
        let interim = client.head().await;
        assert!(interim.starts_with("HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n"), "{interim}");
        let head = client.head().await;
        assert!(head.contains("content-length: 5\r\n"), "{head}");
        assert_eq!(client.octets(rest.len()).await, rest.as_bytes());
    }
    let secure = Secure::start("", H2, &app.at()).await;
    let mut client = secure.client().await;
    let mut response = client.ask(request("GET", "/"));
    let interim = std::future::poll_fn(|context| response.poll_informational(context)).await;
    assert_eq!(interim.unwrap().unwrap().status(), 103);
    assert_eq!(whole(response).await.unwrap().text(), "hello");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conversation_flows_both_ways_for_as_long_as_one_side_talks() {
    const TICKS: usize = 30;
    let app = Http2Server::start(Stream::echo).await;
    let secure = Secure::start("timeouts = { client = \"2s\" }", H2, &app.at()).await;
    let mut client = secure.client().await;
    let (response, mut up) = client.begin(request("POST", "/talk"));
    // The answer begins before anything was said, and each word is answered before the next.
    let mut down = head(response).await.unwrap().into_body();
    for word in ["one", "two", "three"] {
        up.send_data(word.into(), false).unwrap();
        let answer = timeout(LONG, down.data()).await.expect("it is answered").unwrap().unwrap();
        down.flow_control().release_capacity(answer.len()).unwrap();
        assert_eq!(answer, word);
    }
    up.send_data(Bytes::new(), true).unwrap();
    assert_eq!(rest(down).await.unwrap().0, b"");

    // A server that talks for longer than its client may be silent; who then hears the client all the same.
    let app = Http2Server::start(async |mut stream: Stream| {
        let mut to = stream.respond.send_response(Response::new(()), false).unwrap();
        for _ in 0..TICKS {
            sleep(Duration::from_millis(200)).await;
            to.send_data("tick".into(), false).unwrap();
        }
        let heard = stream.request.into_body().data().await.unwrap().unwrap();
        to.send_data(heard, true).unwrap();
    })
    .await;
    let secure = Secure::start("timeouts = { client = \"2s\" }", H2, &app.at()).await;
    let mut client = secure.client().await;
    let (response, mut up) = client.begin(request("POST", "/talk"));
    let mut down = head(response).await.unwrap().into_body();
    let mut heard = vec![];
    while heard.len() < TICKS * 4 {
        heard.extend(timeout(LONG, down.data()).await.expect("it talks").unwrap().unwrap());
    }
    up.send_data("bye".into(), true).unwrap();
    assert_eq!(rest(down).await.unwrap().0, b"bye");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_may_end_before_its_request() {
    let app = Http2Server::start(async |mut stream: Stream| {
        let response = Response::builder().header("grpc-status", "3").body(()).unwrap();
        stream.respond.send_response(response, true).unwrap();
        // It reads nothing of it.
    })
    .await;
    let secure = Secure::start("", H2, &app.at()).await;
    let mut client = secure.client().await;
    for _ in 0..3 {
        let (response, mut up) = client.begin(request("POST", "/"));
        // Whoever is slow here has been answered already, and cannot say more.
        let _ = up.send_data("some".into(), false);
        let (head, mut body) = head(response).await.unwrap().into_parts();
        assert_eq!(head.headers["grpc-status"], "3");
        // It is the whole answer, with nothing added to it.
        assert_eq!(head.headers.get("content-length"), None);
        assert!(body.data().await.is_none());
    }
    assert_eq!(app.connections(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_ends_its_stream_and_no_other() {
    let (told, mut heard) = mpsc::unbounded_channel();
    let gate = Arc::new(Notify::new());
    let opens = Arc::clone(&gate);
    let app = Http2Server::start(move |mut stream: Stream| {
        let (told, opens) = (told.clone(), Arc::clone(&opens));
        async move {
            if stream.path() == "/stays" {
                opens.notified().await;
                return stream.say(200, "stayed");
            }
            told.send(None).unwrap();
            let reason = std::future::poll_fn(|context| stream.respond.poll_reset(context)).await;
            told.send(Some(reason.unwrap())).unwrap();
        }
    })
    .await;
    let log = NamedTempFile::new().unwrap();
    let frontend = format!("access_log = {{ target = {:?} }}", log.path());
    let secure = Secure::start(&frontend, H2, &app.at()).await;
    let mut client = secure.client().await;
    let stays = client.ask(request("GET", "/stays"));
    let (leaves, up) = client.begin(request("POST", "/leaves"));
    assert_eq!(timeout(LONG, heard.recv()).await.unwrap(), Some(None));
    drop((leaves, up));
    assert_eq!(timeout(LONG, heard.recv()).await.unwrap(), Some(Some(Reason::CANCEL)));
    gate.notify_one();
    assert_eq!(whole(stays).await.unwrap().text(), "stayed");
    assert_eq!(app.connections(), 1);
    until(|| std::fs::read_to_string(log.path()).unwrap().lines().count() == 2).await;
    let lines = std::fs::read_to_string(log.path()).unwrap();
    assert!(lines.lines().next().unwrap().contains(" CH-- "), "{lines}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_goes_as_fast_as_the_server_takes_it() {
    let gate = Arc::new(Semaphore::new(0));
    let opens = Arc::clone(&gate);
    let app = Http2Server::start(move |stream: Stream| {
        let opens = Arc::clone(&opens);
        async move {
            opens.acquire().await.unwrap().forget();
            stream.echo().await;
        }
    })
    .await;
    let secure = Secure::start("", H2, &app.at()).await;
    let mut client = secure.client().await;
    let body = vec![3; 3_000_000];
    let (response, mut stream) = client.begin(request("POST", "/"));
    let sent = AtomicUsize::new(0);
    let up = async {
        upload(&mut stream, &body, |count| sent.store(count, SeqCst)).await;
        stream.send_data(Bytes::new(), true).unwrap();
    };
    let opened = async {
        // Until nothing moves any more.
        let mut last = usize::MAX;
        while last != sent.load(SeqCst) || last == 0 {
            last = sent.load(SeqCst);
            sleep(Duration::from_millis(300)).await;
        }
        assert!(last < 600_000, "{last}");
        gate.add_permits(1);
    };
    let ((), (), answer) = tokio::join!(up, opened, whole(response));
    assert!(answer.unwrap().body == body);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_http_2_cannot_say_is_refused_and_what_is_no_http_2_is_no_server() {
    let app = Http2Server::start(async |stream: Stream| stream.say(200, "app")).await;
    let world = plain("", &app.at()).await;
    let upgrade = "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    let mut client = world.client().await;
    client.say(upgrade).await;
    assert_eq!(client.answer().await.status(), 501);
    let mut client = world.client().await;
    client.say("GET / HTTP/1.0\r\n\r\n").await;
    assert_eq!(client.answer().await.status(), 501);
    assert_eq!(app.requests(), 0);
    // What asks for h2c goes on without that, as of HTTP/1.
    let mut client = world.client().await;
    client.say("GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n").await;
    assert_eq!(client.answer().await.text(), "app");

    let old = Backend::named("old").await;
    let world = plain("retry = { attempts = 1 }", &[("a", old.address)]).await;
    assert_eq!(world.client().await.get("/").await.status(), 503);
    // All that it heard is where HTTP/2 begins, which it may take for two requests.
    assert!(old.asked.lock().iter().all(|asked| !asked.head.contains("GET")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_response_is_judged_as_one_of_http_1() {
    type Fields = &'static [(&'static str, &'static [u8])];
    type Case = (&'static str, u8, &'static [u8], Fields);
    let cases: [Case; 9] = [
        ("a connection's field", 5, b"\x88", &[("connection", b"close")]),
        ("a coding", 5, b"\x88", &[("transfer-encoding", b"chunked")]),
        ("capitals", 5, b"\x88", &[("X-Own", b"1")]),
        ("a line's end", 5, b"\x88", &[("x-own", b"1\r\nx: y")]),
        ("a null", 5, b"\x88", &[("x-own", b"1\0")]),
        ("two lengths", 4, b"\x88", &[("content-length", b"5"), ("content-length", b"6")]),
        ("a length of nothing", 5, b"\x88", &[("content-length", b"5")]),
        ("another protocol", 4, b"\x08\x03101", &[]),
        ("no status", 5, b"", &[("x-own", b"1")]),
    ];
    let server = FramesServer::new().await;
    let world = plain("retry = { attempts = 1 }", &server.at()).await;
    for (what, flags, before, fields) in cases {
        let mut client = world.client().await;
        client.say("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
        let (mut frames, stream) = server.asked().await;
        frames.say(&headers(stream, flags, before, fields)).await;
        assert_eq!(client.answer().await.status(), 502, "{what}");
        // Nobody asks on it again.
        drop(frames);
    }
    // A body that is not as long as was said is cut.
    for octets in [&b"four"[..], b"sixsix"] {
        let mut client = world.client().await;
        client.say("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        let (mut frames, stream) = server.asked().await;
        frames.say(&headers(stream, 4, b"\x88", &[("content-length", b"5")])).await;
        frames.say(&data(stream, 1, octets)).await;
        let seen = client.rest().await;
        let all = seen.ends_with(b"\r\n\r\n") || seen.ends_with(b"four");
        assert!(all || seen.starts_with(b"HTTP/1.1 502"), "{}", seen.escape_ascii());
        assert!(client.is_closed().await);
        drop(frames);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_of_grpc_that_no_server_takes_is_told_so_in_its_own_words() {
    let log = NamedTempFile::new().unwrap();
    let frontend = format!("access_log = {{ target = {:?} }}", log.path());
    let pool = format!("{H2}\nretry = {{ attempts = 1 }}");
    let secure = Secure::start(&frontend, &pool, &[("a", world::address())]).await;
    let mut client = secure.client().await;
    for (kind, status, told) in [
        ("application/grpc", 200, Some("14")),
        ("application/grpc+proto", 200, Some("14")),
        ("text/plain", 503, None),
    ] {
        let mut asked = request("POST", "/a.B/C");
        asked.headers_mut().insert("content-type", HeaderValue::from_static(kind));
        let (response, mut up) = client.begin(asked);
        up.send_data(Bytes::from_static(&[0; 5]), true).unwrap();
        let answer = whole(response).await.unwrap();
        assert_eq!((answer.status(), answer.header("grpc-status")), (status, told), "{kind}");
        assert_eq!(answer.body.is_empty(), told.is_some());
    }
    // What it stands for is what is counted and logged.
    until(|| std::fs::read_to_string(log.path()).unwrap().lines().count() == 3).await;
    let lines = std::fs::read_to_string(log.path()).unwrap();
    assert!(lines.lines().all(|line| line.contains(" 503 ") && line.contains(" SC-- ")), "{lines}");
}

/// Whoever resets what it was asked for, and goes on asking, is heard of as HTTP/2 has it.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_is_cut_is_reset_for_the_server() {
    let server = FramesServer::new().await;
    let world =
        plain("timeouts = { server = \"300ms\" }\nretry = { attempts = 1 }", &server.at()).await;
    let mut client = world.client().await;
    client.say("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let (mut frames, stream) = server.asked().await;
    assert_eq!(client.answer().await.status(), 504);
    let reset = frames.until(&[RST_STREAM]).await.unwrap();
    assert_eq!((reset.stream, reset.code(0)), (stream, 8));
}

/// Who is looked at where requests go is spoken to as they are: a server that answers HTTP/1.1 alone is none for such a pool.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_is_looked_at_in_what_it_is_asked_in() {
    let check =
        "check = { kind = \"http\", interval = \"100ms\", timeout = \"90ms\", rise = 1, fall = 1 }";
    let app = Http2Server::start(async |stream: Stream| stream.say(200, "app")).await;
    let old = Backend::named("old").await;
    let world = plain(check, &[app.at()[0], ("old", old.address)]).await;
    let status = |server: usize| world.agent.shown().upstreams[0].told()[server].status.to_string();
    until(|| status(0) == "UP" && status(1).starts_with("DOWN")).await;
    // Nor is it one that can be connected to.
    let world = plain("", &[("old", old.address)]).await;
    assert_eq!(world.client().await.get("/").await.status(), 503);
    let counts =
        || world.agent.shown().upstreams[0].servers()[0].counts.connect_errors.load(SeqCst);
    assert!(counts() >= 1);
    // At a port of its own it may be spoken to otherwise.
    let health = format!(
        "check = {{ kind = \"http\", port = {}, interval = \"100ms\", timeout = \"90ms\" }}",
        old.address.port()
    );
    let world = plain(&health, &app.at()).await;
    until(|| world.agent.shown().upstreams[0].told()[0].status.to_string() == "UP").await;
}
