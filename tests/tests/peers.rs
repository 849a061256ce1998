//! Worlds with two name servers that are each other's peers: what they come to together, and what is told when they
//! differ or one is gone.

#![expect(clippy::unwrap_used, reason = "what a test cannot go on without may as well end it")]

use std::collections::BTreeSet;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};

use common::wire::Wire;
use gslb_tests::backend::Backend;
use gslb_tests::pki::{Ca, Holder};
use gslb_tests::probe::Probe;
use gslb_tests::resolver::{Resolver, query};
use gslb_tests::server::{Server, run};
use gslb_tests::wait::until;
use gslb_tests::world::{Files, World};
use hickory_proto::op::Message;
use hickory_proto::rr::{Name, RData, RecordType};
use hyper::Method;
use hyper::body::Bytes;
use rustix::process::Signal;
use serde_json::Value;

const SITES: [&str; 3] = ["fra", "iad", "nrt"];
const VANTAGES: [&str; 3] = ["ams", "lhr", "nyc"];
const ZONE: &str = "@ 60 SOA ns1 h 1 2 3 4 5\n@ 60 NS ns1\nns1 60 A 198.51.100.53\n";

/// A name server and its files.
struct Node {
    world: World,
    server: Option<Server>,
}

/// Two name servers of one world, three sites, and three probes that tell both.
struct Story {
    ca: Ca,
    _holders: Vec<Holder>,
    nodes: [Node; 2],
    backends: Vec<Backend>,
    probes: Vec<Probe>,
    prober: Holder,
}

/// Each story has addresses of its own: tests run beside each other.
fn control(number: u8, node: u8) -> SocketAddr {
    (Ipv4Addr::new(127, 60 + number, 9, node), 8453).into()
}

impl Story {
    fn begin(number: u8) -> Story {
        let vip = |site: u8| Ipv4Addr::new(127, 60 + number, site, 1);
        let first = Backend::start((vip(1), 0).into()).unwrap();
        let port = first.address().port();
        let others = [2, 3].map(|site| Backend::start((vip(site), port).into()).unwrap());
        let backends: Vec<Backend> = [first].into_iter().chain(others).collect();
        let ca = Ca::new("ca");
        let (mut holders, mut nodes) = (vec![], vec![]);
        for node in [1, 2] {
            let files = Files { world: &world(number, port), zone: ZONE, places: "" };
            let world = World::write(&files).unwrap();
            let us = ca.issue(&format!("gslb://test/dns/test{node}"));
            let other = 3 - node;
            let text = fs::read_to_string(world.node()).unwrap();
            let text = text.replace("\"test1\"", &format!("\"test{node}\""))
                + &us.control(control(number, node))
                + &format!(
                    "peers = [{{ address = \"{}\", name = \"test{other}\" }}]\n",
                    control(number, other)
                );
            fs::write(world.node(), text).unwrap();
            holders.push(us);
            nodes.push(Node { world, server: None });
        }
        let mut nodes: [Node; 2] = nodes.try_into().ok().unwrap();
        nodes.iter_mut().for_each(Node::start);
        let servers = [(control(number, 1), "test1"), (control(number, 2), "test2")];
        let probes = VANTAGES.map(|name| {
            let holder = ca.issue(&format!("gslb://test/probe/{name}"));
            // What has nothing to do with the sites: a name server.
            let probe = Probe::start(name, &holder, &servers, &[servers[0].0]).unwrap();
            holders.push(holder);
            probe
        });
        let prober = ca.issue("gslb://test/probe/ams");
        Story { ca, _holders: holders, nodes, backends, probes: probes.into(), prober }
    }

    /// Everybody has seen everything on both, and what a start forbids is allowed.
    fn until_well(&self) {
        for node in &self.nodes {
            node.until("all sites are seen up by all", "/v1/board", |board| {
                let sites = board["services"][0]["sites"].as_array().unwrap();
                sites.iter().all(|site| {
                    let votes = site["targets"][0]["votes"].as_array();
                    let up = |vote: &&Value| vote["state"] == "up";
                    votes.is_some_and(|votes| votes.iter().filter(up).count() == 3)
                })
            });
            node.until_peer("agrees");
        }
    }
}

impl Node {
    fn start(&mut self) {
        self.server = Some(Server::start(&self.world.node()).unwrap());
    }

    fn stop(&mut self) {
        assert_eq!(self.server.take().unwrap().stop().unwrap().code(), Some(0));
    }

    fn kill(&mut self) {
        let mut server = self.server.take().unwrap();
        server.signal(Signal::KILL).unwrap();
        server.wait().unwrap();
    }

    fn server(&self) -> &Server {
        self.server.as_ref().unwrap()
    }

    fn get(&self, path: &str) -> Value {
        serde_json::from_str(&self.server().get(path).unwrap().body).unwrap()
    }

    fn until(&self, what: &str, path: &str, is: impl Fn(&Value) -> bool) {
        until(what, || Ok(is(&self.get(path)).then_some(())))
            .unwrap_or_else(|why| panic!("{why}\n{:#}", self.get("/v1/status")));
    }

    /// Gives an order to it.
    fn order(&self, words: &str) {
        let config = ["--why", "test", "--config"].map(str::to_owned);
        let words = words.split_whitespace().map(str::to_owned).chain(config);
        let done = run(words.chain([self.world.node().display().to_string()])).unwrap();
        assert_eq!(done.code, Some(0), "{done:?}");
    }

    /// What it tells of its peer, and whether that wants attention.
    fn until_peer(&self, standing: &str) {
        self.until(&format!("the peer is {standing}"), "/v1/status", |status| {
            let told = status["attention"].to_string().contains("peer test");
            status["peers"][0]["standing"] == standing && told == (standing != "agrees")
        });
        let peer = self.get("/v1/status")["peers"][0]["peer"].as_str().unwrap().to_owned();
        let series = format!("gslb_dns_peer_standing{{peer=\"{peer}\",standing=\"{standing}\"}}");
        until(&series, || Ok((self.server().metric(&series)? >= 1.0).then_some(()))).unwrap();
    }

    fn until_health(&self, site: &str, health: &str) {
        self.until(&format!("{site} is {health}"), "/v1/status", |status| {
            let sites = status["services"][0]["sites"].as_array().unwrap();
            sites.iter().any(|one| one["site"] == site && one["health"] == health)
        });
    }

    /// The sites that clients of many networks are answered with.
    fn answered(&self) -> BTreeSet<String> {
        let mut resolver = Resolver::of(self.server().dns()).unwrap();
        let name = Name::from_ascii("www.example.com.").unwrap();
        let mut sites = BTreeSet::new();
        for network in 0..64_u8 {
            let subnet = format!("9.9.{network}.0/24").parse().unwrap();
            let asked = query(&name, RecordType::A, Some(subnet)).unwrap();
            let answer = Message::from_vec(&resolver.ask(&asked).unwrap()).unwrap();
            for record in &answer.answers {
                let RData::A(address) = &record.data else { continue };
                sites.insert(SITES[usize::from(address.octets()[2]) - 1].to_owned());
            }
        }
        sites
    }

    fn until_answered(&self, sites: &[&str]) {
        let wanted: BTreeSet<String> = sites.iter().map(|site| (*site).to_owned()).collect();
        until(&format!("the answers are {sites:?}"), || {
            Ok((self.answered() == wanted).then_some(()))
        })
        .unwrap_or_else(|why| panic!("{why}\n{:#}", self.get("/v1/status")));
    }
}

fn world(number: u8, port: u16) -> String {
    let mut text = "[zone.\"example.com\"]\nfile = \"example.com.zone\"\n".to_owned();
    for (site, octet) in SITES.iter().zip(1..) {
        text += &format!("[site.{site}]\nvips = [\"127.{}.{octet}.1\"]\n", 60 + number);
    }
    for vantage in VANTAGES {
        text += &format!("[vantage.{vantage}]\nplace = {{ country = \"NL\" }}\n");
    }
    text + &format!(
        "[check.web]\nkind = \"http\"\nport = {port}\npath = \"/healthz\"\ninterval = \"500ms\"\n\
         timeout = \"400ms\"\nfall = 2\n\
         [service.\"www.example.com\"]\nsites = [\"fra\", \"iad\", \"nrt\"]\ncheck = [\"web\"]\n\
         quorum = {{ down = 0.6, up = 0.6, vantages = 2, domains = 2, max_removed = 0.34 }}\n\
         when_all_down = \"open\"\nttl = {{ max = \"1s\" }}\n"
    )
}

#[test]
fn what_one_of_two_remembers_keeps_nobody_out() {
    let mut story = Story::begin(1);
    story.until_well();
    // It was up when the other was last there.
    story.nodes[1].stop();
    story.backends[0].kill();
    story.nodes[0].until_answered(&["iad", "nrt"]);
    for probe in &mut story.probes {
        probe.kill().unwrap();
    }
    assert_eq!(story.nodes[0].answered(), ["iad", "nrt"].map(str::to_owned).into());
    story.nodes[1].start();
    // No evidence is left with either, and they remember it otherwise.
    for node in &story.nodes {
        node.until_answered(&SITES);
        node.until_health("fra", "up");
        node.until_peer("agrees");
    }
    assert!(story.nodes[0].server().metric("gslb_dns_peer_met_total").unwrap() >= 1.0);
    let digest = |node: &Node| node.get("/v1/status")["board"]["digest"].clone();
    until("both have one board", || {
        Ok((digest(&story.nodes[0]) == digest(&story.nodes[1])).then_some(()))
    })
    .unwrap();
    // Evidence outweighs whatever peers remember.
    for probe in &mut story.probes {
        probe.run().unwrap();
    }
    for node in &story.nodes {
        node.until_answered(&["iad", "nrt"]);
    }
}

#[test]
fn peers_that_differ_or_are_gone_are_told_and_nothing_else_changes() {
    let mut story = Story::begin(2);
    story.until_well();
    // Files are each server's own.
    story.nodes[0]
        .world
        .write_overrides(
            "[[override]]\nsite = \"fra\"\nstate = \"down\"\nwho = \"alice\"\nwhy = \"test\"\n",
        )
        .unwrap();
    // Who has changed is told later: what it answered before may be what the other is still to come to.
    story.nodes.iter().rev().for_each(|node| node.until_peer("board_divergence"));
    let told = story.nodes[0].get("/v1/status")["attention"].to_string();
    assert!(told.contains("vantages tell both the same"), "{told}");
    assert_eq!(story.nodes[0].answered(), ["iad", "nrt"].map(str::to_owned).into());
    assert_eq!(story.nodes[1].answered(), SITES.map(str::to_owned).into());
    story.nodes[0].server.as_mut().unwrap().wait_for_log("board_divergence").unwrap();
    story.nodes[0].world.write_overrides("").unwrap();
    story.nodes.iter().for_each(|node| node.until_peer("agrees"));
    story.nodes[0].server.as_mut().unwrap().wait_for_log("a peer answers, and agrees").unwrap();
    // Another world is no divergence.
    let text = fs::read_to_string(story.nodes[1].world.path("world.toml")).unwrap();
    fs::write(story.nodes[1].world.path("world.toml"), text.replace("\"1s\"", "\"2s\"")).unwrap();
    story.nodes[1].server.as_mut().unwrap().signal(Signal::HUP).unwrap();
    story.nodes.iter().for_each(|node| node.until_peer("other_epoch"));
    let number = story.nodes[0].server().board_number().unwrap();
    story.nodes[1].kill();
    story.nodes[0].until_peer("silent");
    story.nodes[0].server.as_mut().unwrap().wait_for_log("a peer is silent").unwrap();
    assert_eq!(story.nodes[0].answered(), SITES.map(str::to_owned).into());
    assert_eq!(story.nodes[0].server().board_number().unwrap(), number);
}

#[test]
fn peers_alone_are_told_what_peers_are_told() {
    let story = Story::begin(3);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let ask = |holder: &Holder| {
        runtime.block_on(async {
            let at = control(3, 1);
            let mut wire = Wire::dial(at, "test1", &holder.credentials()).await.unwrap();
            let asked = wire.exchange(Method::GET, "/v1/peer", Bytes::new(), 1 << 20).await;
            let (status, octets) = asked.unwrap();
            (status.as_u16(), String::from_utf8(octets.to_vec()).unwrap())
        })
    };
    let (status, told) = ask(&story.prober);
    assert_eq!(status, 403, "{told}");
    assert!(told.contains("listed in control.peers"), "{told}");
    // A name server that nobody has listed.
    let (status, told) = ask(&story.ca.issue("gslb://test/dns/test3"));
    assert_eq!(status, 403, "{told}");
    let (status, told) = ask(&story.ca.issue("gslb://test/dns/test2"));
    assert_eq!(status, 200, "{told}");
    let page: Value = serde_json::from_str(&told).unwrap();
    assert_eq!((&page["v"], &page["node"]), (&1.into(), &"test1".into()));
    assert!(page["held"].is_object(), "{page}");
    let forbidden = "gslb_dns_control_peer_pages_total{outcome=\"forbidden\"}";
    assert_eq!(story.nodes[0].server().metric(forbidden).unwrap(), 2.0);
}

#[test]
fn an_order_given_to_one_holds_on_all_and_on_one_that_comes_back() {
    let mut story = Story::begin(4);
    story.until_well();
    story.nodes[0].order("drain fra");
    story.nodes.iter().for_each(|node| node.until_answered(&["iad", "nrt"]));
    // The other way round; what is later outranks what was earlier, wherever it was said.
    story.nodes[1].order("undrain fra");
    story.nodes.iter().for_each(|node| node.until_answered(&SITES));
    // One is away meanwhile, and was killed.
    story.nodes[1].kill();
    story.nodes[0].order("drain iad");
    story.nodes[0].until_answered(&["fra", "nrt"]);
    story.nodes[1].start();
    story.nodes[1].until_answered(&["fra", "nrt"]);
    story.nodes.iter().for_each(|node| node.until_peer("agrees"));
    // What it learned is on its disk: it knows it when it is alone.
    story.nodes[0].stop();
    story.nodes[1].kill();
    story.nodes[1].start();
    assert_eq!(story.nodes[1].answered(), ["fra", "nrt"].map(str::to_owned).into());
    story.nodes[1].order("undrain iad");
    story.nodes[1].until_answered(&SITES);
    story.nodes[0].start();
    story.nodes[0].until_answered(&SITES);
    let ids = |node: &Node| -> Vec<String> {
        let all = node.get("/v1/overrides");
        let ids = all.as_array().unwrap().iter().map(|one| one["id"].as_str().unwrap().to_owned());
        ids.collect()
    };
    let expected = ["1@test1", "2@test2", "3@test1", "4@test2"];
    story.nodes.iter().for_each(|node| assert_eq!(ids(node), expected));
    // Who gave it, where it was learned, and from whom.
    let audit = fs::read_to_string(story.nodes[1].world.path("state/audit.jsonl")).unwrap();
    let lines = audit.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let learned: Vec<Value> = lines.filter(|line| line["action"] == "learn").collect();
    let told = |line: &Value| {
        ["id", "from", "order", "site"].map(|key| line["detail"][key].as_str().unwrap().to_owned())
    };
    let told: Vec<[String; 4]> = learned.iter().map(told).collect();
    assert_eq!(
        told,
        [["1@test1", "test1", "drain", "fra"], ["3@test1", "test1", "drain", "iad"]]
            .map(|one| one.map(str::to_owned))
    );
    assert!(learned.iter().all(|line| line["node"] == "test2" && line["who"] != "gslb-dns"));
}
