//! The control listener at its limits: connections, handshakes, requests, octets and time.

#![expect(clippy::unwrap_used, reason = "what a test cannot go on without may as well end it")]

use std::time::Duration;

use common::report::LARGEST;
use gslb_dns::control::Limits;
use gslb_tests::control::{Client, Listening, Report, Sent, VANTAGE};
use gslb_tests::pki::{Ca, Holder};
use gslb_tests::wait::PATIENCE;
use hyper::Request;
use hyper::body::Bytes;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;

const REPORT: &str = "POST /v1/report";
const ASSIGNMENT: &str = "GET /v1/assignment";
const OTHER: &str = "gslb://test/probe/fra";
/// Who does nothing wrong is served within it, too.
const SHORT: Duration = Duration::from_millis(1500);

async fn is_served(client: &Client) {
    assert_eq!(client.ask(ASSIGNMENT, "").await.status, 200);
}

/// A report that has begun and does not end, and what becomes of it.
fn endless(client: &Client) -> (mpsc::Sender<Bytes>, JoinHandle<u16>) {
    let (sender, sent) = Sent::piecemeal();
    let answered = client.send(REPORT, sent);
    (sender, tokio::spawn(async move { answered.await.unwrap().status }))
}

fn blanks(length: usize) -> Vec<u8> {
    vec![b' '; length]
}

#[tokio::test(flavor = "multi_thread")]
async fn the_quietest_connection_leaves_for_a_new_one() {
    let ca = Ca::new("ca");
    let limits = Limits { connections: 3, connections_per_principal: 2, ..Limits::OURS };
    let listening = Listening::start(&ca, limits);
    let (ams, fra, nrt) = (ca.issue(VANTAGE), ca.issue(OTHER), ca.issue("gslb://test/probe/nrt"));
    let first = listening.connect(&ams).await;
    is_served(&first).await;
    let second = listening.connect(&ams).await;
    is_served(&second).await;
    is_served(&first).await;
    assert_eq!(listening.metrics.control.connections.get(), 2);
    // Its own, and of those the quieter.
    let third = listening.connect(&ams).await;
    second.ended().await;
    is_served(&first).await;
    is_served(&third).await;
    assert_eq!(listening.closed("principal_full"), 1);
    let fourth = listening.connect(&fra).await;
    is_served(&fourth).await;
    assert_eq!((listening.metrics.control.connections.get(), listening.closed("full")), (3, 0));
    let fifth = listening.connect(&nrt).await;
    first.ended().await;
    assert_eq!(fifth.ask(ASSIGNMENT, "").await.status, 403);
    assert_eq!(listening.closed("full"), 1);
    is_served(&third).await;
    drop((third, fourth, fifth));
    listening.until("all have left", |all| all.metrics.control.connections.get() == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_shakes_no_hands_holds_nobody_off() {
    let ca = Ca::new("ca");
    let limits = Limits { handshakes: 2, connections: 1, ..Limits::OURS };
    let listening = Listening::start(&ca, limits);
    let client = listening.connect(&ca.issue(VANTAGE)).await;
    is_served(&client).await;
    let mut silent = vec![];
    for _ in 0..5 {
        silent.push(TcpStream::connect(listening.address).await.unwrap());
    }
    listening.until("three had to leave", |all| all.handshakes("crowded") == 3).await;
    is_served(&client).await;
    assert_eq!(silent[0].read(&mut [0]).await.unwrap_or(0), 0, "closed");
    let again = listening.connect(&ca.issue(VANTAGE)).await;
    is_served(&again).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handshake_has_its_time() {
    let ca = Ca::new("ca");
    let listening = Listening::start(&ca, Limits { handshake: SHORT, ..Limits::OURS });
    let _silent = TcpStream::connect(listening.address).await.unwrap();
    listening.until("it was late", |all| all.handshakes("late") == 1).await;
    is_served(&listening.connect(&ca.issue(VANTAGE)).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_asks_nothing_is_closed() {
    let ca = Ca::new("ca");
    let limits = Limits { idle: SHORT, body: PATIENCE, ..Limits::OURS };
    let listening = Listening::start(&ca, limits);
    let (quiet, busy) = (listening.connect(&ca.issue(VANTAGE)).await, ca.issue(OTHER));
    let busy = listening.connect(&busy).await;
    // Under way for as long as it takes the other to be closed.
    let (sender, answered) = endless(&busy);
    sender.send(blanks(1).into()).await.unwrap();
    quiet.ended().await;
    assert_eq!(listening.closed("idle"), 1);
    drop(sender);
    assert_eq!(answered.await.unwrap(), 422);
    busy.ended().await;
    assert_eq!(listening.closed("idle"), 2);
}

#[tokio::test]
async fn a_principal_asks_so_often() {
    let ca = Ca::new("ca");
    let limits = Limits { pause: Duration::from_secs(70), burst: 3, ..Limits::OURS };
    let listening = Listening::start(&ca, limits);
    let holder = ca.issue(VANTAGE);
    let (first, second) = (listening.connect(&holder).await, listening.connect(&holder).await);
    is_served(&first).await;
    assert_eq!(first.ask("GET /", "").await.status, 404);
    is_served(&second).await;
    for line in [REPORT, ASSIGNMENT, "GET /"] {
        let refused = second.ask(line, "").await;
        assert_eq!(refused.status, 429, "{refused:?}");
        let seconds: u64 = refused.header("retry-after").parse().unwrap();
        assert!((60..=70).contains(&seconds), "{seconds}");
        assert!(refused.body.contains("at most one report each 50 ms"), "{refused:?}");
    }
    assert_eq!(listening.reports("too_fast"), 1);
    // Others are not concerned.
    is_served(&listening.connect(&ca.issue(OTHER)).await).await;
}

#[tokio::test]
async fn a_principal_has_so_many_reports_under_way() {
    let ca = Ca::new("ca");
    let listening = Listening::start(&ca, Limits::OURS);
    let holder = ca.issue(VANTAGE);
    let (first, second) = (listening.connect(&holder).await, listening.connect(&holder).await);
    let (sender, one) = endless(&first);
    let (other_sender, other) = endless(&second);
    let both = [one, other];
    // What is taken from here has been asked for there.
    for sender in [&sender, &other_sender] {
        for _ in 0..3 {
            sender.send(blanks(200 << 10).into()).await.unwrap();
        }
    }
    let refused = second.ask(REPORT, Report::new(1, 1).octets()).await;
    assert_eq!((refused.status, refused.header("retry-after")), (429, "1"), "{refused:?}");
    let (else_sender, by_another) = endless(&listening.connect(&ca.issue(OTHER)).await);
    drop((sender, other_sender, else_sender));
    for answered in both {
        assert_eq!(answered.await.unwrap(), 422);
    }
    assert_eq!(by_another.await.unwrap(), 422);
    assert_eq!(second.ask(REPORT, Report::new(1, 1).octets()).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_that_is_taken_back_holds_nothing() {
    let ca = Ca::new("ca");
    let listening = Listening::start(&ca, Limits { large: 1, ..Limits::OURS });
    let client = listening.connect(&ca.issue(VANTAGE)).await;
    for _ in 0..10 {
        let (sender, answered) = endless(&client);
        // More than is sent before it is taken from there.
        for _ in 0..3 {
            sender.send(blanks(200 << 10).into()).await.unwrap();
        }
        answered.abort();
        assert!(answered.await.unwrap_err().is_cancelled());
        // It may take a moment to be noticed.
        while client.ask(REPORT, blanks(100_000)).await.status != 422 {}
    }
}

#[tokio::test]
async fn a_report_has_so_many_octets() {
    let ca = Ca::new("ca");
    let listening = Listening::start(&ca, Limits::OURS);
    let client = listening.connect(&ca.issue(VANTAGE)).await;
    let report = Report::new(1, 1).octets();
    let fitting = [report.clone(), blanks(LARGEST - report.len())].concat();
    assert_eq!(client.ask(REPORT, fitting.clone()).await.status, 200);
    let refused = client.ask(REPORT, [&fitting[..], b" "].concat()).await;
    assert_eq!(refused.status, 413, "{refused:?}");
    assert!(refused.body.contains("at most 8388608 octets"), "{refused:?}");
    // Counted, where nobody says how many they are.
    for (length, status) in [(LARGEST, 422), (LARGEST + 1, 413)] {
        let (sender, answered) = endless(&client);
        for piece in blanks(length).chunks(1 << 20) {
            // Nobody takes the rest of what is refused.
            let _ = sender.send(Bytes::copy_from_slice(piece)).await;
        }
        // Too many are refused before they have ended.
        let kept = (length > LARGEST).then_some(sender);
        assert_eq!(answered.await.unwrap(), status, "{length}");
        drop(kept);
    }
    // Nobody waits for what says itself that it is too long.
    let (sender, body) = Sent::promised(LARGEST + 1);
    assert_eq!(client.send(REPORT, body).await.unwrap().status, 413);
    drop(sender);
    assert_eq!(listening.reports("too_large"), 3);
}

#[tokio::test]
async fn a_large_report_needs_a_place() {
    let ca = Ca::new("ca");
    let limits = Limits { small: 10_000, large: 0, body: SHORT, ..Limits::OURS };
    let listening = Listening::start(&ca, limits.clone());
    let holder = ca.issue(VANTAGE);
    let client = listening.connect(&holder).await;
    assert_eq!(client.ask(REPORT, blanks(10_000)).await.status, 422);
    let refused = client.ask(REPORT, blanks(10_001)).await;
    assert_eq!((refused.status, refused.header("retry-after")), (503, "1"), "{refused:?}");
    assert_eq!(listening.reports("busy"), 1);

    // Where there is one, it is had by one after the other.
    let listening = Listening::start(&ca, Limits { large: 1, body: PATIENCE, ..limits });
    let clients = [listening.connect(&holder).await, listening.connect(&holder).await];
    let reports = clients.each_ref().map(|client| client.ask(REPORT, blanks(1 << 20)));
    let [first, second] = reports;
    let (first, second) = tokio::join!(first, second);
    assert_eq!((first.status, second.status), (422, 422));
}

#[tokio::test]
async fn a_report_has_its_time() {
    let ca = Ca::new("ca");
    let listening = Listening::start(&ca, Limits { body: SHORT, ..Limits::OURS });
    let client = listening.connect(&ca.issue(VANTAGE)).await;
    let (_sender, late) = endless(&client);
    assert_eq!(late.await.unwrap(), 408);
    assert_eq!(listening.reports("late"), 1);
    // It holds nothing any more.
    for _ in 0..3 {
        assert_eq!(client.ask(REPORT, blanks(1)).await.status, 422);
    }
}

#[tokio::test]
async fn a_report_waits_so_long_for_who_weighs_it() {
    let ca = Ca::new("ca");
    let (told, mut heard) = mpsc::channel(1);
    let limits = Limits { answer: SHORT, ..Limits::OURS };
    let listening = Listening::start_telling(&ca, limits, told);
    let client = listening.connect(&ca.issue(VANTAGE)).await;
    // The first stands in the queue and is not answered, the second has no room there.
    for seq in [1, 2] {
        let refused = client.ask(REPORT, Report::new(1, seq).octets()).await;
        assert_eq!((refused.status, refused.header("retry-after")), (503, "1"), "{refused:?}");
    }
    assert_eq!(heard.recv().await.unwrap().head.mark.seq, 1);
    assert!(heard.try_recv().is_err());
    // Nobody is there to weigh it.
    drop(heard);
    assert_eq!(client.ask(REPORT, Report::new(1, 3).octets()).await.status, 503);
    assert_eq!(listening.reports("busy"), 3);
}

#[tokio::test]
async fn a_head_has_so_many_octets() {
    let ca = Ca::new("ca");
    let listening = Listening::start(&ca, Limits::OURS);
    let client = listening.connect(&ca.issue(VANTAGE)).await;
    let ask = async |padding: usize| {
        let request = Request::get("https://dns1/v1/assignment").header("x", "y".repeat(padding));
        client.request(request.body(Sent::whole(Bytes::new())).unwrap()).await.unwrap().status
    };
    assert_eq!(ask(7 << 10).await, 200);
    assert_eq!(ask(9 << 10).await, 431);
}

/// The SETTINGS with which the other side begins (RFC 9113 §6.5).
async fn settings(listening: &Listening, holder: &Holder) -> Vec<(u16, u32)> {
    let mut stream = listening.bare(holder.credentials().client()).await.unwrap();
    // Our own: none.
    let empty_settings = [0, 0, 0, 4, 0, 0, 0, 0, 0];
    let preface = [&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], &empty_settings].concat();
    stream.write_all(&preface).await.unwrap();
    let mut head = [0; 9];
    timeout(PATIENCE, stream.read_exact(&mut head)).await.unwrap().unwrap();
    assert_eq!(head[3], 4, "SETTINGS: {head:?}");
    let mut payload = vec![0; usize::from(u16::from_be_bytes([head[1], head[2]]))];
    stream.read_exact(&mut payload).await.unwrap();
    let number =
        |octets: &[u8]| octets.iter().fold(0, |number, octet| number << 8 | u32::from(*octet));
    payload.chunks_exact(6).map(|one| (number(&one[..2]) as u16, number(&one[2..]))).collect()
}

#[tokio::test]
async fn a_connection_is_told_its_limits() {
    let ca = Ca::new("ca");
    let listening = Listening::start(&ca, Limits::OURS);
    let settings = settings(&listening, &ca.issue(VANTAGE)).await;
    for (setting, value) in [(3, 4), (4, 512 << 10), (6, 8 << 10)] {
        assert!(settings.contains(&(setting, value)), "{setting}: {settings:?}");
    }
}

/// What many do at once costs each of them nothing but time.
#[tokio::test(flavor = "multi_thread")]
async fn many_tell_at_once() {
    let ca = Ca::new("ca");
    let listening = Listening::start(&ca, Limits::OURS);
    listening.assigned.send_modify(|assigned| {
        let mut next = (**assigned).clone();
        next.vantages = (0..50).map(|number| format!("p{number}").into()).collect();
        *assigned = next.into();
    });
    let mut probes = tokio::task::JoinSet::new();
    for number in 0..50 {
        let client = listening.connect(&ca.issue(&format!("gslb://test/probe/p{number}"))).await;
        probes.spawn(async move {
            for seq in 1..=20 {
                let mut report = Report::new(1, seq).of(0..100);
                report.head.producer = format!("p{number}");
                assert_eq!(client.ask(REPORT, report.octets()).await.status, 200);
            }
        });
    }
    probes.join_all().await;
    assert_eq!(listening.reports("taken"), 1000);
}
