//! Many clients that are slow: each has its time, and others are served meanwhile.

mod world;

use std::time::Duration;

use common::clock::monotonic;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpSocket;
use tokio::task::JoinSet;
use tokio::time::{interval, timeout};
use world::witness::{LONG, Witness};
use world::{Backend, Client, Server, World, config, ok, until};

/// 51. Heads, bodies and reading that take their time: each has its limit, and others are served with 5000 of them there.
#[tokio::test(flavor = "multi_thread")]
async fn five_thousand_that_are_slow_are_told_so_and_cost_nobody_else_anything() {
    const HEADS: usize = 3900;
    const BODIES: usize = 1000;
    const READERS: usize = 100;
    const TIME: Duration = Duration::from_secs(10);
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).unwrap();
    let large = vec![7; 3_000_000];
    let app = Backend::start(move |asked| {
        Some(if asked.path() == "/large" { ok(&large) } else { ok("app") })
    })
    .await;
    // Takes what it is sent, and waits for the rest.
    let silent = Server::new().await;
    let [(_, address)] = silent.at();
    tokio::spawn(async move {
        let mut held = vec![];
        loop {
            held.push(silent.listener.accept().await.unwrap());
        }
    });
    // The limit of a head is the default; silence is cut as soon.
    let limits = "timeouts = { client = \"10s\" }\naccess_log = { format = \"off\" }\n\
                  rules = [{ when = \"method('POST')\", pool = \"silent\" }]";
    let text = config(limits, "", &[("a", app.address)]);
    let pool =
        format!("[pool.silent]\nservers = [{{ name = \"a\", address = \"{}\" }}]\n", address);
    let world = World::start(&(text + &pool)).await;
    let front = world.front;
    let (mut heads, mut bodies, mut readers) = (JoinSet::new(), JoinSet::new(), vec![]);
    for number in 0..HEADS {
        heads.spawn(async move {
            let mut client = Client::connect(front).await;
            client.say("GET / HTTP/1.1\r\nHost: a\r\nX: ").await;
            let began = monotonic();
            let (mut read, mut write) = client.stream.into_split();
            // An octet now and then: only silence of all would be told apart from that.
            let drip = async {
                let mut ticks = interval(Duration::from_secs(2));
                loop {
                    ticks.tick().await;
                    if write.write_all(b"y").await.is_err() {
                        std::future::pending::<()>().await;
                    }
                }
            };
            let mut told = vec![];
            let rest = async {
                let _ = read.read_to_end(&mut told).await;
            };
            tokio::select! { () = drip => {}, () = rest => {} }
            (number, monotonic().saturating_sub(began), told)
        });
    }
    for _ in 0..BODIES {
        bodies.spawn(async move {
            let mut client = Client::connect(front).await;
            client.say("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nab").await;
            let began = monotonic();
            let answer = client.answer().await;
            (answer.status(), monotonic().saturating_sub(began))
        });
    }
    for _ in 0..READERS {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        let mut client = Client::over(socket.connect(front).await.unwrap());
        client.say("GET /large HTTP/1.1\r\nHost: a\r\n\r\n").await;
        readers.push(client);
    }
    let there = |pool: usize| world.agent.shown().upstreams[pool].servers()[0].in_flight();
    until(|| there(0) == READERS as u32 && there(1) == BODIES as u32).await;
    // The server itself has taken all of them: a queue of its own is nothing that we cost anybody.
    until(|| app.connections() == READERS).await;
    let witness = Witness::start(front);
    while let Some(done) = timeout(LONG, heads.join_next()).await.unwrap() {
        let (number, took, told) = done.unwrap();
        assert!(told.starts_with(b"HTTP/1.1 408 "), "{number}: {}", told.escape_ascii());
        assert!(took > TIME - Duration::from_secs(1) && took < TIME * 2, "{took:?}");
    }
    while let Some(done) = timeout(LONG, bodies.join_next()).await.unwrap() {
        let (status, took) = done.unwrap();
        assert_eq!(status, 408);
        assert!(took > TIME - Duration::from_secs(1) && took < TIME * 2, "{took:?}");
    }
    // Who does not read is cut, and its server is free for others.
    let free = async {
        let mut ticks = interval(Duration::from_millis(50));
        while there(0) > 1 || there(1) > 0 {
            ticks.tick().await;
        }
    };
    timeout(LONG, free).await.expect("nobody holds a server");
    // Who waits for one of them waits so long.
    witness.end_within("slow clients", TIME / 2).await;
    drop(readers);
}
