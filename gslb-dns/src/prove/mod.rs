//! What a world will do that its operator will not want: judged before anybody asks.
//!
//! For every class of clients, every loss of one site and each family, by the evaluator that answers queries
//! (`steer::arrange`, `steer::reach`). `config` asks and tells; nothing here is on the query path. Pure.
//!
//! Services that ask the same of their clients are one *case*, judged once. Each kind of finding costs a case at
//! most `MOST_ARRANGED` arrangements, or a few for each class; one takes its sites times its steps. A sound
//! case ends far sooner: a step that matters for one class is done with, and no client is looked for.

mod case;
mod chain;
mod example;
mod families;
mod fence;
mod servers;
mod sites;
mod steps;

use std::collections::HashMap;

pub use self::chain::relative_reading;
pub use self::servers::server_fault;

use self::case::{Case, Shape};
use self::example::Example;
use crate::health::board::Board;
use crate::ids::ServiceId;
use crate::snapshot::Groundwork;
use crate::world::Service;

/// Arrangements made for one kind of finding in one case. What would need more is not claimed.
const MOST_ARRANGED: usize = 1 << 18;

/// How much a finding weighs.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Severity {
    /// Nobody can mean it: the world is refused.
    Problem,
    /// Somebody will be answered worse than they could be.
    Warning,
    /// What a policy means for some clients, and likely is meant to.
    Note,
}

/// Where in a service the cause is written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum At {
    Service,
    FailMode,
    Static,
    StrictFence,
    /// By its index among `Service::steps`.
    Step(usize),
    Candidate(usize),
}

/// Something that will happen to a service's clients.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Finding {
    pub service: ServiceId,
    pub at: At,
    pub severity: Severity,
    /// For people, with a client to whom it happens and how to see it.
    pub message: String,
}

/// A finding of a case, which each service of that case tells by its own name.
struct CaseFinding {
    at: At,
    severity: Severity,
    /// Whose name `told` takes the place of `SERVICE` in.
    message: String,
}

/// Stands for the service's name in the message of a case; no name has it.
const SERVICE: &str = "\u{0}";

/// All findings of all services, in their order.
pub fn findings(ground: &Groundwork) -> Vec<Finding> {
    let blank = Board::blank(&ground.world);
    let mut judged: HashMap<Shape<'_>, Vec<CaseFinding>> = HashMap::new();
    let mut findings = Vec::new();
    for id in ground.world.service_ids() {
        let service = ground.world.service(id);
        let of_case = judged
            .entry(Shape::of(ground, id))
            .or_insert_with(|| judge(&Case::new(ground, &blank, id)));
        let told = of_case.iter().map(|CaseFinding { at, severity, message }| Finding {
            service: id,
            at: *at,
            severity: *severity,
            message: message.replace(SERVICE, &service.name.to_host()),
        });
        findings.extend(told);
    }
    findings.extend(chain::findings(ground, &blank));
    findings
}

fn judge(case: &Case<'_>) -> Vec<CaseFinding> {
    let mut findings = families::silent(case);
    findings.extend(families::apart(case));
    findings.extend(families::never_listed(case));
    findings.extend(fence::last_known(case));
    findings.extend(fence::not_fenced(case));
    findings.extend(steps::useless(case));
    findings.extend(sites::unreachable(case));
    findings
}

impl CaseFinding {
    fn warning(at: At, message: String) -> CaseFinding {
        CaseFinding { at, severity: Severity::Warning, message }
    }

    fn note(at: At, message: String) -> CaseFinding {
        CaseFinding { at, severity: Severity::Note, message }
    }
}

/// The command that shows it: `gslb-dns explain www.example.com A --client 81.2.69.0/24`.
fn see(service: &str, rtype: &str, example: &Example, suppose: &str) -> String {
    format!("see gslb-dns explain {service} {rtype} {}{suppose}", example.option())
}

/// `www.example.com` for messages.
fn host(service: &Service) -> String {
    service.name.to_host()
}
