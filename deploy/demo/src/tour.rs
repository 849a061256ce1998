//! Tries all there is to try, and shows what was expected beside what came.

use std::fs;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::park_timeout;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use common::clock::{monotonic, now};
use tokio::sync::watch;

use crate::ask;
use crate::pair::SHOWN;
use crate::ports::Ports;
use crate::running::{Running, Vrrp};
use crate::say;
use crate::switch::{Switch, Thrown};
use crate::things::{Act, Shows, Step, Thing, pair_with_vrrp, things};
use crate::world::{NAME_SERVERS, SITES, VANTAGES};

/// Between two looks at what is waited for.
const PAUSE: Duration = Duration::from_millis(50);
/// In which all have seen all.
const BEGIN_WITHIN: Duration = Duration::from_secs(60);
/// A build for debugging is slower, and so are the machines on which its tests run.
const SLOWER: u32 = if cfg!(debug_assertions) { 4 } else { 1 };
/// Columns of what came, which stands some way to the right.
const WIDTH: usize = 80;
/// Words by which something is ordered, once.
const ORDERS: [&str; 3] = ["drain", "undrain", "reload"];
/// What a name server answers, of services by the sites that they have in all.
const BELIEFS: usize = 8;

pub struct Tour {
    dir: PathBuf,
    ports: Ports,
    switches: watch::Receiver<Thrown>,
    vrrp: Vrrp,
    stamp: String,
    time: String,
    /// By whoever wants no more of it.
    stop: Arc<AtomicBool>,
}

/// What came, in lines; and whether that is what was expected.
struct Came {
    lines: Vec<String>,
    is_expected: bool,
}

impl Tour {
    pub fn of(running: &Running, stop: Arc<AtomicBool>) -> Tour {
        let (dir, ports) = (running.dir().to_owned(), running.ports());
        let (stamp, time) = (String::new(), String::new());
        let (switches, vrrp) = (running.switches(), running.vrrp());
        Tour { dir, ports, switches, vrrp, stamp, time, stop }
    }

    /// Takes a minute or two. Fails if anything came otherwise than expected, or if it was stopped.
    pub fn take(mut self) -> ExitCode {
        let began = monotonic();
        if let Err(error) = self.until_all_is_well() {
            if self.is_stopped() {
                return ExitCode::FAILURE;
            }
            say(&format!("the world does not become well: {error:#}\n"));
            return ExitCode::FAILURE;
        }
        let since = (monotonic() - began).as_secs_f64();
        say(&format!("\nAll have seen all, {since:.1} s after the start.\n"));
        say(&format!("  $ cd {}\n", self.dir.display()));
        let things: Vec<Thing> = match self.vrrp {
            Vrrp::Shown => things().into_iter().chain([pair_with_vrrp()]).collect(),
            Vrrp::LeftOut => things(),
        };
        let all = things.len();
        let mut otherwise = vec![];
        for (thing, number) in things.into_iter().zip(1..) {
            let Thing { title, why, steps, brief: _ } = thing;
            say(&format!("\n{number}. {title}\n   {why}\n"));
            let mut is_so = true;
            for step in &steps {
                is_so &= self.go(step);
                if self.is_stopped() {
                    return ExitCode::FAILURE;
                }
            }
            if !is_so {
                otherwise.push(number.to_string());
            }
        }
        if self.vrrp == Vrrp::LeftOut {
            say("\nLeft out: a pair with VRRP, for which Linux wants root: `--tour --vrrp`.\n");
        }
        let took = (monotonic() - began).as_secs();
        if otherwise.is_empty() {
            say(&format!("\nAll {all} came out as expected, in {took} s.\n"));
            return ExitCode::SUCCESS;
        }
        let (right, wrong) = (all - otherwise.len(), otherwise.join(", "));
        say(&format!("\n{right} of {all} came out as expected, in {took} s. NOT: {wrong}\n"));
        let log = self.dir.join("log");
        say(&format!(
            "What the daemons logged:\n{}\n",
            fs::read_to_string(log).unwrap_or_default()
        ));
        ExitCode::FAILURE
    }

    fn until_all_is_well(&self) -> anyhow::Result<()> {
        let seen = format!("{0} of {0} vantages", VANTAGES.len());
        let deadline = monotonic() + BEGIN_WITHIN;
        loop {
            let is_well = NAME_SERVERS.iter().all(|(_, address)| {
                let at = SocketAddr::from((*address, self.ports.admin));
                let board = ask::page(at, "/v1/board?format=text").unwrap_or_default();
                let status = ask::page(at, "/v1/status?format=text").unwrap_or_default();
                board.matches(&seen).count() >= BELIEFS && status.contains("agrees")
            });
            if is_well {
                return Ok(());
            }
            ensure!(!self.is_stopped(), "it was stopped");
            ensure!(monotonic() < deadline, "not all have seen all within {BEGIN_WITHIN:?}");
            park_timeout(PAUSE);
        }
    }

    fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Whether it came out as expected.
    fn go(&mut self, step: &Step) -> bool {
        say(&format!("   $ {}\n", step.act.command(&self.ports)));
        let began = monotonic();
        let deadline = began + step.within * SLOWER;
        let came = loop {
            let came = self.attempt(step);
            if came.is_expected || !step.act.can_be_repeated() || monotonic() >= deadline {
                break came;
            }
            if self.is_stopped() {
                return false;
            }
            park_timeout(PAUSE);
        };
        let Came { mut lines, is_expected } = came;
        if !is_expected && self.is_stopped() {
            return false;
        }
        if let (Shows::Nothing, true) = (&step.shows, is_expected) {
            return true;
        }
        say(&format!("       expected  {}\n", step.shows));
        if !is_expected {
            say("   !!  came      OTHERWISE:\n");
            lines.iter().for_each(|line| say(&format!("       {line}\n")));
            return false;
        }
        let took = (monotonic() - began).as_secs_f64();
        if let Some(last) = lines.last_mut() {
            *last = format!("{last}   ({took:.1} s)");
        }
        for (line, head) in lines.iter().zip(["came"].into_iter().chain([""].into_iter().cycle())) {
            say(&format!("       {head:8}  {line}\n"));
        }
        true
    }

    fn attempt(&mut self, step: &Step) -> Came {
        let done = match &step.act {
            Act::Touch(files) => self.touch(files).map(|()| vec![]),
            Act::Remove(files) => self.remove(files).map(|()| vec![]),
            Act::Replace(from, to) => self.replace(from, to).map(|()| vec![]),
            Act::Dig { server, client } => self.dig(*server, client.subnet),
            Act::Stamp { client } => self.keep_stamp(client.subnet),
            Act::Curl { site } => {
                let (_, address) = SITES[*site];
                let page = ask::page((address, self.ports.web).into(), "/");
                page.map(|page| page.lines().map(str::to_owned).collect())
            }
            Act::Cat => {
                let shown = fs::read_to_string(self.dir.join(SHOWN));
                shown.map(|text| text.lines().map(str::to_owned).collect()).map_err(Into::into)
            }
            Act::Tell { server, words } => return self.tell(*server, words, &step.shows),
        };
        match (done, &step.shows) {
            (Err(error), shows) => {
                let is_expected = matches!(shows, Shows::Silence) && is_silence(&error);
                Came { lines: vec![format!("{error:#}")], is_expected }
            }
            (Ok(lines), shows) => shows.judge(lines),
        }
    }

    fn touch(&mut self, files: &[&str]) -> anyhow::Result<()> {
        for file in files {
            fs::write(self.dir.join(file), "")?;
        }
        self.until_switched(|thrown| is_thrown(files, thrown).all(|is_so| is_so))
    }

    fn remove(&mut self, files: &[&str]) -> anyhow::Result<()> {
        for file in files {
            match fs::remove_file(self.dir.join(file)) {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(error.into()),
                Ok(()) | Err(_) => {}
            }
        }
        self.until_switched(|thrown| !is_thrown(files, thrown).any(|is_so| is_so))
    }

    fn until_switched(&self, is_so: impl Fn(&Thrown) -> bool) -> anyhow::Result<()> {
        let deadline = monotonic() + BEGIN_WITHIN;
        while !is_so(&self.switches.borrow()) {
            ensure!(!self.is_stopped(), "it was stopped");
            ensure!(monotonic() < deadline, "nobody has taken notice within {BEGIN_WITHIN:?}");
            park_timeout(PAUSE);
        }
        Ok(())
    }

    fn replace(&self, from: &str, to: &str) -> anyhow::Result<()> {
        let file = self.dir.join("world.toml");
        let text = fs::read_to_string(&file)?;
        ensure!(text.contains(from), "{} has no {from}", file.display());
        Ok(fs::write(file, text.replace(from, to))?)
    }

    fn dig(&self, server: usize, subnet: &str) -> anyhow::Result<Vec<String>> {
        let answer = self.ask(server, subnet)?;
        Ok(answer.addresses.iter().map(ToString::to_string).collect())
    }

    fn keep_stamp(&mut self, subnet: &str) -> anyhow::Result<Vec<String>> {
        self.stamp = self.ask(0, subnet)?.stamp.context("the answer has no stamp")?;
        self.time = format!("{:.3}", now());
        Ok(vec![self.stamp.clone()])
    }

    fn ask(&self, server: usize, subnet: &str) -> anyhow::Result<ask::Answer> {
        let (_, address) = NAME_SERVERS[server];
        ask::dns((address, self.ports.dns).into(), "www.example.com.", subnet)
    }

    fn tell(&self, server: usize, words: &str, shows: &Shows) -> Came {
        let run = || -> anyhow::Result<(bool, Vec<String>)> {
            let program = self.dir.join(NAME_SERVERS[server].0);
            let words = words.split(' ').map(|word| match word {
                "STAMP" => &self.stamp,
                "TIME" => &self.time,
                word => word,
            });
            let mut command = Command::new(&program);
            // Ctrl-C is for the tour, which ends when that has.
            command.args(words).stdin(Stdio::null()).process_group(0);
            let output = command.output().context(program.display().to_string())?;
            let said = [output.stdout, output.stderr].concat();
            let said = String::from_utf8_lossy(&said);
            Ok((output.status.success(), said.lines().map(str::to_owned).collect()))
        };
        let (is_success, lines) = match run() {
            Ok(came) => came,
            Err(error) => (false, vec![format!("{error:#}")]),
        };
        match (shows, is_success) {
            (Shows::Refuses(_), true) | (Shows::Lines(_), false) => {
                Came { lines, is_expected: false }
            }
            (shows, _) => shows.judge(lines),
        }
    }
}

/// Nobody is there: not an answer that cannot be read, nor a question that cannot be sent.
fn is_silence(error: &anyhow::Error) -> bool {
    use ErrorKind::{ConnectionRefused, TimedOut, WouldBlock};
    // A socket whose time has run out is one that would block.
    let of_nobody = [ConnectionRefused, TimedOut, WouldBlock];
    error.downcast_ref::<io::Error>().is_some_and(|error| of_nobody.contains(&error.kind()))
}

fn is_thrown(files: &[&str], thrown: &Thrown) -> impl Iterator<Item = bool> {
    files.iter().map(|file| match Switch::of(file) {
        Some(Ok(switch)) => thrown.contains(&switch),
        Some(Err(_)) | None => false,
    })
}

impl Act {
    fn can_be_repeated(&self) -> bool {
        match self {
            Act::Tell { words, .. } => !ORDERS.iter().any(|order| words.starts_with(order)),
            Act::Touch(_) | Act::Remove(_) | Act::Replace(..) => false,
            Act::Dig { .. } | Act::Stamp { .. } | Act::Curl { .. } | Act::Cat => true,
        }
    }
}

impl Shows {
    /// What of these lines was expected; all of them if that is not there.
    fn judge(&self, lines: Vec<String>) -> Came {
        let is = |site: usize| lines.iter().any(|line| *line == SITES[site].1.to_string());
        match self {
            Shows::Nothing => Came { lines, is_expected: true },
            Shows::Silence => Came { lines, is_expected: false },
            Shows::Site(site) => Came { is_expected: is(*site), lines },
            Shows::AnyBut(site) => Came { is_expected: !is(*site) && !lines.is_empty(), lines },
            Shows::Lines(wanted) | Shows::Refuses(wanted) => {
                let found = wanted.iter().map(|pieces| {
                    lines.iter().find(|line| has(line, pieces)).map(|line| wrapped(line))
                });
                match found.collect::<Option<Vec<_>>>() {
                    Some(lines) => Came { lines: lines.concat(), is_expected: true },
                    None => Came { lines, is_expected: false },
                }
            }
        }
    }
}

/// Whether it has all of these, one after the other.
fn has(line: &str, pieces: &[&str]) -> bool {
    let mut rest = line;
    pieces.iter().all(|piece| match rest.split_once(piece) {
        Some((_, behind)) => {
            rest = behind;
            true
        }
        None => false,
    })
}

/// In as many lines as a terminal needs, blanks being one.
fn wrapped(line: &str) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in line.split_whitespace() {
        match lines.last_mut() {
            Some(last) if last.is_empty() => last.push_str(word),
            Some(last) if last.len() + 1 + word.len() <= WIDTH => {
                last.push(' ');
                last.push_str(word);
            }
            Some(_) | None => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use anyhow::Context as _;

    use super::*;

    #[test]
    fn silence_is_when_nobody_is_there() {
        let check = |error: anyhow::Error, expected: bool| {
            assert_eq!(is_silence(&error), expected, "{error:#}");
        };
        let io = |kind: ErrorKind| anyhow::Error::from(io::Error::from(kind));
        check(io(ErrorKind::ConnectionRefused), true);
        check(io(ErrorKind::TimedOut), true);
        check(io(ErrorKind::WouldBlock), true);
        check(io(ErrorKind::WouldBlock).context("of www.example.com"), true);
        check(io(ErrorKind::ConnectionReset), false);
        check(io(ErrorKind::AddrNotAvailable), false);
        check(anyhow::anyhow!("HTTP/1.1 503 Service Unavailable"), false);
        check(None::<()>.context("it is no answer").unwrap_err(), false);
    }

    #[test]
    fn who_listens_at_a_port_and_says_nothing_is_silent_too() {
        let silent = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let at = silent.local_addr().unwrap();
        assert!(is_silence(&ask::page(at, "/").unwrap_err()));
        drop(silent);
        assert!(is_silence(&ask::page(at, "/").unwrap_err()));
    }
}
