//! The demo as a newcomer runs it: its switches move answers, or do not, as it says.

#![expect(clippy::unwrap_used, reason = "what a test cannot go on without may as well end it")]

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::Context as _;
use gslb_tests::process::Process;
use gslb_tests::resolver::{Resolver, query};
use gslb_tests::wait::until;
use hickory_proto::op::Message;
use hickory_proto::rr::{Name, RData, RecordType};
use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

const LONDON: &str = "81.2.69.0/24";
const FRA: Ipv4Addr = Ipv4Addr::new(127, 0, 1, 1);
const IAD: Ipv4Addr = Ipv4Addr::new(127, 0, 2, 1);

struct Demo {
    process: Process,
    /// Of the process: where it makes its own directory, and what it printed.
    outside: TempDir,
    files: PathBuf,
    /// Of the first of its two name servers.
    dns: SocketAddr,
    admin: SocketAddr,
}

impl Demo {
    /// Runs it, and reads what it prints as people do.
    fn start() -> Demo {
        Demo::start_in(tempfile::tempdir().unwrap())
    }

    fn start_in(outside: TempDir) -> Demo {
        Demo::start_with(outside, &[])
    }

    fn start_with(outside: TempDir, words: &[&str]) -> Demo {
        let printed = outside.path().join("printed");
        let mut command = program(&outside);
        let (out, err) = (File::create(&printed), File::create(outside.path().join("errors")));
        command.args(words).stdout(out.unwrap()).stderr(err.unwrap());
        let process = Process::spawn(&mut command).unwrap();
        let text = until("it says what to try", || {
            let text = fs::read_to_string(&printed)?;
            Ok(text.contains("Ctrl-C").then_some(text))
        })
        .unwrap();
        let after = |word: &str| {
            let line = text.lines().find_map(|line| line.trim().strip_prefix(word)).unwrap();
            line.split_whitespace().next().unwrap().to_owned()
        };
        Demo {
            process,
            files: after("files").into(),
            dns: after("DNS").parse().unwrap(),
            admin: after("admin").trim_start_matches("http://").parse().unwrap(),
            outside,
        }
    }

    /// Words to its first name server, by the program that is in its directory; what that says.
    fn tell(&self, words: &str) -> String {
        let run = Command::new(self.files.join("dns1")).args(words.split(' ')).output().unwrap();
        String::from_utf8([run.stdout, run.stderr].concat()).unwrap()
    }

    /// Who is to serve a client of that network.
    fn asked(&self, network: &str) -> anyhow::Result<Ipv4Addr> {
        let name = Name::from_ascii("www.example.com.")?;
        let asked = query(&name, RecordType::A, Some(network.parse()?))?;
        let answer = Message::from_vec(&Resolver::of(self.dns)?.ask(&asked)?)?;
        let record = answer.answers.first().context("a name never goes dark")?;
        let RData::A(address) = &record.data else { anyhow::bail!("no address: {record}") };
        Ok(address.0)
    }

    fn get(&self, path: &str) -> anyhow::Result<String> {
        fetch(self.admin, path)
    }

    fn throw(&self, switch: &str) {
        File::create(self.files.join(switch)).unwrap();
    }

    fn take_back(&self, switch: &str) {
        fs::remove_file(self.files.join(switch)).unwrap();
    }

    fn until(&self, what: &str, is: impl Fn() -> anyhow::Result<bool>) {
        until(what, || Ok(is()?.then_some(()))).unwrap_or_else(|why| {
            let log = fs::read_to_string(self.files.join("log")).unwrap_or_default();
            panic!("{why}\n{}\n{log}", self.get("/v1/board?format=text").unwrap_or_default());
        });
    }

    fn standing(&self, vantage: &str) -> anyhow::Result<Value> {
        let all: Value = serde_json::from_str(&self.get("/v1/vantages")?)?;
        let mut each = all.as_array().context("a list")?.iter();
        let one = each.find(|one| one["vantage"] == vantage).context("that vantage")?;
        Ok(one["standing"].clone())
    }

    /// How many vantages have a state of the first service's first site.
    fn see_fra(&self, state: &str) -> anyhow::Result<usize> {
        let board: Value = serde_json::from_str(&self.get("/v1/board")?)?;
        let www = board["services"].as_array().context("a list")?;
        let www = www.iter().find(|one| one["service"] == "www.example.com.").context("www")?;
        let votes = www["sites"][0]["targets"][0]["votes"].as_array().context("votes")?;
        Ok(votes.iter().filter(|vote| vote["state"] == state).count())
    }
}

impl Demo {
    /// What fra takes of its clients, and what its servers can.
    fn share_of_fra(&self) -> anyhow::Result<(f64, f64)> {
        let board: Value = serde_json::from_str(&self.get("/v1/board")?)?;
        let fra = &board["services"][0]["sites"][0];
        let can = fra["inside"][0]["capacity"].as_f64().context("its agent tells it")?;
        Ok((fra["admit"].as_f64().context("a share")?, can))
    }
}

fn program(outside: &TempDir) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gslb-demo"));
    command.env_remove("GSLB_LOG").env("TMPDIR", outside.path()).stdin(Stdio::null());
    command
}

/// Processes that were started with that directory for their files, with all that those have started.
fn processes_of(outside: &TempDir) -> Vec<String> {
    let mark = format!("TMPDIR={}", outside.path().display());
    let is_ours = |process: &PathBuf| {
        let environment = fs::read(process.join("environ")).unwrap_or_default();
        environment.split(|octet| *octet == 0).any(|variable| variable == mark.as_bytes())
    };
    let all = fs::read_dir("/proc").unwrap().map(|entry| entry.unwrap().path());
    all.filter(is_ours).map(|process| process.display().to_string()).collect()
}

fn left_in(outside: &TempDir) -> Vec<PathBuf> {
    fs::read_dir(outside.path()).unwrap().map(|entry| entry.unwrap().path()).collect()
}

fn fetch(at: SocketAddr, path: &str) -> anyhow::Result<String> {
    let mut stream = TcpStream::connect(at)?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {at}\r\nConnection: close\r\n\r\n")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    Ok(text.split_once("\r\n\r\n").context("a response")?.1.to_owned())
}

#[test]
fn its_switches_do_what_it_says() {
    let mut demo = Demo::start();
    demo.until("all see all", || Ok(demo.see_fra("up")? == 5));
    assert_eq!(demo.asked(LONDON).unwrap(), FRA);
    demo.throw("kill-fra");
    // Whoever does not see it down has it up since the beginning, and it would come back for all at once.
    demo.until("all see fra down", || Ok(demo.see_fra("down")? == 5));
    demo.until("London goes to iad", || Ok(demo.asked(LONDON)? == IAD));
    demo.take_back("kill-fra");
    let paris = |site: Ipv4Addr| {
        let networks = (0..8).map(|third| format!("2.125.{}.0/24", 160 + third));
        let sites = networks.map(|network| demo.asked(&network));
        Ok(sites.collect::<anyhow::Result<Vec<_>>>()?.contains(&site))
    };
    demo.until("fra is back for some", || paris(FRA));
    // Not for all at once.
    assert!(paris(IAD).unwrap(), "{}", demo.tell("history --site fra --steps"));
    demo.until("London is back", || Ok(demo.asked(LONDON)? == FRA));
    demo.throw("blind-ams");
    demo.throw("lie-lhr-fra");
    demo.until("ams is not believed", || Ok(demo.standing("ams")? == "distrusted"));
    demo.until("lhr sees fra down", || Ok(demo.see_fra("down")? >= 1));
    assert_eq!(demo.asked(LONDON).unwrap(), FRA);
    demo.throw("blind-nyc");
    demo.throw("blind-sfo");
    demo.until("sfo is not believed", || Ok(demo.standing("sfo")? == "distrusted"));
    demo.until("nyc is not believed", || Ok(demo.standing("nyc")? == "distrusted"));
    // Two are left, who decide nothing.
    demo.throw("kill-fra");
    demo.until("all see fra down", || Ok(demo.see_fra("down")? == 5));
    assert_eq!(demo.asked(LONDON).unwrap(), FRA);
    demo.take_back("blind-nyc");
    demo.until("three are a quorum", || Ok(demo.asked(LONDON)? != FRA));
    demo.throw("kill-ams");
    let printed = demo.outside.path().join("printed");
    demo.until("it tells what it does not know", || {
        Ok(fs::read_to_string(&printed)?.contains("no site \"ams\""))
    });
    demo.process.signal(Signal::INT).unwrap();
    assert_eq!(demo.process.wait().unwrap().code(), Some(0));
    assert!(!demo.files.exists(), "nothing is left behind");
    assert_eq!(fs::read_to_string(demo.outside.path().join("errors")).unwrap(), "");
}

#[test]
fn servers_that_stop_one_by_one_take_their_clients_with_them() {
    let demo = Demo::start();
    demo.until("all see all", || Ok(demo.see_fra("up")? == 5));
    demo.until("fra tells what it can take", || Ok(demo.share_of_fra()? == (1.0, 3000.0)));
    demo.throw("kill-fra-web2");
    demo.until("a third is gone", || Ok(demo.share_of_fra()? == (2000.0 / 3000.0, 2000.0)));
    demo.throw("kill-fra-web1");
    demo.until("two are gone", || Ok(demo.share_of_fra()? == (1000.0 / 3000.0, 1000.0)));
    demo.throw("kill-fra-web3");
    // Each of the pair is before the same three.
    let nothing = "its agents have nothing to serve, 0 of 6 servers are up";
    demo.until("its agent's word is enough", || {
        Ok(demo.get("/v1/board?format=text")?.contains(nothing))
    });
    assert_eq!(demo.asked(LONDON).unwrap(), IAD);
    for server in ["web1", "web2", "web3"] {
        demo.take_back(&format!("kill-fra-{server}"));
    }
    demo.until("London is back", || Ok(demo.asked(LONDON)? == FRA));
}

#[test]
fn a_second_one_takes_free_ports_and_its_sites_serve() {
    let (one, two) = (Demo::start(), Demo::start());
    assert_ne!((one.dns, one.admin), (two.dns, two.admin));
    assert!(one.tell("status").contains("dns2 at"), "{}", one.tell("status"));
    for demo in [&one, &two] {
        demo.until("all see all", || Ok(demo.see_fra("up")? == 5));
        let board: Value = serde_json::from_str(&demo.get("/v1/board").unwrap()).unwrap();
        let port = board["services"][0]["sites"][0]["targets"][0]["port"].as_u64().unwrap();
        let at = SocketAddr::new(demo.asked(LONDON).unwrap().into(), port.try_into().unwrap());
        let said = fetch(at, "/").unwrap();
        assert!(said.starts_with("fra serves you, by its server web"), "{said}");
    }
}

#[test]
fn it_says_what_it_is_and_what_it_does_not_know() {
    let check = |word: &str, code: i32, out: &str, err: &str| {
        let run = Command::new(env!("CARGO_BIN_EXE_gslb-demo")).arg(word).output().unwrap();
        let [said, complained] =
            [run.stdout, run.stderr].map(|text| String::from_utf8(text).unwrap());
        assert_eq!(run.status.code(), Some(code), "{word}: {said}{complained}");
        assert!(said.contains(out) && said.is_empty() == out.is_empty(), "{word}: {said}");
        assert_eq!(complained, err, "{word}");
    };
    check("--help", 0, "-h, --help", "");
    check("-h", 0, "Ctrl-C ends it", "");
    let why = "gslb-demo: no argument --port=53 is known: it takes --tour, --vrrp, --help\n";
    check("--port=53", 2, "", why);
}

/// Runs the tour with these words to its end: so many things come out, and then nothing of it is there.
fn tour(words: &[&str], things: usize) {
    let outside = tempfile::tempdir().unwrap();
    let run = program(&outside).arg("--tour").args(words).output().unwrap();
    let [said, complained] = [run.stdout, run.stderr].map(|text| String::from_utf8(text).unwrap());
    assert!(said.contains(&format!("\nAll {things} came out as expected, in ")), "{said}");
    assert_eq!((run.status.code(), &*complained), (Some(0), ""), "{said}");
    assert_eq!(left_in(&outside), Vec::<PathBuf>::new());
    assert_eq!(processes_of(&outside), Vec::<String>::new());
}

/// All that it says can be tried comes out as it says.
#[test]
fn the_tour_comes_out_and_leaves_nothing_behind() {
    tour(&[], 10);
}

/// Wherever it is: here while it makes files.
#[test]
fn a_tour_that_is_interrupted_leaves_nothing_behind() {
    let outside = tempfile::tempdir().unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    let [printed, errors] = ["printed", "errors"].map(|name| elsewhere.path().join(name));
    let mut command = program(&outside);
    let (out, err) = (File::create(&printed), File::create(&errors));
    command.arg("--tour").stdout(out.unwrap()).stderr(err.unwrap());
    let mut process = Process::spawn(&mut command).unwrap();
    until("it breaks something", || {
        Ok(fs::read_to_string(&printed)?.contains("$ touch kill-").then_some(()))
    })
    .unwrap();
    process.signal(Signal::INT).unwrap();
    assert_eq!(process.wait().unwrap().code(), Some(1));
    assert_eq!(left_in(&outside), Vec::<PathBuf>::new());
    assert_eq!(fs::read_to_string(&errors).unwrap(), "");
    let said = fs::read_to_string(&printed).unwrap();
    assert!(!said.contains("OTHERWISE") && !said.contains("as expected"), "{said}");
    let last = said.lines().last().unwrap_or_default();
    assert!(last.starts_with("the tour was ended before its end; "), "{said}");
    assert!(last.ends_with("is removed"), "{said}");
}

/// With root also what needs it.
#[test]
fn the_tour_shows_a_pair_with_vrrp_and_leaves_no_process_of_it() {
    if gslb_tests::peers::missing(gslb_tests::netns::missing()) {
        return;
    }
    tour(&["--vrrp"], 11);
}

/// Whoever is killed has no chance to end what it has started.
#[test]
fn boxes_of_a_pair_end_with_a_demo_that_is_killed() {
    if gslb_tests::peers::missing(gslb_tests::netns::missing()) {
        return;
    }
    let mut demo = Demo::start_with(tempfile::tempdir().unwrap(), &["--vrrp"]);
    assert_eq!(processes_of(&demo.outside).len(), 4, "the demo, the link and two boxes");
    demo.process.signal(Signal::KILL).unwrap();
    demo.process.wait().unwrap();
    demo.until("nobody is left", || Ok(processes_of(&demo.outside).is_empty()));
}

#[test]
fn the_next_one_takes_the_place_of_one_that_was_killed() {
    let Demo { mut process, outside, files, .. } = Demo::start();
    // It starts no other that could outlive it.
    assert_eq!(processes_of(&outside).len(), 1);
    process.signal(Signal::KILL).unwrap();
    process.wait().unwrap();
    fs::write(files.join("kill-fra"), "").unwrap();
    let mut next = Demo::start_in(outside);
    assert_eq!(next.files, files);
    next.until("it answers, and nothing is broken", || Ok(next.asked(LONDON)? == FRA));
    next.process.signal(Signal::TERM).unwrap();
    assert_eq!(next.process.wait().unwrap().code(), Some(0));
    assert!(!files.exists());
}

/// Of a pair that shares its address one is enough.
#[test]
fn a_balancer_that_dies_is_its_sites_half() {
    let demo = Demo::start();
    demo.until("all see all", || Ok(demo.see_fra("up")? == 5));
    demo.until("fra tells what it can take", || Ok(demo.share_of_fra()? == (1.0, 3000.0)));
    let board: Value = serde_json::from_str(&demo.get("/v1/board").unwrap()).unwrap();
    let port = board["services"][0]["sites"][0]["targets"][0]["port"].as_u64().unwrap();
    let vip = SocketAddr::new(FRA.into(), port.try_into().unwrap());
    demo.throw("kill-fra-a");
    demo.until("its last word has run out", || Ok(demo.share_of_fra()? == (0.5, 1500.0)));
    for _ in 0..16 {
        assert!(fetch(vip, "/").unwrap().starts_with("fra serves you"));
    }
    demo.throw("kill-fra-b");
    demo.until("nobody is left", || Ok(TcpStream::connect(vip).is_err()));
}

#[test]
fn a_place_without_room_for_it_is_told() {
    let run = Command::new(env!("CARGO_BIN_EXE_gslb-demo")).env("TMPDIR", "/proc/nowhere").output();
    let run = run.unwrap();
    let said = String::from_utf8(run.stderr).unwrap();
    let expected =
        "gslb-demo: cannot make a directory in /proc/nowhere; TMPDIR names another place: ";
    assert!(said.starts_with(expected), "{said}");
    assert_eq!(run.status.code(), Some(1));
}

#[test]
fn a_machine_without_loopback_is_told_what_to_do() {
    if gslb_tests::peers::missing(gslb_tests::netns::missing()) {
        return;
    }
    let outside = tempfile::tempdir().unwrap();
    let mut command = Command::new("unshare");
    command
        .args(["--net", env!("CARGO_BIN_EXE_gslb-demo"), "--tour"])
        .env("TMPDIR", outside.path());
    let run = command.output().unwrap();
    let said = String::from_utf8(run.stderr).unwrap();
    assert!(said.starts_with("gslb-demo: loopback does not carry what is sent"), "{said}");
    assert!(said.contains("ip link set lo up"), "{said}");
    assert_eq!((run.status.code(), left_in(&outside)), (Some(1), vec![]));
}
