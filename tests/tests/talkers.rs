//! Who asks most, as an operator sees it of the running binary: a flood of invented names among ordinary queries.

#![expect(clippy::unwrap_used, reason = "what a test cannot go on without may as well end it")]

use std::fs;
use std::net::{Ipv4Addr, UdpSocket};

use gslb_tests::resolver::query;
use gslb_tests::server::{Server, run};
use gslb_tests::wait::{PATIENCE, until};
use gslb_tests::world::{Files, World};
use hickory_proto::rr::{Name, RecordType};
use serde_json::Value;

const ZONE: &str = "
$TTL 1h
@    SOA ns1 hostmaster 1 4h 15m 2w 5
     NS  ns1
ns1  A   198.51.100.53
www  A   198.51.100.80
";
const WORLD: &str = "[zone.\"example.com\"]\nfile = \"example.com.zone\"\n";
/// All of 127.0.0.0/8 is this machine.
const FLOODING: Ipv4Addr = Ipv4Addr::new(127, 66, 6, 6);
const ORDINARY: Ipv4Addr = Ipv4Addr::new(127, 1, 2, 3);
/// Of the flood for each ordinary one.
const FLOOD: usize = 3;

/// Asks for each of the names and waits for its answer.
fn ask(server: &Server, from: Ipv4Addr, names: impl Iterator<Item = String>) {
    let socket = UdpSocket::bind((from, 0)).unwrap();
    socket.connect(server.dns()).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    for name in names {
        let name = Name::from_ascii(format!("{name}.")).unwrap();
        socket.send(&query(&name, RecordType::A, None).unwrap()).unwrap();
        socket.recv(&mut [0; 2048]).unwrap();
    }
}

fn told(world: &World, words: &[&str]) -> anyhow::Result<String> {
    let node = world.node().display().to_string();
    let done = run(words.iter().copied().chain(["--config", &node]))?;
    assert_eq!((done.code, done.stderr.as_str()), (Some(0), ""), "{words:?}");
    Ok(done.stdout)
}

fn of<'t>(talkers: &'t Value, who: &str) -> &'t Value {
    let all = talkers["talkers"].as_array().unwrap();
    all.iter().find(|one| one["who"] == who).unwrap_or_else(|| panic!("no {who} in {talkers}"))
}

#[test]
fn a_flood_of_invented_names_is_one_name_and_its_network_is_seen() {
    let world = World::write(&Files { world: WORLD, zone: ZONE, places: "" }).unwrap();
    let server = Server::start(&world.node()).unwrap();
    let mut number = 0;
    // Until a window is over that has both of them; each round is the same mixture.
    let report: Value = until("a window with all of it is over", || {
        for _ in 0..20 {
            ask(&server, ORDINARY, std::iter::repeat_n("www.example.com".to_owned(), 10));
            let flood = (0..10 * FLOOD).map(|_| {
                number += 1;
                format!("x{number}.sub{}.example.com", number % 7)
            });
            ask(&server, FLOODING, flood);
        }
        let report: Value = serde_json::from_str(&told(&world, &["talkers", "--json"])?)?;
        let heard = report["queries_per_second"].as_f64().unwrap() > 50.0;
        Ok(heard.then_some(report))
    })
    .unwrap();
    assert_eq!((&report["sampled"], &report["lost_windows"]), (&16.into(), &0.into()));
    let flood = of(&report["names"], "(no such name) below example.com.");
    let ordinary = of(&report["names"], "www.example.com.");
    let networks =
        [of(&report["clients"], "127.66.6.0/24"), of(&report["clients"], "127.1.2.0/24")];
    for [more, less] in [[flood, ordinary], networks] {
        let number = |of: &Value, key: &str| of[key].as_f64().unwrap();
        assert!(
            number(more, "queries_per_second") > number(less, "queries_per_second"),
            "{report}"
        );
        assert!((0.6..0.9).contains(&number(more, "share")), "{report}");
        assert_eq!((number(more, "errors"), number(less, "errors")), (1.0, 0.0), "{report}");
        assert!(number(more, "at_least") < number(more, "at_most"));
    }
    assert_eq!(report["names"]["talkers"].as_array().unwrap().len(), 2, "{report}");

    // For people, and only at the socket with addresses.
    let text = told(&world, &["talkers"]).unwrap();
    assert!(text.contains("127.66.6.0/24 ") && text.contains("www.example.com. "), "{text}");
    let admin = server.admin().to_string();
    let done = run(["talkers", "--server", &admin]).unwrap();
    assert!(done.stdout.contains("www.example.com. "), "{done:?}");
    assert!(done.stdout.contains("clients are shown at the admin socket"), "{done:?}");
    let page = server.get("/v1/talkers").unwrap();
    assert_eq!(page.status, 200);
    for shown in [&done.stdout, &page.body, &server.get("/metrics").unwrap().body] {
        assert!(!shown.contains("127.66") && !shown.contains("127.1.2"), "{shown}");
    }
}

#[test]
fn who_does_not_want_it_has_nobody_counted() {
    let world = World::write(&Files { world: WORLD, zone: ZONE, places: "" }).unwrap();
    let node = fs::read_to_string(world.node()).unwrap();
    fs::write(world.node(), node.replace("[dns]\n", "[dns]\ntalkers = false\n")).unwrap();
    let server = Server::start(&world.node()).unwrap();
    let page = server.get("/v1/talkers").unwrap();
    assert_eq!(page.status, 404);
    assert!(page.body.contains("dns.talkers is false in node.toml"), "{page:?}");
}
