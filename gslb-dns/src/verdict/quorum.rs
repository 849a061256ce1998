//! From a tally to a verdict.

use super::tally::Tally;
use super::{Share, Verdict};

/// What it takes to believe something.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Quorum {
    /// Of the domains with evidence, the share that makes a target down.
    pub down: Share,
    /// The share that makes it up. More than everything together with `down`: no evidence says both.
    pub up: Share,
    /// Vantages with evidence, below which nothing is decided.
    pub vantages: usize,
    /// Failure domains with evidence, likewise.
    pub domains: usize,
}

/// How a verdict came about.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Ground {
    /// Present evidence says so.
    Decided,
    /// Too few see anything: the last verdict stands.
    TooFewVantages,
    TooFewDomains,
    /// Neither share is reached: the last verdict stands, so that nothing flaps.
    Undecided,
}

impl Quorum {
    /// What is believed of a target, with evidence counted in `tally` and believed to be `last` until now.
    pub fn judge(&self, last: Verdict, tally: &Tally) -> (Verdict, Ground) {
        if tally.vantages < self.vantages {
            return (last, Ground::TooFewVantages);
        }
        if tally.domains < self.domains {
            return (last, Ground::TooFewDomains);
        }
        if tally.has_down(self.down) {
            (Verdict::Down, Ground::Decided)
        } else if tally.has_up(self.up) {
            // With those that see it down: were slow counted alone, a vantage that comes back from down to slow
            // would make a verdict worse.
            let is_slow = tally.has_impaired(self.down);
            (if is_slow { Verdict::Slow } else { Verdict::Up }, Ground::Decided)
        } else {
            (last, Ground::Undecided)
        }
    }
}

impl Ground {
    pub fn as_str(self) -> &'static str {
        match self {
            Ground::Decided => "decided",
            Ground::TooFewVantages => "too few vantages have evidence",
            Ground::TooFewDomains => "too few failure domains have evidence",
            Ground::Undecided => "neither share is reached",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verdict::Evidence;

    const EVIDENCE: [Evidence; 4] = [Evidence::Up, Evidence::Slow, Evidence::Down, Evidence::None];
    const VERDICTS: [Verdict; 4] = [Verdict::Unknown, Verdict::Up, Verdict::Slow, Verdict::Down];

    fn quorum(down: f64, up: f64, vantages: usize, domains: usize) -> Quorum {
        Quorum { down: Share::new(down).unwrap(), up: Share::new(up).unwrap(), vantages, domains }
    }

    fn check(domains: &str, last: Verdict, expected: (Verdict, Ground)) {
        let votes = domains.split_whitespace().enumerate().flat_map(|(domain, votes)| {
            votes.chars().map(move |vote| match vote {
                '+' => (domain, Evidence::Up),
                '~' => (domain, Evidence::Slow),
                '-' => (domain, Evidence::Down),
                _ => (domain, Evidence::None),
            })
        });
        let judged = quorum(0.6, 0.6, 3, 2).judge(last, &Tally::of(votes));
        assert_eq!(judged, expected, "was {last:?} | {domains}");
    }

    #[test]
    fn a_verdict_needs_a_quorum() {
        use Ground::*;
        use Verdict::*;
        check("+ + +", Unknown, (Up, Decided));
        check("- - -", Up, (Down, Decided));
        check("- - - + +", Up, (Down, Decided));
        check("- - + + +", Down, (Up, Decided));
        check("- - + +", Up, (Up, Undecided));
        check("- - + +", Down, (Down, Undecided));
        check("- - + +", Unknown, (Unknown, Undecided));
        check("- - .", Up, (Up, TooFewVantages));
        check("---", Up, (Up, TooFewDomains));
        check("--- + +", Up, (Up, Decided));
        check("~ ~ ~ + +", Up, (Slow, Decided));
        check("~ ~ - + +", Up, (Slow, Decided));
        check("~ ~ + + +", Slow, (Up, Decided));
        check("~ ~ - - -", Up, (Down, Decided));
    }

    /// Every way in which up to five vantages stand in domains: domain numbers that first appear in order.
    fn partitions(vantages: usize) -> Vec<Vec<usize>> {
        let mut all = vec![vec![]];
        for _ in 0..vantages {
            all = all
                .into_iter()
                .flat_map(|part: Vec<usize>| {
                    let next = part.iter().max().map_or(0, |most| most + 1);
                    (0..=next).map(move |domain| [part.clone(), vec![domain]].concat())
                })
                .collect();
        }
        all
    }

    /// Every combination of what so many vantages say.
    fn evidence(vantages: usize) -> Vec<Vec<Evidence>> {
        let mut all = vec![vec![]];
        for _ in 0..vantages {
            let longer =
                |said: Vec<Evidence>| EVIDENCE.map(|one| [said.clone(), vec![one]].concat());
            all = all.into_iter().flat_map(longer).collect();
        }
        all
    }

    fn tally(domains: &[usize], said: &[Evidence]) -> Tally {
        Tally::of(domains.iter().copied().zip(said.iter().copied()))
    }

    /// Domains in which everybody who says something says this.
    fn united(domains: &[usize], said: &[Evidence], is: fn(Evidence) -> bool) -> (usize, usize) {
        let count = domains.iter().max().map_or(0, |most| most + 1);
        let of = |domain: usize| {
            let pairs = domains.iter().zip(said);
            pairs.filter(move |(of, one)| **of == domain && **one != Evidence::None)
        };
        let with = (0..count).filter(|domain| of(*domain).next().is_some());
        let united = with.clone().filter(|domain| of(*domain).any(|(_, one)| is(*one)));
        (united.count(), with.count())
    }

    /// A vantage that goes from worse to better.
    fn is_better(one: Evidence, other: Evidence) -> bool {
        let rank = |evidence| match evidence {
            Evidence::Down => 0,
            Evidence::Slow => 1,
            Evidence::Up => 2,
            Evidence::None => 3,
        };
        one != Evidence::None && other != Evidence::None && rank(one) > rank(other)
    }

    fn goodness(verdict: Verdict) -> u8 {
        match verdict {
            Verdict::Down => 0,
            Verdict::Unknown => 1,
            Verdict::Slow => 2,
            Verdict::Up => 3,
        }
    }

    /// All quorums that people write, over all that up to five vantages can say.
    #[test]
    fn no_minority_decides_and_what_is_better_is_judged_better() {
        let quorums = [
            quorum(0.6, 0.6, 3, 2),
            quorum(0.6, 0.6, 1, 1),
            quorum(0.51, 0.5, 2, 1),
            quorum(0.5, 0.51, 3, 3),
            quorum(1.0, 0.1, 2, 2),
            quorum(0.75, 0.4, 4, 2),
        ];
        let (mut judged, mut held) = (0_u64, 0_u64);
        for vantages in 0..=5 {
            for domains in partitions(vantages) {
                for said in evidence(vantages) {
                    let counted = tally(&domains, &said);
                    for (quorum, last) in
                        quorums.iter().flat_map(|quorum| VERDICTS.map(|last| (quorum, last)))
                    {
                        let (verdict, ground) = quorum.judge(last, &counted);
                        judged += 1;
                        if ground != Ground::Decided {
                            held += 1;
                            assert_eq!(verdict, last, "what is held stays");
                            continue;
                        }
                        assert_ne!(verdict, Verdict::Unknown);
                        // Who decides: domains with at least one voice for it are the stated share of all.
                        let (for_it, all) = if verdict == Verdict::Down {
                            united(&domains, &said, |one| one == Evidence::Down)
                        } else {
                            united(&domains, &said, |one| {
                                matches!(one, Evidence::Up | Evidence::Slow)
                            })
                        };
                        let share = if verdict == Verdict::Down { quorum.down } else { quorum.up };
                        assert!(
                            share.is_reached(for_it as u64, all as u64),
                            "{domains:?} {said:?}"
                        );
                        let voices = said.iter().filter(|one| **one != Evidence::None).count();
                        assert!(voices >= quorum.vantages && all >= quorum.domains);
                        // Present evidence alone decides.
                        assert_eq!(quorum.judge(Verdict::Unknown, &counted).0, verdict);
                        // Monotone: one vantage that sees it better never makes it worse.
                        for (index, one) in said.iter().enumerate() {
                            for better in
                                EVIDENCE.into_iter().filter(|other| is_better(*other, *one))
                            {
                                let mut other = said.clone();
                                other[index] = better;
                                let (then, _) = quorum.judge(verdict, &tally(&domains, &other));
                                assert!(
                                    goodness(then) >= goodness(verdict),
                                    "{domains:?} {said:?} {verdict:?}, {other:?} {then:?}"
                                );
                            }
                        }
                    }
                }
            }
        }
        assert!(judged > 1_000_000 && held > 100_000, "{judged} {held}");
    }
}
