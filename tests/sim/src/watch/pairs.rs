//! The VIP is on one router: promise 8.

use std::time::Duration;

use crate::clock::Run;
use crate::clock::ms;
use crate::earth::SITES;
use crate::router::{ADVERT, LIFETIME};
use crate::run::{ADVERT_DELAY, Stage};

use super::{Findings, Promise};

/// How late a router may be woken.
const SLACK: Duration = ms(5);
/// Two that hear each other both lead until the next advert of one of them is heard.
const BOTH: Duration = ms(400 + 2 + 5);
/// Nobody leads until three adverts are missed and the skew is over: four adverts; and one for whatever was said last.
const NOBODY: Duration = ms(5 * 400 + 2 + 5);

const _: () =
    assert!(BOTH.as_millis() == ADVERT.as_millis() + ADVERT_DELAY.as_millis() + SLACK.as_millis());

#[derive(Clone, Debug, Default)]
pub struct Pair {
    /// When something was last done to one of them, or to the link.
    disturbed: Duration,
    two_since: Option<Duration>,
    nobody_since: Option<Duration>,
    /// By box: the run of its router's process in which it was last seen to lead, awake.
    led_in: [Option<Run>; 2],
    /// By box: since when it is awake, does not lead, and has the address from a run before.
    holds_since: [Option<Duration>; 2],
}

impl Pair {
    pub fn disturbed(&mut self, at: Duration) {
        self.disturbed = self.disturbed.max(at);
    }

    pub fn look(&mut self, now: Duration, stage: &Stage, site: usize, findings: &mut Findings<'_>) {
        let pair = &stage.boxes[2 * site..2 * site + 2];
        let is_awake = |at: usize| pair[at].is_on && now >= pair[at].router.stalled_until;
        let leading = (0..2).filter(|at| is_awake(*at) && pair[*at].router.leads()).count();
        let is_whole = !stage.link_cut[2 * site] && !stage.link_cut[2 * site + 1];
        // Whatever the machine takes itself for.
        let is_fit = (0..2).any(|at| is_awake(at) && pair[at].router.can_lead());
        let since = |since: &mut Option<Duration>, is_so: bool| {
            *since = if is_so { since.or(Some(now)) } else { None };
            since.map(|since| now.saturating_sub(since.max(self.disturbed)))
        };
        let two = since(&mut self.two_since, leading == 2 && is_whole);
        let nobody = since(&mut self.nobody_since, leading == 0 && is_fit);
        let site_name = SITES[site];
        if leading > 0 && is_whole && now >= self.disturbed + BOTH {
            let long = two.unwrap_or_default();
            findings.hold(Promise::OneLeads, long <= BOTH, || {
                format!("both routers of {site_name} lead, for {} ms", long.as_millis())
            });
        }
        if is_fit && now >= self.disturbed + NOBODY {
            let long = nobody.unwrap_or_default();
            findings.hold(Promise::SomebodyLeads, long <= NOBODY, || {
                format!("no router of {site_name} leads, for {} ms", long.as_millis())
            });
        }
        for (at, one) in pair.iter().enumerate() {
            let router = &one.router;
            let holds = &mut self.holds_since[at];
            // The kernel of whoever is killed or stands still takes them back: that is the simulation's own.
            if !is_awake(at) || !router.runs() || router.leads() {
                *holds = None;
                if is_awake(at) && router.leads() {
                    self.led_in[at] = Some(router.run);
                }
                continue;
            }
            let has = router.holds(now);
            *holds = if has { holds.or(Some(now)) } else { None };
            let is_kept = match *holds {
                None => true,
                Some(_) if self.led_in[at] == Some(router.run) => false,
                Some(since) => now <= since + LIFETIME + SLACK,
            };
            if has || self.led_in[at] == Some(router.run) {
                findings.hold(Promise::AddressesEnd, is_kept, || {
                    format!("{} does not lead, and has the address", one.producer.name)
                });
            }
        }
    }
}
