//! Changing the world under load: a good one is taken whole, a bad one not at all.

use std::collections::BTreeSet;
use std::fs;
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use gslb_tests::resolver::query;
use gslb_tests::server::{Server, run};
use gslb_tests::wait::{Stopping, until};
use gslb_tests::world::{Files, World, compile};
use hickory_proto::op::Message;
use hickory_proto::rr::{Name, RecordType};
use rustix::process::Signal;

/// Reloads of one run. The acceptance of a release asks for a thousand:
/// `GSLB_RELOADS=1000 cargo test --release -p gslb-tests --test reload`.
const RELOADS: u32 = 40;
/// Between two queries of the steady load.
const PACE: Duration = Duration::from_micros(200);

const ZONE: &str = "
$TTL 1h
@    SOA ns1 hostmaster 1 4h 15m 2w 5
     NS  ns1
ns1  A   198.51.100.53
";

/// A world in which everything that an answer says tells which of two worlds it is from.
fn world_of(octet: u8, ttl: u8) -> String {
    format!(
        r#"
[zone."example.com"]
file = "example.com.zone"

[site.one]
place = {{ country = "DE" }}
vips  = ["192.0.2.{octet}", "198.51.100.{octet}"]

[site.two]
place = {{ country = "US" }}
vips  = ["203.0.113.{octet}"]

[service."www.example.com"]
sites = ["one", "two"]
take  = 2
when_all_down = "open"
ttl   = {{ max = "{ttl}s" }}
"#
    )
}

fn started(world: &str) -> (World, Server) {
    let files = Files { world, zone: ZONE, places: "" };
    let world = World::write(&files).expect("a directory of our own");
    let server = Server::start(&world.node()).expect("the world is good");
    (world, server)
}

/// The last octets and the TTLs of an answer.
fn told(answer: &[u8]) -> anyhow::Result<BTreeSet<(u8, u32)>> {
    let message = Message::from_vec(answer)?;
    ensure!(message.answers.len() == 3, "not three addresses: {message:?}");
    let octet = |record: &hickory_proto::rr::Record| {
        let ip = record.data.ip_addr().context("an address")?.to_string();
        let last = ip.rsplit('.').next().and_then(|octet| octet.parse().ok());
        Ok((last.context("an IPv4 address")?, record.ttl))
    };
    message.answers.iter().map(octet).collect()
}

fn ask(server: SocketAddr) -> anyhow::Result<BTreeSet<(u8, u32)>> {
    let name: Name = "www.example.com.".parse()?;
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    socket.connect(server)?;
    socket.set_read_timeout(Some(Duration::from_secs(5)))?;
    socket.send(&query(&name, RecordType::A, None)?)?;
    let mut room = [0; 1232];
    let length = socket.recv(&mut room)?;
    told(&room[..length])
}

/// Asks without a pause longer than `PACE` until told to stop, and counts; each query is waited for, and none
/// is asked twice. Returns the worlds that answered.
fn ask_steadily(
    server: SocketAddr,
    asked: &AtomicU32,
    stop: &AtomicBool,
) -> anyhow::Result<BTreeSet<(u8, u32)>> {
    let mut worlds = BTreeSet::new();
    while !stop.load(Relaxed) {
        let of = ask(server).with_context(|| format!("after {} queries", asked.load(Relaxed)))?;
        asked.fetch_add(1, Relaxed);
        ensure!(of.len() == 1, "one answer from two worlds: {of:?}");
        worlds.extend(of);
        thread::park_timeout(PACE);
    }
    Ok(worlds)
}

#[test]
fn reloads_under_load_lose_no_query_and_mix_no_worlds() {
    let reloads =
        std::env::var("GSLB_RELOADS").map_or(RELOADS, |count| count.parse().expect("a number"));
    let worlds = [world_of(1, 30), world_of(2, 60)];
    let (world, mut server) = started(&worlds[0]);
    let (address, stop) = (server.dns(), AtomicBool::new(false));
    let asked = AtomicU32::new(0);
    let seen = thread::scope(|scope| {
        let asking = Stopping(&stop);
        let asker = scope.spawn(|| ask_steadily(address, &asked, &stop));
        for turn in 1..=reloads {
            fs::write(world.path("world.toml"), &worlds[turn as usize % 2]).expect("ours");
            server.signal(Signal::HUP).expect("it runs");
            let before = asked.load(Relaxed);
            server.wait_for_log("reloaded: the world has changed").expect("a good world");
            // However busy the machine is, every world is asked.
            until("a query is asked", || Ok((asked.load(Relaxed) > before + 1).then_some(())))
                .expect("the asker goes on");
        }
        drop(asking);
        asker.join().expect("the asker does not panic").expect("every query has its answer")
    });
    assert!(asked.into_inner() > reloads);
    assert_eq!(seen, BTreeSet::from([(1, 30), (2, 60)]));
    assert_eq!(server.board_number().unwrap(), u64::from(reloads) + 1);
    let adopted = server.metric("gslb_dns_reloads_total{result=\"adopted\"}").unwrap();
    assert_eq!(adopted, f64::from(reloads));
    assert_eq!(server.stop().unwrap().code(), Some(0));
}

#[test]
fn a_bad_world_is_refused_with_its_reason_and_the_old_one_answers_on() {
    let (world, mut server) = started(&world_of(1, 30));
    let check_refused = |server: &mut Server, says: &str| {
        server.signal(Signal::HUP).unwrap();
        let refused = server.wait_for_log("reload refused").unwrap();
        let why = refused["fields"]["why"].as_str().unwrap();
        assert!(why.contains(says), "{why}");
        assert_eq!(server.metric("gslb_dns_config_ok").unwrap(), 0.0);
        assert_eq!(ask(server.dns()).unwrap(), BTreeSet::from([(1, 30)]));
    };
    let bad = world_of(2, 60).replace("\"two\"]", "\"tow\"]");
    fs::write(world.path("world.toml"), bad).unwrap();
    check_refused(&mut server, "did you mean");
    // A sound world whose policy test fails is as bad.
    let test =
        "[[service.\"www.example.com\".expect]]\nfrom = \"81.2.69.142\"\nsites = [\"one\"]\n";
    fs::write(world.path("world.toml"), world_of(2, 60) + test).unwrap();
    check_refused(&mut server, "the A answer to 81.2.69.0/24 may name two");
    fs::remove_file(world.path("world.toml")).unwrap();
    check_refused(&mut server, "cannot be read");
    fs::write(world.path("world.toml"), world_of(2, 60)).unwrap();
    fs::write(world.path("example.com.zone"), "no zone").unwrap();
    check_refused(&mut server, "example.com.zone:1");
    assert_eq!(server.board_number().unwrap(), 1);

    fs::write(world.path("example.com.zone"), ZONE).unwrap();
    server.signal(Signal::HUP).unwrap();
    server.wait_for_log("reloaded: the world has changed").unwrap();
    assert_eq!(server.metric("gslb_dns_config_ok").unwrap(), 1.0);
    assert_eq!(server.metric("gslb_dns_reloads_total{result=\"refused\"}").unwrap(), 4.0);
    assert_eq!(ask(server.dns()).unwrap(), BTreeSet::from([(2, 60)]));
}

#[test]
fn what_a_reload_cannot_change_is_told() {
    let (world, mut server) = started(&world_of(1, 30));
    let node = fs::read_to_string(world.node()).unwrap();
    let other = node.replace("[dns]\n", "[dns]\nthreads = 3\n");
    assert_ne!(node, other);
    fs::write(world.node(), other).unwrap();
    server.signal(Signal::HUP).unwrap();
    let told = server.wait_for_log("node.toml has another value, which needs a restart").unwrap();
    assert_eq!(told["fields"]["key"], "dns.threads");
    server.wait_for_log("reloaded: the world is the same").unwrap();
    assert_eq!(server.metric("gslb_dns_restart_needed").unwrap(), 1.0);
    assert_eq!(server.metric("gslb_dns_reloads_total{result=\"unchanged\"}").unwrap(), 1.0);
    assert_eq!(server.board_number().unwrap(), 1);

    fs::write(world.node(), node).unwrap();
    server.signal(Signal::HUP).unwrap();
    server.wait_for_log("reloaded: the world is the same").unwrap();
    assert_eq!(server.metric("gslb_dns_restart_needed").unwrap(), 0.0);
}

#[test]
fn what_operators_said_outlives_a_reload_and_metrics_forget_what_is_gone() {
    let (world, mut server) = started(&world_of(1, 30));
    let drained = "[[override]]\nsite = \"one\"\ndrain = true\nwho = \"kim\"\nwhy = \"works\"\n";
    world.write_overrides(drained).unwrap();
    assert_eq!(server.wait_for_board_after(1).unwrap(), 2);
    let renamed = world_of(2, 60).replace("www.example.com", "shop.example.com");
    fs::write(world.path("world.toml"), renamed).unwrap();
    server.signal(Signal::HUP).unwrap();
    server.wait_for_log("reloaded: the world has changed").unwrap();
    let page = server.get("/v1/explain?name=shop.example.com&resolver=192.0.2.1").unwrap();
    let told: serde_json::Value = serde_json::from_str(&page.body).unwrap();
    assert_eq!(told["answer"]["addresses"], serde_json::json!(["203.0.113.2"]), "{told}");
    let metrics = server.get("/metrics").unwrap().body;
    assert!(metrics.contains("service=\"shop.example.com.\""), "{metrics}");
    assert!(!metrics.contains("service=\"www.example.com.\""), "{metrics}");
    assert_eq!(metrics.matches("gslb_dns_epoch_info{").count(), 1, "{metrics}");
}

#[test]
fn what_a_reload_takes_away_is_told_and_a_world_of_nothing_is_refused() {
    let text = world_of(1, 30);
    let (world, mut server) = started(&text);
    let node = world.node().display().to_string();
    let reload = |text: &str| {
        fs::write(world.path("world.toml"), text).unwrap();
        run(["reload", "--config", &node]).unwrap()
    };
    let done = reload("");
    assert_eq!(done.code, Some(1), "{done:?}");
    assert!(done.stderr.contains("world.toml:1: has no zone"), "{done:?}");
    assert_eq!(ask(server.dns()).unwrap(), BTreeSet::from([(1, 30)]));
    // Cut short: what is left is a world, and not the one that was meant.
    let (short, _) = text.split_once("[service.").unwrap();
    let done = reload(short);
    assert_eq!(done.code, Some(0), "{done:?}");
    assert!(done.stdout.contains("\nATTENTION  no more: service www.example.com\n"), "{done:?}");
    let told = server.wait_for_log("a reload has taken out what was there before").unwrap();
    assert_eq!(told["fields"]["gone"], "service www.example.com", "{told}");
    let back = reload(&text.replace("[site.two]", "[site.three]").replace("\"two\"", "\"three\""));
    assert!(back.stdout.contains("no more: site two\n"), "{back:?}");
    assert!(!back.stdout.contains("service"), "{back:?}");
}

#[test]
fn a_failure_is_over_when_the_sites_that_failed_are_gone() {
    let observed = "[service.\"seen.example.com\"]\nsites = [\"one\", \"two\"]\nact = \"observe\"\nwhen_all_down = \"open\"\n";
    let text = world_of(1, 30) + observed;
    let (world, mut server) = started(&text);
    let mut services_of = |message: &str| {
        let told = [(); 2].map(|()| server.wait_for_log(message).unwrap());
        told.map(|line| line["fields"]["service"].as_str().unwrap().to_owned())
    };
    let both = ["seen.example.com", "www.example.com"];
    let said = |what: &str| format!("[[override]]\n{what}\nwho = \"kim\"\nwhy = \"works\"\n");
    let overrides = [
        said("site = \"one\"\nstate = \"down\""),
        said("site = \"two\"\nstate = \"down\""),
        said("site = \"one\"\ndrain = true"),
    ];
    world.write_overrides(&overrides.concat()).unwrap();
    assert_eq!(services_of("no site is fit to serve: the fail mode answers"), both);

    // A site that is drained besides is not missed, and a service that is observed misses none.
    let node = world.node().display().to_string();
    let status = run(["status", "--config", &node]).unwrap().stdout;
    let attention: Vec<&str> =
        status.lines().filter_map(|line| line.strip_prefix("ATTENTION  ")).collect();
    let expected = [
        "site two is down for www.example.com: works, says kim",
        "seen.example.com: no site is fit to serve; it is only observed",
        "www.example.com: no undrained site is fit to serve, and when_all_down decides",
    ];
    assert_eq!(attention, expected);

    let renamed = text.replace("site.one", "site.three").replace("site.two", "site.four");
    let renamed = renamed.replace("\"one\", \"two\"", "\"three\", \"four\"");
    fs::write(world.path("world.toml"), renamed).unwrap();
    assert_eq!(run(["reload", "--config", &node]).unwrap().code, Some(0));
    assert_eq!(services_of("a site is fit again: the fail mode is over"), both);
}

#[test]
fn a_database_that_is_not_what_was_meant_is_refused() {
    const PLACES: &str = "81.0.0.0/8,GB\n63.0.0.0/8,US\n";
    let geoip = "[geoip]\ndatabases = [\"places.mmdb\"]\n\
                 [geoip.expect]\n\"81.2.69.142\" = { country = \"GB\" }\n";
    let text = format!("{geoip}{}", world_of(1, 30));
    let files = Files { world: &text, zone: ZONE, places: PLACES };
    let world = World::write(&files).unwrap();
    let mut server = Server::start(&world.node()).unwrap();
    let database = world.path("places.mmdb");
    let good = fs::read(&database).unwrap();
    let mut refused = |octets: &dyn Fn() -> Vec<u8>, says: &str| {
        fs::write(&database, octets()).unwrap();
        server.signal(Signal::HUP).unwrap();
        let refused = server.wait_for_log("reload refused").unwrap();
        let why = refused["fields"]["why"].as_str().unwrap();
        assert!(why.contains("world.toml:") && why.contains(says), "{why}");
        assert_eq!(server.metric("gslb_dns_config_ok").unwrap(), 0.0);
        assert_eq!(ask(server.dns()).unwrap(), BTreeSet::from([(1, 30)]));
    };
    let elsewhere = compile(&PLACES.replace("GB", "FR")).unwrap();
    refused(&|| elsewhere.clone(), "81.2.69.142 is found in country FR, expected country GB");
    refused(&Vec::new, "places.mmdb");
    refused(&|| good[..good.len() / 2].to_vec(), "places.mmdb");
    refused(&|| b"not a database at all".repeat(1000), "places.mmdb");
    // Every pointer of its tree leads nowhere.
    let corrupt = [vec![0xff; good.len() / 3], good[good.len() / 3..].to_vec()].concat();
    refused(&|| corrupt.clone(), "places.mmdb");
    // Larger than any that is sold, and nothing in it: it is not read.
    fs::write(&database, b"").unwrap();
    fs::OpenOptions::new().write(true).open(&database).unwrap().set_len(10 << 30).unwrap();
    server.signal(Signal::HUP).unwrap();
    let told = server.wait_for_log("reload refused").unwrap();
    assert!(told["fields"]["why"].as_str().unwrap().contains("larger than"), "{told}");
    // Taken away while it answers, and replaced while it is read, again and again.
    fs::remove_file(&database).unwrap();
    server.signal(Signal::HUP).unwrap();
    let told = server.wait_for_log("reload refused").unwrap();
    assert!(told["fields"]["why"].as_str().unwrap().contains("places.mmdb"), "{told}");
    for turn in 0..20 {
        fs::write(&database, if turn % 2 == 0 { &good } else { &elsewhere }).unwrap();
        server.signal(Signal::HUP).unwrap();
        assert_eq!(ask(server.dns()).unwrap(), BTreeSet::from([(1, 30)]));
    }
    fs::write(&database, &good).unwrap();
    until("the good database is read", || {
        server.signal(Signal::HUP)?;
        Ok((server.metric("gslb_dns_config_ok")? == 1.0).then_some(()))
    })
    .unwrap();
    assert_eq!(server.stop().unwrap().code(), Some(0));
}
