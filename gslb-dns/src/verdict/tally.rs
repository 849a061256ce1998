//! Votes counted: one for each failure domain, shared by its vantages, so that five probers in one building are one
//! witness.

use arrayvec::ArrayVec;

use super::{Evidence, Share};

/// Vantages that one tally is of, and so their domains.
pub const MOST_VOICES: usize = 64;

/// What a domain's vantages saw, of those that saw anything.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
struct Votes {
    up: u64,
    slow: u64,
    down: u64,
}

/// Of the domains with evidence, how many say what: each has one vote, shared by its vantages.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct DomainVotes {
    pub up: f64,
    pub slow: f64,
    pub down: f64,
}

/// The votes of all domains, in parts of one denominator.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Tally {
    /// With evidence.
    pub vantages: usize,
    /// With a vantage that has evidence.
    pub domains: usize,
    up: u64,
    slow: u64,
    down: u64,
    /// What all domains weigh together.
    whole: u64,
}

impl Votes {
    fn count(self) -> u64 {
        self.up + self.slow + self.down
    }
}

impl Tally {
    /// Counts what each vantage says, given with the number of its domain. There are at most 64 vantages, whose
    /// domains' sizes have a common multiple below 2^21: no sum overflows.
    pub fn of(said: impl IntoIterator<Item = (usize, Evidence)>) -> Tally {
        let mut domains: ArrayVec<Votes, MOST_VOICES> = ArrayVec::new();
        for (domain, evidence) in said {
            while domains.len() <= domain {
                domains.push(Votes::default());
            }
            let votes = &mut domains[domain];
            match evidence {
                Evidence::Up => votes.up += 1,
                Evidence::Slow => votes.slow += 1,
                Evidence::Down => votes.down += 1,
                Evidence::None => {}
            }
        }
        domains.retain(|votes| votes.count() > 0);
        // Of so many parts each domain has one vote.
        let parts =
            domains.iter().fold(1, |parts, votes| least_common_multiple(parts, votes.count()));
        let sum = |of: fn(&Votes) -> u64| {
            domains.iter().map(|votes| of(votes) * (parts / votes.count())).sum()
        };
        Tally {
            vantages: domains.iter().map(|votes| votes.count() as usize).sum(),
            domains: domains.len(),
            up: sum(|votes| votes.up),
            slow: sum(|votes| votes.slow),
            down: sum(|votes| votes.down),
            whole: parts * domains.len() as u64,
        }
    }

    /// Slow is up.
    pub fn has_up(&self, share: Share) -> bool {
        self.whole > 0 && share.is_reached(self.up + self.slow, self.whole)
    }

    /// Slow or down.
    pub fn has_impaired(&self, share: Share) -> bool {
        self.whole > 0 && share.is_reached(self.slow + self.down, self.whole)
    }

    pub fn has_down(&self, share: Share) -> bool {
        self.whole > 0 && share.is_reached(self.down, self.whole)
    }

    /// For people, beside a count of vantages: this is what shares are reached by.
    pub fn domain_votes(&self) -> DomainVotes {
        let of = |votes: u64| votes as f64 * self.domains as f64 / self.whole.max(1) as f64;
        DomainVotes { up: of(self.up), slow: of(self.slow), down: of(self.down) }
    }

    /// The share that sees it up, 0 to 1, to rank by and to show; 0 where nobody sees anything. In whole millionths,
    /// in which it is also written down and told to peers.
    pub fn up_share(&self) -> f64 {
        if self.whole == 0 {
            return 0.0;
        }
        let share = (self.up + self.slow) as f64 / self.whole as f64;
        (share * 1e6).round() / 1e6
    }
}

fn least_common_multiple(one: u64, other: u64) -> u64 {
    let (mut divisor, mut rest) = (one, other);
    while rest > 0 {
        (divisor, rest) = (rest, divisor % rest);
    }
    one / divisor * other
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Domains as words of `+` (up), `~` (slow), `-` (down) and `.` (none).
    fn tally(domains: &str) -> Tally {
        let votes = domains.split_whitespace().enumerate().flat_map(|(domain, votes)| {
            votes.chars().map(move |vote| {
                let evidence = match vote {
                    '+' => Evidence::Up,
                    '~' => Evidence::Slow,
                    '-' => Evidence::Down,
                    _ => Evidence::None,
                };
                (domain, evidence)
            })
        });
        Tally::of(votes)
    }

    fn check(domains: &str, up: (u64, u64), slow: (u64, u64), down: (u64, u64)) {
        let tally = tally(domains);
        for (part, (above, below)) in [(tally.up, up), (tally.slow, slow), (tally.down, down)] {
            assert_eq!(part * below, above * tally.whole, "{domains}: {tally:?}");
        }
    }

    #[test]
    fn each_domain_has_one_vote() {
        check("+ + + - -", (3, 5), (0, 1), (2, 5));
        check("+++ - -", (1, 3), (0, 1), (2, 3));
        check("++- -", (1, 3), (0, 1), (2, 3));
        check("+~- +", (2, 3), (1, 6), (1, 6));
        check("++++- +- -", (13, 30), (0, 1), (17, 30));
    }

    #[test]
    fn votes_are_told_as_domains() {
        let check = |domains: &str, up: f64, slow: f64, down: f64| {
            assert_eq!(tally(domains).domain_votes(), DomainVotes { up, slow, down }, "{domains}");
        };
        check("+ + -", 2.0, 0.0, 1.0);
        check("++ + --", 2.0, 0.0, 1.0);
        check("+- ~ -..", 0.5, 1.0, 1.5);
        check("...", 0.0, 0.0, 0.0);
    }

    #[test]
    fn silence_has_none() {
        check("+.. ... -", (1, 2), (0, 1), (1, 2));
        let tally = tally("+.. ... -");
        assert_eq!((tally.vantages, tally.domains), (2, 2));
        let none = super::Tally::of([]);
        let all = Share::new(0.0).unwrap();
        assert!(!none.has_up(all) && !none.has_down(all) && !none.has_impaired(all));
    }

    #[test]
    fn a_share_is_reached_exactly() {
        let share = |share| Share::new(share).unwrap();
        assert!(tally("- - - + +").has_down(share(0.6)));
        assert!(!tally("- - - + +").has_down(share(0.600_001)));
        assert!(tally("--- +++").has_down(share(0.5)));
        assert!(tally("- - +").has_down(share(0.666_666)));
        assert!(!tally("- - +").has_down(share(0.666_667)));
        assert!(tally("~ + -").has_up(share(0.66)), "slow is up");
    }

    #[test]
    fn nothing_overflows_with_the_most_domains_there_can_be() {
        // Sizes whose common multiple is the greatest below a sum of 64 (Landau's function).
        let sizes = [3, 4, 5, 7, 11, 13, 17];
        let votes = sizes.iter().enumerate().flat_map(|(domain, size)| {
            (0..*size)
                .map(move |vote| (domain, if vote == 0 { Evidence::Up } else { Evidence::Down }))
        });
        let tally = Tally::of(votes);
        assert_eq!(tally.up + tally.down, tally.whole);
        assert!(tally.has_down(Share::new(0.8).unwrap()));
    }
}
