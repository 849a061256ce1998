//! What clients, servers and operators do wrong, each by its pass line.

#![expect(clippy::unwrap_used, reason = "what a test cannot go on without may as well end it")]

mod world;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use common::clock::monotonic;
use socket2::{Domain, SockRef, Socket, Type};
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;
use world::http2::{Secure, head, request};
use world::{Backend, Client, LONG, Server, World, config, ok, until};

/// Hangs up in the rudest way: what is on its way is lost, and the other side hears of an error.
fn reset(client: Client) {
    SockRef::from(&client.stream).set_linger(Some(Duration::ZERO)).unwrap();
    drop(client);
}

/// 52. A head over its limits: 431, and the connection is closed; one at its limits passes.
#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_is_too_large_is_refused_and_ends_its_connection() {
    let app = Backend::named("app").await;
    let world = World::start(&config("", "", &[("a", app.address)])).await;
    let of = |octets: usize| {
        let (start, end) = ("GET / HTTP/1.1\r\nHost: a\r\nX: ", "\r\n\r\n");
        format!("{start}{}{end}", "y".repeat(octets - start.len() - end.len()))
    };
    let lines =
        |count: usize| format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: y\r\n".repeat(count - 1));
    let target =
        |octets: usize| format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "y".repeat(octets - 1));
    for (what, request, status) in [
        ("64 KiB", of(65_536), 200),
        ("one octet more", of(65_537), 431),
        ("a line of 1 MiB", of(1 << 20), 431),
        ("100 lines", lines(100), 200),
        ("101 lines", lines(101), 431),
        ("100,000 lines", lines(100_000), 431),
        ("a target of 16 KiB", target(16_384), 200),
        ("one octet more", target(16_385), 414),
        ("a target of 1 MiB", target(1 << 20), 414),
    ] {
        let mut client = world.client().await;
        // Who is refused need not be heard to the end.
        let _ = client.stream.write_all(request.as_bytes()).await;
        let answer = client.answer().await;
        assert_eq!(answer.status(), status, "{what}");
        if status == 200 {
            assert_eq!(client.get("/").await.text(), "app", "{what}");
        } else {
            assert_eq!(answer.header("connection"), Some("close"), "{what}");
            assert!(client.is_closed().await, "{what}");
        }
    }
    assert_eq!(app.requests(), 6);
}

/// 55. A server that refuses, or takes no connection: others are asked, and 503 comes in time if there is none.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_takes_no_connection_costs_its_time_limit_at_most() {
    // Its queue has room for one, which nobody takes: the kernel drops whoever comes then.
    let hole = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    hole.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    hole.listen(0).unwrap();
    let at = hole.local_addr().unwrap().as_socket().unwrap();
    let mut held = vec![];
    while let Ok(stream) = timeout(Duration::from_millis(300), TcpStream::connect(at)).await {
        held.push(stream.unwrap());
    }
    let app = Backend::named("app").await;
    let nobody = world::address();
    let pool = "balance = \"first\"\ntimeouts = { connect = \"500ms\" }";
    for (what, servers, status) in [
        ("refuses", vec![("a", nobody), ("b", app.address)], 200),
        ("drops", vec![("a", at), ("b", app.address)], 200),
        ("refuses, alone", vec![("a", nobody)], 503),
        ("drops, alone", vec![("a", at)], 503),
    ] {
        let world = World::start(&config("", pool, &servers)).await;
        let mut client = world.client().await;
        let began = monotonic();
        // That nothing was sent is known, whatever it is.
        client.say("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc").await;
        assert_eq!(client.answer().await.status(), status, "{what}");
        // Three attempts with a wait of a second at most between them, on a busy machine.
        let took = monotonic().saturating_sub(began);
        assert!(took < Duration::from_secs(8), "{what}: {took:?}");
    }
    assert!(app.requests() == 2 && app.asked.lock().iter().all(|asked| asked.body == b"abc"));
}

/// 55. A server that cuts its answer: the client sees that it is cut. One whose answer is longer than it said: the rest is nobody's.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_cut_is_seen_to_be_and_one_that_is_too_long_is_nobody_elses() {
    let server = Server::new().await;
    let world = World::start(&config("", "", &server.at())).await;
    for framing in ["Content-Length: 10", "Transfer-Encoding: chunked"] {
        for is_reset in [false, true] {
            let mut client = world.client().await;
            client.say("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
            let (mut side, _) = server.asked().await;
            let body = if framing.starts_with('C') { "abc" } else { "a\r\nabc" };
            side.say(format!("HTTP/1.1 200 OK\r\n{framing}\r\n\r\n{body}")).await;
            client.until(b"abc").await;
            if is_reset {
                reset(side)
            } else {
                drop(side)
            }
            assert!(client.is_closed().await, "{framing} {is_reset}");
        }
    }
    let mut client = world.client().await;
    client.say("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let (mut lies, _) = server.asked().await;
    let more = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nothers";
    lies.say(format!("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc{more}")).await;
    assert_eq!(client.answer().await.text(), "abc");
    client.say("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let (mut side, _) = server.asked().await;
    side.say(ok("own")).await;
    assert_eq!(client.answer().await.text(), "own");
    assert!(lies.is_closed().await);
    // What comes while nobody asks is as little anybody's.
    side.say(more).await;
    let idle = || world.agent.shown().upstreams[0].servers()[0].in_flight() == 0;
    until(idle).await;
    client.say("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let (mut side, _) = server.asked().await;
    side.say(ok("own again")).await;
    assert_eq!(client.answer().await.text(), "own again");
}

/// 55. Heads before the answer without end (1xx): 502 once they are more than anybody sends.
#[tokio::test(flavor = "multi_thread")]
async fn so_many_heads_may_come_before_an_answer() {
    const MOST: usize = 100;
    let hint = "HTTP/1.1 103 Early Hints\r\nLink: <a>\r\n\r\n";
    let app = Backend::start(move |asked| {
        let count = asked.path()[1..].parse().unwrap();
        let heads = hint.repeat(count);
        // As the backend knows an answer.
        Some([heads.as_bytes(), &ok("app")].concat())
    })
    .await;
    let world = World::start(&config("", "", &[("a", app.address)])).await;
    let secure = Secure::start("", "", &[("a", app.address)]).await;
    for (count, status) in [(MOST, 200), (MOST + 1, 502)] {
        let asked = format!("/{count}");
        let mut client = world.client().await;
        client.say(format!("GET {asked} HTTP/1.1\r\nHost: a\r\n\r\n")).await;
        for _ in 0..MOST {
            assert_eq!(client.answer().await.status(), 103);
        }
        assert_eq!(client.answer().await.status(), status);
        let mut old = world.client().await;
        old.say(format!("GET {asked} HTTP/1.0\r\nHost: a\r\n\r\n")).await;
        assert_eq!(old.answer().await.status(), status);
        let mut client = secure.client().await;
        let answer = head(client.ask(request("GET", &asked))).await.unwrap();
        assert_eq!(answer.status().as_u16(), status);
    }
}

/// 55. A server that closes a connection while it is asked on it: sent again is only what may be.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_hangs_up_as_it_is_asked_gets_again_what_may_be_sent_twice() {
    let server = Server::new().await;
    let world = World::start(&config("", "", &server.at())).await;
    for (method, is_sent_again) in [("GET", true), ("DELETE", true), ("POST", false)] {
        let mut client = world.client().await;
        client.say("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        let (mut side, _) = server.asked().await;
        side.say(ok("first")).await;
        assert_eq!(client.answer().await.text(), "first");
        client.say(format!("{method} /again HTTP/1.1\r\nHost: a\r\n\r\n")).await;
        assert!(side.head().await.starts_with(&format!("{method} /again ")));
        drop(side);
        if is_sent_again {
            let (mut side, head) = server.asked().await;
            assert!(head.starts_with(&format!("{method} /again ")), "{head}");
            side.say(ok("second")).await;
            assert_eq!(client.answer().await.text(), "second");
        } else {
            // The client knows whether to.
            assert!(client.is_closed().await);
        }
    }
    // Nobody has come besides.
    assert!(timeout(Duration::from_millis(300), server.listener.accept()).await.is_err());
}

/// 56. All servers are down: 503 within a second.
#[tokio::test(flavor = "multi_thread")]
async fn when_all_servers_are_down_it_is_said_within_a_second() {
    let (one, other) = (Backend::named("one").await, Backend::named("other").await);
    let servers = [("a", one.address), ("b", other.address)];
    let check = "check = { kind = \"http\", interval = \"200ms\", fast_interval = \"100ms\", rise = 1, fall = 2 }";
    let world = World::start(&config("", check, &servers)).await;
    let takers = || world.agent.shown().upstreams[0].shown().standing.takers.len();
    until(|| takers() == 2).await;
    let mut client = world.client().await;
    assert_eq!(client.get("/").await.status(), 200);
    let address = one.address;
    drop((one, other));
    until(|| takers() == 0).await;
    for _ in 0..20 {
        let began = monotonic();
        let answer = client.get("/").await;
        let took = monotonic().saturating_sub(began);
        assert_eq!(answer.status(), 503);
        assert!(took < Duration::from_secs(1), "{took:?}");
    }
    let _again = Backend::start_at(address, |_| Some(ok("again"))).await;
    until(|| takers() == 1).await;
    assert_eq!(client.get("/").await.text(), "again");
}

/// 60. Who is not listed says nothing of whom it asks for: neither by a PROXY header nor by X-Forwarded-For or Forwarded.
#[tokio::test(flavor = "multi_thread")]
async fn who_is_not_trusted_is_not_believed_about_whom_it_asks_for() {
    let app = Backend::named("app").await;
    let (listed, other) = ("127.0.0.2", "127.0.0.3");
    let from = async |address: &str, world: &World| {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::new(address.parse().unwrap(), 0)).unwrap();
        Client::over(socket.connect(world.front).await.unwrap())
    };
    let injected = "GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 203.0.113.9, 198.51.100.7\r\n\
                    X-Forwarded-Proto: https\r\nForwarded: for=203.0.113.9;proto=https\r\nX-Real-IP: 203.0.113.9\r\n\r\n";
    let world =
        World::start(&config("trusted = [\"127.0.0.2/32\"]", "", &[("a", app.address)])).await;
    for (address, is_believed) in [(listed, true), (other, false)] {
        let mut client = from(address, &world).await;
        client.say(injected).await;
        assert_eq!(client.answer().await.status(), 200);
        let asked = app.last();
        let told = |name: &str| asked.header(name).unwrap_or_default().to_owned();
        let (chain, proto, hops) =
            (told("x-forwarded-for"), told("x-forwarded-proto"), told("forwarded"));
        if is_believed {
            // Up to the first that is nobody we know: what stands before is that one's own word.
            assert!(chain.ends_with(&format!("198.51.100.7, {address}")), "{chain}");
            assert_eq!(proto, "https");
        } else {
            assert_eq!((chain.as_str(), proto.as_str()), (address, "http"));
            assert_eq!(hops, format!("for={address};proto=http"));
        }
    }
    let listens = "accept_proxy = [\"127.0.0.2/32\"]";
    let world = World::start(&config(listens, "", &[("a", app.address)])).await;
    let before = app.requests();
    let header = "PROXY TCP4 192.0.2.7 198.51.100.2 4711 80\r\n";
    let mut client = from(other, &world).await;
    client.say(format!("{header}GET / HTTP/1.1\r\nHost: a\r\n\r\n")).await;
    assert_eq!(client.answer().await.status(), 400);
    assert!(client.is_closed().await);
    assert_eq!(app.requests(), before);
    let mut client = from(listed, &world).await;
    client.say(format!("{header}GET / HTTP/1.1\r\nHost: a\r\n\r\n")).await;
    assert_eq!(client.answer().await.status(), 200);
    assert_eq!(app.last().header("x-forwarded-for"), Some("192.0.2.7"));
    // Whom it says nothing of is nobody.
    let mut client = from(listed, &world).await;
    client.say("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert!(client.is_closed().await);
    assert_eq!(app.requests(), before + 1);
}

/// 61. A stop: what is under way ends whole, long downloads and tunnels too, within the time that it is given.
#[tokio::test(flavor = "multi_thread")]
async fn a_stop_truncates_nothing_and_waits_for_downloads_and_tunnels() {
    const LARGE: usize = 5_000_000;
    let large = vec![7; LARGE];
    let app = Backend::start(move |asked| match (asked.path(), asked.header("upgrade")) {
        (_, Some(protocol)) => Some(
            format!("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: {protocol}\r\n\r\n").into(),
        ),
        ("/large", _) => Some(ok(&large)),
        _ => Some(ok("short")),
    })
    .await;
    let world = World::start(&config("", "", &[("a", app.address)])).await;
    let front = world.front;
    let mut download = world.client().await;
    download.say("GET /large HTTP/1.1\r\nHost: a\r\n\r\n").await;
    download.head().await;
    download.octets(10_000).await;
    let mut tunnel = world.client().await;
    tunnel
        .say("GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n")
        .await;
    assert!(tunnel.head().await.starts_with("HTTP/1.1 101 "));
    // They ask until they are hung up on: each answer is whole, and none comes behind one that said it is the last.
    let answers = [(); 8].map(|()| Arc::new(AtomicUsize::new(0)));
    let short = answers.clone().map(|answers| {
        tokio::spawn(async move {
            let mut client = Client::connect(front).await;
            loop {
                let request = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
                if client.stream.write_all(request).await.is_err() {
                    return;
                }
                let Some(octets) = some(&mut client).await else { return };
                let text = String::from_utf8(octets).unwrap();
                assert!(
                    text.starts_with("HTTP/1.1 200 OK\r\n") && text.ends_with("\r\n\r\nshort"),
                    "{text}"
                );
                answers.fetch_add(1, Relaxed);
            }
        })
    });
    until(|| answers.iter().all(|answers| answers.load(Relaxed) > 12)).await;
    let stopped = tokio::spawn(world.agent.stop(LONG));
    for client in short {
        timeout(LONG, client).await.unwrap().unwrap();
    }
    let refused = async { while TcpStream::connect(front).await.is_ok() {} };
    timeout(LONG, refused).await.expect("nobody listens there");
    // Long after that.
    tunnel.say("still there").await;
    assert_eq!(tunnel.octets(11).await, b"still there");
    assert_eq!(download.octets(LARGE - 10_000).await.len(), LARGE - 10_000);
    assert!(download.is_closed().await && !stopped.is_finished());
    tunnel.stream.shutdown().await.unwrap();
    assert!(tunnel.is_closed().await);
    timeout(LONG, stopped).await.expect("nobody is left").unwrap();
}

/// One short answer, if one comes.
async fn some(client: &mut Client) -> Option<Vec<u8>> {
    let mut octets = vec![];
    while !octets.ends_with(b"short") {
        let more = client.until_end().await;
        if more.is_empty() {
            assert!(octets.is_empty(), "cut: {}", octets.escape_ascii());
            return None;
        }
        octets.extend(more);
    }
    Some(octets)
}
