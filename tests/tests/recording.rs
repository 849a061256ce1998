//! Recordings as an operator meets them: the real binary under queries, killed, and asked again what it was asked.

#![expect(clippy::unwrap_used, reason = "what a test cannot go on without may as well end it")]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Command;

use gslb_tests::dice::Dice;
use gslb_tests::peers;
use gslb_tests::resolver::{Resolver, Stream, plain_query, query};
use gslb_tests::server::{Finished, Server, program, run};
use gslb_tests::wait::until;
use gslb_tests::world::{EVERY_STEP, Files, NODE_NAME, World};
use hickory_proto::rr::{Name, RecordType};
use ipnet::IpNet;
use rustix::process::Signal;
use serde_json::Value;

const WRITTEN: &str = "gslb_dns_recording_written_total";
const LOST_TO_DISK: &str = "gslb_dns_recording_dropped_total{reason=\"disk\"}";
const OK: &str = "gslb_dns_recording_ok";
const DIR: &str = "queries";

const WORLD: &str = r#"
[zone."example.com"]
file = "example.com.zone"

[site.fra]
vips = ["198.51.100.10"]
[site.ams]
vips = ["198.51.100.20"]
[site.iad]
vips = ["192.0.2.10"]

[service."www.example.com"]
sites = ["fra", "ams", "iad"]
when_all_down = "open"

[service."api.example.com"]
sites = ["fra", "iad"]
steer = ["weighted"]
when_all_down = "open"
ttl = { max = "1s" }
"#;

const ZONE: &str = "
$TTL 1h
@    SOA   ns1 hostmaster 1 4h 15m 2w 5
     NS    ns1
ns1  A     198.51.100.53
blog CNAME www
";

fn small() -> World {
    World::write(&Files { world: WORLD, zone: ZONE, places: EVERY_STEP.places }).unwrap()
}

fn record(world: &World, keys: &str) {
    let node = fs::read_to_string(world.node()).unwrap();
    let table = format!("query_log = {{ recording = {{ dir = \"{DIR}\"{keys} }} }}\n");
    fs::write(world.node(), node.replace("[dns]\n", &format!("[dns]\n{table}"))).unwrap();
}

/// From clients of everywhere, for names of services, of records and of nothing.
fn packets(count: usize, names: &[&str]) -> Vec<Vec<u8>> {
    let mut dice = Dice::seeded(7);
    let mut packet = || {
        let name = Name::from_ascii(names[dice.below(names.len())]).unwrap();
        let rtype =
            [RecordType::A, RecordType::A, RecordType::AAAA, RecordType::TXT][dice.below(4)];
        match dice.below(8) {
            0 => plain_query(&name, rtype).unwrap(),
            1 => query(&name, rtype, None).unwrap(),
            2 => {
                let net = IpNet::new(
                    std::net::Ipv6Addr::from(
                        0x2a02_u128 << 112 | (dice.below(1 << 20) as u128) << 76,
                    )
                    .into(),
                    56,
                );
                query(&name, rtype, Some(net.unwrap())).unwrap()
            }
            _ => {
                let address =
                    [1 + dice.below(220) as u8, dice.below(256) as u8, dice.below(256) as u8, 0];
                let net = IpNet::new(address.into(), 24).unwrap();
                query(&name, rtype, Some(net)).unwrap()
            }
        }
    };
    (0..count).map(|_| packet()).collect()
}

const NAMES: [&str; 5] = [
    "www.example.com.",
    "blog.example.com.",
    "API.example.com.",
    "nowhere.example.com.",
    "www.example.net.",
];

fn until_metric(server: &Server, series: &str, is_so: impl Fn(f64) -> bool) -> f64 {
    until(series, || server.metric(series).map(|value| is_so(value).then_some(value))).unwrap()
}

fn replay(world: &World, arguments: &[&str]) -> (Option<i32>, Value) {
    let (node, dir) = (world.node(), world.path(DIR));
    let mut all =
        vec!["replay", "--json", "--config", node.to_str().unwrap(), dir.to_str().unwrap()];
    all.extend(arguments);
    let Finished { code, stdout, stderr } = run(&all).unwrap();
    (code, serde_json::from_str(&stdout).unwrap_or_else(|_| panic!("{stdout}{stderr}")))
}

fn shown(world: &World) -> Vec<Value> {
    let dir = world.path(DIR);
    let Finished { stdout, .. } = run(["queries", "--json", dir.to_str().unwrap()]).unwrap();
    stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn recordings(world: &World) -> Vec<PathBuf> {
    let files = fs::read_dir(world.path(DIR)).unwrap().map(|file| file.unwrap().path());
    let mut files: Vec<_> = files.collect();
    files.sort();
    files
}

/// Has a server killed when it has recorded all of these, some over TCP.
fn recorded(world: &World, packets: &[Vec<u8>]) {
    let mut server = Server::start(&world.node()).unwrap();
    let (over_udp, over_tcp) = packets.split_at(packets.len() / 4 * 3);
    let mut resolver = Resolver::of(server.dns()).unwrap();
    assert_eq!(resolver.ask_all(over_udp).unwrap().len(), over_udp.len());
    let mut stream = Stream::to(server.dns()).unwrap();
    for packet in over_tcp {
        stream.ask(packet).unwrap().unwrap();
    }
    // Asked again where loopback lost one, so there may be more.
    let counted = |transport: &str, rcode: &str| {
        let series =
            format!("gslb_dns_answers_total{{rcode=\"{rcode}\",transport=\"{transport}\"}}");
        server.metric(&series).unwrap()
    };
    let rcodes = ["NOERROR", "NXDOMAIN", "REFUSED"];
    let answers: f64 = ["udp", "tcp"]
        .iter()
        .flat_map(|transport| rcodes.map(|rcode| counted(transport, rcode)))
        .sum();
    assert!(answers >= packets.len() as f64);
    until_metric(&server, WRITTEN, |written| written == answers);
    server.signal(Signal::KILL).unwrap();
    server.wait().unwrap();
}

#[test]
fn what_was_asked_of_a_server_that_was_killed_is_answered_again_as_it_was() {
    let world = World::write(&EVERY_STEP).unwrap();
    record(&world, "");
    let names = [
        "www.example.com.",
        "shop.example.com.",
        "plain.example.com.",
        "sticky.example.com.",
        "strict.example.com.",
        "api.example.com.",
        "country.example.com.",
        "nowhere.example.com.",
    ];
    let overrides =
        "[[override]]\nsite = \"nrt\"\nstate = \"down\"\nwho = \"me\"\nwhy = \"a test\"\n";
    world.write_overrides(overrides).unwrap();
    recorded(&world, &packets(4000, &names));
    let [file] = &recordings(&world)[..] else { panic!("one file") };
    assert_eq!(fs::metadata(file).unwrap().permissions().mode() & 0o777 & !0o640, 0);
    let (code, report) = replay(&world, &[]);
    assert_eq!(code, Some(0), "{report:#}");
    let queries = report["queries"].as_u64().unwrap();
    assert!(queries >= 4000);
    for all in ["as_recorded", "by_this_world", "under_these_beliefs"] {
        assert_eq!(report[all], queries, "{all}: {report:#}");
    }
    assert_eq!(report["files"][0]["node"], NODE_NAME);
    assert_eq!(report["files"][0]["cut"], 0);
    let shown = shown(&world);
    assert_eq!(shown.len() as u64, queries);
    assert!(shown.iter().all(|one| one["resolver"] == "127.0.0.1"));
    let of = |key: &str, value: &str| shown.iter().filter(|one| one[key] == value).count();
    assert_eq!(of("transport", "tcp"), 1000);
    assert!(of("rcode", "NXDOMAIN") > 100 && of("type", "AAAA") > 500);
    // Without the operator's word, and as if another site were down, others would be answered otherwise.
    for otherwise in [&["--no-overrides"][..], &["--suppose", "down=iad"]] {
        let (code, report) = replay(&world, otherwise);
        assert_eq!((code, report["under_these_beliefs"].as_u64()), (Some(1), Some(0)));
        assert!(report["otherwise"].as_u64().unwrap() > 100, "{report:#}");
    }
    let (node, dir) = (world.node(), world.path(DIR));
    let words = ["replay", "--suppose", "down=osol", "--config", node.to_str().unwrap()];
    let of_nobody = run(words.into_iter().chain([dir.to_str().unwrap()])).unwrap();
    assert_eq!((of_nobody.code, &*of_nobody.stdout), (Some(2), ""));
    assert!(of_nobody.stderr.contains("no site matches \"osol\" (sites: "), "{of_nobody:?}");
    // Half a block behind the others, as a kill in the middle of a write leaves it.
    let octets = fs::read(file).unwrap();
    let header = 12 + 50 + NODE_NAME.len() + 4;
    fs::write(file, [&octets[..], &octets[header..header + 50]].concat()).unwrap();
    let (code, report) = replay(&world, &[]);
    assert_eq!((code, &report["queries"]), (Some(0), &queries.into()), "{report:#}");
    assert_eq!(report["files"][0]["cut"], 50);
}

#[test]
fn a_site_that_goes_moves_those_who_were_there_and_nobody_else() {
    let world = small();
    record(&world, "");
    recorded(&world, &packets(3000, &NAMES));
    assert_eq!(replay(&world, &[]).0, Some(0));
    let shown = shown(&world);
    let names = |one: &Value, service: &str, site: &str| {
        one["services"].as_array().unwrap().iter().any(|part| {
            part["service"] == service && part["sites"].as_array().unwrap().contains(&site.into())
        })
    };
    let at_ams = shown.iter().filter(|one| names(one, "www.example.com.", "ams")).count() as u64;
    assert!(at_ams > 100, "{at_ams}");
    let without =
        WORLD.replace("sites = [\"fra\", \"ams\", \"iad\"]", "sites = [\"iad\", \"fra\"]");
    fs::write(world.path("world.toml"), without).unwrap();
    let (code, report) = replay(&world, &[]);
    assert_eq!((code, report["otherwise"].as_u64()), (Some(1), Some(at_ams)), "{report:#}");
    assert_eq!(report["by_this_world"], 0);
    let [www, api] = &report["services"].as_array().unwrap()[..] else { panic!("{report:#}") };
    assert_eq!((&www["service"], &api["moved"]), (&"www.example.com.".into(), &0.into()));
    assert_eq!(www["moved"], at_ams);
    let moves: BTreeMap<_, _> = www["moves"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| {
            (
                (one["from"].as_str().unwrap(), one["to"].as_str().unwrap()),
                one["queries"].as_u64().unwrap(),
            )
        })
        .collect();
    assert_eq!(moves.keys().copied().collect::<Vec<_>>(), [("ams", "fra"), ("ams", "iad")]);
    assert_eq!(moves.values().sum::<u64>(), at_ams);
    // The command beside an example shows what it says.
    for example in report["examples"].as_array().unwrap() {
        let command = example["explain"].as_str().unwrap();
        let words: Vec<&str> = command.split(' ').skip(1).chain(["--json"]).collect();
        let at = words.iter().position(|word| *word == "--").unwrap();
        let words = [&words[..at], &["--json"], &words[at..words.len() - 1]].concat();
        let Finished { stdout, stderr, .. } = run(&words).unwrap();
        let told: Value =
            serde_json::from_str(&stdout).unwrap_or_else(|_| panic!("{command}: {stderr}"));
        let last = told["steering"].as_array().unwrap().last().unwrap();
        assert_eq!(last["sites"][0], example["to"], "{command}");
    }
    // A name that is gone is no move of a service.
    let zone = ZONE.replace("blog CNAME www", "news CNAME www");
    fs::write(world.path("world.toml"), WORLD).unwrap();
    fs::write(world.path("example.com.zone"), zone).unwrap();
    let (_, report) = replay(&world, &[]);
    let www = &report["services"][0];
    assert_eq!(
        (&www["service"], &www["moves"][0]["to"]),
        (&"www.example.com.".into(), &"not steered".into())
    );
    // What cannot be read, or not to its end, is another exit code than a move.
    let [file] = &recordings(&world)[..] else { panic!("one file") };
    let mut octets = fs::read(file).unwrap();
    let middle = octets.len() / 2;
    octets[middle] ^= 1;
    fs::write(file, octets).unwrap();
    let (code, report) = replay(&world, &[]);
    assert_eq!(code, Some(2), "{report:#}");
    assert!(report["files"][0]["error"].as_str().unwrap().contains("it is damaged at octet"));
    let text = run(["queries", file.to_str().unwrap()]).unwrap();
    assert_eq!(text.code, Some(1));
    assert!(text.stderr.contains("it is damaged at octet"), "{}", text.stderr);
    assert_eq!(run(["replay", "--config", "none", "/dev/null"]).unwrap().code, Some(2));
}

#[test]
fn of_networks_only_networks_are_recorded_and_they_are_answered_alike() {
    let world = small();
    record(&world, ", clients = \"networks\"");
    // Lots of `weighted` services are of whole addresses, so theirs are not the same; all others' are.
    let names: Vec<&str> = NAMES.into_iter().filter(|name| *name != "API.example.com.").collect();
    recorded(&world, &packets(500, &names));
    let shown = shown(&world);
    assert!(shown.iter().all(|one| one["resolver"] == "127.0.0.0"));
    let (code, report) = replay(&world, &[]);
    assert_eq!((code, &report["files"][0]["clients"]), (Some(0), &"networks".into()), "{report:#}");
}

#[test]
fn a_full_disk_costs_no_answer_and_what_is_lost_is_counted() {
    if peers::missing((!rustix::process::geteuid().is_root()).then_some("root is needed")) {
        return;
    }
    const FULL: &str = "gslb_dns_recording_dropped_total{reason=\"full\"}";
    let world = small();
    record(&world, ", file_mib = 1");
    let dir = world.path(DIR);
    fs::create_dir(&dir).unwrap();
    let mut command = Command::new("unshare");
    // A disk of its own for this process, nearly full already.
    let script = "mount -t tmpfs -o size=512k none \"$0\" && head -c 400000 /dev/zero > \"$0/filler\" && exec \"$@\"";
    command.args(["--mount", "sh", "-c", script]).arg(&dir).arg(program().unwrap());
    let mut server = Server::start_as(command, &world.node()).unwrap();
    let mut resolver = Resolver::of(server.dns()).unwrap();
    let mut asked = 0;
    let mut ask = |count: usize| {
        let names: Vec<String> =
            (asked..asked + count).map(|one| format!("n{one:030}.example.com.")).collect();
        let packets = packets(count, &names.iter().map(String::as_str).collect::<Vec<_>>());
        assert_eq!(resolver.ask_all(&packets).unwrap().len(), count);
        asked += count;
    };
    until("the disk is full", || {
        ask(2000);
        Ok((server.metric(LOST_TO_DISK)? > 0.0).then_some(()))
    })
    .unwrap();
    assert_eq!(server.metric(OK).unwrap(), 0.0);
    server.wait_for_log("queries cannot be recorded").unwrap();
    // Nobody waits meanwhile, and the log says nothing more.
    ask(5000);
    let seen = PathBuf::from(format!("/proc/{}/root", server.process().id()))
        .join(dir.strip_prefix("/").unwrap());
    fs::remove_file(seen.join("filler")).unwrap();
    until("the disk takes them again", || {
        ask(500);
        Ok((server.metric(OK)? == 1.0).then_some(()))
    })
    .unwrap();
    server.wait_for_log("queries are recorded again").unwrap();
    let answers = "gslb_dns_answers_total{rcode=\"NXDOMAIN\",transport=\"udp\"}";
    let answers = server.metric(answers).unwrap();
    until("all is written or counted", || {
        let counted =
            server.metric(WRITTEN)? + server.metric(LOST_TO_DISK)? + server.metric(FULL)?;
        Ok((counted == answers).then_some(()))
    })
    .unwrap();
    let written = server.metric(WRITTEN).unwrap();
    // Nothing of what did not fit is left in the middle of the files.
    let Finished { code, stdout, stderr } = run(["queries", seen.to_str().unwrap()]).unwrap();
    assert_eq!((code, stdout.lines().count() as f64), (Some(0), written), "{stderr}");
    assert_eq!(stderr, "");
    assert!(server.stop().unwrap().success());
}

#[test]
fn a_reload_is_recorded_with_what_it_brought() {
    let world = small();
    record(&world, "");
    let mut server = Server::start(&world.node()).unwrap();
    let mut resolver = Resolver::of(server.dns()).unwrap();
    let packet =
        query(&Name::from_ascii("www.example.com.").unwrap(), RecordType::A, None).unwrap();
    resolver.ask(&packet).unwrap();
    let other = WORLD.replace("sites = [\"fra\", \"ams\", \"iad\"]", "sites = [\"extra\"]")
        + "[site.extra]\nvips = [\"192.0.2.77\"]\n";
    fs::write(world.path("world.toml"), other).unwrap();
    server.signal(Signal::HUP).unwrap();
    server.wait_for_log("reloaded: the world has changed").unwrap();
    resolver.ask(&packet).unwrap();
    assert!(server.stop().unwrap().success());
    let shown = shown(&world);
    let [before, .., after] = &shown[..] else { panic!("{shown:?}") };
    assert_ne!(before["epoch"], after["epoch"]);
    assert_eq!(after["services"][0]["sites"][0], "extra");
    assert_ne!(before["services"][0]["sites"][0], "extra");
}
