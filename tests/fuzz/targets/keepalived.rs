//! `keepalived`: any text as a keepalived.conf. What comes of it is a site.toml, and what is told is lines.
//!
//! Input: files, with a line `%` between them. The first one is read, the others are what any pattern of it names.

#![no_main]

use std::fs;
use std::path::Path;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use site_agent::config;
use site_agent::import::{File, import};
use tempfile::TempDir;

/// Where a key is.
static KEYS: LazyLock<TempDir> = LazyLock::new(|| {
    let dir = TempDir::new().expect("a folder of our own");
    fs::write(dir.path().join("vrrp.key"), "5c".repeat(32)).expect("a file in it");
    dir
});

fuzz_target!(|input: &[u8]| {
    let mut files: Vec<Vec<u8>> = vec![vec![]];
    for line in input.split_inclusive(|octet| *octet == b'\n') {
        match (line, files.last_mut()) {
            (b"%\n", _) | (_, None) => files.push(vec![]),
            (_, Some(file)) => file.extend(line),
        }
    }
    let others: Vec<File> = files[1..]
        .iter()
        .enumerate()
        .map(|(number, octets)| File {
            path: format!("dir/{number}.conf").into(),
            octets: if octets.is_empty() { Err("no way".to_owned()) } else { Ok(octets.clone()) },
        })
        .collect();
    for config_id in [None, Some("main")] {
        let read = import(Path::new("k.conf"), &files[0], config_id, &mut |_| others.clone());
        let Ok(import) = read.map_err(|error| one_line(&error.to_string())) else { continue };
        for remark in &import.remarks {
            one_line(&remark.to_string());
        }
        if import.routers > 0 {
            let text = with_the_key(&import.text);
            let read = config::redundancy_from_str(&text, KEYS.path());
            let (site, _) = read.unwrap_or_else(|problems| panic!("{problems}\n{text}"));
            assert_eq!(site.routers.len(), import.routers, "{text}");
        }
    }
});

/// Keys are for people to put where the text says; here all of them are one.
fn with_the_key(text: &str) -> String {
    let mut parts = text.split(", file = \"");
    let before = parts.next().unwrap_or_default().to_owned();
    parts.fold(before, |text, part| {
        let (_, behind) = part.split_once('"').expect("the name of a file ends");
        text + ", file = \"vrrp.key\"" + behind
    })
}

fn one_line(told: &str) {
    assert!(!told.chars().any(char::is_control), "{told:?}");
}
