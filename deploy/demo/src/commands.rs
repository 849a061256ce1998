//! What operators say to a name server: the program `gslb-dns`, within this one, so that nobody builds twice.
//!
//! Called as `dns1`, which is a link in the demo's directory, this program is `gslb-dns`, and asks that name server
//! unless it is told where to ask.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::CommandFactory as _;
use clap::parser::ValueSource;
use gslb_dns::cli::{self, Cli};

use crate::world::{self, NAME_SERVERS};

/// Options by each of which it is said where to ask.
const DOORS: [&str; 3] = ["server", "socket", "config"];

/// Which name server a program of that name speaks to, and where its demo's files are.
pub fn name_server(program: &Path) -> Option<(PathBuf, &'static str)> {
    let called = program.file_name()?;
    let (name, _) = NAME_SERVERS.iter().find(|(name, _)| called == *name)?;
    let dir = program.parent().filter(|dir| !dir.as_os_str().is_empty());
    Some((dir.unwrap_or(Path::new(".")).to_owned(), name))
}

/// `words` are those behind the program's name.
pub fn run(dir: &Path, name: &str, mut words: Vec<OsString>) -> ExitCode {
    if let Some(door) = door(&words) {
        // Behind the command: what is behind «--» would be no option.
        words.splice(1..1, door.words(dir, name));
    }
    cli::run([OsString::from(name)].into_iter().chain(words))
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

/// Where that is asked, if it is asked anywhere and not said. Words that are not understood, or ask for help, do nothing.
///
/// An order without a door would go to the name server that this machine may have.
fn door(words: &[OsString]) -> Option<Door> {
    let words = [OsString::new()].iter().chain(words).cloned().collect::<Vec<_>>();
    let program = Cli::command();
    let all = program.clone().try_get_matches_from(words).ok()?;
    let (command, matches) = all.subcommand()?;
    let command = program.find_subcommand(command)?;
    let takes = |door: &str| command.get_arguments().any(|argument| argument.get_id() == door);
    let is_said =
        |door: &str| takes(door) && matches.value_source(door) == Some(ValueSource::CommandLine);
    if DOORS.into_iter().any(is_said) {
        return None;
    }
    match (takes("socket"), takes("config")) {
        (true, _) => Some(Door::Socket),
        (false, true) => Some(Door::Config),
        (false, false) => None,
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
        for command in ["board", "status", "overrides", "vantages", "history", "talkers", "reload"]
        {
            check(command, Some(Door::Socket));
        }
        check("explain www.example.com", Some(Door::Socket));
        check("explain -- www.example.com", Some(Door::Socket));
        check("drain fra --why disks", Some(Door::Socket));
        // Values are no options.
        check("drain fra --why help", Some(Door::Socket));
        check("undrain fra --why=--config", Some(Door::Socket));
        check("force up fra --service help --why -V", None);
        check("weight 0 help --why --server=none", None);
        check("check", Some(Door::Config));
        check("run", Some(Door::Config));
        check("replay help", Some(Door::Config));
        check("queries recorded", None);
        check("board --server=127.0.0.1:8053", None);
        check("board --socket other.sock", None);
        check("drain fra --why disks --config=other.toml", None);
        check("drain --help", None);
        check("help drain", None);
        check("--version", None);
        check("nonsense", None);
        check("pki list", None);
    }
}
