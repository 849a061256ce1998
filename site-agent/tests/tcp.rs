//! TCP through a balancer, to servers that say what a test wants.

#![expect(clippy::unwrap_used, reason = "what a test cannot go on without may as well end it")]
mod world;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use world::World;

/// Says what it is, then what it hears; once it has heard the last, how much that was.
struct Echo {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Echo {
    async fn start(name: &'static str) -> Echo {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&connections);
        let task = tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                count.fetch_add(1, SeqCst);
                tokio::spawn(async move {
                    stream.write_all(format!("{name}\n").as_bytes()).await.unwrap();
                    let (mut heard, mut octets) = (0, vec![0; 65_536]);
                    while let Ok(count) = stream.read(&mut octets).await {
                        if count == 0 {
                            break;
                        }
                        heard += count;
                        if stream.write_all(&octets[..count]).await.is_err() {
                            return;
                        }
                    }
                    let _ = stream.write_all(format!("\n{heard}").as_bytes()).await;
                });
            }
        });
        Echo { address, connections, task }
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn config(frontend: &str, pool: &str, servers: &[(&str, SocketAddr)], more: &str) -> String {
    let server = |(name, address): &(&str, SocketAddr)| {
        format!("{{ name = \"{name}\", address = \"{address}\"{more} }}")
    };
    let servers: Vec<_> = servers.iter().map(server).collect();
    format!(
        "[frontend.tcp]\nmode = \"tcp\"\nbind = [\"FRONT\"]\npool = \"app\"\n{frontend}\n\n\
         [pool.app]\nmode = \"tcp\"\n{pool}\nservers = [{}]\n",
        servers.join(", ")
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn octets_go_both_ways_and_the_last_word_is_told() {
    let echo = Echo::start("echo").await;
    let world = World::start(&config("", "", &[("a", echo.address)], "")).await;
    let mut client = world.client().await;
    assert_eq!(client.until(b"\n").await, b"echo\n");
    let large: Vec<u8> = (0..2_000_000u32).map(|number| (number % 249) as u8).collect();
    let (mut read, mut write) = client.stream.into_split();
    let sent = large.clone();
    let writing = tokio::spawn(async move {
        write.write_all(&sent).await.unwrap();
        write.shutdown().await.unwrap();
    });
    let mut heard = vec![];
    read.read_to_end(&mut heard).await.unwrap();
    writing.await.unwrap();
    assert!(heard[..large.len()] == large);
    assert_eq!(&heard[large.len()..], b"\n2000000");
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_are_shared_out_and_a_dead_server_is_passed_over() {
    let (one, other) = (Echo::start("one").await, Echo::start("other").await);
    let servers = [("one", one.address), ("dead", world::address()), ("other", other.address)];
    let world = World::start(&config("", "balance = \"round-robin\"", &servers, "")).await;
    for _ in 0..30 {
        let mut client = world.client().await;
        let name = client.until(b"\n").await;
        assert!(name == b"one\n" || name == b"other\n");
    }
    let (one, other) = (one.connections.load(SeqCst), other.connections.load(SeqCst));
    assert_eq!(one + other, 30);
    assert!(one >= 9 && other >= 9, "{one} {other}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_asked_for_is_told_by_the_proxy_protocol_from_end_to_end() {
    let echo = Echo::start("echo").await;
    for (version, is_text) in [("v1", true), ("v2", false)] {
        let frontend = "accept_proxy = [\"127.0.0.0/8\"]";
        let more = format!(", send_proxy = \"{version}\"");
        let world = World::start(&config(frontend, "", &[("a", echo.address)], &more)).await;
        let mut client = world.client().await;
        client.say("PROXY TCP4 192.0.2.7 198.51.100.2 4711 443\r\nhello").await;
        assert_eq!(client.until(b"\n").await, b"echo\n");
        if is_text {
            let expected = b"PROXY TCP4 192.0.2.7 198.51.100.2 4711 443\r\nhello";
            assert_eq!(client.octets(expected.len()).await, expected);
        } else {
            let header = client.octets(28).await;
            assert_eq!(
                header[12..],
                [0x21, 0x11, 0, 12, 192, 0, 2, 7, 198, 51, 100, 2, 0x12, 0x67, 1, 187]
            );
            assert_eq!(client.octets(5).await, b"hello");
        }
        // Without a header nobody is let in.
        let mut client = world.client().await;
        client.say("hello").await;
        assert!(client.is_closed().await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_close_and_choose() {
    let (app, other) = (Echo::start("app").await, Echo::start("other").await);
    let text = format!(
        "[frontend.tcp]\nmode = \"tcp\"\nbind = [\"FRONT\"]\npool = \"app\"\n\
         rules = [{{ when = \"RULE\", ACTION }}]\n\
         [pool.app]\nmode = \"tcp\"\nservers = [{{ name = \"a\", address = \"{}\" }}]\n\
         [pool.other]\nmode = \"tcp\"\nservers = [{{ name = \"b\", address = \"{}\" }}]\n",
        app.address, other.address
    );
    let with = |rule: &str, action: &str| text.replace("RULE", rule).replace("ACTION", action);
    let mut world = World::start(&with("src('127.0.0.0/8')", "pool = \"other\"")).await;
    assert_eq!(world.client().await.until(b"\n").await, b"other\n");
    world.reload(&with("src('127.0.0.0/8')", "deny = true"));
    // Each thread takes a config in its turn.
    let denied = async { while !world.client().await.until_end().await.is_empty() {} };
    tokio::time::timeout(world::LONG, denied).await.expect("nobody is let in");
}
