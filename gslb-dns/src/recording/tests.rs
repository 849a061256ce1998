//! What is written is read, whatever it is; what is cut or damaged is said to be.

use std::net::Ipv4Addr;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::read::{CUT, NO_STATE, UNKNOWN, UNSAID};
use super::*;
use crate::name::{MAX_NAME, Name};

/// What is written of one query, beside its state.
#[derive(Clone, Debug, PartialEq)]
struct Told {
    at: u64,
    transport: Transport,
    edns: Edns,
    sent: Sent,
    name: Vec<u8>,
    qtype: RecordType,
    resolver: IpAddr,
    subnet: Option<ClientSubnet>,
    outcome: Outcome,
    state: State,
}

impl Told {
    fn query(&self) -> Query<'_> {
        let &Told { at, transport, edns, sent, ref name, qtype, resolver, subnet, .. } = self;
        Query { at, transport, edns, sent, name, qtype, resolver, subnet }
    }

    fn of(asked: &Asked<'_>) -> Told {
        let Query { at, transport, edns, sent, name, qtype, resolver, subnet } = asked.query;
        let (name, outcome, state) = (name.to_vec(), asked.outcome.clone(), asked.state);
        Told { at, transport, edns, sent, name, qtype, resolver, subnet, outcome, state }
    }
}

fn state(number: u8) -> State {
    State { epoch: Epoch([number; 32]), board: BoardDigest([!number; 16]) }
}

fn header() -> Header {
    Header {
        node: "dns1".into(),
        started: 1_790_000_000_123,
        sample: Sample::of(0.25).unwrap(),
        clients: Clients::Whole,
        epoch: Epoch([9; 32]),
    }
}

/// Each query of a state and outcome of its own, as far as the block does not know them.
fn written(queries: &[Told], block_of: usize, clients: Clients) -> Vec<u8> {
    let mut file = header().to_octets();
    let mut block = BlockWriter::new(clients);
    for queries in queries.chunks(block_of) {
        let mut present = None;
        let mut outcomes: Vec<(&Outcome, OutcomeRef)> = vec![];
        for told in queries {
            if present != Some(told.state) {
                block.state(&told.state);
                present = Some(told.state);
            }
            let known = outcomes.iter().find(|(outcome, _)| *outcome == &told.outcome);
            let outcome = known.map(|(_, known)| *known).unwrap_or_else(|| {
                let new = block.outcome(&told.outcome);
                outcomes.push((&told.outcome, new));
                new
            });
            block.query(&told.query(), outcome);
        }
        assert_eq!(block.queries() as usize, queries.len());
        file.extend(block.finish().unwrap());
        block.clear();
    }
    assert!(block.finish().is_none(), "no block without a query");
    file
}

/// The queries up to the end, octets that are cut, and what was wrong.
fn read(octets: &[u8]) -> (Vec<Told>, u64, Option<ReadError>) {
    let mut reader = match Reader::open(octets) {
        Ok(reader) => reader,
        Err(error) => return (vec![], 0, Some(error)),
    };
    let mut queries = vec![];
    loop {
        match reader.next() {
            Ok(Some(asked)) => queries.push(Told::of(&asked)),
            Ok(None) => return (queries, reader.cut(), None),
            Err(error) => return (queries, reader.cut(), Some(error)),
        }
    }
}

fn any_outcome() -> impl Strategy<Value = Outcome> {
    let text =
        select(vec!["fra", "ams", "www.example.com.", "", "Zürich"]).prop_map(Arc::<str>::from);
    let part = (text.clone(), select(Failing::ALL.to_vec()), vec(text, 0..4))
        .prop_map(|(service, failing, sites)| Part { service, failing, sites });
    (any::<u16>(), any::<u16>(), vec(part, 0..3)).prop_map(|(rcode, records, services)| Outcome {
        rcode,
        records,
        services,
    })
}

fn any_subnet() -> impl Strategy<Value = Option<ClientSubnet>> {
    let v4 = (any::<u32>(), 0..=32_u8).prop_map(|(address, source)| {
        ClientSubnet::new(Ipv4Addr::from_bits(address).into(), source)
    });
    let v6 = (any::<[u16; 8]>(), 0..=128_u8)
        .prop_map(|(address, source)| ClientSubnet::new(address.into(), source));
    prop_oneof![Just(None), Just(Some(ClientSubnet::NOBODY)), v4.prop_map(Some), v6.prop_map(Some)]
}

fn any_told() -> impl Strategy<Value = Told> {
    let name = select(vec!["www.example.com.", "shop.example.com.", "."])
        .prop_map(|name| name.parse::<Name>().unwrap().wire().to_vec());
    let address = prop_oneof![
        any::<[u8; 4]>().prop_map(IpAddr::from),
        any::<[u16; 8]>().prop_map(IpAddr::from),
        Just(IpAddr::from([192, 0, 2, 53])),
    ];
    let how = (select(TRANSPORTS.to_vec()), select(EDNS.to_vec()), select(SENT.to_vec()));
    let what = (name, any::<u16>(), address, any_subnet(), any_outcome(), 0..3_u8);
    (0..=LAST_INSTANT, how, what).prop_map(|(at, (transport, edns, sent), what)| {
        let (name, qtype, resolver, subnet, outcome, number) = what;
        let (qtype, state) = (RecordType(qtype), state(number));
        Told { at, transport, edns, sent, name, qtype, resolver, subnet, outcome, state }
    })
}

proptest! {
    #[test]
    fn what_is_written_is_read(queries in vec(any_told(), 1..40), block_of in 1..20_usize) {
        let file = written(&queries, block_of, Clients::Whole);
        let reader = Reader::open(&file[..]).unwrap();
        prop_assert_eq!(reader.header(), &header());
        let (read, cut, error) = read(&file);
        prop_assert_eq!((read, cut), (queries, 0));
        prop_assert!(error.is_none());
    }

    #[test]
    fn a_file_that_is_cut_is_read_as_far_as_its_blocks_are_whole(
        queries in vec(any_told(), 1..8),
        block_of in 1..4_usize,
        cut in any::<proptest::sample::Index>(),
    ) {
        let file = written(&queries, block_of, Clients::Whole);
        let first = header().to_octets().len();
        let end = first + cut.index(file.len() - first);
        let (read, cut, error) = read(&file[..end]);
        prop_assert!(error.is_none());
        let whole = read.len() / block_of;
        prop_assert_eq!(&read[..], &queries[..whole * block_of]);
        let blocks = written(&queries[..whole * block_of], block_of, Clients::Whole);
        prop_assert_eq!(cut as usize, end - blocks.len());
    }

    #[test]
    fn what_is_damaged_is_said_to_be(
        queries in vec(any_told(), 1..6),
        at in any::<proptest::sample::Index>(),
        bit in 0..8_u32,
    ) {
        let mut file = written(&queries, 3, Clients::Whole);
        let at = at.index(file.len());
        file[at] ^= 1 << bit;
        let (read, _, error) = read(&file);
        prop_assert!(error.is_some(), "bit {bit} of octet {at} is another, and nobody said so");
        prop_assert!(read.len() < queries.len() || read == queries);
        prop_assert_eq!(&read[..], &queries[..read.len()]);
    }
}

fn told() -> Told {
    Told {
        at: 1_790_000_000_123,
        transport: Transport::Udp,
        edns: Edns::Plain,
        sent: Sent::Whole,
        name: b"\x03www\x07example\x03com\0".to_vec(),
        qtype: RecordType::A,
        resolver: [192, 0, 2, 53].into(),
        subnet: Some(ClientSubnet::new([81, 2, 69, 160].into(), 24)),
        outcome: Outcome {
            rcode: 0,
            records: 1,
            services: vec![Part {
                service: "www.example.com.".into(),
                failing: Failing::No,
                sites: vec!["fra".into()],
            }],
        },
        state: state(1),
    }
}

/// The octets of docs/recording.md, so that who reads files by it reads ours.
#[test]
fn a_block_is_what_the_documentation_says() {
    let second = Told { at: told().at - 1, ..told() };
    let file = written(&[told(), second], 2, Clients::Whole);
    let head = header().to_octets();
    assert_eq!(head[..12], *b"gslb-rec\0\x01\0\x36");
    assert_eq!(head.len(), 12 + 54 + 4);
    let block = &file[head.len()..];
    let items = [
        &[7][..],
        &[1; 32],
        &[0xfe; 16],
        &[6, 0, 1, 1, 0, 16],
        b"www.example.com.",
        &[0, 1, 0, 3],
        b"fra",
        // UDP, EDNS, a subnet; milliseconds; the name and its type; the resolver; the subnet; the outcome.
        &[0b0010_1000, 0xf6, 0xb1, 0x83, 0xc5, 0x98, 0x68],
        b"\0\x03www\x07example\x03com\0\x01",
        &[0, 4, 192, 0, 2, 53],
        &[24, 81, 2, 69, 0],
        // One millisecond before, and the same again.
        &[0b0010_1000, 1, 1, 1, 24, 81, 2, 69, 0],
    ];
    let expected = items.concat();
    assert_eq!(block[BLOCK_HEAD..], expected);
    assert_eq!(block[..4], (expected.len() as u32).to_be_bytes());
    assert_eq!(block[4..8], [0, 0, 0, 2]);
    assert_eq!(block[8..12], crc32(&expected).to_be_bytes());
    assert_eq!(block[12..16], crc32(&block[..12]).to_be_bytes());
    assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
}

/// A busy resolver's day: 64 resolvers, each asking for clients all over.
#[test]
fn a_query_costs_a_dozen_octets() {
    let mut lot = 1_u32;
    let mut draw = move |end: u32| {
        lot = lot.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (lot >> 8) % end
    };
    let queries: Vec<Told> = (0..5000)
        .map(|index| Told {
            at: told().at + index / 40,
            resolver: [192, 0, 2, draw(64) as u8].into(),
            subnet: Some(ClientSubnet::new(Ipv4Addr::from_bits(draw(1 << 24) << 8).into(), 24)),
            ..told()
        })
        .collect();
    let octets = written(&queries, queries.len(), Clients::Whole).len();
    let of_each = octets as f64 / queries.len() as f64;
    assert!((9.0..10.0).contains(&of_each), "{of_each}");
    // Every client a resolver of its own, and every name another.
    let queries: Vec<Told> = (0..5000_u32)
        .map(|index| Told {
            at: told().at + u64::from(index) / 40,
            name: [b"\x06", format!("{index:06}").as_bytes(), b"\x07example\x03com\0"].concat(),
            resolver: Ipv4Addr::from_bits(draw(1 << 24) << 8).into(),
            subnet: None,
            ..told()
        })
        .collect();
    let octets = written(&queries, queries.len(), Clients::Whole).len();
    let of_each = octets as f64 / queries.len() as f64;
    assert!((31.0..32.0).contains(&of_each), "{of_each}");
}

#[test]
fn of_networks_only_networks_are_written() {
    let check = |resolver: &str,
                 subnet: Option<(&str, u8)>,
                 kept: &str,
                 kept_subnet: Option<(&str, u8)>| {
        let subnet_of =
            |(address, source): (&str, u8)| ClientSubnet::new(address.parse().unwrap(), source);
        let told =
            Told { resolver: resolver.parse().unwrap(), subnet: subnet.map(subnet_of), ..told() };
        let (read, ..) = read(&written(&[told], 1, Clients::Networks));
        assert_eq!(read[0].resolver, kept.parse::<IpAddr>().unwrap());
        assert_eq!(read[0].subnet, kept_subnet.map(subnet_of));
    };
    check("192.0.2.53", None, "192.0.2.0", None);
    check("192.0.2.53", Some(("81.2.69.160", 32)), "192.0.2.0", Some(("81.2.69.0", 24)));
    check("192.0.2.53", Some(("81.2.69.0", 20)), "192.0.2.0", Some(("81.2.69.0", 20)));
    let (v6, net) = ("2001:db8:1:2ff:3::4", "2001:db8:1:200::");
    check(v6, Some((v6, 128)), net, Some((net, 56)));
}

#[test]
fn what_is_none_of_ours_is_refused() {
    let refused = |octets: &[u8]| read(octets).2.unwrap().to_string();
    let file = written(&[told()], 1, Clients::Whole);
    assert_eq!(refused(b""), "it is no recording of queries: it does not begin as one");
    assert_eq!(refused(b"PAR1 and so on, at some length"), refused(b""));
    let mut later = file.clone();
    later[9] = 2;
    assert_eq!(
        refused(&later),
        "it is a recording of version 2, and this gslb-dns reads version 1"
    );
    assert_eq!(refused(&file[..40]), "its header is damaged");
    // Zeros, as some file systems leave after a power cut.
    let zeros = [&file[..], &[0; 64]].concat();
    let at = file.len();
    assert_eq!(
        refused(&zeros),
        format!(
            "it is damaged at octet {at}: the head of a block is not what was written; what stands before has been read"
        )
    );
}

/// Blocks with good checks that say what cannot be: whoever makes these knows the format.
#[test]
fn a_block_that_lies_is_refused() {
    let state = [&[7][..], &[0; 48]].concat();
    let outcome = &[6, 0, 0, 0][..];
    let query = b"\0\0\0\0\x01\0\x04\x01\x02\x03\x04\0".as_slice();
    let check = |queries: u32, items: &[&[u8]], what: &str| {
        let items = items.concat();
        let head = [items.len() as u32, queries, crc32(&items)].map(u32::to_be_bytes).concat();
        let file = [&header().to_octets()[..], &head, &crc32(&head).to_be_bytes(), &items].concat();
        let mut reader = Reader::open(&file[..]).unwrap();
        let error = loop {
            match reader.next() {
                Ok(Some(_)) => {}
                Ok(None) => break "nothing".to_owned(),
                Err(error) => break error.to_string(),
            }
        };
        assert!(error.contains(what), "{error}");
        assert!(matches!(reader.next(), Ok(None) | Err(_)), "read on after {error}");
    };
    check(1, &[&state, outcome, query], "nothing");
    check(1, &[outcome, query], NO_STATE);
    check(2, &[outcome, query, &state, query], NO_STATE);
    check(1, &[&state, query], UNSAID);
    check(1, &[&state, outcome, query, query], "more in its block");
    check(2, &[&state, outcome, query], CUT);
    check(0, &[&state, outcome, query], "larger than any, or empty");
    check(1, &[&state, outcome, &query[..11]], CUT);
    check(1, &[&[0x17]], UNKNOWN); // A state with flags.
    check(1, &[&[5]], UNKNOWN); // A transport that nobody knows.
    check(1, &[&[0x18]], UNKNOWN); // Neither without EDNS nor with.
    check(1, &[&[0xc0]], UNKNOWN);
    check(1, &[&[0, 1]], UNKNOWN); // Before 1970.
    check(1, &[&[0, 0, 1]], UNSAID);
    check(1, &[&[0, 0, 0, 0x40]], UNKNOWN); // Not the label of any name.
    check(1, &[&[0, 0, 0, 0, 1, 0, 5]], UNKNOWN); // No family of addresses.
    check(1, &[&[0x20, 0, 0, 0, 1, 0, 4, 1, 2, 3, 4, 34]], UNKNOWN);
    check(1, &[&[0x20, 0, 0, 0, 1, 0, 4, 1, 2, 3, 4, 193]], UNKNOWN);
    check(1, &[&[6, 0, 0, 1, 1]], UNSAID);
    check(1, &[&[6, 0, 0, 1, 0, 1, b'x', 3]], UNKNOWN); // No way to fail.
    check(1, &[&[6, 0, 0, 1, 0, 1, 0xff]], UNKNOWN); // Not UTF-8.
    let endless = [&[6, 0, 0][..], &[0xff; 9], &[1]].concat();
    check(1, &[&endless], CUT);
    let longest = [&[0, 0, 0][..], &b"\x01a".repeat(127), &[0, 0xff, 0xff, 4]].concat();
    assert_eq!(longest.len(), 3 + MAX_NAME + 3);
    check(1, &[&longest], UNKNOWN); // A type of 17 bits.
}

#[test]
fn a_block_beyond_the_limit_is_not_written() {
    let long: Arc<str> = "x".repeat(MAX_BLOCK).into();
    let part = Part { service: long, failing: Failing::No, sites: vec![] };
    let mut block = BlockWriter::new(Clients::Whole);
    block.state(&state(1));
    let outcome = block.outcome(&Outcome { rcode: 0, records: 0, services: vec![part] });
    block.query(&told().query(), outcome);
    assert!(block.is_full());
    assert!(block.finish().is_none());
}
