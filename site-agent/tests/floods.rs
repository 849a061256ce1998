//! Clients that say more of HTTP/2 than anybody needs: others are served, and memory has its bound. Alone in its process, whose
//! memory is looked at.

#![expect(clippy::unwrap_used, reason = "what a test cannot go on without may as well end it")]

mod world;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::task::JoinSet;
use tokio::time::{interval, timeout};
use world::http2::{DATA, GOAWAY, HEADERS, SETTINGS, Secure, frame, reset};
use world::witness::{LONG, Witness};
use world::{Backend, Client, Server, ok, until};

/// Octets of memory that are ours and in memory.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
    line.split_whitespace().next().unwrap().parse::<u64>().unwrap() << 10
}

/// How a connection has ended that was flooded.
#[derive(Debug, Eq, PartialEq)]
enum Flooded {
    GoAway(u32),
    Closed,
}

/// Says this over and over, so often at most, until nobody listens; and what is heard of it.
async fn flood(
    secure: &Secure,
    first: Vec<u8>,
    again: Vec<u8>,
    times: usize,
    reads: bool,
) -> Flooded {
    let stream = secure.frames().await.stream;
    let (mut read, mut write) = tokio::io::split(stream);
    let says = tokio::spawn(async move {
        let mut said = write.write_all(&first).await;
        for _ in 0..times {
            if said.is_err() {
                return;
            }
            said = write.write_all(&again).await;
        }
        let _ = write.flush().await;
        // It stays, whatever it is told.
        std::future::pending::<()>().await;
    });
    let heard = async {
        if !reads {
            // Nothing of what it is told, until the balancer has let all of them go.
            let shown = secure.world.agent.shown();
            until(|| shown.frontends[0].1.current.load(Relaxed) == 0).await;
        }
        let mut last = Flooded::Closed;
        loop {
            let mut head = [0; 9];
            if read.read_exact(&mut head).await.is_err() {
                return last;
            }
            let [a, b, c, kind, ..] = head;
            let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
            if read.read_exact(&mut payload).await.is_err() {
                return last;
            }
            if kind == GOAWAY {
                last = Flooded::GoAway(u32::from_be_bytes(payload[4..8].try_into().unwrap()));
            }
        }
    };
    let heard = timeout(LONG, heard).await.expect("it ends");
    says.abort();
    heard
}

/// What is said first, what again and again and how often, whether the client reads what it is told, and how it may end.
type Row = (&'static str, Vec<u8>, Vec<u8>, usize, bool, Vec<Flooded>);

/// 54. More of HTTP/2 than anybody needs: the connection is over, memory has its bound, and others are served.
#[tokio::test(flavor = "multi_thread")]
async fn floods_of_http_2_end_their_connection_and_cost_little() {
    const PING: u8 = 6;
    const CONTINUATION: u8 = 9;
    const WINDOW_UPDATE: u8 = 8;
    const CALM: Flooded = Flooded::GoAway(11);
    const NO_ERROR: Flooded = Flooded::GoAway(0);
    /// What so many connections may have waiting for them, client, balancer and server together: windows of 1 MiB each, heads, TLS.
    const MOST: u64 = 64 << 20;
    const AT_ONCE: usize = 4;
    /// After so much of it a client is told to go: who had to wait for that would wait as long.
    const SILENCE: Duration = Duration::from_secs(3);
    // Of so many streams it is far more than may be kept of them.
    let large = vec![7; 400_000];
    let app = Backend::start(move |asked| {
        Some(if asked.path() == "/large" { ok(&large) } else { ok("app") })
    })
    .await;
    // Nobody answers here, and nobody reads.
    let silent = Server::new().await;
    let limits = "timeouts = { http_request = \"3s\", keep_alive = \"3s\", client = \"3s\" }\naccess_log = { format = \"off\" }";
    let text = format!(
        "[frontend.web]\nbind = [\"FRONT\"]\npool = \"app\"\nTLS\n{limits}\n\
         rules = [{{ when = \"method('POST')\", pool = \"silent\" }}]\n\
         [frontend.plain]\nbind = [\"PLAIN\"]\npool = \"app\"\naccess_log = {{ format = \"off\" }}\n\
         [pool.app]\nservers = [{{ name = \"a\", address = \"{}\" }}]\n\
         [pool.silent]\nservers = [{{ name = \"a\", address = \"{}\" }}]\n",
        app.address,
        silent.at()[0].1
    );
    let plain = world::address();
    let secure = Arc::new(Secure::of(&text.replace("PLAIN", &plain.to_string())).await);
    assert_eq!(Client::connect(plain).await.get("/").await.text(), "app");

    let get = b"\x82\x84\x87\x01\x0fwww.example.com".to_vec();
    let post = b"\x83\x84\x87\x01\x0fwww.example.com".to_vec();
    // `:path: /large`, in no table.
    let get_large = b"\x82\x04\x06/large\x87\x01\x0fwww.example.com".to_vec();
    let resets: Vec<u8> = (0..100_000)
        .flat_map(|number| {
            [frame(HEADERS, 5, 2 * number + 1, &get), reset(2 * number + 1)].concat()
        })
        .collect();
    // A field of 4000 octets that goes into the table, and thousands of references to it.
    let field = [&b"\x40\x01x\x7f\xa1\x1e"[..], &[b'y'; 4000]].concat();
    let bomb = [&get[..], &field, &[0xbe; 12_000]].concat();
    let windows_shut = [0, 4, 0, 0, 0, 0];
    let stalled: Vec<u8> =
        (0..100).flat_map(|number| frame(HEADERS, 5, 2 * number + 1, &get_large)).collect();
    let stalled = [frame(SETTINGS, 0, 0, &windows_shut), stalled].concat();
    let begin = frame(HEADERS, 4, 1, &post);
    let unfinished = frame(HEADERS, 0, 1, &get);
    let many = |one: Vec<u8>| one.repeat(1 + 65_536 / one.len());
    let table: Vec<Row> = vec![
        ("rapid reset", vec![], resets, 1, true, vec![CALM]),
        (
            "CONTINUATION",
            unfinished,
            frame(CONTINUATION, 0, 1, &[0; 16_000]),
            1000,
            true,
            vec![CALM, Flooded::GoAway(1), Flooded::GoAway(9)],
        ),
        (
            "empty CONTINUATION",
            frame(HEADERS, 0, 1, &get),
            many(frame(CONTINUATION, 0, 1, &[])),
            1000,
            true,
            vec![CALM, Flooded::GoAway(1)],
        ),
        (
            "PING, answers read",
            vec![],
            many(frame(PING, 0, 0, &[7; 8])),
            100_000,
            true,
            vec![NO_ERROR, Flooded::Closed],
        ),
        (
            "PING, none read",
            vec![],
            many(frame(PING, 0, 0, &[7; 8])),
            100_000,
            false,
            vec![NO_ERROR, Flooded::Closed],
        ),
        (
            "SETTINGS, answers read",
            vec![],
            many(frame(SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 9])),
            100_000,
            true,
            vec![NO_ERROR, Flooded::Closed],
        ),
        (
            "SETTINGS, none read",
            vec![],
            many(frame(SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 9])),
            100_000,
            false,
            vec![NO_ERROR, Flooded::Closed],
        ),
        (
            "WINDOW_UPDATE of nothing",
            vec![],
            many(frame(WINDOW_UPDATE, 0, 1, &[0; 4])),
            1000,
            true,
            vec![Flooded::GoAway(1)],
        ),
        (
            "DATA of one octet",
            begin.clone(),
            many(frame(DATA, 0, 1, b"y")),
            100_000,
            true,
            vec![CALM, NO_ERROR],
        ),
        ("DATA of none", begin, many(frame(DATA, 0, 1, b"")), 100_000, true, vec![CALM]),
        ("windows shut", stalled, vec![], 0, true, vec![NO_ERROR, Flooded::Closed]),
        ("an HPACK bomb", vec![], frame(HEADERS, 5, 1, &bomb), 1, true, vec![CALM]),
    ];
    let before = resident();
    let most = Arc::new(AtomicU64::new(0));
    let watched = Arc::clone(&most);
    let watch = tokio::spawn(async move {
        let mut ticks = interval(Duration::from_millis(10));
        loop {
            ticks.tick().await;
            watched.fetch_max(resident(), Relaxed);
        }
    });
    for (what, first, again, times, reads, expected) in table {
        most.store(0, Relaxed);
        let witness = Witness::start(plain);
        let mut floods = JoinSet::new();
        for _ in 0..AT_ONCE {
            let (secure, first, again) = (Arc::clone(&secure), first.clone(), again.clone());
            floods.spawn(async move { flood(&secure, first, again, times, reads).await });
        }
        while let Some(ended) = timeout(LONG, floods.join_next()).await.unwrap() {
            let ended = ended.unwrap();
            assert!(expected.contains(&ended), "{what}: {ended:?}");
        }
        let grown = most.load(Relaxed).saturating_sub(before);
        let ours = (first.len() + again.len()) as u64 * AT_ONCE as u64;
        assert!(grown < MOST + ours, "{what}: {} KiB", grown >> 10);
        witness.end_within(what, SILENCE - Duration::from_millis(200)).await;
    }
    watch.abort();
}
