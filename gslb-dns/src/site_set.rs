//! A set of one service's candidates, by their index in the service: a tier, or a part of one.

use std::fmt;

/// Candidates of one service: a bit each, so a tier is a word.
pub const MAX_CANDIDATES: usize = 128;

#[derive(Clone, Copy, Default, Eq, Hash, PartialEq)]
pub struct SiteSet(u128);

const _: () = assert!(MAX_CANDIDATES == u128::BITS as usize, "a candidate is a bit");

impl SiteSet {
    pub const EMPTY: SiteSet = SiteSet(0);

    pub fn one(candidate: usize) -> SiteSet {
        SiteSet(1 << candidate)
    }

    pub fn bits(self) -> u128 {
        self.0
    }

    /// Whatever they mean: those who have a set as bits once had it as a set.
    pub fn from_bits(bits: u128) -> SiteSet {
        SiteSet(bits)
    }

    pub fn contains(self, candidate: usize) -> bool {
        self.0 >> candidate & 1 == 1
    }

    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub fn len(self) -> usize {
        self.0.count_ones() as usize
    }

    /// Those in both.
    #[must_use]
    pub fn and(self, other: SiteSet) -> SiteSet {
        SiteSet(self.0 & other.0)
    }

    /// Those in either.
    #[must_use]
    pub fn or(self, other: SiteSet) -> SiteSet {
        SiteSet(self.0 | other.0)
    }

    /// Those in this one and not in the other.
    #[must_use]
    pub fn without(self, other: SiteSet) -> SiteSet {
        SiteSet(self.0 & !other.0)
    }

    /// The one with the lowest index.
    pub fn first(self) -> Option<usize> {
        (self.0 != 0).then(|| self.0.trailing_zeros() as usize)
    }

    /// In the order the service lists them.
    pub fn iter(self) -> impl Iterator<Item = usize> {
        let mut rest = self.0;
        std::iter::from_fn(move || {
            let next = SiteSet(rest).first()?;
            rest &= rest - 1;
            Some(next)
        })
    }
}

impl FromIterator<usize> for SiteSet {
    fn from_iter<I: IntoIterator<Item = usize>>(candidates: I) -> SiteSet {
        candidates.into_iter().fold(SiteSet::EMPTY, |set, one| set.or(SiteSet::one(one)))
    }
}

impl fmt::Debug for SiteSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}
