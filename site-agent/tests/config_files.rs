//! Files that `site.toml` names: what is in their way, and what time does to them.

#![expect(clippy::unwrap_used, reason = "what a test cannot go on without may as well end it")]

#[path = "../src/tls/tests/made.rs"]
#[expect(dead_code, reason = "the test of TLS alone needs more of it")]
mod made;

use std::fs;
use std::process::Command;

use site_agent::config::{self, Config, Good};
use tempfile::TempDir;

const POOL: &str = "[pool.web]\nservers = [{ name = \"a\", address = \"10.0.0.1:8080\" }]\n";

/// Reads it in a folder of its own; an error is what is told, without the folder.
fn read(dir: &TempDir, text: &str) -> Result<Config, String> {
    let shown = format!("{}/", dir.path().display());
    config::from_str(text, dir.path()).map_err(|problems| problems.to_string().replace(&shown, ""))
}

/// What a start would run into; a reload goes on with what is open.
#[test]
fn what_is_in_the_way_of_a_file_of_ours_is_told() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("taken"), "").unwrap();
    fs::create_dir(dir.path().join("there")).unwrap();
    let text = |socket: &str, log: &str| {
        format!(
            "[runtime]\nsocket = \"{socket}\"\n[frontend.web]\nbind = [\"0.0.0.0:80\"]\npool = \"web\"\n\
             access_log = {{ target = \"{log}\" }}\n{POOL}"
        )
    };
    let check = |socket: &str, log: &str, expected: &str| {
        let told = match read(&dir, &text(socket, log)) {
            Ok(config) => format!("good\n{}", config.warnings),
            Err(told) => told,
        };
        let shown = told.replace(&format!("{}/", dir.path().display()), "");
        assert_eq!(shown.trim_end(), expected, "{socket} {log}");
    };
    let (at_socket, at_log) =
        ("site.toml:2: runtime.socket: ", "site.toml:6: frontend.web.access_log.target: ");
    check("there/a.sock", "there/a.log", "good");
    check("a.sock", "/dev/null", "good");
    let missing = "there is no folder gone/b: make it, or name another file";
    check("a.sock", "gone/b/a.log", &format!("{at_log}{missing}"));
    check("a.sock", "taken/a.log", &format!("{at_log}taken is no folder"));
    check("a.sock", "taken/b/a.log", &format!("{at_log}taken is no folder"));
    let folder = "there is a folder, expected the name of a file";
    check("a.sock", "there", &format!("{at_log}{folder}"));
    let taken = "taken is a file that is no socket: remove it, or name another path";
    check("taken", "a.log", &format!("{at_socket}{taken}"));
    check("taken/a.sock", "a.log", &format!("{at_socket}taken is no folder"));
    // That one may come with the start.
    let missing = "there is no folder gone, which a start needs: make it, or name a path in /run, where systemd makes it \
                   (RuntimeDirectory)";
    check("gone/a.sock", "a.log", &format!("good\n{at_socket}{missing}"));
    check("/run/nobody-s/a.sock", "a.log", "good");

    let site = dir.path().join("site.toml");
    fs::write(&site, text("there/a.sock", "there/a.log")).unwrap();
    let good = Good::of(&config::load(&site).unwrap().site);
    fs::remove_dir(dir.path().join("there")).unwrap();
    fs::write(dir.path().join("there"), "").unwrap();
    assert!(config::load(&site).is_err());
    assert!(config::reload(&site, &good).is_ok());
}

/// Of what clients are shown; the moment is whoever asks's.
#[test]
fn a_certificate_that_ends_is_warned_of() {
    const DAY: i64 = 86_400;
    // It holds from 2020 on.
    let (begin, end) = (1_577_836_800, 1_609_459_200);
    let (dir, folder) = (tempfile::tempdir().unwrap(), made::Folder::new());
    folder.certify(&made::Ca::new("ca"), "www", made::Leaf { until: 2021, ..made::LEAF });
    let file = folder.path().join("www.pem");
    let text = format!(
        "[frontend.web]\nbind = [\"0.0.0.0:443\"]\npool = \"web\"\ntls = {{ certificates = [{file:?}] }}\n{POOL}"
    );
    let config = read(&dir, &text).unwrap();
    let check = |now, expected: &str| {
        let told = config.warnings_at(now).to_string();
        match expected {
            "" => assert_eq!(told, ""),
            _ => {
                let at = "site.toml:4: frontend.web.tls.certificates[0]: ";
                let told = told.split_once(at).unwrap_or_else(|| panic!("{told}")).1;
                assert_eq!(told, format!("{} {expected}", file.display()));
            }
        }
    };
    check(
        begin - 1,
        "holds from 2020-01-01T00:00:00Z on: until then clients refuse it; is the clock right?",
    );
    check(begin, "");
    check(end - 7 * DAY, "");
    let soon = "ends at 2021-01-01T00:00:00Z, and nobody has renewed it";
    check(end - 7 * DAY + 1, soon);
    check(end, soon);
    let over = "has ended at 2021-01-01T00:00:00Z: clients refuse it; put the next one there";
    check(end + 1, over);
    // It is served all the same, and the program tells of it by today's clock.
    let site = dir.path().join("site.toml");
    fs::write(&site, &text).unwrap();
    let program = env!("CARGO_BIN_EXE_site-agent");
    let done = Command::new(program).args(["check", "--config"]).arg(&site).output().unwrap();
    let err = String::from_utf8(done.stderr).unwrap();
    assert_eq!(done.status.code(), Some(0), "{err}");
    assert!(err.contains(&format!("warning: {} {over}", file.display())), "{err}");
    assert!(err.contains("^ frontend.web.tls.certificates[0]"), "{err}");
}
