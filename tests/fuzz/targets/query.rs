//! `query`: any packet, read by us and by a decoder that shares no line with ours.

#![no_main]

use std::cell::RefCell;

use fuzz::wire::{Decoded, RawOpt, is_sound_subnet, lower_wire, records};
use gslb_dns::name::NameKey;
use gslb_dns::query::{Class, Edns, HEADER, Query, Rcode, Rejection, SubnetFamily};
use hickory_proto::op::{MessageType, OpCode};
use hickory_proto::rr::rdata::opt::{EdnsCode, EdnsOption};
use libfuzzer_sys::fuzz_target;

thread_local! {
    /// Read into again and again, as servers may: what stood there before must not show.
    static KEY: RefCell<NameKey> = const { RefCell::new(NameKey::ROOT) };
}

fuzz_target!(|packet: &[u8]| {
    KEY.with_borrow_mut(|key| match Query::parse(packet, key) {
        Ok(query) => accepted(packet, &query),
        Err(rejection) => rejected(packet, &rejection),
    });
});

fn accepted(packet: &[u8], query: &Query<'_>) {
    let question = &query.question;
    let (name, fixed) = question.section.split_at(question.section.len() - 4);
    assert_eq!(&packet[HEADER..HEADER + question.section.len()], question.section);
    assert_eq!(question.name.wire(), name.to_ascii_lowercase());
    assert!(name.len() <= 255 && question.name.labels() <= 127);
    assert_eq!(question.name.suffix(question.name.labels()), question.name.wire());
    assert_eq!(question.name.suffix(0), [0]);

    let Some(theirs) = Decoded::read(packet) else {
        assert!(theirs_is_stricter(packet), "we accept what the other decoder refuses");
        return;
    };
    // Each rule on which we refuse is one that we keep.
    assert_eq!(why_stricter(packet, &theirs), None);
    let message = &theirs.message;
    assert_eq!((query.id, query.recursion_desired), (message.id, message.recursion_desired));
    let [asked] = &message.queries[..] else { panic!("{} questions", message.queries.len()) };
    assert_eq!(question.name.wire(), lower_wire(asked.name()));
    assert_eq!(question.qtype.0, u16::from(asked.query_type()));
    assert_eq!(fixed[..2], question.qtype.0.to_be_bytes());
    let class = match u16::from(asked.query_class()) {
        1 => Class::Internet,
        3 => Class::Chaos,
        255 => Class::Any,
        _ => Class::Other,
    };
    assert_eq!(question.class, class);
    match (&query.edns, &message.edns) {
        (None, None) => {}
        (Some(ours), Some(edns)) => {
            same_edns(ours, edns);
            let cookie = ours.cookie.map(|cookie| [&cookie.client()[..], cookie.server()].concat());
            assert_eq!(cookie.as_deref(), theirs.opts[0].cookie());
        }
        (ours, theirs) => panic!("{ours:?} and {theirs:?}"),
    }
}

fn same_edns(ours: &Edns<'_>, theirs: &hickory_proto::op::Edns) {
    // They raise what is below 512 while they read; we when we answer.
    assert_eq!(ours.udp_size.max(512), theirs.max_payload());
    assert_eq!(ours.dnssec_ok, theirs.flags().dnssec_ok);
    assert_eq!(theirs.version(), 0);
    assert_eq!(ours.nsid, theirs.option(EdnsCode::NSID).is_some());
    match (ours.subnet, theirs.option(EdnsCode::Subnet)) {
        (None, None) => {}
        (Some(ours), Some(EdnsOption::Subnet(theirs))) => {
            assert_eq!(
                (ours.address(), ours.source),
                (Some(theirs.addr()), theirs.source_prefix())
            );
            assert_ne!(ours.family, SubnetFamily::None);
            assert_eq!(theirs.scope_prefix(), 0);
        }
        (ours, theirs) => panic!("{ours:?} and {theirs:?}"),
    }
}

/// The other decoder understands the data of every record, which a query gives us no cause to; and it
/// knows no client subnet of family 0.
fn theirs_is_stricter(packet: &[u8]) -> bool {
    // What breaks off even this walk is a name with a pointer, and the OPT that we took has none.
    let Some((opts, others)) = records(packet) else { return true };
    let subnets = opts.iter().filter_map(RawOpt::subnets).flatten();
    others > 0 || subnets.into_iter().any(|subnet| subnet.starts_with(&[0, 0]))
}

fn rejected(packet: &[u8], rejection: &Rejection<'_>) {
    let (id, opcode, recursion_desired, rcode, question, edns) = match *rejection {
        Rejection::Silence => {
            assert!(packet.len() < HEADER || packet[2] & 0x80 != 0, "silent towards a query");
            return;
        }
        Rejection::CookieOnly { id, recursion_desired, cookie, .. } => {
            assert_eq!(id.to_be_bytes(), packet[..2]);
            assert_eq!((recursion_desired, packet[2] & 0xf8), (packet[2] & 1 != 0, 0));
            assert_eq!(packet[4..6], [0, 0]);
            let (opts, _) = records(packet).expect("whole records");
            let whole = [&cookie.client()[..], cookie.server()].concat();
            assert_eq!(opts[0].cookie(), Some(&whole[..]));
            return;
        }
        Rejection::Error { id, opcode, recursion_desired, rcode, question, edns } => {
            (id, opcode, recursion_desired, rcode, question, edns)
        }
    };
    assert_eq!(id.to_be_bytes(), packet[..2]);
    assert_eq!((opcode, recursion_desired), (packet[2] >> 3 & 0xf, packet[2] & 1 != 0));
    if let Some(question) = question {
        assert_eq!(&packet[HEADER..HEADER + question.len()], question);
    }
    assert!(!edns || packet[HEADER..].windows(3).any(|octets| octets == [0, 0, 41]));
    let Some(theirs) = Decoded::read(packet) else { return };
    let message = &theirs.message;
    assert_eq!(message.metadata.message_type, MessageType::Query);
    assert_eq!(rcode == Rcode::NotImp, message.op_code != OpCode::Query);
    if rcode == Rcode::NotImp {
        return;
    }
    if rcode == Rcode::BadVers {
        assert!(message.edns.as_ref().is_some_and(|edns| edns.version() != 0));
        assert!(edns);
        return;
    }
    assert_eq!(rcode, Rcode::FormErr);
    assert!(why_stricter(packet, &theirs).is_some(), "refused without a reason");
}

/// Which of our rules a packet breaks that the other decoder takes.
fn why_stricter(packet: &[u8], theirs: &Decoded<'_>) -> Option<&'static str> {
    if theirs.message.queries.len() != 1 {
        return Some("not one question (RFC 9619 §4)");
    }
    if ends_in_a_pointer(&packet[HEADER..]) {
        return Some("a compressed question");
    }
    if theirs.trailing > 0 {
        return Some("octets after the last record");
    }
    let [opt] = &theirs.opts[..] else { return None };
    if opt.owner != [0] {
        return Some("an OPT record whose root is written as a pointer");
    }
    match opt.subnets() {
        None => Some("an option that is cut short"),
        Some(subnets) if subnets.len() > 1 => Some("two client subnets"),
        Some(subnets) if !subnets.iter().all(|value| is_sound_subnet(value)) => {
            Some("a malformed client subnet (RFC 7871 §7.1.2)")
        }
        Some(_) if !opt.cookie().is_none_or(|value| matches!(value.len(), 8 | 16..=40)) => {
            Some("a malformed cookie (RFC 7873 §5.2.2)")
        }
        Some(_) => None,
    }
}

fn ends_in_a_pointer(mut name: &[u8]) -> bool {
    while let Some((&length, rest)) = name.split_first() {
        match length {
            0 => return false,
            1..=63 => name = rest.get(usize::from(length)..).unwrap_or_default(),
            _ => return true,
        }
    }
    false
}
