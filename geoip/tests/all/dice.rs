//! Random numbers that can be had again: splitmix64 (Steele, Lea, Flood 2014) from a printed seed.

#![expect(
    clippy::disallowed_methods,
    reason = "a new seed each run, printed so that a failure can be had again"
)]

use std::time::{SystemTime, UNIX_EPOCH};

use geoip::Addr;

pub struct Dice(u64);

impl Dice {
    /// From `GEOIP_TEST_SEED` where it is set, else from the clock; prints the seed, which shows on failure.
    pub fn new() -> Dice {
        let clock = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64;
        let seed =
            std::env::var("GEOIP_TEST_SEED").map_or_else(|_| clock(), |seed| seed.parse().unwrap());
        println!("GEOIP_TEST_SEED={seed}");
        Dice(seed)
    }

    pub fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub fn below(&mut self, end: usize) -> usize {
        (self.roll() % end as u64) as usize
    }
}

/// An address of random bits, for either family.
pub trait Rolled: Addr {
    fn rolled(dice: &mut Dice) -> Self;
}

impl Rolled for u32 {
    fn rolled(dice: &mut Dice) -> u32 {
        dice.roll() as u32
    }
}

impl Rolled for u128 {
    fn rolled(dice: &mut Dice) -> u128 {
        u128::from(dice.roll()) << 64 | u128::from(dice.roll())
    }
}
