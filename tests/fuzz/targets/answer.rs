//! `answer`: any packet or composed query, in every state of health, over both transports, with cookies, and
//! over the limit.
//!
//! Input: `[how, address x4, time, packet or recipe]`.

#![no_main]

use std::cell::RefCell;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use fuzz::compose;
use fuzz::wire::Decoded;
use fuzz::world::{NODE_NAME, SECRETS, SNAPSHOTS};
use gslb_dns::answer::{
    Answer, Asker, Guard, Limit, Limited, MAX_STREAM, MAX_UDP, Transport, answer_guarded,
};
use gslb_dns::cookie::State;
use gslb_dns::name::NameKey;
use gslb_dns::query::{ClientSubnet, HEADER, Query, Rejection, SubnetFamily};
use gslb_dns::rate_limit::RateLimiter;
use gslb_dns::snapshot::Snapshot;
use gslb_dns::world::RateLimits;
use hickory_proto::op::Message;
use libfuzzer_sys::fuzz_target;

const COMPOSED: u8 = 1;
const IPV6: u8 = 2;

thread_local! {
    /// One room for each transport and a third to answer again in.
    static ROOMS: RefCell<[Vec<u8>; 3]> =
        RefCell::new([vec![0; MAX_UDP], vec![0; MAX_STREAM], vec![0xff; MAX_STREAM]]);
}

fuzz_target!(|input: &[u8]| {
    let Some((&[how, a, b, c, d, time], rest)) = input.split_first_chunk::<6>() else { return };
    let composed = if how & COMPOSED != 0 { compose::query(rest) } else { vec![] };
    let packet = if how & COMPOSED != 0 { &composed[..] } else { rest };
    let snapshot = &SNAPSHOTS[usize::from(how >> 2) % SNAPSHOTS.len()];
    let address = if how & IPV6 != 0 {
        IpAddr::V6(Ipv6Addr::from([0x20, 1, a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]))
    } else {
        IpAddr::V4(Ipv4Addr::new(a, b, c, d))
    };
    let asker = |transport| Asker { address, transport, now: 1_800_000_000 + u64::from(time) * 7 };
    ROOMS.with_borrow_mut(|[datagram, stream, again]| {
        let whole = ask(snapshot, packet, &asker(Transport::Tcp), stream, again);
        let short = ask(snapshot, packet, &asker(Transport::Udp), datagram, again);
        if let (Some(whole), Some(short)) = (whole, short) {
            agree(&whole, &short);
        }
        limited(snapshot, packet, &asker(Transport::Udp), datagram);
    });
});

/// The answer, judged; asked twice, because the same input has the same answer.
fn ask(
    snapshot: &Snapshot,
    packet: &[u8],
    asker: &Asker,
    room: &mut [u8],
    again: &mut [u8],
) -> Option<(Answer, Message)> {
    let guard = Guard { secrets: &SECRETS, limit: None, page: None, note: None };
    let name = &mut NameKey::default();
    let said = answer_guarded(&guard, snapshot, NODE_NAME, packet, asker, name, room);
    // What stood in the room before must not show.
    let repeated = answer_guarded(
        &guard,
        snapshot,
        NODE_NAME,
        packet,
        asker,
        &mut NameKey::default(),
        &mut again[..room.len()],
    );
    assert_eq!(said, repeated);
    let Some(said) = said else {
        assert!(packet.len() < HEADER || packet[2] & 0x80 != 0, "silent towards a query");
        return None;
    };
    let octets = &room[..said.length];
    assert_eq!(octets, &again[..said.length], "asked twice, answered differently");
    again[..said.length].fill(0xff);
    Some((said, judge(packet, asker.transport, &said, octets)))
}

/// What is said to a prefix that has had its share: no record, and hardly an octet more than was asked.
fn limited(snapshot: &Snapshot, packet: &[u8], asker: &Asker, room: &mut [u8]) {
    let limits = RateLimits {
        answers_per_second: 1,
        errors_per_second: 1,
        ipv4_prefix: 24,
        ipv6_prefix: 56,
        slip: 1,
        slots: 8,
        exempt: vec![],
    };
    let limiter = RateLimiter::new(limits, [0; 16]);
    let guard = Guard {
        secrets: &SECRETS,
        limit: limiter.place(asker.address).map(|place| Limit {
            limiter: &limiter,
            place,
            now: Duration::ZERO,
        }),
        page: None,
        note: None,
    };
    let mut again = || {
        let name = &mut NameKey::default();
        answer_guarded(&guard, snapshot, NODE_NAME, packet, asker, name, room)
    };
    again();
    let Some(said) = again() else { return };
    let Some(limited) = said.limited else {
        assert_eq!(said.cookie, Some(State::Valid), "over the limit, and not limited");
        return;
    };
    assert_ne!(limited, Limited::Dropped, "each of them has its turn");
    let message = Decoded::read(&room[..said.length]).expect("it can be decoded").message;
    let records = message.answers.len() + message.authorities.len() + message.additionals.len();
    assert_eq!((records, message.truncation), (0, said.truncated));
    let cookie = if said.cookie.is_some() { 16 } else { 0 };
    assert!(said.length <= packet.len() + cookie, "{} for {}", said.length, packet.len());
}

fn judge(packet: &[u8], transport: Transport, said: &Answer, octets: &[u8]) -> Message {
    assert!(packet[2] & 0x80 == 0, "a response was answered");
    assert_eq!((octets[..2].to_vec(), octets[2] & 0x80), (packet[..2].to_vec(), 0x80));
    assert_eq!(octets[2] & 0x79, packet[2] & 0x79, "opcode and RD are echoed");
    let decoded = Decoded::read(octets).expect("an answer that can be decoded");
    assert_eq!(decoded.trailing, 0);
    let message = decoded.message;
    assert_eq!(u16::from(message.response_code), said.rcode as u16);
    assert_eq!(message.truncation, said.truncated);

    let mut key = NameKey::ROOT;
    let parsed = Query::parse(packet, &mut key);
    let question = match &parsed {
        Ok(query) => Some(query.question.section),
        Err(Rejection::CookieOnly { .. }) => None,
        Err(Rejection::Error { question, .. }) => *question,
        Err(Rejection::Silence) => panic!("an answer to what must not be answered"),
    };
    let question = question.unwrap_or_default();
    assert_eq!(&octets[HEADER..HEADER + question.len()], question, "the question, byte for byte");
    assert_eq!(message.queries.len(), usize::from(!question.is_empty()));

    let asked_edns = match &parsed {
        Ok(query) => query.edns.is_some(),
        Err(Rejection::CookieOnly { .. }) => true,
        Err(Rejection::Error { edns, .. }) => *edns,
        Err(Rejection::Silence) => false,
    };
    assert_eq!(message.edns.is_some(), asked_edns, "an OPT exactly if one was readable");
    let edns = parsed.as_ref().ok().and_then(|query| query.edns);
    let limit = match edns {
        _ if transport != Transport::Udp => MAX_STREAM,
        None => 512,
        Some(edns) => usize::from(edns.udp_size).clamp(512, MAX_UDP),
    };
    assert!(octets.len() <= limit, "{} octets of {limit}", octets.len());

    let records = message.answers.len() + message.authorities.len() + message.additionals.len();
    assert!(!said.truncated || records == 0, "TC with records");
    assert!(records == 0 || parsed.is_ok(), "records beside an error");
    assert!(!message.recursion_available);
    let asked_cookie = match &parsed {
        Ok(query) => query.edns.and_then(|edns| edns.cookie),
        Err(Rejection::CookieOnly { cookie, .. }) => Some(*cookie),
        Err(Rejection::Error { .. } | Rejection::Silence) => None,
    };
    let told_cookie = decoded.opts.first().and_then(|opt| opt.cookie());
    assert_eq!(asked_cookie.is_some(), told_cookie.is_some());
    assert_eq!(asked_cookie.is_some(), said.cookie.is_some());
    if let (Some(asked), Some(told)) = (asked_cookie, told_cookie) {
        assert_eq!((told.len(), &told[..8]), (24, &asked.client()[..]));
    }
    if let Some(edns) = edns {
        let subnet = decoded.opts[0].subnets().expect("whole options");
        match (edns.subnet, &subnet[..]) {
            (None, []) => {}
            (Some(asked), [told]) => same_subnet(&asked, told, said),
            (asked, told) => panic!("{asked:?} and {told:?}"),
        }
    }
    message
}

/// RFC 7871 §7.2.1: family, source and address as asked.
fn same_subnet(asked: &ClientSubnet, told: &[u8], said: &Answer) {
    let &[family_high, family_low, source, scope, ref address @ ..] = told else {
        panic!("{told:?}")
    };
    let family = u16::from_be_bytes([family_high, family_low]);
    assert_eq!((family, source), (asked.family.number(), asked.source));
    assert_eq!(address, asked.wire_address());
    let bits = match asked.family {
        SubnetFamily::None => 0,
        SubnetFamily::V4 => 32,
        SubnetFamily::V6 => 128,
    };
    assert!(scope <= bits, "scope {scope} of {bits}");
    assert!(
        scope == 0 || (source > 0 && said.steered.is_some()),
        "scope without a say of the subnet's"
    );
}

/// A datagram says what a stream does, or says that it cannot.
fn agree((whole, long): &(Answer, Message), (cut, short): &(Answer, Message)) {
    assert!(!whole.truncated || whole.length > MAX_UDP, "a stream is never short of room here");
    if cut.truncated {
        return;
    }
    assert_eq!((whole.rcode, whole.steered), (cut.rcode, cut.steered));
    assert_eq!(long.answers, short.answers);
    assert_eq!(long.authorities, short.authorities);
    assert_eq!(long.authoritative, short.authoritative);
}
