//! What the runtime API, metrics and the status have of what servers answered.

mod world;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use site_agent::metrics::{self, Reloads};
use tokio::io::AsyncWriteExt as _;
use world::operator::{ask, is_done, socket, stat, until_stat, with_socket};
use world::{Backend, LONG, Server, World, until};

/// A server that gives everybody this answer.
async fn answering(status: &'static str) -> Backend {
    let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n").into_bytes();
    Backend::start(move |_| Some(answer.clone())).await
}

#[tokio::test]
async fn answers_are_counted_of_whoever_gave_them() {
    let (a, b) = (answering("404 Not Found").await, answering("502 Bad Gateway").await);
    let servers = [("a", a.address), ("b", b.address)];
    let text = with_socket("balance = \"round-robin\"", &servers);
    let mut world = World::start(&text).await;
    let socket = socket(&world);
    let mut client = world.client().await;
    for _ in 0..4 {
        client.get("/").await;
    }
    for (name, column, count) in [
        ("a", "hrsp_4xx", "2"),
        ("a", "hrsp_5xx", "0"),
        ("a", "req_tot", "2"),
        ("b", "hrsp_4xx", "0"),
        ("b", "hrsp_5xx", "2"),
        ("BACKEND", "hrsp_4xx", "2"),
        ("BACKEND", "hrsp_5xx", "2"),
        ("BACKEND", "hrsp_other", "0"),
    ] {
        assert_eq!(stat(&socket, name, column).await, count, "{column} of {name}");
    }
    let metrics = metrics::text(&world.agent.shown(), &Reloads::default(), None);
    for line in [
        r#"site_agent_server_responses_total{class="4xx",pool="app",server="a"} 2"#,
        r#"site_agent_server_responses_total{class="5xx",pool="app",server="b"} 2"#,
        r#"site_agent_pool_responses_total{class="5xx",pool="app"} 2"#,
    ] {
        assert!(metrics.lines().any(|told| told == line), "no {line} in {metrics}");
    }
    // What we answer ourselves is the pool's, and no server's.
    is_done(&ask(&socket, "disable server app/a; disable server app/b").await);
    assert_eq!(client.get("/").await.status(), 503);
    until_stat(&socket, "BACKEND", "hrsp_5xx", "3").await;
    assert_eq!(stat(&socket, "b", "hrsp_5xx").await, "2");
    // A pool has answered what a server of it had answered that is there no more.
    world.reload(&with_socket("balance = \"round-robin\"", &servers[..1]));
    assert_eq!(stat(&socket, "BACKEND", "hrsp_5xx").await, "3");
    assert_eq!(stat(&socket, "a", "hrsp_4xx").await, "2");
}

#[tokio::test]
async fn an_answer_that_nobody_was_given_is_a_retry() {
    let (a, b) = (answering("502 Bad Gateway").await, answering("200 OK").await);
    let servers = [("a", a.address), ("b", b.address)];
    let pool = "balance = \"first\"\nretry = { attempts = 2, on = [\"502\"] }";
    let world = World::start(&with_socket(pool, &servers)).await;
    let socket = socket(&world);
    assert_eq!(world.client().await.get("/").await.status(), 200);
    for (name, column, count) in [
        ("a", "hrsp_5xx", "0"),
        ("a", "wretr", "1"),
        ("b", "hrsp_2xx", "1"),
        ("BACKEND", "req_tot", "1"),
    ] {
        assert_eq!(stat(&socket, name, column).await, count, "{column} of {name}");
    }
}

#[tokio::test]
async fn looks_are_told_with_what_they_came_to() {
    let is_well = Arc::new(AtomicBool::new(true));
    let well = Arc::clone(&is_well);
    let a = Backend::start(move |_| {
        let status = if well.load(SeqCst) { "200 OK" } else { "503 Service Unavailable" };
        Some(format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n").into_bytes())
    })
    .await;
    // A look that is late would be another failure.
    let check = "check = { kind = \"http\", interval = \"1s\", timeout = \"900ms\", fall = 2 }";
    let world = World::start(&with_socket(check, &[("a", a.address)])).await;
    let socket = socket(&world);
    until_stat(&socket, "a", "status", "UP").await;
    assert_eq!(stat(&socket, "a", "check_code").await, "200");
    is_well.store(false, SeqCst);
    until_stat(&socket, "a", "status", "DOWN").await;
    let looks = a.requests();
    until(|| a.requests() >= looks + 3).await;
    // Of those that find it down already nobody needs to hear.
    for (name, column, value) in [
        ("a", "check_code", "503"),
        ("a", "chkfail", "2"),
        ("a", "chkdown", "1"),
        ("a", "lastsess", "-1"),
        ("BACKEND", "chkdown", "1"),
    ] {
        assert_eq!(stat(&socket, name, column).await, value, "{column} of {name}");
    }
}

#[tokio::test]
async fn who_breaks_off_is_told() {
    let a = Server::new().await;
    let world = World::start(&with_socket("", &a.at())).await;
    let socket = socket(&world);
    let get = "GET / HTTP/1.1\r\nHost: a.example\r\n\r\n";
    let mut client = world.client().await;
    client.say(get).await;
    let (mut server, _) = a.asked().await;
    let ago: u64 = stat(&socket, "a", "lastsess").await.parse().unwrap();
    assert!(ago < LONG.as_secs(), "{ago}");
    server.say("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf").await;
    client.until(b"half").await;
    drop(server);
    until_stat(&socket, "a", "srv_abrt", "1").await;
    let mut client = world.client().await;
    client.say(get).await;
    let (mut server, _) = a.asked().await;
    server.say("HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\nhalf").await;
    client.until(b"half").await;
    drop(client);
    // More than what lies between the two holds.
    while server.stream.write_all(&[b'x'; 65536]).await.is_ok() {}
    until_stat(&socket, "a", "cli_abrt", "1").await;
    assert_eq!(stat(&socket, "BACKEND", "cli_abrt").await, "1");
    assert_eq!(stat(&socket, "a", "srv_abrt").await, "1");
}
