//! The consistent ring: points of servers in a circle, and whose a key is.
//!
//! A key belongs to the server of the next point at or after it (Karger et al.; ketama, Envoy). HAProxy takes the
//! nearer of the points on both sides, which shares out no better and makes a walk along the ring harder to follow.

use super::table::Candidate;
use super::{Key, hash};

/// Points for one unit of weight in a pool of ordinary size: ketama's 160, whose shares are within some 8 % of the
/// weights for weights of 1. HAProxy has 16, which is within some 25 %.
const DENSEST: u32 = 160;
/// In a pool whose weights are great it is halved, down to this.
const SPARSEST: u32 = 20;
/// The points that a ring should not have more of: 3 MiB, and some 50 ms to make.
const MANY_POINTS: u64 = 1 << 18;

#[derive(Clone, Debug, Default)]
pub struct Ring {
    /// In rising order.
    points: Box<[u64]>,
    /// Whose each point is, as a place in the table.
    owners: Box<[u32]>,
}

impl Ring {
    /// `weights` is the sum of all weights in the pool's config, those of servers that are down included: how dense
    /// the points are may depend on nothing that changes by itself.
    pub fn new(candidates: &[Candidate<'_>], weights: u64) -> Ring {
        let density = density(weights);
        let mut points = vec![];
        for (place, candidate) in candidates.iter().enumerate() {
            let name = hash::name(candidate.name);
            let count = candidate.share.points(density);
            points.extend((0..count).map(|number| (hash::point(name, number), name, place as u32)));
        }
        // By name where two servers' points meet, so that the order of the config has no say.
        points.sort_unstable();
        Ring {
            points: points.iter().map(|(point, _, _)| *point).collect(),
            owners: points.iter().map(|(_, _, place)| *place).collect(),
        }
    }

    /// The owners of the points from the key on, once round.
    pub fn walk(&self, key: Key) -> impl Iterator<Item = usize> {
        let start = self.points.partition_point(|point| *point < key.0);
        let (before, after) = self.owners.split_at(start);
        after.iter().chain(before).map(|place| *place as usize)
    }
}

/// Points for one unit of weight.
fn density(weights: u64) -> u32 {
    let mut density = DENSEST;
    while density > SPARSEST && weights * u64::from(density) > MANY_POINTS {
        density /= 2;
    }
    density
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn great_weights_thin_the_points_out() {
        assert_eq!(density(1), 160);
        assert_eq!(density(1638), 160);
        assert_eq!(density(1639), 80);
        assert_eq!(density(3277), 40);
        assert_eq!(density(6554), 20);
        assert_eq!(density(u64::from(u32::MAX)), 20);
    }
}
