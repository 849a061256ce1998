//! The dice: the one room that throws them, for what must not be in step with others.

use common::entropy;

/// From 0 to 1.
pub fn share() -> f64 {
    // 53 bits are a fraction of their own; 32 are enough to be out of step.
    f64::from(u32::from_be_bytes(entropy::octets())) / f64::from(u32::MAX)
}
