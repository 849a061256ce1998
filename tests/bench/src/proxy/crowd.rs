//! What connections cost in memory: idle ones of each proxy, and the crowd that site-agent has to hold.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::answer::Right;
use super::backend::{BODIES, Backend, SMALL, all, request};
use super::client::{Client, Heard, Life, Load, Pace, ask_once};
use super::peers::{self, Kind, Programs, Proxy, World};
use crate::cpu::{self, Cores};
use crate::interrupt::Interrupt;
use crate::{clock, nginx};

/// Before memory is read: what is made once for all is no cost of connections.
const WARM_UP: Duration = Duration::from_millis(500);
const WARM_CONNECTIONS: usize = 64;
/// Of a look at memory while the crowd is there.
const LOOK: Duration = Duration::from_millis(200);
/// What the crowd may take: the agent's memory and the kernel's for all sockets of the machine.
const MOST: u64 = 2 << 30;
const SMALL_RIGHT: Right = Right::Bodies(&BODIES);
/// Descriptors for all else of a process.
const SPARE: usize = 200;

/// What idle connections of one proxy cost.
pub struct Idle {
    name: &'static str,
    connections: usize,
    before: u64,
    after: u64,
    /// Of the kernel, for both ends.
    sockets: u64,
}

/// How many are there, and for how long those that are active ask.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    pub idle: usize,
    pub active: usize,
    pub lasting: Duration,
}

/// What came of a crowd.
pub struct Crowd {
    plan: Plan,
    heard: Heard,
    /// The agent's memory before, with all idle, and at most.
    agent: [u64; 3],
    /// The kernel's for sockets, the same.
    kernel: [u64; 3],
    /// The most of both at a time, the kernel's from before left out.
    most: u64,
    /// Idle connections that were answered once more afterwards.
    woken: usize,
}

impl Idle {
    pub fn heading() -> String {
        format!(
            "{:<12}{:>13}{:>12}{:>12}{:>18}{:>22}\n",
            "server",
            "connections",
            "before MiB",
            "after MiB",
            "octets/connection",
            "kernel, octets/pair"
        )
    }

    pub fn text(&self) -> String {
        let Idle { name, connections, before, after, sockets } = *self;
        let each = |octets: u64| octets as f64 / connections as f64;
        format!(
            "{name:<12}{connections:>13}{:>12.1}{:>12.1}{:>18.0}{:>22.0}\n",
            mebibytes(before),
            mebibytes(after),
            each(after.saturating_sub(before)),
            each(sockets),
        )
    }
}

impl Crowd {
    pub fn passed(&self) -> bool {
        let Heard { tally, asked, .. } = &self.heard;
        tally.answers == *asked
            && *asked >= self.plan.active as u64
            && self.woken == self.plan.idle
            && self.most <= MOST
    }

    pub fn text(&self) -> String {
        let Crowd { plan: Plan { idle, active, lasting }, heard, agent, kernel, most, woken } =
            self;
        let [before, resting, peak] = agent.map(mebibytes);
        let [sockets_before, sockets_resting, sockets_peak] = kernel.map(mebibytes);
        let tally = &heard.tally;
        format!(
            "{idle} idle and {active} active connections: {} answers in {:.1} s, {} lost, {} wrong; \
             {woken} of the idle answered afterwards\n\
             site-agent: {before:.1} MiB before, {resting:.1} with all idle, {peak:.1} at most\n\
             sockets of the machine: {sockets_before:.1} MiB before, {sockets_resting:.1} with all idle, \
             {sockets_peak:.1} at most\n\
             both: {:.1} MiB of {:.0}: {}",
            tally.answers,
            lasting.as_secs_f64(),
            tally.lost,
            tally.wrong,
            mebibytes(*most),
            mebibytes(MOST),
            if self.passed() { "pass" } else { "FAIL" },
        )
    }
}

/// Idle connections of every proxy, one after the other.
pub fn idle(
    programs: &Programs,
    connections: usize,
    cores: Cores,
    dir: &Path,
    interrupt: &Interrupt,
) -> anyhow::Result<Vec<Idle>> {
    allow_descriptors(peers::descriptors(connections) + SPARE)?;
    nginx::certify(dir)?;
    let backend = Backend::start(dir, 1000, cores)?;
    let world = World { dir, backend: &backend, connections, cores };
    let measure = |kind| {
        let proxy = programs.start(kind, &world)?;
        let servers = all(proxy.doors.http);
        warm_up(&servers, interrupt)?;
        let pid = proxy.running.pid();
        let (before, sockets) = (cpu::resident(pid)?, socket_memory()?);
        let held = hold(&servers, connections, interrupt)?;
        let (after, sockets) = (cpu::resident(pid)?, socket_memory()?.saturating_sub(sockets));
        drop(held);
        Ok(Idle { name: kind.name(), connections, before, after, sockets })
    };
    programs.kinds().into_iter().map(measure).collect()
}

/// The crowd of site-agent.
pub fn crowd(
    programs: &Programs,
    plan: Plan,
    cores: Cores,
    dir: &Path,
    interrupt: &Interrupt,
) -> anyhow::Result<Crowd> {
    // site-agent has a client and a server of each that is active.
    allow_descriptors(plan.idle + 2 * plan.active + SPARE)?;
    nginx::certify(dir)?;
    let backend = Backend::start(dir, 2 * plan.active + 100, cores)?;
    let connections = plan.idle + plan.active;
    let world = World { dir, backend: &backend, connections, cores };
    let proxy: Proxy = programs.start(Kind::SiteAgent, &world)?;
    let servers = all(proxy.doors.http);
    warm_up(&servers, interrupt)?;
    let look = || anyhow::Ok((cpu::resident(proxy.running.pid())?, socket_memory()?));
    let before = look()?;
    let mut idle = hold(&servers, plan.idle, interrupt)?;
    let resting = look()?;
    let asked = request(SMALL, "");
    let load = Load {
        servers: &servers,
        connections: plan.active,
        request: &asked,
        right: SMALL_RIGHT,
        life: Life::Kept,
        pace: Pace::Closed,
    };
    let mut client = Client::new(load)?;
    let (mut most, mut peak, mut next) = (0, resting, Duration::ZERO);
    let heard = client.run_while(
        |elapsed, _| {
            if elapsed >= next {
                next = elapsed + LOOK;
                let (agent, kernel) = look()?;
                peak = (peak.0.max(agent), peak.1.max(kernel));
                most = most.max(agent + kernel.saturating_sub(before.1));
            }
            Ok(elapsed < plan.lasting)
        },
        interrupt,
    )?;
    let mut woken = 0;
    for stream in &mut idle {
        interrupt.check()?;
        woken += usize::from(ask_once(stream, &asked, SMALL_RIGHT).is_ok());
    }
    let (agent, kernel) = ([before.0, resting.0, peak.0], [before.1, resting.1, peak.1]);
    Ok(Crowd { plan, heard, agent, kernel, most, woken })
}

fn warm_up(servers: &[SocketAddr], interrupt: &Interrupt) -> anyhow::Result<()> {
    let asked = request(SMALL, "");
    let load = Load {
        servers,
        connections: WARM_CONNECTIONS,
        request: &asked,
        right: SMALL_RIGHT,
        life: Life::Kept,
        pace: Pace::Closed,
    };
    Client::new(load)?.run(WARM_UP, interrupt)?;
    Ok(())
}

/// Connections that have asked once and ask no more.
fn hold(
    servers: &[SocketAddr],
    connections: usize,
    interrupt: &Interrupt,
) -> anyhow::Result<Vec<TcpStream>> {
    let asked = request(SMALL, "");
    let open = |number: usize| {
        interrupt.check()?;
        let mut stream = TcpStream::connect(servers[number % servers.len()])?;
        ask_once(&mut stream, &asked, SMALL_RIGHT)?;
        Ok(stream)
    };
    let began = clock::now();
    let held = (0..connections).map(open).collect::<anyhow::Result<Vec<_>>>();
    held.with_context(|| format!("{connections} connections, after {:?}", clock::now() - began))
}

/// For us and every server that we start.
fn allow_descriptors(needed: usize) -> anyhow::Result<()> {
    let needed = needed as u64;
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current.is_none_or(|current| current >= needed) {
        return Ok(());
    }
    let maximum = maximum.map(|maximum| maximum.max(needed));
    let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: Some(needed), maximum }) else {
        return Ok(());
    };
    bail!("{needed} descriptors are needed ({error}): raise the limit (ulimit -n), or run as root")
}

/// What the kernel has of memory for TCP, of the whole machine.
fn socket_memory() -> anyhow::Result<u64> {
    let text = fs::read_to_string("/proc/net/sockstat")?;
    let pages = pages_of_tcp(&text).context("/proc/net/sockstat is another")?;
    Ok(pages * rustix::param::page_size() as u64)
}

/// `TCP: inuse 4 orphan 0 tw 2 alloc 5 mem 1`
fn pages_of_tcp(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("TCP:"))?;
    let (_, pages) = line.split_once(" mem ")?;
    pages.trim().parse().ok()
}

fn mebibytes(octets: u64) -> f64 {
    octets as f64 / f64::from(1 << 20)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::Tally;

    #[test]
    fn the_kernel_s_memory_is_that_of_tcp() {
        let text =
            "sockets: used 9\nTCP: inuse 4 orphan 0 tw 2 alloc 5 mem 17\nUDP: inuse 1 mem 3\n";
        assert_eq!(pages_of_tcp(text), Some(17));
        assert!(socket_memory().is_ok());
    }

    fn check(lost: u64, woken: usize, most: u64, passed: bool) {
        let plan = Plan { idle: 5, active: 2, lasting: Duration::ZERO };
        let tally = Tally { answers: 9 - lost, lost, ..Tally::default() };
        let heard = Heard { tally, asked: 9, ..Heard::default() };
        let crowd = Crowd { plan, heard, agent: [0; 3], kernel: [0; 3], most, woken };
        assert_eq!(crowd.passed(), passed, "{}", crowd.text());
    }

    #[test]
    fn a_crowd_passes_whole_and_within_its_memory() {
        check(0, 5, MOST, true);
        check(0, 5, MOST + 1, false);
        check(1, 5, MOST, false);
        check(0, 4, MOST, false);
    }
}
