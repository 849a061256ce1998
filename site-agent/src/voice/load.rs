//! What VIPs are asked: for each a mean of the last some ten seconds, from counts that grow.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use common::report::agent::Rate;

/// What is so long ago counts 1/e.
const TAU: Duration = Duration::from_secs(10);
/// Before it was counted for so long nothing is said: one request in a tenth of a second is not ten a second.
const FIRST: Duration = Duration::from_secs(1);

#[derive(Debug, Default)]
pub struct Loads(BTreeMap<SocketAddr, Mean>);

#[derive(Clone, Copy, Debug)]
struct Mean {
    since: Duration,
    at: Duration,
    count: u64,
    /// The sum of the rates so far, each with its weight; what was before `since` has no rate, and so no weight.
    sum: f64,
    weight: f64,
}

impl Loads {
    /// Takes how often each was asked by now. Who is not named is forgotten.
    pub fn count(&mut self, now: Duration, counts: &BTreeMap<SocketAddr, u64>) {
        self.0.retain(|at, _| counts.contains_key(at));
        for (at, count) in counts {
            let new = || Mean { since: now, at: now, count: *count, sum: 0.0, weight: 0.0 };
            self.0.entry(*at).or_insert_with(new).count(now, *count);
        }
    }

    /// Requests a second: below ten in tenths, from there on whole ones.
    pub fn of(&self, at: SocketAddr) -> Option<Rate> {
        let mean = self.0.get(&at).filter(|mean| mean.at >= mean.since + FIRST)?;
        let rate = mean.sum / mean.weight;
        Rate::new(if rate < 9.95 { (rate * 10.0).round() / 10.0 } else { rate.round() })
    }
}

impl Mean {
    fn count(&mut self, now: Duration, count: u64) {
        let gone = now.saturating_sub(self.at).as_secs_f64();
        if gone <= 0.0 {
            return;
        }
        // Fewer than before are those of another frontend.
        #[expect(clippy::cast_precision_loss, reason = "rates are no counts")]
        let rate = count.saturating_sub(self.count) as f64 / gone;
        let old = (-gone / TAU.as_secs_f64()).exp();
        self.sum = self.sum * old + rate * (1.0 - old);
        self.weight = self.weight * old + (1.0 - old);
        (self.at, self.count) = (now, count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Counts of one VIP, `SECONDS:COUNT` each; what is said of it at last.
    fn check(counts: &str, expected: Option<f64>) {
        let (mut loads, at) = (Loads::default(), SocketAddr::from(([192, 0, 2, 1], 443)));
        for count in counts.split(' ') {
            let (now, count) = count.split_once(':').unwrap();
            let now = Duration::from_secs_f64(now.parse().unwrap());
            loads.count(now, &[(at, count.parse().unwrap())].into());
        }
        assert_eq!(loads.of(at).map(Rate::per_second), expected, "{counts}");
    }

    #[test]
    fn a_mean_forgets_what_is_long_ago() {
        // Whatever there was before us.
        check("5:1000", None);
        check("5:1000 5.9:1090", None);
        check("5:1000 6:1100", Some(100.0));
        check("5:1000 6:1100 7:1200 8:1300", Some(100.0));
        // After ten seconds the old rate counts 1/e, of what it counted for; after a hundred nothing.
        check("0:0 1000:100000 1010:100000", Some(37.0));
        check("0:0 1000:100000 1005:100000 1010:100000", Some(37.0));
        check("0:0 1000:100000 1100:100000", Some(0.0));
        check("0:0 1000:100000 1010:102000", Some(163.0));
        // In tenths, and whole.
        check("0:0 100:333", Some(3.3));
        check("0:0 100:994", Some(9.9));
        check("0:0 100:996", Some(10.0));
        check("0:0 100:123456", Some(1235.0));
        check("0:0 100:4", Some(0.0));
        // Twice in one instant, and another frontend's.
        check("0:0 1000:100000 1000:100000", Some(100.0));
        check("0:0 1000:100000 1010:50", Some(37.0));
    }

    #[test]
    fn who_is_gone_begins_anew() {
        let (mut loads, at) = (Loads::default(), SocketAddr::from(([192, 0, 2, 1], 443)));
        let mut count = |now, counts: &[(SocketAddr, u64)]| {
            loads.count(Duration::from_secs(now), &counts.iter().copied().collect());
            loads.of(at).map(Rate::per_second)
        };
        assert_eq!(count(0, &[(at, 0)]), None);
        assert_eq!(count(10, &[(at, 100)]), Some(10.0));
        assert_eq!(count(11, &[]), None);
        assert_eq!(count(12, &[(at, 900)]), None);
        assert_eq!(count(13, &[(at, 900)]), Some(0.0));
    }
}
