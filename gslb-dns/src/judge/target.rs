//! What the vantages' words on one target come to, and since when.

use std::time::Duration;

use jiff::{Timestamp, Unit};

use super::back::Return;
use super::hear::Vote;
use super::{Believed, Now, Since};
use crate::verdict::quorum::{Ground, Quorum};
use crate::verdict::tally::Tally;
use crate::verdict::{Evidence, Verdict};

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
}

/// Vantages whose word counts, by what they say.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Counts {
    pub up: usize,
    pub slow: usize,
    pub down: usize,
}

pub fn judge_one(now: Now, quorum: &Quorum, last: Believed, votes: &[Vote]) -> Judged {
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
    let since = since(quorum, verdict, votes, agree).map(|since| steady(now, since, last.since));
    let returned = match (verdict, since) {
        (Verdict::Up | Verdict::Slow, Some(since)) => {
            let mut flaps: Vec<u32> =
                votes.iter().filter(|vote| agree(vote)).map(|vote| vote.flaps).collect();
            flaps.sort_unstable();
            let flaps = flaps.get(flaps.len() / 2).copied().unwrap_or(0);
            Some(Return { since: since.monotonic, flaps })
        }
        _ => None,
    };
    let mut counts = Counts::default();
    for vote in votes {
        match vote.evidence {
            Evidence::Up => counts.up += 1,
            Evidence::Slow => counts.slow += 1,
            Evidence::Down => counts.down += 1,
            Evidence::None => {}
        }
    }
    Judged { verdict, ground, since, up_share, is_certain, returned, counts }
}

/// The same as before, if it is the same but for how long reports were under way.
fn steady(now: Now, since: Duration, last: Option<Since>) -> Since {
    match last {
        Some(last) if last.monotonic.abs_diff(since) < JITTER => last,
        _ => {
            let ago = now.monotonic.saturating_sub(since);
            let wall = now.wall.checked_sub(ago).unwrap_or(Timestamp::UNIX_EPOCH);
            Since { monotonic: since, wall: wall.round(Unit::Second).unwrap_or(wall) }
        }
    }
}

/// When enough of those who agree with the verdict did, taken one by one in the order of their `since`: the same on
/// every name server, whenever the reports came.
fn since(
    quorum: &Quorum,
    verdict: Verdict,
    votes: &[Vote],
    agree: impl Fn(&Vote) -> bool,
) -> Option<Duration> {
    let opposite = if verdict == Verdict::Down { Evidence::Up } else { Evidence::Down };
    let mut order: Vec<usize> = (0..votes.len()).filter(|index| agree(&votes[*index])).collect();
    order.sort_by_key(|index| votes[*index].since);
    (1..=order.len()).find_map(|count| {
        let then = votes.iter().enumerate().map(|(index, vote)| {
            let had = order[..count].contains(&index) || !agree(vote);
            (vote.domain, if had { vote.evidence } else { opposite })
        });
        let tally = Tally::of(then);
        let is_reached = match verdict {
            Verdict::Down => tally.has_down(quorum.down),
            Verdict::Up | Verdict::Slow => tally.has_up(quorum.up),
            Verdict::Unknown => false,
        };
        is_reached.then(|| votes[order[count - 1]].since)
    })?
}
