//! One look at peers that do right and wrong, over real sockets.

use std::sync::Arc;

use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, UdpSocket};
use tokio_rustls::TlsAcceptor;

use super::*;

/// What a peer does with each connection, after it has read something if it is to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Peer {
    Says(&'static str),
    /// Reads, then says.
    Answers(&'static str),
    /// Reads, says, and then neither speaks nor ends.
    Stalls(&'static str),
    Closes,
}

async fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

async fn converse(
    mut stream: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
    peer: Peer,
) {
    let mut asked = [0; 4096];
    match peer {
        Peer::Says(text) => drop(stream.write_all(text.as_bytes()).await),
        Peer::Answers(text) => {
            let _ = stream.read(&mut asked).await;
            let _ = stream.write_all(text.as_bytes()).await;
        }
        Peer::Stalls(text) => {
            let _ = stream.read(&mut asked).await;
            let _ = stream.write_all(text.as_bytes()).await;
            let _ = stream.flush().await;
            std::future::pending::<()>().await;
        }
        Peer::Closes => {}
    }
    let _ = stream.shutdown().await;
}

fn target(at: SocketAddr, check: &str) -> Target {
    let json = format!(
        r#"{{"address":"{}","port":{},"host":"www.example.com","check":{{{check},
           "interval_ms":5000,"timeout_ms":2000,"rise":2,"fall":3,"ok":2}}}}"#,
        at.ip(),
        at.port()
    );
    let target: Target = serde_json::from_str(&json).unwrap();
    assert_eq!(target.faults(), [], "{check}");
    target
}

fn looker(roots: Vec<CertificateDer<'static>>) -> Looker {
    let (roots, programs) = (Roots::of(roots).unwrap(), Programs::new(Default::default()));
    Looker { who: Who::Probe, roots, programs }
}

fn self_signed(names: &[&str]) -> CertifiedKey<rcgen::KeyPair> {
    generate_simple_self_signed(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>())
        .unwrap()
}

fn told(seen: &Seen) -> String {
    match &seen.outcome {
        Ok(()) => "up".to_owned(),
        Err(Failure { reason, detail }) => format!("{reason}: {detail}"),
    }
}

/// One look at a peer that does this.
async fn check(peer: Peer, how: &str, expected: &str) {
    let (listener, address) = listener().await;
    let serving =
        tokio::spawn(async move { converse(listener.accept().await.unwrap().0, peer).await });
    let anybody = self_signed(&["www.example.com"]).cert.der().clone();
    let seen = looker(vec![anybody]).look(&target(address, how)).await;
    assert!(told(&seen).starts_with(expected), "{peer:?} {how}: {}", told(&seen));
    serving.abort();
}

#[tokio::test]
async fn a_connection_is_enough_for_tcp() {
    check(Peer::Closes, r#""kind":"tcp""#, "up").await;
    let (listener, address) = listener().await;
    drop(listener);
    let anybody = self_signed(&["www.example.com"]).cert.der().clone();
    let seen = looker(vec![anybody]).look(&target(address, r#""kind":"tcp""#)).await;
    assert!(told(&seen).starts_with("refused: connecting: "), "{}", told(&seen));
}

#[tokio::test]
async fn a_word_has_its_answer() {
    let ping = r#""kind":"tcp","send":"PING\r\n","expect":{"contains":"PONG"}"#;
    check(Peer::Answers("+PONG\r\n"), ping, "up").await;
    check(Peer::Stalls("+PONG\r\n"), ping, "up").await;
    check(Peer::Answers("-ERR\r\n"), ping, "answer: ended after 6 octets without \"PONG\"").await;
    check(Peer::Stalls("-ERR\r\n"), ping, "timeout: the rest of the answer took longer than 2s")
        .await;
    let greeting = r#""kind":"tcp","expect":{"matches":"^220 "}"#;
    check(Peer::Says("220 mail.example.com\r\n"), greeting, "up").await;
    check(Peer::Closes, greeting, "answer: ended after 0 octets").await;
}

#[tokio::test]
async fn an_answer_is_judged_by_status_header_and_body() {
    let get = r#""kind":"http","path":"/""#;
    check(Peer::Answers("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"), get, "up").await;
    check(
        Peer::Answers("HTTP/1.1 503 No\r\ncontent-length: 0\r\n\r\n"),
        get,
        "status: answered 503, expected 200-299",
    )
    .await;
    // Who answers is up, however long the rest takes that nobody asked for.
    check(Peer::Stalls("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n"), get, "up").await;
    let body = r#""kind":"http","path":"/","expect_body":{"contains":"ok"}"#;
    check(Peer::Answers("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"), body, "up").await;
    check(
        Peer::Answers("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nno"),
        body,
        "body: \"ok\" is not in the body of 2 octets",
    )
    .await;
    check(Peer::Answers("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nno"), body, "closed: ").await;
    let header =
        r#""kind":"http","path":"/","expect_headers":[{"name":"x-up","value":{"matches":"^y"}}]"#;
    check(Peer::Answers("HTTP/1.1 200 OK\r\nx-up: n\r\nx-up: yes\r\n\r\n"), header, "up").await;
    check(
        Peer::Answers("HTTP/1.1 200 OK\r\n\r\n"),
        header,
        "header: answered without a header x-up",
    )
    .await;
    check(
        Peer::Answers("HTTP/1.1 200 OK\r\nx-up: n\r\n\r\n"),
        header,
        "header: answered x-up: \"n\", expected something like \"^y\"",
    )
    .await;
    check(Peer::Answers("SSH-2.0-x\r\n"), get, "malformed: ").await;
    check(Peer::Closes, get, "closed: ").await;
}

#[tokio::test]
async fn no_more_than_a_bound_is_read() {
    const LONG: &str = match std::str::from_utf8(&[b'a'; MOST_READ]) {
        Ok(long) => long,
        Err(_) => unreachable!(),
    };
    let expect = r#""kind":"tcp","expect":{"contains":"b"}"#;
    check(Peer::Says(LONG), expect, "answer: 16384 octets came without \"b\"").await;
}

async fn look_within_tls(names: &[&str], how: &str) -> (Seen, Seen) {
    let CertifiedKey { cert, signing_key } = self_signed(names);
    let key = PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
    let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)
        .unwrap();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let (listener, address) = listener().await;
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let answer = Peer::Answers("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
    let serving = tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            if let Ok(stream) = acceptor.accept(stream).await {
                converse(stream, answer).await;
            }
        }
    });
    let target = target(address, how);
    let trusting = looker(vec![cert.der().clone()]).look(&target).await;
    let other = self_signed(&["www.example.com"]).cert.der().clone();
    let distrusting = looker(vec![other]).look(&target).await;
    serving.abort();
    (trusting, distrusting)
}

#[tokio::test]
async fn a_certificate_is_verified_and_its_end_is_known_all_the_same() {
    for how in [r#""kind":"tls""#, r#""kind":"https","path":"/""#] {
        let (trusting, distrusting) = look_within_tls(&["www.example.com"], how).await;
        assert_eq!(told(&trusting), "up", "{how}");
        assert!(told(&distrusting).starts_with("certificate: "), "{how}: {}", told(&distrusting));
        assert!(trusting.not_after.is_some() && distrusting.not_after.is_some(), "{how}");
        let (wrong_name, _) = look_within_tls(&["mail.example.com"], how).await;
        assert!(told(&wrong_name).starts_with("certificate: "), "{how}: {}", told(&wrong_name));
    }
    let (_, unverified) =
        look_within_tls(&["mail.example.com"], r#""kind":"https","path":"/","verify":"nothing""#)
            .await;
    assert_eq!(told(&unverified), "up");
    let (no_h2, _) =
        look_within_tls(&["www.example.com"], r#""kind":"https","path":"/","version":"2""#).await;
    assert!(told(&no_h2).starts_with("handshake: "), "{}", told(&no_h2));
    check(Peer::Answers("no TLS at all"), r#""kind":"tls""#, "handshake: ").await;
}

#[tokio::test]
async fn dns_takes_the_answer_to_its_own_query_only() {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let serving = tokio::spawn(async move {
        let mut query = [0; 512];
        let (length, peer) = socket.recv_from(&mut query).await.unwrap();
        let answer = |id: u8, flags: u8, rcode: u8| {
            let mut answer = query[..length].to_vec();
            (answer[1], answer[2], answer[3]) = (answer[1] ^ id, 0x80 | flags, rcode);
            answer
        };
        for answer in [answer(1, 0, 0), vec![1, 2, 3], answer(0, 0, 5)] {
            socket.send_to(&answer, peer).await.unwrap();
        }
    });
    let anybody = self_signed(&["www.example.com"]).cert.der().clone();
    let how = r#""kind":"dns","name":"example.com","rtype":"SOA""#;
    let seen = looker(vec![anybody]).look(&target(address, how)).await;
    assert!(told(&seen).starts_with("answer: answered Query Refused"), "{}", told(&seen));
    serving.await.unwrap();
}

#[tokio::test]
async fn a_program_says_by_its_exit_code() {
    let program = |script: &str| Program {
        path: "/bin/sh".into(),
        arguments: vec!["-c".to_owned(), script.to_owned()],
    };
    let programs = [
        (
            "good",
            "test \"$GSLB_ADDRESS:$GSLB_PORT\" = 127.0.0.1:9 && test \"$GSLB_HOST\" = www.example.com",
        ),
        ("bad", "echo replication lags; exit 3"),
        ("slow", "exec sleep 60"),
        ("large", "head -c 100000 /dev/zero; exit 1"),
        ("bare", "test -z \"$HOME\""),
    ];
    let programs = programs.map(|(name, script)| (name.to_owned(), program(script)));
    let anybody = self_signed(&["www.example.com"]).cert.der().clone();
    let looker = Looker {
        who: Who::Probe,
        roots: Roots::of(vec![anybody]).unwrap(),
        programs: Programs::new(programs.into_iter().collect()),
    };
    for (name, expected) in [
        ("good", "up"),
        ("bare", "up"),
        ("bad", "program: exit status: 3: replication lags"),
        ("large", "program: "),
        ("slow", "timeout: "),
        ("none", "probe: this probe's config has no [program.none]"),
    ] {
        let how = format!(r#""kind":"external","program":"{name}""#);
        let seen = looker.look(&target("127.0.0.1:9".parse().unwrap(), &how)).await;
        assert!(told(&seen).starts_with(expected), "{name}: {}", told(&seen));
    }
}

#[tokio::test]
async fn a_server_is_told_who_looks() {
    for (who, name) in [(Who::Probe, "gslb-probe/"), (Who::Balancer, "site-agent/")] {
        let (listener, address) = listener().await;
        let serving = tokio::spawn(async move {
            let mut asked = [0; 4096];
            let (mut stream, _) = listener.accept().await.unwrap();
            let length = stream.read(&mut asked).await.unwrap();
            String::from_utf8_lossy(&asked[..length]).into_owned()
        });
        let anybody = self_signed(&["www.example.com"]).cert.der().clone();
        let looker = Looker { who, ..looker(vec![anybody]) };
        looker.look(&target(address, r#""kind":"http","path":"/""#)).await;
        let asked = serving.await.unwrap();
        assert!(asked.contains(&format!("user-agent: {name}")), "{asked}");
    }
}

#[tokio::test]
async fn where_a_balancer_has_no_way_nobody_has() {
    // No connection goes to everybody at once, nor a datagram without leave: no way, on every machine.
    let everybody = "255.255.255.255:80".parse().unwrap();
    for (who, expected) in
        [(Who::Probe, "probe: no way there from here: "), (Who::Balancer, "unreachable: ")]
    {
        let anybody = self_signed(&["www.example.com"]).cert.der().clone();
        let looker = Looker { who, ..looker(vec![anybody]) };
        let seen = looker.look(&target(everybody, r#""kind":"tcp""#)).await;
        assert!(told(&seen).starts_with(expected), "{who:?}: {}", told(&seen));
    }
}
