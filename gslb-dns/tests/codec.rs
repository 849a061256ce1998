//! What an independent encoder writes we read, and what we write an independent decoder reads.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so by panicking")]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use gslb_dns::answer::{Asker, MAX_STREAM, Transport, answer};
use gslb_dns::health::board::Board;
use gslb_dns::name::NameKey;
use gslb_dns::query::{Class, Edns, Query};
use gslb_dns::record::{Record, RecordType};
use gslb_dns::snapshot::{Groundwork, Snapshot};
use gslb_dns::world::World;
use gslb_dns::zone::Zone;
use hickory_proto::op::{self, Message, MessageType, OpCode};
use hickory_proto::rr::rdata::opt::{ClientSubnet, EdnsOption, NSIDPayload};
use hickory_proto::rr::rdata::{A, AAAA, CNAME, HINFO, MX, NAPTR, NS, PTR, SOA, SRV, TXT};
use hickory_proto::rr::{self, DNSClass, RData};
use hickory_proto::serialize::binary::{BinEncodable, BinEncoder, NameEncoding};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

/// A query as its sender means it.
#[derive(Clone, Debug)]
struct Asked {
    id: u16,
    recursion_desired: bool,
    /// Labels from the left, of any octets.
    name: Vec<Vec<u8>>,
    qtype: u16,
    class: u16,
    edns: Option<AskedEdns>,
}

#[derive(Clone, Debug)]
struct AskedEdns {
    size: u16,
    dnssec_ok: bool,
    options: Vec<Opt>,
}

#[derive(Clone, Debug)]
enum Opt {
    Nsid,
    Subnet(IpAddr, u8),
    Cookie(Vec<u8>),
    Unknown(u16, Vec<u8>),
}

fn asked() -> impl Strategy<Value = Asked> {
    let class = prop_oneof![4 => Just(1), 1 => Just(3), 1 => Just(255), 1 => any::<u16>()];
    let head = (any::<u16>(), any::<bool>(), name(), any::<u16>(), class, option::of(edns()));
    head.prop_map(|(id, recursion_desired, name, qtype, class, edns)| {
        // Nobody asks for an OPT record, and the encoder has types of its own below it.
        Asked { id, recursion_desired, name, qtype: qtype.max(1), class, edns }
    })
}

/// Up to 255 octets, in letters of either case for the most part (0x20), else of any octets.
fn name() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let text = "[a-zA-Z0-9_-]{1,12}".prop_map(String::into_bytes);
    let label = prop_oneof![6 => text, 1 => vec(any::<u8>(), 1..=63)];
    vec(label, 0..12).prop_map(|mut labels| {
        let octets =
            |labels: &[Vec<u8>]| labels.iter().map(|label| label.len() + 1).sum::<usize>() + 1;
        while octets(&labels) > 255 {
            labels.pop();
        }
        labels
    })
}

fn edns() -> impl Strategy<Value = AskedEdns> {
    // The encoder raises sizes below 512, as their readers do.
    let known = (option::of(Just(Opt::Nsid)), option::of(subnet()), option::of(cookie()));
    let options = (known, vec(unknown(), 0..4), any::<bool>());
    let options = options.prop_map(|((nsid, subnet, cookie), unknown, unknown_first)| {
        let known = nsid.into_iter().chain(subnet).chain(cookie);
        match unknown_first {
            true => unknown.into_iter().chain(known).collect(),
            false => known.chain(unknown).collect(),
        }
    });
    (512..=u16::MAX, any::<bool>(), options).prop_map(|(size, dnssec_ok, options)| AskedEdns {
        size,
        dnssec_ok,
        options,
    })
}

fn subnet() -> impl Strategy<Value = Opt> {
    let v4 = (any::<u32>(), 0..=32u8).prop_map(|(bits, source)| {
        let mask = u32::MAX.checked_shl(32 - u32::from(source)).unwrap_or(0);
        Opt::Subnet(Ipv4Addr::from_bits(bits & mask).into(), source)
    });
    let v6 = (any::<u128>(), 0..=128u8).prop_map(|(bits, source)| {
        let mask = u128::MAX.checked_shl(128 - u32::from(source)).unwrap_or(0);
        Opt::Subnet(Ipv6Addr::from_bits(bits & mask).into(), source)
    });
    prop_oneof![v4, v6]
}

fn cookie() -> impl Strategy<Value = Opt> {
    prop_oneof![vec(any::<u8>(), 8), vec(any::<u8>(), 16..=40)].prop_map(Opt::Cookie)
}

fn unknown() -> impl Strategy<Value = Opt> {
    let code =
        any::<u16>().prop_filter("an option that we know", |code| ![3, 8, 10].contains(code));
    (code, vec(any::<u8>(), 0..40)).prop_map(|(code, value)| Opt::Unknown(code, value))
}

fn encoded(asked: &Asked) -> Vec<u8> {
    let mut message = Message::new(asked.id, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = asked.recursion_desired;
    let mut question = op::Query::query(their_name(&asked.name), asked.qtype.into());
    question.set_query_class(DNSClass::from(asked.class));
    message.add_query(question);
    if let Some(AskedEdns { size, dnssec_ok, options }) = &asked.edns {
        let mut edns = op::Edns::new();
        edns.set_max_payload(*size).set_dnssec_ok(*dnssec_ok);
        for option in options {
            edns.options_mut().insert(match option {
                Opt::Nsid => EdnsOption::NSID(NSIDPayload::new([]).unwrap()),
                Opt::Subnet(address, source) => {
                    EdnsOption::Subnet(ClientSubnet::new(*address, *source, 0))
                }
                Opt::Cookie(cookie) => EdnsOption::Unknown(10, cookie.clone()),
                Opt::Unknown(code, value) => EdnsOption::Unknown(*code, value.clone()),
            });
        }
        message.set_edns(edns);
    }
    message.to_vec().unwrap()
}

fn their_name(labels: &[Vec<u8>]) -> rr::Name {
    let mut name = rr::Name::from_labels(labels.iter().map(Vec::as_slice)).unwrap();
    name.set_fqdn(true);
    name
}

fn wire_of(labels: &[Vec<u8>]) -> Vec<u8> {
    let labels = labels.iter().flat_map(|label| [&[label.len() as u8][..], label].concat());
    labels.chain([0]).collect()
}

proptest! {
    #[test]
    fn a_query_is_read_as_it_was_meant(asked in asked()) {
        let packet = encoded(&asked);
        let mut key = NameKey::ROOT;
        let query = Query::parse(&packet, &mut key).unwrap_or_else(|rejection| panic!("{rejection:?}"));
        prop_assert_eq!(query.id, asked.id);
        prop_assert_eq!(query.recursion_desired, asked.recursion_desired);
        let name = wire_of(&asked.name);
        prop_assert_eq!(&query.question.section[..name.len()], &name[..]);
        prop_assert_eq!(query.question.name.wire(), name.to_ascii_lowercase());
        prop_assert_eq!(query.question.name.labels(), asked.name.len());
        prop_assert_eq!(query.question.qtype.0, asked.qtype);
        let class = match asked.class {
            1 => Class::Internet,
            3 => Class::Chaos,
            255 => Class::Any,
            _ => Class::Other,
        };
        prop_assert_eq!(query.question.class, class);
        match (query.edns, asked.edns) {
            (None, None) => {}
            (Some(read), Some(meant)) => {
                let Edns { udp_size, dnssec_ok, nsid, padded: _, keepalive: _, subnet, cookie } =
                    read;
                prop_assert_eq!((udp_size, dnssec_ok), (meant.size, meant.dnssec_ok));
                let has = |wanted: fn(&Opt) -> bool| meant.options.iter().any(wanted);
                prop_assert_eq!(nsid, has(|option| matches!(option, Opt::Nsid)));
                let cookie = cookie.map(|cookie| [&cookie.client()[..], cookie.server()].concat());
                let meant_cookie = meant.options.iter().find_map(|option| match option {
                    Opt::Cookie(cookie) => Some(cookie.clone()),
                    Opt::Nsid | Opt::Subnet(..) | Opt::Unknown(..) => None,
                });
                prop_assert_eq!(cookie, meant_cookie);
                let meant = meant.options.iter().find_map(|option| match option {
                    Opt::Subnet(address, source) => Some((Some(*address), *source)),
                    Opt::Nsid | Opt::Cookie(_) | Opt::Unknown(..) => None,
                });
                prop_assert_eq!(subnet.map(|subnet| (subnet.address(), subnet.source)), meant);
            }
            (read, meant) => prop_assert!(false, "{:?} and {:?}", read, meant),
        }
    }

    /// A query cut short anywhere is refused or unanswerable, and never read past its end.
    #[test]
    fn a_query_cut_short_is_refused(asked in asked(), cut in any::<prop::sample::Index>()) {
        let packet = encoded(&asked);
        let cut = cut.index(packet.len());
        prop_assert!(Query::parse(&packet[..cut], &mut NameKey::default()).is_err());
    }
}

const APEX: &str = "example.com.";
/// Names within the zone, so that owners and targets share tails at every depth.
const NAMES: [&str; 8] =
    ["@", "a", "b.a", "WWW.b.a", "www.b.a.other", "mail", "x.mail", "Deep.x.mail"];

/// One record set: an owner and its data, of one type.
#[derive(Clone, Debug)]
struct Put {
    owner: rr::Name,
    ttl: u32,
    data: Vec<RData>,
}

fn in_zone() -> impl Strategy<Value = rr::Name> {
    let apex = || rr::Name::from_ascii(APEX).unwrap();
    prop::sample::select(&NAMES[..]).prop_map(move |name| match name {
        "@" => apex(),
        _ => rr::Name::from_ascii(name).unwrap().append_domain(&apex()).unwrap(),
    })
}

/// A name that data holds: mostly within the zone, else anywhere.
fn target() -> impl Strategy<Value = rr::Name> {
    let anywhere = name().prop_map(|labels| their_name(&labels));
    let outside = prop::sample::select(&[".", "com.", "Example.COM.", "a.example.net."][..]);
    let outside = outside.prop_map(|name| rr::Name::from_ascii(name).unwrap());
    prop_oneof![5 => in_zone(), 1 => outside, 1 => anywhere]
}

fn put() -> impl Strategy<Value = Put> {
    let a = any::<u32>().prop_map(|bits| RData::A(A(Ipv4Addr::from_bits(bits))));
    let aaaa = any::<u128>().prop_map(|bits| RData::AAAA(AAAA(Ipv6Addr::from_bits(bits))));
    let mx =
        (any::<u16>(), target()).prop_map(|(preference, to)| RData::MX(MX::new(preference, to)));
    let ptr = target().prop_map(|to| RData::PTR(PTR(to)));
    let srv = (any::<u16>(), any::<u16>(), any::<u16>(), target())
        .prop_map(|(priority, weight, port, to)| RData::SRV(SRV::new(priority, weight, port, to)));
    let text = vec(vec(any::<u8>(), 0..60), 1..4).prop_map(|strings| {
        RData::TXT(TXT::from_bytes(strings.iter().map(Vec::as_slice).collect()))
    });
    let hinfo = vec("[ -~]{0,20}", 2)
        .prop_map(|said| RData::HINFO(HINFO::new(said[0].clone(), said[1].clone())));
    let naptr = (any::<u16>(), any::<u16>(), target()).prop_map(|(order, preference, to)| {
        RData::NAPTR(NAPTR::new(
            order,
            preference,
            (*b"S").into(),
            (*b"SIP+D2U").into(),
            [].into(),
            to,
        ))
    });
    let data = prop_oneof![
        vec(a, 1..5),
        vec(aaaa, 1..5),
        vec(mx, 1..5),
        vec(ptr, 1..4),
        vec(srv, 1..4),
        vec(text, 1..4),
        vec(hinfo, 1..2),
        vec(naptr, 1..3),
        target().prop_map(|to| vec![RData::CNAME(CNAME(to))]),
    ];
    (in_zone(), 0..=0x7fff_ffffu32, data).prop_map(|(owner, ttl, data)| Put { owner, ttl, data })
}

/// The zone's own records: SOA and name servers outside of it, so that no cut comes about.
fn apex_sets() -> impl Strategy<Value = Vec<Put>> {
    let owner = || rr::Name::from_ascii(APEX).unwrap();
    (target(), target(), any::<[u32; 2]>(), vec(target(), 1..4)).prop_map(
        move |(primary, mailbox, [serial, minimum], servers)| {
            let soa = SOA::new(primary, mailbox, serial, 1, 2, 3, minimum);
            let servers = servers.into_iter().map(|server| RData::NS(NS(server))).collect();
            vec![
                Put { owner: owner(), ttl: 3600, data: vec![RData::SOA(soa)] },
                Put { owner: owner(), ttl: 7200, data: servers },
            ]
        },
    )
}

/// Data on the wire without compression, as zones hold it.
fn uncompressed(data: &RData) -> Box<[u8]> {
    let mut wire = vec![];
    let mut encoder = BinEncoder::new(&mut wire);
    encoder.set_name_encoding(NameEncoding::Uncompressed);
    data.emit(&mut encoder).unwrap();
    wire.into()
}

/// Of sets with one owner and type the first stays; a CNAME stays only where it is alone.
fn settled(sets: Vec<Put>) -> Vec<Put> {
    let mut kept: Vec<Put> = vec![];
    for set in sets {
        let is_alias = |set: &Put| matches!(set.data[0], RData::CNAME(_));
        let clashes = |other: &Put| {
            other.owner == set.owner
                && (other.data[0].record_type() == set.data[0].record_type()
                    || is_alias(other)
                    || is_alias(&set))
        };
        if !kept.iter().any(clashes) {
            kept.push(set);
        }
    }
    kept
}

fn served(sets: &[Put]) -> Snapshot {
    let name = |name: &rr::Name| {
        let labels: Vec<Vec<u8>> = name.iter().map(<[u8]>::to_vec).collect();
        gslb_dns::name::Name::from_wire(&wire_of(&labels)).unwrap()
    };
    let records = sets.iter().flat_map(|set| {
        set.data.iter().map(|data| Record {
            owner: name(&set.owner),
            ttl: set.ttl,
            rtype: RecordType(data.record_type().into()),
            rdata: uncompressed(data),
        })
    });
    let zone = Zone::build(APEX.parse().unwrap(), records.collect(), &[]).unwrap();
    let world = World::of_zone(zone);
    Snapshot::new(Arc::new(Groundwork::new(world)), Board::of(0, vec![]))
}

fn answered(snapshot: &Snapshot, name: &rr::Name, qtype: rr::RecordType) -> Message {
    let labels: Vec<Vec<u8>> = name.iter().map(<[u8]>::to_vec).collect();
    let packet = encoded(&Asked {
        id: 7,
        recursion_desired: false,
        name: labels,
        qtype: qtype.into(),
        class: 1,
        edns: None,
    });
    let asker = Asker { address: Ipv4Addr::LOCALHOST.into(), transport: Transport::Tcp, now: 0 };
    let mut out = vec![0; MAX_STREAM];
    let answer =
        answer(snapshot, "test", &packet, &asker, &mut NameKey::default(), &mut out).unwrap();
    Message::from_vec(&out[..answer.length]).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// Names are compressed against all that was written before them, and still say the same.
    #[test]
    fn records_are_answered_as_they_were_put_in(apex in apex_sets(), sets in vec(put(), 0..24)) {
        let sets = settled(apex.into_iter().chain(sets).collect());
        let snapshot = served(&sets);
        for Put { owner, ttl, data } in &sets {
            let message = answered(&snapshot, owner, data[0].record_type());
            prop_assert!(message.authoritative && !message.truncation);
            let mut expected: Vec<&RData> = vec![];
            for one in data {
                // Equal but for case is not equal, unless the type's data is only names (RFC 2181 §5).
                if !expected.iter().any(|other| uncompressed(other) == uncompressed(one)) {
                    expected.push(one);
                }
            }
            let told: Vec<&RData> = message.answers.iter().map(|record| &record.data).collect();
            prop_assert_eq!(&told, &expected, "{} {}", owner, data[0].record_type());
            for record in &message.answers {
                prop_assert_eq!((&record.name, record.ttl), (owner, *ttl));
            }
        }
    }

    /// The SOA of a negative answer is compressed against the question, with a TTL of its own.
    #[test]
    fn absence_is_told_with_the_soa_put_in(apex in apex_sets(), missing in "[a-z]{1,20}") {
        let snapshot = served(&apex);
        let name = rr::Name::from_ascii(format!("{missing}.{APEX}")).unwrap();
        let message = answered(&snapshot, &name, rr::RecordType::A);
        prop_assert!(message.answers.is_empty());
        let RData::SOA(soa) = &apex[0].data[0] else { panic!("the first is the SOA") };
        let [told] = &message.authorities[..] else { panic!("{:?}", message.authorities) };
        prop_assert_eq!(&told.data, &apex[0].data[0]);
        prop_assert_eq!(told.ttl, apex[0].ttl.min(soa.minimum));
    }
}
