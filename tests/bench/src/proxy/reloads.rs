//! Reloads of site-agent under load: its config goes from one set of servers to another and back, while requests come at four fifths
//! of the rate that it can answer, whatever comes back. None may be lost or wrong, and each reload has to be seen in answers.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use rustix::process::{Pid, Signal, kill_process};

use super::answer::Right;
use super::backend::{BODIES, Backend, SMALL, all, request};
use super::client::{Client, Heard, Life, Load, Pace};
use super::peers::{Kind, Programs, World, site_agent_file, site_agent_text};
use crate::cpu::{Cores, Spent};
use crate::interrupt::Interrupt;
use crate::nginx;

/// How long the greatest rate is looked for.
const LIMIT: Duration = Duration::from_secs(2);
const SHARE: f64 = 0.8;
const CONNECTIONS: usize = 64;
/// Of a connection: so that some are new in every moment of a reload.
const REQUESTS: u32 = 100;

/// How often it reads its config again, and for how long in all.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    pub lasting: Duration,
    pub every: Duration,
}

/// What came of it.
pub struct Reloaded {
    plan: Plan,
    most: u64,
    rate: u64,
    heard: Heard,
    turns: Turns,
    /// Of its core, that the agent used.
    busy: f64,
}

/// Which of the configs is the newest.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
struct Turns {
    reloads: u32,
    /// Of those, how many were seen in the answers before the next.
    seen: u32,
}

impl Turns {
    /// The body of the newest config.
    fn body(self) -> usize {
        self.reloads as usize % BODIES.len()
    }

    /// Before the next: whether this one is what clients get.
    fn close(&mut self, body: usize) {
        if self.reloads > 0 && body == self.body() {
            self.seen += 1;
        }
    }
}

impl Reloaded {
    pub fn passed(&self) -> bool {
        let Heard { tally, asked, .. } = &self.heard;
        let Turns { reloads, seen } = self.turns;
        *asked > 0 && tally.answers == *asked && reloads > 0 && seen == reloads
    }

    pub fn text(&self) -> String {
        let Reloaded { plan, most, rate, heard, turns: Turns { reloads, seen }, busy } = self;
        let Heard { tally, asked, connections, .. } = heard;
        let mut text = format!(
            "{reloads} reloads in {:.0} s, {seen} of them seen in answers; {rate} requests/s of {most} possible, {:.0} % of \
             the core: {asked} asked, {} answered, {} lost, {} wrong, {connections} connections; p99 {:.1} ms, longest \
             {:.1} ms: {}",
            plan.lasting.as_secs_f64(),
            busy * 100.0,
            tally.answers,
            tally.lost,
            tally.wrong,
            tally.latency.percentile(0.99).as_secs_f64() * 1e3,
            tally.latency.longest().as_secs_f64() * 1e3,
            if self.passed() { "pass" } else { "FAIL" },
        );
        if let Some(wrong) = &tally.first_wrong {
            text += &format!("\nfirst wrong: {wrong}");
        }
        text
    }
}

pub fn measure(
    programs: &Programs,
    plan: Plan,
    cores: Cores,
    dir: &Path,
    interrupt: &Interrupt,
) -> anyhow::Result<Reloaded> {
    nginx::certify(dir)?;
    let backend = Backend::start(dir, 4096, cores)?;
    let world = World { dir, backend: &backend, connections: 1000, cores };
    let mut proxy = programs.start(Kind::SiteAgent, &world)?;
    let pid = proxy.running.pid();
    let process = i32::try_from(pid).ok().and_then(Pid::from_raw).context("no process")?;
    let file = site_agent_file(Kind::SiteAgent, dir);
    let (servers, asked) = (all(proxy.doors.http), request(SMALL, ""));
    let load = |pace| Load {
        servers: &servers,
        connections: CONNECTIONS,
        request: &asked,
        right: Right::Bodies(&BODIES),
        life: Life::Requests(REQUESTS),
        pace,
    };
    let most = Client::new(load(Pace::Closed))?.run(LIMIT, interrupt)?;
    let most = most.tally.answers as f64 / LIMIT.as_secs_f64();
    let rate = (most * SHARE) as u64;

    let before = Spent::by(pid)?;
    let (mut turns, mut is_over) = (Turns::default(), false);
    let mut client = Client::new(load(Pace::Rate(rate)))?;
    let heard = client.run_while(
        |elapsed, body| {
            let due = plan.every * (turns.reloads + 1);
            // Each has as long as the others to be seen.
            if elapsed >= due && due + plan.every <= plan.lasting {
                turns.close(body);
                turns.reloads += 1;
                let text = site_agent_text(proxy.doors, &world, backend.ports[turns.body()])?;
                fs::write(&file, text)?;
                kill_process(process, Signal::HUP)?;
            }
            if elapsed < plan.lasting {
                return Ok(true);
            }
            if !is_over {
                turns.close(body);
                is_over = true;
            }
            Ok(false)
        },
        interrupt,
    )?;
    proxy.running.check()?;
    let busy = Spent::by(pid)?.since(before).scheduled.as_secs_f64() / plan.lasting.as_secs_f64();
    Ok(Reloaded { plan, most: most as u64, rate, heard, turns, busy })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::Tally;

    fn check(bodies: &[usize], seen: u32) {
        let mut turns = Turns::default();
        for &body in bodies {
            turns.close(body);
            turns.reloads += 1;
        }
        assert_eq!(turns.seen, seen, "{bodies:?}");
    }

    #[test]
    fn a_reload_is_seen_if_answers_are_those_of_its_config_before_the_next() {
        check(&[0, 1, 0, 1], 3);
        check(&[0, 0, 0, 1], 2);
        check(&[0, 0], 0);
    }

    #[test]
    fn a_run_passes_if_all_is_answered_right_and_every_reload_was_seen() {
        let passes = |answers, seen| {
            let plan = Plan { lasting: Duration::ZERO, every: Duration::ZERO };
            let tally = Tally { answers, ..Tally::default() };
            let heard = Heard { tally, asked: 100, ..Heard::default() };
            let turns = Turns { reloads: 3, seen };
            Reloaded { plan, most: 1, rate: 1, heard, turns, busy: 0.8 }.passed()
        };
        assert!(passes(100, 3));
        assert!(!passes(99, 3));
        assert!(!passes(100, 2));
    }
}
