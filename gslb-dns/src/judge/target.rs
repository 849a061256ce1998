//! What the vantages' words on one target come to, and since when.

use std::time::Duration;

use geoip::Continent;

use super::back::Return;
use super::hear::Vote;
use super::{Believed, Now, Since};
use crate::verdict::quorum::{Ground, Quorum};
use crate::verdict::tally::{DomainVotes, Tally};
use crate::verdict::{Evidence, Verdict};
use crate::watch::{LEAST_OF_REGION, Regions};

/// By how much one instant of a producer's clock moves on ours from report to report.
const JITTER: Duration = Duration::from_secs(1);

/// What is judged of one target.
#[derive(Clone, Copy, Debug)]
pub struct Judged {
    pub verdict: Verdict,
    pub ground: Ground,
    /// When enough of those who say so did.
    pub since: Option<Since>,
    pub up_share: f64,
    pub is_certain: bool,
    /// Whether it came back, and how often in the last hour.
    pub returned: Option<Return>,
    pub counts: Counts,
    /// Regions whose own vantages have it down.
    pub lost: Regions,
    /// In how long it can be down at the earliest, if looks that fail go on to.
    pub down_in: Option<Duration>,
}

/// Vantages whose word counts, by what they say.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Counts {
    pub up: usize,
    pub slow: usize,
    pub down: usize,
    /// Failure domains that they stand in, and their votes.
    pub domains: usize,
    pub votes: DomainVotes,
}

pub fn judge_one(
    now: Now,
    quorum: &Quorum,
    regions: Regions,
    last: Believed,
    votes: &[Vote],
) -> Judged {
    let tally = Tally::of(votes.iter().map(|vote| (vote.domain, vote.evidence)));
    let (verdict, ground) = quorum.judge(last.verdict, &tally);
    // A refused connection is the host's own word; those who saw something else do not count against it.
    let refused = votes.iter().map(|vote| {
        let is_silent = vote.evidence == Evidence::Down && !vote.is_refused;
        (vote.domain, if is_silent { Evidence::Up } else { vote.evidence })
    });
    let is_certain = Tally::of(refused).has_down(quorum.down);
    // What nobody decides now is as certain as when it was decided.
    let (is_certain, up_share) = match ground {
        Ground::Decided => (is_certain, tally.up_share()),
        Ground::TooFewVantages | Ground::TooFewDomains | Ground::Undecided => {
            (last.is_certain, last.up_share)
        }
    };
    let agree = |vote: &Vote| match verdict {
        Verdict::Down => vote.evidence == Evidence::Down,
        Verdict::Up | Verdict::Slow => vote.evidence.is_up(),
        Verdict::Unknown => false,
    };
    let beginning = beginning(quorum, verdict, votes);
    let since = beginning.map(|Beginning { at, is_return: _ }| steady(now, at, last.since));
    let returned = match (verdict, since, beginning) {
        (Verdict::Up | Verdict::Slow, Some(since), Some(Beginning { is_return: true, .. })) => {
            let mut flaps: Vec<u32> =
                votes.iter().filter(|vote| agree(vote)).map(|vote| vote.flaps).collect();
            flaps.sort_unstable();
            let flaps = flaps.get(flaps.len() / 2).copied().unwrap_or(0);
            Some(Return { since: since.monotonic, flaps })
        }
        // Held: what was on its way back still is, though nobody can say so now.
        (Verdict::Up | Verdict::Slow, _, None) if ground != Ground::Decided => last.returned,
        _ => None,
    };
    let (domains, domain_votes) = (tally.domains, tally.domain_votes());
    let mut counts = Counts { domains, votes: domain_votes, ..Counts::default() };
    for vote in votes {
        match vote.evidence {
            Evidence::Up => counts.up += 1,
            Evidence::Slow => counts.slow += 1,
            Evidence::Down => counts.down += 1,
            Evidence::None => {}
        }
    }
    let lost = regions.iter().filter(|region| is_lost_to(*region, quorum, votes)).collect();
    let down_in = if verdict == Verdict::Down { None } else { down_in(quorum, votes) };
    Judged { verdict, ground, since, up_share, is_certain, returned, counts, lost, down_in }
}

/// In how long those whose looks fail now can be a quorum, together with those that have it down.
fn down_in(quorum: &Quorum, votes: &[Vote]) -> Option<Duration> {
    let mut moments: Vec<Duration> = votes.iter().filter_map(|vote| vote.down_in).collect();
    moments.sort_unstable();
    moments.into_iter().find(|moment| {
        let then = votes.iter().map(|vote| {
            let is_down = vote.down_in.is_some_and(|within| within <= *moment);
            (vote.domain, if is_down { Evidence::Down } else { vote.evidence })
        });
        let tally = Tally::of(then);
        quorum.judge(Verdict::Up, &tally).0 == Verdict::Down
    })
}

/// Whether a region's own vantages have it down, of two failure domains at least. Nothing is held: who does not see any
/// more loses nothing, and name servers cannot differ.
fn is_lost_to(region: Continent, quorum: &Quorum, votes: &[Vote]) -> bool {
    let within = votes.iter().filter(|vote| vote.region == Some(region));
    let tally = Tally::of(within.map(|vote| (vote.domain, vote.evidence)));
    tally.domains >= LEAST_OF_REGION && tally.has_down(quorum.down)
}

/// The same as before, if it is the same but for how long reports were under way.
fn steady(now: Now, since: Duration, last: Option<Since>) -> Since {
    match last {
        Some(last) if last.monotonic.abs_diff(since) < JITTER => last,
        _ => Since::at(now, since),
    }
}

/// When what present evidence says began to be so.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Beginning {
    at: Duration,
    /// Whether the opposite was so before.
    is_return: bool,
}

/// Goes back through what the vantages remember, one change each: the same on every name server, whenever the reports
/// came. `None` if it was always so, or nothing says so now. In between, where nobody could have decided, it was as
/// it was before: what half of the vantages lose and find again was never away.
fn beginning(quorum: &Quorum, verdict: Verdict, votes: &[Vote]) -> Option<Beginning> {
    let is_so = |tally: &Tally| match verdict {
        Verdict::Down => tally.has_down(quorum.down),
        Verdict::Up | Verdict::Slow => tally.has_up(quorum.up),
        Verdict::Unknown => false,
    };
    let is_opposite = |tally: &Tally| match verdict {
        Verdict::Down => tally.has_up(quorum.up),
        Verdict::Up | Verdict::Slow => tally.has_down(quorum.down),
        Verdict::Unknown => false,
    };
    let before = |moment: Duration| {
        Tally::of(votes.iter().map(|vote| {
            let has_changed = vote.since.is_some_and(|since| since >= moment);
            (vote.domain, if has_changed { vote.evidence.opposite() } else { vote.evidence })
        }))
    };
    if !is_so(&Tally::of(votes.iter().map(|vote| (vote.domain, vote.evidence)))) {
        return None;
    }
    let mut changes: Vec<Duration> = votes.iter().filter_map(|vote| vote.since).collect();
    changes.sort_unstable_by(|one, other| other.cmp(one));
    changes.dedup();
    let mut began = None;
    for moment in changes {
        let tally = before(moment);
        if is_so(&tally) {
            began = None;
            continue;
        }
        let at = *began.get_or_insert(moment);
        if is_opposite(&tally) {
            return Some(Beginning { at, is_return: true });
        }
    }
    // What is down was found so at some time; what is up was up before anybody looked.
    began.filter(|_| verdict == Verdict::Down).map(|at| Beginning { at, is_return: false })
}
