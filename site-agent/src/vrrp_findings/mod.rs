//! What keeps this box from being one of a pair, found by looking at it and listening to its link.
//!
//! (config, the kernel, the link, the service) ─▶ facts ─▶ box_and_link, peers ─▶ Finding ─▶ (people, tools)
//!
//! Pure: `vrrp_doctor` brings the facts. What cannot be seen from here is not judged: nobody is told that a firewall or a
//! switch lets adverts pass, as that shows only on the other box.

mod box_and_link;
pub mod facts;
mod peers;
#[cfg(test)]
mod tests;

use std::fmt;

use serde::{Deserialize, Serialize};

pub use self::box_and_link::speaks_from;
use self::facts::{Facts, Service, Standing};
use crate::site::VirtualRouter;
use crate::vrrp::machine::Fault;

/// How much it matters.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The pair fails by it, or will.
    Problem,
    /// It may fail by it.
    Warning,
    /// It was looked at and is as it should be.
    Fine,
}

/// What was found.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Finding {
    pub severity: Severity,
    /// A virtual router's name, or `service`.
    pub about: String,
    pub what: String,
    /// What to do about it; nothing, where it is fine.
    pub remedy: Option<String>,
}

#[derive(Debug, Deserialize, Serialize)]
pub struct Report {
    pub listened_ms: u64,
    pub findings: Vec<Finding>,
}

impl Report {
    pub fn has_problem(&self) -> bool {
        self.findings.iter().any(|finding| finding.severity == Severity::Problem)
    }

    /// As lines for people.
    pub fn lines(&self) -> String {
        self.findings.iter().map(ToString::to_string).collect()
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Finding { severity, about, what, remedy } = self;
        let word = match severity {
            Severity::Problem => "problem",
            Severity::Warning => "warning",
            Severity::Fine => "fine",
        };
        writeln!(out, "{word:<8} {about}: {what}")?;
        remedy.iter().try_for_each(|remedy| writeln!(out, "         do: {remedy}"))
    }
}

/// All that is to be said, router by router in the order of the config.
pub fn of(routers: &[VirtualRouter], facts: &Facts) -> Vec<Finding> {
    let mut all = vec![];
    for (place, router) in routers.iter().enumerate() {
        let mut findings = Findings { about: &router.name, all: &mut all };
        if let Some(running) = facts.standings.iter().find(|known| *known.name == *router.name) {
            standing(running, &mut findings);
        }
        if let Some(interface) = box_and_link::judge(router, routers, facts, &mut findings) {
            peers::judge(router, &facts.judged[place], interface, facts, &mut findings);
        }
    }
    service(&facts.service, &mut Findings { about: "service", all: &mut all });
    all
}

/// What it says of itself, which nothing else shows.
fn standing(running: &Standing, findings: &mut Findings<'_>) {
    let Standing { name, fault, yields } = running;
    match fault {
        Some(fault) if *fault == Fault::LeaseLost.to_string() => findings.problem(
            format!("in fault: {fault}"),
            "start site-agent run here, or write needs_balancer = false where the addresses are another program's",
        ),
        Some(fault) => findings.problem(
            format!("in fault: {fault}"),
            "see to that: it is fit again by itself",
        ),
        None => {}
    }
    if *yields {
        findings.warning(
            "it yields: any other box is preferred to it",
            format!("site-agent vrrp take-back {name}, once that is not wanted any more"),
        );
    }
}

fn service(service: &Service, findings: &mut Findings<'_>) {
    let (is_real_time, is_locked) = match service {
        Service::Silent => {
            return findings.warning(
                "`site-agent vrrp run` does not answer, so what it may do cannot be seen",
                "start it, and ask again",
            );
        }
        Service::Hidden => {
            return findings.warning(
                "`site-agent vrrp run` answers, and its process cannot be looked at",
                "ask as root",
            );
        }
        Service::Running { is_real_time, is_locked } => (is_real_time, is_locked),
    };
    match is_real_time {
        true => findings.fine("its thread runs in real time"),
        false => findings.warning(
            "its thread does not run in real time: on a busy box adverts are late, and the other one takes over",
            "LimitRTPRIO=10 in its unit",
        ),
    }
    match is_locked {
        true => findings.fine("its memory is locked"),
        false => findings.warning(
            "its memory is not locked: on a box without free memory adverts are late, and the other one takes over",
            "LimitMEMLOCK=infinity in its unit",
        ),
    }
}

/// Those of one router, as they are made.
struct Findings<'f> {
    about: &'f str,
    all: &'f mut Vec<Finding>,
}

impl Findings<'_> {
    fn problem(&mut self, what: impl Into<String>, remedy: impl Into<String>) {
        self.add(Severity::Problem, what.into(), Some(remedy.into()));
    }

    fn warning(&mut self, what: impl Into<String>, remedy: impl Into<String>) {
        self.add(Severity::Warning, what.into(), Some(remedy.into()));
    }

    fn fine(&mut self, what: impl Into<String>) {
        self.add(Severity::Fine, what.into(), None);
    }

    fn add(&mut self, severity: Severity, what: String, remedy: Option<String>) {
        self.all.push(Finding { severity, about: self.about.to_owned(), what, remedy });
    }
}
