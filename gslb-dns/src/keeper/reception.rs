//! What is told of how producers are heard: what is wrong is told when it begins and when it is over, for reports come many
//! times a second. Metrics count the rest.

use std::collections::BTreeMap;
use std::time::Duration;

use common::principal::Principal;
use tracing::{info, warn};

use crate::inbox::stream::{Oddity, Reception};

/// What was not seen for so long is over: a clone of a probe reports every 2 s, and as seldom as its lease allows.
const QUIET: Duration = Duration::from_secs(60);

/// What is wrong with a producer's reports, which it is told or which they are taken with.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Fault {
    Duplicate,
    WrongDigest,
}

/// The faults of now, each with when it was seen last. Only whom this world names is heard, so they are few.
#[derive(Debug, Default)]
pub struct Receptions(BTreeMap<(Principal, Fault), Duration>);

impl Receptions {
    /// Tells what became of a report, if that is news.
    pub fn tell(&mut self, principal: &Principal, reception: Reception, now: Duration) {
        let fault = match reception {
            Reception::Taken(Oddity::Restarted) => {
                info!(%principal, "a producer has started again");
                return;
            }
            Reception::Taken(Oddity::WrongDigest) => Fault::WrongDigest,
            Reception::Duplicate(_) => Fault::Duplicate,
            Reception::Taken(Oddity::None)
            | Reception::SendWhole
            | Reception::Behind(_)
            | Reception::TooMany => return,
        };
        if !self.begins(principal, fault, now) {
            return;
        }
        match fault {
            Fault::Duplicate => {
                warn!(%principal, "two producers speak under one name: the earlier one is not heard");
            }
            Fault::WrongDigest => {
                warn!(%principal, "a whole report does not have its own digest: its producer is defective");
            }
        }
    }

    /// Tells of what is over.
    pub fn look(&mut self, now: Duration) {
        for (principal, fault) in self.ended(now) {
            match fault {
                Fault::Duplicate => info!(%principal, "one producer speaks under its name again"),
                Fault::WrongDigest => {
                    info!(%principal, "whole reports have their own digest again")
                }
            }
        }
    }

    fn begins(&mut self, principal: &Principal, fault: Fault, now: Duration) -> bool {
        self.0.insert((principal.clone(), fault), now).is_none()
    }

    fn ended(&mut self, now: Duration) -> Vec<(Principal, Fault)> {
        let is_over = |at: &mut Duration| *at + QUIET <= now;
        self.0.extract_if(.., |_, at| is_over(at)).map(|(over, _)| over).collect()
    }
}

#[cfg(test)]
mod tests {
    use common::principal::Kind;

    use super::*;

    const BEAT: Duration = Duration::from_secs(2);

    #[test]
    fn what_is_wrong_is_told_once_while_it_lasts() {
        let ams = Principal::new("test", Kind::Probe, "ams").unwrap();
        let (mut receptions, mut now) = (Receptions::default(), Duration::ZERO);
        for round in 0..2 {
            for beat in 0..100 {
                now += BEAT;
                let begins = receptions.begins(&ams, Fault::Duplicate, now);
                assert_eq!(begins, beat == 0, "{round} {beat}");
                // Another fault is another thing.
                assert_eq!(receptions.begins(&ams, Fault::WrongDigest, now), beat == 0);
                assert_eq!(receptions.ended(now), []);
            }
            assert_eq!(receptions.ended(now + QUIET - BEAT / 2), []);
            now += QUIET;
            let over = [Fault::Duplicate, Fault::WrongDigest].map(|fault| (ams.clone(), fault));
            assert_eq!(receptions.ended(now), over);
            assert_eq!(receptions.ended(now), []);
        }
    }
}
