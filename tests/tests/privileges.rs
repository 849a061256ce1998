//! Who is started as root becomes the configured user for good, and keeps nothing that binding takes.

#![expect(clippy::unwrap_used, reason = "what a test cannot go on without may as well end it")]

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::net::SocketAddr;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::process::{Command, Stdio};

use gslb_tests::peers;
use gslb_tests::resolver::{Resolver, Stream, plain_query};
use gslb_tests::server::{Server, program, run};
use gslb_tests::world::{EVERY_STEP, World};
use hickory_proto::rr::{Name, RecordType};
use rustix::process::Signal;

/// A user and group that every Debian has, with one number.
const USER: &str = "nobody";
const GROUP: &str = "nogroup";
const NUMBER: u32 = 65_534;

fn left_out() -> bool {
    peers::missing((!rustix::process::geteuid().is_root()).then_some("we are not root"))
}

/// A low port on a loopback address that no other process has.
fn low_port(test: u8) -> SocketAddr {
    let pid = std::process::id();
    ([127, test, (pid >> 8) as u8, (pid | 1) as u8], 53).into()
}

/// Readable for everybody; the state directory and that of the socket are missing.
fn world(who: &str, listen: SocketAddr) -> World {
    let world = World::write(&EVERY_STEP).unwrap();
    fs::remove_dir(world.path("state")).unwrap();
    fs::set_permissions(world.dir(), Permissions::from_mode(0o755)).unwrap();
    let node = fs::read_to_string(world.node()).unwrap();
    let node = node
        .replace(
            "[dns]\nlisten = [\"127.0.0.1:0\"]",
            &format!("{who}\n[dns]\nlisten = [\"{listen}\"]"),
        )
        .replace("\"admin.sock\"", "\"run/admin.sock\"");
    assert!(node.contains(&listen.to_string()) && node.contains("run/admin"), "{node}");
    fs::write(world.node(), node).unwrap();
    world
}

fn answers(server: &Server) {
    let asked = plain_query(&Name::from_ascii("www.example.com.").unwrap(), RecordType::A).unwrap();
    assert!(Resolver::of(server.dns()).unwrap().ask(&asked).unwrap().len() > asked.len());
    assert!(Stream::to(server.dns()).unwrap().ask(&asked).unwrap().is_some());
}

/// What the kernel says of each thread.
fn threads(server: &mut Server) -> Vec<BTreeMap<String, String>> {
    let tasks = fs::read_dir(format!("/proc/{}/task", server.pid())).unwrap();
    let status = |task: std::io::Result<fs::DirEntry>| {
        let text = fs::read_to_string(task.unwrap().path().join("status")).unwrap();
        let lines = text.lines().filter_map(|line| line.split_once(":\t"));
        lines.map(|(key, value)| (key.to_owned(), value.trim().to_owned())).collect()
    };
    tasks.map(status).collect()
}

/// That each thread is the user and can do nothing that others cannot.
fn nothing_is_left(server: &mut Server, also: &[(&str, &str)]) {
    let threads = threads(server);
    assert!(threads.len() > 3, "{threads:#?}");
    let number = NUMBER.to_string();
    let four = [&*number; 4].join("\t");
    let none = "0000000000000000";
    let expected = [
        ("Uid", &*four),
        ("Gid", &four),
        ("CapInh", none),
        ("CapPrm", none),
        ("CapEff", none),
        ("CapAmb", none),
        ("NoNewPrivs", "1"),
    ];
    for thread in &threads {
        for (key, value) in expected.iter().chain(also) {
            assert_eq!(thread.get(*key).map(String::as_str), Some(*value), "{key} of {thread:#?}");
        }
    }
}

/// The command as that user, who may bind low ports if `capabilities` say so.
fn as_user(world: &World, capabilities: &[&str]) -> Command {
    // Where it was built that user may not be let in.
    let own = world.path("gslb-dns");
    fs::copy(program().unwrap(), &own).unwrap();
    let mut command = Command::new("setpriv");
    command.args([&format!("--reuid={USER}"), &format!("--regid={GROUP}"), "--clear-groups"]);
    command.args(capabilities).arg(own).current_dir("/");
    command
}

#[test]
fn root_becomes_the_user_before_it_answers() {
    if left_out() {
        return;
    }
    let listen = low_port(53);
    let world = world(&format!("user = \"{USER}\""), listen);
    let mut server = Server::start(&world.node()).unwrap();
    assert_eq!(server.dns(), listen);
    answers(&server);
    let groups = NUMBER.to_string();
    let bounded = [("Groups", &*groups), ("CapBnd", "0000000000000000")];
    nothing_is_left(&mut server, &bounded);
    for made in ["state", "state/lock", "run", "run/admin.sock"] {
        let metadata = fs::metadata(world.path(made)).unwrap();
        assert_eq!((metadata.uid(), metadata.gid()), (NUMBER, NUMBER), "{made}");
    }

    // It reads again as that user.
    let zone = world.path("example.com.zone");
    let text = fs::read_to_string(&zone).unwrap();
    fs::write(&zone, format!("{text}\nreloaded 60 TXT \"yes\"\n")).unwrap();
    server.signal(Signal::HUP).unwrap();
    server.wait_for_log("reloaded: the world has changed").unwrap();
    fs::set_permissions(&zone, Permissions::from_mode(0o600)).unwrap();
    server.signal(Signal::HUP).unwrap();
    let refused = server.wait_for_log("reload refused").unwrap().to_string();
    assert!(refused.contains("as user nobody"), "{refused}");
    answers(&server);
    nothing_is_left(&mut server, &bounded);

    // Which the check sees before, though root asks.
    let node = world.node();
    let arguments = ["check", "--config", node.to_str().unwrap()];
    let checked = run(arguments).unwrap();
    assert_eq!(checked.code, Some(1), "{checked:?}");
    assert!(checked.stderr.contains("as user nobody"), "{}", checked.stderr);
    fs::set_permissions(&zone, Permissions::from_mode(0o644)).unwrap();
    assert_eq!(run(arguments).unwrap().code, Some(0));
    assert!(server.stop().unwrap().success());
    // It could remove what it had made.
    assert!(!world.path("run/admin.sock").exists());
}

#[test]
fn the_right_to_bind_low_ports_is_given_up() {
    if left_out() {
        return;
    }
    let listen = low_port(54);
    // Named or not, that user is who runs already.
    for who in ["", "user = \"nobody\"\ngroup = \"nogroup\""] {
        let world = world(who, listen);
        for dir in ["state", "run"] {
            fs::create_dir(world.path(dir)).unwrap();
            chown(world.path(dir), Some(NUMBER), Some(NUMBER)).unwrap();
        }
        let may_bind = ["--inh-caps=+net_bind_service", "--ambient-caps=+net_bind_service"];
        let mut server = Server::start_as(as_user(&world, &may_bind), &world.node()).unwrap();
        assert_eq!(server.dns(), listen);
        answers(&server);
        nothing_is_left(&mut server, &[("Groups", "")]);
        assert!(server.stop().unwrap().success());
    }
}

#[test]
fn who_cannot_become_the_user_does_not_start() {
    if left_out() {
        return;
    }
    let listen = low_port(55);
    let check = |who: &str, expected: &str| {
        let world = world(who, listen);
        let node = world.node();
        let started = run(["run", "--config", node.to_str().unwrap()]).unwrap();
        assert_eq!(started.code, Some(1), "{started:?}");
        assert!(started.stderr.contains(expected), "{}", started.stderr);
        assert!(!world.path("state").exists());
    };
    check("user = \"no-such-user\"", "this machine has no such user");
    check("user = \"nobody\"\ngroup = \"no-such-group\"", "this machine has no such group");
    check("user = \"root\"", "root by another name");
    check("group = \"nogroup\"", "stands without user");

    let world = world("user = \"daemon\"", listen);
    let started = as_user(&world, &[])
        .args(["run", "--config"])
        .arg(world.node())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert_eq!(started.status.code(), Some(1));
    let said = String::from_utf8(started.stderr).unwrap();
    assert!(said.contains("started by user \"nobody\", who can become nobody else"), "{said}");
}

#[test]
fn root_that_stays_root_is_warned_of() {
    if left_out() {
        return;
    }
    let world = world("", low_port(56));
    // So that it ends by itself.
    fs::remove_file(world.path("world.toml")).unwrap();
    let ended = run(["run", "--config", world.node().to_str().unwrap()]).unwrap();
    assert!(ended.stderr.contains("running as root: create a user"), "{}", ended.stderr);
}
