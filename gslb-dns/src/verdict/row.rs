//! Whose word counts: a vantage that alone has most things down has itself down.
//!
//! One pass over what all vantages said, before any of it is judged. Whom it distrusts says nothing for now, of
//! any target, and counts again as soon as it sees what others see.

use std::fmt;

use arrayvec::ArrayVec;

use super::tally::{MOST_VOICES, Tally};
use super::{Evidence, Share};

/// Targets that a vantage must have down against the others, and on how many sites, before it is distrusted: with
/// fewer it may be a path of its own, which is evidence.
pub const LEAST_TARGETS: usize = 3;
pub const LEAST_SITES: usize = 2;
/// Failure domains of the others.
const LEAST_DOMAINS: usize = 2;

/// A vantage as its voice counts.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Voice {
    /// The number of its failure domain.
    pub domain: usize,
    /// What it says of itself: that it sees nothing.
    pub is_blind: bool,
}

/// What all vantages say of all targets, as far as the test asks: a row that changes costs no more than itself.
#[derive(Clone, Debug)]
pub struct Rows {
    voices: Vec<Voice>,
    /// By target: the number of its site, and what it says of whom.
    rows: Vec<(usize, Marks)>,
    /// By vantage.
    counts: Vec<Count>,
}

/// Whom one target speaks for or against: a bit for each vantage, of which a world has at most 64.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
struct Marks {
    /// Those who say anything of it while the others have it up.
    of: u64,
    /// Those of them who have it down.
    down: u64,
}

/// The targets that speak for or against one vantage.
#[derive(Clone, Debug, Default)]
struct Count {
    of: usize,
    down: usize,
    /// Those that it has down, by site, and how many sites those are.
    by_site: Vec<usize>,
    sites: usize,
}

/// Why a vantage's word does not count.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Distrust {
    /// It said so itself: its reference targets fail, or nearly everything at once.
    Blind,
    /// It has down more than half of what the others have up.
    Alone { down: usize, of: usize },
}

impl fmt::Display for Distrust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Distrust::Blind => f.write_str("it says that it sees nothing"),
            Distrust::Alone { down, of } => {
                write!(f, "it has down {down} of {of} targets that the others have up")
            }
        }
    }
}

impl Rows {
    /// Of targets on these sites, of which nobody has said anything yet.
    pub fn new(voices: Vec<Voice>, sites: &[usize]) -> Rows {
        let most = sites.iter().max().map_or(0, |site| site + 1);
        let count = Count { by_site: vec![0; most], ..Count::default() };
        Rows {
            counts: vec![count; voices.len()],
            rows: sites.iter().map(|site| (*site, Marks::default())).collect(),
            voices,
        }
    }

    /// What vantages say of one target from now on, in their order.
    pub fn say(&mut self, target: usize, said: &[Evidence]) {
        let marks = marks(&self.voices, said);
        let Rows { voices: _, rows, counts } = self;
        let (site, before) = &mut rows[target];
        let before = std::mem::replace(before, marks);
        if before == marks {
            return;
        }
        for (vantage, count) in counts.iter_mut().enumerate() {
            let is = |bits: u64| bits >> vantage & 1 == 1;
            count.of = count.of + usize::from(is(marks.of)) - usize::from(is(before.of));
            match (is(before.down), is(marks.down)) {
                (false, true) => count.add(*site),
                (true, false) => count.remove(*site),
                (true, true) | (false, false) => {}
            }
        }
    }

    /// Whom not to believe, in the order of the vantages.
    pub fn distrusted(&self) -> Vec<Option<Distrust>> {
        let judge = |(voice, count): (&Voice, &Count)| {
            if voice.is_blind {
                return Some(Distrust::Blind);
            }
            let Count { of, down, sites, .. } = *count;
            let is_alone = down * 2 > of && down >= LEAST_TARGETS && sites >= LEAST_SITES;
            is_alone.then_some(Distrust::Alone { down, of })
        };
        self.voices.iter().zip(&self.counts).map(judge).collect()
    }
}

impl Count {
    fn add(&mut self, site: usize) {
        self.down += 1;
        self.by_site[site] += 1;
        self.sites += usize::from(self.by_site[site] == 1);
    }

    fn remove(&mut self, site: usize) {
        self.down -= 1;
        self.by_site[site] -= 1;
        self.sites -= usize::from(self.by_site[site] == 0);
    }
}

fn marks(voices: &[Voice], said: &[Evidence]) -> Marks {
    let mut marks = Marks::default();
    let is_known = |vantage: &usize| said[*vantage] != Evidence::None;
    // Most rows: nobody has it down, so the others have it up if they are of two domains.
    let up_by = (!said.contains(&Evidence::Down)).then(|| Domains::of(voices, said));
    for vantage in (0..voices.len()).filter(is_known) {
        let others_have_up = match &up_by {
            Some(domains) => domains.without(voices[vantage]) >= LEAST_DOMAINS,
            None => others_have_up(voices, vantage, said),
        };
        marks.of |= u64::from(others_have_up) << vantage;
        let is_down = others_have_up && said[vantage] == Evidence::Down;
        marks.down |= u64::from(is_down) << vantage;
    }
    marks
}

/// How many vantages of each domain say anything, of those who say of themselves that they see.
struct Domains {
    sizes: ArrayVec<u8, MOST_VOICES>,
    count: usize,
}

impl Domains {
    fn of(voices: &[Voice], said: &[Evidence]) -> Domains {
        let most = voices.iter().map(|voice| voice.domain + 1).max().unwrap_or(0);
        let mut sizes: ArrayVec<u8, MOST_VOICES> = std::iter::repeat_n(0, most).collect();
        for (voice, said) in voices.iter().zip(said) {
            sizes[voice.domain] += u8::from(!voice.is_blind && *said != Evidence::None);
        }
        let count = sizes.iter().filter(|size| **size > 0).count();
        Domains { sizes, count }
    }

    /// Without a vantage that says something.
    fn without(&self, voice: Voice) -> usize {
        self.count - usize::from(!voice.is_blind && self.sizes[voice.domain] == 1)
    }
}

/// Whether the others, without a vantage, have a target up: at least two of them, in at least two failure domains, and
/// six in ten of those domains.
fn others_have_up(voices: &[Voice], vantage: usize, said: &[Evidence]) -> bool {
    let others = voices.iter().zip(said).enumerate().filter(|(other, _)| *other != vantage);
    let believed = others.filter(|(_, (voice, _))| !voice.is_blind);
    let tally = Tally::of(believed.map(|(_, (voice, said))| (voice.domain, *said)));
    let share = Share::new(0.6).expect("0.6 is a share");
    tally.domains >= LEAST_DOMAINS && tally.has_up(share)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A word for each target: its site's letter, then what each vantage says. Vantages are in domains of their own
    /// unless `domains` says otherwise.
    fn check(domains: &[usize], targets: &str, expected: &[usize]) {
        let voices: Vec<Voice> =
            domains.iter().map(|domain| Voice { domain: *domain, is_blind: false }).collect();
        let rows: Vec<(usize, Vec<Evidence>)> = targets
            .split_whitespace()
            .map(|word| {
                let site = usize::from(word.as_bytes()[0] - b'a');
                let said = word[1..].chars().map(|vote| match vote {
                    '+' => Evidence::Up,
                    '~' => Evidence::Slow,
                    '-' => Evidence::Down,
                    _ => Evidence::None,
                });
                (site, said.collect())
            })
            .collect();
        let sites: Vec<usize> = rows.iter().map(|(site, _)| *site).collect();
        let mut all = Rows::new(voices, &sites);
        let alone = |all: &Rows| {
            let distrusted = all.distrusted().into_iter().enumerate();
            distrusted.filter_map(|(vantage, why)| why.map(|_| vantage)).collect::<Vec<_>>()
        };
        for (target, (_, said)) in rows.iter().enumerate() {
            all.say(target, said);
        }
        assert_eq!(alone(&all), expected, "{targets}");
        // What is unsaid leaves nothing behind, and said once more it is the same.
        for target in 0..rows.len() {
            all.say(target, &vec![Evidence::None; domains.len()]);
        }
        assert!(all.counts.iter().all(|count| (count.of, count.down, count.sites) == (0, 0, 0)));
        for (target, (_, said)) in rows.iter().enumerate().rev() {
            all.say(target, said);
        }
        assert_eq!(alone(&all), expected, "{targets}");
    }

    #[test]
    fn who_alone_has_most_things_down_is_not_believed() {
        check(&[0, 1, 2], "a-++ b-++ c-++", &[0]);
        check(&[0, 1, 2], "a-++ b-++ c+++", &[]);
        check(&[0, 1, 2], "a-++ b-++ c-++ d+++ e+++", &[0]);
        check(&[0, 1, 2], "a-++ b-++ c-++ d+++ e+++ f+++", &[]);
    }

    #[test]
    fn one_site_may_be_a_path() {
        check(&[0, 1, 2], "a-++ a-++ a-++", &[]);
        check(&[0, 1, 2], "a-++ a-++ b-++", &[0]);
        check(&[0, 1, 2], "a-++ b-++", &[]);
    }

    #[test]
    fn what_the_others_have_down_speaks_against_nobody() {
        check(&[0, 1, 2], "a--- b--- c---", &[]);
        check(&[0, 1, 2], "a--+ b--+ c--+", &[]);
        // Nobody else has seen it.
        check(&[0, 1, 2], "a-+. b-+. c-+.", &[]);
        check(&[0, 1, 2], "a.++ b.++ c.++", &[]);
    }

    #[test]
    fn others_of_one_domain_are_one_witness() {
        check(&[0, 1, 1], "a-++ b-++ c-++", &[]);
        check(&[0, 1, 1, 2], "a-+++ b-+++ c-+++", &[0]);
        // A provider whose vantages all fail: each is judged by those outside.
        check(&[0, 0, 1, 2, 3], "a--+++ b--+++ c--+++", &[0, 1]);
    }

    #[test]
    fn who_is_blind_is_no_witness_either() {
        let voice = |(domain, is_blind)| Voice { domain, is_blind };
        let voices = [(0, true), (1, false), (2, false)].map(voice);
        let mut rows = Rows::new(voices.into(), &[0, 1, 2]);
        for target in 0..3 {
            rows.say(target, &[Evidence::Up, Evidence::Up, Evidence::Down]);
        }
        assert_eq!(rows.distrusted(), [Some(Distrust::Blind), None, None]);
    }

    #[test]
    fn rows_that_nobody_has_down_are_judged_as_all_are() {
        const SAID: [Evidence; 3] = [Evidence::Up, Evidence::Slow, Evidence::None];
        for domains in [[0, 1, 2, 3], [0, 0, 1, 2], [0, 0, 1, 1], [0, 1, 1, 1], [0, 0, 0, 0]] {
            for case in 0..3_usize.pow(4) * 2_usize.pow(4) {
                let (words, blind) = (case / 16, case % 16);
                let said: Vec<Evidence> =
                    (0..4).map(|place| SAID[words / 3_usize.pow(place) % 3]).collect();
                let voices: Vec<Voice> = (0..4)
                    .map(|place| Voice {
                        domain: domains[place],
                        is_blind: blind >> place & 1 == 1,
                    })
                    .collect();
                let marks = marks(&voices, &said);
                for vantage in 0..4 {
                    let expected =
                        said[vantage] != Evidence::None && others_have_up(&voices, vantage, &said);
                    assert_eq!(marks.of >> vantage & 1 == 1, expected, "{voices:?} {said:?}");
                }
                assert_eq!(marks.down, 0);
            }
        }
    }
}
