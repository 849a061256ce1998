//! Real sockets of loopback: what is carried, and how it ends.

use std::io::ErrorKind;
use std::net::Ipv4Addr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::time::timeout;

use super::*;

const PATIENT: Patience =
    Patience { idle: Duration::from_secs(60), half_closed: Duration::from_secs(60) };
const DEADLINE: Duration = Duration::from_secs(20);

/// Both ends of a connection.
async fn connected() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let at = listener.local_addr().unwrap();
    let (ours, theirs) = tokio::join!(TcpStream::connect(at), listener.accept());
    (ours.unwrap(), theirs.unwrap().0)
}

/// A client and a server, each with the end that is its own, and how a relay between them ends.
async fn between<F: Future>(
    patience: Patience,
    story: impl FnOnce(TcpStream, TcpStream) -> F,
) -> (End, Flow, F::Output) {
    let (client, mut from_client) = connected().await;
    let (server, mut to_server) = connected().await;
    let (carry, flow) = (Carry::new(), Flow::new());
    let relayed = async {
        let end = relay(&mut from_client, &mut to_server, &carry, patience, &flow).await;
        drop((from_client, to_server));
        end
    };
    let both = async { tokio::join!(relayed, story(client, server)) };
    let (end, told) = timeout(DEADLINE, both).await.expect("it ends");
    (end, flow, told)
}

fn octets(count: usize, seed: u64) -> Vec<u8> {
    let mut state = seed | 1;
    let mut next = || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    (0..count).map(|_| next()).collect()
}

#[tokio::test]
async fn a_word_and_its_answer_pass() {
    let story = async |mut client: TcpStream, mut server: TcpStream| {
        client.write_all(b"hello").await.unwrap();
        let mut word = [0; 5];
        server.read_exact(&mut word).await.unwrap();
        server.write_all(b"welcome").await.unwrap();
        let mut answer = [0; 7];
        client.read_exact(&mut answer).await.unwrap();
        (word, answer)
    };
    let (end, flow, told) = between(PATIENT, story).await;
    assert!(matches!(end, End::Closed), "{end:?}");
    assert_eq!((&told.0, &told.1), (b"hello", b"welcome"));
    assert_eq!((flow.up(), flow.down()), (5, 7));
}

#[tokio::test]
async fn who_has_said_its_last_is_still_answered() {
    let story = async |mut client: TcpStream, mut server: TcpStream| {
        client.write_all(b"all I have to say").await.unwrap();
        client.shutdown().await.unwrap();
        let mut said = Vec::new();
        server.read_to_end(&mut said).await.unwrap();
        // Only now, with the client's direction long closed.
        server.write_all(&said).await.unwrap();
        drop(server);
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).await.unwrap();
        answer
    };
    let (end, _, answer) = between(PATIENT, story).await;
    assert!(matches!(end, End::Closed), "{end:?}");
    assert_eq!(answer, b"all I have to say");
}

/// Megabytes both ways at once, and a reader that sleeps over its first: pipes fill, and nothing is lost or swapped.
#[tokio::test]
async fn much_arrives_whole_however_slowly_it_is_read() {
    const MUCH: usize = 6 << 20;
    let story = async |mut client: TcpStream, mut server: TcpStream| {
        let (mut from_client, mut to_client) = client.split();
        let (mut from_server, mut to_server) = server.split();
        let mut received = (Vec::new(), Vec::new());
        let speak = async |to: &mut tokio::net::tcp::WriteHalf<'_>, seed| {
            to.write_all(&octets(MUCH, seed)).await.unwrap();
            to.shutdown().await.unwrap();
        };
        let mut slowly = async |into: &mut Vec<u8>| {
            // Until the writer can write no more, everything on the way is full.
            tokio::task::yield_now().await;
            let mut some = vec![0; 999];
            loop {
                match from_server.read(&mut some).await.unwrap() {
                    0 => break,
                    count => into.extend_from_slice(&some[..count]),
                }
            }
        };
        tokio::join!(
            speak(&mut to_client, 1),
            speak(&mut to_server, 2),
            slowly(&mut received.0),
            async { from_client.read_to_end(&mut received.1).await.unwrap() },
        );
        received
    };
    let (end, flow, (up, down)) = between(PATIENT, story).await;
    assert!(matches!(end, End::Closed), "{end:?}");
    assert!(up == octets(MUCH, 1) && down == octets(MUCH, 2), "as it was sent");
    assert_eq!((flow.up(), flow.down()), (MUCH as u64, MUCH as u64));
}

#[tokio::test]
async fn who_breaks_off_is_named() {
    let reset = |stream: TcpStream| stream.set_zero_linger().unwrap();
    let (end, _, kind) = between(PATIENT, async |client: TcpStream, mut server: TcpStream| {
        reset(client);
        server.read(&mut [0; 16]).await.map_err(|error| error.kind())
    })
    .await;
    assert!(matches!(end, End::Broken(Side::Client, _)), "{end:?}");
    // The relay was given up, and with it the server's connection.
    assert!(matches!(kind, Ok(0) | Err(ErrorKind::ConnectionReset)), "{kind:?}");
    let (end, _, _) = between(PATIENT, async |mut client: TcpStream, server: TcpStream| {
        reset(server);
        client.read(&mut [0; 16]).await.map_err(|error| error.kind())
    })
    .await;
    assert!(matches!(end, End::Broken(Side::Server, _)), "{end:?}");
}

#[tokio::test]
async fn where_nothing_moves_it_ends() {
    let idle = Patience { idle: Duration::from_millis(50), ..PATIENT };
    let (end, _, _) = between(idle, async |mut client: TcpStream, mut server: TcpStream| {
        tokio::join!(async { client.read(&mut [0; 1]).await.unwrap() }, async {
            server.read(&mut [0; 1]).await.unwrap()
        })
    })
    .await;
    assert!(matches!(end, End::Idle), "{end:?}");
    let half_closed = Patience { half_closed: Duration::from_millis(50), ..PATIENT };
    let (end, flow, _) =
        between(half_closed, async |mut client: TcpStream, mut server: TcpStream| {
            client.write_all(b"bye").await.unwrap();
            client.shutdown().await.unwrap();
            let mut said = Vec::new();
            server.read_to_end(&mut said).await.unwrap();
            // And never answers: that the client's end closes is the relay's doing.
            client.read(&mut [0; 1]).await.unwrap()
        })
        .await;
    assert!(matches!(end, End::HalfClosed(Side::Client)), "{end:?}");
    assert_eq!(flow.up(), 3);
}

#[tokio::test]
async fn pipes_are_given_back() {
    let carry = Carry::new();
    for _ in 0..3 {
        let ((mut client, mut from_client), (mut server, mut to_server)) =
            (connected().await, connected().await);
        let flow = Flow::new();
        let story = async {
            client.write_all(&octets(1 << 20, 3)).await.unwrap();
            drop(client);
            let mut said = Vec::new();
            server.read_to_end(&mut said).await.unwrap();
            drop(server);
            said.len()
        };
        let relayed = relay(&mut from_client, &mut to_server, &carry, PATIENT, &flow);
        let (_, received) =
            timeout(DEADLINE, async { tokio::join!(relayed, story) }).await.expect("it ends");
        assert_eq!(received, 1 << 20);
    }
    assert_eq!(carry.spares(), 1, "one at a time, and it comes back");
}
