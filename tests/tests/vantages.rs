//! Worlds with real probes: what happens to sites, to vantages and to the name server, and what clients are answered.

#![expect(clippy::unwrap_used, reason = "what a test cannot go on without may as well end it")]

use std::collections::BTreeSet;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};

use gslb_dns::stamp::OPTION_STAMP;
use gslb_tests::backend::Backend;
use gslb_tests::faketime;
use gslb_tests::peers;
use gslb_tests::pki::{Ca, Holder};
use gslb_tests::probe::Probe;
use gslb_tests::resolver::{Resolver, query};
use gslb_tests::server::{Server, run};
use gslb_tests::wait::until;
use gslb_tests::world::{Files, World};
use hickory_proto::op::Message;
use hickory_proto::rr::rdata::opt::EdnsOption;
use hickory_proto::rr::{Name, RData, RecordType};
use jiff::Timestamp;
use serde_json::Value;

const SITES: [&str; 3] = ["fra", "iad", "nrt"];
const VANTAGES: [&str; 3] = ["ams", "lhr", "nyc"];

const NAME: &str = "www.example.com";
const ZONE: &str = "@ 60 SOA ns1 h 1 2 3 4 5\n@ 60 NS ns1\nns1 60 A 198.51.100.53\n";

/// A name server, three sites with a backend each, three vantages.
struct Story {
    world: World,
    server: Option<Server>,
    control: SocketAddr,
    backends: Vec<Backend>,
    /// Has nothing to do with the sites.
    _reference: Backend,
    ca: Ca,
    us: Holder,
    holders: Vec<Holder>,
    probes: Vec<Probe>,
}

impl Story {
    /// Each story has addresses of its own: tests run beside each other.
    fn begin(number: u8) -> Story {
        Story::with_references(number, 1)
    }

    fn with_references(number: u8, references: usize) -> Story {
        let vip = |site: u8| Ipv4Addr::new(127, 40 + number, site, 1);
        let first = Backend::start((vip(1), 0).into()).unwrap();
        let port = first.address().port();
        let others = [2, 3].map(|site| Backend::start((vip(site), port).into()).unwrap());
        let backends: Vec<Backend> = [first].into_iter().chain(others).collect();
        let reference = Backend::start((vip(9), 0).into()).unwrap();
        let references = vec![reference.address(); references];
        let files = Files { world: &world(number, port), zone: ZONE, places: "" };
        let world = World::write(&files).unwrap();
        let ca = Ca::new("ca");
        let us = ca.issue("gslb://test/dns/test1");
        let node = fs::read_to_string(world.node()).unwrap();
        let node = node.replace("[dns]\n", "[dns]\ntrusted = [\"127.0.0.1/32\"]\n");
        fs::write(world.node(), node.clone() + &us.control("127.0.0.1:0".parse().unwrap()))
            .unwrap();
        let server = Server::start(&world.node()).unwrap();
        let control = server.control().unwrap();
        // For a start after this one.
        fs::write(world.node(), node + &us.control(control)).unwrap();
        let holders: Vec<Holder> =
            VANTAGES.iter().map(|name| ca.issue(&format!("gslb://test/probe/{name}"))).collect();
        let start = |(name, holder): (&&str, &Holder)| {
            Probe::start(name, holder, &[(control, "test1")], &references)
        };
        let probes = VANTAGES.iter().zip(&holders).map(|each| start(each).unwrap()).collect();
        let server = Some(server);
        let _reference = reference;
        Story { world, server, control, backends, _reference, ca, us, holders, probes }
    }

    fn server(&self) -> &Server {
        self.server.as_ref().unwrap()
    }

    /// The sites that clients of many networks are answered with.
    fn answered(&self) -> BTreeSet<String> {
        let mut resolver = Resolver::of(self.server().dns()).unwrap();
        let name = Name::from_ascii(format!("{NAME}.")).unwrap();
        let mut sites = BTreeSet::new();
        for network in 0..64_u8 {
            let subnet = format!("9.9.{network}.0/24").parse().unwrap();
            let asked = query(&name, RecordType::A, Some(subnet)).unwrap();
            let answer = Message::from_vec(&resolver.ask(&asked).unwrap()).unwrap();
            for record in &answer.answers {
                let RData::A(address) = &record.data else { continue };
                sites.insert(SITES[usize::from(address.octets()[2]) - 1].to_owned());
            }
            assert!(!answer.answers.is_empty(), "a name never goes dark");
        }
        sites
    }

    /// What one client is answered, and the stamp of that.
    fn asked(&self, network: u8) -> Asked {
        let mut resolver = Resolver::of(self.server().dns()).unwrap();
        let subnet = format!("9.9.{network}.0/24").parse().unwrap();
        let name = Name::from_ascii(format!("{NAME}.")).unwrap();
        let asked = query(&name, RecordType::A, Some(subnet)).unwrap();
        let answer = Message::from_vec(&resolver.ask(&asked).unwrap()).unwrap();
        let addresses = answer.answers.iter().filter_map(|record| record.data.ip_addr());
        let options = answer.edns.as_ref().unwrap().options();
        let stamp = options.as_ref().iter().find_map(|(_, option)| match option {
            EdnsOption::Unknown(OPTION_STAMP, value) => Some(value.clone()),
            _ => None,
        });
        let stamp = stamp.unwrap().iter().map(|octet| format!("{octet:02x}")).collect();
        Asked { network, stamp, addresses: addresses.map(|address| address.to_string()).collect() }
    }

    /// What a command prints that asks the running server.
    fn says(&self, words: &[&str]) -> String {
        let door = self.server().admin().to_string();
        let said = run(words.iter().copied().chain(["--server", &door])).unwrap();
        assert_eq!((said.code, said.stderr.as_str()), (Some(0), ""), "{words:?}");
        said.stdout
    }

    /// The same explanation by the running server and from the files, to the last octet.
    fn explained(&self, words: &[&str]) -> Value {
        let words = [&["explain", NAME, "A", "--json"], words].concat();
        let told = self.says(&words);
        let node = self.world.node().display().to_string();
        let said = run(words.iter().copied().chain(["--config", &node])).unwrap();
        assert_eq!((said.code, said.stdout.as_str()), (Some(0), told.as_str()), "{}", said.stderr);
        serde_json::from_str(&told).unwrap()
    }

    fn until_answered(&self, sites: &[&str]) {
        let wanted: BTreeSet<String> = sites.iter().map(|site| (*site).to_owned()).collect();
        let mut last = BTreeSet::new();
        until(&format!("the answers are {sites:?}"), || {
            last = self.answered();
            Ok((last == wanted).then_some(()))
        })
        .unwrap_or_else(|why| panic!("{why}, but {last:?}\n{}\n{}", self.board(), self.logs()));
    }

    fn until_board(&self, what: &str, is: impl Fn(&Value) -> bool) {
        until(what, || {
            let board: Value = serde_json::from_str(&self.server().get("/v1/board")?.body)?;
            Ok(is(&board["services"][0]).then_some(()))
        })
        .unwrap_or_else(|why| panic!("{why}\n{}\n{}", self.board(), self.logs()));
    }

    fn until_vantage(&self, vantage: &str, standing: &str) {
        until(&format!("{vantage} is {standing}"), || {
            let all: Value = serde_json::from_str(&self.server().get("/v1/vantages")?.body)?;
            let one =
                all.as_array().and_then(|all| all.iter().find(|one| one["vantage"] == vantage));
            Ok(one.filter(|one| one["standing"] == standing).map(|_| ()))
        })
        .unwrap_or_else(|why| panic!("{why}\n{}\n{}", self.board(), self.logs()));
    }

    /// Everybody has seen everything, and what a start forbids is allowed.
    fn until_well(&self) {
        for vantage in VANTAGES {
            self.until_vantage(vantage, "trusted");
        }
        self.until_board("all sites are seen up by all", |service| {
            let sites = service["sites"].as_array().unwrap();
            let all = |site: &Value| {
                let votes = site["targets"][0]["votes"].as_array();
                votes.is_some_and(|votes| {
                    votes.iter().filter(|vote| vote["state"] == "up").count() == 3
                })
            };
            sites.iter().all(all)
        });
    }

    fn health(&self, site: &str) -> String {
        let board: Value =
            serde_json::from_str(&self.server().get("/v1/board").unwrap().body).unwrap();
        let sites = board["services"][0]["sites"].as_array().unwrap();
        let one = sites.iter().find(|one| one["site"] == site).unwrap();
        one["health"].as_str().unwrap().to_owned()
    }

    fn board(&self) -> String {
        self.server().get("/v1/board?format=text").unwrap().body
    }

    fn logs(&self) -> String {
        self.probes.iter().map(Probe::log).collect::<Vec<_>>().join("\n")
    }

    /// It is started again at the same address, and knows what it wrote.
    fn restart_server(&mut self) {
        let stopped = self.server.take().unwrap().stop().unwrap();
        assert_eq!(stopped.code(), Some(0));
        self.server = Some(Server::start(&self.world.node()).unwrap());
    }
}

struct Asked {
    network: u8,
    stamp: String,
    addresses: Vec<String>,
}

impl Asked {
    /// Whether an explanation is of this very answer.
    fn check(&self, told: &Value, what: &str) {
        let addresses: Vec<&str> = told["answer"]["addresses"]
            .as_array()
            .unwrap()
            .iter()
            .map(|address| address.as_str().unwrap())
            .collect();
        assert_eq!(addresses, self.addresses, "{what}: {told:#}");
        assert_eq!(told["moment"]["known_from"], "history", "{what}: {told:#}");
        assert_eq!(told["moment"]["doubts"], Value::Array(vec![]), "{what}: {told:#}");
        assert!(told["evidence"]["none"].is_string());
    }
}

fn world(number: u8, port: u16) -> String {
    let mut text = "[zone.\"example.com\"]\nfile = \"example.com.zone\"\n".to_owned();
    for (site, octet) in SITES.iter().zip(1..) {
        text += &format!("[site.{site}]\nvips = [\"127.{}.{octet}.1\"]\n", 40 + number);
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
fn a_site_that_dies_is_left_and_comes_back() {
    let mut story = Story::begin(1);
    story.until_well();
    story.until_answered(&SITES);
    story.backends[0].kill();
    story.until_answered(&["iad", "nrt"]);
    assert_eq!(story.health("fra"), "down");
    assert!(story.board().contains("of 3 vantages see it down"), "{}", story.board());
    story.backends[0].revive().unwrap();
    story.until_answered(&SITES);
    // Every host says itself that nobody listens, so the share that probes may remove is no bound, and the fail mode
    // answers.
    for backend in &mut story.backends {
        backend.kill();
    }
    story.until_board("all are down", |service| {
        service["sites"].as_array().unwrap().iter().all(|site| site["health"] == "down")
    });
    story.until_answered(&SITES);
}

#[test]
fn probes_that_lose_everything_at_once_blame_themselves() {
    let mut story = Story::with_references(6, 0);
    story.until_well();
    for backend in &mut story.backends {
        backend.kill();
    }
    for vantage in VANTAGES {
        story.until_vantage(vantage, "distrusted");
    }
    story.until_answered(&SITES);
    assert!(SITES.iter().all(|site| story.health(site) == "up"));
    for backend in &mut story.backends {
        backend.revive().unwrap();
    }
    for vantage in VANTAGES {
        story.until_vantage(vantage, "trusted");
    }
}

#[test]
fn vantages_that_die_take_nobody_with_them() {
    let mut story = Story::begin(2);
    story.until_well();
    story.backends[0].kill();
    story.until_answered(&["iad", "nrt"]);
    // One of three: two are a quorum still.
    story.probes[0].kill().unwrap();
    story.until_vantage("ams", "silent");
    story.backends[0].revive().unwrap();
    story.until_answered(&SITES);
    story.backends[1].kill();
    story.until_answered(&["fra", "nrt"]);
    // One alone decides nothing, in either direction.
    story.probes[1].kill().unwrap();
    story.until_vantage("lhr", "silent");
    story.backends[1].revive().unwrap();
    story.backends[2].kill();
    story.until_board("nyc sees what it cannot decide", |service| {
        let vote = |site: usize| {
            let votes = service["sites"][site]["targets"][0]["votes"].as_array().unwrap();
            votes.iter().find(|vote| vote["vantage"] == "nyc").unwrap()["state"].clone()
        };
        vote(1) == "up" && vote(2) == "down"
    });
    assert_eq!(story.answered(), ["fra", "nrt"].map(str::to_owned).into());
    // All are gone: what was believed stays.
    story.probes[2].kill().unwrap();
    story.until_vantage("nyc", "silent");
    assert_eq!(story.answered(), ["fra", "nrt"].map(str::to_owned).into());
    // Back from their state, they are heard at once.
    for probe in &mut story.probes {
        probe.run().unwrap();
    }
    story.until_answered(&["fra", "iad"]);
}

#[test]
fn a_name_server_that_starts_again_answers_as_before_and_removes_nobody_at_once() {
    let mut story = Story::begin(3);
    story.until_well();
    story.backends[0].kill();
    story.until_answered(&["iad", "nrt"]);
    // Before it is up again every probe has died.
    for probe in &mut story.probes {
        probe.kill().unwrap();
    }
    story.restart_server();
    assert_eq!(story.answered(), ["iad", "nrt"].map(str::to_owned).into());
    // What the first reports have down is left once all may have spoken.
    story.backends[1].kill();
    for probe in &mut story.probes {
        probe.run().unwrap();
    }
    story.until_answered(&["nrt"]);
    let told = |path: &str| -> Value {
        serde_json::from_str(&story.server().get(path).unwrap().body).unwrap()
    };
    let moment = |value: &Value| value.as_str().unwrap().parse::<Timestamp>().unwrap();
    let (status, history) = (told("/v1/status"), told("/v1/history?site=iad"));
    let entries = history["entries"].as_array().unwrap();
    let down = entries.iter().find(|entry| entry["to"]["health"] == "down").unwrap();
    let waited = moment(&down["at"]).duration_since(moment(&status["started"]));
    assert!(waited.as_secs() >= 9, "{waited} after the start: {down}");
    story.backends[1].revive().unwrap();
    story.backends[0].revive().unwrap();
    story.until_answered(&SITES);
}

#[test]
fn a_probe_whose_clock_is_an_hour_wrong_says_as_well_as_any_when_it_saw_what() {
    if peers::missing(faketime::missing()) {
        return;
    }
    let mut story = Story::begin(7);
    story.until_well();
    story.probes[0].run_ahead(3600).unwrap();
    story.probes[1].run_ahead(-3600).unwrap();
    // The log has the clock's time.
    let year = |log: &str| log.lines().next().map(|line| line[..13].to_owned());
    until("both have begun", || {
        let begun = [0, 1].map(|probe| year(&story.probes[probe].log()));
        Ok(begun.iter().all(Option::is_some).then(|| assert_ne!(begun[0], begun[1])))
    })
    .unwrap();
    story.until_well();
    // Two of three decide: one whose clock is right could not.
    story.probes[2].kill().unwrap();
    story.until_vantage("nyc", "silent");
    story.backends[0].kill();
    story.until_answered(&["iad", "nrt"]);
    let board: Value =
        serde_json::from_str(&story.server().get("/v1/board").unwrap().body).unwrap();
    let moment = |value: &Value| value.as_str().unwrap().parse::<Timestamp>().unwrap();
    let site = &board["services"][0]["sites"][0];
    let votes = site["targets"][0]["votes"].as_array().unwrap();
    for since in votes[..2].iter().map(|vote| &vote["since"]).chain([&site["since"]]) {
        let ago = moment(&board["now"]).duration_since(moment(since)).as_secs();
        assert!((0..60).contains(&ago), "{ago} s: {board}");
    }
    story.backends[0].revive().unwrap();
    story.until_answered(&SITES);
}

#[test]
fn a_cloned_probe_is_told_apart() {
    let mut story = Story::begin(4);
    story.until_well();
    let clone = Probe::clone_of(&story.probes[0]).unwrap();
    until("the server has noticed two of one name", || {
        let refused =
            story.server().metric("gslb_dns_control_reports_total{outcome=\"duplicate\"}")?;
        Ok((refused > 0.0).then_some(()))
    })
    .unwrap_or_else(|why| panic!("{why}\n{}\n{}", clone.log(), story.logs()));
    // Whoever of them is heard, the vantage has one voice, and sites are as they are.
    story.until_answered(&SITES);
    story.backends[1].kill();
    story.until_answered(&["fra", "nrt"]);
}

#[test]
fn a_probe_whose_certificate_is_taken_back_is_silent_from_then_on() {
    let story = Story::begin(5);
    story.until_well();
    let list = story.ca.revoke(&[story.holders[1].serial]);
    story.us.write("crl.pem", &list);
    story.until_vantage("lhr", "silent");
    story.until_answered(&SITES);
    // It dials again and again, and is counted while it shakes hands.
    until("two are connected", || {
        Ok((story.server().metric("gslb_dns_control_connections")? <= 2.0).then_some(()))
    })
    .unwrap();
    assert_eq!(story.control, story.server().control().unwrap());
}

#[test]
fn what_happened_last_night_is_told_and_explained() {
    let mut story = Story::begin(8);
    story.until_well();
    story.until_answered(&SITES);
    let before: Value = serde_json::from_str(&story.says(&["board", "--json"])).unwrap();
    let asked: Vec<Asked> = (0..16).map(|network| story.asked(network)).collect();
    let is_of_fra = |asked: &Asked| asked.addresses[0].ends_with(".1.1");
    assert!(asked.iter().any(is_of_fra), "some client goes to fra");

    story.backends[0].kill();
    story.until_answered(&["iad", "nrt"]);
    let history = story.says(&["history", "--site", "fra"]);
    let down = history.lines().find(|line| line.contains("up -> down")).unwrap();
    assert!(down.contains("fra  www.example.com  ") && down.contains("see it down"), "{history}");
    assert_eq!(history.matches("up -> down").count(), 1, "{history}");
    assert!(!story.says(&["history", "--site", "iad"]).contains("down"), "{history}");

    // What is so now is explained by what each vantage says.
    story.until_board("all see it", |service| {
        service["sites"][0]["targets"][0]["counted"]["down"] == 3
    });
    let client = ["explain", NAME, "A", "--client", "9.9.0.0/24"];
    let text = story.says(&client);
    assert!(text.contains("evidence   www.example.com.\n"), "{text}");
    assert!(text.contains("down, decided; heard 3 in 3 domains: 0 up, 3 down"));
    assert!(text.contains("  down  ams, lhr, nyc, since ") && text.contains("(refused"), "{text}");
    let json: Value =
        serde_json::from_str(&story.says(&[&client[..], &["--json"]].concat())).unwrap();
    let fra = &json["evidence"]["seen"][0]["sites"][0];
    assert_eq!(
        (&fra["site"], &fra["targets"][0]["votes"][2]["counts"]),
        (&"fra".into(), &true.into())
    );
    let node = story.world.node().display().to_string();
    let alone = run(client.into_iter().chain(["--config", &node])).unwrap().stdout;
    assert!(alone.contains("evidence   none: only a running server has it"), "{alone}");

    // Nothing of it is lost with the server.
    story.restart_server();
    let after = story.says(&["history", "--site", "fra"]);
    assert!(after.contains(down), "{history}\n{after}");
    assert_eq!(after.matches("server started").count(), 2, "{after}");

    let at = before["now"].as_str().unwrap();
    for asked in &asked {
        let subnet = format!("9.9.{}.0/24", asked.network);
        let told = story.explained(&["--at", at, "--client", &subnet]);
        asked.check(&told, at);
        assert_eq!(told["board"]["digest"], before["digest"]);
        let fra = &told["steering"][0]["candidates"][0];
        assert_eq!((&fra["site"], &fra["health"]), (&"fra".into(), &"up".into()), "{told:#}");
        let told = story.explained(&["--stamp", &asked.stamp]);
        asked.check(&told, &asked.stamp);
        assert_eq!(told["stamp"]["differs"], Value::Array(vec![]));
    }
    // Of what was before nothing is made up.
    let told = story.explained(&["--at", "2020-01-01T00:00:00Z", "--client", "9.9.0.0/24"]);
    assert_eq!(told["moment"]["known_from"], "orders");
    let doubt = told["moment"]["doubts"][0].as_str().unwrap();
    assert!(doubt.starts_with("history begins at ") && doubt.contains("is not known"), "{doubt}");
    assert_eq!(told["steering"][0]["candidates"][0]["health"], "unknown", "{told:#}");
}
