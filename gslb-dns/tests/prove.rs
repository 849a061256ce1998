//! What `check` finds of worlds that are sound in every part: the slips of a person's hand, and nothing of
//! worlds that are meant as they are.
//!
//! Each world with a slip has what is said of it beside it; `UPDATE_GOLDEN=1 cargo test` writes it anew.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use gslb_dns::config::{self, Colour, Config, Problems, Severity};
use gslb_dns::explain::{self, Request, RequestWords};
use gslb_dns::health::board::Board;
use gslb_dns::ids::ServiceId;
use gslb_dns::prove::{self, Effort, Judged, Question};
use gslb_dns::snapshot::{Groundwork, Snapshot};
use jiff::Timestamp;

const NODE: &str =
    "name = 'test'\ncluster = 'test'\nstate_dir = 'state'\n[dns]\nlisten = ['[::1]:0']\n";

fn files() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/prove")
}

fn worlds(folder: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(files().join(folder)).unwrap().map(|entry| entry.unwrap().path());
    let is_world = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "toml");
    let mut worlds: Vec<PathBuf> = entries.filter(is_world).collect();
    worlds.sort();
    worlds
}

fn load(world: &Path) -> Result<Config, Problems> {
    let dir = tempfile::tempdir().unwrap();
    let node = dir.path().join("node.toml");
    fs::write(&node, format!("world = '{}'\n{NODE}", world.display())).unwrap();
    config::load(&node)
}

/// All that is said of a world, a line each, with its weight before it.
fn said(world: &Path) -> String {
    let told = match load(world).and_then(Config::prepare) {
        Ok(prepared) => prepared.findings,
        Err(problems) => problems,
    };
    let weights =
        [("problem", Severity::Problem), ("warning", Severity::Warning), ("note", Severity::Note)];
    let lines = weights.iter().flat_map(|(weight, severity)| {
        told.of(*severity).map(move |problem| format!("{weight}: {problem}\n"))
    });
    let folder = format!("{}/", files().display());
    lines.collect::<String>().replace(&folder, "")
}

#[test]
fn every_slip_is_found() {
    let worlds = worlds("bad");
    assert!(worlds.len() >= 20, "{}", worlds.len());
    let mut failed = Vec::new();
    for world in worlds {
        let said = said(&world);
        let golden = world.with_extension("expected");
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            fs::write(&golden, &said).unwrap();
        }
        let expected = fs::read_to_string(&golden).unwrap_or_default();
        if said != expected || said.is_empty() {
            failed.push(format!("{}\nsays\n{said}\nnot\n{expected}", world.display()));
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

#[test]
fn nothing_is_found_of_what_is_meant() {
    let worlds = worlds("good");
    assert!(worlds.len() >= 10, "{}", worlds.len());
    for world in worlds {
        assert_eq!(said(&world), "", "{}", world.display());
    }
}

/// What a finding says to look at can be looked at, and the client it names is one that is believed.
#[test]
fn every_finding_can_be_seen() {
    let mut seen = 0;
    for world in worlds("bad") {
        for line in said(&world).lines() {
            let Some((_, command)) = line.split_once("see gslb-dns explain ") else { continue };
            let Config { world, .. } = load(&world).unwrap_or_else(|all| panic!("{all}"));
            let ground = Groundwork::new(world);
            let board = Board::blank(&ground.world);
            let request = Request::parse(&words(command), Timestamp::UNIX_EPOCH).unwrap();
            let snapshot = Snapshot::new(Arc::new(ground), board);
            let explanation = explain::explain(&snapshot, "test", &request);
            assert!(!explanation.steering.is_empty(), "{line}");
            assert_eq!(explanation.client.disbelieved, None, "{line}");
            seen += 1;
        }
    }
    assert!(seen >= 15, "{seen}");
}

/// Takes a command apart as a shell would.
fn words(command: &str) -> RequestWords {
    let mut words = command.split(' ').map(|word| word.trim_matches('\'').to_owned());
    let (name, qtype) = (words.next().unwrap(), words.next().unwrap());
    let (mut client, mut resolver, mut suppose) = (None, None, vec![]);
    while let (Some(option), Some(value)) = (words.next(), words.next()) {
        match option.as_str() {
            "--client" => client = Some(value),
            "--resolver" => resolver = Some(value),
            "--suppose" => suppose.push(value),
            other => panic!("{other} in {command}"),
        }
    }
    RequestWords { name, qtype, client, resolver, suppose, ..RequestWords::default() }
}

#[test]
fn a_finding_is_shown_with_its_line_and_weight() {
    let world = files().join("bad/static_without_ipv6.toml");
    let prepared = load(&world).and_then(Config::prepare).ok().unwrap();
    let shown = prepared.findings.render(Colour::Never);
    assert!(shown.starts_with("warning: static lists no IPv6 address"), "{shown}");
    assert!(shown.contains("| static"), "{shown}");
    assert!(shown.ends_with("1 warning"), "{shown}");
}

fn ground(world: &str) -> Groundwork {
    Groundwork::new(config::world_from_str(world, &files()).unwrap_or_else(|all| panic!("{all}")))
}

fn judge(ground: &Groundwork, most: Effort) -> Judged {
    let judged = prove::judge(ground, most);
    let Effort { arrangements, look_ups } = judged.spent;
    assert!(arrangements <= most.arrangements && look_ups <= most.look_ups, "{most:?}: {judged:?}");
    judged
}

fn tells_of_a_step(judged: &Judged) -> bool {
    judged.findings.iter().any(|found| found.message.contains("can never matter"))
}

/// Whatever a judgement takes, it finds the same with that and says so of less; the work that it takes is the
/// same on every machine.
#[test]
fn work_is_counted_and_what_it_does_not_reach_for_is_said() {
    let world = ground(&with_kinds(16, 100));
    let whole = judge(&world, Effort::MOST);
    assert!(tells_of_a_step(&whole) && whole.unjudged.is_empty(), "{whole:?}");
    assert!(whole.spent.arrangements > 16 * 100 && whole.spent.look_ups > 100, "{whole:?}");
    let arrangements = |count| Effort { arrangements: count, ..Effort::MOST };
    let look_ups = |count| Effort { look_ups: count, ..Effort::MOST };
    for of in [&arrangements as &dyn Fn(usize) -> Effort, &look_ups] {
        let (mut too_few, mut enough) = (0_usize, 1_usize << 18);
        while too_few + 1 < enough {
            let middle = too_few.midpoint(enough);
            match judge(&world, of(middle)).unjudged.is_empty() {
                true => enough = middle,
                false => too_few = middle,
            }
        }
        let (at, below) = (judge(&world, of(enough)), judge(&world, of(too_few)));
        assert!(tells_of_a_step(&at), "{enough}: {at:?}");
        assert!(!tells_of_a_step(&below), "{too_few}: {below:?}");
        assert_eq!(below.unjudged[&Question::Useless], [ServiceId(0)], "{below:?}");
    }
}

/// A service with more kinds of clients than there is effort for keeps no other from being judged, whichever
/// of them comes first.
#[test]
fn no_service_takes_the_share_of_another() {
    let small = "[service.\"NAME.example.com\"]\nsites = [\"s0\", \"s1\"]\n\
                 steer = [{ map = \"asns\" }]\nwhen_all_down = \"open\"\n";
    for name in ["a", "z"] {
        let ground = ground(&(with_kinds(16, 240) + &small.replace("NAME", name)));
        let judged = judge(&ground, Effort { arrangements: 20_000, look_ups: 20_000 });
        let large = ServiceId(u16::from(name == "a"));
        assert_eq!(judged.unjudged[&Question::Useless], [large], "{:?}", judged.unjudged);
        let of_small = judged.findings.iter().filter(|found| found.service != large);
        assert_eq!(of_small.count(), 1, "{:?}", judged.findings);
    }
}

#[test]
fn an_operator_is_told_what_was_not_judged() {
    let dir = tempfile::tempdir().unwrap();
    let world = dir.path().join("world.toml");
    fs::write(&world, with_kinds(16, 240)).unwrap();
    let most = Effort { arrangements: 20_000, look_ups: 20_000 };
    let prepared = load(&world).and_then(|config| config.prepare_within(None, most));
    let findings = prepared.ok().unwrap().findings;
    let notes: Vec<String> = findings.of(Severity::Note).map(ToString::to_string).collect();
    let told = "FILE: 1 service, such as www.example.com, was not judged for steps that can never matter: \
                the world is larger than check looks at (20000 arrangements of sites and 20000 look-ups of \
                clients for all services); policy tests (expect) hold what has to hold of them";
    assert_eq!(notes, [told.replace("FILE", &world.display().to_string())]);
    assert_eq!(findings.len(), 1);
}

/// A world with so many nets, each of which has an order of its own, behind a map that no client is on.
fn with_kinds(sites: usize, nets: usize) -> String {
    let zone = files().join("zones/example.com.zone");
    let mut text = format!(
        "[geoip.overrides]\n\"81.2.0.0/16\" = {{ country = \"GB\" }}\n\
         [zone.\"example.com\"]\nfile = {zone:?}\n"
    );
    for site in 0..sites {
        let vips = format!("[\"192.0.2.{site}\", \"2001:db8::{site}\"]");
        text += &format!("[site.s{site}]\nvips = {vips}\n");
    }
    text += "[map.asns]\nasn = { 64500 = [\"s0\"] }\n[map.nets.net]\n";
    for net in 0..nets {
        let (first, apart) = (net % sites, 1 + net / sites);
        let second = (first + apart) % sites;
        text +=
            &format!("\"11.{}.{}.0/24\" = [\"s{first}\", \"s{second}\"]\n", net / 256, net % 256);
    }
    let names: Vec<String> = (0..sites).map(|site| format!("\"s{site}\"")).collect();
    text + &format!(
        "[service.\"www.example.com\"]\nsites = [{}]\nsteer = [{{ map = \"asns\" }}, {{ map = \"nets\" }}]\n\
         when_all_down = \"open\"\n",
        names.join(", ")
    )
}
