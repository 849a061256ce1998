//! What a world will do that its operator will not want: judged before anybody asks.
//!
//! For every class of clients, every loss of one site and each family, by the evaluator that answers queries
//! (`steer::arrange`, `steer::reach`). `config` asks and tells; nothing here is on the query path. Pure.
//!
//! Services that ask the same of their clients are one *case*. Each *question* is asked of each case, and what all of
//! them together may cost is counted (`effort`): each has an equal share, and what the others leave is shared anew
//! among those that it did not reach for. Which services are not judged for something is told.

mod case;
mod chain;
mod effort;
mod example;
mod families;
mod fence;
mod servers;
mod sites;
mod steps;

use std::collections::{BTreeMap, HashMap};

pub use common::config::Severity;

pub use self::chain::relative_reading;
pub use self::effort::Effort;
pub use self::servers::server_fault;

use self::case::{Case, Shape};
use self::effort::Spent;
use self::example::Example;
use crate::health::board::Board;
use crate::ids::ServiceId;
use crate::snapshot::Groundwork;
use crate::world::Service;

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

/// What is asked of each case; the last, of all services that answer with CNAMEs together.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Question {
    Silent,
    Apart,
    NeverListed,
    LastKnown,
    NotFenced,
    Useless,
    Unreachable,
    Chain,
}

/// All that a judgement comes to.
#[derive(Debug)]
pub struct Judged {
    /// By service, in their order.
    pub findings: Vec<Finding>,
    /// The services for which the effort did not reach: nothing is claimed of them.
    pub unjudged: BTreeMap<Question, Vec<ServiceId>>,
    pub spent: Effort,
}

/// Judges all services, with no more work than `most`.
pub fn judge(ground: &Groundwork, most: Effort) -> Judged {
    let blank = Board::blank(&ground.world);
    let aside = most.part(CHAINS_PART);
    let (of_chains, far, unspent) = chain::findings(ground, &blank, aside);
    let (cases, members) = cases(ground);
    let effort = most.less(aside).plus(unspent);
    let Asked { told, open, left } = ask_all(ground, &blank, &members, effort);

    let mut findings = Vec::new();
    for (id, case) in ground.world.service_ids().zip(cases) {
        let name = ground.world.service(id).name.to_host();
        let of_case = told.range((case, Question::Silent)..(case + 1, Question::Silent));
        findings.extend(of_case.flat_map(|(_, told)| told).map(|found| Finding {
            service: id,
            at: found.at,
            severity: found.severity,
            message: found.message.replace(SERVICE, &name),
        }));
    }
    findings.extend(of_chains);
    let mut unjudged: BTreeMap<Question, Vec<ServiceId>> = BTreeMap::new();
    for (case, question) in open {
        unjudged.entry(question).or_default().extend(&members[case]);
    }
    if !far.is_empty() {
        unjudged.insert(Question::Chain, far);
    }
    Judged { findings, unjudged, spent: most.less(left) }
}

/// Chains of services are judged first, with so much of the whole.
const CHAINS_PART: usize = 4;

/// The case of each service, and the services of each case.
fn cases(ground: &Groundwork) -> (Vec<usize>, Vec<Vec<ServiceId>>) {
    let mut known: HashMap<Shape<'_>, usize> = HashMap::new();
    let mut members: Vec<Vec<ServiceId>> = Vec::new();
    let of_service = ground.world.service_ids().map(|id| {
        let case = *known.entry(Shape::of(ground, id)).or_insert(members.len());
        members.resize_with(members.len().max(case + 1), Vec::new);
        members[case].push(id);
        case
    });
    (of_service.collect(), members)
}

/// What was found by case and question, what the effort did not reach for, and what is left of it.
struct Asked {
    told: BTreeMap<(usize, Question), Vec<CaseFinding>>,
    open: Vec<(usize, Question)>,
    left: Effort,
}

/// Asks in rounds of equal shares. What is left after one is shared among the questions that it cut short, as
/// long as each gets more than twice what it had.
fn ask_all(
    ground: &Groundwork,
    blank: &Board,
    members: &[Vec<ServiceId>],
    effort: Effort,
) -> Asked {
    let questions = |case| Question::OF_A_CASE.iter().map(move |question| (case, *question));
    let mut open: Vec<(usize, Question)> = (0..members.len()).flat_map(questions).collect();
    let (mut told, mut left, mut had) = (BTreeMap::new(), effort, Effort::NONE);
    while !open.is_empty() && had.is_far_below(left.part(open.len())) {
        had = left.part(open.len());
        let mut cut = Vec::new();
        for of_case in open.chunk_by(|one, next| one.0 == next.0) {
            let case = Case::new(ground, blank, members[of_case[0].0][0]);
            for asked in of_case {
                case.budget.refill(had);
                match asked.1.ask(&case) {
                    Ok(found) => drop(told.insert(*asked, found)),
                    Err(Spent) => cut.push(*asked),
                }
                left = left.less(had.less(case.budget.left()));
            }
        }
        open = cut;
    }
    Asked { told, open, left }
}

impl Question {
    const OF_A_CASE: [Question; 7] = [
        Question::Silent,
        Question::Apart,
        Question::NeverListed,
        Question::LastKnown,
        Question::NotFenced,
        Question::Useless,
        Question::Unreachable,
    ];

    fn ask(self, case: &Case<'_>) -> Result<Vec<CaseFinding>, Spent> {
        match self {
            Question::Silent => families::silent(case),
            Question::Apart => families::apart(case),
            Question::NeverListed => families::never_listed(case),
            Question::LastKnown => fence::last_known(case),
            Question::NotFenced => fence::not_fenced(case),
            Question::Useless => steps::useless(case),
            Question::Unreachable => sites::unreachable(case),
            // Of all together: `chain::findings`.
            Question::Chain => Ok(vec![]),
        }
    }

    /// What is looked for, as messages name it.
    pub fn as_str(self) -> &'static str {
        match self {
            Question::Silent => "a family that \"static\" lacks",
            Question::Apart => "A and AAAA answers without a site in common",
            Question::NeverListed => "addresses of \"static\" that are never answered",
            Question::LastKnown => "\"last-known\" inside a strict fence",
            Question::NotFenced => "clients whom a strict fence does not hold",
            Question::Useless => "steps that can never matter",
            Question::Unreachable => "sites that are sent nobody",
            Question::Chain => "CNAMEs that lead clients too far",
        }
    }
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
