//! Encrypted transports as programs of others meet them: kdig, curl, unbound.

#![expect(clippy::unwrap_used, reason = "what a test cannot go on without may as well end it")]

use std::fs;
use std::io::Write as _;
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use gslb_tests::loopback;
use gslb_tests::peers;
use gslb_tests::process::Process;
use gslb_tests::quic::{Quic, Reply};
use gslb_tests::resolver::{Resolver, plain_query, query};
use gslb_tests::server::Server;
use gslb_tests::tls::{CERTIFICATE, NAME, certify, encrypt};
use gslb_tests::wait::{now, until};
use gslb_tests::world::{EVERY_STEP, World};
use hickory_proto::op::Message;
use hickory_proto::rr::{Name, RecordType};
use rustix::process::Signal;

/// Where Debian's packages put them.
const KDIG: &str = "/usr/bin/kdig";
const CURL: &str = "/usr/bin/curl";
const UNBOUND: &str = "/usr/sbin/unbound";

fn absent(program: &str, what: &'static str) -> Option<&'static str> {
    (!Path::new(program).exists()).then_some(what)
}

fn world() -> (World, Server) {
    let world = World::write(&EVERY_STEP).unwrap();
    encrypt(&world).unwrap();
    let server = Server::start(&world.node()).unwrap();
    (world, server)
}

/// Standard output; standard error is shown if it fails.
fn run(command: &mut Command) -> Vec<u8> {
    let output = command.stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{command:?}\n{said}{told}");
    output.stdout
}

fn kdig(world: &World, server: SocketAddr, words: &[&str]) -> String {
    let ca = format!("+tls-ca={}", world.path(CERTIFICATE).display());
    let host = format!("+tls-hostname={NAME}");
    let (at, port) = (format!("@{}", server.ip()), server.port().to_string());
    let mut command = Command::new(KDIG);
    command.args([&at, "-p", &port, &ca, &host, "www.example.com", "A"]).args(words);
    String::from_utf8(run(&mut command)).unwrap()
}

#[test]
fn kdig_asks_over_tls_https_and_quic() {
    if peers::missing(absent(KDIG, "kdig is not installed")) {
        return;
    }
    let (world, server) = world();
    let subnet = "+subnet=81.2.69.0/24";
    let plain = kdig(&world, server.dns(), &["+notls", "+tcp", "+short", subnet]);
    assert!(!plain.trim().is_empty());
    let (tls, https) = (server.tls().unwrap(), server.https().unwrap());
    let quic = server.quic().unwrap();
    let over_quic = ["+quic", subnet];
    let over_tls = ["+tls", subnet];
    let over_post = ["+https", subnet];
    let over_get = ["+https", "+https-get", subnet];
    for (address, words) in
        [(tls, &over_tls[..]), (https, &over_post), (https, &over_get), (quic, &over_quic)]
    {
        let short = kdig(&world, address, &[words, &["+short"]].concat());
        assert_eq!(short, plain, "{words:?}");
        // kdig pads what it encrypts, unless told otherwise; so then do we.
        let long = kdig(&world, address, &[words, &["+padding"]].concat());
        assert!(long.contains("NOERROR") && long.contains("PADDING"), "{long}");
        let octets = long.split(";; Received ").nth(1).and_then(|rest| rest.split(' ').next());
        let octets: usize = octets.unwrap_or_else(|| panic!("{long}")).parse().unwrap();
        assert!(octets > 0 && octets.is_multiple_of(468), "{long}");
    }
    for (transport, result) in [("tls", "full"), ("https", "full"), ("quic", "done")] {
        let shaken = format!(
            "gslb_dns_tls_handshakes_total{{result=\"{result}\",transport=\"{transport}\"}}"
        );
        assert!(server.metric(&shaken).unwrap() >= 2.0, "{transport}");
        let expiry =
            format!("gslb_dns_certificate_expiry_timestamp_seconds{{transport=\"{transport}\"}}");
        assert!(server.metric(&expiry).unwrap() > 60e9, "rcgen's certificates last until 4096");
    }
}

#[test]
fn curl_asks_by_get_and_post_over_both_versions() {
    if peers::missing(absent(CURL, "curl is not installed")) {
        return;
    }
    let (world, server) = world();
    let name = Name::from_ascii("www.example.com.").unwrap();
    let subnet = "81.2.69.0/24".parse().unwrap();
    let asked = query(&name, RecordType::A, Some(subnet)).unwrap();
    let expected = Resolver::of(server.dns()).unwrap().ask(&asked).unwrap();
    fs::write(world.path("query"), &asked).unwrap();
    let https = server.https().unwrap();
    let url = format!("https://{NAME}:{}/dns-query", https.port());
    let resolve = format!("{NAME}:{}:{}", https.port(), https.ip());
    let in_uri = format!("{url}?dns={}", base64url(&asked));
    for (version, told) in [("--http2", "HTTP/2 200"), ("--http1.1", "HTTP/1.1 200")] {
        for post in [false, true] {
            let mut command = Command::new(CURL);
            command.args(["--silent", "--show-error", "--fail", version, "--resolve", &resolve]);
            command.arg("--cacert").arg(world.path(CERTIFICATE));
            command.arg("--dump-header").arg(world.path("head"));
            match post {
                true => command
                    .args(["--header", "content-type: application/dns-message", "--data-binary"])
                    .arg(format!("@{}", world.path("query").display()))
                    .arg(&url),
                false => command.arg(&in_uri),
            };
            assert_eq!(run(&mut command), expected, "{command:?}");
            let head = fs::read_to_string(world.path("head")).unwrap().to_ascii_lowercase();
            assert!(head.starts_with(&told.to_ascii_lowercase()), "{head}");
            // A service decided: no cache may give its answer to others.
            assert!(head.contains("cache-control: private, max-age=30"), "{head}");
            assert!(head.contains("content-type: application/dns-message"), "{head}");
        }
    }
}

/// Without padding. Few octets, so bit by bit is fast enough.
fn base64url(octets: &[u8]) -> String {
    const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let bit = |at: usize| octets.get(at / 8).is_some_and(|octet| octet & 0x80 >> (at % 8) != 0);
    let sextet =
        |at: usize| (0..6).fold(0, |sextet, next| sextet << 1 | usize::from(bit(at + next)));
    (0..octets.len() * 8).step_by(6).map(|at| LETTERS[sextet(at)] as char).collect()
}

#[test]
fn unbound_asks_over_tls() -> anyhow::Result<()> {
    if peers::missing(absent(UNBOUND, "unbound is not installed")) {
        return Ok(());
    }
    let (world, server) = world();
    let address = loopback::address()?;
    let dir = world.dir().display();
    let tls = server.tls().context("it answers over TLS")?;
    let config = format!(
        "server:\n do-daemonize: no\n use-syslog: no\n username: \"\"\n chroot: \"\"\n \
         directory: \"{dir}\"\n pidfile: \"\"\n interface: {}@{}\n \
         do-not-query-localhost: no\n module-config: \"iterator\"\n \
         tls-cert-bundle: \"{dir}/{CERTIFICATE}\"\nremote-control:\n control-enable: no\n\
         stub-zone:\n name: \"example.com\"\n stub-tls-upstream: yes\n stub-addr: {}@{}#{NAME}\n",
        address.ip(),
        address.port(),
        tls.ip(),
        tls.port(),
    );
    fs::write(world.path("unbound.conf"), config)?;
    let mut command = Command::new(UNBOUND);
    command.arg("-d").arg("-c").arg(world.path("unbound.conf"));
    command.stdin(Stdio::null()).stdout(Stdio::null());
    command.stderr(fs::File::create(world.path("unbound.log"))?);
    let _unbound = Process::spawn(&mut command)?;
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    socket.set_read_timeout(Some(Duration::from_millis(500)))?;
    let log = || fs::read_to_string(world.path("unbound.log")).unwrap_or_default();
    let name = Name::from_ascii("plain.example.com.")?;
    for name in [name, Name::from_ascii("many.example.com.")?] {
        let mut asked = plain_query(&name, RecordType::A)?;
        asked[2] |= 1; // A resolver wants to be asked for recursion.
        let answer = until("unbound answers", || {
            let mut room = vec![0; 65_535];
            let _ = socket.send_to(&asked, address);
            Ok(socket.recv(&mut room).ok().map(|length| room[..length].to_vec()))
        })
        .with_context(log)?;
        let answer = Message::from_vec(&answer)?;
        ensure!(answer.metadata.response_code.low() == 0, "{answer:?}\n{}", log());
    }
    let of_tls = "gslb_dns_answers_total{rcode=\"NOERROR\",transport=\"tls\"}";
    ensure!(server.metric(of_tls)? >= 2.0, "{}", log());
    let of_udp = "gslb_dns_answers_total{rcode=\"NOERROR\",transport=\"udp\"}";
    ensure!(server.metric(of_udp)? == 0.0, "it was told to ask over TLS only");
    Ok(())
}

#[test]
fn a_renewed_certificate_is_shown_without_a_reload() {
    let world = World::write(&EVERY_STEP).unwrap();
    let old = encrypt(&world).unwrap();
    let mut server = Server::start(&world.node()).unwrap();
    let (tls, https) = (server.tls().unwrap(), server.https().unwrap());
    old.connect(tls, b"dot").unwrap();
    // Bad ones change nothing.
    let good = fs::read(world.path(CERTIFICATE)).unwrap();
    fs::write(world.path(CERTIFICATE), "none").unwrap();
    server.wait_for_log("certificate refused").unwrap();
    assert_eq!(server.metric("gslb_dns_certificate_ok{transport=\"tls\"}").unwrap(), 0.0);
    old.connect(tls, b"dot").unwrap();
    fs::write(world.path(CERTIFICATE), good).unwrap();
    server.wait_for_log("certificate read").unwrap();

    let new = certify(&world).unwrap();
    for (address, protocol) in [(tls, &b"dot"[..]), (https, b"h2")] {
        until("the new certificate is shown", || Ok(new.connect(address, protocol).ok())).unwrap();
        assert!(old.connect(address, protocol).is_err(), "the old one is shown too");
    }
    let quic = server.quic().unwrap();
    let asking = until("over QUIC too", || Ok(Quic::connect(&new, quic).ok())).unwrap();
    assert!(Quic::connect(&old, quic).is_err(), "the old one is shown too");
    let ok = |server: &Server| server.metric("gslb_dns_certificate_ok{transport=\"tls\"}").unwrap();
    assert_eq!(ok(&server), 1.0);
    // SIGHUP reads them at once, whatever they look like.
    server.signal(Signal::HUP).unwrap();
    server.wait_for_log("certificate read").unwrap();
    new.connect(tls, b"dot").unwrap();
    assert!(server.stop().unwrap().success());
    assert_eq!(asking.wait_for_end().unwrap(), 0, "DOQ_NO_ERROR");
}

/// kdig writes the header, over TCP and UDP; the policy answers for the client in it.
#[test]
fn a_proxy_tells_the_client() {
    if peers::missing(absent(KDIG, "kdig is not installed")) {
        return;
    }
    let world = World::write(&EVERY_STEP).unwrap();
    encrypt(&world).unwrap();
    let node = fs::read_to_string(world.node()).unwrap();
    let believing = node.replace("[dns]\n", "[dns]\nproxy = { from = [\"127.0.0.2/32\"] }\n");
    fs::write(world.node(), believing).unwrap();
    let server = Server::start(&world.node()).unwrap();
    let dns = server.dns();
    let mut told = std::collections::BTreeSet::new();
    for client in ["81.2.69.1", "63.1.2.1"] {
        let subnet = format!("+subnet={client}/24");
        let expected = kdig(&world, dns, &["+notls", "+notcp", "+short", &subnet]);
        let proxy = format!("+proxy={client}-192.0.2.53");
        for transport in ["+tcp", "+notcp"] {
            let words = ["-b", "127.0.0.2", "+notls", transport, "+short", &proxy];
            assert_eq!(kdig(&world, dns, &words), expected, "{client} {transport}");
        }
        told.insert(expected);
    }
    assert_eq!(told.len(), 2, "two clients, two places, two answers: {told:?}");
}

/// Whoever floods the streams floods nobody else: the limit holds over all of them, and UDP answers at once.
#[test]
fn floods_end_at_the_limit_and_udp_does_not_notice() {
    const LIMIT: usize = 40;
    const FLOOD: usize = 300;
    let world = World::write(&EVERY_STEP).unwrap();
    let believer = encrypt(&world).unwrap();
    let node = fs::read_to_string(world.node()).unwrap();
    let limited =
        format!("[dns]\ntcp = {{ connections = {LIMIT}, connections_per_client = {LIMIT} }}\n");
    fs::write(world.node(), node.replace("[dns]\n", &limited)).unwrap();
    let server = Server::start(&world.node()).unwrap();
    let (tls, https) = (server.tls().unwrap(), server.https().unwrap());
    let quic = server.quic().unwrap();
    let mut resolver = Resolver::of(server.dns()).unwrap();
    let asked = plain_query(&Name::from_ascii("www.example.com.").unwrap(), RecordType::A).unwrap();
    let open = || server.metric("gslb_dns_tcp_connections").unwrap() as usize;
    let mut flood = Vec::new();
    for address in [server.dns(), tls, https] {
        for round in 0..FLOOD {
            let mut stream = TcpStream::connect(address).unwrap();
            // Some say nothing, some begin a message, a handshake or a request and leave it at that.
            let began: &[u8] = if round % 2 == 0 { b"" } else { b"\x16\x03\x01\x02" };
            let _ = stream.write_all(began);
            flood.push(stream);
            if round % 10 == 0 {
                let begin = now();
                resolver.ask(&asked).unwrap();
                // A query that was lost would have been asked again after a second.
                assert!(begin.elapsed() < Duration::from_secs(1), "{:?}", begin.elapsed());
            }
        }
        until("the table is at its limit", || Ok((open() <= LIMIT).then_some(()))).unwrap();
        // Who really asks still gets a seat, and keeps it while it asks.
        let mut stream = believer.stream(tls).unwrap();
        assert!(stream.ask(&asked).unwrap().is_some());
        let mut requests = believer.https(https).unwrap();
        requests.send(&asked).unwrap();
        assert_eq!(requests.receive().unwrap().0, 200);
        // One table for all of them.
        let over_quic = Quic::connect(&believer, quic).unwrap().ask(&asked).unwrap();
        assert!(matches!(over_quic, Reply::Answer(_)), "{over_quic:?}");
    }
    let evicted = |reason: &str| {
        server.metric(&format!("gslb_dns_tcp_evicted_total{{reason=\"{reason}\"}}")).unwrap()
    };
    assert!(evicted("client_full") + evicted("full") >= (3 * (FLOOD - LIMIT)) as f64);
    assert!(server.stop().unwrap().success());
}
