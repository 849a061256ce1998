//! The balancer's binary between programs that we did not write: curl before it, nginx behind it.

#![expect(clippy::unwrap_used, reason = "what a test cannot go on without may as well end it")]

#[path = "balancer/http2.rs"]
mod http2;
#[path = "../../site-agent/src/tls/tests/made.rs"]
#[expect(dead_code, reason = "the test of TLS alone needs more of it")]
mod made;

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use gslb_tests::balancer::{can, listens, start};
use gslb_tests::peers;
use gslb_tests::process::Process;
use gslb_tests::wait::until;
use rustix::process::Signal;

use self::made::{Ca, Folder, Key, LEAF, Leaf};

const NGINX: &str = "/usr/sbin/nginx";
const NAME: &str = "www.example.com";
/// Octets of the largest file: more than any buffer.
const LARGE: usize = 5_000_000;

fn missing() -> Vec<&'static str> {
    [
        (NGINX, "-v", "nginx is not installed"),
        ("curl", "--version", "curl is not installed"),
        ("nghttp", "--version", "nghttp2-client is not installed"),
    ]
    .into_iter()
    .filter(|(program, argument, _)| !can(program, &[argument]))
    .map(|(_, _, missing)| missing)
    .collect()
}

/// Addresses that nobody has, each another.
fn addresses<const N: usize>() -> [SocketAddr; N] {
    gslb_tests::loopback::addresses().unwrap()
}

/// nginx with a server at each address, which says its number in every answer, takes PUT, and keeps connections.
fn nginx(dir: &Path, at: &[SocketAddr], tls: &str) -> Process {
    fs::create_dir_all(dir.join("html")).unwrap();
    fs::write(dir.join("html/small"), "small\n").unwrap();
    fs::write(dir.join("html/large"), "0123456789".repeat(LARGE / 10)).unwrap();
    let dir_text = dir.display();
    let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("{kind}_temp_path {dir_text}/{kind};\n"))
        .concat();
    let server = |(number, address): (usize, &SocketAddr)| {
        format!(
            "server {{ listen {address}{}; add_header X-Server {number} always; add_header X-For $http_x_forwarded_for always; \
             add_header X-Proto $http_x_forwarded_proto always; add_header X-Connection $connection always; {tls}\n\
             location / {{ dav_methods PUT; client_max_body_size 0; }}\nlocation = /broken {{ return 503; }}\n}}\n",
            if tls.is_empty() { "" } else { " ssl" }
        )
    };
    let servers: String = at.iter().enumerate().map(server).collect();
    let text = format!(
        "daemon off; master_process off; pid {dir_text}/nginx.pid; error_log stderr warn;\nevents {{ }}\nhttp {{\n\
         access_log off; root {dir_text}/html; keepalive_requests 100000;\n{temporary}{servers}}}\n"
    );
    let file = dir.join("nginx.conf");
    fs::write(&file, text).unwrap();
    let mut command = Command::new(NGINX);
    command.arg("-c").arg(&file).arg("-p").arg(dir).stdin(Stdio::null());
    let process = Process::spawn(&mut command).unwrap();
    at.iter().try_for_each(listens).unwrap();
    process
}

/// The binary with this config.
fn balancer(folder: &Folder, config: &str, at: &[SocketAddr]) -> Process {
    start(folder.path(), config, 2, at).unwrap()
}

/// What curl has seen, and what it wrote of it.
fn curl(arguments: &[&str]) -> (Output, String) {
    let mut command = Command::new("curl");
    command.args(["-sS", "-m", "20", "--http1.1"]).args(arguments);
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    (output, text)
}

#[track_caller]
fn get(arguments: &[&str]) -> String {
    let (output, text) = curl(arguments);
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    text
}

#[test]
fn curl_is_served_by_nginx_over_tls_on_both_sides() {
    if peers::missing(missing()) {
        return;
    }
    let folder = Folder::new();
    let ca = Ca::new("ca");
    folder.write("ca.pem", &ca.pem);
    for (name, serial) in [("front", 1), ("back", 2)] {
        folder.certify(&ca, name, Leaf { serial, names: &[NAME], key: Key::Ecdsa, ..LEAF });
    }
    let [front, plain, first, second] = addresses();
    let dir = folder.path().display();
    let tls = format!("ssl_certificate {dir}/back.pem; ssl_certificate_key {dir}/back.pem;");
    let _nginx = nginx(&folder.path().join("nginx"), &[first, second], &tls);
    let config = format!(
        "[frontend.https]\nbind = [\"{front}\"]\npool = \"app\"\naccess_log = {{ format = \"off\" }}\n\
         tls = {{ certificates = [\"front.pem\"], alpn = [\"http/1.1\"] }}\nhsts = {{ max_age = \"1d\" }}\n\
         [frontend.http]\nbind = [\"{plain}\"]\nredirect_https = 308\naccess_log = {{ format = \"off\" }}\n\
         [pool.app]\nbalance = \"round-robin\"\nservers = [\n  \
         {{ name = \"a\", address = \"{first}\", tls = {{ ca = \"ca.pem\", sni = \"{NAME}\" }} }},\n  \
         {{ name = \"b\", address = \"{second}\", tls = {{ ca = \"ca.pem\", sni = \"{NAME}\" }} }},\n]\n"
    );
    let mut agent = balancer(&folder, &config, &[front, plain]);
    let (resolve, ca) =
        (format!("{NAME}:{}:{}", front.port(), front.ip()), format!("{dir}/ca.pem"));
    let base = format!("https://{NAME}:{}", front.port());
    let of_ours = ["--resolve", &resolve, "--cacert", &ca];

    let seen = get(&[&of_ours[..], &["-i", &format!("{base}/small")]].concat());
    for line in [
        "HTTP/1.1 200 OK\r\n",
        "X-For: 127.0.0.1\r\n",
        "X-Proto: https\r\n",
        "Strict-Transport-Security: max-age=86400\r\n",
    ] {
        assert!(seen.contains(line), "no {line:?} in {seen}");
    }
    assert!(seen.ends_with("\r\n\r\nsmall\n"), "{seen}");
    let large = get(&[&of_ours[..], &[&format!("{base}/large")]].concat());
    assert!(large.len() == LARGE && large.starts_with("0123456789"));
    // Up as it comes, with 100-continue as curl does, and down again.
    let file = folder.path().join("nginx/html/large").display().to_string();
    get(&[&of_ours[..], &["-T", &file, &format!("{base}/put")]].concat());
    assert!(get(&[&of_ours[..], &[&format!("{base}/put")]].concat()) == large);
    let chunked = ["-T", &file, "-H", "Transfer-Encoding: chunked", "-H", "Expect:"];
    get(&[&of_ours[..], &chunked, &[&format!("{base}/chunked")]].concat());
    assert_eq!(fs::read(folder.path().join("nginx/html/chunked")).unwrap().len(), LARGE);
    // Turns are taken, and connections used again by other clients.
    let header = |name: &str, head: &str| {
        let mut lines = head.lines().filter_map(|line| line.split_once(": "));
        lines.find(|(key, _)| *key == name).map(|(_, value)| value.to_owned()).unwrap()
    };
    let mut servers = vec![];
    for _ in 0..8 {
        let head = get(&[&of_ours[..], &["-I", &format!("{base}/small")]].concat());
        servers.push(header("X-Server", &head));
    }
    // Each thread begins with another, so that of eight one may have five.
    let firsts = servers.iter().filter(|server| *server == "0").count();
    assert!((3..=5).contains(&firsts), "{servers:?}");
    // To https, path and query with it.
    let head = get(&["-I", "-H", &format!("Host: {NAME}"), &format!("http://{plain}/a?b=c")]);
    assert!(
        head.starts_with("HTTP/1.1 308 ")
            && head.contains(&format!("Location: https://{NAME}/a?b=c\r\n")),
        "{head}"
    );
    // Whom nobody vouches for is not believed.
    fs::write(folder.path().join("site.toml"), config.replace("ca.pem", "front.pem")).unwrap();
    agent.signal(Signal::HUP).unwrap();
    until("servers are not believed", || {
        let code = ["-o", "/dev/null", "-w", "%{http_code}", "-H", "Connection: close"];
        let (_, code) = curl(&[&of_ours[..], &code, &[&format!("{base}/small")]].concat());
        Ok((code == "503").then_some(()))
    })
    .unwrap();
    agent.signal(Signal::TERM).unwrap();
    assert!(agent.wait().unwrap().success());
}

/// What another client has said of what it saw.
#[track_caller]
fn told(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{program} {arguments:?}: {output:?}");
    text
}

#[test]
fn curl_and_nghttp_speak_http_2_to_it() {
    if peers::missing(missing()) {
        return;
    }
    let folder = Folder::new();
    let ca = Ca::new("ca");
    folder.write("ca.pem", &ca.pem);
    folder.certify(&ca, "front", Leaf { names: &[NAME], key: Key::Ecdsa, ..LEAF });
    let [front, server] = addresses();
    let dir = folder.path().display();
    let _nginx = nginx(&folder.path().join("nginx"), &[server], "");
    let config = format!(
        "[frontend.https]\nbind = [\"{front}\"]\npool = \"app\"\ntls = {{ certificates = [\"front.pem\"] }}\n\
         access_log = {{ target = \"{dir}/access.log\" }}\n\
         [pool.app]\nservers = [{{ name = \"a\", address = \"{server}\" }}]\n"
    );
    let mut agent = balancer(&folder, &config, &[front]);
    let (resolve, ca) =
        (format!("{NAME}:{}:{}", front.port(), front.ip()), format!("{dir}/ca.pem"));
    let base = format!("https://{NAME}:{}", front.port());
    let of_ours = ["--http2", "--resolve", &resolve, "--cacert", &ca];

    let seen = get(&[&of_ours[..], &["-i", &format!("{base}/small")]].concat());
    for line in ["HTTP/2 200 \r\n", "x-for: 127.0.0.1\r\n", "x-proto: https\r\n"] {
        assert!(seen.contains(line), "no {line:?} in {seen}");
    }
    assert!(seen.ends_with("\r\n\r\nsmall\n"), "{seen}");
    let large = get(&[&of_ours[..], &[&format!("{base}/large")]].concat());
    assert!(large.len() == LARGE && large.starts_with("0123456789"));
    let file = folder.path().join("nginx/html/large").display().to_string();
    get(&[&of_ours[..], &["-T", &file, &format!("{base}/put")]].concat());
    assert!(get(&[&of_ours[..], &[&format!("{base}/put")]].concat()) == large);
    // Of a length that nobody knows, with what waits for a word of the server, and with trailers.
    let at_address = format!("https://{front}");
    let put = ["-v", "-H", ":method: PUT", "-d", &file];
    let more = ["--no-content-length", "--expect-continue", "--trailer", "x-sum: 7"];
    let url = format!("{at_address}/nghttp");
    let frames = told("nghttp", &[&put[..], &more, &[&url]].concat());
    assert!(frames.contains(":status: 100") && frames.contains(":status: 201"), "{frames}");
    assert_eq!(fs::read(folder.path().join("nginx/html/nghttp")).unwrap().len(), LARGE);
    // Thousands, fifty at a time on each connection.
    let url = format!("{at_address}/small");
    let load = told("h2load", &["-n", "4000", "-c", "4", "-m", "50", &url]);
    assert!(load.contains("4000 succeeded, 0 failed, 0 errored, 0 timeout"), "{load}");
    assert!(load.contains("status codes: 4000 2xx,"), "{load}");
    // A stop in the middle of a download: all of it comes, and nobody waits for whoever is idle.
    let mut download = Command::new("curl");
    let partly = folder.path().join("partly");
    download.args(["-sS", "-m", "60", "--limit-rate", "4M", "-w"]);
    download.args(["%{http_version} %{size_download}", "-o"]).arg(&partly).args(of_ours);
    download.arg(format!("{base}/large")).stdout(Stdio::piped());
    let log = folder.path().join("access.log");
    until("the requests before are logged", || {
        let lines = fs::read_to_string(&log).unwrap();
        Ok((lines.lines().count() == 4005).then_some(()))
    })
    .unwrap();
    let download = download.spawn().unwrap();
    until("it is under way", || {
        Ok(fs::metadata(&partly).ok().filter(|file| file.len() > 0).map(drop))
    })
    .unwrap();
    agent.signal(Signal::TERM).unwrap();
    let output = download.wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), format!("2 {LARGE}"));
    assert!(agent.wait().unwrap().success());
    let lines = fs::read_to_string(&log).unwrap();
    let asked = format!("\"GET {base}/large HTTP/2.0\"");
    assert!(lines.lines().last().unwrap().ends_with(&asked), "{lines}");
    assert!(lines.lines().all(|line| line.contains(" ---- ")), "{lines}");
}

#[test]
fn a_server_that_is_killed_costs_curl_nothing() {
    if peers::missing(missing()) {
        return;
    }
    let folder = Folder::new();
    let [front, first, second, admin] = addresses();
    let _stays = nginx(&folder.path().join("stays"), &[first], "");
    let mut dies = nginx(&folder.path().join("dies"), &[second], "");
    let config = format!(
        "[admin]\nlisten = \"{admin}\"\n[frontend.web]\nbind = [\"{front}\"]\npool = \"app\"\naccess_log = {{ format = \"off\" }}\n\
         [pool.app]\nbalance = \"round-robin\"\nbreaker = {{ consecutive_errors = 3, max_ejected = 0.5 }}\nservers = [\n  \
         {{ name = \"a\", address = \"{first}\" }},\n  {{ name = \"b\", address = \"{second}\" }},\n]\n"
    );
    let mut agent = balancer(&folder, &config, &[front, admin]);
    // Eighty requests on one connection, with the death among them.
    let url = format!("http://{front}/small?[1-40]");
    let codes = ["-o", "/dev/null", "-w", "%{http_code}\n"];
    let before = get(&[&codes[..], &[&url]].concat());
    dies.signal(Signal::KILL).unwrap();
    dies.wait().unwrap();
    let after = get(&[&codes[..], &[&url]].concat());
    assert_eq!(before + &after, "200\n".repeat(80));
    // It is put aside by then, and the door says so.
    let status = get(&[&format!("http://{admin}/v1/status")]);
    let status: serde_json::Value = serde_json::from_str(&status).unwrap();
    let servers = status["pools"][0]["servers"].as_array().unwrap();
    assert_eq!(servers[0]["serves"], "all");
    assert_eq!(servers[1]["serves"], "nothing", "{status:#}");
    let metrics = get(&[&format!("http://{admin}/metrics")]);
    let responses = "site_agent_frontend_responses_total{class=\"2xx\",frontend=\"web\"} 80\n";
    assert!(metrics.contains(responses), "{metrics}");
    agent.signal(Signal::TERM).unwrap();
    assert!(agent.wait().unwrap().success());
}
