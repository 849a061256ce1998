//! Reloads under load: a thousand worlds, one after the other, while queries come at half of the rate that
//! the server can answer, whatever comes back. None may be lost, and no answer may be of two worlds.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use anyhow::{Context, bail};
use gslb_dns::admin::client::At;

use crate::clock;
use crate::cpu::Cores;
use crate::interrupt::Interrupt;
use crate::load::{Clients, Load, Pace, Reply};
use crate::peers::{Server, gslb};
use crate::queries::Queries;
use crate::world::{ORIGIN, SERVICE, World};

/// How long the greatest rate is looked for.
const LIMIT: Duration = Duration::from_secs(2);
const WINDOW: usize = 128;
const BATCH: usize = 32;
/// Half of the greatest rate, as the load goes on beside the reloads.
const SHARE: u64 = 2;

/// The addresses and the TTL of a world: each tells which of the two it is.
pub const WORLDS: [(u8, u32); 2] = [(1, 30), (2, 60)];

/// What came of it.
pub struct Reloaded {
    pub reloads: u32,
    /// Answers a second, asked for as fast as they came.
    pub most: u64,
    pub rate: u64,
    pub answers: u64,
    pub lost: u64,
    pub wrong: u64,
    pub first_wrong: Option<String>,
    pub took: Duration,
    pub longest_wait: Duration,
}

impl Reloaded {
    pub fn passed(&self) -> bool {
        self.lost == 0 && self.wrong == 0 && self.answers > 0
    }

    pub fn text(&self) -> String {
        let Reloaded { reloads, most, rate, answers, lost, wrong, took, longest_wait, .. } = self;
        let mut text = format!(
            "{reloads} reloads in {:.1} s, {rate} queries/s of {most} possible: {answers} answers, \
             {lost} lost, {wrong} of two worlds or wrong; longest wait {:.1} ms: {}",
            took.as_secs_f64(),
            longest_wait.as_secs_f64() * 1e3,
            if self.passed() { "pass" } else { "FAIL" },
        );
        if let Some(wrong) = &self.first_wrong {
            text += &format!("\nfirst wrong: {wrong}");
        }
        text
    }
}

pub fn measure(
    program: &Path,
    cores: Cores,
    dir: &Path,
    reloads: u32,
    interrupt: &Interrupt,
) -> anyhow::Result<Reloaded> {
    let queries = Queries::of_service()?;
    let start = gslb::start("reloads", program, dir, &World::Static { hosts: 1 }, gslb::PLAIN)?;
    let home = dir.join("reloads");
    fs::write(home.join("world.toml"), world(WORLDS[0]))?;
    let config = home.join("node.toml");
    let node = fs::read_to_string(&config)?;
    fs::write(&config, node + "\n[admin]\nsocket = \"admin.sock\"\n")?;
    let socket = At::Socket(home.join("admin.sock"));

    let start = crate::peers::Start { reply: Reply::OneWorld, ..start };
    let server = Server::start(start, cores.server, &queries, interrupt)?;
    let load = |pace| Load {
        queries: &queries,
        clients: Clients::One,
        reply: Reply::OneWorld,
        batch: BATCH,
        pace,
    };
    let greatest = load(Pace::Window(WINDOW)).run(server.address, 0, LIMIT, interrupt)?;
    let most = (greatest.answers as f64 / LIMIT.as_secs_f64()) as u64;
    let rate = most / SHARE;

    let done = AtomicBool::new(false);
    let began = clock::now();
    let (tally, reloading) = thread::scope(|scope| {
        let reloading = scope.spawn(|| {
            let all = reload_all(&home, &socket, reloads, interrupt);
            done.store(true, Relaxed);
            all
        });
        let more = |_| !done.load(Relaxed);
        let tally = load(Pace::Rate(rate)).run_while(server.address, 0, more, interrupt);
        (tally, reloading.join())
    });
    let took = clock::now() - began;
    let tally = tally?;
    match reloading {
        Ok(all) => all?,
        Err(_) => bail!("the reloading thread has panicked"),
    }
    Ok(Reloaded {
        reloads,
        most,
        rate,
        answers: tally.answers,
        lost: tally.lost,
        wrong: tally.wrong,
        first_wrong: tally.first_wrong,
        took,
        longest_wait: tally.latency.longest(),
    })
}

fn reload_all(home: &Path, socket: &At, reloads: u32, interrupt: &Interrupt) -> anyhow::Result<()> {
    for turn in 1..=reloads {
        interrupt.check()?;
        fs::write(home.join("world.toml"), world(WORLDS[turn as usize % 2]))?;
        socket.reload(None).with_context(|| format!("reload {turn}"))?;
    }
    Ok(())
}

/// Everything that an answer says tells which world it is from.
fn world((octet, ttl): (u8, u32)) -> String {
    format!(
        "[zone.\"{ORIGIN}\"]\nfile = \"{ORIGIN}.zone\"\n\
         [site.one]\nvips = [\"192.0.2.{octet}\", \"198.51.100.{octet}\"]\n\
         [site.two]\nvips = [\"203.0.113.{octet}\"]\n\
         [service.\"{SERVICE}.{ORIGIN}\"]\nsites = [\"one\", \"two\"]\ntake = 2\n\
         when_all_down = \"open\"\nttl = {{ max = \"{ttl}s\" }}\n"
    )
}

/// Whether an answer is whole and all of one of the worlds. Reads the octets itself: every answer is
/// looked at, at the rate they come.
pub fn is_of_one_world(reply: &[u8]) -> anyhow::Result<()> {
    let (header, mut rest) = reply.split_first_chunk::<12>().context("no header")?;
    if header[2] & 0x80 == 0 || header[3] & 0x0f != 0 || header[4..8] != [0, 1, 0, 3] {
        bail!("no answer of three records: {header:02x?}");
    }
    rest = past_name(rest).and_then(|rest| rest.get(4..)).context("no question")?;
    let mut told = None;
    for _ in 0..3 {
        let record = past_name(rest).context("no record")?;
        let (fixed, tail) = record.split_first_chunk::<14>().context("no record")?;
        if fixed[..4] != [0, 1, 0, 1] || fixed[8..10] != [0, 4] {
            bail!("not an A record: {fixed:02x?}");
        }
        let ttl = u32::from_be_bytes([fixed[4], fixed[5], fixed[6], fixed[7]]);
        let of = (fixed[13], ttl);
        if !WORLDS.contains(&of) || *told.get_or_insert(of) != of {
            bail!("an answer of two worlds, or of none: {of:?} beside {told:?}");
        }
        rest = tail;
    }
    Ok(())
}

fn past_name(mut wire: &[u8]) -> Option<&[u8]> {
    loop {
        match *wire.first()? {
            0 => return wire.get(1..),
            0xc0.. => return wire.get(2..),
            length => wire = wire.get(1 + usize::from(length)..)?,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(records: &[(u8, u32)]) -> Vec<u8> {
        let mut reply = vec![0, 7, 0x84, 0, 0, 1, 0, records.len() as u8, 0, 0, 0, 0];
        reply.extend(b"\x03www\x00\x00\x01\x00\x01");
        for (octet, ttl) in records {
            reply.extend([0xc0, 12, 0, 1, 0, 1]);
            reply.extend(ttl.to_be_bytes());
            reply.extend([0, 4, 192, 0, 2, *octet]);
        }
        reply
    }

    fn check(records: &[(u8, u32)], expected: bool) {
        assert_eq!(is_of_one_world(&reply(records)).is_ok(), expected, "{records:?}");
    }

    #[test]
    fn an_answer_of_two_worlds_is_seen() {
        check(&[(1, 30), (1, 30), (1, 30)], true);
        check(&[(2, 60), (2, 60), (2, 60)], true);
        check(&[(1, 30), (2, 60), (1, 30)], false);
        check(&[(1, 60), (1, 60), (1, 60)], false);
        check(&[(1, 30), (1, 30)], false);
        assert!(is_of_one_world(&reply(&[(1, 30); 3])[..40]).is_err());
    }
}
