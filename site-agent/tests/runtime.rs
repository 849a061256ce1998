//! The runtime API at its socket: operators order, clients see what comes of it.

#![expect(clippy::unwrap_used, reason = "what a test cannot go on without may as well end it")]

mod world;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use common::lock::Mutex;
use site_agent::run::Agent;
use site_agent::runtime::LONGEST_LINE;
use site_agent::runtime_socket::MOST_CONNECTIONS;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpListener;
use tokio::time::timeout;
use world::operator::{Operator, ask, is_done, socket, stat, until_stat, with_socket};
use world::{Backend, LONG, Server, World, ok, until};

/// Who answers each of so many requests.
async fn answers(world: &World, count: usize) -> Vec<String> {
    let mut client = world.client().await;
    let mut all = vec![];
    for _ in 0..count {
        all.push(client.get("/").await.text().to_owned());
    }
    all
}

#[tokio::test]
async fn a_drained_server_ends_what_it_has_and_is_given_nothing_new() {
    let (a, b) = (Server::new().await, Backend::named("b").await);
    let servers = [a.at()[0], ("b", b.address)];
    let world = World::start(&with_socket("balance = \"round-robin\"", &servers)).await;
    let socket = socket(&world);
    is_done(&ask(&socket, "set server app/b state drain").await);
    let mut waiting = world.client().await;
    waiting.say("GET / HTTP/1.1\r\nHost: a.example\r\n\r\n").await;
    let (mut at_a, _) = a.asked().await;
    // One line, two orders.
    let answer = ask(&socket, "set server app/b state ready; set server app/a state drain").await;
    assert_eq!(answer, "\n\n");
    assert_eq!(stat(&socket, "a", "status").await, "DRAIN");
    assert_eq!(stat(&socket, "a", "scur").await, "1");
    assert_eq!(answers(&world, 20).await, vec!["b"; 20]);
    at_a.say(ok("a")).await;
    assert_eq!(waiting.answer().await.text(), "a");
    until_stat(&socket, "a", "scur", "0").await;
    assert_eq!(stat(&socket, "a", "stot").await, "1");
    // And back.
    is_done(&ask(&socket, "enable server app/a; disable server app/b").await);
    assert_eq!(stat(&socket, "b", "status").await, "MAINT");
    waiting.say("GET / HTTP/1.1\r\nHost: a.example\r\n\r\n").await;
    at_a.head().await;
    at_a.say(ok("again")).await;
    assert_eq!(waiting.answer().await.text(), "again");
}

#[tokio::test]
async fn a_pool_that_is_out_whole_refuses_and_serves_again() {
    let (a, b) = (Backend::named("a").await, Backend::named("b").await);
    let servers = [("a", a.address), ("b", b.address)];
    let world = World::start(&with_socket("", &servers)).await;
    let socket = socket(&world);
    is_done(&ask(&socket, "set server app/a state maint;set server app/b state maint").await);
    assert_eq!(world.client().await.get("/").await.status(), 503);
    assert_eq!(stat(&socket, "BACKEND", "status").await, "DOWN");
    is_done(&ask(&socket, "set server app/a state ready").await);
    assert_eq!(answers(&world, 4).await, vec!["a"; 4]);
}

#[tokio::test]
async fn weights_are_ordered_from_nothing_to_256() {
    let (a, b) = (Backend::named("a").await, Backend::named("b").await);
    let servers = [("a", a.address), ("b", b.address)];
    let world = World::start(&with_socket("balance = \"round-robin\"", &servers)).await;
    let socket = socket(&world);
    is_done(&ask(&socket, "set server app/a weight 0").await);
    assert_eq!(answers(&world, 20).await, vec!["b"; 20]);
    is_done(&ask(&socket, "set weight app/a 256").await);
    assert_eq!(ask(&socket, "get weight app/a").await, "256 (initial 1)\n\n");
    let of_b = answers(&world, 100).await.iter().filter(|name| *name == "b").count();
    assert!(of_b <= 2, "{of_b} of 100 for 1 of 257");
    is_done(&ask(&socket, "set weight app/a 100%").await);
    let of_b = answers(&world, 100).await.iter().filter(|name| *name == "b").count();
    assert!((49..=51).contains(&of_b), "{of_b}");
}

#[tokio::test]
async fn a_limit_is_ordered_and_who_waits_goes_when_it_is_raised() {
    let a = Server::new().await;
    let world = World::start(&with_socket("", &a.at())).await;
    let socket = socket(&world);
    is_done(&ask(&socket, "set maxconn server app/a 1").await);
    assert_eq!(stat(&socket, "a", "slim").await, "1");
    let (mut first, mut second) = (world.client().await, world.client().await);
    first.say("GET /1 HTTP/1.1\r\nHost: a.example\r\n\r\n").await;
    let (mut one, _) = a.asked().await;
    second.say("GET /2 HTTP/1.1\r\nHost: a.example\r\n\r\n").await;
    until_stat(&socket, "BACKEND", "qcur", "1").await;
    is_done(&ask(&socket, "set maxconn server app/a 2").await);
    let (mut two, head) = a.asked().await;
    assert!(head.starts_with("GET /2 "), "{head}");
    two.say(ok("two")).await;
    assert_eq!(second.answer().await.text(), "two");
    one.say(ok("one")).await;
    assert_eq!(first.answer().await.text(), "one");
}

/// An agent that says a line to whoever connects; how often it has.
async fn agent(line: &Arc<Mutex<String>>) -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (asked, line) = (Arc::new(AtomicUsize::new(0)), Arc::clone(line));
    let counted = Arc::clone(&asked);
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let said = line.lock().clone();
            let _ = stream.write_all(said.as_bytes()).await;
            counted.fetch_add(1, SeqCst);
        }
    });
    (port, asked)
}

/// Once it has been asked, and heard, from now on.
async fn until_asked(asked: &AtomicUsize) {
    // One may have been under way, and the one after next comes after the next has been heard.
    let then = asked.load(SeqCst) + 3;
    until(|| asked.load(SeqCst) >= then).await;
}

#[tokio::test]
async fn what_an_operator_ordered_no_agent_takes_back() {
    let a = Backend::named("a").await;
    let line = Arc::new(Mutex::new("up ready\n".to_owned()));
    let (port, asked) = agent(&line).await;
    let pool = format!("agent_check = {{ port = {port}, interval = \"100ms\" }}");
    let world = World::start(&with_socket(&pool, &[("a", a.address)])).await;
    let socket = socket(&world);
    for (order, status) in
        [("set server app/a state drain", "DRAIN"), ("disable server app/a", "MAINT")]
    {
        is_done(&ask(&socket, order).await);
        until_asked(&asked).await;
        assert_eq!(stat(&socket, "a", "status").await, status);
    }
    is_done(&ask(&socket, "set server app/a state ready").await);
    assert_eq!(answers(&world, 1).await, ["a"]);
    // The agent's own word is another matter, and its weight gives way to the operator's.
    "drain 50%\n".clone_into(&mut line.lock());
    until_stat(&socket, "a", "status", "DRAIN (agent)").await;
    "ready 50%\n".clone_into(&mut line.lock());
    until_stat(&socket, "a", "status", "no check").await;
    is_done(&ask(&socket, "set weight app/a 7").await);
    until_asked(&asked).await;
    assert_eq!(ask(&socket, "get weight app/a").await, "7 (initial 1)\n\n");
    // In the agent's place, until its next word.
    "50%\n".clone_into(&mut line.lock());
    until_asked(&asked).await;
    is_done(&ask(&socket, "set server app/a agent down").await);
    assert_eq!(stat(&socket, "a", "status").await, "DOWN (agent)");
    until_asked(&asked).await;
    assert_eq!(stat(&socket, "a", "status").await, "DOWN (agent)");
    "up\n".clone_into(&mut line.lock());
    until_stat(&socket, "a", "status", "no check").await;
}

#[tokio::test]
async fn who_is_in_maintenance_is_not_looked_at() {
    let (a, b) = (Backend::named("a").await, Backend::named("b").await);
    let check = "check = { kind = \"http\", interval = \"500ms\", timeout = \"490ms\" }";
    let servers = [("a", a.address), ("b", b.address)];
    let world = World::start(&with_socket(check, &servers)).await;
    let socket = socket(&world);
    until_stat(&socket, "BACKEND", "act", "2").await;
    is_done(&ask(&socket, "set server app/a state maint").await);
    let (looks_of_a, looks_of_b) = (a.requests(), b.requests());
    until(|| b.requests() >= looks_of_b + 4).await;
    // One may have been under way.
    assert!(a.requests() <= looks_of_a + 1, "{looks_of_a} and then {}", a.requests());
    // What it had come to holds, and it is looked at again.
    let looks_of_a = a.requests();
    is_done(&ask(&socket, "set server app/a state ready").await);
    assert_eq!(stat(&socket, "a", "act").await, "1");
    assert!(stat(&socket, "a", "status").await.starts_with("UP"));
    until(|| a.requests() > looks_of_a + 1).await;
    until_stat(&socket, "a", "status", "UP").await;
}

#[tokio::test]
async fn who_was_in_maintenance_for_a_moment_is_looked_at_at_once() {
    let (a, b) = (Backend::named("a").await, Backend::named("b").await);
    let line = Arc::new(Mutex::new("up ready\n".to_owned()));
    let (port, _) = agent(&line).await;
    // One look, and then none for long.
    let pool = format!(
        "check = {{ kind = \"http\", interval = \"1h\", timeout = \"5s\" }}
         agent_check = {{ port = {port}, interval = \"100ms\" }}"
    );
    let world = World::start(&with_socket(&pool, &[("a", a.address), ("b", b.address)])).await;
    let socket = socket(&world);
    until_stat(&socket, "BACKEND", "act", "2").await;
    let (looks_of_a, looks_of_b) = (a.requests(), b.requests());
    is_done(&ask(&socket, "disable server app/a; enable server app/a").await);
    until(|| a.requests() > looks_of_a).await;
    assert_eq!(b.requests(), looks_of_b);
    // And if it is the agent that says so.
    "maint\n".clone_into(&mut line.lock());
    until_stat(&socket, "b", "status", "MAINT").await;
    "ready\n".clone_into(&mut line.lock());
    until(|| b.requests() > looks_of_b).await;
}

#[tokio::test]
async fn health_is_ordered_until_looks_say_otherwise() {
    let a = Backend::named("a").await;
    // One look, and then none for long.
    let check = "check = { kind = \"http\", interval = \"1h\", timeout = \"1s\" }";
    let world = World::start(&with_socket(check, &[("a", a.address)])).await;
    let socket = socket(&world);
    until_stat(&socket, "a", "status", "UP").await;
    is_done(&ask(&socket, "set server app/a health down").await);
    assert_eq!(stat(&socket, "a", "status").await, "DOWN");
    assert_eq!(world.client().await.get("/").await.status(), 503);
    is_done(&ask(&socket, "set server app/a health stopping").await);
    assert_eq!(stat(&socket, "a", "status").await, "NOLB");
    is_done(&ask(&socket, "set server app/a health up").await);
    assert_eq!(answers(&world, 1).await, ["a"]);
    assert_eq!(stat(&socket, "a", "check_health").await, "4");
}

#[tokio::test]
async fn lines_are_bounded_and_half_an_order_is_none() {
    let a = Backend::named("a").await;
    let world = World::start(&with_socket("", &[("a", a.address)])).await;
    let socket = socket(&world);
    let version = format!("{}\n\n", env!("CARGO_PKG_VERSION"));
    let padded = format!("{:LONGEST_LINE$}", "show version");
    assert_eq!(ask(&socket, &padded).await, version);
    let refused = "A line has more than 16384 octets: nothing of it is done.\n\n";
    assert_eq!(ask(&socket, &format!("{padded} ")).await, refused);
    assert_eq!(ask(&socket, "set server app/a state off; show version").await.lines().count(), 4);
    // Without its end it may be half of what was meant.
    let mut cut = Operator::connect(&socket).await;
    cut.say("set weight app/a 2").await;
    cut.0.shutdown().await.unwrap();
    assert_eq!(cut.hears("").await, "");
    assert_eq!(ask(&socket, "get weight app/a").await, "1 (initial 1)\n\n");
    // What comes at once is answered at once.
    let mut both = Operator::connect(&socket).await;
    both.say("show version\nshow version\n").await;
    assert_eq!(both.hears("").await, [version.as_str(); 2].concat());
    assert_eq!(ask(&socket, "quit").await, "");
}

#[tokio::test]
async fn an_answer_is_taken_before_the_next_command_is_carried_out() {
    let a = Backend::named("a").await;
    let world = World::start(&with_socket("", &[("a", a.address)])).await;
    let socket = socket(&world);
    // Answers of some megabytes, of which the kernel holds a few hundred kilobytes while nobody reads.
    let stats = "show stat;".repeat(1500);
    let line = format!("set weight app/a 2;{stats}set weight app/a 3");
    assert!(line.len() <= LONGEST_LINE);
    let mut operator = Operator::connect(&socket).await;
    operator.say(format!("{line}\n")).await;
    until_stat(&socket, "a", "weight", "2").await;
    for _ in 0..20 {
        assert_eq!(stat(&socket, "a", "weight").await, "2");
    }
    assert_eq!(operator.hears("").await.matches("# pxname").count(), 1500);
    assert_eq!(stat(&socket, "a", "weight").await, "3");
    // Who leaves has ordered all the same.
    let mut operator = Operator::connect(&socket).await;
    operator.say(format!("set weight app/a 4;{stats}set weight app/a 5\n")).await;
    until_stat(&socket, "a", "weight", "4").await;
    drop(operator);
    until_stat(&socket, "a", "weight", "5").await;
}

#[tokio::test]
async fn a_prompt_goes_on_until_somebody_leaves() {
    let a = Backend::named("a").await;
    let world = World::start(&with_socket("", &[("a", a.address)])).await;
    let socket = socket(&world);
    let (mut one, mut two) = (Operator::connect(&socket).await, Operator::connect(&socket).await);
    for operator in [&mut one, &mut two] {
        operator.say("prompt\n").await;
        assert_eq!(operator.hears("> ").await, "\n> ");
    }
    one.say("set server app/a state drain\n").await;
    assert_eq!(one.hears("> ").await, "\n> ");
    two.say("get weight app/a\r\n").await;
    assert_eq!(two.hears("> ").await, "1 (initial 1)\n\n> ");
    assert_eq!(stat(&socket, "a", "status").await, "DRAIN");
    // A line that is too long is no reason to leave.
    one.say(" ".repeat(3 * LONGEST_LINE) + "\n").await;
    assert!(one.hears("> ").await.starts_with("A line has more than"));
    one.say("set server app/a state ready;show version\n").await;
    assert!(one.hears("\n\n> ").await.starts_with("\n> "));
    one.say("quit\n").await;
    assert_eq!(one.hears("").await, "");
    // Turned off, it ends with its line.
    two.say("prompt;show version\n").await;
    assert_eq!(two.hears("").await, format!("\n{}\n\n", env!("CARGO_PKG_VERSION")));
}

#[tokio::test]
async fn so_many_may_be_there_and_one_more_is_told_so() {
    let a = Backend::named("a").await;
    let world = World::start(&with_socket("", &[("a", a.address)])).await;
    let socket = socket(&world);
    let mut all = vec![];
    for _ in 0..MOST_CONNECTIONS {
        let mut operator = Operator::connect(&socket).await;
        operator.say("prompt\n").await;
        operator.hears("> ").await;
        all.push(operator);
    }
    let mut more = Operator::connect(&socket).await;
    assert!(more.hears("").await.starts_with("Too many connections: 16 are there already."));
    all.pop();
    // Whoever has left is noticed, soon.
    let wait = async {
        loop {
            let mut operator = Operator::connect(&socket).await;
            if operator.0.write_all(b"show version\n").await.is_ok()
                && !operator.hears("").await.starts_with("Too many")
            {
                break;
            }
        }
    };
    timeout(LONG, wait).await.unwrap();
}

#[tokio::test]
async fn a_socket_is_one_processs_and_goes_with_it() {
    let a = Backend::named("a").await;
    let text =
        with_socket("", &[("a", a.address)]).replace("[runtime]\n", "[runtime]\nmode = \"0660\"\n");
    let dir = tempfile::tempdir().unwrap();
    let (file, path) = (dir.path().join("site.toml"), dir.path().join("admin.sock"));
    let write = |text: &str| {
        fs::write(&file, text.replace("FRONT", &world::address().to_string())).unwrap();
    };
    let load = || site_agent::config::load(&file).unwrap_or_else(|why| panic!("{why}"));
    let start = async || {
        write(&text);
        Agent::start(load(), 1).await
    };
    // What a dead process has left is in nobody's way.
    drop(UnixListener::bind(&path).unwrap());
    let agent = start().await.unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o660);
    let refused = start().await.err().unwrap().to_string();
    assert!(refused.contains("another process listens there"), "{refused}");
    assert_eq!(ask(&path, "show backend").await, "# name\napp\n\n");
    agent.stop(LONG).await;
    until(|| !path.exists()).await;
    let read = load();
    fs::write(&path, "somebody's").unwrap();
    let refused = Agent::start(read, 1).await.err().unwrap().to_string();
    assert!(refused.contains("is a file that is no socket"), "{refused}");
    assert_eq!(fs::read(&path).unwrap(), b"somebody's");
    // Whose a folder would be is not ours to say.
    write(&text.replace("admin.sock", "run/admin.sock"));
    let refused = Agent::start(load(), 1).await.err().unwrap().to_string();
    assert!(refused.contains("its folder is not there"), "{refused}");
    assert!(!dir.path().join("run").exists());
}

#[tokio::test]
async fn orders_survive_a_reload() {
    let (a, b) = (Backend::named("a").await, Backend::named("b").await);
    let servers = [("a", a.address), ("b", b.address)];
    let text = with_socket("", &servers);
    let mut world = World::start(&text).await;
    let socket = socket(&world);
    let order = "set server app/a state drain; set weight app/b 7; set maxconn server app/b 9";
    is_done(&ask(&socket, order).await);
    // Another pool setting, and another socket, which waits for the next start.
    let another = text.replace("[pool.app]", "[pool.app]\nslow_start = \"1s\"");
    world.reload(&another.replace("admin.sock", "other.sock"));
    assert_eq!(world.agent.shown().upstreams[0].config.slow_start, Some(Duration::from_secs(1)));
    assert!(!world.dir.path().join("other.sock").exists());
    assert_eq!(stat(&socket, "a", "status").await, "DRAIN");
    assert_eq!(stat(&socket, "b", "weight").await, "7");
    assert_eq!(stat(&socket, "b", "slim").await, "9");
    assert_eq!(answers(&world, 10).await, vec!["b"; 10]);
    // An order about what the config now says otherwise is over.
    let b_of_5 = format!("name = \"b\", address = \"{}\"", b.address);
    world.reload(&another.replace(&b_of_5, &format!("{b_of_5}, weight = 5")));
    assert_eq!(ask(&socket, "get weight app/b").await, "5 (initial 5)\n\n");
    assert_eq!(stat(&socket, "a", "status").await, "DRAIN");
}

#[tokio::test]
async fn who_may_only_look_changes_nothing() {
    let a = Backend::named("a").await;
    let text = with_socket("", &[("a", a.address)])
        .replace("[runtime]\n", "[runtime]\nlevel = \"user\"\n");
    let world = World::start(&text).await;
    let socket = socket(&world);
    let answer = ask(&socket, "set server app/a state maint; get weight app/a").await;
    assert!(answer.starts_with("Permission denied"), "{answer}");
    assert!(answer.ends_with("\n\n1 (initial 1)\n\n"), "{answer}");
    assert_eq!(answers(&world, 1).await, ["a"]);
}
