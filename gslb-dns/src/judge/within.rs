//! What a site's agents make of one address, as far as a service looks at it, and what that makes of the vantages' word.
//!
//! The table of `docs/decisions/0027-the-join.md`, and nowhere else.

use std::cmp::Ordering;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::back::Return;
use super::target::Judged;
use super::{Now, Since};
use crate::health::view::Alert;
use crate::inside::{self, SiteViews, State};
use crate::verdict::Verdict;
use crate::verdict::quorum::Ground;
use crate::watch::{Combine, Regions};

/// A capacity that nobody tells any more counts as the configured one after this.
const DECAY: Duration = Duration::from_secs(600);
/// In so many steps.
const DECAY_STEPS: u32 = 10;

/// The agents' word on one address: of the ports where the service looks.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Within {
    pub state: State,
    /// When that began, on our clock.
    since: Option<Duration>,
    /// Changes of the state in the last hour.
    flaps: u32,
    /// The share of the configured capacity that its servers have; 1 where one of both is not known.
    capacity: f64,
    pub servers_up: u32,
    pub servers: u32,
}

impl Within {
    /// `None` if no agent says anything of these ports. `configured` is the address's, in requests a second.
    pub fn of(
        site: &SiteViews,
        address: IpAddr,
        ports: impl Iterator<Item = u16>,
        combine: Combine,
        configured: Option<f64>,
    ) -> Option<Within> {
        let said = ports.filter_map(|port| site.get(&SocketAddr::new(address, port)));
        let words = said.map(|view| Within::told(view, configured));
        match combine {
            Combine::All => words.reduce(Within::worse),
            Combine::Any => words.reduce(Within::better),
        }
    }

    fn told(view: &inside::View, configured: Option<f64>) -> Within {
        let capacity = match (view.capacity, configured) {
            (Some(capacity), Some(configured)) if configured > 0.0 => capacity / configured,
            _ => 1.0,
        };
        Within {
            state: view.state,
            since: view.since,
            flaps: view.flaps,
            capacity: capacity.clamp(0.0, 1.0),
            servers_up: view.backends_up,
            servers: view.backends,
        }
    }

    /// Where each port must serve: as bad as the worst of them, back when the last of them is, away since the first is.
    fn worse(self, other: Within) -> Within {
        let lead = match self.rank().cmp(&other.rank()) {
            Ordering::Greater => self,
            Ordering::Less => other,
            Ordering::Equal if self.state == State::Serving => self.later(other),
            Ordering::Equal => self.earlier(other),
        };
        let (flaps, capacity) = (self.flaps.max(other.flaps), self.capacity.min(other.capacity));
        Within { flaps, capacity, ..lead }
    }

    /// Where one is enough: as good as the best of them.
    fn better(self, other: Within) -> Within {
        let lead = match self.rank().cmp(&other.rank()) {
            Ordering::Less => self,
            Ordering::Greater => other,
            Ordering::Equal if self.state == State::Serving => self.earlier(other),
            Ordering::Equal => self.later(other),
        };
        let (flaps, capacity) = (self.flaps.min(other.flaps), self.capacity.max(other.capacity));
        Within { flaps, capacity, ..lead }
    }

    fn earlier(self, other: Within) -> Within {
        if other.since < self.since { other } else { self }
    }

    fn later(self, other: Within) -> Within {
        if other.since > self.since { other } else { self }
    }

    fn rank(self) -> u8 {
        match self.state {
            State::Serving => 0,
            State::Stale => 1,
            State::Empty => 2,
            State::Drained => 3,
        }
    }

    /// The share of its clients that its capacity is for.
    pub fn share(&self, now: Duration) -> f64 {
        match self.state {
            State::Stale => {
                let steps = f64::from(self.decayed(now)) / f64::from(DECAY_STEPS);
                self.capacity + (1.0 - self.capacity) * steps
            }
            State::Serving | State::Empty | State::Drained => self.capacity,
        }
    }

    /// When that changes next though nobody says anything.
    pub fn next_step(&self, now: Duration) -> Option<Duration> {
        let is_on_its_way = self.state == State::Stale && self.capacity < 1.0;
        let steps =
            Some(self.decayed(now)).filter(|steps| is_on_its_way && *steps < DECAY_STEPS)?;
        Some(self.since? + DECAY / DECAY_STEPS * (steps + 1))
    }

    /// Steps of the decay that are over; all, if nobody knows since when it is silent.
    fn decayed(&self, now: Duration) -> u32 {
        let Some(since) = self.since else { return DECAY_STEPS };
        let steps = now.saturating_sub(since).as_millis() / (DECAY / DECAY_STEPS).as_millis();
        u32::try_from(steps).unwrap_or(DECAY_STEPS).min(DECAY_STEPS)
    }

    /// For people, behind what the vantages see.
    pub fn words(&self, now: Duration) -> String {
        let Within { state, servers_up, servers, .. } = self;
        let said = match state {
            State::Serving => {
                format!("; its agents serve there, with {servers_up} of {servers} servers")
            }
            State::Empty => format!(
                "; its agents have nothing to serve, {servers_up} of {servers} servers are up"
            ),
            State::Drained => "; its agents have it drained".to_owned(),
            State::Stale => "; no word of its agents holds".to_owned(),
        };
        match self.share(now) {
            // Who has nothing to serve has no part of it either.
            share if share < 1.0 && !self.takes_out() => {
                format!("{said} and {:.0} % of its capacity", share * 100.0)
            }
            _ => said,
        }
    }

    /// When it began, on both clocks.
    pub fn since(&self, now: Now) -> Option<Since> {
        self.since.map(|since| Since::at(now, since))
    }

    /// Its way back, if it was away within the hour.
    fn returned(&self) -> Option<Return> {
        let since = self.since.filter(|_| self.flaps > 0)?;
        Some(Return { since, flaps: self.flaps })
    }

    /// Whether it says how things are, where vantages do not.
    pub fn decides(&self) -> bool {
        match self.state {
            State::Serving | State::Empty => true,
            State::Drained | State::Stale => false,
        }
    }

    /// Whether nobody is sent there, whatever vantages see.
    pub fn takes_out(&self) -> bool {
        match self.state {
            State::Empty | State::Drained => true,
            State::Serving | State::Stale => false,
        }
    }

    /// What both words come to. What is drained is as it is seen: whether it is answered is another question.
    pub fn join(&self, now: Now, outside: Judged) -> Judged {
        let is_decided = outside.ground == Ground::Decided;
        let is_split = outside.ground == Ground::Undecided;
        match (self.state, outside.verdict) {
            (State::Serving, Verdict::Up | Verdict::Slow) if is_decided => {
                let returned = [outside.returned, self.returned()];
                Judged { returned: later_of(returned), ..outside }
            }
            // Enough are heard, and part of them reaches it: that is not silence, and who was down waits for a quorum.
            (State::Serving, Verdict::Down) if is_decided || is_split => outside,
            (State::Serving, Verdict::Unknown | Verdict::Up | Verdict::Slow | Verdict::Down) => {
                let since = self.since(now);
                let returned = later_of([outside.returned, self.returned()]);
                Judged { verdict: Verdict::Up, since, is_certain: false, returned, ..outside }
            }
            (State::Empty, was) => {
                let seen = outside.since.filter(|_| was == Verdict::Down);
                let all = [seen, self.since(now)].into_iter().flatten();
                Judged {
                    verdict: Verdict::Down,
                    since: all.min_by_key(|since| since.monotonic),
                    is_certain: true,
                    returned: None,
                    lost: Regions::NONE,
                    down_in: None,
                    ..outside
                }
            }
            (
                State::Drained | State::Stale,
                Verdict::Unknown | Verdict::Up | Verdict::Slow | Verdict::Down,
            ) => outside,
        }
    }

    /// What somebody should look at.
    pub fn alert(&self, outside: &Judged) -> Option<Alert> {
        let is_decided = outside.ground == Ground::Decided;
        let is_split = outside.ground == Ground::Undecided;
        match (self.state, outside.verdict) {
            (State::Serving, Verdict::Down) if is_decided || is_split => {
                Some(Alert::UnreachableFromOutside)
            }
            (State::Stale, _) if !is_decided && !is_split => Some(Alert::Blind),
            (State::Serving | State::Stale | State::Empty | State::Drained, _) => None,
        }
    }
}

/// The one that takes longer.
fn later_of(returned: [Option<Return>; 2]) -> Option<Return> {
    returned.into_iter().flatten().max_by_key(|back| back.since + back.wait())
}
