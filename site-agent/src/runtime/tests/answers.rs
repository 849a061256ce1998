//! Answers about pools as they are.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use common::streak::Progress;

use crate::backends::{Checked, Event};
use crate::config;
use crate::ids::ServerId;
use crate::runtime::{Command, PoolView, Process, Tell, View, commands};
use crate::site::{Level, Site};
use crate::upstream::Upstream;
use crate::worker::Traffic;

const START: Duration = Duration::from_secs(1000);

struct World {
    site: Site,
    upstreams: Vec<Upstream>,
}

impl World {
    fn new(text: &str) -> World {
        let read = config::from_str(text, Path::new("/"));
        let read =
            read.unwrap_or_else(|problems| panic!("{}", problems.render(config::Colour::Never)));
        let pools = read.site.pools.iter().cloned().map(Arc::new);
        let upstreams = pools.map(|pool| Upstream::new(pool, START)).collect();
        World { site: read.site, upstreams }
    }

    /// One frontend, one pool of three; `b` and `c` are looked at.
    fn usual() -> World {
        World::new(
            "[frontend.web]\nbind = [\"127.0.0.1:80\"]\npool = \"app\"\n[pool.app]\nbalance = \"round-robin\"\n\
             agent_check = { port = 99 }\nservers = [\n\
             { name = \"a\", address = \"127.0.0.1:1\", weight = 10 },\n\
             { name = \"b\", address = \"127.0.0.1:2\", max_connections = 5, check = { kind = \"tcp\" } },\n\
             { name = \"c\", address = \"[::1]:3\", backup = true, check = { kind = \"http\", port = 8 } },\n]\n",
        )
    }

    fn at(&self, seconds: u64, line: &str) -> String {
        let words = commands(line).remove(0);
        let question = match Command::parse(&words, Level::Admin) {
            Ok(Command::Question(question)) => question,
            Ok(Command::Order(order)) => {
                let upstream = &self.upstreams[0];
                let mut servers = upstream.told().into_iter().enumerate();
                let (place, told) =
                    servers.find(|(_, told)| *told.server.name == *order.whom.server).unwrap();
                return match order.asked.of(&told.known) {
                    Ok(Tell::Backends(event)) => {
                        let now = START + Duration::from_secs(seconds);
                        upstream.on_event(now, ServerId(place), event);
                        String::new()
                    }
                    Ok(Tell::Rounds(belief)) => format!("rounds: {belief:?}"),
                    Err(refusal) => refusal.to_string(),
                };
            }
            other => panic!("{line}: {other:?}"),
        };
        let process = Process {
            version: "1.2.3",
            pid: 77,
            threads: 4,
            node: Some("fra-a".into()),
            started: START,
            started_at: 1_700_000_000,
        };
        let pool = |upstream: &Upstream| PoolView {
            config: Arc::clone(&upstream.config),
            standing: upstream.shown().standing.clone(),
            turns: upstream.shown().turns,
            waiting: upstream.waiting(),
            answers: upstream.answers.load(),
            servers: upstream.told().into_iter().map(|told| (told, None)).collect(),
        };
        let frontends: Vec<_> = self
            .site
            .frontends
            .iter()
            .map(|frontend| (Arc::new(frontend.clone()), Arc::new(Traffic::default())))
            .collect();
        let view = View {
            process: &process,
            now: START + Duration::from_secs(seconds),
            frontends: &frontends,
            pools: self.upstreams.iter().map(pool).collect(),
        };
        question.answer(&view).unwrap_or_else(|refusal| refusal.to_string())
    }

    /// The fields of a server's line in `show servers state`.
    fn state(&self, seconds: u64, server: &str) -> String {
        let text = self.at(seconds, "show servers state app");
        let mut lines = text.lines().map(|line| line.split(' ').collect::<Vec<_>>());
        let line = lines.find(|line| line.get(3) == Some(&server)).unwrap();
        line[5..15].join(" ")
    }

    /// A field of `show stat`.
    fn stat(&self, seconds: u64, name: &str, column: &str) -> String {
        let text = self.at(seconds, "show stat");
        let mut lines = text.lines().map(|line| line.trim_start_matches("# ").split(',').collect());
        let header: Vec<&str> = lines.next().unwrap();
        let place = header.iter().position(|known| *known == column).unwrap();
        let row: Vec<&str> = lines.find(|row: &Vec<&str>| row[1] == name).unwrap();
        assert_eq!(row.len(), header.len(), "{text}");
        row[place].to_owned()
    }
}

#[test]
fn a_weight_is_told_beside_the_configured_one() {
    let world = World::usual();
    assert_eq!(world.at(0, "get weight app/a"), "10 (initial 10)\n");
    for (order, told) in [
        ("set weight app/a 50%", "5 (initial 10)\n"),
        ("set weight app/a 3000%", "256 (initial 10)\n"),
        ("set weight app/a 0", "0 (initial 10)\n"),
        ("set weight app/a 256", "256 (initial 10)\n"),
        // Less than a unit is something all the same.
        ("set weight app/a 1%", "1 (initial 10)\n"),
        ("set weight app/a 100%", "10 (initial 10)\n"),
    ] {
        assert_eq!(world.at(0, order), "");
        assert_eq!(world.at(0, "get weight app/a"), told, "{order}");
    }
    assert_eq!(world.at(0, "get weight app/x"), "No such server.");
    assert_eq!(world.at(0, "get weight x/a"), "No such backend.");
}

#[test]
fn states_are_haproxys_numbers() {
    let world = World::usual();
    let text = world.at(0, "show servers state");
    let mut lines = text.lines();
    assert_eq!(lines.next(), Some("1"));
    assert!(
        lines.next().unwrap().starts_with("# be_id be_name srv_id srv_name srv_addr srv_op_state")
    );
    assert_eq!(
        lines.next(),
        Some("3 app 1 a 127.0.0.1 2 0 10 10 0 1 0 0 0 22 0 0 - 1 - 0 0 - - 99")
    );
    assert_eq!(lines.next(), Some("3 app 2 b 127.0.0.1 0 0 1 1 0 1 0 1 6 22 0 0 - 2 - 0 0 - - 99"));
    assert_eq!(lines.next(), Some("3 app 3 c ::1 0 0 1 1 0 1 0 1 6 22 0 0 - 3 - 0 8 - - 99"));
    assert_eq!(lines.next(), None);
    assert_eq!(world.at(0, "show servers state nope"), "Can't find backend.");
    // Operation, order, weights, since, then the look's status, result and health, then what is enabled.
    world.at(10, "set server app/a state drain");
    assert_eq!(world.state(15, "a"), "2 8 10 10 5 1 0 0 0 22");
    world.at(20, "set server app/a state maint");
    assert_eq!(world.state(27, "a"), "0 1 10 10 7 1 0 0 8 22");
    world.at(30, "set server app/a agent down");
    world.at(30, "set server app/a state ready");
    assert_eq!(world.state(31, "a"), "0 0 10 10 1 1 0 0 0 22");
    world.at(40, "set server app/a agent up");
    assert_eq!(world.state(40, "a"), "2 0 10 10 0 1 0 0 0 22");
    world.at(40, "disable server app/b");
    assert_eq!(world.state(40, "b"), "0 1 1 1 0 1 0 1 14 22");
}

#[test]
fn an_agents_order_is_told_as_forced_and_does_not_undo_an_operators() {
    use crate::backends::{Administrative, By};
    let world = World::usual();
    let agent = |to| {
        world.upstreams[0].on_event(START, ServerId(0), Event::Order { by: By::Agent, to });
    };
    agent(Administrative::Drain);
    assert_eq!(world.state(0, "a"), "2 8 10 10 0 1 0 0 0 22");
    agent(Administrative::Ready);
    assert_eq!(world.state(0, "a"), "2 0 10 10 0 1 0 0 0 22");
    world.at(0, "set server app/a state maint");
    agent(Administrative::Ready);
    world.upstreams[0].on_event(START, ServerId(0), Event::AgentUp);
    assert_eq!(world.state(0, "a"), "0 1 10 10 0 1 0 0 8 22");
    // An operator's word replaces the agent's.
    agent(Administrative::Maint);
    world.at(0, "set server app/a state ready");
    assert_eq!(world.state(0, "a"), "2 0 10 10 0 1 0 0 0 22");
}

#[test]
fn numbers_stand_in_haproxys_columns() {
    let world = World::usual();
    let text = world.at(0, "show stat");
    let names: Vec<&str> =
        text.lines().skip(1).map(|line| line.split(",,").next().unwrap()).collect();
    assert_eq!(names.len(), 5);
    assert!(text.starts_with("# pxname,svname,qcur,qmax,scur,smax,slim,stot,bin,bout,"));
    for (name, column, value) in [
        ("FRONTEND", "pxname", "web"),
        ("FRONTEND", "type", "0"),
        ("FRONTEND", "iid", "2"),
        ("FRONTEND", "status", "OPEN"),
        ("FRONTEND", "slim", "20000"),
        ("a", "status", "no check"),
        ("a", "act", "1"),
        ("a", "weight", "10"),
        ("a", "addr", "127.0.0.1:1"),
        ("a", "check_status", ""),
        ("a", "sid", "1"),
        ("b", "status", "DOWN 1/2"),
        ("b", "slim", "5"),
        ("b", "check_status", "INI"),
        ("b", "check_rise", "2"),
        ("b", "check_fall", "3"),
        ("c", "bck", "1"),
        ("c", "act", "0"),
        ("c", "addr", "[::1]:3"),
        ("BACKEND", "status", "UP"),
        ("BACKEND", "act", "1"),
        ("BACKEND", "weight", "10"),
        ("BACKEND", "algo", "roundrobin"),
        ("BACKEND", "type", "1"),
    ] {
        assert_eq!(world.stat(0, name, column), value, "{column} of {name}");
    }
    world.at(0, "set maxconn server app/b 9");
    assert_eq!(world.stat(0, "b", "slim"), "9");
    world.at(0, "set server app/a state maint");
    assert_eq!(world.stat(4, "a", "status"), "MAINT");
    assert_eq!(world.stat(4, "a", "lastchg"), "4");
    // Who was never looked at serves for want of others.
    assert_eq!(world.stat(4, "BACKEND", "status"), "UP");
    world.at(0, "set server app/b state maint");
    world.at(0, "set server app/c state maint");
    assert_eq!(world.stat(4, "BACKEND", "status"), "DOWN");
    for (column, value) in [("lastchg", "4"), ("chkdown", "1"), ("lastsess", "-1")] {
        assert_eq!(world.stat(4, "BACKEND", column), value, "{column}");
    }
    world.at(10, "set server app/a state ready");
    for (column, value) in [("lastchg", "2"), ("chkdown", "1")] {
        assert_eq!(world.stat(12, "BACKEND", column), value, "{column}");
    }
    world.at(20, "set server app/b state ready");
    world.at(20, "set server app/c state ready");
    world.at(20, "set server app/a state maint");
    for (line, rows) in [
        ("show stat -1 -1 -1", 5),
        ("show stat app -1 -1", 4),
        ("show stat 3 4 -1", 3),
        ("show stat app 4 2", 1),
        ("show stat app 6 2", 2),
        ("show stat web 7 -1", 1),
        ("show stat 99 7 -1", 0),
        // `a` is in maintenance, `b` and `c` are on their way up.
        ("show stat no-maint", 4),
        ("show stat up", 4),
        ("show stat app 4 -1 up no-maint", 2),
        ("show stat app 4 1 no-maint # and no more", 0),
    ] {
        assert_eq!(world.at(0, line).lines().count(), rows + 1, "{line}");
    }
    let progress = Progress { streak: 0, need: 2 };
    world.upstreams[0].on_event(START, ServerId(1), Event::Check { to: Checked::Down, progress });
    for (line, rows) in [("show stat no-maint", 4), ("show stat up", 3)] {
        assert_eq!(world.at(0, line).lines().count(), rows + 1, "{line}");
    }
    for line in ["show stat x 7 -1", "show stat 0 7 -1"] {
        assert_eq!(world.at(0, line), "No such proxy.", "{line}");
    }
}

#[test]
fn an_order_is_about_what_the_server_has() {
    let world = World::usual();
    assert_eq!(world.at(0, "set server app/b health down"), "rounds: Down");
    assert!(
        world.at(0, "set server app/a health down").starts_with("health checks are not enabled")
    );
    let alone = World::new(
        "[frontend.web]\nbind = [\"127.0.0.1:80\"]\npool = \"app\"\n[pool.app]\n\
         servers = [{ name = \"a\", address = \"127.0.0.1:1\" }]\n",
    );
    assert_eq!(
        alone.at(0, "set server app/a agent up"),
        "agent checks are not enabled on this server."
    );
}

#[test]
fn the_process_tells_what_it_knows_of_itself() {
    let world = World::usual();
    assert_eq!(world.at(0, "show version"), "1.2.3\n");
    assert_eq!(world.at(0, "show backend"), "# name\napp\n");
    let info = world.at(90_061, "show info");
    for line in [
        "Name: site-agent",
        "Pid: 77",
        "Nbthread: 4",
        "Uptime: 1d 1h01m01s",
        "Uptime_sec: 90061",
        "node: fra-a",
    ] {
        assert!(info.lines().any(|told| told == line), "no {line} in {info}");
    }
}
