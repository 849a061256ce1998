//! `probe.toml` as operators write it, right and wrong.

#![expect(clippy::unwrap_used, reason = "what a test cannot go on without may as well end it")]

#[path = "world/credentials.rs"]
mod credentials;

use std::fs;
use std::path::Path;

use common::check::Kind;
use credentials::Ca;
use probe::config;
use tempfile::TempDir;

const GOOD: &str = r#"
[probe]
name = "ams"
state_dir = "state"
report_to = [{ address = "192.0.2.1:8453", name = "dns1" }]
ca = "ams-ca.pem"
certificate = "ams.pem"
key = "ams.key"
references = [{ kind = "tcp", address = "192.0.2.9", port = 80 }]
"#;

fn folder() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let ca = Ca::new();
    ca.issue(dir.path(), "gslb://test/probe/ams");
    ca.issue(dir.path(), "gslb://test/dns/dns1");
    dir
}

fn load(dir: &TempDir, text: &str) -> Result<config::Config, String> {
    let file = dir.path().join("probe.toml");
    fs::write(&file, text).unwrap();
    let shown = format!("{}/", dir.path().display());
    config::load(&file).map_err(|problems| problems.to_string().replace(&shown, ""))
}

#[test]
fn the_example_is_good() {
    let dir = tempfile::tempdir().unwrap();
    let pki = dir.path().join("pki");
    fs::create_dir(&pki).unwrap();
    let files = Ca::new().issue(&pki, "gslb://example/probe/ams");
    fs::rename(files.ca, pki.join("ca.pem")).unwrap();
    fs::rename(pki.join("ams.crl"), pki.join("crl.pem")).unwrap();
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/examples/probe.toml");
    let example = fs::read_to_string(example).unwrap();
    let config = load(&dir, &example).unwrap();
    assert_eq!((config.servers.len(), config.references.len()), (2, 3));
    assert!(config.warnings.is_empty(), "{}", config.warnings);
    // What is commented out is good too.
    let mut all = example.replace("# roots     = \"roots.pem\"", "roots = \"pki/ca.pem\"");
    for (commented, there) in [
        ("  # { kind = \"https\"", "  { kind = \"https\""),
        ("# looks_at_once", "looks_at_once"),
        ("# [program.replication]", "[program.replication]"),
        ("# path      = \"/usr/local/lib/probe/replication\"", "path = \"/bin/sh\""),
        ("# arguments", "arguments"),
    ] {
        assert!(all.contains(commented), "{commented}");
        all = all.replace(commented, there);
    }
    let config = load(&dir, &all).unwrap();
    assert_eq!((config.references.len(), config.programs.len()), (4, 1));
}

#[test]
fn what_is_left_out_is_filled_in() {
    let dir = folder();
    let config = load(&dir, GOOD).unwrap();
    let [reference] = &config.references[..] else { panic!("{:?}", config.references) };
    assert!(matches!(reference.check.kind, Kind::Tcp(_)));
    assert_eq!((&*reference.host, reference.port), ("192.0.2.9", 80));
    assert_eq!(config.looks_at_once, 512);
    assert_eq!(config.admin, None);
    assert_eq!(config.principal.to_string(), "gslb://test/probe/ams");
    let blind =
        GOOD.replace("references = [{ kind = \"tcp\", address = \"192.0.2.9\", port = 80 }]", "");
    let config = load(&dir, &blind).unwrap();
    let told = config.warnings.to_string();
    assert!(told.contains("probe.toml:3: probe.name: it has no references"), "{told}");
}

/// Another text in a good file, and every problem of that.
fn check(from: &str, to: &str, expected: &[&str]) {
    assert!(GOOD.contains(from), "{from}");
    let told = load(&folder(), &GOOD.replace(from, to)).err().unwrap_or_default();
    assert_eq!(told.lines().collect::<Vec<_>>(), expected, "{to}");
}

#[test]
fn every_problem_is_told_with_file_line_and_key() {
    check(
        "state_dir = \"state\"",
        "state_dri = \"state\"",
        &[
            "probe.toml:2: probe: state_dir is missing (expected a string)",
            "probe.toml:4: probe.state_dri: unknown key; did you mean state_dir? (known keys: name, state_dir, \
             report_to, ca, certificate, key, crl, roots, references, looks_at_once)",
        ],
    );
    check(
        "name = \"ams\"",
        "name = \"fra\"",
        &["probe.toml:3: probe.name: found \"fra\", expected \"ams\": the certificate is of \
           gslb://test/probe/ams, and that is what name servers believe"],
    );
    check(
        "certificate = \"ams.pem\"\nkey = \"ams.key\"",
        "certificate = \"dns1.pem\"\nkey = \"dns1.key\"",
        &[
            "probe.toml:7: probe.certificate: is of gslb://test/dns/dns1, expected that of a probe: \
           gslb://test/probe/NAME",
        ],
    );
    check(
        "report_to = [{ address = \"192.0.2.1:8453\", name = \"dns1\" }]",
        "report_to = []\nlooks_at_once = 0",
        &[
            "probe.toml:5: probe.report_to: found 0 name servers, expected 1 to 32, each as { address = \
             \"192.0.2.1:8453\", name = \"dns1\" }",
            "probe.toml:6: probe.looks_at_once: found 0, expected a number from 1 to 8192",
        ],
    );
    check(
        "report_to = [{ address = \"192.0.2.1:8453\", name = \"dns1\" }]",
        "report_to = [{ address = \"192.0.2.1:8453\", name = \"dns1\" },\n{ address = \"192.0.2.1:8453\", \
         name = \"dns1\" }, { address = \"ns.example.com\", name = \"Dns3\" }]",
        &[
            "probe.toml:6: probe.report_to[1].address: 192.0.2.1:8453 is here twice, as \
             probe.report_to[0].address as well; remove one",
            "probe.toml:6: probe.report_to[1].name: \"dns1\" is here twice, as probe.report_to[0].name as well; \
             remove one",
            "probe.toml:6: probe.report_to[2].address: \"ns.example.com\" is not an address and port such as \
             \"192.0.2.1:53\" or \"[::]:53\"",
        ],
    );
    check(
        "{ kind = \"tcp\", address = \"192.0.2.9\", port = 80 }",
        "{ kind = \"tcp\", address = \"192.0.2.9\", path = \"/\" },\n{ kind = \"quic\", address = \"192.0.2.9\" },\n\
         { kind = \"https\", address = \"192.0.2.9\", path = \"x\", interval = \"1s\", timeout = \"2s\" }",
        &[
            "probe.toml:9: probe.references[0]: port is missing (expected where it listens, as a number)",
            "probe.toml:9: probe.references[0].path: means nothing for this kind; remove it",
            "probe.toml:10: probe.references[1].kind: there is no \"quic\" here (choices: tcp, tls, http, https, dns, \
             icmp)",
            "probe.toml:11: probe.references[2]: timeout: 2s is not shorter than interval 1s",
            "probe.toml:11: probe.references[2]: path: \"x\" is no path such as \"/healthz\" (other octets as %20)",
        ],
    );
}

#[test]
fn files_that_are_not_there_are_told_where_they_are_named() {
    check(
        "ca = \"ams-ca.pem\"",
        "ca = \"none.pem\"\nroots = \"none.pem\"",
        &[
            "probe.toml:6: probe.ca: none.pem cannot be read: No such file or directory (os error 2)",
            "probe.toml:7: probe.roots: none.pem cannot be read: No such file or directory (os error 2)",
        ],
    );
    check(
        "references",
        "[program.mine]\npath = \"/none\"\n[program.yours]\npath = \"sh\"\n[program.x]\nreferences",
        &[
            "probe.toml:10: program.mine.path: there is no file /none",
            "probe.toml:12: program.yours.path: \"sh\" is no absolute path: nothing is searched",
            "probe.toml:13: program.x: path is missing (expected a string)",
            "probe.toml:14: program.x.references: unknown key (known keys: path, arguments)",
        ],
    );
}

#[test]
fn there_is_room_for_so_many_references_and_name_servers() {
    let dir = folder();
    let reference = "{ kind = \"tcp\", address = \"192.0.2.9\", port = 80 }";
    let references = |count: usize| {
        let all: Vec<String> =
            (1..=count).map(|port| reference.replace("80", &port.to_string())).collect();
        GOOD.replace(reference, &all.join(", "))
    };
    assert_eq!(load(&dir, &references(64)).unwrap().references.len(), 64);
    let told = load(&dir, &references(65)).unwrap_err();
    assert!(told.ends_with("probe.references[64]: there are more than 64 references"), "{told}");
    let server = "{ address = \"192.0.2.1:8453\", name = \"dns1\" }";
    let servers = |count: usize| {
        let all: Vec<String> = (1..=count)
            .map(|n| server.replace("8453", &n.to_string()).replace("dns1", &format!("dns{n}")))
            .collect();
        GOOD.replace(server, &all.join(", "))
    };
    assert_eq!(load(&dir, &servers(32)).unwrap().servers.len(), 32);
    let told = load(&dir, &servers(33)).unwrap_err();
    assert!(told.contains("found 33 name servers, expected 1 to 32"), "{told}");
}
