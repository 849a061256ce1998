//! HTTP/1 through a balancer, octet by octet, to servers that say what a test wants.

mod world;

use std::time::Duration;

use world::{Backend, Server, World, config, ok, until};

const QUIET: &str = "access_log = { target = \"LOG\" }";

#[tokio::test(flavor = "multi_thread")]
async fn a_request_goes_on_as_it_came_and_says_whose_it_is() {
    let app = Backend::named("app").await;
    let world = World::start(&config("", "", &[("a", app.address)])).await;
    let mut client = world.client().await;
    client
        .say(
            "GET /a%2Fb?c=d HTTP/1.1\r\nhOsT: a.example\r\nX-Odd-Case: Kept\r\nConnection: keep-alive, X-Hop\r\n\
             X-Hop: gone\r\nX-Forwarded-For: 203.0.113.9\r\nProxy-Connection: keep-alive\r\n\r\n",
        )
        .await;
    let answer = client.answer().await;
    assert_eq!((answer.status(), answer.text()), (200, "app"));
    let asked = app.last();
    let expected = "GET /a%2Fb?c=d HTTP/1.1\r\nhOsT: a.example\r\nX-Odd-Case: Kept\r\n\
                    X-Forwarded-For: 127.0.0.1\r\nX-Forwarded-Proto: http\r\n\
                    Forwarded: for=127.0.0.1;proto=http\r\n\r\n";
    assert_eq!(asked.head, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_of_both_sides_are_used_again() {
    let app = Backend::named("app").await;
    let world = World::start(&config("", "", &[("a", app.address)])).await;
    let mut client = world.client().await;
    for _ in 0..100 {
        assert_eq!(client.get("/").await.text(), "app");
    }
    // In one go.
    client.say("GET / HTTP/1.1\r\nHost: a\r\n\r\n".repeat(50)).await;
    for _ in 0..50 {
        assert_eq!(client.answer().await.text(), "app");
    }
    assert_eq!((app.requests(), app.connections()), (150, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_of_every_kind_pass_whole() {
    let large: Vec<u8> = (0..3_000_000u32).map(|number| (number % 251) as u8).collect();
    let app = Backend::echo("X-Trailer: end\r\n").await;
    let world = World::start(&config("", "", &[("a", app.address)])).await;
    for size in [0, 1, 10, 16_384, 65_536, 3_000_000] {
        let body = &large[..size];
        for path in ["/length", "/chunked", "/close"] {
            for is_chunked in [false, true] {
                let mut client = world.client().await;
                let mut request = format!("POST {path} HTTP/1.1\r\nHost: a\r\n").into_bytes();
                if is_chunked {
                    request.extend_from_slice(b"Transfer-Encoding: chunked\r\n\r\n");
                    for chunk in body.chunks(4999) {
                        request.extend(format!("{:X}\r\n", chunk.len()).into_bytes());
                        request.extend_from_slice(chunk);
                        request.extend_from_slice(b"\r\n");
                    }
                    request.extend_from_slice(b"0\r\n\r\n");
                } else {
                    request.extend(format!("Content-Length: {size}\r\n\r\n").into_bytes());
                    request.extend_from_slice(body);
                }
                client.say(&request).await;
                let answer = client.answer().await;
                assert_eq!(answer.status(), 200);
                assert!(answer.body == body, "{path} {size} {is_chunked}");
                assert!(app.last().body == body);
                // The connection is good for another.
                assert_eq!(client.get("/length").await.status(), 200, "{path} {is_chunked}");
            }
        }
    }
    // To HTTP/1.0, which knows no chunks.
    let mut client = world.client().await;
    let request = "POST /chunked HTTP/1.0\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc";
    client.say(request).await;
    let answer = String::from_utf8(client.rest().await).unwrap();
    assert!(answer.ends_with("\r\n\r\nabc") && !answer.contains("chunked"), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_waits_for_100_is_told_by_the_server() {
    let app = Backend::start(|asked| Some(ok(&asked.body))).await;
    let world = World::start(&config("", "", &[("a", app.address)])).await;
    let mut client = world.client().await;
    client
        .say("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n")
        .await;
    assert_eq!(client.head().await, "HTTP/1.1 100 Continue\r\n\r\n");
    client.say("abc").await;
    assert_eq!(client.answer().await.text(), "abc");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upgrade_becomes_a_tunnel() {
    let app = Backend::start(|asked| {
        let key = asked.header("upgrade")?;
        Some(format!("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: {key}\r\n\r\nhi").into())
    })
    .await;
    let world = World::start(&config("", "", &[("a", app.address)])).await;
    let mut client = world.client().await;
    client.say("GET /chat HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\nearly").await;
    let head = client.head().await;
    assert!(
        head.starts_with("HTTP/1.1 101 ") && head.contains("Connection: upgrade\r\n"),
        "{head}"
    );
    assert_eq!(client.octets(7).await, b"hiearly");
    client.say("again").await;
    assert_eq!(client.octets(5).await, b"again");
    tokio::io::AsyncWriteExt::shutdown(&mut client.stream).await.unwrap();
    assert!(client.is_closed().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_dies_costs_no_request_that_may_be_sent_again() {
    let alive = Backend::named("alive").await;
    let mut dying = Backend::named("dying").await;
    let servers = [("alive", alive.address), ("dying", dying.address)];
    let pool = "balance = \"round-robin\"";
    let world = World::start(&config("", pool, &servers)).await;
    let mut clients = vec![];
    for _ in 0..8 {
        clients.push(world.client().await);
    }
    for round in 0..40 {
        let dead = round >= 10;
        if round == 10 {
            // With idle connections to it in every thread.
            assert!(dying.requests() > 0);
            dying.kill().await;
        }
        for client in &mut clients {
            let answer = client.get("/").await;
            assert_eq!(answer.status(), 200, "round {round}: {}", answer.head);
            assert!(!dead || answer.text() == "alive");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_server_does_wrong_is_told_by_its_status() {
    let app = Backend::start(|asked| match asked.path() {
        "/junk" => Some(b"HTTP/1.1 OK\r\nContent-Length: 0\r\n\r\n".to_vec()),
        "/both" => Some(
            b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
                .to_vec(),
        ),
        "/hang-up" => None,
        "/short" => Some(b"HTTP/1.1 200 OK\r\nContent-LengtH: 10\r\n\r\nabc".to_vec()),
        _ => Some(b"HTTP/1.1 100 Continue\r\n\r\n".to_vec()),
    })
    .await;
    let pool = "timeouts = { server = \"2s\" }";
    let world = World::start(&config("", pool, &[("a", app.address)])).await;
    for (path, status) in [("/junk", 502), ("/both", 502), ("/hang-up", 502), ("/late", 504)] {
        let mut client = world.client().await;
        client.say(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n")).await;
        let mut answer = client.answer().await;
        if path == "/late" {
            assert_eq!(answer.status(), 100);
            answer = client.answer().await;
        }
        assert_eq!(answer.status(), status, "{path}");
        assert!(answer.text().contains(&status.to_string()), "{path}");
    }
    // What was begun cannot be taken back: it is cut, and the client sees that.
    let mut client = world.client().await;
    client.say("GET /short HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(client.head().await.split("\r\n").next(), Some("HTTP/1.1 200 OK"));
    assert_eq!(client.rest().await, b"abc");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_finds_no_place_waits_and_is_refused_in_time() {
    let gate = std::sync::Arc::new(tokio::sync::Semaphore::new(0));
    let opened = std::sync::Arc::clone(&gate);
    let app = Backend::start(move |_| {
        let handle = tokio::runtime::Handle::current();
        tokio::task::block_in_place(|| handle.block_on(opened.acquire()).unwrap().forget());
        Some(ok("app"))
    })
    .await;
    let server = format!(
        "[frontend.web]\nbind = [\"FRONT\"]\npool = \"app\"\n[pool.app]\n\
         queue = {{ timeout = \"2s\", length = 1 }}\n\
         servers = [{{ name = \"a\", address = \"{}\", max_connections = 1 }}]\n",
        app.address
    );
    let world = World::start(&server).await;
    let (mut first, mut second, mut third) =
        (world.client().await, world.client().await, world.client().await);
    let request = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    first.say(request).await;
    until(|| app.requests() == 1).await;
    second.say(request).await;
    until(|| waiting(&world) == 1).await;
    // The queue is full.
    assert_eq!(third.get("/").await.status(), 503);
    // Its time is over.
    assert_eq!(second.answer().await.status(), 503);
    assert_eq!(waiting(&world), 0);
    second.say(request).await;
    until(|| waiting(&world) == 1).await;
    gate.add_permits(2);
    assert_eq!(first.answer().await.status(), 200);
    assert_eq!(second.answer().await.status(), 200);
    assert_eq!(app.requests(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_a_reload_meets_is_answered_by_what_it_began_with() {
    let gate = std::sync::Arc::new(tokio::sync::Semaphore::new(0));
    let opened = std::sync::Arc::clone(&gate);
    let app = Backend::start(move |asked| {
        if asked.path() == "/slow" {
            let handle = tokio::runtime::Handle::current();
            tokio::task::block_in_place(|| handle.block_on(opened.acquire()).unwrap().forget());
        }
        Some(ok("app"))
    })
    .await;
    let other = Backend::named("other").await;
    let mut world = World::start(&config("", "", &[("a", app.address)])).await;
    let (mut busy, mut half) = (world.client().await, world.client().await);
    busy.say("GET /slow HTTP/1.1\r\nHost: a\r\n\r\n").await;
    half.say("GET / HTTP/1.1\r\nHo").await;
    until(|| app.requests() == 1).await;
    // Pools are in the order of names: another one comes first now.
    let servers = [("a", app.address), ("b", other.address)];
    let first =
        format!("[pool.aaa]\nservers = [{{ name = \"c\", address = \"{}\" }}]\n", other.address);
    world.reload(&(config("", "balance = \"first\"", &servers) + &first));
    half.say("st: a\r\n\r\n").await;
    assert_eq!(half.answer().await.text(), "app");
    gate.add_permits(1);
    assert_eq!(busy.answer().await.text(), "app");
    assert_eq!(busy.get("/").await.text(), "app");
    assert_eq!(half.get("/").await.text(), "app");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_before_the_request_is_whole_ends_both_connections() {
    // It answers the head, and would take the body for a request.
    let app = Backend::hasty("early").await;
    let world = World::start(&config("", "", &[("a", app.address)])).await;
    let mut client = world.client().await;
    client
        .say("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nGET /smuggled HTTP/1.1\r\n")
        .await;
    let answer = client.answer().await;
    assert_eq!((answer.text(), answer.header("connection")), ("early", Some("close")));
    client.say("Host: a\r\n\r\n").await;
    assert!(client.is_closed().await);
    // Nobody else hears the answer to what it took for one.
    let mut client = world.client().await;
    assert_eq!(client.get("/other").await.text(), "early");
    assert_eq!(app.connections(), 2);
    // What is wrong behind an answer that has begun is told by the end alone.
    let mut client = world.client().await;
    client.say("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n").await;
    assert_eq!(client.answer().await.text(), "early");
    let _ = tokio::io::AsyncWriteExt::write_all(&mut client.stream, b"zz\r\n").await;
    assert!(client.rest().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_vouches_for_somebody_is_nobody_elses() {
    let app = Backend::named("app").await;
    let world = World::start(&config("", "", &[("a", app.address)])).await;
    let mut client = world.client().await;
    client.say("GET / HTTP/1.1\r\nHost: a\r\nAuthorization: Negotiate YII\r\n\r\n").await;
    assert_eq!(client.answer().await.status(), 200);
    assert_eq!(client.get("/").await.status(), 200);
    assert_eq!(client.get("/").await.status(), 200);
    assert_eq!(app.connections(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_reads_slowly_is_served_as_long_as_it_reads() {
    // Far more than the kernel takes of it at once.
    let large = vec![7; 16_000_000];
    let body = large.clone();
    let app = Backend::start(move |_| Some(ok(&body))).await;
    let timeouts = "timeouts = { client = \"2s\" }";
    let world = World::start(&config(timeouts, "", &[("a", app.address)])).await;
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut client = world::Client::over(socket.connect(world.front).await.unwrap());
    client.say("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    client.head().await;
    let mut seen = 0;
    while seen < large.len() {
        let count = (large.len() - seen).min(500_000);
        seen += client.octets(count).await.len();
        // All of it takes far longer than the client may be silent.
        tokio::time::sleep(Duration::from_millis(150)).await;
    }
}

fn waiting(world: &World) -> usize {
    world.agent.shown().upstreams[0].waiting()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_takes_its_time_is_told_so() {
    let app = Backend::named("app").await;
    // So long that a machine with other things to do asks in time what is to be answered.
    let timeouts = "timeouts = { http_request = \"2s\", keep_alive = \"2s\", client = \"2s\" }";
    let world = World::start(&config(timeouts, "", &[("a", app.address)])).await;
    // Nothing at all: nobody to tell.
    let mut client = world.client().await;
    let rest = client.rest().await;
    assert!(rest.is_empty(), "{}", rest.escape_ascii());
    // Half a head.
    let mut client = world.client().await;
    client.say("GET / HTTP/1.1\r\nHo").await;
    assert_eq!(client.answer().await.status(), 408);
    assert!(client.is_closed().await);
    // Half a body.
    let mut client = world.client().await;
    client.say("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nab").await;
    assert_eq!(client.answer().await.status(), 408);
    assert!(client.is_closed().await);
    // Nothing more after an answer.
    let mut client = world.client().await;
    assert_eq!(client.get("/").await.status(), 200);
    assert!(client.rest().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_two_readers_could_take_in_two_ways_is_refused() {
    let app = Backend::named("app").await;
    let world = World::start(&config("", "", &[("a", app.address)])).await;
    for (request, status) in [
        (
            "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
            400,
        ),
        ("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\n", 400),
        ("GET / HTTP/1.1\nHost: a\n\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nA: b\r\n c\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\n\r\n", 400),
        ("GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505),
        ("CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", 405),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 501),
    ] {
        let mut client = world.client().await;
        client.say(request).await;
        assert_eq!(client.answer().await.status(), status, "{request:?}");
    }
    assert_eq!(app.requests(), 0);
    // In a body it is too late for the server, but nothing behind it is taken for a request.
    let mut client = world.client().await;
    client
        .say(
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\
             3\nabc\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n",
        )
        .await;
    assert_eq!(client.answer().await.status(), 400);
    assert!(client.is_closed().await);
    assert!(app.asked.lock().iter().all(|asked| asked.path() != "/smuggled"));
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_decide_before_any_server_is_asked() {
    let (app, other) = (Backend::named("app").await, Backend::named("other").await);
    let text = format!(
        "[frontend.web]\nbind = [\"FRONT\"]\npool = \"app\"\n\
         rules = [\n  {{ when = \"path_prefix('/admin')\", deny = 403 }},\n  \
         {{ when = \"path_prefix('/api/')\", pool = \"api\" }},\n  \
         {{ when = \"host('old.example')\", redirect_https = 308 }},\n]\n\
         [pool.app]\nservers = [{{ name = \"a\", address = \"{}\" }}]\n\
         [pool.api]\nservers = [{{ name = \"b\", address = \"{}\" }}]\n",
        app.address, other.address
    );
    let world = World::start(&text).await;
    let mut client = world.client().await;
    assert_eq!(client.get("/admin/x").await.status(), 403);
    assert_eq!(client.get("/ad%6din/../admin").await.status(), 403);
    assert_eq!(client.get("/api/x").await.text(), "other");
    assert_eq!(client.get("/apix").await.text(), "app");
    client.say("GET /a?b HTTP/1.1\r\nHost: old.example:8080\r\n\r\n").await;
    let answer = client.answer().await;
    assert_eq!(answer.status(), 308);
    assert_eq!(answer.header("location"), Some("https://old.example/a?b"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_touches_what_has_changed_and_nothing_else() {
    let (app, other) = (Backend::named("app").await, Backend::named("other").await);
    let one = config("", "", &[("a", app.address)]);
    let mut world = World::start(&one).await;
    let mut client = world.client().await;
    assert_eq!(client.get("/").await.text(), "app");
    // The same, and broken ones: nothing happens.
    for text in [&one, "[frontend.web]\n", &one.replace("FRONT", "192.0.2.1:1")] {
        world.reload(text);
        assert_eq!(client.get("/").await.text(), "app");
    }
    assert_eq!(app.connections(), 1);
    // Another server beside: the first keeps its connection and its counters.
    world.reload(&config(
        "",
        "balance = \"round-robin\"",
        &[("a", app.address), ("b", other.address)],
    ));
    let mut seen = vec![];
    for _ in 0..8 {
        seen.push(client.get("/").await.text().to_owned());
    }
    assert_eq!(seen.iter().filter(|text| *text == "app").count(), 4, "{seen:?}");
    assert_eq!(app.connections(), 1);
    let told = world.agent.shown().upstreams[0].told();
    assert_eq!(told[0].server.counts.requests.load(std::sync::atomic::Ordering::Relaxed), 8);
    // Another address; the old one hangs up nobody, and takes nobody new.
    let (old, new) = (world.front, world::address());
    world.front = new;
    world.reload(&config("", "", &[("b", other.address)]));
    assert_eq!(client.get("/").await.text(), "other");
    assert_eq!(world.client().await.get("/").await.text(), "other");
    let refused = async {
        while tokio::net::TcpStream::connect(old).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(world::LONG, refused).await.expect("nobody listens there");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_waits_for_requests_and_not_for_idle_clients() {
    let gate = std::sync::Arc::new(tokio::sync::Semaphore::new(0));
    let opened = std::sync::Arc::clone(&gate);
    let app = Backend::start(move |asked| {
        if asked.path() == "/slow" {
            let handle = tokio::runtime::Handle::current();
            tokio::task::block_in_place(|| handle.block_on(opened.acquire()).unwrap().forget());
        }
        Some(ok("app"))
    })
    .await;
    let world = World::start(&config("", "", &[("a", app.address)])).await;
    let (mut busy, mut idle) = (world.client().await, world.client().await);
    assert_eq!(idle.get("/").await.status(), 200);
    busy.say("GET /slow HTTP/1.1\r\nHost: a\r\n\r\n").await;
    until(|| app.requests() == 2).await;
    let stopped = tokio::spawn(world.agent.stop(world::LONG));
    assert!(idle.is_closed().await);
    gate.add_permits(1);
    let answer = busy.answer().await;
    assert_eq!((answer.status(), answer.header("connection")), (200, Some("close")));
    tokio::time::timeout(world::LONG, stopped).await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_twice_for_the_end_has_it_at_once() {
    let server = Server::new().await;
    let world = World::start(&config("", "", &server.at())).await;
    let mut busy = world.client().await;
    busy.say("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let _asked = server.asked().await;
    let (again, asked) = tokio::sync::oneshot::channel::<()>();
    let enough = async { asked.await.unwrap() };
    let far_longer = world::LONG * 10;
    let stopped = tokio::spawn(world.agent.stop_unless(far_longer, enough));
    // Nobody new is taken any more, so it stops.
    until(|| std::net::TcpStream::connect(world.front).is_err()).await;
    assert!(!stopped.is_finished());
    again.send(()).unwrap();
    tokio::time::timeout(world::LONG, stopped).await.unwrap().unwrap();
    assert!(busy.is_closed().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_request_is_a_line_of_the_log() {
    let app = Backend::named("app").await;
    let log = tempfile::NamedTempFile::new().unwrap();
    let quiet = QUIET.replace("LOG", log.path().to_str().unwrap());
    let world = World::start(&config(&quiet, "", &[("a", app.address)])).await;
    let mut client = world.client().await;
    client.get("/one").await;
    client.say("GET /two HTTP/1.1\r\n\r\n").await;
    client.answer().await;
    drop(client);
    world.agent.stop(world::LONG).await;
    let lines = std::fs::read_to_string(log.path()).unwrap();
    let lines: Vec<_> = lines.lines().collect();
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(
        lines[0].contains(" web app/a 0/0/0/0/0 200 ") || lines[0].contains(" web app/a "),
        "{}",
        lines[0]
    );
    assert!(lines[0].ends_with("\"GET /one HTTP/1.1\""), "{}", lines[0]);
    assert!(lines[1].contains(" 400 ") && lines[1].contains(" PR-- "), "{}", lines[1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_takes_a_server_out_before_a_request_meets_it() {
    let stays = Backend::named("stays").await;
    let dies = Backend::named("dies").await;
    let servers = [("stays", stays.address), ("dies", dies.address)];
    let pool = "balance = \"round-robin\"\n\
                check = { kind = \"http\", path = \"/healthz\", interval = \"200ms\", fast_interval = \"100ms\", rise = 2, fall = 2 }";
    let mut world = World::start(&config("", pool, &servers)).await;
    let usable = |world: &World| world.agent.shown().upstreams[0].shown().standing.usable;
    until(|| usable(&world) == 2).await;
    // A reload knows it still.
    world.reload(&config("", &format!("{pool}\nslow_start = \"1s\""), &servers));
    assert_eq!(usable(&world), 2);
    let address = dies.address;
    drop(dies);
    until(|| usable(&world) == 1).await;
    let mut client = world.client().await;
    for _ in 0..10 {
        assert_eq!(client.get("/").await.text(), "stays");
    }
    let told = world.agent.shown().upstreams[0].told();
    assert_eq!(told[1].server.counts.connect_errors.load(std::sync::atomic::Ordering::Relaxed), 0);
    let _again = Backend::start_at(address, |_| Some(ok("again"))).await;
    until(|| usable(&world) == 2).await;
}
