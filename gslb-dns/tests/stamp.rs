//! The stamp of an answer: who gets one, that nothing gives way to it, and that it is enough to explain the answer
//! as it was, whatever has been ordered since.

#![expect(clippy::unwrap_used, reason = "what a test cannot go on without may as well end it")]

mod clocks;

use std::fs;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use clocks::clocks;
use gslb_dns::answer::{Asker, MAX_STREAM, MAX_UDP, Transport, answer};
use gslb_dns::archive::{self, Shelf};
use gslb_dns::config::{self, Config};
use gslb_dns::explain::{
    AnswerTold, Explanation, Format, KnownFrom, Request, RequestWords, explain, explain_then, query,
};
use gslb_dns::health::view::Views;
use gslb_dns::history::{Found, Head};
use gslb_dns::keeper::{Beliefs, By, Keeper, Then};
use gslb_dns::metrics::Metrics;
use gslb_dns::name::NameKey;
use gslb_dns::orders::OrderWords;
use gslb_dns::query::ClientSubnet;
use gslb_dns::snapshot::Snapshot;
use gslb_dns::stamp::{self, OPTION_STAMP, Stamp};
use hickory_proto::op::Message;
use hickory_proto::rr::rdata::opt::EdnsOption;
use ipnet::IpNet;
use jiff::{SignedDuration, Timestamp};
use tempfile::TempDir;

const NODE: &str = r#"
name      = "dns1"
cluster   = "test"
world     = "world.toml"
state_dir = "state"
[dns]
listen  = ["127.0.0.1:0"]
trusted = ["192.0.2.0/24", "2001:db8:7::/48"]
"#;
const WORLD: &str = r#"
[zone."example.com"]
file = "zone"
[site.fra]
vips = ["198.51.100.10"]
[site.iad]
vips = ["203.0.113.10"]
[site.nrt]
vips = ["203.0.113.20"]
[service."www.example.com"]
sites = ["fra", "iad", "nrt"]
steer = ["failover"]
when_all_down = "open"
[service."api.example.com"]
sites = ["fra", "iad", "nrt"]
steer = ["weighted"]
when_all_down = "open"
ttl = { max = "2s" }
"#;
const ZONE: &str = "
@ 60 SOA ns1 h 1 2 3 4 5
@ 60 NS ns1
ns1 60 A 198.51.100.53
many 60 A 10.0.0.1
$GENERATE 2-60 many 60 A 10.0.0.$
";
const TRUSTED: &str = "192.0.2.53";
const STRANGER: &str = "198.51.100.53";
/// Octets of the option, its head counted.
const OPTION: usize = 4 + stamp::LENGTH;

fn files() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in [("node.toml", NODE), ("world.toml", WORLD), ("zone", ZONE)] {
        fs::write(dir.path().join(name), text).unwrap();
    }
    fs::create_dir(dir.path().join("state")).unwrap();
    dir
}

fn load(dir: &Path) -> config::Prepared {
    let prepared = config::load(&dir.join("node.toml")).and_then(Config::prepare);
    prepared.unwrap_or_else(|problems| panic!("{problems}"))
}

fn keeper(dir: &Path, now: Timestamp) -> Keeper {
    let prepared = load(dir);
    Keeper::start(&prepared.node, prepared.ground, Metrics::new(vec![]).world, clocks(now))
}

/// A query and where it comes from.
#[derive(Clone, Copy)]
struct Sender<'a> {
    address: &'a str,
    transport: Transport,
    subnet: Option<&'a str>,
}

const OVER_UDP: Sender<'_> = Sender { address: TRUSTED, transport: Transport::Udp, subnet: None };

fn packet(name: &str, subnet: Option<&str>) -> Vec<u8> {
    let subnet = subnet.map(|subnet| {
        let net: IpNet = subnet.parse().unwrap();
        ClientSubnet::new(net.addr(), net.prefix_len())
    });
    query(&name.parse().unwrap(), "A".parse().unwrap(), subnet.as_ref())
}

fn octets(snapshot: &Snapshot, packet: &[u8], from: Sender<'_>, now: Timestamp) -> Vec<u8> {
    let address: IpAddr = from.address.parse().unwrap();
    let asker = Asker { address, transport: from.transport, now: now.as_second() as u64 };
    let room = if from.transport == Transport::Udp { MAX_UDP } else { MAX_STREAM };
    let mut out = vec![0; room];
    let said = answer(snapshot, "dns1", packet, &asker, &mut NameKey::default(), &mut out);
    out.truncate(said.unwrap().length);
    out
}

fn stamp_in(octets: &[u8]) -> Option<Stamp> {
    let message = Message::from_vec(octets).unwrap();
    message.edns?.options().as_ref().iter().find_map(|(_, option)| match option {
        EdnsOption::Unknown(OPTION_STAMP, value) => Some(Stamp::read(value).unwrap()),
        _ => None,
    })
}

fn instant(text: &str) -> Timestamp {
    text.parse().unwrap()
}

#[test]
fn a_stamp_is_for_trusted_senders_of_queries_with_edns() {
    let dir = files();
    let now = instant("2026-11-21T10:00:00.7Z");
    let keeper = keeper(dir.path(), now);
    let snapshot = keeper.published().load();
    let check = |from: Sender<'_>, client: Option<&str>| {
        let stamp =
            stamp_in(&octets(&snapshot, &packet("www.example.com", from.subnet), from, now));
        assert_eq!(stamp.map(|stamp| stamp.client.to_string()).as_deref(), client);
        if let Some(stamp) = stamp {
            assert_eq!((stamp.at, stamp.board_at), (instant("2026-11-21T10:00:00Z"), now));
            assert_eq!(stamp.epoch, stamp::Short::of(&snapshot.world().epoch.0));
            assert_eq!(stamp.board, stamp::Short::of(&snapshot.board.digest.0));
        }
    };
    use Transport::{Https, Quic, Tcp, Tls, Udp};
    for transport in [Udp, Tcp, Tls, Https, Quic] {
        let over = Sender { transport, ..OVER_UDP };
        check(over, Some("resolver 192.0.2.53"));
        check(Sender { address: "2001:db8:7::1", ..over }, Some("resolver 2001:db8:7::1"));
        check(Sender { subnet: Some("81.2.69.0/24"), ..over }, Some("client subnet 81.2.69.0/24"));
        // A subnet that is not believed leaves the resolver.
        check(Sender { subnet: Some("10.1.2.0/24"), ..over }, Some("resolver 192.0.2.53"));
        // Whoever says that it asks for a trusted client is not trusted for it.
        let stranger = Sender { address: STRANGER, ..over };
        check(stranger, None);
        check(Sender { subnet: Some("192.0.2.0/24"), ..stranger }, None);
    }
    let mut plain = packet("www.example.com", None);
    plain.truncate(plain.len() - 11);
    plain[11] = 0;
    assert!(Message::from_vec(&octets(&snapshot, &plain, OVER_UDP, now)).unwrap().edns.is_none());
}

#[test]
fn nothing_gives_way_to_a_stamp() {
    let dir = files();
    let now = instant("2026-11-21T10:00:00Z");
    let keeper = keeper(dir.path(), now);
    let snapshot = keeper.published().load();
    let mut asked = packet("many.example.com", None);
    let size_at = asked.len() - 8;
    let mut say = |address: &str, size: usize| {
        asked[size_at..size_at + 2].copy_from_slice(&(size as u16).to_be_bytes());
        octets(&snapshot, &asked, Sender { address, ..OVER_UDP }, now)
    };
    let whole = say(STRANGER, 1232).len();
    assert!(
        (513 + OPTION..1232 - OPTION).contains(&whole),
        "{whole}: cut, too long for it, and with it"
    );
    for size in 500..=1240 {
        let (told, stranger) = (say(TRUSTED, size), say(STRANGER, size));
        // The same answer, whole or cut, but for the stamp, which is there if there is room.
        let told_as = |octets: &[u8]| AnswerTold::read(&Message::from_vec(octets).unwrap());
        assert_eq!(told_as(&told), told_as(&stranger), "{size}");
        assert_eq!(told[2], stranger[2], "{size}");
        let room = size.clamp(512, 1232);
        assert!(told.len() <= room, "{size}");
        let fits = stranger.len() + OPTION <= room;
        assert_eq!(stamp_in(&told).is_some(), fits, "{size}");
        assert_eq!(told.len(), stranger.len() + if fits { OPTION } else { 0 }, "{size}");
    }
}

/// One answer, as somebody kept it.
struct Kept {
    octets: Vec<u8>,
    name: &'static str,
}

fn explained(snapshot: &Snapshot, kept: &Kept, words: RequestWords) -> Explanation {
    explain(snapshot, "dns1", &request_of(kept, words))
}

fn request_of(kept: &Kept, words: RequestWords) -> Request {
    let stamp = stamp_in(&kept.octets).unwrap();
    let hex: String = stamp.octets().iter().map(|octet| format!("{octet:02x} ")).collect();
    let words = RequestWords {
        name: kept.name.into(),
        qtype: "A".into(),
        stamp: Some(format!("; OPT=65300: {hex}(\"...\")")),
        ..words
    };
    Request::parse(&words, Timestamp::UNIX_EPOCH).unwrap()
}

#[test]
fn an_answer_is_explained_as_it_was_whatever_came_after() {
    let dir = files();
    let start = instant("2026-11-21T10:00:00.25Z");
    let after = |ms: i64| start.checked_add(SignedDuration::from_millis(ms)).unwrap();
    let mut keeper = keeper(dir.path(), start);
    let mut kept = Vec::new();
    // Each order in the second of the answer before it, half a second after.
    let orders = [
        ("drain", "fra", None, None),
        ("drain", "iad", None, Some("40s")),
        ("undrain", "fra", None, None),
        ("force", "nrt", Some("down"), None),
        ("weight", "iad", Some("0"), None),
        ("drain", "*", None, None),
        ("undrain", "nrt", None, None),
    ];
    let mut boards = Vec::new();
    for (index, (order, site, value, over)) in orders.into_iter().enumerate() {
        for at in [after(index as i64 * 10_000), after(index as i64 * 10_000 + 5_000)] {
            keeper.turn(clocks(at));
            let snapshot = keeper.published().load();
            boards.push(snapshot.board.digest.to_string());
            for (name, subnet) in [
                ("www.example.com", None),
                ("www.example.com", Some("81.2.69.0/24")),
                ("api.example.com", Some("81.2.70.0/24")),
                ("api.example.com", None),
            ] {
                let from = Sender { subnet, ..OVER_UDP };
                kept.push(Kept {
                    octets: octets(&snapshot, &packet(name, subnet), from, at),
                    name,
                });
            }
        }
        let words = OrderWords {
            order: order.into(),
            value: value.map(str::to_owned),
            site: site.into(),
            over: over.map(str::to_owned),
            why: "test".into(),
            anyway: true,
            ..OrderWords::default()
        };
        keeper.order(&words, &By::itself(), after(index as i64 * 10_000 + 5_500)).unwrap();
    }
    keeper.turn(clocks(after(3_600_000)));
    boards.sort_unstable();
    boards.dedup();
    assert!(boards.len() > orders.len(), "{boards:?}");

    let prepared = load(dir.path());
    let (of_files, _) = Beliefs::read(&prepared.node);
    let ground = Arc::new(prepared.ground);
    let later = after(7_200_000);
    for kept in &kept {
        let stamp = stamp_in(&kept.octets).unwrap();
        let told = AnswerTold::read(&Message::from_vec(&kept.octets).unwrap());
        let request = request_of(kept, RequestWords::default());
        let moment = request.moment.unwrap();
        let look_up = |shelf: &Shelf| Some(archive::found(shelf, &request.sought(later).unwrap()));
        let Then { ground: running, board, shelf } = keeper.then(&moment, later);
        let now = explain_then(running, board, look_up(&shelf), "dns1", &request);
        assert_eq!(now.stamp.as_ref().unwrap().differs, Vec::<String>::new(), "{}", now.text());
        assert_eq!(now.answer, told, "{}", now.text());
        assert!(now.board.digest.starts_with(&stamp.board.to_string()));
        let of_then = now.moment.as_ref().unwrap();
        assert_eq!((of_then.known_from, &of_then.doubts[..]), (KnownFrom::History, &[][..]));
        // From the files alone as well, and from orders where nobody watches and no history is left.
        let by_orders = || of_files.board_of(&moment, &ground, &Views::default(), later);
        let files = Shelf::of_files(&dir.path().join("state"));
        let again =
            explain_then(Arc::clone(&ground), by_orders(), look_up(&files), "dns1", &request);
        let json = |explanation: &Explanation| explanation.render(Format::Json).unwrap();
        assert_eq!(json(&again), json(&now));
        let nothing = Some((Found::Nothing, vec![]));
        let ordered = explain_then(Arc::clone(&ground), by_orders(), nothing, "dns1", &request);
        assert_eq!(ordered.answer, told, "{}", ordered.text());
        assert_eq!(ordered.moment.unwrap().doubts, Vec::<String>::new());
    }
    // And they are not what is answered now.
    let now = keeper.published().load();
    let others = kept.iter().filter(|kept| {
        let told = explained(&now, kept, RequestWords::default());
        !told.stamp.unwrap().differs.is_empty()
    });
    assert!(others.count() > kept.len() / 2);
}

#[test]
fn what_is_kept_of_then_and_makes_another_board_is_said() {
    let dir = files();
    let at = instant("2026-11-21T10:00:00Z");
    let keeper = keeper(dir.path(), at);
    let then = keeper.published().load();
    let octets = octets(&then, &packet("www.example.com", None), OVER_UDP, at);
    let request = request_of(&Kept { octets, name: "www.example.com" }, RequestWords::default());
    let later = at.checked_add(SignedDuration::from_hours(1)).unwrap();
    let check = |change: fn(&mut Head), expected: Option<&str>| {
        let Then { ground, board, shelf } = keeper.then(&request.moment.unwrap(), later);
        let (found, flaws) = archive::found(&shelf, &request.sought(later).unwrap());
        let Found::Then(mut past) = found else { panic!("it is kept") };
        change(&mut past.head);
        let found = Some((Found::Then(past), flaws));
        let doubts = explain_then(ground, board, found, "dns1", &request).moment.unwrap().doubts;
        assert_eq!(doubts.len(), expected.iter().count(), "{doubts:?}");
        assert!(doubts.iter().zip(expected).all(|(one, words)| one.contains(words)), "{doubts:?}");
    };
    check(|_| (), None);
    check(|head| head.digest = "00".into(), Some("the digest of then was 00, and what is kept"));
    check(|head| head.epoch = "0".repeat(64).into(), Some("another world answered then, epoch 00"));
}

#[test]
fn what_is_not_as_it_was_is_said() {
    let dir = files();
    let at = instant("2026-11-21T10:00:00Z");
    let one = keeper(dir.path(), at);
    let then = one.published().load();
    let octets = octets(&then, &packet("www.example.com", None), OVER_UDP, at);
    let kept = Kept { octets, name: "www.example.com" };
    let check = |snapshot: &Snapshot, words: RequestWords, expected: &[&str]| {
        let told = explained(snapshot, &kept, words);
        let text = told.text();
        let differs = told.stamp.unwrap().differs;
        assert_eq!(differs.len(), expected.len(), "{differs:?}");
        for (told, expected) in differs.iter().zip(expected) {
            assert!(told.starts_with(expected), "{told}");
            assert!(text.contains(&format!("DIFFERS    {told}")), "{text}");
        }
        assert_eq!(text.contains("world and board are the same here"), expected.is_empty());
    };
    let plain = RequestWords::default;
    check(&then, plain(), &[]);
    check(
        &then,
        RequestWords { resolver: Some(STRANGER.into()), ..plain() },
        &["the answer was for resolver 192.0.2.53, and somebody else is asked about"],
    );
    check(
        &then,
        RequestWords { suppose: vec!["down=fra".into()], ..plain() },
        &["something is supposed that was not so"],
    );
    // What the overrides file says of a moment gone is no history.
    let drained = "[[override]]\nsite = \"fra\"\ndrain = true\nwhy = \"test\"\nwho = \"test\"\n";
    fs::write(dir.path().join("state/overrides.toml"), drained).unwrap();
    let drained = keeper(dir.path(), at).published().load();
    let board = format!(
        "this answer came from another board: digest {}…",
        stamp::Short::of(&then.board.digest.0)
    );
    check(&drained, plain(), &[&board]);
    // Nor is the world.
    fs::remove_file(dir.path().join("state/overrides.toml")).unwrap();
    fs::write(dir.path().join("world.toml"), WORLD.replace("\"2s\"", "\"3s\"")).unwrap();
    let other = keeper(dir.path(), at).published().load();
    let [was, is] = [&then, &other].map(|of| stamp::Short::of(&of.world().epoch.0));
    let world =
        format!("this answer came from another world: epoch {was}…, the config here is {is}…;");
    check(&other, plain(), &[&world]);
    // An answer of a server that had heard more.
    let mut later = stamp_in(&kept.octets).unwrap();
    later.orders = 3;
    let hex: String = later.octets().iter().map(|octet| format!("{octet:02x}")).collect();
    let words = RequestWords {
        name: "www.example.com".into(),
        qtype: "A".into(),
        stamp: Some(hex),
        ..plain()
    };
    let told = explain(&then, "dns1", &Request::parse(&words, at).unwrap());
    let differs = told.stamp.unwrap().differs;
    assert!(differs[0].starts_with("orders up to 3 were in the board"), "{differs:?}");
}

#[test]
fn who_is_trusted_changes_with_a_reload() {
    let dir = files();
    let at = instant("2026-11-21T10:00:00Z");
    let mut keeper = keeper(dir.path(), at);
    let stamped = |keeper: &Keeper, address: &str| {
        let snapshot = keeper.published().load();
        let from = Sender { address, ..OVER_UDP };
        stamp_in(&octets(&snapshot, &packet("www.example.com", None), from, at)).is_some()
    };
    assert_eq!((stamped(&keeper, TRUSTED), stamped(&keeper, STRANGER)), (true, false));
    fs::write(dir.path().join("node.toml"), NODE.replace("192.0.2.0/24", "198.51.100.53/32"))
        .unwrap();
    let reloaded = keeper.adopt(load(dir.path()), &By::itself(), clocks(at));
    assert_eq!((reloaded.changed, reloaded.attention), (false, vec![]));
    assert_eq!((stamped(&keeper, TRUSTED), stamped(&keeper, STRANGER)), (false, true));
    // With another world too, and after another board.
    let node = NODE.replace("trusted", "# trusted");
    fs::write(dir.path().join("node.toml"), node).unwrap();
    fs::write(dir.path().join("world.toml"), WORLD.replace("\"2s\"", "\"3s\"")).unwrap();
    keeper.adopt(load(dir.path()), &By::itself(), clocks(at));
    assert_eq!((stamped(&keeper, TRUSTED), stamped(&keeper, STRANGER)), (false, false));
    fs::write(dir.path().join("node.toml"), NODE).unwrap();
    fs::write(dir.path().join("world.toml"), WORLD).unwrap();
    keeper.adopt(load(dir.path()), &By::itself(), clocks(at));
    let words = OrderWords {
        order: "drain".into(),
        site: "fra".into(),
        why: "test".into(),
        ..OrderWords::default()
    };
    keeper.order(&words, &By::itself(), at).unwrap();
    assert_eq!((stamped(&keeper, TRUSTED), stamped(&keeper, STRANGER)), (true, false));
}
