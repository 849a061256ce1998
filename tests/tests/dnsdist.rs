//! dnsdist before our server: whom it asks for is who is answered, over UDP and TCP.

#![expect(clippy::unwrap_used, reason = "what a test cannot go on without may as well end it")]

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::path::Path;
use std::process::{Command, Stdio};

use gslb_tests::loopback;
use gslb_tests::peers;
use gslb_tests::process::Process;
use gslb_tests::resolver::{Resolver, Stream, plain_query, query};
use gslb_tests::server::Server;
use gslb_tests::wait::until;
use gslb_tests::world::{EVERY_STEP, World};
use hickory_proto::op::Message;
use hickory_proto::rr::{Name, RecordType};

const DNSDIST: &str = "/usr/bin/dnsdist";
/// Whence it asks us: the only one that is believed.
const PROXY: &str = "127.0.0.3";

/// What a header of the PROXY protocol begins with that tells of a client over UDP, for 12 octets of addresses.
const OVER_UDP: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x21\x12\0\x0c";
const OVER_TCP: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c";

/// A header with which we stand for `client` before dnsdist, which then stands for it before the server.
fn header(begin: &[u8], client: Ipv4Addr) -> Vec<u8> {
    [begin, &client.octets(), &[192, 0, 2, 53], &[0x30, 0x39], &[0, 53]].concat()
}

fn dnsdist(dir: &Path, server: SocketAddr) -> (SocketAddr, Process) {
    let address = loopback::address().unwrap();
    let config = dir.join("dnsdist.conf");
    let text = format!(
        "setLocal(\"{address}\")\nsetACL({{\"0.0.0.0/0\"}})\n\
         setProxyProtocolACL({{\"127.0.0.1/32\"}})\nsetSecurityPollSuffix(\"\")\n\
         newServer{{address=\"{server}\", source=\"{PROXY}\", useProxyProtocol=true}}\n"
    );
    fs::write(&config, text).unwrap();
    let log = File::create(dir.join("dnsdist.log")).unwrap();
    let mut command = Command::new(DNSDIST);
    command
        .args(["--supervised", "--disable-syslog", "--config"])
        .arg(&config)
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log);
    (address, Process::spawn(&mut command).unwrap())
}

fn addresses(answer: &[u8]) -> BTreeSet<String> {
    let answer = Message::from_vec(answer).unwrap();
    answer.answers.iter().map(|record| record.data.to_string()).collect()
}

#[test]
fn whom_dnsdist_asks_for_is_answered() {
    if peers::missing((!Path::new(DNSDIST).exists()).then_some("dnsdist is not installed")) {
        return;
    }
    let world = World::write(&EVERY_STEP).unwrap();
    let node = fs::read_to_string(world.node()).unwrap();
    let believing =
        node.replace("[dns]\n", &format!("[dns]\nproxy = {{ from = [\"{PROXY}/32\"] }}\n"));
    fs::write(world.node(), believing).unwrap();
    let server = Server::start(&world.node()).unwrap();
    let (proxy, mut process) = dnsdist(world.dir(), server.dns());
    let said = || fs::read_to_string(world.path("dnsdist.log")).unwrap_or_default();
    let name = Name::from_ascii("www.example.com.").unwrap();
    let asked = plain_query(&name, RecordType::A).unwrap();
    let udp = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    udp.set_read_timeout(Some(std::time::Duration::from_millis(100))).unwrap();
    udp.connect(proxy).unwrap();

    let mut direct = Resolver::of(server.dns()).unwrap();
    let mut told = BTreeSet::new();
    for client in [Ipv4Addr::new(81, 2, 69, 1), Ipv4Addr::new(63, 1, 2, 1)] {
        let subnet = format!("{client}/32").parse().unwrap();
        let expected =
            addresses(&direct.ask(&query(&name, RecordType::A, Some(subnet)).unwrap()).unwrap());
        let datagram = [&header(OVER_UDP, client), &asked[..]].concat();
        let mut room = [0; 1500];
        // It begins to listen when it likes, and says of us at first that we are down.
        let answer = until("dnsdist passes an answer on", || {
            if let Some(status) = process.child().try_wait()? {
                anyhow::bail!("dnsdist ended with {status}:\n{}", said());
            }
            let length = udp.send(&datagram).and_then(|_| udp.recv(&mut room)).ok();
            let answer = length.map(|length| addresses(&room[..length]));
            Ok(answer.filter(|answer| !answer.is_empty()))
        });
        let answer = answer.unwrap_or_else(|error| panic!("{error:#}\n{}", said()));
        assert_eq!(answer, expected, "{client} over UDP");

        let mut stream = Stream::between(IpAddr::from(Ipv4Addr::LOCALHOST), proxy).unwrap();
        std::io::Write::write_all(&mut stream.0, &header(OVER_TCP, client)).unwrap();
        let answer = stream.ask(&asked).unwrap().expect("an answer");
        assert_eq!(addresses(&answer), expected, "{client} over TCP");
        told.insert(expected);
    }
    assert_eq!(told.len(), 2, "two clients, two places, two answers: {told:?}");
    let refused = "gslb_dns_proxy_refused_datagrams_total{transport=\"udp\"}";
    assert_eq!(server.metric(refused).unwrap(), 0.0, "{}", said());
    assert_eq!(server.metric("gslb_dns_proxy_refused_total").unwrap(), 0.0);
    assert!(server.stop().unwrap().success());
}
