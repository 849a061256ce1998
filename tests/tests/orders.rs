//! Orders by command, as an operator gives them: in force at once, on disk first, traced, refused with a
//! reason, and only from those who may.

#![expect(clippy::unwrap_used, reason = "what a test cannot go on without may as well end it")]

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use common::clock::now;
use gslb_tests::peers;
use gslb_tests::resolver::{Resolver, query};
use gslb_tests::server::{Finished, Server, program, run};
use gslb_tests::wait::until;
use gslb_tests::world::{EVERY_STEP, World};
use hickory_proto::op::Message;
use hickory_proto::rr::{Name, RecordType};
use jiff::SignedDuration;
use rustix::process::Signal;
use serde_json::Value;

/// Served by fra and iad, in this order: see `failover.example.com` in the world.
const FIRST: &str = "country.example.com";

struct Site {
    world: World,
    server: Server,
}

impl Site {
    fn start() -> Site {
        let world = World::write(&EVERY_STEP).unwrap();
        let server = Server::start(&world.node()).unwrap();
        Site { world, server }
    }

    /// Runs `gslb-dns` with these words against the server.
    fn say(&self, words: &str, why: Option<&str>) -> Finished {
        let node = self.world.node();
        let words = words.split_whitespace().map(str::to_owned);
        let why = why.map(|why| ["--why".to_owned(), why.to_owned()]);
        let config = ["--config".to_owned(), node.display().to_string()];
        run(words.chain(why.into_iter().flatten()).chain(config)).unwrap()
    }

    /// An order that is taken; returns what it says of itself.
    fn order(&self, words: &str) -> String {
        let done = self.say(words, Some("test"));
        assert_eq!((done.code, done.stderr.as_str()), (Some(0), ""), "{words}");
        done.stdout
    }

    /// An order that is not taken; returns why.
    fn refused(&self, words: &str) -> String {
        let done = self.say(words, Some("test"));
        assert_eq!((done.code, done.stdout.as_str()), (Some(1), ""), "{words}");
        done.stderr
    }

    /// The IPv4 address that a German client is told.
    fn told(&self, service: &str) -> String {
        let name = Name::from_ascii(format!("{service}.")).unwrap();
        let subnet = "81.2.69.0/24".parse().unwrap();
        let mut resolver = Resolver::of(self.server.dns()).unwrap();
        let query = query(&name, RecordType::A, Some(subnet)).unwrap();
        let answer = Message::from_vec(&resolver.ask(&query).unwrap()).unwrap();
        answer.answers[0].data.ip_addr().unwrap().to_string()
    }

    fn audit(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.world.path("state/audit.jsonl")).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    fn json(&self, words: &str) -> Value {
        let done = self.say(&format!("{words} --json"), None);
        assert_eq!(done.code, Some(0), "{done:?}");
        serde_json::from_str(&done.stdout).unwrap()
    }
}

#[test]
fn a_drain_holds_at_once_and_after_a_kill() {
    let mut site = Site::start();
    let before = site.told(FIRST);
    let receipt = site.order(&format!("drain * --service {FIRST} --anyway"));
    assert!(receipt.starts_with("1@test1  drain from "), "{receipt}");
    assert!(receipt.contains(&format!("  {FIRST}: ")), "{receipt}");
    site.order(&format!("undrain iad --service {FIRST}"));
    // The next query is answered by it: nobody has to wait for a tick.
    assert_eq!(site.told(FIRST), "192.0.2.10");

    site.server.signal(Signal::KILL).unwrap();
    site.server.wait().unwrap();
    site.server = Server::start(&site.world.node()).unwrap();
    assert_eq!(site.told(FIRST), "192.0.2.10");

    let undrained = site.order(&format!("undrain * --service {FIRST}"));
    assert!(undrained.starts_with("3@test1  undrain"), "{undrained}");
    assert_eq!(site.told(FIRST), before);
}

#[test]
fn orders_of_each_kind_do_what_they_say() {
    let mut site = Site::start();
    let fra = site.json("status");
    assert_eq!(fra["overrides_in_force"], 0);
    let standing = |site: &Site, of: &str| -> Value {
        let status = site.json("status");
        let services = status["services"].as_array().unwrap();
        let service = services.iter().find(|one| one["service"] == FIRST).unwrap();
        let sites = service["sites"].as_array().unwrap();
        sites.iter().find(|one| one["site"] == of).unwrap().clone()
    };
    site.order(&format!("force down fra --service {FIRST}"));
    assert_eq!(standing(&site, "fra")["health"], "down");
    assert_eq!(standing(&site, "fra")["why"], format!("test, says {}", me()));
    let why = site.json("status")["attention"][0].as_str().unwrap().to_owned();
    assert!(why.starts_with(&format!("site fra is down for {FIRST}: ")), "{why}");
    let told = site.server.wait_for_log("a site is down").unwrap();
    assert_eq!(told["level"], "WARN", "{told}");
    let fields = ["site", "services"].map(|name| told["fields"][name].as_str().unwrap());
    assert_eq!(fields, ["fra", FIRST], "{told}");
    site.order(&format!("force auto fra --service {FIRST}"));
    site.server.wait_for_log("a site is in another state").unwrap();
    assert_eq!(standing(&site, "fra")["health"], "unknown");
    site.order(&format!("weight 7 fra --service {FIRST}"));
    assert_eq!(standing(&site, "fra")["weight"], 7);
    assert_eq!(standing(&site, "fra")["weight_why"], format!("test, says {}", me()));
    site.order(&format!("weight auto fra --service {FIRST}"));
    assert_eq!(standing(&site, "fra")["weight"], 1);
    assert_eq!(standing(&site, "fra")["weight_why"], Value::Null);
    // A drain over time begins at once, and has all of its time before it.
    site.order(&format!("drain fra --service {FIRST} --over 1h --for 2h"));
    let leaving = standing(&site, "fra");
    assert_eq!((&leaving["duty"], &leaving["admit"]), (&"draining".into(), &0.95.into()));
    // The same in a second is seen to its end.
    site.order(&format!("drain iad --service {FIRST} --over 1s"));
    until("iad is drained", || Ok((standing(&site, "iad")["duty"] == "drained").then_some(())))
        .unwrap();
    // One that is to come changes nothing yet; one that is over changes nothing any more.
    let next_month = now().checked_add(SignedDuration::from_hours(30 * 24)).unwrap();
    site.order(&format!("drain nrt --service {FIRST} --at {next_month}"));
    assert_eq!(standing(&site, "nrt")["duty"], "serving");
    site.order(&format!("drain nrt --service {FIRST} --for 1s"));
    until("the drain of nrt is over", || {
        Ok((standing(&site, "nrt")["duty"] == "serving").then_some(()))
    })
    .unwrap();

    let all = site.json("overrides");
    let states: Vec<&str> =
        all.as_array().unwrap().iter().map(|one| one["state"].as_str().unwrap()).collect();
    let expected = [
        "outranked by 2@test1",
        "in force",
        "outranked by 4@test1",
        "in force",
        "5 % gone",
        "in force",
        "to come",
        "over",
    ];
    assert_eq!(states, expected);
    // The two drains: an end is no override that somebody forgot.
    assert_eq!(site.server.metric("gslb_dns_overrides_in_force").unwrap(), 2.0);
    let text = site.say("overrides", None).stdout;
    assert_eq!(text.lines().count(), 9, "{text}");
    assert!(text.starts_with("id"), "{text}");
    assert!(site.say("status", None).stdout.contains("draining"), "status for people");
}

/// The name under which this test gives orders.
fn me() -> String {
    let id = Command::new("id").arg("-un").output().unwrap();
    let user = String::from_utf8(id.stdout).unwrap().trim().to_owned();
    match std::env::var("SUDO_USER") {
        Ok(sudo) if user == "root" && !sudo.is_empty() && sudo != user => format!("{sudo} as root"),
        Ok(_) | Err(_) => user,
    }
}

#[test]
fn an_order_that_cannot_be_meant_is_refused() {
    let site = Site::start();
    let check = |words: &str, says: &str| {
        let told = site.refused(words);
        assert!(told.contains(says), "{words}: {told}");
    };
    check("drain frankfurt", "no site matches \"frankfurt\" (sites: ams, fra, gru, iad, jnb");
    check("drain fra --service nowhere.example.com", "no service matches \"nowhere.example.com\"");
    check("drain gru --service example.com", "no service that matches");
    check("drain *", "no site would be left to serve *.pool.example.com, alt.example.com, ");
    check("drain fra --service one.example.com", "left to serve one.example.com; if that");
    check("force down fra --service one.example.com", "--anyway");
    check("drain fra --for 60", "did you mean \"60s\"?");
    check("force asleep fra", "expected up, down, unknown or auto");
    check("drain fra --at yesterday", "is not an instant");
    let nothing = site.say("drain fra --service www.example.com", Some(" "));
    assert!(nothing.stderr.contains("why: is empty"), "{nothing:?}");
    // None of it left a trace but in the audit log.
    assert_eq!(site.json("overrides"), Value::Array(vec![]));
    assert_eq!(site.server.board_number().unwrap(), 1);
    let audit = site.audit();
    assert_eq!(audit[0]["action"], "start");
    let refused = audit[1..].iter().filter(|line| line["outcome"] == "refused").count();
    assert_eq!(refused, 10);
    assert_eq!(audit[1]["who"], me());
    assert_eq!(audit[1]["detail"]["words"]["site"], "frankfurt");
}

#[test]
fn who_ends_what_nobody_said_is_told() {
    let site = Site::start();
    let note = "while this order holds, a drain in overrides.toml is in vain there\n";
    let told = |words: &str| site.order(&format!("{words} --service {FIRST}"));
    let undrained = told("undrain fra");
    assert!(
        undrained.contains(&format!("\nnothing was drained there; {note}board ")),
        "{undrained}"
    );
    // What it says is so.
    let file = format!(
        "[[override]]\nsite = \"fra\"\nservice = \"{FIRST}\"\ndrain = true\nwho = \"kim\"\nwhy = \"test\"\n"
    );
    site.world.write_overrides(&file).unwrap();
    until("the file is read", || {
        Ok((site.json("overrides").as_array().unwrap().len() == 2).then_some(()))
    })
    .unwrap();
    assert_eq!(site.told(FIRST), "198.51.100.10");
    // That drain is outranked, so there is none to end.
    assert!(told("undrain fra").contains(note));

    assert!(!told("drain iad").contains("in vain"));
    assert!(!told("undrain *").contains("in vain"));
    assert!(told("undrain iad").contains(note));
    // One that would come back when an end for an hour is over.
    told("drain iad");
    told("undrain iad --for 1h");
    assert!(!told("undrain iad").contains("in vain"));
    // One that is to come would be ended as well.
    let next_month = now().checked_add(SignedDuration::from_hours(30 * 24)).unwrap();
    told(&format!("drain iad --at {next_month}"));
    assert!(!told("undrain iad").contains("in vain"));

    assert!(told("force auto fra").contains("nothing was forced there; "));
    told("force up fra");
    assert!(!told("force auto fra").contains("nothing"));
    assert!(told("weight auto fra").contains("no weight was ordered there; "));
    told("weight 3 fra");
    told(&format!("weight auto fra --at {next_month}"));
    assert!(!told("weight auto fra").contains("no weight"));
}

#[test]
fn a_site_that_there_is_not_is_no_empty_answer() {
    let site = Site::start();
    let check = |words: &str, more: &str| {
        let done = site.say(words, None);
        assert_eq!((done.code, &*done.stdout), (Some(1), ""), "{words}");
        let says = "no site matches \"osol\" (sites: ams, fra, gru, iad, jnb";
        assert!(done.stderr.contains(says) && done.stderr.contains(more), "{words}: {done:?}");
    };
    check("board --site osol", "");
    check("board --site osol --json", "");
    check("history --site osol", "and what was asked of history tells of none");
    let unknown = site.say("history --service shops.example.com", None);
    let says = "no service matches \"shops.example.com\" (services: ";
    assert!(unknown.code == Some(1) && unknown.stderr.contains(says), "{unknown:?}");

    let board = site.say("board --site i*", None);
    assert_eq!(board.code, Some(0), "{board:?}");
    assert!(board.stdout.contains("\n  iad "), "{}", board.stdout);
    assert!(!board.stdout.contains("\n  fra "), "{}", board.stdout);
    let all = site.json("board");
    let one = site.json("board --site iad");
    let count = |board: &Value| board["services"].as_array().unwrap().len();
    assert!(count(&one) < count(&all) && count(&one) > 0, "{one}");

    // One that history knows, and the world no more, is told of.
    let path = site.world.path("world.toml");
    let good = fs::read_to_string(&path).unwrap();
    let renamed = good.replace("site.nrt]", "site.tyo]").replace("\"nrt\"", "\"tyo\"");
    let renamed = renamed.replace("plain.example.com", "plane.example.com");
    fs::write(&path, renamed).unwrap();
    assert_eq!(site.say("reload", None).code, Some(0));
    for gone in ["--site nrt", "--service plain.example.com"] {
        let gone = site.say(&format!("history {gone}"), None);
        let told = gone.stdout.contains("no longer in the world");
        assert!(gone.code == Some(0) && told, "{gone:?}");
    }
    assert_eq!(site.say("board --site nrt", None).code, Some(1));
}

#[test]
fn who_asks_an_address_for_an_order_is_told_where_to_go() {
    for words in
        ["drain --server 127.0.0.1:8953", "weight 3 fra --server [::1]:8953", "reload --server x"]
    {
        let Finished { code, stdout, stderr } = run(words.split_whitespace()).unwrap();
        assert_eq!((code, &*stdout), (Some(2), ""), "{words}: {stderr}");
        assert!(stderr.contains("go to a name server's admin socket"), "{words}: {stderr}");
        assert!(
            stderr.contains("gslb-dns drain fra --why") && !stderr.contains("--service"),
            "{words}: {stderr}"
        );
    }
    let help = run(["drain", "--help"]).unwrap().stdout;
    assert!(help.contains("--socket") && !help.contains("--server"), "{help}");
}

#[test]
fn an_order_that_leaves_nobody_at_some_later_time_is_refused() {
    let site = Site::start();
    let after = |hours: i64| now().checked_add(SignedDuration::from_hours(hours)).unwrap();
    let service = "--service strict.example.com";
    // Each by itself leaves somebody; from the fourth hour on they would not together.
    site.order(&format!("drain fra {service} --at {}", after(1)));
    site.order(&format!("drain ams {service} --at {}", after(2)));
    site.order(&format!("drain iad {service} --at {} --for 1h", after(4)));
    let last = format!("drain nrt {service} --at {}", after(3));
    assert!(site.refused(&last).contains("left to serve strict.example.com"));
    // Over before the other begins, it is taken.
    site.order(&format!("{last} --for 30m"));
    // What another order has done already is not this one's doing.
    site.order(&format!("drain nrt {service} --anyway"));
    site.order(&format!("drain iad {service} --at {} --anyway", after(1)));
    site.order(&format!("drain fra --service www.example.com --at {}", after(6)));
}

#[test]
fn only_operators_change_things() {
    if peers::missing((!rustix::process::geteuid().is_root()).then_some("root is needed")) {
        return;
    }
    const NOBODY: u32 = 65534;
    let site = Site::start();
    let socket = site.world.path("admin.sock");
    assert_eq!(fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o660);
    // So that a stranger comes as far as the role.
    fs::set_permissions(site.world.dir(), Permissions::from_mode(0o755)).unwrap();
    let program = program().unwrap();
    let copy = site.world.path("gslb-dns");
    fs::copy(program, &copy).unwrap();
    let as_nobody = |words: &[&str]| {
        let mut command = Command::new(&copy);
        command.args(words).arg("--socket").arg(&socket).uid(NOBODY).gid(NOBODY);
        command.env("SUDO_USER", "root").output().unwrap()
    };
    let shut_out = String::from_utf8(as_nobody(&["status"]).stderr).unwrap();
    assert!(shut_out.contains("no server that you may ask at "), "{shut_out}");
    fs::set_permissions(&socket, Permissions::from_mode(0o666)).unwrap();
    assert!(as_nobody(&["status"]).status.success());
    for words in [&["drain", "fra", "--why", "mischief", "--anyway"][..], &["reload"]] {
        let done = as_nobody(words);
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        assert!(!done.status.success() && said.contains("may only read"), "{words:?}: {said}");
    }
    let audit = site.audit();
    let tried: Vec<&Value> = audit.iter().filter(|line| line["uid"] == NOBODY).collect();
    assert_eq!(tried.len(), 2, "{audit:?}");
    assert!(tried.iter().all(|line| line["outcome"] == "refused"), "{tried:?}");
    assert_eq!(site.server.board_number().unwrap(), 1);
    assert_eq!(site.server.metric("gslb_dns_reloads_total{result=\"unchanged\"}").unwrap(), 0.0);
    // The reading door takes orders from nobody.
    assert_eq!(site.server.request("POST", "/v1/overrides").unwrap().status, 403);
    assert_eq!(site.server.request("POST", "/v1/reload").unwrap().status, 403);
}

#[test]
fn a_reload_by_command_tells_what_came_of_it() {
    let site = Site::start();
    let done = site.say("reload", None);
    assert!(
        done.code == Some(0) && done.stdout.starts_with("reloaded: the world is the same\n"),
        "{done:?}"
    );
    let world = site.world.path("world.toml");
    let good = fs::read_to_string(&world).unwrap();
    fs::write(&world, good.replace("when_all_down = \"open\"", "when_all_down = \"close\""))
        .unwrap();
    let done = site.say("reload", None);
    assert_eq!(done.code, Some(1));
    assert!(done.stderr.contains("world.toml:") && done.stderr.contains("close"), "{done:?}");
    let status = site.json("status");
    assert!(status["attention"][0].as_str().unwrap().contains("refused"), "{status}");
    // A drained site under another name serves again, which somebody should know.
    site.order(&format!("drain nrt --service {FIRST}"));
    let renamed = good.replace("site.nrt]", "site.tyo]").replace("\"nrt\"", "\"tyo\"");
    fs::write(&world, renamed).unwrap();
    let done = site.say("reload", None);
    assert!(done.stdout.starts_with("reloaded: the world has changed\n"), "{done:?}");
    assert!(done.stdout.contains("ATTENTION  drain nrt of 1@test1 touches nothing"), "{done:?}");
    assert!(site.json("status")["attention"].to_string().contains("touches nothing"));
    // And what was said of it can be ended all the same.
    site.order(&format!("undrain nrt --service {FIRST}"));
    assert_eq!(site.json("status")["attention"], Value::Array(vec![]));
    fs::write(&world, good).unwrap();
    assert_eq!(site.say("reload", None).code, Some(0));
    assert_eq!(site.json("status")["attention"], Value::Array(vec![]));
    let outcomes: Vec<Value> = site.audit().iter().map(|line| line["outcome"].clone()).collect();
    assert_eq!(outcomes, ["done", "done", "refused", "done", "done", "done", "done"]);
}

#[test]
fn an_order_holds_although_the_disk_does_not_take_it() {
    let mut site = Site::start();
    // A directory where the file belongs: no permission is in root's way.
    fs::create_dir(site.world.path("state/overrides.json")).unwrap();
    let done = site.say(&format!("drain fra --service {FIRST}"), Some("test"));
    assert_eq!(done.code, Some(3), "{done:?}");
    assert!(done.stderr.contains("NOT ON DISK"), "{done:?}");
    assert_ne!(site.told(FIRST), "198.51.100.10");
    let attention = site.json("status")["attention"].to_string();
    assert!(attention.contains("cannot be written"), "{attention}");
    // Once it does, nothing is lost.
    fs::remove_dir(site.world.path("state/overrides.json")).unwrap();
    until("the order is written", || {
        Ok(site.world.path("state/overrides.json").is_file().then_some(()))
    })
    .unwrap();
    site.server.signal(Signal::KILL).unwrap();
    site.server.wait().unwrap();
    site.server = Server::start(&site.world.node()).unwrap();
    assert_eq!(site.json("overrides")[0]["id"], "1@test1");
}

#[test]
fn orders_that_cannot_be_read_keep_nobody_from_starting() {
    let mut site = Site::start();
    site.order(&format!("drain fra --service {FIRST}"));
    site.server.signal(Signal::KILL).unwrap();
    site.server.wait().unwrap();
    let kept = site.world.path("state/overrides.json");
    fs::write(&kept, "{ \"version\": 1, ").unwrap();
    site.server = Server::start(&site.world.node()).unwrap();
    assert_eq!(site.server.metric("gslb_dns_overrides_ok").unwrap(), 0.0);
    // The next order is written, and what could not be read is kept beside it.
    site.order(&format!("force up iad --service {FIRST}"));
    assert!(kept.with_extension("json.bad0").is_file());
    assert_eq!(site.server.metric("gslb_dns_overrides_ok").unwrap(), 1.0);
    assert_eq!(site.json("overrides").as_array().unwrap().len(), 1);
}
