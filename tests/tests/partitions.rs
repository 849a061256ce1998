//! Worlds on machines of their own whose paths are cut, whose disks are full, and to which nonsense is told: what
//! clients are answered meanwhile. Somebody asks all the time, and is never left in the dark.

#![expect(clippy::unwrap_used, reason = "what a test cannot go on without may as well end it")]

#[path = "partitions/told.rs"]
mod told;

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::thread;

use common::report::{EntryHash, LARGEST};
use gslb_tests::asking::Asking;
use gslb_tests::backend::Placed;
use gslb_tests::control::{Client, Report, Sent};
use gslb_tests::disk::Disk;
use gslb_tests::netns::{self, Namespace, Network};
use gslb_tests::peers;
use gslb_tests::pki::{Ca, Holder};
use gslb_tests::probe::Probe;
use gslb_tests::server::Server;
use gslb_tests::wait::until;
use gslb_tests::world::{Files, World};
use rustix::process::Signal;
use serde_json::json;

use self::told::{set, votes};

const SITES: [&str; 3] = ["fra", "iad", "nrt"];
const VANTAGES: [&str; 4] = ["ams", "lhr", "nyc", "sin"];
/// Where they are; the stranger is last.
const COUNTRIES: [&str; 5] = ["NL", "GB", "US", "SG", "US"];
/// A vantage of the world whose reports the test writes itself.
const STRANGER: &str = "mia";
const SERVICE: &str = "www.example.com.";
const REPORT: &str = "POST /v1/report";

/// All name servers, all sites, all vantages; one site and one vantage are below.
const SERVERS_NET: &str = "10.0.0.0/24";
const SITES_NET: &str = "10.1.0.0/16";
const VANTAGES_NET: &str = "10.2.0.0/16";
const EVERYBODY: &str = "0.0.0.0/0";
/// Clients of which nobody knows where they are, and clients in Europe: the first half of their networks.
const NOWHERE: &str = "9.9";
const EUROPE: &str = "9.10";
const SERVER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
/// Of the router: has nothing to do with the sites.
const REFERENCE: Ipv4Addr = Ipv4Addr::new(10, 3, 0, 1);
const PORT: u16 = 8080;

const ZONE: &str = "@ 60 SOA ns1 h 1 2 3 4 5\n@ 60 NS ns1\nns1 60 A 198.51.100.53\n";

fn site_vip(site: &str) -> Ipv4Addr {
    let index = SITES.iter().position(|known| *known == site).unwrap();
    Ipv4Addr::new(10, 1, index as u8 + 1, 1)
}

fn site_net(site: &str) -> String {
    format!("{}/32", site_vip(site))
}

fn vantage_net(vantage: &str) -> String {
    let index = VANTAGES.iter().position(|known| *known == vantage).unwrap();
    format!("10.2.{index}.0/24")
}

/// The machines.
struct Ground {
    network: Network,
    servers: Namespace,
    sites: Namespace,
    vantages: Vec<Namespace>,
}

/// A name server, and a client that asks it all the time.
struct Node {
    world: World,
    us: Holder,
    /// Ends before the server does.
    client: Option<Asking>,
    server: Option<Server>,
    control: SocketAddr,
}

struct Story<'g> {
    network: &'g Network,
    ca: Ca,
    probes: Vec<Probe>,
    /// Their files, which they look at again and again.
    _holders: [Holder; 4],
    nodes: Vec<Node>,
    _backends: Vec<Placed<'g>>,
}

/// Tells a story from where the name servers are; each of them has these sites.
fn story(sites_of_nodes: &[&[&str]], tell: impl FnOnce(&mut Story<'_>) + Send) {
    if peers::missing(netns::missing()) {
        return;
    }
    let network = Network::new(&[&REFERENCE.to_string()]).unwrap();
    let vips = SITES.map(|site| site_vip(site).to_string());
    let vantages = (0..VANTAGES.len()).map(|index| network.join(&format!("10.2.{index}"), &[]));
    let ground = Ground {
        servers: network.join("10.0.0", &[]).unwrap(),
        sites: network.join("10.1.0", &vips.each_ref().map(String::as_str)).unwrap(),
        vantages: vantages.map(Result::unwrap).collect(),
        network,
    };
    ground.servers.within(|| {
        let mut story = Story::begin(&ground, sites_of_nodes);
        story.until_well();
        tell(&mut story);
        for node in &mut story.nodes {
            node.client.take().unwrap().end();
        }
    });
}

fn world(sites: &[&str], path: &str) -> String {
    let mut text = format!(
        "[geoip]\noverrides = {{ \"{EUROPE}.0.0/16\" = {{ country = \"FR\" }} }}\n\
         [zone.\"example.com\"]\nfile = \"example.com.zone\"\n"
    );
    for site in sites {
        text += &format!("[site.{site}]\nvips = [\"{}\"]\n", site_vip(site));
    }
    for (vantage, country) in VANTAGES.iter().chain([&STRANGER]).zip(COUNTRIES) {
        text += &format!("[vantage.{vantage}]\nplace = {{ country = {country:?} }}\n");
    }
    text + &format!(
        "[check.web]\nkind = \"http\"\nport = {PORT}\npath = \"{path}\"\ninterval = \"500ms\"\n\
         timeout = \"400ms\"\nfall = 2\n\
         [service.\"www.example.com\"]\nsites = {sites:?}\ncheck = [\"web\"]\n\
         quorum = {{ down = 0.6, up = 0.6, vantages = 2, domains = 2, max_removed = 0.34 }}\n\
         when_all_down = \"open\"\nttl = {{ max = \"1s\" }}\n"
    )
}

impl<'g> Story<'g> {
    fn begin(ground: &'g Ground, sites_of_nodes: &[&[&str]]) -> Story<'g> {
        let Ground { network, servers: _, sites, vantages } = ground;
        let ca = Ca::new("ca");
        let backends = SITES.map(|site| Placed::start(sites, (site_vip(site), PORT)).unwrap());
        let reference = Placed::start(network.router(), (REFERENCE, PORT)).unwrap();
        let nodes = sites_of_nodes.iter().zip(1..).map(|(sites, number)| {
            let control = (SERVER, 8450 + number).into();
            Node::start(&ca, &format!("test{number}"), control, sites)
        });
        let nodes: Vec<Node> = nodes.collect();
        let names: Vec<String> = (1..=nodes.len()).map(|number| format!("test{number}")).collect();
        let told = nodes.iter().zip(&names).map(|(node, name)| (node.control, &**name));
        let told: Vec<(SocketAddr, &str)> = told.collect();
        let holders = VANTAGES.map(|name| ca.issue(&format!("gslb://test/probe/{name}")));
        let probes = VANTAGES.iter().zip(&holders).zip(vantages).map(|((name, holder), place)| {
            let references = [(REFERENCE, PORT).into()];
            place.within(|| Probe::start(name, holder, &told, &references)).unwrap()
        });
        let probes = probes.collect();
        let _backends = backends.into_iter().chain([reference]).collect();
        Story { network, ca, probes, _holders: holders, nodes, _backends }
    }

    fn cut(&self, one: &str, other: &str) {
        self.network.cut(one, other).unwrap();
    }

    fn heal(&self, one: &str, other: &str) {
        self.network.heal(one, other).unwrap();
    }

    fn node(&self) -> &Node {
        &self.nodes[0]
    }

    /// Every vantage is heard, and has seen every site of every name server up.
    fn until_well(&self) {
        for node in &self.nodes {
            for vantage in VANTAGES {
                node.until_vantage(vantage, "trusted");
            }
            node.until_votes(4, "up");
        }
    }

    /// What the stranger tells, as it is sent.
    fn stranger(&self, seq: u64, site: &str, state: &str) -> Vec<u8> {
        let target = self.node().site(site)["targets"][0]["target"].clone();
        let mut report = Report::new(1, seq);
        report.head.producer = STRANGER.into();
        let entry = json!({ "target": target, "state": state }).to_string();
        report.head.digest.add(EntryHash::of(&entry));
        report.entries.push(entry);
        report.octets()
    }
}

impl Drop for Story<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            for probe in &self.probes {
                eprintln!("{}", probe.log());
            }
        }
    }
}

impl Node {
    fn start(ca: &Ca, name: &str, control: SocketAddr, sites: &[&str]) -> Node {
        let files = Files { world: &world(sites, "/healthz"), zone: ZONE, places: "" };
        let world = World::write(&files).unwrap();
        let us = ca.issue(&format!("gslb://test/dns/{name}"));
        let text = fs::read_to_string(world.node()).unwrap().replace("test1", name);
        fs::write(world.node(), text + &us.control(control)).unwrap();
        let mut node = Node { world, us, server: None, control, client: None };
        node.run();
        node
    }

    fn run(&mut self) {
        let server = Server::start(&self.world.node()).unwrap();
        assert_eq!(server.control(), Some(self.control), "{:?}", self.us.files());
        self.client = Some(Asking::begin(server.dns(), SERVICE));
        self.server = Some(server);
    }

    /// As after an update of the machine.
    fn restart(&mut self) {
        self.client.take().unwrap().end();
        assert!(self.server.take().unwrap().stop().unwrap().success());
        self.run();
    }

    /// Another world, taken while it answers.
    fn reload(&mut self, sites: &[&str], path: &str) {
        fs::write(self.world.path("world.toml"), world(sites, path)).unwrap();
        let server = self.server.as_mut().unwrap();
        server.signal(Signal::HUP).unwrap();
        server.wait_for_log("reloaded: the world has changed").unwrap();
    }

    fn server(&self) -> &Server {
        self.server.as_ref().unwrap()
    }
}

#[test]
fn one_vantage_cut_off_from_the_sites_is_not_believed() {
    story(&[&SITES], |story| {
        story.cut(&vantage_net("ams"), SITES_NET);
        // Its reference answers, so it says nothing against itself: the others do.
        story.node().until_votes(1, "down");
        story.node().until_vantage("ams", "distrusted");
        let why = story.node().standing("ams")["why"].to_string();
        assert!(why.contains("3 of 3 targets that the others have up"), "{why}");
        story.node().until_answered(&SITES);
        // With nrt down for all too little is left to distrust it by: it is heard, one voice of four.
        story.cut(&site_net("nrt"), VANTAGES_NET);
        story.node().until_answered(&["fra", "iad"]);
        story.node().until_vantage("ams", "trusted");
        for site in ["fra", "iad"] {
            story.node().until_it_is_up_against(site, 1);
        }
        story.heal(&site_net("nrt"), VANTAGES_NET);
        story.heal(&vantage_net("ams"), SITES_NET);
        story.node().until_votes(4, "up");
        story.node().until_answered(&SITES);
    });
}

#[test]
fn half_of_the_vantages_remove_nothing() {
    story(&[&SITES], |story| {
        for vantage in ["ams", "lhr"] {
            story.cut(&vantage_net(vantage), SITES_NET);
        }
        let node = story.node();
        node.until_votes(2, "down");
        // A start forbids a while what is not to happen at all. What all see happens.
        story.cut(&site_net("nrt"), VANTAGES_NET);
        node.until_answered(&["fra", "iad"]);
        for site in ["fra", "iad"] {
            node.until_it_is_up_against(site, 2);
        }
    });
}

#[test]
fn what_a_continent_cannot_reach_its_clients_alone_are_not_sent_to() {
    story(&[&SITES], |story| {
        let node = story.node();
        for vantage in ["ams", "lhr"] {
            story.cut(&vantage_net(vantage), &site_net("fra"));
        }
        node.until_answered_to(EUROPE, &["iad", "nrt"]);
        assert_eq!(node.answered(), set(&SITES), "{}", node.board());
        assert_eq!(node.site("fra")["lost"][0]["region"], "EU", "{}", node.board());
        let lost =
            format!("gslb_dns_site_lost{{region=\"EU\",service=\"{SERVICE}\",site=\"fra\"}}");
        until("metrics have it", || Ok((node.metric(&lost) == 1.0).then_some(()))).unwrap();
        story.heal(&vantage_net("lhr"), &site_net("fra"));
        node.until_answered_to(EUROPE, &SITES);
        until("metrics have it", || Ok((node.metric(&lost) == 0.0).then_some(()))).unwrap();
        assert_eq!(node.site("fra")["admit"], 1.0, "nobody else noticed: {}", node.board());
    });
}

#[test]
fn vantages_cut_off_from_the_name_server_leave_it_with_what_it_believed() {
    story(&[&SITES], |story| {
        let node = story.node();
        story.cut(&site_net("fra"), VANTAGES_NET);
        node.until_answered(&["iad", "nrt"]);
        story.cut(VANTAGES_NET, SERVERS_NET);
        for vantage in VANTAGES {
            node.until_vantage(vantage, "silent");
        }
        assert_eq!(node.answered(), set(&["iad", "nrt"]));
        assert_eq!(node.site("fra")["targets"][0]["verdict"], "down", "{}", node.board());
        assert_eq!(node.site("iad")["targets"][0]["verdict"], "up", "{}", node.board());
        story.heal(&site_net("fra"), VANTAGES_NET);
        story.heal(VANTAGES_NET, SERVERS_NET);
        for vantage in VANTAGES {
            node.until_vantage(vantage, "trusted");
        }
        node.until_answered(&SITES);
    });
}

#[test]
fn sites_that_are_cut_off_are_left_as_far_as_probes_alone_may_decide() {
    story(&[&SITES], |story| {
        let node = story.node();
        let cut_off = |site: &str| {
            story.cut(&site_net(site), EVERYBODY);
            node.until_sites("they say so", |sites| {
                sites
                    .iter()
                    .any(|one| one["site"] == site && one["targets"][0]["verdict"] == "down")
            });
        };
        cut_off("fra");
        node.until_answered(&["iad", "nrt"]);
        let vote = &node.site("fra")["targets"][0]["votes"][0];
        assert_eq!((&vote["state"], &vote["reason"]), (&json!("down"), &json!("timeout")));
        // Of two that nobody reaches one stays, and it is as good as the other: ties go by name.
        cut_off("iad");
        node.until_answered(&["fra", "nrt"]);
        let why = node.site("fra")["why"].to_string();
        assert!(why.contains("held in by max_removed"), "{why}");
        for vantage in VANTAGES {
            assert_eq!(node.standing(vantage)["standing"], "trusted");
        }
        for site in ["fra", "iad"] {
            story.heal(&site_net(site), EVERYBODY);
        }
        node.until_answered(&SITES);
    });
}

#[test]
fn full_disks_keep_nobody_from_looking_judging_and_answering() {
    story(&[&SITES], |story| {
        let node = &mut story.nodes[0];
        let state = node.world.path("state");
        let disk = Disk::over(&state).unwrap();
        disk.fill().unwrap();
        let probe = &story.probes[0];
        let probes_disk = Disk::over(&probe.path("state")).unwrap();
        probes_disk.fill().unwrap();
        story.network.cut(&site_net("fra"), VANTAGES_NET).unwrap();
        node.until_answered(&["iad", "nrt"]);
        let told = "the state could not be written: a restart would not know it; trying again";
        node.server.as_mut().unwrap().wait_for_log(told).unwrap();
        let status = node.server().get("/v1/status?format=text").unwrap().body;
        assert!(status.contains("the state directory cannot be written"), "{status}");
        // What happens meanwhile is known until the end, and kept once there is room.
        assert_eq!(node.metric("gslb_dns_history_ok"), 0.0);
        assert_eq!(node.metric("gslb_dns_state_ok"), 0.0);
        let is_told = |node: &Node| {
            let entries = node.json("/v1/history?site=fra")["entries"].clone();
            let all = entries.as_array().unwrap();
            all.iter().any(|entry| entry["to"]["health"] == "down")
        };
        assert!(is_told(node) && !state.join("history").join("00000001.jsonl").exists());
        // Another world asks for other targets, which the probe looks at and cannot keep.
        node.reload(&SITES, "/other");
        story.network.heal(&site_net("fra"), VANTAGES_NET).unwrap();
        node.until_votes(4, "up");
        until("the probe says it", || {
            Ok(probe.log().contains("what the next run needs could not be kept").then_some(()))
        })
        .unwrap();
        node.until_answered(&SITES);
        assert!(!state.join("verdicts.json").exists());
        // Once there is room it is written.
        disk.clear().unwrap();
        until("it is written", || Ok(state.join("verdicts.json").exists().then_some(()))).unwrap();
        until("nothing is amiss", || {
            let status = node.server().get("/v1/status?format=text")?.body;
            Ok((!status.contains("cannot be written")).then_some(()))
        })
        .unwrap();
        assert_eq!(node.metric("gslb_dns_history_ok"), 1.0);
        assert_eq!(node.metric("gslb_dns_state_ok"), 1.0);
        node.restart();
        assert!(is_told(node));
        node.until_votes(4, "up");
    });
}

#[test]
fn name_servers_of_two_worlds_are_told_by_the_same_probes_and_agree_once_they_have_one() {
    // Each has a site that the other has not.
    story(&[&["fra", "iad"], &["iad", "nrt"]], |story| {
        let [old, new] = &mut story.nodes[..] else { panic!("there are two") };
        story.network.cut(&site_net("fra"), VANTAGES_NET).unwrap();
        old.until_answered(&["iad"]);
        assert_ne!(old.digest(), new.digest());
        assert_eq!(new.answered(), set(&["iad", "nrt"]));
        old.reload(&["iad", "nrt"], "/healthz");
        old.until_answered(&["iad", "nrt"]);
        until("they agree", || Ok((old.digest() == new.digest()).then_some(())))
            .unwrap_or_else(|why| panic!("{why}\n{}\n{}", old.board(), new.board()));
        // And go on to: they judge alike.
        story.network.cut(&site_net("nrt"), VANTAGES_NET).unwrap();
        for node in [&*old, &*new] {
            node.until_answered(&["iad"]);
        }
        until("they agree again", || Ok((old.digest() == new.digest()).then_some(())))
            .unwrap_or_else(|why| panic!("{why}\n{}\n{}", old.board(), new.board()));
    });
}

#[test]
fn nonsense_is_refused_and_disturbs_nobody() {
    story(&[&SITES], |story| {
        let node = story.node();
        let holder = story.ca.issue(&format!("gslb://test/probe/{STRANGER}"));
        runtime().block_on(async {
            let client = Client::to(node.control, "test1", &holder).await;
            let good = story.stranger(1, "fra", "up");
            assert_eq!(client.ask(REPORT, good).await.status, 200);
            let handshakes = node.metric("gslb_dns_control_handshakes_total{result=\"done\"}");
            assert_eq!(handshakes, 5.0);
            let next = String::from_utf8(story.stranger(2, "fra", "down")).unwrap();
            let refuse = async |octets: Vec<u8>, status: u16| {
                let answered = client.ask(REPORT, octets).await;
                assert_eq!(answered.status, status, "{answered:?}");
            };
            refuse(vec![b' '; LARGEST + 1], 413).await;
            let mut many = Report::new(1, 2);
            many.head.producer = STRANGER.into();
            refuse(many.of(0..20_001).octets(), 413).await;
            refuse(b"\xff\x00nonsense".to_vec(), 422).await;
            refuse(vec![b'['; LARGEST], 422).await;
            refuse(next[..next.len() - 1].into(), 422).await;
            refuse(next.replace(r#""v":1"#, r#""v":2"#).into(), 422).await;
            refuse(next.replace(STRANGER, "ams").into(), 403).await;
            // However large it becomes, it is over where it is too large.
            let (sender, body) = Sent::piecemeal();
            let answered = client.send(REPORT, body);
            let feed = async {
                let octets = vec![b' '; 1 << 20];
                while sender.send(octets.clone().into()).await.is_ok() {}
            };
            let (answered, ()) = tokio::join!(answered, feed);
            assert_eq!(answered.unwrap().status, 413);
            assert_eq!(votes(&node.site("fra"), "up"), 5, "{}", node.board());
            assert_eq!(node.answered(), set(&SITES));
            for vantage in VANTAGES.iter().chain([&STRANGER]) {
                node.until_vantage(vantage, "trusted");
            }
            // Nobody had to come back, and it is heard itself.
            assert_eq!(client.ask(REPORT, next).await.status, 200);
            let connections = node.metric("gslb_dns_control_connections");
            let done = node.metric("gslb_dns_control_handshakes_total{result=\"done\"}");
            assert_eq!((connections, done), (5.0, handshakes));
        });
    });
}

#[test]
fn a_replayed_report_changes_nothing_not_even_after_a_restart() {
    story(&[&SITES], |story| {
        let holder = story.ca.issue(&format!("gslb://test/probe/{STRANGER}"));
        let before = story.stranger(1, "fra", "down");
        let last = story.stranger(2, "fra", "up");
        let runtime = runtime();
        let control = story.node().control;
        let replay = async |octets: &[u8]| {
            let client = Client::to(control, "test1", &holder).await;
            let answered = client.ask(REPORT, octets.to_vec()).await;
            assert_eq!((answered.status, answered.json()), (409, json!({ "inc": 1, "seq": 2 })));
        };
        runtime.block_on(async {
            let client = Client::to(control, "test1", &holder).await;
            assert_eq!(client.ask(REPORT, before.clone()).await.status, 200);
            assert_eq!(votes(&story.node().site("fra"), "down"), 1);
            assert_eq!(client.ask(REPORT, last.clone()).await.status, 200);
            replay(&before).await;
            replay(&last).await;
        });
        assert_eq!(votes(&story.node().site("fra"), "down"), 0);
        // A verdict that changes is written at once, and how far everybody had come with it.
        story.cut(&site_net("nrt"), VANTAGES_NET);
        story.node().until_answered(&["fra", "iad"]);
        let verdicts = story.node().world.path("state/verdicts.json");
        until("it is written", || {
            Ok(fs::read_to_string(&verdicts)?.contains(STRANGER).then_some(()))
        })
        .unwrap();
        story.nodes[0].restart();
        assert_eq!(story.node().answered(), set(&["fra", "iad"]));
        runtime.block_on(async {
            replay(&before).await;
            replay(&last).await;
        });
        assert_eq!(story.node().standing(STRANGER)["standing"], "never_heard");
        for vantage in VANTAGES {
            story.node().until_vantage(vantage, "trusted");
        }
        assert_eq!(story.node().answered(), set(&["fra", "iad"]));
    });
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}
