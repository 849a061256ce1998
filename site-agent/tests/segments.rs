//! What goes as one segment, by the kernel's count: an end with the last octets, first words with a handshake. And who is
//! still heard behind the end.

#![expect(clippy::unwrap_used, reason = "what a test cannot go on without may as well end it")]

mod world;

use socket2::SockRef;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use world::http2::Secure;
use world::segments::{segments, settled};
use world::{Client, Server, World, config, ok};

/// As how many segments one end's last octets, and that they are, come to the other.
async fn last_words(from: &mut Client, to: &mut Client) -> u32 {
    let before = settled(&to.stream).await;
    // As one segment, so that nobody hears the one without the other.
    SockRef::from(&from.stream).set_tcp_cork(true).unwrap();
    from.say("bye").await;
    from.stream.shutdown().await.unwrap();
    assert_eq!(to.rest().await, b"bye");
    segments(&to.stream).came - before.came
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_comes_with_the_last_octets() {
    let server = Server::new().await;
    let world = World::start(&config("mode = \"tcp\"", "mode = \"tcp\"", &server.at())).await;
    let mut client = world.client().await;
    client.say("hello").await;
    let mut side = server.accept().await;
    side.octets(5).await;
    assert_eq!(last_words(&mut side, &mut client).await, 1);
    // Who is the last of the two to say it is told on by the close of all.
    assert_eq!(last_words(&mut client, &mut side).await, 1);
}

/// Whether what is said behind the other side's end is still taken.
async fn is_heard(stream: &mut TcpStream) -> bool {
    stream.write_all(b"more").await.unwrap();
    settled(stream).await;
    stream.take_error().unwrap().is_none()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_last_answer_comes_with_the_end_and_who_has_said_all_is_heard_no_more() {
    let server = Server::new().await;
    let world = World::start(&config("", "", &server.at())).await;
    let close = "Host: a\r\nConnection: close\r\n";
    for (request, may_say_more) in [
        (format!("GET / HTTP/1.1\r\n{close}\r\n"), false),
        ("GET / HTTP/1.0\r\nHost: a\r\n\r\n".to_owned(), false),
        // Who has said more than a head may not have come to the end of it.
        (format!("POST / HTTP/1.1\r\n{close}Content-Length: 3\r\n\r\nabc"), true),
        (format!("GET / HTTP/1.1\r\n{close}\r\nGET /next"), true),
    ] {
        let mut client = world.client().await;
        client.say(&request).await;
        let (mut side, _) = server.asked().await;
        let before = settled(&client.stream).await;
        side.say(ok("last")).await;
        let answer = String::from_utf8(client.rest().await).unwrap();
        assert!(answer.contains("Connection: close\r\n") && answer.ends_with("last"), "{answer}");
        assert_eq!(segments(&client.stream).came - before.came, 1, "{request}");
        assert_eq!(is_heard(&mut client.stream).await, may_say_more, "{request}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_not_asked_for_the_end_or_speaks_tls_is_heard_behind_it() {
    let server = Server::new().await;
    let world = World::start(&config("", "", &server.at())).await;
    let mut client = world.client().await;
    client.say("GET / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n").await;
    let (mut side, _) = server.asked().await;
    side.say("HTTP/1.1 200 OK\r\n\r\nlast").await;
    drop(side);
    assert!(client.rest().await.ends_with(b"last"));
    assert!(is_heard(&mut client.stream).await);
    let secure = Secure::start("", "", &server.at()).await;
    let mut client = secure.shake_hands(&[b"http/1.1"]).await;
    let request = b"GET / HTTP/1.1\r\nHost: www.example.com\r\nConnection: close\r\n\r\n";
    client.write_all(request).await.unwrap();
    let (mut side, _) = server.asked().await;
    side.say(ok("last")).await;
    let mut answer = vec![];
    client.read_to_end(&mut answer).await.unwrap();
    assert!(answer.ends_with(b"last"));
    assert!(is_heard(client.get_mut().0).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn first_words_come_with_the_handshake() {
    const TRIES: usize = 20;
    let (server, header) = (Server::new().await, "PROXY TCP4 192.0.2.7 198.51.100.2 4711 443\r\n");
    // What is said behind a header has come with it.
    let frontend = "mode = \"tcp\"\naccept_proxy = [\"127.0.0.0/8\"]";
    let world = World::start(&config(frontend, "mode = \"tcp\"", &server.at())).await;
    let empty = |side: &Client| {
        let segments = segments(&side.stream);
        segments.came - segments.with_octets
    };
    let mut silent = world.client().await;
    silent.say(header).await;
    let without_words = empty(&server.accept().await);
    // An ACK waits for words for some tens of milliseconds: on a busy machine it may go alone now and then.
    for _ in 0..TRIES {
        let mut client = world.client().await;
        client.say(format!("{header}hello")).await;
        let mut side = server.accept().await;
        side.octets(5).await;
        if empty(&side) < without_words {
            return;
        }
    }
    panic!("each of {TRIES} handshakes had an ACK without words");
}
