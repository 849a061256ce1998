//! Every kind of check against servers that we did not write, as it passes and as it fails.
//!
//! One world of servers, one table. What a look says of a server is its reason and its detail, as reports carry them.

#![expect(clippy::unwrap_used, reason = "what a test cannot go on without may as well end it")]

mod servers;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::process::{Command, Output};

use common::look::{Look as _, Looker, Program, Programs, Roots, Who};
use common::seen::Seen;
use common::target::Target;
use gslb_tests::{netns, peers, server};

use servers::Servers;

const HOST: &str = "www.example.com";

fn target(at: SocketAddr, host: &str, how: &str) -> Target {
    let (address, port) = (at.ip(), at.port());
    let json = format!(
        r#"{{"address":"{address}","port":{port},"host":"{host}","check":{{{how},"interval_ms":30000,
           "timeout_ms":3000,"rise":1,"fall":1,"ok":1}}}}"#
    );
    let target: Target = serde_json::from_str(&json).unwrap_or_else(|why| panic!("{json}: {why}"));
    assert_eq!(target.faults(), [], "{json}");
    target
}

fn told(seen: &Seen) -> String {
    match &seen.outcome {
        Ok(()) => "up".to_owned(),
        Err(failure) => format!("{}: {}", failure.reason, failure.detail),
    }
}

/// Which server is looked at how, and what begins what is said of it.
type Row = (&'static str, &'static str, &'static str);

const HTTP: &[Row] = &[
    ("http", r#""kind":"http","path":"/healthz""#, "up"),
    ("http", r#""kind":"http","path":"/healthz","method":"HEAD""#, "up"),
    ("http", r#""kind":"http","path":"/healthz","method":"OPTIONS""#, "up"),
    ("http", r#""kind":"http","path":"/empty","status":["204"]"#, "up"),
    (
        "http",
        r#""kind":"http","path":"/empty","status":["200"]"#,
        "status: answered 204, expected 200",
    ),
    ("http", r#""kind":"http","path":"/broken""#, "status: answered 503, expected 200-299"),
    ("http", r#""kind":"http","path":"/broken","status":["500-599"]"#, "up"),
    ("http", r#""kind":"http","path":"/moved""#, "status: answered 302"),
    ("http", r#""kind":"http","path":"/nowhere""#, "status: answered 404"),
    ("http", r#""kind":"http","path":"/closed""#, "closed: "),
    ("http", r#""kind":"http","path":"/healthz","expect_body":{"contains":"is well"}"#, "up"),
    (
        "http",
        r#""kind":"http","path":"/healthz","expect_body":{"matches":"^all .* well\n$"}"#,
        "up",
    ),
    ("http", r#""kind":"http","path":"/healthz","expect_body":{"contains":"not well"}"#, "body: "),
    ("http", r#""kind":"http","path":"/medium","expect_body":{"contains":"the end"}"#, "up"),
    ("http", r#""kind":"http","path":"/large","expect_body":{"contains":"the end"}"#, "body: "),
    ("http", r#""kind":"http","path":"/slow""#, "up"),
    (
        "http",
        r#""kind":"http","path":"/slow","expect_body":{"contains":"the end"}"#,
        "timeout: the rest of the answer",
    ),
    (
        "http",
        r#""kind":"http","path":"/healthz","expect_headers":[{"name":"x-state","value":{"contains":"ready"}}]"#,
        "up",
    ),
    ("http", r#""kind":"http","path":"/healthz","expect_headers":[{"name":"X-State"}]"#, "up"),
    (
        "http",
        r#""kind":"http","path":"/healthz","expect_headers":[{"name":"x-state","value":{"contains":"full"}}]"#,
        "header: answered x-state: \"ready\"",
    ),
    (
        "http",
        r#""kind":"http","path":"/healthz","expect_headers":[{"name":"x-other"}]"#,
        "header: answered without",
    ),
    ("http", r#""kind":"http","path":"/mine","headers":[["X-Probe","1"]]"#, "up"),
    ("http", r#""kind":"http","path":"/mine""#, "status: answered 403"),
    ("nobody", r#""kind":"http","path":"/healthz""#, "refused: "),
    // Each version where it is spoken, and where it is not.
    ("http", r#""kind":"http","path":"/healthz","version":"1.1""#, "up"),
    ("h2c", r#""kind":"http","path":"/healthz","version":"2""#, "up"),
    ("h2c", r#""kind":"http","path":"/broken","version":"2""#, "status: answered 503"),
    (
        "h2c",
        r#""kind":"http","path":"/healthz","version":"2","expect_body":{"contains":"well"}"#,
        "up",
    ),
    ("h2c", r#""kind":"http","path":"/mine","version":"2","headers":[["X-Probe","1"]]"#, "up"),
    ("h2c", r#""kind":"http","path":"/closed","version":"2""#, "closed: "),
    ("http", r#""kind":"http","path":"/healthz","version":"2""#, "malformed: "),
    ("h2c", r#""kind":"http","path":"/healthz","version":"1.1""#, "malformed: "),
    // HAProxy before nginx, and with nothing behind it.
    ("haproxy", r#""kind":"http","path":"/healthz","expect_body":{"contains":"well"}"#, "up"),
    ("haproxy-empty", r#""kind":"http","path":"/healthz""#, "status: answered 503"),
];

const HTTPS: &[Row] = &[
    ("https", r#""kind":"https","path":"/healthz""#, "up"),
    ("https", r#""kind":"https","path":"/healthz","version":"2""#, "up"),
    ("https", r#""kind":"https","path":"/healthz","version":"1.1""#, "up"),
    ("https1", r#""kind":"https","path":"/healthz""#, "up"),
    ("https1", r#""kind":"https","path":"/healthz","version":"2""#, "handshake: "),
    ("https", r#""kind":"https","path":"/broken""#, "status: answered 503"),
    ("https", r#""kind":"https","path":"/healthz","expect_body":{"contains":"full"}"#, "body: "),
    ("https-other", r#""kind":"https","path":"/healthz""#, "certificate: "),
    ("https-other", r#""kind":"https","path":"/healthz","verify":"nothing""#, "up"),
    ("https-expired", r#""kind":"https","path":"/healthz""#, "certificate: "),
    ("https-untrusted", r#""kind":"https","path":"/healthz""#, "certificate: "),
    ("http", r#""kind":"https","path":"/healthz""#, "handshake: "),
    ("https", r#""kind":"http","path":"/healthz""#, "status: answered 400"),
];

const TLS: &[Row] = &[
    ("tls", r#""kind":"tls""#, "up"),
    ("tls-1.2", r#""kind":"tls""#, "up"),
    ("tls-1.3", r#""kind":"tls""#, "up"),
    ("tls-1.1", r#""kind":"tls""#, "handshake: "),
    ("tls-other", r#""kind":"tls""#, "certificate: "),
    ("tls-other", r#""kind":"tls","verify":"nothing""#, "up"),
    ("tls-expired", r#""kind":"tls""#, "certificate: "),
    ("tls-untrusted", r#""kind":"tls""#, "certificate: "),
    ("https", r#""kind":"tls""#, "up"),
    ("http", r#""kind":"tls""#, "handshake: "),
    ("nobody", r#""kind":"tls""#, "refused: "),
];

const TCP: &[Row] = &[
    ("haproxy-tcp", r#""kind":"tcp""#, "up"),
    (
        "haproxy-tcp",
        r#""kind":"tcp","send":"GET /healthz HTTP/1.0\r\nHost: www.example.com\r\n\r\n","expect":{"contains":"all is well"}"#,
        "up",
    ),
    (
        "haproxy-tcp",
        r#""kind":"tcp","send":"GET /healthz HTTP/1.0\r\nHost: www.example.com\r\n\r\n","expect":{"matches":"^HTTP/1.1 503"}"#,
        "answer: ",
    ),
    // It takes connections and has nobody to give them to: only a word finds that out.
    ("haproxy-tcp-empty", r#""kind":"tcp""#, "up"),
    (
        "haproxy-tcp-empty",
        r#""kind":"tcp","expect":{"contains":"hello"}"#,
        "answer: ended after 0 octets",
    ),
    ("nobody", r#""kind":"tcp""#, "refused: "),
];

const DNS: &[Row] = &[
    ("knot", r#""kind":"dns","name":"example.com","rtype":"SOA""#, "up"),
    ("knot", r#""kind":"dns","name":"www.example.com.","rtype":"a","expect":"192.0.2.2""#, "up"),
    (
        "knot",
        r#""kind":"dns","name":"www.example.com","rtype":"A","expect":"192.0.2.9""#,
        "answer: answered 192.0.2.",
    ),
    (
        "knot",
        r#""kind":"dns","name":"www.example.com","rtype":"AAAA","expect":"2001:DB8:0:0::1""#,
        "up",
    ),
    ("knot", r#""kind":"dns","name":"alias.example.com","rtype":"A","expect":"192.0.2.1""#, "up"),
    (
        "knot",
        r#""kind":"dns","name":"alias.example.com","rtype":"CNAME","expect":"WWW.example.com.""#,
        "up",
    ),
    (
        "knot",
        r#""kind":"dns","name":"example.com","rtype":"MX","expect":"10 mail.example.com.""#,
        "up",
    ),
    (
        "knot",
        r#""kind":"dns","name":"example.com","rtype":"MX","expect":"20 mail.example.com.""#,
        "answer: ",
    ),
    (
        "knot",
        r#""kind":"dns","name":"note.example.com","rtype":"TXT","expect":"\"all is  well\" \"so far\"""#,
        "up",
    ),
    (
        "knot",
        r#""kind":"dns","name":"note.example.com","rtype":"TXT","expect":"\"all is well\" \"so far\"""#,
        "answer: ",
    ),
    (
        "knot",
        r#""kind":"dns","name":"ca.example.com","rtype":"CAA","expect":"0 issue \"ca.example.net\"""#,
        "up",
    ),
    (
        "knot",
        r#""kind":"dns","name":"_s._tcp.example.com","rtype":"SRV","expect":"1 2 443 www.example.com.""#,
        "up",
    ),
    (
        "knot",
        r#""kind":"dns","name":"svc.example.com","rtype":"HTTPS","expect":"1 . alpn=h2""#,
        "up",
    ),
    ("knot", r#""kind":"dns","name":"svc.example.com","rtype":"TYPE65""#, "up"),
    (
        "knot",
        r#""kind":"dns","name":"odd.example.com","rtype":"TYPE65400","expect":"\\# 3 C0ffee""#,
        "up",
    ),
    (
        "knot",
        r#""kind":"dns","name":"odd.example.com","rtype":"TYPE65400","expect":"\\# 3 c0ffef""#,
        "answer: ",
    ),
    ("knot", r#""kind":"dns","name":"example.com","rtype":"NOTYPE""#, "probe: cannot ask that"),
    ("knot", r#""kind":"dns","name":"mail.example.com","rtype":"AAAA""#, "up"),
    (
        "knot",
        r#""kind":"dns","name":"mail.example.com","rtype":"AAAA","expect":"2001:db8::1""#,
        "answer: answered nothing",
    ),
    // Too large for UDP.
    ("knot", r#""kind":"dns","name":"large.example.com","rtype":"TXT""#, "up"),
    (
        "knot",
        r#""kind":"dns","name":"none.example.com","rtype":"A""#,
        "answer: answered Non-Existent Domain",
    ),
    (
        "knot",
        r#""kind":"dns","name":"example.net","rtype":"SOA""#,
        "answer: answered Query Refused",
    ),
    ("nobody", r#""kind":"dns","name":"example.com","rtype":"SOA""#, "refused: "),
];

const GRPC: &[Row] = &[
    ("grpc", r#""kind":"grpc""#, "up"),
    ("grpc", r#""kind":"grpc","service":"web""#, "up"),
    ("grpc", r#""kind":"grpc","service":"db""#, "answer: "),
    ("grpc", r#""kind":"grpc","service":"new""#, "answer: "),
    (
        "grpc",
        r#""kind":"grpc","service":"none""#,
        "answer: the call ended with gRPC status 5 (unknown service)",
    ),
    ("grpc", r#""kind":"grpc","service":"stuck""#, "timeout: "),
    ("grpc-without", r#""kind":"grpc""#, "answer: the call ended with gRPC status 12"),
    ("grpcs", r#""kind":"grpcs","service":"web""#, "up"),
    ("grpcs", r#""kind":"grpcs","service":"db""#, "answer: "),
    ("grpcs-other", r#""kind":"grpcs""#, "certificate: "),
    ("grpcs-other", r#""kind":"grpcs","verify":"nothing""#, "up"),
    ("grpcs", r#""kind":"grpc""#, "closed: "),
    ("h2c", r#""kind":"grpc""#, "status: answered 404"),
    ("http", r#""kind":"grpc""#, "malformed: "),
    ("nobody", r#""kind":"grpc""#, "refused: "),
];

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_passes_and_fails_against_servers_of_others() {
    if peers::missing(servers::missing()) {
        return;
    }
    let servers = Servers::start();
    let roots = Roots::of(vec![servers.root.clone()]).unwrap();
    let looker = Looker { who: Who::Probe, roots, programs: Programs::new(BTreeMap::new()) };
    let mut wrong = String::new();
    for (name, how, expected) in [HTTP, HTTPS, TLS, TCP, DNS, GRPC].concat() {
        let seen = looker.look(&target(servers.at(name), HOST, how)).await;
        let told = told(&seen);
        if !told.starts_with(expected) || (expected == "up") != (told == "up") {
            wrong += &format!("{name} by {how}\n  found    {told}\n  expected {expected}\n");
        }
        // When a certificate ends is known whatever else is wrong with it.
        let ends = match name {
            "https-expired" | "tls-expired" => Some(true),
            "https" | "tls" | "grpcs" | "https-other" if expected != "closed: " => Some(false),
            _ => None,
        };
        let (Some(has_ended), Some(not_after)) = (ends, seen.not_after) else { continue };
        assert_eq!(not_after < 1_700_000_000, has_ended, "{name} by {how}");
    }
    assert!(wrong.is_empty(), "{wrong}");
    // Another name at the same address is another site.
    let how = r#""kind":"http","path":"/healthz""#;
    let seen = looker.look(&target(servers.at("http"), "mail.example.com", how)).await;
    assert!(told(&seen).starts_with("status: answered 421"), "{}", told(&seen));
}

#[tokio::test(flavor = "multi_thread")]
async fn programs_of_others_say_by_their_exit_code() {
    if peers::missing(servers::missing()) {
        return;
    }
    let servers = Servers::start();
    let shell = |script: &str| Program {
        path: "/bin/sh".into(),
        arguments: vec!["-c".to_owned(), script.to_owned()],
    };
    let ask = "exec curl --silent --show-error --fail --stderr - --output /dev/null \
               http://$GSLB_ADDRESS:$GSLB_PORT/";
    let scripts = [
        ("curl", format!("{ask}broken")),
        ("curl-well", format!("{ask}healthz --header 'Host: www.example.com'")),
        ("slow", "exec sleep 60".to_owned()),
        ("talks", "head -c 1000000 /dev/zero; echo well".to_owned()),
        ("talks-and-fails", "echo first; head -c 1000000 /dev/zero; exit 7".to_owned()),
        // What it leaves behind has its output, and ends with it.
        ("leaves", "sleep 60 & exit 0".to_owned()),
        ("leaves-and-fails", "sleep 60 & echo half; exit 1".to_owned()),
        ("killed", "kill -SEGV $$".to_owned()),
    ];
    let programs = scripts.map(|(name, script)| (name.to_owned(), shell(&script)));
    let programs = programs.into_iter().chain([(
        "none".to_owned(),
        Program { path: "/nonexistent/program".into(), arguments: vec![] },
    )]);
    let roots = Roots::of(vec![servers.root.clone()]).unwrap();
    let looker = Looker { who: Who::Probe, roots, programs: Programs::new(programs.collect()) };
    for (name, expected) in [
        ("curl-well", "up"),
        ("curl", "program: exit status: 22: curl: (22) The requested URL returned error"),
        ("slow", "timeout: "),
        ("talks", "up"),
        ("talks-and-fails", "program: exit status: 7: first"),
        ("leaves", "up"),
        ("leaves-and-fails", "program: exit status: 1: half"),
        ("killed", "program: signal: 11"),
        ("none", "probe: running /nonexistent/program"),
    ] {
        let how = format!(r#""kind":"external","program":"{name}""#);
        let seen = looker.look(&target(servers.at("http"), HOST, &how)).await;
        assert!(told(&seen).starts_with(expected), "{name}: {}", told(&seen));
    }
}

/// `probe look icmp` as somebody who is nobody, in a network of its own.
#[test]
fn an_echo_needs_no_root_where_the_group_may_ping() {
    let setpriv = Command::new("setpriv").arg("--version").output();
    let no_setpriv = setpriv.is_err().then_some("setpriv is not installed");
    if peers::missing(netns::missing().into_iter().chain(no_setpriv)) {
        return;
    }
    // Of the router's own, somebody's beyond it, nobody's, and one that is said not to be there.
    let network = netns::Network::new(&["192.0.2.1"]).unwrap();
    let there = network.join("10.9.1", &["192.0.2.2"]).unwrap();
    let here = network.join("10.9.2", &[]).unwrap();
    // Where it was built nobody may look.
    let dir = tempfile::tempdir().unwrap();
    let program = dir.path().join("probe");
    std::fs::copy(server::built("probe").unwrap(), &program).unwrap();
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(dir.path(), open).unwrap();
    let look = |address: &str| -> String {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "--bounding-set=-all"]);
        command.args(["--inh-caps=-all", "--no-new-privs"]).arg(&program);
        command.args(["look", "icmp", address, "--timeout", "1s"]).current_dir("/");
        let Output { stdout, stderr, .. } = here.within(|| command.output()).unwrap();
        String::from_utf8_lossy(&[stdout, stderr].concat()).into_owned()
    };
    let may_ping = |groups: &str| {
        here.within(|| std::fs::write("/proc/sys/net/ipv4/ping_group_range", groups)).unwrap();
    };
    may_ping("1 0");
    let told = look("192.0.2.1");
    assert!(told.starts_with("down (probe): opening a ping socket: "), "{told}");
    assert!(told.contains("sysctl net.ipv4.ping_group_range"), "{told}");
    may_ping("65534 65534");
    for address in ["192.0.2.1", "192.0.2.2", "10.9.2.2", "::1"] {
        let told = look(address);
        assert!(told.starts_with("up\n") && told.contains("first octet"), "{address}: {told}");
    }
    network.cut("10.9.2.0/24", "192.0.2.2/32").unwrap();
    let told = look("192.0.2.2");
    assert!(told.starts_with("down (timeout): "), "{told}");
    // We know no way ourselves.
    let told = look("2001:db8::1");
    assert!(told.starts_with("down (probe): no way there from here: "), "{told}");
    drop(there);
}
