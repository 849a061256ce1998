//! What many virtual routers cost: one box with all of them Active, another that hears them, and the same of keepalived
//! on a link of its own at the same time.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, ensure};
use gslb_tests::netns::{Namespace, Segment};
use serde_json::Value;

use super::daemon::{self, Balancer, Daemon, Kind, Programs, Router};
use super::until;
use crate::clock;
use crate::cpu::{self, Spent};
use crate::interrupt::Interrupt;

/// Of a core, of each process of ours: less than this.
const MOST: f64 = 0.02;
const READY_WITHIN: Duration = Duration::from_secs(60);
/// Until the last announcements of who has become Active are over.
const WARM_UP: Duration = Duration::from_secs(8);
const PAUSE: Duration = Duration::from_millis(100);
const PRIORITIES: [u8; 2] = [200, 100];

#[derive(Clone, Copy, Debug)]
pub struct Plan {
    pub instances: u8,
    pub interval: Duration,
    pub lasting: Duration,
}

/// One process, or keepalived's two.
struct Measured {
    kind: Kind,
    role: &'static str,
    /// Of a core.
    share: f64,
    /// Of the time that it had something to do and others had the core.
    waited: f64,
    /// Octets.
    resident: u64,
}

pub struct Outcome {
    plan: Plan,
    all: Vec<Measured>,
    /// Events of ours meanwhile, of which there should be none.
    events: usize,
}

/// A link of one kind, what ends first standing first.
struct Link {
    kind: Kind,
    /// Active and Backup.
    daemons: Vec<Daemon>,
    machines: Vec<Namespace>,
    segment: Segment,
    dir: tempfile::TempDir,
}

impl Outcome {
    pub fn passed(&self) -> bool {
        let ours = self.all.iter().filter(|measured| measured.kind == Kind::SiteAgent);
        self.events == 0 && ours.clone().count() == 2 && ours.clone().all(|one| one.share < MOST)
    }

    pub fn text(&self) -> String {
        let Plan { instances, interval, lasting } = self.plan;
        let mut text = format!(
            "{instances} virtual routers, an advert of each every {} ms, for {} s; {} events meanwhile\n\n{:<12}{:<8}{:>11}\
             {:>14}{:>10}{:>10}{:>15}\n",
            interval.as_millis(),
            lasting.as_secs_f64(),
            self.events,
            "of",
            "role",
            "of a core",
            "kept waiting",
            "RSS MiB",
            "budget",
            "of keepalived"
        );
        for measured in &self.all {
            let Measured { kind, role, share, waited, resident } = measured;
            let peer = self.all.iter().find(|of| of.kind == Kind::Keepalived && of.role == *role);
            let (budget, ratio) = match (kind, peer) {
                (Kind::SiteAgent, Some(peer)) => {
                    (format!("< {:.0} %", MOST * 1e2), format!("{:.2}", share / peer.share))
                }
                _ => (String::new(), String::new()),
            };
            text += &format!(
                "{:<12}{role:<8}{:>10.2}%{:>13.2}%{:>10.1}{budget:>10}{ratio:>15}",
                kind.name(),
                share * 1e2,
                waited * 1e2,
                *resident as f64 / f64::from(1 << 20),
            );
            if *kind == Kind::SiteAgent {
                text += if *share < MOST { "  pass" } else { "  FAIL" };
            }
            text.truncate(text.trim_end().len());
            text.push('\n');
        }
        if self.events > 0 {
            text += "FAIL: roles or priorities have changed while nothing happened\n";
        }
        text
    }
}

pub fn measure(programs: &Programs, plan: &Plan, interrupt: &Interrupt) -> anyhow::Result<Outcome> {
    let [ours, peer] = [Kind::SiteAgent, Kind::Keepalived]
        .map(|kind| Link::build(kind, programs, plan, interrupt));
    let links = [ours?, peer?];
    rest(WARM_UP, interrupt)?;
    let events = links[0].events()?;
    let daemons = || links.iter().flat_map(|link| link.daemons.iter().map(move |d| (link.kind, d)));
    let spent =
        || daemons().map(|(_, daemon)| spent_by(daemon)).collect::<anyhow::Result<Vec<_>>>();
    let (before, began) = (spent()?, clock::now());
    rest(plan.lasting, interrupt)?;
    let (after, lasted) = (spent()?, (clock::now() - began).as_secs_f64());
    let later = links[0].events()?;
    let mut all = vec![];
    for (number, ((kind, daemon), (after, before))) in
        daemons().zip(after.into_iter().zip(before)).enumerate()
    {
        let spent = after.since(before);
        let resident = daemon.pids()?.into_iter().map(cpu::resident).sum::<Result<u64, _>>()?;
        all.push(Measured {
            kind,
            role: if number % 2 == 0 { "active" } else { "backup" },
            share: spent.scheduled.as_secs_f64() / lasted,
            waited: spent.waiting.as_secs_f64() / lasted,
            resident,
        });
    }
    let events = later.iter().filter(|event| !events.contains(event)).count();
    Ok(Outcome { plan: *plan, all, events })
}

fn spent_by(daemon: &Daemon) -> anyhow::Result<Spent> {
    let mut sum = Spent::default();
    for pid in daemon.pids()? {
        let Spent { ticks, scheduled, waiting } = Spent::by(pid)?;
        sum.ticks += ticks;
        sum.scheduled += scheduled;
        sum.waiting += waiting;
    }
    Ok(sum)
}

fn rest(time: Duration, interrupt: &Interrupt) -> anyhow::Result<()> {
    let began = clock::now();
    while clock::now() - began < time {
        interrupt.check()?;
        clock::pause(PAUSE);
    }
    Ok(())
}

impl Link {
    /// Returns when the one leads them all and the other one hears them.
    fn build(
        kind: Kind,
        programs: &Programs,
        plan: &Plan,
        interrupt: &Interrupt,
    ) -> anyhow::Result<Link> {
        let (dir, segment) = (tempfile::tempdir()?, Segment::new()?);
        let mut link = Link { kind, daemons: vec![], machines: vec![], segment, dir };
        for (name, address, priority) in
            [("a", "192.0.2.10/24", PRIORITIES[0]), ("b", "192.0.2.11/24", PRIORITIES[1])]
        {
            let machine = link.segment.join(name, &[address])?;
            take_in_by_threads(&machine, "eth0")?;
            take_in_by_threads(link.segment.switch(), &format!("to-{name}"))?;
            let home = link.dir.path().join(name);
            std::fs::create_dir_all(&home)?;
            daemon::tell(kind, &home, &routers(plan, priority))?;
            let daemon = Daemon::start(kind, programs, &machine, &home, interrupt)?;
            link.machines.push(machine);
            link.daemons.push(daemon);
            let role = if link.daemons.len() == 1 { "active" } else { "backup" };
            let what = format!("all of {} are {role}", kind.name());
            until(&what, READY_WITHIN, interrupt, || {
                Ok(link.are(role, plan.instances)?.then_some(()))
            })
            .with_context(|| daemon::log_tail(&home))?;
        }
        Ok(link)
    }

    /// Whether the one that was started last has that role in all of them.
    fn are(&self, role: &str, instances: u8) -> anyhow::Result<bool> {
        let (Some(daemon), Some(machine)) = (self.daemons.last(), self.machines.last()) else {
            return Ok(false);
        };
        match self.kind {
            Kind::SiteAgent => {
                let status = daemon.status()?;
                let routers = status["routers"].as_array().context("no virtual routers")?;
                let is = |router: &Value| {
                    router["role"] == role && (role == "active" || !router["leader"].is_null())
                };
                Ok(routers.iter().filter(|router| is(router)).count() == usize::from(instances))
            }
            Kind::Keepalived => {
                let expected = if role == "active" { usize::from(instances) } else { 0 };
                // Its looks cost a process each.
                clock::pause(PAUSE);
                Ok(vips(machine)? == expected)
            }
        }
    }

    /// Of our services: which router's, and its number.
    fn events(&self) -> anyhow::Result<Vec<(String, u64)>> {
        let mut all = vec![];
        for (number, daemon) in self.daemons.iter().enumerate() {
            let status = daemon.status()?;
            for event in status["events"].as_array().context("no events")? {
                let number_of_it = event["number"].as_u64().context("no number")?;
                all.push((format!("{number} {}", event["router"]), number_of_it));
            }
        }
        Ok(all)
    }
}

fn routers(plan: &Plan, priority: u8) -> Vec<Router> {
    let router = |vrid: u8| Router {
        name: format!("i{vrid}"),
        vrid,
        vip: format!("198.51.100.{vrid}/32"),
        priority,
        interval: plan.interval,
        refresh: Duration::from_secs(60),
        witness: None,
        balancer: Balancer::NotAsked,
    };
    (1..=plan.instances).map(router).collect()
}

/// Has threads of the kernel take in what comes to one end of a cable, as a card's interrupts have it: else whoever sends
/// an advert does the work of the switch, and of all who hear it.
fn take_in_by_threads(machine: &Namespace, interface: &str) -> anyhow::Result<()> {
    // For that the kernel has to put packets together.
    let script =
        format!("ethtool -K {interface} gro on && echo 1 > /sys/class/net/{interface}/threaded");
    let arguments = ["netns", "exec", machine.name(), "sh", "-c", &script];
    let done = Command::new("ip").args(arguments).output()?;
    let told = String::from_utf8_lossy(&done.stderr);
    ensure!(done.status.success(), "{interface} (is ethtool installed?): {}", told.trim());
    Ok(())
}

/// How many of the addresses a machine has.
fn vips(machine: &Namespace) -> anyhow::Result<usize> {
    let arguments = ["-n", machine.name(), "-o", "address", "show", "to", "198.51.100.0/24"];
    let shown = Command::new("ip").args(arguments).output()?;
    ensure!(shown.status.success(), "ip: {}", String::from_utf8_lossy(&shown.stderr));
    Ok(String::from_utf8_lossy(&shown.stdout).lines().count())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_of_ours_have_to_stay_within_the_budget_and_nothing_may_happen() {
        let check = |active: f64, backup: f64, events, passes: bool| {
            let ours = [("active", active), ("backup", backup)]
                .map(|(role, share)| (Kind::SiteAgent, role, share));
            let peer = [("active", 0.5), ("backup", 0.5)]
                .map(|(role, share)| (Kind::Keepalived, role, share));
            let measured = |(kind, role, share)| Measured {
                kind,
                role,
                share,
                waited: 0.0,
                resident: 1 << 20,
            };
            let all = ours.into_iter().chain(peer).map(measured).collect();
            let plan = Plan { instances: 100, interval: PAUSE, lasting: WARM_UP };
            let outcome = Outcome { plan, all, events };
            assert_eq!(outcome.passed(), passes, "{}", outcome.text());
            assert_eq!(outcome.text().contains("FAIL"), !passes, "{}", outcome.text());
        };
        check(0.019, 0.001, 0, true);
        check(0.021, 0.001, 0, false);
        check(0.019, 0.021, 0, false);
        check(0.019, 0.001, 1, false);
    }
}
