//! The runtime API beside HAProxy's: the same orders and questions to both, about the same pool.

#![expect(clippy::unwrap_used, reason = "what a test cannot go on without may as well end it")]

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use gslb_tests::balancer::{can, listens, start};
use gslb_tests::loopback::addresses;
use gslb_tests::peers;
use gslb_tests::process::Process;
use gslb_tests::wait::until;

const HAPROXY: &str = "/usr/sbin/haproxy";

fn missing() -> Option<&'static str> {
    (!can(HAPROXY, &["-v"])).then_some("haproxy is not installed")
}

/// Both, each with its socket: a frontend `web`, a pool `app` of `a` without a check, `b` with one and `c`, a backup.
struct Both {
    ours: PathBuf,
    theirs: PathBuf,
    _folder: tempfile::TempDir,
    _processes: [Process; 2],
    /// What is looked at.
    _server: TcpListener,
}

impl Both {
    fn start() -> Both {
        let folder = tempfile::tempdir().unwrap();
        let [front, theirs, a, c] = addresses().unwrap();
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let b = server.local_addr().unwrap();
        let haproxy = haproxy(folder.path(), theirs, [a, b, c]);
        let config = format!(
            "[runtime]\nsocket = \"ours.sock\"\n[frontend.web]\nbind = [\"{front}\"]\npool = \"app\"\n[pool.app]\n\
             balance = \"round-robin\"\nservers = [\n\
             {{ name = \"a\", address = \"{a}\", weight = 10 }},\n\
             {{ name = \"b\", address = \"{b}\", weight = 10, max_connections = 5, \
             check = {{ kind = \"tcp\", interval = \"200ms\" }} }},\n\
             {{ name = \"c\", address = \"{c}\", weight = 20, backup = true }},\n]\n"
        );
        let agent = start(folder.path(), &config, 1, &[front]).unwrap();
        let (ours, theirs) = (folder.path().join("ours.sock"), folder.path().join("theirs.sock"));
        let both =
            Both { ours, theirs, _folder: folder, _processes: [haproxy, agent], _server: server };
        for socket in [&both.ours, &both.theirs] {
            until("the check has passed without a doubt", || {
                let seen = fields(&ask(socket, "show servers state"), "b");
                Ok((seen.get(13).map(String::as_str) == Some("6") && seen[12] == "4").then_some(()))
            })
            .unwrap();
        }
        both
    }

    fn ask(&self, line: &str) -> [String; 2] {
        [&self.ours, &self.theirs].map(|socket| ask(socket, line))
    }
}

fn haproxy(folder: &Path, front: SocketAddr, [a, b, c]: [SocketAddr; 3]) -> Process {
    let text = format!(
        "global\n  stats socket {}/theirs.sock mode 600 level admin\ndefaults\n  mode http\n  timeout client 5s\n  \
         timeout server 5s\n  timeout connect 1s\nfrontend web\n  bind {front}\n  default_backend app\nbackend app\n  \
         balance roundrobin\n  server a {a} weight 10\n  server b {b} weight 10 maxconn 5 check inter 200ms\n  \
         server c {c} weight 20 backup\n",
        folder.display()
    );
    let file = folder.join("haproxy.cfg");
    fs::write(&file, text).unwrap();
    let mut command = Command::new(HAPROXY);
    command.arg("-db").arg("-f").arg(file).stdin(Stdio::null());
    let process = Process::spawn(&mut command).unwrap();
    listens(&front).unwrap();
    process
}

fn ask(socket: &Path, line: &str) -> String {
    let mut stream = UnixStream::connect(socket).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream.write_all(format!("{line}\n").as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// A server's line of `show servers state`.
fn fields(answer: &str, server: &str) -> Vec<String> {
    let mut lines =
        answer.lines().map(|line| line.split(' ').map(str::to_owned).collect::<Vec<_>>());
    lines.find(|line| line.get(3).is_some_and(|name| name == server)).unwrap_or_default()
}

/// Columns of a line of `show stat`.
fn columns(answer: &str, name: &str, wanted: &[&str]) -> Vec<String> {
    let mut lines =
        answer.lines().map(|line| line.trim_start_matches("# ").split(',').collect::<Vec<_>>());
    let header = lines.next().unwrap();
    let row = lines.find(|line| line.get(1) == Some(&name)).unwrap();
    let place = |column: &&str| header.iter().position(|known| known == column).unwrap();
    wanted.iter().map(|column| row[place(column)].to_owned()).collect()
}

/// Who has a line of `show stat`.
fn rows(text: &str) -> Vec<String> {
    let named = |line: &str| line.split(',').take(2).collect::<Vec<_>>().join("/");
    text.lines().skip(1).map(named).filter(|name| !name.is_empty()).collect()
}

/// All but addresses and times, and for a server without a check what its checks would be: by name, then by number.
const COMPARED: [usize; 13] = [0, 1, 2, 3, 5, 6, 7, 8, 14, 15, 16, 20, 21];
/// Of the one that is looked at: status, result, health and state of its checks.
const CHECKED: [usize; 4] = [10, 11, 12, 13];

#[test]
fn orders_and_answers_are_haproxys() {
    if peers::missing(missing()) {
        return;
    }
    let both = Both::start();
    // What is shown is laid out alike.
    let [ours, theirs] = both.ask("show stat");
    assert_eq!(ours.lines().next(), theirs.lines().next());
    assert_eq!(rows(&ours), rows(&theirs));
    let [ours, theirs] = both.ask("show servers state app");
    assert_eq!(
        ours.lines().take(2).collect::<Vec<_>>(),
        theirs.lines().take(2).collect::<Vec<_>>()
    );
    assert_eq!(ours.lines().count(), theirs.lines().count());

    // The same orders have the same answers, and come to the same.
    for order in [
        "set server app/a state drain",
        "set server app/a state maint",
        "set server app/a state ready",
        "disable server app/c",
        "enable server app/c",
        "set server app/a weight 50%",
        "set server app/a weight 3000%",
        "set weight app/a 3",
        "set weight app/a 100%",
        "set server app/b state drain",
        "set server app/b state ready",
        "set maxconn server app/b 7",
        "set server app/b health up",
        "set server app/b state maint",
    ] {
        let [ours, theirs] = both.ask(order);
        assert_eq!(ours, theirs, "{order}");
        for server in ["a", "b", "c"] {
            let seen = both.ask("show servers state").map(|answer| {
                let line = fields(&answer, server);
                let checked = if server == "b" { &CHECKED[..] } else { &[] };
                let wanted = COMPARED.iter().chain(checked);
                // A look in maintenance leaves its last result in theirs.
                let is_kept = |place: &&usize| line[6] != "1" || ![10, 11, 12].contains(*place);
                wanted.filter(is_kept).map(|place| line[*place].clone()).collect::<Vec<_>>()
            });
            assert_eq!(seen[0], seen[1], "{server} after {order}");
            let [ours, theirs] = both.ask(&format!("get weight app/{server}"));
            assert_eq!(ours, theirs, "{server} after {order}");
            let wanted = [
                "svname",
                "slim",
                "status",
                "weight",
                "act",
                "bck",
                "pid",
                "iid",
                "sid",
                "type",
                "mode",
                "check_status",
                "check_rise",
                "check_fall",
                "addr",
                "uweight",
                "check_code",
                "chkfail",
                "chkdown",
                "lastsess",
                "cli_abrt",
                "srv_abrt",
                "hrsp_5xx",
                "hrsp_other",
                "req_tot",
            ];
            let [ours, theirs] =
                both.ask("show stat").map(|answer| columns(&answer, server, &wanted));
            assert_eq!(ours, theirs, "{server} after {order}");
        }
        let wanted = [
            "pxname",
            "status",
            "weight",
            "act",
            "bck",
            "iid",
            "type",
            "algo",
            "chkdown",
            "lastsess",
            "cli_abrt",
            "srv_abrt",
            "hrsp_5xx",
            "hrsp_other",
            "req_tot",
        ];
        let [ours, theirs] =
            both.ask("show stat").map(|answer| columns(&answer, "BACKEND", &wanted));
        assert_eq!(ours, theirs, "after {order}");
    }
}

#[test]
fn lines_are_left_out_as_haproxy_does() {
    if peers::missing(missing()) {
        return;
    }
    let both = Both::start();
    both.ask("disable server app/c");
    for line in [
        "show stat no-maint",
        "show stat up",
        "show stat up no-maint",
        "show stat app 4 -1 no-maint",
        "show stat app -1 3 up",
        "show stat 99 -1 -1 up",
        "show stat # all",
    ] {
        let [ours, theirs] = both.ask(line).map(|answer| rows(&answer));
        assert_eq!(ours, theirs, "{line}");
    }
}

#[test]
fn what_cannot_be_done_is_refused_in_haproxys_words() {
    if peers::missing(missing()) {
        return;
    }
    let both = Both::start();
    for line in [
        "set server",
        "set server app",
        "set server x/a state ready",
        "set server app/x state ready",
        "set server app/a state",
        "set server app/a state off",
        "set server app/a health off",
        "set server app/a agent up",
        "set server app/a weight",
        "set server app/a weight 257",
        "set server app/a weight -1",
        "set server app/a weight abc",
        "set server app/a weight 12abc",
        "set server app/a weight -1%",
        "get weight",
        "get weight x/a",
        "get weight app/x",
        "set maxconn server",
        "set maxconn server app/a",
        "set maxconn server app/a abc",
        "set maxconn server app/a 1abc",
        "enable server app/x",
        "disable server",
        "show servers state x",
        "show backend",
        "get weight app/a;get weight app/x",
        "  get   weight   app\\/b",
        "get weight app/a # as it is",
        "get weight app/a #;get weight app/b # and so on",
        "show stat x 4 1",
        "show stat 0 4 1",
        "prompt;get weight app/a;quit",
        "prompt;prompt;get weight app/a",
        "quit",
    ] {
        let [ours, theirs] = both.ask(line);
        // Some of HAProxy's errors leave out the empty line that ends an answer.
        assert_eq!(ours.trim_end_matches('\n'), theirs.trim_end_matches('\n'), "{line}");
    }
    for line in ["reboot", "", "set boot x", "help"] {
        let titles = both.ask(line).map(|answer| answer.lines().next().unwrap().to_owned());
        // Which are alike is guessed in another way.
        let [ours, theirs] =
            titles.map(|title| title.split([',', '.', ':']).next().unwrap().to_owned());
        assert_eq!(ours, theirs, "{line}");
    }
}
