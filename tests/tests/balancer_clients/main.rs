//! The balancer's binary as programs see it that we did not write: WebSocket on both sides of it, OpenSSL's client, and testssl.sh.

#![expect(clippy::unwrap_used, reason = "what a test cannot go on without may as well end it")]

#[path = "../../../site-agent/src/tls/tests/made.rs"]
#[expect(dead_code, reason = "the test of TLS alone needs more of it")]
mod made;

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;

use gslb_tests::backend::Backend;
use gslb_tests::balancer::{can, start};
use gslb_tests::loopback::addresses;
use gslb_tests::peers;
use gslb_tests::process::Process;
use gslb_tests::wait::PATIENCE;
use rustix::process::Signal;
use serde_json::Value;

use self::made::{Ca, Folder, Key, LEAF, Leaf};

const NAME: &str = "www.example.com";
/// Debian's own, for which `python3-websockets` is.
const PYTHON: &str = "/usr/bin/python3";

fn has_no_websockets() -> Option<&'static str> {
    (!can(PYTHON, &["-c", "import websockets"])).then_some("python3-websockets is not installed")
}

fn has_no_openssl() -> Option<&'static str> {
    (!can("openssl", &["version"])).then_some("openssl is not installed")
}

fn has_no_testssl() -> Option<&'static str> {
    (!can("testssl", &["--version"])).then_some("testssl.sh is not installed")
}

/// A folder with a CA, and what a frontend shows.
fn folder() -> (Folder, Ca) {
    let (folder, ca) = (Folder::new(), Ca::new("ca"));
    folder.write("ca.pem", &ca.pem);
    folder.certify(&ca, "front", Leaf { names: &[NAME], serial: 1, ..LEAF });
    (folder, ca)
}

fn ends(mut agent: Process) {
    agent.signal(Signal::TERM).unwrap();
    assert!(agent.wait().unwrap().success());
}

/// The script's process, and its lines.
fn script(arguments: &[&str]) -> (Process, Receiver<String>) {
    let file =
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/balancer_clients/websocket.py");
    let mut command = Command::new(PYTHON);
    command.arg(file).args(arguments).stdin(Stdio::null()).stdout(Stdio::piped());
    let mut process = Process::spawn(&mut command).unwrap();
    let (said, says) = mpsc::channel();
    let out = process.child().stdout.take().unwrap();
    thread::spawn(move || {
        BufReader::new(out).lines().map_while(Result::ok).try_for_each(|line| said.send(line))
    });
    (process, says)
}

#[test]
fn websockets_on_both_sides_see_nothing_of_it() {
    if peers::missing(has_no_websockets()) {
        return;
    }
    let (folder, _) = folder();
    let (_server, says) = script(&["serve"]);
    let port = says.recv_timeout(PATIENCE).unwrap();
    let port = port.strip_prefix("port ").unwrap();
    let [plain, secure] = addresses().unwrap();
    let config = format!(
        "[frontend.plain]\nbind = [\"{plain}\"]\npool = \"app\"\naccess_log = {{ format = \"off\" }}\n\
         [frontend.secure]\nbind = [\"{secure}\"]\npool = \"app\"\ntls = {{ certificates = [\"front.pem\"] }}\n\
         access_log = {{ format = \"off\" }}\n\
         [pool.app]\nservers = [{{ name = \"a\", address = \"127.0.0.1:{port}\" }}]\n"
    );
    let agent = start(folder.path(), &config, 2, &[plain, secure]).unwrap();
    let ca = folder.path().join("ca.pem").display().to_string();
    for ask in [vec![format!("ws://{plain}/chat")], vec![format!("wss://{secure}/chat"), ca]] {
        let words: Vec<&str> = ask.iter().map(String::as_str).collect();
        let (mut client, seen) = script(&[&["ask"], &words[..]].concat());
        let seen: Vec<String> = seen.iter().collect();
        assert!(client.wait().unwrap().success(), "{seen:?}");
        assert_eq!(
            seen,
            [
                "same str 5",
                "same str 0",
                "same bytes 0",
                "same str 2000000",
                "same bytes 5000000",
                "same fragments",
                "same many",
                "pong",
                "closed 1000 bye",
                "is closed 4001 enough",
                // Nobody said why.
                "is reset 1006 -",
                "done",
            ]
        );
        let ended: Vec<String> = (0..4).map(|_| says.recv_timeout(PATIENCE).unwrap()).collect();
        assert_eq!(ended, ["ended 1000 bye", "ended 4001 enough", "ended 1006 -", "ended 1006 -"]);
    }
    ends(agent);
}

/// What `openssl s_client` says of a request to the balancer.
fn asked(folder: &Folder, at: SocketAddr, words: &str) -> String {
    let begin = format!("s_client -connect {at} -CAfile ca.pem -ign_eof");
    let mut client = Command::new("openssl");
    client.args(begin.split(' ').chain(words.split_whitespace())).current_dir(folder.path());
    client.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut client = client.spawn().unwrap();
    let request = format!("GET / HTTP/1.1\r\nHost: {NAME}\r\nConnection: close\r\n\r\n");
    // One who is refused may be gone already.
    let _ = client.stdin.take().unwrap().write_all(request.as_bytes());
    let output = client.wait_with_output().unwrap();
    String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
}

#[test]
fn s_client_asks_it_by_every_version_name_protocol_session_and_certificate() {
    if peers::missing(has_no_openssl()) {
        return;
    }
    let (folder, ca) = folder();
    folder.certify(&ca, "api", Leaf { names: &["api.example.com"], serial: 2, ..LEAF });
    folder.certify(&ca, "client", Leaf { serial: 3, ..LEAF });
    folder.certify(&Ca::new("others"), "stranger", Leaf { serial: 4, ..LEAF });
    let app = Backend::start("127.0.0.1:0".parse().unwrap()).unwrap();
    let [open, newest, closed] = addresses().unwrap();
    let frontend = |name: &str, at: SocketAddr, keys: &str| {
        format!(
            "[frontend.{name}]\nbind = [\"{at}\"]\npool = \"app\"\naccess_log = {{ format = \"off\" }}\n\
             tls = {{ certificates = [\"front.pem\", \"api.pem\"]{keys} }}\n"
        )
    };
    let config = format!(
        "{}{}{}[pool.app]\nservers = [{{ name = \"a\", address = \"{}\" }}]\n",
        frontend("open", open, ""),
        frontend("newest", newest, ", min = \"1.3\""),
        frontend("closed", closed, ", client_ca = \"ca.pem\""),
        app.address()
    );
    let agent = start(folder.path(), &config, 2, &[open, newest, closed]).unwrap();
    let named = format!("-servername {NAME}");
    let check = |at: SocketAddr, words: &str, lines: &[&str]| {
        let told = asked(&folder, at, words);
        for line in lines {
            let (is_there, line) = match line.strip_prefix('!') {
                Some(line) => (false, line),
                None => (true, *line),
            };
            assert_eq!(told.contains(line), is_there, "{words}: {line:?} in:\n{told}");
        }
    };
    let answered = "HTTP/1.1 200 OK\r\n";
    // Versions.
    check(open, &format!("{named} -tls1_3"), &["New, TLSv1.3", "Verification: OK", answered]);
    check(open, &format!("{named} -tls1_2"), &["New, TLSv1.2", "Verification: OK", answered]);
    for old in ["-tls1_1", "-tls1"] {
        let words = format!("{named} {old} -cipher ALL:@SECLEVEL=0");
        check(open, &words, &["alert", "Cipher is (NONE)", "!HTTP/1.1"]);
    }
    check(newest, &format!("{named} -tls1_2"), &["alert protocol version", "!HTTP/1.1"]);
    check(newest, &format!("{named} -tls1_3"), &["New, TLSv1.3", answered]);
    // Names.
    check(open, &named, &["subject=CN = number 1\n", answered]);
    check(open, "-servername api.example.com", &["subject=CN = number 2\n", answered]);
    check(open, "-noservername", &["subject=CN = number 1\n", answered]);
    // Protocols.
    check(open, &format!("{named} -alpn http/1.1"), &["ALPN protocol: http/1.1", answered]);
    check(open, &format!("{named} -alpn h2,http/1.1"), &["ALPN protocol: h2", "!HTTP/1.1 "]);
    check(open, &named, &["No ALPN negotiated", answered]);
    // Sessions, with as many threads as there are to come to, and across a reload.
    for version in ["TLSv1.2", "TLSv1.3"] {
        let option = version.to_lowercase().replace("tlsv1.", "-tls1_");
        let with = |more: &str| format!("{named} {option} {more}");
        check(open, &with("-sess_out session"), &[&format!("New, {version}"), answered]);
        for _ in 0..4 {
            check(open, &with("-sess_in session"), &[&format!("Reused, {version}"), answered]);
        }
        check(newest, &with("-sess_in session"), &["!Reused"]);
    }
    // Certificates of clients.
    for version in ["-tls1_2", "-tls1_3"] {
        let shown = |name: &str| format!("{named} {version} -cert {name}.pem -key {name}.pem");
        check(closed, &shown("client"), &[answered]);
        check(closed, &shown("stranger"), &["!HTTP/1.1"]);
        check(closed, &format!("{named} {version}"), &["!HTTP/1.1"]);
    }
    ends(agent);
}

/// All that testssl.sh knows of vulnerabilities, and must have said is not there.
const VULNERABILITIES: [&str; 17] = [
    "heartbleed",
    "CCS",
    "ticketbleed",
    "ROBOT",
    "secure_renego",
    "secure_client_renego",
    "CRIME_TLS",
    "BREACH",
    "POODLE_SSL",
    "fallback_SCSV",
    "SWEET32",
    "FREAK",
    "DROWN",
    "LOGJAM",
    "BEAST",
    "LUCKY13",
    "RC4",
];
/// What is graver than «low», with the reason why it is no fault; or could not be looked at.
const EXCUSED: [(&str, &str); 4] = [
    ("engine_problem", "the client's OpenSSL has no engine for GOST, which nobody offers"),
    ("sessionresumption_ticket", "it could not look; `openssl s_client` did, above"),
    ("cert_revocation", "the CA is one for a test, and has no list of its own"),
    ("cert_validityPeriod", "so are its certificates, which last for decades"),
];

#[test]
fn testssl_finds_nothing_graver_than_low() {
    if peers::missing(has_no_testssl().into_iter().chain(has_no_openssl())) {
        return;
    }
    let (folder, ca) = folder();
    folder.certify(&ca, "rsa", Leaf { names: &[NAME], serial: 2, key: Key::Rsa, ..LEAF });
    let app = Backend::start("127.0.0.1:0".parse().unwrap()).unwrap();
    let [front] = addresses().unwrap();
    let config = format!(
        "[frontend.web]\nbind = [\"{front}\"]\npool = \"app\"\naccess_log = {{ format = \"off\" }}\n\
         tls = {{ certificates = [\"front.pem\", \"rsa.pem\"] }}\nhsts = {{ max_age = \"365d\" }}\n\
         [pool.app]\nservers = [{{ name = \"a\", address = \"{}\" }}]\n",
        app.address()
    );
    let agent = start(folder.path(), &config, 2, &[front]).unwrap();
    let (report, authority) = (folder.path().join("found.json"), folder.path().join("ca.pem"));
    let mut testssl = Command::new("testssl");
    // Protocols, suites, forward secrecy, preferences, certificates, headers, vulnerabilities; not which browsers it suits.
    testssl.args(["--warnings", "off", "--color", "0", "--quiet", "--nodns", "none"]);
    testssl.arg("--ip").arg(front.ip().to_string());
    testssl.args(["-p", "-s", "-f", "-P", "-S", "-h", "-U"]);
    testssl.arg("--jsonfile").arg(&report).arg("--add-ca").arg(&authority);
    testssl.arg(format!("https://{NAME}:{}/", front.port())).current_dir(folder.path());
    let output = testssl.stdin(Stdio::null()).output().unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    let found = fs::read_to_string(&report).unwrap_or_else(|why| panic!("{why}: {told}"));
    let found: Vec<Value> = serde_json::from_str(&found).unwrap();
    let of = |finding: &Value, key: &str| finding[key].as_str().unwrap_or_default().to_owned();
    let grave: Vec<&Value> = found
        .iter()
        .filter(|finding| !["OK", "INFO", "LOW"].contains(&of(finding, "severity").as_str()))
        .filter(|finding| {
            // Of each certificate its own.
            let found = of(finding, "id");
            let found = found.split(' ').next().unwrap();
            !EXCUSED.iter().any(|(id, _)| *id == found)
        })
        .collect();
    assert!(grave.is_empty(), "{grave:#?}");
    // That it has looked, and at what.
    let verdict = |id: &str| {
        let finding = found.iter().find(|finding| of(finding, "id") == id);
        finding.map(|finding| (of(finding, "severity"), of(finding, "finding")))
    };
    for id in VULNERABILITIES {
        let (severity, finding) = verdict(id).unwrap_or_else(|| panic!("no {id} in {told}"));
        assert_eq!(severity, "OK", "{id}: {finding}");
    }
    for (id, expected) in [
        ("SSLv2", "not offered"),
        ("SSLv3", "not offered"),
        ("TLS1", "not offered"),
        ("TLS1_1", "not offered"),
        ("TLS1_2", "offered"),
        ("TLS1_3", "offered with final"),
        ("cipherlist_NULL", "not offered"),
        ("cipherlist_aNULL", "not offered"),
        ("cipherlist_EXPORT", "not offered"),
        ("cipherlist_LOW", "not offered"),
        ("cipherlist_3DES_IDEA", "not offered"),
        ("cipherlist_AVERAGE", "not offered"),
        ("cipherlist_STRONG", "offered"),
    ] {
        let (_, finding) = verdict(id).unwrap_or_else(|| panic!("no {id} in {told}"));
        assert_eq!(finding, expected, "{id}");
    }
    ends(agent);
}
