//! A name that is there is answered, whatever is believed of its sites: NOERROR, with addresses where a service may not
//! be empty, and else with records or the SOA that says that there are none.

#![expect(clippy::unwrap_used, reason = "what a test cannot go on without may as well end it")]

mod small_world;

use std::collections::BTreeSet;
use std::sync::Arc;

use gslb_dns::answer::{Asker, MAX_STREAM, Transport, answer};
use gslb_dns::explain::query;
use gslb_dns::health::board::{Board, Health};
use gslb_dns::health::last_known::LastKnown;
use gslb_dns::health::overrides::{Glob, Order, Override};
use gslb_dns::name::NameKey;
use gslb_dns::query::ClientSubnet;
use gslb_dns::snapshot::{Groundwork, Snapshot};
use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::{RData, Record, RecordType};
use jiff::Timestamp;

use small_world::world;

const ZONE: &str =
    "@ 10 SOA ns h 1 2 3 4 10\n@ 60 NS ns\nns 60 A 198.51.100.53\nleads 60 CNAME nearest\n";
/// Each fail mode, each kind of step, a strict fence, CNAMEs, wildcards, one family alone, weight 0.
const WORLD: &str = r#"
[geoip.overrides]
"192.0.2.0/25" = { country = "DE" }
"192.0.2.128/25" = { country = "US" }
[zone."example.com"]
file = "example.com.zone"
[site.fra]
place = { country = "DE" }
vips = ["198.51.100.1", "2001:db8::1"]
[site.iad]
place = { country = "US" }
vips = ["198.51.100.2"]
[site.nrt]
place = { country = "JP" }
vips = ["198.51.100.3", "2001:db8::3"]
[map.home]
default = ["fra", "nrt"]
continent = { EU = ["fra"], "NA" = ["iad"] }
[service."nearest.example.com"]
sites = ["fra", "iad", "nrt"]
steer = [{ fence = "continent" }, "nearest"]
when_all_down = "open"
https = { alpn = ["h2"] }
[service."example.com"]
sites = ["fra", "iad", "nrt"]
steer = [{ map = "home" }]
when_all_down = "last-known"
[service."strict.example.com"]
sites = ["fra", "iad"]
steer = [{ fence = "continent", strict = true }]
when_all_down = "static"
static = ["203.0.113.1"]
[service."empty.example.com"]
sites = ["fra", "iad"]
steer = ["failover"]
when_all_down = "empty"
ttl = { max = "10s" }
[service."*.wild.example.com"]
sites = ["fra", { site = "nrt", weight = 0 }]
steer = ["weighted"]
when_all_down = "static"
static = ["203.0.113.1", "2001:db8::99"]
[service."alias.example.com"]
sites = [{ site = "fra", cname = "nearest.example.com" }, { site = "iad", cname = "cdn.example.net" }]
when_all_down = "open"
[service."two.example.com"]
sites = ["fra", "iad", "nrt"]
take = 2
across_tiers = true
steer = ["failover"]
when_all_down = "open"
"#;
const NAMES: [&str; 9] =
    ["nearest", "", "strict", "empty", "a.wild", "alias", "two", "leads", "ns"];
const TYPES: [&str; 7] = ["A", "AAAA", "CNAME", "HTTPS", "SVCB", "TXT", "ANY"];
/// Nobody told, in Germany, in America, nobody knows where.
const CLIENTS: [Option<&str>; 4] = [None, Some("192.0.2.1"), Some("192.0.2.129"), Some("9.9.9.9")];

/// Where no name server of ours is asked.
const ELSEWHERE: &str = "cdn.example.net.";
/// That differ, of all that may be made of three sites.
const BOARDS: usize = 343;

/// What an operator or vantages may make of a site.
const FATES: [&[Order]; 7] = [
    &[],
    &[Order::Force(Health::Down)],
    &[Order::Force(Health::Up)],
    &[Order::Drain { over: 0 }],
    &[Order::Drain { over: 600 }],
    &[Order::Weight(0)],
    &[Order::Force(Health::Down), Order::Drain { over: 0 }],
];

fn said(site: &str, order: &Order) -> Override {
    Override {
        site: Glob::new(site),
        service: Glob::new("*"),
        order: *order,
        who: "test".into(),
        why: "test".into(),
        since: Timestamp::UNIX_EPOCH,
        until: None,
    }
}

/// What there is in an answer.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Has {
    Nothing,
    /// Records of any kind, or the SOA.
    Something,
    /// Addresses, or the name by which a resolver finds them elsewhere.
    Addresses,
}

/// The least that a query is to be answered with.
fn owed(name: &str, rtype: &str) -> Has {
    if rtype == "A" && name != "empty" { Has::Addresses } else { Has::Something }
}

fn asked(snapshot: &Snapshot, packet: &[u8], transport: Transport) -> (ResponseCode, Has) {
    let asker = Asker { address: [192, 0, 2, 99].into(), transport, now: 1_000_000 };
    let mut out = vec![0xff; MAX_STREAM];
    let answer = answer(snapshot, "test", packet, &asker, &mut NameKey::default(), &mut out);
    let length = answer.expect("a query is never left without an answer").length;
    let message = Message::from_vec(&out[..length]).unwrap();
    let has_soa = message.authorities.iter().any(|record| record.record_type() == RecordType::SOA);
    let leads_to_addresses = |record: &Record| match &record.data {
        RData::A(_) => true,
        RData::CNAME(name) => name.0.to_ascii() == ELSEWHERE,
        _ => false,
    };
    let has = match message.answers.iter().any(leads_to_addresses) {
        true => Has::Addresses,
        false if !message.answers.is_empty() || has_soa => Has::Something,
        false => Has::Nothing,
    };
    (message.metadata.response_code, has)
}

#[test]
fn no_state_of_sites_makes_a_name_go_dark() {
    let ground = Arc::new(Groundwork::new(world(WORLD, ZONE)));
    let packets: Vec<(String, Has, Vec<u8>)> = NAMES
        .iter()
        .flat_map(|name| TYPES.map(|rtype| (*name, rtype)))
        .flat_map(|(name, rtype)| CLIENTS.map(|client| (name, rtype, client)))
        .map(|(name, rtype, client)| {
            let whole = format!("{name}.example.com");
            let asked = whole.trim_start_matches('.').parse().unwrap();
            let subnet = client.map(|client| ClientSubnet::new(client.parse().unwrap(), 32));
            let packet = query(&asked, rtype.parse().unwrap(), subnet.as_ref());
            (format!("{whole} {rtype} for {client:?}"), owed(name, rtype), packet)
        })
        .collect();
    let mut digests = BTreeSet::new();
    let mut last_known = LastKnown::default();
    for fates in 0..FATES.len().pow(3) {
        let of = |place: u32| FATES[fates / FATES.len().pow(place) % FATES.len()];
        let orders: Vec<Override> = ["fra", "iad", "nrt"]
            .into_iter()
            .zip(0..)
            .flat_map(|(site, place)| of(place).iter().map(move |order| said(site, order)))
            .collect();
        let orders: Vec<&Override> = orders.iter().collect();
        // In the middle of the drain that takes its steps.
        let now = Timestamp::from_second(300).unwrap();
        let board = Board::build(fates as u64, &ground.world, &orders, &last_known, now);
        digests.insert(format!("{:?}", board.digest));
        last_known = LastKnown::of_failing(&ground.world, &board);
        let snapshot = Snapshot::new(Arc::clone(&ground), board);
        for (what, owed, packet) in &packets {
            for transport in [Transport::Udp, Transport::Tcp] {
                let (code, has) = asked(&snapshot, packet, transport);
                assert_eq!(code, ResponseCode::NoError, "{what}, {orders:#?}");
                assert!(has >= *owed, "{what}: {has:?}, {orders:#?}");
            }
        }
    }
    assert_eq!(digests.len(), BOARDS, "boards that differ");
}
