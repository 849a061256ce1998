//! The real name server and what agents of a site tell it: taken, shown, kept over a restart, and answered from.

#![expect(clippy::unwrap_used, reason = "what a test cannot go on without may as well end it")]

use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;
use std::time::Duration;

use common::report::agent::{Role, State};
use gslb_tests::control::{AGENT, Client, SiteReport};
use gslb_tests::pki::{Ca, Holder};
use gslb_tests::resolver::{Resolver, query};
use gslb_tests::server::{Server, run};
use gslb_tests::wait::until;
use gslb_tests::world::{Files, NODE_NAME, World};
use hickory_proto::op::Message;
use hickory_proto::rr::{Name, RData, RecordType};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

const WORLD: &str = r#"
[zone."example.com"]
file = "example.com.zone"

[site.fra]
vips   = ["198.51.100.10", "2001:db8:f::10"]
agents = ["fra-a", "fra-b"]

[site.iad]
vips   = ["198.51.100.20"]
agents = ["iad-a"]

[vantage.ams]
place = { country = "NL" }

[vantage.nyc]
place = { country = "US" }

[check.web]
kind = "https"
port = 443

[check.ping]
kind = "icmp"

[check.mail]
kind = "tcp"
port = 25

[service."www.example.com"]
sites  = ["fra", "iad"]
check  = ["web", "ping"]
quorum = { down = 0.6, up = 0.6, vantages = 2, domains = 2, max_removed = 0.5 }
when_all_down = "open"

[service."mail.example.com"]
sites  = [{ site = "fra", vips = ["198.51.100.11"] }, "iad"]
check  = ["mail"]
quorum = { down = 0.6, up = 0.6, vantages = 2, domains = 2, max_removed = 0.5 }
when_all_down = "open"
"#;

const ZONE: &str = "@ 60 SOA ns1 h 1 2 3 4 5\n@ 60 NS ns1\nns1 60 A 198.51.100.53\n";
const VIP: &str = "198.51.100.10:443";
const FRA: &str = "198.51.100.10";
const IAD: &str = "198.51.100.20";
const REPORT: &str = "POST /v1/report";
/// So short that its end is waited for.
const SHORT: Duration = Duration::from_millis(800);

/// A name server of the world above, and a CA whose certificates it believes.
struct Story {
    world: World,
    server: Option<Server>,
    ca: Ca,
    /// Its files are read for as long as it runs.
    _us: Holder,
    control: SocketAddr,
    runtime: Runtime,
}

impl Story {
    fn begin() -> Story {
        let world = World::write(&Files { world: WORLD, zone: ZONE, places: "" }).unwrap();
        let ca = Ca::new("ca");
        let us = ca.issue(&format!("gslb://test/dns/{NODE_NAME}"));
        let node = fs::read_to_string(world.node()).unwrap();
        let any = us.control("127.0.0.1:0".parse().unwrap());
        fs::write(world.node(), format!("{node}{any}")).unwrap();
        let server = Server::start(&world.node()).unwrap();
        let control = server.control().unwrap();
        // For a start after this one.
        fs::write(world.node(), node + &us.control(control)).unwrap();
        let runtime = Runtime::new().unwrap();
        Story { world, server: Some(server), ca, _us: us, control, runtime }
    }

    fn server(&self) -> &Server {
        self.server.as_ref().unwrap()
    }

    /// It is started again at the same address, and knows what it wrote.
    fn restart(&mut self) {
        assert!(self.server.take().unwrap().stop().unwrap().success());
        self.server = Some(Server::start(&self.world.node()).unwrap());
    }

    /// The status and the body of what a request of this principal is answered.
    fn ask(&self, uri: &str, line: &str, body: Vec<u8>) -> (u16, String) {
        let holder = self.ca.issue(uri);
        self.runtime.block_on(async {
            let client = Client::to(self.control, NODE_NAME, &holder).await;
            let answered = client.ask(line, body).await;
            (answered.status, answered.body)
        })
    }

    fn tell(&self, report: &SiteReport) -> (u16, String) {
        let uri = format!("gslb://test/agent/{}", report.head.producer);
        self.ask(&uri, REPORT, report.octets())
    }

    fn take(&self, report: &SiteReport) {
        let (status, body) = self.tell(report);
        assert_eq!(status, 200, "{body}");
    }

    fn json(&self, path: &str) -> Value {
        serde_json::from_str(&self.server().get(path).unwrap().body).unwrap()
    }

    /// What is shown of site fra.
    fn inside(&self) -> Value {
        let board = self.json("/v1/board");
        let sites = board["inside"].as_array().unwrap();
        sites.iter().find(|site| site["site"] == "fra").unwrap().clone()
    }

    fn standing(&self, agent: &str) -> Value {
        let inside = self.inside();
        let agents = inside["agents"].as_array().unwrap();
        agents.iter().find(|seen| seen["agent"] == agent).unwrap()["standing"].clone()
    }

    fn attention(&self) -> String {
        self.json("/v1/status")["attention"].to_string()
    }

    fn until(&self, what: &str, is_so: impl Fn(&Story) -> bool) {
        until(what, || Ok(is_so(self).then_some(())))
            .unwrap_or_else(|why| panic!("{why}\n{}\n{}", self.inside(), self.attention()));
    }

    fn metric_of_standing(&self, agent: &str, standing: &str) -> f64 {
        let labels = format!("agent=\"{agent}\",site=\"fra\",standing=\"{standing}\"");
        self.server().metric(&format!("gslb_dns_agent_standing{{{labels}}}")).unwrap()
    }

    /// The addresses that clients of many networks are answered with.
    fn answered(&self) -> BTreeSet<String> {
        let mut resolver = Resolver::of(self.server().dns()).unwrap();
        let name = Name::from_ascii("www.example.com.").unwrap();
        let mut addresses = BTreeSet::new();
        for network in 0..64_u8 {
            let subnet = format!("9.9.{network}.0/24").parse().unwrap();
            let asked = query(&name, RecordType::A, Some(subnet)).unwrap();
            let answer = Message::from_vec(&resolver.ask(&asked).unwrap()).unwrap();
            let read = answer.answers.iter().filter_map(|record| match &record.data {
                RData::A(address) => Some(address.to_string()),
                _ => None,
            });
            addresses.extend(read);
        }
        addresses
    }
}

fn report(seq: u64, agent: &str, state: State, role: Role) -> SiteReport {
    SiteReport::new(1, seq).by(agent).with(VIP, state, Some(role))
}

#[test]
fn what_agents_tell_is_taken_and_shown_and_so_is_their_silence() {
    let mut story = Story::begin();
    assert_eq!(story.standing("fra-a"), "never_heard");
    assert!(story.attention().contains("agent fra-a of site fra was never heard"));
    story.until("metrics have it", |story| story.metric_of_standing("fra-a", "never_heard") == 1.0);

    let mut owner = report(1, "fra-a", State::Serving, Role::Active);
    owner.head.own.version = "0.1.0".into();
    story.take(&owner);
    story.take(&report(1, "fra-b", State::Empty, Role::Backup));
    let inside = story.inside();
    assert_eq!(inside["agents"][0]["version"], "0.1.0", "{inside}");
    let vips = inside["vips"].as_array().unwrap();
    assert_eq!(vips.len(), 1, "{inside}");
    let shown = |key: &str| vips[0][key].clone();
    assert_eq!(
        ["addr", "port", "state", "ground", "owner", "backends_up", "backends"].map(shown),
        [
            json!("198.51.100.10"),
            json!(443),
            json!("serving"),
            json!("owner"),
            json!("fra-a"),
            json!(3),
            json!(4)
        ]
    );
    let rates = ["capacity", "load", "offer"].map(|key| vips[0][key].as_f64());
    assert_eq!(rates, [Some(400.0), Some(100.5), Some(300.0)]);
    assert!(vips[0]["age_seconds"].as_f64().unwrap() < 30.0);
    assert!(!vips[0]["since"].is_null() && vips[0]["vrrp_dual_active"] == false);
    let text = story.server().get("/v1/board?format=text").unwrap().body;
    assert!(text.contains("fra, as its agents have it (fra-a heard, fra-b heard)"), "{text}");
    assert!(
        text.contains("198.51.100.10 port 443: serving, owner fra-a, its owner says so"),
        "{text}"
    );
    assert!(text.contains("iad, as its agents have it (iad-a never_heard)"), "{text}");
    assert!(!story.attention().contains("fra-a"), "{}", story.attention());
    story.until("metrics have it", |story| {
        story.metric_of_standing("fra-a", "heard") == 1.0
            && story.metric_of_standing("fra-a", "never_heard") == 0.0
    });

    story.take(&report(2, "fra-a", State::Drained, Role::Active));
    assert_eq!(story.inside()["vips"][0]["state"], "drained");
    story.until("its clients are sent to the other", |story| story.answered() == only(IAD));

    // Two routers have it.
    story.take(&report(3, "fra-a", State::Serving, Role::Active));
    story.take(&report(2, "fra-b", State::Empty, Role::Active));
    let told = "site fra: two routers are active for VIP 198.51.100.10:443 (vrrp_dual_active)";
    assert!(story.attention().contains(told), "{}", story.attention());
    let dual = "gslb_dns_vrrp_dual_active{site=\"fra\"}";
    story.until("metrics have it", |story| story.server().metric(dual).unwrap() == 1.0);
    story.take(&report(3, "fra-b", State::Empty, Role::Backup));
    assert!(!story.attention().contains("vrrp_dual_active"));
    story.until("metrics have it", |story| story.server().metric(dual).unwrap() == 0.0);

    // Silence: the standby speaks; then nobody does.
    let mut last = report(4, "fra-a", State::Serving, Role::Active);
    last.head.valid = SHORT;
    story.take(&last);
    story.until("fra-a is silent", |story| story.standing("fra-a") == "silent");
    story.until("it is told", |story| {
        story.attention().contains("agent fra-a of site fra is silent")
    });
    let vip = story.inside()["vips"][0].clone();
    assert_eq!((&vip["state"], &vip["ground"]), (&json!("empty"), &json!("standby")), "{vip}");
    let mut last = report(4, "fra-b", State::Empty, Role::Backup);
    last.head.valid = SHORT;
    story.take(&last);
    story.until("nothing is known", |story| story.inside()["vips"][0]["state"] == "stale");
    // Nobody says anything of any site: silence takes nobody out.
    story.until("all are answered", |story| {
        story.answered() == [FRA, IAD].map(str::to_owned).into()
    });
    let blind = "site fra, for www.example.com: no word of its agents holds, and too few vantages are heard \
                 to say anything (blind)";
    story.until("it is told", |story| story.attention().contains(blind));
    let alert = "gslb_dns_site_alerts{alert=\"blind\",site=\"fra\"}";
    story.until("metrics have it", |story| story.server().metric(alert).unwrap() == 1.0);
    let server = story.server.as_mut().unwrap();
    for message in [
        "two routers are active for one VIP: they do not hear each other",
        "an agent is silent: what it said of its site grows old",
        "nobody can say how a site is: no word of its agents holds, and too few vantages are heard",
    ] {
        let logged = server.wait_for_log(message).unwrap();
        assert_eq!(logged["fields"]["site"], "fra", "{logged}");
    }
}

fn only(address: &str) -> BTreeSet<String> {
    [address.to_owned()].into()
}

#[test]
fn clients_go_where_agents_serve() {
    let mut story = Story::begin();
    let iad = |seq, state| {
        let vip = "198.51.100.20:443";
        SiteReport::new(1, seq).by("iad-a").of("iad").with(vip, state, None)
    };
    let report = |seq, agent: &str, state, role| {
        report(seq, agent, state, role).with("[2001:db8:f::10]:443", state, Some(role))
    };
    let all: BTreeSet<String> = [FRA, IAD].map(str::to_owned).into();
    story.take(&report(1, "fra-a", State::Serving, Role::Active));
    story.take(&report(1, "fra-b", State::Empty, Role::Backup));
    story.take(&iad(1, State::Serving));
    let health = |story: &Story, site: usize| {
        story.json("/v1/board")["services"][1]["sites"][site]["health"].clone()
    };
    story.until("both are up by their agents' word", |story| {
        health(story, 0) == "up" && health(story, 1) == "up"
    });
    assert_eq!(story.answered(), all);

    // The last backend is gone.
    story.take(&report(2, "fra-a", State::Empty, Role::Active));
    story.until("nobody is sent there", |story| story.answered() == only(IAD));
    let board = story.json("/v1/board");
    let fra = &board["services"][1]["sites"][0];
    let why =
        "no vantage says anything of it; its agents have nothing to serve, 3 of 4 servers are up";
    assert_eq!((&fra["why"], &fra["inside"][0]["state"]), (&json!(why), &json!("empty")), "{fra}");
    let text = story.server().get("/v1/board?format=text").unwrap().body;
    assert!(text.contains("from within: 198.51.100.10 port 443: empty, owner fra-a"), "{text}");
    let explained = story.server().get("/v1/explain?name=www.example.com&type=A&client=9.9.9.0/24");
    let explained = explained.unwrap().body;
    assert!(explained.contains("its agents have nothing to serve"), "{explained}");

    // A backend is there again: a part of its clients comes back at once.
    let mut back = report(3, "fra-a", State::Serving, Role::Active);
    for vip in &mut back.vips {
        vip.flaps = 2;
        vip.since = u64::try_from(back.head.now.as_millis()).unwrap();
    }
    story.take(&back);
    story.until("it is answered again", |story| story.answered() == all);
    story.until("a part at first", |story| {
        story.json("/v1/board")["services"][1]["sites"][0]["admit"] == 0.25
    });

    // Both boxes hand a VIP over; and where everything is drained, nothing is.
    story.take(&report(4, "fra-a", State::Drained, Role::Active));
    story.until("it is drained", |story| story.answered() == only(IAD));
    let drained = story.json("/v1/status")["services"][1]["sites"][0].clone();
    assert_eq!(
        (&drained["duty"], &drained["duty_why"]),
        (&json!("drained"), &json!("its agents have it drained"))
    );
    let history = story.server().get("/v1/history?format=text").unwrap().body;
    assert!(history.contains("its agents have it drained"), "{history}");
    story.take(&iad(2, State::Drained));
    story.until("every site is drained", |story| story.answered() == all);
    story.take(&iad(3, State::Serving));
    story.until("one serves again", |story| story.answered() == only(IAD));
    // What was drained is not answered after a restart either, though nobody has said so again.
    story.restart();
    assert_eq!(story.answered(), only(IAD));
    // An operator here ends it, which is something; a second time there is nothing left to end.
    let node = story.world.node().display().to_string();
    let undrain = || run(["undrain", "fra", "--why", "test", "--config", &node]).unwrap();
    let undrained = undrain();
    assert!(undrained.code == Some(0) && !undrained.stdout.contains("in vain"), "{undrained:?}");
    assert_eq!(story.answered(), all);
    assert!(undrain().stdout.contains("nothing was drained there"), "{:?}", undrain());
}

#[test]
fn strangers_speak_for_no_site() {
    let mut story = Story::begin();
    let refused = |(status, body): (u16, String), says: &str| {
        assert_eq!(status, 403, "{body}");
        assert!(body.contains(says), "{body}");
    };
    let stranger = report(1, "ams-a", State::Serving, Role::Active);
    for _ in 0..2 {
        let says = "has an agent ams-a; add it to its site's agents in world.toml";
        refused(story.tell(&stranger), says);
    }
    let other = report(1, "iad-a", State::Serving, Role::Active);
    refused(story.tell(&other), "you speak for site iad, and the report is of fra");
    let ask = |story: &Story, uri| story.ask(uri, "GET /v1/assignment", vec![]);
    refused(ask(&story, "gslb://test/agent/ams"), "has an agent ams;");
    refused(
        story.ask("gslb://test/probe/fra-a", REPORT, stranger.octets()),
        "has no vantage fra-a",
    );
    assert_eq!(story.inside()["vips"], json!([]));
    let forbidden = "gslb_dns_control_reports_total{outcome=\"forbidden\"}";
    assert_eq!(story.server().metric(forbidden).unwrap(), 4.0);
    // The log says each once, however often they come.
    let server = story.server.as_mut().unwrap();
    let mut next =
        || server.wait_for_log("refused at the control listener").unwrap()["fields"].clone();
    let told = [(); 4].map(|()| next());
    let principals = told.each_ref().map(|fields| fields["principal"].as_str().unwrap());
    let path = ["agent/ams-a", "agent/iad-a", "agent/ams", "probe/fra-a"];
    assert_eq!(principals, path.map(|path| format!("gslb://test/{path}")));
    let why = told[0]["why"].as_str().unwrap();
    assert!(why.contains("has an agent ams-a; add it to its site's agents in world.toml"), "{why}");

    // Who is none is told what its site has, and where services look.
    let (status, body) = ask(&story, AGENT);
    assert_eq!(status, 200);
    let told: Value = serde_json::from_str(&body).unwrap();
    let expected = json!([
        { "addr": "198.51.100.10", "ports": [443] },
        { "addr": "198.51.100.11", "ports": [25] },
        { "addr": "2001:db8:f::10", "ports": [443] },
    ]);
    assert_eq!((&told["site"], &told["vips"]), (&json!("fra"), &expected));
    assert_eq!(told["epoch"], story.json("/v1/status")["epoch"]);
    let epoch = told["epoch"].as_str().unwrap();
    let (status, body) = story.ask(AGENT, &format!("GET /v1/assignment?epoch={epoch}"), vec![]);
    assert_eq!((status, &*body), (304, ""));
}

#[test]
fn a_restart_knows_what_was_drained_and_takes_no_report_again() {
    let mut story = Story::begin();
    let mut drained = report(7, "fra-a", State::Drained, Role::Active);
    drained.head.valid = SHORT;
    story.take(&drained);
    let file = story.world.path("state").join("verdicts.json");
    story.until("it is on disk", |_| {
        fs::read_to_string(&file).is_ok_and(|text| text.contains("198.51.100.10:443"))
    });
    story.restart();
    let vip = story.inside()["vips"][0].clone();
    assert_eq!((&vip["state"], &vip["ground"]), (&json!("drained"), &json!("held")), "{vip}");
    assert_eq!(story.standing("fra-a"), "never_heard");
    let (status, body) = story.tell(&drained);
    let told: Value = serde_json::from_str(&body).unwrap();
    assert_eq!((status, told), (409, json!({ "inc": 1, "seq": 7 })));
    assert_eq!(story.standing("fra-a"), "never_heard");
    // A newer one is taken, and ends the drain.
    story.take(&report(8, "fra-a", State::Serving, Role::Active));
    assert_eq!(story.inside()["vips"][0]["state"], "serving");

    // A world in which the site names another is told nothing by the first, and shows nothing of it.
    let text = fs::read_to_string(story.world.path("world.toml")).unwrap();
    let next = text.replace(r#"["fra-a", "fra-b"]"#, r#"["fra-c"]"#);
    fs::write(story.world.path("world.toml"), next).unwrap();
    story.server.as_mut().unwrap().signal(rustix::process::Signal::HUP).unwrap();
    story.until("the world is another", |story| story.inside()["agents"][0]["agent"] == "fra-c");
    let (status, _) = story.tell(&report(9, "fra-a", State::Serving, Role::Active));
    assert_eq!(status, 403);
    assert_eq!(story.metric_of_standing("fra-a", "heard"), 0.0);
}
