//! Where the time of a target's looks goes, smoothed and held, so that jitter is no news.

use common::report::Phases;

/// How much one look counts.
const SMOOTHING: f64 = 1.0 / 8.0;
/// What is told stays until the smoothed time is off by more than this share of it, and by so many milliseconds.
const HELD: f64 = 0.25;
const HELD_MS: f64 = 2.0;

#[derive(Clone, Copy, Debug, Default)]
pub struct Smooth {
    resolve: Phase,
    connect: Phase,
    tls: Phase,
    first_byte: Phase,
}

#[derive(Clone, Copy, Debug, Default)]
struct Phase {
    smoothed: Option<f64>,
    told: Option<u32>,
}

/// What a client would wait for, in milliseconds. Not the resolver: it is the probe's own.
pub fn whole(phases: &Phases) -> Option<f64> {
    let Phases { resolve: _, connect, tls, first_byte } = *phases;
    let known = [connect, tls, first_byte].into_iter().flatten();
    known.map(f64::from).reduce(|one, other| one + other)
}

impl Smooth {
    pub fn take(&mut self, phases: &Phases) {
        let Phases { resolve, connect, tls, first_byte } = *phases;
        self.resolve.take(resolve);
        self.connect.take(connect);
        self.tls.take(tls);
        self.first_byte.take(first_byte);
    }

    pub fn told(&self) -> Phases {
        let Smooth { resolve, connect, tls, first_byte } = self;
        Phases {
            resolve: resolve.told,
            connect: connect.told,
            tls: tls.told,
            first_byte: first_byte.told,
        }
    }
}

impl Phase {
    fn take(&mut self, took: Option<u32>) {
        let Some(took) = took.map(f64::from) else { return };
        let smoothed = self.smoothed.map_or(took, |before| before + (took - before) * SMOOTHING);
        self.smoothed = Some(smoothed);
        let is_held = self
            .told
            .map(f64::from)
            .is_some_and(|told| (smoothed - told).abs() <= (told * HELD).max(HELD_MS));
        if !is_held {
            self.told = Some(rounded(smoothed));
        }
    }
}

/// To two digits.
fn rounded(milliseconds: f64) -> u32 {
    let mut step = 1;
    while milliseconds / f64::from(step) >= 100.0 && step < 1_000_000 {
        step *= 10;
    }
    // At most the time that a look may take.
    (milliseconds / f64::from(step)).round() as u32 * step
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_digits_are_told() {
        for (took, told) in
            [(0.4, 0), (3.0, 3), (99.4, 99), (104.0, 100), (105.0, 110), (5678.0, 5700)]
        {
            assert_eq!(rounded(took), told, "{took}");
        }
    }

    #[test]
    fn jitter_is_not_told_and_a_change_is() {
        let mut phase = Phase::default();
        let mut told = |took: u32| {
            phase.take(Some(took));
            phase.told
        };
        assert_eq!(told(20), Some(20));
        for took in [24, 17, 22, 19, 25, 16, 21, 23, 18] {
            assert_eq!(told(took), Some(20));
        }
        for _ in 0..40 {
            told(80);
        }
        let last = told(80);
        assert!(last.is_some_and(|told| (65..=80).contains(&told)), "{last:?}");
    }
}
