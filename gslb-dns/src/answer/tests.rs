//! Whole answers, read back by an independent decoder.

use std::io;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use hickory_proto::op::Message;
use hickory_proto::rr::rdata::opt::{EdnsCode, EdnsOption};
use jiff::Timestamp;

use super::*;
use crate::health::board::Board;
use crate::health::last_known::LastKnown;
use crate::name::Name;
use crate::snapshot::Groundwork;
use crate::world::World;
use crate::zone::{Zone, master};

const ZONE: &str = "
$TTL 1h
@         SOA   ns hostmaster 1 4h 15m 2w 60
          NS    ns
          NS    ns.sub
ns        A     192.0.2.53
www       A     192.0.2.1
          A     192.0.2.2
          TXT   text
alias     CNAME www
chain     CNAME alias
astray    CNAME missing
away      CNAME www.example.net.
loop      CNAME pool
pool      CNAME loop
a.b.c     A     192.0.2.3
*.wild    A     192.0.2.4
*.wild    MX    10 www
x.wild    TXT   here
sub       NS    ns.sub
sub       NS    ns.other
sub       DS    12345 13 2 0000000000000000000000000000000000000000000000000000000000000000
ns.sub    A     192.0.2.54
other     NS    ns.other
ns.other  A     192.0.2.55
into      CNAME www.sub
tree      DNAME wild
tree      TXT   owner
long      DNAME aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb
many      A     10.0.0.1
$GENERATE 2-40 many A 10.0.0.$
";

/// As long as a node's name may be: the longest answers hold it too.
const NODE: &str = "a-name-of-63-octets-which-is-as-long-as-config-lets-a-node-be--";

fn snapshot() -> Snapshot {
    let origin: Name = "example.com".parse().unwrap();
    let mut nothing_else = |_: &Path| Err(io::Error::from(io::ErrorKind::NotFound));
    let master =
        master::parse(Path::new("zone"), ZONE.as_bytes(), &origin, &mut nothing_else).unwrap();
    let zone = Zone::build(origin, master.records, &[]).unwrap();
    let world = World::of_zone(zone);
    Snapshot::new(Arc::new(Groundwork::new(world)), Board::of(0, vec![]))
}

/// `www A` or `www A +edns=512 +nsid +ecs +ch`, in the zone unless it ends in a dot.
fn query(words: &str) -> Vec<u8> {
    let origin: Name = "example.com".parse().unwrap();
    let mut words = words.split_whitespace();
    let name = Name::parse(words.next().unwrap().as_bytes(), Some(&origin)).unwrap();
    let qtype: RecordType = words.next().unwrap().parse().unwrap();
    let (mut class, mut opt): (u16, Option<(u16, Vec<u8>)>) = (1, None);
    for word in words {
        match word.split_once('=').unwrap_or((word, "")) {
            ("+ch", _) => class = 3,
            ("+class", value) => class = value.parse().unwrap(),
            ("+edns", size) => opt = Some((size.parse().unwrap(), vec![])),
            ("+padding", octets) => {
                let octets: u8 = octets.parse().unwrap();
                let options = &mut opt.as_mut().unwrap().1;
                options.extend([0, 12, 0, octets]);
                options.resize(options.len() + usize::from(octets), 0);
            }
            ("+nsid", _) => opt.as_mut().unwrap().1.extend([0, 3, 0, 0]),
            ("+ecs", _) => opt.as_mut().unwrap().1.extend([0, 8, 0, 7, 0, 1, 24, 0, 81, 2, 69]),
            (other, _) => panic!("{other}"),
        }
    }
    let mut packet = vec![0xab, 0xcd, 1, 0, 0, 1, 0, 0, 0, 0, 0, u8::from(opt.is_some())];
    packet.extend_from_slice(name.wire());
    packet.extend_from_slice(&qtype.0.to_be_bytes());
    packet.extend_from_slice(&class.to_be_bytes());
    if let Some((size, options)) = opt {
        packet.extend_from_slice(&[0, 0, 41]);
        packet.extend_from_slice(&size.to_be_bytes());
        packet.extend_from_slice(&[0, 0, 0x80, 0, 0, options.len() as u8]);
        packet.extend_from_slice(&options);
    }
    packet
}

fn ask(packet: &[u8], transport: Transport) -> Option<Message> {
    ask_of(&snapshot(), packet, transport)
}

fn ask_of(snapshot: &Snapshot, packet: &[u8], transport: Transport) -> Option<Message> {
    let asker = Asker { address: IpAddr::from([192, 0, 2, 99]), transport, now: 0 };
    let mut out = vec![0xff; if transport == Transport::Udp { MAX_UDP } else { MAX_STREAM }];
    let answer = answer(snapshot, NODE, packet, &asker, &mut NameKey::default(), &mut out)?;
    Some(Message::from_vec(&out[..answer.length]).unwrap())
}

/// The answer in short: code, flags, and a line a section.
fn told(message: &Message) -> String {
    let head = &message.metadata;
    let mut told = format!("{:?}", head.response_code);
    for (set, flag) in [(head.authoritative, " aa"), (head.truncation, " tc")] {
        told.push_str(if set { flag } else { "" });
    }
    if let Some(edns) = &message.edns {
        told.push_str(" opt");
        for (_, option) in edns.options().as_ref() {
            if let EdnsOption::Unknown(15, error) = option {
                let (code, text) = error.split_first_chunk().unwrap();
                told.push_str(&format!(" ede {}", u16::from_be_bytes(*code)));
                told.push_str(std::str::from_utf8(text).unwrap());
            }
        }
    }
    let sections =
        [("", &message.answers), ("auth ", &message.authorities), ("add ", &message.additionals)];
    for (title, records) in sections {
        for record in records {
            let (name, ttl) = (record.name.to_string(), record.ttl);
            let name = name.trim_end_matches("example.com.").trim_end_matches('.');
            let line = record.to_string();
            let data = line.splitn(4, ' ').nth(3).unwrap_or_default().replace(".example.com.", "");
            told.push_str(&format!(" | {title}{name} {ttl} {data}"));
        }
    }
    told
}

fn check(words: &str, expected: &str) {
    let message = ask(&query(words), Transport::Udp).unwrap();
    assert_eq!(told(&message), expected, "{words}");
    assert_eq!(message.metadata.id, 0xabcd);
    assert!(message.metadata.recursion_desired && !message.metadata.recursion_available);
}

#[test]
fn static_records_are_answered_from_the_zone() {
    check("www A", "NoError aa | www 3600 A 192.0.2.1 | www 3600 A 192.0.2.2");
    check("WwW a", "NoError aa | WwW 3600 A 192.0.2.1 | WwW 3600 A 192.0.2.2");
    check("ns.sub.example.net. A", "Refused");
    check("www CNAME", "NoError aa | auth  60 SOA ns hostmaster 1 14400 900 1209600 60");
    check("nowhere A", "NXDomain aa | auth  60 SOA ns hostmaster 1 14400 900 1209600 60");
    check("below.www A", "NXDomain aa | auth  60 SOA ns hostmaster 1 14400 900 1209600 60");
    check("b.c A", "NoError aa | auth  60 SOA ns hostmaster 1 14400 900 1209600 60");
    check("x.b.c A", "NXDomain aa | auth  60 SOA ns hostmaster 1 14400 900 1209600 60");
}

#[test]
fn a_wildcard_stands_in_for_names_that_do_not_exist() {
    check("any.wild A", "NoError aa | any.wild 3600 A 192.0.2.4");
    check("very.deep.wild A", "NoError aa | very.deep.wild 3600 A 192.0.2.4");
    check("*.wild A", "NoError aa | *.wild 3600 A 192.0.2.4");
    check("any.wild AAAA", "NoError aa | auth  60 SOA ns hostmaster 1 14400 900 1209600 60");
    check("x.wild A", "NoError aa | auth  60 SOA ns hostmaster 1 14400 900 1209600 60");
    check("under.x.wild A", "NXDomain aa | auth  60 SOA ns hostmaster 1 14400 900 1209600 60");
}

#[test]
fn aliases_are_followed_within_the_zone() {
    check(
        "alias A",
        "NoError aa | alias 3600 CNAME www | www 3600 A 192.0.2.1 | www 3600 A 192.0.2.2",
    );
    check("alias CNAME", "NoError aa | alias 3600 CNAME www");
    check(
        "chain AAAA",
        "NoError aa | chain 3600 CNAME alias | alias 3600 CNAME www | auth  60 SOA ns hostmaster 1 14400 900 1209600 60",
    );
    check(
        "astray A",
        "NXDomain aa | astray 3600 CNAME missing | auth  60 SOA ns hostmaster 1 14400 900 1209600 60",
    );
    check("away A", "NoError aa | away 3600 CNAME www.example.net.");
    check(
        "into A",
        "NoError aa | into 3600 CNAME www.sub | auth sub 3600 NS ns.sub | auth sub 3600 NS ns.other | add ns.sub 3600 A 192.0.2.54 | add ns.other 3600 A 192.0.2.55",
    );
    check(
        "x.tree TXT",
        "NoError aa | tree 3600 DNAME BHdpbGQHZXhhbXBsZQNjb20A | x.tree 3600 CNAME x.wild | x.wild 3600 TXT here",
    );
    check("tree TXT", "NoError aa | tree 3600 TXT owner");
}

/// A service with an alias to a name of the zone, to one that does not exist and to another service; a
/// zone within the zone, without a delegation.
fn steered() -> Snapshot {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/steer");
    let world = crate::config::load_world(&dir.join("aliases.toml"));
    let ground = Groundwork::new(world.unwrap_or_else(|problems| panic!("{problems}")));
    let board = Board::build(1, &ground.world, &[], &LastKnown::default(), Timestamp::UNIX_EPOCH);
    Snapshot::new(Arc::new(ground), board)
}

fn check_steered(words: &str, expected: &str) {
    let message = ask_of(&steered(), &query(words), Transport::Udp).unwrap();
    assert_eq!(told(&message), expected, "{words}");
}

#[test]
fn a_steered_alias_is_followed_like_any_other() {
    check_steered("near A", "NoError aa | near 30 CNAME www | www 30 A 192.0.2.1");
    check_steered("near CNAME", "NoError aa | near 30 CNAME www");
    check_steered("near ANY", "NoError aa | near 30 CNAME www");
    check_steered("far CNAME", "NoError aa | far 30 CNAME missing");
    check_steered(
        "far A",
        "NXDomain aa | far 30 CNAME missing | auth  10 SOA ns hostmaster 1 14400 900 1209600 10",
    );
}

#[test]
fn a_chain_ends_at_the_edge_of_its_zone() {
    check_steered("into A", "NoError aa | into 60 CNAME a.child");
    check_steered("a.child A", "NoError aa | a.child 60 A 192.0.2.7");
}

#[test]
fn an_alias_that_leads_round_in_a_circle_ends() {
    let message = ask(&query("loop A"), Transport::Udp).unwrap();
    assert_eq!(message.answers.len(), MAX_CHAIN + 1);
    let head = "c".repeat(63);
    let longest = format!("{head}.{head}.{}.long A", "d".repeat(20));
    let message = ask(&query(&longest), Transport::Tcp).unwrap();
    assert_eq!(format!("{:?}", message.metadata.response_code), "YXDomain");
}

#[test]
fn authority_ends_at_a_delegation() {
    let referral = "NoError | auth sub 3600 NS ns.sub | auth sub 3600 NS ns.other | add ns.sub 3600 A 192.0.2.54 | add ns.other 3600 A 192.0.2.55";
    check("www.sub A", referral);
    check("sub NS", referral);
    check("ns.sub A", referral);
    let ds = ask(&query("sub DS"), Transport::Udp).unwrap();
    assert!(ds.metadata.authoritative && ds.answers.len() == 1);
    check("other DS", "NoError aa | auth  60 SOA ns hostmaster 1 14400 900 1209600 60");
}

#[test]
fn any_is_answered_with_one_rrset() {
    check("www ANY", "NoError aa | www 3600 HINFO RFC8482 ");
    check("alias ANY", "NoError aa | alias 3600 CNAME www");
    check("b.c ANY", "NoError aa | auth  60 SOA ns hostmaster 1 14400 900 1209600 60");
    check("nowhere ANY", "NXDomain aa | auth  60 SOA ns hostmaster 1 14400 900 1209600 60");
}

#[test]
fn types_and_classes_that_no_zone_holds_are_refused() {
    check("www AXFR", "Refused");
    check("www IXFR", "Refused");
    check("www MAILB", "NotImp");
    check("www OPT", "FormErr");
    check("www NXNAME", "FormErr");
    check("www A +class=4", "Refused");
    check("www A +class=255", "Refused");
    check("www TXT +ch", "Refused");
    check("version.bind. TXT +ch", "Refused");
    // With EDNS it is told why.
    check("www AXFR +edns=1232", "Refused opt ede 21");
    check("www IXFR +edns=1232", "Refused opt ede 21");
    check("www MAILB +edns=1232", "NotImp opt ede 21");
    check("www A +class=4 +edns=1232", "Refused opt ede 20");
    check("www.example.net. A +edns=1232", "Refused opt ede 20");
    check("www OPT +edns=1232", "FormErr opt");
    check("id.server. TXT +ch", &format!("NoError aa | id.server 0 TXT {NODE}"));
    check("HOSTNAME.bind. TXT +ch", &format!("NoError aa | HOSTNAME.bind 0 TXT {NODE}"));
}

#[test]
fn an_answer_that_does_not_fit_is_cut_to_its_question_and_opt() {
    check("many A", "NoError aa tc");
    check("many A +edns=512", "NoError aa tc opt");
    let whole = |words, transport| ask(&query(words), transport).unwrap();
    assert_eq!(whole("many A +edns=1232", Transport::Udp).answers.len(), 40);
    assert_eq!(whole("many A", Transport::Tcp).answers.len(), 40);
    // An asker cannot ask for less than 512 or more than 1232.
    assert_eq!(whole("www A +edns=0", Transport::Udp).answers.len(), 2);
    assert_eq!(whole("www A +edns=65535", Transport::Udp).edns.unwrap().max_payload(), 1232);
}

#[test]
fn options_are_answered_as_they_were_asked() {
    let message = ask(&query("www A +edns=1232 +nsid +ecs"), Transport::Udp).unwrap();
    let edns = message.edns.unwrap();
    assert!(edns.flags().dnssec_ok && edns.version() == 0);
    let options: Vec<_> = edns.options().as_ref().iter().map(|(_, option)| option).collect();
    assert!(options.iter().any(|option| matches!(option, EdnsOption::Subnet(subnet)
        if subnet.source_prefix() == 24 && subnet.scope_prefix() == 0)));
    assert!(options.iter().any(|option| matches!(option, EdnsOption::NSID(id)
        if id.as_ref() == NODE.as_bytes())));
    let plain = ask(&query("www A +edns=1232"), Transport::Udp).unwrap();
    assert!(plain.edns.unwrap().options().as_ref().is_empty());
}

#[test]
fn the_longest_question_with_every_option_is_answered_in_512_octets() {
    let label = "x".repeat(63);
    let longest = format!("{label}.{label}.{label}.{}. A", "y".repeat(61));
    let mut packet = query(&format!("{longest} +edns=512 +nsid"));
    let address = [0x20; 16];
    let options = [&[0, 8, 0, 20, 0, 2, 128, 0][..], &address].concat();
    let length_at = packet.len() - 5;
    packet[length_at] += options.len() as u8;
    packet.extend_from_slice(&options);
    let message = ask(&packet, Transport::Udp).unwrap();
    assert_eq!(told(&message), "Refused opt ede 20");
    assert_eq!(message.edns.unwrap().options().as_ref().len(), 3);
}

#[test]
fn errors_keep_the_id_the_opcode_and_no_more() {
    let mut notify = query("www SOA");
    notify[2] = 0x21;
    let message = ask(&notify, Transport::Udp).unwrap();
    assert_eq!(message.metadata.id, 0xabcd);
    assert_eq!(told(&message), "NotImp");
    let mut response = query("www A");
    response[2] |= 0x80;
    assert!(ask(&response, Transport::Udp).is_none());
    let mut version = query("www A +edns=1232");
    let at = version.len() - 5;
    version[at] = 1;
    let message = ask(&version, Transport::Udp).unwrap();
    assert_eq!(u16::from(message.metadata.response_code), 16); // BADVERS (RFC 6891 §9).
    assert_eq!(message.edns.unwrap().version(), 0);
}

#[test]
fn an_error_with_an_opt_is_no_longer_than_what_it_answers() {
    let mut notify = query("www SOA +edns=1232");
    notify[2] = 0x21;
    let mut none = query(". SOA +edns=1232");
    none.drain(12..17);
    none[5] = 0;
    let twice = [&query("www SOA +edns=1232")[..], &[0]].concat();
    for (packet, expected) in
        [(notify, "NotImp opt"), (none, "FormErr opt"), (twice, "FormErr opt")]
    {
        let asker =
            Asker { address: IpAddr::from([192, 0, 2, 99]), transport: Transport::Udp, now: 0 };
        let mut out = vec![0; MAX_UDP];
        let name = &mut NameKey::default();
        let answer = answer(&snapshot(), NODE, &packet, &asker, name, &mut out).unwrap();
        assert_eq!(told(&Message::from_vec(&out[..answer.length]).unwrap()), expected);
        assert!(answer.length <= packet.len(), "{expected}: {} {}", answer.length, packet.len());
    }
}

/// Octets of the answer, and of the padding in it if there is some.
fn lengths(words: &str, transport: Transport) -> (usize, Option<usize>) {
    let asker = Asker { address: IpAddr::from([192, 0, 2, 99]), transport, now: 0 };
    let mut out = vec![0xff; MAX_STREAM];
    let room = if transport == Transport::Udp { MAX_UDP } else { MAX_STREAM };
    let name = &mut NameKey::default();
    let answer = answer(&snapshot(), NODE, &query(words), &asker, name, &mut out[..room]).unwrap();
    let message = Message::from_vec(&out[..answer.length]).unwrap();
    let option = message.edns.and_then(|edns| edns.option(EdnsCode::Padding).cloned());
    let padding = option.map(|option| match option {
        EdnsOption::Unknown(_, octets) => {
            assert!(octets.iter().all(|octet| *octet == 0), "what stood there before shows");
            octets.len()
        }
        other => panic!("{other:?}"),
    });
    (answer.length, padding)
}

#[test]
fn who_pads_is_padded_where_nobody_else_reads() {
    for words in ["www A +edns=1232 +padding=0", "many A +edns=1232 +nsid +ecs +padding=9"] {
        for transport in [Transport::Tls, Transport::Https] {
            let (length, padding) = lengths(words, transport);
            assert!(length.is_multiple_of(468) && padding.is_some(), "{words}: {length}");
            let (open, none) = lengths(words, Transport::Tcp);
            assert_eq!((none, open + 4 + padding.unwrap()), (None, length), "{words}");
        }
        assert_eq!(lengths(words, Transport::Udp).1, None, "{words}");
    }
    let plain = lengths("www A +edns=1232", Transport::Tcp);
    assert_eq!(lengths("www A +edns=1232", Transport::Tls), plain);
}

#[test]
fn padding_takes_only_the_room_that_is_left() {
    let opt = Opt::PLAIN;
    let bare = opt.length();
    let check = |before: usize, room, expected| {
        assert_eq!(opt.padded(before, room).padding, expected, "{before} {room}");
    };
    check(468 - bare - 4, 65_535, Some(0));
    check(468 - bare - 3, 65_535, Some(467));
    check(468 - bare, 65_535, Some(464));
    check(65_520 - bare - 4, 65_535, Some(0));
    check(65_520 - bare - 3, 65_535, Some(14)); // The next multiple lies beyond.
    check(65_535 - bare - 4, 65_535, Some(0));
    check(65_535 - bare - 3, 65_535, None);
    check(65_535 - bare, 65_535, None);
}
