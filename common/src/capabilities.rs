//! What a daemon may do to its host, as far as all of them give it up alike.

use rustix::thread::{
    CapabilitySet, capability_is_in_bounding_set, remove_capability_from_bounding_set,
};

/// So that no program that we might become could have any. Not everybody is allowed to, and then who started us
/// has seen to it or has not.
pub fn empty_bounding_set() {
    for bit in 0..u64::BITS {
        let capability = CapabilitySet::from_bits_retain(1 << bit);
        // An error says that the kernel knows no more of them.
        if capability_is_in_bounding_set(capability).is_err()
            || remove_capability_from_bounding_set(capability).is_err()
        {
            return;
        }
    }
}
