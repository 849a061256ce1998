//! HTTPS and SVCB of services: what is in the records, that their hints are what A and AAAA answer, and that
//! they fit or say that they do not. Read by a decoder that is not ours.

#![expect(clippy::unwrap_used, reason = "what a test cannot go on without may as well end it")]

mod small_world;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use gslb_dns::answer::{Asker, MAX_STREAM, MAX_UDP, Transport, answer};
use gslb_dns::explain::{self, OnBehalf, Request, explain, query};
use gslb_dns::health::board::Board;
use gslb_dns::name::{Name, NameKey};
use gslb_dns::query::ClientSubnet;
use gslb_dns::record::RecordType;
use gslb_dns::snapshot::{Groundwork, Snapshot};
use hickory_proto::op::Message;
use hickory_proto::rr::RData;
use hickory_proto::rr::rdata::opt::EdnsOption;
use hickory_proto::rr::rdata::svcb::{SVCB, SvcParamKey, SvcParamValue};
use ipnet::IpNet;

const ZONE: &str = "
$TTL 1h
@     SOA   ns1 hostmaster 1 4h 15m 2w 5
      NS    ns1
      HTTPS 0 www
ns1   A     192.0.2.53
blog  CNAME www
fra   A     198.51.100.10
fra   AAAA  2001:db8:f::10
ams   A     198.51.100.20
ams   AAAA  2001:db8:f::20
";

const SITES: &str = r#"
[geoip.overrides]
"81.0.0.0/8"     = { country = "DE" }
"63.0.0.0/8"     = { country = "US" }
"2a02:d280::/32" = { country = "NL" }

[zone."example.com"]
file = "example.com.zone"

[site.fra]
place  = { country = "DE" }
vips   = ["198.51.100.10", "2001:db8:f::10"]
domain = "a"
[site.ams]
place  = { country = "NL" }
vips   = ["198.51.100.20", "2001:db8:f::20"]
domain = "a"
[site.iad]
place  = { country = "US" }
vips   = ["192.0.2.10", "192.0.2.11", "2001:db8:a::10"]
domain = "b"
[site.nrt]
place = { country = "JP" }
vips  = ["203.0.113.10"]
[site.syd]
place = { country = "AU" }
vips  = ["2001:db8:5::10"]
"#;

/// Sites with names of their own: two in the zone, one of somebody else's.
const TARGETS: &str = r#"
sites = [
  { site = "fra", https = { target = "fra.example.com" } },
  { site = "ams", https = { target = "ams.example.com", port = 8443, alpn = ["h2"] } },
  { site = "iad", https = { target = "iad.example.net", no_default_alpn = true } },
]
"#;

/// One service, `www.example.com`, in a world of five sites.
fn ground(service: &str) -> Arc<Groundwork> {
    let text = format!("{SITES}\n[service.\"www.example.com\"]\n{service}");
    Arc::new(Groundwork::new(small_world::world(&text, ZONE)))
}

fn snapshot(ground: &Arc<Groundwork>, supposed: &str) -> Snapshot {
    let suppositions: Vec<_> =
        supposed.split_whitespace().map(|word| word.parse().unwrap()).collect();
    let board = Board::blank(&ground.world).supposing(&ground.world, &suppositions);
    Snapshot::new(Arc::clone(ground), board)
}

fn ask_over(
    transport: Transport,
    snapshot: &Snapshot,
    name: &str,
    qtype: &str,
    client: &str,
) -> Message {
    let client: IpNet = client.parse().unwrap();
    let subnet = ClientSubnet::new(client.addr(), client.prefix_len());
    let name: Name = name.parse().unwrap();
    let packet = query(&name, qtype.parse::<RecordType>().unwrap(), Some(&subnet));
    let asker = Asker { address: Ipv4Addr::LOCALHOST.into(), transport, now: 1_800_000_000 };
    let mut out = vec![0; if transport == Transport::Udp { MAX_UDP } else { MAX_STREAM }];
    let said =
        answer(snapshot, "test", &packet, &asker, &mut NameKey::default(), &mut out).unwrap();
    Message::from_vec(&out[..said.length]).unwrap()
}

fn ask(snapshot: &Snapshot, name: &str, qtype: &str, client: &str) -> Message {
    ask_over(Transport::Udp, snapshot, name, qtype, client)
}

/// Records without owner and class, or `nodata`.
fn told(message: &Message) -> String {
    let records: Vec<String> = message
        .answers
        .iter()
        .map(|record| match &record.data {
            RData::HTTPS(https) => format!("{} HTTPS {}", record.ttl, parts(&https.0)),
            RData::SVCB(svcb) => format!("{} SVCB {}", record.ttl, parts(svcb)),
            other => format!("{} {other}", record.ttl),
        })
        .collect();
    let nodata = message.authorities.len() == 1 && message.metadata.authoritative;
    if records.is_empty() && nodata { "nodata".into() } else { records.join(" | ") }
}

/// Written here and not by the decoder's own hand, whose form has changed between its versions.
fn parts(svcb: &SVCB) -> String {
    let mut text = format!("{} {}", svcb.svc_priority, svcb.target_name);
    for (key, value) in &svcb.svc_params {
        let list = |items: Vec<String>| items.join(",");
        let value = match value {
            SvcParamValue::Mandatory(keys) => {
                list(keys.0.iter().map(ToString::to_string).collect())
            }
            SvcParamValue::Alpn(alpn) => list(alpn.0.clone()),
            SvcParamValue::NoDefaultAlpn => String::new(),
            SvcParamValue::Port(port) => port.to_string(),
            SvcParamValue::Ipv4Hint(hint) => list(hint.0.iter().map(ToString::to_string).collect()),
            SvcParamValue::Ipv6Hint(hint) => list(hint.0.iter().map(ToString::to_string).collect()),
            SvcParamValue::EchConfigList(ech) => format!("{:02x?}", ech.0),
            SvcParamValue::Unknown(octets) => String::from_utf8_lossy(&octets.0).into_owned(),
        };
        text += &match u16::from(*key) {
            number @ 7.. => format!(" key{number}={value}"),
            _ => format!(" {key}={value}"),
        };
    }
    text
}

fn check(service: &str, supposed: &str, question: &str, expected: &str) {
    let snapshot = snapshot(&ground(service), supposed);
    let [name, qtype, client] = question.split(' ').collect::<Vec<_>>()[..] else {
        panic!("{question}")
    };
    let message = ask(&snapshot, name, qtype, client);
    assert_eq!(told(&message), expected, "{question} with {supposed:?} and\n{service}");
}

fn scope(message: &Message) -> Option<u8> {
    let options = message.edns.as_ref()?.options().as_ref();
    options.iter().find_map(|(_, option)| match option {
        EdnsOption::Subnet(subnet) => Some(subnet.scope_prefix()),
        _ => None,
    })
}

const EU: &str = "www.example.com HTTPS 81.2.69.0/24";

#[test]
fn a_record_leads_to_the_services_own_name_with_hints() {
    let sites = "sites = [\"fra\", \"iad\"]\nsteer = [{ fence = \"country\" }]\n\
                 when_all_down = \"open\"\nttl = { max = \"20s\" }\n";
    let with = |more: &str| format!("{sites}{more}");
    check(
        &with("https = { alpn = [\"h3\", \"h2\"] }"),
        "",
        EU,
        "20 HTTPS 1 . alpn=h3,h2 ipv4hint=198.51.100.10 ipv6hint=2001:db8:f::10",
    );
    check(
        &with("https = {}"),
        "down=fra",
        EU,
        "20 HTTPS 1 . ipv4hint=192.0.2.10,192.0.2.11 ipv6hint=2001:db8:a::10",
    );
    // Every key, in the order of their numbers.
    check(
        &with(
            "svcb = { port = 853, dohpath = \"/dns-query{?dns}\", alpn = [\"dot\"], ech = \
             \"AAT+DQAA\", no_default_alpn = true, mandatory = [\"port\", \"alpn\"] }",
        ),
        "",
        "www.example.com SVCB 81.2.69.0/24",
        "20 SVCB 1 . mandatory=alpn,port alpn=dot no-default-alpn= port=853 \
         ipv4hint=198.51.100.10 ech=[00, 04, fe, 0d, 00, 00] ipv6hint=2001:db8:f::10 \
         key7=/dns-query{?dns}",
    );
    // What a service does not have is not there; its addresses are.
    check(&with("https = {}"), "", "www.example.com SVCB 81.2.69.0/24", "nodata");
    check(sites, "", EU, "nodata");
    check(&with("https = {}"), "", "www.example.com A 81.2.69.0/24", "20 198.51.100.10");
    check(
        &with("https = {}"),
        "",
        "blog.example.com HTTPS 63.0.0.0/24",
        "3600 www.example.com. | 20 HTTPS 1 . ipv4hint=192.0.2.10,192.0.2.11 \
         ipv6hint=2001:db8:a::10",
    );
}

#[test]
fn an_apex_may_be_an_alias_of_a_service() {
    let service = "sites = [\"fra\"]\nwhen_all_down = \"open\"\nhttps = { alpn = [\"h2\"] }\n";
    check(service, "", "example.com HTTPS 81.2.69.0/24", "3600 HTTPS 0 www.example.com.");
}

#[test]
fn a_wildcards_record_leads_to_the_name_that_was_asked() {
    let service = "sites = [\"fra\"]\nwhen_all_down = \"open\"\n\
                   [service.\"*.pool.example.com\"]\nsites = [\"nrt\"]\nwhen_all_down = \"open\"\n\
                   https = { port = 8443 }\n";
    check(
        service,
        "",
        "x.pool.example.com HTTPS 81.2.69.0/24",
        "30 HTTPS 1 . port=8443 ipv4hint=203.0.113.10",
    );
}

#[test]
fn families_may_name_different_sites() {
    // nrt has no IPv6 address, so AAAA goes on to syd, and the hints go with them.
    let service = "sites = [\"nrt\", \"syd\", \"fra\"]\nsteer = [\"failover\"]\n\
                   when_all_down = \"open\"\nhttps = {}\n";
    check(service, "", EU, "30 HTTPS 1 . ipv4hint=203.0.113.10 ipv6hint=2001:db8:5::10");
    check(service, "down=nrt", EU, "30 HTTPS 1 . ipv4hint=198.51.100.10 ipv6hint=2001:db8:5::10");
}

#[test]
fn each_fail_mode_answers_https_as_it_answers_a() {
    let service = |mode: &str| {
        format!(
            "sites = [\"fra\", \"nrt\"]\nsteer = [\"failover\"]\nhttps = {{ alpn = [\"h2\"] }}\n\
             when_all_down = {mode}\nttl = {{ max = \"5s\" }}\n"
        )
    };
    let of_fra = "5 HTTPS 1 . alpn=h2 ipv4hint=198.51.100.10 ipv6hint=2001:db8:f::10";
    check(&service("\"open\""), "down=*", EU, of_fra);
    check(&service("\"last-known\""), "down=*", EU, of_fra);
    check(&service("\"empty\""), "down=*", EU, "nodata");
    check(
        &service("\"static\"\nstatic = [\"192.0.2.99\"]"),
        "down=*",
        EU,
        "5 HTTPS 1 . alpn=h2 ipv4hint=192.0.2.99",
    );
    // The one IPv6 site is down and the other family is well: each as its own answer has it.
    let one = "static = [\"2001:db8::99\"]";
    check(
        &service(&format!("\"static\"\n{one}")),
        "down=fra",
        EU,
        "5 HTTPS 1 . alpn=h2 ipv4hint=203.0.113.10 ipv6hint=2001:db8::99",
    );
    check(&service("\"empty\""), "down=fra", EU, "5 HTTPS 1 . alpn=h2 ipv4hint=203.0.113.10");
}

#[test]
fn sites_with_names_of_their_own_are_alternatives_in_order() {
    let service = |most: &str| {
        format!(
            "{TARGETS}steer = [\"failover\"]\nwhen_all_down = \"static\"\n\
             static = [\"192.0.2.99\"]\nhttps = {{ alpn = [\"h3\"]{most} }}\n"
        )
    };
    let fra = "fra.example.com. alpn=h3 ipv4hint=198.51.100.10 ipv6hint=2001:db8:f::10";
    let ams = "ams.example.com. alpn=h2 port=8443 ipv4hint=198.51.100.20 ipv6hint=2001:db8:f::20";
    let iad = "iad.example.net. alpn=h3 no-default-alpn= ipv4hint=192.0.2.10,192.0.2.11 \
               ipv6hint=2001:db8:a::10";
    check(&service(""), "", EU, &format!("30 HTTPS 1 {fra}"));
    // iad is of another failure domain than fra, so it comes before ams.
    let two = format!("30 HTTPS 1 {fra} | 30 HTTPS 2 {iad}");
    check(&service(", alternatives = 2"), "", EU, &two);
    let all = format!("{two} | 30 HTTPS 3 {ams}");
    check(&service(", alternatives = 8"), "", EU, &all);
    let without = format!("30 HTTPS 1 {ams} | 30 HTTPS 2 {iad}");
    check(&service(", alternatives = 3"), "down=fra", EU, &without);
    check(&service(", alternatives = 3"), "drained=iad down=ams", EU, &format!("30 HTTPS 1 {fra}"));
    // The fail mode's addresses are no site's.
    let none_left = "30 HTTPS 1 . alpn=h3 ipv4hint=192.0.2.99";
    check(&service(", alternatives = 3"), "down=*", EU, none_left);
    // A and AAAA know nothing of alternatives.
    check(&service(", alternatives = 8"), "", "www.example.com A 81.2.69.0/24", "30 198.51.100.10");
}

#[test]
fn a_taken_site_comes_before_every_alternative() {
    // Without alternatives two of one failure domain are taken, since the first tier has no other.
    let service = format!(
        "{TARGETS}steer = [{{ fence = \"continent\" }}, \"sticky\"]\ntake = 2\n\
         when_all_down = \"open\"\nhttps = {{ alpn = [\"h3\"], alternatives = 3 }}\n"
    );
    let ground = ground(&service);
    let snapshot = snapshot(&ground, "");
    let mut orders = [0, 0];
    for third in 0..200 {
        let client = format!("81.2.{third}.0/24");
        let message = ask(&snapshot, "www.example.com", "HTTPS", &client);
        let targets: Vec<String> =
            records(&message).map(|svcb| svcb.target_name.to_string()).collect();
        assert_eq!(targets[2], "iad.example.net.");
        let first = hints(&message, 0);
        let addresses = addresses(&ask(&snapshot, "www.example.com", "A", &client));
        assert_eq!(first[..1], addresses[..1]);
        orders[usize::from(targets[0] == "ams.example.com.")] += 1;
    }
    assert!(orders[0] > 50 && orders[1] > 50, "{orders:?}");
}

fn records(message: &Message) -> impl Iterator<Item = &SVCB> {
    message.answers.iter().filter_map(|record| match &record.data {
        RData::HTTPS(https) => Some(&https.0),
        RData::SVCB(svcb) => Some(svcb),
        _ => None,
    })
}

/// IPv4 first, as the record has them.
fn hints(message: &Message, record: usize) -> Vec<IpAddr> {
    let svcb = records(message).nth(record).unwrap();
    assert!(svcb.svc_params.is_sorted_by(|one, next| u16::from(one.0) < u16::from(next.0)));
    let hints = svcb.svc_params.iter().flat_map(|(key, value)| -> Vec<IpAddr> {
        match (key, value) {
            (SvcParamKey::Ipv4Hint, SvcParamValue::Ipv4Hint(hint)) => {
                hint.0.iter().map(|a| IpAddr::from(a.0)).collect()
            }
            (SvcParamKey::Ipv6Hint, SvcParamValue::Ipv6Hint(hint)) => {
                hint.0.iter().map(|aaaa| IpAddr::from(aaaa.0)).collect()
            }
            _ => vec![],
        }
    });
    hints.collect()
}

fn addresses(message: &Message) -> Vec<IpAddr> {
    message.answers.iter().filter_map(|record| record.data.ip_addr()).collect()
}

/// splitmix64.
struct Dice(u64);

impl Dice {
    fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    fn below(&mut self, end: usize) -> usize {
        (self.bits() % end as u64) as usize
    }

    fn pick<'t>(&mut self, from: &[&'t str]) -> &'t str {
        from[self.below(from.len())]
    }
}

/// Some of the sites, a policy, a fail mode: all that decides.
fn a_service(dice: &mut Dice) -> String {
    let mut sites = vec!["fra", "ams", "iad", "nrt", "syd"];
    for left in 0..4 {
        sites.swap(left, left + dice.below(5 - left));
    }
    sites.truncate(2 + dice.below(4));
    let sites: Vec<String> = sites
        .iter()
        .map(|site| match dice.below(3) {
            0 => format!("{{ site = {site:?}, weight = {} }}", 1 + dice.below(3)),
            _ => format!("{site:?}"),
        })
        .collect();
    let steer = dice.pick(&["", "\"failover\"", "\"weighted\"", "\"failover\", \"weighted\""]);
    let take = dice.pick(&["", "take = 2", "take = 3\nacross_tiers = true"]);
    let mode = dice.pick(&[
        "\"open\"",
        "\"last-known\"",
        "\"empty\"\nttl = { max = \"5s\" }",
        "\"static\"\nstatic = [\"192.0.2.99\"]",
        "\"static\"\nstatic = [\"192.0.2.98\", \"2001:db8::99\"]",
    ]);
    format!(
        "sites = [{}]\nsteer = [{steer}]\n{take}\nwhen_all_down = {mode}\nhttps = {{ port = 443 }}\n",
        sites.join(", ")
    )
}

#[test]
fn hints_are_what_a_and_aaaa_answer() {
    const SEED: u64 = 9460;
    let mut dice = Dice(SEED);
    let (mut empty, mut one_family, mut different) = (0, 0, 0);
    for number in 0..120 {
        let service = a_service(&mut dice);
        let ground = ground(&service);
        for _ in 0..4 {
            let supposed: Vec<String> = ["fra", "ams", "iad", "nrt", "syd"]
                .iter()
                .filter_map(|site| match dice.below(4) {
                    0 | 1 => Some(format!("down={site}")),
                    2 if dice.below(3) == 0 => Some(format!("drained={site}")),
                    _ => None,
                })
                .collect();
            let supposed = supposed.join(" ");
            let snapshot = snapshot(&ground, &supposed);
            for _ in 0..25 {
                let bits = dice.bits();
                let client = match dice.below(3) {
                    0 => IpNet::new(Ipv4Addr::from_bits(81 << 24 | bits as u32 >> 8).into(), 24),
                    1 => IpNet::new(Ipv4Addr::from_bits(63 << 24 | bits as u32 >> 8).into(), 20),
                    _ => {
                        let bits = 0x2a02_d280 << 96 | u128::from(bits) << 32;
                        IpNet::new(Ipv6Addr::from_bits(bits).into(), 48)
                    }
                };
                let client = client.unwrap().trunc().to_string();
                let ask = |qtype| ask(&snapshot, "www.example.com", qtype, &client);
                let (a, aaaa, https) = (ask("A"), ask("AAAA"), ask("HTTPS"));
                let expected = [addresses(&a), addresses(&aaaa)].concat();
                let what =
                    || format!("seed {SEED}, world {number}, {client} {supposed}\n{service}");
                assert_eq!(https.answers.is_empty(), expected.is_empty(), "{}", what());
                if expected.is_empty() {
                    assert_eq!(told(&https), "nodata", "{}", what());
                    empty += 1;
                } else {
                    assert_eq!(hints(&https, 0), expected, "{}", what());
                    assert_eq!(https.answers.len(), 1);
                    let ttls = [&a, &aaaa].map(|one| one.answers.first().map(|one| one.ttl));
                    assert_eq!(ttls.into_iter().flatten().min(), Some(https.answers[0].ttl));
                }
                assert_eq!(scope(&https), scope(&a).max(scope(&aaaa)), "{}", what());
                let has = |message: &Message| !message.answers.is_empty();
                one_family += usize::from(has(&a) != has(&aaaa));
                different += usize::from(has(&a) && has(&aaaa) && scope(&a) != scope(&aaaa));
            }
        }
    }
    // What was never met was not shown.
    assert!(empty > 50 && one_family > 100 && different > 100, "{empty} {one_family} {different}");
}

/// Eight sites of two VIPs each, with as long names and as many parameters as there may be.
#[test]
fn what_does_not_fit_a_datagram_is_cut_and_told_over_a_stream() {
    let label = "a".repeat(63);
    let world = |ech: usize, own: bool| {
        // The list's length in front of it.
        let octets = [&(ech as u16 - 2).to_be_bytes()[..], &vec![0; ech - 2]].concat();
        let ech = base64(&octets);
        let sites: String = (0..8)
            .map(|n| format!("[site.s{n}]\nvips = [\"192.0.2.{}\", \"2001:db8::{0}\"]\n", n + 1))
            .collect();
        let names: Vec<String> = (0..8)
            .map(|n| match own {
                false => format!("\"s{n}\""),
                true => {
                    let target = format!("{label}.{label}.{label}.s{n}.example.net");
                    format!("{{ site = \"s{n}\", https = {{ target = \"{target}\" }} }}")
                }
            })
            .collect();
        let more = if own { ", alternatives = 8" } else { "" };
        format!(
            "[zone.\"example.com\"]\nfile = \"example.com.zone\"\n{sites}\
             [service.\"{label}.{label}.{label}.example.com\"]\nsites = [{}]\ntake = 8\n\
             when_all_down = \"open\"\nhttps = {{ ech = \"{ech}\"{more} }}\n",
            names.join(", ")
        )
    };
    let zone = ZONE.replace("HTTPS 0 www", "TXT no");
    let name = format!("{label}.{label}.{label}.example.com");
    let check = |text: &str, records: usize, is_cut: bool| {
        let ground = Groundwork::new(small_world::world(text, &zone));
        let snapshot = snapshot(&Arc::new(ground), "");
        let short = ask_over(Transport::Udp, &snapshot, &name, "HTTPS", "81.2.69.0/24");
        let whole = ask_over(Transport::Tcp, &snapshot, &name, "HTTPS", "81.2.69.0/24");
        assert_eq!((short.metadata.truncation, whole.metadata.truncation), (is_cut, false));
        assert_eq!(short.answers.len(), if is_cut { 0 } else { records });
        assert_eq!(whole.answers.len(), records);
    };
    // One record with all parameters and 8 sites' hints is a datagram's; eight of them are not.
    check(&world(512 - 4, false), 1, false);
    check(&world(512 - 4, true), 8, true);
    let problems = small_world::read(&world(512 - 3, false), &zone).unwrap_err();
    assert!(problems.to_string().contains("takes 513 octets of a record, and 512 is the most"));
}

fn base64(octets: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let groups = octets.chunks(3).map(|group| {
        let bits = group.iter().fold(0, |bits, &octet| bits << 8 | usize::from(octet));
        let bits = bits << (8 * (3 - group.len()));
        let digit = |at: usize| match at <= group.len() {
            true => char::from(DIGITS[bits >> (18 - 6 * at) & 63]),
            false => '=',
        };
        (0..4).map(digit).collect::<String>()
    });
    groups.collect()
}

/// Both families are told, and whose hint each is; with names of their own the sites are one story.
#[test]
fn an_explanation_tells_of_every_decision_in_the_record() {
    let story = |service: &str| {
        let snapshot = snapshot(&ground(service), "down=nrt");
        let request = Request {
            name: "www.example.com".parse().unwrap(),
            qtype: RecordType::HTTPS,
            on_behalf: OnBehalf::Subnet("81.2.69.0/24".parse().unwrap(), None),
            at: "2026-11-21T09:30:00Z".parse().unwrap(),
            moment: None,
            stamp: None,
            suppose: vec![],
        };
        explain(&snapshot, "test", &request)
    };
    let short = |told: &explain::Explanation| -> Vec<String> {
        let line = |one: &explain::Steering| {
            let hint = one.hint_of.as_deref().unwrap_or("-");
            format!("{} {hint}: {}", one.family, one.sites.join(" "))
        };
        told.steering.iter().map(line).collect()
    };
    let told = story(
        "sites = [\"nrt\", \"syd\", \"fra\"]\nsteer = [\"failover\"]\nwhen_all_down = \"open\"\nhttps = {}\n",
    );
    assert_eq!(short(&told), ["A HTTPS: fra", "AAAA HTTPS: syd"]);
    let text = told.text();
    assert!(text.contains("service    www.example.com. A, the hint of HTTPS\n"), "{text}");
    assert!(text.contains("service    www.example.com. AAAA, the hint of HTTPS\n"), "{text}");
    assert!(text.contains(" IN HTTPS 1 . ipv4hint=198.51.100.10"), "{text}");
    let told = story(&format!(
        "{TARGETS}steer = [\"failover\"]\nwhen_all_down = \"open\"\nhttps = {{ alpn = [\"h3\"], alternatives = 2 }}\n"
    ));
    assert_eq!(short(&told), ["HTTPS -: fra iad"]);
    assert_eq!(told.answer.records.len(), 2);
}
