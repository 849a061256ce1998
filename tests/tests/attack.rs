//! The binary under attack, over loopback: floods in the name of a victim, garbage, and secrets that change.

#![expect(clippy::unwrap_used, reason = "what a test cannot go on without may as well end it")]

use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use gslb_tests::dice::Dice;
use gslb_tests::resolver::{Resolver, Stream, query};
use gslb_tests::server::{Server, program, run};
use gslb_tests::wait::{PATIENCE, Stopping, now, until};
use gslb_tests::world::{Files, World};
use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::rdata::opt::{EdnsCode, EdnsOption};
use hickory_proto::rr::{Name, RecordType};
use rustix::process::Signal;

const ZONE: &str = "
$TTL 1h
@    SOA ns1 hostmaster 1 4h 15m 2w 5
     NS  ns1
ns1  A   198.51.100.53
many A   10.0.0.1
$GENERATE 2-60 many A 10.0.0.$
";
const WORLD: &str = "[zone.\"example.com\"]\nfile = \"example.com.zone\"\n";
const SECRETS: [&str; 2] =
    ["445536bcd2513298075a5d379663c962\n", "dd3bdf9344b678b185a6f5cb60fca715\n"];
const RATE: usize = 20;
/// Between two bursts of garbage, so that the queues overflow now and then and not always.
const PACE: Duration = Duration::from_millis(1);
/// What a socket's receive queue takes without being read.
const BURST: usize = 100;
/// The victim's network; all of 127.0.0.0/8 is this machine.
const VICTIM: Ipv4Addr = Ipv4Addr::new(127, 7, 7, 7);
const NEIGHBOUR: Ipv4Addr = Ipv4Addr::new(127, 7, 8, 7);
const CLIENT_COOKIE: [u8; 8] = *b"a client";

fn started() -> (World, Server) {
    let world = World::write(&Files { world: WORLD, zone: ZONE, places: "" }).unwrap();
    let node = fs::read_to_string(world.node()).unwrap();
    let guarded = node.replace("[dns]\n", "[dns]\ncookie_secret = \"cookie.key\"\nthreads = 2\n");
    let limit = format!("\n[dns.rate_limit]\nanswers_per_second = {RATE}\n");
    fs::write(world.node(), guarded + &limit).unwrap();
    fs::write(world.path("cookie.key"), SECRETS[0]).unwrap();
    let server = Server::start(&world.node()).unwrap();
    (world, server)
}

fn asked() -> Vec<u8> {
    let name: Name = "many.example.com.".parse().unwrap();
    query(&name, RecordType::A, None).unwrap()
}

/// The same with a cookie, which is the only option of its OPT, which is the end.
fn asked_with(cookie: &[u8]) -> Vec<u8> {
    let mut packet = asked();
    let length = packet.len() - 2;
    packet.truncate(length);
    packet.extend((4 + cookie.len() as u16).to_be_bytes());
    packet.extend([0, 10, 0, cookie.len() as u8]);
    packet.extend(cookie);
    packet
}

fn socket(local: Ipv4Addr, server: SocketAddr) -> UdpSocket {
    let socket = UdpSocket::bind((local, 0)).unwrap();
    socket.connect(server).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

fn received(socket: &UdpSocket) -> Message {
    let mut room = [0; 2048];
    let length = socket.recv(&mut room).unwrap();
    Message::from_vec(&room[..length]).unwrap()
}

fn cookie_of(message: &Message) -> Vec<u8> {
    match message.edns.as_ref().and_then(|edns| edns.option(EdnsCode::Cookie)) {
        Some(EdnsOption::Unknown(_, cookie)) => cookie.clone(),
        other => panic!("{other:?}"),
    }
}

/// Counted so far: answers of any kind, and those dropped.
fn counted(server: &Server) -> anyhow::Result<(usize, usize)> {
    let mut sent = 0.0;
    for rcode in ["NOERROR", "BADCOOKIE"] {
        let series = format!("gslb_dns_answers_total{{rcode=\"{rcode}\",transport=\"udp\"}}");
        sent += server.metric(&series)?;
    }
    let dropped = server.metric("gslb_dns_rate_limited_total{outcome=\"dropped\"}")?;
    Ok((sent as usize, dropped as usize))
}

/// Asks a burst in the name of the victim's network and waits until all of it was looked at.
fn flood(server: &Server) {
    let sockets = (1..=4).map(|host| socket(Ipv4Addr::new(127, 7, 7, host), server.dns()));
    let sockets: Vec<UdpSocket> = sockets.collect();
    let (sent, dropped) = counted(server).unwrap();
    let packet = asked();
    for number in 0..BURST {
        sockets[number % 4].send(&packet).unwrap();
    }
    until("the burst was looked at", || {
        let (sent_now, dropped_now) = counted(server)?;
        Ok((sent_now + dropped_now >= sent + dropped + BURST).then_some(()))
    })
    .unwrap();
}

#[test]
fn a_flood_in_the_name_of_a_network_is_not_amplified_and_its_clients_are_served() {
    let (_world, server) = started();
    let begin = now();
    (0..8).for_each(|_| flood(&server));
    let (sent, dropped) = counted(&server).unwrap();
    let slipped = server.metric("gslb_dns_rate_limited_total{outcome=\"slipped\"}").unwrap();
    let whole = sent - slipped as usize;
    assert_eq!(sent + dropped, 8 * BURST);
    // One limit for all threads, however long it took: a second's worth at once, and then the rate.
    let most = RATE * (2 + begin.elapsed().as_secs() as usize);
    assert!((RATE..=most).contains(&whole), "{whole} of at most {most}");
    // Of those over the limit every other one.
    assert!(slipped as usize <= dropped + 1 && dropped > 0, "{slipped} {dropped}");

    // A client without cookies is told to come by TCP, though the flood goes on.
    let client = socket(VICTIM, server.dns());
    until("a truncated answer", || {
        flood(&server);
        client.send(&asked())?;
        client.send(&asked())?;
        Ok(received(&client).truncation.then_some(()))
    })
    .unwrap();
    let mut stream = Stream::between(IpAddr::V4(VICTIM), server.dns()).unwrap();
    for _ in 0..2 * RATE {
        let answer = stream.ask(&asked()).unwrap().unwrap();
        assert_eq!(Message::from_vec(&answer).unwrap().answers.len(), 60);
    }

    // One with cookies gets a cookie, and then every answer.
    let client = socket(VICTIM, server.dns());
    let cookie = until("BADCOOKIE", || {
        flood(&server);
        client.send(&asked_with(&CLIENT_COOKIE))?;
        client.send(&asked_with(&CLIENT_COOKIE))?;
        let message = received(&client);
        let is_limited = u16::from(message.response_code) == 23 && message.answers.is_empty();
        Ok(is_limited.then(|| cookie_of(&message)))
    })
    .unwrap();
    let client = socket(VICTIM, server.dns());
    for _ in 0..3 * RATE {
        client.send(&asked_with(&cookie)).unwrap();
        assert_eq!(received(&client).answers.len(), 60);
    }

    // The neighbours know nothing of it.
    let neighbour = socket(NEIGHBOUR, server.dns());
    neighbour.send(&asked()).unwrap();
    assert_eq!(received(&neighbour).answers.len(), 60);
    assert_eq!(server.stop().unwrap().code(), Some(0));
}

#[test]
fn secrets_are_changed_by_a_reload_and_a_bad_file_is_refused() {
    let (world, mut server) = started();
    let client = socket(NEIGHBOUR, server.dns());
    let ask = |cookie: &[u8]| {
        client.send(&asked_with(cookie)).unwrap();
        let message = received(&client);
        assert_eq!(message.response_code, ResponseCode::NoError);
        cookie_of(&message)
    };
    let changed = "cookies are made with another secret";
    let first = ask(&CLIENT_COOKIE);
    assert_eq!(ask(&first), first);
    fs::write(world.path("cookie.key"), "no secret\n").unwrap();
    server.signal(Signal::HUP).unwrap();
    let refused = server.wait_for_log("reload refused").unwrap();
    let why = refused["fields"]["why"].as_str().unwrap();
    assert!(why.contains("line 1 is no secret"), "{why}");
    assert!(!why.contains("445536"), "{why}");
    assert_eq!(ask(&first), first);

    // Behind the first it only verifies; before it, it makes cookies and the other's are still good.
    for order in [[0, 1], [1, 0]] {
        fs::write(world.path("cookie.key"), order.map(|index| SECRETS[index]).concat()).unwrap();
        server.signal(Signal::HUP).unwrap();
        server.wait_for_log(changed).unwrap();
        server.wait_for_log("reloaded: the world is the same").unwrap();
        let second = until("taken", || {
            let answered = ask(&first);
            Ok((order[0] == 0 || answered != first).then_some(answered))
        });
        assert_eq!(second.unwrap() == first, order[0] == 0);
    }
    let valid = "gslb_dns_cookies_total{state=\"valid\",transport=\"udp\"}";
    let invalid = "gslb_dns_cookies_total{state=\"invalid\",transport=\"udp\"}";
    assert!(server.metric(valid).unwrap() >= 4.0);
    assert_eq!(server.metric(invalid).unwrap(), 0.0);
    fs::write(world.path("cookie.key"), SECRETS[1]).unwrap();
    server.signal(Signal::HUP).unwrap();
    server.wait_for_log(changed).unwrap();
    until("the first secret is gone", || {
        ask(&first);
        Ok((server.metric(invalid)? > 0.0).then_some(()))
    })
    .unwrap();
}

#[test]
fn check_warns_of_secrets_that_everybody_can_read() {
    let (world, _server) = started();
    for (mode, is_open) in [(0o640, false), (0o644, true)] {
        fs::set_permissions(world.path("cookie.key"), fs::Permissions::from_mode(mode)).unwrap();
        let checked = run(["check".into(), "--config".into(), world.node()]).unwrap();
        assert_eq!(checked.code, Some(0));
        let warning = "warning: everybody on this machine can read";
        assert_eq!(checked.stderr.contains(warning), is_open, "{mode:o}: {}", checked.stderr);
    }
}

/// Half of what comes is garbage, as fast as the good queries are answered: every one of those is.
#[test]
fn garbage_keeps_no_good_query_from_its_answer() {
    const ROUNDS: usize = 300;
    const BATCH: usize = 32;
    let files = Files { world: WORLD, zone: ZONE, places: "" };
    let world = World::write(&files).unwrap();
    let server = Server::start(&world.node()).unwrap();
    let (stop, dns) = (AtomicBool::new(false), server.dns());
    thread::scope(|scope| {
        let _asking = Stopping(&stop);
        // Beside those between good queries, a stream of them that waits for nobody but the kernel.
        scope.spawn(|| {
            let socket = socket(Ipv4Addr::LOCALHOST, dns);
            let mut dice = Dice::of_this_run(13);
            while !stop.load(Relaxed) {
                for _ in 0..BATCH {
                    let _ = socket.send(&garbage(&mut dice));
                }
                thread::park_timeout(PACE);
            }
        });
        let noise = socket(Ipv4Addr::LOCALHOST, dns);
        let mut dice = Dice::of_this_run(14);
        let mut resolver = Resolver::of(dns).unwrap();
        let queries = vec![asked(); BATCH];
        for _ in 0..ROUNDS {
            for _ in 0..BATCH {
                let _ = noise.send(&garbage(&mut dice));
            }
            for answer in resolver.ask_all(&queries).unwrap() {
                assert_eq!(Message::from_vec(&answer).unwrap().answers.len(), 60);
            }
        }
    });
    let panics = server.metric("gslb_dns_panics_total{transport=\"udp\"}").unwrap();
    assert_eq!(panics, 0.0);
    for rcode in ["FORMERR", "NOTIMP"] {
        let series = format!("gslb_dns_answers_total{{rcode=\"{rcode}\",transport=\"udp\"}}");
        assert!(server.metric(&series).unwrap() > 100.0, "{rcode}");
    }
    assert!(server.metric("gslb_dns_unanswered_total{transport=\"udp\"}").unwrap() > 100.0);
    assert_eq!(server.stop().unwrap().code(), Some(0));
}

/// Up to 600 octets of anything, or a good query with some of its octets changed.
fn garbage(dice: &mut Dice) -> Vec<u8> {
    if dice.below(2) == 0 {
        return (0..dice.below(600)).map(|_| dice.below(256) as u8).collect();
    }
    let mut packet = asked();
    for _ in 0..=dice.below(8) {
        let at = dice.below(packet.len());
        packet[at] = dice.below(256) as u8;
    }
    packet
}

#[test]
fn who_takes_every_descriptor_keeps_nobody_from_an_answer_over_udp() {
    const DESCRIPTORS: usize = 64;
    let world = World::write(&Files { world: WORLD, zone: ZONE, places: "" }).unwrap();
    let mut limited = Command::new("sh");
    let script = format!("ulimit -n {DESCRIPTORS} && exec \"$0\" \"$@\"");
    limited.arg("-c").arg(script).arg(program().unwrap());
    let server = Server::start_as(limited, &world.node()).unwrap();
    // More connections than descriptors: the kernel takes them, the server cannot.
    let streams: Vec<TcpStream> =
        (0..2 * DESCRIPTORS).map(|_| TcpStream::connect(server.dns()).unwrap()).collect();
    let mut resolver = Resolver::of(server.dns()).unwrap();
    let begin = now();
    let mut took = vec![];
    while took.len() <= 100 || begin.elapsed() < Duration::from_secs(2) {
        let asks = now();
        resolver.ask(&asked()).unwrap();
        took.push(asks.elapsed());
    }
    assert!(begin.elapsed() < PATIENCE, "{} answers in {:?}", took.len(), begin.elapsed());
    // A pace of more than a hundred in two seconds, whatever the machine did to a few of them.
    took.sort();
    let median = took[took.len() / 2];
    assert!(median < Duration::from_millis(20), "{median:?}");
    drop(streams);
    until("TCP is answered again", || {
        let mut stream = Stream::to(server.dns())?;
        Ok(stream.ask(&asked()).ok().flatten())
    })
    .unwrap();
    // It waited between two tries to take a connection: who spins fails many thousand times.
    let failed = server.metric("gslb_dns_tcp_accept_errors_total").unwrap();
    assert!((1.0..500.0).contains(&failed), "{failed} failures");
    assert_eq!(server.stop().unwrap().code(), Some(0));
}
