//! Seeded pseudo-random numbers (SplitMix64): a failure is met again with the seed that it printed.

use std::env;

/// The environment variable that sets the seed.
const SEED: &str = "GSLB_SEED";

#[derive(Clone)]
pub struct Dice(u64);

impl Dice {
    pub fn seeded(seed: u64) -> Dice {
        Dice(seed)
    }

    /// Seeded by `GSLB_SEED`, or by `default`; the seed is printed.
    pub fn of_this_run(default: u64) -> Dice {
        let seed = match env::var(SEED) {
            Ok(seed) => seed.parse().unwrap_or_else(|_| panic!("{SEED}={seed:?} is not a number")),
            Err(_) => default,
        };
        println!("seed {seed} ({SEED}={seed} repeats this run)");
        Dice(seed)
    }

    /// Dice of their own for one part of a run, whatever the other parts throw.
    pub fn for_part(&self, part: u64) -> Dice {
        Dice(Dice(self.0 ^ part.rotate_left(32)).bits())
    }

    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    pub fn wide_bits(&mut self) -> u128 {
        u128::from(self.bits()) << 64 | u128::from(self.bits())
    }

    /// A number from 0 up to, not including, `end`.
    pub fn below(&mut self, end: usize) -> usize {
        ((u128::from(self.bits()) * end as u128) >> 64) as usize
    }

    /// A number from `first` to `last`, both included.
    pub fn between(&mut self, first: usize, last: usize) -> usize {
        first + self.below(last - first + 1)
    }

    /// True once in `of` times.
    pub fn once_in(&mut self, of: usize) -> bool {
        self.below(of) == 0
    }

    /// One of several; there must be one.
    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }

    /// So many of several, in random order.
    pub fn picks<T: Clone>(&mut self, count: usize, from: &[T]) -> Vec<T> {
        let mut left = from.to_vec();
        let count = count.min(left.len());
        (0..count).map(|_| left.swap_remove(self.below(left.len()))).collect()
    }
}
