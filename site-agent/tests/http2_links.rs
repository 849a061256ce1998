//! Servers of HTTP/2 behind a balancer: the connections on which they are asked.

mod world;

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use bytes::Bytes;
use common::lock::Mutex;
use h2::Reason;
use http::Response;
use tempfile::NamedTempFile;
use tokio::sync::{Notify, Semaphore};
use tokio::time::{sleep, timeout};
use world::http2::made::{Ca, Folder, LEAF, Leaf};
use world::http2::{
    GOAWAY, HEADERS, RST_STREAM, SETTINGS, Secure, frame, head, request, rest, upload, whole,
};
use world::servers::{FramesServer, H2, Http2Server, Stream, headers, plain, tls_server};
use world::{Backend, Client, LONG, World, config, until};

#[tokio::test(flavor = "multi_thread")]
async fn streams_share_a_connection_up_to_what_the_server_takes() {
    for (most, streams, fewest) in [(1000, 100, 1), (3, 10, 4), (1000, 101, 2)] {
        let (gate, under_way) = (Arc::new(Semaphore::new(0)), Arc::new(AtomicUsize::new(0)));
        let (opens, counted) = (Arc::clone(&gate), Arc::clone(&under_way));
        let peak: Arc<Mutex<Vec<usize>>> = Arc::new(Mutex::new(vec![0; 20]));
        let peaks = Arc::clone(&peak);
        let app = Http2Server::limited(most, move |stream: Stream| {
            let (opens, counted, peaks) =
                (Arc::clone(&opens), Arc::clone(&counted), Arc::clone(&peaks));
            async move {
                peaks.lock()[stream.connection] += 1;
                counted.fetch_add(1, SeqCst);
                opens.acquire().await.unwrap().forget();
                stream.say(200, "app");
            }
        })
        .await;
        let frontend = "limits = { h2_streams = 1000 }";
        let secure = Secure::start(frontend, H2, &app.at()).await;
        let mut client = secure.client().await;
        let asked: Vec<_> = (0..streams).map(|_| client.ask(request("POST", "/"))).collect();
        until(|| under_way.load(SeqCst) == streams).await;
        // Nobody waits for anybody, and each connection has what it takes.
        assert_eq!(app.connections(), fewest, "{most} {streams}");
        let most_of_one = *peak.lock().iter().max().unwrap();
        assert!(most_of_one <= 100.min(most as usize), "{most_of_one}");
        gate.add_permits(streams);
        for response in asked {
            assert_eq!(whole(response).await.unwrap().text(), "app");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_server_says_it_did_not_do_is_done_again() {
    let app = Http2Server::start(async |stream: Stream| match stream.number {
        1 => stream.reset(Reason::REFUSED_STREAM),
        _ => stream.say(200, "again"),
    })
    .await;
    let world = plain("", &app.at()).await;
    let post = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc";
    let mut client = world.client().await;
    client.say(post).await;
    assert_eq!(client.answer().await.text(), "again");
    assert_eq!(app.requests(), 2);

    // A GOAWAY that the request was too late for.
    let server = FramesServer::new().await;
    let world = plain("", &server.at()).await;
    let mut client = world.client().await;
    client.say(post).await;
    let (mut first, _) = server.asked().await;
    first.say(&frame(GOAWAY, 0, 0, &[0; 8])).await;
    let (mut second, stream) = server.asked().await;
    second.say(&headers(stream, 5, b"\x89", &[])).await;
    assert_eq!(client.answer().await.status(), 204);

    // Whatever else it says, it may have done it.
    let app = Http2Server::start(async |stream: Stream| match stream.path() {
        "/fine" => stream.say(200, "fine"),
        _ => stream.reset(Reason::INTERNAL_ERROR),
    })
    .await;
    let world = plain("retry = { on = [\"conn-failure\", \"empty-response\"] }", &app.at()).await;
    let mut client = world.client().await;
    client.say(post).await;
    assert_eq!(client.answer().await.status(), 502);
    assert_eq!(app.requests(), 1);
    assert_eq!(world.client().await.get("/").await.status(), 502);
    // What is done once however often it is asked for is asked for thrice.
    assert_eq!(app.requests(), 4);
    // On a connection that was idle too: it is there, and its client is told so.
    let mut client = world.client().await;
    assert_eq!(client.get("/fine").await.text(), "fine");
    assert_eq!(client.get("/").await.status(), 502);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_is_to_go_is_drained() {
    let gate = Arc::new(Semaphore::new(0));
    let opens = Arc::clone(&gate);
    let app = Http2Server::start(move |stream: Stream| {
        let opens = Arc::clone(&opens);
        async move {
            if stream.path() == "/slow" {
                opens.acquire().await.unwrap().forget();
            }
            let connection = stream.connection.to_string();
            stream.say(200, connection);
        }
    })
    .await;
    let secure = Secure::start("", H2, &app.at()).await;
    let mut client = secure.client().await;
    let slow = client.ask(request("POST", "/slow"));
    until(|| app.requests() == 1).await;
    assert_eq!(client.get("/").await.text(), "0");
    app.go.notify_waiters();
    // Whoever asks while it goes is served, by it or by another; soon by another alone.
    let other = async { while client.get("/").await.text() != "1" {} };
    timeout(LONG, other).await.expect("another is made");
    gate.add_permits(1);
    assert_eq!(whole(slow).await.unwrap().text(), "0");
    until(|| app.open() == 1).await;
    assert_eq!(app.connections(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_server_is_late_and_nothing_new_begins_on_its_connection() {
    let heard = Arc::new(Notify::new());
    let dies = Arc::clone(&heard);
    let answer = move |stream: Stream, dies: Arc<Notify>| async move {
        match stream.path() {
            "/silent" => sleep(LONG).await,
            "/half" => {
                let mut respond = stream.respond;
                let mut body = respond.send_response(Response::new(()), false).unwrap();
                body.send_data("half".into(), false).unwrap();
                sleep(LONG).await;
            }
            "/dies" => {
                // From here on it hears of it.
                let told = dies.notified();
                let mut respond = stream.respond;
                let mut body = respond.send_response(Response::new(()), false).unwrap();
                body.send_data("half".into(), false).unwrap();
                told.await;
                body.send_reset(Reason::INTERNAL_ERROR);
            }
            _ => {
                let connection = stream.connection.to_string();
                stream.say(200, connection);
            }
        }
    };
    let app = Http2Server::start(move |stream| answer(stream, Arc::clone(&dies))).await;
    let log = NamedTempFile::new().unwrap();
    let frontend = format!("access_log = {{ target = {:?} }}", log.path());
    let pool = format!("{H2}\ntimeouts = {{ server = \"2s\" }}");
    let secure = Secure::start(&frontend, &pool, &app.at()).await;
    let mut client = secure.client().await;
    assert_eq!(client.get("/").await.text(), "0");
    assert_eq!(client.get("/silent").await.status(), 504);
    assert_eq!(client.get("/").await.text(), "1");
    for path in ["/half", "/dies"] {
        let mut body = head(client.ask(request("GET", path))).await.unwrap().into_body();
        assert_eq!(timeout(LONG, body.data()).await.unwrap().unwrap().unwrap(), "half");
        heard.notify_waiters();
        let cut = rest(body).await.unwrap_err();
        assert_eq!(cut.reason(), Some(Reason::INTERNAL_ERROR), "{path}");
    }
    assert_eq!(client.get("/").await.text(), "2");
    // Those that nobody wants are let go.
    until(|| app.open() == 1).await;
    until(|| std::fs::read_to_string(log.path()).unwrap().lines().count() == 6).await;
    let lines = std::fs::read_to_string(log.path()).unwrap();
    let ends: Vec<_> = lines
        .lines()
        .map(|line| line.split(' ').rfind(|word| word.ends_with("--")).unwrap())
        .collect();
    assert_eq!(ends, ["----", "sH--", "----", "sD--", "SD--", "----"], "{lines}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_connection_ends_in_its_own_time() {
    let app = Http2Server::start(async |stream: Stream| stream.say(200, "app")).await;
    let world = plain("", &app.at()).await;
    let mut client = world.client().await;
    assert_eq!(client.get("/").await.text(), "app");
    assert_eq!(app.open(), 1);
    // Its own time, which no request resets.
    until(|| app.open() == 0).await;
    assert_eq!(client.get("/").await.text(), "app");
    assert_eq!(app.connections(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_reads_slowly_holds_up_nobody_else() {
    let large = Bytes::from(vec![7; 300_000]);
    let app = Http2Server::start(move |mut stream: Stream| {
        let large = large.clone();
        async move {
            if stream.path() != "/large" {
                return stream.say(200, "small");
            }
            let mut body = stream.respond.send_response(Response::new(()), false).unwrap();
            upload(&mut body, &large, |_| {}).await;
            body.send_data(Bytes::new(), true).unwrap();
        }
    })
    .await;
    let secure = Secure::start("", H2, &app.at()).await;
    // More of them than would fill a connection's window, if it had not room for all.
    let (mut clients, mut unread) = (vec![], vec![]);
    for _ in 0..6 {
        let mut client = secure.client().await;
        for _ in 0..15 {
            unread.push(head(client.ask(request("GET", "/large"))).await.unwrap());
        }
        clients.push(client);
    }
    let mut quick = secure.client().await;
    for _ in 0..20 {
        assert_eq!(quick.get("/").await.text(), "small");
    }
    for response in unread {
        assert_eq!(rest(response.into_body()).await.unwrap().0.len(), 300_000);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_says_whose_it_is_is_nobody_elses() {
    let server = world::Server::new().await;
    let at = server.at();
    let servers = format!(
        "[frontend.web]\nbind = [\"FRONT\"]\npool = \"app\"\n[pool.app]\n{H2}\n\
         servers = [{{ name = \"a\", address = \"{}\", send_proxy = \"v1\" }}]\n",
        at[0].1
    );
    let world = World::start(&servers).await;
    let (mut client, mut accepted_before) = (world.client().await, vec![]);
    for _ in 0..2 {
        let (from, to) = (client.stream.local_addr().unwrap(), world.front.ip());
        client.say("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        let mut accepted = server.accept().await;
        let line = String::from_utf8(accepted.until(b"\r\n").await).unwrap();
        assert!(line.starts_with(&format!("PROXY TCP4 127.0.0.1 {to} {} ", from.port())), "{line}");
        accepted.until(b"SM\r\n\r\n").await;
        accepted.say(frame(SETTINGS, 0, 0, &[])).await;
        while frame_of(&mut accepted).await != HEADERS {}
        accepted.say(headers(1, 5, b"\x89", &[])).await;
        assert_eq!(client.answer().await.status(), 204);
        accepted_before.push(accepted);
    }
    // Each ends with its request.
    for accepted in &mut accepted_before {
        accepted.rest().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_keeps_connections_and_changes_what_is_spoken() {
    let app = Http2Server::start(async |stream: Stream| {
        let connection = stream.connection.to_string();
        stream.say(200, connection);
    })
    .await;
    let old = Backend::named("old").await;
    let mut world = plain("", &app.at()).await;
    // One connection of the client, and so one thread.
    let mut client = world.client().await;
    assert_eq!(client.get("/").await.text(), "0");
    world.reload(&config("", &format!("{H2}\nslow_start = \"1s\""), &app.at()));
    assert_eq!(client.get("/").await.text(), "0");
    world.reload(&config("", "", &[("b", old.address)]));
    until_text(&mut client, "old").await;
    world.reload(&config("", H2, &app.at()));
    until_text(&mut client, "1").await;
}

/// What kind of frame comes next.
async fn frame_of(client: &mut Client) -> u8 {
    let head = client.octets(9).await;
    let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
    client.octets(length as usize).await;
    head[3]
}

#[tokio::test(flavor = "multi_thread")]
async fn over_tls_a_server_has_to_agree_on_it() {
    let folder = Folder::new();
    let ca = Ca::new("ca");
    let file = folder.write("ca.pem", &ca.pem);
    folder.certify(&ca, "back", Leaf { names: &["back.example"], ..LEAF });
    for (protocols, status) in
        [(&[&b"h2"[..], b"http/1.1"][..], 200), (&[b"http/1.1"], 503), (&[], 503)]
    {
        let app = tls_server(&folder, protocols).await;
        let world = World::start(&format!(
            "[frontend.web]\nbind = [\"FRONT\"]\npool = \"app\"\n[pool.app]\n{H2}\nretry = {{ attempts = 1 }}\n\
             servers = [{{ name = \"a\", address = \"{app}\", tls = {{ ca = {file:?}, sni = \"back.example\", \
             alpn = [\"h2\", \"http/1.1\"] }} }}]\n"
        ))
        .await;
        let answer = world.client().await.get("/").await;
        assert_eq!(answer.status(), status, "{protocols:?}");
        if status == 200 {
            // What a server sees of its connection.
            assert_eq!(answer.text(), "https://a.example/ h2");
        }
    }
}

async fn until_text(client: &mut Client, wanted: &str) {
    let wait = async { while client.get("/").await.text() != wanted {} };
    timeout(LONG, wait).await.expect("it becomes so");
}

/// What is small costs more than its octets to keep. A client that does not read what a server says in small words ends
/// nobody else's requests by it: as many as its windows take may wait.
#[tokio::test(flavor = "multi_thread")]
async fn small_words_that_nobody_reads_end_nobody_elses_requests() {
    const STALLED: Duration = Duration::from_millis(300);
    const WINDOW_UPDATE: u8 = 8;
    let stalled = Arc::new(Notify::new());
    let told = Arc::clone(&stalled);
    let app = Http2Server::start(move |mut stream: Stream| {
        let told = Arc::clone(&told);
        async move {
            if stream.number > 1 {
                return stream.say(200, "app");
            }
            let mut body = stream.respond.send_response(Response::new(()), false).unwrap();
            loop {
                body.reserve_capacity(5);
                match timeout(STALLED, poll_fn(|context| body.poll_capacity(context))).await {
                    Ok(Some(Ok(room))) if room < 5 => {}
                    Ok(Some(Ok(_))) => {
                        body.send_data(Bytes::from_static(b"tick\n"), false).unwrap()
                    }
                    Ok(Some(Err(_)) | None) => return,
                    Err(_) => told.notify_one(),
                }
            }
        }
    })
    .await;
    let secure = Secure::start("", H2, &app.at()).await;
    // One connection, and so one thread, whose connection to the server is what it all shares.
    let mut client = secure.frames().await;
    client.say(&frame(WINDOW_UPDATE, 0, 0, &(1u32 << 20).to_be_bytes())).await;
    let (chatty, get) = client.get();
    client.say(&get).await;
    timeout(LONG, stalled.notified()).await.unwrap();
    let kinds = [HEADERS, RST_STREAM, GOAWAY];
    let begun = client.until(&kinds).await.unwrap();
    assert_eq!((begun.kind, begun.stream), (HEADERS, chatty));
    for _ in 0..10 {
        let (number, get) = client.get();
        client.say(&get).await;
        let answered = client.until(&kinds).await.unwrap();
        assert_eq!((answered.kind, answered.stream), (HEADERS, number));
    }
    assert_eq!((app.connections(), app.open()), (1, 1));
}
