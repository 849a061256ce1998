//! The query log as a reader meets it: the real binary, a reader of our own that speaks Frame Streams from its
//! description, and prost, which knows nothing of our encoder.

#![expect(clippy::unwrap_used, reason = "what a test cannot go on without may as well end it")]

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::IpAddr;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{SystemTime, UNIX_EPOCH};

use gslb_tests::quic::{Quic, Reply};
use gslb_tests::resolver::{Resolver, Stream, query};
use gslb_tests::server::Server;
use gslb_tests::tls::{Believer, encrypt};
use gslb_tests::wait::{PATIENCE, until};
use gslb_tests::world::{EVERY_STEP, NODE_NAME, World};
use hickory_proto::op::Message as DnsMessage;
use hickory_proto::rr::{Name, RecordType};
use prost::Message as _;

const SOCKET: &str = "dnstap.sock";
const READY: &[u8] = b"\0\0\0\x04\0\0\0\x01\0\0\0\x16protobuf:dnstap.Dnstap";
const ACCEPT: &[u8] = b"\0\0\0\x01\0\0\0\x01\0\0\0\x16protobuf:dnstap.Dnstap";
const START: &[u8] = b"\0\0\0\x02\0\0\0\x01\0\0\0\x16protobuf:dnstap.Dnstap";
const STOP: &[u8] = b"\0\0\0\x03";
const FINISH: &[u8] = b"\0\0\0\x05";
/// `Message.Type`.
const AUTH_QUERY: u32 = 1;
const AUTH_RESPONSE: u32 = 2;
const WRITTEN: &str = "gslb_dns_query_log_written_total";
const DROPPED: &str = "gslb_dns_query_log_dropped_total";
const CONNECTED: &str = "gslb_dns_query_log_connected";

/// dnstap.proto, as far as it matters; enumerations as their numbers.
#[derive(Clone, PartialEq, prost::Message)]
struct Dnstap {
    #[prost(bytes = "vec", optional, tag = "1")]
    identity: Option<Vec<u8>>,
    #[prost(bytes = "vec", optional, tag = "2")]
    version: Option<Vec<u8>>,
    #[prost(bytes = "vec", optional, tag = "3")]
    extra: Option<Vec<u8>>,
    #[prost(message, optional, tag = "14")]
    message: Option<Message>,
    #[prost(uint32, required, tag = "15")]
    r#type: u32,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Message {
    #[prost(uint32, required, tag = "1")]
    r#type: u32,
    #[prost(uint32, optional, tag = "2")]
    socket_family: Option<u32>,
    #[prost(uint32, optional, tag = "3")]
    socket_protocol: Option<u32>,
    #[prost(bytes = "vec", optional, tag = "4")]
    query_address: Option<Vec<u8>>,
    #[prost(bytes = "vec", optional, tag = "5")]
    response_address: Option<Vec<u8>>,
    #[prost(uint32, optional, tag = "6")]
    query_port: Option<u32>,
    #[prost(uint32, optional, tag = "7")]
    response_port: Option<u32>,
    #[prost(uint64, optional, tag = "8")]
    query_time_sec: Option<u64>,
    #[prost(fixed32, optional, tag = "9")]
    query_time_nsec: Option<u32>,
    #[prost(bytes = "vec", optional, tag = "10")]
    query_message: Option<Vec<u8>>,
    #[prost(bytes = "vec", optional, tag = "11")]
    query_zone: Option<Vec<u8>>,
    #[prost(uint64, optional, tag = "12")]
    response_time_sec: Option<u64>,
    #[prost(fixed32, optional, tag = "13")]
    response_time_nsec: Option<u32>,
    #[prost(bytes = "vec", optional, tag = "14")]
    response_message: Option<Vec<u8>>,
}

/// Who takes the log.
struct Reader(UnixStream);

/// A frame of either sort.
enum Frame {
    Data(Vec<u8>),
    Control(Vec<u8>),
}

impl Reader {
    /// Waits for the server, and takes what it offers.
    fn accept(listener: &UnixListener) -> Reader {
        let mut reader = Reader::meet(listener);
        reader.say(ACCEPT);
        reader.hears(START);
        reader
    }

    /// Hears what the server has, and says nothing to it.
    fn meet(listener: &UnixListener) -> Reader {
        listener.set_nonblocking(true).unwrap();
        let stream = until("the server connects", || Ok(listener.accept().ok())).unwrap().0;
        stream.set_nonblocking(false).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut reader = Reader(stream);
        reader.hears(READY);
        reader
    }

    fn word(&mut self) -> u32 {
        let mut word = [0; 4];
        self.0.read_exact(&mut word).unwrap();
        u32::from_be_bytes(word)
    }

    fn octets(&mut self) -> Vec<u8> {
        let mut octets = vec![0; self.word() as usize];
        self.0.read_exact(&mut octets).unwrap();
        octets
    }

    fn frame(&mut self) -> Frame {
        match self.word() {
            0 => Frame::Control(self.octets()),
            length => {
                let mut frame = vec![0; length as usize];
                self.0.read_exact(&mut frame).unwrap();
                Frame::Data(frame)
            }
        }
    }

    fn say(&mut self, control: &[u8]) {
        let head = [0, control.len() as u32].map(u32::to_be_bytes).concat();
        self.0.write_all(&[&head[..], control].concat()).unwrap();
    }

    fn hears(&mut self, control: &[u8]) {
        match self.frame() {
            Frame::Control(said) => assert_eq!(said, control),
            Frame::Data(frame) => panic!("a frame of {} octets", frame.len()),
        }
    }

    /// The next message, or `None` at the end, to which it agrees.
    fn next(&mut self) -> Option<Message> {
        match self.frame() {
            Frame::Data(frame) => {
                let dnstap = Dnstap::decode(&frame[..]).unwrap();
                assert_eq!(dnstap.r#type, 1);
                assert_eq!(dnstap.identity.unwrap(), NODE_NAME.as_bytes());
                assert!(dnstap.version.unwrap().starts_with(b"gslb-dns "));
                Some(dnstap.message.unwrap())
            }
            Frame::Control(said) => {
                assert_eq!(said, STOP);
                self.say(FINISH);
                None
            }
        }
    }

    /// A query and what it was answered.
    fn exchange(&mut self) -> (Message, Message) {
        let [query, answer] = [(); 2].map(|()| self.next().expect("a message"));
        assert_eq!((query.r#type, answer.r#type), (AUTH_QUERY, AUTH_RESPONSE));
        (query, answer)
    }
}

fn world(keys: &str) -> (World, Believer, PathBuf) {
    let world = World::write(&EVERY_STEP).unwrap();
    assert_eq!(world.load().unwrap().node.dns.query_log, None, "off unless it is asked for");
    let believer = encrypt(&world).unwrap();
    let node = fs::read_to_string(world.node()).unwrap();
    let dns = format!("[dns]\nquery_log = {{ dnstap = \"{SOCKET}\"{keys} }}\n");
    fs::write(world.node(), node.replace("[dns]\n", &dns)).unwrap();
    let socket = world.path(SOCKET);
    (world, believer, socket)
}

fn listen(socket: &Path) -> UnixListener {
    UnixListener::bind(socket).unwrap()
}

fn asked(name: &str) -> Vec<u8> {
    query(&Name::from_ascii(name).unwrap(), RecordType::A, None).unwrap()
}

fn until_metric(server: &Server, series: &str, is_so: impl Fn(f64) -> bool) -> f64 {
    until(series, || server.metric(series).map(|value| is_so(value).then_some(value))).unwrap()
}

fn name_in(message: &[u8]) -> String {
    DnsMessage::from_vec(message).unwrap().queries[0].name().to_ascii()
}

#[test]
#[expect(clippy::disallowed_methods, reason = "what the log dates is compared with the clock")]
fn every_transport_is_told_with_its_answers() {
    let (world, believer, socket) = world("");
    let listener = listen(&socket);
    let server = Server::start(&world.node()).unwrap();
    let mut reader = Reader::accept(&listener);
    let packet = asked("www.example.com.");
    let before = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let udp = Resolver::of(server.dns()).unwrap().ask(&packet).unwrap();
    let tcp = Stream::to(server.dns()).unwrap().ask(&packet).unwrap().unwrap();
    let (over_tls, over_https) = (server.tls().unwrap(), server.https().unwrap());
    let tls = believer.stream(over_tls).unwrap().ask(&packet).unwrap().unwrap();
    let mut client = believer.https(over_https).unwrap();
    client.send(&packet).unwrap();
    let https = client.receive().unwrap().1;
    let over_quic = server.quic().unwrap();
    let Reply::Answer(quic) = Quic::connect(&believer, over_quic).unwrap().ask(&packet).unwrap()
    else {
        panic!("no answer over QUIC");
    };
    // Each transport has a ring of its own, so these come in any order.
    let mut told: Vec<_> = (0..10).map(|_| reader.next().unwrap()).collect();
    told.sort_by_key(|message| (message.socket_protocol, message.r#type));
    let expected = [
        (1, server.dns(), udp),
        (2, server.dns(), tcp),
        (3, over_tls, tls),
        (4, over_https, https),
        (7, over_quic, quic),
    ];
    for (told, (protocol, at, answered)) in told.chunks(2).zip(expected) {
        let [query, answer] = told else { panic!("two of each") };
        assert_eq!((query.r#type, answer.r#type), (AUTH_QUERY, AUTH_RESPONSE));
        for message in [query, answer] {
            assert_eq!(message.socket_protocol, Some(protocol));
            assert_eq!(message.socket_family, Some(1));
            assert_eq!(message.query_address.as_deref(), Some(&[127, 0, 0, 1][..]));
            let IpAddr::V4(ip) = at.ip() else { panic!("{at}") };
            assert_eq!(message.response_address.as_deref(), Some(&ip.octets()[..]));
            assert_eq!(message.response_port, Some(at.port().into()));
            // Where a stream came from matters to nobody.
            assert_eq!(message.query_port.is_some(), protocol == 1);
        }
        // The resolver chooses ids of its own over UDP.
        assert_eq!(query.query_message.as_ref().unwrap()[2..], packet[2..]);
        assert_eq!(answer.response_message.as_ref().unwrap()[2..], answered[2..], "{protocol}");
        assert_eq!((&query.response_message, &answer.query_message), (&None, &None));
        assert_eq!(name_in(answer.response_message.as_ref().unwrap()), "www.example.com.");
        for seconds in [query.query_time_sec, answer.response_time_sec] {
            assert!((before..before + 60).contains(&seconds.unwrap()));
        }
        assert!(query.query_time_nsec.unwrap() < 1_000_000_000);
    }
    // What is no query and gets no answer is not told; what is one and gets an error is.
    let mut answer = packet.clone();
    answer[2] |= 0x80;
    let mut resolver = Resolver::of(server.dns()).unwrap();
    let silent = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    silent.send_to(&answer, server.dns()).unwrap();
    let quiet = "gslb_dns_unanswered_total{transport=\"udp\"}";
    until_metric(&server, quiet, |count| count == 1.0);
    resolver.ask(&asked("www.example.net.")).unwrap();
    let (query, _) = reader.exchange();
    assert_eq!(name_in(&query.query_message.unwrap()), "www.example.net.");
    until_metric(&server, WRITTEN, |written| written == 12.0);
    assert!(server.stop_while(|| assert_eq!(reader.next(), None)));
}

/// A stop waits for the reader's word, so somebody has to say it meanwhile.
trait StopWhile {
    fn stop_while(self, meanwhile: impl FnOnce()) -> bool;
}

impl StopWhile for Server {
    fn stop_while(mut self, meanwhile: impl FnOnce()) -> bool {
        self.signal(rustix::process::Signal::TERM).unwrap();
        meanwhile();
        self.wait().unwrap().success()
    }
}

#[test]
fn a_reader_that_stalls_costs_no_answer_and_what_is_lost_is_counted() {
    const QUERIES: usize = 20_000;
    let (world, _, socket) = world("");
    let listener = listen(&socket);
    let server = Server::start(&world.node()).unwrap();
    let mut reader = Reader::accept(&listener);
    let mut resolver = Resolver::of(server.dns()).unwrap();
    let packets = vec![asked("www.example.com."); QUERIES];
    // Each is answered, or this fails.
    assert_eq!(resolver.ask_all(&packets).unwrap().len(), QUERIES);
    until_metric(&server, DROPPED, |dropped| dropped > 0.0);
    // It reads again: all that was not dropped arrives whole.
    let reading = thread::spawn(move || {
        let mut count = 0;
        while reader.next().is_some() {
            count += 1;
        }
        count
    });
    let answers = "gslb_dns_answers_total{rcode=\"NOERROR\",transport=\"udp\"}";
    let messages = 2.0 * server.metric(answers).unwrap();
    let written = until("all is written or dropped", || {
        let (written, dropped) = (server.metric(WRITTEN)?, server.metric(DROPPED)?);
        Ok((written + dropped == messages).then_some(written))
    });
    let written = written.unwrap();
    assert!(server.stop_while(|| assert_eq!(reading.join().unwrap(), written as u64)));
}

#[test]
fn a_reader_that_goes_away_and_returns_gets_what_was_asked_meanwhile() {
    let (world, _, socket) = world("");
    // Nobody listens yet.
    let server = Server::start(&world.node()).unwrap();
    let mut resolver = Resolver::of(server.dns()).unwrap();
    let mut ask = |name: &str| drop(resolver.ask(&asked(name)).unwrap());
    let hears = |reader: &mut Reader, name: &str| {
        assert_eq!(name_in(&reader.exchange().0.query_message.unwrap()), name);
    };
    ask("www.example.com.");
    let listener = listen(&socket);
    let mut reader = Reader::accept(&listener);
    hears(&mut reader, "www.example.com.");
    until_metric(&server, CONNECTED, |connected| connected == 1.0);
    // It ends, and nothing is asked: the server sees it all the same.
    drop(reader);
    drop(listener);
    fs::remove_file(&socket).unwrap();
    until_metric(&server, CONNECTED, |connected| connected == 0.0);
    ask("shop.example.com.");
    ask("plain.example.com.");
    let listener = listen(&socket);
    // One that takes something else is no reader, and the next is tried.
    let mut other = Reader::meet(&listener);
    other.say(&ACCEPT.iter().map(|octet| octet.to_ascii_uppercase()).collect::<Vec<_>>());
    assert_eq!(other.0.read(&mut [0; 16]).unwrap(), 0, "the server hangs up");
    let mut reader = Reader::accept(&listener);
    hears(&mut reader, "shop.example.com.");
    hears(&mut reader, "plain.example.com.");
    assert_eq!(server.metric(DROPPED).unwrap(), 0.0);
    assert!(server.stop_while(|| assert_eq!(reader.next(), None)));
}

#[test]
fn a_reader_that_dies_with_its_queue_full_leaves_whole_messages_to_the_next() {
    // More than its queue in the kernel holds, so that a message is cut; and room for all in the ring.
    const QUERIES: usize = 2_000;
    let (world, _, socket) = world("");
    let server = Server::start(&world.node()).unwrap();
    let mut resolver = Resolver::of(server.dns()).unwrap();
    resolver.ask_all(&vec![asked("www.example.com."); QUERIES]).unwrap();
    // Only then somebody comes, so that all of it is one write, which cannot be done at once.
    let listener = listen(&socket);
    let mut reader = Reader::accept(&listener);
    assert_eq!(reader.next().unwrap().r#type, AUTH_QUERY);
    drop(reader);
    let mut reader = Reader::accept(&listener);
    let answers = "gslb_dns_answers_total{rcode=\"NOERROR\",transport=\"udp\"}";
    let messages = 2.0 * server.metric(answers).unwrap();
    let reading = thread::spawn(move || {
        let mut count = 0;
        while let Some(message) = reader.next() {
            let dns = message.query_message.or(message.response_message).unwrap();
            assert_eq!(name_in(&dns), "www.example.com.");
            count += 1;
        }
        count
    });
    // Each was given once, to the one or the other.
    until_metric(&server, WRITTEN, |written| written == messages);
    assert_eq!(server.metric(DROPPED).unwrap(), 0.0);
    let ended_well = server.stop_while(|| {
        let taken = reading.join().unwrap();
        assert!(taken > 0 && f64::from(taken) < messages, "{taken} of {messages}");
    });
    assert!(ended_well);
}

#[test]
fn a_stop_does_not_wait_for_a_reader_that_takes_nothing() {
    let (world, _, socket) = world(", messages = \"queries\"");
    let listener = listen(&socket);
    let server = Server::start(&world.node()).unwrap();
    let mut reader = Reader::accept(&listener);
    let mut resolver = Resolver::of(server.dns()).unwrap();
    resolver.ask(&asked("www.example.com.")).unwrap();
    assert_eq!(reader.next().unwrap().r#type, AUTH_QUERY);
    // It never says FINISH.
    assert!(server.stop().unwrap().success());
    reader.hears(STOP);
}
