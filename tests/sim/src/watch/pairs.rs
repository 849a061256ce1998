//! The VIP is on one router: promise 8.

use std::time::Duration;

use crate::clock::ms;
use crate::earth::SITES;
use crate::router::{ADVERT, LIFETIME};
use crate::run::{ADVERT_DELAY, World};

use super::{Findings, Promise};

/// How late a router may be woken.
const SLACK: Duration = ms(5);
/// Two that hear each other both lead until the next advert of one of them is heard.
pub const BOTH: Duration = ms(400 + 2 + 5);
/// Nobody leads until three adverts are missed and the skew is over: four adverts; and one for whatever was said last.
pub const NOBODY: Duration = ms(5 * 400 + 2 + 5);

const _: () =
    assert!(BOTH.as_millis() == ADVERT.as_millis() + ADVERT_DELAY.as_millis() + SLACK.as_millis());

#[derive(Clone, Debug, Default)]
pub struct Pair {
    /// When something was last done to one of them, or to the link.
    disturbed: Duration,
    two_since: Option<Duration>,
    nobody_since: Option<Duration>,
    /// By box: since when it does not lead and has the address.
    holds_since: [Option<Duration>; 2],
}

impl Pair {
    pub fn disturbed(&mut self, at: Duration) {
        self.disturbed = self.disturbed.max(at);
    }

    pub fn look(&mut self, now: Duration, world: &World, site: usize, findings: &mut Findings<'_>) {
        let pair = &world.boxes[2 * site..2 * site + 2];
        let is_awake = |at: usize| pair[at].is_on && now >= pair[at].router.stalled_until;
        let leading = (0..2).filter(|at| is_awake(*at) && pair[*at].router.leads()).count();
        let is_whole = !world.link_cut[2 * site] && !world.link_cut[2 * site + 1];
        let is_fit = (0..2).any(|at| is_awake(at) && pair[at].router.is_fit());
        let since = |since: &mut Option<Duration>, is_so: bool| {
            *since = if is_so { since.or(Some(now)) } else { None };
            since.map(|since| now.saturating_sub(since.max(self.disturbed)))
        };
        let two = since(&mut self.two_since, leading == 2 && is_whole);
        let nobody = since(&mut self.nobody_since, leading == 0 && is_fit);
        let site_name = SITES[site];
        if let Some(long) = two.filter(|long| *long > BOTH) {
            findings.find(Promise::OneLeads, || {
                format!("both routers of {site_name} lead, for {} ms", long.as_millis())
            });
        }
        if let Some(long) = nobody.filter(|long| *long > NOBODY) {
            findings.find(Promise::SomebodyLeads, || {
                format!("no router of {site_name} leads, for {} ms", long.as_millis())
            });
        }
        for (at, one) in pair.iter().enumerate() {
            let router = &one.router;
            // A process that stands still renews nothing, whatever it takes itself for.
            let is_leading = router.leads() && is_awake(at);
            let holds = &mut self.holds_since[at];
            let is_so = !is_leading && router.holds(now);
            *holds = if is_so { holds.or(Some(now)) } else { None };
            if let Some(since) = holds.filter(|since| now > *since + LIFETIME + SLACK) {
                let long = now - since;
                findings.find(Promise::AddressesEnd, || {
                    let name = &one.producer.name;
                    format!("{name} does not lead, and has the address for {} ms", long.as_millis())
                });
            }
        }
    }
}
