//! What operators say to a name server: the program `gslb-dns`, within this one, so that nobody builds twice.
//!
//! Called as `dns1`, which is a link in the demo's directory, this program is `gslb-dns`, and asks that name server
//! unless it is told where to ask.

#[path = "../../../gslb-dns/src/main.rs"]
#[expect(dead_code, reason = "what begins that program is not what begins this one")]
mod gslb_dns_program;

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::world::{self, NAME_SERVERS};

/// With each of these it is said where to ask.
const DOORS: [&str; 3] = ["--server", "--socket", "--config"];

/// Which name server a program of that name speaks to, and where its demo's files are.
pub fn name_server(program: &Path) -> Option<(PathBuf, &'static str)> {
    let called = program.file_name()?;
    let (name, _) = NAME_SERVERS.iter().find(|(name, _)| called == *name)?;
    let dir = program.parent().filter(|dir| !dir.as_os_str().is_empty());
    Some((dir.unwrap_or(Path::new(".")).to_owned(), name))
}

/// `words` are those behind the program's name.
pub fn run(dir: &Path, name: &str, words: Vec<OsString>) -> ExitCode {
    let door = door(&words).map(|door| door.words(dir, name));
    let program = OsString::from(name);
    gslb_dns_program::run([program].into_iter().chain(words).chain(door.into_iter().flatten()))
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Door {
    Socket,
    Config,
}

impl Door {
    fn words(self, dir: &Path, name: &str) -> [OsString; 2] {
        let config = world::node(dir, name);
        match self {
            Door::Socket => ["--socket".into(), config.with_file_name("admin.sock").into()],
            Door::Config => ["--config".into(), config.into()],
        }
    }
}

/// Where that is asked, if it is asked anywhere and not said.
fn door(words: &[OsString]) -> Option<Door> {
    let is_said = |word: &OsString| {
        let word = word.to_string_lossy();
        let name = word.split_once('=').map_or(&*word, |(name, _)| name);
        DOORS.contains(&name) || ["-h", "--help", "--version", "-V", "help"].contains(&name)
    };
    let first = words.first().and_then(|word| OsStr::to_str(word))?;
    if words.iter().any(is_said) {
        return None;
    }
    match first {
        "check" | "replay" | "run" => Some(Door::Config),
        "pki" | "queries" => None,
        _ => Some(Door::Socket),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_server_is_asked_by_its_name() {
        let check = |program: &str, expected: Option<(&str, &str)>| {
            let found = name_server(Path::new(program));
            let found = found.as_ref().map(|(dir, name)| (dir.to_str().unwrap(), *name));
            assert_eq!(found, expected, "{program}");
        };
        check("./dns1", Some((".", "dns1")));
        check("dns2", Some((".", "dns2")));
        check("/tmp/gslb-demo/dns2", Some(("/tmp/gslb-demo", "dns2")));
        check("target/release/gslb-demo", None);
    }

    #[test]
    fn it_is_asked_at_its_socket_unless_told_otherwise() {
        let check = |words: &str, expected| {
            let words: Vec<OsString> = words.split(' ').map(OsString::from).collect();
            assert_eq!(door(&words), expected, "{words:?}");
        };
        check("board", Some(Door::Socket));
        check("drain fra --why disks", Some(Door::Socket));
        check("check", Some(Door::Config));
        check("board --server=127.0.0.1:8053", None);
        check("board --socket other.sock", None);
        check("drain --help", None);
        check("pki list", None);
    }
}
