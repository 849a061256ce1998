//! What clients saw: each request is answered, or explained by what was done, or lost.

use std::fmt;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use anyhow::bail;

use super::clients::{Failure, Outcome, Request};

/// Requests of a story, and what was done when.
pub struct Account {
    pub requests: Vec<Request>,
    pub fault_at: Instant,
    /// What is no loss, as no balancer of names can help it.
    pub explained: Vec<Explained>,
}

/// Requests that were under way in a time after the fault may fail, at these addresses and in these ways.
pub struct Explained {
    pub from: Duration,
    pub until: Duration,
    pub why: &'static str,
    pub at: Vec<IpAddr>,
    pub is: fn(Failure) -> bool,
}

/// Of a story, in a line of a table.
#[derive(Clone, Debug)]
pub struct Seen {
    pub sent: usize,
    pub answered: usize,
    pub explained: usize,
    /// From the fault to the end of the last request that failed.
    pub lasted: Duration,
    /// What the one who waited longest for an answer took to get it.
    pub slowest: Duration,
    pub kinds: Kinds,
}

/// Failures by what they were, most first.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Kinds(pub Vec<(String, usize)>);

impl Account {
    /// An error if a request was neither answered nor is explained.
    pub fn seen(&self) -> anyhow::Result<Seen> {
        let sent = self.requests.len();
        let (answered, failed): (Vec<_>, Vec<_>) =
            self.requests.iter().partition(|request| is_answered(request));
        let is_explained =
            |request: &&Request| self.explained.iter().any(|one| one.is_of(request, self.fault_at));
        let (explained, lost): (Vec<_>, Vec<_>) = failed.iter().copied().partition(is_explained);
        if !lost.is_empty() {
            let lines = lost.iter().take(20).map(|request| self.line(request));
            let may = self.explained.iter().map(|Explained { from, until, why, .. }| {
                let (from, until) = (from.as_secs_f64(), until.as_secs_f64());
                format!("  +{from:.3} s to +{until:.3} s: {why}\n")
            });
            bail!(
                "{sent} sent, {} answered, {} explained, {} LOST:\n{}where some may be:\n{}",
                answered.len(),
                explained.len(),
                lost.len(),
                lines.collect::<String>(),
                may.collect::<String>()
            );
        }
        let ends = failed.iter().map(|request| request.at + request.took);
        let last = ends.max().unwrap_or(self.fault_at);
        let kinds = Kinds::of(failed.iter().map(|request| (kind(&request.outcome), 1)));
        let lasted = last.saturating_duration_since(self.fault_at);
        let slowest = answered.iter().map(|request| request.took).max().unwrap_or_default();
        let (answered, explained) = (answered.len(), explained.len());
        Ok(Seen { sent, answered, explained, lasted, slowest, kinds })
    }

    /// Requests that began so long after the fault, or later.
    pub fn after(&self, time: Duration) -> impl Iterator<Item = &Request> {
        self.requests.iter().filter(move |request| request.at >= self.fault_at + time)
    }

    /// Requests that were begun and over within a time after the fault.
    pub fn during(&self, from: Duration, until: Duration) -> impl Iterator<Item = &Request> {
        let ends = self.fault_at + until;
        self.after(from).filter(move |request| request.at + request.took <= ends)
    }

    fn line(&self, request: &Request) -> String {
        let Request { continent, at, took, outcome } = request;
        let after = at.saturating_duration_since(self.fault_at).as_secs_f64();
        let before = self.fault_at.saturating_duration_since(*at).as_secs_f64();
        format!(
            "  {continent} {:+.3} s, took {:.3} s: {outcome:?}\n",
            after - before,
            took.as_secs_f64()
        )
    }
}

impl Explained {
    fn is_of(&self, request: &Request, fault_at: Instant) -> bool {
        let Outcome::Failed(address, failure) = request.outcome else { return false };
        // What was under way when it happened met it too.
        let ended = request.at + request.took;
        let is_then = fault_at + self.from <= ended && request.at <= fault_at + self.until;
        is_then && self.at.contains(&address) && (self.is)(failure)
    }
}

pub fn is_answered(request: &Request) -> bool {
    matches!(request.outcome, Outcome::Answered(_))
}

fn kind(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Answered(_) => "answered".to_owned(),
        Outcome::Unnamed(why) => why.clone(),
        Outcome::Failed(_, failure) => format!("{failure:?}"),
    }
}

impl Kinds {
    pub fn of(all: impl Iterator<Item = (String, usize)>) -> Kinds {
        let mut kinds: Vec<(String, usize)> = vec![];
        for (kind, count) in all {
            match kinds.iter_mut().find(|(known, _)| *known == kind) {
                Some((_, sum)) => *sum += count,
                None => kinds.push((kind, count)),
            }
        }
        kinds.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        Kinds(kinds)
    }
}

impl fmt::Display for Kinds {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all: Vec<String> =
            self.0.iter().map(|(kind, count)| format!("{kind} {count}")).collect();
        out.write_str(&all.join(", "))
    }
}

impl fmt::Display for Seen {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Seen { sent, answered, explained, lasted, slowest, kinds } = self;
        write!(out, "{sent} sent = {answered} answered + {explained} explained")?;
        if *explained > 0 {
            write!(out, " ({kinds}), the last {:.1} s after", lasted.as_secs_f64())?;
        }
        write!(out, "; the slowest answer took {:.1} s", slowest.as_secs_f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wait::now;

    #[test]
    fn what_is_not_explained_is_lost() {
        let begin = now();
        let second = Duration::from_secs(1);
        let refused = Outcome::Failed([192, 0, 2, 1].into(), Failure::Refused);
        let request = |after: u32, outcome: &Outcome| Request {
            continent: "EU",
            at: begin + second * after,
            took: second / after,
            outcome: outcome.clone(),
        };
        let fine = Outcome::Answered("web1".to_owned());
        let mut account = Account {
            requests: vec![request(1, &fine), request(3, &refused), request(9, &fine)],
            fault_at: begin + second * 2,
            explained: vec![Explained {
                from: Duration::ZERO,
                until: second * 2,
                why: "of a test",
                at: vec![[192, 0, 2, 1].into()],
                is: |failure| failure == Failure::Refused,
            }],
        };
        let seen = account.seen().expect("it is explained");
        assert_eq!((seen.sent, seen.answered, seen.explained), (3, 2, 1));
        assert_eq!((seen.lasted, seen.slowest), (second + second / 3, second));
        assert_eq!(seen.kinds.0, [("Refused".to_owned(), 1)]);
        // Under way when it began, too late, and over before it.
        account.fault_at += second / 4;
        for (after, is) in [(2, true), (5, false), (1, false)] {
            account.requests[1] = request(after, &refused);
            assert_eq!(account.seen().is_ok(), is, "{after}");
        }
        let wrong = Outcome::Failed([192, 0, 2, 1].into(), Failure::Wrong);
        let elsewhere = Outcome::Failed([192, 0, 2, 2].into(), Failure::Refused);
        for other in [wrong, elsewhere, Outcome::Unnamed("no address".to_owned())] {
            account.requests[1] = request(2, &other);
            assert!(account.seen().is_err(), "{other:?}");
        }
    }
}
