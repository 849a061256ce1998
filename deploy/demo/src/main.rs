//! The demo: the whole world on loopback. Two name servers, three sites with a pair of balancers before three servers
//! each, five probes.
//!
//! running: directory, ports ─▶ world (files) ─▶ name_server, site, server, vantage ◀─ switch (files that break them)
//!          pair (with VRRP: processes of their own, where there is root) ◀─ switch
//! guide:   things ─▶ guide (what to try), tour (tries it: ask, commands)
//!
//! A composition root: it writes the world beside this file to a temporary directory and starts the daemons in one
//! process. It needs no root and leaves nothing behind; of one that was killed, the next one clears away what is left.

mod ask;
mod commands;
mod directory;
mod guide;
mod name_server;
mod pair;
mod ports;
mod running;
mod server;
mod site;
mod switch;
mod things;
mod tour;
mod vantage;
mod world;

use std::env::args_os;
use std::ffi::OsString;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use anyhow::Context as _;
use tokio::runtime::Builder;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;

use crate::running::{Running, Vrrp};
use crate::tour::Tour;

const HELP: &str = "\
The whole world on loopback, in one process: two name servers for example.com, three sites that serve, each a pair of
balancers before three servers, and five probes that look at them.

It needs no root and no config: it prints what to try, and Ctrl-C ends it. Its files are in /tmp/gslb-demo (or below
TMPDIR, if that is set), which goes with it.

Usage: gslb-demo [--tour] [--vrrp]

Options:
      --tour  Try all of it, show what was expected beside what came, and end: exit code 0 if all came
      --vrrp  Also a pair with VRRP, in a network of its own; needs root, and `ip` of iproute2
  -h, --help  Print this
";

/// As for every command whose words are not understood.
const USAGE: u8 = 2;

/// What is to be done with the world.
enum Wish {
    /// To have it until somebody ends it.
    Stay,
    Tour,
}

fn main() -> ExitCode {
    let mut words = args_os();
    let program = words.next().map(PathBuf::from).unwrap_or_default();
    let words: Vec<OsString> = words.collect();
    if let Some((dir, name)) = commands::name_server(&program) {
        return commands::run(&dir, name, words);
    }
    if let Some(code) = part_of_pair(&words) {
        return code;
    }
    let (mut wish, mut vrrp) = (Wish::Stay, Vrrp::LeftOut);
    for word in &words {
        match word.to_str() {
            Some("--tour") => wish = Wish::Tour,
            Some("--vrrp") => vrrp = Vrrp::Shown,
            Some("-h" | "--help") => {
                say(HELP);
                return ExitCode::SUCCESS;
            }
            Some(_) | None => {
                let word = word.display();
                eprintln!(
                    "gslb-demo: no argument {word} is known: it takes --tour, --vrrp, --help"
                );
                return ExitCode::from(USAGE);
            }
        }
    }
    run(wish, vrrp).unwrap_or_else(|error| {
        eprintln!("gslb-demo: {error:#}");
        ExitCode::FAILURE
    })
}

/// What this program is for a pair with VRRP, which starts it so.
fn part_of_pair(words: &[OsString]) -> Option<ExitCode> {
    let words: Option<Vec<&str>> = words.iter().map(|word| word.to_str()).collect();
    let done = match words?[..] {
        [pair::LINK, dir] => pair::link::run(Path::new(dir)),
        [pair::MEMBER, name, dir] => pair::member::run(Path::new(dir), name),
        _ => return None,
    };
    Some(match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // To whoever started us, who tells people.
            say(&format!("{error:#}\n"));
            ExitCode::FAILURE
        }
    })
}

fn run(wish: Wish, vrrp: Vrrp) -> anyhow::Result<ExitCode> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    // Heard from before there is anything that must be removed.
    let mut ends = {
        let _entered = runtime.enter();
        Ends::listen().context("cannot listen for signals")?
    };
    let code = match wish {
        Wish::Stay => {
            let running = Running::start(vrrp, say)?;
            say(&guide::what_to_try(running.dir(), running.ports(), vrrp));
            runtime.block_on(ends.come());
            say(&format!("\nending; {} is removed\n", running.dir().display()));
            ExitCode::SUCCESS
        }
        Wish::Tour => {
            let running = Running::start(vrrp, |_| {})?;
            let stop = Arc::new(AtomicBool::new(false));
            let tour = Tour::of(&running, Arc::clone(&stop));
            let (done, came) = oneshot::channel();
            let touring = thread::Builder::new().name("tour".to_owned());
            let touring = touring.spawn(move || done.send(tour.take()))?;
            // Whoever has enough of it need not wait for its end.
            let told = runtime.block_on(async {
                tokio::select! {
                    () = ends.come() => None,
                    told = came => Some(told.unwrap_or(ExitCode::FAILURE)),
                }
            });
            // It makes files, which nobody does in a directory that goes.
            stop.store(true, Ordering::Relaxed);
            drop(touring.join());
            told.unwrap_or_else(|| {
                let dir = running.dir().display();
                say(&format!("\nthe tour was ended before its end; {dir} is removed\n"));
                ExitCode::FAILURE
            })
        }
    };
    Ok(code)
}

/// What asks a process to end: its user, its service manager, its terminal.
struct Ends([Signal; 3]);

impl Ends {
    fn listen() -> io::Result<Ends> {
        let [interrupt, terminate, hang_up] =
            [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()].map(signal);
        Ok(Ends([interrupt?, terminate?, hang_up?]))
    }

    async fn come(&mut self) {
        let Ends([interrupt, terminate, hang_up]) = self;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hang_up.recv() => {}
        }
    }
}

/// Whoever closed our output wants to read no more; the demo goes on.
fn say(text: &str) {
    let _ = std::io::stdout().write_all(text.as_bytes());
}
