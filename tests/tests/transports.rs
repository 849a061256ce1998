//! All transports of one server answer alike, but for what the size of a datagram cuts off and what padding
//! adds.

use std::io::{Read, Write};
use std::net::SocketAddr;

use gslb_tests::dice::Dice;
use gslb_tests::quic::{Quic, Reply};
use gslb_tests::resolver::{Resolver, Stream, plain_query, query};
use gslb_tests::server::Server;
use gslb_tests::tls::{Believer, encrypt};
use gslb_tests::world::{EVERY_STEP, World};
use hickory_proto::op::Message;
use hickory_proto::rr::rdata::opt::EdnsCode;
use hickory_proto::rr::{Name, RecordType};
use ipnet::IpNet;
use jiff::Timestamp;

const QUERIES: usize = 10_000;
/// Asked at once: few enough to be answered within one second, which is part of the question.
const BATCH: usize = 50;
const TRIES: usize = 20;
/// RFC 9250 §4.3.
const DOQ_PROTOCOL_ERROR: u64 = 2;

const NAMES: [&str; 24] = [
    "example.com.",
    "www.example.com.",
    "WwW.example.com.",
    "strict.example.com.",
    "country.example.com.",
    "shop.example.com.",
    "plain.example.com.",
    "api.example.com.",
    "sticky.example.com.",
    "order.example.com.",
    "x.pool.example.com.",
    "cdn.example.com.",
    "blog.example.com.",
    "news.example.com.",
    "lost.example.com.",
    "into.example.com.",
    "a.dev.example.com.",
    "x.sub.example.com.",
    "y.tree.example.com.",
    "many.example.com.",
    "many.example.com.",
    "none.example.com.",
    "www.example.net.",
    "id.server.",
];
const TYPES: [RecordType; 10] = [
    RecordType::A,
    RecordType::A,
    RecordType::A,
    RecordType::AAAA,
    RecordType::AAAA,
    RecordType::TXT,
    RecordType::ANY,
    RecordType::NS,
    RecordType::SOA,
    RecordType::AXFR,
];
const CLIENTS: [&str; 10] = [
    "81.2.69.0/24",
    "81.2.64.0/20",
    "63.1.2.0/24",
    "10.20.3.0/24",
    "10.1.0.0/16",
    "0.0.0.0/0",
    "2a02:d280:1:8000::/56",
    "2001:218::/32",
    "2002:5102:4500::/40",
    "64:ff9b::5102:4501/128",
];

#[test]
fn all_transports_answer_alike() {
    let world = World::write(&EVERY_STEP).unwrap();
    let believer = encrypt(&world).unwrap();
    let server = Server::start(&world.node()).unwrap();
    let mut dice = Dice::of_this_run(4_711);
    let mut resolver = Resolver::of(server.dns()).unwrap();
    let (mut compared, mut truncated, mut refused, mut silent, mut padded) = (0, 0, 0, 0, 0);
    while compared < QUERIES {
        let batch: Vec<Vec<u8>> = (0..BATCH).map(|_| packet(&mut dice)).collect();
        // To what is no query nobody says anything, and a stream ends there.
        let (questions, junk): (Vec<_>, Vec<_>) = batch.into_iter().partition(|it| is_query(it));
        for junk in &junk {
            check_silence(&server, &believer, junk);
            silent += 1;
        }
        let Answers { udp, tcp, tls, https, quic } =
            ask_all_ways(&mut resolver, &server, &believer, &questions);
        for (index, packet) in questions.iter().enumerate() {
            let (udp, tcp, tls, https) = (&udp[index], &tcp[index], &tls[index], &https[index]);
            assert_eq!(shown(tls), shown(https), "{}", shown(packet));
            match &quic[index] {
                Reply::Answer(quic) => assert_eq!(shown(tls), shown(quic), "{}", shown(packet)),
                // An octet changed may have made an option edns-tcp-keepalive (RFC 9250 §5.5.2).
                Reply::Closed(code) => {
                    let may_be = packet.windows(2).any(|code| code == [0, 11]);
                    assert!(*code == DOQ_PROTOCOL_ERROR && may_be, "{}", shown(packet));
                }
            }
            if tls != tcp {
                assert!(
                    is_padded(tls, tcp),
                    "{}\nTCP {}\nTLS {}",
                    shown(packet),
                    shown(tcp),
                    shown(tls)
                );
                padded += 1;
            }
            let is_truncated = udp[2] & 0x02 != 0;
            truncated += usize::from(is_truncated);
            refused += usize::from(udp[3] & 0xf != 0);
            let same = match is_truncated {
                false => udp == tcp,
                true => is_cut_from(udp, tcp),
            };
            assert!(same, "{}\nUDP {}\nTCP {}", shown(packet), shown(udp), shown(tcp));
        }
        compared += questions.len() + junk.len();
    }
    println!(
        "{compared} compared: {truncated} truncated, {refused} errors, {silent} silent, {padded} padded"
    );
    assert!(truncated > QUERIES / 400 && refused > QUERIES / 20 && silent > QUERIES / 100);
    assert!(padded > QUERIES / 40);
    for transport in ["udp", "tcp", "tls", "https", "quic"] {
        let panics = format!("gslb_dns_panics_total{{transport=\"{transport}\"}}");
        assert_eq!(server.metric(&panics).unwrap(), 0.0, "{transport}");
    }
}

/// Of the same questions, in their order. The ids are 0.
struct Answers {
    udp: Vec<Vec<u8>>,
    tcp: Vec<Vec<u8>>,
    tls: Vec<Vec<u8>>,
    https: Vec<Vec<u8>>,
    quic: Vec<Reply>,
}

/// All over every transport within one second.
fn ask_all_ways(
    resolver: &mut Resolver,
    server: &Server,
    believer: &Believer,
    questions: &[Vec<u8>],
) -> Answers {
    let address = |transport: Option<SocketAddr>| transport.expect("it answers over it");
    for _ in 0..TRIES {
        let tcp = Stream::to(server.dns()).expect("loopback");
        let tls = believer.stream(address(server.tls())).expect("it is believed");
        let mut https = believer.https(address(server.https())).expect("it is believed");
        let before = Timestamp::now().as_second();
        let udp = resolver.ask_all(questions).expect("every query is answered");
        let tcp = over_stream(tcp, questions);
        let tls = over_stream(tls, questions);
        let over_https = |query: &Vec<u8>| {
            https.send(query).expect("loopback");
            let (status, answer) = https.receive().expect("a response");
            assert_eq!(status, 200, "{}", shown(query));
            without_id(answer, query)
        };
        let https = questions.iter().map(over_https).collect();
        let quic = over_quic(believer, address(server.quic()), questions);
        if Timestamp::now().as_second() == before {
            return Answers { udp, tcp, tls, https, quic };
        }
    }
    panic!("a batch never fell within one second");
}

fn over_stream<S: Read + Write>(mut stream: Stream<S>, questions: &[Vec<u8>]) -> Vec<Vec<u8>> {
    questions.iter().for_each(|query| stream.send(query).expect("loopback"));
    let answers = questions.iter().map(|query| {
        let answer = stream.receive().expect("loopback");
        let answer = answer.unwrap_or_else(|| panic!("closed instead of: {}", shown(query)));
        without_id(answer, query)
    });
    answers.collect()
}

/// Each with the ID 0, which is the only one there (RFC 9250 §4.2.1).
fn over_quic(believer: &Believer, server: SocketAddr, questions: &[Vec<u8>]) -> Vec<Reply> {
    let connect = || Quic::connect(believer, server).expect("it is believed");
    let mut client = connect();
    let mut ask = |query: &Vec<u8>| {
        let query = [&[0, 0], &query[2..]].concat();
        let reply = client.ask(&query).unwrap_or_else(|error| panic!("{error}: {}", shown(&query)));
        if matches!(reply, Reply::Closed(_)) {
            client = connect();
        }
        reply
    };
    questions.iter().map(&mut ask).collect()
}

fn without_id(mut answer: Vec<u8>, query: &[u8]) -> Vec<u8> {
    assert_eq!(answer[..2], query[..2], "answers come in the order asked");
    answer[..2].fill(0);
    answer
}

/// A query behind it is answered, and it is not. One socket is one thread's, so order holds.
fn check_silence(server: &Server, believer: &Believer, junk: &[u8]) {
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").expect("loopback");
    socket.connect(server.dns()).expect("loopback");
    socket.set_read_timeout(Some(gslb_tests::wait::PATIENCE)).expect("a socket of ours");
    let mut question = named("example.com.", RecordType::SOA, None);
    question[..2].copy_from_slice(b"!?");
    socket.send(junk).expect("loopback");
    socket.send(&question).expect("loopback");
    let mut answer = [0; 2048];
    socket.recv(&mut answer).expect("an answer");
    assert_eq!(answer[..2], *b"!?", "answered: {}", shown(junk));

    let mut stream = Stream::to(server.dns()).expect("loopback");
    stream.send(junk).expect("loopback");
    assert_eq!(stream.receive().expect("an end"), None, "answered: {}", shown(junk));

    let mut stream = believer.stream(server.tls().expect("it answers")).expect("believed");
    stream.send(junk).expect("loopback");
    assert_eq!(stream.receive().expect("an end"), None, "answered: {}", shown(junk));

    let mut https = believer.https(server.https().expect("it answers")).expect("believed");
    https.send(junk).expect("loopback");
    assert_eq!(https.receive().expect("a response").0, 400, "answered: {}", shown(junk));

    let quic = Quic::connect(believer, server.quic().expect("it answers")).expect("believed");
    let reply = quic.ask(junk).expect("an end");
    assert_eq!(reply, Reply::Closed(DOQ_PROTOCOL_ERROR), "answered: {}", shown(junk));
}

/// The same but for a padding option, by which its length is a multiple of 468 (RFC 8467 §4.1).
fn is_padded(padded: &[u8], plain: &[u8]) -> bool {
    let read = |bytes| Message::from_vec(bytes).expect("an answer is readable");
    let (mut without, plain) = (read(padded), read(plain));
    let Some(edns) = without.edns.as_mut() else { return false };
    edns.options_mut().remove(EdnsCode::Padding);
    padded.len().is_multiple_of(468) && without == plain
}

/// It has a header, and is no response.
fn is_query(packet: &[u8]) -> bool {
    packet.len() >= 12 && packet[2] & 0x80 == 0
}

/// The flags but TC, the question and the OPT of the whole answer, and nothing else.
fn is_cut_from(cut: &[u8], whole: &[u8]) -> bool {
    let read = |bytes| Message::from_vec(bytes).expect("an answer is readable");
    let (cut, mut whole) = (read(cut), read(whole));
    whole.metadata.truncation = true;
    whole.answers.clear();
    whole.authorities.clear();
    whole.additionals.clear();
    cut == whole
}

fn packet(dice: &mut Dice) -> Vec<u8> {
    let client = dice.once_in(2).then(|| dice.pick(&CLIENTS).parse().expect("a prefix"));
    let mut packet = match dice.below(2) {
        0 => {
            let name = Name::from_ascii(dice.pick::<&str>(&NAMES)).expect("a name");
            plain_query(&name, *dice.pick(&TYPES)).expect("a query")
        }
        _ => named(dice.pick::<&str>(&NAMES), *dice.pick(&TYPES), client),
    };
    if packet[11] == 1 && dice.once_in(4) {
        pad(&mut packet);
    }
    let id = (dice.bits() as u16).to_be_bytes();
    packet[..2].copy_from_slice(&id);
    match dice.below(16) {
        // A few octets changed: header, name, type, class, options.
        0 | 1 => {
            for _ in 0..dice.between(1, 3) {
                let at = dice.between(2, packet.len() - 1);
                packet[at] = dice.bits() as u8;
            }
        }
        2 => packet.truncate(dice.between(1, packet.len())),
        3 => packet.extend((0..dice.between(1, 20)).map(|_| dice.bits() as u8).collect::<Vec<_>>()),
        4 => return (0..dice.between(12, 200)).map(|_| dice.bits() as u8).collect(),
        _ => {}
    }
    packet
}

/// Puts an empty padding option at the end of an OPT record at the end of a query.
fn pad(packet: &mut Vec<u8>) {
    // The record's length stands behind its owner, type, size and flags; a subnet may follow it.
    let at = packet.windows(3).rposition(|window| window == [0, 0, 41]).expect("an OPT record") + 9;
    let length = u16::from_be_bytes([packet[at], packet[at + 1]]) + 4;
    packet[at..at + 2].copy_from_slice(&length.to_be_bytes());
    packet.extend_from_slice(&[0, 12, 0, 0]);
}

fn named(name: &str, rtype: RecordType, client: Option<IpNet>) -> Vec<u8> {
    query(&Name::from_ascii(name).expect("a name"), rtype, client).expect("a query")
}

fn shown(packet: &[u8]) -> String {
    let hex: Vec<String> = packet.iter().map(|octet| format!("{octet:02x}")).collect();
    format!("{} ({:?})", hex.join(""), Message::from_vec(packet).ok())
}
