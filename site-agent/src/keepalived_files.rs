//! The files of a keepalived.conf, read from the disk: the first one, and those that it includes by pattern.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Component, Path, PathBuf};

use anyhow::Context as _;
use common::bounded;

use crate::import::{self, ConfigId, File, Import, MOST_FILES, MOST_OCTETS};

/// Makes a `site.toml` of the file and of those that it includes.
pub fn import(file: &Path, config_id: ConfigId<'_>) -> anyhow::Result<Import> {
    let octets = bounded::read_file(file, MOST_OCTETS as u64)
        .with_context(|| format!("cannot read {}", file.display()))?;
    Ok(import::import(file, &octets, config_id, &mut included)?)
}

/// Those that there are of a pattern, in the order of their names. Folders are none.
fn included(pattern: &Path) -> Vec<File> {
    let paths = matching(pattern).into_iter().filter(|path| !path.is_dir());
    paths.map(|path| File { octets: octets(&path), path }).collect()
}

fn octets(path: &Path) -> Result<Vec<u8>, String> {
    let is_program = fs::metadata(path).is_ok_and(|file| file.permissions().mode() & 0o111 != 0);
    if is_program {
        return Err(
            "it may be run as a program, and so keepalived does not read it either".to_owned()
        );
    }
    bounded::read_file(path, MOST_OCTETS as u64).map_err(|error| format!("cannot read it: {error}"))
}

/// The paths that a pattern with `*`, `?` and `[…]` names (glob(7)), at most one more than are ever read.
fn matching(pattern: &Path) -> Vec<PathBuf> {
    let mut found = vec![PathBuf::new()];
    for part in pattern.components() {
        let name = part.as_os_str();
        let is_pattern = name.as_bytes().iter().any(|octet| b"*?[".contains(octet));
        found = match part {
            Component::Normal(_) if is_pattern => {
                found.iter().flat_map(|folder| entries(folder, name)).collect()
            }
            _ => found.iter().map(|folder| folder.join(name)).collect(),
        };
        found.truncate(MOST_FILES + 1);
    }
    found.retain(|path| path.exists());
    found
}

fn entries(folder: &Path, pattern: &OsStr) -> Vec<PathBuf> {
    let here = Path::new(".");
    let folder_read = if folder.as_os_str().is_empty() { here } else { folder };
    let names =
        fs::read_dir(folder_read).into_iter().flatten().flatten().map(|entry| entry.file_name());
    let mut names: Vec<_> =
        names.filter(|name| matches(pattern.as_bytes(), name.as_bytes())).collect();
    names.sort();
    names.into_iter().map(|name| folder.join(name)).collect()
}

/// Whether a pattern names this file. A dot at the beginning has to be asked for.
fn matches(pattern: &[u8], name: &[u8]) -> bool {
    if name.first() == Some(&b'.') && pattern.first() != Some(&b'.') {
        return false;
    }
    let (mut at, mut asked) = (0, 0);
    // Where the latest star stands, and what it has taken so far.
    let mut star: Option<(usize, usize)> = None;
    while at < name.len() {
        if pattern.get(asked) == Some(&b'*') {
            star = Some((asked, at));
            asked += 1;
        } else if let Some(length) = one(&pattern[asked..], name[at]) {
            asked += length;
            at += 1;
        } else if let Some((place, taken)) = star {
            star = Some((place, taken + 1));
            (asked, at) = (place + 1, taken + 1);
        } else {
            return false;
        }
    }
    pattern[asked..].iter().all(|octet| *octet == b'*')
}

/// How many octets of the pattern stand for this one of a name. `None` if they do not.
fn one(pattern: &[u8], octet: u8) -> Option<usize> {
    match pattern {
        [b'?', ..] => Some(1),
        [b'[', set @ ..] => {
            let (is_not, set) = match set {
                [b'!' | b'^', set @ ..] => (1, set),
                _ => (0, set),
            };
            // A bracket that comes first is one of the set; a set that does not end is none.
            let Some(end) = set.iter().skip(1).position(|octet| *octet == b']') else {
                return (octet == b'[').then_some(1);
            };
            let end = end + 1;
            let is_one = in_set(&set[..end], octet);
            (is_one != (is_not == 1)).then_some(1 + is_not + end + 1)
        }
        [first, ..] if *first == octet => Some(1),
        _ => None,
    }
}

fn in_set(set: &[u8], octet: u8) -> bool {
    match set {
        [from, b'-', to, rest @ ..] => (*from..=*to).contains(&octet) || in_set(rest, octet),
        [first, rest @ ..] => *first == octet || in_set(rest, octet),
        [] => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_names_what_glob_names() {
        let check = |pattern: &str, name: &str, expected: bool| {
            assert_eq!(matches(pattern.as_bytes(), name.as_bytes()), expected, "{pattern} {name}");
        };
        check("*", "a.conf", true);
        check("*", ".a.conf", false);
        check(".*", ".a.conf", true);
        check("*.conf", "a.conf", true);
        check("*.conf", "a.conf.bak", false);
        check("a*b*c", "a-b-b-c", true);
        check("a*b*c", "a-c-b", false);
        check("vip?.conf", "vip1.conf", true);
        check("vip?.conf", "vip.conf", false);
        check("vip[0-9].conf", "vip7.conf", true);
        check("vip[!0-9].conf", "vip7.conf", false);
        check("vip[^0-9].conf", "vipx.conf", true);
        check("[]a].conf", "].conf", true);
        // No set, as it does not end.
        check("vip[0.conf", "vip[0.conf", true);
        check("", "", true);
        check("a**", "a", true);
    }

    #[test]
    fn files_come_in_the_order_of_their_names() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["b.conf", "a.conf", "c.conf", "d.txt"] {
            fs::write(dir.path().join(name), name).unwrap();
        }
        fs::create_dir(dir.path().join("e.conf")).unwrap();
        fs::set_permissions(dir.path().join("c.conf"), fs::Permissions::from_mode(0o755)).unwrap();
        let told: Vec<String> = included(&dir.path().join("*.conf"))
            .into_iter()
            .map(|File { path, octets }| {
                let name = path.file_name().unwrap().to_string_lossy().into_owned();
                let octets = octets.map(|octets| String::from_utf8(octets).unwrap());
                format!("{name} {}", octets.unwrap_or_else(|why| why))
            })
            .collect();
        assert_eq!(
            told,
            [
                "a.conf a.conf",
                "b.conf b.conf",
                "c.conf it may be run as a program, and so keepalived does not read it either"
            ]
        );
        assert!(included(&dir.path().join("nothing/*.conf")).is_empty());
    }

    #[test]
    fn so_many_files_are_read_and_no_more() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("conf.d")).unwrap();
        let first = dir.path().join("keepalived.conf");
        fs::write(&first, "include conf.d/*\n").unwrap();
        for number in 1..MOST_FILES {
            fs::write(dir.path().join(format!("conf.d/{number}")), "").unwrap();
        }
        assert!(import(&first, None).unwrap().is_whole());
        fs::write(dir.path().join("conf.d/more"), "").unwrap();
        let error = import(&first, None).unwrap_err().to_string();
        assert!(error.ends_with("more than 256 files"), "{error}");
    }
}
