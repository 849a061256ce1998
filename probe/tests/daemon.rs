//! A whole probe, with real sockets, among name servers and targets.

#![expect(clippy::unwrap_used, reason = "what a test cannot go on without may as well end it")]

mod world;

use std::convert::identity;
use std::slice::from_ref;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use common::assignment;
use common::look::{Failure, Look, Looker, Seen};
use common::report::{Mark, Phases, Reason, State};
use common::target::Target;
use probe::run::{Probe, StartError};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use world::{Ca, Listening, Mode, NameServer, World, target};

const DEADLINE: Duration = Duration::from_secs(20);

/// A probe that is cut off when it is told to be.
struct Switch {
    looker: Looker,
    is_cut: Arc<AtomicBool>,
}

impl Look for Switch {
    async fn look(&self, target: &Target) -> Seen {
        if self.is_cut.load(Relaxed) {
            let outcome = Err(Failure::new(Reason::Timeout, "the cable is out"));
            return Seen { outcome, phases: Phases::default(), not_after: None, status: None };
        }
        self.looker.look(target).await
    }
}

async fn get(probe: &Probe, path: &str) -> String {
    let mut stream = TcpStream::connect(probe.admin_address().unwrap()).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

/// The value of a metric, by how its line begins.
async fn metric(probe: &Probe, series: &str) -> f64 {
    let text = get(probe, "/metrics").await;
    let line = text.lines().find_map(|line| line.strip_prefix(series));
    line.unwrap_or_else(|| panic!("no {series} in {text}")).trim().parse().unwrap()
}

/// Waits until a metric is what it should be.
async fn metric_until(probe: &Probe, series: &str, is_good: impl Fn(f64) -> bool) {
    let mut ticks = tokio::time::interval(Duration::from_millis(20));
    let waiting = async {
        while !is_good(metric(probe, series).await) {
            ticks.tick().await;
        }
    };
    let waited = tokio::time::timeout(DEADLINE, waiting).await;
    assert!(waited.is_ok(), "{series} is {}", metric(probe, series).await);
}

/// Waits until a metric is at least so much.
async fn metric_is(probe: &Probe, series: &str, least: f64) {
    metric_until(probe, series, |value| value >= least).await;
}

const ADMIN: &str = "[admin]\nlisten = \"127.0.0.1:0\"\n";

#[tokio::test]
async fn each_name_server_is_told_what_it_asked_for_and_what_becomes_of_it() {
    let began = jiff::Timestamp::from_second(common::clock::now().as_second()).unwrap();
    let world = World::new();
    let (dns1, dns2) = (world.name_server("dns1").await, world.name_server("dns2").await);
    let (one, mut two) = (Listening::at("127.0.0.1:0").await, Listening::at("127.0.0.1:0").await);
    let three = Listening::at("127.0.0.1:0").await;
    dns1.assign("e1", &[one.target(), two.target()]);
    dns2.assign("e1", &[two.target(), three.target()]);
    let reference = format!(
        "references = [{{ kind = \"tcp\", address = \"127.0.0.1\", port = {}, interval = \"300ms\" }}]\n",
        Listening::at("127.0.0.1:0").await.address.port()
    );
    let config = world.load(&[&dns1, &dns2], &(reference + ADMIN));
    assert!(config.warnings.is_empty());
    let probe = Probe::start(config, identity).await.unwrap();
    let is_up = |listening: &Listening| {
        let target = listening.target();
        move |heard: &world::name_server::Heard| heard.state(&target) == Some(State::Up)
    };
    dns1.until("up", is_up(&one)).await;
    dns1.until("up", is_up(&two)).await;
    dns2.until("up", is_up(&three)).await;
    let heard = dns1.until("a reference seen", |heard| {
        heard
            .head
            .as_ref()
            .is_some_and(|head| (head.own.references, head.own.references_up) == (1, 1))
    });
    assert_eq!(heard.await.known(), 2, "not the reference, nor what dns2 asks for");
    two.end().await;
    let down = two.target();
    for server in [&dns1, &dns2] {
        let heard = server.until("down", |heard| heard.state(&down) == Some(State::Down)).await;
        let entry = heard.entry(down.id()).unwrap();
        assert_eq!((entry.reason, entry.flaps), (Some(Reason::Refused), 1));
        assert!(entry.detail.starts_with("connecting: "), "{}", entry.detail);
        assert_eq!(heard.blind(), None);
    }
    two.begin().await;
    dns2.until("up", is_up(&two)).await;
    // Another world asks for something else.
    dns1.assign("e2", &[three.target()]);
    let heard = dns1.until("up", is_up(&three)).await;
    assert_eq!((heard.known(), heard.fetched), (1, 2));
    // Still looked at for dns2.
    assert_eq!(dns2.heard().known(), 2);
    assert_eq!(dns1.heard().wholes, 1, "all but the first have what has changed");
    assert!(metric(&probe, "probe_looks_total{kind=\"tcp\",outcome=\"success\"}").await > 5.0);
    assert!(metric(&probe, "probe_reports_total{answer=\"taken\",server=\"dns1\"}").await > 2.0);
    metric_is(&probe, "probe_targets{state=\"up\"}", 3.0).await;
    let status = get(&probe, "/v1/status").await;
    for word in ["\"probe\": \"ams\"", "\"dns2\"", "\"epoch\": \"e2\"", "\"state\": \"up\""] {
        assert!(status.contains(word), "{word} in {status}");
    }
    let (_, body) = status.split_once("\r\n\r\n").unwrap();
    let told: serde_json::Value = serde_json::from_str(body).unwrap();
    let time =
        |told: &serde_json::Value| told.as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
    let now = time(&told["now"]);
    let targets = told["targets"].as_array().unwrap();
    let sinces: Vec<_> = targets.iter().map(|target| time(&target["since"])).collect();
    assert_eq!(sinces.len(), 3, "{told:#}");
    assert!(sinces.iter().all(|since| (began..=now).contains(since)), "{began} {sinces:?} {now}");
    assert!(get(&probe, "/healthz").await.starts_with("HTTP/1.1 200"));
    assert!(get(&probe, "/nowhere").await.starts_with("HTTP/1.1 404"));
}

#[tokio::test]
async fn what_it_does_not_understand_is_told_as_that_and_the_rest_is_looked_at() {
    let world = World::new();
    let dns1 = world.name_server("dns1").await;
    let one = Listening::at("127.0.0.1:0").await;
    let odd = target("127.0.0.9".parse().unwrap(), 9);
    let octets = assignment::write("e1", [&one.target(), &odd]);
    let text = String::from_utf8(octets).unwrap();
    dns1.assign_octets("e1", text.replace(r#""port":9,"#, r#""port":8,"#).into_bytes());
    let _probe = Probe::start(world.load(&[&dns1], ""), identity).await.unwrap();
    let good = one.target();
    dns1.until("up", |heard| heard.state(&good) == Some(State::Up)).await;
    let heard = dns1.heard();
    let entry = heard.entry(odd.id()).unwrap();
    assert_eq!((entry.state, entry.reason), (State::None, Some(Reason::Probe)));
    assert!(entry.detail.contains("more than this probe knows"), "{}", entry.detail);
    // What is no assignment at all changes nothing.
    dns1.assign_octets("e2", b"{}".to_vec());
    dns1.until("fetched", |heard| heard.fetched == 2).await;
    let reports = dns1.heard().reports;
    let heard = dns1.until("told on", |heard| heard.reports > reports + 1).await;
    assert_eq!((heard.known(), heard.fetched), (2, 2));
}

#[tokio::test]
async fn a_name_server_that_goes_is_told_again_when_it_comes() {
    let world = World::new();
    let (mut dns1, dns2) = (world.name_server("dns1").await, world.name_server("dns2").await);
    let mut one = Listening::at("127.0.0.1:0").await;
    let target = one.target();
    dns1.assign("e1", from_ref(&target));
    dns2.assign("e1", from_ref(&target));
    let _probe = Probe::start(world.load(&[&dns1, &dns2], ""), identity).await.unwrap();
    dns1.until("up", |heard| heard.state(&target) == Some(State::Up)).await;
    dns1.go().await;
    one.end().await;
    // The other is told meanwhile.
    dns2.until("down", |heard| heard.state(&target) == Some(State::Down)).await;
    dns1.come().await;
    let heard = dns1.until("down", |heard| heard.state(&target) == Some(State::Down)).await;
    assert_eq!((heard.wholes, heard.sent_whole), (1, 0), "it had what the report builds on");
    dns1.go().await;
    dns1.forget();
    dns1.come().await;
    let heard = dns1.until("down", |heard| heard.state(&target) == Some(State::Down)).await;
    assert_eq!((heard.wholes, heard.sent_whole), (2, 1));
}

#[tokio::test]
async fn an_answer_that_never_comes_delays_no_look_and_no_other_name_server() {
    let world = World::new();
    let (dns1, dns2) = (world.name_server("dns1").await, world.name_server("dns2").await);
    let mut one = Listening::at("127.0.0.1:0").await;
    let target = one.target();
    dns1.assign("e1", from_ref(&target));
    dns2.assign("e1", from_ref(&target));
    let probe = Probe::start(world.load(&[&dns1, &dns2], ADMIN), identity).await.unwrap();
    dns1.until("up", |heard| heard.state(&target) == Some(State::Up)).await;
    dns1.set(|heard| heard.mode = Mode::Hangs);
    let reports = dns1.heard().reports;
    dns1.until("hanging", |heard| heard.reports > reports).await;
    one.end().await;
    dns2.until("down", |heard| heard.state(&target) == Some(State::Down)).await;
    // It is given up, and dialed again.
    let connections = dns1.heard().connections;
    dns1.until("dialed again", |heard| heard.connections > connections).await;
    metric_is(&probe, "probe_reports_total{answer=\"lost\",server=\"dns1\"}", 1.0).await;
    dns1.set(|heard| heard.mode = Mode::Takes);
    dns1.until("down", |heard| heard.state(&target) == Some(State::Down)).await;
}

#[tokio::test]
async fn a_refused_report_is_counted_and_tried_again() {
    let world = World::new();
    let dns1 = world.name_server("dns1").await;
    let one = Listening::at("127.0.0.1:0").await;
    let target = one.target();
    dns1.assign("e1", from_ref(&target));
    let words = [
        (403, "forbidden"),
        (413, "too_large"),
        (422, "unreadable"),
        (429, "too_often"),
        (503, "unavailable"),
    ];
    dns1.set(|heard| heard.mode = Mode::Refuses(403));
    let probe = Probe::start(world.load(&[&dns1], ADMIN), identity).await.unwrap();
    for (status, word) in words {
        dns1.set(|heard| heard.mode = Mode::Refuses(status));
        let series = format!("probe_reports_total{{answer=\"{word}\",server=\"dns1\"}}");
        metric_is(&probe, &series, 1.0).await;
    }
    assert_eq!(dns1.heard().connections, 1);
    dns1.set(|heard| heard.mode = Mode::Takes);
    dns1.until("up", |heard| heard.state(&target) == Some(State::Up)).await;
}

#[tokio::test]
async fn a_run_counts_on_from_the_one_before_and_from_what_a_name_server_knows() {
    let world = World::new();
    let dns1 = world.name_server("dns1").await;
    let inc = |world: &World| std::fs::read_to_string(world.state_dir().join("inc")).unwrap();
    let run = async |expected: u64| {
        let probe = Probe::start(world.load(&[&dns1], ""), identity).await.unwrap();
        let heard = dns1.until("heard", |heard| heard.mark.inc == expected).await;
        assert_eq!(inc(&world), expected.to_string());
        drop(probe);
        heard
    };
    run(1).await;
    run(2).await;
    // The name server knows of a later one.
    dns1.set(|heard| heard.mark = Mark { inc: 50, seq: 9 });
    let heard = run(51).await;
    assert_eq!(heard.behind, 1);
    run(52).await;
    // What was kept is lost.
    std::fs::remove_dir_all(world.state_dir()).unwrap();
    run(53).await;
    // Or is no number.
    std::fs::write(world.state_dir().join("inc"), "many").unwrap();
    run(54).await;
}

#[tokio::test]
async fn a_probe_that_restarts_while_name_servers_are_away_looks_all_the_same() {
    let world = World::new();
    let mut dns1 = world.name_server("dns1").await;
    let one = Listening::at("127.0.0.1:0").await;
    let target = one.target();
    dns1.assign("e1", from_ref(&target));
    let probe = Probe::start(world.load(&[&dns1], ""), identity).await.unwrap();
    dns1.until("up", |heard| heard.state(&target) == Some(State::Up)).await;
    let second = Probe::start(world.load(&[&dns1], ""), identity).await.err();
    assert!(matches!(second, Some(StartError::StateDir(_))), "{second:?}");
    drop(probe);
    dns1.go().await;
    let probe = Probe::start(world.load(&[&dns1], ADMIN), identity).await.unwrap();
    metric_is(&probe, "probe_targets{state=\"up\"}", 1.0).await;
    dns1.come().await;
    let heard = dns1.until("told", |heard| heard.wholes == 2 && heard.known() == 1).await;
    assert_eq!(heard.fetched, 1, "what was asked for is known");
    assert_eq!(heard.state(&target), Some(State::Up));
}

#[tokio::test]
async fn a_probe_that_is_cut_off_says_that_it_does_not_see() {
    let world = World::new();
    let dns1 = world.name_server("dns1").await;
    let here = [Listening::at("127.0.0.1:0").await, Listening::at("127.0.0.1:0").await];
    let there = [Listening::at("127.0.0.2:0").await, Listening::at("127.0.0.2:0").await];
    let targets: Vec<Target> = here.iter().chain(&there).map(Listening::target).collect();
    dns1.assign("e1", &targets);
    let is_cut = Arc::new(AtomicBool::new(false));
    let of_probe = Arc::clone(&is_cut);
    let wrap = move |looker| Switch { looker, is_cut: Arc::clone(&of_probe) };
    let _probe = Probe::start(world.load(&[&dns1], ""), wrap).await.unwrap();
    let all = |state: State| {
        let targets = targets.clone();
        move |heard: &world::name_server::Heard| {
            targets.iter().all(|target| heard.state(target) == Some(state))
        }
    };
    dns1.until("all up", all(State::Up)).await;
    is_cut.store(true, Relaxed);
    let heard = dns1.until("blind", |heard| heard.blind().is_some()).await;
    assert!(!all(State::Down)(&heard), "it says so first");
    dns1.until("all down", all(State::Down)).await;
    is_cut.store(false, Relaxed);
    dns1.until("seeing", |heard| heard.blind().is_none()).await;
    dns1.until("all up", all(State::Up)).await;
}

#[tokio::test]
async fn somebody_else_with_a_good_certificate_is_told_nothing() {
    let world = World::new();
    let (right, away) = (world.name_server("dns1").await, world.name_server("dns3").await);
    let elsewhere = tempfile::tempdir().unwrap();
    let mut impostors = vec![];
    for (principal, ca) in [
        // Of our CA and with the right DNS name, but of another cluster, or no name server.
        ("gslb://other/dns/dns1", &world.ca),
        ("gslb://test/probe/dns1", &world.ca),
        // The right name, of another CA.
        ("gslb://test/dns/dns1", &Ca::new()),
    ] {
        let files = ca.issue(elsewhere.path(), principal);
        impostors.push(NameServer::start(&files, "dns1").await);
    }
    for impostor in &impostors {
        let probe = Probe::start(world.load(&[impostor, &away], ""), identity).await.unwrap();
        impostor.until("dialed twice", |heard| heard.connections > 1).await;
        assert_eq!(impostor.heard().reports, 0);
        drop(probe);
    }
    let _probe = Probe::start(world.load(&[&right, &away], ""), identity).await.unwrap();
    right.until("told", |heard| heard.reports > 0).await;
}

#[tokio::test]
async fn a_reload_takes_what_may_change_and_a_bad_config_changes_nothing() {
    let world = World::new();
    let (dns1, dns2) = (world.name_server("dns1").await, world.name_server("dns2").await);
    let one = Listening::at("127.0.0.1:0").await;
    let target = one.target();
    dns1.assign("e1", from_ref(&target));
    dns2.assign("e1", from_ref(&target));
    let probe = Probe::start(world.load(&[&dns1], ADMIN), identity).await.unwrap();
    dns1.until("up", |heard| heard.state(&target) == Some(State::Up)).await;
    world.config(&[&dns1, &dns2], ADMIN);
    assert!(probe.reload().await);
    dns2.until("up", |heard| heard.state(&target) == Some(State::Up)).await;
    assert_eq!(dns1.heard().connections, 1, "its stream goes on");
    world.config(&[&dns1, &dns1], ADMIN);
    assert!(!probe.reload().await);
    assert_eq!(metric(&probe, "probe_config_ok").await, 0.0);
    world.config(&[&dns2], ADMIN);
    assert!(probe.reload().await);
    assert_eq!(metric(&probe, "probe_config_ok").await, 1.0);
    let text = get(&probe, "/metrics").await;
    assert!(!text.contains("server=\"dns1\""), "{text}");
    let reports = dns2.heard().reports;
    dns2.until("told on", |heard| heard.reports > reports + 1).await;
    assert_eq!(dns2.heard().state(&target), Some(State::Up));
    // It has moved, and asks for the same: the new one hears all that is known.
    let moved = world.name_server("dns2").await;
    moved.assign("e1", from_ref(&target));
    world.config(&[&moved], ADMIN);
    assert!(probe.reload().await);
    moved.until("up", |heard| heard.state(&target) == Some(State::Up)).await;
    assert_eq!(moved.heard().fetched, 0);
}

#[tokio::test]
async fn another_certificate_is_shown_without_a_restart() {
    let world = World::new();
    let dns1 = world.name_server("dns1").await;
    let probe = Probe::start(world.load(&[&dns1], ADMIN), identity).await.unwrap();
    dns1.until("told", |heard| heard.reports > 1).await;
    assert_eq!(dns1.heard().connections, 1);
    world.ca.issue(world.dir.path(), "gslb://test/probe/ams");
    dns1.until("dialed again", |heard| heard.connections > 1).await;
    assert_eq!(metric(&probe, "probe_certificate_ok").await, 1.0);
    let reports = dns1.heard().reports;
    dns1.until("told on", |heard| heard.reports > reports).await;
    std::fs::write(world.dir.path().join("ams.key"), "none").unwrap();
    metric_until(&probe, "probe_certificate_ok", |ok| ok == 0.0).await;
    let reports = dns1.heard().reports;
    dns1.until("told on", |heard| heard.reports > reports).await;
}
