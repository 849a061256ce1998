//! Medians, and how far to trust them.

use crate::dice::Dice;

/// Enough resamples that the bounds stand still in the third digit.
const RESAMPLES: usize = 10_000;

/// A median with its spread and the bounds of its 95 % bootstrap interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Summary {
    pub median: f64,
    pub lower: f64,
    pub upper: f64,
    pub min: f64,
    pub max: f64,
}

impl Summary {
    /// `values` must not be empty. Equal seeds give equal bounds.
    pub fn of(values: &[f64], seed: u64) -> Summary {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let mut dice = Dice::seeded(seed);
        let mut drawn = vec![0.0; sorted.len()];
        let mut medians: Vec<f64> = (0..RESAMPLES)
            .map(|_| {
                for value in &mut drawn {
                    *value = sorted[dice.below(sorted.len())];
                }
                drawn.sort_by(f64::total_cmp);
                median(&drawn)
            })
            .collect();
        medians.sort_by(f64::total_cmp);
        Summary {
            median: median(&sorted),
            lower: medians[RESAMPLES / 40],
            upper: medians[RESAMPLES - 1 - RESAMPLES / 40],
            min: sorted[0],
            max: sorted[sorted.len() - 1],
        }
    }
}

/// The middle of sorted values, or the mean of the middle two.
fn median(sorted: &[f64]) -> f64 {
    let middle = sorted.len() / 2;
    if sorted.len() % 2 == 1 { sorted[middle] } else { (sorted[middle - 1] + sorted[middle]) / 2.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(values: &[f64], expected: f64) {
        let summary = Summary::of(values, 1);
        assert_eq!(summary.median, expected, "{values:?}");
        assert!(summary.min <= summary.lower && summary.lower <= summary.median);
        assert!(summary.median <= summary.upper && summary.upper <= summary.max);
    }

    #[test]
    fn the_median_is_the_middle_whatever_the_order() {
        check(&[1.5], 1.5);
        check(&[3.0, 1.0], 2.0);
        check(&[9.0, 1.0, 2.0], 2.0);
        check(&[0.9, 0.95, 100.0, 0.97, 0.96], 0.96);
    }

    #[test]
    fn equal_values_leave_no_doubt() {
        let summary = Summary::of(&[0.98; 11], 1);
        assert_eq!((summary.lower, summary.upper), (0.98, 0.98));
    }

    #[test]
    fn one_outlier_of_eleven_does_not_reach_the_bounds() {
        let mut values = [1.0; 11];
        values[3] = 5.0;
        let summary = Summary::of(&values, 1);
        assert_eq!((summary.lower, summary.upper), (1.0, 1.0));
        assert_eq!(summary.max, 5.0);
    }

    #[test]
    fn two_camps_of_equal_size_span_the_interval() {
        let values: Vec<f64> = (0..11).map(|n| if n < 6 { 1.0 } else { 2.0 }).collect();
        let summary = Summary::of(&values, 1);
        assert_eq!((summary.lower, summary.upper), (1.0, 2.0));
    }

    #[test]
    fn equal_seeds_give_equal_bounds() {
        let values = [1.0, 1.1, 1.2, 1.3, 1.4];
        assert_eq!(Summary::of(&values, 7), Summary::of(&values, 7));
    }
}
