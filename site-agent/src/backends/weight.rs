//! Weights and limits, and orders to change them while running.

use std::num::NonZeroU32;
use std::str::FromStr;

use crate::balance::Share;

/// A server's part among those of its pool: 0 to 256. With 0 it gets no new balanced requests; persistent ones pass.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Weight(u16);

impl Weight {
    pub const MOST: Weight = Weight(256);
    pub const ONE: Weight = Weight(1);

    pub fn new(weight: u16) -> Option<Weight> {
        (weight <= Weight::MOST.0).then_some(Weight(weight))
    }

    pub fn get(self) -> u16 {
        self.0
    }

    /// In 256ths of a unit.
    fn share(self) -> u32 {
        u32::from(self.0) * Share::UNIT
    }
}

/// Requests in flight at once; `None` is any number (HAProxy's `maxconn 0`).
pub type Limit = Option<NonZeroU32>;

/// Another weight, by command or by the agent: `20`, or `75%` of the configured one.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum WeightOrder {
    Absolute(Weight),
    /// What comes of it is 256 at most.
    Percent(u32),
}

impl WeightOrder {
    /// 256ths of a unit of weight, before any slow start. A percentage is exact: 75 % of 1 is three quarters, where
    /// HAProxy's integers make it 0. Only 0 % or a weight of 0 is nothing.
    pub fn of(self, configured: Weight) -> u32 {
        match self {
            WeightOrder::Absolute(weight) => weight.share(),
            WeightOrder::Percent(percent) => {
                let share = (u64::from(configured.share()) * u64::from(percent)).div_ceil(100);
                share.min(u64::from(Share::MOST)) as u32
            }
        }
    }
}

/// What was read as a weight is none.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("not a weight; expected 0 to 256, or a percentage of the configured weight")]
pub struct NoWeight;

/// HAProxy's `<weight>[%]`, digits only.
impl FromStr for WeightOrder {
    type Err = NoWeight;

    fn from_str(text: &str) -> Result<WeightOrder, NoWeight> {
        let number = |digits: &str| {
            let is_plain = !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_digit());
            is_plain.then(|| digits.parse::<u32>().ok()).flatten().ok_or(NoWeight)
        };
        match text.strip_suffix('%') {
            Some(percent) => Ok(WeightOrder::Percent(number(percent)?)),
            None => {
                let weight = number(text)?.try_into().ok().and_then(Weight::new);
                weight.map(WeightOrder::Absolute).ok_or(NoWeight)
            }
        }
    }
}
