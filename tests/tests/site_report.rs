//! The balancer's binary and the name server's: what the one can do is known to the other as soon as it changes.

#![expect(clippy::unwrap_used, reason = "what a test cannot go on without may as well end it")]

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use common::clock::monotonic;
use gslb_tests::backend::Backend;
use gslb_tests::loopback;
use gslb_tests::netns::{self, Segment};
use gslb_tests::peers;
use gslb_tests::pki::{Ca, Holder};
use gslb_tests::process::Process;
use gslb_tests::server::{Server, built};
use gslb_tests::wait::until;
use gslb_tests::world::{Files, NODE_NAME, World};
use rustix::process::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;

const ZONE: &str = "@ 60 SOA ns1 h 1 2 3 4 5\n@ 60 NS ns1\nns1 60 A 198.51.100.53\n";
const VIP: &str = "127.0.1.1";

fn world(vip: &str, port: u16) -> String {
    format!(
        r#"
[zone."example.com"]
file = "example.com.zone"

[site.fra]
vips     = ["{vip}"]
agents   = ["fra-a"]
capacity = 2000

[site.iad]
vips = ["127.0.2.1"]

[vantage.ams]
place = {{ country = "NL" }}

[check.web]
kind = "tcp"
port = {port}

[service."www.example.com"]
sites  = ["fra", "iad"]
check  = ["web"]
quorum = {{ down = 0.6, up = 0.6, vantages = 1, domains = 1, max_removed = 0.5 }}
when_all_down = "open"
"#
    )
}

/// A name server of that name.
struct NameServer {
    server: Server,
    name: &'static str,
    _world: World,
    _holder: Holder,
}

impl NameServer {
    fn start(ca: &Ca, name: &'static str, port: u16) -> NameServer {
        NameServer::of(ca, name, (VIP, port))
    }

    fn of(ca: &Ca, name: &'static str, (vip, port): (&str, u16)) -> NameServer {
        let world = world(vip, port);
        let world = World::write(&Files { world: &world, zone: ZONE, places: "" }).unwrap();
        let holder = ca.issue(&format!("gslb://test/dns/{name}"));
        let node = fs::read_to_string(world.node()).unwrap();
        let node = node.replace(&format!("{NODE_NAME:?}"), &format!("{name:?}"));
        let control = holder.control("127.0.0.1:0".parse().unwrap());
        fs::write(world.node(), node + &control).unwrap();
        let server = Server::start(&world.node()).unwrap();
        NameServer { server, name, _world: world, _holder: holder }
    }

    /// As an agent names it in its config.
    fn written(&self) -> String {
        let (control, name) = (self.server.control().unwrap(), self.name);
        format!("{{ address = \"{control}\", name = {name:?} }}")
    }

    /// What its agents make of the site.
    fn site(&self) -> Value {
        let board: Value =
            serde_json::from_str(&self.server.get("/v1/board").unwrap().body).unwrap();
        let sites = board["inside"].as_array().unwrap();
        sites.iter().find(|site| site["site"] == "fra").unwrap().clone()
    }

    /// What it has of the VIP: state, capacity, servers that are up.
    fn inside(&self) -> Value {
        let vip = &self.site()["vips"][0];
        json!([vip["addr"], vip["state"], vip["capacity"], vip["backends_up"], vip["backends"]])
    }

    #[track_caller]
    fn until(&self, state: &str, capacity: f64, up: u32) {
        let expected = json!([VIP, state, capacity, up, 2]);
        until("the name server knows", || Ok((self.inside() == expected).then_some(())))
            .unwrap_or_else(|why| panic!("{why}: {}, expected {expected}", self.inside()));
    }
}

/// A name server, and the agent of one of its sites before two servers.
struct Story {
    // Ends first: it tells the others that it does.
    agent: Option<Process>,
    name_server: NameServer,
    ca: Ca,
    port: u16,
    holder: Holder,
    dir: TempDir,
    admin: SocketAddr,
    backends: [Backend; 2],
    /// What its config has besides.
    besides: String,
}

impl Story {
    fn begin() -> Story {
        Story::at(VIP)
    }

    fn at(vip: &str) -> Story {
        // The agent listens there at every address of its machine.
        let everywhere = TcpListener::bind("0.0.0.0:0").unwrap();
        let port = everywhere.local_addr().unwrap().port();
        let ca = Ca::new("ca");
        let name_server = NameServer::of(&ca, NODE_NAME, (vip, port));
        let holder = ca.issue("gslb://test/agent/fra-a");
        let backends = [(); 2].map(|()| Backend::start("127.0.0.1:0".parse().unwrap()).unwrap());
        let (dir, admin) = (tempfile::tempdir().unwrap(), loopback::address().unwrap());
        let besides = String::new();
        let story =
            Story { agent: None, name_server, ca, port, holder, dir, admin, backends, besides };
        story.write(&[&story.name_server]);
        story
    }

    fn config(&self) -> PathBuf {
        self.dir.path().join("site.toml")
    }

    /// Has the agent tell these.
    fn write(&self, name_servers: &[&NameServer]) {
        fs::write(self.config(), self.site(name_servers)).unwrap();
    }

    fn site(&self, name_servers: &[&NameServer]) -> String {
        let common::mtls::Files { ca, certificate, key, crl } = self.holder.files();
        let (crl, state) = (crl.unwrap(), self.dir.path().join("state"));
        let told: Vec<_> = name_servers.iter().map(|server| server.written()).collect();
        let (told, port) = (told.join(", "), self.port);
        let [first, second] = self.backends.each_ref().map(Backend::address);
        format!(
            r#"
[agent]
name        = "fra-a"
site        = "fra"
report_to   = [{told}]
ca          = {ca:?}
certificate = {certificate:?}
key         = {key:?}
crl         = {crl:?}
state_dir   = {state:?}

[admin]
listen = "{}"

[frontend.web]
bind = ["0.0.0.0:{port}"]
pool = "app"
access_log = {{ format = "off" }}

[pool.app]
check   = {{ kind = "http", path = "/", interval = "1s", timeout = "900ms", rise = 1, fall = 1 }}
servers = [
  {{ name = "a", address = "{first}", capacity = 1500 }},
  {{ name = "b", address = "{second}", capacity = 500 }},
]
{}"#,
            self.admin, self.besides
        )
    }

    fn run(&mut self) {
        let mut command = Command::new(built("site-agent").unwrap());
        command.args(["run", "--threads", "1", "--config"]).arg(self.config()).stdin(Stdio::null());
        self.agent = Some(Process::spawn(&mut command).unwrap());
    }

    #[track_caller]
    fn until(&self, state: &str, capacity: f64, up: u32) {
        self.name_server.until(state, capacity, up);
    }

    /// How many reports that name server has taken; `None` while it is not told.
    fn taken(&self, name: &str) -> Option<u64> {
        let series = format!("site_agent_reports_total{{answer=\"taken\",server={name:?}}} ");
        let metrics = self.page("/metrics");
        metrics.lines().find_map(|line| line.strip_prefix(&series)?.parse().ok())
    }

    /// What the agent tells of the VIP.
    fn told(&self) -> Value {
        let status: Value = serde_json::from_str(&self.page("/v1/status")).unwrap();
        status["told"][0].clone()
    }

    fn page(&self, path: &str) -> String {
        let url = format!("http://{}{path}", self.admin);
        let output = Command::new("curl").args(["-sS", "-m", "10", &url]).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    }
}

#[test]
fn capacity_falls_with_its_servers_and_an_agent_that_ends_says_so() {
    let mut story = Story::begin();
    story.run();
    story.until("serving", 2000.0, 2);
    let flaps = story.told()["flaps"].as_u64().unwrap();
    story.backends[0].kill();
    story.until("serving", 500.0, 1);
    story.backends[1].kill();
    story.until("empty", 0.0, 0);
    story.backends[0].revive().unwrap();
    story.until("serving", 1500.0, 1);

    let told = story.told();
    let shown = ["addr", "state", "backends_up"].map(|key| told[key].clone());
    assert_eq!(shown, [json!(VIP), json!("serving"), json!(1)], "{told}");
    assert!(told["flaps"].as_u64().unwrap() >= flaps + 2, "{told}");
    let metrics = story.page("/metrics");
    let taken = format!("site_agent_reports_total{{answer=\"taken\",server=\"{NODE_NAME}\"}} ");
    assert!(metrics.contains(&taken) && !metrics.contains(&format!("{taken}0\n")), "{metrics}");
    assert!(metrics.contains("site_agent_certificate_ok 1"), "{metrics}");

    // Whoever leaves serves nobody new; whoever comes back is believed, and knows that it was there before.
    let mut agent = story.agent.take().unwrap();
    agent.signal(Signal::TERM).unwrap();
    assert!(agent.wait().unwrap().success());
    assert_eq!(story.name_server.inside(), json!([VIP, "empty", 1500.0, 1, 2]));
    assert_eq!(fs::read_to_string(story.dir.path().join("state/inc")).unwrap(), "1");
    story.run();
    story.until("serving", 1500.0, 1);
    assert_eq!(fs::read_to_string(story.dir.path().join("state/inc")).unwrap(), "2");
}

#[test]
fn who_is_no_agent_of_the_site_is_told_what_to_do_and_balances_all_the_same() {
    let mut story = Story::begin();
    let text = fs::read_to_string(story.config()).unwrap();
    fs::write(story.config(), text.replace("\"fra\"", "\"iad\"")).unwrap();
    let mut command = Command::new(built("site-agent").unwrap());
    let log = fs::File::create(story.dir.path().join("log")).unwrap();
    command.args(["run", "--threads", "1", "--config"]).arg(story.config());
    command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
    story.agent = Some(Process::spawn(&mut command).unwrap());
    let says = "you speak for site fra, and the report is of iad";
    until("it is refused", || {
        let log = fs::read_to_string(story.dir.path().join("log"))?;
        Ok((log.contains("a name server refuses our reports") && log.contains(says)).then_some(()))
    })
    .unwrap();
    assert_eq!(story.page("/healthz"), "ok\n");
    let refused =
        format!("site_agent_reports_total{{answer=\"forbidden\",server=\"{NODE_NAME}\"}} ");
    let metrics = story.page("/metrics");
    assert!(metrics.contains(&refused) && !metrics.contains(&format!("{refused}0\n")), "{metrics}");
}

#[test]
fn what_clients_ask_is_told_with_what_is_told_anyway() {
    let mut story = Story::begin();
    story.run();
    story.until("serving", 2000.0, 2);
    let (began, before) = (monotonic(), story.taken(NODE_NAME).unwrap());
    let ask = || {
        let mut client = TcpStream::connect((VIP, story.port)).unwrap();
        client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = vec![];
        client.read_to_end(&mut answer).unwrap();
        assert!(answer.starts_with(b"HTTP/1.1 200"), "{}", answer.escape_ascii());
    };
    let load = || story.name_server.site()["vips"][0]["load"].as_f64();
    // The name server's check asks as well: once a second.
    let most = until("the load is known", || {
        (0..5).for_each(|_| ask());
        Ok(load().filter(|load| *load > 10.0))
    })
    .unwrap();
    let board = story.name_server.server.get("/v1/board?format=text").unwrap().body;
    assert!(board.contains(", is asked "), "{board}");
    until("nobody asks any more", || Ok(load().filter(|load| *load < most / 2.0))).unwrap();
    assert!(story.told()["load"].is_f64(), "{}", story.told());
    // One each two seconds, and what was still to be said of the start.
    let reports = story.taken(NODE_NAME).unwrap() - before;
    let beats = monotonic().saturating_sub(began).as_secs() / 2;
    assert!(reports <= beats + 3, "{reports} reports in {beats} beats");
}

#[test]
fn a_reload_tells_another_name_server_and_leaves_one() {
    let mut story = Story::begin();
    story.run();
    story.until("serving", 2000.0, 2);
    let other = NameServer::start(&story.ca, "test2", story.port);
    story.write(&[&story.name_server, &other]);
    story.agent.as_mut().unwrap().signal(Signal::HUP).unwrap();
    other.until("serving", 2000.0, 2);
    // Whoever stays has heard no break, and goes on to hear.
    let before = story.taken(NODE_NAME).unwrap();
    assert!(before > 0);
    story.backends[0].kill();
    story.until("serving", 500.0, 1);
    other.until("serving", 500.0, 1);
    assert!(story.taken(NODE_NAME).unwrap() > before);
    story.write(&[&other]);
    story.agent.as_mut().unwrap().signal(Signal::HUP).unwrap();
    until("it is told no more", || Ok(story.taken(NODE_NAME).is_none().then_some(()))).unwrap();
    story.backends[0].revive().unwrap();
    other.until("serving", 2000.0, 2);
    // What was told last holds until its lease ends.
    let is_silent = || story.name_server.site()["agents"][0]["standing"] == "silent";
    until("it hears nothing", || Ok(is_silent().then_some(()))).unwrap();
    assert_eq!(fs::read_to_string(story.dir.path().join("state/inc")).unwrap(), "1");
}

/// The service runs on another machine, as far as its network goes: it tells roles by a socket in the file system.
#[test]
fn the_box_that_has_the_address_says_so() {
    if peers::missing(netns::missing()) {
        return;
    }
    let mut story = Story::at("192.0.2.100");
    let (people, balancers) = (story.dir.path().join("p.sock"), story.dir.path().join("b.sock"));
    story.besides = format!(
        "[vrrp_service]\nsocket = {people:?}\nbalancer_socket = {balancers:?}\n\
         [vrrp.web]\ninterface = \"eth0\"\nvrid = 51\nvips = [\"192.0.2.100/24\"]\nprofile = \"fast\"\n"
    );
    story.write(&[&story.name_server]);
    story.run();
    until("it can be asked", || Ok(TcpStream::connect(story.admin).ok())).unwrap();
    let until_role = |role: &str, ground: &str| {
        let is = || {
            let (told, heard) = (story.told(), story.name_server.site()["vips"][0].clone());
            let is = told["vrrp"]["role"] == role && heard["ground"] == ground;
            Ok::<_, anyhow::Error>(is.then_some(()))
        };
        until(&format!("it is {role}"), is)
            .unwrap_or_else(|why| panic!("{why}: {}, {}", story.told(), story.name_server.site()));
    };
    until_role("initialize", "unowned");
    let segment = Segment::new().unwrap();
    let machine = segment.join("a", &["192.0.2.10/24"]).unwrap();
    let mut command = Command::new(built("site-agent").unwrap());
    command.args(["vrrp", "run", "--config"]).arg(story.config()).stdin(Stdio::null());
    let mut service = machine.within(|| Process::spawn(&mut command)).unwrap();
    until_role("active", "owner");
    assert_eq!(story.name_server.site()["vips"][0]["owner"], "fra-a");
    assert_eq!(story.told()["vrrp"]["vrid"], 51);
    service.signal(Signal::TERM).unwrap();
    assert!(service.wait().unwrap().success());
    until_role("initialize", "unowned");
}
