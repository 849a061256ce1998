//! The binary as an operator meets it: commands, exit codes, messages, signals and the admin door.

use std::fs;
use std::net::{SocketAddr, UdpSocket};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use gslb_tests::resolver::{Resolver, Stream, query};
use gslb_tests::server::{Finished, Page, Server, program, run};
use gslb_tests::wait::until;
use gslb_tests::world::{EVERY_STEP, Files, World};
use hickory_proto::op::Message;
use hickory_proto::rr::{Name, RecordType};
use rustix::process::Signal;
use serde_json::Value;

const ALL_DOWN: &str = r#"
[[override]]
site  = "*"
state = "down"
who   = "test"
why   = "everything is down"
"#;

const SERVICE_DOWN: &str =
    "gslb_dns_service_failing{how=\"all_down\",service=\"strict.example.com.\"}";

#[test]
fn check_tells_a_good_config_from_a_bad_one() {
    let world = World::write(&EVERY_STEP).unwrap();
    let good = command(&["check"], &world.node());
    assert_eq!(good.code, Some(0), "{good:?}");
    // It has sites without IPv6, so there is something to warn of, and nothing more.
    assert!(good.stderr.contains("warning: static lists no IPv6 address"), "{good:?}");
    assert!(!good.stderr.contains("error"), "{good:?}");
    assert!(
        good.stdout.starts_with("no problems: zones 1, services 13, policy tests 0, epoch "),
        "{good:?}"
    );

    // Every problem, with its file, line and key, and what to do.
    let text = EVERY_STEP
        .world
        .replace("\"jnb\", \"gru\"]\nsteer = [{ fence", "\"jnb\", \"grv\"]\nsteer = [{ fance");
    assert_ne!(text, EVERY_STEP.world);
    fs::write(world.path("world.toml"), &text).unwrap();
    fs::write(world.path("node.toml"), "name = 'x'\nworld = 'world.toml'\n").unwrap();
    for verb in ["check", "run"] {
        let bad = command(&[verb], &world.node());
        assert_eq!((bad.code, bad.stdout.as_str()), (Some(1), ""), "{bad:?}");
        for expected in [
            "cluster is missing",
            "dns is missing",
            "no site named \"grv\"; did you mean \"gru\"?",
            "unknown key; did you mean fence?",
            "node.toml:1:1",
            "world.toml:66:59",
            "service.\"www.example.com\".sites[7]",
        ] {
            assert!(bad.stderr.contains(expected), "{expected}\n{}", bad.stderr);
        }
    }

    let missing = command(&["check"], &world.path("none.toml"));
    assert_eq!(missing.code, Some(1));
    assert!(
        missing.stderr.contains("none.toml") && missing.stderr.contains("cannot be read"),
        "{missing:?}"
    );
}

#[test]
fn run_says_which_port_is_taken() {
    let world = World::write(&EVERY_STEP).unwrap();
    let taken = UdpSocket::bind("127.0.0.1:0").unwrap();
    let udp = taken.local_addr().unwrap();
    let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let tcp_address = tcp.local_addr().unwrap();
    check_taken(
        &world,
        ("127.0.0.1:0\"]", &format!("{udp}\"]")),
        &format!("cannot listen on {udp} for UDP: "),
    );
    let listen = format!("{tcp_address}\"]");
    check_taken(
        &world,
        ("127.0.0.1:0\"]", &listen),
        &format!("cannot listen on {tcp_address} for TCP: "),
    );
    let admin = format!("[admin]\nlisten = \"{tcp_address}\"");
    let says = format!("cannot listen on {tcp_address} for the admin door: ");
    check_taken(&world, ("[admin]\nlisten = \"127.0.0.1:0\"", &admin), &says);
}

fn check_taken(world: &World, (from, to): (&str, &str), says: &str) {
    let node = fs::read_to_string(world.node()).expect("the node was written");
    let changed = node.replace(from, to);
    assert_ne!(changed, node);
    let other = world.path("taken.toml");
    fs::write(&other, changed).expect("the directory is ours");
    let finished = command(&["run"], &other);
    assert_eq!(finished.code, Some(1), "{finished:?}");
    let error = finished.stderr.lines().last().unwrap_or_default();
    assert!(error.contains(says), "{says}\n{finished:?}");
    assert!(error.contains("in use"), "{finished:?}");
}

#[test]
fn a_policy_test_that_fails_can_be_explained() {
    let test = "[[service.\"strict.example.com\".expect]]\nfrom = \"81.2.69.142\"\nsites = []\n";
    let text = format!("{}\n{test}", EVERY_STEP.world);
    let world = World::write(&Files { world: &text, ..EVERY_STEP }).unwrap();
    for refusing in [&["check"][..], &["run"]] {
        let refused = command(refusing, &world.node());
        assert_eq!(refused.code, Some(1), "{refused:?}");
        assert!(refused.stderr.contains("gslb-dns explain strict.example.com A"), "{refused:?}");
    }
    let explained =
        command(&["explain", "strict.example.com", "A", "--client", "81.2.69.0/24"], &world.node());
    assert_eq!(explained.code, Some(0), "{explained:?}");
}

#[test]
fn explain_asks_a_server_as_people_name_it() {
    let world = World::write(&EVERY_STEP).unwrap();
    let server = Server::start(&world.node()).unwrap();
    let (admin, dns) = (server.admin(), server.dns());
    let ask = |at: &str, more: &[&str]| {
        let words = ["explain", "www.example.com", "--resolver", "192.0.2.1", "--server", at];
        run(words.iter().chain(more).copied()).expect("the binary runs")
    };
    for at in [
        admin.to_string(),
        format!("http://{admin}/"),
        // Its first address may well be ::1, where nobody listens.
        format!("localhost:{}", admin.port()),
    ] {
        let told = ask(&at, &[]);
        assert_eq!(told.code, Some(0), "{at}: {told:?}");
        assert!(told.stdout.contains("www.example.com"), "{told:?}");
    }
    for (at, says) in [
        (dns.to_string(), "is that its admin address"),
        ("127.0.0.1:1".to_owned(), "no server at 127.0.0.1:1; its address is [admin] listen"),
        ("nowhere".to_owned(), "no server at nowhere"),
    ] {
        let told = ask(&at, &[]);
        assert_eq!((told.code, told.stdout.as_str()), (Some(1), ""), "{at}");
        assert!(told.stderr.contains(says), "{at}: {told:?}");
    }
    let both = ask(&admin.to_string(), &["--config", "node.toml"]);
    assert_eq!(both.code, Some(2), "{both:?}");
}

#[test]
fn explain_says_whether_it_reads_files_and_supposes_nothing_of_nobody() {
    let world = World::write(&EVERY_STEP).unwrap();
    let server = Server::start(&world.node()).unwrap();
    let door = server.admin().to_string();
    let node = world.node().display().to_string();
    let ask = |place: [&str; 2], more: &[&str]| {
        let words = ["explain", "www.example.com", "--resolver", "192.0.2.1"];
        run(words.iter().chain(more).chain(&place)).expect("the binary runs")
    };
    let files = ask(["--config", &node], &[]).stdout;
    let first = "from the files on disk, not a running server (--server ADDRESS or --socket PATH asks one)\n";
    assert!(files.starts_with(&format!("{first}www.example.com. A for ")), "{files}");
    let running = ask(["--server", &door], &[]).stdout;
    assert!(running.starts_with("www.example.com. A for "), "{running}");
    let json = ask(["--config", &node], &["--json"]).stdout;
    assert!(serde_json::from_str::<Value>(&json).is_ok(), "{json}");

    for place in [["--config", &node], ["--server", &door]] {
        let told = ask(place, &["--suppose", "down=fra", "--suppose", "down=osol"]);
        assert_eq!((told.code, &*told.stdout), (Some(1), ""), "{place:?}");
        let says = "no site matches \"osol\" (sites: ams, fra, gru, iad, jnb";
        assert!(told.stderr.contains(says), "{told:?}");
        assert_eq!(ask(place, &["--suppose", "down=f*"]).code, Some(0), "{place:?}");
    }
}

#[test]
fn who_asks_where_no_server_runs_is_told_so() {
    let world = World::write(&EVERY_STEP).unwrap();
    let check = || {
        let told = command(&["status"], &world.node());
        assert_eq!((told.code, &*told.stdout), (Some(1), ""));
        let says = "no server runs at ";
        assert!(told.stderr.contains(says) && !told.stderr.contains("may ask"), "{told:?}");
        told.stderr
    };
    assert!(check().contains("No such file"), "{}", check());
    // One that was killed leaves its socket.
    let mut server = Server::start(&world.node()).unwrap();
    server.signal(Signal::KILL).unwrap();
    server.wait().unwrap();
    assert!(check().contains("refused"), "{}", check());
}

#[test]
fn a_state_directory_that_cannot_be_written_keeps_nobody_from_answering() {
    let world = World::write(&EVERY_STEP).unwrap();
    // A folder where the files should be: nobody can write there, root neither.
    for file in ["lock", "last-known.json", "overrides.last-good.toml"] {
        fs::create_dir(world.path("state").join(file)).unwrap();
    }
    let server = Server::start(&world.node()).unwrap();
    let mut resolver = Resolver::of(server.dns()).unwrap();
    let answer = resolver.ask(&ask_for("www.example.com.", RecordType::A)).unwrap();
    assert_eq!(addresses(&answer), 1);
}

#[test]
fn a_state_directory_has_one_server() {
    let world = World::write(&EVERY_STEP).unwrap();
    let server = Server::start(&world.node()).unwrap();
    let second = command(&["run"], &world.node());
    assert_eq!(second.code, Some(1), "{second:?}");
    assert!(second.stderr.contains("belongs to another gslb-dns that runs"), "{second:?}");
    assert_eq!(server.stop().unwrap().code(), Some(0));
    // What was held is free again, whoever left the file there.
    drop(Server::start(&world.node()).unwrap());
}

#[test]
fn the_word_to_end_is_obeyed_after_what_was_asked_before() {
    const SOCKETS: usize = 16;
    const EACH: usize = 16;
    let world = World::write(&EVERY_STEP).unwrap();
    let mut server = Server::start(&world.node()).unwrap();
    let packet = ask_for("www.example.com.", RecordType::A);
    let mut stream = Stream::to(server.dns()).unwrap();
    assert!(stream.ask(&packet).unwrap().is_some());

    // While it stands still, queries queue up, and then the word to end comes.
    server.signal(Signal::STOP).unwrap();
    let sockets: Vec<UdpSocket> = (0..SOCKETS).map(|_| connected(server.dns())).collect();
    for socket in &sockets {
        for _ in 0..EACH {
            socket.send(&packet).unwrap();
        }
    }
    for _ in 0..EACH {
        stream.send(&packet).unwrap();
    }
    server.signal(Signal::TERM).unwrap();
    server.signal(Signal::CONT).unwrap();

    let mut room = [0; 2048];
    for socket in &sockets {
        for _ in 0..EACH {
            let length = socket.recv(&mut room).unwrap();
            assert_eq!(addresses(&room[..length]), 1);
        }
    }
    for _ in 0..EACH {
        let answer = stream.receive().unwrap().expect("it was asked before the end");
        assert_eq!(addresses(&answer), 1);
    }
    assert_eq!(stream.receive().unwrap(), None);
    server.wait_for_log("asked to end").unwrap();
    server.wait_for_log("stopped").unwrap();
    assert_eq!(server.wait().unwrap().code(), Some(0));

    let mut interrupted = Server::start(&world.node()).unwrap();
    interrupted.signal(Signal::INT).unwrap();
    assert_eq!(interrupted.wait().unwrap().code(), Some(0));
}

#[test]
fn the_admin_door_shows_what_it_has_and_says_what_it_wants() {
    let world = World::write(&EVERY_STEP).unwrap();
    let server = Server::start(&world.node()).unwrap();
    let mut resolver = Resolver::of(server.dns()).unwrap();
    for _ in 0..10 {
        resolver.ask(&ask_for("www.example.com.", RecordType::A)).unwrap();
    }

    assert_eq!(page(&server, "/healthz"), (200, "ok\n".into()));
    let answered = "gslb_dns_answers_total{rcode=\"NOERROR\",transport=\"udp\"}";
    assert_eq!(server.metric(answered).unwrap(), 10.0);
    assert_eq!(server.metric("gslb_dns_steered_total{transport=\"udp\"}").unwrap(), 10.0);
    assert_eq!(server.metric("gslb_dns_board_number").unwrap(), 1.0);
    assert_eq!(server.metric("gslb_dns_overrides_ok").unwrap(), 1.0);

    let (status, told) = page(&server, "/v1/explain?name=www.example.com&client=81.2.69.0/24");
    let told: Value = serde_json::from_str(&told).unwrap();
    assert_eq!((status, &told["steering"][0]["sites"][0]), (200, &"ams".into()));
    let (status, told) =
        page(&server, "/v1/explain?name=www.example.com&type=AAAA&resolver=63.1.2.3&format=text");
    assert_eq!(status, 200);
    assert!(told.contains("2001:db8:a::"), "{told}");

    // A refusal is an error that says what was expected.
    let name = "name=www.example.com";
    for (parameters, says) in [
        ("", "which name? give one, such as name=www.example.com"),
        (name, "client"),
        (&format!("{name}&client=81.2.69"), "81.2.69"),
        (&format!("{name}&resolver=nobody"), "nobody"),
        (&format!("{name}&resolver=192.0.2.1&type=NONE"), "NONE"),
        (&format!("{name}&resolver=192.0.2.1&at=noon"), "noon"),
        (&format!("{name}&resolver=192.0.2.1&suppose=fra"), "such as down=fra"),
        (&format!("{name}&resolver=192.0.2.1&format=xml"), "formats: text, json"),
        (&format!("{name}&resolver=192.0.2.1&colour=red"), "parameters: name, type, client"),
        ("name=a..b&resolver=192.0.2.1", "a..b"),
    ] {
        let (status, told) = page(&server, &format!("/v1/explain?{parameters}"));
        let told: Value = serde_json::from_str(&told).unwrap();
        let error = told["error"].as_str().unwrap_or_default();
        assert!(status == 400 && error.contains(says), "{parameters}: {status} {error}");
    }
    assert_eq!(page(&server, "/v2").0, 404);
    assert_eq!(server.request("POST", "/metrics").unwrap().status, 405);
}

#[test]
fn a_bad_overrides_file_is_refused_and_what_it_said_before_holds() {
    let world = World::write(&EVERY_STEP).unwrap();
    world.write_overrides(ALL_DOWN).unwrap();
    let mut server = Server::start(&world.node()).unwrap();
    assert_eq!(server.metric(SERVICE_DOWN).unwrap(), 1.0);

    world.write_overrides("[[override]]\nsite = \"fra\"\nstate = \"asleep\"\n").unwrap();
    // A line for each of the problems: who and why are missing, and there is no such state.
    let refused = [(); 3].map(|()| server.wait_for_log("overrides refused").unwrap());
    let whys = refused.each_ref().map(|line| line["fields"]["why"].as_str().unwrap());
    assert!(whys[2].contains("overrides.toml:3") && whys[2].contains("asleep"), "{whys:?}");
    assert_eq!(server.metric("gslb_dns_overrides_ok").unwrap(), 0.0);
    assert_eq!(server.metric(SERVICE_DOWN).unwrap(), 1.0);
    assert_eq!(server.board_number().unwrap(), 1);
    // Nothing else explains from a file that is refused either.
    let explained =
        command(&["explain", "www.example.com", "--resolver", "192.0.2.1"], &world.node());
    assert_eq!((explained.code, explained.stdout.as_str()), (Some(1), ""));
    assert!(explained.stderr.contains("asleep"), "{explained:?}");

    // To repair it is enough; the same word again is no new board.
    world.write_overrides(&format!("# repaired\n{ALL_DOWN}")).unwrap();
    server.wait_for_log("overrides read").unwrap();
    assert_eq!(server.metric("gslb_dns_overrides_ok").unwrap(), 1.0);
    assert_eq!(server.board_number().unwrap(), 1);
    // To remove it takes everything back.
    fs::remove_file(world.path("state/overrides.toml")).unwrap();
    assert_eq!(server.wait_for_board_after(1).unwrap(), 2);
    assert_eq!(server.metric(SERVICE_DOWN).unwrap(), 0.0);
    assert_eq!(server.stop().unwrap().code(), Some(0));
}

#[test]
fn an_override_that_touches_nothing_is_told() {
    let world = World::write(&EVERY_STEP).unwrap();
    let said =
        |at: &str| format!("[[override]]\n{at}\nstate = \"down\"\nwho = \"kim\"\nwhy = \"test\"\n");
    let mut server = Server::start(&world.node()).unwrap();
    world.write_overrides(&said("site = \"frankfurt\"")).unwrap();
    let told = server.wait_for_log("an override touches nothing: no site has that name").unwrap();
    assert_eq!(told["fields"]["site"], "frankfurt");
    world.write_overrides(&said("site = \"*\"\nservice = \"absent.*\"")).unwrap();
    let told = server.wait_for_log("an override touches nothing: no service has that name");
    assert_eq!(told.unwrap()["fields"]["service"], "absent.*");
    // Brazil has a site, but it is not the apex's.
    world.write_overrides(&said("site = \"gru\"\nservice = \"example.com\"")).unwrap();
    let told = server.wait_for_log("an override touches nothing: no such service has such a site");
    assert_eq!(told.unwrap()["fields"]["site"], "gru");
}

#[test]
fn a_bad_overrides_file_does_not_keep_a_server_from_starting() {
    let world = World::write(&EVERY_STEP).unwrap();
    world.write_overrides("no toml").unwrap();
    let server = Server::start(&world.node()).unwrap();
    assert_eq!(server.metric("gslb_dns_overrides_ok").unwrap(), 0.0);
    let mut resolver = Resolver::of(server.dns()).unwrap();
    let answer = resolver.ask(&ask_for("www.example.com.", RecordType::A)).unwrap();
    assert_eq!(addresses(&answer), 1);
}

#[test]
fn last_known_survives_a_restart_with_everything_down() {
    let files = Files {
        world: &EVERY_STEP.world.replace(
            "take  = 2\nwhen_all_down = \"empty\"",
            "take = 4\nwhen_all_down = \"last-known\"",
        ),
        ..EVERY_STEP
    };
    assert_ne!(files.world, EVERY_STEP.world);
    let world = World::write(&files).unwrap();
    // fra and ams are the last to be up; sin takes no clients.
    let one_down = "[[override]]\nsite = 'i*'\nstate = 'down'\nwho = 'test'\nwhy = 'first'\n";
    world.write_overrides(one_down).unwrap();
    let server = Server::start(&world.node()).unwrap();
    let known = ["198.51.100.10", "198.51.100.11", "198.51.100.20"];
    assert_eq!(sorted(&server, "sticky.example.com."), known);
    world.write_overrides(ALL_DOWN).unwrap();
    server.wait_for_board_after(1).unwrap();
    assert_eq!(sorted(&server, "sticky.example.com."), known);
    assert_eq!(server.stop().unwrap().code(), Some(0));

    let server = Server::start(&world.node()).unwrap();
    assert_eq!(server.metric(SERVICE_DOWN).unwrap(), 1.0);
    assert_eq!(sorted(&server, "sticky.example.com."), known);
    drop(server);

    // Killed at any moment, the file is whole; and without it, last-known answers as open.
    fs::remove_file(world.last_known()).unwrap();
    let mut server = Server::start(&world.node()).unwrap();
    assert_eq!(sorted(&server, "sticky.example.com.").len(), 4);
    server.signal(Signal::KILL).unwrap();
    assert_eq!(server.wait().unwrap().code(), None);

    // What cannot be read is said, and does not keep the server from answering.
    fs::write(world.last_known(), "{ cut sh").unwrap();
    let server = Server::start(&world.node()).unwrap();
    assert_eq!(sorted(&server, "sticky.example.com.").len(), 4);
}

#[test]
fn a_service_manager_is_told_when_it_answers_and_when_it_ends() {
    let world = World::write(&EVERY_STEP).unwrap();
    let path = world.path("notify");
    let manager = UnixDatagram::bind(&path).unwrap();
    manager.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let mut command = Command::new(program().unwrap());
    command.env("NOTIFY_SOCKET", &path);
    let server = Server::start_as(command, &world.node()).unwrap();
    let told = || {
        let mut room = [0; 256];
        let length = manager.recv(&mut room).unwrap();
        String::from_utf8_lossy(&room[..length]).into_owned()
    };
    let expected = format!("READY=1\nSTATUS=answering at [{}]", server.dns());
    assert_eq!(told(), expected);
    server.stop().unwrap();
    assert!(told().starts_with("STOPPING=1\n"));
}

#[test]
fn what_is_known_is_written_as_soon_as_a_site_is_fit() {
    let world = World::write(&EVERY_STEP).unwrap();
    let _server = Server::start(&world.node()).unwrap();
    let known = until("last-known is written", || Ok(fs::read_to_string(world.last_known()).ok()));
    let known: Value = serde_json::from_str(&known.unwrap()).unwrap();
    assert_eq!(known["one.example.com."], serde_json::json!(["fra"]));
}

fn command(words: &[&str], node: &Path) -> Finished {
    let node = node.to_string_lossy();
    let words = words.iter().copied().chain(["--config", &node]);
    run(words).expect("the binary runs")
}

fn page(server: &Server, path: &str) -> (u16, String) {
    let Page { status, body } = server.get(path).expect("the door answers");
    (status, body)
}

fn ask_for(name: &str, rtype: RecordType) -> Vec<u8> {
    let name = Name::from_ascii(name).expect("a name of the test");
    query(&name, rtype, None).expect("a query of the test")
}

fn connected(to: SocketAddr) -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("loopback");
    socket.connect(to).expect("loopback");
    socket.set_read_timeout(Some(Duration::from_secs(20))).expect("a socket of ours");
    socket
}

fn addresses(answer: &[u8]) -> usize {
    let message = Message::from_vec(answer).expect("an answer is readable");
    message.answers.iter().filter(|record| record.data.ip_addr().is_some()).count()
}

/// The addresses of a name, in their own order: the answer's is the client's lot.
fn sorted(server: &Server, name: &str) -> Vec<String> {
    let mut resolver = Resolver::of(server.dns()).expect("loopback");
    let answer = resolver.ask(&ask_for(name, RecordType::A)).expect("an answer");
    let message = Message::from_vec(&answer).expect("an answer is readable");
    let ips = message.answers.iter().filter_map(|record| record.data.ip_addr());
    let mut ips: Vec<String> = ips.map(|ip| ip.to_string()).collect();
    ips.sort();
    ips
}
