//! Of whom the log says that they are refused: when it begins, and once an hour while it lasts. Daemons that are refused ask again
//! every few seconds, and hear why each time. Decides only: told the time, it never asks for it.

use std::collections::HashMap;
use std::mem::{Discriminant, discriminant};
use std::sync::Arc;
use std::time::Duration;

use common::principal::Principal;
use tokio::time::Instant;

use super::refusal::Refusal;

/// What did not come for so long was over, and begins anew when it does.
const QUIET: Duration = Duration::from_secs(60);
/// Whoever is to mend it may have missed it.
const AGAIN: Duration = Duration::from_hours(1);
/// Of more at a time nothing is said: each has a certificate of the cluster's, so they are few.
const MOST: usize = 1024;

/// Who is refused, and why.
#[derive(Debug, Default)]
pub struct Complaints(HashMap<(Arc<Principal>, Discriminant<Refusal>), Complaint>);

#[derive(Clone, Copy, Debug)]
struct Complaint {
    told: Instant,
    came: Instant,
}

impl Complaints {
    /// Counts one that has come; whether it is to be told, which it then is.
    pub fn begin(&mut self, principal: &Arc<Principal>, refusal: &Refusal, now: Instant) -> bool {
        let lasts = |one: &Complaint| now.duration_since(one.came) < QUIET;
        let of = (Arc::clone(principal), discriminant(refusal));
        if let Some(one) = self.0.get_mut(&of).filter(|one| lasts(one)) {
            one.came = now;
            let is_due = now.duration_since(one.told) >= AGAIN;
            if is_due {
                one.told = now;
            }
            return is_due;
        }
        if self.0.len() >= MOST {
            self.0.retain(|_, one| lasts(one));
        }
        let has_room = self.0.len() < MOST;
        if has_room {
            self.0.insert(of, Complaint { told: now, came: now });
        }
        has_room
    }
}

#[cfg(test)]
mod tests {
    use common::principal::Kind;

    use super::*;

    fn agent(number: usize) -> Arc<Principal> {
        Arc::new(Principal::new("test", Kind::Agent, &format!("a{number}")).unwrap())
    }

    #[test]
    fn what_lasts_is_told_when_it_begins_and_each_hour() {
        let mut complaints = Complaints::default();
        let begin = Instant::now();
        let nobody = || Refusal::NoAgent("a1".into());
        let elsewhere = || Refusal::OtherSite { theirs: "fra".to_owned(), ours: "iad".into() };
        let mut comes = |of: usize, refusal: Refusal, seconds| {
            complaints.begin(&agent(of), &refusal, begin + Duration::from_secs(seconds))
        };
        assert!(comes(1, nobody(), 0));
        for seconds in (5..3600).step_by(5) {
            assert!(!comes(1, nobody(), seconds), "{seconds}");
        }
        assert!(comes(2, nobody(), 1));
        assert!(comes(1, nobody(), 3600));
        assert!(!comes(1, nobody(), 3605));
        // What was done about it was wrong; and then it was undone.
        assert!(comes(1, elsewhere(), 3610));
        assert!(!comes(1, nobody(), 3664));
        assert!(comes(1, nobody(), 3724));
        assert!(!comes(1, nobody(), 3725));
    }

    #[test]
    fn a_crowd_is_told_of_up_to_a_bound() {
        let mut complaints = Complaints::default();
        let begin = Instant::now();
        for number in 0..MOST {
            assert!(complaints.begin(&agent(number), &Refusal::NoErrand, begin));
        }
        assert!(!complaints.begin(&agent(MOST), &Refusal::NoErrand, begin));
        assert!(!complaints.begin(&agent(0), &Refusal::NoErrand, begin));
        // All those are over by then.
        assert!(complaints.begin(&agent(MOST), &Refusal::NoErrand, begin + QUIET));
        assert_eq!(complaints.0.len(), 1);
    }
}
