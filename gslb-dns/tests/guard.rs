//! Cookies and the limit of answers as clients and victims meet them: whole answers in process, the time an
//! argument.

#![expect(clippy::unwrap_used, reason = "what a test cannot go on without may as well end it")]

mod small_zone;

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use gslb_dns::answer::{
    Answer, Asker, Guard, Limit, Limited, MAX_STREAM, MAX_UDP, Transport, answer_guarded,
};
use gslb_dns::cookie::{Secret, Secrets, State};
use gslb_dns::name::NameKey;
use gslb_dns::rate_limit::RateLimiter;
use gslb_dns::snapshot::Snapshot;
use gslb_dns::world::RateLimits;
use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::rdata::opt::{EdnsCode, EdnsOption};

use small_zone::{answered, query, snapshot};

const NOW: u64 = 1_800_000_000;
const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 7));
const CLIENT_COOKIE: [u8; 8] = *b"a client";
const RATE: u32 = 50;

/// A server with secrets, and a limit if asked for.
struct Scene {
    snapshot: Snapshot,
    secrets: Secrets,
    limiter: Option<RateLimiter>,
    at: Duration,
}

impl Scene {
    fn new() -> Scene {
        let secrets = Secrets::new([Secret::new([1; 16])]);
        Scene { snapshot: snapshot(), secrets, limiter: None, at: Duration::from_secs(1000) }
    }

    fn limited(slip: u8) -> Scene {
        let limits = RateLimits {
            answers_per_second: RATE,
            errors_per_second: RATE,
            ipv4_prefix: 24,
            ipv6_prefix: 56,
            slip,
            slots: 1024,
            exempt: vec![],
        };
        Scene { limiter: Some(RateLimiter::new(limits, [5; 16])), ..Scene::new() }
    }

    /// With the client's prefix over its limit, and the next answer's turn to slip.
    fn exhausted() -> Scene {
        let scene = Scene::limited(1);
        (0..3 * RATE).for_each(|_| drop(scene.ask(&query(1, "www"), CLIENT, Transport::Udp)));
        scene
    }

    fn ask(&self, packet: &[u8], address: IpAddr, transport: Transport) -> (Answer, Vec<u8>) {
        let limit = self.limiter.as_ref().and_then(|limiter| {
            Some(Limit { limiter, place: limiter.place(address)?, now: self.at })
        });
        let guard = Guard { secrets: &self.secrets, limit, page: None, note: None };
        let asker = Asker { address, transport, now: NOW };
        let mut out = vec![0; if transport == Transport::Udp { MAX_UDP } else { MAX_STREAM }];
        let name = &mut NameKey::default();
        let answer =
            answer_guarded(&guard, &self.snapshot, "test", packet, &asker, name, &mut out).unwrap();
        out.truncate(answer.length);
        (answer, out)
    }

    fn told(&self, packet: &[u8], transport: Transport) -> (Answer, Message) {
        let (answer, octets) = self.ask(packet, CLIENT, transport);
        (answer, Message::from_vec(&octets).unwrap())
    }

    fn good_cookie(&self) -> Vec<u8> {
        self.secrets.judge(&CLIENT_COOKIE, &[], CLIENT, NOW).unwrap().reply.to_vec()
    }
}

/// A query with EDNS, 1232 octets and these options.
fn with_options(mut packet: Vec<u8>, options: &[(u16, &[u8])]) -> Vec<u8> {
    let mut data = vec![];
    for (code, value) in options {
        data.extend(code.to_be_bytes());
        data.extend((value.len() as u16).to_be_bytes());
        data.extend(*value);
    }
    packet[11] = 1;
    packet.extend([0, 0, 41, 4, 208, 0, 0, 0, 0]);
    packet.extend((data.len() as u16).to_be_bytes());
    packet.extend(data);
    packet
}

fn with_cookie(label: &str, cookie: &[u8]) -> Vec<u8> {
    with_options(query(1, label), &[(10, cookie)])
}

fn cookie_of(message: &Message) -> Option<Vec<u8>> {
    match message.edns.as_ref()?.option(EdnsCode::Cookie)? {
        EdnsOption::Unknown(10, cookie) => Some(cookie.clone()),
        other => panic!("{other:?}"),
    }
}

fn records(message: &Message) -> usize {
    message.answers.len() + message.authorities.len() + message.additionals.len()
}

#[test]
fn a_client_learns_a_cookie_and_uses_it() {
    let scene = Scene::new();
    let good = scene.good_cookie();
    for transport in [Transport::Udp, Transport::Tcp] {
        for (sent, state) in [
            (&CLIENT_COOKIE[..], State::New),
            (&good, State::Valid),
            (&[&CLIENT_COOKIE[..], &[9; 16]].concat(), State::Invalid),
            (&[&CLIENT_COOKIE[..], &[9; 8]].concat(), State::Invalid),
        ] {
            // Whatever it was, below the limit the answer is the whole one (RFC 7873 §5.2.3).
            for (label, code) in
                [("www", ResponseCode::NoError), ("nowhere", ResponseCode::NXDomain)]
            {
                let (answer, message) = scene.told(&with_cookie(label, sent), transport);
                assert_eq!((answer.cookie, message.response_code), (Some(state), code));
                assert!(records(&message) > 0);
                assert_eq!(cookie_of(&message).as_ref(), Some(&good));
            }
        }
        // Who has none gets none.
        let plain = with_options(query(1, "www"), &[]);
        let (answer, message) = scene.told(&plain, transport);
        assert_eq!((answer.cookie, cookie_of(&message)), (None, None));
    }
}

#[test]
fn an_answer_without_a_cookie_is_the_same_octets_as_without_a_guard() {
    for scene in [Scene::new(), Scene::limited(2)] {
        for label in ["www", "many", "nowhere"] {
            for transport in [Transport::Udp, Transport::Tcp] {
                let (_, octets) = scene.ask(&query(3, label), CLIENT, transport);
                assert_eq!(octets, answered(3, label, transport), "{label}");
            }
        }
    }
}

#[test]
fn a_malformed_cookie_is_a_formerr_without_records() {
    for octets in [0, 7, 9, 15, 41] {
        let packet = with_cookie("www", &vec![1; octets]);
        let (_, message) = Scene::new().told(&packet, Transport::Udp);
        assert_eq!((message.response_code, records(&message)), (ResponseCode::FormErr, 0));
        assert_eq!(cookie_of(&message), None);
    }
}

#[test]
fn a_query_for_a_cookie_alone_is_answered_with_one() {
    let scene = Scene::new();
    let good = scene.good_cookie();
    let lone = |cookie: &[u8]| {
        with_options(vec![0xab, 0xcd, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0], &[(10, cookie)])
    };
    for transport in [Transport::Udp, Transport::Tcp] {
        for (sent, code) in
            [(&CLIENT_COOKIE[..], 0), (&good, 0), (&[&CLIENT_COOKIE[..], &[9; 16]].concat(), 23)]
        {
            let (_, message) = scene.told(&lone(sent), transport);
            assert_eq!((u16::from(message.response_code), message.id), (code, 0xabcd));
            assert_eq!((message.queries.len(), records(&message)), (0, 0));
            assert!(message.recursion_desired && !message.authoritative);
            assert_eq!(cookie_of(&message).as_ref(), Some(&good));
        }
    }
    // Without secrets there are no cookies: it is a query without a question.
    let blank = Scene { secrets: Secrets::NONE.clone(), ..Scene::new() };
    let (_, message) = blank.told(&lone(&good), Transport::Udp);
    assert_eq!(message.response_code, ResponseCode::FormErr);
}

#[test]
fn an_answer_over_the_limit_has_no_record_and_is_no_longer_than_its_query() {
    let scene = Scene::exhausted();
    let subnet: (u16, &[u8]) = (8, &[0, 1, 24, 0, 192, 0, 2]);
    let check = |packet: &[u8], code: u16, truncated: bool, limited: Limited| {
        let (answer, message) = scene.told(packet, Transport::Udp);
        assert_eq!(u16::from(message.response_code), code);
        assert_eq!((message.truncation, records(&message)), (truncated, 0));
        assert_eq!(answer.limited, Some(limited));
        let more = if limited == Limited::BadCookie { 16 } else { 0 };
        assert!(answer.length <= packet.len() + more, "{} of {}", answer.length, packet.len());
        message
    };
    check(&query(1, "many"), 0, true, Limited::Slipped);
    check(&with_options(query(1, "many"), &[(3, &[]), subnet]), 0, true, Limited::Slipped);
    let scene_errors = |packet: &[u8], code| {
        (0..3 * RATE).for_each(|_| drop(scene.ask(packet, CLIENT, Transport::Udp)));
        check(packet, code, code == 3, Limited::Slipped);
    };
    scene_errors(&query(1, "nowhere"), 3);
    // An error says no more over TCP, so it is sent as it is.
    let mut refused = query(1, "www");
    let at = refused.len() - 1;
    refused[at] = 4; // Class HS.
    scene_errors(&refused, 5);
    let mut opcode = query(1, "www");
    opcode[2] = 0x28;
    scene_errors(&opcode, 4);
    // Who can use a cookie gets one instead.
    let good = scene.good_cookie();
    let packet = with_options(query(1, "many"), &[(3, &[]), subnet, (10, &CLIENT_COOKIE)]);
    let message = check(&packet, 23, false, Limited::BadCookie);
    assert_eq!(cookie_of(&message), Some(good));
    assert!(!message.authoritative);
}

#[test]
fn tcp_and_good_cookies_are_never_limited() {
    let scene = Scene::exhausted();
    let good = with_cookie("many", &scene.good_cookie());
    for _ in 0..10 * RATE {
        assert_eq!(scene.ask(&query(1, "www"), CLIENT, Transport::Tcp).0.limited, None);
        assert_eq!(scene.ask(&good, CLIENT, Transport::Udp).0.limited, None);
    }
    // A cookie is one client's: a neighbour cannot use it.
    let neighbour = IpAddr::from([203, 0, 113, 8]);
    let (answer, _) = scene.ask(&good, neighbour, Transport::Udp);
    assert_eq!(answer.limited, Some(Limited::BadCookie));
}

/// Octets out for octets in, after the first second of a flood that asks so often a second for seven.
fn amplification(scene: &mut Scene, packet: &[u8], each_second: u32) -> f64 {
    let (mut octets_in, mut octets_out) = (0, 0);
    let start = scene.at;
    for number in 0..7 * each_second {
        scene.at = start + Duration::from_secs(1) * number / each_second;
        let victim = Ipv4Addr::new(203, 0, 113, (number * 37 % 256) as u8);
        let (_, answer) = scene.ask(packet, victim.into(), Transport::Udp);
        if number >= each_second {
            octets_in += packet.len();
            octets_out += answer.len();
        }
    }
    octets_out as f64 / f64::from(u32::try_from(octets_in).unwrap())
}

/// Spoofed queries in the name of one /24: what reaches it is not more than what the attacker sends.
#[test]
fn a_reflection_flood_is_not_amplified_after_its_first_second() {
    let asked = with_options(query(1, "many"), &[]);
    let bootstrapping = with_cookie("many", &CLIENT_COOKIE);
    let forged = with_cookie("many", &[&CLIENT_COOKIE[..], &[9; 16]].concat());
    let nowhere = query(1, "nowhere");
    let mut control = Scene::new();
    assert!(amplification(&mut control, &asked, 1000) > 10.0);
    for slip in [0, 1, 2, 10] {
        for each_second in [2 * RATE, 1000, 10_000] {
            for packet in [&asked, &bootstrapping, &forged, &nowhere] {
                let by = amplification(&mut Scene::limited(slip), packet, each_second);
                let most = match slip {
                    // A server cookie makes an answer 16 octets longer than a query that has none.
                    1 if packet == &bootstrapping => 1.4,
                    0 => 0.0,
                    slip => 1.01 / f64::from(slip) + 0.2 * f64::from(u8::from(slip > 1)),
                };
                assert!(by <= most, "slip {slip}, {each_second} a second: {by}");
            }
        }
    }
}

#[test]
fn clients_of_a_victim_are_served_while_the_flood_lasts() {
    let mut scene = Scene::limited(2);
    let flood = with_options(query(1, "many"), &[]);
    amplification(&mut scene, &flood, 1000);
    let ask = |packet: &[u8]| scene.ask(packet, CLIENT, Transport::Udp);
    // Without cookies: one of two tries is told to come by TCP, and there it is answered.
    let tries: Vec<Answer> = (0..2).map(|_| ask(&flood).0).collect();
    let truncated = |answer: &&Answer| answer.truncated;
    let dropped = |answer: &&Answer| answer.limited == Some(Limited::Dropped);
    assert_eq!(tries.iter().filter(truncated).count(), 1);
    assert_eq!(tries.iter().filter(dropped).count(), 1);
    let (answer, message) = scene.told(&flood, Transport::Tcp);
    assert_eq!((answer.limited, message.answers.len()), (None, 4));
    // With them: one of two tries gets a cookie, and with it every query is answered.
    let packet = with_cookie("many", &CLIENT_COOKIE);
    let octets = (0..2).map(|_| ask(&packet).1).find(|octets| !octets.is_empty()).unwrap();
    let cookie = cookie_of(&Message::from_vec(&octets).unwrap()).unwrap();
    for _ in 0..1000 {
        let (answer, octets) = ask(&with_cookie("many", &cookie));
        assert_eq!(answer.limited, None);
        assert_eq!(Message::from_vec(&octets).unwrap().answers.len(), 4);
    }
    // The neighbouring prefix knows nothing of it.
    let neighbour = IpAddr::from([203, 0, 114, 7]);
    assert_eq!(scene.ask(&flood, neighbour, Transport::Udp).0.limited, None);
}

/// What has no question that can be read echoes none: 12 octets, or 23 with an OPT.
#[test]
fn an_error_about_what_cannot_be_read_is_a_header() {
    let scene = Scene::new();
    let cut = &query(1, "www")[..15];
    assert_eq!(scene.ask(cut, CLIENT, Transport::Udp).1.len(), 12);
    let mut two = query(1, "www");
    two[5] = 2;
    assert_eq!(scene.ask(&two, CLIENT, Transport::Udp).1.len(), 12);
    let mut update = query(1, "www");
    update[2] = 0x28;
    assert_eq!(scene.ask(&update, CLIENT, Transport::Udp).1.len(), 12);
}
