//! What producers are answered at the control listener: every reply, to a client of ours and to curl.

#![expect(clippy::unwrap_used, reason = "what a test cannot go on without may as well end it")]

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use common::report::agent::{MOST_VIPS, State};
use common::report::{Boot, Digest, MOST_TARGETS, Mark};
use gslb_dns::control::Limits;
use gslb_tests::control::{AGENT, Answered, EPOCH, Listening, Report, SITE, SiteReport, VANTAGE};
use gslb_tests::peers;
use gslb_tests::pki::{Ca, Holder};
use gslb_tests::server::Server;
use gslb_tests::world::{EVERY_STEP, NODE_NAME, World};
use serde_json::json;

/// Where Debian's package puts it.
const CURL: &str = "/usr/bin/curl";
const REPORT: &str = "POST /v1/report";

fn check(answered: &Answered, status: u16, expected: &str) {
    assert_eq!(answered.status, status, "{answered:?}");
    assert!(answered.body.contains(expected), "{answered:?}\nexpected {expected}");
    // One line, or JSON, and no longer than somebody reads.
    assert!(answered.body.len() <= 513, "{answered:?}");
    assert!(answered.body.trim_end().lines().count() <= 1, "{answered:?}");
}

#[tokio::test]
async fn a_stream_of_reports_is_answered_as_the_wire_says() {
    let ca = Ca::new("ca");
    let listening = Listening::start(&ca, Limits::OURS);
    let client = listening.connect(&ca.issue(VANTAGE)).await;
    let tell = async |report: &Report| client.ask(REPORT, report.octets()).await;

    let whole = Report::new(3, 1).of(0..3);
    let taken = tell(&whole).await;
    assert_eq!(taken.status, 200, "{taken:?}");
    assert_eq!(taken.header("content-type"), "application/json");
    assert_eq!(taken.json(), json!({ "inc": 3, "seq": 1, "epoch": EPOCH.to_string() }));

    // The same again, and what builds upon it; then something that builds on what nobody has.
    let behind = tell(&whole).await;
    assert_eq!((behind.status, behind.json()), (409, json!({ "inc": 3, "seq": 1 })));
    let mut more = Report::new(3, 2).of(3..4);
    more.head.base = Some(Mark { inc: 3, seq: 1 });
    more.head.digest = Report::new(3, 2).of(0..4).head.digest;
    assert_eq!(tell(&more).await.json()["seq"], 2);
    let mut gone = Report::new(3, 3);
    gone.head.base = Some(Mark { inc: 3, seq: 2 });
    gone.head.digest = Report::new(3, 3).of(0..3).head.digest;
    gone.entries = vec![format!(r#"{{"target":"{:032x}","state":"gone"}}"#, 3)];
    assert_eq!(tell(&gone).await.json()["seq"], 3);
    let mut unfounded = Report::new(3, 9).of(4..5);
    unfounded.head.base = Some(Mark { inc: 3, seq: 7 });
    let whole_is_wanted = tell(&unfounded).await;
    assert_eq!((whole_is_wanted.status, &*whole_is_wanted.body), (205, ""));

    let mut wrong = Report::new(3, 10).of(0..1);
    wrong.head.digest = Digest::default();
    assert_eq!(tell(&wrong).await.status, 200);

    // Another run; what the first one says then is a duplicate's.
    let mut restarted = Report::new(4, 1).of(0..1);
    restarted.head.boot = Boot([2; 16]);
    assert_eq!(tell(&restarted).await.json()["inc"], 4);
    let duplicate = tell(&Report::new(5, 1)).await;
    let expected = json!({ "inc": 4, "seq": 1, "duplicate": true });
    assert_eq!((duplicate.status, duplicate.json()), (409, expected));

    for (outcome, count) in [
        ("taken", 3),
        ("behind", 1),
        ("send_whole", 1),
        ("wrong_digest", 1),
        ("restarted", 1),
        ("duplicate", 1),
    ] {
        assert_eq!(listening.reports(outcome), count, "{outcome}");
    }
}

#[tokio::test]
async fn targets_are_bounded_in_a_report_and_in_all() {
    let ca = Ca::new("ca");
    let listening = Listening::start(&ca, Limits::OURS);
    let client = listening.connect(&ca.issue(VANTAGE)).await;
    let most = Report::new(1, 1).of(0..MOST_TARGETS);
    assert_eq!(client.ask(REPORT, most.octets()).await.status, 200);
    let mut one_more = Report::new(1, 2).of(MOST_TARGETS..MOST_TARGETS + 1);
    one_more.head.base = Some(Mark { inc: 1, seq: 1 });
    check(&client.ask(REPORT, one_more.octets()).await, 413, "at most 20000 targets");
    let too_many = Report::new(1, 3).of(0..MOST_TARGETS + 1);
    check(&client.ask(REPORT, too_many.octets()).await, 413, "at most 20000 targets");
    assert_eq!(listening.reports("too_large"), 2);
}

#[tokio::test]
async fn what_cannot_be_read_is_told_why() {
    let ca = Ca::new("ca");
    let listening = Listening::start(&ca, Limits::OURS);
    let client = listening.connect(&ca.issue(VANTAGE)).await;
    let good = String::from_utf8(Report::new(1, 1).of(0..1).octets()).unwrap();
    let check = async |octets: String, expected: &str| {
        check(&client.ask(REPORT, octets).await, 422, expected);
    };
    check(String::new(), "not a report: EOF").await;
    check("{}".into(), "missing field").await;
    check(good.replace(r#""v":1"#, r#""v":2"#), "version 2, expected 1").await;
    check(good.replace(r#""kind":"probe""#, r#""kind":"dns""#), "tells nobody").await;
    check(good.replace(r#""up""#, &("[".repeat(20) + &"]".repeat(20))), "within each other").await;
    let twice = good.replace("}]", &format!("}},{{\"target\":\"{:032x}\",\"state\":\"up\"}}]", 0));
    check(twice, "stands in it twice").await;
    // However long and strange what was sent, what is said of it is a line.
    check(good.replace(r#""probe""#, &format!("\"{}\\n\"", "x".repeat(9000))), "xxx").await;
    assert_eq!(listening.reports("unreadable"), 7);
}

#[tokio::test]
async fn nobody_reports_for_another() {
    let ca = Ca::new("ca");
    let listening = Listening::start(&ca, Limits::OURS);
    let check = async |uri: &str, change: fn(&mut Report), expected: &str| {
        let client = listening.connect(&ca.issue(uri)).await;
        let mut report = Report::new(1, 1);
        change(&mut report);
        check(&client.ask(REPORT, report.octets()).await, 403, expected);
    };
    check("gslb://other/probe/ams", |_| {}, "is of cluster other, and this name server of test")
        .await;
    check("gslb://test/probe/nrt", |_| {}, "has no vantage nrt; add it to world.toml").await;
    check("gslb://test/agent/ams", |_| {}, "has an agent ams; add it to its site's agents").await;
    check("gslb://test/dns/dns2", |_| {}, "use a probe's or an agent's").await;
    check(AGENT, |report| report.head.producer = "fra-a".into(), "kind is not agent").await;
    check(VANTAGE, |report| report.head.producer = "fra".into(), "producer is not ams").await;
    check(VANTAGE, |report| report.head.cluster = "other".into(), "cluster is not test").await;
    assert_eq!(listening.reports("forbidden"), 7);
    let client = listening.connect(&ca.issue(VANTAGE)).await;
    let agents = SiteReport::new(1, 1).by("ams");
    self::check(&client.ask(REPORT, agents.octets()).await, 403, "kind is not probe");
    assert_eq!(listening.reports("forbidden"), 8);
    // Nothing of it was taken.
    assert_eq!(client.ask(REPORT, Report::new(1, 1).octets()).await.status, 200);
}

#[tokio::test]
async fn an_agent_reports_for_its_site_and_no_other() {
    let ca = Ca::new("ca");
    let listening = Listening::start(&ca, Limits::OURS);
    let client = listening.connect(&ca.issue(AGENT)).await;
    let tell = async |report: &SiteReport| client.ask(REPORT, report.octets()).await;
    let vip = |report: SiteReport| report.with("198.51.100.10:443", State::Serving, None);

    let taken = tell(&vip(SiteReport::new(3, 1))).await;
    assert_eq!(taken.json(), json!({ "inc": 3, "seq": 1, "epoch": EPOCH.to_string() }));
    let behind = tell(&vip(SiteReport::new(3, 1))).await;
    assert_eq!((behind.status, behind.json()), (409, json!({ "inc": 3, "seq": 1 })));

    let mut other = SiteReport::new(3, 2);
    other.site = "iad".into();
    let says = "you speak for site fra, and the report is of iad";
    check(&tell(&other).await, 403, says);
    check(&tell(&SiteReport::new(3, 2).by("fra-b")).await, 403, "producer is not fra-a");
    let probes = Report::new(3, 2);
    check(&client.ask(REPORT, probes.octets()).await, 403, "kind is not agent");
    assert_eq!(listening.reports("forbidden"), 3);

    let mut more = SiteReport::new(3, 2);
    more.head.base = Some(Mark { inc: 3, seq: 1 });
    check(&tell(&more).await, 422, "an agent's report is always whole");
    check(
        &tell(&vip(vip(SiteReport::new(3, 2)))).await,
        422,
        "198.51.100.10:443 stands in it twice",
    );
    let of = |vips: usize| {
        let at = |port: usize| format!("198.51.100.10:{port}");
        (1..=vips)
            .fold(SiteReport::new(3, 3), |report, port| report.with(&at(port), State::Empty, None))
    };
    check(&tell(&of(MOST_VIPS + 1)).await, 413, "1025 VIPs, expected at most 1024");
    assert_eq!(tell(&of(MOST_VIPS)).await.status, 200);
    let outcomes = ["taken", "behind", "unreadable", "too_large"];
    assert_eq!(outcomes.map(|outcome| listening.reports(outcome)), [2, 1, 2, 1]);
}

#[tokio::test]
async fn an_agent_is_told_of_its_site() {
    let ca = Ca::new("ca");
    let listening = Listening::start(&ca, Limits::OURS);
    let client = listening.connect(&ca.issue(AGENT)).await;
    let told = client.ask("GET /v1/assignment", "").await;
    assert_eq!((told.status, told.header("content-type")), (200, "application/json"));
    assert_eq!(told.json(), json!({ "epoch": EPOCH.to_string(), "site": SITE, "vips": [] }));
    let known = format!("GET /v1/assignment?epoch={EPOCH}");
    assert_eq!(client.ask(&known, "").await.status, 304);
    // Another world, in which no site names it.
    listening.assigned.send_modify(|assigned| {
        let mut next = (**assigned).clone();
        next.agents.clear();
        *assigned = next.into();
    });
    check(&client.ask(&known, "").await, 403, "no site of this name server's world has an agent");
}

#[tokio::test]
async fn an_assignment_is_sent_to_whoever_has_another() {
    let ca = Ca::new("ca");
    let listening = Listening::start(&ca, Limits::OURS);
    let client = listening.connect(&ca.issue(VANTAGE)).await;
    let ask = async |path: &str| client.ask(&format!("GET {path}"), "").await;
    let octets = listening.assigned.borrow().octets.clone();
    for path in ["/v1/assignment", "/v1/assignment?epoch=", "/v1/assignment?x=y&epoch=0707"] {
        let answered = ask(path).await;
        assert_eq!((answered.status, answered.body.as_bytes()), (200, &octets[..]), "{path}");
        assert_eq!(answered.header("content-type"), "application/json");
    }
    let known = format!("/v1/assignment?epoch={EPOCH}");
    let unchanged = ask(&known).await;
    assert_eq!((unchanged.status, &*unchanged.body), (304, ""));
    // Another world, in which there is no such vantage.
    listening.assigned.send_modify(|assigned| {
        let mut next = (**assigned).clone();
        next.epoch.0[0] = 8;
        *assigned = next.into();
    });
    assert_eq!(ask(&known).await.status, 200);
    listening.assigned.send_modify(|assigned| {
        let mut next = (**assigned).clone();
        next.vantages.clear();
        *assigned = next.into();
    });
    check(&ask("/v1/assignment").await, 403, "has no vantage ams");
    let count = |outcome| listening.metrics.control.assignments.with_label_values(&[outcome]).get();
    assert_eq!([count("sent"), count("unchanged"), count("forbidden")], [4, 1, 1]);
}

#[tokio::test]
async fn who_asks_for_nothing_that_is_here_is_told_what_is() {
    let ca = Ca::new("ca");
    let listening = Listening::start(&ca, Limits::OURS);
    let client = listening.connect(&ca.issue(VANTAGE)).await;
    for path in ["/", "/v1/reports", "/v1/report/", "/metrics", "/v1/renew/"] {
        let there_are = "there are POST /v1/report, GET /v1/assignment?epoch=EPOCH, GET /v1/peer and POST \
                         /v1/renew";
        check(&client.ask(&format!("GET {path}"), "").await, 404, there_are);
    }
    for (line, allow) in [
        ("GET /v1/report", "POST"),
        ("PUT /v1/report", "POST"),
        ("POST /v1/assignment", "GET"),
        ("POST /v1/peer", "GET"),
        ("DELETE /v1/assignment", "GET"),
        ("GET /v1/renew", "POST"),
        ("PUT /v1/renewals", "GET, POST"),
    ] {
        let answered = client.ask(line, "").await;
        check(&answered, 405, &format!("this path takes {allow} and nothing else"));
        assert_eq!(answered.header("allow"), allow);
    }
}

/// A client of somebody else's.
struct Curl<'a> {
    holder: &'a Holder,
    resolve: String,
    base: String,
}

impl Curl<'_> {
    /// The status and the body.
    fn ask(&self, path: &str, body: Option<&[u8]>) -> (u16, String) {
        let mut command = Command::new(CURL);
        command.args(["--silent", "--show-error", "--http2", "--tlsv1.3", "--max-time", "30"]);
        command.args(["--resolve", &self.resolve]);
        for (option, file) in [("--cacert", "ca.pem"), ("--cert", "own.pem"), ("--key", "own.key")]
        {
            command.arg(option).arg(self.holder.path(file));
        }
        if let Some(body) = body {
            fs::write(self.holder.path("body"), body).unwrap();
            command.arg("--data-binary").arg(format!("@{}", self.holder.path("body").display()));
        }
        command.args(["--write-out", "\n%{http_version} %{http_code}"]);
        let output = command.arg(format!("{}{path}", self.base)).stdin(Stdio::null()).output();
        let output = output.unwrap();
        assert!(output.status.success(), "{output:?}");
        let told = String::from_utf8(output.stdout).unwrap();
        let (body, status) = told.rsplit_once('\n').unwrap();
        let status = status.strip_prefix("2 ").unwrap_or_else(|| panic!("no HTTP/2: {told}"));
        (status.parse().unwrap(), body.to_owned())
    }

    fn new(holder: &Holder, port: u16) -> Curl<'_> {
        Curl::of(holder, "dns1", port)
    }

    fn of<'h>(holder: &'h Holder, name: &str, port: u16) -> Curl<'h> {
        let (resolve, base) =
            (format!("{name}:{port}:127.0.0.1"), format!("https://{name}:{port}"));
        Curl { holder, resolve, base }
    }
}

fn curl_is_missing() -> bool {
    peers::missing((!Path::new(CURL).exists()).then_some("curl is not installed"))
}

#[tokio::test(flavor = "multi_thread")]
async fn curl_is_answered_alike() {
    if curl_is_missing() {
        return;
    }
    let ca = Ca::new("ca");
    let listening = Listening::start(&ca, Limits { small: 1 << 10, ..Limits::OURS });
    let holder = ca.issue(VANTAGE);
    let port = listening.address.port();
    tokio::task::block_in_place(|| {
        let curl = Curl::new(&holder, port);
        let epoch = EPOCH.to_string();
        let first = Report::new(1, 1).of(0..3).octets();
        let (status, body) = curl.ask("/v1/report", Some(&first));
        assert_eq!(status, 200, "{body}");
        assert_eq!(body, json!({ "inc": 1, "seq": 1, "epoch": epoch }).to_string());
        assert_eq!(curl.ask("/v1/report", Some(&first)).0, 409);
        let mut unfounded = Report::new(1, 3);
        unfounded.head.base = Some(Mark { inc: 1, seq: 2 });
        assert_eq!(curl.ask("/v1/report", Some(&unfounded.octets())), (205, String::new()));
        // Two megabytes, over several windows.
        let large = Report::new(1, 4).of(0..MOST_TARGETS).octets();
        assert_eq!(curl.ask("/v1/report", Some(&large)).0, 200);
        let (status, body) = curl.ask("/v1/report", Some(b"{"));
        assert!(status == 422 && body.starts_with("not a report: EOF"), "{status} {body}");
        let too_large = vec![b' '; common::report::LARGEST + 1];
        assert_eq!(curl.ask("/v1/report", Some(&too_large)).0, 413);
        let (status, body) = curl.ask("/v1/assignment", None);
        assert_eq!((status, body.as_bytes()), (200, &*listening.assigned.borrow().octets));
        assert_eq!(curl.ask(&format!("/v1/assignment?epoch={epoch}"), None).0, 304);
        assert_eq!(curl.ask("/v1/report", None).0, 405);
        assert_eq!(curl.ask("/", None).0, 404);
        let nobody = ca.issue("gslb://test/probe/nrt");
        assert_eq!(Curl::new(&nobody, port).ask("/v1/report", Some(&first)).0, 403);
    });
}

/// Of a world that has no vantages yet: whoever comes is told so.
#[test]
fn a_server_listens_where_its_node_says() {
    if curl_is_missing() {
        return;
    }
    let ca = Ca::new("ca");
    let us = ca.issue(&format!("gslb://test/dns/{NODE_NAME}"));
    let probe = ca.issue(VANTAGE);
    let world = World::write(&EVERY_STEP).unwrap();
    let node = fs::read_to_string(world.node()).unwrap();
    fs::write(world.node(), node + &us.control("127.0.0.1:0".parse().unwrap())).unwrap();
    let server = Server::start(&world.node()).unwrap();
    let port = server.control().unwrap().port();
    let (status, body) = Curl::of(&probe, NODE_NAME, port).ask("/v1/report", Some(b"{}"));
    assert!(status == 403 && body.contains("has no vantage ams"), "{status} {body}");
    let forbidden = server.metric("gslb_dns_control_reports_total{outcome=\"forbidden\"}").unwrap();
    assert_eq!(forbidden, 1.0);
    let expiry = "gslb_dns_certificate_expiry_timestamp_seconds{transport=\"control\"}";
    assert_eq!(server.metric(expiry).unwrap(), us.credentials().not_after() as f64);
    assert!(server.stop().unwrap().success());
}
