//! What a client of HTTP/2 may cost: streams, resets, heads, time.

mod world;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use bytes::Bytes;
use h2::Reason;
use http::HeaderValue;
use tokio::time::timeout;
use world::http2::{
    DATA, GOAWAY, HEADERS, RST_STREAM, Secure, frame, head, request, reset, rest, upload, whole,
};
use world::{Backend, LONG, Server, ok, until};

#[tokio::test(flavor = "multi_thread")]
async fn more_streams_than_may_be_are_refused_one_by_one() {
    let server = Server::new().await;
    let secure = Secure::start("limits = { h2_streams = 2 }", "", &server.at()).await;
    let mut client = secure.frames().await;
    let asked = [client.get(), client.get(), client.get()];
    client.say(&asked.each_ref().map(|(_, frame)| frame.clone()).concat()).await;
    let refused = client.until(&[RST_STREAM, HEADERS, GOAWAY]).await.unwrap();
    assert_eq!((refused.kind, refused.stream, refused.code(0)), (RST_STREAM, 5, 7));
    let (mut one, mut other) = (server.asked().await.0, server.asked().await.0);
    one.say(ok("one")).await;
    let answered = client.until(&[HEADERS, GOAWAY]).await.unwrap();
    assert!(answered.kind == HEADERS && [1, 3].contains(&answered.stream));
    assert_eq!(client.until(&[DATA]).await.unwrap().payload, b"one");
    drop(one);
    // There is room for one again.
    let (stream, get) = client.get();
    client.say(&get).await;
    let mut again = server.asked().await.0;
    again.say(ok("again")).await;
    let answered = client.until(&[HEADERS, GOAWAY, RST_STREAM]).await.unwrap();
    assert_eq!((answered.kind, answered.stream), (HEADERS, stream));
    other.say(ok("other")).await;
    let answered = client.until(&[HEADERS, GOAWAY, RST_STREAM]).await.unwrap();
    assert_eq!(answered.kind, HEADERS);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_takes_back_what_it_asks_is_sent_away() {
    const CALM: u32 = 11;
    // Faster than anybody looks: as many as may be, and one more.
    let secure =
        Secure::of("[frontend.web]\nbind = [\"FRONT\"]\nTLS\nrules = [{ deny = 403 }]\n").await;
    for (count, is_sent_away) in [(20, false), (21, true)] {
        let mut client = secure.frames().await;
        let flood: Vec<u8> = (0..count).flat_map(|_| client.get_and_reset()).collect();
        client.say(&flood).await;
        let (stream, get) = client.get();
        client.say(&get).await;
        let heard = client.until(&[HEADERS, GOAWAY]).await.unwrap();
        match is_sent_away {
            false => assert_eq!((heard.kind, heard.stream), (HEADERS, stream)),
            true => assert_eq!((heard.kind, heard.code(4)), (GOAWAY, CALM)),
        }
    }
    let server = Server::new().await;
    let secure = Secure::start("", "", &server.at()).await;
    // Each after its request has reached the server: one fewer than may be, and one more.
    let mut client = secure.frames().await;
    for round in 1..=100 {
        // With its body still to come it counts alike.
        let (stream, asked) = if round % 2 == 0 { client.post() } else { client.get() };
        client.say(&asked).await;
        let (mut connection, _) = server.asked().await;
        client.say(&reset(stream)).await;
        assert!(connection.is_closed().await);
        if round == 99 {
            // It is served still, if it wants to be.
            let (stream, get) = client.get();
            client.say(&get).await;
            server.asked().await.0.say(ok("")).await;
            let answered = client.until(&[HEADERS, GOAWAY]).await.unwrap();
            assert_eq!((answered.kind, answered.stream), (HEADERS, stream));
        }
    }
    assert_eq!(client.goaway().await, CALM);
    assert!(client.until(&[]).await.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_has_its_limits_and_what_no_reader_agrees_on_is_refused() {
    let app = Backend::named("app").await;
    let limits = "limits = { head_octets = 4096, headers = 20 }";
    let secure = Secure::start(limits, "", &[("a", app.address)]).await;
    let mut client = secure.client().await;
    let mut check = async |request: http::Request<()>, expected: u16| {
        let answer = whole(client.ask(request)).await.unwrap();
        assert_eq!(answer.status(), expected);
    };
    let with = |count: usize, size: usize| {
        let mut asked = request("GET", "/");
        for number in 0..count {
            let name = http::HeaderName::try_from(format!("x-{number}")).unwrap();
            asked.headers_mut().append(name, "v".repeat(size).parse().unwrap());
        }
        asked
    };
    // With Host.
    check(with(19, 1), 200).await;
    check(with(20, 1), 431).await;
    // `GET`, `/`, Host, and `x-0: …`, each with its end: what is over is told by HTTP/2's own measure too.
    let around = "GET/Host: www.example.com\r\nx-0: \r\n".len();
    check(with(1, 4096 - around), 200).await;
    check(with(1, 4097 - around), 431).await;
    check(with(1, 12_000), 431).await;
    let mut two = request("GET", "/");
    two.headers_mut().append("host", HeaderValue::from_static("other.example"));
    check(two, 400).await;
    let mut unknown = request("POST", "/");
    unknown.headers_mut().append("expect", HeaderValue::from_static("200-ok"));
    check(unknown, 417).await;
    let connect = http::Request::builder().method("CONNECT").uri("a.example:443").body(()).unwrap();
    check(connect, 405).await;
    assert_eq!(client.get("/").await.text(), "app");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_takes_its_time_is_told_so() {
    let server = Server::new().await;
    let timeouts = "timeouts = { http_request = \"2s\", keep_alive = \"2s\", client = \"2s\" }";
    let secure = Secure::start(timeouts, "", &server.at()).await;
    // Not a word of HTTP/2.
    let mut silent = secure.shake_hands(&[b"h2"]).await;
    let mut seen = vec![];
    let read = tokio::io::AsyncReadExt::read_to_end(&mut silent, &mut seen);
    let _ = timeout(LONG, read).await.expect("it ends");
    // No request.
    let mut client = secure.frames().await;
    assert_eq!(client.goaway().await, 0);
    assert!(client.until(&[]).await.is_none());
    // Half a head, behind a whole one.
    let mut client = secure.frames().await;
    let (_, get) = client.get();
    client.say(&get).await;
    client.say(&frame(HEADERS, 5, 3, b"\x82\x84\x87")[..6]).await;
    server.asked().await.0.say(ok("")).await;
    assert_eq!(client.until(&[HEADERS]).await.unwrap().stream, 1);
    assert!(client.until(&[]).await.is_none());
    // Half a body.
    let mut client = secure.client().await;
    let (response, mut stream) = client.begin(request("POST", "/"));
    stream.send_data(Bytes::from_static(b"ab"), false).unwrap();
    let _held = server.asked().await;
    assert_eq!(whole(response).await.unwrap().status(), 408);
    // Nothing more after an answer.
    client.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_opens_no_window_is_cut_and_gives_its_server_back() {
    let large = vec![7; 3_000_000];
    let app = Backend::start(move |_| Some(ok(&large))).await;
    let timeouts = "timeouts = { client = \"2s\" }";
    let secure = Secure::start(timeouts, "", &[("a", app.address)]).await;
    let mut client = secure.client().await;
    let unread = head(client.ask(request("GET", "/"))).await.unwrap();
    let in_flight = || secure.world.agent.shown().upstreams[0].servers()[0].in_flight();
    until(|| in_flight() == 0).await;
    let error = rest(unread.into_body()).await.unwrap_err();
    assert_eq!(error.reason(), Some(Reason::INTERNAL_ERROR));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_to_be_read_has_its_limits() {
    const OF_A_STREAM: usize = 64 << 10;
    const OF_A_CONNECTION: usize = 1 << 20;
    let server = Server::new().await;
    let text = format!(
        "[frontend.web]\nbind = [\"FRONT\"]\npool = \"app\"\nTLS\n\
         rules = [{{ when = \"path_prefix('/denied')\", deny = 403 }}]\n[pool.app]\n\
         servers = [{{ name = \"a\", address = \"{}\", max_connections = 1 }}]\n",
        server.at()[0].1
    );
    let secure = Secure::of(&text).await;
    let mut client = secure.client().await;
    // It has the only place: whoever comes then waits, and nobody reads what it says.
    let _first = client.ask(request("GET", "/"));
    let _held = server.asked().await;
    let sent = Arc::new(AtomicUsize::new(0));
    let mut uploads = vec![];
    for count in 1..=18 {
        let (response, mut stream) = client.begin(request("POST", "/"));
        let total = Arc::clone(&sent);
        uploads.push(tokio::spawn(async move {
            let (body, mut before) = (vec![0; 2 * OF_A_STREAM], 0);
            upload(&mut stream, &body, |so_far| {
                total.fetch_add(so_far - before, Relaxed);
                before = so_far;
            })
            .await;
            drop(response);
        }));
        let most = (count * OF_A_STREAM).min(OF_A_CONNECTION);
        until(|| sent.load(Relaxed) >= most).await;
        // All windows that were to be opened by then are.
        assert_eq!(client.get("/denied").await.status(), 403);
        assert_eq!(sent.load(Relaxed), most, "{count}");
    }
    uploads.iter().for_each(tokio::task::JoinHandle::abort);
}

/// Who waited for a second has not asked in order to take it back: a page that is left by a hundred requests is no flood.
#[tokio::test(flavor = "multi_thread")]
async fn who_waited_may_go() {
    let server = Server::new().await;
    let secure = Secure::start("", "", &server.at()).await;
    let mut client = secure.frames().await;
    let (mut streams, mut held) = (vec![], vec![]);
    for _ in 0..100 {
        let (stream, get) = client.get();
        client.say(&get).await;
        streams.push(stream);
        held.push(server.asked().await);
    }
    assert!(timeout(Duration::from_millis(1100), client.until(&[GOAWAY])).await.is_err());
    let all: Vec<u8> = streams.into_iter().flat_map(reset).collect();
    client.say(&all).await;
    for (mut connection, _) in held {
        assert!(connection.is_closed().await);
    }
    let (stream, get) = client.get();
    client.say(&get).await;
    server.asked().await.0.say(ok("")).await;
    let answered = client.until(&[HEADERS, GOAWAY]).await.unwrap();
    assert_eq!((answered.kind, answered.stream), (HEADERS, stream));
}

/// The time limit of a client is one of silence: what was answered and waits for it may take long, as long as it takes some.
#[tokio::test(flavor = "multi_thread")]
async fn who_takes_answers_slowly_has_time_for_them() {
    const OF_EACH: usize = 60 << 10;
    const ANSWERS: usize = 100;
    const WINDOW_UPDATE: u8 = 8;
    let app = Backend::start(|_| Some(ok(vec![7; OF_EACH]))).await;
    // Longer than this machine may stand still.
    let timeouts = "timeouts = { client = \"3s\", keep_alive = \"2s\" }";
    let secure = Secure::start(timeouts, "", &[("a", app.address)]).await;
    let mut client = secure.frames_in_a_small_buffer().await;
    // Its windows are no matter: what waits, waits for the socket.
    client.say(&frame(WINDOW_UPDATE, 0, 0, &(8u32 << 20).to_be_bytes())).await;
    let all: Vec<u8> = (0..ANSWERS).flat_map(|_| client.get().1).collect();
    client.say(&all).await;
    let in_flight = || secure.world.agent.shown().upstreams[0].servers()[0].in_flight();
    let mut taken = 0;
    while taken < ANSWERS * OF_EACH {
        let came = client.until(&[DATA, GOAWAY]).await.unwrap();
        assert_eq!(came.kind, DATA, "after {taken} octets");
        taken += came.payload.len();
        // A little of the time that it has; all of them together are more than that.
        if in_flight() == 0 {
            let pause = timeout(Duration::from_millis(30), std::future::pending::<()>());
            assert!(pause.await.is_err());
        }
    }
}
