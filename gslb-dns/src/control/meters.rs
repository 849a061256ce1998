//! How often each principal asks, and how much of it is under way. Decides only: told the time, it never asks for it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use common::principal::Principal;
use tokio::time::Instant;

use super::Limits;

/// With more principals than this, those are forgotten of whom there is nothing to remember.
const MANY: usize = 1024;

/// A bucket of tokens for each principal, kept as the instant at which it is full again.
#[derive(Debug)]
pub struct Meters {
    pause: Duration,
    burst: u32,
    reports: usize,
    by_principal: HashMap<Arc<Principal>, Meter>,
}

#[derive(Debug)]
struct Meter {
    full_at: Instant,
    reports: usize,
}

impl Meters {
    pub fn new(limits: &Limits) -> Meters {
        Meters {
            pause: limits.pause,
            burst: limits.burst,
            reports: limits.reports_per_principal,
            by_principal: HashMap::new(),
        }
    }

    /// Counts a request.
    ///
    /// # Errors
    /// In how long the next one is taken; then nothing is counted.
    pub fn ask(&mut self, principal: &Arc<Principal>, now: Instant) -> Result<(), Duration> {
        let most = self.pause * self.burst;
        let pause = self.pause;
        let meter = self.meter(principal, now);
        let full_at = meter.full_at.max(now) + pause;
        match full_at.duration_since(now).checked_sub(most) {
            None | Some(Duration::ZERO) => {
                meter.full_at = full_at;
                Ok(())
            }
            Some(wait) => Err(wait),
        }
    }

    /// Whether there is room for one more report of it.
    pub fn begin_report(&mut self, principal: &Arc<Principal>, now: Instant) -> bool {
        let most = self.reports;
        let meter = self.meter(principal, now);
        let has_room = meter.reports < most;
        meter.reports += usize::from(has_room);
        has_room
    }

    pub fn end_report(&mut self, principal: &Principal) {
        if let Some(meter) = self.by_principal.get_mut(principal) {
            meter.reports = meter.reports.saturating_sub(1);
        }
    }

    fn meter(&mut self, principal: &Arc<Principal>, now: Instant) -> &mut Meter {
        if self.by_principal.len() >= MANY && !self.by_principal.contains_key(principal) {
            self.by_principal.retain(|_, meter| meter.reports > 0 || meter.full_at > now);
        }
        let fresh = || Meter { full_at: now, reports: 0 };
        self.by_principal.entry(Arc::clone(principal)).or_insert_with(fresh)
    }
}

#[cfg(test)]
mod tests {
    use common::principal::Kind;

    use super::*;

    fn probe(name: &str) -> Arc<Principal> {
        Arc::new(Principal::new("test", Kind::Probe, name).unwrap())
    }

    #[test]
    fn a_principal_has_a_burst_and_then_a_pace() {
        let mut meters = Meters::new(&Limits::OURS);
        let begin = Instant::now();
        let (a, b) = (probe("a"), probe("b"));
        for _ in 0..40 {
            assert_eq!(meters.ask(&a, begin), Ok(()));
        }
        let pause = Duration::from_millis(40);
        assert_eq!(meters.ask(&a, begin), Err(pause));
        // What was refused costs nothing.
        assert_eq!(meters.ask(&a, begin), Err(pause));
        assert_eq!(meters.ask(&b, begin), Ok(()));
        assert_eq!(meters.ask(&a, begin + pause / 4), Err(pause * 3 / 4));
        assert_eq!(meters.ask(&a, begin + pause), Ok(()));
        assert_eq!(meters.ask(&a, begin + pause), Err(pause));
        // A producer at its fastest is never refused, and its questions have room.
        let mut now = begin + Duration::from_secs(10);
        for number in 0..10_000 {
            now += common::report::SHORTEST_PAUSE;
            assert_eq!(meters.ask(&a, now), Ok(()), "{number}");
            if number % 10 == 0 {
                assert_eq!(meters.ask(&a, now), Ok(()), "{number}");
            }
        }
    }

    #[test]
    fn reports_under_way_are_few() {
        let mut meters = Meters::new(&Limits::OURS);
        let (a, b, now) = (probe("a"), probe("b"), Instant::now());
        let begun: Vec<bool> = (0..3).map(|_| meters.begin_report(&a, now)).collect();
        assert_eq!(begun, [true, true, false]);
        assert!(meters.begin_report(&b, now));
        meters.end_report(&a);
        assert!(meters.begin_report(&a, now));
        assert!(!meters.begin_report(&a, now));
    }

    #[test]
    fn who_has_nothing_to_be_remembered_is_forgotten() {
        let mut meters = Meters::new(&Limits::OURS);
        let now = Instant::now();
        assert!(meters.begin_report(&probe("busy"), now));
        for number in 0..5 * MANY {
            let later = now + Limits::OURS.pause * number as u32;
            assert_eq!(meters.ask(&probe(&format!("p{number}")), later), Ok(()));
            assert!(meters.by_principal.len() <= MANY, "{number}");
        }
        assert!(meters.by_principal.contains_key(&probe("busy")));
    }
}
