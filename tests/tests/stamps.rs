//! Stamps as an operator meets them: dig and kdig print one, and `explain` says of the pasted line why the answer
//! was what it was, after orders have changed what is answered now.

#![expect(clippy::unwrap_used, reason = "what a test cannot go on without may as well end it")]

use std::fs;
use std::path::Path;
use std::process::Command;

use gslb_tests::peers;
use gslb_tests::server::{Server, run};
use gslb_tests::world::{EVERY_STEP, World};
use rustix::process::Signal;
use serde_json::Value;

const DIG: &str = "/usr/bin/dig";
const KDIG: &str = "/usr/bin/kdig";
/// Served by fra, iad, sjc and nrt, in this order, after those of the client's country.
const NAME: &str = "country.example.com";
const SUBNET: &str = "+subnet=81.2.69.0/24";
const TRUSTED: &str = "127.0.0.2";
const STRANGER: &str = "127.0.0.3";

struct Site {
    world: World,
    server: Server,
}

impl Site {
    fn start() -> Site {
        let world = World::write(&EVERY_STEP).unwrap();
        let node = fs::read_to_string(world.node()).unwrap();
        let node = node.replace("[dns]\n", &format!("[dns]\ntrusted = [\"{TRUSTED}/32\"]\n"));
        fs::write(world.node(), node).unwrap();
        let server = Server::start(&world.node()).unwrap();
        Site { world, server }
    }

    /// What `tool` prints when it asks from this address.
    fn ask(&self, tool: &str, from: &str, words: &[&str]) -> String {
        let dns = self.server.dns();
        let (at, port) = (format!("@{}", dns.ip()), dns.port().to_string());
        let mut command = Command::new(tool);
        let output = command.args([&at, "-p", &port, "-b", from, NAME, "A"]).args(words).output();
        String::from_utf8(output.unwrap().stdout).unwrap()
    }

    fn say(&self, words: &[&str]) -> String {
        let node = self.world.node().display().to_string();
        let said = run(words.iter().copied().chain(["--config", &node])).unwrap();
        assert_eq!((said.code, said.stderr.as_str()), (Some(0), ""), "{words:?}");
        said.stdout
    }

    /// The same of the stamp from the files, and of the running server at both its doors.
    fn explain(&self, stamp: &str) -> [Value; 3] {
        let node = self.world.node().display().to_string();
        let socket = self.world.path("admin.sock").display().to_string();
        let door = self.server.admin().to_string();
        [["--config", &node], ["--server", &door], ["--socket", &socket]].map(|place| {
            let words = ["explain", NAME, "A", "--json", "--stamp", stamp];
            let said = run(words.iter().chain(&place)).unwrap();
            assert_eq!((said.code, said.stderr.as_str()), (Some(0), ""), "{stamp}");
            serde_json::from_str(&said.stdout).unwrap()
        })
    }
}

/// The line of what a tool printed that tells of our option.
fn line(printed: &str) -> Option<&str> {
    printed.lines().find(|line| line.contains("65300"))
}

/// The addresses of the answer section, in order: dig and kdig print it alike.
fn addresses(printed: &str) -> Vec<&str> {
    let records = printed.lines().filter(|line| line.starts_with(NAME));
    records.map(|line| line.split_whitespace().next_back().unwrap()).collect()
}

#[test]
fn a_pasted_answer_is_explained_as_it_was() {
    let absent = |tool, what| (!Path::new(tool).exists()).then_some(what);
    let tools = [absent(DIG, "dig is not installed"), absent(KDIG, "kdig is not installed")];
    if peers::missing(tools.into_iter().flatten()) {
        return;
    }
    let mut site = Site::start();
    let mut kept = Vec::new();
    let orders: [&[&str]; 4] =
        [&["drain", "fra"], &["drain", "iad"], &["force", "down", "sjc"], &["undrain", "*"]];
    for order in orders {
        for (tool, words) in [
            (DIG, &["+notcp"][..]),
            (DIG, &["+tcp"]),
            (DIG, &["+notcp", SUBNET]),
            (KDIG, &["+edns=0", "+notcp"]),
            (KDIG, &["+edns=0", "+tcp", SUBNET]),
        ] {
            let told = site.ask(tool, TRUSTED, words);
            let stamp = line(&told).unwrap_or_else(|| panic!("{tool} {words:?}\n{told}"));
            let others = site.ask(tool, STRANGER, words);
            assert_eq!((line(&others), others.is_empty()), (None, false), "{tool} {words:?}");
            assert!(!addresses(&others).is_empty(), "{others}");
            kept.push((stamp.to_owned(), told.clone()));
        }
        let without = site.ask(DIG, TRUSTED, &["+noedns"]);
        assert!(line(&without).is_none() && !addresses(&without).is_empty(), "{without}");
        site.say(&[order, &["--service", NAME, "--why", "test"][..]].concat());
    }
    // What was ordered is on disk: a restart knows it.
    site.server.signal(Signal::TERM).unwrap();
    site.server.wait().unwrap();
    site.server = Server::start(&site.world.node()).unwrap();

    let mut answers: Vec<Vec<&str>> = kept.iter().map(|(_, told)| addresses(told)).collect();
    answers.sort();
    answers.dedup();
    assert_eq!(answers.len(), 4, "each order changes the answer: {answers:?}");
    for (stamp, told) in &kept {
        // The line alone, and all that was printed.
        for pasted in [stamp, told] {
            for explanation in site.explain(pasted) {
                assert_eq!(
                    explanation["stamp"]["differs"],
                    Value::Array(vec![]),
                    "{explanation:#}"
                );
                let now = explanation["answer"]["addresses"].as_array().unwrap().iter();
                let now: Vec<&str> = now.map(|address| address.as_str().unwrap()).collect();
                assert_eq!(now, addresses(told), "{explanation:#}");
            }
        }
    }

    // Another world answers since: it is said, and told is what it would have answered.
    let (stamp, _) = &kept[0];
    let world = fs::read_to_string(site.world.path("world.toml")).unwrap();
    fs::write(
        site.world.path("world.toml"),
        format!("{world}\n[site.new]\nvips = [\"192.0.2.77\"]\n"),
    )
    .unwrap();
    site.say(&["reload"]);
    for explanation in site.explain(stamp) {
        let differs = explanation["stamp"]["differs"][0].as_str().unwrap().to_owned();
        assert!(differs.starts_with("this answer came from another world: epoch "), "{differs}");
    }
    let text = site.say(&["explain", NAME, "--stamp", stamp]);
    assert!(text.contains("DIFFERS    this answer came from another world"), "{text}");
}

#[test]
fn what_is_no_stamp_is_refused_with_what_is_expected() {
    let site = Site::start();
    let node = site.world.node().display().to_string();
    let check = |stamp: &str, more: &[&str], expected: &str| {
        let words = [&["explain", NAME, "--stamp", stamp, "--config", &node], more].concat();
        let said = run(words).unwrap();
        assert!(said.stderr.contains(expected) && said.code != Some(0), "{said:?}");
    };
    check("www", &[], "no stamp in \"www\"; expected 120 hexadecimal digits, or the line of dig");
    check("; OPT=65300: 01 01 (\"..\")", &[], "the stamp has 2 octets, expected 60");
    check("02", &[], "the stamp is of version 2, and this program knows version 1");
    check("01", &["--at", "2026-11-21T09:30:00Z"], "--at");
    let page = site.server.get(&format!("/v1/explain?name={NAME}&stamp=01")).unwrap();
    assert!(page.status == 400 && page.body.contains("the stamp has 1 octets"), "{page:?}");
}

/// What `--at` asks of a running server is the board of then, not today's.
#[test]
fn an_instant_of_the_past_is_explained_by_what_had_been_ordered_then() {
    let site = Site::start();
    let door = site.server.admin().to_string();
    let node = site.world.node().display().to_string();
    let drained = |at: &str, place: [&str; 2]| {
        let words = ["explain", NAME, "--resolver", "127.0.0.1", "--json", "--at", at];
        let said = run(words.into_iter().chain(place)).unwrap();
        let told: Value = serde_json::from_str(&said.stdout).unwrap();
        let fra = &told["steering"][0]["candidates"][0];
        (told["board"]["override_stamp"].clone(), fra["drained"].is_string())
    };
    site.say(&["drain", "fra", "--service", NAME, "--why", "test"]);
    for place in [["--server", &door], ["--config", &node]] {
        assert_eq!(drained("2026-01-01T00:00:00Z", place), (0.into(), false), "{place:?}");
        assert_eq!(drained("2199-01-01T00:00:00Z", place), (1.into(), true), "{place:?}");
    }
}
