//! What verdicts cost: twenty vantages that tell of ten thousand targets, all quiet and one target of a hundred
//! changing each second; how long evidence takes to become an answer; and whether answers cost more meanwhile.

mod crew;
mod fleet;
mod pure;
mod real;

use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use gslb_dns::config::{self, Config};

pub use self::real::Extent;

use self::fleet::{SERVICES, TARGETS, Targets, VANTAGES};
use crate::cpu::Cores;
use crate::interrupt::Interrupt;
use crate::latency::Histogram;
use crate::stats::Summary;

/// Of a core.
const QUIET: f64 = 0.05;
const CHANGING: f64 = 0.15;
/// From the deciding report to the first other answer.
const EVIDENCE_TO_ANSWER: Duration = Duration::from_millis(100);

/// What came of it.
pub struct Outcome {
    alone: [pure::Cost; 2],
    real: real::Outcome,
    seed: u64,
}

pub fn measure(
    program: &Path,
    cores: Cores,
    dir: &Path,
    extent: &Extent,
    interrupt: &Interrupt,
) -> anyhow::Result<Outcome> {
    let home = dir.join("alone");
    real::write_world(&home, SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), "")?;
    let config = home.join("node.toml");
    let prepared = config::load(&config).and_then(Config::prepare);
    let prepared = prepared.map_err(|problems| anyhow::anyhow!("{problems}"))?;
    let targets = Targets::of(&prepared.ground.world)?;
    drop(prepared);
    let alone = pure::measure(&config, &targets, extent.lasting, extent.seed, interrupt)?;
    let real = real::measure(program, cores, dir, &targets, extent, interrupt)?;
    Ok(Outcome { alone, real, seed: extent.seed })
}

impl Outcome {
    pub fn passed(&self) -> bool {
        let real = &self.real;
        let [quiet, changing] = &self.alone;
        quiet.share() < QUIET
            && changing.share() < CHANGING
            && real.quiet.share() < QUIET
            && real.changing.share() < CHANGING
            && real.flips.iter().all(|(_, waited)| waited.longest() < EVIDENCE_TO_ANSWER)
            && real.lost + real.wrong == 0
            && self.is_unchanged()
    }

    /// Cost of an answer beside another arm of the same round.
    fn ratio(&self, arm: usize) -> Option<Summary> {
        let ratios: Vec<f64> =
            self.real.answers.iter().map(|costs| costs[arm] / costs[0]).collect();
        (!ratios.is_empty()).then(|| Summary::of(&ratios, self.seed))
    }

    /// Whether the median is within what two measurements of the same differ by.
    fn is_unchanged(&self) -> bool {
        let (Some(same), Some(changing)) = (self.ratio(1), self.ratio(2)) else { return true };
        changing.median <= same.max
    }

    pub fn text(&self) -> String {
        let mut text = format!(
            "{VANTAGES} vantages, {TARGETS} targets of {SERVICES} services; a change is told by every vantage\n\n\
             {:<34}{:>10}{:>10}{:>10}{:>10}{:>10}\n",
            "of a core", "reports/s", "entries/s", "boards/s", "share", "budget"
        );
        let [quiet, changing] = &self.alone;
        for (name, cost, budget) in
            [("machines alone, quiet", quiet, QUIET), ("machines alone, 1 %/s", changing, CHANGING)]
        {
            let per = |count: u64| count as f64 / cost.lasting.as_secs_f64();
            let _ = writeln!(
                text,
                "{name:<34}{:>10.0}{:>10.0}{:>10.1}{:>9.2}%{:>9.0}%   reading {:.2} %, hearing {:.2} %, turns {:.2} %",
                per(cost.reports),
                per(cost.entries),
                per(cost.boards),
                cost.share() * 100.0,
                budget * 100.0,
                of(cost.reading, cost.lasting),
                of(cost.hearing, cost.lasting),
                of(cost.turning, cost.lasting),
            );
        }
        let real = &self.real;
        for (name, cost, budget) in
            [("gslb-dns, quiet", &real.quiet, QUIET), ("gslb-dns, 1 %/s", &real.changing, CHANGING)]
        {
            let per = |count: u64| count as f64 / cost.took.as_secs_f64();
            let _ = writeln!(
                text,
                "{name:<34}{:>10.0}{:>10.0}{:>10}{:>9.2}%{:>9.0}%",
                per(cost.reports),
                per(cost.entries),
                "",
                cost.share() * 100.0,
                budget * 100.0,
            );
        }
        let _ = writeln!(
            text,
            "\n{:<34}{:>10}{:>10}{:>10}{:>10}{:>10}",
            "evidence to answer, ms", "flips", "p50", "p99", "max", "budget"
        );
        let milliseconds = |duration: Duration| duration.as_secs_f64() * 1e3;
        for (name, (count, waited)) in ["else quiet", "1 %/s beside"].iter().zip(&real.flips) {
            let at = |share| milliseconds(Histogram::percentile(waited, share));
            let _ = writeln!(
                text,
                "{name:<34}{count:>10}{:>10.1}{:>10.1}{:>10.1}{:>10.0}",
                at(0.5),
                at(0.99),
                milliseconds(waited.longest()),
                milliseconds(EVIDENCE_TO_ANSWER),
            );
        }
        if let (Some(same), Some(changing)) = (self.ratio(1), self.ratio(2)) {
            let costs: Vec<f64> = real.answers.iter().map(|costs| costs[0]).collect();
            let _ = writeln!(
                text,
                "\nan answer costs its thread {:.2} us while all is quiet; against that, of {} rounds",
                Summary::of(&costs, self.seed).median,
                costs.len(),
            );
            for (name, ratio) in [("quiet once more", same), ("1 %/s beside", changing)] {
                let Summary { median, lower, upper, min, max } = ratio;
                let _ = writeln!(
                    text,
                    "{name:<34}{median:>10.3}  [{lower:.3} {upper:.3}]  {min:.3}..{max:.3}"
                );
            }
            let _ = writeln!(text, "{} answers lost, {} wrong", real.lost, real.wrong);
        }
        if let Some(wrong) = &real.first_wrong {
            let _ = writeln!(text, "first wrong: {wrong}");
        }
        text + if self.passed() { "pass" } else { "FAIL" }
    }
}

/// Percent.
fn of(part: Duration, whole: Duration) -> f64 {
    part.as_secs_f64() / whole.as_secs_f64() * 100.0
}
