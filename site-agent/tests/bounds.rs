//! `site.toml` at its limits, and with slips: whatever is written is read, or told what is wrong.

#![expect(clippy::unwrap_used, reason = "what a test cannot go on without may as well end it")]

use std::fs;
use std::path::{Path, PathBuf};

use common::config::Colour;
use common::config::report_to::MOST_NAME_SERVERS;
use proptest::prelude::*;
use site_agent::config::{self, Config};
use tempfile::TempDir;

const POOL: &str = "[pool.web]\nservers = [{ name = \"a\", address = \"10.0.0.1:8080\" }]\n";

fn bad() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/config/bad")
}

fn read(dir: &TempDir, text: &str) -> Result<Config, String> {
    let shown = format!("{}/", dir.path().display());
    config::from_str(text, dir.path()).map_err(|problems| problems.to_string().replace(&shown, ""))
}

#[test]
fn limits_of_lists_are_stated() {
    let dir = tempfile::tempdir().unwrap();
    let rules = |count: usize| {
        let rule = "{ when = \"is_tls\", deny = 403 },";
        format!(
            "[frontend.web]\nbind = [\"0.0.0.0:80\"]\npool = \"web\"\nrules = [{}]\n{POOL}",
            rule.repeat(count)
        )
    };
    assert!(read(&dir, &rules(config::MOST_RULES)).is_ok());
    assert_eq!(
        read(&dir, &rules(config::MOST_RULES + 1)).unwrap_err(),
        "site.toml:4: frontend.web.rules: has 1025 rules, expected at most 1024"
    );
    let servers = |count: usize| {
        let server =
            |port: usize| format!("{{ name = \"s{port}\", address = \"10.0.0.1:{}\" }},", port + 1);
        let servers: String = (0..count).map(server).collect();
        format!(
            "[frontend.web]\nbind = [\"0.0.0.0:80\"]\npool = \"web\"\n[pool.web]\nservers = [{servers}]"
        )
    };
    assert!(read(&dir, &servers(config::MOST_SERVERS)).is_ok());
    assert!(
        read(&dir, &servers(config::MOST_SERVERS + 1)).unwrap_err().contains("lists 4097 servers")
    );
    let binds = |count: usize| {
        let bind: String = (0..count).map(|port| format!("\"0.0.0.0:{}\",", port + 1)).collect();
        format!("[frontend.web]\nbind = [{bind}]\npool = \"web\"\n{POOL}")
    };
    assert!(read(&dir, &binds(config::MOST_BINDS)).is_ok());
    assert!(read(&dir, &binds(config::MOST_BINDS + 1)).unwrap_err().contains("lists 65 addresses"));
    let pools = |count: usize| {
        let pools: String = (1..count)
            .map(|n| {
                format!("[pool.p{n}]\nservers = [{{ name = \"a\", address = \"10.0.0.1:80\" }}]\n")
            })
            .collect();
        format!("[frontend.web]\nbind = [\"0.0.0.0:80\"]\npool = \"web\"\n{POOL}{pools}")
    };
    assert!(read(&dir, &pools(config::MOST_NAMES)).is_ok());
    assert!(
        read(&dir, &pools(config::MOST_NAMES + 1))
            .unwrap_err()
            .ends_with("one of 1025, where 1024 is the most")
    );
    // None of them is there, which is told of each if there are not too many.
    let certificates = |count: usize| {
        let list = "\"no.pem\",".repeat(count);
        let told = read(
            &dir,
            &format!(
                "[frontend.web]\nbind = [\"0.0.0.0:443\"]\npool = \"web\"\ntls = {{ certificates = [{list}] }}\n{POOL}"
            ),
        );
        told.unwrap_err().lines().map(str::to_owned).collect::<Vec<String>>()
    };
    assert_eq!(certificates(config::MOST_CERTIFICATES).len(), config::MOST_CERTIFICATES);
    let told = certificates(config::MOST_CERTIFICATES + 1);
    assert_eq!(
        told,
        ["site.toml:4: frontend.web.tls.certificates: 10001 certificates, expected at most 10000"]
    );
    let name_servers = |count: usize| {
        let list: String = (0..count)
            .map(|n| format!("{{ address = \"192.0.2.{n}:8453\", name = \"dns{n}\" }},"))
            .collect();
        let text = format!(
            "[agent]\nname = \"a\"\nsite = \"fra\"\nreport_to = [{list}]\nca = \"no.pem\"\ncertificate = \"no.pem\"\nkey = \"no.pem\"\n{}",
            rules(0)
        );
        read(&dir, &text).unwrap_err().contains("name servers, expected 1 to 32")
    };
    assert!(!name_servers(MOST_NAME_SERVERS));
    assert!(name_servers(MOST_NAME_SERVERS + 1) && name_servers(0));
    let page = |octets: u64| {
        fs::write(dir.path().join("503.html"), vec![b'a'; octets as usize]).unwrap();
        format!(
            "[frontend.web]\nbind = [\"0.0.0.0:80\"]\npool = \"web\"\n{POOL}error_pages = {{ 503 = \"503.html\" }}"
        )
    };
    let config = read(&dir, &page(config::LARGEST_PAGE)).unwrap();
    let page_read = config.site.pools[0].error_page(503).unwrap();
    assert_eq!(
        (page_read.body.len(), page_read.content_type),
        (65_536, "text/html; charset=utf-8")
    );
    assert!(config.site.pools[0].error_page(502).is_none());
    assert!(
        read(&dir, &page(config::LARGEST_PAGE + 1))
            .unwrap_err()
            .ends_with("503.html cannot be read: larger than 65536 octets")
    );
}

/// The example and the bad files, with lines and words left out, twice or of another: each is read, or told what is wrong.
fn slips() -> impl Strategy<Value = String> {
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/examples/site.toml");
    let bad = fs::read_dir(bad()).unwrap().map(|entry| entry.unwrap().path());
    let bad = bad.filter(|path| path.extension().is_some_and(|extension| extension == "toml"));
    let texts: Vec<String> =
        bad.chain([example]).map(|path| fs::read_to_string(path).unwrap()).collect();
    let words: Vec<String> = texts
        .iter()
        .flat_map(|text| text.split_inclusive([' ', ',', '\n']))
        .map(str::to_owned)
        .collect();
    let slip = (any::<prop::sample::Index>(), 0..4_u8, prop::sample::select(words));
    (prop::sample::select(texts), prop::collection::vec(slip, 0..6)).prop_map(|(text, slips)| {
        let mut words: Vec<&str> = text.split_inclusive([' ', ',', '\n']).collect();
        for (at, how, word) in &slips {
            let at = at.index(words.len());
            match how {
                0 => drop(words.remove(at)),
                1 => words.insert(at, words[at]),
                2 => words[at] = word,
                _ => words.swap(at, 0),
            }
        }
        words.concat()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_slip_is_told_or_is_none(text in slips()) {
        if let Err(problems) = config::from_str(&text, &bad()) {
            prop_assert!(!problems.is_empty());
            prop_assert!(!problems.render(Colour::Never).is_empty());
        }
    }
}
