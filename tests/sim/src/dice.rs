//! Chance, from a seed alone (SplitMix64).

use std::time::Duration;

#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Dice {
        Dice(seed.wrapping_mul(0x2545_f491_4f6c_dd1d) ^ 0x9e37_79b9)
    }

    /// Dice of their own, so that one who rolls more often changes nothing for others.
    pub fn part(&mut self) -> Dice {
        Dice(self.roll())
    }

    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub fn below(&mut self, end: usize) -> usize {
        let end = u64::try_from(end.max(1)).unwrap_or(u64::MAX);
        usize::try_from(self.roll() % end).unwrap_or(0)
    }

    /// So often of a hundred.
    pub fn percent(&mut self, share: u32) -> bool {
        self.below(100) < share as usize
    }

    pub fn one_of<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }

    pub fn between(&mut self, least: Duration, most: Duration) -> Duration {
        let spread = most.saturating_sub(least).as_micros();
        let roll = u128::from(self.roll()) % (spread + 1);
        least + Duration::from_micros(u64::try_from(roll).unwrap_or(0))
    }

    /// 0 to 1.
    pub fn share(&mut self) -> f64 {
        f64::from(u32::try_from(self.roll() >> 32).unwrap_or(0)) / f64::from(u32::MAX)
    }

    pub fn octets(&mut self) -> [u8; 16] {
        let (one, other) = (self.roll().to_be_bytes(), self.roll().to_be_bytes());
        std::array::from_fn(|index| if index < 8 { one[index] } else { other[index - 8] })
    }
}
