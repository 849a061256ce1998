//! A resolver of others in front, with client subnets on: its cache keeps apart what our scopes say, and
//! nothing else.

#![expect(clippy::unwrap_used, reason = "what a test cannot go on without may as well end it")]

use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use gslb_tests::dice::Dice;
use gslb_tests::loopback;
use gslb_tests::peers;
use gslb_tests::process::Process;
use gslb_tests::resolver::{Resolver, plain_query, query};
use gslb_tests::server::Server;
use gslb_tests::wait::until;
use gslb_tests::world::{Files, World};
use hickory_proto::op::Message;
use hickory_proto::rr::rdata::opt::{EdnsCode, EdnsOption};
use hickory_proto::rr::{Name, RecordType};
use ipnet::Ipv4Net;

const UNBOUND: &str = "/usr/sbin/unbound";
const CLIENTS: usize = 400;

const ZONE: &str = "
$TTL 1h
@    SOA ns1 hostmaster 1 4h 15m 2w 5
     NS  ns1
ns1  A   198.51.100.53
";

/// Places of all lengths within 127.0.0.0/8, all of which is this machine: clients can really stand there.
const WORLD: &str = r#"
[geoip]
ecs_private = true
[geoip.overrides]
"127.0.0.0/8"    = { country = "DE" }
"127.1.0.0/16"   = { country = "US" }
"127.1.64.0/18"  = { country = "JP" }
"127.1.64.0/24"  = { country = "FR" }
"127.2.0.0/15"   = { country = "US" }
"127.3.3.0/24"   = { country = "GB" }
"127.128.0.0/9"  = { country = "JP" }
"127.200.0.0/14" = { country = "US" }
[zone."example.com"]
file = "example.com.zone"
[site.fra]
place = { country = "DE" }
vips  = ["198.51.100.10"]
[site.iad]
place = { country = "US" }
vips  = ["192.0.2.10"]
[site.nrt]
place = { country = "JP" }
vips  = ["203.0.113.10"]
[map.world]
default   = ["fra"]
continent = { NA = ["iad"], AS = ["nrt"] }
[service."www.example.com"]
sites = ["fra", "iad", "nrt"]
steer = [{ map = "world" }]
when_all_down = "open"
ttl = { max = "1h" }
"#;

fn resolver_before(world: &World, dns: SocketAddr) -> (Process, SocketAddr) {
    let address = loopback::address().unwrap();
    let dir = world.dir().display();
    let config = format!(
        "server:\n do-daemonize: no\n use-syslog: no\n username: \"\"\n chroot: \"\"\n \
         directory: \"{dir}\"\n pidfile: \"\"\n interface: {}@{}\n num-threads: 1\n \
         access-control: 127.0.0.0/8 allow\n do-not-query-localhost: no\n \
         module-config: \"subnetcache iterator\"\n send-client-subnet: 127.0.0.1\n \
         qname-minimisation: no\nremote-control:\n control-enable: no\n\
         stub-zone:\n name: \"example.com\"\n stub-addr: {}@{}\n",
        address.ip(),
        address.port(),
        dns.ip(),
        dns.port(),
    );
    let file = world.path("unbound.conf");
    fs::write(&file, config).unwrap();
    let mut command = Command::new(UNBOUND);
    command.arg("-d").arg("-c").arg(file).stdin(Stdio::null()).stdout(Stdio::null());
    command.stderr(fs::File::create(world.path("unbound.log")).unwrap());
    (Process::spawn(&mut command).unwrap(), address)
}

/// What a client is told by the resolver.
fn told(client: Ipv4Addr, resolver: SocketAddr, name: &Name) -> IpAddr {
    let socket = UdpSocket::bind((client, 0)).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
    let mut asked = plain_query(name, RecordType::A).unwrap();
    asked[2] |= 1; // A resolver wants to be asked for recursion.
    let answer = until("unbound answers", || {
        let mut room = vec![0; 1232];
        socket.send_to(&asked, resolver)?;
        Ok(socket.recv(&mut room).ok().map(|length| room[..length].to_vec()))
    });
    let answer = Message::from_vec(&answer.unwrap()).unwrap();
    assert_eq!(answer.answers.len(), 1, "{client}: {answer:?}");
    answer.answers[0].data.ip_addr().unwrap()
}

/// What we say of a client's /24, and for which network that holds.
fn said(server: &Server, client: Ipv4Addr, name: &Name) -> (IpAddr, Ipv4Net) {
    let subnet = Ipv4Net::new(client, 24).unwrap().trunc();
    let mut resolver = Resolver::of(server.dns()).unwrap();
    let asked = query(name, RecordType::A, Some(subnet.into())).unwrap();
    let answer = Message::from_vec(&resolver.ask(&asked).unwrap()).unwrap();
    let edns = answer.edns.as_ref().unwrap();
    let Some(EdnsOption::Subnet(echoed)) = edns.option(EdnsCode::Subnet) else {
        panic!("no client subnet in {answer:?}");
    };
    let scope = Ipv4Net::new(client, echoed.scope_prefix().min(24)).unwrap().trunc();
    (answer.answers[0].data.ip_addr().unwrap(), scope)
}

#[test]
fn a_resolvers_cache_keeps_apart_what_the_scopes_say() {
    let absent = (!Path::new(UNBOUND).exists()).then_some("unbound is not installed");
    if peers::missing(absent) {
        return;
    }
    let world = World::write(&Files { world: WORLD, zone: ZONE, places: "" }).unwrap();
    let server = Server::start(&world.node()).unwrap();
    let (_unbound, resolver) = resolver_before(&world, server.dns());
    let name: Name = "www.example.com.".parse().unwrap();
    let answered =
        || server.metric("gslb_dns_answers_total{rcode=\"NOERROR\",transport=\"udp\"}").unwrap();
    let mut dice = Dice::seeded(20_261_121);
    let mut known: Vec<Ipv4Net> = Vec::new();
    let mut from_cache = 0;
    for turn in 0..CLIENTS {
        // One half anywhere in 127.0.0.0/8, one half where the small networks are.
        let second = [dice.below(256), [1, 2, 3, 200][dice.below(4)]][turn % 2] as u8;
        let third = [dice.below(256), [3, 64, 65, 127, 128][dice.below(5)]][turn / 2 % 2] as u8;
        let client = Ipv4Addr::new(127, second, third, 1 + dice.below(254) as u8);
        let (address, scope) = said(&server, client, &name);
        let is_known = known.iter().any(|known| known.contains(&client));
        let before = answered();
        assert_eq!(told(client, resolver, &name), address, "{client}, known: {is_known}");
        let asked_us = answered() > before;
        assert_eq!(asked_us, !is_known, "{client} of {scope}; known: {known:?}");
        from_cache += usize::from(is_known);
        if !is_known {
            known.push(scope);
        }
    }
    // Both were met often, and scopes of several lengths.
    assert!((50..CLIENTS - 10).contains(&from_cache), "{from_cache} of {CLIENTS} from the cache");
    let mut lengths: Vec<u8> = known.iter().map(Ipv4Net::prefix_len).collect();
    lengths.sort_unstable();
    lengths.dedup();
    assert!(lengths.len() >= 5, "{lengths:?}");
}
