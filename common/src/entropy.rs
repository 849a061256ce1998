//! The system's randomness: the one room that asks for it, for keys that nobody may guess.
//!
//! Chance that has a say in answers is a hash, never this (`steer/hash.rs`).

use rustix::io::Errno;
use rustix::rand::{GetRandomFlags, getrandom};

/// Octets that nobody else knows. Waits, soon after the machine's start, until it has enough to give.
pub fn octets<const N: usize>() -> [u8; N] {
    let mut octets = [0; N];
    let mut filled = 0;
    while filled < N {
        match getrandom(&mut octets[filled..], GetRandomFlags::empty()) {
            Ok(more) => filled += more,
            Err(Errno::INTR) => {}
            Err(error) => panic!("getrandom(2), which Linux has had since 3.17, failed: {error}"),
        }
    }
    octets
}

/// From 0 to 1: for what must not be in step with others.
pub fn share() -> f64 {
    // 53 bits are a fraction of their own; 32 are enough to be out of step.
    f64::from(u32::from_be_bytes(octets())) / f64::from(u32::MAX)
}
