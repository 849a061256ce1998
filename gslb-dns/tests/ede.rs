//! Extended errors: what they say, and that nothing gives way to them.

#![expect(clippy::unwrap_used, reason = "what a test cannot go on without may as well end it")]

mod small_world;

use std::fmt::Write as _;
use std::sync::Arc;

use gslb_dns::answer::{Asker, MAX_STREAM, Transport, answer};
use gslb_dns::explain::query;
use gslb_dns::health::board::{Board, Health};
use gslb_dns::health::last_known::LastKnown;
use gslb_dns::health::overrides::{Glob, Order, Override};
use gslb_dns::name::NameKey;
use gslb_dns::snapshot::{Groundwork, Snapshot};
use hickory_proto::op::Message;
use hickory_proto::rr::rdata::opt::EdnsOption;
use jiff::Timestamp;

use small_world::world;

const ZONE: &str = "@ 10 SOA ns h 1 2 3 4 10\n@ 60 NS ns\nns 60 A 198.51.100.53\n";

/// Services `open`, `known`, `empty`, `alias` (which leads to `open`), and `static` with so many addresses;
/// all their sites are ordered so.
fn snapshot(addresses: usize, order: Option<Order>) -> Snapshot {
    let mut text = String::from("[zone.\"example.com\"]\nfile = \"example.com.zone\"\n");
    text.push_str("[site.one]\nvips = [\"192.0.2.1\"]\n[site.two]\nvips = [\"192.0.2.2\"]\n");
    let vips: Vec<String> = (0..addresses).map(|last| format!("203.0.113.{last}")).collect();
    for (name, mode) in [
        ("open", "\"open\"".to_owned()),
        ("known", "\"last-known\"".to_owned()),
        ("empty", "\"empty\"".to_owned()),
        ("static", format!("\"static\"\nstatic = {vips:?}")),
    ] {
        writeln!(text, "[service.\"{name}.example.com\"]\nsites = [\"one\", \"two\"]").unwrap();
        writeln!(text, "when_all_down = {mode}").unwrap();
    }
    text.push_str("[service.\"alias.example.com\"]\nwhen_all_down = \"open\"\n");
    text.push_str("sites = [{ site = \"one\", cname = \"open.example.com\" }]\n");
    let said = order.map(|order| Override {
        site: Glob::new("*"),
        service: Glob::new("*"),
        order,
        who: "test".into(),
        why: "test".into(),
        since: Timestamp::UNIX_EPOCH,
        until: None,
    });
    let said: Vec<&Override> = said.iter().collect();
    let ground = Arc::new(Groundwork::new(world(&text, ZONE)));
    let none = LastKnown::default();
    let board = Board::build(1, &ground.world, &said, &none, Timestamp::UNIX_EPOCH);
    Snapshot::new(ground, board)
}

fn ask(snapshot: &Snapshot, packet: &[u8], transport: Transport) -> (Message, usize) {
    let asker = Asker { address: [192, 0, 2, 99].into(), transport, now: 0 };
    let mut out = vec![0xff; MAX_STREAM];
    let answer =
        answer(snapshot, "test", packet, &asker, &mut NameKey::default(), &mut out).unwrap();
    (Message::from_vec(&out[..answer.length]).unwrap(), answer.length)
}

/// Code and text, if there is one.
fn told(message: &Message) -> Option<String> {
    message.edns.as_ref()?.options().as_ref().iter().find_map(|(_, option)| match option {
        EdnsOption::Unknown(15, value) => {
            let (code, text) = value.split_first_chunk().unwrap();
            let text = String::from_utf8_lossy(text);
            Some(format!("{} {text}", u16::from_be_bytes(*code)))
        }
        _ => None,
    })
}

fn check(snapshot: &Snapshot, name: &str, expected: Option<&str>) {
    let name = format!("{name}.example.com").parse().unwrap();
    let mut packet = query(&name, "A".parse().unwrap(), None);
    let (message, _) = ask(snapshot, &packet, Transport::Udp);
    assert_eq!(told(&message).as_deref(), expected, "{name}");
    // Who does not speak EDNS is told nothing of it.
    packet.truncate(packet.len() - 11);
    packet[11] = 0;
    assert!(ask(snapshot, &packet, Transport::Udp).0.edns.is_none());
}

#[test]
fn an_answer_by_a_fail_mode_says_so_and_no_other() {
    let down = snapshot(1, Some(Order::Force(Health::Down)));
    check(&down, "open", Some("0 no site is fit: fail mode open"));
    check(&down, "known", Some("0 no site is fit: fail mode last-known"));
    check(&down, "static", Some("0 no site is fit: fail mode static"));
    check(&down, "empty", Some("0 no site is fit: fail mode empty"));
    check(&down, "alias", Some("0 no site is fit: fail mode open"));
    check(&down, "ns", None);
    let drained = snapshot(1, Some(Order::Drain { over: 0 }));
    for name in ["open", "known", "static", "empty", "alias"] {
        check(&drained, name, Some("0 every site is drained"));
    }
    let up = snapshot(1, None);
    for name in ["open", "known", "static", "empty", "alias", "ns", "nowhere"] {
        check(&up, name, None);
    }
}

#[test]
fn no_record_gives_way_to_an_extended_error() {
    const QUESTION: usize = 12 + 20 + 4; // static.example.com
    const OPT: usize = 11;
    const EXTENDED: usize = 4 + 2 + "no site is fit: fail mode static".len();
    let name = "static.example.com".parse().unwrap();
    let mut packet = query(&name, "A".parse().unwrap(), None);
    let size_at = packet.len() - 8;
    let (mut with, mut without) = (0, 0);
    for addresses in 20..=29 {
        let snapshot = snapshot(addresses, Some(Order::Force(Health::Down)));
        let bare = QUESTION + 16 * addresses + OPT;
        // The largest answer without it, and the smallest with it, to the octet.
        for size in [bare, bare + EXTENDED - 1, bare + EXTENDED] {
            let size = size.max(512);
            packet[size_at..size_at + 2].copy_from_slice(&(size as u16).to_be_bytes());
            let (message, length) = ask(&snapshot, &packet, Transport::Udp);
            assert!(!message.metadata.truncation && length <= size);
            assert_eq!(message.answers.len(), addresses);
            let fits = bare + EXTENDED <= size;
            assert_eq!(told(&message).is_some(), fits, "{addresses} addresses, {size} octets");
            *if fits { &mut with } else { &mut without } += 1;
        }
    }
    assert!(with > 0 && without > 0);
}
