//! Whole keepalived.conf files through the program: what it prints, what it tells, and that `site.toml` takes it.
//!
//! Beside each is what comes of it: `NAME.toml`, and `NAME.told` with the exit code. `UPDATE_GOLDEN=1 cargo test` writes
//! them anew.

#![expect(clippy::unwrap_used, reason = "what a test cannot go on without may as well end it")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use site_agent::config;

/// Each with the file, and which box it is of.
const SAMPLES: [(&str, &str, Option<&str>); 9] = [
    ("simple", "simple.conf", None),
    ("ipv6", "ipv6.conf", None),
    ("unicast", "unicast.conf", None),
    ("sync", "sync.conf", None),
    ("weird", "weird.conf", None),
    ("included", "included/keepalived.conf", None),
    ("main", "boxes.conf", Some("main")),
    ("backup", "boxes.conf", Some("backup")),
    ("broken", "broken.conf", None),
];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/import")
}

/// From that folder, so that names are told as they stand here.
fn import(file: &Path, config_id: Option<&str>) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_site-agent"));
    command.current_dir(folder()).args(["import", "--keepalived"]).arg(file);
    command.args(config_id.into_iter().flat_map(|name| ["--config-id", name]));
    command.output().unwrap()
}

#[test]
fn samples_become_what_stands_beside_them() {
    let mut wrong = vec![];
    for (name, file, config_id) in SAMPLES {
        let done = import(Path::new(file), config_id);
        let code = done.status.code().unwrap();
        let told = String::from_utf8(done.stderr).unwrap() + &format!("exit code {code}\n");
        let text = String::from_utf8(done.stdout).unwrap();
        for (kind, got) in [("told", told), ("toml", text)] {
            let golden = folder().join(format!("{name}.{kind}"));
            if std::env::var_os("UPDATE_GOLDEN").is_some() {
                fs::write(&golden, &got).unwrap();
            }
            let expected = fs::read_to_string(&golden).unwrap_or_default();
            if got != expected {
                wrong.push(format!("{}: expected\n{expected}\ngot\n{got}", golden.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn what_comes_of_it_is_a_site() {
    for (name, ..) in SAMPLES.iter().filter(|(name, ..)| *name != "broken") {
        let text = fs::read_to_string(folder().join(format!("{name}.toml"))).unwrap();
        let dir = tempfile::tempdir().unwrap();
        for key in text.split('"').filter(|part| part.ends_with(".key")) {
            fs::write(dir.path().join(key), "5c".repeat(32)).unwrap();
        }
        let read = config::redundancy_from_str(&text, dir.path());
        let (site, _) = read.unwrap_or_else(|problems| panic!("{name}: {problems}"));
        assert_eq!(site.routers.len(), text.matches("\n[vrrp.").count(), "{name}");
    }
}

/// Lines that say what keepalived takes where nothing is said, and one of a definition that is named as a whole.
const USUAL: [&str; 6] = [
    "advert_int 1",
    "priority 100",
    "state BACKUP",
    "anti_replay time",
    "mode enforce",
    "priority 9",
];

/// Without a statement that says something it is another site.toml, or other remarks.
#[test]
fn nothing_is_left_out_silently() {
    let dir = tempfile::tempdir().unwrap();
    let mut checked = 0;
    for (name, file, config_id) in SAMPLES {
        if ["broken", "included", "main", "backup"].contains(&name) {
            continue;
        }
        let text = fs::read_to_string(folder().join(file)).unwrap();
        let one = dir.path().join(file);
        let read = |text: &str| {
            fs::write(&one, text).unwrap();
            let done = import(&one, config_id);
            (done.stdout, done.stderr)
        };
        let whole = read(&text);
        let lines: Vec<&str> = text.lines().collect();
        for (place, line) in lines.iter().enumerate() {
            let said = line.trim();
            if said.is_empty() || said.starts_with(['#', '!']) || USUAL.contains(&said) {
                continue;
            }
            // Empty, so that the others keep their numbers.
            let mut without = lines.clone();
            without[place] = "";
            assert!(read(&without.join("\n")) != whole, "{file}:{}: {said}", place + 1);
            checked += 1;
        }
    }
    assert!(checked > 150, "{checked} lines");
}

#[test]
fn a_file_that_cannot_be_read_is_told() {
    let check = |file: &str, told: &str| {
        let done = import(Path::new(file), None);
        assert_eq!((done.status.code(), &*done.stdout), (Some(2), &b""[..]), "{file}");
        let err = String::from_utf8(done.stderr).unwrap();
        assert!(err.starts_with(told), "{err}");
    };
    check("nothing.conf", "site-agent: cannot read nothing.conf: No such file or directory");
    check("included", "site-agent: cannot read included: not a regular file");
    check(
        "boxes.conf",
        "site-agent: boxes.conf:3: a line of some boxes alone (@main): say which box this is",
    );
}
