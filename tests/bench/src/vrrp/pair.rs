//! A link with a pair on it, a gateway that is its witness, and a client.

use std::net::Ipv4Addr;
use std::path::Path;
use std::time::{Duration, Instant};

use gslb_tests::netns::{Namespace, Segment};

use super::client::{Answer, Client, Side};
use super::daemon::{Balancer, Kind, Programs, Router};
use super::member::{Member, Place};
use super::until;
use crate::clock;
use crate::interrupt::Interrupt;

pub const VIP: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 100);
/// With its length.
pub const VIP_ON_LINK: &str = "192.0.2.100/24";
const GATEWAY: &str = "192.0.2.1";
/// Of the one that leads while all is well. The other has what most have, who are told nothing.
const LEADER: u8 = 200;
pub const STANDBY: u8 = 100;
/// For so many intervals all has to be well, and for so long: of a trial right before, announcements may be due that
/// help this one, or are left out here because they were sent there.
const STEADY: u32 = 2;
const APART: Duration = Duration::from_millis(1200);
/// How old the latest answer may be.
const FRESH: Duration = Duration::from_millis(50);
const SETTLES_WITHIN: Duration = Duration::from_secs(30);

/// What ends first stands first.
pub struct Pair<'p> {
    pub client: Client,
    pub leader: Member,
    pub standby: Member,
    pub link: Segment,
    _others: [Namespace; 2],
    programs: &'p Programs,
    interval: Duration,
}

/// The virtual router of a pair, with this interval.
pub fn web(side: Side, interval: Duration) -> Router {
    Router {
        name: "web".to_owned(),
        vrid: 51,
        vip: VIP_ON_LINK.to_owned(),
        priority: match side {
            Side::Leader => LEADER,
            Side::Standby => STANDBY,
        },
        interval,
        refresh: Duration::from_secs(60),
        witness: Some(GATEWAY),
        balancer: Balancer::NotAsked,
    }
}

impl Pair<'_> {
    /// `routers` of the one and the other; the first of each is `web`, and `interval` its.
    pub fn build<'p>(
        kind: Kind,
        programs: &'p Programs,
        interval: Duration,
        routers: [&[Router]; 2],
        dir: &Path,
        interrupt: &Interrupt,
    ) -> anyhow::Result<Pair<'p>> {
        let link = Segment::new()?;
        let gateway = link.join("gateway", &[&format!("{GATEWAY}/24")])?;
        let place = |side, name, address| Place { side, name, address, vip: VIP, dir };
        let [first, second] = routers;
        let join = |place: Place<'_>, routers: &[Router]| {
            Member::join(&link, &place, kind, programs, routers, interrupt)
        };
        let leader = join(place(Side::Leader, "a", "192.0.2.10/24"), first)?;
        let standby = join(place(Side::Standby, "b", "192.0.2.11/24"), second)?;
        let home = link.join("client", &["192.0.2.200/24"])?;
        let client = Client::start(&home, VIP)?;
        Ok(Pair { client, leader, standby, link, _others: [gateway, home], programs, interval })
    }

    /// Waits until the leader leads, the other one listens and the client is answered, all of it for some time.
    pub fn settle(&self, interrupt: &Interrupt) -> anyhow::Result<()> {
        let hold = APART.max(self.interval * STEADY);
        let mut since = None;
        let settled = until("all is well", SETTLES_WITHIN, interrupt, || {
            let now = clock::now();
            if !self.looks_well(now) {
                since = None;
                return Ok(None);
            }
            if now - *since.get_or_insert(now) < hold {
                return Ok(None);
            }
            if !self.says_so()? {
                since = None;
                return Ok(None);
            }
            Ok(Some(()))
        });
        settled.map_err(|error| error.context(self.story()))
    }

    fn looks_well(&self, now: Instant) -> bool {
        let is_fresh = |answer: Answer| {
            answer.by == Side::Leader && now.saturating_duration_since(answer.at) < FRESH
        };
        self.leader.post.has()
            && !self.standby.post.has()
            && self.client.last().is_some_and(is_fresh)
    }

    fn says_so(&self) -> anyhow::Result<bool> {
        let is = |member: &Member, role: &str| {
            anyhow::Ok(member.role()?.is_none_or(|said| said == role))
        };
        Ok(is(&self.leader, "active")? && is(&self.standby, "backup")?)
    }

    /// What was seen so far.
    pub fn forget(&self) {
        drop(self.client.take_answers());
        self.leader.post.forget();
        self.standby.post.forget();
    }

    /// Starts the leader's process, which has ended.
    pub fn start_leader(&mut self, interrupt: &Interrupt) -> anyhow::Result<()> {
        self.leader.start_again(self.programs, VIP_ON_LINK, interrupt)
    }

    /// The leader's, which was killed.
    pub fn start_balancer(&mut self) -> anyhow::Result<()> {
        self.leader.start_balancer(self.programs)
    }

    /// For whoever wonders what went wrong.
    pub fn story(&self) -> String {
        let last = match self.client.last() {
            None => "nobody has answered".to_owned(),
            Some(Answer { at, by }) => {
                let ago = clock::now().saturating_duration_since(at);
                format!("the last answer is the {by:?}'s, {} ms ago", ago.as_millis())
            }
        };
        format!("{last}\n{}\n{}", self.leader.story(), self.standby.story())
    }
}
