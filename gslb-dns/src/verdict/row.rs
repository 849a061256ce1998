//! Whose word counts: a vantage that alone has most things down has itself down.
//!
//! One pass over what all vantages said, before any of it is judged. Whom it distrusts says nothing for now, of
//! any target, and counts again as soon as it sees what others see.

use std::collections::BTreeSet;
use std::fmt;

use super::tally::Tally;
use super::{Evidence, Share};

/// Targets that a vantage must have down against the others, and on how many sites, before it is distrusted: with
/// fewer it may be a path of its own, which is evidence.
pub const LEAST_TARGETS: usize = 3;
pub const LEAST_SITES: usize = 2;

/// A vantage as its voice counts.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Voice {
    /// The number of its failure domain.
    pub domain: usize,
    /// What it says of itself: that it sees nothing.
    pub is_blind: bool,
}

/// One target and what all vantages say of it, in their order.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Row {
    /// The number of its site.
    pub site: usize,
    pub said: Vec<Evidence>,
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

/// Whom not to believe, in the order of the vantages.
pub fn distrusted(voices: &[Voice], rows: &[Row]) -> Vec<Option<Distrust>> {
    let judge = |(vantage, voice): (usize, &Voice)| {
        if voice.is_blind {
            return Some(Distrust::Blind);
        }
        let of: Vec<&Row> =
            rows.iter().filter(|row| others_have_up(voices, vantage, row)).collect();
        let down = of.iter().filter(|row| row.said[vantage] == Evidence::Down);
        let sites: BTreeSet<usize> = down.clone().map(|row| row.site).collect();
        let down = down.count();
        let is_alone = down * 2 > of.len() && down >= LEAST_TARGETS && sites.len() >= LEAST_SITES;
        is_alone.then_some(Distrust::Alone { down, of: of.len() })
    };
    voices.iter().enumerate().map(judge).collect()
}

/// Whether a vantage says anything of a target that the others, without it, have up: at least two of them, in at
/// least two failure domains, and six in ten of those domains.
fn others_have_up(voices: &[Voice], vantage: usize, row: &Row) -> bool {
    if row.said[vantage] == Evidence::None {
        return false;
    }
    let others = voices.iter().zip(&row.said).enumerate().filter(|(other, _)| *other != vantage);
    let believed = others.filter(|(_, (voice, _))| !voice.is_blind);
    let tally = Tally::of(believed.map(|(_, (voice, said))| (voice.domain, *said)));
    let share = Share::new(0.6).expect("0.6 is a share");
    tally.domains >= 2 && tally.has_up(share)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A word for each target: its site's letter, then what each vantage says. Vantages are in domains of their own
    /// unless `domains` says otherwise.
    fn check(domains: &[usize], targets: &str, expected: &[usize]) {
        let voices: Vec<Voice> =
            domains.iter().map(|domain| Voice { domain: *domain, is_blind: false }).collect();
        let rows = targets.split_whitespace().map(|word| {
            let site = usize::from(word.as_bytes()[0] - b'a');
            let said = word[1..].chars().map(|vote| match vote {
                '+' => Evidence::Up,
                '~' => Evidence::Slow,
                '-' => Evidence::Down,
                _ => Evidence::None,
            });
            Row { site, said: said.collect() }
        });
        let distrusted = distrusted(&voices, &rows.collect::<Vec<_>>());
        let alone = distrusted.iter().enumerate().filter(|(_, why)| why.is_some());
        assert_eq!(alone.map(|(vantage, _)| vantage).collect::<Vec<_>>(), expected, "{targets}");
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
        let voices = [true, false, false].map(|is_blind| is_blind);
        let voices: Vec<Voice> = voices
            .iter()
            .enumerate()
            .map(|(domain, is_blind)| Voice { domain, is_blind: *is_blind })
            .collect();
        let rows = [0, 1, 2]
            .map(|site| Row { site, said: vec![Evidence::Up, Evidence::Up, Evidence::Down] });
        assert_eq!(distrusted(&voices, &rows), [Some(Distrust::Blind), None, None]);
    }
}
